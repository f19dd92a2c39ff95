//! The choice of requests during catch-up: the peer, the range of rounds, and the time.
//!
//! Peers claim decided rounds, in pings and by their messages. A member that sees a peer ahead and makes no progress
//! for 500 ms begins to send requests: each peer that is ahead gets, in turn, one for the next range that was not
//! requested, and at most one at a time. A range that is not answered within 500 ms, or long after a later one, is
//! requested from another peer; a late answer still counts. While all four ranges are answered but unused, because
//! execution waits for lane entries, the member requests round 0 from every peer, after 500 ms and then every 10 s. No
//! proof of it exists: the answer reports the first round that the sender still serves. So, at any N, the member finds
//! out that nobody has those entries any more.
//!
//! # Security
//! A peer can claim rounds that do not exist. Such a claim only costs us requests to that peer: one after the first 500
//! ms and, while its answers do not help, further ones after pauses that double to [`PAUSE_MAX`]. A peer whose last
//! answer did not help counts as not ahead, so it delays nothing. Once we have decided the round that it claimed, the
//! claim was true, and the peer is trusted again. A peer that answers with a false proof gets no further request. One
//! that claims to serve what it does not serve can suppress the report that history is lost; nothing else depends on
//! that claim.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use wire::committee::Committee;
use wire::ids::{Index, Round};

use crate::mutant::{Mutant, in_force};
use crate::mvba::Halt;
use crate::round::catch_up::{Answer, CATCH_UP_ROUNDS_MAX, RANGES_MAX};
use crate::serving::Limiter;
use crate::time::{Span, Time};

/// How long a member that sees a peer ahead waits for HALTs, which are probably under way, and then for an answer.
const PATIENCE: Span = Span::from_ms(500);
/// How much longer it waits for an answer once a later request was answered.
const OVERTAKEN: Span = Span::from_ms(100);
/// Longest pause before the next request to a peer whose answers do not help.
const PAUSE_MAX: Span = Span::from_ms(10_000);
/// Requested only to learn from which round on a peer serves.
pub(super) const NO_ROUND: Round = Round(0);
/// Shortest time between two requests to one peer, which answers 2,048 rounds a second and so has a full range by then.
const ASK_INTERVAL: Span = Span::from_ms(20);

/// Claims of peers about decided rounds, and our requests to them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Behind {
    claims: BTreeMap<Index, Claim>,
    /// When the next request is due, while a peer is ahead.
    due: Option<Time>,
    /// The peer of the last request, so that the next request goes to another one if the answer does not come.
    asked: Option<Index>,
    /// When to ask all peers what they serve, while all four ranges are answered but unused.
    inquire_at: Time,
    lag: Lag,
    /// By their first rounds. At most [`RANGES_MAX`].
    ranges: BTreeMap<Round, Range>,
    /// Peers that have not answered yet, and the first round of the request: only an answer to it is accepted.
    unanswered: BTreeMap<Index, Round>,
    sent_again: Limiter,
}

/// A peer's claim of decided rounds, and whether requests to it have helped.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Claim {
    decided: Round,
    /// Set while the last request to it has not helped: the time of the next request, and the pause that ends then.
    paused: Option<(Time, Span)>,
    /// The time from which it may get another request.
    ready_at: Time,
    /// The first round that it claims to serve.
    served_from: Round,
}

/// Consecutive rounds requested from a peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Range {
    /// Requested; the answer is awaited until then.
    Asked { until: Time },
    /// Answered: at most [`CATCH_UP_ROUNDS_MAX`] HALTs, ascending, not judged yet.
    Here { author: Index, halts: VecDeque<Halt> },
}

/// Whether we may have missed messages of the running round.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
enum Lag {
    #[default]
    None,
    /// It is possible: a peer proved that it was ahead of us.
    Proven,
}

/// The next request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NextAsk {
    /// To a peer that is ahead, for the rounds from this one on.
    One(Index, Round),
    /// To all members, for the rounds from this one on: no peer that is ahead is trusted, or all four ranges are
    /// answered but unused.
    All(Round),
    /// None is due.
    None,
}

