//! Where the results of a step go: messages to the driver, or to ourselves by the local queue; outputs of one part to
//! the part that waits for them; faults to the driver.
//!
//! An output never calls the part that it came from, so a step ends. What it makes possible elsewhere is noted
//! ([`News`]) and done by `Core::settle`.

use wire::bytes::Bytes;
use wire::dest::Dest;
use wire::envelope::{Class, Progress};
use wire::ids::{Digest, Index, NodeId, Round, Seq};
use wire::limits::ROUNDS_UNEXECUTED_MAX;

use crate::block::{BlockEffects, BlockOutput};
use crate::core::{Core, News};
use crate::cut::Cut;
use crate::effects::{Effects, To};
use crate::event::Effect;
use crate::fault::{Fault, FaultKind};
use crate::lane::{Bodies, LaneEffects, LaneOutput, LaneSend};
use crate::message::Message;
use crate::round::{HaltSource, RoundMessage, RoundOutput};
use crate::time::Time;

impl Core {
    pub(super) fn absorb_lanes(&mut self, mut effects: LaneEffects) {
        self.trace_lanes(&effects);
        self.absorb_faults(std::mem::take(&mut effects.faults));
        self.too_early += effects.too_early;
        for (dest, send) in effects.sends {
            match send {
                LaneSend::Entry { owner, seq, digest, body } => {
                    let class = self.lane_class(owner, seq);
                    self.send(dest, class, Some(digest), body);
                }
                LaneSend::Kept { owner, seq, digest } => {
                    self.send_kept(dest, self.lane_class(owner, seq), digest);
                }
                LaneSend::Message(message) => {
                    let message = Message::Lane(message);
                    let class = message.class(|owner, seq| self.lane_class(owner, seq));
                    self.send(dest, class, None, message.encode());
                }
            }
        }
        if effects.outputs.iter().any(|output| matches!(output, LaneOutput::Certified(..))) {
            self.certificates = News::Arrived;
        }
    }

    pub(super) fn absorb_rounds(&mut self, now: Time, mut effects: Effects<RoundMessage, RoundOutput>) {
        self.trace_running();
        self.absorb_faults(std::mem::take(&mut effects.faults));
        self.too_early += effects.too_early;
        self.absorb_sends(effects.sends, Message::Round);
        for output in effects.outputs {
            match output {
                RoundOutput::Wanted(proposer, tips) => {
                    let effects = self.lanes.want_certificates(now, proposer, &tips);
                    self.absorb_lanes(effects);
                }
                RoundOutput::Decided(decision) => {
                    self.trace_decided(&decision);
                    let bodies = match decision.source {
                        HaltSource::Agreement => Bodies::UnderWay,
                        HaltSource::CatchUp => Bodies::Missed,
                    };
                    let effects = self.lanes.decide(now, decision.round, &decision.cut, bodies);
                    self.absorb_lanes(effects);
                    self.out.push(Effect::Progress(self.progress_of(decision.round, &decision.cut)));
                    let ahead: Vec<Index> =
                        decision.cut.ahead_of(&decision.previous).map(|(lane, _)| lane).collect();
                    ahead.iter().for_each(|lane| self.pending.hear(now, *lane));
                    self.idle.decided(decision.round, ahead.into_iter());
                    self.undone.push_back(*decision);
                    assert!(self.undone.len() as u64 <= ROUNDS_UNEXECUTED_MAX, "rounds wait for execution");
                }
            }
        }
    }

    pub(super) fn absorb_votes(&mut self, now: Time, effects: BlockEffects) {
        self.absorb_faults(effects.faults);
        self.too_early += effects.too_early;
        self.absorb_sends(effects.sends, Message::Block);
        for BlockOutput::Certified { height, certificate, .. } in effects.outputs {
            self.trace_certified(height);
            let effects = self.transfers.certified(now, height, &certificate);
            self.absorb_transfers(effects);
        }
    }

    pub(super) fn absorb_faults(&mut self, faults: Vec<Fault>) {
        self.out.extend(faults.into_iter().map(Effect::Fault));
    }

    pub(super) fn absorb_sends<M>(&mut self, sends: Vec<(To, M)>, wrap: impl Fn(M) -> Message) {
        for (to, message) in sends {
            self.send_message(to, wrap(message));
        }
    }

    pub(super) fn blame(&mut self, peer: NodeId, kind: FaultKind) {
        self.out.push(Effect::Fault(Fault { peer, kind }));
    }

    /// Sends a message, encoded once; a copy for ourselves goes through the local queue.
    pub(super) fn send_message(&mut self, to: To, message: Message) {
        let me = self.member.node();
        if to == To::Member(me) {
            self.local.push_back(message);
            return;
        }
        let class = message.class(|owner, seq| self.lane_class(owner, seq));
        let dest = match to {
            To::All | To::Others => Dest::ShardOthers,
            To::Member(node) => Dest::Node(node),
        };
        self.send(dest, class, None, message.encode());
        if to == To::All {
            self.local.push_back(message);
        }
    }

    /// Sends to other members of the shard; a shard of one node has none.
    pub(super) fn send(&mut self, dest: Dest, class: Class, digest: Option<Digest>, body: Bytes) {
        if self.member.committee.n() > 1 {
            self.out.push(Effect::Send { dest, class, digest, body });
        }
    }

    /// Sends a message that stands in the journal to who has requested it.
    pub(super) fn send_kept(&mut self, dest: Dest, class: Class, digest: Digest) {
        let Dest::Node(to) = dest else { unreachable!("an answer goes to who asked") };
        self.out.push(Effect::SendKept { to, class, digest });
    }

    /// A peer that requests a decided entry lags behind us, so our own progress must not drop the message.
    pub(super) fn lane_class(&self, owner: Index, seq: Seq) -> Class {
        if seq <= self.rounds.cut().tip(owner).seq {
            Class::Keep
        } else {
            Class::Lane(self.member.node_at(owner), seq)
        }
    }

    pub(super) fn progress_of(&self, decided: Round, cut: &Cut) -> Progress {
        let lanes = cut.tips().map(|(lane, tip)| (self.member.node_at(lane), tip.seq)).collect();
        Progress { decided, lanes }
    }
}
