//! What all threads of this process know: who we are, and how far our core has decided.

use std::sync::atomic::{AtomicU64, Ordering};

use wire::committee::Committee;
use wire::ids::{NodeId, Round};
use wire::limits::local::LocalLimits;
use wire::session::Identity;

/// The process.
pub(crate) struct Process {
    /// The node it belongs to.
    pub(crate) id: NodeId,
    /// All nodes and their keys.
    pub(crate) committee: Committee,
    /// Our side of handshakes.
    pub(crate) identity: Identity,
    /// The limits of this run.
    pub(crate) limits: LocalLimits,
    /// Random, drawn at start: frame numbers belong to it.
    pub(crate) incarnation: u64,
    decided: AtomicU64,
}

impl Process {
    /// A process whose core has not told anything yet.
    pub(crate) fn new(
        id: NodeId,
        committee: Committee,
        identity: Identity,
        limits: LocalLimits,
        incarnation: u64,
    ) -> Process {
        Process { id, committee, identity, limits, incarnation, decided: AtomicU64::new(0) }
    }

    /// What hellos and pings tell: all rounds up to this one are decided here.
    pub(crate) fn decided(&self) -> Round {
        // Relaxed: a hint to others that stands for itself; nothing else is published by it.
        Round(self.decided.load(Ordering::Relaxed))
    }

    /// The core has decided so far.
    pub(crate) fn set_decided(&self, decided: Round) {
        self.decided.fetch_max(decided.0, Ordering::Relaxed);
    }
}
