//! The adversary: up to f Byzantine members with their own keys, or a hostile scheduler.
//!
//! It acts through [`Hands`] only, one for each shard: it signs with the suites of the members it owns, sends in their
//! names, and reads every message under way, since channels are authenticated and not secret. It cannot sign for
//! others, nor lose or change their frames. Its members run real cores; a [`Behaviour`] stands between such a core and
//! the network and replaces, withholds, doubles or adds messages. Byzantine members stay Byzantine to the end of a run.

mod certificates;
mod checkpoints;
mod claims;
mod coin;
mod conduct;
mod copies;
mod equivocation;
mod floods;
mod hands;
mod ids;
mod known;
mod leading;
mod rejects;
pub(crate) mod shapes;
mod silence;
mod transfers;
mod values;

use std::fmt;

use crate::sim::parcel::{Frame, Parcel};

pub use conduct::Conduct;
pub(super) use hands::Hands;

use certificates::{BadCertificates, Flavour};
use checkpoints::FalseCheckpoints;
use claims::{FalseCertificates, FalseClaims};
use coin::{BadShares, EarlyShares, FalseHalts};
use copies::FalseCopies;
use equivocation::{EquivocatingBallots, EquivocatingLane, EquivocatingSpb, InvalidEntries, WrongVotes};
use floods::{FutureFlood, MutatedBytes, StaleFlood};
use ids::ChosenIds;
use rejects::{FalseEntries, FalseOrders, FalseRejects, Inserted};
use shapes::ReshapedTransfers;
use silence::{Mute, Withheld};
use transfers::{FalseSigns, FalseTransfers, SilentPartner};
use values::{FalseValue, FalseValues};

