//! Bringing the logs and journals of all nodes here, under the names that they have in a local run.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wire::ids::{Digest, NodeId};
use wire::journal::segment_path;
use wire::procfs::free_bytes;
use wire::snapshot::snapshot_path;

use super::clock::{self, Offset};
use super::deployment::Deployment;
use super::script::{self, Reply, ReplyError, printable, quoted};
use super::sites::{Outcomes, Site, on_all};
use super::ssh_error::SshError;
use crate::run::{Directories, node_of_log};

/// Fetches the logs of these hosts, and writes how far their clocks are off beside them. A failure on
/// one host does not stop the others.
pub(super) fn fetch(deployment: &Deployment, sites: &[Site], log_dir: &Path) -> Outcomes<Offset> {
    let outcomes = on_all(sites, "logs", |site| {
        let fetched = fetch_logs(deployment, site, log_dir).map_err(|error| vec![error.to_string()])?;
        let clock = clock::measure(deployment, site).map_err(|error| vec![error.to_string()])?;
        let note = format!(
            "{} files ({}); its clock is {clock} off{}",
            fetched.files,
            megabytes(fetched.bytes),
            match fetched.journal_bytes {
                0 => String::new(),
                bytes => format!("; journals of {} stay there", megabytes(bytes)),
            }
        );
        Ok((clock, note))
    });
    let known: Vec<(&Site, Offset)> =
        sites.iter().zip(&outcomes).filter_map(|(site, clock)| Some((site, *clock.as_ref().ok()?))).collect();
    let path = log_dir.join("clocks.csv");
    if let Err(error) = clock::save(&path, &known) {
        log::warn!("cannot write {}: {error}", path.display());
    }
    outcomes
}

