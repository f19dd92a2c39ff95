//! Everything that one peer has not confirmed yet: a pure data structure without socket or clock.
//!
//! Guarantees: a frame is kept until the peer confirms it, and is sent again after a reconnect from where the peer
//! stopped; memory is bounded in bytes whatever the peer does; a push never blocks.
//!
//! Frames keep the order in which they were pushed ([`frames`]). [`Outbox::take`] hands them out in this order and
//! numbers each when it does so for the first time; a cumulative ack removes those below it. A new session starts with
//! [`Outbox::resume`] and hands out again whatever is unconfirmed. Two marks in the order suffice for that: `numbered`
//! ends the frames that have a number, `handed_out` those that went out in the present session.
//!
//! The outbox rule (docs/design.md §2): at most `bytes_max` queued and unconfirmed. Frames of a class that the core
//! reports as finished go at once, at no loss. Beyond the bound the oldest go and are counted; the core's re-sending
//! makes up for them. A number whose frame is gone is never silently missing: `Skip` comes in its place, because the
//! listener takes a gap for an attack.
//!
//! A long body is handed out in pieces, so that a ping can leave between two of them. It is begun and finished before
//! the next frame, since the order of frames is that of their pushes: an entry's certificate never overtakes the entry.
//!
//! Cost: a logarithm of the frames that wait for each frame pushed, handed out, confirmed or dropped. A report of
//! finished classes costs the frames that it finishes and the lanes that it names, and a reconnect costs nothing before
//! frames go out again, however many wait.

mod frames;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use wire::bytes::Bytes;
use wire::envelope::{Class, Progress};
use wire::frame::{HEADER_BYTES, LONG_FRAME_BYTES, TAG_BYTES, is_long};
use wire::ids::{Digest, NodeId, Round, Seq};
use wire::limits::PIECE_BYTES_MAX;

use self::frames::{Age, FRAME_BYTES, Frames, cost};

/// One message on its way to a peer; the body is shared with all its other recipients.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) class: Class,
    /// SHA-256 of the body.
    pub(crate) digest: Digest,
    pub(crate) body: Bytes,
}

/// The next frame for the send thread to write.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A numbered message.
    Data { sequence: u64, item: Item },
    /// A numbered message whose body follows in pieces.
    Long { sequence: u64, item: Item },
    /// The next piece of that body.
    Piece { sequence: u64, piece: Bytes },
    /// The missing numbers below `to` will never come.
    Skip { to: u64 },
}

impl Outgoing {
    /// The length of its frame.
    pub(crate) fn frame_bytes(&self) -> u64 {
        let bytes = match self {
            Outgoing::Data { item, .. } => HEADER_BYTES + item.body.len() + TAG_BYTES,
            Outgoing::Long { .. } => LONG_FRAME_BYTES,
            Outgoing::Piece { piece, .. } => HEADER_BYTES + piece.len(),
            Outgoing::Skip { .. } => HEADER_BYTES + TAG_BYTES,
        };
        bytes as u64
    }
}

/// A long body of which some pieces have been handed out. It goes on even if its message is dropped meanwhile.
#[derive(Debug)]
struct Begun {
    sequence: u64,
    body: Bytes,
    handed_out: usize,
}

impl Begun {
    fn next_piece(&mut self) -> Bytes {
        let end = self.body.len().min(self.handed_out + PIECE_BYTES_MAX as usize);
        let piece = self.body.slice(self.handed_out..end);
        self.handed_out = end;
        piece
    }

    fn is_whole(&self) -> bool {
        self.handed_out == self.body.len()
    }
}

/// Whether the listener of a new session knows our numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Listener {
    /// A process that had no session with us yet: it knows none of them.
    New,
    /// The process of the session before.
    Same,
}

/// The peer expects a number beyond those that we have sent, which no correct listener does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NeverSent {
    pub(crate) named: u64,
    pub(crate) next: u64,
}

impl std::fmt::Display for NeverSent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "expects frame {} although {} comes next", self.named, self.next)
    }
}

/// Whether an ack confirms more than those before it in its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ack {
    New,
    Repeated,
}

/// The frames for one peer. See the module.
#[derive(Debug)]
pub(crate) struct Outbox {
    frames: Frames,
    /// The frames below have a sequence number.
    numbered: Age,
    /// How many frames have one.
    unconfirmed: u64,
    /// The number that the next frame without one gets.
    next: u64,
    /// The frames below were handed out in the present session.
    handed_out: Age,
    /// The body that is being handed out.
    begun: Option<Begun>,
    /// The number that the listener expects once it has read everything handed out in the present session.
    expected: u64,
    /// The number that the listener named last in the present session.
    acked: u64,
    bytes_max: u64,
    dropped: u64,
    /// The last finished round. Round 0 is genesis, on which nobody agrees, so no message is of its class.
    decided: Round,
    /// The last finished entry of each lane.
    lanes: BTreeMap<NodeId, Seq>,
}

/// A number that no listener can expect; leaves room to count on without overflow.
const SEQUENCE_MAX: u64 = u64::MAX / 2;

impl Outbox {
    /// An empty outbox that holds at most `bytes_max`.
    pub(crate) fn new(bytes_max: u64) -> Outbox {
        Outbox {
            frames: Frames::new(),
            numbered: Age::FIRST,
            unconfirmed: 0,
            next: 0,
            handed_out: Age::FIRST,
            begun: None,
            expected: 0,
            acked: 0,
            bytes_max,
            dropped: 0,
            decided: Round(0),
            lanes: BTreeMap::new(),
        }
    }

