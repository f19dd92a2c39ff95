//! The two child processes, and the supervisor thread of each.
//!
//! A supervisor starts its child over a socket pair, reads its messages until the queue ends, makes sure that the
//! process has ended, and starts the next one. So the round loop gets all messages of an old process before it learns
//! of the new one. A child that dies soon after each start is restarted after longer and longer pauses, and finally
//! ends the node. A child that cannot start (a busy port, an unreadable file) ends the node at once, since a restart
//! would not help.
//!
//! Children need no signal to end: their queue ends when this process does, for whatever reason.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use wire::envelope::ToCore;
use wire::ipc::{self, IpcError, IpcRead, IpcReader};

use crate::inbound::{Inbound, InboundSender, NO_PANIC};
use crate::outlet::{Bounds, Outlet};

/// One of the two children.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Child {
    /// Sends to peers.
    NetClient,
    /// Listens to peers and clients.
    NetServer,
}

impl Child {
    /// The name of its program.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Child::NetClient => "net_client",
            Child::NetServer => "net_server",
        }
    }
}

/// How to start a child.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) child: Child,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// Its log, whose last line may explain its end.
    pub(crate) log: PathBuf,
    /// What may wait to be written to it.
    pub(crate) bounds: Bounds,
}

/// The exit code of a child whose flags or files are wrong, as it has explained on standard error.
const CANNOT_START: i32 = 2;
/// A child that ran for so long has started well.
const STARTED_WELL: Duration = Duration::from_secs(1);
/// How often in a row a child may die before it has started well.
const EARLY_DEATHS_MAX: u32 = 10;
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long a child may take to end after its queue has ended.
const END_TIME: Duration = Duration::from_secs(2);
const END_POLL: Duration = Duration::from_millis(5);

/// The sockets of the children; closing them ends the children.
#[derive(Clone)]
pub(crate) struct Children {
    state: Arc<Mutex<State>>,
}

enum State {
    Running(BTreeMap<Child, UnixStream>),
    Ending,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NodeIs {
    Running,
    Ending,
}

impl Children {
    pub(crate) fn new() -> Children {
        Children { state: Arc::new(Mutex::new(State::Running(BTreeMap::new()))) }
    }

    /// Ends the queues of all children. No child starts from now on.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock().expect(NO_PANIC);
        if let State::Running(sockets) = std::mem::replace(&mut *state, State::Ending) {
            for socket in sockets.into_values() {
                // If it fails, the child has ended already.
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
    }

    fn add(&self, child: Child, socket: UnixStream) -> NodeIs {
        match &mut *self.state.lock().expect(NO_PANIC) {
            State::Running(sockets) => {
                sockets.insert(child, socket);
                NodeIs::Running
            }
            State::Ending => NodeIs::Ending,
        }
    }

    fn node_is(&self) -> NodeIs {
        match *self.state.lock().expect(NO_PANIC) {
            State::Running(_) => NodeIs::Running,
            State::Ending => NodeIs::Ending,
        }
    }
}

/// Keeps a child running until the node ends. Ends the node if the child cannot be kept running.
pub(crate) fn supervise(spec: &Spec, children: &Children, inbound: &InboundSender) {
    if let Err(reason) = keep_running(spec, children, inbound) {
        // Fails only if the node has ended.
        let _ = inbound.send(Inbound::Failed(reason));
    }
}

fn keep_running(spec: &Spec, children: &Children, inbound: &InboundSender) -> Result<(), String> {
    let name = spec.child.name();
    let mut early_deaths = 0;
    let mut pause = PAUSE_MIN;
    for start in 0u64.. {
        let started = Instant::now();
        let ended = serve_one(spec, children, inbound)
            .map_err(|error| format!("{} cannot be started: {error}", spec.program.display()))?;
        let Some(status) = ended else { return Ok(()) };
        if started.elapsed() >= STARTED_WELL {
            early_deaths = 0;
            pause = PAUSE_MIN;
            log::warn!("{name} has ended ({status}); restarting it");
            continue;
        }
        early_deaths += 1;
        let cannot_start = status.code() == Some(CANNOT_START);
        let failed_first = start == 0 && status.code().is_some();
        if cannot_start || failed_first || early_deaths > EARLY_DEATHS_MAX {
            return Err(format!(
                "{name} ended as soon as it was started ({status}){}",
                last_words(&spec.log)
            ));
        }
        log::warn!("{name} has ended at once ({status}); restarting it in {pause:?}");
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
    Ok(())
}

/// Runs a child to its end. Returns its exit status; `None` if the node is ending.
fn serve_one(spec: &Spec, children: &Children, inbound: &InboundSender) -> io::Result<Option<ExitStatus>> {
    let (socket, theirs) = ipc::pair()?;
    // Registered before the child runs, so that a node that ends meanwhile ends it too.
    if children.add(spec.child, socket.try_clone()?) == NodeIs::Ending {
        return Ok(None);
    }
    let mut process = spawn(spec, theirs)?;
    log::info!("{} runs as process {}", spec.child.name(), process.id());
    let (child, pid) = (spec.child, process.id());
    let started = Outlet::start(child, socket.try_clone()?, spec.bounds)
        .map(|outlet| inbound.send(Inbound::Started { child, pid, outlet }));
    if let Ok(Ok(())) = started {
        read_all(spec.child, socket, inbound);
    }
    let status = end(&mut process)?;
    started?.ok();
    Ok((children.node_is() == NodeIs::Running).then_some(status))
}

/// Starts the process. The `Command` must be dropped here: it holds the child's end of the queue open, so the queue
/// would not end with the child.
fn spawn(spec: &Spec, theirs: OwnedFd) -> io::Result<std::process::Child> {
    Command::new(&spec.program).args(&spec.arguments).stdin(Stdio::from(theirs)).stdout(Stdio::null()).spawn()
}

/// Passes the messages of a child to the round loop, until the queue ends or fails or the loop ends.
fn read_all(child: Child, mut socket: UnixStream, inbound: &InboundSender) {
    let mut reader: IpcReader<ToCore> = IpcReader::new();
    loop {
        match read_batch(&mut reader, &mut socket) {
            Ok(Some(messages)) if messages.is_empty() => {}
            Ok(Some(messages)) => {
                if inbound.messages(child, messages).is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                log::warn!("cannot read {} any more: {error}", child.name());
                return;
            }
        }
    }
}

/// Reads once and returns the complete messages; `None` at the end of the queue.
fn read_batch<R: Read>(
    reader: &mut IpcReader<ToCore>,
    source: &mut R,
) -> Result<Option<Vec<(ToCore, wire::bytes::Bytes)>>, IpcError> {
    if reader.read_from(source)? == IpcRead::Ended {
        return Ok(None);
    }
    let mut messages = Vec::new();
    while let Some(message) = reader.pop()? {
        messages.push(message);
    }
    Ok(Some(messages))
}

/// Waits for a child whose queue has ended; kills it if it takes too long.
fn end(process: &mut std::process::Child) -> io::Result<ExitStatus> {
    let deadline = Instant::now() + END_TIME;
    while Instant::now() < deadline {
        if let Some(status) = process.try_wait()? {
            return Ok(status);
        }
        thread::sleep(END_POLL);
    }
    process.kill()?;
    process.wait()
}

/// The last line of a child's log, as the tail of a sentence; empty if there is none.
fn last_words(log: &Path) -> String {
    const TAIL_BYTES: u64 = 4096;
    let tail = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let tail = tail().unwrap_or_default();
    tail.lines().last().map(|line| format!("; the last line of its log: {line}")).unwrap_or_default()
}
