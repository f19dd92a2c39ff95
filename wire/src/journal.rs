//! The files of a journal: records in the order in which they were appended, cut into segments.
//!
//! ```text
//! segment   magic 8 | record…            journal-00000001, journal-00000002, …
//! ```
//!
//! [`Record`]s have lengths and checksums. The first one of each segment is the *opening*, which says what the rest
//! needs; what it holds is its owner's business, as are heads and bodies.
//!
//! The end of a process leaves at most the last record of the last segment unfinished: a *torn tail*. Anything else
//! that does not fit is damage, and a reader says where. After a loss of power a file may have its length and not yet
//! its bytes; those that are missing count as damage too.
//!
//! # Security
//! A reader allocates for a record only what the file still has.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::bytes::Bytes;
use crate::record::{FRAME_BYTES, Frame, Item, Record};

/// The first bytes of each segment; the last of them is the version of the format.
pub const MAGIC: [u8; 8] = *b"dumbojl\x01";

/// Why a journal cannot be read on.
#[derive(Debug)]
pub struct JournalError {
    /// The segment.
    pub file: PathBuf,
    /// Where in it the record begins that cannot be read.
    pub offset: u64,
    /// What is wrong.
    pub problem: Problem,
}

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

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let JournalError { file, offset, problem } = self;
        write!(f, "{}, byte {offset}: ", file.display())?;
        match problem {
            Problem::Io(error) => error.fmt(f),
            Problem::Magic => {
                f.write_str("found other first bytes, expected those of this version of the program")
            }
            Problem::Cut => f.write_str("the file ends within a record, though a segment follows"),
            Problem::Damaged => f.write_str("the record does not fit its checksum: the file was damaged"),
            Problem::Gap => f.write_str("a segment is missing before it"),
            Problem::Missing => f.write_str("this segment is missing, and all begins with it"),
        }
    }
}

impl std::error::Error for JournalError {}

/// The path of a segment, counted from 1.
pub fn segment_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("journal-{number:08}"))
}

/// The numbers of the segments in a directory, ascending.
///
/// # Errors
/// If the directory cannot be read.
pub fn segments(directory: &Path) -> io::Result<Vec<u64>> {
    numbered(directory, "journal-")
}

/// The numbers of the files with such a name, ascending.
pub(crate) fn numbered(directory: &Path, prefix: &str) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(prefix)).filter(|text| text.len() >= 8);
        numbers.extend(number.and_then(|text| text.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads a journal from a segment on.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    /// Segments that are left, the next one last.
    left: Vec<u64>,
    segment: Option<Segment>,
    torn: Option<Torn>,
}

/// An unfinished record at the end of a journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Torn {
    /// The last segment.
    pub file: PathBuf,
    /// Where in it the record begins.
    pub offset: u64,
    /// Bytes of the record that are there.
    pub bytes: u64,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    number: u64,
    file: BufReader<File>,
    bytes: u64,
    offset: u64,
}

