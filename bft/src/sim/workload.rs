//! Clients: real transactions, most of them good, handed to nodes one small submission after the other.
//!
//! Transactions chain: a good one may spend what an earlier one creates, executed or not. Some spend a coin that
//! another spends too, name a coin that never was or a wrong amount, break static validity, expire at once or too far
//! ahead; some are handed to two nodes. Each request is a client of its own, so that receipts tell whose they are. Some
//! clients ask for what others handed in, some leave before they have their receipts.

use std::sync::Arc;

use wire::bytes::Bytes;
use wire::client::{Request, list};
use wire::codec;
use wire::committee::Committee;
use wire::ids::{ClientId, CoinId, NodeId, Round, ShardId, TxId};
use wire::limits::EXPIRY_ROUNDS_AHEAD_MAX;

use crate::sim::prng::Prng;
use crate::transaction::{Expiry, Input, Output, Owner, Transaction, genesis_coin, output_coin, tx_id};

/// The shard under test.
const SHARD: ShardId = ShardId(0);
/// Most transactions of one submission.
const TRANSACTIONS_MAX: u64 = 5;

/// One request of one client to one node.
#[derive(Clone, Debug)]
pub(super) struct ClientRequest {
    pub(super) client: ClientId,
    pub(super) to: NodeId,
    pub(super) body: Bytes,
    pub(super) asks: Asks,
}

/// What a client wants.
#[derive(Clone, Debug)]
pub(super) enum Asks {
    /// These transactions ordered.
    Submit(Vec<Bytes>),
    /// What became of these.
    Query(Vec<TxId>),
    /// Nothing any more.
    Leave,
}

/// A coin that clients believe can be spent.
#[derive(Clone, Copy, Debug)]
struct Coin {
    id: CoinId,
    amount: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Workload {
    prng: Prng,
    committee: Arc<Committee>,
    coins: Vec<Coin>,
    /// Coins kept for the transactions that must finish once the network is healed.
    reserved: Vec<Coin>,
    spent: Vec<Coin>,
    clients: u64,
    /// Clients that have not left, and their nodes.
    connected: Vec<(ClientId, NodeId)>,
    /// What was handed in, and to whom.
    ids: Vec<(NodeId, TxId)>,
    transactions: u64,
}

impl Workload {
    pub(super) fn new(prng: Prng, committee: Arc<Committee>) -> Workload {
        let protocol = *committee.protocol();
        let coin = |index| {
            let id = genesis_coin(&committee.testbed(), SHARD, index);
            Coin { id, amount: protocol.genesis_amount }
        };
        let mut coins: Vec<Coin> = (0..protocol.genesis_coins).map(coin).collect();
        let reserved = coins.split_off(coins.len().saturating_sub(committee.n()));
        Workload {
            prng,
            committee,
            coins,
            reserved,
            spent: Vec::new(),
            clients: 0,
            connected: Vec::new(),
            ids: Vec::new(),
            transactions: 0,
        }
    }

    /// What the clients do next; `height` is the highest executed anywhere.
    pub(super) fn next(&mut self, height: Round) -> Vec<ClientRequest> {
        let count = 1 + self.prng.below(TRANSACTIONS_MAX);
        let transactions: Vec<Bytes> = (0..count).filter_map(|_| self.transaction(height)).collect();
        let n = self.committee.n() as u64;
        let first = NodeId(self.prng.below(n) as u16);
        let second = NodeId(self.prng.below(n) as u16);
        let mut submissions = vec![self.submission(first, transactions.clone())];
        if self.prng.chance(1, 5) {
            submissions.push(self.submission(second, transactions));
        }
        if self.prng.chance(1, 5) {
            submissions.extend(self.query());
        }
        if self.prng.chance(1, 10) {
            let at = self.prng.below(self.connected.len() as u64) as usize;
            let (client, to) = self.connected.swap_remove(at);
            let body = Bytes::from(Vec::new());
            submissions.push(ClientRequest { client, to, body, asks: Asks::Leave });
        }
        submissions
    }

