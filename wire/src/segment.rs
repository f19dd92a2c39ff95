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

use std::io::{self, Read};

use crate::bytes::Bytes;
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
