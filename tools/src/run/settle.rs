//! The beginning of a run that goes on: it closes the files of the last run, and keeps the figures of earlier ones
//! apart.
//!
//! Nodes that go on from journals keep what their cores have counted and all blocks in their files. The judgement is of
//! all of that; the figures of a run are its own.

use std::collections::BTreeSet;
use std::thread;
use std::time::Instant;

use wire::committee::Committee;
use wire::ids::{NodeId, ShardId};

use super::error::{RunError, StartError};
use super::fleet::UnaskedEnd;
use super::ongoing::{DRAIN, Run, STEP};
use super::summary::Counters;
use crate::guest::put_aside;
use crate::load::Shared;
use crate::signals;

/// Blocks of earlier runs, and what happened in them.
#[derive(Clone, Copy, Default)]
pub(super) struct Before {
    /// Of all shards together.
    pub(super) rounds: u64,
    /// Refunds of cross-shard transactions, once for each shard.
    pub(super) refunds: u64,
}

impl Before {
    /// By the last statuses of nodes: of each shard that of the member that has executed most.
    fn of(committee: &Committee, shared: &Shared) -> Before {
        let mut before = Before::default();
        for shard in (0..committee.shards()).map(ShardId) {
            let members = committee.members(shard).filter_map(|node| shared.statuses.get(&node));
            let Some(farthest) = members.map(|heard| &heard.status).max_by_key(|status| status.executed)
            else {
                continue;
            };
            before.rounds += farthest.executed.0;
            before.refunds += farthest.exchanged.iter().map(|exchange| exchange.refunded.count).sum::<u64>();
        }
        before
    }
}

impl Run<'_> {
    /// The error that these nodes have ended while they did their journals again. If a shard can spare them, it says
    /// how to go on without their signatures.
    pub(super) fn not_resumed(&self, ends: Vec<UnaskedEnd>) -> StartError {
        let committee = &self.prepared.committee;
        let lost: BTreeSet<NodeId> =
            self.plan.follow.iter().copied().chain(ends.iter().map(|end| end.node)).collect();
        let can_spare =
            |shard| committee.members(shard).filter(|node| lost.contains(node)).count() <= committee.f();
        let can_follow = (0..committee.shards()).map(ShardId).all(can_spare);
        StartError::NotResumed { ends, follow: can_follow.then_some(lost) }
    }

    /// A run that goes on waits until what the last one left open has ended: coins that are listed as unspent then stay
    /// so until this load spends them.
    pub(crate) fn settle(&mut self) -> Result<(), RunError> {
        let began = Instant::now();
        while self.resumed.is_some() && !self.nothing_is_open() {
            if signals::is_interrupted() {
                return Err(RunError::Interrupted);
            }
            let ends = self.fleet.observe();
            if !ends.is_empty() {
                return Err(StartError::NodesEnded(ends).into());
            }
            if began.elapsed() > DRAIN {
                self.progress
                    .print("what the last run left open stays open; its coins may be spent before this load");
                break;
            }
            thread::sleep(STEP);
        }
        if self.resumed.is_some() {
            self.put_figures_aside()?;
            let committee = &self.prepared.committee;
            self.before = self.offering.look_at(|shared| Before::of(committee, shared));
            // Cores keep this count across starts, as their journals make them; the others are of their processes.
            self.counted_before.came_early = self.offering.look_at(Counters::of).came_early;
        }
        Ok(())
    }

    /// Makes room for the figures of this load. Only now, so that a run which cannot go on leaves those of the last
    /// load where they are.
    fn put_figures_aside(&self) -> Result<(), StartError> {
        let aside = put_aside(&self.plan.directories.log).map_err(StartError::Hosts)?;
        if let Some(aside) = aside {
            self.progress
                .print(&format!("the figures of the load before this one are in {}", aside.display()));
        }
        Ok(())
    }
}
