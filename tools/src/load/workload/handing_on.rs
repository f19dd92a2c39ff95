//! Transactions whose contact is silent: they are queried at other members of its shard, and submitted there if
//! unknown.
//!
//! The id of a transaction makes that safe. Whoever orders it, and however often, it executes once, and every member
//! reports the same end. So the first final receipt counts, whoever sends it; when the silent one is back, its receipts
//! repeat what is known. A refusal of it means nothing any more, since another member has the transaction.
//!
//! Chains stay at their nodes: when the transaction has its end, its chain goes on where it was, and meanwhile others
//! borrow the chains that are idle there. So a node that is back has the work it had.

use wire::ids::NodeId;

use super::chain::{Query, State};
use super::{Pool, Workload};

impl Workload {
    /// Hands on all that is open at a node to these other members of its shard, evenly; nothing if there are none. Each
    /// of them is to be asked first.
    pub(crate) fn hand_on(&mut self, from: NodeId, to: &[NodeId]) {
        if to.is_empty() {
            return;
        }
        let Pool { open, again, to_query, doubtful, is_gone, .. } = self.pool_mut(from);
        let (open, doubtful, was_orphaned) = (std::mem::take(open), std::mem::take(doubtful), *is_gone);
        again.clear();
        to_query.clear();
        self.orphaned -= if was_orphaned { open.len() as u64 } else { 0 };
        self.tally.handed_on += open.len() as u64;
        for (index, node) in open.into_iter().zip(to.iter().copied().cycle()) {
            let position = self.open_at(node);
            let State::Open(open) = &mut self.chains[index as usize].state else {
                unreachable!("the list knows open transactions only")
            };
            (open.node, open.position, open.query) = (node, position, Query::HandedOn);
            let id = open.id;
            let pool = self.pool_mut(node);
            pool.open.push(index);
            pool.to_query.insert(id);
        }
        for (waits, node) in doubtful.into_iter().zip(to.iter().copied().cycle()) {
            self.pool_mut(node).doubtful.push_back(waits);
        }
        // Requests go out in the order in which they are due.
        to.iter().for_each(|node| self.pool_mut(*node).doubtful.make_contiguous().sort_unstable());
    }

    /// Asks again for what found no room a moment ago.
    pub(crate) fn retry(&mut self, now_us: u64) {
        while let Some(&(due_us, id)) = self.to_retry.front()
            && due_us <= now_us
        {
            self.to_retry.pop_front();
            let Some(index) = self.by_id.get(&id) else { continue };
            if let State::Open(open) = &self.chains[*index as usize].state {
                let node = open.node;
                self.pool_mut(node).to_query.insert(id);
            }
        }
    }

    /// Whether a node is silent: others may take its chains.
    pub(crate) fn note_silence(&mut self, node: NodeId, is_silent: bool) {
        self.pool_mut(node).is_silent = is_silent;
    }

    /// An idle chain of a silent member of the shard of `node`.
    pub(super) fn borrow(&mut self, node: NodeId) -> Option<(u32, NodeId)> {
        let is_silent = |other: &NodeId| *other != node && self.pool(*other).is_silent;
        let silent: Vec<NodeId> = self.members_of(node).filter(is_silent).collect();
        silent.into_iter().find_map(|other| Some((self.idle.pop(other)?, other)))
    }
}
