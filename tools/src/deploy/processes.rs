//! The processes of a testbed on its hosts: started, looked at, stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bft::sim::Conduct;
use wire::committee::Committee;
use wire::ids::NodeId;

use super::deployment::Deployment;
use super::install::version_of_node;
use super::script::{self, Reply, ReplyError, printable};
use super::sites::{Failures, Site, all_or_failures, on_all};
use super::ssh_error::SshError;
use crate::ids;
use crate::pids::Signal;
use crate::procfs::{Memory, Process, parse_stat};
use crate::run::{NodeSettings, Part, Reading, UnaskedEnd, throttle};

/// How long nodes may take to stop before they are killed.
pub(super) const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How long ending what did not stop may take.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// How nodes are to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct StartOptions {
    /// The testbed that must be installed.
    pub(super) testbed: String,
    pub(super) per_host: PerHost,
    /// How durable the journals of nodes are, if they have any.
    pub(super) durability: Option<&'static str>,
    /// Nodes that start without their journals, and only follow.
    pub(super) follow: BTreeSet<NodeId>,
    /// Nodes that are Byzantine, and how they behave; they have no journals.
    pub(super) byzantine: BTreeMap<NodeId, Conduct>,
    /// Further arguments of all nodes.
    pub(super) arguments: Vec<String>,
}

impl StartOptions {
    /// For the nodes of a committee.
    pub(super) fn new(
        committee: &Committee,
        per_host: PerHost,
        durability: Option<&'static str>,
        settings: &NodeSettings,
    ) -> StartOptions {
        let testbed = committee.testbed().to_string();
        StartOptions {
            testbed,
            per_host,
            durability,
            follow: BTreeSet::new(),
            byzantine: BTreeMap::new(),
            arguments: settings.arguments(),
        }
    }
}

/// Settings that depend on a node's host, and on its place there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PerHost {
    /// Memory for decided proposals at each node, MiB; by the host's memory if not given.
    pub(super) history_mib: Option<u64>,
    /// The port on which the first node of a host serves metrics, the others on those after it; none if not given.
    pub(super) metrics_port: Option<u16>,
}

/// A node on its host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// Its first process runs.
    Up(u32),
    /// It was started and has ended; its last words.
    Gone(String),
}

/// The end of a node that nobody stopped.
pub(super) fn ended_unasked(node: NodeId, site: &Site, last_words: &str) -> UnaskedEnd {
    let words = if last_words.is_empty() { String::new() } else { format!("; its last words: {last_words}") };
    UnaskedEnd { node, how: format!("ended unasked on {site}"), last_words: words }
}

/// The processes of a host.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Running {
    /// The testbed that is installed, if one is.
    pub(super) testbed: Option<String>,
    /// The version of its programs, if that was requested.
    pub(super) version: Option<String>,
    /// The nodes that were started.
    pub(super) nodes: Vec<(NodeId, Found)>,
    /// The journals there and their bytes, if that was requested.
    pub(super) journals: BTreeMap<NodeId, u64>,
    /// All processes of ours, with their memory.
    pub(super) processes: Vec<(Process, Memory)>,
}

impl Running {
    /// The processes of nodes that run.
    pub(super) fn readings(&self) -> impl Iterator<Item = Reading> {
        self.processes.iter().filter_map(|(process, memory)| {
            let is_of = |pid: u32| pid == process.pid || pid == process.parent;
            let (node, _) =
                self.nodes.iter().find(|(_, found)| matches!(found, Found::Up(pid) if is_of(*pid)))?;
            Some(Reading {
                node: *node,
                program: process.name.clone(),
                cpu_ticks: process.cpu_ticks,
                resident_bytes: Some(memory.resident_bytes),
                threads: process.threads,
            })
        })
    }
}

/// How much is requested from a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Depth {
    /// Only the parts that change during a run.
    Brief,
    /// Versions and journals as well.
    Full,
}

/// The nodes of a host after a start.
struct Begun {
    started: Vec<NodeId>,
    /// Those that ran already.
    already: Vec<NodeId>,
    /// Those of `started` that have a journal to go on from.
    resumed: Vec<NodeId>,
}

