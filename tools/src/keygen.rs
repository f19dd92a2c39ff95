//! `tools keygen`: the trusted dealer, run once for a testbed.
//!
//! Writes `committee.txt` (public, the same for all) and `node-<id>.key` (secret, mode 0600). Nothing is ever
//! overwritten: keys that are in use elsewhere must not be lost to a mistyped directory.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bft::crypto::deal::deal_committee;
use wire::committee::{Committee, Protocol};
use wire::hosts::Hosts;
use wire::keys::NodeKeys;
use wire::limits::{NODES_MAX, NODES_PER_SHARD_MAX};
use wire::rand;
use wire::text::ParseError;

use crate::flags::{Command, Opt, Range, UsageError, Values};
use crate::terminal::print;

/// Numbers of shards: there is a node at least in each.
pub(crate) const SHARDS_RANGE: Range = Range::whole(1, NODES_MAX as u64);

pub(crate) const COMMAND: Command = Command {
    name: "keygen",
    summary: "deals the keys of a new testbed",
    about: "Deals the ed25519 keys and the coin shares of all nodes and writes them to a directory: committee.txt, \
            which is public and the same for every node, and node-<id>.key, one a node, which only that node's owner \
            may read. A random nonce in committee.txt keeps any two testbeds apart. Existing files are never \
            overwritten.",
    operands: &[],
    options: &[
        Opt::without_default("nodes", "N", "Nodes in each shard.")
            .within(Range::whole(1, NODES_PER_SHARD_MAX as u64)),
        Opt::with("shards", "K", "1", "Shards; N × K is at most 1024.").within(SHARDS_RANGE),
        Opt::switch("signed", "Transactions carry the signatures of the owners of the coins they spend."),
        Opt::with("coins", "C", "200000", "Coins each shard starts with.")
            .within(Range::whole(0, 10_000_000)),
        Opt::with("out", "DIR", "keys", "The directory, created if it is not there."),
    ],
    sections: &[
        ("EXIT STATUS", "0  dealt\n2  usage\n4  a file exists or cannot be written"),
        ("EXAMPLES", "tools keygen --nodes 4 --shards 2 --out keys  Deals the keys of eight nodes to keys/."),
    ],
};

/// Why no keys were dealt.
#[derive(Debug)]
pub(crate) enum KeygenError {
    /// A file that would be overwritten.
    Exists(PathBuf),
    /// The system refuses a file.
    File(PathBuf, io::Error),
}

