//! Looks inside honest cores: no table is slow.

use crate::sim::checker::Violation;
use crate::sim::run::{Ran, Simulation};

/// Slots that a search may look at. Random ids need a hundred at most; those that collide by design need as many as
/// there are of them, and an adversary that tries sends thousands.
const SEARCH_STEPS_MAX: u64 = 300;

impl Simulation<'_> {
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