impl Behind {
    /// A peer claims to have decided up to `decided`; we have decided up to `own`.
    pub(super) fn learn(&mut self, now: Time, author: Index, decided: Round, own: Round) {
        let claim = self.claims.entry(author).or_default();
        claim.decided = decided.max(claim.decided);
        if decided > own {
            let at = claim.paused.map_or(now + PATIENCE, |(until, _)| until);
            self.due = Some(self.due.map_or(at, |due| due.min(at)));
        }
    }

    /// Drops the claim of this peer.
    pub(super) fn forget(&mut self, author: Index) {
        self.claims.remove(&author);
    }

    /// The highest round that f+1 claims prove some honest peer has decided.
    pub(super) fn proven(&self, committee: &Committee) -> Round {
        let mut decided: Vec<Round> = self.claims.values().map(|claim| claim.decided).collect();
        decided.sort_unstable_by(|one, other| other.cmp(one));
        decided.get(committee.one_honest() - 1).copied().unwrap_or_default()
    }

    /// If no peer that is ahead of `own` can serve round `needed` any more: the first round that one still serves.
    ///
    /// N−f−1 peers must say so: all honest ones, if f others are silent. Until a peer that was asked has had its time
    /// to answer, or while one has said that it serves the round, there is hope.
    pub(super) fn served_from(&self, needed: Round, own: Round, committee: &Committee) -> Option<Round> {
        let ahead = || self.ahead(own.min(Round(needed.0 - 1)));
        let mut later: Vec<Round> =
            ahead().map(|(_, claim)| claim.served_from).filter(|from| *from > needed).collect();
        later.sort_unstable();
        let may_help = |claim: &Claim| match claim.paused {
            Some((_, pause)) => pause <= PATIENCE && claim.served_from <= needed,
            None => (Round(1)..=needed).contains(&claim.served_from),
        };
        let may_help = ahead().any(|(_, claim)| may_help(claim));
        if may_help || later.len() + 1 < committee.quorum() { None } else { later.first().copied() }
    }

    /// An answer of this peer to a request for rounds from `from` on. Returns whether it was awaited and brought any.
    pub(super) fn answered(&mut self, now: Time, author: Index, answer: Answer, own: Round) -> bool {
        let Answer { from, halts, served_from } = answer;
        if self.unanswered.get(&author) != Some(&from) {
            return false;
        }
        self.unanswered.remove(&author);
        let halts: VecDeque<Halt> = halts.into_iter().filter(|halt| halt.round > own).collect();
        let is_of_use = !halts.is_empty();
        if let Some(claim) = self.claims.get_mut(&author) {
            claim.served_from = served_from;
            claim.paused = claim.paused.filter(|_| !is_of_use);
        }
        match self.ranges.get(&from) {
            Some(Range::Here { .. }) => {}
            _ if is_of_use => drop(self.ranges.insert(from, Range::Here { author, halts })),
            _ => drop(self.ranges.remove(&from)),
        }
        if self.ranges.len() > RANGES_MAX {
            self.ranges.pop_last();
        }
        // A peer that got an earlier request and has not answered yet is slow.
        for (_, range) in self.ranges.range_mut(..from) {
            if let Range::Asked { until } = range {
                *until = (*until).min(now + OVERTAKEN);
            }
        }
        if is_of_use {
            self.inquire_at = now + PATIENCE;
        }
        self.due = self.schedule(now, own);
        is_of_use
    }

    /// Whether f+1 members, one of them honest, serve the round `needed` no more.
    pub(super) fn is_lost(&self, needed: Round, committee: &Committee) -> bool {
        let later = self.claims.values().filter(|claim| claim.served_from > needed);
        later.count() >= committee.one_honest()
    }

    /// We have jumped over rounds: what was requested is of no use, and we lack what the running round has sent.
    pub(super) fn jumped(&mut self) {
        self.ranges.clear();
        self.unanswered.clear();
        self.lag = Lag::Proven;
        self.claims.values_mut().for_each(|claim| claim.paused = None);
    }

