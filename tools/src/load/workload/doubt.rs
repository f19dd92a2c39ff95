//! Chains that do not know which coin they have.
//!
//! When a transaction that crosses shards was rejected or has expired, a coin of it may have been spent and given back
//! as another coin, may still be on its way to that, or may never have been touched. So its chains rest for a while and
//! then request from a member of their shard which of the coins in question can be spent. A chain that goes on with the
//! old coin keeps the refund in mind until a transaction of it finishes, since the rejected one may still be executed
//! in its shard before it expires there.

use std::collections::BTreeSet;

use wire::ids::{CoinId, NodeId};
use wire::limits::QUERY_COINS_MAX;

use super::Workload;
use super::chain::State;

/// How long a chain rests before its coins are requested, and requested again. As long as a receipt may take to be
/// followed by the blocks that make it true in every shard.
pub(super) const DOUBT_US: u64 = 2_000_000;
/// Refunds a chain keeps in mind; the oldest is settled for long when there are more.
const REFUNDS_MAX: usize = 8;
/// Chains in one request.
const CHAINS_MAX: usize = QUERY_COINS_MAX / (REFUNDS_MAX + 1);

impl Workload {
    /// Lets a chain rest, and then requests its coins.
    pub(super) fn begin_doubt(&mut self, index: u32, now_us: u64) {
        self.chains[index as usize].state = State::Doubtful;
        if let Some(node) = self.asked_of(index) {
            self.pool_mut(node).doubtful.push_back((now_us + DOUBT_US, index));
        }
    }

    /// The node of which the coins of a chain are requested: its home, or another member that answers.
    fn asked_of(&self, index: u32) -> Option<NodeId> {
        let node = self.successor(self.home(index), index)?;
        let answers = |node: &NodeId| !self.pool(*node).is_gone && !self.pool(*node).is_silent;
        Some(if answers(&node) { node } else { self.members_of(node).find(answers).unwrap_or(node) })
    }

    /// A chain's coin may be given back as this one.
    pub(super) fn keep_in_mind(&mut self, index: u32, refund: CoinId) {
        let refunds = &mut self.chains[index as usize].refunds;
        if refunds.len() == REFUNDS_MAX {
            refunds.remove(0);
        }
        refunds.push(refund);
    }

    /// The coins to be requested from `node` now. One request at a time is open at a node.
    pub(crate) fn take_coin_request(&mut self, node: NodeId, now_us: u64) -> Vec<CoinId> {
        let pool = self.pool_mut(node);
        if !pool.coins_requested.is_empty() {
            return Vec::new();
        }
        let due = pool.doubtful.iter().take(CHAINS_MAX).take_while(|(due_us, _)| *due_us <= now_us).count();
        let asked: Vec<u32> = pool.doubtful.drain(..due).map(|(_, index)| index).collect();
        let chains = asked.iter().map(|index| &self.chains[*index as usize]);
        let coins = chains.flat_map(|chain| [chain.coin].into_iter().chain(chain.refunds.iter().copied()));
        let coins = coins.collect();
        self.pool_mut(node).coins_requested = asked;
        coins
    }

    /// Takes the answer of `node` to the last request: those of the coins that can be spent.
    pub(crate) fn on_coins(&mut self, node: NodeId, unspent: &[(CoinId, u64)], now_us: u64) {
        let unspent: BTreeSet<CoinId> = unspent.iter().map(|(coin, _)| *coin).collect();
        for index in std::mem::take(&mut self.pool_mut(node).coins_requested) {
            let home = self.home(index);
            let chain = &mut self.chains[index as usize];
            if let Some(refund) = chain.refunds.iter().copied().find(|coin| unspent.contains(coin)) {
                chain.previous = Some(std::mem::replace(&mut chain.coin, refund));
                chain.refunds.clear();
                chain.state = State::Idle;
                self.tally.coins_given_back += 1;
                self.make_idle(index, home);
            } else if unspent.contains(&chain.coin) {
                chain.state = State::Idle;
                self.make_idle(index, home);
            } else {
                self.begin_doubt(index, now_us);
            }
        }
    }

    /// Chains that do not know their coin.
    pub(crate) fn doubtful(&self) -> u64 {
        self.pools.iter().map(|pool| (pool.doubtful.len() + pool.coins_requested.len()) as u64).sum()
    }

    /// Chains that have stopped: a transaction of theirs was lost, refused for good, or rejected for no known reason.
    pub(crate) fn dead(&self) -> u64 {
        self.dead
    }

    /// Nothing is open anywhere: the coins of every chain in doubt are requested now.
    pub(crate) fn settle_doubts(&mut self) {
        self.pools.iter_mut().flat_map(|pool| &mut pool.doubtful).for_each(|(due_us, _)| *due_us = 0);
    }

    /// The answer of `node` to the last request was lost: its coins are requested again.
    pub(crate) fn forget_coin_request(&mut self, node: NodeId) {
        let pool = self.pool_mut(node);
        for index in std::mem::take(&mut pool.coins_requested) {
            pool.doubtful.push_front((0, index));
        }
    }
}
