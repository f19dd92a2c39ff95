//! The directories of a run, made ready before anything is started.
//!
//! A run begins with a fresh testbed, so what an earlier run left in its directories is removed; but only files that
//! a run writes, by name. Anything else found in a data directory means that it is not a run's directory: refused. So
//! is a log directory into which a node of somebody else still writes: each keeps its log locked while it lives.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use wire::committee::Committee;
use wire::ids::NodeId;
use wire::procfs::free_bytes;

use super::error::StartError;
use crate::keygen::load_committee;
use crate::verify::{VERDICT, testbed_of};

/// The directories of one run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Directories {
    /// Logs, CSV files and summary.
    pub(crate) log: PathBuf,
    /// Keys, hosts and pid file.
    pub(crate) data: PathBuf,
}

impl Directories {
    /// Keys and committee.
    pub(crate) fn keys(&self) -> PathBuf {
        self.data.join("keys")
    }

    /// Which testbed's keys were dealt here, by a run or an installation.
    pub(crate) fn dealt(&self) -> PathBuf {
        self.data.join("dealt.txt")
    }

    /// The hosts file of this run.
    pub(crate) fn hosts(&self) -> PathBuf {
        self.data.join("hosts.txt")
    }

    /// The run that writes into the log directory.
    pub(crate) fn lock(&self) -> PathBuf {
        Directories::lock_in(&self.log)
    }

    /// The same of a run with this log directory.
    pub(crate) fn lock_in(log: &Path) -> PathBuf {
        log.join("run.txt")
    }

    /// The pid file.
    pub(crate) fn pids(&self) -> PathBuf {
        self.data.join("pids.txt")
    }

    /// The journal of a node.
    pub(crate) fn journal(&self, node: NodeId) -> PathBuf {
        self.data.join(format!("journal-{node}"))
    }

    /// The network that the nodes emulate, if they do.
    pub(crate) fn wan(&self) -> PathBuf {
        self.data.join("wan.txt")
    }

    /// The addresses of the nodes' metrics.
    pub(crate) fn metrics(&self) -> PathBuf {
        self.data.join("metrics.txt")
    }

    /// Standard error of the three processes of a node.
    pub(crate) fn stderr(&self, node: NodeId) -> PathBuf {
        self.log.join(format!("stderr-{node}.txt"))
    }

    /// What was done to a node by plan.
    pub(crate) fn faults(&self, node: NodeId) -> PathBuf {
        self.log.join(format!("faults-{node}.log"))
    }

    /// Creates those of the directories that are not there.
    pub(crate) fn create(&self) -> Result<Made, StartError> {
        let mut made = Made(Vec::new());
        for directory in [&self.log, &self.data] {
            let above = directory.ancestors().filter(|path| !path.as_os_str().is_empty());
            let missing: Vec<PathBuf> = above.take_while(|path| !path.exists()).map(PathBuf::from).collect();
            made.0.extend(missing.into_iter().rev());
            fs::create_dir_all(directory).map_err(|error| StartError::file("create", directory, error))?;
        }
        Ok(made)
    }

    fn check_space(&self) -> Result<(), StartError> {
        for directory in [&self.log, &self.data] {
            if let Some(free_bytes) = free_bytes(directory).filter(|free| *free < FREE_BYTES_MIN) {
                return Err(StartError::DiskFull {
                    directory: directory.clone(),
                    free_kib: free_bytes >> 10,
                    needed_kib: FREE_BYTES_MIN >> 10,
                });
            }
        }
        Ok(())
    }

    /// Finds out now, not when the nodes are up, whether there can be any log.
    fn check_writable(&self) -> Result<(), StartError> {
        // No name that an earlier run's files have: those are still there.
        [self.log.join("summary.draft"), self.data.join("pids.draft")].iter().try_for_each(|probe| {
            fs::write(probe, "")
                .and_then(|()| fs::remove_file(probe))
                .map_err(|error| StartError::file("write", probe, error))
        })
    }

