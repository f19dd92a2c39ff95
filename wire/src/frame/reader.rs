//! Reads frames from a connection, in whatever pieces they arrive.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use super::pieces::Long;
use super::{Frame, FrameError, HEADER_BYTES, Header, Opener, TAG_BYTES, Unit};
use crate::bytes::Bytes;
use crate::filling::Filling;
use crate::ids::Digest;
use crate::limits::FRAME_BYTES_MAX;

/// The outcome of one read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadOutcome {
    /// This number of bytes arrived.
    Read(usize),
    /// The source is empty at present.
    WouldBlock,
    /// The source ended, between two frames.
    Ended,
}

/// Why a connection cannot be read any further.
#[derive(Debug)]
pub enum ReadError {
    /// The other side broke the rules of frames.
    Frame(FrameError),
    /// The connection failed.
    Io(io::Error),
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReadError::Frame(error) => error.fmt(f),
            ReadError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<FrameError> for ReadError {
    fn from(error: FrameError) -> ReadError {
        ReadError::Frame(error)
    }
}

/// The buffer of reads, shared by all readers of a thread. Its content is meaningless between reads.
pub struct Scratch {
    bytes: Box<[u8]>,
}

impl Scratch {
    /// A buffer for a thread that reads at full speed.
    pub fn new() -> Scratch {
        Scratch::of_bytes(256 << 10)
    }

    /// A buffer of `count` bytes, at least one, which bounds a single read of small frames.
    pub fn of_bytes(count: usize) -> Scratch {
        Scratch { bytes: vec![0; count.max(1)].into_boxed_slice() }
    }
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch::new()
    }
}

/// Reads the frames of one direction of one connection.
///
/// Commands: [`FrameReader::read_from`], once a readiness or in a loop. Getters: [`FrameReader::unfinished_bytes`].
pub struct FrameReader {
    opener: Opener,
    data_bytes_max: usize,
    pieces: Pieces,
    stage: Stage,
    /// The body whose pieces are arriving.
    long: Option<Long>,
}

/// Whether bodies may come in pieces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pieces {
    Refused,
    Taken,
}

/// The part of a frame to which the next byte belongs.
enum Stage {
    Header {
        bytes: [u8; HEADER_BYTES],
        filled: usize,
    },
    Body {
        header: [u8; HEADER_BYTES],
        unit: Unit,
        sequence: u64,
        body: Filling,
        hash: Sha256,
    },
    Tag {
        header: [u8; HEADER_BYTES],
        unit: Unit,
        frame: Frame,
        bytes: [u8; TAG_BYTES],
        filled: usize,
    },
    /// A piece of `FrameReader::long`, of which so many bytes are missing.
    Piece {
        missing: usize,
    },
}

const START: Stage = Stage::Header { bytes: [0; HEADER_BYTES], filled: 0 };

impl FrameReader {
    /// A reader of frames whose data bodies are at most `data_bytes_max` long (never above [`FRAME_BYTES_MAX`]).
    pub fn new(opener: Opener, data_bytes_max: u64) -> FrameReader {
        let data_bytes_max = data_bytes_max.min(FRAME_BYTES_MAX) as usize;
        FrameReader { opener, data_bytes_max, pieces: Pieces::Refused, stage: START, long: None }
    }

    /// The same reader, which takes bodies in pieces too. [`FrameReader::unfinished_bytes`] does not count these.
    pub fn with_pieces(self) -> FrameReader {
        FrameReader { pieces: Pieces::Taken, ..self }
    }