impl Reader {
    /// A reader of the journal in a directory, from its first segment on.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn open(directory: &Path) -> Result<Reader, JournalError> {
        Reader::open_at(directory, 1)
    }

    /// The same from this segment on; nothing comes if the directory has no segment at all.
    ///
    /// # Errors
    /// If the directory cannot be read, or this segment is missing.
    pub fn open_at(directory: &Path, segment: u64) -> Result<Reader, JournalError> {
        let failed = |file: PathBuf, problem| JournalError { file, offset: 0, problem };
        let mut left = segments(directory).map_err(|error| failed(directory.into(), Problem::Io(error)))?;
        let is_empty = left.is_empty();
        left.retain(|number| *number >= segment);
        if !is_empty && left.first() != Some(&segment) {
            return Err(failed(segment_path(directory, segment), Problem::Missing));
        }
        left.reverse();
        Ok(Reader { directory: directory.into(), left, segment: None, torn: None })
    }

    /// The unfinished last record, once the end is reached.
    pub fn torn(&self) -> Option<&Torn> {
        self.torn.as_ref()
    }

    /// Bytes of it.
    pub fn torn_bytes(&self) -> u64 {
        self.torn.as_ref().map_or(0, |torn| torn.bytes)
    }

    /// The segment that is being read, and where in it the next record begins; the directory between segments.
    pub fn position(&self) -> (&Path, u64) {
        self.segment.as_ref().map_or((&self.directory, 0), |segment| (&segment.path, segment.offset))
    }

    /// The next record; `None` at the end, or before a torn tail.
    ///
    /// # Errors
    /// If what follows is no record and no torn tail.
    pub fn next_item(&mut self) -> Result<Option<Item>, JournalError> {
        loop {
            let Some(segment) = &mut self.segment else {
                let Some(number) = self.left.pop() else { return Ok(None) };
                self.segment = Some(Segment::open(segment_path(&self.directory, number), number)?);
                continue;
            };
            let is_last = self.left.is_empty();
            let is_opening = segment.offset <= MAGIC.len() as u64;
            match segment.next_record(is_last)? {
                Next::Record(record) if is_opening => return Ok(Some(Item::Opening(record))),
                Next::Record(record) => return Ok(Some(Item::Record(record))),
                Next::Torn(bytes) => {
                    self.torn = Some(Torn { file: segment.path.clone(), offset: segment.offset, bytes });
                    return Ok(None);
                }
                Next::End => {
                    let number = segment.number;
                    self.segment = None;
                    if let Some(next) = self.left.last().filter(|next| **next != number + 1) {
                        let file = segment_path(&self.directory, *next);
                        return Err(JournalError { file, offset: 0, problem: Problem::Gap });
                    }
                }
            }
        }
    }
}

enum Next {
    Record(Record),
    /// The journal ends within a record, so many bytes into it.
    Torn(u64),
    End,
}

impl Segment {
    fn open(path: PathBuf, number: u64) -> Result<Segment, JournalError> {
        let failed = |error| JournalError { file: path.clone(), offset: 0, problem: Problem::Io(error) };
        let file = File::open(&path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        Ok(Segment { number, file: BufReader::with_capacity(1 << 18, file), bytes, offset: 0, path })
    }

    fn error(&self, problem: Problem) -> JournalError {
        JournalError { file: self.path.clone(), offset: self.offset, problem }
    }

    fn next_record(&mut self, is_last: bool) -> Result<Next, JournalError> {
        let unfinished = |segment: &Segment| match is_last {
            true => Ok(Next::Torn(segment.bytes - segment.offset)),
            false => Err(segment.error(Problem::Cut)),
        };
        if self.offset == 0 {
            let Some(magic) = self.read(0, MAGIC.len())? else { return unfinished(self) };
            if magic != MAGIC {
                return Err(self.error(Problem::Magic));
            }
            self.offset = MAGIC.len() as u64;
        }
        if self.offset == self.bytes {
            return Ok(Next::End);
        }
        let Some(frame) = self.read(0, FRAME_BYTES)? else { return unfinished(self) };
        let frame = Frame::parse(&frame).ok_or_else(|| self.error(Problem::Damaged))?;
        let Some(rest) = self.read(FRAME_BYTES, frame.rest_bytes())? else { return unfinished(self) };
        let record = frame.record(Bytes::from(rest)).ok_or_else(|| self.error(Problem::Damaged))?;
        self.offset += record.file_bytes() as u64;
        Ok(Next::Record(record))
    }

    /// The next bytes, so many after the beginning of the record; `None` if the file has fewer.
    fn read(&mut self, after: usize, count: usize) -> Result<Option<Vec<u8>>, JournalError> {
        if (after + count) as u64 > self.bytes - self.offset {
            return Ok(None);
        }
        let mut bytes = vec![0; count];
        self.file.read_exact(&mut bytes).map_err(|error| self.error(Problem::Io(error)))?;
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests;
