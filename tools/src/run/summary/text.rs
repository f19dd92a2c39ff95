//! The summary for people: a paragraph a fact, facts that are empty left out.

use std::collections::BTreeMap;

use wire::client::Refusal;
use wire::ids::NodeId;

use super::Summary;
use crate::grid::wrapped_facts;
use crate::lag::{Stall, grouped};
use crate::load::Histogram;
use crate::run::{Outcome, Recovery, Start, followers_text};

/// More stalls are only counted.
const STALLS_SHOWN: usize = 4;
/// More recoveries are only counted.
const RECOVERIES_SHOWN: usize = 8;

type Row = (&'static str, String);

impl Summary {
    /// Everything for people, in lines of so many columns.
    pub(crate) fn to_text(&self, columns: usize) -> String {
        const INDENT: usize = 21;
        let rows = self.outcome_rows().into_iter().chain(self.cost_rows()).chain(self.judgement_rows());
        rows.filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| {
                format!("  {name:<18} {}", &wrapped_facts(&value, INDENT, columns)[INDENT..])
            })
            .collect()
    }

    /// The load and its fates.
    fn outcome_rows(&self) -> Vec<Row> {
        let tally = &self.tally;
        let nodes = self.n * usize::from(self.shards);
        let shards = if self.shards == 1 { "1 shard".into() } else { format!("{} shards", self.shards) };
        let rounds = format!(
            "{}, {:.1} a second{}, {:.2} views each; input to decision {}",
            self.verdict.rounds,
            self.rounds_per_s(),
            if self.shards == 1 { "" } else { " in each shard" },
            self.views_per_round(),
            self.verdict.agreement_us.text(&[("p50", 500), ("p99", 990)])
        );
        let rounds = if self.verdict.is_deferred() { String::new() } else { rounds };
        let open = format!(
            "rejected {}, expired {}, refused {}, in flight {}, orphaned {}, lost {}; duplicated {}",
            tally.rejected_count(),
            tally.expired,
            self.refused_count(),
            self.in_flight,
            self.orphaned,
            tally.lost,
            tally.duplicated
        );
        let refused = tally.refused.iter().map(|(reason, count)| {
            // The load chooses expiries by the height of the shard.
            let why = match reason {
                Refusal::ExpiryTooFar => " for a node that lags behind its shard, as one does after a pause",
                _ => "",
            };
            format!("{count} since {reason}{why}")
        });
        let refused = refused.collect::<Vec<_>>().join(", ");
        vec![
            ("nodes", format!("{nodes} (N = {}, f = {}, {shards})", self.n, self.f)),
            ("load", self.load_text()),
            ("committed", self.committed_text()),
            ("never sent", self.unsent_text()),
            ("latency", tally.latency().text(&[("p50", 500), ("p90", 900), ("p99", 990)])),
            ("across shards", self.crossing_text()),
            ("rounds", rounds),
            ("not committed", open),
            ("refused", refused),
            ("chains", self.chains_text()),
        ]
    }

    fn load_text(&self) -> String {
        let offered_s = self.offered_for.as_secs_f64();
        let mut text = format!(
            "{:.0} tx/s of {} bytes offered for {offered_s:.1} s",
            self.offered_tps(),
            self.plan.tx_bytes
        );
        if !self.plan.warmup.is_zero() {
            let warmup_s = self.plan.warmup.as_micros() as f64 / 1e6;
            text += &format!("; rates, latencies and costs without the first {warmup_s} s");
        }
        if let Some(found) = self.window {
            let after_s = found.after.as_secs_f64();
            text += &format!("; {} open at a time, found to be enough after {after_s:.1} s", found.open);
        }
        text
    }

    fn committed_text(&self) -> String {
        let tally = &self.tally;
        let percent = 100.0 * tally.committed as f64 / (tally.submitted as f64).max(1.0);
        let mut text = format!(
            "{} of {} submitted ({percent:.2} %), {:.0} tx/s, {:.1} MB/s",
            tally.committed,
            tally.submitted,
            self.tps(),
            self.tps() * self.plan.tx_bytes as f64 / 1e6
        );
        let drained = tally.committed - tally.committed_offering;
        if drained > 0 {
            text += &format!("; {drained} of them after the load had ended");
        }
        text
    }

    /// Whether the testbed kept up; empty if it did.
    fn unsent_text(&self) -> String {
        let unsent = self.tally.unsent;
        if unsent == 0 {
            return String::new();
        }
        let share = 100.0 * unsent as f64 / self.offered() as f64;
        format!(
            "{unsent} of {} offered ({share:.2} %): the testbed did not keep up; latency counts each as long as it waited",
            self.offered()
        )
    }

    /// How transactions that crossed shards fared beside the others; empty where there is one shard.
    fn crossing_text(&self) -> String {
        if self.shards == 1 {
            return String::new();
        }
        let tally = &self.tally;
        let p50 = |latency: &Histogram| latency.text(&[("p50", 500)]);
        format!(
            "committed {}, {}; within one {}; rejected after {} (for final reasons {}); unexpectedly {}{}",
            tally.committed_cross,
            p50(&tally.latency_cross),
            p50(&tally.latency_intra),
            p50(&tally.rejection),
            p50(&tally.rejection_final),
            tally.rejected_unexpected,
            if self.verdict.is_deferred() {
                String::new()
            } else {
                format!("; {} refunds", self.verdict.refunds)
            }
        )
    }

    /// Chains that have come to an end; empty if all could go on.
    fn chains_text(&self) -> String {
        if self.doubtful + self.dead == 0 {
            return String::new();
        }
        format!(
            "{} do not know which coin they have, {} have stopped, since a transaction was lost or refused for good",
            self.doubtful, self.dead
        )
    }

    /// Nodes that stood still or lagged; empty if none did. At most as many as fit.
    fn stalls_text(&self) -> String {
        let one = |stall: &Stall| {
            let Stall { node, from_s, length_s } = stall;
            format!("node {node} silent or behind for {length_s:.0} s from {from_s:.0} s on")
        };
        let mut all: Vec<String> = self.stalls.iter().take(STALLS_SHOWN).map(one).collect();
        if self.stalls.len() > STALLS_SHOWN {
            all.push(format!("{} more", self.stalls.len() - STALLS_SHOWN));
        }
        all.join(", ")
    }

    fn faults_text(&self) -> String {
        self.faults.iter().map(|outcome| outcome.fault.to_string()).collect::<Vec<_>>().join(", ")
    }

    /// What came after faults: of restarts each node, of others all nodes together. At most as many as fit.
    fn recoveries_text(&self) -> String {
        let starts = self.recoveries.iter().filter(|recovery| recovery.start == Start::Anew);
        let is_followed = |outcome: &&Outcome| !outcome.is_of_starts() && !outcome.fault.is_byzantine();
        let others = self.faults.iter().filter(is_followed);
        let mut all: Vec<String> = starts.map(Recovery::text).chain(others.map(Outcome::text)).collect();
        let left = all.len().saturating_sub(RECOVERIES_SHOWN);
        if left > 0 {
            all.truncate(RECOVERIES_SHOWN);
            all.push(format!("{left} more in summary.json"));
        }
        all.join("; ")
    }

    /// Nodes that had not caught up at the end; empty if all had.
    fn behind_text(&self) -> String {
        let one = |(node, rounds): (&NodeId, &u64)| format!("node {node} by {} rounds", grouped(*rounds));
        let all: Vec<String> = self.behind.iter().map(one).collect();
        if all.is_empty() { String::new() } else { format!("{} at the end", all.join(", ")) }
    }

    /// Nodes that only followed; empty if all signed.
    fn followers_text(&self) -> String {
        if self.followers.is_empty() { String::new() } else { followers_text(&self.followers) }
    }

    fn takeovers_text(&self) -> String {
        match self.counters.takeovers {
            0 => String::new(),
            count => format!(
                "{count} checkpoints of {:.1} MB in all, by nodes behind every history",
                self.counters.takeover_bytes as f64 / 1e6
            ),
        }
    }

    fn came_early_text(&self) -> String {
        match self.counters.came_early {
            0 => String::new(),
            count => format!("{count} messages, dropped by nodes that were behind"),
        }
    }

    /// The costs.
    fn cost_rows(&self) -> Vec<Row> {
        let network = format!(
            "{:.1} MB sent, {} frames dropped, {} restarts of children, {} handed on, {} resubmitted",
            self.counters.bytes_sent as f64 / 1e6,
            self.counters.frames_dropped,
            self.counters.restarts,
            self.tally.handed_on,
            self.tally.resubmitted
        );
        let costs = values_text(&self.cpu_us_per_tx(), 2);
        let cpu = match costs.is_empty() {
            true => costs,
            false => format!("{costs}; {:.2} cores busy", self.cores_busy()),
        };
        vec![("network", network), ("CPU µs/tx", cpu), ("peak memory MB", values_text(&self.peak_mb, 0))]
    }

    /// Faults, and whether all is well.
    fn judgement_rows(&self) -> Vec<Row> {
        let verdict = &self.verdict;
        let mut rows = vec![
            (
                "interrupted",
                if self.interrupted {
                    "by a signal; what was in flight stays open".into()
                } else {
                    String::new()
                },
            ),
            ("planned faults", self.faults_text()),
            ("recovered", self.recoveries_text()),
            ("peers' faults", counts_text(&self.counters.peer_faults)),
            ("followers", self.followers_text()),
            ("stalls", self.stalls_text()),
            ("behind", self.behind_text()),
            ("took over", self.takeovers_text()),
            ("came too early", self.came_early_text()),
            ("turned away", counts_text(&self.counters.turned_away)),
        ];
        if verdict.is_deferred() {
            rows.push(("agreement", verdict.agreement.to_string()));
        } else {
            rows.extend([
                ("agreement", verdict.agreement.to_string()),
                ("value conserved", verdict.value_conserved.to_string()),
            ]);
            if self.shards > 1 {
                rows.push(("shards agree", verdict.exchange_holds.to_string()));
            }
            rows.push(("receipts hold", verdict.receipts_hold.to_string()));
        }
        if self.tally.finished_invalid > 0 {
            rows.push(("invalid finished", self.tally.finished_invalid.to_string()));
        }
        // A run that was cut short may have transactions in flight.
        let complaints = if self.interrupted { Vec::new() } else { self.complaints() };
        for (heading, notes) in [
            ("finding", &self.all_findings()),
            ("not well", &complaints),
            ("unplanned", &self.unplanned_ends),
            ("diagnosis", &self.diagnosis),
        ] {
            rows.extend(notes.iter().map(|note| (heading, note.clone())));
        }
        rows
    }
}

fn counts_text(counts: &BTreeMap<String, u64>) -> String {
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

fn values_text(values: &BTreeMap<String, f64>, decimals: usize) -> String {
    values.iter().map(|(name, value)| format!("{name} {value:.decimals$}")).collect::<Vec<_>>().join(", ")
}
