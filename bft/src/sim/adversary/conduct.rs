//! The attacks that one Byzantine member of a real testbed carries out: those for which its own keys suffice, and what
//! others send it.

use super::silence::Mute;
use super::{Adversary, Behaviour, Chaos, Hands};
use crate::sim::parcel::Frame;

/// Declares the conducts, each with its name on the command line, so that none can be left out of a list of them.
macro_rules! conducts {
    ($($(#[$about:meta])* $variant:ident = $name:literal,)*) => {
        /// How a Byzantine member of a real testbed behaves, from its start to its end.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Conduct {
            $($(#[$about])* $variant,)*
        }

        impl Conduct {
            /// All of them.
            pub const ALL: [Conduct; [$($name),*].len()] = [$(Conduct::$variant),*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Conduct::$variant => $name,)*
                }
            }
        }
    };
}

conducts! {
    /// Sends nothing to any node.
    Mute = "mute",
    /// Two entries with one seq of its lane, two values in its SPBs, ballots that differ from member to member.
    Equivocate = "equivocate",
    /// Sends its entries to as few members as make a certificate, and serves none that it has signed.
    Withhold = "withhold",
    /// Forged, short and repeated certificates, and those of other statements; false HALTs; between
    /// shards false parts, SIGNs and imports.
    Forge = "forge",
    /// Coin shares that do not verify.
    BadShare = "bad-share",
    /// Votes for headers that no member computed, and certificates of them.
    WrongVote = "wrong-vote",
    /// Cuts with tips that are not certified, false justifications, entries that break static validity.
    Invalid = "invalid",
    /// Old messages of all nodes, again and again.
    Stale = "stale",
    /// Messages of rounds, views and seqs far ahead.
    Flood = "flood",
    /// Bytes flipped, cut off, added or exchanged.
    Garbage = "garbage",
    /// CL and CL_M without cause, orders of garbage, cancels of what can finish.
    FalseReject = "false-reject",
}

/// What forges; those that forge between shards come last.
const FORGE: [Adversary; 8] = [
    Adversary::ForgedCertificate,
    Adversary::ShortCertificate,
    Adversary::DuplicateSigner,
    Adversary::WrongRound,
    Adversary::FalseHalt,
    Adversary::FalseTransfer,
    Adversary::ForgedImport,
    Adversary::FalseSign,
];
/// How many of them forge where there is one shard.
const FORGE_WITHIN_SHARD: usize = 5;

impl Conduct {
    /// The conduct of a name.
    pub fn parse(name: &str) -> Option<Conduct> {
        Conduct::ALL.into_iter().find(|conduct| conduct.name() == name)
    }

    /// Whether it attacks the traffic between shards, so that there must be several.
    pub fn needs_shards(self) -> bool {
        self == Conduct::FalseReject
    }

    pub(in crate::sim) fn behaviour(self, hands: &mut Hands) -> Box<dyn Behaviour> {
        let all: &[Adversary] = match self {
            // The simulator draws one of several ways of silence; here it is to be known which.
            Conduct::Mute => return Box::new(Mute::Always),
            Conduct::Equivocate => {
                let all =
                    [Adversary::EquivocatingLane, Adversary::EquivocatingSpb, Adversary::EquivocatingBallots];
                return Box::new(InTurn(all.map(|adversary| adversary.behaviour(hands))));
            }
            Conduct::Withhold => &[Adversary::SilentSigners],
            Conduct::Forge if hands.committee.shards() > 1 => &FORGE,
            Conduct::Forge => &FORGE[..FORGE_WITHIN_SHARD],
            Conduct::BadShare => &[Adversary::BadShare],
            Conduct::WrongVote => &[Adversary::WrongVote],
            Conduct::Invalid => &[
                Adversary::OtherDigest,
                Adversary::UncertifiedCut,
                Adversary::UnknownTips,
                Adversary::FalseJustification,
                Adversary::InvalidEntry,
            ],
            Conduct::Stale => &[Adversary::StaleFlood],
            Conduct::Flood => &[Adversary::FutureFlood],
            Conduct::Garbage => &[Adversary::MutatedBytes],
            Conduct::FalseReject => &[Adversary::FalseReject, Adversary::FalseOrder, Adversary::FalseCancel],
        };
        match all {
            [one] => one.behaviour(hands),
            all => Box::new(Chaos::of(all, hands)),
        }
    }
}

/// Behaviours that attack different messages, all at once: what one sends is the next one's to replace.
#[derive(Debug)]
struct InTurn<const COUNT: usize>([Box<dyn Behaviour>; COUNT]);

impl<const COUNT: usize> Behaviour for InTurn<COUNT> {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        let before = hands.take_frames();
        let mut frames = vec![frame];
        for behaviour in &mut self.0 {
            frames.into_iter().for_each(|frame| behaviour.forward(hands, frame));
            frames = hands.take_frames();
        }
        before.into_iter().chain(frames).for_each(|frame| hands.pass(frame));
    }

    fn see(&mut self, hands: &mut Hands, frame: &Frame) {
        self.0.iter_mut().for_each(|behaviour| behaviour.see(hands, frame));
    }

    fn overhear(&mut self, hands: &mut Hands, frame: &Frame) {
        self.0.iter_mut().for_each(|behaviour| behaviour.overhear(hands, frame));
    }

    fn turn(&mut self, hands: &mut Hands) {
        self.0.iter_mut().for_each(|behaviour| behaviour.turn(hands));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_parse() {
        for conduct in Conduct::ALL {
            assert_eq!(Conduct::parse(conduct.name()), Some(conduct));
        }
        assert_eq!(Conduct::parse("honest"), None);
    }
}
