//! Waiting until all nodes of a testbed that was just started take clients.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use wire::client::NodeStatus;
use wire::ids::NodeId;

use super::fleet::UnaskedEnd;
use crate::load::Offering;
use crate::signals;

/// How long nodes may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long they may take for the replay of their journals.
pub(crate) const REPLAY: Duration = Duration::from_secs(600);
/// How long nodes may take to answer before the request is repeated, over what has connected meanwhile.
const ANSWER: Duration = Duration::from_millis(200);

/// Why not all nodes are ready.
#[derive(Debug)]
pub(crate) enum NotReady {
    /// A signal came.
    Interrupted,
    /// These have ended.
    Ended(Vec<UnaskedEnd>),
    /// The time is over; the answers of those that did answer.
    Late(BTreeMap<NodeId, NodeStatus>),
}

/// Waits until each of `nodes` answers a client, and returns how long that took. `ended` returns the nodes that have
/// ended since it was last called.
pub(crate) fn wait_until_ready(
    offering: &Offering,
    nodes: &[NodeId],
    mut ended: impl FnMut() -> Vec<UnaskedEnd>,
) -> Result<Duration, NotReady> {
    let began = Instant::now();
    loop {
        if signals::is_interrupted() {
            return Err(NotReady::Interrupted);
        }
        let ended = ended();
        if !ended.is_empty() {
            return Err(NotReady::Ended(ended));
        }
        let statuses = offering.statuses(nodes, ANSWER);
        if statuses.len() == nodes.len() {
            return Ok(began.elapsed());
        }
        if began.elapsed() > PATIENCE {
            return Err(NotReady::Late(statuses));
        }
    }
}
