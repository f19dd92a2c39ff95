//! The destination's side, for one source: bodies, SIGNs, fetches, acknowledgements.
//!
//! Bound: slots for the [`PARTS_AHEAD_MAX`] numbers beyond the last executed one, and for those that a decided block
//! names; each holds one vote a member and one proved body. Fetches and alarms stand in queues of their own, so that an
//! event does not walk over the slots.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wire::dest::Dest;
use wire::ids::{Index, PartNumber, Round, ShardId, Signature};
use wire::limits::PARTS_AHEAD_MAX;

use super::proof::Held;
use super::slot::{Counted, Slot, Turn};
use super::{TransferEffects, TransferOutput, TransferSend};
use crate::crypto::suite::Statement;
use crate::fault::FaultKind;
use crate::member::Member;
use crate::mutant::{Mutant, in_force};
use crate::part::{Part, PartRef};
use crate::proposal::Import;
use crate::resend::Resend;
use crate::shard::message::PartMessage;
use crate::time::{Span, Time};

/// Requests for bodies in flight: as many of the longest parts as a few members serve at once.
const FETCHES_MAX: usize = 8;
/// Shortest time between two acknowledgements, unless many parts wait for one.
const ACK_INTERVAL: Span = Span::from_ms(50);
/// Parts acknowledged at once, so that the source's window never waits for the interval.
const ACK_PARTS: u64 = 16;

/// Parts on their way from one shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Incoming {
    source: ShardId,
    imported: PartNumber,
    slots: BTreeMap<PartNumber, Slot>,
    /// The times of our next SIGNs of parts that are not executed.
    resend: Resend,
    ack: Ack,
    /// Missing bodies to be requested, by the time from which they are due.
    unasked: BTreeSet<(Time, PartNumber)>,
    /// Requested bodies, by the time until which an answer is awaited.
    in_flight: BTreeSet<(Time, PartNumber)>,
    /// The times at which the turn of some member to propose an eligible part comes. At most one a slot.
    alarms: BTreeSet<(Time, PartNumber)>,
}

/// The acknowledgements that we have sent.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Ack {
    sent: PartNumber,
    at: Option<Time>,
}

/// Time, height and member of a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<'a> {
    pub now: Time,
    /// Our own height.
    pub height: Round,
    pub member: &'a Member,
}

/// The use of a body of some number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    /// It is missing, and useful.
    Missing,
    /// Useless: it is here, or beyond the numbers that we work on.
    None,
    /// It is executed, and its sender may not know that.
    Executed,
}

impl Incoming {
    pub(super) fn new(source: ShardId) -> Incoming {
        Incoming {
            source,
            imported: PartNumber(0),
            slots: BTreeMap::new(),
            resend: Resend::default(),
            ack: Ack::default(),
            unasked: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            alarms: BTreeSet::new(),
        }
    }

    /// Changes a slot, creates it if it does not exist, and updates the queues with it.
    fn change<R>(&mut self, number: PartNumber, change: impl FnOnce(&mut Slot) -> R) -> R {
        let slot = self.slots.entry(number).or_default();
        let (turn, alarm) = (slot.turn(), slot.alarm());
        let result = change(slot);
        let (new_turn, new_alarm) = (slot.turn(), slot.alarm());
        if turn != new_turn {
            self.forget_turn(number, turn);
            match new_turn {
                Some(Turn::Ours(from)) => _ = self.unasked.insert((from, number)),
                Some(Turn::Theirs(until)) => _ = self.in_flight.insert((until, number)),
                None => {}
            }
        }
        if alarm != new_alarm {
            alarm.map(|alarm| self.alarms.remove(&(alarm, number)));
            new_alarm.map(|alarm| self.alarms.insert((alarm, number)));
        }
        result
    }

    fn forget_turn(&mut self, number: PartNumber, turn: Option<Turn>) {
        match turn {
            Some(Turn::Ours(from)) => _ = self.unasked.remove(&(from, number)),
            Some(Turn::Theirs(until)) => _ = self.in_flight.remove(&(until, number)),
            None => {}
        }
    }

