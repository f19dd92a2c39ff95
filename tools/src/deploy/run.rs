//! What needs nodes that run: starting them, load, and a whole run.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::committee::Committee;
use wire::ids::NodeId;
use wire::limits::local::LocalLimits;
use wire::text::ParseError;

use super::check::{Facts, Purpose, check};
use super::deployment::Deployment;
use super::fleet::RemoteFleet;
use super::install::{Cargo, install};
use super::options::{RUN, per_host, shape, target};
use super::processes::{self, Depth, Found, PerHost, StartOptions};
use super::script::{self, quoted};
use super::sites::on_all;
use super::ssh::SshError;
use super::step::OnSignal;
use super::{EXIT_FAILED, EXIT_INTERRUPTED, not_begun, with_deployment};
use crate::flags::{UsageError, Values};
use crate::load::{self, Offering, load_testbed};
use crate::local::{self, Alone, Directories, Options, Progress, RunError, StartError};
use crate::signals;
use crate::summary::Summary;
use crate::terminal::tell;

/// Runs `tools deploy run`.
pub(crate) fn run(values: &Values) -> Result<u8, UsageError> {
    let target = target(values)?;
    let (nodes, shards) = shape(values, &target.hosts)?;
    let options = Options::of(&RUN, values, nodes, shards)?;
    let per_host = per_host(values)?;
    refuse_hosts_file_in(&options.directories, values)?;
    if let Err(error) = signals::block() {
        return Ok(not_begun("run", format!("cannot block signals: {error}")));
    }
    let deployment = match Deployment::new(target) {
        Ok(deployment) => Arc::new(deployment),
        Err(error) => return Ok(not_begun("run", error)),
    };
    match whole_run(&deployment, &options, per_host) {
        Ok(summary) => Ok(local::print_summary(&summary, &options.directories)),
        Err(RunError::Start(_)) if signals::is_interrupted() => Ok(interrupted("run")),
        Err(RunError::Start(error)) => Ok(not_begun("run", error)),
        Err(RunError::Interrupted) => Ok(interrupted("run")),
    }
}

fn interrupted(action: &str) -> u8 {
    eprintln!("tools deploy {action}: interrupted before any load was offered");
    EXIT_INTERRUPTED
}

/// A run clears its data directory, and with it the file that says where to run.
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
    options: &Options,
    per_host: PerHost,
) -> Result<Summary, RunError> {
    let hosts = &deployment.target.hosts;
    options.directories.try_out()?;
    // Before the files of the last run go, and before anything is sent.
    let facts = check(deployment, Purpose::Run).map_err(failed)?;
    let prepared = local::prepare(options, || Ok(hosts.clone()), |line| tell(line))?;
    let cargo = Cargo::gather(hosts, &prepared.committee, &options.directories.keys()).map_err(failed)?;
    install(deployment, &cargo).map_err(failed)?;
    if signals::is_interrupted() {
        return Err(RunError::Interrupted);
    }
    let start =
        start_options(&prepared.committee, per_host, options.batch, options.pipeline, &options.limits);
    let fleet = start_all(deployment, options, &start, facts)?;
    let run = local::begin(options, prepared, Box::new(fleet), Progress::Told)?;
    local::conduct(run, &mut Alone)
}

/// Starts all nodes; if some cannot be started, those that could are stopped again.
fn start_all(
    deployment: &Arc<Deployment>,
    options: &Options,
    start: &StartOptions,
    facts: Vec<Facts>,
) -> Result<RemoteFleet, RunError> {
    let started = processes::start(deployment, start);
    let fleet = RemoteFleet::watch(deployment.clone(), options.directories.clone(), facts);
    // The fleet stops what it has when it is dropped.
    started.map(|()| fleet).map_err(failed)
}

fn start_options(
    committee: &Committee,
    per_host: PerHost,
    batch: u64,
    pipeline: u64,
    limits: &LocalLimits,
) -> StartOptions {
    let mut arguments = vec![("--batch", batch.to_string()), ("--pipeline", pipeline.to_string())];
    arguments.extend(limits.text().map(|list| ("--limits", list)));
    StartOptions {
        testbed: committee.testbed().to_string(),
        per_host,
        arguments: arguments.into_iter().flat_map(|(name, value)| [name.to_string(), value]).collect(),
    }
}

fn failed(what: impl std::fmt::Display) -> RunError {
    StartError::Hosts(what.to_string()).into()
}

/// How long nodes may take until they take clients.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Runs `tools deploy start`.
pub(crate) fn start(values: &Values) -> Result<u8, UsageError> {
    let (batch, pipeline) = (values.number("batch", 1, 1_000_000)?, values.number("pipeline", 1, 64)?);
    let (per_host, limits) = (per_host(values)?, local::limits(values)?);
    with_deployment("start", values, |deployment| {
        let keys = Path::new(values.required("data-dir")?).join("keys");
        let committee = load_testbed(Path::new(values.required("hosts")?), &keys)?.1;
        let options = start_options(&committee, per_host, batch, pipeline, &limits);
        if let Err(failures) = processes::start(deployment, &options) {
            eprintln!("tools deploy start: {failures}");
            return Ok(EXIT_FAILED);
        }
        Ok(wait_until_up(deployment, committee))
    })
}

