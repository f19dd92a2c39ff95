//! One member on the bench: the round loop and the block votes as the core runs them, with lanes that know what they
//! are told and blocks that execute to nothing but the digest of their cut.

use std::collections::{BTreeSet, VecDeque};

use wire::codec;
use wire::ids::{Digest, Index, Round};
use wire::limits::HISTORY_ROUNDS_MIN;

use crate::block::{BlockEffects, BlockVotes, Header};
use crate::cut::{Cut, Tip};
use crate::effects::{Effects, To};
use crate::fault::Fault;
use crate::member::Member;
use crate::mvba::LaneCertificates;
use crate::round::{Decision, RoundMessage, RoundOutput, Rounds};
use crate::sim::bench::letter::{Letter, Parcel};
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
    /// Not for now: a body is missing, say.
    Stuck,
}

/// One member.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) member: Member,
    pub(super) rounds: Rounds,
    pub(super) votes: BlockVotes,
    pub(super) lanes: KnownLanes,
    pub(super) execution: Execution,
    /// Decided and not executed.
    pub(super) undone: VecDeque<Decision>,
    pub(super) headers: Vec<Digest>,
    local: VecDeque<Parcel>,
    /// Messages dropped since they came too early.
    pub(super) too_early: u64,
    /// What the bench collects after each event.
    pub(super) out: Out,
}

/// What a member wants done.
#[derive(Clone, Debug, Default)]
pub(super) struct Out {
    pub(super) sends: Vec<(To, Parcel)>,
    pub(super) wanted: Vec<(Index, Tip)>,
    pub(super) decisions: Vec<Decision>,
    pub(super) faults: Vec<Fault>,
}

impl Seat {
    pub(super) fn new(member: Member) -> Seat {
        Seat {
            rounds: Rounds::new(member.clone(), HISTORY_ROUNDS_MIN),
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

    /// A letter has arrived. Lane certificates the bench hands over itself, with [`Seat::learn`].
    pub(super) fn receive(&mut self, now: Time, letter: &Letter) {
        let parcel = codec::decode(letter.bytes()).expect("what is encoded decodes");
        self.handle(now, letter.from, letter.digest(), letter.bytes().len(), parcel);
        self.settle(now);
    }

    /// An entry is certified, as we know now.
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
        let effects = self.rounds.on_child_restarted();
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
            let place = &mut cut.0[usize::from(lane.0)];
            if tip.seq > place.seq {
                *place = *tip;
            }
        }
        cut
    }

    /// Does what has become possible, as the core does it.
    pub(super) fn settle(&mut self, now: Time) {
        loop {
            while let Some(parcel) = self.local.pop_front() {
                self.handle(now, self.member.index, Digest::default(), 0, parcel);
            }
            let executed = self.execute(now);
            let effects = self.rounds.consider_input(now, self.cut(), &self.lanes);
            self.absorb_rounds(effects);
            if !executed && self.local.is_empty() {
                return;
            }
        }
    }

    fn handle(&mut self, now: Time, author: Index, digest: Digest, size: usize, parcel: Parcel) {
        match parcel {
            Parcel::Round(message) => {
                let effects = self.rounds.handle(now, author, digest, size, message, &self.lanes);
                self.absorb_rounds(effects);
            }
            Parcel::Block(message) => {
                let effects = self.votes.handle(now, author, message);
                self.absorb_votes(effects);
            }
            Parcel::LaneCertificate(..) => {}
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
            self.post(to, Parcel::Round(message));
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
            self.post(to, Parcel::Block(message));
        }
    }

    /// Messages to ourselves go through our own queue, the others to the bench.
    fn post(&mut self, to: To, parcel: Parcel) {
        match to {
            To::All => {
                self.local.push_back(parcel.clone());
                self.out.sends.push((To::Others, parcel));
            }
            To::Member(node) if node == self.member.node() => self.local.push_back(parcel),
            To::Others | To::Member(_) => self.out.sends.push((to, parcel)),
        }
    }
}
