//! Clients whose transactions reach over shards: inputs in one to three of them, the output in any.
//!
//! Good ones chain, across shards too. Others have an input that is spent, never existed, or has another amount, so
//! that the other shards must refund their inputs; two may each hold a coin that the other needs, or race an
//! intra-shard transaction for a coin. Some expire at once in one shard or too far ahead. Clients spend coins that may
//! have been refunded. Whole transactions are submitted again, at once or much later, to other members, also of other
//! shards; clients query transactions, and leave.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use wire::bytes::Bytes;
use wire::committee::Committee;
use wire::ids::{CoinId, Index, NodeId, Round, ShardId, TxId};
use wire::limits::EXPIRY_ROUNDS_AHEAD_MAX;

use crate::prng::Prng;
use crate::sim::workload::{ClientRequest, Connections, Habit};
use crate::transaction::{
    Expiry, Input, Output, Owner, Transaction, TransactionView, genesis_coin, output_coin, refund_coin, tx_id,
};

/// Most input shards of one transaction.
const INPUT_SHARDS_MAX: usize = 3;
/// Old transactions that may be submitted again.
const OLD_MAX: usize = 200;

/// The fate that clients expect of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hope {
    /// That it finishes: they go on with its outputs.
    Good,
    /// That it may fail: some go on with its outputs, some with its inputs, some with refunds.
    Faint,
}

/// See the module.
#[derive(Debug)]
pub(super) struct CrossClients {
    prng: Prng,
    habit: Habit,
    committee: Arc<Committee>,
    shards: u16,
    connections: Connections,
    /// Coins that clients believe can be spent.
    coins: Vec<Input>,
    /// By shard, kept for the transactions that must finish once the network is healed.
    reserved: Vec<Vec<Input>>,
    spent: Vec<Input>,
    old: Vec<Bytes>,
    transactions: u64,
}

impl CrossClients {
    /// Clients that spend these genesis coins of each shard. The last `reserved` of them are kept back.
    pub(super) fn new(
        prng: Prng,
        committee: Arc<Committee>,
        shards: u16,
        coins: Range<u64>,
        reserved: usize,
        habit: Habit,
    ) -> CrossClients {
        let amount = committee.protocol().genesis_amount;
        let of_shard = |shard| {
            let coin = |index| genesis_coin(&committee.testbed(), shard, index);
            coins.clone().map(|index| Input { shard, coin: coin(index), amount }).collect()
        };
        let mut all: Vec<Vec<Input>> = (0..shards).map(ShardId).map(of_shard).collect();
        let keep = |coins: &mut Vec<Input>| coins.split_off(coins.len() - reserved);
        let reserved = all.iter_mut().map(keep).collect();
        CrossClients {
            prng,
            habit,
            connections: Connections::new(u64::from(shards)),
            committee,
            shards,
            coins: all.into_iter().flatten().collect(),
            reserved,
            spent: Vec::new(),
            old: Vec::new(),
            transactions: 0,
        }
    }

    /// The next requests of the clients; `heights` are the highest executed in each shard.
    pub(super) fn next(&mut self, heights: &[Round]) -> Vec<ClientRequest> {
        let count = 1 + self.prng.below(3);
        let mut requests = Vec::new();
        for _ in 0..count {
            let made = match self.prng.below(12) {
                0 | 1 => self.rivals(heights),
                2 | 3 => self.again().into_iter().collect(),
                _ => self.one(heights).into_iter().collect(),
            };
            for bytes in made {
                self.submit_request(bytes, &mut requests);
            }
        }
        if self.prng.chance(1, 5) {
            let asked = self.prng.pick(&self.old).cloned();
            requests.extend(asked.map(|bytes| {
                let to = self.taker(&bytes);
                self.connections.query(to, tx_id(&bytes))
            }));
        }
        if self.prng.chance(1, 8) {
            requests.extend(self.connections.leave(&mut self.prng));
        }
        requests
    }