    /// The HALT of the round after `own`, if it is here, and its sender. HALTs of earlier rounds are dropped.
    pub(super) fn next_halt(&mut self, own: Round) -> Option<(Index, Halt)> {
        while let Some(mut first) = self.ranges.first_entry() {
            let from = *first.key();
            let Range::Here { author, halts } = first.get_mut() else {
                // Either it is the next one that we need, or all of its rounds are decided.
                if from.0 + CATCH_UP_ROUNDS_MAX as u64 > own.next().0 {
                    return None;
                }
                first.remove();
                continue;
            };
            let author = *author;
            if halts.front().is_some_and(|halt| halt.round > own.next()) {
                return None;
            }
            let halt = halts.pop_front();
            if halts.is_empty() {
                first.remove();
            }
            if let Some(halt) = halt.filter(|halt| halt.round > own) {
                return Some((author, halt));
            }
        }
        None
    }

    /// This peer's proof was false: its other answers are dropped.
    pub(super) fn drop_ranges_of(&mut self, now: Time, author: Index, own: Round) {
        let is_of_others = |range: &Range| match range {
            Range::Here { author: sender, .. } => *sender != author,
            Range::Asked { .. } => true,
        };
        self.ranges.retain(|_, range| is_of_others(range));
        self.due = self.schedule(now, own);
    }

    /// A proof of this peer has advanced us to `own`.
    pub(super) fn helped(&mut self, now: Time, author: Index, own: Round) {
        self.lag = Lag::Proven;
        if let Some(claim) = self.claims.get_mut(&author) {
            claim.paused = None;
        }
        self.due = self.schedule(now, own);
    }

    /// We have decided one more round.
    pub(super) fn progressed(&mut self, now: Time, own: Round) {
        self.inquire_at = now + PATIENCE;
        for claim in self.claims.values_mut().filter(|claim| claim.decided <= own) {
            if claim.paused.take().is_some() {
                self.lag = Lag::Proven;
            }
        }
        if self.is_catching_up() {
            self.due = self.schedule(now, own);
            return;
        }
        let waits = self.lag == Lag::Proven || self.ahead(own).any(|(_, claim)| claim.paused.is_none());
        self.due = if waits { Some(now + PATIENCE) } else { self.end_of_pause(now, own) };
    }

    /// Answers may be lost with a process of our own. So those that have not come are requested anew, and no peer waits
    /// for the end of a pause that it may not have earned.
    pub(super) fn retry_now(&mut self, now: Time, own: Round) {
        self.ranges.retain(|_, range| matches!(range, Range::Here { .. }));
        self.claims.values_mut().for_each(|claim| claim.paused = None);
        self.due = self.schedule(now, own);
    }

    /// Whether ranges are under way or kept.
    pub(super) fn is_catching_up(&self) -> bool {
        !self.ranges.is_empty()
    }

    /// When the next request is due.
    pub(super) fn due(&self) -> Option<Time> {
        self.due
    }

    /// When the next request of a running catch-up is due: once a peer may get a request for a further range, or an
    /// answer is late.
    fn schedule(&self, now: Time, own: Round) -> Option<Time> {
        let late = self.ranges.values().filter_map(|range| match range {
            Range::Asked { until } => Some(*until),
            Range::Here { .. } => None,
        });
        let from = self.next_range(own);
        let has_room = self.ranges.len() < RANGES_MAX;
        let trusted = self.ahead(Round(from.0 - 1)).filter(|(_, claim)| has_room && claim.paused.is_none());
        let ready = trusted.map(|(_, claim)| claim.ready_at.max(now));
        // With no range under way and no peer to trust we have caught up, or only paused peers are left.
        late.chain(ready).min().or_else(|| match self.ranges.len() {
            0 if self.lag == Lag::Proven => Some(now),
            RANGES_MAX => Some(self.inquire_at.max(now)),
            _ => self.end_of_pause(now, own),
        })
    }

    /// The first round after `own` that no range covers.
    fn next_range(&self, own: Round) -> Round {
        let mut next = own.next();
        for (from, range) in &self.ranges {
            if *from > next {
                break;
            }
            let end = match range {
                Range::Asked { .. } => from.0 + CATCH_UP_ROUNDS_MAX as u64,
                Range::Here { halts, .. } => halts.back().map_or(0, |halt| halt.round.0 + 1),
            };
            next = next.max(Round(end));
        }
        next
    }

