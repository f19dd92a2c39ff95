//! Frames, the units of an established session.
//!
//! ```text
//! length u32 | kind u8 | sequence u64 | body | tag [u8; 32]        integers little endian, length of the body alone
//! ```
//!
//! **Hash once, MAC the digest.** The tag is HMAC-SHA-256 over the count of frames sent so far in this direction, the
//! header, and SHA-256 of the body. A sender hashes a body once for all its recipients ([`Sealer::seal`] takes the
//! digest). The receiver passes its digest on with the body, so that the core does not hash it again. The count is not
//! sent, since both sides know it. It makes a frame valid at one position of a session only, so no frame of any kind
//! can be replayed, reordered or left out unnoticed.
//!
//! **Sequences.** Data frames are numbered from 0 for each (dialer, incarnation), over any number of connections.
//! [`InOrder`] is the receiver's side: it drops duplicates, and a gap closes the connection. `Ack` and `Skip` carry the
//! number that is expected next: all below it have arrived, or will never come.
//!
//! **Pieces.** A long body travels in pieces ([`is_long`]), between which pings pass. A listener that receives bytes
//! and completes no frame for a while sends a `Heard`, so that a dialer does not take a slow link for a dead one.
//!
//! # Security
//! Nothing is allocated for a frame before its kind and length are checked, and at most a mebibyte for a long body
//! before that much has arrived. After an error the connection must be closed, since the start of the next frame is
//! unknown.

mod in_order;
mod pieces;
mod reader;
#[cfg(test)]
mod tests;

use sha2::{Digest as _, Sha256};

use crate::bytes::Bytes;
use crate::ids::{Digest, Round};
use crate::limits::{FRAME_BYTES_MAX, PIECE_BYTES_MAX};
use crate::mac::{MacKey, tags_equal};

pub use in_order::{Arrival, InOrder};
pub use pieces::{is_long, piece_header};
pub use reader::{FrameReader, ReadError, ReadOutcome, Scratch};

/// Bytes of a frame before its body.
pub const HEADER_BYTES: usize = 13;
/// Bytes of a frame after its body.
pub const TAG_BYTES: usize = 32;
/// The length of the frame that announces a body in pieces.
pub const LONG_FRAME_BYTES: usize = HEADER_BYTES + pieces::LONG_BYTES + TAG_BYTES;
/// SHA-256 of nothing: the digest of a frame without a body.
pub const EMPTY_DIGEST: Digest = Digest([
    0xE3, 0xB0, 0xC4, 0x42, 0x98, 0xFC, 0x1C, 0x14, 0x9A, 0xFB, 0xF4, 0xC8, 0x99, 0x6F, 0xB9, 0x24, 0x27,
    0xAE, 0x41, 0xE4, 0x64, 0x9B, 0x93, 0x4C, 0xA4, 0x95, 0x99, 0x1B, 0x78, 0x52, 0xB8, 0x55,
]);

const ROUND_BYTES: usize = 8;

/// The kinds of frames.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Carries a body; numbered.
    Data = 1,
    /// All data frames below the sequence have arrived.
    Ack = 2,
    /// Requests a [`Kind::Pong`] with the same sequence; the body is the sender's decided round.
    Ping = 3,
    /// Answers a [`Kind::Ping`]; the body is the sender's decided round.
    Pong = 4,
    /// All data frames below the sequence that have not arrived will never come.
    Skip = 5,
    /// Bytes have arrived; the sequence is their number in this session. Of a listener.
    Heard = 8,
}

/// What a header begins: a whole frame, or one of the two from which a reader makes a data frame (see `pieces`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    Whole(Kind),
    /// Announces a data frame whose body follows in pieces.
    Long,
    /// A part of an announced body; has no tag.
    Piece,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        [Kind::Data, Kind::Ack, Kind::Ping, Kind::Pong, Kind::Skip, Kind::Heard]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }

    fn admits_length(self, length: usize, data_bytes_max: usize) -> bool {
        match self {
            Kind::Data => length <= data_bytes_max,
            Kind::Ping | Kind::Pong => length == ROUND_BYTES,
            Kind::Ack | Kind::Skip | Kind::Heard => length == 0,
        }
    }
}

