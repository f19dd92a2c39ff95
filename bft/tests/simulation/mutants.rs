//! Checks of the checkers: with a rule switched off, some seed of the adversary that breaks it shows a violation.
//!
//! Some rules are missing here since random schedules seldom or never show a violation without them. The two rules on
//! justifications, and most others once more, have staged attacks (`tests/agreement`). The rules on headers between a
//! part and its certificate, on one SIGN a part, and on rejects of open or forgotten transactions have tests beside
//! their modules.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bft::mutant::{self, Mutant};
use bft::sim::{Adversary, Crashes, Direct, Scenario, Trace, Violation, run};

/// Runs seeds until one shows that the rule is off; returns its violation.
fn hunt(mutant: Mutant, adversary: Adversary, (nodes, shards): (u16, u16), seeds_max: u64) -> String {
    let scenarios = (0..seeds_max).map(|seed| Scenario::mixed(seed, nodes, shards, adversary));
    hunt_for(mutant, scenarios, |_| true)
}

/// Runs scenarios until one shows such a violation, or panics, with the rule off.
fn hunt_for(
    mutant: Mutant,
    mut scenarios: impl Iterator<Item = Scenario>,
    is_meant: impl Fn(&Violation) -> bool,
) -> String {
    mutant::set(Some(mutant));
    let found = scenarios.find_map(|scenario| {
        let caught = catch_unwind(AssertUnwindSafe(|| run(&scenario, &mut Direct, Trace::Off)));
        match caught {
            Ok(report) => {
                let violation = report.violation.filter(|violation| is_meant(violation));
                violation.map(|violation| format!("{scenario}: {violation}"))
            }
            Err(_) => Some(format!("{scenario}: a panic")),
        }
    });
    mutant::set(None);
    found.unwrap_or_else(|| panic!("{mutant:?}: all scenarios passed"))
}

macro_rules! mutants {
    ($($name:ident: $mutant:ident by $adversary:ident, $shards:literal x $nodes:literal nodes, $seeds:literal seeds;)*) => {
        $(
            #[test]
            fn $name() {
                println!("{}", hunt(Mutant::$mutant, Adversary::$adversary, ($nodes, $shards), $seeds));
            }
        )*
    };
}

