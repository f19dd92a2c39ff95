//! The result of a run: for people on the terminal ([`text`]), for programs in `summary.json` ([`json`]), and as an
//! exit code. `docs/files.md` defines each figure.

mod counters;
mod files;
mod json;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wire::ids::{Digest, NodeId};

use crate::json::Json;
use crate::lag::Stall;
use crate::load::{Found, Plan, Rate, Tally};
use crate::procfs::Machine;
use crate::run::{Outcome, Recovery};
use crate::verify::{Judgement, Verdict};

pub(crate) use self::counters::Counters;
pub(crate) use self::files::{latency_csv, series_csv};

/// Everything that is known of a run in the end.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Summary {
    pub(crate) testbed: Digest,
    pub(crate) n: usize,
    pub(crate) shards: u16,
    /// Byzantine members that a shard tolerates.
    pub(crate) f: usize,
    pub(crate) plan: Plan,
    /// When the load began, Unix time; `None` if it did not.
    pub(crate) began_unix_ms: Option<u64>,
    pub(crate) offered_for: Duration,
    /// Of that, how long it was measured: all but the warm-up.
    pub(crate) measured_for: Duration,
    pub(crate) tally: Tally,
    /// The size that a closed loop has found.
    pub(crate) window: Option<Found>,
    /// Transactions open at the end at a node that is up.
    pub(crate) in_flight: u64,
    /// Open at a node that crashed for good.
    pub(crate) orphaned: u64,
    /// Chains that did not know their coin at the end.
    pub(crate) doubtful: u64,
    /// Chains that stopped: a transaction of theirs was lost, refused for good, or rejected for no known reason.
    pub(crate) dead: u64,
    /// The judgement of the nodes' files.
    pub(crate) verdict: Verdict,
    /// The usage of the measured part.
    pub(crate) used: Usage,
    /// The most memory that one process of each program had, MB.
    pub(crate) peak_mb: BTreeMap<String, f64>,
    /// The last counters of nodes, added up.
    pub(crate) counters: Counters,
    /// Nodes that were up and not level with their shard at the end: rounds behind.
    pub(crate) behind: BTreeMap<NodeId, u64>,
    /// Nodes that only followed.
    pub(crate) followers: BTreeSet<NodeId>,
    /// Nodes that were up and stood still or lagged, in the order in which that began.
    pub(crate) stalls: Vec<Stall>,
    /// Planned faults that were carried out, in order of time.
    pub(crate) faults: Vec<Outcome>,
    /// Nodes after faults, in the order in which those ended.
    pub(crate) recoveries: Vec<Recovery>,
    /// Findings besides those of the verdict.
    pub(crate) findings: Vec<String>,
    /// Why the run did not go as it should, in words.
    pub(crate) diagnosis: Vec<String>,
    /// Nodes that ended, or had to be killed, although no fault was planned.
    pub(crate) unplanned_ends: Vec<String>,
    pub(crate) interrupted: bool,
    /// The commit that was built, if it is known.
    pub(crate) commit: Option<String>,
    /// The machine on which the load ran.
    pub(crate) machine: Machine,
    /// The machines on which the nodes ran, if those are others.
    pub(crate) hosts: Vec<Json>,
    /// The options, as given or by default.
    pub(crate) options: Vec<(&'static str, Json)>,
}

/// Processor time between two moments, at the beginning and at the end of what is measured.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Usage {
    /// Seconds by program, `tools` included.
    pub(crate) cpu_s: BTreeMap<String, f64>,
    /// Transactions committed between the two.
    pub(crate) committed: u64,
    /// How far they are apart, seconds.
    pub(crate) elapsed_s: f64,
}

impl Summary {
    /// 0 all well; 1 safety, conservation, something lost or unexplained, or not to be judged; 3 nothing committed
    /// although transactions were offered; 130 interrupted.
    pub(crate) fn exit_code(&self) -> u8 {
        if self.is_unsafe() || !self.unplanned_ends.is_empty() {
            1
        } else if self.interrupted {
            130
        } else if self.tally.committed == 0 && self.tally.submitted_valid > 0 {
            3
        } else {
            u8::from(!self.complaints().is_empty())
        }
    }

    /// Whether something is wrong that nothing excuses, not even that the run was interrupted.
    fn is_unsafe(&self) -> bool {
        self.verdict.answers().iter().any(|(_, answer)| **answer == Judgement::False)
            || self.tally.finished_invalid > 0
            || self.tally.duplicated > 0
            || !self.findings.is_empty()
            || self.verdict.findings_count > 0
    }

