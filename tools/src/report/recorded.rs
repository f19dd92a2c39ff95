//! What nodes did in a stretch of time, from their journals: each is replayed with all its steps traced, and the sends
//! of one are matched with the receipts of the others.
//!
//! Times are those at which the cores handled their events. A core's time is brought to its host's clock by the blocks
//! that the node wrote down, to a millisecond, and the clocks of hosts are corrected as `tools logs` does it. The
//! quickest messages remove the offset that is left: as in NTP, they are taken to need the same time each way.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bft::event::Effect;
use bft::journal::Replay;
use bft::time::Time;
use bft::trace::{MessageStep, TraceEvent, Tracing};
use wire::committee::Committee;
use wire::ids::NodeId;

use super::run::RunFiles;
use crate::replay::{Beginning, Cause, Onlooker, Source};
use crate::run::Directories;
use crate::verify::Line as Block;

/// Where journals are, and how much may be spent on them.
#[derive(Clone, Debug)]
pub(super) struct Journals {
    pub(super) directories: Directories,
    /// How long the replays may take.
    pub(super) patience: Duration,
}

/// A step of a node.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Step {
    pub(super) node: NodeId,
    /// Unix time.
    pub(super) at_us: i64,
    pub(super) event: TraceEvent,
}

/// A message that one node sent and another received.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Message {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) sent_us: i64,
    pub(super) received_us: i64,
    pub(super) said: String,
}

/// What nodes did, in order of time.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorded {
    /// All but messages.
    pub(super) steps: Vec<Step>,
    pub(super) messages: Vec<Message>,
}

/// More steps of all nodes than these would fill the memory; the stretch ends there.
const STEPS_MAX: usize = 2_000_000;

impl Recorded {
    /// What these nodes did within a stretch of Unix time, microseconds.
    ///
    /// # Errors
    /// In words, if a journal cannot be read or does not cover the stretch.
    pub(super) fn of(
        journals: &Journals,
        committee: &Arc<Committee>,
        run: &RunFiles,
        nodes: &[NodeId],
        stretch: &Range<i64>,
    ) -> Result<Recorded, String> {
        let deadline = Instant::now() + journals.patience;
        let walk = |node: NodeId| -> Result<SeenBy, String> {
            let keys = journals.directories.keys();
            let source = Source::open(&keys, journals.directories.journal(node), committee, node);
            let source = source.map_err(|error| error.to_string())?;
            let mut watch = Watch {
                stretch: stretch.clone(),
                offset_us: run.clocks.offset_us(node),
                blocks: run.rounds.get(&node).map_or(&[], Vec::as_slice),
                origin_us: None,
                deadline,
                steps_max: STEPS_MAX / nodes.len().max(1),
                seen: SeenBy { node, steps: Vec::new(), before: BTreeMap::new() },
                committee: committee.clone(),
                trouble: None,
            };
            let walked = source.walk(Tracing::All, &mut watch);
            if let Some(trouble) = watch.trouble {
                return Err(format!("node {node}: {trouble}"));
            }
            walked.map_err(|failure| format!("node {node}: {failure}"))?;
            Ok(watch.seen)
        };
        // As many at a time as there are processors: each holds a whole ledger.
        let at_a_time = thread::available_parallelism().map_or(1, usize::from);
        let mut walked: Vec<Result<SeenBy, String>> = Vec::new();
        for nodes in nodes.chunks(at_a_time) {
            walked.extend(thread::scope(|scope| {
                let threads: Vec<_> = nodes.iter().map(|node| scope.spawn(|| walk(*node))).collect();
                let panicked = |_| Err("the thread of a replay panicked".to_string());
                threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect::<Vec<_>>()
            }));
            if walked.iter().any(Result::is_err) {
                break;
            }
        }
        Ok(Recorded::from_seen(committee, walked.into_iter().collect::<Result<Vec<_>, _>>()?))
    }

