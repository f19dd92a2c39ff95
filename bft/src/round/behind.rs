//! Catching up: a member that sees a peer ahead and makes no progress for 500 ms asks it for proofs of what it has
//! decided.
//!
//! An answer holds the HALTs of at most [`CATCH_UP_ROUNDS_MAX`] rounds in order; each is judged against the cut of the
//! one before, as far as decided rounds may run ahead of executed ones. A member that is still behind asks the next
//! peer in turn once it has executed all but half of that window, so that each answer is of use, and not the same peer
//! within 30 ms, since none answers twice within 20. One that has caught up asks all peers once more, and they send
//! their messages of the running round again.
//!
//! # Security
//! A peer can claim rounds that do not exist. Such a claim only costs us requests to that peer: one after the first
//! 500 ms and, while its answers do not help, further ones after pauses that double to [`PAUSE_MAX`]. A peer whose last
//! answer did not help counts as not ahead, so it holds up nothing. Once we have decided the round that it claimed, the
//! claim was true, and the peer is trusted again. A peer that answers with a false proof is not asked any more.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wire::ids::{Index, NodeId, Round};

use crate::effects::To;
use crate::fault::FaultKind;
use crate::mutant::{Mutant, in_force};
use crate::mvba::{Halt, LaneCertificates};
use crate::round::halts::HaltSource;
use crate::round::resend::Limiter;
use crate::round::{RoundEffects, RoundMessage, Rounds};
use crate::time::{Span, Time};

/// HALTs in one answer. At N = 128 a HALT has 19 KB.
pub const CATCH_UP_ROUNDS_MAX: usize = 32;

/// How long a member that sees a peer ahead waits for HALTs, which are probably under way.
const PATIENCE: Span = Span::from_ms(500);
/// Longest pause before a peer whose answers do not help is asked again.
const PAUSE_MAX: Span = Span::from_ms(10_000);
/// Shortest time between two answers to one peer: at N = 128 one member can draw at most 30 MB/s of HALTs from us.
const ANSWER_INTERVAL: Span = Span::from_ms(20);
/// Shortest time between two requests to one peer after answers that help. Longer than [`ANSWER_INTERVAL`], since a
/// request that comes a moment too early goes unanswered. From three peers that is 800 rounds a second and more, which
/// catches up with a running shard.
const ASK_INTERVAL: Span = Span::from_ms(30);

/// Messages between members that are behind and members that are ahead.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CatchUpMessage {
    /// Requests the decisions from this round on.
    Ask {
        /// The first round wanted.
        from: Round,
    },
    /// The answer: proofs of consecutive rounds.
    Halts(Vec<Halt>),
}

impl Rounds {
    /// A member requests the decisions from round `from` on.
    pub(super) fn on_ask(&mut self, now: Time, author: Index, from: Round, effects: &mut RoundEffects) {
        if !self.behind.may_answer(now, author) {
            return;
        }
        let peer = self.member.node_at(author);
        let halts = self.history.range(from..).take(CATCH_UP_ROUNDS_MAX);
        let halts: Vec<Halt> = halts.map(|(_, halt)| halt.clone()).collect();
        if halts.first().is_some_and(|halt| halt.round == from) {
            effects.push_send(To::Member(peer), RoundMessage::CatchUp(CatchUpMessage::Halts(halts)));
        } else if from == self.decided.next() && self.behind.may_send_again(now, author) {
            // The asker has decided as much as we have: it can only lack messages of the running round.
            effects.sends.extend(self.sent_to(peer));
        } else if from > self.decided.next() {
            self.peer_decided(now, author, Round(from.0 - 1));
        }
    }

