//! Clients of one shard, whose transactions stay in it: most of them good, in many small submissions.
//!
//! Transactions chain: a good one may spend what an earlier one creates, executed or not. Some spend a coin that
//! another spends too, name an unknown coin or a wrong amount, break static validity, expire at once or too far ahead;
//! some are submitted to two nodes. Each request is a client of its own, so that receipts belong to one request. Some
//! clients query transactions of others, some leave before they have their receipts.

use std::ops::Range;
use std::sync::Arc;

use wire::bytes::Bytes;
use wire::committee::Committee;
use wire::ids::{CoinId, Index, NodeId, Round, ShardId, TxId};
use wire::limits::EXPIRY_ROUNDS_AHEAD_MAX;

use crate::prng::Prng;
use crate::sim::workload::{ClientRequest, Connections, Habit};
use crate::transaction::{Expiry, Input, Output, Owner, Transaction, genesis_coin, output_coin, tx_id};

/// Most transactions of one submission.
const TRANSACTIONS_MAX: u64 = 5;

/// A coin that clients believe can be spent.
#[derive(Clone, Copy, Debug)]
struct Coin {
    id: CoinId,
    amount: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct IntraClients {
    prng: Prng,
    habit: Habit,
    committee: Arc<Committee>,
    shard: ShardId,
    coins: Vec<Coin>,
    /// Coins kept for the transactions that must finish once the network is healed.
    reserved: Vec<Coin>,
    spent: Vec<Coin>,
    connections: Connections,
    /// Submitted transactions, each with its node.
    ids: Vec<(NodeId, TxId)>,
    transactions: u64,
}

impl IntraClients {
    /// Clients of a shard that spend these of its genesis coins. The last `reserved` of them are kept back.
    pub(super) fn new(
        prng: Prng,
        committee: Arc<Committee>,
        shard: ShardId,
        coins: Range<u64>,
        reserved: usize,
        habit: Habit,
    ) -> IntraClients {
        let amount = committee.protocol().genesis_amount;
        let coin = |index| Coin { id: genesis_coin(&committee.testbed(), shard, index), amount };
        let mut coins: Vec<Coin> = coins.map(coin).collect();
        let reserved = coins.split_off(coins.len().saturating_sub(reserved));
        IntraClients {
            prng,
            habit,
            connections: Connections::new(u64::from(shard.0)),
            committee,
            shard,
            coins,
            reserved,
            spent: Vec::new(),
            ids: Vec::new(),
            transactions: 0,
        }
    }

    /// The next requests of the clients; `height` is the highest executed anywhere in the shard.
    pub(super) fn next(&mut self, height: Round) -> Vec<ClientRequest> {
        let count = 1 + self.prng.below(TRANSACTIONS_MAX);
        let transactions: Vec<Bytes> = (0..count).filter_map(|_| self.transaction(height)).collect();
        let (first, second) = (self.member(), self.member());
        let mut submissions = vec![self.submission(first, transactions.clone())];
        if self.prng.chance(1, 5) {
            submissions.push(self.submission(second, transactions));
        }
        if self.prng.chance(1, 5) {
            submissions.extend(self.query());
        }
        if self.prng.chance(1, 10) {
            submissions.extend(self.connections.leave(&mut self.prng));
        }
        submissions
    }

    /// A transaction for this node that must finish unless the shard is stuck.
    pub(super) fn last(&mut self, height: Round, node: NodeId) -> ClientRequest {
        let coin = self.reserved.pop().expect("one coin a node was kept back");
        let inputs = [self.input(coin)];
        let bytes = self.spend(&inputs, coin.amount, Round(height.0 + 5_000));
        self.submission(node, vec![bytes])
    }

    fn submission(&mut self, to: NodeId, transactions: Vec<Bytes>) -> ClientRequest {
        self.ids.extend(transactions.iter().map(|bytes| (to, tx_id(bytes))));
        self.connections.submission(to, transactions)
    }

    /// Action the node that was given it, or another, for a transaction.
    fn query(&mut self) -> Option<ClientRequest> {
        let (taker, id) = *self.prng.pick(&self.ids)?;
        let other = self.member();
        let to = if self.prng.chance(3, 4) { taker } else { other };
        Some(self.connections.query(to, id))
    }