    /// Matches sends with receipts, and moves the times of nodes so that the quickest messages take the same time each
    /// way.
    fn from_seen(committee: &Committee, seen: Vec<SeenBy>) -> Recorded {
        let (mut sent, mut received) = (Passed::new(), Passed::new());
        let mut steps = Vec::new();
        for SeenBy { node, steps: all, before } in seen {
            for ((other, said, direction), count) in before {
                match direction {
                    Direction::Sent => sent.entry((node, other, said)).or_default().before += count,
                    Direction::Received => received.entry((other, node, said)).or_default().before += count,
                }
            }
            for step in all {
                match step.event {
                    TraceEvent::Message(MessageStep::Sent { to, said }) => {
                        for to in to.expand(committee, node) {
                            sent.entry((node, to, said.0.clone())).or_default().at_us.push(step.at_us);
                        }
                    }
                    TraceEvent::Message(MessageStep::Received { from, said }) => {
                        received.entry((from, node, said.0)).or_default().at_us.push(step.at_us);
                    }
                    event => steps.push(Step { event, ..step }),
                }
            }
        }
        let messages = received.into_iter().flat_map(|(key, received)| matched(key, &sent, &received));
        let mut messages: Vec<Message> = messages.collect();
        let ahead = ahead(&messages);
        let moved = |node: NodeId, at_us: i64| at_us - ahead.get(&node).copied().unwrap_or_default();
        for message in &mut messages {
            message.sent_us = moved(message.from, message.sent_us);
            message.received_us = moved(message.to, message.received_us);
        }
        steps.iter_mut().for_each(|step| step.at_us = moved(step.node, step.at_us));
        steps.sort_by_key(|step| step.at_us);
        messages.sort_by_key(|message| message.sent_us);
        Recorded { steps, messages }
    }
}

/// What a node did in the stretch, and how often each message passed before.
struct SeenBy {
    node: NodeId,
    steps: Vec<Step>,
    before: BTreeMap<(NodeId, String, Direction), usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Direction {
    Sent,
    Received,
}

/// Messages of one text between two nodes: how many before the stretch, and when those in it.
#[derive(Default)]
struct Times {
    before: usize,
    at_us: Vec<i64>,
}

/// By sender, recipient and text.
type Passed = BTreeMap<(NodeId, NodeId, String), Times>;

/// Messages of one text between two nodes come in the order in which they were sent: the first with the first.
fn matched((from, to, said): (NodeId, NodeId, String), sent: &Passed, received: &Times) -> Vec<Message> {
    let Some(sent) = sent.get(&(from, to, said.clone())) else { return Vec::new() };
    let times = received.at_us.iter().enumerate().filter_map(|(index, received_us)| {
        let number = received.before + index;
        Some((*sent.at_us.get(number.checked_sub(sent.before)?)?, *received_us))
    });
    let message = |(sent_us, received_us)| Message { from, to, sent_us, received_us, said: said.clone() };
    times.map(message).collect()
}

/// How far the clock of each node is ahead of that of the first, by the quickest messages between them.
fn ahead(messages: &[Message]) -> BTreeMap<NodeId, i64> {
    let mut quickest: BTreeMap<(NodeId, NodeId), i64> = BTreeMap::new();
    for Message { from, to, sent_us, received_us, .. } in messages {
        let took = quickest.entry((*from, *to)).or_insert(i64::MAX);
        *took = (*took).min(received_us - sent_us);
    }
    let nodes: BTreeSet<NodeId> = quickest.keys().map(|(from, _)| *from).collect();
    let mut ahead: BTreeMap<NodeId, i64> = nodes.first().map(|first| (*first, 0)).into_iter().collect();
    loop {
        let next = nodes.iter().filter(|node| !ahead.contains_key(node)).find_map(|node| {
            let (other, theirs) = ahead.iter().find(|(other, _)| {
                quickest.contains_key(&(**other, *node)) && quickest.contains_key(&(*node, **other))
            })?;
            Some((*node, theirs + (quickest[&(*other, *node)] - quickest[&(*node, *other)]) / 2))
        });
        match next {
            Some((node, by)) => ahead.insert(node, by),
            None => return ahead,
        };
    }
}

/// Keeps the steps of a stretch of time.
struct Watch<'a> {
    stretch: Range<i64>,
    offset_us: i64,
    /// The blocks of the node, with the times at which it executed them.
    blocks: &'a [Block],
    /// The Unix time at which its core's time is 0, by these blocks.
    origin_us: Option<i64>,
    deadline: Instant,
    steps_max: usize,
    committee: Arc<Committee>,
    seen: SeenBy,
    trouble: Option<String>,
}

impl Watch<'_> {
    fn unix_us(&self, replay: &Replay, now: Time) -> i64 {
        let start = &replay.opening().start;
        let by_start = || start.unix_ms as i64 * 1_000 - start.now.0 as i64;
        now.0 as i64 + self.origin_us.unwrap_or_else(by_start) - self.offset_us
    }

    /// Sets the clock by a block: `rounds-<id>.csv` has the Unix time at which the node executed it.
    fn set_clock(&mut self, now: Time, effects: &[Effect]) {
        for effect in effects {
            let Effect::Executed(report) = effect else { continue };
            let found = self.blocks.binary_search_by_key(&report.round, |block| block.block.round);
            let Ok(at) = found else { continue };
            let origin_us = self.blocks[at].executed_ms as i64 * 1_000 - now.0 as i64;
            self.origin_us = Some(self.origin_us.map_or(origin_us, |known| known.min(origin_us)));
        }
    }
}

