//! A run from its nodes' start to the summary.

use std::io;
use std::path::PathBuf;

use super::directories::Directories;
use super::error::RunError;
use super::ongoing::{Companion, Run};
use super::summary::Summary;
use super::wind_up::wind_up;
use crate::report;
use crate::signals;
use crate::terminal::{columns, print};

/// Goes through with a run whose nodes have been started.
pub(crate) fn conduct(mut run: Run<'_>, companion: &mut dyn Companion) -> Result<Summary, RunError> {
    run.wait_until_ready()?;
    run.settle()?;
    conduct_ready(run, companion)
}

/// The same with nodes that answer.
pub(crate) fn conduct_ready(mut run: Run<'_>, companion: &mut dyn Companion) -> Result<Summary, RunError> {
    let mut ticker = run.offer(companion)?;
    run.drain(&mut ticker, companion);
    companion.end(&run);
    Ok(wind_up(run))
}

/// Prints what a run came to, in the name of a command, and returns the exit code.
pub(crate) fn conclude(command: &str, result: Result<Summary, RunError>, directories: &Directories) -> u8 {
    match result {
        Ok(summary) => {
            let code = summary.exit_code();
            print(format!("\n{}", summary.to_text(columns())));
            print_report(command, report::write(directories));
            print(format!("  logs in {}, exit code {code}", directories.log.display()));
            code
        }
        Err(error) => not_begun(command, &error),
    }
}

/// Prints where the page of a run is. The run is judged without it.
pub(crate) fn print_report(command: &str, written: io::Result<PathBuf>) {
    match written {
        Ok(path) => print(format!("  report in {}", path.display())),
        Err(error) => eprintln!("tools {command}: cannot write {}: {error}", report::FILE),
    }
}

/// Prints why no load was offered, in the name of a command, and returns the exit code.
pub(crate) fn not_begun(command: &str, error: &RunError) -> u8 {
    match error {
        RunError::Start(error) if !signals::is_interrupted() => {
            eprintln!("tools {command}: {error}");
            4
        }
        RunError::Start(_) | RunError::Interrupted => {
            eprintln!("tools {command}: interrupted before any load was offered");
            130
        }
    }
}
