//! Attacks on the coin and on the election of leaders.

use std::collections::BTreeSet;

use wire::ids::{Index, NodeId, Round, View};

use crate::crypto::suite::{CoinName, CoinShare};
use crate::message::Message;
use crate::mvba::{Halt, MvbaMessage};
use crate::round::RoundMessage;
use crate::sim::adversary::{Behaviour, Hands, instead};
use crate::sim::parcel::{Frame, Parcel};

/// Invalid shares: of another name, of another member, with flipped bits.
#[derive(Debug)]
pub(super) struct BadShares;

impl Behaviour for BadShares {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        let Some((round, MvbaMessage::CoinShare { view, share })) = frame.parcel.mvba() else {
            return hands.pass(frame);
        };
        let (view, mut bad) = (*view, *share);
        match hands.prng.below(5) {
            0 => {
                let name = CoinName { round: round.next(), view };
                bad = hands.suite(frame.from).coin_share(&name);
            }
            1 => {
                let others = hands.known.view(round, view).shares;
                bad = others.values().next().copied().unwrap_or(bad);
            }
            2 => bad.value[usize::from(frame.to.0 as u8 % 32)] ^= 1,
            3 => bad.challenge = hands.prng.bytes(),
            _ => bad = CoinShare { value: [0xFF; 32], challenge: [0xFF; 32], response: [0xFF; 32] },
        }
        let bad = instead(&frame, share_parcel(round, view, bad));
        // The honest share afterwards must neither replace the bad one nor do harm.
        if hands.prng.chance(1, 2) {
            hands.pass(frame);
        }
        hands.pass(bad);
    }
}

/// Shares at the first message of a view, and for later views and rounds.
#[derive(Debug, Default)]
pub(super) struct EarlyShares {
    given: BTreeSet<(Round, View)>,
}

impl Behaviour for EarlyShares {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        hands.pass(frame);
    }

    fn see(&mut self, hands: &mut Hands, frame: &Frame) {
        let Some((round, message)) = frame.parcel.mvba() else { return };
        let view = message.view();
        if round.0 > hands.known.decided().0 + 2 || !self.given.insert((round, view)) {
            return;
        }
        for (round, view) in [(round, view), (round, view.next()), (round.next(), View(0))] {
            for node in hands.nodes() {
                let share = hands.suite(node).coin_share(&CoinName { round, view });
                let message = MvbaMessage::CoinShare { view, share };
                hands.send_to_honest(node, &Message::Round(RoundMessage::Mvba { round, message }));
            }
        }
    }
}

/// HALT from certificate 2 of an SPB that is not the elected leader's, with the shares that elect another, with too
/// few, or with those of a view that elects the right one.
#[derive(Debug, Default)]
pub(super) struct FalseHalts {
    tried: BTreeSet<(Round, View)>,
}

impl Behaviour for FalseHalts {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        hands.pass(frame);
    }

    fn see(&mut self, hands: &mut Hands, frame: &Frame) {
        let Some((round, MvbaMessage::CoinShare { view, .. })) = frame.parcel.mvba() else { return };
        let view = *view;
        let known = hands.known.view(round, view);
        let quorum = hands.committee.quorum();
        let Some(liar) = hands.nodes().first().copied() else { return };
        if known.shares.len() < quorum || self.tried.contains(&(round, view)) {
            return;
        }
        let shares: Vec<(Index, CoinShare)> = known.shares.into_iter().take(quorum).collect();
        let Some(leader) = hands.suite(liar).elect(&CoinName { round, view }, &shares) else { return };
        let other = known.finishes.into_iter().find(|(index, _)| *index != leader);
        let Some((_, proof)) = other else { return };
        self.tried.insert((round, view));
        let halt = Halt { round, view, cut: proof.cut, certificate: proof.certificate, shares };
        for to in hands.honest() {
            let mut halt = halt.clone();
            match hands.prng.below(4) {
                0 => halt.shares.truncate(quorum - 1),
                1 => halt.shares[quorum - 1] = halt.shares[0],
                2 => halt.view = view.next(),
                _ => {}
            }
            send_halt(hands, liar, to, halt);
        }
    }
}

fn send_halt(hands: &mut Hands, from: NodeId, to: NodeId, halt: Halt) {
    hands.send(from, to, Parcel::of(&Message::Round(RoundMessage::Halt(Box::new(halt)))));
}

fn share_parcel(round: Round, view: View, share: CoinShare) -> Parcel {
    let message = MvbaMessage::CoinShare { view, share };
    Parcel::of(&Message::Round(RoundMessage::Mvba { round, message }))
}
