//! What makes a proposed value valid in a view: external validity, and the justification from the view before.

use wire::ids::{Digest, Index, Round, View};

use crate::crypto::cert::{Certificate, CertificateCache};
use crate::crypto::suite::{Stage, Statement};
use crate::cut::{Cut, Tip};
use crate::fault::FaultKind;
use crate::member::Member;
use crate::mutant::{Mutant, in_force};
use crate::mvba::LaneCertificates;
use crate::spb::{Justification, Verdict};

/// What judging an SPB needs of its agreement, borrowed side by side.
pub(super) struct Context<'a> {
    pub(super) member: &'a Member,
    pub(super) cache: &'a mut CertificateCache,
    pub(super) rules: Rules<'a>,
}

/// What makes a proposed value valid in a view.
pub(super) struct Rules<'a> {
    pub(super) member: &'a Member,
    pub(super) round: Round,
    pub(super) view: View,
    /// The leader of the view before; none before view 0.
    pub(super) last_leader: Option<Index>,
    pub(super) previous: &'a Cut,
    pub(super) lanes: &'a dyn LaneCertificates,
}

impl Rules<'_> {
    /// External validity and justification of a value.
    ///
    /// # Security
    /// The justification is certificate 1 of the last view's *leader* with exactly this value, or N−f UNLOCKs for
    /// it. Every other SPB of the last view has a certificate 1 too; accepting one of those forks. \[safety]
    pub(super) fn verdict(
        &self,
        cache: &mut CertificateCache,
        cut: &Cut,
        justification: &Justification,
    ) -> Verdict {
        if !cut.may_follow(self.previous) {
            return Verdict::Invalid(FaultKind::InvalidCut);
        }
        let (stage, digest, certificate) = match (justification, self.view) {
            (Justification::FirstView, View(0)) => return self.lanes_verdict(cut),
            (Justification::FirstView, _) | (_, View(0)) => {
                return Verdict::Invalid(FaultKind::BadJustification);
            }
            (Justification::Locked(certificate), _) => (Stage::Lock, cut.digest(), certificate),
            (Justification::Unlocked(certificate), _) => (Stage::Unlock, Digest::default(), certificate),
        };
        if !self.is_justified(cache, stage, digest, certificate) {
            return Verdict::Invalid(FaultKind::BadJustification);
        }
        match justification {
            // f+1 honest members found it valid before they signed.
            Justification::Locked(_) => Verdict::Valid,
            Justification::Unlocked(_) | Justification::FirstView => self.lanes_verdict(cut),
        }
    }

    fn is_justified(
        &self,
        cache: &mut CertificateCache,
        stage: Stage,
        digest: Digest,
        certificate: &Certificate,
    ) -> bool {
        let Some(leader) = self.last_leader else { return false };
        let view = View(self.view.0 - 1);
        let mut by = |leader, digest| {
            let statement = Statement::Agreement { round: self.round, view, leader, stage, digest };
            cache.verify(&self.member.committee, &*self.member.suite, &statement, certificate)
        };
        by(leader, digest)
            || (!in_force(Mutant::JustificationLeader)
                && self.member.committee.indices().any(|other| by(other, digest)))
            || (!in_force(Mutant::JustificationValue) && stage == Stage::Lock)
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
