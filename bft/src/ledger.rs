//! The ledger of a shard: coins, what was spent by whom, and what became of transactions; changed by blocks alone.
//!
//! **Guarantee.** [`Ledger::execute`] is a pure function of the state and of the block's bytes: nodes that execute the
//! same blocks have the same ledger and sign the same outcome digest, whatever seed keys their hash tables. No coin is
//! spent twice, a transaction finishes at most once, what was rejected never finishes later, and the sum of unspent
//! coins stays what it was at genesis (DESIGN §6).
//!
//! **Execution** takes entries in the order given and transactions in the order listed. A TxId that is remembered is
//! skipped; a transaction without an input here is skipped and leaves no trace; one that touches other shards is
//! skipped likewise until transfers between shards exist. Else it is settled for good: *expired* if the block's round
//! is past its expiry, *rejected* if the expiry is too far ahead or the first input that fails is spent, unknown, of
//! another amount or not signed by its owner, *finished* otherwise: its coins are spent and its outputs created.
//!
//! **Memory.** A settled TxId and the coins it spent are forgotten when round expiry + 8 is executed (a too far expiry:
//! 10,000 rounds after the rejection): later the expiry itself bars the transaction. So the state is bounded by live
//! coins and one window of expiries. What is forgotten is gone at once for all that can be observed; its memory is
//! freed little by little with the following blocks, so that no block waits for millions of deletions. A remembered
//! transaction with one input and one output costs about 150 bytes, a live coin about 62, an owner's key 32 more where
//! the protocol is signed.
//!
//! **Cost.** Per transaction one SHA-256 of its bytes, one block of SHA-256 for each output and for the outcome, and
//! two or three cache misses for each coin and id; no allocation. Entries are checked again before they are
//! executed: one that was fetched has passed no check of ours.

mod coins;
mod dump;
mod execute;
mod history;
mod outcome;

use std::sync::Arc;

use wire::client::{Fate, Rejection};
use wire::committee::Committee;
use wire::ids::{CoinId, Digest, Round, ShardId, TxId};
use wire::limits::EXPIRY_ROUNDS_AHEAD_MAX;

use crate::ledger::coins::{Coins, Known, Owners};
use crate::ledger::history::History;
use crate::transaction::{TransactionView, genesis_coin, genesis_owner};

pub use dump::DumpedCoin;
pub(crate) use execute::GROUP;
pub use outcome::{BlockOutcome, Counts, Executed, Outcome, Settled, Skip};

/// What the ledger says of a transaction before it is ordered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It may execute in the next block, or will if coins appear that are unknown yet.
    Open,
    /// It was executed and is remembered.
    Settled(Settled, Round),
    /// Its expiry has passed: no later block can execute it.
    Expired,
    /// The next block would reject it because its expiry is too far ahead.
    ExpiryTooFar,
    /// No block can execute it any more: an input is spent, or has another amount.
    Never(Rejection),
}

/// The ledger of one shard.
#[derive(Clone, Debug)]
pub struct Ledger {
    committee: Arc<Committee>,
    shard: ShardId,
    height: Round,
    coins: Coins,
    history: History,
    totals: Counts,
    genesis_value: u128,
}

impl Ledger {
    /// The ledger before the first block: the shard's genesis coins, unspent.
    ///
    /// `hash_seed` keys the hash tables. It should be unknown to clients, may differ from node to node, and shows in
    /// no result.
    pub fn genesis(committee: Arc<Committee>, shard: ShardId, hash_seed: u64) -> Ledger {
        let protocol = *committee.protocol();
        let testbed = committee.testbed();
        let owners = if protocol.signed { Owners::Kept(Vec::new()) } else { Owners::Meaningless };
        let mut coins = Coins::new(hash_seed, owners);
        let owner = genesis_owner(&testbed);
        for index in 0..protocol.genesis_coins {
            coins.create(genesis_coin(&testbed, shard, index), protocol.genesis_amount, owner);
        }
        let genesis_value = coins.value();
        Ledger {
            committee,
            shard,
            height: Round(0),
            coins,
            history: History::new(hash_seed),
            totals: Counts::default(),
            genesis_value,
        }
    }

