//! How many transactions a closed loop keeps open.
//!
//! The more is open the more a testbed carries, until it is at its limit; beyond that only its queues grow, and with
//! several shards transactions that wait for seconds are requested again. So the window is searched: it doubles, each
//! size is measured, and the smallest one that carries 98 % of the most stays until the end of the load. When doubling
//! twice has gained nothing, the search ends. Last comes the size between the one found and the one below it.
//!
//! A size is measured by Little's law: throughput is what is open divided by its mean latency. Commits counted over a
//! fraction of a second would depend on where the blocks fall. What was open before the last change must have come back
//! first.

use std::time::{Duration, Instant};

/// Bytes open over all nodes at the beginning.
const BYTES_MIN: usize = 1 << 20;
/// How often it may double: up to 32 MiB, as much as the raw pipe of four nodes keeps under way.
const DOUBLINGS_MAX: u32 = 5;
/// The share of the most that is enough.
const ENOUGH: f64 = 0.98;
/// The gain that a size must have over the best of the smaller ones.
const GAIN: f64 = 1.02;
/// A size settles, and then is measured, until 3/2 of the window has come back: the first to come back were sent before
/// the queues had grown.
const TURNOVER: (u64, u64) = (3, 2);
/// Shortest time for each.
const SETTLE: Duration = Duration::from_millis(100);
const MEASURE: Duration = Duration::from_millis(150);

/// All that has come back since the load began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Returned {
    /// Transactions with a fate.
    pub(crate) count: u64,
    /// Of these, the ones that were committed or rejected.
    pub(crate) decided: u64,
    /// How long all of them together were open, microseconds.
    pub(crate) open_us: u64,
}

/// The window over all nodes.
pub(crate) struct Window {
    open_min: usize,
    open_max: usize,
    open: usize,
    /// The most that were really open since the last change: fewer where a node takes no more bytes.
    most_open: usize,
    measured: Vec<Size>,
    step: Step,
    /// Since when the present size holds.
    since: Instant,
    began: Instant,
}

/// A size and what it carried.
#[derive(Clone, Copy, Debug)]
struct Size {
    open: usize,
    per_s: f64,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Transactions that were open at the last change come back.
    Settling { at_change: Returned },
    /// Transactions that come back count.
    Measuring { from: Returned, began: Instant },
    /// The search is over.
    Found,
}

/// The size that a search has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    /// Transactions open over all nodes.
    pub(crate) open: usize,
    /// After so long.
    pub(crate) after: Duration,
}

impl Window {
    /// A window for transactions of this size, of a load that begins now with so many chains.
    pub(crate) fn new(tx_bytes: usize, chains: usize, now: Instant) -> Window {
        let open_min = (BYTES_MIN / tx_bytes).clamp(1, chains.max(1));
        // Some chains rest at any time, and some are in doubt; so fewer than all may be open.
        let doublings = (0..=DOUBLINGS_MAX).rev().find(|times| open_min << times <= chains * 3 / 4);
        Window {
            open_min,
            open_max: open_min << doublings.unwrap_or(0),
            open: open_min,
            most_open: 0,
            measured: Vec::new(),
            step: Step::Settling { at_change: Returned::default() },
            since: now,
            began: now,
        }
    }

    /// The transactions to keep open at each of so many nodes.
    pub(crate) fn open_at_each(&self, nodes: usize) -> usize {
        (self.open / nodes).max(1)
    }

    /// The result of the search, once it is over.
    pub(crate) fn found(&self) -> Option<Found> {
        let after = self.since.duration_since(self.began);
        matches!(self.step, Step::Found).then_some(Found { open: self.open, after })
    }

    /// So much has come back by now, and so many are open.
    pub(crate) fn observe(&mut self, now: Instant, returned: Returned, open: usize) {
        // Just after a block fewer are open than most of the time.
        self.most_open = self.most_open.max(open);
        let enough = self.open as u64 * TURNOVER.0 / TURNOVER.1;
        match self.step {
            Step::Settling { at_change } => {
                if returned.count - at_change.count >= enough && now.duration_since(self.since) >= SETTLE {
                    self.step = Step::Measuring { from: returned, began: now };
                }
            }
            Step::Measuring { from, began } => {
                let count = returned.count - from.count;
                if count >= enough && now.duration_since(began) >= MEASURE {
                    let mean_us = (returned.open_us - from.open_us) as f64 / count as f64;
                    let decided = (returned.decided - from.decided) as f64 / count as f64;
                    let per_s = decided * self.open.min(self.most_open) as f64 * 1e6 / mean_us.max(1.0);
                    log::debug!("{} open carry {per_s:.0} transactions a second", self.open);
                    self.measured.push(Size { open: self.open, per_s });
                    self.change(now, returned);
                }
            }
            Step::Found => {}
        }
    }

    /// Goes on to the next size.
    fn change(&mut self, now: Instant, returned: Returned) {
        let (next, step) = match self.next() {
            Some(next) => (next, Step::Settling { at_change: returned }),
            None => (self.smallest_enough(), Step::Found),
        };
        (self.open, self.step, self.since, self.most_open) = (next, step, now, 0);
    }

