//! The round loop: one thread that takes events off the inbound queue, feeds the machine, and does what it says.
//!
//! It never waits for a socket or a child: what it has to send goes to the outlets' threads. It takes in what is there,
//! for a millisecond at most, before it hands over what that led to, so a burst costs one wake-up of each writer and
//! yet nothing to be sent waits for long. It sleeps until the machine's next wake-up, or for ever if there is none: an
//! idle node uses no CPU.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use bft::event::{Effect, Event};
use bft::time::{Span, Time};
use bft::trace::Tracing;
use wire::bytes::Bytes;
use wire::client::Request;
use wire::codec;
use wire::envelope::{FromCore, ToCore};
use wire::ids::ClientId;

use crate::child::Child;
use crate::inbound::Inbound;
use crate::machine::Machine;
use crate::metrics::{Meters, Snapshot};
use crate::outlet::Outlet;
use crate::rounds::RoundsFile;
use crate::status::StatusReply;
use crate::vitals::{Start, Vitals};

/// The loop's state.
pub(crate) struct Driver<M> {
    machine: M,
    inbound: Receiver<Inbound>,
    origin: Instant,
    rounds: RoundsFile,
    vitals: Vitals,
    status: StatusReply,
    meters: Meters,
    /// Since when what is to be sent gathers.
    gathering_since: Time,
    net_client: Exit,
    net_server: Exit,
}

/// The way to one child: its outlet, if it has ever run, and what has gathered for it.
#[derive(Default)]
struct Exit {
    outlet: Option<Outlet>,
    messages: Vec<(FromCore, Bytes)>,
}

/// Why the loop ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It was asked to.
    Stopped,
    /// A child can't be kept running.
    ChildFailed(String),
}

/// Batches of events taken before the loop looks at what is due.
const BATCHES_A_TURN: usize = 16;
/// How long what is to be sent may gather while there is more to take in.
const GATHER_TIME: Span = Span::from_ms(1);

impl<M: Machine> Driver<M> {
    /// A loop over `inbound` whose time begins now.
    pub(crate) fn new(machine: M, inbound: Receiver<Inbound>, rounds: RoundsFile) -> Driver<M> {
        Driver {
            machine,
            inbound,
            origin: Instant::now(),
            rounds,
            vitals: Vitals::default(),
            status: StatusReply::default(),
            meters: Meters::default(),
            gathering_since: Time::default(),
            net_client: Exit::default(),
            net_server: Exit::default(),
        }
    }

    /// Runs until it is asked to stop or can't go on; gives the machine back.
    pub(crate) fn run(mut self) -> (M, Ended) {
        let ended = self.turns();
        self.rounds.flush();
        (self.machine, ended)
    }

    fn turns(&mut self) -> Ended {
        self.feed(Event::Tick);
        loop {
            self.hand_over();
            let mut next = self.wait();
            self.gathering_since = self.now();
            let mut batches_left = BATCHES_A_TURN;
            while let Some(inbound) = next {
                if let Some(ended) = self.take(inbound) {
                    return ended;
                }
                batches_left -= 1;
                next = if batches_left > 0 { self.inbound.try_recv().ok() } else { None };
            }
            if self.machine.next_wakeup().is_some_and(|due| due <= self.now()) {
                self.feed(Event::Tick);
            }
            if self.rounds.due().is_some_and(|due| due <= Instant::now()) {
                self.rounds.flush();
            }
        }
    }

