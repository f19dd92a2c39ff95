//! A run from the moment its nodes are up until nothing is open any more.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use bft::sim::Conduct;
use wire::client::NodeStatus;
use wire::ids::{NodeId, Round, ShardId};
use wire::wan::Wan;

use super::by_hand::ByHand;
use super::carry_out::Carried;
use super::diagnosis::{Symptoms, diagnose};
use super::error::{RunError, StartError};
use super::faults::{self, Step};
use super::fleet::Fleet;
use super::observed::Observed;
use super::plan::RunPlan;
use super::prepare::{Prepared, Resumed};
use super::progress::Progress;
use super::ready::{NotReady, REPLAY, wait_until_ready};
use super::recovery::Recoveries;
use super::settle::Before;
use super::summary::Counters;
use super::wan;
use crate::lag::Stalls;
use crate::load::{Offering, Section, Ticker, TransactionLog};
use crate::procfs;
use crate::signals;

/// How often a run looks after itself: signals, faults that are due.
pub(super) const STEP: Duration = Duration::from_millis(50);
/// How long the last transactions may take.
pub(super) const DRAIN: Duration = Duration::from_secs(30);
/// How long a recovery is followed after the load, when little is left for nodes to commit.
const RECOVERY: Duration = Duration::from_secs(1);
/// How long answers to the last queries may take.
const ANSWER: Duration = Duration::from_secs(1);
/// How long finding the coins of a load may take.
const COINS: Duration = Duration::from_secs(60);
/// After so long without a commit the run prints a diagnosis.
const STALL: Duration = Duration::from_secs(5);
/// After so long without a commit a run that waits for commits gives up.
const HOPELESS: Duration = Duration::from_secs(30);

