//! The table of compared figures, each with its path in a summary and its better direction.

/// A figure of a run.
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    /// Which way is better.
    pub(super) better: Better,
    /// Its path in a summary: names of fields, from the outermost.
    pub(super) field: &'static [&'static str],
    pub(super) grain: Grain,
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

/// The resolution of a figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Grain {
    /// That of the measurement.
    Exact,
    /// A histogram bucket, whose end is reported; milliseconds.
    Bucket,
}

const fn figure(
    name: &'static str,
    unit: &'static str,
    better: Better,
    field: &'static [&'static str],
) -> Figure {
    Figure { name, unit, better, field, grain: Grain::Exact }
}

/// A quantile of latencies.
const fn quantile(name: &'static str, field: &'static [&'static str]) -> Figure {
    Figure { grain: Grain::Bucket, ..figure(name, "ms", Better::Less, field) }
}

use Better::{Less, More, Neither};

/// All figures, in the order of the report.
pub(super) const FIGURES: &[Figure] = &[
    figure("offered", "tx/s", Neither, &["offered_tps"]),
    figure("committed", "tx/s", More, &["tps"]),
    quantile("latency p50", &["latency_ms", "p50"]),
    quantile("latency p90", &["latency_ms", "p90"]),
    quantile("latency p99", &["latency_ms", "p99"]),
    figure("latency max", "ms", Less, &["latency_ms", "max"]),
    quantile("within a shard p50", &["latency_intra_ms", "p50"]),
    quantile("within a shard p99", &["latency_intra_ms", "p99"]),
    quantile("between shards p50", &["latency_cross_ms", "p50"]),
    quantile("between shards p99", &["latency_cross_ms", "p99"]),
    quantile("rejection p50", &["rejection_ms", "p50"]),
    quantile("rejection p99", &["rejection_ms", "p99"]),
    figure("rounds", "1/s", Neither, &["rounds_per_s"]),
    quantile("agreement p50", &["round_ms", "p50"]),
    quantile("agreement p99", &["round_ms", "p99"]),
    figure("views a round", "", Less, &["views_per_round"]),
    figure("network", "B/tx", Less, &["bytes_per_tx"]),
    figure("CPU of node", "µs/tx", Less, &["cpu_us_per_tx", "node"]),
    figure("CPU of net_client", "µs/tx", Less, &["cpu_us_per_tx", "net_client"]),
    figure("CPU of net_server", "µs/tx", Less, &["cpu_us_per_tx", "net_server"]),
    figure("CPU of tools", "µs/tx", Less, &["cpu_us_per_tx", "tools"]),
    figure("memory of node", "MB", Less, &["peak_mb", "node"]),
    figure("memory of net_client", "MB", Less, &["peak_mb", "net_client"]),
    figure("memory of net_server", "MB", Less, &["peak_mb", "net_server"]),
    figure("never sent", "tx", Less, &["unsent"]),
    figure("rejected", "tx", Neither, &["rejected"]),
    figure("rejected unexpectedly", "tx", Less, &["rejected_unexpected"]),
    figure("chains in doubt", "", Less, &["chains_doubtful"]),
    figure("chains stopped", "", Less, &["chains_dead"]),
    figure("expired", "tx", Less, &["expired"]),
    figure("refused", "tx", Less, &["refused"]),
    figure("in flight", "tx", Less, &["in_flight"]),
    figure("orphaned", "tx", Less, &["orphaned"]),
    figure("lost", "tx", Less, &["lost"]),
    figure("duplicated", "tx", Less, &["duplicated"]),
    figure("frames dropped", "", Less, &["frames_dropped"]),
    figure("restarts", "", Less, &["restarts"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Json;

    #[test]
    fn each_figure_stands_in_a_summary() {
        let summary = crate::run::made_up().to_json();
        for figure in
            FIGURES.iter().filter(|figure| !matches!(figure.field, ["cpu_us_per_tx" | "peak_mb", _]))
        {
            let mut value = &summary;
            for name in figure.field {
                let Json::Object(fields) = value else { panic!("{name} of {} is in no object", figure.name) };
                let found = fields.iter().find(|(field, _)| field == name);
                value = &found.unwrap_or_else(|| panic!("{}: no {name}", figure.name)).1;
            }
        }
    }
}
