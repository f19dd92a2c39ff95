//! The single inbound queue of the round loop.
//!
//! Bounded in items by its channel and in bytes by a budget: a reader that finds either used up waits, so its child's
//! socket fills, so `net_server` stops reading, so TCP tells the senders. That is all the backpressure there is, and
//! all that is needed. Messages travel in batches, one a read of the socket: a burst is one wake-up of the loop.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};

use wire::bytes::Bytes;
use wire::envelope::ToCore;

use crate::child::Child;
use crate::metrics::Question;
use crate::outlet::Outlet;

/// What the round loop takes in.
pub(crate) enum Inbound {
    /// What one read of a child's socket brought, in order.
    Messages {
        /// Which child.
        child: Child,
        /// Headers and bodies.
        messages: Vec<(ToCore, Bytes)>,
        /// When they were read off the socket.
        since: Instant,
        /// What the bodies have taken of the budget; given back when this is dropped.
        permit: Permit,
    },
    /// A child runs. Whatever an earlier process of it said stands before this in the queue.
    Started {
        /// Which child.
        child: Child,
        /// Its process.
        pid: u32,
        /// The way to it.
        outlet: Outlet,
    },
    /// Somebody wants to know the metrics.
    Question(Question),
    /// A child can't be kept running, and the node ends; why.
    Failed(String),
    /// The node was asked to end.
    Stop,
}

/// Batches that may wait.
const BATCHES_MAX: usize = 256;
/// Bytes of messages that may wait: the longest body from each of two peers, or some tenths of a second's work.
const BYTES_MAX: u64 = 32 << 20;
/// What a message costs beside its body: its header and its allocation.
const MESSAGE_BYTES: u64 = 128;

/// The queue's two ends.
pub(crate) fn queue() -> (InboundSender, Receiver<Inbound>) {
    let (sender, receiver) = crossbeam_channel::bounded(BATCHES_MAX);
    (InboundSender { sender, budget: Arc::new(Budget::new(BYTES_MAX)) }, receiver)
}

/// The end that readers hold.
#[derive(Clone)]
pub(crate) struct InboundSender {
    sender: Sender<Inbound>,
    budget: Arc<Budget>,
}

/// The round loop has ended.
#[derive(Debug)]
pub(crate) struct LoopEnded;

/// Why a question could not be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NotAsked {
    /// The round loop has ended.
    LoopEnded,
    /// There was no room in the queue in time.
    QueueFull,
}

impl fmt::Display for NotAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotAsked::LoopEnded => "the round loop has ended",
            NotAsked::QueueFull => "the queue of the round loop is full",
        })
    }
}

impl InboundSender {
    /// Queues what a child said; waits for room.
    pub(crate) fn messages(&self, child: Child, messages: Vec<(ToCore, Bytes)>) -> Result<(), LoopEnded> {
        self.messages_since(Instant::now(), child, messages)
    }

    /// The same for messages that were read off the socket at a given time.
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

    /// Queues a question; waits for room until the deadline.
    pub(crate) fn ask(&self, question: Question, deadline: Instant) -> Result<(), NotAsked> {
        self.sender
            .send_deadline(Inbound::Question(question), deadline)
            .map_err(|error| if error.is_timeout() { NotAsked::QueueFull } else { NotAsked::LoopEnded })
    }

    /// Bytes of messages that wait or are being handled.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        *self.budget.used.lock().expect(NO_PANIC)
    }

    /// Queues anything else; waits for room.
    pub(crate) fn send(&self, inbound: Inbound) -> Result<(), LoopEnded> {
        self.sender.send(inbound).map_err(|_| LoopEnded)
    }
}

/// Bytes that may be held at once, by whoever holds permits.
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

    /// Takes so many bytes once there is room for them. A batch beyond the whole budget is let in when it is alone.
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

const NO_PANIC: &str = "nothing that could panic runs while this lock is held";

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn who_finds_the_budget_used_up_waits_until_some_is_given_back() {
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
        // 60 of 100 are used and 50 wanted, so nothing can have come through, however long one waits.
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
