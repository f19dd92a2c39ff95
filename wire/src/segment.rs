//! A segment of a journal as bytes.
//!
//! ```text
//! segment   magic 8 | record…
//! ```
//!
//! [`Record`]s have lengths and checksums. The first one of each segment is the *opening*, which says what the rest
//! needs; what it holds is its owner's business, as are heads and bodies.
//!
//! # Security
//! A reader allocates for a record only what the segment still has.
//!
//! [`Record`]: crate::record::Record

use std::fmt;
use std::io::{self, Read, Seek};

use crate::bytes::Bytes;
use crate::ids::Digest;
use crate::record::{FRAME_BYTES, Frame, Item};

/// The first bytes of each segment; the last of them is the version of the format.
pub const MAGIC: [u8; 8] = *b"dumbojl\x01";

/// What is wrong with a journal.
#[derive(Debug)]
pub enum Problem {
    /// The system refuses the file or the directory.
    Io(io::Error),
    /// It does not begin with the magic bytes of this version.
    Magic,
    /// The file ends within a record that is not the last of the journal.
    Cut,
    /// A checksum or digest does not fit.
    Damaged,
    /// A segment is missing before this one.
    Gap,
    /// The segment to begin with is missing.
    Missing,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Problem::Io(error) => return error.fmt(f),
            Problem::Magic => "found other first bytes, expected those of this version of the program",
            Problem::Cut => "the file ends within a record, though a segment follows",
            Problem::Damaged => "the record does not fit its checksum: the file was damaged",
            Problem::Gap => "a segment is missing before it",
            Problem::Missing => "this segment is missing, and all begins with it",
        })
    }
}

/// What a segment holds next.
#[derive(Debug)]
pub enum Next {
    /// A record.
    Item(Item),
    /// It ends within a record, so many bytes into it.
    Unfinished(u64),
    /// Nothing.
    End,
}

/// Where the body of a record stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BodyPlace {
    /// Its SHA-256, if the record has it.
    pub digest: Option<Digest>,
    /// Its first byte, if it has one.
    pub first: Option<u8>,
    /// Its distance from the beginning of the segment.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
}

/// Reads a segment from its beginning.
#[derive(Debug)]
pub struct Segment<R> {
    source: R,
    bytes: u64,
    offset: u64,
}

impl<R: Read> Segment<R> {
    /// A reader of a source that has so many bytes.
    pub fn new(source: R, bytes: u64) -> Segment<R> {
        Segment { source, bytes, offset: 0 }
    }

    /// Where the next record begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next record, if it is there.
    ///
    /// # Errors
    /// If what follows is neither a record nor the beginning of one.
    pub fn next_item(&mut self) -> Result<Next, Problem> {
        let Some(frame) = self.next_frame()? else {
            let is_at_end = self.offset > 0 && self.offset == self.bytes;
            return Ok(if is_at_end { Next::End } else { Next::Unfinished(self.bytes - self.offset) });
        };
        let rest = self.read(frame.rest_bytes())?;
        let record = frame.record(Bytes::from(rest)).ok_or(Problem::Damaged)?;
        let is_opening = self.offset == MAGIC.len() as u64;
        self.offset += record.file_bytes() as u64;
        Ok(Next::Item(if is_opening { Item::Opening(record) } else { Item::Record(record) }))
    }

    /// Where the body of the next record stands, without a look at the whole record; `None` at the end or before an
    /// unfinished record.
    ///
    /// # Errors
    /// If the source cannot be read, or what follows is not the beginning of a record.
    pub fn next_place(&mut self) -> Result<Option<BodyPlace>, Problem>
    where
        R: Seek,
    {
        let Some(frame) = self.next_frame()? else { return Ok(None) };
        let (digest_bytes, head_bytes, body_bytes) = frame.parts();
        let digest = self.read(digest_bytes)?.first_chunk().map(|digest| Digest(*digest));
        self.source.seek_relative(head_bytes as i64).map_err(Problem::Io)?;
        let first = self.read(body_bytes.min(1))?.first().copied();
        let unread = body_bytes - first.map_or(0, |_| 1);
        self.source.seek_relative(unread as i64).map_err(Problem::Io)?;
        let offset = self.offset + (FRAME_BYTES + digest_bytes + head_bytes) as u64;
        self.offset = offset + body_bytes as u64;
        Ok(Some(BodyPlace { digest, first, offset, bytes: body_bytes as u64 }))
    }

    /// The frame of the next record; `None` if the segment does not have all of it.
    fn next_frame(&mut self) -> Result<Option<Frame>, Problem> {
        if self.offset == 0 {
            if self.has_not(MAGIC.len()) {
                return Ok(None);
            }
            if self.read(MAGIC.len())? != MAGIC {
                return Err(Problem::Magic);
            }
            self.offset = MAGIC.len() as u64;
        }
        if self.has_not(FRAME_BYTES) {
            return Ok(None);
        }
        let frame = Frame::parse(&self.read(FRAME_BYTES)?).ok_or(Problem::Damaged)?;
        Ok((!self.has_not(FRAME_BYTES + frame.rest_bytes())).then_some(frame))
    }

    /// Whether it ends before so many bytes of the next record.
    fn has_not(&self, count: usize) -> bool {
        count as u64 > self.bytes - self.offset
    }

    /// The next bytes, which are there.
    fn read(&mut self, count: usize) -> Result<Vec<u8>, Problem> {
        let mut bytes = vec![0; count];
        self.source.read_exact(&mut bytes).map_err(Problem::Io)?;
        Ok(bytes)
    }
}