impl Watch<'_> {
    /// A step before the stretch: only the number of messages of each text matters.
    fn count(&mut self, event: &TraceEvent) {
        let (others, said, direction) = match event {
            TraceEvent::Message(MessageStep::Sent { to, said }) => {
                (to.expand(&self.committee, self.seen.node), said, Direction::Sent)
            }
            TraceEvent::Message(MessageStep::Received { from, said }) => {
                (vec![*from], said, Direction::Received)
            }
            _ => return,
        };
        for other in others {
            *self.seen.before.entry((other, said.0.clone(), direction)).or_default() += 1;
        }
    }
}

impl Onlooker for Watch<'_> {
    fn begins(&mut self, _: &Beginning, replay: &mut Replay) -> Result<(), Cause> {
        if self.unix_us(replay, replay.now()) > self.stretch.start {
            self.trouble = Some("its journal is kept from a later moment on".into());
        }
        Ok(())
    }

    fn step(&mut self, replay: &Replay, now: Time, effects: &[Effect]) -> ControlFlow<()> {
        self.set_clock(now, effects);
        let at_us = self.unix_us(replay, now);
        if at_us >= self.stretch.end || self.trouble.is_some() || self.seen.steps.len() >= self.steps_max {
            return ControlFlow::Break(());
        }
        let events = effects.iter().filter_map(|effect| match effect {
            Effect::Trace { event, .. } => Some(event.as_ref()),
            _ => None,
        });
        for event in events {
            if at_us >= self.stretch.start {
                self.seen.steps.push(Step { node: self.seen.node, at_us, event: event.clone() });
            } else {
                self.count(event);
            }
        }
        if Instant::now() > self.deadline {
            self.trouble = Some("the replays take too long; tools report allows them more time".into());
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use bft::trace::Said;
    use wire::committee::{Member, Protocol};
    use wire::dest::Dest;

    use super::*;

    #[test]
    fn messages_are_matched_and_clocks_are_set_by_the_quickest() {
        let member = Member { public_key: [1; 32], coin_commitment: [2; 32] };
        let committee = Committee::new(3, Protocol::default(), vec![member; 3], [0; 32]);
        let said = |text: &str| Said(text.into());
        let step = |node: u16, at_us, event| Step { node: NodeId(node), at_us, event };
        let sent = |text: &str, to| TraceEvent::Message(MessageStep::Sent { to, said: said(text) });
        let received = |text: &str, from: u16| {
            TraceEvent::Message(MessageStep::Received { from: NodeId(from), said: said(text) })
        };
        // The clock of node 1 is 1,000 ahead of that of node 0; a message takes 100 each way.
        let seen = |node: u16, steps: Vec<(i64, TraceEvent)>| SeenBy {
            node: NodeId(node),
            steps: steps.into_iter().map(|(at_us, event)| step(node, at_us, event)).collect(),
            before: BTreeMap::new(),
        };
        let mut first = seen(
            0,
            vec![
                (5_000, sent("a", Dest::ShardOthers)),
                (5_050, received("b", 1)),
                (5_300, received("b", 1)),
                (5_900, received("b", 1)),
            ],
        );
        first.before.insert((NodeId(1), "b".into(), Direction::Received), 2);
        let mut second = seen(
            1,
            vec![
                (6_100, received("a", 0)),
                (6_200, sent("b", Dest::Node(NodeId(0)))),
                (6_400, sent("b", Dest::Node(NodeId(0)))),
            ],
        );
        // Of the third of these only the receipt lies in the stretch.
        second.before.insert((NodeId(0), "b".into(), Direction::Sent), 3);
        let third = seen(2, vec![(9_000, received("never sent", 0))]);
        let recorded = Recorded::from_seen(&committee, vec![first, second, third]);
        let times: Vec<(i64, i64)> =
            recorded.messages.iter().map(|one| (one.sent_us, one.received_us)).collect();
        assert_eq!(times, [(5_000, 5_100), (5_200, 5_300), (5_400, 5_900)]);
        assert!(recorded.steps.is_empty());
    }
}
