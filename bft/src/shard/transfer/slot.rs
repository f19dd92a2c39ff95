//! One part of another shard that is not yet executed here: its SIGNs, its body, the fetch of it, and whether it may be
//! proposed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wire::ids::{Digest, Index, NodeId, Round, ShardId, Signature};

use super::proof::Held;
use crate::crypto::cert::Certificate;
use crate::crypto::collect::{Collected, Collector};
use crate::crypto::suite::Statement;
use crate::member::Member;
use crate::mutant::{Mutant, in_force};
use crate::part::PartRef;
use crate::time::{Span, Time};

/// How long the own partner's copy may take once f+1 have theirs: an immediate request would move most parts twice.
const FETCH_GRACE: Span = Span::from_ms(100);
/// First wait for an answer: the time of the longest part over a slow link.
const FETCH_WAIT: Span = Span::from_ms(500);
/// Longest wait, after all candidates got a few requests.
const FETCH_WAIT_MAX: Span = Span::from_ms(8_000);

/// Rounds after which the home's backups propose an eligible part too. An honest home's entry is decided within three.
/// Parts are executed in their order, so one that is not listed blocks all its successors, while one that is listed
/// twice costs a few hundred bytes: far less patience than with transactions ([`crate::shard::home`]).
const BACKUP_ROUNDS: u64 = 4;
/// The same where no rounds pass since nothing else is proposed.
const BACKUP_AFTER: Span = Span::from_ms(1_000);
/// The time after which we propose a part again.
const PROPOSE_AGAIN: Span = Span::from_ms(5_000);

/// The state of one number. Bound: one vote and one collector a member.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Slot {
    /// The first SIGN of each member.
    votes: BTreeMap<Index, Digest>,
    collectors: BTreeMap<Digest, Collector>,
    /// The digest that we have signed, once for this number.
    pub signed: Option<(Digest, Signature)>,
    pub held: Option<Arc<Held>>,
    /// A decided block executes this one.
    wanted: Option<Digest>,
    fetch: Option<Fetch>,
    pub eligible: Option<Eligible>,
}

/// A part that may be proposed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Eligible {
    pub part: PartRef,
    pub certificate: Certificate,
    /// The time from which it is eligible, and our height at that time.
    time: Time,
    round: Round,
    proposed: Option<Time>,
    /// When the turn of some member to propose it comes next, unless that time has come.
    alarm: Option<Time>,
}

/// A body that is missing here.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Fetch {
    digest: Digest,
    asked: usize,
    turn: Turn,
}

/// The side whose turn it is in a fetch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Turn {
    /// Ours: to send requests to the next nodes, from this time on.
    Ours(Time),
    /// That of the nodes with a request: to answer before this time.
    Theirs(Time),
}

/// The result of counting a SIGN.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Counted {
    /// The author has signed another part of this number before.
    Equivocation,
    /// Counted, now or before.
    Collected(Collected),
}

impl Slot {
    /// Counts a SIGN for this number.
    pub(super) fn count(
        &mut self,
        member: &Member,
        author: Index,
        part: PartRef,
        signature: Signature,
    ) -> Counted {
        match self.votes.get(&author) {
            Some(first) if *first != part.digest => return Counted::Equivocation,
            Some(_) => return Counted::Collected(Collected::default()),
            None => self.votes.insert(author, part.digest),
        };
        let statement = Statement::Part(part);
        let new = || Collector::new(&member.committee, statement);
        let collector = self.collectors.entry(part.digest).or_insert_with(new);
        Counted::Collected(collector.add(&member.committee, &*member.suite, author, signature))
    }

    /// N−f SIGNs are here.
    pub(super) fn complete(&mut self, now: Time, height: Round, part: PartRef, certificate: Certificate) {
        let alarm = Some(now + BACKUP_AFTER);
        let eligible = Eligible { part, certificate, time: now, round: height, proposed: None, alarm };
        self.eligible.get_or_insert(eligible);
    }

    /// We have listed it in a proposal.
    pub(super) fn proposed(&mut self, now: Time) {
        if let Some(eligible) = &mut self.eligible {
            (eligible.proposed, eligible.alarm) = (Some(now), Some(now + PROPOSE_AGAIN));
        }
    }

    /// When the turn of some member to propose this part comes next.
    pub(super) fn alarm(&self) -> Option<Time> {
        self.eligible.as_ref()?.alarm
    }

    /// That time has come.
    pub(super) fn alarm_rang(&mut self) {
        if let Some(eligible) = &mut self.eligible {
            eligible.alarm = None;
        }
    }

    /// Whether a body for this number is of use.
    pub(super) fn lacks_body(&self) -> bool {
        match (&self.held, self.wanted) {
            (None, _) => true,
            (Some(held), Some(wanted)) => held.part.digest != wanted,
            (Some(_), None) => false,
        }
    }

    /// A verified body has arrived.
    pub(super) fn hold(&mut self, held: Arc<Held>) {
        self.held = Some(held);
        if !self.lacks_body() {
            self.fetch = None;
        }
    }