    /// Finds out whether a run could begin here, and leaves everything as it was.
    pub(crate) fn try_out(&self) -> Result<(), StartError> {
        let _made = self.create()?;
        self.check().map(drop)
    }

    /// Whether a run could begin here; what stands in the data directory.
    fn check(&self) -> Result<Vec<PathBuf>, StartError> {
        let entries = entries(&self.data)?;
        if let Some(foreign) = entries.iter().find(|path| !is_data_of_a_run(path)) {
            return Err(StartError::Foreign { directory: self.data.clone(), found: foreign.clone() });
        }
        self.refuse_keys_of_others()?;
        let nodes = nodes_writing_in(&self.log)?;
        if !nodes.is_empty() {
            return Err(StartError::NodesWrite { directory: self.log.clone(), nodes });
        }
        self.check_writable()?;
        self.check_space()?;
        Ok(entries)
    }

    /// Refuses keys that somebody else has dealt, unless they have served a start and are of no use any more.
    pub(crate) fn refuse_keys_of_others(&self) -> Result<(), StartError> {
        let committee = self.keys().join("committee.txt");
        if !committee.exists() {
            return Ok(());
        }
        if self.keys_are_used()? {
            return Ok(());
        }
        let testbed = load_committee(&committee)?.testbed().to_string();
        // A file that cannot be read vouches for nothing.
        let dealt = fs::read_to_string(self.dealt()).unwrap_or_default();
        if dealt.trim_end() == testbed {
            return Ok(());
        }
        Err(StartError::KeysOfOthers { directory: self.keys(), testbed })
    }

    /// Whether a node of this machine has been started with the keys.
    pub(crate) fn keys_are_used(&self) -> Result<bool, StartError> {
        Ok(entries(&self.keys())?.iter().any(|path| path.extension().is_some_and(|end| end == "used")))
    }

    /// Notes that keys were dealt here for a testbed and may be replaced.
    pub(crate) fn note_dealt(&self, committee: &Committee) -> Result<(), StartError> {
        let path = self.dealt();
        fs::write(&path, format!("{}\n", committee.testbed()))
            .map_err(|error| StartError::file("write", &path, error))
    }

    /// Makes ready for a run that goes on with what the data directory holds. A log directory that is another testbed's
    /// is cleared; otherwise its files are gone on with. Whether there is a record of earlier loads.
    pub(crate) fn continue_logs(&self, committee: &Committee) -> Result<bool, StartError> {
        self.check()?;
        let testbed = testbed_of(&self.log.join("summary.json"));
        if testbed.is_some_and(|testbed| testbed != committee.testbed().to_string()) {
            for path in entries(&self.log)?.into_iter().filter(|path| is_log_of_a_run(path)) {
                remove(&path).map_err(|error| StartError::file("remove", &path, error))?;
            }
        }
        Ok(self.log.join("clients.csv").exists())
    }

    /// Whether the last run that used the log directory ended without a summary: it was killed, or its load never
    /// began.
    pub(crate) fn lacks_figures(&self) -> bool {
        self.lock().exists() && !self.log.join("summary.json").exists()
    }

    /// Removes what an earlier run wrote, once it is sure that a new one can write there.
    pub(crate) fn clear(&self) -> Result<(), StartError> {
        let entries = self.check()?;
        // The log directory may well hold other things; only what bears the name of a run's file is removed.
        let logs = self::entries(&self.log)?.into_iter().filter(|path| is_log_of_a_run(path));
        for path in entries.into_iter().chain(logs) {
            remove(&path).map_err(|error| StartError::file("remove", &path, error))?;
        }
        Ok(())
    }
}

/// Directories made for a run that may not begin after all: unless they are kept they are removed, if they are empty.
#[derive(Debug)]
#[must_use = "what is not kept is removed"]
pub(crate) struct Made(Vec<PathBuf>);

