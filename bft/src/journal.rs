//! The core's part of a journal: its events with their times, which are all that it ever learns, and proof of what it
//! made of them.
//!
//! A driver appends [`record`] of each event before the effects that the event causes leave the node, and now and then
//! a [`Check`]: how many effects there have been, and their running checksum. The core is deterministic, so a core
//! built from the [`Opening`] that is given the same events has the same effects; [`Replay`] is that core, and stops at
//! the first check that differs. Traces do not count: a replay may trace what the node did not.
//!
//! A node that goes on from its journal replays it and appends to it: each segment says which [`Start`] of the node
//! wrote it, and a replay goes through all of them as through one.
//!
//! Cost: tens of bytes an event beside the bytes of peers and clients, which are not copied; a checksum of what is
//! sent, or of its digest where that is known.

mod bodies;
mod snapshot;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wire::bytes::Bytes;
use wire::codec::{self, CodecError};
use wire::committee::Committee;
use wire::crc32c;
use wire::ids::{ClientId, Digest, NodeId, Round};
use wire::record::{Item, Record};

use crate::core::{Core, CoreConfig};
use crate::crypto::suite::Suite;
use crate::cut::Cut;
use crate::event::{Effect, Event};
use crate::lane::{self, LaneSettings};
use crate::message::MessageKind;
use crate::pending::MempoolLimits;
use crate::time::Time;
use crate::trace::Tracing;

pub use snapshot::SnapshotHead;

use self::bodies::Bodies;

/// The first record of each segment: whose journal it is, and what its core is built from besides keys and committee.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Opening {
    /// The version of the program that wrote it: another one may do other things with the same events.
    pub version: String,
    /// The testbed.
    pub testbed: Digest,
    /// The node.
    pub node: NodeId,
    /// Events in earlier segments.
    pub events_before: u64,
    /// The start that wrote it.
    pub start: Start,
    lanes: LaneSettings,
    mempool: MempoolLimits,
    batch: u64,
    hash_seed: u64,
}

/// A start of the node: its system, and what it could lose.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Start {
    /// Counted from 1.
    pub number: u64,
    /// The boot of the system, by its name; empty where the system has none.
    pub boot: String,
    /// What was written before effects left the node.
    pub durability: Durability,
    /// The Unix time of the start, milliseconds.
    pub unix_ms: u64,
    /// The time of the core then.
    pub now: Time,
}

/// What is written before the effects of an event leave the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Durability {
    /// The event, to the system: it outlives the processes.
    Process,
    /// The event, to the disk: it outlives a loss of power.
    Power,
}

impl Opening {
    /// Of the first segment of a core's journal.
    pub fn of(version: String, config: &CoreConfig, start: Start) -> Opening {
        Opening {
            version,
            testbed: config.committee.testbed(),
            node: config.node,
            events_before: 0,
            start,
            lanes: config.lanes,
            mempool: config.mempool,
            batch: config.batch as u64,
            hash_seed: config.hash_seed,
        }
    }

    /// The configuration of a core that does the same.
    pub fn config(&self, committee: Arc<Committee>, tracing: Tracing) -> CoreConfig {
        let Opening { node, lanes, mempool, batch, hash_seed, .. } = *self;
        CoreConfig { committee, node, lanes, mempool, batch: batch as usize, hash_seed, tracing }
    }

    /// The first thing, by its name, in which the core of another opening differs, with its values here and there;
    /// `None` if it does the same with the same events. The seed of hash tables may differ: each core has its own.
    pub fn difference(&self, other: &Opening) -> Option<(&'static str, String, String)> {
        let values = |of: &Opening| {
            let Opening { version, testbed, node, lanes, mempool, batch, .. } = of;
            [
                ("testbed", testbed.to_string()),
                ("node", node.to_string()),
                ("version", version.clone()),
                ("batch", batch.to_string()),
                ("pipeline", lanes.pipeline.to_string()),
                ("lane-open-bytes", lanes.open_bytes_max.to_string()),
                ("lane-kept-bytes", lanes.kept_bytes_max.to_string()),
                ("history-rounds", lanes.history_rounds_max.to_string()),
                ("history bytes", lanes.history_bytes_max.to_string()),
                ("place of the history", format!("{:?}", lanes.history_place)),
                ("mempool-transactions", mempool.transactions_max.to_string()),
                ("mempool-bytes", mempool.bytes_max.to_string()),
                ("mempool-client-percent", mempool.client_percent_max.to_string()),
                ("mempool-peers-percent", mempool.peers_percent_max.to_string()),
                ("share", mempool.share.name().to_string()),
            ]
        };
        let pairs = values(self).into_iter().zip(values(other));
        let mut different = pairs.filter(|((_, here), (_, there))| here != there);
        different.next().map(|((name, here), (_, there))| (name, here, there))
    }

