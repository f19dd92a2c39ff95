//! Transactions that cross shards, and what is put wrong into them on purpose.
//!
//! One takes the coins of one to three chains, each in another shard, and creates as many in its output shard, so that
//! the chains go on there. It is handed to a member of the output shard.
//!
//! An input is *spoiled* by naming the coin that its chain had before, a coin that never was, or the right coin with
//! a wrong amount. The outputs follow the inputs, so that only a ledger can tell. Such a transaction must be rejected
//! and its other coins must be free again in the end.

use std::collections::BTreeSet;

use bft::prng::Prng;
use bft::transaction::{Expiry, Input};
use wire::ids::{CoinId, NodeId, Round, ShardId};

use super::{Chain, Workload};
use crate::load::mix::Mix;

/// Most input shards of a transaction.
const INPUT_SHARDS_MAX: usize = 3;
/// A wrong amount is too large by at most so much.
const EXCESS_MAX: u64 = 1_000;

/// What a transaction that crosses shards is made of, so that it can be written again to the byte.
#[derive(Clone, Debug)]
pub(super) struct Cross {
    /// The chains that it takes along, in the order of its inputs.
    pub(super) chains: Vec<u32>,
    pub(super) inputs: Vec<Input>,
    pub(super) output_shard: ShardId,
    pub(super) expiries: Vec<Expiry>,
    /// Which inputs are spoiled, in the same order.
    pub(super) spoiled: Vec<Spoiled>,
}

/// Whether an input can be spent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Spoiled {
    /// As far as its chain knows it can.
    No,
    /// It cannot.
    Yes,
}

impl Cross {
    /// Whether no ledger may let it finish.
    pub(super) fn is_spoiled(&self) -> bool {
        self.spoiled.contains(&Spoiled::Yes)
    }
}

/// Draws transactions.
pub(super) struct Drawer {
    mix: Mix,
    prng: Prng,
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
    fn input_shards(&mut self, output: ShardId, shards: u16) -> BTreeSet<ShardId> {
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
    fn input(&mut self, chain: &Chain) -> (Input, Spoiled) {
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

impl Workload {
    /// Takes idle chains for a transaction that crosses shards to that of `contact`; `None` if all chains of a
    /// shard that it would need wait.
    pub(super) fn draw_cross(&mut self, contact: NodeId, expiries: &[Round]) -> Option<Box<Cross>> {
        let committee = self.maker.committee.clone();
        let output_shard = committee.shard_of(contact);
        let shards = self.drawer.input_shards(output_shard, committee.shards());
        let mut chains = Vec::with_capacity(shards.len());
        for shard in &shards {
            match self.idle.pop_of(*shard, &mut self.drawer.prng) {
                Some(chain) => chains.push(chain),
                None => {
                    for chain in chains {
                        self.make_idle(chain, self.home(chain));
                    }
                    return None;
                }
            }
        }
        let inputs = chains.iter().map(|chain| self.drawer.input(&self.chains[*chain as usize]));
        let (inputs, spoiled) = inputs.unzip();
        let expiry = |shard: &ShardId| Expiry { shard: *shard, round: expiries[usize::from(shard.0)] };
        let expiries = shards.iter().map(expiry).collect();
        Some(Box::new(Cross { chains, inputs, output_shard, expiries, spoiled }))
    }
}
