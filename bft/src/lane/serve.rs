//! How much a member may fetch from us.
//!
//! The limit is two fetches in flight a requester. The core does not see a socket, so it counts in bytes: an answer
//! is in flight for as long as a link of [`BYTES_PER_US`] needs for it, and what is in flight may be two of the longest
//! entries, or any number of short ones. What exceeds it is dropped; an honest requester asks another member next.
//! So a Byzantine requester gets at most that rate from us, on its own link, and its outbox stays short.

use wire::limits::{FETCHES_IN_FLIGHT_MAX, PROPOSAL_BYTES_MAX};

use super::entry::HEADER_BYTES;
use crate::time::Time;

/// 64 MB/s: a requester that is behind by all the history (2 GiB) has it from three members within 12 s.
const BYTES_PER_US: u64 = 64;
/// What a request costs beside the bytes of its answer: bounds the number of requests served to 15,000 a second.
const REQUEST_BYTES: u64 = 4 << 10;
const IN_FLIGHT_BYTES_MAX: u64 =
    FETCHES_IN_FLIGHT_MAX as u64 * (PROPOSAL_BYTES_MAX + HEADER_BYTES as u64 + REQUEST_BYTES);

/// What is in flight to one requester.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Serving {
    in_flight_bytes: u64,
    at: Time,
}

impl Serving {
    /// Whether an answer of so many bytes may go out now; if so it counts.
    pub(crate) fn admit(&mut self, now: Time, bytes: u64) -> bool {
        let arrived = now.since(self.at).0.saturating_mul(BYTES_PER_US);
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(arrived);
        self.at = now;
        let with_it = self.in_flight_bytes + bytes + REQUEST_BYTES;
        let is_admitted = with_it <= IN_FLIGHT_BYTES_MAX;
        if is_admitted {
            self.in_flight_bytes = with_it;
        }
        is_admitted
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
        let later = start + Span((longest + REQUEST_BYTES).div_ceil(BYTES_PER_US));
        assert!(serving.admit(later, longest));
        assert!(!serving.admit(later, longest));
    }
}
