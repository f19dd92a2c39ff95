//! A replay as a test: the beginning of a node's journal as a small data directory of its own.
//!
//! It has the files of a data directory (`keys/committee.txt`, the node's key, `journal-<id>/`), so whatever reads one
//! reads it too: `tools replay --data-dir FIXTURE` is the test. It ends with a check of what the core had done, so all
//! of it is compared.
//!
//! Each event is written before the core handles it: if that ends the process, the last event is the one that did.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bft::journal::Check;
use wire::ids::NodeId;
use wire::journal::{MAGIC, segment_path};
use wire::record::{Item, Record};
use wire::snapshot::{self, Durable};
use wire::text::ParseError;

use super::walk::Beginning;

/// The number of the first segment after a snapshot. The first of all would say that nothing comes before it.
const AFTER_SNAPSHOT: u64 = 2;

/// A fixture that is being written.
pub(super) struct Fixture {
    place: PathBuf,
    journal: PathBuf,
    node: NodeId,
    segment: u64,
    file: Option<File>,
    bytes: u64,
    /// What could not be written.
    failed: Option<io::Error>,
}

impl Fixture {
    /// Makes the directory, with keys and without events.
    ///
    /// # Errors
    /// If there is something of that name, or a file cannot be written.
    pub(super) fn create(place: &Path, keys: &Path, node: NodeId) -> Result<Fixture, ParseError> {
        let named = |error: io::Error| {
            let expected = "a directory that is not there yet, where one can be made";
            ParseError::of(&place.display().to_string(), &error.to_string(), expected)
        };
        if let Some(above) = place.parent() {
            fs::create_dir_all(above).map_err(named)?;
        }
        fs::create_dir(place).map_err(named)?;
        let journal = place.join(format!("journal-{node}"));
        let key = format!("node-{node}.key");
        let write = || -> io::Result<u64> {
            fs::create_dir(place.join("keys"))?;
            fs::create_dir(&journal)?;
            // With its mode: a key that others may read is refused.
            let bytes = fs::copy(keys.join(&key), place.join("keys").join(&key))?;
            Ok(bytes + fs::copy(keys.join("committee.txt"), place.join("keys/committee.txt"))?)
        };
        let bytes = write().map_err(named)?;
        Ok(Fixture { place: place.into(), journal, node, segment: 0, file: None, bytes, failed: None })
    }

    /// The journal begins so.
    pub(super) fn begin(&mut self, from: &Beginning) {
        let begun = match from {
            Beginning::Opening(opening) => self.open_segment(1, &opening.record()),
            Beginning::Snapshot(_, bytes) => {
                // Its segment begins with an opening, which comes as an item.
                self.segment = AFTER_SNAPSHOT - 1;
                let fill = |writer: &mut io::BufWriter<_>| writer.write_all(bytes);
                let written = snapshot::write(&self.journal, AFTER_SNAPSHOT, Durable::WhileSystemRuns, fill);
                written.map(|bytes| self.bytes += bytes)
            }
        };
        self.note(begun);
    }

    /// This comes next.
    pub(super) fn add(&mut self, item: &Item) {
        if self.failed.is_none() {
            let added = match item {
                Item::Opening(record) => self.open_segment(self.segment + 1, record),
                Item::Record(record) => self.write(record),
            };
            self.note(added);
        }
    }

    /// Ends it where the core has done so much; a line on what it is.
    ///
    /// # Errors
    /// If it could not be written.
    pub(super) fn finish(mut self, done: Option<Check>) -> Result<String, ParseError> {
        if let Some(done) = done {
            let ended = self.write(&done.record());
            self.note(ended);
        }
        let place = self.place.display();
        if let Some(error) = self.failed {
            return Err(ParseError::of(&place.to_string(), &error.to_string(), "room for a fixture"));
        }
        let (kb, node) = (self.bytes.div_ceil(1_000), self.node);
        Ok(format!(
            "{place}: a fixture of {kb} KB\n  in tools/tests/replays/ it is run by: cargo test --release -p tools --test replays\n  \
             warning: it holds the secret key of node {node}; commit it only if that testbed is not used any more"
        ))
    }

    fn open_segment(&mut self, number: u64, opening: &Record) -> io::Result<()> {
        self.segment = number;
        let mut file = File::create_new(segment_path(&self.journal, number))?;
        file.write_all(&MAGIC)?;
        self.bytes += MAGIC.len() as u64;
        self.file = Some(file);
        self.write(opening)
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Err(io::Error::other("the journal has no opening where a segment begins"));
        };
        let mut bytes = Vec::with_capacity(record.file_bytes());
        record.write_to(&mut bytes);
        self.bytes += bytes.len() as u64;
        file.write_all(&bytes)
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
    }
}
