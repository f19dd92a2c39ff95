//! What the runs of a sweep measured: `runs.csv`, a line a run, and `sweep.csv`, a line a combination.

use std::fmt::{self, Write as _};
use std::path::Path;

use wire::text::ParseError;

use super::plan::{Combination, Plan, Planned};
use crate::lag::grouped;
use crate::report::read_csv;
use crate::run::Summary;

/// The columns of `runs.csv`: what was run, and what came of it.
const RUNS: [&str; 14] = [
    "nodes",
    "shards",
    "tx_size",
    "rate",
    "repeat",
    "duration_s",
    "warmup_s",
    "durability",
    "exit_code",
    "offered_tps",
    "tps",
    "p50_ms",
    "p99_ms",
    "cores_busy",
];
/// The figures of a run, in the order of its last columns.
const FIGURES: usize = 5;

/// What one run measured.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Measured {
    exit_code: u8,
    /// Offered and committed a second, the quantiles of 50 and 99 % of latency in ms, cores busy; `None` where nothing
    /// was measured.
    figures: [Option<f64>; FIGURES],
}

/// A line of `runs.csv`.
#[derive(Clone, PartialEq, Debug)]
struct Run {
    planned: Planned,
    /// Its duration, warm-up and durability as they stand in the file.
    setting: [String; 3],
    measured: Measured,
}

/// All runs that have ended, those of other sweeps into the same directory included.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Results {
    runs: Vec<Run>,
}

/// The median of the runs that have a figure, the least and the most of them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// A combination and what its runs measured.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Combined {
    pub(crate) combination: Combination,
    pub(crate) runs: usize,
    /// Runs that did not end well.
    pub(crate) not_well: usize,
    pub(crate) offered_tps: Option<Spread>,
    pub(crate) tps: Option<Spread>,
    pub(crate) p50_ms: Option<Spread>,
    pub(crate) p99_ms: Option<Spread>,
}

impl Measured {
    pub(super) fn of(summary: &Summary) -> Measured {
        let latency = summary.tally.latency();
        let ms = |per_mille| latency.quantile_us(per_mille).map(|us| us as f64 / 1e3);
        let was_measured = !summary.measured_for.is_zero();
        let rate = |rate: f64| was_measured.then_some(rate);
        Measured {
            exit_code: summary.exit_code(),
            figures: [
                rate(summary.offered_tps()),
                rate(summary.tps()),
                ms(500),
                ms(990),
                rate(summary.cores_busy()),
            ],
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, tps, p50, p99, _] = self.figures;
        let ms = |value: Option<f64>| value.map_or("-".into(), |ms| format!("{ms:.1}"));
        let tps = tps.map_or("-".into(), |tps| grouped(tps.round() as u64));
        write!(f, "{tps} tx/s, p50 {} ms, p99 {} ms", ms(p50), ms(p99))?;
        if self.exit_code == 0 { Ok(()) } else { write!(f, ", exit code {}", self.exit_code) }
    }
}

impl Results {
    /// Those of a file.
    ///
    /// # Errors
    /// If it is not one.
    pub(super) fn load(path: &Path) -> Result<Results, ParseError> {
        Ok(Results { runs: read_csv(path, RUNS, run)? })
    }

    /// Whether a run of the plan has ended.
    pub(super) fn has(&self, plan: &Plan, planned: &Planned) -> bool {
        let setting = setting(plan);
        self.runs.iter().any(|run| run.planned == *planned && run.setting == setting)
    }

    pub(super) fn add(&mut self, plan: &Plan, planned: &Planned, measured: Measured) {
        self.runs.push(Run { planned: *planned, setting: setting(plan), measured });
    }

    /// Whether all runs of the plan ended well.
    pub(super) fn is_well(&self, plan: &Plan) -> bool {
        self.combinations(plan).iter().all(|combined| combined.not_well == 0)
    }

    /// `runs.csv`.
    pub(super) fn to_csv(&self) -> String {
        let mut text = format!("{}\n", RUNS.join(","));
        for Run { planned: Planned { combination, repeat }, setting, measured } in &self.runs {
            let _ = write!(
                text,
                "{},{repeat},{},{}",
                columns(combination),
                setting.join(","),
                measured.exit_code
            );
            for figure in measured.figures {
                let _ = write!(text, ",{}", figure.map(|figure| format!("{figure:.3}")).unwrap_or_default());
            }
            text.push('\n');
        }
        text
    }

    /// The combinations of a plan of which runs have ended.
    pub(super) fn combinations(&self, plan: &Plan) -> Vec<Combined> {
        let setting = setting(plan);
        let combined = |combination: Combination| {
            let of = |run: &&Run| run.planned.combination == combination && run.setting == setting;
            let runs: Vec<&Measured> = self.runs.iter().filter(of).map(|run| &run.measured).collect();
            let spread = |index: usize| spread(runs.iter().filter_map(|run| run.figures[index]).collect());
            (!runs.is_empty()).then(|| Combined {
                combination,
                runs: runs.len(),
                not_well: runs.iter().filter(|run| run.exit_code != 0).count(),
                offered_tps: spread(0),
                tps: spread(1),
                p50_ms: spread(2),
                p99_ms: spread(3),
            })
        };
        plan.combinations().into_iter().filter_map(combined).collect()
    }
}

