//! The options of `tools local`.

use wire::limits::{HISTORY_BYTES_MAX, NODES_PER_SHARD_MAX};

use crate::flags::{Command, Invocation, Opt, Range, UsageError, Values};
use crate::keygen;
use crate::load::{CROSS, EXPIRY_ROUNDS, HAND_ON, INVALID, RATE, SEED, TX_SIZE, WARMUP};
use crate::procfs;
use crate::run::{
    self, BATCH, Begins, DURATION, EXIT_STATUS, FAULTS, FAULTS_SECTION, FOLLOW, HISTORY_MIB, LIMITS,
    LIMITS_SECTION, LOG_DIR, PIPELINE, ROUNDS, RunPlan, SHARDS, SHARE, SIGNED, TRANSACTIONS, WAN, WATCH,
    resume,
};

pub(crate) const COMMAND: Command = Command {
    name: "local",
    summary: "runs a testbed on this machine under load and judges it",
    about: "Deals fresh keys, starts N nodes for each shard, of three processes each, offers load, prints a line every second, \
            stops all, compares what the nodes wrote, and sums up on the terminal and in LOG_DIR/summary.json. \
            ./run_local.sh N builds the release binaries first.\n\n\
            Every transaction is real: it spends a coin of the genesis block or one that an earlier transaction \
            created. Latency is measured from the time at which a transaction was meant to be sent to its receipt.\n\n\
            Ctrl-C stops all processes and still sums up. Nodes write journals into DATA_DIR and so survive: --resume goes on. \
            --durability, below, says how much they write; with off they write none.",
    operands: &[],
    options: &[
        Opt::without_default(
            "nodes",
            "N",
            "Nodes in each shard. (The first argument of run_local.sh.)",
        )
        .within(Range::whole(1, NODES_PER_SHARD_MAX as u64)),
        SHARDS,
        RATE,
        DURATION,
        ROUNDS,
        WARMUP,
        TX_SIZE,
        SIGNED,
        CROSS,
        INVALID,
        EXPIRY_ROUNDS,
        HAND_ON,
        BATCH,
        PIPELINE,
        SHARE,
        Opt::without_default(
            "history-mib",
            "M",
            "MiB of decided proposals that a node keeps for nodes that are behind: in memory, or in its journal if it has one; \
             as a rule a quarter of this machine's memory, shared by all nodes, and at most 2048.",
        )
        .within(HISTORY_MIB),
        Opt::with(
            "durability",
            "off|process|power",
            "process",
            "Whether nodes write down what their cores are fed, in DATA_DIR/journal-<id>/ for restarts, --resume and tools \
             replay, before its effects leave: to the system (process) or to the disk (power). Each node writes some 400 bytes \
             for a transaction of 250 and 10 kB for a round. It keeps about --limits journal-kept-bytes of them (4 GiB), or \
             what the history and a start need if that is more; the next run removes them. off writes nothing and commits \
             more, but a node that ends stays out.",
        ),
        LIMITS,
        WAN,
        FAULTS,
        SEED,
        TRANSACTIONS,
        WATCH,
        LOG_DIR,
        Opt::with("data-dir", "DIR", "data", "Keys, journals, hosts and pid file. An earlier run's are replaced."),
        Opt::switch(
            "resume",
            "Goes on with the run in DATA_DIR, whose nodes have journals, however it ended: the same keys, nodes and protocol \
             settings, which need not be given and may not differ, and a new load on the coins that are unspent. Its LOG_DIR \
             is continued; figures of the load before are moved to LOG_DIR/load-1, and so on.",
        ),
        FOLLOW,
        Opt::without_default(
            "base-port",
            "P",
            "Node i listens on port P + i; free ports are taken if not given.",
        )
        .within(Range::whole(1, u16::MAX as u64)),
        Opt::switch(
            "metrics",
            "Each node serves its metrics on a free port of 127.0.0.1, listed in DATA_DIR/metrics.txt. docs/metrics.md explains \
             them.",
        ),
    ],
    sections: &[
        FAULTS_SECTION,
        LIMITS_SECTION,
        EXIT_STATUS,
        (
            "FILES",
            "LOG_DIR/consensus-node-<id>.log, node-net-client-<id>.log, node-net-server-<id>.log, stderr-<id>.txt  \
             Logs of the three processes of each node.\n\
             LOG_DIR/rounds-<id>.csv  A line an executed block.\n\
             LOG_DIR/nodes.csv, ledgers.csv, exchanges.csv, receipts.csv, clients.csv  What 'tools verify' compares those with.\n\
             LOG_DIR/summary.json  Everything in the summary, as numbers.\n\
             LOG_DIR/series.csv, latency.csv, processes.csv, traffic.csv  For plots: load, latencies, processes, messages.\n\
             LOG_DIR/report.html  The run in figures, for a browser.\n\
             LOG_DIR/transactions.csv  With --transactions: a line a transaction.\n\
             DATA_DIR/keys/, hosts.txt, pids.txt  Keys and committee, where the nodes are, and their processes.\n\
             DATA_DIR/journal-<id>/, options.txt  Unless --durability is off: what each core was fed, and the options that \
             --resume goes on with.\n\
             DATA_DIR/metrics.txt  With --metrics: where each node serves them.",
        ),
        (
            "EXAMPLES",
            "tools local --nodes 4  Four nodes, 10,000 transactions a second for ten seconds.\n\
             tools local --nodes 4 --shards 2 --cross 0.5  Two shards, half of the load between them.\n\
             tools local --nodes 4 --duration 8 --faults crash:3@3  The same four, of which one dies after three seconds.\n\
             tools local --nodes 4 --faults crash:3@3,restart:3@6  It comes back after three more.\n\
             tools local --nodes 4 --rate max --durability off  At saturation, without journals.\n\
             tools local --resume --rate 1000  Goes on with that testbed, at another rate.\n\
             tools local --resume --follow 2  The same without the journal of node 2, which is damaged.",
        ),
    ],
};

