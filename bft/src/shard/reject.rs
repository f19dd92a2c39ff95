//! CL_M, CL and BACK: how shards learn, without agreement, that a transaction can never execute in one of them.
//!
//! **Guarantee.** Belief is a local flag, never ledger state: it takes transactions off lists and makes this member
//! list cancels, and the output shard's ledger alone decides. A transaction is *believed* never to execute only if an
//! honest member of one of its input shards found so on a ledger that was not ahead of ours now; and never while it has
//! an open record here or was executed here.
//!
//! **Steps.**
//! 1. The filter finds in our ledger that a transaction can never execute here ([`Rejects::report`]): for
//!    ourselves our ledger suffices to believe it, and CL_M reports it to the shard.
//! 2. f+1 CL_M for the same transaction and shards: one is of an honest member, so we join in, though we may never have
//!    seen the transaction. Not while it has an open record or was executed here \[safety].
//! 3. N−f CL_M \[safety]: CL to all members of its other shards. What a block rejects goes there directly, by every
//!    member ([`Rejects::executed`]).
//! 4. f+1 CLs of members of one shard \[safety]: one is honest, so it is believed. An input shard that has not ordered
//!    it drops it; the contact sends its client a receipt; an output shard whose pool holds ticks of it lists BACK
//!    ([`Rejects::cancels`]), anew for each new entry, so that a tick that comes later is cancelled too.
//!
//! **Members that lag.** A transaction may be finished and forgotten in an input shard, where it then counts as
//! expired. So a claim names what its sender had executed when it made it, and counts once we have executed as much:
//! CL_M carries the height, and CL what the sender has imported from the receiver's shard, the ids of finished
//! transactions among it \[safety]. Then our own ledger remembers the finish if there was one.
//!
//! **Repetition.** There are no timers and nothing is kept to be sent again: contacts and pool members repeat their
//! orders to all members of a shard until they have an answer. A member asked reports again (CL_M, at most once a
//! second for each transaction) and, if N−f CL_M are known or a block has rejected it, answers with CL
//! ([`Rejects::answer`]).
//!
//! **Cost.** Links are authenticated, so nothing is signed: N² CL_M and N² CLs for each other shard, 50 and 40 bytes a
//! transaction, batched; the cost of a peer's orders is rationed (`ration`). **Bound:** `tallies` and three lists of
//! `limits::REJECTED_IDS_MAX` ids each; candidates and listed cancels are of transactions in the ledger's pool.
//!
//! Source: the CL_M, CL and BACK of the Python notes; Kronos (NDSS 2025) §V; docs/design.md §13. The notes have CL
//! sent by node 0 and know neither heights nor watermarks.

mod ration;
mod recent;
mod records;
mod tallies;

use std::collections::{BTreeMap, BTreeSet};

use wire::dest::Dest;
use wire::ids::{NodeId, PartNumber, Round, ShardId, TxId};
use wire::limits::{INPUTS_MAX, REJECTED_IDS_MAX, REJECTS_PER_MESSAGE_MAX};

use crate::effects::Effects;
use crate::fault::{Fault, FaultKind};
use crate::id_index::Steps;
use crate::ledger::{Cause, CrossEvent, Settled, Standing};
use crate::member::Member;
use crate::mutant::{Mutant, in_force};
use crate::quorum::Added;
use crate::shard::message::{RejectMessage, RejectVote};
use crate::shard::reject::ration::Rations;
use crate::shard::reject::recent::Recent;
pub use crate::shard::reject::records::Records;
use crate::shard::reject::tallies::{Claim, Tallies, cause_of};
use crate::time::{Span, Time};

/// Shortest time between two CL_M of ours for one transaction: orders of many members come at once.
const REPEAT_AFTER: Span = Span::from_ms(1_000);

/// What the root does on account of rejects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RejectOutput {
    /// Now believed never to execute: it leaves the transaction list unless it is ordered.
    Believed {
        /// The transaction.
        id: TxId,
        /// Why.
        cause: Cause,
    },
    /// Believed, and nothing of it is in our pool: the contact sends its client a receipt. If something is, the
    /// block that cancels it brings the receipt.
    Settled {
        /// The transaction.
        id: TxId,
        /// Why.
        cause: Cause,
    },
}