/// Something that goes on beside a run and looks at it.
pub(crate) trait Companion {
    /// Called every now and then while load is offered, `elapsed` after that began.
    fn step(&mut self, run: &Run<'_>, elapsed: Duration);
    /// Called every now and then until nothing is open any more.
    fn drain(&mut self, _: &Run<'_>, _: Duration) {}
    /// What somebody wants to be done to nodes, since this was last called.
    fn by_hand(&mut self) -> Vec<ByHand> {
        Vec::new()
    }
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
    /// The plan's Byzantine nodes.
    pub(crate) liars: BTreeMap<NodeId, Conduct>,
    pub(crate) prepared: Prepared,
    pub(crate) fleet: Box<dyn Fleet>,
    pub(crate) offering: Offering,
    /// How nodes that are not up ended, in words.
    pub(crate) ends: BTreeMap<NodeId, String>,
    /// Those of them that were not planned.
    pub(crate) unplanned_ends: Vec<String>,
    /// What the plan's faults have done so far.
    pub(super) carried: Carried,
    pub(crate) interrupted: bool,
    /// Processor time at the beginning and at the end of the measured part of the load.
    pub(crate) used: (Used, Used),
    pub(crate) series: Vec<Section>,
    /// What processes used meanwhile.
    pub(crate) observed: Observed,
    /// Nodes that were up and stood still or lagged.
    pub(crate) stalls: Stalls,
    /// The run that this one goes on after, if it does.
    pub(crate) resumed: Option<Resumed>,
    /// Faults, and nodes that came and went.
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
        // What a liar says counts for nothing, and a load knows better than to hand it anything.
        let liars = plan.byzantine();
        liars.keys().for_each(|node| offering.node_is_gone(*node));
        Ok(Run {
            plan,
            prepared,
            fleet,
            offering,
            ends: BTreeMap::new(),
            unplanned_ends: Vec::new(),
            carried: Carried::default(),
            interrupted: false,
            used: Default::default(),
            series: Vec::new(),
            observed: Observed::default(),
            stalls: Stalls::default(),
            resumed: None,
            recoveries: Recoveries::beside(liars.keys().copied().collect()),
            liars,
            diagnosis: Vec::new(),
            counted_before: Counters::default(),
            before: Before::default(),
            orphans_due: None,
            progress,
        })
    }

    /// Waits until every node answers a client.
    pub(crate) fn wait_until_ready(&mut self) -> Result<(), RunError> {
        let (nodes, began) = (self.honest_up(), Instant::now());
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
            self.fleet.up().len(),
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
        let mut pending: Vec<Step> = faults::steps(&self.plan.faults);
        pending.reverse();
        while !self.interrupted && !self.has_enough(&ticker) {
            if self.used.0.at.is_none() && began.elapsed() >= self.plan.load.warmup {
                self.used.0 = self.use_now();
            }
            thread::sleep(STEP.min(self.until_end(began)));
            self.interrupted = signals::is_interrupted();
            self.on_time(&mut ticker);
            while let Some(step) = pending.pop_if(|step| step.at <= began.elapsed()) {
                self.carry_out(step);
            }
            companion.step(self, began.elapsed());
            companion.by_hand().into_iter().for_each(|deed| self.by_hand(deed));
        }
        self.used.1 = self.use_now();
        self.offering.end();
        self.carry_out_rest(&pending);
        self.end_by_hand();
        self.on_time(&mut ticker);
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

    /// How long load is still to be offered, as far as time decides; a moment at least, since the load's own clock
    /// decides.
    fn until_end(&self, began: Instant) -> Duration {
        let duration = self.plan.load.duration.unwrap_or(Duration::MAX);
        duration.saturating_sub(began.elapsed()).max(Duration::from_millis(1))
    }

    /// Waits until nothing is open, at most [`DRAIN`].
    pub(crate) fn drain(&mut self, ticker: &mut Ticker, companion: &mut dyn Companion) {
        let began = Instant::now();
        while !self.interrupted && began.elapsed() < DRAIN {
            let in_flight = self.offering.look_at(|shared| shared.in_flight);
            let is_followed = self.recoveries.are_open() && began.elapsed() < RECOVERY;
            if in_flight == 0 && !is_followed && self.nothing_is_open() {
                break;
            }
            // Without a quorum nothing will ever come.
            if self.lacks_a_quorum() && ticker.stalled_for() > STALL {
                break;
            }
            thread::sleep(STEP);
            self.interrupted = signals::is_interrupted();
            self.on_time(ticker);
            companion.drain(self, self.elapsed());
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
        let signing = self.honest_up().into_iter().filter(|node| !self.follows(*node));
        signing.for_each(|node| up[usize::from(committee.shard_of(node).0)] += 1);
        up.iter().any(|count| *count < committee.quorum())
    }

    /// The nodes that run and are not Byzantine.
    pub(crate) fn honest_up(&self) -> Vec<NodeId> {
        self.fleet.up().into_iter().filter(|node| !self.liars.contains_key(node)).collect()
    }

    /// Whether a node only follows, by its last status.
    fn follows(&self, node: NodeId) -> bool {
        self.offering.look_at(|shared| shared.statuses.get(&node).is_some_and(|heard| heard.status.follows))
    }

    /// Whether every node that is up and signs reports that nothing is open there, and those of a shard stand at one
    /// height. A follower that has missed much may be on its way for long.
    pub(super) fn nothing_is_open(&self) -> bool {
        let up: Vec<NodeId> = self.honest_up().into_iter().filter(|node| !self.follows(*node)).collect();
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
        self.follow_recoveries();
        let sections = self.offering.take_sections();
        if sections.is_empty() {
            return;
        }
        self.note_ends();
        self.query_orphans();
        let nodes = self.honest_up();
        let (height, lags) =
            self.offering.look_at(|shared| (shared.tally.height_of_all(), shared.lags(nodes)));
        if let Some(section) = sections.last() {
            self.stalls.note(section.until_us as f64 / 1e6, &lags);
            self.observed.note(section.until_us, self.fleet.readings());
        }
        for section in sections {
            let up = nodes_up(self.plan, &self.recoveries, &section);
            for line in ticker.lines(&section, height, up, &lags) {
                self.progress.print_second(&line);
            }
            self.series.push(section);
        }
        let waits =
            self.offering.look_at(|shared| shared.in_flight > 0 || shared.intended > shared.tally.submitted);
        if waits && ticker.stalled_for() > STALL && self.diagnosis.is_empty() {
            let statuses = self.offering.statuses(&self.honest_up(), Duration::from_millis(500));
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

    /// Since the load began.
    pub(super) fn elapsed(&self) -> Duration {
        self.offering.look_at(|shared| shared.began).map_or(Duration::ZERO, |began| began.at.elapsed())
    }

    /// Follows what comes after faults.
    fn follow_recoveries(&mut self) {
        if !self.recoveries.are_open() {
            return;
        }
        if self.recoveries.is_due() {
            self.offering.request_statuses();
        }
        let up: Vec<NodeId> = self.honest_up().into_iter().filter(|node| !self.follows(*node)).collect();
        let lines = self.offering.look_at(|shared| self.recoveries.look(shared, &up));
        lines.iter().for_each(|line| self.progress.print(&format!("  {line}")));
    }

    pub(crate) fn diagnose(&self, statuses: &BTreeMap<NodeId, NodeStatus>) -> Vec<String> {
        diagnose(&Symptoms {
            committee: &self.prepared.committee,
            up: &self.honest_up(),
            liars: &self.liars,
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
