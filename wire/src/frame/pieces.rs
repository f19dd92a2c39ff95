//! Long bodies, which travel in pieces.
//!
//! ```text
//! long    a tagged frame whose body is   length of the data body u32 | its SHA-256 [u8; 32]
//! piece   length u32 | kind u8 | sequence u64 | that many bytes of the body                   no tag
//! ```
//!
//! A *long* announces the data frame of its sequence; *pieces* of the same sequence bring the body, in order. Other
//! frames may stand between pieces, so that a ping need not wait for the rest of a long body. With the last piece the
//! data frame is complete, as if it had come in one go.
//!
//! # Security
//! The announcement is authenticated before anything is allocated. It binds the body by its digest, so pieces need no
//! tag of their own: whoever alters, leaves out or moves one makes another digest, which closes the connection. A
//! reader holds one unfinished body at most.

use sha2::{Digest as _, Sha256};

use super::{Frame, FrameError, HEADER_BYTES, Header, Kind, Unit};
use crate::bytes::Bytes;
use crate::filling::Filling;
use crate::ids::Digest;
use crate::limits::PIECE_BYTES_MAX;

/// Length of the body of an announcement.
pub(super) const LONG_BYTES: usize = 4 + 32;

/// Whether a data body of this length travels in pieces. Receivers take shorter ones in pieces too.
pub fn is_long(body_bytes: usize) -> bool {
    body_bytes > PIECE_BYTES_MAX as usize
}

/// The header of a piece of the data frame `sequence`, which precedes its bytes.
///
/// # Panics
/// If the piece is empty or longer than [`PIECE_BYTES_MAX`].
pub fn piece_header(sequence: u64, piece_bytes: usize) -> [u8; HEADER_BYTES] {
    assert!(Unit::Piece.admits_length(piece_bytes, 0), "a piece of {piece_bytes} bytes");
    Header { length: piece_bytes as u32, unit: Unit::Piece, sequence }.to_bytes()
}

/// The body of an announcement.
pub(super) fn announcement(body_bytes: usize, digest: &Digest) -> [u8; LONG_BYTES] {
    let mut bytes = [0; LONG_BYTES];
    bytes[..4].copy_from_slice(&(body_bytes as u32).to_le_bytes());
    bytes[4..].copy_from_slice(&digest.0);
    bytes
}

/// A data frame whose pieces are arriving.
pub(super) struct Long {
    sequence: u64,
    digest: Digest,
    pub(super) body: Filling,
    pub(super) hash: Sha256,
}

impl Long {
    /// The data frame that the body of an announcement with a valid tag announces.
    pub(super) fn announced(sequence: u64, body: &[u8], data_bytes_max: usize) -> Result<Long, FrameError> {
        let (length, digest) = body.split_first_chunk::<4>().expect("its length was checked");
        let length = u32::from_le_bytes(*length);
        if length == 0 || length as usize > data_bytes_max {
            return Err(FrameError::Length { kind: Kind::Data, length });
        }
        let digest = Digest(digest.try_into().expect("its length was checked"));
        let (body, hash) = (Filling::new(length as usize), Sha256::new());
        Ok(Long { sequence, digest, body, hash })
    }

    /// Whether this is the header of its next piece.
    pub(super) fn admits(&self, piece: &Header) -> bool {
        piece.sequence == self.sequence && piece.length as usize <= self.body.missing_bytes()
    }

    /// Takes bytes of the present piece.
    pub(super) fn take(&mut self, input: &[u8]) {
        self.hash.update(self.body.take(input));
    }

    /// The data frame, once nothing is missing.
    pub(super) fn finish(self) -> Result<Frame, FrameError> {
        let Long { sequence, digest, body, hash } = self;
        if hash.finalize()[..] != digest.0 {
            return Err(FrameError::Digest);
        }
        Ok(Frame { kind: Kind::Data, sequence, body: Bytes::from(body.finish()), digest })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::{FrameReader, Opener, ReadError, ReadOutcome, Scratch, Sealer};
    use super::*;
    use crate::ids::Round;

    const KEY: [u8; 32] = [7; 32];
    const DATA_BYTES_MAX: u64 = 1 << 20;
    const LENGTH: usize = 200_000;

    fn body() -> Vec<u8> {
        (0..LENGTH).map(|i| ((i * 2_654_435_761) >> 11) as u8).collect()
    }

    fn seal_long(sealer: &mut Sealer, sequence: u64, body: &[u8], out: &mut Vec<u8>) {
        sealer.seal_long(sequence, &Digest(Sha256::digest(body).into()), body.len(), out);
    }

    fn push_piece(sequence: u64, piece: &[u8], out: &mut Vec<u8>) {
        out.extend(piece_header(sequence, piece.len()));
        out.extend(piece);
    }

    /// Reads up to so many bytes at a time.
    struct Narrow<'a>(&'a [u8], usize);