/// Declares the adversaries, each with its name on the command line, so that none can be left out of a list of them.
macro_rules! adversaries {
    ($($(#[$about:meta])* $variant:ident = $name:literal,)*) => {
        /// An attack. Each has a name on the command line.
        ///
        /// Its number is a part of a scenario's random choices: an adversary in the middle would give all later ones
        /// other runs.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Adversary {
            $($(#[$about])* $variant,)*
        }

        impl Adversary {
            /// All of them.
            pub const ALL: [Adversary; [$($name),*].len()] = [$(Adversary::$variant),*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Adversary::$variant => $name,)*
                }
            }
        }
    };
}

adversaries! {
    /// No node is Byzantine; delays, starvation, partitions, crashes and lost frames are drawn at random.
    Random = "random",
    /// Sends nothing, or not to all members.
    Mute = "mute",
    /// Two entries with one seq of its lane, to different halves.
    EquivocatingLane = "equivocating-lane",
    /// Two values in one SPB, to different halves.
    EquivocatingSpb = "equivocating-spb",
    /// Yes to some and no to others, in PRE-VOTE and VOTE.
    EquivocatingBallots = "equivocating-ballots",
    /// Two cores with the same key.
    Twins = "twins",
    /// Entries that only as many members get as make a certificate.
    WithheldPayload = "withheld-payload",
    /// Certificates with signatures that others never gave.
    ForgedCertificate = "forged-certificate",
    /// Certificates with fewer than N−f signers.
    ShortCertificate = "short-certificate",
    /// Certificates that count one signer several times.
    DuplicateSigner = "duplicate-signer",
    /// Certificates of another round, view or seq.
    WrongRound = "wrong-round",
    /// Certificates and messages of another shard's members.
    WrongShard = "wrong-shard",
    /// HALT from the certificate of an SPB whose leader was not elected.
    FalseHalt = "false-halt",
    /// Values of later views with justifications that do not hold.
    FalseJustification = "false-justification",
    /// Cuts with another digest for a lane that is not ahead.
    OtherDigest = "other-digest",
    /// Cuts that name entries without certificate.
    UncertifiedCut = "uncertified-cut",
    /// Lane entries that break static validity.
    InvalidEntry = "invalid-entry",
    /// Votes for headers that no member computed.
    WrongVote = "wrong-vote",
    /// Invalid coin shares.
    BadShare = "bad-share",
    /// Coin shares before their time.
    EarlyShare = "early-share",
    /// No coin shares.
    MissingShare = "missing-share",
    /// Old messages, again and again.
    StaleFlood = "stale-flood",
    /// Messages of rounds, views and seqs far ahead.
    FutureFlood = "future-flood",
    /// Messages with flipped, missing or added bytes.
    MutatedBytes = "mutated-bytes",
    /// A little of each, message by message.
    Chaos = "chaos",
    /// Child processes of honest nodes die again and again and take frames along.
    DyingChild = "dying-child",
    /// Messages of the elected leader reach hardly any member in time.
    StarvedLeader = "starved-leader",
    /// The message sent last arrives first.
    LastInFirstOut = "last-in-first-out",
    /// Clients submit old transactions again and again, long after their expiries, which are short.
    Resubmitting = "resubmitting",
    /// Sends no parts, SIGNs or orders.
    SilentPartner = "silent-partner",
    /// Parts with wrong branches, altered items, other numbers, certificates of something else.
    FalseTransfer = "false-transfer",
    /// Truncated, split, lengthened, reordered or recounted parts, with their true certificates.
    ReshapedTransfer = "reshaped-transfer",
    /// SIGNs of parts that were never sent, and acknowledgements of parts that were not executed.
    FalseSign = "false-sign",
    /// CL and CL_M without cause.
    FalseReject = "false-reject",
    /// Lanes that list cancels of transactions that can finish, or have finished.
    FalseCancel = "false-cancel",
    /// Lanes that import parts without a certificate.
    ForgedImport = "forged-import",
    /// Orders of garbage, and of transactions that do not concern the receiver.
    FalseOrder = "false-order",
    /// Messages between shards take seconds, past expiries.
    SlowShards = "slow-shards",
    /// CL and CL_M on made-up ids that share many bytes.
    ChosenIds = "chosen-ids",
    /// Its processes reincarnate again and again.
    Reconnecting = "reconnecting",
    /// Values with an entry without a certificate in every lane.
    UnknownTips = "unknown-tips",
    /// Signs the entries and parts of others but never serves them; sends its own entries to as few as make a
    /// certificate.
    SilentSigners = "silent-signers",
    /// Claims to have decided rounds that do not exist.
    FalseClaim = "false-claim",
    /// Hundreds of false certificates.
    FalseCertificates = "false-certificates",
    /// Members keep few rounds, and some are cut off for longer than that.
    ShortHistory = "short-history",
    /// The same, with false offers of checkpoints, false pieces, and requests for checkpoints of everybody.
    FalseCheckpoints = "false-checkpoints",
    /// Copies of what nobody handed in, under false positions, and acknowledgements of copies that it never got.
    FalseCopies = "false-copies",
}

impl Adversary {
    /// The adversary of a name.
    pub fn parse(name: &str) -> Option<Adversary> {
        Adversary::ALL.into_iter().find(|adversary| adversary.name() == name)
    }

    /// Whether it owns members; else it is a scheduler.
    pub fn owns_nodes(self) -> bool {
        !matches!(
            self,
            Adversary::Random
                | Adversary::DyingChild
                | Adversary::StarvedLeader
                | Adversary::LastInFirstOut
                | Adversary::Resubmitting
                | Adversary::SlowShards
                | Adversary::ShortHistory
        )
    }

    /// Whether members keep so few rounds that one that is cut off needs a checkpoint.
    pub(super) fn shortens_history(self) -> bool {
        matches!(self, Adversary::ShortHistory | Adversary::FalseCheckpoints)
    }

    /// Whether it attacks the guarantees of signatures and coins, so that a mixture of suites runs it on the real one.
    pub fn attacks_crypto(self) -> bool {
        matches!(
            self,
            Adversary::ForgedCertificate
                | Adversary::ShortCertificate
                | Adversary::DuplicateSigner
                | Adversary::WrongRound
                | Adversary::WrongShard
                | Adversary::FalseHalt
                | Adversary::BadShare
                | Adversary::EarlyShare
                | Adversary::MissingShare
        )
    }

    /// Whether it needs views beyond the first, and so leaders that fail.
    pub(super) fn needs_views(self) -> bool {
        matches!(
            self,
            Adversary::Mute
                | Adversary::FalseJustification
                | Adversary::EquivocatingBallots
                | Adversary::FalseHalt
                | Adversary::WrongRound
                | Adversary::Chaos
        )
    }

    /// Whether it attacks the traffic between shards, so that there must be several.
    pub fn needs_shards(self) -> bool {
        matches!(
            self,
            Adversary::SilentPartner
                | Adversary::FalseTransfer
                | Adversary::ReshapedTransfer
                | Adversary::FalseSign
                | Adversary::FalseReject
                | Adversary::FalseCancel
                | Adversary::ForgedImport
                | Adversary::FalseOrder
                | Adversary::SlowShards
                | Adversary::ChosenIds
        )
    }

    /// Whether it attacks the duration of something, so that network and disks must be calm.
    pub(super) fn needs_calm(self) -> bool {
        self == Adversary::SilentSigners
    }

    /// Whether it goes on when all transactions are settled, and checks the consequences itself.
    pub(super) fn disturbs_rest(self) -> bool {
        self == Adversary::FalseClaim
    }

    /// How many cores run with the key of one of its members.
    pub(super) fn cores_a_node(self) -> usize {
        if self == Adversary::Twins { 2 } else { 1 }
    }

    pub(super) fn behaviour(self, hands: &mut Hands) -> Box<dyn Behaviour> {
        match self {
            Adversary::Random
            | Adversary::DyingChild
            | Adversary::StarvedLeader
            | Adversary::LastInFirstOut
            | Adversary::Resubmitting
            | Adversary::SlowShards
            | Adversary::ShortHistory
            | Adversary::Reconnecting
            | Adversary::Twins => Box::new(Faithful),
            Adversary::Mute => Box::new(Mute::draw(hands)),
            Adversary::EquivocatingLane => Box::new(EquivocatingLane::default()),
            Adversary::EquivocatingSpb => Box::new(EquivocatingSpb::default()),
            Adversary::EquivocatingBallots => Box::new(EquivocatingBallots),
            Adversary::WithheldPayload => Box::new(Withheld::Payloads),
            Adversary::ForgedCertificate => Box::new(BadCertificates::new(Flavour::Forged)),
            Adversary::ShortCertificate => Box::new(BadCertificates::new(Flavour::Short)),
            Adversary::DuplicateSigner => Box::new(BadCertificates::new(Flavour::DuplicateSigner)),
            Adversary::WrongRound => Box::new(BadCertificates::new(Flavour::WrongPlace)),
            Adversary::WrongShard => Box::new(BadCertificates::new(Flavour::WrongShard)),
            Adversary::FalseHalt => Box::new(FalseHalts::default()),
            Adversary::FalseJustification => Box::new(FalseValues::new(FalseValue::Justification)),
            Adversary::OtherDigest => Box::new(FalseValues::new(FalseValue::OtherDigest)),
            Adversary::UncertifiedCut => Box::new(FalseValues::new(FalseValue::Uncertified)),
            Adversary::InvalidEntry => Box::new(InvalidEntries::default()),
            Adversary::WrongVote => Box::new(WrongVotes),
            Adversary::BadShare => Box::new(BadShares),
            Adversary::EarlyShare => Box::new(EarlyShares::default()),
            Adversary::MissingShare => Box::new(Withheld::CoinShares),
            Adversary::StaleFlood => Box::new(StaleFlood::default()),
            Adversary::FutureFlood => Box::new(FutureFlood),
            Adversary::MutatedBytes => Box::new(MutatedBytes),
            Adversary::Chaos => Box::new(Chaos::new(hands)),
            Adversary::SilentPartner => Box::new(SilentPartner::draw(hands)),
            Adversary::FalseTransfer => Box::new(FalseTransfers::default()),
            Adversary::ReshapedTransfer => Box::new(ReshapedTransfers),
            Adversary::FalseSign => Box::new(FalseSigns::default()),
            Adversary::FalseReject => Box::new(FalseRejects::default()),
            Adversary::FalseCancel => Box::new(FalseEntries::new(Inserted::Cancels)),
            Adversary::ForgedImport => Box::new(FalseEntries::new(Inserted::Imports)),
            Adversary::FalseOrder => Box::new(FalseOrders::default()),
            Adversary::ChosenIds => Box::new(ChosenIds::default()),
            Adversary::UnknownTips => Box::new(FalseValues::new(FalseValue::UnknownTips)),
            Adversary::SilentSigners => Box::new(Withheld::Answers),
            Adversary::FalseClaim => Box::new(FalseClaims::default()),
            Adversary::FalseCertificates => Box::new(FalseCertificates::default()),
            Adversary::FalseCheckpoints => Box::new(FalseCheckpoints::default()),
            Adversary::FalseCopies => Box::new(FalseCopies::default()),
        }
    }
}

/// The behaviour of Byzantine members. All methods act by [`Hands::send`]; a frame that [`Behaviour::forward`] does not
/// send is lost.
pub(super) trait Behaviour: fmt::Debug {
    /// A core of ours wants to send this frame.
    fn forward(&mut self, hands: &mut Hands, frame: Frame);

    /// Something is under way from a member of the shard, ours or not.
    fn see(&mut self, _hands: &mut Hands, _frame: &Frame) {}

    /// Something is under way from a member of another shard.
    fn overhear(&mut self, _hands: &mut Hands, _frame: &Frame) {}

    /// Time for something of our own.
    fn turn(&mut self, _hands: &mut Hands) {}
}

/// Forwards every frame of its core.
#[derive(Debug)]
struct Faithful;

impl Behaviour for Faithful {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        hands.pass(frame);
    }
}

