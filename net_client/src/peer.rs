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
use wire::ids::NodeId;
use wire::limits::DIAL_BACKOFF_MIN;
use wire::link_rule::LinkRule;
use wire::logging::is_logged;

use crate::outbox::{Ack, Item, Listener, NeverSent, Outbox, Outgoing};

/// One peer.
pub(crate) struct Peer {
    id: NodeId,
    sender: OnceLock<Thread>,
    state: Mutex<State>,
    /// Signalled when `dials_now` is set, and when the rule changes.
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
    rule: LinkRule,
    /// Sessions so far.
    sessions: u64,
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
    /// Send through the delay line, since the link has a rule.
    Delay,
    /// Dial again.
    Lost,
}

/// Frames for the delay line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Taken {
    /// The sequence of a ping, if one is due.
    pub(crate) ping: Option<u64>,
    /// Whether further frames wait.
    pub(crate) has_more: bool,
}

/// About how many bytes one write takes, of small frames and of pieces of a long body alike: enough to fill a socket's
/// buffer, few enough that pings do not wait long and messages of classes that finish meanwhile are not sent.
pub(crate) const WRITE_BYTES: u64 = 1 << 20;

impl Peer {
    /// A peer without a link, whose outbox holds at most `outbox_bytes_max`.
    pub(crate) fn new(id: NodeId, outbox_bytes_max: u64) -> Peer {
        let state = State {
            outbox: Outbox::new(outbox_bytes_max),
            link: Link::Lost,
            link_use: Use::Idle,
            dials_now: false,
            ping: None,
            rule: LinkRule::None,
            sessions: 0,
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
        let (mut state, _) = waiting.expect(NO_PANIC);
        std::mem::take(&mut state.dials_now)
    }

    /// Waits while the link is cut.
    pub(crate) fn wait_while_cut(&self) {
        let is_cut = |state: &mut State| state.rule == LinkRule::Cut;
        drop(self.dial.wait_while(self.lock(), is_cut).expect(NO_PANIC));
    }

    /// Sets the rule of the link. One that is not cut any more is dialled at once if it is lost.
    pub(crate) fn set_rule(&self, rule: LinkRule) {
        let mut state = self.lock();
        let heals = state.rule == LinkRule::Cut && rule != LinkRule::Cut;
        state.rule = rule;
        state.dials_now |= heals && state.link == Link::Lost;
        self.dial.notify_one();
        drop(state);
        self.wake();
    }

    /// A session begins; see [`Outbox::resume`].
    pub(crate) fn link_up(&self, listener: Listener, next_expected: u64) -> Result<(), NeverSent> {
        let mut state = self.lock();
        state.outbox.resume(listener, next_expected)?;
        state.link = Link::Up;
        state.link_use = Use::Idle;
        state.dials_now = false;
        state.ping = None;
        state.sessions += 1;
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

    /// Whether to log the beginning and the end of the present or last session: a Byzantine peer can end sessions at
    /// will.
    pub(crate) fn is_logged(&self) -> bool {
        is_logged(self.lock().sessions)
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

    /// Hands out the next frames to write, if the link has no rule.
    pub(crate) fn take(&self, out: &mut Vec<Outgoing>) -> Work {
        let mut state = self.lock();
        if state.link == Link::Lost {
            return Work::Lost;
        }
        if state.rule != LinkRule::None {
            return Work::Delay;
        }
        let ping = state.take(WRITE_BYTES, out);
        if out.is_empty() && ping.is_none() {
            return Work::Nothing;
        }
        Work::Write { ping }
    }

    /// The rule of the link; `None` if it is lost.
    pub(crate) fn rule(&self) -> Option<LinkRule> {
        let state = self.lock();
        (state.link == Link::Up).then_some(state.rule)
    }

    /// Hands out the next frames for the delay line, up to about `bytes_max`; none if that is 0.
    pub(crate) fn take_some(&self, bytes_max: u64, out: &mut Vec<Outgoing>) -> Taken {
        let mut state = self.lock();
        let ping = state.take(bytes_max, out);
        Taken { ping, has_more: state.outbox.has_more() }
    }

    /// The peer has everything below `next_expected`.
    pub(crate) fn acknowledge(&self, next_expected: u64) -> Result<Ack, NeverSent> {
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
        self.state.lock().expect(NO_PANIC)
    }
}

const NO_PANIC: &str = "no thread panics while it holds this lock: a panic ends the process";

impl State {
    /// Takes frames out of the outbox and counts them; returns the ping that is due.
    fn take(&mut self, bytes_max: u64, out: &mut Vec<Outgoing>) -> Option<u64> {
        self.outbox.take(bytes_max, out);
        for outgoing in out {
            let is_data = matches!(outgoing, Outgoing::Data { .. } | Outgoing::Long { .. });
            self.counters.data_sent += u64::from(is_data);
            self.counters.bytes += outgoing.frame_bytes();
        }
        // A link without room has none for a ping either.
        if bytes_max > 0 { self.ping.take() } else { None }
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
