//! Scenarios that once failed, each named after the bug that it found.

use bft::sim::{Adversary, Crashes, Scenario};

use crate::{clean, clean_run, clean_shards};

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

/// Members call a transaction rejected, crashes take most of these messages, and then the ledgers forget who had spent
/// its coin. Who asks again must be answered all the same, or the other shard waits until the transaction expires.
#[test]
fn a_rejection_is_repeated_when_its_cause_is_forgotten() {
    let scenario = Scenario::mixed(1579, 7, 2, Adversary::LastInFirstOut);
    clean_run(&Scenario { crashes: Crashes::Power, ..scenario });
}

/// The checker's look for work left imports to be listed, while the lane had no room, so the member's state was not
/// that of its shadow.
#[test]
fn a_look_for_work_leaves_the_state_as_it_was() {
    clean_shards(3308, 7, 2, Adversary::FalseOrder);
}

/// A member waited for more lanes because of a FINAL that it had only kept. The owner then sent a false one and its
/// claims were dropped, but not the wait: the member was due for ever.
#[test]
fn a_wait_for_lanes_ends_when_none_is_ahead_any_more() {
    clean(20061, 7, Adversary::WrongRound);
}
