//! The state that all attackers share: victims, keys, pace, end, and the tally of attacks.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wire::committee::Committee;
use wire::hosts::Hosts;
use wire::ids::NodeId;
use wire::keys::NodeKeys;

/// How long a node may take to answer or to close: its queue of connections may hold some hundreds, of which it takes
/// a hundred a second.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// How long an attacker waits for a socket before it looks whether the attack is over.
pub(super) const STEP: Duration = Duration::from_millis(100);

/// How much is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Amounts {
    /// Random, truncated and bit-flipped frames in all.
    pub(super) frames: u64,
    /// Connections on which nothing is ever sent.
    pub(super) idle: u64,
    /// Connections that send a byte a second.
    pub(super) slow: u64,
    /// How often each false handshake is tried at each node.
    pub(super) handshakes: u64,
}

/// Victims, keys, and the end.
pub(super) struct Scene {
    pub(super) committee: Arc<Committee>,
    /// The nodes that are up.
    pub(super) victims: Vec<Victim>,
    /// The keys of those that are not: f members at most.
    pub(super) members: Vec<NodeKeys>,
    pub(super) amounts: Amounts,
    began: Instant,
    /// All is spread over this time ...
    pace: Duration,
    /// ... and given up after this.
    limit: Duration,
    is_ended: AtomicBool,
}

/// A node under attack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Victim {
    pub(super) node: NodeId,
    pub(super) address: SocketAddr,
}

impl Scene {
    /// The attack on the nodes `up` of a local testbed, beginning now and lasting at most `limit`. The keys of the
    /// others are read from `keys`.
    ///
    /// # Errors
    /// If one of those keys cannot be read.
    pub(super) fn set(
        committee: Arc<Committee>,
        hosts: &Hosts,
        up: &[NodeId],
        keys: &Path,
        amounts: Amounts,
        limit: Duration,
    ) -> Result<Scene, wire::text::ParseError> {
        let victim = |node: &NodeId| {
            let host = hosts.get(*node).expect("a local run has a place for each node");
            Victim { node: *node, address: host.listen_address() }
        };
        let down = committee.nodes().filter(|node| !up.contains(node));
        let members = down.map(|node| NodeKeys::load(&keys.join(format!("node-{node}.key"))));
        Ok(Scene {
            victims: up.iter().map(victim).collect(),
            members: members.collect::<Result<_, _>>()?,
            committee,
            amounts,
            began: Instant::now(),
            pace: limit * 7 / 10,
            limit,
            is_ended: AtomicBool::new(false),
        })
    }

    /// Whether attackers must end, done or not.
    pub(super) fn is_over(&self) -> bool {
        self.is_ended.load(Ordering::Relaxed) || self.began.elapsed() >= self.limit
    }

    /// Ends the attack early.
    pub(super) fn end(&self) {
        self.is_ended.store(true, Ordering::Relaxed);
    }

    /// Sleeps until `done` of `all` things are due, or the attack is over.
    pub(super) fn keep_pace(&self, done: u64, all: u64) {
        let due = self.pace.mul_f64(done as f64 / all.max(1) as f64);
        while !self.is_over() {
            let left = due.saturating_sub(self.began.elapsed());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(STEP));
        }
    }
}

/// Sleeps a little after a failure.
pub(super) fn rest() {
    thread::sleep(STEP);
}

impl Victim {
    /// A connection whose reads and writes wait for a moment only.
    pub(super) fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STEP))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}

/// Writes `bytes`, which the node may refuse to take to the end, ends our direction, and waits until the node closes
/// its own. Whether it did.
pub(super) fn send_and_wait(stream: &mut TcpStream, bytes: &[u8], scene: &Scene) -> bool {
    // A reset is as good an answer as any: what counts is that the node hangs up.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    wait_closed(stream, scene)
}

/// Waits until the node closes. Whether it did.
pub(super) fn wait_closed(stream: &mut TcpStream, scene: &Scene) -> bool {
    let began = Instant::now();
    let mut buffer = [0; 4096];
    while began.elapsed() < PATIENCE && !scene.is_over() {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if is_patient(&error) => {}
            Err(_) => return true,
        }
    }
    false
}

/// Whether an error only means that the time for one read is over.
pub(super) fn is_patient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// The counter of messages that nodes dropped as too early, which no name of a fault or refusal begins like.
pub(super) const CAME_EARLY: &str = "came_early";

/// The attacks of one attacker, and the counts that the nodes owe for them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Tally {
    /// Attacks, by name.
    pub(super) sent: BTreeMap<&'static str, u64>,
    /// How many refusals or faults must have been counted at least, by the beginning of the counters' names.
    pub(super) owed: BTreeMap<&'static str, u64>,
    /// Counters that must have counted something.
    pub(super) shown: BTreeSet<&'static str>,
}

impl Tally {
    /// Counts things sent.
    pub(super) fn sent(&mut self, what: &'static str, count: u64) {
        *self.sent.entry(what).or_default() += count;
    }

    /// Notes that so many more refusals are owed by counters that begin like this.
    pub(super) fn owe(&mut self, counter: &'static str, count: u64) {
        *self.owed.entry(counter).or_default() += count;
    }

    /// Notes that this counter must show something.
    pub(super) fn show(&mut self, counter: &'static str) {
        self.shown.insert(counter);
    }

    /// Adds what another attacker did.
    pub(super) fn merge(&mut self, other: Tally) {
        other.sent.into_iter().for_each(|(what, count)| self.sent(what, count));
        other.owed.into_iter().for_each(|(counter, count)| self.owe(counter, count));
        self.shown.extend(other.shown);
    }
}
