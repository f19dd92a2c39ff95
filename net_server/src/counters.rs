//! Counts refusals by reason, and arms the timer that reports counters to the core.
//!
//! Strangers can cause refusals at will, so only the first, tenth, hundredth … of a reason is logged.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::{Duration, Instant};

use wire::frame::FrameError;
use wire::logging::is_power_of_ten;
use wire::session::HandshakeError;

use crate::timers::{Timer, Timers};

/// How often counters that change are reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Why a connection was closed or a frame dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// The handshake broke a rule.
    Handshake(HandshakeError),
    /// The connection ended within it.
    HandshakeCutOff,
    /// It took longer than `Local::HandshakeTimeMs`.
    HandshakeTooSlow,
    /// It was drawn to make room for another.
    HandshakeEvicted,
    /// Its address had too many.
    HandshakesOfAddress,
    /// The same dialer began another session.
    Replaced,
    /// A frame broke a rule.
    Frame(FrameError),
    /// A data frame is missing before this one.
    OutOfSequence,
    /// Only listeners send this kind of frame, or only peers.
    UnexpectedKind,
    /// A data frame arrived again. The connection stays open.
    Duplicate,
    /// A peer sent nothing, not even pings.
    Silent,
    /// There were too many clients, none of them idle.
    ClientsFull,
    /// A client was idle for long and had to make room.
    ClientEvicted,
    /// A connection that never sent a request had to make room.
    ClientWithoutRequest,
    /// Its address had too many clients.
    ClientsOfAddress,
    /// A client took too long to send a long frame.
    ClientTooSlow,
    /// A client did not read its replies.
    ClientUnread,
    /// The system call failed.
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
            Refused::ClientWithoutRequest => "client without a request evicted",
            Refused::ClientsOfAddress => "too many clients of one address",
            Refused::ClientTooSlow => "client frame too slow",
            Refused::ClientUnread => "client that does not read",
            Refused::AcceptFailed => "accept failed",
        }
    }
}

/// Refusals by reason since the process started, and whether a report is due.
#[derive(Default)]
pub(crate) struct Counters {
    refused: BTreeMap<&'static str, u64>,
    report_armed: bool,
}

impl Counters {
    /// Counts a refusal; `whose` names the connection in the log.
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
            log::warn!("refused: {detail}, from {whose}; number {count} for this reason");
        }
        self.changed(timers, now);
    }

    /// Arms the next report.
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
}
