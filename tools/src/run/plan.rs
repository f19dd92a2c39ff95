//! The plan of a run, as a command line gives it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use bft::pending::Share;
use bft::sim::Conduct;
use wire::committee::Committee;
use wire::ids::NodeId;
use wire::limits::local::LocalLimits;
use wire::text::ParseError;

use super::directories::Directories;
use super::faults::{self, Fault, Kind, List};
use super::options::{
    BATCH, DURATION, FAULTS, FOLLOW, LIMITS, LOG_DIR, PIPELINE, ROUNDS, SHARE, SIGNED, TRANSACTIONS, WATCH,
    durability,
};
use super::wan::WanPlan;
use crate::flags::{Command, UsageError, Values};
use crate::ids;
use crate::json::Json;
use crate::load;

/// The plan of a run, wherever its nodes are.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct RunPlan {
    pub(crate) nodes: u16,
    pub(crate) shards: u16,
    pub(crate) load: load::Plan,
    /// Blocks of every shard after which it ends, if that comes first.
    pub(crate) rounds: Option<u64>,
    pub(crate) is_signed: bool,
    /// Whether a line is written for each transaction.
    pub(crate) has_transactions: bool,
    /// Whether it is shown on the whole terminal.
    pub(crate) is_watched: bool,
    pub(crate) settings: NodeSettings,
    pub(crate) wan: WanPlan,
    /// Planned faults, in order of time.
    pub(crate) faults: Vec<Fault>,
    /// Whether nodes can go on from journals; else those that are restarted only follow.
    pub(crate) has_journals: bool,
    /// Nodes that start without their journals, and only follow.
    pub(crate) follow: BTreeSet<NodeId>,
    pub(crate) directories: Directories,
    /// Every option as given or by default, for the summary.
    pub(crate) given: Vec<(&'static str, Json)>,
}

/// The settings of all nodes; by default those of somebody else's, which are not known.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct NodeSettings {
    /// Most transactions in one proposal.
    batch: u64,
    /// Proposals under way.
    pipeline: u64,
    /// The members that hold copies of what waits at a node.
    share: Share,
    pub(crate) limits: LocalLimits,
}

impl RunPlan {
    /// The plan of a command line for so many nodes; the command must have the options of every run.
    pub(crate) fn of(
        command: &Command,
        values: &Values,
        nodes: u16,
        shards: u16,
    ) -> Result<RunPlan, UsageError> {
        let duration = values.optional_seconds(DURATION.name)?;
        let rounds = values.optional_whole(ROUNDS.name)?;
        let mut faults = List::parse(values.required(FAULTS.name)?, nodes, shards)?;
        if values.is_given("resume") {
            faults = faults
                .without_byzantine("a new testbed for it: a Byzantine node has no journal to go on from")?;
        }
        let default = (duration.is_none() && rounds.is_none()).then(|| default_duration(&faults));
        let duration = duration.or(default);
        let is_signed = values.is_given(SIGNED.name);
        let (log, data) = (values.required(LOG_DIR.name)?, values.required("data-dir")?);
        if log == data {
            return Err(ParseError::of("--data-dir", data, "another directory than --log-dir").into());
        }
        if let Some(text) = values.text(FOLLOW.name).filter(|_| !values.is_given("resume")) {
            let expected = "--resume with it, since nodes of a new testbed sign";
            return Err(ParseError::of("--follow", text, expected).into());
        }
        let load = load::Plan::of(values, shards, is_signed, duration)?;
        // How long blocks take is not known before.
        let has_journals = durability(values)?.is_some();
        if !has_journals {
            faults.refuse_what_needs_journals()?;
        }
        let faults = faults.plan(duration.filter(|_| rounds.is_none()), load.seed)?;
        Ok(RunPlan {
            nodes,
            shards,
            wan: WanPlan::of(values, nodes * shards, load.seed)?,
            load,
            rounds,
            is_signed,
            has_transactions: values.is_given(TRANSACTIONS.name),
            is_watched: values.is_given(WATCH.name),
            settings: NodeSettings::of(values)?,
            faults,
            has_journals,
            follow: followers(values, nodes, shards)?,
            directories: Directories { log: PathBuf::from(log), data: PathBuf::from(data) },
            given: given(command, values),
        })
    }

    /// The plan of a load for a testbed that runs already, whose files go into one directory.
    pub(crate) fn of_guest(
        command: &Command,
        values: &Values,
        committee: &Committee,
        load: load::Plan,
        log: PathBuf,
    ) -> RunPlan {
        RunPlan {
            nodes: committee.n() as u16,
            shards: committee.shards(),
            load,
            rounds: None,
            is_signed: committee.protocol().signed,
            has_transactions: values.is_given(TRANSACTIONS.name),
            is_watched: false,
            settings: NodeSettings::default(),
            wan: WanPlan::Off,
            faults: Vec::new(),
            has_journals: false,
            follow: BTreeSet::new(),
            directories: Directories { data: log.clone(), log },
            given: given(command, values),
        }
    }

