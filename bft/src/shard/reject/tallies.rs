//! Claims of peers about transactions, kept until enough peers claim the same.
//!
//! For each peer and transaction the first claim stands. A claim was made on a ledger, and counts once ours has got as
//! far: its *basis* is the height of that ledger (CL_M) or what it had imported from our shard (CL), and the caller
//! passes how far we are. So a member that lags behind does not believe a claim that its own ledger will refute.
//!
//! This is no `quorum::VoteSet`, since a claim may count later than it comes, and against two thresholds.
//!
//! **Bound.** A peer has claims on at most `ids_max` transactions; a further one drops its oldest. A peer can fill its
//! own share and no other. It can choose the ids freely, hence an [`IdMap`] and ordered maps. A claim takes some 150
//! bytes, which are freed when the transaction ends.

use std::collections::{BTreeMap, BTreeSet};

use wire::ids::{NodeId, ShardId, TxId};

use crate::id_index::Steps;
use crate::id_map::IdMap;
use crate::ledger::Cause;
use crate::quorum::Added;

/// One peer's word on a transaction.
#[derive(Clone, Debug)]
pub(super) struct Claim<V> {
    /// Whose.
    pub peer: NodeId,
    /// The peer's shard.
    pub shard: ShardId,
    /// How far the ledger was on which it was made, by a measure that is one for each shard.
    pub basis: u64,
    /// What is claimed.
    pub value: V,
    /// Why.
    pub cause: Cause,
}

/// The claims of all peers.
#[derive(Clone, Debug)]
pub(super) struct Tallies<V> {
    ids_max: usize,
    claims: IdMap<Vec<Held<V>>>,
    /// For each peer its transactions, oldest first.
    shares: BTreeMap<NodeId, BTreeMap<u64, TxId>>,
    /// Claims that did not count when they came, by what they wait for.
    ahead: BTreeSet<(ShardId, u64, TxId, NodeId)>,
    next: u64,
}

#[derive(Clone, Debug)]
struct Held<V> {
    /// When it came.
    serial: u64,
    claim: Claim<V>,
}

impl<V: PartialEq> Tallies<V> {
    /// No claims, of at most `ids_max` transactions a peer.
    pub(super) fn new(hash_seed: u64, ids_max: usize) -> Tallies<V> {
        Tallies {
            ids_max,
            claims: IdMap::of_claims(hash_seed),
            shares: BTreeMap::new(),
            ahead: BTreeSet::new(),
            next: 0,
        }
    }

    /// Adds a claim. `level` is how far we are by the measure of its shard.
    pub(super) fn add(&mut self, id: TxId, claim: Claim<V>, level: u64) -> Added {
        if let Some(first) = self.of(&id, claim.peer) {
            return if first.value == claim.value { Added::Duplicate } else { Added::Equivocation };
        }
        if claim.basis > level {
            self.ahead.insert((claim.shard, claim.basis, id, claim.peer));
        }
        let (peer, serial) = (claim.peer, self.next);
        self.next += 1;
        self.claims.entry(id).push(Held { serial, claim });
        let share = self.shares.entry(peer).or_default();
        share.insert(serial, id);
        if share.len() > self.ids_max {
            let (_, oldest) = share.pop_first().expect("it is not empty");
            self.drop_one(&oldest, peer);
        }
        Added::Counted
    }

    /// Whether this peer has claimed something of a transaction.
    pub(super) fn contains(&self, id: &TxId, peer: NodeId) -> bool {
        self.of(id, peer).is_some()
    }

    /// The claims that count with that of `peer`, it included: those of its shard for the same value whose basis is
    /// within `level`. None if its own does not count.
    pub(super) fn agreeing(&self, id: &TxId, peer: NodeId, level: u64) -> Vec<&Claim<V>> {
        let Some(named) = self.of(id, peer).filter(|claim| claim.basis <= level) else { return Vec::new() };
        let all = self.claims.get(id).into_iter().flatten().map(|held| &held.claim);
        all.filter(|claim| claim.shard == named.shard && claim.value == named.value && claim.basis <= level)
            .collect()
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

    /// Nothing is to be known of a transaction any more.
    pub(super) fn end(&mut self, id: &TxId) {
        for held in self.claims.remove(id).unwrap_or_default() {
            if let Some(share) = self.shares.get_mut(&held.claim.peer) {
                share.remove(&held.serial);
            }
            self.forget_wait(id, &held.claim);
        }
    }

    /// What searching its table costs.
    pub(super) fn steps(&self) -> Steps {
        self.claims.steps()
    }

    fn of(&self, id: &TxId, peer: NodeId) -> Option<&Claim<V>> {
        self.claims.get(id)?.iter().map(|held| &held.claim).find(|claim| claim.peer == peer)
    }

    /// Drops a claim that is no longer in its peer's share.
    fn drop_one(&mut self, id: &TxId, peer: NodeId) {
        let Some(all) = self.claims.get_mut(id) else { return };
        let Some(at) = all.iter().position(|held| held.claim.peer == peer) else { return };
        let dropped = all.remove(at);
        if all.is_empty() {
            self.claims.remove(id);
        }
        self.forget_wait(id, &dropped.claim);
    }

    fn forget_wait(&mut self, id: &TxId, claim: &Claim<V>) {
        self.ahead.remove(&(claim.shard, claim.basis, *id, claim.peer));
    }

    /// Transactions with a claim, and claims in all.
    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        let claims = self.claims.iter().map(|(_, held)| held.len()).sum();
        assert_eq!(claims, self.shares.values().map(BTreeMap::len).sum::<usize>());
        assert!(self.ahead.len() <= claims);
        (self.claims.len(), claims)
    }
}

/// The cause that most of these claims name; of those the least, so that it does not depend on the order of arrival.
pub(super) fn cause_of<V>(claims: &[&Claim<V>]) -> Cause {
    // One of them may be the only honest one: what it does not call final is not.
    if claims.iter().any(|claim| claim.cause == Cause::ExpiryTooFar) {
        return Cause::ExpiryTooFar;
    }
    let mut named: BTreeMap<Cause, usize> = BTreeMap::new();
    for claim in claims {
        *named.entry(claim.cause).or_default() += 1;
    }
    let most = named.into_iter().min_by_key(|(cause, count)| (std::cmp::Reverse(*count), *cause));
    most.expect("a verdict rests on claims").0
}
