//! The transaction list: what this node is to propose, has proposed, or would propose if others do not.
//!
//! Three kinds of lines hold places of one slab, oldest first: *own* for what this node is the home of, one a home for
//! what it is only the backup of, *spare* for backups whose home has not proposed them ([`crate::shard::home`]). Own
//! goes before spare: backups take only the room that the own transactions leave.
//!
//! What is settled while it stands in a line lingers there until it comes to the front or until such outnumber the
//! others; so each costs a constant, and memory is bounded by what is open. No allocation per transaction.

use std::collections::{BTreeMap, VecDeque};

use wire::bytes::Bytes;
use wire::ids::{ClientId, Index, NodeId, Round, TxId};

use crate::id_index::{GROUP, Handle, Hashed, IdIndex, Steps};
use crate::ledger::Ledger;
use crate::shard::home::Since;
use crate::slab::{Place, Slab};
use crate::time::Time;
use crate::transaction::TransactionView;

/// Settled transactions that may linger in lines before these are cleaned, besides as many as there are others.
pub(super) const LINGERING_MAX: usize = 1_024;

/// The list.
#[derive(Clone, Debug)]
pub(super) struct List {
    index: IdIndex,
    open: Slab<Open>,
    own: VecDeque<Place>,
    spare: VecDeque<Place>,
    /// Backups by home. Bound: a line a member.
    backups: BTreeMap<Index, VecDeque<Place>>,
    lingering: usize,
    waiting: usize,
    waiting_bytes: u64,
}

/// A transaction of the list.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) id: TxId,
    pub(super) owner: Owner,
    /// Its last round here.
    pub(super) expiry: Round,
    /// The ledger's height when it was last found fit to be proposed.
    pub(super) checked: Round,
    pub(super) phase: Phase,
}

/// On whose behalf a transaction is on the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// An intra-shard transaction of this client; the client that asked for it last gets its receipt too.
    Client { client: ClientId, asker: Option<ClientId> },
    /// A cross-shard transaction that a client handed to us: its contact record holds the rest.
    Contact,
    /// A cross-shard transaction that this node asked us to order.
    Peer(NodeId),
}

/// How far a transaction of the list is.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// In the own or the spare line, to be proposed.
    Waiting(Bytes),
    /// In the line of its home, which is to propose it.
    Backup {
        /// The encoding.
        bytes: Bytes,
        /// Who is to propose it.
        home: Index,
        /// When it arrived.
        since: Since,
    },
    /// In an entry of our lane.
    Proposed,
    /// Has left the list; its place is freed when it leaves its line.
    Settled,
}

/// The lines that proposals are made of, in the order in which they are emptied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Line {
    Own,
    Spare,
}

/// What a transaction gave back when it left the list, or went into a proposal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Freed {
    pub(super) owner: Owner,
    /// The bytes it no longer holds.
    pub(super) bytes: u64,
}

