//! A block while it is executed: what it has done so far, and what it has for other shards.

use std::collections::BTreeMap;
use std::sync::Arc;

use wire::ids::{Digest, Round, ShardId};

use crate::ledger::links::Links;
use crate::ledger::outcome::{BlockOutcome, Counts, CrossEvent, Executed};
use crate::part::{Group, Part, PartDigests, PartRef};

/// See the module.
pub(super) struct Block {
    pub(super) round: Round,
    shard: ShardId,
    pub(super) transactions: Vec<Executed>,
    cross: Vec<CrossEvent>,
    imported: Vec<PartRef>,
    groups: BTreeMap<ShardId, Group>,
    pub(super) invalid_entries: u64,
    counts: Counts,
}

impl Block {
    pub(super) fn new(round: Round, shard: ShardId) -> Block {
        Block {
            round,
            shard,
            transactions: Vec::new(),
            cross: Vec::new(),
            imported: Vec::new(),
            groups: BTreeMap::new(),
            invalid_entries: 0,
            counts: Counts::default(),
        }
    }

    pub(super) fn executed(&mut self, executed: Executed) {
        self.counts.add(executed.outcome);
        self.transactions.push(executed);
    }

    pub(super) fn event(&mut self, event: CrossEvent) {
        self.counts.add_cross(&event);
        self.cross.push(event);
    }

    pub(super) fn imported(&mut self, part: PartRef) {
        self.imported.push(part);
    }

    /// The group for another shard.
    pub(super) fn group(&mut self, destination: ShardId, links: &Links) -> &mut Group {
        let (shard, round) = (self.shard, self.round);
        self.groups
            .entry(destination)
            .or_insert_with(|| Group::new(shard, destination, round, links.sent(destination).next()))
    }

    /// All that the block did; takes note of the numbers given to its parts.
    pub(super) fn finish(self, links: &mut Links) -> BlockOutcome {
        let parts: Vec<Part> = self.groups.into_values().flat_map(Group::finish).collect();
        parts.iter().for_each(|part| links.of(part.destination).part_out = part.number);
        let mut outcome = BlockOutcome {
            round: self.round,
            transactions: self.transactions,
            cross: self.cross,
            imported: self.imported,
            outgoing: PartDigests::of(&parts).root(),
            parts: parts.into_iter().map(Arc::new).collect(),
            counts: self.counts,
            invalid_entries: self.invalid_entries,
            digest: Digest::default(),
        };
        outcome.digest = outcome.compute_digest();
        outcome
    }
}
