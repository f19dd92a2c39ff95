//! The members of the search: real [`Mvba`]s that are fed messages, and a coin whose leaders the search chooses.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};

use wire::codec;
use wire::committee::{Committee, Protocol};
use wire::ids::{Digest, Index, NodeId, Round, Seq, ShardId, Signature, View};

use crate::crypto::deal::{deal_committee, seeded_entropy};
use crate::crypto::delegate::Delegate;
use crate::crypto::hash_suite::HashSuite;
use crate::crypto::suite::{CoinName, Stage, Statement, Suite};
use crate::cut::{Cut, Tip};
use crate::effects::{Effects, To};
use crate::member::Member;
use crate::mvba::{Ballot, LaneCertificates, Mvba, MvbaMessage, MvbaOutput, PreVote, Vote};
use crate::sim::search::Violation;
use crate::spb::SpbMessage;

pub(super) const HONEST: [Index; 3] = [Index(0), Index(1), Index(2)];
pub(super) const BYZANTINE: Index = Index(3);
/// The only round.
pub(super) const ROUND: Round = Round(1);

/// Shared by all members.
pub(super) struct Table {
    pub(super) committee: Arc<Committee>,
    pub(super) suites: Vec<Arc<dyn Suite>>,
    pub(super) genesis: Cut,
    /// By member; all differ.
    pub(super) inputs: Vec<Cut>,
    digests: Vec<Digest>,
    elected: Arc<Mutex<Vec<Index>>>,
    /// Messages that members were fed.
    deliveries: Cell<u64>,
    nodes: Cell<u64>,
}

impl Table {
    pub(super) fn new() -> Table {
        let (committee, _) = deal_committee(4, 1, Protocol::default(), seeded_entropy(0));
        let committee = Arc::new(committee);
        let elected = Arc::new(Mutex::new(Vec::new()));
        let suite = |node: NodeId| {
            let inner = HashSuite::new(&committee, node, 0);
            Arc::new(Directed { inner, elected: elected.clone() }) as Arc<dyn Suite>
        };
        let suites = committee.nodes().map(suite).collect();
        let genesis = Cut::genesis(&committee);
        let input = |member: Index| {
            let mut cut = genesis.clone();
            cut.0[usize::from(member.0)] = Tip { seq: Seq(1), digest: Digest([1 + member.0 as u8; 32]) };
            cut
        };
        let inputs: Vec<Cut> = committee.indices().map(input).collect();
        let digests = inputs.iter().map(Cut::digest).collect();
        let (deliveries, nodes) = (Cell::new(0), Cell::new(0));
        Table { suites, genesis, inputs, digests, elected, deliveries, nodes, committee }
    }

    /// All values, with their digests.
    pub(super) fn values(&self) -> impl Iterator<Item = (&Cut, Digest)> {
        self.inputs.iter().zip(self.digests.iter().copied())
    }

    /// From now on the coins of the first views elect these.
    pub(super) fn elect(&self, leaders: &[Index]) {
        *self.elected.lock().expect("nothing panics while it is held") = leaders.to_vec();
    }

    pub(super) fn deliveries(&self) -> u64 {
        self.deliveries.get()
    }

    pub(super) fn suite(&self, member: Index) -> &dyn Suite {
        &*self.suites[usize::from(member.0)]
    }

    pub(super) fn member(&self, index: Index) -> Member {
        let node = self.committee.node_at(ShardId(0), index);
        Member::new(self.committee.clone(), self.suites[usize::from(index.0)].clone(), node)
    }

    /// An honest member that has given its input.
    pub(super) fn start(&self, index: Index) -> Result<Node, Violation> {
        let mvba = Mvba::new(self.member(index), ROUND, self.genesis.clone());
        let (sent, signed, notes) = (Vec::new(), Vec::new(), Vec::new());
        let mut node = Node { id: 0, index, mvba, sent, signed, decided: None, notes };
        let effects = node.mvba.input(self.inputs[usize::from(index.0)].clone(), &Everything);
        self.absorb(&mut node, effects)?;
        Ok(self.numbered(node))
    }

    /// The member after it has received these messages, in this order. A member that has decided ignores the rest.
    pub(super) fn feed(&self, node: &Node, messages: &[&Message], note: Note) -> Result<Node, Violation> {
        let mut node = Node { notes: [&node.notes[..], &[note]].concat(), ..node.clone() };
        for message in messages {
            if node.decided.is_some() {
                break;
            }
            self.deliveries.set(self.deliveries.get() + 1);
            let content = message.content.clone();
            let effects = node.mvba.handle(message.from, message.digest, content, &Everything);
            self.absorb(&mut node, effects)?;
        }
        Ok(self.numbered(node))
    }

