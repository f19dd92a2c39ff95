//! The metrics: name, type, labels and meaning of each, and the source of its samples.
//!
//! Names end with their unit (seconds, bytes, or what is counted), counters with `_total`. docs/metrics.md repeats the
//! table for readers; a test compares the two.

use wire::envelope::LinkCounters;
use wire::ids::NodeId;
use wire::procfs::TICKS_PER_S;

use super::Scrape;
use super::meters::{Phase, Traffic};
use super::text::Samples;
use crate::child::Child;

/// One metric.
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
    pub(super) samples: fn(&Scrape, &mut Samples<'_>),
}

/// The types of metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// It only grows while the process runs.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Times in buckets.
    Histogram,
}

impl Kind {
    /// Its name in the format.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
    samples: fn(&Scrape, &mut Samples<'_>),
) -> Metric {
    Metric { name, kind, labels, help, samples }
}

use Kind::{Counter, Gauge, Histogram};

/// All metrics, in the order of the page.
pub(super) const METRICS: &[Metric] = &[
    metric(
        "testbed_node_info",
        Gauge,
        &["node", "shard", "version"],
        "Which node this is; always 1.",
        |scrape, samples| {
            let (node, shard) = (scrape.about.node, scrape.about.shard);
            samples.add(&[&node, &shard, &env!("CARGO_PKG_VERSION")], 1);
        },
    ),
    metric(
        "testbed_node_start_time_seconds",
        Gauge,
        &[],
        "When the node started, Unix time.",
        |scrape, samples| samples.add(&[], scrape.started.as_secs_f64()),
    ),
    // Agreement and execution.
    metric(
        "testbed_rounds_decided_total",
        Counter,
        &[],
        "Rounds decided since genesis.",
        |scrape, samples| samples.add(&[], scrape.snapshot.status.decided),
    ),
    metric(
        "testbed_rounds_executed_total",
        Counter,
        &[],
        "Rounds executed since genesis: the height.",
        |scrape, samples| samples.add(&[], scrape.snapshot.status.executed),
    ),
    metric(
        "testbed_rounds_behind",
        Gauge,
        &[],
        "Rounds that f+1 members have decided and that are not executed here.",
        |scrape, samples| samples.add(&[], scrape.snapshot.status.behind),
    ),
    metric(
        "testbed_history_lost",
        Gauge,
        &[],
        "1 if no member has the round any more that is to be executed next: the node takes over a checkpoint.",
        |scrape, samples| samples.add(&[], u8::from(scrape.snapshot.status.history_lost.is_some())),
    ),
    metric(
        "testbed_follows",
        Gauge,
        &[],
        "1 if the node may not sign, and only executes what the others decide.",
        |scrape, samples| samples.add(&[], u8::from(scrape.snapshot.status.follows)),
    ),
    metric(
        "testbed_takeovers_total",
        Counter,
        &[],
        "Checkpoints taken over since the node started.",
        |scrape, samples| samples.add(&[], scrape.snapshot.status.takeovers),
    ),
    metric("testbed_takeover_bytes_total", Counter, &[], "Bytes of these checkpoints.", |scrape, samples| {
        samples.add(&[], scrape.snapshot.status.takeover_bytes)
    }),
    metric(
        "testbed_messages_too_early_total",
        Counter,
        &[],
        "Messages of members that were ahead, dropped since they came too early to be kept.",
        |scrape, samples| samples.add(&[], scrape.snapshot.status.too_early),
    ),
    metric(
        "testbed_rounds_certified_total",
        Counter,
        &[],
        "Height up to which certificates of blocks are known.",
        |scrape, samples| samples.add(&[], scrape.snapshot.status.certified),
    ),
    metric("testbed_views_total", Counter, &[], "Views of all decided rounds.", |scrape, samples| {
        samples.add(&[], scrape.snapshot.status.views);
    }),
    metric(
        "testbed_view",
        Gauge,
        &[],
        "View of the agreement that runs, from 0; no sample while none runs.",
        |scrape, samples| {
            if let Some(view) = scrape.snapshot.status.view {
                samples.add(&[], view);
            }
        },
    ),
    metric(
        "testbed_phase_seconds",
        Histogram,
        &["phase"],
        "Time that rounds took: spb from our input to N-f FINISHes of the deciding view, coin from there to the coin, \
         decide from there to the decision, in rounds in which those FINISHes came; agreement all three, in rounds with \
         an input of ours; fetch from the decision to the execution.",
        |scrape, samples| {
            for phase in Phase::ALL {
                samples.add_histogram(&[&phase.name()], scrape.snapshot.meters.phase(phase));
            }
        },
    ),
    metric(
        "testbed_lane_entries_total",
        Counter,
        &[],
        "Lane entries in executed blocks.",
        |scrape, samples| samples.add(&[], scrape.snapshot.meters.entries),
    ),
    metric(
        "testbed_payload_bytes_total",
        Counter,
        &[],
        "Bytes of payloads in executed blocks.",
        |scrape, samples| samples.add(&[], scrape.snapshot.meters.payload_bytes),
    ),
    metric(
        "testbed_transactions_total",
        Counter,
        &["fate"],
        "Transactions by what became of them here: finished and rejected and expired as executed in this shard, \
         finished_cross and cancelled of those between shards that have their output here.",
        |scrape, samples| {
            let status = &scrape.snapshot.status;
            samples.add(&[&"finished"], status.finished);
            samples.add(&[&"finished_cross"], status.finished_cross);
            samples.add(&[&"rejected"], status.rejected);
            samples.add(&[&"expired"], status.expired);
            samples.add(&[&"cancelled"], status.cancelled);
        },
    ),
    metric("testbed_coins", Gauge, &[], "Unspent coins of the shard.", |scrape, samples| {
        samples.add(&[], scrape.snapshot.status.coins);
    }),
    // Backlogs.
    metric("testbed_mempool_transactions", Gauge, &[], "Transactions in the mempool.", |scrape, samples| {
        samples.add(&[], scrape.snapshot.status.mempool)
    }),
    metric(
        "testbed_lane_open_entries",
        Gauge,
        &[],
        "Own lane entries beyond the decided cut.",
        |scrape, samples| samples.add(&[], scrape.snapshot.status.lane_open),
    ),
    metric(
        "testbed_pool_transactions",
        Gauge,
        &[],
        "Transactions between shards that wait here, at their output shard, for input shards.",
        |scrape, samples| samples.add(&[], scrape.snapshot.status.pool),
    ),
    metric(
        "testbed_open_records",
        Gauge,
        &[],
        "Transactions between shards that have spent here and whose output shard has not decided, as far as is known \
         here.",
        |scrape, samples| samples.add(&[], scrape.snapshot.status.open_records),
    ),
    metric(
        "testbed_open_parts",
        Gauge,
        &[],
        "Parts for other shards that are not known to be executed there.",
        |scrape, samples| samples.add(&[], scrape.snapshot.status.parts_open),
    ),
    // Between shards.
    metric(
        "testbed_parts_total",
        Counter,
        &["shard", "direction"],
        "Parts sent to another shard, and executed that came from there.",
        |scrape, samples| {
            for exchange in &scrape.snapshot.status.exchanged {
                samples.add(&[&exchange.shard, &"out"], exchange.part_out);
                samples.add(&[&exchange.shard, &"in"], exchange.part_in);
            }
        },
    ),
    metric(
        "testbed_exchanged_transactions_total",
        Counter,
        &["shard", "event"],
        "Transactions between this shard and another, or itself: with their output there, spent here, closed since they \
         finished, refunded; with inputs there, ticked here, finished, cancelled.",
        |scrape, samples| {
            for exchange in &scrape.snapshot.status.exchanged {
                for (event, sum) in [
                    ("spent", exchange.spent),
                    ("closed", exchange.closed),
                    ("refunded", exchange.refunded),
                    ("ticked", exchange.ticked),
                    ("finished", exchange.finished),
                    ("cancelled", exchange.cancelled),
                ] {
                    samples.add(&[&exchange.shard, &event], sum.count);
                }
            }
        },
    ),
    // The network.
    metric(
        "testbed_peers",
        Gauge,
        &["link"],
        "Peers with a session: out, those that this node dialled; in, those that dialled it.",
        |scrape, samples| {
            samples.add(&[&"out"], scrape.snapshot.status.peers_out.len());
            samples.add(&[&"in"], scrape.snapshot.status.peers_in.len());
        },
    ),
    metric(
        "testbed_clients",
        Gauge,
        &[],
        "Connected clients that have asked for something but the status.",
        |scrape, samples| samples.add(&[], scrape.snapshot.clients),
    ),
    metric(
        "testbed_messages_total",
        Counter,
        &["direction", "kind"],
        "Messages of the protocol by kind: received from peers, and sent, each once whatever the number of recipients.",
        |scrape, samples| {
            let meters = &scrape.snapshot.meters;
            add_traffic(samples, "sent", &meters.sent, |messages, _| messages);
            add_traffic(samples, "received", &meters.received, |messages, _| messages);
        },
    ),
    metric(
        "testbed_message_bytes_total",
        Counter,
        &["direction", "kind"],
        "Bytes of those messages.",
        |scrape, samples| {
            let meters = &scrape.snapshot.meters;
            add_traffic(samples, "sent", &meters.sent, |_, bytes| bytes);
            add_traffic(samples, "received", &meters.received, |_, bytes| bytes);
        },
    ),
    metric(
        "testbed_frames_total",
        Counter,
        &["peer", "link", "kind"],
        "Frames on the link with each peer. On a link that this node dialled (out) data goes out and acks come in; on \
         one that the peer dialled (in) the other way round. Frames sent again count again.",
        |scrape, samples| {
            for (link, peer, counters) in links(scrape) {
                let LinkCounters { data_sent, data_received, ack_sent, ack_received, .. } = counters;
                samples.add(&[&peer, &link, &"data"], data_sent + data_received);
                samples.add(&[&peer, &link, &"ack"], ack_sent + ack_received);
            }
        },
    ),
    metric(
        "testbed_link_bytes_total",
        Counter,
        &["peer", "link"],
        "Bytes on the link with each peer, framing included: of a link out those sent, of a link in those of both \
         directions.",
        |scrape, samples| {
            for (link, peer, counters) in links(scrape) {
                samples.add(&[&peer, &link], counters.bytes);
            }
        },
    ),
    metric(
        "testbed_unconfirmed_frames",
        Gauge,
        &["peer"],
        "Frames sent to the peer that it has not acknowledged.",
        |scrape, samples| {
            for (peer, counters) in links_of(scrape, Child::NetClient) {
                samples.add(&[&peer], counters.unconfirmed);
            }
        },
    ),
    metric(
        "testbed_outbox_bytes",
        Gauge,
        &["peer"],
        "Bytes that wait for the peer: to be sent, or to be acknowledged.",
        |scrape, samples| {
            for (peer, counters) in links_of(scrape, Child::NetClient) {
                samples.add(&[&peer], counters.queued_bytes);
            }
        },
    ),
    metric(
        "testbed_frames_dropped_total",
        Counter,
        &["peer"],
        "Frames for the peer that were dropped since its outbox was full, or too much waited on the way to net_client.",
        |scrape, samples| {
            for (peer, counters) in links_of(scrape, Child::NetClient) {
                samples.add(&[&peer], counters.dropped);
            }
        },
    ),
    metric(
        "testbed_queue_bytes",
        Gauge,
        &["queue"],
        "Bytes that wait between the processes: inbound for the round loop, to_net_client and to_net_server for those.",
        |scrape, samples| {
            samples.add(&[&"inbound"], scrape.inbound_bytes);
            for (child, figures) in &scrape.snapshot.children {
                samples.add(&[&format_args!("to_{}", child.name())], figures.waiting_bytes);
            }
        },
    ),
    metric(
        "testbed_refused_total",
        Counter,
        &["reason"],
        "Connections refused, frames thrown away, requests not understood and listeners that broke a rule, by reason. \
         Reasons that never occurred have no sample.",
        |scrape, samples| {
            for (reason, count) in &scrape.snapshot.status.refused {
                samples.add(&[reason], count);
            }
        },
    ),
    metric(
        "testbed_faults_total",
        Counter,
        &["peer", "kind"],
        "Misbehaviour of peers, by kind; `too_far_ahead` and `flood` may also be a correct peer's that is far ahead. What never \
         occurred has no sample.",
        |scrape, samples| {
            for ((kind, peer), count) in &scrape.snapshot.faults {
                samples.add(&[peer, &kind.name()], count);
            }
        },
    ),
    // The processes.
    metric(
        "testbed_child_restarts_total",
        Counter,
        &["process"],
        "How often a child process was started again.",
        |scrape, samples| {
            for (child, figures) in &scrape.snapshot.children {
                samples.add(&[&child.name()], figures.restarts);
            }
        },
    ),
    metric(
        "testbed_process_cpu_seconds_total",
        Counter,
        &["process"],
        "Processor time, user and system, of each of the three processes; a child that is started again begins anew.",
        |scrape, samples| {
            for (name, process, _) in &scrape.processes {
                samples.add(&[name], process.cpu_ticks as f64 / TICKS_PER_S as f64);
            }
        },
    ),
    metric(
        "testbed_process_resident_memory_bytes",
        Gauge,
        &["process"],
        "Resident memory of each of the three processes.",
        |scrape, samples| {
            for (name, _, memory) in &scrape.processes {
                samples.add(&[name], memory.resident_bytes);
            }
        },
    ),
];

fn add_traffic(
    samples: &mut Samples<'_>,
    direction: &str,
    traffic: &Traffic,
    figure: impl Fn(u64, u64) -> u64,
) {
    for (kind, messages, bytes) in traffic.all() {
        samples.add(&[&direction, &kind.name()], figure(messages, bytes));
    }
}

/// The links of both children, with the name of their direction.
fn links(scrape: &Scrape) -> impl Iterator<Item = (&'static str, NodeId, LinkCounters)> {
    [("out", Child::NetClient), ("in", Child::NetServer)].into_iter().flat_map(move |(name, child)| {
        links_of(scrape, child).map(move |(peer, counters)| (name, peer, counters))
    })
}

fn links_of(scrape: &Scrape, child: Child) -> impl Iterator<Item = (NodeId, LinkCounters)> {
    let links = scrape.snapshot.links.get(&child).into_iter().flatten();
    links.map(|(peer, counters)| (*peer, *counters))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The row of a metric in docs/metrics.md.
    fn row(metric: &Metric) -> String {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} | {} |", metric.name, metric.kind.name(), labels.join(", "), metric.help)
    }

