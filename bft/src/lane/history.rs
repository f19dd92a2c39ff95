//! Entries of executed blocks, kept for members that lag.
//!
//! A member with a journal need not keep their bytes: they stand in the journal, and the driver reads them from there
//! ([`HistoryPlace::Journal`]). Then the history holds what it takes to find them, about 100 bytes an entry.
//!
//! Bounded by rounds and by bytes, whichever is less; the oldest round is dropped first, whole.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use wire::bytes::Bytes;
use wire::ids::{Digest, Index, Round, Seq};

use super::entry::Entry;

/// The cost of an entry besides its body.
const OVERHEAD_BYTES: u64 = 256;

/// Where the bytes of executed entries and parts are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum HistoryPlace {
    /// In memory, since nothing else outlives the message that brought them.
    #[default]
    Memory,
    /// In the journal, which has the message that brought them.
    Journal,
}

/// The executed entries of all lanes, newest rounds only.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct History {
    place: HistoryPlace,
    rounds_max: u64,
    bytes_max: u64,
    bytes: u64,
    /// By lane; within a lane ascending and without gaps.
    lanes: Vec<VecDeque<Kept>>,
    rounds: VecDeque<Executed>,
}

/// An executed entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    seq: Seq,
    pub(super) parent: Digest,
    digest: Digest,
    pub(super) body: Body,
}

/// The bytes of an executed entry, which are the message that brought it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Body {
    /// Here they are.
    Here(Bytes),
    /// The journal has so many.
    InJournal(u64),
}

impl Body {
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Body::Here(body) => body.len() as u64,
            Body::InJournal(bytes) => *bytes,
        }
    }
}

/// How many entries of each lane one round executed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Executed {
    round: Round,
    taken: Vec<(Index, usize)>,
}

impl History {
    pub(super) fn new(n: usize, place: HistoryPlace, rounds_max: u64, bytes_max: u64) -> History {
        let (lanes, rounds) = (vec![VecDeque::new(); n], VecDeque::new());
        History { place, rounds_max, bytes_max, bytes: 0, lanes, rounds }
    }

    /// Adds the block of a round: for each lane its entries, ascending, which follow those of the round before.
    pub(super) fn push(&mut self, round: Round, block: Vec<(Index, Vec<Entry>)>) {
        let mut taken = Vec::new();
        for (lane, entries) in block.into_iter().filter(|(_, entries)| !entries.is_empty()) {
            taken.push((lane, entries.len()));
            for Entry { seq, parent, digest, body, .. } in entries {
                let body = match self.place {
                    HistoryPlace::Memory => Body::Here(body),
                    HistoryPlace::Journal => Body::InJournal(body.len() as u64),
                };
                let kept = Kept { seq, parent, digest, body };
                self.bytes += cost(&kept);
                self.lanes[usize::from(lane.0)].push_back(kept);
            }
        }
        self.rounds.push_back(Executed { round, taken });
        while self.rounds.len() as u64 > self.rounds_max || self.bytes > self.bytes_max {
            let Some(oldest) = self.rounds.pop_front() else { break };
            for (lane, count) in oldest.taken {
                let gone = self.lanes[usize::from(lane.0)].drain(..count);
                self.bytes -= gone.map(|kept| cost(&kept)).sum::<u64>();
            }
        }
    }

    /// Forgets everything: the rounds that come next do not follow.
    pub(super) fn clear(&mut self) {
        *self = History::new(self.lanes.len(), self.place, self.rounds_max, self.bytes_max);
    }

    /// The executed entry of a position, if it is still kept.
    fn kept(&self, lane: Index, seq: Seq) -> Option<&Kept> {
        let entries = &self.lanes[usize::from(lane.0)];
        let at = entries.binary_search_by_key(&seq, |kept| kept.seq).ok()?;
        entries.get(at)
    }

    /// The same, if it is exactly this entry.
    pub(super) fn find(&self, lane: Index, seq: Seq, digest: Digest) -> Option<&Kept> {
        self.kept(lane, seq).filter(|kept| kept.digest == digest)
    }

    /// The whole entry of a position; `journal` reads what is not in memory.
    pub(super) fn entry(
        &self,
        owner: Index,
        seq: Seq,
        journal: impl Fn(&Digest) -> Option<Bytes>,
    ) -> Option<Entry> {
        let Kept { seq, parent, digest, body } = self.kept(owner, seq)?.clone();
        let body = match body {
            Body::Here(body) => body,
            Body::InJournal(_) => journal(&digest)?,
        };
        Some(Entry { owner, seq, parent, digest, body })
    }

    /// The first round all of whose entries are still kept.
    pub(super) fn first_round(&self) -> Option<Round> {
        self.rounds.front().map(|executed| executed.round)
    }

    /// The messages that the journal must have.
    pub(super) fn in_journal(&self) -> impl Iterator<Item = Digest> {
        let kept = self.lanes.iter().flatten();
        kept.filter(|kept| matches!(kept.body, Body::InJournal(_))).map(|kept| kept.digest)
    }

    /// Bytes held.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn cost(kept: &Kept) -> u64 {
    kept.body.bytes() + OVERHEAD_BYTES
}
