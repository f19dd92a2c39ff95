//! What a run came to: for people on the terminal, for programs in `summary.json`, and as an exit code.

use std::collections::BTreeMap;

use crate::json::Json;
use crate::load::Histogram;
use crate::procfs::Machine;
use crate::verify::Judgement;

/// Everything that is told of a run.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Summary {
    /// Members of a shard.
    pub(crate) n: usize,
    /// Shards.
    pub(crate) shards: u16,
    /// Byzantine members that a shard tolerates.
    pub(crate) f: usize,
    /// Bytes of a transaction.
    pub(crate) tx_size: usize,
    /// The seed.
    pub(crate) seed: u64,
    /// How long load was offered, seconds.
    pub(crate) duration_s: f64,
    /// Transactions that were to be sent in that time, by the second.
    pub(crate) offered_tps: f64,
    /// Of those, the ones that were never sent, since the nodes did not take them in time.
    pub(crate) unsent: u64,
    /// Handed to nodes.
    pub(crate) submitted: u64,
    /// Of these, those that could finish: no input was spoiled on purpose.
    pub(crate) submitted_valid: u64,
    /// Finished, with a receipt.
    pub(crate) committed: u64,
    /// Of these, those that crossed shards.
    pub(crate) committed_cross: u64,
    /// Finished while load was offered, by the second.
    pub(crate) tps: f64,
    /// Rejected for good.
    pub(crate) rejected: u64,
    /// Of these, those for which there was no reason: no input was spoiled, no coin in doubt.
    pub(crate) rejected_unexpected: u64,
    /// Finished although an input was spoiled.
    pub(crate) finished_invalid: u64,
    /// Times that a shard gave back what a cross-shard transaction had spent there.
    pub(crate) refunded: u64,
    /// Expired.
    pub(crate) expired: u64,
    /// Refused, by reason.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Open at the end at a node that is up.
    pub(crate) in_flight: u64,
    /// Open at a node that crashed for good.
    pub(crate) orphaned: u64,
    /// Forgotten by a node that is up.
    pub(crate) lost: u64,
    /// Final receipts that came twice.
    pub(crate) duplicated: u64,
    /// Handed over again after a lost connection.
    pub(crate) resubmitted: u64,
    /// Blocks.
    pub(crate) rounds: u64,
    /// Views of all rounds together.
    pub(crate) views: u64,
    /// From a node's input to the decision.
    pub(crate) round_time: Histogram,
    /// From the intended send time to the receipt of what was committed.
    pub(crate) latency: Histogram,
    /// The same of transactions within a shard.
    pub(crate) latency_intra: Histogram,
    /// The same of those that crossed shards.
    pub(crate) latency_cross: Histogram,
    /// From the intended send time to the receipt of what was rejected.
    pub(crate) rejection: Histogram,
    /// The same for reasons that need no agreement: a coin spent, or of another amount.
    pub(crate) rejection_final: Histogram,
    /// Bytes sent between nodes.
    pub(crate) bytes_sent: u64,
    /// Frames dropped by the outbox rule.
    pub(crate) frames_dropped: u64,
    /// Child processes restarted.
    pub(crate) restarts: u64,
    /// Planned faults as given.
    pub(crate) faults: Vec<String>,
    /// Misbehaviour of peers that nodes counted, by kind.
    pub(crate) peer_faults: BTreeMap<String, u64>,
    /// Connections refused and frames thrown away by `net_server`s, by reason.
    pub(crate) turned_away: BTreeMap<String, u64>,
    /// Whether all nodes told the same blocks.
    pub(crate) agreement: Judgement,
    /// Whether no coin was made or lost.
    pub(crate) value_conserved: Judgement,
    /// Whether shards agree on what they have exchanged.
    pub(crate) exchange_holds: Judgement,
    /// Whether receipts and blocks fit together.
    pub(crate) receipts_hold: Judgement,
    /// What the check of the files found.
    pub(crate) findings: Vec<String>,
    /// Why the run did not go as it should, in words.
    pub(crate) diagnosis: Vec<String>,
    /// Nodes that ended, or had to be killed, although no fault was planned.
    pub(crate) unplanned_ends: Vec<String>,
    /// Whether a signal ended it.
    pub(crate) interrupted: bool,
    /// Processor seconds by program while load was offered, `tools` included.
    pub(crate) cpu_s: BTreeMap<String, f64>,
    /// The most memory that one process of each program had, MB.
    pub(crate) peak_mb: BTreeMap<String, f64>,
    /// The commit that was built, if it is known.
    pub(crate) commit: Option<String>,
    /// The machine on which the load ran.
    pub(crate) machine: Machine,
    /// The machines on which the nodes ran, if those are others.
    pub(crate) hosts: Vec<Json>,
    /// The options, as given or by default.
    pub(crate) options: Vec<(&'static str, Json)>,
}

