//! A snapshot: where a replay stands, as bytes from which it goes on without the events before.
//!
//! It holds the image of the core ([`Core::write_image`]) and the figures of the events before, so the checks
//! of the journal go on where they stood. A journal needs no record from before its snapshot.

use std::io::{self, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wire::codec;
use wire::committee::Committee;
use wire::ids::NodeId;

use crate::core::Core;
use crate::crypto::suite::Suite;
use crate::journal::{Opening, Past, Replay, ReplayError};
use crate::trace::Tracing;

/// The first part of a snapshot: its place in the journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SnapshotHead {
    /// Of the segment that begins here.
    pub opening: Opening,
    /// Of the events before.
    pub past: Past,
}

impl SnapshotHead {
    /// The head of a snapshot, and the image of its core.
    ///
    /// # Errors
    /// If the bytes are no snapshot.
    pub fn parse(snapshot: &[u8]) -> Result<(SnapshotHead, &[u8]), ReplayError> {
        codec::decode_own_with_tail(snapshot).map_err(ReplayError::Malformed)
    }

    /// Writes the snapshot of a core that stands here.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, core: &Core, writer: &mut impl Write) -> io::Result<()> {
        codec::encode_to(self, writer)?;
        core.write_image(writer)
    }
}

impl Replay {
    /// The head of a snapshot taken now.
    pub fn snapshot_head(&self) -> SnapshotHead {
        let opening = self.opening.followed_by(self.opening.start.clone(), self.past.done.events);
        SnapshotHead { opening, past: self.past.clone() }
    }

    /// A replay that goes on from a snapshot, with the image of its core. The caller has verified that these are the
    /// bytes that were written, and that this program can read them: images differ from version to version.
    ///
    /// # Errors
    /// If it is of another testbed or node, or the image cannot be decoded.
    pub fn from_snapshot(
        SnapshotHead { opening, past }: SnapshotHead,
        image: &[u8],
        committee: Arc<Committee>,
        node: NodeId,
        suite: Arc<dyn Suite>,
        tracing: Tracing,
    ) -> Result<Replay, ReplayError> {
        if opening.testbed != committee.testbed() || opening.node != node {
            return Err(ReplayError::Opening(Box::new(opening)));
        }
        let config = opening.config(committee, tracing);
        let core = Core::from_image(&config, suite, image).map_err(ReplayError::Malformed)?;
        let agreed = past.done;
        Ok(Replay { core, opening, past, agreed, bodies: None })
    }
}
