//! A snapshot: where a replay stands, as bytes from which it goes on without the events before.
//!
//! It holds the image of the core ([`Core::image`]), how many events made it and what came of them, so the checks
//! of the journal go on where they stood. A journal needs no record from before its snapshot.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wire::codec;
use wire::committee::Committee;
use wire::ids::NodeId;

use crate::core::Core;
use crate::crypto::suite::Suite;
use crate::journal::{Check, Opening, Replay, ReplayError, Sessions};
use crate::time::Time;
use crate::trace::Tracing;

/// The place of a snapshot in its journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Place {
    /// Of a segment that would begin here.
    pub opening: Opening,
    /// The time of the last event.
    pub now: Time,
    /// What has been done so far.
    pub done: Check,
    /// Who was connected.
    pub sessions: Sessions,
}

impl Place {
    /// The snapshot of a core that stands here.
    pub fn snapshot(&self, core: &Core) -> Vec<u8> {
        let mut bytes = codec::encode(self);
        core.image_into(&mut bytes);
        bytes
    }
}

impl Replay {
    /// The snapshot of where it stands.
    pub fn snapshot(&self) -> Vec<u8> {
        let opening = Opening { events_before: self.done.events, ..self.opening.clone() };
        let sessions = self.sessions.clone();
        Place { opening, now: self.now, done: self.done, sessions }.snapshot(&self.core)
    }

    /// A replay that goes on from a snapshot, whose bytes the caller has verified to be those that were written.
    ///
    /// # Errors
    /// If the snapshot is of another testbed or node, or cannot be decoded.
    pub fn from_snapshot(
        snapshot: &[u8],
        committee: Arc<Committee>,
        node: NodeId,
        suite: Arc<dyn Suite>,
        tracing: Tracing,
    ) -> Result<Replay, ReplayError> {
        let (place, image) = codec::decode_own_with_tail(snapshot).map_err(ReplayError::Malformed)?;
        let Place { opening, now, done, sessions } = place;
        if opening.testbed != committee.testbed() || opening.node != node {
            return Err(ReplayError::Opening(Box::new(opening)));
        }
        let config = opening.config(committee, tracing);
        let core = Core::from_image(&config, suite, image).map_err(ReplayError::Malformed)?;
        Ok(Replay { core, opening, done, agreed: done, now, sessions })
    }
}
