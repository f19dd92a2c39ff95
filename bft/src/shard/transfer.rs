//! LD and SIGN: the transfer of parts of one shard's blocks into another shard.
//!
//! Guarantee: a part becomes eligible in its destination only if the source's ledger sent it at that number; of one
//! number no two different parts do. Every part that the source sends becomes eligible at all honest members of the
//! destination, though up to f members of each shard are Byzantine.
//!
//! Steps: execute a block with parts → VOTE certificate → member k sends `Transfer` (part and proof, `proof`) to
//! member k of the destination → having verified it, that member SIGNs, once for each number, to its shard → N−f SIGNs
//! → eligible: any member may list it in a proposal with that certificate → executed → `Ack` to the source, which stops
//! sending once f+1 members have acknowledged.
//!
//! Thresholds: f Byzantine members of either side spoil at most f of the N pairs each, so at least N−2f ≥ f+1 honest
//! members of the destination have the part at the first try. Of f+1 SIGNs one is by an honest member that holds the
//! part, so members that lack it then fetch it. N−f SIGNs leave N−2f honest holders, enough to fetch from at execution,
//! and since each honest member signs once for each number, no number can have two certificates. Of f+1
//! acknowledgements one is honest: the destination has ordered the part, and bodies stay with its members.
//!
//! `proof` argues what a transfer proves, and [`crate::part`] why a piece of a part cannot pass for a part. An invalid
//! transfer is a fault of its sender, and no further transfer from that node is verified.
//!
//! Cost of a part: N transfers, so one copy a member of the destination, and N² SIGNs inside it; at each of its members
//! one verification of a certificate a block and one batch of N−f SIGNs a part.
//!
//! A block's header need not be certified itself: a later one certifies it through the chain of headers. `outgoing` is
//! the source's side, `incoming` and `slot` the destination's, `history` keeps executed parts for members that lag.
//! Source: LD and SIGN of the Python notes; Kronos (NDSS 2025) §IV; docs/design.md §11.

mod history;
mod incoming;
mod outgoing;
mod proof;
mod slot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wire::dest::Dest;
use wire::ids::{Digest, Index, NodeId, PartNumber, Round, ShardId, Signature};

use self::history::History;
use self::incoming::{Incoming, Step, Use};
use self::outgoing::Outgoing;
use self::proof::{Held, transfer_bytes};
use crate::block::Header;
use crate::crypto::cert::{Certificate, CertificateCache};
use crate::effects::Effects;
use crate::fault::FaultKind;
use crate::image::image;
use crate::lane::HistoryPlace;
use crate::member::Member;
use crate::part::{Label, Part, PartRef};
use crate::proposal::Import;
use crate::serving::{Limiter, Serving};
use crate::shard::message::{PartMessage, Transfer};
use crate::time::Time;

/// A message about parts, as it is encoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransferSend {
    /// A short message.
    Message(PartMessage),
    /// A part with its proof.
    Transfer(Transfer),
    /// The same, as the message with this digest, which stands in the journal.
    Kept(Digest),
}

/// Outputs for the parent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransferOutput {
    /// N−f SIGNs of this part are here, so [`Transfers::eligible`] may return more.
    Eligible(PartRef),
    /// The turn of some member to propose a part has come, so [`Transfers::eligible`] may return more.
    Due,
}

/// Effects of a step.
pub type TransferEffects = Effects<TransferSend, TransferOutput, Dest>;

/// All parts on their way to and from our shard, as one member sees them.
///
/// - Getters: `eligible`, `body`, `parts_open`, `next_wakeup`.
/// - Inputs: `handle` and `handle_transfer` (from peers), `executed`, `certified`, `imported`, `want`, `proposed` (from
///   the parent), `on_peer_up`, `on_child_restarted`, `tick` (from the driver).
///
/// A block is `executed` before it is `certified`. A member sends nothing to itself; its own SIGNs are counted
/// directly.
#[derive(Clone, Debug)]
pub struct Transfers {
    member: Member,
    /// Our own height.
    height: Round,
    outgoing: Outgoing,
    /// One for each other shard.
    incoming: BTreeMap<ShardId, Incoming>,
    history: History,
    certificates: CertificateCache,
    /// Answers in flight, by node.
    serving: BTreeMap<NodeId, Serving>,
    /// Answers to members of other shards that send parts we have executed. At most one a node.
    acks: BTreeMap<ShardId, Limiter>,
    /// Nodes that sent an invalid transfer: their transfers are no longer verified.
    barred: BTreeSet<NodeId>,
}

image! {
    Transfers:
    given member = |given| given.member.clone();
    parts outgoing;
    plain height, incoming, history, certificates, serving, acks, barred;
}

impl Transfers {
    /// The state before the first block; executed parts are kept there for so many rounds, in at most so many bytes.
    pub fn new(
        member: Member,
        history_place: HistoryPlace,
        history_rounds_max: u64,
        history_bytes_max: u64,
    ) -> Transfers {
        let others = (0..member.committee.shards()).map(ShardId).filter(|shard| *shard != member.shard);
        Transfers {
            height: Round(0),
            outgoing: Outgoing::new(member.clone()),
            incoming: others.map(|shard| (shard, Incoming::new(shard))).collect(),
            history: History::new(history_place, history_rounds_max, history_bytes_max),
            certificates: CertificateCache::default(),
            serving: BTreeMap::new(),
            acks: BTreeMap::new(),
            barred: BTreeSet::new(),
            member,
        }
    }

