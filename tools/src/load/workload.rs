//! The transactions of a load and what became of each: pure bookkeeping, no socket and no clock.
//!
//! Every genesis coin is the head of a *chain*: its next transaction spends the coin that the chain has and creates
//! the next one, and goes out only after the receipt of the last. So all transactions are valid, none waits for
//! another, and the ledger holds as many coins at the end as at the start. Each chain belongs to one node at a time, a
//! member of the shard that holds its coin, to which its transactions are handed.
//!
//! A transaction is *open* from being handed over to its final receipt. When its node dies for good it is an
//! *orphan*: asked for at others, and counted as orphaned if nobody tells its fate. When a node only lost its
//! connection, its open ones are asked for again, and handed over again if the node does not know them.
//!
//! Cost: about a microsecond a transaction, most of it two hashes (TxId, next coin) and the map; some 200 bytes of
//! memory a chain.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use bft::transaction::{self, Expiry, Input, Output, Owner, Transaction};
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};
use wire::client::{Fate, Receipt, Refusal};
use wire::committee::Committee;
use wire::ids::{CoinId, NodeId, Round, ShardId, Signature, TxId};

use super::tally::{Heights, Tally};

/// Bytes of the payload that make a transaction unlike every other of its chain.
const COUNTER_BYTES: usize = 8;
/// How long a chain rests whose transaction was refused for want of room, so that the load does not hammer a full
/// node.
const REST_US: u64 = 50_000;

/// Length of the shortest transaction of a load.
pub(crate) fn transaction_bytes_min(signed: bool) -> usize {
    transaction::encoded_bytes(1, 1, 1, usize::from(signed), COUNTER_BYTES)
}

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
    chains: Vec<Chain>,
    /// The chain of each open transaction.
    by_id: IdMap<u32>,
    /// The fates of those that had been asked for: an answer may cross the receipt and say it again.
    asked_and_told: IdMap<Fate>,
    pools: Vec<Pool>,
    tally: Tally,
    /// By shard.
    heights: Vec<Heights>,
}

type IdMap<T> = HashMap<TxId, T, BuildHasherDefault<FirstBytes>>;

/// What belongs to one node.
#[derive(Clone, Debug, Default)]
struct Pool {
    idle: Vec<u32>,
    /// Chains that rest, and until when; ascending.
    resting: VecDeque<(u64, u32)>,
    open: usize,
    /// Transactions to be handed over again.
    again: Vec<u32>,
    /// Transactions to be asked for.
    ask: Vec<TxId>,
    is_gone: bool,
}

#[derive(Clone, Debug)]
struct Chain {
    /// The shard that holds its coin.
    shard: ShardId,
    coin: CoinId,
    amount: u64,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Idle,
    Open(Open),
    /// Its coin is not what the ledger says: it cannot go on.
    Dead,
}

#[derive(Clone, Debug)]
struct Open {
    id: TxId,
    node: NodeId,
    intended_us: u64,
    counter: u64,
    expiry: Round,
    was_asked_for: bool,
}

/// How a chain goes on after the fate of its transaction.
enum Then {
    Now,
    After(u64),
    Never,
}

impl Workload {
    /// The chains of all genesis coins, spread over all nodes; transactions of `tx_bytes` bytes.
    ///
    /// # Panics
    /// If `tx_bytes` is below [`transaction_bytes_min`]: callers check their flags.
    pub(crate) fn new(committee: &Arc<Committee>, tx_bytes: usize, seed: u64) -> Workload {
        let mut chains = Vec::new();
        let mut pools = vec![Pool::default(); committee.nodes().count()];
        for shard in (0..committee.shards()).map(ShardId) {
            let members: Vec<NodeId> = committee.members(shard).collect();
            for index in 0..committee.protocol().genesis_coins {
                let owner = members[index as usize % members.len()];
                pools[usize::from(owner.0)].idle.push(chains.len() as u32);
                let coin = transaction::genesis_coin(&committee.testbed(), shard, index);
                let amount = committee.protocol().genesis_amount;
                chains.push(Chain { shard, coin, amount, state: State::Idle });
            }
        }
        Workload {
            maker: Maker::new(committee.clone(), tx_bytes, seed),
            by_id: IdMap::default(),
            asked_and_told: IdMap::default(),
            chains,
            pools,
            tally: Tally::of_shards(committee.shards()),
            heights: vec![Heights::default(); usize::from(committee.shards())],
        }
    }

