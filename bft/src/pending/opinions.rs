//! CL_M, CL and BACK: how shards learn, without agreement, that a transaction can never execute in one of them.
//!
//! **Guarantee.** Belief is a local flag, never ledger state: it takes transactions off lists and makes this member
//! list cancels, and the output shard's ledger alone decides. A transaction is *believed* never to execute only if an
//! honest member of one of its input shards found so on a ledger that was not ahead of ours now; and never while it has
//! an open record here or was executed here.
//!
//! **Steps.**
//! 1. The filter finds in our ledger that a transaction can never execute here ([`Opinions::report`]): for ourselves
//!    our ledger suffices to believe it, and CL_M reports it to the shard.
//! 2. f+1 CL_M for the same transaction and shards: one is of an honest member, so we join in, though we may never have
//!    seen the transaction. Not while it has an open record or was executed here \[safety].
//! 3. N−f CL_M \[safety]: CL to all members of its other shards. What a block rejects goes there directly, by every
//!    member ([`Opinions::executed`]).
//! 4. f+1 CLs of members of one shard \[safety]: one is honest, so it is believed. An input shard that has not ordered
//!    it drops it; the contact sends its client a receipt; an output shard whose pool holds ticks of it lists BACK
//!    ([`Opinions::cancels`]), anew for each new entry, so that a tick that comes later is cancelled too.
//!
//! **Members that lag.** A transaction may be finished and forgotten in an input shard, where it then counts as
//! expired. So a claim names what its sender had executed when it made it, and counts once we have executed as much:
//! CL_M carries the height, and CL what the sender has imported from the receiver's shard, the ids of finished
//! transactions among it \[safety]. Then our own ledger remembers the finish if there was one.
//!
//! **Repetition.** There are no timers and nothing is kept to be sent again: contacts and pool members repeat their
//! orders to all members of a shard until they have an answer. A member asked reports again (CL_M, at most once a
//! second for each transaction), also when its ledger has since forgotten the cause. If N−f CL_M are known or a block
//! has rejected it, it answers with CL ([`Opinions::answer`]).
//!
//! **Cost.** Links are authenticated, so nothing is signed: N² CL_M and N² CLs for each other shard, 50 and 40 bytes a
//! transaction, batched; the cost of a peer's orders is rationed (`ration`).
//!
//! # Security
//! A peer chooses the ids that it makes claims about, all 32 bytes of them. So opinions are found by the keyed hash
//! that withstands chosen ids, in a table of their own: what peers make up slows down no look-up of what we list. A
//! record that one claim made takes some 150 bytes. **Bound:** of a peer, claims on `limits::REJECTED_IDS_MAX` ids; as
//! many ids with notes of our own, the latest; candidates and listed cancels are of transactions in the ledger's pool.
//!
//! Source: the CL_M, CL and BACK of the Python notes; Kronos (NDSS 2025) §V; docs/design.md §13. The notes have CL
//! sent by node 0 and know neither heights nor watermarks.

mod claims;
mod ration;
mod records;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use wire::dest::Dest;
use wire::ids::{NodeId, PartNumber, Round, ShardId, TxId};
use wire::limits::{INPUTS_MAX, REJECTED_IDS_MAX, REJECTS_PER_MESSAGE_MAX};

use crate::fault::{Fault, FaultKind};
use crate::id_index::Steps;
use crate::image::image;
use crate::ledger::{Cause, CrossEvent, Settled, Standing};
use crate::member::Member;
use crate::mutant::{Mutant, in_force};
use crate::pending::opinions::claims::{Claim, agreeing, cause_of};
use crate::pending::opinions::ration::Rations;
pub(super) use crate::pending::opinions::records::Records;
use crate::pending::opinions::table::Table;
use crate::quorum::Added;
use crate::shard::message::{RejectMessage, RejectVote};
use crate::time::{Span, Time};

/// Shortest time between two CL_M of ours for one transaction: orders of many members come at once.
const REPEAT_AFTER: Span = Span::from_ms(1_000);

