//! Certificates of a lane: which of them are verified, and what each of them covers.
//!
//! An owner sends one for each entry, and each is N−f signatures to verify. A certificate covers the prefix, so of those
//! that came between two cuts one is enough: the highest. The owner's FINAL for an entry that we echoed is therefore
//! kept as a *claim*; the highest one is verified when our own cut or somebody else's needs it. What lies below it on
//! its branch counts as certified from then on.
//!
//! # Correctness
//! \[safety] A certificate covers what it chains to by digests, whatever else an owner sent for those positions. An
//! entry that a certificate covers is the only one of its position that can be certified, and f+1 honest members hold
//! it (see [`super`]): that is all that a tip of a cut has to prove. Our own cuts name only entries with certificates of
//! their own, so whoever asks us for the proof of one gets it.
//!
//! # Security
//! A claim proves nothing before it is verified. Only the lane's owner can have one kept, at most one a position and
//! only for what we echoed, so false ones take no other's place. Only one of N−f signers is kept, so its length is
//! bounded. The first one found false bars the owner.

use wire::ids::Seq;

use super::Chain;
use crate::crypto::cert::Certificate;
use crate::cut::Tip;
use crate::mutant::{Mutant, in_force};

impl Chain {
    /// Keeps the owner's FINAL for later, unless it has to be verified now: we did not echo this entry, so we may lack
    /// it or those before it, or the running round waits for certificates of this lane. Returns it in that case.
    pub(in crate::lane) fn claim(&mut self, tip: Tip, certificate: Certificate) -> Option<Certificate> {
        let slot = self.slots.get_mut(&tip.seq).filter(|slot| slot.echoed() == Some(tip.digest));
        match slot {
            Some(slot) if !self.is_demanded => {
                slot.claim = Some(certificate);
                self.with_claim.insert(tip.seq);
                None
            }
            _ => Some(certificate),
        }
    }

    /// Whether something here is said to be certified beyond this position.
    pub(in crate::lane) fn may_be_ahead_of(&self, seq: Seq) -> bool {
        self.top.seq > seq || self.with_claim.last().is_some_and(|claimed| *claimed > seq)
    }

    /// Takes out the highest claim at or above a position.
    pub(in crate::lane) fn take_highest_claim(&mut self, from: Seq) -> Option<(Tip, Certificate)> {
        let seq = *self.with_claim.range(from..).next_back()?;
        self.with_claim.remove(&seq);
        let slot = self.slots.get_mut(&seq)?;
        let (digest, certificate) = (slot.echoed()?, slot.claim.take()?);
        Some((Tip { seq, digest }, certificate))
    }

    /// Drops all claims: the owner has sent a false certificate, so none of them counts.
    pub(in crate::lane) fn drop_claims(&mut self) {
        self.drop_claims_below(Seq(u64::MAX));
    }

    /// Drops the claims below a position.
    pub(super) fn drop_claims_below(&mut self, end: Seq) {
        let kept = self.with_claim.split_off(&end);
        for seq in std::mem::replace(&mut self.with_claim, kept) {
            self.slots.entry(seq).and_modify(|slot| slot.claim = None);
        }
    }

    /// The running round needs an entry of this lane that is not certified here.
    pub(in crate::lane) fn demand(&mut self) {
        self.is_demanded = true;
    }

    /// The next round begins.
    pub(in crate::lane) fn end_demand(&mut self) {
        self.is_demanded = false;
    }

    /// Stores a verified certificate for a position in reach that has none yet.
    pub(in crate::lane) fn certify(&mut self, tip: Tip, certificate: Certificate) {
        let Tip { seq, digest } = tip;
        let slot = self.slots.entry(seq).or_default();
        if slot.certified().is_none() {
            self.newly_certified.push(seq);
        }
        slot.certificate = Some((digest, certificate));
        slot.claim = None;
        self.kept_bytes -= slot.drop_superseded();
        self.with_certificate.insert(seq);
        self.with_claim.remove(&seq);
        if seq > self.top.seq {
            self.top = tip;
        }
        self.cover_below(tip);
    }

    /// Marks the entries below a certified one as covered, down to the first whose header and body are both missing.
    /// Called again when one of these arrives. Does nothing for an entry that is not certified.
    pub(super) fn cover_below(&mut self, mut tip: Tip) {
        while self.slots.get(&tip.seq).is_some_and(|slot| slot.certified() == Some(tip.digest)) {
            let Some(parent) = self.slots[&tip.seq].parent_of(tip.digest) else { return };
            tip = Tip { seq: Seq(tip.seq.0 - 1), digest: parent };
            if tip.seq <= self.decided.seq {
                return;
            }
            self.work += 1;
            let slot = self.slots.entry(tip.seq).or_default();
            if slot.certified().is_some() {
                return;
            }
            if !in_force(Mutant::CoverFollowsParents) {
                tip.digest = slot.first.map_or(tip.digest, |header| header.digest);
            }
            slot.covered = Some(tip.digest);
            slot.claim = None;
            self.with_claim.remove(&tip.seq);
            self.kept_bytes -= slot.drop_superseded();
            self.newly_certified.push(tip.seq);
        }
    }

    /// Positions found to be certified since the last call.
    pub(in crate::lane) fn take_newly_certified(&mut self) -> Vec<Seq> {
        std::mem::take(&mut self.newly_certified)
    }

    /// The verified certificate that proves an entry: its own, else the lowest one that covers it.
    pub(in crate::lane) fn proof(&self, tip: Tip) -> Option<(Tip, &Certificate)> {
        if self.certified(tip.seq) != Some(tip.digest) {
            return None;
        }
        let seq = *self.with_certificate.range(tip.seq..).next()?;
        let (digest, certificate) = self.slots[&seq].certificate.as_ref()?;
        Some((Tip { seq, digest: *digest }, certificate))
    }
}