/// The plan of a local run.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Options {
    pub(crate) run: RunPlan,
    /// Memory for decided proposals at each node, MiB.
    pub(super) history_mib: u64,
    /// The first port, if it matters.
    pub(super) base_port: Option<u16>,
    pub(super) has_metrics: bool,
    /// How durable the journals of nodes are, if they have any.
    pub(super) durability: Option<&'static str>,
    pub(super) begins: Begins,
    /// The options that a run which goes on must have in common with this one.
    pub(super) noted: String,
}

/// The options that runs of one testbed have in common.
const BOUND: [&str; 8] = ["nodes", "shards", "signed", "batch", "pipeline", "share", "history-mib", "limits"];

impl Options {
    /// The options of these arguments of `tools local`, none of which may be `--help`.
    pub(crate) fn parse(arguments: &[String]) -> Result<Options, UsageError> {
        match COMMAND.parse(arguments)? {
            Invocation::Run(values) => Options::from_values(&values),
            Invocation::Help => Err(UsageError::Unexpected("--help".into())),
        }
    }

    /// The options of a command line.
    pub(crate) fn from_values(values: &Values) -> Result<Options, UsageError> {
        let (values, begins) = resume::resolve(values, &BOUND)?;
        let values = &values;
        let nodes = values.whole("nodes")? as u16;
        let shards = keygen::shards(values, nodes)?;
        let history_mib = values.optional_whole("history-mib")?;
        let base_port = values.optional_whole("base-port")?;
        let run = RunPlan::of(&COMMAND, values, nodes, shards)?;
        let durability = run::durability(values)?;
        let history_mib = history_mib
            .unwrap_or_else(|| history_mib_by(procfs::machine().mem_gb, u64::from(nodes * shards)));
        Ok(Options {
            run,
            history_mib,
            base_port: base_port.map(|port| port as u16),
            has_metrics: values.is_given("metrics"),
            durability,
            begins,
            noted: resume::noted(&values.clone().with("history-mib", &history_mib.to_string()), &BOUND),
        })
    }
}

