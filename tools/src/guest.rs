//! `tools load`: load for a testbed that somebody else has started and will stop.
//!
//! It is a run like that of `tools local` but for its beginning and its end: the nodes that answer are its fleet, and
//! since they go on afterwards, their files are judged later, by `tools verify`. [`files`] adds what the load wrote to
//! that of earlier loads.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use wire::committee::Committee;
use wire::hosts::Hosts;
use wire::ids::{NodeId, ShardId};
use wire::limits::PING_INTERVAL;

use crate::client::DownReason;
use crate::flags::{Command, Opt, UsageError, Values};
use crate::ids;
use crate::load::{CROSS, DURATION, EXPIRY_ROUNDS, HAND_ON, INVALID, Plan, RATE, SEED, TX_SIZE, WARMUP};
use crate::report;
use crate::run::{
    Alone, COUNTERS_LATE, Deed, DirectedRule, Fleet, Prepared, Progress, Run, RunError, RunPlan, StartError,
    Summary, TRANSACTIONS, UnaskedEnd, conduct_ready, not_begun, print_report,
};
use crate::signals;
use crate::terminal::{columns, print};
use crate::testbed;

pub(crate) use self::files::{FILES, LogDir, put_aside};

pub(crate) const LOG_DIR: Opt =
    Opt::with("log-dir", "DIR", "log", "Where the FILES go, of one load after the other.");

pub(crate) const COMMAND: Command = Command {
    name: "load",
    summary: "offers load to a testbed that runs",
    about: "Connects to the nodes of hosts.txt, offers transactions, prints a line every second, and sums up at the end as \
            tools local does. The transactions spend the coins that the nodes list as unspent, so any number of loads may \
            follow each other.\n\n\
            The nodes go on, so nothing is judged yet: when they have stopped and their logs are in LOG_DIR too, tools \
            verify judges all loads of the testbed together.",
    operands: &[],
    options: &[
        testbed::DATA_DIR,
        testbed::HOSTS,
        testbed::KEYS,
        RATE,
        DURATION,
        WARMUP,
        TX_SIZE,
        CROSS,
        INVALID,
        EXPIRY_ROUNDS,
        HAND_ON,
        SEED,
        TRANSACTIONS,
        LOG_DIR,
    ],
    sections: &[
        (
            "EXIT STATUS",
            "0    all well\n\
             1    a transaction was lost, left open, or rejected or refused for no reason of this load\n\
             2    usage\n\
             3    nothing was committed although valid transactions were offered\n\
             4    the nodes of a shard cannot be reached, or LOG_DIR cannot be used\n\
             130  interrupted, after the summary",
        ),
        (
            "FILES",
            "LOG_DIR/summary.json, series.csv, latency.csv, traffic.csv, transactions.csv, report.html  Of the last load. Those of the load before it are \
             moved to LOG_DIR/load-1, and so on.\n\
             LOG_DIR/nodes.csv, ledgers.csv, exchanges.csv, receipts.csv, clients.csv  Of all loads of the testbed, for tools verify.",
        ),
        (
            "EXAMPLES",
            "tools load --hosts hosts.txt --keys keys --rate max --duration 30  As much as the testbed takes.",
        ),
    ],
};

/// How long the first member of each shard may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the others may take after that, unless their connection is refused.
const OTHERS: Duration = Duration::from_secs(2);
/// How long answers may take before the request is repeated, over what has connected meanwhile.
const ANSWER: Duration = Duration::from_millis(200);

pub(crate) fn run_command(values: &Values) -> Result<u8, UsageError> {
    let (hosts, committee) = testbed::load(values)?;
    run_on("load", &COMMAND, values, hosts, committee)
}

/// Offers the load of a command line to these nodes; the exit code.
pub(crate) fn run_on(
    name: &str,
    command: &Command,
    values: &Values,
    hosts: Hosts,
    committee: Committee,
) -> Result<u8, UsageError> {
    let load = Plan::for_committee(values, &committee)?;
    let log = PathBuf::from(values.required(LOG_DIR.name)?);
    let plan = RunPlan::of_guest(command, values, &committee, load, files::part(&log));
    if let Err(error) = signals::block() {
        eprintln!("tools {name}: {error}");
        return Ok(4);
    }
    let committee = Arc::new(committee);
    let offered = LogDir::take(&log).map_err(RunError::from).and_then(|directory| {
        let summary = offer(&plan, hosts, committee.clone())?;
        Ok((summary, directory.adopt(&committee)))
    });
    Ok(match offered {
        Ok((summary, adopted)) => conclude(name, &summary, adopted, &log),
        Err(error) => not_begun(name, &error),
    })
}

/// Prints what a load came to and where its files are; the exit code.
fn conclude(name: &str, summary: &Summary, adopted: Result<Option<String>, String>, log: &Path) -> u8 {
    print(format!("\n{}", summary.to_text(columns())).trim_end());
    let code = match adopted {
        Ok(note) => {
            note.iter().for_each(|note| print(format!("  {note}")));
            print_report(name, report::write_of_load(log));
            summary.exit_code()
        }
        Err(error) => {
            eprintln!("tools {name}: {error}");
            summary.exit_code().max(1)
        }
    };
    print(format!("  files in {}, exit code {code}", log.display()));
    code
}

