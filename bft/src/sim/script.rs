//! One protocol at several nodes, for its unit tests: messages arrive in the order they were sent, the test cuts links,
//! and time stands still unless the test lets it pass.

use std::sync::Arc;

use wire::committee::{Committee, Member as Keys, Protocol};
use wire::dest::Dest;
use wire::ids::{Index, NodeId, ShardId};

use crate::crypto::cert::Certificate;
use crate::crypto::hash_suite::HashSuite;
use crate::crypto::suite::{Statement, Suite};
use crate::effects::Effects;
use crate::fault::Fault;
use crate::member::Member;
use crate::sim::net::Net;
use crate::time::{Span, Time};

/// More messages and timers than any test needs.
const STEPS_MAX: usize = 1_000_000;

/// A protocol under test, as it runs at one node.
pub(crate) trait Party {
    type Message: Clone + PartialEq + 'static;
    type Output: Clone;

    /// A message arrives. It is encoded and decoded again on the way.
    fn receive(&mut self, now: Time, from: NodeId, message: &Self::Message) -> Did<Self>;
    fn tick(&mut self, now: Time) -> Did<Self>;
    fn next_wakeup(&self) -> Option<Time>;
}

pub(crate) type Did<P> = Effects<<P as Party>::Message, <P as Party>::Output, Dest>;

/// A message, with its sender and recipient.
pub(crate) type Sent<M> = (NodeId, NodeId, M);

pub(crate) struct Script<P: Party> {
    pub(crate) committee: Arc<Committee>,
    pub(crate) suites: Vec<Arc<dyn Suite>>,
    pub(crate) parties: Vec<P>,
    pub(crate) now: Time,
    /// By node.
    pub(crate) outputs: Vec<Vec<P::Output>>,
    /// The faults, each with the node that noticed it.
    pub(crate) faults: Vec<(NodeId, Fault)>,
    /// Messages sent, whether or not they arrive.
    pub(crate) sent: Vec<Sent<P::Message>>,
    /// Messages delivered in their turn.
    pub(crate) delivered: Vec<Sent<P::Message>>,
    net: Net<Sent<P::Message>>,
}

impl<P: Party> Script<P> {
    pub(crate) fn new(n: u16, shards: u16, party: impl Fn(Member) -> P) -> Script<P> {
        let keys = |i: u16| Keys { public_key: [i as u8; 32], coin_commitment: [i as u8; 32] };
        let keys = (0..n * shards).map(keys).collect();
        let committee = Arc::new(Committee::new(n, Protocol::default(), keys, [7; 32]));
        let suite = |node: NodeId| Arc::new(HashSuite::new(&committee, node, 1)) as Arc<dyn Suite>;
        let suites: Vec<Arc<dyn Suite>> = committee.nodes().map(suite).collect();
        let members = committee.nodes().zip(&suites);
        let parties = members.map(|(node, suite)| party(Member::new(committee.clone(), suite.clone(), node)));
        Script {
            parties: parties.collect(),
            now: Time(1_000_000),
            outputs: vec![Vec::new(); suites.len()],
            faults: Vec::new(),
            sent: Vec::new(),
            delivered: Vec::new(),
            net: Net::default(),
            suites,
            committee,
        }
    }

    pub(crate) fn node(&self, shard: ShardId, index: u16) -> NodeId {
        self.committee.node_at(shard, Index(index))
    }

    pub(crate) fn at(&self, node: NodeId) -> &P {
        &self.parties[usize::from(node.0)]
    }

    pub(crate) fn at_mut(&mut self, node: NodeId) -> &mut P {
        &mut self.parties[usize::from(node.0)]
    }

    /// From now on only these messages arrive; the others are lost, those under way included.
    pub(crate) fn only(&mut self, passes: impl Fn(NodeId, NodeId, &P::Message) -> bool + 'static) {
        self.net.lose_no_more();
        self.net.lose_always(move |(from, to, message)| !passes(*from, *to, message));
    }

    /// From now on all messages arrive.
    pub(crate) fn heal(&mut self) {
        self.net.lose_no_more();
    }

    /// A node does a step.
    pub(crate) fn step(&mut self, at: NodeId, step: impl FnOnce(&mut P, Time) -> Did<P>) {
        let effects = step(&mut self.parties[usize::from(at.0)], self.now);
        self.absorb(at, effects);
    }

    /// Sends the messages of a step and keeps its outputs and faults.
    pub(crate) fn absorb(&mut self, at: NodeId, effects: Did<P>) {
        self.outputs[usize::from(at.0)].extend(effects.outputs);
        self.faults.extend(effects.faults.into_iter().map(|fault| (at, fault)));
        for (dest, message) in effects.sends {
            assert_ne!(dest, Dest::Node(at), "nothing is sent to oneself");
            for to in dest.expand(&self.committee, at) {
                self.sent.push((at, to, message.clone()));
                self.net.send(self.now, (at, to, message.clone()));
            }
        }
    }

    /// Makes a member handle a message as if `from` had sent it.
    pub(crate) fn hand(&mut self, from: NodeId, to: NodeId, message: &P::Message) {
        self.step(to, |it, now| it.receive(now, from, message));
    }

    /// Takes the message that `choose` picks by its position among all under way, whose number it is given.
    pub(crate) fn take(&mut self, choose: impl FnOnce(usize) -> usize) -> Option<Sent<P::Message>> {
        let under_way = self.net.len();
        if under_way == 0 { None } else { self.net.take_nth(choose(under_way)) }
    }

    /// Delivers until nothing is under way.
    pub(crate) fn deliver(&mut self) {
        for _ in 0..STEPS_MAX {
            let Some((_, (from, to, message))) = self.net.pop() else { return };
            self.hand(from, to, &message);
            self.delivered.push((from, to, message));
        }
        panic!("messages without end");
    }

    /// Delivers, and lets time pass with every timer that becomes due.
    pub(crate) fn pass_ms(&mut self, ms: u64) {
        let end = self.now + Span::from_ms(ms);
        self.deliver();
        for _ in 0..STEPS_MAX {
            let due = self.parties.iter().filter_map(P::next_wakeup).min().filter(|due| *due <= end);
            let Some(due) = due else {
                self.now = end;
                return;
            };
            self.now = self.now.max(due);
            for node in self.committee.clone().nodes() {
                self.step(node, P::tick);
                let due = self.at(node).next_wakeup();
                assert!(due.is_none_or(|due| due > self.now), "a tick leaves nothing due");
            }
            self.deliver();
        }
        panic!("timers without end");
    }

    /// Signatures of these nodes.
    pub(crate) fn certificate(
        &self,
        signers: impl Iterator<Item = NodeId>,
        statement: &Statement,
    ) -> Certificate {
        let sign = |node: NodeId| self.suites[usize::from(node.0)].sign(statement);
        Certificate(signers.map(|node| (self.committee.index_of(node), sign(node))).collect())
    }
}