    /// An answer has arrived. One that we do not wait for is dropped without blame: we may ask twice before the first
    /// answer comes, and then get two.
    pub(super) fn on_halts(
        &mut self,
        now: Time,
        author: Index,
        halts: Vec<Halt>,
        lanes: &dyn LaneCertificates,
        effects: &mut RoundEffects,
    ) {
        let committee = &self.member.committee;
        if halts.len() > CATCH_UP_ROUNDS_MAX || !halts.iter().all(|halt| halt.has_shape(committee)) {
            effects.push_fault(self.member.node_at(author), FaultKind::OutOfRange);
            return;
        }
        if !self.behind.is_answer(author) {
            return;
        }
        let before = self.decided;
        for halt in halts {
            let wanted = halt.round == self.decided.next() && self.may_run_ahead();
            if wanted && !self.judge_halt(now, author, halt, HaltSource::CatchUp, lanes, effects) {
                return;
            }
        }
        // After an answer that did not help, the timer decides when to ask next; after one that helped, execution does.
        if self.decided > before {
            self.behind.helped(now, author, self.decided);
            self.ask_if_due(now, effects);
        }
    }

    /// Asks if the timer is due.
    pub(super) fn ask_if_due(&mut self, now: Time, effects: &mut RoundEffects) {
        if self.behind.due().is_some_and(|due| due <= now) {
            self.ask_if_behind(now, effects);
        }
    }

    /// Asks a peer that is ahead of us; or, having caught up, all peers for their messages of the running round. Does
    /// nothing while decided rounds must be executed first; the timer stands still meanwhile.
    fn ask_if_behind(&mut self, now: Time, effects: &mut RoundEffects) {
        if !self.may_ask() {
            return;
        }
        let ask = RoundMessage::CatchUp(CatchUpMessage::Ask { from: self.decided.next() });
        match self.behind.next_ask(now, self.decided) {
            NextAsk::One(author) => effects.push_send(To::Member(self.member.node_at(author)), ask),
            NextAsk::All => {
                let barred = &self.barred;
                let others = self.member.committee.indices().filter(|index| !barred.contains(index));
                self.behind.asked_all(others);
                effects.push_send(To::Others, ask);
            }
            NextAsk::None => {}
        }
    }

    /// A member has sent a message of a decided round: answers with the proof of its decision.
    pub(super) fn answer_with_halt(
        &mut self,
        now: Time,
        author: Index,
        round: Round,
        effects: &mut RoundEffects,
    ) {
        if author == self.member.index || !self.answers.may(now, author) {
            return;
        }
        if let Some(halt) = self.history.get(&round) {
            let to = To::Member(self.member.node_at(author));
            effects.push_send(to, RoundMessage::Halt(Box::new(halt.clone())));
        }
    }

    /// The own messages of the running round that go to `peer`, addressed to it alone.
    pub(super) fn sent_to(&self, peer: NodeId) -> Vec<(To, RoundMessage)> {
        let concerns = |to: &To| match to {
            To::All | To::Others => true,
            To::Member(node) => *node == peer,
        };
        let sent = self.sent.iter().filter(|(to, _)| concerns(to));
        sent.map(|(_, message)| (To::Member(peer), message.clone())).collect()
    }
}

/// What peers claim to have decided, and our requests to them.
#[derive(Clone, Debug, Default)]
pub(super) struct Behind {
    claims: BTreeMap<Index, Claim>,
    /// When to ask, while somebody is ahead.
    due: Option<Time>,
    /// The peer asked last, so that the next request goes to another one if the answer does not come.
    asked: Option<Index>,
    lag: Lag,
    /// Peers that have not answered yet: only an answer to a request of ours is verified.
    unanswered: BTreeSet<Index>,
    answered: Limiter,
    sent_again: Limiter,
}

/// What a peer claims to have decided, and whether asking it has helped.
#[derive(Clone, Copy, Debug, Default)]
struct Claim {
    decided: Round,
    /// Set while the last request to it has not helped: when to ask it again, and the pause that ends then.
    paused: Option<(Time, Span)>,
    /// When it may be asked again.
    ready_at: Time,
}

