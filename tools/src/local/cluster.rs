//! The processes of a local run: started, watched, killed by plan, stopped.
//!
//! Each node is one child here; its `net_client` and `net_server` are children of it and found in `/proc`. A node's
//! standard input is a pipe whose other end we hold: when we end, however that happens, it stops. All processes
//! stand in the pid file, kept up to date as nodes restart their children.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use wire::ids::NodeId;

use crate::pids::{self, Entry, Signal};
use crate::procfs::{self, Process};
use crate::run::{
    BYZANTINE, Deed, DirectedRule, Directories, Fleet, Part, Reading, StartError, UnaskedEnd, Usage,
    control_lines, killed, last_words, program, throttle,
};

/// How long nodes may take to stop before they are killed.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// All nodes of a run.
#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    directories: Directories,
    recorded: Vec<Entry>,
    usage: Usage,
    readings: Vec<Reading>,
    /// Those that ended unasked since the last call of `observe`.
    ended: Vec<UnaskedEnd>,
    /// Nodes that are slowed, each with the shell that does it.
    throttles: Vec<(NodeId, Child)>,
    nodes_are: NodesAre,
}

/// Whether all processes of nodes have ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NodesAre {
    /// Not for certain.
    There,
    Gone,
}

/// One node's processes.
#[derive(Debug)]
struct Node {
    id: NodeId,
    program: PathBuf,
    arguments: Vec<String>,
    child: Child,
    /// Takes rules of links. Closed to stop the node.
    stdin: Option<ChildStdin>,
    state: State,
}

/// The state of a node's first process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Running,
    /// Killed by plan.
    Crashed,
    /// Ended though nobody stopped it.
    Ended(ExitStatus),
    /// Stopped by us.
    Stopped,
}

impl Cluster {
    fn without_nodes(directories: &Directories) -> Cluster {
        Cluster {
            nodes: Vec::new(),
            directories: directories.clone(),
            recorded: Vec::new(),
            usage: Usage::default(),
            readings: Vec::new(),
            ended: Vec::new(),
            throttles: Vec::new(),
            nodes_are: NodesAre::There,
        }
    }

    /// Starts `count` nodes, each with the arguments that `arguments` gives it, and the program of a Byzantine one if
    /// it is one. If one cannot be started, those that could are ended.
    pub(crate) fn start(
        directories: &Directories,
        count: u16,
        is_byzantine: impl Fn(NodeId) -> bool,
        arguments: impl Fn(NodeId) -> Vec<String>,
    ) -> Result<Cluster, StartError> {
        let honest = program("node")?;
        let has_liars = (0..count).map(NodeId).any(&is_byzantine);
        let dishonest = has_liars.then(|| program(BYZANTINE)).transpose()?;
        let mut cluster = Cluster::without_nodes(directories);
        for id in (0..count).map(NodeId) {
            let program = if is_byzantine(id) { dishonest.as_ref() } else { None };
            match spawn(program.unwrap_or(&honest), directories, id, arguments(id)) {
                Ok(node) => cluster.nodes.push(node),
                Err(error) => {
                    cluster.kill_all();
                    return Err(error);
                }
            }
        }
        cluster.look();
        Ok(cluster)
    }

    /// Looks at all processes: counts their processor time, keeps the pid file current, and notes the nodes that ended
    /// unasked.
    fn look(&mut self) {
        let all = procfs::processes();
        let mut found = Entry::of(std::process::id(), pids::RUN).into_iter().collect::<Vec<_>>();
        self.readings.clear();
        for node in &mut self.nodes {
            if node.state == State::Running
                && let Ok(Some(status)) = node.child.try_wait()
            {
                node.state = State::Ended(status);
                let last_words = last_words(&self.directories, node.id);
                let how = format!("ended unasked ({status})");
                self.ended.push(UnaskedEnd { node: node.id, how, last_words });
            }
            for process in processes_of(node, &all) {
                let memory = procfs::memory(process.pid);
                self.usage.note(0, process, memory.map_or(0, |memory| memory.peak_bytes));
                self.readings.push(Reading {
                    node: node.id,
                    program: process.name.clone(),
                    cpu_ticks: process.cpu_ticks,
                    resident_bytes: memory.map(|memory| memory.resident_bytes),
                    threads: process.threads,
                });
            }
            found.extend(entries_of(node, &all));
        }
        if found != self.recorded {
            // Without a pid file a later run cannot name what this one may leave; the run itself is not in danger.
            if let Err(error) = pids::save(&self.directories.pids(), &found) {
                log::warn!("cannot write {}: {error}", self.directories.pids().display());
            }
            self.recorded = found;
        }
    }

