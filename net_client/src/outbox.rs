//! What one peer has still to be sent or to confirm: a pure data structure, no socket and no clock in it.
//!
//! Guarantees: a frame is kept until the peer confirms it, and is sent again after a reconnect from where the peer
//! says it stopped; memory is bounded in bytes whatever the peer does; nothing ever blocks the one who pushes.
//!
//! Two queues hold the frames. Those in `queue` were never written and have no number. [`Outbox::take`] moves them to
//! `sent`, where each has the number `first` + its place, until a cumulative ack covers it. A new session starts with
//! [`Outbox::resume`]; what is in `sent` is then written again before anything of `queue`.
//!
//! The outbox rule (docs/design.md §2): at most `bytes_max` queued and unconfirmed. The core reports which classes are
//! finished; their frames go first, at no loss. If that is not enough the oldest go, and are counted: the core's
//! re-sending makes up for them. A number whose frame is gone is never silently missing: the peer gets `Skip`, else it
//! would take the gap for an attack.
//!
//! Cost: O(1) a frame, amortised: finished frames are swept out only when enough was pushed since the last sweep, and
//! passed over by `take` before that.

use std::collections::{BTreeMap, VecDeque};

use wire::bytes::Bytes;
use wire::envelope::{Class, Progress};
use wire::ids::{Digest, NodeId, Round, Seq};

/// One message on its way to a peer; the body is shared with all its other recipients.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// For how long it matters.
    pub(crate) class: Class,
    /// SHA-256 of the body.
    pub(crate) digest: Digest,
    /// The message.
    pub(crate) body: Bytes,
}

/// What the send thread writes next.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A numbered message.
    Data {
        /// Its number on this link.
        sequence: u64,
        /// The message.
        item: Item,
    },
    /// Nothing will come under the numbers below `to` that has not come yet.
    Skip {
        /// The number that comes next.
        to: u64,
    },
}

/// The listener at the other end of a new session, as far as numbering is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Listener {
    /// A process we have not spoken to: it knows none of our numbers.
    New,
    /// The process of the session before: it knows what it got.
    Same,
}

/// The peer named a number that we have not given out: no correct listener does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NeverSent {
    /// The number it named.
    pub(crate) named: u64,
    /// The number that comes next.
    pub(crate) next: u64,
}

impl std::fmt::Display for NeverSent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "names frame {} although {} comes next", self.named, self.next)
    }
}

/// The frames for one peer. See the module.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// The number of the front of `sent`, or the next number if `sent` is empty.
    first: u64,
    /// Numbered and unconfirmed; `None` where the frame was dropped.
    sent: VecDeque<Option<Item>>,
    /// How many of `sent`, from the front, were handed out in the present session.
    written: usize,
    /// Whether the peer has to be told that `first` comes next.
    skip: Skip,
    queue: VecDeque<Item>,
    bytes: u64,
    bytes_max: u64,
    finished: Finished,
    pushed_since_sweep: usize,
    dropped: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Skip {
    Needless,
    Due,
}

/// What an entry costs beside its body: the entry itself and the allocation behind the body. It makes empty bodies
/// and dropped ones count, so that the bound in bytes bounds the number of entries too.
const ENTRY_BYTES: u64 = 160;

/// A number past which no listener can have got; leaves room to count on without overflow.
const SEQUENCE_MAX: u64 = u64::MAX / 2;

impl Outbox {
    /// An empty outbox that holds at most `bytes_max`.
    pub(crate) fn new(bytes_max: u64) -> Outbox {
        Outbox {
            first: 0,
            sent: VecDeque::new(),
            written: 0,
            skip: Skip::Needless,
            queue: VecDeque::new(),
            bytes: 0,
            bytes_max,
            finished: Finished::default(),
            pushed_since_sweep: 0,
            dropped: 0,
        }
    }

    /// Queues a message behind all others. May drop others, or the message itself, to stay within the bound.
    pub(crate) fn push(&mut self, item: Item) {
        if self.finished.covers(item.class) {
            return;
        }
        self.bytes += cost(&item);
        self.pushed_since_sweep += 1;
        self.queue.push_back(item);
        if self.bytes > self.bytes_max {
            self.make_room();
        }
    }

    /// Messages of classes that this progress finishes need not be sent any more.
    pub(crate) fn finish(&mut self, progress: &Progress) {
        self.finished.extend(progress);
        if self.pushed_since_sweep * SWEEP_SHARE >= self.queue.len() + self.sent.len() {
            self.sweep();
        }
    }

    /// Starts a session with a listener that wants `next_expected` first. Frames below it are confirmed; all others in
    /// `sent` will be handed out again.
    pub(crate) fn resume(&mut self, listener: Listener, next_expected: u64) -> Result<(), NeverSent> {
        let next = self.first + self.sent.len() as u64;
        match listener {
            Listener::New if next_expected > SEQUENCE_MAX => {
                return Err(NeverSent { named: next_expected, next });
            }
            // It knows no numbers of ours, so those that are unconfirmed get new ones, from where it wants them.
            Listener::New => {
                self.forget_dropped();
                self.first = next_expected;
                self.skip = Skip::Needless;
            }
            Listener::Same if next_expected > next => {
                return Err(NeverSent { named: next_expected, next });
            }
            Listener::Same => {
                while self.first < next_expected {
                    self.pop_sent();
                }
                self.skip = if next_expected < self.first { Skip::Due } else { Skip::Needless };
            }
        }
        self.written = 0;
        Ok(())
    }

