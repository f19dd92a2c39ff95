//! Why nothing moves: which processes are gone and their last words, which quorum is missing, and what the nodes that
//! are up wait for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use bft::sim::Conduct;
use wire::client::NodeStatus;
use wire::committee::Committee;
use wire::ids::{Index, NodeId, ShardId};

use super::directories::Directories;
use crate::client::DownReason;
use crate::ids;
use crate::lag;

/// The symptoms of a testbed that stands still.
pub(crate) struct Symptoms<'a> {
    pub(crate) committee: &'a Committee,
    /// Nodes whose first process runs.
    pub(crate) up: &'a [NodeId],
    /// Byzantine nodes, which are not among them.
    pub(crate) liars: &'a BTreeMap<NodeId, Conduct>,
    /// How the others ended, in words; what they wrote last was printed when they did.
    pub(crate) ends: &'a BTreeMap<NodeId, String>,
    /// The statuses of nodes that are up.
    pub(crate) statuses: &'a BTreeMap<NodeId, NodeStatus>,
    /// Why connections to nodes are down.
    pub(crate) down: &'a BTreeMap<NodeId, DownReason>,
    pub(crate) directories: &'a Directories,
}

/// The findings, the gravest first.
pub(crate) fn diagnose(symptoms: &Symptoms<'_>) -> Vec<String> {
    let Symptoms { committee, up, liars, ends, statuses, down, directories } = symptoms;
    let mut notes = Vec::new();
    let shards = (0..committee.shards()).map(ShardId);
    notes.extend(shards.filter_map(|shard| missing_quorum(committee, shard, up)));
    notes.extend(liars.iter().map(|(node, how)| format!("node {node} is Byzantine: {}", how.name())));
    for (node, end) in *ends {
        notes.push(format!("node {node} {end}"));
    }
    let lags = lag::rounds_behind(committee, statuses.iter().map(|(node, status)| (*node, status)));
    for node in *up {
        notes.push(match (statuses.get(node), down.get(node)) {
            (Some(status), _) => waiting(committee, *node, status, lags[node]),
            (None, Some(reason)) => format!("node {node} is up but cannot be reached: {reason}"),
            (None, None) => {
                format!("node {node} is up but does not answer{}", last_words(directories, *node))
            }
        });
    }
    notes
}

/// The note that too few members of a shard are up, if that is so.
fn missing_quorum(committee: &Committee, shard: ShardId, up: &[NodeId]) -> Option<String> {
    let quorum = committee.quorum();
    let up: Vec<u16> =
        up.iter().filter(|node| committee.shard_of(**node) == shard).map(|node| node.0).collect();
    let whose = if committee.shards() > 1 { format!("shard {shard}: ") } else { String::new() };
    (up.len() < quorum).then(|| {
        format!(
            "{whose}{} of {} nodes are up ({}), but a quorum is {quorum}: nothing can be decided until {} more are",
            up.len(),
            committee.n(),
            listed(up.iter().copied()),
            quorum - up.len()
        )
    })
}

fn waiting(committee: &Committee, node: NodeId, status: &NodeStatus, behind: u64) -> String {
    let shard = committee.shard_of(node);
    let mut text =
        format!("node {node} has decided round {} and executed {}", status.decided, status.executed);
    if behind > lag::LEVEL_ROUNDS {
        text += &format!(", is {} rounds behind", lag::grouped(behind));
    }
    if let Some(view) = status.view {
        text += &format!(", is in view {view}");
    }
    if let Some(why) = lag::lacks_history(status) {
        text += &format!(", {why}");
    }
    match &status.waiting_for {
        Some(waiting) => {
            text += &format!(
                ", waits for {} of {}: has {} ({})",
                waiting.needed,
                waiting.phase,
                waiting.from.len(),
                listed(waiting.from.iter().map(|index| committee.node_at(shard, Index(*index)).0))
            );
        }
        None => text += ", waits for nothing",
    }
    text + &format!(
        "; linked to {}; {} in its mempool",
        if status.peers_up.is_empty() {
            "no node".into()
        } else {
            ids::numbers_text("node", status.peers_up.iter().map(|peer| u64::from(*peer)))
        },
        status.mempool
    )
}

fn listed(ids: impl Iterator<Item = u16>) -> String {
    let list = ids::list(ids.map(u64::from));
    if list.is_empty() { "none".into() } else { list }
}

/// The last line that any process of a node wrote to standard error, or else to the node's log; with a lead-in, or
/// empty if there is none.
pub(crate) fn last_words(directories: &Directories, node: NodeId) -> String {
    let paths = [directories.stderr(node), directories.log.join(format!("consensus-node-{node}.log"))];
    let line = paths.iter().find_map(|path| last_line(path));
    line.map(|line| format!("; its last words: {line}")).unwrap_or_default()
}

