//! Members of a few shards over a [`Script`], with blocks that hold whatever parts a test wants.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wire::ids::{Digest, NodeId, PartNumber, Round, ShardId};

use crate::block::Header;
use crate::crypto::cert::{Certificate, CertificateCache};
use crate::crypto::suite::Statement;
use crate::lane::HistoryPlace;
use crate::message::{Incoming, Message};
use crate::part::{Group, Part, PartDigests};
use crate::proposal::Import;
use crate::shard::message::{ShardMessage, Transfer, TransferProof};
use crate::shard::transfer::{TransferEffects, TransferOutput, TransferSend, Transfers};
use crate::sim::script::{Party, Script};
use crate::time::{Span, Time};
use crate::transaction::tx_id;

/// The shard whose parts most tests follow, and where they go.
pub(super) const SOURCE: ShardId = ShardId(0);
pub(super) const TARGET: ShardId = ShardId(1);
/// Rounds for which executed parts are kept.
pub(super) const HISTORY_ROUNDS: u64 = 1_000;

impl Party for Transfers {
    type Message = TransferSend;
    type Output = TransferOutput;

    fn receive(&mut self, now: Time, from: NodeId, send: &TransferSend) -> TransferEffects {
        let bytes = match send {
            TransferSend::Message(message) => Message::Shard(ShardMessage::Part(message.clone())).encode(),
            TransferSend::Transfer(transfer) => transfer.encode(),
            TransferSend::Kept(_) => panic!("these members have no journal"),
        };
        let digest = Digest(Sha256::digest(&bytes).into());
        match Incoming::decode(&bytes) {
            Some(Incoming::Message(Message::Shard(ShardMessage::Part(message)))) => {
                self.handle(now, from, message)
            }
            Some(Incoming::Transfer(transfer)) => self.handle_transfer(now, from, digest, transfer),
            other => panic!("what is encoded decodes, not as {other:?}"),
        }
    }

    fn tick(&mut self, now: Time) -> TransferEffects {
        self.tick(now)
    }

    fn next_wakeup(&self) -> Option<Time> {
        self.next_wakeup()
    }
}

pub(super) struct Bench {
    pub(super) net: Script<Transfers>,
    /// The headers of each shard.
    chains: BTreeMap<ShardId, Vec<Header>>,
    numbers: BTreeMap<(ShardId, ShardId), PartNumber>,
}

impl Bench {
    pub(super) fn new(n: u16, shards: u16) -> Bench {
        Bench::with_history(n, shards, HistoryPlace::Memory)
    }

    pub(super) fn with_history(n: u16, shards: u16, place: HistoryPlace) -> Bench {
        let transfers = |member| Transfers::new(member, place, HISTORY_ROUNDS, 1 << 20);
        let net = Script::new(n, shards, transfers);
        Bench { net, chains: BTreeMap::new(), numbers: BTreeMap::new() }
    }

    /// A block with a part for each item, executed by all members of the shard. Items of one destination stand
    /// together in the outgoing root, as they do in a real block.
    pub(super) fn block(&mut self, shard: ShardId, items: &[(ShardId, &[u8])]) -> Vec<Arc<Part>> {
        let (header, parts) = self.next_block(shard, items);
        self.execute(shard, header, parts)
    }

    /// The block of [`Bench::block`], without executing it.
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
        for member in self.net.committee.members(shard) {
            self.net.at_mut(member).executed(&header, parts.clone());
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
        for member in self.net.committee.members(shard) {
            self.net.step(member, |it, now| it.certified(now, Round(height), &certificate));
        }
    }

    /// N−f VOTEs of a shard on any header.
    pub(super) fn certificate(&self, shard: ShardId, header: &Header) -> Certificate {
        let statement = Statement::Block { height: header.height, digest: header.digest() };
        let committee = &self.net.committee;
        self.net.certificate(committee.members(shard).take(committee.quorum()), &statement)
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
        for member in self.net.committee.members(shard) {
            self.import_at(member, source, watermark);
        }
    }

    pub(super) fn import_at(&mut self, member: NodeId, source: ShardId, watermark: u64) {
        self.net.step(member, |it, now| it.imported(now, source, PartNumber(watermark)));
    }

    /// Numbers of the parts that are eligible at every member of a shard.
    pub(super) fn eligible(&self, shard: ShardId) -> Vec<u64> {
        let later = self.net.now + Span::from_ms(60_000);
        let numbers = |node: NodeId| -> Vec<u64> {
            let imports = self.net.at(node).eligible(later);
            imports.iter().map(|import| import.part.number.0).collect()
        };
        let mut members = self.net.committee.members(shard).map(numbers);
        let first = members.next().expect("shards have members");
        assert!(members.all(|other| other == first), "members differ in what is eligible");
        first
    }

    pub(super) fn is_certified(&self, shard: ShardId, import: &Import) -> bool {
        let suite = &self.net.suites[usize::from(self.net.node(shard, 0).0)];
        let statement = Statement::Part(import.part);
        CertificateCache::default().verify(&self.net.committee, &**suite, &statement, &import.certificate)
    }
}

/// A part with one item.
pub(super) fn part(from: ShardId, to: ShardId, height: Round, number: PartNumber, bytes: &[u8]) -> Part {
    let mut group = Group::new(from, to, height, number);
    group.spent(tx_id(bytes), bytes);
    group.finish().remove(0)
}
