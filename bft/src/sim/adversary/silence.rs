//! Behaviours that send too little.

use std::collections::BTreeSet;

use wire::ids::NodeId;

use crate::mvba::{Ballot, MvbaMessage};
use crate::sim::adversary::{Behaviour, Hands};
use crate::sim::parcel::{Frame, Seen};

/// Sends nothing, nothing to some members, or only some frames.
#[derive(Debug)]
pub(super) enum Mute {
    /// Dead from the start.
    Always,
    /// Nothing to some members.
    Towards(BTreeSet<NodeId>),
    /// Half of its frames, at random.
    Patchy,
    /// Ballots go to one member only, another one each time.
    Voting,
}

impl Mute {
    pub(super) fn draw(hands: &mut Hands) -> Mute {
        match hands.prng.below(4) {
            0 => Mute::Always,
            1 => Mute::Towards(hands.half(hands.committee.n() as u64)),
            2 => Mute::Patchy,
            _ => Mute::Voting,
        }
    }
}

impl Behaviour for Mute {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        let is_lost = match self {
            Mute::Always => true,
            Mute::Towards(nodes) => nodes.contains(&frame.to),
            Mute::Patchy => hands.prng.chance(1, 2),
            Mute::Voting => match frame.parcel.mvba() {
                Some((round, MvbaMessage::Ballot { view, ballot: Ballot::Vote(_) })) => {
                    let honest = hands.honest();
                    honest[(round.0 as usize + view.0 as usize) % honest.len()] != frame.to
                }
                Some((_, MvbaMessage::Ballot { .. } | MvbaMessage::Spb { .. })) => true,
                _ => false,
            },
        };
        if !is_lost {
            hands.pass(frame);
        }
    }
}

/// Withholds one kind of message.
#[derive(Debug)]
pub(super) enum Withheld {
    /// Entries of its own lanes go to as few honest members as make a certificate with its own.
    Payloads,
    /// It sends no coin shares.
    CoinShares,
    /// As with payloads, and no request for an entry or part that it signed gets an answer.
    Answers,
}

impl Behaviour for Withheld {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        let is_withheld = match (&self, frame.parcel.seen()) {
            (Withheld::Answers, Seen::Entry(entry)) if entry.owner != hands.index(frame.from) => true,
            (Withheld::Answers, Seen::Transfer(_)) => {
                hands.committee.shard_of(frame.to) == hands.committee.shard_of(frame.from)
            }
            (Withheld::Payloads | Withheld::Answers, Seen::Entry(entry)) => {
                let mut honest = hands.honest();
                // The receivers change from entry to entry.
                let first = entry.seq.0 as usize % honest.len();
                honest.rotate_left(first);
                let enough = hands.committee.quorum() - hands.nodes().len();
                !hands.owns(frame.to) && !honest[..enough].contains(&frame.to)
            }
            (Withheld::CoinShares, _) => {
                matches!(frame.parcel.mvba(), Some((_, MvbaMessage::CoinShare { .. })))
            }
            _ => false,
        };
        if !is_withheld {
            hands.pass(frame);
        }
    }
}
