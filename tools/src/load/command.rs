//! `tools load`: load for a testbed that runs already.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use wire::committee::Committee;
use wire::hosts::Hosts;

use super::engine::Shared;
use super::offering::Offering;
use super::plan::{CROSS, DURATION, EXPIRY_ROUNDS, INVALID, Plan, RATE, SEED, TX_SIZE, WARMUP};
use super::ticker::Ticker;
use crate::flags::{Command, Opt, UsageError, Values};
use crate::keygen::load_testbed;
use crate::signals;
use crate::terminal::print;

pub(crate) const COMMAND: Command = Command {
    name: "load",
    summary: "offers load to a testbed that runs",
    about: "Connects to all nodes of hosts.txt, offers transactions, and prints every second and at the end what became \
            of them. The transactions spend the testbed's genesis coins, so only the first load of a testbed finds \
            them unspent.",
    operands: &[],
    options: &[
        Opt::with("hosts", "FILE", "hosts.txt", "Where the nodes are."),
        Opt::with("keys", "DIR", "keys", "The directory with committee.txt."),
        RATE,
        DURATION,
        WARMUP,
        TX_SIZE,
        CROSS,
        INVALID,
        EXPIRY_ROUNDS,
        SEED,
    ],
    sections: &[
        (
            "EXIT STATUS",
            "0    every transaction was decided or refused\n\
         1    some had no receipt, were lost or were rejected without a reason\n\
         2    usage\n\
         3    nothing was committed\n\
         4    no node could be reached\n\
         130  interrupted",
        ),
        (
            "EXAMPLES",
            "tools load --hosts hosts.txt --keys keys --rate max --duration 30  As much as the testbed takes.",
        ),
    ],
};

/// How long connecting may take, and how long the last receipts.
const PATIENCE: Duration = Duration::from_secs(10);
const DRAIN: Duration = Duration::from_secs(30);

pub(crate) fn run_command(values: &Values) -> Result<u8, UsageError> {
    let (hosts, committee) =
        load_testbed(Path::new(values.required("hosts")?), Path::new(values.required("keys")?))?;
    run_on("load", values, &hosts, committee)
}

/// Offers the load of a command line to these nodes, in the name of a command; the exit code.
pub(crate) fn run_on(
    command: &str,
    values: &Values,
    hosts: &Hosts,
    committee: Committee,
) -> Result<u8, UsageError> {
    let plan = Plan::for_committee(values, &committee)?;
    if let Err(error) = signals::block() {
        eprintln!("tools {command}: {error}");
        return Ok(4);
    }
    let committee = Arc::new(committee);
    let offering = match Offering::connect(committee.clone(), hosts) {
        Ok(offering) => offering,
        Err(error) => {
            eprintln!("tools {command}: {error}");
            return Ok(4);
        }
    };
    Ok(offer(offering, &committee, plan))
}

fn offer(offering: Offering, committee: &Committee, plan: Plan) -> u8 {
    let mut ticker = Ticker::new(committee.nodes().count(), usize::from(committee.shards()));
    let began = Instant::now();
    while offering.look_at(|shared| shared.connected.is_empty()) {
        if began.elapsed() > PATIENCE || signals::is_interrupted() {
            let down = offering.look_at(|shared| shared.down.clone());
            let why = down.into_iter().map(|(node, reason)| format!("node {node}: {reason}"));
            eprintln!("tools load: no node can be reached: {}", why.collect::<Vec<_>>().join("; "));
            return 4;
        }
        thread::sleep(Duration::from_millis(20));
    }
    // The others had as much time as the first.
    thread::sleep(Duration::from_millis(200));
    offering.begin(plan, None);
    let mut interrupted =
        watch(&offering, committee, &mut ticker, Duration::MAX, |shared| shared.offered_for.is_some());
    offering.end();
    interrupted |=
        !interrupted && watch(&offering, committee, &mut ticker, DRAIN, |shared| shared.in_flight == 0);
    if !interrupted && offering.look_at(|shared| shared.in_flight > 0) {
        offering.query_all();
        thread::sleep(Duration::from_secs(1));
    }
    let (shared, ended) = offering.stop();
    if let Err(error) = ended {
        eprintln!("tools load: {error}");
        return 1;
    }
    let tally = &shared.tally;
    print(format!(
        "{:.0} tx/s; never sent {}, submitted {}, committed {}, rejected {}, expired {}, refused {}, in flight {}, lost {}, \
         duplicated {}; latency {}",
        tally.committed_measured as f64 / shared.measured_for.as_secs_f64().max(1e-9),
        tally.unsent,
        tally.submitted,
        tally.committed,
        tally.rejected_count(),
        tally.expired,
        tally.refused.values().sum::<u64>(),
        shared.in_flight,
        tally.lost,
        tally.duplicated,
        tally.latency().text(&[("p50", 500), ("p90", 900), ("p99", 990)]),
    ));
    exit_code(&shared, interrupted)
}

fn exit_code(shared: &Shared, interrupted: bool) -> u8 {
    let tally = &shared.tally;
    if interrupted {
        130
    } else if tally.committed == 0 && tally.submitted_valid > 0 {
        3
    } else {
        let open = shared.in_flight + tally.lost;
        u8::from(open + tally.duplicated + tally.finished_invalid + tally.rejected_unexpected > 0)
    }
}

/// Prints a line a second until `patience` is over or `done`; whether a signal ended it.
fn watch(
    offering: &Offering,
    committee: &Committee,
    ticker: &mut Ticker,
    patience: Duration,
    done: impl Fn(&Shared) -> bool,
) -> bool {
    let began = Instant::now();
    while began.elapsed() < patience && !offering.has_ended() && !offering.look_at(&done) {
        thread::sleep(Duration::from_millis(50).min(patience.saturating_sub(began.elapsed())));
        if signals::is_interrupted() {
            return true;
        }
        let sections = offering.take_sections();
        if sections.is_empty() {
            continue;
        }
        let (connected, height, lags) = offering.look_at(|shared| {
            let lags = shared.lags(committee.nodes());
            (shared.connected.len(), shared.tally.height_of_all(), lags)
        });
        for section in sections {
            ticker.lines(&section, height, connected, &lags).into_iter().for_each(print);
        }
    }
    false
}
