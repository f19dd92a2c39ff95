//! The ledger written out in sorted order: for verification, snapshots and tests.

use sha2::{Digest as _, Sha256};
use wire::ids::{CoinId, Digest, Round, TxId};

use crate::ledger::Ledger;
use crate::ledger::outcome::Settled;
use crate::transaction::Owner;

/// An unspent coin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DumpedCoin {
    /// Its id.
    pub id: CoinId,
    /// Its amount.
    pub amount: u64,
    /// Who owns it; `None` where the protocol is not signed.
    pub owner: Option<Owner>,
}

impl Ledger {
    /// Unspent coins, ascending by id.
    pub fn dump_coins(&self) -> impl Iterator<Item = DumpedCoin> + use<> {
        let coins = self.coins.unspent_coins().map(|(id, amount, owner)| DumpedCoin { id, amount, owner });
        sorted(coins)
    }

    /// Spent coins that are remembered, ascending by id, each with its spender.
    pub fn dump_spent(&self) -> impl Iterator<Item = (CoinId, TxId)> + use<> {
        sorted(
            self.coins.spent_coins().filter_map(|(id, record)| Some((id, self.history.transaction(record)?))),
        )
    }

    /// Remembered transactions, ascending by id, with what became of them and the round of that block.
    pub fn dump_settled(&self) -> impl Iterator<Item = (TxId, Settled, Round)> + use<> {
        sorted(self.history.records())
    }
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> std::vec::IntoIter<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items.into_iter()
}

/// See [`Ledger::digest`].
pub(super) fn digest(ledger: &Ledger) -> Digest {
    let mut hash = Sha256::new();
    hash.update(ledger.height().0.to_le_bytes());
    for coin in ledger.dump_coins() {
        hash.update(coin.id.0);
        hash.update(coin.amount.to_le_bytes());
        hash.update(coin.owner.map_or([0; 32], |owner| owner.0));
    }
    hash.update([1]);
    for (coin, spender) in ledger.dump_spent() {
        hash.update(coin.0);
        hash.update(spender.0);
    }
    hash.update([2]);
    for (id, settled, round) in ledger.dump_settled() {
        hash.update(id.0);
        hash.update([super::Outcome::Settled(settled).code()]);
        hash.update(round.0.to_le_bytes());
    }
    Digest(hash.finalize().into())
}
