//! The ledger of a shard: coins, their spenders, and the outcomes of transactions; only blocks change it.
//!
//! **Guarantee.** [`Ledger::execute`] is a pure function of the state and of the block's bytes: nodes that execute the
//! same blocks have the same ledger and sign the same outcome digest, whatever seed keys their hash tables. No coin is
//! spent twice, a transaction finishes at most once, what was rejected never finishes later, and value is conserved:
//! after each block, unspent coins + coins under open records + what went to other shards − what came from them is what
//! it was at genesis (docs/design.md §16).
//!
//! **Execution** takes entries in the order given; in an entry imports, then cancels, then transactions, each in the
//! order listed. A TxId that is remembered is skipped; a transaction without an input here is skipped and leaves no
//! trace, and so is one whose expiry is too far ahead. Else it is settled for good: *expired* if the block's round is
//! past its expiry, *rejected* if the first input here that fails is spent, unknown, of another amount or not signed by
//! its owner; otherwise its coins here are spent, and if it is this shard's alone it has *finished*: its outputs are
//! created. One that touches other shards is the matter of `cross`.
//!
//! **Memory.** A settled TxId and the coins it spent are forgotten when round expiry + 8 is executed: later the expiry
//! itself bars the transaction. So the state is bounded by live coins and one window of expiries. What is forgotten is
//! gone at once for all that can be observed; its memory is freed little by little with the following blocks, so that
//! no block waits for millions of deletions. A remembered transaction with one input and one output costs about 150
//! bytes, a live coin about 62, an owner's key 32 more where the protocol is signed.
//!
//! **Cost.** Per transaction one SHA-256 of its bytes, one block of SHA-256 for each output and for the outcome, and
//! two or three cache misses for each coin and id; no allocation. Entries are checked again before they are
//! executed: one that was fetched has passed no check of ours.

mod audit;
mod block;
mod coins;
mod cross;
mod dump;
mod ends;
mod execute;
mod history;
mod links;
mod open;
mod outcome;
mod rows;

use std::sync::Arc;

use wire::client::{Exchange, Rejection};
use wire::committee::Committee;
use wire::ids::{CoinId, Digest, PartNumber, Round, ShardId, TxId};
use wire::limits::FORGET_ROUNDS_AFTER_EXPIRY;

use crate::id_index::Steps;
use crate::id_map::IdMap;
use crate::image::image;
use crate::ledger::coins::{Coins, Known, Owners};
use crate::ledger::ends::Ends;
use crate::ledger::history::History;
use crate::ledger::links::Links;
use crate::ledger::open::PoolEntry;
use crate::proposal::Rules;
use crate::transaction::{TransactionView, genesis_coin, genesis_owner};

pub use audit::Item;
pub use dump::DumpedCoin;
pub use open::{Held, OpenRecord, PoolView};
pub(crate) use rows::Cursor;

pub use outcome::{BlockOutcome, Cause, Counts, CrossEvent, Executed, Outcome, Settled, Standing};

/// The ledger of one shard.
#[derive(Clone, Debug)]
pub struct Ledger {
    rules: Arc<Rules>,
    shard: ShardId,
    coins: Coins,
    /// It counts the executed rounds, too.
    history: History,
    /// Cross-shard transactions that have finished here.
    ends: Ends,
    /// Records of cross-shard transactions that have spent here.
    open: IdMap<OpenRecord>,
    /// The sum of inputs under open records.
    held: u128,
    /// Cross-shard transactions with their output here that some input shards have ticked.
    pool: IdMap<PoolEntry>,
    links: Links,
    totals: Counts,
    genesis_value: u128,
    /// Transactions, parts and forgotten records looked at, for the work meter.
    work: u64,
}

image! {
    Ledger:
    given rules = |given| given.rules.clone(), work = |_| 0;
    parts;
    plain shard, coins, history, ends, open, held, pool, links, totals, genesis_value;
}

