//! Attacks on the fates of cross-shard transactions: rejects without cause, cancels of transactions that can finish,
//! imports without certificates, orders of garbage.

use std::collections::{BTreeMap, BTreeSet};

use wire::bytes::Bytes;
use wire::client::{Rejection, list};
use wire::ids::{Digest, NodeId, PartNumber, Round, Seq, ShardId, TxId};

use crate::crypto::cert::Certificate;
use crate::crypto::suite::Statement;
use crate::cut::Tip;
use crate::lane::entry::{self, Entry};
use crate::ledger::Cause;
use crate::message::{Message, encode_order};
use crate::part::{Part, PartRef};
use crate::proposal::{Import, ProposalBuilder};
use crate::shard::message::{RejectMessage, RejectVote, ShardMessage};
use crate::sim::adversary::leading::Branches;
use crate::sim::adversary::{Behaviour, Hands, instead};
use crate::sim::parcel::{Frame, Parcel, Seen};
use crate::transaction::{Expiry, Input, Output, Owner, Transaction, TransactionView, genesis_coin};

/// Transactions and parts that are remembered.
const HEARD_MAX: usize = 100;

/// Cross-shard transactions and parts that the adversary has read.
#[derive(Debug, Default)]
struct Heard {
    transactions: BTreeMap<TxId, Bytes>,
    parts: BTreeSet<PartRef>,
}

impl Heard {
    fn note(&mut self, hands: &Hands, frame: &Frame) {
        match frame.parcel.seen() {
            Seen::Order(bytes) => {
                let Some(items) = list::parse(bytes, HEARD_MAX) else { return };
                items.into_iter().for_each(|item| self.add(&bytes[item]));
            }
            Seen::Transfer(transfer) => {
                let Some(part) = Part::parse(transfer.part.clone()) else { return };
                part.spent().for_each(|(_, bytes)| self.add(bytes));
                if part.destination == hands.shard {
                    self.parts.insert(part.reference());
                }
                while self.parts.len() > HEARD_MAX {
                    self.parts.pop_first();
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        if let Ok(view) = TransactionView::parse(bytes) {
            self.transactions.insert(view.id(), Bytes::from(bytes.to_vec()));
        }
        if self.transactions.len() > HEARD_MAX {
            self.transactions.pop_first();
        }
    }

    fn pick(&self, hands: &mut Hands) -> Option<&Bytes> {
        let all: Vec<&TxId> = self.transactions.keys().collect();
        hands.prng.pick(&all).map(|id| &self.transactions[*id])
    }
}

/// CL and CL_M of every transaction that it reads.
#[derive(Debug, Default)]
pub(super) struct FalseRejects(Heard);

impl Behaviour for FalseRejects {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        hands.pass(frame);
    }

    fn see(&mut self, hands: &mut Hands, frame: &Frame) {
        self.0.note(hands, frame);
    }

    fn overhear(&mut self, hands: &mut Hands, frame: &Frame) {
        self.0.note(hands, frame);
    }

    fn turn(&mut self, hands: &mut Hands) {
        for from in hands.nodes() {
            let mut votes = Vec::new();
            for _ in 0..3 {
                let Some(bytes) = self.0.pick(hands).cloned() else { return };
                let view = TransactionView::parse(&bytes).expect("only what can be read was kept");
                let mut others: Vec<ShardId> = view.expiries().map(|expiry| expiry.shard).collect();
                others.push(view.output_shard());
                others.retain(|shard| *shard != hands.shard);
                others.sort_unstable();
                others.dedup();
                let causes = [Cause::Expired, Cause::Rejected(Rejection::Spent)];
                let cause = *hands.prng.pick(&causes).expect("the list is not empty");
                votes.push(RejectVote { id: view.id(), others, cause });
            }
            let imported = PartNumber(*hands.prng.pick(&[0, 1, u64::MAX]).expect("the list is not empty"));
            let ids = votes.iter().map(|vote| (vote.id, vote.cause)).collect();
            let outside = RejectMessage::Rejected { imported, ids };
            let inside = RejectMessage::Votes { executed: Round(hands.prng.below(50)), votes };
            for (message, is_inside) in [(outside, false), (inside, true)] {
                let parcel = Parcel::of(&Message::Shard(ShardMessage::Reject(message)));
                let nodes = if is_inside { hands.honest() } else { hands.strangers() };
                nodes.into_iter().for_each(|to| hands.send(from, to, parcel.clone()));
            }
        }
    }
}

/// The items that it inserts into the entries of its lanes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Inserted {
    /// Cancels of every transaction that it reads, again and again.
    Cancels,
    /// Imports with invalid certificates, of parts that were never sent or that differ from those sent.
    Imports,
}

/// Inserts items into the entries of its lanes.
#[derive(Debug)]
pub(super) struct FalseEntries {
    what: Inserted,
    heard: Heard,
    branches: Branches,
}

impl FalseEntries {
    pub(super) fn new(what: Inserted) -> FalseEntries {
        FalseEntries { what, heard: Heard::default(), branches: Branches::default() }
    }

    fn payload(&self, hands: &mut Hands, core: &Entry) -> Vec<u8> {
        let bytes_max = hands.committee.protocol().proposal_bytes_max as usize;
        let mut builder = ProposalBuilder::new(entry::buffer(64), bytes_max, 100);
        match self.what {
            Inserted::Cancels => {
                let cancels = self.heard.transactions.keys().filter(|_| hands.prng.chance(2, 3));
                let cancels: Vec<TxId> = cancels.copied().collect();
                cancels.into_iter().for_each(|id| {
                    let _ = builder.push_cancel(id);
                });
            }
            Inserted::Imports => {
                let import = self.import(hands);
                let _ = builder.push_import(&import);
            }
        }
        if let Ok(view) = hands.rules.validate(core.payload()) {
            for transaction in view.transactions() {
                let _ = builder.push(transaction.bytes());
            }
        }
        builder.finish()
    }

