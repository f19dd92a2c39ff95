//! Several shards, and transactions between them, under every adversary; those that attack the traffic between shards
//! must cause the faults listed for them.

use std::collections::BTreeMap;

use bft::sim::Adversary;

use crate::clean_shards;

/// Seeds of one adversary over two and three shards; together they must cause all of these faults.
fn attack(adversary: Adversary, marks: &[&str]) {
    let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut finished, mut cancelled) = (0, 0);
    for (nodes, shards, seeds) in [(4, 2, 0..3), (4, 3, 0..2)] {
        for seed in seeds {
            let report = clean_shards(seed, nodes, shards, adversary);
            finished += report.finished_cross;
            cancelled += report.cancelled;
            for (kind, count) in report.faults {
                *faults.entry(kind).or_default() += count;
            }
        }
    }
    for mark in marks {
        assert!(faults.contains_key(mark), "{}: nobody noticed {mark}: {faults:?}", adversary.name());
    }
    assert!(finished > 0 && cancelled > 0, "{finished} finished and {cancelled} were cancelled");
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
        fn no_adversary_between_shards_is_left_out() {
            let tried = [$(Adversary::$adversary),*];
            let all = Adversary::ALL.into_iter().filter(|adversary| adversary.needs_shards());
            let missing: Vec<&str> =
                all.filter(|adversary| !tried.contains(adversary)).map(Adversary::name).collect();
            assert_eq!(missing, [""; 0], "no test tries these");
        }
    };
}

#[test]
fn members_behind_every_history_take_over_checkpoints() {
    for adversary in [Adversary::ShortHistory, Adversary::FalseCheckpoints] {
        let reports = (0..4).map(|seed| clean_shards(seed, 4, 2, adversary));
        let jumps: u64 = reports.map(|report| report.jumps).sum();
        assert!(jumps > 0, "{}: nobody was behind every history", adversary.name());
    }
}

attacks! {
    silent_partner: SilentPartner, [];
    false_transfer: FalseTransfer, ["bad_transfer"];
    reshaped_transfer: ReshapedTransfer, ["bad_transfer"];
    false_sign: FalseSign, [];
    false_reject: FalseReject, [];
    false_cancel: FalseCancel, [];
    forged_import: ForgedImport, ["invalid_entry"];
    false_order: FalseOrder, ["bad_request"];
    slow_shards: SlowShards, [];
    chosen_ids: ChosenIds, [];
}

#[test]
fn adversaries_of_agreement_attack_all_shards_at_once() {
    let all = Adversary::ALL.into_iter().filter(|adversary| !adversary.needs_shards());
    for (seed, adversary) in (0u64..).zip(all) {
        clean_shards(seed, 4, 2, adversary);
    }
}

#[test]
fn four_shards_and_shards_of_one_finish_too() {
    clean_shards(1, 4, 4, Adversary::Random);
    clean_shards(2, 1, 3, Adversary::Random);
    clean_shards(3, 7, 2, Adversary::Random);
}
