//! A run from the moment its nodes are up until nothing is open any more.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use wire::client::NodeStatus;
use wire::ids::{NodeId, Round, ShardId};
use wire::wan::Wan;

use super::diagnosis::{Symptoms, diagnose, last_words};
use super::error::{RunError, StartError};
use super::faults::{Fault, Kind};
use super::fleet::Fleet;
use super::plan::RunPlan;
use super::prepare::{Prepared, Resumed};
use super::ready::{NotReady, REPLAY, wait_until_ready};
use super::recovery::{Recoveries, comes_back};
use super::settle::Before;
use super::summary::Counters;
use super::wan;
use crate::lag::Stalls;
use crate::load::{Offering, Section, Ticker, TransactionLog};
use crate::procfs;
use crate::signals;
use crate::terminal;

/// How often a run looks after itself: signals, faults that are due.
pub(super) const STEP: Duration = Duration::from_millis(50);
/// How long the last transactions may take.
pub(super) const DRAIN: Duration = Duration::from_secs(30);
/// How long answers to the last queries may take.
const ANSWER: Duration = Duration::from_secs(1);
/// How long finding the coins of a load may take.
const COINS: Duration = Duration::from_secs(60);
/// How long nodes about to be crashed may take to report their counters.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// After so long without a commit the run prints a diagnosis.
const STALL: Duration = Duration::from_secs(5);
/// After so long without a commit a run that waits for commits gives up.
const HOPELESS: Duration = Duration::from_secs(30);

/// Whether a run prints how it goes while it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// On standard output.
    Printed,
    /// Not at all: benchmarks have a table of their own.
    Silent,
}

impl Progress {
    /// Prints a line, if anything is to be printed.
    pub(crate) fn print(self, line: &str) {
        if self == Progress::Printed {
            terminal::print(line);
        }
    }
}

/// Something that goes on beside a run and looks at it.
pub(crate) trait Companion {
    /// Called every now and then while load is offered, `elapsed` after that began.
    fn step(&mut self, run: &Run<'_>, elapsed: Duration);
    /// Called when the drain has ended, before the nodes stop.
    fn end(&mut self, run: &Run<'_>);
}

/// Nothing does.
pub(crate) struct Alone;

impl Companion for Alone {
    fn step(&mut self, _: &Run<'_>, _: Duration) {}
    fn end(&mut self, _: &Run<'_>) {}
}

/// A testbed that is up, and the record of its run so far.
pub(crate) struct Run<'a> {
    pub(crate) plan: &'a RunPlan,
    pub(crate) prepared: Prepared,
    pub(crate) fleet: Box<dyn Fleet>,
    pub(crate) offering: Offering,
    /// How nodes that are not up ended, in words.
    pub(crate) ends: BTreeMap<NodeId, String>,
    /// Those of them that were not planned.
    pub(crate) unplanned_ends: Vec<String>,
    pub(crate) faults_done: Vec<Fault>,
    pub(crate) interrupted: bool,
    /// Processor time at the beginning and at the end of the measured part of the load.
    pub(crate) used: (Used, Used),
    pub(crate) series: Vec<Section>,
    /// Nodes that were up and stood still or lagged.
    pub(crate) stalls: Stalls,
    /// The run that this one goes on after, if it does.
    pub(crate) resumed: Option<Resumed>,
    /// Nodes that came and went.
    pub(super) recoveries: Recoveries,
    pub(crate) diagnosis: Vec<String>,
    /// The counters of nodes that ran before, which are none of this run's.
    pub(super) counted_before: Counters,
    /// What the runs that this one goes on after have left in the files of nodes.
    pub(super) before: Before,
    /// When to query orphans next, and how long to pause after that.
    orphans_due: Option<(Instant, Duration)>,
    pub(super) progress: Progress,
}

/// Processor time up to a moment.
#[derive(Clone, Default)]
pub(crate) struct Used {
    /// Seconds by program, this one's included.
    pub(crate) cpu_s: BTreeMap<String, f64>,
    /// Transactions committed up to then.
    pub(crate) committed: u64,
    /// When that was.
    pub(crate) at: Option<Instant>,
}

impl Run<'_> {
    /// Begins to connect to nodes that have been started.
    pub(crate) fn begin<'a>(
        plan: &'a RunPlan,
        prepared: Prepared,
        fleet: Box<dyn Fleet>,
        progress: Progress,
    ) -> Result<Run<'a>, RunError> {
        let nodes = prepared.committee.nodes().count() as u16;
        let wan = wan::written(&plan.directories).map(|path| Wan::load(&path, nodes)).transpose();
        let wan = wan.map_err(StartError::from)?;
        let offering = Offering::connect_over(wan.as_ref(), prepared.committee.clone(), &prepared.hosts)
            .map_err(|error| StartError::System { what: "cannot start the load's thread", error })?;
        Ok(Run {
            plan,
            prepared,
            fleet,
            offering,
            ends: BTreeMap::new(),
            unplanned_ends: Vec::new(),
            faults_done: Vec::new(),
            interrupted: false,
            used: Default::default(),
            series: Vec::new(),
            stalls: Stalls::default(),
            resumed: None,
            recoveries: Recoveries::default(),
            diagnosis: Vec::new(),
            counted_before: Counters::default(),
            before: Before::default(),
            orphans_due: None,
            progress,
        })
    }

