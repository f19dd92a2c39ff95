//! Executed parts, kept with their proofs for lagging members of the own shard: their blocks name these parts, and the
//! source has dropped them once f+1 members of our shard had executed them.
//!
//! Bound: the rounds and the bytes that [`History::new`] is given, whichever is less.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wire::ids::{PartNumber, Round, ShardId};

use super::proof::Held;
use crate::part::PartRef;

/// The executed parts that are kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct History {
    rounds_max: u64,
    bytes_max: u64,
    parts: BTreeMap<(ShardId, PartNumber), Arc<Held>>,
    order: VecDeque<(Round, ShardId, PartNumber)>,
    bytes: u64,
}

impl History {
    /// An empty history with a limit of rounds and of bytes.
    pub(super) fn new(rounds_max: u64, bytes_max: u64) -> History {
        History { rounds_max, bytes_max, parts: BTreeMap::new(), order: VecDeque::new(), bytes: 0 }
    }

    /// A part was executed at our height `height`; the oldest ones are dropped for it.
    pub(super) fn push(&mut self, height: Round, held: Arc<Held>) {
        let place = (held.part.source, held.part.number);
        self.bytes += held.bytes();
        self.order.push_back((height, place.0, place.1));
        self.parts.insert(place, held);
        while self.bytes > self.bytes_max {
            self.drop_oldest();
        }
    }

    /// Our height is now `height`.
    pub(super) fn advance(&mut self, height: Round) {
        while self.order.front().is_some_and(|(at, ..)| at.0 + self.rounds_max < height.0) {
            self.drop_oldest();
        }
    }

    pub(super) fn get(&self, part: &PartRef) -> Option<&Arc<Held>> {
        let held = self.parts.get(&(part.source, part.number));
        held.filter(|held| held.part.digest == part.digest)
    }

    fn drop_oldest(&mut self) {
        let (_, source, number) = self.order.pop_front().expect("a history with bytes has parts");
        let held = self.parts.remove(&(source, number)).expect("each number is executed once");
        self.bytes -= held.bytes();
    }

    /// How many parts are kept, and their bytes.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, u64) {
        (self.parts.len(), self.bytes)
    }
}
