//! The exchange of a shard with each other one: numbers of parts, tallies, and parts that came before their turn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wire::client::Exchange;
use wire::ids::{PartNumber, ShardId};
use wire::limits::PARTS_AHEAD_MAX;

use crate::mutant::{Mutant, in_force};
use crate::part::{Part, PartRef};

/// See the module. Bound: one tally a shard, and [`PARTS_AHEAD_MAX`] parts of each that wait for their turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Links {
    /// By shard, this one's own included.
    exchanged: Vec<Exchange>,
    early: BTreeMap<(ShardId, PartNumber), Arc<Part>>,
}

/// The turn of a part that a block orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Turn {
    /// It is the next one.
    Now,
    /// Others come before it: it is kept.
    Later,
    /// It was executed, is kept already, or is too far ahead.
    Never,
}

/// The place of a part among those executed and kept. \[safety]
fn turn(executed: PartNumber, part: &PartRef, is_kept: impl Fn(&(ShardId, PartNumber)) -> bool) -> Turn {
    if part.number == executed.next() || !in_force(Mutant::PartsInOrder) {
        Turn::Now
    } else if part.number <= executed
        || part.number.0 > executed.0 + PARTS_AHEAD_MAX
        || is_kept(&(part.source, part.number))
    {
        Turn::Never
    } else {
        Turn::Later
    }
}

impl Links {
    pub(super) fn new(shards: u16) -> Links {
        let exchanged = (0..shards).map(|shard| Exchange { shard: ShardId(shard), ..Exchange::default() });
        Links { exchanged: exchanged.collect(), early: BTreeMap::new() }
    }

    /// The tally of a shard of the committee.
    pub(super) fn of(&mut self, shard: ShardId) -> &mut Exchange {
        &mut self.exchanged[usize::from(shard.0)]
    }

    /// All tallies, ascending by shard.
    pub(super) fn all(&self) -> &[Exchange] {
        &self.exchanged
    }

    /// The last part sent to a shard.
    pub(super) fn sent(&self, destination: ShardId) -> PartNumber {
        self.exchanged[usize::from(destination.0)].part_out
    }

    /// The last part executed that came from a shard.
    pub(super) fn imported(&self, source: ShardId) -> PartNumber {
        self.exchanged[usize::from(source.0)].part_in
    }

    /// The turn of a part ordered now.
    pub(super) fn turn(&self, part: &PartRef) -> Turn {
        turn(self.imported(part.source), part, |place| self.early.contains_key(place))
    }

    /// Keeps a part until its turn.
    pub(super) fn keep(&mut self, part: Arc<Part>) {
        self.early.insert((part.source, part.number), part);
    }

    /// The next part of a shard, if it was kept.
    pub(super) fn take_next(&mut self, source: ShardId) -> Option<Arc<Part>> {
        self.early.remove(&(source, self.imported(source).next()))
    }

    /// Parts that wait for their turn, ascending.
    pub(super) fn early(&self) -> impl Iterator<Item = &Arc<Part>> {
        self.early.values()
    }

    /// Those of the parts ordered one after another whose bodies their execution will need.
    pub(super) fn wants(&self, ordered: impl IntoIterator<Item = PartRef>) -> Vec<PartRef> {
        let mut executed: BTreeMap<ShardId, PartNumber> = BTreeMap::new();
        let mut kept: BTreeSet<(ShardId, PartNumber)> = self.early.keys().copied().collect();
        let mut wanted = Vec::new();
        for part in ordered {
            let executed = executed.entry(part.source).or_insert_with(|| self.imported(part.source));
            match turn(*executed, &part, |place| kept.contains(place)) {
                Turn::Never => continue,
                Turn::Later => {
                    kept.insert((part.source, part.number));
                }
                Turn::Now => {
                    *executed = part.number;
                    while kept.remove(&(part.source, executed.next())) {
                        *executed = executed.next();
                    }
                }
            }
            wanted.push(part);
        }
        wanted
    }
}
