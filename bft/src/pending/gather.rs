//! Gathering: messages about single transactions go out together.
//!
//! A client's submission, or the order of another shard, may concern a handful of transactions. With K shards of N
//! members each makes messages to K·N nodes, and a message costs its way through six processes, whatever it carries.
//! Sent one at a time they would take more of the machine than agreement and execution. So a message leaves at once
//! after a quiet time; otherwise it waits for a pause in proportion to the cost of the last ones, `REST_A_COPY` for
//! each of their recipients and `REST_MAX` at most, and is joined with others of its kind and destination. Nothing
//! waits while little happens, and the more happens, the more goes into one message.
//!
//! # Correctness
//! Only the time of sending changes, and no rule depends on it. What a claim is based on (`executed` of CL_M,
//! `imported` of CL) becomes the latest of the joined ones: a claim counts no earlier than it would have, and what can
//! never execute on an earlier ledger can't on a later one.
//!
//! **Bound.** What is gathered goes out once it has `GATHERED_BYTES_MAX`, after the step that brought it there: so
//! that, and what one step brings.

use std::collections::BTreeMap;
use std::sync::Arc;

use wire::bytes::Bytes;
use wire::client::list;
use wire::committee::Committee;
use wire::dest::Dest;
use wire::ids::{PartNumber, Round, TxId};
use wire::limits::{ORDER_BYTES_MAX, REJECTS_PER_MESSAGE_MAX, SUBMISSION_TRANSACTIONS_MAX};

use crate::image::image;
use crate::ledger::Cause;
use crate::message::{Message, encode_order};
use crate::pending::PendingSend;
use crate::shard::message::{RejectMessage, RejectVote, ShardMessage};
use crate::time::{Span, Time};

/// Pause for each recipient of each message sent.
const REST_A_COPY: Span = Span::from_ms(1);
/// Longest pause: a fraction of what a round takes where so much is going on.
const REST_MAX: Span = Span::from_ms(64);
/// So much is sent without a pause: it fills a frame that is worth its cost.
const GATHERED_BYTES_MAX: usize = 256 << 10;
/// Bytes of an item that has no body of its own, roughly.
const ITEM_BYTES: usize = 48;

/// See the module.
#[derive(Clone, Debug)]
pub struct Gather {
    committee: Arc<Committee>,
    votes: BTreeMap<Dest, (Round, Vec<RejectVote>)>,
    rejected: BTreeMap<Dest, (PartNumber, Vec<(TxId, Cause)>)>,
    spent: BTreeMap<Dest, Vec<(TxId, PartNumber)>>,
    orders: BTreeMap<Dest, Vec<Bytes>>,
    bytes: usize,
    rest_until: Time,
}

image! {
    Gather:
    given committee = |given| given.member.committee.clone();
    parts;
    plain votes, rejected, spent, orders, bytes, rest_until;
}

impl Gather {
    /// Nothing gathered.
    pub fn new(committee: Arc<Committee>) -> Gather {
        Gather {
            committee,
            votes: BTreeMap::new(),
            rejected: BTreeMap::new(),
            spent: BTreeMap::new(),
            orders: BTreeMap::new(),
            bytes: 0,
            rest_until: Time(0),
        }
    }

    /// Adds a message.
    pub fn add(&mut self, dest: Dest, send: PendingSend) {
        match send {
            PendingSend::Reject(RejectMessage::Votes { executed, votes }) => {
                self.bytes += ITEM_BYTES * votes.len();
                let (latest, gathered) = self.votes.entry(dest).or_default();
                *latest = executed.max(*latest);
                gathered.extend(votes);
            }
            PendingSend::Reject(RejectMessage::Rejected { imported, ids }) => {
                self.bytes += ITEM_BYTES * ids.len();
                let (latest, gathered) = self.rejected.entry(dest).or_default();
                *latest = imported.max(*latest);
                gathered.extend(ids);
            }
            PendingSend::Order(transactions) => {
                self.bytes += transactions.iter().map(|bytes| list::item_bytes(bytes.len())).sum::<usize>();
                self.orders.entry(dest).or_default().extend(transactions);
            }
            PendingSend::Spent(ids) => {
                self.bytes += ITEM_BYTES * ids.len();
                self.spent.entry(dest).or_default().extend(ids);
            }
        }
    }

    /// When [`Gather::release`] has something to give; `None` while nothing is gathered.
    pub fn due(&self) -> Option<Time> {
        match self.bytes {
            0 => None,
            GATHERED_BYTES_MAX.. => Some(Time(0)),
            _ => Some(self.rest_until),
        }
    }