impl Summary {
    /// 0 all well; 1 safety, conservation, something lost, or not to be judged; 3 nothing committed although transactions
    /// were offered;
    /// 130 interrupted.
    pub(crate) fn exit_code(&self) -> u8 {
        let answers = self.answers();
        let is_unsafe = answers.iter().any(|(_, answer)| **answer == Judgement::False)
            || self.finished_invalid > 0
            || self.duplicated > 0;
        let is_judged = answers.iter().all(|(_, answer)| answer.holds());
        // Faults may leave a client in the dark about a coin between shards; within one nothing excuses a rejection.
        let is_unexcused = self.rejected_unexpected > 0 && (self.faults.is_empty() || self.shards == 1);
        if is_unsafe || !self.findings.is_empty() {
            1
        } else if self.interrupted {
            130
        } else if self.committed == 0 && self.submitted_valid > 0 {
            3
        } else if self.lost > 0
            || self.in_flight > 0
            || is_unexcused
            || !is_judged
            || !self.unplanned_ends.is_empty()
            || self.submitted == 0
        {
            1
        } else {
            0
        }
    }

    /// Whether all is well, by what the run left.
    fn answers(&self) -> [(&'static str, &Judgement); 4] {
        [
            ("agreement", &self.agreement),
            ("value_conserved", &self.value_conserved),
            ("exchange_holds", &self.exchange_holds),
            ("receipts_hold", &self.receipts_hold),
        ]
    }

    /// `summary.json`.
    pub(crate) fn to_json(&self) -> Json {
        let counts = |counts: &BTreeMap<String, u64>| {
            Json::Object(counts.iter().map(|(name, count)| (name.clone(), Json::from(*count))).collect())
        };
        let texts = |texts: &[String]| Json::List(texts.iter().map(Json::text).collect());
        let values = |values: &BTreeMap<String, f64>| {
            Json::Object(values.iter().map(|(name, value)| (name.clone(), Json::from(*value))).collect())
        };
        let latency =
            |latency: &Histogram| latency_json(latency, &[("p50", 500), ("p90", 900), ("p99", 990)], true);
        let mut fields = vec![
            ("nodes", Json::from(self.n * usize::from(self.shards))),
            ("shards", Json::from(u64::from(self.shards))),
            ("n", Json::from(self.n)),
            ("f", Json::from(self.f)),
            ("tx_size", Json::from(self.tx_size)),
            ("seed", Json::from(self.seed)),
            ("duration_s", Json::from(self.duration_s)),
            ("offered_tps", Json::from(self.offered_tps)),
            ("offered", Json::from(self.offered())),
            ("unsent", Json::from(self.unsent)),
            ("submitted", Json::from(self.submitted)),
            ("submitted_valid", Json::from(self.submitted_valid)),
            ("committed", Json::from(self.committed)),
            ("committed_intra", Json::from(self.committed - self.committed_cross)),
            ("committed_cross", Json::from(self.committed_cross)),
            ("rejected", Json::from(self.rejected)),
            ("rejected_unexpected", Json::from(self.rejected_unexpected)),
            ("finished_invalid", Json::from(self.finished_invalid)),
            ("refunded", Json::from(self.refunded)),
            ("expired", Json::from(self.expired)),
            ("refused", Json::from(self.refused_count())),
            ("refused_by_reason", counts(&self.refused)),
            ("in_flight", Json::from(self.in_flight)),
            ("orphaned", Json::from(self.orphaned)),
            ("lost", Json::from(self.lost)),
            ("duplicated", Json::from(self.duplicated)),
            ("resubmitted", Json::from(self.resubmitted)),
            ("tps", Json::from(self.tps)),
            ("rounds", Json::from(self.rounds)),
            ("views", Json::from(self.views)),
            ("round_ms", latency_json(&self.round_time, &[("p50", 500), ("p99", 990)], false)),
            ("latency_ms", latency(&self.latency)),
            ("latency_intra_ms", latency(&self.latency_intra)),
            ("latency_cross_ms", latency(&self.latency_cross)),
            ("rejection_ms", latency(&self.rejection)),
            ("rejection_final_ms", latency(&self.rejection_final)),
            ("bytes_sent", Json::from(self.bytes_sent)),
            ("frames_dropped", Json::from(self.frames_dropped)),
            ("restarts", Json::from(self.restarts)),
            ("faults", texts(&self.faults)),
            ("peer_faults", counts(&self.peer_faults)),
            ("turned_away", counts(&self.turned_away)),
            ("agreement", self.agreement.to_json()),
            ("value_conserved", self.value_conserved.to_json()),
            ("exchange_holds", self.exchange_holds.to_json()),
            ("receipts_hold", self.receipts_hold.to_json()),
            ("not_judged", texts(&self.not_judged())),
            ("findings", texts(&self.findings)),
            ("unplanned_ends", texts(&self.unplanned_ends)),
            ("diagnosis", texts(&self.diagnosis)),
            ("interrupted", Json::from(self.interrupted)),
            ("exit_code", Json::from(u64::from(self.exit_code()))),
            ("cpu_us_per_tx", values(&self.cpu_us_per_tx())),
            ("peak_mb", values(&self.peak_mb)),
            ("version", Json::text(env!("CARGO_PKG_VERSION"))),
            ("commit", self.commit.as_ref().map_or(Json::Null, Json::text)),
            ("machine", machine_json(&self.machine)),
            ("options", Json::object(self.options.iter().cloned())),
        ];
        if !self.hosts.is_empty() {
            fields.push(("hosts", Json::List(self.hosts.clone())));
        }
        Json::object(fields)
    }

    /// Answers that are missing, each with its reason.
    fn not_judged(&self) -> Vec<String> {
        let answers = self.answers();
        let missing = answers.iter().filter(|(_, answer)| matches!(answer, Judgement::NotJudged(_)));
        missing.map(|(name, answer)| format!("{name} {answer}")).collect()
    }

    /// For people: a line a fact, facts that are empty left out.
    pub(crate) fn to_text(&self) -> String {
        let rows = self.outcome_rows().into_iter().chain(self.cost_rows()).chain(self.judgement_rows());
        rows.filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("  {name:<18} {value}\n"))
            .collect()
    }