impl Ledger {
    /// The ledger before the first block: the shard's genesis coins, unspent.
    ///
    /// `hash_seed` keys the hash tables. It should be unknown to clients, may differ from node to node, and shows in
    /// no result.
    pub fn genesis(rules: Arc<Rules>, hash_seed: u64) -> Ledger {
        let (committee, shard) = (rules.committee(), rules.shard());
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
            links: Links::new(committee.shards()),
            rules,
            shard,
            coins,
            history: History::new(hash_seed),
            ends: Ends::new(hash_seed),
            open: IdMap::new(hash_seed),
            held: 0,
            pool: IdMap::new(hash_seed),
            totals: Counts::default(),
            genesis_value,
            work: 0,
        }
    }

    /// The last executed round.
    pub fn height(&self) -> Round {
        self.history.height()
    }

    /// The shard whose ledger this is.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The rules by which it judges entries.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// The committee under whose rules it executes.
    pub fn committee(&self) -> &Committee {
        self.rules.committee()
    }

    /// The outcomes of executed transactions since genesis.
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

    /// The sum of unspent coins, counted coin by coin; equals [`Ledger::value`].
    pub fn recount(&self) -> u128 {
        self.coins.recount()
    }

    /// The sum of the genesis coins.
    pub fn genesis_value(&self) -> u128 {
        self.genesis_value
    }

    /// The standing of a transaction by its id alone: an open record, or the settlement by a block.
    /// [`Standing::Open`] if neither, or if it is forgotten.
    pub fn known(&self, id: &TxId) -> Standing {
        // A record may outlive its history.
        if self.open.contains(id) {
            return Standing::Spent;
        }
        match self.settled(id) {
            Some((settled, round)) => Standing::Settled(settled, round),
            None => Standing::Open,
        }
    }

    fn settled(&self, id: &TxId) -> Option<(Settled, Round)> {
        let finished = || self.ends.find(id).map(|round| (Settled::Finished, round));
        self.history.find(id).or_else(finished)
    }

    /// How a valid transaction with its output or an input here stands before the next block. Owners' signatures are
    /// left to execution, and inputs in other shards to those. What was executed and is forgotten looks like one whose
    /// expiry has passed.
    pub fn standing(&self, id: &TxId, transaction: &TransactionView<'_>) -> Standing {
        match self.known(id) {
            Standing::Open => self.outlook(transaction).map_or(Standing::Open, Standing::Never),
            known => known,
        }
    }

    /// Whether a transaction may have been executed and forgotten here: nothing we remember shows what became of it.
    pub fn may_have_forgotten(&self, transaction: &TransactionView<'_>) -> bool {
        match transaction.expiry_in(self.shard) {
            Some(expiry) => expiry.0.saturating_add(FORGET_ROUNDS_AFTER_EXPIRY) <= self.height().0,
            None => self.ends.is_past(transaction),
        }
    }

    /// Why the next block cannot execute a transaction of which nothing is known.
    fn outlook(&self, transaction: &TransactionView<'_>) -> Option<Cause> {
        let Some(expiry) = transaction.expiry_in(self.shard) else {
            // All its input shards passed its expiries so long ago that nobody knows any more whether it finished.
            return self.ends.is_past(transaction).then_some(Cause::Expired);
        };
        if expiry <= self.height() {
            return Some(Cause::Expired);
        }
        if execute::is_too_far(expiry, self.height().next()) {
            return Some(Cause::ExpiryTooFar);
        }
        self.unspendable(transaction).map(Cause::Rejected)
    }

    /// The amount of a coin that is unspent here.
    pub fn unspent(&self, coin: &CoinId) -> Option<u64> {
        match self.coins.look_up(coin, &self.history) {
            Known::Unspent { amount, .. } => Some(amount),
            Known::Spent | Known::Not => None,
        }
    }

    /// Unspent coins of an owner with their amounts, at so many places of the ledger from one on, and the place after
    /// these unless the ledger ends before it. Where transactions are not signed, owners mean nothing: coins of any
    /// owner. Places stay the same while a coin is unspent; the ones of forgotten coins are used again.
    pub fn unspent_from(
        &self,
        owner: &crate::transaction::Owner,
        place: u32,
        places: usize,
    ) -> (Vec<(CoinId, u64)>, Option<u32>) {
        self.coins.unspent_from(owner, place, places)
    }

    /// The first input here that is spent or has another amount. Coins that are unknown may yet appear.
    fn unspendable(&self, transaction: &TransactionView<'_>) -> Option<Rejection> {
        let here = transaction.inputs().filter(|input| input.shard == self.shard);
        here.map(|input| (self.coins.look_up(&input.coin, &self.history), input.amount)).find_map(
            |(known, expected)| match known {
                Known::Spent => Some(Rejection::Spent),
                Known::Unspent { amount, .. } if amount != expected => Some(Rejection::WrongAmount),
                Known::Unspent { .. } | Known::Not => None,
            },
        )
    }

    // Cross-shard transactions.

    /// The last part executed that came from a shard of the committee.
    pub fn imported(&self, source: ShardId) -> PartNumber {
        self.links.imported(source)
    }

    /// The last part sent to a shard of the committee.
    pub fn sent(&self, destination: ShardId) -> PartNumber {
        self.links.sent(destination)
    }

    /// The record of a transaction that has spent here and whose end is not known here.
    pub fn open_record(&self, id: &TxId) -> Option<&OpenRecord> {
        self.open.get(id)
    }

    /// How many of them there are.
    pub fn open_records(&self) -> usize {
        self.open.len()
    }

    /// The sum of inputs under them.
    pub fn held(&self) -> u128 {
        self.held
    }

    /// The entry of a transaction that waits in the pool.
    pub fn pool_entry(&self, id: &TxId) -> Option<PoolView<'_>> {
        self.pool.get(id).map(|entry| PoolView { entry })
    }

    /// How many wait in the pool.
    pub fn pool_len(&self) -> usize {
        self.pool.len()
    }

    /// The cost of searching its tables. For checkers: it reads whole tables.
    pub fn steps(&self) -> Steps {
        [self.history.steps(), self.ends.steps(), self.open.steps(), self.pool.steps()]
            .into_iter()
            .fold(self.coins.steps(), Steps::and)
    }

    /// Transactions, parts and forgotten records that execution looked at so far, for the work meter.
    pub fn work(&self) -> u64 {
        self.work
    }

    /// The sums sent to and received from each shard since genesis, ascending, this one's own entry included.
    pub fn exchanged(&self) -> Vec<Exchange> {
        self.links.all().to_vec()
    }

    /// Unspent + held + gone to other shards = genesis + come from other shards.
    fn is_conserved(&self) -> bool {
        let (out, back) = self
            .links
            .all()
            .iter()
            .fold((0, 0), |(out, back), link| (out + link.value_out, back + link.value_in));
        self.coins.value() + self.held + out == self.genesis_value + back
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

    /// Bytes allocated for coins and history; what cross-shard transactions need is little beside it.
    pub fn allocated_bytes(&self) -> usize {
        self.coins.allocated_bytes() + self.history.allocated_bytes()
    }

    /// Transactions remembered; those that have spent and finished here twice.
    pub fn remembered(&self) -> usize {
        self.history.len() + self.ends.len()
    }

    /// A digest of all that can be observed of the state: equal on nodes that executed the same blocks. Sorts
    /// everything; for tests and verification.
    pub fn digest(&self) -> Digest {
        dump::digest(self)
    }
}

#[cfg(test)]
mod tests;
