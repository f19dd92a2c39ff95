//! `tools verify`: judges a run by the files it left.
//!
//! Four questions, each answered from two sources that are written by different processes:
//! 1. *Agreement*: the `rounds-<id>.csv` of all members of a shard tell the same header digest, and the same counts, for
//!    each round that they tell at all. The header chains to its predecessor, so one equal header makes all before it equal.
//! 2. *The nodes mean what they wrote*: a node's last status agrees with its own file.
//! 3. *Conservation*: the amounts of the unspent coins, counted one by one at the end, add up to genesis, what went to
//!    other shards and what came from them; and shards tell the same of what they exchanged ([`exchange`]).
//! 4. *Receipts are true*: at no height did clients get more receipts than transactions were finished there.
//!
//! Files are read side by side, a line at a time, so the length of a run does not matter.

mod exchange;
mod record;
mod rounds;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use wire::committee::Committee;
use wire::ids::{NodeId, Round, ShardId};
use wire::text::ParseError;

use self::rounds::{Block, Line, RoundsFile};
use crate::flags::{Command, Opt, UsageError, Values};
use crate::terminal::tell;

pub(crate) use self::record::{LastStatus, Record};
#[cfg(test)]
pub(crate) use self::rounds::HEADER;

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "verify",
    summary: "checks what a run left in its log directory",
    about: "Compares what the nodes of a run wrote (rounds-<id>.csv) with each other, with their last status \
            (nodes.csv, exchanges.csv) and with the receipts that the clients got (receipts.csv): agreement on every \
            block, no coin made or lost, nothing lost, made up, or both finished and refunded between shards, no receipt \
            without a block.",
    operands: &[],
    options: &[
        Opt::with("log-dir", "DIR", "log", "The log directory of the run."),
        Opt::with("data-dir", "DIR", "data", "The data directory of the run, in which the keys are."),
    ],
    sections: &[
        (
            "EXIT STATUS",
            "0  all well\n1  something is wrong, each finding on a line\n2  usage or unreadable files",
        ),
        ("EXAMPLES", "tools verify  The last run of this directory."),
    ],
};

/// The most findings that are told one by one.
const FINDINGS_MAX: usize = 20;

/// What the check of a run found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Verdict {
    /// Blocks that at least one node told of, of all shards.
    pub(crate) rounds: u64,
    /// Views of the deciding agreements, summed over the rounds, as the node told that saw most of them.
    pub(crate) views: u64,
    /// From input to decision, of every round at every node that gave an input.
    pub(crate) agreement_us: crate::load::Histogram,
    /// Transactions finished, those that crossed shards included.
    pub(crate) finished: u64,
    /// Times that a shard gave back what a cross-shard transaction had spent there.
    pub(crate) refunds: u64,
    /// Bytes of payload decided.
    pub(crate) payload_bytes: u64,
    /// Whether all nodes told the same of each round.
    pub(crate) agreement: bool,
    /// Whether every node that was up at the end holds coins worth exactly genesis, and what came and went since.
    pub(crate) value_conserved: bool,
    /// Whether shards agree on what they have exchanged, as far as they have come to rest.
    pub(crate) exchange_holds: bool,
    /// What was still open between shards at the end, in words; what they have exchanged can't be compared then.
    pub(crate) unrest: Vec<String>,
    /// All that is wrong, in words; the first twenty.
    pub(crate) findings: Vec<String>,
    /// How many findings there are.
    pub(crate) findings_count: u64,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.findings_count == 0
    }

    fn find(&mut self, text: String) {
        self.findings_count += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(text);
        }
    }
}

/// Runs the command and returns its exit code.
pub(crate) fn run(values: &Values) -> Result<u8, UsageError> {
    let log = Path::new(values.required("log-dir")?);
    let data = Path::new(values.required("data-dir")?);
    let committee = load_committee(&data.join("keys/committee.txt"))?;
    let verdict = check(log, &committee, &Record::load(log)?)?;
    tell(format!(
        "{} rounds, {} transactions finished; agreement {}, value conserved {}, exchange between shards {}",
        verdict.rounds, verdict.finished, verdict.agreement, verdict.value_conserved, verdict.exchange_holds
    ));
    for text in &verdict.unrest {
        tell(format!("  not compared between shards, since {text}"));
    }
    for finding in &verdict.findings {
        tell(format!("  {finding}"));
    }
    if verdict.findings_count > verdict.findings.len() as u64 {
        tell(format!("  and {} more", verdict.findings_count - verdict.findings.len() as u64));
    }
    Ok(u8::from(!verdict.is_clean()))
}

/// Reads a committee file.
pub(crate) fn load_committee(path: &Path) -> Result<Committee, ParseError> {
    let place = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| ParseError::of(&place, &error.to_string(), "a readable committee file"))?;
    Committee::parse(&place, &text)
}

/// Judges the files in `log`.
///
/// # Errors
/// If a file that must be there cannot be read or understood.
pub(crate) fn check(log: &Path, committee: &Committee, record: &Record) -> Result<Verdict, ParseError> {
    let mut verdict =
        Verdict { agreement: true, value_conserved: true, exchange_holds: true, ..Verdict::default() };
    for shard in (0..committee.shards()).map(ShardId) {
        let mut nodes = Vec::new();
        for (node, status) in record.members(committee, shard) {
            let path = log.join(format!("rounds-{node}.csv"));
            // A node that was killed before it wrote anything has no file; one that was up at the end must have.
            if status.is_some() || path.exists() {
                nodes.push(Reading::new(node, RoundsFile::open(&path)?, status));
            }
        }
        let place = Place { shard, shards: committee.shards() };
        check_rounds(place, &mut nodes, record, &mut verdict)?;
        for node in &nodes {
            node.check_against_status(&mut verdict);
        }
    }
    exchange::check(committee, record, &mut verdict);
    Ok(verdict)
}