    /// Queues a message behind all others. May drop others, or the message itself, to stay within the bound.
    pub(crate) fn push(&mut self, item: Item) {
        if self.is_finished(item.class) {
            return;
        }
        self.frames.push(item);
        while self.frames.bytes() > self.bytes_max
            && let Some((oldest, _)) = self.frames.oldest()
        {
            self.remove(oldest);
            self.dropped += 1;
        }
    }

    /// Drops the messages of the classes that this progress finishes, and later ones at their push.
    pub(crate) fn finish(&mut self, progress: &Progress) {
        if progress.decided > self.decided {
            self.decided = progress.decided;
            self.drop_all(Class::Round(Round(0))..=Class::Round(progress.decided));
        }
        for (owner, seq) in &progress.lanes {
            let known = self.lanes.entry(*owner).or_default();
            if *seq > *known {
                *known = *seq;
                self.drop_all(Class::Lane(*owner, Seq(0))..=Class::Lane(*owner, *seq));
            }
        }
    }

    /// Starts a session with a listener that expects the number `next_expected` first. That confirms all numbers
    /// below; all other frames will be handed out again.
    pub(crate) fn resume(&mut self, listener: Listener, next_expected: u64) -> Result<(), NeverSent> {
        let next_max = match listener {
            Listener::New => SEQUENCE_MAX,
            Listener::Same => self.next,
        };
        if next_expected > next_max {
            return Err(NeverSent { named: next_expected, next: self.next });
        }
        match listener {
            // All frames get new numbers, from the one that it expects.
            Listener::New => {
                self.numbered = Age::FIRST;
                self.unconfirmed = 0;
                self.next = next_expected;
            }
            Listener::Same => self.confirm(next_expected),
        }
        self.handed_out = Age::FIRST;
        self.begun = None;
        self.expected = next_expected;
        self.acked = next_expected;
        Ok(())
    }

    /// The peer has everything below `next_expected`.
    pub(crate) fn acknowledge(&mut self, next_expected: u64) -> Result<Ack, NeverSent> {
        if next_expected > self.expected {
            return Err(NeverSent { named: next_expected, next: self.expected });
        }
        if next_expected <= self.acked {
            return Ok(Ack::Repeated);
        }
        self.acked = next_expected;
        self.confirm(next_expected);
        Ok(Ack::New)
    }

    /// Hands out the next frames and pieces, up to about `bytes_max` and at least one if there is any, but none if that
    /// is 0; numbers those without a number. Empty when there is nothing to write.
    pub(crate) fn take(&mut self, bytes_max: u64, out: &mut Vec<Outgoing>) {
        let mut bytes = 0;
        while bytes < bytes_max {
            if let Some(begun) = &mut self.begun {
                let (sequence, piece) = (begun.sequence, begun.next_piece());
                bytes += piece.len() as u64;
                out.push(Outgoing::Piece { sequence, piece });
                if begun.is_whole() {
                    self.begun = None;
                    self.expected = sequence + 1;
                }
                continue;
            }
            let Some((age, frame)) = self.frames.at_or_after(self.handed_out) else { return };
            if age >= self.numbered {
                frame.sequence = self.next;
                self.next += 1;
                self.numbered = age.next();
                self.unconfirmed += 1;
            }
            if frame.sequence > self.expected {
                out.push(Outgoing::Skip { to: frame.sequence });
            }
            let (sequence, item) = (frame.sequence, frame.item.clone());
            self.handed_out = age.next();
            if is_long(item.body.len()) {
                bytes += FRAME_BYTES;
                self.begun = Some(Begun { sequence, body: item.body.clone(), handed_out: 0 });
                out.push(Outgoing::Long { sequence, item });
            } else {
                bytes += cost(&item);
                self.expected = sequence + 1;
                out.push(Outgoing::Data { sequence, item });
            }
        }
    }

    /// Whether frames wait to be handed out.
    pub(crate) fn has_more(&mut self) -> bool {
        self.begun.is_some() || self.frames.at_or_after(self.handed_out).is_some()
    }

    /// Frames that were sent, are kept, and are not confirmed.
    pub(crate) fn unconfirmed(&self) -> u64 {
        self.unconfirmed
    }

    /// The cost of all frames kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.frames.bytes()
    }

    /// Frames dropped although their class was not finished.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn is_finished(&self, class: Class) -> bool {
        match class {
            Class::Round(round) => round <= self.decided,
            Class::Lane(owner, seq) => self.lanes.get(&owner).is_some_and(|decided| seq <= *decided),
            Class::Keep => false,
        }
    }

    fn drop_all(&mut self, classes: RangeInclusive<Class>) {
        while let Some(age) = self.frames.of_class(&classes) {
            self.remove(age);
        }
    }

    /// Removes the frames with numbers below `next_expected`.
    fn confirm(&mut self, next_expected: u64) {
        while let Some((age, frame)) = self.frames.oldest()
            && age < self.numbered
            && frame.sequence < next_expected
        {
            self.remove(age);
        }
    }

    fn remove(&mut self, age: Age) {
        self.frames.remove(age);
        if age < self.numbered {
            self.unconfirmed -= 1;
        }
    }
}
