//! Equivocation, and entries and votes that are invalid.

use wire::ids::{Digest, NodeId, Round, Seq, Signature, View};

use crate::block::{BlockMessage, BlockVote};
use crate::crypto::cert::Certificate;
use crate::crypto::suite::{Stage, Statement};
use crate::cut::Tip;
use crate::lane::entry::{self, Entry};
use crate::message::Message;
use crate::mvba::{Ballot, MvbaMessage, PreVote, Vote};
use crate::round::RoundMessage;
use crate::sim::adversary::leading::{Branches, Leading};
use crate::sim::adversary::{Behaviour, Hands, instead};
use crate::sim::parcel::{Frame, Parcel, Seen};
use crate::spb::SpbMessage;
use crate::transaction::{Expiry, Input, Output, Owner, Transaction};

/// For each entry of its lane a second one with the same seq. Half of the members get the one first, half the other;
/// later all get both. With enough echoes it certifies either.
#[derive(Debug, Default)]
pub(super) struct EquivocatingLane(Branches);

impl Behaviour for EquivocatingLane {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        let Seen::Entry(entry) = frame.parcel.seen() else { return hands.pass(frame) };
        if entry.owner != hands.index(frame.from) {
            return hands.pass(frame);
        }
        let seq = entry.seq;
        let other = match self.0.entry(frame.from, seq) {
            Some(other) => other.clone(),
            None => self.branch(hands, frame.from, entry),
        };
        let other = instead(&frame, Parcel::new(other.body));
        let salt = seq.0 * 1_000 + u64::from(frame.from.0);
        let [first, second] =
            if hands.half(salt).contains(&frame.to) { [other, frame] } else { [frame, other] };
        hands.pass(first);
        if hands.prng.chance(1, 3) {
            hands.pass(second);
        }
    }

    fn see(&mut self, hands: &mut Hands, frame: &Frame) {
        self.0.see(hands, frame);
    }
}

impl EquivocatingLane {
    fn branch(&mut self, hands: &mut Hands, from: NodeId, first: &Entry) -> Entry {
        let before = Seq(first.seq.0 - 1);
        // The other branch goes on from its own last entry, or forks off anew.
        let parent = match self.0.entry(from, before) {
            Some(other) if hands.prng.chance(1, 2) => other.digest,
            _ => first.parent,
        };
        let mut buffer = entry::buffer(1);
        buffer.push(0);
        let other = Entry::seal(first.owner, Tip { seq: before, digest: parent }, buffer);
        self.0.insert(from, other.clone());
        other
    }
}

/// In its SPBs two values, to different halves; with enough echoes it locks and finishes either.
#[derive(Debug, Default)]
pub(super) struct EquivocatingSpb(Leading);

impl Behaviour for EquivocatingSpb {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        let Some((
            round,
            MvbaMessage::Spb { view, leader, message: SpbMessage::Send { cut, justification } },
        )) = frame.parcel.mvba()
        else {
            return hands.pass(frame);
        };
        let (view, leader) = (*view, *leader);
        if self.0.values(frame.from, round, view).is_empty() {
            let other = hands.known.other_value(round, cut);
            for cut in std::iter::once(cut.clone()).chain(other) {
                self.0.propose(frame.from, round, view, &cut);
            }
        }
        let Some(other) = self.0.values(frame.from, round, view).get(1) else { return hands.pass(frame) };
        let message = SpbMessage::Send { cut: other.clone(), justification: justification.clone() };
        let message = MvbaMessage::Spb { view, leader, message };
        let other = instead(&frame, Parcel::of(&Message::Round(RoundMessage::Mvba { round, message })));
        let salt = round.0 * 1_000 + u64::from(view.0) * 100 + u64::from(frame.from.0);
        let [first, second] =
            if hands.half(salt).contains(&frame.to) { [other, frame] } else { [frame, other] };
        hands.pass(first);
        if hands.prng.chance(1, 3) {
            hands.pass(second);
        }
    }

    fn see(&mut self, hands: &mut Hands, frame: &Frame) {
        self.0.see(hands, frame);
    }
}

/// PRE-VOTEs and VOTEs that differ from member to member.
#[derive(Debug)]
pub(super) struct EquivocatingBallots;

impl Behaviour for EquivocatingBallots {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        let Some((round, MvbaMessage::Ballot { view, ballot })) = frame.parcel.mvba() else {
            return hands.pass(frame);
        };
        let view = *view;
        let salt = round.0 * 100 + u64::from(view.0);
        let turned = if hands.half(salt).contains(&frame.to) {
            turned_ballot(hands, frame.from, round, view, ballot)
        } else {
            None
        };
        let Some(ballot) = turned else { return hands.pass(frame) };
        let message = MvbaMessage::Ballot { view, ballot };
        let turned = instead(&frame, Parcel::of(&Message::Round(RoundMessage::Mvba { round, message })));
        hands.pass(turned);
    }
}

