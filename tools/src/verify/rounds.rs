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
    /// The node that had proposed the decided cut.
    pub(crate) leader: u64,
    /// From the own input to N−f FINISHes of the deciding view, microseconds; 0 if they did not come.
    pub(crate) spb_us: u64,
    /// From there to the coin.
    pub(crate) coin_us: u64,
    /// From there to the decision.
    pub(crate) decide_us: u64,
    /// From the own input to the decision, microseconds; 0 without an own input.
    pub(crate) agreement_us: u64,
    /// From the decision to the execution.
    pub(crate) fetch_us: u64,
    /// When it was executed, Unix time in ms.
    pub(crate) executed_ms: u64,
}

/// One row: a block that the node executed, or a state that it took over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Row {
    /// A block.
    Executed(Box<Line>),
    /// The state after many blocks, of which the file has no rows.
    TakenOver {
        /// Its height.
        round: Round,
        /// The header of that height.
        header: Digest,
    },
}

impl Row {
    /// The height that the node has reached with it.
    pub(crate) fn round(&self) -> Round {
        match self {
            Row::Executed(line) => line.block.round,
            Row::TakenOver { round, .. } => *round,
        }
    }

    /// The header of that height.
    pub(crate) fn header(&self) -> Digest {
        match self {
            Row::Executed(line) => line.block.header,
            Row::TakenOver { header, .. } => *header,
        }
    }
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
            first => Err(file.foreign_columns(&first.unwrap_or_default())),
        }
    }

    /// The last round that was read.
    pub(crate) fn last(&self) -> Option<Round> {
        self.last
    }

    /// The next row; `None` at the end. Blocks follow one another and states that were taken over. A last line without
    /// its end is no line yet: its node was killed while it wrote.
    pub(crate) fn next_row(&mut self) -> Result<Option<Row>, ParseError> {
        let Some(text) = self.next_text()? else { return Ok(None) };
        let row = text.strip_prefix(&self.owner).and_then(parse).ok_or_else(|| {
            self.error(&text, format!("the columns {HEADER}, and '{}' at the beginning", self.owner))
        })?;
        let expected = self.last.map_or(Round(1), Round::next);
        let follows = match &row {
            Row::Executed(line) => line.block.round == expected,
            Row::TakenOver { round, .. } => *round >= expected,
        };
        if !follows {
            return Err(self.error(&row.round().to_string(), format!("round {expected}")));
        }
        self.last = Some(row.round());
        Ok(Some(row))
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

    /// The first line has other columns: a file of another version.
    fn foreign_columns(&self, first: &str) -> ParseError {
        let mut columns = HEADER.split(',').chain([""]).zip(first.split(',').chain([""])).enumerate();
        let (at, (expected, found)) =
            columns.find(|(_, (expected, found))| expected != found).expect("the lines differ");
        self.error(found, format!("'{expected}' as column {} of {HEADER}", at + 1))
    }

    fn error(&self, value: &str, expected: String) -> ParseError {
        ParseError::at_line(&self.path.display().to_string(), self.line, value, expected)
    }
}

/// The columns after the node and its shard.
fn parse(text: &str) -> Option<Row> {
    let mut words = text.split(',');
    if text.contains(",,") {
        let round = Round(words.next()?.parse().ok()?);
        let header = Digest(hex::decode_32(words.next()?)?);
        let counts = HEADER.split(',').count() - 5;
        let is_taken_over = words.by_ref().take(counts).all(str::is_empty);
        let _executed_ms: u64 = words.next()?.parse().ok()?;
        return (is_taken_over && words.next().is_none()).then_some(Row::TakenOver { round, header });
    }
    fn number<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<u64> {
        words.next()?.parse().ok()
    }
    // In the order of the columns.
    let block = Block {
        round: Round(number(&mut words)?),
        header: Digest(hex::decode_32(words.next()?)?),
        finished: number(&mut words)?,
        rejected: number(&mut words)?,
        skipped: number(&mut words)?,
        spent: number(&mut words)?,
        finished_cross: number(&mut words)?,
        cancelled: number(&mut words)?,
        refunded: number(&mut words)?,
        closed: number(&mut words)?,
        entries: number(&mut words)?,
        payload_bytes: number(&mut words)?,
    };
    let views = number(&mut words)?;
    let line = Line {
        block,
        views,
        leader: number(&mut words)?,
        spb_us: number(&mut words)?,
        coin_us: number(&mut words)?,
        decide_us: number(&mut words)?,
        agreement_us: number(&mut words)?,
        fetch_us: number(&mut words)?,
        executed_ms: number(&mut words)?,
    };
    words.next().is_none().then(|| Row::Executed(Box::new(line)))
}
