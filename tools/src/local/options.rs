//! The options of `tools local`.

use std::path::PathBuf;
use std::time::Duration;

use wire::limits::local::LocalLimits;
use wire::limits::{HISTORY_BYTES_MAX, NODES_MAX, NODES_PER_SHARD_MAX};
use wire::text::ParseError;

use super::directories::Directories;
use super::faults::{self, Fault};
use crate::flags::{Asked, Command, Opt, UsageError, Values};
use crate::json::Json;
use crate::load::{self, CROSS_HELP, EXPIRY_HELP, INVALID_HELP, Plan, WARMUP_HELP};
use crate::procfs;

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "local",
    summary: "runs a testbed on this machine under load and judges it",
    about: "Deals fresh keys, starts N nodes for each shard, of three processes each, offers load, tells every second how it goes, \
            stops all, compares what the nodes wrote, and sums up on the terminal and in LOG_DIR/summary.json. \
            ./run_local.sh N builds the release binaries first.\n\n\
            Every transaction is real: it spends a coin of the genesis block or one that an earlier transaction \
            created. Latency is measured from the time at which a transaction was meant to be sent to its receipt.\n\n\
            Ctrl-C stops all processes and still sums up.",
    operands: &[],
    options: &[
        Opt::without_default(
            "nodes",
            "N",
            "Nodes in each shard, 1 to 128. (The first argument of run_local.sh.)",
        ),
        Opt::with(
            "shards",
            "K",
            "1",
            "Shards of N nodes each; node ids are shard × N + place. N × K is at most 1024.",
        ),
        Opt::with(
            "rate",
            "R|max",
            "10000",
            "Transactions offered a second over all nodes of all shards, whatever the testbed makes of them; max: as many \
             as it takes.",
        ),
        Opt::without_default(
            "duration",
            "S",
            "Seconds for which load is offered; 10 unless --rounds is given. If both are given, what comes first ends it.",
        ),
        Opt::without_default("rounds", "R", "Blocks of every shard after which no more load is offered."),
        Opt::without_default("warmup", "S", WARMUP_HELP),
        Opt::with(
            "tx-size",
            "B",
            "250",
            "Bytes of a transaction as encoded; one with inputs from three shards needs at least 294.",
        ),
        Opt::switch("signed", SIGNED_HELP),
        Opt::without_default("cross", "P", CROSS_HELP),
        Opt::with("invalid", "P", "0.1", INVALID_HELP),
        Opt::without_default("expiry-rounds", "R", EXPIRY_HELP),
        Opt::with(
            "batch",
            "B",
            "30000",
            "Most transactions in one proposal; proposals adapt to the load below it.",
        ),
        Opt::with(
            "pipeline",
            "W",
            "8",
            "Proposals that a node may have under way beyond the last decided cut.",
        ),
        Opt::without_default(
            "history-mib",
            "M",
            "Memory in which a node keeps decided proposals for those who are behind; as a rule a quarter of this \
             machine's, shared by all nodes, and at most 2048.",
        ),
        Opt::without_default("limits", "LIST", LIMITS_HELP),
        Opt::with(
            "faults",
            "LIST",
            "none",
            "What is done to which node when, e.g. crash:3@3,kill-client:0+1@5. See FAULTS.",
        ),
        Opt::with(
            "seed",
            "S",
            "1",
            "Seed of everything random in the load. (Keys come from the system's randomness.)",
        ),
        Opt::switch("transactions", TRANSACTIONS_HELP),
        Opt::with("log-dir", "DIR", "log", "Logs and the other FILES. An earlier run's are replaced."),
        Opt::with("data-dir", "DIR", "data", "Keys, hosts and pid file. An earlier run's are replaced."),
        Opt::without_default(
            "base-port",
            "P",
            "Node i listens on port P + i; free ports are taken if not given.",
        ),
        Opt::switch(
            "metrics",
            "Each node tells its metrics on a free port of 127.0.0.1; DATA_DIR/metrics.txt says on which. What they mean \
             stands in docs/metrics.md.",
        ),
    ],
    sections: &[
        (
            "FAULTS",
            "A comma-separated list of NAME:IDS@SECONDS; ids are joined by '+', time counts from the beginning of the \
             load.\n\
             crash        kill -9 of all three processes of the node, which stays dead\n\
             kill-client  kill -9 of its net_client, which the node restarts\n\
             kill-server  kill -9 of its net_server, which the node restarts",
        ),
        (
            "LIMITS",
            "A comma-separated list of NAME=VALUE, for all nodes; wire/src/limits.rs says what each is for. The names, and \
             what holds without them:\n\
             mempool-transactions    400000\n\
             mempool-bytes           268435456\n\
             mempool-client-percent  50\n\
             mempool-peers-percent   50\n\
             lane-open-bytes         33554432\n\
             history-rounds          10000\n\
             outbox-bytes            67108864\n\
             ping-interval-ms        1000\n\
             ping-timeout-ms         10000\n\
             dial-backoff-ms         10000\n\
             handshake-time-ms       3000\n\
             handshakes              64\n\
             handshakes-per-ip       8\n\
             accepts-per-s           100\n\
             clients                 256\n\
             client-idle-ms          60000\n\
             client-unread-bytes     4194304\n\
             clients-unread-bytes    16777216\n\
             clients-frame-bytes     16777216\n\
             queue-clients-bytes     4194304\n\
             queue-peers-bytes       16777216\n\
             peer-bytes-per-s        no limit\n\
             peer-silence-ms         15000\n\
             ack-delay-ms            10",
        ),
        (
            "EXIT STATUS",
            "0    all well\n\
             1    nodes or shards disagree, a coin was made or lost, or a transaction was lost, left open, or rejected for no \
             reason\n\
             2    usage\n\
             3    nothing was committed although valid transactions were offered\n\
             4    the testbed could not be started\n\
             130  interrupted, after the summary",
        ),
        (
            "FILES",
            "LOG_DIR/consensus-node-<id>.log, node-net-client-<id>.log, node-net-server-<id>.log, stderr-<id>.txt  \
             What the three processes of each node say.\n\
             LOG_DIR/rounds-<id>.csv  A line an executed block.\n\
             LOG_DIR/nodes.csv, exchanges.csv, receipts.csv, clients.csv  What 'tools verify' compares those with.\n\
             LOG_DIR/summary.json  Everything the summary says, as numbers.\n\
             LOG_DIR/series.csv, latency.csv  A line a second, and whole histograms.\n\
             LOG_DIR/transactions.csv  With --transactions: a line a transaction.\n\
             DATA_DIR/keys/, hosts.txt, pids.txt  Keys and committee, where the nodes are, and their processes.\n\
             DATA_DIR/metrics.txt  With --metrics: where each node tells them.",
        ),
        (
            "EXAMPLES",
            "tools local --nodes 4  Four nodes, 10,000 transactions a second for ten seconds.\n\
             tools local --nodes 4 --shards 2 --cross 0.5  Two shards, half of the load between them.\n\
             tools local --nodes 4 --duration 8 --faults crash:3@3  The same four, of which one dies after three seconds.",
        ),
    ],
};

