//! Queues through the records themselves: each record names its neighbours, so a record joins a queue at its end and
//! leaves it from anywhere at the cost of two neighbours and one look at the ends. Bound of those: 2 N + 2 lines, an
//! expiry for each round within reach (10,000), some hundred turns to ask again.
//!
//! An ordered index over all pending transactions in their place would cost insertions and removals in a tree of some
//! hundred thousand entries for each transaction.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::id_map::IdMap;
use crate::pending::list::Record;
use crate::slab::Place;
use serde::{Deserialize, Serialize};

/// The neighbours of a record in a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Neighbours {
    before: Option<Place>,
    after: Option<Place>,
}

/// The kind of a queue. A record is in at most one queue of each kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Kind {
    /// The line in which it waits.
    Line,
    /// The transactions with the same expiry.
    Expiry,
    /// Those that other shards are asked for next at the same time.
    Asking,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Ends {
    first: Place,
    last: Place,
}

/// The queues of one kind, by key; empty ones are not kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "K: Ord + Deserialize<'de>"))]
pub(super) struct Queues<K> {
    kind: Kind,
    ends: BTreeMap<K, Ends>,
}

impl<K: Copy + Ord> Queues<K> {
    pub(super) fn new(kind: Kind) -> Queues<K> {
        Queues { kind, ends: BTreeMap::new() }
    }

    /// The first queue with a key of at least `from`, and its first record.
    pub(super) fn first_from(&self, from: K) -> Option<(K, Place)> {
        self.ends.range(from..).next().map(|(key, ends)| (*key, ends.first))
    }

    /// The first queue.
    pub(super) fn first(&self) -> Option<(K, Place)> {
        self.ends.first_key_value().map(|(key, ends)| (*key, ends.first))
    }

    /// The records of a queue, from the first on.
    pub(super) fn of<'a>(&self, records: &'a IdMap<Record>, key: K) -> impl Iterator<Item = Place> + 'a {
        let kind = self.kind;
        let first = self.ends.get(&key).map(|ends| ends.first);
        std::iter::successors(first, move |place| records.at(*place).1.neighbours(kind).after)
    }

    /// Puts a record at the end of a queue. It stands in none of this kind.
    pub(super) fn push(&mut self, records: &mut IdMap<Record>, key: K, place: Place) {
        match self.ends.entry(key) {
            Entry::Vacant(vacant) => _ = vacant.insert(Ends { first: place, last: place }),
            Entry::Occupied(mut occupied) => {
                let last = std::mem::replace(&mut occupied.get_mut().last, place);
                records.at_mut(last).neighbours_mut(self.kind).after = Some(place);
                records.at_mut(place).neighbours_mut(self.kind).before = Some(last);
            }
        }
    }

    /// Takes a record out of its queue.
    ///
    /// # Panics
    /// If it does not stand in this one.
    pub(super) fn take_out(&mut self, records: &mut IdMap<Record>, key: K, place: Place) {
        let kind = self.kind;
        let Neighbours { before, after } = std::mem::take(records.at_mut(place).neighbours_mut(kind));
        if let Some(before) = before {
            records.at_mut(before).neighbours_mut(kind).after = after;
        }
        if let Some(after) = after {
            records.at_mut(after).neighbours_mut(kind).before = before;
        }
        if before.is_some() && after.is_some() {
            return;
        }
        let Entry::Occupied(mut ends) = self.ends.entry(key) else { panic!("the record stands in a queue") };
        let Ends { first, last } = *ends.get();
        let is_end = (before.is_some() || first == place) && (after.is_some() || last == place);
        assert!(is_end, "a record without a neighbour is an end of its queue");
        match (before, after) {
            (None, Some(after)) => ends.get_mut().first = after,
            (Some(before), None) => ends.get_mut().last = before,
            (None, None) => _ = ends.remove(),
            (Some(_), Some(_)) => unreachable!("that one is no end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::ids::TxId;

    use super::*;
    use crate::prng::Prng;

    #[test]
    fn agree_with_lists_through_random_work() {
        let mut prng = Prng::new(3);
        let mut records = IdMap::new(3);
        let mut queues = Queues::new(Kind::Line);
        let mut model: BTreeMap<u64, Vec<Place>> = BTreeMap::new();
        for step in 0..20_000u64 {
            let key = prng.below(4);
            let list = model.entry(key).or_default();
            if prng.below(5) < 3 && list.len() < 30 {
                let mut id = TxId([0; 32]);
                id.0[..8].copy_from_slice(&step.to_le_bytes());
                let place = records.add(id, Record::of_pool());
                queues.push(&mut records, key, place);
                list.push(place);
            } else if !list.is_empty() {
                let place = list.remove(prng.below(list.len() as u64) as usize);
                queues.take_out(&mut records, key, place);
                // Its place is reused.
                let left = records.remove_at(place);
                assert_eq!(*left.neighbours(Kind::Line), Neighbours::default());
            }
            model.retain(|_, list| !list.is_empty());
            let from = prng.below(4);
            let first = |from| model.range(from..).next().map(|(key, list)| (*key, list[0]));
            assert_eq!((queues.first(), queues.first_from(from)), (first(0), first(from)), "step {step}");
            let of: Vec<Place> = queues.of(&records, key).collect();
            assert_eq!(Some(&of).filter(|of| !of.is_empty()), model.get(&key), "step {step}");
        }
    }
}
