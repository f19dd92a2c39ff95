//! The commands of `tools deploy` that start no node.

use std::fs;
use std::path::{Path, PathBuf};

use wire::committee::Protocol;
use wire::ids::NodeId;
use wire::text::ParseError;

use super::check::{self, Purpose};
use super::deployment::Deployment;
use super::exit::{EXIT_FAILED, exit_code, not_begun, with_deployment};
use super::install::{self, Bundle};
use super::logs::{fetch, fetch_journals};
use super::options;
use super::processes::{Depth, Found, Running, Stopped, clean_on, running, stop_on};
use super::sites::{Site, all_or_failures, on_all};
use crate::flags::{UsageError, Values};
use crate::grid::{Side, aligned_within};
use crate::keygen::{self, load_committee, load_testbed};
use crate::procfs::{Memory, Process, TICKS_PER_S};
use crate::run::{Directories, WanPlan};
use crate::terminal::{columns, print};

pub(crate) fn check(values: &Values) -> Result<u8, UsageError> {
    with_deployment("check", values, |deployment| {
        Ok(exit_code("check", check::check(deployment, &Purpose::Look).map(drop)))
    })
}

pub(crate) fn install(values: &Values) -> Result<u8, UsageError> {
    with_deployment("install", values, |deployment| {
        let hosts = &deployment.target.hosts;
        let (nodes, shards) = options::shape(values, hosts)?;
        let wan = WanPlan::of(values, nodes * shards, 0)?;
        let data = PathBuf::from(values.required("data-dir")?);
        let keys = data.join("keys");
        if values.is_given("new-keys")
            && let Err(error) = remove_keys(&keys)
        {
            return Ok(not_begun("install", error));
        }
        let directories = Directories { log: data.clone(), data: data.clone() };
        let committee = if keys.join("committee.txt").exists() {
            match directories.keys_are_used() {
                Ok(false) => {}
                Ok(true) => {
                    let found = format!("keys that have served a start in {}", keys.display());
                    return Err(ParseError::of("--data-dir", &found, "unused keys, or --new-keys").into());
                }
                Err(error) => return Ok(not_begun("install", error)),
            }
            let (_, committee) = load_testbed(Path::new(values.required("hosts")?), &keys)?;
            if values.is_given("shards") && committee.shards() != shards {
                let found = format!("keys of {} shards in {}", committee.shards(), keys.display());
                let expected = format!("keys of {shards}, or --new-keys");
                return Err(ParseError::of("--shards", &found, expected).into());
            }
            if values.is_given("signed") && !committee.protocol().signed {
                let found = format!("keys of an unsigned testbed in {}", keys.display());
                return Err(ParseError::of("--signed", &found, "keys of a signed one, or --new-keys").into());
            }
            let signed = if committee.protocol().signed { ", signed transactions" } else { "" };
            let count = committee.shards();
            let s = if count == 1 { "" } else { "s" };
            print(format!("keys of {}: {count} shard{s} of {} nodes{signed}", keys.display(), committee.n()));
            committee
        } else {
            let protocol = Protocol { signed: values.is_given("signed"), ..Protocol::default() };
            match keygen::deal(&keys, nodes, shards, protocol) {
                Ok(committee) => {
                    if let Err(error) = directories.note_dealt(&committee) {
                        return Ok(not_begun("install", error));
                    }
                    committee
                }
                Err(error) => return Ok(not_begun("install", error)),
            }
        };
        // For `tools status` and `tools load` from here.
        if let Err(error) = fs::write(data.join("hosts.txt"), hosts.text()) {
            return Ok(not_begun("install", format!("cannot write {}/hosts.txt: {error}", data.display())));
        }
        if let Err(error) = wan.write(&directories) {
            return Ok(not_begun("install", error));
        }
        let bundle = match Bundle::gather(hosts, &committee, &directories) {
            Ok(bundle) => bundle,
            Err(error) => return Ok(not_begun("install", error)),
        };
        let installed = install::install(deployment, &bundle);
        if installed.is_ok() {
            print(format!("testbed {} is installed; tools deploy start starts it", committee.testbed()));
        }
        Ok(exit_code("install", installed))
    })
}

