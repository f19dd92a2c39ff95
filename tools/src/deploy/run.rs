//! `tools deploy run`: a whole run, judged as a local one.

use std::path::Path;
use std::sync::Arc;

use wire::text::ParseError;

use super::check::{Facts, Purpose, check};
use super::deployment::Deployment;
use super::exit::not_begun;
use super::fleet::RemoteFleet;
use super::install::{Bundle, install};
use super::options::{RUN, per_host, shape, target};
use super::processes::{self, PerHost, StartOptions};
use crate::flags::{UsageError, Values};
use crate::run::{
    self, Alone, Directories, Progress, Run, RunError, RunPlan, StartError, Summary, conclude, conduct,
    prepare,
};
use crate::signals;

pub(crate) fn run(values: &Values) -> Result<u8, UsageError> {
    let target = target(values)?;
    let (nodes, shards) = shape(values, &target.hosts)?;
    let plan = RunPlan::of(&RUN, values, nodes, shards)?;
    let durability = run::durability(values)?;
    plan.refuse_restarts_without(durability)?;
    let per_host = per_host(values)?;
    refuse_hosts_file_in(&plan.directories, values)?;
    if let Err(error) = signals::block() {
        return Ok(not_begun("run", error));
    }
    let deployment = match Deployment::new(target) {
        Ok(deployment) => Arc::new(deployment),
        Err(error) => return Ok(not_begun("run", error)),
    };
    Ok(conclude("deploy run", whole_run(&deployment, &plan, per_host, durability), &plan.directories))
}

/// A run clears its data directory, and with it the file that lists the hosts.
fn refuse_hosts_file_in(directories: &Directories, values: &Values) -> Result<(), UsageError> {
    let place = values.required("hosts")?;
    let real = |path: &Path| path.canonicalize().ok();
    let hosts = real(Path::new(place));
    let is_inside = hosts.zip(real(&directories.data)).is_some_and(|(hosts, data)| hosts.starts_with(data));
    if is_inside {
        let expected = format!("a file outside of {}, which a run clears", directories.data.display());
        return Err(ParseError::of("--hosts", place, expected).into());
    }
    Ok(())
}

fn whole_run(
    deployment: &Arc<Deployment>,
    plan: &RunPlan,
    per_host: PerHost,
    durability: Option<&'static str>,
) -> Result<Summary, RunError> {
    let hosts = &deployment.target.hosts;
    plan.directories.try_out()?;
    // Before the files of the last run go, and before anything is sent.
    let facts = check(deployment, Purpose::Run).map_err(failed)?;
    let prepared = prepare(plan, || Ok(hosts.clone()), |line| Progress::Printed.print(line))?;
    let bundle = Bundle::gather(hosts, &prepared.committee, &plan.directories.keys()).map_err(failed)?;
    install(deployment, &bundle).map_err(failed)?;
    if signals::is_interrupted() {
        return Err(RunError::Interrupted);
    }
    let start = StartOptions::new(&prepared.committee, per_host, durability, &plan.settings);
    let fleet = start_all(deployment, plan, start, facts)?;
    let run = Run::begin(plan, prepared, Box::new(fleet), Progress::Printed)?;
    conduct(run, &mut Alone)
}

/// Starts all nodes; if some cannot be started, those that could are stopped again.
fn start_all(
    deployment: &Arc<Deployment>,
    plan: &RunPlan,
    start: StartOptions,
    facts: Vec<Facts>,
) -> Result<RemoteFleet, RunError> {
    let started = processes::start(deployment, &start);
    let fleet = RemoteFleet::watch(deployment.clone(), plan.directories.clone(), facts, start);
    // The fleet stops what it has when it is dropped.
    started.map(|_| fleet).map_err(failed)
}

fn failed(what: impl std::fmt::Display) -> RunError {
    StartError::Hosts(what.to_string()).into()
}
