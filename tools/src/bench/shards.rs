//! Shards: what more of them carry, and what it costs to cross them.
//!
//! For each number of shards and each share of transactions that cross them one run at saturation and one at a steady
//! rate. All transactions are valid. The cost of one that crosses comes from the run with most of them: what is left
//! of its cost when each of the others is reckoned at what it costs in a run with none.

use super::report::{Figure, Report};
use super::settings::Settings;
use crate::run::{RunError, Summary};

/// Numbers of shards.
const SHARDS: [u16; 4] = [1, 2, 3, 4];
/// Shares of transactions that cross them, percent.
const CROSS_PERCENT: [u64; 4] = [0, 10, 50, 90];

/// The cost of a transaction on average, over all nodes.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Cost {
    cpu_us: f64,
    bytes: f64,
    /// Of all transactions, those that crossed shards.
    cross_share: f64,
}

/// Fills the table.
pub(super) fn measure(settings: &Settings, report: &mut Report) -> Result<(), RunError> {
    for shards in SHARDS {
        let mut within: Option<Cost> = None;
        for percent in CROSS_PERCENT.into_iter().filter(|percent| shards > 1 || *percent == 0) {
            let name = format!("K = {shards}, {percent} % cross");
            let (shards, cross) = (shards.to_string(), (percent as f64 / 100.0).to_string());
            let mix = ["--shards", &shards, "--cross", &cross, "--invalid", "0"];
            let saturated = settings.run(report, &name, &[&mix[..], &["--rate", "max"]].concat())?;
            report.add(Figure::new(&format!("{name}, committed"), saturated.tps(), "tx/s"));
            let rate = settings.rate.to_string();
            let steady = settings.run(report, &name, &[&mix[..], &["--rate", &rate]].concat())?;
            add_latencies(report, &name, &steady);
            let cost = Cost::of(&saturated);
            report.add(Figure::new(&format!("{name}, CPU of all nodes"), cost.cpu_us, "µs/tx"));
            report.add(Figure::new(&format!("{name}, bytes sent by all nodes"), cost.bytes, "bytes/tx"));
            let reference = *within.get_or_insert(cost);
            if CROSS_PERCENT.last() == Some(&percent)
                && let Some(crossing) = cost.of_crossing(&reference)
            {
                let name = format!("K = {shards}, one that crosses");
                report.add(Figure::new(&format!("{name}, CPU of all nodes"), crossing.cpu_us, "µs/tx"));
                report.add(Figure::new(
                    &format!("{name}, bytes sent by all nodes"),
                    crossing.bytes,
                    "bytes/tx",
                ));
            }
        }
    }
    Ok(())
}

fn add_latencies(report: &mut Report, name: &str, steady: &Summary) {
    for (kind, latency) in [("intra", &steady.tally.latency_intra), ("cross", &steady.tally.latency_cross)] {
        for (quantile, per_mille) in [("p50", 500), ("p99", 990)] {
            if let Some(us) = latency.quantile_us(per_mille) {
                let name = format!("{name}, {kind} {quantile} latency");
                report.add(Figure::new(&name, us as f64 / 1e3, "ms"));
            }
        }
    }
}

impl Cost {
    fn of(summary: &Summary) -> Cost {
        let programs = summary.cpu_us_per_tx();
        let committed = (summary.tally.committed as f64).max(1.0);
        Cost {
            // The load's own share is not the testbed's.
            cpu_us: programs.iter().filter(|(name, _)| *name != "tools").map(|(_, us)| us).sum(),
            bytes: summary.bytes_per_tx().unwrap_or_default(),
            cross_share: summary.tally.committed_cross as f64 / committed,
        }
    }

    /// The cost of each crossing one if each other one cost `within`; `None` if none crossed.
    fn of_crossing(&self, within: &Cost) -> Option<Cost> {
        let rest = |all: f64, one: f64| (all - (1.0 - self.cross_share) * one) / self.cross_share;
        (self.cross_share > 0.0).then(|| Cost {
            cpu_us: rest(self.cpu_us, within.cpu_us),
            bytes: rest(self.bytes, within.bytes),
            cross_share: 1.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_crossing_is_what_the_others_leave() {
        let within = Cost { cpu_us: 100.0, bytes: 1_000.0, cross_share: 0.0 };
        let mixed = Cost { cpu_us: 250.0, bytes: 4_000.0, cross_share: 0.75 };
        let crossing = mixed.of_crossing(&within).unwrap();
        assert_eq!((crossing.cpu_us, crossing.bytes), (300.0, 5_000.0));
        assert_eq!(within.of_crossing(&within), None);
    }
}
