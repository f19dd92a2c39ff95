//! The file of a snapshot: all that the segments before a certain one have led to.
//!
//! ```text
//! snapshot  magic 8 | bytes… | SHA-256 of the bytes 32       snapshot-00000007: before journal-00000007
//! ```
//!
//! It is written under another name and gets its own when it is whole, so the end of a process leaves none that is not;
//! any other that does not fit its digest was damaged. What the bytes mean is their owner's business.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::bytes::Bytes;
use crate::journal::{JournalError, Problem, numbered};

const MAGIC: [u8; 8] = *b"dumbosn\x01";
const DIGEST_BYTES: usize = 32;

/// The path of the snapshot before a segment.
pub fn snapshot_path(directory: &Path, segment: u64) -> PathBuf {
    directory.join(format!("snapshot-{segment:08}"))
}

/// The segments before which there is a snapshot, ascending.
///
/// # Errors
/// If the directory cannot be read.
pub fn snapshots(directory: &Path) -> io::Result<Vec<u64>> {
    numbered(directory, "snapshot-")
}

/// How long a snapshot has to be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durable {
    /// As long as the system runs.
    WhileSystemRuns,
    /// For ever: it is on the disk before it has its name.
    OnDisk,
}

/// Writes a snapshot, whose bytes `fill` gives; returns its length. A draft that an earlier process left is
/// overwritten.
///
/// # Errors
/// If it cannot be written; then there is none of that name.
pub fn write(
    directory: &Path,
    segment: u64,
    durable: Durable,
    fill: impl FnOnce(&mut BufWriter<HashedFile>) -> io::Result<()>,
) -> io::Result<u64> {
    let draft = directory.join("snapshot.draft");
    let mut file = File::create(&draft)?;
    file.write_all(&MAGIC)?;
    // Hashed behind the buffer: states are written a few bytes at a time.
    let mut writer = BufWriter::with_capacity(1 << 18, HashedFile { file, hash: Sha256::new() });
    fill(&mut writer)?;
    let HashedFile { mut file, hash } = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.write_all(&hash.finalize())?;
    let bytes = file.metadata()?.len();
    match durable {
        Durable::WhileSystemRuns => fs::rename(&draft, snapshot_path(directory, segment))?,
        Durable::OnDisk => {
            file.sync_all()?;
            fs::rename(&draft, snapshot_path(directory, segment))?;
            File::open(directory)?.sync_all()?;
        }
    }
    Ok(bytes)
}

/// Hashes what it writes.
pub struct HashedFile {
    file: File,
    hash: Sha256,
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The bytes of a snapshot.
///
/// # Errors
/// If it cannot be read, is of another version, or was damaged.
pub fn read(directory: &Path, segment: u64) -> Result<Bytes, JournalError> {
    let file = snapshot_path(directory, segment);
    let failed = |offset, problem| JournalError { file: file.clone(), offset, problem };
    let bytes = fs::read(&file).map_err(|error| failed(0, Problem::Io(error)))?;
    if !bytes.starts_with(&MAGIC) {
        return Err(failed(0, Problem::Magic));
    }
    let Some(end) = bytes.len().checked_sub(DIGEST_BYTES).filter(|end| *end >= MAGIC.len()) else {
        return Err(failed(MAGIC.len() as u64, Problem::Damaged));
    };
    if bytes[end..] != Sha256::digest(&bytes[MAGIC.len()..end])[..] {
        return Err(failed(MAGIC.len() as u64, Problem::Damaged));
    }
    Ok(Bytes::from(bytes).slice(MAGIC.len()..end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rand;

    #[test]
    fn what_is_read_is_what_was_written() {
        let directory =
            std::env::temp_dir().join(format!("wire-snapshot-{}-{:x}", std::process::id(), rand::u64()));
        fs::create_dir(&directory).unwrap();
        let bytes: Vec<u8> = (0..1_000_000u32).map(|at| at as u8).collect();
        let length = write(&directory, 7, Durable::OnDisk, |writer| writer.write_all(&bytes)).unwrap();
        assert_eq!(length, 8 + 1_000_000 + 32);
        assert_eq!(snapshots(&directory).unwrap(), [7]);
        assert!(read(&directory, 7).unwrap()[..] == bytes);
        let full = |_: &mut BufWriter<HashedFile>| Err(io::Error::from(io::ErrorKind::StorageFull));
        assert!(write(&directory, 8, Durable::WhileSystemRuns, full).is_err());
        assert_eq!(snapshots(&directory).unwrap(), [7], "a draft does not count");
        let path = snapshot_path(&directory, 7);
        let whole = fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() - 1], &whole[..39], &whole[..8]] {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(read(&directory, 7), Err(JournalError { problem: Problem::Damaged, .. })));
        }
        let mut flipped = whole;
        flipped[500_000] ^= 1;
        fs::write(&path, flipped).unwrap();
        assert!(matches!(read(&directory, 7), Err(JournalError { problem: Problem::Damaged, .. })));
        fs::write(&path, "other").unwrap();
        assert!(matches!(read(&directory, 7), Err(JournalError { problem: Problem::Magic, .. })));
        fs::remove_dir_all(&directory).unwrap();
    }
}