/// The opposite of a ballot, as far as it can be backed.
fn turned_ballot(hands: &Hands, from: NodeId, round: Round, view: View, ballot: &Ballot) -> Option<Ballot> {
    let known = hands.known.view(round, view);
    let quorum = hands.committee.quorum();
    let shares: Vec<_> = known.shares.iter().map(|(index, share)| (*index, *share)).take(quorum).collect();
    let name = crate::crypto::suite::CoinName { round, view };
    let leader = hands.suite(from).elect(&name, &shares)?;
    let statement = |stage, digest| Statement::Agreement { round, view, leader, stage, digest };
    let no = statement(Stage::No, Digest::default());
    match ballot {
        Ballot::PreVote(PreVote::Yes { .. }) => {
            Some(Ballot::PreVote(PreVote::No { signature: hands.suite(from).sign(&no) }))
        }
        Ballot::PreVote(PreVote::No { .. }) => {
            let locked = known.locks.get(&leader)?.clone();
            Some(Ballot::PreVote(PreVote::Yes { cut: locked.cut, certificate: locked.certificate }))
        }
        Ballot::Vote(Vote::Yes { .. }) => {
            let refusals = hands.certificate(&no, &known.refusals)?;
            let unlock = statement(Stage::Unlock, Digest::default());
            Some(Ballot::Vote(Vote::No { refusals, signature: hands.suite(from).sign(&unlock) }))
        }
        Ballot::Vote(Vote::No { .. }) => {
            let locked = known.locks.get(&leader)?.clone();
            let signature = hands.suite(from).sign(&statement(Stage::Finish, locked.cut.digest()));
            let (cut, certificate) = (locked.cut, locked.certificate);
            Some(Ballot::Vote(Vote::Yes { cut, certificate, signature }))
        }
    }
}

/// Entries of its lane that break static validity, each rule of it.
#[derive(Debug, Default)]
pub(super) struct InvalidEntries(Branches);

impl Behaviour for InvalidEntries {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        let Seen::Entry(entry) = frame.parcel.seen() else { return hands.pass(frame) };
        if entry.owner != hands.index(frame.from) {
            return hands.pass(frame);
        }
        let seq = entry.seq;
        if self.0.entry(frame.from, seq).is_none() {
            let before = Seq(seq.0 - 1);
            let parent = self.0.entry(frame.from, before).map_or(entry.parent, |invalid| invalid.digest);
            let mut buffer = entry::buffer(64);
            buffer.extend(invalid_payload(hands, entry.payload()));
            self.0.insert(frame.from, Entry::seal(entry.owner, Tip { seq: before, digest: parent }, buffer));
        }
        let invalid = self.0.entry(frame.from, seq).expect("it was made a moment ago");
        let invalid = instead(&frame, Parcel::new(invalid.body.clone()));
        hands.pass(invalid);
    }

    fn see(&mut self, hands: &mut Hands, frame: &Frame) {
        self.0.see(hands, frame);
    }
}

fn invalid_payload(hands: &mut Hands, valid: &[u8]) -> Vec<u8> {
    let shard = hands.shard;
    match hands.prng.below(5) {
        0 => Vec::new(),
        1 => vec![1, 9, 0, 0, 0, 0],
        2 => valid[..valid.len() - 1].to_vec(),
        3 => [valid, &[0]].concat(),
        _ => {
            // Creates money.
            let coin = crate::transaction::genesis_coin(&hands.committee.testbed(), shard, 0);
            let amount = hands.committee.protocol().genesis_amount;
            let transaction = Transaction {
                inputs: &[Input { shard, coin, amount }],
                output_shard: shard,
                outputs: &[Output { owner: Owner([1; 32]), amount: amount * 1_000 }],
                expiries: &[Expiry { shard, round: Round(5_000) }],
                payload: &[],
            };
            let mut builder = crate::proposal::ProposalBuilder::new(Vec::new(), 1 << 20, 10);
            let _ = builder.push(&transaction.encode());
            builder.finish()
        }
    }
}

/// Votes for headers that no member computed, and certificates of them.
#[derive(Debug)]
pub(super) struct WrongVotes;

impl Behaviour for WrongVotes {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        let Some(Message::Block(BlockMessage::Vote(vote))) = frame.parcel.message() else {
            return hands.pass(frame);
        };
        let height = vote.height;
        let header = Digest(hands.prng.bytes());
        let statement = Statement::Block { height, digest: header };
        let message = match hands.prng.below(3) {
            0 => {
                let signature = hands.suite(frame.from).sign(&statement);
                BlockMessage::Vote(BlockVote { height, header, signature })
            }
            1 => {
                let signature = Signature::from_bytes(hands.prng.bytes());
                BlockMessage::Vote(BlockVote { height, header: vote.header, signature })
            }
            _ => {
                let certificate = Certificate(hands.signatures(&statement).into_iter().collect());
                BlockMessage::Certified { height, header, certificate }
            }
        };
        let wrong = instead(&frame, Parcel::of(&Message::Block(message)));
        hands.pass(wrong);
    }
}
