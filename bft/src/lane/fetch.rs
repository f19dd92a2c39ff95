//! Fetching missing bodies: which members to ask, and when to ask the next ones.
//!
//! Guarantee: a body that is certified or decided arrives once messages do, since at least N−2f ≥ f+1 of the
//! certificate's signers are honest and hold it. Steps: a little patience, for the body may be under way from its
//! owner; then the signers of the certificate, starting at a different one for each member and place, so that load
//! spreads: one signer, after a wait two more, then four, and so on; then all members; and again, ever more slowly. So
//! f signers in a row that do not answer cost log f waits (1.8 s at N = 128), and a body arrives more than once only if
//! an answer takes longer than the wait for it. A body that only its owner vouches for is requested from the owner
//! alone, a few times: nothing is lost if it never arrives.
//!
//! The table holds what the lanes report as missing ([`Fetches::follow`]), so it is bounded by their reach.

use std::collections::{BTreeMap, BTreeSet};

use wire::dest::Dest;
use wire::ids::{Digest, Index, Seq};

use super::chain::{Cause, Chain, Need};
use super::{Bodies, LaneMessage};
use crate::member::Member;
use crate::mutant::{Mutant, in_force};
use crate::time::{Span, Time};

/// How long a decided body may still be under way from its owner before it is asked for.
const PATIENCE_DECIDED: Span = Span::from_ms(50);
/// The same for a body that no block needs yet.
const PATIENCE_UNDECIDED: Span = Span::from_ms(200);
/// Wait for an answer of the first member before two more are asked: longer than most round trips.
const ANSWER_FIRST: Span = Span::from_ms(200);
/// Wait after each further group. With the first wait it adds up to the longest emulated round trip, 600 ms.
const ANSWER_NEXT: Span = Span::from_ms(400);
/// Longest wait for the owner of a body that nobody else vouches for.
const ANSWER_CLAIMED_MAX: Span = Span::from_ms(1_000);
/// Wait after all were asked; doubles to [`PASS_MAX`] from pass to pass.
const PASS_MIN: Span = Span::from_ms(2_000);
const PASS_MAX: Span = Span::from_ms(10_000);
/// A transfer is given this long for each MiB on top, a link of 16 MiB/s.
const PER_MIB: Span = Span(62_500);
/// Requests to one member that may be unanswered at once: some round trips' worth of small entries, and few enough
/// that large ones do not fill its outbox.
const ASKED_OF_ONE_MAX: usize = 8;
/// When all candidates have that many, look again after this, or once one of them has answered.
const BUSY: Span = Span::from_ms(20);
/// How often an owner is asked for a body that nobody else vouches for.
const CLAIMED_TRIES_MAX: u32 = 6;

#[derive(Clone, Debug)]
struct Fetch {
    digest: Digest,
    cause: Cause,
    bytes: Option<u64>,
    /// Members asked in this pass.
    asked: u32,
    /// Wait at the end of this pass.
    pass: Span,
    /// The members that are to answer before `due`; empty if all were asked.
    awaiting: Vec<Index>,
    /// When to ask next; `None` once it was given up.
    due: Option<Time>,
}

/// The outcome of a due request.
enum Asked {
    /// These members are asked.
    Of(Dest),
    /// Every candidate has as many unanswered requests as it may have.
    Busy,
    /// It was asked for often enough.
    GivenUp,
}

/// The bodies being fetched, of all lanes.
#[derive(Clone, Debug, Default)]
pub(super) struct Fetches {
    table: BTreeMap<(Index, Seq), Fetch>,
    /// Those that wait until a member has answered another request; a part of the table.
    blocked: BTreeSet<(Index, Seq)>,
}

impl Fetches {
    /// Makes the table match what `lane` lacks now: new needs enter and satisfied ones leave. One that has become
    /// decided goes on with the holders that were asked; one that only its owner vouched for starts over with others.
    pub(super) fn follow(&mut self, now: Time, lane: Index, needs: &[Need], bodies: Bodies) {
        let ours = (lane, Seq(0))..=(lane, Seq(u64::MAX));
        if needs.is_empty() && self.table.range(ours.clone()).next().is_none() {
            return;
        }
        let highest_decided = self
            .table
            .range(ours)
            .rev()
            .find(|(_, fetch)| fetch.cause == Cause::Decided)
            .map(|((_, seq), _)| *seq);
        self.drop_satisfied(now, lane, needs);
        for need in needs {
            let known = self.table.get_mut(&(lane, need.seq));
            if known.as_ref().is_some_and(|fetch| fetch.cause <= need.cause) {
                continue;
            }
            let patience = match need.cause {
                _ if need.bytes.is_some() => Span(0),
                // A successor was missing too and was waited for: this one is not under way either.
                Cause::Decided if Some(need.seq) < highest_decided || bodies == Bodies::Missed => Span(0),
                Cause::Decided => PATIENCE_DECIDED,
                Cause::Certified | Cause::Claimed => PATIENCE_UNDECIDED,
            };
            if let Some(fetch) = known.filter(|fetch| fetch.cause == Cause::Certified) {
                fetch.cause = need.cause;
                if fetch.asked == 0 {
                    fetch.due = fetch.due.map(|due| due.min(now + patience));
                }
                continue;
            }
            let fetch = Fetch {
                digest: need.digest,
                cause: need.cause,
                bytes: need.bytes,
                asked: 0,
                pass: PASS_MIN,
                awaiting: Vec::new(),
                due: Some(now + patience),
            };
            self.blocked.remove(&(lane, need.seq));
            self.table.insert((lane, need.seq), fetch);
        }
    }