impl List {
    pub(super) fn new(hash_seed: u64) -> List {
        List {
            index: IdIndex::new(hash_seed),
            open: Slab::default(),
            own: VecDeque::new(),
            spare: VecDeque::new(),
            backups: BTreeMap::new(),
            lingering: 0,
            waiting: 0,
            waiting_bytes: 0,
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
        self.index.is_empty()
    }

    /// See [`IdIndex::steps`].
    pub(super) fn steps(&self) -> Steps {
        self.index.steps()
    }

    /// We computed every id here ourselves, from a transaction's bytes.
    pub(super) fn hash(&self, id: &TxId) -> Hashed {
        self.index.hash_digest(&id.0)
    }

    pub(super) fn find(&self, id: &TxId) -> Option<Place> {
        self.find_hashed(self.hash(id), id)
    }

    pub(super) fn find_hashed(&self, hashed: Hashed, id: &TxId) -> Option<Place> {
        self.index.find(hashed, |handle| self.open.get(place_of(handle)).id == *id).map(place_of)
    }

    pub(super) fn get(&self, place: Place) -> &Open {
        self.open.get(place)
    }

    pub(super) fn get_mut(&mut self, place: Place) -> &mut Open {
        self.open.get_mut(place)
    }

    /// Adds a transaction that is not on the list, with the hash of its id, to the line where its phase belongs.
    pub(super) fn insert(&mut self, hashed: Hashed, open: Open) {
        let line = match &open.phase {
            Phase::Waiting(bytes) => {
                self.waiting += 1;
                self.waiting_bytes += bytes.len() as u64;
                &mut self.own
            }
            Phase::Backup { home, .. } => self.backups.entry(*home).or_default(),
            Phase::Proposed | Phase::Settled => unreachable!("a transaction joins the list unproposed"),
        };
        let place = self.open.insert(open);
        line.push_back(place);
        self.index.insert(hashed, Handle::new(u64::from(place.0)));
    }

    /// The place at the front of a line.
    pub(super) fn front(&self, line: Line) -> Option<Place> {
        self.line(line).front().copied()
    }

    /// Takes the front off a line, and frees its place if it was settled.
    pub(super) fn pop(&mut self, line: Line) {
        let line = match line {
            Line::Own => &mut self.own,
            Line::Spare => &mut self.spare,
        };
        let place = line.pop_front().expect("the caller has seen the front");
        if matches!(self.open.get(place).phase, Phase::Settled) {
            self.lingering -= 1;
            self.open.free(place);
        }
    }

    /// A waiting transaction went into a proposal.
    pub(super) fn proposed(&mut self, place: Place) -> Freed {
        let open = self.open.get_mut(place);
        let Phase::Waiting(bytes) = std::mem::replace(&mut open.phase, Phase::Proposed) else {
            unreachable!("only what waits is proposed")
        };
        self.waiting -= 1;
        self.waiting_bytes -= bytes.len() as u64;
        Freed { owner: open.owner, bytes: bytes.len() as u64 }
    }

    /// Takes a transaction off the list.
    pub(super) fn settle(&mut self, place: Place) -> Freed {
        let open = self.open.get_mut(place);
        let (id, owner) = (open.id, open.owner);
        let bytes = match std::mem::replace(&mut open.phase, Phase::Settled) {
            Phase::Waiting(bytes) => {
                self.waiting -= 1;
                self.waiting_bytes -= bytes.len() as u64;
                self.lingering += 1;
                bytes.len()
            }
            Phase::Backup { bytes, home, .. } => {
                self.lingering += 1;
                self.trim(home);
                bytes.len()
            }
            Phase::Proposed => {
                self.open.free(place);
                0
            }
            Phase::Settled => {
                unreachable!("a settled transaction is not in the index, where open ones are found")
            }
        };
        self.index.remove(self.index.hash_digest(&id.0), Handle::new(u64::from(place.0)));
        Freed { owner, bytes: bytes as u64 }
    }

    /// Promotes backups whose home has had its chance: they now wait to be proposed. `idle_cuts` returns for how many
    /// cuts a member's lane has not advanced.
    pub(super) fn promote(&mut self, now: Time, height: Round, idle_cuts: impl Fn(Index) -> u64) {
        for (home, line) in &mut self.backups {
            while let Some(place) = line.front().copied() {
                let open = self.open.get_mut(place);
                match &open.phase {
                    Phase::Backup { since, .. } if !since.is_promotable(now, height, idle_cuts(*home)) => {
                        break;
                    }
                    Phase::Backup { bytes, .. } => {
                        self.waiting += 1;
                        self.waiting_bytes += bytes.len() as u64;
                        self.spare.push_back(place);
                        open.phase = Phase::Waiting(bytes.clone());
                    }
                    // Settled; what waits or is proposed has left this line.
                    _ => {
                        self.lingering -= 1;
                        self.open.free(place);
                    }
                }
                line.pop_front();
            }
        }
        self.backups.retain(|_, line| !line.is_empty());
    }

    /// When [`List::promote`] has something to do though no round passes.
    pub(super) fn next_due(&self, height: Round) -> Option<Time> {
        let fronts = self.backups.values().filter_map(|line| line.front());
        let due = fronts.filter_map(|place| match &self.open.get(*place).phase {
            Phase::Backup { since, .. } => Some(since.due(height)),
            _ => None,
        });
        due.min()
    }

    /// A transaction has a new owner and is proposed at once: a backup goes to the end of the own line. Returns what
    /// the old owner held.
    pub(super) fn adopt(&mut self, place: Place, owner: Owner) -> Freed {
        let open = self.open.get_mut(place);
        let before = std::mem::replace(&mut open.owner, owner);
        match &open.phase {
            Phase::Waiting(bytes) => Freed { owner: before, bytes: bytes.len() as u64 },
            Phase::Backup { bytes, .. } => {
                let phase = Phase::Waiting(bytes.clone());
                // What it leaves in its old line is settled, and keeps its place there until that is cleaned.
                let adopted = Open { id: open.id, owner, expiry: open.expiry, checked: open.checked, phase };
                let Freed { bytes, .. } = self.settle(place);
                self.insert(self.hash(&adopted.id), adopted);
                Freed { owner: before, bytes }
            }
            Phase::Proposed | Phase::Settled => Freed { owner: before, bytes: 0 },
        }
    }

    /// Those in the own and spare lines whose expiry has passed at `height`.
    pub(super) fn expired(&self, height: Round) -> Vec<Place> {
        let lines = self.own.iter().chain(&self.spare).copied();
        let expired = lines.filter(|place| {
            let open = self.open.get(*place);
            matches!(open.phase, Phase::Waiting(_)) && open.expiry <= height
        });
        expired.collect()
    }

    /// Takes settled transactions out of the lines once they outnumber the others.
    pub(super) fn clean(&mut self) {
        let backups = self.backups.values().map(VecDeque::len).sum::<usize>();
        let standing = self.own.len() + self.spare.len() + backups;
        if self.lingering <= LINGERING_MAX.max(standing / 2) {
            return;
        }
        let lines = [&mut self.own, &mut self.spare];
        for line in lines.into_iter().chain(self.backups.values_mut()) {
            line.retain(|place| {
                let settled = matches!(self.open.get(*place).phase, Phase::Settled);
                if settled {
                    self.open.free(*place);
                }
                !settled
            });
        }
        self.backups.retain(|_, line| !line.is_empty());
        self.lingering = 0;
    }

    /// Has the processor fetch what a search for these ids will look at.
    pub(super) fn warm<'a>(&self, ids: impl Iterator<Item = &'a TxId>) {
        let sink = ids.fold(0, |sink, id| sink ^ self.index.warm(self.index.hash_digest(&id.0)));
        std::hint::black_box(sink);
    }

