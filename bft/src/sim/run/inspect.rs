//! Looks inside honest cores: nothing is left to do, and no table is slow.
//!
//! **Idle means idle.** A core that has handled an event has done all that it can do, and will be woken for the rest.
//! After each event it looks again for work of which no news came ([`Core::look_again`]). Whatever it finds was made
//! due without waking those who do it, and would wait for a timer or for somebody else's message. Looking again must
//! not change when the core wants to be woken, either, and that lies ahead.
//!
//! [`Core::look_again`]: crate::core::Core::look_again

use ::wire::ids::NodeId;

use crate::sim::checker::Violation;
use crate::sim::run::{Node, Ran, Simulation};
use crate::sim::trace;

/// Slots that a search may look at. Random ids need a hundred at most; those that collide by design need as many as
/// there are of them, and an adversary that tries sends thousands.
const SEARCH_STEPS_MAX: u64 = 300;

impl Simulation<'_> {
    /// Insists that an honest core has nothing left to do now.
    pub(super) fn check_idle(&mut self, node: NodeId) -> Ran {
        let now = self.now;
        let Node::Honest(core) = self.node_mut(node) else { return Ok(()) };
        let wakeup = core.next_wakeup();
        if let Some(due) = wakeup.filter(|due| *due <= now) {
            return Err(Violation::Overdue { node, due });
        }
        let did = core.look_again(now);
        let then = core.next_wakeup();
        if did.is_empty() && then == wakeup {
            return Ok(());
        }
        let did = trace::effects(&self.committee, node, &did);
        Err(Violation::NotIdle { node, did, wakeup, then })
    }

    /// Insists that nobody has made ids pile up in the tables of honest members.
    pub(super) fn check_tables(&self) -> Ran {
        for (node, core) in self.honest_cores() {
            let steps = core.steps();
            if steps.longest > SEARCH_STEPS_MAX {
                return Err(Violation::LongSearch { node, steps });
            }
        }
        Ok(())
    }
}
