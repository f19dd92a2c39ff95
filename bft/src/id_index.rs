//! An index from 32-byte ids to small handles, made for millions of entries: eight bytes an entry slot, no long stall.
//!
//! The ids themselves stay where their owner keeps them, once; a slot holds 22 bits of the id's hash and a 42-bit
//! handle. Who looks up says by a closure whether a handle is the one it means, which touches the owner's memory only
//! when 22 bits agree. Open addressing, linear probing, at most three quarters full, deletion by shifting back, so
//! there are no tombstones. The home of an entry is the high end of its 22 bits: a table grows without asking for ids.
//!
//! 256 sub-tables by eight further bits of the hash: growing moves one 256th of the entries at a time, so no single
//! insertion takes long (64 µs at four million entries; one table would take 20 ms and more).
//!
//! # Security
//! Clients can grind ids. The hash is keyed by a seed they do not know, so they cannot pile them into one sub-table or
//! one run of slots. The seed may differ from node to node: nothing iterates over the table, so no order depends on it.

use crate::sim::prng::splitmix64;

/// What an index gives for an id: the owner's name for the place where it keeps it. At most 42 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Handle(u64);

impl Handle {
    /// Bits of a handle.
    pub const BITS: u32 = 42;

    /// The handle of a number below 2^42 − 1.
    pub fn new(number: u64) -> Handle {
        assert!(number < HANDLE_MASK, "handle {number} of at most 42 bits");
        Handle(number)
    }

    /// The number.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// The keyed hash of an id; belongs to the index that computed it.
#[derive(Clone, Copy, Debug)]
pub struct Hashed(u64);

impl Hashed {
    fn part(self) -> usize {
        (self.0 >> 56) as usize
    }

    fn tag(self) -> u64 {
        (self.0 >> (56 - TAG_BITS)) & ((1 << TAG_BITS) - 1)
    }
}

const PARTS: usize = 256;
const TAG_BITS: u32 = 64 - Handle::BITS;
const HANDLE_MASK: u64 = (1 << Handle::BITS) - 1;
/// Slots of a sub-table's first allocation: one cache line.
const SLOTS_MIN: usize = 8;

/// The index.
#[derive(Clone, Debug)]
pub struct IdIndex {
    key: (u64, u64),
    parts: Vec<Part>,
    len: usize,
}

impl IdIndex {
    /// An empty index, hashing with the key that `seed` gives.
    pub fn new(seed: u64) -> IdIndex {
        let mut state = seed;
        let key = (splitmix64(&mut state), splitmix64(&mut state));
        IdIndex { key, parts: vec![Part::default(); PARTS], len: 0 }
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The hash of an id: a folded multiplication of its first 16 bytes with the key. Ids that are inserted are
    /// SHA-256 digests, so two of them share 16 bytes only by a collision.
    pub fn hash(&self, id: &[u8; 32]) -> Hashed {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| id[at + i]));
        let product = u128::from(word(0) ^ self.key.0) * u128::from(word(8) ^ self.key.1);
        Hashed((product as u64) ^ ((product >> 64) as u64))
    }

    /// The handle that `matches` recognises among those inserted with this hash.
    pub fn find(&self, hashed: Hashed, matches: impl FnMut(Handle) -> bool) -> Option<Handle> {
        self.parts[hashed.part()].find(hashed.tag(), matches)
    }

    /// Adds an entry. Whoever inserts an id twice finds either.
    pub fn insert(&mut self, hashed: Hashed, handle: Handle) {
        self.parts[hashed.part()].insert(hashed.tag(), handle);
        self.len += 1;
    }

    /// Removes the entry with this hash and handle.
    ///
    /// # Panics
    /// If there is none: owners remove what they have inserted.
    pub fn remove(&mut self, hashed: Hashed, handle: Handle) {
        let removed = self.parts[hashed.part()].remove(hashed.tag(), handle);
        assert!(removed, "only what was inserted is removed");
        self.len -= 1;
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.parts.iter().map(|part| part.slots.capacity() * size_of::<u64>() + size_of::<Part>()).sum()
    }

    /// Reads the slot at which a search for this hash begins. Reading many before searching lets the processor wait
    /// for all those cache lines at once instead of one after another; the result only keeps the reads from being
    /// optimised away.
    #[inline]
    pub fn warm(&self, hashed: Hashed) -> u64 {
        let part = &self.parts[hashed.part()];
        if part.slots.is_empty() { 0 } else { part.slots[part.home(hashed.tag())] }
    }
}

/// One sub-table. A slot is 0 if empty, else the tag above the handle plus one.
#[derive(Clone, Debug, Default)]
struct Part {
    slots: Vec<u64>,
    used: usize,
}