/// One member's opinions on which transactions can never execute.
#[derive(Clone, Debug)]
pub(super) struct Opinions {
    member: Member,
    table: Table,
    /// Limits the reports that peers' orders cause.
    rations: Rations,
    /// Believed, in the pool, and perhaps not listed for that entry.
    candidates: BTreeSet<TxId>,
}

image! {
    Opinions:
    given member = |given| given.member.clone();
    parts;
    plain table, rations, candidates;
}

/// The result of one step.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Draft {
    /// CL_M for the own shard.
    pub(super) votes: Vec<RejectVote>,
    /// CL for other shards.
    pub(super) rejects: BTreeMap<ShardId, Vec<(TxId, Cause)>>,
    /// From now on believed never to execute.
    pub(super) believed: Vec<(TxId, Cause)>,
    pub(super) faults: Vec<Fault>,
}

impl Opinions {
    /// Before anything was rejected; `hash_seed` as for the ledger.
    pub(super) fn new(member: Member, hash_seed: u64) -> Opinions {
        Opinions::with_ids_max(member, hash_seed, REJECTED_IDS_MAX)
    }

    fn with_ids_max(member: Member, hash_seed: u64, ids_max: usize) -> Opinions {
        Opinions {
            rations: Rations::new(member.committee.n()),
            member,
            table: Table::new(hash_seed, ids_max),
            candidates: BTreeSet::new(),
        }
    }

    /// Why a transaction is believed never to execute, if we have sent CL_M on it: what our ledger said then stays true
    /// though it may have forgotten why, such as who spent a coin.
    pub(super) fn voted(&self, id: &TxId) -> Option<Cause> {
        let notes = self.table.notes(id)?;
        notes.voted.and(notes.believed)
    }

    /// Why a transaction is believed never to execute, if it is. An open record here outweighs belief.
    pub(super) fn believed(&self, id: &TxId) -> Option<Cause> {
        self.table.notes(id)?.believed
    }

    /// Whether [`Opinions::cancels`] may have something to list.
    pub(super) fn has_cancels(&self) -> bool {
        !self.candidates.is_empty()
    }

    /// The cost of searching its table. For checkers: it reads whole tables.
    pub(super) fn steps(&self) -> Steps {
        self.table.steps()
    }

    /// See [`Table::work`].
    pub(super) fn work(&self) -> u64 {
        self.table.work()
    }

    /// By our ledger these can never execute here: CL_M. `asker` is the peer that asked us to order them, if one did;
    /// those that exceed its ration are passed over.
    pub(super) fn report(
        &mut self,
        now: Time,
        asker: Option<NodeId>,
        votes: Vec<RejectVote>,
        ledger: &dyn Records,
        draft: &mut Draft,
    ) {
        let (own, height) = (self.member.node(), ledger.height().0);
        for vote in votes {
            let id = vote.id;
            if bars_votes(ledger.known(&id)) {
                continue;
            }
            let voted = self.table.notes(&id).and_then(|notes| notes.voted);
            if voted.is_none_or(|last| now.since(last) >= REPEAT_AFTER) {
                if asker.is_some_and(|asker| !self.rations.spend(now, asker, &vote)) {
                    continue;
                }
                self.table.note(id, |notes| notes.voted = Some(now));
                draft.votes.push(vote.clone());
            }
            self.believe(id, vote.cause, ledger, draft);
            if !self.is_rejected(&id) {
                self.add_vote(own, height, vote, height);
                self.weigh_votes(now, id, own, ledger, draft);
            }
        }
    }

    /// A message of another member of any shard.
    pub(super) fn handle(
        &mut self,
        now: Time,
        from: NodeId,
        message: RejectMessage,
        ledger: &dyn Records,
        draft: &mut Draft,
    ) {
        let checked = match &message {
            RejectMessage::Votes { votes, .. } => self.check_votes(from, votes),
            RejectMessage::Rejected { ids, .. } => self.check_rejected(from, ids),
        };
        if let Err(kind) = checked {
            return draft.faults.push(Fault { peer: from, kind });
        }
        match message {
            RejectMessage::Votes { executed, votes } => {
                votes.into_iter().for_each(|vote| self.on_vote(now, from, executed, vote, ledger, draft));
            }
            RejectMessage::Rejected { imported, ids } => {
                for (id, cause) in ids {
                    self.on_rejected(from, imported, id, cause, ledger, draft);
                }
            }
        }
    }

