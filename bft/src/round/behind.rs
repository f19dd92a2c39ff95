//! Catching up: who sees a peer ahead and makes no progress for 500 ms asks it for the proofs of what it has decided.
//!
//! An answer holds the HALTs of at most [`CATCH_UP_ROUNDS_MAX`] rounds in order; each is judged against the cut of the
//! one before. Who still is behind asks on at once; who has caught up asks all peers once more, and they send their
//! messages of the running round again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wire::ids::{Index, NodeId, Round};

use crate::effects::To;
use crate::fault::FaultKind;
use crate::mvba::{Halt, LaneCertificates};
use crate::round::resend::Limiter;
use crate::round::{HaltSource, RoundEffects, RoundMessage, Rounds};
use crate::time::{Span, Time};

/// HALTs in one answer. At N = 128 a HALT has 19 KB.
pub const CATCH_UP_ROUNDS_MAX: usize = 32;

/// How long a node that sees a peer ahead waits for the HALTs that are probably under way.
const PATIENCE: Span = Span::from_ms(500);
/// Shortest time between two answers to one peer: 640 rounds a second catch up with any running shard.
const ANSWER_INTERVAL: Span = Span::from_ms(50);

/// What those who are behind and those who are ahead say to each other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CatchUpMessage {
    /// What was decided from this round on?
    Ask {
        /// The first round wanted.
        from: Round,
    },
    /// This, in order.
    Halts(Vec<Halt>),
}

impl Rounds {
    /// Somebody asks what was decided from round `from` on.
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
            // The asker is where we are: what it lost of the running round is all it lacks.
            effects.sends.extend(self.sent_to(peer));
        } else if from > self.decided.next() {
            self.behind.learn(now, author, Round(from.0 - 1), self.decided);
        }
    }

    /// Somebody has answered. Unasked answers are dropped and not blamed: a question may be asked twice before the
    /// first answer comes.
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
        // An answer that did not help leaves the next question to the timer.
        if self.decided > before {
            self.ask_if_behind(now, effects);
        }
    }

    /// Asks a peer that is ahead of us; or, having caught up, all peers for what they sent in the running round.
    pub(super) fn ask_if_behind(&mut self, now: Time, effects: &mut RoundEffects) {
        if !self.may_run_ahead() {
            // What is decided and not executed is enough for now; the timer asks again.
            self.behind.wait(now);
            return;
        }
        let ask = RoundMessage::CatchUp(CatchUpMessage::Ask { from: self.decided.next() });
        match self.behind.whom_to_ask(now, self.decided) {
            Some(author) => effects.push_send(To::Member(self.member.node_at(author)), ask),
            None => {
                self.behind.asked_all(self.member.committee.indices());
                effects.push_send(To::Others, ask);
            }
        }
    }

    /// A member still speaks of a decided round: here is its proof.
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

/// What we know of others' progress, and whom we have asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Behind {
    decided: BTreeMap<Index, Round>,
    /// When to ask, while somebody is ahead.
    due: Option<Time>,
    /// Whom we asked last, so that the next question goes to somebody else if the answer does not come.
    asked: Option<Index>,
    /// Who has not answered yet: only an answer to a question is worth verifying.
    unanswered: BTreeSet<Index>,
    answered: Limiter,
    sent_again: Limiter,
}

impl Behind {
    /// A peer has decided this much; we have decided `own`.
    pub(super) fn learn(&mut self, now: Time, author: Index, decided: Round, own: Round) {
        let known = self.decided.entry(author).or_default();
        *known = decided.max(*known);
        if decided > own && self.due.is_none() {
            self.due = Some(now + PATIENCE);
        }
    }

    /// We have decided one more round.
    pub(super) fn progressed(&mut self, now: Time, own: Round) {
        let somebody_ahead = self.decided.values().any(|decided| *decided > own);
        self.due = (somebody_ahead || self.asked.is_some()).then_some(now + PATIENCE);
    }

    /// When to ask.
    pub(super) fn due(&self) -> Option<Time> {
        self.due
    }

    /// Whether it is time to ask.
    pub(super) fn is_due(&self, now: Time) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Asks later.
    pub(super) fn wait(&mut self, now: Time) {
        self.due = Some(now + PATIENCE);
    }

    /// Whom to ask now: the next peer, in turn, of those ahead of `own`. `None` if nobody is any more; then the
    /// timer is stopped.
    pub(super) fn whom_to_ask(&mut self, now: Time, own: Round) -> Option<Index> {
        let ahead: Vec<Index> =
            self.decided.iter().filter(|(_, decided)| **decided > own).map(|(author, _)| *author).collect();
        let next = ahead.iter().find(|author| self.asked.is_none_or(|asked| **author > asked));
        self.asked = next.or(ahead.first()).copied();
        self.due = self.asked.map(|_| now + PATIENCE);
        self.unanswered.extend(self.asked);
        self.asked
    }

    /// The question went to everybody.
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
