//! The single inbound queue of the round loop.
//!
//! It is bounded in items by its channel and in bytes by a budget. At either bound a supervisor waits, so its child's
//! socket fills, `net_server` stops reading, and TCP stops the senders. No other backpressure is needed. Messages
//! travel in batches, one a read of the socket, so a burst costs one wake-up of the loop.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};

use wire::bytes::Bytes;
use wire::envelope::{Class, ToCore};
use wire::ids::{Digest, NodeId};
use wire::link_rule::LinkRule;

use crate::child::Child;
use crate::metrics::SnapshotRequest;
use crate::outlet::Outlet;

/// An item of the queue.
pub(crate) enum Inbound {
    /// The messages of one read of a child's socket, in order.
    Messages {
        child: Child,
        /// Headers and bodies.
        messages: Vec<(ToCore, Bytes)>,
        /// When they were read off the socket.
        since: Instant,
        /// The share of the budget; released when this is dropped.
        permit: Permit,
    },
    /// A message of the journal is to be sent.
    FromJournal { to: NodeId, class: Class, digest: Digest, body: Bytes, permit: Permit },
    /// A child runs. All messages of its earlier process precede this in the queue.
    Started { child: Child, pid: u32, outlet: Outlet },
    /// From now on this rule holds for the link to this peer.
    Rule { peer: NodeId, rule: LinkRule },
    /// A scrape requests a snapshot.
    Snapshot(SnapshotRequest),
    /// A child cannot be kept running, so the node ends; the reason.
    Failed(String),
    /// A request to end the node.
    Stop,
}

/// Batches that may wait.
const BATCHES_MAX: usize = 256;
/// Bytes of messages that may wait: two of the longest bodies, or some tenths of a second of work.
const BYTES_MAX: u64 = 32 << 20;
/// The cost of a message beside its body: header and allocation.
const MESSAGE_BYTES: u64 = 128;

/// Both ends of a queue.
pub(crate) fn queue() -> (InboundSender, Receiver<Inbound>) {
    let (sender, receiver) = crossbeam_channel::bounded(BATCHES_MAX);
    (InboundSender { sender, budget: Arc::new(Budget::new(BYTES_MAX)) }, receiver)
}

/// The sending end.
#[derive(Clone)]
pub(crate) struct InboundSender {
    sender: Sender<Inbound>,
    budget: Arc<Budget>,
}

/// The round loop has ended.
#[derive(Debug)]
pub(crate) struct LoopEnded;

/// Why a request could not be queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NotQueued {
    /// The round loop has ended.
    LoopEnded,
    /// The queue was full until the deadline.
    QueueFull,
}

impl fmt::Display for NotQueued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotQueued::LoopEnded => "the round loop has ended",
            NotQueued::QueueFull => "the queue of the round loop is full",
        })
    }
}

impl InboundSender {
    /// Queues messages of a child; waits for room.
    pub(crate) fn messages(&self, child: Child, messages: Vec<(ToCore, Bytes)>) -> Result<(), LoopEnded> {
        self.messages_since(Instant::now(), child, messages)
    }

    /// The same for messages that were read at a given time.
    pub(crate) fn messages_since(
        &self,
        since: Instant,
        child: Child,
        messages: Vec<(ToCore, Bytes)>,
    ) -> Result<(), LoopEnded> {
        let bytes = messages.iter().map(|(_, body)| MESSAGE_BYTES + body.len() as u64).sum();
        let permit = Budget::take(&self.budget, bytes);
        self.send(Inbound::Messages { child, messages, since, permit })
    }

    /// Queues a message that was read from the journal, to be sent to a peer; waits for room.
    pub(crate) fn send_from_journal(
        &self,
        to: NodeId,
        class: Class,
        digest: Digest,
        body: Bytes,
    ) -> Result<(), LoopEnded> {
        let permit = Budget::take(&self.budget, MESSAGE_BYTES + body.len() as u64);
        self.send(Inbound::FromJournal { to, class, digest, body, permit })
    }

    /// Requests a snapshot; waits for room until the deadline.
    pub(crate) fn request_snapshot(
        &self,
        request: SnapshotRequest,
        deadline: Instant,
    ) -> Result<(), NotQueued> {
        self.sender
            .send_deadline(Inbound::Snapshot(request), deadline)
            .map_err(|error| if error.is_timeout() { NotQueued::QueueFull } else { NotQueued::LoopEnded })
    }

    /// Bytes of messages that wait or are being handled.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        *self.budget.used.lock().expect(NO_PANIC)
    }

    /// Queues any other item; waits for room.
    pub(crate) fn send(&self, inbound: Inbound) -> Result<(), LoopEnded> {
        self.sender.send(inbound).map_err(|_| LoopEnded)
    }
}

/// A number of bytes, shared by all permits.
struct Budget {
    used: Mutex<u64>,
    freed: Condvar,
    max: u64,
}

/// A part of a budget.
pub(crate) struct Permit {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    fn new(max: u64) -> Budget {
        Budget { used: Mutex::new(0), freed: Condvar::new(), max }
    }

    /// Waits for so many bytes. A batch beyond the whole budget gets its permit when there is no other.
    fn take(budget: &Arc<Budget>, bytes: u64) -> Permit {
        let mut used = budget.used.lock().expect(NO_PANIC);
        while *used > 0 && *used + bytes > budget.max {
            used = budget.freed.wait(used).expect(NO_PANIC);
        }
        *used += bytes;
        Permit { budget: budget.clone(), bytes }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.budget.used.lock().expect(NO_PANIC) -= self.bytes;
        self.budget.freed.notify_all();
    }
}

/// Why no lock here is poisoned.
pub(crate) const NO_PANIC: &str = "nothing that could panic runs while this lock is held";

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_full_budget_blocks_until_released() {
        let budget = Arc::new(Budget::new(100));
        let first = Budget::take(&budget, 60);
        let second = Budget::take(&budget, 40);
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let waiting = thread::spawn({
            let budget = budget.clone();
            move || {
                let third = Budget::take(&budget, 50);
                sender.send(()).unwrap();
                third
            }
        });
        drop(second);
        // 60 of 100 are used and 50 requested, so the thread waits, however long this takes.
        assert!(receiver.try_recv().is_err());
        drop(first);
        receiver.recv().unwrap();
        let third = waiting.join().unwrap();
        assert_eq!(*budget.used.lock().unwrap(), 50);
        drop(third);
        drop(Budget::take(&budget, 1_000));
        assert_eq!(*budget.used.lock().unwrap(), 0);
    }
}
