//! The records of pending transactions, and the lines in which they wait to be proposed.
//!
//! Three kinds of lines, oldest first: *own* for what this node is the home of, one a home for what it is only the
//! backup of, *spare* for backups whose home has not proposed them ([`crate::shard::home`]). Own goes before spare:
//! backups take only the room that the own transactions leave.
//!
//! One ordered index holds all lines, another one the expiries of what waits. Both hold exactly what stands in a line,
//! so nothing is ever walked to clean them or to find what is due next. No allocation per transaction.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use wire::bytes::Bytes;
use wire::ids::{ClientId, Index, NodeId, Round, ShardId, TxId};

use crate::id_index::{GROUP, Steps};
use crate::id_map::IdMap;
use crate::ledger::Ledger;
use crate::shard::home::Since;
use crate::slab::Place;
use crate::time::Time;
use crate::transaction::TransactionView;

/// The first-hand knowledge of one pending transaction. The table it stands in holds its id.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) payer: Payer,
    /// The encoding: while the transaction is listed, and as long as a client waits for other shards.
    pub(super) bytes: Option<Bytes>,
    pub(super) phase: Phase,
    /// Present if other shards are asked to order it. Boxed, since few transactions cross shards.
    pub(super) asked: Option<Box<Asked>>,
}

/// On whose account a transaction is pending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Payer {
    /// Nobody's: it waits in the ledger's pool.
    Pool,
    /// This client handed it in. The client that asked for it last gets its receipt too.
    Client { client: ClientId, asker: Option<ClientId> },
    /// This node asked us to order it.
    Peer(NodeId),
}

/// How far a transaction is on its way into a proposal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// There is nothing to propose here.
    Unlisted,
    /// In the own or the spare line, to be proposed.
    Waiting {
        line: Line,
        turn: u64,
        /// Its last round here.
        expiry: Round,
        /// The ledger's height when it was last found fit to be proposed.
        checked: Round,
    },
    /// In the line of its home, which is to propose it.
    Backup { home: Index, turn: u64, expiry: Round, since: Since },
    /// In an entry of our lane.
    Proposed,
}

/// Lines, in the order in which proposals empty the first two.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Line {
    Own,
    Spare,
    Backup(Index),
}

/// The shards that claim to have spent a transaction we ask them for, each with the time of the claim or of the last
/// request since. Bound: its input shards.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) spent: Vec<(ShardId, Time)>,
}

impl Record {
    /// One that is known by its pool entry alone.
    fn of_pool() -> Record {
        Record { payer: Payer::Pool, bytes: None, phase: Phase::Unlisted, asked: None }
    }

    /// The bytes that its payer pays for.
    pub(super) fn held_bytes(&self) -> u64 {
        self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)
    }

    /// The transaction.
    ///
    /// # Panics
    /// If it is neither listed nor waited for by a client.
    pub(super) fn view(&self) -> TransactionView<'_> {
        let bytes = self.bytes.as_ref().expect("what is listed has its bytes");
        TransactionView::parse(bytes).expect("it was validated when it came")
    }
}

/// All records, and the lines.
#[derive(Clone, Debug)]
pub(super) struct List {
    records: IdMap<Record>,
    lines: BTreeMap<(Line, u64), Place>,
    /// Waiting transactions, by the last round in which each can execute here.
    expiries: BTreeSet<(Round, Place)>,
    turns: u64,
    waiting: usize,
    waiting_bytes: u64,
    /// Records looked up, and places in lines looked at, for the work meter.
    work: Cell<u64>,
}

impl List {
    pub(super) fn new(hash_seed: u64) -> List {
        List {
            records: IdMap::new(hash_seed),
            lines: BTreeMap::new(),
            expiries: BTreeSet::new(),
            turns: 0,
            waiting: 0,
            waiting_bytes: 0,
            work: Cell::new(0),
        }
    }

    /// Transactions that wait to be proposed; backups only once they are promoted.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Their bytes.
    pub(super) fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// See [`IdMap::steps`].
    pub(super) fn steps(&self) -> Steps {
        self.records.steps()
    }

    /// Records looked up, and places in lines looked at so far.
    pub(super) fn work(&self) -> u64 {
        self.work.get()
    }

    pub(super) fn find(&self, id: &TxId) -> Option<Place> {
        self.count();
        self.records.find(id)
    }

    pub(super) fn get(&self, place: Place) -> &Record {
        self.records.at(place).1
    }

    pub(super) fn get_mut(&mut self, place: Place) -> &mut Record {
        self.records.at_mut(place)
    }

    pub(super) fn id(&self, place: Place) -> TxId {
        *self.records.at(place).0
    }

    /// The record of a transaction; a new one if there is none.
    pub(super) fn find_or_add(&mut self, id: &TxId) -> Place {
        self.find(id).unwrap_or_else(|| self.records.add(*id, Record::of_pool()))
    }

    /// Forgets a transaction that is not listed.
    pub(super) fn remove(&mut self, id: &TxId) {
        let removed = self.records.remove(id);
        let is_listed = removed.is_some_and(|record| record.phase != Phase::Unlisted);
        assert!(!is_listed, "a record leaves its line first");
    }

