//! `tools bench`: the figures the testbed is judged by, each from a run of the real processes.
//!
//! Every scenario starts a testbed of its own. The raw pipe comes first, since what the protocol carries is shown as a
//! share of it. Processor time is that of `/proc`, so it has a resolution of 10 ms; the load's own share is shown
//! too, since on a small machine it takes from the nodes.

mod durability;
mod idle;
mod pipe;
mod report;
mod row;
mod settings;
mod shards;
mod strangers;

use wire::limits::NODES_PER_SHARD_MAX;

use self::report::Report;
use self::settings::Settings;
use crate::flags::{Command, Opt, Range, UsageError, Values};
use crate::run::{RunError, SIGNED};
use crate::signals;
use crate::terminal::{columns, print};

pub(crate) const COMMAND: Command = Command {
    name: "bench",
    summary: "measures throughput, latency and processor time on this machine",
    about: "Runs a row of testbeds of N nodes, one after the other, and reports in a table and in LOG_DIR/bench.json: \
            the raw pipe (bodies broadcast through the three processes with a counter in the core's place, payload \
            counted once); the protocol at saturation with transactions of 250 bytes, and of 4,096 bytes as a share of \
            the pipe; latency at a steady rate, and the same with f nodes crashed; processor time and log growth of an \
            idle testbed.\n\n\
            With --shards-table something else: throughput at saturation and latency at a steady rate of several shards, \
            and processor time and bytes that transactions within a shard and between shards take.\n\n\
            With --durability-table something else: throughput at saturation and latency at a steady rate without journals and \
            with them, as medians of turns, and the ratios.\n\n\
            With --strangers something else: an attack on a testbed under load by everybody who can reach its ports, and \
            verdicts on it. Two runs of five times --duration, the first without the attack, to compare with; in the \
            second it lasts three fifths of the time. Idle and slow connections, false and replayed handshakes, frames \
            that make no sense, with and without a session, and messages far ahead from f members whose processes are \
            crashed. All on this machine alone.\n\n\
            Nodes keep 64 MiB of history, and write no journals (--durability off of tools local) but where that is compared.",
    operands: &[],
    options: &[
        Opt::with("nodes", "N", "4", "Nodes; with --strangers at least 4.")
            .within(Range::whole(1, NODES_PER_SHARD_MAX as u64)),
        Opt::with("duration", "S", "10", "Seconds of each measurement.")
            .within(Range::Seconds { min_ms: 1_000 }),
        Opt::without_default(
            "rate",
            "R",
            "Transactions a second where latency is measured: 10000, 50000 with --strangers, or 1000 with --shards-table, if not given.",
        )
        .within(Range::whole(1, 10_000_000)),
        Opt::switch("pipe", "Measures the raw pipe alone."),
        Opt::with("pipe-bytes", "B", "1048576", "Bytes of a body of the raw pipe.")
            .within(Range::whole(17, 8 << 20)),
        Opt::with("pipe-window", "W", "8", "Bodies that each node keeps under way in the raw pipe.")
            .within(Range::whole(1, 1024)),
        Opt::switch(
            "shards-table",
            "Measures 1 to 4 shards instead, each with 0, 10, 50 and 90 % of the transactions between them.",
        ),
        Opt::switch(
            "durability-table",
            "Measures instead what each --durability of tools local costs.",
        ),
        Opt::with("turns", "T", "3", "Runs of each durability with --durability-table, in turn.")
            .within(Range::whole(1, 100)),
        Opt::switch("strangers", "Attacks a testbed under load instead."),
        Opt::with(
            "frames",
            "F",
            "1000000",
            "Frames of the attack that make no sense; connections and handshakes go with them.",
        )
        .within(Range::whole(1_000, 100_000_000)),
        SIGNED,
        Opt::with("seed", "S", "1", "Seed of everything random in the load.")
            .within(Range::whole(0, u64::MAX)),
        Opt::with("log-dir", "DIR", "log", "Logs of the last testbed, and bench.json."),
        Opt::with("data-dir", "DIR", "data", "Keys, hosts and pid file."),
    ],
    sections: &[
        (
            "EXIT STATUS",
            "0    measured\n\
         1    a run did not end well or a verdict failed\n\
         2    usage\n\
         4    a testbed could not be started\n\
         130  interrupted",
        ),
        ("FILES", "LOG_DIR/bench.json  Everything in the table, as numbers."),
        (
            "EXAMPLES",
            "tools bench --nodes 4 --duration 10  The whole row, some two minutes.\n\
             tools bench --nodes 4 --pipe  What the machine carries without any agreement.\n\
             tools bench --durability-table --turns 5  What journals cost here, some five minutes.",
        ),
    ],
};

pub(crate) fn run(values: &Values) -> Result<u8, UsageError> {
    let settings = Settings::from_values(values)?;
    if let Err(error) = signals::block() {
        eprintln!("tools bench: {error}");
        return Ok(4);
    }
    let mut report = Report::new(settings.nodes, settings.duration);
    let result = if values.is_given("strangers") {
        strangers::measure(&settings, &mut report)
    } else if values.is_given("durability-table") {
        durability::measure(&settings, &mut report)
    } else if values.is_given("shards-table") {
        shards::measure(&settings, &mut report)
    } else {
        row::measure_pipe(&settings, &mut report).and_then(|pipe_bytes_per_s| {
            if values.is_given("pipe") {
                Ok(())
            } else {
                row::measure_protocol(&settings, pipe_bytes_per_s, &mut report)
            }
        })
    };
    print(report.to_text(columns()).trim_end());
    let path = settings.log.join("bench.json");
    if let Err(error) = std::fs::write(&path, format!("{}\n", report.to_json())) {
        eprintln!("tools bench: cannot write {}: {error}", path.display());
    }
    Ok(match result {
        Ok(()) => u8::from(!report.is_clean()),
        Err(RunError::Start(error)) => {
            eprintln!("tools bench: {error}");
            4
        }
        Err(RunError::Interrupted) => 130,
    })
}
