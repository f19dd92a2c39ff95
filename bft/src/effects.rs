//! The results of a handler: messages to send, outputs for its parent, faults of peers.
//!
//! Every sub-protocol is a struct with `handle(from, msg) -> Effects<Msg, Output>`. A parent absorbs its child's
//! effects by wrapping the messages and routing the outputs; no effect takes place until the root passes them to the
//! driver. (The step algebra of hbbft, except that messages to oneself are queued by the root.)

use crate::fault::{Fault, FaultKind};
use serde::{Deserialize, Serialize};
use wire::ids::NodeId;

/// The destination of a sub-protocol's message. The protocols of one shard address members of that shard, so this is
/// narrower than `wire::dest::Dest`, into which the root translates it; those between shards use `Dest` itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum To {
    /// Every member of the shard, the sender included.
    All,
    /// Every member but the sender.
    Others,
    /// One member, maybe the sender itself.
    Member(NodeId),
}

/// The effects of one step. `M` are messages, `O` outputs for the parent, in the order they arose; `D` is the type of
/// destinations.
#[must_use = "effects must be absorbed or handed to the driver"]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Effects<M, O, D = To> {
    /// Messages to send.
    pub sends: Vec<(D, M)>,
    /// Results for the parent.
    pub outputs: Vec<O>,
    /// Misbehaviour noticed.
    pub faults: Vec<Fault>,
    /// Messages that were dropped because they came too early to be kept. A correct peer that is far ahead sends them,
    /// so they are no fault; they are sent again or replaced by proofs.
    pub too_early: u64,
}

impl<M, O, D> Default for Effects<M, O, D> {
    fn default() -> Effects<M, O, D> {
        Effects { sends: Vec::new(), outputs: Vec::new(), faults: Vec::new(), too_early: 0 }
    }
}

impl<M, O, D> Effects<M, O, D> {
    /// No effects.
    pub fn none() -> Effects<M, O, D> {
        Effects::default()
    }

    /// Only this message.
    pub fn send(to: D, message: M) -> Effects<M, O, D> {
        Effects { sends: vec![(to, message)], ..Effects::default() }
    }

    /// Only this output.
    pub fn output(output: O) -> Effects<M, O, D> {
        Effects { outputs: vec![output], ..Effects::default() }
    }

    /// Only this fault.
    pub fn fault(peer: NodeId, kind: FaultKind) -> Effects<M, O, D> {
        Effects { faults: vec![Fault { peer, kind }], ..Effects::default() }
    }

    /// Only a message dropped because it came too early.
    pub fn too_early() -> Effects<M, O, D> {
        Effects { too_early: 1, ..Effects::default() }
    }

    /// Adds a message.
    pub fn push_send(&mut self, to: D, message: M) {
        self.sends.push((to, message));
    }

    /// Adds a fault.
    pub fn push_fault(&mut self, peer: NodeId, kind: FaultKind) {
        self.faults.push(Fault { peer, kind });
    }

    /// Appends the effects of `other`.
    pub fn extend(&mut self, other: Effects<M, O, D>) {
        self.sends.extend(other.sends);
        self.outputs.extend(other.outputs);
        self.faults.extend(other.faults);
        self.too_early += other.too_early;
    }

    /// Takes over a child's messages and faults, wrapped, and returns its outputs for routing.
    #[must_use = "a child's outputs must be routed"]
    pub fn absorb<M2, O2>(&mut self, child: Effects<M2, O2, D>, wrap: impl Fn(M2) -> M) -> Vec<O2> {
        self.sends.extend(child.sends.into_iter().map(|(to, message)| (to, wrap(message))));
        self.faults.extend(child.faults);
        self.too_early += child.too_early;
        child.outputs
    }
}
