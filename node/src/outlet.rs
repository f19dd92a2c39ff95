//! Sends messages to one process of a child on a writer thread, so that the round loop never waits for a socket.
//!
//! Both children always read their queue, so messages wait here only for a moment. A child that reads nothing for
//! [`HUNG_AFTER`] while more than its bound waits has hung; its socket is closed, so that its supervisor restarts it,
//! and the core sends lost messages again.
//!
//! *One peer's traffic.* Of the messages for one peer alone no more wait than its outbox in `net_client` would keep.
//! More of them are dropped and counted, as there. So a peer for which the core has much to send, because its
//! handshakes or requests make it, delays the others, and never costs them the child.
//!
//! The bytes that the core sends at once must stay below the bound, or a slow child would be restarted again and again.
//! So re-sending is paced (`bft::round::resend_pace`: at most 16 MiB of the lane and as much of parts at once), and
//! each member gets at most two of the longest entries at once (`bft::serving`).

use std::collections::BTreeMap;
use std::io::{self, IoSlice, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use wire::bytes::Bytes;
use wire::dest::Dest;
use wire::envelope::FromCore;
use wire::ids::NodeId;
use wire::ipc::IpcWriter;
use wire::limits::local::{Local, LocalLimits};
use wire::limits::{FETCHES_IN_FLIGHT_MAX, PROPOSAL_BYTES_MAX};

use crate::child::Child;
use crate::inbound::NO_PANIC;
use crate::journal::Written;

/// What may wait for a child.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Of all messages. A child that reads may have twice as much to read.
    pub(crate) bytes: u64,
    /// Of the messages for one peer alone.
    pub(crate) of_one_peer_bytes: u64,
}

impl Bounds {
    /// Those in a shard of `members`: what the core sends by itself, and what each member may fetch at once. Bodies are
    /// shared, so they occupy hardly any memory.
    pub(crate) fn of(members: usize, limits: &LocalLimits) -> Bounds {
        let bytes = OWN_BYTES_MAX + members as u64 * FETCHES_IN_FLIGHT_MAX as u64 * PROPOSAL_BYTES_MAX;
        // However long its outbox may be, one peer's messages alone never reach the bound of all.
        Bounds { bytes, of_one_peer_bytes: limits.get(Local::OutboxBytes).min(bytes / 2) }
    }
}

/// The sending side.
pub(crate) struct Outlet {
    child: Child,
    batches: Sender<Batch>,
    bounds: Bounds,
    waiting: Arc<Waiting>,
    stream: UnixStream,
}

/// Messages, and what must be written before they may leave.
struct Batch {
    messages: Vec<(FromCore, Bytes)>,
    after: Option<Written>,
}

/// What waits, and how the writer gets on.
struct Waiting {
    bytes: AtomicU64,
    /// Of the messages for one peer alone; at most one entry a node.
    of_one_peer_bytes: Mutex<BTreeMap<NodeId, u64>>,
    origin: Instant,
    /// Since when the socket has taken no byte although there are some, in milliseconds since `origin`; 0 if there are
    /// none or they must not leave yet.
    stuck_since_ms: AtomicU64,
}

/// Messages that were dropped, by their only recipient.
pub(crate) type Dropped = BTreeMap<NodeId, u64>;

/// Far more than the core sends by itself at once: a full window, re-sent messages, parts.
const OWN_BYTES_MAX: u64 = 256 << 20;
/// A child that reads nothing for so long has hung: one that runs reads at hundreds of megabytes a second.
const HUNG_AFTER: Duration = Duration::from_secs(3);
/// Batches written at once; the others wait for the next write.
const BATCHES_A_WRITE_MAX: usize = 64;
/// Bytes of one write at most: a child that reads takes so many in a moment.
const WRITE_BYTES: usize = 256 << 10;
/// The cost of a message beside its body.
const MESSAGE_BYTES: u64 = 128;

impl Outlet {
    /// Starts the writer thread, which ends when this is dropped or the socket fails.
    pub(crate) fn start(child: Child, stream: UnixStream, bounds: Bounds) -> io::Result<Outlet> {
        // The bound is in bytes, and beyond it the child is restarted, so the channel itself is unbounded.
        let (sender, batches) = crossbeam_channel::unbounded();
        let waiting = Arc::new(Waiting {
            bytes: AtomicU64::new(0),
            of_one_peer_bytes: Mutex::new(BTreeMap::new()),
            origin: Instant::now(),
            stuck_since_ms: AtomicU64::new(0),
        });
        let (written, sink) = (waiting.clone(), stream.try_clone()?);
        thread::Builder::new()
            .name(format!("to-{}", child.name()))
            .spawn(move || write(child, &batches, &written, sink))?;
        Ok(Outlet { child, batches: sender, bounds, waiting, stream })
    }