    /// Nodes that sign no more in the end: by plan down for good, or started without a journal.
    pub(crate) fn out_for_good(&self) -> BTreeSet<NodeId> {
        let mut out = faults::down_for_good(&self.faults);
        if !self.has_journals {
            let restarts = self.faults.iter().filter(|fault| matches!(fault.kind, Kind::Restart { .. }));
            out.extend(restarts.flat_map(Fault::nodes));
        }
        out.union(&self.follow).copied().collect()
    }

    /// The Byzantine nodes, and how they behave.
    pub(crate) fn byzantine(&self) -> BTreeMap<NodeId, Conduct> {
        faults::byzantine(&self.faults)
    }

    /// The line about nodes that only follow, if there are any.
    pub(crate) fn followers_text(&self) -> Option<String> {
        (!self.follow.is_empty()).then(|| format!("followers: {}", followers_text(&self.follow)))
    }

    pub(crate) fn nodes_in_all(&self) -> u16 {
        self.nodes * self.shards
    }
}

impl NodeSettings {
    /// The settings of a command line.
    pub(crate) fn of(values: &Values) -> Result<NodeSettings, UsageError> {
        Ok(NodeSettings {
            batch: values.whole(BATCH.name)?,
            pipeline: values.whole(PIPELINE.name)?,
            share: values.value(SHARE.name, "all, backup or none", Share::parse)?,
            limits: LocalLimits::of(values.text(LIMITS.name))?,
        })
    }

    /// The part of a node's command line that is the same for all.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            ("--batch", self.batch.to_string()),
            ("--pipeline", self.pipeline.to_string()),
            ("--share", self.share.name().to_string()),
        ];
        arguments.extend(self.limits.text().map(|list| ("--limits", list)));
        arguments.into_iter().flat_map(|(name, value)| [name.to_string(), value]).collect()
    }
}

/// How long load is offered if the command line does not say it: long enough to see what comes after the last fault.
fn default_duration(faults: &List) -> Duration {
    const USUAL: Duration = Duration::from_secs(10);
    const AFTER_FAULTS: Duration = Duration::from_secs(4);
    faults.end().map_or(USUAL, |end| USUAL.max(end + AFTER_FAULTS))
}

/// The nodes that are only to follow: at most f of each shard of `n` nodes.
pub(crate) fn followers(values: &Values, n: u16, shards: u16) -> Result<BTreeSet<NodeId>, UsageError> {
    let Some(text) = values.text(FOLLOW.name) else { return Ok(BTreeSet::new()) };
    let refused = |expected: String| ParseError::of("--follow", text, expected);
    let nodes = ids::parse(text).filter(|nodes| nodes.iter().all(|node| node.0 < n * shards));
    let last = n * shards - 1;
    let nodes = nodes.ok_or_else(|| refused(format!("node ids from 0 to {last}, joined by '+'")))?;
    let nodes = BTreeSet::from_iter(nodes);
    let f = usize::from((n - 1) / 3);
    let of = |shard: u16| nodes.iter().filter(|node| node.0 / n == shard).count();
    if (0..shards).any(|shard| of(shard) > f) {
        let expected = format!("at most f = {f} of the {n} nodes of a shard, which stands still else");
        return Err(refused(expected).into());
    }
    Ok(nodes)
}

/// Nodes that only follow, and what that means.
pub(crate) fn followers_text(nodes: &BTreeSet<NodeId>) -> String {
    let nodes = ids::nodes_text(nodes);
    format!("{nodes}; a follower signs nothing, takes no transactions, and counts against f")
}

/// Every option of a command as given or by default.
fn given(command: &Command, values: &Values) -> Vec<(&'static str, Json)> {
    let given = command.options.iter().map(|option| match option.value {
        Some(_) => (option.name, as_json(values.text(option.name))),
        None => (option.name, Json::from(values.is_given(option.name))),
    });
    given.collect()
}

/// An option's value in a summary: a number if it is one.
fn as_json(text: Option<&str>) -> Json {
    let Some(text) = text else { return Json::Null };
    match (text.parse::<i128>(), text.parse::<f64>()) {
        (Ok(number), _) => Json::Int(number),
        (_, Ok(number)) => Json::Float(number),
        _ => Json::text(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_numbers_in_the_summary() {
        assert_eq!(as_json(Some("12")), Json::Int(12));
        assert_eq!(as_json(Some("1.5")), Json::Float(1.5));
        assert_eq!(as_json(Some("max")), Json::text("max"));
        assert_eq!(as_json(None), Json::Null);
    }
}
