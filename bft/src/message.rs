//! The root of the message tree, and its encoding on the wire.
//!
//! The first byte distinguishes messages that carry long bytes: an entry of a lane, which is its own bytes so that no
//! node hashes a proposal twice (`lane::entry`), a group part behind its proof, an order with its list of transactions,
//! and copies of transactions behind their positions. Everything else is one enum through the one codec.

mod kind;
mod said;

use serde::{Deserialize, Serialize};
use wire::bytes::Bytes;
use wire::client::list;
use wire::codec;
use wire::envelope::Class;
use wire::ids::{Index, Round, Seq};

use crate::block::BlockMessage;
use crate::checkpoint::{CheckpointMessage, Piece};
use crate::lane::LaneMessage;
use crate::lane::entry::ENTRY_TAG;
use crate::pending::{Copies, Position};
use crate::round::RoundMessage;
use crate::shard::message::{ShardMessage, Transfer};

pub use self::kind::MessageKind;
pub use self::said::said;

/// The first byte of every message that is not an entry.
const MESSAGE_TAG: u8 = 0x01;
/// The first byte of a transfer: its proof follows, then the part.
const TRANSFER_TAG: u8 = 0x02;
/// The first byte of an order: a list of transactions follows.
const ORDER_TAG: u8 = 0x03;
/// The first byte of a piece of a checkpoint: height and number follow, then its bytes.
const PIECE_TAG: u8 = 0x04;
/// The first byte of copies: their positions follow, then a list of transactions.
const COPIES_TAG: u8 = 0x05;

/// All messages between nodes, except entries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Message {
    /// Dissemination.
    Lane(LaneMessage),
    /// Agreement.
    Round(RoundMessage),
    /// Block headers.
    Block(BlockMessage),
    /// Cross-shard transactions.
    Shard(ShardMessage),
    /// Checkpoints.
    Checkpoint(CheckpointMessage),
}

/// A peer's bytes, by kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Incoming {
    /// An entry, not parsed further.
    Entry,
    /// A group part with its proof.
    Transfer(Transfer),
    /// Transactions to be ordered for another shard: a list as in `wire::client::list`, not parsed further.
    Order(Bytes),
    /// A piece of a checkpoint.
    Piece(Piece),
    /// Copies of what another member has from its clients.
    Copies(Copies),
    /// A message.
    Message(Message),
}

impl Message {
    /// The bytes that go into a frame.
    pub fn encode(&self) -> Bytes {
        let mut buffer = vec![MESSAGE_TAG];
        codec::encode_into(self, &mut buffer);
        Bytes::from(buffer)
    }

    /// How long the message matters. `lane_class` returns the class for a position of a lane.
    pub fn class(&self, lane_class: impl Fn(Index, Seq) -> Class) -> Class {
        match self {
            Message::Lane(LaneMessage::Echo { owner, seq, .. } | LaneMessage::Final { owner, seq, .. }) => {
                lane_class(*owner, *seq)
            }
            Message::Round(RoundMessage::Mvba { round, .. }) => Class::Round(*round),
            Message::Lane(LaneMessage::WantEntries { .. } | LaneMessage::WantCertificates { .. })
            | Message::Round(RoundMessage::Halt(_) | RoundMessage::CatchUp(_))
            | Message::Block(_)
            | Message::Shard(_)
            | Message::Checkpoint(_) => Class::Keep,
        }
    }
}

impl Transfer {
    /// The bytes that go into a frame.
    pub fn encode(&self) -> Bytes {
        let mut buffer = vec![TRANSFER_TAG];
        codec::encode_into(&self.proof, &mut buffer);
        buffer.extend_from_slice(&self.part);
        Bytes::from(buffer)
    }
}

impl Piece {
    /// The bytes that go into a frame.
    pub fn encode(&self) -> Bytes {
        let mut buffer = vec![PIECE_TAG];
        codec::encode_into(&(self.height, self.number), &mut buffer);
        buffer.extend_from_slice(&self.bytes);
        Bytes::from(buffer)
    }
}

/// The bytes that go into a frame of an order for these transactions.
pub fn encode_order<'a>(transactions: impl ExactSizeIterator<Item = &'a [u8]>) -> Bytes {
    let mut buffer = vec![ORDER_TAG];
    let at = list::begin(&mut buffer);
    let count = transactions.len();
    transactions.for_each(|transaction| list::push(&mut buffer, transaction));
    list::finish(&mut buffer, at, count);
    Bytes::from(buffer)
}

