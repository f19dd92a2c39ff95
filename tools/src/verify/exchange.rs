//! What shards say that they have exchanged, compared with each other.
//!
//! Any time, at every node: unspent coins + inputs held under open records + what went to other shards = genesis + what
//! came from other shards. And members of a shard with the same header have the same books.
//!
//! At rest, when no node has anything open, between any two shards and each with itself: every transaction that
//! spent in A for an output in B was ticked off in B, and there it was finished, whereupon A closed its record, or
//! cancelled, whereupon A gave its coin back (the identities stand at `wire::client::Exchange`). Ids are compared as
//! multisets, so nothing was lost, made up, or both finished and given back.

use wire::client::Exchange;
use wire::committee::Committee;
use wire::ids::{NodeId, ShardId};

use super::record::{LastStatus, Record};
use super::{Place, Verdict};

/// Judges the last statuses.
pub(super) fn check(committee: &Committee, record: &Record, verdict: &mut Verdict) {
    let protocol = committee.protocol();
    let genesis = u128::from(protocol.genesis_coins) * u128::from(protocol.genesis_amount);
    for (node, status) in &record.nodes {
        if let Some(status) = status {
            check_value(*node, status, genesis, verdict);
        }
    }
    let shards = (0..committee.shards()).map(ShardId);
    let books: Vec<Option<Books>> =
        shards.map(|shard| Books::of(committee, record, shard, verdict)).collect();
    for books in books.iter().flatten() {
        let exchanged = &books.status.exchanged;
        verdict.refunds += exchanged.iter().map(|exchange| exchange.refunded.count).sum::<u64>();
        verdict.unrest.extend(books.unrest());
    }
    if verdict.unrest.is_empty() {
        for payer in books.iter().flatten() {
            books.iter().flatten().for_each(|payee| compare(payer, payee, verdict));
        }
    }
}

fn check_value(node: NodeId, status: &LastStatus, genesis: u128, verdict: &mut Verdict) {
    let sum = |value: fn(&Exchange) -> u128| status.exchanged.iter().map(value).sum::<u128>();
    let (gone, come) = (sum(|exchange| exchange.value_out), sum(|exchange| exchange.value_in));
    if status.value + status.held + gone != genesis + come {
        verdict.value_conserved = false;
        verdict.find(format!(
            "node {node} holds coins worth {} and {} under open records, {gone} went to other shards and {come} came \
             from them, but genesis was {genesis}",
            status.value, status.held
        ));
    }
}

/// The books of a shard, as those of its members tell them that are furthest.
struct Books<'a> {
    shard: ShardId,
    /// Who tells them.
    nodes: Vec<NodeId>,
    status: &'a LastStatus,
}

impl<'a> Books<'a> {
    /// `None` if no member was up at the end.
    fn of(
        committee: &Committee,
        record: &'a Record,
        shard: ShardId,
        verdict: &mut Verdict,
    ) -> Option<Books<'a>> {
        let up = || record.members(committee, shard).filter_map(|(node, status)| Some((node, status?)));
        let height = up().map(|(_, status)| status.executed).max()?;
        let mut furthest = up().filter(|(_, status)| status.executed == height);
        let (first, status) = furthest.next()?;
        let mut nodes = vec![first];
        let place = Place { shard, shards: committee.shards() };
        for (node, other) in furthest {
            nodes.push(node);
            if other.books() != status.books() && other.header == status.header {
                verdict.agreement = false;
                verdict.find(format!("{place}nodes {first} and {node} have the same header and other books"));
            }
        }
        Some(Books { shard, nodes, status })
    }

    /// What was still open, in words.
    fn unrest(&self) -> Option<String> {
        let LastStatus { open_records, pool, parts_open, held, .. } = self.status;
        (*open_records + *pool + *parts_open > 0 || *held > 0).then(|| {
            format!(
                "shard {} ended with {open_records} open records over {held}, {pool} in its pool and {parts_open} parts \
                 that are not acknowledged",
                self.shard
            )
        })
    }

    /// What it says that it has exchanged with another.
    fn with(&self, shard: ShardId) -> Exchange {
        let found = self.status.exchanged.iter().find(|exchange| exchange.shard == shard);
        found.cloned().unwrap_or_else(|| Exchange { shard, ..Exchange::default() })
    }

    fn told_by(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(NodeId::to_string).collect();
        nodes.join(", ")
    }
}

/// The identities between a shard that spent and the output shard, which may be the same.
fn compare(payer: &Books<'_>, payee: &Books<'_>, verdict: &mut Verdict) {
    let (out, back) = (payer.with(payee.shard), payee.with(payer.shard));
    let ended = out.closed.plus(out.refunded);
    let pairs = [
        ("spent", format!("{:?}", out.spent), "ticked", format!("{:?}", back.ticked)),
        ("spent", format!("{:?}", out.spent), "closed and refunded", format!("{ended:?}")),
        ("closed", format!("{:?}", out.closed), "finished", format!("{:?}", back.finished)),
        ("refunded", format!("{:?}", out.refunded), "cancelled", format!("{:?}", back.cancelled)),
        ("value out", out.value_out.to_string(), "value in", back.value_in.to_string()),
    ];
    for (here, ours, there, theirs) in pairs {
        if ours != theirs {
            verdict.exchange_holds = false;
            verdict.find(format!(
                "from shard {} to shard {}: {here} is {ours} and {there} is {theirs} (nodes {}; nodes {})",
                payer.shard,
                payee.shard,
                payer.told_by(),
                payee.told_by()
            ));
        }
    }
}
