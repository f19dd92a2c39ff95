//! The files of a load, and those of the loads before it.
//!
//! A load writes into a directory of its own inside the log directory. In the end its files take their places: the
//! figures of an earlier load of the same testbed are moved aside to `load-<n>`, and the record for `tools verify`
//! becomes that of all loads together. Files of another testbed are replaced.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use wire::committee::Committee;

use crate::pids;
use crate::run::{Directories, StartError, note_this_run, refuse_other_run};
use crate::verify::{Record, VERDICT, testbed_of};

/// Figures of one load. The summary, which says whose they are, is moved after the others.
const FIGURES: [&str; 7] = [
    "summary.json",
    "series.csv",
    "latency.csv",
    "processes.csv",
    "traffic.csv",
    "transactions.csv",
    "report.html",
];
/// The record of all loads.
const RECORD: [&str; 5] = ["nodes.csv", "ledgers.csv", "exchanges.csv", "receipts.csv", "clients.csv"];
/// Every file of a load.
pub(crate) const FILES: [&str; 12] = [
    FIGURES[0], FIGURES[1], FIGURES[2], FIGURES[3], FIGURES[4], FIGURES[5], FIGURES[6], RECORD[0], RECORD[1],
    RECORD[2], RECORD[3], RECORD[4],
];

/// Where a load in progress writes.
pub(crate) fn part(log: &Path) -> PathBuf {
    log.join("load.part")
}

/// A log directory while a load writes there.
pub(crate) struct LogDir {
    log: PathBuf,
    lock: PathBuf,
}

impl LogDir {
    /// Makes the directory ready; nothing of an earlier load is touched.
    pub(crate) fn take(log: &Path) -> Result<LogDir, StartError> {
        let part = part(log);
        fs::create_dir_all(log).map_err(|error| StartError::file("create", log, error))?;
        let lock = Directories { log: log.into(), data: log.into() }.lock();
        refuse_other_run(log, &pids::leftovers(&lock)?)?;
        // The figures of a load that was killed are not whole; those of one that could not be put in their places are.
        if part.join(FIGURES[0]).exists() {
            let error = io::Error::other(
                "it holds the files of a load that could not be put in their places; move it away",
            );
            return Err(StartError::file("remove", &part, error));
        }
        match fs::remove_dir_all(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StartError::file("remove", &part, error));
            }
            Ok(()) | Err(_) => {}
        }
        fs::create_dir(&part).map_err(|error| StartError::file("create", &part, error))?;
        note_this_run(&lock)?;
        Ok(LogDir { log: log.into(), lock })
    }

    /// Where the load writes meanwhile.
    pub(crate) fn part(&self) -> PathBuf {
        part(&self.log)
    }

    /// Puts the files of the load in their places; a note on those of earlier ones, if there are any.
    ///
    /// # Errors
    /// In words, if a file cannot be read, written or moved. Those of the load then stay in `load.part`.
    pub(crate) fn adopt(&self, committee: &Committee) -> Result<Option<String>, String> {
        let (log, part) = (&self.log, self.part());
        if !part.join(FIGURES[0]).exists() {
            return Err("the load has left no summary".into());
        }
        let summary = log.join(FIGURES[0]);
        let record = Record::load(&part, committee).map_err(|error| error.to_string())?;
        let note = match testbed_of(&summary) {
            Some(testbed) if testbed == committee.testbed().to_string() => {
                let before = Record::load(log, committee).map_err(|error| error.to_string())?;
                record.after(before).save(&part, committee).map_err(|error| file("write", &part, error))?;
                let aside = put_aside(log)?;
                aside.map(|aside| format!("the figures of the load before it are in {}", aside.display()))
            }
            _ => {
                let earlier = FILES.iter().map(|name| log.join(name)).filter(|path| path.exists());
                let earlier: Vec<PathBuf> = earlier.collect();
                for path in &earlier {
                    fs::remove_file(path).map_err(|error| file("remove", path, error))?;
                }
                let of_another = "the files of another testbed's run in";
                (!earlier.is_empty()).then(|| format!("{of_another} {} were replaced", log.display()))
            }
        };
        // The verdict was on the loads before this one.
        match fs::remove_file(log.join(VERDICT)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(file("remove", &log.join(VERDICT), error));
            }
            Ok(()) | Err(_) => {}
        }
        for name in FILES.iter().rev().filter(|name| part.join(name).exists()) {
            let path = part.join(name);
            fs::rename(&path, log.join(name)).map_err(|error| file("move", &path, error))?;
        }
        fs::remove_dir(&part).map_err(|error| file("remove", &part, error))?;
        Ok(note)
    }
}

impl Drop for LogDir {
    fn drop(&mut self) {
        // Both only help the next reader: one is empty unless something went wrong, the other names a process that
        // ends.
        let _ = fs::remove_dir(part(&self.log));
        let _ = fs::remove_file(&self.lock);
    }
}

/// Moves the figures of an earlier load to a directory of their own, if there are any; that directory.
///
/// # Errors
/// In words, if one cannot be moved.
pub(crate) fn put_aside(log: &Path) -> Result<Option<PathBuf>, String> {
    let figures: Vec<&str> = FIGURES.into_iter().rev().filter(|name| log.join(name).exists()).collect();
    if figures.is_empty() {
        return Ok(None);
    }
    let aside = aside(log);
    fs::create_dir(&aside).map_err(|error| file("create", &aside, error))?;
    for name in figures {
        let path = log.join(name);
        fs::rename(&path, aside.join(name)).map_err(|error| file("move", &path, error))?;
    }
    Ok(Some(aside))
}

