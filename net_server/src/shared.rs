//! What every part of the loop works with.

use std::fmt::Display;
use std::time::Instant;

use wire::frame::{Frame, Scratch};
use wire::ids::Round;

use crate::bridge::Bridge;
use crate::counters::{Counters, Refused};
use crate::options::Limits;
use crate::timers::Timers;

/// The shared parts; lent to admission, peers and clients one after the other.
pub(crate) struct Shared {
    pub(crate) bridge: Bridge,
    pub(crate) counters: Counters,
    pub(crate) timers: Timers,
    pub(crate) limits: Limits,
    /// Where reads land first.
    pub(crate) scratch: Scratch,
    /// Frames of the read at hand; empty between reads.
    pub(crate) frames: Vec<Frame>,
    /// The time of this turn of the loop.
    pub(crate) now: Instant,
    /// What the core has decided; peers hear of it in hellos and pongs.
    pub(crate) decided: Round,
}

impl Shared {
    /// Counts a refusal of `whose` connection or frame.
    pub(crate) fn refuse(&mut self, refused: Refused, whose: &dyn Display) {
        self.counters.refuse(refused, whose, &mut self.timers, self.now);
    }

    /// Notes that a link's counters changed.
    pub(crate) fn counters_changed(&mut self) {
        self.counters.changed(&mut self.timers, self.now);
    }
}
