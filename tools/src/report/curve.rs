//! The page of a sweep: latency by throughput, and the table of its combinations.

use std::collections::BTreeMap;
use std::path::Path;

use wire::text::ParseError;

use super::csv::read;
use super::figure::{Drawing, Figure};
use super::markup::Element;
use super::page::{page, table};
use super::plot::{Axis, Line, Plot, Shape};
use super::scale::{Scale, number};
use crate::sweep::{Combined, Spread};

/// A figure of somebody else.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Peer {
    name: String,
    tps: f64,
    latency_ms: f64,
}

/// The figures of peers in a file: `name,tps,latency_ms`.
///
/// # Errors
/// If the file is not one.
pub(crate) fn peers(path: &Path) -> Result<Vec<Peer>, ParseError> {
    read(path, ["name", "tps", "latency_ms"], |[name, tps, latency_ms]| {
        let positive = |text: &str| text.parse().ok().filter(|value: &f64| value.is_finite() && *value > 0.0);
        Some(Peer { name: name.into(), tps: positive(tps)?, latency_ms: positive(latency_ms)? })
    })
}

/// The page of a sweep.
pub(crate) fn sweep_page(combinations: &[Combined], peers: &[Peer], basis: &str) -> String {
    let title = "Throughput and latency by offered load";
    let header = Element::new("header")
        .child(Element::of("p", "dumbo-testbed · sweep").class("kicker"))
        .child(Element::of("h1", title))
        .child(Element::of("p", format!("{} combinations. {basis}.", combinations.len())));
    let figures: Vec<Figure> = [
        figure("median", "Median latency by throughput", combinations, |one| one.p50_ms, peers, basis),
        figure("p99", "99 % quantile of latency by throughput", combinations, |one| one.p99_ms, &[], basis),
    ]
    .into_iter()
    .flatten()
    .collect();
    let facts =
        Element::new("section").child(Element::of("h2", "All combinations")).child(rows(combinations));
    page(title, &[], header, &figures, facts)
}

fn figure(
    id: &'static str,
    title: &str,
    combinations: &[Combined],
    latency: fn(&Combined) -> Option<Spread>,
    peers: &[Peer],
    basis: &str,
) -> Option<Figure> {
    let mut curves: Vec<(String, Vec<(Spread, Spread)>)> = Vec::new();
    for one in combinations {
        let (Some(tps), Some(latency)) = (one.tps, latency(one)) else { continue };
        let name = one.combination.curve();
        match curves.iter_mut().find(|(of, _)| *of == name) {
            Some((_, points)) => points.push((tps, latency)),
            None => curves.push((name, vec![(tps, latency)])),
        }
    }
    let values = || curves.iter().flat_map(|(_, points)| points);
    values().next()?;
    let mut by_peer: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for peer in peers {
        by_peer.entry(&peer.name).or_default().push((peer.tps, peer.latency_ms));
    }
    let theirs = || by_peer.values().flatten();
    let all_tps = values().map(|(tps, _)| tps.max).chain(theirs().map(|(tps, _)| *tps));
    let most_tps = all_tps.fold(0.0, f64::max);
    let all_ms = || values().flat_map(|(_, ms)| [ms.min, ms.max]).chain(theirs().map(|(_, ms)| *ms));
    let (least_ms, most_ms) = (all_ms().fold(f64::MAX, f64::min), all_ms().fold(0.0, f64::max));
    let mut lines = Vec::new();
    for (index, (name, points)) in curves.iter().enumerate() {
        let colour = index % 6;
        let medians = points.iter().map(|(tps, ms)| Some((tps.median, ms.median)));
        lines.push(Line { label: name.clone(), colour, shape: Shape::Line, points: medians.collect() });
        // Crosses as wide and as high as the repeats differ.
        let crosses = points.iter().flat_map(|(tps, ms)| {
            [
                Some((tps.min, ms.median)),
                Some((tps.max, ms.median)),
                None,
                Some((tps.median, ms.min)),
                Some((tps.median, ms.max)),
                None,
            ]
        });
        lines.push(Line { label: String::new(), colour, shape: Shape::Line, points: crosses.collect() });
    }
    for (name, points) in &by_peer {
        let points = points.iter().copied().map(Some).collect();
        lines.push(Line { label: format!("{name} (theirs)"), colour: 6, shape: Shape::Dashed, points });
    }
    let runs: usize = combinations.iter().map(|one| one.runs).sum();
    let theirs = if peers.is_empty() { "" } else { "; dashed: figures of others, as they give them" };
    Some(Figure {
        id,
        title: title.into(),
        finding: "Along a line the offered load rises; down and to the right is better.".into(),
        drawings: vec![Drawing::Plot(Plot {
            x: Axis::of("committed, median of the repeats", "tx/s", Scale::from_zero(most_tps, 6)),
            y: Axis::of("latency, median of the repeats", "ms, log", Scale::log(least_ms, most_ms)),
            lines,
            marks: Vec::new(),
            shades: Vec::new(),
            height: 280.0,
        })],
        list: Vec::new(),
        basis: format!(
            "Crosses: the least and the most of the repeats{theirs}. {basis}; {runs} runs in all."
        ),
    })
}

fn rows(combinations: &[Combined]) -> Element {
    let head = [
        "combination",
        "runs",
        "not well",
        "offered (tx/s)",
        "committed (tx/s)",
        "median latency (ms)",
        "99 % quantile (ms)",
    ];
    let text = |spread: Option<Spread>| match spread {
        Some(Spread { median, min, max }) => format!("{} ({}–{})", number(median), number(min), number(max)),
        None => "–".into(),
    };
    let row = |one: &Combined| {
        vec![
            one.combination.to_string(),
            one.runs.to_string(),
            one.not_well.to_string(),
            one.offered_tps.map_or("–".into(), |spread| number(spread.median)),
            text(one.tps),
            text(one.p50_ms),
            text(one.p99_ms),
        ]
    };
    table(head.map(String::from).into(), combinations.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::markup::check;
    use super::*;
    use crate::sweep::Combination;
    use crate::testing::TestDir;

    #[test]
    fn a_sweep_has_a_line_a_curve_with_units_and_peers_beside_it() {
        let dir = TestDir::new();
        let path = dir.path().join("peers.csv");
        fs::write(&path, "name,year,tps,latency_ms\n<HotStuff>,2019,4000,9\n").unwrap();
        let peers = peers(&path).unwrap();
        let spread = |median: f64| Some(Spread { median, min: median * 0.9, max: median * 1.1 });
        let one = |nodes: u64, rate: u64| Combined {
            combination: Combination { nodes, shards: 1, tx_size: 250, rate: Some(rate) },
            runs: 3,
            not_well: 0,
            offered_tps: spread(rate as f64),
            tps: spread(rate as f64),
            p50_ms: spread(20.0),
            p99_ms: None,
        };
        let text = sweep_page(&[one(4, 1_000), one(4, 5_000), one(7, 1_000)], &peers, "N = 3 runs a point");
        check(&text).unwrap();
        for part in [
            "(tx/s)",
            "(ms, log)",
            "7 nodes, 250 B",
            "&lt;HotStuff&gt; (theirs)",
            "N = 3 runs",
            "9 runs in all",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("id=\"p99\""), "nothing was measured of it");
        fs::write(&path, "name,tps,latency_ms\nx,0,9\n").unwrap();
        assert!(super::peers(&path).unwrap_err().to_string().contains("line 2: found 'x,0,9'"));
    }
}