    #[test]
    fn the_documentation_has_exactly_one_row_a_metric() {
        let documented: Vec<&str> = include_str!("../../../docs/metrics.md")
            .lines()
            .filter(|line| line.starts_with("| `testbed_"))
            .collect();
        let rows: Vec<String> = METRICS.iter().map(row).collect();
        for row in &rows {
            assert!(documented.contains(&row.as_str()), "docs/metrics.md lacks this row:\n{row}");
        }
        for row in &documented {
            assert!(rows.iter().any(|known| known == row), "docs/metrics.md has a row of no metric:\n{row}");
        }
        let misplaced = documented.iter().zip(&rows).find(|(row, expected)| row != expected);
        assert!(misplaced.is_none(), "docs/metrics.md has this row elsewhere: {misplaced:?}");
        assert_eq!(documented.len(), rows.len(), "docs/metrics.md has a row twice");
    }

    #[test]
    fn names_follow_the_conventions() {
        for (at, metric) in METRICS.iter().enumerate() {
            let name = metric.name;
            assert!(name.starts_with("testbed_") && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert!(!name.contains("_ms") && !name.contains("_us"), "{name}: base units");
            assert!(!metric.labels.contains(&"le"), "{name}: the format's own label");
            assert!(metric.help.ends_with('.'), "{name}");
            assert!(METRICS[..at].iter().all(|other| other.name != name), "{name} is there twice");
        }
    }
}
