//! The state of one peer that three threads share: outbox, link, counters.
//!
//! The bridge pushes messages and never waits. The peer's send thread takes them and waits only for work and for its
//! own socket. The acks loop confirms them, requests pings, and alone declares a link lost, so a new link cannot begin
//! before the old one has ended.
//!
//! # Correctness
//! The send thread parks when it finds no work, and every thread that adds work unparks it. An unpark before the park
//! is not lost, so no wake-up is lost.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use wire::envelope::{LinkCounters, Progress};
use wire::frame::{HEADER_BYTES, TAG_BYTES};
use wire::ids::NodeId;
use wire::limits::DIAL_BACKOFF_MIN;

use crate::outbox::{Item, Listener, NeverSent, Outbox, Outgoing};

/// One peer.
pub(crate) struct Peer {
    id: NodeId,
    sender: OnceLock<Thread>,
    state: Mutex<State>,
    /// Signalled when `dials_now` is set.
    dial: Condvar,
}

struct State {
    outbox: Outbox,
    link: Link,
    link_use: Use,
    /// Whether the next dial need not wait for the end of its pause.
    dials_now: bool,
    /// The sequence of the ping to write next.
    ping: Option<u64>,
    counters: LinkCounters,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Link {
    Up,
    Lost,
}

/// Whether the peer responded in a session. If it did, the next dial need not wait long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    Idle,
    /// The peer confirmed a frame or answered a ping.
    Carried,
}

/// The next work of the send thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// Write the frames that were handed out, and a ping with this sequence if one is due.
    Write { ping: Option<u64> },
    /// Park.
    Nothing,
    /// Dial again.
    Lost,
}

/// About how many bytes one write takes: enough to fill a socket's buffer, few enough that pings do not wait long and
/// messages of classes that finish meanwhile are not sent.
const WRITE_BYTES: u64 = 1 << 20;

impl Peer {
    /// A peer without a link, whose outbox holds at most `outbox_bytes_max`.
    pub(crate) fn new(id: NodeId, outbox_bytes_max: u64) -> Peer {
        let state = State {
            outbox: Outbox::new(outbox_bytes_max),
            link: Link::Lost,
            link_use: Use::Idle,
            dials_now: false,
            ping: None,
            counters: LinkCounters::default(),
        };
        Peer { id, sender: OnceLock::new(), state: Mutex::new(state), dial: Condvar::new() }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    /// Makes the calling thread the one that [`Peer::wake`] wakes.
    pub(crate) fn set_send_thread(&self) {
        self.sender.set(std::thread::current()).expect("a peer has one send thread, which calls this once");
    }

    /// Queues a message. The caller wakes the send thread after its last message.
    pub(crate) fn push(&self, item: Item) {
        self.lock().outbox.push(item);
    }

    /// Drops messages of finished classes.
    pub(crate) fn finish(&self, progress: &Progress) {
        self.lock().outbox.finish(progress);
    }

    /// Makes the send thread look for work.
    pub(crate) fn wake(&self) {
        if let Some(thread) = self.sender.get() {
            thread.unpark();
        }
    }

    /// The peer can probably be reached: ends the pause before the next dial, if it has no link.
    pub(crate) fn dial_now(&self) {
        let mut state = self.lock();
        if state.link == Link::Lost {
            state.dials_now = true;
            self.dial.notify_one();
        }
    }

    /// Waits for this long before the next dial, or until [`Peer::dial_now`]; but for [`DIAL_BACKOFF_MIN`] at least, so
    /// that a peer cannot make us dial without a pause. Returns whether the pause was cut short.
    pub(crate) fn wait_to_dial(&self, pause: Duration) -> bool {
        let least = pause.min(DIAL_BACKOFF_MIN);
        thread::sleep(least);
        let waiting = self.dial.wait_timeout_while(self.lock(), pause - least, |state| !state.dials_now);
        let (mut state, _) =
            waiting.expect("no thread panics while it holds this lock: a panic ends the process");
        std::mem::take(&mut state.dials_now)
    }

    /// A session begins; see [`Outbox::resume`].
    pub(crate) fn link_up(&self, listener: Listener, next_expected: u64) -> Result<(), NeverSent> {
        let mut state = self.lock();
        state.outbox.resume(listener, next_expected)?;
        state.link = Link::Up;
        state.link_use = Use::Idle;
        state.dials_now = false;
        state.ping = None;
        Ok(())
    }

    pub(crate) fn link_lost(&self) {
        self.lock().link = Link::Lost;
        self.wake();
    }

    /// Whether a session is open.
    pub(crate) fn is_linked(&self) -> bool {
        self.lock().link == Link::Up
    }

    /// Whether the peer responded in the present or last session.
    pub(crate) fn link_use(&self) -> Use {
        self.lock().link_use
    }

    /// Requests a ping, unless an earlier request is still open.
    pub(crate) fn request_ping(&self, sequence: u64) {
        self.lock().ping.get_or_insert(sequence);
        self.wake();
    }

    /// Hands out the next frames to write.
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
    pub(crate) fn on_pong(&self) {
        self.lock().link_use = Use::Carried;
    }

    /// The link's counters. Their bytes exclude pings, so the counters of an idle link do not change.
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn a_peer_that_has_dialled_us_is_dialled_before_the_pause_is_over() {
        let peer = Arc::new(Peer::new(NodeId(1), 1 << 20));
        assert!(!peer.wait_to_dial(2 * DIAL_BACKOFF_MIN), "nobody has ended this pause");
        let other = peer.clone();
        let ends = thread::spawn(move || other.dial_now());
        assert!(peer.wait_to_dial(LONG), "whether it came before the pause or in it");
        ends.join().unwrap();

        peer.dial_now();
        let began = Instant::now();
        assert!(peer.wait_to_dial(LONG));
        assert!(began.elapsed() >= DIAL_BACKOFF_MIN, "never without a pause");
        assert!(!peer.wait_to_dial(2 * DIAL_BACKOFF_MIN), "it ends one pause");
    }

    #[test]
    fn a_link_needs_no_dial() {
        let peer = Peer::new(NodeId(1), 1 << 20);
        peer.dial_now();
        peer.link_up(Listener::New, 0).unwrap();
        peer.dial_now();
        peer.link_lost();
        assert!(!peer.wait_to_dial(2 * DIAL_BACKOFF_MIN));
    }
}
