//! Requests of clients, and the receipts they wait for.

use wire::bytes::Bytes;
use wire::client::{Receipt, Reply, Request, list};
use wire::codec;
use wire::ids::ClientId;
use wire::limits::{QUERY_COINS_MAX, QUERY_IDS_MAX, SUBMISSION_TRANSACTIONS_MAX};

use crate::core::Core;
use crate::event::Effect;
use crate::pending::Receipts;
use crate::time::{Span, Time};
use crate::transaction::Owner;

/// Receipts in one reply: some 400 KB, well inside a frame.
const RECEIPTS_MAX: usize = 10_000;

impl Core {
    /// A client's request: answered at once if an answer exists, with an error if the bytes are not a request.
    pub(super) fn on_client(&mut self, now: Time, client: ClientId, body: &Bytes) {
        let (request, tail) = match codec::decode_with_tail::<Request>(body) {
            Ok(decoded) => decoded,
            Err(error) => return self.refuse(client, format!("a request that is {error}")),
        };
        match request {
            Request::Submit if self.follows() => {
                self.refuse(client, "a submission: this node may not sign and only follows".into());
            }
            Request::Submit => {
                let tail = body.slice(body.len() - tail.len()..body.len());
                match list::parse(&tail, SUBMISSION_TRANSACTIONS_MAX) {
                    Some(items) => {
                        let output =
                            self.pending.submit(now, client, &tail, &items, &self.ledger, self.tracing);
                        self.trace_admitted(client, &output.steps);
                        self.absorb_pending(output);
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
                let known = self.pending.query(client, &ids, &self.ledger);
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
            Request::CoinsFrom { owner, place } => {
                let (coins, next) = self.ledger.unspent_from(&Owner(owner), place, QUERY_COINS_MAX);
                self.reply(client, &Reply::CoinsFrom { coins, next });
            }
            Request::Status => {
                self.refuse(client, "a status request, which the node answers without its core".into());
            }
            Request::Ledger(_) | Request::Subscribe { .. } => {
                self.refuse(client, "a request that the node answers without its core".into());
            }
        }
    }

    pub(super) fn reply_all(&mut self, receipts: Receipts) {
        for (client, receipts) in receipts {
            self.reply_receipts(client, &receipts);
        }
    }

    pub(super) fn reply_try_again(&mut self, client: ClientId, after: Span) {
        let after_ms = u32::try_from(after.0 / 1_000).unwrap_or(u32::MAX);
        self.reply(client, &Reply::TryAgain { after_ms });
    }

    fn reply_receipts(&mut self, client: ClientId, receipts: &[Receipt]) {
        self.trace_receipts_but_finished(client, receipts);
        for chunk in receipts.chunks(RECEIPTS_MAX) {
            self.reply(client, &Reply::Receipts(chunk.to_vec()));
        }
    }

    /// Answers bytes that are not a request.
    fn refuse(&mut self, client: ClientId, reason: String) {
        self.requests_refused += 1;
        self.reply(client, &Reply::Error(reason));
    }

    fn reply(&mut self, client: ClientId, reply: &Reply) {
        self.out.push(Effect::Reply { client, body: Bytes::from(codec::encode(reply)) });
    }
}