/// Starts all nodes that do not run; which of them go on from their journals.
pub(super) fn start(deployment: &Deployment, options: &StartOptions) -> Result<Vec<NodeId>, Failures> {
    let sites = &deployment.target.sites;
    let expected = version_of_node();
    let outcomes = on_all(sites, "start", |site| {
        let expected = expected.as_ref().map_err(|error| vec![error.to_string()])?;
        let begun = start_on(deployment, site, options, expected)?;
        let note = note(&begun, &options.testbed);
        Ok((begun.resumed, note))
    });
    all_or_failures(sites, "start", outcomes).map(|resumed| resumed.concat())
}

fn start_on(
    deployment: &Deployment,
    site: &Site,
    options: &StartOptions,
    version: &str,
) -> Result<Begun, Vec<String>> {
    let words = |error: SshError| vec![error.to_string()];
    // Looked at first, so that no host starts a version that is not the others'.
    let installed = running(deployment, site, Depth::Full).map_err(words)?;
    match &installed.version {
        Some(found) if found == version => {}
        Some(found) => {
            return Err(vec![format!(
                "it has '{found}', and the others get '{version}': tools deploy install"
            )]);
        }
        None => return Err(vec!["nothing is installed there: tools deploy install".into()]),
    }
    let nodes: Vec<NodeId> = site.ids().collect();
    start_nodes(deployment, site, &nodes, options).map_err(words)
}

/// Starts these nodes of a host, unless they run.
fn start_nodes(
    deployment: &Deployment,
    site: &Site,
    nodes: &[NodeId],
    options: &StartOptions,
) -> Result<Begun, SshError> {
    let filter = std::env::var("RUST_LOG").unwrap_or_default();
    let PerHost { history_mib, metrics_port } = options.per_host;
    let history = history_mib.map_or_else(|| "auto".to_string(), |mib| mib.to_string());
    let durability = options.durability.unwrap_or("off").to_string();
    // The port goes by the place among all nodes of the host, so that a node that is started alone has its own again.
    let places = site.ids().zip(0..).filter(|(id, _)| nodes.contains(id)).map(|(id, place): (_, u16)| {
        let metrics = metrics_port.map_or_else(|| "none".to_string(), |port| (port + place).to_string());
        let role = match options.byzantine.get(&id) {
            Some(conduct) => format!("byzantine={}", conduct.name()),
            None if options.follow.contains(&id) => "follower".into(),
            None => "member".into(),
        };
        format!("{id}:{metrics}:{role}")
    });
    let head = [options.testbed.clone(), filter, history, site.nodes.len().to_string(), durability];
    let arguments = head.into_iter().chain(places).chain(["--".into()]);
    let arguments = arguments.chain(options.arguments.iter().cloned());
    let reply = deployment.run(site, script::START, arguments, Duration::ZERO)?;
    let list = |key| {
        let ids = reply.all(key).filter_map(|text| text.split(' ').next()?.parse().ok().map(NodeId));
        Vec::from_iter(ids)
    };
    Ok(Begun { started: list("started"), already: list("already"), resumed: list("resumed") })
}

/// What a start came to, for the line of a host.
fn note(begun: &Begun, testbed: &str) -> String {
    let Begun { started, already, resumed } = begun;
    let from = match resumed.len() {
        0 => String::new(),
        count if count == started.len() => " from their journals".into(),
        _ => format!(" ({} from their journals)", ids::nodes_text(resumed)),
    };
    if already.is_empty() {
        format!("{} started{from}", ids::nodes_text(started))
    } else if started.is_empty() {
        format!("{} of testbed {testbed} runs already", ids::nodes_text(already))
    } else {
        format!("{} started{from}, {} runs already", ids::nodes_text(started), ids::nodes(already))
    }
}

/// Sends a signal to a part of these nodes, and waits until what it kills is gone; how many processes that were.
pub(super) fn signal(
    deployment: &Deployment,
    site: &Site,
    signal: Signal,
    part: Part,
    nodes: &[NodeId],
) -> Result<usize, SshError> {
    let head =
        [KILL_PATIENCE.as_secs().to_string(), signal.name().into(), part.program().unwrap_or("all").into()];
    let arguments = head.into_iter().chain(nodes.iter().map(NodeId::to_string));
    let reply = deployment.run(site, script::SIGNAL, arguments, KILL_PATIENCE)?;
    Ok(reply.all("signalled").count())
}

