//! How much a peer's orders may make this node send about transactions that can never execute.
//!
//! Such a transaction takes no room on a list and 112 bytes of an order, and every member reports it to every other:
//! 50·N² bytes of CL_M, and 40·N² bytes of CL to each of its other shards. So each peer has a ration: the bytes of
//! CL_M and CL that reports of its orders may cost this node, [`SHARD_BYTES_PER_S`] / N a second, and what is saved up
//! in [`SAVED_S`] at once. Whatever exceeds it is passed over without a trace. An honest peer repeats its order
//! ([`crate::shard::order`]), so its client hears later; the rations of other peers are untouched.
//!
//! **Bound.** A member joins in on f+1 CL_M without a charge, so a peer costs more than its ration if it asks members
//! for different transactions. Without accomplices f+1 honest members must report one before the others join in: the
//! shard sends N/(f+1) < 3 times [`SHARD_BYTES_PER_S`] for it in all. If f members of the shard vote for whatever it
//! names, one honest report suffices: then each member sends [`SHARD_BYTES_PER_S`].

use std::collections::BTreeMap;

use wire::ids::NodeId;

use crate::bucket::Bucket;
use crate::mutant::{Mutant, in_force};
use crate::time::Time;

/// What reports of one peer's orders may cost the members of a shard together. At N = 4 and two shards each member
/// reports 845 transactions a second for it: of a full load, of which a tenth is invalid, it takes some 200.
pub(super) const SHARD_BYTES_PER_S: u64 = 1 << 20;
/// A ration is saved up for so many seconds: a client may hand in thousands at once.
const SAVED_S: u64 = 4;

/// The rations of all peers.
#[derive(Clone, Debug)]
pub(super) struct Rations {
    full: Bucket,
    /// What is left to each peer that has spent something. Bound: nodes of the testbed.
    left: BTreeMap<NodeId, Bucket>,
}

impl Rations {
    /// Nothing spent, in a shard of `n`.
    pub(super) fn new(n: usize) -> Rations {
        let bytes_per_s = SHARD_BYTES_PER_S / n as u64;
        let saved = if in_force(Mutant::ReportsAreRationed) { SAVED_S * bytes_per_s } else { u64::MAX };
        Rations { full: Bucket::new(bytes_per_s, saved), left: BTreeMap::new() }
    }

    /// Whether so many bytes may be said for a peer now; if so they count.
    pub(super) fn spend(&mut self, now: Time, peer: NodeId, bytes: u64) -> bool {
        let left = self.left.entry(peer).or_insert(self.full);
        let allowed = left.is_open(now);
        if allowed {
            left.spend(now, bytes);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    #[test]
    fn a_peer_spends_what_it_saved_at_once_and_then_its_rate_and_nobody_elses() {
        let mut rations = Rations::new(4);
        let spent = |rations: &mut Rations, now, peer| {
            (0..).take_while(|_| rations.spend(now, NodeId(peer), 1_024)).count() as u64
        };
        let per_s = SHARD_BYTES_PER_S / 4 / 1_024;
        let start = Time(5_000_000);
        let saved = spent(&mut rations, start, 1);
        assert!((4 * per_s..=4 * per_s + 2).contains(&saved), "{saved}");
        assert_eq!(spent(&mut rations, start, 1), 0);
        let later = spent(&mut rations, start + Span::from_ms(1_000), 1);
        assert!((per_s - 1..=per_s + 1).contains(&later), "{later}");
        assert_eq!(spent(&mut rations, start, 2), saved);
        assert_eq!(
            spent(&mut rations, start + Span::from_ms(60_000), 1),
            saved,
            "no more than that is saved"
        );
    }
}
