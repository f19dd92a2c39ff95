//! Comparing whole ledgers: each is a set of items, whose sums are equal at nodes that executed the same blocks
//! ([`wire::audit`]), whatever seed keys their hash tables. What the sums find to differ, the items say in words.
//!
//! Cost: some 300 ns an item and no memory. A node adds up a clone of its ledger beside its round loop.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wire::audit::{Section, Sums};
use wire::client::Exchange;
use wire::codec::{self, CodecError};
use wire::ids::{CoinId, Digest, Index, Round, ShardId, TxId};

use crate::ledger::{Ledger, OpenRecord, Settled};
use crate::part::PartRef;
use crate::transaction::Owner;

/// An item of a ledger.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Item {
    /// An unspent coin; without an owner where the protocol is not signed.
    Coin(CoinId, u64, Option<Owner>),
    /// A spent coin that is remembered, and its spender.
    Spent(CoinId, TxId),
    /// A remembered transaction, its settlement and the round of that block.
    Settled(TxId, Settled, Round),
    /// A transaction that has spent here and has not ended.
    Open(TxId, OpenRecord),
    /// A transaction of the pool.
    Pooled {
        /// The transaction.
        id: TxId,
        /// Input shards that have spent, in order of arrival.
        ticked: Vec<ShardId>,
        /// Members that have listed it to be cancelled, ascending.
        listed: Vec<Index>,
        /// The round of the block that made the entry.
        made_in: Round,
    },
    /// A part of another shard that waits for those before it.
    Early(PartRef),
    /// What was exchanged with a shard.
    Exchanged(Exchange),
    /// A cross-shard transaction that finished here, in the block of this round.
    End(TxId, Round),
    /// How far an input shard is known to be.
    Reached(ShardId, Round),
    /// A transaction that finished here and is remembered until an input shard has executed this round.
    Awaited(TxId, ShardId, Round),
}

impl Item {
    /// The section it belongs to.
    pub fn section(&self) -> Section {
        match self {
            Item::Coin(..) => Section::Coins,
            Item::Spent(..) => Section::Spent,
            Item::Settled(..) => Section::Settled,
            Item::Open(..) => Section::Open,
            Item::Pooled { .. } => Section::Pool,
            Item::Early(_) => Section::Early,
            Item::Exchanged(_) => Section::Exchanged,
            Item::End(..) | Item::Reached(..) | Item::Awaited(..) => Section::Ends,
        }
    }

    /// Its bucket there: the first byte of its id, or the lowest of its shard.
    pub fn bucket(&self) -> u8 {
        match self {
            Item::Coin(id, ..) | Item::Spent(id, _) => id.0[0],
            Item::Settled(id, ..)
            | Item::Open(id, _)
            | Item::Pooled { id, .. }
            | Item::End(id, _)
            | Item::Awaited(id, ..) => id.0[0],
            Item::Early(PartRef { source: shard, .. })
            | Item::Exchanged(Exchange { shard, .. })
            | Item::Reached(shard, _) => shard.0.to_le_bytes()[0],
        }
    }

    /// Whether another item is about the same thing: the same coin, transaction, part or shard.
    pub fn is_about_the_same(&self, other: &Item) -> bool {
        match (self, other) {
            (Item::Coin(here, ..), Item::Coin(there, ..)) => here == there,
            (Item::Spent(here, _), Item::Spent(there, _)) => here == there,
            (Item::Settled(here, ..), Item::Settled(there, ..)) => here == there,
            (Item::Open(here, _), Item::Open(there, _)) => here == there,
            (Item::Pooled { id: here, .. }, Item::Pooled { id: there, .. }) => here == there,
            (Item::Early(here), Item::Early(there)) => {
                (here.source, here.number) == (there.source, there.number)
            }
            (Item::Exchanged(here), Item::Exchanged(there)) => here.shard == there.shard,
            (Item::End(here, _), Item::End(there, _)) => here == there,
            (Item::Reached(here, _), Item::Reached(there, _)) => here == there,
            (Item::Awaited(here, at, _), Item::Awaited(there, other, _)) => (here, at) == (there, other),
            _ => false,
        }
    }

