//! Members of a few shards, joined by links that deliver in order: every message through its encoding, time only when
//! asked for, and blocks that hold whatever parts a test wants.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use wire::committee::{Committee, Member as Keys, Protocol};
use wire::dest::Dest;
use wire::ids::{Digest, Index, NodeId, PartNumber, Round, ShardId};
use wire::limits::HISTORY_ROUNDS_MIN;

use crate::block::Header;
use crate::crypto::cert::{Certificate, CertificateCache};
use crate::crypto::hash_suite::HashSuite;
use crate::crypto::suite::{Statement, Suite};
use crate::fault::Fault;
use crate::member::Member;
use crate::message::{Incoming, Message};
use crate::part::{Group, Part, PartDigests};
use crate::proposal::Import;
use crate::shard::message::{ShardMessage, Transfer, TransferProof};
use crate::shard::transfer::{TransferEffects, TransferOutput, TransferSend, Transfers};
use crate::time::{Span, Time};
use crate::transaction::tx_id;

/// The shard whose parts most tests follow, and where they go.
pub(super) const SOURCE: ShardId = ShardId(0);
pub(super) const TARGET: ShardId = ShardId(1);

type Filter = Box<dyn Fn(NodeId, NodeId, &TransferSend) -> bool>;

pub(super) struct Bench {
    pub(super) committee: Arc<Committee>,
    pub(super) suites: Vec<Arc<dyn Suite>>,
    pub(super) now: Time,
    /// By node.
    pub(super) outputs: Vec<Vec<TransferOutput>>,
    /// Who noticed what.
    pub(super) faults: Vec<(NodeId, Fault)>,
    /// What was sent, whether or not it passed: from, to, what.
    pub(super) log: Vec<(NodeId, NodeId, TransferSend)>,
    members: Vec<Transfers>,
    queue: VecDeque<(NodeId, NodeId, TransferSend)>,
    passes: Filter,
    /// The headers of each shard.
    chains: BTreeMap<ShardId, Vec<Header>>,
    numbers: BTreeMap<(ShardId, ShardId), PartNumber>,
}

impl Bench {
    pub(super) fn new(n: u16, shards: u16) -> Bench {
        let keys = |i: u16| Keys { public_key: [i as u8; 32], coin_commitment: [i as u8; 32] };
        let committee = Committee::new(n, Protocol::default(), (0..n * shards).map(keys).collect(), [7; 32]);
        let committee = Arc::new(committee);
        let suites: Vec<Arc<dyn Suite>> = committee
            .nodes()
            .map(|node| Arc::new(HashSuite::new(&committee, node, 1)) as Arc<dyn Suite>)
            .collect();
        let member = |node: NodeId| {
            let suite = suites[usize::from(node.0)].clone();
            Transfers::new(Member::new(committee.clone(), suite, node), HISTORY_ROUNDS_MIN, 1 << 20)
        };
        Bench {
            members: committee.nodes().map(member).collect(),
            now: Time(1_000_000),
            outputs: vec![Vec::new(); suites.len()],
            faults: Vec::new(),
            log: Vec::new(),
            queue: VecDeque::new(),
            passes: Box::new(|_, _, _| true),
            chains: BTreeMap::new(),
            numbers: BTreeMap::new(),
            suites,
            committee,
        }
    }

    pub(super) fn node(&self, shard: ShardId, index: u16) -> NodeId {
        self.committee.node_at(shard, Index(index))
    }

    pub(super) fn at(&self, node: NodeId) -> &Transfers {
        &self.members[usize::from(node.0)]
    }

    pub(super) fn at_mut(&mut self, node: NodeId) -> &mut Transfers {
        &mut self.members[usize::from(node.0)]
    }

    /// From now on only what passes the filter is delivered.
    pub(super) fn filter(&mut self, passes: impl Fn(NodeId, NodeId, &TransferSend) -> bool + 'static) {
        self.passes = Box::new(passes);
    }

    pub(super) fn heal(&mut self) {
        self.filter(|_, _, _| true);
    }

    // Blocks.