    fn carry_out(&mut self, deed: Deed, nodes: &[NodeId]) -> io::Result<()> {
        match deed {
            Deed::Kill(Part::Whole) => self.crash(nodes),
            Deed::Kill(Part::Core) => self.kill_cores(nodes),
            Deed::Kill(part @ (Part::Client | Part::Server)) => pids::kill(&self.pids(part, nodes)?),
            Deed::Restart => {
                self.crash(nodes)?;
                let restarted = nodes.iter().try_for_each(|id| self.start_again(*id));
                self.look();
                restarted.map_err(io::Error::other)
            }
            Deed::Pause(part) => pids::send(Signal::Stop, &self.pids(part, nodes)?),
            Deed::Continue(part) => pids::send(Signal::Continue, &self.pids(part, nodes)?),
            Deed::Throttle { percent, lasts } => self.throttle(percent, lasts, nodes),
            Deed::Unthrottle => self.unthrottle(|id| nodes.contains(&id)),
            Deed::FillDisk => refuse_writes(&self.pids(Part::Whole, nodes)?),
        }
    }

    /// The processes of a part of these nodes; an error if one has none.
    fn pids(&self, part: Part, nodes: &[NodeId]) -> io::Result<Vec<u32>> {
        let all = procfs::processes();
        let mut pids = Vec::new();
        for id in nodes {
            let own = processes_of(&self.nodes[usize::from(id.0)], &all);
            let wanted = |process: &&&Process| part.program().is_none_or(|name| process.name == name);
            let before = pids.len();
            pids.extend(own.iter().filter(wanted).map(|process| process.pid));
            if pids.len() == before {
                let what = part.program().unwrap_or("process");
                return Err(io::Error::other(format!("node {id} has no {what} that runs")));
            }
        }
        Ok(pids)
    }

    /// Kills the first process of each of these nodes and waits until the others have ended for want of it.
    fn kill_cores(&mut self, nodes: &[NodeId]) -> io::Result<()> {
        let all = procfs::processes();
        let own = nodes.iter().flat_map(|id| entries_of(&self.nodes[usize::from(id.0)], &all));
        let own: Vec<Entry> = own.collect();
        pids::kill(&self.pids(Part::Core, nodes)?)?;
        for id in nodes {
            let node = &mut self.nodes[usize::from(id.0)];
            node.state = State::Crashed;
            node.child.wait()?;
        }
        let left = pids::wait(&own, STOP_PATIENCE, |_| Ok(()))?;
        match left.first() {
            None => Ok(()),
            Some(entry) => {
                let what = format!("{} did not end with its core", entry.what);
                pids::end(&left, STOP_PATIENCE)?;
                Err(io::Error::other(what))
            }
        }
    }

    fn throttle(&mut self, percent: u8, lasts: Duration, nodes: &[NodeId]) -> io::Result<()> {
        for id in nodes {
            let pids = self.pids(Part::Whole, &[*id])?;
            // Should this process be killed, the shell ends too: its file is gone then.
            let shell = Command::new("sh")
                .args(["-c", throttle::SCRIPT, "throttle"])
                .args(throttle::arguments(percent, lasts))
                .arg(format!("/proc/{}", std::process::id()))
                .args(pids.iter().map(u32::to_string))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()?;
            self.throttles.push((*id, shell));
        }
        Ok(())
    }

    /// Lets those of the slowed nodes that are meant run as they can.
    fn unthrottle(&mut self, is_meant: impl Fn(NodeId) -> bool) -> io::Result<()> {
        let (over, rest) = self.throttles.drain(..).partition(|(id, _)| is_meant(*id));
        self.throttles = rest;
        for (id, mut shell) in over {
            shell.kill()?;
            shell.wait()?;
            // It may have been killed while they stood still. They may have ended meanwhile.
            pids::send(Signal::Continue, &self.pids(Part::Whole, &[id]).unwrap_or_default())?;
        }
        Ok(())
    }

