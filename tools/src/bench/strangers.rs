//! `tools bench --strangers`: attacks by everybody who can reach the ports, on a testbed under load.
//!
//! Two runs of the same load and length, in both of which f nodes are crashed from the beginning. In the first nobody
//! attacks. In the second, after a while, all [`attack`]ers come at once to the nodes that are left: strangers without
//! a key, clients with throwaway keys, and the crashed members, whose keys the bench has dealt itself. Everything is
//! bounded in count and in time and goes to loopback alone.
//!
//! Verdicts: each process grows by at most [`GROWTH_BYTES_MAX`] more than the same process of the first run (with
//! a history so short that it is full in both before that); honest transactions go on being committed, none is lost,
//! nodes agree, no process dies; and everything that had to be refused was counted.

mod attack;
mod clients;
mod crowd;
mod damage;
mod handshakes;
mod line;
mod members;
mod noise;
mod scene;
mod watch;

use super::report::{Figure, Report};
use super::settings::Settings;
use crate::ids;
use crate::local;
use crate::run::{Progress, RunError, Summary};

use self::scene::{Amounts, Tally};
use self::watch::{Course, Phase, Schedule, Watch};
use crate::terminal::columns;

/// The growth of a process that strangers may cause.
const GROWTH_BYTES_MAX: f64 = 40.0 * MIB;
const MIB: f64 = (1 << 20) as f64;
/// When the ledger forgets transactions: in neither run. It remembers some 150 bytes of each for that many rounds, and
/// rounds are fewer while strangers attack, so that else the two runs would remember a different number of them.
const EXPIRY_ROUNDS: &str = "9000";
/// Of what is offered so much must be committed while the attack lasts.
const COMMITTED_SHARE_MIN: f64 = 0.9;
/// Of the time of the whole, in parts of `--duration`.
const ATTACK_PARTS: u32 = 3;

/// The amounts of an attack. Idle connections go with the frames, so that a short bench is short in all; a thousand of
/// them to a million.
fn amounts(frames: u64) -> Amounts {
    let share = |of_a_million: u64, at_least: u64| (frames * of_a_million / 1_000_000).max(at_least);
    Amounts { frames, idle: share(1_000, 100), slow: share(60, 6), handshakes: share(10, 1) }
}

/// Both runs and the verdicts.
pub(super) fn measure(settings: &Settings, report: &mut Report) -> Result<(), RunError> {
    let part = settings.duration;
    let schedule = Schedule { before: part, attack: part * ATTACK_PARTS, after: part };
    let (_, control) = run(settings, schedule, None)?;
    let amounts = amounts(settings.frames);
    let (summary, attacked) = run(settings, schedule, Some(amounts))?;
    report_traffic("without strangers", &control, report);
    report_traffic("attacked", &attacked, report);
    report_attack(&attacked, report);
    judge_memory(&control, &attacked, report);
    judge_traffic(&summary, settings.rate, &attacked, report);
    judge_amounts(&attacked.tally, amounts, report);
    judge_counters(&attacked, report);
    Ok(())
}

fn run(
    settings: &Settings,
    schedule: Schedule,
    amounts: Option<Amounts>,
) -> Result<(Summary, Course), RunError> {
    let f = (settings.nodes - 1) / 3;
    let crashed = ids::list((settings.nodes - f..settings.nodes).map(u64::from));
    let (rate, faults) = (settings.rate.to_string(), format!("crash:{crashed}@0"));
    let further =
        [("--rate", rate.as_str()), ("--faults", faults.as_str()), ("--expiry-rounds", EXPIRY_ROUNDS)]
            .map(|(name, value)| [name, value])
            .concat();
    let options = settings.options_over(schedule.all(), &further);
    eprintln!(
        "{} s at {rate} tx/s, f nodes crashed, {}",
        schedule.all().as_secs_f64(),
        if amounts.is_some() { "strangers attack" } else { "nobody attacks" }
    );
    let mut watch = Watch::new(schedule, amounts);
    let summary = local::run_beside(&options, Progress::Silent, &mut watch)?;
    if summary.interrupted {
        return Err(RunError::Interrupted);
    }
    Ok((summary, watch.into_course()))
}

