//! The questions to the ledger that judging claims needs, as a trait, so that tests can answer them.

use wire::ids::{PartNumber, Round, ShardId, TxId};

use crate::ledger::{Ledger, Standing};

/// The view of the ledger that judging claims needs.
pub(in crate::pending) trait Records {
    /// The last executed round.
    fn height(&self) -> Round;
    /// The last part executed here of those that `source` sent.
    fn imported(&self, source: ShardId) -> PartNumber;
    /// The last part that executed blocks have for `destination`.
    fn sent(&self, destination: ShardId) -> PartNumber;
    /// The standing of a transaction here: see [`Ledger::known`].
    fn known(&self, id: &TxId) -> Standing;
    /// The round in which the transaction's entry in the pool was made, if it has one.
    fn pooled_in(&self, id: &TxId) -> Option<Round>;
}

impl Records for Ledger {
    fn height(&self) -> Round {
        Ledger::height(self)
    }

    fn imported(&self, source: ShardId) -> PartNumber {
        Ledger::imported(self, source)
    }

    fn sent(&self, destination: ShardId) -> PartNumber {
        Ledger::sent(self, destination)
    }

    fn known(&self, id: &TxId) -> Standing {
        Ledger::known(self, id)
    }

    fn pooled_in(&self, id: &TxId) -> Option<Round> {
        self.pool_entry(id).map(|entry| entry.made_in())
    }
}
