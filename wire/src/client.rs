//! The protocol between clients and nodes, over the same port and the same kind of session as between peers.
//!
//! A submission is a header followed by its transactions, encoded as a [`list`]: parsed in place, never copied through
//! serde.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::audit::{Question, Sums};
use crate::codec;
use crate::ids::{CoinId, Digest, PartNumber, Round, ShardId, TxId};
use crate::name::Name;

/// A request of a client.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Order the transactions that follow as a [`list`]. Each of them gets a receipt, at once if it is refused.
    Submit,
    /// Repeat the receipts of these transactions, at most `limits::QUERY_IDS_MAX`. The receipt of an open transaction
    /// follows when it has one.
    Query(Vec<TxId>),
    /// List those of these coins that are unspent here; at most `limits::QUERY_COINS_MAX`.
    Coins(Vec<CoinId>),
    /// Return the status of the node.
    Status,
    /// List unspent coins of this owner, from this place of the node's ledger on; where transactions are not signed,
    /// those of any owner. The answer looks at `limits::QUERY_COINS_MAX` places.
    CoinsFrom {
        /// Whose coins.
        owner: [u8; 32],
        /// 0, or where the last answer ended.
        place: u32,
    },
    /// Compare the node's whole ledger with others'; see [`Question`].
    Ledger(Question),
    /// Send a [`Reply::Commit`] for each block that is executed from now on, so many of them beyond what was granted
    /// before, and at most `limits::SUBSCRIPTION_EVENTS_MAX`.
    Subscribe {
        /// How many.
        events: u32,
    },
}

impl Request {
    /// Whether a body is a status request, which the processes answer without the core, so that it never waits for it.
    pub fn is_status(body: &[u8]) -> bool {
        /// A request without fields is encoded as its number; other requests are longer or have a tail.
        const STATUS_BYTES: usize = 4;
        body.len() == STATUS_BYTES && codec::decode(body) == Ok(Request::Status)
    }

    /// The events that a body subscribes to, if it does: the node answers without its core, too.
    pub fn subscription(body: &[u8]) -> Option<u32> {
        const SUBSCRIPTION_BYTES: usize = 8;
        match (body.len() == SUBSCRIPTION_BYTES).then(|| codec::decode(body)) {
            Some(Ok(Request::Subscribe { events })) => Some(events),
            Some(_) | None => None,
        }
    }

    /// The question about the ledger that a body is, if it is one: it is answered without the core, too.
    pub fn ledger_question(body: &[u8]) -> Option<Question> {
        /// Three numbers and a byte; a longer body is another request, and is not decoded to find that out.
        const QUESTION_BYTES_MAX: usize = 13;
        match (body.len() <= QUESTION_BYTES_MAX).then(|| codec::decode(body)) {
            Some(Ok(Request::Ledger(question))) => Some(question),
            Some(_) | None => None,
        }
    }
}

/// An answer of a node to a client.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// Fates of transactions of this client, in any order.
    Receipts(Vec<Receipt>),
    /// The unspent ones of the coins in the request, with their amounts, in the order of the request.
    Coins(Vec<(CoinId, u64)>),
    /// The status of the node.
    Status(Box<NodeStatus>),
    /// Why the request was not understood.
    Error(String),
    /// Unspent coins from a place on.
    CoinsFrom {
        /// The coins with their amounts.
        coins: Vec<(CoinId, u64)>,
        /// The place from which to go on, unless the ledger ends before it.
        next: Option<u32>,
    },
    /// The sums of the node's ledger.
    LedgerSums(Box<Sums>),
    /// Items of a bucket.
    LedgerItems {
        /// The bucket in question.
        question: Question,
        /// The height of the ledger.
        height: Round,
        /// Each as `bft::ledger::Item` encodes it.
        items: Vec<Vec<u8>>,
    },
    /// A block was executed, for a subscriber.
    Commit(Commit),
    /// Beside receipts that refuse for want of room (`Refusal::Full`, `Refusal::ClientShare`): about when there is
    /// some.
    TryAgain {
        /// After so many milliseconds.
        after_ms: u32,
    },
}

/// A block that a node has executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Commit {
    /// Its height.
    pub height: Round,
    /// The digest of its header.
    pub header: Digest,
    /// Transactions within the shard that it finished.
    pub finished: u64,
    /// Transactions that it rejected for good.
    pub rejected: u64,
    /// Cross-shard transactions that it finished, at their output shard.
    pub finished_cross: u64,
    /// Cross-shard transactions that it cancelled, at their output shard.
    pub cancelled: u64,
    /// Blocks since the last event of this subscriber that it heard nothing of, for want of a grant, or since the node
    /// took over the state after them.
    pub missed: u64,
}

