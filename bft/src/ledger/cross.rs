//! Cross-shard transactions: records at input shards, the pool at the output shard, and the parts between them.
//!
//! **Guarantee.** The output shard alone decides, and once: an entry of the pool ends as finished or as cancelled, both
//! by executed blocks. Inputs are given back only under an open record, by the word of the output shard, and the record
//! is closed with it; so nothing is both finished and refunded, and no input is refunded twice. \[safety]
//!
//! **Steps.** At an input shard: inputs spent, record opened, transaction into the group of the output shard (or, if
//! that is here, a tick at once). At the output shard: a tick makes an entry or adds to it; when all input shards have
//! ticked the outputs are created; when f+1 members listed it, or this shard has itself rejected it, the entry is
//! dropped. Either end goes to the shards that ticked, and closes or refunds there.
//!
//! **Why it suffices.** A part is executed once and in its turn, so a tick counts once; an input shard spends for a
//! transaction once, since an open record and then its history or the expiry bar it. Among f+1 members one is honest,
//! and it lists only what can never finish. A claim of another shard counts only for what that shard decides.
//!
//! **Memory.** An entry of the pool stands for coins spent elsewhere, a record for coins spent here: both are bounded
//! by the number of coins. For clients that ask it is remembered what finished here ([`crate::ledger::ends`]), and for
//! `CANCELLED_ROUNDS_KEPT` rounds what was cancelled.

use wire::client::Rejection;
use wire::ids::{Index, PartNumber, Round, ShardId, TxId};
use wire::limits::{CANCELLED_ROUNDS_KEPT, EXPIRY_ROUNDS_AHEAD_MAX, FORGET_ROUNDS_AFTER_EXPIRY};

use crate::ledger::Ledger;
use crate::ledger::block::Block;
use crate::ledger::open::{Held, OpenRecord, PoolEntry};
use crate::ledger::outcome::{Cause, CrossEvent, Settled, Standing};
use crate::mutant::{Mutant, in_force};
use crate::part::Part;
use crate::transaction::{Owner, TransactionView, output_coin, refund_coin, validate};

impl Ledger {
    /// Executes a part of another shard, whose turn it is: ends first, so that what they free is free, then ticks.
    pub(super) fn execute_part(&mut self, part: &Part, block: &mut Block) {
        let source = part.source;
        self.links.of(source).part_in = part.number;
        self.ends.reach(source, part.height);
        block.imported(part.reference());
        for id in &part.finished {
            if self.is_decided_by(id, source) {
                self.close(id, block);
            }
        }
        for id in &part.cancelled {
            if self.is_decided_by(id, source) {
                self.refund(id, block);
            }
        }
        let committee = self.rules.committee().clone();
        for (id, bytes) in part.spent() {
            // The source's members have executed it, so it is valid unless more than f of them are faulty.
            let Ok(transaction) = validate(bytes, &committee) else { continue };
            let is_input = transaction.expiry_in(source).is_some();
            if transaction.output_shard() == self.shard
                && (is_input || !in_force(Mutant::TicksOnlyFromInputShards))
            {
                self.tick(id, &transaction, source, block);
            }
        }
    }

    /// Opens the record of a transaction whose inputs here, `inputs`, are being spent.
    pub(super) fn record_spent(
        &mut self,
        id: TxId,
        transaction: &TransactionView<'_>,
        inputs: Box<[Held]>,
        block: &mut Block,
    ) {
        let output = transaction.output_shard();
        let part = if output == self.shard {
            PartNumber(0)
        } else {
            block.group(output, &self.links).spent(id, transaction.bytes())
        };
        let record = OpenRecord { output, part, round: block.round, inputs };
        self.held += record.held();
        self.open.insert(id, record);
        self.links.of(output).spent.add(&id);
        block.event(CrossEvent::Spent { id, output, part });
        if output == self.shard {
            self.tick(id, transaction, output, block);
        }
    }

    /// A transaction with inputs here was ordered and can never execute.
    pub(super) fn reject_cross(
        &mut self,
        id: TxId,
        transaction: &TransactionView<'_>,
        cause: Cause,
        block: &mut Block,
    ) {
        let output = transaction.output_shard();
        let mut others: Vec<ShardId> = transaction.expiries().map(|expiry| expiry.shard).collect();
        if let Err(at) = others.binary_search(&output) {
            others.insert(at, output);
        }
        others.retain(|shard| *shard != self.shard);
        block.event(CrossEvent::Rejected { id, others, cause });
        if output == self.shard
            && let Some(entry) = self.pool.remove(&id)
        {
            self.cancel(id, transaction, &entry.ticked, block);
        }
    }

    /// An input shard has spent for a transaction whose output shard is this one.
    fn tick(&mut self, id: TxId, transaction: &TransactionView<'_>, source: ShardId, block: &mut Block) {
        let awaited = transaction.expiries().len();
        match self.pool.get_mut(&id) {
            Some(entry) if entry.ticked.contains(&source) => {}
            Some(entry) => {
                entry.ticked.push(source);
                self.links.of(source).ticked.add(&id);
                if entry.ticked.len() == awaited {
                    self.pool.remove(&id);
                    self.finish(id, transaction, block);
                }
            }
            None => match self.standing_at_tick(&id, transaction, source, block.round) {
                // It ticked here when it spent, so its entry has ended: only a faulty shard ticks once more.
                Standing::Spent | Standing::Settled(Settled::Finished | Settled::Spent, _) => {}
                Standing::Settled(Settled::Never(_), _) | Standing::Never(_) => {
                    self.links.of(source).ticked.add(&id);
                    self.cancel(id, transaction, &[source], block);
                }
                Standing::Open if awaited == 1 => {
                    self.links.of(source).ticked.add(&id);
                    self.finish(id, transaction, block);
                }
                Standing::Open => {
                    self.links.of(source).ticked.add(&id);
                    let entry = PoolEntry {
                        transaction: transaction.bytes().to_vec().into(),
                        ticked: vec![source],
                        listed: Vec::new(),
                        made_in: block.round,
                    };
                    self.pool.insert(id, entry);
                    block.event(CrossEvent::Pooled { id });
                }
            },
        }
    }