    /// Kills all processes of these nodes at once and waits until none is left, so that their ports are free.
    fn crash(&mut self, nodes: &[NodeId]) -> io::Result<()> {
        let all = procfs::processes();
        let mut victims = Vec::new();
        for id in nodes {
            let node = &mut self.nodes[usize::from(id.0)];
            // The parent comes first in the list, so that it cannot restart a child that died before it.
            victims.extend(entries_of(node, &all));
            if node.state == State::Running {
                node.state = State::Crashed;
            }
        }
        let left = pids::end(&victims, STOP_PATIENCE)?;
        if !left.is_empty() {
            return Err(io::Error::other(format!("could not end {left:?}")));
        }
        for id in nodes {
            let node = &mut self.nodes[usize::from(id.0)];
            if node.state == State::Crashed {
                node.child.wait()?;
            }
        }
        Ok(())
    }

    fn start_again(&mut self, id: NodeId) -> Result<(), StartError> {
        let node = &mut self.nodes[usize::from(id.0)];
        let mut arguments = std::mem::take(&mut node.arguments);
        // Nobody knows what it has signed.
        if !arguments.iter().any(|word| word == "--journal" || word == "--follow") {
            arguments.push("--follow".into());
        }
        let program = node.program.clone();
        *node = spawn(&program, &self.directories, id, arguments)?;
        Ok(())
    }

    fn kill_all(&mut self) {
        for node in &mut self.nodes {
            node.stdin = None;
            // Both fail only if the process has ended and been waited for, which is what is wanted.
            let _ = node.child.kill();
            let _ = node.child.wait();
        }
    }
}

impl Fleet for Cluster {
    fn observe(&mut self) -> Vec<UnaskedEnd> {
        self.look();
        std::mem::take(&mut self.ended)
    }

    fn processes(&self) -> &[Entry] {
        &self.recorded
    }

    fn up(&self) -> Vec<NodeId> {
        self.nodes.iter().filter(|node| node.state == State::Running).map(|node| node.id).collect()
    }

    fn apply(&mut self, deed: Deed, nodes: &[NodeId]) -> Result<(), String> {
        self.carry_out(deed, nodes).map_err(|error| error.to_string())
    }

