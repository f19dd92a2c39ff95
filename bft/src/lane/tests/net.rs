//! A tiny network of `Lanes`: first in, first out, every message through the codec, time only when asked for.

use std::collections::VecDeque;
use std::sync::Arc;

use wire::bytes::Bytes;
use wire::codec;
use wire::committee::{Committee, Member as Keys, Protocol};
use wire::dest::Dest;
use wire::ids::{Digest, Index, NodeId, Round, Seq, Signature};

use crate::crypto::cert::Certificate;
use crate::crypto::hash_suite::HashSuite;
use crate::crypto::suite::{Statement, Suite};
use crate::cut::{Cut, Tip};
use crate::fault::{Fault, FaultKind};
use crate::lane::entry::{self, Entry};
use crate::lane::{Bodies, LaneEffects, LaneMessage, LaneOutput, LaneSend, LaneSettings, Lanes};
use crate::member::Member;
use crate::time::{Span, Time};

/// Whether a message from, to passes.
type Filter = Box<dyn Fn(usize, usize, &LaneSend) -> bool>;

/// A payload that starts with this byte is invalid.
pub(super) const INVALID: u8 = 0xFF;

pub(super) struct Net {
    pub(super) lanes: Vec<Lanes>,
    pub(super) now: Time,
    pub(super) committee: Arc<Committee>,
    /// Delivered messages, for counting.
    pub(super) log: Vec<(usize, usize, LaneSend)>,
    pub(super) outputs: Vec<Vec<LaneOutput>>,
    /// Who noticed what.
    pub(super) faults: Vec<(usize, Fault)>,
    queue: VecDeque<(usize, usize, LaneSend)>,
    passes: Filter,
}

impl Net {
    pub(super) fn new(n: u16) -> Net {
        Net::with(n, LaneSettings::default())
    }

    pub(super) fn with(n: u16, settings: LaneSettings) -> Net {
        let keys = |i: u16| Keys { public_key: [i as u8; 32], coin_commitment: [i as u8; 32] };
        let committee = Committee::new(n, Protocol::default(), (0..n).map(keys).collect(), [7; 32]);
        let committee = Arc::new(committee);
        let lanes = committee.nodes().map(|node| {
            let suite = Arc::new(HashSuite::new(&committee, node, 1));
            let validity = Arc::new(|payload: &[u8]| payload.first() != Some(&INVALID));
            Lanes::new(Member::new(committee.clone(), suite, node), settings, validity)
        });
        Net {
            lanes: lanes.collect(),
            now: Time(1_000_000),
            log: Vec::new(),
            outputs: vec![Vec::new(); usize::from(n)],
            faults: Vec::new(),
            queue: VecDeque::new(),
            passes: Box::new(|_, _, _| true),
            committee,
        }
    }

    /// From now on only what passes the filter is delivered.
    pub(super) fn filter(&mut self, passes: impl Fn(usize, usize, &LaneSend) -> bool + 'static) {
        self.passes = Box::new(passes);
    }

    pub(super) fn heal(&mut self) {
        self.filter(|_, _, _| true);
    }

    /// Queues what a member wants sent, notes the rest.
    pub(super) fn absorb(&mut self, at: usize, effects: LaneEffects) {
        self.outputs[at].extend(effects.outputs);
        self.faults.extend(effects.faults.into_iter().map(|fault| (at, fault)));
        for (dest, send) in effects.sends {
            let me = NodeId(at as u16);
            assert!(!matches!(&dest, Dest::Node(node) if *node == me), "lanes never send to themselves");
            let to = dest.expand(&self.committee, me);
            self.queue.extend(to.into_iter().map(|to| (at, usize::from(to.0), send.clone())));
        }
    }

    /// Hands one message over, through the codec.
    pub(super) fn deliver(&mut self, from: usize, to: usize, send: &LaneSend) {
        let (now, sender) = (self.now, NodeId(from as u16));
        let effects = match send {
            LaneSend::Entry { body, .. } => {
                let body = Bytes::from(body.to_vec());
                self.lanes[to].handle_entry(now, sender, digest_of(&body), body)
            }
            LaneSend::Message(message) => {
                let message: LaneMessage =
                    codec::decode(&codec::encode(message)).expect("what is encoded decodes");
                self.lanes[to].handle(now, sender, message)
            }
        };
        self.absorb(to, effects);
    }

    /// Delivers until nothing is under way.
    pub(super) fn run(&mut self) {
        for _ in 0..1_000_000 {
            let Some((from, to, send)) = self.queue.pop_front() else { return };
            assert_ne!(from, to, "lanes never send to themselves");
            if (self.passes)(from, to, &send) {
                self.deliver(from, to, &send);
                self.log.push((from, to, send));
            }
        }
        panic!("the network does not come to rest");
    }

    /// Takes the message at a place of the queue out of it.
    pub(super) fn take(&mut self, choose: impl FnOnce(usize) -> usize) -> Option<(usize, usize, LaneSend)> {
        let length = self.queue.len();
        if length == 0 { None } else { self.queue.remove(choose(length)) }
    }

