//! `tools verify`: judges a run by the files it left.
//!
//! Four questions, each answered from two sources that are written by different processes:
//! 1. *Agreement*: the `rounds-<id>.csv` of all members of a shard have the same header digest, and the same counts,
//!    for each round that they have at all. The header chains to its predecessor, so one equal header makes all before
//!    it equal. A node's last status agrees with its own file; after a run that was drained, all members that are up
//!    stand at one height and have nothing open. Members at one height have the same whole ledger ([`ledgers`]).
//! 2. *Value is conserved*: the amounts of the unspent coins, counted one by one at the end, add up to genesis, what
//!    went to other shards and what came from them, and so do those of all shards together.
//! 3. *The exchange holds*: the exchanges that shards report fit together ([`exchange`]).
//! 4. *Receipts are true*: at no height did clients get more receipts than transactions were finished there, and no
//!    more are missing than clients have open.
//!
//! Each answer is true, false or *not judged*, with the reason: a shard of which no member was up at the end cannot be
//! judged, and parts on their way between shards allow bounds only. What is not judged is not well.
//!
//! Files are read side by side, a line at a time, so the length of a run does not matter. The command leaves its
//! verdict in `verdict.json` ([`report`]), from which `tools compare` knows what the summary of a load could not say
//! yet.

mod exchange;
mod judgement;
mod ledgers;
mod receipts;
mod record;
mod report;
mod rounds;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::Path;

use wire::client::Exchange;
use wire::committee::Committee;
use wire::ids::{Digest, NodeId, Round, ShardId};
use wire::text::ParseError;

use self::rounds::Block;
use crate::flags::{Command, Opt, UsageError, Values};
use crate::ids;
use crate::json::Json;
use crate::keygen::load_committee;
use crate::ledger;
use crate::load::Histogram;
use crate::run::{Directories, nodes_writing_in};
use crate::terminal::print;
use crate::testbed;

pub(crate) use self::judgement::Judgement;
pub(crate) use self::record::{Clients, Ended, LastStatus, Record};
pub(crate) use self::report::VERDICT;
#[cfg(test)]
pub(crate) use self::rounds::HEADER;
pub(crate) use self::rounds::{Line, RoundsFile, Row};

pub(crate) const COMMAND: Command = Command {
    name: "verify",
    summary: "checks what a run left in its log directory",
    about: "Compares what the nodes of a run wrote (rounds-<id>.csv) with each other, with their last status \
            (nodes.csv, ledgers.csv, exchanges.csv) and with what the clients got (receipts.csv, clients.csv): agreement on every \
            block and on the whole ledger, no coin made or lost, nothing lost, made up, or both finished and refunded between shards, no receipt \
            without a block and no block without its receipts.",
    operands: &[],
    options: &[
        Opt::with("log-dir", "DIR", "log", "The log directory of the run."),
        testbed::DATA_DIR,
        testbed::KEYS,
        Opt::switch(
            "journals",
            "Also makes the ledgers of all nodes again from their journals in the data directory, those of nodes that were \
             down at the end too, and compares them (tools ledger).",
        ),
    ],
    sections: &[
        (
            "EXIT STATUS",
            "0  all well\n1  something is wrong, each finding on a line, or cannot be judged\n\
             2  usage, or files that are missing or damaged",
        ),
        ("FILES", "LOG_DIR/verdict.json  The verdict, for tools compare."),
        ("EXAMPLES", "tools verify  The last run of this directory."),
    ],
};

/// The most findings that are listed one by one.
const FINDINGS_MAX: usize = 20;