    // Calls of the parent.

    /// A block of ours was executed; `parts` are its parts for other shards, in the order of its outgoing root.
    ///
    /// # Panics
    /// If the header's outgoing root is not over these parts.
    pub fn executed(&mut self, header: &Header, parts: Vec<Arc<Part>>) {
        self.followed(header);
        self.outgoing.executed(header, parts);
    }

    /// A block of ours was executed, whose parts others send.
    pub fn followed(&mut self, header: &Header) {
        self.height = header.height;
        self.history.advance(header.height);
    }

    /// We have taken over the state after `height`, up to which our shard has sent and imported these parts. Own parts
    /// that were under way are left to the other members: their proofs need the headers that we have jumped over.
    pub fn jump(
        &mut self,
        now: Time,
        height: Round,
        sent: impl Fn(ShardId) -> PartNumber,
        imported: impl Fn(ShardId) -> PartNumber,
    ) -> TransferEffects {
        self.height = height;
        self.history.advance(height);
        self.outgoing.jump(sent);
        let mut effects = Effects::none();
        let sources: Vec<ShardId> = self.incoming.keys().copied().collect();
        for source in sources {
            effects.extend(self.imported(now, source, imported(source)));
        }
        effects
    }

    /// A block of ours, executed before, is certified.
    pub fn certified(&mut self, now: Time, height: Round, certificate: &Certificate) -> TransferEffects {
        let mut effects = Effects::none();
        self.outgoing.certified(now, height, certificate, &mut effects);
        effects
    }

    /// All parts of `source` up to `watermark` are executed here.
    pub fn imported(&mut self, now: Time, source: ShardId, watermark: PartNumber) -> TransferEffects {
        let mut effects = Effects::none();
        let incoming = self.incoming.get_mut(&source).expect("parts come from other shards of the committee");
        for held in incoming.imported(now, watermark) {
            self.history.push(self.height, held);
        }
        incoming.acknowledge(now, &mut effects);
        effects
    }

    /// A decided block executes these parts: missing ones are requested at once. May be called again.
    pub fn want(&mut self, now: Time, parts: &[PartRef]) -> TransferEffects {
        let mut effects = Effects::none();
        for part in parts {
            if let Some(incoming) = self.incoming.get_mut(&part.source) {
                incoming.want(now, part);
                incoming.fetch(now, &self.member, &mut effects);
            }
        }
        effects
    }

    /// Imports that our next proposal should list: we are their home, or the home has had its time.
    pub fn eligible(&self, now: Time) -> Vec<Import> {
        let sources = self.incoming.values();
        sources.flat_map(|incoming| incoming.eligible(now, self.height, &self.member)).collect()
    }

    /// Whether [`Transfers::eligible`] returns any.
    pub fn has_eligible(&self, now: Time) -> bool {
        let mut sources = self.incoming.values();
        sources.any(|incoming| incoming.eligible(now, self.height, &self.member).next().is_some())
    }

    /// We have listed these in a proposal, so they are not listed again for a while.
    pub fn proposed(&mut self, now: Time, parts: &[PartRef]) {
        for part in parts {
            if let Some(incoming) = self.incoming.get_mut(&part.source) {
                incoming.proposed(now, part.number);
            }
        }
    }

    /// The body of a part that is not executed, if it is here.
    pub fn body(&self, part: &PartRef) -> Option<Arc<Part>> {
        self.incoming.get(&part.source)?.body(part)
    }

    /// The messages that the journal must have, so that others get executed parts from us.
    pub fn in_journal(&self) -> impl Iterator<Item = Digest> {
        self.history.in_journal()
    }

    /// Own parts that are not known to be executed by their destinations.
    pub fn parts_open(&self) -> usize {
        self.outgoing.open()
    }

    // Messages of peers.

    /// Handles any message except a transfer.
    pub fn handle(&mut self, now: Time, from: NodeId, message: PartMessage) -> TransferEffects {
        let mut effects = Effects::none();
        if !self.member.committee.contains(from) {
            return Effects::fault(from, FaultKind::NotAMember);
        }
        let author = self.member.index_of(from);
        match (message, author) {
            (PartMessage::Vote { part, signature }, Some(author)) => {
                self.on_vote(now, author, part, signature, &mut effects);
            }
            (PartMessage::Want(part), _) => self.on_want(now, from, &part, &mut effects),
            // The last number has no successor, so no part is ever sent under it.
            (PartMessage::Ack(PartNumber(u64::MAX)), _) => effects.push_fault(from, FaultKind::OutOfRange),
            (PartMessage::Ack(number), None) => {
                self.outgoing.acknowledged(now, from, number, &mut effects);
            }
            (PartMessage::Vote { .. }, None) | (PartMessage::Ack(_), Some(_)) => {
                effects.push_fault(from, FaultKind::NotAMember);
            }
        }
        effects
    }

