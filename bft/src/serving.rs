//! Limits on answers, so that requests cannot multiply traffic: how often a member is answered ([`Limiter`]), and how
//! many bytes a requester may fetch ([`Serving`]).
//!
//! A requester may have two fetches in flight. The core does not see a socket, so it counts in bytes: an answer
//! is in flight for as long as a link of 64 MB/s needs for it, and two of the longest answers may be in flight,
//! or any number of short ones. An answer beyond that is dropped; an honest requester tries another member next.
//! So a Byzantine requester gets at most that rate from us, on its own link, and its outbox stays short.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::ids::Index;
use wire::limits::{FETCHES_IN_FLIGHT_MAX, PROPOSAL_BYTES_MAX};

use crate::bucket::Bucket;
use crate::time::{Span, Time};

/// The longest answer: a payload and the header of a lane entry.
pub const ANSWER_BYTES_MAX: u64 = PROPOSAL_BYTES_MAX + 43;
/// 64 MB/s: a requester that lacks all the history (2 GiB) has it from three members within 12 s.
const BYTES_PER_S: u64 = 64_000_000;
/// The cost of a request besides the bytes of its answer: bounds the number of requests served to 15,000 a second.
const REQUEST_BYTES: u64 = 4 << 10;
const IN_FLIGHT_BYTES_MAX: u64 = FETCHES_IN_FLIGHT_MAX as u64 * (ANSWER_BYTES_MAX + REQUEST_BYTES);

/// Permits one answer a second to each member, so that requests cannot be used to multiply traffic.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Limiter(BTreeMap<Index, Time>);

impl Limiter {
    /// Shortest time between two answers to one member.
    const INTERVAL: Span = Span::from_ms(1_000);

    /// Whether `author` may get an answer now; if so the next one is permitted a second later.
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

/// Bytes in flight to one requester.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Serving(Bucket);

impl Default for Serving {
    fn default() -> Serving {
        Serving(Bucket::new(BYTES_PER_S, IN_FLIGHT_BYTES_MAX))
    }
}

impl Serving {
    /// Whether an answer of `bytes` may go out now; if so it is counted.
    pub fn admit(&mut self, now: Time, bytes: u64) -> bool {
        self.0.admit(now, bytes + REQUEST_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_long_answers_at_once_and_more_as_time_passes() {
        let mut serving = Serving::default();
        let start = Time(1);
        assert!(serving.admit(start, ANSWER_BYTES_MAX));
        assert!(serving.admit(start, ANSWER_BYTES_MAX));
        assert!(!serving.admit(start, ANSWER_BYTES_MAX) && !serving.admit(start, 0));
        let later = start + Span((ANSWER_BYTES_MAX + REQUEST_BYTES).div_ceil(BYTES_PER_S / 1_000_000));
        assert!(serving.admit(later, ANSWER_BYTES_MAX));
        assert!(!serving.admit(later, ANSWER_BYTES_MAX));
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