/// The fate of one transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// The transaction.
    pub id: TxId,
    /// Its end, or why it never began.
    pub fate: Fate,
}

/// The end of a transaction, or why it never began. `Finished`, `Rejected` and `Expired` are final everywhere;
/// `Refused` and `Unknown` hold for one node only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Fate {
    /// Executed in the block of this height.
    Finished(Round),
    /// Can never execute.
    Rejected(Rejection),
    /// Its expiry passed before it was ordered.
    Expired,
    /// Not taken by this node.
    Refused(Refusal),
    /// Neither open nor remembered here.
    Unknown,
}

impl Fate {
    /// Whether it is the end of a transaction everywhere.
    pub fn is_final(self) -> bool {
        matches!(self, Fate::Finished(_) | Fate::Rejected(_) | Fate::Expired)
    }
}

/// Why execution rejected a transaction for good.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Rejection {
    /// An input was spent by another transaction.
    Spent,
    /// An input names no coin.
    UnknownCoin,
    /// An input names another amount than its coin has.
    WrongAmount,
    /// The owner of an input did not sign.
    NotOwner,
    /// Its output shard cancelled it since an input shard had rejected it, for a reason that is not known here.
    Cancelled,
}

/// Why a node did not take a transaction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Refusal {
    /// Its bytes break a rule of static validity.
    Invalid,
    /// Longer than the protocol allows.
    TooLarge,
    /// It does not concern this node's shard, or its clients submit it to another shard.
    WrongShard,
    /// It is open or finished here already.
    Duplicate,
    /// The mempool is full.
    Full,
    /// This client fills its share of the mempool.
    ClientShare,
    /// An input is already spent here.
    Spent,
    /// Its expiry has passed. It may have finished before, where that is forgotten.
    Expired,
    /// Its expiry in an input shard is further ahead than `limits::EXPIRY_ROUNDS_AHEAD_MAX`. This is not final, since
    /// it comes within that limit in time.
    ExpiryTooFar,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Finished(round) => write!(f, "finished in {}", Name::Round(*round)),
            Fate::Rejected(reason) => write!(f, "rejected: {reason}"),
            Fate::Expired => f.write_str("expired"),
            Fate::Refused(reason) => write!(f, "refused: {reason}"),
            Fate::Unknown => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rejection::Spent => "an input is spent",
            Rejection::UnknownCoin => "an input names no coin",
            Rejection::WrongAmount => "an input names a wrong amount",
            Rejection::NotOwner => "the owner of an input did not sign",
            Rejection::Cancelled => "its output shard cancelled it",
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Invalid => "it is not valid",
            Refusal::TooLarge => "it is too long",
            Refusal::WrongShard => "it is not this shard's to take",
            Refusal::Duplicate => "it is known here already",
            Refusal::Full => "the mempool is full",
            Refusal::ClientShare => "this client fills its share",
            Refusal::Spent => "an input is spent here",
            Refusal::Expired => "it has expired",
            Refusal::ExpiryTooFar => "its expiry is too far ahead",
        })
    }
}

/// How much of a checkpoint has arrived at a node that is behind every history.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TakeoverStatus {
    /// Its height; 0 while it is awaited.
    pub height: Round,
    /// Pieces that are here.
    pub here: u32,
    /// Pieces that it has.
    pub pieces: u32,
}

