//! Attacks on parts between shards, their proofs, and the SIGNs on them.

use wire::bytes::Bytes;
use wire::ids::{Digest, NodeId, PartNumber, Round, ShardId, TxId};

use crate::crypto::cert::Certificate;
use crate::crypto::suite::Statement;
use crate::message::Message;
use crate::part::{Group, Part, PartDigests, PartRef};
use crate::shard::message::{PartMessage, ShardMessage, Transfer, TransferProof};
use crate::sim::adversary::{Behaviour, Hands, instead};
use crate::sim::parcel::{Frame, Parcel, Seen};

/// Transfers that are remembered.
const HEARD_MAX: usize = 60;

/// Withholds messages between shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SilentPartner {
    /// Sends no parts, and answers no request for one.
    Transfers,
    /// Neither signs nor acknowledges parts of other shards.
    Signs,
    /// Sends no orders, and answers none.
    Orders,
    /// All of that.
    All,
}

impl SilentPartner {
    pub(super) fn draw(hands: &mut Hands) -> SilentPartner {
        let all = [SilentPartner::Transfers, SilentPartner::Signs, SilentPartner::Orders, SilentPartner::All];
        *hands.prng.pick(&all).expect("the list is not empty")
    }
}

impl Behaviour for SilentPartner {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        let subject = match frame.parcel.seen() {
            Seen::Transfer(_) => SilentPartner::Transfers,
            Seen::Order(_) => SilentPartner::Orders,
            Seen::Message(Message::Shard(ShardMessage::Part(_))) => SilentPartner::Signs,
            Seen::Message(Message::Shard(_)) => SilentPartner::Orders,
            _ => return hands.pass(frame),
        };
        if *self != subject && *self != SilentPartner::All {
            hands.pass(frame);
        }
    }
}

/// Forged parts, with proofs of others, instead of those that its cores send.
#[derive(Debug, Default)]
pub(super) struct FalseTransfers {
    heard: Vec<Transfer>,
}

impl Behaviour for FalseTransfers {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        let Seen::Transfer(transfer) = frame.parcel.seen() else { return hands.pass(frame) };
        if let Some(false_one) = self.falsify(hands, frame.from, transfer) {
            let parcel = Parcel::new(false_one.encode());
            if hands.prng.chance(1, 4) {
                // To a node of a shard that it does not concern.
                let nodes = hands.everybody();
                let to = *hands.prng.pick(&nodes).expect("there are nodes");
                hands.send(frame.from, to, parcel.clone());
            }
            hands.pass(instead(&frame, parcel));
        }
        if hands.prng.chance(1, 3) {
            hands.pass(frame);
        }
    }

    fn see(&mut self, _hands: &mut Hands, frame: &Frame) {
        self.hear(frame);
    }

    fn overhear(&mut self, _hands: &mut Hands, frame: &Frame) {
        self.hear(frame);
    }

    fn turn(&mut self, hands: &mut Hands) {
        // An earlier one repeated, to any node.
        let (own, nodes) = (hands.nodes(), hands.everybody());
        let old = hands.prng.pick(&self.heard).cloned();
        let (from, to) = (hands.prng.pick(&own).copied(), hands.prng.pick(&nodes).copied());
        if let (Some(old), Some(from), Some(to)) = (old, from, to) {
            hands.send(from, to, Parcel::new(old.encode()));
        }
    }
}

impl FalseTransfers {
    fn hear(&mut self, frame: &Frame) {
        if let Seen::Transfer(transfer) = frame.parcel.seen() {
            if self.heard.len() == HEARD_MAX {
                self.heard.remove(0);
            }
            self.heard.push(transfer.clone());
        }
    }

    fn falsify(&self, hands: &mut Hands, from: NodeId, transfer: &Transfer) -> Option<Transfer> {
        let Transfer { mut proof, part } = transfer.clone();
        let read = Part::parse(part.clone())?;
        let mut part = part;
        match hands.prng.below(10) {
            0 => part = altered(hands, &read, read.number),
            1 => part = altered(hands, &read, PartNumber(read.number.0 + 1)),
            2 => part = altered(hands, &read, PartNumber(read.number.0.saturating_sub(1))),
            3 => match proof.branch.first_mut() {
                Some(sibling) => sibling.0[0] ^= 1,
                None => proof.branch.push(Digest([1; 32])),
            },
            4 => proof.position += 1,
            5 => proof.count = 1 + hands.prng.below(9) as u32,
            6 => proof.certificate = self.certificate(hands, &proof),
            // The proof of another part: of another height, for another shard, of another shard.
            7 => proof = hands.prng.pick(&self.heard)?.proof.clone(),
            8 => self.spoil_headers(hands, &mut proof),
            _ => {
                // All of it consistent, but for the votes of the others.
                part = altered(hands, &read, read.number);
                let digest = Part::parse(part.clone())?.digest;
                let mut header = *proof.headers.first()?;
                header.outgoing = PartDigests::of([&Part::parse(part.clone())?]).root();
                let own = Statement::Block { height: header.height, digest: header.digest() };
                let signatures = hands.signatures(&own);
                let old = proof.certificate.0.iter().copied();
                let mut signed: Vec<_> =
                    old.filter(|(signer, _)| *signer != hands.index(from)).chain(signatures).collect();
                signed.sort_unstable();
                signed.truncate(hands.committee.quorum());
                proof = TransferProof {
                    headers: vec![header],
                    certificate: Certificate(signed),
                    position: 0,
                    count: 1,
                    branch: Vec::new(),
                };
                assert_ne!(digest, read.digest, "it is another part");
            }
        }
        let false_one = Transfer { proof, part };
        (false_one != *transfer).then_some(false_one)
    }

