//! Ctrl-C, SIGTERM and SIGHUP without a signal handler, which std cannot install.
//!
//! The process executes itself again, same pid, under `env --block-signal=INT,TERM,HUP,XFSZ`. Blocked signals stay
//! pending and show in `/proc/self/status`; loops call [`is_interrupted`] every 100 ms or so. Children inherit the
//! mask, so Ctrl-C at a terminal, which reaches the whole foreground group, ends nobody before the run has been wound
//! up. A pending signal cannot be taken back: it is seen from then on.
//!
//! XFSZ is blocked for the sake of nodes, which inherit that too: when a planned fault forbids them to write to files,
//! their writes fail as on a full disk, and no signal ends them.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// HUP (signal 1), INT (2) and TERM (15) as bits of the masks in `/proc/self/status`, where signal s is bit s − 1.
const WATCHED: u64 = 1 | 1 << 1 | 1 << 14;
/// These and XFSZ (25).
const BLOCKED: u64 = WATCHED | 1 << 24;

/// Set for the second execution, so that an `env` that does not block cannot make us execute ourselves for ever.
const MARKER: &str = "TESTBED_SIGNALS_BLOCKED";

/// Blocks the signals for this process and all its children. Returns only if they are blocked already or cannot be.
pub(crate) fn block() -> io::Result<()> {
    try_to_block().map_err(|error| io::Error::other(format!("cannot block signals: {error}")))
}

fn try_to_block() -> io::Result<()> {
    if mask("SigBlk")? & BLOCKED == BLOCKED {
        return Ok(());
    }
    if std::env::var_os(MARKER).is_some() {
        return Err(io::Error::other("'env --block-signal' did not block signals"));
    }
    Err(Command::new("env")
        .arg("--block-signal=INT,TERM,HUP,XFSZ")
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(MARKER, "1")
        .exec())
}

/// Whether one of the watched signals has arrived since [`block`].
pub(crate) fn is_interrupted() -> bool {
    mask("ShdPnd").is_ok_and(|pending| pending & WATCHED != 0)
        || mask("SigPnd").is_ok_and(|pending| pending & WATCHED != 0)
}

fn mask(field: &str) -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    parse_mask(&status, field).ok_or_else(|| io::Error::other(format!("/proc/self/status has no {field}")))
}

fn parse_mask(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_read_by_name() {
        let status =
            "Name:\tx\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000002\nSigBlk:\t0000000000004003\n";
        assert_eq!(parse_mask(status, "ShdPnd"), Some(1 << 1));
        assert_eq!(parse_mask(status, "SigBlk").map(|mask| mask & WATCHED), Some(WATCHED));
        assert_eq!(parse_mask(status, "SigCgt"), None);
    }

    #[test]
    fn nobody_has_interrupted_the_tests() {
        assert!(mask("SigBlk").is_ok());
        assert!(!is_interrupted());
    }
}
