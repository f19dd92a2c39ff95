//! How the commands of `tools deploy` begin and end.

use std::fmt::Display;

use super::deployment::Deployment;
use super::options;
use crate::flags::{UsageError, Values};
use crate::signals;

/// Not all hosts did it.
pub(super) const EXIT_FAILED: u8 = 1;
/// It could not begin.
pub(super) const EXIT_NOT_BEGUN: u8 = 4;
/// A signal ended it.
pub(super) const EXIT_INTERRUPTED: u8 = 130;

/// Does something with the hosts of a command line; gives the exit code.
pub(super) fn with_deployment(
    action: &str,
    values: &Values,
    work: impl FnOnce(&Deployment) -> Result<u8, UsageError>,
) -> Result<u8, UsageError> {
    let target = options::target(values)?;
    if let Err(error) = signals::block() {
        return Ok(not_begun(action, error));
    }
    match Deployment::new(target) {
        Ok(deployment) => work(&deployment),
        Err(error) => Ok(not_begun(action, error)),
    }
}

/// Prints why a command could not begin; the exit code.
pub(super) fn not_begun(action: &str, error: impl Display) -> u8 {
    eprintln!("tools deploy {action}: {error}");
    EXIT_NOT_BEGUN
}

/// Prints failures; the exit code.
pub(super) fn exit_code(action: &str, result: Result<(), impl Display>) -> u8 {
    match result {
        _ if signals::is_interrupted() => {
            eprintln!("tools deploy {action}: interrupted");
            EXIT_INTERRUPTED
        }
        Ok(()) => 0,
        Err(failures) => {
            eprintln!("tools deploy {action}: {failures}");
            EXIT_FAILED
        }
    }
}
