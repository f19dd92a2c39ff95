//! The state machine that the round loop drives: it takes events with their times and returns effects.
//!
//! There are two: `bft::core::Core` and the counter of the raw pipe ([`crate::pipe`]). The loop treats them alike, so
//! the pipe measures the path of the core's messages.

use bft::core::Core;
use bft::event::{Effect, Event};
use bft::ledger::Ledger;
use bft::time::Time;
use wire::client::NodeStatus;

/// It has no clock: each event has a time, which never runs backwards.
pub trait Machine {
    /// Handles an event and returns the effects to carry out, in this order.
    fn handle(&mut self, now: Time, event: Event) -> Vec<Effect>;

    /// When [`Event::Tick`] is due; `None` while nothing is open.
    fn next_wakeup(&self) -> Option<Time>;

    /// A clone of it, if it is a core, which shares its memory until either changes.
    fn core(&self) -> Option<Box<Core>> {
        None
    }

    /// The length of a snapshot of it, about.
    fn state_bytes(&self) -> u64 {
        0
    }

    /// A clone of its ledger, if it has one, which shares memory in the same way.
    fn ledger(&self) -> Option<Ledger> {
        None
    }

    /// Its status, without the fields that only the processes know.
    fn status(&self) -> NodeStatus;

    /// The same without a recount of the coins.
    fn status_at_hand(&self) -> NodeStatus {
        self.status()
    }
}

impl Machine for Core {
    fn handle(&mut self, now: Time, event: Event) -> Vec<Effect> {
        Core::handle(self, now, event)
    }

    fn next_wakeup(&self) -> Option<Time> {
        Core::next_wakeup(self)
    }

    fn core(&self) -> Option<Box<Core>> {
        Some(Box::new(self.clone()))
    }

    fn state_bytes(&self) -> u64 {
        self.ledger().allocated_bytes() as u64
    }

    fn ledger(&self) -> Option<Ledger> {
        Some(Core::ledger(self).clone())
    }

    fn status(&self) -> NodeStatus {
        Core::status(self)
    }

    fn status_at_hand(&self) -> NodeStatus {
        Core::status_at_hand(self)
    }
}
