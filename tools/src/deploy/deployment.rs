//! A testbed's hosts and the connections to them, for as long as one command lasts.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wire::hosts::Hosts;

use super::script::{Reply, Script};
use super::sites::Site;
use super::ssh::{Master, Ssh};
use super::ssh_error::SshError;
use super::step::OnSignal;

/// The places that a command line names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    pub(super) hosts: Hosts,
    pub(super) sites: Vec<Site>,
    /// The run directory, the same on each host; from the home directory unless it begins with a slash.
    pub(super) run_dir: String,
    /// The configuration of `ssh`, if not the usual one.
    pub(super) ssh_config: Option<PathBuf>,
    /// How long a step may pause.
    pub(super) limit: Duration,
}

/// The hosts, reachable.
#[derive(Debug)]
pub(super) struct Deployment {
    pub(super) target: Target,
    pub(super) ssh: Ssh,
    /// One a host, in their order.
    masters: Vec<Mutex<Option<Master>>>,
    is_winding_up: AtomicBool,
}

impl Deployment {
    /// No host is reached yet.
    pub(super) fn new(target: Target) -> Result<Deployment, SshError> {
        let ssh = Ssh::new(target.ssh_config.clone(), target.limit)?;
        let masters = target.sites.iter().map(|_| Mutex::new(None)).collect();
        Ok(Deployment { target, ssh, masters, is_winding_up: AtomicBool::new(false) })
    }

    /// From now on signals end nothing: what goes on is the winding up that they requested.
    pub(super) fn wind_up(&self) {
        self.is_winding_up.store(true, Ordering::Relaxed);
    }

    /// Connects to a host unless there is a connection.
    pub(super) fn connect(&self, site: &Site) -> Result<(), SshError> {
        let mut master = self.masters[site.index].lock().expect("nobody panics while holding it");
        if !master.as_mut().is_some_and(Master::is_alive) {
            *master = None;
            *master = Some(self.ssh.connect(site, self.on_signal())?);
        }
        Ok(())
    }

    /// Runs a script on a host. `further` is how long it may be silent beyond the limit, since it waits itself.
    pub(super) fn run(
        &self,
        site: &Site,
        script: Script,
        arguments: impl IntoIterator<Item = String>,
        further: Duration,
    ) -> Result<Reply, SshError> {
        self.connect(site)?;
        let arguments: Vec<String> = [self.target.run_dir.clone()].into_iter().chain(arguments).collect();
        self.ssh.run(site, script, &arguments, further, self.on_signal())
    }

    /// Whether a signal ends what is done now.
    pub(super) fn on_signal(&self) -> OnSignal {
        if self.is_winding_up.load(Ordering::Relaxed) { OnSignal::GoOn } else { OnSignal::GiveUp }
    }
}
