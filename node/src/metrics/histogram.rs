//! Times in buckets, from which Prometheus computes quantiles over any span.

/// The buckets' upper bounds, microseconds: rounds take from a millisecond on loopback to seconds over a bad link.
pub(crate) const BOUNDS_US: [u64; 13] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// The number of times in each bucket, and their sum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Histogram {
    /// Not cumulative.
    counts: [u64; BOUNDS_US.len()],
    beyond: u64,
    sum_us: u64,
}

impl Histogram {
    /// Adds a time.
    pub(crate) fn add(&mut self, us: u64) {
        match BOUNDS_US.iter().position(|bound| us <= *bound) {
            Some(bucket) => self.counts[bucket] += 1,
            None => self.beyond += 1,
        }
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// For each bound, ascending, the number of times that did not exceed it.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut sum = 0;
        BOUNDS_US.into_iter().zip(self.counts).map(move |(bound_us, count)| {
            sum += count;
            (bound_us, sum)
        })
    }

    /// The number of times.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.beyond
    }

    /// Their sum.
    pub(crate) fn sum_us(&self) -> u64 {
        self.sum_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_in_each_bucket_whose_bound_it_does_not_exceed() {
        let mut histogram = Histogram::default();
        for us in [0, 1_000, 1_001, 10_000_000, 10_000_001] {
            histogram.add(us);
        }
        let cumulative: Vec<_> = histogram.cumulative().collect();
        assert_eq!(cumulative[..2], [(1_000, 2), (2_500, 3)]);
        assert_eq!(cumulative.last(), Some(&(10_000_000, 4)));
        assert_eq!((histogram.count(), histogram.sum_us()), (5, 20_002_002));
    }
}
