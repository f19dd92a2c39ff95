//! The search over small scopes finds no violation while the rules are in force, and one without any single rule.

use bft::sim::search::search;

#[test]
fn no_execution_of_four_views_breaks_a_rule() {
    let progress = search(4, |_| {}).unwrap_or_else(|violation| panic!("{violation}"));
    // A search that misses states would find no violation either. docs/design.md states these figures.
    assert!(progress.states.len() == 5 && progress.states[4] > 1_000, "{progress:?}");
    assert_eq!((progress.expanded, progress.outcomes), (1_828, 440_077), "{progress:?}");
}

#[cfg(feature = "mutants")]
#[test]
fn without_any_single_rule_the_search_finds_a_violation() {
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
        let violation = outcome.expect_err(&format!("no violation without {rule:?}"));
        println!("{rule:?} after {deliveries} deliveries: {violation}");
    }
}
