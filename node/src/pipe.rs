//! The raw pipe: bodies broadcast through the three processes of every node, with a counter in the core's place.
//!
//! It measures the throughput of the processes without agreement: the ceiling for benchmarks of the protocol
//! (docs/design.md §2). Each node keeps a window of numbered bodies open to the other members of its shard, and each of
//! them answers a body with a small ack. A body that all have acked counts once as payload.
//!
//! Receivers accept bodies in order only. After a second without progress the bodies that some member lacks are sent
//! again, since a process may have died with them; a body that arrives twice is acked twice. So the count continues
//! whatever is killed, and no body counts twice. An epoch, random for each node process, distinguishes the numbers of a
//! restarted node from earlier ones.
//!
//! ```text
//! body   1 u8 | epoch u64 | number u64 | filler          ack   2 u8 | epoch u64 | number u64     little endian
//! ```

use std::collections::BTreeMap;

use bft::event::{Effect, Event};
use bft::fault::{Fault, FaultKind};
use bft::time::{Span, Time};
use wire::bytes::Bytes;
use wire::client::NodeStatus;
use wire::dest::Dest;
use wire::envelope::{Class, Progress};
use wire::ids::{NodeId, Round, Seq};

use crate::machine::Machine;

/// The counter of one node.
#[derive(Debug)]
pub(crate) struct Pipe {
    node: NodeId,
    epoch: u64,
    settings: PipeSettings,
    filler: Vec<u8>,
    /// The number of the last body that was broadcast.
    last: u64,
    /// For each other member, the number up to which it has acked.
    acked: BTreeMap<NodeId, u64>,
    /// For each other member, its epoch and the number up to which its bodies have arrived.
    received: BTreeMap<NodeId, (u64, u64)>,
    /// The number up to which all have acked.
    confirmed: u64,
    /// When the first body and the last one so far were confirmed.
    span: Option<(Time, Time)>,
    /// When something was last confirmed or sent again.
    progress_at: Time,
    logged: Logged,
}

/// The last rate in the log.
#[derive(Debug, Default)]
struct Logged {
    at: Time,
    confirmed: u64,
}

/// The load of the pipe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PipeSettings {
    /// Length of a body.
    pub(crate) body_bytes: usize,
    /// Bodies under way at once.
    pub(crate) window: u64,
}

/// The result. The first body only starts the clock, so that dialling is not measured.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct PipeFigures {
    /// Bytes of own bodies that all others acked, each counted once.
    pub(crate) payload_bytes: u64,
    /// From the first of those acks to the last.
    pub(crate) seconds: f64,
}

/// Bytes of a message before its filler: the length of the shortest body.
pub(crate) const HEAD_BYTES: usize = 17;
const BODY: u8 = 1;
const ACK: u8 = 2;

const RESEND_AFTER: Span = Span::from_ms(1_000);
const LOG_EVERY: Span = Span::from_ms(1_000);

impl Pipe {
    /// A pipe from `node` to the `others` of its shard; `epoch` is random.
    pub(crate) fn new(
        node: NodeId,
        others: impl Iterator<Item = NodeId>,
        settings: PipeSettings,
        epoch: u64,
    ) -> Pipe {
        let filler = (HEAD_BYTES..settings.body_bytes).map(|at| (at.wrapping_mul(31) >> 3) as u8).collect();
        Pipe {
            node,
            epoch,
            settings,
            filler,
            last: 0,
            acked: others.map(|other| (other, 0)).collect(),
            received: BTreeMap::new(),
            confirmed: 0,
            span: None,
            progress_at: Time::default(),
            logged: Logged::default(),
        }
    }

    /// The result so far.
    pub(crate) fn figures(&self) -> PipeFigures {
        let (first, last) = self.span.unwrap_or_default();
        let bodies = self.confirmed.saturating_sub(1);
        let seconds = last.since(first).0 as f64 / 1e6;
        PipeFigures { payload_bytes: bodies * self.settings.body_bytes as u64, seconds }
    }

    /// Keeps the window full.
    fn fill_window(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.acked.is_empty() {
            return;
        }
        if self.last == self.confirmed {
            self.progress_at = now;
        }
        while self.last < self.confirmed + self.settings.window {
            self.last += 1;
            effects.push(self.broadcast(Dest::ShardOthers, self.last));
        }
    }

    fn broadcast(&self, dest: Dest, number: u64) -> Effect {
        let class = Class::Lane(self.node, Seq(number));
        Effect::Send { dest, class, digest: None, body: message(BODY, self.epoch, number, &self.filler) }
    }

