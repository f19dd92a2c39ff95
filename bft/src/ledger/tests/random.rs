//! Random transactions, parts that arrive in any order, and members that list what they like to be cancelled.

use std::collections::BTreeSet;

use super::world::{Lane, World, cross_with};
use super::*;

/// The events of all shards so far.
#[derive(Default)]
struct Witness {
    spent: BTreeSet<(ShardId, TxId)>,
    finished: BTreeSet<TxId>,
    cancelled: BTreeSet<TxId>,
    refunded: BTreeSet<(ShardId, TxId)>,
    closed: BTreeSet<(ShardId, TxId)>,
    spenders: BTreeMap<CoinId, TxId>,
    transactions: BTreeMap<TxId, Vec<u8>>,
}

impl Witness {
    fn sees(&mut self, shard: ShardId, outcome: &BlockOutcome) {
        for executed in &outcome.transactions {
            if let Outcome::Settled(Settled::Finished | Settled::Spent) = executed.outcome {
                self.spends(shard, executed.id);
            }
        }
        for event in &outcome.cross {
            match event {
                CrossEvent::Spent { id, .. } => {
                    assert!(self.spent.insert((shard, *id)), "a transaction spends once in a shard");
                }
                CrossEvent::Finished { id } => {
                    assert!(self.finished.insert(*id), "it finishes once");
                    assert!(!self.cancelled.contains(id), "and not after it was cancelled");
                    let view = TransactionView::parse(&self.transactions[id]).unwrap();
                    let all = view.expiries().all(|expiry| self.spent.contains(&(expiry.shard, *id)));
                    assert!(all, "and only when all input shards have spent");
                }
                CrossEvent::Cancelled { id } => {
                    self.cancelled.insert(*id);
                    assert!(!self.finished.contains(id), "what has finished is not cancelled");
                }
                CrossEvent::Refunded { id } => {
                    assert!(self.spent.contains(&(shard, *id)) && !self.finished.contains(id));
                    assert!(self.refunded.insert((shard, *id)), "a refund happens once");
                }
                CrossEvent::Closed { id } => {
                    assert!(self.finished.contains(id) && !self.refunded.contains(&(shard, *id)));
                    assert!(self.closed.insert((shard, *id)), "a record is closed once");
                }
                CrossEvent::Rejected { id, others, .. } => {
                    // After it was forgotten its expiry bars what has spent; while its record is open, nothing
                    // may say so.
                    let at = (shard, *id);
                    let is_over = self.closed.contains(&at) || self.refunded.contains(&at);
                    assert!(is_over || !self.spent.contains(&at), "not under an open record");
                    assert!(!others.contains(&shard));
                }
                CrossEvent::Pooled { .. } => {}
            }
        }
    }

    fn spends(&mut self, shard: ShardId, id: TxId) {
        let view = TransactionView::parse(&self.transactions[&id]).unwrap();
        for input in view.inputs().filter(|input| input.shard == shard) {
            assert_eq!(self.spenders.insert(input.coin, id), None, "no coin is spent by two transactions");
        }
    }

    /// Unspent coins, and inputs under records of what has not finished, are what there was at genesis.
    fn is_conserved(&self, world: &World) -> bool {
        let sum = world.ledgers().map(|ledger| {
            let open = ledger.dump_open().filter(|(id, _)| !self.finished.contains(*id));
            ledger.value() + open.map(|(_, record)| record.held()).sum::<u128>()
        });
        sum.sum::<u128>() == world.ledgers().map(Ledger::genesis_value).sum()
    }
}

/// A transaction over coins of up to three shards, some of them spent, unknown or of another amount.
fn random_cross(prng: &mut Prng, world: &World, shards: u16) -> Vec<u8> {
    let height = world.ledgers().map(|ledger| ledger.height().0).max().unwrap_or_default();
    let mut of: Vec<u16> = (0..shards).collect();
    prng.shuffle(&mut of);
    of.truncate(prng.within(1..4) as usize);
    let mut inputs = Vec::new();
    for shard in of {
        let coins: Vec<_> = world.at(shard).dump_coins().collect();
        let spent: Vec<_> = world.at(shard).dump_spent().collect();
        let input = match (prng.below(12), prng.pick(&coins), prng.pick(&spent)) {
            (0, _, _) => (CoinId(prng.bytes()), 5),
            (1, _, Some((coin, _))) => (*coin, 100),
            (2, Some(coin), _) => (coin.id, coin.amount + 1),
            (_, Some(coin), _) => (coin.id, coin.amount),
            _ => (CoinId(prng.bytes()), 5),
        };
        inputs.push((shard, input.0, input.1));
    }
    let output = prng.below(u64::from(shards)) as u16;
    let expiry = height + prng.below(14);
    cross_with(&inputs, output, expiry, &[0; 3][..prng.below(4) as usize])
}