/// Messages to members of any shard.
pub type RejectEffects = Effects<RejectMessage, RejectOutput, Dest>;

/// What one member knows of transactions that can never execute.
#[derive(Clone, Debug)]
pub struct Rejects {
    member: Member,
    /// CL_M, by the transaction's other shards; our own among them.
    votes: Tallies<Vec<ShardId>>,
    /// CL, of all other shards.
    claims: Tallies<()>,
    /// When we last sent CL_M.
    voted: Recent<Time>,
    /// Limits the reports that peers' orders cause.
    rations: Rations,
    /// N−f CL_M were here.
    rejected: Recent<Cause>,
    believed: Recent<Cause>,
    /// Believed, in the pool, and perhaps not listed for that entry.
    candidates: BTreeSet<TxId>,
    /// The rounds in which entries were made for which we listed a cancel.
    listed: BTreeMap<TxId, Round>,
}

/// The results of one step, before they are cut into messages.
#[derive(Default)]
struct Draft {
    votes: Vec<RejectVote>,
    rejects: BTreeMap<ShardId, Vec<(TxId, Cause)>>,
    outputs: Vec<RejectOutput>,
    faults: Vec<Fault>,
}

impl Rejects {
    /// Before anything was rejected; `hash_seed` as for the ledger.
    pub fn new(member: Member, hash_seed: u64) -> Rejects {
        Rejects::with_ids_max(member, hash_seed, REJECTED_IDS_MAX)
    }

    fn with_ids_max(member: Member, hash_seed: u64, ids_max: usize) -> Rejects {
        Rejects {
            rations: Rations::new(member.committee.n()),
            member,
            votes: Tallies::new(hash_seed, ids_max),
            claims: Tallies::new(hash_seed, ids_max),
            voted: Recent::new(hash_seed, ids_max),
            rejected: Recent::new(hash_seed, ids_max),
            believed: Recent::new(hash_seed, ids_max),
            candidates: BTreeSet::new(),
            listed: BTreeMap::new(),
        }
    }

    /// Why a transaction is believed never to execute, if it is. An open record here outweighs belief.
    pub fn believed(&self, id: &TxId) -> Option<Cause> {
        self.believed.get(id).copied()
    }

    /// Whether [`Rejects::cancels`] may have something to list.
    pub fn has_cancels(&self) -> bool {
        !self.candidates.is_empty()
    }

    /// What searching its tables costs. For checkers: it reads whole tables.
    pub fn steps(&self) -> Steps {
        let noted = [self.voted.steps(), self.rejected.steps(), self.believed.steps()];
        noted.into_iter().fold(self.votes.steps().and(self.claims.steps()), Steps::and)
    }

    /// By our ledger these can never execute here: CL_M. `asker` is the peer that asked us to order them, if one did;
    /// those that exceed its ration are passed over.
    pub fn report(
        &mut self,
        now: Time,
        asker: Option<NodeId>,
        votes: Vec<RejectVote>,
        ledger: &dyn Records,
    ) -> RejectEffects {
        let (own, height) = (self.member.node(), ledger.height().0);
        let mut draft = Draft::default();
        for vote in votes {
            if bars_votes(ledger.known(&vote.id)) {
                continue;
            }
            let id = vote.id;
            if self.voted.get(&id).is_none_or(|last| now.since(*last) >= REPEAT_AFTER) {
                if asker.is_some_and(|asker| !self.rations.spend(now, asker, &vote)) {
                    continue;
                }
                self.voted.note(id, now);
                draft.votes.push(vote.clone());
            }
            self.believe(id, vote.cause, ledger, &mut draft);
            if !self.rejected.contains(&id) {
                let claim = self.vote_claim(own, height, vote);
                self.votes.add(id, claim, height);
                self.weigh_votes(now, id, own, ledger, &mut draft);
            }
        }
        draft.into_effects(&self.member, ledger)
    }

