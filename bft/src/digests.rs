//! Tests that no two different structures share a digest or signed bytes, over structures drawn at random from a small
//! world. docs/design.md lists all digests and signed statements and argues why they are distinct.
//!
//! The world is small on purpose. Fields take few values; a field that holds a digest takes one computed before, also
//! that of a node or leaf of a tree; and every encoding is parsed as every other kind of structure. So collisions
//! between a tree and its subtree, a list and its prefix, or structures of two kinds come up by chance.

mod proofs;

use std::collections::BTreeMap;
use std::fmt::Debug;

use sha2::{Digest as _, Sha256};
use wire::bytes::Bytes;
use wire::client::Rejection;
use wire::codec;
use wire::committee::{Committee, Member as Keys, Protocol};
use wire::ids::{CoinId, Digest, Index, PartNumber, Round, Seq, ShardId, Signature, TxId, View};

use crate::block::Header;
use crate::crypto::cert::{Certificate, proof_digest};
use crate::crypto::suite::{Stage, Statement};
use crate::cut::{Cut, Tip};
use crate::lane::entry::{self, Entry};
use crate::ledger::{BlockOutcome, Cause, CrossEvent, Executed, Outcome, Settled};
use crate::merkle::Tree;
use crate::part::{Group, Part, PartDigests, PartRef};
use crate::prng::Prng;
use crate::sim::adversary::shapes::Pieces;
use crate::transaction::{
    Expiry, Input, Output, Owner, Transaction, genesis_coin, genesis_secret, output_coin, refund_coin,
    signing_message, tx_id, validate,
};

/// Everything hashed or signed so far, by the result, and the material for further structures.
struct World {
    prng: Prng,
    committee: Committee,
    digests: BTreeMap<[u8; 32], String>,
    signed: BTreeMap<Vec<u8>, String>,
    /// The digests that fields take.
    pool: Vec<Digest>,
    /// Encodings, to be parsed as structures of other kinds.
    encodings: Vec<Vec<u8>>,
    parts: Vec<Part>,
    clash: Option<String>,
}

impl World {
    fn new(seed: u64) -> World {
        let keys = |i: u16| Keys { public_key: [i as u8; 32], coin_commitment: [i as u8; 32] };
        World {
            prng: Prng::new(seed),
            committee: Committee::new(4, Protocol::default(), (0..12).map(keys).collect(), [7; 32]),
            digests: BTreeMap::new(),
            signed: BTreeMap::new(),
            pool: vec![Digest::default(), Digest([1; 32])],
            encodings: vec![Vec::new()],
            parts: Vec::new(),
            clash: None,
        }
    }

    /// Records the digest of a structure.
    fn digest(&mut self, kind: &str, structure: &impl Debug, digest: Digest) -> Digest {
        let structure = format!("{kind} {structure:?}");
        let first = self.digests.entry(digest.0).or_insert_with(|| structure.clone());
        if *first != structure {
            self.clash.get_or_insert(format!("one digest for {first} and {structure}"));
        }
        self.pool.push(digest);
        digest
    }

    /// Records bytes that are signed for a structure.
    fn sign(&mut self, kind: &str, structure: &impl Debug, bytes: &[u8]) {
        let structure = format!("{kind} {structure:?}");
        let first = self.signed.entry(bytes.to_vec()).or_insert_with(|| structure.clone());
        if *first != structure {
            self.clash.get_or_insert(format!("the same bytes are signed for {first} and {structure}"));
        }
    }

    // Fields.

    fn number(&mut self) -> u64 {
        *self.prng.pick(&[0, 1, 2, 3, 255, 256, 0x0100_0000, u64::MAX]).expect("there are numbers")
    }

    fn small(&mut self, bound: u64) -> usize {
        self.prng.below(bound) as usize
    }

    fn any(&mut self) -> Digest {
        *self.prng.pick(&self.pool).expect("there are digests")
    }

    fn id(&mut self) -> TxId {
        TxId(self.any().0)
    }

    fn bytes(&mut self) -> Vec<u8> {
        let mut bytes = self.prng.pick(&self.encodings).cloned().expect("there are encodings");
        match self.prng.below(4) {
            0 => bytes.truncate(self.prng.below(bytes.len() as u64 + 1) as usize),
            1 => bytes.push(self.prng.below(2) as u8),
            _ => {}
        }
        bytes
    }

