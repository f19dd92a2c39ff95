//! Requests of clients, and the receipts they wait for; orders to other shards on their behalf.

use std::collections::BTreeMap;

use wire::bytes::Bytes;
use wire::client::{Receipt, Reply, Request, list};
use wire::codec;
use wire::ids::{ClientId, NodeId, TxId};
use wire::limits::{QUERY_COINS_MAX, QUERY_IDS_MAX, SUBMISSION_TRANSACTIONS_MAX};

use crate::core::Core;
use crate::event::Effect;
use crate::ledger::BlockOutcome;
use crate::mempool::{Left, Receipts};
use crate::shard::message::RejectVote;
use crate::time::Time;

/// Receipts in one reply: some 400 KB, well inside a frame.
const RECEIPTS_MAX: usize = 10_000;

impl Core {
    /// A client's bytes: answered at once where there is an answer, with an error where they are no request.
    pub(super) fn on_client(&mut self, now: Time, client: ClientId, body: &Bytes) {
        let (request, tail) = match codec::decode_with_tail::<Request>(body) {
            Ok(decoded) => decoded,
            Err(error) => return self.refuse(client, format!("a request that is {error}")),
        };
        match request {
            Request::Submit => {
                let tail = body.slice(body.len() - tail.len()..body.len());
                match list::parse(&tail, SUBMISSION_TRANSACTIONS_MAX) {
                    Some(items) => {
                        let believed = |id: &TxId| self.rejects.believed(id);
                        let submitted = self.mempool.submit(client, &tail, &items, believed, &self.ledger);
                        self.reply_receipts(client, &submitted.refused);
                        self.trace_admitted(client, &submitted.cross);
                        let orders = self.orders.begin(now, &submitted.cross, &self.mempool, &self.ledger);
                        self.absorb_orders(now, orders);
                    }
                    None => {
                        let expected =
                            format!("a list of at most {SUBMISSION_TRANSACTIONS_MAX} transactions");
                        self.refuse(client, format!("a submission that is not {expected}"));
                    }
                }
            }
            _ if !tail.is_empty() => {
                self.refuse(client, format!("{} bytes after a request", tail.len()));
            }
            Request::Query(ids) if ids.len() > QUERY_IDS_MAX => {
                let error = format!("a query for {} ids, expected at most {QUERY_IDS_MAX}", ids.len());
                self.refuse(client, error);
            }
            Request::Query(ids) => {
                let known = self.mempool.query(client, &ids, &self.ledger);
                self.reply_receipts(client, &known);
            }
            Request::Coins(coins) if coins.len() > QUERY_COINS_MAX => {
                let error =
                    format!("a question for {} coins, expected at most {QUERY_COINS_MAX}", coins.len());
                self.refuse(client, error);
            }
            Request::Coins(coins) => {
                let unspent = coins.iter().filter_map(|coin| Some((*coin, self.ledger.unspent(coin)?)));
                let unspent = unspent.collect();
                self.reply(client, &Reply::Coins(unspent));
            }
            Request::Status => {
                let status = Box::new(self.status());
                self.reply(client, &Reply::Status(status));
            }
        }
    }

    /// Tells clients what became of their transactions in an executed block, and of those that it left no time; asks
    /// other shards no more for what has ended.
    pub(super) fn send_receipts(&mut self, now: Time, outcome: &BlockOutcome) {
        let receipts = self.mempool.on_executed(outcome, |id| self.rejects.believed(id));
        self.trace_receipts(outcome, &receipts);
        self.reply_all(receipts);
        self.orders.executed(now, outcome, &self.mempool, &self.ledger);
        let left = self.mempool.collect_expired(&self.ledger);
        self.absorb_left(now, left);
    }

    /// Reports transactions that left the mempool because they can never execute here.
    pub(super) fn absorb_left(&mut self, now: Time, left: Left) {
        self.reply_all(left.receipts);
        let ids = left.votes.iter().map(|(_, vote)| &vote.id);
        self.orders.review(ids, &self.mempool, &self.ledger);
        // Each asker has a ration of its own.
        let mut by_asker: BTreeMap<Option<NodeId>, Vec<RejectVote>> = BTreeMap::new();
        for (asker, vote) in left.votes {
            by_asker.entry(asker).or_default().push(vote);
        }
        for (asker, votes) in by_asker {
            self.report_rejected(now, asker, votes);
        }
    }

    pub(super) fn reply_all(&mut self, receipts: Receipts) {
        for (client, receipts) in receipts {
            self.reply_receipts(client, &receipts);
        }
    }

    fn reply_receipts(&mut self, client: ClientId, receipts: &[Receipt]) {
        self.trace_receipts_but_finished(client, receipts);
        for chunk in receipts.chunks(RECEIPTS_MAX) {
            self.reply(client, &Reply::Receipts(chunk.to_vec()));
        }
    }

    /// Answers what is no request of ours.
    fn refuse(&mut self, client: ClientId, reason: String) {
        self.requests_refused += 1;
        self.reply(client, &Reply::Error(reason));
    }

    fn reply(&mut self, client: ClientId, reply: &Reply) {
        self.out.push(Effect::Reply { client, body: Bytes::from(codec::encode(reply)) });
    }
}
