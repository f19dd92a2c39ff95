//! The identity, settings and progress of this process, which all threads share.

use std::sync::atomic::{AtomicU64, Ordering};

use wire::committee::Committee;
use wire::ids::{NodeId, Round};
use wire::limits::local::LocalLimits;
use wire::session::Identity;

/// See the module.
pub(crate) struct Process {
    pub(crate) id: NodeId,
    pub(crate) committee: Committee,
    pub(crate) identity: Identity,
    pub(crate) limits: LocalLimits,
    /// Random, drawn at start. The sequence numbers of frames belong to it.
    pub(crate) incarnation: u64,
    decided: AtomicU64,
}

impl Process {
    pub(crate) fn new(
        id: NodeId,
        committee: Committee,
        identity: Identity,
        limits: LocalLimits,
        incarnation: u64,
    ) -> Process {
        Process { id, committee, identity, limits, incarnation, decided: AtomicU64::new(0) }
    }

    /// The last round that the own core has decided, for hellos and pings.
    pub(crate) fn decided(&self) -> Round {
        // Relaxed: the number is a hint, and no other data is published through it.
        Round(self.decided.load(Ordering::Relaxed))
    }

    pub(crate) fn set_decided(&self, decided: Round) {
        self.decided.fetch_max(decided.0, Ordering::Relaxed);
    }
}
