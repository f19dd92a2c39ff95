//! Metrics, as text for Prometheus, on a port that only this machine can reach.
//!
//! 1. The round loop counts in [`Meters`]: additions to fields of its own, no lock, no clock.
//! 2. A scrape requests a [`Snapshot`], a copy of the loop's counters, through the inbound queue. The loop never waits:
//!    an answer that is no longer expected is dropped. So a node without scrapes does nothing, and one whose loop is
//!    stuck does not answer.
//! 3. The thread of the scrape adds `/proc` and renders the text ([`table`], [`text`], [`http`]).
//!
//! [`table::METRICS`] defines each metric; docs/metrics.md repeats it.
//!
//! # Security
//! The port is bound on the loopback address, which only programs on this machine can reach, and no metric is secret.
//! Requests are bounded in bytes, time and number, and a page serves all scrapes within [`AGE_MAX`], so a flood of
//! scrapes costs the round loop ten small copies a second.

mod histogram;
mod http;
mod meters;
mod table;
mod text;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Sender, bounded};

use bft::fault::FaultKind;
use wire::client::NodeStatus;
use wire::envelope::LinkCounters;
use wire::ids::{NodeId, ShardId};
use wire::procfs::{self, Memory, Process};
use wire::text::ParseError;

use crate::child::Child;
use crate::inbound::InboundSender;

pub(crate) use self::meters::Meters;

/// The channel for the answer. It has room for one, so that the round loop never waits.
pub(crate) type SnapshotRequest = Sender<Box<Snapshot>>;

/// A copy of what the round loop knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) status: NodeStatus,
    pub(crate) meters: Meters,
    /// The counters of each link: those that we dialled and those that dialled us.
    pub(crate) links: BTreeMap<Child, BTreeMap<NodeId, LinkCounters>>,
    /// The number of faults by kind and peer.
    pub(crate) faults: BTreeMap<(FaultKind, NodeId), u64>,
    /// Connected clients with a request other than status.
    pub(crate) clients: u64,
    pub(crate) children: BTreeMap<Child, ChildFigures>,
}

/// Figures of a child.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct ChildFigures {
    /// The present or last process.
    pub(crate) pid: Option<u32>,
    pub(crate) restarts: u64,
    /// Bytes that wait to be written to it.
    pub(crate) waiting_bytes: u64,
}

/// The identity of this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct About {
    pub(crate) node: NodeId,
    pub(crate) shard: ShardId,
}

/// Everything that a metrics scrape returns.
#[derive(Debug)]
struct Scrape {
    about: About,
    /// When the node started, Unix time.
    started: Duration,
    snapshot: Snapshot,
    /// Bytes that wait for the round loop.
    inbound_bytes: u64,
    /// The three processes, as far as they run.
    processes: Vec<(&'static str, Process, Memory)>,
}

/// How old a page may be.
const AGE_MAX: Duration = Duration::from_millis(100);
/// How long the round loop may take to answer. The queue before the request holds some tenths of a second of work.
const PATIENCE: Duration = Duration::from_secs(2);

/// Binds the port.
pub(crate) fn listen(port: u16) -> Result<TcpListener, ParseError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
        ParseError::of("--metrics", &format!("{port} ({error})"), "a free port of 127.0.0.1")
    })
}

/// Answers scrapes on threads of its own until the process ends.
pub(crate) fn serve(listener: TcpListener, about: About, inbound: InboundSender) -> std::io::Result<()> {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let desk = Desk { about, started, inbound, last: Mutex::new(None) };
    http::serve(listener, Arc::new(move || desk.page()))
}

/// Makes pages.
struct Desk {
    about: About,
    started: Duration,
    inbound: InboundSender,
    last: Mutex<Option<(Instant, Arc<str>)>>,
}

impl Desk {
    /// A page not older than [`AGE_MAX`]; the reason if the round loop does not answer.
    fn page(&self) -> Result<Arc<str>, String> {
        // Held until there is an answer, so that concurrent scrapes get the same page.
        let mut last = self.last.lock().expect("nothing that could panic runs while this lock is held");
        if let Some((made, page)) = &*last
            && made.elapsed() < AGE_MAX
        {
            return Ok(page.clone());
        }
        let (request, answer) = bounded(1);
        let deadline = Instant::now() + PATIENCE;
        self.inbound.request_snapshot(request, deadline).map_err(|error| error.to_string())?;
        let snapshot = answer
            .recv_deadline(deadline)
            .map_err(|_| format!("the round loop has not answered within {} s", PATIENCE.as_secs()))?;
        let page: Arc<str> = text::page(&self.scrape(*snapshot)).into();
        *last = Some((Instant::now(), page.clone()));
        Ok(page)
    }

    fn scrape(&self, snapshot: Snapshot) -> Scrape {
        let own = process::id();
        let children = snapshot.children.iter();
        let pids = children.filter_map(|(child, figures)| Some((child.name(), figures.pid?)));
        let processes = [("node", own)].into_iter().chain(pids).filter_map(|(name, pid)| {
            // The child may have ended, and another process may have its id.
            let process = procfs::process(pid).filter(|process| pid == own || process.parent == own)?;
            Some((name, process, procfs::memory(pid)?))
        });
        Scrape {
            about: self.about,
            started: self.started,
            inbound_bytes: self.inbound.waiting_bytes(),
            processes: processes.collect(),
            snapshot,
        }
    }
}
