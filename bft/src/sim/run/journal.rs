//! The journal of a simulated member: what it is fed is written down, and what it does waits for that.
//!
//! A member handles an event at once; its effects are *held*. Whatever has gathered is appended together, with
//! [`Durability::Power`] synced, and then the effects leave. Each step takes a random time, and between any two of them
//! the member may crash ([`Point`]). Now and then it takes a snapshot, which begins a segment of its own.

use std::collections::VecDeque;

use ::wire::ids::NodeId;

use crate::core::Core;
use crate::crypto::suite::Statement;
use crate::event::{Effect, Event};
use crate::journal::{self, Durability, Opening, Past, SnapshotHead};
use crate::mutant::{Mutant, in_force};
use crate::prng::Prng;
use crate::sim::disk::Disk;
use crate::sim::plan::{Fall, Point};
use crate::sim::run::{Happening, Node, Ran, Simulation};
use crate::time::{Span, Time};

/// Events between two checks: a prime, so that they meet all moments of a round.
const EVENTS_A_CHECK: u64 = 61;
/// A group commit in so many comes with a snapshot, where there are any.
const GROUPS_A_SNAPSHOT: u64 = 24;

/// The longest step of a disk, in microseconds.
const STEP_MAX_US: u64 = 10_000;
/// An event waits for the end of the group before its own, and then for its own: append, sync, and release.
pub(super) const HELD_MAX: Span = Span(5 * STEP_MAX_US);

/// Whether a member may still go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// It runs.
    Up,
    /// It has crashed and will be started again.
    Down,
    /// It stays away: it crashed for good, or it may not sign any more.
    Gone,
}

/// A step of a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Everything noted reaches the system.
    Append,
    /// Everything appended reaches the disk, up to this many events.
    Sync(u64),
    /// The effects of this many events may leave.
    Open(u64),
    /// A snapshot is finished.
    Snapshot,
}

/// What has come of an event and has not left the member.
struct Held {
    /// The number of the event.
    number: u64,
    event: Event,
    effects: Vec<Effect>,
    signed: Vec<Statement>,
}

/// A snapshot that is being written.
struct Unfinished {
    bytes: Vec<u8>,
    /// Events before it.
    events: u64,
    /// The segment that begins after it, once there is one.
    segment: Option<u64>,
}

/// Whether a member takes snapshots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Snapshots {
    Never,
    Sometimes,
}

/// See the module.
pub(super) struct Journal {
    pub(super) disk: Disk,
    pub(super) durability: Durability,
    pub(super) opening: Opening,
    pub(super) past: Past,
    pub(super) standing: Standing,
    /// Boots of its system so far.
    pub(super) boot: u64,
    /// Crashes so far: steps of the disk from before the last one count no more.
    pub(super) life: u64,
    /// Virtual time that passed while the member was down: its own time stood still.
    pub(super) lag: Span,
    /// Verifications in vain that were done again in replays.
    pub(super) repeated_in_vain: u64,
    /// Events whose effects have left.
    pub(super) released: u64,
    pub(super) armed: Option<Fall>,
    pub(super) prng: Prng,
    snapshots: Snapshots,
    step_max: Span,
    /// Records that are not appended.
    noted: Vec<u8>,
    checked_events: u64,
    held: VecDeque<Held>,
    /// Whether a step is scheduled that leads to the next.
    pace: Pace,
    unfinished: Option<Unfinished>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pace {
    Idle,
    /// Before the append.
    Appending,
    /// After it.
    Opening,
}

impl Journal {
    /// A journal that begins now.
    pub(super) fn begin(opening: Opening, mut prng: Prng) -> Journal {
        let mut disk = Disk::new();
        disk.begin(&opening);
        let snapshots = if prng.chance(1, 2) { Snapshots::Sometimes } else { Snapshots::Never };
        let step_max = Span(*prng.pick(&[200, 2_000, STEP_MAX_US]).expect("the list is not empty"));
        Journal {
            disk,
            durability: opening.start.durability,
            opening,
            past: Past::default(),
            standing: Standing::Up,
            boot: 0,
            life: 0,
            lag: Span(0),
            repeated_in_vain: 0,
            released: 0,
            armed: None,
            prng,
            snapshots,
            step_max,
            noted: Vec::new(),
            checked_events: 0,
            held: VecDeque::new(),
            pace: Pace::Idle,
            unfinished: None,
        }
    }

