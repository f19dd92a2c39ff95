//! The files of a journal: records in the order in which they were appended, cut into segments.
//!
//! They are called journal-00000001, journal-00000002 and so on; [`crate::segment`] says what is in them.
//!
//! The end of a process leaves at most the last record of the last segment unfinished: a *torn tail*. Anything else
//! that does not fit is damage, and a reader says where. After a loss of power a file may have its length and not yet
//! its bytes; those that are missing count as damage too.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use crate::record::Item;
pub use crate::segment::{MAGIC, Problem};
use crate::segment::{Next, Segment};

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

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let JournalError { file, offset, problem } = self;
        write!(f, "{}, byte {offset}: {problem}", file.display())
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
    segment: Option<Open>,
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
struct Open {
    path: PathBuf,
    number: u64,
    segment: Segment<BufReader<File>>,
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
        self.segment.as_ref().map_or((&self.directory, 0), |open| (&open.path, open.segment.offset()))
    }

    /// The next record; `None` at the end, or before a torn tail.
    ///
    /// # Errors
    /// If what follows is no record and no torn tail.
    pub fn next_item(&mut self) -> Result<Option<Item>, JournalError> {
        loop {
            let Some(open) = &mut self.segment else {
                let Some(number) = self.left.pop() else { return Ok(None) };
                self.segment = Some(Open::at(segment_path(&self.directory, number), number)?);
                continue;
            };
            match open.segment.next_item() {
                Ok(Next::Item(item)) => return Ok(Some(item)),
                Ok(Next::Unfinished(bytes)) if self.left.is_empty() => {
                    self.torn = Some(Torn { file: open.path.clone(), offset: open.segment.offset(), bytes });
                    return Ok(None);
                }
                Ok(Next::Unfinished(_)) => return Err(open.error(Problem::Cut)),
                Ok(Next::End) => {
                    let number = open.number;
                    self.segment = None;
                    if let Some(next) = self.left.last().filter(|next| **next != number + 1) {
                        let file = segment_path(&self.directory, *next);
                        return Err(JournalError { file, offset: 0, problem: Problem::Gap });
                    }
                }
                Err(problem) => return Err(open.error(problem)),
            }
        }
    }
}

impl Open {
    fn at(path: PathBuf, number: u64) -> Result<Open, JournalError> {
        let failed = |error| JournalError { file: path.clone(), offset: 0, problem: Problem::Io(error) };
        let file = File::open(&path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let segment = Segment::new(BufReader::with_capacity(1 << 18, file), bytes);
        Ok(Open { path, number, segment })
    }

    fn error(&self, problem: Problem) -> JournalError {
        JournalError { file: self.path.clone(), offset: self.segment.offset(), problem }
    }
}

#[cfg(test)]
mod tests;
