//! Frames: what an established session carries.
//!
//! ```text
//! length u32 | kind u8 | sequence u64 | body | tag [u8; 32]        integers little endian, length of the body alone
//! ```
//!
//! **Hash once, MAC the digest.** The tag is HMAC-SHA-256 over the count of frames sent so far in this direction, the
//! header, and SHA-256 of the body. A sender hashes a body once for all its recipients ([`Sealer::seal`] takes the
//! digest); the receiver's digest travels on with the body, so that nobody hashes it again. The count is not sent:
//! both sides know it. It makes every frame of a session good in one place only, so nothing can be replayed, reordered
//! or left out unnoticed, whatever the kind.
//!
//! **Sequences.** Data frames are numbered from 0 by (dialer, incarnation), over any number of connections. [`InOrder`]
//! is the receiver's side: what it has is dropped, a gap closes the connection. `Ack` and `Skip` carry the
//! number that is expected next: all below it have arrived, or will never come.
//!
//! # Security
//! Nothing is allocated for a frame before kind and length are found lawful, and for a long body at most a mebibyte
//! before that much has arrived. After an error the connection is of no further use: the place where the next frame
//! would begin is no longer known.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use crate::bytes::Bytes;
use crate::filling::Filling;
use crate::ids::{Digest, Round};
use crate::limits::FRAME_BYTES_MAX;
use crate::mac::{MacKey, tags_equal};

/// Bytes of a frame before its body.
pub const HEADER_BYTES: usize = 13;
/// Bytes of a frame after its body.
pub const TAG_BYTES: usize = 32;
/// SHA-256 of nothing: the digest of a frame without a body.
pub const EMPTY_DIGEST: Digest = Digest([
    0xE3, 0xB0, 0xC4, 0x42, 0x98, 0xFC, 0x1C, 0x14, 0x9A, 0xFB, 0xF4, 0xC8, 0x99, 0x6F, 0xB9, 0x24, 0x27,
    0xAE, 0x41, 0xE4, 0x64, 0x9B, 0x93, 0x4C, 0xA4, 0x95, 0x99, 0x1B, 0x78, 0x52, 0xB8, 0x55,
]);

const ROUND_BYTES: usize = 8;

/// What a frame is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Carries a body; numbered.
    Data = 1,
    /// All data frames below the sequence have arrived.
    Ack = 2,
    /// Asks for a [`Kind::Pong`] of the same sequence; the body is the sender's decided round.
    Ping = 3,
    /// Answers a [`Kind::Ping`]; the body is the sender's decided round.
    Pong = 4,
    /// All data frames below the sequence that have not arrived will never come.
    Skip = 5,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        [Kind::Data, Kind::Ack, Kind::Ping, Kind::Pong, Kind::Skip]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }

    fn admits_length(self, length: usize, data_bytes_max: usize) -> bool {
        match self {
            Kind::Data => length <= data_bytes_max,
            Kind::Ping | Kind::Pong => length == ROUND_BYTES,
            Kind::Ack | Kind::Skip => length == 0,
        }
    }
}

/// A frame whose tag was right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// What it is for.
    pub kind: Kind,
    /// Its number, or the number it speaks of.
    pub sequence: u64,
    /// The body, in a buffer of its own.
    pub body: Bytes,
    /// SHA-256 of the body.
    pub digest: Digest,
}

impl Frame {
    /// Bytes it took on the connection.
    pub fn wire_bytes(&self) -> u64 {
        (HEADER_BYTES + self.body.len() + TAG_BYTES) as u64
    }

    /// The decided round that a ping or pong tells; `None` for other kinds.
    pub fn decided(&self) -> Option<Round> {
        let body: [u8; ROUND_BYTES] = self.body[..].try_into().ok()?;
        matches!(self.kind, Kind::Ping | Kind::Pong).then(|| Round(u64::from_le_bytes(body)))
    }
}

/// Why a frame was refused. Each closes the connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FrameError {
    /// No kind has this number.
    Kind(u8),
    /// The kind has no frames of this length here.
    Length {
        /// The kind.
        kind: Kind,
        /// Bytes announced.
        length: u32,
    },
    /// The tag does not fit.
    Tag,
    /// The connection ended within a frame.
    Truncated,
}