    /// Waits until every node answers a client.
    pub(crate) fn wait_until_ready(&mut self) -> Result<(), RunError> {
        let (nodes, began) = (self.fleet.up(), Instant::now());
        loop {
            let error = match wait_until_ready(&self.offering, &nodes, || self.fleet.observe()) {
                Ok(_) => break,
                Err(NotReady::Interrupted) => RunError::Interrupted,
                Err(NotReady::Ended(ends)) if self.resumed.is_some() => self.not_resumed(ends).into(),
                Err(NotReady::Ended(ends)) => StartError::NodesEnded(ends).into(),
                Err(NotReady::Late(statuses)) if self.resumed.is_some() && began.elapsed() < REPLAY => {
                    let late = nodes.len() - statuses.len();
                    self.progress.print(&format!("{late} nodes still do again what their journals hold"));
                    continue;
                }
                Err(NotReady::Late(statuses)) => {
                    StartError::NotReady { waited: began.elapsed(), notes: self.diagnose(&statuses) }.into()
                }
            };
            return Err(error);
        }
        self.progress.print(&format!(
            "{} nodes up after {:.1} s; testbed {}",
            nodes.len(),
            began.elapsed().as_secs_f64(),
            self.prepared.committee.testbed()
        ));
        Ok(())
    }

    /// What nodes have counted until now belongs to others.
    pub(crate) fn count_from_now(&mut self) {
        self.counted_before = self.offering.look_at(Counters::of);
    }

    /// Offers load until its end, carries out faults, and prints a line every second.
    pub(crate) fn offer(&mut self, companion: &mut dyn Companion) -> Result<Ticker, RunError> {
        self.warn_of_the_plan();
        self.offering.begin(self.plan.load, self.transaction_log()?);
        let requested = Instant::now();
        let began = loop {
            match self.offering.look_at(|shared| shared.began) {
                Some(began) => break began.at,
                None if requested.elapsed() > COINS && !signals::is_interrupted() => {
                    let why = format!("its coins were not listed within {} s", COINS.as_secs());
                    return Err(StartError::NotReached(why).into());
                }
                None if signals::is_interrupted() || self.offering.has_ended() => {
                    return Err(RunError::Interrupted);
                }
                None => thread::sleep(Duration::from_millis(1)),
            }
        };
        let shards = usize::from(self.plan.shards);
        let mut ticker = Ticker::new(usize::from(self.plan.nodes_in_all()), shards);
        let mut pending: Vec<Fault> = self.plan.faults.iter().rev().cloned().collect();
        while !self.interrupted && !self.has_enough(&ticker) {
            if self.used.0.at.is_none() && began.elapsed() >= self.plan.load.warmup {
                self.used.0 = self.use_now();
            }
            thread::sleep(STEP.min(self.until_end(began)));
            self.interrupted = signals::is_interrupted();
            self.on_time(&mut ticker);
            while pending.last().is_some_and(|fault| fault.at <= began.elapsed()) {
                let fault = pending.pop().expect("the loop has looked at it");
                self.carry_out(fault);
            }
            companion.step(self, began.elapsed());
        }
        self.used.1 = self.use_now();
        self.offering.end();
        self.on_time(&mut ticker);
        if !self.interrupted {
            let late = pending.iter().rev();
            self.unplanned_ends
                .extend(late.map(|fault| format!("{fault} did not come, since the load had ended")));
        }
        Ok(ticker)
    }