    /// A block with a part for each item, executed by all members of the shard. Items of one destination stand
    /// together in the outgoing root, as they do in a real block.
    pub(super) fn block(&mut self, shard: ShardId, items: &[(ShardId, &[u8])]) -> Vec<Arc<Part>> {
        let (header, parts) = self.next_block(shard, items);
        self.execute(shard, header, parts)
    }

    /// What [`Bench::block`] would be, without anybody executing it.
    pub(super) fn next_block(&self, shard: ShardId, items: &[(ShardId, &[u8])]) -> (Header, Vec<Arc<Part>>) {
        let chain = self.chains.get(&shard);
        let last = chain.and_then(|chain| chain.last()).copied();
        let height = last.map_or(Round(1), |last| last.height.next());
        let mut numbers = self.numbers.clone();
        let mut items = items.to_vec();
        items.sort_by_key(|(destination, _)| *destination);
        let parts: Vec<Part> = items
            .iter()
            .map(|(destination, bytes)| {
                let number = numbers.entry((shard, *destination)).or_default();
                *number = number.next();
                part(shard, *destination, height, *number, bytes)
            })
            .collect();
        let header = Header {
            height,
            previous: last.map_or(Digest::default(), |last| last.digest()),
            cut: Digest([height.0 as u8; 32]),
            outcome: Digest::default(),
            outgoing: PartDigests::of(&parts).root(),
        };
        (header, parts.into_iter().map(Arc::new).collect())
    }

    /// All members of a shard execute this block.
    pub(super) fn execute(
        &mut self,
        shard: ShardId,
        header: Header,
        parts: Vec<Arc<Part>>,
    ) -> Vec<Arc<Part>> {
        for part in &parts {
            self.numbers.insert((shard, part.destination), part.number);
        }
        for member in self.committee.members(shard) {
            self.at_mut(member).executed(&header, parts.clone());
        }
        self.chains.entry(shard).or_default().push(header);
        parts
    }

    /// So many blocks without parts.
    pub(super) fn idle_blocks(&mut self, shard: ShardId, count: u64) {
        (0..count).for_each(|_| {
            self.block(shard, &[]);
        });
    }

    pub(super) fn header(&self, shard: ShardId, height: u64) -> Header {
        self.chains[&shard][height as usize - 1]
    }

    /// All members of the shard learn the certificate of a block.
    pub(super) fn certify(&mut self, shard: ShardId, height: u64) {
        let certificate = self.certificate(shard, &self.header(shard, height));
        for member in self.committee.members(shard) {
            let now = self.now;
            let effects = self.at_mut(member).certified(now, Round(height), &certificate);
            self.absorb(member, effects);
        }
    }

    /// N−f VOTEs of a shard on any header.
    pub(super) fn certificate(&self, shard: ShardId, header: &Header) -> Certificate {
        let statement = Statement::Block { height: header.height, digest: header.digest() };
        self.signatures(shard, &statement, self.committee.quorum())
    }

    /// Signatures of the first members of a shard.
    pub(super) fn signatures(&self, shard: ShardId, statement: &Statement, count: usize) -> Certificate {
        let members = self.committee.members(shard).take(count);
        let sign = |node: NodeId| self.suites[usize::from(node.0)].sign(statement);
        Certificate(members.map(|node| (self.committee.index_of(node), sign(node))).collect())
    }

    /// A transfer of a part of these blocks of the source, the first of which holds it, certified at the last.
    pub(super) fn transfer(&self, headers: &[Header], parts: &[Arc<Part>], position: usize) -> Transfer {
        let outgoing = PartDigests::of(parts.iter().map(|part| &**part));
        let last = headers.last().expect("tests name a block");
        let proof = TransferProof {
            headers: headers.to_vec(),
            certificate: self.certificate(SOURCE, last),
            position: position as u32,
            count: outgoing.count(),
            branch: outgoing.branch(position as u32),
        };
        Transfer { proof, part: parts[position].bytes.clone() }
    }

    /// All members of a shard have executed the parts of another up to this one.
    pub(super) fn import(&mut self, shard: ShardId, source: ShardId, watermark: u64) {
        for member in self.committee.members(shard) {
            self.import_at(member, source, watermark);
        }
    }

    pub(super) fn import_at(&mut self, member: NodeId, source: ShardId, watermark: u64) {
        let now = self.now;
        let effects = self.at_mut(member).imported(now, source, PartNumber(watermark));
        self.absorb(member, effects);
    }

