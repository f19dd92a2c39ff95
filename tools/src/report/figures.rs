//! The figures of one run, in the order of the questions that a researcher has: did it keep up, how long did a
//! transaction take, where did the time go, were all nodes level, what did it cost.

mod latency;
mod resources;
mod round_diagram;
mod rounds;
mod throughput;
mod traffic;
mod transaction_diagram;

pub(super) use self::latency::{cdf, cdf_plot};
pub(super) use self::throughput::committed;

use std::sync::Arc;

use wire::ids::{NodeId, ShardId};

use super::figure::Figure;
use super::recorded::{Journals, Recorded};
use super::run::RunFiles;
use crate::json::Json;
use crate::keygen::load_committee;

/// All figures that the run has the files for. Those of single rounds and transactions are made from journals, if there
/// are any.
pub(super) fn all(run: &mut RunFiles, journals: Option<&Journals>) -> Vec<Figure> {
    let seen = journals.and_then(|journals| {
        let seen = Seen::of(run, journals);
        seen.map_err(|why| run.missing.push(format!("no rounds and transactions message by message: {why}")))
            .ok()
    });
    let run = &*run;
    let (mut round, mut hops, mut transaction) = (None, None, None);
    if let Some(Seen { chosen, recorded }) = &seen {
        round = round_diagram::figure(run, chosen, recorded);
        (hops, transaction) = transaction_diagram::figures(run, recorded);
    }
    let figures = [
        throughput::over_time(run),
        throughput::latency_over_time(run),
        latency::distribution(run),
        latency::hops(run),
        hops,
        rounds::phases(run),
        round,
        transaction,
        rounds::views(run),
        rounds::heights(run),
        traffic::by_kind(run),
        traffic::by_link(run),
        resources::processes(run),
    ];
    figures.into_iter().flatten().collect()
}

/// A stretch of the run, message by message, around a round.
struct Seen {
    chosen: round_diagram::Chosen,
    recorded: Recorded,
}

/// How long before the chosen round the stretch begins, milliseconds, beside the time that the round took.
const BEFORE_MS: f64 = 200.0;
/// How long it goes on after the round, for transactions of one shard and of several: some median latencies.
const AFTER_LATENCIES: f64 = 3.0;
/// It never goes on for less or longer.
const AFTER_MS_MIN: f64 = 500.0;
const AFTER_MS_MAX: f64 = 2_000.0;
/// The replays of more nodes would take minutes, and a diagram of them would show nothing.
const NODES_MAX: usize = 32;
/// Of more shards, only the first ones are looked at.
const SHARDS_MAX: u16 = 2;

impl Seen {
    /// # Errors
    /// In words, if it cannot be read.
    fn of(run: &RunFiles, journals: &Journals) -> Result<Seen, String> {
        if let Some(Json::Text(durability)) = run.at(&["options", "durability"])
            && durability == "off"
        {
            return Err("the nodes wrote no journals (--durability off)".into());
        }
        let committee = load_committee(&journals.directories.keys().join("committee.txt"));
        let committee = Arc::new(committee.map_err(|error| error.to_string())?);
        let testbed = Json::text(committee.testbed().to_string());
        if run.at(&["testbed"]).is_none_or(|of_run| *of_run != testbed) {
            return Err(format!("{} is of another testbed", journals.directories.data.display()));
        }
        let chosen = round_diagram::choose(run).ok_or("no round has an input of every member of shard 0")?;
        let p50 = run.number(&["latency_cross_ms", "p50"]).or(run.number(&["latency_ms", "p50"]));
        let after_ms = (p50.unwrap_or_default() * AFTER_LATENCIES).clamp(AFTER_MS_MIN, AFTER_MS_MAX);
        let (first_ms, last_ms) = chosen.executed_ms;
        let us = |ms: f64| (ms * 1e3) as i64;
        let stretch = us(first_ms as f64 - chosen.took_ms - BEFORE_MS)..us(last_ms as f64 + after_ms);
        let shards = committee.shards().min(SHARDS_MAX);
        let nodes: Vec<NodeId> = (0..shards).flat_map(|shard| committee.members(ShardId(shard))).collect();
        if nodes.len() > NODES_MAX {
            return Err(format!("only those of at most {NODES_MAX} nodes are replayed for it"));
        }
        let recorded = Recorded::of(journals, &committee, run, &nodes, &stretch)?;
        Ok(Seen { chosen, recorded })
    }
}
