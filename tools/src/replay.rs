//! `tools replay`: does again, offline, what nodes of a run did.
//!
//! A node that was started with a journal has written down everything that its core was fed. The core is
//! deterministic, so one that is fed the same does the same; the journal holds checksums of what the node did, and the
//! first that differs ends the replay. What a run did not log can so be looked at afterwards, at the finest level.

mod fixture;
mod walk;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::{ControlFlow, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bft::event::Effect;
use bft::journal::Replay;
use bft::time::Time;
use bft::trace::Tracing;
use wire::client::NodeStatus;
use wire::committee::Committee;
use wire::ids::{NodeId, Round, ShardId};
use wire::record::Item;
use wire::text::ParseError;
use wire::version;

use self::fixture::Fixture;
use self::walk::Failure;
pub(crate) use self::walk::{Beginning, Cause, Onlooker, Source, Walked};
use crate::flags::{Command, Opt, Range, UsageError, Values};
use crate::ids;
use crate::keygen::load_committee;
use crate::lag::grouped;
use crate::run::Directories;
use crate::status;
use crate::terminal::print;
use crate::testbed;
use crate::verify::RoundsFile;

pub(crate) const COMMAND: Command = Command {
    name: "replay",
    summary: "does again what nodes did, from their journals",
    about: "Feeds a core what a node of a run was fed, at the same times, and checks that it does the same: that it sends the \
            same bytes and executes the same blocks. The run must have had journals, so not --durability off; tools deploy logs \
            --journals fetches those of other machines. \
            Nothing is sent, and no file is changed.",
    operands: &[],
    options: &[
        testbed::DATA_DIR,
        Opt::with(
            "log-dir",
            "DIR",
            "log",
            "The log directory of the run: a journal must reach as far as its node's rounds-<id>.csv.",
        ),
        Opt::without_default(
            "nodes",
            "IDS",
            "Only these nodes, e.g. 0-3+8; all that have a journal if not given.",
        ),
        Opt::without_default("until", "ROUND", "Stops after the block of this round.")
            .within(Range::whole(1, u64::MAX)),
        Opt::switch("trace", "Prints every step of the core with its time, whatever the run logged."),
        Opt::without_default(
            "tx",
            "ID",
            "Prints the steps that name this transaction: its id, or at least its first 8 digits.",
        ),
        Opt::without_default(
            "test",
            "DIR",
            "Writes what the replay reads, up to --until, into a new directory DIR: a test that is run again by tools \
             replay --data-dir DIR --log-dir DIR. One node only (--nodes). Its secret key goes along.",
        ),
        Opt::switch("status", "Prints the status of each node where its replay stops, as JSON."),
    ],
    sections: &[
        (
            "EXIT STATUS",
            "0  the same all over\n\
             1  something differs, a journal is damaged or lacks its end, or no step names the transaction\n\
             2  usage, or no journal or key can be read",
        ),
        (
            "EXAMPLES",
            "tools replay  All nodes of the last run in this directory.\n\
             tools replay --nodes 3 --until 120 --status  Node 3 as it stood after block 120.\n\
             tools replay --nodes 0 --tx 5f0c2a9b  What node 0 did with a transaction.\n\
             tools replay --nodes 3 --until 12 --test tools/tests/replays/lost-part  A test of what node 3 did until block 12.",
        ),
    ],
};

/// The fewest digits that may name a transaction, and as many as a step shows.
const ID_DIGITS: RangeInclusive<usize> = 8..=16;

/// What is to be printed on the way.
struct Wish {
    until: Option<Round>,
    has_trace: bool,
    tx: Option<String>,
    has_status: bool,
    /// Where to write a test.
    test: Option<PathBuf>,
}

pub(crate) fn run(values: &Values) -> Result<u8, UsageError> {
    let log = PathBuf::from(values.required("log-dir")?);
    let directories = Directories { log, data: testbed::data_dir(values) };
    let wish = Wish {
        until: values.optional_whole("until")?.map(Round),
        has_trace: values.is_given("trace"),
        tx: values.optional("tx", "at least 8 hexadecimal digits", |text| {
            let is_id = text.len() >= *ID_DIGITS.start() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_id.then(|| text[..text.len().min(*ID_DIGITS.end())].to_ascii_lowercase())
        })?,
        has_status: values.is_given("status"),
        test: values.text("test").map(PathBuf::from),
    };
    let committee = Arc::new(load_committee(&directories.keys().join("committee.txt"))?);
    let (mut is_well, mut is_named) = (true, wish.tx.is_none());
    let nodes = nodes(values, &directories, &committee)?;
    if wish.test.is_some() && nodes.len() > 1 {
        let expected = "one node (--nodes ID), since a test is of one";
        return Err(ParseError::of("--test", &ids::nodes_text(&nodes), expected).into());
    }
    for node in nodes {
        match replay(&directories, &committee, node, &wish)? {
            Ok(done) => {
                is_well &= done.goes_on.is_none();
                is_named |= done.steps_named > 0;
                print(done.to_string());
            }
            Err(failure) => {
                is_well = false;
                print(format!("node {node}: {failure}"));
            }
        }
    }
    if let Some(tx) = wish.tx.filter(|_| !is_named) {
        print(format!("no step of these nodes names transaction {tx}"));
    }
    Ok(u8::from(!is_well || !is_named))
}

/// The nodes that are asked for, or those that have a journal.
fn nodes(
    values: &Values,
    directories: &Directories,
    committee: &Committee,
) -> Result<Vec<NodeId>, UsageError> {
    let expected = format!("node ids from 0 to {}, each once", committee.nodes().count() - 1);
    let asked = values.optional("nodes", &expected, |text| {
        let nodes = ids::parse(text)?;
        let once: BTreeSet<NodeId> = nodes.iter().copied().filter(|node| committee.contains(*node)).collect();
        (once.len() == nodes.len()).then_some(nodes)
    })?;
    if let Some(asked) = asked {
        return Ok(asked);
    }
    let found: Vec<NodeId> = committee.nodes().filter(|node| directories.journal(*node).is_dir()).collect();
    if found.is_empty() {
        let place = directories.data.display().to_string();
        let expected = "journal-<id>/, which tools local makes unless --durability is off and tools deploy logs --journals fetches";
        return Err(ParseError::of(&place, "no journal", expected).into());
    }
    Ok(found)
}

/// A replay that came to its end.
struct Done {
    node: NodeId,
    /// Events before the snapshot that it began with.
    skipped: u64,
    events: u64,
    effects: u64,
    /// Events after the last check, unless the replay was to stop there.
    unchecked: u64,
    /// The round at which it was to stop, if the journal ends before it.
    missed: Option<Round>,
    round: Round,
    until: Time,
    took_s: f64,
    torn_bytes: u64,
    /// The version that wrote the journal, if that is another one.
    other_version: Option<String>,
    /// Steps that name the transaction.
    steps_named: u64,
    /// The last round that the node wrote into its log directory, if that is beyond the journal.
    goes_on: Option<Round>,
}

/// Replays a node, unless its files cannot be read at all.
fn replay(
    directories: &Directories,
    committee: &Arc<Committee>,
    node: NodeId,
    wish: &Wish,
) -> Result<Result<Done, Failure>, ParseError> {
    let source = Source::open(&directories.keys(), directories.journal(node), committee, node)?;
    let began = Instant::now();
    let tracing = if wish.has_trace || wish.tx.is_some() { Tracing::All } else { Tracing::Off };
    let fixture = wish.test.as_ref().map(|test| Fixture::create(test, &directories.keys(), node));
    let mut reader = Printing { wish, steps_named: 0, fixture: fixture.transpose()? };
    let walked = source.walk(tracing, &mut reader);
    if let Some(fixture) = reader.fixture.take() {
        // Without the check of this core if that failed: the node's own is the last then, or the damage is what counts.
        print(fixture.finish(walked.as_ref().ok().map(|walked| walked.replay.done()))?);
    }
    Ok(walked.map(|Walked { replay, from, torn_bytes, version, has_stopped }| {
        if wish.has_status {
            print(status::document_of(&replay.core().status()).to_string());
        }
        let (done, agreed) = (replay.done(), replay.agreed());
        let ours = version::line("node", wire::commit!());
        let status = replay.core().status();
        let goes_on = || round_beyond(&directories.log, node, committee.shard_of(node), &status);
        Done {
            node,
            skipped: from.events,
            events: done.events - from.events,
            effects: done.effects - from.effects,
            unchecked: if has_stopped { 0 } else { done.events - agreed.events },
            missed: wish.until.filter(|_| !has_stopped),
            round: status.executed,
            until: replay.now(),
            took_s: began.elapsed().as_secs_f64(),
            torn_bytes,
            other_version: Some(version).filter(|version| *version != ours),
            steps_named: reader.steps_named,
            goes_on: if has_stopped { None } else { goes_on() },
        }
    }))
}

/// Prints what is wished for while a core replays.
struct Printing<'a> {
    wish: &'a Wish,
    steps_named: u64,
    fixture: Option<Fixture>,
}

