//! The reference ledger: DESIGN §6 for intra-shard transactions in the plainest possible form, never forgetting.
//!
//! It shares with the ledger under test the parsing of transactions and nothing else.

use std::collections::BTreeMap;

use wire::client::{Fate, Rejection};
use wire::committee::Committee;
use wire::ids::{CoinId, Round, ShardId, TxId};
use wire::limits::{EXPIRY_ROUNDS_AHEAD_MAX, FORGET_ROUNDS_AFTER_EXPIRY};

use crate::proposal::Rules;
use crate::transaction::{Part, TransactionView, genesis_coin, output_coin};

/// What executing one block must have done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Expected {
    pub(super) finished: u64,
    pub(super) rejected: u64,
    /// Duplicates, expired ones and those that are not this shard's.
    pub(super) skipped: u64,
    /// Entries that break static validity: no honest member signs one.
    pub(super) invalid_entries: u64,
}

/// A transaction that was executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Record {
    fate: Fate,
    height: Round,
    /// The height from which on its id and spent coins are forgotten.
    forgotten_at: Round,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Model {
    shard: ShardId,
    unspent: BTreeMap<CoinId, u64>,
    spent: BTreeMap<CoinId, TxId>,
    records: BTreeMap<TxId, Record>,
    value: u128,
}

impl Model {
    pub(super) fn genesis(committee: &Committee, shard: ShardId) -> Model {
        let protocol = committee.protocol();
        let coins = 0..protocol.genesis_coins;
        let unspent: BTreeMap<CoinId, u64> = coins
            .map(|index| (genesis_coin(&committee.testbed(), shard, index), protocol.genesis_amount))
            .collect();
        let value = unspent.values().map(|amount| u128::from(*amount)).sum();
        Model { shard, unspent, spent: BTreeMap::new(), records: BTreeMap::new(), value }
    }

    /// The sum of all coins, which no block changes.
    pub(super) fn value(&self) -> u128 {
        self.value
    }

    pub(super) fn unspent(&self) -> &BTreeMap<CoinId, u64> {
        &self.unspent
    }

    /// What became of a transaction; `None` if no block held it.
    pub(super) fn fate(&self, id: &TxId) -> Option<Fate> {
        self.records.get(id).map(|record| record.fate)
    }

    /// The height of the block that settled it.
    pub(super) fn settled_at(&self, id: &TxId) -> Option<Round> {
        self.records.get(id).map(|record| record.height)
    }

    /// Whether a transaction that was settled is forgotten by who has executed this height.
    pub(super) fn is_forgotten(&self, id: &TxId, height: Round) -> bool {
        self.records.get(id).is_some_and(|record| record.forgotten_at <= height)
    }

    /// Who spent a coin.
    pub(super) fn spender(&self, coin: &CoinId) -> Option<&TxId> {
        self.spent.get(coin)
    }

    /// Executes a block.
    pub(super) fn execute<'a>(
        &mut self,
        rules: &Rules,
        height: Round,
        payloads: impl Iterator<Item = &'a [u8]>,
    ) -> Expected {
        let mut expected = Expected::default();
        for payload in payloads {
            let Ok(view) = rules.validate(payload) else {
                expected.invalid_entries += 1;
                continue;
            };
            for transaction in view.transactions() {
                match self.execute_one(height, &transaction) {
                    Some(Fate::Finished(_)) => expected.finished += 1,
                    Some(Fate::Rejected(_)) => expected.rejected += 1,
                    _ => expected.skipped += 1,
                }
            }
        }
        let sum: u128 = self.unspent.values().map(|amount| u128::from(*amount)).sum();
        assert_eq!(sum, self.value, "the model itself conserves value");
        expected
    }

    /// The fate that this block gave the transaction, if it gave it one.
    fn execute_one(&mut self, height: Round, transaction: &TransactionView<'_>) -> Option<Fate> {
        let id = transaction.id();
        if transaction.part_of(self.shard) != Part::Intra || self.records.contains_key(&id) {
            return None;
        }
        let expiry = transaction.expiry_in(self.shard)?;
        let fate = if expiry < height {
            Fate::Expired
        } else if expiry.0 > height.0 + EXPIRY_ROUNDS_AHEAD_MAX {
            Fate::Rejected(Rejection::ExpiryTooFar)
        } else if let Some(reason) = self.refusal(height, transaction) {
            Fate::Rejected(reason)
        } else {
            for input in transaction.inputs() {
                self.unspent.remove(&input.coin);
                self.spent.insert(input.coin, id);
            }
            for (index, output) in (0u8..).zip(transaction.outputs()) {
                self.unspent.insert(output_coin(&id, index), output.amount);
            }
            Fate::Finished(height)
        };
        let forgotten_at = match fate {
            Fate::Rejected(Rejection::ExpiryTooFar) => Round(height.0 + EXPIRY_ROUNDS_AHEAD_MAX),
            _ => Round(expiry.0 + FORGET_ROUNDS_AFTER_EXPIRY),
        };
        self.records.insert(id, Record { fate, height, forgotten_at });
        Some(fate)
    }

    /// Why its inputs cannot be spent: the first that fails.
    fn refusal(&self, height: Round, transaction: &TransactionView<'_>) -> Option<Rejection> {
        transaction.inputs().find_map(|input| match self.unspent.get(&input.coin) {
            Some(amount) if *amount == input.amount => None,
            Some(_) => Some(Rejection::WrongAmount),
            // Who spent it is known until the block before is executed in which its spender is forgotten.
            None => match self.spent.get(&input.coin) {
                Some(spender) if self.records[spender].forgotten_at >= height => Some(Rejection::Spent),
                _ => Some(Rejection::UnknownCoin),
            },
        })
    }
}
