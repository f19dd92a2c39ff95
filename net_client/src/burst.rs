//! Writes many frames at once.
//!
//! Small frames are copied into one buffer. A long body, or a piece of it, is written from its shared buffer, behind
//! its header. So a burst of votes costs one system call, and a proposal is never copied, however many recipients it
//! has.

use std::io::{self, IoSlice, Write};
use std::ops::Range;

use wire::bytes::Bytes;
use wire::frame::{Kind, Sealed, Sealer, piece_header};
use wire::ids::Round;

use crate::outbox::Outgoing;

/// Frames that go out together. Reused for its buffers.
#[derive(Default)]
pub(crate) struct Burst {
    small: Vec<u8>,
    segments: Vec<Segment>,
    small_in_segments: usize,
}

enum Segment {
    Small(Range<usize>),
    Body(Bytes),
}

/// Bodies from this length on are not copied. A copy of a shorter one costs less than one more slice in the kernel.
const LARGE_BODY_BYTES: usize = 16 << 10;
/// Slices of one vectored write; the kernel takes up to 1,024.
const SLICES_MAX: usize = 256;
/// Capacity beyond this is freed after each write.
const SMALL_BYTES_KEPT: usize = 1 << 20;

impl Burst {
    /// Appends a frame of the outbox.
    pub(crate) fn push(&mut self, sealer: &mut Sealer, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Skip { to } => sealer.seal_skip(to, &mut self.small),
            Outgoing::Long { sequence, item } => {
                sealer.seal_long(sequence, &item.digest, item.body.len(), &mut self.small);
            }
            Outgoing::Piece { sequence, piece } => {
                self.small.extend_from_slice(&piece_header(sequence, piece.len()));
                self.push_body(piece);
            }
            Outgoing::Data { sequence, item } => {
                let Sealed { header, tag } = sealer.seal(Kind::Data, sequence, &item.digest, item.body.len());
                self.small.extend_from_slice(&header);
                self.push_body(item.body);
                self.small.extend_from_slice(&tag);
            }
        }
    }

    fn push_body(&mut self, body: Bytes) {
        if body.len() < LARGE_BODY_BYTES {
            self.small.extend_from_slice(&body);
        } else {
            self.close_small();
            self.segments.push(Segment::Body(body));
        }
    }

    pub(crate) fn push_ping(&mut self, sealer: &mut Sealer, sequence: u64, decided: Round) {
        sealer.seal_ping(sequence, decided, &mut self.small);
    }

    /// Writes everything to a blocking sink. Afterwards the burst is empty, also after an error.
    pub(crate) fn write_to(&mut self, sink: &mut impl Write) -> io::Result<()> {
        self.close_small();
        let slices: Vec<IoSlice<'_>> = self
            .segments
            .iter()
            .map(|segment| match segment {
                Segment::Small(range) => IoSlice::new(&self.small[range.clone()]),
                Segment::Body(body) => IoSlice::new(body),
            })
            .collect();
        let result = write_all(sink, slices);
        self.segments.clear();
        self.small.clear();
        self.small.shrink_to(SMALL_BYTES_KEPT);
        self.small_in_segments = 0;
        result
    }

    /// Ends the segment of the bytes that were added to `small` since the last one.
    fn close_small(&mut self) {
        if self.small_in_segments < self.small.len() {
            self.segments.push(Segment::Small(self.small_in_segments..self.small.len()));
            self.small_in_segments = self.small.len();
        }
    }
}

fn write_all(sink: &mut impl Write, mut slices: Vec<IoSlice<'_>>) -> io::Result<()> {
    let mut left = &mut slices[..];
    // Skips empty slices at the front: a write of zero bytes would look like a closed sink.
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
