//! The fates of the transactions of a load, in numbers.

use std::collections::BTreeMap;

use wire::client::{Fate, Refusal, Rejection};
use wire::ids::{Round, ShardId};

use super::histogram::Histogram;
use super::phase::{Borders, Phase};
use super::window::Returned;

/// Whether a transaction crosses shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// All in one shard.
    Intra,
    /// In several.
    Cross,
}

/// Whether a rejection had to be expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// An input was spoiled, or a coin in doubt.
    Expected,
    /// Nothing explains it.
    Unexpected,
}

/// Receipts that name one height.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Finished {
    /// Of transactions within the shard.
    pub(crate) intra: u64,
    /// Of transactions that came from other shards.
    pub(crate) cross: u64,
}

/// Counts, latencies and heights. Counts are of the whole load; what is *measured* lies between the end of the warm-up
/// and the end of the offering, by the intended time for latencies and else by when it happened. Moments are in
/// microseconds since the load began.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    /// Where the phases of the load end.
    pub(crate) borders: Borders,
    /// Transactions handed to a node, each counted once.
    pub(crate) submitted: u64,
    /// Of these, those without a spoiled input.
    pub(crate) submitted_valid: u64,
    /// Of these, those handed over while it is measured.
    pub(crate) submitted_measured: u64,
    /// Intended and never sent since the nodes did not take them in time.
    pub(crate) unsent: u64,
    /// How long each of these had waited at the end.
    pub(crate) unsent_waited: Histogram,
    pub(crate) committed: u64,
    /// Of these, those whose receipt was read while load was offered.
    pub(crate) committed_offering: u64,
    /// Of these, those whose receipt was read while it is measured.
    pub(crate) committed_measured: u64,
    /// Of `committed`, those that crossed shards.
    pub(crate) committed_cross: u64,
    /// Finished although an input was spoiled, which no ledger may let happen.
    pub(crate) finished_invalid: u64,
    /// Rejected for good, by reason.
    pub(crate) rejected: BTreeMap<Rejection, u64>,
    /// Of these, those that nothing explains.
    pub(crate) rejected_unexpected: u64,
    /// Coins with which chains went on that had been given back to them.
    pub(crate) coins_given_back: u64,
    pub(crate) expired: u64,
    /// Refused, by reason.
    pub(crate) refused: BTreeMap<Refusal, u64>,
    /// Unknown at the end to their own node, which had taken them.
    pub(crate) lost: u64,
    /// Final receipts for what had a final receipt before, unless it was queried.
    pub(crate) duplicated: u64,
    /// Asked for at another member, since their node was silent or gone; each counts as often as that happened.
    pub(crate) handed_on: u64,
    /// Handed over a second time, since the node had lost them with a connection or another member did not know them.
    pub(crate) resubmitted: u64,
    /// From the intended send time to the receipt, of all that were committed within a shard.
    pub(crate) latency_intra: Histogram,
    /// The same of those that crossed shards.
    pub(crate) latency_cross: Histogram,
    /// The same of those that were rejected.
    pub(crate) rejection: Histogram,
    /// Of these, the ones for reasons that need no agreement: a coin was spent, or had another amount.
    pub(crate) rejection_final: Histogram,
    /// Of all that were committed in the running section of the series.
    pub(crate) interval: Histogram,
    /// For the closed loop.
    pub(crate) returned: Returned,
    /// The greatest height of each shard that is known, by receipts or by a node's status.
    pub(crate) heights: Vec<Round>,
}

impl Tally {
    /// Nothing yet, of so many shards.
    pub(crate) fn of_shards(shards: u16) -> Tally {
        Tally { heights: vec![Round(0); usize::from(shards)], ..Tally::default() }
    }

    /// Counts a transaction handed to a node.
    pub(crate) fn handed_over(&mut self, is_spoiled: bool, now_us: u64) {
        self.submitted += 1;
        self.submitted_valid += u64::from(!is_spoiled);
        self.submitted_measured += u64::from(self.borders.phase(now_us) == Phase::Measured);
    }

    /// Counts transactions of an open loop that were intended at a moment and not sent until the end of the offering.
    pub(crate) fn never_sent(&mut self, intended_us: u64, count: u64) {
        self.unsent += count;
        if self.borders.phase(intended_us) == Phase::Measured {
            self.unsent_waited.add_times(self.borders.offered_until_us.saturating_sub(intended_us), count);
        }
    }

    /// Counts a transaction finished at a height of a shard, whose receipt was read at `read_us`.
    pub(crate) fn finished(
        &mut self,
        kind: Kind,
        shard: ShardId,
        height: Round,
        intended_us: u64,
        read_us: u64,
    ) {
        let latency_us = read_us.saturating_sub(intended_us);
        self.committed += 1;
        self.committed_cross += u64::from(kind == Kind::Cross);
        let phase = self.borders.phase(read_us);
        self.committed_offering += u64::from(phase != Phase::Drain);
        self.committed_measured += u64::from(phase == Phase::Measured);
        if self.borders.phase(intended_us) == Phase::Measured {
            match kind {
                Kind::Intra => self.latency_intra.add(latency_us),
                Kind::Cross => self.latency_cross.add(latency_us),
            }
        }
        self.interval.add(latency_us);
        self.heard_of(shard, height);
    }

    /// Counts a transaction rejected for good.
    pub(crate) fn rejected(&mut self, reason: Rejection, ending: Ending, intended_us: u64, read_us: u64) {
        *self.rejected.entry(reason).or_default() += 1;
        self.rejected_unexpected += u64::from(ending == Ending::Unexpected);
        if self.borders.phase(intended_us) == Phase::Measured {
            let latency_us = read_us.saturating_sub(intended_us);
            self.rejection.add(latency_us);
            if matches!(reason, Rejection::Spent | Rejection::WrongAmount) {
                self.rejection_final.add(latency_us);
            }
        }
    }

    /// Counts a transaction that is no longer open, for the closed loop.
    pub(crate) fn returned(&mut self, fate: Fate, sent_us: u64, read_us: u64) {
        self.returned.count += 1;
        self.returned.decided += u64::from(matches!(fate, Fate::Finished(_) | Fate::Rejected(_)));
        self.returned.open_us += read_us.saturating_sub(sent_us);
    }

    /// How many were rejected.
    pub(crate) fn rejected_count(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// The latencies of all that were committed, and of what was never sent the time for which it had waited: these
    /// would have taken longer still, and to leave them out would praise a testbed for what it did not take.
    pub(crate) fn latency(&self) -> Histogram {
        let mut all = self.latency_intra.clone();
        all.merge(&self.latency_cross);
        all.merge(&self.unsent_waited);
        all
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
