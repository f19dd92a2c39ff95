//! The files of a journal as they are written: one segment after the other, records gathered into one write.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bft::journal::{self, Durability, Opening};
use wire::ids::Digest;
use wire::journal::{MAGIC, segment_path, segments};
use wire::record::Record;

use super::gathered::Gathered;
use crate::history::{Index, Place};

/// A segment with its opening, and nothing else.
pub(crate) struct BegunSegment {
    pub(super) opening: Opening,
    pub(super) writer: Writer,
}

impl BegunSegment {
    /// Begins the segment after those that the directory has.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn begin(directory: &Path, opening: Opening) -> io::Result<BegunSegment> {
        let number = segments(directory)?.last().map_or(1, |last| last + 1);
        let durability = opening.start.durability;
        let (file, path, offset) = new_segment(directory, durability, number, &opening)?;
        let (directory, gathered, found) = (directory.into(), Gathered::default(), Vec::new());
        let writer = Writer { directory, durability, file, path, number, offset, gathered, found };
        Ok(BegunSegment { opening, writer })
    }
}

/// The segment that is written now.
pub(super) struct Writer {
    pub(super) directory: PathBuf,
    pub(super) durability: Durability,
    pub(super) file: File,
    path: PathBuf,
    pub(super) number: u64,
    offset: u64,
    gathered: Gathered,
    /// Messages among the gathered records that other members may request.
    found: Vec<(Digest, Place)>,
}

impl Writer {
    /// Adds a record to those that are written next.
    pub(super) fn gather(&mut self, record: Record) {
        if let Some(digest) = record.digest.filter(|_| journal::is_kept(&record.body)) {
            let bytes = record.body.len() as u64;
            let end = self.offset + (self.gathered.bytes() + record.file_bytes()) as u64;
            self.found.push((digest, Place { offset: end - bytes, bytes }));
        }
        self.gathered.add(record);
    }

    /// Bytes gathered.
    pub(super) fn gathered_bytes(&self) -> usize {
        self.gathered.bytes()
    }

    /// Writes what is gathered, and adds its messages to the index.
    ///
    /// # Errors
    /// If it cannot be written, in words.
    pub(super) fn write(&mut self, index: &Index) -> Result<(), String> {
        let written = self.append();
        written.map_err(|error| self.failed(&error))?;
        index.add(self.number, self.found.drain(..));
        self.gathered.clear();
        Ok(())
    }

    fn append(&mut self) -> io::Result<()> {
        self.gathered.write_to(&mut self.file)?;
        if self.durability == Durability::Power {
            self.file.sync_data()?;
        }
        self.offset += self.gathered.bytes() as u64;
        Ok(())
    }

    /// Begins the next segment.
    ///
    /// # Errors
    /// If it cannot be written, in words.
    pub(super) fn next_segment(&mut self, opening: &Opening) -> Result<(), String> {
        self.number += 1;
        // An error is of the new file.
        (self.path, self.offset) = (segment_path(&self.directory, self.number), 0);
        let begun = new_segment(&self.directory, self.durability, self.number, opening);
        (self.file, self.path, self.offset) = begun.map_err(|error| self.failed(&error))?;
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> String {
        format!(
            "cannot write the journal, {} at byte {}: {error}; the node ends, since what it does must be written \
             first{}",
            self.path.display(),
            self.offset,
            remedy(error)
        )
    }
}

/// What to do about an error of the disk, in words that follow it.
pub(crate) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room, and it goes on from its journal when it is started again"
        }
        _ => "",
    }
}

/// Begins a segment; its file, path and length.
fn new_segment(
    directory: &Path,
    durability: Durability,
    number: u64,
    opening: &Opening,
) -> io::Result<(File, PathBuf, u64)> {
    let path = segment_path(directory, number);
    let mut file = File::create_new(&path)?;
    let mut bytes = MAGIC.to_vec();
    opening.record().write_to(&mut bytes);
    file.write_all(&bytes)?;
    if durability == Durability::Power {
        file.sync_data()?;
        // The name of a file is in its directory.
        File::open(directory)?.sync_all()?;
    }
    Ok((file, path, bytes.len() as u64))
}
