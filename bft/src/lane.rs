//! Lanes: members disseminate payloads continuously, at the speed of the network.
//!
//! Each member appends entries to a hash-chained sequence of its own, its lane. Each entry is provably broadcast:
//! SEND (the entry) → ECHO (a signature, back to the owner) → N−f echoes make a certificate → FINAL (the certificate,
//! to all). Agreement then only names, for each lane, the highest certified entry: the cut.
//!
//! Guarantees, with at most f of N members Byzantine:
//! - *One branch*: at most one entry is ever certified at a position of a lane. An honest member signs one entry for a
//!   position and none at or below its own last decided cut, and two sets of N−f signers share an honest one.
//! - *A certificate covers the prefix*: an honest member echoes an entry only if it chains to the decided cut through
//!   entries that it echoed itself or that are certified (argued in `chain`).
//! - *Availability*: at least N−2f ≥ f+1 honest signers hold the entry, so a member that lacks it can fetch it.
//! - *Validity*: a certified entry is valid. Validity is a function of its bytes and the committee alone; otherwise one
//!   crafted transaction would split the honest members and block an honest lane for ever.
//!
//! Cost: an entry of b bytes costs N−1 sends of b, N signatures and one batch of N−f verifications at the owner. A
//! receiver of FINALs verifies the highest of those that come between two cuts. No node hashes an entry twice (see
//! [`entry`]).
//!
//! Source: Dumbo-NG (CCS 2022), §IV, with its multi-use provable broadcast. Deviations: the owner does not wait for
//! a certificate before it sends the next entry (up to `pipeline` are open); certificates travel as FINAL, not inside
//! the next entry.
//!
//! Submodules: `entry` (bytes of an entry), `message`, `chain` and `slot` (one lane: echo rule, certificates, missing
//! bodies), `own` (the own lane: votes, re-sending), `fetch` and `want` (requests for bodies and certificates),
//! `history` (entries of executed blocks), `steps` (steps that several inputs share).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wire::bytes::Bytes;
use wire::dest::Dest;
use wire::ids::{Digest, Index, NodeId, Round, Seq};
use wire::limits;

use self::chain::{Chain, Reach, Received, Source};
use self::entry::{Entry, HEADER_BYTES};
use self::fetch::Fetches;
use self::history::History;
pub use self::history::HistoryPlace;
pub use self::message::{LaneEffects, LaneMessage, LaneOutput, LaneSend};
use self::own::Own;
use self::want::Wants;
use crate::crypto::cert::CertificateCache;
use crate::crypto::suite::Statement;
use crate::cut::{Cut, Tip};
use crate::effects::Effects;
use crate::fault::FaultKind;
use crate::image::image;
use crate::member::Member;
use crate::mutant::{Mutant, in_force};
use crate::mvba::LaneCertificates;
use crate::serving::{ANSWER_BYTES_MAX, Serving};
use crate::time::Time;

mod chain;
pub mod entry;
mod fetch;
mod history;
pub mod message;
mod own;
mod slot;
mod steps;
mod want;

#[cfg(test)]
mod tests;

const _: () = assert!(ANSWER_BYTES_MAX == limits::PROPOSAL_BYTES_MAX + HEADER_BYTES as u64);

/// Static validity of a payload: a function of its bytes and the committee alone. \[safety]
pub type Validity = Arc<dyn Fn(&[u8], &mut CertificateCache) -> bool + Send + Sync>;

/// Tunable bounds of memory and pace. None affects validity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LaneSettings {
    /// Entries the owner may have beyond its last decided cut, at least 1.
    pub pipeline: u64,
    /// Bytes the owner may have beyond its last decided cut.
    pub open_bytes_max: u64,
    /// Bytes of bodies kept a lane beyond the last decided cut.
    pub kept_bytes_max: u64,
    /// Executed rounds whose entries are kept for others, if they fit `history_bytes_max`.
    pub history_rounds_max: u64,
    /// Bytes of executed entries kept for others.
    pub history_bytes_max: u64,
    /// Where they are kept.
    pub history_place: HistoryPlace,
}

impl Default for LaneSettings {
    fn default() -> LaneSettings {
        LaneSettings {
            pipeline: limits::PIPELINE_DEFAULT,
            open_bytes_max: limits::LANE_OPEN_BYTES_MAX,
            kept_bytes_max: limits::LANE_KEPT_BYTES_MAX,
            history_rounds_max: limits::HISTORY_ROUNDS_MAX,
            history_bytes_max: limits::HISTORY_BYTES_MAX,
            history_place: HistoryPlace::Memory,
        }
    }
}

