//! Asking: how a cross-shard transaction gets from its output shard, where its client handed it in, onto the lists of
//! its input shards (docs/design.md §14).
//!
//! The contact asks f+1 members of each other input shard at once: one of them is honest. If there is no receipt after
//! 2 s, it asks *all* members of the shards that are missing, then again after twice the time and so on up to every
//! 10 s. Every member of the output shard does the same for the transactions in its pool, so a client or a contact that
//! crashes leaves nothing half-done. If the inputs at the output shard itself are missing, the transaction goes onto
//! the own list.
//!
//! **Cost.** One copy of a transaction for each shard asked; some 100 bytes each are kept here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::bytes::Bytes;
use wire::dest::Dest;
use wire::ids::{Index, NodeId, PartNumber, ShardId, TxId};
use wire::limits::SUBMISSION_TRANSACTIONS_MAX;

use crate::fault::FaultKind;
use crate::ledger::Ledger;
use crate::pending::list::{Asked, IN_ASKING, List};
use crate::pending::order::Answer;
use crate::pending::queues::{Kind, Queues};
use crate::pending::{Output, Pending, PendingSend};
use crate::retries::{Retry, Schedule, Turn};
use crate::shard::home::home_of;
use crate::slab::Place;
use crate::time::{Span, Time};
use crate::transaction::TransactionView;

/// First wait before all members of a shard are asked; doubles to [`WAIT_MAX`].
const WAIT_FIRST: Span = Span::from_ms(2_000);
const WAIT_MAX: Span = Span::from_ms(10_000);
/// A shard that claims to have spent is not asked for so long: a member that lies does not silence us.
const SPENT_PATIENCE: Span = WAIT_MAX;
/// Transactions fall due at multiples of this, so that those handed in within one such span go out in one message a
/// shard.
const GRID: Span = Span::from_ms(100);
/// Transactions that are asked for again at one such time. At saturation thousands wait for longer than [`WAIT_FIRST`]
/// though nothing is lost; if every member of one shard asked every member of another for all of them, that would cost
/// more than ordering them. The rest has its turn at the next such time, the longest due first.
const REPEATS_MAX: usize = 64;

/// When to ask again. Bound: transactions of clients, and entries of the pool.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Asking {
    schedule: Schedule,
    queues: Queues<Turn>,
    /// No request is repeated before this time.
    rest_until: Time,
}

impl Asking {
    pub(super) fn new() -> Asking {
        Asking { schedule: Schedule::new(WAIT_MAX), queues: Queues::new(Kind::Asking), rest_until: Time(0) }
    }

    pub(super) fn due(&self) -> Option<Time> {
        self.queues.first().map(|(turn, _)| self.schedule.due(turn).max(self.rest_until))
    }

    /// Starts to ask for a transaction, unless it is asked for.
    pub(super) fn start(&mut self, now: Time, list: &mut List, place: Place) {
        let record = list.get_mut(place);
        if record.asked.is_none() {
            let retry = Retry::new(&self.schedule, on_grid(now + WAIT_FIRST), WAIT_FIRST.doubled(WAIT_MAX));
            record.asked = Some(Box::new(Asked::new(retry)));
            self.queues.push(list.records_mut(), retry.turn(), place);
        }
    }

    /// Asks for a transaction no more, if it is asked for.
    pub(super) fn stop(&mut self, list: &mut List, place: Place) {
        if let Some(asked) = &list.get(place).asked {
            let turn = asked.retry.turn();
            self.queues.take_out(list.records_mut(), turn, place);
            list.get_mut(place).asked = None;
        }
    }

    /// A transaction to ask for again at `now`; its next turn comes later. Call until there is none.
    fn next(&mut self, now: Time, list: &mut List) -> Option<Place> {
        let (turn, place) = self.queues.first().filter(|(turn, _)| self.schedule.due(*turn) <= now)?;
        self.queues.take_out(list.records_mut(), turn, place);
        let retry = &mut list.get_mut(place).asked.as_mut().expect(IN_ASKING).retry;
        retry.tried(&self.schedule, now);
        let turn = retry.turn();
        self.queues.push(list.records_mut(), turn, place);
        Some(place)
    }
}

