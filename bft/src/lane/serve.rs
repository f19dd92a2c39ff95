//! How much a member may fetch from us.
//!
//! The limit is two fetches in flight a requester. The core does not see a socket, so it counts in bytes: an answer
//! is in flight for as long as a link of [`BYTES_PER_S`] needs for it, and what is in flight may be two of the longest
//! entries, or any number of short ones. What exceeds it is dropped; an honest requester asks another member next.
//! So a Byzantine requester gets at most that rate from us, on its own link, and its outbox stays short.

use wire::limits::{FETCHES_IN_FLIGHT_MAX, PROPOSAL_BYTES_MAX};

use super::entry::HEADER_BYTES;
use crate::bucket::Bucket;
use crate::time::Time;

/// 64 MB/s: a requester that is behind by all the history (2 GiB) has it from three members within 12 s.
const BYTES_PER_S: u64 = 64_000_000;
/// What a request costs beside the bytes of its answer: bounds the number of requests served to 15,000 a second.
const REQUEST_BYTES: u64 = 4 << 10;
const IN_FLIGHT_BYTES_MAX: u64 =
    FETCHES_IN_FLIGHT_MAX as u64 * (PROPOSAL_BYTES_MAX + HEADER_BYTES as u64 + REQUEST_BYTES);

/// What is in flight to one requester.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Serving(Bucket);

impl Default for Serving {
    fn default() -> Serving {
        Serving(Bucket::new(BYTES_PER_S, IN_FLIGHT_BYTES_MAX))
    }
}

impl Serving {
    /// Whether an answer of `bytes` may go out now; if so it is counted.
    pub(crate) fn admit(&mut self, now: Time, bytes: u64) -> bool {
        self.0.admit(now, bytes + REQUEST_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    #[test]
    fn two_long_answers_at_once_and_more_as_time_passes() {
        let mut serving = Serving::default();
        let longest = PROPOSAL_BYTES_MAX + HEADER_BYTES as u64;
        let start = Time(1);
        assert!(serving.admit(start, longest));
        assert!(serving.admit(start, longest));
        assert!(!serving.admit(start, longest) && !serving.admit(start, 0));
        let later = start + Span((longest + REQUEST_BYTES).div_ceil(BYTES_PER_S / 1_000_000));
        assert!(serving.admit(later, longest));
        assert!(!serving.admit(later, longest));
    }
}
