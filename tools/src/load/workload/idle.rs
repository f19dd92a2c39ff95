//! Idle chains by node, and which nodes of each shard have any.
//!
//! A transaction costs the same however many nodes and chains there are: the nodes of a shard that have an idle chain
//! stand in a list of their own, in which each knows its position.

use bft::prng::Prng;
use wire::committee::Committee;
use wire::ids::{NodeId, ShardId};

/// See the module.
#[derive(Debug)]
pub(super) struct Idle {
    /// By node.
    nodes: Vec<Stock>,
    /// By shard: its nodes that have an idle chain, in no order.
    stocked: Vec<Vec<NodeId>>,
}

#[derive(Clone, Debug)]
struct Stock {
    shard: ShardId,
    chains: Vec<u32>,
    /// In the list of its shard, while it has a chain.
    position: usize,
}

impl Idle {
    /// No chain is idle.
    pub(super) fn new(committee: &Committee) -> Idle {
        let stock = |node| Stock { shard: committee.shard_of(node), chains: Vec::new(), position: 0 };
        Idle {
            nodes: committee.nodes().map(stock).collect(),
            stocked: vec![Vec::new(); usize::from(committee.shards())],
        }
    }

    /// A chain of `node` is idle.
    pub(super) fn push(&mut self, node: NodeId, chain: u32) {
        let stock = &mut self.nodes[usize::from(node.0)];
        if stock.chains.is_empty() {
            let stocked = &mut self.stocked[usize::from(stock.shard.0)];
            stock.position = stocked.len();
            stocked.push(node);
        }
        stock.chains.push(chain);
    }

    /// Takes the idle chain of `node` that came back last: what is used often stays in the processor's caches.
    pub(super) fn pop(&mut self, node: NodeId) -> Option<u32> {
        let stock = &mut self.nodes[usize::from(node.0)];
        let chain = stock.chains.pop()?;
        if stock.chains.is_empty() {
            self.unlist(node);
        }
        Some(chain)
    }

    /// Takes an idle chain of a shard: of two random nodes that have one, from the node that has more, so that chains
    /// stay spread evenly.
    pub(super) fn pop_of(&mut self, shard: ShardId, prng: &mut Prng) -> Option<u32> {
        let stocked = &self.stocked[usize::from(shard.0)];
        if stocked.is_empty() {
            return None;
        }
        let mut random = || stocked[prng.below(stocked.len() as u64) as usize];
        let two = [random(), random()];
        let from = two.into_iter().max_by_key(|node| self.nodes[usize::from(node.0)].chains.len())?;
        self.pop(from)
    }

    /// Takes all idle chains of `node`.
    pub(super) fn take(&mut self, node: NodeId) -> Vec<u32> {
        let chains = std::mem::take(&mut self.nodes[usize::from(node.0)].chains);
        if !chains.is_empty() {
            self.unlist(node);
        }
        chains
    }

    /// Takes a node without idle chains off the list of its shard.
    fn unlist(&mut self, node: NodeId) {
        let Stock { shard, position, .. } = self.nodes[usize::from(node.0)];
        let stocked = &mut self.stocked[usize::from(shard.0)];
        stocked.swap_remove(position);
        if let Some(moved) = stocked.get(position) {
            self.nodes[usize::from(moved.0)].position = position;
        }
    }

    /// How many chains are idle.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.nodes.iter().map(|stock| stock.chains.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use bft::crypto::deal::{deal_committee, seeded_entropy};
    use wire::committee::Protocol;

    use super::*;

    #[test]
    fn the_list_of_a_shard_holds_exactly_its_nodes_with_an_idle_chain() {
        let (committee, _) = deal_committee(4, 2, Protocol::default(), seeded_entropy(7));
        let (mut idle, mut prng) = (Idle::new(&committee), Prng::new(3));
        for step in 0..4_000 {
            let node = NodeId(prng.below(8) as u16);
            match prng.below(5) {
                0..=2 => idle.push(node, step),
                3 => _ = idle.pop(node),
                _ if step % 50 == 0 => _ = idle.take(node),
                _ => _ = idle.pop_of(committee.shard_of(node), &mut prng),
            }
            for shard in [ShardId(0), ShardId(1)] {
                let mut listed = idle.stocked[usize::from(shard.0)].clone();
                listed.sort_unstable();
                let has_any = |node: &NodeId| !idle.nodes[usize::from(node.0)].chains.is_empty();
                assert!(committee.members(shard).filter(has_any).eq(listed), "step {step}");
            }
        }
        let mut left = [ShardId(0), ShardId(1)]
            .map(|shard| std::iter::from_fn(|| idle.pop_of(shard, &mut prng)).count());
        left.sort_unstable();
        assert!(left[0] > 0 && idle.count() == 0, "every chain is found: {left:?}");
    }
}
