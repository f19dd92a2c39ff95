//! The end of a run: last statuses, stop, compare, sum up.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use wire::client::NodeStatus;
use wire::ids::NodeId;

use super::directories::Directories;
use super::run::{Run, offered_tps};
use crate::load::Shared;
use crate::procfs;
use crate::summary::Summary;
use crate::verify::{self, Clients, Ended, LastStatus, Record, Verdict};

/// How long nodes may take to tell their last status.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);

/// Ends a run and sums it up. The summary is written to `summary.json` as well.
pub(crate) fn wind_up(mut run: Run<'_>) -> Summary {
    let statuses = last_statuses(&mut run);
    let ended = if run.interrupted {
        Ended::Interrupted
    } else if run.lacks_a_quorum() {
        Ended::NoQuorum
    } else {
        Ended::Drained
    };
    let Run { options, prepared, mut cluster, offering, mut unplanned_ends, .. } = run;
    let mut findings = Vec::new();
    let (shared, stopped) = offering.stop();
    if let Err(error) = stopped {
        findings.push(format!("the load's thread failed: {error}"));
    }
    unplanned_ends.extend(cluster.stop());
    let record = record(options.nodes_in_all(), &statuses, ended, &shared);
    let verdict = judge(&options.directories, &prepared.committee, &record, &mut findings);
    let sum = |count: fn(&NodeStatus) -> u64| statuses.values().map(count).sum();
    let mut summary = Summary {
        n: prepared.committee.n(),
        shards: prepared.committee.shards(),
        f: prepared.committee.f(),
        tx_size: options.plan.tx_bytes,
        seed: options.plan.seed,
        duration_s: run.offered_for.as_secs_f64(),
        offered_tps: offered_tps(options.plan.rate, &shared, run.offered_for),
        unsent: shared.tally.unsent.count(),
        submitted: shared.tally.submitted,
        submitted_valid: shared.tally.submitted_valid,
        committed: shared.tally.committed,
        committed_cross: shared.tally.committed_cross,
        tps: shared.committed_while_offering as f64 / run.offered_for.as_secs_f64().max(1e-9),
        rejected: shared.tally.rejected_count(),
        rejected_unexpected: shared.tally.rejected_unexpected,
        finished_invalid: shared.tally.finished_invalid,
        refunded: verdict.refunds,
        expired: shared.tally.expired,
        refused: shared.tally.refused.iter().map(|(kind, count)| (format!("{kind:?}"), *count)).collect(),
        in_flight: shared.in_flight,
        orphaned: shared.orphaned,
        lost: shared.tally.lost,
        duplicated: shared.tally.duplicated,
        resubmitted: shared.tally.resubmitted,
        rounds: verdict.rounds,
        views: verdict.views,
        round_time: verdict.agreement_us,
        latency: shared.tally.latency(),
        latency_intra: shared.tally.latency_intra,
        latency_cross: shared.tally.latency_cross,
        rejection: shared.tally.rejection,
        rejection_final: shared.tally.rejection_final,
        bytes_sent: sum(|status| status.bytes_sent),
        frames_dropped: sum(|status| status.frames_dropped),
        restarts: sum(|status| status.restarts),
        faults: run.faults_done.iter().map(ToString::to_string).collect(),
        peer_faults: by_name(statuses.values().flat_map(|status| &status.faults)),
        turned_away: by_name(statuses.values().flat_map(|status| &status.refused)),
        agreement: verdict.agreement,
        value_conserved: verdict.value_conserved,
        exchange_holds: verdict.exchange_holds,
        receipts_hold: verdict.receipts_hold,
        findings,
        diagnosis: run.diagnosis,
        unplanned_ends,
        interrupted: run.interrupted,
        cpu_s: difference(&run.cpu_s.1, &run.cpu_s.0),
        peak_mb: cluster.peak_mb(),
        commit: wire::commit!().map(String::from),
        machine: procfs::machine(),
        hosts: cluster.hosts(),
        options: options.told.clone(),
    };
    let path = options.directories.log.join("summary.json");
    if let Err(error) = fs::write(&path, format!("{}\n", summary.to_json())) {
        summary.findings.push(format!("cannot write {}: {error}", path.display()));
    }
    summary
}

/// What the nodes that are up tell in the end; and why, if not all went well.
fn last_statuses(run: &mut Run<'_>) -> BTreeMap<NodeId, NodeStatus> {
    let up = run.cluster.up();
    let statuses = run.offering.statuses(&up, STATUS_PATIENCE);
    for node in up.iter().filter(|node| !statuses.contains_key(node)) {
        run.unplanned_ends.push(format!("node {node} was up at the end but did not tell its status"));
    }
    let (in_flight, nothing_committed) = run.offering.look_at(|shared| {
        (shared.in_flight, shared.tally.committed == 0 && shared.tally.submitted_valid > 0)
    });
    let left_open = in_flight > 0 && !run.interrupted;
    if run.diagnosis.is_empty() && (nothing_committed || left_open) {
        run.diagnosis = run.diagnose(&statuses);
    }
    statuses
}

fn record(nodes: u16, statuses: &BTreeMap<NodeId, NodeStatus>, ended: Ended, shared: &Shared) -> Record {
    let last = |id| (NodeId(id), statuses.get(&NodeId(id)).map(LastStatus::from));
    let tally = &shared.tally;
    let clients = Clients {
        ended,
        submitted: tally.submitted,
        committed: tally.committed,
        rejected: tally.rejected_count(),
        expired: tally.expired,
        refused: tally.refused.values().sum(),
        lost: tally.lost,
        in_flight: shared.in_flight,
        orphaned: shared.orphaned,
    };
    Record { nodes: (0..nodes).map(last).collect(), receipts: shared.receipts.clone(), clients }
}

/// Compares the files; what cannot be read is a finding too.
fn judge(
    directories: &Directories,
    committee: &wire::committee::Committee,
    record: &Record,
    findings: &mut Vec<String>,
) -> Verdict {
    if let Err(error) = record.save(&directories.log) {
        findings
            .push(format!("cannot write nodes.csv, exchanges.csv, receipts.csv and clients.csv: {error}"));
    }
    match verify::check(&directories.log, committee, record) {
        Ok(verdict) => {
            findings.extend(verdict.findings.iter().cloned());
            verdict
        }
        Err(error) => {
            findings.push(error.to_string());
            Verdict::default()
        }
    }
}

fn by_name<'a>(counts: impl Iterator<Item = &'a (String, u64)>) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (name, count) in counts {
        *sums.entry(name.clone()).or_default() += count;
    }
    sums
}

fn difference(after: &BTreeMap<String, f64>, before: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let of = |name: &String, seconds: &f64| seconds - before.get(name).copied().unwrap_or_default();
    after.iter().map(|(name, seconds)| (name.clone(), of(name, seconds))).collect()
}
