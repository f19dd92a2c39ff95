//! Orders: how a cross-shard transaction gets from its output shard, where its client handed it in, onto the lists of
//! its input shards (docs/design.md §14).
//!
//! **Asking** ([`Orders::begin`], [`Orders::tick`]). The contact asks f+1 members of each other input shard at once:
//! one of them is honest. If there is no receipt after 2 s, it asks *all* members of the shards that are missing, then
//! again after twice the time and so on up to every 10 s. Every member of the output shard does the same for the
//! transactions in its pool, so a client or a contact that crashes leaves nothing half-done. If the inputs at the
//! output shard itself are missing, the transaction goes onto the own list.
//!
//! **Answering** ([`Orders::on_order`]). The member asked judges by its ledger: inputs are spent here, under an open
//! record → the number of the part that carries the transaction, whose re-sending does the rest, never a rejection; it
//! can never execute here → a vote (CL_M) and what is known of it (CL), by `shard::reject`; else it goes onto the list,
//! as its home or as a backup. Nothing in an order is trusted except the bytes of its transactions.
//!
//! **Bound.** Listed transactions take up the asker's share of the list ([`Mempool::order`]). Those that can never
//! execute take no room there, so the reports that they cause are rationed for each peer (`shard::reject::ration`). An
//! honest asker asks again.
//!
//! **Cost.** One copy of a transaction for each shard that is asked, one id and two look-ups for each that asks. Of a
//! transaction that is asked for some 100 bytes are kept here; its bytes stay with the mempool, or with the pool.
//!
//! Call order: [`Orders::begin`] after each submission, [`Orders::executed`] after each block, [`Orders::review`] when
//! the mempool has reported a transaction's end to a client otherwise, [`Orders::tick`] when [`Orders::next_wakeup`] is
//! due.

mod asking;
#[cfg(test)]
mod tests;

use wire::bytes::Bytes;
use wire::client::list;
use wire::dest::Dest;
use wire::ids::{NodeId, PartNumber, TxId};
use wire::limits::{ORDER_BYTES_MAX, SUBMISSION_TRANSACTIONS_MAX};

use crate::effects::Effects;
use crate::fault::FaultKind;
use crate::id_index::{GROUP, Steps};
use crate::ledger::{BlockOutcome, CrossEvent, Ledger, Standing};
use crate::member::Member;
use crate::mempool::{Mempool, Order, other_shards};
use crate::proposal::payload_bytes;
use crate::shard::home::{Since, home_of};
use crate::shard::message::RejectVote;
use crate::shard::order::asking::Asking;
use crate::time::Time;
use crate::transaction::{self, Part, TransactionView, tx_id};

/// What orders want done.
pub type OrderEffects = Effects<OrderSend, OrderOutput, Dest>;

/// Messages about orders.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OrderSend {
    /// Put these on your list.
    Order(Vec<Bytes>),
    /// Answer to an order: `ShardMessage::Spent`.
    Spent(Vec<(TxId, PartNumber)>),
}

/// Results for the parent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OrderOutput {
    /// These can never execute here. They are to be reported to the own shard, and to the node that asked for them
    /// as far as the reports suffice by now.
    Never {
        /// The node that asked; `None` if we found it ourselves.
        asker: Option<NodeId>,
        /// What to report.
        votes: Vec<RejectVote>,
    },
}

/// Both sides of ordering what concerns several shards.
#[derive(Clone, Debug)]
pub struct Orders {
    member: Member,
    asking: Asking,
}

/// What one order is answered.
#[derive(Default)]
struct Answer {
    spent: Vec<(TxId, PartNumber)>,
    votes: Vec<RejectVote>,
}

/// How a transaction that we are asked to order stands in our ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// It may execute.
    Open,
    /// It was executed here or never will be.
    Known,
}

impl Orders {
    /// Nothing asked for yet; `hash_seed` as for the ledger.
    pub fn new(member: Member, hash_seed: u64) -> Orders {
        Orders { asking: Asking::new(&member, hash_seed), member }
    }

    /// Transactions that other shards are asked for until they have a fate.
    pub fn len(&self) -> usize {
        self.asking.len()
    }

    /// Whether none is asked for.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What searching its tables costs. For checkers: it reads whole tables.
    pub fn steps(&self) -> Steps {
        self.asking.steps()
    }

    /// Asks f+1 members of each other input shard to order transactions that a client just handed in.
    pub fn begin(&mut self, now: Time, ids: &[TxId], mempool: &Mempool, ledger: &Ledger) -> OrderEffects {
        self.asking.begin(now, ids, mempool, ledger)
    }

    /// Asks all members of the missing shards for what is due.
    pub fn tick(&mut self, now: Time, mempool: &mut Mempool, ledger: &Ledger) -> OrderEffects {
        let mut effects = OrderEffects::none();
        let missing_here = self.asking.tick(now, mempool, ledger, &mut effects);
        let mut answer = Answer::default();
        for bytes in missing_here {
            let view = TransactionView::parse(&bytes).expect("what is in the pool was validated");
            let id = view.id();
            if self.judge(id, view, ledger, &mut answer) == Verdict::Open {
                self.list(now, self.member.node(), id, view, mempool, ledger);
            }
        }
        // Whether one of ours is spent our own ledger knows.
        if !answer.votes.is_empty() {
            effects.outputs.push(OrderOutput::Never { asker: None, votes: answer.votes });
        }
        effects
    }

    /// When [`Orders::tick`] is due; `None` while nothing is asked for.
    pub fn next_wakeup(&self) -> Option<Time> {
        self.asking.next_due()
    }