    /// Puts a transaction at the end of the own line.
    pub(super) fn wait(&mut self, place: Place, expiry: Round, checked: Round) {
        let turn = self.next_turn();
        self.set_phase(place, Phase::Waiting { line: Line::Own, turn, expiry, checked });
    }

    /// Puts a transaction at the end of the line of its home.
    pub(super) fn back_up(&mut self, place: Place, home: Index, expiry: Round, since: Since) {
        let turn = self.next_turn();
        self.set_phase(place, Phase::Backup { home, turn, expiry, since });
    }

    /// The transaction at the front of a line.
    pub(super) fn front(&self, line: Line) -> Option<Place> {
        self.line(line).next()
    }

    /// A transaction enters another phase. Whatever line it stood in, it leaves.
    pub(super) fn set_phase(&mut self, place: Place, phase: Phase) {
        let record = self.records.at_mut(place);
        let bytes = record.held_bytes();
        match std::mem::replace(&mut record.phase, phase) {
            Phase::Waiting { line, turn, expiry, .. } => {
                self.lines.remove(&(line, turn));
                self.expiries.remove(&(expiry, place));
                self.waiting -= 1;
                self.waiting_bytes -= bytes;
            }
            Phase::Backup { home, turn, .. } => _ = self.lines.remove(&(Line::Backup(home), turn)),
            Phase::Unlisted | Phase::Proposed => {}
        }
        match phase {
            Phase::Waiting { line, turn, expiry, .. } => {
                self.lines.insert((line, turn), place);
                self.expiries.insert((expiry, place));
                self.waiting += 1;
                self.waiting_bytes += bytes;
            }
            Phase::Backup { home, turn, .. } => _ = self.lines.insert((Line::Backup(home), turn), place),
            Phase::Unlisted | Phase::Proposed => {}
        }
    }

    /// Promotes backups whose home has had its chance: they now wait to be proposed. `idle_cuts` returns for how many
    /// cuts a member's lane has not advanced.
    pub(super) fn promote(&mut self, now: Time, height: Round, idle_cuts: impl Fn(Index) -> u64) {
        let mut first = self.first_backup(Index(0));
        while let Some((home, place)) = first {
            let Phase::Backup { since, expiry, .. } = self.get(place).phase else {
                unreachable!("only backups stand in the line of a home")
            };
            if since.is_promotable(now, height, idle_cuts(home)) {
                let turn = self.next_turn();
                let checked = since.round;
                self.set_phase(place, Phase::Waiting { line: Line::Spare, turn, expiry, checked });
                first = self.first_backup(home);
            } else {
                first = home.0.checked_add(1).and_then(|next| self.first_backup(Index(next)));
            }
        }
    }

    /// When [`List::promote`] has something to do though no round passes.
    pub(super) fn next_due(&self, height: Round) -> Option<Time> {
        let mut earliest: Option<Time> = None;
        let mut first = self.first_backup(Index(0));
        while let Some((home, place)) = first {
            if let Phase::Backup { since, .. } = self.get(place).phase {
                let due = since.due(height);
                earliest = Some(earliest.map_or(due, |earliest| earliest.min(due)));
            }
            first = home.0.checked_add(1).and_then(|next| self.first_backup(Index(next)));
        }
        earliest
    }

    /// The waiting transactions whose expiry has passed at `height`.
    pub(super) fn expired(&self, height: Round) -> Vec<Place> {
        let past = self.expiries.iter().take_while(|(expiry, _)| *expiry <= height);
        let past = past.inspect(|_| self.count());
        past.map(|(_, place)| *place).collect()
    }

    /// Has the processor fetch what a search for these ids will look at.
    pub(super) fn warm<'a>(&self, ids: impl Iterator<Item = &'a TxId>) {
        self.records.warm(ids);
    }

    /// Does so for those at the front of a line that the ledger must be asked about again.
    pub(super) fn warm_line(&self, line: Line, ledger: &Ledger) {
        let mut group = Vec::with_capacity(GROUP);
        for place in self.line(line).take(GROUP) {
            let (id, record) = self.records.at(place);
            if let Phase::Waiting { checked, .. } = record.phase
                && checked < ledger.height()
            {
                group.push((id, record.view()));
            }
        }
        ledger.warm(group.iter().map(|(id, view)| (*id, view)));
    }

    fn line(&self, line: Line) -> impl Iterator<Item = Place> {
        let standing = self.lines.range((line, 0)..=(line, u64::MAX));
        standing.inspect(|_| self.count()).map(|(_, place)| *place)
    }

    /// The first home from `from` on that something is left to, and the oldest of that.
    fn first_backup(&self, from: Index) -> Option<(Index, Place)> {
        self.count();
        match self.lines.range((Line::Backup(from), 0)..).next() {
            Some(((Line::Backup(home), _), place)) => Some((*home, *place)),
            _ => None,
        }
    }

    fn count(&self) {
        self.work.set(self.work.get() + 1);
    }

    fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    /// Transactions in lines, for tests of bounds.
    #[cfg(test)]
    pub(super) fn standing(&self) -> usize {
        assert_eq!(self.expiries.len(), self.waiting);
        self.lines.len()
    }
}
