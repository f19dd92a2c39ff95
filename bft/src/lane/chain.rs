//! One lane as one member sees it: the entries received, echoed, certified, decided and missing.
//!
//! Each position above the last executed cut has a slot. A slot keeps at most one body: that of the decided digest,
//! else of the certified one, else of the owner's first entry. Pure bookkeeping: the parent signs, verifies and sends.
//!
//! # Correctness
//! A certificate covers the whole prefix: among its N−f signers at least N−2f ≥ f+1 are honest, and each of them echoed
//! the parent, or held the parent's certificate, or had the parent decided. So the parent is certified, or f+1 honest
//! members have signed it and no other entry of its position can reach N−f; by induction no two certified entries of a
//! lane lie on different branches.
//!
//! # Security
//! Slots lie between the executed cut and `headers` positions beyond the decided one; bodies beyond the decided cut are
//! bounded in count and bytes. An echoed body is never evicted, since the certificate that its echo may become part of
//! promises that the signers hold it.
//!
//! An event costs what it changes. For decided positions, whose number grows with the unexecuted backlog, only changes
//! are reported ([`Missing`]); of undecided positions an event visits those whose bodies are kept, twice the pipeline.

mod claims;
mod needs;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use wire::ids::{Digest, Seq, Signature};

use super::entry::Entry;
use super::slot::{Echo, Header, Slot};
use crate::crypto::cert::Certificate;
use crate::cut::Tip;
use crate::mutant::{Mutant, in_force};

/// How far beyond the own last decided cut a lane is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Reach {
    /// Positions whose bodies are kept: twice what an honest owner has open, since the owner's cut may be ahead of
    /// ours.
    pub(super) bodies: u64,
    /// Positions of which at least the header is kept; entries further ahead are dropped.
    pub(super) headers: u64,
    /// Bytes of bodies.
    pub(super) bytes: u64,
}

/// Whether bytes came from the lane's owner, who makes entries, or from another member, who forwards them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    Owner,
    Other,
}

/// The result of receiving an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Received {
    /// Nothing: it is known, not wanted, or was refused before.
    Nothing,
    /// A header or a body is new here: entries may now be echoed or assembled, and others may be missing.
    News,
    /// The owner sent an entry again that we echoed: the echo may have been lost.
    Again(Digest, Signature),
    /// The owner's second, different entry for one position. Its body is kept if it is the certified one.
    Equivocation,
    /// At or below the decided cut, from the owner, and not known to be wanted.
    Stale,
    /// Beyond all positions that are kept.
    TooFar,
}

/// Why a body is missing, from the most to the least urgent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) enum Cause {
    /// A decided block holds it.
    Decided,
    /// It is certified, so the next cuts may hold it.
    Certified,
    /// Its owner vouches for it, and the echo rule needs it.
    Claimed,
}

/// A missing body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Need {
    pub(super) seq: Seq,
    pub(super) digest: Digest,
    pub(super) cause: Cause,
    /// Its length, if its header is known. Then the body was here and was evicted, so it is not under way.
    pub(super) bytes: Option<u64>,
}

/// Changes to the missing bodies of a lane.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Missing {
    /// Bodies of decided entries found missing since the last report.
    pub(super) decided: Vec<Need>,
    /// Decided positions whose bodies have arrived since then.
    pub(super) arrived: Vec<Seq>,
    /// All missing bodies of undecided entries, ascending, at most one a position.
    pub(super) undecided: Vec<Need>,
}