/// Whether missing bodies of a decided round may still be under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bodies {
    /// Their owners' sends may still arrive.
    UnderWay,
    /// They were sent long ago, and this member missed them.
    Missed,
}

/// All lanes of a shard as one member sees them.
///
/// - Getters: `room`, `own_open`, `last_append`, `cut`, `decided`, `is_certified`, `block`, `next_wakeup`.
/// - Inputs: `handle_entry` and `handle` (from peers), `append` (own entry), `want_certificates`, `decide`, `executed`
///   (from the round), `on_peer_up`, `on_child_restarted`, `tick` (from the driver).
///
/// A member sends nothing to itself; its own echoes are counted directly.
#[derive(Clone)]
pub struct Lanes {
    member: Member,
    validity: Validity,
    chains: Vec<Chain>,
    own: Own,
    decided: (Round, Cut),
    fetches: Fetches,
    wants: Wants,
    history: History,
    serving: Vec<Serving>,
    certificates: CertificateCache,
    /// Members that sent a bad certificate. Their FINALs are dropped unverified.
    barred: BTreeSet<Index>,
}

image! {
    Lanes:
    given member = |given| given.member.clone(), validity = |given| given.validity.clone();
    parts;
    plain chains, own, decided, fetches, wants, history, serving, certificates, barred;
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes")
            .field("decided", &self.decided)
            .field("cut", &self.cut())
            .finish_non_exhaustive()
    }
}

impl Lanes {
    /// Empty lanes, nothing decided.
    ///
    /// # Panics
    /// If the pipeline is 0: flags are checked where they are read.
    pub fn new(member: Member, settings: LaneSettings, validity: Validity) -> Lanes {
        assert!(settings.pipeline >= 1, "a pipeline of 0 entries proposes nothing");
        let n = member.committee.n();
        let reach = Reach {
            bodies: settings.pipeline.saturating_mul(2),
            headers: settings.pipeline.saturating_mul(8),
            bytes: settings.kept_bytes_max,
        };
        // Where nobody else is, an entry is in no message, so in no journal.
        let history_place = if n > 1 { settings.history_place } else { HistoryPlace::Memory };
        Lanes {
            validity,
            chains: vec![Chain::new(reach); n],
            own: Own::new(settings.pipeline, settings.open_bytes_max),
            decided: (Round(0), Cut::genesis(&member.committee)),
            fetches: Fetches::new(),
            wants: Wants::new(n),
            history: History::new(n, history_place, settings.history_rounds_max, settings.history_bytes_max),
            serving: vec![Serving::default(); n],
            certificates: CertificateCache::default(),
            barred: BTreeSet::new(),
            member,
        }
    }

    // The own lane.

    /// Payload bytes that [`Lanes::append`] accepts now; `None` while the window of open entries is full.
    pub fn room(&self) -> Option<usize> {
        let chain = self.own_chain();
        if chain.is_judged(self.own.last().seq.next()) {
            // We signed this position before our lane took another branch (see `Own::decide`). A second signature would
            // create a second branch of our own lane.
            return None;
        }
        let longest = self.member.committee.protocol().proposal_bytes_max;
        self.own.room().map(|room| room.min(longest) as usize)
    }

    /// Entries that may be appended to the own lane before the next cut is decided, bytes permitting.
    pub fn places_left(&self) -> usize {
        self.own.places_left()
    }

    /// Entries of the own lane beyond the last decided cut.
    pub fn own_open(&self) -> usize {
        self.own.open()
    }

    /// The own entries that are not executed, ascending.
    pub fn own_unexecuted(&self) -> impl Iterator<Item = &Entry> {
        self.own_chain().bodies_kept()
    }

    /// The entries of all lanes that are here and not executed.
    pub fn open_entries(&self) -> impl Iterator<Item = &Entry> {
        self.chains.iter().flat_map(Chain::bodies_kept)
    }

    /// Whether we have echoed an entry of this lane that is not known to be certified.
    pub fn has_tail(&self, owner: Index) -> bool {
        self.tail(owner).next().is_some()
    }

    /// Those entries, ascending.
    pub fn tail(&self, owner: Index) -> impl Iterator<Item = &Entry> {
        self.chain(owner).tail()
    }

    /// When the last own entry was appended.
    pub fn last_append(&self) -> Option<Time> {
        self.own.last_append()
    }

