//! The reference ledger of one shard: docs/design.md §9–§12 in the plainest possible form, never forgetting.
//!
//! It shares with the ledger under test the reading of proposals and transactions and the writing of group parts, and
//! nothing else. It returns what it does with coins as [`Act`]s, for the checks that concern all shards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wire::client::{Fate, Rejection};
use wire::committee::Committee;
use wire::ids::{CoinId, Index, PartNumber, Round, ShardId, TxId};
use wire::limits::{
    CANCELLED_ROUNDS_KEPT, EXPIRY_ROUNDS_AHEAD_MAX, FORGET_ROUNDS_AFTER_EXPIRY, PARTS_AHEAD_MAX,
};

use crate::part::{Group, Part as GroupPart, PartRef};
use crate::proposal::Rules;
use crate::transaction::{Expiry, Part, TransactionView, genesis_coin, output_coin, refund_coin, validate};

/// The expected effect of one block, and the ledger's totals after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Expected {
    pub(super) finished: u64,
    pub(super) rejected: u64,
    /// Duplicates, expired ones, those that expire too far ahead and those that are not this shard's.
    pub(super) skipped: u64,
    /// Entries that break static validity: no honest member signs one.
    pub(super) invalid_entries: u64,
    /// The sum of unspent coins.
    pub(super) value: u128,
    /// The sum of inputs under open records.
    pub(super) held: u128,
    pub(super) open_records: usize,
    pub(super) pool: usize,
}

/// An effect of a block that concerns more than one shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Act {
    Spent { id: TxId, coin: CoinId },
    Finished { id: TxId },
    Refunded { id: TxId, coin: CoinId },
}

/// How a transaction was settled here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Settled {
    Finished,
    /// Its inputs here are spent; its output shard decides.
    Spent,
    Rejected(Rejection),
    Expired,
}

/// A transaction that was executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Record {
    settled: Settled,
    height: Round,
    /// The height from which on its id and spent coins are forgotten.
    forgotten_at: Round,
}

/// A transaction that has spent here and whose end is not known here.
#[derive(Clone, Debug)]
struct Open {
    output: ShardId,
    inputs: Vec<(CoinId, u64)>,
}

/// A transaction that waits for input shards.
#[derive(Clone, Debug)]
struct Waiting {
    transaction: Vec<u8>,
    ticked: BTreeSet<ShardId>,
    listed: BTreeSet<Index>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Model {
    committee: Arc<Committee>,
    shard: ShardId,
    height: Round,
    unspent: BTreeMap<CoinId, u64>,
    spent: BTreeMap<CoinId, TxId>,
    records: BTreeMap<TxId, Record>,
    /// The expiries of cross-shard transactions that have finished here.
    finished: BTreeMap<TxId, Vec<Expiry>>,
    /// The heights of other shards, as far as the blocks of this one show.
    reached: BTreeMap<ShardId, Round>,
    open: BTreeMap<TxId, Open>,
    pool: BTreeMap<TxId, Waiting>,
    imported: BTreeMap<ShardId, PartNumber>,
    early: BTreeMap<(ShardId, PartNumber), Arc<GroupPart>>,
    sent: BTreeMap<ShardId, PartNumber>,
    groups: BTreeMap<ShardId, Group>,
    acts: Vec<Act>,
}

impl Model {
    pub(super) fn genesis(committee: Arc<Committee>, shard: ShardId) -> Model {
        let protocol = committee.protocol();
        let coins = 0..protocol.genesis_coins;
        let unspent: BTreeMap<CoinId, u64> = coins
            .map(|index| (genesis_coin(&committee.testbed(), shard, index), protocol.genesis_amount))
            .collect();
        Model {
            committee,
            shard,
            height: Round(0),
            unspent,
            spent: BTreeMap::new(),
            records: BTreeMap::new(),
            finished: BTreeMap::new(),
            reached: BTreeMap::new(),
            open: BTreeMap::new(),
            pool: BTreeMap::new(),
            imported: BTreeMap::new(),
            early: BTreeMap::new(),
            sent: BTreeMap::new(),
            groups: BTreeMap::new(),
            acts: Vec::new(),
        }
    }

    /// The sum of all unspent coins.
    pub(super) fn value(&self) -> u128 {
        self.unspent.values().map(|amount| u128::from(*amount)).sum()
    }

    /// The sums of inputs under open records, by transaction.
    pub(super) fn held(&self) -> impl Iterator<Item = (&TxId, u128)> {
        let sum = |open: &Open| open.inputs.iter().map(|(_, amount)| u128::from(*amount)).sum();
        self.open.iter().map(move |(id, open)| (id, sum(open)))
    }

