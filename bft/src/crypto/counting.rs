//! A suite that counts verifications and notes what is signed, for tests and simulations that bound what a message may
//! cost and look for statements that contradict each other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::crypto::delegate::Delegate;
use crate::crypto::suite::{Statement, Suite};

/// A suite that passes every call on to another one, counts the verifications and notes the statements signed.
#[derive(Debug)]
pub struct CountingSuite {
    inner: Arc<dyn Suite>,
    verified: AtomicU64,
    in_vain: AtomicU64,
    signed: Mutex<Vec<Statement>>,
}

impl CountingSuite {
    /// Wraps `inner`, with counters at zero.
    pub fn new(inner: Arc<dyn Suite>) -> CountingSuite {
        let (verified, in_vain) = (AtomicU64::new(0), AtomicU64::new(0));
        CountingSuite { inner, verified, in_vain, signed: Mutex::default() }
    }

    /// Takes the statements signed since the last call.
    pub fn take_signed(&self) -> Vec<Statement> {
        std::mem::take(&mut *self.signed.lock().expect("nobody panics while holding it"))
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

    fn on_signed(&self, statement: &Statement) {
        self.signed.lock().expect("nobody panics while holding it").push(*statement);
    }

    fn on_verified(&self, count: usize, all_valid: bool) {
        self.verified.fetch_add(count as u64, Ordering::Relaxed);
        if !all_valid {
            self.in_vain.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}
