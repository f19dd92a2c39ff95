//! Sends messages to one process of a child on a writer thread, so that the round loop never waits for a socket.
//!
//! Both children always read their queue, so messages wait here only for a moment. At the bound a child has stopped
//! reading; its socket is closed, so that its supervisor restarts it, and the core sends lost messages again.
//!
//! The bytes that the core sends at once must stay below that bound, or a child would be restarted again and again. So
//! re-sending is paced (`bft::round::resend_pace`: at most 16 MiB of the lane and as much of parts at once), and each
//! member gets at most two of the longest entries at once (`bft::serving`).

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender};

use wire::bytes::Bytes;
use wire::envelope::FromCore;
use wire::ipc::IpcWriter;
use wire::limits::{FETCHES_IN_FLIGHT_MAX, PROPOSAL_BYTES_MAX};

use crate::child::Child;
use crate::journal::Written;

/// Bytes that may wait in a shard of `members`: those that the core sends by itself, and those that each member may
/// fetch at once. Bodies are shared, so they occupy hardly any memory.
pub(crate) fn waiting_bytes_max(members: usize) -> u64 {
    OWN_BYTES_MAX + members as u64 * FETCHES_IN_FLIGHT_MAX as u64 * PROPOSAL_BYTES_MAX
}

/// The sending side.
pub(crate) struct Outlet {
    child: Child,
    batches: Sender<Batch>,
    waiting_bytes: Arc<AtomicU64>,
    waiting_bytes_max: u64,
    stream: UnixStream,
}

/// Messages, and what must be written before they may leave.
struct Batch {
    messages: Vec<(FromCore, Bytes)>,
    after: Option<Written>,
}

/// Far more than the core sends by itself at once: a full window, re-sent messages, parts.
const OWN_BYTES_MAX: u64 = 256 << 20;
/// Batches written at once; the others wait for the next write.
const BATCHES_A_WRITE_MAX: usize = 64;
/// The cost of a message beside its body.
const MESSAGE_BYTES: u64 = 128;

impl Outlet {
    /// Starts the writer thread, which ends when this is dropped or the socket fails.
    pub(crate) fn start(child: Child, stream: UnixStream, waiting_bytes_max: u64) -> io::Result<Outlet> {
        // The bound is in bytes, and at the bound the child is restarted, so the channel itself is unbounded.
        let (sender, batches) = crossbeam_channel::unbounded();
        let waiting_bytes = Arc::new(AtomicU64::new(0));
        let (written, sink) = (waiting_bytes.clone(), stream.try_clone()?);
        thread::Builder::new()
            .name(format!("to-{}", child.name()))
            .spawn(move || write(child, &batches, &written, sink))?;
        Ok(Outlet { child, batches: sender, waiting_bytes, waiting_bytes_max, stream })
    }

    /// Queues messages, in order, to leave once what caused them is written, if anything is. Messages to a
    /// process that has ended are dropped.
    pub(crate) fn send(&self, messages: Vec<(FromCore, Bytes)>, after: Option<Written>) {
        let bytes = bytes_of(&messages);
        let waiting_bytes = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if waiting_bytes > self.waiting_bytes_max {
            log::error!(
                "{} does not read: {waiting_bytes} bytes wait for it; closing its queue",
                self.child.name()
            );
            // Fails only if the child has ended.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        // Fails only if the writer has ended, and with it the child.
        let _ = self.batches.send(Batch { messages, after });
    }

    /// Bytes that wait to be written.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes.load(Ordering::Relaxed)
    }
}

/// Writes queued batches, many at once.
fn write(child: Child, batches: &Receiver<Batch>, waiting_bytes: &AtomicU64, mut sink: UnixStream) {
    let mut writer = IpcWriter::new();
    while let Ok(first) = batches.recv() {
        let mut bytes = 0;
        let mut after = None;
        for batch in std::iter::once(first).chain(batches.try_iter().take(BATCHES_A_WRITE_MAX)) {
            bytes += bytes_of(&batch.messages);
            for (message, body) in batch.messages {
                writer.push(&message, &body);
            }
            after = batch.after;
        }
        if after.is_some_and(|written| written.wait().is_err()) {
            log::info!("nothing more goes to {}, since the journal cannot be written", child.name());
            return;
        }
        if let Err(error) = writer.write_all(&mut sink) {
            log::info!("cannot write to {}: {error}", child.name());
            return;
        }
        waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn bytes_of(batch: &[(FromCore, Bytes)]) -> u64 {
    batch.iter().map(|(_, body)| MESSAGE_BYTES + body.len() as u64).sum()
}
