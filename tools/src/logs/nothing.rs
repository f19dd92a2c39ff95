//! Why nothing is shown: how much each filter leaves of the lines before it, up to the one that leaves none.
//!
//! Filters on the writer come first, then what is followed, then the rest, so that `--tx X --level info` reports that
//! there are lines about X, but at another level. Beside the filter that leaves none stands what its lines are instead.

use std::collections::{BTreeMap, BTreeSet};

use log::Level;
use wire::ids::{NodeId, ShardId};
use wire::name::Name;

use super::line::Process;
use super::merge::Record;
use super::moment::Stamp;
use super::query::{Filter, Followed, Kind, Query};
use crate::ids;

/// The filters of a query, as all lines run through them.
#[derive(Clone, Debug)]
pub(super) struct Funnel {
    lines: u64,
    /// The lowest level at which a core has logged.
    loudest: Option<Level>,
    stages: Vec<Stage>,
}

/// One filter.
#[derive(Clone, Debug)]
struct Stage {
    option: String,
    test: Test,
    left: u64,
    met: Met,
}

#[derive(Clone, Debug)]
enum Test {
    Filter(Filter),
    Followed(Followed),
    /// A listing of transactions, which the lines that come so far do not allow.
    Listing,
}

/// The values that a filter has seen, of the field that it tests.
#[derive(Clone, Debug, Default)]
struct Met {
    nodes: BTreeSet<NodeId>,
    processes: BTreeSet<Process>,
    levels: BTreeMap<Level, u64>,
    shards: BTreeSet<ShardId>,
    /// The first and the last time.
    times: Option<(Stamp, Stamp)>,
}

impl Funnel {
    /// The stages of a query; a listing of transactions is its last if `listing` is the option that asks for one.
    pub(super) fn new(query: &Query, listing: Option<&str>) -> Funnel {
        let stage = |option: String, test| Stage { option, test, left: 0, met: Met::default() };
        let filter = |filter: &Filter| stage(filter.option.clone(), Test::Filter(filter.clone()));
        let (of_source, others): (Vec<&Filter>, Vec<&Filter>) =
            query.filters().iter().partition(|filter| filter.is_of_source());
        let followed = query
            .followed
            .iter()
            .map(|followed| stage(format!("--{followed}"), Test::Followed(followed.clone())));
        let stages = of_source.into_iter().map(filter).chain(followed).chain(others.into_iter().map(filter));
        let listing = listing.map(|option| stage(option.into(), Test::Listing));
        Funnel { lines: 0, loudest: None, stages: stages.chain(listing).collect() }
    }

    /// Lets a record run through, in logs that begin at `first`.
    pub(super) fn add(&mut self, record: &Record, first: Stamp) {
        self.lines += 1;
        if let (Process::Node, Some((_, level))) = (record.source.process, record.head) {
            self.loudest = self.loudest.max(Some(level));
        }
        for stage in &mut self.stages {
            if !stage.passes(record, first) {
                return;
            }
            stage.left += 1;
        }
    }

    /// The sentence.
    pub(super) fn words(&self, place: &str) -> String {
        if self.lines == 0 {
            return format!("nothing to show: the logs in {place} are empty");
        }
        let mut words = format!("nothing to show: of {} lines in {place}", self.lines);
        for Stage { option, test, left, met } in &self.stages {
            if *left > 0 {
                words += &format!(", {option} leaves {left}");
                continue;
            }
            let hint = match test {
                Test::Filter(filter) => met.instead(&filter.kind),
                Test::Followed(_) | Test::Listing => self.unlogged(),
            };
            words += &format!(", {option} leaves none");
            if !hint.is_empty() {
                words += &format!(": {hint}");
            }
            break;
        }
        words
    }

    /// What the cores have not logged, for want of a level.
    fn unlogged(&self) -> String {
        match self.loudest {
            Some(Level::Trace) => String::new(),
            Some(Level::Debug) => {
                "nodes ran with RUST_LOG=debug, and log transactions within a shard only with RUST_LOG=trace".into()
            }
            _ => "nodes log rounds and transactions between shards only with RUST_LOG=debug, other transactions with \
                  RUST_LOG=trace"
                .into(),
        }
    }
}

impl Stage {
    fn passes(&mut self, record: &Record, first: Stamp) -> bool {
        match &self.test {
            Test::Filter(filter) => {
                self.met.add(&filter.kind, record);
                filter.passes(record, first)
            }
            Test::Followed(followed) => followed.is_named_in(record),
            Test::Listing => false,
        }
    }
}

impl Met {
    fn add(&mut self, kind: &Kind, record: &Record) {
        match kind {
            Kind::Nodes(_) => _ = self.nodes.insert(record.source.node),
            Kind::Processes(_) => _ = self.processes.insert(record.source.process),
            Kind::Level(_) => {
                if let Some((_, level)) = record.head {
                    *self.levels.entry(level).or_default() += 1;
                }
            }
            Kind::Shard(_) => self.shards.extend(Name::all_in(&record.text).filter_map(|name| match name {
                Name::Shard(shard) => Some(shard),
                _ => None,
            })),
            Kind::Since(_) | Kind::Until(_) => {
                if let Some(at) = record.at() {
                    let (first, last) = self.times.unwrap_or((at, at));
                    self.times = Some((first.min(at), last.max(at)));
                }
            }
            Kind::Grep(_) => {}
        }
    }

