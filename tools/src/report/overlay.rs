//! Several runs on one page: their figures in a table, throughput and latency laid over each other, and what differs in
//! what was run.

use std::collections::BTreeSet;

use super::figure::{Drawing, Figure, offered, testbed};
use super::figures::{cdf, cdf_plot, committed};
use super::markup::Element;
use super::page::{page, plain, table};
use super::plot::{Axis, DRAIN, Line, Plot, Shape};
use super::run::RunFiles;
use super::scale::{Scale, number};
use crate::compare::PLACES;
use crate::json::Json;

/// More runs have no colours of their own.
pub(super) const RUNS_MAX: usize = 8;

/// The figures of the table: name, unit, place in the summary.
const FIGURES: [(&str, &str, &[&str]); 12] = [
    ("offered", "tx/s", &["offered_tps"]),
    ("committed", "tx/s", &["tps"]),
    ("committed", "tx", &["committed"]),
    ("median latency", "ms", &["latency_ms", "p50"]),
    ("90 % quantile", "ms", &["latency_ms", "p90"]),
    ("99 % quantile", "ms", &["latency_ms", "p99"]),
    ("median across shards", "ms", &["latency_cross_ms", "p50"]),
    ("rounds of a shard", "1/s", &["rounds_per_s"]),
    ("views a round", "views", &["views_per_round"]),
    ("agreement, median", "ms", &["round_ms", "p50"]),
    ("sent for a transaction", "B", &["bytes_per_tx"]),
    ("cores busy", "cores", &["cores_busy"]),
];

/// The page of several runs.
pub(super) fn of_runs(runs: &[RunFiles]) -> String {
    let title = format!("{} runs side by side", runs.len());
    let header = Element::new("header")
        .child(Element::of("p", "dumbo-testbed").class("kicker"))
        .child(Element::of("h1", &title))
        .child(table(head("figure", runs), rows(runs)));
    let differs = differences(runs);
    let facts = match differs.is_empty() {
        true => Element::of("p", "The same options, machine and version."),
        false => table(head("what differs", runs), differs),
    };
    let facts = Element::new("section").child(Element::of("h2", "What differs in what was run")).child(facts);
    let missing: Vec<String> = runs.iter().flat_map(|run| run.missing.iter().cloned()).collect();
    page(&title, &missing, header, &figures(runs), facts)
}

fn head(first: &str, runs: &[RunFiles]) -> Vec<String> {
    [first.to_string()].into_iter().chain(runs.iter().map(RunFiles::name)).collect()
}

fn rows(runs: &[RunFiles]) -> Vec<Vec<String>> {
    let mut rows = vec![
        [String::from("testbed")].into_iter().chain(runs.iter().map(testbed)).collect::<Vec<_>>(),
        [String::from("verdict")].into_iter().chain(runs.iter().map(verdict)).collect(),
    ];
    for (name, unit, path) in FIGURES {
        let values: Vec<Option<f64>> = runs.iter().map(|run| run.number(path)).collect();
        if values.iter().any(Option::is_some) {
            let cells = values.into_iter().map(|value| value.map_or("–".into(), number));
            rows.push([format!("{name} ({unit})")].into_iter().chain(cells).collect());
        }
    }
    rows
}

fn verdict(run: &RunFiles) -> String {
    match run.whole("exit_code") {
        Some(0) => "all well".into(),
        Some(code) => format!("exit code {code}"),
        None => "no summary".into(),
    }
}

/// Transactions committed a second until the load ended. Loads that end at different times would have lines that
/// cross on their way down.
fn while_offered(run: &RunFiles) -> Vec<Option<(f64, f64)>> {
    let ends_s =
        run.series.iter().rev().find(|second| second.phase != DRAIN).map_or(0.0, |second| second.until_s);
    committed(run).into_iter().filter(|point| point.is_some_and(|(at_s, _)| at_s <= ends_s)).collect()
}