    /// A block was executed, with these events. To be called for each, since claims wait for blocks.
    pub(super) fn executed(
        &mut self,
        now: Time,
        events: &[CrossEvent],
        ledger: &dyn Records,
        draft: &mut Draft,
    ) {
        let cancelled = |event: &CrossEvent| match event {
            CrossEvent::Cancelled { id } => Some(*id),
            _ => None,
        };
        let cancelled: BTreeSet<TxId> = events.iter().filter_map(cancelled).collect();
        for event in events {
            match event {
                // We are its output shard as well: its client's receipt still needs the cause.
                CrossEvent::Refunded { id } if cancelled.contains(id) => self.end(id, self.believed(id)),
                _ => self.on_event(event, draft),
            }
        }
        let own = self.member.shard;
        for (id, peer) in self.table.reach(own, ledger.height().0) {
            self.weigh_votes(now, id, peer, ledger, draft);
        }
        for shard in (0..self.member.committee.shards()).map(ShardId).filter(|shard| *shard != own) {
            for (id, peer) in self.table.reach(shard, ledger.sent(shard).0) {
                self.weigh_claims(id, peer, ledger, draft);
            }
        }
    }

    /// The ledger is another one, many blocks on: opinions that it has done with are forgotten, claims that waited for
    /// its height count, and what we believe of its pool is listed.
    pub(super) fn jump(&mut self, now: Time, ledger: &dyn Records, draft: &mut Draft) {
        for id in self.table.ids() {
            if bars_belief(&id, ledger) {
                self.end(&id, None);
            } else if ledger.pooled_in(&id).is_none() {
                self.forget_entry(&id);
            } else if self.believed(&id).is_some() {
                self.candidates.insert(id);
            }
        }
        self.executed(now, &[], ledger, draft);
    }

    /// CL for a member of another shard that asked us to order these, on those that are certainly rejected here. What
    /// [`Opinions::report`] leads to covers the others.
    pub(super) fn answer(
        &self,
        to: NodeId,
        ids: impl IntoIterator<Item = TxId>,
        ledger: &dyn Records,
    ) -> Option<(Dest, RejectMessage)> {
        let committee = &self.member.committee;
        if !committee.contains(to) || committee.shard_of(to) == self.member.shard {
            return None;
        }
        let rejected = ids.into_iter().filter_map(|id| match ledger.known(&id) {
            Standing::Open => Some((id, self.table.notes(&id)?.rejected?)),
            known => known.never().map(|cause| (id, cause)),
        });
        let ids: Vec<(TxId, Cause)> = rejected.collect();
        let imported = ledger.imported(committee.shard_of(to));
        (!ids.is_empty()).then_some((Dest::Node(to), RejectMessage::Rejected { imported, ids }))
    }

    /// BACK: at most `max` pool entries, ascending by id, that our next proposal is to list as cancelled. Each is named
    /// once for each entry, so what is returned must be listed.
    pub(super) fn cancels(&mut self, ledger: &dyn Records, max: usize) -> Vec<TxId> {
        let mut cancels = Vec::new();
        while cancels.len() < max {
            let Some(id) = self.candidates.pop_first() else { break };
            let Some(made_in) = ledger.pooled_in(&id) else { continue };
            if self.table.list(id, made_in) {
                cancels.push(id);
            }
        }
        cancels
    }

    /// Whether these may be votes of `from`.
    fn check_votes(&self, from: NodeId, votes: &[RejectVote]) -> Result<(), FaultKind> {
        if self.member.index_of(from).is_none() {
            return Err(FaultKind::NotAMember);
        }
        let shards = self.member.committee.shards();
        let well_formed = |vote: &RejectVote| {
            !vote.others.is_empty()
                && vote.others.len() <= INPUTS_MAX
                && vote.others.is_sorted_by(|one, next| one < next)
                && vote.others.iter().all(|shard| shard.0 < shards && *shard != self.member.shard)
        };
        let valid = votes.len() <= REJECTS_PER_MESSAGE_MAX && votes.iter().all(well_formed);
        valid.then_some(()).ok_or(FaultKind::OutOfRange)
    }

