//! Errors of steps on hosts, with a hint where a person can do something about them.

use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use super::script::ReplyError;

/// More than any script answers, from a host with all nodes there can be.
pub(super) const REPLY_BYTES_MAX: u64 = 4 << 20;

/// Why something could not be done on a host.
#[derive(Debug)]
pub(super) enum SshError {
    /// `ssh` itself cannot be run, or a file here cannot be read or written.
    Here { what: String, error: io::Error },
    /// It took too long.
    TooLong { doing: String, limit: Duration, stderr: Vec<String> },
    /// It ended badly.
    Failed { doing: String, status: ExitStatus, stderr: Vec<String> },
    /// Its output was longer than is ever needed.
    TooMuch { doing: String },
    /// It worked, and the script's answer is bad news.
    Reply { doing: String, error: ReplyError },
    /// A signal came.
    Interrupted,
}

impl fmt::Display for SshError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SshError::Here { what, error } => write!(f, "{what}: {error}"),
            SshError::TooLong { doing, limit, stderr } => {
                let limit = limit.as_secs_f64();
                write!(f, "{doing} did not get on for {limit} s (--timeout){}", with_colon(stderr))
            }
            SshError::Failed { doing, status, stderr } => {
                // 255 is ssh's own; all else comes from the other side.
                match status.code() {
                    Some(255) if !stderr.is_empty() => {
                        let text = stderr.join("; ");
                        write!(f, "ssh: {}", text.strip_prefix("ssh: ").unwrap_or(&text))?;
                    }
                    Some(code) => write!(f, "{doing} failed (exit status {code}){}", with_colon(stderr))?,
                    None => write!(f, "{doing} failed ({status}){}", with_colon(stderr))?,
                }
                f.write_str(hint(stderr))
            }
            SshError::TooMuch { doing } => {
                write!(f, "{doing} brought an answer of more than {REPLY_BYTES_MAX} bytes")
            }
            SshError::Reply { error: error @ ReplyError::Refused(_), .. } => error.fmt(f),
            SshError::Reply { doing, error } => write!(f, "{doing}: {error}"),
            SshError::Interrupted => f.write_str("interrupted"),
        }
    }
}

fn with_colon(stderr: &[String]) -> String {
    if stderr.is_empty() { String::new() } else { format!(": {}", stderr.join("; ")) }
}

/// A hint to a person, where there is one.
fn hint(stderr: &[String]) -> &'static str {
    let has = |text: &str| stderr.iter().any(|line| line.contains(text));
    if has("has changed") {
        " (somebody else may answer there; see known_hosts)"
    } else if has("Host key verification failed") {
        " (log in once by hand, and compare the key that it shows)"
    } else if has("Permission denied (") {
        " (ssh must log in without a password: see your keys and agent)"
    } else {
        ""
    }
}
