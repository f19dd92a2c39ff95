//! The stand-in suite for simulations of many schedules: keyed hashes in place of curves, about 100 times cheaper.
//!
//! Each member has a secret derived from the simulation's seed; its signatures and coin shares are SHA-256 of secret
//! and statement. Every suite object can recompute the signature of any member, which is how it verifies, but it
//! returns only those of its own member. So an adversary that acts through the suite objects of the members it
//! controls, and otherwise only repeats bytes it has seen, forges nothing; and it learns a leader only from N−f valid
//! shares of distinct members, like any member. Like the real suite it combines shares without verifying them, so a bad
//! share changes the leader that they elect.
//!
//! # Security
//! None against an adversary that can read its state: never for real nodes.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

use wire::committee::Committee;
use wire::ids::{Digest, Index, NodeId, ShardId, Signature};

use crate::crypto::coin;
use crate::crypto::suite::{CoinName, CoinShare, Statement, Suite};

type Secret = [u8; 32];

/// Keyed-hash signatures and coin of one shard, acting for one of its members.
pub struct HashSuite {
    testbed: Digest,
    shard: ShardId,
    me: Index,
    n: usize,
    threshold: usize,
    /// By node; all of them, for verifying.
    members: Vec<Secret>,
    coin: Secret,
}

impl HashSuite {
    /// The suite of node `me`; those of one simulation share the committee and the seed.
    pub fn new(committee: &Committee, me: NodeId, seed: u64) -> HashSuite {
        let shard = committee.shard_of(me);
        let secret = |what: &[u8], number: u16| -> Secret {
            let hash = Sha256::new().chain_update(b"dumbo-testbed/hash-suite/").chain_update(what);
            hash.chain_update(seed.to_le_bytes()).chain_update(number.to_le_bytes()).finalize().into()
        };
        HashSuite {
            testbed: committee.testbed(),
            shard,
            me: committee.index_of(me),
            threshold: committee.quorum(),
            n: committee.n(),
            members: committee.nodes().map(|node| secret(b"member", node.0)).collect(),
            coin: secret(b"coin", shard.0),
        }
    }

    /// The secret of a member of a shard.
    fn secret_of(&self, shard: ShardId, member: Index) -> Option<&Secret> {
        let index = usize::from(member.0);
        if index < self.n { self.members.get(usize::from(shard.0) * self.n + index) } else { None }
    }

    /// The signature of `signer` of `shard`; private, so that no caller signs for others.
    fn signature_of(&self, shard: ShardId, signer: Index, statement: &Statement) -> Option<Signature> {
        let secret = self.secret_of(shard, signer)?;
        let message = statement.to_bytes(&self.testbed, shard);
        let hash = Sha256::new().chain_update(b"sign").chain_update(secret).chain_update(message);
        Some(Signature { r: hash.finalize().into(), s: [0; 32] })
    }

    /// The share of `signer`; private likewise.
    fn coin_share_of(&self, signer: Index, name: &CoinName) -> Option<CoinShare> {
        let secret = self.secret_of(self.shard, signer)?;
        Some(CoinShare {
            value: self.hash_name(b"coin", secret, name),
            challenge: [0; 32],
            response: [0; 32],
        })
    }

    fn hash_name(&self, tag: &[u8; 4], secret: &Secret, name: &CoinName) -> [u8; 32] {
        Sha256::new()
            .chain_update(tag)
            .chain_update(secret)
            .chain_update(self.testbed.0)
            .chain_update(self.shard.0.to_le_bytes())
            .chain_update(name.round.0.to_le_bytes())
            .chain_update(name.view.0.to_le_bytes())
            .finalize()
            .into()
    }
}

impl Suite for HashSuite {
    fn shard(&self) -> ShardId {
        self.shard
    }

    fn sign(&self, statement: &Statement) -> Signature {
        self.signature_of(self.shard, self.me, statement).expect("we are a member")
    }

    fn verify(&self, signer: Index, statement: &Statement, signature: &Signature) -> bool {
        self.signature_of(self.shard, signer, statement).as_ref() == Some(signature)
    }

    fn verify_all(&self, statement: &Statement, signatures: &[(Index, Signature)]) -> bool {
        self.verify_all_of(self.shard, statement, signatures)
    }

    fn verify_all_of(
        &self,
        shard: ShardId,
        statement: &Statement,
        signatures: &[(Index, Signature)],
    ) -> bool {
        signatures.iter().all(|(signer, signature)| {
            self.signature_of(shard, *signer, statement).as_ref() == Some(signature)
        })
    }

    fn coin_share(&self, name: &CoinName) -> CoinShare {
        self.coin_share_of(self.me, name).expect("we are a member")
    }

    fn verify_coin_share(&self, signer: Index, name: &CoinName, share: &CoinShare) -> bool {
        self.coin_share_of(signer, name).as_ref() == Some(share)
    }

    /// As in the real suite, a bad share among those that are combined spoils the coin: it still elects a leader, but
    /// by a toss that depends on the bad share. So code that fails to verify shares forks with this suite too.
    fn elect(&self, name: &CoinName, shares: &[(Index, CoinShare)]) -> Option<Index> {
        let by_member: BTreeMap<Index, &CoinShare> =
            shares.iter().map(|(member, share)| (*member, share)).collect();
        if by_member.len() < self.threshold {
            return None;
        }
        let mut toss = self.hash_name(b"toss", &self.coin, name);
        for (signer, share) in by_member.into_iter().take(self.threshold) {
            if !self.verify_coin_share(signer, name, share) {
                let spoilt = Sha256::new().chain_update(b"spoilt").chain_update(toss);
                toss =
                    spoilt.chain_update(signer.0.to_le_bytes()).chain_update(share.value).finalize().into();
            }
        }
        Some(coin::leader(&toss, self.n))
    }
}

impl fmt::Debug for HashSuite {
    /// Never the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashSuite(shard {}, member {})", self.shard, self.me)
    }
}
