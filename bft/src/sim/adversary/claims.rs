//! False claims that only waste the work of honest members: rounds that do not exist, hundreds of false certificates.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wire::ids::{Digest, Index, NodeId, Round, Seq, Signature, View};

use crate::block::{BlockMessage, BlockVote};
use crate::crypto::cert::Certificate;
use crate::cut::Cut;
use crate::lane::LaneMessage;
use crate::message::Message;
use crate::mvba::Halt;
use crate::round::{CatchUpMessage, RoundMessage};
use crate::sim::adversary::{Behaviour, Hands};
use crate::sim::parcel::{Frame, Parcel};

/// How far ahead it claims to be.
const FAR: u64 = 1 << 40;
/// Ten seconds.
const SPAN_TURNS: u64 = 100;
/// Requests that one liar's claims cost a member within [`SPAN_TURNS`] while it decides no round: after 0.5, 1, 2, 4
/// and 8 s. The member may send one more request to all members.
const QUESTIONS_A_LIAR: usize = 5;

/// Claims to have decided rounds that do not exist, and answers no request. Reports a member that sends too many
/// requests.
#[derive(Debug, Default)]
pub(super) struct FalseClaims {
    turns: u64,
    /// By member: the undecided round of its last request, and the turns of its requests.
    questions: BTreeMap<NodeId, (Round, VecDeque<u64>)>,
}

impl Behaviour for FalseClaims {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        let is_answer = |message: &Message| {
            matches!(message, Message::Round(RoundMessage::CatchUp(CatchUpMessage::Halts(_))))
        };
        if !frame.parcel.message().is_some_and(is_answer) {
            hands.pass(frame);
        }
    }

    fn see(&mut self, hands: &mut Hands, frame: &Frame) {
        let from = match frame.parcel.message() {
            Some(Message::Round(RoundMessage::CatchUp(CatchUpMessage::Ask { from }))) => *from,
            _ => return,
        };
        if hands.owns(frame.from) || from <= hands.known.decided() {
            return;
        }
        let (asked, questions) = self.questions.entry(frame.from).or_default();
        if *asked != from {
            (*asked, *questions) = (from, VecDeque::new());
        }
        questions.push_back(self.turns);
        questions.retain(|turn| turn + SPAN_TURNS > self.turns);
        if questions.len() > QUESTIONS_A_LIAR * hands.nodes().len() + 1 {
            let (member, count) = (frame.from, questions.len());
            hands.prove(format!("{member} asked {count} times in ten seconds for rounds that do not exist"));
        }
    }

    fn turn(&mut self, hands: &mut Hands) {
        self.turns += 1;
        let from = Round(FAR + self.turns);
        for liar in hands.nodes() {
            hands.send_to_honest(liar, &Message::Round(RoundMessage::CatchUp(CatchUpMessage::Ask { from })));
        }
    }
}

/// False certificates of one block.
const BURST: u64 = 300;

/// Hundreds of false certificates, each kind at the moment at which an honest member verifies it: of a block as soon as
/// the member votes for it, HALTs of the next round, FINALs of the liar's own lane.
#[derive(Debug, Default)]
pub(super) struct FalseCertificates {
    /// Heights at which a member got a burst.
    shown: BTreeSet<(NodeId, Round)>,
}

impl Behaviour for FalseCertificates {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        hands.pass(frame);
    }

    fn see(&mut self, hands: &mut Hands, frame: &Frame) {
        let Some(Message::Block(BlockMessage::Vote(BlockVote { height, header, .. }))) =
            frame.parcel.message()
        else {
            return;
        };
        let (height, header, victim) = (*height, *header, frame.from);
        if hands.owns(victim) || !self.shown.insert((victim, height)) {
            return;
        }
        for liar in hands.nodes() {
            for _ in 0..BURST {
                let certificate = false_certificate(hands);
                let message = BlockMessage::Certified { height, header, certificate };
                hands.send(liar, victim, Parcel::of(&Message::Block(message)));
            }
        }
    }

    fn turn(&mut self, hands: &mut Hands) {
        for liar in hands.nodes() {
            for _ in 0..4 {
                let owner = hands.index(liar);
                let (round, digest) = (hands.known.decided().next(), Digest(hands.prng.bytes()));
                let mut cut = hands.known.previous(round).cloned().unwrap_or(Cut(Vec::new()));
                let certificate = false_certificate(hands);
                if let Some(tip) = cut.0.get_mut(usize::from(owner.0)) {
                    (tip.seq, tip.digest) = (tip.seq.next(), digest);
                }
                let shares = hands.known.view(round, View(0)).shares.into_iter().collect();
                let halt = Halt { round, view: View(0), cut, certificate: certificate.clone(), shares };
                hands.send_to_honest(liar, &Message::Round(RoundMessage::Halt(Box::new(halt))));
                let seq = Seq(hands.known.top(owner).seq.0 + 1);
                hands.send_to_honest(
                    liar,
                    &Message::Lane(LaneMessage::Final { owner, seq, digest, certificate }),
                );
            }
        }
    }
}

/// N−f signatures that do not verify.
fn false_certificate(hands: &mut Hands) -> Certificate {
    let members = (0..hands.committee.quorum() as u16).map(Index);
    let signature = Signature::from_bytes(hands.prng.bytes());
    Certificate(members.map(|member| (member, signature)).collect())
}
