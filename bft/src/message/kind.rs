//! The kind of message in a frame, by its first few bytes: for counting, so it must cost next to nothing. Nothing is
//! decoded or trusted; bytes that decode as no message may still look like one here.

use super::{COPIES_TAG, MESSAGE_TAG, ORDER_TAG, PIECE_TAG, TRANSFER_TAG};
use crate::lane::entry::ENTRY_TAG;

/// The kinds of messages, as docs/messages.md lists them; those of one SPB are one kind, and so are those of one
/// ballot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum MessageKind {
    /// SEND: an entry of a lane.
    Entry,
    /// ECHO of an entry.
    Echo,
    /// FINAL: the certificate of an entry.
    Final,
    /// A request for an entry.
    WantEntries,
    /// A request for the certificate of an entry.
    WantCertificates,
    /// SEND, ECHO, LOCK, READY, FINISH of an SPB.
    Spb,
    /// A share of a coin.
    CoinShare,
    /// PRE-VOTE and VOTE.
    Ballot,
    /// HALT.
    Halt,
    /// A request for decided rounds.
    CatchUp,
    /// VOTE on a block.
    BlockVote,
    /// The certificate of a block.
    BlockCertified,
    /// LD: a part of a block for another shard.
    Transfer,
    /// SIGN.
    TransferVote,
    /// A request for a part.
    WantPart,
    /// A part has been executed.
    PartAck,
    /// CL_M.
    RejectVotes,
    /// CL.
    Rejected,
    /// Answer to an order: spent.
    Spent,
    /// Transactions to be ordered for another shard.
    Order,
    /// A request for a checkpoint.
    AskCheckpoint,
    /// The answer: an offer, or that its sender has executed more.
    Checkpoint,
    /// A request for a piece of a checkpoint.
    WantPiece,
    /// A piece of a checkpoint.
    Piece,
    /// Copies of what a member has from its clients.
    Copies,
    /// Copies are held.
    Held,
    /// None of these.
    Unknown,
}

impl MessageKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [MessageKind; 27] = [
        MessageKind::Entry,
        MessageKind::Echo,
        MessageKind::Final,
        MessageKind::WantEntries,
        MessageKind::WantCertificates,
        MessageKind::Spb,
        MessageKind::CoinShare,
        MessageKind::Ballot,
        MessageKind::Halt,
        MessageKind::CatchUp,
        MessageKind::BlockVote,
        MessageKind::BlockCertified,
        MessageKind::Transfer,
        MessageKind::TransferVote,
        MessageKind::WantPart,
        MessageKind::PartAck,
        MessageKind::RejectVotes,
        MessageKind::Rejected,
        MessageKind::Spent,
        MessageKind::Order,
        MessageKind::AskCheckpoint,
        MessageKind::Checkpoint,
        MessageKind::WantPiece,
        MessageKind::Piece,
        MessageKind::Copies,
        MessageKind::Held,
        MessageKind::Unknown,
    ];

    /// The kind that the first bytes of a body indicate.
    pub fn of(body: &[u8]) -> MessageKind {
        match body.first() {
            Some(&ENTRY_TAG) => MessageKind::Entry,
            Some(&TRANSFER_TAG) => MessageKind::Transfer,
            Some(&PIECE_TAG) => MessageKind::Piece,
            Some(&ORDER_TAG) => MessageKind::Order,
            Some(&COPIES_TAG) => MessageKind::Copies,
            Some(&MESSAGE_TAG) => MessageKind::of_message(body).unwrap_or(MessageKind::Unknown),
            _ => MessageKind::Unknown,
        }
    }

    /// The same for the bytes after [`MESSAGE_TAG`]: enums within enums, each a variant of four bytes.
    fn of_message(body: &[u8]) -> Option<MessageKind> {
        let variant = |at: usize| Some(u32::from_le_bytes(body.get(at..at + 4)?.try_into().ok()?));
        /// The round stands between the variant of `RoundMessage::Mvba` and that of its message.
        const MVBA_VARIANT_AT: usize = 1 + 4 + 4 + 8;
        Some(match (variant(1)?, variant(5)?) {
            (0, 0) => MessageKind::Echo,
            (0, 1) => MessageKind::Final,
            (0, 2) => MessageKind::WantEntries,
            (0, 3) => MessageKind::WantCertificates,
            (1, 0) => match variant(MVBA_VARIANT_AT)? {
                0 => MessageKind::Spb,
                1 => MessageKind::CoinShare,
                2 => MessageKind::Ballot,
                _ => return None,
            },
            (1, 1) => MessageKind::Halt,
            (1, 2) => MessageKind::CatchUp,
            (2, 0) => MessageKind::BlockVote,
            (2, 1) => MessageKind::BlockCertified,
            (3, 0) => match variant(9)? {
                0 => MessageKind::TransferVote,
                1 => MessageKind::WantPart,
                2 => MessageKind::PartAck,
                _ => return None,
            },
            (3, 1) => match variant(9)? {
                0 => MessageKind::RejectVotes,
                1 => MessageKind::Rejected,
                _ => return None,
            },
            (3, 2) => MessageKind::Spent,
            (3, 3) => MessageKind::Held,
            (4, 0) => MessageKind::AskCheckpoint,
            (4, 1 | 2) => MessageKind::Checkpoint,
            (4, 3) => MessageKind::WantPiece,
            _ => return None,
        })
    }

    /// The name under which metrics count it.
    pub fn name(self) -> &'static str {
        match self {
            MessageKind::Entry => "entry",
            MessageKind::Echo => "echo",
            MessageKind::Final => "final",
            MessageKind::WantEntries => "want_entries",
            MessageKind::WantCertificates => "want_certificates",
            MessageKind::Spb => "spb",
            MessageKind::CoinShare => "coin_share",
            MessageKind::Ballot => "ballot",
            MessageKind::Halt => "halt",
            MessageKind::CatchUp => "catch_up",
            MessageKind::BlockVote => "block_vote",
            MessageKind::BlockCertified => "block_certified",
            MessageKind::Transfer => "transfer",
            MessageKind::TransferVote => "transfer_vote",
            MessageKind::WantPart => "want_part",
            MessageKind::PartAck => "part_ack",
            MessageKind::RejectVotes => "reject_votes",
            MessageKind::Rejected => "rejected",
            MessageKind::Spent => "spent",
            MessageKind::Order => "order",
            MessageKind::AskCheckpoint => "ask_checkpoint",
            MessageKind::Checkpoint => "checkpoint",
            MessageKind::WantPiece => "want_piece",
            MessageKind::Piece => "piece",
            MessageKind::Copies => "copies",
            MessageKind::Held => "held",
            MessageKind::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_number_and_a_name_of_its_own() {
        for (number, kind) in MessageKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
            assert!(MessageKind::ALL.iter().all(|other| *other == kind || other.name() != kind.name()));
        }
    }

    #[test]
    fn bytes_that_are_no_message_are_of_no_kind() {
        for body in
            [&[][..], &[9], &[MESSAGE_TAG], &[MESSAGE_TAG, 9, 0, 0, 0, 0, 0, 0, 0], &[MESSAGE_TAG; 64]]
        {
            assert_eq!(MessageKind::of(body), MessageKind::Unknown, "{body:?}");
        }
    }
}