    /// The next size to measure: twice the last one while that gains; then the one below what was found.
    fn next(&self) -> Option<usize> {
        let sizes = &self.measured;
        let is_climbing = sizes.is_sorted_by_key(|size| size.open);
        if is_climbing && self.open < self.open_max && self.gains() {
            return Some(self.open * 2);
        }
        // The last size measured was between two others: there is nothing more to know.
        if !is_climbing {
            return None;
        }
        let found = self.smallest_enough();
        let below = ((found as f64) / 2f64.sqrt()) as usize;
        // At the end of a climb that stopped at the first size nothing lies below.
        (below > self.open_min).then_some(below)
    }

    /// Whether one of the last two sizes carried more than all before them.
    fn gains(&self) -> bool {
        let Some(earlier) = self.measured.len().checked_sub(2).filter(|earlier| *earlier > 0) else {
            return true;
        };
        let most = |sizes: &[Size]| sizes.iter().map(|size| size.per_s).fold(0.0, f64::max);
        most(&self.measured[earlier..]) > GAIN * most(&self.measured[..earlier])
    }

    /// The smallest size that carries enough.
    fn smallest_enough(&self) -> usize {
        let most = self.measured.iter().map(|size| size.per_s).fold(0.0, f64::max);
        let enough = self.measured.iter().filter(|size| size.per_s >= ENOUGH * most).map(|size| size.open);
        enough.min().unwrap_or(self.open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TX_BYTES: usize = 250;
    const CHAINS: usize = 1_000_000;
    const LEAST: usize = BYTES_MIN / TX_BYTES;
    const MOST: usize = LEAST << DOUBLINGS_MAX;

    /// The result of a search on a testbed where a transaction is open for `open_us` if so many are.
    fn search(open_us: impl Fn(usize) -> f64) -> Found {
        let start = Instant::now();
        let mut window = Window::new(TX_BYTES, CHAINS, start);
        let (mut returned, mut rest) = (Returned::default(), 0.0);
        for ms in 0..60_000 {
            let open = window.open_at_each(1);
            rest += 1e3 * open as f64 / open_us(open);
            let count = rest as u64;
            rest -= count as f64;
            returned.count += count;
            returned.decided += count;
            returned.open_us += (count as f64 * open_us(open)) as u64;
            // Every other look comes just after a block, when the window is not full again yet.
            let really_open = if ms % 2 == 0 { open } else { open / 3 };
            window.observe(start + Duration::from_millis(ms), returned, really_open);
            if let Some(found) = window.found() {
                return found;
            }
        }
        panic!("no end after a minute")
    }

    #[test]
    fn it_is_the_smallest_that_carries_nearly_the_most() {
        // 40,000 a second at most, after 400 ms each: 16,000 open. More only wait.
        let found = search(|open| (open as f64 * 25.0).max(400_000.0));
        assert!((15_700..=24_000).contains(&found.open), "{found:?}");
        // A round costs 5 ms and 4 us a transaction: 98 % of 250,000 a second take 61,250; of the most that the bounds
        // allow, somewhat less.
        let found = search(|open| 5_000.0 + 4.0 * open as f64);
        assert!((30_000..=61_250).contains(&found.open), "{found:?}");
        assert!(found.after < Duration::from_secs(5), "{found:?}");
    }

    #[test]
    fn its_bounds_hold_where_more_always_helps_and_where_it_never_does() {
        assert_eq!(search(|_| 500_000.0).open, MOST, "long links: each doubling carries twice as much");
        let found = search(|open| open as f64 * 100.0);
        assert_eq!(found.open, LEAST, "10,000 a second, however many are open");
        assert!(found.after < Duration::from_secs(10), "three sizes were enough to know: {found:?}");
    }

    #[test]
    fn queues_that_make_it_slower_are_left() {
        // Beyond 20,000 what waits is requested again: the more is open the less is carried.
        let found = search(|open| {
            let most = if open > 20_000 { 20_000.0 * 20_000.0 / open as f64 } else { 20_000.0 };
            (open as f64 * 1e6 / most).max(300_000.0)
        });
        assert!((5_900..=16_800).contains(&found.open), "{found:?}");
    }

    #[test]
    fn what_is_refused_is_not_carried() {
        let start = Instant::now();
        let mut window = Window::new(TX_BYTES, CHAINS, start);
        let mut returned = Returned::default();
        // Everything beyond the first size is refused at once.
        for ms in 0..60_000 {
            let open = window.open_at_each(1) as u64;
            returned.count += open;
            returned.decided += open.min(LEAST as u64);
            returned.open_us += open * 50_000;
            window.observe(start + Duration::from_millis(ms), returned, open as usize);
        }
        assert_eq!(window.found().map(|found| found.open), Some(LEAST));
    }

    #[test]
    fn every_node_has_one_open_at_least() {
        let now = Instant::now();
        assert_eq!(Window::new(60_000, CHAINS, now).open_at_each(1_000), 1);
        assert_eq!(Window::new(TX_BYTES, CHAINS, now).open_at_each(4), LEAST / 4);
    }

    #[test]
    fn no_more_is_open_than_three_quarters_of_the_coins() {
        let now = Instant::now();
        assert_eq!(Window::new(TX_BYTES, 100_000, now).open_max, LEAST << 4);
        assert_eq!(Window::new(TX_BYTES, 10, now).open_max, 10);
    }
}
