//! Messages about cross-shard transactions, inside a shard and between shards.
//!
//! Two kinds carry long bytes and are encoded as a head with those bytes as its tail, so that they are hashed and
//! parsed in place: a transfer (its proof, then the part) and an order (no head, then a list of transactions as in
//! `wire::client::list`). Everything else goes through the one codec.

use serde::{Deserialize, Serialize};
use wire::bytes::Bytes;
use wire::ids::{Digest, PartNumber, Round, ShardId, Signature, TxId};

use crate::block::Header;
use crate::crypto::cert::Certificate;
use crate::ledger::Cause;
use crate::part::PartRef;
use crate::pending::Position;

/// All messages about cross-shard transactions except transfers and orders, and about copies of transactions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ShardMessage {
    /// Parts of groups.
    Part(PartMessage),
    /// Transactions that can never execute.
    Reject(RejectMessage),
    /// Answer to an order: these transactions have spent their inputs here, and this part carries each.
    Spent(Vec<(TxId, PartNumber)>),
    /// Inside a shard: the sender holds copies of everything up to this position of the receiver's timeline.
    Held(Position),
}

/// Messages about group parts, except the transfer itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PartMessage {
    /// SIGN, inside the destination: the sender has verified the part and holds it.
    Vote {
        /// The part.
        part: PartRef,
        /// The signature on it.
        signature: Signature,
    },
    /// Inside the destination, and to the source: a request for this part with its proof.
    Want(PartRef),
    /// From the destination to the source: the sender has executed all parts up to this one.
    Ack(PartNumber),
}

/// The proof of a part, which precedes the part's bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TransferProof {
    /// The header of the part's block, and those after it up to the one that is certified: each names the digest of
    /// the one before. At most [`TransferProof::HEADERS_MAX`].
    pub headers: Vec<Header>,
    /// N−f VOTEs of the source on the last of these headers.
    pub certificate: Certificate,
    /// The position of the part's digest among all parts of its block.
    pub position: u32,
    /// How many parts the block has. The outgoing root binds it.
    pub count: u32,
    /// Siblings from the part's digest to the outgoing root.
    pub branch: Vec<Digest>,
}

impl TransferProof {
    /// Most headers in one proof, 150 KB: a block is certified at the latest when one so far ahead is.
    pub const HEADERS_MAX: usize = 1_024;
}

/// LD: a part and its proof.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// The proof.
    pub proof: TransferProof,
    /// The bytes of the part.
    pub part: Bytes,
}

/// Messages about transactions that can never execute. Links are authenticated, so they need no signatures.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RejectMessage {
    /// CL_M, inside an input shard: these can never execute here. At most `limits::REJECTS_PER_MESSAGE_MAX`.
    Votes {
        /// The round the sender has executed: the vote counts at a receiver that has executed as much.
        executed: Round,
        /// The transactions.
        votes: Vec<RejectVote>,
    },
    /// CL, to the other shards of these transactions: they can never execute in the sender's shard. At most
    /// `limits::REJECTS_PER_MESSAGE_MAX`.
    Rejected {
        /// The highest part that the sender has imported from the receiver's shard.
        imported: PartNumber,
        /// The transactions and why.
        ids: Vec<(TxId, Cause)>,
    },
}

/// A vote that a transaction can never execute in the sender's shard.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct RejectVote {
    /// The transaction.
    pub id: TxId,
    /// All its shards but the sender's, ascending: those that need this vote.
    pub others: Vec<ShardId>,
    /// The cause, as far as the sender knows.
    pub cause: Cause,
}
