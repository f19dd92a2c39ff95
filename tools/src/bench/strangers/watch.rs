//! Looks at a run from beside: memory of every process, what honest clients get, what nodes refuse; and lets the
//! attack begin and end.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use wire::client::NodeStatus;

use super::attack::Attack;
use super::scene::{Amounts, CAME_EARLY, Scene, Tally};
use crate::load::Histogram;
use crate::pids;
use crate::procfs;
use crate::run::{Companion, Run};

/// Time for the load to get going, which no figure counts.
const WARM_UP: Duration = Duration::from_secs(2);
/// How often memory is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
/// How long nodes may take to count: what waits to be accepted when the attack ends is refused only then.
const COUNT_PATIENCE: Duration = Duration::from_secs(20);
/// How often their statuses are requested.
const COUNT_INTERVAL: Duration = Duration::from_millis(500);
/// How long nodes may take to report their status.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);

/// The times of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Schedule {
    /// Before the attack.
    pub(super) before: Duration,
    /// The attack at most.
    pub(super) attack: Duration,
    /// After it at least.
    pub(super) after: Duration,
}

impl Schedule {
    /// How long load is offered.
    pub(super) fn all(&self) -> Duration {
        self.before + self.attack + self.after
    }
}

/// A companion that attacks and observes a run.
pub(super) struct Watch {
    schedule: Schedule,
    /// None in the run without an attack, for comparison.
    amounts: Option<Amounts>,
    state: State,
    sampled: Instant,
    course: Course,
}

enum State {
    WarmingUp,
    Before,
    During(Option<Attack>),
    After,
}

/// How a run went.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Course {
    /// Honest traffic before, during and after the attack.
    pub(super) phases: [Phase; 3],
    pub(super) memory: BTreeMap<String, Memory>,
    /// Refusals and faults of all nodes since the attack began, by name.
    pub(super) counted: BTreeMap<String, u64>,
    /// Child processes that nodes had to start again.
    pub(super) restarts: u64,
    pub(super) tally: Tally,
    /// Why there was no attack although there should have been one.
    pub(super) failure: Option<String>,
    before: Mark,
    last: Mark,
    counted_before: BTreeMap<String, u64>,
}

/// The traffic of honest clients in a phase.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Phase {
    pub(super) seconds: f64,
    pub(super) committed: u64,
    pub(super) latency: Histogram,
}

/// Memory of a process.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Memory {
    /// Resident at rest: the mean of the second half of the time before the attack.
    pub(super) before_bytes: f64,
    samples: u32,
    /// The most that was seen from then on, and in between if the system remembers it.
    pub(super) peak_bytes: f64,
    /// The last that was seen.
    pub(super) after_bytes: f64,
    /// The system's memory of the peak when the attack began.
    system_peak_bytes: u64,
}

impl Course {
    /// How many refusals or faults are counted under names that begin like this.
    pub(super) fn counted(&self, beginning: &str) -> u64 {
        let counted = self.counted.iter().filter(|(name, _)| name.starts_with(beginning));
        counted.map(|(_, count)| count).sum()
    }

    /// The counters that have not counted all that they owe.
    pub(super) fn owes(&self) -> Vec<&'static str> {
        let owed = self.tally.owed.iter().filter(|(beginning, owed)| self.counted(beginning) < **owed);
        owed.map(|(beginning, _)| *beginning).collect()
    }
}

impl Memory {
    /// From rest to the peak.
    pub(super) fn growth_bytes(&self) -> f64 {
        self.peak_bytes - self.before_bytes
    }
}

#[derive(Clone, PartialEq, Debug, Default)]
struct Mark {
    at: Duration,
    committed: u64,
    latency: Histogram,
}

impl Watch {
    /// Over a run of this schedule; attackers do as much as in `amounts`.
    pub(super) fn new(schedule: Schedule, amounts: Option<Amounts>) -> Watch {
        Watch {
            schedule,
            amounts,
            state: State::WarmingUp,
            sampled: Instant::now(),
            course: Course::default(),
        }
    }

    /// How the run went, once it is over.
    pub(super) fn into_course(self) -> Course {
        self.course
    }

    /// Ends the phase with this number.
    fn end_phase(&mut self, phase: usize) {
        let (before, last) = (&self.course.before, &self.course.last);
        self.course.phases[phase] = Phase {
            seconds: (last.at - before.at).as_secs_f64(),
            committed: last.committed - before.committed,
            latency: last.latency.since(&before.latency),
        };
        self.course.before = self.course.last.clone();
    }