    /// Appends an entry to the own lane and sends it. `buffer` is one of [`entry::buffer`] with the payload appended.
    ///
    /// # Panics
    /// If there is no [`Lanes::room`] for it.
    pub fn append(&mut self, now: Time, buffer: Vec<u8>) -> LaneEffects {
        let payload_bytes = buffer.len().saturating_sub(HEADER_BYTES);
        assert!(self.room().is_some_and(|room| payload_bytes <= room), "the caller checks the room first");
        let owner = self.member.index;
        let entry = Entry::seal(owner, self.own.last(), buffer);
        debug_assert!((self.validity)(entry.payload(), &mut self.certificates), "an own payload is valid");
        let signature = self.member.suite.sign(&statement(owner, entry.tip()));
        let send = LaneSend::Entry { owner, seq: entry.seq, digest: entry.digest, body: entry.body.clone() };
        let mut effects = Effects::send(Dest::ShardOthers, send);
        let echoed = self.own.append(now, &self.member, &entry, signature);
        self.chains[usize::from(owner.0)].append_own(entry.clone(), signature);
        effects.extend(self.absorb_echo(entry.tip(), echoed));
        effects
    }

    // Messages of peers.

    /// Handles an entry, sent by its owner or fetched from any member. `digest` is SHA-256 of `body`.
    pub fn handle_entry(&mut self, now: Time, from: NodeId, digest: Digest, body: Bytes) -> LaneEffects {
        let Some(sender) = self.member.index_of(from) else {
            return Effects::fault(from, FaultKind::NotAMember);
        };
        let Some(entry) = Entry::parse(digest, body) else {
            return Effects::fault(from, FaultKind::Malformed);
        };
        let owner = entry.owner;
        if !self.is_lane(owner) || entry.seq == Seq(0) {
            return Effects::fault(from, FaultKind::OutOfRange);
        }
        if entry.payload().len() as u64 > self.member.committee.protocol().proposal_bytes_max {
            return Effects::fault(from, FaultKind::InvalidEntry);
        }
        let (tip, bytes) = (entry.tip(), entry.body.len() as u64);
        let source = if sender == owner { Source::Owner } else { Source::Other };
        match self.chain_mut(owner).receive(entry, source) {
            Received::Nothing => Effects::none(),
            Received::Equivocation => {
                let mut effects = self.advance(now, owner);
                effects.push_fault(from, FaultKind::Equivocation);
                effects
            }
            Received::TooFar => Effects::too_early(),
            Received::Again(echoed, signature) => {
                self.echo(owner, Tip { seq: tip.seq, digest: echoed }, signature)
            }
            // # Security: nothing is signed at or below the decided cut, where the slots that remember our signatures
            // may be gone. [safety]
            Received::Stale if in_force(Mutant::EchoOnlyAboveCut) => Effects::none(),
            Received::Stale => {
                let signature = self.member.suite.sign(&statement(owner, tip));
                self.echo(owner, tip, signature)
            }
            Received::News => {
                let mut effects = self.advance(now, owner);
                if tip.seq <= self.chain(owner).decided().seq {
                    self.fetches.arrived(bytes);
                    effects.outputs.push(LaneOutput::EntryArrived(owner));
                }
                effects
            }
        }
    }

    /// Handles any other message.
    pub fn handle(&mut self, now: Time, from: NodeId, message: LaneMessage) -> LaneEffects {
        let Some(sender) = self.member.index_of(from) else {
            return Effects::fault(from, FaultKind::NotAMember);
        };
        match message {
            LaneMessage::Echo { owner, seq, digest, signature } => {
                if owner != self.member.index {
                    return Effects::fault(from, FaultKind::OutOfRange);
                }
                let tip = Tip { seq, digest };
                let echoed = self.own.echo(now, &self.member, sender, tip, signature);
                self.absorb_echo(tip, echoed)
            }
            LaneMessage::Final { owner, .. } | LaneMessage::WantEntries { owner, .. }
                if !self.is_lane(owner) =>
            {
                Effects::fault(from, FaultKind::OutOfRange)
            }
            LaneMessage::Final { owner, seq, digest, certificate } => {
                self.handle_final(now, sender, owner, Tip { seq, digest }, certificate)
            }
            LaneMessage::WantEntries { owner, seq, digest, count } => {
                self.serve_entries(now, sender, owner, Tip { seq, digest }, count)
            }
            LaneMessage::WantCertificates { tips } => self.serve_certificates(now, sender, &tips),
        }
    }

    // Calls of the round loop.

    /// For each lane the highest entry that has a certificate here, never below the decided cut.
    pub fn cut(&self) -> Cut {
        Cut(self.chains.iter().map(Chain::top).collect())
    }