    impl Read for Narrow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let length = buffer.len().min(self.1);
            self.0.read(&mut buffer[..length])
        }

        fn read_vectored(&mut self, buffers: &mut [std::io::IoSliceMut<'_>]) -> std::io::Result<usize> {
            if self.1 == usize::MAX { self.0.read_vectored(buffers) } else { self.read(&mut buffers[0]) }
        }
    }

    fn read(bytes: &[u8], at_once: usize) -> (Vec<Frame>, Option<FrameError>) {
        let mut reader = FrameReader::new(Opener::new(&KEY), DATA_BYTES_MAX).with_pieces();
        let (mut source, mut frames) = (Narrow(bytes, at_once), Vec::new());
        let mut scratch = Scratch::of_bytes(100_000);
        loop {
            match reader.read_from(&mut source, &mut scratch, &mut frames) {
                Ok(ReadOutcome::Read(_)) => {}
                Ok(ReadOutcome::Ended) => return (frames, None),
                Err(ReadError::Frame(error)) => return (frames, Some(error)),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn pieces_make_a_data_frame_and_pings_pass_between_them() {
        let (mut sealer, mut bytes, body) = (Sealer::new(&KEY), Vec::new(), body());
        sealer.seal_data(4, b"before", &mut bytes);
        seal_long(&mut sealer, 5, &body, &mut bytes);
        for (number, piece) in body.chunks(PIECE_BYTES_MAX as usize).enumerate() {
            push_piece(5, piece, &mut bytes);
            sealer.seal_ping(number as u64, Round(9), &mut bytes);
        }
        sealer.seal_data(6, b"after", &mut bytes);
        for at_once in [usize::MAX, 70_000, 65_549, 1_000, 13, 1] {
            let (frames, error) = read(&bytes, at_once);
            assert_eq!(error, None, "{at_once}");
            let order: Vec<_> = frames.iter().map(|frame| (frame.kind, frame.sequence)).collect();
            let (data, ping) = (Kind::Data, Kind::Ping);
            assert_eq!(order, [(data, 4), (ping, 0), (ping, 1), (ping, 2), (data, 5), (ping, 3), (data, 6)]);
            assert!(frames[4].body[..] == body[..]);
            assert_eq!(frames[4].digest.0, <[u8; 32]>::from(Sha256::digest(&body)));
        }
    }

    #[test]
    fn pieces_out_of_place_and_other_bodies_are_refused_by_name() {
        let body = body();
        let refused = |make: &dyn Fn(&mut Sealer, &mut Vec<u8>)| {
            let (mut sealer, mut bytes) = (Sealer::new(&KEY), Vec::new());
            make(&mut sealer, &mut bytes);
            let (frames, error) = read(&bytes, usize::MAX);
            assert!(frames.is_empty());
            error.map(|error| error.to_string())
        };
        let piece = |sequence, range: std::ops::Range<usize>, out: &mut Vec<u8>| {
            push_piece(sequence, &body[range], out);
        };
        for (expected, error) in [
            ("piece out of place", refused(&|_, out| piece(0, 0..10, out))),
            (
                "piece out of place",
                refused(&|sealer, out| {
                    seal_long(sealer, 0, &body, out);
                    piece(1, 0..10, out);
                }),
            ),
            (
                "piece out of place",
                refused(&|sealer, out| {
                    seal_long(sealer, 0, &body[..100], out);
                    piece(0, 0..99, out);
                    piece(0, 99..101, out);
                }),
            ),
            (
                "piece out of place",
                refused(&|sealer, out| {
                    seal_long(sealer, 0, &body, out);
                    seal_long(sealer, 1, &body, out);
                }),
            ),
            (
                "frame with a wrong digest",
                refused(&|sealer, out| {
                    seal_long(sealer, 0, &body[..100], out);
                    piece(0, 50..100, out);
                    piece(0, 0..50, out);
                }),
            ),
            (
                "frame of unlawful length: 1048577 bytes of Data",
                refused(&|sealer, out| seal_long(sealer, 0, &vec![0; DATA_BYTES_MAX as usize + 1], out)),
            ),
            (
                "frame of unlawful length: 0 bytes of Data",
                refused(&|sealer, out| seal_long(sealer, 0, &[], out)),
            ),
            (
                "frame cut off",
                refused(&|sealer, out| {
                    seal_long(sealer, 0, &body, out);
                    piece(0, 0..10, out);
                }),
            ),
        ] {
            assert_eq!(error.as_deref(), Some(expected));
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (mut sealer, mut whole, body) = (Sealer::new(&KEY), Vec::new(), &body()[..40]);
        seal_long(&mut sealer, 0, body, &mut whole);
        push_piece(0, &body[..30], &mut whole);
        push_piece(0, &body[30..], &mut whole);
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let (frames, error) = read(&flipped, usize::MAX);
            assert!(frames.is_empty() && error.is_some(), "bit {bit}");
        }
    }
}