    fn part_ref(&mut self) -> PartRef {
        let source = ShardId(self.number() as u16);
        PartRef { source, number: PartNumber(self.number()), digest: self.any() }
    }

    fn statement(&mut self) -> Statement {
        let (digest, seq, round) = (self.any(), Seq(self.number()), Round(self.number()));
        let (member, view) = (Index(self.number() as u16), View(self.number() as u32));
        match self.prng.below(4) {
            0 => Statement::Lane { owner: member, seq, digest },
            1 => {
                let stages = [Stage::Lock, Stage::Finish, Stage::No, Stage::Unlock];
                let stage = *self.prng.pick(&stages).expect("there are stages");
                Statement::Agreement { round, view, leader: member, stage, digest }
            }
            2 => Statement::Block { height: round, digest },
            _ => Statement::Part(self.part_ref()),
        }
    }

    fn transaction(&mut self) -> Vec<u8> {
        let inputs = [Input { shard: ShardId(0), coin: CoinId(self.any().0), amount: 5 }];
        let outputs = [Output { owner: Owner(self.any().0), amount: 5 }];
        let expiries = [Expiry { shard: ShardId(0), round: Round(self.number()) }];
        let payload = self.bytes();
        let output_shard = ShardId(self.small(3) as u16);
        Transaction {
            inputs: &inputs,
            output_shard,
            outputs: &outputs,
            expiries: &expiries,
            payload: &payload,
        }
        .encode()
    }

    // Structures, each with slight variants.

    fn reread(&mut self) {
        let bytes = self.bytes();
        let digest = Digest(Sha256::digest(&bytes).into());
        if let Some(entry) = Entry::parse(digest, Bytes::from(bytes.clone())) {
            self.digest("entry", &(entry.owner, entry.seq, entry.parent, entry.payload()), entry.digest);
        }
        if validate(&bytes, &self.committee).is_ok() {
            let id = tx_id(&bytes);
            self.digest("transaction", &bytes, Digest(id.0));
        }
        self.part(&bytes);
    }

    fn entry(&mut self) {
        let parent = Tip { seq: Seq(self.number() >> 1), digest: self.any() };
        let mut buffer = entry::buffer(0);
        buffer.extend(self.bytes());
        let entry = Entry::seal(Index(self.number() as u16), parent, buffer);
        let fields = (entry.owner, entry.seq, entry.parent, entry.payload());
        self.digest("entry", &fields, entry.digest);
        self.encodings.push(entry.body.to_vec());
    }

    fn cut(&mut self) {
        let lanes = *self.prng.pick(&[0, 1, 3, 4, 256]).expect("there are sizes");
        let mut cut = Cut((0..lanes).map(|_| Tip { seq: Seq(self.number()), digest: self.any() }).collect());
        for _ in 0..2 {
            self.digest("cut", &cut, cut.digest());
            self.encodings.push(codec::encode(&cut));
            cut.0.pop();
        }
    }

    fn header(&mut self) {
        let (height, previous) = (Round(self.number()), self.any());
        let (cut, outcome, outgoing) = (self.any(), self.any(), self.any());
        let header = Header { height, previous, cut, outcome, outgoing };
        self.digest("header", &header, header.digest());
        self.encodings.push(codec::encode(&header));
    }

    fn coins(&mut self) {
        let (id, coin, other) = (self.id(), CoinId(self.any().0), self.any());
        let (shard, index) = (ShardId(self.number() as u16), self.number());
        let output = index as u8;
        self.digest("output coin", &(id, output), Digest(output_coin(&id, output).0));
        self.digest("refund coin", &(id, coin), Digest(refund_coin(&id, &coin).0));
        self.digest("genesis coin", &(other, shard, index), Digest(genesis_coin(&other, shard, index).0));
        self.digest("genesis key", &other, Digest(genesis_secret(&other)));
    }

    fn outcome(&mut self) {
        let events =
            |world: &mut World| (0..world.small(3)).map(|_| world.event()).collect::<Vec<CrossEvent>>();
        let mut outcome = BlockOutcome {
            round: Round(self.number()),
            transactions: (0..self.small(3)).map(|_| self.executed()).collect(),
            cross: events(self),
            imported: (0..self.small(3)).map(|_| self.part_ref()).collect(),
            parts: Vec::new(),
            outgoing: self.any(),
            counts: Default::default(),
            invalid_entries: 0,
            digest: Digest::default(),
        };
        for turn in 0..4 {
            let BlockOutcome { round, transactions, cross, imported, outgoing, .. } = &outcome;
            let settled: Vec<_> = transactions.iter().map(|one| (one.id, one.outcome)).collect();
            let fields = format!("{round:?} {settled:?} {cross:?} {imported:?} {outgoing:?}");
            self.digest("outcome", &fields, outcome.compute_digest());
            match turn {
                0 => drop(outcome.transactions.pop()),
                1 => drop(outcome.cross.pop()),
                _ => drop(outcome.imported.pop()),
            }
        }
    }

