//! The delay line of an emulated link: when each frame reaches the other end. A pure data structure without a clock.
//!
//! A frame that is pushed at some moment occupies the link for its bytes at the link's rate, after the frames before
//! it, and arrives one delay later. So frames do not wait for each other except for the link itself. Only their order
//! is kept, as TCP keeps it: a frame that is late (jitter, a lost segment) holds up those behind it. Each piece of a
//! long body counts as a frame, so that a slow link brings bytes all the time.
//!
//! *Bandwidth.* The link is busy until `free_at`. [`DelayLine::room`] lets the caller fill a few milliseconds ahead, no
//! more: what must wait for longer waits in the outbox, under its rule. What is on its way is kept here, up to as much
//! again as the outbox may hold, even if the outbox has dropped it by then. A caller that wakes late while frames wait
//! loses no bandwidth, because the next frame begins where the last one ended, up to [`CREDIT_MAX`] ago.
//!
//! *Loss.* A message travels in segments. Each lost one is sent again after a round trip, which may be lost too; so a
//! loss is a delay. TCP's slower sending after a loss is not emulated.
//!
//! *Cut.* Nothing enters or leaves. Frames on their way are sent again when the link heals, as TCP would, and so arrive
//! one delay after that.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use wire::ids::Round;
use wire::prng::Prng;
use wire::wan::Conditions;

use crate::outbox::Outgoing;
use crate::peer::WRITE_BYTES;

/// A frame on its way.
#[derive(Debug)]
pub(crate) enum OnItsWay {
    /// One of the outbox.
    Outgoing(Outgoing),
    /// A ping with the round that was decided when it left.
    Ping { sequence: u64, decided: Round },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct DelayLine {
    conditions: Conditions,
    is_cut: bool,
    /// Frames with the times at which they arrive, which ascend.
    frames: VecDeque<(Instant, OnItsWay)>,
    /// The cost of these frames.
    bytes: u64,
    bytes_max: u64,
    /// No frame arrives before.
    last_arrival: Instant,
    /// When the link has sent what was pushed.
    free_at: Instant,
    /// Whether further frames waited after the last push.
    has_more: bool,
    random: Prng,
}

/// How far the link is filled ahead of time, so that a thread which wakes a little late finds it still busy.
const AHEAD: Duration = Duration::from_millis(2);
/// For how long a thread may be late without a loss of bandwidth.
const CREDIT_MAX: Duration = Duration::from_millis(20);
/// What an Ethernet segment carries of a TCP connection with time stamps.
const SEGMENT_BYTES: u64 = 1448;
/// What a frame costs beside its bytes.
const FRAME_BYTES: u64 = 64;
const PING_BYTES: u64 = (wire::frame::HEADER_BYTES + wire::frame::TAG_BYTES) as u64;

impl DelayLine {
    /// An empty line that holds at most about `bytes_max`. The seed determines jitter and loss.
    pub(crate) fn new(now: Instant, bytes_max: u64, seed: u64) -> DelayLine {
        DelayLine {
            conditions: Conditions::default(),
            is_cut: false,
            frames: VecDeque::new(),
            bytes: 0,
            bytes_max,
            last_arrival: now,
            free_at: now,
            has_more: false,
            random: Prng::new(seed),
        }
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The session has ended, and frames on their way are lost. The outbox hands out again those that it still keeps.
    pub(crate) fn clear(&mut self, now: Instant) {
        self.frames.clear();
        self.bytes = 0;
        self.last_arrival = now;
        self.free_at = now;
        self.has_more = false;
    }

    /// Frames pushed from now on meet these conditions.
    pub(crate) fn set_conditions(&mut self, conditions: Conditions) {
        self.conditions = conditions;
    }

    /// Cuts or heals the link.
    pub(crate) fn set_cut(&mut self, now: Instant, is_cut: bool) {
        if self.is_cut && !is_cut {
            let earliest = now + self.conditions.delay;
            for (arrival, _) in &mut self.frames {
                *arrival = earliest.max(*arrival);
            }
            self.last_arrival = earliest.max(self.last_arrival);
            self.free_at = now;
            self.has_more = false;
        }
        self.is_cut = is_cut;
    }

    /// About how many bytes may be pushed now.
    pub(crate) fn room(&self, now: Instant) -> u64 {
        if self.is_cut || self.free_at > now + AHEAD / 2 {
            return 0;
        }
        let of_line = self.bytes_max.saturating_sub(self.bytes).min(WRITE_BYTES);
        let ahead = (now + AHEAD).saturating_duration_since(self.next_begin(now));
        let of_link = self.conditions.bits_per_s.map(|rate| bytes_in(ahead, rate).max(1));
        of_link.map_or(of_line, |of_link| of_link.min(of_line))
    }

    /// Whether further frames wait; set after each push.
    pub(crate) fn set_has_more(&mut self, has_more: bool) {
        self.has_more = has_more;
    }

    /// Sends a frame now.
    pub(crate) fn push(&mut self, now: Instant, frame: OnItsWay) {
        let frame_bytes = bytes_of(&frame);
        let begins = self.next_begin(now);
        self.free_at =
            begins + self.conditions.bits_per_s.map_or(Duration::ZERO, |rate| time_of(frame_bytes, rate));
        let arrival = self.free_at + self.delay() + self.retransmissions(frame_bytes);
        self.last_arrival = self.last_arrival.max(arrival);
        self.bytes += FRAME_BYTES + frame_bytes;
        self.frames.push_back((self.last_arrival, frame));
    }

    /// The next frame that has arrived.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<OnItsWay> {
        self.frames.front().filter(|(arrival, _)| *arrival <= now && !self.is_cut)?;
        let (_, frame) = self.frames.pop_front()?;
        self.bytes -= FRAME_BYTES + bytes_of(&frame);
        Some(frame)
    }

