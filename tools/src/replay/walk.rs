//! Going through the journal of a node with a core that does again what the node did.
//!
//! All that looks at journals offline goes through here, so that each finds the same beginning, the same damage and the
//! same foreign files.

use std::fmt;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bft::crypto::real::RealSuite;
use bft::event::Effect;
use bft::journal::{Check, Opening, Replay, ReplayError, SnapshotHead};
use bft::time::Time;
use bft::trace::Tracing;
use wire::bytes::Bytes;
use wire::committee::Committee;
use wire::ids::{Digest, NodeId, Round};
use wire::journal::{JournalError, Problem, Reader, segment_path, segments};
use wire::keys::NodeKeys;
use wire::record::Item;
use wire::snapshot::{self, snapshots};
use wire::text::ParseError;

use crate::lag::grouped;

/// A node, its keys, and where its journal is.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) node: NodeId,
    pub(crate) place: PathBuf,
    pub(crate) committee: Arc<Committee>,
    pub(crate) suite: Arc<RealSuite>,
}

/// What looks on while a core replays.
pub(crate) trait Onlooker {
    /// It begins, with this core.
    ///
    /// # Errors
    /// Why it need not go on.
    fn begins(&mut self, _from: &Beginning, _replay: &mut Replay) -> Result<(), Cause> {
        Ok(())
    }

    /// This comes next.
    fn item(&mut self, _replay: &Replay, _item: &Item) {}

    /// The effects of an event; whether to go on.
    fn step(&mut self, replay: &Replay, now: Time, effects: &[Effect]) -> ControlFlow<()>;
}

/// A journal after the replay.
pub(crate) struct Walked {
    pub(crate) replay: Replay,
    /// What its snapshot had done, if it began with one.
    pub(crate) from: Check,
    pub(crate) torn_bytes: u64,
    /// The version of the program that wrote the beginning.
    pub(crate) version: String,
    /// Whether the onlooker stopped it.
    pub(crate) has_stopped: bool,
}

/// Why a replay did not come to its end, and how far it came.
pub(crate) struct Failure {
    cause: Cause,
    reached: Option<Reached>,
}

/// The point at which a replay failed.
struct Reached {
    events: u64,
    agreed: u64,
    round: Round,
    until: Time,
}

pub(crate) enum Cause {
    Journal(JournalError),
    Replay(ReplayError),
    /// The journal is of another testbed than the keys, or of another node than its directory.
    Foreign {
        opening: Box<Opening>,
        testbed: Digest,
    },
    /// It was to stop in what is not kept any more.
    NotKept {
        until: Round,
        kept_from: Round,
    },
    /// There is no such segment, which is the first.
    NoBeginning(PathBuf),
    /// The first segment has no opening.
    Empty(PathBuf),
}

/// The beginning of a replay: committee, keys and the first record.
pub(crate) enum Beginning {
    /// The opening of the first segment.
    Opening(Opening),
    /// A snapshot, where the first segments are not kept any more: its head and all its bytes.
    Snapshot(SnapshotHead, Bytes),
}

impl Source {
    /// The journal of a node in this directory, if it has one.
    ///
    /// # Errors
    /// If the key or the journal cannot be read at all.
    pub(crate) fn open(
        keys: &Path,
        place: PathBuf,
        committee: &Arc<Committee>,
        node: NodeId,
    ) -> Result<Source, ParseError> {
        let keys = NodeKeys::load(&keys.join(format!("node-{node}.key")))?;
        let suite = Arc::new(RealSuite::new(committee, node, &keys.signing, keys.coin_secret)?);
        if let Err(error) = fs::read_dir(&place) {
            let expected = "the journal of a run, unless its --durability was off; --data-dir names the directory above it";
            return Err(ParseError::of(&place.display().to_string(), &error.to_string(), expected));
        }
        Ok(Source { node, place, committee: committee.clone(), suite })
    }