    /// Lets time pass, with all that becomes due in it.
    pub(super) fn run_for(&mut self, span: Span) {
        let end = self.now + span;
        self.run();
        loop {
            let next = self.lanes.iter().filter_map(Lanes::next_wakeup).min().filter(|next| *next <= end);
            let Some(next) = next else { break };
            assert!(next >= self.now || self.lanes.iter().any(|it| it.next_wakeup() == Some(next)));
            self.now = self.now.max(next);
            for at in 0..self.lanes.len() {
                let effects = self.lanes[at].tick(self.now);
                self.absorb(at, effects);
                let due = self.lanes[at].next_wakeup();
                assert!(due.is_none_or(|due| due > self.now), "a tick leaves nothing due");
            }
            self.run();
        }
        self.now = end;
    }

    /// Appends an entry to a member's own lane.
    pub(super) fn append(&mut self, at: usize, payload: &[u8]) {
        let mut buffer = entry::buffer(payload.len());
        buffer.extend(payload);
        let effects = self.lanes[at].append(self.now, buffer);
        self.absorb(at, effects);
    }

    /// The cut is decided at these members.
    pub(super) fn decide(&mut self, members: impl IntoIterator<Item = usize>, round: u64, cut: &Cut) {
        for at in members {
            let effects = self.lanes[at].decide(self.now, Round(round), cut, Bodies::UnderWay);
            self.absorb(at, effects);
        }
    }

    /// The cut is decided at a member that has missed what led to it.
    pub(super) fn decide_missed(&mut self, at: usize, round: u64, cut: &Cut) {
        let effects = self.lanes[at].decide(self.now, Round(round), cut, Bodies::Missed);
        self.absorb(at, effects);
    }

    /// Payloads of a block at a member, with owner and place.
    pub(super) fn block(&self, at: usize, previous: &Cut, cut: &Cut) -> Option<Vec<(u16, u64, Vec<u8>)>> {
        let block = self.lanes[at].block(previous, cut)?;
        Some(block.iter().map(|it| (it.owner.0, it.seq.0, it.payload().to_vec())).collect())
    }

    pub(super) fn genesis(&self) -> Cut {
        Cut::genesis(&self.committee)
    }

    /// What a member would sign, for forging with the help of Byzantine ones.
    pub(super) fn sign(&self, at: usize, tip: Tip, owner: usize) -> Signature {
        let suite = HashSuite::new(&self.committee, NodeId(at as u16), 1);
        suite.sign(&Statement::Lane { owner: Index(owner as u16), seq: tip.seq, digest: tip.digest })
    }

    /// A certificate signed by these members.
    pub(super) fn certificate(&self, signers: &[usize], owner: usize, tip: Tip) -> Certificate {
        let sign = |at: &usize| (Index(*at as u16), self.sign(*at, tip, owner));
        Certificate(signers.iter().map(sign).collect())
    }

    pub(super) fn faults_of(&self, peer: usize) -> Vec<FaultKind> {
        let faults = self.faults.iter().filter(|(_, fault)| usize::from(fault.peer.0) == peer);
        faults.map(|(_, fault)| fault.kind).collect()
    }

    /// How many delivered messages satisfy the condition.
    pub(super) fn count(&self, condition: impl Fn(usize, usize, &LaneSend) -> bool) -> usize {
        self.log.iter().filter(|(from, to, send)| condition(*from, *to, send)).count()
    }
}

pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest(sha2::Sha256::digest(bytes).into())
}

/// An entry that a Byzantine owner makes.
pub(super) fn forge(owner: usize, parent: Tip, payload: &[u8]) -> Entry {
    let mut buffer = entry::buffer(payload.len());
    buffer.extend(payload);
    Entry::seal(Index(owner as u16), parent, buffer)
}

pub(super) fn send(entry: &Entry) -> LaneSend {
    LaneSend::Entry { owner: entry.owner, seq: entry.seq, digest: entry.digest, body: entry.body.clone() }
}

pub(super) fn final_of(owner: usize, tip: Tip, certificate: Certificate) -> LaneSend {
    let owner = Index(owner as u16);
    LaneSend::Message(LaneMessage::Final { owner, seq: tip.seq, digest: tip.digest, certificate })
}

pub(super) fn is_entry(send: &LaneSend) -> bool {
    matches!(send, LaneSend::Entry { .. })
}

pub(super) fn is_echo(send: &LaneSend) -> bool {
    matches!(send, LaneSend::Message(LaneMessage::Echo { .. }))
}

pub(super) fn is_final(send: &LaneSend) -> bool {
    matches!(send, LaneSend::Message(LaneMessage::Final { .. }))
}

pub(super) fn is_want_entries(send: &LaneSend) -> bool {
    matches!(send, LaneSend::Message(LaneMessage::WantEntries { .. }))
}

/// The tip of a lane in a cut.
pub(super) fn seq_of(cut: &Cut, lane: usize) -> Seq {
    cut.0[lane].seq
}