    /// Drops what `lane` no longer needs. Other lanes' fetches are not looked at.
    fn drop_satisfied(&mut self, now: Time, lane: Index, needs: &[Need]) {
        let is_needed =
            |seq: Seq, fetch: &Fetch| needs.iter().any(|need| need.seq == seq && need.digest == fetch.digest);
        let ours = self.table.range((lane, Seq(0))..=(lane, Seq(u64::MAX)));
        let satisfied = ours.filter(|((_, seq), fetch)| !is_needed(*seq, fetch)).map(|(place, _)| *place);
        let mut answered = 0;
        for place in satisfied.collect::<Vec<_>>() {
            let fetch = self.table.remove(&place).expect("it was just found");
            answered += fetch.awaiting.len();
            self.blocked.remove(&place);
        }
        self.unblock(now, answered);
    }

    /// Asks for all that is due.
    pub(super) fn launch(
        &mut self,
        now: Time,
        member: &Member,
        chains: &[Chain],
    ) -> Vec<(Dest, LaneMessage)> {
        let due: Vec<(Index, Seq)> = self
            .table
            .iter()
            .filter(|(_, fetch)| fetch.due.is_some_and(|due| due <= now))
            .map(|(place, _)| *place)
            .collect();
        if due.is_empty() {
            return Vec::new();
        }
        let mut load: BTreeMap<Index, usize> = BTreeMap::new();
        for fetch in self.table.values().filter(|fetch| fetch.due.is_some_and(|due| due > now)) {
            fetch.awaiting.iter().for_each(|asked| *load.entry(*asked).or_default() += 1);
        }
        let mut sends = Vec::new();
        for (lane, seq) in due {
            let fetch = self.table.get_mut(&(lane, seq)).expect("it was just listed");
            let candidates = candidates(member, &chains[usize::from(lane.0)], lane, seq, fetch.cause);
            match fetch.ask(now, member, &candidates, &mut load) {
                Asked::Of(dest) => {
                    self.blocked.remove(&(lane, seq));
                    sends.push((dest, LaneMessage::WantEntry { owner: lane, seq, digest: fetch.digest }));
                }
                Asked::Busy => drop(self.blocked.insert((lane, seq))),
                Asked::GivenUp => {}
            }
        }
        sends
    }

    /// So many requests were answered: makes one blocked fetch due for each. Whoever answered may not hold that one;
    /// then it waits for [`BUSY`] like the others.
    fn unblock(&mut self, now: Time, answered: usize) {
        for _ in 0..answered {
            let Some(place) = self.blocked.pop_first() else { return };
            let fetch = self.table.get_mut(&place).expect("what waits is in the table");
            fetch.due = Some(now);
        }
    }

    /// Requests and answers may have been lost: everything is due again at once.
    pub(super) fn retry_now(&mut self, now: Time) {
        for fetch in self.table.values_mut() {
            fetch.asked = 0;
            fetch.awaiting.clear();
            fetch.due = Some(now);
        }
    }

    /// When [`Fetches::launch`] has something to do.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.table.values().filter_map(|fetch| fetch.due).min()
    }

    /// How many bodies are being fetched or were given up.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

impl Fetch {
    /// Chooses the members to ask now, if any, and sets the next due time.
    fn ask(
        &mut self,
        now: Time,
        member: &Member,
        candidates: &[Index],
        load: &mut BTreeMap<Index, usize>,
    ) -> Asked {
        self.awaiting.clear();
        if self.cause == Cause::Claimed && self.asked == CLAIMED_TRIES_MAX {
            self.due = None;
            return Asked::GivenUp;
        }
        let transfer = Span((self.bytes.unwrap_or(0) * PER_MIB.0) >> 20);
        let turn = self.asked as usize;
        if self.cause != Cause::Claimed && turn >= candidates.len() {
            self.due = Some(now + self.pass + transfer);
            self.pass = self.pass.doubled(PASS_MAX);
            self.asked = 0;
            return Asked::Of(Dest::ShardOthers);
        }
        // 1, 2, 4 and so on: one more than were asked before.
        let group =
            if self.cause == Cause::Claimed || !in_force(Mutant::SecondHolderIsAsked) { 1 } else { turn + 1 };
        let group = group.min(candidates.len().saturating_sub(turn).max(1));
        self.awaiting = (0..candidates.len())
            .map(|step| candidates[(turn + step) % candidates.len()])
            .filter(|candidate| load.get(candidate).is_none_or(|asked| *asked < ASKED_OF_ONE_MAX))
            .take(group)
            .collect();
        if self.awaiting.is_empty() {
            self.due = Some(now + BUSY);
            return Asked::Busy;
        }
        self.awaiting.iter().for_each(|asked| *load.entry(*asked).or_default() += 1);
        let wait = match self.cause {
            Cause::Claimed => Span(ANSWER_FIRST.0 << self.asked.min(8)).min(ANSWER_CLAIMED_MAX),
            _ if self.asked == 0 => ANSWER_FIRST,
            _ => ANSWER_NEXT,
        };
        self.asked += self.awaiting.len() as u32;
        self.due = Some(now + wait + transfer);
        let nodes = self.awaiting.iter().map(|asked| member.node_at(*asked));
        Asked::Of(Dest::Set(nodes.collect()))
    }
}

/// The members that may hold a body, in the order in which we ask.
fn candidates(member: &Member, chain: &Chain, lane: Index, seq: Seq, cause: Cause) -> Vec<Index> {
    if cause == Cause::Claimed {
        return vec![lane];
    }
    let mut holders: Vec<Index> = match chain.signers(seq) {
        Some(certificate) => certificate.signers().collect(),
        None => member.committee.indices().collect(),
    };
    holders.retain(|holder| *holder != member.index);
    if !holders.is_empty() {
        let start = (u64::from(member.index.0) + seq.0) % holders.len() as u64;
        holders.rotate_left(start as usize);
    }
    holders
}