/// The result of checking a run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Verdict {
    /// Blocks that at least one node reported, of all shards.
    pub(crate) rounds: u64,
    /// Of these, those that the first node to execute them executed while it is measured.
    pub(crate) rounds_measured: u64,
    /// Views of the deciding agreements of these, as the node reported that saw most of them.
    pub(crate) views: u64,
    /// From input to decision, of every round that a node executed while it is measured, if it gave an input.
    pub(crate) agreement_us: Histogram,
    /// Transactions finished, those that crossed shards included.
    pub(crate) finished: u64,
    /// Times that a shard gave back what a cross-shard transaction had spent there.
    pub(crate) refunds: u64,
    pub(crate) payload_bytes: u64,
    /// Whether the members of each shard have the same blocks.
    pub(crate) agreement: Judgement,
    /// Whether every node that was up at the end holds coins worth exactly genesis, and what came and went since.
    pub(crate) value_conserved: Judgement,
    /// Whether what shards have exchanged fits together.
    pub(crate) exchange_holds: Judgement,
    /// Whether receipts and blocks fit together.
    pub(crate) receipts_hold: Judgement,
    /// Everything still open between shards at the end of a run that need not have come to rest.
    pub(crate) unrest: Vec<String>,
    /// All that is wrong, in words; the first twenty.
    pub(crate) findings: Vec<String>,
    pub(crate) findings_count: u64,
    /// Which nodes the answers rest on only in part, in words.
    pub(crate) remarks: Vec<String>,
}

impl Verdict {
    /// Of a load whose nodes go on.
    pub(crate) fn deferred() -> Verdict {
        let later = || Judgement::Deferred;
        Verdict {
            agreement: later(),
            value_conserved: later(),
            exchange_holds: later(),
            receipts_hold: later(),
            ..Verdict::default()
        }
    }

    /// Whether nothing has been looked at, since the nodes go on.
    pub(crate) fn is_deferred(&self) -> bool {
        self.agreement == Judgement::Deferred
    }

    /// The answers, as they are called.
    pub(crate) fn answers(&self) -> [(&'static str, &Judgement); 4] {
        [
            ("agreement", &self.agreement),
            ("value conserved", &self.value_conserved),
            ("shards agree", &self.exchange_holds),
            ("receipts hold", &self.receipts_hold),
        ]
    }

    /// Whether everything was judged and nothing is wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.findings_count == 0 && self.answers().iter().all(|(_, answer)| answer.holds())
    }

    fn find(&mut self, text: String) {
        self.findings_count += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(text);
        }
    }
}

pub(crate) fn run(values: &Values) -> Result<u8, UsageError> {
    let log = Path::new(values.required("log-dir")?);
    let keys = testbed::keys(values);
    let committee = load_committee(&keys.join("committee.txt"))?;
    let (summary, ours) = (log.join("summary.json"), committee.testbed().to_string());
    if let Some(theirs) = testbed_of(&summary).filter(|theirs| *theirs != ours) {
        let expected = format!("testbed {ours}, whose keys are in {}", keys.display());
        return Err(
            ParseError::of(&summary.display().to_string(), &format!("testbed {theirs}"), expected).into()
        );
    }
    if !summary.exists() && Directories::lock_in(log).exists() {
        let expected = "the figures of a run that has ended; this one goes on, or it was cut off, and then a run with \
                        --resume goes on after it and judges all of it";
        return Err(ParseError::of(&summary.display().to_string(), "no such file", expected).into());
    }
    let record = Record::load(log, &committee)?;
    let mut verdict = check(log, &committee, &record)?;
    if values.is_given("journals") {
        let offline = ledger::check_journals(&testbed::data_dir(values), &record.ledgers)?;
        if !offline.disagreements.is_empty() {
            verdict.agreement.break_it();
        }
        offline.disagreements.into_iter().chain(offline.findings).for_each(|text| verdict.find(text));
        verdict.remarks.extend(offline.remarks);
    }
    let running = nodes_writing_in(log).unwrap_or_default();
    if !running.is_empty() {
        let go_on = "up: what came after their last status is not judged";
        verdict.remarks.push(format!("{}, still {go_on}", ids::nodes_text(&running)));
    }
    print(verdict.to_text());
    if let Err(error) = verdict.save(log, &committee) {
        eprintln!(
            "tools verify: cannot write {}, so tools compare will not know: {error}",
            log.join(VERDICT).display()
        );
    }
    Ok(u8::from(!verdict.is_clean()))
}

