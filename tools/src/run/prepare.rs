//! Everything before the first node is started.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wire::committee::{Committee, Protocol};
use wire::hosts::Hosts;

use super::error::StartError;
use super::plan::RunPlan;
use crate::keygen;
use crate::pids;
use crate::verify::Record;

/// A testbed that is not running yet.
pub(crate) struct Prepared {
    pub(crate) committee: Arc<Committee>,
    pub(crate) hosts: Hosts,
}

/// Ends what an earlier run left on this machine, clears the directories and deals keys, for nodes on the places that
/// `places` finds. `print` gets a line for each leftover, and one if the files of an earlier run are replaced.
pub(crate) fn prepare(
    plan: &RunPlan,
    places: impl FnOnce() -> Result<Hosts, StartError>,
    print: impl Fn(&str),
) -> Result<Prepared, StartError> {
    let directories = &plan.directories;
    end_leftovers(plan, &print)?;
    let hosts = places()?;
    let made = directories.create()?;
    // Only now, so that a run that cannot begin leaves the last one's files alone.
    let is_replaced = directories.log.join("summary.json").exists();
    directories.clear()?;
    if is_replaced {
        print(&format!("the files of the last run in {} are replaced", directories.log.display()));
    }
    note_this_run(&directories.pids())?;
    note_this_run(&directories.lock())?;
    fs::write(directories.hosts(), hosts.text())
        .map_err(|error| StartError::file("write", &directories.hosts(), error))?;
    plan.wan.write(directories)?;
    let protocol = Protocol { signed: plan.is_signed, ..Protocol::default() };
    let committee = keygen::deal(&directories.keys(), plan.nodes, plan.shards, protocol)?;
    directories.note_dealt(&committee)?;
    made.keep();
    Ok(Prepared { committee: Arc::new(committee), hosts })
}

/// The record of the loads that a run goes on after, if they have left one: a load that was killed has not.
pub(crate) struct Resumed {
    pub(crate) record: Option<Record>,
    /// Loads just before this one that were killed: none or one.
    pub(crate) cut_off: u64,
}

/// Prepares a run that goes on with the keys and journals of an earlier one, on the places that `places` makes of those
/// that it had.
pub(crate) fn prepare_again(
    plan: &RunPlan,
    places: impl FnOnce(Hosts) -> Result<Hosts, StartError>,
    print: impl Fn(&str),
) -> Result<(Prepared, Resumed), StartError> {
    let directories = &plan.directories;
    end_leftovers(plan, &print)?;
    let (hosts, committee) = keygen::load_testbed(&directories.hosts(), &directories.keys())?;
    let hosts = places(hosts)?;
    let made = directories.create()?;
    let log = &directories.log;
    let has_record = directories.continue_logs(&committee)?;
    let record = has_record.then(|| Record::load(log, &committee)).transpose()?;
    let cut_off = u64::from(directories.lacks_figures());
    if cut_off > 0 {
        print(&format!(
            "the last load in {} was cut off and left no figures; its blocks are gone on from and judged",
            log.display()
        ));
    }
    note_this_run(&directories.pids())?;
    note_this_run(&directories.lock())?;
    fs::write(directories.hosts(), hosts.text())
        .map_err(|error| StartError::file("write", &directories.hosts(), error))?;
    plan.wan.write(directories)?;
    made.keep();
    Ok((Prepared { committee: Arc::new(committee), hosts }, Resumed { record, cut_off }))
}

/// Refuses a directory of which one of these processes, which noted themselves there and still run, is another run.
pub(crate) fn refuse_other_run(directory: &Path, noted: &[pids::Entry]) -> Result<(), StartError> {
    match noted.iter().find(|entry| entry.what == pids::RUN) {
        Some(run) => Err(StartError::AnotherRun { directory: directory.into(), pid: run.pid }),
        None => Ok(()),
    }
}

/// Writes down that this process is the run that uses a directory.
pub(crate) fn note_this_run(path: &Path) -> Result<(), StartError> {
    let own: Vec<pids::Entry> = pids::Entry::of(std::process::id(), pids::RUN).into_iter().collect();
    pids::save(path, &own).map_err(|error| StartError::file("write", path, error))
}

/// A run that is still on is not disturbed; nodes without their run are ended.
fn end_leftovers(plan: &RunPlan, print: impl Fn(&str)) -> Result<(), StartError> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let directories = &plan.directories;
    let leftovers = pids::leftovers(&directories.pids())?;
    // A log directory that is no directory is reported when it is to be created.
    let of_log = if directories.log.is_dir() { pids::leftovers(&directories.lock())? } else { Vec::new() };
    for (directory, entries) in [(&directories.data, &leftovers), (&directories.log, &of_log)] {
        refuse_other_run(directory, entries)?;
    }
    for entry in &leftovers {
        print(&format!("left over from an earlier run: {} (pid {}); ending it", entry.what, entry.pid));
    }
    let left = pids::end(&leftovers, PATIENCE)
        .map_err(|error| StartError::System { what: "cannot end leftovers", error })?;
    if left.is_empty() { Ok(()) } else { Err(StartError::Leftovers(left)) }
}