/// What `--limits` means.
pub(crate) const LIMITS_HELP: &str = "Memory and time limits of nodes that differ from the defaults, e.g. \
                                      clients=1000,outbox-bytes=134217728. See LIMITS.";
/// What `--signed` means.
pub(crate) const SIGNED_HELP: &str =
    "Transactions carry the signatures of the owners of the coins they spend, which every node verifies.";
/// What `--transactions` means.
pub(crate) const TRANSACTIONS_HELP: &str = "Writes a line for each transaction to LOG_DIR/transactions.csv: when it was meant to be \
                                            sent, when it was sent, its receipt, its fate. Of more than 10000 a second \
                                            one in so many, which each line says; of --rate max one in 32.";

/// What a run is to be.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Options {
    /// Nodes in each shard.
    pub(crate) nodes: u16,
    /// Shards.
    pub(crate) shards: u16,
    /// The load.
    pub(crate) plan: Plan,
    /// Blocks of every shard after which it ends, if that comes first.
    pub(crate) rounds: Option<u64>,
    /// Whether owners sign transactions.
    pub(crate) is_signed: bool,
    /// Whether a line is written for each transaction.
    pub(crate) has_transactions: bool,
    /// Most transactions in one proposal.
    pub(crate) batch: u64,
    /// Proposals under way.
    pub(crate) pipeline: u64,
    /// Memory for decided proposals at each node, MiB.
    pub(crate) history_mib: u64,
    /// Limits of all nodes.
    pub(crate) limits: LocalLimits,
    /// What is done to nodes, in order of time.
    pub(crate) faults: Vec<Fault>,
    /// Where files go.
    pub(crate) directories: Directories,
    /// The first port, if it matters.
    pub(crate) base_port: Option<u16>,
    /// Whether nodes tell metrics.
    pub(crate) has_metrics: bool,
    /// Everything as given or by default, for the summary.
    pub(crate) told: Vec<(&'static str, Json)>,
}

