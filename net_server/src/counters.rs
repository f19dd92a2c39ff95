//! What is refused, by reason, and when the counters are due at the core.
//!
//! A stranger can provoke refusals at will, so they are logged at the first, tenth, hundredth … of a reason and
//! otherwise only counted.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::{Duration, Instant};

use wire::frame::FrameError;
use wire::session::HandshakeError;

use crate::timers::{Timer, Timers};

/// How often the core hears of counters that change.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Why a connection was closed or a frame thrown away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// The handshake broke a rule.
    Handshake(HandshakeError),
    /// It ended in the middle.
    HandshakeCutOff,
    /// It took longer than `Local::HandshakeTimeMs`.
    HandshakeTooSlow,
    /// It was the one drawn to make room.
    HandshakeEvicted,
    /// There were too many from its address.
    HandshakesOfAddress,
    /// Another session of the same dialer took its place.
    Replaced,
    /// A frame broke a rule.
    Frame(FrameError),
    /// A data frame does not follow the one before.
    OutOfSequence,
    /// A frame of a kind that only listeners send, or only peers.
    UnexpectedKind,
    /// A data frame that had arrived before. The connection stays.
    Duplicate,
    /// A peer sent nothing, not even pings.
    Silent,
    /// All places for clients were taken.
    ClientsFull,
    /// A client that had long been idle made room.
    ClientEvicted,
    /// A client took too long to send a long frame.
    ClientTooSlow,
    /// A client did not read its replies.
    ClientUnread,
    /// The system gave no further connection.
    AcceptFailed,
}

impl Refused {
    /// The name it is counted under.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Refused::Handshake(error) => error.name(),
            Refused::HandshakeCutOff => "handshake cut off",
            Refused::HandshakeTooSlow => "handshake too slow",
            Refused::HandshakeEvicted => "handshake evicted",
            Refused::HandshakesOfAddress => "too many handshakes of one address",
            Refused::Replaced => "session replaced by a newer one",
            Refused::Frame(error) => error.name(),
            Refused::OutOfSequence => "frame out of sequence",
            Refused::UnexpectedKind => "frame of a kind not taken here",
            Refused::Duplicate => "duplicate frame",
            Refused::Silent => "peer silent",
            Refused::ClientsFull => "client beyond the limit",
            Refused::ClientEvicted => "idle client evicted",
            Refused::ClientTooSlow => "client frame too slow",
            Refused::ClientUnread => "client that does not read",
            Refused::AcceptFailed => "accept failed",
        }
    }
}

/// Refusals by reason since the process started, and whether the core knows the latest.
#[derive(Default)]
pub(crate) struct Counters {
    refused: BTreeMap<&'static str, u64>,
    report_armed: bool,
}

impl Counters {
    /// Counts a refusal; `whose` and `detail` are for the log.
    pub(crate) fn refuse(
        &mut self,
        refused: Refused,
        whose: &dyn Display,
        timers: &mut Timers,
        now: Instant,
    ) {
        let count = self.refused.entry(refused.name()).or_default();
        *count += 1;
        if is_power_of_ten(*count) {
            let detail: &dyn Display = match &refused {
                Refused::Handshake(error) => error,
                Refused::Frame(error) => error,
                _ => &refused.name(),
            };
            log::warn!("refused: {detail}, from {whose}; number {count} of this kind");
        }
        self.changed(timers, now);
    }

    /// Notes that some counter is not what the core was told last.
    pub(crate) fn changed(&mut self, timers: &mut Timers, now: Instant) {
        if !self.report_armed {
            self.report_armed = true;
            timers.arm(now + REPORT_INTERVAL, Timer::Counters);
        }
    }

    /// The refusals to report now; the next change arms the next report.
    pub(crate) fn report(&mut self) -> Vec<(String, u64)> {
        self.report_armed = false;
        self.refused.iter().map(|(name, count)| (name.to_string(), *count)).collect()
    }
}

/// Whether the log hears of the event with this number.
pub(crate) fn is_power_of_ten(mut count: u64) -> bool {
    while count >= 10 && count.is_multiple_of(10) {
        count /= 10;
    }
    count == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_arm_one_report_and_reports_are_cumulative() {
        let (mut counters, mut timers, now) = (Counters::default(), Timers::default(), Instant::now());
        counters.refuse(Refused::Duplicate, &"a peer", &mut timers, now);
        counters.refuse(Refused::Frame(FrameError::Tag), &"a peer", &mut timers, now);
        counters.refuse(Refused::Duplicate, &"a peer", &mut timers, now);
        let due = now + REPORT_INTERVAL;
        assert_eq!((timers.pop(due), timers.pop(due)), (Some(Timer::Counters), None));
        let expected = [("duplicate frame".to_string(), 2), ("frame with a wrong tag".to_string(), 1)];
        assert_eq!(counters.report(), expected);
        assert_eq!(timers.wait(now), None, "nothing changed since");
        counters.refuse(Refused::Duplicate, &"a peer", &mut timers, now);
        assert_eq!(counters.report()[0].1, 3);
    }

    #[test]
    fn the_log_hears_of_powers_of_ten() {
        let logged: Vec<u64> = (1..=2000).filter(|count| is_power_of_ten(*count)).collect();
        assert_eq!(logged, [1, 10, 100, 1000]);
    }
}
