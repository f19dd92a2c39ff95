//! One peer as the threads of this process share it: its outbox, its link, its counters.
//!
//! Three threads meet here. The bridge pushes messages and never waits. The send thread of the peer takes them, and
//! waits only for work and for its own socket. The acks loop confirms them, asks for pings, and is the only one that
//! declares a link lost, so a new one can't begin before the old one has ended.
//!
//! # Correctness
//! The send thread parks when it finds nothing; whoever brings something unparks it. An unpark that comes before the
//! park is not lost, so no wake-up is.

use std::sync::{Mutex, MutexGuard, OnceLock};
use std::thread::Thread;

use wire::envelope::{LinkCounters, Progress};
use wire::frame::{HEADER_BYTES, TAG_BYTES};
use wire::ids::NodeId;

use crate::outbox::{Item, Listener, NeverSent, Outbox, Outgoing};

/// One peer.
pub(crate) struct Peer {
    id: NodeId,
    sender: OnceLock<Thread>,
    state: Mutex<State>,
}

struct State {
    outbox: Outbox,
    link: Link,
    link_use: Use,
    /// The sequence of the ping that is to be written next.
    ping: Option<u64>,
    counters: LinkCounters,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Link {
    Up,
    Lost,
}

/// Whether a session did any good: one that did is worth dialling for again at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    /// Nothing was answered in it.
    Idle,
    /// The peer confirmed a frame or answered a ping.
    Carried,
}

/// What the send thread finds to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// Write what was handed out, and the ping of this sequence if one is due.
    Write {
        /// The sequence of the ping.
        ping: Option<u64>,
    },
    /// Nothing at present: park.
    Nothing,
    /// The link is lost: dial again.
    Lost,
}

/// About how many bytes of bodies one write takes on: enough to fill a socket's buffer, little enough that pings and
/// new finished classes are seen between two.
const WRITE_BYTES: u64 = 1 << 20;

impl Peer {
    /// A peer without a link, for which so many bytes may wait.
    pub(crate) fn new(id: NodeId, outbox_bytes_max: u64) -> Peer {
        let state = State {
            outbox: Outbox::new(outbox_bytes_max),
            link: Link::Lost,
            link_use: Use::Idle,
            ping: None,
            counters: LinkCounters::default(),
        };
        Peer { id, sender: OnceLock::new(), state: Mutex::new(state) }
    }

    /// Which peer it is.
    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    /// Names the thread that [`Peer::wake`] wakes: the one that calls this.
    pub(crate) fn this_thread_sends(&self) {
        self.sender.set(std::thread::current()).expect("a peer has one send thread, which says so once");
    }

    /// Queues a message; the caller wakes the send thread when it has queued all it has.
    pub(crate) fn push(&self, item: Item) {
        self.lock().outbox.push(item);
    }

    /// Tells the outbox what is finished.
    pub(crate) fn finish(&self, progress: &Progress) {
        self.lock().outbox.finish(progress);
    }

    /// Lets the send thread look for work.
    pub(crate) fn wake(&self) {
        if let Some(thread) = self.sender.get() {
            thread.unpark();
        }
    }

    /// A session begins; see [`Outbox::resume`].
    pub(crate) fn link_up(&self, listener: Listener, next_expected: u64) -> Result<(), NeverSent> {
        let mut state = self.lock();
        state.outbox.resume(listener, next_expected)?;
        state.link = Link::Up;
        state.link_use = Use::Idle;
        state.ping = None;
        Ok(())
    }

    /// The session has ended.
    pub(crate) fn link_lost(&self) {
        self.lock().link = Link::Lost;
        self.wake();
    }

    /// Whether the session still stands.
    pub(crate) fn is_linked(&self) -> bool {
        self.lock().link == Link::Up
    }

    /// Whether the present or last session did any good.
    pub(crate) fn link_use(&self) -> Use {
        self.lock().link_use
    }

    /// Asks the send thread for a ping, unless it still owes the last one.
    pub(crate) fn request_ping(&self, sequence: u64) {
        self.lock().ping.get_or_insert(sequence);
        self.wake();
    }

    /// Hands out what is to be written next.
    pub(crate) fn take(&self, out: &mut Vec<Outgoing>) -> Work {
        let mut state = self.lock();
        if state.link == Link::Lost {
            return Work::Lost;
        }
        state.outbox.take(WRITE_BYTES, out);
        let ping = state.ping.take();
        if out.is_empty() && ping.is_none() {
            return Work::Nothing;
        }
        for outgoing in out {
            let body_bytes = match outgoing {
                Outgoing::Data { item, .. } => {
                    state.counters.data_sent += 1;
                    item.body.len()
                }
                Outgoing::Skip { .. } => 0,
            };
            state.counters.bytes += (HEADER_BYTES + body_bytes + TAG_BYTES) as u64;
        }
        Work::Write { ping }
    }

    /// The peer has everything below `next_expected`.
    pub(crate) fn acknowledge(&self, next_expected: u64) -> Result<(), NeverSent> {
        let mut state = self.lock();
        state.counters.ack_received += 1;
        state.link_use = Use::Carried;
        state.outbox.acknowledge(next_expected)
    }

    /// The peer answered a ping.
    pub(crate) fn pong_came(&self) {
        self.lock().link_use = Use::Carried;
    }

    /// The link's counters. Pings are not among the bytes: an idle link's counters stand still.
    pub(crate) fn counters(&self) -> LinkCounters {
        let state = self.lock();
        LinkCounters {
            unconfirmed: state.outbox.unconfirmed(),
            queued_bytes: state.outbox.bytes(),
            dropped: state.outbox.dropped(),
            ..state.counters
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds this lock: a panic ends the process")
    }
}
