//! What the command line says: who we are, where the files are, and the limits that may be set.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use wire::committee::Committee;
use wire::flags::{Flag, Flags};
use wire::hosts::Hosts;
use wire::ids::NodeId;
use wire::keys::NodeKeys;
use wire::limits::local::LocalLimits;
use wire::text::ParseError;

const KNOWN: &[Flag] = &[
    Flag::with("--id", "N"),
    Flag::with("--hosts", "FILE"),
    Flag::with("--keys", "DIR"),
    Flag::with("--log", "FILE|stderr"),
    Flag::with("--limits", LocalLimits::SHAPE),
];

/// All that the process is told at its start.
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
        let flags = Flags::parse(arguments, KNOWN)?;
        let expected = "the id of a node of committee.txt";
        let id = NodeId(flags.required("--id", expected, |text| text.parse().ok())?);
        let directory = flags.path("--keys")?;
        let committee = load_committee(&directory.join("committee.txt"))?;
        if !committee.contains(id) {
            return Err(ParseError::of("--id", &id.to_string(), expected));
        }
        let keys = load_keys(&directory.join(format!("node-{id}.key")), id, &committee)?;
        let hosts_path = flags.path("--hosts")?;
        let hosts = Hosts::load(&hosts_path)?;
        let listen = match hosts.get(id) {
            Some(host) if hosts.count() == committee.nodes().count() => host.listen_address(),
            _ => {
                let expected = format!("{} lines, as committee.txt has nodes", committee.nodes().count());
                let found = format!("{} lines", hosts.count());
                return Err(ParseError::of(&hosts_path.display().to_string(), &found, expected));
            }
        };
        let log = match flags.path("--log")? {
            path if path == Path::new("stderr") => LogTo::Stderr,
            path => LogTo::File(path),
        };
        let limits = LocalLimits::of(flags.text("--limits"))?;
        Ok(Options { keys, committee, listen, limits, log })
    }

    /// Directs the log where it was asked for, appending to a file. `RUST_LOG` is respected.
    pub(crate) fn start_logging(&self) -> Result<(), ParseError> {
        let mut builder = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"));
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

fn load_committee(path: &Path) -> Result<Committee, ParseError> {
    let place = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| ParseError::of(&place, &error.to_string(), "a readable committee file"))?;
    Committee::parse(&place, &text)
}

fn load_keys(path: &Path, id: NodeId, committee: &Committee) -> Result<NodeKeys, ParseError> {
    let keys = NodeKeys::load(path)?;
    let place = path.display().to_string();
    if keys.id != id {
        return Err(ParseError::of(&place, &format!("the key of node {}", keys.id), format!("that of {id}")));
    }
    if keys.signing.verifying_key().to_bytes() != committee.member(id).public_key {
        return Err(ParseError::of(&place, "another key", "the key that committee.txt gives this node"));
    }
    Ok(keys)
}