impl Made {
    /// The run begins.
    pub(crate) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for directory in self.0.iter().rev() {
            // It fails where creating it did, or where something stands in it.
            let _ = fs::remove_dir(directory);
        }
    }
}

/// Room that the files of a short run need at the least.
const FREE_BYTES_MIN: u64 = 16 << 20;

/// The bytes of all files in a directory; of those that can be looked at.
pub(crate) fn directory_bytes(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// The nodes that run and log into a directory, by the locks on their logs, which end with the process. Where a file
/// system has no locks, none are seen.
pub(crate) fn nodes_writing_in(log: &Path) -> Result<BTreeSet<NodeId>, StartError> {
    let is_locked = |path: &Path| {
        File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    };
    let writer = |path: PathBuf| {
        let name = path.file_name()?.to_str()?;
        node_of_log(name).filter(|_| name.starts_with(CONSENSUS_LOG) && is_locked(&path))
    };
    Ok(entries(log)?.into_iter().filter_map(writer).collect())
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, StartError> {
    let read = || fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    read().map_err(|error| StartError::file("read", directory, error))
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

fn is_data_of_a_run(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    matches!(
        name,
        "keys"
            | "dealt.txt"
            | "hosts.txt"
            | "wan.txt"
            | "options.txt"
            | "metrics.txt"
            | "pids.txt"
            | "pids.draft"
    ) || name.strip_prefix("journal-").is_some_and(|id| id.parse::<u16>().is_ok())
}

fn is_log_of_a_run(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    matches!(
        name,
        "summary.json"
            | "nodes.csv"
            | "ledgers.csv"
            | "exchanges.csv"
            | "receipts.csv"
            | "clients.csv"
            | "clocks.csv"
            | "series.csv"
            | "latency.csv"
            | "processes.csv"
            | "traffic.csv"
            | "report.html"
            | "transactions.csv"
            | "run.txt"
            | "load.part"
            | VERDICT
    ) || node_of_log(name).is_some()
        || name.strip_prefix("load-").is_some_and(|number| number.parse::<u64>().is_ok())
}

/// How the name of a log begins that the first process of a node writes, and keeps locked.
const CONSENSUS_LOG: &str = "consensus-node-";

/// The node that writes a log of this name, if one does.
pub(crate) fn node_of_log(name: &str) -> Option<NodeId> {
    const NAMES: [(&str, &str); 7] = [
        ("faults-", ".log"),
        (CONSENSUS_LOG, ".log"),
        ("node-net-client-", ".log"),
        ("node-net-server-", ".log"),
        ("rounds-", ".csv"),
        ("pipe-", ".json"),
        ("stderr-", ".txt"),
    ];
    NAMES.iter().find_map(|(prefix, suffix)| {
        let id: u16 = name.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok()?;
        // Written the one way, so that no two names mean one file.
        (name.len() == prefix.len() + id.to_string().len() + suffix.len()).then_some(NodeId(id))
    })
}

#[cfg(test)]
mod tests {
    use wire::committee::Protocol;

    use super::*;
    use crate::keygen;
    use crate::testing::TestDir;

    fn directories(dir: &TestDir) -> Directories {
        let directories = Directories { log: dir.path().join("log"), data: dir.path().join("data") };
        directories.create().unwrap().keep();
        directories
    }

    #[test]
    fn directories_of_a_run_that_does_not_begin_are_removed_unless_they_were_there() {
        let dir = TestDir::new();
        fs::create_dir(dir.path().join("log")).unwrap();
        let directories = Directories { log: dir.path().join("log"), data: dir.path().join("a/b/data") };
        drop(directories.create().unwrap());
        assert!(directories.log.exists() && !dir.path().join("a").exists());
        let made = directories.create().unwrap();
        fs::write(directories.data.join("x"), "").unwrap();
        drop(made);
        assert!(directories.data.join("x").exists());
    }

    #[test]
    fn an_unwritable_directory_is_an_error_before_anything_is_removed() {
        let dir = TestDir::new();
        let directories = directories(&dir);
        fs::write(directories.hosts(), "x").unwrap();
        // Even root makes no file there.
        let unwritable = Directories { log: PathBuf::from("/proc"), ..directories.clone() };
        assert!(unwritable.clear().unwrap_err().to_string().contains("cannot write /proc/summary.draft"));
        assert!(directories.hosts().exists());
    }

    #[test]
    fn clearing_removes_what_runs_write_and_nothing_else() {
        let dir = TestDir::new();
        let directories = directories(&dir);
        fs::create_dir(directories.keys()).unwrap();
        for path in [
            directories.keys().join("node-0.used"),
            directories.hosts(),
            directories.metrics(),
            directories.pids(),
            directories.journal(NodeId(3)),
            directories.stderr(NodeId(0)),
            directories.log.join("rounds-3.csv"),
            directories.log.join("consensus-node-3.log"),
            directories.log.join("load-1"),
            directories.log.join(VERDICT),
            directories.log.join("notes.txt"),
            directories.log.join("rounds-x.csv"),
        ] {
            fs::write(path, "x").unwrap();
        }
        directories.clear().unwrap();
        let names = |path: &Path| {
            let mut names: Vec<_> =
                entries(path).unwrap().iter().map(|path| path.file_name().unwrap().to_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&directories.data), Vec::<std::ffi::OsString>::new());
        assert_eq!(names(&directories.log), ["notes.txt", "rounds-x.csv"]);
    }

    #[test]
    fn a_log_directory_is_refused_while_a_node_writes_there() {
        let dir = TestDir::new();
        let directories = directories(&dir);
        let write = |name: &str| File::create(directories.log.join(name)).unwrap();
        let (log, _ended) = (write("consensus-node-2.log"), write("consensus-node-0.log"));
        log.lock().unwrap();
        let error = directories.clear().unwrap_err().to_string();
        assert!(error.contains("/log is in use by node 2, still running"), "{error}");
        assert!(directories.log.join("consensus-node-0.log").exists(), "nothing is removed");
        drop(log);
        directories.clear().unwrap();
    }

    #[test]
    fn keys_of_others_are_refused_until_they_have_served() {
        let dir = TestDir::new();
        let directories = directories(&dir);
        let committee = keygen::deal(&directories.keys(), 1, 1, Protocol::default()).unwrap();
        let error = directories.clear().unwrap_err().to_string();
        assert!(error.contains("keys holds the keys of testbed"), "{error}");
        assert!(directories.keys().join("node-0.key").exists());
        fs::write(directories.keys().join("node-0.used"), "").unwrap();
        assert!(directories.try_out().is_ok(), "they are of no use any more");
        fs::remove_file(directories.keys().join("node-0.used")).unwrap();
        directories.note_dealt(&committee).unwrap();
        directories.clear().unwrap();
        assert!(!directories.keys().exists(), "they were dealt here");
    }

    #[test]
    fn a_data_directory_with_somebody_s_own_files_is_refused_untouched() {
        let dir = TestDir::new();
        let directories = directories(&dir);
        fs::write(directories.hosts(), "x").unwrap();
        fs::write(directories.data.join("thesis.tex"), "x").unwrap();
        assert!(directories.clear().unwrap_err().to_string().contains("thesis.tex"));
        assert!(directories.hosts().exists());
    }

    #[test]
    fn a_log_directory_that_is_a_file_is_named() {
        let dir = TestDir::new();
        fs::write(dir.path().join("log"), "x").unwrap();
        let directories = Directories { log: dir.path().join("log"), data: dir.path().join("data") };
        let error = directories.create().unwrap_err().to_string();
        assert!(error.contains("cannot create") && error.contains("log"), "{error}");
    }
}
