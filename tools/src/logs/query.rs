//! The filters, all of which a record must pass, and what is followed.

use std::collections::BTreeSet;

use log::Level;
use wire::ids::{NodeId, Round, ShardId};
use wire::name::{Name, TxHead};

use super::carriers::is_in;
use super::committed::Pick;
use super::line::Process;
use super::merge::{Record, Source};
use super::moment::{Moment, Stamp};
use crate::flags::{UsageError, Values};
use crate::ids;

/// The filters and what is followed, as they stand on the command line.
#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    filters: Vec<Filter>,
    /// Followed things: every record names all of these.
    pub(super) followed: Vec<Followed>,
}

/// A filter, and the option that sets it.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    pub(super) option: String,
    pub(super) kind: Kind,
}

/// What a filter lets pass.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Nodes(BTreeSet<NodeId>),
    Processes(BTreeSet<Process>),
    Level(Level),
    Shard(ShardId),
    Since(Moment),
    Until(Moment),
    Grep(String),
}

impl Filter {
    /// Whether it looks only at who wrote a record.
    pub(super) fn is_of_source(&self) -> bool {
        matches!(self.kind, Kind::Nodes(_) | Kind::Processes(_))
    }

    fn passes_source(&self, source: &Source) -> bool {
        match &self.kind {
            Kind::Nodes(nodes) => nodes.contains(&source.node),
            Kind::Processes(processes) => processes.contains(&source.process),
            Kind::Level(_) | Kind::Shard(_) | Kind::Since(_) | Kind::Until(_) | Kind::Grep(_) => true,
        }
    }

    /// Whether a record passes, in logs that begin at `first`.
    pub(super) fn passes(&self, record: &Record, first: Stamp) -> bool {
        let level = record.head.map(|(_, level)| level);
        // Lines without a time come before those with one.
        let at = record.at().unwrap_or(first);
        match &self.kind {
            Kind::Nodes(_) | Kind::Processes(_) => self.passes_source(&record.source),
            Kind::Level(loudest) => level.is_some_and(|level| level <= *loudest),
            Kind::Shard(shard) => Name::all_in(&record.text).any(|name| name == Name::Shard(*shard)),
            Kind::Since(since) => at >= since.at(first),
            Kind::Until(until) => at <= until.at(first),
            Kind::Grep(text) => record.text.contains(text.as_str()),
        }
    }
}

/// Something that is followed through all nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Followed {
    /// A round, of any shard.
    Round(Round),
    /// An entry of a lane, or a group part.
    Named(Name),
    /// A transaction, by the beginning of its id.
    Tx(TxPrefix),
    /// A committed transaction, which the logs have to name.
    Picked(Pick),
}

/// At most 16 hex digits in small letters: the beginning of a TxId.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TxPrefix(String);

/// How long a prefix is that can be of one transaction only, as far as logs distinguish them.
const HEAD_DIGITS: usize = 16;
/// A whole TxId.
const ID_DIGITS: usize = 64;

impl TxPrefix {
    /// The prefix that `text` is: up to a whole TxId, of which logs show the first 16 digits.
    pub(super) fn parse(text: &str) -> Option<TxPrefix> {
        let text = text.strip_prefix("tx ").unwrap_or(text).to_ascii_lowercase();
        let is_valid =
            (1..=ID_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_valid.then(|| TxPrefix(text[..text.len().min(HEAD_DIGITS)].to_string()))
    }

    /// All that logs show of an id.
    pub(super) fn of(head: &TxHead) -> TxPrefix {
        TxPrefix(head.to_string())
    }

    /// Whether it is as long as the ids in logs.
    pub(super) fn is_whole(&self) -> bool {
        self.0.len() == HEAD_DIGITS
    }

    /// Whether a name is that of a transaction that begins so.
    pub(super) fn fits(&self, name: &Name) -> bool {
        matches!(name, Name::Tx(head) if head.to_string().starts_with(&self.0))
    }
}

impl std::fmt::Display for TxPrefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Followed {
    /// Whether a record names it.
    pub(super) fn is_named_in(&self, record: &Record) -> bool {
        Name::all_in(&record.text).any(|name| self.fits(&name))
    }