    fn begin_attack(&mut self, run: &Run<'_>) -> Option<Attack> {
        self.course.counted_before = counted(run);
        for (process, memory) in &mut self.course.memory {
            let now = run.fleet.processes().iter().find(|entry| entry.what == *process);
            let memory_now = now.and_then(|entry| procfs::memory(entry.pid));
            memory.system_peak_bytes = memory_now.map_or(0, |memory| memory.peak_bytes);
        }
        let scene = Scene::set(
            run.prepared.committee.clone(),
            &run.prepared.hosts,
            &run.fleet.up(),
            &run.plan.directories.keys(),
            self.amounts?,
            self.schedule.attack,
        );
        match scene {
            Ok(scene) => Some(Attack::begin(scene)),
            Err(error) => {
                self.course.failure = Some(error.to_string());
                None
            }
        }
    }

    /// Refusals and faults since the attack began.
    fn counted_since(&self, run: &Run<'_>) -> BTreeMap<String, u64> {
        let before = |name: &String| self.course.counted_before.get(name).copied().unwrap_or_default();
        let since = counted(run).into_iter().map(|(name, count)| (name.clone(), count - before(&name)));
        since.filter(|(_, count)| *count > 0).collect()
    }

    /// Whether the attack is over; one that does not take place takes all the time there is for it.
    fn is_attack_over(&self, elapsed: Duration) -> bool {
        let State::During(attack) = &self.state else { return false };
        elapsed >= self.schedule.before + self.schedule.attack || attack.as_ref().is_some_and(Attack::is_over)
    }

    fn sample(&mut self, run: &Run<'_>, elapsed: Duration) {
        self.sampled = Instant::now();
        for entry in run.fleet.processes().iter().filter(|entry| entry.what != pids::RUN) {
            let Some(now) = procfs::memory(entry.pid) else { continue };
            let memory = self.course.memory.entry(entry.what.clone()).or_default();
            let resident_bytes = now.resident_bytes as f64;
            memory.after_bytes = resident_bytes;
            match self.state {
                State::WarmingUp | State::Before if elapsed >= self.schedule.before / 2 => {
                    memory.samples += 1;
                    memory.before_bytes += (resident_bytes - memory.before_bytes) / f64::from(memory.samples);
                }
                State::WarmingUp | State::Before => {}
                State::During(_) | State::After => {
                    memory.peak_bytes = memory.peak_bytes.max(resident_bytes);
                    if now.peak_bytes > memory.system_peak_bytes {
                        memory.peak_bytes = memory.peak_bytes.max(now.peak_bytes as f64);
                    }
                }
            }
        }
    }
}

impl Companion for Watch {
    fn step(&mut self, run: &Run<'_>, elapsed: Duration) {
        let (committed, latency) =
            run.offering.look_at(|shared| (shared.tally.committed, shared.tally.latency()));
        self.course.last = Mark { at: elapsed, committed, latency };
        if self.sampled.elapsed() >= SAMPLE_INTERVAL {
            self.sample(run, elapsed);
        }
        let is_attack_over = self.is_attack_over(elapsed);
        match &mut self.state {
            State::WarmingUp if elapsed >= WARM_UP.min(self.schedule.before / 2) => {
                self.course.before = self.course.last.clone();
                self.state = State::Before;
            }
            State::Before if elapsed >= self.schedule.before => {
                self.end_phase(0);
                self.state = State::During(self.begin_attack(run));
            }
            State::During(attack) if is_attack_over => {
                self.course.tally = attack.take().map(Attack::end).unwrap_or_default();
                self.end_phase(1);
                self.state = State::After;
            }
            State::WarmingUp | State::Before | State::During(_) | State::After => {}
        }
    }

    fn end(&mut self, run: &Run<'_>) {
        if let State::During(attack) = &mut self.state {
            // Interrupted: whatever the attackers have done till now is all.
            self.course.tally = attack.take().map(Attack::end).unwrap_or_default();
            self.end_phase(1);
        } else {
            self.end_phase(2);
        }
        self.sample(run, self.course.last.at);
        let began = Instant::now();
        loop {
            self.course.counted = self.counted_since(run);
            if self.course.owes().is_empty() || began.elapsed() > COUNT_PATIENCE {
                break;
            }
            thread::sleep(COUNT_INTERVAL);
        }
        self.course.restarts = statuses(run).iter().map(|status| status.restarts).sum();
    }
}

fn statuses(run: &Run<'_>) -> Vec<NodeStatus> {
    run.offering.statuses(&run.fleet.up(), STATUS_PATIENCE).into_values().collect()
}

/// Refusals and faults by name, of all nodes.
fn counted(run: &Run<'_>) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for status in statuses(run) {
        let early = (CAME_EARLY.to_string(), status.too_early);
        for (name, count) in status.refused.into_iter().chain(status.faults).chain([early]) {
            *sums.entry(name).or_default() += count;
        }
    }
    sums
}