    /// The tally so far.
    pub(crate) fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// How many receipts named each height of each shard, taken out once the load is over.
    pub(crate) fn take_heights(&mut self) -> BTreeMap<(ShardId, Round), u64> {
        let by_shard = (0..).map(ShardId).zip(std::mem::take(&mut self.heights));
        let of_shard = |(shard, heights): (ShardId, Heights)| {
            heights.into_counts().into_iter().map(move |(height, count)| ((shard, height), count))
        };
        by_shard.flat_map(of_shard).collect()
    }

    /// Transactions of `node` without a fate.
    pub(crate) fn open_at(&self, node: NodeId) -> usize {
        self.pool(node).open
    }

    /// Transactions without a fate whose node may still tell it, and those whose node is gone.
    pub(crate) fn in_flight_and_orphaned(&self) -> (u64, u64) {
        let sum = |is_gone| {
            let pools = self.pools.iter().filter(|pool| pool.is_gone == is_gone);
            pools.map(|pool| pool.open as u64).sum()
        };
        (sum(false), sum(true))
    }

    /// Appends the next transaction for `node` to the list in `out`; `false` if all its chains wait.
    pub(crate) fn make(
        &mut self,
        node: NodeId,
        expiry: Round,
        intended_us: u64,
        now_us: u64,
        out: &mut Vec<u8>,
    ) -> bool {
        let pool = &mut self.pools[usize::from(node.0)];
        while pool.resting.front().is_some_and(|(until_us, _)| *until_us <= now_us) {
            pool.idle.extend(pool.resting.pop_front().map(|(_, index)| index));
        }
        // The one that came back last: what is used often stays in the processor's caches.
        let Some(index) = pool.idle.pop() else { return false };
        pool.open += 1;
        let chain = &mut self.chains[index as usize];
        let counter = self.tally.submitted;
        let id = self.maker.write(chain, counter, expiry, out);
        chain.state = State::Open(Open { id, node, intended_us, counter, expiry, was_asked_for: false });
        self.by_id.insert(id, index);
        self.tally.submitted += 1;
        true
    }

    /// Appends a transaction that is to be handed to `node` again; `false` if there is none.
    pub(crate) fn make_again(&mut self, node: NodeId, out: &mut Vec<u8>) -> bool {
        while let Some(index) = self.pool_mut(node).again.pop() {
            let chain = &self.chains[index as usize];
            if let State::Open(open) = &chain.state {
                let id = self.maker.write(chain, open.counter, open.expiry, out);
                assert_eq!(id, open.id, "a transaction is made of what its chain remembers");
                self.tally.resubmitted += 1;
                return true;
            }
        }
        false
    }

    /// Takes up to `max` ids that `node` is to be asked for.
    pub(crate) fn take_asks(&mut self, node: NodeId, max: usize) -> Vec<TxId> {
        let ask = &mut self.pool_mut(node).ask;
        ask.split_off(ask.len().saturating_sub(max))
    }

    /// Has all open transactions of `node` asked for: its connection was lost, or the run ends.
    pub(crate) fn ask_for_all_of(&mut self, node: NodeId) {
        self.ask(node, node);
    }

    /// Has the open transactions of nodes of the same shard that are gone asked for at `node`.
    pub(crate) fn ask_for_orphans_at(&mut self, node: NodeId) {
        let gone = self.members_of(node).filter(|node| self.pool(*node).is_gone);
        gone.collect::<Vec<_>>().into_iter().for_each(|owner| self.ask(owner, node));
    }