    /// Whether a name is that of what is followed.
    pub(super) fn fits(&self, name: &Name) -> bool {
        match (self, name) {
            (Followed::Round(round), Name::Round(named)) => round == named,
            (Followed::Tx(prefix), name) => prefix.fits(name),
            // A line may name several entries of a lane at once.
            (Followed::Named(followed), name) => followed == name || is_in(followed, name),
            (Followed::Round(_) | Followed::Picked(_), _) => false,
        }
    }
}

impl std::fmt::Display for Followed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Followed::Round(round) => Name::Round(*round).fmt(f),
            Followed::Named(name) => name.fmt(f),
            Followed::Tx(prefix) => write!(f, "tx {prefix}"),
            Followed::Picked(pick) => write!(f, "tx {}", pick.name()),
        }
    }
}

impl Query {
    /// Reads the options.
    pub(super) fn parse(values: &Values) -> Result<Query, UsageError> {
        let mut followed = Vec::new();
        let round = values.optional_whole("round")?;
        followed.extend(round.map(|round| Followed::Round(Round(round))));
        let named = |kind, expected| values.optional(kind, expected, |text| Name::parse(kind, text));
        let single = |name: &Name| !matches!(name, Name::Lane { first, last, .. } if first != last);
        let entry = "a lane entry, as in lane 3:17: node and place";
        let lane = values.optional("lane", entry, |text| Name::parse("lane", text).filter(single))?;
        followed.extend(lane.map(Followed::Named));
        let part = named("part", "a group part, as in part '1>0:5': source, destination and number")?;
        followed.extend(part.map(Followed::Named));
        let tx = "hex digits, the beginning of a transaction's id; or slowest, median or random";
        followed.extend(values.optional("tx", tx, parse_tx)?);
        let moment = |name| values.optional(name, Moment::EXPECTED, Moment::parse);
        let processes = "node, net_client, net_server or tools, or several separated by commas";
        let shard = values.optional_whole("shard")?;
        let kinds = [
            ("node", values.optional("node", "node ids, as in 0-3+8", parse_nodes)?.map(Kind::Nodes)),
            ("process", values.optional("process", processes, parse_processes)?.map(Kind::Processes)),
            (
                "level",
                values.optional("level", "error, warn, info, debug or trace", parse_level)?.map(Kind::Level),
            ),
            ("shard", shard.map(|shard| Kind::Shard(ShardId(shard as u16)))),
            ("since", moment("since")?.map(Kind::Since)),
            ("until", moment("until")?.map(Kind::Until)),
            ("grep", values.text("grep").map(|text| Kind::Grep(text.into()))),
        ];
        let filter = |(name, kind): (&str, Option<Kind>)| {
            let option = format!("--{name} {}", values.text(name).unwrap_or_default());
            kind.map(|kind| Filter { option, kind })
        };
        Ok(Query { filters: kinds.into_iter().filter_map(filter).collect(), followed })
    }

    /// The filters, those that look only at who wrote a record first.
    pub(super) fn filters(&self) -> &[Filter] {
        &self.filters
    }

    /// Whether a file of this writer may hold what is wanted.
    pub(super) fn wants_file(&self, source: &Source) -> bool {
        self.filters.iter().all(|filter| filter.passes_source(source))
    }

    /// Whether a record is wanted, whatever it names, in logs that begin at `first`.
    pub(super) fn wants(&self, record: &Record, first: Stamp) -> bool {
        self.filters.iter().all(|filter| filter.passes(record, first))
    }

    /// Whether it passes those filters that look at who wrote it and when. Which transaction is meant must not depend
    /// on the others: `--level` would hide most of the lines that name it.
    pub(super) fn wants_where_and_when(&self, record: &Record, first: Stamp) -> bool {
        let is_it = |filter: &&Filter| {
            filter.is_of_source() || matches!(filter.kind, Kind::Since(_) | Kind::Until(_))
        };
        self.filters.iter().filter(is_it).all(|filter| filter.passes(record, first))
    }

    /// Whether a record names all that is followed.
    pub(super) fn follows(&self, record: &Record) -> bool {
        self.followed.iter().all(|followed| followed.is_named_in(record))
    }
}

fn parse_tx(text: &str) -> Option<Followed> {
    let pick = Pick::ALL.into_iter().find(|pick| pick.name() == text).map(Followed::Picked);
    pick.or_else(|| TxPrefix::parse(text).map(Followed::Tx))
}

fn parse_nodes(text: &str) -> Option<BTreeSet<NodeId>> {
    ids::parse(text).map(BTreeSet::from_iter)
}

