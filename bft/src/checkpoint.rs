//! Checkpoints: the ledger of a shard at one height, handed to a member that is behind every history.
//!
//! Members keep executed entries for a bounded time ([`crate::lane`]). A member that was away for longer, or a follower
//! that starts with nothing, cannot execute the blocks that it missed. It takes over their result.
//!
//! **Guarantee.** A member takes over only the ledger that every honest member has at that height, and afterwards does
//! what it would have done had it executed all blocks itself. It contradicts nothing that it signed before.
//!
//! **Steps.**
//! 1. f+1 members no longer serve the round that the member needs next, and it has executed nothing for
//!    [`STRANDED_AFTER`]: it asks all members for the checkpoint of one height, the highest that f+1 of them claim to
//!    have decided (`takeover`). While blocks go on, most have executed more when they are asked; then it asks for a
//!    height a little ahead of them.
//! 2. A member that executes that height clones its ledger, writes it out piece by piece, and offers header, cut, and
//!    the digests of the pieces (`offers`).
//! 3. f+1 equal offers \[safety]: one is of an honest member, so ledger, header and cut are those that every honest
//!    member has at that height.
//! 4. The member requests the pieces of those who vouch, from several at once. One whose bytes do not have the digest
//!    exposes its sender, who is not asked again.
//! 5. It reads the ledger and goes on from that height ([`crate::core`]), with the usual catch-up.
//!
//! # Correctness
//! The header alone would not do: it fixes the outcomes of all blocks, not the bytes of a ledger. The bytes are equal
//! at all honest members, since they depend on the executed blocks alone (`ledger::rows`).
//!
//! # Security
//! What a member signed before concerns lower rounds, lower positions of lanes and lower numbers of parts than all
//! that it takes part in afterwards, since it signs nothing at or below what it has decided. An offer is not signed: it
//! claims what every honest member knows. A requester costs a member one clone in [`BEGUN_EVERY`], one piece written in
//! [`PIECE_EVERY`], and the bytes that [`crate::serving`] grants. At most f+1 checkpoints are kept, each for
//! [`KEPT_FOR`] after its last use; so f Byzantine members leave room for an honest one.
//!
//! Source: checkpoints and state transfer of PBFT (OSDI 1999, §4.3 and §6.2.2), made on request instead of every so
//! many rounds.

mod offers;
mod takeover;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wire::bytes::Bytes;
use wire::dest::Dest;
use wire::ids::{Digest, Round};
use wire::limits::CHECKPOINT_PIECES_MAX;

use crate::block::Header;
use crate::cut::Cut;
use crate::effects::Effects;
use crate::member::Member;
use crate::time::Span;

pub(crate) use offers::Offers;
pub(crate) use takeover::{Lag, Taken, Takeover};

/// How long a member that cannot be served waits for a way to execute, before it asks for a checkpoint.
pub const STRANDED_AFTER: Span = Span::from_ms(2_000);
/// Shortest time between two checkpoints begun for one member.
pub const BEGUN_EVERY: Span = Span::from_ms(20_000);
/// Pause between two pieces that a member writes out: 25 MB/s, at a tenth of its time.
pub const PIECE_EVERY: Span = Span::from_ms(10);
/// How long a checkpoint is kept that nobody fetches.
pub const KEPT_FOR: Span = Span::from_ms(10_000);
/// Bytes of a piece; the last one is shorter.
pub(crate) const PIECE_BYTES: usize = 256 << 10;

/// Messages about checkpoints, besides their pieces.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CheckpointMessage {
    /// Requests the checkpoint of this height.
    Ask {
        /// The height.
        height: Round,
    },
    /// The answer of a member that has executed more.
    Passed {
        /// Its height.
        executed: Round,
    },
    /// A checkpoint that its sender has made.
    Offer(Box<Offer>),
    /// Requests a piece of a checkpoint that was offered.
    WantPiece {
        /// The height.
        height: Round,
        /// The number of the piece, from 0 on.
        number: u32,
    },
}

/// The description of a checkpoint. Equal offers are of equal checkpoints.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offer {
    /// The header of its height.
    pub header: Header,
    /// The cut that was decided at that height.
    pub cut: Cut,
    /// The digest of each piece, at most [`CHECKPOINT_PIECES_MAX`].
    pub pieces: Vec<Digest>,
}

impl Offer {
    /// The height.
    pub fn height(&self) -> Round {
        self.header.height
    }

    /// Whether it can be that of a checkpoint of this shard.
    fn has_shape(&self, member: &Member) -> bool {
        self.cut.0.len() == member.committee.n()
            && self.cut.digest() == self.header.cut
            && (1..=CHECKPOINT_PIECES_MAX).contains(&self.pieces.len())
    }
}

/// A piece of a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The height of the checkpoint.
    pub height: Round,
    /// Its number, from 0 on.
    pub number: u32,
    /// Its bytes.
    pub bytes: Bytes,
}

/// The digest of a piece.
fn piece_digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::new().chain_update(b"PIEC").chain_update(bytes).finalize().into())
}

/// A message about checkpoints, as it is encoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum CheckpointSend {
    Message(CheckpointMessage),
    Piece(Piece),
}

/// Effects of a step.
pub(crate) type CheckpointEffects = Effects<CheckpointSend, Taken, Dest>;
