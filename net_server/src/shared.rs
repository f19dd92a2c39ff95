//! State that all parts of the loop use.

use std::fmt::Display;
use std::time::Instant;

use wire::bytes::Bytes;
use wire::frame::{Frame, ReadError, ReadOutcome, Scratch};
use wire::ids::Round;
use wire::limits::STATUS_EVERY;
use wire::limits::local::{Local, LocalLimits};

use crate::bridge::Bridge;
use crate::counters::{Counters, Refused};
use crate::timers::Timers;

/// Lent to admission, peers and clients one after the other.
pub(crate) struct Shared {
    pub(crate) bridge: Bridge,
    pub(crate) counters: Counters,
    pub(crate) timers: Timers,
    pub(crate) limits: LocalLimits,
    /// The buffer for reads.
    pub(crate) scratch: Scratch,
    /// Frames of the current read; empty between reads.
    pub(crate) frames: Vec<Frame>,
    /// The time of this turn of the loop.
    pub(crate) now: Instant,
    /// The last round that the core has decided, for hellos and pongs.
    pub(crate) decided: Round,
    /// The last status that a lagging core handed over, and when.
    pub(crate) status: Option<(Instant, Bytes)>,
}

impl Shared {
    /// Counts a refusal; `whose` names the connection in the log.
    pub(crate) fn refuse(&mut self, refused: Refused, whose: &dyn Display) {
        self.counters.refuse(refused, whose, &mut self.timers, self.now);
    }

    /// Whether the queue to the core is so long that clients must wait.
    pub(crate) fn holds_clients_back(&self) -> bool {
        self.bridge.queued_bytes() >= self.limits.get(Local::QueueClientsBytes)
    }

    /// Whether the queue to the core is so long that peers must wait.
    pub(crate) fn holds_peers_back(&self) -> bool {
        self.bridge.queued_bytes() >= self.limits.get(Local::QueuePeersBytes)
    }

    /// Whether the queue to the core is so long that no connection is accepted. It is twice as long as the one at which
    /// peers wait, because a client must be able to query the status of a node that lags, and a connection adds only
    /// some hundred bytes to the queue.
    pub(crate) fn holds_connections_back(&self) -> bool {
        self.bridge.queued_bytes() / 2 >= self.limits.get(Local::QueuePeersBytes)
    }

    /// The answer to status requests while the core lags; `None` if it keeps up, or if the last one is too old.
    pub(crate) fn status(&self) -> Option<Bytes> {
        let (received, status) = self.status.as_ref()?;
        (self.now < *received + 2 * STATUS_EVERY).then(|| status.clone())
    }

    /// Arms the next report of counters.
    pub(crate) fn counters_changed(&mut self) {
        self.counters.changed(&mut self.timers, self.now);
    }
}

/// The outcome of a read and of the frames that it completed: the number of bytes, 0 if the socket was empty; `Err` if
/// the connection has to be closed, with the reason if the other side is to blame.
pub(crate) fn outcome_of_read(
    taken: Result<(), Refused>,
    read: Result<ReadOutcome, ReadError>,
) -> Result<usize, Option<Refused>> {
    taken.map_err(Some)?;
    match read {
        Ok(ReadOutcome::Read(bytes)) => Ok(bytes),
        Ok(ReadOutcome::WouldBlock) => Ok(0),
        Ok(ReadOutcome::Ended) | Err(ReadError::Io(_)) => Err(None),
        Err(ReadError::Frame(error)) => Err(Some(Refused::Frame(error))),
    }
}
