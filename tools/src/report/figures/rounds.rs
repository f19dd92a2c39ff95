//! Rounds as nodes wrote them down: the phases of one, the views that it took, and how level the nodes were.

use std::collections::BTreeMap;

use wire::ids::NodeId;

use super::super::figure::{Drawing, Figure, basis, n_of, quantiles};
use super::super::plot::{Axis, Line, Plot, Shape};
use super::super::rows::{Row, Rows, Shown};
use super::super::run::RunFiles;
use super::super::scale::{Scale, number};
use super::latency::{RANGE, ranges};
use super::throughput::{line, marks, shades};
use crate::verify::Line as Block;

/// Moments at which heights are drawn.
const MOMENTS: usize = 240;
/// More nodes than this have no names at their lines, unless they lag.
const NAMED_MAX: usize = 8;
/// A node that lagged by more rounds than this is named even among many.
const LAGGED: f64 = 50.0;

/// A value of a node at each moment.
type ByMoment = (NodeId, Vec<f64>);

/// The time of each phase of a round.
pub(super) fn phases(run: &RunFiles) -> Option<Figure> {
    let blocks = || run.rounds.values().flatten();
    let ms = |of: fn(&Block) -> u64, counts: fn(&Block) -> bool| -> Vec<f64> {
        blocks().filter(|block| counts(block)).map(|block| of(block) as f64 / 1e3).collect()
    };
    let finished = |block: &Block| block.spb_us > 0;
    let mut phases = [
        ("own input → N−f FINISHes", ms(|block| block.spb_us, finished), 0),
        ("N−f FINISHes → coin", ms(|block| block.coin_us, |block| block.spb_us > 0 && block.coin_us > 0), 1),
        ("coin → decision", ms(|block| block.decide_us, finished), 2),
        (
            "whole agreement: own input → decision",
            ms(|block| block.agreement_us, |block| block.agreement_us > 0),
            3,
        ),
        ("decision → execution (payloads fetched)", ms(|block| block.fetch_us, |_| true), 4),
    ];
    let measured: Vec<_> = phases
        .iter_mut()
        .filter_map(|(name, values, colour)| Some((*name, quantiles(values)?, *colour)))
        .collect();
    let whole = measured.iter().find(|(_, _, colour)| *colour == 3);
    let finding = whole.map(|(_, range, _)| {
        format!("Half of all agreements took at most {} ms, 99 % {} ms.", number(range[2]), number(range[4]))
    });
    let count = blocks().count();
    (count > 0).then(|| Figure {
        id: "phases",
        title: "Where the time of a round goes".into(),
        finding: finding.unwrap_or_default(),
        drawings: vec![Drawing::Rows(ranges(&measured))],
        list: Vec::new(),
        basis: basis(
            run,
            &format!(
                "{RANGE} {}, each by its node's clock",
                n_of(count as f64, "blocks executed, all nodes counted")
            ),
        ),
    })
}

/// How many views rounds took.
pub(super) fn views(run: &RunFiles) -> Option<Figure> {
    // A round took the views that the node saw which saw most.
    let mut most: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for (node, blocks) in &run.rounds {
        for block in blocks {
            let views = most.entry((run.shard_of(*node), block.block.round.0)).or_default();
            *views = (*views).max(block.views);
        }
    }
    let mut counts: BTreeMap<u64, f64> = BTreeMap::new();
    most.values().filter(|views| **views > 0).for_each(|views| *counts.entry(*views).or_default() += 1.0);
    let total: f64 = counts.values().sum();
    let mean = counts.iter().map(|(views, count)| *views as f64 * count).sum::<f64>() / total;
    let row = |(views, count): (&u64, &f64)| Row {
        name: if *views == 1 { "1 view".into() } else { format!("{views} views") },
        colour: if *views == 1 { 0 } else { 1 },
        shown: Shown::Bar(100.0 * count / total),
        text: format!("{} % ({} rounds)", number(100.0 * count / total), number(*count)),
    };
    (total > 0.0).then(|| Figure {
        id: "views",
        title: "Views a round".into(),
        finding: format!(
            "{mean:.2} views a round on average; more than one means that the elected leader's broadcast had not finished."
        ),
        drawings: vec![Drawing::Rows(Rows {
            x: Axis::of("share of rounds", "%", Scale::linear(0.0, 100.0)),
            rows: counts.iter().map(row).collect(),
        })],
        list: Vec::new(),
        basis: basis(run, &n_of(total, "rounds of all shards")),
    })
}