    /// Handles a part with its proof, from a member of its source or, fetched, of our own shard. `message` is the
    /// digest of the bytes that it came in.
    pub fn handle_transfer(
        &mut self,
        now: Time,
        from: NodeId,
        message: Digest,
        transfer: Transfer,
    ) -> TransferEffects {
        let mut effects = Effects::none();
        let Some(Label { source, destination, number, .. }) = Label::of(&transfer.part) else {
            return Effects::fault(from, FaultKind::Malformed);
        };
        let committee = &self.member.committee;
        let is_known = committee.contains(from);
        let is_insider = is_known && committee.shard_of(from) == self.member.shard;
        let is_of_source = is_known && committee.shard_of(from) == source;
        let incoming = self.incoming.get_mut(&source).filter(|_| destination == self.member.shard);
        let Some(incoming) = incoming.filter(|_| is_insider || is_of_source) else {
            return Effects::fault(from, FaultKind::BadTransfer);
        };
        match incoming.use_of(number) {
            Use::None => {}
            Use::Executed if is_of_source => {
                let author = committee.index_of(from);
                if self.acks.entry(source).or_default().may(now, author) {
                    incoming.repeat_ack(Dest::Node(from), &mut effects);
                }
            }
            Use::Executed => {}
            Use::Missing if self.barred.contains(&from) => {}
            Use::Missing => {
                match Held::verify(&self.member, &mut self.certificates, source, message, transfer) {
                    Some(held) => {
                        let step = Step { now, height: self.height, member: &self.member };
                        incoming.accept(&step, held, &mut effects);
                    }
                    None => {
                        self.barred.insert(from);
                        effects.push_fault(from, FaultKind::BadTransfer);
                    }
                }
            }
        }
        effects
    }

    fn on_vote(
        &mut self,
        now: Time,
        author: Index,
        part: PartRef,
        signature: Signature,
        effects: &mut TransferEffects,
    ) {
        match self.incoming.get_mut(&part.source) {
            Some(incoming) => {
                let step = Step { now, height: self.height, member: &self.member };
                incoming.vote(&step, author, part, signature, effects);
            }
            None => effects.push_fault(self.member.node_at(author), FaultKind::OutOfRange),
        }
    }

    /// Answers a request for a part: of a member of its destination if the part is ours, of a member of our shard if it
    /// is another shard's.
    fn on_want(&mut self, now: Time, from: NodeId, part: &PartRef, effects: &mut TransferEffects) {
        let is_insider = self.member.index_of(from).is_some();
        let transfer = |transfer: Transfer| {
            let bytes = transfer_bytes(&transfer);
            (TransferSend::Transfer(transfer), bytes)
        };
        let answer = match self.incoming.get(&part.source) {
            Some(incoming) if is_insider => {
                let open = incoming.held(part).map(|held| transfer(held.transfer()));
                open.or_else(|| self.history.get(part))
            }
            None if part.source == self.member.shard && !is_insider => {
                self.outgoing.serve(from, part).map(transfer)
            }
            Some(_) | None => return effects.push_fault(from, FaultKind::OutOfRange),
        };
        let Some((send, bytes)) = answer else { return };
        if self.serving.entry(from).or_default().admit(now, bytes) {
            effects.push_send(Dest::Node(from), send);
        }
    }

    // The driver.

    /// A peer has a new process: sends again the messages for it that may be lost.
    pub fn on_peer_up(&mut self, now: Time, peer: NodeId) -> TransferEffects {
        let mut effects = Effects::none();
        if !self.member.committee.contains(peer) {
            return effects;
        }
        if self.member.index_of(peer).is_some() {
            self.incoming
                .values()
                .for_each(|incoming| incoming.repeat_votes(&Dest::Node(peer), &mut effects));
        } else {
            self.outgoing.repeat(now, Some(peer), &mut effects);
            let shard = self.member.committee.shard_of(peer);
            self.incoming[&shard].repeat_ack(Dest::Node(peer), &mut effects);
        }
        effects
    }

    /// Our own sending or receiving process may have lost messages under way.
    pub fn on_child_restarted(&mut self, now: Time) -> TransferEffects {
        let mut effects = Effects::none();
        self.outgoing.repeat(now, None, &mut effects);
        for (source, incoming) in &mut self.incoming {
            incoming.repeat_votes(&Dest::ShardOthers, &mut effects);
            incoming.repeat_ack(Dest::Shard(*source), &mut effects);
            incoming.retry_now(now);
            incoming.fetch(now, &self.member, &mut effects);
        }
        effects
    }

    /// Sends everything that is due.
    pub fn tick(&mut self, now: Time) -> TransferEffects {
        let mut effects = Effects::none();
        self.outgoing.tick(now, &mut effects);
        for incoming in self.incoming.values_mut() {
            incoming.tick(now, &self.member, &mut effects);
        }
        effects
    }

    /// When [`Transfers::tick`] is due.
    pub fn next_wakeup(&self) -> Option<Time> {
        let incoming = self.incoming.values().filter_map(Incoming::next_wakeup);
        incoming.chain(self.outgoing.next_wakeup()).min()
    }
}