    fn executed(&mut self) -> Executed {
        let outcomes = [
            Outcome::Settled(Settled::Finished),
            Outcome::Settled(Settled::Spent),
            Outcome::Settled(Settled::Never(Cause::Expired)),
            Outcome::Settled(Settled::Never(Cause::Rejected(Rejection::Spent))),
            Outcome::Settled(Settled::Never(Cause::Rejected(Rejection::Cancelled))),
            Outcome::Duplicate,
            Outcome::NotHere,
        ];
        let outcome = *self.prng.pick(&outcomes).expect("there are outcomes");
        Executed { id: self.id(), entry: 0, index: 0, outcome }
    }

    fn event(&mut self) -> CrossEvent {
        let id = self.id();
        match self.prng.below(8) {
            0 | 1 => {
                let others = (0..self.small(3)).map(|_| ShardId(self.number() as u16)).collect();
                let causes = [Cause::Expired, Cause::Rejected(Rejection::NotOwner)];
                CrossEvent::Rejected { id, others, cause: *self.prng.pick(&causes).expect("two") }
            }
            2 => {
                let (output, part) = (ShardId(self.number() as u16), PartNumber(self.number()));
                CrossEvent::Spent { id, output, part }
            }
            3 => CrossEvent::Pooled { id },
            4 => CrossEvent::Finished { id },
            5 => CrossEvent::Cancelled { id },
            6 => CrossEvent::Refunded { id },
            _ => CrossEvent::Closed { id },
        }
    }

    /// Records the part that these bytes encode, if they do, with all nodes of its tree.
    fn part(&mut self, bytes: &[u8]) {
        let Some(part) = Part::parse(Bytes::from(bytes.to_vec())) else { return };
        self.digest("part", &bytes, part.digest);
        let leaves = part.leaves();
        self.tree(Tree::Items, leaves);
        self.parts.push(part);
    }

    /// Records all inner nodes of the tree over these leaves.
    fn tree(&mut self, tree: Tree, mut level: Vec<Digest>) {
        self.pool.extend(&level);
        while level.len() > 1 {
            for pair in level.chunks_exact(2) {
                let (left, right) = (pair[0], pair[1]);
                self.digest("node", &(tree, left, right), tree.root(&[left, right]));
            }
            level = level.chunks(2).map(|pair| tree.root(pair)).collect();
        }
    }

    fn whole_part(&mut self) {
        let [source, destination] = [0; 2].map(|_| ShardId(self.small(3) as u16));
        let (height, number) = (Round(self.number()), PartNumber(self.number() >> 1));
        let mut group = Group::new(source, destination, height, number);
        (0..self.small(4)).for_each(|_| group.finished(self.id()));
        (0..self.small(4)).for_each(|_| group.cancelled(self.id()));
        for _ in 0..self.small(4) {
            let transaction = self.transaction();
            let _ = group.spent(tx_id(&transaction), &transaction);
        }
        let Some(part) = group.finish().pop() else { return };
        let pieces = Pieces::of(&part);
        let at = self.small(pieces.len() as u64 + 1);
        let (kept, rest) = (pieces.keep(0..at), pieces.keep(at..pieces.len()));
        let (moved, mixed) =
            (pieces.clone().move_one(&mut self.prng), pieces.clone().shuffle(&mut self.prng));
        for pieces in [kept, rest, moved, mixed, pieces.lengthen()] {
            self.part(&pieces.bytes());
        }
        let mut counted = part.bytes.to_vec();
        counted[20 + 4 * self.small(2)] ^= 1;
        self.part(&counted);
        self.part(&part.bytes.clone());
        self.encodings.push(part.bytes.to_vec());
    }