    fn numbered(&self, mut node: Node) -> Node {
        self.nodes.set(self.nodes.get() + 1);
        node.id = self.nodes.get();
        node
    }

    /// Records a member's messages, signatures and decision, and delivers its messages to itself.
    fn absorb(&self, node: &mut Node, effects: Effects<MvbaMessage, MvbaOutput>) -> Result<(), Violation> {
        let mut step = effects;
        let mut local = VecDeque::new();
        loop {
            if let Some(fault) = step.faults.iter().find(|fault| fault.peer.0 != BYZANTINE.0) {
                return Err(Violation::new(format!("member {} blames an honest one: {fault:?}", node.index)));
            }
            for (to, message) in step.sends {
                match to {
                    To::Member(other) if other.0 == node.index.0 => local.push_back(message.clone()),
                    To::All => local.push_back(message.clone()),
                    To::Others | To::Member(_) => {}
                }
                let message = Message::new(node.index, message);
                node.signed.extend(self.signed(node, &message));
                node.sent.push(message);
            }
            for output in step.outputs {
                if let MvbaOutput::Decided(halt) = output {
                    node.decided = Some(halt.cut.clone());
                    return Ok(());
                }
            }
            let Some(message) = local.pop_front() else { return Ok(()) };
            let message = Message::new(node.index, message);
            step = node.mvba.handle(node.index, message.digest, message.content, &Everything);
        }
    }

    /// The statement that a member's message signs, with the signature. ECHO and READY do not name their value, so all
    /// values are tried.
    fn signed(&self, node: &Node, message: &Message) -> Option<(Statement, Signature)> {
        let view = message.content.view();
        let none = Digest::default();
        let candidates = |leader: Index, stage: Stage, signature: Signature| {
            let statements = self.values().map(|(_, digest)| statement(view, leader, stage, digest));
            let mut statements = statements.map(|statement| (statement, signature));
            statements.find(|(statement, signature)| {
                self.suite(node.index).verify(node.index, statement, signature)
            })
        };
        let ballot = match &message.content {
            MvbaMessage::Spb { leader, message: SpbMessage::Echo(signature), .. } => {
                return candidates(*leader, Stage::Lock, *signature);
            }
            MvbaMessage::Spb { leader, message: SpbMessage::Ready(signature), .. } => {
                return candidates(*leader, Stage::Finish, *signature);
            }
            MvbaMessage::Ballot { ballot, .. } => ballot,
            MvbaMessage::Spb { .. } | MvbaMessage::CoinShare { .. } => return None,
        };
        let leader = node.mvba.leader(view).expect("ballots follow the coin");
        let (stage, digest, signature) = match ballot {
            Ballot::PreVote(PreVote::Yes { .. }) => return None,
            Ballot::PreVote(PreVote::No { signature }) => (Stage::No, none, signature),
            Ballot::Vote(Vote::Yes { cut, signature, .. }) => (Stage::Finish, cut.digest(), signature),
            Ballot::Vote(Vote::No { signature, .. }) => (Stage::Unlock, none, signature),
        };
        Some((statement(view, leader, stage, digest), *signature))
    }

    /// The coin shares of all other members.
    pub(super) fn coin(&self, member: Index, view: View) -> Vec<Message> {
        let name = CoinName { round: ROUND, view };
        let others = self.committee.indices().filter(|other| *other != member);
        let share = |other: Index| {
            let share = self.suite(other).coin_share(&name);
            Message::new(other, MvbaMessage::CoinShare { view, share })
        };
        others.map(share).collect()
    }
}

/// One honest member somewhere in the search.
#[derive(Clone)]
pub(super) struct Node {
    /// Two nodes that were fed differently have different ids.
    pub(super) id: u64,
    pub(super) index: Index,
    pub(super) mvba: Mvba,
    /// Messages since the current view began, its SEND of that view included.
    pub(super) sent: Vec<Message>,
    /// Signatures since then.
    pub(super) signed: Vec<(Statement, Signature)>,
    pub(super) decided: Option<Cut>,
    /// Its steps in this view.
    pub(super) notes: Vec<Note>,
}