    /// How a transaction without an entry stands at its first tick. [`Ledger::standing`] will not do: what is known of
    /// one without inputs here serves receipts only, and no block may depend on how long that is.
    fn standing_at_tick(
        &self,
        id: &TxId,
        transaction: &TransactionView<'_>,
        source: ShardId,
        round: Round,
    ) -> Standing {
        let Some(expiry) = transaction.expiry_in(self.shard).filter(|_| source != self.shard) else {
            return Standing::Open;
        };
        match self.history.find(id) {
            Some((settled, at)) => Standing::Settled(settled, at),
            None if expiry < round => Standing::Never(Cause::Expired),
            None => Standing::Open,
        }
    }

    /// All input shards have spent: creates the outputs, and has the input shards close their records.
    fn finish(&mut self, id: TxId, transaction: &TransactionView<'_>, block: &mut Block) {
        for (index, output) in (0u8..).zip(transaction.outputs()) {
            self.coins.create(output_coin(&id, index), output.amount, output.owner);
        }
        for input in transaction.inputs() {
            self.links.of(input.shard).value_in += u128::from(input.amount);
        }
        block.event(CrossEvent::Finished { id });
        for expiry in transaction.expiries() {
            self.links.of(expiry.shard).finished.add(&id);
            if expiry.shard == self.shard {
                self.close(&id, block);
            } else {
                block.group(expiry.shard, &self.links).finished(id);
            }
        }
        self.history.end(&id, Settled::Finished, block.round);
        self.ends.remember(id, transaction, block.round);
    }

    /// Members that list a transaction of the pool: cancels it when at least one of them is honest.
    pub(super) fn list_cancel(&mut self, id: &TxId, by: Index, block: &mut Block) {
        let Some(entry) = self.pool.get_mut(id) else { return };
        if let Err(at) = entry.listed.binary_search(&by) {
            entry.listed.insert(at, by);
        }
        let enough =
            if in_force(Mutant::CancelNeedsOneHonest) { self.rules.committee().one_honest() } else { 1 };
        if entry.listed.len() >= enough
            && let Some(entry) = self.pool.remove(id)
        {
            self.cancel(*id, &entry.view(), &entry.ticked, block);
        }
    }

    /// A transaction that can never finish: has the shards that spent for it give back what they hold.
    fn cancel(&mut self, id: TxId, transaction: &TransactionView<'_>, ticked: &[ShardId], block: &mut Block) {
        block.event(CrossEvent::Cancelled { id });
        for shard in ticked {
            self.links.of(*shard).cancelled.add(&id);
            if *shard == self.shard {
                self.refund(&id, block);
            } else {
                block.group(*shard, &self.links).cancelled(id);
            }
        }
        self.remember_cancelled(id, transaction, block.round);
    }

    /// Remembers at the output shard that a transaction was cancelled: for receipts, and so that one whose inputs here
    /// are not spent yet never will be, as long as its expiry does not bar it. \[safety]
    fn remember_cancelled(&mut self, id: TxId, transaction: &TransactionView<'_>, round: Round) {
        let settled = Settled::Never(Cause::Rejected(Rejection::Cancelled));
        if self.history.end(&id, settled, round) || self.history.find(&id).is_some() {
            return;
        }
        let mut forget = round.0 + CANCELLED_ROUNDS_KEPT;
        if let Some(expiry) = transaction.expiry_in(self.shard) {
            let barred = expiry.0.saturating_add(FORGET_ROUNDS_AFTER_EXPIRY);
            forget = forget.max(barred.min(round.0 + EXPIRY_ROUNDS_AHEAD_MAX));
        }
        let hashed = self.history.hash(&id);
        self.history.remember(hashed, id, settled, round, Round(forget), &[]);
    }

    /// Whether a shard has a say in what becomes of a transaction that has spent here.
    fn is_decided_by(&self, id: &TxId, shard: ShardId) -> bool {
        let record = self.open.get(id);
        record.is_some_and(|record| record.output == shard || !in_force(Mutant::EndsOnlyFromOutputShard))
    }

    /// The transaction has finished: what it spent here is gone for good.
    fn close(&mut self, id: &TxId, block: &mut Block) {
        let record = if in_force(Mutant::RefundNeedsOpenRecord) {
            self.open.remove(id)
        } else {
            self.open.get(id).cloned()
        };
        let Some(record) = record else { return };
        let held = record.held();
        self.held -= held;
        let link = self.links.of(record.output);
        link.closed.add(id);
        link.value_out += held;
        block.event(CrossEvent::Closed { id: *id });
    }

    /// The transaction was cancelled: gives back what it spent here, as coins of their own.
    fn refund(&mut self, id: &TxId, block: &mut Block) {
        let Some(record) = self.open.remove(id) else { return };
        self.held -= record.held();
        for held in &record.inputs {
            // Where owners mean nothing, any will do.
            let owner = held.owner.unwrap_or(Owner([0; 32]));
            self.coins.create(refund_coin(id, &held.coin), held.amount, owner);
        }
        self.history.end(id, Settled::Never(Cause::Rejected(Rejection::Cancelled)), block.round);
        self.links.of(record.output).refunded.add(id);
        block.event(CrossEvent::Refunded { id: *id });
    }
}
