//! The answer to status requests, cached for a moment.
//!
//! # Security
//! Anybody can be a client and request the status thousands of times a second, and each status counts all coins of the
//! ledger, which blocks the round loop for milliseconds.

use bft::time::{Span, Time};
use wire::bytes::Bytes;
use wire::client::{NodeStatus, Reply};
use wire::codec;

/// How old an answer may be.
const AGE_MAX: Span = Span::from_ms(100);

/// The last answer.
#[derive(Default)]
pub(crate) struct StatusReply {
    made: Option<(Time, Bytes)>,
}

impl StatusReply {
    /// The answer at this time; calls `status` if the last one is too old.
    pub(crate) fn at(&mut self, now: Time, status: impl FnOnce() -> NodeStatus) -> Bytes {
        match &self.made {
            Some((made, reply)) if now < *made + AGE_MAX => reply.clone(),
            _ => {
                let reply = Bytes::from(codec::encode(&Reply::Status(Box::new(status()))));
                self.made = Some((now, reply.clone()));
                reply
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_requests_costs_few_statuses_and_none_is_old() {
        let mut reply = StatusReply::default();
        let mut made = 0;
        for ms in 0..1_000 {
            let body = reply.at(Time(1_000 * ms), || {
                made += 1;
                NodeStatus { mempool: ms, ..NodeStatus::default() }
            });
            let Ok(Reply::Status(status)) = codec::decode(&body) else { panic!("no status") };
            assert!(ms - status.mempool < 100, "at {ms} ms the status of {} ms", status.mempool);
        }
        assert_eq!(made, 10);
    }
}
