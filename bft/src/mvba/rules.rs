//! The validity of a proposed value in a view: external validity, and the chain of locks and UNLOCKs behind it
//! ([`crate::justification`]).

use wire::ids::{Digest, Index, Round, View};

use crate::crypto::cert::{Certificate, CertificateCache};
use crate::crypto::suite::{Stage, Statement};
use crate::cut::{Cut, Tip};
use crate::fault::FaultKind;
use crate::justification::{Justification, Lock};
use crate::member::Member;
use crate::mutant::{Mutant, in_force};
use crate::mvba::LaneCertificates;
use crate::spb::Verdict;

/// The parts of an agreement that judging an SPB needs, borrowed side by side.
pub(super) struct Context<'a> {
    pub(super) member: &'a Member,
    pub(super) cache: &'a mut CertificateCache,
    pub(super) rules: Rules<'a>,
}

/// The rules for a value in a view.
pub(super) struct Rules<'a> {
    pub(super) member: &'a Member,
    pub(super) round: Round,
    pub(super) view: View,
    /// The leaders of all earlier views; the index is the view.
    pub(super) leaders: Vec<Index>,
    pub(super) previous: &'a Cut,
    pub(super) lanes: &'a dyn LaneCertificates,
}

impl Rules<'_> {
    /// External validity and justification of a value.
    ///
    /// # Security
    /// A lock is certificate 1 of its view's *leader* with exactly this value: every other SPB of the view has a
    /// certificate 1 too, and accepting one of those forks. The chain leaves out no view since the lock: a view left
    /// out might have decided another value. \[safety]
    pub(super) fn verdict(
        &self,
        cache: &mut CertificateCache,
        cut: &Cut,
        justification: &Justification,
    ) -> Verdict {
        if !cut.may_follow(self.previous) {
            return Verdict::Invalid(FaultKind::InvalidCut);
        }
        if !self.is_justified(cache, cut, justification) {
            return Verdict::Invalid(FaultKind::BadJustification);
        }
        match justification.lock {
            // f+1 honest members found it valid before they signed.
            Some(_) => Verdict::Valid,
            None => self.lanes_verdict(cut),
        }
    }

    fn is_justified(&self, cache: &mut CertificateCache, cut: &Cut, chain: &Justification) -> bool {
        let Some(first) = chain.first_unlocked(self.view) else { return false };
        // Without the rule the UNLOCKs of the last view justify anything, as in the prototype.
        let any = !in_force(Mutant::JustificationReachesBack) && !chain.unlocks.is_empty();
        if !chain.reaches_back(self.view) && !any {
            return false;
        }
        let locked = chain.lock.as_ref().is_none_or(|lock| self.is_locked(cache, cut, lock));
        let mut unlocks = (first.0..).map(View).zip(&chain.unlocks);
        let passed_over = |view: View| view.next() < self.view && !in_force(Mutant::JustificationHasNoGap);
        locked && unlocks.all(|(view, unlocks)| passed_over(view) || self.is_unlocked(cache, view, unlocks))
    }

    fn is_locked(&self, cache: &mut CertificateCache, cut: &Cut, lock: &Lock) -> bool {
        let digest = cut.digest();
        let mut by = |leader| self.proves(cache, lock.view, leader, Stage::Lock, digest, &lock.certificate);
        self.leader(lock.view).is_some_and(&mut by)
            || (!in_force(Mutant::JustificationLeader) && self.member.committee.indices().any(by))
            || !in_force(Mutant::JustificationValue)
    }

    fn is_unlocked(&self, cache: &mut CertificateCache, view: View, unlocks: &Certificate) -> bool {
        let by = |leader| self.proves(cache, view, leader, Stage::Unlock, Digest::default(), unlocks);
        self.leader(view).is_some_and(by)
    }

    /// The elected leader of an earlier view.
    fn leader(&self, view: View) -> Option<Index> {
        self.leaders.get(view.0 as usize).copied()
    }

    fn proves(
        &self,
        cache: &mut CertificateCache,
        view: View,
        leader: Index,
        stage: Stage,
        digest: Digest,
        certificate: &Certificate,
    ) -> bool {
        let statement = Statement::Agreement { round: self.round, view, leader, stage, digest };
        cache.verify(&self.member.committee, &*self.member.suite, &statement, certificate)
    }

    fn lanes_verdict(&self, cut: &Cut) -> Verdict {
        if missing(cut, self.previous, self.lanes).is_empty() || !in_force(Mutant::TipAheadIsCertified) {
            Verdict::Valid
        } else {
            Verdict::Pending
        }
    }
}

/// The entries of a cut whose certificates are not known here.
pub(super) fn missing(cut: &Cut, previous: &Cut, lanes: &dyn LaneCertificates) -> Vec<(Index, Tip)> {
    if !cut.may_follow(previous) {
        return Vec::new();
    }
    cut.ahead_of(previous).filter(|(lane, tip)| !lanes.is_certified(*lane, *tip)).collect()
}