    fn outgoing(&mut self) {
        if self.parts.is_empty() {
            return;
        }
        let mut parts: Vec<Part> =
            (0..self.small(6)).filter_map(|_| self.prng.pick(&self.parts).cloned()).collect();
        for _ in 0..2 {
            let digests: Vec<Digest> = parts.iter().map(|part| part.digest).collect();
            let root = PartDigests::of(&parts).root();
            if digests.is_empty() {
                assert_eq!(root, Digest::default());
            } else {
                self.digest("outgoing", &digests, root);
                self.tree(Tree::Parts, digests);
            }
            parts.pop();
        }
    }

    fn signatures(&mut self) {
        let (testbed, shard) = (self.any(), ShardId(self.number() as u16));
        let statement = self.statement();
        self.sign("statement", &(testbed, shard, statement), &statement.to_bytes(&testbed, shard));
        let unsigned = self.bytes();
        self.sign("spending", &(testbed, &unsigned), &signing_message(&testbed, &unsigned));
        let mut signers: Vec<(Index, Signature)> = (0..self.small(3))
            .map(|_| (Index(self.number() as u16), Signature { r: self.any().0, s: self.any().0 }))
            .collect();
        for _ in 0..2 {
            let certificate = Certificate(signers.clone());
            let digest = proof_digest(shard, &statement, &certificate);
            self.digest("proof", &(shard, statement, certificate), digest);
            signers.pop();
        }
    }
}

/// The first clash in the world of a seed, and how many digests it has.
fn clash(seed: u64) -> (Option<String>, usize) {
    let mut world = World::new(seed);
    for _ in 0..60 {
        world.entry();
        world.cut();
        world.header();
        world.coins();
        world.outcome();
        world.whole_part();
        world.outgoing();
        world.signatures();
        let transaction = world.transaction();
        world.digest("transaction", &transaction, Digest(tx_id(&transaction).0));
        world.encodings.push(transaction);
        world.reread();
    }
    (world.clash, world.digests.len())
}

#[test]
fn structures_that_differ_share_neither_digest_nor_signed_bytes() {
    let mut digests = 0;
    for seed in 0..60 {
        let (clash, made) = clash(seed);
        assert_eq!(clash, None, "seed {seed}");
        digests += made;
    }
    println!("{digests} digests over seeds 0..60 without a clash");
    assert!(digests > 60_000, "{digests}");
}

/// Spells out the input that the table lists. Ids are hashes, so random structures cannot reveal a missing count: an id
/// would have to match the bytes of another field.
#[test]
fn the_digest_of_an_outcome_follows_the_table() {
    let id = |byte: u8| TxId([byte; 32]);
    let executed = |byte: u8, outcome| Executed { id: id(byte), entry: 0, index: 0, outcome };
    let part = PartRef { source: ShardId(3), number: PartNumber(4), digest: Digest([9; 32]) };
    let rejected = CrossEvent::Rejected {
        id: id(5),
        others: vec![ShardId(1), ShardId(2)],
        cause: Cause::Rejected(Rejection::NotOwner),
    };
    let outcome = BlockOutcome {
        round: Round(7),
        transactions: vec![executed(1, Outcome::Settled(Settled::Spent)), executed(2, Outcome::NotHere)],
        cross: vec![rejected, CrossEvent::Spent { id: id(6), output: ShardId(8), part: PartNumber(9) }],
        imported: vec![part],
        parts: Vec::new(),
        outgoing: Digest([8; 32]),
        counts: Default::default(),
        invalid_entries: 0,
        digest: Digest::default(),
    };
    let number = |number: u64| number.to_le_bytes();
    let input: [&[u8]; 22] = [
        b"OUTC",
        &number(7),
        &number(2),
        &number(2),
        &number(1),
        &[1; 32],
        &[2],
        &[2; 32],
        &[33],
        &[1],
        &[5; 32],
        &[19, 2],
        &[1, 0],
        &[2, 0],
        &[2],
        &[6; 32],
        &[8, 0],
        &number(9),
        &[3, 0],
        &number(4),
        &[9; 32],
        &[8; 32],
    ];
    assert_eq!(outcome.compute_digest().0, <[u8; 32]>::from(Sha256::digest(input.concat())));
}

/// Before the digest of a part bound its counts, it was the bare root of its items.
#[cfg(feature = "mutants")]
#[test]
fn a_part_digest_without_counts_clashes_with_a_tree_node() {
    use crate::mutant::{Mutant, set};

    set(Some(Mutant::PartDigestBindsCounts));
    let found = (0..20).find_map(|seed| clash(seed).0);
    set(None);
    println!("{}", found.expect("a bare root is also a node of a larger tree"));
}
