//! What a run leaves behind for `tools verify`: the nodes' last words and the client's own record.
//!
//! `nodes.csv` has a line a node with its last status; of a node that was down at the end only that. `receipts.csv`
//! has a line a height of a shard with how many receipts the client got that name it. Both are written by `tools local`, from
//! what came over the client's sessions, so they are a second source beside the files the nodes write themselves.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use wire::client::NodeStatus;
use wire::committee::Committee;
use wire::hex;
use wire::ids::{Digest, NodeId, Round, ShardId};
use wire::text::ParseError;

/// The last status of a node that was up at the end of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LastStatus {
    /// The last executed round.
    pub(crate) executed: Round,
    /// Digest of its header.
    pub(crate) header: Digest,
    /// Transactions finished.
    pub(crate) finished: u64,
    /// Transactions rejected.
    pub(crate) rejected: u64,
    /// Unspent coins.
    pub(crate) coins: u64,
    /// The sum of their amounts, counted coin by coin.
    pub(crate) value: u128,
}

impl From<&NodeStatus> for LastStatus {
    fn from(status: &NodeStatus) -> LastStatus {
        LastStatus {
            executed: status.executed,
            header: status.header,
            finished: status.finished,
            rejected: status.rejected,
            coins: status.coins,
            value: status.value,
        }
    }
}

/// What is checked beside the nodes' own files.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Record {
    /// Each node's last status; `None` if it was down at the end.
    pub(crate) nodes: BTreeMap<NodeId, Option<LastStatus>>,
    /// How many receipts told a transaction finished in this shard at this height.
    pub(crate) receipts: BTreeMap<(ShardId, Round), u64>,
}

const NODES_HEADER: &str = "node,state,executed,header,finished,rejected,coins,value";
const RECEIPTS_HEADER: &str = "shard,height,finished";

impl Record {
    /// The members of a shard, ascending, with their last statuses.
    pub(crate) fn members(
        &self,
        committee: &Committee,
        shard: ShardId,
    ) -> impl Iterator<Item = (NodeId, Option<&LastStatus>)> {
        committee.members(shard).filter_map(|node| Some((node, self.nodes.get(&node)?.as_ref())))
    }

    /// Writes both files.
    pub(crate) fn save(&self, log: &Path) -> io::Result<()> {
        let mut text = format!("{NODES_HEADER}\n");
        for (node, status) in &self.nodes {
            match status {
                Some(status) => writeln!(
                    text,
                    "{node},up,{},{},{},{},{},{}",
                    status.executed,
                    hex::encode(&status.header.0),
                    status.finished,
                    status.rejected,
                    status.coins,
                    status.value
                ),
                None => writeln!(text, "{node},down,,,,,,"),
            }
            .expect("writing to a String does not fail");
        }
        fs::write(log.join("nodes.csv"), text)?;
        let mut text = format!("{RECEIPTS_HEADER}\n");
        for ((shard, height), count) in &self.receipts {
            writeln!(text, "{shard},{height},{count}").expect("writing to a String does not fail");
        }
        fs::write(log.join("receipts.csv"), text)
    }

    /// Reads both files.
    pub(crate) fn load(log: &Path) -> Result<Record, ParseError> {
        let mut record = Record::default();
        each_line(&log.join("nodes.csv"), NODES_HEADER, |words| {
            let words: &[&str; 8] = words.try_into().ok()?;
            let node = NodeId(words[0].parse().ok()?);
            let status = match words[1] {
                "down" => None,
                "up" => Some(LastStatus {
                    executed: Round(words[2].parse().ok()?),
                    header: Digest(hex::decode_32(words[3])?),
                    finished: words[4].parse().ok()?,
                    rejected: words[5].parse().ok()?,
                    coins: words[6].parse().ok()?,
                    value: words[7].parse().ok()?,
                }),
                _ => return None,
            };
            record.nodes.insert(node, status).is_none().then_some(())
        })?;
        each_line(&log.join("receipts.csv"), RECEIPTS_HEADER, |words| {
            let words: &[&str; 3] = words.try_into().ok()?;
            let place = (ShardId(words[0].parse().ok()?), Round(words[1].parse().ok()?));
            record.receipts.insert(place, words[2].parse().ok()?).is_none().then_some(())
        })?;
        Ok(record)
    }
}

fn each_line(
    path: &Path,
    header: &str,
    mut take: impl FnMut(&[&str]) -> Option<()>,
) -> Result<(), ParseError> {
    let place = path.display().to_string();
    let text = fs::read_to_string(path)
        .map_err(|error| ParseError::of(&place, &error.to_string(), "a file that 'tools local' writes"))?;
    for (index, line) in text.lines().enumerate() {
        let understood = match index {
            0 => (line == header).then_some(()),
            _ => take(&line.split(',').collect::<Vec<_>>()),
        };
        understood.ok_or_else(|| ParseError::at_line(&place, index + 1, line, format!("'{header}'")))?;
    }
    Ok(())
}