/// One lane.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Chain {
    reach: Reach,
    decided: Tip,
    executed: Seq,
    /// All decided entries up to this position are here.
    complete: Seq,
    /// The highest certified entry, never behind `decided`.
    top: Tip,
    slots: BTreeMap<Seq, Slot>,
    /// Positions of `slots` that have a certificate.
    with_certificate: BTreeSet<Seq>,
    /// Undecided positions that are not known to be certified, and whose FINAL is here and not verified.
    with_claim: BTreeSet<Seq>,
    /// Whether the running round needs more of this lane than is certified: then each FINAL is verified as it comes.
    is_demanded: bool,
    /// Positions found to be certified that were not reported yet.
    newly_certified: Vec<Seq>,
    /// Bytes of the bodies beyond the decided cut.
    kept_bytes: u64,
    /// Bytes of the bodies at decided positions whose entry is not known yet.
    unsettled_bytes: u64,
    /// Changes of decided positions that were not reported yet.
    missing: Missing,
    /// Slots visited, for the work meter.
    #[serde(skip)]
    work: u64,
}

impl Chain {
    pub(super) fn new(reach: Reach) -> Chain {
        Chain {
            reach,
            decided: Tip::default(),
            executed: Seq(0),
            complete: Seq(0),
            top: Tip::default(),
            slots: BTreeMap::new(),
            with_certificate: BTreeSet::new(),
            with_claim: BTreeSet::new(),
            is_demanded: false,
            newly_certified: Vec::new(),
            kept_bytes: 0,
            unsettled_bytes: 0,
            missing: Missing::default(),
            work: 0,
        }
    }

    /// Slots visited so far.
    pub(super) fn work(&self) -> u64 {
        self.work
    }

    pub(super) fn decided(&self) -> Tip {
        self.decided
    }

    pub(super) fn top(&self) -> Tip {
        self.top
    }

    /// Whether a position is undecided and near enough to be kept.
    pub(super) fn in_reach(&self, seq: Seq) -> bool {
        seq > self.decided.seq && seq.0 - self.decided.seq.0 <= self.reach.headers
    }

    fn keeps_body_of(&self, seq: Seq) -> bool {
        seq > self.decided.seq && seq.0 - self.decided.seq.0 <= self.reach.bodies
    }

    /// The certified digest of a position.
    pub(super) fn certified(&self, seq: Seq) -> Option<Digest> {
        self.slots.get(&seq).and_then(Slot::certified)
    }

    /// Whether this entry is known to be certified; those of a decided cut count as such.
    pub(super) fn is_certified(&self, tip: Tip) -> bool {
        let Some(slot) = self.slots.get(&tip.seq) else {
            return tip == self.decided;
        };
        tip == self.decided || slot.certified() == Some(tip.digest) || slot.settled == Some(tip.digest)
    }

    /// The certificate of exactly this entry.
    pub(super) fn certificate(&self, tip: Tip) -> Option<&Certificate> {
        let (certified, certificate) = self.slots.get(&tip.seq)?.certificate.as_ref()?;
        (*certified == tip.digest).then_some(certificate)
    }

    /// The body of exactly this entry.
    pub(super) fn body(&self, seq: Seq, digest: Digest) -> Option<&Entry> {
        self.slots.get(&seq)?.body.as_ref().filter(|entry| entry.digest == digest)
    }

    /// The decided entry of a position, if its body is here.
    pub(super) fn decided_entry(&self, seq: Seq) -> Option<&Entry> {
        let slot = self.slots.get(&seq)?;
        self.body(seq, slot.settled?)
    }

    /// The signers of the lowest certificate at or above a position: each honest one among them held the entry, or
    /// knows that the N−f signers of an earlier certificate did.
    pub(super) fn signers(&self, seq: Seq) -> Option<&Certificate> {
        let lowest = self.with_certificate.range(seq..).next()?;
        self.slots[lowest].certificate.as_ref().map(|(_, certificate)| certificate)
    }

    /// Whether all decided entries up to this position are here.
    pub(super) fn is_complete_to(&self, seq: Seq) -> bool {
        seq <= self.complete
    }

