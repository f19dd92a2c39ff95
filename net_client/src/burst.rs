//! Many frames in one write.
//!
//! Small frames are copied into one buffer; a long body is written from where it lies, between its header and its tag.
//! So a burst of votes costs one system call, and a proposal no copy in this process however many its recipients are.

use std::io::{self, IoSlice, Write};
use std::ops::Range;

use wire::bytes::Bytes;
use wire::frame::{Kind, Sealed, Sealer};
use wire::ids::Round;

use crate::outbox::Outgoing;

/// Frames that go out together. Kept between writes for its buffers.
#[derive(Default)]
pub(crate) struct Burst {
    small: Vec<u8>,
    parts: Vec<Part>,
    small_in_parts: usize,
}

enum Part {
    Small(Range<usize>),
    Body(Bytes),
}

/// Bodies from here on are not copied; below, a copy costs less than a slice of its own in the kernel's hands.
const LARGE_BODY_BYTES: usize = 16 << 10;
/// Slices of one vectored write; the kernel takes up to 1,024.
const SLICES_MAX: usize = 256;
/// A buffer that a rare burst has blown up is given back.
const SMALL_BYTES_KEPT: usize = 1 << 20;

impl Burst {
    /// Appends a numbered message or a skip.
    pub(crate) fn push(&mut self, sealer: &mut Sealer, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Skip { to } => sealer.seal_skip(to, &mut self.small),
            Outgoing::Data { sequence, item } => {
                let Sealed { header, tag } = sealer.seal(Kind::Data, sequence, &item.digest, item.body.len());
                self.small.extend_from_slice(&header);
                if item.body.len() < LARGE_BODY_BYTES {
                    self.small.extend_from_slice(&item.body);
                } else {
                    self.close_small();
                    self.parts.push(Part::Body(item.body));
                }
                self.small.extend_from_slice(&tag);
            }
        }
    }

    /// Appends a ping.
    pub(crate) fn push_ping(&mut self, sealer: &mut Sealer, sequence: u64, decided: Round) {
        sealer.seal_ping(sequence, decided, &mut self.small);
    }

    /// Writes everything to a blocking sink and is empty again, whether that succeeds or not.
    pub(crate) fn write_to(&mut self, sink: &mut impl Write) -> io::Result<()> {
        self.close_small();
        let slices: Vec<IoSlice<'_>> = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Small(range) => IoSlice::new(&self.small[range.clone()]),
                Part::Body(body) => IoSlice::new(body),
            })
            .collect();
        let result = write_all(sink, slices);
        self.parts.clear();
        self.small.clear();
        self.small.shrink_to(SMALL_BYTES_KEPT);
        self.small_in_parts = 0;
        result
    }

    /// Makes a part of what `small` has got since the last one.
    fn close_small(&mut self) {
        if self.small_in_parts < self.small.len() {
            self.parts.push(Part::Small(self.small_in_parts..self.small.len()));
            self.small_in_parts = self.small.len();
        }
    }
}

fn write_all(sink: &mut impl Write, mut slices: Vec<IoSlice<'_>>) -> io::Result<()> {
    let mut left = &mut slices[..];
    // Empty slices at the front would make a write of nothing look like a closed sink.
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        let count = left.len().min(SLICES_MAX);
        match sink.write_vectored(&left[..count]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
