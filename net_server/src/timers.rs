//! The deadlines of the loop. There is no tick: an idle process has no timer armed and sleeps.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mio::Token;

/// The timers. A timer of a connection that has ended meanwhile is ignored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// Connections may be accepted again.
    Accept,
    /// Delayed acks go out.
    Acks,
    /// Counters are reported to the core.
    Counters,
    /// A handshake has timed out.
    Handshake(Token),
    /// A peer may be silent.
    Silence(Token),
    /// A peer may send bytes again.
    Allowance(Token),
    /// A client's long frame may be too slow.
    ClientFrame(Token),
}

/// The armed timers.
#[derive(Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    pub(crate) fn arm(&mut self, at: Instant, timer: Timer) {
        self.queue.insert((at, timer));
    }

    /// The time to the next timer; `None` if none is armed.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        self.queue.first().map(|(at, _)| at.saturating_duration_since(now))
    }

    /// Removes a timer that is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Timer> {
        self.queue.first().filter(|(at, _)| *at <= now)?;
        self.queue.pop_first().map(|(_, timer)| timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_order_and_not_early() {
        let start = Instant::now();
        let later = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        assert_eq!(timers.wait(start), None, "no timer is armed");
        timers.arm(later(20), Timer::Counters);
        timers.arm(later(10), Timer::Acks);
        assert_eq!(timers.wait(start), Some(Duration::from_millis(10)));
        assert_eq!(timers.pop(later(9)), None);
        assert_eq!(timers.pop(later(25)), Some(Timer::Acks));
        assert_eq!(timers.pop(later(25)), Some(Timer::Counters));
        assert_eq!(timers.pop(later(25)), None);
    }
}
