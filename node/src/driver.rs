//! The round loop: one thread that takes events from the inbound queue, feeds the machine, and carries out its effects.
//!
//! It never waits for a socket or a child: messages go to the threads of the outlets. It buffers messages for at most a
//! millisecond while there are more events, so a burst costs one wake-up of each writer and no message waits for long.
//! It sleeps until the machine's next wake-up, or for ever if there is none: an idle node uses no CPU.
//!
//! All input takes the one queue, status requests too. While the queue lags, a request would wait for seconds behind
//! the messages of peers. So the loop then hands its status to `net_server` twice a second, which answers clients with
//! it.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use bft::event::{Effect, Event, JumpReport};
use bft::journal::Sessions;
use bft::time::{Span, Time};
use bft::trace::Tracing;
use wire::audit::Question;
use wire::bytes::Bytes;
use wire::client::{NodeStatus, Reply, Request};
use wire::codec;
use wire::dest::Dest;
use wire::envelope::{Class, FromCore, Progress, ToCore};
use wire::ids::{ClientId, Digest, NodeId};
use wire::limits::STATUS_EVERY;

use crate::audit::Audits;
use crate::child::Child;
use crate::history::Wanted;
use crate::inbound::Inbound;
use crate::journal::{Journal, Written};
use crate::lag::LagLog;
use crate::link_rules::LinkRules;
use crate::machine::Machine;
use crate::metrics::{Meters, Snapshot};
use crate::outlet::{Dropped, Outlet};
use crate::rounds::{RoundsFile, now_ms};
use crate::silence::Silences;
use crate::stats::{Start, Stats};
use crate::status::StatusReply;
use crate::subscriptions::Subscriptions;

/// The state of the loop.
pub(crate) struct Driver<M> {
    machine: M,
    inbound: Receiver<Inbound>,
    origin: Instant,
    beginning: Beginning,
    rounds: RoundsFile,
    stats: Stats,
    status: StatusReply,
    audits: Audits,
    subscriptions: Subscriptions,
    /// When a status was last handed to `net_server` without a request.
    status_shared: Option<Instant>,
    lag: LagLog,
    silences: Silences,
    /// Where events are written down before their effects leave, if they are.
    journal: Option<Journal>,
    meters: Meters,
    /// Since when messages to the children are buffered.
    buffering_since: Time,
    link_rules: LinkRules,
    /// The last one, for a child that starts again.
    progress: Option<Progress>,
    net_client: Outbound,
    net_server: Outbound,
}

/// Where a loop begins.
pub(crate) enum Beginning {
    /// At time zero, with a new machine.
    First,
    /// At this time, with the machine of an earlier start and the sessions that it still believes in.
    Again { now: Time, sessions: Sessions },
}

/// The messages to one child: its outlet, once it has run, and a buffer.
#[derive(Default)]
struct Outbound {
    outlet: Option<Outlet>,
    messages: Vec<(FromCore, Bytes)>,
}

/// Why the loop ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// By a request.
    Stopped,
    /// A child cannot be kept running, or the journal not be written.
    Failed(String),
}

/// Batches handled before the loop checks what is due.
const BATCHES_A_TURN: usize = 16;
/// If a batch has waited for longer, the inbound queue lags.
const LAG_MIN: Duration = Duration::from_millis(100);
/// How long messages may be buffered while there are more events.
const BUFFER_TIME: Span = Span::from_ms(1);

impl<M: Machine> Driver<M> {
    /// A loop that begins now.
    pub(crate) fn new(
        machine: M,
        inbound: Receiver<Inbound>,
        rounds: RoundsFile,
        silences: Silences,
        journal: Option<Journal>,
        beginning: Beginning,
    ) -> Driver<M> {
        let buffering_since = beginning.now();
        Driver {
            machine,
            inbound,
            origin: Instant::now(),
            beginning,
            rounds,
            stats: Stats::default(),
            status: StatusReply::default(),
            audits: Audits::default(),
            subscriptions: Subscriptions::default(),
            status_shared: None,
            lag: LagLog::default(),
            silences,
            journal,
            meters: Meters::default(),
            buffering_since,
            link_rules: LinkRules::default(),
            progress: None,
            net_client: Outbound::default(),
            net_server: Outbound::default(),
        }
    }