fn run(seed: u64, shards: u16) -> Counts {
    let mut prng = Prng::new(seed);
    let mut world = World::new(shards, 12);
    let mut witness = Witness::default();
    let mut sent: Vec<Vec<u8>> = Vec::new();
    let mut open: Vec<Vec<u8>> = Vec::new();
    for _ in 0..400 {
        let shard = prng.below(u64::from(shards)) as u16;
        if prng.chance(1, 2) {
            let bytes = random_cross(&mut prng, &world, shards);
            witness.transactions.insert(tx_id(&bytes), bytes.clone());
            sent.push(bytes.clone());
            open.push(bytes);
            let late = open.len().saturating_sub(8);
            open.drain(..late);
        }
        let lanes: Vec<Lane> =
            (0..prng.below(4)).map(|_| random_lane(&mut prng, &world, shard, &sent, &open)).collect();
        let outcome = world.block(shard, &lanes);
        witness.sees(ShardId(shard), &outcome);
        assert!(witness.is_conserved(&world), "seed {seed}");
    }
    // All cancel every entry that still waits, until nothing changes.
    for _ in 0..20 {
        for shard in 0..shards {
            let due = world.due(shard);
            let cancels: Vec<TxId> = world.at(shard).dump_pool().map(|(id, _)| *id).collect();
            let lanes = [0, 1].map(|owner| Lane {
                owner,
                imports: due.iter().map(|part| part.reference()).collect(),
                cancels: cancels.clone(),
                transactions: Vec::new(),
            });
            let outcome = world.block(shard, &lanes);
            witness.sees(ShardId(shard), &outcome);
        }
    }
    assert!(witness.is_conserved(&world), "seed {seed}");
    world.check_rest();
    let mut counts = Counts::default();
    world.ledgers().for_each(|ledger| counts.add_all(&ledger.totals()));
    counts
}

fn random_lane(prng: &mut Prng, world: &World, shard: u16, sent: &[Vec<u8>], open: &[Vec<u8>]) -> Lane {
    let mut lane = Lane { owner: prng.below(4) as u16, ..Lane::default() };
    // Mostly those that are due, in any order over the entries; now and then one that is over.
    let due = world.due(shard).into_iter().filter(|_| prng.chance(2, 3));
    lane.imports = due.map(|part| part.reference()).collect();
    if prng.chance(1, 10) {
        let mut all: Vec<PartRef> = lane.imports.clone();
        all.extend(
            world
                .parts
                .values()
                .filter(|part| part.destination.0 == shard)
                .take(1)
                .map(|part| part.reference()),
        );
        all.sort_unstable();
        all.dedup();
        lane.imports = all;
    }
    if prng.chance(1, 5) {
        let pool: Vec<TxId> = world.at(shard).dump_pool().map(|(id, _)| *id).collect();
        lane.cancels.extend(prng.pick(&pool));
    }
    let older = prng.pick(sent).filter(|_| prng.chance(1, 6)).cloned();
    lane.transactions = open.iter().filter(|_| prng.chance(1, 3)).cloned().chain(older).collect();
    lane
}

#[test]
fn whatever_happens_value_is_conserved_and_nothing_ends_twice() {
    let mut counts = Counts::default();
    for seed in 0..24 {
        counts.add_all(&run(seed, 2 + (seed % 3) as u16));
    }
    let Counts { finished_cross, cancelled, refunded, closed, rejected, expired, .. } = counts;
    let seen = [finished_cross, cancelled, refunded, closed, rejected, expired];
    assert!(seen.iter().all(|count| *count > 100), "each end is met: {counts:?}");
}