/// The status of a node: for the live line, `tools status`, the diagnosis, and the check after a run.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The last decided round.
    pub decided: Round,
    /// The last executed round: the height.
    pub executed: Round,
    /// Digest of the header at that height.
    pub header: Digest,
    /// The height up to which VOTE certificates are known.
    pub certified: Round,
    /// The view of the running sMVBA, if one runs.
    pub view: Option<u32>,
    /// The phase of the running round or view that waits for members, if any.
    pub waiting_for: Option<Waiting>,
    /// Rounds that f+1 members have decided, as far as they have said so, and that are not executed here.
    pub behind: u64,
    /// If no member still has the round that is to be executed next: the first round that one of them has. This node
    /// takes over a checkpoint.
    pub history_lost: Option<Round>,
    /// The checkpoint that this node takes over, if it does.
    pub takeover: Option<TakeoverStatus>,
    /// Whether it may not sign, and only executes what the others decide.
    pub follows: bool,
    /// Messages dropped since they came too early to be kept: this node is, or was, behind.
    pub too_early: u64,
    /// Transactions in the mempool.
    pub mempool: u64,
    /// Transactions taken from clients since the node started.
    pub taken: u64,
    /// Own lane entries beyond the decided cut.
    pub lane_open: u64,
    /// Transactions finished since genesis.
    pub finished: u64,
    /// Transactions rejected since genesis.
    pub rejected: u64,
    /// Transactions expired since genesis.
    pub expired: u64,
    /// Unspent coins.
    pub coins: u64,
    /// The sum of their amounts, counted coin by coin for this status.
    pub value: u128,
    /// Cross-shard transactions that have spent here and whose output shard has not yet decided, as far as is known
    /// here.
    pub open_records: u64,
    /// Cross-shard transactions that wait in the pool for input shards.
    pub pool: u64,
    /// Group parts that are not known to be executed by their destinations.
    pub parts_open: u64,
    /// The sum of inputs under open records.
    pub held: u128,
    /// Cross-shard transactions of this output shard: those finished, which `finished` does not count.
    pub finished_cross: u64,
    /// Cross-shard transactions of this output shard that were cancelled.
    pub cancelled: u64,
    /// The exchange with each shard, ascending; the entry of this shard itself is about inputs at the output shard.
    pub exchanged: Vec<Exchange>,
    /// Views of decided rounds in total.
    pub views: u64,
    /// Peers with a session, by id.
    pub peers_up: Vec<u16>,
    /// Of these, the ones that we have dialled.
    pub peers_out: Vec<u16>,
    /// Of these, the ones that have dialled us.
    pub peers_in: Vec<u16>,
    /// How long the node has been running, by its own clock.
    pub up_ms: u64,
    /// Bytes sent by `net_client`.
    pub bytes_sent: u64,
    /// Of these, by peer.
    pub bytes_sent_to: Vec<(u16, u64)>,
    /// Messages of the protocol received from peers, and their bytes, by kind; kinds that never came are left out.
    pub received: Vec<(String, u64, u64)>,
    /// Frames dropped by the outbox rule.
    pub frames_dropped: u64,
    /// Child processes restarted.
    pub restarts: u64,
    /// Checkpoints taken over since the node started, and their bytes.
    pub takeovers: u64,
    /// See [`NodeStatus::takeovers`].
    pub takeover_bytes: u64,
    /// Faults of peers by kind.
    pub faults: Vec<(String, u64)>,
    /// Connections refused and frames dropped by `net_server`, and requests that were not understood, by reason.
    pub refused: Vec<(String, u64)>,
}

/// The exchange of a shard with another since genesis. At rest these hold between any two shards A and B, or one
/// and itself: A's `spent` = A's `closed` + A's `refunded` = B's `ticked`; A's `closed` = B's `finished`; A's
/// `refunded` = B's `cancelled`; A's `value_out` = B's `value_in`. So no transaction is both finished and refunded, and
/// none is either of them twice.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Exchange {
    /// The other shard.
    pub shard: ShardId,
    /// Transactions with their output there that have spent here.
    pub spent: IdSum,
    /// Of these, those whose open record was closed since they finished.
    pub closed: IdSum,
    /// Of these, those whose inputs were given back.
    pub refunded: IdSum,
    /// Ticks from there.
    pub ticked: IdSum,
    /// Ticks from there of transactions that finished here.
    pub finished: IdSum,
    /// Ticks from there of transactions that were cancelled here.
    pub cancelled: IdSum,
    /// The sum of inputs spent here by transactions that finished there.
    pub value_out: u128,
    /// The sum of inputs spent there by transactions that finished here.
    pub value_in: u128,
    /// The last group part sent there.
    pub part_out: PartNumber,
    /// The last group part executed that came from there.
    pub part_in: PartNumber,
}

/// The digest of a multiset of transactions: their number and the sum of their ids. Ids are SHA-256 digests, so two
/// different multisets have the same sum only by a collision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct IdSum {
    /// The number of transactions.
    pub count: u64,
    /// The sum modulo 2^128 of the first 16 bytes of each id, little endian.
    pub sum: u128,
}

impl IdSum {
    /// Adds a transaction.
    pub fn add(&mut self, id: &TxId) {
        let (head, _) = id.0.split_first_chunk().expect("an id has 32 bytes");
        self.count += 1;
        self.sum = self.sum.wrapping_add(u128::from_le_bytes(*head));
    }

    /// The union of both multisets.
    #[must_use]
    pub fn plus(self, other: IdSum) -> IdSum {
        IdSum { count: self.count.saturating_add(other.count), sum: self.sum.wrapping_add(other.sum) }
    }
}

impl fmt::Display for IdSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (ids add up to {})", self.count, self.sum)
    }
}

/// A phase of agreement and the members whose messages it has.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Waiting {
    /// The phase in words, e.g. "FINISH of view 0".
    pub phase: String,
    /// The number of members that it needs.
    pub needed: u64,
    /// Those whose messages have arrived, by index in the shard.
    pub from: Vec<u16>,
}

