//! The asking side: which transactions to ask for, when, and of which shards.

use std::collections::{BTreeMap, VecDeque};

use wire::bytes::Bytes;
use wire::dest::Dest;
use wire::ids::{Index, ShardId, TxId};

use crate::id_index::Steps;
use crate::id_map::IdMap;
use crate::ledger::Ledger;
use crate::member::Member;
use crate::mempool::Mempool;
use crate::shard::home::home_of;
use crate::shard::order::{OrderEffects, OrderSend};
use crate::time::{Span, Time};
use crate::transaction::TransactionView;

/// First wait before all members of a shard are asked; doubles to [`WAIT_MAX`].
const WAIT_FIRST: Span = Span::from_ms(2_000);
const WAIT_MAX: Span = Span::from_ms(10_000);
/// Transactions fall due at multiples of this, so that those handed in within one such span go out in one message a
/// shard.
const GRID: Span = Span::from_ms(100);
/// Transactions that are asked for again at one such time. At saturation thousands wait for longer than [`WAIT_FIRST`]
/// though nothing is lost; if every member of one shard asked every member of another for all of them, that would cost
/// more than ordering them. The rest has its turn at the next such time, the longest due first.
const REPEATS_MAX: usize = 64;

/// Transactions that may stand in [`Lines`] before these are cleaned of what is waited for no more.
const LINGERING_MAX: usize = 1_024;

/// What is asked for. Bound: the contact records of the mempool and the entries of the pool.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    member: Member,
    waits: IdMap<Wait>,
    lines: Lines,
    /// Nothing is asked for again before.
    rest_until: Time,
}

#[derive(Clone, Debug)]
struct Wait {
    due: Time,
    wait: Span,
    /// Shards that have spent, as a member of theirs claims. At most all input shards.
    spent: Vec<ShardId>,
}

/// Transactions by the nodes to ask.
type Batches<D> = BTreeMap<D, Vec<Bytes>>;

impl Asking {
    pub(super) fn new(member: &Member, hash_seed: u64) -> Asking {
        let (waits, lines) = (IdMap::new(hash_seed), Lines::default());
        Asking { member: member.clone(), waits, lines, rest_until: Time(0) }
    }

    pub(super) fn len(&self) -> usize {
        self.waits.len()
    }

    /// What searching its tables costs.
    pub(super) fn steps(&self) -> Steps {
        self.waits.steps()
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        self.lines.first().map(|(due, _)| due.max(self.rest_until))
    }

    /// Asks for the first time.
    pub(super) fn begin(
        &mut self,
        now: Time,
        ids: &[TxId],
        mempool: &Mempool,
        ledger: &Ledger,
    ) -> OrderEffects {
        let committee = self.member.committee.clone();
        let mut batches: Batches<(ShardId, Index)> = BTreeMap::new();
        for id in ids {
            let Some(bytes) = mempool.contact_bytes(id) else { continue };
            for shard in missing(id, bytes, ledger) {
                if shard != self.member.shard {
                    batches.entry((shard, home_of(id, committee.n()))).or_default().push(bytes.clone());
                }
            }
            self.watch(now, *id);
        }
        let mut effects = OrderEffects::none();
        for ((shard, Index(first)), batch) in batches {
            // Those that start at the same member go out in one encoding, hashed once.
            let n = committee.n() as u16;
            let asked = (0..committee.one_honest() as u16).map(|step| Index((first + step) % n));
            let asked = asked.map(|index| committee.node_at(shard, index)).collect();
            effects.push_send(Dest::Set(asked), OrderSend::Order(batch));
        }
        effects
    }

    /// Asks again for what is due, and gives back what is missing in the own shard.
    pub(super) fn tick(
        &mut self,
        now: Time,
        mempool: &Mempool,
        ledger: &Ledger,
        effects: &mut OrderEffects,
    ) -> Vec<Bytes> {
        let mut here = Vec::new();
        let mut batches: Batches<ShardId> = BTreeMap::new();
        if now < self.rest_until {
            return here;
        }
        for left in (0..REPEATS_MAX).rev() {
            if left == 0 {
                self.rest_until = on_grid(now + GRID);
            }
            let Some((_, id)) = self.lines.first().filter(|(due, _)| *due <= now) else { break };
            self.lines.pop(&self.waits);
            let pooled = || ledger.pool_entry(&id).map(|entry| entry.transaction().clone());
            let Some(bytes) = mempool.contact_bytes(&id).cloned().or_else(pooled) else {
                self.forget(&id);
                continue;
            };
            let wait = self.waits.get_mut(&id).expect("what is due is waited for");
            for shard in missing(&id, &bytes, ledger) {
                if shard == self.member.shard {
                    here.push(bytes.clone());
                } else if wait.wait == WAIT_MAX || !wait.spent.contains(&shard) {
                    batches.entry(shard).or_default().push(bytes.clone());
                }
            }
            wait.wait = wait.wait.doubled(WAIT_MAX);
            wait.due = on_grid(now + wait.wait);
            self.lines.push(wait, id);
        }
        for (shard, batch) in batches {
            effects.push_send(Dest::Shard(shard), OrderSend::Order(batch));
        }
        here
    }

