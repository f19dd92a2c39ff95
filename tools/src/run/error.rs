//! Why a run could not begin.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wire::ids::NodeId;
use wire::text::ParseError;

use super::fleet::UnaskedEnd;
use super::program::ProgramError;
use crate::ids;
use crate::keygen::KeygenError;
use crate::pids::Entry;

/// Why a run could not begin. Nothing it started is left running.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The system refused something about a file.
    File {
        verb: &'static str,
        path: PathBuf,
        error: io::Error,
    },
    /// The data directory holds what no run writes.
    Foreign {
        directory: PathBuf,
        found: PathBuf,
    },
    /// The data directory holds keys that no run has dealt.
    KeysOfOthers {
        directory: PathBuf,
        testbed: String,
    },
    /// The disk is full, or nearly.
    DiskFull {
        directory: PathBuf,
        free_kib: u64,
        needed_kib: u64,
    },
    /// Another run uses the data directory.
    AnotherRun {
        directory: PathBuf,
        pid: u32,
    },
    /// Nodes of somebody else log into the log directory.
    NodesWrite {
        directory: PathBuf,
        nodes: BTreeSet<NodeId>,
    },
    /// Leftovers of an earlier run cannot be ended.
    Leftovers(Vec<Entry>),
    NoProgram(ProgramError),
    /// A file that is there cannot be understood.
    Parse(ParseError),
    /// Keys could not be dealt.
    Keygen(KeygenError),
    /// A port is taken.
    Port {
        port: u16,
        error: io::Error,
    },
    /// Ports beyond the last.
    PortsBeyondTheLast {
        base: u16,
        nodes: u16,
    },
    /// No free ports.
    NoFreePorts {
        from: u16,
        to: u16,
    },
    /// Nodes ended before all were ready.
    NodesEnded(Vec<UnaskedEnd>),
    /// The same of nodes that go on from their journals, and the nodes that are to follow in a run without these
    /// journals, if it can do without.
    NotResumed {
        ends: Vec<UnaskedEnd>,
        follow: Option<BTreeSet<NodeId>>,
    },
    /// Nodes did not take clients in time; what is known of why.
    NotReady {
        waited: Duration,
        notes: Vec<String>,
    },
    /// No member of some shard answers; what is known of why.
    NotReached(String),
    /// Hosts are not fit for it, or something failed on them; in words.
    Hosts(String),
    /// The system refused something else.
    System {
        what: &'static str,
        error: io::Error,
    },
}

impl StartError {
    /// An error about a file.
    pub(crate) fn file(verb: &'static str, path: &Path, error: io::Error) -> StartError {
        StartError::File { verb, path: path.into(), error }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::File { verb, path, error } => write!(f, "cannot {verb} {}: {error}", path.display()),
            StartError::Foreign { directory, found } => write!(
                f,
                "{} is not the data directory of a run, since it holds {}; choose another with --data-dir",
                directory.display(),
                found.display()
            ),
            StartError::KeysOfOthers { directory, testbed } => write!(
                f,
                "{} holds the keys of testbed {testbed}, which were not dealt for a run, and a run deals its own: choose \
                 another --data-dir, or use them with tools deploy install",
                directory.display()
            ),
            StartError::DiskFull { directory, free_kib, needed_kib } => write!(
                f,
                "only {free_kib} KiB are free for {}, and a run needs at least {needed_kib} KiB",
                directory.display()
            ),
            StartError::AnotherRun { directory, pid } => write!(
                f,
                "another run or load (pid {pid}) uses {}; choose another directory",
                directory.display()
            ),
            StartError::NodesWrite { directory, nodes } => write!(
                f,
                "{} is in use by {}, still running; stop what runs there or choose another --log-dir",
                directory.display(),
                ids::nodes_text(nodes),
            ),
            StartError::Leftovers(entries) => {
                let names: Vec<String> =
                    entries.iter().map(|entry| format!("{} (pid {})", entry.what, entry.pid)).collect();
                write!(f, "processes of an earlier run cannot be ended: {}", names.join(", "))
            }
            StartError::NoProgram(error) => error.fmt(f),
            StartError::Parse(error) => error.fmt(f),
            StartError::Keygen(error) => error.fmt(f),
            StartError::Port { port, error } => {
                write!(f, "port {port} of this machine cannot be bound: {error}")
            }
            StartError::PortsBeyondTheLast { base, nodes } => {
                write!(f, "--base-port {base} leaves no ports for {nodes} nodes below 65536")
            }
            StartError::NoFreePorts { from, to } => write!(f, "too few free ports from {from} to {to}"),
            StartError::NodesEnded(ends) => f.write_str(&joined(ends)),
            StartError::NotResumed { ends, follow: None } => f.write_str(&joined(ends)),
            StartError::NotResumed { ends, follow: Some(nodes) } => write!(
                f,
                "{}; if a journal cannot be restored, --resume --follow {} goes on without the signatures of its node",
                joined(ends),
                ids::nodes(nodes)
            ),
            StartError::NotReady { waited, notes } => {
                write!(f, "not all nodes took clients within {} s: {}", waited.as_secs(), notes.join("; "))
            }
            StartError::NotReached(why) => write!(f, "there is a shard of which no member answers; {why}"),
            StartError::Hosts(what) => f.write_str(what),
            StartError::System { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

fn joined(ends: &[UnaskedEnd]) -> String {
    ends.iter().map(UnaskedEnd::to_string).collect::<Vec<_>>().join("; ")
}

impl std::error::Error for StartError {}

impl From<ParseError> for StartError {
    fn from(error: ParseError) -> StartError {
        StartError::Parse(error)
    }
}

impl From<KeygenError> for StartError {
    fn from(error: KeygenError) -> StartError {
        StartError::Keygen(error)
    }
}

impl From<ProgramError> for StartError {
    fn from(error: ProgramError) -> StartError {
        StartError::NoProgram(error)
    }
}

/// Why a run has no summary.
#[derive(Debug)]
pub(crate) enum RunError {
    /// It could not begin.
    Start(StartError),
    /// It was interrupted before any load was offered.
    Interrupted,
}

impl From<StartError> for RunError {
    fn from(error: StartError) -> RunError {
        RunError::Start(error)
    }
}