mutants! {
    echo_once_per_entry: EchoOncePerEntry by EquivocatingLane, 1 x 4 nodes, 10 seeds;
    echo_only_above_cut: EchoOnlyAboveCut by EquivocatingLane, 1 x 4 nodes, 60 seeds;
    entry_static_validity: EntryStaticValidity by InvalidEntry, 1 x 4 nodes, 10 seeds;
    tip_not_ahead_is_equal: TipNotAheadIsEqual by OtherDigest, 1 x 4 nodes, 10 seeds;
    tip_ahead_is_certified: TipAheadIsCertified by UncertifiedCut, 1 x 4 nodes, 10 seeds;
    spb_echo_once: SpbEchoOnce by EquivocatingSpb, 1 x 4 nodes, 10 seeds;
    coin_after_finishes: CoinAfterFinishes by Random, 1 x 4 nodes, 10 seeds;
    stop_answering_after_coin: StopAnsweringAfterCoin by StarvedLeader, 1 x 4 nodes, 20 seeds;
    vote_before_leaving: VoteBeforeLeaving by Mute, 1 x 4 nodes, 200 seeds;
    halt_proves_leader: HaltProvesLeader by FalseHalt, 1 x 4 nodes, 20 seeds;
    false_proof_bars: FalseProofBars by FalseCertificates, 1 x 4 nodes, 10 seeds;
    claims_pause: ClaimsPause by FalseClaim, 1 x 4 nodes, 10 seeds;
    certificate_quorum: CertificateQuorum by ShortCertificate, 1 x 4 nodes, 10 seeds;
    execute_once: ExecuteOnce by Random, 1 x 4 nodes, 20 seeds;
    rejected_for_good: RejectedForGood by Random, 1 x 4 nodes, 20 seeds;
    finished_outlives_expiries: FinishedOutlivesExpiries by Resubmitting, 2 x 4 nodes, 60 seeds;
    transfer_needs_certificate: TransferNeedsCertificate by FalseTransfer, 2 x 4 nodes, 1000 seeds;
    transfer_branch: TransferBranch by FalseTransfer, 2 x 4 nodes, 30 seeds;
    part_digest_binds_counts: PartDigestBindsCounts by ReshapedTransfer, 2 x 4 nodes, 100 seeds;
    import_needs_certificate: ImportNeedsCertificate by ForgedImport, 2 x 4 nodes, 20 seeds;
    parts_in_order: PartsInOrder by Random, 2 x 4 nodes, 30 seeds;
    refund_needs_open_record: RefundNeedsOpenRecord by Random, 2 x 4 nodes, 20 seeds;
    cancelled_for_good: CancelledForGood by SlowShards, 2 x 4 nodes, 60 seeds;
    cancel_needs_one_honest: CancelNeedsOneHonest by FalseCancel, 2 x 4 nodes, 20 seeds;
    reject_needs_quorum: RejectNeedsQuorum by FalseReject, 2 x 4 nodes, 30 seeds;
    hash_whole_id: HashWholeId by ChosenIds, 2 x 4 nodes, 5 seeds;
    cancel_is_due_at_once: CancelIsDueAtOnce by Random, 2 x 4 nodes, 20 seeds;
    believe_needs_one_honest: BelieveNeedsOneHonest by FalseReject, 2 x 4 nodes, 20 seeds;
    vouchers_for_checkpoint: VouchersForCheckpoint by FalseCheckpoints, 1 x 4 nodes, 60 seeds;
    pieces_have_digests: PiecesHaveDigests by FalseCheckpoints, 1 x 4 nodes, 400 seeds;
    resends_are_paced: ResendsArePaced by Reconnecting, 1 x 4 nodes, 10 seeds;
    wants_go_to_proposer: WantsGoToProposer by UnknownTips, 1 x 4 nodes, 10 seeds;
    second_holder_is_asked: SecondHolderIsAsked by SilentSigners, 1 x 7 nodes, 10 seeds;
}

/// Switches a rule of journals off while members crash.
///
/// Some of these violations come first in most seeds: a member that has forgotten blocks executes them again. The
/// tests go on to seeds that show what it has signed.
fn hunt_crashes(mutant: Mutant, crashes: Crashes, seeds_max: u64, is_meant: impl Fn(&Violation) -> bool) {
    let of_seed = |seed| Scenario { crashes, ..Scenario::mixed(seed, 4, 1, Adversary::Random) };
    println!("{}", hunt_for(mutant, (0..seeds_max).map(of_seed), is_meant));
}

/// A member that has forgotten something contradicts in a later life what it had signed.
fn is_contradiction(violation: &Violation) -> bool {
    matches!(violation, Violation::Contradiction { .. })
}

#[test]
fn effects_after_append() {
    hunt_crashes(Mutant::EffectsAfterAppend, Crashes::Process, 60, is_contradiction);
    hunt_crashes(Mutant::EffectsAfterAppend, Crashes::Power, 60, is_contradiction);
}

#[test]
fn sync_before_effects() {
    hunt_crashes(Mutant::SyncBeforeEffects, Crashes::Power, 60, is_contradiction);
}

#[test]
fn damage_is_no_tail() {
    hunt_crashes(Mutant::DamageIsNoTail, Crashes::Process, 200, is_contradiction);
    hunt_crashes(Mutant::DamageIsNoTail, Crashes::Power, 200, is_contradiction);
}

#[test]
fn snapshot_has_position() {
    let is_refused = |violation: &Violation| matches!(violation, Violation::Refused { .. });
    hunt_crashes(Mutant::SnapshotHasPosition, Crashes::Process, 60, is_refused);
    hunt_crashes(Mutant::SnapshotHasPosition, Crashes::Power, 60, |_| true);
}

#[test]
fn used_keys_need_journal() {
    hunt_crashes(Mutant::UsedKeysNeedJournal, Crashes::Off, 60, is_contradiction);
    // Written to the system, and the system has lost it.
    hunt_crashes(Mutant::UsedKeysNeedJournal, Crashes::Process, 200, is_contradiction);
}
