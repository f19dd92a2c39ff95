//! An index from 32-byte ids to small handles, made for millions of entries: eight bytes an entry slot, no long stall.
//!
//! The ids themselves stay with their owner, stored once; a slot holds 22 bits of the id's hash and a 42-bit handle.
//! The caller of a look-up passes a closure that decides whether a handle is the right one, so the owner's memory is
//! read only when 22 bits agree. Open addressing, linear probing, at most three quarters full, deletion by shifting
//! back, so there are no tombstones. The home of an entry is the high end of its 22 bits: a table grows without reading
//! ids.
//!
//! 256 sub-tables by eight further bits of the hash: growing moves one 256th of the entries at a time, so no single
//! insertion takes long (64 µs at four million entries; one table would take 20 ms and more).
//!
//! # Security
//! An adversary can slow a table down only by inserting many ids that hash to neighbouring slots. There are two hashes,
//! both keyed by a seed that the node draws from its operating system and never discloses. An owner uses one of them
//! throughout; the choice depends on who can choose the ids that it inserts:
//!
//! - coins, the history, open records, the pool, ends, records of pending transactions: no peer. Each id is a SHA-256
//!   digest that this node computed itself; clients can only grind. [`IdIndex::hash_digest`], as [`IdMap::new`] does.
//! - the transactions that CL_M and CL name (`pending::opinions`): any Byzantine peer, all 32 bytes. [`IdIndex::hash`],
//!   as [`IdMap::of_claims`] does.
//!
//! [`IdIndex::hash`] is SipHash-1-3 (Aumasson, Bernstein 2012) of all 32 bytes, the pseudo-random function behind the
//! hash tables of Rust's standard library. Without the key its values are as good as independent random ones, so ids
//! that an adversary chooses spread over the slots like any others. The key stays secret: no hash is ever sent, and
//! nothing iterates over a table in the order of hashes. [`IdIndex::hash_digest`] folds one multiplication of the first
//! 16 bytes with the key. It is cheaper, and good enough for digests: a search for two that share 16 bytes takes 2^64
//! trials. A look-up of a chosen id is harmless with either hash: it walks one run of entries that others inserted.
//!
//! The seed may differ from node to node, since no order depends on it.
//!
//! [`IdMap::new`]: crate::id_map::IdMap::new
//! [`IdMap::of_claims`]: crate::id_map::IdMap::of_claims

use crate::mutant::{Mutant, in_force};
use crate::prng::splitmix64;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Ids looked up together, so that the processor waits for their cache lines at once: see [`IdIndex::warm`]. Sixteen
/// transactions have some fifty lines under way, more than it can track; larger groups gain nothing.
pub const GROUP: usize = 16;

/// The value of an id in an index: the owner's name for the location of the id. At most 42 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IdIndex {
    key: (u64, u64),
    parts: Vec<Part>,
    len: usize,
}

impl IdIndex {
    /// An empty index; `seed` determines its key.
    pub fn new(seed: u64) -> IdIndex {
        let mut state = seed;
        let key = (splitmix64(&mut state), splitmix64(&mut state));
        IdIndex { key, parts: vec![Part::default(); PARTS], len: 0 }
    }