/// Heights of nodes over time, and how far each was behind the highest of its shard.
pub(super) fn heights(run: &RunFiles) -> Option<Figure> {
    let (began_ms, end_s) = (run.began_ms()?, end_s(run)?);
    let moments: Vec<f64> = (0..=MOMENTS).map(|index| end_s * index as f64 / MOMENTS as f64).collect();
    let heights: Vec<ByMoment> = run
        .rounds
        .iter()
        .map(|(node, blocks)| (*node, heights_at(run, *node, blocks, began_ms, &moments)))
        .collect();
    let mut highest: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (node, heights) in &heights {
        let of_shard = highest.entry(run.shard_of(*node)).or_insert_with(|| vec![0.0; moments.len()]);
        of_shard.iter_mut().zip(heights).for_each(|(most, height)| *most = most.max(*height));
    }
    let behind: Vec<ByMoment> = heights
        .iter()
        .map(|(node, heights)| {
            let of_shard = &highest[&run.shard_of(*node)];
            (*node, of_shard.iter().zip(heights).map(|(most, height)| most - height).collect())
        })
        .collect();
    let most = |all: &[ByMoment]| {
        all.iter().flat_map(|(_, values)| values).fold(0.0, |most: f64, value| most.max(*value))
    };
    let worst = behind
        .iter()
        .map(|(node, values)| (values.iter().fold(0.0, |most: f64, value| most.max(*value)), node));
    let (worst, node) = worst.max_by(|a, b| a.0.total_cmp(&b.0))?;
    let plot = |what: &str, all: &[ByMoment], height: f64| {
        Drawing::Plot(Plot {
            x: Axis::of("time since the load began", "s", Scale::linear(0.0, end_s)),
            y: Axis::of(what, "rounds", Scale::from_zero(most(all), 4)),
            lines: lines(run, all, &behind, &moments),
            marks: marks(run),
            shades: shades(run),
            height,
        })
    };
    let blocks: usize = run.rounds.values().map(Vec::len).sum();
    Some(Figure {
        id: "heights",
        title: "Height and lag of each node".into(),
        finding: format!("The largest lag was that of node {node}: {} rounds.", number(worst)),
        drawings: vec![
            plot("height: the last block that a node had executed", &heights, 150.0),
            plot("lag: rounds behind the highest member of the shard", &behind, 130.0),
        ],
        list: Vec::new(),
        basis: basis(
            run,
            &n_of(blocks as f64, "blocks executed, all nodes counted, at the times that nodes wrote down"),
        ),
    })
}

/// When the last section of the load ended; without a series, when the last block was executed.
fn end_s(run: &RunFiles) -> Option<f64> {
    let last = || run.rounds.values().filter_map(|blocks| blocks.last()).map(|block| block.executed_ms).max();
    let by_blocks = || Some((last()? as f64 - run.began_ms()?) / 1e3);
    run.series.last().map(|second| second.until_s).or_else(by_blocks).filter(|end_s| *end_s > 0.0)
}

fn heights_at(run: &RunFiles, node: NodeId, blocks: &[Block], began_ms: f64, moments: &[f64]) -> Vec<f64> {
    let offset_ms = run.clocks.offset_us(node) as f64 / 1e3;
    let mut at = 0;
    let height = |moment: &f64| {
        let now_ms = began_ms + moment * 1e3 + offset_ms;
        while blocks.get(at).is_some_and(|block| block.executed_ms as f64 <= now_ms) {
            at += 1;
        }
        at.checked_sub(1).map_or(0.0, |last| blocks[last].block.round.0 as f64)
    };
    moments.iter().map(height).collect()
}

/// A line a node; of many nodes one of each shard is named, and those that lagged.
fn lines(run: &RunFiles, all: &[ByMoment], behind: &[ByMoment], moments: &[f64]) -> Vec<Line> {
    let has_names = all.len() <= NAMED_MAX;
    let mut shards = Vec::new();
    let one = |((node, values), (_, behind)): (&ByMoment, &ByMoment)| {
        let shard = run.shard_of(*node);
        let is_first = !shards.contains(&shard);
        if is_first {
            shards.push(shard);
        }
        let lagged = behind.iter().any(|rounds| *rounds > LAGGED);
        let (label, colour) = match (has_names, is_first) {
            (true, _) => (format!("node {node}"), usize::from(node.0) % 8),
            (false, _) if lagged => (format!("node {node}"), 1),
            (false, true) => (format!("nodes of shard {shard}"), 0),
            (false, false) => (String::new(), 0),
        };
        let points = moments.iter().zip(values).map(|(moment, value)| Some((*moment, *value)));
        line(&label, colour, Shape::Line, points.collect())
    };
    all.iter().zip(behind).map(one).collect()
}