    /// Queues messages, in order, to leave once what caused them is written, if anything is. Messages to a
    /// process that has ended are dropped. Returns those that were dropped since too much waits for their peer.
    pub(crate) fn send(&self, mut messages: Vec<(FromCore, Bytes)>, after: Option<Written>) -> Dropped {
        let dropped = self.waiting.take_in(&mut messages, self.bounds.of_one_peer_bytes);
        let bytes = bytes_of(&messages);
        let waiting_bytes = self.waiting.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let is_over = waiting_bytes > self.bounds.bytes && self.waiting.is_stuck();
        if is_over || waiting_bytes / 2 > self.bounds.bytes {
            log::error!(
                "{} does not read: {waiting_bytes} bytes wait for it; closing its queue",
                self.child.name()
            );
            // Fails only if the child has ended.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        // Fails only if the writer has ended, and with it the child.
        let _ = self.batches.send(Batch { messages, after });
        dropped
    }

    /// Bytes that wait to be written.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.waiting.bytes.load(Ordering::Relaxed)
    }
}

impl Waiting {
    /// Counts the messages for one peer alone, and removes those beyond the bound.
    fn take_in(&self, messages: &mut Vec<(FromCore, Bytes)>, bytes_max: u64) -> Dropped {
        let mut dropped = Dropped::new();
        let mut waiting = self.of_one_peer_bytes.lock().expect(NO_PANIC);
        messages.retain(|(message, body)| {
            let Some(peer) = only_recipient(message) else { return true };
            let bytes = waiting.entry(peer).or_default();
            let has_room = *bytes + cost(body) <= bytes_max;
            if has_room {
                *bytes += cost(body);
            } else {
                *dropped.entry(peer).or_default() += 1;
            }
            has_room
        });
        dropped
    }

    fn wrote(&self, bytes: u64, of_one_peer: &[(NodeId, u64)]) {
        let mut waiting = self.of_one_peer_bytes.lock().expect(NO_PANIC);
        for (peer, bytes) in of_one_peer {
            *waiting.get_mut(peer).expect("its messages were counted when they came in") -= bytes;
        }
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Notes that the socket takes bytes, or is about to.
    fn progresses(&self) {
        let now_ms = u64::try_from(self.origin.elapsed().as_millis()).expect("2^64 ms are many years");
        self.stuck_since_ms.store(now_ms.max(1), Ordering::Relaxed);
    }

    fn rests(&self) {
        self.stuck_since_ms.store(0, Ordering::Relaxed);
    }

    fn is_stuck(&self) -> bool {
        let since_ms = self.stuck_since_ms.load(Ordering::Relaxed);
        since_ms > 0 && self.origin.elapsed() >= Duration::from_millis(since_ms) + HUNG_AFTER
    }
}

/// Writes queued batches, many at once.
fn write(child: Child, batches: &Receiver<Batch>, waiting: &Waiting, sink: UnixStream) {
    let mut writer = IpcWriter::new();
    let mut sink = Watched { sink, waiting };
    while let Ok(first) = batches.recv() {
        let mut bytes = 0;
        let mut of_one_peer = Vec::new();
        let mut after = None;
        for batch in std::iter::once(first).chain(batches.try_iter().take(BATCHES_A_WRITE_MAX)) {
            bytes += bytes_of(&batch.messages);
            for (message, body) in batch.messages {
                of_one_peer.extend(only_recipient(&message).map(|peer| (peer, cost(&body))));
                writer.push(&message, &body);
            }
            after = batch.after;
        }
        if after.is_some_and(|written| written.wait().is_err()) {
            log::info!("nothing more goes to {}, since the journal cannot be written", child.name());
            return;
        }
        waiting.progresses();
        if let Err(error) = writer.write_all(&mut sink) {
            log::info!("cannot write to {}: {error}", child.name());
            return;
        }
        waiting.rests();
        waiting.wrote(bytes, &of_one_peer);
    }
}

/// A socket that notes each write that comes to its end. A blocking write ends when all is written, so each is short.
struct Watched<'a> {
    sink: UnixStream,
    waiting: &'a Waiting,
}

