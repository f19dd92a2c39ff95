//! The whole ledgers of nodes that run, compared with each other: coins, records, pool, all of it.
//!
//! Nodes add their ledgers up ([`wire::audit`]) and send 64 KB of sums, so a comparison costs the same however large
//! ledgers are. Members of a shard that stand at one height must have the same sums; where one has not, the first
//! bucket that differs is fetched from it and from one of the others, and the first item that differs is said in words.

mod ask;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use bft::ledger::Item;
use wire::audit::{Question, Section, Sums};
use wire::client::Reply;
use wire::committee::Committee;
use wire::hosts::Hosts;
use wire::ids::{Digest, NodeId, Round, ShardId};

use self::ask::ask;
use super::differ::first_difference;

/// How long to wait until members of one shard stand at one height, and between two looks; a node gives the same
/// answer for half a second.
const LEVEL_PATIENCE: Duration = Duration::from_secs(3);
const LEVEL_PAUSE: Duration = Duration::from_millis(600);

/// The ledger of a node at the end of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LastLedger {
    pub(crate) height: Round,
    /// A digest for each section.
    pub(crate) sections: [Digest; Section::ALL.len()],
    /// What it is in which it differs first from those of most others, in words without commas; empty if it does not.
    pub(crate) differs: String,
}

impl LastLedger {
    pub(super) fn of(sums: &Sums) -> LastLedger {
        let sections = Section::ALL.map(|section| sums.of(section).digest());
        LastLedger { height: sums.height, sections, differs: String::new() }
    }
}

/// Looks at the ledgers of these nodes; those that do not answer in time are missing.
pub(crate) fn look(
    committee: &Committee,
    hosts: &Hosts,
    nodes: &[NodeId],
    patience: Duration,
) -> BTreeMap<NodeId, LastLedger> {
    let sums = level_sums(committee, hosts, nodes, patience);
    let mut ledgers: BTreeMap<NodeId, LastLedger> =
        sums.iter().map(|(node, sums)| (*node, LastLedger::of(sums))).collect();
    for (shard, height) in heights(committee, &sums) {
        let here =
            sums.iter().filter(|(node, sums)| committee.shard_of(**node) == shard && sums.height == height);
        let digests: BTreeMap<NodeId, Digest> = here.map(|(node, sums)| (*node, sums.digest())).collect();
        let Some((first, others)) = odd_ones(&digests) else { continue };
        for node in others {
            let differences = sums[&first].differences(&sums[&node]);
            let words = in_words(committee, hosts, first, node, &differences, patience);
            if let Some(ledger) = ledgers.get_mut(&node) {
                ledger.differs = words.replace(',', ";");
            }
        }
    }
    ledgers
}

/// The sums of all nodes, asked again for a moment while members of one shard stand at different heights.
fn level_sums(
    committee: &Committee,
    hosts: &Hosts,
    nodes: &[NodeId],
    patience: Duration,
) -> BTreeMap<NodeId, Sums> {
    let questions = nodes.iter().map(|node| (*node, Question::Sums)).collect();
    let began = Instant::now();
    loop {
        let sums: BTreeMap<NodeId, Sums> = ask(committee, hosts, &questions, patience)
            .into_iter()
            .filter_map(|(node, reply)| match reply {
                Reply::LedgerSums(sums) => Some((node, *sums)),
                _ => None,
            })
            .collect();
        let is_level = heights(committee, &sums).len() <= usize::from(committee.shards());
        if is_level || began.elapsed() >= LEVEL_PATIENCE {
            return sums;
        }
        thread::sleep(LEVEL_PAUSE);
    }
}

/// Each height of each shard, once.
fn heights(committee: &Committee, sums: &BTreeMap<NodeId, Sums>) -> Vec<(ShardId, Round)> {
    let mut heights: Vec<_> =
        sums.iter().map(|(node, sums)| (committee.shard_of(*node), sums.height)).collect();
    heights.sort_unstable();
    heights.dedup();
    heights
}

/// A node with the ledger that most have (that of the least node, if as many have another), and those that have not;
/// `None` if all have the same.
pub(crate) fn odd_ones<T: Ord>(ledgers: &BTreeMap<NodeId, T>) -> Option<(NodeId, Vec<NodeId>)> {
    let mut by_ledger: BTreeMap<&T, Vec<NodeId>> = BTreeMap::new();
    for (node, ledger) in ledgers {
        by_ledger.entry(ledger).or_default().push(*node);
    }
    let most = by_ledger.values().max_by_key(|nodes| (nodes.len(), std::cmp::Reverse(nodes[0])))?;
    let others: Vec<NodeId> = ledgers.keys().copied().filter(|node| !most.contains(node)).collect();
    (!others.is_empty()).then_some((most[0], others))
}

/// What differs first between two nodes that run.
fn in_words(
    committee: &Committee,
    hosts: &Hosts,
    one: NodeId,
    other: NodeId,
    differences: &[(Section, u8)],
    patience: Duration,
) -> String {
    let Some((section, bucket)) = differences.first().copied() else { return String::new() };
    let question = Question::Items { section, bucket };
    let questions = [one, other].map(|node| (node, question)).into();
    let replies = ask(committee, hosts, &questions, patience);
    let items = |node: NodeId| -> Option<Vec<Item>> {
        let Some(Reply::LedgerItems { items, .. }) = replies.get(&node) else { return None };
        items.iter().map(|item| Item::decode(item).ok()).collect()
    };
    let words = items(one).zip(items(other)).and_then(|(ours, theirs)| {
        let difference = first_difference(&ours, &theirs)?;
        Some(difference.in_words(&format!("node {one}"), &format!("node {other}")))
    });
    words.unwrap_or_else(|| format!("items of section '{section}' that these nodes did not list"))
}