/// Several behaviours at once, one drawn anew for each frame.
#[derive(Debug)]
struct Chaos(Vec<Box<dyn Behaviour>>);

impl Chaos {
    /// Of all.
    fn new(hands: &mut Hands) -> Chaos {
        let is_apt = |adversary: &Adversary| {
            *adversary != Adversary::Chaos
                && !adversary.disturbs_rest()
                && (hands.committee.shards() > 1 || !adversary.needs_shards())
        };
        let all: Vec<Adversary> = Adversary::ALL.into_iter().filter(is_apt).collect();
        Chaos::of(&all, hands)
    }

    /// Of these only.
    fn of(adversaries: &[Adversary], hands: &mut Hands) -> Chaos {
        Chaos(adversaries.iter().map(|adversary| adversary.behaviour(hands)).collect())
    }

    fn any(&mut self, hands: &mut Hands) -> &mut Box<dyn Behaviour> {
        let at = hands.prng.below(self.0.len() as u64) as usize;
        &mut self.0[at]
    }
}

impl Behaviour for Chaos {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        self.any(hands).forward(hands, frame);
    }

    fn see(&mut self, hands: &mut Hands, frame: &Frame) {
        self.0.iter_mut().for_each(|behaviour| behaviour.see(hands, frame));
    }

    fn overhear(&mut self, hands: &mut Hands, frame: &Frame) {
        self.0.iter_mut().for_each(|behaviour| behaviour.overhear(hands, frame));
    }

    fn turn(&mut self, hands: &mut Hands) {
        self.any(hands).turn(hands);
    }
}

/// The frame with another parcel.
fn instead(frame: &Frame, parcel: Parcel) -> Frame {
    Frame { parcel, ..frame.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_parse() {
        for adversary in Adversary::ALL {
            assert_eq!(Adversary::parse(adversary.name()), Some(adversary));
        }
        assert_eq!(Adversary::parse("nobody"), None);
    }
}