impl Options {
    /// The options that these arguments of `tools local` give, none of which asks for help.
    pub(crate) fn parse(arguments: &[String]) -> Result<Options, UsageError> {
        match COMMAND.parse(arguments)? {
            Asked::Run(values) => Options::from_values(&values),
            Asked::Help => Err(UsageError::Unexpected("--help".into())),
        }
    }

    /// Nodes of all shards together.
    pub(crate) fn nodes_in_all(&self) -> u16 {
        self.nodes * self.shards
    }

    /// The options of a command line.
    pub(crate) fn from_values(values: &Values) -> Result<Options, UsageError> {
        let nodes = values.number("nodes", 1, NODES_PER_SHARD_MAX.into())? as u16;
        let shards = shards(values, nodes)?;
        let base_port = values.optional_number("base-port", 1, u16::MAX.into())?.map(|port| port as u16);
        let has_metrics = values.is_given("metrics");
        Ok(Options { base_port, has_metrics, ..Options::of(&COMMAND, values, nodes, shards)? })
    }

    /// What `values` say of a run of so many nodes, for whichever command has options of these names.
    pub(crate) fn of(
        command: &Command,
        values: &Values,
        nodes: u16,
        shards: u16,
    ) -> Result<Options, UsageError> {
        let seconds = "seconds, more than 0 and at most a week";
        let duration = values.optional("duration", seconds, |text| {
            faults::parse_seconds(text).filter(|duration| !duration.is_zero())
        })?;
        let rounds = values.optional_number("rounds", 1, u64::MAX)?;
        let default = (duration.is_none() && rounds.is_none()).then_some(Duration::from_secs(10));
        let duration = duration.or(default);
        let faults = faults::parse(values.required("faults")?, nodes * shards)?;
        if let (Some(late), None, Some(duration)) = (faults.last(), rounds, duration)
            && late.at >= duration
        {
            let expected = format!("times before the end of the load after {} s", duration.as_secs_f64());
            return Err(ParseError::of("--faults", &late.to_string(), expected).into());
        }
        let is_signed = values.is_given("signed");
        let (log, data) = (values.required("log-dir")?, values.required("data-dir")?);
        if log == data {
            return Err(ParseError::of("--data-dir", data, "another directory than --log-dir").into());
        }
        let told = command.options.iter().map(|option| match option.value {
            Some(_) => (option.name, told(values.text(option.name))),
            None => (option.name, Json::from(values.is_given(option.name))),
        });
        Ok(Options {
            nodes,
            shards,
            plan: load::plan(values, shards, is_signed, duration)?,
            rounds,
            is_signed,
            has_transactions: values.is_given("transactions"),
            batch: values.number("batch", 1, 1_000_000)?,
            pipeline: values.number("pipeline", 1, 64)?,
            history_mib: values
                .optional_number("history-mib", 1, 1 << 20)?
                .unwrap_or_else(|| history_mib_by(procfs::machine().mem_gb, u64::from(nodes * shards))),
            limits: limits(values)?,
            faults,
            directories: Directories { log: PathBuf::from(log), data: PathBuf::from(data) },
            base_port: None,
            has_metrics: false,
            told: told.collect(),
        })
    }
}

/// The memory for history at each node where nobody says: a quarter of the machine's for all nodes together, so that
/// many nodes on a small machine do not fill it, and not more than a node takes by itself.
fn history_mib_by(memory_gib: f64, nodes: u64) -> u64 {
    let quarter_mib = (memory_gib * 1024.0 / 4.0) as u64;
    (quarter_mib / nodes).clamp(1, HISTORY_BYTES_MAX >> 20)
}

