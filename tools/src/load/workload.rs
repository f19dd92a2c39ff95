//! The transactions of a load and what became of each: pure bookkeeping, no socket and no clock.
//!
//! Every coin that is unspent at the beginning is the head of a *chain*: its next transaction spends the coin that the
//! chain has and creates the next one, and goes out only after the receipt of the last. So all transactions are valid,
//! none waits for another, and the ledger holds as many coins at the end as at the start. Each chain belongs to one
//! node at a time, a member of the shard that holds its coin, to which its transactions are handed. [`cross`] moves
//! chains between shards and spoils inputs on purpose, [`fates`] lets them go on after a receipt, [`doubt`] after one
//! that leaves them in doubt.
//!
//! *Expected* is the rejection of a transaction with an input that was spoiled on purpose, or with one whose chain
//! could not know what had become of its coin. Every other rejection is unexpected.
//!
//! A transaction is *open* from being handed over to its final receipt. While its node is silent or gone it is handed
//! on to another member ([`handing_on`]); where no member is left it is an *orphan*. When a node only lost its
//! connection, the node is queried for its open ones, which are handed over again if it does not know them.
//!
//! Cost: about a microsecond a transaction, most of it two hashes (TxId, next coin) and the map; some 200 bytes of
//! memory a chain.

mod chain;
mod cross;
mod doubt;
mod fates;
mod handing_on;
mod idle;
mod maker;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bft::transaction::{self, Expiry, Input};
use wire::client::Fate;
use wire::committee::{Committee, Protocol};
use wire::ids::{CoinId, Index, NodeId, Round, ShardId, TxId};

use self::chain::{Chain, Cross, Open, Query, State, log_end};
use self::cross::Drawer;
use self::idle::Idle;
use self::maker::Maker;
use super::mix::Mix;
use super::tally::{Finished, Heights, Tally};
use super::transactions::{End, TransactionLog};

pub(crate) use self::maker::transaction_bytes_min;

/// How the load treats a transaction that its node does not know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WhenUnknown {
    /// It was lost on the way to the node: hand it over again.
    Resubmit,
    /// The run is over: it is lost.
    CountAsLost,
}

/// All chains of a load and the tally.
pub(crate) struct Workload {
    maker: Maker,
    drawer: Drawer,
    chains: Vec<Chain>,
    idle: Idle,
    /// Chains that rest: until when, and the node they go on at; ascending.
    resting: VecDeque<(u64, NodeId, u32)>,
    /// Transactions that were handed on and found no room: when they are asked for again; ascending.
    to_retry: VecDeque<(u64, TxId)>,
    /// By shard: its nodes that are not gone, ascending.
    up: Vec<Vec<NodeId>>,
    /// The chain that keeps the books of each open transaction.
    by_id: IdMap<u32>,
    /// The fates of queried transactions: an answer may cross the receipt and repeat it.
    queried: IdMap<Fate>,
    pools: Vec<Pool>,
    tally: Tally,
    log: Option<TransactionLog>,
    /// Open transactions whose node is gone.
    orphaned: u64,
    /// Chains that have stopped.
    dead: u64,
    /// Of transactions within a shard, by shard.
    heights: Vec<Heights>,
    /// Of those that came from others, by output shard.
    heights_cross: Vec<Heights>,
}

type IdMap<T> = HashMap<TxId, T, BuildHasherDefault<FirstBytes>>;

/// The work of one node.
#[derive(Clone, Debug, Default)]
struct Pool {
    /// Chains whose transactions are open here, in no order.
    open: Vec<u32>,
    /// Transactions to be handed over again.
    again: Vec<u32>,
    /// Transactions whose fate is to be queried.
    to_query: BTreeSet<TxId>,
    /// Chains that do not know their coin, and until when they rest; ascending.
    doubtful: VecDeque<(u64, u32)>,
    /// Chains whose coins were requested from the node, which has not answered.
    coins_requested: Vec<u32>,
    is_gone: bool,
    /// Whether nothing comes from the node, so that others take its chains.
    is_silent: bool,
}

/// Unspent coins with their amounts.
pub(crate) type Coins = Vec<(CoinId, u64)>;

