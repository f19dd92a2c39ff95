//! `tools deploy load`: load from here, or from one of the hosts.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::deployment::Deployment;
use super::exit::{EXIT_FAILED, not_begun, with_deployment};
use super::script::{self, quoted};
use super::ssh_error::SshError;
use super::step::OnSignal;
use crate::flags::{UsageError, Values};
use crate::keygen::load_testbed;
use crate::load;
use crate::signals;
use crate::terminal::print;

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
    // Parsed here, so that a mistake is reported before a host is reached.
    load::Plan::for_committee(values, &committee)?;
    with_deployment("load", values, |deployment| Ok(load_there(deployment, values)))
}

/// More than a line a second for a week.
const LOAD_BYTES_MAX: u64 = 1 << 30;

/// Runs `tools load` on the first host, whose lines are printed here.
fn load_there(deployment: &Deployment, values: &Values) -> u8 {
    let site = &deployment.target.sites[0];
    print(format!("load from {site}"));
    let names = ["rate", "duration", "warmup", "tx-size", "cross", "invalid", "expiry-rounds", "seed"];
    let options = names.iter().filter_map(|name| Some(format!("--{name} {}", quoted(values.text(name)?))));
    let script = format!(
        "cd {} && exec bin/tools load --hosts hosts.txt --keys keys {}",
        quoted(&deployment.target.run_dir),
        options.collect::<Vec<_>>().join(" ")
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
