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
    "Seconds for which load is offered; 10 unless --rounds is given, or 4 more than --faults last if that is longer. If both \
     are given, what comes first ends it.",
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
pub(crate) const SHARE: Opt = Opt::with(
    "share",
    "all|backup|none",
    "backup",
    "Which other members of its shard hold copies of transactions that wait at a node, and propose them if it falls silent: \
     all, the next f that are connected (backup), or none.",
);
pub(crate) const LIMITS: Opt = Opt::without_default(
    "limits",
    "LIST",
    "Memory and time limits of nodes that differ from the defaults, e.g. clients=1000,outbox-bytes=134217728. See LIMITS.",
);
pub(crate) const FAULTS: Opt = Opt::with(
    "faults",
    "LIST",
    "none",
    "What fails when, and for how long, e.g. crash:3@3,restart:3@6,pause:2@13+3. See FAULTS.",
);
pub(crate) const TRANSACTIONS: Opt = Opt::switch(
    "transactions",
    "Writes a line for each transaction to LOG_DIR/transactions.csv: when it was meant to be sent, when it was sent, its \
     receipt, its fate. Of more than 10000 a second one in so many, as each line shows; of --rate max one in 32.",
);
pub(crate) const WATCH: Opt = Opt::switch(
    "watch",
    "Shows load, nodes and faults to come on the whole terminal, with keys that pause, kill, cut off and restart a node. \
     Prints lines if standard output is no terminal.",
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
    "A comma-separated list of NAME:WHAT@T for what is done at once, and NAME:WHAT@T+D for what lasts D seconds; times are in \
     seconds since the load begins. IDS are a list of nodes such as 0-3+8. SIDES are lists of nodes, as in 0+1/2+3 or, in \
     one direction, 0+1>2. docs/faults.md has what must hold under each.\n\
     crash:IDS@T            kill -9 of all three processes of a node, which is down until a restart; with +D one comes then\n\
     kill-core:IDS@T        kill -9 of its first process, with which the others end; as crash\n\
     kill-client:IDS@T      kill -9 of its net_client, which the node restarts\n\
     kill-server:IDS@T      kill -9 of its net_server, which the node restarts\n\
     restart:IDS@T          its start from its journal, after a crash of it if it runs; without one it only follows\n\
     pause:IDS@T+D          its processes stand still (SIGSTOP); pause-core, pause-client, pause-server: one of them does\n\
     slow-node:IDS=P%@T+D   its processes run P of each 100 ms\n\
     byzantine:IDS=WHAT     they attack the others from beginning to end; WHAT is mute, equivocate, withhold, forge, bad-share, \
     wrong-vote, invalid, stale, flood, garbage or false-reject\n\
     disk-full:IDS@T+D      none of its writes to files succeeds; it ends, and starts from its journal when there is room\n\
     partition:SIDES@T+D    links between the sides are cut: nothing passes\n\
     slow:SIDES=HOW@T+D     links between the sides are slow: 200ms later, 10mbit a second, or 200ms/10mbit\n\
     every:S                repeats the faults before it every S seconds, as far back as the list or another every goes\n\
     random:COUNT           adds random faults, drawn from --seed, of at most f nodes of a shard at a time",
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
     clients-per-ip          64, from 1 to 1000000\n\
     clients-per-loopback    no limit, from 1\n\
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
    use bft::sim::Conduct;

    use super::*;

    #[test]
    fn the_page_names_all_behaviours_of_byzantine_nodes() {
        let (_, text) = FAULTS_SECTION;
        let line = text.lines().find(|line| line.trim_start().starts_with("byzantine:")).unwrap();
        let names = line.rsplit_once("WHAT is ").unwrap().1.replace(" or ", ", ");
        assert_eq!(names, Conduct::ALL.map(Conduct::name).join(", "));
    }

    #[test]
    fn the_page_names_all_limits_with_defaults_and_ranges() {
        let (_, text) = LIMITS_SECTION;
        assert!(text.ends_with(&wire::limits::local::help()), "{}", wire::limits::local::help());
    }
}
