//! The options that every run has, and what the manual pages of runs have in common.

use crate::flags::{Opt, Range, UsageError, Values};
use crate::keygen::SHARDS_RANGE;

pub(crate) const SHARDS: Opt = Opt::with(
    "shards",
    "K",
    "1",
    "Shards of N nodes each; node ids are shard × N + place. N × K is at most 1024.",
)
.within(SHARDS_RANGE);
/// Memory for history, MiB.
pub(crate) const HISTORY_MIB: Range = Range::whole(1, 1 << 20);
pub(crate) const DURATION: Opt = Opt::without_default(
    "duration",
    "S",
    "Seconds for which load is offered; 10 unless --rounds is given. If both are given, what comes first ends it.",
)
.within(Range::PositiveSeconds);
pub(crate) const ROUNDS: Opt =
    Opt::without_default("rounds", "R", "Blocks of every shard after which no more load is offered.")
        .within(Range::whole(1, u64::MAX));
pub(crate) const SIGNED: Opt = Opt::switch(
    "signed",
    "Transactions carry the signatures of the owners of the coins they spend, which every node verifies.",
);
pub(crate) const BATCH: Opt = Opt::with(
    "batch",
    "B",
    "30000",
    "Most transactions in one proposal; proposals adapt to the load below it.",
)
.within(Range::whole(1, 1_000_000));
pub(crate) const PIPELINE: Opt =
    Opt::with("pipeline", "W", "8", "Proposals that a node may have under way beyond the last decided cut.")
        .within(Range::whole(1, 64));
pub(crate) const LIMITS: Opt = Opt::without_default(
    "limits",
    "LIST",
    "Memory and time limits of nodes that differ from the defaults, e.g. clients=1000,outbox-bytes=134217728. See LIMITS.",
);
pub(crate) const FAULTS: Opt = Opt::with(
    "faults",
    "LIST",
    "none",
    "What is done to which node when, e.g. crash:3@3,restart:3@6,kill-client:0+1@5. See FAULTS.",
);
pub(crate) const TRANSACTIONS: Opt = Opt::switch(
    "transactions",
    "Writes a line for each transaction to LOG_DIR/transactions.csv: when it was meant to be sent, when it was sent, its \
     receipt, its fate. Of more than 10000 a second one in so many, as each line shows; of --rate max one in 32.",
);
pub(crate) const LOG_DIR: Opt =
    Opt::with("log-dir", "DIR", "log", "Logs and the other FILES. An earlier run's are replaced.");

pub(crate) const FOLLOW: Opt = Opt::without_default(
    "follow",
    "IDS",
    "These nodes, whose journals are damaged or lost, go on without them and only follow. What they have signed is not \
     known any more, so they sign nothing, take no transactions, and count against f: at most f of a shard.",
);

/// How durable the journals of nodes are to be, if they are to have any.
pub(crate) fn durability(values: &Values) -> Result<Option<&'static str>, UsageError> {
    values.value("durability", "off, process or power", |text| match text {
        "off" => Some(None),
        "process" => Some(Some("process")),
        "power" => Some(Some("power")),
        _ => None,
    })
}

/// The grammar of `--faults`.
pub(crate) const FAULTS_SECTION: (&str, &str) = (
    "FAULTS",
    "A comma-separated list of NAME:IDS@SECONDS; IDS are a list of nodes such as 0-3+8, time counts from the beginning of the \
     load.\n\
     crash        kill -9 of all three processes of the node, which stays dead unless a restart follows\n\
     restart      its start from its journal, after a crash of it if it runs; not with --durability off\n\
     kill-client  kill -9 of its net_client, which the node restarts\n\
     kill-server  kill -9 of its net_server, which the node restarts",
);
/// The grammar of `--limits`.
pub(crate) const LIMITS_SECTION: (&str, &str) = (
    "LIMITS",
    "A comma-separated list of NAME=VALUE, for all nodes; wire/src/limits.rs explains each. The names, \
     what holds without them, and the values that they may have:\n\
     mempool-transactions    400000, from 1 to 100000000\n\
     mempool-bytes           268435456, from 65536 to 68719476736\n\
     mempool-client-percent  50, from 1 to 100\n\
     mempool-peers-percent   50, from 1 to 100\n\
     lane-open-bytes         33554432, from 8388608 to 1073741824\n\
     history-rounds          100000, from 1 to 100000000\n\
     outbox-bytes            67108864, from 16777216 to 68719476736\n\
     ping-interval-ms        1000, from 10 to 86400000\n\
     ping-timeout-ms         10000, from 10 to 86400000\n\
     dial-backoff-ms         10000, from 100 to 86400000\n\
     handshake-time-ms       3000, from 1 to 86400000\n\
     handshakes              64, from 1 to 1000000\n\
     handshakes-per-ip       8, from 1 to 1000000\n\
     accepts-per-s           100, from 1 to 1000000\n\
     clients                 256, from 1 to 1000000\n\
     client-idle-ms          60000, from 1 to 86400000\n\
     client-unread-bytes     4194304, from 65536 to 1073741824\n\
     clients-unread-bytes    16777216, from 65536 to 68719476736\n\
     clients-frame-bytes     16777216, from 4194304 to 68719476736\n\
     queue-clients-bytes     4194304, from 65536 to 1073741824\n\
     queue-peers-bytes       16777216, from 65536 to 1073741824\n\
     peer-bytes-per-s        no limit, from 1\n\
     peer-silence-ms         15000, from 1 to 86400000\n\
     ack-delay-ms            10, from 1 to 1000\n\
     segment-bytes           67108864, from 65536 to 17179869184\n\
     snapshot-after-bytes    268435456, from 65536 to 1099511627776\n\
     journal-kept-bytes      4294967296, from 0 to 1099511627776",
);
/// The exit codes of a run.
pub(crate) const EXIT_STATUS: (&str, &str) = (
    "EXIT STATUS",
    "0    all well\n\
     1    nodes or shards disagree, a coin was made or lost, or a transaction was lost, left open, or rejected for no \
     reason\n\
     2    usage\n\
     3    nothing was committed although valid transactions were offered\n\
     4    the testbed could not be started\n\
     130  interrupted, after the summary",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_all_limits_with_defaults_and_ranges() {
        let (_, text) = LIMITS_SECTION;
        assert!(text.ends_with(&wire::limits::local::help()), "{}", wire::limits::local::help());
    }
}
