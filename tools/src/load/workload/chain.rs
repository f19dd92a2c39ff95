//! A chain of coins, and the transaction that has its coin.

use bft::transaction::{Expiry, Input};
use wire::ids::{CoinId, NodeId, Round, ShardId, TxId};

use crate::load::transactions::{End, Ended, TransactionLog};

/// Each transaction of a chain spends the coin that the last one created.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    /// The shard that holds its coin.
    pub(super) shard: ShardId,
    pub(super) coin: CoinId,
    /// The coin it had before, if that was in the same shard: it is spent.
    pub(super) previous: Option<CoinId>,
    /// Coins as which `coin` may have been given back.
    pub(super) refunds: Vec<CoinId>,
    pub(super) amount: u64,
    pub(super) state: State,
}

#[derive(Clone, Debug)]
pub(super) enum State {
    Idle,
    Open(Open),
    /// Its coin is in a transaction of which another chain keeps the books.
    Joined,
    /// It does not know which coin it has.
    Doubtful,
    /// Its transaction was lost, refused for good, or rejected for no known reason.
    Dead,
}

#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) id: TxId,
    /// The node it was handed to, or handed on to.
    pub(super) node: NodeId,
    /// The node at which its chain goes on.
    pub(super) home: NodeId,
    /// Among the open ones of its node.
    pub(super) position: usize,
    pub(super) intended_us: u64,
    pub(super) sent_us: u64,
    pub(super) counter: u64,
    /// In its shard, for a transaction within it.
    pub(super) expiry: Round,
    /// If it crosses shards.
    pub(super) cross: Option<Box<Cross>>,
    pub(super) query: Query,
}

/// Whether its node was queried for the fate of an open transaction, or was handed it again or instead of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Query {
    Never,
    Made,
    /// Another node has it or had it, and is silent: a refusal for want of room does not end it.
    HandedOn,
    /// It was queried or handed on, and its node has refused it as spent, which may mean that it has executed it. If
    /// the node does not know it even then, the refusal stands.
    RefusedSpent,
}

/// The parts of a transaction that crosses shards, so that it can be written again to the byte.
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

/// Writes down how a transaction ended, if it is one of those that are.
pub(super) fn log_end(
    log: &mut Option<TransactionLog>,
    open: &Open,
    shard: ShardId,
    end: End,
    receipt_us: Option<u64>,
) {
    let Some(log) = log.as_mut().filter(|log| log.wants(open.counter)) else { return };
    let crossed: Option<Vec<ShardId>> =
        open.cross.as_ref().map(|cross| cross.inputs.iter().map(|input| input.shard).collect());
    log.add(&Ended {
        id: open.id,
        intended_us: open.intended_us,
        sent_us: open.sent_us,
        receipt_us,
        contact: open.node,
        input_shards: crossed.as_deref().unwrap_or(&[shard]),
        output_shard: open.cross.as_ref().map_or(shard, |cross| cross.output_shard),
        is_cross: open.cross.is_some(),
        end,
    });
}
