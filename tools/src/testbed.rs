//! Where the files of a testbed are, for the commands on one that somebody has started: all look in the same places.
//!
//! The data directory is `data`, where a run and `tools deploy` keep it; without one it is the current directory, where
//! `tools keygen` deals by default. `--hosts` and `--keys` name single places beside it.

use std::path::{Path, PathBuf};

use wire::committee::Committee;
use wire::hosts::Hosts;
use wire::text::ParseError;

use crate::flags::{Opt, Values};
use crate::keygen::load_testbed;

pub(crate) const DATA_DIR: Opt = Opt::without_default(
    "data-dir",
    "DIR",
    "The directory with hosts.txt and keys/; as a rule data, or this directory if there is no data.",
);
pub(crate) const HOSTS: Opt =
    Opt::without_default("hosts", "FILE", "Where the nodes are; as a rule DATA_DIR/hosts.txt.");
pub(crate) const KEYS: Opt =
    Opt::without_default("keys", "DIR", "The directory with committee.txt; as a rule DATA_DIR/keys.");

/// The data directory of a command line.
pub(crate) fn data_dir(values: &Values) -> PathBuf {
    let usual = if Path::new("data").is_dir() { "data" } else { "." };
    PathBuf::from(values.text(DATA_DIR.name).unwrap_or(usual))
}

/// The directory of its keys.
pub(crate) fn keys(values: &Values) -> PathBuf {
    values.text(KEYS.name).map_or_else(|| within(&data_dir(values), "keys"), PathBuf::from)
}

/// Its hosts and its committee.
pub(crate) fn load(values: &Values) -> Result<(Hosts, Committee), ParseError> {
    let hosts = values.text(HOSTS.name).map_or_else(|| within(&data_dir(values), "hosts.txt"), PathBuf::from);
    refuse_missing_hosts(&hosts)?;
    load_testbed(&hosts, &keys(values))
}

/// Names the option if its file is not there, since the path may be one that nobody has given.
pub(crate) fn refuse_missing_hosts(path: &Path) -> Result<(), ParseError> {
    match path.metadata() {
        Ok(_) => Ok(()),
        Err(error) => {
            let found = format!("{} ({error})", path.display());
            Err(ParseError::of("--hosts", &found, "a hosts file, with a line for each node"))
        }
    }
}

/// The place of a file as people write it: without the dot of the current directory.
fn within(directory: &Path, name: &str) -> PathBuf {
    if directory == Path::new(".") { PathBuf::from(name) } else { directory.join(name) }
}
