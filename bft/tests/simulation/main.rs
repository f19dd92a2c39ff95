//! Whole cores under every adversary: a few hundred seeds of what `tools sim` runs thousands of.
//!
//! Every adversary must also cause the faults that are listed for it: an attack that no member notices attacks nothing.

mod crashes;
mod frames;
#[cfg(feature = "mutants")]
mod mutants;
mod seeds;
mod shards;

use std::collections::BTreeMap;

use bft::sim::{Adversary, Direct, Report, Scenario, SuiteKind, Trace, run};

/// Runs one scenario and requires that it passes.
fn clean(seed: u64, nodes: u16, adversary: Adversary) -> Report {
    clean_shards(seed, nodes, 1, adversary)
}

fn clean_shards(seed: u64, nodes: u16, shards: u16, adversary: Adversary) -> Report {
    clean_run(&Scenario::mixed(seed, nodes, shards, adversary))
}

fn clean_run(scenario: &Scenario) -> Report {
    let report = run(scenario, &mut Direct, Trace::Off);
    if let Some(violation) = &report.violation {
        panic!("{violation}\nreplay: {scenario} --trace");
    }
    assert!(report.height.0 > 0, "something is decided: {scenario}");
    report
}

/// Stands for messages that were dropped as too early, which is no fault.
const TOO_EARLY: &str = "too early";

/// Stands for states that members took over, which is no fault either.
const TAKEN_OVER: &str = "taken over";

/// Seeds of one adversary at each size; together they must cause all of these faults.
fn attack(adversary: Adversary, marks: &[&str]) {
    let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
    let mut views = 0;
    let mut rounds = 0;
    for (nodes, seeds) in [(4, 0..5), (7, 0..2), (10, 0..1)] {
        for seed in seeds {
            let report = clean(seed, nodes, adversary);
            views += report.views;
            rounds += report.height.0;
            for (kind, count) in report.faults {
                *faults.entry(kind).or_default() += count;
            }
            for (mark, count) in [(TOO_EARLY, report.too_early), (TAKEN_OVER, report.jumps)] {
                if count > 0 {
                    *faults.entry(mark).or_default() += count;
                }
            }
        }
    }
    for mark in marks {
        assert!(faults.contains_key(mark), "{}: nobody noticed {mark}: {faults:?}", adversary.name());
    }
    assert!(views > 0 && rounds > 0, "rounds take views");
}

macro_rules! attacks {
    ($($name:ident: $adversary:ident, $marks:expr;)*) => {
        $(
            #[test]
            fn $name() {
                attack(Adversary::$adversary, &$marks);
            }
        )*

        #[test]
        fn no_adversary_is_left_out() {
            let tried = [$(Adversary::$adversary),*];
            let all = Adversary::ALL.into_iter().filter(|adversary| !adversary.needs_shards());
            let missing: Vec<&str> =
                all.filter(|adversary| !tried.contains(adversary)).map(Adversary::name).collect();
            assert_eq!(missing, [""; 0], "no test tries these");
        }
    };
}

attacks! {
    random: Random, [];
    mute: Mute, [];
    equivocating_lane: EquivocatingLane, ["equivocation"];
    equivocating_spb: EquivocatingSpb, ["equivocation"];
    equivocating_ballots: EquivocatingBallots, [];
    twins: Twins, [];
    withheld_payload: WithheldPayload, [];
    forged_certificate: ForgedCertificate, ["bad_certificate"];
    short_certificate: ShortCertificate, ["bad_certificate"];
    duplicate_signer: DuplicateSigner, ["bad_certificate"];
    wrong_round: WrongRound, ["bad_certificate"];
    wrong_shard: WrongShard, ["bad_certificate"];
    false_halt: FalseHalt, ["bad_certificate", "bad_coin_share"];
    false_justification: FalseJustification, ["bad_justification"];
    other_digest: OtherDigest, ["invalid_cut"];
    uncertified_cut: UncertifiedCut, [];
    invalid_entry: InvalidEntry, ["invalid_entry"];
    wrong_vote: WrongVote, ["wrong_block"];
    bad_share: BadShare, ["bad_coin_share"];
    early_share: EarlyShare, [];
    missing_share: MissingShare, [];
    stale_flood: StaleFlood, [];
    future_flood: FutureFlood, [TOO_EARLY];
    mutated_bytes: MutatedBytes, ["malformed"];
    chaos: Chaos, ["bad_certificate"];
    dying_child: DyingChild, [];
    starved_leader: StarvedLeader, [];
    last_in_first_out: LastInFirstOut, [];
    resubmitting: Resubmitting, [];
    reconnecting: Reconnecting, [];
    unknown_tips: UnknownTips, [];
    silent_signers: SilentSigners, [];
    false_claim: FalseClaim, [];
    false_certificates: FalseCertificates, ["bad_certificate"];
    short_history: ShortHistory, [TAKEN_OVER];
    false_checkpoints: FalseCheckpoints, [TAKEN_OVER, "bad_piece"];
    false_copies: FalseCopies, ["bad_request", "out_of_range"];
}

#[test]
fn a_scenario_determines_its_run() {
    let scenario = Scenario::mixed(11, 4, 1, Adversary::Chaos);
    let traced = || run(&scenario, &mut Direct, Trace::Lines(Vec::new()));
    assert_eq!(traced(), traced());
}

/// Everything else of the two runs is the same, so what differs comes from signatures and coins.
#[test]
fn another_suite_makes_another_run() {
    let traced = |suite| {
        let scenario = Scenario { suite, ..Scenario::mixed(11, 4, 1, Adversary::Random) };
        run(&scenario, &mut Direct, Trace::Lines(Vec::new())).trace
    };
    let [real, stand_in] = SuiteKind::ALL.map(traced);
    assert_ne!(real, stand_in);
}

#[test]
fn attacks_on_the_real_suite_fail_on_the_stand_in_too() {
    for adversary in Adversary::ALL.into_iter().filter(|adversary| adversary.attacks_crypto()) {
        assert_eq!(SuiteKind::mixed(1, adversary), SuiteKind::Real, "{}", adversary.name());
        clean_run(&Scenario { suite: SuiteKind::StandIn, ..Scenario::mixed(1, 4, 1, adversary) });
    }
}

#[test]
fn small_shards_decide_too() {
    for nodes in [1, 2, 3] {
        for seed in 0..4 {
            clean(seed, nodes, Adversary::Random);
        }
    }
}

#[test]
fn starved_leaders_lead_to_further_views() {
    let (mut views, mut rounds) = (0, 0);
    for seed in 0..6 {
        let report = clean(seed, 4, Adversary::StarvedLeader);
        views += report.views;
        rounds += report.height.0;
    }
    assert!(views > rounds, "{views} views in {rounds} rounds");
}
