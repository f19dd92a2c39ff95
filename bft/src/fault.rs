//! Misbehaviour of peers: values, counted and logged by the driver, never errors of ours and never a panic.

use wire::ids::NodeId;

/// An act of a peer that no correct node commits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Fault {
    /// The authenticated sender.
    pub peer: NodeId,
    /// The kind of act.
    pub kind: FaultKind,
}

/// The kinds of misbehaviour. A correct node causes none of them in a correct node, whatever the network does and
/// however far one of them is behind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FaultKind {
    /// Bytes that decode as no message.
    Malformed,
    /// A member, lane, round or size that cannot exist.
    OutOfRange,
    /// A second, different message of one author where only one is allowed.
    Equivocation,
    /// A signature that does not verify.
    BadSignature,
    /// A certificate that is short, repeats a signer, or does not verify.
    BadCertificate,
    /// A coin share whose proof does not verify.
    BadCoinShare,
    /// A lane entry that breaks static validity.
    InvalidEntry,
    /// A cut that breaks the rules of its round.
    InvalidCut,
    /// A justification of a view's value that does not hold.
    BadJustification,
    /// A vote for another block than the one decided.
    WrongBlock,
    /// A message from a node that is not entitled to send it.
    NotAMember,
    /// A group part that its proof does not cover, or whose proof does not hold.
    BadTransfer,
    /// A piece of a checkpoint that does not have the digest for which its sender vouched.
    BadPiece,
    /// A request to order a transaction that breaks static validity or concerns other shards.
    BadRequest,
}

impl FaultKind {
    /// The name under which logs, metrics and the summary count it.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::Malformed => "malformed",
            FaultKind::OutOfRange => "out_of_range",
            FaultKind::Equivocation => "equivocation",
            FaultKind::BadSignature => "bad_signature",
            FaultKind::BadCertificate => "bad_certificate",
            FaultKind::BadCoinShare => "bad_coin_share",
            FaultKind::InvalidEntry => "invalid_entry",
            FaultKind::InvalidCut => "invalid_cut",
            FaultKind::BadJustification => "bad_justification",
            FaultKind::WrongBlock => "wrong_block",
            FaultKind::NotAMember => "not_a_member",
            FaultKind::BadTransfer => "bad_transfer",
            FaultKind::BadPiece => "bad_piece",
            FaultKind::BadRequest => "bad_request",
        }
    }
}
