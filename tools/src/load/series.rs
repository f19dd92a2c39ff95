//! The counts of each second of a load, by the load's own clock.
//!
//! A section ends at each whole second, where the warm-up ends and where the offering ends, so that each lies in one
//! phase. Receipts are counted in the section in which they were read.

use super::histogram::Histogram;
use super::phase::{Borders, Phase};
use super::tally::Tally;

const SECOND_US: u64 = 1_000_000;

/// The counts of one section. Times in microseconds since the load began.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Section {
    pub(crate) from_us: u64,
    pub(crate) until_us: u64,
    pub(crate) phase: Phase,
    /// Transactions whose intended time lies in it.
    pub(crate) meant: u64,
    pub(crate) sent: u64,
    pub(crate) committed: u64,
    /// Of these, those that crossed shards.
    pub(crate) committed_cross: u64,
    pub(crate) rejected: u64,
    /// Open at its end.
    pub(crate) open: u64,
    /// Of those committed in it: the quantiles of 500 and 990 per mille, and the longest; `None` if nothing was.
    pub(crate) latency_us: Option<[u64; 3]>,
}

impl Section {
    /// Whether it lies after the load and nothing happened in it.
    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Drain && self.open == 0 && self.sent + self.committed + self.rejected == 0
    }

    /// Its length, seconds.
    pub(crate) fn seconds(&self) -> f64 {
        (self.until_us - self.from_us) as f64 / 1e6
    }
}

/// Counts up to a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counts {
    meant: u64,
    sent: u64,
    committed: u64,
    committed_cross: u64,
    rejected: u64,
}

/// Closes one section after the other.
#[derive(Debug, Default)]
pub(crate) struct Series {
    from_us: u64,
    counts: Counts,
    closed: Vec<Section>,
}

impl Series {
    /// Whether a section is over at a moment.
    pub(crate) fn is_due(&self, now_us: u64, borders: &Borders) -> bool {
        end_of(self.from_us, borders) <= now_us
    }

    /// Closes the sections that are over at a moment. Receipts read later must not be in the tally yet.
    /// `meant_by` returns how many transactions were meant to be sent before a moment.
    pub(crate) fn advance(
        &mut self,
        now_us: u64,
        borders: &Borders,
        tally: &mut Tally,
        open: u64,
        meant_by: impl Fn(u64) -> u64,
    ) {
        while self.is_due(now_us, borders) {
            let until_us = end_of(self.from_us, borders);
            self.close(until_us, borders, tally, open, meant_by(until_us));
        }
    }

    /// Closes what is left at the end of a load; all sections that are over are closed.
    pub(crate) fn finish(
        &mut self,
        now_us: u64,
        borders: &Borders,
        tally: &mut Tally,
        open: u64,
        meant: u64,
    ) {
        if now_us > self.from_us {
            self.close(now_us, borders, tally, open, meant);
        }
    }

    fn close(&mut self, until_us: u64, borders: &Borders, tally: &mut Tally, open: u64, meant: u64) {
        let counts = Counts {
            meant,
            sent: tally.submitted,
            committed: tally.committed,
            committed_cross: tally.committed_cross,
            rejected: tally.rejected_count(),
        };
        let last = std::mem::replace(&mut self.counts, counts);
        self.closed.push(Section {
            from_us: self.from_us,
            until_us,
            phase: borders.phase(self.from_us),
            meant: counts.meant - last.meant,
            sent: counts.sent - last.sent,
            committed: counts.committed - last.committed,
            committed_cross: counts.committed_cross - last.committed_cross,
            rejected: counts.rejected - last.rejected,
            open,
            latency_us: quantiles(&tally.interval),
        });
        tally.interval.clear();
        self.from_us = until_us;
    }

    /// The sections closed since this was last called.
    pub(crate) fn take(&mut self) -> Vec<Section> {
        std::mem::take(&mut self.closed)
    }
}

/// The end of the section that begins at this moment.
fn end_of(from_us: u64, borders: &Borders) -> u64 {
    let second = (from_us / SECOND_US + 1) * SECOND_US;
    let borders = [borders.measured_from_us, borders.offered_until_us];
    borders.into_iter().filter(|at_us| *at_us > from_us).fold(second, u64::min)
}

fn quantiles(latency: &Histogram) -> Option<[u64; 3]> {
    Some([latency.quantile_us(500)?, latency.quantile_us(990)?, latency.max_us()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tally::Kind;
    use wire::ids::{Round, ShardId};

    #[test]
    fn sections_end_at_seconds_and_at_the_borders_of_phases() {
        let borders = Borders { measured_from_us: 1_500_000, offered_until_us: 2_250_000 };
        let mut tally = Tally::of_shards(1);
        let mut series = Series::default();
        let meant_by = |at_us: u64| at_us.min(2_250_000) / 1_000;
        tally.handed_over(false, 0);
        tally.finished(Kind::Intra, ShardId(0), Round(3), 100, 700_000);
        series.advance(2_599_999, &borders, &mut tally, 5, meant_by);
        series.finish(2_600_000, &borders, &mut tally, 0, meant_by(2_600_000));
        let sections = series.take();
        let shape: Vec<_> = sections
            .iter()
            .map(|one| (one.from_us, one.until_us, one.phase, one.meant, one.committed))
            .collect();
        assert_eq!(
            shape,
            [
                (0, 1_000_000, Phase::WarmUp, 1_000, 1),
                (1_000_000, 1_500_000, Phase::WarmUp, 500, 0),
                (1_500_000, 2_000_000, Phase::Measured, 500, 0),
                (2_000_000, 2_250_000, Phase::Measured, 250, 0),
                (2_250_000, 2_600_000, Phase::Drain, 0, 0),
            ]
        );
        assert_eq!((sections[0].sent, sections[0].open), (1, 5));
        assert_eq!(sections[0].latency_us.map(|[_, _, max_us]| max_us), Some(699_900));
        assert_eq!(sections[1].latency_us, None, "nothing came in it");
        assert!(series.take().is_empty());
    }
}
