//! PRE-VOTE and VOTE on the leader that the coin has elected.

use serde::{Deserialize, Serialize};
use wire::ids::Signature;

use crate::crypto::cert::Certificate;
use crate::cut::Cut;

/// A vote of either phase.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Ballot {
    /// Step 4.
    PreVote(PreVote),
    /// Step 5.
    Vote(Vote),
}

/// Whether the leader's certificate 1 is known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PreVote {
    /// It is; here it is.
    Yes {
        /// The leader's value.
        cut: Cut,
        /// Its certificate 1.
        certificate: Certificate,
    },
    /// It is not.
    No {
        /// Signature at stage NO.
        signature: Signature,
    },
}

/// Whether the leader's value may be decided.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Vote {
    /// It may.
    Yes {
        /// The leader's value.
        cut: Cut,
        /// Its certificate 1.
        certificate: Certificate,
        /// Signature at stage FINISH.
        signature: Signature,
    },
    /// N−f members did not know its certificate 1, so it was not decided.
    No {
        /// N−f signatures at stage NO.
        refusals: Certificate,
        /// Signature at stage UNLOCK.
        signature: Signature,
    },
}