    fn resend(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.progress_at = now;
        log::warn!(
            "nothing was confirmed in the pipe for a second; sending bodies from {} on again",
            self.confirmed + 1
        );
        for number in self.confirmed + 1..=self.last {
            let lacking = self.acked.iter().filter(|(_, acked)| **acked < number).map(|(node, _)| *node);
            effects.push(self.broadcast(Dest::Set(lacking.collect()), number));
        }
    }

    fn on_body(&mut self, from: NodeId, epoch: u64, number: u64) -> Effect {
        let (known_epoch, received) = self.received.entry(from).or_default();
        if *known_epoch != epoch {
            (*known_epoch, *received) = (epoch, 0);
        }
        if number == *received + 1 {
            *received = number;
        }
        let body = message(ACK, epoch, *received, &[]);
        Effect::Send { dest: Dest::Node(from), class: Class::Keep, digest: None, body }
    }

    fn on_ack(&mut self, now: Time, from: NodeId, number: u64, effects: &mut Vec<Effect>) {
        let Some(acked) = self.acked.get_mut(&from) else { return };
        *acked = number.max(*acked);
        let confirmed = self.acked.values().copied().min().expect("the sender is one of them");
        if confirmed == self.confirmed {
            return;
        }
        self.confirmed = confirmed;
        self.progress_at = now;
        self.span = Some((self.span.map_or(now, |(first, _)| first), now));
        let lanes = vec![(self.node, Seq(confirmed))];
        effects.push(Effect::Progress(Progress { decided: Round(0), lanes }));
        self.fill_window(now, effects);
        self.log_rate(now);
    }

    /// Logs the rate, at most once a second and only while there is one.
    fn log_rate(&mut self, now: Time) {
        let span = now.since(self.logged.at);
        if span < LOG_EVERY {
            return;
        }
        let bytes = (self.confirmed - self.logged.confirmed) * self.settings.body_bytes as u64;
        let bytes_per_s = bytes as f64 * 1e6 / span.0 as f64;
        log::info!(
            "the pipe carries {bytes_per_s:.0} payload bytes a second; {} bodies so far",
            self.confirmed
        );
        self.logged = Logged { at: now, confirmed: self.confirmed };
    }
}

impl Machine for Pipe {
    fn handle(&mut self, now: Time, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Peer { from, body, .. } => match parse(&body) {
                Some((BODY, epoch, number)) => effects.push(self.on_body(from, epoch, number)),
                Some((ACK, epoch, number)) if epoch == self.epoch && number <= self.last => {
                    self.on_ack(now, from, number, &mut effects);
                }
                // A late ack for an earlier process of this node.
                Some((ACK, _, _)) => {}
                _ => effects.push(Effect::Fault(Fault { peer: from, kind: FaultKind::Malformed })),
            },
            Event::Tick => self.fill_window(now, &mut effects),
            Event::PeerUp { .. }
            | Event::PeerDown { .. }
            | Event::PeerDecided { .. }
            | Event::ChildRestarted
            | Event::Client { .. }
            | Event::ClientGone { .. } => {}
        }
        if self.next_wakeup().is_some_and(|due| due <= now) {
            self.resend(now, &mut effects);
        }
        effects
    }

    fn next_wakeup(&self) -> Option<Time> {
        (self.last > self.confirmed).then(|| self.progress_at + RESEND_AFTER)
    }

    fn status(&self) -> NodeStatus {
        NodeStatus {
            finished: self.confirmed,
            lane_open: self.last - self.confirmed,
            ..NodeStatus::default()
        }
    }
}

fn message(kind: u8, epoch: u64, number: u64, filler: &[u8]) -> Bytes {
    let mut message = Vec::with_capacity(HEAD_BYTES + filler.len());
    message.push(kind);
    message.extend(epoch.to_le_bytes());
    message.extend(number.to_le_bytes());
    message.extend_from_slice(filler);
    Bytes::from(message)
}

