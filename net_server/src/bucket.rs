//! A token bucket: a number of tokens a second, at most a second's worth at once.

use std::time::{Duration, Instant};

/// The last use may take more tokens than there are; the bucket then stays closed for longer.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    per_s: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(per_s: u64, now: Instant) -> Bucket {
        Bucket { per_s: per_s as f64, tokens: per_s as f64, filled: now }
    }

    /// Whether tokens may be taken now; if not, when.
    pub(crate) fn check(&mut self, now: Instant) -> Result<(), Instant> {
        let passed_s = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed_s * self.per_s).min(self.per_s);
        self.filled = now;
        if self.tokens >= 1.0 {
            return Ok(());
        }
        // One millisecond more, so that rounding never returns a time at which the bucket is still short.
        let wait_s = (1.0 - self.tokens) / self.per_s;
        Err(now + Duration::from_secs_f64(wait_s) + Duration::from_millis(1))
    }

    pub(crate) fn take(&mut self, count: u64) {
        self.tokens -= count as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_allows_a_second_of_tokens_at_once() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, start);
        for _ in 0..10 {
            assert_eq!(bucket.check(start), Ok(()));
            bucket.take(1);
        }
        let open = bucket.check(start).unwrap_err();
        assert!((100..=102).contains(&(open - start).as_millis()));
        assert_eq!(bucket.check(open), Ok(()));
        bucket.take(21);
        let open_again = bucket.check(open).unwrap_err();
        assert!((open_again - open).as_millis() > 2000, "an overdraft delays the next use");
        assert_eq!(bucket.check(start + Duration::from_secs(3600)), Ok(()));
    }
}
