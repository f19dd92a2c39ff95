//! Records on their way to a file, in one write.

use std::fs::File;
use std::io::{self, IoSlice, Write as _};

use wire::bytes::Bytes;
use wire::record::Record;

/// Shorter bodies are copied: a slice of its own costs a system call about as much as copying some kilobytes.
pub(super) const BODY_BYTES_MIN: usize = 8 << 10;
/// Slices in one call: what systems accept at least.
pub(super) const SLICES_MAX: usize = 1_024;

/// Records to be written together. Long bodies are not copied; the memory for the rest is used again.
#[derive(Default)]
pub(super) struct Gathered {
    copied: Vec<u8>,
    /// Bodies, each with the number of copied bytes before it.
    bodies: Vec<(usize, Bytes)>,
    bytes: usize,
}

impl Gathered {
    pub(super) fn add(&mut self, record: Record) {
        self.bytes += record.file_bytes();
        record.write_front_to(&mut self.copied);
        if record.body.len() < BODY_BYTES_MIN {
            self.copied.extend_from_slice(&record.body);
        } else {
            self.bodies.push((self.copied.len(), record.body));
        }
    }

    /// What they take in a segment.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.copied.clear();
        self.bodies.clear();
        self.bytes = 0;
    }

    fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut slices = Vec::with_capacity(2 * self.bodies.len() + 1);
        let mut from = 0;
        for (at, body) in &self.bodies {
            slices.extend([&self.copied[from..*at], body].map(IoSlice::new));
            from = *at;
        }
        slices.push(IoSlice::new(&self.copied[from..]));
        slices
    }

    pub(super) fn write_to(&self, file: &mut File) -> io::Result<()> {
        let mut slices = self.slices();
        let mut rest = &mut slices[..];
        // Empty ones count as nothing written.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match file.write_vectored(&rest[..rest.len().min(SLICES_MAX)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