/// The genesis coins of each shard that a load may spend.
pub(crate) fn genesis_coins(committee: &Committee) -> Vec<Coins> {
    let Protocol { genesis_coins, genesis_amount, .. } = *committee.protocol();
    let coin = |shard, index| transaction::genesis_coin(&committee.testbed(), shard, index);
    let count = genesis_coins - spare_count(committee);
    let of_shard = |shard| (0..count).map(|index| (coin(shard, index), genesis_amount)).collect();
    (0..committee.shards()).map(|shard| of_shard(ShardId(shard))).collect()
}

/// The genesis coins of a shard that no load spends, so that single transactions can be submitted beside one.
pub(crate) fn spare_coins(committee: &Committee, shard: ShardId) -> Vec<CoinId> {
    let count = committee.protocol().genesis_coins;
    let spare = count - spare_count(committee)..count;
    spare.map(|index| transaction::genesis_coin(&committee.testbed(), shard, index)).collect()
}

/// How many these are: none in a shard with few.
fn spare_count(committee: &Committee) -> u64 {
    const SPARE: u64 = 64;
    if committee.protocol().genesis_coins < 10_000 { 0 } else { SPARE }
}

impl Workload {
    /// The chains of these coins, by shard, spread over all nodes; transactions of `tx_bytes` bytes.
    ///
    /// # Panics
    /// If `tx_bytes` is below [`transaction_bytes_min`]: callers check their flags.
    pub(crate) fn new(
        committee: &Arc<Committee>,
        coins: Vec<Coins>,
        tx_bytes: usize,
        seed: u64,
        mix: Mix,
    ) -> Workload {
        let mut chains = Vec::new();
        let mut idle = Idle::new(committee);
        for (shard, coins) in (0..).map(ShardId).zip(coins) {
            let members = committee.members(shard).collect::<Vec<NodeId>>().into_iter().cycle();
            for ((coin, amount), owner) in coins.into_iter().zip(members) {
                idle.push(owner, chains.len() as u32);
                let refunds = Vec::new();
                chains.push(Chain { shard, coin, previous: None, refunds, amount, state: State::Idle });
            }
        }
        Workload {
            maker: Maker::new(committee.clone(), tx_bytes, seed),
            drawer: Drawer::new(mix, seed),
            by_id: IdMap::default(),
            queried: IdMap::default(),
            chains,
            idle,
            resting: VecDeque::new(),
            to_retry: VecDeque::new(),
            up: (0..committee.shards()).map(|shard| committee.members(ShardId(shard)).collect()).collect(),
            pools: vec![Pool::default(); committee.nodes().count()],
            tally: Tally::of_shards(committee.shards()),
            log: None,
            orphaned: 0,
            dead: 0,
            heights: vec![Heights::default(); usize::from(committee.shards())],
            heights_cross: vec![Heights::default(); usize::from(committee.shards())],
        }
    }

    /// The chains of the genesis coins.
    #[cfg(test)]
    pub(crate) fn genesis(committee: &Arc<Committee>, tx_bytes: usize, seed: u64, mix: Mix) -> Workload {
        Workload::new(committee, genesis_coins(committee), tx_bytes, seed, mix)
    }

