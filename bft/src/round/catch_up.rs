//! Catch-up: a member that sees peers ahead and makes no progress for 500 ms requests proofs of their decisions, in
//! ranges.
//!
//! Steps: a member that is behind requests consecutive ranges of at most [`CATCH_UP_ROUNDS_MAX`] rounds from several
//! peers at once. An answer holds the HALTs of a range in order; it is kept until the rounds before it are decided, and
//! judged then, as far as decided rounds may run ahead of executed ones. Meanwhile the next ranges are under way, so
//! that neither round trips nor a slow peer delay execution. A member that has caught up sends one more request to all
//! peers, and they send their messages of the running round again. `behind` chooses the peers and ranges.
//!
//! Bound: [`RANGES_MAX`] ranges are under way or kept. A member sends each peer at most [`RANGES_MAX`] answers at once
//! and [`HALTS_PER_S`] HALTs a second: at N = 128, where a HALT has 19 KB, 39 MB.

use serde::{Deserialize, Serialize};
use wire::committee::Committee;
use wire::ids::{Index, NodeId, Round};

use crate::bucket::Bucket;
use crate::effects::To;
use crate::fault::FaultKind;
use crate::mvba::{Halt, LaneCertificates};
use crate::round::behind::NextAsk;
use crate::round::halts::HaltSource;
use crate::round::{RoundEffects, RoundMessage, Rounds};
use crate::time::Time;

/// HALTs in one answer.
pub const CATCH_UP_ROUNDS_MAX: usize = 32;
/// Ranges of rounds that are under way or kept.
pub(super) const RANGES_MAX: usize = 4;
/// HALTs that one peer gets in a second, and at once, each answer counting as a full one. Three peers answer faster
/// than a member can execute.
const HALTS_PER_S: u64 = 2_048;
const HALTS_AT_ONCE: u64 = (RANGES_MAX * CATCH_UP_ROUNDS_MAX) as u64;

/// Messages between members that are behind and members that are ahead.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CatchUpMessage {
    /// Requests the decisions from this round on.
    Ask {
        /// The first requested round; or 0, which has no proof, to learn only what the receiver serves.
        from: Round,
    },
    /// The answer.
    Halts(Answer),
}

/// Proofs of consecutive rounds, in answer to a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The first round that was requested.
    pub from: Round,
    /// Proofs of that round and those after it, without gaps, at most [`CATCH_UP_ROUNDS_MAX`]; none if that round's is
    /// not kept any more.
    pub halts: Vec<Halt>,
    /// The first round that the sender can prove and whose entries it has. A claim, which affects only the report to
    /// people.
    pub served_from: Round,
}

impl Answer {
    /// Whether its HALTs are of the rounds that it claims to answer for.
    fn has_shape(&self, committee: &Committee) -> bool {
        let rounds = self.from.0..=u64::MAX;
        self.halts.len() <= CATCH_UP_ROUNDS_MAX
            // Nothing is decided in round 0.
            && (self.from > Round(0) || self.halts.is_empty())
            && rounds.zip(&self.halts).all(|(round, halt)| halt.round.0 == round && halt.has_shape(committee))
    }
}

/// The HALTs that may still be sent to one peer.
fn answer_pace() -> Bucket {
    Bucket::new(HALTS_PER_S, HALTS_AT_ONCE)
}

impl Rounds {
    /// A member requests the decisions from round `from` on.
    pub(super) fn on_ask(&mut self, now: Time, author: Index, from: Round, effects: &mut RoundEffects) {
        if from > self.decided {
            self.on_ask_of_undecided(now, author, from, effects);
            return;
        }
        let pace = self.halt_answers.entry(author).or_insert_with(answer_pace);
        if !pace.admit(now, CATCH_UP_ROUNDS_MAX as u64) {
            return;
        }
        let halts = self.proofs.run_from(from, CATCH_UP_ROUNDS_MAX).cloned().collect();
        let answer = Answer { from, halts, served_from: self.served_from() };
        let peer = self.member.node_at(author);
        effects.push_send(To::Member(peer), RoundMessage::CatchUp(CatchUpMessage::Halts(answer)));
    }

    /// A member that has decided as much as we have can only lack messages of the running round. One that has decided
    /// more shows by its request that it is ahead.
    fn on_ask_of_undecided(&mut self, now: Time, author: Index, from: Round, effects: &mut RoundEffects) {
        if from > self.decided.next() {
            self.peer_decided(now, author, Round(from.0 - 1));
        } else if self.behind.may_send_again(now, author) {
            effects.sends.extend(self.sent_to(self.member.node_at(author)));
        }
    }

    /// The first round that we can prove and whose entries we have.
    fn served_from(&self) -> Round {
        let proved = self.proofs.first().unwrap_or(self.decided.next());
        proved.max(self.entries_from)
    }

    /// Handles an answer. One that is not awaited is dropped without blame: a request may be repeated before the first
    /// answer comes.
    pub(super) fn on_halts(
        &mut self,
        now: Time,
        author: Index,
        answer: Answer,
        lanes: &dyn LaneCertificates,
        effects: &mut RoundEffects,
    ) {
        if !answer.has_shape(&self.member.committee) {
            effects.push_fault(self.member.node_at(author), FaultKind::OutOfRange);
        } else if self.behind.answered(now, author, answer, self.decided) {
            self.use_ranges(now, lanes, effects);
            self.ask_if_due(now, effects);
        }
    }

    /// Judges kept HALTs of the next rounds, as far as decided rounds may run ahead.
    pub(super) fn use_ranges(&mut self, now: Time, lanes: &dyn LaneCertificates, effects: &mut RoundEffects) {
        while self.may_run_ahead()
            && let Some((author, halt)) = self.behind.next_halt(self.decided)
        {
            if self.judge_halt(now, author, halt, HaltSource::CatchUp, lanes, effects) {
                self.behind.helped(now, author, self.decided);
            } else {
                self.behind.drop_ranges_of(now, author, self.decided);
            }
        }
    }

    /// Sends requests if the timer is due.
    pub(super) fn ask_if_due(&mut self, now: Time, effects: &mut RoundEffects) {
        if self.behind.due().is_some_and(|due| due <= now) {
            self.ask_if_behind(now, effects);
        }
    }

    /// Sends requests to peers that are ahead of us; or, having caught up, to all peers for their messages of the
    /// running round.
    fn ask_if_behind(&mut self, now: Time, effects: &mut RoundEffects) {
        loop {
            let ask = |from| RoundMessage::CatchUp(CatchUpMessage::Ask { from });
            match self.behind.next_ask(now, self.decided) {
                NextAsk::One(author, from) => {
                    effects.push_send(To::Member(self.member.node_at(author)), ask(from));
                }
                NextAsk::All(from) => return self.ask_all(now, from, effects),
                NextAsk::None => return,
            }
        }
    }

    /// Requests the decisions from round `from` on of all members.
    pub(super) fn ask_all(&mut self, now: Time, from: Round, effects: &mut RoundEffects) {
        let barred = &self.barred;
        let others = self.member.committee.indices().filter(|index| !barred.contains(index));
        self.behind.asked_all(now, others, from);
        effects.push_send(To::Others, RoundMessage::CatchUp(CatchUpMessage::Ask { from }));
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
        if let Some(halt) = self.proofs.get(round) {
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
