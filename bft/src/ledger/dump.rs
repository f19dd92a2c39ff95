//! The ledger written out in sorted order: for verification, snapshots and tests.

use sha2::{Digest as _, Sha256};
use wire::codec;
use wire::ids::{CoinId, Digest, Round, TxId};

use crate::ledger::outcome::Settled;
use crate::ledger::{Ledger, OpenRecord, PoolView};
use crate::part::PartRef;
use crate::transaction::Owner;

/// An unspent coin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DumpedCoin {
    /// Its id.
    pub id: CoinId,
    /// Its amount.
    pub amount: u64,
    /// Its owner; `None` where the protocol is not signed.
    pub owner: Option<Owner>,
}

impl Ledger {
    /// Unspent coins, ascending by id.
    pub fn dump_coins(&self) -> impl ExactSizeIterator<Item = DumpedCoin> + use<> {
        let coins = self.coins.unspent_coins().map(|(id, amount, owner)| DumpedCoin { id, amount, owner });
        sorted(coins)
    }

    /// Spent coins that are remembered, ascending by id, each with its spender.
    pub fn dump_spent(&self) -> impl ExactSizeIterator<Item = (CoinId, TxId)> + use<> {
        sorted(
            self.coins.spent_coins().filter_map(|(id, record)| Some((id, self.history.transaction(record)?))),
        )
    }

    /// Open records, ascending by transaction.
    pub fn dump_open(&self) -> impl Iterator<Item = (&TxId, &OpenRecord)> {
        sorted_by_id(self.open.iter())
    }

    /// Entries of the pool, ascending by transaction.
    pub fn dump_pool(&self) -> impl Iterator<Item = (&TxId, PoolView<'_>)> {
        sorted_by_id(self.pool.iter()).map(|(id, entry)| (id, PoolView { entry }))
    }

    /// Parts of other shards that wait for those before them, ascending.
    pub fn dump_early(&self) -> impl Iterator<Item = PartRef> {
        self.links.early().map(|part| part.reference())
    }

    /// Remembered transactions, ascending by id, with what became of them and the round of that block.
    pub fn dump_settled(&self) -> impl ExactSizeIterator<Item = (TxId, Settled, Round)> + use<> {
        sorted(self.history.records())
    }
}

fn sorted_by_id<'a, T>(entries: impl Iterator<Item = (&'a TxId, T)>) -> std::vec::IntoIter<(&'a TxId, T)> {
    let mut entries: Vec<(&TxId, T)> = entries.collect();
    entries.sort_unstable_by_key(|(id, _)| *id);
    entries.into_iter()
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> std::vec::IntoIter<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items.into_iter()
}

/// See [`Ledger::digest`].
pub(super) fn digest(ledger: &Ledger) -> Digest {
    let mut hash = Sha256::new();
    hash.update(b"LEDG");
    hash.update(ledger.height().0.to_le_bytes());
    let coins = ledger.dump_coins();
    hash.update(count(coins.len()));
    for coin in coins {
        hash.update(coin.id.0);
        hash.update(coin.amount.to_le_bytes());
        hash.update(coin.owner.map_or([0; 32], |owner| owner.0));
    }
    let spent = ledger.dump_spent();
    hash.update(count(spent.len()));
    for (coin, spender) in spent {
        hash.update(coin.0);
        hash.update(spender.0);
    }
    let settled = ledger.dump_settled();
    hash.update(count(settled.len()));
    for (id, settled, round) in settled {
        hash.update(id.0);
        hash.update([super::Outcome::Settled(settled).code()]);
        hash.update(round.0.to_le_bytes());
    }
    hash_cross(ledger, &mut hash);
    hash_ends(ledger, &mut hash);
    Digest(hash.finalize().into())
}

/// The count that precedes each list, so that no two lists can be divided differently.
fn count(items: usize) -> [u8; 8] {
    (items as u64).to_le_bytes()
}

/// Open records, pool, parts that came early, and tallies.
fn hash_cross(ledger: &Ledger, hash: &mut Sha256) {
    hash.update(count(ledger.open_records()));
    for (id, record) in ledger.dump_open() {
        hash.update(id.0);
        hash.update(record.output().0.to_le_bytes());
        hash.update(record.part().0.to_le_bytes());
        hash.update(record.round().0.to_le_bytes());
        hash.update(count(record.inputs().len()));
        for held in record.inputs() {
            hash.update(held.coin.0);
            hash.update(held.amount.to_le_bytes());
            hash.update(held.owner.map_or([0; 32], |owner| owner.0));
        }
    }
    hash.update(count(ledger.pool_len()));
    for (id, view) in ledger.dump_pool() {
        hash.update(id.0);
        hash.update(view.made_in().0.to_le_bytes());
        hash.update(count(view.ticked().len()));
        view.ticked().iter().for_each(|shard| hash.update(shard.0.to_le_bytes()));
        hash.update(count(view.entry.listed.len()));
        view.entry.listed.iter().for_each(|member| hash.update(member.0.to_le_bytes()));
    }
    hash.update(count(ledger.dump_early().count()));
    for part in ledger.dump_early() {
        hash.update(part.source.0.to_le_bytes());
        hash.update(part.number.0.to_le_bytes());
        hash.update(part.digest.0);
    }
    hash.update(codec::encode(&ledger.exchanged()));
}

/// The remembered finished cross-shard transactions, each with the round that ends its memory.
fn hash_ends(ledger: &Ledger, hash: &mut Sha256) {
    let ends = sorted(ledger.ends.all());
    hash.update(count(ends.len()));
    for (id, round) in ends {
        hash.update(id.0);
        hash.update(round.0.to_le_bytes());
    }
    for (shard, reached, awaited) in ledger.ends.awaited() {
        hash.update(shard.0.to_le_bytes());
        hash.update(reached.0.to_le_bytes());
        hash.update(count(awaited.len()));
        for (due, ids) in awaited {
            hash.update(due.0.to_le_bytes());
            hash.update(count(ids.len()));
            ids.iter().for_each(|id| hash.update(id.0));
        }
    }
}
