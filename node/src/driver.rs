//! The round loop: one thread that takes events off the inbound queue, feeds the machine, and does what it says.
//!
//! It never waits for a socket or a child: what it has to send goes to the outlets' threads. It takes in what is there,
//! for a millisecond at most, before it hands over what that led to, so a burst costs one wake-up of each writer and
//! yet nothing to be sent waits for long. It sleeps until the machine's next wake-up, or for ever if there is none: an
//! idle node uses no CPU.
//!
//! Everything comes in by the one queue, status requests too. While that lags, a request would wait for seconds behind
//! the messages of peers, so the loop hands its status to `net_server` twice a second, unasked, to answer clients with.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use bft::event::{Effect, Event};
use bft::time::{Span, Time};
use bft::trace::Tracing;
use wire::bytes::Bytes;
use wire::client::{NodeStatus, Request};
use wire::envelope::{FromCore, ToCore};
use wire::ids::ClientId;
use wire::limits::STATUS_EVERY;

use crate::child::Child;
use crate::inbound::Inbound;
use crate::lag::LagLog;
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
    /// When a status was last handed to `net_server` unasked.
    status_shared: Option<Instant>,
    lag: LagLog,
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
/// A batch that waited for longer shows that the inbound queue lags.
const LAG_MIN: Duration = Duration::from_millis(100);
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
            status_shared: None,
            lag: LagLog::default(),
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
            Inbound::Messages { child, messages, since, permit } => {
                if since.elapsed() >= LAG_MIN {
                    self.share_status();
                }
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
            ToCore::Client { client } if Request::is_status(&body) => self.reply_status(client),
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
        if self.lag.is_due(now) {
            let NodeStatus { executed, behind, history_lost, .. } = self.machine.status_at_hand();
            self.lag.look(now, executed, behind, history_lost);
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
        let body = self.status();
        self.net_server.push(FromCore::Reply { client }, body);
    }

    /// Hands the status to `net_server`, unless that was done a moment ago.
    fn share_status(&mut self) {
        if self.status_shared.is_none_or(|last| last.elapsed() >= STATUS_EVERY) {
            self.status_shared = Some(Instant::now());
            let body = self.status();
            self.net_server.push(FromCore::Status, body);
            self.net_server.hand_over();
        }
    }

    fn status(&mut self) -> Bytes {
        let now = self.now();
        self.status.at(now, || self.vitals.complete(now, self.machine.status()))
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use wire::client::Reply;
    use wire::codec;
    use wire::ids::NodeId;
    use wire::ipc::IpcReader;

    use super::*;
    use crate::inbound;

    const CLIENT: ClientId = ClientId(7);

    /// A machine that counts what it takes in.
    #[derive(Default)]
    struct Counter(u64);

    impl Machine for Counter {
        fn handle(&mut self, _: Time, _: Event) -> Vec<Effect> {
            self.0 += 1;
            Vec::new()
        }

        fn next_wakeup(&self) -> Option<Time> {
            None
        }

        fn status(&self) -> NodeStatus {
            NodeStatus { finished: self.0, ..NodeStatus::default() }
        }
    }

    /// What the loop sends `net_server` for batches that waited for so long and a status request after them: each
    /// message, and how many events the status in it counts.
    fn sent(waited: &[Duration]) -> Vec<(FromCore, u64)> {
        let (sender, receiver) = inbound::queue();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let outlet = Outlet::start(Child::NetServer, ours, u64::MAX).unwrap();
        sender.send(Inbound::Started { child: Child::NetServer, pid: 1, outlet }).unwrap();
        for waited in waited {
            let peer_up = (ToCore::PeerUp { peer: NodeId(1) }, Bytes::from(Vec::new()));
            sender.messages_since(Instant::now() - *waited, Child::NetServer, vec![peer_up]).unwrap();
        }
        let request = (ToCore::Client { client: CLIENT }, Bytes::from(codec::encode(&Request::Status)));
        sender.messages(Child::NetServer, vec![request]).unwrap();
        let rounds = RoundsFile::create("/dev/null".as_ref()).unwrap();
        let driver = std::thread::spawn(|| Driver::new(Counter::default(), receiver, rounds).run());
        let (mut reader, mut sent) = (IpcReader::<FromCore>::new(), Vec::new());
        while !matches!(sent.last(), Some((FromCore::Reply { .. }, _))) {
            let (message, body) = reader.receive(&mut theirs).unwrap().unwrap();
            let Ok(Reply::Status(status)) = codec::decode(&body) else { panic!("a status: {message:?}") };
            sent.push((message, status.finished));
        }
        sender.send(Inbound::Stop).unwrap();
        driver.join().unwrap();
        sent
    }

    #[test]
    fn a_loop_that_lags_hands_its_status_over_before_what_waits() {
        let (short, long) = (LAG_MIN / 4, 10 * LAG_MIN);
        // The first event is a tick.
        assert_eq!(sent(&[short, short]), [(FromCore::Reply { client: CLIENT }, 3)]);
        let sent = sent(&[short, long, long]);
        assert_eq!(sent[0], (FromCore::Status, 2));
        assert_eq!(sent.len(), 2, "two lagging batches in a row make one status: {sent:?}");
    }
}
