//! The logs of many processes as one, by time.
//!
//! Each file is read as a stream, one record ahead, and the earliest record of all is next: memory is in proportion to
//! the number of files, whatever their length. A line without a time (a panic, a text of several lines) stays with the
//! line before it; where there is none before, it comes first of all. Within a file the order stays as it is: a clock
//! that is set back in mid-run shuffles nothing that one process wrote.
//!
//! Nothing of a file is trusted: lines and records are cut at a limit, bytes that are no text are shown as such.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use bft::trace::TraceEvent;
use log::Level;
use wire::ids::NodeId;
use wire::text::ParseError;

use super::clocks::Clocks;
use super::line::{Head, Process, printable};
use super::moment::Stamp;
use super::sentence::sentence;
use crate::run::node_of_log;

/// Bytes kept of one line; lines of our processes are far shorter.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Bytes kept of one record with all its lines.
const RECORD_BYTES_MAX: usize = 256 << 10;
/// With a thousand nodes these are 25 MB.
const BUFFER_BYTES: usize = 8 << 10;

/// The process that wrote a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Source {
    pub(super) node: NodeId,
    pub(super) process: Process,
}

/// A line of a log, with those that go on from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Record {
    pub(super) source: Source,
    /// Time and level; `None` before the first line that has them.
    pub(super) head: Option<(Stamp, Level)>,
    /// Its text, an event of the core as a sentence; its further lines after line feeds.
    pub(super) text: String,
    /// The event of the core that it is, if it is one.
    pub(super) event: Option<TraceEvent>,
}

impl Record {
    /// When it was written, by the clock of its host as corrected.
    pub(super) fn at(&self) -> Option<Stamp> {
        self.head.map(|(at, _)| at)
    }
}

/// The log files of a directory, ascending.
#[derive(Clone, Debug)]
pub(super) struct Files {
    files: Vec<(Source, PathBuf)>,
    /// Standard error of processes, where it is not empty.
    unread: Vec<(NodeId, PathBuf)>,
}

impl Files {
    /// Finds them by their names.
    pub(super) fn find(directory: &Path) -> Result<Files, ParseError> {
        let read = || -> io::Result<Files> {
            let (mut files, mut unread) = (Vec::new(), Vec::new());
            for entry in std::fs::read_dir(directory)? {
                let entry = entry?;
                let name = entry.file_name();
                let Some((name, node)) = name.to_str().and_then(|name| Some((name, node_of_log(name)?)))
                else {
                    continue;
                };
                if let Some(process) = process_of(name) {
                    files.push((Source { node, process }, entry.path()));
                } else if name.starts_with("stderr-") && entry.metadata()?.len() > 0 {
                    unread.push((node, entry.path()));
                }
            }
            Ok(Files { files, unread })
        };
        let place = directory.display().to_string();
        let expected = "the log directory of a run, with files like consensus-node-0.log";
        let mut files = read().map_err(|error| ParseError::of(&place, &error.to_string(), expected))?;
        if files.files.is_empty() {
            return Err(ParseError::of(&place, "no log", expected));
        }
        files.files.sort();
        files.unread.sort();
        Ok(files)
    }

    /// Files with words that have no time, of nodes whose logs are read.
    pub(super) fn unread(&self) -> impl Iterator<Item = &Path> {
        let is_read = |id: &NodeId| self.files.iter().any(|(source, _)| source.node == *id);
        self.unread.iter().filter(move |(id, _)| is_read(id)).map(|(_, path)| path.as_path())
    }

    /// Those that `keep` wants.
    pub(super) fn only(mut self, keep: impl Fn(&Source) -> bool) -> Files {
        self.files.retain(|(source, _)| keep(source));
        self
    }

    /// Reads all of them from the beginning.
    pub(super) fn merge(&self, clocks: &Clocks) -> Result<Merge, ParseError> {
        let mut merge = Merge { readers: Vec::new(), heads: BTreeSet::new() };
        for (index, (source, path)) in self.files.iter().enumerate() {
            // The clock of the machine that fetched the logs is the one that others are compared with.
            let offset_us = match source.process {
                Process::Tools => 0,
                Process::Node | Process::NetClient | Process::NetServer => clocks.offset_us(source.node),
            };
            let reader = Reader::open(*source, path, offset_us)?;
            if let Some(record) = &reader.next {
                merge.heads.insert((record.at(), index));
            }
            merge.readers.push(reader);
        }
        Ok(merge)
    }
}

/// The process that writes a log of this name.
fn process_of(name: &str) -> Option<Process> {
    let starts = [
        ("consensus-node-", Process::Node),
        ("node-net-client-", Process::NetClient),
        ("node-net-server-", Process::NetServer),
        ("faults-", Process::Tools),
    ];
    starts.into_iter().find(|(start, _)| name.starts_with(start)).map(|(_, process)| process)
}

/// All records, by time.
pub(super) struct Merge {
    readers: Vec<Reader<BufReader<File>>>,
    /// When the next record of each reader was written, of those that have one.
    heads: BTreeSet<(Option<Stamp>, usize)>,
}

