//! The steps that several inputs of [`Lanes`] share: echo, certify, ask, serve, send again.

use wire::ids::{Digest, Index, Seq, Signature};

use super::own::{Again, Echoed};
use super::{LaneEffects, LaneMessage, LaneOutput, LaneSend, Lanes, statement};
use crate::crypto::cert::Certificate;
use crate::cut::Tip;
use crate::effects::{Effects, To};
use crate::fault::FaultKind;
use crate::member::Member;
use crate::mutant::{Mutant, in_force};
use crate::time::Time;

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
        let statement = statement(owner, tip);
        let Member { committee, suite, .. } = &self.member;
        if !self.certificates.verify(committee, &**suite, &statement, &certificate) {
            self.barred.insert(sender);
            return Effects::fault(self.member.node_at(sender), FaultKind::BadCertificate);
        }
        let mut effects = self.certify(owner, tip, certificate);
        effects.extend(self.advance(now, owner));
        effects
    }

    /// Notes a certificate that is known to be good.
    fn certify(&mut self, owner: Index, tip: Tip, certificate: Certificate) -> LaneEffects {
        let before = self.chain(owner).top();
        self.chain_mut(owner).certify(tip.seq, tip.digest, certificate);
        if owner == self.member.index {
            self.own.certified(tip);
        }
        let was_wanted = self.wants.answered(owner, tip.seq);
        if was_wanted || self.chain(owner).top() != before {
            Effects::output(LaneOutput::Certified(owner))
        } else {
            Effects::none()
        }
    }

    /// After anything new in a lane: echoes what may be echoed, asks for what is missing.
    pub(super) fn advance(&mut self, now: Time, owner: Index) -> LaneEffects {
        let mut effects = Effects::none();
        while let Some(entry) = self.chain(owner).next_to_echo() {
            let tip = entry.tip();
            if in_force(Mutant::EntryStaticValidity) && !(self.validity)(entry.payload()) {
                self.chain_mut(owner).refuse(tip.seq);
                effects.push_fault(self.member.node_at(owner), FaultKind::InvalidEntry);
                continue;
            }
            let signature = self.member.suite.sign(&statement(owner, tip));
            self.chain_mut(owner).echo_given(tip.seq, tip.digest, signature);
            effects.extend(self.echo(owner, tip, signature));
        }
        let needs = self.chain(owner).needs();
        self.fetches.follow(now, owner, &needs);
        self.launch(now, &mut effects);
        effects
    }

    pub(super) fn echo(&self, owner: Index, tip: Tip, signature: Signature) -> LaneEffects {
        let message = LaneMessage::Echo { owner, seq: tip.seq, digest: tip.digest, signature };
        Effects::send(To::Member(self.member.node_at(owner)), LaneSend::Message(message))
    }

    /// Routes what an echo of an own entry led to.
    pub(super) fn absorb_echo(&mut self, tip: Tip, echoed: Echoed) -> LaneEffects {
        let mut effects = Effects::none();
        for (author, kind) in echoed.faults {
            effects.push_fault(self.member.node_at(author), kind);
        }
        if let Some(certificate) = echoed.certificate
            && self.own_chain().certified(tip.seq).is_none()
        {
            effects.extend(self.certify(self.member.index, tip, certificate));
            effects.sends.extend(self.final_of(self.member.index, tip).map(|send| (To::Others, send)));
        }
        effects
    }

    fn final_of(&self, owner: Index, tip: Tip) -> Option<LaneSend> {
        let certificate = self.chain(owner).certificate(tip.seq, tip.digest)?.clone();
        Some(LaneSend::Message(LaneMessage::Final { owner, seq: tip.seq, digest: tip.digest, certificate }))
    }

    pub(super) fn serve_entry(
        &mut self,
        now: Time,
        to: Index,
        owner: Index,
        seq: Seq,
        digest: Digest,
    ) -> LaneEffects {
        let entry = self.chain(owner).body(seq, digest).or_else(|| self.history.find(owner, seq, digest));
        let Some(body) = entry.map(|entry| entry.body.clone()) else { return Effects::none() };
        if !self.serving[usize::from(to.0)].admit(now, body.len() as u64) {
            return Effects::none();
        }
        Effects::send(To::Member(self.member.node_at(to)), LaneSend::Entry { owner, seq, digest, body })
    }

    pub(super) fn serve_certificate(
        &mut self,
        now: Time,
        to: Index,
        owner: Index,
        seq: Seq,
        digest: Digest,
    ) -> LaneEffects {
        let Some(send) = self.final_of(owner, Tip { seq, digest }) else { return Effects::none() };
        if !self.serving[usize::from(to.0)].admit(now, 0) {
            return Effects::none();
        }
        Effects::send(To::Member(self.member.node_at(to)), send)
    }

    pub(super) fn send_again(&self, effects: &mut LaneEffects, seq: Seq, again: Again, finals_to: To) {
        let owner = self.member.index;
        let Some(entry) = self.own_chain().own_entry(seq) else { return };
        match again {
            Again::Final => {
                effects.sends.extend(self.final_of(owner, entry.tip()).map(|send| (finals_to, send)))
            }
            Again::Entry(members) => {
                let send = LaneSend::Entry { owner, seq, digest: entry.digest, body: entry.body.clone() };
                if members.len() + 1 == self.chains.len() {
                    return effects.push_send(To::Others, send);
                }
                for member in members {
                    effects.push_send(To::Member(self.member.node_at(member)), send.clone());
                }
            }
        }
    }

    pub(super) fn launch(&mut self, now: Time, effects: &mut LaneEffects) {
        for (to, message) in self.fetches.launch(now, &self.member, &self.chains) {
            effects.push_send(to, LaneSend::Message(message));
        }
    }
}
