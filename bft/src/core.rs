//! The root of the core: one member of a shard, which takes events and returns effects.
//!
//! It holds the protocol tree (lanes, rounds, block votes), the ledger and the pending transactions, translates between
//! their messages and bytes, and decides when a step is due: an own lane entry, the input to a round, the execution of
//! a block. All of it is deterministic: the same events at the same times give the same effects.
//!
//! Call order: [`Core::handle`] with each event; [`Core::next_wakeup`] returns when to call again with [`Event::Tick`]
//! if no event comes before. Until then no work is left; the simulator checks this after each event. Messages to
//! ourselves wait in a local queue and are handled before `handle` returns.

mod blocks;
mod checkpoint;
mod clients;
mod cross;
mod follower;
mod pace;
mod routing;
mod tails;
#[cfg(test)]
mod tests;
mod trace;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wire::bytes::Bytes;
use wire::client::NodeStatus;
use wire::codec::CodecError;
use wire::committee::Committee;
use wire::ids::{Digest, Index, NodeId, Round, View};

use crate::block::{BlockVotes, Header};
use crate::checkpoint::{Offers, Takeover};
use crate::core::follower::Role;
use crate::core::tails::Tails;
use crate::crypto::suite::Suite;
use crate::cut::Cut;
use crate::event::{Effect, Event};
use crate::fault::FaultKind;
use crate::id_index::Steps;
use crate::image::{Given, Image as _, image};
use crate::lane::{LaneSettings, Lanes};
use crate::ledger::Ledger;
use crate::member::Member;
use crate::message::{Incoming, Message};
use crate::pending::gather::Gather;
use crate::pending::{MempoolLimits, Pending};
use crate::resend::Returns;
use crate::round::{Decision, Rounds};
use crate::shard::home::IdleLanes;
use crate::shard::transfer::Transfers;
use crate::time::Time;
use crate::trace::Tracing;

/// The configuration of a core, besides its keys.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// All nodes and the rules.
    pub committee: Arc<Committee>,
    /// Our node id.
    pub node: NodeId,
    /// Windows and history of the lanes.
    pub lanes: LaneSettings,
    /// Limits of the mempool.
    pub mempool: MempoolLimits,
    /// Most transactions in one proposal.
    pub batch: usize,
    /// Keys the hash tables; unknown to clients. Affects no result.
    pub hash_seed: u64,
    /// The level of detail of [`Effect::Trace`]. Nothing else depends on it.
    pub tracing: Tracing,
}

/// The share of memory that executed parts of other shards may take besides the history of lanes, as its divisor: even
/// if most transactions cross shards, a part repeats only bytes that stood in an entry of another shard.
const PARTS_HISTORY_DIVISOR: u64 = 4;

/// One member of a shard.
#[derive(Clone, Debug)]
pub struct Core {
    member: Member,
    role: Role,
    batch: usize,
    lanes: Lanes,
    rounds: Rounds,
    votes: BlockVotes,
    ledger: Ledger,
    pending: Pending,
    /// Parts on their way between shards.
    transfers: Transfers,
    /// Messages about single transactions, collected to go out together.
    gather: Gather,
    /// Checkpoints that we make for others, and the one that we take over.
    offers: Offers,
    takeover: Takeover,
    idle: IdleLanes,
    /// Lanes with entries that are not certified.
    tails: Tails,
    /// Peers with a new process, to which open messages must be sent again.
    returns: Returns,
    /// The header of the last executed block, and the cut up to which it executes.
    header: Header,
    executed_cut: Cut,
    /// Decided rounds that wait for payloads. Bound: `limits::ROUNDS_UNEXECUTED_MAX`, kept by the round loop.
    undone: VecDeque<Decision>,
    /// Messages to ourselves.
    local: VecDeque<Message>,
    /// Whether certificates of lanes have arrived for which a pending SEND may wait.
    certificates: News,
    /// Whether there may be imports that we have not listed in a proposal.
    imports: News,
    views: u64,
    /// Messages dropped because they came too early.
    too_early: u64,
    /// Malformed requests of clients.
    requests_refused: u64,
    tracing: Tracing,
    /// The round of our input and our view, as last traced.
    traced: Option<(Round, View)>,
    out: Vec<Effect>,
}