    pub(super) fn use_of(&self, number: PartNumber) -> Use {
        if number <= self.imported {
            return Use::Executed;
        }
        match self.slots.get(&number) {
            Some(slot) if slot.lacks_body() => Use::Missing,
            None if self.is_near(number) => Use::Missing,
            Some(_) | None => Use::None,
        }
    }

    /// Stores a part whose proof holds, and signs it.
    pub(super) fn accept(&mut self, step: &Step, held: Held, effects: &mut TransferEffects) {
        let part = held.part.reference();
        let is_near = self.is_near(part.number);
        let signature = self.change(part.number, |slot| {
            slot.hold(Arc::new(held));
            // # Security: two SIGNs for one number would let two parts be certified under it. [safety]
            let is_first = slot.signed.is_none() || !in_force(Mutant::SignOncePerPart);
            let signs = is_near && is_first;
            let signature = signs.then(|| step.member.suite.sign(&Statement::Part(part)));
            slot.signed = signature.map(|signature| (part.digest, signature)).or(slot.signed);
            signature
        });
        if let Some(signature) = signature {
            self.resend.arm(step.now);
            push_vote(Dest::ShardOthers, part, signature, effects);
            self.count(step, step.member.index, part, signature, effects);
        }
    }

    /// A SIGN of a member of our shard.
    pub(super) fn vote(
        &mut self,
        step: &Step,
        author: Index,
        part: PartRef,
        signature: Signature,
        effects: &mut TransferEffects,
    ) {
        if self.is_near(part.number) || self.slots.contains_key(&part.number) {
            self.count(step, author, part, signature, effects);
        }
    }

    fn count(
        &mut self,
        step: &Step,
        author: Index,
        part: PartRef,
        signature: Signature,
        effects: &mut TransferEffects,
    ) {
        let Step { now, height, member } = *step;
        self.change(part.number, |slot| {
            match slot.count(member, author, part, signature) {
                Counted::Equivocation => effects.push_fault(member.node_at(author), FaultKind::Equivocation),
                Counted::Collected(collected) => {
                    for bad in collected.bad {
                        effects.push_fault(member.node_at(bad), FaultKind::BadSignature);
                    }
                    if let Some(certificate) = collected.certificate {
                        slot.complete(now, height, part, certificate);
                        effects.outputs.push(TransferOutput::Eligible(part));
                    }
                }
            }
            slot.consider_fetch(now, member.committee.one_honest());
        });
    }

    /// A decided block executes this part.
    pub(super) fn want(&mut self, now: Time, part: &PartRef) {
        if part.number > self.imported {
            self.change(part.number, |slot| slot.want(now, part.digest));
        }
    }

    /// All parts up to `watermark` are executed; returns the bodies that were here.
    pub(super) fn imported(&mut self, now: Time, watermark: PartNumber) -> Vec<Arc<Held>> {
        if watermark <= self.imported {
            return Vec::new();
        }
        self.imported = watermark;
        let mut held = Vec::new();
        while let Some(entry) = self.slots.first_entry().filter(|entry| *entry.key() <= watermark) {
            let (number, slot) = entry.remove_entry();
            self.forget_turn(number, slot.turn());
            slot.alarm().map(|alarm| self.alarms.remove(&(alarm, number)));
            held.extend(slot.held);
        }
        self.resend.stop();
        if self.slots.values().any(|slot| slot.signed.is_some()) {
            self.resend.progressed(now);
        }
        held
    }

    /// Parts to be listed in our next proposal, ascending.
    pub(super) fn eligible(&self, now: Time, height: Round, member: &Member) -> impl Iterator<Item = Import> {
        let all = self.slots.values().filter_map(|slot| slot.eligible.as_ref());
        let due = all.filter(move |eligible| eligible.is_due(now, height, member));
        due.map(|eligible| Import { part: eligible.part, certificate: eligible.certificate.clone() })
    }

    /// We have listed this part in a proposal.
    pub(super) fn proposed(&mut self, now: Time, number: PartNumber) {
        if self.slots.contains_key(&number) {
            self.change(number, |slot| slot.proposed(now));
        }
    }

    /// The body of a part that is not executed.
    pub(super) fn held(&self, part: &PartRef) -> Option<&Arc<Held>> {
        let held = self.slots.get(&part.number)?.held.as_ref();
        held.filter(|held| held.part.digest == part.digest)
    }

