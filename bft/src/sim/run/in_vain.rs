//! What honest members verify without use: liars have a bounded amount of it in hand.

use crate::sim::checker::Violation;
use crate::sim::run::{Ran, Simulation};

/// Certificates that one liar has each member verify in vain, a view or height: of each kind one, and those of others
/// whose signatures stand in a batch with a bad one.
const IN_VAIN_A_STEP: u64 = 8;

impl Simulation<'_> {
    /// Liars have each honest member verify no more than a few messages a view, round and height in vain.
    pub(super) fn check_verified(&self) -> Ran {
        let quorum = self.committee.quorum() as u64;
        let liars = self.plan.byzantine.len() as u64;
        for (node, core) in self.honest_cores() {
            let steps = core.status().views + core.ledger().height().0;
            let allowed = liars * IN_VAIN_A_STEP * (quorum + 1) * (steps + 8);
            let signatures = self.verified[&node].in_vain();
            if signatures > allowed {
                return Err(Violation::InVain { node, signatures, allowed });
            }
        }
        Ok(())
    }
}
