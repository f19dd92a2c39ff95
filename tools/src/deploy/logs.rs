//! Bringing the logs of all nodes here, under the names that they have in a local run.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use super::clock::{self, Offset};
use super::deployment::Deployment;
use super::script::{self, ReplyError, printable, quoted};
use super::sites::{Outcomes, Site, on_all};
use super::ssh_error::SshError;
use crate::run::{free_kib, node_of_log};

/// Fetches the logs of these hosts, and writes how far their clocks are off beside them. A failure on
/// one host does not stop the others.
pub(super) fn fetch(deployment: &Deployment, sites: &[Site], log_dir: &Path) -> Outcomes<Offset> {
    let outcomes = on_all(sites, "logs", |site| {
        let fetched = fetch_from(deployment, site, log_dir).map_err(|error| vec![error.to_string()])?;
        let clock = clock::measure(deployment, site).map_err(|error| vec![error.to_string()])?;
        let note =
            format!("{} files ({:.1} MB); its clock is {clock} off", fetched.0, fetched.1 as f64 / 1e6);
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

/// Fetches the logs of one host; how many, and how many bytes.
fn fetch_from(deployment: &Deployment, site: &Site, log_dir: &Path) -> Result<(u64, u64), SshError> {
    let refused = |why| SshError::Reply { doing: script::LOGS.doing.into(), error: why };
    let reply = deployment.run(site, script::LOGS, [], Duration::ZERO)?;
    let listed = reply.each("log", "'BYTES NAME'", |text| {
        let (bytes, name) = text.split_once(' ')?;
        Some((bytes.parse::<u64>().ok()?, name.to_string()))
    });
    let listed = listed.map_err(|error| refused(error.into()))?;
    let total = listed.iter().fold(0u64, |sum, (bytes, _)| sum.saturating_add(*bytes));
    if let Some(free_kib) = free_kib(log_dir).filter(|free_kib| total >> 10 >= *free_kib) {
        let why = format!("its logs take {} MiB, and {} are free here", total >> 20, free_kib >> 10);
        return Err(refused(ReplyError::Refused(why)));
    }
    let (mut files, mut bytes) = (0, 0);
    for (length, name) in listed {
        // A host decides the names, so only logs of its own nodes are taken.
        if !node_of_log(&name).is_some_and(|node| site.ids().any(|id| id == node)) {
            log::warn!("{site} has a log '{}', which is of none of its nodes", printable(&name));
            continue;
        }
        let path = log_dir.join(&name);
        let part = log_dir.join(format!("{name}.part"));
        let here =
            |what: &str, error| SshError::Here { what: format!("cannot {what} {}", part.display()), error };
        let file = File::create(&part).map_err(|error| here("create", error))?;
        // A log that grows meanwhile is taken as it was when it was listed.
        let path_there = quoted(&format!("{}/log/{name}", deployment.target.run_dir));
        let command = format!("exec head -c {length} {path_there}");
        let doing = format!("fetching {name}");
        // One byte more than there may be shows that there are more.
        let (bytes_max, on_signal) = (length.saturating_add(1), deployment.on_signal());
        let fetched = deployment.ssh.fetch(site, &doing, &command, bytes_max, file, on_signal);
        let fetched = fetched.and_then(|()| {
            let came = fs::metadata(&part).map_err(|error| here("look at", error))?.len();
            if came == length {
                return Ok(());
            }
            let why = format!(
                "{came} bytes came of {name}, which has {length}; do start files of the account print?"
            );
            Err(refused(ReplyError::Refused(why)))
        });
        if let Err(error) = fetched {
            // An incomplete copy must not be taken for a whole one.
            let _ = fs::remove_file(&part);
            return Err(error);
        }
        fs::rename(&part, &path).map_err(|error| here("rename", error))?;
        files += 1;
        bytes += length;
    }
    Ok((files, bytes))
}