/// The bytes that go into a frame of copies of these transactions.
pub fn encode_copies<'a>(
    after: Option<Position>,
    through: Position,
    transactions: impl ExactSizeIterator<Item = &'a [u8]>,
) -> Bytes {
    let mut buffer = vec![COPIES_TAG];
    codec::encode_into(&(after, through), &mut buffer);
    let at = list::begin(&mut buffer);
    let count = transactions.len();
    transactions.for_each(|transaction| list::push(&mut buffer, transaction));
    list::finish(&mut buffer, at, count);
    Bytes::from(buffer)
}

impl Incoming {
    /// Parses the bytes of a frame; `None` if they are no message.
    pub fn decode(body: &Bytes) -> Option<Incoming> {
        match *body.first()? {
            ENTRY_TAG => Some(Incoming::Entry),
            MESSAGE_TAG => codec::decode(&body[1..]).ok().map(Incoming::Message),
            TRANSFER_TAG => {
                let (proof, part) = codec::decode_with_tail(&body[1..]).ok()?;
                let part = body.slice(body.len() - part.len()..body.len());
                Some(Incoming::Transfer(Transfer { proof, part }))
            }
            PIECE_TAG => {
                let ((height, number), bytes) = codec::decode_with_tail::<(Round, u32)>(&body[1..]).ok()?;
                let bytes = body.slice(body.len() - bytes.len()..body.len());
                Some(Incoming::Piece(Piece { height, number, bytes }))
            }
            ORDER_TAG => Some(Incoming::Order(body.slice(1..body.len()))),
            COPIES_TAG => {
                let ((after, through), list) = codec::decode_with_tail(&body[1..]).ok()?;
                let list = body.slice(body.len() - list.len()..body.len());
                Some(Incoming::Copies(Copies { after, through, list }))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use wire::client::Rejection;
    use wire::ids::{Digest, NodeId, PartNumber, Round, ShardId, Signature, TxId, View};

    use super::*;
    use crate::block::{BlockVote, Header};
    use crate::checkpoint::Offer;
    use crate::crypto::cert::Certificate;
    use crate::crypto::suite::CoinShare;
    use crate::cut::{Cut, Tip};
    use crate::justification::Justification;
    use crate::ledger::Cause;
    use crate::mvba::{Ballot, Halt, MvbaMessage, PreVote, Vote};
    use crate::part::PartRef;
    use crate::round::CatchUpMessage;
    use crate::shard::message::{PartMessage, RejectMessage, RejectVote, TransferProof};
    use crate::spb::SpbMessage;

    const N: usize = 4;
    const QUORUM: usize = 3;

    fn signature() -> Signature {
        Signature::from_bytes([7; 64])
    }

    fn certificate() -> Certificate {
        Certificate(vec![(Index(1), signature()); QUORUM])
    }

    fn cut() -> Cut {
        Cut(vec![Tip::default(); N])
    }

    fn halt() -> Halt {
        let share = CoinShare { value: [1; 32], challenge: [2; 32], response: [3; 32] };
        let shares = vec![(Index(2), share); QUORUM];
        Halt { round: Round(1), view: View(0), cut: cut(), certificate: certificate(), shares }
    }

    fn mvba(message: MvbaMessage) -> Message {
        Message::Round(RoundMessage::Mvba { round: Round(1), message })
    }

    fn spb(message: SpbMessage) -> Message {
        mvba(MvbaMessage::Spb { view: View(0), leader: Index(1), message })
    }

    fn ballot(ballot: Ballot) -> Message {
        mvba(MvbaMessage::Ballot { view: View(0), ballot })
    }

    /// Each message, with the name of its row in docs/messages.md.
    fn all() -> Vec<(&'static str, Message)> {
        let (owner, seq, digest) = (Index(1), Seq(2), Digest([3; 32]));
        let (signature, certificate) = (signature(), certificate());
        let (height, header) = (Round(4), digest);
        let mut all = vec![
            ("ECHO", Message::Lane(LaneMessage::Echo { owner, seq, digest, signature })),
            (
                "FINAL",
                Message::Lane(LaneMessage::Final { owner, seq, digest, certificate: certificate.clone() }),
            ),
            ("`WantEntries`", Message::Lane(LaneMessage::WantEntries { owner, seq, digest, count: 1 })),
            (
                "`WantCertificates`",
                Message::Lane(LaneMessage::WantCertificates { tips: vec![(owner, Tip { seq, digest })] }),
            ),
            (
                "SPB SEND, view 0",
                spb(SpbMessage::Send { cut: cut(), justification: Justification::default() }),
            ),
            (
                "SPB SEND, later",
                spb(SpbMessage::Send {
                    cut: cut(),
                    justification: Justification::locked(View(0), certificate.clone()),
                }),
            ),
            ("SPB ECHO", spb(SpbMessage::Echo(signature))),
            ("LOCK", spb(SpbMessage::Lock { cut: cut(), certificate: certificate.clone() })),
            ("READY", spb(SpbMessage::Ready(signature))),
            ("FINISH", spb(SpbMessage::Finish { cut: cut(), certificate: certificate.clone() })),
            ("coin share", mvba(MvbaMessage::CoinShare { view: View(0), share: halt().shares[0].1 })),
            (
                "PRE-VOTE yes",
                ballot(Ballot::PreVote(PreVote::Yes { cut: cut(), certificate: certificate.clone() })),
            ),
            ("PRE-VOTE no", ballot(Ballot::PreVote(PreVote::No { signature }))),
            (
                "VOTE yes",
                ballot(Ballot::Vote(Vote::Yes { cut: cut(), certificate: certificate.clone(), signature })),
            ),
            ("VOTE no", ballot(Ballot::Vote(Vote::No { refusals: certificate.clone(), signature }))),
            ("HALT", Message::Round(RoundMessage::Halt(Box::new(halt())))),
            ("`Ask`", Message::Round(RoundMessage::CatchUp(CatchUpMessage::Ask { from: Round(9) }))),
            (
                "VOTE (`BlockVote`)",
                Message::Block(BlockMessage::Vote(BlockVote { height, header, signature })),
            ),
            ("`Certified`", Message::Block(BlockMessage::Certified { height, header, certificate })),
        ];
        all.extend(between_shards().map(|(name, message)| (name, Message::Shard(message))));
        all.extend(about_checkpoints().map(|(name, message)| (name, Message::Checkpoint(message))));
        all
    }

    fn about_checkpoints() -> [(&'static str, CheckpointMessage); 4] {
        let (height, header) = (Round(4), Header::default());
        let offer = Offer { header, cut: cut(), pieces: vec![Digest([3; 32])] };
        [
            ("`CheckpointMessage::Ask`", CheckpointMessage::Ask { height }),
            ("`Passed`", CheckpointMessage::Passed { executed: height }),
            ("`Offer`", CheckpointMessage::Offer(Box::new(offer))),
            ("`WantPiece`", CheckpointMessage::WantPiece { height, number: 5 }),
        ]
    }

    fn between_shards() -> [(&'static str, ShardMessage); 7] {
        let part = PartRef { source: ShardId(1), number: PartNumber(2), digest: Digest([3; 32]) };
        let (id, cause) = (TxId([4; 32]), Cause::Rejected(Rejection::Spent));
        let vote = RejectVote { id, others: vec![ShardId(1)], cause };
        let ids = vec![(id, cause)];
        [
            ("`Spent`", ShardMessage::Spent(vec![(id, part.number)])),
            ("`Held`", ShardMessage::Held(Position::FIRST)),
            (
                "SIGN (`PartMessage::Vote`)",
                ShardMessage::Part(PartMessage::Vote { part, signature: signature() }),
            ),
            ("`PartMessage::Want`", ShardMessage::Part(PartMessage::Want(part))),
            ("`PartMessage::Ack`", ShardMessage::Part(PartMessage::Ack(part.number))),
            (
                "CL_M (`RejectMessage::Votes`)",
                ShardMessage::Reject(RejectMessage::Votes { executed: Round(5), votes: vec![vote] }),
            ),
            (
                "CL (`RejectMessage::Rejected`)",
                ShardMessage::Reject(RejectMessage::Rejected { imported: part.number, ids }),
            ),
        ]
    }

    fn transfer() -> Transfer {
        let (headers, certificate) = (vec![Header::default()], certificate());
        let proof = TransferProof { headers, certificate, position: 0, count: 1, branch: Vec::new() };
        Transfer { proof, part: Bytes::from(Vec::new()) }
    }

    /// Messages that carry long bytes, with the names of their rows.
    fn long() -> [(&'static str, Bytes); 4] {
        let transaction = [0; 250];
        let order = encode_order([&transaction[..]].into_iter());
        let piece = Piece { height: Round(4), number: 5, bytes: Bytes::from(vec![6; 1_000]) };
        let copies =
            encode_copies(Some(Position::FIRST), Position::FIRST.next(), [&transaction[..]].into_iter());
        [
            ("LD (`Transfer`)", transfer().encode()),
            ("Order", order),
            ("`Piece`", piece.encode()),
            ("`Copies`", copies),
        ]
    }

    #[test]
    fn sizes_agree_with_the_documentation() {
        let text = include_str!("../../docs/messages.md");
        let short = all().into_iter().map(|(name, message)| (name, message.encode()));
        for (name, bytes) in short.chain(long()) {
            let row = text.lines().find(|line| line.starts_with(&format!("| {name} |")));
            let cells: Vec<&str> = row.unwrap_or_else(|| panic!("no row of {name}")).split('|').collect();
            let documented: usize =
                cells[cells.len() - 2].trim().parse().unwrap_or_else(|_| panic!("{name}"));
            assert_eq!(bytes.len(), documented, "{name}");
        }
    }

    fn decode(bytes: Vec<u8>) -> Option<Incoming> {
        Incoming::decode(&Bytes::from(bytes))
    }

    #[test]
    fn a_message_has_one_encoding_and_is_parsed_only_whole() {
        for (name, message) in all() {
            let bytes = message.encode();
            assert_eq!(Incoming::decode(&bytes), Some(Incoming::Message(message)), "{name}");
            for end in 0..bytes.len() {
                assert_eq!(Incoming::decode(&bytes.slice(0..end)), None, "{name} cut at {end}");
            }
            assert_eq!(decode([&bytes[..], &[0]].concat()), None, "{name} with a byte more");
        }
        assert_eq!(decode(vec![ENTRY_TAG]), Some(Incoming::Entry));
        assert_eq!(decode(vec![9, 0, 0, 0, 0]), None, "no such tag");
    }

    #[test]
    fn transfers_and_orders_are_encoded_as_head_and_tail() {
        let sent = Transfer { part: Bytes::from(vec![1, 2, 3]), ..transfer() };
        let bytes = sent.encode();
        assert_eq!(Incoming::decode(&bytes), Some(Incoming::Transfer(sent)));
        for end in 0..bytes.len() - 3 {
            assert_eq!(Incoming::decode(&bytes.slice(0..end)), None, "a proof cut at {end}");
        }
        let [_, (_, order), _, (_, copies)] = long();
        let list = order.slice(1..order.len());
        assert_eq!(list::parse(&list, 1).map(|items| items.len()), Some(1));
        assert_eq!(Incoming::decode(&order), Some(Incoming::Order(list.clone())));
        let sent = Copies { after: Some(Position::FIRST), through: Position::FIRST.next(), list };
        assert_eq!(Incoming::decode(&copies), Some(Incoming::Copies(sent)));
        for end in 0..copies.len() - order.len() + 1 {
            assert_eq!(Incoming::decode(&copies.slice(0..end)), None, "positions cut at {end}");
        }
    }

    #[test]
    fn messages_that_a_decision_makes_pointless_have_its_class() {
        let lane = |owner: Index, seq| Class::Lane(NodeId(owner.0 + 100), seq);
        for (name, message) in all() {
            let expected = match name {
                "ECHO" | "FINAL" => Class::Lane(NodeId(101), Seq(2)),
                "HALT" | "`Ask`" | "`WantEntries`" | "`WantCertificates`" => Class::Keep,
                "VOTE (`BlockVote`)" | "`Certified`" => Class::Keep,
                _ if matches!(message, Message::Shard(_) | Message::Checkpoint(_)) => Class::Keep,
                _ => Class::Round(Round(1)),
            };
            assert_eq!(message.class(lane), expected, "{name}");
        }
    }
    #[test]
    fn each_message_is_counted_by_its_kind() {
        let kind = |name: &str| match name {
            "ECHO" => "echo",
            "FINAL" => "final",
            "`WantEntries`" => "want_entries",
            "`WantCertificates`" => "want_certificates",
            "coin share" => "coin_share",
            "PRE-VOTE yes" | "PRE-VOTE no" | "VOTE yes" | "VOTE no" => "ballot",
            "HALT" => "halt",
            "`Ask`" => "catch_up",
            "VOTE (`BlockVote`)" => "block_vote",
            "`Certified`" => "block_certified",
            "LD (`Transfer`)" => "transfer",
            "SIGN (`PartMessage::Vote`)" => "transfer_vote",
            "`PartMessage::Want`" => "want_part",
            "`PartMessage::Ack`" => "part_ack",
            "CL_M (`RejectMessage::Votes`)" => "reject_votes",
            "CL (`RejectMessage::Rejected`)" => "rejected",
            "`Spent`" => "spent",
            "Order" => "order",
            "`CheckpointMessage::Ask`" => "ask_checkpoint",
            "`Passed`" | "`Offer`" => "checkpoint",
            "`WantPiece`" => "want_piece",
            "`Piece`" => "piece",
            "`Copies`" => "copies",
            "`Held`" => "held",
            _ => "spb",
        };
        let short = all().into_iter().map(|(name, message)| (name, message.encode()));
        let mut kinds = BTreeSet::from([MessageKind::of(&[ENTRY_TAG, 0]), MessageKind::of(&[])]);
        for (name, bytes) in short.chain(long()) {
            assert_eq!(MessageKind::of(&bytes).name(), kind(name), "{name}");
            kinds.insert(MessageKind::of(&bytes));
        }
        let missing: Vec<_> = MessageKind::ALL.into_iter().filter(|kind| !kinds.contains(kind)).collect();
        assert_eq!(missing, [], "`all` has no message of these kinds, nor docs/messages.md their rows");
    }
}
