//! The line of each second.

use std::time::{Duration, Instant};

use wire::ids::Round;

use super::series::Section;
use crate::lag::Lags;

/// Shorter sections have no line: their rates would mean nothing.
const LINE_FROM_S: f64 = 0.5;
/// The indent of the line of nodes behind, which begins below the round of the line above it.
const INDENT: usize = 8;
/// With it the line has 80 columns.
const LAG_COLUMNS: usize = 80 - INDENT;

/// Prints each second of a load, and knows for how long nothing has been committed.
pub(crate) struct Ticker {
    nodes: usize,
    shards: usize,
    last_commit_at: Instant,
    has_stalled: bool,
}

impl Ticker {
    /// A ticker of a load on so many nodes and shards that begins now.
    pub(crate) fn new(nodes: usize, shards: usize) -> Ticker {
        Ticker { nodes, shards, last_commit_at: Instant::now(), has_stalled: false }
    }

    /// How long nothing has been committed.
    pub(crate) fn stalled_for(&self) -> Duration {
        self.last_commit_at.elapsed()
    }

    /// Whether nothing was committed in the last section.
    pub(crate) fn has_stalled(&self) -> bool {
        self.has_stalled
    }

    /// Takes note of a section, and returns its lines if it is long enough for any: what happened in it, and which
    /// nodes are behind if some are.
    pub(crate) fn lines(&mut self, section: &Section, height: Round, up: usize, lags: &Lags) -> Vec<String> {
        self.note(section);
        if section.seconds() < LINE_FROM_S {
            return Vec::new();
        }
        let indent = " ".repeat(INDENT);
        let behind = lags.line(LAG_COLUMNS).map(|line| format!("{indent}{line}"));
        [self.text(section, height, up)].into_iter().chain(behind).collect()
    }

    fn note(&mut self, section: &Section) {
        // A load of which nothing is valid gets on by rejections.
        self.has_stalled = section.committed + section.rejected == 0;
        if !self.has_stalled {
            self.last_commit_at = Instant::now();
        }
    }

    fn text(&self, section: &Section, height: Round, up: usize) -> String {
        let rate = |count: u64| count as f64 / section.seconds();
        let crossing = if self.shards > 1 {
            let (cross, rejected) = (rate(section.committed_cross), rate(section.rejected));
            format!("  cross {cross:>6.0} tx/s  rejected {rejected:>5.0} tx/s")
        } else {
            String::new()
        };
        format!(
            "{:4} s  round {height:>7}  offered {:>7.0} tx/s  committed {:>7.0} tx/s{crossing}  nodes {up}/{}  {}",
            (section.until_us as f64 / 1e5).round() / 10.0,
            rate(section.meant),
            rate(section.committed),
            self.nodes,
            latency_text(section.latency_us),
        )
    }
}

/// The latencies of a section: the quantiles of 500 and 990 per mille, and the longest.
fn latency_text(latency_us: Option<[u64; 3]>) -> String {
    let Some([p50, p99, max]) = latency_us.map(|all| all.map(|us| us as f64 / 1e3)) else {
        return "-".into();
    };
    format!("p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wire::ids::NodeId;

    use super::*;
    use crate::load::phase::Phase;

    #[test]
    fn lines_show_rates_and_stalls_are_noticed() {
        let section = Section {
            from_us: 1_000_000,
            until_us: 2_000_000,
            phase: Phase::Measured,
            meant: 100,
            sent: 90,
            committed: 50,
            committed_cross: 5,
            rejected: 2,
            open: 40,
            latency_us: Some([1_000, 2_000, 3_000]),
        };
        let mut ticker = Ticker::new(4, 2);
        ticker.note(&section);
        assert!(!ticker.has_stalled());
        let expected = "   2 s  round       7  offered     100 tx/s  committed      50 tx/s  cross      5 tx/s  \
                        rejected     2 tx/s  nodes 3/4  p50 1.0 ms, p99 2.0 ms, max 3.0 ms";
        assert_eq!(ticker.lines(&section, Round(7), 3, &Lags::default()), [expected]);
        let behind = BTreeMap::from([(NodeId(3), 1_204)]);
        let lags = Lags { behind, silent: vec![NodeId(1)], ..Lags::default() };
        let lines = ticker.lines(&section, Round(7), 3, &lags);
        assert_eq!(lines, [expected, "        behind 3: 1,204 rounds, silent 1"]);
        ticker.note(&Section { committed: 0, rejected: 0, latency_us: None, ..section });
        assert!(ticker.has_stalled(), "no commit since the last line");
    }
}