impl Merge {
    /// The first time of all.
    pub(super) fn first(&self) -> Option<Stamp> {
        // Before its first time a file has at most one record.
        self.readers.iter().filter_map(|reader| reader.first).min()
    }

    pub(super) fn next(&mut self) -> Result<Option<Record>, ParseError> {
        let Some((_, index)) = self.heads.pop_first() else { return Ok(None) };
        let reader = &mut self.readers[index];
        let record = reader.take()?;
        if let Some(following) = &reader.next {
            self.heads.insert((following.at(), index));
        }
        Ok(record)
    }
}

/// One file, a record ahead.
struct Reader<R> {
    source: Source,
    place: String,
    input: R,
    offset_us: i64,
    /// The first time in it, as far as it is read.
    first: Option<Stamp>,
    next: Option<Record>,
    /// The first line of the record after that.
    ahead: Option<Record>,
}

impl Reader<BufReader<File>> {
    fn open(source: Source, path: &Path, offset_us: i64) -> Result<Self, ParseError> {
        let place = path.display().to_string();
        let file = File::open(path)
            .map_err(|error| ParseError::of(&place, &error.to_string(), "a log that can be read"))?;
        Reader::new(source, place, BufReader::with_capacity(BUFFER_BYTES, file), offset_us)
    }
}

impl<R: BufRead> Reader<R> {
    fn new(source: Source, place: String, input: R, offset_us: i64) -> Result<Reader<R>, ParseError> {
        let mut reader = Reader { source, place, input, offset_us, first: None, next: None, ahead: None };
        reader.ahead = reader.read_line()?;
        reader.next = reader.gather()?;
        Ok(reader)
    }

    fn take(&mut self) -> Result<Option<Record>, ParseError> {
        let following = self.gather()?;
        Ok(std::mem::replace(&mut self.next, following))
    }

    /// The record that begins with the line ahead, and all that go on from it.
    fn gather(&mut self) -> Result<Option<Record>, ParseError> {
        let Some(mut record) = self.ahead.take() else { return Ok(None) };
        loop {
            match self.read_line()? {
                Some(Record { head: None, text, .. }) => {
                    if record.text.len() + text.len() < RECORD_BYTES_MAX {
                        record.text.push('\n');
                        record.text.push_str(&text);
                    }
                }
                ahead => {
                    self.ahead = ahead;
                    return Ok(Some(record));
                }
            }
        }
    }