/// Waits until every node answers a client; the exit code.
fn wait_until_up(deployment: &Deployment, committee: Committee) -> u8 {
    let hosts = &deployment.target.hosts;
    let (testbed, nodes) = (committee.testbed(), hosts.iter().map(|host| host.id).collect::<Vec<_>>());
    let offering = match Offering::connect(Arc::new(committee), hosts) {
        Ok(offering) => offering,
        Err(error) => return not_begun("start", error),
    };
    let began = Instant::now();
    let code = loop {
        if signals::is_interrupted() {
            eprintln!("tools deploy start: interrupted; tools deploy stop stops the nodes");
            break EXIT_INTERRUPTED;
        }
        let statuses = offering.statuses(&nodes, Duration::from_secs(1));
        if statuses.len() == nodes.len() {
            tell(format!("{} nodes up; testbed {testbed}", nodes.len()));
            break 0;
        }
        let gone = gone_nodes(deployment);
        let is_over = began.elapsed() > START_PATIENCE;
        if !gone.is_empty() || is_over {
            gone.iter().for_each(|line| eprintln!("tools deploy start: {line}"));
            if is_over {
                let down = offering.look_at(|shared| shared.down.clone());
                let why: Vec<String> =
                    down.into_iter().map(|(node, why)| format!("node {node}: {why}")).collect();
                let waited_s = START_PATIENCE.as_secs();
                eprintln!(
                    "tools deploy start: not all nodes took clients from here within {waited_s} s: {}",
                    why.join("; ")
                );
            }
            break EXIT_FAILED;
        }
    };
    drop(offering.stop());
    code
}

/// Nodes that were started and run no more, with their last words.
fn gone_nodes(deployment: &Deployment) -> Vec<String> {
    let sites = &deployment.target.sites;
    let found = on_all(sites, "start", |site| {
        let running = processes::running(deployment, site, Depth::Brief);
        running.map(|running| (running.nodes, String::new())).map_err(|error| vec![error.to_string()])
    });
    let gone = |(node, found): (NodeId, Found)| match found {
        Found::Gone(words) => Some(format!("node {node} has ended; its last words: {words}")),
        Found::Up(_) => None,
    };
    found.into_iter().flatten().flatten().filter_map(gone).collect()
}

/// Runs `tools deploy load`.
pub(crate) fn load(values: &Values) -> Result<u8, UsageError> {
    let is_here = values.value("from", "'here' or 'hosts'", |text| match text {
        "here" => Some(true),
        "hosts" => Some(false),
        _ => None,
    })?;
    let keys = Path::new(values.required("data-dir")?).join("keys");
    let (hosts, committee) = load_testbed(Path::new(values.required("hosts")?), &keys)?;
    if is_here {
        return load::run_on("deploy load", values, &hosts, committee);
    }
    // Judged here, so that a slip is told before anything is asked of a host.
    load::plan_for(values, &committee)?;
    with_deployment("load", values, |deployment| Ok(load_there(deployment, values)))
}

/// More than a line a second for a week.
const LOAD_BYTES_MAX: u64 = 1 << 30;

/// Runs `tools load` on the first host, whose lines are told here.
fn load_there(deployment: &Deployment, values: &Values) -> u8 {
    let site = &deployment.target.sites[0];
    tell(format!("load from {site}"));
    let names = ["rate", "duration", "warmup", "tx-size", "cross", "invalid", "expiry-rounds", "seed"];
    let options = names.iter().filter_map(|name| Some(format!("--{name} {}", quoted(values.text(name)?))));
    let script = format!(
        "cd {} && exec bin/tools load --hosts hosts.txt --keys keys {}",
        quoted(&deployment.target.run_dir),
        options.collect::<Vec<_>>().join(" ")
    );
    let command = format!("exec sh -c {}", quoted(&script));
    let result = std::thread::scope(|scope| {
        let stdout = std::io::stdout().as_fd().try_clone_to_owned();
        let loading = scope.spawn(|| {
            deployment.connect(site)?;
            let stdout = stdout.map_err(|error| SshError::Here { what: "standard output".into(), error })?;
            deployment.ssh.fetch(site, "loading", &command, LOAD_BYTES_MAX, stdout.into(), OnSignal::GoOn)
        });
        while !loading.is_finished() {
            std::thread::sleep(Duration::from_millis(100));
            if signals::is_interrupted() {
                deployment.wind_up();
                if let Err(error) = deployment.ask(site, script::END_LOAD, [], Duration::ZERO) {
                    eprintln!("tools deploy load: the load on {site} cannot be ended: {error}");
                }
                break;
            }
        }
        loading.join().unwrap_or(Err(SshError::Interrupted))
    });
    match result {
        Ok(()) => 0,
        // What `tools load` said there with its exit code, which means the same here.
        Err(SshError::Failed { status, stderr, .. }) if matches!(status.code(), Some(1..=4 | 130)) => {
            stderr.iter().for_each(|line| eprintln!("{line}"));
            status.code().map_or(EXIT_FAILED, |code| code as u8)
        }
        Err(error) => not_begun("load", format!("{site}: {error}")),
    }
}