    /// The file of single transactions, if there is to be one.
    fn transaction_log(&self) -> Result<Option<TransactionLog>, RunError> {
        if !self.plan.has_transactions {
            return Ok(None);
        }
        let path = self.plan.directories.log.join("transactions.csv");
        match TransactionLog::create(&path, self.plan.load.rate) {
            Ok(log) => Ok(Some(log)),
            Err(error) => Err(StartError::file("create", &path, error).into()),
        }
    }

    fn use_now(&mut self) -> Used {
        let cpu_s = with_own_cpu(self.fleet.cpu_s());
        let committed = self.offering.look_at(|shared| shared.tally.committed);
        Used { cpu_s, committed, at: Some(Instant::now()) }
    }

    /// Whether the offering is over, or the planned blocks are there or will never be.
    fn has_enough(&self, ticker: &Ticker) -> bool {
        self.offering.has_ended()
            || self.offering.look_at(|shared| shared.offered_for.is_some())
            || self.plan.rounds.is_some_and(|rounds| {
                self.offering.look_at(|shared| shared.tally.height_of_all().0) >= rounds
                    || ticker.stalled_for() > HOPELESS
            })
    }

    /// A plan may stop the testbed for good; a line says so before.
    fn warn_of_the_plan(&self) {
        let faults = &self.plan.faults;
        let crashes = faults.iter().filter(|fault| fault.kind == Kind::Crash);
        let victims = crashes.flat_map(|fault| fault.nodes.iter().map(move |node| (*node, fault)));
        let for_good = victims.filter(|(node, fault)| !comes_back(faults, *node, fault));
        let crashed: BTreeSet<NodeId> = for_good.map(|(node, _)| node).collect();
        let committee = &self.prepared.committee;
        let f = committee.f();
        for shard in (0..committee.shards()).map(ShardId) {
            let count = committee.members(shard).filter(|node| crashed.contains(node)).count();
            if count > f {
                let whose = if committee.shards() > 1 { format!(" of shard {shard}") } else { String::new() };
                self.progress.print(&format!(
                    "the plan crashes {count} nodes{whose}, more than f = {f}: after that nothing can be committed there"
                ));
            }
        }
    }

    /// How long load is still to be offered, as far as time decides; a moment at least, since the load's own clock
    /// decides.
    fn until_end(&self, began: Instant) -> Duration {
        let duration = self.plan.load.duration.unwrap_or(Duration::MAX);
        duration.saturating_sub(began.elapsed()).max(Duration::from_millis(1))
    }

