//! Attacks on the copies of waiting transactions: a member that shares what nobody handed in, claims false positions,
//! floods, and acknowledges what it never got.

use std::num::NonZeroU64;

use wire::bytes::Bytes;
use wire::client::list;
use wire::ids::{Digest, NodeId, Round, ShardId};

use crate::message::{Message, encode_copies};
use crate::pending::Position;
use crate::shard::message::ShardMessage;
use crate::sim::adversary::{Behaviour, Hands};
use crate::sim::parcel::{Frame, Parcel, Seen};
use crate::transaction::{Expiry, Input, Output, Owner, Transaction, genesis_coin};

/// Transactions that are remembered.
const HEARD_MAX: usize = 100;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct FalseCopies {
    /// Transactions of copies and entries of others.
    heard: Vec<Bytes>,
    /// The highest position that another member named.
    position: u64,
    /// Transactions made up.
    made_up: u64,
}

impl FalseCopies {
    /// Each stays with its receivers for up to fifteen seconds, as if its home were busy, so they are few.
    const MADE_UP_MAX: u64 = 40;

    fn note<'a>(&mut self, transactions: impl Iterator<Item = &'a [u8]>) {
        self.heard.extend(transactions.map(|bytes| Bytes::from(bytes.to_vec())));
        let surplus = self.heard.len().saturating_sub(HEARD_MAX);
        self.heard.drain(..surplus);
    }

    /// One that spends a coin that does not exist, at times in another shard.
    fn made_up(&mut self, hands: &mut Hands) -> Bytes {
        self.made_up += 1;
        let shard = if hands.prng.chance(1, 3) { ShardId(hands.shard.0 + 1) } else { hands.shard };
        let coin = genesis_coin(&Digest(hands.prng.bytes()), shard, self.made_up);
        let transaction = Transaction {
            inputs: &[Input { shard, coin, amount: 7 }],
            output_shard: shard,
            outputs: &[Output { owner: Owner([3; 32]), amount: 7 }],
            expiries: &[Expiry { shard, round: Round(1_000) }],
            payload: &[],
        };
        Bytes::from(transaction.encode())
    }

    fn position(&self, hands: &mut Hands) -> Position {
        let number = match hands.prng.below(3) {
            0 => u64::MAX,
            1 => self.position,
            _ => hands.prng.below(self.position + 50),
        };
        Position(NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN))
    }

    fn copies(&mut self, hands: &mut Hands) -> Bytes {
        let after = hands.prng.chance(1, 2).then(|| self.position(hands));
        let through = self.position(hands);
        let mut transactions = Vec::new();
        match hands.prng.below(4) {
            0 if self.made_up < FalseCopies::MADE_UP_MAX => transactions.push(self.made_up(hands)),
            1 => transactions.push(Bytes::from(vec![0xFF; 50])),
            // A flood of one.
            2 => transactions
                .extend(hands.prng.pick(&self.heard).into_iter().flat_map(|bytes| vec![bytes.clone(); 50])),
            _ => transactions.extend(self.heard.iter().cloned()),
        }
        let mut bytes = encode_copies(after, through, transactions.iter().map(|bytes| &bytes[..])).to_vec();
        if hands.prng.chance(1, 5) {
            bytes.push(0);
        }
        Bytes::from(bytes)
    }
}

impl Behaviour for FalseCopies {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        let is_of_copies = matches!(frame.parcel.seen(), Seen::Copies(_))
            || matches!(frame.parcel.message(), Some(Message::Shard(ShardMessage::Held(_))));
        if !is_of_copies || hands.prng.chance(1, 2) {
            hands.pass(frame);
        }
    }

    fn see(&mut self, hands: &mut Hands, frame: &Frame) {
        match frame.parcel.seen() {
            Seen::Copies(copies) => {
                self.position = self.position.max(copies.through.0.get().min(u64::MAX - 50));
                if let Some(items) = list::parse(&copies.list, HEARD_MAX) {
                    self.note(items.into_iter().map(|item| &copies.list[item]));
                }
            }
            Seen::Entry(entry) => {
                if let Ok(proposal) = hands.rules.validate(entry.payload()) {
                    self.note(proposal.transactions().map(|view| view.bytes()).take(1));
                }
            }
            _ => {}
        }
    }

    fn turn(&mut self, hands: &mut Hands) {
        let nodes: Vec<NodeId> = hands.everybody();
        for from in hands.nodes() {
            let to = *hands.prng.pick(&nodes).expect("there are nodes");
            let bytes = if hands.prng.chance(1, 3) {
                Message::Shard(ShardMessage::Held(self.position(hands))).encode()
            } else {
                self.copies(hands)
            };
            hands.send(from, to, Parcel::new(bytes));
        }
    }
}