/// The memory for history at each node by default: a quarter of the machine's for all nodes together, so that
/// many nodes on a small machine do not fill it, and not more than a node takes by itself.
fn history_mib_by(memory_gib: f64, nodes: u64) -> u64 {
    let quarter_mib = (memory_gib * 1024.0 / 4.0) as u64;
    (quarter_mib / nodes).clamp(1, HISTORY_BYTES_MAX >> 20)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::{Mix, Plan, Rate, Share};

    fn options(line: &str) -> Result<Options, String> {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        Options::parse(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn history_shares_a_quarter_of_the_memory() {
        assert_eq!(history_mib_by(16.0, 4), 1_024);
        assert_eq!(history_mib_by(64.0, 4), 2_048, "a node takes no more by itself");
        assert_eq!(history_mib_by(0.0, 4), 1, "where the memory is not known");
        assert_eq!(options("--nodes 4 --history-mib 64").unwrap().history_mib, 64);
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let crossing = Mix { cross: Share::TENTH, invalid: Share::TENTH };
        assert_eq!(options("--nodes 4 --shards 2").unwrap().run.load.mix, crossing);
        let Options { run, base_port, has_metrics, durability, .. } = options("--nodes 4").unwrap();
        assert_eq!(durability, Some("process"));
        let mix = Mix { cross: Share::NONE, ..crossing };
        let (duration, warmup) = (Some(Duration::from_secs(10)), Duration::ZERO);
        let rate = Rate::PerSecond(10_000);
        let plan = Plan {
            rate,
            duration,
            warmup,
            tx_bytes: 250,
            mix,
            expiry_rounds: None,
            hand_on_after: Duration::from_secs(1),
            seed: 1,
        };
        assert_eq!((run.load, run.rounds), (plan, None));
        assert_eq!((run.is_signed, run.has_transactions), (false, false));
        let pipeline = wire::limits::PIPELINE_DEFAULT.to_string();
        assert_eq!(
            run.settings.arguments(),
            ["--batch", "30000", "--pipeline", &pipeline, "--share", "backup"]
        );
        assert_eq!((run.nodes, run.shards), (4, 1));
        assert_eq!((run.faults, base_port, has_metrics), (Vec::new(), None, false));
    }

    #[test]
    fn limits_are_passed_on_to_nodes() {
        let arguments = options("--nodes 4 --limits clients=3").unwrap().run.settings.arguments();
        assert_eq!(arguments[6..], ["--limits", "clients=3"]);
    }

    #[test]
    fn rounds_alone_set_no_time() {
        let end = |line: &str| {
            options(line).map(|options| (options.run.load.duration, options.run.rounds)).unwrap()
        };
        assert_eq!(end("--nodes 4 --rounds 7"), (None, Some(7)));
        let default =
            |faults: &str| end(&format!("--nodes 4 --faults {faults}")).0.map(|time| time.as_secs());
        assert_eq!(default("crash:1@6"), Some(10));
        assert_eq!(default("crash:1@6,pause:2@9+2"), Some(15), "what comes after the last fault is seen");
        assert_eq!(end("--nodes 4 --rounds 7 --duration 1.5"), (Some(Duration::from_millis(1_500)), Some(7)));
    }

    #[test]
    fn only_a_closed_loop_warms_up_by_default() {
        let warmup_ms = |line: &str| options(line).unwrap().run.load.warmup.as_millis();
        assert_eq!(warmup_ms("--nodes 4"), 0);
        assert_eq!(warmup_ms("--nodes 4 --warmup 1.5"), 1_500);
        assert_eq!(warmup_ms("--nodes 4 --rate max"), 2_500);
        assert_eq!(warmup_ms("--nodes 4 --rate max --duration 60"), 3_000);
        assert_eq!(warmup_ms("--nodes 4 --rate max --warmup 0"), 0);
    }

    #[test]
    fn wrong_values_are_named() {
        for (line, part) in [
            ("", "--nodes N must be given"),
            ("--nodes four", "--nodes: found 'four', expected a whole number from 1 to 128"),
            (
                "--nodes 4 --rate fast",
                "--rate: found 'fast', expected a whole number from 1 to 10000000, or 'max'",
            ),
            ("--nodes 4 --duration 0", "--duration: found '0', expected seconds"),
            ("--nodes 4 --tx-size 10", "--tx-size: found '10', expected a whole number from 110 to 65536"),
            ("--nodes 4 --faults crash:4@1", "--faults: found 'crash:4@1', expected node ids from 0 to 3"),
            (
                "--nodes 4 --base-port 70000",
                "--base-port: found '70000', expected a whole number from 1 to 65535",
            ),
            ("--nodes 4 --follow 2", "--follow: found '2', expected --resume with it"),
            (
                "--nodes 4 --duration 5 --faults crash:3@5",
                "--faults: found 'crash:3@5', expected times before the end of the load after 5 s",
            ),
            (
                "--nodes 4 --limits clients=0",
                "--limits clients: found '0', expected a whole number from 1 to",
            ),
            ("--nodes 4 --log-dir x --data-dir x", "--data-dir: found 'x', expected another directory than"),
            ("--nodes 4 --warmup 10", "--warmup: found '10', expected less than the 10 s for which load"),
            (
                "--nodes 4 --tx-size 150 --signed",
                "--tx-size: found '150', expected a whole number from 174 to",
            ),
            ("--nodes 4 --cross 0.1", "--cross: found '0.1', expected 0, since there is one shard"),
            ("--nodes 4 --shards 2 --cross 2", "--cross: found '2', expected a share from 0 to 1"),
            ("--nodes 4 --durability disk", "--durability: found 'disk', expected off, process or power"),
            (
                "--nodes 4 --durability off --faults disk-full:3@1+1",
                "--faults: found 'disk-full:3@1+1', expected no such fault with --durability off, since nodes that are",
            ),
            (
                "--nodes 4 --durability off --faults random:2",
                "--faults: found 'random:2', expected no such fault",
            ),
            ("--nodes 4 --invalid x", "--invalid: found 'x', expected a share from 0 to 1"),
            ("--nodes 4 --shards 0", "--shards: found '0', expected a whole number from 1 to 1024"),
            (
                "--nodes 128 --shards 9",
                "--shards: found '9 shards of 128 nodes', expected at most 1024 nodes in all",
            ),
            (
                "--nodes 4 --shards 2 --faults crash:8@1",
                "--faults: found 'crash:8@1', expected node ids from 0 to 7",
            ),
        ] {
            let error = options(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
