//! The records of pending transactions, and the lines in which they wait to be proposed.
//!
//! Lines, oldest first: *own* for what this node is the home of, two a home for what it is only the backup of (what it
//! was asked to order, and copies of what the home has), *spare* for backups whose home has not proposed them
//! ([`crate::shard::home`]). Own goes before spare: backups take only the room that the own transactions leave.
//!
//! Lines, and the transactions of each expiry, are queues through the records ([`queues`](super::queues)). They hold
//! exactly the records that stand in a line, so nothing is ever walked to clean them or to find the next due time. No
//! allocation for a transaction within a shard.

use std::cell::Cell;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::bytes::Bytes;
use wire::client::list;
use wire::ids::{ClientId, Index, NodeId, Round, ShardId, TxId};
use wire::limits::{SHARE_BATCH_BYTES, SUBMISSION_TRANSACTIONS_MAX};

use crate::id_index::{GROUP, Steps};
use crate::id_map::IdMap;
use crate::ledger::Ledger;
use crate::member::Member;
use crate::pending::queues::{Kind, Neighbours, Queues};
use crate::pending::timeline::{Position, Timeline};
use crate::retries::Retry;
use crate::shard::home::{Claim, Since, Turn};
use crate::slab::Place;
use crate::time::Time;
use crate::transaction::TransactionView;

/// The first-hand knowledge of one pending transaction. The table it stands in holds its id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) payer: Payer,
    /// The client that asked for it last, which gets its receipt too.
    pub(super) asker: Option<ClientId>,
    /// Where it stands on the timeline, while it waits here for a client and copies are made.
    position: Option<Position>,
    /// The encoding: while the transaction is listed, and as long as a client waits for other shards.
    pub(super) bytes: Option<Bytes>,
    pub(super) phase: Phase,
    in_line: Neighbours,
    in_expiry: Neighbours,
    /// Present if other shards are asked to order it. Boxed, since few transactions cross shards.
    pub(super) asked: Option<Box<Asked>>,
}

/// On whose account a transaction is pending.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Payer {
    /// Nobody's: it waits in the ledger's pool.
    Pool,
    /// This client handed it in.
    Client(ClientId),
    /// This node asked us to order it, or had us hold a copy.
    Peer(NodeId),
}

impl Payer {
    /// Whether its transactions end in this shard: a client hands them in here, and so do the clients of other members.
    pub(super) fn is_of_shard(self, member: &Member) -> bool {
        match self {
            Payer::Client(_) => true,
            Payer::Peer(node) => member.index_of(node).is_some(),
            Payer::Pool => false,
        }
    }
}

/// How far a transaction is on its way into a proposal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Phase {
    /// There is nothing to propose here.
    Unlisted,
    /// In the own or the spare line, to be proposed.
    Waiting {
        line: Line,
        /// Its last round here.
        expiry: Round,
        /// The ledger's height when it was last found fit to be proposed.
        checked: Round,
    },
    /// In the line of its home, which is to propose it.
    Backup { home: Index, claim: Claim, expiry: Round, since: Since },
    /// In an entry of our lane.
    Proposed,
}

/// Lines, in the order in which proposals empty the first two.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) enum Line {
    Own,
    Spare,
    Backup(Claim, Index),
}

impl Line {
    /// The lines of homes come last.
    const FIRST_BACKUP: Line = Line::Backup(Claim::Ordered, Index(0));

    /// The line of a home after this one.
    fn next_backup(self) -> Option<Line> {
        match self {
            Line::Own | Line::Spare => Some(Line::FIRST_BACKUP),
            Line::Backup(claim, Index(home)) => match (home.checked_add(1), claim) {
                (Some(next), _) => Some(Line::Backup(claim, Index(next))),
                (None, Claim::Ordered) => Some(Line::Backup(Claim::Copied, Index(0))),
                (None, Claim::Copied) => None,
            },
        }
    }
}

/// How other shards are asked to order a transaction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) retry: Retry,
    in_asking: Neighbours,
    /// The shards that claim to have spent it, each with the time of the claim or of the last request since. Bound: the
    /// other shards.
    pub(super) spent: Vec<(ShardId, Time)>,
}

impl Asked {
    /// Nobody claims to have spent it.
    pub(super) fn new(retry: Retry) -> Asked {
        Asked { retry, in_asking: Neighbours::default(), spent: Vec::new() }
    }
}

/// Why a record in a queue of `asking` is asked for.
pub(super) const IN_ASKING: &str = "a record leaves its queue of asking before its `asked` is dropped";

