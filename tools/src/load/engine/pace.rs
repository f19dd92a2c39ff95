//! How fast a shard makes blocks, from the heights that its nodes report.

use std::time::{Duration, Instant};

use wire::ids::Round;
use wire::limits::EXPIRY_ROUNDS_AHEAD_MAX;

/// An expiry is what takes about this long at the present pace ...
const EXPIRY_S: u64 = 20;
/// ... but at least so many rounds.
const EXPIRY_ROUNDS_MIN: u64 = 1_000;
/// ... and well within what the ledger accepts, since its height runs on while a transaction is under way.
const EXPIRY_ROUNDS_MAX: u64 = EXPIRY_ROUNDS_AHEAD_MAX / 2;

/// Rounds a second of one shard.
#[derive(Clone)]
pub(super) struct Pace {
    at: Instant,
    height: Round,
    rounds_per_s: u64,
}

impl Pace {
    /// Nothing is known yet.
    pub(super) fn new(now: Instant, height: Round) -> Pace {
        Pace { at: now, height, rounds_per_s: 0 }
    }

    /// Takes note of the height, at most once a second. One that has not changed may be one that was not reported.
    pub(super) fn observe(&mut self, height: Round, now: Instant) {
        let elapsed = now.duration_since(self.at);
        if elapsed >= Duration::from_secs(1) && height > self.height {
            let rounds = height.0 - self.height.0;
            self.rounds_per_s = (rounds as f64 / elapsed.as_secs_f64()) as u64;
            (self.at, self.height) = (now, height);
        }
    }

    /// The expiry of a transaction made now, at this height.
    pub(super) fn expiry(&self, height: Round) -> Round {
        let rounds = (self.rounds_per_s * EXPIRY_S).clamp(EXPIRY_ROUNDS_MIN, EXPIRY_ROUNDS_MAX);
        Round(height.0 + rounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries_follow_the_pace_within_bounds() {
        let began = Instant::now();
        let mut pace = Pace::new(began, Round(0));
        assert_eq!(pace.expiry(Round(70)), Round(70 + 1_000));
        pace.observe(Round(100), began + Duration::from_millis(999));
        assert_eq!(pace.rounds_per_s, 0, "a second is not over");
        pace.observe(Round(100), began + Duration::from_secs(1));
        assert_eq!(pace.expiry(Round(130)), Round(130 + 2_000));
        pace.observe(Round(4_100), began + Duration::from_secs(2));
        assert_eq!(pace.expiry(Round(4_100)), Round(4_100 + 5_000));
        pace.observe(Round(4_100), began + Duration::from_secs(3));
        assert_eq!(pace.expiry(Round(4_100)), Round(4_100 + 5_000), "nothing was heard");
        pace.observe(Round(4_300), began + Duration::from_secs(4));
        assert_eq!(pace.expiry(Round(4_300)), Round(4_300 + 2_000), "200 in two seconds");
    }
}
