//! Limits what this node sends because of a peer's orders for transactions that can never execute.
//!
//! Such a transaction takes up 112 bytes of an order and no room on a list, but every member reports it to every other:
//! 50·N² bytes of CL_M, and 40·N² bytes of CL to each of its other shards. So each peer has a ration: reports caused by
//! its orders may cost this node [`SHARD_BYTES_PER_S`] / N bytes of CL_M and CL a second, and at once as much as it
//! saves up in [`SAVED_S`] seconds. A transaction that exceeds the ration is passed over without a trace. An honest
//! peer repeats its order ([`crate::pending`]), so only its client's receipt comes later; the rations of other
//! peers are untouched.
//!
//! **Bound.** A member that joins in on f+1 CL_M charges nobody, so a peer costs more than its ration if it orders
//! different transactions from different members. Without accomplices, f+1 honest members must report a transaction
//! before the others join in: the whole shard then sends N/(f+1) < 3 times [`SHARD_BYTES_PER_S`]. If f members of the
//! shard vote for whatever the peer names, one honest report suffices: then each member sends [`SHARD_BYTES_PER_S`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::ids::NodeId;

use crate::bucket::Bucket;
use crate::mutant::{Mutant, in_force};
use crate::shard::message::RejectVote;
use crate::time::Time;

/// Bytes a second that reports caused by one peer's orders may cost the members of a shard together. At N = 4 and two
/// shards, each member can then report 845 transactions a second for that peer; a full load, of which a tenth is
/// invalid, needs some 200.
pub(super) const SHARD_BYTES_PER_S: u64 = 1 << 20;
/// Seconds for which a ration is saved up: a client may hand in thousands of transactions at once.
const SAVED_S: u64 = 4;

/// Bytes of one transaction in a CL_M.
const VOTE_BYTES: u64 = 50;
/// Bytes of one transaction in a CL.
const REJECT_BYTES: u64 = 40;

/// The rations of all peers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Rations {
    /// Members of our shard, and of each other one.
    n: u64,
    full: Bucket,
    /// The ration of each peer that has spent any of it. Bound: nodes of the testbed.
    left: BTreeMap<NodeId, Bucket>,
}

impl Rations {
    /// Full rations, in a shard of `n`.
    pub(super) fn new(n: usize) -> Rations {
        let n = n as u64;
        let bytes_per_s = SHARD_BYTES_PER_S / n;
        let saved = if in_force(Mutant::ReportsAreRationed) { SAVED_S * bytes_per_s } else { u64::MAX };
        Rations { n, full: Bucket::new(bytes_per_s, saved), left: BTreeMap::new() }
    }

    /// Whether our CL_M, and the CL that may follow it, may be sent on account of a peer now; if so their bytes count.
    pub(super) fn spend(&mut self, now: Time, peer: NodeId, vote: &RejectVote) -> bool {
        self.spend_bytes(now, peer, self.report_bytes(vote))
    }

    /// The bytes of our CL_M on a transaction and of the CL that may follow it.
    pub(super) fn report_bytes(&self, vote: &RejectVote) -> u64 {
        VOTE_BYTES * (self.n - 1) + REJECT_BYTES * self.n * vote.others.len() as u64
    }

    fn spend_bytes(&mut self, now: Time, peer: NodeId, bytes: u64) -> bool {
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
    fn a_peer_spends_its_savings_at_once_then_its_rate_and_never_anothers_ration() {
        let mut rations = Rations::new(4);
        let spent = |rations: &mut Rations, now, peer| {
            (0..).take_while(|_| rations.spend_bytes(now, NodeId(peer), 1_024)).count() as u64
        };
        let per_s = SHARD_BYTES_PER_S / 4 / 1_024;
        let start = Time(5_000_000);
        let saved = spent(&mut rations, start, 1);
        assert!((4 * per_s..=4 * per_s + 2).contains(&saved), "{saved}");
        assert_eq!(spent(&mut rations, start, 1), 0);
        let later = spent(&mut rations, start + Span::from_ms(1_000), 1);
        assert!((per_s - 1..=per_s + 1).contains(&later), "{later}");
        assert_eq!(spent(&mut rations, start, 2), saved);
        assert_eq!(spent(&mut rations, start + Span::from_ms(60_000), 1), saved, "savings are bounded");
    }
}
