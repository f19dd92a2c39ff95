//! HMAC-SHA-256 (RFC 2104) with both blocks of the key hashed in advance, so that a tag over one short message costs
//! two compressions.

use sha2::{Digest as _, Sha256};

const BLOCK_BYTES: usize = 64;

/// A key, as the two hash states from which its tags start.
#[derive(Clone)]
pub(crate) struct MacKey {
    inner: Sha256,
    outer: Sha256,
}

impl MacKey {
    pub(crate) fn new(key: &[u8; 32]) -> MacKey {
        let padded = |pad: u8| {
            let mut block = [pad; BLOCK_BYTES];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut state = Sha256::new();
            state.update(block);
            state
        };
        MacKey { inner: padded(0x36), outer: padded(0x5C) }
    }

    /// The tag of the concatenation of `parts`.
    pub(crate) fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut inner = self.inner.clone();
        parts.iter().for_each(|part| inner.update(part));
        let mut outer = self.outer.clone();
        outer.update(inner.finalize());
        outer.finalize().into()
    }
}

/// Whether two tags are equal, in constant time.
pub(crate) fn tags_equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let difference = a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b));
    // Keeps the optimiser from turning the fold into a comparison that ends early.
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex;

    #[test]
    fn agrees_with_a_published_vector() {
        // RFC 4231, test case 1. Its key of 20 bytes 0x0b is padded with zeros by definition.
        let mut key = [0; 32];
        key[..20].fill(0x0B);
        let tag = MacKey::new(&key).tag(&[b"Hi ", b"There"]);
        assert_eq!(hex::encode(&tag), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    }

    #[test]
    fn tags_differ_by_any_bit() {
        let tag = [0x5A; 32];
        assert!(tags_equal(&tag, &tag));
        for bit in 0..256 {
            let mut other = tag;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!tags_equal(&tag, &other));
        }
    }
}
