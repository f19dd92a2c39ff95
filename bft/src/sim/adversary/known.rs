//! The adversary's memory of the network: certificates, shares and cuts of the last rounds.

use std::collections::BTreeMap;

use wire::committee::Committee;
use wire::ids::{Digest, Index, Round, Seq, Signature, View};

use crate::crypto::cert::Certificate;
use crate::crypto::suite::CoinShare;
use crate::cut::{Cut, Tip};
use crate::lane::LaneMessage;
use crate::message::Message;
use crate::mvba::{Ballot, Halt, MvbaMessage, PreVote, Vote};
use crate::round::{CatchUpMessage, RoundMessage};
use crate::sim::parcel::{Frame, Seen};
use crate::spb::{Certified, SpbMessage};

/// Rounds that are remembered.
const ROUNDS: u64 = 4;
/// Entries of a lane that are remembered: in a real testbed they come for hours.
const TIPS_MAX: usize = 1_024;
/// Certificates kept to be shown for other statements.
const OLD_CERTIFICATES_MAX: usize = 200;

/// The messages of one view.
#[derive(Clone, Debug, Default)]
pub(in crate::sim) struct KnownView {
    /// Certificate 1 by leader.
    pub(in crate::sim) locks: BTreeMap<Index, Certified>,
    /// Certificate 2 by leader.
    pub(in crate::sim) finishes: BTreeMap<Index, Certified>,
    /// Coin shares by member, the first of each.
    pub(in crate::sim) shares: BTreeMap<Index, CoinShare>,
    /// Signatures of no-PRE-VOTEs.
    pub(in crate::sim) refusals: BTreeMap<Index, Signature>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Known {
    views: BTreeMap<(Round, View), KnownView>,
    decided: BTreeMap<Round, Halt>,
    genesis: Cut,
    /// Certified entries of each lane, newest last. Bound: [`TIPS_MAX`] a lane.
    tips: BTreeMap<Index, BTreeMap<Seq, Digest>>,
    old: Vec<Certificate>,
}

impl Known {
    pub(super) fn new(committee: &Committee) -> Known {
        Known {
            views: BTreeMap::new(),
            decided: BTreeMap::new(),
            genesis: Cut::genesis(committee),
            tips: BTreeMap::new(),
            old: Vec::new(),
        }
    }

    /// The messages of a view; empty if none was read.
    pub(in crate::sim) fn view(&self, round: Round, view: View) -> KnownView {
        self.views.get(&(round, view)).cloned().unwrap_or_default()
    }

    /// The last round known to be decided.
    pub(super) fn decided(&self) -> Round {
        self.decided.keys().next_back().copied().unwrap_or_default()
    }

    /// The cut before a round.
    pub(super) fn previous(&self, round: Round) -> Option<&Cut> {
        match round.0.checked_sub(1)? {
            0 => Some(&self.genesis),
            before => self.decided.get(&Round(before)).map(|halt| &halt.cut),
        }
    }

    /// The last entry of a lane known to be certified.
    pub(super) fn top(&self, lane: Index) -> Tip {
        let last = self.tips.get(&lane).and_then(|tips| tips.last_key_value());
        last.map_or(Tip::default(), |(seq, digest)| Tip { seq: *seq, digest: *digest })
    }

    /// Another valid value for a round than `cut`, if one is known.
    pub(super) fn other_value(&self, round: Round, cut: &Cut) -> Option<Cut> {
        let previous = self.previous(round)?;
        let mut candidates = Vec::new();
        for (lane, tip) in cut.ahead_of(previous) {
            let mut candidate = cut.clone();
            let mut known = self.tips.get(&lane).into_iter().flat_map(|tips| tips.range(..tip.seq));
            let earlier = known.rfind(|(seq, _)| **seq > previous.tip(lane).seq);
            candidate.0[usize::from(lane.0)] = match earlier {
                Some((seq, digest)) => Tip { seq: *seq, digest: *digest },
                None => previous.tip(lane),
            };
            candidates.push(candidate);
        }
        candidates.into_iter().find(|candidate| candidate != cut && candidate.may_follow(previous))
    }

    /// Certificates of earlier statements, oldest first.
    pub(super) fn old_certificates(&self) -> &[Certificate] {
        &self.old
    }

    pub(super) fn see(&mut self, committee: &Committee, frame: &Frame) {
        let Seen::Message(message) = frame.parcel.seen() else { return };
        match message {
            Message::Lane(LaneMessage::Final { owner, seq, digest, certificate }) => {
                let tips = self.tips.entry(*owner).or_default();
                tips.entry(*seq).or_insert(*digest);
                if tips.len() > TIPS_MAX {
                    tips.pop_first();
                }
                self.keep_old(certificate);
            }
            Message::Round(RoundMessage::Mvba { round, message }) => {
                self.see_agreement(committee.index_of(frame.from), *round, message);
            }
            Message::Round(RoundMessage::Halt(halt)) => self.see_halt(halt),
            Message::Round(RoundMessage::CatchUp(CatchUpMessage::Halts(answer))) => {
                answer.halts.iter().for_each(|halt| self.see_halt(halt));
            }
            _ => {}
        }
    }

    fn see_halt(&mut self, halt: &Halt) {
        // Byzantine HALTs may be false; they only mislead the adversary itself.
        if halt.round == self.decided().next() {
            self.decided.insert(halt.round, halt.clone());
            let oldest = Round(halt.round.0.saturating_sub(ROUNDS));
            self.decided = self.decided.split_off(&oldest);
            self.views = self.views.split_off(&(oldest, View(0)));
        }
    }

    fn see_agreement(&mut self, author: Index, round: Round, message: &MvbaMessage) {
        // Rounds far ahead come from the adversary itself.
        if round.0 > self.decided().0 + ROUNDS {
            return;
        }
        let view = self.views.entry((round, message.view())).or_default();
        let certified = |cut: &Cut, certificate: &Certificate| Certified {
            cut: cut.clone(),
            certificate: certificate.clone(),
        };
        match message {
            MvbaMessage::Spb { leader, message: SpbMessage::Lock { cut, certificate }, .. } => {
                view.locks.entry(*leader).or_insert_with(|| certified(cut, certificate));
                self.keep_old(certificate);
            }
            MvbaMessage::Spb { leader, message: SpbMessage::Finish { cut, certificate }, .. } => {
                view.finishes.entry(*leader).or_insert_with(|| certified(cut, certificate));
                self.keep_old(certificate);
            }
            MvbaMessage::CoinShare { share, .. } => {
                view.shares.entry(author).or_insert(*share);
            }
            MvbaMessage::Ballot { ballot: Ballot::PreVote(PreVote::No { signature }), .. } => {
                view.refusals.entry(author).or_insert(*signature);
            }
            MvbaMessage::Ballot { ballot: Ballot::Vote(Vote::No { refusals, .. }), .. } => {
                self.keep_old(refusals);
            }
            _ => {}
        }
    }

    fn keep_old(&mut self, certificate: &Certificate) {
        if self.old.len() == OLD_CERTIFICATES_MAX {
            self.old.drain(..OLD_CERTIFICATES_MAX / 2);
        }
        self.old.push(certificate.clone());
    }
}