impl FrameError {
    /// The name it is counted under.
    pub fn name(&self) -> &'static str {
        match self {
            FrameError::Kind(_) => "frame of unknown kind",
            FrameError::Length { .. } => "frame of unlawful length",
            FrameError::Tag => "frame with a wrong tag",
            FrameError::Truncated => "frame cut off",
        }
    }
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())?;
        match self {
            FrameError::Kind(byte) => write!(f, ": {byte}"),
            FrameError::Length { kind, length } => write!(f, ": {length} bytes of {kind:?}"),
            FrameError::Tag | FrameError::Truncated => Ok(()),
        }
    }
}

impl std::error::Error for FrameError {}

/// Header and tag of one frame; to be written around its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// What goes before the body.
    pub header: [u8; HEADER_BYTES],
    /// What goes after the body.
    pub tag: [u8; TAG_BYTES],
}

/// Makes the frames of one direction of a session.
///
/// # Correctness
/// Frames must go out in the order in which they were sealed, all of them: the tags count them.
pub struct Sealer {
    key: MacKey,
    count: u64,
}

impl Sealer {
    /// The sealer of the direction that `key` belongs to.
    pub(crate) fn new(key: &[u8; 32]) -> Sealer {
        Sealer { key: MacKey::new(key), count: 0 }
    }

    /// Header and tag for a body of `body_bytes` bytes with this SHA-256; the body itself is not needed.
    ///
    /// # Panics
    /// If the body is longer than a frame may be: what we send we have bounded ourselves.
    pub fn seal(&mut self, kind: Kind, sequence: u64, body_digest: &Digest, body_bytes: usize) -> Sealed {
        assert!(
            kind.admits_length(body_bytes, FRAME_BYTES_MAX as usize),
            "we send no {kind:?} of {body_bytes} bytes"
        );
        let header = Header { length: body_bytes as u32, kind, sequence }.to_bytes();
        let tag = tag(&self.key, self.count, &header, body_digest);
        self.count += 1;
        Sealed { header, tag }
    }

    /// Appends a whole data frame to `out`, hashing `body`; for bodies that go to one recipient.
    pub fn seal_data(&mut self, sequence: u64, body: &[u8], out: &mut Vec<u8>) {
        let digest = Digest(Sha256::digest(body).into());
        self.append(Kind::Data, sequence, &digest, body, out);
    }

    /// Appends an ack to `out`: all data frames below `next` have arrived.
    pub fn seal_ack(&mut self, next: u64, out: &mut Vec<u8>) {
        self.append(Kind::Ack, next, &EMPTY_DIGEST, &[], out);
    }

    /// Appends a skip to `out`: the data frames below `next` that have not arrived will never come.
    pub fn seal_skip(&mut self, next: u64, out: &mut Vec<u8>) {
        self.append(Kind::Skip, next, &EMPTY_DIGEST, &[], out);
    }

    /// Appends a ping to `out`, telling the round `decided`.
    pub fn seal_ping(&mut self, sequence: u64, decided: Round, out: &mut Vec<u8>) {
        self.append_round(Kind::Ping, sequence, decided, out);
    }

    /// Appends the answer to the ping of this sequence to `out`, telling the round `decided`.
    pub fn seal_pong(&mut self, sequence: u64, decided: Round, out: &mut Vec<u8>) {
        self.append_round(Kind::Pong, sequence, decided, out);
    }

    fn append_round(&mut self, kind: Kind, sequence: u64, decided: Round, out: &mut Vec<u8>) {
        let body = decided.0.to_le_bytes();
        let digest = Digest(Sha256::digest(body).into());
        self.append(kind, sequence, &digest, &body, out);
    }

    fn append(&mut self, kind: Kind, sequence: u64, digest: &Digest, body: &[u8], out: &mut Vec<u8>) {
        let Sealed { header, tag } = self.seal(kind, sequence, digest, body.len());
        out.reserve(HEADER_BYTES + body.len() + TAG_BYTES);
        out.extend_from_slice(&header);
        out.extend_from_slice(body);
        out.extend_from_slice(&tag);
    }
}

