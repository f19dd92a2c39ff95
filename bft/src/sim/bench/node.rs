//! One member on the bench: the round loop and the block votes as the core runs them, with lanes that know the
//! certificates they are given, and blocks that execute to the digest of their cut.

use std::collections::{BTreeSet, VecDeque};

use wire::codec;
use wire::ids::{Digest, Index, Round};
use wire::limits::HISTORY_ROUNDS_MAX;

use crate::block::{BlockEffects, BlockVotes, Header};
use crate::cut::{Cut, Tip};
use crate::effects::{Effects, To};
use crate::fault::Fault;
use crate::member::Member;
use crate::mvba::LaneCertificates;
use crate::round::{Decision, RoundMessage, RoundOutput, Rounds};
use crate::sim::bench::message::{Content, Message};
use crate::time::Time;

/// The lane certificates a member knows.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownLanes(pub(super) BTreeSet<(Index, Tip)>);

impl LaneCertificates for KnownLanes {
    fn is_certified(&self, lane: Index, tip: Tip) -> bool {
        self.0.contains(&(lane, tip))
    }
}

/// Whether decided blocks are executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Execution {
    /// As soon as they are decided.
    AtOnce,
    /// The next one and no more.
    One,
    /// Not for now, as when a body is missing.
    Stuck,
}

/// One member.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) member: Member,
    pub(super) rounds: Rounds,
    pub(super) votes: BlockVotes,
    pub(super) lanes: KnownLanes,
    pub(super) execution: Execution,
    /// Decided and not executed.
    pub(super) undone: VecDeque<Decision>,
    pub(super) headers: Vec<Digest>,
    local: VecDeque<Content>,
    /// Messages dropped since they came too early.
    pub(super) too_early: u64,
    /// Effects that the bench collects after each event.
    pub(super) out: Out,
}

/// The effects of a member's steps.
#[derive(Clone, Debug, Default)]
pub(super) struct Out {
    pub(super) sends: Vec<(To, Content)>,
    pub(super) wanted: Vec<(Index, Tip)>,
    pub(super) decisions: Vec<Decision>,
    pub(super) faults: Vec<Fault>,
}

impl Node {
    pub(super) fn new(member: Member) -> Node {
        Node {
            rounds: Rounds::new(member.clone(), HISTORY_ROUNDS_MAX),
            votes: BlockVotes::new(member.clone()),
            lanes: KnownLanes::default(),
            execution: Execution::AtOnce,
            undone: VecDeque::new(),
            headers: Vec::new(),
            local: VecDeque::new(),
            too_early: 0,
            out: Out::default(),
            member,
        }
    }

    /// A message has arrived. The bench delivers lane certificates with [`Node::learn`].
    pub(super) fn receive(&mut self, now: Time, message: &Message) {
        let content = codec::decode(message.bytes()).expect("what is encoded decodes");
        self.handle(now, message.from, message.digest(), message.bytes().len(), content);
        self.settle(now);
    }

    /// The certificate of an entry has arrived.
    pub(super) fn learn(&mut self, now: Time, lane: Index, tip: Tip) {
        if self.lanes.0.insert((lane, tip)) {
            let effects = self.rounds.reconsider(now, &self.lanes);
            self.absorb_rounds(effects);
        }
        self.settle(now);
    }

    pub(super) fn tick(&mut self, now: Time) {
        let effects = self.rounds.tick(now, &self.lanes);
        self.absorb_rounds(effects);
        let effects = self.votes.tick(now);
        self.absorb_votes(effects);
        self.settle(now);
    }

    pub(super) fn peer_up(&mut self, now: Time, peer: Index) {
        let peer = self.member.node_at(peer);
        let effects = self.rounds.on_peer_up(peer);
        self.absorb_rounds(effects);
        let effects = self.votes.on_peer_up(peer);
        self.absorb_votes(effects);
        self.settle(now);
    }

