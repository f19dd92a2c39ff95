//! Open records and the pool: cross-shard transactions between spending and their end.

use serde::{Deserialize, Serialize};
use wire::bytes::Bytes;
use wire::ids::{CoinId, Index, PartNumber, Round, ShardId};

use crate::transaction::{Owner, TransactionView};

/// At an input shard: a transaction has spent here, and its output shard has not yet decided as far as is known here.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct OpenRecord {
    pub(super) output: ShardId,
    pub(super) part: PartNumber,
    pub(super) round: Round,
    pub(super) inputs: Box<[Held]>,
}

/// A coin under an open record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Held {
    /// The coin that was spent.
    pub coin: CoinId,
    /// Its amount.
    pub amount: u64,
    /// Its owner; `None` where the protocol is not signed.
    pub owner: Option<Owner>,
}

impl OpenRecord {
    /// The shard that decides what becomes of the transaction.
    pub fn output(&self) -> ShardId {
        self.output
    }

    /// The part that reports the spent inputs to it; 0 if it is this shard itself.
    pub fn part(&self) -> PartNumber {
        self.part
    }

    /// The round of the block that spent them.
    pub fn round(&self) -> Round {
        self.round
    }

    /// The coins spent here, ascending.
    pub fn inputs(&self) -> &[Held] {
        &self.inputs
    }

    /// Its sum.
    pub fn held(&self) -> u128 {
        self.inputs.iter().map(|held| u128::from(held.amount)).sum()
    }
}

/// At an output shard: a transaction that has spent in some of its input shards. Bound: at most N members list it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PoolEntry {
    /// The transaction, in a buffer of its own.
    pub(super) transaction: Bytes,
    /// Input shards that have spent, in order of arrival.
    pub(super) ticked: Vec<ShardId>,
    /// Members that have listed it to be cancelled, ascending.
    pub(super) listed: Vec<Index>,
    pub(super) made_in: Round,
}

impl PoolEntry {
    pub(super) fn view(&self) -> TransactionView<'_> {
        TransactionView::parse(&self.transaction).expect("only valid transactions have an entry")
    }
}

/// An entry of the pool, for those who look.
#[derive(Clone, Copy, Debug)]
pub struct PoolView<'a> {
    pub(super) entry: &'a PoolEntry,
}

impl<'a> PoolView<'a> {
    /// The encoding of the transaction.
    pub fn transaction(&self) -> &'a Bytes {
        &self.entry.transaction
    }

    /// The transaction.
    pub fn view(&self) -> TransactionView<'a> {
        self.entry.view()
    }

    /// Input shards that have spent, in order of arrival.
    pub fn ticked(&self) -> &'a [ShardId] {
        &self.entry.ticked
    }

    /// Input shards that have not, ascending.
    pub fn missing(&self) -> impl Iterator<Item = ShardId> + use<'a> {
        let ticked = self.ticked();
        self.view().expiries().map(|expiry| expiry.shard).filter(|shard| !ticked.contains(shard))
    }

    /// The round of the block that made the entry.
    pub fn made_in(&self) -> Round {
        self.entry.made_in
    }

    /// Whether a member has listed it to be cancelled, in executed blocks since then.
    pub fn is_listed_by(&self, member: Index) -> bool {
        self.entry.listed.binary_search(&member).is_ok()
    }
}