    /// The tally so far.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The tally, for what the engine knows.
    pub(crate) fn tally_mut(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// Has what becomes of transactions written down.
    pub(crate) fn log_to(&mut self, log: TransactionLog) {
        self.log = Some(log);
    }

    /// Writes down some of the transactions of these numbers, which were never sent, by when they were intended.
    pub(crate) fn log_unsent(&mut self, numbers: Range<u64>, intended_us: impl Fn(u64) -> u64) {
        if let Some(log) = &mut self.log {
            log.add_unsent(numbers, intended_us);
        }
    }

    /// Writes down what is still open, and ends the log if there is one.
    pub(crate) fn finish_log(&mut self) -> io::Result<()> {
        for chain in &self.chains {
            if let State::Open(open) = &chain.state {
                let end =
                    if self.pools[usize::from(open.node.0)].is_gone { End::Orphaned } else { End::InFlight };
                log_end(&mut self.log, open, chain.shard, end, None);
            }
        }
        self.log.take().map_or(Ok(()), TransactionLog::finish)
    }

    /// How many receipts named each height of each shard, taken out once the load is over.
    pub(crate) fn take_heights(&mut self) -> BTreeMap<(ShardId, Round), Finished> {
        let mut all: BTreeMap<(ShardId, Round), Finished> = BTreeMap::new();
        for (shard, heights) in (0..).map(ShardId).zip(std::mem::take(&mut self.heights)) {
            for (height, count) in heights.into_counts() {
                all.entry((shard, height)).or_default().intra = count;
            }
        }
        for (shard, heights) in (0..).map(ShardId).zip(std::mem::take(&mut self.heights_cross)) {
            for (height, count) in heights.into_counts() {
                all.entry((shard, height)).or_default().cross = count;
            }
        }
        all
    }

    /// How many chains there are.
    pub(crate) fn chains(&self) -> usize {
        self.chains.len()
    }

    /// Transactions of `node` without a fate.
    pub(crate) fn open_at(&self, node: NodeId) -> usize {
        self.pool(node).open.len()
    }

    /// All transactions without a fate.
    pub(crate) fn open(&self) -> u64 {
        self.by_id.len() as u64
    }

    /// Transactions without a fate whose node may still send it, and those whose node is gone.
    pub(crate) fn in_flight_and_orphaned(&self) -> (u64, u64) {
        (self.open() - self.orphaned, self.orphaned)
    }

    /// Appends the next transaction for `node` to the list in `out`; `false` if the chains that it would need wait.
    /// `expiries` are by shard.
    pub(crate) fn make(
        &mut self,
        node: NodeId,
        expiries: &[Round],
        intended_us: u64,
        now_us: u64,
        out: &mut Vec<u8>,
    ) -> bool {
        self.release(now_us);
        let (index, home, cross) = if self.drawer.draws_cross() {
            let Some(cross) = self.draw_cross(node, expiries) else { return false };
            (cross.chains[0], node, Some(cross))
        } else {
            let own = self.idle.pop(node).map(|index| (index, node));
            let Some((index, home)) = own.or_else(|| self.borrow(node)) else { return false };
            (index, home, None)
        };
        self.tally.handed_over(cross.as_ref().is_some_and(|cross| cross.is_spoiled()), now_us);
        for joined in cross.iter().flat_map(|cross| &cross.chains) {
            self.chains[*joined as usize].state = State::Joined;
        }
        let counter = self.tally.submitted;
        let expiry = expiries[usize::from(self.maker.committee.shard_of(node).0)];
        let id = TxId::default();
        let (position, sent_us, query) = (self.open_at(node), now_us, Query::Never);
        let mut open = Open { id, node, home, position, intended_us, sent_us, counter, expiry, cross, query };
        open.id = self.write(index, &open, out);
        self.pool_mut(node).open.push(index);
        self.by_id.insert(open.id, index);
        self.chains[index as usize].state = State::Open(open);
        true
    }

    /// Takes idle chains for a transaction that crosses shards to that of `contact`; `None` if all chains of a
    /// shard that it would need wait.
    fn draw_cross(&mut self, contact: NodeId, expiries: &[Round]) -> Option<Box<Cross>> {
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

    /// Appends the open transaction of a chain.
    fn write(&mut self, index: u32, open: &Open, out: &mut Vec<u8>) -> TxId {
        match &open.cross {
            Some(cross) => {
                self.maker.write(&cross.inputs, cross.output_shard, &cross.expiries, open.counter, out)
            }
            None => {
                let Chain { shard, coin, amount, .. } = self.chains[index as usize];
                let expiries = [Expiry { shard, round: open.expiry }];
                self.maker.write(&[Input { shard, coin, amount }], shard, &expiries, open.counter, out)
            }
        }
    }

    /// Makes the chains idle that have rested.
    fn release(&mut self, now_us: u64) {
        while let Some(&(until_us, node, index)) = self.resting.front()
            && until_us <= now_us
        {
            self.resting.pop_front();
            self.make_idle(index, node);
        }
    }

    /// Lets a chain go on at a node, or at another member of its shard if that is gone. Without one there is no node
    /// left to hand anything to.
    fn make_idle(&mut self, index: u32, node: NodeId) {
        if let Some(node) = self.successor(node, index) {
            self.idle.push(node, index);
        }
    }

    /// Appends a transaction that is to be handed to `node` again; `false` if there is none.
    pub(crate) fn make_again(&mut self, node: NodeId, out: &mut Vec<u8>) -> bool {
        while let Some(index) = self.pool_mut(node).again.pop() {
            if let State::Open(open) = &self.chains[index as usize].state
                && open.node == node
            {
                let open = open.clone();
                let id = self.write(index, &open, out);
                assert_eq!(id, open.id, "a transaction is made of what its chain remembers");
                let query = if open.query == Query::Never { Query::Made } else { open.query };
                self.chains[index as usize].state = State::Open(Open { query, ..open });
                self.tally.resubmitted += 1;
                return true;
            }
        }
        false
    }

    /// Takes up to `max` ids that are to be queried at `node`.
    pub(crate) fn take_queries(&mut self, node: NodeId, max: usize) -> Vec<TxId> {
        let ids = &mut self.pool_mut(node).to_query;
        std::iter::from_fn(|| ids.pop_first()).take(max).collect()
    }

    /// The connection to `node` is new: what the last one carried may be lost.
    pub(crate) fn connected_anew(&mut self, node: NodeId) {
        self.forget_coin_request(node);
        self.query_all_of(node);
    }

    /// Queries `node` for all its open transactions: its connection was lost, or the run ends.
    pub(crate) fn query_all_of(&mut self, node: NodeId) {
        self.query(node, node);
    }

    /// Queries `node` for the open transactions of nodes of its shard that are gone.
    pub(crate) fn query_orphans_at(&mut self, node: NodeId) {
        let gone = self.members_of(node).filter(|node| self.pool(*node).is_gone);
        gone.collect::<Vec<_>>().into_iter().for_each(|owner| self.query(owner, node));
    }

    /// Gives the chains of a node that is gone for good to the others; what is open there is orphaned.
    pub(crate) fn node_is_gone(&mut self, node: NodeId) {
        self.forget_coin_request(node);
        let shard = self.maker.committee.shard_of(node);
        self.up[usize::from(shard.0)].retain(|other| *other != node);
        let pool = self.pool_mut(node);
        let orphaned = if pool.is_gone { 0 } else { pool.open.len() as u64 };
        pool.is_gone = true;
        pool.again.clear();
        pool.to_query.clear();
        let doubtful = std::mem::take(&mut pool.doubtful);
        self.orphaned += orphaned;
        for index in self.idle.take(node) {
            self.make_idle(index, node);
        }
        for (_, index) in doubtful {
            if let Some(successor) = self.successor(node, index) {
                self.pool_mut(successor).doubtful.push_front((0, index));
            }
        }
    }

    /// The member of its shard with which a chain goes on that no transaction binds to one.
    fn home(&self, index: u32) -> NodeId {
        let committee = &self.maker.committee;
        committee.node_at(self.chains[index as usize].shard, Index((index as usize % committee.n()) as u16))
    }

    /// Which node the chain of `node` goes on with: that one, or another member of its shard if it is gone; the same
    /// one each time, and another for the next chain.
    fn successor(&self, node: NodeId, index: u32) -> Option<NodeId> {
        if !self.pool(node).is_gone {
            return Some(node);
        }
        let committee = &self.maker.committee;
        let up = &self.up[usize::from(committee.shard_of(node).0)];
        let turn = (index as usize / committee.n()).checked_rem(up.len())?;
        Some(up[turn])
    }

    /// Notes that the fates of the open transactions of `owner` are to be queried at `at`.
    fn query(&mut self, owner: NodeId, at: NodeId) {
        let Workload { pools, chains, .. } = self;
        let ids = pools[usize::from(owner.0)].open.iter().map(|index| {
            let State::Open(open) = &mut chains[*index as usize].state else {
                unreachable!("the list knows open transactions only")
            };
            if open.query == Query::Never {
                open.query = Query::Made;
            }
            open.id
        });
        let ids: Vec<TxId> = ids.collect();
        self.pool_mut(at).to_query.extend(ids);
    }

    /// The members of a node's shard.
    fn members_of(&self, node: NodeId) -> impl Iterator<Item = NodeId> + use<> {
        let committee = &self.maker.committee;
        committee.members(committee.shard_of(node))
    }

    fn pool(&self, node: NodeId) -> &Pool {
        &self.pools[usize::from(node.0)]
    }

    fn pool_mut(&mut self, node: NodeId) -> &mut Pool {
        &mut self.pools[usize::from(node.0)]
    }
}

/// Hashes a TxId to its first bytes: it is a SHA-256 digest already. Only our own transactions are in the map, so
/// nobody else chooses what is.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests;
