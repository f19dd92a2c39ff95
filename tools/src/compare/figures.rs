//! What is compared: a table of figures, with where each stands in a summary and which way is better.

/// A figure of a run.
pub(super) struct Figure {
    /// What it is called.
    pub(super) name: &'static str,
    /// Its unit.
    pub(super) unit: &'static str,
    /// Which way is better.
    pub(super) better: Better,
    /// Where it stands.
    pub(super) source: Source,
}

/// Which way a figure is better.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Better {
    /// The more the better.
    More,
    /// The less the better.
    Less,
    /// It depends.
    Neither,
}

/// Where a figure stands in a summary: names of fields, from the outermost.
pub(super) enum Source {
    /// A number.
    At(&'static [&'static str]),
    /// One number by another, the other being positive.
    Per(&'static [&'static str], &'static [&'static str]),
}

const fn figure(name: &'static str, unit: &'static str, better: Better, source: Source) -> Figure {
    Figure { name, unit, better, source }
}

use Better::{Less, More, Neither};
use Source::{At, Per};

/// All figures, in the order in which they are told.
pub(super) const FIGURES: &[Figure] = &[
    figure("offered", "tx/s", Neither, At(&["offered_tps"])),
    figure("committed", "tx/s", More, At(&["tps"])),
    figure("latency p50", "ms", Less, At(&["latency_ms", "p50"])),
    figure("latency p90", "ms", Less, At(&["latency_ms", "p90"])),
    figure("latency p99", "ms", Less, At(&["latency_ms", "p99"])),
    figure("latency max", "ms", Less, At(&["latency_ms", "max"])),
    figure("within a shard p50", "ms", Less, At(&["latency_intra_ms", "p50"])),
    figure("within a shard p99", "ms", Less, At(&["latency_intra_ms", "p99"])),
    figure("between shards p50", "ms", Less, At(&["latency_cross_ms", "p50"])),
    figure("between shards p99", "ms", Less, At(&["latency_cross_ms", "p99"])),
    figure("rejection p50", "ms", Less, At(&["rejection_ms", "p50"])),
    figure("rejection p99", "ms", Less, At(&["rejection_ms", "p99"])),
    figure("rounds", "1/s", Neither, Per(&["rounds"], &["duration_s"])),
    figure("agreement p50", "ms", Less, At(&["round_ms", "p50"])),
    figure("agreement p99", "ms", Less, At(&["round_ms", "p99"])),
    figure("views a round", "", Less, Per(&["views"], &["rounds"])),
    figure("network", "B/tx", Less, Per(&["bytes_sent"], &["committed"])),
    figure("CPU of node", "µs/tx", Less, At(&["cpu_us_per_tx", "node"])),
    figure("CPU of net_client", "µs/tx", Less, At(&["cpu_us_per_tx", "net_client"])),
    figure("CPU of net_server", "µs/tx", Less, At(&["cpu_us_per_tx", "net_server"])),
    figure("CPU of tools", "µs/tx", Less, At(&["cpu_us_per_tx", "tools"])),
    figure("memory of node", "MB", Less, At(&["peak_mb", "node"])),
    figure("memory of net_client", "MB", Less, At(&["peak_mb", "net_client"])),
    figure("memory of net_server", "MB", Less, At(&["peak_mb", "net_server"])),
    figure("rejected", "tx", Neither, At(&["rejected"])),
    figure("expired", "tx", Less, At(&["expired"])),
    figure("refused", "tx", Less, At(&["refused"])),
    figure("in flight", "tx", Less, At(&["in_flight"])),
    figure("orphaned", "tx", Less, At(&["orphaned"])),
    figure("lost", "tx", Less, At(&["lost"])),
    figure("duplicated", "tx", Less, At(&["duplicated"])),
    figure("frames dropped", "", Less, At(&["frames_dropped"])),
    figure("restarts", "", Less, At(&["restarts"])),
];
