//! A cut: for each lane of the shard the highest certified entry. A round agrees on a cut.
//!
//! Exactly N tips, one a lane, by index. The digest is over a tag and the fixed-width encoding, which is one-to-one.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wire::codec;
use wire::committee::Committee;
use wire::ids::{Digest, Index, Seq};

use crate::mutant::{Mutant, in_force};

/// The last entry of a lane that a cut covers; sequence 0 with the zero digest is the empty lane.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Tip {
    /// Its seq in the lane.
    pub seq: Seq,
    /// Its digest.
    pub digest: Digest,
}

/// A tip for each lane, by index.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cut(pub Vec<Tip>);

impl Cut {
    /// The cut before the first round: all lanes empty.
    pub fn genesis(committee: &Committee) -> Cut {
        Cut(vec![Tip::default(); committee.n()])
    }

    /// The tip of a lane.
    pub fn tip(&self, lane: Index) -> Tip {
        self.0[usize::from(lane.0)]
    }

    /// Lanes and tips, ascending by lane.
    pub fn tips(&self) -> impl Iterator<Item = (Index, Tip)> + '_ {
        (0u16..).map(Index).zip(self.0.iter().copied())
    }

    /// SHA-256 of a tag and the encoding. (Without the tag, the encoding of a cut of 256 lanes would parse as a lane
    /// entry.)
    pub fn digest(&self) -> Digest {
        Digest(Sha256::new().chain_update(b"CUTS").chain_update(codec::encode(self)).finalize().into())
    }

    /// The lanes in which this cut is ahead of `previous`, with their tips.
    pub fn ahead_of<'a>(&'a self, previous: &'a Cut) -> impl Iterator<Item = (Index, Tip)> + 'a {
        self.tips().filter(|(lane, tip)| tip.seq > previous.tip(*lane).seq)
    }

    /// Whether this cut may follow `previous`, certificates aside: it names every lane, is ahead in at least one, and
    /// wherever it is not ahead it equals `previous` to the byte.
    ///
    /// # Security
    /// The digest counts too: a tip with the previous sequence and another digest would need no certificate, and the
    /// next entry, chained to the true one, could never be executed. \[safety]
    pub fn may_follow(&self, previous: &Cut) -> bool {
        self.0.len() == previous.0.len()
            && self.ahead_of(previous).next().is_some()
            && self.0.iter().zip(&previous.0).all(|(tip, before)| {
                let same = tip == before || (!in_force(Mutant::TipNotAheadIsEqual) && tip.seq == before.seq);
                tip.seq > before.seq || same
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(tips: &[(u64, u8)]) -> Cut {
        Cut(tips.iter().map(|(seq, byte)| Tip { seq: Seq(*seq), digest: Digest([*byte; 32]) }).collect())
    }

    #[test]
    fn a_cut_may_follow_if_it_only_advances_lanes() {
        let previous = cut(&[(3, 1), (0, 0), (5, 2)]);
        for (next, allowed, why) in [
            (cut(&[(4, 9), (0, 0), (5, 2)]), true, "one lane ahead"),
            (cut(&[(3, 1), (0, 0), (5, 2)]), false, "no lane ahead"),
            (cut(&[(4, 9), (0, 0), (5, 7)]), false, "another digest for a lane that is not ahead"),
            (cut(&[(4, 9), (0, 0), (4, 2)]), false, "a lane behind"),
            (cut(&[(4, 9), (0, 0)]), false, "a lane missing"),
            (cut(&[(4, 9), (0, 0), (5, 2), (1, 1)]), false, "a lane too many"),
        ] {
            assert_eq!(next.may_follow(&previous), allowed, "{why}");
        }
    }
}