    /// Lanes that may be ahead of a cut, once [`Lanes::prove_all_claims`] has verified what their owners sent.
    pub fn may_be_ahead_of(&self, cut: &Cut) -> usize {
        cut.tips().filter(|(lane, tip)| self.chain(*lane).may_be_ahead_of(tip.seq)).count()
    }

    /// Verifies the highest FINAL of each lane that was only kept so far, for our next cut.
    pub fn prove_all_claims(&mut self, now: Time) -> LaneEffects {
        let mut effects = Effects::none();
        for owner in self.member.committee.indices() {
            effects.extend(self.prove_claims(now, owner, self.chain(owner).top().seq.next()));
        }
        effects
    }

    /// The last decided round and its cut.
    pub fn decided(&self) -> (Round, &Cut) {
        (self.decided.0, &self.decided.1)
    }

    /// The first executed round whose entries can all be served.
    pub fn history_from(&self) -> Option<Round> {
        self.history.first_round()
    }

    /// The messages that the journal must have, so that others get executed entries from us.
    pub fn in_journal(&self) -> impl Iterator<Item = Digest> {
        self.history.in_journal()
    }

    /// Requests the certificates of those tips of a cut that are not known to be certified: from its proposer now, and
    /// from others if they do not arrive. May be called again at any time. Wants end when the next cut is decided.
    pub fn want_certificates(&mut self, now: Time, proposer: Index, tips: &[(Index, Tip)]) -> LaneEffects {
        let (mut asked, mut effects) = (Vec::new(), Effects::none());
        for (lane, tip) in tips {
            if !self.is_lane(*lane) || !self.chain(*lane).in_reach(tip.seq) {
                continue;
            }
            effects.extend(self.prove_claims(now, *lane, tip.seq));
            if self.chain(*lane).certified(tip.seq).is_some() {
                continue;
            }
            self.chain_mut(*lane).demand();
            if self.wants.add(now, proposer, *lane, *tip, &self.member) {
                asked.push((*lane, *tip));
            }
        }
        if !asked.is_empty() {
            asked.sort_unstable();
            let dest = Dest::Node(self.member.node_at(proposer));
            effects.push_send(dest, LaneSend::Message(LaneMessage::WantCertificates { tips: asked }));
        }
        self.launch_wants(now, &mut effects);
        effects
    }

    /// The cut of `round` is decided: the windows move, and missing entries of its block are fetched, after a short
    /// wait if their bodies may be under way. Rounds come in order; a call for an earlier round changes nothing.
    ///
    /// # Panics
    /// If the cut does not have N lanes: the caller checks `Cut::may_follow`.
    pub fn decide(&mut self, now: Time, round: Round, cut: &Cut, bodies: Bodies) -> LaneEffects {
        assert_eq!(cut.0.len(), self.member.committee.n(), "a decided cut names every lane");
        if round <= self.decided.0 {
            return Effects::none();
        }
        self.begin_after(round, cut);
        let mut effects = Effects::none();
        for (lane, tip) in cut.tips() {
            if tip.seq > self.chain(lane).decided().seq {
                self.chain_mut(lane).decide(tip);
                effects.extend(self.advance_to(now, lane, bodies));
            }
        }
        effects
    }

    /// We have taken over the state after `round`, up to this cut, and go on from there. What was signed beyond the
    /// decided cut is still known, and nothing is signed at or below it.
    pub fn jump(&mut self, now: Time, round: Round, cut: &Cut) -> LaneEffects {
        assert_eq!(cut.0.len(), self.member.committee.n(), "a decided cut names every lane");
        if round > self.decided.0 {
            self.begin_after(round, cut);
        }
        self.history.clear();
        let mut effects = Effects::none();
        for (lane, tip) in cut.tips() {
            self.chain_mut(lane).jump(tip);
            self.fetches.jump(lane, tip.seq);
            effects.extend(self.advance(now, lane));
        }
        effects
    }

    fn begin_after(&mut self, round: Round, cut: &Cut) {
        self.decided = (round, cut.clone());
        self.wants.clear();
        self.chains.iter_mut().for_each(Chain::end_demand);
        self.own.decide(cut.tip(self.member.index));
    }

    /// Whether all entries up to the decided `cut` are here.
    pub fn is_complete_to(&self, cut: &Cut) -> bool {
        cut.tips().all(|(lane, tip)| self.chain(lane).is_complete_to(tip.seq))
    }

