//! `tools deploy load`: load from here, or from one of the hosts, which writes its files there; they are fetched.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use wire::committee::Committee;

use super::deployment::Deployment;
use super::exit::{EXIT_FAILED, not_begun, with_deployment};
use super::options::LOAD;
use super::script::{self, quoted};
use super::sites::Site;
use super::ssh_error::SshError;
use super::step::OnSignal;
use crate::flags::{UsageError, Values};
use crate::guest::{self, LogDir};
use crate::keygen::load_testbed;
use crate::load::Plan;
use crate::signals;
use crate::terminal::print;
use crate::testbed::refuse_missing_hosts;

pub(crate) fn load(values: &Values) -> Result<u8, UsageError> {
    let is_here = values.value("from", "'here' or 'hosts'", |text| match text {
        "here" => Some(true),
        "hosts" => Some(false),
        _ => None,
    })?;
    let keys = Path::new(values.required("data-dir")?).join("keys");
    let hosts = Path::new(values.required("hosts")?);
    refuse_missing_hosts(hosts)?;
    let (hosts, committee) = load_testbed(hosts, &keys)?;
    if is_here {
        return guest::run_on("deploy load", &LOAD, values, hosts, committee);
    }
    // Parsed here, so that a mistake is reported before a host is reached.
    Plan::for_committee(values, &committee)?;
    with_deployment("load", values, |deployment| {
        let log = Path::new(values.required("log-dir")?);
        let directory = match LogDir::take(log) {
            Ok(directory) => directory,
            Err(error) => return Ok(not_begun("load", error)),
        };
        let site = &deployment.target.sites[0];
        let code = load_there(deployment, site, values);
        Ok(match bring(deployment, site, &directory, &committee) {
            Ok(note) => {
                note.iter().for_each(|note| print(format!("  {note}")));
                print(format!("  fetched into {}", log.display()));
                code
            }
            // Without a summary there are no files, and the load itself has said why.
            Err(_) if !matches!(code, 0 | 1 | 3 | 130) => code,
            Err(error) => {
                eprintln!("tools deploy load: {site}: {error}");
                code.max(EXIT_FAILED)
            }
        })
    })
}

/// More than a line a second for a week.
const LOAD_BYTES_MAX: u64 = 1 << 30;
/// Where the load writes there, in the run directory.
const DIRECTORY: &str = "run/load";

/// Fetches what the load wrote on a host, and puts it in its place here.
fn bring(
    deployment: &Deployment,
    site: &Site,
    directory: &LogDir,
    committee: &Committee,
) -> Result<Option<String>, String> {
    // Also when the load was interrupted.
    deployment.wind_up();
    for name in guest::FILES {
        let part = directory.part().join(name);
        let failed = |error: std::io::Error| format!("cannot write {}: {error}", part.display());
        let there = quoted(&format!("{}/{DIRECTORY}/{name}", deployment.target.run_dir));
        let command = format!("if [ -f {there} ]; then exec cat {there}; fi");
        let command = format!("exec sh -c {}", quoted(&command));
        let file = File::create(&part).map_err(failed)?;
        let doing = format!("fetching {name}");
        let fetched =
            deployment.ssh.fetch(site, &doing, &command, LOAD_BYTES_MAX, file, deployment.on_signal());
        fetched.map_err(|error| error.to_string())?;
        if fs::metadata(&part).map_err(failed)?.len() == 0 {
            fs::remove_file(&part).map_err(failed)?;
        }
    }
    directory.adopt(committee)
}

/// Runs `tools load` on a host, whose lines are printed here; its exit code.
fn load_there(deployment: &Deployment, site: &Site, values: &Values) -> u8 {
    print(format!("load from {site}; its files are in {DIRECTORY} there, and fetched at the end"));
    let names =
        ["rate", "duration", "warmup", "tx-size", "cross", "invalid", "expiry-rounds", "hand-on", "seed"];
    let mut options: Vec<String> =
        names.iter().filter_map(|name| Some(format!("--{name} {}", quoted(values.text(name)?)))).collect();
    if values.is_given("transactions") {
        options.push("--transactions".into());
    }
    // Loads are added up here, since another one may come from elsewhere.
    let script = format!(
        "cd {} && rm -rf {DIRECTORY} && exec bin/tools load --hosts hosts.txt --keys keys --log-dir {DIRECTORY} {}",
        quoted(&deployment.target.run_dir),
        options.join(" ")
    );
    let command = format!("exec sh -c {}", quoted(&script));
    let result = thread::scope(|scope| {
        let stdout = std::io::stdout().as_fd().try_clone_to_owned();
        let loading = scope.spawn(|| {
            deployment.connect(site)?;
            let stdout = stdout.map_err(|error| SshError::Here { what: "standard output".into(), error })?;
            deployment.ssh.fetch(site, "loading", &command, LOAD_BYTES_MAX, stdout.into(), OnSignal::GoOn)
        });
        while !loading.is_finished() {
            thread::sleep(Duration::from_millis(100));
            if signals::is_interrupted() {
                deployment.wind_up();
                if let Err(error) = deployment.run(site, script::END_LOAD, [], Duration::ZERO) {
                    eprintln!("tools deploy load: the load on {site} cannot be ended: {error}");
                }
                break;
            }
        }
        loading.join().unwrap_or(Err(SshError::Interrupted))
    });
    match result {
        Ok(()) => 0,
        // The errors of `tools load` there with its exit code, which means the same here.
        Err(SshError::Failed { status, stderr, .. }) if matches!(status.code(), Some(1..=4 | 130)) => {
            stderr.iter().for_each(|line| eprintln!("{line}"));
            status.code().map_or(EXIT_FAILED, |code| code as u8)
        }
        Err(error) => not_begun("load", format!("{site}: {error}")),
    }
}
