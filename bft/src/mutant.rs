//! Protocol rules that can be switched off, to show that the checkers notice.
//!
//! Each variant is a rule of docs/design.md, marked \[safety] there or bounding cost or latency under attack. Without
//! the feature `mutants` every rule is on and this module compiles to nothing; with it a test or a simulation switches
//! one rule off for its own thread. Release binaries are built without the feature.

/// A rule that a mutant breaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mutant {
    /// A member echoes at most one entry for each place of a lane.
    EchoOncePerEntry,
    /// A member echoes nothing at or below its own last decided cut.
    EchoOnlyAboveCut,
    /// An entry is echoed only if its bytes are valid.
    EntryStaticValidity,
    /// A certificate of a lane covers the entries that it chains to, whatever else stands at their positions.
    CoverFollowsParents,
    /// A lane that is not ahead equals the previous cut, digest included.
    TipNotAheadIsEqual,
    /// A cut needs a certificate for each lane that is ahead.
    TipAheadIsCertified,
    /// A member answers one SEND for each view and leader.
    SpbEchoOnce,
    /// A coin share is released only after N−f FINISHes, or f+1 shares of others.
    CoinAfterFinishes,
    /// Once the coin is known, SPBs of its view get no answer.
    StopAnsweringAfterCoin,
    /// Nobody leaves a view before its own VOTE is sent.
    VoteBeforeLeaving,
    /// The value of a later view is the one that the certificate 1 of its lock names.
    JustificationValue,
    /// Only certificate 1 of the elected leader justifies, not that of any other SPB.
    JustificationLeader,
    /// A justification goes back to its lock, or to view 0 if there is none. Without the rule the last view is enough.
    JustificationReachesBack,
    /// A justification proves each view since its lock, not just the last one.
    JustificationHasNoGap,
    /// A HALT proves by coin shares that the certificate is the leader's.
    HaltProvesLeader,
    /// The coin shares of a HALT are verified before they are combined.
    HaltSharesVerified,
    /// After a false block certificate or a false HALT of a member, no further one of that member is verified.
    FalseProofBars,
    /// A peer whose answers do not help is asked again only after growing pauses.
    ClaimsPause,
    /// A certificate has N−f distinct signers.
    CertificateQuorum,
    /// A transaction that was executed is not executed again.
    ExecuteOnce,
    /// A transaction that was rejected can never execute.
    RejectedForGood,
    /// The output shard knows what finished for as long as an input shard bars it.
    FinishedOutlivesExpiries,
    /// A member signs at most one part for each number of a source.
    SignOncePerPart,
    /// A part of another shard needs N−f VOTEs of that shard.
    TransferNeedsCertificate,
    /// In a proof each header names the digest of the one before it.
    TransferHeaderChain,
    /// A part is covered by the outgoing root of its block.
    TransferBranch,
    /// The digest of a part is a tagged hash over its counts and the root of its items, not the bare root.
    PartDigestBindsCounts,
    /// A proposal imports a group part only with N−f SIGNs on it.
    ImportNeedsCertificate,
    /// The parts of a shard are executed in their order, each once.
    PartsInOrder,
    /// Ticks count only from input shards of the transaction.
    TicksOnlyFromInputShards,
    /// That a transaction finished or was cancelled counts only from its output shard.
    EndsOnlyFromOutputShard,
    /// Inputs are given back only while their record is open.
    RefundNeedsOpenRecord,
    /// A transaction with an open record is a duplicate, whatever else is forgotten.
    OpenRecordIsDuplicate,
    /// A transaction that was cancelled here never executes here.
    CancelledForGood,
    /// A transaction is cancelled only when f+1 distinct members listed it.
    CancelNeedsOneHonest,
    /// CL goes to other shards only on N−f CL_M.
    RejectNeedsQuorum,
    /// A transaction that was executed here is not reported as rejected.
    RejectNotUnderOpenRecord,
    /// Another shard's CL is believed only from f+1 of its members.
    BelieveNeedsOneHonest,
    /// A CL counts only once executed blocks have all that its sender had imported.
    RejectAfterWatermark,
    /// Tables hash all bytes of ids that peers choose. Bounds cost.
    HashWholeId,
    /// A cancel is due as soon as it may be listed. Bounds latency.
    CancelIsDueAtOnce,
    /// CL_M and CL that a peer's orders cause are rationed. Bounds cost.
    ReportsAreRationed,
    /// Messages are sent again at a bounded byte rate, and to one peer at most once a second. Bounds cost.
    ResendsArePaced,
    /// A certificate that a cut needs is requested from its proposer first, in one message per cut. Bounds cost.
    WantsGoToProposer,
    /// Further holders are asked for a body before the first has failed for good. Bounds latency.
    SecondHolderIsAsked,
    /// Effects leave a node only once the event that caused them is in its journal.
    EffectsAfterAppend,
    /// With durability `power` they leave only once it is on the disk.
    SyncBeforeEffects,
    /// Only an unfinished last record is cut off from a journal; any other damage ends the start.
    DamageIsNoTail,
    /// A replay goes on from a snapshot with the record that follows it.
    SnapshotHasPosition,
    /// Keys that were used sign only with the journal that remembers all that they signed.
    UsedKeysNeedJournal,
    /// A checkpoint is taken over only if f+1 members offer the same.
    VouchersForCheckpoint,
    /// A piece of a checkpoint has the digest that was vouched for.
    PiecesHaveDigests,
    /// A holder acknowledges copies only if it holds those before them.
    GapIsNotHeld,
    /// Holders propose copies only once their home is silent. Bounds cost.
    CopiesWaitForSilence,
    /// Holders adopt what stands in uncertified entries of a silent member.
    TailsAreAdopted,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 55] = [
        Mutant::EchoOncePerEntry,
        Mutant::EchoOnlyAboveCut,
        Mutant::EntryStaticValidity,
        Mutant::CoverFollowsParents,
        Mutant::TipNotAheadIsEqual,
        Mutant::TipAheadIsCertified,
        Mutant::SpbEchoOnce,
        Mutant::CoinAfterFinishes,
        Mutant::StopAnsweringAfterCoin,
        Mutant::VoteBeforeLeaving,
        Mutant::JustificationValue,
        Mutant::JustificationLeader,
        Mutant::JustificationReachesBack,
        Mutant::JustificationHasNoGap,
        Mutant::HaltProvesLeader,
        Mutant::HaltSharesVerified,
        Mutant::FalseProofBars,
        Mutant::ClaimsPause,
        Mutant::CertificateQuorum,
        Mutant::ExecuteOnce,
        Mutant::RejectedForGood,
        Mutant::FinishedOutlivesExpiries,
        Mutant::SignOncePerPart,
        Mutant::TransferNeedsCertificate,
        Mutant::TransferHeaderChain,
        Mutant::TransferBranch,
        Mutant::PartDigestBindsCounts,
        Mutant::ImportNeedsCertificate,
        Mutant::PartsInOrder,
        Mutant::TicksOnlyFromInputShards,
        Mutant::EndsOnlyFromOutputShard,
        Mutant::RefundNeedsOpenRecord,
        Mutant::OpenRecordIsDuplicate,
        Mutant::CancelledForGood,
        Mutant::CancelNeedsOneHonest,
        Mutant::RejectNeedsQuorum,
        Mutant::RejectNotUnderOpenRecord,
        Mutant::BelieveNeedsOneHonest,
        Mutant::RejectAfterWatermark,
        Mutant::HashWholeId,
        Mutant::CancelIsDueAtOnce,
        Mutant::ReportsAreRationed,
        Mutant::ResendsArePaced,
        Mutant::WantsGoToProposer,
        Mutant::SecondHolderIsAsked,
        Mutant::EffectsAfterAppend,
        Mutant::SyncBeforeEffects,
        Mutant::DamageIsNoTail,
        Mutant::SnapshotHasPosition,
        Mutant::UsedKeysNeedJournal,
        Mutant::VouchersForCheckpoint,
        Mutant::PiecesHaveDigests,
        Mutant::GapIsNotHeld,
        Mutant::CopiesWaitForSilence,
        Mutant::TailsAreAdopted,
    ];
}

#[cfg(feature = "mutants")]
mod switch {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static OFF: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Switches a rule off for this thread, or all rules on again.
    pub fn set(mutant: Option<Mutant>) {
        OFF.with(|off| off.set(mutant));
    }

    pub(super) fn is_off(rule: Mutant) -> bool {
        OFF.with(|off| off.get() == Some(rule))
    }
}

#[cfg(feature = "mutants")]
pub use switch::set;

/// Whether a rule is in force.
#[cfg(feature = "mutants")]
pub(crate) fn in_force(rule: Mutant) -> bool {
    !switch::is_off(rule)
}

/// Whether a rule is in force: always.
#[cfg(not(feature = "mutants"))]
pub(crate) fn in_force(_rule: Mutant) -> bool {
    true
}
