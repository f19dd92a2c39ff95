//! `tools local`: one command from nothing to a judged run, all nodes on this machine.
//!
//! [`crate::run`] conducts the run; here are its options ([`options`]), free ports ([`ports`]), and how its processes
//! start and stop ([`cluster`]); [`room`] warns where their journals may fill the disk.

mod cluster;
mod options;
mod ports;
mod room;
mod start;
mod testbed;

pub(crate) use self::options::{COMMAND, Options};
pub(crate) use self::testbed::Testbed;

use self::start::start;
use crate::flags::{UsageError, Values};
use crate::run::{Alone, Companion, Progress, RunError, Summary, conclude, conduct};
use crate::signals;
use crate::watch::conduct_watched;

pub(crate) fn run_command(values: &Values) -> Result<u8, UsageError> {
    let options = Options::from_values(values)?;
    if let Err(error) = signals::block() {
        eprintln!("tools local: {error}");
        return Ok(4);
    }
    let summary = conduct_watched(&options.run, |progress| start(&options, &[], progress));
    Ok(conclude("local", summary, &options.run.directories))
}

/// Runs a testbed. Signals must be blocked (see [`signals::block`]).
pub(crate) fn run(options: &Options, progress: Progress) -> Result<Summary, RunError> {
    run_beside(options, progress, &mut Alone)
}

/// The same, with a companion.
pub(crate) fn run_beside(
    options: &Options,
    progress: Progress,
    companion: &mut dyn Companion,
) -> Result<Summary, RunError> {
    conduct(start(options, &[], progress)?, companion)
}