/// Lets these nodes run only so much of the time, for so long, or as they can again.
pub(super) fn throttle(
    deployment: &Deployment,
    site: &Site,
    share: Option<(u8, Duration)>,
    nodes: &[NodeId],
) -> Result<(), SshError> {
    let [on, off, turns] = match share {
        Some((percent, lasts)) => throttle::arguments(percent, lasts),
        None => ["0"; 3].map(String::from),
    };
    let arguments = [throttle::SCRIPT.to_string(), on, off, turns];
    let arguments = arguments.into_iter().chain(nodes.iter().map(NodeId::to_string));
    deployment.run(site, script::SLOW, arguments, Duration::ZERO).map(drop)
}

/// Lets the processes of these nodes write to no file any more.
pub(super) fn refuse_writes(deployment: &Deployment, site: &Site, nodes: &[NodeId]) -> Result<(), SshError> {
    let ids = nodes.iter().map(NodeId::to_string);
    deployment.run(site, script::REFUSE_WRITES, ids, Duration::ZERO).map(drop)
}

/// Writes lines to the standard input of a node.
pub(super) fn control(
    deployment: &Deployment,
    site: &Site,
    node: NodeId,
    lines: &str,
) -> Result<(), SshError> {
    let arguments = [node.to_string()].into_iter().chain(lines.lines().map(String::from));
    deployment.run(site, script::CONTROL, arguments, Duration::ZERO).map(drop)
}

/// Starts nodes from their journals, or as followers if they have none, after a crash of those that run.
pub(super) fn restart(
    deployment: &Deployment,
    site: &Site,
    nodes: &[NodeId],
    options: &StartOptions,
) -> Result<(), String> {
    let failed = |error: SshError| error.to_string();
    signal(deployment, site, Signal::Kill, Part::Whole, nodes).map_err(failed)?;
    let mut options = options.clone();
    if options.durability.is_none() {
        options.follow.extend(nodes);
    }
    let begun = start_nodes(deployment, site, nodes, &options).map_err(failed)?;
    match nodes.iter().find(|node| !begun.started.contains(node)) {
        Some(node) => Err(format!("node {node} was not started")),
        None => Ok(()),
    }
}

/// Looks at the processes of a host.
pub(super) fn running(deployment: &Deployment, site: &Site, depth: Depth) -> Result<Running, SshError> {
    let depth = match depth {
        Depth::Brief => "brief",
        Depth::Full => "full",
    };
    let reply = deployment.run(site, script::STATUS, [depth.to_string()], Duration::ZERO)?;
    parse(&reply).map_err(|error| SshError::Reply { doing: script::STATUS.doing.into(), error: error.into() })
}

fn parse(reply: &Reply) -> Result<Running, wire::text::ParseError> {
    reply.expect_keys(&["absent", "testbed", "version", "journal", "node", "gone", "process"])?;
    let up = reply.each("node", "'NODE PID START_TICKS'", |text| {
        let mut words = text.split(' ');
        let (id, pid) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some((NodeId(id), Found::Up(pid)))
    })?;
    let gone = reply.each("gone", "'NODE LAST_WORDS'", |text| {
        let (id, words) = text.split_once(' ').unwrap_or((text, ""));
        Some((NodeId(id.parse().ok()?), Found::Gone(printable(words))))
    })?;
    let processes = reply.each("process", "'PEAK_KIB RESIDENT_KIB STAT'", |text| {
        let mut parts = text.splitn(3, ' ');
        let mut bytes = || parts.next()?.parse::<u64>().ok()?.checked_mul(1 << 10);
        let memory = Memory { peak_bytes: bytes()?, resident_bytes: bytes()? };
        Some((parse_stat(parts.next()?)?, memory))
    })?;
    let mut nodes: Vec<(NodeId, Found)> = up.into_iter().chain(gone).collect();
    nodes.sort_by_key(|(id, _)| *id);
    let testbed = reply.text("testbed").map(printable);
    let version = reply.text("version").map(printable);
    Ok(Running { testbed, version, nodes, journals: reply.journals()?, processes })
}

/// The outcome of stopping on one host.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Stopped {
    /// For the line of the host.
    pub(super) note: String,
    /// Nodes that did not stop by themselves.
    pub(super) late: Vec<NodeId>,
}

