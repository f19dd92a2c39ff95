//! `summary.json`.

use std::collections::BTreeMap;

use super::{Summary, ms};
use crate::json::Json;
use crate::lag::Stall;
use crate::load::Histogram;
use crate::run::{Outcome, Recovery};
use crate::verify::Judgement;

const LATENCY: [(&str, u64); 3] = [("p50", 500), ("p90", 900), ("p99", 990)];

impl Summary {
    /// Everything for programs.
    pub(crate) fn to_json(&self) -> Json {
        let mut fields = vec![("testbed", Json::text(self.testbed.to_string()))];
        fields.extend(self.shape_fields());
        fields.extend(self.load_fields());
        fields.extend(self.figure_fields());
        fields.extend(self.verdict_fields());
        fields.extend([
            ("version", Json::text(env!("CARGO_PKG_VERSION"))),
            ("commit", self.commit.as_ref().map_or(Json::Null, Json::text)),
            ("machine", self.machine.to_json()),
            ("options", Json::object(self.options.iter().cloned())),
        ]);
        if !self.hosts.is_empty() {
            fields.push(("hosts", Json::List(self.hosts.clone())));
        }
        Json::object(fields)
    }

    fn shape_fields(&self) -> Vec<(&'static str, Json)> {
        vec![
            ("nodes", Json::from(self.n * usize::from(self.shards))),
            ("shards", Json::from(u64::from(self.shards))),
            ("n", Json::from(self.n)),
            ("f", Json::from(self.f)),
            ("tx_size", Json::from(self.plan.tx_bytes)),
            ("seed", Json::from(self.plan.seed)),
            ("began_unix_ms", Json::or_null(self.began_unix_ms)),
            ("duration_s", Json::from(self.offered_for.as_secs_f64())),
            ("measured_s", Json::from(self.measured_for.as_secs_f64())),
        ]
    }

    /// The load and its fates.
    fn load_fields(&self) -> Vec<(&'static str, Json)> {
        let tally = &self.tally;
        let refused = tally.refused.iter().map(|(kind, count)| (format!("{kind:?}"), *count)).collect();
        vec![
            ("offered_tps", self.measured(self.offered_tps())),
            ("offered", Json::from(self.offered())),
            ("unsent", Json::from(tally.unsent)),
            ("submitted", Json::from(tally.submitted)),
            ("submitted_valid", Json::from(tally.submitted_valid)),
            ("committed", Json::from(tally.committed)),
            ("committed_intra", Json::from(tally.committed - tally.committed_cross)),
            ("committed_cross", Json::from(tally.committed_cross)),
            ("committed_offering", Json::from(tally.committed_offering)),
            ("committed_drain", Json::from(tally.committed - tally.committed_offering)),
            ("rejected", Json::from(tally.rejected_count())),
            ("rejected_unexpected", Json::from(tally.rejected_unexpected)),
            ("finished_invalid", Json::from(tally.finished_invalid)),
            ("refunded", self.judged(Json::from(self.verdict.refunds))),
            ("expired", Json::from(tally.expired)),
            ("refused", Json::from(self.refused_count())),
            ("refused_by_reason", counts(&refused)),
            ("in_flight", Json::from(self.in_flight)),
            ("orphaned", Json::from(self.orphaned)),
            ("lost", Json::from(tally.lost)),
            ("duplicated", Json::from(tally.duplicated)),
            ("handed_on", Json::from(tally.handed_on)),
            ("resubmitted", Json::from(tally.resubmitted)),
            ("chains_doubtful", Json::from(self.doubtful)),
            ("chains_dead", Json::from(self.dead)),
        ]
    }

    /// Rates, latencies and costs.
    fn figure_fields(&self) -> Vec<(&'static str, Json)> {
        let (tally, counters) = (&self.tally, &self.counters);
        let latency = |latency: &Histogram| latency_json(latency, &LATENCY, true);
        vec![
            ("tps", self.measured(self.tps())),
            ("window", Json::or_null(self.window.map(|found| found.open as f64))),
            ("window_after_s", Json::or_null(self.window.map(|found| found.after.as_secs_f64()))),
            ("rounds", self.judged(Json::from(self.verdict.rounds))),
            ("rounds_per_s", self.judged(self.measured(self.rounds_per_s()))),
            ("views_per_round", self.judged(self.measured(self.views_per_round()))),
            ("round_ms", latency_json(&self.verdict.agreement_us, &[("p50", 500), ("p99", 990)], false)),
            ("latency_ms", latency(&tally.latency())),
            ("latency_intra_ms", latency(&tally.latency_intra)),
            ("latency_cross_ms", latency(&tally.latency_cross)),
            ("rejection_ms", latency(&tally.rejection)),
            ("rejection_final_ms", latency(&tally.rejection_final)),
            ("bytes_sent", Json::from(counters.bytes_sent)),
            ("bytes_per_tx", Json::or_null(self.bytes_per_tx())),
            ("frames_dropped", Json::from(counters.frames_dropped)),
            ("restarts", Json::from(counters.restarts)),
            ("cpu_us_per_tx", values(&self.cpu_us_per_tx())),
            ("cores_busy", self.measured(self.cores_busy())),
            ("peak_mb", values(&self.peak_mb)),
        ]
    }

    fn verdict_fields(&self) -> Vec<(&'static str, Json)> {
        let judgement = |answer: &Judgement| answer.to_json();
        vec![
            ("faults", Json::List(self.faults.iter().map(Outcome::to_json).collect())),
            ("recoveries", Json::List(self.recoveries.iter().map(Recovery::to_json).collect())),
            ("peer_faults", counts(&self.counters.peer_faults)),
            ("rounds_behind", counts(&self.behind)),
            (
                "followers",
                Json::List(self.followers.iter().map(|node| Json::from(u64::from(node.0))).collect()),
            ),
            ("stalls", Json::List(self.stalls.iter().map(stall).collect())),
            ("takeovers", Json::from(self.counters.takeovers)),
            ("takeover_bytes", Json::from(self.counters.takeover_bytes)),
            ("came_early", Json::from(self.counters.came_early)),
            ("turned_away", counts(&self.counters.turned_away)),
            ("agreement", judgement(&self.verdict.agreement)),
            ("value_conserved", judgement(&self.verdict.value_conserved)),
            ("exchange_holds", judgement(&self.verdict.exchange_holds)),
            ("receipts_hold", judgement(&self.verdict.receipts_hold)),
            ("not_judged", texts(&self.not_judged())),
            ("findings", texts(&self.all_findings())),
            ("complaints", texts(&self.complaints())),
            ("unplanned_ends", texts(&self.unplanned_ends)),
            ("diagnosis", texts(&self.diagnosis)),
            ("interrupted", Json::from(self.interrupted)),
            ("exit_code", Json::from(u64::from(self.exit_code()))),
        ]
    }
}

fn stall(stall: &Stall) -> Json {
    let Stall { node, from_s, length_s } = stall;
    Json::object([
        ("node", Json::from(u64::from(node.0))),
        ("from_s", Json::from(*from_s)),
        ("length_s", Json::from(*length_s)),
    ])
}

fn counts(counts: &BTreeMap<impl ToString, u64>) -> Json {
    Json::Object(counts.iter().map(|(name, count)| (name.to_string(), Json::from(*count))).collect())
}

fn texts(texts: &[String]) -> Json {
    Json::List(texts.iter().map(Json::text).collect())
}

fn values(values: &BTreeMap<String, f64>) -> Json {
    Json::Object(values.iter().map(|(name, value)| (name.clone(), Json::from(*value))).collect())
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