impl Pending {
    /// Asks again what is due. Those whose inputs here are missing go onto the own list.
    pub fn tick(&mut self, now: Time, ledger: &Ledger) -> Output {
        let mut output = Output::default();
        let mut batches: BTreeMap<ShardId, Vec<Bytes>> = BTreeMap::new();
        let mut missing_here = Vec::new();
        if now < self.asking.rest_until {
            return output;
        }
        for left in (0..REPEATS_MAX).rev() {
            if left == 0 {
                self.asking.rest_until = on_grid(now + GRID);
            }
            // Due times stay on the grid though we may come late.
            let Some(place) = self.asking.next(last_on_grid(now), &mut self.list) else { break };
            let id = self.list.id(place);
            let record = self.list.get_mut(place);
            let pooled = || ledger.pool_entry(&id).map(|entry| entry.transaction().clone());
            let bytes = record.bytes.clone().or_else(pooled).expect("a client or the pool waits for it");
            let asked = record.asked.as_mut().expect(IN_ASKING);
            for shard in missing(&id, &bytes, ledger) {
                if shard == ledger.shard() {
                    missing_here.push((id, bytes.clone()));
                } else if asked.should_ask(shard, now) {
                    batches.entry(shard).or_default().push(bytes.clone());
                }
            }
        }
        for (shard, batch) in batches {
            output.sends.push((Dest::Shard(shard), PendingSend::Order(batch)));
        }
        let mut answer = Answer::default();
        for (id, bytes) in missing_here {
            let view = TransactionView::parse(&bytes).expect("what is in the pool was validated");
            self.judge(now, self.member.node(), id, view, ledger, &mut answer);
        }
        // Nobody needs `answer.spent`: our own ledger knows what has spent here.
        self.report(now, BTreeMap::from([(None, answer.votes)]), ledger, &mut output);
        output
    }

    /// Messages may be lost with a child: all orders are repeated at once, and copies that nobody acknowledged.
    pub fn on_child_restarted(&mut self, now: Time) {
        self.asking.rest_until = now;
        self.asking.schedule.retry_now(last_on_grid(now));
        self.sharing.retry_now();
    }

    /// A member of an input shard claims that these have spent there; then that shard is asked only every 10 s. It may
    /// lie: nothing else depends on it.
    pub fn on_spent(&mut self, now: Time, from: NodeId, spent: &[(TxId, PartNumber)]) -> Output {
        let shard = self.member.committee.shard_of(from);
        if shard == self.member.shard || spent.len() > SUBMISSION_TRANSACTIONS_MAX {
            return Output::fault(from, FaultKind::BadRequest);
        }
        for (id, _) in spent {
            let record = self.list.find(id).map(|place| self.list.get_mut(place));
            if let Some(asked) = record.and_then(|record| record.asked.as_mut())
                && !asked.spent.iter().any(|(known, _)| *known == shard)
            {
                asked.spent.push((shard, now));
            }
        }
        Output::default()
    }

    /// Asks f+1 members of each other input shard to order transactions that a client just handed in.
    pub(super) fn ask_first(&mut self, ids: &[TxId], ledger: &Ledger, output: &mut Output) {
        let committee = self.member.committee.clone();
        let mut batches: BTreeMap<(ShardId, Index), Vec<Bytes>> = BTreeMap::new();
        for id in ids {
            let Some(place) = self.list.find(id) else { continue };
            let Some(bytes) = &self.list.get(place).bytes else { continue };
            for shard in missing(id, bytes, ledger).into_iter().filter(|shard| *shard != ledger.shard()) {
                batches.entry((shard, home_of(id, committee.n()))).or_default().push(bytes.clone());
            }
        }
        for ((shard, Index(first)), batch) in batches {
            // Those that start at the same member go out in one encoding, hashed once.
            let n = committee.n() as u16;
            let asked = (0..committee.one_honest() as u16).map(|step| Index((first + step) % n));
            let asked = asked.map(|index| committee.node_at(shard, index)).collect();
            output.sends.push((Dest::Set(asked), PendingSend::Order(batch)));
        }
    }
}

impl Asked {
    /// Whether to ask a shard now. One that claims to have spent is left alone for a while.
    fn should_ask(&mut self, shard: ShardId, now: Time) -> bool {
        match self.spent.iter_mut().find(|(spent, _)| *spent == shard) {
            Some((_, since)) if now.since(*since) < SPENT_PATIENCE => false,
            Some((_, since)) => {
                *since = now;
                true
            }
            None => true,
        }
    }
}

/// The input shards whose inputs are not known here to be spent. What no pool waits for lacks them all.
fn missing(id: &TxId, bytes: &[u8], ledger: &Ledger) -> Vec<ShardId> {
    if let Some(entry) = ledger.pool_entry(id) {
        return entry.missing().collect();
    }
    let view = TransactionView::parse(bytes).expect("what is asked for was validated");
    // The contact has listed what it could list itself.
    let others = view.expiries().map(|expiry| expiry.shard).filter(|shard| *shard != ledger.shard());
    others.collect()
}

fn on_grid(time: Time) -> Time {
    Time(time.0.div_ceil(GRID.0) * GRID.0)
}

fn last_on_grid(time: Time) -> Time {
    Time(time.0 - time.0 % GRID.0)
}