    /// Chooses the next request: to the next peer, in turn, of those that have the next range and are not paused; if
    /// nothing is under way or kept, no peer is trusted and we were behind, to all members; else, if nothing is under
    /// way, to one whose pause is over.
    /// Call until there is none.
    pub(super) fn next_ask(&mut self, now: Time, own: Round) -> NextAsk {
        self.ranges.retain(|_, range| !matches!(range, Range::Asked { until } if *until <= now));
        let from = self.next_range(own);
        let before = Round(from.0 - 1);
        let is_trusted = |claim: &Claim| claim.paused.is_none();
        let has_room = self.ranges.len() < RANGES_MAX;
        let trusted = self.in_turn(before, |claim| has_room && is_trusted(claim) && claim.ready_at <= now);
        let somebody_is = self.ahead(own).any(|(_, claim)| is_trusted(claim));
        if self.ranges.is_empty() && !somebody_is && self.lag == Lag::Proven {
            self.lag = Lag::None;
            self.due = self.end_of_pause(now, own);
            return NextAsk::All(own.next());
        }
        let is_idle = has_room && self.is_nothing_under_way();
        let is_over = |claim: &Claim| claim.paused.is_some_and(|(until, _)| until <= now);
        let Some(author) = trusted.or_else(|| self.in_turn(before, |claim| is_idle && is_over(claim))) else {
            if self.is_stalled() && now >= self.inquire_at {
                self.inquire_at = now + PAUSE_MAX;
                self.due = self.schedule(now, own);
                return NextAsk::All(NO_ROUND);
            }
            let later = self.schedule(now, own);
            self.due = later.map(|due| if due > now { due } else { now + PATIENCE });
            return NextAsk::None;
        };
        let claim = self.claims.get_mut(&author).expect("its author has a claim");
        let longer =
            |pause: Span| if in_force(Mutant::ClaimsPause) { pause.doubled(PAUSE_MAX) } else { pause };
        let pause = claim.paused.map_or(PATIENCE, |(_, pause)| longer(pause));
        claim.paused = Some((now + pause, pause));
        claim.ready_at = now + ASK_INTERVAL;
        self.asked = Some(author);
        self.unanswered.insert(author, from);
        self.ranges.insert(from, Range::Asked { until: now + PATIENCE });
        NextAsk::One(author, from)
    }

    fn is_nothing_under_way(&self) -> bool {
        self.ranges.values().all(|range| matches!(range, Range::Here { .. }))
    }

    /// Whether all four ranges are answered but unused.
    fn is_stalled(&self) -> bool {
        self.ranges.len() == RANGES_MAX && self.is_nothing_under_way()
    }

    fn ahead(&self, own: Round) -> impl Iterator<Item = (Index, &Claim)> {
        let claims = self.claims.iter().map(|(author, claim)| (*author, claim));
        claims.filter(move |(_, claim)| claim.decided > own)
    }

    /// The first eligible peer ahead of `own`, in turn after the one of the last request.
    fn in_turn(&self, own: Round, is_eligible: impl Fn(&Claim) -> bool) -> Option<Index> {
        let eligible = || self.ahead(own).filter(|(_, claim)| is_eligible(claim)).map(|(author, _)| author);
        let next = eligible().find(|author| self.asked.is_none_or(|asked| *author > asked));
        next.or_else(|| eligible().next())
    }

    /// When the first pause of a peer ahead of `own` ends; if that is past, a later time.
    fn end_of_pause(&self, now: Time, own: Round) -> Option<Time> {
        let ends = self.ahead(own).filter_map(|(_, claim)| Some(claim.paused?.0));
        ends.min().map(|end| if end > now { end } else { now + PATIENCE })
    }

    /// The request for the rounds from `from` on goes to all members. Those that have left the last question for what
    /// they serve unanswered are paused for long: there is no hope in them.
    pub(super) fn asked_all(&mut self, now: Time, members: impl Iterator<Item = Index>, from: Round) {
        for member in members {
            let unanswered = self.unanswered.insert(member, from);
            if from == NO_ROUND
                && unanswered == Some(NO_ROUND)
                && let Some(claim) = self.claims.get_mut(&member)
            {
                claim.paused = Some((now + PAUSE_MAX, PAUSE_MAX));
            }
        }
    }

    /// Whether all of the running round may be sent to this peer again now. It sends requests no oftener than it has
    /// patience.
    pub(super) fn may_send_again(&mut self, now: Time, author: Index) -> bool {
        self.sent_again.may_every(now, author, PATIENCE)
    }
}

#[cfg(test)]
mod tests;
