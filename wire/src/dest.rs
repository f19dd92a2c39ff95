//! Destinations of messages. The core names one; `net_client` expands it, so that a broadcast crosses the IPC queue
//! once.

use serde::{Deserialize, Serialize};

use crate::committee::Committee;
use crate::ids::{NodeId, ShardId};

/// The recipients of one message.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Dest {
    /// One node.
    Node(NodeId),
    /// All members of a shard.
    Shard(ShardId),
    /// All members of the sender's own shard except the sender.
    ShardOthers,
    /// The nodes named, at most as many as the testbed has.
    Set(Vec<NodeId>),
}

impl Dest {
    /// The recipients of a message of `sender`, ascending. They never include the sender: messages to oneself stay
    /// inside the core.
    pub fn expand(&self, committee: &Committee, sender: NodeId) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = match self {
            Dest::Node(node) => vec![*node],
            Dest::Shard(shard) => committee.members(*shard).collect(),
            Dest::ShardOthers => committee.members(committee.shard_of(sender)).collect(),
            Dest::Set(nodes) => nodes.clone(),
        };
        nodes.retain(|node| *node != sender && committee.contains(*node));
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }
}
