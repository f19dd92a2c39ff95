//! The line of each second: a row of a table of 80 columns, whose head comes again before it has left a screen.

use std::time::{Duration, Instant};

use wire::ids::Round;

use super::series::Section;
use crate::lag::Lags;

/// Shorter sections have no line: their rates would mean nothing.
const LINE_FROM_S: f64 = 0.5;
/// Rows of seconds between two heads. A terminal has 24 lines, and some are of other things.
const ROWS: usize = 16;
/// The indent of the line of nodes behind.
const INDENT: usize = 8;
/// With it the line has 80 columns.
const LAG_COLUMNS: usize = 80 - INDENT;

/// Prints each second of a load, and knows for how long nothing has been committed.
pub(crate) struct Ticker {
    nodes: usize,
    shards: usize,
    rows: usize,
    last_commit_at: Instant,
    has_stalled: bool,
}

impl Ticker {
    /// A ticker of a load on so many nodes and shards that begins now.
    pub(crate) fn new(nodes: usize, shards: usize) -> Ticker {
        Ticker { nodes, shards, rows: 0, last_commit_at: Instant::now(), has_stalled: false }
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
        let mut lines = Vec::new();
        if self.rows.is_multiple_of(ROWS) {
            lines.extend(self.head());
        }
        self.rows += 1;
        lines.push(self.row(section, height, up));
        let indent = " ".repeat(INDENT);
        lines.extend(lags.line(LAG_COLUMNS).map(|line| format!("{indent}{line}")));
        lines
    }

    fn note(&mut self, section: &Section) {
        // A load of which nothing is valid progresses by rejections.
        self.has_stalled = section.committed + section.rejected == 0;
        if !self.has_stalled {
            self.last_commit_at = Instant::now();
        }
    }

    fn head(&self) -> [String; 2] {
        let names =
            ["time", "round", "offered", "committed", "cross", "rejected", "nodes", "p50", "p99", "max"];
        let units = ["", "", "tx/s", "tx/s", "tx/s", "tx/s", "up", "ms", "ms", "ms"];
        [names, units].map(|cells| self.align(cells.map(String::from)))
    }

    fn row(&self, section: &Section, height: Round, up: usize) -> String {
        let rate = |count: u64| format!("{:.0}", count as f64 / section.seconds());
        let latencies = section.latency_us.map(|all| all.map(ms));
        // The quantiles of 500 and 990 per mille, and the longest.
        let [p50, p99, max] = latencies.unwrap_or_else(|| ["-", "-", "-"].map(String::from));
        self.align([
            format!("{} s", (section.until_us as f64 / 1e5).round() / 10.0),
            height.to_string(),
            rate(section.meant),
            rate(section.committed),
            rate(section.committed_cross),
            rate(section.rejected),
            format!("{up}/{}", self.nodes),
            p50,
            p99,
            max,
        ])
    }

    /// A row of cells; with one shard, without those of transactions across shards and their rejections.
    fn align(&self, cells: [String; 10]) -> String {
        const COLUMNS: [usize; 10] = [7, 8, 8, 10, 7, 9, 8, 8, 8, 7];
        let cells = cells.into_iter().zip(COLUMNS).enumerate();
        let cells = cells.filter(|(at, _)| self.shards > 1 || !(4..6).contains(at));
        cells.map(|(_, (cell, columns))| format!("{cell:>columns$}")).collect()
    }
}

/// Milliseconds for a column of 7: without the fraction where that would fill it.
fn ms(us: u64) -> String {
    let decimals = if us < 10_000_000 { 1 } else { 0 };
    format!("{:.decimals$}", us as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wire::ids::NodeId;

    use super::*;
    use crate::load::phase::{Borders, Phase};
    use crate::load::series::Series;
    use crate::load::tally::Tally;

    #[test]
    fn no_two_lines_have_the_same_time_wherever_phases_end_and_however_late_they_come() {
        for border_us in (10_000..2_000_000).step_by(10_000) {
            let borders = Borders { measured_from_us: border_us, offered_until_us: 4_000_000 - border_us };
            let (mut series, mut tally) = (Series::default(), Tally::of_shards(1));
            series.advance(5_200_000, &borders, &mut tally, 0, |_| 0);
            series.finish(5_600_000, &borders, &mut tally, 0, 0);
            let mut ticker = Ticker::new(4, 1);
            let sections = series.take();
            let lines =
                sections.iter().flat_map(|section| ticker.lines(section, Round(1), 4, &Lags::default()));
            let times: Vec<String> = lines.skip(2).map(|line| line[..7].into()).collect();
            assert!(times.len() >= 4 && times.windows(2).all(|two| two[0] != two[1]), "{times:?}");
        }
    }

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
        let head = [
            "   time   round offered committed  cross rejected   nodes     p50     p99    max",
            "                   tx/s      tx/s   tx/s     tx/s      up      ms      ms     ms",
        ];
        let row = "    2 s       7     100        50      5        2     3/4     1.0     2.0    3.0";
        assert_eq!(ticker.lines(&section, Round(7), 3, &Lags::default()), [head[0], head[1], row]);
        assert!(row.len() <= 80);
        let behind = BTreeMap::from([(NodeId(3), 1_204)]);
        let lags = Lags {
            behind,
            silent: BTreeMap::from([(NodeId(1), Some(Duration::from_secs(3)))]),
            ..Lags::default()
        };
        let lines = ticker.lines(&section, Round(7), 3, &lags);
        assert_eq!(lines, [row, "        node 3: 1,204 rounds behind, node 1: silent for 3 s"]);
        assert_eq!([ms(1_250), ms(9_999_949), ms(23_068_700)], ["1.2", "9999.9", "23069"]);
        let many: Vec<usize> =
            (0..ROWS).map(|_| ticker.lines(&section, Round(7), 3, &Lags::default()).len()).collect();
        assert_eq!((many.iter().sum::<usize>(), many[ROWS - 2]), (ROWS + 2, 3), "the head comes again");
        let one = Ticker::new(4, 1);
        assert_eq!(
            one.row(&section, Round(7), 4),
            "    2 s       7     100        50     4/4     1.0     2.0    3.0"
        );
        ticker.note(&Section { committed: 0, rejected: 0, latency_us: None, ..section });
        assert!(ticker.has_stalled(), "no commit since the last line");
    }
}