    /// Gives the chains of a node that is gone for good to the others; what is open there is orphaned.
    pub(crate) fn node_is_gone(&mut self, node: NodeId) {
        let pool = self.pool_mut(node);
        pool.is_gone = true;
        pool.again.clear();
        pool.ask.clear();
        let resting: Vec<u32> = pool.resting.drain(..).map(|(_, index)| index).collect();
        let chains: Vec<u32> = pool.idle.drain(..).chain(resting).collect();
        for index in chains {
            if let Some(heir) = self.heir(node, index) {
                self.pool_mut(heir).idle.push(index);
            }
        }
    }

    /// Takes a receipt of `node`.
    pub(crate) fn on_receipt(
        &mut self,
        node: NodeId,
        receipt: &Receipt,
        now_us: u64,
        when_unknown: WhenUnknown,
    ) {
        let Some(&index) = self.by_id.get(&receipt.id) else {
            // It had its fate before, or is nothing that we ever sent.
            let crossed = self.asked_and_told.get(&receipt.id) == Some(&receipt.fate);
            self.tally.duplicated += u64::from(is_final(receipt.fate) && !crossed);
            return;
        };
        let State::Open(open) = &self.chains[index as usize].state else {
            unreachable!("the map knows open transactions only")
        };
        let open = open.clone();
        self.on_fate(node, index, &open, receipt.fate, now_us, when_unknown);
    }

    fn on_fate(
        &mut self,
        node: NodeId,
        index: u32,
        open: &Open,
        fate: Fate,
        now_us: u64,
        when_unknown: WhenUnknown,
    ) {
        match fate {
            Fate::Finished(height) => {
                let chain = &mut self.chains[index as usize];
                chain.coin = transaction::output_coin(&open.id, 0);
                self.heights[usize::from(chain.shard.0)].add(height);
                self.tally.finished(chain.shard, height, now_us.saturating_sub(open.intended_us));
                self.close(index, fate, Then::Now);
            }
            Fate::Rejected(reason) => {
                *self.tally.rejected.entry(reason).or_default() += 1;
                self.close(index, fate, Then::Never);
            }
            Fate::Expired => {
                self.tally.expired += 1;
                self.close(index, fate, Then::Now);
            }
            // Of a transaction that was asked for, these say only that this node has it, or has executed it.
            Fate::Refused(Refusal::Duplicate | Refusal::Spent) if open.was_asked_for => {
                self.pool_mut(node).ask.push(open.id);
            }
            // Another node than its own can neither refuse it nor know that it does not exist.
            Fate::Refused(_) | Fate::Unknown if node != open.node => {}
            Fate::Refused(reason) => {
                *self.tally.refused.entry(reason).or_default() += 1;
                let then = match reason {
                    Refusal::Full | Refusal::ClientShare | Refusal::Following => {
                        Then::After(now_us + REST_US)
                    }
                    Refusal::Expired => Then::Now,
                    Refusal::Invalid
                    | Refusal::TooLarge
                    | Refusal::WrongShard
                    | Refusal::Duplicate
                    | Refusal::Spent
                    | Refusal::ExpiryTooFar => Then::Never,
                };
                self.close(index, fate, then);
            }
            Fate::Unknown => match when_unknown {
                WhenUnknown::Resubmit => self.pool_mut(node).again.push(index),
                WhenUnknown::CountAsLost => {
                    self.tally.lost += 1;
                    self.close(index, fate, Then::Never);
                }
            },
        }
    }

    /// Ends the open transaction of a chain.
    fn close(&mut self, index: u32, fate: Fate, then: Then) {
        let chain = &mut self.chains[index as usize];
        let state = if matches!(then, Then::Never) { State::Dead } else { State::Idle };
        let State::Open(open) = std::mem::replace(&mut chain.state, state) else {
            unreachable!("only an open transaction is closed")
        };
        self.by_id.remove(&open.id);
        if open.was_asked_for {
            self.asked_and_told.insert(open.id, fate);
        }
        self.pool_mut(open.node).open -= 1;
        // Without an heir there is no node left to hand anything to.
        let Some(heir) = self.heir(open.node, index) else { return };
        match then {
            Then::Now => self.pool_mut(heir).idle.push(index),
            Then::After(us) => self.pool_mut(heir).resting.push_back((us, index)),
            Then::Never => {}
        }
    }