    /// Waits until nothing is open, at most [`DRAIN`].
    pub(crate) fn drain(&mut self, ticker: &mut Ticker) {
        let began = Instant::now();
        while !self.interrupted && began.elapsed() < DRAIN {
            let in_flight = self.offering.look_at(|shared| shared.in_flight);
            if in_flight == 0 && self.nothing_is_open() {
                break;
            }
            // Without a quorum nothing will ever come.
            if self.lacks_a_quorum() && ticker.stalled_for() > STALL {
                break;
            }
            thread::sleep(STEP);
            self.interrupted = signals::is_interrupted();
            self.on_time(ticker);
        }
        if !self.interrupted && self.offering.look_at(|shared| shared.orphaned > 0) {
            self.offering.query_orphans();
            thread::sleep(ANSWER);
        }
        if !self.interrupted && self.offering.look_at(|shared| shared.in_flight > 0) {
            self.offering.query_all();
            thread::sleep(ANSWER);
        }
        // All spent coins have been given back by now, so each chain can learn which coin it has.
        if !self.interrupted && self.offering.look_at(|shared| shared.in_flight == 0 && shared.doubtful > 0) {
            self.offering.settle_doubts();
            let requested = Instant::now();
            while requested.elapsed() < ANSWER && self.offering.look_at(|shared| shared.doubtful > 0) {
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Whether so few members of some shard are up that it stands still for good.
    pub(super) fn lacks_a_quorum(&self) -> bool {
        let committee = &self.prepared.committee;
        let mut up = vec![0; usize::from(committee.shards())];
        let signing = self.fleet.up().into_iter().filter(|node| !self.follows(*node));
        signing.for_each(|node| up[usize::from(committee.shard_of(node).0)] += 1);
        up.iter().any(|count| *count < committee.quorum())
    }

    /// Whether a node only follows, by its last status.
    fn follows(&self, node: NodeId) -> bool {
        self.offering.look_at(|shared| shared.statuses.get(&node).is_some_and(|heard| heard.status.follows))
    }

    /// Whether every node that is up and signs reports that nothing is open there, and those of a shard stand at one
    /// height. A follower that has missed much may be on its way for long.
    pub(super) fn nothing_is_open(&self) -> bool {
        let up: Vec<NodeId> = self.fleet.up().into_iter().filter(|node| !self.follows(*node)).collect();
        let statuses = self.offering.statuses(&up, Duration::from_secs(1));
        let heights: BTreeSet<(ShardId, Round)> = statuses
            .iter()
            .map(|(node, status)| (self.prepared.committee.shard_of(*node), status.executed))
            .collect();
        let shards: BTreeSet<ShardId> = heights.iter().map(|(shard, _)| *shard).collect();
        statuses.len() == up.len()
            && heights.len() == shards.len()
            && statuses.values().all(|status| {
                let open = status.mempool + status.lane_open + status.pool;
                open + status.open_records + status.parts_open == 0
            })
    }

    /// Looks at processes and load once a section of the series is over, prints its line, and a diagnosis if nothing
    /// commits.
    fn on_time(&mut self, ticker: &mut Ticker) {
        self.follow_restarts();
        let sections = self.offering.take_sections();
        if sections.is_empty() {
            return;
        }
        for end in self.fleet.observe() {
            self.progress.print(&end.to_string());
            self.unplanned_ends.push(end.to_string());
            self.note_gone(end.node, end.how);
        }
        self.query_orphans();
        let nodes = self.fleet.up();
        let (height, lags) =
            self.offering.look_at(|shared| (shared.tally.height_of_all(), shared.lags(nodes)));
        if let Some(section) = sections.last() {
            self.stalls.note(section.until_us as f64 / 1e6, &lags);
        }
        for section in sections {
            let up = nodes_up(self.plan, &self.recoveries, &section);
            for line in ticker.lines(&section, height, up, &lags) {
                self.progress.print(&line);
            }
            self.series.push(section);
        }
        let waits =
            self.offering.look_at(|shared| shared.in_flight > 0 || shared.intended > shared.tally.submitted);
        if waits && ticker.stalled_for() > STALL && self.diagnosis.is_empty() {
            let statuses = self.offering.statuses(&self.fleet.up(), Duration::from_millis(500));
            self.diagnosis = self.diagnose(&statuses);
            self.progress.print(&format!("  nothing was committed for {} s:", STALL.as_secs()));
            self.diagnosis.iter().for_each(|note| self.progress.print(&format!("    {note}")));
        }
        if !ticker.has_stalled() {
            // It has come round: what was found then would mislead.
            self.diagnosis.clear();
        }
    }

    /// Queries others for transactions whose node is gone, less and less often.
    fn query_orphans(&mut self) {
        if self.orphans_due.is_some_and(|(due, _)| due <= Instant::now())
            && let Some((_, pause)) = self.orphans_due
        {
            self.offering.query_orphans();
            self.orphans_due = Some((Instant::now() + pause, pause * 2));
        }
    }

    /// A node is gone for good, in words that follow its name.
    pub(crate) fn note_gone(&mut self, node: NodeId, how: String) {
        if self.ends.insert(node, how).is_none() {
            self.recoveries.gone(self.elapsed());
        }
        self.offering.node_is_gone(node);
        const FIRST_PAUSE: Duration = Duration::from_secs(1);
        self.orphans_due = Some((Instant::now(), FIRST_PAUSE));
    }

    fn carry_out(&mut self, fault: Fault) {
        self.progress.print(&format!("  fault: {fault}"));
        if matches!(fault.kind, Kind::Crash | Kind::Restart) {
            // Their counters are lost with them.
            self.offering.statuses(&fault.nodes, LAST_WORDS);
        }
        if let Err(error) = self.fleet.apply(&fault) {
            // The plan was not carried out, which the summary must show.
            self.unplanned_ends.push(format!("{fault} could not be carried out: {error}"));
            let up = self.fleet.up();
            for node in fault.nodes.into_iter().filter(|node| !up.contains(node)) {
                let words = last_words(&self.plan.directories, node);
                self.note_gone(node, format!("is down, since a planned fault failed{words}"));
            }
            return;
        }
        let at = self.elapsed();
        for node in &fault.nodes {
            match fault.kind {
                Kind::Crash => {
                    let how = format!("was crashed as planned at {} s", fault.at.as_secs_f64());
                    if comes_back(&self.plan.faults, *node, &fault) {
                        // What is open there waits for it, as for a node that is silent.
                        self.recoveries.gone(at);
                        self.ends.insert(*node, how);
                    } else {
                        self.note_gone(*node, how);
                    }
                }
                Kind::Restart => {
                    if self.ends.remove(node).is_some() {
                        self.recoveries.back(at);
                    }
                    self.recoveries.follow(*node, at);
                }
                Kind::KillClient | Kind::KillServer => {}
            }
        }
        self.faults_done.push(fault);
    }

    /// Since the load began.
    fn elapsed(&self) -> Duration {
        self.offering.look_at(|shared| shared.began).map_or(Duration::ZERO, |began| began.at.elapsed())
    }

    /// Follows nodes that were restarted.
    fn follow_restarts(&mut self) {
        if self.recoveries.is_due() {
            self.offering.request_statuses();
        }
        let lines = self.offering.look_at(|shared| self.recoveries.look(shared));
        lines.iter().for_each(|line| self.progress.print(&format!("  {line}")));
    }

    pub(crate) fn diagnose(&self, statuses: &BTreeMap<NodeId, NodeStatus>) -> Vec<String> {
        diagnose(&Symptoms {
            committee: &self.prepared.committee,
            up: &self.fleet.up(),
            ends: &self.ends,
            statuses,
            down: &self.offering.look_at(|shared| shared.down.clone()),
            directories: &self.plan.directories,
        })
    }
}

/// Nodes that were up when a section ended.
pub(super) fn nodes_up(plan: &RunPlan, recoveries: &Recoveries, section: &Section) -> usize {
    recoveries.nodes_up(plan.nodes_in_all(), Duration::from_micros(section.until_us))
}

/// Adds what this process itself, the load above all, has used.
fn with_own_cpu(mut seconds: BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    if let Some(own) = procfs::process(std::process::id()) {
        seconds.insert("tools".into(), own.cpu_ticks as f64 / procfs::TICKS_PER_S as f64);
    }
    seconds
}