    /// One line as a record of its own.
    fn read_line(&mut self) -> Result<Option<Record>, ParseError> {
        let mut bytes = Vec::new();
        let read = read_line(&mut self.input, &mut bytes);
        let read =
            read.map_err(|error| ParseError::of(&self.place, &error.to_string(), "a log that can be read"))?;
        if read == Read::End {
            return Ok(None);
        }
        let line = printable(&bytes);
        let (head, text) = match Head::parse(&line) {
            Some(Head { at, level, text }) => (Some((Stamp(at.0 - self.offset_us), level)), text.to_string()),
            None => (None, line),
        };
        if let Some((at, _)) = head {
            self.first.get_or_insert(at);
        }
        let event = match self.source.process {
            Process::Node => TraceEvent::parse(&text),
            Process::NetClient | Process::NetServer | Process::Tools => None,
        };
        let text = event.as_ref().map_or(text, sentence);
        Ok(Some(Record { source: self.source, head, text, event }))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Read {
    Line,
    End,
}

/// Reads a line without its end into `line`, and no more of it than [`LINE_BYTES_MAX`].
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Read> {
    let mut read = Read::End;
    loop {
        let buffer = match input.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if buffer.is_empty() {
            return Ok(read);
        }
        read = Read::Line;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let piece = &buffer[..end.unwrap_or(buffer.len())];
        let kept = piece.len().min(LINE_BYTES_MAX - line.len());
        line.extend_from_slice(&piece[..kept]);
        let used = end.map_or(buffer.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(read);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::TestDir;

    /// Everything in `files`, merged: time, node and text of each record.
    fn merged(files: &[(&str, &[u8])]) -> Vec<(String, u16, String)> {
        let dir = TestDir::new();
        for (name, content) in files {
            fs::write(dir.path().join(name), content).unwrap();
        }
        let clocks = Clocks::load(dir.path()).unwrap();
        let mut merge = Files::find(dir.path()).unwrap().merge(&clocks).unwrap();
        let mut records = Vec::new();
        while let Some(Record { source, head, text, .. }) = merge.next().unwrap() {
            let at = head.map_or("none".to_string(), |(at, _)| at.to_string());
            records.push((at, source.node.0, text));
        }
        records
    }

    fn line(seconds: u32, text: &str) -> String {
        format!("[2026-11-21T00:00:{seconds:02}Z INFO  node] {text}\n")
    }

    #[test]
    fn lines_come_by_time_and_those_without_stay_where_they_are() {
        let zero = format!("{}{}", line(1, "a"), line(4, "d"));
        let one = format!("before all\nand more\n{}  at one\n  at two\n{}", line(2, "b"), line(3, "c"));
        let got = merged(&[
            ("consensus-node-0.log", zero.as_bytes()),
            ("node-net-server-1.log", one.as_bytes()),
            ("node-net-client-0.log", b""),
            ("summary.json", b"{}"),
            ("consensus-node-x.log", b"no log of ours"),
        ]);
        let got: Vec<(&str, u16, &str)> =
            got.iter().map(|(at, node, text)| (at.as_str(), *node, text.as_str())).collect();
        assert_eq!(
            got,
            [
                ("none", 1, "before all\nand more"),
                ("00:00:01.000000", 0, "a"),
                ("00:00:02.000000", 1, "b\n  at one\n  at two"),
                ("00:00:03.000000", 1, "c"),
                ("00:00:04.000000", 0, "d"),
            ]
        );
    }

    #[test]
    fn events_of_a_core_become_sentences_and_other_lines_stay() {
        let event = line(1, "round.certified shard=1 round=7");
        let sentence = "round 7 of shard 1 is certified by N−f VOTEs";
        let got = merged(&[
            ("consensus-node-0.log", event.as_bytes()),
            ("node-net-client-0.log", event.as_bytes()),
        ]);
        let texts: Vec<&str> = got.iter().map(|(_, _, text)| text.as_str()).collect();
        assert_eq!(texts, [sentence, "round.certified shard=1 round=7"]);
    }

    /// A clock that is set back, and two that show the same.
    #[test]
    fn the_lines_of_one_process_keep_their_order() {
        let zero = [line(5, "1"), line(3, "2"), line(6, "3")].concat();
        let one = [line(5, "4"), line(6, "5")].concat();
        let got =
            merged(&[("consensus-node-0.log", zero.as_bytes()), ("consensus-node-1.log", one.as_bytes())]);
        let texts: String = got.iter().map(|(_, _, text)| text.as_str()).collect();
        assert_eq!(texts, "12435");
    }

    #[test]
    fn clocks_are_corrected() {
        let clocks = "host,nodes,offset_ms,uncertainty_ms\nb,1+2,2500.0,0.5\n";
        let (zero, one) = (line(1, "a"), line(3, "b"));
        let got = merged(&[
            ("consensus-node-0.log", zero.as_bytes()),
            ("consensus-node-1.log", one.as_bytes()),
            ("clocks.csv", clocks.as_bytes()),
        ]);
        assert_eq!(got[0], ("00:00:00.500000".to_string(), 1, "b".to_string()));
    }

    #[test]
    fn hostile_files_are_cut_and_shown_and_harm_nothing() {
        let mut endless = line(1, "long ").trim_end().as_bytes().to_vec();
        endless.resize(LINE_BYTES_MAX * 3, b'x');
        let mut many = line(2, "many").into_bytes();
        for _ in 0..100_000 {
            many.extend_from_slice(b"without a time\n");
        }
        let zeros = vec![0; 5_000];
        let garbage =
            [&[0xFF, 0xFE, b'\n'][..], &zeros, b"\n\n\n[2026-11-21T00:00:03Z INFO", b"\xF0] no end"];
        let garbage = garbage.concat();
        let got = merged(&[
            ("consensus-node-0.log", &endless),
            ("consensus-node-1.log", &many),
            ("consensus-node-2.log", &garbage),
            ("consensus-node-65535.log", b"\n\n"),
            ("consensus-node-65536.log", b"of no node"),
        ]);
        assert_eq!(got.len(), 4, "{:?}", got.iter().map(|(at, node, _)| (at, node)).collect::<Vec<_>>());
        for (_, _, text) in &got {
            // A character that is escaped takes at most ten in the place of one.
            assert!(text.len() <= 10 * RECORD_BYTES_MAX && !text.contains('\0'));
        }
        let long = got.iter().find(|(_, node, _)| *node == 0).unwrap();
        assert!(long.2.len() <= LINE_BYTES_MAX && long.2.starts_with("longx"));
    }

    #[test]
    fn a_directory_without_logs_is_an_error() {
        let dir = TestDir::new();
        for path in [dir.path().to_path_buf(), dir.path().join("none")] {
            let error = Files::find(&path).unwrap_err().to_string();
            assert!(error.contains("expected the log directory of a run"), "{error}");
        }
    }

    #[test]
    fn a_file_of_standard_error_that_is_not_empty_is_listed() {
        let dir = TestDir::new();
        for (name, content) in [
            ("consensus-node-0.log", line(1, "a")),
            ("stderr-0.txt", "thread 'main' panicked".into()),
            ("stderr-1.txt", "of a node without a log".into()),
            ("stderr-2.txt", String::new()),
        ] {
            fs::write(dir.path().join(name), content).unwrap();
        }
        let files = Files::find(dir.path()).unwrap();
        assert_eq!(files.unread().collect::<Vec<&Path>>(), [dir.path().join("stderr-0.txt")]);
    }

    #[test]
    fn a_log_that_cannot_be_read_is_named() {
        let dir = TestDir::new();
        fs::create_dir(dir.path().join("consensus-node-3.log")).unwrap();
        let files = Files::find(dir.path()).unwrap();
        let error = files.merge(&Clocks::default()).err().unwrap().to_string();
        assert!(error.contains("consensus-node-3.log"), "{error}");
    }
}