    /// Why a run that is safe is not well, in words.
    fn complaints(&self) -> Vec<String> {
        // Faults may leave a client in the dark about a coin between shards; within one nothing excuses a rejection.
        // Nor does anything that Byzantine nodes do.
        let has_faults = self.faults.iter().any(|outcome| !outcome.fault.is_byzantine());
        let is_in_the_dark = has_faults && self.shards > 1;
        // An expiry as long as the load chooses it passes only while something stands still.
        let is_late_for_no_reason =
            !has_faults && self.stalls.is_empty() && self.plan.expiry_rounds.is_none();
        let lost = format!("{} transactions are lost", self.tally.lost);
        let open = format!("{} transactions are in flight", self.in_flight);
        let rejected = format!(
            "{} transactions were rejected for no reason of this load",
            self.tally.rejected_unexpected
        );
        let ended = format!(
            "{} chains of coins came to their end for no reason of this load",
            self.doubtful + self.dead
        );
        let late = format!(
            "{} transactions expired although no fault was planned and no node stood still",
            self.tally.expired
        );
        let complaints = [
            (self.tally.lost > 0, lost),
            (self.in_flight > 0, open),
            (self.tally.rejected_unexpected > 0 && !is_in_the_dark, rejected),
            (self.doubtful + self.dead > 0 && !is_in_the_dark, ended),
            (self.tally.expired > 0 && is_late_for_no_reason, late),
            (!self.not_judged().is_empty(), "not everything could be judged".into()),
            (!self.unplanned_ends.is_empty(), "a node ended unplanned, or a planned fault failed".into()),
            (self.tally.submitted == 0, "nothing was submitted".into()),
            (
                self.measured_for.is_zero(),
                "nothing was measured, since the load ended within the warm-up".into(),
            ),
        ];
        complaints.into_iter().filter(|(is_so, _)| *is_so).map(|(_, text)| text).collect()
    }

    /// Transactions that were to be sent.
    pub(crate) fn offered(&self) -> u64 {
        self.tally.submitted + self.tally.unsent
    }

    /// Transactions that were to be sent, by the second.
    pub(crate) fn offered_tps(&self) -> f64 {
        match self.plan.rate {
            Rate::PerSecond(rate) => rate as f64,
            Rate::Max => self.tally.submitted_measured as f64 / self.measured_s(),
        }
    }

    /// Transactions committed, by the second.
    pub(crate) fn tps(&self) -> f64 {
        self.tally.committed_measured as f64 / self.measured_s()
    }

    /// Blocks of a shard, by the second.
    pub(crate) fn rounds_per_s(&self) -> f64 {
        self.verdict.rounds_measured as f64 / f64::from(self.shards) / self.measured_s()
    }

    /// Views of a round.
    pub(crate) fn views_per_round(&self) -> f64 {
        self.verdict.views as f64 / (self.verdict.rounds_measured as f64).max(1.0)
    }

    /// Processor time over all nodes by the transaction committed, by program.
    pub(crate) fn cpu_us_per_tx(&self) -> BTreeMap<String, f64> {
        let Usage { cpu_s, committed, .. } = &self.used;
        if *committed == 0 {
            return BTreeMap::new();
        }
        cpu_s.iter().map(|(name, seconds)| (name.clone(), seconds * 1e6 / *committed as f64)).collect()
    }

    /// Cores that all processes of the run, `tools` included, kept busy on average.
    pub(crate) fn cores_busy(&self) -> f64 {
        self.used.cpu_s.values().sum::<f64>() / self.used.elapsed_s.max(1e-9)
    }

    /// A figure of what was measured, if anything was.
    fn measured(&self, figure: f64) -> Json {
        Json::or_null((!self.measured_for.is_zero()).then_some(figure))
    }

    /// A figure from the files of nodes, if they were read.
    fn judged(&self, figure: Json) -> Json {
        if self.verdict.is_deferred() { Json::Null } else { figure }
    }

    /// Bytes sent between nodes by the transaction committed.
    pub(crate) fn bytes_per_tx(&self) -> Option<f64> {
        let committed = self.tally.committed;
        (committed > 0).then(|| self.counters.bytes_sent as f64 / committed as f64)
    }

    fn measured_s(&self) -> f64 {
        self.measured_for.as_secs_f64().max(1e-9)
    }

    fn refused_count(&self) -> u64 {
        self.tally.refused.values().sum()
    }

    /// Everything that is wrong, in words.
    fn all_findings(&self) -> Vec<String> {
        self.findings.iter().chain(&self.verdict.findings).cloned().collect()
    }

    /// Answers that are missing, each with its reason.
    fn not_judged(&self) -> Vec<String> {
        let answers = self.verdict.answers();
        let missing = answers.iter().filter(|(_, answer)| matches!(answer, Judgement::NotJudged(_)));
        missing.map(|(name, answer)| format!("{name} {answer}")).collect()
    }
}

fn ms(us: u64) -> f64 {
    us as f64 / 1e3
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use self::tests::made_up;
