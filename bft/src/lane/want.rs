//! Certificates that a proposed cut needs and that are missing here: requested until they arrive.
//!
//! A member proposes only entries that it knows to be certified, and keeps their certificates. So the first request
//! goes to the proposer of the cut, one message for all missing certificates, and so does one to each further proposer
//! that names the same entry, up to f+1 of them. Usually the certificate is already under way from the lane's owner and
//! arrives meanwhile. If it does not, requests go to the f+1 members after us, then to all members, ever more slowly:
//! nothing depends on the proposer.
//!
//! Cost: a Byzantine proposer can name entries for which no certificate exists. Its SEND then costs each other member
//! one message, to that proposer. However many entries are named, and by however many proposers, the members after us
//! get at most one message every [`GRID`], and so later do all members, with at most [`WANTS_PER_MESSAGE_MAX`] entries.
//! Wants are bounded in number per lane, and the oldest are evicted; each lives for a few tries, and all end with the
//! round.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wire::ids::{Digest, Index, Seq};
use wire::limits::WANTS_PER_MESSAGE_MAX;

use crate::cut::Tip;
use crate::member::Member;
use crate::mutant::{Mutant, in_force};
use crate::retries::Retries;
use crate::time::{Span, Time};

/// First wait for an answer; doubles to [`ANSWER_MAX`].
const ANSWER_MIN: Span = Span::from_ms(200);
const ANSWER_MAX: Span = Span::from_ms(5_000);
/// Requests are repeated at multiples of this, so that those of several cuts go out together.
const GRID: Span = Span::from_ms(25);
/// Requests before a want ends; a round that still needs the certificate enters it anew.
const TRIES_MAX: u32 = 8;

type Key = (Index, Tip);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Want {
    /// Order of arrival: the oldest is evicted first.
    number: u64,
    /// Proposers that named it and got a request. At most f+1.
    proposers: BTreeSet<Index>,
    asked: u32,
    wait: Span,
}

/// The wanted certificates.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Wants {
    per_lane_max: usize,
    count: u64,
    table: BTreeMap<Key, Want>,
    /// By lane, in the order of arrival.
    ages: Vec<BTreeMap<u64, Tip>>,
    dues: Retries<Key>,
    /// Set after a full message: other due requests wait until then.
    paused_until: Time,
}

impl Wants {
    /// Room for two proposals of each of `n` members in each lane.
    pub(super) fn new(n: usize) -> Wants {
        Wants {
            per_lane_max: 2 * n,
            count: 0,
            table: BTreeMap::new(),
            ages: vec![BTreeMap::new(); n],
            dues: Retries::new(ANSWER_MAX),
            paused_until: Time(0),
        }
    }

    /// Enters a want unless it is there; returns whether to request it from this proposer now.
    pub(super) fn add(&mut self, now: Time, proposer: Index, lane: Index, tip: Tip, member: &Member) -> bool {
        let key = (lane, tip);
        let is_new = !self.table.contains_key(&key);
        if is_new {
            self.enter(now, key);
        }
        let want = self.table.get_mut(&key).expect("it was entered if it was not there");
        let has_room = want.proposers.len() < member.committee.one_honest();
        in_force(Mutant::WantsGoToProposer)
            && proposer != member.index
            && has_room
            && want.proposers.insert(proposer)
    }

    fn enter(&mut self, now: Time, key: Key) {
        let (lane, tip) = key;
        let ages = &self.ages[usize::from(lane.0)];
        if ages.len() >= self.per_lane_max
            && let Some((_, oldest)) = ages.first_key_value()
        {
            self.remove((lane, *oldest));
        }
        self.count += 1;
        let due = if in_force(Mutant::WantsGoToProposer) { on_grid(now + ANSWER_MIN) } else { now };
        let want = Want { number: self.count, proposers: BTreeSet::new(), asked: 1, wait: ANSWER_MIN };
        self.table.insert(key, want);
        self.ages[usize::from(lane.0)].insert(self.count, tip);
        self.dues.start(key, due, ANSWER_MIN);
    }

    fn remove(&mut self, key: Key) {
        if let Some(want) = self.table.remove(&key) {
            self.ages[usize::from(key.0.0)].remove(&want.number);
            self.dues.stop(&key);
        }
    }

    /// A certificate for this position is known: all wants there end, since no second one can exist.
    pub(super) fn answered(&mut self, lane: Index, seq: Seq) {
        let tip = |byte: u8| Tip { seq, digest: Digest([byte; 32]) };
        let position = (lane, tip(0))..=(lane, tip(0xFF));
        while let Some((key, _)) = self.table.range(position.clone()).next() {
            self.remove(*key);
        }
    }

    /// The due requests: the members they go to, and the entries they name.
    pub(super) fn launch(&mut self, now: Time, member: &Member) -> Vec<(BTreeSet<Index>, Vec<Key>)> {
        let (mut few, mut all) = (Vec::new(), Vec::new());
        while self.next_due().is_some_and(|due| due <= now)
            && let Some(key) = self.dues.next(now)
        {
            let want = self.table.get_mut(&key).expect("a due key is in the table");
            if want.asked >= TRIES_MAX {
                self.remove(key);
                continue;
            }
            let wave = if want.asked == 1 { &mut few } else { &mut all };
            wave.push(key);
            want.asked += 1;
            want.wait = want.wait.doubled(ANSWER_MAX);
            self.dues.start(key, on_grid(now + want.wait), want.wait);
            if wave.len() == WANTS_PER_MESSAGE_MAX {
                self.paused_until = on_grid(now + GRID);
            }
        }
        let n = member.committee.n() as u16;
        let after_us = |count: usize| -> BTreeSet<Index> {
            (1..=count as u16).map(|step| Index((member.index.0 + step) % n)).collect()
        };
        let one_honest = member.committee.one_honest().min(usize::from(n) - 1);
        if !in_force(Mutant::WantsGoToProposer) {
            return few.into_iter().chain(all).map(|key| (after_us(usize::from(n) - 1), vec![key])).collect();
        }
        let waves = [(after_us(one_honest), few), (after_us(usize::from(n) - 1), all)];
        let waves = waves.into_iter().filter(|(_, wave)| !wave.is_empty());
        waves
            .map(|(asked, mut wave)| {
                wave.sort_unstable();
                (asked, wave)
            })
            .collect()
    }

    /// Requests and answers may have been lost: everything is due at once.
    pub(super) fn retry_now(&mut self, now: Time) {
        self.dues.retry_now(now);
    }

    /// The round is decided: all wants end.
    pub(super) fn clear(&mut self) {
        self.table.clear();
        self.dues.clear();
        self.ages.iter_mut().for_each(BTreeMap::clear);
    }

    /// When [`Wants::launch`] is due.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.dues.due().map(|due| due.max(self.paused_until))
    }

    /// The number of wants.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

fn on_grid(time: Time) -> Time {
    Time(time.0.div_ceil(GRID.0) * GRID.0)
}
