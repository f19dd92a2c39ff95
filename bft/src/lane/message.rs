//! Messages between lanes, and outputs to their parent.

use serde::{Deserialize, Serialize};
use wire::bytes::Bytes;
use wire::dest::Dest;
use wire::ids::{Digest, Index, Seq, Signature};

use crate::crypto::cert::Certificate;
use crate::cut::Tip;
use crate::effects::Effects;

/// Messages of the lanes, except entries themselves, which are their own bytes (see [`super::entry`]).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LaneMessage {
    /// To the owner: the sender holds the entry and found it valid.
    Echo {
        /// The lane's owner.
        owner: Index,
        /// The position.
        seq: Seq,
        /// The entry's digest.
        digest: Digest,
        /// Over [`crate::crypto::suite::Statement::Lane`].
        signature: Signature,
    },
    /// The entry is certified. From its owner to all, and from any member in answer to `WantCertificates`.
    Final {
        /// The lane's owner.
        owner: Index,
        /// The position.
        seq: Seq,
        /// The entry's digest.
        digest: Digest,
        /// N−f echoes.
        certificate: Certificate,
    },
    /// The sender lacks the bodies of this entry and of those directly before it. Answered by the entries, this one
    /// first.
    WantEntries {
        /// The lane's owner.
        owner: Index,
        /// The position.
        seq: Seq,
        /// The entry's digest.
        digest: Digest,
        /// Number of entries in all, from 1 to [`wire::limits::RUN_ENTRIES_MAX`].
        count: u16,
    },
    /// The sender lacks the certificates of these entries. The answer is a `Final` for each one known.
    WantCertificates {
        /// Lane and entry, strictly ascending; at most [`wire::limits::WANTS_PER_MESSAGE_MAX`].
        tips: Vec<(Index, Tip)>,
    },
}

/// Everything the lanes send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LaneSend {
    /// An entry; `body` is the whole frame body.
    Entry {
        /// The lane's owner.
        owner: Index,
        /// The position.
        seq: Seq,
        /// SHA-256 of the body.
        digest: Digest,
        /// Header and payload.
        body: Bytes,
    },
    /// An executed entry, which stands in the journal.
    Kept {
        /// The lane's owner.
        owner: Index,
        /// The position.
        seq: Seq,
        /// SHA-256 of the whole frame body.
        digest: Digest,
    },
    /// Any other message.
    Message(LaneMessage),
}

/// Outputs of the lanes for their parent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LaneOutput {
    /// A new certificate of this lane, for the entry at this position, is known.
    Certified(Index, Seq),
    /// A body that a decided block lacked is here.
    EntryArrived(Index),
}

/// The effects of one step of the lanes. Destinations are `Dest`, so that one message can go to all members that lack
/// the same entry.
pub type LaneEffects = Effects<LaneSend, LaneOutput, Dest>;