image! {
    Core:
    given member = |given| given.member.clone(),
        // A follower has no journal.
        role = |_| Role::Member,
        // Traces are no part of the state: a replay may trace what the node did not.
        tracing = |given| given.tracing, traced = |_| None,
        // Empty between two events.
        local = |_| VecDeque::new(), out = |_| Vec::new();
    parts lanes, rounds, votes, ledger, pending, transfers, gather, offers, takeover;
    plain batch, idle, tails, returns, header, executed_cut, undone, certificates, imports, views, too_early,
        requests_refused;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum News {
    None,
    Arrived,
}

impl Core {
    /// A member at the start of the testbed.
    pub fn new(config: CoreConfig, suite: Arc<dyn Suite>) -> Core {
        let Given { member, rules, validity, .. } = Given::of(&config, suite);
        Core {
            batch: config.batch,
            lanes: Lanes::new(member.clone(), config.lanes, validity),
            rounds: Rounds::new(member.clone(), config.lanes.history_rounds_max),
            votes: BlockVotes::new(member.clone()),
            ledger: Ledger::genesis(rules, config.hash_seed),
            pending: Pending::new(member.clone(), config.mempool, config.hash_seed),
            transfers: Transfers::new(
                member.clone(),
                config.lanes.history_place,
                config.lanes.history_rounds_max,
                config.lanes.history_bytes_max / PARTS_HISTORY_DIVISOR,
            ),
            gather: Gather::new(config.committee.clone()),
            idle: IdleLanes::new(member.committee.n()),
            tails: Tails::default(),
            returns: Returns::default(),
            offers: Offers::new(member.clone()),
            takeover: Takeover::new(member.clone()),
            header: Header::default(),
            executed_cut: Cut::genesis(&config.committee),
            undone: VecDeque::new(),
            local: VecDeque::new(),
            certificates: News::None,
            imports: News::None,
            views: 0,
            too_early: 0,
            requests_refused: 0,
            tracing: config.tracing,
            traced: None,
            out: Vec::new(),
            role: Role::Member,
            member,
        }
    }

    /// A member at the start of the testbed that only follows.
    pub fn follower(config: CoreConfig, suite: Arc<dyn Suite>) -> Core {
        Core { role: Role::Follower, ..Core::new(config, suite) }
    }

    /// Writes the whole state; see [`Core::from_image`].
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_image(&self, writer: &mut impl Write) -> io::Result<()> {
        assert!(self.local.is_empty() && self.out.is_empty(), "an image is made between two events");
        self.save(writer)
    }

    /// The core whose image this is, which goes on as that one would have. Of the configuration, only what is given at
    /// every start counts: committee, node, tracing. The rest is in the image.
    ///
    /// # Errors
    /// If these bytes are no image of a core. An image that was altered may be read as another state: callers verify a
    /// digest of it first.
    pub fn from_image(
        config: &CoreConfig,
        suite: Arc<dyn Suite>,
        mut image: &[u8],
    ) -> Result<Core, CodecError> {
        let core = Core::load(&mut image, &Given::of(config, suite))?;
        if image.is_empty() { Ok(core) } else { Err(CodecError::TrailingBytes(image.len())) }
    }

    /// Handles an event and returns its effects, in this order.
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Effect> {
        match event {
            Event::Peer { from, digest, body } => self.on_peer(now, from, digest, body),
            Event::PeerUp { peer } if self.member.committee.contains(peer) => {
                self.pending.peer_up(peer);
                self.returns.is_up(now, peer);
                self.serve_returns(now);
            }
            Event::PeerUp { .. } | Event::Tick => {}
            Event::PeerDown { peer } => self.pending.peer_down(peer),
            Event::PeerDecided { peer, decided } => {
                // It comes with each session, and so with one that the same process has begun again.
                self.pending.peer_up(peer);
                if let Some(author) = self.member.index_of(peer) {
                    self.rounds.peer_decided(now, author, decided);
                }
            }
            Event::ChildRestarted => self.on_child_restarted(now),
            Event::Client { client, body } => self.on_client(now, client, &body),
            Event::ClientGone { client } => self.pending.client_gone(client),
        }
        if self.next_wakeup().is_some_and(|due| due <= now) {
            self.tick(now);
        }
        self.settle(now);
        self.release_gathered(now);
        let mut effects = std::mem::take(&mut self.out);
        self.leave_out(&mut effects);
        self.trace_sent(effects)
    }

    /// When [`Event::Tick`] is due; `None` while nothing is open.
    pub fn next_wakeup(&self) -> Option<Time> {
        let timers = [
            self.lanes.next_wakeup(),
            self.rounds.next_wakeup(),
            self.votes.next_wakeup(),
            self.cross_wakeup(),
            self.checkpoint_wakeup(),
            self.returns.due(),
        ];
        timers.into_iter().flatten().chain(self.proposal_due()).min()
    }

    /// Looks for work although no event has arrived. A core that has handled an event must find none before its wake-up
    /// is due. For checkers.
    pub fn look_again(&mut self, now: Time) -> Vec<Effect> {
        let imports = self.imports;
        self.certificates = News::Arrived;
        self.tick(now);
        self.settle(now);
        self.release_gathered(now);
        // While the lane has no room a tick may leave imports to be listed. A look leaves the state as it was.
        self.imports = imports;
        std::mem::take(&mut self.out)
    }

    /// Steps taken so far in loops over waiting items. For checkers: an event adds what it changes, however long the
    /// backlog is.
    pub fn work(&self) -> u64 {
        self.lanes.work() + self.pending.work() + self.ledger.work()
    }

    /// The cost of searches in the tables of ids. For checkers: it reads whole tables.
    pub fn steps(&self) -> Steps {
        self.ledger.steps().and(self.pending.steps())
    }

    /// The status, as far as the core knows it; the driver adds the parts that only processes know.
    pub fn status(&self) -> NodeStatus {
        NodeStatus { value: self.ledger.recount(), ..self.status_at_hand() }
    }

    /// The same without counting anything: `value` is the result that execution keeps.
    pub fn status_at_hand(&self) -> NodeStatus {
        let totals = self.ledger.totals();
        let waiting = self.rounds.waiting();
        NodeStatus {
            decided: self.rounds.decided(),
            executed: self.header.height,
            header: self.header_digest(),
            certified: self.votes.certified(),
            view: waiting.as_ref().map(|(view, _)| view.0),
            waiting_for: waiting.map(|(_, waiting)| waiting),
            mempool: self.pending.len() as u64,
            taken: self.pending.taken(),
            lane_open: self.lanes.own_open() as u64,
            finished: totals.finished,
            rejected: totals.rejected,
            expired: totals.expired,
            coins: self.ledger.coins_unspent(),
            value: self.ledger.value(),
            open_records: self.ledger.open_records() as u64,
            pool: self.ledger.pool_len() as u64,
            parts_open: self.transfers.parts_open() as u64,
            held: self.ledger.held(),
            finished_cross: totals.finished_cross,
            cancelled: totals.cancelled,
            exchanged: self.ledger.exchanged(),
            views: self.views,
            refused: self.refused(),
            too_early: self.too_early,
            behind: self.rounds.behind(),
            history_lost: self.rounds.history_lost(),
            takeover: self.takeover.status(),
            follows: self.follows(),
            ..NodeStatus::default()
        }
    }

    /// The cut that a round decided, as long as it is kept; that of round 0 is the genesis cut. For checkers.
    pub fn decided_cut(&self, round: Round) -> Option<Cut> {
        match round.0 {
            0 => Some(Cut::genesis(&self.member.committee)),
            _ => self.rounds.halt(round).map(|halt| halt.cut.clone()),
        }
    }

    /// The lanes, for checkers.
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Digests of the messages that [`Effect::SendKept`] may name: the journal must have them.
    pub fn in_journal(&self) -> impl Iterator<Item = Digest> {
        self.lanes.in_journal().chain(self.transfers.in_journal())
    }

    /// The ledger, for checkers and dumps.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Transactions refused here, as opposed to those that `net_server` refuses.
    fn refused(&self) -> Vec<(String, u64)> {
        let count = self.requests_refused;
        if count > 0 { vec![("request not understood".into(), count)] } else { Vec::new() }
    }

    /// Digest of the last executed header; zero before the first.
    fn header_digest(&self) -> Digest {
        if self.header.height.0 == 0 { Digest::default() } else { self.header.digest() }
    }

    fn on_peer(&mut self, now: Time, from: NodeId, digest: Digest, body: Bytes) {
        if !self.is_for_us(&body) {
            return;
        }
        self.trace_message(from, digest, &body);
        let Some(incoming) = Incoming::decode(&body) else {
            return self.blame(from, FaultKind::Malformed);
        };
        match (incoming, self.member.index_of(from)) {
            (Incoming::Transfer(transfer), _) => self.on_transfer(now, from, digest, transfer),
            (Incoming::Order(list), _) => self.on_order(now, from, &list),
            (Incoming::Copies(copies), _) => self.on_copies(now, from, &copies),
            (Incoming::Message(Message::Shard(message)), _) => self.on_shard(now, from, message),
            (Incoming::Entry, Some(_)) => {
                let effects = self.lanes.handle_entry(now, from, digest, body);
                self.absorb_lanes(effects);
                self.watch_tail(now, from);
            }
            (Incoming::Message(message), Some(author)) => {
                self.on_message(now, author, digest, body.len(), message);
            }
            (Incoming::Piece(piece), Some(author)) => self.on_piece(now, author, piece),
            // A node of another shard has no vote in this one.
            (Incoming::Entry | Incoming::Piece(_) | Incoming::Message(_), None) => {
                self.blame(from, FaultKind::NotAMember)
            }
        }
    }

    fn on_message(&mut self, now: Time, author: Index, digest: Digest, size: usize, message: Message) {
        match message {
            Message::Lane(message) => {
                let effects = self.lanes.handle(now, self.member.node_at(author), message);
                self.absorb_lanes(effects);
            }
            Message::Round(message) => {
                let effects = self.rounds.handle(now, author, digest, size, message, &self.lanes);
                self.absorb_rounds(now, effects);
            }
            Message::Block(message) => {
                let effects = self.votes.handle(now, author, message);
                self.absorb_votes(now, effects);
            }
            Message::Shard(message) => self.on_shard(now, self.member.node_at(author), message),
            Message::Checkpoint(message) => self.on_checkpoint(now, author, message),
        }
    }

    /// Sends open messages to peers with a new process, to each at most once a second: a peer chooses how often it
    /// returns, but not the cost to us.
    fn serve_returns(&mut self, now: Time) {
        while let Some(peer) = self.returns.next(now) {
            self.on_peer_up(now, peer);
        }
    }

    fn on_peer_up(&mut self, now: Time, peer: NodeId) {
        let parts = self.transfers.on_peer_up(now, peer);
        self.absorb_transfers(parts);
        if self.member.index_of(peer).is_none() {
            return;
        }
        let lanes = self.lanes.on_peer_up(now, peer);
        self.absorb_lanes(lanes);
        let rounds = self.rounds.on_peer_up(peer);
        self.absorb_sends(rounds.sends, Message::Round);
        let votes = self.votes.on_peer_up(peer);
        self.absorb_votes(now, votes);
        self.pending.start_over(peer);
    }

    fn on_child_restarted(&mut self, now: Time) {
        let lanes = self.lanes.on_child_restarted(now);
        self.absorb_lanes(lanes);
        let rounds = self.rounds.on_child_restarted(now);
        self.absorb_sends(rounds.sends, Message::Round);
        let votes = self.votes.on_child_restarted();
        self.absorb_votes(now, votes);
        let parts = self.transfers.on_child_restarted(now);
        self.absorb_transfers(parts);
        self.pending.on_child_restarted(now);
    }

    fn tick(&mut self, now: Time) {
        self.serve_returns(now);
        let lanes = self.lanes.tick(now);
        self.absorb_lanes(lanes);
        let rounds = self.rounds.tick(now, &self.lanes);
        self.absorb_rounds(now, rounds);
        let votes = self.votes.tick(now);
        self.absorb_votes(now, votes);
        self.cross_tick(now);
        self.checkpoint_tick(now);
    }

    /// Takes every step that has become possible, until none is left.
    fn settle(&mut self, now: Time) {
        loop {
            while let Some(message) = self.local.pop_front() {
                self.on_message(now, self.member.index, Digest::default(), 0, message);
            }
            if std::mem::replace(&mut self.certificates, News::None) == News::Arrived {
                let effects = self.rounds.reconsider(now, &self.lanes);
                self.absorb_rounds(now, effects);
            }
            let executed = self.execute_next(now);
            let proposed = self.propose(now);
            if !self.follows() && self.rounds.is_input_due(now, |cut| self.lanes.may_be_ahead_of(cut)) {
                let effects = self.lanes.prove_all_claims(now);
                self.absorb_lanes(effects);
                let effects = self.rounds.input(now, self.lanes.cut(), &self.lanes);
                self.absorb_rounds(now, effects);
            }
            if !executed && !proposed && self.local.is_empty() && self.certificates == News::None {
                return;
            }
        }
    }
}
