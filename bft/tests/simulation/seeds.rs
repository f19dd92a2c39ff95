//! Scenarios that once failed, each kept under the name of what it found.

use bft::sim::Adversary;

use crate::{clean, clean_shards};

/// An echo that was under way when its entry's lane was decided on another branch is late, not wrong: whoever sent it
/// must not be blamed.
#[test]
fn late_echoes_are_no_fault() {
    clean(24, 4, Adversary::Chaos);
}

/// Two members whose CL_M was lost with their children believed themselves, and said nothing to whoever asked again.
#[test]
fn who_asks_again_is_answered_by_those_who_believe_already() {
    clean_shards(1_293, 4, 4, Adversary::DyingChild);
}

/// Cancelled before the block that orders it, a transaction stayed on the list of who had proposed it for ever.
#[test]
fn what_is_cancelled_while_it_is_proposed_leaves_the_list() {
    clean_shards(1_482, 4, 4, Adversary::InvalidEntry);
    clean_shards(2_099, 7, 3, Adversary::InvalidEntry);
}
