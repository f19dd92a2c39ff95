//! The files of a run for `tools verify`: the nodes' last statuses and the client's own record.
//!
//! `nodes.csv` has a line a node with its last status; of a node that was down at the end only that. `exchanges.csv`
//! has a line for each shard of each of these nodes (`with_shard`), its own included. `ledgers.csv` has a line a node
//! with digests of its whole ledger; empty ones if it was down or did not answer. `receipts.csv` has a line a
//! height of a shard with how many receipts the clients got that name it. `clients.csv` has one line: how the run
//! ended, and what became of all that was submitted. All are written by the process that conducts the run, from what
//! came over the clients' sessions, so they are a second source beside the files that the nodes write themselves.
//!
//! Lines stand in ascending order and each ends with a newline, so a file that is cut off, shuffled or has a line twice
//! is not read at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use wire::audit::Section;
use wire::client::{Exchange, IdSum, NodeStatus};
use wire::committee::Committee;
use wire::hex;
use wire::ids::{Digest, NodeId, PartNumber, Round, ShardId};
use wire::text::ParseError;

use crate::ledger::live::LastLedger;
use crate::load::Finished;

/// The last status of a node that was up at the end of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LastStatus {
    pub(crate) executed: Round,
    pub(crate) header: Digest,
    pub(crate) finished: u64,
    pub(crate) rejected: u64,
    /// Transactions taken from clients, of whatever run.
    pub(crate) taken: u64,
    pub(crate) coins: u64,
    /// The sum of their amounts, counted coin by coin.
    pub(crate) value: u128,
    /// Cross-shard transactions that have spent here and are not known to have ended.
    pub(crate) open_records: u64,
    /// Cross-shard transactions that wait for input shards.
    pub(crate) pool: u64,
    /// Parts for other shards that are not known to have arrived.
    pub(crate) parts_open: u64,
    /// The sum of inputs under open records.
    pub(crate) held: u128,
    /// Cross-shard transactions finished, this shard being their output shard.
    pub(crate) finished_cross: u64,
    /// Cross-shard transactions cancelled, this shard being their output shard.
    pub(crate) cancelled: u64,
    /// The exchange with each shard, ascending.
    pub(crate) exchanged: Vec<Exchange>,
}

impl LastStatus {
    /// The fields that members of a shard with the same header must have in common.
    pub(super) fn books(&self) -> impl PartialEq + '_ {
        let LastStatus { coins, value, open_records, pool, held, exchanged, .. } = self;
        (coins, value, open_records, pool, held, exchanged)
    }
}

impl From<&NodeStatus> for LastStatus {
    fn from(status: &NodeStatus) -> LastStatus {
        LastStatus {
            executed: status.executed,
            header: status.header,
            finished: status.finished,
            rejected: status.rejected,
            taken: status.taken,
            coins: status.coins,
            value: status.value,
            open_records: status.open_records,
            pool: status.pool,
            parts_open: status.parts_open,
            held: status.held,
            finished_cross: status.finished_cross,
            cancelled: status.cancelled,
            exchanged: status.exchanged.clone(),
        }
    }
}

/// How a run came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// Load ended, and every shard had a quorum: nothing may be left open.
    Drained,
    /// Some shard had no quorum: what needed it stays open.
    NoQuorum,
    /// By Ctrl-C.
    Interrupted,
}

impl Ended {
    const ALL: [Ended; 3] = [Ended::Drained, Ended::NoQuorum, Ended::Interrupted];

    fn name(self) -> &'static str {
        match self {
            Ended::Drained => "drained",
            Ended::NoQuorum => "no-quorum",
            Ended::Interrupted => "interrupted",
        }
    }
}

/// The fates of all transactions that clients submitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Clients {
    pub(crate) ended: Ended,
    /// Handed to nodes. Each of these is exactly one of the following.
    pub(crate) submitted: u64,
    pub(crate) committed: u64,
    pub(crate) rejected: u64,
    pub(crate) expired: u64,
    pub(crate) refused: u64,
    /// Forgotten by a node that is up.
    pub(crate) lost: u64,
    /// Open at a node that is up.
    pub(crate) in_flight: u64,
    /// Open at a node that crashed for good.
    pub(crate) orphaned: u64,
    /// Loads that were killed, of which nothing is known but what nodes took.
    pub(crate) cut_off: u64,
    /// Handed in more than once, so that as many nodes may have taken them.
    pub(crate) resubmitted: u64,
}

impl Clients {
    /// Whether nothing may be left open.
    pub(super) fn had_to_rest(&self) -> bool {
        self.ended == Ended::Drained
    }

    /// How many may have finished without a receipt.
    pub(super) fn without_receipt(&self) -> u64 {
        self.lost + self.in_flight + self.orphaned
    }