    /// A transaction for this node that must finish unless a shard is stuck.
    pub(super) fn last(&mut self, heights: &[Round], node: NodeId) -> ClientRequest {
        let mut inputs = Vec::new();
        for shard in self.input_shards() {
            let kept = self.reserved[usize::from(shard.0)].pop();
            inputs.push(kept.expect("a coin of each shard was kept back for each node"));
        }
        let expiries: Vec<Expiry> = expiries(&inputs, |shard| Round(heights[usize::from(shard.0)].0 + 5_000));
        let output = self.committee.shard_of(node);
        let outputs: Vec<u64> = inputs.iter().map(|input| input.amount).collect();
        let bytes = self.build(&inputs, output, &outputs, &expiries);
        self.connections.submission(node, vec![bytes])
    }

    fn submit_request(&mut self, bytes: Bytes, requests: &mut Vec<ClientRequest>) {
        let to = self.taker(&bytes);
        requests.push(self.connections.submission(to, vec![bytes.clone()]));
        if self.prng.chance(1, 6) {
            let again = self.taker(&bytes);
            requests.push(self.connections.submission(again, vec![bytes.clone()]));
        }
        // A client that leaves at once leaves a contact without client.
        if self.prng.chance(1, 15) {
            requests.extend(self.connections.last_leaves());
        }
        if self.old.len() == OLD_MAX {
            let at = self.prng.below(OLD_MAX as u64) as usize;
            self.old.swap_remove(at);
        }
        self.old.push(bytes);
    }

    /// A member of the output shard; now and then of another one.
    fn taker(&mut self, bytes: &[u8]) -> NodeId {
        let output = TransactionView::parse(bytes).expect("clients encode well").output_shard();
        let any = ShardId(self.prng.below(u64::from(self.shards)) as u16);
        let shard = if self.prng.chance(1, 30) { any } else { output };
        self.committee.node_at(shard, Index(self.prng.below(self.committee.n() as u64) as u16))
    }

    /// One to three shards, ascending.
    fn input_shards(&mut self) -> Vec<ShardId> {
        let mut shards: Vec<ShardId> = (0..self.shards).map(ShardId).collect();
        self.prng.shuffle(&mut shards);
        shards.truncate(1 + self.prng.below(shards.len().min(INPUT_SHARDS_MAX) as u64) as usize);
        shards.sort_unstable();
        shards
    }

    fn take_coin(&mut self, shard: ShardId) -> Option<Input> {
        let here: Vec<usize> = (0..self.coins.len()).filter(|at| self.coins[*at].shard == shard).collect();
        let at = *self.prng.pick(&here)?;
        let coin = self.coins.swap_remove(at);
        self.spent.push(coin);
        Some(coin)
    }

    /// An old transaction, perhaps one of the last few, whose end may still be under way, past a short expiry.
    fn again(&mut self) -> Option<Bytes> {
        let last = if self.prng.chance(1, 2) { self.old.len().saturating_sub(12) } else { 0 };
        self.prng.pick(&self.old[last..]).cloned()
    }

    /// A transaction, most often a good one.
    fn one(&mut self, heights: &[Round]) -> Option<Bytes> {
        let mut inputs = Vec::new();
        for shard in self.input_shards() {
            inputs.push(self.take_coin(shard)?);
            if self.prng.chance(1, 6) {
                inputs.extend(self.take_coin(shard));
            }
        }
        let mut hope = Hope::Good;
        if self.prng.chance(1, 3) {
            self.spoil(&mut inputs);
            hope = Hope::Faint;
        }
        inputs.sort_unstable_by_key(|input| (input.shard, input.coin));
        inputs.dedup_by_key(|input| input.coin);
        let expiries = self.expiries(&inputs, heights);
        let output = ShardId(self.prng.below(u64::from(self.shards)) as u16);
        Some(self.spend(&inputs, output, &expiries, hope))
    }

    /// Makes one of the inputs most likely invalid.
    fn spoil(&mut self, inputs: &mut [Input]) {
        let at = self.prng.below(inputs.len() as u64) as usize;
        let shard = inputs[at].shard;
        let old: Vec<Input> = self.spent.iter().filter(|coin| coin.shard == shard).copied().collect();
        match self.prng.below(4) {
            0 => inputs[at] = self.prng.pick(&old).copied().unwrap_or(inputs[at]),
            1 => inputs[at].coin = CoinId(self.prng.bytes()),
            2 => inputs[at].amount += 1,
            // An input of an old transaction, as it is after a refund.
            _ => {
                let Some(bytes) = self.prng.pick(&self.old).cloned() else { return };
                let view = TransactionView::parse(&bytes).expect("clients encode well");
                let back = view.inputs().find(|input| input.shard == shard);
                if let Some(back) = back {
                    inputs[at] = Input { coin: refund_coin(&view.id(), &back.coin), ..back };
                }
            }
        }
    }