/// `sweep.csv`.
pub(super) fn sweep_csv(combinations: &[Combined]) -> String {
    let mut text = String::from(
        "nodes,shards,tx_size,rate,runs,not_well,offered_tps,tps,tps_min,tps_max,p50_ms,p50_ms_min,p50_ms_max,p99_ms,\
         p99_ms_min,p99_ms_max\n",
    );
    for Combined { combination, runs, not_well, offered_tps, tps, p50_ms, p99_ms } in combinations {
        let offered = offered_tps.map(|spread| format!("{:.3}", spread.median)).unwrap_or_default();
        let _ = write!(text, "{},{runs},{not_well},{offered}", columns(combination));
        for spread in [tps, p50_ms, p99_ms] {
            let _ = match spread {
                Some(Spread { median, min, max }) => write!(text, ",{median:.3},{min:.3},{max:.3}"),
                None => write!(text, ",,,"),
            };
        }
        text.push('\n');
    }
    text
}

fn columns(combination: &Combination) -> String {
    let Combination { nodes, shards, tx_size, rate } = combination;
    format!("{nodes},{shards},{tx_size},{}", rate.map_or("max".into(), |rate| rate.to_string()))
}

fn setting(plan: &Plan) -> [String; 3] {
    [plan.duration_s.to_string(), plan.warmup_s.to_string(), plan.durability.clone()]
}

fn run(cells: [&str; RUNS.len()]) -> Option<Run> {
    let [nodes, shards, tx_size, rate, repeat, duration_s, warmup_s, durability, exit_code, figures @ ..] =
        cells;
    let rate = if rate == "max" { None } else { Some(rate.parse().ok()?) };
    let combination = Combination {
        nodes: nodes.parse().ok()?,
        shards: shards.parse().ok()?,
        tx_size: tx_size.parse().ok()?,
        rate,
    };
    let figure = |cell: &str| if cell.is_empty() { Some(None) } else { cell.parse().ok().map(Some) };
    let mut measured = Measured { exit_code: exit_code.parse().ok()?, figures: [None; FIGURES] };
    for (place, cell) in measured.figures.iter_mut().zip(figures) {
        *place = figure(cell)?;
    }
    let setting = [duration_s, warmup_s, durability].map(String::from);
    Some(Run { planned: Planned { combination, repeat: repeat.parse().ok()? }, setting, measured })
}

fn spread(mut values: Vec<f64>) -> Option<Spread> {
    values.sort_by(f64::total_cmp);
    let (min, max) = (*values.first()?, *values.last()?);
    let half = values.len() / 2;
    let median = if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 };
    Some(Spread { median, min, max })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::flags::Invocation;
    use crate::testing::{TestDir, documented};

    fn plan(line: &str) -> Plan {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        let Ok(Invocation::Run(values)) = super::super::COMMAND.parse(&words) else { panic!("{line}") };
        Plan::from_values(&values).unwrap()
    }

    fn measured(tps: f64) -> Measured {
        Measured {
            exit_code: u8::from(tps == 0.0),
            figures: [Some(500.0), Some(tps), Some(5.0), None, Some(1.5)],
        }
    }

    #[test]
    fn a_sweep_goes_on_where_it_stopped_and_another_setting_begins_anew() {
        let dir = TestDir::new();
        let path = dir.path().join("runs.csv");
        let plan_of =
            |line: &str| plan(&format!("--rate 500,max --repeat 3 --duration 2.5 --warmup 1 {line}"));
        let planned = plan_of("").runs();
        let mut results = Results::default();
        for (run, tps) in planned.iter().zip([480.0, 900.0, 470.0, 0.0]) {
            results.add(&plan_of(""), run, measured(tps));
        }
        fs::write(&path, results.to_csv()).unwrap();
        let read = Results::load(&path).unwrap();
        assert_eq!(read, results);
        let left = planned.iter().filter(|one| !read.has(&plan_of(""), one)).count();
        assert_eq!(left, 2);
        let other = plan_of("--durability off");
        assert!(other.runs().iter().all(|one| !read.has(&other, one)));
        let combined = read.combinations(&plan_of(""));
        assert_eq!(combined[0].tps, Some(Spread { median: 475.0, min: 470.0, max: 480.0 }));
        assert_eq!((combined[1].runs, combined[1].not_well, combined[1].p99_ms), (2, 1, None));
        assert!(!read.is_well(&plan_of("")));
        fs::write(&path, "nodes,shards\n4,1\n").unwrap();
        assert!(Results::load(&path).is_err());
    }

    #[test]
    fn the_columns_are_documented() {
        let results = Results::default();
        assert_eq!(results.to_csv().trim_end(), documented("`runs.csv`").join(","));
        assert_eq!(sweep_csv(&[]).trim_end(), documented("`sweep.csv`").join(","));
    }
}