    fn values(&self) -> [u64; 8] {
        let Clients { submitted, committed, rejected, expired, refused, lost, in_flight, orphaned, .. } =
            *self;
        [submitted, committed, rejected, expired, refused, lost, in_flight, orphaned]
    }

    /// Both together, which ended as this did.
    fn plus(&self, other: &Clients) -> Clients {
        Clients {
            ended: self.ended,
            submitted: self.submitted + other.submitted,
            committed: self.committed + other.committed,
            rejected: self.rejected + other.rejected,
            expired: self.expired + other.expired,
            refused: self.refused + other.refused,
            lost: self.lost + other.lost,
            in_flight: self.in_flight + other.in_flight,
            orphaned: self.orphaned + other.orphaned,
            cut_off: self.cut_off + other.cut_off,
            resubmitted: self.resubmitted + other.resubmitted,
        }
    }

    /// Whether all that was submitted is one of the rest.
    pub(crate) fn adds_up(&self) -> bool {
        let [submitted, fates @ ..] = self.values();
        fates.iter().try_fold(0u64, |sum, fate| sum.checked_add(*fate)) == Some(submitted)
    }
}

/// The record that is checked against the nodes' own files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    /// Nodes that were Byzantine by plan: nothing that they say is judged.
    pub(crate) byzantine: BTreeSet<NodeId>,
    /// Each node's last status; `None` if it was down at the end, or Byzantine.
    pub(crate) nodes: BTreeMap<NodeId, Option<LastStatus>>,
    /// Each node's whole ledger; `None` if it was down at the end, or did not answer.
    pub(crate) ledgers: BTreeMap<NodeId, Option<LastLedger>>,
    /// Receipts of transactions that finished in this shard at this height.
    pub(crate) receipts: BTreeMap<(ShardId, Round), Finished>,
    /// The fates of submitted transactions.
    pub(crate) clients: Clients,
}

/// The state of a node that was Byzantine by plan.
const BYZANTINE: &str = "byzantine";
const NODES_HEADER: &str = "node,shard,state,executed,header,finished,rejected,taken,coins,value,open_records,pool,parts_open,\
                            held,finished_cross,cancelled";
const EXCHANGES_HEADER: &str = "node,shard,with_shard,spent,spent_sum,closed,closed_sum,refunded,refunded_sum,ticked,\
                                ticked_sum,finished,finished_sum,cancelled,cancelled_sum,value_out,value_in,part_out,part_in";
const LEDGERS_HEADER: &str = "node,shard,height,coins,spent,settled,open,pool,early,exchanged,ends,differs";
const RECEIPTS_HEADER: &str = "shard,height,finished,finished_cross";
const CLIENTS_HEADER: &str =
    "ended,submitted,committed,rejected,expired,refused,lost,in_flight,orphaned,cut_off,resubmitted";

impl Record {
    /// The members of a shard, ascending, with their last statuses.
    pub(crate) fn members(
        &self,
        committee: &Committee,
        shard: ShardId,
    ) -> impl Iterator<Item = (NodeId, Option<&LastStatus>)> {
        committee.members(shard).filter_map(|node| Some((node, self.nodes.get(&node)?.as_ref())))
    }

    /// The record of two loads of one testbed, this one after the other.
    #[must_use]
    pub(crate) fn after(mut self, before: Record) -> Record {
        for (place, earlier) in before.receipts {
            let finished = self.receipts.entry(place).or_default();
            finished.intra += earlier.intra;
            finished.cross += earlier.cross;
        }
        self.clients = self.clients.plus(&before.clients);
        self.byzantine.extend(before.byzantine);
        for node in &self.byzantine {
            self.nodes.insert(*node, None);
            self.ledgers.insert(*node, None);
        }
        self
    }

    /// Writes the files of a run of this committee.
    pub(crate) fn save(&self, log: &Path, committee: &Committee) -> io::Result<()> {
        let mut nodes = format!("{NODES_HEADER}\n");
        let mut exchanges = format!("{EXCHANGES_HEADER}\n");
        for (node, status) in &self.nodes {
            let owner = format!("{node},{}", committee.shard_of(*node));
            let is_byzantine = self.byzantine.contains(node);
            nodes += &format!("{owner},{}", status_columns(status.as_ref(), is_byzantine));
            let exchanged = status.iter().flat_map(|status| &status.exchanged);
            exchanged.for_each(|exchange| exchanges += &format!("{owner},{}", exchange_columns(exchange)));
        }
        fs::write(log.join("nodes.csv"), nodes)?;
        let mut ledgers = format!("{LEDGERS_HEADER}\n");
        for (node, ledger) in &self.ledgers {
            let columns = ledger_columns(ledger.as_ref());
            ledgers += &format!("{node},{},{columns}\n", committee.shard_of(*node));
        }
        fs::write(log.join("ledgers.csv"), ledgers)?;
        fs::write(log.join("exchanges.csv"), exchanges)?;
        let mut text = format!("{RECEIPTS_HEADER}\n");
        for ((shard, height), Finished { intra, cross }) in &self.receipts {
            text += &format!("{shard},{height},{intra},{cross}\n");
        }
        fs::write(log.join("receipts.csv"), text)?;
        let clients = self.clients.values().map(|value| value.to_string()).join(",");
        let Clients { ended, cut_off, resubmitted, .. } = self.clients;
        let text = format!("{CLIENTS_HEADER}\n{},{clients},{cut_off},{resubmitted}\n", ended.name());
        fs::write(log.join("clients.csv"), text)
    }

