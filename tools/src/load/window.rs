//! How many transactions a closed loop keeps open.
//!
//! As many as take three quarters of a second each. While they take less the window grows, since more may be done at a time; when they
//! take longer it shrinks, since a testbed at its limit does no more for it: queues grow, and those who wait for another
//! shard for seconds ask again. So a load whose transactions cost ten times as much gets a window of a tenth. Where
//! transactions take long however few there are, as over long links, it may be twice that time.

use std::time::{Duration, Instant};

/// Bytes open over all nodes at the beginning, and at the least.
const BYTES_MIN: usize = 1 << 20;
/// The most: as much as the raw pipe of four nodes keeps under way. Twice or three times as much only lengthens the
/// queues.
const BYTES_MAX: usize = 32 << 20;
/// How long a transaction is to take at the limit.
const LATENCY: Duration = Duration::from_millis(750);
/// Shortest time between two changes.
const STEP: Duration = Duration::from_millis(100);
/// Most that one change grows or shrinks the window by.
const FACTOR_MAX: f64 = 2.0;

/// The window over all nodes.
pub(crate) struct Window {
    open_min: f64,
    open_max: f64,
    open: f64,
    least: Option<Duration>,
    next: Option<Instant>,
}

impl Window {
    /// A window for transactions of this size.
    pub(crate) fn new(tx_bytes: usize) -> Window {
        let count = |bytes: usize| (bytes / tx_bytes).max(1) as f64;
        Window {
            open_min: count(BYTES_MIN),
            open_max: count(BYTES_MAX),
            open: count(BYTES_MIN),
            least: None,
            next: None,
        }
    }

    /// Transactions took so long of late. What they take now shows the present window only when that time has passed.
    pub(crate) fn took(&mut self, now: Instant, latency: Duration) {
        let latency = latency.max(Duration::from_millis(1));
        let least = self.least.map_or(latency, |least| least.min(latency));
        self.least = Some(least);
        if self.next.is_some_and(|next| now < next) {
            return;
        }
        self.next = Some(now + latency.max(STEP));
        let wanted = LATENCY.max(least * 2).as_secs_f64() / latency.as_secs_f64();
        self.open *= wanted.clamp(1.0 / FACTOR_MAX, FACTOR_MAX);
        self.open = self.open.clamp(self.open_min, self.open_max);
    }

    /// The transactions to keep open at each of so many nodes.
    pub(crate) fn open_at_each(&self, nodes: usize) -> usize {
        (self.open as usize / nodes).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TX_BYTES: usize = 250;

    /// The window after a minute with a testbed that takes `delay_ms`, or longer if it can't finish so many a second.
    fn settled(delay_ms: u64, tx_per_s: u64) -> usize {
        let start = Instant::now();
        let mut window = Window::new(TX_BYTES);
        for ms in (0..60_000).step_by(50) {
            let queue_ms = (window.open * 1_000.0 / tx_per_s as f64) as u64;
            window.took(start + Duration::from_millis(ms), Duration::from_millis(delay_ms.max(queue_ms)));
        }
        window.open_at_each(1)
    }

    #[test]
    fn the_window_is_what_the_testbed_does_in_that_time_within_its_bounds() {
        let (least, most) = (BYTES_MIN / TX_BYTES, BYTES_MAX / TX_BYTES);
        assert_eq!(settled(50, 1_000_000), most, "it grows as long as that costs no time");
        let limit = settled(50, 40_000);
        assert!((29_000..=31_000).contains(&limit), "{limit}");
        let slow = settled(50, 1_000);
        assert!(
            (least..=2 * least).contains(&slow),
            "{slow}: how long few take without a queue is not known"
        );
    }

    #[test]
    fn long_links_do_not_shrink_it() {
        assert_eq!(settled(5_000, 1_000_000), BYTES_MAX / TX_BYTES);
        let limit = settled(5_000, 4_000);
        assert!((39_000..=41_000).contains(&limit), "{limit}");
    }

    #[test]
    fn every_node_has_one_open_at_least() {
        assert_eq!(Window::new(60_000).open_at_each(1_000), 1);
        assert_eq!(Window::new(TX_BYTES).open_at_each(4), BYTES_MIN / TX_BYTES / 4);
    }
}
