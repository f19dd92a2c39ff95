//! `tools deploy run`: a whole run, judged as a local one.

use std::path::Path;
use std::sync::Arc;

use wire::text::ParseError;

use super::check::{Facts, Purpose, check};
use super::deployment::Deployment;
use super::exit::not_begun;
use super::fleet::RemoteFleet;
use super::install::{Bundle, install};
use super::options::{BOUND, RUN, per_host, shape, target};
use super::processes::{self, PerHost, StartOptions, stop_on};
use super::sites::{Failures, Site, all_or_failures, on_all};
use crate::flags::{UsageError, Values};
use crate::keygen::load_testbed;
use crate::run::{
    self, Begins, Directories, Progress, Run, RunError, RunPlan, StartError, conclude, prepare,
    prepare_again, resume,
};
use crate::signals;
use crate::watch::conduct_watched;

pub(crate) fn run(values: &Values) -> Result<u8, UsageError> {
    let (values, begins) = resume::resolve(values, &BOUND)?;
    let target = target(&values)?;
    let (nodes, shards) = shape(&values, &target.hosts)?;
    let plan = RunPlan::of(&RUN, &values, nodes, shards)?;
    let durability = run::durability(&values)?;
    let per_host = per_host(&values)?;
    refuse_hosts_file_in(&plan.directories, &values)?;
    let purpose = match begins {
        Begins::Anew => Purpose::Run,
        Begins::WithJournals => {
            let (_, committee) =
                load_testbed(Path::new(values.required("hosts")?), &plan.directories.keys())?;
            Purpose::Resume { testbed: committee.testbed(), follow: plan.follow.clone() }
        }
    };
    let options = Options { plan, per_host, durability, purpose, noted: resume::noted(&values, &BOUND) };
    if let Err(error) = signals::block() {
        return Ok(not_begun("run", error));
    }
    let deployment = match Deployment::new(target) {
        Ok(deployment) => Arc::new(deployment),
        Err(error) => return Ok(not_begun("run", error)),
    };
    let summary = conduct_watched(&options.plan, |progress| begin(&deployment, &options, progress));
    Ok(conclude("deploy run", summary, &options.plan.directories))
}

/// What a run is to be.
struct Options {
    plan: RunPlan,
    per_host: PerHost,
    /// How durable the journals of nodes are, if they have any.
    durability: Option<&'static str>,
    /// What the hosts must be fit for.
    purpose: Purpose,
    /// The options that a run which goes on must have in common with this one.
    noted: String,
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

fn begin<'a>(
    deployment: &Arc<Deployment>,
    options: &'a Options,
    progress: Progress,
) -> Result<Run<'a>, RunError> {
    let (hosts, plan) = (&deployment.target.hosts, &options.plan);
    plan.directories.try_out()?;
    // Before the files of the last run go, and before anything is sent.
    let facts = check(deployment, &options.purpose).map_err(failed)?;
    let print = |line: &str| progress.print(line);
    let (prepared, resumed) = match options.purpose {
        Purpose::Resume { .. } => {
            let (prepared, resumed) = prepare_again(plan, |_| Ok(hosts.clone()), print)?;
            plan.followers_text().iter().for_each(|text| print(text));
            // Only now, when it is sure that no other run uses the data directory.
            stop_leftovers(deployment, &facts).map_err(failed)?;
            (prepared, Some(resumed))
        }
        Purpose::Look | Purpose::Run => (prepare(plan, || Ok(hosts.clone()), print)?, None),
    };
    if options.durability.is_some() {
        resume::note(&plan.directories.data, &options.noted)?;
    }
    let bundle = Bundle::gather(hosts, &prepared.committee, &plan.directories).map_err(failed)?;
    let bundle =
        if plan.byzantine().is_empty() { bundle } else { bundle.with_byzantine().map_err(failed)? };
    install(deployment, &bundle).map_err(failed)?;
    if signals::is_interrupted() {
        return Err(RunError::Interrupted);
    }
    let start = StartOptions {
        follow: plan.follow.clone(),
        byzantine: plan.byzantine(),
        ..StartOptions::new(&prepared.committee, options.per_host, options.durability, &plan.settings)
    };
    let fleet = start_all(deployment, plan, start, facts)?;
    let mut run = Run::begin(plan, prepared, Box::new(fleet), progress)?;
    run.resumed = resumed;
    Ok(run)
}

/// Stops nodes that an earlier run of the testbed has left running, because it was killed here.
fn stop_leftovers(deployment: &Deployment, facts: &[Facts]) -> Result<(), Failures> {
    let sites: Vec<Site> = deployment
        .target
        .sites
        .iter()
        .zip(facts)
        .filter(|(_, facts)| !facts.running.is_empty())
        .map(|(site, _)| site.clone())
        .collect();
    let stopped = on_all(&sites, "stop", |site| {
        let stopped = stop_on(deployment, site).map_err(|error| vec![error])?;
        Ok(((), format!("left over from an earlier run: {}", stopped.note)))
    });
    all_or_failures(&sites, "stop", stopped).map(drop)
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
