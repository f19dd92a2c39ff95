//! Rows of the messages between shards, and of those about their transactions.

use wire::bytes::Bytes;
use wire::ids::{CoinId, Digest, PartNumber, Round, ShardId, Signature, TxId};

use super::{ROW, Row, almost, digest, junk, junk_certificate, stranger, verified};
use crate::block::Header;
use crate::core::tests::cost::Victim;
use crate::crypto::suite::{Statement, Suite};
use crate::ledger::Cause;
use crate::message::{Message, MessageKind, encode_order};
use crate::part::{Group, PartRef};
use crate::shard::message::{PartMessage, RejectMessage, RejectVote, ShardMessage, Transfer, TransferProof};

fn shard(message: ShardMessage) -> Bytes {
    Message::Shard(message).encode()
}

pub(super) fn false_transfer(victim: &Victim, number: u64) -> Bytes {
    let mut group = Group::new(ShardId(1), ShardId(0), Round(1), PartNumber(1));
    group.finished(TxId(digest(number).0));
    let part = group.finish().remove(0);
    let headers = vec![Header { height: Round(1), outgoing: part.digest, ..Header::default() }];
    let certificate = junk_certificate(victim, number);
    let proof = TransferProof { headers, certificate, position: 0, count: 1, branch: Vec::new() };
    Transfer { proof, part: part.bytes }.encode()
}

pub(super) fn of_parts(kind: MessageKind) -> Vec<Row> {
    fn part(number: u64, digest: Digest) -> PartRef {
        PartRef { source: ShardId(1), number: PartNumber(number), digest }
    }
    fn sign(part: PartRef, signature: Signature) -> Bytes {
        shard(ShardMessage::Part(PartMessage::Vote { part, signature }))
    }
    let row = match kind {
        MessageKind::TransferVote => Row {
            name: "SIGN",
            before: |v| {
                let part = part(1, digest(0));
                almost(v, 0, |node| sign(part, v.suite_of(node).sign(&Statement::Part(part))))
            },
            message: |_, i| sign(part(1 + i % 64, digest(i / 64)), junk(i)),
            limit: |_, q| verified(2 * q),
            ..ROW
        },
        MessageKind::WantPart => Row {
            name: "request for a part",
            message: |_, i| shard(ShardMessage::Part(PartMessage::Want(part(1 + i, digest(i))))),
            ..ROW
        },
        _ => Row {
            name: "acknowledgement",
            from: stranger,
            message: |_, i| shard(ShardMessage::Part(PartMessage::Ack(PartNumber(i)))),
            ..ROW
        },
    };
    vec![row]
}

pub(super) fn of_rejects(kind: MessageKind) -> Vec<Row> {
    let row = match kind {
        MessageKind::RejectVotes => Row {
            name: "CL_M",
            message: |_, i| {
                let vote = |k| RejectVote {
                    id: TxId(digest(1_000 * i + k).0),
                    others: vec![ShardId(1)],
                    cause: Cause::Expired,
                };
                let votes = (0..100).map(vote).collect();
                shard(ShardMessage::Reject(RejectMessage::Votes { executed: Round(0), votes }))
            },
            ..ROW
        },
        MessageKind::Rejected => Row {
            name: "CL",
            from: stranger,
            message: |_, i| {
                let ids = (0..100).map(|k| (TxId(digest(1_000 * i + k).0), Cause::Expired)).collect();
                shard(ShardMessage::Reject(RejectMessage::Rejected { imported: PartNumber(0), ids }))
            },
            ..ROW
        },
        _ => Row {
            name: "`Spent`",
            from: stranger,
            message: |_, i| {
                let ids = (0..100).map(|k| (TxId(digest(1_000 * i + k).0), PartNumber(1))).collect();
                shard(ShardMessage::Spent(ids))
            },
            ..ROW
        },
    };
    vec![row]
}

/// An order of a transaction that has expired.
pub(super) fn false_order(victim: &Victim, number: u64) -> Bytes {
    let inputs = vec![(0, CoinId(digest(number).0)), (1, CoinId(digest(number).0))];
    let transaction = victim.bench.cross_until(inputs, 1, Round(0));
    encode_order([&transaction[..]].into_iter())
}