/// The testbed that a summary is about; `None` if there is no summary that can be read.
pub(crate) fn testbed_of(summary: &Path) -> Option<String> {
    match Json::parse(&fs::read_to_string(summary).ok()?).ok()?.field("testbed")? {
        Json::Text(testbed) => Some(testbed.clone()),
        _ => None,
    }
}

/// Judges the files in `log`. All of the run counts as measured.
///
/// # Errors
/// If a file that must be there cannot be read or understood.
pub(crate) fn check(log: &Path, committee: &Committee, record: &Record) -> Result<Verdict, ParseError> {
    check_and_measure(log, committee, record, &(0..u64::MAX))
}

/// The same; figures are of what nodes did in the time `measured_ms`, Unix time in milliseconds by their own clocks.
pub(crate) fn check_and_measure(
    log: &Path,
    committee: &Committee,
    record: &Record,
    measured_ms: &Range<u64>,
) -> Result<Verdict, ParseError> {
    let mut verdict = Verdict {
        agreement: Judgement::True,
        value_conserved: Judgement::True,
        exchange_holds: Judgement::True,
        receipts_hold: Judgement::True,
        ..Verdict::default()
    };
    check_lines(committee, record, &mut verdict);
    let (mut gone, mut absent) = (Vec::new(), Vec::new());
    for shard in (0..committee.shards()).map(ShardId) {
        let mut nodes = Vec::new();
        for node in committee.members(shard) {
            let status = record.nodes.get(&node).and_then(Option::as_ref);
            let path = log.join(format!("rounds-{node}.csv"));
            // A node that was killed before it wrote anything has no file; one that was up at the end must have.
            if status.is_some() || path.exists() && !record.byzantine.contains(&node) {
                nodes.push(Reading::new(node, RoundsFile::open(&path, node, shard)?, status));
            }
        }
        let place = Place::of(committee, shard);
        check_rounds(place, &mut nodes, record, measured_ms, &mut verdict)?;
        for node in &nodes {
            node.check_against_status(&mut verdict);
        }
        for node in committee.members(shard) {
            match nodes.iter().find(|reading| reading.id == node) {
                Some(reading) if reading.status.is_some() => {}
                Some(reading) if reading.file.last().is_some() => gone.push(node),
                None if record.byzantine.contains(&node) => {}
                Some(_) | None => absent.push(node),
            }
        }
        check_heights(place, &nodes, record.clients.ended, &mut verdict);
        ledgers::check(committee, shard, record, &mut verdict);
    }
    remark_on_those_down(&gone, &absent, &mut verdict);
    if !record.byzantine.is_empty() {
        let nodes: Vec<NodeId> = record.byzantine.iter().copied().collect();
        verdict.remarks.push(format!("{}, Byzantine: nothing of it judged", ids::nodes_text(&nodes)));
    }
    exchange::check(committee, record, &mut verdict);
    if record.clients.had_to_rest() {
        std::mem::take(&mut verdict.unrest).into_iter().for_each(|text| verdict.find(text));
    }
    receipts::check_totals(record, committee.shards(), &mut verdict);
    Ok(verdict)
}

/// Remarks on nodes that were down at the end: nothing but their blocks could be judged, if they have any.
fn remark_on_those_down(gone: &[NodeId], absent: &[NodeId], verdict: &mut Verdict) {
    for (nodes, remark) in [
        (gone, "not up as a member at the end: judged by its blocks alone"),
        (absent, "down all the time: no block, nothing judged"),
    ] {
        if !nodes.is_empty() {
            verdict.remarks.push(format!("{}, {remark}", ids::nodes_text(nodes)));
        }
    }
}

