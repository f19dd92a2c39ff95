//! Notes on transactions, of which only the latest are kept.

use std::collections::BTreeMap;

use wire::ids::TxId;

use crate::id_index::Steps;
use crate::id_map::IdMap;

/// A note of type `T` on each of the latest transactions noted; beyond the limit the oldest is forgotten.
#[derive(Clone, Debug)]
pub(super) struct Recent<T> {
    ids_max: usize,
    notes: IdMap<(u64, T)>,
    /// Transactions in the order in which they were noted and are forgotten.
    order: BTreeMap<u64, TxId>,
    next: u64,
}

impl<T> Recent<T> {
    /// Nothing noted, of at most `ids_max`.
    pub(super) fn new(hash_seed: u64, ids_max: usize) -> Recent<T> {
        Recent { ids_max, notes: IdMap::of_claims(hash_seed), order: BTreeMap::new(), next: 0 }
    }

    /// Notes `note` on a transaction, in the place of what was noted before.
    pub(super) fn note(&mut self, id: TxId, note: T) {
        self.forget(&id);
        self.notes.insert(id, (self.next, note));
        self.order.insert(self.next, id);
        self.next += 1;
        if self.notes.len() > self.ids_max {
            let (_, oldest) = self.order.pop_first().expect("there are as many as notes");
            self.notes.remove(&oldest);
        }
    }

    /// What was noted.
    pub(super) fn get(&self, id: &TxId) -> Option<&T> {
        self.notes.get(id).map(|(_, note)| note)
    }

    /// Whether something was noted.
    pub(super) fn contains(&self, id: &TxId) -> bool {
        self.notes.contains(id)
    }

    /// What searching its table costs.
    pub(super) fn steps(&self) -> Steps {
        self.notes.steps()
    }

    /// Forgets one.
    pub(super) fn forget(&mut self, id: &TxId) {
        if let Some((when, _)) = self.notes.remove(id) {
            self.order.remove(&when);
        }
    }

    /// How many are noted.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.notes.len(), self.order.len());
        self.notes.len()
    }
}
