//! Invalid certificates, used where they would do most harm: to lock, finish, decide or certify another value than the
//! agreed one.

use std::collections::BTreeMap;

use wire::ids::{Digest, Index, NodeId, Round, Seq, Signature, View};

use crate::block::BlockMessage;
use crate::crypto::cert::Certificate;
use crate::crypto::suite::{Stage, Statement};
use crate::cut::{Cut, Tip};
use crate::justification::Justification;
use crate::lane::LaneMessage;
use crate::lane::entry::{self, Entry};
use crate::message::Message;
use crate::mvba::{Ballot, MvbaMessage, PreVote, Vote};
use crate::round::RoundMessage;
use crate::sim::adversary::leading::KEPT;
use crate::sim::adversary::{Behaviour, Hands, instead};
use crate::sim::parcel::{Frame, Parcel, Seen};
use crate::spb::SpbMessage;

/// The defect of its certificates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flavour {
    /// Signatures of its own members under the names of others.
    Forged,
    /// Signatures of its own members only.
    Short,
    /// One of them counted N−f times.
    DuplicateSigner,
    /// A good certificate of another statement.
    WrongPlace,
    /// N−f signatures of members of another shard.
    WrongShard,
}

/// See the module.
#[derive(Debug)]
pub(super) struct BadCertificates {
    flavour: Flavour,
    /// The value it wants decided in place of its own, by round.
    values: BTreeMap<Round, Cut>,
    /// Entries of its lane that have no honest certificate.
    entries: BTreeMap<(NodeId, Seq), Entry>,
}

impl BadCertificates {
    pub(super) fn new(flavour: Flavour) -> BadCertificates {
        BadCertificates { flavour, values: BTreeMap::new(), entries: BTreeMap::new() }
    }

    /// An invalid certificate for a statement.
    fn certificate(&self, hands: &mut Hands, statement: &Statement) -> Certificate {
        let quorum = hands.committee.quorum();
        let own = hands.signatures(statement);
        let (first, signature) = own
            .iter()
            .next()
            .map(|(index, signature)| (*index, *signature))
            .expect("an adversary that shows certificates owns a member");
        Certificate(match self.flavour {
            Flavour::Forged => {
                let random = Signature::from_bytes(hands.prng.bytes());
                let others = if hands.prng.chance(1, 2) { signature } else { random };
                let members = (0..quorum as u16).map(Index);
                members.map(|index| (index, own.get(&index).copied().unwrap_or(others))).collect()
            }
            Flavour::Short => own.into_iter().collect(),
            Flavour::DuplicateSigner => {
                let mut all: Vec<(Index, Signature)> = own.into_iter().collect();
                all.resize(quorum, (first, signature));
                all.sort_unstable();
                all
            }
            Flavour::WrongPlace => {
                let count = hands.known.old_certificates().len().max(1) as u64;
                let at = hands.prng.below(count) as usize;
                let old = hands.known.old_certificates().get(at).cloned();
                return old.unwrap_or_else(|| Certificate(own.into_iter().collect()));
            }
            Flavour::WrongShard => {
                let signers = hands.foreign.iter().take(quorum);
                (0u16..).map(Index).zip(signers.map(|suite| suite.sign(statement))).collect()
            }
        })
    }

    fn value(&mut self, hands: &Hands, round: Round, cut: &Cut) -> Cut {
        self.values.retain(|other, _| other.0 + KEPT >= round.0);
        let value = self.values.entry(round);
        value.or_insert_with(|| hands.known.other_value(round, cut).unwrap_or_else(|| cut.clone())).clone()
    }

    /// Messages of agreement, with another value and a bad certificate where there is a certificate.
    fn spoil(&mut self, hands: &mut Hands, round: Round, message: &MvbaMessage) -> Option<MvbaMessage> {
        let view = message.view();
        let statement = |leader, stage, digest| Statement::Agreement { round, view, leader, stage, digest };
        Some(match message {
            MvbaMessage::Spb { leader, message, .. } => {
                let leader = *leader;
                let message = match message {
                    SpbMessage::Send { cut, justification } => {
                        let before = View(view.0.checked_sub(1)?);
                        let cut = self.value(hands, round, cut);
                        let mut justification = justification.clone();
                        let (stage, digest) = match justification.unlocks.is_empty() {
                            true => (Stage::Lock, cut.digest()),
                            false => (Stage::Unlock, Digest::default()),
                        };
                        let statement = Statement::Agreement { round, view: before, leader, stage, digest };
                        let certificate = self.certificate(hands, &statement);
                        // The last link of the chain.
                        match justification.unlocks.last_mut() {
                            Some(last) => *last = certificate,
                            None => justification = Justification::locked(before, certificate),
                        }
                        SpbMessage::Send { cut, justification }
                    }
                    SpbMessage::Lock { cut, .. } => {
                        let cut = self.value(hands, round, cut);
                        let lock = statement(leader, Stage::Lock, cut.digest());
                        SpbMessage::Lock { certificate: self.certificate(hands, &lock), cut }
                    }
                    SpbMessage::Finish { cut, .. } => {
                        let cut = self.value(hands, round, cut);
                        let finish = statement(leader, Stage::Finish, cut.digest());
                        SpbMessage::Finish { certificate: self.certificate(hands, &finish), cut }
                    }
                    SpbMessage::Echo(_) | SpbMessage::Ready(_) => return None,
                };
                MvbaMessage::Spb { view, leader, message }
            }
            MvbaMessage::Ballot { ballot, .. } => {
                let leader = Index(hands.prng.below(hands.committee.n() as u64) as u16);
                let ballot = match ballot {
                    Ballot::PreVote(PreVote::Yes { cut, .. }) => {
                        let cut = self.value(hands, round, cut);
                        let lock = statement(leader, Stage::Lock, cut.digest());
                        Ballot::PreVote(PreVote::Yes { certificate: self.certificate(hands, &lock), cut })
                    }
                    Ballot::Vote(Vote::No { signature, .. }) => {
                        let no = statement(leader, Stage::No, Digest::default());
                        let refusals = self.certificate(hands, &no);
                        Ballot::Vote(Vote::No { refusals, signature: *signature })
                    }
                    Ballot::PreVote(PreVote::No { .. }) | Ballot::Vote(Vote::Yes { .. }) => return None,
                };
                MvbaMessage::Ballot { view, ballot }
            }
            MvbaMessage::CoinShare { .. } => return None,
        })
    }

