//! `tools local`: one command from nothing to a judged run.
//!
//! 1. *Prepare*: signals blocked, leftovers of an earlier run named and ended, directories cleared, keys dealt, ports
//!    found.
//! 2. *Start* N nodes for each shard and wait until each takes clients.
//! 3. *Offer* load; a line a second; faults at their times.
//! 4. *Drain*: no more load, until nothing is open anywhere.
//! 5. *Wind up*: last statuses, stop, compare files, sum up.
//!
//! Whatever goes wrong after step 2 began, no process is left: nodes stop when our end of their standard input goes
//! away, and [`cluster::Cluster`] kills what does not.

mod cluster;
mod diagnosis;
mod directories;
mod error;
mod faults;
mod fleet;
mod options;
mod ports;
mod prepare;
mod run;
mod testbed;
mod usage;
mod wind_up;

pub(crate) use self::directories::{Directories, free_kib, node_of_log};
pub(crate) use self::error::StartError;
pub(crate) use self::faults::{Fault, Kind, parse_seconds};
pub(crate) use self::fleet::{Fleet, UnaskedEnd};
pub(crate) use self::options::{COMMAND, Options, SIGNED_HELP, limits, shards};
pub(crate) use self::prepare::prepare;
pub(crate) use self::run::{Alone, Companion, Progress, Run, RunError, begin, conduct, run, run_beside};
pub(crate) use self::testbed::Testbed;
pub(crate) use self::usage::Usage;

use crate::flags::{UsageError, Values};
use crate::signals;
use crate::summary::Summary;
use crate::terminal::tell;

/// Prints the summary of a run and the directory of its logs; returns the exit code.
pub(crate) fn print_summary(summary: &Summary, directories: &Directories) -> u8 {
    let code = summary.exit_code();
    tell(format!("\n{}", summary.to_text()));
    tell(format!("  logs in {}, exit code {code}", directories.log.display()));
    code
}

/// Runs the command and returns its exit code.
pub(crate) fn run_command(values: &Values) -> Result<u8, UsageError> {
    let options = Options::from_values(values)?;
    if let Err(error) = signals::block() {
        eprintln!("tools local: cannot block signals: {error}");
        return Ok(4);
    }
    match run(&options, Progress::Told) {
        Ok(summary) => Ok(print_summary(&summary, &options.directories)),
        Err(RunError::Start(error)) => {
            eprintln!("tools local: {error}");
            Ok(4)
        }
        Err(RunError::Interrupted) => {
            eprintln!("tools local: interrupted before any load was offered");
            Ok(130)
        }
    }
}