    /// How long the caller may sleep unless something is pushed or changes; `None` if there is no limit.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        if self.is_cut {
            return None;
        }
        let arrival = self.frames.front().map(|(arrival, _)| *arrival);
        let room = if self.free_at > now + AHEAD / 2 {
            // Even if no frame waits: a ping may, and `has_more` does not count it.
            self.free_at.checked_sub(AHEAD / 2)
        } else {
            (self.has_more && self.room(now) > 0).then_some(now)
        };
        arrival.into_iter().chain(room).min().map(|due| due.saturating_duration_since(now))
    }

    /// When a frame that is pushed now begins to occupy the link.
    fn next_begin(&self, now: Instant) -> Instant {
        let ready = if self.has_more { now.checked_sub(CREDIT_MAX).unwrap_or(now) } else { now };
        self.free_at.max(ready)
    }

    fn delay(&mut self) -> Duration {
        let Conditions { delay, jitter, .. } = self.conditions;
        let jitter_us = u64::try_from(jitter.as_micros()).expect("delays are at most seconds");
        if jitter_us == 0 {
            return delay;
        }
        delay - jitter + Duration::from_micros(self.random.below(2 * jitter_us + 1))
    }

    /// How much later a message arrives because segments of it are lost: a round trip each time.
    fn retransmissions(&mut self, frame_bytes: u64) -> Duration {
        let loss = f64::from(self.conditions.loss_ppm) / 1e6;
        if loss == 0.0 {
            return Duration::ZERO;
        }
        let round_trip = 2 * self.conditions.delay;
        let mut segments = frame_bytes.div_ceil(SEGMENT_BYTES) as f64;
        let mut late = Duration::ZERO;
        // The probability that each segment arrives. Of those that do not, the expected number is sent again.
        while self.random.chance(((1.0 - (1.0 - loss).powf(segments)) * 1e9) as u64, 1_000_000_000) {
            late += round_trip;
            segments = (segments * loss).max(1.0);
        }
        late
    }
}

fn bytes_of(frame: &OnItsWay) -> u64 {
    match frame {
        OnItsWay::Outgoing(outgoing) => outgoing.frame_bytes(),
        OnItsWay::Ping { .. } => PING_BYTES,
    }
}

/// How long so many bytes occupy a link.
fn time_of(bytes: u64, bits_per_s: u64) -> Duration {
    Duration::from_nanos((u128::from(bytes) * 8 * 1_000_000_000 / u128::from(bits_per_s)) as u64)
}

/// How many bytes a link carries in so much time.
fn bytes_in(time: Duration, bits_per_s: u64) -> u64 {
    (time.as_nanos() * u128::from(bits_per_s) / 8 / 1_000_000_000) as u64
}

#[cfg(test)]
mod tests;
