//! Receives a body piece by piece into a buffer of its own.
//!
//! # Security
//! An announced length alone allocates at most [`STEP_BYTES`]; the rest of the buffer is allocated once that much has
//! arrived. So a false length costs a mebibyte, and an honest body is moved at most once.

use std::io::{self, IoSliceMut, Read};

/// The most that an announced length allocates before its bytes arrive, and that one read requests.
pub(crate) const STEP_BYTES: usize = 1 << 20;

/// A body of known length of which `filled` bytes are there.
pub(crate) struct Filling {
    /// The bytes received, followed by zeros to read into; at most `length`.
    body: Vec<u8>,
    filled: usize,
    length: usize,
}

impl Filling {
    pub(crate) fn new(length: usize) -> Filling {
        Filling { body: Vec::with_capacity(length.min(STEP_BYTES)), filled: 0, length }
    }

    pub(crate) fn missing_bytes(&self) -> usize {
        self.length - self.filled
    }

    /// Takes the missing bytes from the head of `input`; returns the bytes taken.
    pub(crate) fn take<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let taken = &input[..input.len().min(self.missing_bytes())];
        self.reserve(taken.len());
        let (within, beyond) = taken.split_at(taken.len().min(self.body.len() - self.filled));
        self.body[self.filled..][..within.len()].copy_from_slice(within);
        self.body.extend_from_slice(beyond);
        self.filled += taken.len();
        taken
    }

    /// Reads once, into the missing part of the body and, if that becomes full, into `spill`. Returns the bytes added
    /// to the body and the number of bytes in `spill`; both are empty at the end of the source.
    pub(crate) fn read_from(
        &mut self,
        source: &mut impl Read,
        spill: &mut [u8],
    ) -> io::Result<(&[u8], usize)> {
        self.read_part_from(source, self.missing_bytes(), spill)
    }

    /// The same if only the next `part_bytes` bytes of the source belong to the body.
    pub(crate) fn read_part_from(
        &mut self,
        source: &mut impl Read,
        part_bytes: usize,
        spill: &mut [u8],
    ) -> io::Result<(&[u8], usize)> {
        let start = self.filled;
        if start == self.body.len() {
            let more = part_bytes.min(STEP_BYTES);
            self.reserve(more);
            self.body.resize(start + more, 0);
        }
        let room = part_bytes.min(self.body.len() - start);
        // Only what follows the part may spill.
        let spill = if room == part_bytes { spill } else { &mut [] };
        let part = &mut self.body[start..start + room];
        let read = source.read_vectored(&mut [IoSliceMut::new(part), IoSliceMut::new(spill)])?;
        self.filled += read.min(room);
        Ok((&self.body[start..self.filled], read.saturating_sub(room)))
    }

    /// The body, once nothing is missing.
    pub(crate) fn finish(self) -> Vec<u8> {
        assert!(self.filled == self.length && self.body.len() == self.length, "the body is complete");
        self.body
    }

    fn reserve(&mut self, more: usize) {
        if self.filled + more > self.body.capacity() {
            let target =
                if self.filled < STEP_BYTES { (self.filled + more).max(STEP_BYTES) } else { self.length };
            self.body.reserve_exact(target.min(self.length).saturating_sub(self.body.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announced_length_allocates_one_step() {
        let mut filling = Filling::new(16 * STEP_BYTES);
        assert!(filling.body.capacity() <= STEP_BYTES);
        filling.take(&[7; 1000]);
        assert!(filling.body.capacity() <= STEP_BYTES);
    }

    #[test]
    fn pieces_make_the_body_and_the_rest_spills() {
        let whole: Vec<u8> = (0..3 * STEP_BYTES + 77).map(|i| ((i * 31) >> 3) as u8).collect();
        let length = whole.len() - 20;
        let mut filling = Filling::new(length);
        let mut source = &whole[..];
        let (mut seen, mut spill) = (Vec::new(), [0; 64]);
        let mut spilled = 0;
        for turn in 0.. {
            if filling.missing_bytes() == 0 {
                break;
            }
            if turn % 2 == 0 {
                let (head, rest) = source.split_at(source.len().min(100_000));
                let taken = filling.take(head);
                seen.extend_from_slice(taken);
                assert!(taken.len() == head.len() || filling.missing_bytes() == 0);
                source = rest;
            } else {
                let (added, over) = filling.read_from(&mut source, &mut spill).unwrap();
                seen.extend_from_slice(added);
                spilled = over;
            }
        }
        assert_eq!(spilled, 20);
        assert_eq!(spill[..20], whole[length..]);
        assert_eq!(seen, whole[..length]);
        assert_eq!(filling.finish(), seen);
    }
}
