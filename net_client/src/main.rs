//! `net_client`, the sending process of a node.
//!
//! ```text
//! core ──IPC queue──▶ bridge ──┬──▶ outbox of peer 1 ──▶ send thread 1 ──▶ TCP
//!                              └──▶ outbox of peer n ──▶ send thread n ──▶ TCP
//!                                   (through a delay line if the link is emulated or has a rule)
//! core ◀──IPC queue── reports ◀── acks loop ◀── acks, pongs, ends of all connections
//! ```
//!
//! The bridge reads the IPC queue whatever the state of the links: cores that blocked on their own senders could
//! deadlock in a ring of nodes. The outboxes keep unsent messages within their bound; beyond it messages are dropped
//! and counted. The process ends when the queue ends, which happens when its parent does.
#![forbid(unsafe_code)]

mod acks;
mod backoff;
mod bridge;
mod burst;
mod delay_line;
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

use wire::flags::Flag;
use wire::ipc::{self, IpcError};
use wire::limits::local::Local;
use wire::logging;
use wire::name::Name;
use wire::program::Program;
use wire::rand;
use wire::session::Identity;
use wire::startup::Startup;
use wire::text::{self, ParseError};
use wire::wan::{Emulated, Wan};

use crate::acks::{AcksLoop, PingTimes};
use crate::bridge::Bridge;
use crate::link::Link;
use crate::peer::Peer;
use crate::process::Process;
use crate::report::Reports;

const PROGRAM: Program = Program {
    name: "net_client",
    summary: "the sending process of a node",
    about: &[
        "A child of node, which starts it, restarts it when it dies, and talks with it over its standard input: a \
         socket, so that it cannot be started by hand. It dials all other nodes and sends them what the core hands it.",
    ],
    own: &[
        Flag::required("--log", "FILE", "The log, to which it appends."),
        Flag::optional("--wan", "FILE", "The WAN that it emulates. Without it there is none."),
    ],
    exit_status: &[
        (0, "node has ended or was killed"),
        (1, "a message of the core cannot be read, or acks cannot"),
        (2, "the command line, RUST_LOG or a file is wrong, or the log cannot be written; node gives up"),
    ],
};

/// Enough to resolve a host name; the buffers of a send thread are on the heap.
const SEND_STACK_BYTES: usize = 256 << 10;

/// The flags or files are wrong, as standard error explains; another start would fail in the same way.
const CANNOT_START: u8 = 2;

fn main() -> ExitCode {
    if let Some(answer) = PROGRAM.answer(std::env::args().skip(1), wire::commit!()) {
        text::print(&answer);
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
        Ok(()) => log::info!("the core has ended; net_client ends too"),
        // A core that was killed before it read all of our messages ends the queue in this way.
        Err(IpcError::Io(error)) => log::info!("the core was killed ({error}); net_client ends too"),
        Err(error) => {
            log::error!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Reads flags and files and starts all threads except the bridge, which the caller runs.
fn start() -> Result<(Bridge, UnixStream), Box<dyn std::error::Error>> {
    let (startup, flags) = Startup::read(std::env::args().skip(1), &PROGRAM)?;
    log_to(&flags.path("--log")?)?;
    let queue = ipc::child_stdio()?;
    let Startup { id, committee, hosts, keys, limits, .. } = startup;
    let wan =
        flags.has("--wan").then(|| Wan::load(&flags.path("--wan")?, hosts.count() as u16)).transpose()?;
    let process =
        Arc::new(Process::new(id, committee, Identity::peer(id, keys.signing), limits, rand::u64()));

    let others = process.committee.nodes().filter(|node| *node != process.id);
    let outbox_bytes_max = process.limits.get(Local::OutboxBytes);
    let peers: Vec<Arc<Peer>> = others.map(|node| Arc::new(Peer::new(node, outbox_bytes_max))).collect();
    let reports = Arc::new(Reports::default());
    let (acks_loop, acks) = AcksLoop::new(peers.clone(), reports.clone(), PingTimes::of(&process.limits))?;
    let mut reports_to = queue.try_clone()?;
    spawn("reports", move || {
        if let Err(error) = reports.write_to(&mut reports_to) {
            log::info!("reports cannot be written any more: {error}");
        }
    })?;
    spawn("acks", move || {
        if let Err(error) = acks_loop.run() {
            log::error!("acks cannot be read any more: {error}");
            std::process::exit(1);
        }
    })?;
    for peer in &peers {
        let host = hosts.get(peer.id()).expect("there are as many hosts as nodes").clone();
        let emulated =
            wan.as_ref().and_then(|wan| Emulated::between(wan, process.id, peer.id())).map(Arc::new);
        let link = Link::new(process.clone(), peer.clone(), host, emulated, acks.clone());
        thread::Builder::new()
            .name(format!("to-{}", peer.id()))
            .stack_size(SEND_STACK_BYTES)
            .spawn(move || link.run())?;
    }
    log::info!("{} sends to {} peers", Name::Node(process.id), peers.len());
    Ok((Bridge::new(process, peers), queue))
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    thread::Builder::new().name(name.into()).spawn(body).map(drop)
}

fn log_to(path: &Path) -> Result<(), ParseError> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    let file = file.map_err(|error| {
        ParseError::of("--log", &format!("{} ({error})", path.display()), "a file that can be written")
    })?;
    env_logger::Builder::new()
        .parse_filters(&logging::filter("info")?)
        .format_timestamp_micros()
        .target(env_logger::Target::Pipe(Box::new(file)))
        .init();
    Ok(())
}