    /// Of the next segment, which such a start writes.
    pub fn followed_by(&self, start: Start, events_before: u64) -> Opening {
        Opening { start, events_before, ..self.clone() }
    }

    /// A random number that the journal has for itself, in all its segments: that of the core's hash tables.
    pub fn id(&self) -> u64 {
        self.hash_seed
    }

    /// As a record.
    pub fn record(&self) -> Record {
        without_body(codec::encode(self))
    }

    /// Decodes an opening.
    ///
    /// # Errors
    /// If the record is none.
    pub fn parse(record: &Record) -> Result<Opening, CodecError> {
        codec::decode(&record.head)
    }
}

/// A summary of everything that a core has done: it is compared, never taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Check {
    /// Events handled.
    pub events: u64,
    /// Effects that came of them, traces not counted.
    pub effects: u64,
    /// Their checksum, in their order.
    sum: u32,
}

impl Check {
    /// Counts an effect.
    pub fn add(&mut self, effect: &Effect) {
        // A few bytes; bodies and digests are added as they are.
        let (head, body): (Vec<u8>, &[u8]) = match effect {
            Effect::Send { dest, class, digest: Some(digest), .. } => {
                (codec::encode(&(0u8, dest, class)), &digest.0)
            }
            Effect::Send { dest, class, digest: None, body } => (codec::encode(&(1u8, dest, class)), body),
            Effect::SendKept { to, class, digest } => (codec::encode(&(7u8, to, class)), &digest.0),
            Effect::Reply { client, body } => (codec::encode(&(2u8, client)), body),
            Effect::Progress(progress) => (codec::encode(&(3u8, progress)), &[]),
            Effect::Executed(report) => (codec::encode(&(4u8, report.round, report.header)), &[]),
            Effect::Fault(fault) => (codec::encode(&(5u8, fault.peer)), fault.kind.name().as_bytes()),
            Effect::Jumped(report) => (codec::encode(&(6u8, report.height, report.header)), &[]),
            Effect::Trace { .. } => return,
        };
        self.effects += 1;
        self.sum = crc32c::extend(crc32c::extend(self.sum, &head), body);
    }

    /// As a record.
    pub fn record(&self) -> Record {
        without_body(codec::encode(&Head::Check(*self)))
    }
}

/// The head of every record but an opening.
#[derive(Serialize, Deserialize)]
enum Head {
    Event(Time, EventHead),
    Check(Check),
    Own,
}

/// An event without its bytes.
#[derive(Serialize, Deserialize)]
enum EventHead {
    Peer(NodeId),
    PeerUp(NodeId),
    PeerDown(NodeId),
    PeerDecided(NodeId, Round),
    ChildRestarted,
    Client(ClientId),
    ClientGone(ClientId),
    Tick,
}

/// What a record says.
#[derive(Clone, Debug)]
pub enum Entry {
    /// An event and its time.
    Event(Time, Event),
    /// What had come of all events before.
    Check(Check),
    /// An entry of the own lane, for others to have: no event brought it.
    Own,
}

/// An event as a record. A peer's bytes are covered by their digest, which was computed when they arrived.
pub fn record(now: Time, event: &Event) -> Record {
    let none = || (None, Bytes::from(Vec::new()));
    let (head, (digest, body)) = match event {
        Event::Peer { from, digest, body } => (EventHead::Peer(*from), (Some(*digest), body.clone())),
        Event::PeerUp { peer } => (EventHead::PeerUp(*peer), none()),
        Event::PeerDown { peer } => (EventHead::PeerDown(*peer), none()),
        Event::PeerDecided { peer, decided } => (EventHead::PeerDecided(*peer, *decided), none()),
        Event::ChildRestarted => (EventHead::ChildRestarted, none()),
        Event::Client { client, body } => (EventHead::Client(*client), (None, body.clone())),
        Event::ClientGone { client } => (EventHead::ClientGone(*client), none()),
        Event::Tick => (EventHead::Tick, none()),
    };
    Record { head: codec::encode(&Head::Event(now, head)), digest, body }
}

