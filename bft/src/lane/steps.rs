//! Steps that several inputs of [`Lanes`] share: echo, certify, request, serve, send again.

use std::collections::BTreeSet;

use wire::dest::Dest;
use wire::ids::{Index, Seq, Signature};
use wire::limits::{RUN_ENTRIES_MAX, WANTS_PER_MESSAGE_MAX};

use super::history::Body;
use super::own::{Again, Echoed};
use super::{Bodies, LaneEffects, LaneMessage, LaneOutput, LaneSend, Lanes, statement};
use crate::crypto::cert::Certificate;
use crate::cut::Tip;
use crate::effects::Effects;
use crate::fault::FaultKind;
use crate::member::Member;
use crate::mutant::{Mutant, in_force};
use crate::time::Time;

/// Bytes of a FINAL without its signatures (docs/messages.md).
const FINAL_BYTES: u64 = 59;
/// Bytes that each signature of a certificate adds: signer and signature.
const SIGNATURE_BYTES: u64 = 66;

impl Lanes {
    pub(super) fn handle_final(
        &mut self,
        now: Time,
        sender: Index,
        owner: Index,
        tip: Tip,
        certificate: Certificate,
    ) -> LaneEffects {
        let chain = self.chain(owner);
        if !chain.in_reach(tip.seq) || chain.certified(tip.seq).is_some() || self.barred.contains(&sender) {
            return Effects::none();
        }
        let may_wait = sender == owner && certificate.is_well_formed(&self.member.committee);
        let chain = self.chain_mut(owner);
        let to_verify = if may_wait { chain.claim(tip, certificate) } else { Some(certificate) };
        to_verify.map_or_else(Effects::none, |certificate| self.prove(now, sender, owner, tip, certificate))
    }

    /// Verifies a certificate that `sender` sent, and takes the steps that follow.
    fn prove(
        &mut self,
        now: Time,
        sender: Index,
        owner: Index,
        tip: Tip,
        certificate: Certificate,
    ) -> LaneEffects {
        let statement = statement(owner, tip);
        let Member { committee, suite, .. } = &self.member;
        if !self.certificates.verify(committee, &**suite, &statement, &certificate) {
            self.barred.insert(sender);
            self.chain_mut(sender).drop_claims();
            return Effects::fault(self.member.node_at(sender), FaultKind::BadCertificate);
        }
        self.certify(owner, tip, certificate);
        self.advance(now, owner)
    }

    /// Verifies the FINALs that a lane's owner sent for `from` and beyond, the highest first, until one holds.
    pub(super) fn prove_claims(&mut self, now: Time, owner: Index, from: Seq) -> LaneEffects {
        let mut effects = Effects::none();
        while let Some((tip, certificate)) = self.chain_mut(owner).take_highest_claim(from) {
            effects.extend(self.prove(now, owner, owner, tip, certificate));
        }
        effects
    }

    /// Stores a certificate that is known to be valid.
    fn certify(&mut self, owner: Index, tip: Tip, certificate: Certificate) {
        self.chain_mut(owner).certify(tip, certificate);
        if owner == self.member.index {
            self.own.certified(tip);
        }
    }

    /// Ends wants that are answered, and reports what is certified now: even what is below the highest one or not
    /// wanted at present. Wants may be evicted by others, and a SEND that waits for this certificate would otherwise
    /// wait for ever.
    fn report_certified(&mut self, owner: Index, effects: &mut LaneEffects) {
        for seq in self.chain_mut(owner).take_newly_certified() {
            self.wants.answered(owner, seq);
            effects.outputs.push(LaneOutput::Certified(owner, seq));
        }
    }

    /// After any change in a lane: echoes entries that may be echoed, requests missing ones.
    pub(super) fn advance(&mut self, now: Time, owner: Index) -> LaneEffects {
        self.advance_to(now, owner, Bodies::UnderWay)
    }

    /// The same, where the caller knows whether the bodies of newly decided entries may be under way.
    pub(super) fn advance_to(&mut self, now: Time, owner: Index, bodies: Bodies) -> LaneEffects {
        let mut effects = Effects::none();
        while let Some(entry) = self.chains[usize::from(owner.0)].next_to_echo() {
            let tip = entry.tip();
            if in_force(Mutant::EntryStaticValidity)
                && !(self.validity)(entry.payload(), &mut self.certificates)
            {
                self.chain_mut(owner).refuse(tip.seq);
                effects.push_fault(self.member.node_at(owner), FaultKind::InvalidEntry);
                continue;
            }
            let signature = self.member.suite.sign(&statement(owner, tip));
            self.chain_mut(owner).echo_given(tip.seq, tip.digest, signature);
            effects.extend(self.echo(owner, tip, signature));
        }
        self.report_certified(owner, &mut effects);
        let missing = self.chain_mut(owner).take_missing();
        self.fetches.follow(now, owner, missing, bodies);
        self.launch(now, &mut effects);
        effects
    }

    pub(super) fn echo(&self, owner: Index, tip: Tip, signature: Signature) -> LaneEffects {
        let message = LaneMessage::Echo { owner, seq: tip.seq, digest: tip.digest, signature };
        Effects::send(Dest::Node(self.member.node_at(owner)), LaneSend::Message(message))
    }