    /// LOCK and FINISH of another value than the one just proposed, without waiting for signatures.
    fn rush(&mut self, hands: &mut Hands, frame: &Frame) {
        let Some((round, MvbaMessage::Spb { view, leader, message: SpbMessage::Send { cut, .. } })) =
            frame.parcel.mvba()
        else {
            return;
        };
        let (view, leader) = (*view, *leader);
        let cut = self.value(hands, round, cut);
        for stage in [Stage::Lock, Stage::Finish] {
            let digest = cut.digest();
            let statement = Statement::Agreement { round, view, leader, stage, digest };
            let (cut, certificate) = (cut.clone(), self.certificate(hands, &statement));
            let message = match stage {
                Stage::Lock => SpbMessage::Lock { cut, certificate },
                _ => SpbMessage::Finish { cut, certificate },
            };
            let message = MvbaMessage::Spb { view, leader, message };
            let parcel = Parcel::of(&Message::Round(RoundMessage::Mvba { round, message }));
            hands.send(frame.from, frame.to, parcel);
        }
    }

    /// A branch of its own lane, "certified" without an echo of others.
    fn rush_lane(&mut self, hands: &mut Hands, frame: &Frame) {
        let Seen::Entry(entry) = frame.parcel.seen() else { return };
        if entry.owner != hands.index(frame.from) {
            return;
        }
        self.entries.retain(|(owner, seq), _| *owner != frame.from || seq.0 + KEPT >= entry.seq.0);
        let other = self.entries.entry((frame.from, entry.seq)).or_insert_with(|| {
            let mut buffer = entry::buffer(1);
            buffer.push(0);
            let before = Tip { seq: Seq(entry.seq.0 - 1), digest: entry.parent };
            Entry::seal(entry.owner, before, buffer)
        });
        let (owner, seq, digest) = (other.owner, other.seq, other.digest);
        let certificate = self.certificate(hands, &Statement::Lane { owner, seq, digest });
        let message = Message::Lane(LaneMessage::Final { owner, seq, digest, certificate });
        hands.send(frame.from, frame.to, Parcel::of(&message));
    }
}

impl Behaviour for BadCertificates {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        let salt = hands.known.decided().0;
        if !hands.half(salt).contains(&frame.to) {
            return hands.pass(frame);
        }
        self.rush(hands, &frame);
        self.rush_lane(hands, &frame);
        let spoilt = match frame.parcel.message() {
            Some(Message::Round(RoundMessage::Mvba { round, message })) => {
                let round = *round;
                let spoilt = self.spoil(hands, round, message);
                spoilt.map(|message| Message::Round(RoundMessage::Mvba { round, message }))
            }
            Some(Message::Round(RoundMessage::Halt(halt))) => {
                let mut halt = halt.clone();
                halt.cut = self.value(hands, halt.round, &halt.cut);
                let (round, view, digest) = (halt.round, halt.view, halt.cut.digest());
                let leader = hands
                    .suite(frame.from)
                    .elect(&crate::crypto::suite::CoinName { round, view }, &halt.shares);
                let leader = leader.unwrap_or(Index(0));
                let stage = Stage::Finish;
                let statement = Statement::Agreement { round, view, leader, stage, digest };
                halt.certificate = self.certificate(hands, &statement);
                Some(Message::Round(RoundMessage::Halt(halt)))
            }
            Some(Message::Block(BlockMessage::Certified { height, header, .. })) => {
                let (height, header) = (*height, *header);
                let certificate = self.certificate(hands, &Statement::Block { height, digest: header });
                Some(Message::Block(BlockMessage::Certified { height, header, certificate }))
            }
            _ => None,
        };
        match spoilt {
            Some(message) => hands.pass(instead(&frame, Parcel::of(&message))),
            None => hands.pass(frame),
        }
    }
}
