//! The cryptography of the protocol: signatures, batches of them, and a threshold coin.
//!
//! [`Suite`] is implemented by the real suite (`RealSuite`: cofactored ed25519, DLEQ coin over ristretto255) and by a
//! keyed-hash stand-in (`HashSuite`) for simulations of many schedules, under which forging still fails.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use wire::ids::{Digest, Index, Round, Seq, ShardId, Signature, View};

use crate::part::PartRef;

/// A signed statement. Signed bytes are `tag ‖ testbed ‖ shard ‖ round ‖ instance ‖ seq ‖ view ‖ stage ‖ digest`,
/// little endian and of fixed width, so that no signature is valid for another statement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Statement {
    /// ECHO of a lane entry.
    Lane {
        /// The owner of the lane.
        owner: Index,
        /// The entry.
        seq: Seq,
        /// Its digest.
        digest: Digest,
    },
    /// A stage of sMVBA.
    Agreement {
        /// The round of the instance.
        round: Round,
        /// The view.
        view: View,
        /// The leader of the SPB.
        leader: Index,
        /// The stage.
        stage: Stage,
        /// Digest of the cut; zero for [`Stage::No`] and [`Stage::Unlock`].
        digest: Digest,
    },
    /// VOTE for a block header.
    Block {
        /// Its height.
        height: Round,
        /// The header's digest.
        digest: Digest,
    },
    /// SIGN for a group part of another shard.
    Part(PartRef),
}

/// The stages of sMVBA that are signed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Stage {
    /// ECHO: makes certificate 1.
    Lock,
    /// READY and yes-VOTE: makes certificate 2.
    Finish,
    /// no-PRE-VOTE.
    No,
    /// no-VOTE.
    Unlock,
}

impl Statement {
    /// The bytes that are signed: 93 for every statement.
    pub fn to_bytes(&self, testbed: &Digest, shard: ShardId) -> [u8; Statement::BYTES] {
        const NO_ROUND: Round = Round(0);
        let (tag, round, instance, seq, view, stage, digest) = match *self {
            Statement::Lane { owner, seq, digest } => (b"LANE", NO_ROUND, owner, seq, View(0), 0, digest),
            Statement::Agreement { round, view, leader, stage, digest } => {
                (b"MVBA", round, leader, Seq(0), view, 1 + stage as u8, digest)
            }
            Statement::Block { height, digest } => (b"BLOK", height, Index(0), Seq(0), View(0), 0, digest),
            Statement::Part(PartRef { source, number, digest }) => {
                (b"PART", NO_ROUND, Index(source.0), Seq(number.0), View(0), 0, digest)
            }
        };
        let mut bytes = [0; Statement::BYTES];
        let mut at = 0;
        let parts: [&[u8]; 9] = [
            tag,
            &testbed.0,
            &shard.0.to_le_bytes(),
            &round.0.to_le_bytes(),
            &instance.0.to_le_bytes(),
            &seq.0.to_le_bytes(),
            &view.0.to_le_bytes(),
            &[stage],
            &digest.0,
        ];
        for part in parts {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        assert_eq!(at, Statement::BYTES, "the parts have fixed widths");
        bytes
    }

    /// The subject of the statement: an honest member makes one statement on each, however often.
    ///
    /// Statements that are not about a value (`Stage::No`) contradict none. FINISH and UNLOCK exclude each other: a
    /// member signs the one if it knows certificate 1 of the leader, the other if it does not when it votes.
    pub fn subject(&self) -> Statement {
        let digest = Digest::default();
        match *self {
            Statement::Lane { owner, seq, .. } => Statement::Lane { owner, seq, digest },
            Statement::Agreement { round, view, leader, stage, .. } => {
                let stage = if stage == Stage::Unlock { Stage::Finish } else { stage };
                Statement::Agreement { round, view, leader, stage, digest }
            }
            Statement::Block { height, .. } => Statement::Block { height, digest },
            Statement::Part(part) => Statement::Part(PartRef { digest, ..part }),
        }
    }

    /// Length of the signed bytes.
    pub const BYTES: usize = 4 + 32 + 2 + 8 + 2 + 8 + 4 + 1 + 32;
}

/// The name of one coin toss.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct CoinName {
    /// The round.
    pub round: Round,
    /// The view.
    pub view: View,
}

/// One member's share of a coin: a group element and the proof that it has the right exponent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CoinShare {
    /// H(name)^{s_i}, compressed.
    #[serde(with = "wire::codec::bytes32")]
    pub value: [u8; 32],
    /// Challenge of the DLEQ proof.
    #[serde(with = "wire::codec::bytes32")]
    pub challenge: [u8; 32],
    /// Response of the DLEQ proof.
    #[serde(with = "wire::codec::bytes32")]
    pub response: [u8; 32],
}

/// Signatures and coin of one shard, seen by one of its members.
///
/// `&self` throughout and deterministic: the same call gives the same result on every node and at every replay.
pub trait Suite: Debug + Send + Sync {
    /// The shard it belongs to, in which its statements are made.
    fn shard(&self) -> ShardId;

    /// Our signature on a statement.
    fn sign(&self, statement: &Statement) -> Signature;

    /// Whether `signer` signed the statement. All nodes agree on the answer, singly or in a batch.
    fn verify(&self, signer: Index, statement: &Statement, signature: &Signature) -> bool;

    /// Whether every signer signed the one statement; the same answer as verifying one by one.
    fn verify_all(&self, statement: &Statement, signatures: &[(Index, Signature)]) -> bool;

    /// The same for signers and statements of another shard.
    fn verify_all_of(&self, shard: ShardId, statement: &Statement, signatures: &[(Index, Signature)])
    -> bool;

    /// Our share of a coin.
    fn coin_share(&self, name: &CoinName) -> CoinShare;

    /// Whether `share` is the one share of `signer` for this coin.
    fn verify_coin_share(&self, signer: Index, name: &CoinName, share: &CoinShare) -> bool;

    /// The leader that N−f verified shares of distinct members elect; `None` if there are fewer. Any N−f give the
    /// same leader.
    fn elect(&self, name: &CoinName, shares: &[(Index, CoinShare)]) -> Option<Index>;
}
