//! The connection to one node, and the submission that is being filled for it.

use std::time::{Duration, Instant};

use wire::client::{Request, list};
use wire::ids::{NodeId, Round};
use wire::limits::{QUERY_IDS_MAX, SUBMISSION_TRANSACTIONS_MAX};

use crate::client::{Connection, Readiness};
use crate::load::contact::{Contact, Others};
use crate::load::workload::Workload;

/// A node that has not taken so many bytes gets no new transactions until it has.
const QUEUED_BYTES_MAX: usize = 4 << 20;
/// Length of a list at which it is submitted: far below `limits::CLIENT_FRAME_BYTES_MAX`, whatever one transaction
/// adds.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// See the module.
pub(super) struct Link {
    pub(super) node: NodeId,
    pub(super) connection: Connection,
    pub(super) is_gone: bool,
    /// Whether the node takes no transactions, since it may not sign.
    pub(super) follows: bool,
    /// Whether the socket may hold more than was read.
    pub(super) readiness: Readiness,
    /// Whether the node answers.
    pub(super) contact: Contact,
    /// The last sign of it that the contact took into account.
    pub(super) heard: Option<Instant>,
    /// Whether a receipt has come since then.
    pub(super) has_receipts: bool,
    /// Whether it was silent and has not reported since then that it is level with its shard.
    pub(super) is_catching_up: bool,
    /// Whether new transactions go to others.
    pub(super) is_passed_over: bool,
    /// The submission being filled, and how many transactions it holds.
    batch: Vec<u8>,
    batched: usize,
}

impl Link {
    pub(super) fn new(node: NodeId, connection: Connection) -> Link {
        Link {
            node,
            connection,
            is_gone: false,
            follows: false,
            readiness: Readiness::Drained,
            contact: Contact::new(Duration::ZERO),
            heard: None,
            has_receipts: false,
            is_catching_up: false,
            is_passed_over: false,
            batch: Vec::new(),
            batched: 0,
        }
    }

    /// Whether the node takes no transactions for good.
    pub(super) fn is_out(&self) -> bool {
        self.is_gone || self.follows
    }

    /// How far other nodes' transactions can rely on it.
    pub(super) fn reliance(&self) -> Others {
        if self.is_out() || !self.connection.is_up() { Others::None } else { self.contact.reliance() }
    }

    /// Makes one transaction into the batch, if the node can take one.
    pub(super) fn make(
        &mut self,
        workload: &mut Workload,
        expiries: &[Round],
        intended_us: u64,
        now_us: u64,
    ) -> bool {
        if self.is_out()
            || self.is_passed_over
            || !self.connection.is_up()
            || self.connection.queued_bytes() + self.batch.len() > QUEUED_BYTES_MAX
        {
            return false;
        }
        self.begin_batch();
        let made = workload.make(self.node, expiries, intended_us, now_us, &mut self.batch);
        self.batched += usize::from(made);
        if self.is_batch_full() {
            self.submit();
        }
        made
    }

    /// Hands over again what the node had lost, submits the batch, and sends queries and requests for coins.
    pub(super) fn serve(&mut self, workload: &mut Workload, now_us: u64) {
        if self.is_out() || !self.connection.is_up() {
            return;
        }
        loop {
            if self.connection.queued_bytes() > QUEUED_BYTES_MAX {
                return;
            }
            self.begin_batch();
            if !workload.make_again(self.node, &mut self.batch) {
                break;
            }
            self.batched += 1;
            if self.is_batch_full() {
                self.submit();
            }
        }
        self.submit();
        let ids = workload.take_queries(self.node, QUERY_IDS_MAX);
        if !ids.is_empty() {
            self.connection.send(&Request::Query(ids), &[]);
        }
        let coins = workload.take_coin_request(self.node, now_us);
        if !coins.is_empty() {
            self.connection.send(&Request::Coins(coins), &[]);
        }
    }

    /// Forgets the batch: what is in it is open, and queried when the connection is back.
    pub(super) fn drop_batch(&mut self) {
        self.batch.clear();
        self.batched = 0;
    }

    fn is_batch_full(&self) -> bool {
        self.batched == SUBMISSION_TRANSACTIONS_MAX || self.batch.len() >= BATCH_BYTES_MAX
    }

    fn begin_batch(&mut self) {
        if self.batch.is_empty() {
            list::begin(&mut self.batch);
        }
    }

    fn submit(&mut self) {
        if self.batched > 0 {
            list::finish(&mut self.batch, 0, self.batched);
            self.connection.send(&Request::Submit, &self.batch);
        }
        self.drop_batch();
    }
}