fn parse_processes(text: &str) -> Option<BTreeSet<Process>> {
    let named = |name: &str| Process::ALL.into_iter().find(|process| process.name() == name);
    text.split(',').map(named).collect()
}

fn parse_level(text: &str) -> Option<Level> {
    Level::iter().find(|level| level.as_str().eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::Invocation;
    use crate::logs::COMMAND;

    fn query(line: &str) -> Result<Query, String> {
        // A quoted word may hold a space: here '~' stands for it.
        let words: Vec<String> = line.split_whitespace().map(|word| word.replace('~', " ")).collect();
        match COMMAND.parse(&words).map_err(|error| error.to_string())? {
            Invocation::Run(values) => Query::parse(&values).map_err(|error| error.to_string()),
            Invocation::Help => Err("help".into()),
        }
    }

    fn record(node: u16, process: Process, level: Level, text: &str) -> Record {
        let source = Source { node: NodeId(node), process };
        Record { source, head: Some((Stamp(5_000_000), level)), text: text.into(), event: None }
    }

    #[test]
    fn a_record_must_pass_every_filter() {
        let first = Stamp(2_000_000);
        let record = record(
            3,
            Process::Node,
            Level::Info,
            "round 12 of shard 1 is decided in view 0: lane 4:15-17, lane 5:2; see part 1>0:5, tx 1f2e3d4c5b6a7988",
        );
        for (line, expected) in [
            ("", true),
            ("--node 3", true),
            ("--node 1,3", true),
            ("--node 0+2-4", true),
            ("--node 30", false),
            ("--process node", true),
            ("--process net_client,net_server", false),
            ("--level info", true),
            ("--level DEBUG", true),
            ("--level warn", false),
            ("--since 3", true),
            ("--since 3.1", false),
            ("--until 3", true),
            ("--until 2.9", false),
            ("--grep decided", true),
            ("--grep Decided", false),
            ("--shard 1", true),
            ("--shard 0", false),
            ("--round 12", true),
            ("--round 1", false),
            ("--lane 4:16", true),
            ("--lane 4:18", false),
            ("--lane 5:2", true),
            ("--part 1>0:5", true),
            ("--part 0>1:5", false),
            ("--tx 1f2e", true),
            ("--tx 1F2E3D4C5B6A7988", true),
            ("--tx tx~1f2e", true),
            ("--tx 2e3d", false),
            ("--tx slowest", false),
            ("--node 3 --round 12 --tx 1f --level info --grep lane", true),
            ("--node 3 --round 12 --tx 1f --level info --grep none", false),
        ] {
            let query = query(line).expect(line);
            assert_eq!(query.wants(&record, first) && query.follows(&record), expected, "{line}");
        }
        let full = format!("--tx 1f2e3d4c5b6a7988{}", "0".repeat(48));
        assert!(query(&full).unwrap().follows(&record), "a whole id");
    }

    #[test]
    fn a_record_without_time_and_level_passes_filters_of_neither() {
        let source = Source { node: NodeId(0), process: Process::Node };
        let bare = Record { source, head: None, text: "panicked".into(), event: None };
        let first = Stamp(7);
        assert!(query("--grep panicked").unwrap().wants(&bare, first));
        assert!(!query("--level trace").unwrap().wants(&bare, first));
        assert!(!query("--since 1").unwrap().wants(&bare, first));
    }

    #[test]
    fn each_mistake_is_named() {
        for (line, expected) in [
            ("--node 5-3", "--node: found '5-3', expected node ids, as in 0-3+8"),
            ("--node ,", "--node: found ','"),
            ("--process core", "--process: found 'core', expected node, net_client, net_server or tools"),
            ("--level loud", "--level: found 'loud', expected error, warn, info, debug or trace"),
            ("--round -1", "--round: found '-1'"),
            ("--lane 3", "--lane: found '3', expected a lane entry"),
            ("--lane 3:1-2", "--lane: found '3:1-2'"),
            ("--part 1-0:5", "--part: found '1-0:5', expected a group part"),
            ("--tx xyz", "--tx: found 'xyz', expected hex digits"),
            ("--tx tx~", "--tx: found 'tx '"),
            ("--since soon", "--since: found 'soon', expected a time"),
            ("--until 25:00:00", "--until: found '25:00:00'"),
            ("--shard 65536", "--shard: found '65536'"),
            ("--rond 3", "there is no option '--rond'; the nearest is '--round'"),
        ] {
            let error = query(line).err().unwrap_or_else(|| panic!("{line} is taken"));
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