    /// A message of another member of any shard.
    pub fn handle(
        &mut self,
        now: Time,
        from: NodeId,
        message: RejectMessage,
        ledger: &dyn Records,
    ) -> RejectEffects {
        let mut draft = Draft::default();
        match message {
            RejectMessage::Votes { executed, votes } => {
                if let Err(kind) = self.check_votes(from, &votes) {
                    return Effects::fault(from, kind);
                }
                for vote in votes {
                    self.on_vote(now, from, executed, vote, ledger, &mut draft);
                }
            }
            RejectMessage::Rejected { imported, ids } => {
                if let Err(kind) = self.check_rejected(from, &ids) {
                    return Effects::fault(from, kind);
                }
                for (id, cause) in ids {
                    self.on_rejected(from, imported, id, cause, ledger, &mut draft);
                }
            }
        }
        draft.into_effects(&self.member, ledger)
    }

    /// A block was executed, with these events. To be called for each, since claims wait for blocks.
    pub fn executed(&mut self, now: Time, events: &[CrossEvent], ledger: &dyn Records) -> RejectEffects {
        let mut draft = Draft::default();
        let cancelled = |event: &CrossEvent| match event {
            CrossEvent::Cancelled { id } => Some(*id),
            _ => None,
        };
        let cancelled: BTreeSet<TxId> = events.iter().filter_map(cancelled).collect();
        for event in events {
            match event {
                // We are its output shard as well: its client's receipt still needs the cause.
                CrossEvent::Refunded { id } if cancelled.contains(id) => self.end_claims(id),
                _ => self.on_event(event, &mut draft),
            }
        }
        let own = self.member.shard;
        for (id, peer) in self.votes.reach(own, ledger.height().0) {
            self.weigh_votes(now, id, peer, ledger, &mut draft);
        }
        for shard in (0..self.member.committee.shards()).map(ShardId).filter(|shard| *shard != own) {
            for (id, peer) in self.claims.reach(shard, ledger.sent(shard).0) {
                self.weigh_claims(id, peer, ledger, &mut draft);
            }
        }
        draft.into_effects(&self.member, ledger)
    }

    /// CL for a member of another shard that asked us to order these, on those that are certainly rejected here. What
    /// [`Rejects::report`] leads to covers the others.
    pub fn answer(
        &self,
        to: NodeId,
        ids: impl IntoIterator<Item = TxId>,
        ledger: &dyn Records,
    ) -> RejectEffects {
        let committee = &self.member.committee;
        let mut draft = Draft::default();
        if committee.contains(to) && committee.shard_of(to) != self.member.shard {
            let rejected = ids.into_iter().filter_map(|id| match ledger.known(&id) {
                Standing::Open => self.rejected.get(&id).map(|cause| (id, *cause)),
                known => known.never().map(|cause| (id, cause)),
            });
            draft.rejects.insert(committee.shard_of(to), rejected.collect());
        }
        let mut effects = draft.into_effects(&self.member, ledger);
        effects.sends.iter_mut().for_each(|(dest, _)| *dest = Dest::Node(to));
        effects
    }

