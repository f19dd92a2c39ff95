//! Timers of re-sending, and limits on answering.

use std::collections::BTreeMap;

use wire::ids::Index;

use crate::time::{Span, Time};

/// First wait before something without progress is sent again.
const FIRST: Span = Span::from_ms(1_000);
/// Longest wait.
const LONGEST: Span = Span::from_ms(10_000);

/// When to send again: 1 s after the last progress, then doubling to 10 s; never while nothing is open.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resend {
    armed: Option<(Time, Span)>,
}

impl Resend {
    /// Something new is open, or what is open has moved: the wait starts afresh.
    pub fn progressed(&mut self, now: Time) {
        self.armed = Some((now + FIRST, FIRST));
    }

    /// Something is open that has nothing to do with progress: the wait starts if none is under way.
    pub fn arm(&mut self, now: Time) {
        if self.armed.is_none() {
            self.progressed(now);
        }
    }

    /// Nothing is open.
    pub fn stop(&mut self) {
        self.armed = None;
    }

    /// Whether it is time; if so the next wait is twice as long.
    pub fn is_due(&mut self, now: Time) -> bool {
        match self.armed {
            Some((due, wait)) if due <= now => {
                let wait = wait.doubled(LONGEST);
                self.armed = Some((now + wait, wait));
                true
            }
            _ => false,
        }
    }

    /// When it is time.
    pub fn due(&self) -> Option<Time> {
        self.armed.map(|(due, _)| due)
    }
}

/// Lets each member have one answer a second, so that questions cannot be used to multiply traffic.
#[derive(Clone, Debug, Default)]
pub struct Limiter(BTreeMap<Index, Time>);

impl Limiter {
    /// Shortest time between two answers to one member.
    const INTERVAL: Span = Span::from_ms(1_000);

    /// Whether `author` may have an answer now; if so the next one is a second away.
    pub fn may(&mut self, now: Time, author: Index) -> bool {
        self.may_every(now, author, Limiter::INTERVAL)
    }

    /// The same with another interval.
    pub fn may_every(&mut self, now: Time, author: Index, interval: Span) -> bool {
        let allowed = self.0.get(&author).is_none_or(|last| now.since(*last) >= interval);
        if allowed {
            self.0.insert(author, now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_longest_and_progress_resets_them() {
        let mut resend = Resend::default();
        assert_eq!(resend.due(), None);
        resend.progressed(Time(0));
        let mut waits = Vec::new();
        let mut now = Time(0);
        for _ in 0..6 {
            let due = resend.due().unwrap();
            waits.push((due - now).0 / 1_000);
            assert!(!resend.is_due(Time(due.0 - 1)));
            assert!(resend.is_due(due));
            now = due;
        }
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        resend.progressed(now);
        assert_eq!(resend.due(), Some(now + FIRST));
        resend.stop();
        assert_eq!(resend.due(), None);
    }

    #[test]
    fn one_answer_a_second_each() {
        let mut limiter = Limiter::default();
        assert!(limiter.may(Time(0), Index(1)));
        assert!(!limiter.may(Time(999_999), Index(1)));
        assert!(limiter.may(Time(999_999), Index(2)));
        assert!(limiter.may(Time(1_000_000), Index(1)));
    }
}
