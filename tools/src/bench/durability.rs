//! Durability: what writing journals costs in throughput and latency.
//!
//! Turns of one run of each durability, one after the other, so that whatever makes the machine slower or faster over
//! time does so to all of them. Each figure is the median over the turns. Journals of a run are removed before the
//! next one starts, so no run pays for what the system has yet to write of another.

use super::report::{Figure, Report};
use super::settings::Settings;
use crate::run::{RunError, Summary};

/// Those that are compared at saturation, that without journals first.
const AT_SATURATION: [&str; 3] = ["off", "process", "power"];
/// Those whose latency is compared.
const AT_STEADY_RATE: [&str; 2] = ["off", "process"];

/// Fills the table.
pub(super) fn measure(settings: &Settings, report: &mut Report) -> Result<(), RunError> {
    let committed = medians(settings, report, AT_SATURATION, "max", Summary::tps)?;
    add(report, AT_SATURATION, "committed", committed, "tx/s");
    let rate = settings.rate.to_string();
    let p99_ms =
        |summary: &Summary| summary.tally.latency().quantile_us(990).unwrap_or_default() as f64 / 1e3;
    let latency = medians(settings, report, AT_STEADY_RATE, &rate, p99_ms)?;
    add(report, AT_STEADY_RATE, &format!("p99 latency at {rate} tx/s"), latency, "ms");
    Ok(())
}

/// The median of a figure for each of these durabilities.
fn medians<const N: usize>(
    settings: &Settings,
    report: &mut Report,
    durabilities: [&str; N],
    rate: &str,
    figure: impl Fn(&Summary) -> f64,
) -> Result<[f64; N], RunError> {
    let mut found = durabilities.map(|_| Vec::new());
    for turn in 1..=settings.turns {
        for (durability, found) in durabilities.iter().zip(&mut found) {
            let name = format!("--rate {rate}, durability {durability}, turn {turn} of {}", settings.turns);
            let summary = settings.run_durably(report, durability, &name, &["--rate", rate])?;
            eprintln!("  {:.1}", figure(&summary));
            found.push(figure(&summary));
        }
    }
    Ok(found.map(median))
}

/// Adds the medians, and each of the others over the first.
fn add<const N: usize>(
    report: &mut Report,
    durabilities: [&str; N],
    name: &str,
    medians: [f64; N],
    unit: &'static str,
) {
    let of = durabilities.iter().zip(medians);
    of.clone().for_each(|(of, value)| report.add(Figure::new(&format!("{of}, {name}"), value, unit)));
    let (first, reference) = (durabilities[0], medians[0]);
    for (of, value) in of.skip(1).filter(|_| reference > 0.0) {
        report.add(Figure::new(&format!("{of}/{first}, {name}"), 100.0 * value / reference, "%"));
    }
}

/// The middle one of at least one number, or the mean of the two in the middle.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    (numbers[(numbers.len() - 1) / 2] + numbers[middle]) / 2.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_median_is_between_the_halves() {
        assert_eq!(median(vec![3.0]), 3.0);
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![9.0, 1.0, 2.0, 4.0]), 3.0);
    }

    #[test]
    fn ratios_are_those_to_a_run_without_journals() {
        let mut report = Report::new(4, Duration::from_secs(10));
        add(&mut report, AT_SATURATION, "committed", [200.0, 150.0, 100.0], "tx/s");
        let json = report.to_json().to_string();
        let value = |name: &str| {
            let (_, rest) = json.split_once(&format!("\"name\": \"{name}\"")).unwrap();
            let (_, rest) = rest.split_once("\"value\": ").unwrap();
            rest.split([',', '\n']).next().unwrap().parse::<f64>().unwrap()
        };
        assert_eq!((value("off, committed"), value("power, committed")), (200.0, 100.0));
        assert_eq!((value("process/off, committed"), value("power/off, committed")), (75.0, 50.0));
        let mut nothing = Report::new(4, Duration::from_secs(10));
        add(&mut nothing, AT_STEADY_RATE, "p99 latency", [0.0, 5.0], "ms");
        assert!(!nothing.to_json().to_string().contains("process/off"), "nothing to compare with");
    }
}