    fn set_links(&mut self, rules: &[DirectedRule]) -> Result<(), String> {
        let mut failed = Vec::new();
        for (id, lines) in control_lines(rules) {
            let node = &mut self.nodes[usize::from(id.0)];
            if node.state == State::Running
                && let Some(stdin) = &mut node.stdin
                && let Err(error) = stdin.write_all(lines.as_bytes())
            {
                failed.push(format!("node {id}: {error}"));
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }

    fn cpu_s(&mut self) -> BTreeMap<String, f64> {
        self.look();
        self.usage.cpu_s()
    }

    fn peak_mb(&self) -> BTreeMap<String, f64> {
        self.usage.peak_mb()
    }

    fn readings(&self) -> Vec<Reading> {
        self.readings.clone()
    }

    fn stop(&mut self) -> Vec<String> {
        if let Err(error) = self.unthrottle(|_| true) {
            log::error!("could not end what slows nodes down: {error}");
        }
        self.look();
        let recorded: Vec<Entry> =
            self.recorded.drain(..).filter(|entry| entry.pid != std::process::id()).collect();
        for node in &mut self.nodes {
            node.stdin = None;
        }
        let deadline = Instant::now() + STOP_PATIENCE;
        let mut late = Vec::new();
        for node in &mut self.nodes {
            if node.state != State::Running {
                continue;
            }
            while Instant::now() < deadline && !matches!(node.child.try_wait(), Ok(Some(_))) {
                thread::sleep(Duration::from_millis(5));
            }
            if !matches!(node.child.try_wait(), Ok(Some(_))) {
                late.push(node.id);
            }
            node.state = State::Stopped;
        }
        self.kill_all();
        // Children of a node end when it does; what has not after a moment is killed too.
        thread::sleep(Duration::from_millis(if recorded.is_empty() { 0 } else { 20 }));
        match pids::end(&recorded, STOP_PATIENCE) {
            Ok(left) if left.is_empty() => self.note_judging(),
            Ok(left) => log::error!("could not end {left:?}"),
            Err(error) => log::error!("could not end the processes of the run: {error}"),
        }
        late.into_iter().map(killed).collect()
    }
}

impl Cluster {
    /// No node is left. This process alone is noted: it judges the logs, and until it has another run must not take
    /// their place.
    fn note_judging(&mut self) {
        let own: Vec<Entry> = Entry::of(std::process::id(), pids::RUN).into_iter().collect();
        if let Err(error) = pids::save(&self.directories.pids(), &own) {
            log::warn!("cannot write {}: {error}", self.directories.pids().display());
        }
        self.nodes_are = NodesAre::Gone;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.recorded.is_empty() {
            self.stop();
        }
        if self.nodes_are == NodesAre::Gone {
            // Nothing is left for a later run to find.
            let _ = std::fs::remove_file(self.directories.pids());
        }
    }
}

fn spawn(
    program: &Path,
    directories: &Directories,
    id: NodeId,
    arguments: Vec<String>,
) -> Result<Node, StartError> {
    let path = directories.stderr(id);
    // A node that is started again goes on with it.
    let stderr = OpenOptions::new().create(true).append(true).open(&path);
    let stderr = stderr.map_err(|error| StartError::file("create", &path, error))?;
    let mut child = Command::new(program)
        .args(&arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .map_err(|error| StartError::file("start", program, error))?;
    let stdin = child.stdin.take();
    Ok(Node { id, program: program.into(), arguments, child, stdin, state: State::Running })
}

/// The programs that a node starts.
const CHILDREN: [&str; 2] = ["net_client", "net_server"];

/// The living processes of a node, its first one first.
fn processes_of<'a>(node: &Node, all: &'a BTreeMap<u32, Process>) -> Vec<&'a Process> {
    let pid = node.child.id();
    // Once waited for, the id may belong to another process.
    if node.state != State::Running {
        return Vec::new();
    }
    let first = all.get(&pid).filter(|process| !process.is_zombie);
    // Between fork and exec a child has the name of the thread that started it, and has opened nothing yet.
    let children = procfs::children_of(all, pid);
    first.into_iter().chain(children.filter(|child| CHILDREN.contains(&child.name.as_str()))).collect()
}

/// The same for the pid file.
fn entries_of(node: &Node, all: &BTreeMap<u32, Process>) -> Vec<Entry> {
    let entry = |process: &Process| {
        let what = format!("{} of node {}", process.name, node.id);
        Entry { pid: process.pid, started_ticks: process.started_ticks, what }
    };
    processes_of(node, all).into_iter().map(entry).collect()
}

/// Lets these processes write to no file any more. Those that have ended meanwhile do not.
fn refuse_writes(pids: &[u32]) -> io::Result<()> {
    // The core comes last: it ends as soon as it notices, and its children with it.
    for pid in pids.iter().rev() {
        let target = format!("--pid={pid}");
        let output = Command::new("prlimit").args([&target, "--fsize=0:"]).stdin(Stdio::null()).output()?;
        if !output.status.success() && procfs::process(*pid).is_some() {
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("prlimit {target} --fsize=0: failed: {}", why.trim())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestDir;

    #[test]
    fn a_run_is_noted_until_it_is_dropped_and_no_longer() {
        let dir = TestDir::new();
        let directories = Directories { log: dir.path().join("log"), data: dir.path().join("data") };
        std::fs::create_dir(&directories.data).unwrap();
        let mut cluster = Cluster::without_nodes(&directories);
        assert!(cluster.stop().is_empty());
        let noted = std::fs::read_to_string(directories.pids()).unwrap();
        let own = format!("{} ", std::process::id());
        assert!(noted.lines().nth(1).is_some_and(|line| line.starts_with(&own)), "{noted}");
        drop(cluster);
        assert!(!directories.pids().exists());
    }
}