    /// Does so for those at the head of a line that the ledger must be asked about again.
    pub(super) fn warm_line(&self, line: Line, ledger: &Ledger) {
        let mut group = Vec::with_capacity(GROUP);
        for place in self.line(line).iter().take(GROUP) {
            let open = self.open.get(*place);
            if let Phase::Waiting(bytes) = &open.phase
                && open.checked < ledger.height()
            {
                group.push((&open.id, TransactionView::parse(bytes).expect("it was validated at admission")));
            }
        }
        ledger.warm(group.iter().map(|(id, view)| (*id, view)));
    }

    fn line(&self, line: Line) -> &VecDeque<Place> {
        match line {
            Line::Own => &self.own,
            Line::Spare => &self.spare,
        }
    }

    /// Takes settled ones off the front of a home's line, so that its front shows when the next is due.
    fn trim(&mut self, home: Index) {
        let Some(line) = self.backups.get_mut(&home) else { return };
        while let Some(place) = line.front().copied()
            && matches!(self.open.get(place).phase, Phase::Settled)
        {
            line.pop_front();
            self.lingering -= 1;
            self.open.free(place);
        }
        if line.is_empty() {
            self.backups.remove(&home);
        }
    }

    /// Places in lines, for tests of bounds.
    #[cfg(test)]
    pub(super) fn standing(&self) -> usize {
        let backups = self.backups.values().map(VecDeque::len).sum::<usize>();
        self.own.len() + self.spare.len() + backups
    }
}

fn place_of(handle: Handle) -> Place {
    Place(u32::try_from(handle.number()).expect("handles of open transactions are made of places"))
}