    /// The body of exactly this part, if it is not executed.
    pub(super) fn body(&self, part: &PartRef) -> Option<Arc<Part>> {
        self.held(part).map(|held| held.part.clone())
    }

    /// Our SIGNs of parts that are not executed.
    pub(super) fn repeat_votes(&self, to: &Dest, effects: &mut TransferEffects) {
        for (number, slot) in &self.slots {
            if let Some((digest, signature)) = slot.signed {
                let part = PartRef { source: self.source, number: *number, digest };
                push_vote(to.clone(), part, signature, effects);
            }
        }
    }

    /// Our last executed number, if any, for members of the source.
    pub(super) fn repeat_ack(&self, to: Dest, effects: &mut TransferEffects) {
        if self.imported > PartNumber(0) {
            effects.push_send(to, TransferSend::Message(PartMessage::Ack(self.imported)));
        }
    }

    /// Requests and answers may have been lost.
    pub(super) fn retry_now(&mut self, now: Time) {
        while let Some((_, number)) = self.in_flight.first().copied() {
            self.change(number, |slot| slot.retry_now(now));
        }
    }

    /// Sends everything that is due: fetches, acknowledgements, repeated SIGNs.
    pub(super) fn tick(&mut self, now: Time, member: &Member, effects: &mut TransferEffects) {
        self.fetch(now, member, effects);
        self.acknowledge(now, effects);
        if self.resend.is_due(now) {
            self.repeat_votes(&Dest::ShardOthers, effects);
        }
        while let Some((_, number)) = self.alarms.first().copied().filter(|(alarm, _)| *alarm <= now) {
            self.change(number, Slot::alarm_rang);
            effects.outputs.push(TransferOutput::Due);
        }
    }

    /// Acknowledges executed parts, if it is time.
    pub(super) fn acknowledge(&mut self, now: Time, effects: &mut TransferEffects) {
        if self.ack_due().is_some_and(|due| due <= now) {
            self.ack = Ack { sent: self.imported, at: Some(now) };
            self.repeat_ack(Dest::Shard(self.source), effects);
        }
    }

    /// Requests due bodies, those that have waited longest first, while few requests are in flight.
    pub(super) fn fetch(&mut self, now: Time, member: &Member, effects: &mut TransferEffects) {
        while let Some((until, number)) = self.in_flight.first().copied().filter(|(until, _)| *until <= now) {
            self.change(number, |slot| slot.retry_now(until));
        }
        while self.in_flight.len() < FETCHES_MAX
            && let Some((_, number)) = self.unasked.first().copied().filter(|(from, _)| *from <= now)
        {
            let source = self.source;
            let asked = self.change(number, |slot| slot.ask(now, member, source));
            let (nodes, digest) = asked.expect("a due request is for a missing body");
            let part = PartRef { source, number, digest };
            effects.push_send(Dest::Set(nodes), TransferSend::Message(PartMessage::Want(part)));
        }
    }

    pub(super) fn next_wakeup(&self) -> Option<Time> {
        let unasked = self.unasked.first().filter(|_| self.in_flight.len() < FETCHES_MAX);
        let queues = [unasked, self.in_flight.first(), self.alarms.first()];
        let queues = queues.into_iter().flatten().map(|(time, _)| *time);
        queues.chain(self.ack_due()).chain(self.resend.due()).min()
    }

    fn ack_due(&self) -> Option<Time> {
        let behind = self.imported.0 - self.ack.sent.0;
        let waits = self.ack.at.filter(|_| behind < ACK_PARTS);
        (behind > 0).then(|| waits.map_or(Time(0), |at| at + ACK_INTERVAL))
    }

    /// Whether we sign parts of this number at present.
    fn is_near(&self, number: PartNumber) -> bool {
        number > self.imported && number.0 - self.imported.0 <= PARTS_AHEAD_MAX
    }

    /// The number of slots.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

fn push_vote(to: Dest, part: PartRef, signature: Signature, effects: &mut TransferEffects) {
    effects.push_send(to, TransferSend::Message(PartMessage::Vote { part, signature }));
}