    /// Reads the files of a run of this committee.
    pub(crate) fn load(log: &Path, committee: &Committee) -> Result<Record, ParseError> {
        let clients_path = log.join("clients.csv");
        let mut clients = None;
        each_line(&clients_path, CLIENTS_HEADER, |words| {
            clients.replace(parse_clients(words)?).is_none().then_some(())
        })?;
        let nothing =
            || ParseError::of(&clients_path.display().to_string(), "no line after the first", CLIENTS_HEADER);
        let mut record = Record {
            byzantine: BTreeSet::new(),
            nodes: BTreeMap::new(),
            ledgers: BTreeMap::new(),
            receipts: BTreeMap::new(),
            clients: clients.ok_or_else(nothing)?,
        };
        each_line(&log.join("nodes.csv"), NODES_HEADER, |words| {
            let (node, words) = parse_owner(words, committee)?;
            if words.first() == Some(&BYZANTINE) {
                record.byzantine.insert(node);
            }
            push_last(&mut record.nodes, node, parse_status(words)?)
        })?;
        each_line(&log.join("ledgers.csv"), LEDGERS_HEADER, |words| {
            let (node, words) = parse_owner(words, committee)?;
            push_last(&mut record.ledgers, node, parse_ledger(words)?)
        })?;
        let mut last = None;
        each_line(&log.join("exchanges.csv"), EXCHANGES_HEADER, |words| {
            let (node, words) = parse_owner(words, committee)?;
            let exchange = parse_exchange(words)?;
            let place = Some((node, exchange.shard));
            record.nodes.get_mut(&node)?.as_mut()?.exchanged.push(exchange);
            (std::mem::replace(&mut last, place) < place).then_some(())
        })?;
        each_line(&log.join("receipts.csv"), RECEIPTS_HEADER, |words| {
            let words: &[&str; 4] = words.try_into().ok()?;
            let place = (ShardId(words[0].parse().ok()?), Round(words[1].parse().ok()?));
            let finished = Finished { intra: words[2].parse().ok()?, cross: words[3].parse().ok()? };
            push_last(&mut record.receipts, place, finished)
        })?;
        Ok(record)
    }
}

/// Adds what must come after all that is there.
fn push_last<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: V) -> Option<()> {
    let is_last = map.last_key_value().is_none_or(|(last, _)| *last < key);
    is_last.then(|| _ = map.insert(key, value))
}

fn parse_clients(words: &[&str]) -> Option<Clients> {
    let words: &[&str; 11] = words.try_into().ok()?;
    let number = |at: usize| words[at].parse().ok();
    Some(Clients {
        ended: Ended::ALL.into_iter().find(|ended| ended.name() == words[0])?,
        submitted: number(1)?,
        committed: number(2)?,
        rejected: number(3)?,
        expired: number(4)?,
        refused: number(5)?,
        lost: number(6)?,
        in_flight: number(7)?,
        orphaned: number(8)?,
        cut_off: number(9)?,
        resubmitted: number(10)?,
    })
}

/// The node of a line that begins with it and its shard, and the columns after these.
fn parse_owner<'a, 'b>(words: &'a [&'b str], committee: &Committee) -> Option<(NodeId, &'a [&'b str])> {
    let [node, shard, rest @ ..] = words else { return None };
    let (node, shard) = (NodeId(node.parse().ok()?), ShardId(shard.parse().ok()?));
    (committee.shard_of(node) == shard).then_some((node, rest))
}

fn status_columns(status: Option<&LastStatus>, is_byzantine: bool) -> String {
    let Some(status) = status else {
        return format!("{},,,,,,,,,,,,,\n", if is_byzantine { BYZANTINE } else { "down" });
    };
    format!(
        "up,{},{},{},{},{},{},{},{},{},{},{},{},{}\n",
        status.executed,
        hex::encode(&status.header.0),
        status.finished,
        status.rejected,
        status.taken,
        status.coins,
        status.value,
        status.open_records,
        status.pool,
        status.parts_open,
        status.held,
        status.finished_cross,
        status.cancelled
    )
}