/// Kind, epoch and number.
fn parse(message: &[u8]) -> Option<(u8, u64, u64)> {
    let (head, _) = message.split_first_chunk::<HEAD_BYTES>()?;
    let number = |at: usize| {
        u64::from_le_bytes(head[at..at + 8].try_into().expect("the head has two numbers of eight bytes"))
    };
    Some((head[0], number(1), number(9)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::ids::Digest;

    const WINDOW: u64 = 4;

    /// Three nodes whose messages the test delivers.
    struct Net {
        pipes: Vec<Pipe>,
        now: Time,
    }

    impl Net {
        fn new() -> Net {
            let settings = PipeSettings { body_bytes: 100, window: WINDOW };
            let pipe = |id: u16| {
                let others = (0..3).filter(move |other| *other != id).map(NodeId);
                Pipe::new(NodeId(id), others, settings, 1_000 + u64::from(id))
            };
            Net { pipes: (0..3).map(pipe).collect(), now: Time(1) }
        }

        /// Feeds events to nodes, and delivers the messages that follow, up to `budget` of them and except those that
        /// `lose` selects.
        fn run(&mut self, events: Vec<(usize, Event)>, budget: usize, lose: impl Fn(usize, usize) -> bool) {
            let mut queue: std::collections::VecDeque<(usize, Event)> = events.into();
            for _ in 0..budget {
                let Some((at, event)) = queue.pop_front() else { return };
                self.now = self.now + Span(10);
                for effect in self.pipes[at].handle(self.now, event) {
                    let Effect::Send { dest, body, .. } = effect else { continue };
                    let to: Vec<usize> = match dest {
                        Dest::ShardOthers => (0..3).filter(|other| *other != at).collect(),
                        Dest::Node(node) => vec![usize::from(node.0)],
                        Dest::Set(nodes) => nodes.iter().map(|node| usize::from(node.0)).collect(),
                        other => panic!("{other:?}"),
                    };
                    let from = NodeId(at as u16);
                    for to in to.into_iter().filter(|to| !lose(at, *to)) {
                        queue.push_back((
                            to,
                            Event::Peer { from, digest: Digest::default(), body: body.clone() },
                        ));
                    }
                }
            }
        }

        fn start(&mut self, budget: usize, lose: impl Fn(usize, usize) -> bool) {
            self.run((0..3).map(|at| (at, Event::Tick)).collect(), budget, lose);
        }
    }

    #[test]
    fn bodies_count_once_all_have_acked_them() {
        let mut net = Net::new();
        net.start(2_000, |_, _| false);
        for pipe in &net.pipes {
            assert!(pipe.confirmed > 100 && pipe.last == pipe.confirmed + WINDOW);
            let figures = pipe.figures();
            assert_eq!(figures.payload_bytes, (pipe.confirmed - 1) * 100);
            assert!(figures.seconds > 0.0);
            assert!(pipe.next_wakeup().is_some());
        }
    }

    #[test]
    fn lost_bodies_are_sent_again_after_a_second_and_count_once() {
        let mut net = Net::new();
        net.start(1_000, |from, to| (from, to) == (0, 2));
        assert_eq!((net.pipes[0].confirmed, net.pipes[0].last), (0, WINDOW));
        let due = net.pipes[0].next_wakeup().unwrap();
        assert!(due <= net.now + RESEND_AFTER);
        net.now = due;
        net.run(vec![(0, Event::Tick)], 500, |_, _| false);
        assert!(net.pipes[0].confirmed > 10);
        let (_, received) = net.pipes[1].received[&NodeId(0)];
        assert!(received.abs_diff(net.pipes[0].last) <= WINDOW);
    }

    #[test]
    fn a_lost_ack_is_repeated() {
        let mut net = Net::new();
        net.start(1_000, |from, to| (from, to) == (2, 0));
        assert_eq!(net.pipes[0].confirmed, 0);
        net.now = net.pipes[0].next_wakeup().unwrap();
        net.run(vec![(0, Event::Tick)], 500, |_, _| false);
        assert!(net.pipes[0].confirmed >= WINDOW);
    }

    #[test]
    fn a_restarted_node_counts_from_1_and_garbage_is_a_fault() {
        let mut net = Net::new();
        net.start(300, |_, _| false);
        let settings = net.pipes[0].settings;
        net.pipes[0] = Pipe::new(NodeId(0), [NodeId(1), NodeId(2)].into_iter(), settings, 77);
        net.run(vec![(0, Event::Tick)], 300, |_, _| false);
        assert!(net.pipes[0].confirmed > 1);
        let event =
            Event::Peer { from: NodeId(1), digest: Digest::default(), body: Bytes::from(vec![9; 40]) };
        let effects = net.pipes[0].handle(net.now, event);
        let fault = Fault { peer: NodeId(1), kind: FaultKind::Malformed };
        assert_eq!(effects, [Effect::Fault(fault)]);
    }

    #[test]
    fn a_shard_of_one_sends_nothing() {
        let settings = PipeSettings { body_bytes: 100, window: 1 };
        let mut pipe = Pipe::new(NodeId(0), std::iter::empty(), settings, 5);
        assert_eq!(pipe.handle(Time(1), Event::Tick), []);
        assert_eq!(pipe.next_wakeup(), None);
        assert_eq!(pipe.figures(), PipeFigures { payload_bytes: 0, seconds: 0.0 });
    }
}