/// Whether there is a line of every node, of every shard for each that was up, and of nothing else.
fn check_lines(committee: &Committee, record: &Record, verdict: &mut Verdict) {
    for node in committee.nodes() {
        match record.nodes.get(&node) {
            None => {
                let missing = format!("nodes.csv has no line of node {node}");
                verdict.agreement.limit(&missing);
                verdict.find(missing);
            }
            Some(None) => {}
            Some(Some(status)) => {
                let shards = status.exchanged.iter().map(|exchange| exchange.shard);
                if !shards.eq((0..committee.shards()).map(ShardId)) {
                    verdict.find(format!("exchanges.csv does not have a line a shard of node {node}"));
                }
            }
        }
    }
    for node in record.nodes.keys().filter(|node| !committee.contains(**node)) {
        verdict.find(format!("nodes.csv has a line of node {node}, which is not in the committee"));
    }
}

/// Whether a member of the shard is left to report what it has done, and after a drained run all report the same.
fn check_heights(place: Place, nodes: &[Reading<'_>], ended: Ended, verdict: &mut Verdict) {
    let up = || nodes.iter().filter_map(|node| Some((node.id, node.status?.executed)));
    let Some((furthest, height)) = up().max_by_key(|(id, executed)| (*executed, Reverse(*id))) else {
        let why = format!("{place}no member was up at the end");
        verdict.agreement.limit(&why);
        return verdict.receipts_hold.limit(&why);
    };
    if ended == Ended::Drained {
        for (node, behind) in up().filter(|(_, executed)| *executed < height) {
            verdict.find(format!(
                "{place}node {node} was up and stood at height {behind}, node {furthest} at {height}"
            ));
        }
        for node in nodes {
            let open = node.status.map_or(0, |status| status.parts_open);
            if open > 0 {
                verdict.find(format!("{place}node {} ended with {open} parts not acknowledged", node.id));
            }
        }
    }
}

/// A shard as findings name it: not at all where there is but one.
#[derive(Clone, Copy)]
struct Place {
    shard: ShardId,
    shards: u16,
}

impl Place {
    fn of(committee: &Committee, shard: ShardId) -> Place {
        Place { shard, shards: committee.shards() }
    }
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
    measured_ms: &Range<u64>,
    verdict: &mut Verdict,
) -> Result<(), ParseError> {
    let mut height = Round(0);
    for node in nodes.iter_mut() {
        node.advance()?;
    }
    while let Some(round) = nodes.iter().filter_map(|node| Some(node.next.as_ref()?.round())).min() {
        let mut first: Option<(NodeId, Box<Line>)> = None;
        let mut taken_over = Vec::new();
        let mut views = 0;
        let mut executed_ms = u64::MAX;
        for node in nodes.iter_mut() {
            let Some(row) = node.next.take_if(|row| row.round() == round) else { continue };
            node.advance()?;
            let line = match row {
                Row::Executed(line) => line,
                Row::TakenOver { header, .. } => {
                    taken_over.push((node.id, header));
                    continue;
                }
            };
            views = views.max(line.views);
            executed_ms = executed_ms.min(line.executed_ms);
            if line.agreement_us > 0 && measured_ms.contains(&line.executed_ms) {
                verdict.agreement_us.add(line.agreement_us);
            }
            match &first {
                None => first = Some((node.id, line)),
                Some((other, theirs)) if theirs.block != line.block => {
                    verdict.agreement.break_it();
                    verdict.find(format!(
                        "{place}{}",
                        disagreement(*other, &theirs.block, node.id, &line.block)
                    ));
                }
                Some(_) => {}
            }
        }
        if round != height.next() {
            verdict.find(format!("{place}no file has rounds {} to {}", height.next(), round.0 - 1));
        }
        height = round;
        for (node, header) in taken_over {
            match &first {
                Some((other, line)) if line.block.header != header => {
                    verdict.agreement.break_it();
                    verdict.find(format!(
                        "{place}node {node} took over a state with header {header} at round {round}; node {other} \
                         has header {}",
                        line.block.header
                    ));
                }
                Some(_) => {}
                None => verdict.find(format!(
                    "{place}node {node} took over the state after round {round}, which no file has"
                )),
            }
        }
        let Some((_, line)) = first else { continue };
        verdict.rounds += 1;
        if measured_ms.contains(&executed_ms) {
            verdict.rounds_measured += 1;
            verdict.views += views;
        }
        verdict.finished += line.block.finished + line.block.finished_cross;
        verdict.payload_bytes += line.block.payload_bytes;
        receipts::check_block(place, &line.block, record, verdict);
    }
    let is_whole = |node: &Reading<'_>| node.status.is_some_and(|status| status.executed <= height);
    let are_whole = nodes.iter().any(is_whole);
    receipts::check_beyond(place, height, are_whole, record, verdict);
    Ok(())
}

fn disagreement(one: NodeId, ours: &Block, other: NodeId, theirs: &Block) -> String {
    let describe = |block: &Block| {
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
    format!("round {}: node {one} has {}; node {other} has {}", ours.round, describe(ours), describe(theirs))
}

/// One node's file while it is being read, and what it adds up to at the height of the node's last status.
struct Reading<'a> {
    id: NodeId,
    file: RoundsFile,
    status: Option<&'a LastStatus>,
    /// The row that comes next.
    next: Option<Row>,
    /// What its rows add up to, unless some of its blocks have none since it took over a state.
    sums: Option<BTreeMap<&'static str, u64>>,
    /// The header at the height of the status.
    at_status: Option<Digest>,
}

impl<'a> Reading<'a> {
    fn new(id: NodeId, file: RoundsFile, status: Option<&'a LastStatus>) -> Reading<'a> {
        Reading { id, file, status, next: None, sums: Some(BTreeMap::new()), at_status: None }
    }

    /// Reads the next row.
    fn advance(&mut self) -> Result<(), ParseError> {
        self.next = self.file.next_row()?;
        let (Some(row), Some(status)) = (&self.next, self.status) else { return Ok(()) };
        if row.round() > status.executed {
            return Ok(());
        }
        if row.round() == status.executed {
            self.at_status = Some(row.header());
        }
        match (row, &mut self.sums) {
            (Row::TakenOver { .. }, sums) => *sums = None,
            (Row::Executed(line), Some(sums)) => add_block(sums, &line.block),
            (Row::Executed(_), None) => {}
        }
        Ok(())
    }

    /// The node may have executed more after its last status; up to there all must fit.
    fn check_against_status(&self, verdict: &mut Verdict) {
        let Some(status) = self.status else { return };
        let id = self.id;
        match &self.at_status {
            None if status.executed == Round(0) => {}
            None => {
                verdict.find(format!(
                    "node {id} reports that it executed round {}, its file lacks it",
                    status.executed
                ));
            }
            Some(header) if *header != status.header => {
                verdict.agreement.break_it();
                verdict.find(format!(
                    "node {id} reports header {} at height {}, its file has {}",
                    status.header, status.executed, header
                ));
            }
            Some(_) => {}
        }
        let Some(sums) = &self.sums else { return };
        let exchanged = |of: fn(&Exchange) -> u64| {
            status.exchanged.iter().fold(0, |sum: u64, exchange| sum.saturating_add(of(exchange)))
        };
        for (what, reported) in [
            ("finished", status.finished),
            ("rejected", status.rejected),
            ("finished across shards", status.finished_cross),
            ("cancelled", status.cancelled),
            ("spent", exchanged(|exchange| exchange.spent.count)),
            ("refunded", exchanged(|exchange| exchange.refunded.count)),
            ("closed", exchanged(|exchange| exchange.closed.count)),
        ] {
            let sum = sums.get(what).copied().unwrap_or_default();
            if sum != reported {
                verdict.find(format!(
                    "node {id} reports {reported} transactions {what}, its file adds up to {sum}"
                ));
            }
        }
    }
}

/// Adds what a block did.
fn add_block(sums: &mut BTreeMap<&'static str, u64>, block: &Block) {
    for (what, count) in [
        ("finished", block.finished),
        ("rejected", block.rejected),
        ("finished across shards", block.finished_cross),
        ("cancelled", block.cancelled),
        ("spent", block.spent),
        ("refunded", block.refunded),
        ("closed", block.closed),
    ] {
        *sums.entry(what).or_default() += count;
    }
}

#[cfg(test)]
mod tampering;
#[cfg(test)]
mod tests;