    /// Its one encoding.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The item of an encoding.
    ///
    /// # Errors
    /// If the bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<Item, CodecError> {
        codec::decode(bytes)
    }

    fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        hash.update(b"LITM");
        hash.update(self.encode());
        Digest(hash.finalize().into())
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Coin(id, amount, None) => write!(f, "coin {id} of {amount}, unspent"),
            Item::Coin(id, amount, Some(owner)) => {
                write!(f, "coin {id} of {amount}, unspent, owned by {}", Digest(owner.0))
            }
            Item::Spent(id, by) => write!(f, "coin {id}, spent by transaction {by}"),
            Item::Settled(id, settled, round) => {
                write!(f, "transaction {id}, {settled} in round {round}")
            }
            Item::Open(id, record) => write!(
                f,
                "open record of transaction {id} since round {}: {} inputs worth {} for shard {}, in part {}",
                record.round(),
                record.inputs().len(),
                record.held(),
                record.output(),
                record.part()
            ),
            Item::Pooled { id, ticked, listed, made_in } => write!(
                f,
                "transaction {id} in the pool since round {made_in}: spent in shards {}; {} members want to cancel it",
                joined(ticked),
                listed.len()
            ),
            Item::Early(part) => {
                write!(f, "part {} of shard {}, digest {}, waits", part.number, part.source, part.digest)
            }
            Item::Exchanged(exchange) => write!(f, "exchange with shard {}: {exchange:?}", exchange.shard),
            Item::End(id, round) => write!(f, "transaction {id}, finished across shards in round {round}"),
            Item::Reached(shard, round) => write!(f, "shard {shard} is known to be at round {round}"),
            Item::Awaited(id, shard, round) => {
                write!(f, "transaction {id}, remembered until shard {shard} is at round {round}")
            }
        }
    }
}

fn joined(shards: &[ShardId]) -> String {
    shards.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Ledger {
    /// Adds up the whole ledger: equal at nodes that executed the same blocks.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::new(self.height());
        for item in self.items() {
            sums.of_mut(item.section()).add(item.bucket(), &item.digest());
        }
        sums
    }

    /// The items of a bucket, ascending. Looks at all of its section.
    pub fn items_of(&self, section: Section, bucket: u8) -> Vec<Item> {
        let mut items: Vec<Item> = self.items_in(section).filter(|item| item.bucket() == bucket).collect();
        items.sort_unstable();
        items
    }

    /// The transaction that has spent a coin, as long as it is remembered.
    pub fn spender(&self, coin: &CoinId) -> Option<TxId> {
        self.history.transaction(self.coins.spender(coin)?)
    }

    /// All items, in no order that means anything.
    pub fn items(&self) -> impl Iterator<Item = Item> + '_ {
        Section::ALL.into_iter().flat_map(|section| self.items_in(section))
    }

    /// The items of a section, in no order that means anything.
    pub fn items_in(&self, section: Section) -> Box<dyn Iterator<Item = Item> + '_> {
        match section {
            Section::Coins => {
                Box::new(self.coins.unspent_coins().map(|(id, amount, owner)| Item::Coin(id, amount, owner)))
            }
            Section::Spent => Box::new(
                self.coins
                    .spent_coins()
                    .filter_map(|(id, record)| Some(Item::Spent(id, self.history.transaction(record)?))),
            ),
            Section::Settled => {
                Box::new(self.history.records().map(|(id, settled, round)| Item::Settled(id, settled, round)))
            }
            Section::Open => Box::new(self.open.iter().map(|(id, record)| Item::Open(*id, record.clone()))),
            Section::Pool => Box::new(self.pool.iter().map(|(id, entry)| Item::Pooled {
                id: *id,
                ticked: entry.ticked.clone(),
                listed: entry.listed.clone(),
                made_in: entry.made_in,
            })),
            Section::Early => Box::new(self.dump_early().map(Item::Early)),
            Section::Exchanged => Box::new(self.exchanged().into_iter().map(Item::Exchanged)),
            Section::Ends => Box::new(self.ends()),
        }
    }

    fn ends(&self) -> impl Iterator<Item = Item> + '_ {
        let ends = self.ends.all().map(|(id, round)| Item::End(id, round));
        let awaited = self.ends.awaited().flat_map(|(shard, reached, awaited)| {
            let ids = awaited.iter().flat_map(|(due, ids)| ids.iter().map(|id| (*due, *id)));
            let ids = ids.map(move |(due, id)| Item::Awaited(id, shard, due));
            std::iter::once(Item::Reached(shard, reached)).chain(ids)
        });
        ends.chain(awaited)
    }
}