/// Checks the frames of one direction of a session.
pub struct Opener {
    key: MacKey,
    count: u64,
}

impl Opener {
    /// The opener of the direction that `key` belongs to.
    pub(crate) fn new(key: &[u8; 32]) -> Opener {
        Opener { key: MacKey::new(key), count: 0 }
    }

    fn open(
        &mut self,
        header: &[u8; HEADER_BYTES],
        digest: &Digest,
        given: &[u8; TAG_BYTES],
    ) -> Result<(), FrameError> {
        let expected = tag(&self.key, self.count, header, digest);
        self.count += 1;
        if tags_equal(&expected, given) { Ok(()) } else { Err(FrameError::Tag) }
    }
}

fn tag(key: &MacKey, count: u64, header: &[u8; HEADER_BYTES], digest: &Digest) -> [u8; TAG_BYTES] {
    key.tag(&[&count.to_le_bytes(), header, &digest.0])
}

struct Header {
    length: u32,
    kind: Kind,
    sequence: u64,
}

impl Header {
    fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4] = self.kind as u8;
        bytes[5..].copy_from_slice(&self.sequence.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8; HEADER_BYTES], data_bytes_max: usize) -> Result<Header, FrameError> {
        let [l0, l1, l2, l3, kind, sequence @ ..] = *bytes;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let kind = Kind::from_byte(kind).ok_or(FrameError::Kind(kind))?;
        if !kind.admits_length(length as usize, data_bytes_max) {
            return Err(FrameError::Length { kind, length });
        }
        let sequence = u64::from_le_bytes(sequence);
        Ok(Header { length, kind, sequence })
    }
}

/// What became of one read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadOutcome {
    /// So many bytes came.
    Read(usize),
    /// None are there at present.
    WouldBlock,
    /// The source ended, between two frames.
    Ended,
}

/// Why a connection can't be read any further.
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

/// Where reads land first; one for all readers of a thread. What a reader leaves in it has no meaning.
pub struct Scratch {
    bytes: Box<[u8]>,
}

impl Scratch {
    /// One of the size that suits a thread which reads at full speed.
    pub fn new() -> Scratch {
        Scratch::of_bytes(256 << 10)
    }

    /// One of `count` bytes, at least one: how much a single read of small frames may bring in.
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

/// What the next byte belongs to.
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
    /// Frames completed before the error are in `frames` all the same. After an error the reader is of no use.
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

    /// Length of the body that is being received, of which some is still missing; 0 between bodies.
    pub fn unfinished_bytes(&self) -> usize {
        match &self.stage {
            Stage::Body { header, .. } => {
                u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize
            }
            Stage::Header { .. } | Stage::Tag { .. } => 0,
        }
    }

    /// Reads once, straight into a body where one is open. Returns all bytes read and those left in `scratch`.
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

    /// Takes bytes that came in order.
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
            // A body may be complete with no byte left (an empty one always is): then its tag comes next, and
            // waiting for more input is right in every stage but a complete body.
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

/// What the number of a data frame says about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// The one expected.
    Next,
    /// It has arrived before, or was skipped.
    Duplicate,
    /// One or more before it are missing. Closes the connection.
    Gap,
}

/// The receiver's side of the sequence of one (dialer, incarnation).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InOrder {
    next: u64,
}

impl InOrder {
    /// The number expected next: what acks and the listener's hello tell.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Judges a data frame of this number, and counts it if it is the one expected.
    pub fn accept(&mut self, sequence: u64) -> Arrival {
        if sequence < self.next {
            return Arrival::Duplicate;
        }
        match self.next.checked_add(1) {
            Some(after) if sequence == self.next => {
                self.next = after;
                Arrival::Next
            }
            _ => Arrival::Gap,
        }
    }

    /// Follows a [`Kind::Skip`]: what is missing below `next` will not come.
    pub fn skip_to(&mut self, next: u64) {
        self.next = self.next.max(next);
    }
}