/// Stops all nodes of a host, and ends whatever of ours is left there.
pub(super) fn stop_on(deployment: &Deployment, site: &Site) -> Result<Stopped, String> {
    end_with(deployment, site, script::STOP)
}

/// The same, and removes the run directory.
pub(super) fn clean_on(deployment: &Deployment, site: &Site) -> Result<Stopped, String> {
    end_with(deployment, site, script::CLEAN)
}

fn end_with(deployment: &Deployment, site: &Site, script: script::Script) -> Result<Stopped, String> {
    let patience = STOP_PATIENCE.as_secs().to_string();
    let reply = deployment.run(site, script, [patience], STOP_PATIENCE + KILL_PATIENCE);
    let reply = reply.map_err(|error| error.to_string())?;
    stopped(&reply)
}

fn stopped(reply: &Reply) -> Result<Stopped, String> {
    let parsed = || -> Result<(Vec<NodeId>, Vec<NodeId>), ReplyError> {
        reply.expect_keys(&["absent", "stopped", "late", "left", "removed"])?;
        let ids = |key| reply.each(key, "a node id", |text| text.parse().ok().map(NodeId));
        Ok((ids("stopped")?, ids("late")?))
    };
    let (stopped, late) = parsed().map_err(|error| error.to_string())?;
    if let Some(left) = reply.text("left") {
        return Err(format!("process {} cannot be ended", printable(left)));
    }
    let mut notes = Vec::new();
    if !stopped.is_empty() {
        notes.push(format!("{} stopped", ids::nodes_text(&stopped)));
    }
    if !late.is_empty() {
        notes.push(format!("{} did not stop when asked to and was killed", ids::nodes_text(&late)));
    }
    if reply.text("removed").is_some() {
        notes.push("removed".into());
    } else if reply.text("absent").is_some() {
        notes.push("nothing is there".into());
    } else if notes.is_empty() {
        notes.push("nothing ran".into());
    }
    Ok(Stopped { note: notes.join("; "), late })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(lines: &str) -> Reply {
        Reply::parse("h", format!("dumbo-testbed begin\n{lines}dumbo-testbed end\n").as_bytes()).unwrap()
    }

    #[test]
    fn what_runs_is_read() {
        let stat = "42 (node) S 1 42 42 0 -1 4194304 100 0 0 0 30 12 0 0 20 0 5 0 9876 1000000 321 1 1";
        let running = parse(&reply(&format!(
            "testbed ab\nversion node 1\nnode 3 42 9876\ngone 1 the disk is full\nprocess 300 200 {stat}\n"
        )))
        .unwrap();
        let gone = Found::Gone("the disk is full".into());
        assert_eq!(running.nodes, [(NodeId(1), gone), (NodeId(3), Found::Up(42))]);
        let memory = Memory { peak_bytes: 300 << 10, resident_bytes: 200 << 10 };
        assert_eq!((running.processes[0].0.cpu_ticks, running.processes[0].1), (42, memory));
        let readings: Vec<_> =
            running.readings().map(|one| (one.node.0, one.threads, one.resident_bytes)).collect();
        assert_eq!(readings, [(3, 5, Some(200 << 10))]);
        assert_eq!(parse(&reply("absent yes\n")).unwrap(), Running::default());
        for line in [
            "node x 1 2",
            "node 1",
            "gone x",
            "process 1 2",
            "process 300 200",
            "process 99999999999999999 1 1 (x) S",
            "colour red",
        ] {
            assert!(parse(&reply(&format!("{line}\n"))).is_err(), "{line}");
        }
    }

    #[test]
    fn a_note_describes_stopping_and_a_process_that_cannot_be_ended_is_a_failure() {
        for (lines, note) in [
            ("", "nothing ran"),
            ("absent yes\n", "nothing is there"),
            ("stopped 1\nstopped 2\n", "nodes 1-2 stopped"),
            (
                "stopped 1\nlate 2\nremoved yes\n",
                "node 1 stopped; node 2 did not stop when asked to and was killed; removed",
            ),
        ] {
            assert_eq!(stopped(&reply(lines)).unwrap().note, note);
        }
        assert_eq!(stopped(&reply("left 42 node\n")).unwrap_err(), "process 42 node cannot be ended");
        assert!(stopped(&reply("stopped x\n")).is_err());
    }
}