    /// What was offered and what became of it.
    fn outcome_rows(&self) -> Vec<(&'static str, String)> {
        let nodes = self.n * usize::from(self.shards);
        let shards = if self.shards == 1 { "1 shard".into() } else { format!("{} shards", self.shards) };
        let percent = 100.0 * self.committed as f64 / (self.submitted as f64).max(1.0);
        let views = self.views as f64 / (self.rounds as f64).max(1.0);
        let load = format!(
            "{:.0} tx/s of {} bytes offered for {:.1} s",
            self.offered_tps, self.tx_size, self.duration_s
        );
        let committed = format!(
            "{} of {} submitted ({percent:.2} %), {:.0} tx/s, {:.1} MB/s",
            self.committed,
            self.submitted,
            self.tps,
            self.tps * self.tx_size as f64 / 1e6
        );
        let rounds = format!(
            "{}, {views:.2} views each; input to decision {}",
            self.rounds,
            quantiles_text(&self.round_time, &[("p50", 500), ("p99", 990)])
        );
        let open = format!(
            "rejected {}, expired {}, refused {}, in flight {}, orphaned {}, lost {}; duplicated {}",
            self.rejected,
            self.expired,
            self.refused_count(),
            self.in_flight,
            self.orphaned,
            self.lost,
            self.duplicated
        );
        let latency = |latency| quantiles_text(latency, &[("p50", 500), ("p90", 900), ("p99", 990)]);
        vec![
            ("nodes", format!("{nodes} (N = {}, f = {}, {shards})", self.n, self.f)),
            ("load", load),
            ("committed", committed),
            ("never sent", self.unsent_text()),
            ("latency", latency(&self.latency)),
            ("across shards", self.crossing_text()),
            ("rounds", rounds),
            ("not committed", open),
            ("refused", counts_text(&self.refused)),
        ]
    }

    /// Transactions that were to be sent.
    fn offered(&self) -> u64 {
        self.submitted + self.unsent
    }