    /// Whether this may be a CL of `from`.
    fn check_rejected(&self, from: NodeId, ids: &[(TxId, Cause)]) -> Result<(), FaultKind> {
        let committee = &self.member.committee;
        if !committee.contains(from) || committee.shard_of(from) == self.member.shard {
            return Err(FaultKind::NotAMember);
        }
        (ids.len() <= REJECTS_PER_MESSAGE_MAX).then_some(()).ok_or(FaultKind::OutOfRange)
    }

    fn on_vote(
        &mut self,
        now: Time,
        from: NodeId,
        executed: Round,
        vote: RejectVote,
        ledger: &dyn Records,
        draft: &mut Draft,
    ) {
        let id = vote.id;
        if self.is_rejected(&id) || bars_votes(ledger.known(&id)) {
            return;
        }
        match self.add_vote(from, executed.0, vote, ledger.height().0) {
            Added::Equivocation => {
                draft.faults.push(Fault { peer: from, kind: FaultKind::Equivocation });
            }
            Added::Duplicate => {}
            Added::Counted | Added::Reached => self.weigh_votes(now, id, from, ledger, draft),
        }
    }

    /// Acts on the CL_M that count with that of `peer`.
    fn weigh_votes(&mut self, now: Time, id: TxId, peer: NodeId, ledger: &dyn Records, draft: &mut Draft) {
        let (own, height) = (self.member.node(), ledger.height().0);
        if bars_votes(ledger.known(&id)) {
            return self.end_votes(&id);
        }
        let Some(opinion) = self.table.get(&id) else { return };
        let agreeing = agreeing(&opinion.claims, peer, height);
        let (Some(first), mut count) = (agreeing.first(), agreeing.len()) else { return };
        let (others, cause) = (first.others.to_vec(), cause_of(&agreeing));
        let has_voted = opinion.claims.iter().any(|held| held.claim.peer == own);
        if count >= self.member.committee.one_honest() && !has_voted {
            let vote = RejectVote { id, others: others.clone(), cause };
            self.add_vote(own, height, vote.clone(), height);
            self.table.note(id, |notes| notes.voted = Some(now));
            draft.votes.push(vote);
            count += 1;
        }
        let needed = if in_force(Mutant::RejectNeedsQuorum) { self.member.committee.quorum() } else { 1 };
        if count >= needed {
            self.end_votes(&id);
            self.table.note(id, |notes| notes.rejected = Some(cause));
            for shard in others {
                draft.rejects.entry(shard).or_default().push((id, cause));
            }
            self.believe(id, cause, ledger, draft);
        }
    }

    fn on_rejected(
        &mut self,
        from: NodeId,
        imported: PartNumber,
        id: TxId,
        cause: Cause,
        ledger: &dyn Records,
        draft: &mut Draft,
    ) {
        if self.believed(&id).is_some() || bars_belief(&id, ledger) {
            return;
        }
        let shard = self.member.committee.shard_of(from);
        let basis = if in_force(Mutant::RejectAfterWatermark) { imported.0 } else { 0 };
        let claim = Claim { peer: from, shard, basis, others: Box::default(), cause };
        if self.table.add(id, claim, ledger.sent(shard).0) == Added::Counted {
            self.weigh_claims(id, from, ledger, draft);
        }
    }

    /// Acts on the CLs that count with that of `peer`.
    fn weigh_claims(&mut self, id: TxId, peer: NodeId, ledger: &dyn Records, draft: &mut Draft) {
        let committee = &self.member.committee;
        let Some(opinion) = self.table.get(&id) else { return };
        let agreeing = agreeing(&opinion.claims, peer, ledger.sent(committee.shard_of(peer)).0);
        let needed = if in_force(Mutant::BelieveNeedsOneHonest) { committee.one_honest() } else { 1 };
        if agreeing.len() >= needed {
            let cause = cause_of(&agreeing);
            self.believe(id, cause, ledger, draft);
        }
    }