/// What could not be done to a file.
fn file(verb: &str, path: &Path, error: io::Error) -> String {
    format!("cannot {verb} {}: {error}", path.display())
}

/// The first directory for the figures of an earlier load that is not there.
fn aside(log: &Path) -> PathBuf {
    let mut numbers = (1u64..).map(|number| log.join(format!("load-{number}")));
    numbers.find(|path| !path.exists()).expect("some number is free")
}

#[cfg(test)]
mod tests {
    use wire::committee::{Member, Protocol};
    use wire::ids::{NodeId, Round, ShardId};

    use super::*;
    use crate::load::Finished;
    use crate::testing::TestDir;
    use crate::verify::{Clients, Ended};

    fn committee(nonce: u8) -> Committee {
        let member = Member { public_key: [1; 32], coin_commitment: [2; 32] };
        Committee::new(1, Protocol::default(), vec![member], [nonce; 32])
    }

    /// A load of which so many were committed at a height.
    fn load(log: &Path, committee: &Committee, height: u64, committed: u64) -> Option<String> {
        let directory = LogDir::take(log).unwrap();
        let clients = Clients {
            ended: Ended::Drained,
            submitted: committed + 1,
            committed,
            rejected: 0,
            expired: 0,
            refused: 1,
            lost: 0,
            in_flight: 0,
            orphaned: 0,
            cut_off: 0,
            resubmitted: 0,
        };
        let finished = Finished { intra: committed, cross: 0 };
        let record = Record {
            byzantine: Default::default(),
            nodes: [(NodeId(0), None)].into(),
            ledgers: [(NodeId(0), None)].into(),
            receipts: [
                ((ShardId(0), Round(1)), Finished { intra: 0, cross: 0 }),
                ((ShardId(0), Round(height)), finished),
            ]
            .into(),
            clients,
        };
        record.save(&directory.part(), committee).unwrap();
        fs::write(directory.part().join("series.csv"), committed.to_string()).unwrap();
        let summary = format!("{{\"testbed\": \"{}\"}}", committee.testbed());
        fs::write(directory.part().join("summary.json"), summary).unwrap();
        directory.adopt(committee).unwrap()
    }

    #[test]
    fn the_record_is_of_all_loads_of_a_testbed_and_the_figures_of_the_last() {
        let dir = TestDir::new();
        let (log, committee) = (dir.path(), committee(1));
        fs::write(log.join("series.csv"), "of somebody").unwrap();
        fs::write(log.join("notes.txt"), "mine").unwrap();
        let note = load(log, &committee, 5, 10);
        assert!(note.is_some_and(|note| note.contains("were replaced")));
        fs::write(log.join(VERDICT), "on one load").unwrap();
        assert!(load(log, &committee, 6, 20).is_some_and(|note| note.ends_with("load-1")));
        assert!(!log.join(VERDICT).exists(), "it was not on this load");
        assert!(load(log, &committee, 6, 30).is_some_and(|note| note.ends_with("load-2")));
        let record = Record::load(log, &committee).unwrap();
        assert_eq!((record.clients.submitted, record.clients.committed, record.clients.refused), (63, 60, 3));
        assert!(record.clients.adds_up());
        let intra: Vec<(u64, u64)> =
            record.receipts.iter().map(|((_, height), finished)| (height.0, finished.intra)).collect();
        assert_eq!(intra, [(1, 0), (5, 10), (6, 50)]);
        let series =
            ["load-1", "load-2", "."].map(|load| fs::read_to_string(log.join(load).join("series.csv")));
        assert_eq!(series.map(Result::unwrap), ["10", "20", "30"]);
        assert!(!part(log).exists() && log.join("notes.txt").exists());
        // Of another testbed nothing is added, and no figures are moved aside.
        let other = self::committee(2);
        assert!(load(log, &other, 7, 1).is_some_and(|note| note.contains("were replaced")));
        assert_eq!(Record::load(log, &other).unwrap().clients.committed, 1);
    }

    #[test]
    fn a_record_that_cannot_be_read_is_not_replaced() {
        let dir = TestDir::new();
        let (log, committee) = (dir.path(), committee(1));
        load(log, &committee, 5, 10);
        fs::write(log.join("receipts.csv"), "damaged").unwrap();
        let directory = LogDir::take(log).unwrap();
        assert!(directory.adopt(&committee).is_err_and(|error| error.contains("no summary")));
        fs::write(directory.part().join("series.csv"), "new").unwrap();
        fs::write(directory.part().join("summary.json"), "{}").unwrap();
        for name in RECORD {
            fs::copy(log.join(name), directory.part().join(name)).unwrap();
        }
        fs::write(directory.part().join("receipts.csv"), "shard,height,finished,finished_cross\n").unwrap();
        let error = directory.adopt(&committee).unwrap_err();
        assert!(error.contains("receipts.csv"), "{error}");
        assert_eq!(fs::read_to_string(log.join("series.csv")).unwrap(), "10");
        drop(directory);
        assert_eq!(fs::read_to_string(part(log).join("series.csv")).unwrap(), "new");
        assert!(!log.join("run.txt").exists());
        assert!(LogDir::take(log).is_err_and(|error| error.to_string().contains("load.part")), "it is kept");
    }
}