fn offer(plan: &RunPlan, hosts: Hosts, committee: Arc<Committee>) -> Result<Summary, RunError> {
    let all: Vec<NodeId> = committee.nodes().collect();
    let fleet = Neighbours { up: all.clone() };
    let prepared = Prepared { committee: committee.clone(), hosts };
    let began = Instant::now();
    let mut run = Run::begin(plan, prepared, Box::new(fleet), Progress::Printed)?;
    let silent = reach(&run, &committee, &all)?;
    if !silent.is_empty() {
        print(format!("no load for nodes that do not answer: {}", by_reason(&silent)));
    }
    run.fleet =
        Box::new(Neighbours { up: all.into_iter().filter(|node| !silent.contains_key(node)).collect() });
    for (node, why) in silent {
        run.note_gone(node, format!("did not answer when the load began: {why}"));
    }
    // Nodes report the counters of their children at each ping interval, and those of a moment ago are not ours.
    let pause = (PING_INTERVAL + COUNTERS_LATE).saturating_sub(began.elapsed());
    let up = run.fleet.up().len();
    print(format!(
        "{up} of {} nodes answer; testbed {}; load begins in {:.1} s, when they have counted what was before it",
        committee.nodes().count(),
        committee.testbed(),
        pause.as_secs_f64()
    ));
    thread::sleep(pause);
    run.offering.statuses(&run.fleet.up(), ANSWER);
    run.count_from_now();
    conduct_ready(run, &mut Alone)
}

/// Waits until a member of each shard answers and the others have had their time, and returns the nodes that do not
/// answer, each with the reason.
fn reach(run: &Run<'_>, committee: &Committee, all: &[NodeId]) -> Result<BTreeMap<NodeId, String>, RunError> {
    let began = Instant::now();
    let mut statuses = BTreeMap::new();
    let (mut reached_at, mut is_told) = (None, false);
    loop {
        statuses.extend(run.offering.statuses(all, ANSWER));
        if signals::is_interrupted() {
            return Err(RunError::Interrupted);
        }
        let reached: BTreeSet<ShardId> = statuses.keys().map(|node| committee.shard_of(*node)).collect();
        let down = run.offering.look_at(|shared| shared.down.clone());
        let silent = all
            .iter()
            .filter(|node| !statuses.contains_key(node))
            .map(|node| (*node, down.get(node).map_or("no answer".into(), ToString::to_string)));
        let silent: BTreeMap<NodeId, String> = silent.collect();
        // A shard of another testbed will not become one of this.
        let is_foreign = |node| matches!(down.get(&node), Some(DownReason::OtherTestbed { .. }));
        if (0..committee.shards()).any(|shard| committee.members(ShardId(shard)).all(is_foreign)) {
            return Err(StartError::NotReached(by_reason(&silent)).into());
        }
        if reached.len() == usize::from(committee.shards()) {
            let reached_at: &Instant = reached_at.get_or_insert_with(Instant::now);
            let is_hopeless = silent.keys().all(|node| down.contains_key(node));
            if is_hopeless || reached_at.elapsed() > OTHERS {
                return Ok(silent);
            }
        }
        if !is_told && began.elapsed() > OTHERS {
            is_told = true;
            print(format!("waiting for nodes, at most {} s: {}", PATIENCE.as_secs(), by_reason(&silent)));
        }
        if began.elapsed() > PATIENCE {
            return Err(StartError::NotReached(by_reason(&silent)).into());
        }
    }
}

/// The nodes that do not answer, those with the same reason together.
fn by_reason(silent: &BTreeMap<NodeId, String>) -> String {
    let mut nodes: BTreeMap<&str, Vec<NodeId>> = BTreeMap::new();
    silent.iter().for_each(|(node, why)| nodes.entry(why).or_default().push(*node));
    let notes = nodes.iter().map(|(why, nodes)| format!("{}: {why}", ids::nodes_text(nodes)));
    notes.collect::<Vec<_>>().join("; ")
}

/// Nodes that this command did not start: they are neither watched nor touched.
struct Neighbours {
    up: Vec<NodeId>,
}

impl Fleet for Neighbours {
    fn observe(&mut self) -> Vec<UnaskedEnd> {
        Vec::new()
    }

    fn up(&self) -> Vec<NodeId> {
        self.up.clone()
    }

    fn apply(&mut self, _: Deed, _: &[NodeId]) -> Result<(), String> {
        Err("these nodes are somebody else's".into())
    }

    fn set_links(&mut self, _: &[DirectedRule]) -> Result<(), String> {
        Err("these nodes are somebody else's".into())
    }

    fn cpu_s(&mut self) -> BTreeMap<String, f64> {
        BTreeMap::new()
    }

    fn peak_mb(&self) -> BTreeMap<String, f64> {
        BTreeMap::new()
    }

    fn stop(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn outlives_the_run(&self) -> bool {
        true
    }
}