    /// Goes through the journal until its end or until the onlooker has seen enough.
    pub(crate) fn walk(&self, tracing: Tracing, onlooker: &mut impl Onlooker) -> Result<Walked, Failure> {
        let (beginning, mut reader) = beginning(&self.place)?;
        let mut replay = self.begin(&beginning, tracing)?;
        onlooker.begins(&beginning, &mut replay)?;
        drop(beginning);
        let (version, from) = (replay.opening().version.clone(), replay.done());
        let mut has_stopped = false;
        while !has_stopped {
            let item = reader.next_item().map_err(|error| Failure::at(&replay, Cause::Journal(error)))?;
            let Some(item) = item else { break };
            onlooker.item(&replay, &item);
            let step = replay.step(item).map_err(Cause::Replay);
            let Some((now, effects)) = step.map_err(|cause| Failure::at(&replay, cause))? else { continue };
            has_stopped = onlooker.step(&replay, now, &effects).is_break();
        }
        Ok(Walked { replay, from, torn_bytes: reader.torn_bytes(), version, has_stopped })
    }

    fn begin(&self, beginning: &Beginning, tracing: Tracing) -> Result<Replay, Cause> {
        let (Beginning::Opening(opening) | Beginning::Snapshot(SnapshotHead { opening, .. }, _)) = beginning;
        let testbed = self.committee.testbed();
        if opening.testbed != testbed || opening.node != self.node {
            return Err(Cause::Foreign { opening: Box::new(opening.clone()), testbed });
        }
        let (committee, suite) = (self.committee.clone(), self.suite.clone());
        let replay = match beginning {
            Beginning::Opening(opening) => {
                Replay::begin(opening.clone(), committee, self.node, suite, tracing)
            }
            Beginning::Snapshot(_, bytes) => SnapshotHead::parse(bytes).and_then(|(head, image)| {
                Replay::from_snapshot(head, image, committee, self.node, suite, tracing)
            }),
        };
        replay.map_err(Cause::Replay)
    }
}

/// The beginning of what a directory has, and a reader of the rest.
fn beginning(place: &Path) -> Result<(Beginning, Reader), Cause> {
    let failed =
        |error| Cause::Journal(JournalError { file: place.into(), offset: 0, problem: Problem::Io(error) });
    let Some(first) = segments(place).map_err(failed)?.first().copied() else {
        return Err(Cause::NoBeginning(segment_path(place, 1)));
    };
    if first == 1 {
        let mut reader = Reader::open(place).map_err(Cause::Journal)?;
        let opening = match reader.next_item().map_err(Cause::Journal)? {
            Some(Item::Opening(record)) => Opening::parse(&record),
            Some(Item::Record(_)) | None => return Err(Cause::Empty(segment_path(place, 1))),
        };
        let opening = opening.map_err(|error| Cause::Replay(ReplayError::Malformed(error)))?;
        return Ok((Beginning::Opening(opening), reader));
    }
    let snapshots = snapshots(place).map_err(failed)?;
    let Some(segment) = snapshots.into_iter().find(|segment| *segment >= first) else {
        return Err(Cause::NoBeginning(segment_path(place, 1)));
    };
    let bytes = snapshot::read(place, segment).map_err(Cause::Journal)?;
    let (head, _) = SnapshotHead::parse(&bytes).map_err(Cause::Replay)?;
    let reader = Reader::open_at(place, segment).map_err(Cause::Journal)?;
    Ok((Beginning::Snapshot(head, bytes), reader))
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Failure {
        Failure { cause, reached: None }
    }
}

impl Failure {
    /// At the point that a replay has reached.
    fn at(replay: &Replay, cause: Cause) -> Failure {
        let (events, agreed) = (replay.done().events, replay.agreed().events);
        let (round, until) = (replay.core().status().executed, replay.now());
        Failure { cause, reached: Some(Reached { events, agreed, round, until }) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)?;
        let Some(Reached { events, agreed, round, until }) = &self.reached else { return Ok(()) };
        write!(
            f,
            "; replayed until there: {} events, {:.1} s, up to round {}; the same up to event {}",
            grouped(*events),
            until.0 as f64 / 1e6,
            grouped(round.0),
            grouped(*agreed)
        )
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Journal(error) => error.fmt(f),
            Cause::Replay(error) => error.fmt(f),
            Cause::Foreign { opening, testbed } => write!(
                f,
                "its journal is of node {} of testbed {}, and the keys are of testbed {testbed}",
                opening.node, opening.testbed
            ),
            Cause::NoBeginning(path) => write!(f, "{}, the first segment, is missing", path.display()),
            Cause::NotKept { until, kept_from } => write!(
                f,
                "its journal is kept from after round {kept_from} only, and --until is {until}; --limits \
                 journal-kept-bytes=BYTES of a run keeps more"
            ),
            Cause::Empty(path) => write!(f, "{} ends before its opening", path.display()),
        }
    }
}
