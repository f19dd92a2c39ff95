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
    pub first: Vec<u8>,
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
        let unfinished = |segment: &Segment<R>| Ok(Next::Unfinished(segment.bytes - segment.offset));
        if self.offset == 0 {
            let Some(magic) = self.read(0, MAGIC.len())? else { return unfinished(self) };
            if magic != MAGIC {
                return Err(Problem::Magic);
            }
            self.offset = MAGIC.len() as u64;
        }
        if self.offset == self.bytes {
            return Ok(Next::End);
        }
        let Some(frame) = self.read(0, FRAME_BYTES)? else { return unfinished(self) };
        let frame = Frame::parse(&frame).ok_or(Problem::Damaged)?;
        let Some(rest) = self.read(FRAME_BYTES, frame.rest_bytes())? else { return unfinished(self) };
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
    pub fn next_place(&mut self) -> io::Result<Option<BodyPlace>>
    where
        R: Seek,
    {
        let problem = |problem| match problem {
            Problem::Io(error) => error,
            other => io::Error::other(format!("{other:?}")),
        };
        if self.offset == 0 {
            let Some(magic) = self.read(0, MAGIC.len()).map_err(problem)? else { return Ok(None) };
            if magic != MAGIC {
                return Err(problem(Problem::Magic));
            }
            self.offset = MAGIC.len() as u64;
        }
        let Some(frame) = self.read(0, FRAME_BYTES).map_err(problem)? else { return Ok(None) };
        let frame = Frame::parse(&frame).ok_or_else(|| problem(Problem::Damaged))?;
        if (FRAME_BYTES + frame.rest_bytes()) as u64 > self.bytes - self.offset {
            return Ok(None);
        }
        let (digest_bytes, head_bytes, body_bytes) = frame.parts();
        let digest = self.read(FRAME_BYTES, digest_bytes).map_err(problem)?.unwrap_or_default();
        self.source.seek_relative(head_bytes as i64)?;
        let offset = self.offset + (FRAME_BYTES + digest_bytes + head_bytes) as u64;
        let first = self.read((offset - self.offset) as usize, body_bytes.min(1)).map_err(problem)?;
        let first = first.unwrap_or_default();
        self.source.seek_relative((body_bytes - first.len()) as i64)?;
        self.offset = offset + body_bytes as u64;
        let digest = digest.first_chunk().map(|digest| Digest(*digest));
        Ok(Some(BodyPlace { digest, first, offset, bytes: body_bytes as u64 }))
    }

    /// The next bytes, so many after the beginning of the record; `None` if there are fewer.
    fn read(&mut self, after: usize, count: usize) -> Result<Option<Vec<u8>>, Problem> {
        if (after + count) as u64 > self.bytes - self.offset {
            return Ok(None);
        }
        let mut bytes = vec![0; count];
        self.source.read_exact(&mut bytes).map_err(Problem::Io)?;
        Ok(Some(bytes))
    }
}