    /// All entries after `previous` up to the decided `cut`: lanes ascending, then positions ascending. `journal` reads
    /// bodies of executed ones that are kept there. `None` while a body is missing.
    pub fn block(
        &self,
        previous: &Cut,
        cut: &Cut,
        journal: impl Fn(&Digest) -> Option<Bytes>,
    ) -> Option<Vec<Entry>> {
        let mut block = Vec::new();
        for (lane, tip) in cut.ahead_of(previous) {
            for seq in previous.tip(lane).seq.0 + 1..=tip.seq.0 {
                let executed = || self.history.entry(lane, Seq(seq), &journal);
                block.push(self.chain(lane).decided_entry(Seq(seq)).cloned().or_else(executed)?);
            }
        }
        Some(block)
    }

    /// The block of `round`, whose cut this is, was executed: its entries move to the history, and their certificates
    /// are dropped. Rounds come in order.
    pub fn executed(&mut self, round: Round, cut: &Cut) {
        let block = cut.tips().map(|(lane, tip)| (lane, self.chain_mut(lane).execute(tip.seq))).collect();
        self.history.push(round, block);
    }

    /// The certificates verified so far. Execution looks again at those of imports.
    pub fn verified(&mut self) -> &mut CertificateCache {
        &mut self.certificates
    }

    /// Slots, fetches and members visited so far: the work of all events, besides messages. For checkers.
    pub fn work(&self) -> u64 {
        self.chains.iter().map(Chain::work).sum::<u64>() + self.fetches.work()
    }

    // Time and links.

    /// When [`Lanes::tick`] is due; `None` while nothing is open.
    pub fn next_wakeup(&self) -> Option<Time> {
        [self.own.next_due(), self.fetches.next_due(), self.wants.next_due()].into_iter().flatten().min()
    }

    /// Repeats the messages and requests that are due.
    pub fn tick(&mut self, now: Time) -> LaneEffects {
        let mut effects = Effects::none();
        self.send_again(now, &mut effects);
        self.launch(now, &mut effects);
        self.launch_wants(now, &mut effects);
        effects
    }

    /// A new process of a peer is connected, and messages under way to it may be lost. It gets the open entries of our
    /// lane, as their pace allows, and our echoes of its lane. The caller limits how often.
    pub fn on_peer_up(&mut self, now: Time, peer: NodeId) -> LaneEffects {
        let mut effects = Effects::none();
        let Some(index) = self.member.index_of(peer).filter(|index| *index != self.member.index) else {
            return effects;
        };
        for seq in self.own.lost_by(index) {
            let tip = self.own_chain().own_entry(seq).map(Entry::tip);
            let send = tip.and_then(|tip| self.final_of(self.member.index, tip));
            effects.sends.extend(send.map(|send| (Dest::Node(peer), send)));
        }
        self.echo_again(index, &mut effects);
        self.send_again(now, &mut effects);
        effects
    }

    /// A child of ours was restarted: messages under way to or from any peer may be lost.
    pub fn on_child_restarted(&mut self, now: Time) -> LaneEffects {
        let mut effects = Effects::none();
        for index in self.member.committee.indices().filter(|index| *index != self.member.index) {
            self.echo_again(index, &mut effects);
        }
        self.own.retry_now(now);
        self.fetches.retry_now(now);
        self.wants.retry_now(now);
        effects.extend(self.tick(now));
        effects
    }

    fn echo_again(&self, owner: Index, effects: &mut LaneEffects) {
        for (seq, digest, signature) in self.chain(owner).echoes() {
            effects.extend(self.echo(owner, Tip { seq, digest }, signature));
        }
    }

    fn is_lane(&self, lane: Index) -> bool {
        usize::from(lane.0) < self.chains.len()
    }

    fn chain(&self, lane: Index) -> &Chain {
        &self.chains[usize::from(lane.0)]
    }

    fn chain_mut(&mut self, lane: Index) -> &mut Chain {
        &mut self.chains[usize::from(lane.0)]
    }

    fn own_chain(&self) -> &Chain {
        self.chain(self.member.index)
    }
}

impl LaneCertificates for Lanes {
    /// Entries of decided cuts count as certified, and so does the empty lane.
    fn is_certified(&self, lane: Index, tip: Tip) -> bool {
        let Some(chain) = self.chains.get(usize::from(lane.0)) else { return false };
        tip == Tip::default()
            || chain.is_certified(tip)
            || self.history.find(lane, tip.seq, tip.digest).is_some()
    }
}

fn statement(owner: Index, tip: Tip) -> Statement {
    Statement::Lane { owner, seq: tip.seq, digest: tip.digest }
}
