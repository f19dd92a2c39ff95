//! The checks that hold in every script. They use none of the protocol's rules: a mutant of a rule must not blind its
//! check.

use std::collections::{BTreeMap, BTreeSet};

use wire::ids::{Digest, Index, Round, View};

use crate::cut::{Cut, Tip};
use crate::fault::Fault;
use crate::round::Decision;

/// Views in which a round must be over. A view decides with probability 2/3 in a fair run and not much less in an
/// unfair one, so a correct shard gets here less than once in 10⁹ rounds.
pub const VIEWS_MAX: u32 = 40;

/// A broken promise of agreement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Violation {
    /// Two honest members decided different cuts.
    Fork(String),
    /// Two honest members computed different headers.
    HeaderFork(String),
    /// A cut was decided that does not follow the one before it.
    InvalidCut(String),
    /// A cut was decided with an uncertified tip.
    Uncertified(String),
    /// An honest member blamed another.
    HonestBlamed(String),
    /// No decision within the bound.
    Stalled(String),
}

/// Watches all honest members. Remembers the first violation.
#[derive(Clone, Debug)]
pub(super) struct Checker {
    cuts: BTreeMap<Round, Cut>,
    headers: BTreeMap<Round, Digest>,
    headers_seen: BTreeMap<Index, usize>,
    certified: BTreeSet<(Index, Tip)>,
    pub(super) faults: Vec<(Index, Fault)>,
    pub(super) views_most: u32,
    pub(super) violation: Option<Violation>,
}

impl Checker {
    pub(super) fn new(genesis: Cut) -> Checker {
        Checker {
            cuts: BTreeMap::from([(Round(0), genesis)]),
            headers: BTreeMap::new(),
            headers_seen: BTreeMap::new(),
            certified: BTreeSet::new(),
            faults: Vec::new(),
            views_most: 0,
            violation: None,
        }
    }

    pub(super) fn certified(&mut self, lane: Index, tip: Tip) {
        self.certified.insert((lane, tip));
    }

    pub(super) fn decided(&mut self, member: Index, decisions: &[Decision]) {
        for decision in decisions {
            self.views_most = self.views_most.max(decision.times.views);
            match self.cuts.get(&decision.round) {
                Some(cut) if *cut == decision.cut => {}
                Some(_) => self.report(Violation::Fork(format!(
                    "member {member} decided another cut in round {}",
                    decision.round
                ))),
                None => self.first_decided(member, decision),
            }
        }
    }

    fn first_decided(&mut self, member: Index, decision: &Decision) {
        let (round, cut) = (decision.round, &decision.cut);
        let before = self.cuts[&Round(round.0 - 1)].clone();
        let at = |lane: Index| format!("lane {lane} in round {round} at member {member}");
        let mut ahead = 0;
        for (lane, tip) in cut.tips() {
            let last = before.tip(lane);
            if tip.seq > last.seq {
                ahead += 1;
                if !self.certified.contains(&(lane, tip)) {
                    self.report(Violation::Uncertified(at(lane)));
                }
            } else if tip != last {
                self.report(Violation::InvalidCut(at(lane)));
            }
        }
        if ahead == 0 || cut.0.len() != before.0.len() {
            self.report(Violation::InvalidCut(format!("{ahead} lanes ahead in round {round}")));
        }
        self.cuts.insert(round, cut.clone());
    }

    /// `headers` are all those of a member, by height from 1.
    pub(super) fn executed(&mut self, member: Index, headers: &[Digest]) {
        let seen = self.headers_seen.insert(member, headers.len()).unwrap_or(0);
        for (height, header) in (1..).map(Round).zip(headers).skip(seen) {
            if *self.headers.entry(height).or_insert(*header) != *header {
                self.report(Violation::HeaderFork(format!("height {height} at member {member}")));
            }
        }
    }

    pub(super) fn blamed(&mut self, member: Index, faults: &[Fault], byzantine: &BTreeSet<Index>) {
        for fault in faults {
            let honest = !byzantine.contains(&Index(fault.peer.0));
            if honest {
                let (peer, kind) = (fault.peer, fault.kind);
                self.report(Violation::HonestBlamed(format!("member {member} blames {peer} for {kind:?}")));
            }
            self.faults.push((member, *fault));
        }
    }

    pub(super) fn view_reached(&mut self, round: Round, view: View) {
        if view.0 >= VIEWS_MAX && self.violation.is_none() {
            self.report(Violation::Stalled(format!("round {round} came to view {view}")));
        }
    }

    fn report(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }
}
