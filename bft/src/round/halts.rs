//! HALTs of other members: the rules by which they are judged, and the cost of a false one to its sender.

use serde::{Deserialize, Serialize};
use wire::ids::Index;

use crate::fault::FaultKind;
use crate::mutant::{Mutant, in_force};
use crate::mvba::{Halt, LaneCertificates};
use crate::round::early::NotKept;
use crate::round::{Envelope, RoundEffects, Rounds};
use crate::time::Time;

/// The source of a HALT. A requested one is not relayed, since the other members have decided its round.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum HaltSource {
    /// Our own agreement, or a member that has just decided.
    Agreement,
    /// The answer to a request of ours: its round is past.
    CatchUp,
}

impl Rounds {
    /// Handles a HALT of a member: judged if its round runs here, else kept for later if there is room.
    pub(super) fn on_halt(
        &mut self,
        envelope: Envelope,
        halt: Halt,
        lanes: &dyn LaneCertificates,
        effects: &mut RoundEffects,
    ) {
        let Envelope { now, author, .. } = envelope;
        let peer = self.member.node_at(author);
        if !halt.has_shape(&self.member.committee) {
            effects.push_fault(peer, FaultKind::OutOfRange);
        } else if halt.round <= self.decided || self.barred.contains(&author) {
            // Useless, or from a member whose HALTs are not verified.
        } else if halt.round == self.decided.next() && self.may_run_ahead() {
            self.judge_halt(now, author, halt, HaltSource::Agreement, lanes, effects);
        } else {
            self.peer_decided(now, author, halt.round);
            let kept = match self.is_in_window(halt.round) {
                true => self.early.keep_halt(envelope, halt),
                false => Err(NotKept::TooEarly),
            };
            self.note_not_kept(author, kept, effects);
        }
    }

    /// Judges a HALT of the next round; returns whether it proved the decision.
    ///
    /// # Security
    /// If we know the leader ourselves, the shares in the HALT are not verified; the HALT that we keep and relay then
    /// carries the shares that elected the leader here.
    pub(super) fn judge_halt(
        &mut self,
        now: Time,
        author: Index,
        halt: Halt,
        source: HaltSource,
        lanes: &dyn LaneCertificates,
        effects: &mut RoundEffects,
    ) -> bool {
        let election = self.mvba.election(halt.view);
        let leader = election.as_ref().map(|(leader, _)| *leader);
        match halt.verify(&self.member, &mut self.cache, &self.cut, leader) {
            Ok(leader) => {
                let shares = election.map_or(halt.shares, |(_, own)| own);
                self.decide(now, Halt { shares, ..halt }, leader, source, lanes, effects);
                true
            }
            Err(error) => {
                if in_force(Mutant::FalseProofBars) {
                    self.barred.insert(author);
                    self.behind.forget(author);
                }
                effects.push_fault(self.member.node_at(author), error.fault());
                false
            }
        }
    }
}