/// The value of `--shards`, for shards of so many nodes.
pub(crate) fn shards(values: &Values, nodes: u16) -> Result<u16, UsageError> {
    let shards = values.number("shards", 1, NODES_MAX.into())? as u16;
    if u32::from(nodes) * u32::from(shards) > u32::from(NODES_MAX) {
        let given = format!("{shards} shards of {nodes} nodes");
        return Err(ParseError::of("--shards", &given, format!("at most {NODES_MAX} nodes in all")).into());
    }
    Ok(shards)
}

/// The value of `--limits`.
pub(crate) fn limits(values: &Values) -> Result<LocalLimits, UsageError> {
    Ok(LocalLimits::of(values.text("limits"))?)
}

/// An option's value as a summary tells it: a number if it is one.
fn told(text: Option<&str>) -> Json {
    let Some(text) = text else { return Json::Null };
    match (text.parse::<i128>(), text.parse::<f64>()) {
        (Ok(number), _) => Json::Int(number),
        (_, Ok(number)) => Json::Float(number),
        _ => Json::text(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Mix, Rate, Share};

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
    fn metrics_are_told_only_if_asked_for() {
        let has_metrics = |line: &str| options(line).unwrap().has_metrics;
        assert!(has_metrics("--nodes 4 --metrics") && !has_metrics("--nodes 4"));
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let crossing = Mix { cross: Share::TENTH, invalid: Share::TENTH };
        assert_eq!(options("--nodes 4 --shards 2").unwrap().plan.mix, crossing);
        let options = options("--nodes 4").unwrap();
        let mix = Mix { cross: Share::NONE, ..crossing };
        let (duration, warmup) = (Some(Duration::from_secs(10)), Duration::ZERO);
        let rate = Rate::PerSecond(10_000);
        let plan = Plan { rate, duration, warmup, tx_bytes: 250, mix, expiry_rounds: None, seed: 1 };
        assert_eq!((options.plan, options.rounds), (plan, None));
        assert_eq!((options.is_signed, options.has_transactions), (false, false));
        assert_eq!((options.batch, options.pipeline), (30_000, wire::limits::PIPELINE_DEFAULT));
        assert_eq!((options.nodes, options.shards), (4, 1));
        assert_eq!((options.faults, options.base_port), (Vec::new(), None));
    }

    #[test]
    fn the_page_names_all_limits_with_their_defaults() {
        let (_, page) = COMMAND.sections.iter().find(|(heading, _)| *heading == "LIMITS").unwrap();
        assert!(page.ends_with(&wire::limits::local::help()), "{}", wire::limits::local::help());
        assert_eq!(
            options("--nodes 4 --limits clients=3").unwrap().limits.text().as_deref(),
            Some("clients=3")
        );
    }

    #[test]
    fn rounds_alone_set_no_time() {
        let end = |line: &str| options(line).map(|options| (options.plan.duration, options.rounds)).unwrap();
        assert_eq!(end("--nodes 4 --rounds 7"), (None, Some(7)));
        assert_eq!(end("--nodes 4 --rounds 7 --duration 1.5"), (Some(Duration::from_millis(1_500)), Some(7)));
    }

    #[test]
    fn a_closed_loop_warms_up_and_an_open_one_only_if_asked_to() {
        let warmup_ms = |line: &str| options(line).unwrap().plan.warmup.as_millis();
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
            ("--nodes 4 --rate fast", "--rate: found 'fast', expected transactions a second"),
            ("--nodes 4 --duration 0", "--duration: found '0', expected seconds"),
            ("--nodes 4 --tx-size 10", "--tx-size: found '10', expected a whole number from 110 to 65536"),
            ("--nodes 4 --faults crash:4@1", "--faults: found 'crash:4@1', expected node ids from 0 to 3"),
            (
                "--nodes 4 --base-port 70000",
                "--base-port: found '70000', expected a whole number from 1 to 65535",
            ),
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

    #[test]
    fn the_summary_is_told_numbers_as_numbers() {
        assert_eq!(told(Some("12")), Json::Int(12));
        assert_eq!(told(Some("1.5")), Json::Float(1.5));
        assert_eq!(told(Some("max")), Json::text("max"));
        assert_eq!(told(None), Json::Null);
    }
}