/// Whether we may have missed messages of the running round.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Lag {
    #[default]
    None,
    /// We may: a peer was ahead of us and has shown it.
    Proven,
}

/// The next request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NextAsk {
    /// To a peer that is ahead.
    One(Index),
    /// To all members: no peer that is ahead is trusted any more.
    All,
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

    /// An answer of this peer has brought us forward, to `own`: the next request is due as soon as the next peer may
    /// answer it.
    pub(super) fn helped(&mut self, now: Time, author: Index, own: Round) {
        self.lag = Lag::Proven;
        if let Some(claim) = self.claims.get_mut(&author) {
            claim.paused = None;
        }
        let next = self.in_turn(own, |claim| claim.paused.is_none());
        self.due = Some(next.map_or(now, |next| now.max(self.claims[&next].ready_at)));
    }

    /// We have decided one more round.
    pub(super) fn progressed(&mut self, now: Time, own: Round) {
        for claim in self.claims.values_mut().filter(|claim| claim.decided <= own) {
            if claim.paused.take().is_some() {
                self.lag = Lag::Proven;
            }
        }
        let waits = self.lag == Lag::Proven || self.ahead(own).any(|(_, claim)| claim.paused.is_none());
        self.due = if waits { Some(now + PATIENCE) } else { self.end_of_pause(now, own) };
    }

    /// When to ask.
    pub(super) fn due(&self) -> Option<Time> {
        self.due
    }

    /// Chooses the next request: to the next peer, in turn, of those ahead of `own` that are not paused; if there is
    /// none and we were behind, to all members; else to one whose pause is over.
    pub(super) fn next_ask(&mut self, now: Time, own: Round) -> NextAsk {
        let is_ready = |claim: &Claim| claim.paused.is_none_or(|(until, _)| until <= now);
        let trusted = self.in_turn(own, |claim| claim.paused.is_none());
        if trusted.is_none() && self.lag == Lag::Proven {
            self.lag = Lag::None;
            self.due = self.end_of_pause(now, own);
            return NextAsk::All;
        }
        let Some(author) = trusted.or_else(|| self.in_turn(own, is_ready)) else {
            self.due = self.end_of_pause(now, own);
            return NextAsk::None;
        };
        let claim = self.claims.get_mut(&author).expect("it was found among the claims");
        let longer =
            |pause: Span| if in_force(Mutant::ClaimsPause) { pause.doubled(PAUSE_MAX) } else { pause };
        let pause = claim.paused.map_or(PATIENCE, |(_, pause)| longer(pause));
        claim.paused = Some((now + pause, pause));
        claim.ready_at = now + ASK_INTERVAL;
        self.asked = Some(author);
        self.unanswered.insert(author);
        self.due = Some(now + PATIENCE);
        NextAsk::One(author)
    }

    fn ahead(&self, own: Round) -> impl Iterator<Item = (Index, &Claim)> {
        let claims = self.claims.iter().map(|(author, claim)| (*author, claim));
        claims.filter(move |(_, claim)| claim.decided > own)
    }

    /// The first after the one asked last, of those ahead of `own` that are eligible.
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

    /// The request went to all members.
    pub(super) fn asked_all(&mut self, members: impl Iterator<Item = Index>) {
        self.unanswered.extend(members);
    }

    /// Whether this peer was asked and has not answered yet; now it has.
    pub(super) fn is_answer(&mut self, author: Index) -> bool {
        self.unanswered.remove(&author)
    }

    /// Whether a question of this peer may be answered now.
    pub(super) fn may_answer(&mut self, now: Time, author: Index) -> bool {
        self.answered.may_every(now, author, ANSWER_INTERVAL)
    }

    /// Whether this peer may be sent all of the running round again now. It asks no oftener than it has patience.
    fn may_send_again(&mut self, now: Time, author: Index) -> bool {
        self.sent_again.may_every(now, author, PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: Round = Round(u64::MAX - 1);

    fn at(ms: u64) -> Time {
        Time(0) + Span::from_ms(ms)
    }

    /// The requests due before `until`, each with its time in milliseconds.
    fn requests(behind: &mut Behind, own: Round, until: Time) -> Vec<(u64, NextAsk)> {
        let mut requests = Vec::new();
        while let Some(due) = behind.due().filter(|due| *due < until) {
            match behind.next_ask(due, own) {
                NextAsk::None => {}
                request => requests.push((due.0 / 1_000, request)),
            }
            assert!(behind.due().is_none_or(|next| next > due), "time passes");
        }
        requests
    }

    #[test]
    fn pauses_double_while_a_claim_comes_to_nothing() {
        let mut behind = Behind::default();
        behind.learn(at(0), Index(1), FAR, Round(0));
        let times: Vec<u64> = requests(&mut behind, Round(0), at(50_000))
            .into_iter()
            .map(|(ms, request)| {
                assert_eq!(request, NextAsk::One(Index(1)));
                ms
            })
            .collect();
        assert_eq!(times, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 26_000, 36_000, 46_000]);
        // Neither saying it again nor our own progress changes that.
        behind.learn(at(50_000), Index(1), FAR, Round(0));
        behind.progressed(at(50_000), Round(1));
        assert_eq!(behind.due(), Some(at(56_000)));
        behind.forget(Index(1));
        assert_eq!((behind.next_ask(at(56_000), Round(1)), behind.due()), (NextAsk::None, None));
    }

    #[test]
    fn all_are_asked_once_after_catching_up_whatever_a_liar_claims() {
        let mut behind = Behind::default();
        behind.learn(at(0), Index(1), FAR, Round(0));
        behind.learn(at(0), Index(2), Round(5), Round(0));
        assert_eq!(behind.next_ask(at(500), Round(0)), NextAsk::One(Index(1)));
        assert_eq!(behind.next_ask(at(1_000), Round(0)), NextAsk::One(Index(2)));
        for own in 1..=5 {
            behind.progressed(at(1_100), Round(own));
        }
        behind.helped(at(1_100), Index(2), Round(5));
        assert_eq!(behind.next_ask(at(1_100), Round(5)), NextAsk::All);
        // And no more, though the liar is still ahead.
        behind.progressed(at(1_200), Round(6));
        let rest = requests(&mut behind, Round(6), at(20_000));
        let goes_to_the_liar = |(_, request): &(u64, NextAsk)| *request == NextAsk::One(Index(1));
        assert!(!rest.is_empty() && rest.iter().all(goes_to_the_liar), "{rest:?}");
    }

    #[test]
    fn a_claim_that_was_true_is_trusted_again() {
        let mut behind = Behind::default();
        behind.learn(at(0), Index(1), Round(1), Round(0));
        let _ = requests(&mut behind, Round(0), at(20_000));
        // Its answer was lost, and HALT arrived unrequested.
        behind.progressed(at(20_000), Round(1));
        assert_eq!(
            behind.next_ask(at(20_500), Round(1)),
            NextAsk::All,
            "messages of round 2 may be lost too"
        );
        behind.learn(at(21_000), Index(1), Round(2), Round(1));
        assert_eq!(behind.due(), Some(at(21_500)));
        assert_eq!(behind.next_ask(at(21_500), Round(1)), NextAsk::One(Index(1)));
    }

    #[test]
    fn those_ahead_are_asked_in_turn() {
        let mut behind = Behind::default();
        for peer in [1, 2, 3] {
            behind.learn(at(0), Index(peer), Round(9), Round(0));
        }
        let turns: Vec<NextAsk> =
            requests(&mut behind, Round(0), at(3_400)).into_iter().map(|(_, request)| request).collect();
        assert_eq!(turns, [1, 2, 3, 1, 2, 3].map(|peer| NextAsk::One(Index(peer))));
    }
}
