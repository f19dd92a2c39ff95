//! Sessions with some nodes for a command that asks a few questions: one event after the other, until a moment.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use wire::client::Request;
use wire::committee::Committee;
use wire::frame::Scratch;
use wire::hosts::Hosts;
use wire::ids::NodeId;

use crate::client::{Connection, Happened, Readiness};

/// How long the poll sleeps at most: dials and Ctrl-C are noticed this often.
const STEP: Duration = Duration::from_millis(20);

/// See the module.
pub(crate) struct Sessions {
    poll: Poll,
    events: Events,
    scratch: Scratch,
    sessions: Vec<Session>,
    happened: VecDeque<(NodeId, Happened)>,
}

struct Session {
    node: NodeId,
    connection: Connection,
    readiness: Readiness,
}

impl Sessions {
    /// Begins to connect to these nodes.
    ///
    /// # Errors
    /// If the system has no poll left.
    pub(crate) fn begin(
        committee: &Committee,
        hosts: &Hosts,
        nodes: impl IntoIterator<Item = NodeId>,
    ) -> io::Result<Sessions> {
        let session = |(at, node): (usize, NodeId)| {
            let host = hosts.iter().find(|host| host.id == node)?;
            let connection = Connection::new(committee, host, Token(at));
            Some(Session { node, connection, readiness: Readiness::Drained })
        };
        let sessions: Vec<Session> = nodes.into_iter().enumerate().filter_map(session).collect();
        Ok(Sessions {
            poll: Poll::new()?,
            events: Events::with_capacity(sessions.len().max(1)),
            scratch: Scratch::new(),
            sessions,
            happened: VecDeque::new(),
        })
    }

    /// Whether a node's session is up.
    pub(crate) fn is_up(&self, node: NodeId) -> bool {
        self.sessions.iter().any(|session| session.node == node && session.connection.is_up())
    }

    /// When anything last came from a node.
    pub(crate) fn heard(&self, node: NodeId) -> Option<Instant> {
        self.sessions.iter().find(|session| session.node == node)?.connection.heard()
    }

    /// Sends a request to a node, unless its session is not up.
    pub(crate) fn send(&mut self, node: NodeId, request: &Request, tail: &[u8]) {
        if let Some(session) = self.sessions.iter_mut().find(|session| session.node == node) {
            session.connection.send(request, tail);
        }
    }

    /// Pings a node, unless its session is not up.
    pub(crate) fn ping(&mut self, node: NodeId) {
        if let Some(session) = self.sessions.iter_mut().find(|session| session.node == node) {
            session.connection.ping();
        }
    }

    /// The next event; `None` if none comes until then, or a moment later at most.
    ///
    /// # Errors
    /// If the system's poll fails.
    pub(crate) fn next(&mut self, until: Instant) -> io::Result<Option<(NodeId, Happened)>> {
        loop {
            if let Some(event) = self.happened.pop_front() {
                return Ok(Some(event));
            }
            self.turn(until)?;
            if self.happened.is_empty() && Instant::now() >= until {
                return Ok(None);
            }
        }
    }

    /// Sends and reads what there is; sleeps if that is nothing.
    fn turn(&mut self, until: Instant) -> io::Result<()> {
        let now = Instant::now();
        for Session { node, connection, readiness } in &mut self.sessions {
            let mut happened = Vec::new();
            connection.tick(now, self.poll.registry(), &mut happened);
            connection.flush(&mut happened);
            if *readiness == Readiness::More {
                *readiness = connection.on_ready(&mut self.scratch, &mut happened);
            }
            self.happened.extend(happened.into_iter().map(|event| (*node, event)));
        }
        let has_more = self.sessions.iter().any(|session| session.readiness == Readiness::More);
        let is_busy = has_more || !self.happened.is_empty();
        let sleep = if is_busy { Duration::ZERO } else { STEP.min(until.saturating_duration_since(now)) };
        match self.poll.poll(&mut self.events, Some(sleep)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        for event in &self.events {
            if let Some(session) = self.sessions.get_mut(event.token().0) {
                session.readiness = Readiness::More;
            }
        }
        Ok(())
    }
}