    /// The peer has everything below `next_expected`.
    pub(crate) fn acknowledge(&mut self, next_expected: u64) -> Result<(), NeverSent> {
        let written_end = self.first + self.written as u64;
        if next_expected > written_end {
            return Err(NeverSent { named: next_expected, next: written_end });
        }
        while self.first < next_expected {
            self.pop_sent();
        }
        Ok(())
    }

    /// Hands out what comes next, up to about `bytes_max` and at least one frame if there is any; numbers what had no
    /// number. Empty when there is nothing to write.
    pub(crate) fn take(&mut self, bytes_max: u64, out: &mut Vec<Outgoing>) {
        let mut bytes = 0;
        if self.skip == Skip::Due && self.written == 0 {
            self.skip = Skip::Needless;
            out.push(Outgoing::Skip { to: self.first });
        }
        while bytes < bytes_max && self.written < self.sent.len() {
            let place = self.written;
            self.written += 1;
            self.drop_if_finished(place);
            let sequence = self.first + place as u64;
            match &self.sent[place] {
                Some(item) => {
                    bytes += cost(item);
                    out.push(Outgoing::Data { sequence, item: item.clone() });
                }
                None => match out.last_mut() {
                    Some(Outgoing::Skip { to }) => *to = sequence + 1,
                    _ => out.push(Outgoing::Skip { to: sequence + 1 }),
                },
            }
        }
        while bytes < bytes_max
            && let Some(item) = self.queue.pop_front()
        {
            if self.finished.covers(item.class) {
                self.bytes -= cost(&item);
                continue;
            }
            bytes += cost(&item);
            let sequence = self.first + self.sent.len() as u64;
            out.push(Outgoing::Data { sequence, item: item.clone() });
            self.sent.push_back(Some(item));
            self.written += 1;
        }
    }

    /// Frames that were sent, are kept, and are not confirmed.
    pub(crate) fn unconfirmed(&self) -> u64 {
        self.sent.iter().filter(|item| item.is_some()).count() as u64
    }

    /// What is kept, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Frames dropped although they mattered.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Sweeps out what is finished, then drops the oldest until the bound holds.
    fn make_room(&mut self) {
        if self.finished.is_news_since_sweep() {
            self.sweep();
        }
        while self.bytes > self.bytes_max {
            if !self.sent.is_empty() {
                self.dropped += u64::from(self.sent[0].is_some());
                self.pop_sent();
            } else {
                let item =
                    self.queue.pop_front().expect("bytes are those of entries, and none is left in `sent`");
                self.bytes -= cost(&item);
                self.dropped += 1;
            }
        }
    }

    /// Drops every frame of a finished class, and the numbers at the front that stand for nothing any more.
    fn sweep(&mut self) {
        self.pushed_since_sweep = 0;
        self.finished.swept();
        for place in 0..self.sent.len() {
            self.drop_if_finished(place);
        }
        while let Some(None) = self.sent.front() {
            self.pop_sent();
        }
        let (finished, bytes) = (&self.finished, &mut self.bytes);
        self.queue.retain(|item| {
            let kept = !finished.covers(item.class);
            if !kept {
                *bytes -= cost(item);
            }
            kept
        });
    }

    /// Empties a place of `sent` whose class is finished; its number stays.
    fn drop_if_finished(&mut self, place: usize) {
        let slot = &mut self.sent[place];
        if let Some(item) = slot.take_if(|item| self.finished.covers(item.class)) {
            self.bytes -= cost(&item) - ENTRY_BYTES;
        }
    }

    /// Removes the front of `sent` with its number.
    fn pop_sent(&mut self) {
        let front = self.sent.pop_front().expect("the caller has seen that `sent` has a front");
        self.bytes -= front.as_ref().map_or(ENTRY_BYTES, cost);
        self.first += 1;
        if self.written == 0 {
            self.skip = Skip::Due;
        } else {
            self.written -= 1;
        }
    }

    /// Removes the empty places of `sent`, numbers and all.
    fn forget_dropped(&mut self) {
        let before = self.sent.len();
        self.sent.retain(Option::is_some);
        self.bytes -= (before - self.sent.len()) as u64 * ENTRY_BYTES;
    }
}

/// A sweep costs as much as there are entries, so one is due when a quarter of them was pushed since the last.
const SWEEP_SHARE: usize = 4;

fn cost(item: &Item) -> u64 {
    ENTRY_BYTES + item.body.len() as u64
}

/// The classes that need not be sent any more.
#[derive(Debug, Default)]
struct Finished {
    decided: Round,
    lanes: BTreeMap<NodeId, Seq>,
    news_since_sweep: u64,
}

impl Finished {
    fn extend(&mut self, progress: &Progress) {
        self.news_since_sweep += 1;
        self.decided = self.decided.max(progress.decided);
        for (owner, seq) in &progress.lanes {
            let known = self.lanes.entry(*owner).or_default();
            *known = (*known).max(*seq);
        }
    }

    fn covers(&self, class: Class) -> bool {
        match class {
            // Round 0 is genesis, on which nobody agrees, so the initial value covers nothing that is ever sent.
            Class::Round(round) => round <= self.decided,
            Class::Lane(owner, seq) => self.lanes.get(&owner).is_some_and(|decided| seq <= *decided),
            Class::Keep => false,
        }
    }

    fn is_news_since_sweep(&self) -> bool {
        self.news_since_sweep > 0
    }

    fn swept(&mut self) {
        self.news_since_sweep = 0;
    }
}

#[cfg(test)]
mod tests;
