//! From effects to frames: those of honest members are checked and sent, those of Byzantine ones go to the adversary.

use std::collections::BTreeSet;

use ::wire::envelope::{Class, Progress};
use ::wire::ids::NodeId;

use crate::crypto::suite::CoinName;
use crate::event::Effect;
use crate::lane::LaneMessage;
use crate::message::{Message, MessageKind};
use crate::mvba::MvbaMessage;
use crate::sim::checker::Violation;
use crate::sim::parcel::{Frame, Parcel};
use crate::sim::plan::{Child, Leaders, Outboxes};
use crate::sim::run::{Node, Ran, Simulation, Stage};
use crate::time::Span;

impl Simulation<'_> {
    pub(super) fn do_honest(&mut self, node: NodeId, effects: Vec<Effect>) -> Ran {
        let mut questions = 0;
        for effect in effects {
            let Some(effect) = self.checker.messages.read(node, effect) else { continue };
            match effect {
                Effect::Send { dest, class, body, digest } => {
                    let parcel = Parcel::new(body);
                    // A message that metrics cannot name is missing in the table of kinds: no peer's fault.
                    let is_known = MessageKind::of(parcel.body()) != MessageKind::Unknown;
                    assert!(is_known, "no MessageKind of {}", parcel.said(&self.committee, node));
                    self.checker.on_send(node, digest, &parcel)?;
                    self.on_wire(node, class, &parcel)?;
                    let is_question =
                        matches!(parcel.message(), Some(Message::Lane(LaneMessage::WantCertificates { .. })));
                    for to in dest.expand(&self.committee, node) {
                        let frame = Frame { from: node, to, class, parcel: parcel.clone() };
                        self.cost.on_frame(self.now, &frame, &self.committee)?;
                        questions += usize::from(is_question);
                        self.transmit(frame);
                    }
                }
                Effect::SendKept { .. } => unreachable!("it was read from the journal"),
                Effect::Reply { client, body } => self.checker.on_reply(node, client, &body)?,
                Effect::Progress(progress) => {
                    self.decided.insert(node, progress.decided);
                    self.drop_finished(node, &progress);
                }
                Effect::Executed(report) => {
                    let Node::Honest(core) = &self.nodes[usize::from(node.0)] else {
                        unreachable!("only honest members come here")
                    };
                    self.checker.on_executed(node, core, &report)?;
                }
                Effect::Jumped(report) => {
                    self.jumps += 1;
                    self.checker.on_jumped(node, &report)?;
                }
                // The simulation sees more than a log.
                Effect::Trace { .. } => {}
                Effect::Fault(fault) => {
                    *self.faults.entry(fault.kind.name()).or_default() += 1;
                    self.checker.on_fault(node, fault)?;
                }
            }
        }
        self.cost.on_questions(node, questions, &self.committee)
    }

    pub(super) fn do_byzantine(&mut self, node: NodeId, at: usize, effects: Vec<Effect>) -> Ran {
        for effect in effects {
            let effect = self.checker.messages.read(node, effect);
            let Some(Effect::Send { dest, class, body, .. }) = effect else { continue };
            let parcel = Parcel::new(body);
            self.on_wire(node, class, &parcel)?;
            for to in dest.expand(&self.committee, node) {
                let speaks = self.twins.get(at).is_none_or(|audience| audience.contains(&to));
                if speaks {
                    let frame = Frame { from: node, to, class, parcel: parcel.clone() };
                    let shard = self.shard_at(node);
                    self.behaviours[shard].forward(&mut self.hands[shard], frame);
                }
            }
        }
        self.send_for_adversary()
    }

    /// Sends the frames of the adversary.
    pub(super) fn send_for_adversary(&mut self) -> Ran {
        for shard in 0..self.hands.len() {
            let (frames, proofs) = self.hands[shard].take();
            frames.into_iter().for_each(|frame| self.transmit(frame));
            if let Some(what) = proofs.into_iter().next() {
                return Err(Violation::Proof { what });
            }
        }
        Ok(())
    }

    /// The adversary and the scheduler read the message.
    fn on_wire(&mut self, from: NodeId, class: Class, parcel: &Parcel) -> Ran {
        self.watch_coin(from, parcel);
        if self.plan.byzantine.is_empty() {
            return Ok(());
        }
        let frame = Frame { from, to: from, class, parcel: parcel.clone() };
        let shard = self.shard_at(from);
        self.hands[shard].see(&frame);
        for (at, (behaviour, hands)) in self.behaviours.iter_mut().zip(&mut self.hands).enumerate() {
            if at == shard { behaviour.see(hands, &frame) } else { behaviour.overhear(hands, &frame) }
        }
        self.send_for_adversary()
    }

    fn transmit(&mut self, frame: Frame) {
        self.checker.messages.note(frame.parcel.digest(), frame.parcel.body());
        let is_run = usize::from(frame.to.0) < self.nodes.len();
        if is_run && !self.down.contains_key(&(frame.from, Child::Sender)) {
            self.net.send(self.now, frame);
        }
    }

    /// The outbox rule of `net_client`: frames of finished classes are dropped first.
    fn drop_finished(&mut self, node: NodeId, progress: &Progress) {
        if self.plan.outboxes == Outboxes::Roomy || self.stage != Stage::Troubled {
            return;
        }
        let is_finished = |class: Class| match class {
            Class::Round(round) => round <= progress.decided,
            Class::Lane(owner, seq) => {
                progress.lanes.iter().any(|(lane, decided)| *lane == owner && seq <= *decided)
            }
            Class::Keep => false,
        };
        let prng = &mut self.prng;
        self.net.lose(|frame| frame.from == node && is_finished(frame.class) && prng.chance(3, 4));
    }

    /// As soon as the sent shares determine the coin of a view, the scheduler knows the leader.
    fn watch_coin(&mut self, from: NodeId, parcel: &Parcel) {
        let Some((round, MvbaMessage::CoinShare { view, share })) = parcel.mvba() else { return };
        if self.plan.leaders != Leaders::Starved || self.stage != Stage::Troubled {
            return;
        }
        let name = CoinName { round, view: *view };
        let (shard, index) = (self.committee.shard_of(from), self.committee.index_of(from));
        let observer = self.observers[self.shard_at(from)].clone();
        if !observer.verify_coin_share(index, &name, share) {
            return;
        }
        let shares = self.coins.entry((shard, round, *view)).or_default();
        let is_new = shares.insert(index, *share).is_none();
        if !is_new || shares.len() != self.committee.quorum() {
            return;
        }
        let shares: Vec<_> = shares.iter().map(|(index, share)| (*index, *share)).collect();
        let Some(leader) = observer.elect(&name, &shares) else { return };
        let leader = self.committee.node_at(shard, leader);
        let until = self.now + Span(self.prng.within(50_000..1_500_000));
        let victims: BTreeSet<NodeId> =
            self.committee.members(shard).filter(|_| self.prng.chance(3, 4)).collect();
        self.net.delay_under_way(until, |frame| frame.from == leader && victims.contains(&frame.to));
        for victim in victims {
            self.net.starve(leader, victim, until);
        }
    }
}