/// An entry of the own lane as a record.
pub fn record_of_own(digest: Digest, body: Bytes) -> Record {
    Record { head: codec::encode(&Head::Own), digest: Some(digest), body }
}

/// Whether a member may have to send a message that begins with these bytes again: an entry, or a part with its proof.
pub fn is_kept(first: &[u8]) -> bool {
    matches!(MessageKind::of(first), MessageKind::Entry | MessageKind::Transfer)
}

/// Decodes a record that is not an opening.
///
/// # Errors
/// If its bytes cannot be decoded.
pub fn parse(record: Record) -> Result<Entry, CodecError> {
    let Record { head, digest, body } = record;
    let (now, head) = match codec::decode(&head)? {
        Head::Check(check) => return Ok(Entry::Check(check)),
        Head::Own => return Ok(Entry::Own),
        Head::Event(now, head) => (now, head),
    };
    let event = match (head, digest) {
        (EventHead::Peer(from), Some(digest)) => Event::Peer { from, digest, body },
        (EventHead::Peer(_), None) => {
            return Err(CodecError::Malformed("a message without its digest".into()));
        }
        (EventHead::PeerUp(peer), _) => Event::PeerUp { peer },
        (EventHead::PeerDown(peer), _) => Event::PeerDown { peer },
        (EventHead::PeerDecided(peer, decided), _) => Event::PeerDecided { peer, decided },
        (EventHead::ChildRestarted, _) => Event::ChildRestarted,
        (EventHead::Client(client), _) => Event::Client { client, body },
        (EventHead::ClientGone(client), _) => Event::ClientGone { client },
        (EventHead::Tick, _) => Event::Tick,
    };
    Ok(Entry::Event(now, event))
}

fn without_body(head: Vec<u8>) -> Record {
    Record { head, digest: None, body: Bytes::from(Vec::new()) }
}

/// Why a replay cannot go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplayError {
    /// A record says nothing.
    Malformed(CodecError),
    /// A segment is of another testbed or node, or does not follow the one before it.
    Opening(Box<Opening>),
    /// The core has done something else than the node.
    Differs {
        /// The check of the node.
        node: Check,
        /// The check of this core at that point.
        here: Check,
        /// The last check that did agree.
        agreed: Check,
    },
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayError::Malformed(error) => write!(f, "a record is {error}"),
            ReplayError::Opening(opening) => write!(
                f,
                "a segment does not go on where the last one ended: it is of node {} of testbed {} after {} events",
                opening.node, opening.testbed, opening.events_before
            ),
            ReplayError::Differs { node, here, agreed } => write!(
                f,
                "the core did something else than the node between event {} and event {}: {} effects in all instead of {}{}",
                agreed.events,
                node.events,
                here.effects,
                node.effects,
                if here.effects == node.effects { ", with other bytes" } else { "" }
            ),
        }
    }
}

impl std::error::Error for ReplayError {}

/// The sessions that have begun and not ended, according to a core's events.
///
/// Bounds: peers are members; clients as many as `net_server` lets in.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Sessions {
    /// Clients that have sent a request.
    pub clients: BTreeSet<ClientId>,
    /// Peers.
    pub peers: BTreeSet<NodeId>,
}

impl Sessions {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Client { client, .. } => drop(self.clients.insert(*client)),
            Event::ClientGone { client } => drop(self.clients.remove(client)),
            Event::PeerUp { peer } => drop(self.peers.insert(*peer)),
            Event::PeerDown { peer } => drop(self.peers.remove(peer)),
            Event::Peer { .. } | Event::PeerDecided { .. } | Event::ChildRestarted | Event::Tick => {}
        }
    }
}

/// The figures of a core's events and effects so far, which are no part of its state.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Past {
    /// The time of the last event.
    pub now: Time,
    /// What has been done.
    pub done: Check,
    /// Who is connected.
    pub sessions: Sessions,
}

