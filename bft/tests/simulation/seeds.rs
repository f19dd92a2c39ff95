//! Scenarios that once failed, each kept under the name of what it found.

use bft::sim::Adversary;

use crate::{clean, clean_shards};

/// An echo that was under way when its entry's lane was decided on another branch is late, not wrong: whoever sent it
/// must not be blamed.
#[test]
fn late_echoes_are_no_fault() {
    clean(24, 4, Adversary::Chaos);
}

/// A body that was asked for when its entry was certified is asked for on, not anew, once the entry is decided: else the
/// holders asked first are asked twice, and f silent ones delay it beyond the bound.
#[test]
fn a_fetch_goes_on_when_its_entry_is_decided() {
    clean_shards(2957, 10, 2, Adversary::SilentSigners);
}