    pub(super) fn unspent(&self) -> &BTreeMap<CoinId, u64> {
        &self.unspent
    }

    /// How a transaction was settled here, and at which height.
    pub(super) fn settled(&self, id: &TxId) -> Option<(Settled, Round)> {
        self.records.get(id).map(|record| (record.settled, record.height))
    }

    /// The fate of a transaction; `None` if it is not decided here.
    pub(super) fn fate(&self, id: &TxId) -> Option<Fate> {
        let record = self.records.get(id)?;
        match record.settled {
            Settled::Finished => Some(Fate::Finished(record.height)),
            Settled::Spent => None,
            Settled::Rejected(reason) => Some(Fate::Rejected(reason)),
            Settled::Expired => Some(Fate::Expired),
        }
    }

    /// Whether a ledger at this height has forgotten a settled transaction.
    pub(super) fn is_forgotten(&self, id: &TxId, height: Round) -> bool {
        match self.finished.get(id) {
            Some(expiries) => self.is_past(expiries, height),
            None => self.records.get(id).is_some_and(|record| record.forgotten_at <= height),
        }
    }

    /// Whether all input shards have passed these expiries by so much that none of them remembers the transaction, for
    /// all that a member at `height` can know.
    pub(super) fn is_past(&self, expiries: &[Expiry], height: Round) -> bool {
        expiries.iter().all(|expiry| {
            let reached =
                if expiry.shard == self.shard { Some(&height) } else { self.reached.get(&expiry.shard) };
            reached
                .is_some_and(|reached| reached.0 >= expiry.round.0.saturating_add(FORGET_ROUNDS_AFTER_EXPIRY))
        })
    }

    /// The transaction that spent a coin.
    pub(super) fn spender(&self, coin: &CoinId) -> Option<&TxId> {
        self.spent.get(coin)
    }

    /// Whether a transaction with these inputs here can never be executed here, nor was.
    pub(super) fn is_hopeless(&self, id: &TxId, inputs: &[(CoinId, u64)], expiry: Round) -> bool {
        match self.settled(id) {
            Some((Settled::Rejected(_) | Settled::Expired, _)) => true,
            Some((Settled::Finished | Settled::Spent, _)) => false,
            None => {
                expiry <= self.height
                    || inputs.iter().any(|(coin, amount)| match self.unspent.get(coin) {
                        Some(unspent) => unspent != amount,
                        None => self.spent.contains_key(coin),
                    })
            }
        }
    }

    /// Whether no record or pool entry here waits for another shard.
    pub(super) fn is_at_rest(&self) -> bool {
        self.open.is_empty() && self.pool.is_empty() && self.early.is_empty()
    }

    /// The open records and pool entries, as text.
    pub(super) fn waiting(&self) -> String {
        let ids = |ids: Vec<&TxId>| ids.iter().map(|id| id.to_string()).collect::<Vec<_>>().join(" ");
        let (open, pool) = (ids(self.open.keys().collect()), ids(self.pool.keys().collect()));
        format!("shard {}: open records [{open}] pool [{pool}]", self.shard)
    }

    /// Executes a block: payloads with the members whose lanes they stand in. `part` gives the parts that other shards
    /// have sent here. Returns the expected effect, the parts for other shards and all acts; `Err` names a part that
    /// was ordered and never sent.
    pub(super) fn execute<'a>(
        &mut self,
        rules: &Rules,
        height: Round,
        entries: impl Iterator<Item = (Index, &'a [u8])>,
        part: impl Fn(&PartRef) -> Option<Arc<GroupPart>>,
    ) -> Result<(Expected, Vec<GroupPart>, Vec<Act>), PartRef> {
        self.height = height;
        let mut expected = Expected::default();
        for (owner, payload) in entries {
            let Ok(view) = rules.validate(payload) else {
                expected.invalid_entries += 1;
                continue;
            };
            for import in view.imports() {
                let sent = part(&import.part).ok_or(import.part)?;
                self.import(sent);
            }
            for id in view.cancels() {
                self.list(id, owner);
            }
            for transaction in view.transactions() {
                match self.execute_one(&transaction) {
                    Some(Settled::Finished) => expected.finished += 1,
                    Some(Settled::Rejected(_)) => expected.rejected += 1,
                    Some(Settled::Spent) => {}
                    Some(Settled::Expired) | None => expected.skipped += 1,
                }
            }
        }
        expected.value = self.value();
        expected.held = self.held().map(|(_, held)| held).sum();
        expected.open_records = self.open.len();
        expected.pool = self.pool.len();
        let parts: Vec<GroupPart> =
            std::mem::take(&mut self.groups).into_values().flat_map(Group::finish).collect();
        self.sent.extend(parts.iter().map(|part| (part.destination, part.number)));
        Ok((expected, parts, std::mem::take(&mut self.acts)))
    }

