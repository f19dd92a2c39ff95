//! Identifiers, each with a type of its own so that they cannot be confused.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::hex;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// A participant of the whole testbed: shard × N + index within the shard.
    NodeId, u16);
number_id!(
    /// A shard; its members run one Dumbo instance.
    ShardId, u16);
number_id!(
    /// The index of a member within its shard, 0 ≤ index < N.
    Index, u16);
number_id!(
    /// One turn of the Dumbo round loop; also the height of the block it decides. Round 0 is the genesis block,
    /// which nobody agrees on; agreement starts with round 1.
    Round, u64);
number_id!(
    /// A view of sMVBA within a round, counted from 0.
    View, u32);
number_id!(
    /// The number of an entry in a lane. Entries count from 1; 0 stands for the empty lane.
    Seq, u64);
number_id!(
    /// The number of a group part among all that one shard sends to another. Parts count from 1; 0 stands for none.
    PartNumber, u64);
number_id!(
    /// A client connection of one `net_server` process; never reused by it.
    ClientId, u64);

impl Round {
    /// The round after this one.
    pub fn next(self) -> Round {
        Round(self.0 + 1)
    }
}

impl View {
    /// The view after this one.
    pub fn next(self) -> View {
        View(self.0 + 1)
    }
}

impl PartNumber {
    /// The part after this one.
    pub fn next(self) -> PartNumber {
        PartNumber(self.0 + 1)
    }
}

impl Seq {
    /// The entry after this one.
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

macro_rules! digest_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(#[serde(with = "crate::codec::bytes32")] pub [u8; 32]);

        impl fmt::Display for $name {
            /// The first eight bytes in hex: enough to distinguish ids in a log.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(&self.0[..8]))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

digest_id!(
    /// A SHA-256 digest.
    Digest);
digest_id!(
    /// SHA-256 of a transaction's encoding, signatures included.
    TxId);
digest_id!(
    /// The id of a coin: a hash of what created it.
    CoinId);

/// An ed25519 signature. Two halves because serde knows no array of 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Signature {
    /// The commitment R, a compressed point.
    #[serde(with = "crate::codec::bytes32")]
    pub r: [u8; 32],
    /// The response s, a scalar, little endian.
    #[serde(with = "crate::codec::bytes32")]
    pub s: [u8; 32],
}

impl Signature {
    /// The 64 bytes R ‖ s.
    pub fn to_bytes(self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&self.r);
        bytes[32..].copy_from_slice(&self.s);
        bytes
    }

    /// From the 64 bytes R ‖ s.
    pub fn from_bytes(bytes: [u8; 64]) -> Signature {
        let (mut r, mut s) = ([0; 32], [0; 32]);
        r.copy_from_slice(&bytes[..32]);
        s.copy_from_slice(&bytes[32..]);
        Signature { r, s }
    }
}
