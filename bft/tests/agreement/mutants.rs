//! Checks of the checkers: with a rule switched off, the attack that it stops succeeds and is caught.

use bft::mutant::{self, Mutant};
use bft::sim::bench::Violation;

use crate::staged::{self, Outcome};

/// The damage that a script does to a protocol without the rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Damage {
    Fork,
    InvalidCut,
    Uncertified,
    Stalled,
}

/// A staged attack.
type Script = fn() -> Outcome;

/// The scripts that attack a rule, and the damage that they do without it. `None` for the rules of lanes, ledger,
/// shards and journals and for those that bound costs, which have tests elsewhere. A new rule does not compile until it
/// is listed here.
fn scripts_against(rule: Mutant) -> Option<(&'static [Script], Damage)> {
    match rule {
        Mutant::StopAnsweringAfterCoin => Some((&[staged::lock_shown_after_the_coin], Damage::Fork)),
        Mutant::JustificationLeader => {
            Some((&[staged::justified_by_the_lock_of_another_leader], Damage::Fork))
        }
        Mutant::JustificationReachesBack => Some((&[staged::justified_by_the_last_view_alone], Damage::Fork)),
        Mutant::JustificationHasNoGap => Some((&[staged::justified_by_a_chain_with_a_gap], Damage::Fork)),
        Mutant::JustificationValue => Some((
            &[
                staged::justified_by_the_lock_of_another_value,
                staged::justified_by_an_older_lock_of_another_value,
            ],
            Damage::Fork,
        )),
        Mutant::HaltProvesLeader => Some((&[staged::halt_of_a_leader_that_was_not_elected], Damage::Fork)),
        Mutant::HaltSharesVerified => Some((&[staged::halt_with_shares_made_up], Damage::Fork)),
        Mutant::VoteBeforeLeaving => Some((&[staged::view_left_before_the_own_vote], Damage::Stalled)),
        Mutant::SpbEchoOnce => Some((&[staged::two_values_in_one_spb], Damage::Fork)),
        Mutant::CertificateQuorum => Some((&[staged::certificate_of_one], Damage::Fork)),
        Mutant::TipNotAheadIsEqual => {
            Some((&[staged::another_digest_for_a_lane_that_is_not_ahead], Damage::InvalidCut))
        }
        Mutant::TipAheadIsCertified => Some((&[staged::uncertified_tip], Damage::Uncertified)),
        Mutant::CoinAfterFinishes => Some((&[staged::coin_given_away_early], Damage::Stalled)),
        Mutant::FalseProofBars
        | Mutant::ClaimsPause
        | Mutant::EchoOncePerEntry
        | Mutant::EchoOnlyAboveCut
        | Mutant::EntryStaticValidity
        | Mutant::CoverFollowsParents
        | Mutant::ExecuteOnce
        | Mutant::RejectedForGood
        | Mutant::FinishedOutlivesExpiries
        | Mutant::ImportNeedsCertificate
        | Mutant::PartsInOrder
        | Mutant::TicksOnlyFromInputShards
        | Mutant::EndsOnlyFromOutputShard
        | Mutant::RefundNeedsOpenRecord
        | Mutant::OpenRecordIsDuplicate
        | Mutant::CancelledForGood
        | Mutant::CancelNeedsOneHonest
        | Mutant::ResendsArePaced
        | Mutant::WantsGoToProposer
        | Mutant::SecondHolderIsAsked
        | Mutant::EffectsAfterAppend
        | Mutant::SyncBeforeEffects
        | Mutant::DamageIsNoTail
        | Mutant::SnapshotHasPosition
        | Mutant::UsedKeysNeedJournal
        | Mutant::VouchersForCheckpoint
        | Mutant::PiecesHaveDigests
        | Mutant::GapIsNotHeld
        | Mutant::CopiesWaitForSilence
        | Mutant::TailsAreAdopted
        | Mutant::SignOncePerPart
        | Mutant::TransferNeedsCertificate
        | Mutant::TransferHeaderChain
        | Mutant::TransferBranch
        | Mutant::PartDigestBindsCounts
        | Mutant::RejectNeedsQuorum
        | Mutant::RejectNotUnderOpenRecord
        | Mutant::BelieveNeedsOneHonest
        | Mutant::RejectAfterWatermark
        | Mutant::HashWholeId
        | Mutant::CancelIsDueAtOnce
        | Mutant::ReportsAreRationed => None,
    }
}

fn damage(violation: &Violation) -> Option<Damage> {
    match violation {
        Violation::Fork(_) => Some(Damage::Fork),
        Violation::InvalidCut(_) => Some(Damage::InvalidCut),
        Violation::Uncertified(_) => Some(Damage::Uncertified),
        Violation::Stalled(_) => Some(Damage::Stalled),
        Violation::HeaderFork(_) | Violation::HonestBlamed(_) => None,
    }
}

#[test]
fn without_any_single_rule_a_staged_attack_succeeds() {
    for rule in Mutant::ALL {
        let Some((scripts, expected)) = scripts_against(rule) else { continue };
        for script in scripts {
            mutant::set(None);
            assert_eq!(script(), Ok(()), "{rule:?} in force");
            mutant::set(Some(rule));
            let outcome = script();
            mutant::set(None);
            let violation = outcome.expect_err(&format!("nobody noticed that {rule:?} was off"));
            assert_eq!(damage(&violation), Some(expected), "{rule:?} off: {violation:?}");
        }
    }
}
