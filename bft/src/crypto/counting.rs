//! A suite that counts what it is made to verify: for tests and simulations that bound what a message may cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::crypto::delegate::Delegate;
use crate::crypto::suite::Suite;

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
}

impl Delegate for CountingSuite {
    fn inner(&self) -> &dyn Suite {
        &*self.inner
    }

    fn on_verified(&self, count: usize, all_valid: bool) {
        self.verified.fetch_add(count as u64, Ordering::Relaxed);
        if !all_valid {
            self.in_vain.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}