    pub(super) fn child_restarted(&mut self, now: Time) {
        let effects = self.rounds.on_child_restarted(now);
        self.absorb_rounds(effects);
        let effects = self.votes.on_child_restarted();
        self.absorb_votes(effects);
        self.settle(now);
    }

    pub(super) fn peer_decided(&mut self, now: Time, peer: Index, decided: Round) {
        self.rounds.peer_decided(now, peer, decided);
    }

    pub(super) fn next_wakeup(&self) -> Option<Time> {
        self.rounds.next_wakeup().into_iter().chain(self.votes.next_wakeup()).min()
    }

    /// The decided cut, moved on to the highest certified entries known.
    pub(super) fn cut(&self) -> Cut {
        let mut cut = self.rounds.cut().clone();
        for (lane, tip) in &self.lanes.0 {
            let highest = &mut cut.0[usize::from(lane.0)];
            if tip.seq > highest.seq {
                *highest = *tip;
            }
        }
        cut
    }

    /// Takes every step that has become possible, as the core does.
    pub(super) fn settle(&mut self, now: Time) {
        loop {
            while let Some(content) = self.local.pop_front() {
                self.handle(now, self.member.index, Digest::default(), 0, content);
            }
            let executed = self.execute(now);
            let known = self.cut();
            if self.rounds.is_input_due(now, |cut| known.ahead_of(cut).count()) {
                let effects = self.rounds.input(now, known, &self.lanes);
                self.absorb_rounds(effects);
            }
            if !executed && self.local.is_empty() {
                return;
            }
        }
    }

    fn handle(&mut self, now: Time, author: Index, digest: Digest, size: usize, content: Content) {
        match content {
            Content::Round(message) => {
                let effects = self.rounds.handle(now, author, digest, size, message, &self.lanes);
                self.absorb_rounds(effects);
            }
            Content::Block(message) => {
                let effects = self.votes.handle(now, author, message);
                self.absorb_votes(effects);
            }
            Content::LaneCertificate(..) => {}
        }
    }

    fn execute(&mut self, now: Time) -> bool {
        if self.execution == Execution::Stuck {
            return false;
        }
        let Some(decision) = self.undone.pop_front() else { return false };
        if self.execution == Execution::One {
            self.execution = Execution::Stuck;
        }
        let previous = self.headers.last().copied().unwrap_or_default();
        let header =
            Header { height: decision.round, previous, cut: decision.cut.digest(), ..Header::default() };
        self.headers.push(header.digest());
        let effects = self.rounds.executed(now, decision.round, Round(1), &self.lanes);
        self.absorb_rounds(effects);
        let effects = self.votes.executed(now, decision.round, header.digest());
        self.absorb_votes(effects);
        true
    }

    fn absorb_rounds(&mut self, effects: Effects<RoundMessage, RoundOutput>) {
        self.too_early += effects.too_early;
        self.out.faults.extend(effects.faults);
        for (to, message) in effects.sends {
            self.send(to, Content::Round(message));
        }
        for output in effects.outputs {
            match output {
                RoundOutput::Wanted(_, tips) => self.out.wanted.extend(tips),
                RoundOutput::Decided(decision) => {
                    self.lanes.0.extend(decision.cut.tips());
                    self.out.decisions.push((*decision).clone());
                    self.undone.push_back(*decision);
                }
            }
        }
    }

    fn absorb_votes(&mut self, effects: BlockEffects) {
        self.too_early += effects.too_early;
        self.out.faults.extend(effects.faults);
        for (to, message) in effects.sends {
            self.send(to, Content::Block(message));
        }
    }

    /// Messages to ourselves go through our own queue, the others to the bench.
    fn send(&mut self, to: To, content: Content) {
        match to {
            To::All => {
                self.local.push_back(content.clone());
                self.out.sends.push((To::Others, content));
            }
            To::Member(node) if node == self.member.node() => self.local.push_back(content),
            To::Others | To::Member(_) => self.out.sends.push((to, content)),
        }
    }
}