impl Record {
    /// One that is known by its pool entry alone.
    pub(super) fn of_pool() -> Record {
        Record {
            payer: Payer::Pool,
            asker: None,
            position: None,
            bytes: None,
            phase: Phase::Unlisted,
            in_line: Neighbours::default(),
            in_expiry: Neighbours::default(),
            asked: None,
        }
    }

    pub(super) fn neighbours(&self, kind: Kind) -> &Neighbours {
        match kind {
            Kind::Line => &self.in_line,
            Kind::Expiry => &self.in_expiry,
            Kind::Asking => &self.asked.as_ref().expect(IN_ASKING).in_asking,
        }
    }

    pub(super) fn neighbours_mut(&mut self, kind: Kind) -> &mut Neighbours {
        match kind {
            Kind::Line => &mut self.in_line,
            Kind::Expiry => &mut self.in_expiry,
            Kind::Asking => &mut self.asked.as_mut().expect(IN_ASKING).in_asking,
        }
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
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct List {
    records: IdMap<Record>,
    lines: Queues<Line>,
    /// Waiting transactions, by the last round in which each can execute here.
    expiries: Queues<Round>,
    timeline: Timeline,
    /// By index, when the lane of this member last advanced. Bound: members.
    heard: BTreeMap<Index, Time>,
    waiting: usize,
    waiting_bytes: u64,
    /// Records looked up, and places in lines looked at, for the work meter.
    #[serde(skip)]
    work: Cell<u64>,
}

impl List {
    pub(super) fn new(hash_seed: u64) -> List {
        List {
            records: IdMap::new(hash_seed),
            lines: Queues::new(Kind::Line),
            expiries: Queues::new(Kind::Expiry),
            timeline: Timeline::new(),
            heard: BTreeMap::new(),
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

    /// The ids of all records, in the order of their places.
    pub(super) fn ids(&self) -> Vec<TxId> {
        self.records.iter().map(|(id, _)| *id).collect()
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

    /// All records, for the queues through them.
    pub(super) fn records_mut(&mut self) -> &mut IdMap<Record> {
        &mut self.records
    }

    pub(super) fn id(&self, place: Place) -> TxId {
        *self.records.at(place).0
    }

    /// Adds a record of a transaction that has none.
    pub(super) fn add(&mut self, id: TxId) -> Place {
        self.records.add(id, Record::of_pool())
    }

    /// Forgets a transaction that is not listed.
    pub(super) fn remove(&mut self, place: Place) {
        let removed = self.records.remove_at(place);
        assert!(removed.phase == Phase::Unlisted, "a record leaves its line first");
    }

    /// Puts a transaction at the end of the own line or of the spare one.
    pub(super) fn wait(&mut self, place: Place, line: Line, expiry: Round, checked: Round) {
        self.set_phase(place, Phase::Waiting { line, expiry, checked });
    }

    /// Puts a transaction at the end of the line of its home.
    pub(super) fn back_up(&mut self, place: Place, home: Index, claim: Claim, expiry: Round, since: Since) {
        self.set_phase(place, Phase::Backup { home, claim, expiry, since });
    }

    /// The lane of a member has advanced.
    pub(super) fn hear(&mut self, now: Time, home: Index) {
        self.heard.insert(home, now);
    }

    /// When the lane of a member last advanced.
    pub(super) fn heard(&self, home: Index) -> Time {
        self.heard.get(&home).copied().unwrap_or_default()
    }

    /// Puts a transaction on the timeline, until it waits no longer.
    pub(super) fn share(&mut self, now: Time, place: Place) {
        self.records.at_mut(place).position = Some(self.timeline.push(now, place));
    }

    pub(super) fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// The transactions after a position of the timeline that are due, as many as one batch holds; the position up to
    /// which these are all.
    ///
    /// # Panics
    /// If none is due.
    pub(super) fn batch(&self, after: Option<Position>, now: Time) -> (Position, Vec<Bytes>) {
        let (mut transactions, mut through, mut length) = (Vec::new(), None, 0);
        for (position, place) in self.timeline.after(after, now) {
            self.count();
            through = Some(position);
            if let Some(place) = place {
                let bytes = self.get(place).bytes.clone().expect("what waits has its bytes");
                length += list::item_bytes(bytes.len()) as u64;
                transactions.push(bytes);
            }
            if length >= SHARE_BATCH_BYTES || transactions.len() >= SUBMISSION_TRANSACTIONS_MAX {
                break;
            }
        }
        (through.expect("something is due"), transactions)
    }

    /// The transaction at the front of a line.
    pub(super) fn front(&self, line: Line) -> Option<Place> {
        self.line(line).next()
    }

    /// A transaction enters another phase. Whatever line it stood in, it leaves.
    pub(super) fn set_phase(&mut self, place: Place, phase: Phase) {
        let record = self.records.at_mut(place);
        let bytes = record.held_bytes();
        if let Some(position) = record.position.take() {
            self.timeline.remove(position);
        }
        match std::mem::replace(&mut record.phase, phase) {
            Phase::Waiting { line, expiry, .. } => {
                self.lines.take_out(&mut self.records, line, place);
                self.expiries.take_out(&mut self.records, expiry, place);
                self.waiting -= 1;
                self.waiting_bytes -= bytes;
            }
            Phase::Backup { home, claim, .. } => {
                self.lines.take_out(&mut self.records, Line::Backup(claim, home), place);
            }
            Phase::Unlisted | Phase::Proposed => {}
        }
        match phase {
            Phase::Waiting { line, expiry, .. } => {
                self.lines.push(&mut self.records, line, place);
                self.expiries.push(&mut self.records, expiry, place);
                self.waiting += 1;
                self.waiting_bytes += bytes;
            }
            Phase::Backup { home, claim, .. } => {
                self.lines.push(&mut self.records, Line::Backup(claim, home), place);
            }
            Phase::Unlisted | Phase::Proposed => {}
        }
    }

    /// Promotes backups whose home has had its chance: they now wait to be proposed. `idle_cuts` returns for how many
    /// cuts a member's lane has not advanced, `rank` how many holders of its copies step in before us.
    pub(super) fn promote(
        &mut self,
        now: Time,
        height: Round,
        idle_cuts: impl Fn(Index) -> u64,
        rank: impl Fn(Index) -> u64,
    ) {
        let mut first = self.first_backup(Line::FIRST_BACKUP);
        while let Some((line, place)) = first {
            let Phase::Backup { home, claim, since, expiry } = self.get(place).phase else {
                unreachable!("only backups stand in the line of a home")
            };
            let turn = Turn { claim, heard: self.heard(home), rank: rank(home) };
            if since.is_promotable(now, height, idle_cuts(home), turn) {
                // A copy may have come before its expiry was within reach here, so the filter must look at it.
                let checked = if claim == Claim::Copied { Round(0) } else { since.round };
                self.set_phase(place, Phase::Waiting { line: Line::Spare, expiry, checked });
                first = self.first_backup(line);
            } else {
                first = line.next_backup().and_then(|next| self.first_backup(next));
            }
        }
    }

    /// When [`List::promote`] has something to do though no round passes.
    pub(super) fn next_due(&self, height: Round, rank: impl Fn(Index) -> u64) -> Option<Time> {
        let mut earliest: Option<Time> = None;
        let mut first = self.first_backup(Line::FIRST_BACKUP);
        while let Some((line, place)) = first {
            if let Phase::Backup { home, since, claim, .. } = self.get(place).phase {
                let due = since.due(height, Turn { claim, heard: self.heard(home), rank: rank(home) });
                earliest = Some(earliest.map_or(due, |earliest| earliest.min(due)));
            }
            first = line.next_backup().and_then(|next| self.first_backup(next));
        }
        earliest
    }

    /// The waiting transactions whose expiry has passed at `height`.
    pub(super) fn expired(&self, height: Round) -> Vec<Place> {
        let mut expired = Vec::new();
        let mut first = self.expiries.first_from(Round(0));
        while let Some((expiry, _)) = first.filter(|(expiry, _)| *expiry <= height) {
            expired.extend(self.expiries.of(&self.records, expiry).inspect(|_| self.count()));
            first = self.expiries.first_from(expiry.next());
        }
        expired
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
        self.lines.of(&self.records, line).inspect(|_| self.count())
    }

    /// The first line of a home from `from` on in which something stands, and the oldest of that.
    fn first_backup(&self, from: Line) -> Option<(Line, Place)> {
        self.count();
        self.lines.first_from(from)
    }

    fn count(&self) {
        self.work.set(self.work.get() + 1);
    }

    /// Transactions that are asked for, for tests of bounds.
    #[cfg(test)]
    pub(super) fn asked_for(&self) -> usize {
        self.records.iter().filter(|(_, record)| record.asked.is_some()).count()
    }

    /// Transactions in lines, for tests of bounds.
    #[cfg(test)]
    pub(super) fn standing(&self) -> usize {
        let mut standing = 0;
        let mut line = self.lines.first_from(Line::Own);
        while let Some((key, _)) = line {
            standing += self.lines.of(&self.records, key).count();
            let next = match key {
                Line::Own => Some(Line::Spare),
                Line::Spare => Some(Line::FIRST_BACKUP),
                Line::Backup(..) => key.next_backup(),
            };
            line = next.and_then(|next| self.lines.first_from(next));
        }
        assert_eq!(self.expired(Round(u64::MAX - 1)).len(), self.waiting);
        standing
    }
}
