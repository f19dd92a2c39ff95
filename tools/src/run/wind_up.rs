//! The end of a run: last statuses, stop, compare, sum up.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use wire::client::NodeStatus;
use wire::ids::NodeId;
use wire::limits::local::Local;

use super::directories::Directories;
use super::observed::traffic_csv;
use super::ongoing::{Run, Used, nodes_up};
use super::plan::RunPlan;
use super::recovery::Outcome;
use super::summary::{self, Counters, Summary, Usage};
use crate::lag;
use crate::ledger::live::{self, LastLedger};
use crate::load::{Section, Shared};
use crate::procfs;
use crate::verify::{self, Clients, Ended, LastStatus, Record, Verdict};

/// By how much the last counters of a child may be late.
pub(crate) const COUNTERS_LATE: Duration = Duration::from_millis(100);
/// How long nodes may take to report their last status.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);
/// How long they may take to add up their ledgers: some 3 million items a second.
const LEDGER_PATIENCE: Duration = Duration::from_secs(60);

/// Ends a run and sums it up. The summary is written to `summary.json` as well.
pub(crate) fn wind_up(mut run: Run<'_>) -> Summary {
    if !run.interrupted {
        // Children report their counters at each ping interval.
        let interval = run.plan.settings.limits.time(Local::PingIntervalMs) + COUNTERS_LATE;
        thread::sleep(interval.min(STATUS_PATIENCE));
    }
    let statuses = last_statuses(&mut run);
    let ended = if run.interrupted {
        Ended::Interrupted
    } else if run.lacks_a_quorum() {
        Ended::NoQuorum
    } else {
        Ended::Drained
    };
    let ledgers = last_ledgers(&run, &statuses);
    let Run { plan, prepared, mut fleet, offering, mut unplanned_ends, mut series, stalls, .. } = run;
    let mut findings = Vec::new();
    let (shared, stopped) = offering.stop();
    if let Err(error) = stopped {
        findings.push(format!("the load's thread failed: {error}"));
    }
    if let Some(error) = &shared.log_failed {
        findings.push(format!("transactions.csv is not whole: {error}"));
    }
    series.extend(shared.sections.iter().cloned());
    // While the last queries went out nothing happened any more.
    while series.last().is_some_and(Section::is_idle) {
        series.pop();
    }
    let traffic = traffic_csv(&shared);
    unplanned_ends.extend(fleet.stop());
    let mut behind =
        lag::rounds_behind(&prepared.committee, statuses.iter().map(|(node, status)| (*node, status)));
    let followers = statuses.iter().filter(|(_, status)| status.follows).map(|(node, _)| *node).collect();
    behind.retain(|_, rounds| *rounds > lag::LEVEL_ROUNDS);
    let mut record = record(plan, &statuses, ledgers, ended, &shared);
    record.clients.cut_off = run.resumed.as_ref().map_or(0, |resumed| resumed.cut_off);
    let record = match run.resumed.and_then(|resumed| resumed.record) {
        Some(earlier) => record.after(earlier),
        None => record,
    };
    if let Err(error) = record.save(&plan.directories.log, &prepared.committee) {
        findings.push(format!(
            "cannot write nodes.csv, ledgers.csv, exchanges.csv, receipts.csv and clients.csv: {error}"
        ));
    }
    let mut verdict = if fleet.outlives_the_run() {
        Verdict::deferred()
    } else {
        judge(&plan.directories, &prepared.committee, &record, &measured_ms(&shared, plan), &mut findings)
    };
    // All blocks are judged; the figures are of this run.
    verdict.rounds = verdict.rounds.saturating_sub(run.before.rounds);
    verdict.refunds = verdict.refunds.saturating_sub(run.before.refunds);
    let mut summary = Summary {
        testbed: prepared.committee.testbed(),
        n: prepared.committee.n(),
        shards: prepared.committee.shards(),
        f: prepared.committee.f(),
        plan: plan.load,
        offered_for: shared.offered_for.unwrap_or_default(),
        measured_for: shared.measured_for,
        window: shared.window,
        in_flight: shared.in_flight,
        orphaned: shared.orphaned,
        doubtful: shared.doubtful,
        dead: shared.dead,
        verdict,
        used: usage(&run.used),
        peak_mb: fleet.peak_mb(),
        counters: Counters::of(&shared).since(&run.counted_before),
        behind,
        followers,
        stalls: stalls.until(series.last().map_or(0.0, |section| section.until_us as f64 / 1e6)),
        faults: Vec::new(),
        recoveries: Vec::new(),
        findings,
        diagnosis: run.diagnosis,
        unplanned_ends,
        interrupted: run.interrupted,
        commit: wire::commit!().map(String::from),
        machine: procfs::machine(),
        hosts: fleet.hosts(),
        began_unix_ms: began_ms(&shared),
        options: plan.given.clone(),
        tally: shared.tally,
    };
    let series = series.iter().map(|section| {
        let up = nodes_up(plan, &run.recoveries, section);
        (section, up, faults_in(section, run.recoveries.outcomes()))
    });
    let series: Vec<_> = series.collect();
    (summary.faults, summary.recoveries) = run.recoveries.into_all();
    let files = [
        ("series.csv", summary::series_csv(series)),
        ("latency.csv", summary::latency_csv(&summary.tally)),
        ("processes.csv", run.observed.processes_csv()),
        ("traffic.csv", traffic),
    ];
    for (name, text) in files {
        write(plan, name, &text, &mut summary);
    }
    let text = format!("{}\n", summary.to_json());
    write(plan, "summary.json", &text, &mut summary);
    // A later run would see from it that this process has ended.
    let _ = fs::remove_file(plan.directories.lock());
    summary
}