/// The last line of a file that is not empty; `None` if there is none.
fn last_line(path: &Path) -> Option<String> {
    /// Enough for any line worth printing.
    const TAIL_BYTES: u64 = 4096;
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    tail.lines().map(str::trim).rfind(|line| !line.is_empty()).map(String::from)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use wire::client::Waiting;
    use wire::committee::{Member, Protocol};
    use wire::ids::Round;

    use super::*;
    use crate::testing::TestDir;

    #[test]
    fn a_missing_quorum_the_dead_and_the_waiting_are_named() {
        let dir = TestDir::new();
        let directories = Directories { log: dir.path().into(), data: dir.path().into() };
        let member = Member { public_key: [1; 32], coin_commitment: [2; 32] };
        let committee = Committee::new(4, Protocol::default(), vec![member; 4], [0; 32]);
        fs::write(directories.stderr(NodeId(3)), "first\nthe disk is full\n\n").unwrap();
        assert_eq!(last_words(&directories, NodeId(3)), "; its last words: the disk is full");
        let ends = BTreeMap::from([
            (NodeId(2), "was crashed as planned".to_string()),
            (NodeId(3), "ended unasked (exit status: 1)".to_string()),
        ]);
        let waiting = Waiting { phase: "FINISH of view 0".into(), needed: 3, from: vec![0, 1] };
        let status = NodeStatus {
            decided: Round(14),
            executed: Round(13),
            view: Some(0),
            waiting_for: Some(waiting),
            peers_up: vec![1, 3],
            mempool: 70,
            ..NodeStatus::default()
        };
        let notes = diagnose(&Symptoms {
            committee: &committee,
            up: &[NodeId(0), NodeId(1)],
            liars: &BTreeMap::from([(NodeId(2), Conduct::BadShare)]),
            ends: &ends,
            statuses: &BTreeMap::from([(NodeId(0), status)]),
            down: &BTreeMap::from([(NodeId(1), String::from("Connection refused").into())]),
            directories: &directories,
        });
        assert_eq!(
            notes,
            [
                "2 of 4 nodes are up (0-1), but a quorum is 3: nothing can be decided until 1 more are",
                "node 2 is Byzantine: bad-share",
                "node 2 was crashed as planned",
                "node 3 ended unasked (exit status: 1)",
                "node 0 has decided round 14 and executed 13, is in view 0, waits for 3 of FINISH of view 0: has 2 \
                 (0-1); linked to nodes 1+3; 70 in its mempool",
                "node 1 is up but cannot be reached: Connection refused",
            ]
        );
    }

    #[test]
    fn the_shard_without_a_quorum_is_named() {
        let member = Member { public_key: [1; 32], coin_commitment: [2; 32] };
        let committee = Committee::new(4, Protocol::default(), vec![member; 8], [0; 32]);
        let up: Vec<NodeId> = [0, 1, 2, 3, 4, 6].map(NodeId).into();
        assert_eq!(missing_quorum(&committee, ShardId(0), &up), None);
        let note = missing_quorum(&committee, ShardId(1), &up).unwrap();
        assert!(note.starts_with("shard 1: 2 of 4 nodes are up (4+6), but a quorum is 3"), "{note}");
        let waiting_for = Waiting { phase: "FINISH of view 0".into(), needed: 3, from: vec![0, 2] };
        let status = NodeStatus { waiting_for: Some(waiting_for), ..NodeStatus::default() };
        let note = waiting(&committee, NodeId(6), &status, 1_204);
        assert!(note.contains("has 2 (4+6); linked to no node; "), "members by their ids: {note}");
        assert!(note.contains(", is 1,204 rounds behind, waits"), "{note}");
        let status = NodeStatus { history_lost: Some(Round(9)), ..status };
        let note = waiting(&committee, NodeId(6), &status, 1_204);
        let part = ", is behind every history: it needs round 1, members keep no round before 9, and it takes over \
                    their state, waits";
        assert!(note.contains(part), "{note}");
    }

    #[test]
    fn the_last_line_of_a_long_log_is_found() {
        let dir = TestDir::new();
        let path = dir.path().join("x");
        fs::write(&path, format!("{}\nthe end\n", "x".repeat(10_000))).unwrap();
        assert_eq!(last_line(&path).as_deref(), Some("the end"));
        fs::write(&path, "\n \n").unwrap();
        assert_eq!(last_line(&path), None);
        assert_eq!(last_line(&dir.path().join("absent")), None);
    }
}
