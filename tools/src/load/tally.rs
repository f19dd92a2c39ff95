//! What became of the transactions of a load, in numbers.

use std::collections::BTreeMap;

use wire::client::{Refusal, Rejection};
use wire::ids::{Round, ShardId};

use super::histogram::Histogram;

/// Counts, latencies and heights.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    /// Transactions handed to a node, each counted once.
    pub(crate) submitted: u64,
    /// Finished.
    pub(crate) committed: u64,
    /// Rejected for good, by reason.
    pub(crate) rejected: BTreeMap<Rejection, u64>,
    /// Expired.
    pub(crate) expired: u64,
    /// Refused, by reason.
    pub(crate) refused: BTreeMap<Refusal, u64>,
    /// Found unknown to their own node at the end: it took them and has nothing to say of them.
    pub(crate) lost: u64,
    /// Final receipts for what had a final receipt before, unless it had been asked for.
    pub(crate) duplicated: u64,
    /// Handed over a second time, since the node had lost them with a connection.
    pub(crate) resubmitted: u64,
    /// From the intended send time to the receipt, of all that were committed.
    pub(crate) latency: Histogram,
    /// The same, since it was last taken.
    pub(crate) interval: Histogram,
    /// The greatest height of each shard that is known, by receipts or by a node's word.
    pub(crate) heights: Vec<Round>,
}

impl Tally {
    /// Nothing yet, of so many shards.
    pub(crate) fn of_shards(shards: u16) -> Tally {
        Tally { heights: vec![Round(0); usize::from(shards)], ..Tally::default() }
    }

    /// Counts a transaction finished at a height of a shard.
    pub(crate) fn finished(&mut self, shard: ShardId, height: Round, latency_us: u64) {
        self.committed += 1;
        self.latency.add(latency_us);
        self.interval.add(latency_us);
        self.heard_of(shard, height);
    }

    /// A shard has reached this height.
    pub(crate) fn heard_of(&mut self, shard: ShardId, height: Round) {
        let known = &mut self.heights[usize::from(shard.0)];
        *known = height.max(*known);
    }

    /// The height that all shards have reached.
    pub(crate) fn height_of_all(&self) -> Round {
        self.heights.iter().copied().min().unwrap_or_default()
    }
}

/// How many receipts named each height of one shard. Kept apart from the tally, since it grows with the run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Heights {
    counts: BTreeMap<Round, u64>,
    /// Receipts of one height come together: they go into the map when another height comes.
    here: (Round, u64),
}

impl Heights {
    /// Counts a receipt.
    pub(crate) fn add(&mut self, height: Round) {
        if self.here.0 != height {
            self.flush();
            self.here.0 = height;
        }
        self.here.1 += 1;
    }

    /// All of them.
    pub(crate) fn into_counts(mut self) -> BTreeMap<Round, u64> {
        self.flush();
        self.counts
    }

    fn flush(&mut self) {
        if self.here.1 > 0 {
            *self.counts.entry(self.here.0).or_default() += std::mem::take(&mut self.here.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_are_counted_in_whatever_order_they_come() {
        let mut heights = Heights::default();
        [3, 3, 4, 3, 9].into_iter().for_each(|height| heights.add(Round(height)));
        let expected = BTreeMap::from([(Round(3), 3), (Round(4), 1), (Round(9), 1)]);
        assert_eq!(heights.into_counts(), expected);
    }
}
