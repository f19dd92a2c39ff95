//! What every part of the loop works with.

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

/// The shared parts; lent to admission, peers and clients one after the other.
pub(crate) struct Shared {
    pub(crate) bridge: Bridge,
    pub(crate) counters: Counters,
    pub(crate) timers: Timers,
    pub(crate) limits: LocalLimits,
    /// Where reads land first.
    pub(crate) scratch: Scratch,
    /// Frames of the read at hand; empty between reads.
    pub(crate) frames: Vec<Frame>,
    /// The time of this turn of the loop.
    pub(crate) now: Instant,
    /// What the core has decided; peers hear of it in hellos and pongs.
    pub(crate) decided: Round,
    /// The last status of a core that lags, and when it came.
    pub(crate) status: Option<(Instant, Bytes)>,
}

impl Shared {
    /// Counts a refusal of `whose` connection or frame.
    pub(crate) fn refuse(&mut self, refused: Refused, whose: &dyn Display) {
        self.counters.refuse(refused, whose, &mut self.timers, self.now);
    }

    /// Whether the core leaves so much unread that clients must wait.
    pub(crate) fn holds_clients_back(&self) -> bool {
        self.bridge.queued_bytes() >= self.limits.get(Local::QueueClientsBytes)
    }

    /// Whether the core leaves so much unread that peers must wait.
    pub(crate) fn holds_peers_back(&self) -> bool {
        self.bridge.queued_bytes() >= self.limits.get(Local::QueuePeersBytes)
    }

    /// Whether the core leaves so much unread that nobody may connect. Far later than peers are held back: whoever asks
    /// for the status of a node that lags must get in, and a connection adds only some hundred bytes to the queue.
    pub(crate) fn holds_connections_back(&self) -> bool {
        self.bridge.queued_bytes() / 2 >= self.limits.get(Local::QueuePeersBytes)
    }

    /// The answer to status requests while the core lags; `None` if it keeps up, or has not been heard of for long.
    pub(crate) fn status(&self) -> Option<Bytes> {
        let (came, status) = self.status.as_ref()?;
        (self.now < *came + 2 * STATUS_EVERY).then(|| status.clone())
    }

    /// Notes that a link's counters changed.
    pub(crate) fn counters_changed(&mut self) {
        self.counters.changed(&mut self.timers, self.now);
    }
}

/// The outcome of a read of a session and of the frames that it completed: how many bytes came, none of them if the
/// socket is empty; or that the connection is to be closed, with the reason if it is the other side's fault.
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
