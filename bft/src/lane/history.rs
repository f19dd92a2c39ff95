//! Entries of executed blocks, kept for members that lag.
//!
//! Bounded by rounds and by bytes, whichever is less; the oldest round is dropped first, whole.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use wire::ids::{Digest, Index, Round, Seq};

use super::entry::Entry;

/// The memory of an entry besides its body.
const OVERHEAD_BYTES: u64 = 256;

/// The executed entries of all lanes, newest rounds only.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct History {
    rounds_max: u64,
    bytes_max: u64,
    bytes: u64,
    /// By lane; within a lane ascending and without gaps.
    lanes: Vec<VecDeque<Entry>>,
    rounds: VecDeque<Executed>,
}

/// How many entries of each lane one round executed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Executed {
    round: Round,
    taken: Vec<(Index, usize)>,
}

impl History {
    pub(super) fn new(n: usize, rounds_max: u64, bytes_max: u64) -> History {
        History { rounds_max, bytes_max, bytes: 0, lanes: vec![VecDeque::new(); n], rounds: VecDeque::new() }
    }

    /// Adds the block of a round: for each lane its entries, ascending, which follow those of the round before.
    pub(super) fn push(&mut self, round: Round, block: Vec<(Index, Vec<Entry>)>) {
        let mut taken = Vec::new();
        for (lane, entries) in block.into_iter().filter(|(_, entries)| !entries.is_empty()) {
            self.bytes += entries.iter().map(cost).sum::<u64>();
            taken.push((lane, entries.len()));
            self.lanes[usize::from(lane.0)].extend(entries);
        }
        self.rounds.push_back(Executed { round, taken });
        while self.rounds.len() as u64 > self.rounds_max || self.bytes > self.bytes_max {
            let Some(oldest) = self.rounds.pop_front() else { break };
            for (lane, count) in oldest.taken {
                let gone = self.lanes[usize::from(lane.0)].drain(..count);
                self.bytes -= gone.map(|entry| cost(&entry)).sum::<u64>();
            }
        }
    }

    /// Forgets everything: the rounds that come next do not follow.
    pub(super) fn clear(&mut self) {
        *self = History::new(self.lanes.len(), self.rounds_max, self.bytes_max);
    }

    /// The executed entry of a position, if it is still here.
    pub(super) fn entry(&self, lane: Index, seq: Seq) -> Option<&Entry> {
        let entries = &self.lanes[usize::from(lane.0)];
        let at = entries.binary_search_by_key(&seq, |entry| entry.seq).ok()?;
        entries.get(at)
    }

    /// The same, if it is exactly this entry.
    pub(super) fn find(&self, lane: Index, seq: Seq, digest: Digest) -> Option<&Entry> {
        self.entry(lane, seq).filter(|entry| entry.digest == digest)
    }

    /// The first round all of whose entries are still here.
    pub(super) fn first_round(&self) -> Option<Round> {
        self.rounds.front().map(|executed| executed.round)
    }

    /// Bytes held.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn cost(entry: &Entry) -> u64 {
    entry.body.len() as u64 + OVERHEAD_BYTES
}
