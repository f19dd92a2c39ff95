//! A log-linear histogram of latencies: exact below 64 µs, then 32 buckets an octave, so a quantile is at most 3.2 %
//! above the truth. Fixed size (about 10 KB), adding costs a few nanoseconds and allocates nothing.

/// Counts of values in microseconds, up to about 2.5 hours; longer ones count as that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    count: u64,
    max_us: u64,
}

/// Buckets an octave, as a power of two.
const SUB_BITS: u32 = 5;
/// Values from 2^33 µs on fall into the last bucket.
const TOP_BITS: u32 = 33;
const BUCKETS: usize = ((TOP_BITS - SUB_BITS) as usize + 1) << SUB_BITS;

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; BUCKETS], count: 0, max_us: 0 }
    }
}

impl Histogram {
    /// Adds one value.
    pub(crate) fn add(&mut self, us: u64) {
        self.add_times(us, 1);
    }

    /// Adds a value so many times.
    pub(crate) fn add_times(&mut self, us: u64, times: u64) {
        self.counts[bucket(us)] += times;
        self.count += times;
        self.max_us = self.max_us.max(us);
    }

    /// Adds all values of another.
    pub(crate) fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max_us = self.max_us.max(other.max_us);
    }

    /// The values that have been added since this was `earlier`. Their maximum is that of all values.
    pub(crate) fn since(&self, earlier: &Histogram) -> Histogram {
        let counts = self.counts.iter().zip(&earlier.counts);
        Histogram {
            counts: counts.map(|(now, then)| now - then).collect(),
            count: self.count - earlier.count,
            max_us: self.max_us,
        }
    }

    /// Forgets all values.
    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
        (self.count, self.max_us) = (0, 0);
    }

    /// The buckets that are not empty, ascending: the smallest and the largest value of each, and how many fell into
    /// it.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        let counts = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counts.map(|(index, count)| {
            let first = index.checked_sub(1).map_or(0, |before| last_of(before) + 1);
            (first, last_of(index), *count)
        })
    }

    /// How wide the bucket of a value is.
    pub(crate) fn bucket_us(us: f64) -> f64 {
        let index = bucket(us as u64);
        (last_of(index) - index.checked_sub(1).map_or(0, last_of)) as f64
    }

    /// The largest value, exactly; `None` if there is none.
    pub(crate) fn max_us(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max_us)
    }

    /// Quantiles, each with its name and per mille, and the maximum in words; a dash if there is nothing.
    pub(crate) fn text(&self, quantiles: &[(&str, u64)]) -> String {
        let Some(max_us) = self.max_us() else { return "-".into() };
        let part = |(name, per_mille): &(&str, u64)| {
            let us = self.quantile_us(*per_mille).unwrap_or_default();
            format!("{name} {:.1} ms, ", us as f64 / 1e3)
        };
        format!("{}max {:.1} ms", quantiles.iter().map(part).collect::<String>(), max_us as f64 / 1e3)
    }

    /// The value that at least `per_mille` of 1000 values do not exceed, rounded up to its bucket's end; `None` if
    /// there is none.
    pub(crate) fn quantile_us(&self, per_mille: u64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let rank = (u128::from(self.count) * u128::from(per_mille)).div_ceil(1000).max(1) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(last_of(index).min(self.max_us));
            }
        }
        Some(self.max_us)
    }
}

/// The bucket of a value. The first two octaves' worth of buckets hold one value each; after that the top
/// `SUB_BITS + 1` bits choose.
fn bucket(us: u64) -> usize {
    let us = us.min((1 << TOP_BITS) - 1);
    let octave = (63 - us.max(1).leading_zeros()).saturating_sub(SUB_BITS);
    ((octave as usize) << SUB_BITS) + (us >> octave) as usize
}

/// The largest value of a bucket.
fn last_of(index: usize) -> u64 {
    let octave = (index >> SUB_BITS).saturating_sub(1);
    let top = (index - (octave << SUB_BITS)) as u64;
    ((top + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_ascending_and_narrow() {
        let mut previous_last = None;
        for index in 0..BUCKETS {
            let first = previous_last.map_or(0, |last: u64| last + 1);
            let last = last_of(index);
            assert!(last >= first, "bucket {index} is not empty");
            assert_eq!((bucket(first), bucket(last)), (index, index), "{first} to {last}");
            assert!(last - first <= first / 32, "bucket {index}: {first} to {last}");
            previous_last = Some(last);
        }
        assert_eq!(previous_last, Some((1 << TOP_BITS) - 1));
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_of_known_values() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.quantile_us(500), histogram.max_us()), (None, None));
        (1..=1000).for_each(|us| histogram.add(us));
        for (per_mille, exact) in [(1, 1), (10, 10), (500, 500), (900, 900), (990, 990), (1000, 1000)] {
            let found = histogram.quantile_us(per_mille).unwrap();
            assert!((exact..=exact + exact / 31 + 1).contains(&found), "{per_mille}: {found} for {exact}");
        }
        assert_eq!(histogram.max_us(), Some(1000));
        assert_eq!(histogram.count, 1000);
    }

    #[test]
    fn what_was_added_since_is_what_is_left() {
        let mut histogram = Histogram::default();
        histogram.add(5_000);
        let earlier = histogram.clone();
        (1..=10).for_each(|us| histogram.add(us));
        let since = histogram.since(&earlier);
        assert_eq!((since.count, since.quantile_us(500), since.quantile_us(1000)), (10, Some(5), Some(10)));
        assert_eq!(histogram.since(&histogram).quantile_us(500), None);
    }

    #[test]
    fn buckets_hold_each_value_once() {
        let mut histogram = Histogram::default();
        [0, 7, 7, 1_000].into_iter().for_each(|us| histogram.add(us));
        let buckets: Vec<_> = histogram.buckets().collect();
        assert_eq!(buckets, [(0, 0, 1), (7, 7, 2), (992, 1_007, 1)]);
    }

    #[test]
    fn merging_adds_and_clearing_forgets() {
        let (mut one, mut two) = (Histogram::default(), Histogram::default());
        one.add(5);
        two.add(7_000_000);
        one.merge(&two);
        assert_eq!((one.count, one.max_us(), one.quantile_us(500)), (2, Some(7_000_000), Some(5)));
        one.clear();
        assert_eq!(one, Histogram::default());
    }
}
