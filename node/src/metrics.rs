//! Metrics: what goes on in this node, as text that Prometheus scrapes from a port of this machine alone.
//!
//! 1. The round loop counts in [`Meters`] as it goes: additions to fields of its own, no lock, no clock.
//! 2. Who scrapes asks the loop through the inbound queue ([`Question`]) and gets a [`Snapshot`], a copy of what is
//!    known at that moment. The loop never waits for anybody: an answer nobody takes is dropped. So a node that is
//!    not asked does nothing, and one whose loop is stuck says so by not answering.
//! 3. The rest, `/proc` and the text ([`table`], [`text`]), is the business of the thread that answers ([`http`]).
//!
//! What each metric means stands in [`table::METRICS`], once, and from there in docs/metrics.md.
//!
//! # Security
//! The port is bound on the loopback address: whoever can reach it can run programs on this machine. Nothing secret
//! is told. Requests are bounded in bytes, time and number, and a snapshot is used for all who ask within
//! [`AGE_MAX`], so a flood of questions costs the round loop ten small copies a second.

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

/// Where the answer to a scrape goes. Holds one, so that the round loop need not wait to give it.
pub(crate) type Question = Sender<Box<Snapshot>>;

/// What the round loop knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// How the node is.
    pub(crate) status: NodeStatus,
    /// What the loop has counted.
    pub(crate) meters: Meters,
    /// What each child tells of the link with each peer: those we dialled, and those that dialled us.
    pub(crate) links: BTreeMap<Child, BTreeMap<NodeId, LinkCounters>>,
    /// How often each peer misbehaved in each way.
    pub(crate) faults: BTreeMap<(FaultKind, NodeId), u64>,
    /// Clients that have asked for something.
    pub(crate) clients: u64,
    /// The children.
    pub(crate) children: BTreeMap<Child, ChildFigures>,
}

/// What is known of a child's processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct ChildFigures {
    /// The process that runs, or ran last.
    pub(crate) pid: Option<u32>,
    /// How often it was started again.
    pub(crate) restarts: u64,
    /// Bytes that wait to be written to it.
    pub(crate) waiting_bytes: u64,
}

/// Who we are; it does not change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct About {
    /// The node.
    pub(crate) node: NodeId,
    /// Its shard.
    pub(crate) shard: ShardId,
}

/// Everything that one scrape tells.
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

/// How old a page may be when it is told.
const AGE_MAX: Duration = Duration::from_millis(100);
/// How long the round loop may take to answer. It takes in its queue in order, some tenths of a second of it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Takes the port.
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
    /// A page not older than [`AGE_MAX`]; why there is none if the round loop does not answer.
    fn page(&self) -> Result<Arc<str>, String> {
        // Held while asking: who comes meanwhile gets the same page.
        let mut last = self.last.lock().expect("nothing that could panic runs while this lock is held");
        if let Some((made, page)) = &*last
            && made.elapsed() < AGE_MAX
        {
            return Ok(page.clone());
        }
        let (question, answer) = bounded(1);
        let deadline = Instant::now() + PATIENCE;
        self.inbound.ask(question, deadline).map_err(|error| error.to_string())?;
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
            // The child may have ended since, and its number may be somebody else's.
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