/// Fetches the journals of these hosts into the data directory of their testbed, in place of those that are there.
pub(super) fn fetch_journals(
    deployment: &Deployment,
    directories: &Directories,
    testbed: Digest,
) -> Outcomes<()> {
    on_all(&deployment.target.sites, "journals", |site| {
        let fetched = fetch_journals_of(deployment, site, directories, &testbed.to_string());
        let (nodes, bytes) = fetched.map_err(|error| vec![error.to_string()])?;
        Ok(((), format!("{nodes} journals ({})", megabytes(bytes))))
    })
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// What came from a host.
struct Fetched {
    files: u64,
    bytes: u64,
    /// The size of the journals that are left there.
    journal_bytes: u64,
}

/// A file on a host that may be fetched: its length, and its path in the run directory.
type Listed = (u64, String);

/// Fetches the logs of one host.
fn fetch_logs(deployment: &Deployment, site: &Site, log_dir: &Path) -> Result<Fetched, SshError> {
    let reply = deployment.run(site, script::LOGS, [], Duration::ZERO)?;
    let logs = listed(&reply, "log")?;
    refuse_without_room("logs", &logs, log_dir)?;
    let journal_bytes = total(&listed(&reply, "journal")?);
    let mut fetched = Fetched { files: 0, bytes: 0, journal_bytes };
    for (length, name) in logs {
        // A host decides the names, so only logs of its own nodes are taken.
        if !node_of_log(&name).is_some_and(|node| site.ids().any(|id| id == node)) {
            log::warn!("{site} has a log '{}', which is of none of its nodes", printable(&name));
            continue;
        }
        fetch_file(deployment, site, &(length, format!("log/{name}")), &log_dir.join(&name))?;
        fetched.files += 1;
        fetched.bytes += length;
    }
    Ok(fetched)
}

/// Fetches the journals of one host; how many, and how many bytes.
fn fetch_journals_of(
    deployment: &Deployment,
    site: &Site,
    directories: &Directories,
    testbed: &str,
) -> Result<(usize, u64), SshError> {
    let reply = deployment.run(site, script::LOGS, [], Duration::ZERO)?;
    let there = reply.text("testbed").unwrap_or_default();
    if there != testbed {
        let keys = directories.keys();
        let why =
            format!("testbed {} is installed, and {} is of {testbed}", printable(there), keys.display());
        return Err(refused(ReplyError::Refused(why)));
    }
    let mut files = listed(&reply, "journal")?;
    // A host decides the names, so only journals of its own nodes are taken.
    files.retain(|(_, path)| journal_of(path).is_some_and(|node| site.ids().any(|id| id == node)));
    refuse_without_room("journals", &files, &directories.data)?;
    let nodes: BTreeSet<NodeId> = files.iter().filter_map(|(_, path)| journal_of(path)).collect();
    let here = |what: &str, path: &Path, error| SshError::Here {
        what: format!("cannot {what} {}", path.display()),
        error,
    };
    for node in &nodes {
        let journal = directories.journal(*node);
        remove(&journal).map_err(|error| here("remove", &journal, error))?;
        fs::create_dir(&journal).map_err(|error| here("create", &journal, error))?;
    }
    let fetched =
        files.iter().try_for_each(|file| fetch_file(deployment, site, file, &directories.data.join(&file.1)));
    if let Err(error) = fetched {
        for node in &nodes {
            // Half a journal must not be taken for a damaged one.
            let _ = remove(&directories.journal(*node));
        }
        return Err(error);
    }
    Ok((nodes.len(), total(&files)))
}

/// Removes a directory that may be absent.
fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The node in whose journal a file of this path is, if it is written as nodes write it.
fn journal_of(path: &str) -> Option<NodeId> {
    let (directory, name) = path.split_once('/')?;
    let node = NodeId(directory.strip_prefix("journal-")?.parse().ok()?);
    let (kind, number) = name.split_once('-')?;
    let (directory, number) = (PathBuf::from(format!("journal-{node}")), number.parse().ok()?);
    let written = match kind {
        "journal" => segment_path(&directory, number),
        "snapshot" => snapshot_path(&directory, number),
        _ => return None,
    };
    (written.to_str() == Some(path)).then_some(node)
}

fn refused(why: ReplyError) -> SshError {
    SshError::Reply { doing: script::LOGS.doing.into(), error: why }
}

fn listed(reply: &Reply, key: &str) -> Result<Vec<Listed>, SshError> {
    let listed = reply.each(key, "'BYTES NAME'", |text| {
        let (bytes, name) = text.split_once(' ')?;
        Some((bytes.parse::<u64>().ok()?, name.to_string()))
    });
    listed.map_err(|error| refused(error.into()))
}

fn total(files: &[Listed]) -> u64 {
    files.iter().fold(0, |sum, (bytes, _)| sum.saturating_add(*bytes))
}

fn refuse_without_room(what: &str, files: &[Listed], directory: &Path) -> Result<(), SshError> {
    let total = total(files);
    match free_bytes(directory).filter(|free| total >= *free) {
        Some(free) => {
            let why = format!("its {what} take {} MiB, and {} are free here", total >> 20, free >> 20);
            Err(refused(ReplyError::Refused(why)))
        }
        None => Ok(()),
    }
}

/// Fetches one file. One that grows meanwhile is taken as it was when it was listed.
fn fetch_file(
    deployment: &Deployment,
    site: &Site,
    (length, path_there): &Listed,
    path: &Path,
) -> Result<(), SshError> {
    let part = PathBuf::from(format!("{}.part", path.display()));
    let here =
        |what: &str, error| SshError::Here { what: format!("cannot {what} {}", part.display()), error };
    let file = File::create(&part).map_err(|error| here("create", error))?;
    let there = quoted(&format!("{}/{path_there}", deployment.target.run_dir));
    let command = format!("exec head -c {length} {there}");
    let doing = format!("fetching {path_there}");
    // One byte more than there may be shows that there are more.
    let (bytes_max, on_signal) = (length.saturating_add(1), deployment.on_signal());
    let fetched = deployment.ssh.fetch(site, &doing, &command, bytes_max, file, on_signal);
    let fetched = fetched.and_then(|()| {
        let came = fs::metadata(&part).map_err(|error| here("look at", error))?.len();
        if came == *length {
            return Ok(());
        }
        let why = format!(
            "{came} bytes came of {path_there}, which has {length}; do start files of the account print?"
        );
        Err(refused(ReplyError::Refused(why)))
    });
    if let Err(error) = fetched {
        // An incomplete copy must not be taken for a whole one.
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    fs::rename(&part, path).map_err(|error| here("rename", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_names_no_file_outside_of_its_journals() {
        assert_eq!(journal_of("journal-3/journal-00000001"), Some(NodeId(3)));
        assert_eq!(journal_of("journal-12/snapshot-00000007"), Some(NodeId(12)));
        for path in [
            "journal-3/lock",
            "journal-3/journal-1",
            "journal-03/journal-00000001",
            "journal-3/journal-+0000001",
            "journal-3/snapshot-00000007.draft",
            "journal-3/../keys-00000001",
            "journal-3/journal-00000001/x",
            "/journal-3/journal-00000001",
        ] {
            assert_eq!(journal_of(path), None, "{path}");
        }
    }
}
