//! Sums of a whole ledger, by which ledgers are compared without sending them.
//!
//! A ledger is a set of items in a few sections; an item belongs to one of 256 buckets of its section, by the first
//! byte of its id. The sum of a bucket is the sum of the digests of its items, so it depends on no order: a node adds
//! it up without sorting or copying anything. Two ledgers whose sums are equal are equal; where they are not, the first
//! bucket that differs is small enough to be listed.
//!
//! # Security
//! Whoever chooses many items freely could make two sets with one sum, so no rule of the protocol depends on it. It
//! finds what programs and disks do by mistake.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ids::{Digest, Round};

/// Buckets of a section.
pub const BUCKETS: usize = 256;

/// A part of a ledger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Section {
    /// Unspent coins.
    Coins,
    /// Spent coins that are remembered, with their spenders.
    Spent,
    /// Transactions whose settlement is remembered.
    Settled,
    /// Open records.
    Open,
    /// The pool.
    Pool,
    /// Parts of other shards that wait for those before them.
    Early,
    /// The exchange with each shard.
    Exchanged,
    /// Cross-shard transactions that finished here, and what they are remembered for.
    Ends,
}

impl Section {
    /// All of them, in the order in which they are encoded and printed.
    pub const ALL: [Section; 8] = [
        Section::Coins,
        Section::Spent,
        Section::Settled,
        Section::Open,
        Section::Pool,
        Section::Early,
        Section::Exchanged,
        Section::Ends,
    ];

    /// Its place among them.
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Section::Coins => "unspent coins",
            Section::Spent => "spent coins",
            Section::Settled => "settled transactions",
            Section::Open => "open records",
            Section::Pool => "pool",
            Section::Early => "early parts",
            Section::Exchanged => "exchanges",
            Section::Ends => "finished across shards",
        })
    }
}

/// A question about a node's ledger. Its processes answer without the core, from a copy of the ledger that a thread
/// works on, so the client repeats it until there is an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Question {
    /// The sums.
    Sums,
    /// The items of a bucket, ascending; at most `limits::AUDIT_ITEMS_MAX`.
    Items {
        /// Of this section.
        section: Section,
        /// The bucket.
        bucket: u8,
    },
}

/// The sum of digests: 32 bytes as two numbers, each modulo 2^128.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Sum([u128; 2]);

impl Sum {
    /// Adds a digest.
    pub fn add(&mut self, digest: &Digest) {
        let (low, high) = digest.0.split_at(16);
        for (sum, half) in self.0.iter_mut().zip([low, high]) {
            let half: [u8; 16] = half.try_into().expect("a digest has two halves of 16 bytes");
            *sum = sum.wrapping_add(u128::from_le_bytes(half));
        }
    }
}

/// The sums of a section.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SectionSums {
    /// Its items.
    pub items: u64,
    buckets: Vec<Sum>,
}

impl Default for SectionSums {
    fn default() -> SectionSums {
        SectionSums { items: 0, buckets: vec![Sum::default(); BUCKETS] }
    }
}

impl SectionSums {
    /// Adds the digest of an item.
    pub fn add(&mut self, bucket: u8, item: &Digest) {
        self.items += 1;
        self.buckets[usize::from(bucket)].add(item);
    }

    /// One digest for all of them.
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        hash.update(b"SECT");
        hash.update(self.items.to_le_bytes());
        for Sum([low, high]) in &self.buckets {
            hash.update(low.to_le_bytes());
            hash.update(high.to_le_bytes());
        }
        Digest(hash.finalize().into())
    }

    fn first_difference(&self, other: &SectionSums) -> Option<u8> {
        let at = self.buckets.iter().zip(&other.buckets).position(|(here, there)| here != there);
        at.map(|bucket| bucket as u8)
    }
}

/// The sums of a ledger.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sums {
    /// The last round that it has executed.
    pub height: Round,
    sections: Vec<SectionSums>,
}

impl Sums {
    /// Those of an empty ledger.
    pub fn new(height: Round) -> Sums {
        Sums { height, sections: vec![SectionSums::default(); Section::ALL.len()] }
    }

    /// Those of a section.
    pub fn of(&self, section: Section) -> &SectionSums {
        &self.sections[section.index()]
    }

    /// The same, to add to.
    pub fn of_mut(&mut self, section: Section) -> &mut SectionSums {
        &mut self.sections[section.index()]
    }

    /// Whether there is a sum for each bucket of each section; a peer's bytes may have others.
    pub fn are_whole(&self) -> bool {
        self.sections.len() == Section::ALL.len()
            && self.sections.iter().all(|section| section.buckets.len() == BUCKETS)
    }

    /// The sections in which another ledger of the same height differs, each with the first bucket that does.
    pub fn differences(&self, other: &Sums) -> Vec<(Section, u8)> {
        let first = |section| Some((section, self.of(section).first_difference(other.of(section))?));
        Section::ALL.into_iter().filter_map(first).collect()
    }

    /// One digest for the whole ledger.
    pub fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        hash.update(b"SUMS");
        hash.update(self.height.0.to_le_bytes());
        self.sections.iter().for_each(|section| hash.update(section.digest().0));
        Digest(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(items: &[(Section, u8, u8)]) -> Sums {
        let mut sums = Sums::new(Round(7));
        for (section, bucket, byte) in items {
            sums.of_mut(*section).add(*bucket, &Digest([*byte; 32]));
        }
        sums
    }

    #[test]
    fn order_does_not_count_and_each_item_does() {
        let items = [(Section::Coins, 3, 1), (Section::Coins, 3, 0xFF), (Section::Pool, 0, 1)];
        let [first, second, third] = items;
        let whole = sums(&items);
        assert!(whole.are_whole());
        assert_eq!(whole.digest(), sums(&[third, second, first]).digest());
        assert_eq!(whole.differences(&sums(&[first, second])), [(Section::Pool, 0)]);
        let moved = sums(&[first, (Section::Coins, 2, 0xFF), third]);
        assert_eq!(whole.differences(&moved), [(Section::Coins, 2)], "the first bucket that differs");
        let digests = [&items[..2], &items[1..], &[]].map(|items| sums(items).digest());
        assert!(digests.iter().all(|digest| *digest != whole.digest()));
        assert_ne!(moved.digest(), whole.digest());
        assert_ne!(sums(&[]).digest(), Sums::new(Round(8)).digest(), "the height counts");
    }
}
