//! A suite that counts verifications, for tests and simulations that bound what a message may cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::crypto::delegate::Delegate;
use crate::crypto::suite::Suite;

/// A suite that passes every call on to another one and counts the verifications.
#[derive(Debug)]
pub struct CountingSuite {
    inner: Arc<dyn Suite>,
    verified: AtomicU64,
    in_vain: AtomicU64,
}

impl CountingSuite {
    /// Wraps `inner`, with counters at zero.
    pub fn new(inner: Arc<dyn Suite>) -> CountingSuite {
        CountingSuite { inner, verified: AtomicU64::new(0), in_vain: AtomicU64::new(0) }
    }

    /// Signatures and coin shares verified; each one in a batch counts.
    pub fn verified(&self) -> u64 {
        self.verified.load(Ordering::Relaxed)
    }

    /// Of these, the ones that were invalid or in a batch that failed.
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
