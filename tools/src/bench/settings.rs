//! The settings of all measurements, and the runs that measure.

use std::path::PathBuf;
use std::time::Duration;

use wire::limits::NODES_PER_SHARD_MAX;

use super::pipe::PipeSettings;
use super::report::Report;
use crate::flags::{UsageError, Values};
use crate::local::{self, Options};
use crate::run::{Progress, RunError, Summary};
use crate::terminal::columns;

/// The history of nodes. With the usual bound a node grows by what it commits all along, and figures
/// would depend on how fast the machine hands out fresh memory; this little is full after a second.
const HISTORY_MIB: u64 = 64;

/// The settings of a measurement.
pub(super) struct Settings {
    pub(super) nodes: u16,
    pub(super) duration: Duration,
    pub(super) rate: u64,
    pub(super) pipe: PipeSettings,
    /// Runs of each durability where they are compared.
    pub(super) turns: u64,
    /// Frames of an attack that make no sense.
    pub(super) frames: u64,
    pub(super) is_signed: bool,
    pub(super) seed: u64,
    pub(super) log: PathBuf,
    pub(super) data: PathBuf,
}

impl Settings {
    /// The settings of a command line.
    pub(super) fn from_values(values: &Values) -> Result<Settings, UsageError> {
        let duration = values.seconds("duration")?;
        let rate = values.optional_whole("rate")?;
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
            frames: values.whole("frames")?,
            pipe: PipeSettings {
                body_bytes: values.whole("pipe-bytes")?,
                window: values.whole("pipe-window")?,
            },
            turns: values.whole("turns")?,
            is_signed: values.is_given("signed"),
            seed: values.whole("seed")?,
            log: PathBuf::from(values.required("log-dir")?),
            data: PathBuf::from(values.required("data-dir")?),
        })
    }

    /// Options of a local run without journals, with these further arguments.
    pub(super) fn options(&self, further: &[&str]) -> Options {
        self.options_over(self.duration, further)
    }

    /// The same, of a run that lasts so long.
    pub(super) fn options_over(&self, duration: Duration, further: &[&str]) -> Options {
        self.options_with("off", duration, further)
    }

    fn options_with(&self, durability: &str, duration: Duration, further: &[&str]) -> Options {
        let (log, data) = (self.log.display().to_string(), self.data.display().to_string());
        let common = [
            ("--nodes", self.nodes.to_string()),
            ("--duration", duration.as_secs_f64().to_string()),
            ("--seed", self.seed.to_string()),
            ("--history-mib", HISTORY_MIB.to_string()),
            ("--durability", durability.to_string()),
            ("--log-dir", log),
            ("--data-dir", data),
        ];
        let common = common.into_iter().flat_map(|(name, value)| [name.to_string(), value]);
        let signed = self.is_signed.then(|| "--signed".to_string());
        let words: Vec<String> =
            common.chain(signed).chain(further.iter().map(ToString::to_string)).collect();
        Options::parse(&words).expect("the values were checked by options of the same bounds")
    }

    /// A run without journals, with these further arguments; what is not well goes into the report.
    pub(super) fn run(&self, report: &mut Report, name: &str, further: &[&str]) -> Result<Summary, RunError> {
        self.run_durably(report, "off", name, further)
    }

    /// The same with journals of this durability.
    pub(super) fn run_durably(
        &self,
        report: &mut Report,
        durability: &str,
        name: &str,
        further: &[&str],
    ) -> Result<Summary, RunError> {
        eprintln!("measuring: {name}");
        let options = self.options_with(durability, self.duration, further);
        let summary = local::run(&options, Progress::Silent)?;
        if summary.interrupted {
            return Err(RunError::Interrupted);
        }
        if summary.exit_code() != 0 {
            report.complain(format!(
                "{name}: exit code {}\n{}",
                summary.exit_code(),
                summary.to_text(columns())
            ));
        }
        Ok(summary)
    }
}
