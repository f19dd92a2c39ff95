//! Claims of peers about transactions, kept until enough peers claim the same.
//!
//! Of each peer the first claim about a transaction stands. A claim was made on a ledger, and counts once ours has got
//! as far: its *basis* is the height of that ledger (CL_M) or what it had imported from our shard (CL), and the caller
//! passes how far we are. So a member that lags behind does not believe a claim that its own ledger will refute.
//!
//! A peer of our own shard makes CL_M, a peer of another shard CL; so claims of one shard are claims of one kind.
//!
//! This is no `quorum::VoteSet`, since a claim may count later than it comes, and against two thresholds.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wire::ids::{NodeId, ShardId, TxId};

use crate::ledger::Cause;

/// One peer's claim that a transaction can never execute.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Claim {
    pub(super) peer: NodeId,
    /// The peer's shard.
    pub(super) shard: ShardId,
    /// How far the ledger was on which it was made, by a measure that is one for each shard.
    pub(super) basis: u64,
    /// In CL_M the transaction's other shards; in CL none.
    pub(super) others: Box<[ShardId]>,
    pub(super) cause: Cause,
}

/// A claim, and when it came.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) serial: u64,
    pub(super) claim: Claim,
}

/// The claims that count with that of `peer`, it included: those of its shard for the same other shards whose basis is
/// within `level`. None if its own does not count.
pub(super) fn agreeing(claims: &[Held], peer: NodeId, level: u64) -> Vec<&Claim> {
    let all = claims.iter().map(|held| &held.claim).filter(|claim| claim.basis <= level);
    let Some(named) = all.clone().find(|claim| claim.peer == peer) else { return Vec::new() };
    all.filter(|claim| claim.shard == named.shard && claim.others == named.others).collect()
}

/// The cause that most of these claims name; of those the least, so that it does not depend on the order of arrival.
pub(super) fn cause_of(claims: &[&Claim]) -> Cause {
    // One of them may be the only honest one: what it does not call final is not.
    if claims.iter().any(|claim| claim.cause == Cause::ExpiryTooFar) {
        return Cause::ExpiryTooFar;
    }
    let mut named: BTreeMap<Cause, usize> = BTreeMap::new();
    for claim in claims {
        *named.entry(claim.cause).or_default() += 1;
    }
    let most = named.into_iter().min_by_key(|(cause, count)| (std::cmp::Reverse(*count), *cause));
    most.expect("a belief rests on claims").0
}

/// Indexes over the claims of all transactions.
///
/// **Bound.** A peer has claims on at most `ids_max` transactions; a further one drops its oldest. So a peer can fill
/// its own share and no other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Shares {
    ids_max: usize,
    /// For each peer its transactions, oldest first.
    shares: BTreeMap<NodeId, BTreeMap<u64, TxId>>,
    /// Claims that did not count when they came, by what they wait for.
    ahead: BTreeSet<(ShardId, u64, TxId, NodeId)>,
}

impl Shares {
    pub(super) fn new(ids_max: usize) -> Shares {
        Shares { ids_max, shares: BTreeMap::new(), ahead: BTreeSet::new() }
    }

    /// Enters a claim. `level` is how far we are by the measure of its shard. Returns the claim that must go for it:
    /// its number and transaction.
    pub(super) fn add(&mut self, id: TxId, held: &Held, level: u64) -> Option<(u64, TxId)> {
        let Held { serial, claim } = held;
        if claim.basis > level {
            self.ahead.insert((claim.shard, claim.basis, id, claim.peer));
        }
        let share = self.shares.entry(claim.peer).or_default();
        share.insert(*serial, id);
        if share.len() > self.ids_max { share.pop_first() } else { None }
    }

    /// A claim is dropped.
    pub(super) fn remove(&mut self, id: &TxId, held: &Held) {
        let Held { serial, claim } = held;
        if let Some(share) = self.shares.get_mut(&claim.peer) {
            share.remove(serial);
        }
        self.ahead.remove(&(claim.shard, claim.basis, *id, claim.peer));
    }

    /// We have got as far as `level` by the measure of `shard`: the claims that count from now on.
    pub(super) fn reach(&mut self, shard: ShardId, level: u64) -> Vec<(TxId, NodeId)> {
        let mut counting = Vec::new();
        while let Some(first) = self.ahead.range((shard, 0, TxId([0; 32]), NodeId(0))..).next().copied() {
            if first.0 != shard || first.1 > level {
                break;
            }
            self.ahead.remove(&first);
            counting.push((first.2, first.3));
        }
        counting
    }

    /// Claims in all.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let claims = self.shares.values().map(BTreeMap::len).sum();
        assert!(self.ahead.len() <= claims);
        claims
    }
}