    /// Starts to wait for a transaction, unless it is waited for.
    pub(super) fn watch(&mut self, now: Time, id: TxId) {
        if !self.waits.contains(&id) {
            let wait = Wait { due: on_grid(now + WAIT_FIRST), wait: WAIT_FIRST, spent: Vec::new() };
            self.lines.push(&wait, id);
            self.waits.insert(id, wait);
        }
    }

    /// Waits for a transaction no more.
    pub(super) fn forget(&mut self, id: &TxId) {
        if self.waits.remove(id).is_some() {
            self.lines.clean(&self.waits);
        }
    }

    /// A member of this shard claims that the transaction has spent there.
    pub(super) fn spent(&mut self, id: &TxId, shard: ShardId) {
        if let Some(wait) = self.waits.get_mut(id)
            && !wait.spent.contains(&shard)
        {
            wait.spent.push(shard);
        }
    }

    /// Everything is due at once.
    pub(super) fn retry_now(&mut self, now: Time) {
        self.rest_until = now;
        self.lines = Lines::default();
        for (id, wait) in self.waits.iter_mut() {
            wait.due = now;
            wait.wait = WAIT_FIRST;
            self.lines.push(wait, *id);
        }
    }
}

/// Waits by due time: a line for each length of wait, since waits of one length fall due in the order in which they
/// began. A wait that has ended stays in its line until it reaches the front, or until ended waits outnumber the
/// others; so each costs a constant.
#[derive(Clone, Debug, Default)]
struct Lines {
    by_wait: BTreeMap<Span, VecDeque<(Time, TxId)>>,
    standing: usize,
}

impl Lines {
    fn push(&mut self, wait: &Wait, id: TxId) {
        self.by_wait.entry(wait.wait).or_default().push_back((wait.due, id));
        self.standing += 1;
    }

    /// What is due first.
    fn first(&self) -> Option<(Time, TxId)> {
        self.by_wait.values().filter_map(VecDeque::front).min_by_key(|(due, _)| *due).copied()
    }

    /// Takes out what is due first, and with it what lingers behind it.
    fn pop(&mut self, waits: &IdMap<Wait>) {
        let lines = self.by_wait.values_mut().filter(|line| !line.is_empty());
        let Some(line) = lines.min_by_key(|line| line.front().map(|(due, _)| *due)) else { return };
        line.pop_front();
        self.standing -= 1;
        self.trim(waits);
    }

    /// Takes what is waited for no more off the fronts, and out of the lines if there is too much of it.
    fn clean(&mut self, waits: &IdMap<Wait>) {
        if self.standing > LINGERING_MAX.max(2 * waits.len()) {
            self.by_wait.values_mut().for_each(|line| line.retain(|place| is_waiting(place, waits)));
            self.standing = self.by_wait.values().map(VecDeque::len).sum();
        }
        self.trim(waits);
    }

    fn trim(&mut self, waits: &IdMap<Wait>) {
        for line in self.by_wait.values_mut() {
            while line.front().is_some_and(|place| !is_waiting(place, waits)) {
                line.pop_front();
                self.standing -= 1;
            }
        }
    }
}

/// Whether the wait that took this place still goes on.
fn is_waiting((due, id): &(Time, TxId), waits: &IdMap<Wait>) -> bool {
    waits.get(id).is_some_and(|wait| wait.due == *due)
}

/// The input shards whose inputs are not known here to be spent. What no pool waits for lacks them all.
fn missing(id: &TxId, bytes: &[u8], ledger: &Ledger) -> Vec<ShardId> {
    if let Some(entry) = ledger.pool_entry(id) {
        return entry.missing().collect();
    }
    let view = TransactionView::parse(bytes).expect("what is waited for was validated");
    // The contact has listed what it could list itself.
    let others = view.expiries().map(|expiry| expiry.shard).filter(|shard| *shard != ledger.shard());
    others.collect()
}

fn on_grid(time: Time) -> Time {
    Time(time.0.div_ceil(GRID.0) * GRID.0)
}