    /// Routes the result of an echo of an own entry.
    pub(super) fn absorb_echo(&mut self, tip: Tip, echoed: Echoed) -> LaneEffects {
        let mut effects = Effects::none();
        for (author, kind) in echoed.faults {
            effects.push_fault(self.member.node_at(author), kind);
        }
        if let Some(certificate) = echoed.certificate
            && self.own_chain().certificate(tip).is_none()
        {
            self.certify(self.member.index, tip, certificate);
            self.report_certified(self.member.index, &mut effects);
            effects.sends.extend(self.final_of(self.member.index, tip).map(|send| (Dest::ShardOthers, send)));
        }
        effects
    }

    pub(super) fn final_of(&self, owner: Index, tip: Tip) -> Option<LaneSend> {
        let certificate = self.chain(owner).certificate(tip)?.clone();
        Some(LaneSend::Message(LaneMessage::Final { owner, seq: tip.seq, digest: tip.digest, certificate }))
    }

    /// Answers a request for `count` entries, from `tip` downwards, as far as they are here and the requester's budget
    /// allows.
    pub(super) fn serve_entries(
        &mut self,
        now: Time,
        to: Index,
        owner: Index,
        mut tip: Tip,
        count: u16,
    ) -> LaneEffects {
        let node = self.member.node_at(to);
        if count == 0 || u64::from(count) > RUN_ENTRIES_MAX.min(tip.seq.0) {
            return Effects::fault(node, FaultKind::OutOfRange);
        }
        let mut effects = Effects::none();
        for _ in 0..count {
            let Tip { seq, digest } = tip;
            let open = || self.chain(owner).body(seq, digest);
            let open = open().map(|entry| (Body::Here(entry.body.clone()), entry.parent));
            let executed = || self.history.find(owner, seq, digest);
            let kept = open.or_else(|| executed().map(|kept| (kept.body.clone(), kept.parent)));
            let Some((body, parent)) = kept else { break };
            if !self.serving[usize::from(to.0)].admit(now, body.bytes()) {
                break;
            }
            let send = match body {
                Body::Here(body) => LaneSend::Entry { owner, seq, digest, body },
                Body::InJournal(_) => LaneSend::Kept { owner, seq, digest },
            };
            effects.push_send(Dest::Node(node), send);
            tip = Tip { seq: Seq(seq.0 - 1), digest: parent };
        }
        effects
    }

    /// Answers a request for certificates with those known here; each counts towards the requester's budget.
    pub(super) fn serve_certificates(&mut self, now: Time, to: Index, tips: &[(Index, Tip)]) -> LaneEffects {
        let node = self.member.node_at(to);
        // Strictly ascending, so no tip occurs twice: one short message must not bring the same certificate many times.
        let is_ascending = tips.windows(2).all(|pair| pair[0] < pair[1]);
        if tips.len() > WANTS_PER_MESSAGE_MAX
            || !is_ascending
            || !tips.iter().all(|(owner, _)| self.is_lane(*owner))
        {
            return Effects::fault(node, FaultKind::OutOfRange);
        }
        let mut effects = Effects::none();
        for (owner, tip) in tips {
            effects.extend(self.prove_claims(now, *owner, tip.seq));
            let Some((proven, certificate)) = self.chain(*owner).proof(*tip) else { continue };
            let bytes = FINAL_BYTES + SIGNATURE_BYTES * certificate.0.len() as u64;
            if !self.serving[usize::from(to.0)].admit(now, bytes) {
                return effects;
            }
            effects.sends.extend(self.final_of(*owner, proven).map(|send| (Dest::Node(node), send)));
        }
        effects
    }

    /// Sends again the entries and FINALs of the own lane that are due.
    pub(super) fn send_again(&mut self, now: Time, effects: &mut LaneEffects) {
        let owner = self.member.index;
        for (seq, again) in self.own.again(now, &self.member) {
            let Some(entry) = self.own_chain().own_entry(seq) else { continue };
            match again {
                Again::Final => {
                    let send = self.final_of(owner, entry.tip());
                    effects.sends.extend(send.map(|send| (Dest::ShardOthers, send)));
                }
                Again::Entry(members) => {
                    let body = entry.body.clone();
                    let send = LaneSend::Entry { owner, seq, digest: entry.digest, body };
                    effects.push_send(self.among(members), send);
                }
            }
        }
    }

    /// The shortest destination that names these other members.
    pub(super) fn among(&self, members: BTreeSet<Index>) -> Dest {
        if members.len() + 1 == self.chains.len() {
            return Dest::ShardOthers;
        }
        Dest::Set(members.into_iter().map(|member| self.member.node_at(member)).collect())
    }

    pub(super) fn launch(&mut self, now: Time, effects: &mut LaneEffects) {
        for (dest, message) in self.fetches.launch(now, &self.member, &self.chains) {
            effects.push_send(dest, LaneSend::Message(message));
        }
    }

    pub(super) fn launch_wants(&mut self, now: Time, effects: &mut LaneEffects) {
        for (asked, tips) in self.wants.launch(now, &self.member) {
            effects.push_send(self.among(asked), LaneSend::Message(LaneMessage::WantCertificates { tips }));
        }
    }
}
