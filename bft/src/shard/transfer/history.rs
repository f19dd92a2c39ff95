//! Executed parts, kept with their proofs for lagging members of the own shard: their blocks name these parts, and the
//! source has dropped them once f+1 members of our shard had executed them.
//!
//! A member with a journal finds them there: the message that brought one proves it to others as it did to us.
//!
//! Bound: the rounds and the bytes that [`History::new`] is given, whichever is less.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wire::ids::{Digest, PartNumber, Round, ShardId};

use super::TransferSend;
use super::proof::Held;
use crate::lane::HistoryPlace;
use crate::part::PartRef;

/// The executed parts that are kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct History {
    place: HistoryPlace,
    rounds_max: u64,
    bytes_max: u64,
    parts: BTreeMap<(ShardId, PartNumber), Kept>,
    order: VecDeque<(Round, ShardId, PartNumber)>,
    bytes: u64,
}

/// An executed part.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    part: Digest,
    /// The size of the part with its proof.
    bytes: u64,
    body: Body,
}

/// An executed part with its proof.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Body {
    /// Here it is.
    Here(Arc<Held>),
    /// The journal has the message with this digest, which brought it.
    InJournal(Digest),
}

impl History {
    /// An empty history with a limit of rounds and of bytes.
    pub(super) fn new(place: HistoryPlace, rounds_max: u64, bytes_max: u64) -> History {
        let (parts, order) = (BTreeMap::new(), VecDeque::new());
        History { place, rounds_max, bytes_max, parts, order, bytes: 0 }
    }

    /// A part was executed at our height `height`; the oldest ones are dropped for it.
    pub(super) fn push(&mut self, height: Round, held: Arc<Held>) {
        let (source, number) = (held.part.source, held.part.number);
        let (part, bytes) = (held.part.digest, held.bytes());
        let body = match self.place {
            HistoryPlace::Memory => Body::Here(held),
            HistoryPlace::Journal => Body::InJournal(held.message),
        };
        self.bytes += bytes;
        self.order.push_back((height, source, number));
        self.parts.insert((source, number), Kept { part, bytes, body });
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

    /// The message that brings this part to a member that lags, and its length in bytes.
    pub(super) fn get(&self, part: &PartRef) -> Option<(TransferSend, u64)> {
        let kept = self.parts.get(&(part.source, part.number))?;
        let send = match &kept.body {
            Body::Here(held) => TransferSend::Transfer(held.transfer()),
            Body::InJournal(message) => TransferSend::Kept(*message),
        };
        (kept.part == part.digest).then_some((send, kept.bytes))
    }

    /// The messages that the journal must have.
    pub(super) fn in_journal(&self) -> impl Iterator<Item = Digest> {
        self.parts.values().filter_map(|kept| match &kept.body {
            Body::Here(_) => None,
            Body::InJournal(message) => Some(*message),
        })
    }

    fn drop_oldest(&mut self) {
        let (_, source, number) = self.order.pop_front().expect("a history with bytes has parts");
        let kept = self.parts.remove(&(source, number)).expect("each number is executed once");
        self.bytes -= kept.bytes;
    }

    /// How many parts are kept, and their bytes.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, u64) {
        (self.parts.len(), self.bytes)
    }
}