impl Onlooker for Printing<'_> {
    fn begins(&mut self, from: &Beginning, replay: &mut Replay) -> Result<(), Cause> {
        let kept_from = replay.core().status_at_hand().executed;
        match (from, self.wish.until) {
            (Beginning::Snapshot(..), Some(until)) if until <= kept_from => {
                Err(Cause::NotKept { until, kept_from })
            }
            _ => {
                self.fixture.iter_mut().for_each(|fixture| fixture.begin(from));
                Ok(())
            }
        }
    }

    fn item(&mut self, _: &Replay, item: &Item) {
        self.fixture.iter_mut().for_each(|fixture| fixture.add(item));
    }

    fn step(&mut self, _: &Replay, now: Time, effects: &[Effect]) -> ControlFlow<()> {
        let mut flow = ControlFlow::Continue(());
        for effect in effects {
            match effect {
                Effect::Trace { event, .. } => {
                    self.steps_named += u64::from(self.wish.print(now, &event.to_string()));
                }
                Effect::Executed(report) if self.wish.until.is_some_and(|until| report.round >= until) => {
                    flow = ControlFlow::Break(());
                }
                _ => {}
            }
        }
        flow
    }
}

/// The last round in a node's `rounds-<id>.csv`, if the block of the status is in it and is not the last.
///
/// # Correctness
/// Segments do not say which is the last one, so a journal that lacks its end looks whole. But an event is in the
/// journal before its effects leave the core, and the file is one of them: it cannot be ahead. A file of another run
/// has other headers; one that cannot be read says nothing, and `tools verify` says why.
fn round_beyond(log: &Path, node: NodeId, shard: ShardId, status: &NodeStatus) -> Option<Round> {
    let mut file = RoundsFile::open(&log.join(format!("rounds-{node}.csv")), node, shard).ok()?;
    let mut is_of_run = status.executed == Round(0);
    while let Some(row) = file.next_row().ok()? {
        is_of_run |= row.round() == status.executed && row.header() == status.header;
    }
    file.last().filter(|last| is_of_run && *last > status.executed)
}