    /// Reads once and appends the frames that this completes to `frames`.
    ///
    /// # Errors
    /// Frames that were complete before the error are in `frames`. After an error the reader must not be used.
    pub fn read_from(
        &mut self,
        source: &mut impl Read,
        scratch: &mut Scratch,
        frames: &mut Vec<Frame>,
    ) -> Result<ReadOutcome, ReadError> {
        let read = loop {
            match self.read_once(source, &mut scratch.bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => break other,
            }
        };
        match read {
            Ok((0, _)) if self.is_between_frames() => Ok(ReadOutcome::Ended),
            Ok((0, _)) => Err(FrameError::Truncated.into()),
            Ok((total, in_scratch)) => {
                self.feed(&scratch.bytes[..in_scratch], frames)?;
                Ok(ReadOutcome::Read(total))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(ReadOutcome::WouldBlock),
            Err(error) => Err(ReadError::Io(error)),
        }
    }

    /// Length of the body that is being received in one go; 0 between bodies.
    pub fn unfinished_bytes(&self) -> usize {
        match &self.stage {
            Stage::Body { header, .. } => {
                u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize
            }
            Stage::Header { .. } | Stage::Tag { .. } | Stage::Piece { .. } => 0,
        }
    }

    /// Reads once, directly into the unfinished body if there is one. Returns the bytes read and those of them in
    /// `scratch`.
    fn read_once(&mut self, source: &mut impl Read, scratch: &mut [u8]) -> io::Result<(usize, usize)> {
        match &mut self.stage {
            Stage::Body { body, hash, .. } => {
                let (added, spilled) = body.read_from(source, scratch)?;
                hash.update(added);
                Ok((added.len() + spilled, spilled))
            }
            Stage::Piece { missing } => {
                let long = self.long.as_mut().expect("a piece is begun only if its body is announced");
                // Another piece follows as a rule: no more than its header is read with this one, so that its bytes go
                // into the body and not by way of the scratch buffer.
                let is_last = long.body.missing_bytes() == *missing;
                let spill_max = if is_last { scratch.len() } else { scratch.len().min(HEADER_BYTES) };
                let (added, spilled) =
                    long.body.read_part_from(source, *missing, &mut scratch[..spill_max])?;
                long.hash.update(added);
                *missing -= added.len();
                Ok((added.len() + spilled, spilled))
            }
            Stage::Header { .. } | Stage::Tag { .. } => source.read(scratch).map(|read| (read, read)),
        }
    }

    fn is_between_frames(&self) -> bool {
        matches!(self.stage, Stage::Header { filled: 0, .. }) && self.long.is_none()
    }

    /// Parses the next bytes.
    fn feed(&mut self, mut input: &[u8], frames: &mut Vec<Frame>) -> Result<(), FrameError> {
        loop {
            let stage = std::mem::replace(&mut self.stage, START);
            self.stage = match stage {
                Stage::Header { mut bytes, mut filled } => {
                    fill(&mut bytes, &mut filled, &mut input);
                    if filled < HEADER_BYTES { Stage::Header { bytes, filled } } else { self.begin(bytes)? }
                }
                Stage::Body { header, unit, sequence, mut body, mut hash } => {
                    let taken = body.take(input);
                    hash.update(taken);
                    input = &input[taken.len()..];
                    if body.missing_bytes() > 0 {
                        Stage::Body { header, unit, sequence, body, hash }
                    } else {
                        let digest = Digest(hash.finalize().into());
                        let body = Bytes::from(body.finish());
                        let frame = Frame { kind: unit.kind(), sequence, body, digest };
                        Stage::Tag { header, unit, frame, bytes: [0; TAG_BYTES], filled: 0 }
                    }
                }
                Stage::Tag { header, unit, frame, mut bytes, mut filled } => {
                    fill(&mut bytes, &mut filled, &mut input);
                    if filled < TAG_BYTES {
                        Stage::Tag { header, unit, frame, bytes, filled }
                    } else {
                        self.opener.open(&header, &frame.digest, &bytes)?;
                        if unit != Unit::Long {
                            frames.push(frame);
                        } else if self.long.is_none() {
                            let Frame { sequence, body, .. } = frame;
                            self.long = Some(Long::announced(sequence, &body, self.data_bytes_max)?);
                        } else {
                            return Err(FrameError::Piece);
                        }
                        START
                    }
                }
                Stage::Piece { missing } => {
                    let (head, rest) = input.split_at(input.len().min(missing));
                    let long = self.long.as_mut().expect("a piece is begun only if its body is announced");
                    long.take(head);
                    input = rest;
                    if head.len() < missing {
                        Stage::Piece { missing: missing - head.len() }
                    } else {
                        if long.body.missing_bytes() == 0 {
                            frames.extend(self.long.take().map(Long::finish).transpose()?);
                        }
                        START
                    }
                }
            };
            // A body may be complete although the input is empty (an empty one always is); only then there is more to
            // do without further input.
            if input.is_empty() && !self.has_complete_body() {
                return Ok(());
            }
        }
    }

    /// The stage that follows a header.
    fn begin(&self, bytes: [u8; HEADER_BYTES]) -> Result<Stage, FrameError> {
        let is_of_pieces = matches!(Unit::from_byte(bytes[4]), Some(Unit::Long | Unit::Piece));
        if is_of_pieces && self.pieces == Pieces::Refused {
            return Err(FrameError::Kind(bytes[4]));
        }
        let header = Header::parse(&bytes, self.data_bytes_max)?;
        let Header { length, unit, sequence } = header;
        if unit != Unit::Piece {
            let body = Filling::new(length as usize);
            return Ok(Stage::Body { header: bytes, unit, sequence, body, hash: Sha256::new() });
        }
        let announced = self.long.as_ref().is_some_and(|long| long.admits(&header));
        if announced { Ok(Stage::Piece { missing: length as usize }) } else { Err(FrameError::Piece) }
    }

    /// Whether the body or piece that is being received is complete.
    fn has_complete_body(&self) -> bool {
        match &self.stage {
            Stage::Body { body, .. } => body.missing_bytes() == 0,
            Stage::Piece { missing } => *missing == 0,
            Stage::Header { .. } | Stage::Tag { .. } => false,
        }
    }
}

/// Moves the head of `input` into the unfilled part of `bytes`.
fn fill(bytes: &mut [u8], filled: &mut usize, input: &mut &[u8]) {
    let count = input.len().min(bytes.len() - *filled);
    let (head, rest) = input.split_at(count);
    bytes[*filled..*filled + count].copy_from_slice(head);
    *filled += count;
    *input = rest;
}
