//! The deadlines of the loop. There is no tick: with nothing open nothing is armed, and the loop sleeps.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mio::Token;

/// What is due. One that is about a connection which is gone by then is ignored by its owner.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// Connections may be accepted again.
    Accept,
    /// Acks that waited for company go out.
    Acks,
    /// The counters go to the core.
    Counters,
    /// A handshake is out of time.
    Handshake(Token),
    /// A peer may have been silent for too long.
    Silence(Token),
    /// A peer's allowance of bytes has been filled up.
    Allowance(Token),
    /// A client's long frame is out of time.
    ClientFrame(Token),
}

/// All that is due some time.
#[derive(Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    /// Makes `timer` due at `at`.
    pub(crate) fn arm(&mut self, at: Instant, timer: Timer) {
        self.queue.insert((at, timer));
    }

    /// How long nothing is due.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        self.queue.first().map(|(at, _)| at.saturating_duration_since(now))
    }

    /// Takes one that is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Timer> {
        self.queue.first().filter(|(at, _)| *at <= now)?;
        self.queue.pop_first().map(|(_, timer)| timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_in_order_and_nothing_early() {
        let start = Instant::now();
        let later = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        assert_eq!(timers.wait(start), None, "nothing armed, nothing to wake up for");
        timers.arm(later(20), Timer::Counters);
        timers.arm(later(10), Timer::Acks);
        assert_eq!(timers.wait(start), Some(Duration::from_millis(10)));
        assert_eq!(timers.pop(later(9)), None);
        assert_eq!(timers.pop(later(25)), Some(Timer::Acks));
        assert_eq!(timers.pop(later(25)), Some(Timer::Counters));
        assert_eq!(timers.pop(later(25)), None);
    }
}