    /// The last executed round.
    pub fn height(&self) -> Round {
        self.height
    }

    /// The shard whose ledger this is.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The committee under whose rules it executes.
    pub fn committee(&self) -> &Committee {
        &self.committee
    }

    /// What executed transactions became, since genesis.
    pub fn totals(&self) -> Counts {
        self.totals
    }

    /// Unspent coins.
    pub fn coins_unspent(&self) -> u64 {
        self.coins.unspent()
    }

    /// The sum of unspent coins, kept as blocks execute.
    pub fn value(&self) -> u128 {
        self.coins.value()
    }

    /// The sum of unspent coins, counted coin by coin; equals [`Ledger::value`] and the genesis value.
    pub fn recount(&self) -> u128 {
        self.coins.recount()
    }

    /// The sum of the genesis coins.
    pub fn genesis_value(&self) -> u128 {
        self.genesis_value
    }

    /// What became of a transaction, and in which block; `None` if it was never executed or is forgotten.
    pub fn settled(&self, id: &TxId) -> Option<(Settled, Round)> {
        self.history.find(id)
    }

    /// The amount of a coin that is unspent here.
    pub fn unspent(&self, coin: &CoinId) -> Option<u64> {
        match self.coins.look_up(coin, &self.history) {
            Known::Unspent { amount, .. } => Some(amount),
            Known::Spent | Known::Not => None,
        }
    }

    /// What the ledger says of a valid intra-shard transaction that would go into the next block. Owners' signatures
    /// are left to execution.
    pub fn standing(&self, id: &TxId, transaction: &TransactionView<'_>) -> Standing {
        if let Some((settled, round)) = self.settled(id) {
            return Standing::Settled(settled, round);
        }
        let expiry = transaction.expiry_in(self.shard).unwrap_or_default();
        if expiry <= self.height {
            return Standing::Expired;
        }
        if expiry.0 > self.height.next().0 + EXPIRY_ROUNDS_AHEAD_MAX {
            return Standing::ExpiryTooFar;
        }
        for input in transaction.inputs() {
            match self.coins.look_up(&input.coin, &self.history) {
                Known::Spent => return Standing::Never(Rejection::Spent),
                Known::Unspent { amount, .. } if amount != input.amount => {
                    return Standing::Never(Rejection::WrongAmount);
                }
                Known::Unspent { .. } | Known::Not => {}
            }
        }
        Standing::Open
    }

    /// Has the processor fetch what [`Ledger::standing`] will look at, for a few transactions at once. Changes nothing.
    pub(crate) fn warm<'a, 'b: 'a>(
        &self,
        transactions: impl Iterator<Item = (&'a TxId, &'a TransactionView<'b>)> + Clone,
    ) {
        let mut sink = 0;
        for (id, transaction) in transactions.clone() {
            sink ^= self.history.warm(self.history.hash(id)) ^ self.warm_inputs(transaction);
        }
        for (_, transaction) in transactions {
            sink ^= self.warm_coins(transaction);
        }
        std::hint::black_box(sink);
    }

    /// Bytes allocated for coins and history.
    pub fn allocated_bytes(&self) -> usize {
        self.coins.allocated_bytes() + self.history.allocated_bytes()
    }

    /// Transactions remembered.
    pub fn remembered(&self) -> usize {
        self.history.len()
    }

    /// A digest of all that can be observed of the state: equal on nodes that executed the same blocks. Sorts
    /// everything; for tests and verification.
    pub fn digest(&self) -> Digest {
        dump::digest(self)
    }
}

impl Settled {
    /// What a client is told of a transaction that was settled in the block of `round`.
    pub fn fate(self, round: Round) -> Fate {
        match self {
            Settled::Finished => Fate::Finished(round),
            Settled::Rejected(reason) => Fate::Rejected(reason),
            Settled::Expired => Fate::Expired,
        }
    }
}

#[cfg(test)]
mod tests;
