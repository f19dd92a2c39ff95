//! The input shard's side: transactions that members of their output shard asked us to order.
//!
//! What an order names is proposed by its home at once and by the others only when the home seems not to
//! ([`crate::shard::home`]). It leaves the list when a block spends its inputs or rejects it, when it can never execute
//! here, or when another of its shards is believed to reject it while it is not proposed yet: then nothing needs to
//! be ordered at all.

use wire::bytes::Bytes;
use wire::ids::{Index, NodeId, Round, ShardId, TxId};

use crate::ledger::Ledger;
use crate::mempool::Mempool;
use crate::mempool::list::{Open, Owner, Phase};
use crate::shard::home::Since;
use crate::time::Time;
use crate::transaction::TransactionView;

/// A transaction that somebody asks us to order. It is statically valid, fits a proposal, has an input here, and the
/// ledger says that it may execute.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Who asks.
    pub from: NodeId,
    /// The transaction.
    pub id: TxId,
    /// Its bytes.
    pub transaction: TransactionView<'a>,
    /// Its last round here.
    pub expiry: Round,
    /// Who is to propose it; `None` if we are.
    pub home: Option<Index>,
    /// When it came.
    pub since: Since,
}

/// What became of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ordered {
    /// It is on the list.
    Listed,
    /// It was on the list.
    Known,
    /// Its sender fills its part of the list; it will ask again.
    Full,
}

impl Mempool {
    /// Lists what another member asks us to order.
    pub fn order(&mut self, order: &Order<'_>, ledger: &Ledger) -> Ordered {
        let hashed = self.list.hash(&order.id);
        if self.list.find_hashed(hashed, &order.id).is_some() {
            return Ordered::Known;
        }
        let length = order.transaction.bytes().len() as u64;
        let nodes = ledger.committee().nodes().count() as u64;
        if !self.accounts.has_room(order.from, nodes, length) {
            return Ordered::Full;
        }
        // A copy of its own: a message must not stay in memory for the sake of one transaction of it.
        let bytes = Bytes::from(order.transaction.bytes().to_vec());
        let phase = match order.home {
            None => Phase::Waiting(bytes),
            Some(home) => Phase::Backup { bytes, home, since: order.since },
        };
        let owner = Owner::Peer(order.from);
        let open = Open { id: order.id, owner, expiry: order.expiry, checked: order.since.round, phase };
        self.list.insert(hashed, open);
        self.accounts.add_of_peer(order.from, length);
        Ordered::Listed
    }

    /// Another shard is believed to reject this transaction: it leaves the list unless it is proposed already.
    pub fn on_believed(&mut self, id: &TxId) {
        self.unlist(id);
    }

    /// Has backups wait to be proposed whose home has had its chance. `idle_cuts` tells of a member how many decided
    /// cuts its lane has not advanced for.
    pub fn promote(&mut self, now: Time, height: Round, idle_cuts: impl Fn(Index) -> u64) {
        self.list.promote(now, height, idle_cuts);
    }

    /// When [`Mempool::promote`] has something to do though no round passes.
    pub fn next_wakeup(&self, height: Round) -> Option<Time> {
        self.list.next_due(height)
    }

    /// Takes a cross-shard transaction off the list, if it is there and in no proposal of ours.
    pub(super) fn unlist(&mut self, id: &TxId) {
        let Some(place) = self.list.find(id) else { return };
        let open = self.list.get(place);
        let proposed = matches!(open.phase, Phase::Proposed);
        if !proposed && !matches!(open.owner, Owner::Client { .. }) {
            self.free(place);
        }
    }
}

/// All shards of a transaction but one, ascending.
pub(crate) fn other_shards(transaction: &TransactionView<'_>, but: ShardId) -> Vec<ShardId> {
    let inputs = transaction.expiries().map(|expiry| expiry.shard);
    let mut shards: Vec<ShardId> = inputs.chain([transaction.output_shard()]).collect();
    shards.retain(|shard| *shard != but);
    shards.sort_unstable();
    shards.dedup();
    shards
}
