//! `tools bench`: the figures the testbed is judged by, each from a run of the real processes.
//!
//! Every scenario starts a testbed of its own. The raw pipe comes first, since what the protocol carries is told as a
//! share of it. Processor time is that of `/proc`, so it has a resolution of 10 ms; the load's own share is told
//! too, since on a small machine it takes from the nodes.

mod idle;
mod pipe;
mod report;
mod shards;
mod strangers;

use std::path::PathBuf;
use std::time::Duration;

use wire::limits::NODES_PER_SHARD_MAX;

use self::idle::Idle;
use self::pipe::PipeSettings;
use self::report::{Figure, Report};
use self::strangers::StrangerSettings;
use crate::flags::{Command, Opt, UsageError, Values};
use crate::local::{self, Options, Progress, RunError, SIGNED_HELP, parse_seconds};
use crate::signals;
use crate::summary::Summary;
use crate::terminal::tell;

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "bench",
    summary: "measures throughput, latency and processor time on this machine",
    about: "Runs a row of testbeds of N nodes, one after the other, and tells in a table and in LOG_DIR/bench.json: \
            the raw pipe (bodies broadcast through the three processes with a counter in the core's place, payload \
            counted once); the protocol at saturation with transactions of 250 bytes, and of 4,096 bytes as a share of \
            the pipe; latency at a steady rate, and the same with f nodes crashed; processor time and log growth of an \
            idle testbed.\n\n\
            With --shards-table something else: throughput at saturation and latency at a steady rate of several shards, \
            and processor time and bytes that transactions within a shard and between shards take.\n\n\
            With --strangers something else: an attack on a testbed under load by everybody who can reach its ports, and \
            verdicts on it. Two runs of five times --duration, the first without the attack, to compare with; in the \
            second it lasts three fifths of the time. Idle and slow connections, false and replayed handshakes, frames \
            that make no sense, with and without a session, and messages far ahead from f members whose processes are \
            crashed. All on this machine alone.\n\n\
            Durability is off in all of them, and nodes keep 64 MiB of history.",
    operands: &[],
    options: &[
        Opt::with("nodes", "N", "4", "Nodes, 1 to 128."),
        Opt::with("duration", "S", "10", "Seconds of each measurement."),
        Opt::without_default(
            "rate",
            "R",
            "Transactions a second where latency is measured: 10000, 50000 with --strangers, or 1000 with --shards-table, if not given.",
        ),
        Opt::switch("pipe", "Measures the raw pipe alone."),
        Opt::with("pipe-bytes", "B", "1048576", "Bytes of a body of the raw pipe."),
        Opt::with("pipe-window", "W", "8", "Bodies that each node keeps under way in the raw pipe."),
        Opt::switch(
            "shards-table",
            "Measures 1 to 4 shards instead, each with 0, 10, 50 and 90 % of the transactions between them.",
        ),
        Opt::switch("strangers", "Attacks a testbed under load instead."),
        Opt::with(
            "frames",
            "F",
            "1000000",
            "Frames of the attack that make no sense; connections and handshakes go with them.",
        ),
        Opt::switch("signed", SIGNED_HELP),
        Opt::with("seed", "S", "1", "Seed of everything random in the load."),
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
        ("FILES", "LOG_DIR/bench.json  Everything the table says, as numbers."),
        (
            "EXAMPLES",
            "tools bench --nodes 4 --duration 10  The whole row, some two minutes.\n\
             tools bench --nodes 4 --pipe  What the machine carries when nobody agrees on anything.",
        ),
    ],
};

/// What nodes keep of what they decided. With the usual bound a node grows by what it commits all along, and figures
/// would depend on how fast the machine hands out fresh memory; this little is full after a second.
const HISTORY_MIB: u64 = 64;

/// What is measured on.
struct Settings {
    nodes: u16,
    duration: Duration,
    rate: u64,
    pipe: PipeSettings,
    strangers: StrangerSettings,
    is_signed: bool,
    seed: u64,
    log: PathBuf,
    data: PathBuf,
}

