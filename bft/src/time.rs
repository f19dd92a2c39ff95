//! Time as the core sees it: microseconds since an origin that the driver chose, brought in by each event.

use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// A moment, in microseconds since the driver's origin. Never runs backwards within one core.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Time(pub u64);

/// A length of time in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Span(pub u64);

impl Span {
    /// So many milliseconds.
    pub const fn from_ms(ms: u64) -> Span {
        Span(ms * 1_000)
    }

    /// Twice as long, but at most `max`.
    pub fn doubled(self, max: Span) -> Span {
        Span((self.0 * 2).min(max.0))
    }
}

impl Time {
    /// How long ago `earlier` was; zero if it lies ahead.
    pub fn since(self, earlier: Time) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Span> for Time {
    type Output = Time;
    fn add(self, span: Span) -> Time {
        Time(self.0 + span.0)
    }
}

impl Sub<Time> for Time {
    type Output = Span;
    fn sub(self, earlier: Time) -> Span {
        self.since(earlier)
    }
}
