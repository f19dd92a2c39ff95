//! The checkers bite: with a rule switched off, some seed of the adversary that breaks it shows a violation.
//!
//! Missing here are the two rules on justifications: the fork that they prevent needs a schedule which chance does not
//! find. They are staged, as most others are once more (`tests/agreement`).

use std::panic::{AssertUnwindSafe, catch_unwind};

use bft::mutant::{self, Mutant};
use bft::sim::{Adversary, Direct, Scenario, Trace, run};

/// Runs seeds until one shows that the rule is off; what showed it.
fn hunt(mutant: Mutant, adversary: Adversary, nodes: u16, seeds_max: u64) -> String {
    mutant::set(Some(mutant));
    let found = (0..seeds_max).find_map(|seed| {
        let scenario = Scenario { seed, nodes, shards: 1, adversary };
        let caught = catch_unwind(AssertUnwindSafe(|| run(&scenario, &mut Direct, Trace::Off)));
        match caught {
            Ok(report) => report.violation.map(|violation| format!("{scenario}: {violation}")),
            Err(_) => Some(format!("{scenario}: a panic")),
        }
    });
    mutant::set(None);
    found.unwrap_or_else(|| panic!("{mutant:?}: {seeds_max} seeds of {} passed", adversary.name()))
}

macro_rules! mutants {
    ($($name:ident: $mutant:ident by $adversary:ident, $nodes:literal nodes, $seeds:literal seeds;)*) => {
        $(
            #[test]
            fn $name() {
                println!("{}", hunt(Mutant::$mutant, Adversary::$adversary, $nodes, $seeds));
            }
        )*
    };
}

mutants! {
    echo_once_per_entry: EchoOncePerEntry by EquivocatingLane, 4 nodes, 10 seeds;
    echo_only_above_cut: EchoOnlyAboveCut by EquivocatingLane, 4 nodes, 60 seeds;
    entry_static_validity: EntryStaticValidity by InvalidEntry, 4 nodes, 10 seeds;
    tip_not_ahead_is_equal: TipNotAheadIsEqual by OtherDigest, 4 nodes, 10 seeds;
    tip_ahead_is_certified: TipAheadIsCertified by UncertifiedCut, 4 nodes, 10 seeds;
    spb_echo_once: SpbEchoOnce by EquivocatingSpb, 4 nodes, 10 seeds;
    coin_after_finishes: CoinAfterFinishes by Random, 4 nodes, 10 seeds;
    stop_answering_after_coin: StopAnsweringAfterCoin by StarvedLeader, 4 nodes, 20 seeds;
    vote_before_leaving: VoteBeforeLeaving by Mute, 4 nodes, 200 seeds;
    halt_proves_leader: HaltProvesLeader by FalseHalt, 4 nodes, 20 seeds;
    certificate_quorum: CertificateQuorum by ShortCertificate, 4 nodes, 10 seeds;
    execute_once: ExecuteOnce by Random, 4 nodes, 20 seeds;
    rejected_for_good: RejectedForGood by Random, 4 nodes, 20 seeds;
}