impl Wish {
    /// Prints a step, if it is wanted; whether it names the transaction, if there is one.
    fn print(&self, now: Time, step: &str) -> bool {
        let is_named = self.tx.as_ref().is_some_and(|tx| step.contains(tx.as_str()));
        if self.has_trace || is_named {
            print(format!("{:>12.6} s  {step}", now.0 as f64 / 1e6));
        }
        is_named
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Done {
            node,
            skipped,
            events,
            effects,
            unchecked,
            missed,
            round,
            until,
            took_s,
            torn_bytes,
            other_version,
            goes_on,
            steps_named: _,
        } = self;
        let until_s = until.0 as f64 / 1e6;
        write!(
            f,
            "node {node}: the same {} effects of {} events, {until_s:.1} s up to round {}, replayed in {took_s:.1} s",
            grouped(*effects),
            grouped(*events),
            grouped(round.0),
        )?;
        if *skipped > 0 {
            write!(
                f,
                "; begun with a snapshot after {} events, since older ones are not kept",
                grouped(*skipped)
            )?;
        }
        if *unchecked > 0 {
            write!(f, "; the last {} events have no checksum", grouped(*unchecked))?;
        }
        if let Some(missed) = missed {
            write!(f, "; the journal ends before round {}", grouped(missed.0))?;
        }
        if *torn_bytes > 0 {
            write!(f, "; {torn_bytes} bytes of an unfinished record at the end")?;
        }
        if let Some(last) = goes_on {
            let lacks = "the journal lacks its end, since rounds-";
            write!(f, "; {lacks}{node}.csv goes on to round {}", grouped(last.0))?;
        }
        if let Some(version) = other_version {
            write!(f, "; written by {version}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchecked_tail_is_reported() {
        let done = Done {
            skipped: 0,
            node: NodeId(3),
            events: 12_345,
            effects: 1_000,
            unchecked: 45,
            missed: Some(Round(120)),
            round: Round(99),
            until: Time(8_250_000),
            took_s: 2.5,
            torn_bytes: 17,
            other_version: None,
            steps_named: 0,
            goes_on: Some(Round(1_205)),
        };
        assert_eq!(
            done.to_string(),
            "node 3: the same 1,000 effects of 12,345 events, 8.2 s up to round 99, replayed in 2.5 s; the last 45 events \
             have no checksum; the journal ends before round 120; 17 bytes of an unfinished record at the end; the journal \
             lacks its end, since rounds-3.csv goes on to round 1,205"
        );
    }
}