    /// Whether the testbed kept up; empty if it did.
    fn unsent_text(&self) -> String {
        if self.unsent == 0 {
            return String::new();
        }
        let share = 100.0 * self.unsent as f64 / self.offered() as f64;
        format!(
            "{} of {} offered ({share:.2} %): the testbed did not keep up; latency counts each as long as it waited",
            self.unsent,
            self.offered()
        )
    }

    /// How transactions that crossed shards fared beside the others; empty where there is one shard.
    fn crossing_text(&self) -> String {
        if self.shards == 1 {
            return String::new();
        }
        let p50 = |latency| quantiles_text(latency, &[("p50", 500)]);
        format!(
            "committed {}, {}; within one {}; rejected after {} (for final reasons {}); unexpectedly {}; {} refunds",
            self.committed_cross,
            p50(&self.latency_cross),
            p50(&self.latency_intra),
            p50(&self.rejection),
            p50(&self.rejection_final),
            self.rejected_unexpected,
            self.refunded
        )
    }

    /// What it took.
    fn cost_rows(&self) -> Vec<(&'static str, String)> {
        let network = format!(
            "{:.1} MB sent, {} frames dropped, {} restarts of children, {} resubmitted",
            self.bytes_sent as f64 / 1e6,
            self.frames_dropped,
            self.restarts,
            self.resubmitted
        );
        vec![
            ("network", network),
            ("CPU µs/tx", values_text(&self.cpu_us_per_tx(), 2)),
            ("peak memory MB", values_text(&self.peak_mb, 0)),
        ]
    }

    /// Faults, and whether all is well.
    fn judgement_rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![
            ("planned faults", self.faults.join(", ")),
            ("peers' faults", counts_text(&self.peer_faults)),
            ("turned away", counts_text(&self.turned_away)),
            ("agreement", self.agreement.to_string()),
            ("value conserved", self.value_conserved.to_string()),
        ];
        if self.shards > 1 {
            rows.push(("shards agree", self.exchange_holds.to_string()));
        }
        rows.push(("receipts hold", self.receipts_hold.to_string()));
        if self.finished_invalid > 0 {
            rows.push(("invalid finished", self.finished_invalid.to_string()));
        }
        for (heading, notes) in
            [("finding", &self.findings), ("unplanned", &self.unplanned_ends), ("diagnosis", &self.diagnosis)]
        {
            rows.extend(notes.iter().map(|note| (heading, note.clone())));
        }
        rows
    }

    /// Processor time over all nodes by the transaction committed, by program.
    pub(crate) fn cpu_us_per_tx(&self) -> BTreeMap<String, f64> {
        let committed = self.tps * self.duration_s;
        if committed < 1.0 {
            return BTreeMap::new();
        }
        self.cpu_s.iter().map(|(name, seconds)| (name.clone(), seconds * 1e6 / committed)).collect()
    }

    fn refused_count(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// A machine as summaries tell it.
pub(crate) fn machine_json(machine: &Machine) -> Json {
    Json::object([
        ("cores", Json::from(machine.cores)),
        ("cpu", Json::text(&machine.cpu)),
        ("mem_gb", Json::from(machine.mem_gb)),
    ])
}

fn ms(us: u64) -> f64 {
    us as f64 / 1e3
}

fn latency_json(latency: &Histogram, quantiles: &[(&str, u64)], with_max: bool) -> Json {
    let quantile = |per_mille| Json::or_null(latency.quantile_us(per_mille).map(ms));
    let mut fields: Vec<_> =
        quantiles.iter().map(|(name, per_mille)| (*name, quantile(*per_mille))).collect();
    if with_max {
        fields.push(("max", Json::or_null(latency.max_us().map(ms))));
    }
    Json::object(fields)
}

/// Quantiles and maximum in words; a dash if there is nothing.
pub(crate) fn quantiles_text(latency: &Histogram, quantiles: &[(&str, u64)]) -> String {
    let Some(max_us) = latency.max_us() else { return "-".into() };
    let part = |(name, per_mille): &(&str, u64)| {
        let us = latency.quantile_us(*per_mille).unwrap_or_default();
        format!("{name} {:.1} ms", ms(us))
    };
    let parts: Vec<String> = quantiles.iter().map(part).collect();
    format!("{}, max {:.1} ms", parts.join(", "), ms(max_us))
}

fn counts_text(counts: &BTreeMap<String, u64>) -> String {
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

fn values_text(values: &BTreeMap<String, f64>, decimals: usize) -> String {
    values.iter().map(|(name, value)| format!("{name} {value:.decimals$}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