    /// Numbers of what is eligible at every member of a shard, whoever is to propose it.
    pub(super) fn eligible(&self, shard: ShardId) -> Vec<u64> {
        let later = self.now + Span::from_ms(60_000);
        let numbers = |node: NodeId| -> Vec<u64> {
            let imports = self.at(node).eligible(later);
            imports.iter().map(|import| import.part.number.0).collect()
        };
        let mut members = self.committee.members(shard).map(numbers);
        let first = members.next().expect("shards have members");
        assert!(members.all(|other| other == first), "members differ in what is eligible");
        first
    }

    pub(super) fn is_certified(&self, shard: ShardId, import: &Import) -> bool {
        let suite = &self.suites[usize::from(self.node(shard, 0).0)];
        let statement = Statement::Part(import.part);
        CertificateCache::default().verify(&self.committee, &**suite, &statement, &import.certificate)
    }

    // Messages and time.

    /// Queues what a member wants sent, notes the rest.
    pub(super) fn absorb(&mut self, at: NodeId, effects: TransferEffects) {
        self.outputs[usize::from(at.0)].extend(effects.outputs);
        self.faults.extend(effects.faults.into_iter().map(|fault| (at, fault)));
        for (dest, send) in effects.sends {
            assert_ne!(dest, Dest::Node(at), "nothing is sent to oneself");
            for to in dest.expand(&self.committee, at) {
                self.log.push((at, to, send.clone()));
                if (self.passes)(at, to, &send) {
                    self.queue.push_back((at, to, send.clone()));
                }
            }
        }
    }

    /// Hands a message to a member as if `from` had sent it.
    pub(super) fn hand(&mut self, from: NodeId, to: NodeId, send: &TransferSend) {
        let now = self.now;
        let effects = match recoded(send) {
            TransferSend::Message(message) => self.at_mut(to).handle(now, from, message),
            TransferSend::Transfer(transfer) => self.at_mut(to).handle_transfer(now, from, transfer),
        };
        self.absorb(to, effects);
    }

    /// Delivers until nothing is under way.
    pub(super) fn deliver(&mut self) {
        for _ in 0..100_000 {
            let Some((from, to, send)) = self.queue.pop_front() else { return };
            self.hand(from, to, &send);
        }
        panic!("the members talk without end");
    }

    /// Lets time pass, with every timer that becomes due, and delivers.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now + Span::from_ms(ms);
        self.deliver();
        for _ in 0..10_000 {
            let due = self.members.iter().filter_map(Transfers::next_wakeup).min();
            let Some(due) = due.filter(|due| *due <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(due);
            for node in self.committee.nodes() {
                if self.at(node).next_wakeup().is_some_and(|due| due <= self.now) {
                    let now = self.now;
                    let effects = self.at_mut(node).tick(now);
                    self.absorb(node, effects);
                    assert!(
                        self.at(node).next_wakeup().is_none_or(|due| due > now),
                        "a timer that never ends"
                    );
                }
            }
            self.deliver();
        }
        panic!("timers without end");
    }

    /// What was sent so far.
    pub(super) fn sent(&self) -> Vec<TransferSend> {
        self.log.iter().map(|(_, _, send)| send.clone()).collect()
    }
}

/// A part with one item.
pub(super) fn part(from: ShardId, to: ShardId, height: Round, number: PartNumber, bytes: &[u8]) -> Part {
    let mut group = Group::new(from, to, height, number);
    group.spent(tx_id(bytes), bytes);
    group.finish().remove(0)
}

/// What arrives of a message.
fn recoded(send: &TransferSend) -> TransferSend {
    let bytes = match send {
        TransferSend::Message(message) => Message::Shard(ShardMessage::Part(message.clone())).encode(),
        TransferSend::Transfer(transfer) => transfer.encode(),
    };
    match Incoming::decode(&bytes) {
        Some(Incoming::Message(Message::Shard(ShardMessage::Part(message)))) => {
            TransferSend::Message(message)
        }
        Some(Incoming::Transfer(transfer)) => TransferSend::Transfer(transfer),
        other => panic!("what we encode we decode, not {other:?}"),
    }
}
