//! Members that crash at any moment and go on from their journals: the same promises over all lives of a member.

use std::collections::BTreeSet;

use bft::sim::{Adversary, Crashes, Scenario};

use crate::clean_run;

type Marks = BTreeSet<&'static str>;

/// Seeds with and without Byzantine members beside those that crash; what they have shown.
fn survives(
    crashes: Crashes,
    (nodes, shards): (u16, u16),
    seeds_each: u64,
    adversaries: &[Adversary],
) -> Marks {
    let scenarios = adversaries.iter().flat_map(|adversary| {
        (0..seeds_each).map(|seed| Scenario { crashes, ..Scenario::mixed(seed, nodes, shards, *adversary) })
    });
    scenarios.flat_map(|scenario| clean_run(&scenario).crashes.into_keys()).collect()
}

/// Crashes at each point, and all that may come of them.
fn require_all(marks: &Marks) {
    let all = [
        "anywhere",
        "before append",
        "before sync",
        "before effects",
        "between effects",
        "before a snapshot",
        "tail torn",
        "from a snapshot",
        "start interrupted",
        "restarted",
        "refused",
    ];
    let missing: Vec<&str> = all.into_iter().filter(|mark| !marks.contains(mark)).collect();
    assert_eq!(missing, [""; 0], "no seed shows these: {marks:?}");
}

const OF_AGREEMENT: [Adversary; 8] = [
    Adversary::Random,
    Adversary::EquivocatingLane,
    Adversary::EquivocatingBallots,
    Adversary::Twins,
    Adversary::Chaos,
    Adversary::StarvedLeader,
    Adversary::ShortHistory,
    Adversary::FalseCheckpoints,
];

const BETWEEN_SHARDS: [Adversary; 5] = [
    Adversary::Random,
    Adversary::FalseTransfer,
    Adversary::SlowShards,
    Adversary::Chaos,
    Adversary::ShortHistory,
];

#[test]
fn killed_members_go_on() {
    let mut marks = survives(Crashes::Process, (4, 1), 3, &OF_AGREEMENT);
    marks.extend(survives(Crashes::Process, (7, 1), 1, &OF_AGREEMENT));
    require_all(&marks);
}

#[test]
fn members_without_power_go_on() {
    let mut marks = survives(Crashes::Power, (4, 1), 3, &OF_AGREEMENT);
    marks.extend(survives(Crashes::Power, (7, 1), 1, &OF_AGREEMENT));
    require_all(&marks);
}

#[test]
fn members_of_two_shards_go_on() {
    for crashes in [Crashes::Process, Crashes::Power] {
        survives(crashes, (4, 2), 1, &BETWEEN_SHARDS);
    }
    survives(Crashes::Power, (7, 2), 1, &[Adversary::Random]);
}