    /// From now on a transaction is believed never to execute, unless our ledger knows better.
    fn believe(&mut self, id: TxId, cause: Cause, ledger: &dyn Records, draft: &mut Draft) {
        let own = self.member.shard;
        self.table.drop_claims(&id, |claim| claim.shard != own);
        if self.believed(&id).is_some() || bars_belief(&id, ledger) {
            return;
        }
        self.table.note(id, |notes| notes.believed = Some(cause));
        draft.believed.push((id, cause));
        if ledger.pooled_in(&id).is_some() {
            self.candidates.insert(id);
        }
    }

    fn on_event(&mut self, event: &CrossEvent, draft: &mut Draft) {
        match event {
            CrossEvent::Rejected { id, others, cause } => {
                self.end(id, None);
                for shard in others {
                    draft.rejects.entry(*shard).or_default().push((*id, *cause));
                }
            }
            // Where its output is elsewhere, that shard decides now and nothing here depends on belief any more.
            CrossEvent::Spent { id, output, .. } if *output != self.member.shard => self.end(id, None),
            CrossEvent::Spent { id, .. } => self.end_votes(id),
            CrossEvent::Pooled { id } => {
                if self.believed(id).is_some() {
                    self.candidates.insert(*id);
                }
            }
            // Belief stays: ticks of further shards may come.
            CrossEvent::Cancelled { id } => self.forget_entry(id),
            CrossEvent::Finished { id } | CrossEvent::Refunded { id } | CrossEvent::Closed { id } => {
                self.end(id, None);
            }
        }
    }

    /// The ledger suffices from now on, except for the belief that is left.
    fn end(&mut self, id: &TxId, left: Option<Cause>) {
        self.table.end(id, left);
        self.forget_entry(id);
    }

    /// Its entry in the pool is gone.
    fn forget_entry(&mut self, id: &TxId) {
        self.candidates.remove(id);
        self.table.forget_entry(id);
    }

    fn end_votes(&mut self, id: &TxId) {
        let own = self.member.shard;
        self.table.drop_claims(id, |claim| claim.shard == own);
    }

    fn is_rejected(&self, id: &TxId) -> bool {
        self.table.notes(id).is_some_and(|notes| notes.rejected.is_some())
    }

    /// Adds CL_M as a claim.
    fn add_vote(&mut self, peer: NodeId, executed: u64, vote: RejectVote, height: u64) -> Added {
        let RejectVote { id, others, cause } = vote;
        let (shard, others) = (self.member.shard, others.into_boxed_slice());
        self.table.add(id, Claim { peer, shard, basis: executed, others, cause }, height)
    }
}

/// Whether CL_M of a transaction have no effect here: it was executed (\[safety]: an open record's transaction is never
/// rejected), or a block has rejected it and its CL is sent.
fn bars_votes(known: Standing) -> bool {
    match known {
        Standing::Open => false,
        Standing::Spent | Standing::Settled(Settled::Finished | Settled::Spent, _) => {
            in_force(Mutant::RejectNotUnderOpenRecord)
        }
        Standing::Settled(Settled::Never(_), _) | Standing::Never(_) => true,
    }
}

/// Whether a transaction is not to be believed in, since blocks have done with it here. What waits in the pool can be
/// cancelled, though inputs in this shard may have been spent already.
fn bars_belief(id: &TxId, ledger: &dyn Records) -> bool {
    ledger.pooled_in(id).is_none() && ledger.known(id) != Standing::Open
}

impl Draft {
    /// The messages; those that go out cut them into what one message may hold.
    pub(super) fn messages(&mut self, member: &Member, ledger: &dyn Records) -> Vec<(Dest, RejectMessage)> {
        let mut messages = Vec::new();
        let votes = std::mem::take(&mut self.votes);
        if !votes.is_empty() {
            messages.push((Dest::ShardOthers, RejectMessage::Votes { executed: ledger.height(), votes }));
        }
        for (shard, ids) in std::mem::take(&mut self.rejects) {
            assert_ne!(shard, member.shard, "CL goes to other shards");
            let imported = ledger.imported(shard);
            messages.push((Dest::Shard(shard), RejectMessage::Rejected { imported, ids }));
        }
        messages
    }
}

#[cfg(test)]
mod tests;
