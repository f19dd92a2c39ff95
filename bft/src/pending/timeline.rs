//! The timeline: the transactions of clients that wait to be proposed, by the order in which they came.
//!
//! Each gets a position when it comes and leaves when it waits no longer, mostly from the front. A place is kept for
//! each position from the oldest that still waits on: one that left in between is a hole until those before it have
//! left, too.
//!
//! A transaction is due to be shared once it has waited for [`PATIENCE`]; times are kept for steps of [`GRID`], not for
//! each transaction.

use std::collections::VecDeque;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::slab::Place;
use crate::time::{Span, Time};

/// A transaction that is proposed within this time is never copied. While a shard carries its load, nearly all are.
pub(super) const PATIENCE: Span = Span::from_ms(200);
/// Transactions that come within one such step fall due together.
const GRID: Span = Span::from_ms(25);

/// A position on the timeline of one member, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Position(pub NonZeroU64);

impl Position {
    /// The first one.
    pub const FIRST: Position = Position(NonZeroU64::MIN);

    /// The one after it.
    pub fn next(self) -> Position {
        Position(self.0.saturating_add(1))
    }

    fn plus(self, steps: usize) -> Position {
        Position(self.0.saturating_add(steps as u64))
    }
}

/// The first position of a step, and when what came in that step is due.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Step {
    first: Position,
    due: Time,
}

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Timeline {
    /// The position of the first place, or the next one if there is none.
    first: Position,
    places: VecDeque<Option<Place>>,
    /// Ascending. The first is that of the first place.
    steps: VecDeque<Step>,
}

impl Timeline {
    pub(super) fn new() -> Timeline {
        Timeline { first: Position::FIRST, places: VecDeque::new(), steps: VecDeque::new() }
    }

    /// Puts a transaction at the end.
    pub(super) fn push(&mut self, now: Time, place: Place) -> Position {
        let position = self.next();
        let due = Time((now + PATIENCE).0.next_multiple_of(GRID.0));
        if self.steps.back().is_none_or(|step| step.due < due) {
            self.steps.push_back(Step { first: position, due });
        }
        self.places.push_back(Some(place));
        position
    }

    /// Takes a transaction out.
    pub(super) fn remove(&mut self, position: Position) {
        let at = position.0.get().checked_sub(self.first.0.get()).expect("it stands on the timeline");
        let taken = self.places.get_mut(at as usize).and_then(Option::take);
        assert!(taken.is_some(), "it stands on the timeline");
        while let Some(None) = self.places.front() {
            self.places.pop_front();
            self.first = self.first.next();
        }
        while self.steps.get(1).map_or(self.places.is_empty(), |next| next.first <= self.first) {
            if self.steps.pop_front().is_none() {
                break;
            }
        }
    }

    /// The position that the next transaction gets.
    fn next(&self) -> Position {
        self.first.plus(self.places.len())
    }

    /// When the first transaction after a position is due; `None` if none comes after it.
    pub(super) fn due_after(&self, position: Option<Position>) -> Option<Time> {
        let from = self.from(position);
        if from >= self.next() {
            return None;
        }
        let later = self.steps.partition_point(|step| step.first <= from);
        Some(self.steps[later - 1].due)
    }

    /// The transactions after a position that are due, in order; without the holes between them.
    pub(super) fn after(
        &self,
        position: Option<Position>,
        now: Time,
    ) -> impl Iterator<Item = (Position, Option<Place>)> + '_ {
        let from = self.from(position);
        let later = self.steps.partition_point(|step| step.due <= now);
        let end = self.steps.get(later).map_or(self.next(), |step| step.first);
        let at = |position: Position| (position.0.get() - self.first.0.get()) as usize;
        let range = at(from).min(at(end.max(self.first)))..at(end.max(self.first));
        range.clone().zip(self.places.range(range)).map(move |(at, place)| (self.first.plus(at), *place))
    }

    fn from(&self, position: Option<Position>) -> Position {
        position.map_or(self.first, |position| position.next().max(self.first))
    }

    /// Positions that are kept, holes included.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::prng::Prng;

    #[test]
    fn agrees_with_a_map_through_random_work() {
        let mut prng = Prng::new(5);
        let mut timeline = Timeline::new();
        let mut model: BTreeMap<Position, (Place, Time)> = BTreeMap::new();
        let mut now = Time(7);
        for step in 0..20_000u32 {
            now = now + Span(prng.below(4_000));
            if prng.below(2) == 0 {
                let position = timeline.push(now, Place(step));
                let due = Time((now + PATIENCE).0.next_multiple_of(GRID.0));
                model.insert(position, (Place(step), due));
            } else if let Some((position, _)) =
                model.iter().nth(prng.below(model.len().max(1) as u64) as usize)
            {
                let position = *position;
                timeline.remove(position);
                model.remove(&position);
            }
            let first = model.first_key_value().map(|(position, _)| *position);
            let some =
                prng.chance(3, 4).then(|| Position::FIRST.plus(prng.below(u64::from(step) + 1) as usize));
            let left = |from: Option<Position>| model.iter().filter(move |(at, _)| Some(**at) > from);
            let due: Vec<_> = left(some)
                .filter(|(_, (_, due))| *due <= now)
                .map(|(at, (place, _))| (*at, *place))
                .collect();
            let found = timeline.after(some, now).filter_map(|(at, place)| Some((at, place?)));
            assert_eq!(found.collect::<Vec<_>>(), due, "step {step}");
            if let Some((_, (_, due))) = left(some).next() {
                // It may name the time of a hole, which comes earlier.
                assert!(timeline.due_after(some).is_some_and(|at| at <= *due), "step {step}");
            }
            assert_eq!(first.is_none(), timeline.len() == 0, "step {step}");
            assert!(timeline.steps.len() <= timeline.len(), "step {step}");
        }
    }
}
