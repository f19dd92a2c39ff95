//! What went between nodes: by kind of message, and by link.

use std::collections::BTreeMap;

use super::super::figure::{Drawing, Figure, basis, n_of};
use super::super::matrix::Matrix;
use super::super::plot::Axis;
use super::super::rows::{Row, Rows, Shown};
use super::super::run::{RunFiles, Traffic};
use super::super::scale::{Scale, bytes, number};

/// Kinds that have a row of their own; the rest are one row.
const KINDS_MAX: usize = 12;

/// Bytes that nodes received, by kind of message.
pub(super) fn by_kind(run: &RunFiles) -> Option<Figure> {
    let mut kinds: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for line in &run.traffic {
        if let Traffic::Received { kind, messages, bytes } = line {
            let sum = kinds.entry(kind).or_default();
            (sum.0, sum.1) = (sum.0 + messages, sum.1 + bytes);
        }
    }
    let mut kinds: Vec<(&str, f64, f64)> =
        kinds.into_iter().map(|(kind, (messages, bytes))| (kind, messages, bytes)).collect();
    kinds.sort_by(|a, b| b.2.total_cmp(&a.2));
    let (messages, total) = kinds.iter().fold((0.0, 0.0), |sum, kind| (sum.0 + kind.1, sum.1 + kind.2));
    let (first, _, most) = *kinds.first()?;
    if kinds.len() > KINDS_MAX + 1 {
        let rest = kinds.split_off(KINDS_MAX);
        let sums = rest.iter().fold((0.0, 0.0), |sum, kind| (sum.0 + kind.1, sum.1 + kind.2));
        kinds.push(("all others", sums.0, sums.1));
    }
    let row = |(kind, messages, size): &(&str, f64, f64)| Row {
        name: kind.to_string(),
        colour: 0,
        shown: Shown::Bar(size / 1e6),
        text: format!("{} in {} messages", bytes(*size), number(*messages)),
    };
    Some(Figure {
        id: "traffic-by-kind",
        title: "Traffic by kind of message".into(),
        finding: format!(
            "Most bytes are of the kind {first}: {} % of {}.",
            number(100.0 * most / total.max(1.0)),
            bytes(total)
        ),
        drawings: vec![Drawing::Rows(Rows {
            x: Axis::of("received, all nodes together", "MB", Scale::from_zero(most / 1e6, 5)),
            rows: kinds.iter().map(row).collect(),
        })],
        list: Vec::new(),
        basis: basis(
            run,
            &n_of(messages, "messages received in the whole run, counted once at each recipient"),
        ),
    })
}

/// Of more nodes a matrix shows nothing, and the page would be too long to open.
const LINKS_OF_MAX: u16 = 128;

/// Bytes a second on each link between two nodes.
pub(super) fn by_link(run: &RunFiles) -> Option<Figure> {
    let links: BTreeMap<(u16, u16), f64> = run
        .traffic
        .iter()
        .filter_map(|line| match line {
            Traffic::Sent { node, peer, bytes } => Some(((*node, *peer), *bytes)),
            Traffic::Received { .. } => None,
        })
        .collect();
    let last = links.keys().flat_map(|(from, to)| [*from, *to]).max()?;
    let count = Some(last).filter(|last| *last < LINKS_OF_MAX)? + 1;
    let seconds = run.series.last().map(|second| second.until_s).filter(|seconds| *seconds > 0.0)?;
    let cell = |from: u16, to: u16| links.get(&(from, to)).map(|bytes| bytes / seconds);
    let matrix = Matrix {
        label: "from node (rows) to node (columns), bytes a second (B/s)".into(),
        names: (0..count).map(|node| node.to_string()).collect(),
        cells: (0..count)
            .flat_map(|from| (0..count).map(move |to| (from, to)))
            .map(|(from, to)| cell(from, to))
            .collect(),
    };
    let total: f64 = links.values().sum();
    Some(Figure {
        id: "traffic-by-link",
        title: "Traffic by link".into(),
        finding: matrix.most().map(|most| format!("The busiest link is {most}.")).unwrap_or_default(),
        drawings: vec![Drawing::Matrix(matrix)],
        list: Vec::new(),
        basis: basis(
            run,
            &format!(
                "{}, {} in all, divided by the {} s of the load",
                n_of(links.len() as f64, "links"),
                bytes(total),
                number(seconds)
            ),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::run::Second;
    use super::*;

    #[test]
    fn kinds_are_added_up_over_nodes_and_links_stay_apart() {
        let received = |kind: &str, bytes: f64| Traffic::Received { kind: kind.into(), messages: 1.0, bytes };
        let sent = |node, peer, bytes| Traffic::Sent { node, peer, bytes };
        let mut run = RunFiles {
            traffic: vec![received("a", 75.0), received("b", 100.0), received("a", 125.0), sent(0, 2, 6e6)],
            ..RunFiles::default()
        };
        assert_eq!(by_kind(&run).unwrap().finding, "Most bytes are of the kind a: 66.7 % of 300 B.");
        assert!(by_link(&run).is_none(), "a rate needs the length of the load");
        run.series = vec![Second {
            from_s: 1.0,
            until_s: 2.0,
            phase: "measured".into(),
            meant: 0.0,
            committed: 0.0,
            committed_cross: 0.0,
            p50_ms: None,
            p99_ms: None,
            faults: Vec::new(),
        }];
        assert_eq!(by_link(&run).unwrap().finding, "The busiest link is 0 to 2: 3 MB/s.");
        run.traffic.extend((0..40).map(|kind| received(&kind.to_string(), 1.0)));
        let Drawing::Rows(rows) = &by_kind(&run).unwrap().drawings[0] else { panic!("no rows") };
        assert_eq!((rows.rows.len(), rows.rows[KINDS_MAX].name.as_str()), (KINDS_MAX + 1, "all others"));
    }
}
