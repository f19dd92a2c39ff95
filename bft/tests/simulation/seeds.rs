//! Scenarios that once failed, each kept under the name of what it found.

use bft::sim::Adversary;

use crate::clean;

/// An echo that was under way when its entry's lane was decided on another branch is late, not wrong: whoever sent it
/// must not be blamed.
#[test]
fn late_echoes_are_no_fault() {
    clean(24, 4, Adversary::Chaos);
}