    /// Everything gathered, encoded, if it is due: short messages, which settle transactions, before long ones.
    pub fn release(&mut self, now: Time) -> Vec<(Dest, Bytes)> {
        let mut messages = Vec::new();
        if self.due().is_none_or(|due| due > now) {
            return messages;
        }
        self.bytes = 0;
        let mut push = |dest: &Dest, message| messages.push((dest.clone(), Message::Shard(message).encode()));
        for (dest, (executed, votes)) in std::mem::take(&mut self.votes) {
            for votes in votes.chunks(REJECTS_PER_MESSAGE_MAX) {
                let votes = votes.to_vec();
                push(&dest, ShardMessage::Reject(RejectMessage::Votes { executed, votes }));
            }
        }
        for (dest, (imported, ids)) in std::mem::take(&mut self.rejected) {
            for ids in ids.chunks(REJECTS_PER_MESSAGE_MAX) {
                let ids = ids.to_vec();
                push(&dest, ShardMessage::Reject(RejectMessage::Rejected { imported, ids }));
            }
        }
        for (dest, ids) in std::mem::take(&mut self.spent) {
            ids.chunks(SUBMISSION_TRANSACTIONS_MAX)
                .for_each(|ids| push(&dest, ShardMessage::Spent(ids.to_vec())));
        }
        for (dest, transactions) in std::mem::take(&mut self.orders) {
            push_orders(&dest, &transactions, &mut messages);
        }
        let copies: usize = messages.iter().map(|(dest, _)| self.copies(dest)).sum();
        let rest = Span(REST_A_COPY.0 * copies as u64);
        self.rest_until = now + rest.min(REST_MAX);
        messages
    }

    /// To how many nodes a message goes.
    fn copies(&self, dest: &Dest) -> usize {
        let n = self.committee.n();
        match dest {
            Dest::Node(_) => 1,
            Dest::Shard(_) => n,
            Dest::ShardOthers => n - 1,
            Dest::Set(nodes) => nodes.len(),
        }
    }
}

/// Orders for these transactions, as many as their length needs.
fn push_orders(dest: &Dest, transactions: &[Bytes], messages: &mut Vec<(Dest, Bytes)>) {
    let mut rest = transactions;
    while !rest.is_empty() {
        let mut bytes = 4;
        let fitting = rest.iter().take(SUBMISSION_TRANSACTIONS_MAX).take_while(|transaction| {
            bytes += list::item_bytes(transaction.len());
            bytes as u64 <= ORDER_BYTES_MAX
        });
        // The longest transaction is a small part of the longest order.
        let (now, later) = rest.split_at(fitting.count().max(1));
        messages.push((dest.clone(), encode_order(now.iter().map(|transaction| &transaction[..]))));
        rest = later;
    }
}

#[cfg(test)]
mod tests {
    use wire::client::Rejection;
    use wire::committee::{Member, Protocol};
    use wire::ids::{NodeId, ShardId};
    use wire::limits::TRANSACTION_BYTES_MAX;

    use super::*;
    use crate::message::Incoming;

    const CAUSE: Cause = Cause::Rejected(Rejection::Spent);
    const SHARD: Dest = Dest::Shard(ShardId(1));

    fn gather() -> Gather {
        let keys = Member { public_key: [1; 32], coin_commitment: [2; 32] };
        Gather::new(Arc::new(Committee::new(4, Protocol::default(), vec![keys; 12], [3; 32])))
    }

    fn rejected(imported: u64, id: u8) -> PendingSend {
        let ids = vec![(TxId([id; 32]), CAUSE)];
        PendingSend::Reject(RejectMessage::Rejected { imported: PartNumber(imported), ids })
    }

    fn order(count: usize, bytes: usize) -> PendingSend {
        PendingSend::Order(vec![Bytes::from(vec![7; bytes]); count])
    }