    /// How this block settled the transaction, if it did.
    fn execute_one(&mut self, transaction: &TransactionView<'_>) -> Option<Settled> {
        let (id, height) = (transaction.id(), self.height);
        let part = transaction.part_of(self.shard);
        if part == Part::Foreign || self.records.contains_key(&id) {
            return None;
        }
        let expiry = transaction.expiry_in(self.shard)?;
        if expiry.0 > height.0 + EXPIRY_ROUNDS_AHEAD_MAX {
            return None;
        }
        let settled = if expiry < height {
            Settled::Expired
        } else if let Some(reason) = self.refusal(transaction) {
            Settled::Rejected(reason)
        } else {
            for input in transaction.inputs().filter(|input| input.shard == self.shard) {
                self.unspent.remove(&input.coin);
                self.spent.insert(input.coin, id);
                self.acts.push(Act::Spent { id, coin: input.coin });
            }
            if part == Part::Cross { Settled::Spent } else { Settled::Finished }
        };
        let forgotten_at = Round(expiry.0 + FORGET_ROUNDS_AFTER_EXPIRY);
        self.records.insert(id, Record { settled, height, forgotten_at });
        match settled {
            Settled::Finished => self.create_outputs(&id, transaction),
            Settled::Spent => self.open(id, transaction),
            // An output shard that will not spend need not wait for others.
            Settled::Rejected(_) | Settled::Expired if transaction.output_shard() == self.shard => {
                if let Some(waiting) = self.pool.remove(&id) {
                    self.cancel(id, transaction, &waiting.ticked);
                }
            }
            Settled::Rejected(_) | Settled::Expired => {}
        }
        Some(settled)
    }

    fn create_outputs(&mut self, id: &TxId, transaction: &TransactionView<'_>) {
        for (index, output) in (0u8..).zip(transaction.outputs()) {
            self.unspent.insert(output_coin(id, index), output.amount);
        }
        self.acts.push(Act::Finished { id: *id });
    }

    /// Why its inputs here cannot be spent: the first that fails.
    fn refusal(&self, transaction: &TransactionView<'_>) -> Option<Rejection> {
        let here = transaction.inputs().filter(|input| input.shard == self.shard);
        here.into_iter().find_map(|input| match self.unspent.get(&input.coin) {
            Some(amount) if *amount == input.amount => None,
            Some(_) => Some(Rejection::WrongAmount),
            // The spender is known until the block in which it is forgotten.
            None => match self.spent.get(&input.coin) {
                Some(spender) if self.records[spender].forgotten_at >= self.height => Some(Rejection::Spent),
                _ => Some(Rejection::UnknownCoin),
            },
        })
    }

    /// Its inputs here are spent.
    fn open(&mut self, id: TxId, transaction: &TransactionView<'_>) {
        let here = transaction.inputs().filter(|input| input.shard == self.shard);
        let inputs = here.map(|input| (input.coin, input.amount)).collect();
        let output = transaction.output_shard();
        self.open.insert(id, Open { output, inputs });
        if output == self.shard {
            self.tick(id, transaction, self.shard);
        } else {
            let _ = self.group(output).spent(id, transaction.bytes());
        }
    }

    fn group(&mut self, destination: ShardId) -> &mut Group {
        let next = self.sent.get(&destination).copied().unwrap_or_default().next();
        let (shard, height) = (self.shard, self.height);
        self.groups.entry(destination).or_insert_with(|| Group::new(shard, destination, height, next))
    }

    /// Parts of one shard are executed in the order of their numbers.
    fn import(&mut self, part: Arc<GroupPart>) {
        let source = part.source;
        let watermark = self.imported.get(&source).copied().unwrap_or_default();
        if (watermark.0 + 1..=watermark.0 + PARTS_AHEAD_MAX).contains(&part.number.0) {
            self.early.insert((source, part.number), part);
        }
        loop {
            let next = self.imported.get(&source).copied().unwrap_or_default().next();
            let Some(part) = self.early.remove(&(source, next)) else { return };
            self.imported.insert(source, next);
            self.execute_part(&part);
        }
    }

