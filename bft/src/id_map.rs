//! A map from transaction ids to values, as fast as the [`IdIndex`] beneath it: a look-up compares one id, where an
//! ordered tree of a hundred thousand compares some twenty. The choice of its hash depends on the source of its ids:
//! see [`crate::id_index`].
//!
//! Iteration is in no order of the keys: callers that need one sort. The order depends only on the insertions and
//! removals, not on the seed.

use serde::{Deserialize, Serialize};
use wire::ids::TxId;

use crate::id_index::{Handle, Hashed, IdIndex, Steps};
use crate::slab::{Place, Slab};

/// The map. Memory is that of the most entries it ever had.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IdMap<V> {
    origin: Origin,
    index: IdIndex,
    entries: Slab<Option<(TxId, V)>>,
}

/// The source of a map's ids.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Origin {
    /// Honest members have computed them.
    Computed,
    /// Peers name them.
    Claimed,
}

impl<V: Clone> IdMap<V> {
    /// An empty map for ids that honest members have computed. `seed` determines the key of its hash: clients must not
    /// know it.
    pub fn new(seed: u64) -> IdMap<V> {
        IdMap { origin: Origin::Computed, index: IdIndex::new(seed), entries: Slab::default() }
    }

    /// The same for ids that peers may choose.
    pub fn of_claims(seed: u64) -> IdMap<V> {
        IdMap { origin: Origin::Claimed, ..IdMap::new(seed) }
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// See [`IdIndex::steps`].
    pub fn steps(&self) -> Steps {
        self.index.steps()
    }

    /// Whether there is an entry of this id.
    pub fn contains(&self, id: &TxId) -> bool {
        self.find(id).is_some()
    }

    /// The value of an id.
    pub fn get(&self, id: &TxId) -> Option<&V> {
        Some(self.at(self.find(id)?).1)
    }

    /// The value of an id.
    pub fn get_mut(&mut self, id: &TxId) -> Option<&mut V> {
        let place = self.find(id)?;
        Some(self.at_mut(place))
    }

    /// Sets the value of an id; returns the previous one.
    pub fn insert(&mut self, id: TxId, value: V) -> Option<V> {
        let hashed = self.hashed(&id);
        match self.find_hashed(hashed, &id) {
            Some(place) => Some(std::mem::replace(self.at_mut(place), value)),
            None => {
                self.add_hashed(hashed, id, value);
                None
            }
        }
    }

    /// The value of an id, which is `V::default()` if it had none.
    pub fn entry(&mut self, id: TxId) -> &mut V
    where
        V: Default,
    {
        let hashed = self.hashed(&id);
        let place = match self.find_hashed(hashed, &id) {
            Some(place) => place,
            None => self.add_hashed(hashed, id, V::default()),
        };
        self.at_mut(place)
    }

    /// Removes the entry of an id.
    pub fn remove(&mut self, id: &TxId) -> Option<V> {
        if self.is_empty() {
            return None;
        }
        let place = self.find(id)?;
        Some(self.remove_at(place))
    }

    /// Removes the entry at a place; see [`IdMap::at`].
    pub fn remove_at(&mut self, place: Place) -> V {
        let (id, value) = self.entries.get_mut(place).take().expect(LIVE);
        self.entries.free(place);
        self.index.remove(self.hashed(&id), Handle::new(u64::from(place.0)));
        value
    }

    /// The places and what stands at each.
    pub fn entries(&self) -> &Slab<Option<(TxId, V)>> {
        &self.entries
    }

    /// The map of these entries, with the key of this one.
    pub fn with_entries(&self, entries: Slab<Option<(TxId, V)>>) -> IdMap<V> {
        let mut map = IdMap { origin: self.origin, index: self.index.emptied(), entries };
        for (place, entry) in (0u64..).zip(map.entries.values()) {
            if let Some((id, _)) = entry {
                map.index.insert(map.hashed(id), Handle::new(place));
            }
        }
        map
    }

    /// All entries, in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = (&TxId, &V)> {
        self.entries.values().flatten().map(|(id, value)| (id, value))
    }

    /// Adds an id that is not in the map; returns its place.
    pub fn add(&mut self, id: TxId, value: V) -> Place {
        self.add_hashed(self.hashed(&id), id, value)
    }

    /// The entry at a place.
    ///
    /// # Panics
    /// If the place is vacant.
    pub fn at(&self, place: Place) -> (&TxId, &V) {
        let (id, value) = self.entries.get(place).as_ref().expect(LIVE);
        (id, value)
    }

    /// The value at a place; see [`IdMap::at`].
    pub fn at_mut(&mut self, place: Place) -> &mut V {
        &mut self.entries.get_mut(place).as_mut().expect(LIVE).1
    }

    /// Makes the processor fetch the cache lines that a search for these ids will read. Changes nothing.
    pub fn warm<'a>(&self, ids: impl Iterator<Item = &'a TxId>) {
        let sink = ids.fold(0, |sink, id| sink ^ self.index.warm(self.hashed(id)));
        std::hint::black_box(sink);
    }

    /// The place of an id. It does not change until the id is removed.
    pub fn find(&self, id: &TxId) -> Option<Place> {
        // Saves the hash: with one shard these maps stay empty, and each transaction is looked up in them.
        if self.is_empty() {
            return None;
        }
        self.find_hashed(self.hashed(id), id)
    }

    fn hashed(&self, id: &TxId) -> Hashed {
        match self.origin {
            Origin::Computed => self.index.hash_digest(&id.0),
            Origin::Claimed => self.index.hash(&id.0),
        }
    }

    fn find_hashed(&self, hashed: Hashed, id: &TxId) -> Option<Place> {
        let is_it = |handle| matches!(self.entries.get(place_of(handle)), Some((found, _)) if found == id);
        self.index.find(hashed, is_it).map(place_of)
    }

    /// Adds an entry for an id that has none.
    fn add_hashed(&mut self, hashed: Hashed, id: TxId, value: V) -> Place {
        let place = self.entries.insert(Some((id, value)));
        self.index.insert(hashed, Handle::new(u64::from(place.0)));
        place
    }
}

/// Why the place of an indexed id is not vacant.
const LIVE: &str = "a place is freed when its id leaves the index";

fn place_of(handle: Handle) -> Place {
    Place(u32::try_from(handle.number()).expect("handles are made of places"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::prng::Prng;

    #[test]
    fn agrees_with_an_ordered_map_through_random_work() {
        for seed in 0..10 {
            let mut prng = Prng::new(seed);
            let (mut map, mut model) = (IdMap::new(seed), BTreeMap::new());
            for step in 0..5_000u64 {
                // Few ids, so that they come again.
                let mut id = TxId([0; 32]);
                id.0[..8].copy_from_slice(&(prng.below(200)).to_le_bytes());
                match prng.below(4) {
                    0 => assert_eq!(map.remove(&id), model.remove(&id), "seed {seed} step {step}"),
                    1 => {
                        *map.entry(id) += step;
                        *model.entry(id).or_default() += step;
                    }
                    2 => assert_eq!(map.insert(id, step), model.insert(id, step), "seed {seed} step {step}"),
                    _ => assert_eq!(map.get(&id), model.get(&id), "seed {seed} step {step}"),
                }
                assert_eq!((map.len(), map.contains(&id)), (model.len(), model.contains_key(&id)));
            }
            let mut all: Vec<(TxId, u64)> = map.iter().map(|(id, value)| (*id, *value)).collect();
            all.sort_unstable();
            assert!(all.into_iter().eq(model), "seed {seed}");
        }
    }
}
