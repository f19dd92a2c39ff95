//! Certificates: N−f signatures of distinct members over the same statement.
//!
//! Guarantee: of N−f signers at least N−2f ≥ f+1 are honest, so at least f+1 honest members have checked the statement
//! of a certificate; and two certificates share an honest signer, so two for different values of one subject are
//! impossible where honest members sign one value each. Size: 66 bytes a signer. Cost: one batch of N−f signatures,
//! once; verified ones are remembered by digest ([`CertificateCache`]).

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wire::codec;
use wire::committee::Committee;
use wire::ids::{Digest, Index, ShardId, Signature};

use crate::crypto::suite::{Statement, Suite};
use crate::mutant::{Mutant, in_force};

/// N−f signatures over one statement, ascending by signer. The message around it names the statement.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Certificate(pub Vec<(Index, Signature)>);

impl Certificate {
    /// A certificate of the first N−f of these votes; the caller has verified them.
    pub fn from_votes<'a>(
        committee: &Committee,
        votes: impl Iterator<Item = (Index, &'a Signature)>,
    ) -> Certificate {
        let signatures: Vec<_> =
            votes.take(committee.quorum()).map(|(signer, vote)| (signer, *vote)).collect();
        assert_eq!(
            signatures.len(),
            committee.quorum(),
            "a certificate is made when the threshold is reached"
        );
        Certificate(signatures)
    }

    /// The signers, ascending.
    pub fn signers(&self) -> impl Iterator<Item = Index> + '_ {
        self.0.iter().map(|(signer, _)| *signer)
    }

    /// Exactly N−f signers, all members, strictly ascending (so none twice).
    pub(crate) fn is_well_formed(&self, committee: &Committee) -> bool {
        (self.0.len() == committee.quorum() || !in_force(Mutant::CertificateQuorum))
            && self.0.windows(2).all(|pair| pair[0].0 < pair[1].0)
            && self.0.last().is_some_and(|(last, _)| usize::from(last.0) < committee.n())
    }
}

/// Verifies certificates and remembers those that passed, so that each is verified once however often it arrives.
/// Bound: [`CertificateCache::ENTRIES_MAX`] digests, oldest forgotten first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CertificateCache {
    verified: BTreeSet<Digest>,
    order: VecDeque<Digest>,
}

impl CertificateCache {
    /// Digests kept: several rounds' worth at N = 128, half a megabyte.
    pub const ENTRIES_MAX: usize = 8_192;

    /// Whether `certificate` proves `statement` in the suite's own shard.
    pub fn verify(
        &mut self,
        committee: &Committee,
        suite: &dyn Suite,
        statement: &Statement,
        certificate: &Certificate,
    ) -> bool {
        self.verify_of(committee, suite, suite.shard(), statement, certificate)
    }

    /// Whether `certificate`, made by members of `shard`, proves `statement` there.
    pub fn verify_of(
        &mut self,
        committee: &Committee,
        suite: &dyn Suite,
        shard: ShardId,
        statement: &Statement,
        certificate: &Certificate,
    ) -> bool {
        if !certificate.is_well_formed(committee) {
            return false;
        }
        let digest = proof_digest(shard, statement, certificate);
        if self.verified.contains(&digest) {
            return true;
        }
        let valid = suite.verify_all_of(shard, statement, &certificate.0);
        if valid {
            self.remember(digest);
        }
        valid
    }

    /// Remembers a certificate that we have made of verified signatures: it comes back to us as our own message.
    pub fn learn(&mut self, suite: &dyn Suite, statement: &Statement, certificate: &Certificate) {
        self.remember(proof_digest(suite.shard(), statement, certificate));
    }

    fn remember(&mut self, digest: Digest) {
        if self.verified.insert(digest) {
            self.order.push_back(digest);
        }
        if self.order.len() > CertificateCache::ENTRIES_MAX {
            let oldest = self.order.pop_front().expect("it holds more than its bound");
            self.verified.remove(&oldest);
        }
    }
}

/// Identifies a proof in a cache. The statement is hashed without the testbed: a cache belongs to one node.
pub(crate) fn proof_digest(shard: ShardId, statement: &Statement, certificate: &Certificate) -> Digest {
    let mut hash = Sha256::new();
    hash.update(statement.to_bytes(&Digest::default(), shard));
    hash.update(codec::encode(certificate));
    Digest(hash.finalize().into())
}