    /// An empty index with the key of this one.
    pub fn emptied(&self) -> IdIndex {
        IdIndex { key: self.key, parts: vec![Part::default(); PARTS], len: 0 }
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The hash of an id that a peer may have chosen: SipHash-1-3 of its four words. The final block with the length is
    /// left out, since all ids have the same length.
    pub fn hash(&self, id: &[u8; 32]) -> Hashed {
        if !in_force(Mutant::HashWholeId) {
            return self.hash_digest(id);
        }
        let mut state = Sip::new(self.key);
        for at in [0, 8, 16, 24] {
            state.absorb(word(id, at));
        }
        Hashed(state.finish())
    }

    /// The hash of a digest that this node has computed: a folded multiplication of its first 16 bytes with the key.
    pub fn hash_digest(&self, digest: &[u8; 32]) -> Hashed {
        let product = u128::from(word(digest, 0) ^ self.key.0) * u128::from(word(digest, 8) ^ self.key.1);
        Hashed((product as u64) ^ ((product >> 64) as u64))
    }

    /// The handle that `matches` recognises among those inserted with this hash.
    pub fn find(&self, hashed: Hashed, matches: impl FnMut(Handle) -> bool) -> Option<Handle> {
        self.parts[hashed.part()].find(hashed.tag(), matches)
    }

    /// Adds an entry. An id must not be inserted twice: a look-up would find either.
    pub fn insert(&mut self, hashed: Hashed, handle: Handle) {
        self.parts[hashed.part()].insert(hashed.tag(), handle);
        self.len += 1;
    }

    /// Removes the entry with this hash and handle.
    ///
    /// # Panics
    /// If there is none: owners remove only ids that they have inserted.
    pub fn remove(&mut self, hashed: Hashed, handle: Handle) {
        let removed = self.parts[hashed.part()].remove(hashed.tag(), handle);
        assert!(removed, "only an inserted entry is removed");
        self.len -= 1;
    }

    /// The slots that must be read to find each entry once. For checkers: it reads the whole table.
    pub fn steps(&self) -> Steps {
        self.parts.iter().flat_map(Part::steps).fold(Steps::default(), Steps::and)
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.parts.iter().map(|part| part.slots.len() * size_of::<u64>() + size_of::<Part>()).sum()
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

/// The cost of searches, in slots read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Steps {
    /// The cost to find each entry once.
    pub total: u64,
    /// The highest cost to find an entry.
    pub longest: u64,
}

impl Steps {
    /// The cost over two tables.
    #[must_use]
    pub fn and(self, other: Steps) -> Steps {
        Steps { total: self.total + other.total, longest: self.longest.max(other.longest) }
    }
}

/// The state of SipHash, keyed.
struct Sip([u64; 4]);

impl Sip {
    fn new((k0, k1): (u64, u64)) -> Sip {
        Sip([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ])
    }

    fn absorb(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.0[0] ^= word;
    }

    fn finish(mut self) -> u64 {
        self.0[2] ^= 0xff;
        (0..3).for_each(|_| self.round());
        self.0.into_iter().fold(0, |hash, word| hash ^ word)
    }

    fn round(&mut self) {
        let [mut v0, mut v1, mut v2, mut v3] = self.0;
        v0 = v0.wrapping_add(v1);
        v1 = v1.rotate_left(13) ^ v0;
        v0 = v0.rotate_left(32);
        v2 = v2.wrapping_add(v3);
        v3 = v3.rotate_left(16) ^ v2;
        v0 = v0.wrapping_add(v3);
        v3 = v3.rotate_left(21) ^ v0;
        v2 = v2.wrapping_add(v1);
        v1 = v1.rotate_left(17) ^ v2;
        v2 = v2.rotate_left(32);
        self.0 = [v0, v1, v2, v3];
    }
}

fn word(id: &[u8; 32], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| id[at + i]))
}

/// One sub-table. A slot is 0 if empty, else the tag above the handle plus one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Part {
    /// Shared with clones until one of them changes it.
    slots: Arc<[u64]>,
    used: usize,
}

impl Part {
    /// The slot where a search for this tag begins: its high bits, as many as the table has.
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
        Arc::make_mut(&mut self.slots)[at] = slot;
    }

    fn grow(&mut self) {
        let slots = (self.slots.len() * 2).max(SLOTS_MIN);
        // Keyed hashing spreads entries evenly, so a full sub-table means a billion entries: memory ends before.
        assert!(slots <= 1 << TAG_BITS, "a sub-table has at most 2^{TAG_BITS} slots");
        let before = std::mem::replace(&mut self.slots, vec![0; slots].into());
        before.iter().filter(|slot| **slot != 0).for_each(|slot| self.place(*slot));
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
        // Shift back the next entry that may stand in the hole: one whose home is not after the hole.
        let mask = self.slots.len() - 1;
        let mut at = self.after(hole);
        while self.slots[at] != 0 {
            let home = self.home(self.slots[at] >> Handle::BITS);
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                Arc::make_mut(&mut self.slots)[hole] = self.slots[at];
                hole = at;
            }
            at = self.after(at);
        }
        Arc::make_mut(&mut self.slots)[hole] = 0;
        self.used -= 1;
        true
    }

    /// The cost of each entry.
    fn steps(&self) -> impl Iterator<Item = Steps> {
        let mask = self.slots.len().wrapping_sub(1);
        let entries = self.slots.iter().enumerate().filter(|(_, slot)| **slot != 0);
        entries.map(move |(at, slot)| {
            let steps = (at.wrapping_sub(self.home(slot >> Handle::BITS)) & mask) as u64 + 1;
            Steps { total: steps, longest: steps }
        })
    }
}

