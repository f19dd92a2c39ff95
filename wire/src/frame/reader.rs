//! Reads frames from a connection, in whatever pieces they arrive.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use super::{Frame, FrameError, HEADER_BYTES, Header, Kind, Opener, TAG_BYTES};
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
    stage: Stage,
}

/// The part of a frame to which the next byte belongs.
enum Stage {
    Header { bytes: [u8; HEADER_BYTES], filled: usize },
    Body { header: [u8; HEADER_BYTES], kind: Kind, sequence: u64, body: Filling, hash: Sha256 },
    Tag { header: [u8; HEADER_BYTES], frame: Frame, bytes: [u8; TAG_BYTES], filled: usize },
}

const START: Stage = Stage::Header { bytes: [0; HEADER_BYTES], filled: 0 };

impl FrameReader {
    /// A reader of frames whose data bodies are at most `data_bytes_max` long (never above [`FRAME_BYTES_MAX`]).
    pub fn new(opener: Opener, data_bytes_max: u64) -> FrameReader {
        FrameReader { opener, data_bytes_max: data_bytes_max.min(FRAME_BYTES_MAX) as usize, stage: START }
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

    /// Length of the body that is being received; 0 between bodies.
    pub fn unfinished_bytes(&self) -> usize {
        match &self.stage {
            Stage::Body { header, .. } => {
                u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize
            }
            Stage::Header { .. } | Stage::Tag { .. } => 0,
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
            Stage::Header { .. } | Stage::Tag { .. } => source.read(scratch).map(|read| (read, read)),
        }
    }

    fn is_between_frames(&self) -> bool {
        matches!(self.stage, Stage::Header { filled: 0, .. })
    }

    /// Parses the next bytes.
    fn feed(&mut self, mut input: &[u8], frames: &mut Vec<Frame>) -> Result<(), FrameError> {
        loop {
            let stage = std::mem::replace(&mut self.stage, START);
            self.stage = match stage {
                Stage::Header { mut bytes, mut filled } => {
                    fill(&mut bytes, &mut filled, &mut input);
                    if filled < HEADER_BYTES {
                        Stage::Header { bytes, filled }
                    } else {
                        let Header { length, kind, sequence } = Header::parse(&bytes, self.data_bytes_max)?;
                        let body = Filling::new(length as usize);
                        Stage::Body { header: bytes, kind, sequence, body, hash: Sha256::new() }
                    }
                }
                Stage::Body { header, kind, sequence, mut body, mut hash } => {
                    let taken = body.take(input);
                    hash.update(taken);
                    input = &input[taken.len()..];
                    if body.missing_bytes() > 0 {
                        Stage::Body { header, kind, sequence, body, hash }
                    } else {
                        let digest = Digest(hash.finalize().into());
                        let frame = Frame { kind, sequence, body: Bytes::from(body.finish()), digest };
                        Stage::Tag { header, frame, bytes: [0; TAG_BYTES], filled: 0 }
                    }
                }
                Stage::Tag { header, frame, mut bytes, mut filled } => {
                    fill(&mut bytes, &mut filled, &mut input);
                    if filled < TAG_BYTES {
                        Stage::Tag { header, frame, bytes, filled }
                    } else {
                        self.opener.open(&header, &frame.digest, &bytes)?;
                        frames.push(frame);
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

    fn has_complete_body(&self) -> bool {
        matches!(&self.stage, Stage::Body { body, .. } if body.missing_bytes() == 0)
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
