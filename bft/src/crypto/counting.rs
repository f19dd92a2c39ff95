//! A suite that counts what it is made to verify: for tests and simulations that bound what a message may cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wire::ids::{Index, ShardId, Signature};

use crate::crypto::suite::{CoinName, CoinShare, Statement, Suite};

/// Another suite, counted. Its answers are those of the other.
#[derive(Debug)]
pub struct CountingSuite {
    inner: Arc<dyn Suite>,
    verified: AtomicU64,
    in_vain: AtomicU64,
}

impl CountingSuite {
    /// Counts from zero.
    pub fn new(inner: Arc<dyn Suite>) -> CountingSuite {
        CountingSuite { inner, verified: AtomicU64::new(0), in_vain: AtomicU64::new(0) }
    }

    /// Signatures and coin shares verified, each one of a batch.
    pub fn verified(&self) -> u64 {
        self.verified.load(Ordering::Relaxed)
    }

    /// Those of them that were in a batch that did not hold, or did not hold themselves.
    pub fn in_vain(&self) -> u64 {
        self.in_vain.load(Ordering::Relaxed)
    }

    fn count(&self, signatures: usize, valid: bool) -> bool {
        self.verified.fetch_add(signatures as u64, Ordering::Relaxed);
        if !valid {
            self.in_vain.fetch_add(signatures as u64, Ordering::Relaxed);
        }
        valid
    }
}

impl Suite for CountingSuite {
    fn shard(&self) -> ShardId {
        self.inner.shard()
    }

    fn sign(&self, statement: &Statement) -> Signature {
        self.inner.sign(statement)
    }

    fn verify(&self, signer: Index, statement: &Statement, signature: &Signature) -> bool {
        self.count(1, self.inner.verify(signer, statement, signature))
    }

    fn verify_all(&self, statement: &Statement, signatures: &[(Index, Signature)]) -> bool {
        self.count(signatures.len(), self.inner.verify_all(statement, signatures))
    }

    fn verify_all_of(
        &self,
        shard: ShardId,
        statement: &Statement,
        signatures: &[(Index, Signature)],
    ) -> bool {
        self.count(signatures.len(), self.inner.verify_all_of(shard, statement, signatures))
    }

    fn coin_share(&self, name: &CoinName) -> CoinShare {
        self.inner.coin_share(name)
    }

    fn verify_coin_share(&self, signer: Index, name: &CoinName, share: &CoinShare) -> bool {
        self.count(1, self.inner.verify_coin_share(signer, name, share))
    }

    fn elect(&self, name: &CoinName, shares: &[(Index, CoinShare)]) -> Option<Index> {
        self.inner.elect(name, shares)
    }
}
