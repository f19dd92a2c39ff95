//! When to try things again: a due time for each, the waits between tries doubling to a maximum.
//!
//! Each operation costs the logarithm of what waits, and none walks over it: a node with a long backlog looks up its
//! next due time as fast as one with none. [`Retries::retry_now`] makes everything due by setting the whole queue
//! aside, not by giving each key a new time.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::{Span, Time};

/// Keys that are to be tried again. Bound: that of what its owner waits for.
#[derive(Clone, Debug)]
pub struct Retries<K> {
    longest: Span,
    known: BTreeMap<K, Retry>,
    queue: BTreeSet<(Time, K)>,
    /// The queue as it was when everything became due, and that time.
    overdue: BTreeSet<(Time, K)>,
    overdue_since: Time,
}

#[derive(Clone, Copy, Debug)]
struct Retry {
    due: Time,
    /// The wait after a retry of everything.
    first: Span,
    /// The wait after the next try.
    next: Span,
}

impl<K: Copy + Ord> Retries<K> {
    /// Nothing waits; waits double to `longest`.
    pub fn new(longest: Span) -> Retries<K> {
        Retries {
            longest,
            known: BTreeMap::new(),
            queue: BTreeSet::new(),
            overdue: BTreeSet::new(),
            overdue_since: Time(0),
        }
    }

    /// Starts afresh with this key: it is due at `due`, and again `wait` after it was tried.
    ///
    /// # Panics
    /// If the wait is zero: [`Retries::next`] would return the key for ever.
    pub fn start(&mut self, key: K, due: Time, wait: Span) {
        assert!(wait > Span(0), "time passes between two tries");
        self.stop(&key);
        self.known.insert(key, Retry { due, first: wait, next: wait });
        self.queue.insert((due, key));
    }

    /// Forgets this key; returns whether it was there.
    pub fn stop(&mut self, key: &K) -> bool {
        let Some(retry) = self.known.remove(key) else { return false };
        let place = (retry.due, *key);
        let waited = self.queue.remove(&place) || self.overdue.remove(&place);
        assert!(waited, "a known key waits in one of the queues");
        true
    }

    /// A key that is due; its next try comes after its wait, which doubles. Call until there is none.
    pub fn next(&mut self, now: Time) -> Option<K> {
        let is_overdue = !self.overdue.is_empty();
        let queue = if is_overdue { &mut self.overdue } else { &mut self.queue };
        let (due, key) = queue.first().copied().filter(|(due, _)| is_overdue || *due <= now)?;
        queue.remove(&(due, key));
        let retry = self.known.get_mut(&key).expect("only known keys wait in a queue");
        let wait = if is_overdue { retry.first } else { retry.next };
        retry.due = now + wait;
        // A first wait may be longer than the longest: then it stays.
        retry.next = wait.doubled(self.longest.max(wait));
        self.queue.insert((retry.due, key));
        Some(key)
    }

    /// Tries and their answers may have been lost: everything is due at once and starts over.
    pub fn retry_now(&mut self, now: Time) {
        if self.overdue.is_empty() {
            std::mem::swap(&mut self.queue, &mut self.overdue);
            self.overdue_since = now;
        } else {
            self.overdue.append(&mut self.queue);
        }
    }

    /// When [`Retries::next`] has a key; `None` while nothing waits.
    pub fn due(&self) -> Option<Time> {
        if self.overdue.is_empty() {
            self.queue.first().map(|(due, _)| *due)
        } else {
            Some(self.overdue_since)
        }
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
        self.overdue.clear();
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
