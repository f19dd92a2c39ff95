//! Transactions that cross shards, and what is put wrong into them on purpose.
//!
//! One takes the coins of one to three chains, each in another shard, and creates as many in its output shard, so that
//! the chains go on there. It is handed to a member of the output shard.
//!
//! An input is *spoiled* by naming the coin that its chain had before, a coin that never was, or the right coin with
//! a wrong amount. The outputs follow the inputs, so that only a ledger can see it. Such a transaction must be rejected
//! and its other coins must be free again in the end.

use std::collections::BTreeSet;

use bft::prng::Prng;
use bft::transaction::Input;
use wire::ids::{CoinId, ShardId};

use super::chain::{Chain, Spoiled};
use crate::load::mix::Mix;

/// Most input shards of a transaction.
const INPUT_SHARDS_MAX: usize = 3;
/// A wrong amount is too large by at most so much.
const EXCESS_MAX: u64 = 1_000;

/// Draws transactions.
pub(super) struct Drawer {
    mix: Mix,
    pub(super) prng: Prng,
}

impl Drawer {
    pub(super) fn new(mix: Mix, seed: u64) -> Drawer {
        Drawer { mix, prng: Prng::new(seed) }
    }

    /// Whether the next transaction crosses shards.
    pub(super) fn draws_cross(&mut self) -> bool {
        self.mix.cross.draw(&mut self.prng)
    }

    /// The input shards of a transaction with this output shard, ascending: one to three, of which at least one is
    /// another.
    pub(super) fn input_shards(&mut self, output: ShardId, shards: u16) -> BTreeSet<ShardId> {
        let count = 1 + self.prng.below(u64::from(shards).min(INPUT_SHARDS_MAX as u64)) as usize;
        let mut chosen = BTreeSet::new();
        while chosen.len() < count {
            let shard = ShardId(self.prng.below(shards.into()) as u16);
            if count > 1 || shard != output {
                chosen.insert(shard);
            }
        }
        chosen
    }

    /// The input that takes a chain along, spoiled or not.
    pub(super) fn input(&mut self, chain: &Chain) -> (Input, Spoiled) {
        let right = Input { shard: chain.shard, coin: chain.coin, amount: chain.amount };
        if !self.mix.invalid.draw(&mut self.prng) {
            return (right, Spoiled::No);
        }
        let wrong = match (self.prng.below(3), chain.previous) {
            (0, Some(previous)) => Input { coin: previous, ..right },
            (1, _) => Input { amount: right.amount + 1 + self.prng.below(EXCESS_MAX), ..right },
            _ => Input { coin: CoinId(self.prng.bytes()), ..right },
        };
        (wrong, Spoiled::Yes)
    }
}