/// A shard as findings name it: not at all where there is but one.
#[derive(Clone, Copy)]
struct Place {
    shard: ShardId,
    shards: u16,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.shards > 1 { write!(f, "shard {}: ", self.shard) } else { Ok(()) }
    }
}

/// Reads all files of a shard side by side.
fn check_rounds(
    place: Place,
    nodes: &mut [Reading<'_>],
    record: &Record,
    verdict: &mut Verdict,
) -> Result<(), ParseError> {
    let shard = place.shard;
    let mut height = Round(0);
    loop {
        let mut first: Option<(NodeId, Line)> = None;
        let mut views = 0;
        for node in nodes.iter_mut() {
            let Some(line) = node.next()? else { continue };
            views = views.max(line.views);
            if line.agreement_us > 0 {
                verdict.agreement_us.add(line.agreement_us);
            }
            match &first {
                None => first = Some((node.id, line)),
                Some((other, theirs)) if theirs.block != line.block => {
                    verdict.agreement = false;
                    verdict.find(format!(
                        "{place}{}",
                        disagreement(*other, &theirs.block, node.id, &line.block)
                    ));
                }
                Some(_) => {}
            }
        }
        let Some((_, line)) = first else { break };
        height = line.block.round;
        verdict.rounds += 1;
        verdict.views += views;
        verdict.finished += line.block.finished + line.block.finished_cross;
        verdict.payload_bytes += line.block.payload_bytes;
        let receipts = record.receipts.get(&(shard, height)).copied().unwrap_or_default();
        let Block { finished, finished_cross, .. } = line.block;
        if receipts.intra > finished {
            verdict.find(format!(
                "{place}{} receipts name height {height}, which finished {finished} transactions",
                receipts.intra
            ));
        }
        if receipts.cross > finished_cross {
            verdict.find(format!(
                "{place}{} receipts of cross-shard transactions name height {height}, which finished {finished_cross}",
                receipts.cross
            ));
        }
    }
    // A node that was killed may not have written its last lines, so only one that was up at the end can tell that a
    // block does not exist.
    if nodes.iter().any(|node| node.status.is_some()) {
        for ((_, height), count) in record.receipts.range((shard, height.next())..=(shard, Round(u64::MAX))) {
            let count = count.intra + count.cross;
            verdict.find(format!("{place}{count} receipts name height {height}, which no node has executed"));
        }
    }
    Ok(())
}

fn disagreement(one: NodeId, ours: &Block, other: NodeId, theirs: &Block) -> String {
    let tell = |block: &Block| {
        format!(
            "header {} with {} finished, {} rejected, {} skipped, {} spent, {} finished across shards, {} cancelled, {} \
             refunded, {} closed, {} entries, {} bytes",
            block.header,
            block.finished,
            block.rejected,
            block.skipped,
            block.spent,
            block.finished_cross,
            block.cancelled,
            block.refunded,
            block.closed,
            block.entries,
            block.payload_bytes
        )
    };
    format!("round {}: node {one} tells {}; node {other} tells {}", ours.round, tell(ours), tell(theirs))
}

/// One node's file while it is being read, and what it adds up to at the height of the node's last status.
struct Reading<'a> {
    id: NodeId,
    file: RoundsFile,
    status: Option<&'a LastStatus>,
    sums: BTreeMap<&'static str, u64>,
    at_status: Option<Block>,
}

impl<'a> Reading<'a> {
    fn new(id: NodeId, file: RoundsFile, status: Option<&'a LastStatus>) -> Reading<'a> {
        Reading { id, file, status, sums: BTreeMap::new(), at_status: None }
    }

    fn next(&mut self) -> Result<Option<Line>, ParseError> {
        let line = self.file.next_line()?;
        if let (Some(line), Some(status)) = (&line, self.status)
            && line.block.round <= status.executed
        {
            *self.sums.entry("finished").or_default() += line.block.finished;
            *self.sums.entry("rejected").or_default() += line.block.rejected;
            *self.sums.entry("finished across shards").or_default() += line.block.finished_cross;
            *self.sums.entry("cancelled").or_default() += line.block.cancelled;
            if line.block.round == status.executed {
                self.at_status = Some(line.block.clone());
            }
        }
        Ok(line)
    }

    /// The node may have executed more after it told its status; up to there all must fit.
    fn check_against_status(&self, verdict: &mut Verdict) {
        let Some(status) = self.status else { return };
        let id = self.id;
        match &self.at_status {
            None if status.executed == Round(0) => {}
            None => {
                verdict
                    .find(format!("node {id} says it executed round {}, its file lacks it", status.executed));
            }
            Some(block) if block.header != status.header => {
                verdict.agreement = false;
                verdict.find(format!(
                    "node {id} says header {} at height {}, its file says {}",
                    status.header, status.executed, block.header
                ));
            }
            Some(_) => {}
        }
        for (what, told) in [
            ("finished", status.finished),
            ("rejected", status.rejected),
            ("finished across shards", status.finished_cross),
            ("cancelled", status.cancelled),
        ] {
            let sum = self.sums.get(what).copied().unwrap_or_default();
            if sum != told {
                verdict.find(format!(
                    "node {id} says {told} transactions are {what}, its file adds up to {sum}"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests;
