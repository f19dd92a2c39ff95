//! A follower: a member that may not sign, since what it has signed before is not known any more.
//!
//! It executes what the others decide, and nothing else: of messages it takes proofs and the bytes that they prove
//! (HALTs, entries, parts), and it sends requests for them, and answers to such requests. It proposes nothing, gives no
//! input to a round, echoes and votes for nothing, takes no transactions of clients. To the others it is a crashed
//! member that reads, so it counts against f.
//!
//! # Security
//! Nothing that it sends is counted or held against its author, so it cannot contradict what it has signed in an
//! earlier life. It also takes no vote from others: a certificate that it completed with a vote of its own would be
//! such a message. Both are decided by the kind of message, at the two places where messages enter and leave the core.
//!
//! A follower has no journal: one that has followed could not sign after its next start either.

use crate::core::Core;
use crate::event::Effect;
use crate::message::MessageKind;

/// The part that a core takes in its shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Member,
    Follower,
}

impl Core {
    /// Whether it only follows.
    pub fn follows(&self) -> bool {
        self.role == Role::Follower
    }

    /// Whether a peer's bytes are for a core of this role. Unknown ones are, so that their sender is blamed.
    pub(super) fn is_for_us(&self, body: &[u8]) -> bool {
        !self.follows() || is_passed(body) || MessageKind::of(body) == MessageKind::Unknown
    }

    /// Removes the messages that a follower does not send.
    pub(super) fn leave_out(&self, effects: &mut Vec<Effect>) {
        if self.follows() {
            effects.retain(|effect| !matches!(effect, Effect::Send { body, .. } if !is_passed(body)));
        }
    }
}

/// Whether a follower takes and sends such a message: a proof, bytes that are worth no more than a proof that names
/// their digest, or a request for either.
fn is_passed(body: &[u8]) -> bool {
    match MessageKind::of(body) {
        // A follower appends nothing to its lane, so each entry of its own that it sends stands in a decided cut.
        MessageKind::Halt | MessageKind::Entry | MessageKind::Transfer => true,
        // The answers to CATCH-UP are of that kind, too.
        MessageKind::CatchUp
        | MessageKind::WantEntries
        | MessageKind::WantCertificates
        | MessageKind::WantPart => true,
        // An offer counts as one of f+1. It says what all honest members know, and contradicts nothing.
        MessageKind::AskCheckpoint
        | MessageKind::Checkpoint
        | MessageKind::WantPiece
        | MessageKind::Piece => true,
        MessageKind::Echo
        | MessageKind::Final
        | MessageKind::Spb
        | MessageKind::CoinShare
        | MessageKind::Ballot
        | MessageKind::BlockVote
        | MessageKind::BlockCertified
        | MessageKind::TransferVote
        | MessageKind::PartAck
        | MessageKind::RejectVotes
        | MessageKind::Rejected
        | MessageKind::Spent
        | MessageKind::Order
        | MessageKind::Copies
        | MessageKind::Held
        | MessageKind::Unknown => false,
    }
}
