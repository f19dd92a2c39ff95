//! Certificates that somebody's cut needs and that are missing here: asked of all members until they arrive.
//!
//! A member proposes only what it knows to be certified and keeps those certificates, so at least the proposer of a
//! valid cut answers. A Byzantine proposer can name tips that nobody has a certificate for, so what is wanted is
//! bounded a lane, each want lives for a few tries, and all end with the round.

use std::collections::BTreeMap;

use wire::ids::{Digest, Index, Seq};

use super::LaneMessage;
use crate::cut::Tip;
use crate::effects::To;
use crate::time::{Span, Time};

/// First wait for an answer; doubles to [`ANSWER_MAX`].
const ANSWER_MIN: Span = Span::from_ms(200);
const ANSWER_MAX: Span = Span::from_ms(5_000);
/// Asked so often; who still needs it then says so anew.
const TRIES_MAX: u32 = 8;

#[derive(Clone, Debug)]
struct Want {
    asked: u32,
    /// Order of arrival, by which the oldest gives way.
    number: u64,
    wait: Span,
    due: Time,
}

/// The certificates wanted.
#[derive(Clone, Debug)]
pub(super) struct Wants {
    per_lane_max: usize,
    count: u64,
    table: BTreeMap<(Index, Seq, Digest), Want>,
}

impl Wants {
    /// Room for two proposals of each of `n` members in each lane.
    pub(super) fn new(n: usize) -> Wants {
        Wants { per_lane_max: 2 * n, count: 0, table: BTreeMap::new() }
    }

    /// Enters a want, unless it is there, and returns the first request.
    pub(super) fn add(&mut self, now: Time, lane: Index, tip: Tip) -> Option<(To, LaneMessage)> {
        let key = (lane, tip.seq, tip.digest);
        if self.table.contains_key(&key) {
            return None;
        }
        if self.of(lane).count() >= self.per_lane_max {
            let oldest = self.of(lane).min_by_key(|(_, want)| want.number).map(|(key, _)| *key);
            self.table.remove(&oldest.expect("the lane has reached its bound, which is not zero"));
        }
        self.count += 1;
        let want = Want { asked: 1, number: self.count, wait: ANSWER_MIN, due: now + ANSWER_MIN };
        self.table.insert(key, want);
        Some(request(key))
    }

    fn of(&self, lane: Index) -> impl Iterator<Item = (&(Index, Seq, Digest), &Want)> {
        self.table.range((lane, Seq(0), Digest::default())..).take_while(move |((of, ..), _)| *of == lane)
    }

    /// A certificate for this place is known: whatever was wanted there is answered, for no two can exist.
    /// Whether something was.
    pub(super) fn answered(&mut self, lane: Index, seq: Seq) -> bool {
        let before = self.table.len();
        self.table.retain(|(of, at, _), _| (*of, *at) != (lane, seq));
        self.table.len() < before
    }

    /// Asks again for all that is due.
    pub(super) fn launch(&mut self, now: Time) -> Vec<(To, LaneMessage)> {
        self.table.retain(|_, want| want.due > now || want.asked < TRIES_MAX);
        let due = self.table.iter_mut().filter(|(_, want)| want.due <= now);
        due.map(|(key, want)| {
            want.asked += 1;
            want.wait = want.wait.doubled(ANSWER_MAX);
            want.due = now + want.wait;
            request(*key)
        })
        .collect()
    }

    /// Requests and answers may have been lost: everything is due at once.
    pub(super) fn hurry(&mut self, now: Time) {
        for want in self.table.values_mut() {
            want.due = now;
        }
    }

    /// The round is decided: nothing of it is wanted any more.
    pub(super) fn clear(&mut self) {
        self.table.clear();
    }

    /// When [`Wants::launch`] has something to do.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.table.values().map(|want| want.due).min()
    }

    /// How many are wanted.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

fn request((owner, seq, digest): (Index, Seq, Digest)) -> (To, LaneMessage) {
    (To::Others, LaneMessage::WantCertificate { owner, seq, digest })
}