    fn import(&self, hands: &mut Hands) -> Import {
        let parts: Vec<PartRef> = self.heard.parts.iter().copied().collect();
        let other = ShardId((hands.shard.0 + 1) % hands.committee.shards());
        let number = PartNumber(1 + hands.prng.below(9));
        let made_up = PartRef { source: other, number, digest: Digest(hands.prng.bytes()) };
        let real = hands.prng.pick(&parts).copied();
        let part = match (hands.prng.below(3), real) {
            (0, Some(real)) => real,
            (1, Some(real)) => PartRef { digest: Digest(hands.prng.bytes()), ..real },
            _ => made_up,
        };
        let own = hands.signatures(&Statement::Part(part));
        let (first, signature) = own.iter().next().expect("an adversary with lanes owns a member");
        let mut signed: Vec<_> = hands
            .committee
            .indices()
            .map(|index| (index, own.get(&index).copied().unwrap_or(*signature)))
            .collect();
        if hands.prng.chance(1, 3) {
            signed.fill((*first, *signature));
        }
        signed.truncate(hands.committee.quorum());
        Import { part, certificate: Certificate(signed) }
    }
}

impl Behaviour for FalseEntries {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        let Seen::Entry(entry) = frame.parcel.seen() else { return hands.pass(frame) };
        if entry.owner != hands.index(frame.from) {
            return hands.pass(frame);
        }
        let seq = entry.seq;
        if self.branches.entry(frame.from, seq).is_none() {
            let before = Seq(seq.0 - 1);
            let parent =
                self.branches.entry(frame.from, before).map_or(entry.parent, |inserted| inserted.digest);
            let buffer = self.payload(hands, entry);
            let inserted = Entry::seal(entry.owner, Tip { seq: before, digest: parent }, buffer);
            self.branches.insert(frame.from, inserted);
        }
        let inserted = self.branches.entry(frame.from, seq).expect("it was made a moment ago");
        let inserted = instead(&frame, Parcel::new(inserted.body.clone()));
        hands.pass(inserted);
    }

    fn see(&mut self, hands: &mut Hands, frame: &Frame) {
        self.heard.note(hands, frame);
        self.branches.see(hands, frame);
    }

    fn overhear(&mut self, hands: &mut Hands, frame: &Frame) {
        self.heard.note(hands, frame);
    }
}

/// Orders of bytes that are no transaction, of transactions that do not concern the receiver or the sender, and of
/// those that can never execute.
#[derive(Debug, Default)]
pub(super) struct FalseOrders {
    heard: Heard,
    /// Number of transactions made up, or changed in one bit.
    made_up: u64,
}

impl FalseOrders {
    /// Each may stay in some list until it is ordered, up to five seconds. They follow each other within half a second,
    /// so the last one is gone long before a run must be at rest.
    const MADE_UP_MAX: u64 = 40;

    fn order(&mut self, hands: &mut Hands, to: NodeId) -> Bytes {
        let heard = self.heard.pick(hands).cloned();
        let there = hands.committee.shard_of(to);
        let is_new = self.made_up < FalseOrders::MADE_UP_MAX;
        match (hands.prng.below(5), heard) {
            (0, _) => {
                let mut bytes = encode_order(std::iter::empty()).to_vec();
                bytes.extend([0xFF; 9]);
                Bytes::from(bytes)
            }
            (1, Some(heard)) if is_new => {
                self.made_up += 1;
                let mut bytes = heard.to_vec();
                let at = hands.prng.below(bytes.len() as u64) as usize;
                bytes[at] ^= 0x10;
                encode_order([&bytes[..]].into_iter())
            }
            (2, Some(heard)) => encode_order(vec![&heard[..]; 20].into_iter()),
            // Made up: an unknown coin, or another input or output shard.
            (3, _) if is_new => {
                self.made_up += 1;
                let shard = if hands.prng.chance(1, 3) { hands.shard } else { there };
                let coin = genesis_coin(&Digest(hands.prng.bytes()), shard, self.made_up);
                let output_shard = if hands.prng.chance(1, 2) { hands.shard } else { there };
                let transaction = Transaction {
                    inputs: &[Input { shard, coin, amount: 7 }],
                    output_shard,
                    outputs: &[Output { owner: Owner([3; 32]), amount: 7 }],
                    expiries: &[Expiry { shard, round: Round(1_000) }],
                    payload: &[],
                };
                encode_order([&transaction.encode()[..]].into_iter())
            }
            (_, Some(heard)) => encode_order([&heard[..]].into_iter()),
            (_, None) => encode_order([&[0u8; 50][..]].into_iter()),
        }
    }
}

impl Behaviour for FalseOrders {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        hands.pass(frame);
    }

    fn see(&mut self, hands: &mut Hands, frame: &Frame) {
        self.heard.note(hands, frame);
    }

    fn overhear(&mut self, hands: &mut Hands, frame: &Frame) {
        self.heard.note(hands, frame);
    }

    fn turn(&mut self, hands: &mut Hands) {
        let nodes = hands.everybody();
        for from in hands.nodes() {
            let to = *hands.prng.pick(&nodes).expect("there are nodes");
            let order = self.order(hands, to);
            hands.send(from, to, Parcel::new(order));
        }
    }
}