    #[test]
    fn after_a_quiet_time_a_message_leaves_at_once_and_then_what_goes_the_same_way_together() {
        let mut gather = gather();
        assert_eq!((gather.due(), gather.release(Time(5)).len()), (None, 0));
        gather.add(SHARD, rejected(3, 1));
        assert_eq!(gather.release(Time(5)).len(), 1);
        gather.add(SHARD, rejected(5, 2));
        gather.add(SHARD, rejected(4, 3));
        gather.add(Dest::Node(NodeId(4)), rejected(4, 3));
        let due = Time(5) + Span(4 * REST_A_COPY.0);
        assert_eq!((gather.due(), gather.release(Time(due.0 - 1)).len()), (Some(due), 0));
        let messages = gather.release(due);
        let [(_, _), (dest, joined)] = &messages[..] else { panic!("{messages:?}") };
        let ids = vec![(TxId([2; 32]), CAUSE), (TxId([3; 32]), CAUSE)];
        let expected = RejectMessage::Rejected { imported: PartNumber(5), ids };
        assert_eq!((dest, Incoming::decode(joined)), {
            (&SHARD, Some(Incoming::Message(Message::Shard(ShardMessage::Reject(expected)))))
        });
        gather.add(SHARD, rejected(3, 1));
        assert_eq!(gather.due(), Some(due + Span(5 * REST_A_COPY.0)), "to a shard of four, and to one node");
    }

    #[test]
    fn votes_are_joined_by_the_latest_of_their_ledgers() {
        let mut gather = gather();
        for executed in [7, 9, 8] {
            let vote = RejectVote { id: TxId([executed as u8; 32]), others: vec![ShardId(0)], cause: CAUSE };
            let votes = RejectMessage::Votes { executed: Round(executed), votes: vec![vote] };
            gather.add(Dest::ShardOthers, PendingSend::Reject(votes));
        }
        let messages = gather.release(Time(0));
        let [(_, bytes)] = &messages[..] else { panic!("{messages:?}") };
        match Incoming::decode(bytes) {
            Some(Incoming::Message(Message::Shard(ShardMessage::Reject(RejectMessage::Votes {
                executed,
                votes,
            })))) => assert_eq!((executed, votes.len()), (Round(9), 3)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn much_does_not_wait_and_no_pause_is_longer_than_the_longest() {
        let mut gather = gather();
        for node in 0..100 {
            gather.add(Dest::Node(NodeId(node)), order(1, 100));
        }
        assert_eq!(gather.release(Time(1)).len(), 100);
        gather.add(SHARD, order(1, 100));
        assert_eq!(gather.due(), Some(Time(1) + REST_MAX));
        gather.add(SHARD, order(GATHERED_BYTES_MAX / 100, 100));
        assert_eq!(gather.release(Time(1)).len(), 1);
    }

    #[test]
    fn long_orders_are_cut_so_that_each_is_accepted() {
        let mut gather = gather();
        let longest = TRANSACTION_BYTES_MAX as usize;
        let count = ORDER_BYTES_MAX as usize / longest + 2;
        gather.add(SHARD, order(count, longest));
        let messages = gather.release(Time(0));
        let listed = messages.iter().map(|(_, bytes)| {
            let Some(Incoming::Order(list)) = Incoming::decode(bytes) else { panic!("an order") };
            assert!(list.len() as u64 <= ORDER_BYTES_MAX);
            list::parse(&list, SUBMISSION_TRANSACTIONS_MAX).expect("it is a list").len()
        });
        assert_eq!((listed.sum::<usize>(), messages.len()), (count, 2));
        gather.add(SHARD, order(SUBMISSION_TRANSACTIONS_MAX + 1, 1));
        assert_eq!(gather.release(Time(1_000_000)).len(), 2);
    }

    #[test]
    fn long_batches_of_votes_and_rejects_are_cut() {
        let mut gather = gather();
        let count = REJECTS_PER_MESSAGE_MAX + 1;
        let vote = RejectVote { id: TxId([1; 32]), others: vec![ShardId(0)], cause: CAUSE };
        let votes = RejectMessage::Votes { executed: Round(1), votes: vec![vote; count] };
        let ids = vec![(TxId([1; 32]), CAUSE); count];
        let rejected = RejectMessage::Rejected { imported: PartNumber(1), ids };
        gather.add(Dest::ShardOthers, PendingSend::Reject(votes));
        gather.add(SHARD, PendingSend::Reject(rejected));
        let lengths = gather.release(Time(0)).into_iter().map(|(_, bytes)| match Incoming::decode(&bytes) {
            Some(Incoming::Message(Message::Shard(ShardMessage::Reject(message)))) => match message {
                RejectMessage::Votes { votes, .. } => votes.len(),
                RejectMessage::Rejected { ids, .. } => ids.len(),
            },
            other => panic!("{other:?}"),
        });
        let cut = [REJECTS_PER_MESSAGE_MAX, 1];
        assert_eq!(lengths.collect::<Vec<_>>(), [cut, cut].concat());
    }
}
