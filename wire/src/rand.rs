//! Randomness of the operating system, for keys, nonces, incarnations and jitter. Never used by `bft`.
//!
//! One handle on `/dev/urandom` is opened at the first use and kept, so that a process without free file descriptors (a
//! listener under a flood of connections) still gets random bytes.

use std::fs::File;
use std::io::Read;
use std::sync::OnceLock;

/// Fills `bytes` with random bytes fit for keys.
///
/// # Panics
/// If the system has no readable `/dev/urandom`: nothing is secure without it.
pub fn fill(bytes: &mut [u8]) {
    static SOURCE: OnceLock<File> = OnceLock::new();
    let mut source =
        SOURCE.get_or_init(|| File::open("/dev/urandom").expect("every Unix offers /dev/urandom"));
    source.read_exact(bytes).expect("/dev/urandom never ends and never fails once open");
}

/// 32 random bytes.
pub fn bytes32() -> [u8; 32] {
    let mut bytes = [0; 32];
    fill(&mut bytes);
    bytes
}

/// A random number.
pub fn u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// A random number below `bound`, practically uniform for small bounds.
///
/// # Panics
/// If `bound` is 0.
pub fn below(bound: usize) -> usize {
    assert!(bound > 0, "no number is below 0");
    (u64() % bound as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_differ() {
        assert_ne!(bytes32(), bytes32());
        assert_ne!(u64(), u64());
        assert!((0..100).all(|_| below(3) < 3));
    }
}
