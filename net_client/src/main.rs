//! `net_client`, the sending process of a node.
//!
//! ```text
//! core ──IPC queue──▶ bridge ──┬──▶ outbox of peer 1 ──▶ send thread 1 ──▶ TCP
//!                              └──▶ outbox of peer n ──▶ send thread n ──▶ TCP
//! core ◀──IPC queue── reports ◀── acks loop ◀── acks, pongs, ends of all connections
//! ```
//!
//! The bridge reads the IPC queue whatever the state of the links: a core that blocked on its own sender, in a ring of
//! nodes, would be a deadlock. What it can't send it keeps within the outbox rule, or drops and counts. It ends when
//! the queue does, which is when its parent has ended.
#![forbid(unsafe_code)]

mod acks;
mod backoff;
mod bridge;
mod burst;
mod link;
mod outbox;
mod peer;
mod process;
mod report;

use std::fs::OpenOptions;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use wire::committee::Committee;
use wire::flags::{Flag, Flags};
use wire::hosts::Hosts;
use wire::ids::NodeId;
use wire::ipc::{self, IpcError};
use wire::keys::NodeKeys;
use wire::limits::local::{Local, LocalLimits};
use wire::name::Name;
use wire::rand;
use wire::session::Identity;
use wire::text::{self, ParseError};
use wire::version;

use crate::acks::{AcksLoop, PingTimes};
use crate::bridge::Bridge;
use crate::link::Link;
use crate::peer::Peer;
use crate::process::Process;
use crate::report::Reports;

const FLAGS: &[Flag] = &[
    Flag::with("--id", "N"),
    Flag::with("--hosts", "FILE"),
    Flag::with("--keys", "DIR"),
    Flag::with("--log", "FILE"),
    Flag::with("--limits", LocalLimits::SHAPE),
];

/// A send thread holds a few buffers on the heap; its stack has to suffice for resolving a name.
const SEND_STACK_BYTES: usize = 256 << 10;

/// The program could not start as it was told to, and has said why; starting it again would not help.
const CANNOT_START: u8 = 2;

fn main() -> ExitCode {
    if version::is_asked(std::env::args().skip(1)) {
        println!("{}", version::line("net_client", wire::commit!()));
        return ExitCode::SUCCESS;
    }
    let (bridge, queue) = match start() {
        Ok(started) => started,
        Err(error) => {
            text::complain(&format!("net_client: {error}"));
            return ExitCode::from(CANNOT_START);
        }
    };
    match bridge.run(queue) {
        Ok(()) => log::info!("the core has ended, and so does this process"),
        // A core that was killed with words of ours unread ends the queue in this way.
        Err(IpcError::Io(error)) => log::info!("the core is gone ({error}), and so is this process"),
        Err(error) => {
            log::error!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Reads flags and files and starts all threads but the bridge, which is the caller's.
fn start() -> Result<(Bridge, UnixStream), Box<dyn std::error::Error>> {
    let flags = Flags::parse(std::env::args().skip(1), FLAGS)?;
    let hosts = Hosts::load(&flags.path("--hosts")?)?;
    let (process, log) = (Arc::new(process(&flags, &hosts)?), flags.path("--log")?);
    log_to(&log)?;
    let queue = ipc::child_stdio()?;

    let others = process.committee.nodes().filter(|node| *node != process.id);
    let outbox_bytes_max = process.limits.get(Local::OutboxBytes);
    let peers: Vec<Arc<Peer>> = others.map(|node| Arc::new(Peer::new(node, outbox_bytes_max))).collect();
    let reports = Arc::new(Reports::default());
    let (acks_loop, acks) = AcksLoop::new(peers.clone(), reports.clone(), PingTimes::of(&process.limits))?;
    let mut told = queue.try_clone()?;
    spawn("reports", move || {
        if let Err(error) = reports.write_to(&mut told) {
            log::info!("the core takes no reports any more: {error}");
        }
    })?;
    spawn("acks", move || {
        if let Err(error) = acks_loop.run() {
            log::error!("acks can't be read any more: {error}");
            std::process::exit(1);
        }
    })?;
    for peer in &peers {
        let host = hosts.get(peer.id()).expect("there are as many hosts as nodes").clone();
        let link = Link::new(process.clone(), peer.clone(), host, acks.clone());
        thread::Builder::new()
            .name(format!("to-{}", peer.id()))
            .stack_size(SEND_STACK_BYTES)
            .spawn(move || link.run())?;
    }
    log::info!("{} sends to {} peers", Name::Node(process.id), peers.len());
    Ok((Bridge::new(process, peers), queue))
}

fn process(flags: &Flags, hosts: &Hosts) -> Result<Process, Box<dyn std::error::Error>> {
    let keys = flags.path("--keys")?;
    let path = keys.join("committee.txt");
    let place = path.display().to_string();
    let text = std::fs::read_to_string(&path)
        .map_err(|error| ParseError::of(&place, &error.to_string(), "a readable committee file"))?;
    let committee = Committee::parse(&place, &text)?;
    let nodes = committee.nodes().count();
    if hosts.count() != nodes {
        let found = format!("{} nodes", hosts.count());
        return Err(ParseError::of("--hosts", &found, format!("{nodes}, as in {place}")).into());
    }
    let id = flags.required("--id", &format!("a node id from 0 to {}", nodes - 1), |text| {
        text.parse().ok().map(NodeId).filter(|id| committee.contains(*id))
    })?;
    let keys = NodeKeys::load(&keys.join(format!("node-{id}.key")))?;
    let identity = Identity::peer(id, keys.signing);
    let limits = LocalLimits::of(flags.text("--limits"))?;
    Ok(Process::new(id, committee, identity, limits, rand::u64()))
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    thread::Builder::new().name(name.into()).spawn(body).map(drop)
}

fn log_to(path: &Path) -> Result<(), ParseError> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    let file = file.map_err(|error| {
        ParseError::of("--log", &format!("{} ({error})", path.display()), "a file that can be written")
    })?;
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .format_timestamp_micros()
        .target(env_logger::Target::Pipe(Box::new(file)))
        .init();
    Ok(())
}