/// Writes a file of the run; that it cannot be written is a finding.
fn write(plan: &RunPlan, name: &str, text: &str, summary: &mut Summary) {
    let path = plan.directories.log.join(name);
    if let Err(error) = fs::write(&path, text) {
        summary.findings.push(format!("cannot write {}: {error}", path.display()));
    }
}

/// When the load began, by the clock that nodes write in their files.
fn began_ms(shared: &Shared) -> Option<u64> {
    let began = shared.began?.system.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(began.as_millis() as u64)
}

/// When it was measured, by the same.
fn measured_ms(shared: &Shared, plan: &RunPlan) -> Range<u64> {
    let Some(began_ms) = began_ms(shared) else { return 0..0 };
    let ms = |after: Duration| began_ms + after.as_millis() as u64;
    ms(plan.load.warmup)..ms(plan.load.warmup + shared.measured_for)
}

/// The faults that began in a section, as they were given, and the ends of those that lasted and ended in it.
fn faults_in<'a>(section: &Section, outcomes: impl Iterator<Item = &'a Outcome>) -> Vec<String> {
    let time = section.from_us..section.until_us;
    let is_here = |at: Duration| time.contains(&(at.as_micros() as u64));
    let of = |outcome: &Outcome| {
        let begins = is_here(outcome.at).then(|| outcome.fault.to_string());
        let until = outcome.until.filter(|until| outcome.fault.until().is_some() && is_here(*until));
        [begins, until.map(|_| format!("end of {}", outcome.fault))]
    };
    outcomes.flat_map(of).flatten().collect()
}

/// The usage between two moments; nothing if the load ended before the first.
fn usage((before, after): &(Used, Used)) -> Usage {
    let Some((from, until)) = before.at.zip(after.at) else { return Usage::default() };
    Usage {
        cpu_s: difference(&after.cpu_s, &before.cpu_s),
        committed: after.committed - before.committed,
        elapsed_s: until.duration_since(from).as_secs_f64(),
    }
}

/// The last statuses of nodes that are up; if not all went well, the diagnosis too.
fn last_statuses(run: &mut Run<'_>) -> BTreeMap<NodeId, NodeStatus> {
    let up = run.honest_up();
    let statuses = run.offering.statuses(&up, STATUS_PATIENCE);
    for node in up.iter().filter(|node| !statuses.contains_key(node)) {
        run.unplanned_ends.push(format!("node {node} should be up but did not report its status at the end"));
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

/// The ledgers of the nodes that are up and sign. Of an interrupted run that goes on meanwhile only those are compared
/// that happen to be of one height.
fn last_ledgers(run: &Run<'_>, statuses: &BTreeMap<NodeId, NodeStatus>) -> BTreeMap<NodeId, LastLedger> {
    let signing = statuses.iter().filter(|(_, status)| !status.follows);
    let nodes: Vec<NodeId> = signing.map(|(node, _)| *node).collect();
    let patience = if run.interrupted { STATUS_PATIENCE } else { LEDGER_PATIENCE };
    live::look(&run.prepared.committee, &run.prepared.hosts, &nodes, patience)
}

fn record(
    plan: &RunPlan,
    statuses: &BTreeMap<NodeId, NodeStatus>,
    mut ledgers: BTreeMap<NodeId, LastLedger>,
    ended: Ended,
    shared: &Shared,
) -> Record {
    // A follower takes no part: like a node that is down it need not be level, nor does it know what it took before.
    let signs = |node| statuses.get(&node).filter(|status| !status.follows);
    let last = |id| (NodeId(id), signs(NodeId(id)).map(LastStatus::from));
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
        cut_off: 0,
        resubmitted: tally.resubmitted,
    };
    let nodes = plan.nodes_in_all();
    Record {
        byzantine: plan.byzantine().into_keys().collect(),
        nodes: (0..nodes).map(last).collect(),
        ledgers: (0..nodes).map(|id| (NodeId(id), ledgers.remove(&NodeId(id)))).collect(),
        receipts: shared.receipts.clone(),
        clients,
    }
}

/// Compares the files; what cannot be read is a finding too.
fn judge(
    directories: &Directories,
    committee: &wire::committee::Committee,
    record: &Record,
    measured_ms: &Range<u64>,
    findings: &mut Vec<String>,
) -> Verdict {
    match verify::check_and_measure(&directories.log, committee, record, measured_ms) {
        Ok(verdict) => verdict,
        Err(error) => {
            findings.push(error.to_string());
            Verdict::default()
        }
    }
}

fn difference(after: &BTreeMap<String, f64>, before: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let of = |name: &String, seconds: &f64| seconds - before.get(name).copied().unwrap_or_default();
    after.iter().map(|(name, seconds)| (name.clone(), of(name, seconds))).collect()
}