    /// Any member of the shard.
    fn member(&mut self) -> NodeId {
        let index = self.prng.below(self.committee.n() as u64) as u16;
        self.committee.node_at(self.shard, Index(index))
    }

    fn transaction(&mut self, height: Round) -> Option<Bytes> {
        let usual = self.habit.expiry(&mut self.prng, height);
        match self.prng.below(20) {
            0 | 1 => {
                let coin = *self.prng.pick(&self.spent)?;
                Some(self.spend(&[self.input(coin)], coin.amount, usual))
            }
            2 => {
                let coin = Coin { id: CoinId(self.prng.bytes()), amount: 5 };
                Some(self.spend(&[self.input(coin)], coin.amount, usual))
            }
            3 => {
                let coin = *self.prng.pick(&self.coins)?;
                let wrong = Coin { amount: coin.amount + 1, ..coin };
                Some(self.spend(&[self.input(wrong)], wrong.amount, usual))
            }
            4 => {
                let coin = *self.prng.pick(&self.coins)?;
                // Creates more than it spends.
                Some(self.spend(&[self.input(coin)], coin.amount + 1, usual))
            }
            5 => {
                let coin = self.take_coin()?;
                let soon = Round(height.0 + self.prng.below(4));
                Some(self.spend(&[self.input(coin)], coin.amount, soon))
            }
            6 => {
                let coin = *self.prng.pick(&self.coins)?;
                let far = Round(height.0 + EXPIRY_ROUNDS_AHEAD_MAX + 500);
                Some(self.spend(&[self.input(coin)], coin.amount, far))
            }
            7 => {
                let length = self.prng.below(300) as usize;
                let mut noise = vec![0; length];
                self.prng.fill(&mut noise);
                Some(Bytes::from(noise))
            }
            _ => self.good(usual),
        }
    }

    /// A transaction that executes if all earlier ones do. Its outputs may be spent at once.
    fn good(&mut self, expiry: Round) -> Option<Bytes> {
        let mut coins = vec![self.take_coin()?];
        if self.prng.chance(1, 4) {
            coins.extend(self.take_coin());
        }
        coins.sort_by_key(|coin| coin.id);
        coins.dedup_by_key(|coin| coin.id);
        let inputs: Vec<Input> = coins.iter().map(|coin| self.input(*coin)).collect();
        let sum = coins.iter().map(|coin| coin.amount).sum();
        Some(self.spend(&inputs, sum, expiry))
    }

    fn take_coin(&mut self) -> Option<Coin> {
        if self.coins.is_empty() {
            return None;
        }
        let at = self.prng.below(self.coins.len() as u64) as usize;
        let coin = self.coins.swap_remove(at);
        self.spent.push(coin);
        Some(coin)
    }

    /// Spends these inputs on one or two outputs of this sum, which clients from now on believe to be theirs.
    fn spend(&mut self, inputs: &[Input], sum: u64, expiry: Round) -> Bytes {
        self.transactions += 1;
        let owner = Owner([7; 32]);
        let parts = if sum >= 2 && self.prng.chance(1, 3) {
            let part = 1 + self.prng.below(sum - 1);
            vec![part, sum - part]
        } else {
            vec![sum]
        };
        let outputs: Vec<Output> = parts.iter().map(|amount| Output { owner, amount: *amount }).collect();
        let mut payload = self.transactions.to_le_bytes().to_vec();
        payload.resize(8 + self.prng.below(120) as usize, 0xA5);
        let bytes = Transaction {
            inputs,
            output_shard: self.shard,
            outputs: &outputs,
            expiries: &[Expiry { shard: self.shard, round: expiry }],
            payload: &payload,
        }
        .encode();
        let id: TxId = tx_id(&bytes);
        if inputs.iter().map(|input| input.amount).sum::<u64>() == sum {
            let created = (0u8..).zip(&parts);
            self.coins
                .extend(created.map(|(index, amount)| Coin { id: output_coin(&id, index), amount: *amount }));
        }
        Bytes::from(bytes)
    }

    fn input(&self, coin: Coin) -> Input {
        Input { shard: self.shard, coin: coin.id, amount: coin.amount }
    }
}
