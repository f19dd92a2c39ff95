//! The search over small scopes: nothing is found while the rules are in force, and each rule is missed.

use bft::sim::search::search;

#[test]
fn nothing_goes_wrong_in_any_way_through_four_views() {
    let progress = search(4, |_| {}).unwrap_or_else(|violation| panic!("{violation}"));
    // Should the search lose its way, it would find nothing either.
    assert!(progress.states.len() == 5 && progress.states[4] > 1_000, "{progress:?}");
}

#[cfg(feature = "mutants")]
#[test]
fn a_rule_that_is_switched_off_is_missed() {
    use bft::mutant::{self, Mutant};

    for (rule, views) in [
        (Mutant::StopAnsweringAfterCoin, 2),
        (Mutant::VoteBeforeLeaving, 1),
        (Mutant::JustificationValue, 2),
        (Mutant::JustificationLeader, 2),
        (Mutant::JustificationReachesBack, 3),
        (Mutant::JustificationHasNoGap, 3),
        (Mutant::HaltProvesLeader, 1),
        (Mutant::CertificateQuorum, 1),
        (Mutant::SpbEchoOnce, 1),
    ] {
        let mut deliveries = 0;
        mutant::set(Some(rule));
        let outcome = search(views, |progress| deliveries = progress.deliveries);
        mutant::set(None);
        let violation = outcome.expect_err(&format!("nothing misses {rule:?}"));
        println!("{rule:?} after {deliveries} deliveries: {violation}");
    }
}