    /// BACK: at most `max` pool entries, ascending by id, that our next proposal is to list as cancelled. Each is named
    /// once for each entry, so what is returned must be listed.
    pub fn cancels(&mut self, ledger: &dyn Records, max: usize) -> Vec<TxId> {
        let mut cancels = Vec::new();
        while cancels.len() < max {
            let Some(id) = self.candidates.pop_first() else { break };
            let Some(made_in) = ledger.pooled_in(&id) else { continue };
            if self.listed.insert(id, made_in) != Some(made_in) {
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
        if self.rejected.contains(&id) || bars_votes(ledger.known(&id)) {
            return;
        }
        let claim = self.vote_claim(from, executed.0, vote);
        match self.votes.add(id, claim, ledger.height().0) {
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
            self.votes.end(&id);
            return;
        }
        let agreeing = self.votes.agreeing(&id, peer, height);
        let (Some(first), mut count) = (agreeing.first(), agreeing.len()) else { return };
        let (others, cause) = (first.value.clone(), cause_of(&agreeing));
        if count >= self.member.committee.one_honest() && !self.votes.contains(&id, own) {
            let vote = RejectVote { id, others: others.clone(), cause };
            let claim = self.vote_claim(own, height, vote.clone());
            self.votes.add(id, claim, height);
            self.voted.note(id, now);
            draft.votes.push(vote);
            count += 1;
        }
        let needed = if in_force(Mutant::RejectNeedsQuorum) { self.member.committee.quorum() } else { 1 };
        if count >= needed {
            self.votes.end(&id);
            self.rejected.note(id, cause);
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
        if self.believed.contains(&id) || bars_belief(&id, ledger) {
            return;
        }
        let shard = self.member.committee.shard_of(from);
        let basis = if in_force(Mutant::RejectAfterWatermark) { imported.0 } else { 0 };
        let claim = Claim { peer: from, shard, basis, value: (), cause };
        if self.claims.add(id, claim, ledger.sent(shard).0) == Added::Counted {
            self.weigh_claims(id, from, ledger, draft);
        }
    }

    /// Acts on the CLs that count with that of `peer`.
    fn weigh_claims(&mut self, id: TxId, peer: NodeId, ledger: &dyn Records, draft: &mut Draft) {
        let committee = &self.member.committee;
        let agreeing = self.claims.agreeing(&id, peer, ledger.sent(committee.shard_of(peer)).0);
        let needed = if in_force(Mutant::BelieveNeedsOneHonest) { committee.one_honest() } else { 1 };
        if agreeing.len() >= needed {
            let cause = cause_of(&agreeing);
            self.believe(id, cause, ledger, draft);
        }
    }

    /// From now on a transaction is believed never to execute, unless our ledger knows better.
    fn believe(&mut self, id: TxId, cause: Cause, ledger: &dyn Records, draft: &mut Draft) {
        self.claims.end(&id);
        if self.believed.contains(&id) || bars_belief(&id, ledger) {
            return;
        }
        self.believed.note(id, cause);
        draft.outputs.push(RejectOutput::Believed { id, cause });
        if ledger.pooled_in(&id).is_some() {
            self.candidates.insert(id);
        } else {
            draft.outputs.push(RejectOutput::Settled { id, cause });
        }
    }

    fn on_event(&mut self, event: &CrossEvent, draft: &mut Draft) {
        match event {
            CrossEvent::Rejected { id, others, cause } => {
                self.end(id);
                for shard in others {
                    draft.rejects.entry(*shard).or_default().push((*id, *cause));
                }
            }
            // Where its output is elsewhere, that shard decides now and nothing here depends on belief any more.
            CrossEvent::Spent { id, output, .. } if *output != self.member.shard => self.end(id),
            CrossEvent::Spent { id, .. } => self.votes.end(id),
            CrossEvent::Pooled { id } => {
                if self.believed.contains(id) {
                    self.candidates.insert(*id);
                }
            }
            // Belief stays: ticks of further shards may come.
            CrossEvent::Cancelled { id } => self.forget_entry(id),
            CrossEvent::Finished { id } | CrossEvent::Refunded { id } | CrossEvent::Closed { id } => {
                self.end(id);
            }
        }
    }

    /// The ledger's record suffices from now on.
    fn end(&mut self, id: &TxId) {
        self.end_claims(id);
        self.believed.forget(id);
    }

    /// It does, except for the cause.
    fn end_claims(&mut self, id: &TxId) {
        self.votes.end(id);
        self.claims.end(id);
        self.voted.forget(id);
        self.rejected.forget(id);
        self.forget_entry(id);
    }

    /// Its entry in the pool is gone.
    fn forget_entry(&mut self, id: &TxId) {
        self.candidates.remove(id);
        self.listed.remove(id);
    }

    /// A CL_M as a claim.
    fn vote_claim(&self, peer: NodeId, height: u64, vote: RejectVote) -> Claim<Vec<ShardId>> {
        Claim { peer, shard: self.member.shard, basis: height, value: vote.others, cause: vote.cause }
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
    fn into_effects(self, member: &Member, ledger: &dyn Records) -> RejectEffects {
        let mut effects = Effects { outputs: self.outputs, faults: self.faults, ..Effects::none() };
        for votes in self.votes.chunks(REJECTS_PER_MESSAGE_MAX) {
            let message = RejectMessage::Votes { executed: ledger.height(), votes: votes.to_vec() };
            effects.push_send(Dest::ShardOthers, message);
        }
        for (shard, ids) in self.rejects {
            assert_ne!(shard, member.shard, "CL goes to other shards");
            for ids in ids.chunks(REJECTS_PER_MESSAGE_MAX) {
                let imported = ledger.imported(shard);
                effects
                    .push_send(Dest::Shard(shard), RejectMessage::Rejected { imported, ids: ids.to_vec() });
            }
        }
        effects
    }
}

#[cfg(test)]
mod tests;