/// A list of byte strings in place: a count and, for each, a length and the bytes; all integers 32 bits, little
/// endian. The whole input is the list: trailing bytes are refused.
pub mod list {
    /// The list of these byte strings.
    pub fn of<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Vec<u8> {
        let mut buffer = Vec::new();
        let at = begin(&mut buffer);
        let mut count = 0;
        for item in items {
            push(&mut buffer, item.as_ref());
            count += 1;
        }
        finish(&mut buffer, at, count);
        buffer
    }

    /// Starts an empty list in `buffer` and returns the position of its count, for [`finish`].
    pub fn begin(buffer: &mut Vec<u8>) -> usize {
        buffer.extend([0; 4]);
        buffer.len() - 4
    }

    /// Appends one byte string.
    pub fn push(buffer: &mut Vec<u8>, item: &[u8]) {
        let length = u32::try_from(item.len()).expect("items are bounded far below 4 GiB");
        buffer.extend(length.to_le_bytes());
        buffer.extend(item);
    }

    /// Writes the count of a list begun at `at`.
    pub fn finish(buffer: &mut [u8], at: usize, count: usize) {
        let count = u32::try_from(count).expect("lists are bounded far below 2^32 items");
        buffer[at..at + 4].copy_from_slice(&count.to_le_bytes());
    }

    /// Bytes that an item of `length` bytes adds to a list.
    pub fn item_bytes(length: usize) -> usize {
        4 + length
    }

    /// The ranges of the items of the list that exactly `bytes` encode; `None` if they encode none, or one of more
    /// than `count_max` items. Allocates for at most as many items as there are bytes to hold their lengths.
    pub fn parse(bytes: &[u8], count_max: usize) -> Option<Vec<std::ops::Range<usize>>> {
        let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
        let count = number(0)?;
        if count > count_max || count > bytes.len() / 4 {
            return None;
        }
        let mut items = Vec::with_capacity(count);
        let mut at = 4usize;
        for _ in 0..count {
            let start = at + 4;
            let end = start.checked_add(number(at)?)?;
            if end > bytes.len() {
                return None;
            }
            items.push(start..end);
            at = end;
        }
        (at == bytes.len()).then_some(items)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn sample() -> Vec<u8> {
            let mut buffer = Vec::new();
            let at = begin(&mut buffer);
            for item in [&b"one"[..], b"", b"three"] {
                push(&mut buffer, item);
            }
            finish(&mut buffer, at, 3);
            buffer
        }

        #[test]
        fn round_trips() {
            let bytes = sample();
            let items = parse(&bytes, 3).unwrap();
            let items: Vec<&[u8]> = items.into_iter().map(|range| &bytes[range]).collect();
            assert_eq!(items, [&b"one"[..], b"", b"three"]);
        }

        #[test]
        fn anything_else_is_refused() {
            let bytes = sample();
            assert_eq!(parse(&bytes, 2), None, "more than allowed");
            for end in 0..bytes.len() {
                assert_eq!(parse(&bytes[..end], 3), None, "truncated to {end}");
            }
            assert_eq!(parse(&[&bytes[..], &[0]].concat(), 3), None, "trailing byte");
            assert_eq!(parse(&[0xFF; 64], usize::MAX), None, "a count beyond the bytes");
        }
    }
}

#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_complete_status_request_is_recognized() {
        assert!(Request::is_status(&codec::encode(&Request::Status)));
        assert!(!Request::is_status(&codec::encode(&Request::Submit)));
        assert!(!Request::is_status(&codec::encode(&Request::Query(vec![]))));
        assert!(!Request::is_status(&[9, 9, 9, 9]));
        assert!(!Request::is_status(&[]));
    }

    #[test]
    fn only_a_question_about_the_ledger_is_taken_for_one() {
        let section = crate::audit::Section::Ends;
        for question in [Question::Sums, Question::Items { section, bucket: 255 }] {
            assert_eq!(Request::ledger_question(&codec::encode(&Request::Ledger(question))), Some(question));
        }
        for other in [Request::Status, Request::Submit, Request::Query(vec![]), Request::Coins(vec![])] {
            assert_eq!(Request::ledger_question(&codec::encode(&other)), None);
        }
        let trailing = [codec::encode(&Request::Ledger(Question::Sums)), vec![0]].concat();
        assert_eq!(Request::ledger_question(&trailing), None);
        let subscribe = codec::encode(&Request::Subscribe { events: 7 });
        assert_eq!(
            (Request::ledger_question(&subscribe), Request::subscription(&subscribe)),
            (None, Some(7))
        );
        assert_eq!(Request::subscription(&codec::encode(&Request::Ledger(Question::Sums))), None);
    }
}
