//! A write buffer for a connection that may not accept all bytes at once.

use std::io::{self, Write};

/// Capacity beyond this is freed once everything is written.
const KEPT_BYTES: usize = 16 << 10;

/// The unwritten bytes. They are bounded by the caller, by [`Outgoing::len`].
#[derive(Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
}

impl Outgoing {
    /// Unwritten bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The buffer to append to.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        // Moves the rest to the front once that is shorter than the part that was written, so moves are amortised.
        if self.written > self.len() {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        &mut self.bytes
    }

    /// Writes until `sink` is full; returns the number of bytes written.
    pub(crate) fn write_to(&mut self, sink: &mut impl Write) -> io::Result<usize> {
        let before = self.written;
        while !self.is_empty() {
            match sink.write(&self.bytes[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(self.written - before),
                Err(error) => return Err(error),
            }
        }
        let count = self.written - before;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.written = 0;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepts three bytes a call, and none at every third.
    struct Reluctant {
        taken: Vec<u8>,
        calls: usize,
    }

    impl Write for Reluctant {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            if self.calls.is_multiple_of(3) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let count = bytes.len().min(3);
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_byte_goes_out_once_and_in_order() {
        let mut sink = Reluctant { taken: Vec::new(), calls: 0 };
        let (mut outgoing, mut expected, mut written) = (Outgoing::default(), Vec::new(), 0);
        for round in 0..50u8 {
            let more: Vec<u8> = (0..round % 13).map(|i| round ^ i).collect();
            expected.extend_from_slice(&more);
            outgoing.buffer().extend_from_slice(&more);
            written += outgoing.write_to(&mut sink).unwrap();
            assert_eq!(written + outgoing.len(), expected.len());
        }
        while !outgoing.is_empty() {
            outgoing.write_to(&mut sink).unwrap();
        }
        assert_eq!(sink.taken, expected);
    }
}