/// Options, machine, version and commit that are not the same everywhere.
fn differences(runs: &[RunFiles]) -> Vec<Vec<String>> {
    let names = |field: &str| -> BTreeSet<String> {
        let fields = runs.iter().filter_map(|run| match run.at(&[field]) {
            Some(Json::Object(fields)) => Some(fields.iter().map(|(name, _)| name.clone())),
            _ => None,
        });
        fields.flatten().collect()
    };
    let mut all: Vec<(String, Vec<String>)> =
        ["version", "commit"].map(|name| (name.to_string(), vec![name.to_string()])).into();
    for (field, heading) in [("machine", "machine: "), ("options", "--")] {
        all.extend(
            names(field).into_iter().map(|name| (format!("{heading}{name}"), vec![field.into(), name])),
        );
    }
    let says_what_ran = |what: &str| what.strip_prefix("--").is_none_or(|name| !PLACES.contains(&name));
    let rows = all.into_iter().filter(|(what, _)| says_what_ran(what)).filter_map(|(what, path)| {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let cells: Vec<String> = runs.iter().map(|run| run.at(&path).map_or("–".into(), plain)).collect();
        let is_same = cells.iter().all(|cell| *cell == cells[0]);
        (!is_same).then(|| [what].into_iter().chain(cells).collect())
    });
    rows.collect()
}

fn figures(runs: &[RunFiles]) -> Vec<Figure> {
    let shape = |index: usize| if index < 6 { Shape::Line } else { Shape::Dashed };
    let whole: Vec<(usize, &RunFiles)> =
        runs.iter().enumerate().filter(|(_, run)| !run.series.is_empty()).collect();
    let lines: Vec<Line> = whole
        .iter()
        .map(|(index, run)| Line {
            label: run.name(),
            colour: *index,
            shape: shape(*index),
            points: while_offered(run),
        })
        .collect();
    let end = whole
        .iter()
        .filter_map(|(_, run)| run.series.last())
        .fold(0.0, |end: f64, second| end.max(second.until_s));
    let most = lines
        .iter()
        .flat_map(|line| line.points.iter().flatten())
        .fold(0.0, |most: f64, (_, y)| most.max(*y));
    let basis = |what: &str| {
        let of = |run: &RunFiles| {
            let count = run.number(&["committed"]).map(number).unwrap_or_else(|| "–".into());
            format!("{}: {count} {what}, {}, {}", run.name(), testbed(run), offered(run))
        };
        format!("N by run: {}.", runs.iter().map(of).collect::<Vec<_>>().join("; "))
    };
    let throughput = (!lines.is_empty()).then(|| Figure {
        id: "throughput",
        title: "Throughput over time".into(),
        finding: String::new(),
        drawings: vec![Drawing::Plot(Plot {
            x: Axis::of("time since the load began", "s", Scale::linear(0.0, end)),
            y: Axis::of("transactions committed a second", "tx/s", Scale::from_zero(most, 5)),
            lines,
            marks: Vec::new(),
            shades: Vec::new(),
            height: 200.0,
        })],
        list: Vec::new(),
        basis: basis("committed transactions"),
    });
    let lines: Vec<Line> = runs
        .iter()
        .enumerate()
        .map(|(index, run)| Line { label: run.name(), colour: index, shape: shape(index), points: cdf(run) })
        .filter(|line| !line.points.is_empty())
        .collect();
    let latency = (!lines.is_empty()).then(|| Figure {
        id: "latency",
        title: "Latency of transactions".into(),
        finding: "Further to the left is faster.".into(),
        drawings: vec![Drawing::Plot(cdf_plot(lines))],
        list: Vec::new(),
        basis: basis(
            "committed transactions, of which the figure has those meant to be sent in the measured part",
        ),
    });
    [throughput, latency].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::super::markup::check;
    use super::super::run::Bucket;
    use super::*;

    #[test]
    fn runs_stand_side_by_side_and_what_differs_is_listed() {
        let run = |rate: u64, from_ms: f64| {
            let summary = format!(
                "{{\"n\": 4, \"exit_code\": 0, \"tps\": {rate}, \"options\": {{\"rate\": {rate}, \"seed\": 1}}}}"
            );
            let bucket = Bucket { kind: "intra".into(), from_ms, until_ms: from_ms * 2.0, count: 5.0 };
            RunFiles {
                directory: format!("run-{rate}").into(),
                summary: Some(Json::parse(&summary).unwrap()),
                latency: vec![bucket],
                ..RunFiles::default()
            }
        };
        let runs = [run(1_000, 1.0), run(2_000, 3.0)];
        assert_eq!(differences(&runs), [["--rate", "1000", "2000"]]);
        let text = of_runs(&runs);
        check(&text).unwrap();
        for part in ["<td>committed (tx/s)</td><td>1,000</td><td>2,000</td>", "run-2000", "latency (ms, log)"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("Throughput over time"), "no series, no figure");
    }
}