    /// f+1 members have signed one part, so an honest one holds it: its body is fetched unless it comes by itself.
    pub(super) fn consider_fetch(&mut self, now: Time, one_honest: usize) {
        if self.fetch.is_some() || !self.lacks_body() {
            return;
        }
        let signers = |digest: &Digest| self.votes.values().filter(|signed| *signed == digest).count();
        let vouched = self.collectors.keys().find(|digest| signers(digest) >= one_honest);
        let turn = Turn::Ours(now + FETCH_GRACE);
        self.fetch = vouched.map(|digest| Fetch { digest: *digest, asked: 0, turn });
    }

    /// A decided block executes this part: its body is fetched at once.
    pub(super) fn want(&mut self, now: Time, digest: Digest) {
        if self.wanted != Some(digest) {
            self.wanted = Some(digest);
            self.fetch = self.lacks_body().then_some(Fetch { digest, asked: 0, turn: Turn::Ours(now) });
        }
    }

    /// Whether a decided block waits for it.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.is_some()
    }

    /// The side whose turn it is to act on a missing body.
    pub(super) fn turn(&self) -> Option<Turn> {
        self.fetch.map(|fetch| fetch.turn)
    }

    /// Requests and answers may have been lost.
    pub(super) fn retry_now(&mut self, now: Time) {
        if let Some(fetch) = &mut self.fetch {
            fetch.turn = Turn::Ours(now);
        }
    }

    /// The nodes to request from next, and the digest: one node, then two more, then four, so that f nodes in a row
    /// that do not answer cost log f waits; once all got a request, one at a time, ever more slowly.
    pub(super) fn ask(
        &mut self,
        now: Time,
        member: &Member,
        source: ShardId,
    ) -> Option<(Vec<NodeId>, Digest)> {
        let candidates = self.candidates(member, source);
        let fetch = self.fetch.as_mut()?;
        let laps = fetch.asked / candidates.len();
        let wait = (0..laps).take(8).fold(FETCH_WAIT, |wait, _| wait.doubled(FETCH_WAIT_MAX));
        let is_first_lap = laps == 0 && in_force(Mutant::SecondHolderIsAsked);
        let group = if is_first_lap { (fetch.asked + 1).min(candidates.len() - fetch.asked) } else { 1 };
        let nodes = (0..group).map(|step| candidates[(fetch.asked + step) % candidates.len()]).collect();
        fetch.asked += group;
        fetch.turn = Turn::Theirs(now + wait);
        Some((nodes, fetch.digest))
    }

    /// The nodes that may have the body, the likeliest first: signers, then if a block waits for it the rest of the
    /// shard (members that have executed it keep it for a while), then the source. Each list begins after our own
    /// index, so that not all members request from the same one.
    fn candidates(&self, member: &Member, source: ShardId) -> Vec<NodeId> {
        let n = member.committee.n() as u16;
        let after_us = |step: u16| Index((member.index.0 + step) % n);
        let digest = self.fetch.map(|fetch| fetch.digest);
        let others = (1..n).map(after_us);
        let (signers, rest): (Vec<Index>, Vec<Index>) =
            others.partition(|index| self.votes.get(index).copied() == digest && digest.is_some());
        let rest = if self.is_wanted() { rest } else { Vec::new() };
        let own = signers.into_iter().chain(rest).map(|index| member.node_at(index));
        own.chain((0..n).map(|step| member.committee.node_at(source, after_us(step)))).collect()
    }
}

impl Eligible {
    /// Whether we should list it in our next proposal.
    pub(super) fn is_due(&self, now: Time, height: Round, member: &Member) -> bool {
        if let Some(at) = self.proposed {
            return now.since(at) >= PROPOSE_AGAIN;
        }
        self.home(member) == member.index
            || height.0 - self.round.0 >= BACKUP_ROUNDS
            || now.since(self.time) >= BACKUP_AFTER
    }

    fn home(&self, member: &Member) -> Index {
        let index = self.part.number.0 % member.committee.n() as u64;
        Index(u16::try_from(index).expect("the index is below N"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use wire::committee::Protocol;

    use super::*;
    use crate::crypto::deal::{deal_committee, seeded_entropy};
    use crate::crypto::hash_suite::HashSuite;

    #[test]
    fn a_pass_requests_from_each_candidate_once() {
        let committee = Arc::new(deal_committee(7, 2, Protocol::default(), seeded_entropy(0)).0);
        let suite = Arc::new(HashSuite::new(&committee, NodeId(0), 1));
        let member = Member::new(committee, suite, NodeId(0));
        let mut slot = Slot::default();
        slot.want(Time(0), Digest([1; 32]));
        let groups: Vec<Vec<NodeId>> = (0..4)
            .map(|_| {
                let (Turn::Ours(due) | Turn::Theirs(due)) = slot.turn().expect("a missing body has a turn");
                slot.ask(due, &member, ShardId(1)).expect("a node may have it").0
            })
            .collect();
        assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 4, 6]);
        let asked: BTreeSet<NodeId> = groups.into_iter().flatten().collect();
        assert_eq!(asked.len(), 13, "six others of the shard and seven of the source");
    }
}