    /// An event is handled next.
    pub(super) fn note(&mut self, now: Time, event: &Event) {
        self.past.event(now, event);
        journal::record(now, event).write_to(&mut self.noted);
    }

    fn note_effects(&mut self, effects: &[Effect]) {
        effects.iter().for_each(|effect| self.past.effect(effect));
        if self.past.done.events >= self.checked_events + EVENTS_A_CHECK {
            self.checked_events = self.past.done.events;
            self.past.done.record().write_to(&mut self.noted);
        }
    }

    /// Of what was noted and not appended a crash may leave the beginning.
    pub(super) fn stop(&mut self) {
        if self.pace == Pace::Appending && self.prng.chance(1, 2) {
            let bytes = self.prng.below(self.noted.len() as u64 + 1) as usize;
            self.disk.append(&self.noted[..bytes]);
        }
        self.noted.clear();
        self.held.clear();
        (self.pace, self.unfinished, self.armed) = (Pace::Idle, None, None);
        (self.life, self.standing) = (self.life + 1, Standing::Down);
    }

    /// A start goes on with this past, which has all effects behind it.
    pub(super) fn goes_on(&mut self, opening: Opening, past: Past, now: Time) {
        self.disk.begin(&opening);
        (self.opening, self.standing) = (opening, Standing::Up);
        (self.checked_events, self.released) = (past.done.events, past.done.events);
        self.lag = now.since(past.now);
        self.past = past;
    }

    /// The crash that is to happen, if this is its point.
    fn falls_at(&mut self, point: Point) -> Option<Fall> {
        self.armed.take_if(|fall| fall.point == point)
    }

    /// Whether a crash can be made to wait for a point.
    pub(super) fn reaches(&self, point: Point) -> bool {
        match point {
            Point::Anywhere => false,
            Point::Snapshot => self.snapshots == Snapshots::Sometimes,
            Point::BeforeAppend | Point::BeforeSync | Point::BeforeEffects | Point::BetweenEffects => true,
        }
    }

    /// Everything noted is appended; what comes next.
    fn append(&mut self, core: &Core) -> Step {
        self.disk.append(&self.noted);
        self.noted.clear();
        self.pace = Pace::Opening;
        let events = self.past.done.events;
        let is_due = self.snapshots == Snapshots::Sometimes && self.prng.chance(1, GROUPS_A_SNAPSHOT);
        if is_due && self.unfinished.is_none() {
            let opening = self.opening.followed_by(self.opening.start.clone(), events);
            let place = SnapshotHead { opening, past: self.past.clone() };
            let mut bytes = Vec::new();
            place.write(core, &mut bytes).expect("a vector takes all bytes");
            self.unfinished = Some(Unfinished { bytes, events, segment: None });
        }
        let syncs = self.durability == Durability::Power && in_force(Mutant::SyncBeforeEffects);
        if syncs { Step::Sync(events) } else { Step::Open(events) }
    }

    /// Begins the segment of a snapshot after the last record that the snapshot stands for; whether there is one.
    fn begin_segment(&mut self, events: u64) -> bool {
        let Some(snapshot) = self.unfinished.as_mut().filter(|snapshot| snapshot.events == events) else {
            return false;
        };
        self.opening = self.opening.followed_by(self.opening.start.clone(), events);
        snapshot.segment = Some(self.disk.begin(&self.opening));
        true
    }

    fn finish_snapshot(&mut self) {
        let Some(Unfinished { bytes, segment: Some(segment), .. }) = self.unfinished.take() else { return };
        self.disk.snapshot = Some(bytes);
        if self.prng.chance(1, 2) {
            self.disk.forget_before(segment);
        }
    }
}

impl Simulation<'_> {
    /// The time of a member, which stands still while it is down.
    pub(super) fn local_time(&self, node: NodeId) -> Time {
        Time(self.now.0 - self.lag(node).0)
    }

