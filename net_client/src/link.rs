//! The send thread of one peer: dials, shakes hands, writes frames from the outbox until the link is lost, and dials
//! again.
//!
//! After the handshake it only writes. The acks loop gets the reading half of each session; it reads acks and pongs and
//! notices the end of the connection. So a peer that does not read blocks this thread alone.

use std::io;
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use wire::dial::{self, DialError};
use wire::frame::Sealer;
use wire::hosts::Host;
use wire::limits::local::Local;
use wire::link_rule::LinkRule;
use wire::logging::is_logged;
use wire::name::Name;
use wire::rand;
use wire::session::{Expected, ListenerHello, LocalHello, Session};
use wire::wan::{Conditions, Emulated};

use crate::acks::{ACK_NEVER_SENT, Acks, NewLink};
use crate::backoff::Backoff;
use crate::burst::Burst;
use crate::delay_line::{DelayLine, OnItsWay};
use crate::outbox::Listener;
use crate::peer::{Peer, Taken, Use, Work};
use crate::process::Process;

/// The state of a send thread.
pub(crate) struct Link {
    process: Arc<Process>,
    peer: Arc<Peer>,
    host: Host,
    expected: Expected,
    acks: Acks,
    /// The incarnation of the listener of the last session.
    listener: Option<u64>,
    emulated: Option<Arc<Emulated>>,
    line: DelayLine,
}

impl Link {
    /// A link to `host`, which has to prove that it is `peer`.
    pub(crate) fn new(
        process: Arc<Process>,
        peer: Arc<Peer>,
        host: Host,
        emulated: Option<Arc<Emulated>>,
        acks: Acks,
    ) -> Link {
        let expected = Expected::of(&process.committee, peer.id());
        let seed = emulated.as_ref().map_or(0, |emulated| emulated.seed());
        let line = DelayLine::new(Instant::now(), process.limits.get(Local::OutboxBytes), seed);
        Link { process, peer, host, expected, acks, listener: None, emulated, line }
    }

    /// Dials and serves sessions for ever.
    pub(crate) fn run(mut self) {
        self.peer.set_send_thread();
        let mut backoff = Backoff::new(self.process.limits.time(Local::DialBackoffMs));
        let mut burst = Burst::default();
        let (mut last_failure, mut failures) = (String::new(), 0);
        loop {
            self.peer.wait_while_cut();
            match self.session(&mut burst) {
                Ok(Use::Carried) => {
                    last_failure.clear();
                    backoff.reset();
                }
                Ok(Use::Idle) => last_failure.clear(),
                // Logged once while the reason stays the same, not at every dial; and seldom if it changes all the
                // time.
                Err(error) => {
                    let failure = error.to_string();
                    if failure != last_failure {
                        failures += 1;
                        if is_logged(failures) {
                            log::info!(
                                "no link to {}: {failure}; dialling again",
                                Name::Node(self.peer.id())
                            );
                        }
                        last_failure = failure;
                    }
                }
            }
            if self.peer.wait_to_dial(backoff.pause(rand::u64())) {
                backoff.reset();
            }
        }
    }

