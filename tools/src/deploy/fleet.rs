//! The nodes of a run on other machines.
//!
//! A thread a host looks every other second what runs there, so that a run never waits for a host. A host that does
//! not answer for [`LOST_AFTER`] is given up, and with it its nodes. In the end all are stopped, the given up ones too
//! if they can be reached again, and their logs are fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use wire::ids::NodeId;

use super::check::Facts;
use super::deployment::Deployment;
use super::logs;
use super::processes::{self, Depth, Found, Running, StartOptions, ended_unasked, running, stop_on};
use super::sites::{Site, on_all};
use crate::json::Json;
use crate::pids::Signal;
use crate::run::{
    Deed, DirectedRule, Directories, Fleet, Part, Reading, UnaskedEnd, Usage, control_lines, killed,
};

/// How often a host is looked at. More often would take from what is measured there.
const PERIOD: Duration = Duration::from_secs(2);
/// A host that has not answered for so long, and fails to, counts as lost. One that keeps silent fails when the time
/// limit of the step is over.
const LOST_AFTER: Duration = Duration::from_secs(10);
/// How long the figures of a moment may take to come from all hosts.
const LOOK_PATIENCE: Duration = Duration::from_secs(3);

/// The nodes of a run on other machines, started. Stopped when dropped.
pub(super) struct RemoteFleet {
    deployment: Arc<Deployment>,
    directories: Directories,
    facts: Vec<Facts>,
    start: StartOptions,
    watchers: Vec<Watcher>,
    up: BTreeSet<NodeId>,
    /// The first look at the host of a restarted node that began after the restart: those before it may tell of the
    /// process that was killed.
    restarted: BTreeMap<NodeId, u64>,
    ended: Vec<UnaskedEnd>,
    usage: Usage,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    On,
    Stopped,
}

/// The thread that looks at one host.
struct Watcher {
    seen: Arc<Mutex<Seen>>,
    /// Lets it look now; gone when it is to end.
    nudge: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The last answer of a host.
struct Seen {
    /// How often it has been looked at.
    looks: u64,
    answered: Instant,
    running: Running,
    /// Why it does not answer.
    trouble: Option<String>,
}

impl RemoteFleet {
    /// Begins to watch nodes that have been started.
    pub(super) fn watch(
        deployment: Arc<Deployment>,
        directories: Directories,
        facts: Vec<Facts>,
        start: StartOptions,
    ) -> RemoteFleet {
        let sites = &deployment.target.sites;
        let up = sites.iter().flat_map(Site::ids).collect();
        let watchers = sites.iter().map(|site| Watcher::start(deployment.clone(), site.clone())).collect();
        RemoteFleet {
            directories,
            facts,
            start,
            watchers,
            up,
            restarted: BTreeMap::new(),
            ended: Vec::new(),
            usage: Usage::default(),
            state: State::On,
            deployment,
        }
    }

    /// Takes in what the hosts answered last.
    fn take_in(&mut self) {
        for (site, watcher) in self.deployment.target.sites.iter().zip(&self.watchers) {
            let seen = watcher.seen.lock().expect("nobody panics while holding it");
            for (process, memory) in &seen.running.processes {
                self.usage.note(site.index, process, memory.peak_bytes);
            }
            let is_lost = seen.trouble.is_some() && seen.answered.elapsed() > LOST_AFTER;
            for id in site.ids().filter(|id| self.up.contains(id)).collect::<Vec<_>>() {
                let found = seen.running.nodes.iter().find(|(node, _)| *node == id).map(|(_, found)| found);
                let end = match (found, &seen.trouble) {
                    (_, Some(trouble)) if is_lost => {
                        let how = format!("is out of reach, as is its host {site}: {trouble}");
                        UnaskedEnd { node: id, how, last_words: String::new() }
                    }
                    _ if self.restarted.get(&id).is_some_and(|first| seen.looks < *first) => continue,
                    (Some(Found::Gone(words)), _) => ended_unasked(id, site, words),
                    _ => continue,
                };
                self.up.remove(&id);
                self.ended.push(end);
            }
        }
    }

    /// Ends the threads that look.
    fn end_watchers(&mut self) {
        for watcher in &mut self.watchers {
            watcher.nudge = None;
        }
        for watcher in &mut self.watchers {
            if let Some(thread) = watcher.thread.take() {
                // A panic of it stands on standard error.
                let _ = thread.join();
            }
        }
    }

