//! Pauses between dials: they double, so an absent peer costs little, and have jitter, so the nodes of a restarted
//! cluster do not dial in step.

use std::time::Duration;

use wire::limits::{DIAL_BACKOFF_MIN, DIAL_JITTER_PERCENT};

/// The pause before the next dial. The caller supplies the randomness and sleeps.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    /// Starts with the shortest pause, and never waits longer than `most`.
    pub(crate) fn new(most: Duration) -> Backoff {
        Backoff { next: DIAL_BACKOFF_MIN, most }
    }

    /// The pause before the next dial; doubles the one after it. `random` is any 64 random bits.
    pub(crate) fn pause(&mut self, random: u64) -> Duration {
        let base = self.next;
        self.next = (base * 2).min(self.most);
        jittered(base, random)
    }

    /// Returns to the shortest pause.
    pub(crate) fn reset(&mut self) {
        self.next = DIAL_BACKOFF_MIN;
    }
}

/// `base`, up to [`DIAL_JITTER_PERCENT`] shorter or longer, uniformly distributed.
fn jittered(base: Duration, random: u64) -> Duration {
    let base_us = u64::try_from(base.as_micros()).expect("pauses are far below 2^64 µs");
    let jitter_us = base_us * DIAL_JITTER_PERCENT / 100;
    Duration::from_micros(base_us - jitter_us + random % (2 * jitter_us + 1))
}

#[cfg(test)]
mod tests {
    use wire::limits::DIAL_BACKOFF_MAX;

    use super::*;

    #[test]
    fn pauses_double_from_min_to_max_and_start_over_after_a_reset() {
        let mut backoff = Backoff::new(DIAL_BACKOFF_MAX);
        let middle = |backoff: &mut Backoff| {
            let before = backoff.next;
            let pause = backoff.pause(before.as_micros() as u64 * DIAL_JITTER_PERCENT / 100);
            assert_eq!(pause, before, "the middle of the jitter is the base");
            pause.as_millis()
        };
        let pauses: Vec<u128> = (0..9).map(|_| middle(&mut backoff)).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        backoff.reset();
        assert_eq!(middle(&mut backoff), 100);
    }

    #[test]
    fn jitter_covers_its_range_and_no_more() {
        let mut seen = Vec::new();
        for random in (0..1_000u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15)).chain([0, u64::MAX]) {
            seen.push(jittered(DIAL_BACKOFF_MAX, random).as_millis());
        }
        assert!(seen.iter().all(|pause| (9_000..=11_000).contains(pause)), "{seen:?}");
        assert!(seen.iter().min() < Some(&9_100) && seen.iter().max() > Some(&10_900), "{seen:?}");
    }
}