impl Part {
    /// Where a search for this tag begins: its high bits, as many as the table has.
    fn home(&self, tag: u64) -> usize {
        (tag >> (TAG_BITS - self.slots.len().trailing_zeros())) as usize
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }

    fn find(&self, tag: u64, mut matches: impl FnMut(Handle) -> bool) -> Option<Handle> {
        if self.used == 0 {
            return None;
        }
        let mut at = self.home(tag);
        loop {
            match self.slots[at] {
                0 => return None,
                slot => {
                    if slot >> Handle::BITS == tag && matches(unpack(slot)) {
                        return Some(unpack(slot));
                    }
                }
            }
            at = self.after(at);
        }
    }

    fn insert(&mut self, tag: u64, handle: Handle) {
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        self.place((tag << Handle::BITS) | (handle.0 + 1));
        self.used += 1;
    }

    fn place(&mut self, slot: u64) {
        let mut at = self.home(slot >> Handle::BITS);
        while self.slots[at] != 0 {
            at = self.after(at);
        }
        self.slots[at] = slot;
    }

    fn grow(&mut self) {
        let slots = (self.slots.len() * 2).max(SLOTS_MIN);
        // Keyed hashing spreads entries evenly, so a full sub-table means a billion entries: memory ends before.
        assert!(slots <= 1 << TAG_BITS, "a sub-table has at most 2^{TAG_BITS} slots");
        for slot in std::mem::replace(&mut self.slots, vec![0; slots]) {
            if slot != 0 {
                self.place(slot);
            }
        }
    }

    fn remove(&mut self, tag: u64, handle: Handle) -> bool {
        let wanted = (tag << Handle::BITS) | (handle.0 + 1);
        if self.used == 0 {
            return false;
        }
        let mut hole = self.home(tag);
        while self.slots[hole] != wanted {
            if self.slots[hole] == 0 {
                return false;
            }
            hole = self.after(hole);
        }
        // Shift back whatever could stand in the hole: an entry further on whose home is not after the hole.
        let mask = self.slots.len() - 1;
        let mut at = self.after(hole);
        while self.slots[at] != 0 {
            let home = self.home(self.slots[at] >> Handle::BITS);
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.slots[hole] = self.slots[at];
                hole = at;
            }
            at = self.after(at);
        }
        self.slots[hole] = 0;
        self.used -= 1;
        true
    }
}

fn unpack(slot: u64) -> Handle {
    Handle((slot & HANDLE_MASK) - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::sim::prng::Prng;

    #[test]
    fn agrees_with_an_ordered_map_through_random_work() {
        for seed in 0..20 {
            let mut prng = Prng::new(seed);
            let mut index = IdIndex::new(seed);
            let mut ids: Vec<[u8; 32]> = Vec::new();
            let mut model: BTreeMap<[u8; 32], u64> = BTreeMap::new();
            for step in 0..5_000u64 {
                if prng.chance(3, 5) || ids.is_empty() {
                    let id = prng.bytes();
                    index.insert(index.hash(&id), Handle::new(ids.len() as u64));
                    model.insert(id, ids.len() as u64);
                    ids.push(id);
                } else {
                    let id = *prng.pick(&ids).expect("there are ids");
                    if let Some(number) = model.remove(&id) {
                        index.remove(index.hash(&id), Handle::new(number));
                    }
                }
                let id = *prng.pick(&ids).expect("there are ids");
                let found = index.find(index.hash(&id), |handle| ids[handle.number() as usize] == id);
                assert_eq!(found.map(Handle::number), model.get(&id).copied(), "seed {seed} step {step}");
                assert_eq!(index.len(), model.len());
            }
            for (id, number) in &model {
                let found = index.find(index.hash(id), |handle| ids[handle.number() as usize] == *id);
                assert_eq!(found.map(Handle::number), Some(*number), "seed {seed}");
            }
        }
    }

    #[test]
    fn ids_that_share_slots_are_told_apart_by_their_owner() {
        let mut index = IdIndex::new(1);
        let hashed = index.hash(&[7; 32]);
        for number in 0..100 {
            index.insert(hashed, Handle::new(number));
        }
        assert_eq!(index.find(hashed, |handle| handle.number() == 63), Some(Handle::new(63)));
        assert_eq!(index.find(hashed, |_| false), None);
        for number in 0..99 {
            index.remove(hashed, Handle::new(number));
        }
        assert_eq!(index.find(hashed, |_| true), Some(Handle::new(99)));
    }

    #[test]
    #[should_panic(expected = "only what was inserted is removed")]
    fn removing_what_is_not_there_is_a_bug_of_the_owner() {
        let mut index = IdIndex::new(1);
        let hashed = index.hash(&[7; 32]);
        index.insert(hashed, Handle::new(1));
        index.remove(hashed, Handle::new(2));
    }
}
