//! What a screen shows, from what a run knows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use wire::ids::NodeId;

use super::screen::{Node, View};
use crate::lag::{Heard, grouped};
use crate::load::{Rate, Shared};
use crate::procfs;
use crate::run::{Reading, Run};

/// What the processes of a node use.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Used {
    /// Of one processor, per cent.
    pub(super) cpu_percent: f64,
    pub(super) memory_mb: f64,
}

/// Processor time of each process when it was last looked at.
#[derive(Default)]
pub(super) struct Usage {
    last: Option<(Instant, Ticks)>,
}

/// By node and program.
type Ticks = BTreeMap<(NodeId, String), u64>;

/// Hosts are looked at every two seconds: over shorter times a share would count none of such a period or all of it.
const PAUSE: Duration = Duration::from_secs(2);

impl Usage {
    /// What each node has used since it was last looked at; `None` too soon after that.
    pub(super) fn look(&mut self, readings: impl FnOnce() -> Vec<Reading>) -> Option<BTreeMap<NodeId, Used>> {
        if self.last.as_ref().is_some_and(|(at, _)| at.elapsed() < PAUSE) {
            return None;
        }
        let (last, mut ticks) = (self.last.take(), Ticks::new());
        let mut used: BTreeMap<NodeId, Used> = BTreeMap::new();
        for Reading { node, program, cpu_ticks, resident_bytes, .. } in readings() {
            let used = used.entry(node).or_default();
            used.memory_mb += resident_bytes.map_or(0.0, |bytes| bytes as f64 / 1e6);
            let process = (node, program);
            if let Some((at, last)) = &last {
                // One that was started anew counts from zero.
                let since = cpu_ticks.saturating_sub(last.get(&process).copied().unwrap_or(cpu_ticks));
                let seconds = since as f64 / procfs::TICKS_PER_S as f64;
                used.cpu_percent += 100.0 * seconds / at.elapsed().as_secs_f64();
            }
            ticks.insert(process, cpu_ticks);
        }
        self.last = Some((Instant::now(), ticks));
        Some(used)
    }
}

/// The present of a run.
pub(super) fn view(
    run: &Run<'_>,
    elapsed: Duration,
    chosen: NodeId,
    used: &BTreeMap<NodeId, Used>,
    messages: Vec<String>,
) -> View {
    let (plan, up) = (run.plan, run.fleet.up());
    let shards = match plan.shards {
        1 => format!("{} nodes", plan.nodes_in_all()),
        shards => format!("{} nodes in {shards} shards", plan.nodes_in_all()),
    };
    let rate = match plan.load.rate {
        Rate::PerSecond(rate) => format!("{} tx/s offered", grouped(rate)),
        Rate::Max => "as much load as they take".into(),
    };
    let last = run.series.last();
    run.offering.look_at(|shared| View {
        title: format!("{shards}, {rate}, transactions of {} bytes", plan.load.tx_bytes),
        elapsed,
        duration: plan.load.duration,
        rates: run
            .series
            .iter()
            .map(|section| (section.committed as f64 / section.seconds()) as u64)
            .collect(),
        latency_ms: last.and_then(|section| section.latency_us).map(|all| all.map(|us| us as f64 / 1e3)),
        committed: shared.tally.committed,
        open: shared.in_flight,
        rejected: shared.tally.rejected_count(),
        nodes: (0..plan.nodes_in_all()).map(|id| node(run, shared, &up, NodeId(id), used)).collect(),
        chosen,
        to_come: run.to_come(elapsed),
        messages,
    })
}

fn node(run: &Run<'_>, shared: &Shared, up: &[NodeId], id: NodeId, used: &BTreeMap<NodeId, Used>) -> Node {
    let lags = shared.lags([id]);
    let is_up = up.contains(&id);
    let heard = shared.statuses.get(&id).map(|Heard { status, .. }| status);
    let mut troubles = run.troubles(id);
    troubles.extend(run.liars.get(&id).map(|conduct| format!("Byzantine {}", conduct.name())));
    let (state, ails) = match lags.silent.get(&id) {
        _ if !is_up => ("down".into(), true),
        _ if !troubles.is_empty() => (troubles.join(", "), true),
        Some(Some(age)) => (format!("silent for {} s", age.as_secs()), true),
        Some(None) => ("silent".into(), true),
        None if lags.follow.contains(&id) => ("only follows".into(), true),
        None if lags.behind.contains_key(&id) => ("behind".into(), true),
        None => ("up".into(), false),
    };
    let used = used.get(&id).filter(|_| is_up);
    Node {
        id,
        state,
        ails,
        round: heard.map(|status| status.executed.0),
        behind: lags.behind.get(&id).copied().unwrap_or(0),
        mempool: heard.map_or(0, |status| status.mempool),
        peers: heard.map_or(0, |status| status.peers_up.len()),
        sent_mb: heard.map_or(0.0, |status| status.bytes_sent as f64 / 1e6),
        cpu_percent: used.map(|used| used.cpu_percent),
        memory_mb: used.map(|used| used.memory_mb),
    }
}
