//! What must be known of the ledger to judge claims, apart from the ledger itself so that tests can stand in for it.

use wire::ids::{PartNumber, Round, ShardId, TxId};

use crate::ledger::{Ledger, Settled};
use crate::shard::message::Cause;

/// The view of the ledger that judging claims needs.
pub trait Records {
    /// The last executed round.
    fn height(&self) -> Round;
    /// The last part executed here of those that `source` sent.
    fn imported(&self, source: ShardId) -> PartNumber;
    /// The last part that executed blocks have for `destination`.
    fn sent(&self, destination: ShardId) -> PartNumber;
    /// What blocks have made of a transaction here.
    fn record(&self, id: &TxId) -> Record;
    /// The round in which the transaction's entry in the pool was made, if it has one.
    fn pooled_in(&self, id: &TxId) -> Option<Round>;
}

/// What blocks have made of a transaction in this shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record {
    /// Nothing, or it is forgotten.
    Nothing,
    /// It has spent here or is finished.
    Executed,
    /// It can never execute here: rejected, expired, or refunded.
    Rejected(Cause),
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

    fn record(&self, id: &TxId) -> Record {
        // The record stays open when its history is forgotten.
        if self.open_record(id).is_some() {
            return Record::Executed;
        }
        match self.settled(id) {
            None => Record::Nothing,
            Some((Settled::Finished | Settled::Spent, _)) => Record::Executed,
            Some((Settled::Rejected(reason), _)) => Record::Rejected(Cause::Rejected(reason)),
            Some((Settled::Expired, _)) => Record::Rejected(Cause::Expired),
        }
    }

    fn pooled_in(&self, id: &TxId) -> Option<Round> {
        self.pool_entry(id).map(|entry| entry.made_in())
    }
}
