//! When to try things again: a due time for each, the waits between tries doubling to a maximum.
//!
//! Each operation costs the logarithm of what waits, and none walks over it: a node with a long backlog looks up its
//! next due time as fast as one with none. [`Retries::retry_now`] makes everything due by beginning a new epoch, not
//! by giving each key a new time: turns of earlier epochs come first, whatever their time.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};

/// The position of a retry in the order of tries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Turn {
    epoch: u64,
    due: Time,
}

/// One thing that is to be tried again.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Retry {
    turn: Turn,
    /// The wait after [`Schedule::retry_now`].
    first: Span,
    /// The wait after the next try.
    next: Span,
}

/// The longest wait and the epoch, which all retries of an owner share.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Schedule {
    longest: Span,
    epoch: u64,
    since: Time,
}

impl Schedule {
    /// Waits double to `longest`.
    pub const fn new(longest: Span) -> Schedule {
        Schedule { longest, epoch: 0, since: Time(0) }
    }

    /// Everything that waits is due at once and starts over.
    pub fn retry_now(&mut self, now: Time) {
        self.epoch += 1;
        self.since = now;
    }

    /// When a turn is due.
    pub fn due(&self, turn: Turn) -> Time {
        if self.is_overdue(turn) { self.since } else { turn.due }
    }

    fn is_overdue(&self, turn: Turn) -> bool {
        turn.epoch < self.epoch
    }

    fn turn(&self, due: Time) -> Turn {
        Turn { epoch: self.epoch, due }
    }
}

impl Retry {
    /// A first try at `due`, another one `wait` after that.
    ///
    /// # Panics
    /// If the wait is zero: it would be due again at once.
    pub fn new(schedule: &Schedule, due: Time, wait: Span) -> Retry {
        assert!(wait > Span(0), "time passes between two tries");
        Retry { turn: schedule.turn(due), first: wait, next: wait }
    }

    /// When the next try is due.
    pub fn turn(&self) -> Turn {
        self.turn
    }

    /// It is tried now: the next turn comes after its wait, which doubles.
    pub fn tried(&mut self, schedule: &Schedule, now: Time) {
        let wait = if schedule.is_overdue(self.turn) { self.first } else { self.next };
        self.turn = schedule.turn(now + wait);
        // A first wait may be longer than the longest: then it stays.
        self.next = wait.doubled(schedule.longest.max(wait));
    }
}

/// Keys that are to be tried again. Bound: that of what its owner waits for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "K: Ord + Deserialize<'de>"))]
pub struct Retries<K> {
    schedule: Schedule,
    known: BTreeMap<K, Retry>,
    queue: BTreeSet<(Turn, K)>,
}

impl<K: Copy + Ord> Retries<K> {
    /// Nothing waits; waits double to `longest`.
    pub fn new(longest: Span) -> Retries<K> {
        Retries { schedule: Schedule::new(longest), known: BTreeMap::new(), queue: BTreeSet::new() }
    }

    /// Starts afresh with this key: it is due at `due`, and again `wait` after it was tried.
    ///
    /// # Panics
    /// If the wait is zero: [`Retries::next`] would return the key for ever.
    pub fn start(&mut self, key: K, due: Time, wait: Span) {
        self.stop(&key);
        let retry = Retry::new(&self.schedule, due, wait);
        self.known.insert(key, retry);
        self.queue.insert((retry.turn, key));
    }

    /// Forgets this key; returns whether it was there.
    pub fn stop(&mut self, key: &K) -> bool {
        let Some(retry) = self.known.remove(key) else { return false };
        let waited = self.queue.remove(&(retry.turn, *key));
        assert!(waited, "a known key has its turn in the queue");
        true
    }

    /// A key that is due; its next try comes after its wait, which doubles. Call until there is none.
    pub fn next(&mut self, now: Time) -> Option<K> {
        let (turn, key) = self.queue.first().copied().filter(|(turn, _)| self.schedule.due(*turn) <= now)?;
        self.queue.remove(&(turn, key));
        let retry = self.known.get_mut(&key).expect("only known keys have a turn");
        retry.tried(&self.schedule, now);
        self.queue.insert((retry.turn, key));
        Some(key)
    }

    /// Tries and their answers may have been lost: everything is due at once and starts over.
    pub fn retry_now(&mut self, now: Time) {
        self.schedule.retry_now(now);
    }

    /// When [`Retries::next`] has a key; `None` while nothing waits.
    pub fn due(&self) -> Option<Time> {
        self.queue.first().map(|(turn, _)| self.schedule.due(*turn))
    }

    /// Whether this key waits.
    pub fn contains(&self, key: &K) -> bool {
        self.known.contains_key(key)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.known.clear();
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time(0) + Span::from_ms(ms)
    }

    fn retries() -> Retries<u8> {
        Retries::new(Span::from_ms(800))
    }

    /// The times in milliseconds, up to `until`, at which keys were tried.
    fn tries(retries: &mut Retries<u8>, until: Time) -> Vec<(u64, u8)> {
        let mut tries = Vec::new();
        while let Some(due) = retries.due().filter(|due| *due <= until) {
            while let Some(key) = retries.next(due) {
                tries.push((due.0 / 1_000, key));
            }
        }
        tries
    }

    #[test]
    fn waits_double_to_the_longest_for_each_key_alone() {
        let mut retries = retries();
        retries.start(1, at(0), Span::from_ms(200));
        retries.start(2, at(100), Span::from_ms(800));
        let expected = [(0, 1), (100, 2), (200, 1), (600, 1), (900, 2), (1_400, 1), (1_700, 2), (2_200, 1)];
        assert_eq!(tries(&mut retries, at(2_400)), expected);
        assert!(retries.stop(&2) && !retries.stop(&2));
        assert_eq!(tries(&mut retries, at(4_000)), [(3_000, 1), (3_800, 1)]);
        retries.start(1, at(5_000), Span::from_ms(2_000));
        assert_eq!(tries(&mut retries, at(9_500)), [(5_000, 1), (7_000, 1), (9_000, 1)], "stays that long");
    }

    #[test]
    fn all_are_due_at_once_and_start_over() {
        let mut retries = retries();
        retries.start(1, at(0), Span::from_ms(200));
        assert_eq!(tries(&mut retries, at(1_000)).len(), 3, "the next wait is 800 ms");
        retries.start(2, at(5_000), Span::from_ms(100));
        retries.start(3, at(5_000), Span::from_ms(100));
        retries.retry_now(at(1_000));
        assert_eq!(retries.due(), Some(at(1_000)));
        assert!(retries.stop(&3), "what is overdue can be stopped");
        assert_eq!(tries(&mut retries, at(1_250)), [(1_000, 1), (1_000, 2), (1_100, 2), (1_200, 1)]);
        // A second time before the first was worked off.
        retries.retry_now(at(1_250));
        retries.start(4, at(9_000), Span::from_ms(100));
        retries.retry_now(at(1_260));
        assert_eq!(tries(&mut retries, at(1_300)).iter().map(|(_, key)| *key).collect::<Vec<_>>(), [2, 1, 4]);
        retries.clear();
        assert!(retries.is_empty() && retries.due().is_none() && !retries.contains(&1));
    }
}