    /// Two transactions with the same inputs in two shards, so that each may spend one; or one of them and an
    /// intra-shard transaction.
    fn rivals(&mut self, heights: &[Round]) -> Vec<Bytes> {
        let shards = self.input_shards();
        let coins: Vec<Input> = shards.into_iter().filter_map(|shard| self.take_coin(shard)).collect();
        let Some(first) = coins.first().copied() else { return Vec::new() };
        let mut rivals = Vec::new();
        for _ in 0..2 + self.prng.below(2) {
            let inputs = if self.prng.chance(1, 5) { vec![first] } else { coins.clone() };
            let output = ShardId(self.prng.below(u64::from(self.shards)) as u16);
            let output = if inputs.len() == 1 { first.shard } else { output };
            let expiries = self.expiries(&inputs, heights);
            rivals.push(self.spend(&inputs, output, &expiries, Hope::Faint));
        }
        rivals
    }

    fn expiries(&mut self, inputs: &[Input], heights: &[Round]) -> Vec<Expiry> {
        let height = |shard: ShardId| heights[usize::from(shard.0)].0;
        let mut expiries: Vec<Expiry> =
            expiries(inputs, |shard| self.habit.expiry(&mut self.prng, Round(height(shard))));
        let count = expiries.len() as u64;
        let chosen = &mut expiries[self.prng.below(count) as usize];
        match self.prng.below(14) {
            0..=2 => chosen.round = Round(height(chosen.shard) + self.prng.below(12)),
            3 => chosen.round = Round(height(chosen.shard) + EXPIRY_ROUNDS_AHEAD_MAX + 500),
            _ => {}
        }
        expiries
    }

    /// Spends these inputs on outputs, one of which or as many as there are inputs.
    fn spend(&mut self, inputs: &[Input], output: ShardId, expiries: &[Expiry], hope: Hope) -> Bytes {
        let mut amounts: Vec<u64> = inputs.iter().map(|input| input.amount).collect();
        if self.prng.chance(1, 4) {
            amounts = vec![amounts.iter().sum()];
        }
        let bytes = self.build(inputs, output, &amounts, expiries);
        let id: TxId = tx_id(&bytes);
        let created = (0u8..).zip(&amounts).map(|(at, amount)| (output_coin(&id, at), *amount));
        let created = created.map(|(coin, amount)| Input { shard: output, coin, amount });
        let back = inputs.iter().map(|input| Input { coin: refund_coin(&id, &input.coin), ..*input });
        match hope {
            Hope::Good => self.coins.extend(created),
            Hope::Faint => match self.prng.below(4) {
                0 => self.coins.extend(created),
                1 => self.coins.extend(back),
                2 => self.coins.extend(inputs),
                _ => {}
            },
        }
        bytes
    }

    fn build(&mut self, inputs: &[Input], output: ShardId, amounts: &[u64], expiries: &[Expiry]) -> Bytes {
        self.transactions += 1;
        let outputs: Vec<Output> =
            amounts.iter().map(|amount| Output { owner: Owner([9; 32]), amount: *amount }).collect();
        let mut payload = (u64::MAX - self.transactions).to_le_bytes().to_vec();
        payload.resize(8 + self.prng.below(60) as usize, 0x5A);
        let transaction =
            Transaction { inputs, output_shard: output, outputs: &outputs, expiries, payload: &payload };
        Bytes::from(transaction.encode())
    }
}

/// One expiry for each shard of the inputs, ascending.
fn expiries(inputs: &[Input], mut round: impl FnMut(ShardId) -> Round) -> Vec<Expiry> {
    let shards: BTreeMap<ShardId, Round> =
        inputs.iter().map(|input| (input.shard, round(input.shard))).collect();
    shards.into_iter().map(|(shard, round)| Expiry { shard, round }).collect()
}
