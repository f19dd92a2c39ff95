//! A leaky bucket: how many bytes may go out at once, and how many a second from then on.
//!
//! The core sees no socket, so what it has sent is taken to be under way for as long as a link of the given rate needs
//! for it. Nothing is counted but the moment at which all of it has arrived.

use crate::time::{Span, Time};

/// The bytes under way of one sort, to one peer or in all.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    bytes_per_s: u64,
    burst: Span,
    empty_at: Time,
}

impl Bucket {
    /// An empty one. A message takes its time to the microsecond, rounded down.
    ///
    /// # Panics
    ///
    /// At a rate of zero.
    pub fn new(bytes_per_s: u64, burst_bytes: u64) -> Bucket {
        assert!(bytes_per_s > 0, "what never arrives needs no bucket");
        Bucket { bytes_per_s, burst: span_of(burst_bytes, bytes_per_s), empty_at: Time(0) }
    }

    /// Whether less than the burst is under way. [`Bucket::spend`] may then go beyond it by one message.
    pub fn is_open(&self, now: Time) -> bool {
        self.opens_at() <= now
    }

    /// From when on [`Bucket::is_open`] holds.
    pub fn opens_at(&self) -> Time {
        Time(self.empty_at.0.saturating_add(1).saturating_sub(self.burst.0))
    }

    /// So many bytes go out, whether there is room or not.
    pub fn spend(&mut self, now: Time, bytes: u64) {
        self.empty_at = self.after(now, bytes);
    }

    /// Whether so many bytes fit into the burst beside what is under way; if so they go out.
    pub fn admit(&mut self, now: Time, bytes: u64) -> bool {
        let empty_at = self.after(now, bytes);
        let fits = empty_at.since(now) <= self.burst;
        if fits {
            self.empty_at = empty_at;
        }
        fits
    }

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
    fn what_does_not_fit_is_not_admitted_and_costs_nothing() {
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
