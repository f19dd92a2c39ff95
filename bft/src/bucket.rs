//! A leaky bucket: limits how many bytes go out at once, and per second after that.
//!
//! The core sees no socket, so it assumes that a message is under way for as long as a link of the given rate takes to
//! carry it. The only state is the time at which everything sent so far has arrived.

use crate::time::{Span, Time};
use serde::{Deserialize, Serialize};

/// The bytes of one kind that are under way, to one peer or in total.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Bucket {
    bytes_per_s: u64,
    burst: Span,
    empty_at: Time,
}

impl Bucket {
    /// An empty bucket. The time that a message takes is rounded down to the microsecond.
    ///
    /// # Panics
    /// If the rate is zero.
    pub fn new(bytes_per_s: u64, burst_bytes: u64) -> Bucket {
        assert!(bytes_per_s > 0, "at a rate of zero no message ever arrives");
        Bucket { bytes_per_s, burst: span_of(burst_bytes, bytes_per_s), empty_at: Time(0) }
    }

    /// Whether less than the burst is under way. [`Bucket::spend`] may then go beyond it by one message.
    pub fn is_open(&self, now: Time) -> bool {
        self.opens_at() <= now
    }

    /// The time from which [`Bucket::is_open`] holds.
    pub fn opens_at(&self) -> Time {
        Time(self.empty_at.0.saturating_add(1).saturating_sub(self.burst.0))
    }

    /// Counts bytes that go out, whether there is room for them or not.
    pub fn spend(&mut self, now: Time, bytes: u64) {
        self.empty_at = self.after(now, bytes);
    }

    /// Counts bytes that are to go out if they fit into the burst beside those under way; returns whether they do.
    pub fn admit(&mut self, now: Time, bytes: u64) -> bool {
        let empty_at = self.after(now, bytes);
        let fits = empty_at.since(now) <= self.burst;
        if fits {
            self.empty_at = empty_at;
        }
        fits
    }

    /// The time at which everything has arrived if these bytes are sent now.
    fn after(&self, now: Time, bytes: u64) -> Time {
        let from = now.max(self.empty_at);
        Time(from.0.saturating_add(span_of(bytes, self.bytes_per_s).0))
    }
}

fn span_of(bytes: u64, bytes_per_s: u64) -> Span {
    let us = u128::from(bytes) * 1_000_000 / u128::from(bytes_per_s);
    Span(u64::try_from(us).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn at_once_the_burst_and_one_message_and_then_the_rate() {
        let mut bucket = Bucket::new(16 * MIB, 8 * MIB);
        let start = Time(5_000_000);
        let send_all = |bucket: &mut Bucket, now: Time| {
            let mut bytes = 0;
            while bucket.is_open(now) {
                bucket.spend(now, 3 * MIB);
                bytes += 3 * MIB;
            }
            bytes
        };
        assert_eq!(send_all(&mut bucket, start), 9 * MIB, "the first multiple beyond the burst");
        let opens = bucket.opens_at();
        assert!(!bucket.is_open(Time(opens.0 - 1)) && bucket.is_open(opens));
        assert_eq!(send_all(&mut bucket, opens), 3 * MIB);
        let mut bytes = 0;
        for tick in 1..=1_000 {
            bytes += send_all(&mut bucket, opens + Span::from_ms(10 * tick));
        }
        let rest = 160 * MIB - bytes;
        assert!(rest < 3 * MIB, "{rest} bytes less than may go out in ten seconds");
        assert_eq!(send_all(&mut bucket, Time(u64::MAX / 2)), 9 * MIB, "no more than the burst is saved up");
    }

    #[test]
    fn bytes_that_do_not_fit_are_refused_without_cost() {
        let mut bucket = Bucket::new(1_000_000, 1_000);
        let start = Time(7);
        assert!(!bucket.admit(start, 1_001));
        assert!(bucket.admit(start, 600) && !bucket.admit(start, 401) && bucket.admit(start, 400));
        assert!(!bucket.admit(start + Span(99), 100) && bucket.admit(start + Span(100), 100));
    }

    #[test]
    fn small_messages_at_short_intervals_drain_too() {
        let mut bucket = Bucket::new(262_144, 1_024);
        let sent = (0..1_000_000).filter(|us| bucket.admit(Time(*us), 112)).count() as u64;
        assert!((262_144 / 112..=262_144 / 112 + 15).contains(&sent), "{sent}");
    }

    #[test]
    fn a_bucket_without_bounds_is_always_open() {
        let mut bucket = Bucket::new(1, u64::MAX);
        assert!((0..100).all(|_| bucket.admit(Time(0), u64::MAX / 2)));
        bucket.spend(Time(0), u64::MAX);
        assert!(bucket.is_open(Time(0)));
    }
}