    /// A certificate of another statement, or of too few signers.
    fn certificate(&self, hands: &mut Hands, proof: &TransferProof) -> Certificate {
        let count = hands.known.old_certificates().len().max(1) as u64;
        let at = hands.prng.below(count) as usize;
        let old = hands.known.old_certificates().get(at).cloned();
        match (hands.prng.below(3), old) {
            (0, Some(old)) => old,
            (1, _) => {
                let height = proof.headers.last().map_or(Round(0), |header| header.height);
                let digest = proof.headers.last().map(|header| header.digest()).unwrap_or_default();
                Certificate(hands.signatures(&Statement::Block { height, digest }).into_iter().collect())
            }
            _ => Certificate(proof.certificate.0.iter().skip(1).copied().collect()),
        }
    }

    fn spoil_headers(&self, hands: &mut Hands, proof: &mut TransferProof) {
        let Some(first) = proof.headers.first().copied() else { return };
        match hands.prng.below(4) {
            0 => proof.headers.clear(),
            1 => proof.headers = vec![first; TransferProof::HEADERS_MAX + 1],
            2 => proof.headers.push(first),
            _ => proof.headers[0].height = first.height.next(),
        }
    }
}

/// The part with its spent transactions listed as finished or cancelled, or left out, perhaps under another number.
fn altered(hands: &mut Hands, part: &Part, number: PartNumber) -> Bytes {
    let mut group = Group::new(part.source, part.destination, part.height, number);
    let turn = hands.prng.below(4);
    for id in &part.finished {
        if turn == 0 { group.cancelled(*id) } else { group.finished(*id) }
    }
    for id in &part.cancelled {
        if turn == 1 { group.finished(*id) } else { group.cancelled(*id) }
    }
    for (at, (id, bytes)) in part.spent().enumerate() {
        match turn {
            2 if at == 0 => group.cancelled(id),
            3 if at == 0 => {}
            _ => {
                let _ = group.spent(id, bytes);
            }
        }
    }
    group.finished(TxId(hands.prng.bytes()));
    group.finish().remove(0).bytes.clone()
}

/// SIGNs of parts that were never sent, two for one number; requests for parts that do not exist; acknowledgements of
/// parts that were not executed.
#[derive(Debug, Default)]
pub(super) struct FalseSigns {
    /// Real parts to this shard.
    parts: Vec<PartRef>,
}

impl Behaviour for FalseSigns {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        let Seen::Message(Message::Shard(ShardMessage::Part(message))) = frame.parcel.seen() else {
            return hands.pass(frame);
        };
        let instead_of = match message {
            PartMessage::Ack(number) => PartMessage::Ack(PartNumber(number.0 + hands.prng.below(80))),
            PartMessage::Vote { part, signature } if hands.prng.chance(1, 2) => {
                let mut other = *part;
                other.digest = Digest(hands.prng.bytes());
                PartMessage::Vote { part: other, signature: *signature }
            }
            PartMessage::Vote { part, .. } => {
                let mut other = *part;
                other.digest = Digest(hands.prng.bytes());
                let signature = hands.suite(frame.from).sign(&Statement::Part(other));
                PartMessage::Vote { part: other, signature }
            }
            PartMessage::Want(_) => return hands.pass(frame),
        };
        let parcel = Parcel::of(&Message::Shard(ShardMessage::Part(instead_of)));
        let false_one = instead(&frame, parcel);
        if hands.prng.chance(1, 2) {
            hands.pass(frame);
        }
        hands.pass(false_one);
    }

    fn overhear(&mut self, hands: &mut Hands, frame: &Frame) {
        if let Seen::Transfer(transfer) = frame.parcel.seen()
            && let Some(part) = Part::parse(transfer.part.clone())
            && part.destination == hands.shard
        {
            if self.parts.len() == HEARD_MAX {
                self.parts.remove(0);
            }
            self.parts.push(part.reference());
        }
    }

    fn turn(&mut self, hands: &mut Hands) {
        let last = hands.prng.pick(&self.parts).copied();
        for from in hands.nodes() {
            let source = ShardId(hands.prng.below(u64::from(hands.committee.shards()) + 1) as u16);
            let number = PartNumber(last.map_or(0, |part| part.number.0) + hands.prng.below(70));
            let made_up = PartRef { source, number, digest: Digest(hands.prng.bytes()) };
            let part = if hands.prng.chance(1, 2) { last.unwrap_or(made_up) } else { made_up };
            let message = match hands.prng.below(4) {
                0 => PartMessage::Want(part),
                1 => PartMessage::Ack(number),
                _ => {
                    let signature = hands.suite(from).sign(&Statement::Part(part));
                    PartMessage::Vote { part, signature }
                }
            };
            let nodes =
                if matches!(message, PartMessage::Vote { .. }) { hands.honest() } else { hands.everybody() };
            let parcel = Parcel::of(&Message::Shard(ShardMessage::Part(message)));
            for to in nodes {
                hands.send(from, to, parcel.clone());
            }
        }
    }
}
