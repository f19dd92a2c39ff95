//! What the round loop drives: something that takes events with their time and says what is to be done.
//!
//! Two machines fit: `bft::core::Core`, and the counter of the raw pipe ([`crate::pipe`]). The loop treats them alike,
//! so what the pipe measures is what the core's messages pass through.

use bft::core::Core;
use bft::event::{Effect, Event};
use bft::time::Time;
use wire::client::NodeStatus;

/// The heart of a node. It knows no clock: time comes in with each event, and never runs backwards.
pub(crate) trait Machine {
    /// Takes in what happened and returns what is to be done, in this order.
    fn handle(&mut self, now: Time, event: Event) -> Vec<Effect>;

    /// When [`Event::Tick`] is due; `None` while nothing is open.
    fn next_wakeup(&self) -> Option<Time>;

    /// How it is, as far as it knows itself.
    fn status(&self) -> NodeStatus;

    /// The same without anything that takes long to find out.
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

    fn status(&self) -> NodeStatus {
        Core::status(self)
    }

    fn status_at_hand(&self) -> NodeStatus {
        Core::status_at_hand(self)
    }
}
