//! One member of a shard and its tools: passed down to every sub-protocol.

use std::sync::Arc;

use wire::committee::Committee;
use wire::ids::{Index, NodeId, ShardId};

use crate::crypto::suite::Suite;

/// Our identity, our committee and our keys.
#[derive(Clone, Debug)]
pub struct Member {
    /// All nodes and the thresholds.
    pub committee: Arc<Committee>,
    /// Our signatures and coin shares.
    pub suite: Arc<dyn Suite>,
    /// Our shard.
    pub shard: ShardId,
    /// Our index in it.
    pub index: Index,
}

impl Member {
    /// The member of the shard whose node is `node`.
    pub fn new(committee: Arc<Committee>, suite: Arc<dyn Suite>, node: NodeId) -> Member {
        let (shard, index) = (committee.shard_of(node), committee.index_of(node));
        Member { committee, suite, shard, index }
    }

    /// Our node id.
    pub fn node(&self) -> NodeId {
        self.node_at(self.index)
    }

    /// The node with an index in our shard.
    pub fn node_at(&self, index: Index) -> NodeId {
        self.committee.node_at(self.shard, index)
    }

    /// The index of a node in our shard, if it is a member of it.
    pub fn index_of(&self, node: NodeId) -> Option<Index> {
        let here = self.committee.contains(node) && self.committee.shard_of(node) == self.shard;
        here.then(|| self.committee.index_of(node))
    }
}
