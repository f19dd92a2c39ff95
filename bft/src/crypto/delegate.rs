//! Suites that delegate to another suite, to observe it or to change one answer; for simulations and tests.

use std::fmt::Debug;

use wire::ids::{Index, ShardId, Signature};

use crate::crypto::suite::{CoinName, CoinShare, Statement, Suite};

/// A suite that gives the answers of another one, except where it overrides them.
pub trait Delegate: Debug + Send + Sync {
    /// The suite that answers.
    fn inner(&self) -> &dyn Suite;

    /// A statement was signed.
    fn on_signed(&self, _statement: &Statement) {}

    /// A batch of `count` signatures or coin shares was verified.
    fn on_verified(&self, _count: usize, _all_valid: bool) {}

    /// Replaces the leader that the other suite's coin elects.
    fn elected(&self, _name: &CoinName, leader: Index) -> Option<Index> {
        Some(leader)
    }
}

impl<D: Delegate> Suite for D {
    fn shard(&self) -> ShardId {
        self.inner().shard()
    }

    fn sign(&self, statement: &Statement) -> Signature {
        self.on_signed(statement);
        self.inner().sign(statement)
    }

    fn verify(&self, signer: Index, statement: &Statement, signature: &Signature) -> bool {
        let valid = self.inner().verify(signer, statement, signature);
        self.on_verified(1, valid);
        valid
    }

    fn verify_all(&self, statement: &Statement, signatures: &[(Index, Signature)]) -> bool {
        let valid = self.inner().verify_all(statement, signatures);
        self.on_verified(signatures.len(), valid);
        valid
    }

    fn verify_all_of(
        &self,
        shard: ShardId,
        statement: &Statement,
        signatures: &[(Index, Signature)],
    ) -> bool {
        let valid = self.inner().verify_all_of(shard, statement, signatures);
        self.on_verified(signatures.len(), valid);
        valid
    }

    fn coin_share(&self, name: &CoinName) -> CoinShare {
        self.inner().coin_share(name)
    }

    fn verify_coin_share(&self, signer: Index, name: &CoinName, share: &CoinShare) -> bool {
        let valid = self.inner().verify_coin_share(signer, name, share);
        self.on_verified(1, valid);
        valid
    }

    fn elect(&self, name: &CoinName, shares: &[(Index, CoinShare)]) -> Option<Index> {
        self.inner().elect(name, shares).and_then(|leader| self.elected(name, leader))
    }
}