    /// Dials, and serves the session to its end. `Err` if there was no session.
    fn session(&mut self, burst: &mut Burst) -> Result<Use, DialError> {
        let patience = self.process.limits.time(Local::HandshakeTimeMs);
        // Before the handshake, from which on the listener counts our silence: four long delays exceed its patience.
        if let Some(emulated) = &self.emulated {
            thread::sleep(emulated.dial_time(Instant::now()));
        }
        let mut stream = connect(&self.host, patience)?;
        let local = LocalHello { incarnation: self.process.incarnation, decided: self.process.decided() };
        let testbed = self.process.committee.testbed();
        let (session, hello) = dial::handshake(
            &mut stream,
            patience,
            &self.process.identity,
            testbed,
            Some(self.expected),
            local,
        )?;
        let Session { mut sealer, opener } = session;
        let listener = self.recognize(&hello);
        if let Err(error) = self.peer.link_up(listener, hello.next_expected) {
            self.acks.refuse(ACK_NEVER_SENT);
            return Err(io::Error::other(format!("the listener {error}")).into());
        }
        self.listener = Some(hello.incarnation);
        if self.peer.is_logged() {
            log::info!("the link to {} is up", Name::Node(self.peer.id()));
        }
        let reading = stream.try_clone()?;
        self.acks.add(NewLink {
            peer: self.peer.clone(),
            stream: reading,
            opener,
            hello,
            listener,
            emulated: self.emulated.clone(),
        });
        let ended = self.write_frames(&mut stream, &mut sealer, burst);
        if let Err(error) = ended {
            // The acks loop notices the shutdown; it alone declares the link lost.
            log::debug!("the link to {} cannot be written to: {error}", Name::Node(self.peer.id()));
            let _ = stream.shutdown(Shutdown::Both);
            self.wait_until_lost();
        }
        if self.peer.is_logged() {
            log::info!("the link to {} is lost", Name::Node(self.peer.id()));
        }
        Ok(self.peer.link_use())
    }

    fn recognize(&self, hello: &ListenerHello) -> Listener {
        if self.listener == Some(hello.incarnation) { Listener::Same } else { Listener::New }
    }

    /// Writes frames until the link is lost.
    fn write_frames(
        &mut self,
        stream: &mut TcpStream,
        sealer: &mut Sealer,
        burst: &mut Burst,
    ) -> io::Result<()> {
        if self.emulated.is_some() {
            return self.write_delayed(stream, sealer, burst);
        }
        let mut outgoing = Vec::new();
        loop {
            match self.peer.take(&mut outgoing) {
                Work::Lost => return Ok(()),
                Work::Nothing => thread::park(),
                Work::Write { ping } => {
                    if let Some(sequence) = ping {
                        burst.push_ping(sealer, sequence, self.process.decided());
                    }
                    for outgoing in outgoing.drain(..) {
                        burst.push(sealer, outgoing);
                    }
                    burst.write_to(stream)?;
                }
                Work::Delay => self.write_delayed(stream, sealer, burst)?,
            }
        }
    }

    /// Writes frames when they have passed the delay line, until the link is lost or needs the line no longer.
    fn write_delayed(
        &mut self,
        stream: &mut TcpStream,
        sealer: &mut Sealer,
        burst: &mut Burst,
    ) -> io::Result<()> {
        self.line.clear(Instant::now());
        let mut outgoing = Vec::new();
        while let Some(rule) = self.peer.rule() {
            let now = Instant::now();
            let emulated = self.emulated.as_ref().map_or_else(Conditions::default, |link| link.there(now));
            self.line.set_conditions(rule.on(emulated));
            self.line.set_cut(now, rule == LinkRule::Cut);
            if self.emulated.is_none() && rule == LinkRule::None && self.line.is_empty() {
                break;
            }
            let Taken { ping, has_more } = self.peer.take_some(self.line.room(now), &mut outgoing);
            if let Some(sequence) = ping {
                self.line.push(now, OnItsWay::Ping { sequence, decided: self.process.decided() });
            }
            for outgoing in outgoing.drain(..) {
                self.line.push(now, OnItsWay::Outgoing(outgoing));
            }
            self.line.set_has_more(has_more);
            while let Some(frame) = self.line.pop(now) {
                match frame {
                    OnItsWay::Outgoing(outgoing) => burst.push(sealer, outgoing),
                    OnItsWay::Ping { sequence, decided } => burst.push_ping(sealer, sequence, decided),
                }
            }
            burst.write_to(stream)?;
            match self.line.wait(now) {
                Some(wait) => thread::park_timeout(wait),
                None => thread::park(),
            }
        }
        Ok(())
    }

    fn wait_until_lost(&self) {
        while self.peer.is_linked() {
            thread::park();
        }
    }
}

/// A connection to the host's public address. Resolves the name at each dial, since its address may change.
fn connect(host: &Host, patience: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in (host.public.as_str(), host.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
