//! The line of each second.

use std::time::{Duration, Instant};

use super::Shared;
use crate::summary::quantiles_text;

const SECOND: Duration = Duration::from_secs(1);

/// What happened in each second, and since when nothing has.
pub(crate) struct Ticker {
    began: Instant,
    last: Instant,
    /// Seconds since the beginning that are told.
    told: u32,
    intended: u64,
    committed: u64,
    committed_cross: u64,
    rejected: u64,
    last_commit_at: Instant,
}

impl Ticker {
    /// A ticker whose first second begins at `began`.
    pub(crate) fn new(began: Instant) -> Ticker {
        Ticker {
            began,
            last: began,
            told: 0,
            intended: 0,
            committed: 0,
            committed_cross: 0,
            rejected: 0,
            last_commit_at: began,
        }
    }

    /// Whether the next line is due.
    pub(crate) fn is_due(&self) -> bool {
        self.began.elapsed() >= SECOND * (self.told + 1)
    }

    /// Whether at least half a second is untold.
    pub(crate) fn is_half_due(&self) -> bool {
        self.last.elapsed() >= SECOND / 2
    }

    /// How long nothing has been committed.
    pub(crate) fn stalled_for(&self) -> Duration {
        self.last_commit_at.elapsed()
    }

    /// Whether nothing was committed in the last second that was told.
    pub(crate) fn has_stalled(&self) -> bool {
        self.last_commit_at < self.last
    }

    /// The line; what it tells counts from the last one.
    pub(crate) fn line(&mut self, shared: &Shared, up: usize, nodes: usize) -> String {
        let now = Instant::now();
        let seconds = now.duration_since(self.last).as_secs_f64().max(1e-3);
        let rate = |count: u64, last: u64| count.saturating_sub(last) as f64 / seconds;
        let offered = rate(shared.intended, self.intended);
        let committed = rate(shared.tally.committed, self.committed);
        let cross = rate(shared.tally.committed_cross, self.committed_cross);
        let rejected = rate(shared.tally.rejected_count(), self.rejected);
        // A load of which nothing is valid gets on by rejections.
        if shared.tally.committed + shared.tally.rejected_count() > self.committed + self.rejected {
            self.last_commit_at = now;
        }
        (self.committed_cross, self.rejected) = (shared.tally.committed_cross, shared.tally.rejected_count());
        (self.last, self.intended, self.committed) = (now, shared.intended, shared.tally.committed);
        let elapsed = now.duration_since(self.began);
        self.told = elapsed.as_secs() as u32;
        let crossing = if shared.tally.heights.len() > 1 {
            format!("  cross {cross:>6.0} tx/s  rejected {rejected:>5.0} tx/s")
        } else {
            String::new()
        };
        format!(
            "{:4.0} s  round {:>7}  offered {offered:>7.0} tx/s  committed {committed:>7.0} tx/s{crossing}  nodes \
             {up}/{nodes}  {}",
            elapsed.as_secs_f64(),
            shared.tally.height_of_all(),
            quantiles_text(&shared.tally.interval, &[("p50", 500), ("p99", 990)]),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_rates_and_stalls_are_noticed() {
        let mut shared = Shared { intended: 100, ..Shared::default() };
        shared.tally.committed = 50;
        let began =
            Instant::now().checked_sub(Duration::from_secs(2)).expect("the machine has been up for longer");
        let mut ticker = Ticker::new(began);
        assert!(ticker.is_due());
        let line = ticker.line(&shared, 3, 4);
        assert!(line.contains("nodes 3/4") && line.contains("2 s  round"), "{line}");
        assert!(!ticker.is_due() && !ticker.has_stalled());
        ticker.line(&shared, 3, 4);
        assert!(ticker.has_stalled(), "no commit since the last line");
        shared.tally.committed += 1;
        ticker.line(&shared, 3, 4);
        assert!(!ticker.has_stalled());
    }
}