fn report_traffic(name: &str, course: &Course, report: &mut Report) {
    for (when, phase) in ["before", "during", "after"].into_iter().zip(&course.phases) {
        let Phase { seconds, committed, latency } = phase;
        let tps = *committed as f64 / seconds.max(1e-9);
        report.add(Figure::new(&format!("{name}, {when}: committed"), tps, "tx/s"));
        for (quantile, per_mille) in [("p50", 500), ("p99", 990)] {
            let ms = latency.quantile_us(per_mille).unwrap_or_default() as f64 / 1e3;
            report.add(Figure::new(&format!("{name}, {when}: {quantile}"), ms, "ms"));
        }
    }
}

fn report_attack(attacked: &Course, report: &mut Report) {
    for (what, count) in &attacked.tally.sent {
        report.add(Figure::new(&format!("sent: {what}"), *count as f64, ""));
    }
    for (name, count) in &attacked.counted {
        report.add(Figure::new(&format!("counted: {name}"), *count as f64, ""));
    }
}

fn judge_memory(control: &Course, attacked: &Course, report: &mut Report) {
    for (process, memory) in &attacked.memory {
        let without = control.memory.get(process).copied().unwrap_or_default();
        for (when, bytes) in
            [("before", memory.before_bytes), ("peak", memory.peak_bytes), ("at the end", memory.after_bytes)]
        {
            report.add(Figure::new(&format!("{process}, resident {when}"), bytes / MIB, "MiB"));
        }
        let because = memory.growth_bytes() - without.growth_bytes();
        let found = format!(
            "{:.1} MiB with strangers, {:.1} without, {:.1} because of them, at most {:.0}",
            memory.growth_bytes() / MIB,
            without.growth_bytes() / MIB,
            because / MIB,
            GROWTH_BYTES_MAX / MIB
        );
        report.judge(&format!("growth of {process}"), because <= GROWTH_BYTES_MAX, found);
    }
}

fn judge_traffic(summary: &Summary, rate: u64, attacked: &Course, report: &mut Report) {
    let during = &attacked.phases[1];
    let share = during.committed as f64 / during.seconds.max(1e-9) / rate as f64;
    let found =
        format!("{:.1} % of what was offered, at least {:.0} %", 100.0 * share, 100.0 * COMMITTED_SHARE_MIN);
    report.judge("committed while strangers attack", share >= COMMITTED_SHARE_MIN, found);
    let found = format!(
        "agreement {}, value conserved {}, lost {}, in flight {}, rejected {}, duplicated {}",
        summary.verdict.agreement,
        summary.verdict.value_conserved,
        summary.tally.lost,
        summary.in_flight,
        summary.tally.rejected_count(),
        summary.tally.duplicated
    );
    let is_well = summary.exit_code() == 0;
    report.judge("nothing lost, nodes agree", is_well, found);
    if !is_well {
        report.complain(summary.to_text(columns()));
    }
    let found = format!("{} child processes started again", attacked.restarts);
    report.judge("no process died", attacked.restarts == 0 && summary.unplanned_ends.is_empty(), found);
}

fn judge_amounts(tally: &Tally, amounts: Amounts, report: &mut Report) {
    let sent = |what: &str| tally.sent.get(what).copied().unwrap_or_default();
    let frames = sent("random frames") + sent("truncated frames") + sent("bit-flipped frames");
    for (what, count, planned) in [
        ("frames that make no sense", frames, amounts.frames),
        ("idle connections", sent("idle connections"), amounts.idle),
        ("handshakes at a byte a second", sent("handshakes at a byte a second"), amounts.slow),
    ] {
        let is_enough = count >= planned;
        report.judge(&format!("sent: {what}"), is_enough, format!("{count} of {planned}"));
    }
}

fn judge_counters(attacked: &Course, report: &mut Report) {
    if let Some(failure) = &attacked.failure {
        report.complain(format!("no attack: {failure}"));
    }
    let owes = attacked.owes();
    for (beginning, owed) in &attacked.tally.owed {
        let found = format!("{} counted, at least {owed} provoked", attacked.counted(beginning));
        report.judge(&format!("counted: {beginning} …"), !owes.contains(beginning), found);
    }
    for name in &attacked.tally.shown {
        let counted = attacked.counted.get(*name).copied().unwrap_or_default();
        report.judge(&format!("shows up: {name}"), counted > 0, counted.to_string());
    }
}
