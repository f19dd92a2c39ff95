//! The command line: identity, files, limits, log.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use wire::committee::Committee;
use wire::flags::Flag;
use wire::keys::NodeKeys;
use wire::limits::local::LocalLimits;
use wire::logging;
use wire::program::Program;
use wire::startup::Startup;
use wire::text::ParseError;

/// The command line of `net_server`.
pub(crate) const PROGRAM: Program = Program {
    name: "net_server",
    summary: "the listening process of a node",
    about: &[
        "A child of node, which starts it, restarts it when it dies, and talks with it over its standard input: a \
         socket, so that it cannot be started by hand. It listens to nodes and clients on the node's port and \
         hands the core what they send.",
    ],
    own: &[Flag::required("--log", "FILE|stderr", "The log, to which it appends.")],
    exit_status: &[
        (0, "node has ended or was killed"),
        (1, "it cannot listen, or a message of the core cannot be read"),
        (2, "the command line, RUST_LOG or a file is wrong, or the log cannot be written; node gives up"),
    ],
};

/// The settings of the process.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) keys: NodeKeys,
    pub(crate) committee: Committee,
    pub(crate) listen: SocketAddr,
    pub(crate) limits: LocalLimits,
    log: LogTo,
}

#[derive(Debug)]
enum LogTo {
    Stderr,
    File(PathBuf),
}

impl Options {
    /// Reads the flags and the files they name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Options, ParseError> {
        let (startup, flags) = Startup::read(arguments, &PROGRAM)?;
        let Startup { id, committee, hosts, keys, limits, .. } = startup;
        let listen = hosts.get(id).expect("there is a host for each node").listen_address();
        let log = match flags.path("--log")? {
            path if path == Path::new("stderr") => LogTo::Stderr,
            path => LogTo::File(path),
        };
        Ok(Options { keys, committee, listen, limits, log })
    }

    /// Starts logging; appends if the log is a file. By `RUST_LOG`.
    pub(crate) fn start_logging(&self) -> Result<(), ParseError> {
        let mut builder = env_logger::Builder::new();
        builder.parse_filters(&logging::filter("info")?);
        if let LogTo::File(path) = &self.log {
            let file = OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
                let place = format!("--log {}", path.display());
                ParseError::of(&place, &error.to_string(), "a file that can be written, or stderr")
            })?;
            builder.target(env_logger::Target::Pipe(Box::new(file)));
        }
        builder.format_timestamp_micros().init();
        Ok(())
    }
}