    /// Runs until a stop request or a failure; returns the machine.
    pub(crate) fn run(mut self) -> (M, Ended) {
        let mut ended = self.turns();
        match self.journal.take().map(Journal::end) {
            // What the journal does not have did not happen.
            Some(Err(reason)) => ended = Ended::Failed(reason),
            None | Some(Ok(())) => self.rounds.flush(u64::MAX),
        }
        (self.machine, ended)
    }

    fn turns(&mut self) -> Ended {
        // After a start that has done much again: the next one need not.
        self.snapshot_if_due();
        self.begin();
        loop {
            self.flush();
            let mut next = self.wait();
            self.buffering_since = self.now();
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
                self.flush_rounds();
            }
        }
    }

    /// The first events. All connections of an earlier start are gone, and what was under way in its processes.
    fn begin(&mut self) {
        if let Beginning::Again { sessions, .. } = &mut self.beginning {
            let Sessions { clients, peers } = std::mem::take(sessions);
            self.sessions_ended(clients, peers);
            self.feed(Event::ChildRestarted);
        }
        self.feed(Event::Tick);
    }

    fn sessions_ended(
        &mut self,
        clients: impl IntoIterator<Item = ClientId>,
        peers: impl IntoIterator<Item = NodeId>,
    ) {
        for client in clients {
            self.subscriptions.gone(client);
            self.feed(Event::ClientGone { client });
        }
        peers.into_iter().for_each(|peer| self.feed(Event::PeerDown { peer }));
    }

    /// Waits for input until something else is due.
    fn wait(&self) -> Option<Inbound> {
        let after = |due: Time| Duration::from_micros(due.since(self.beginning.now()).0);
        let wakeup = self.machine.next_wakeup().map(|due| self.origin + after(due));
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
                // Released only now: messages count until they are handled, and written down if they are.
                match &mut self.journal {
                    Some(journal) => journal.keep(permit),
                    None => drop(permit),
                }
            }
            Inbound::FromJournal { to, class, digest, body, permit } => {
                self.send(Dest::Node(to), class, Some(digest), body);
                drop(permit);
            }
            Inbound::Started { child, pid, outlet } => self.take_start(child, pid, outlet),
            Inbound::Rule { peer, rule } => {
                let message = self.link_rules.set(peer, rule);
                self.net_client.push(message, Bytes::from(Vec::new()));
            }
            // Fails if the scrape has given up waiting.
            Inbound::Snapshot(reply_to) => drop(reply_to.try_send(Box::new(self.snapshot()))),
            Inbound::Failed(reason) => return Some(Ended::Failed(reason)),
            Inbound::Stop => return Some(Ended::Stopped),
        }
        None
    }

    fn take_message(&mut self, child: Child, message: ToCore, body: Bytes) {
        match message {
            ToCore::Peer { from, digest } => {
                self.meters.received.count(&body);
                self.silences.heard(self.now(), from);
                self.feed(Event::Peer { from, digest, body });
            }
            ToCore::PeerUp { peer } => {
                self.peer_up(child, peer);
                self.feed(Event::PeerUp { peer });
            }
            ToCore::PeerBack { peer } => self.peer_up(child, peer),
            ToCore::PeerDecided { peer, decided } => self.feed(Event::PeerDecided { peer, decided }),
            ToCore::PeerDown { peer } => {
                if self.stats.is_last_session_down(child, peer) {
                    self.feed(Event::PeerDown { peer });
                }
            }
            ToCore::Client { client } if Request::is_status(&body) => self.reply_status(client),
            ToCore::Client { client } => self.take_request(client, body),
            ToCore::ClientGone { client } => {
                self.subscriptions.gone(client);
                self.stats.client_gone(client);
                self.feed(Event::ClientGone { client });
            }
            ToCore::Counters { links, refused } => self.stats.counted(child, &links, refused),
        }
    }

    /// A request but for the status: those that need no core are answered here.
    fn take_request(&mut self, client: ClientId, body: Bytes) {
        if let Some(question) = Request::ledger_question(&body) {
            self.reply_of_ledger(client, question);
            return;
        }
        self.stats.client_seen(client);
        match Request::subscription(&body) {
            Some(events) => self.subscriptions.grant(client, events),
            None => self.feed(Event::Client { client, body }),
        }
    }

    /// A session with a peer was established. One that has dialled us was away, so our next dial may be 10 s ahead.
    fn peer_up(&mut self, child: Child, peer: NodeId) {
        self.stats.peer_up(child, peer);
        if child == Child::NetServer {
            self.net_client.push(FromCore::Dial { peer }, Bytes::from(Vec::new()));
        }
    }

    fn take_start(&mut self, child: Child, pid: u32, outlet: Outlet) {
        self.outbound(child).outlet = Some(outlet);
        // First of all: hellos name the decided round, and what is finished need not be sent.
        let progress = self.progress.clone().map(|it| (FromCore::Progress(it), Bytes::from(Vec::new())));
        self.outbound(child).messages.splice(..0, progress);
        if child == Child::NetClient {
            // Before anything is sent: a link that is cut must not carry the first messages of a new process.
            let rules = self.link_rules.all().map(|rule| (rule, Bytes::from(Vec::new())));
            self.net_client.messages.splice(..0, rules);
        }
        let Start::Again(ended) = self.stats.child_started(child, pid) else { return };
        self.sessions_ended(ended.clients, ended.peers);
        self.feed(Event::ChildRestarted);
    }

    /// Feeds an event to the machine and carries out its effects.
    fn feed(&mut self, event: Event) {
        let now = self.now();
        if let Some(journal) = &mut self.journal {
            journal.note(now, &event);
        }
        for effect in self.machine.handle(now, event) {
            if let Some(journal) = &mut self.journal {
                journal.note_effect(&effect);
            }
            match effect {
                Effect::Send { dest, class, digest, body } => self.send(dest, class, digest, body),
                Effect::SendKept { to, class, digest } => {
                    let journal = self.journal.as_ref().expect("without a journal the history is in memory");
                    journal.send_kept(Wanted { to, class, digest });
                }
                Effect::Reply { client, body } => self.net_server.push(FromCore::Reply { client }, body),
                Effect::Progress(progress) => {
                    self.net_client.push(FromCore::Progress(progress.clone()), Bytes::from(Vec::new()));
                    self.net_server.push(FromCore::Progress(progress.clone()), Bytes::from(Vec::new()));
                    self.progress = Some(progress);
                }
                Effect::Executed(report) => {
                    self.meters.executed(&report);
                    self.rounds.add(&report, self.records());
                    for (client, body) in self.subscriptions.executed(&report) {
                        self.net_server.push(FromCore::Reply { client }, body);
                    }
                }
                Effect::Jumped(report) => {
                    log::warn!("{}", took_over(&report));
                    self.rounds.jump(&report, now_ms(), self.records());
                    self.stats.took_over(&report);
                }
                Effect::Fault(fault) => self.stats.fault(fault),
                Effect::Trace { detail, event } => match detail {
                    Tracing::Off | Tracing::Steps => log::debug!("{event}"),
                    Tracing::All => log::trace!("{event}"),
                },
            }
        }
        if self.lag.is_due(now) {
            let NodeStatus { executed, behind, history_lost, .. } = self.machine.status_at_hand();
            self.lag.look(now, executed, behind, history_lost);
            self.silences.look(now);
        }
        if now.since(self.buffering_since) >= BUFFER_TIME {
            self.flush();
            self.buffering_since = now;
        }
    }

    fn send(&mut self, dest: Dest, class: Class, digest: Option<Digest>, body: Bytes) {
        self.meters.sent.count(&body);
        self.silences.sent(&dest);
        self.net_client.push(FromCore::Send { dest, class, digest }, body);
    }

    /// Passes on what is buffered: first what must be written, then what waits for it.
    fn flush(&mut self) {
        self.pass_on();
        self.snapshot_if_due();
    }

    fn pass_on(&mut self) {
        let after = self.journal.as_mut().map(Journal::flush);
        let dropped = self.net_client.flush(after.clone());
        self.stats.dropped(dropped);
        // Nothing that goes to net_server is for a peer.
        self.net_server.flush(after);
    }

    fn snapshot_if_due(&mut self) {
        let machine = &self.machine;
        if let Some(journal) = self.journal.as_mut().filter(|journal| journal.is_snapshot_due(machine)) {
            journal.snapshot(&self.machine);
            // A start does not learn again of blocks from before.
            self.flush_rounds();
        }
    }

    /// Records that the journal has once the event that is handled now is written.
    fn records(&self) -> u64 {
        self.journal.as_ref().map_or(0, Journal::records)
    }

    /// Writes the lines of blocks as far as the journal is written.
    fn flush_rounds(&mut self) {
        self.rounds.flush(self.journal.as_ref().map_or(u64::MAX, Journal::written));
    }

    fn reply_status(&mut self, client: ClientId) {
        let body = self.status();
        self.net_server.push(FromCore::Reply { client }, body);
    }

    /// Answers if there is an answer yet; the client repeats its question.
    fn reply_of_ledger(&mut self, client: ClientId, question: Question) {
        let machine = &self.machine;
        if let Some(body) = self.audits.answer(question, || machine.ledger()) {
            self.net_server.push(FromCore::Reply { client }, body);
        }
    }

    /// Hands the status to `net_server`, unless that was done a moment ago.
    fn share_status(&mut self) {
        if self.status_shared.is_none_or(|last| last.elapsed() >= STATUS_EVERY) {
            self.status_shared = Some(Instant::now());
            // Without counting coins: a loop that lags has no time for that.
            let status = self.complete(self.machine.status_at_hand());
            let body = Bytes::from(codec::encode(&Reply::Status(Box::new(status))));
            self.net_server.push(FromCore::Status, body);
            self.flush();
        }
    }

    fn status(&mut self) -> Bytes {
        let mut reply = std::mem::take(&mut self.status);
        let body = reply.at(self.now(), || self.complete(self.machine.status()));
        self.status = reply;
        body
    }

    /// Adds to a status of the core what only processes know.
    fn complete(&self, status: NodeStatus) -> NodeStatus {
        let received = self.meters.received.all().filter(|(_, messages, _)| *messages > 0);
        let received = received.map(|(kind, messages, bytes)| (kind.name().to_string(), messages, bytes));
        NodeStatus { received: received.collect(), ..self.stats.complete(self.up(), status) }
    }

    /// Everything that the loop knows for a metrics scrape.
    fn snapshot(&self) -> Snapshot {
        let status = self.complete(self.machine.status_at_hand());
        let mut snapshot = Snapshot { status, meters: self.meters.clone(), ..self.stats.figures() };
        for (child, outbound) in [(Child::NetClient, &self.net_client), (Child::NetServer, &self.net_server)]
        {
            let figures = snapshot.children.entry(child).or_default();
            figures.waiting_bytes = outbound.outlet.as_ref().map_or(0, Outlet::waiting_bytes);
        }
        snapshot
    }

    fn outbound(&mut self, child: Child) -> &mut Outbound {
        match child {
            Child::NetClient => &mut self.net_client,
            Child::NetServer => &mut self.net_server,
        }
    }

    fn now(&self) -> Time {
        self.beginning.now() + self.up()
    }

    /// Since this start of the node.
    fn up(&self) -> Span {
        Span(u64::try_from(self.origin.elapsed().as_micros()).expect("2^64 µs are 584,000 years"))
    }
}