impl Past {
    /// An event is handled next.
    pub fn event(&mut self, now: Time, event: &Event) {
        self.now = now;
        self.done.events += 1;
        self.sessions.note(event);
    }

    /// An effect has come of it.
    pub fn effect(&mut self, effect: &Effect) {
        self.done.add(effect);
    }
}

/// A core that does again what a node did.
#[derive(Debug)]
pub struct Replay {
    core: Core,
    opening: Opening,
    past: Past,
    agreed: Check,
    /// Those that [`Replay::block`] looks for, if they are kept.
    bodies: Option<Bodies>,
}

impl Replay {
    /// The core of a node at the beginning of its journal.
    ///
    /// # Errors
    /// If the opening is of another testbed or node, or does not begin the journal.
    pub fn begin(
        opening: Opening,
        committee: Arc<Committee>,
        node: NodeId,
        suite: Arc<dyn Suite>,
        tracing: Tracing,
    ) -> Result<Replay, ReplayError> {
        let is_its = opening.testbed == committee.testbed() && opening.node == node;
        if !is_its || opening.events_before != 0 {
            return Err(ReplayError::Opening(Box::new(opening)));
        }
        let core = Core::new(opening.config(committee, tracing), suite);
        Ok(Replay { core, opening, past: Past::default(), agreed: Check::default(), bodies: None })
    }

    /// Keeps the entries of recent blocks from now on, for [`Replay::block`].
    pub fn keep_blocks(&mut self) {
        let mut bodies = Bodies::default();
        self.core.lanes().open_entries().for_each(|entry| bodies.add(entry.digest, entry.body.clone()));
        self.bodies = Some(bodies);
    }

    /// The entries between two decided cuts, lanes ascending; `None` if one is not known any more.
    pub fn block(&self, previous: &Cut, cut: &Cut) -> Option<Vec<lane::entry::Entry>> {
        self.core.lanes().block(previous, cut, |digest| self.bodies.as_ref()?.get(digest))
    }

    /// Goes on with an item of the journal; the time and the effects, if it is an event.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub fn step(&mut self, item: Item) -> Result<Option<(Time, Vec<Effect>)>, ReplayError> {
        match item {
            Item::Opening(record) => {
                let opening = Opening::parse(&record).map_err(ReplayError::Malformed)?;
                let (last, start) = (&self.opening.start, &opening.start);
                let follows =
                    start == last || (start.number == last.number + 1 && start.now == self.past.now);
                let expected = self.opening.followed_by(start.clone(), self.past.done.events);
                if !follows || opening != expected {
                    return Err(ReplayError::Opening(Box::new(opening)));
                }
                self.opening = opening;
                Ok(None)
            }
            Item::Record(record) => {
                if let (Some(bodies), Some(digest)) = (&mut self.bodies, record.digest)
                    && MessageKind::of(&record.body) == MessageKind::Entry
                {
                    bodies.add(digest, record.body.clone());
                }
                self.step_record(parse(record).map_err(ReplayError::Malformed)?)
            }
        }
    }

    fn step_record(&mut self, entry: Entry) -> Result<Option<(Time, Vec<Effect>)>, ReplayError> {
        match entry {
            Entry::Check(node) if node == self.past.done => {
                self.agreed = node;
                Ok(None)
            }
            Entry::Own => Ok(None),
            Entry::Check(node) => {
                Err(ReplayError::Differs { node, here: self.past.done, agreed: self.agreed })
            }
            Entry::Event(now, event) => {
                self.past.event(now, &event);
                let effects = self.core.handle(now, event);
                effects.iter().for_each(|effect| self.past.effect(effect));
                Ok(Some((now, effects)))
            }
        }
    }

    /// The core as it stands.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// The core, to go on with, and the figures of its events.
    pub fn into_core(self) -> (Core, Past) {
        (self.core, self.past)
    }

    /// The opening of the last segment.
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// The time of the last event.
    pub fn now(&self) -> Time {
        self.past.now
    }

    /// What has been done so far.
    pub fn done(&self) -> Check {
        self.past.done
    }

    /// The last check that has agreed.
    pub fn agreed(&self) -> Check {
        self.agreed
    }
}