impl std::fmt::Display for KeygenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeygenError::Exists(path) => {
                write!(f, "{} exists and is not overwritten; choose another directory", path.display())
            }
            KeygenError::File(path, error) => write!(f, "cannot write {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for KeygenError {}

pub(crate) fn run(values: &Values) -> Result<u8, UsageError> {
    let nodes = values.whole("nodes")? as u16;
    let shards = shards(values, nodes)?;
    let protocol = Protocol {
        signed: values.is_given("signed"),
        genesis_coins: values.whole("coins")?,
        ..Protocol::default()
    };
    let out = Path::new(values.required("out")?);
    match deal(out, nodes, shards, protocol) {
        Ok(committee) => {
            print(format!(
                "dealt {} of {} into {}; testbed {}",
                counted(usize::from(committee.shards()), "shard"),
                counted(committee.n(), "node"),
                out.display(),
                committee.testbed()
            ));
            Ok(0)
        }
        Err(error) => {
            eprintln!("tools keygen: {error}");
            Ok(4)
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Deals a committee and writes its files into `out`.
pub(crate) fn deal(
    out: &Path,
    nodes: u16,
    shards: u16,
    protocol: Protocol,
) -> Result<Committee, KeygenError> {
    let committee_path = out.join("committee.txt");
    let key_path = |id| out.join(format!("node-{id}.key"));
    let paths = (0..nodes * shards).map(key_path).chain([committee_path.clone()]);
    // Looked at before anything is written, so that a refusal leaves no half of a testbed.
    if let Some(path) = paths.into_iter().find(|path| path.exists()) {
        return Err(KeygenError::Exists(path));
    }
    fs::create_dir_all(out).map_err(|error| KeygenError::File(out.into(), error))?;
    let (committee, secrets) = deal_committee(nodes, shards, protocol, rand::fill);
    for secret in secrets {
        let path = key_path(secret.id.0);
        let keys = NodeKeys { id: secret.id, signing: secret.signing, coin_secret: secret.coin_secret };
        keys.save(&path).map_err(|error| KeygenError::File(path, error))?;
    }
    // Last, so that a directory with a committee has all its keys.
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).open(&committee_path);
    file.and_then(|mut file| file.write_all(committee.text().as_bytes()))
        .map_err(|error| KeygenError::File(committee_path, error))?;
    Ok(committee)
}

/// The value of `--shards`, for shards of so many nodes.
pub(crate) fn shards(values: &Values, nodes: u16) -> Result<u16, UsageError> {
    let shards = values.whole("shards")? as u16;
    if u32::from(nodes) * u32::from(shards) > u32::from(NODES_MAX) {
        let given = format!("{shards} shards of {nodes} nodes");
        return Err(ParseError::of("--shards", &given, format!("at most {NODES_MAX} nodes in all")).into());
    }
    Ok(shards)
}

/// Reads a committee file.
pub(crate) fn load_committee(path: &Path) -> Result<Committee, ParseError> {
    let place = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        ParseError::of(
            &place,
            &error.to_string(),
            "a committee file; --data-dir names the directory above keys/",
        )
    })?;
    Committee::parse(&place, &text)
}

/// The hosts file of a testbed and the committee.txt of its directory of keys, which must belong together.
pub(crate) fn load_testbed(hosts: &Path, keys: &Path) -> Result<(Hosts, Committee), ParseError> {
    let place = hosts.display().to_string();
    let hosts = Hosts::load(hosts)?;
    let committee = load_committee(&keys.join("committee.txt"))?;
    let nodes = committee.nodes().count();
    if hosts.count() != nodes {
        let found = format!("{} nodes", hosts.count());
        return Err(ParseError::of(&place, &found, format!("the {nodes} nodes of committee.txt")));
    }
    Ok((hosts, committee))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use wire::ids::NodeId;

    use super::*;
    use crate::testing::TestDir;

    #[test]
    fn what_is_dealt_is_read_back_and_belongs_together() {
        let dir = TestDir::new();
        let out = dir.path().join("keys");
        let protocol = Protocol { signed: true, genesis_coins: 9, ..Protocol::default() };
        let dealt = deal(&out, 4, 2, protocol).unwrap();
        let committee = load_committee(&out.join("committee.txt")).unwrap();
        assert_eq!(committee, dealt);
        assert_eq!((committee.n(), committee.shards(), *committee.protocol()), (4, 2, protocol));
        for id in committee.nodes() {
            let path = out.join(format!("node-{id}.key"));
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            let keys = NodeKeys::load(&path).unwrap();
            assert_eq!(keys.id, id);
            assert_eq!(keys.signing.verifying_key().to_bytes(), committee.member(id).public_key);
        }
    }

    #[test]
    fn nothing_is_overwritten_and_no_two_testbeds_are_alike() {
        let dir = TestDir::new();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let first = deal(&one, 1, 1, Protocol::default()).unwrap();
        let second = deal(&two, 1, 1, Protocol::default()).unwrap();
        assert_ne!(first.testbed(), second.testbed());
        assert_ne!(first.member(NodeId(0)), second.member(NodeId(0)));
        let before = fs::read_to_string(one.join("committee.txt")).unwrap();
        assert!(matches!(deal(&one, 1, 1, Protocol::default()), Err(KeygenError::Exists(_))));
        fs::remove_file(one.join("committee.txt")).unwrap();
        let error = deal(&one, 1, 1, Protocol::default()).unwrap_err().to_string();
        assert!(error.contains("node-0.key exists"), "{error}");
        fs::write(one.join("committee.txt"), before).unwrap();
    }
}