    /// Describes the lines that a filter of this kind has removed.
    fn instead(&self, kind: &Kind) -> String {
        match kind {
            Kind::Nodes(_) => format!("they are of {}", ids::nodes_text(&self.nodes)),
            Kind::Processes(_) => {
                let names: Vec<&str> = self.processes.iter().map(|process| process.name()).collect();
                format!("they are of the process {}", names.join(", "))
            }
            Kind::Level(_) => {
                let level = |(level, count): (&Level, &u64)| {
                    format!("{count} at {}", level.as_str().to_ascii_lowercase())
                };
                format!("they are {}", self.levels.iter().map(level).collect::<Vec<_>>().join(", "))
            }
            Kind::Shard(_) if self.shards.is_empty() => "they name no shard".into(),
            Kind::Shard(_) => {
                let shards = self.shards.iter().map(|shard| shard.0.into());
                format!("they name {}", ids::numbers_text("shard", shards))
            }
            Kind::Since(_) | Kind::Until(_) => match self.times {
                Some((first, last)) => format!("they are from {first} to {last}"),
                None => "they have no time".into(),
            },
            Kind::Grep(_) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::Invocation;
    use crate::logs::COMMAND;
    use crate::logs::merge::Source;

    /// The sentence about a command line, for these lines of nodes 0 to 3, each at its second.
    fn words(line: &str, lines: &[(Level, &str)]) -> String {
        let arguments: Vec<String> = line.split_whitespace().map(String::from).collect();
        let Ok(Invocation::Run(values)) = COMMAND.parse(&arguments) else { panic!("{line}") };
        let mut funnel =
            Funnel::new(&Query::parse(&values).unwrap(), values.text("stories").map(|_| "--stories"));
        for (at, (level, text)) in (0..).zip(lines) {
            let source = Source { node: NodeId(at as u16 % 4), process: Process::Node };
            let head = Some((Stamp(at * 1_000_000), *level));
            funnel.add(&Record { source, head, text: (*text).into(), event: None }, Stamp(0));
        }
        funnel.words("log")
    }

    #[test]
    fn the_filter_that_leaves_nothing_is_named_with_what_there_is() {
        let text = "tx 1f2e3d4c5b6a7988 has finished in shard 0 in round 12 by lane 4:15";
        let at_trace =
            [(Level::Info, "starts"), (Level::Info, "starts"), (Level::Trace, text), (Level::Trace, text)];
        for (line, expected) in [
            ("--node 99", "of 4 lines in log, --node 99 leaves none: they are of nodes 0-3"),
            ("--shard 7", "--shard 7 leaves none: they name shard 0"),
            ("--level warn", "--level warn leaves none: they are 2 at info, 2 at trace"),
            (
                "--level info --tx 1f2e",
                "of 4 lines in log, --tx 1f2e leaves 2, --level info leaves none: they are 2 at trace",
            ),
            ("--tx 77", "--tx 77 leaves none"),
            ("--tx slowest", "--tx slowest leaves none"),
            ("--round 12 --lane 4:16", "--round 12 leaves 2, --lane 4:16 leaves none"),
            ("--part 1>0:5", "--part 1>0:5 leaves none"),
            ("--process net_client", "--process net_client leaves none: they are of the process node"),
            ("--since 9", "--since 9 leaves none: they are from 00:00:00.000000 to 00:00:03.000000"),
            (
                "--until 0 --node 1",
                "--node 1 leaves 1, --until 0 leaves none: they are from 00:00:01.000000 to",
            ),
            ("--grep ends", "--grep ends leaves none"),
            ("--stories 5", "of 4 lines in log, --stories leaves none"),
        ] {
            let words = words(line, &at_trace);
            assert!(words.contains(expected), "{line}: {words}");
            assert!(!words.contains("RUST_LOG"), "the cores have logged all there is: {words}");
        }
    }

    #[test]
    fn levels_are_named_only_where_they_are_why() {
        let at_info = [(Level::Info, "starts")];
        for line in ["--tx 1f", "--round 12", "--stories 5"] {
            assert!(words(line, &at_info).contains("only with RUST_LOG=debug"), "{line}");
        }
        let at_debug = [(Level::Debug, "round 12 of shard 0 is certified by N−f VOTEs")];
        assert!(words("--tx 1f", &at_debug).ends_with("only with RUST_LOG=trace"));
        assert!(words("--shard 7", &at_info).ends_with("they name no shard"));
        assert!(!words("--level warn", &at_info).contains("RUST_LOG"));
        assert_eq!(words("--level warn", &[]), "nothing to show: the logs in log are empty");
    }
}