impl Unit {
    const LONG: u8 = 6;
    const PIECE: u8 = 7;

    fn from_byte(byte: u8) -> Option<Unit> {
        match byte {
            Unit::LONG => Some(Unit::Long),
            Unit::PIECE => Some(Unit::Piece),
            _ => Kind::from_byte(byte).map(Unit::Whole),
        }
    }

    fn to_byte(self) -> u8 {
        match self {
            Unit::Whole(kind) => kind as u8,
            Unit::Long => Unit::LONG,
            Unit::Piece => Unit::PIECE,
        }
    }

    fn admits_length(self, length: usize, data_bytes_max: usize) -> bool {
        match self {
            Unit::Whole(kind) => kind.admits_length(length, data_bytes_max),
            Unit::Long => length == pieces::LONG_BYTES,
            Unit::Piece => (1..=PIECE_BYTES_MAX as usize).contains(&length),
        }
    }

    /// The kind of the frame that comes of it.
    fn kind(self) -> Kind {
        match self {
            Unit::Whole(kind) => kind,
            Unit::Long | Unit::Piece => Kind::Data,
        }
    }
}

/// A frame with a valid tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Its kind.
    pub kind: Kind,
    /// The number of a data frame; of other kinds see [`Kind`].
    pub sequence: u64,
    /// The body, in a buffer of its own.
    pub body: Bytes,
    /// SHA-256 of the body.
    pub digest: Digest,
}

impl Frame {
    /// Its length on the connection.
    pub fn wire_bytes(&self) -> u64 {
        (HEADER_BYTES + self.body.len() + TAG_BYTES) as u64
    }

    /// The decided round in a ping or pong; `None` for other kinds.
    pub fn decided(&self) -> Option<Round> {
        let body: [u8; ROUND_BYTES] = self.body[..].try_into().ok()?;
        matches!(self.kind, Kind::Ping | Kind::Pong).then(|| Round(u64::from_le_bytes(body)))
    }
}

/// Why a frame was refused. Each closes the connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FrameError {
    /// There is no kind with this number.
    Kind(u8),
    /// Frames of this kind must not have this length here.
    Length {
        /// The kind.
        kind: Kind,
        /// The announced length.
        length: u32,
    },
    /// The tag is wrong.
    Tag,
    /// The pieces do not make the body that was announced.
    Digest,
    /// A piece that was not announced, or a second announcement before the first body is complete.
    Piece,
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
            FrameError::Digest => "frame with a wrong digest",
            FrameError::Piece => "piece out of place",
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
            FrameError::Tag | FrameError::Digest | FrameError::Piece | FrameError::Truncated => Ok(()),
        }
    }
}

impl std::error::Error for FrameError {}

/// Header and tag of one frame, to write around its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// Precedes the body.
    pub header: [u8; HEADER_BYTES],
    /// Follows the body.
    pub tag: [u8; TAG_BYTES],
}