impl Node {
    /// The same at the start of a view, without the messages and notes of earlier ones.
    pub(super) fn entering(&self, view: View) -> Node {
        let mut node = self.clone();
        node.sent.retain(|message| message.content.view() >= view);
        node.signed
            .retain(|(signed, _)| matches!(signed, Statement::Agreement { view: of, .. } if *of >= view));
        node.notes.clear();
        node
    }

    /// Whether it takes part in a view: it has not decided, and is not stuck in an earlier view.
    pub(super) fn is_active(&self, view: View) -> bool {
        self.decided.is_none() && self.mvba.current_view() == view
    }

    pub(super) fn sent(&self, is_it: impl Fn(&MvbaMessage) -> bool) -> Option<&Message> {
        self.sent.iter().find(|message| is_it(&message.content))
    }

    pub(super) fn pre_vote(&self, view: View) -> Option<&Message> {
        self.ballot(view, |ballot| matches!(ballot, Ballot::PreVote(_)))
    }

    pub(super) fn vote(&self, view: View) -> Option<&Message> {
        self.ballot(view, |ballot| matches!(ballot, Ballot::Vote(_)))
    }

    fn ballot(&self, view: View, is_it: impl Fn(&Ballot) -> bool) -> Option<&Message> {
        self.sent(
            |message| matches!(message, MvbaMessage::Ballot { view: of, ballot } if *of == view && is_it(ballot)),
        )
    }

    /// The SEND of its SPB in a view.
    pub(super) fn send(&self, view: View) -> Option<&Message> {
        self.sent(|message| {
            matches!(message, MvbaMessage::Spb { view: of, message: SpbMessage::Send { .. }, .. } if *of == view)
        })
    }

    /// LOCK of its SPB in a view.
    pub(super) fn lock(&self, view: View) -> Option<&Message> {
        self.sent(|message| {
            matches!(message, MvbaMessage::Spb { view: of, message: SpbMessage::Lock { .. }, .. } if *of == view)
        })
    }

    /// Its ECHO for a leader's SPB.
    pub(super) fn echo(&self, view: View, leader: Index) -> Option<&Message> {
        self.sent(|message| {
            matches!(message, MvbaMessage::Spb { view: of, leader: led, message: SpbMessage::Echo(_) }
                if *of == view && *led == leader)
        })
    }
}

/// One step of a member in a view, for the report of a violation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Note {
    /// SENDs of the other members.
    Proposals,
    /// LOCK of the leader, before the coin.
    LockBeforeCoin,
    Coin,
    /// LOCK of the leader, after the own PRE-VOTE.
    LockAfterCoin,
    /// LOCK of the leader, after the view.
    LockTooLate,
    /// FINISH of the leader.
    Finish,
    PreVotes(Heard),
    Votes(Heard),
    /// All VOTEs, then all PRE-VOTEs.
    VotesFirst,
    Halt,
    /// A message tried without consequence.
    Trial,
}

/// The members whose ballots are received.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Heard {
    /// Both other honest members.
    Both,
    /// One honest member, and the Byzantine one with a yes.
    OneAndYes(Index),
    /// One honest member, and the Byzantine one with a no.
    OneAndNo(Index),
}

/// A message of a member.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) from: Index,
    pub(super) digest: Digest,
    pub(super) content: MvbaMessage,
}

impl Message {
    pub(super) fn new(from: Index, content: MvbaMessage) -> Message {
        let digest = Digest(Sha256::digest(codec::encode(&content)).into());
        Message { from, digest, content }
    }
}

/// A statement about a view of the only round.
pub(super) fn statement(view: View, leader: Index, stage: Stage, digest: Digest) -> Statement {
    Statement::Agreement { round: ROUND, view, leader, stage, digest }
}

/// Every entry is certified and every member knows it, so nothing here waits for lanes.
struct Everything;

impl LaneCertificates for Everything {
    fn is_certified(&self, _lane: Index, _tip: Tip) -> bool {
        true
    }
}

/// The stand-in suite with a coin that elects the leaders the search has chosen.
#[derive(Debug)]
struct Directed {
    inner: HashSuite,
    elected: Arc<Mutex<Vec<Index>>>,
}

impl Delegate for Directed {
    fn inner(&self) -> &dyn Suite {
        &self.inner
    }

    fn elected(&self, name: &CoinName, _leader: Index) -> Option<Index> {
        self.elected.lock().expect("nothing panics while it is held").get(name.view.0 as usize).copied()
    }
}
