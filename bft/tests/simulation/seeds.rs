//! Scenarios that once failed, each named after the bug that it found.

use bft::sim::Adversary;

use crate::{clean, clean_shards};

/// An echo that was under way when its entry's lane was decided on another branch is late, not wrong: its sender must
/// not be blamed.
#[test]
fn late_echoes_are_no_fault() {
    clean(24, 4, Adversary::Chaos);
}

/// A fetch that began when its entry was certified goes on when the entry is decided. If it started anew, it would
/// request the body from the first holders twice, and f silent ones would delay it beyond the bound.
#[test]
fn a_fetch_goes_on_when_its_entry_is_decided() {
    clean_shards(2957, 10, 2, Adversary::SilentSigners);
}
