//! Inspects honest cores: none is left with work to do or with slow tables, and few verifications were in vain.
//!
//! **Idle means idle.** A core that has handled an event has done all it can, and has a wake-up set for the rest. After
//! each event the simulator makes it search all its work again ([`Core::look_again`]). Work found then became due
//! without waking its module, and would have waited for a timer or for another message. Looking again must not change
//! the core's next wake-up either, and that wake-up lies ahead.
//!
//! [`Core::look_again`]: crate::core::Core::look_again

use ::wire::ids::NodeId;

use crate::sim::checker::Violation;
use crate::sim::run::{Node, Ran, Simulation};
use crate::sim::trace;

/// Slots that a search may look at. Random ids need a hundred at most; ids made to collide need as many as there are
/// of them, and the adversary sends thousands.
const SEARCH_STEPS_MAX: u64 = 300;

impl Simulation<'_> {
    /// Requires that an honest core has no work left now.
    pub(super) fn check_idle(&mut self, node: NodeId) -> Ran {
        let now = self.local_time(node);
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

    /// Requires that no ids pile up in the tables of honest members.
    pub(super) fn check_tables(&self) -> Ran {
        for (node, core) in self.honest_cores() {
            let steps = core.steps();
            if steps.longest > SEARCH_STEPS_MAX {
                return Err(Violation::LongSearch { node, steps });
            }
        }
        Ok(())
    }

    /// Requires that liars made no honest member verify much in vain.
    pub(super) fn check_verified(&self) -> Ran {
        for (node, core) in self.honest_cores() {
            let steps = core.status().views + core.ledger().height().0;
            // A replay verifies again what the member had verified before it crashed.
            let repeated = self.journals.get(&node).map_or(0, |journal| journal.repeated_in_vain);
            self.cost.at_end(node, steps, self.verified[&node].in_vain() - repeated, &self.committee)?;
        }
        Ok(())
    }
}