fn unpack(slot: u64) -> Handle {
    Handle((slot & HANDLE_MASK) - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::prng::Prng;

    /// More slots than any search reads unless ids were chosen to collide: the longest search among 10^5 random ids
    /// reads about a hundred.
    const STEPS_MAX: u64 = 300;

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
    fn the_hash_is_siphash_1_3() {
        // The reference values (test vectors of Rust's SipHash, its `DefaultHasher`) absorb the length, too.
        let with_length = |key, words: &[u64]| {
            let mut state = Sip::new(key);
            words.iter().for_each(|word| state.absorb(*word));
            state.absorb((words.len() as u64 * 8) << 56);
            state.finish()
        };
        assert_eq!(with_length((0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908), &[]), 0xabac_0158_050f_c4dc);
        let id: [u8; 32] = std::array::from_fn(|i| i as u8);
        let words = [0, 8, 16, 24].map(|at| word(&id, at));
        assert_eq!(with_length((0, 0), &words), 0x31ef_8061_c910_629b);
    }

    #[test]
    fn chosen_ids_cost_no_more_steps_than_random_ones() {
        for count in [10_000u64, 100_000] {
            let mut prng = Prng::new(count);
            let random = steps_of((0..count).map(|_| prng.bytes()));
            let average = random.total as f64 / count as f64;
            assert!(average < 3.0 && random.longest < STEPS_MAX, "{count} random ids: {random:?}");
            let base: [u8; 32] = prng.bytes();
            // The ids differ in the free bytes and share the rest.
            for free in [16..32, 0..16, 24..32, 0..8] {
                for spread in [1, 0x9E37_79B9_7F4A_7C15, 1 << 40] {
                    let chosen =
                        steps_of((0..count).map(|number: u64| {
                            share_all_but(base, free.clone(), number.wrapping_mul(spread))
                        }));
                    assert!(
                        chosen.total * 10 < random.total * 11 && chosen.longest < STEPS_MAX,
                        "{count} ids that differ in bytes {free:?} by {spread:#x}: {chosen:?}, random {random:?}"
                    );
                }
            }
            // The first and last eight bytes free, the middle shared.
            let middle = steps_of((0..count).map(|number| {
                share_all_but(share_all_but(base, 0..8, number % 1_000), 24..32, number / 1_000)
            }));
            assert!(middle.total * 10 < random.total * 11 && middle.longest < STEPS_MAX, "{middle:?}");
        }
    }

    /// The cost of an index that holds these ids.
    fn steps_of(ids: impl Iterator<Item = [u8; 32]>) -> Steps {
        let mut index = IdIndex::new(5);
        for (number, id) in (0..).zip(ids) {
            index.insert(index.hash(&id), Handle::new(number));
        }
        index.steps()
    }

    /// `base` with `number` in the first eight bytes of the range `free`.
    fn share_all_but(base: [u8; 32], free: std::ops::Range<usize>, number: u64) -> [u8; 32] {
        let mut id = base;
        id[free.start..free.start + 8].copy_from_slice(&number.to_le_bytes());
        id
    }

    #[test]
    fn the_owner_distinguishes_ids_that_share_a_slot() {
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
    #[should_panic(expected = "only an inserted entry is removed")]
    fn removing_an_unknown_id_panics() {
        let mut index = IdIndex::new(1);
        let hashed = index.hash(&[7; 32]);
        index.insert(hashed, Handle::new(1));
        index.remove(hashed, Handle::new(2));
    }
}
