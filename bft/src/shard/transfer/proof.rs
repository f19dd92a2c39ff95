//! The proof of a part to another shard, and its verification.
//!
//! A proof leads from the part to N−f signatures of the source: digest of the part → branch → outgoing root in the
//! header of its block → chain of headers, each naming the digest of the one before → VOTE certificate on the last.
//! Since honest members VOTE for the one header that execution gives, and N−f VOTEs hold one of an honest member, a
//! proved part is the one that the source's ledger sent at that number: of one (source, number) two different parts
//! cannot both be proved. This relies on digests that bind shapes ([`crate::part`]): the sender names position and
//! count, but the outgoing root binds the count, and the digest of a part binds how many items of each kind it has.
//!
//! Cheap checks come first: the part is hashed only under a certificate that holds.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wire::ids::{Digest, ShardId};

use crate::block::Header;
use crate::crypto::cert::CertificateCache;
use crate::crypto::suite::Statement;
use crate::member::Member;
use crate::mutant::{Mutant, in_force};
use crate::part::{Part, outgoing_root_by};
use crate::shard::message::{Transfer, TransferProof};

/// A part with a proof that we have verified.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Held {
    /// The part.
    pub part: Arc<Part>,
    proof: TransferProof,
    /// Digest of the message that brought it.
    pub message: Digest,
}

impl Held {
    /// Verifies the transfer of a message with this digest; `None` if the proof does not hold or covers other bytes.
    pub(super) fn verify(
        member: &Member,
        certificates: &mut CertificateCache,
        source: ShardId,
        message: Digest,
        transfer: Transfer,
    ) -> Option<Held> {
        let Transfer { proof, part } = transfer;
        let first = proof.headers.first()?;
        let last = proof.headers.last()?;
        if proof.headers.len() > TransferProof::HEADERS_MAX || !is_chain(&proof.headers) {
            return None;
        }
        let statement = Statement::Block { height: last.height, digest: last.digest() };
        let (committee, suite) = (&member.committee, &*member.suite);
        // # Security: without N−f VOTEs of the source any node could invent spent coins. [safety]
        let is_certified = certificates.verify_of(committee, suite, source, &statement, &proof.certificate);
        if !is_certified && in_force(Mutant::TransferNeedsCertificate) {
            return None;
        }
        let outgoing = first.outgoing;
        let height = first.height;
        let part = Part::parse(part)?;
        (part.height == height && is_covered(&part, &proof, outgoing)).then(|| Held {
            part: Arc::new(part),
            proof,
            message,
        })
    }

    /// The transfer that other members are sent.
    pub(super) fn transfer(&self) -> Transfer {
        Transfer { proof: self.proof.clone(), part: self.part.bytes.clone() }
    }

    /// The size of that.
    pub(super) fn bytes(&self) -> u64 {
        bytes_of(&self.proof, &self.part.bytes)
    }
}

/// Whether each header names the one before it. \[safety]
fn is_chain(headers: &[Header]) -> bool {
    let follows = |pair: &[Header]| {
        pair[1].height.0.checked_sub(pair[0].height.0) == Some(1) && pair[1].previous == pair[0].digest()
    };
    headers.windows(2).all(follows) || !in_force(Mutant::TransferHeaderChain)
}

/// Whether the outgoing root of the part's block covers it, with the position and count in the proof. \[safety]
fn is_covered(part: &Part, proof: &TransferProof, outgoing: Digest) -> bool {
    let root = outgoing_root_by(part, proof.position, proof.count, &proof.branch);
    root == Some(outgoing) || !in_force(Mutant::TransferBranch)
}

/// Bytes of a transfer, without the lengths of its lists.
pub(super) fn transfer_bytes(transfer: &Transfer) -> u64 {
    bytes_of(&transfer.proof, &transfer.part)
}

fn bytes_of(proof: &TransferProof, part: &[u8]) -> u64 {
    let headers = size_of::<Header>() * proof.headers.len();
    (headers + 66 * proof.certificate.0.len() + 32 * proof.branch.len() + part.len()) as u64
}