pub(crate) fn status(values: &Values) -> Result<u8, UsageError> {
    with_deployment("status", values, |deployment| {
        let sites = &deployment.target.sites;
        let outcomes = on_all(sites, "status", |site| {
            let running = running(deployment, site, Depth::Full).map_err(|error| vec![error.to_string()])?;
            Ok((running, String::new()))
        });
        let mut all_up = true;
        let headings = ["node", "host", "pid", "processes", "memory", "CPU", "journal", "state"];
        let mut rows = vec![headings.map(String::from).to_vec()];
        for (site, outcome) in sites.iter().zip(&outcomes) {
            for id in site.ids() {
                let found = outcome.as_ref().ok().and_then(|running| {
                    running.nodes.iter().find(|(node, _)| *node == id).map(|(_, found)| found)
                });
                all_up &= matches!(found, Some(Found::Up(_)));
                let mut row = vec![id.to_string(), site.to_string()];
                row.extend(node_row(id, found, outcome.as_ref().ok()));
                rows.push(row);
            }
        }
        use Side::{Left, Right};
        let sides = [Right, Left, Right, Right, Right, Right, Right, Left];
        print(aligned_within(columns(), &sides, &rows, 0).trim_end());
        let code = exit_code("status", all_or_failures(sites, "status", outcomes).map(drop));
        Ok(if code == 0 && !all_up { EXIT_FAILED } else { code })
    })
}

/// Pid, processes, memory, processor time, journal and state of a node.
fn node_row(node: NodeId, found: Option<&Found>, running: Option<&Running>) -> Vec<String> {
    let dash = || "-".to_string();
    let state = match (found, running) {
        (Some(Found::Up(_)), _) => "up".into(),
        (Some(Found::Gone(words)), _) if words.is_empty() => "ended".into(),
        (Some(Found::Gone(words)), _) => format!("ended: {words}"),
        (None, None) => "not known".into(),
        (None, Some(Running { testbed: None, .. })) => "not installed".into(),
        (None, Some(_)) => "not started".into(),
    };
    let megabytes = |bytes: u64| format!("{:.0} MB", bytes as f64 / 1e6);
    let journal = running.and_then(|running| running.journals.get(&node));
    let journal = journal.map_or_else(dash, |bytes| megabytes(*bytes));
    let (Some(Found::Up(pid)), Some(running)) = (found, running) else {
        return vec![dash(), dash(), dash(), dash(), journal, state];
    };
    let own = |process: &&(Process, Memory)| process.0.pid == *pid || process.0.parent == *pid;
    let own: Vec<_> = running.processes.iter().filter(own).collect();
    let peak_bytes: u64 = own.iter().map(|(_, memory)| memory.peak_bytes).sum();
    let cpu_ticks: u64 = own.iter().map(|(process, _)| process.cpu_ticks).sum();
    vec![
        pid.to_string(),
        own.len().to_string(),
        megabytes(peak_bytes),
        format!("{:.1} s", cpu_ticks as f64 / TICKS_PER_S as f64),
        journal,
        state,
    ]
}

pub(crate) fn stop(values: &Values) -> Result<u8, UsageError> {
    end_on_all("stop", values, stop_on)
}

pub(crate) fn clean(values: &Values) -> Result<u8, UsageError> {
    end_on_all("clean", values, clean_on)
}

fn end_on_all(
    action: &'static str,
    values: &Values,
    end_on: fn(&Deployment, &Site) -> Result<Stopped, String>,
) -> Result<u8, UsageError> {
    with_deployment(action, values, |deployment| {
        let sites = &deployment.target.sites;
        let outcomes = on_all(sites, action, |site| {
            end_on(deployment, site).map(|stopped| ((), stopped.note)).map_err(|error| vec![error])
        });
        Ok(exit_code(action, all_or_failures(sites, action, outcomes).map(drop)))
    })
}

pub(crate) fn logs(values: &Values) -> Result<u8, UsageError> {
    with_deployment("logs", values, |deployment| {
        let log_dir = Path::new(values.required("log-dir")?);
        if let Err(error) = fs::create_dir_all(log_dir) {
            return Ok(not_begun("logs", format!("cannot create {}: {error}", log_dir.display())));
        }
        let sites = &deployment.target.sites;
        let outcomes = fetch(deployment, sites, log_dir);
        let code = exit_code("logs", all_or_failures(sites, "logs", outcomes).map(drop));
        if code != 0 || !values.is_given("journals") {
            return Ok(code);
        }
        // After the logs, so that a journal reaches as far as they do.
        let directories = Directories { log: log_dir.into(), data: values.required("data-dir")?.into() };
        let committee = load_committee(&directories.keys().join("committee.txt"))?;
        let outcomes = fetch_journals(deployment, &directories, committee.testbed());
        Ok(exit_code("logs", all_or_failures(sites, "journals", outcomes).map(drop)))
    })
}

/// Removes the files that a dealer wrote, and nothing else.
fn remove_keys(keys: &Path) -> Result<(), String> {
    let entries = match fs::read_dir(keys) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("cannot read {}: {error}", keys.display())),
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_dealt = name == "committee.txt"
            || (name.starts_with("node-") && (name.ends_with(".key") || name.ends_with(".used")));
        if is_dealt && let Err(error) = fs::remove_file(entry.path()) {
            return Err(format!("cannot remove {}: {error}", entry.path().display()));
        }
    }
    Ok(())
}