    fn execute_part(&mut self, part: &GroupPart) {
        self.reached.insert(part.source, part.height);
        for id in &part.finished {
            if self.open.get(id).is_some_and(|open| open.output == part.source) {
                self.open.remove(id);
            }
        }
        for id in &part.cancelled {
            if self.open.get(id).is_some_and(|open| open.output == part.source) {
                self.refund(id);
            }
        }
        let committee = self.committee.clone();
        for (id, bytes) in part.spent() {
            let Ok(transaction) = validate(bytes, &committee) else { continue };
            if transaction.output_shard() == self.shard && transaction.expiry_in(part.source).is_some() {
                self.tick(id, &transaction, part.source);
            }
        }
    }

    fn tick(&mut self, id: TxId, transaction: &TransactionView<'_>, source: ShardId) {
        let is_known = self.pool.contains_key(&id);
        if !is_known
            && source != self.shard
            && let Some(expiry) = transaction.expiry_in(self.shard)
        {
            match self.settled(&id) {
                Some((Settled::Rejected(_) | Settled::Expired, _)) => {
                    return self.cancel(id, transaction, &BTreeSet::from([source]));
                }
                Some((Settled::Finished | Settled::Spent, _)) => return,
                None if expiry < self.height => {
                    return self.cancel(id, transaction, &BTreeSet::from([source]));
                }
                None => {}
            }
        }
        let waiting = self.pool.entry(id).or_insert_with(|| Waiting {
            transaction: transaction.bytes().to_vec(),
            ticked: BTreeSet::new(),
            listed: BTreeSet::new(),
        });
        waiting.ticked.insert(source);
        if waiting.ticked.len() < transaction.expiries().len() {
            return;
        }
        self.pool.remove(&id);
        self.create_outputs(&id, transaction);
        for expiry in transaction.expiries() {
            if expiry.shard == self.shard {
                self.open.remove(&id);
            } else {
                self.group(expiry.shard).finished(id);
            }
        }
        self.finished.insert(id, transaction.expiries().collect());
        self.end(id, transaction, Settled::Finished);
    }

    /// A member lists a transaction to be cancelled.
    fn list(&mut self, id: TxId, by: Index) {
        let Some(waiting) = self.pool.get_mut(&id) else { return };
        waiting.listed.insert(by);
        if waiting.listed.len() < self.committee.one_honest() {
            return;
        }
        let waiting = self.pool.remove(&id).expect("it was there a moment ago");
        let transaction = TransactionView::parse(&waiting.transaction).expect("it was valid when it ticked");
        self.cancel(id, &transaction, &waiting.ticked);
    }

    /// `ticked` refund their inputs. Sets are ordered; the ledger's order is that of arrival.
    fn cancel(&mut self, id: TxId, transaction: &TransactionView<'_>, ticked: &BTreeSet<ShardId>) {
        for shard in ticked {
            if *shard == self.shard {
                self.refund(&id);
            } else {
                self.group(*shard).cancelled(id);
            }
        }
        self.end(id, transaction, Settled::Rejected(Rejection::Cancelled));
    }

    fn refund(&mut self, id: &TxId) {
        let Some(open) = self.open.remove(id) else { return };
        for (coin, amount) in open.inputs {
            self.unspent.insert(refund_coin(id, &coin), amount);
            self.acts.push(Act::Refunded { id: *id, coin });
        }
        if let Some(record) = self.records.get_mut(id) {
            *record =
                Record { settled: Settled::Rejected(Rejection::Cancelled), height: self.height, ..*record };
        }
    }

    /// How a transaction was settled whose output shard is this one.
    fn end(&mut self, id: TxId, transaction: &TransactionView<'_>, settled: Settled) {
        let height = self.height;
        let expiry = transaction.expiry_in(self.shard).unwrap_or_default();
        let barred = (expiry.0 + FORGET_ROUNDS_AFTER_EXPIRY).min(height.0 + EXPIRY_ROUNDS_AHEAD_MAX);
        let forgotten_at = Round(barred.max(height.0 + CANCELLED_ROUNDS_KEPT));
        match self.records.get_mut(&id) {
            // It remembers its own rejection.
            Some(record) if matches!(record.settled, Settled::Rejected(_) | Settled::Expired) => {}
            Some(record) => *record = Record { settled, height, ..*record },
            None => {
                self.records.insert(id, Record { settled, height, forgotten_at });
            }
        }
    }
}