fn parse_status(words: &[&str]) -> Option<Option<LastStatus>> {
    let words: &[&str; 14] = words.try_into().ok()?;
    let status = match words[0] {
        "down" | BYZANTINE if words[1..].iter().all(|word| word.is_empty()) => None,
        "up" => Some(LastStatus {
            executed: Round(words[1].parse().ok()?),
            header: Digest(hex::decode_32(words[2])?),
            finished: words[3].parse().ok()?,
            rejected: words[4].parse().ok()?,
            taken: words[5].parse().ok()?,
            coins: words[6].parse().ok()?,
            value: words[7].parse().ok()?,
            open_records: words[8].parse().ok()?,
            pool: words[9].parse().ok()?,
            parts_open: words[10].parse().ok()?,
            held: words[11].parse().ok()?,
            finished_cross: words[12].parse().ok()?,
            cancelled: words[13].parse().ok()?,
            exchanged: Vec::new(),
        }),
        _ => return None,
    };
    Some(status)
}

fn ledger_columns(ledger: Option<&LastLedger>) -> String {
    let Some(LastLedger { height, sections, differs }) = ledger else {
        return ",".repeat(Section::ALL.len() + 1);
    };
    let sections: Vec<String> = sections.iter().map(|section| hex::encode(&section.0)).collect();
    format!("{height},{},{differs}", sections.join(","))
}

fn parse_ledger(words: &[&str]) -> Option<Option<LastLedger>> {
    let [height, words @ .., differs] = words else { return None };
    let sections: &[&str; Section::ALL.len()] = words.try_into().ok()?;
    if height.is_empty() {
        return (words.iter().all(|word| word.is_empty()) && differs.is_empty()).then_some(None);
    }
    let sections: Option<Vec<Digest>> =
        sections.iter().map(|word| hex::decode_32(word).map(Digest)).collect();
    let sections = sections?.try_into().ok()?;
    Some(Some(LastLedger { height: Round(height.parse().ok()?), sections, differs: String::from(*differs) }))
}

fn exchange_columns(exchange: &Exchange) -> String {
    let Exchange { shard, spent, closed, refunded, ticked, finished, cancelled, .. } = exchange;
    let sums = [spent, closed, refunded, ticked, finished, cancelled];
    let sums: Vec<String> = sums.iter().map(|sum| format!("{},{}", sum.count, sum.sum)).collect();
    let Exchange { value_out, value_in, part_out, part_in, .. } = exchange;
    format!("{shard},{},{value_out},{value_in},{part_out},{part_in}\n", sums.join(","))
}

fn parse_exchange(words: &[&str]) -> Option<Exchange> {
    let words: &[&str; 17] = words.try_into().ok()?;
    let sum = |at: usize| Some(IdSum { count: words[at].parse().ok()?, sum: words[at + 1].parse().ok()? });
    Some(Exchange {
        shard: ShardId(words[0].parse().ok()?),
        spent: sum(1)?,
        closed: sum(3)?,
        refunded: sum(5)?,
        ticked: sum(7)?,
        finished: sum(9)?,
        cancelled: sum(11)?,
        value_out: words[13].parse().ok()?,
        value_in: words[14].parse().ok()?,
        part_out: PartNumber(words[15].parse().ok()?),
        part_in: PartNumber(words[16].parse().ok()?),
    })
}

/// Hands over the words of each line after the header.
fn each_line(
    path: &Path,
    header: &str,
    mut take: impl FnMut(&[&str]) -> Option<()>,
) -> Result<(), ParseError> {
    let place = path.display().to_string();
    let text = fs::read_to_string(path)
        .map_err(|error| ParseError::of(&place, &error.to_string(), "a file that the run wrote"))?;
    let Some(text) = text.strip_suffix('\n') else {
        return Err(ParseError::of(&place, "no newline at its end", "a file that was written to its end"));
    };
    for (index, line) in text.split('\n').enumerate() {
        let understood = match index {
            0 => (line == header).then_some(()),
            _ => take(&line.split(',').collect::<Vec<_>>()),
        };
        understood.ok_or_else(|| {
            ParseError::at_line(&place, index + 1, line, format!("'{header}', ascending, no line twice"))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::documented;

    #[test]
    fn each_column_is_defined() {
        for (file, header) in [
            ("nodes.csv", NODES_HEADER),
            ("ledgers.csv", LEDGERS_HEADER),
            ("exchanges.csv", EXCHANGES_HEADER),
            ("receipts.csv", RECEIPTS_HEADER),
            ("clients.csv", CLIENTS_HEADER),
            ("rounds-<id>.csv", super::super::rounds::HEADER),
        ] {
            assert_eq!(documented(&format!("`{file}`")).join(","), header, "docs/files.md, {file}");
        }
    }
}
