//! Reads what each process of a node needs at its start: its id, the files of the testbed, the limits of the run.

use std::fs;
use std::path::{Path, PathBuf};

use crate::committee::Committee;
use crate::flags::Flags;
use crate::hosts::Hosts;
use crate::ids::NodeId;
use crate::keys::NodeKeys;
use crate::limits::local::LocalLimits;
use crate::program::Program;
use crate::text::ParseError;

/// The parts of the command line that all three processes share, checked against each other.
pub struct Startup {
    /// The node, a member of the committee.
    pub id: NodeId,
    /// The content of `committee.txt`.
    pub committee: Committee,
    /// The content of `hosts_file`, with one host a member.
    pub hosts: Hosts,
    /// The keys of `id`, whose public half is in the committee.
    pub keys: NodeKeys,
    /// The limits of this run.
    pub limits: LocalLimits,
    /// The hosts file.
    pub hosts_file: PathBuf,
    /// The directory of `committee.txt` and the key file.
    pub keys_directory: PathBuf,
}

impl Startup {
    /// Reads the shared flags and the files that they name. Also returns all flags, since the program may have some of
    /// its own.
    ///
    /// # Errors
    /// Names the flag or file that is wrong.
    pub fn read(
        arguments: impl IntoIterator<Item = String>,
        program: &Program,
    ) -> Result<(Startup, Flags), ParseError> {
        let flags = program.parse(arguments)?;
        let limits = LocalLimits::of(flags.text("--limits"))?;
        let (hosts_file, keys_directory) = (flags.path("--hosts")?, flags.path("--keys")?);
        let committee = load_committee(&keys_directory.join("committee.txt"))?;
        let nodes = committee.nodes().count();
        let id = flags.required("--id", &format!("a node id from 0 to {}", nodes - 1), |text| {
            text.parse().ok().map(NodeId).filter(|id| committee.contains(*id))
        })?;
        let hosts = Hosts::load(&hosts_file)?;
        if hosts.count() != nodes {
            let (place, found) = (hosts_file.display().to_string(), format!("{} nodes", hosts.count()));
            return Err(ParseError::of(&place, &found, format!("the {nodes} nodes of committee.txt")));
        }
        let keys = load_keys(&keys_directory.join(format!("node-{id}.key")), id, &committee)?;
        Ok((Startup { id, committee, hosts, keys, limits, hosts_file, keys_directory }, flags))
    }
}

/// Reads a committee file.
///
/// # Errors
/// If it cannot be read or understood.
pub fn load_committee(path: &Path) -> Result<Committee, ParseError> {
    let place = path.display().to_string();
    let text = fs::read_to_string(path)
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