    /// How far a member's time is behind that of the simulation.
    pub(super) fn lag(&self, node: NodeId) -> Span {
        self.journals.get(&node).map_or(Span(0), |journal| journal.lag)
    }

    /// An honest member has handled an event: its effects are carried out once it is written.
    pub(super) fn hold(&mut self, node: NodeId, event: Event, effects: Vec<Effect>) -> Ran {
        let signed = self.verified[&node].take_signed();
        let Some(journal) = self.journals.get_mut(&node) else {
            return self.carry_out(node, &event, effects, &signed);
        };
        journal.note_effects(&effects);
        let number = journal.past.done.events;
        journal.held.push_back(Held { number, event, effects, signed });
        if !in_force(Mutant::EffectsAfterAppend) {
            self.release(node, number)?;
        }
        self.begin_group(node);
        Ok(())
    }

    fn carry_out(&mut self, node: NodeId, event: &Event, effects: Vec<Effect>, signed: &[Statement]) -> Ran {
        self.checker.on_handled(node, event);
        self.checker.on_signed(node, signed)?;
        self.do_honest(node, effects)
    }

    fn begin_group(&mut self, node: NodeId) {
        let Some(journal) = self.journals.get_mut(&node) else { return };
        if journal.standing == Standing::Up && journal.pace == Pace::Idle && !journal.noted.is_empty() {
            journal.pace = Pace::Appending;
            self.schedule_step(node, Step::Append);
        }
    }

    fn schedule_step(&mut self, node: NodeId, step: Step) {
        let journal = self.journals.get_mut(&node).expect("only members with a journal have steps");
        let at = self.now + Span(journal.prng.within(20..journal.step_max.0));
        let life = journal.life;
        self.net.schedule(at, Happening::Disk { node, life, step });
    }

    /// A disk has done a step for a member.
    pub(super) fn on_disk(&mut self, node: NodeId, life: u64, step: Step) -> Ran {
        let journal = self.journals.get_mut(&node).expect("only members with a journal have steps");
        if journal.life != life {
            return Ok(());
        }
        let points: &[Point] = match step {
            Step::Append => &[Point::BeforeAppend],
            Step::Sync(_) => &[Point::BeforeSync],
            Step::Open(_) => &[Point::BeforeSync, Point::BeforeEffects],
            Step::Snapshot => &[Point::Snapshot],
        };
        if let Some(fall) = points.iter().find_map(|point| journal.falls_at(*point)) {
            return self.crash(&fall);
        }
        match step {
            Step::Append => {
                let Node::Honest(core) = &self.nodes[usize::from(node.0)] else {
                    unreachable!("a member that is up runs a core")
                };
                let next = journal.append(core);
                self.schedule_step(node, next);
            }
            Step::Sync(events) => {
                journal.disk.sync();
                self.schedule_step(node, Step::Open(events));
            }
            Step::Open(events) => {
                if journal.begin_segment(events) {
                    self.schedule_step(node, Step::Snapshot);
                }
                self.release(node, events)?;
                if let Some(journal) = self.journals.get_mut(&node).filter(|journal| journal.life == life) {
                    journal.pace = Pace::Idle;
                    self.begin_group(node);
                }
            }
            Step::Snapshot => journal.finish_snapshot(),
        }
        Ok(())
    }

    /// The effects of events up to this one leave a member.
    fn release(&mut self, node: NodeId, events: u64) -> Ran {
        loop {
            let journal = self.journals.get_mut(&node).expect("only members with a journal hold anything");
            if journal.held.front().is_none_or(|held| held.number > events) {
                return Ok(());
            }
            let held = journal.held.pop_front().expect("it was just looked at");
            let Held { number, event, mut effects, signed } = held;
            if effects.len() >= 2
                && let Some(fall) = journal.falls_at(Point::BetweenEffects)
            {
                effects.truncate(journal.prng.within(1..effects.len() as u64) as usize);
                self.carry_out(node, &event, effects, &signed)?;
                return self.crash(&fall);
            }
            journal.released = number;
            self.carry_out(node, &event, effects, &signed)?;
        }
    }
}