impl Watched<'_> {
    fn noted(&self, result: io::Result<usize>) -> io::Result<usize> {
        if result.is_ok() {
            self.waiting.progresses();
        }
        result
    }
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.sink.write(&bytes[..bytes.len().min(WRITE_BYTES)]);
        self.noted(result)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut bytes = 0;
        let count = slices.iter().take_while(|slice| {
            bytes += slice.len();
            bytes <= WRITE_BYTES
        });
        match (count.count(), slices) {
            (0, [first, ..]) => self.write(first),
            (count, _) => {
                let result = self.sink.write_vectored(&slices[..count]);
                self.noted(result)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// The peer for which alone a message is.
fn only_recipient(message: &FromCore) -> Option<NodeId> {
    match message {
        FromCore::Send { dest: Dest::Node(peer), .. } => Some(*peer),
        _ => None,
    }
}

fn cost(body: &Bytes) -> u64 {
    MESSAGE_BYTES + body.len() as u64
}

fn bytes_of(batch: &[(FromCore, Bytes)]) -> u64 {
    batch.iter().map(|(_, body)| cost(body)).sum()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use wire::envelope::Class;
    use wire::ipc::IpcReader;

    use super::*;

    const MIB: usize = 1 << 20;
    const BOUNDS: Bounds = Bounds { bytes: 32 << 20, of_one_peer_bytes: 8 << 20 };

    fn message(dest: Dest, body: &Bytes) -> Vec<(FromCore, Bytes)> {
        vec![(FromCore::Send { dest, class: Class::Keep, digest: None }, body.clone())]
    }

    /// Reads some hundred kilobytes each millisecond.
    struct Slow(UnixStream);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            thread::sleep(Duration::from_millis(1));
            self.0.read(buffer)
        }
    }

    #[test]
    fn an_outlet_full_of_traffic_for_one_peer_keeps_its_child_and_the_others_messages() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let outlet = Outlet::start(Child::NetClient, ours, BOUNDS).unwrap();
        let body = Bytes::from(vec![7; MIB]);
        let mut dropped = 0;
        for _ in 0..100 {
            dropped += outlet.send(message(Dest::Node(NodeId(1)), &body), None).get(&NodeId(1)).unwrap_or(&0);
        }
        assert!((90..100).contains(&dropped), "{dropped} of 100 MiB are dropped, as they are in an outbox");
        assert_eq!(outlet.send(message(Dest::Node(NodeId(2)), &body), None), Dropped::new());
        assert_eq!(outlet.send(message(Dest::ShardOthers, &body), None), Dropped::new());
        let mut reader: IpcReader<FromCore> = IpcReader::new();
        let mut source = Slow(theirs);
        let mut next = || match reader.receive(&mut source).unwrap().expect("the queue is open").0 {
            FromCore::Send { dest, .. } => dest,
            other => panic!("{other:?}"),
        };
        let dests: Vec<Dest> = (0..102 - dropped).map(|_| next()).collect();
        assert_eq!(dests[dests.len() - 2..], [Dest::Node(NodeId(2)), Dest::ShardOthers]);
        while outlet.waiting_bytes() > 0 {
            thread::yield_now();
        }
        assert_eq!(outlet.send(message(Dest::Node(NodeId(1)), &body), None), Dropped::new(), "there is room");
    }

    #[test]
    fn a_child_that_reads_nothing_is_closed_and_one_that_reads_slowly_is_not() {
        let body = Bytes::from(vec![7; MIB]);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let outlet = Outlet::start(Child::NetClient, ours, BOUNDS).unwrap();
        (0..40).for_each(|_| drop(outlet.send(message(Dest::ShardOthers, &body), None)));
        thread::sleep(HUNG_AFTER / 2);
        outlet.send(message(Dest::ShardOthers, &body), None);
        theirs.read_exact(&mut vec![0; MIB]).unwrap();
        thread::sleep(HUNG_AFTER / 2);
        outlet.send(message(Dest::ShardOthers, &body), None);
        theirs.read_exact(&mut vec![0; MIB]).unwrap();
        thread::sleep(HUNG_AFTER + Duration::from_millis(100));
        outlet.send(message(Dest::ShardOthers, &body), None);
        let mut rest = Vec::new();
        theirs.read_to_end(&mut rest).unwrap();
        assert!(rest.len() < MIB, "only what the socket held: {} bytes", rest.len());
    }
}