    /// Entries above the decided cut that we echoed, with our signatures, ascending.
    pub(super) fn echoes(&self) -> impl Iterator<Item = (Seq, Digest, Signature)> + '_ {
        self.slots.range(self.decided.seq.next()..).filter_map(|(seq, slot)| match slot.echo {
            Echo::Given(digest, signature) => Some((*seq, digest, signature)),
            Echo::NotGiven | Echo::Refused => None,
        })
    }

    /// Whether we have signed, or refused to sign, an entry for this position.
    pub(super) fn is_judged(&self, seq: Seq) -> bool {
        self.slots.get(&seq).is_some_and(|slot| slot.echo != Echo::NotGiven)
    }

    /// Stores an entry whose form and range are checked.
    pub(super) fn receive(&mut self, entry: Entry, source: Source) -> Received {
        if entry.seq <= self.decided.seq {
            return self.receive_decided(entry, source);
        }
        if !self.in_reach(entry.seq) {
            return if source == Source::Owner { Received::TooFar } else { Received::Nothing };
        }
        if source == Source::Other {
            let is_wanted = self.certified(entry.seq) == Some(entry.digest);
            return if is_wanted && self.keep_body(entry) { Received::News } else { Received::Nothing };
        }
        let slot = self.slots.entry(entry.seq).or_default();
        let header = Header { digest: entry.digest, parent: entry.parent, bytes: entry.body.len() as u64 };
        match (slot.first, slot.echo) {
            (None, _) => {
                slot.first = Some(header);
                let tip = entry.tip();
                if !self.keep_body(entry) {
                    self.cover_below(tip);
                }
                Received::News
            }
            (Some(first), _) if first.digest != entry.digest => {
                if !in_force(Mutant::EchoOncePerEntry) {
                    let dropped = slot.body_bytes();
                    *slot = Slot { first: Some(header), body: Some(entry), ..Slot::default() };
                    self.kept_bytes = self.kept_bytes + header.bytes - dropped;
                    return Received::News;
                }
                if self.certified(entry.seq) == Some(entry.digest) {
                    self.keep_body(entry);
                }
                Received::Equivocation
            }
            (Some(_), Echo::Given(digest, signature)) if digest == entry.digest => {
                Received::Again(digest, signature)
            }
            _ => {
                if self.keep_body(entry) {
                    Received::News
                } else {
                    Received::Nothing
                }
            }
        }
    }

    /// Receives a body that a decided block holds or may hold. Until the walk back from the decided tip has reached
    /// this position, the owner's entries are kept on trust, within the bound in bytes: the decision overtook them on
    /// their way.
    fn receive_decided(&mut self, entry: Entry, source: Source) -> Received {
        let seq = entry.seq;
        let slot = self.slots.get_mut(&seq);
        let is_empty = slot.as_ref().is_none_or(|slot| slot.settled.is_none() && slot.body.is_none());
        if let Some(slot) = slot.filter(|slot| slot.settled == Some(entry.digest) && slot.body.is_none()) {
            let before = Tip { seq: Seq(seq.0 - 1), digest: entry.parent };
            slot.body = Some(entry.kept());
            self.missing.arrived.push(seq);
            self.settle(before);
            return Received::News;
        }
        if source == Source::Other {
            return Received::Nothing;
        }
        let bytes = entry.body.len() as u64;
        if is_empty && seq > self.executed && self.unsettled_bytes + bytes <= self.reach.bytes {
            self.slots.entry(seq).or_default().body = Some(entry.kept());
            self.unsettled_bytes += bytes;
        }
        Received::Stale
    }

    /// Keeps the body if its digest has precedence at its position and there is room; returns whether it did.
    fn keep_body(&mut self, entry: Entry) -> bool {
        let bytes = entry.body.len() as u64;
        let Some(slot) = self.slots.get(&entry.seq) else { return false };
        if slot.body.is_some()
            || slot.relevant() != Some(entry.digest)
            || !self.keeps_body_of(entry.seq)
            || !self.make_room(entry.seq, bytes)
        {
            return false;
        }
        let slot = self.slots.get_mut(&entry.seq).expect("it was found above");
        let tip = entry.tip();
        slot.body = Some(entry.kept());
        self.kept_bytes += bytes;
        self.cover_below(tip);
        true
    }

    /// Bytes of bodies beyond `seq` that may be evicted in favour of one at `seq`.
    fn evictable_bytes(&self, seq: Seq) -> u64 {
        let beyond = self.slots.range(seq.next()..);
        beyond.filter(|(_, slot)| slot.is_evictable()).map(|(_, slot)| slot.body_bytes()).sum()
    }

    fn fits(&self, seq: Seq, bytes: u64) -> bool {
        let with_it = self.kept_bytes + bytes;
        with_it <= self.reach.bytes || with_it - self.evictable_bytes(seq) <= self.reach.bytes
    }

    /// Makes room for a body at `seq`: evicts the furthest bodies that nobody relies on and keeps their headers. So
    /// later entries never keep out an earlier entry of their lane.
    fn make_room(&mut self, seq: Seq, bytes: u64) -> bool {
        if !self.fits(seq, bytes) {
            return false;
        }
        for (_, slot) in self.slots.range_mut(seq.next()..).rev() {
            if self.kept_bytes + bytes <= self.reach.bytes {
                break;
            }
            if slot.is_evictable() {
                self.kept_bytes -= slot.body_bytes();
                slot.body = None;
            }
        }
        true
    }

    /// The lowest entry that may be echoed now: its body is here, nothing was signed for its position, and its parent
    /// is the decided tip, was echoed, or is here with its certificate. The caller checks its validity.
    pub(super) fn next_to_echo(&self) -> Option<&Entry> {
        self.slots.range(self.window()).find_map(|(seq, slot)| {
            let first = slot.first?;
            let entry = slot.body.as_ref().filter(|entry| entry.digest == first.digest)?;
            let is_open = slot.echo == Echo::NotGiven && slot.certified().is_none_or(|it| it == first.digest);
            (is_open && self.has_parent(*seq, first.parent)).then_some(entry)
        })
    }

    /// The undecided positions whose bodies are kept.
    fn window(&self) -> RangeInclusive<Seq> {
        self.decided.seq.next()..=Seq(self.decided.seq.0.saturating_add(self.reach.bodies))
    }

    fn has_parent(&self, seq: Seq, parent: Digest) -> bool {
        let before = Seq(seq.0 - 1);
        if before == self.decided.seq {
            return parent == self.decided.digest;
        }
        let Some(slot) = self.slots.get(&before) else { return false };
        match slot.certified() {
            // No entry on another branch can be certified any more.
            Some(certified) if certified != parent => false,
            Some(_) => slot.echoed() == Some(parent) || slot.holds(parent),
            None => slot.echoed() == Some(parent),
        }
    }

    /// Records our echo.
    pub(super) fn echo_given(&mut self, seq: Seq, digest: Digest, signature: Signature) {
        if let Some(slot) = self.slots.get_mut(&seq) {
            slot.echo = Echo::Given(digest, signature);
        }
    }

    /// Records that the owner's first entry for this position is invalid.
    pub(super) fn refuse(&mut self, seq: Seq) {
        if let Some(slot) = self.slots.get_mut(&seq) {
            slot.echo = Echo::Refused;
            self.kept_bytes -= slot.drop_superseded();
        }
    }

    /// Adds an own entry, with its echo, to the own lane.
    pub(super) fn append_own(&mut self, entry: Entry, signature: Signature) {
        let header = Header { digest: entry.digest, parent: entry.parent, bytes: entry.body.len() as u64 };
        let slot = self.slots.entry(entry.seq).or_default();
        slot.first = Some(header);
        slot.echo = Echo::Given(entry.digest, signature);
        self.kept_bytes = self.kept_bytes + header.bytes - slot.body_bytes();
        slot.body = Some(entry);
    }

    /// Entries that are not executed and whose bodies are here, ascending.
    pub(super) fn bodies_kept(&self) -> impl Iterator<Item = &Entry> {
        self.slots.values().filter_map(|slot| slot.body.as_ref())
    }

    /// The entries above the highest certified one that we have echoed, ascending.
    pub(super) fn tail(&self) -> impl Iterator<Item = &Entry> {
        let beyond = self.slots.range(self.top.seq.next()..).map(|(_, slot)| slot);
        beyond.filter_map(|slot| slot.body.as_ref().filter(|entry| slot.echoed() == Some(entry.digest)))
    }

    /// The entry of the own lane that is open at a position.
    pub(super) fn own_entry(&self, seq: Seq) -> Option<&Entry> {
        self.slots.get(&seq)?.body.as_ref()
    }

    /// Moves the decided tip forward.
    pub(super) fn decide(&mut self, tip: Tip) {
        if tip.seq <= self.decided.seq {
            return;
        }
        for (_, slot) in self.slots.range(self.decided.seq.next()..=tip.seq) {
            self.work += 1;
            self.kept_bytes -= slot.body_bytes();
            self.unsettled_bytes += slot.body_bytes();
        }
        self.decided = tip;
        self.drop_claims_below(tip.seq.next());
        if tip.seq >= self.top.seq {
            self.top = tip;
        }
        self.settle(tip);
    }

    /// Walks from a decided entry towards the executed cut and fixes the entry of each position, as far as headers and
    /// bodies name the parents. Continues when a missing body arrives.
    fn settle(&mut self, mut tip: Tip) {
        while tip.seq > self.executed {
            self.work += 1;
            let slot = self.slots.entry(tip.seq).or_default();
            if slot.settled.is_some() {
                break;
            }
            self.unsettled_bytes -= slot.body_bytes();
            slot.settled = Some(tip.digest);
            slot.drop_superseded();
            if !slot.holds(tip.digest) {
                let bytes = slot.bytes_of(tip.digest);
                self.missing.decided.push(Need {
                    seq: tip.seq,
                    digest: tip.digest,
                    cause: Cause::Decided,
                    bytes,
                });
            }
            let Some(parent) = slot.parent_of(tip.digest) else { break };
            tip = Tip { seq: Seq(tip.seq.0 - 1), digest: parent };
        }
        self.complete_further();
    }

    /// Moves on over all decided entries that are here.
    fn complete_further(&mut self) {
        while self.slots.get(&self.complete.next()).is_some_and(Slot::is_settled_and_here) {
            self.work += 1;
            self.complete = self.complete.next();
        }
    }

    /// Removes all slots up to `seq`, which is decided, and returns their entries, ascending.
    pub(super) fn execute(&mut self, seq: Seq) -> Vec<Entry> {
        self.executed = self.executed.max(seq.min(self.decided.seq));
        self.complete = self.complete.max(self.executed);
        let mut entries = Vec::new();
        while let Some(slot) = self.slots.first_entry().filter(|slot| *slot.key() <= self.executed) {
            self.work += 1;
            let (seq, slot) = slot.remove_entry();
            self.with_certificate.remove(&seq);
            match slot.settled {
                Some(_) => entries.extend(slot.body),
                None => self.unsettled_bytes -= slot.body_bytes(),
            }
        }
        entries
    }

    /// Everything up to `tip` was executed elsewhere, and its result is here.
    pub(super) fn jump(&mut self, tip: Tip) {
        self.decide(tip);
        self.execute(tip.seq);
        self.missing.decided.retain(|need| need.seq > tip.seq);
        self.missing.arrived.retain(|seq| *seq > tip.seq);
        self.complete_further();
    }

    /// All certified entries that are not executed.
    #[cfg(test)]
    pub(super) fn all_certified(&self) -> impl Iterator<Item = (Seq, Digest)> + '_ {
        self.slots.iter().filter_map(|(seq, slot)| slot.certified().map(|digest| (*seq, digest)))
    }

    /// Positions that have a slot.
    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Bodies kept beyond the decided cut.
    #[cfg(test)]
    pub(super) fn bodies(&self) -> usize {
        self.slots.range(self.decided.seq.next()..).filter(|(_, slot)| slot.body.is_some()).count()
    }
}