    /// Does something to nodes of one host.
    fn carry_out(&self, deed: Deed, site: &Site, nodes: &[NodeId]) -> Result<(), String> {
        let deployment = &self.deployment;
        let signal = |signal, part| match processes::signal(deployment, site, signal, part, nodes) {
            Ok(0) => Err("nothing was there to send a signal to".into()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        let done = match deed {
            Deed::Restart => return processes::restart(deployment, site, nodes, &self.start),
            Deed::Kill(part) => return signal(Signal::Kill, part),
            Deed::Pause(part) => return signal(Signal::Stop, part),
            Deed::Continue(part) => return signal(Signal::Continue, part),
            Deed::Throttle { percent, lasts } => {
                processes::throttle(deployment, site, Some((percent, lasts)), nodes)
            }
            Deed::Unthrottle => processes::throttle(deployment, site, None, nodes),
            Deed::FillDisk => processes::refuse_writes(deployment, site, nodes),
        };
        done.map_err(|error| error.to_string())
    }

    /// These nodes of a host run again.
    fn note_restarted(&mut self, site: &Site, nodes: &[NodeId]) {
        let looks = self.watchers[site.index].seen.lock().expect("nobody panics while holding it").looks;
        // One look may be under way.
        self.restarted.extend(nodes.iter().map(|node| (*node, looks + 2)));
        self.up.extend(nodes);
    }
}

impl Fleet for RemoteFleet {
    fn observe(&mut self) -> Vec<UnaskedEnd> {
        self.take_in();
        std::mem::take(&mut self.ended)
    }

    fn up(&self) -> Vec<NodeId> {
        self.up.iter().copied().collect()
    }

    fn apply(&mut self, deed: Deed, nodes: &[NodeId]) -> Result<(), String> {
        if matches!(deed, Deed::Kill(Part::Whole | Part::Core) | Deed::Restart) {
            // From now on their end is no surprise.
            self.up.retain(|node| !nodes.contains(node));
        }
        let sites = self.deployment.target.sites.iter().filter(|site| !struck(nodes, site).is_empty());
        let sites: Vec<Site> = sites.cloned().collect();
        let fleet = &*self;
        // All hosts at once, as they would fail.
        let outcomes = at_once(&sites, |site| fleet.carry_out(deed, site, &struck(nodes, site)));
        let mut failed = Vec::new();
        for (site, outcome) in sites.iter().zip(outcomes) {
            match outcome {
                Err(why) => failed.push(format!("{site}: {why}")),
                Ok(()) if deed == Deed::Restart => self.note_restarted(site, &struck(nodes, site)),
                Ok(()) => {}
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }

    fn set_links(&mut self, rules: &[DirectedRule]) -> Result<(), String> {
        let lines = control_lines(rules);
        let of_site = |site: &Site| -> Vec<NodeId> {
            site.ids().filter(|id| self.up.contains(id) && lines.contains_key(id)).collect()
        };
        let sites = self.deployment.target.sites.iter().filter(|site| !of_site(site).is_empty());
        let sites: Vec<Site> = sites.cloned().collect();
        let outcomes = at_once(&sites, |site| {
            let mut nodes = of_site(site).into_iter();
            nodes.try_for_each(|node| processes::control(&self.deployment, site, node, &lines[&node]))
        });
        let failed = sites
            .iter()
            .zip(outcomes)
            .filter_map(|(site, outcome)| outcome.err().map(|error| format!("{site}: {error}")));
        let failed: Vec<String> = failed.collect();
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }

    fn cpu_s(&mut self) -> BTreeMap<String, f64> {
        let looks = |watcher: &Watcher| watcher.seen.lock().expect("nobody panics while holding it").looks;
        let before: Vec<u64> = self.watchers.iter().map(looks).collect();
        self.watchers.iter().for_each(Watcher::nudge);
        let deadline = Instant::now() + LOOK_PATIENCE;
        // A look that was under way counts: it is a moment old.
        let is_old = |(watcher, before): (&Watcher, &u64)| looks(watcher) < before + 1;
        while self.watchers.iter().zip(&before).any(is_old) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        self.take_in();
        self.usage.cpu_s()
    }

    fn peak_mb(&self) -> BTreeMap<String, f64> {
        self.usage.peak_mb()
    }

    fn readings(&self) -> Vec<Reading> {
        let all = self.watchers.iter().flat_map(|watcher| {
            let seen = watcher.seen.lock().expect("nobody panics while holding it");
            seen.running.readings().collect::<Vec<_>>()
        });
        all.collect()
    }

    fn stop(&mut self) -> Vec<String> {
        self.deployment.wind_up();
        self.state = State::Stopped;
        self.end_watchers();
        let mut complaints = Vec::new();
        let sites = &self.deployment.target.sites;
        let stopped = on_all(sites, "stop", |site| {
            let stopped = stop_on(&self.deployment, site).map_err(|error| vec![error])?;
            Ok((stopped.late, stopped.note))
        });
        let mut reached = Vec::new();
        for (site, stopped) in sites.iter().zip(stopped) {
            match stopped {
                Ok(late) => {
                    reached.push(site.clone());
                    complaints.extend(late.into_iter().map(killed));
                }
                // Invocation for its logs, it would only keep us waiting once more.
                Err(reasons) => complaints.push(format!(
                    "the nodes on {site} could not be stopped, nor their logs fetched ({}); when it can be reached, \
                     'tools deploy stop' and 'tools deploy logs' do it",
                    reasons.join("; ")
                )),
            }
        }
        let fetched = logs::fetch(&self.deployment, &reached, &self.directories.log);
        for (site, fetched) in reached.iter().zip(fetched) {
            if let Err(reasons) = fetched {
                complaints.push(format!("the logs of {site} could not be fetched: {}", reasons.join("; ")));
            }
        }
        // Nobody of this run is left on this machine.
        let _ = fs::remove_file(self.directories.pids());
        complaints
    }

    fn hosts(&self) -> Vec<Json> {
        self.deployment
            .target
            .sites
            .iter()
            .zip(&self.facts)
            .map(|(site, facts)| facts.to_json(site))
            .collect()
    }
}

/// Does something on some hosts at once.
fn at_once<E: Send + ToString>(
    sites: &[Site],
    act: impl Fn(&Site) -> Result<(), E> + Sync,
) -> Vec<Result<(), String>> {
    let act = &act;
    thread::scope(|scope| {
        let threads: Vec<_> = sites.iter().map(|site| scope.spawn(move || act(site))).collect();
        let outcome = |thread: thread::ScopedJoinHandle<'_, Result<(), E>>| match thread.join() {
            Ok(outcome) => outcome.map_err(|error| error.to_string()),
            Err(_) => Err("the thread of this host panicked".to_string()),
        };
        threads.into_iter().map(outcome).collect()
    })
}

/// Those of some nodes that are on a host.
fn struck(nodes: &[NodeId], site: &Site) -> Vec<NodeId> {
    site.ids().filter(|id| nodes.contains(id)).collect()
}

impl Drop for RemoteFleet {
    fn drop(&mut self) {
        if self.state == State::On {
            for complaint in self.stop() {
                eprintln!("tools deploy run: {complaint}");
            }
        }
    }
}

impl Watcher {
    fn start(deployment: Arc<Deployment>, site: Site) -> Watcher {
        let first = Seen { looks: 0, answered: Instant::now(), running: Running::default(), trouble: None };
        let seen = Arc::new(Mutex::new(first));
        let (nudge, nudged) = crossbeam_channel::bounded(1);
        let theirs = seen.clone();
        let thread = thread::spawn(move || watch(&deployment, &site, &theirs, &nudged));
        Watcher { seen, nudge: Some(nudge), thread: Some(thread) }
    }

    /// Lets it look now.
    fn nudge(&self) {
        // If one nudge waits already, it looks soon.
        let _ = self.nudge.as_ref().map(|nudge| nudge.try_send(()));
    }
}

fn watch(deployment: &Deployment, site: &Site, seen: &Mutex<Seen>, nudged: &Receiver<()>) {
    loop {
        let answer = running(deployment, site, Depth::Brief);
        {
            let mut seen = seen.lock().expect("nobody panics while holding it");
            seen.looks += 1;
            match answer {
                Ok(running) => {
                    seen.answered = Instant::now();
                    seen.running = running;
                    seen.trouble = None;
                }
                Err(error) => seen.trouble = Some(error.to_string()),
            }
        }
        if nudged.recv_timeout(PERIOD) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}
