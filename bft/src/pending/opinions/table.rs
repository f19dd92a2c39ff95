//! Claims of peers about transactions, and our own notes on them: one record a transaction, dropped when it is empty.
//!
//! **Bound.** Of each peer, claims on `ids_max` transactions ([`Shares`]); as many transactions with notes of our own,
//! the latest; cancels that we listed are of entries of the pool.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::ids::{NodeId, Round, ShardId, TxId};

use crate::id_index::Steps;
use crate::id_map::IdMap;
use crate::ledger::Cause;
use crate::pending::opinions::claims::{Claim, Held, Shares};
use crate::quorum::Added;
use crate::time::Time;

/// The claims about one transaction, and our notes on it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Opinion {
    pub(super) claims: Vec<Held>,
    pub(super) notes: Notes,
    /// The round in which the pool entry was made for which we listed a cancel.
    listed: Option<Round>,
}

/// Our conclusions from claims about a transaction, or from our own ledger.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Notes {
    /// The place in the order in which notes are forgotten; `None` if there are none.
    serial: Option<Serial>,
    /// When we last sent CL_M.
    pub(super) voted: Option<Time>,
    /// N−f CL_M were here.
    pub(super) rejected: Option<Cause>,
    pub(super) believed: Option<Cause>,
}

type Serial = std::num::NonZeroU64;

impl Opinion {
    fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.notes.serial.is_none() && self.listed.is_none()
    }
}

/// All opinions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Table {
    opinions: IdMap<Opinion>,
    shares: Shares,
    /// Transactions with notes, in the order in which these are forgotten.
    noted: BTreeMap<Serial, TxId>,
    ids_max: usize,
    last: u64,
    #[serde(skip)]
    work: u64,
}

impl Table {
    pub(super) fn new(hash_seed: u64, ids_max: usize) -> Table {
        Table {
            opinions: IdMap::of_claims(hash_seed),
            shares: Shares::new(ids_max),
            noted: BTreeMap::new(),
            ids_max,
            last: 0,
            work: 0,
        }
    }

    /// The transactions with opinions, in the order of their places.
    pub(super) fn ids(&self) -> Vec<TxId> {
        self.opinions.iter().map(|(id, _)| *id).collect()
    }

    pub(super) fn get(&self, id: &TxId) -> Option<&Opinion> {
        self.opinions.get(id)
    }

    pub(super) fn notes(&self, id: &TxId) -> Option<&Notes> {
        Some(&self.opinions.get(id)?.notes)
    }

    /// See [`IdMap::steps`].
    pub(super) fn steps(&self) -> Steps {
        self.opinions.steps()
    }

    /// Records and claims looked at so far, for the work meter.
    pub(super) fn work(&self) -> u64 {
        self.work
    }

    /// Adds a claim. `level` is how far we are by the measure of its shard.
    pub(super) fn add(&mut self, id: TxId, claim: Claim, level: u64) -> Added {
        let serial = self.next_serial().get();
        let opinion = self.opinions.entry(id);
        self.work += 1 + opinion.claims.len() as u64;
        if let Some(first) = opinion.claims.iter().find(|first| first.claim.peer == claim.peer) {
            let is_same = first.claim.others == claim.others;
            return if is_same { Added::Duplicate } else { Added::Equivocation };
        }
        let held = Held { serial, claim };
        let dropped = self.shares.add(id, &held, level);
        // Most claims that an attacker makes up stay alone.
        if opinion.claims.is_empty() {
            opinion.claims.reserve_exact(1);
        }
        opinion.claims.push(held);
        if let Some((serial, oldest)) = dropped {
            self.drop_held(&oldest, |held| held.serial == serial);
        }
        Added::Counted
    }

    /// We have got as far as `level` by the measure of `shard`: the claims that count from now on.
    pub(super) fn reach(&mut self, shard: ShardId, level: u64) -> Vec<(TxId, NodeId)> {
        self.shares.reach(shard, level)
    }

    /// Drops claims on a transaction.
    pub(super) fn drop_claims(&mut self, id: &TxId, drop: impl Fn(&Claim) -> bool) {
        self.drop_held(id, |held| drop(&held.claim));
    }

    /// Notes something on a transaction; beyond the limit all notes on the one noted longest ago are forgotten.
    pub(super) fn note(&mut self, id: TxId, note: impl FnOnce(&mut Notes)) {
        let serial = self.next_serial();
        let notes = &mut self.opinions.entry(id).notes;
        note(notes);
        if let Some(before) = notes.serial.replace(serial) {
            self.noted.remove(&before);
        }
        self.noted.insert(serial, id);
        if self.noted.len() > self.ids_max {
            let (_, oldest) = self.noted.pop_first().expect("there are more than the limit");
            self.opinions.get_mut(&oldest).expect("what is noted is here").notes = Notes::default();
            self.forget_if_empty(&oldest);
        }
    }

    /// We list a cancel of the pool entry made in a round; returns whether we had not.
    pub(super) fn list(&mut self, id: TxId, made_in: Round) -> bool {
        self.work += 1;
        self.opinions.entry(id).listed.replace(made_in) != Some(made_in)
    }

    /// The entry of a transaction is gone.
    pub(super) fn forget_entry(&mut self, id: &TxId) {
        self.work += 1;
        if let Some(opinion) = self.opinions.get_mut(id) {
            opinion.listed = None;
            self.forget_if_empty(id);
        }
    }

    /// Forgets claims and notes on a transaction, but for the belief that is left.
    pub(super) fn end(&mut self, id: &TxId, left: Option<Cause>) {
        self.drop_claims(id, |_| true);
        let Some(opinion) = self.opinions.get_mut(id) else { return };
        let serial = opinion.notes.serial.filter(|_| left.is_some());
        let before =
            std::mem::replace(&mut opinion.notes, Notes { serial, believed: left, ..Notes::default() });
        if let (Some(before), None) = (before.serial, serial) {
            self.noted.remove(&before);
        }
        self.forget_if_empty(id);
    }

    fn drop_held(&mut self, id: &TxId, drop: impl Fn(&Held) -> bool) {
        self.work += 1;
        let Some(opinion) = self.opinions.get_mut(id) else { return };
        self.work += opinion.claims.len() as u64;
        opinion.claims.retain(|held| {
            let dropped = drop(held);
            if dropped {
                self.shares.remove(id, held);
            }
            !dropped
        });
        self.forget_if_empty(id);
    }

    fn forget_if_empty(&mut self, id: &TxId) {
        if self.opinions.get(id).is_some_and(Opinion::is_empty) {
            self.opinions.remove(id);
        }
    }

    fn next_serial(&mut self) -> Serial {
        self.last += 1;
        Serial::new(self.last).expect("it is counted up from zero")
    }

    /// Transactions with opinions, with notes, and all claims.
    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize, usize) {
        (self.opinions.len(), self.noted.len(), self.shares.len())
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Opinion> {
        self.opinions.iter().map(|(_, opinion)| opinion)
    }
}