    /// Which node the chain of `node` goes on with: that one, or another member of its shard if it is gone; the same
    /// one each time, and another for the next chain.
    fn heir(&self, node: NodeId, index: u32) -> Option<NodeId> {
        if !self.pool(node).is_gone {
            return Some(node);
        }
        let up: Vec<NodeId> = self.members_of(node).filter(|node| !self.pool(*node).is_gone).collect();
        (!up.is_empty()).then(|| up[index as usize / self.maker.committee.n() % up.len()])
    }

    /// Notes that the open transactions of `owner` are to be asked for at `at`.
    fn ask(&mut self, owner: NodeId, at: NodeId) {
        let mut ids = Vec::new();
        for chain in &mut self.chains {
            if let State::Open(open) = &mut chain.state
                && open.node == owner
            {
                open.was_asked_for = true;
                ids.push(open.id);
            }
        }
        self.pool_mut(at).ask.extend(ids);
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

/// Whether a fate is the end of a transaction everywhere.
fn is_final(fate: Fate) -> bool {
    matches!(fate, Fate::Finished(_) | Fate::Rejected(_) | Fate::Expired)
}

/// Writes transactions.
struct Maker {
    committee: Arc<Committee>,
    /// Owns all coins of the load, genesis and later ones.
    key: SigningKey,
    owner: Owner,
    tx_bytes: usize,
    /// Random bytes, of which the head is overwritten with the counter each time.
    payload: Vec<u8>,
}

impl Maker {
    fn new(committee: Arc<Committee>, tx_bytes: usize, seed: u64) -> Maker {
        let least = transaction_bytes_min(committee.protocol().signed);
        assert!(tx_bytes >= least, "transactions have at least {least} bytes");
        Maker {
            key: SigningKey::from_bytes(&transaction::genesis_secret(&committee.testbed())),
            owner: transaction::genesis_owner(&committee.testbed()),
            tx_bytes,
            payload: seeded_bytes(seed, tx_bytes - least + COUNTER_BYTES),
            committee,
        }
    }

    /// Appends the transaction that spends the chain's coin as an item of a list (see `wire::client::list`).
    fn write(&mut self, chain: &Chain, counter: u64, expiry: Round, out: &mut Vec<u8>) -> TxId {
        self.payload[..COUNTER_BYTES].copy_from_slice(&counter.to_le_bytes());
        let transaction = Transaction {
            inputs: &[Input { shard: chain.shard, coin: chain.coin, amount: chain.amount }],
            output_shard: chain.shard,
            outputs: &[Output { owner: self.owner, amount: chain.amount }],
            expiries: &[Expiry { shard: chain.shard, round: expiry }],
            payload: &self.payload,
        };
        // The length is known before, so the transaction is written where it is to stand.
        out.extend((self.tx_bytes as u32).to_le_bytes());
        let start = out.len();
        if self.committee.protocol().signed {
            transaction.encode_signed_into(out, &self.committee.testbed(), |_, message| {
                Signature::from_bytes(self.key.sign(message).to_bytes())
            });
        } else {
            transaction.encode_into(out);
        }
        assert_eq!(out.len() - start, self.tx_bytes, "the payload fills the transaction up to its length");
        transaction::tx_id(&out[start..])
    }
}

/// `count` bytes that look random and depend on `seed` alone.
fn seeded_bytes(seed: u64, count: usize) -> Vec<u8> {
    let block = |index: u64| -> [u8; 32] {
        let hash = Sha256::new().chain_update(b"workload payload");
        hash.chain_update(seed.to_le_bytes()).chain_update(index.to_le_bytes()).finalize().into()
    };
    (0..).flat_map(block).take(count).collect()
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
