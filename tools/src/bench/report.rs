//! The measurements, as a table and as JSON.

use std::time::Duration;

use crate::grid::{beside, wrapped};
use crate::json::Json;
use crate::procfs::{self, Machine};
use crate::run::Summary;

/// One number with its name and unit.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
}

impl Figure {
    pub(crate) fn new(name: &str, value: f64, unit: &'static str) -> Figure {
        Figure { name: name.into(), value, unit }
    }
}

/// All figures of one benchmark.
pub(crate) struct Report {
    nodes: u16,
    duration: Duration,
    machine: Machine,
    /// Processes that wanted to run before the first measurement, averaged over a minute: figures of a busy machine
    /// are not comparable.
    load_average: f64,
    figures: Vec<Figure>,
    /// Runs that did not end well.
    complaints: Vec<String>,
    verdicts: Vec<Verdict>,
}

/// Whether something is as it must be.
#[derive(Clone, PartialEq, Debug)]
struct Verdict {
    name: String,
    is_passed: bool,
    found: String,
}

impl Report {
    /// A report without figures.
    pub(crate) fn new(nodes: u16, duration: Duration) -> Report {
        Report {
            nodes,
            duration,
            machine: procfs::machine(),
            load_average: procfs::load_average(),
            figures: Vec::new(),
            complaints: Vec::new(),
            verdicts: Vec::new(),
        }
    }

    /// Adds a figure.
    pub(crate) fn add(&mut self, figure: Figure) {
        eprintln!("  {}: {:.1} {}", figure.name, figure.value, figure.unit);
        self.figures.push(figure);
    }

    /// Adds what a run at saturation carried.
    pub(crate) fn add_throughput(&mut self, name: &str, summary: &Summary) {
        self.add(Figure::new(&format!("{name}, committed"), summary.tps(), "tx/s"));
        self.add(Figure::new(
            &format!("{name}, payload"),
            summary.tps() * summary.plan.tx_bytes as f64 / 1e6,
            "MB/s",
        ));
        self.add_latency(name, summary);
    }

    /// Adds the latencies of a run, and views a round.
    pub(crate) fn add_latency(&mut self, name: &str, summary: &Summary) {
        let latency = summary.tally.latency();
        for (quantile, per_mille) in [("p50", 500), ("p99", 990)] {
            let us = latency.quantile_us(per_mille).unwrap_or_default();
            self.add(Figure::new(&format!("{name}, {quantile} latency"), us as f64 / 1e3, "ms"));
        }
        self.add(Figure::new(&format!("{name}, views a round"), summary.views_per_round(), ""));
        self.add(Figure::new(&format!("{name}, rounds"), summary.rounds_per_s(), "1/s"));
    }

    /// Adds processor time a transaction by program.
    pub(crate) fn add_cpu(&mut self, name: &str, summary: &Summary) {
        for (program, us) in summary.cpu_us_per_tx() {
            self.add(Figure::new(&format!("{name}, CPU of {program}, all nodes"), us, "µs/tx"));
        }
    }

    /// Notes a run that did not end well.
    pub(crate) fn complain(&mut self, text: String) {
        eprintln!("  {text}");
        self.complaints.push(text);
    }

    /// Adds a verdict; `found` is the evidence.
    pub(crate) fn judge(&mut self, name: &str, is_passed: bool, found: String) {
        self.verdicts.push(Verdict { name: name.into(), is_passed, found });
    }

    /// Whether all runs ended well and everything is as it must be.
    pub(crate) fn is_clean(&self) -> bool {
        self.complaints.is_empty() && self.verdicts.iter().all(|verdict| verdict.is_passed)
    }

    /// A table, for a terminal of so many columns.
    pub(crate) fn to_text(&self, width: usize) -> String {
        let machine = &self.machine;
        let head = format!(
            "N = {}, {} s each, durability off unless named, on {} cores of {} with {:.0} GiB; load average before it {:.1}",
            self.nodes,
            self.duration.as_secs_f64(),
            machine.cores,
            machine.cpu,
            machine.mem_gb,
            self.load_average
        );
        let mut text = format!("\n{}\n", wrapped(&head, 0, width));
        for figure in &self.figures {
            text += &format!("  {:<44} {:>12.2} {}\n", figure.name, figure.value, figure.unit);
        }
        if !self.verdicts.is_empty() {
            text.push('\n');
        }
        for Verdict { name, is_passed, found } in &self.verdicts {
            let name = format!("  {} {name:<39} ", if *is_passed { "pass" } else { "FAIL" });
            text += &beside(&name, found, name.chars().count(), width);
        }
        text
    }

    /// The same for programs.
    pub(crate) fn to_json(&self) -> Json {
        let figure = |figure: &Figure| {
            Json::object([
                ("name", Json::text(&figure.name)),
                ("value", Json::from(figure.value)),
                ("unit", Json::text(figure.unit)),
            ])
        };
        let verdict = |verdict: &Verdict| {
            Json::object([
                ("name", Json::text(&verdict.name)),
                ("passed", Json::from(verdict.is_passed)),
                ("found", Json::text(&verdict.found)),
            ])
        };
        Json::object([
            ("nodes", Json::from(u64::from(self.nodes))),
            ("duration_s", Json::from(self.duration.as_secs_f64())),
            ("durability", Json::text("off")),
            ("figures", Json::List(self.figures.iter().map(figure).collect())),
            ("verdicts", Json::List(self.verdicts.iter().map(verdict).collect())),
            ("complaints", Json::List(self.complaints.iter().map(Json::text).collect())),
            ("version", Json::text(env!("CARGO_PKG_VERSION"))),
            ("commit", wire::commit!().map_or(Json::Null, Json::text)),
            ("machine", self.machine.to_json()),
            ("load_average", Json::from(self.load_average)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::fits;
    use crate::testing::{documented_keys, json_keys};

    #[test]
    fn table_and_json_hold_the_same() {
        let mut report = Report::new(4, Duration::from_secs(10));
        report.add(Figure::new("250 B, committed", 123_456.7, "tx/s"));
        let text = report.to_text(80);
        assert!(text.contains("250 B, committed") && text.contains("123456.70 tx/s"), "{text}");
        assert!(fits(80, &text), "{text}");
        let json = report.to_json().to_string();
        assert!(json.contains("\"value\": 123456.7") && json.contains("\"nodes\": 4"), "{json}");
        assert!(report.is_clean());
        report.complain("no".into());
        assert!(!report.is_clean());
    }

    #[test]
    fn each_key_is_defined() {
        let mut report = Report::new(4, Duration::from_secs(10));
        report.add(Figure::new("250 B, committed", 1.0, "tx/s"));
        report.judge("growth", true, "1 of 40".into());
        assert_eq!(json_keys(&report.to_json(), &[]), documented_keys("`bench.json`"));
    }

    #[test]
    fn a_failed_verdict_is_shown_and_fails_the_whole() {
        let mut report = Report::new(4, Duration::from_secs(10));
        report.judge("growth", true, "1 of 40".into());
        assert!(report.is_clean() && report.to_text(80).contains("pass growth"));
        report.judge("counted", false, "2 of 3".into());
        report.judge(
            "nothing lost",
            true,
            "agreement true, value conserved true, lost 0, in flight 0".into(),
        );
        assert!(fits(80, &report.to_text(80)));
        assert!(!report.is_clean() && report.to_text(80).contains("FAIL counted"));
        assert!(report.to_json().to_string().contains("\"passed\": false"));
    }
}
