//! `rounds-<id>.csv`: a line an executed block, as its node saw it.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use wire::hex;
use wire::ids::{Digest, NodeId, Round, ShardId};
use wire::text::ParseError;

/// The columns, in order. Those from `shard` to `payload_bytes` are the same on all nodes of a shard.
pub(crate) const HEADER: &str = "node,shard,round,header,finished,rejected,skipped,spent,finished_cross,cancelled,refunded,\
                                 closed,entries,payload_bytes,views,leader,spb_us,coin_us,decide_us,agreement_us,fetch_us,\
                                 executed_ms";

/// The part of a line that must be the same on all nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Block {
    pub(crate) round: Round,
    pub(crate) header: Digest,
    /// Transactions within the shard finished by it.
    pub(crate) finished: u64,
    /// Transactions rejected for good by it.
    pub(crate) rejected: u64,
    /// Transactions in it that were skipped.
    pub(crate) skipped: u64,
    /// Cross-shard transactions that spent here.
    pub(crate) spent: u64,
    /// Cross-shard transactions finished by it, at their output shard.
    pub(crate) finished_cross: u64,
    /// Cross-shard transactions cancelled by it, at their output shard.
    pub(crate) cancelled: u64,
    /// Cross-shard transactions whose inputs here it gave back.
    pub(crate) refunded: u64,
    /// Cross-shard transactions whose records here it closed since they finished.
    pub(crate) closed: u64,
    pub(crate) entries: u64,
    pub(crate) payload_bytes: u64,
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    /// The part that all nodes must agree on.
    pub(crate) block: Block,
    /// Views that the agreement took here; 0 if the decision came by HALT.
    pub(crate) views: u64,
    /// From the own input to the decision, microseconds; 0 without an own input.
    pub(crate) agreement_us: u64,
    /// When it was executed, Unix time in ms.
    pub(crate) executed_ms: u64,
}

/// Reads one file line by line, so that a run of any length is checked in little memory.
pub(crate) struct RoundsFile {
    path: PathBuf,
    /// How each line must begin: the node and its shard.
    owner: String,
    reader: BufReader<File>,
    line: usize,
    last: Option<Round>,
}

impl RoundsFile {
    /// Opens the file of a node and checks its first line.
    pub(crate) fn open(path: &Path, node: NodeId, shard: ShardId) -> Result<RoundsFile, ParseError> {
        let place = path.display().to_string();
        let file =
            File::open(path).map_err(|error| ParseError::of(&place, &error.to_string(), "a rounds file"))?;
        let (owner, reader) = (format!("{node},{shard},"), BufReader::new(file));
        let mut file = RoundsFile { path: path.into(), owner, reader, line: 0, last: None };
        match file.next_text()? {
            Some(first) if first == HEADER => Ok(file),
            first => Err(file.error(&first.unwrap_or_default(), format!("'{HEADER}'"))),
        }
    }

    /// The next line; `None` at the end. Rounds must follow one another. A last line without its end is no line yet:
    /// its node was killed while it wrote.
    pub(crate) fn next_line(&mut self) -> Result<Option<Line>, ParseError> {
        let Some(text) = self.next_text()? else { return Ok(None) };
        let line = text.strip_prefix(&self.owner).and_then(parse).ok_or_else(|| {
            self.error(&text, format!("the columns {HEADER}, and '{}' at the beginning", self.owner))
        })?;
        let expected = self.last.map_or(Round(1), Round::next);
        if line.block.round != expected {
            return Err(self.error(&line.block.round.to_string(), format!("round {expected}")));
        }
        self.last = Some(expected);
        Ok(Some(line))
    }

    fn next_text(&mut self) -> Result<Option<String>, ParseError> {
        /// Far more than a line's columns can take; bounds what a file of something else costs.
        const LINE_BYTES_MAX: u64 = 4096;
        let mut text = String::new();
        self.line += 1;
        let read = io::Read::take(&mut self.reader, LINE_BYTES_MAX).read_line(&mut text);
        read.map_err(|error| self.error(&error.to_string(), "text".into()))?;
        Ok(text.strip_suffix('\n').map(String::from))
    }

    fn error(&self, value: &str, expected: String) -> ParseError {
        ParseError::at_line(&self.path.display().to_string(), self.line, value, expected)
    }
}

/// The columns after the node and its shard.
fn parse(text: &str) -> Option<Line> {
    let words: Vec<&str> = text.split(',').collect();
    let words: &[&str; 20] = words.as_slice().try_into().ok()?;
    let number = |index: usize| words[index].parse::<u64>().ok();
    let block = Block {
        round: Round(number(0)?),
        header: Digest(hex::decode_32(words[1])?),
        finished: number(2)?,
        rejected: number(3)?,
        skipped: number(4)?,
        spent: number(5)?,
        finished_cross: number(6)?,
        cancelled: number(7)?,
        refunded: number(8)?,
        closed: number(9)?,
        entries: number(10)?,
        payload_bytes: number(11)?,
    };
    for index in [13, 14, 15, 16, 18] {
        number(index)?;
    }
    Some(Line { block, views: number(12)?, agreement_us: number(17)?, executed_ms: number(19)? })
}