impl Beginning {
    pub(crate) fn now(&self) -> Time {
        match self {
            Beginning::First => Time::default(),
            Beginning::Again { now, .. } => *now,
        }
    }
}

impl Outbound {
    fn push(&mut self, message: FromCore, body: Bytes) {
        self.messages.push((message, body));
    }

    /// Passes the buffer to the writer. Before the child first runs the buffer is kept; it stays short, since the core
    /// has no input yet: at most what was open when an earlier start of the node ended.
    fn flush(&mut self, after: Option<Written>) -> Dropped {
        match &self.outlet {
            Some(outlet) if !self.messages.is_empty() => {
                outlet.send(std::mem::take(&mut self.messages), after)
            }
            _ => Dropped::new(),
        }
    }
}

/// The level of detail of the machine's traces: that of the log.
pub(crate) fn tracing() -> Tracing {
    if log::log_enabled!(log::Level::Trace) {
        Tracing::All
    } else if log::log_enabled!(log::Level::Debug) {
        Tracing::Steps
    } else {
        Tracing::Off
    }
}

/// The log's line on a state that was taken over.
fn took_over(report: &JumpReport) -> String {
    let JumpReport { from, height, bytes, vouchers, .. } = report;
    let vouchers: Vec<String> = vouchers.iter().map(NodeId::to_string).collect();
    format!(
        "took over the state after round {height}, {bytes} bytes, for which nodes {} vouch: nobody has the blocks after \
         round {from} any more; rounds {} to {height} are missing in the CSV of rounds",
        vouchers.join(", "),
        from.next()
    )
}

#[cfg(test)]
mod tests;
