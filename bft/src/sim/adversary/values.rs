//! Invalid proposals.

use std::collections::BTreeMap;

use wire::ids::{Digest, NodeId, Round, Seq, View};

use crate::crypto::cert::Certificate;
use crate::cut::{Cut, Tip};
use crate::justification::Justification;
use crate::message::Message;
use crate::mvba::MvbaMessage;
use crate::round::RoundMessage;
use crate::sim::adversary::leading::Leading;
use crate::sim::adversary::{Behaviour, Hands, instead};
use crate::sim::parcel::{Frame, Parcel};
use crate::spb::SpbMessage;

/// The defect of the values it proposes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FalseValue {
    /// Another digest for a lane that is not ahead.
    OtherDigest,
    /// An entry that has no certificate.
    Uncertified,
    /// Entries that have no certificate, in every lane.
    UnknownTips,
    /// A justification that does not hold.
    Justification,
}

/// Replaces the values that its cores propose, and leads their SPBs as far as others follow.
#[derive(Debug)]
pub(super) struct FalseValues {
    what: FalseValue,
    leading: Leading,
    sent: BTreeMap<(NodeId, Round, View), Parcel>,
}

impl FalseValues {
    pub(super) fn new(what: FalseValue) -> FalseValues {
        FalseValues { what, leading: Leading::default(), sent: BTreeMap::new() }
    }

    fn falsify(
        &mut self,
        hands: &mut Hands,
        from: NodeId,
        round: Round,
        message: &MvbaMessage,
    ) -> Option<Parcel> {
        let MvbaMessage::Spb { view, leader, message: SpbMessage::Send { cut, justification } } = message
        else {
            return None;
        };
        let (view, leader) = (*view, *leader);
        if let Some(parcel) = self.sent.get(&(from, round, view)) {
            return Some(parcel.clone());
        }
        let (value, reason) = match self.what {
            FalseValue::OtherDigest => (other_digest(hands, round, cut), justification.clone()),
            FalseValue::Uncertified => (uncertified(hands, from, cut), justification.clone()),
            FalseValue::UnknownTips => (unknown_tips(hands, cut), justification.clone()),
            FalseValue::Justification => false_justification(hands, round, view, cut, justification),
        };
        if (&value, &reason) == (cut, justification) {
            return None;
        }
        self.leading.propose(from, round, view, &value);
        let message = SpbMessage::Send { cut: value, justification: reason };
        let message = MvbaMessage::Spb { view, leader, message };
        let parcel = Parcel::of(&Message::Round(RoundMessage::Mvba { round, message }));
        self.sent.insert((from, round, view), parcel.clone());
        Some(parcel)
    }
}

impl Behaviour for FalseValues {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        let falsified = match frame.parcel.mvba() {
            Some((round, message)) => self.falsify(hands, frame.from, round, message),
            None => None,
        };
        match falsified {
            Some(parcel) => hands.pass(instead(&frame, parcel)),
            None => hands.pass(frame),
        }
    }

    fn see(&mut self, hands: &mut Hands, frame: &Frame) {
        self.leading.see(hands, frame);
    }
}

/// The cut with a false digest in an honest lane that is not ahead, or that is kept from being ahead.
fn other_digest(hands: &mut Hands, round: Round, cut: &Cut) -> Cut {
    let mut cut = cut.clone();
    let Some(previous) = hands.known.previous(round).cloned() else { return cut };
    let mut lanes: Vec<usize> = hands.honest().iter().map(|node| usize::from(hands.index(*node).0)).collect();
    hands.prng.shuffle(&mut lanes);
    let is_ahead = |lane: usize| cut.0[lane].seq > previous.0[lane].seq;
    let others_ahead = |lane: usize| (0..cut.0.len()).any(|other| other != lane && is_ahead(other));
    if let Some(lane) = lanes.into_iter().find(|lane| others_ahead(*lane)) {
        cut.0[lane] = Tip { seq: previous.0[lane].seq, digest: Digest([round.0 as u8; 32]) };
    }
    cut
}

/// The cut with its own lane further ahead than any certificate goes.
fn uncertified(hands: &mut Hands, from: NodeId, cut: &Cut) -> Cut {
    let mut cut = cut.clone();
    let own = usize::from(hands.index(from).0);
    let seq = Seq(cut.0[own].seq.0 + 1 + hands.prng.below(3));
    cut.0[own] = Tip { seq, digest: Digest(hands.prng.bytes()) };
    cut
}

/// The cut with every lane one seq further ahead, at an entry that does not exist.
fn unknown_tips(hands: &mut Hands, cut: &Cut) -> Cut {
    let further = |tip: &Tip| Tip { seq: tip.seq.next(), digest: Digest(hands.prng.bytes()) };
    Cut(cut.0.iter().map(further).collect())
}

/// Another value, with an almost valid justification.
fn false_justification(
    hands: &mut Hands,
    round: Round,
    view: View,
    cut: &Cut,
    justification: &Justification,
) -> (Cut, Justification) {
    if view == View(0) {
        // In the first view no justification is needed, so a missing one must do no harm.
        return (cut.clone(), justification.clone());
    }
    let last = View(view.0 - 1);
    let other = hands.known.other_value(round, cut).unwrap_or_else(|| cut.clone());
    let locks: Vec<_> = hands.known.view(round, last).locks.into_values().collect();
    let lock = hands.prng.pick(&locks).cloned();
    let unlocks = &justification.unlocks;
    match (hands.prng.below(7), lock) {
        // The true UNLOCKs, without the lock or the views before them.
        (0, _) => (other, Justification { lock: None, unlocks: unlocks.clone() }),
        (1, _) => (other, Justification { lock: None, unlocks: last_only(unlocks) }),
        // As many UNLOCKs as there should be, the last one true.
        (2, _) => (other, Justification { lock: None, unlocks: padded(unlocks, view) }),
        // Certificate 1 of any SPB of the last view, elected or not.
        (3 | 4, Some(lock)) => (lock.cut, Justification::locked(last, lock.certificate)),
        // A certificate 1 for another value than it names, or in place of UNLOCKs.
        (5, Some(lock)) => (other, Justification::locked(last, lock.certificate)),
        (_, Some(lock)) => (other, Justification::default().unlocked(lock.certificate)),
        (_, None) => (other, Justification::default()),
    }
}

fn last_only(unlocks: &[Certificate]) -> Vec<Certificate> {
    unlocks.last().into_iter().cloned().collect()
}

/// A chain from view 0 on in which the last link stands for all.
fn padded(unlocks: &[Certificate], view: View) -> Vec<Certificate> {
    let last = unlocks.last().cloned().unwrap_or(Certificate(Vec::new()));
    vec![last; view.0 as usize]
}
