//! What the command line says: who we are, where the files are, and the limits that may be set.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wire::committee::Committee;
use wire::flags::{Flag, Flags};
use wire::hosts::Hosts;
use wire::ids::NodeId;
use wire::keys::NodeKeys;
use wire::limits;
use wire::text::ParseError;

const KNOWN: &[Flag] = &[
    Flag::with("--id", "N"),
    Flag::with("--hosts", "FILE"),
    Flag::with("--keys", "DIR"),
    Flag::with("--log", "FILE|stderr"),
    Flag::with("--handshake-time-ms", "MS"),
    Flag::with("--handshakes-max", "COUNT"),
    Flag::with("--handshakes-per-ip-max", "COUNT"),
    Flag::with("--accepts-per-s-max", "COUNT"),
    Flag::with("--clients-max", "COUNT"),
    Flag::with("--peer-bytes-per-s", "BYTES"),
    Flag::with("--peer-silence-ms", "MS"),
];

/// The limits that have flags; see `wire::limits` for the defaults and their reasons.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) handshake_time: Duration,
    pub(crate) handshakes_max: usize,
    pub(crate) handshakes_per_ip_max: usize,
    pub(crate) accepts_per_s_max: u64,
    pub(crate) clients_max: usize,
    /// Bytes a second that each peer may send; no limit if none.
    pub(crate) peer_bytes_per_s: Option<u64>,
    /// How long a peer may send nothing; honest ones ping.
    pub(crate) peer_silence: Duration,
}

/// All that the process is told at its start.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) keys: NodeKeys,
    pub(crate) committee: Committee,
    pub(crate) listen: SocketAddr,
    pub(crate) limits: Limits,
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
        Ok(Options { keys, committee, listen, limits: parse_limits(&flags)?, log })
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

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            handshake_time: limits::HANDSHAKE_TIME,
            handshakes_max: limits::HANDSHAKES_MAX,
            handshakes_per_ip_max: limits::HANDSHAKES_PER_IP_MAX,
            accepts_per_s_max: u64::from(limits::ACCEPTS_PER_S_MAX),
            clients_max: limits::CLIENTS_MAX,
            peer_bytes_per_s: None,
            peer_silence: limits::PEER_SILENCE_MAX,
        }
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

fn parse_limits(flags: &Flags) -> Result<Limits, ParseError> {
    const MAX: u64 = 1_000_000;
    let default = Limits::default();
    let count = |name, default: usize| {
        flags.number(name, 1, MAX).map(|given| given.map_or(default, |count| count as usize))
    };
    let time = |name, default: Duration| {
        flags.number(name, 1, MAX).map(|given| given.map_or(default, Duration::from_millis))
    };
    Ok(Limits {
        handshake_time: time("--handshake-time-ms", default.handshake_time)?,
        handshakes_max: count("--handshakes-max", default.handshakes_max)?,
        handshakes_per_ip_max: count("--handshakes-per-ip-max", default.handshakes_per_ip_max)?,
        accepts_per_s_max: flags.number("--accepts-per-s-max", 1, MAX)?.unwrap_or(default.accepts_per_s_max),
        clients_max: count("--clients-max", default.clients_max)?,
        peer_bytes_per_s: flags.number("--peer-bytes-per-s", 1, u64::MAX)?,
        peer_silence: time("--peer-silence-ms", default.peer_silence)?,
    })
}