    /// Waits for something to come in, but no longer than until something else is due.
    fn wait(&self) -> Option<Inbound> {
        let wakeup = self.machine.next_wakeup().map(|due| self.origin + Duration::from_micros(due.0));
        let Some(deadline) = wakeup.into_iter().chain(self.rounds.due()).min() else {
            return Some(self.inbound.recv().unwrap_or(Inbound::Stop));
        };
        match self.inbound.recv_deadline(deadline) {
            Ok(inbound) => Some(inbound),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Inbound::Stop),
        }
    }

    fn take(&mut self, inbound: Inbound) -> Option<Ended> {
        match inbound {
            Inbound::Messages { child, messages, permit } => {
                for (message, body) in messages {
                    self.take_message(child, message, body);
                }
                // Given back only now: what is being handled still counts as held.
                drop(permit);
            }
            Inbound::Started { child, pid, outlet } => self.take_start(child, pid, outlet),
            // An answer that nobody waits for any more is dropped.
            Inbound::Question(asker) => drop(asker.try_send(Box::new(self.snapshot()))),
            Inbound::Failed(reason) => return Some(Ended::ChildFailed(reason)),
            Inbound::Stop => return Some(Ended::Stopped),
        }
        None
    }

    fn take_message(&mut self, child: Child, message: ToCore, body: Bytes) {
        match message {
            ToCore::Peer { from, digest } => {
                self.meters.received.count(&body);
                self.feed(Event::Peer { from, digest, body });
            }
            ToCore::PeerUp { peer } => {
                self.vitals.peer_up(child, peer);
                self.feed(Event::PeerUp { peer });
            }
            ToCore::PeerBack { peer } => self.vitals.peer_up(child, peer),
            ToCore::PeerDecided { peer, decided } => self.feed(Event::PeerDecided { peer, decided }),
            ToCore::PeerDown { peer } => {
                if self.vitals.is_last_session_down(child, peer) {
                    self.feed(Event::PeerDown { peer });
                }
            }
            ToCore::Client { client } if is_status(&body) => self.reply_status(client),
            ToCore::Client { client } => {
                self.vitals.client_spoke(client);
                self.feed(Event::Client { client, body });
            }
            ToCore::ClientGone { client } => {
                self.vitals.client_gone(client);
                self.feed(Event::ClientGone { client });
            }
            ToCore::Counters { links, refused } => self.vitals.counted(child, &links, refused),
        }
    }

    fn take_start(&mut self, child: Child, pid: u32, outlet: Outlet) {
        let exit = self.exit(child);
        exit.outlet = Some(outlet);
        let Start::Again(ended) = self.vitals.child_started(child, pid) else { return };
        for client in ended.clients {
            self.feed(Event::ClientGone { client });
        }
        for peer in ended.peers {
            self.feed(Event::PeerDown { peer });
        }
        self.feed(Event::ChildRestarted);
    }

    /// Lets the machine take in an event, and does what it says.
    fn feed(&mut self, event: Event) {
        let now = self.now();
        for effect in self.machine.handle(now, event) {
            match effect {
                Effect::Send { dest, class, digest, body } => {
                    self.meters.sent.count(&body);
                    self.net_client.push(FromCore::Send { dest, class, digest }, body);
                }
                Effect::Reply { client, body } => self.net_server.push(FromCore::Reply { client }, body),
                Effect::Progress(progress) => {
                    self.net_client.push(FromCore::Progress(progress.clone()), Bytes::from(Vec::new()));
                    self.net_server.push(FromCore::Progress(progress), Bytes::from(Vec::new()));
                }
                Effect::Executed(report) => {
                    self.meters.executed(&report);
                    self.rounds.add(&report);
                }
                Effect::Fault(fault) => self.vitals.fault(fault),
                Effect::Trace { detail, event } => match detail {
                    Tracing::Off | Tracing::Steps => log::debug!("{event}"),
                    Tracing::All => log::trace!("{event}"),
                },
            }
        }
        if now.since(self.gathering_since) >= GATHER_TIME {
            self.hand_over();
            self.gathering_since = now;
        }
    }

    fn hand_over(&mut self) {
        self.net_client.hand_over();
        self.net_server.hand_over();
    }

    fn reply_status(&mut self, client: ClientId) {
        let now = self.now();
        let body = self.status.at(now, || self.vitals.complete(now, self.machine.status()));
        self.net_server.push(FromCore::Reply { client }, body);
    }

    /// What there is to be told to a scrape.
    fn snapshot(&self) -> Snapshot {
        let status = self.vitals.complete(self.now(), self.machine.status_at_hand());
        let mut snapshot = Snapshot { status, meters: self.meters.clone(), ..self.vitals.figures() };
        for (child, exit) in [(Child::NetClient, &self.net_client), (Child::NetServer, &self.net_server)] {
            let figures = snapshot.children.entry(child).or_default();
            figures.waiting_bytes = exit.outlet.as_ref().map_or(0, Outlet::waiting_bytes);
        }
        snapshot
    }

    fn exit(&mut self, child: Child) -> &mut Exit {
        match child {
            Child::NetClient => &mut self.net_client,
            Child::NetServer => &mut self.net_server,
        }
    }

    fn now(&self) -> Time {
        Time(u64::try_from(self.origin.elapsed().as_micros()).expect("a process does not run for ages"))
    }
}

impl Exit {
    fn push(&mut self, message: FromCore, body: Bytes) {
        self.messages.push((message, body));
    }

    /// Hands what has gathered to the writer. Before the child first runs it goes on gathering: the core says little
    /// before anyone has spoken to it.
    fn hand_over(&mut self) {
        if let Some(outlet) = &self.outlet
            && !self.messages.is_empty()
        {
            outlet.send(std::mem::take(&mut self.messages));
        }
    }
}

/// How much the machine is to tell of its steps: what the log will take.
pub(crate) fn tracing() -> Tracing {
    if log::log_enabled!(log::Level::Trace) {
        Tracing::All
    } else if log::log_enabled!(log::Level::Debug) {
        Tracing::Steps
    } else {
        Tracing::Off
    }
}

/// Whether a client asks how the node is: the one request that is ours to answer.
fn is_status(body: &[u8]) -> bool {
    /// A request without fields is its number; all others are longer or have a tail.
    const STATUS_BYTES: usize = 4;
    body.len() == STATUS_BYTES && codec::decode(body) == Ok(Request::Status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_status_requests_are_answered_here() {
        assert!(is_status(&codec::encode(&Request::Status)));
        assert!(!is_status(&codec::encode(&Request::Submit)));
        assert!(!is_status(&codec::encode(&Request::Query(vec![]))));
        assert!(!is_status(&[9, 9, 9, 9]));
        assert!(!is_status(&[]));
    }
}