    /// A transaction for each of these nodes that must finish unless the shard is stuck.
    pub(super) fn last(&mut self, height: Round, nodes: impl Iterator<Item = NodeId>) -> Vec<ClientRequest> {
        nodes
            .map(|node| {
                let coin = self.reserved.pop().expect("one coin a node was kept back");
                let inputs = [input(coin)];
                let bytes = self.spend(&inputs, coin.amount, Round(height.0 + 5_000));
                self.submission(node, vec![bytes])
            })
            .collect()
    }

    fn submission(&mut self, to: NodeId, transactions: Vec<Bytes>) -> ClientRequest {
        let mut body = codec::encode(&Request::Submit);
        let at = list::begin(&mut body);
        transactions.iter().for_each(|bytes| list::push(&mut body, bytes));
        list::finish(&mut body, at, transactions.len());
        self.ids.extend(transactions.iter().map(|bytes| (to, tx_id(bytes))));
        ClientRequest {
            client: self.connect(to),
            to,
            body: Bytes::from(body),
            asks: Asks::Submit(transactions),
        }
    }

    /// Asks the node that was given it, or another, for a transaction.
    fn query(&mut self) -> Option<ClientRequest> {
        let (taker, id) = *self.prng.pick(&self.ids)?;
        let other = NodeId(self.prng.below(self.committee.n() as u64) as u16);
        let to = if self.prng.chance(3, 4) { taker } else { other };
        let body = Bytes::from(codec::encode(&Request::Query(vec![id])));
        Some(ClientRequest { client: self.connect(to), to, body, asks: Asks::Query(vec![id]) })
    }

    fn connect(&mut self, to: NodeId) -> ClientId {
        self.clients += 1;
        let client = ClientId(self.clients);
        self.connected.push((client, to));
        client
    }

    fn transaction(&mut self, height: Round) -> Option<Bytes> {
        let usual = Round(height.0 + 1_000);
        match self.prng.below(20) {
            0 | 1 => {
                let coin = *self.prng.pick(&self.spent)?;
                Some(self.spend(&[input(coin)], coin.amount, usual))
            }
            2 => {
                let coin = Coin { id: CoinId(self.prng.bytes()), amount: 5 };
                Some(self.spend(&[input(coin)], coin.amount, usual))
            }
            3 => {
                let coin = *self.prng.pick(&self.coins)?;
                let wrong = Coin { amount: coin.amount + 1, ..coin };
                Some(self.spend(&[input(wrong)], wrong.amount, usual))
            }
            4 => {
                let coin = *self.prng.pick(&self.coins)?;
                // Creates more than it spends.
                Some(self.spend(&[input(coin)], coin.amount + 1, usual))
            }
            5 => {
                let coin = self.take_coin()?;
                let soon = Round(height.0 + self.prng.below(4));
                Some(self.spend(&[input(coin)], coin.amount, soon))
            }
            6 => {
                let coin = *self.prng.pick(&self.coins)?;
                let far = Round(height.0 + EXPIRY_ROUNDS_AHEAD_MAX + 500);
                Some(self.spend(&[input(coin)], coin.amount, far))
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

    /// A transaction that executes if everything before it does. Its outputs may be spent at once.
    fn good(&mut self, expiry: Round) -> Option<Bytes> {
        let mut coins = vec![self.take_coin()?];
        if self.prng.chance(1, 4) {
            coins.extend(self.take_coin());
        }
        coins.sort_by_key(|coin| coin.id);
        coins.dedup_by_key(|coin| coin.id);
        let inputs: Vec<Input> = coins.iter().map(|coin| input(*coin)).collect();
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
            output_shard: SHARD,
            outputs: &outputs,
            expiries: &[Expiry { shard: SHARD, round: expiry }],
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
}

fn input(coin: Coin) -> Input {
    Input { shard: SHARD, coin: coin.id, amount: coin.amount }
}