/// Runs the command and returns its exit code.
pub(crate) fn run(values: &Values) -> Result<u8, UsageError> {
    let settings = Settings::from_values(values)?;
    if let Err(error) = signals::block() {
        eprintln!("tools bench: cannot block signals: {error}");
        return Ok(4);
    }
    let mut report = Report::new(settings.nodes, settings.duration);
    let result = if values.is_given("strangers") {
        strangers::measure(&settings, &mut report)
    } else if values.is_given("shards-table") {
        shards::measure(&settings, &mut report)
    } else {
        settings.measure_pipe(&mut report).and_then(|pipe_bytes_per_s| {
            if values.is_given("pipe") {
                Ok(())
            } else {
                settings.measure_protocol(pipe_bytes_per_s, &mut report)
            }
        })
    };
    tell(report.to_text().trim_end());
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

impl Settings {
    fn from_values(values: &Values) -> Result<Settings, UsageError> {
        let duration = values.value("duration", "seconds, at least 1", |text| {
            parse_seconds(text).filter(|duration| *duration >= Duration::from_secs(1))
        })?;
        let rate = values.optional_number("rate", 1, 10_000_000)?;
        let is_attacked = values.is_given("strangers");
        // With fewer nodes there is no member that could be Byzantine.
        let nodes_min = if is_attacked { 4 } else { 1 };
        let rate_default = if is_attacked {
            50_000
        } else if values.is_given("shards-table") {
            1_000
        } else {
            10_000
        };
        Ok(Settings {
            nodes: values.number("nodes", nodes_min, NODES_PER_SHARD_MAX.into())? as u16,
            duration,
            rate: rate.unwrap_or(rate_default),
            strangers: StrangerSettings { frames: values.number("frames", 1_000, 100_000_000)? },
            pipe: PipeSettings {
                body_bytes: values.number("pipe-bytes", 17, 8 << 20)?,
                window: values.number("pipe-window", 1, 1024)?,
            },
            is_signed: values.is_given("signed"),
            seed: values.number("seed", 0, u64::MAX)?,
            log: PathBuf::from(values.required("log-dir")?),
            data: PathBuf::from(values.required("data-dir")?),
        })
    }

    /// Options of a local run with these further arguments.
    fn options(&self, further: &[&str]) -> Options {
        self.options_over(self.duration, further)
    }

    /// The same, of a run that lasts so long.
    fn options_over(&self, duration: Duration, further: &[&str]) -> Options {
        let (log, data) = (self.log.display().to_string(), self.data.display().to_string());
        let common = [
            ("--nodes", self.nodes.to_string()),
            ("--duration", duration.as_secs_f64().to_string()),
            ("--seed", self.seed.to_string()),
            ("--history-mib", HISTORY_MIB.to_string()),
            ("--log-dir", log),
            ("--data-dir", data),
        ];
        let common = common.into_iter().flat_map(|(name, value)| [name.to_string(), value]);
        let signed = self.is_signed.then(|| "--signed".to_string());
        let words: Vec<String> =
            common.chain(signed).chain(further.iter().map(ToString::to_string)).collect();
        Options::parse(&words).expect("the values were checked by options of the same bounds")
    }

    fn measure_pipe(&self, report: &mut Report) -> Result<f64, RunError> {
        eprintln!("measuring the raw pipe");
        let bytes_per_s = pipe::measure(&self.options(&[]), &self.pipe, self.duration)?;
        let name = format!("raw pipe, bodies of {} KiB", self.pipe.body_bytes as f64 / 1024.0);
        report.add(Figure::new(&name, bytes_per_s / 1e6, "MB/s"));
        Ok(bytes_per_s)
    }

    fn measure_protocol(&self, pipe_bytes_per_s: f64, report: &mut Report) -> Result<(), RunError> {
        let small = self.run(report, "saturation, 250 bytes", &["--rate", "max"])?;
        report.add_throughput("250 B", &small);
        report.add_cpu("250 B", &small);
        let large = self.run(report, "saturation, 4096 bytes", &["--rate", "max", "--tx-size", "4096"])?;
        report.add_throughput("4096 B", &large);
        let share = 100.0 * large.tps() * 4096.0 / pipe_bytes_per_s.max(1.0);
        report.add(Figure::new("4096 B, share of the raw pipe", share, "%"));
        let rate = self.rate.to_string();
        let steady = self.run(report, "steady rate", &["--rate", &rate])?;
        report.add_latency("steady", &steady);
        let f = usize::from(self.nodes - 1) / 3;
        if f > 0 {
            let ids: Vec<String> =
                (usize::from(self.nodes) - f..usize::from(self.nodes)).map(|id| id.to_string()).collect();
            let faults = format!("crash:{}@0", ids.join("+"));
            let crashed =
                self.run(report, "steady rate, f crashed", &["--rate", &rate, "--faults", &faults])?;
            report.add_latency("f crashed", &crashed);
        }
        eprintln!("measuring an idle testbed");
        let Idle { cpu_percent, log_bytes } = idle::measure(&self.options(&[]), self.duration)?;
        for (program, percent) in cpu_percent {
            report.add(Figure::new(&format!("idle: {program}, all nodes"), percent, "% of a core"));
        }
        report.add(Figure::new("idle: growth of all logs", log_bytes as f64, "bytes"));
        Ok(())
    }

    fn run(&self, report: &mut Report, name: &str, further: &[&str]) -> Result<Summary, RunError> {
        eprintln!("measuring: {name}");
        let summary = local::run(&self.options(further), Progress::Silent)?;
        if summary.interrupted {
            return Err(RunError::Interrupted);
        }
        if summary.exit_code() != 0 {
            report.complain(format!("{name}: exit code {}\n{}", summary.exit_code(), summary.to_text()));
        }
        Ok(summary)
    }
}