    /// Watches what a block brought into the pool, and asks no more for what it ended. The mempool has seen the block.
    pub fn executed(&mut self, now: Time, outcome: &BlockOutcome, mempool: &Mempool, ledger: &Ledger) {
        for event in &outcome.cross {
            match event {
                CrossEvent::Pooled { id } => self.asking.watch(now, *id),
                CrossEvent::Finished { id }
                | CrossEvent::Cancelled { id }
                | CrossEvent::Rejected { id, .. } => self.review([id].into_iter(), mempool, ledger),
                CrossEvent::Spent { .. } | CrossEvent::Refunded { .. } | CrossEvent::Closed { .. } => {}
            }
        }
    }

    /// Looks again at transactions of which something ended: those that neither the mempool nor the pool waits for are
    /// asked for no more.
    pub fn review<'a>(&mut self, ids: impl Iterator<Item = &'a TxId>, mempool: &Mempool, ledger: &Ledger) {
        for id in ids {
            if mempool.contact_bytes(id).is_none() && ledger.pool_entry(id).is_none() {
                self.asking.forget(id);
            }
        }
    }

    /// What our children had under way may be lost: all is asked again at once.
    pub fn on_child_restarted(&mut self, now: Time) {
        self.asking.retry_now(now);
    }

    /// A member of an input shard claims that these have spent there; then that shard is asked only every 10 s. It may
    /// lie: nothing else depends on it.
    pub fn on_spent(&mut self, from: NodeId, spent: &[(TxId, PartNumber)]) -> OrderEffects {
        let shard = self.member.committee.shard_of(from);
        if shard == self.member.shard || spent.len() > SUBMISSION_TRANSACTIONS_MAX {
            return OrderEffects::fault(from, FaultKind::BadRequest);
        }
        spent.iter().for_each(|(id, _)| self.asking.spent(id, shard));
        OrderEffects::none()
    }

    /// A list of transactions that another member asks us to order. `believed` returns whether one of a transaction's
    /// other shards is believed to reject it: that is not listed.
    pub fn on_order(
        &mut self,
        now: Time,
        from: NodeId,
        body: &Bytes,
        believed: impl Fn(&TxId) -> bool,
        mempool: &mut Mempool,
        ledger: &Ledger,
    ) -> OrderEffects {
        let items = (body.len() as u64 <= ORDER_BYTES_MAX)
            .then(|| list::parse(body, SUBMISSION_TRANSACTIONS_MAX))
            .flatten();
        let Some(items) = items else { return OrderEffects::fault(from, FaultKind::BadRequest) };
        let mut effects = OrderEffects::none();
        let mut answer = Answer::default();
        let mut group = Vec::with_capacity(GROUP);
        for items in items.chunks(GROUP) {
            group.clear();
            for item in items {
                let Some(view) = self.check(from, &body[item.clone()]) else {
                    // No honest member sends such: the rest is not looked at.
                    effects.push_fault(from, FaultKind::BadRequest);
                    return effects;
                };
                group.push((tx_id(view.bytes()), view));
            }
            ledger.warm(group.iter().map(|(id, view)| (id, view)));
            for (id, view) in &group {
                // Whoever asks again has not had its answer yet, whatever we believe: only the listing can be spared.
                if self.judge(*id, *view, ledger, &mut answer) == Verdict::Open && !believed(id) {
                    self.list(now, from, *id, *view, mempool, ledger);
                }
            }
        }
        if !answer.spent.is_empty() {
            effects.push_send(Dest::Node(from), OrderSend::Spent(answer.spent));
        }
        if !answer.votes.is_empty() {
            effects.outputs.push(OrderOutput::Never { asker: Some(from), votes: answer.votes });
        }
        effects
    }

    /// The view of a transaction that a member may ask us to order: valid, cross-shard, short enough for a proposal,
    /// with an input here and its output in the shard of the node that asks.
    fn check<'a>(&self, from: NodeId, bytes: &'a [u8]) -> Option<TransactionView<'a>> {
        let committee = &self.member.committee;
        let view = transaction::validate(bytes, committee).ok()?;
        let concerns = view.part_of(self.member.shard) == Part::Cross
            && view.output_shard() == committee.shard_of(from)
            && payload_bytes(bytes.len()) <= committee.protocol().proposal_bytes_max;
        concerns.then_some(view)
    }

    /// Answers for one transaction if our ledger has an answer.
    fn judge(
        &self,
        id: TxId,
        transaction: TransactionView<'_>,
        ledger: &Ledger,
        answer: &mut Answer,
    ) -> Verdict {
        // With its output here it has ticked our own pool, and the asker has the same ledger.
        if let Some(record) = ledger.open_record(&id) {
            if record.output() != self.member.shard {
                answer.spent.push((id, record.part()));
            }
            return Verdict::Known;
        }
        let standing = ledger.standing(&id, &transaction);
        if let Some(cause) = standing.never() {
            answer.votes.push(RejectVote {
                id,
                others: other_shards(&transaction, self.member.shard),
                cause,
            });
            return Verdict::Known;
        }
        // One that executed and is closed is finished: the asker learns of it from its own shard.
        match standing {
            Standing::Open => Verdict::Open,
            _ => Verdict::Known,
        }
    }

    /// Lists what may execute.
    fn list(
        &self,
        now: Time,
        from: NodeId,
        id: TxId,
        transaction: TransactionView<'_>,
        mempool: &mut Mempool,
        ledger: &Ledger,
    ) {
        let Some(expiry) = transaction.expiry_in(self.member.shard) else { return };
        let home = Some(home_of(&id, self.member.committee.n())).filter(|home| *home != self.member.index);
        let since = Since { time: now, round: ledger.height() };
        // What finds no room is asked for again.
        mempool.order(&Order { from, id, transaction, expiry, home, since }, ledger);
    }
}