/// Seals the frames of one direction of a session.
///
/// # Correctness
/// All frames must be sent, in the order in which they were sealed, because the tags count them.
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
    /// If the body is longer than a frame: our own messages are bounded below that.
    pub fn seal(&mut self, kind: Kind, sequence: u64, body_digest: &Digest, body_bytes: usize) -> Sealed {
        assert!(kind.admits_length(body_bytes, FRAME_BYTES_MAX as usize), "a {kind:?} of {body_bytes} bytes");
        self.seal_unit(Unit::Whole(kind), sequence, body_digest, body_bytes)
    }

    fn seal_unit(&mut self, unit: Unit, sequence: u64, body_digest: &Digest, body_bytes: usize) -> Sealed {
        let header = Header { length: body_bytes as u32, unit, sequence }.to_bytes();
        let tag = tag(&self.key, self.count, &header, body_digest);
        self.count += 1;
        Sealed { header, tag }
    }

    /// Appends a whole data frame to `out`, hashing `body`; for bodies that go to one recipient.
    pub fn seal_data(&mut self, sequence: u64, body: &[u8], out: &mut Vec<u8>) {
        let digest = Digest(Sha256::digest(body).into());
        self.append(Kind::Data, sequence, &digest, body, out);
    }

    /// Appends the announcement of a data frame whose body of `body_bytes` bytes with this SHA-256 follows in pieces.
    ///
    /// # Panics
    /// If the body is longer than a frame: our own messages are bounded below that.
    pub fn seal_long(&mut self, sequence: u64, body_digest: &Digest, body_bytes: usize, out: &mut Vec<u8>) {
        assert!(body_bytes <= FRAME_BYTES_MAX as usize, "a body of {body_bytes} bytes");
        let body = pieces::announcement(body_bytes, body_digest);
        let digest = Digest(Sha256::digest(body).into());
        self.append_unit(Unit::Long, sequence, &digest, &body, out);
    }

    /// Appends to `out` that `bytes` have arrived in this session.
    pub fn seal_heard(&mut self, bytes: u64, out: &mut Vec<u8>) {
        self.append(Kind::Heard, bytes, &EMPTY_DIGEST, &[], out);
    }

    /// Appends an ack to `out`: all data frames below `next` have arrived.
    pub fn seal_ack(&mut self, next: u64, out: &mut Vec<u8>) {
        self.append(Kind::Ack, next, &EMPTY_DIGEST, &[], out);
    }

    /// Appends a skip to `out`: the data frames below `next` that have not arrived will never come.
    pub fn seal_skip(&mut self, next: u64, out: &mut Vec<u8>) {
        self.append(Kind::Skip, next, &EMPTY_DIGEST, &[], out);
    }

    /// Appends a ping to `out`.
    pub fn seal_ping(&mut self, sequence: u64, decided: Round, out: &mut Vec<u8>) {
        self.append_round(Kind::Ping, sequence, decided, out);
    }

    /// Appends the answer to the ping with this sequence to `out`.
    pub fn seal_pong(&mut self, sequence: u64, decided: Round, out: &mut Vec<u8>) {
        self.append_round(Kind::Pong, sequence, decided, out);
    }

    fn append_round(&mut self, kind: Kind, sequence: u64, decided: Round, out: &mut Vec<u8>) {
        let body = decided.0.to_le_bytes();
        let digest = Digest(Sha256::digest(body).into());
        self.append(kind, sequence, &digest, &body, out);
    }

    fn append(&mut self, kind: Kind, sequence: u64, digest: &Digest, body: &[u8], out: &mut Vec<u8>) {
        assert!(
            kind.admits_length(body.len(), FRAME_BYTES_MAX as usize),
            "a {kind:?} of {} bytes",
            body.len()
        );
        self.append_unit(Unit::Whole(kind), sequence, digest, body, out);
    }

    fn append_unit(&mut self, unit: Unit, sequence: u64, digest: &Digest, body: &[u8], out: &mut Vec<u8>) {
        let Sealed { header, tag } = self.seal_unit(unit, sequence, digest, body.len());
        out.reserve(HEADER_BYTES + body.len() + TAG_BYTES);
        out.extend_from_slice(&header);
        out.extend_from_slice(body);
        out.extend_from_slice(&tag);
    }
}

/// Checks the tags of one direction of a session.
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
    unit: Unit,
    sequence: u64,
}

impl Header {
    fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4] = self.unit.to_byte();
        bytes[5..].copy_from_slice(&self.sequence.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8; HEADER_BYTES], data_bytes_max: usize) -> Result<Header, FrameError> {
        let [l0, l1, l2, l3, kind, sequence @ ..] = *bytes;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let unit = Unit::from_byte(kind).ok_or(FrameError::Kind(kind))?;
        if !unit.admits_length(length as usize, data_bytes_max) {
            return Err(FrameError::Length { kind: unit.kind(), length });
        }
        let sequence = u64::from_le_bytes(sequence);
        Ok(Header { length, unit, sequence })
    }
}
