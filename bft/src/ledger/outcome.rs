//! The result of a block: an outcome for each transaction, the events of cross-shard transactions, the parts for other
//! shards, and the digest that the header binds.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wire::client::{Fate, Refusal, Rejection};
use wire::ids::{Digest, PartNumber, Round, ShardId, TxId};

use crate::part::{Part, PartRef};

/// Why a transaction cannot execute in a shard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Cause {
    /// The ledger rejects it.
    Rejected(Rejection),
    /// Its expiry has passed.
    Expired,
    /// Its expiry is too far ahead. Not final: a block may execute it once that is within reach.
    ExpiryTooFar,
}

impl Cause {
    /// The fate reported to a client.
    pub fn fate(self) -> Fate {
        match self {
            Cause::Rejected(reason) => Fate::Rejected(reason),
            Cause::Expired => Fate::Expired,
            Cause::ExpiryTooFar => Fate::Refused(Refusal::ExpiryTooFar),
        }
    }
}

/// The final settlement of a transaction by a block, remembered until its expiry bars it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Settled {
    /// Its coins are spent and its outputs created. A cross-shard transaction finishes only at its output shard.
    Finished,
    /// A cross-shard transaction whose inputs here are spent; its output shard decides how it ends.
    Spent,
    /// It can never execute. The cause is final, so it is not [`Cause::ExpiryTooFar`].
    Never(Cause),
}

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Settled::Finished => f.write_str("finished"),
            Settled::Spent => f.write_str("spent"),
            Settled::Never(Cause::Rejected(reason)) => write!(f, "rejected ({reason})"),
            Settled::Never(Cause::Expired) => f.write_str("expired"),
            Settled::Never(Cause::ExpiryTooFar) => f.write_str("not executed (its expiry is too far ahead)"),
        }
    }
}

/// How a transaction stands in this shard: the ledger's one answer, of which all others are projections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It may execute in the next block, or once coins that are unknown yet appear.
    Open,
    /// Its inputs here are spent and its record is open: its output shard has not decided, as far as is known here.
    Spent,
    /// The block of this round has settled it.
    Settled(Settled, Round),
    /// No block has settled it, and the next one cannot execute it, nor any later one if the cause is final.
    Never(Cause),
}

impl Standing {
    /// Why it cannot execute, if it cannot and never did.
    pub fn never(self) -> Option<Cause> {
        match self {
            Standing::Settled(Settled::Never(cause), _) | Standing::Never(cause) => Some(cause),
            Standing::Open | Standing::Spent | Standing::Settled(Settled::Finished | Settled::Spent, _) => {
                None
            }
        }
    }

    /// Its fate as far as this shard decides it; `None` if it may still execute, or if its output shard decides.
    pub fn fate(self) -> Option<Fate> {
        match self {
            Standing::Settled(Settled::Finished, round) => Some(Fate::Finished(round)),
            standing => standing.never().map(Cause::fate),
        }
    }
}

/// The outcome of executing one transaction of a block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// This block settled it.
    Settled(Settled),
    /// Passed over: its id is settled already.
    Duplicate,
    /// Passed over: it has no input in this shard.
    NotHere,
    /// Passed over: its expiry is too far ahead. It may be ordered again once that is within reach. To reject it for
    /// good would take a record for as long as its author likes.
    ExpiryTooFar,
}

impl Outcome {
    /// The byte that stands for it in the outcome digest.
    pub(super) fn code(self) -> u8 {
        match self {
            Outcome::Settled(Settled::Finished) => 0,
            Outcome::Settled(Settled::Spent) => 2,
            Outcome::Settled(Settled::Never(Cause::Rejected(reason))) => rejection_code(reason),
            Outcome::Settled(Settled::Never(Cause::Expired)) => 1,
            Outcome::Duplicate => 32,
            Outcome::NotHere => 33,
            Outcome::Settled(Settled::Never(Cause::ExpiryTooFar)) | Outcome::ExpiryTooFar => 34,
        }
    }
}

fn rejection_code(reason: Rejection) -> u8 {
    match reason {
        Rejection::Spent => 16,
        Rejection::UnknownCoin => 17,
        Rejection::WrongAmount => 18,
        Rejection::NotOwner => 19,
        Rejection::Cancelled => 20,
    }
}

/// One transaction of a block and what became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Executed {
    /// The transaction.
    pub id: TxId,
    /// The entry it stood in, counted in the block's order from 0.
    pub entry: u32,
    /// Its place in that entry, from 0.
    pub index: u32,
    /// Its outcome.
    pub outcome: Outcome,
}

/// Something that a block did with a cross-shard transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CrossEvent {
    /// Here, an input shard, it was ordered and can never execute.
    Rejected {
        /// The transaction.
        id: TxId,
        /// All its other shards, ascending.
        others: Vec<ShardId>,
        /// Why.
        cause: Cause,
    },
    /// Its inputs here are spent and its record is open.
    Spent {
        /// The transaction.
        id: TxId,
        /// Its output shard.
        output: ShardId,
        /// The part that carries it to the output shard; 0 if that is here.
        part: PartNumber,
    },
    /// It has a new entry in the pool, and waits for other shards.
    Pooled {
        /// The transaction.
        id: TxId,
    },
    /// Here, its output shard, its outputs were created.
    Finished {
        /// The transaction.
        id: TxId,
    },
    /// Here, its output shard, its entry in the pool was dropped.
    Cancelled {
        /// The transaction.
        id: TxId,
    },
    /// Its inputs here were given back, and its record is closed.
    Refunded {
        /// The transaction.
        id: TxId,
    },
    /// Its record is closed since it finished.
    Closed {
        /// The transaction.
        id: TxId,
    },
}

impl CrossEvent {
    /// Feeds it to a hash, in one way only.
    fn hash(&self, hash: &mut Sha256) {
        let mut short = |kind: u8, id: &TxId| {
            hash.update([kind]);
            hash.update(id.0);
        };
        match self {
            CrossEvent::Rejected { id, others, cause } => {
                short(1, id);
                let cause = match cause {
                    Cause::Rejected(reason) => rejection_code(*reason),
                    Cause::Expired => 1,
                    Cause::ExpiryTooFar => 2,
                };
                hash.update([cause, others.len() as u8]);
                others.iter().for_each(|shard| hash.update(shard.0.to_le_bytes()));
            }
            CrossEvent::Spent { id, output, part } => {
                short(2, id);
                hash.update(output.0.to_le_bytes());
                hash.update(part.0.to_le_bytes());
            }
            CrossEvent::Pooled { id } => short(3, id),
            CrossEvent::Finished { id } => short(4, id),
            CrossEvent::Cancelled { id } => short(5, id),
            CrossEvent::Refunded { id } => short(6, id),
            CrossEvent::Closed { id } => short(7, id),
        }
    }
}

/// How many transactions became what.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Finished within this shard.
    pub finished: u64,
    /// Rejected for good.
    pub rejected: u64,
    /// Ordered past their expiry.
    pub expired: u64,
    /// Passed over: duplicates, what is not this shard's, and what expires too far ahead.
    pub skipped: u64,
    /// Cross-shard: inputs here spent.
    pub spent: u64,
    /// Cross-shard: finished here, the output shard.
    pub finished_cross: u64,
    /// Cross-shard: cancelled here, the output shard.
    pub cancelled: u64,
    /// Cross-shard: inputs here given back.
    pub refunded: u64,
    /// Cross-shard: records closed here since the transactions finished.
    pub closed: u64,
}

impl Counts {
    pub(super) fn add(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Settled(Settled::Finished) => &mut self.finished,
            Outcome::Settled(Settled::Spent) => &mut self.spent,
            Outcome::Settled(Settled::Never(Cause::Expired)) => &mut self.expired,
            Outcome::Settled(Settled::Never(_)) => &mut self.rejected,
            Outcome::Duplicate | Outcome::NotHere | Outcome::ExpiryTooFar => &mut self.skipped,
        } += 1;
    }

    /// Counts events that do not show in the outcomes of ordered transactions.
    pub(super) fn add_cross(&mut self, event: &CrossEvent) {
        match event {
            CrossEvent::Finished { .. } => self.finished_cross += 1,
            CrossEvent::Cancelled { .. } => self.cancelled += 1,
            CrossEvent::Refunded { .. } => self.refunded += 1,
            CrossEvent::Closed { .. } => self.closed += 1,
            CrossEvent::Rejected { .. } | CrossEvent::Spent { .. } | CrossEvent::Pooled { .. } => {}
        }
    }

    pub(super) fn add_all(&mut self, other: &Counts) {
        self.finished += other.finished;
        self.rejected += other.rejected;
        self.expired += other.expired;
        self.skipped += other.skipped;
        self.spent += other.spent;
        self.finished_cross += other.finished_cross;
        self.cancelled += other.cancelled;
        self.refunded += other.refunded;
        self.closed += other.closed;
    }
}

/// The result of executing a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockOutcome {
    /// Round and height of the block.
    pub round: Round,
    /// Every transaction in the order of execution.
    pub transactions: Vec<Executed>,
    /// Its steps with cross-shard transactions, in the order of execution.
    pub cross: Vec<CrossEvent>,
    /// The parts of other shards that it executed, in order.
    pub imported: Vec<PartRef>,
    /// Its parts for other shards, by destination and number.
    pub parts: Vec<Arc<Part>>,
    /// The root over these parts; zero if there are none.
    pub outgoing: Digest,
    /// How many became what.
    pub counts: Counts,
    /// Entries that were passed over whole because they break static validity. A certified entry has been checked by
    /// honest members, so this stays 0 as long as no more than f are faulty.
    pub invalid_entries: u64,
    /// The digest that the header binds; see `compute_digest`.
    pub digest: Digest,
}

impl BlockOutcome {
    /// SHA-256 of a tag, the round, how many transactions, events and imports there are, for each transaction its id
    /// and the code of its outcome, all events and imports, and the root over the parts. The places of transactions in
    /// entries and the entries passed over follow from the cut, and the counts from the rest.
    pub(crate) fn compute_digest(&self) -> Digest {
        const BATCH: usize = 64;
        let mut hash = Sha256::new();
        hash.update(b"OUTC");
        hash.update(self.round.0.to_le_bytes());
        for count in [self.transactions.len(), self.cross.len(), self.imported.len()] {
            hash.update((count as u64).to_le_bytes());
        }
        // The hash is fed some two thousand bytes at a time: feeding it 33 costs more than hashing them.
        let mut buffer = [0; BATCH * 33];
        for batch in self.transactions.chunks(BATCH) {
            for (slot, executed) in buffer.chunks_exact_mut(33).zip(batch) {
                slot[..32].copy_from_slice(&executed.id.0);
                slot[32] = executed.outcome.code();
            }
            hash.update(&buffer[..batch.len() * 33]);
        }
        self.cross.iter().for_each(|event| event.hash(&mut hash));
        for part in &self.imported {
            hash.update(part.source.0.to_le_bytes());
            hash.update(part.number.0.to_le_bytes());
            hash.update(part.digest.0);
        }
        hash.update(self.outgoing.0);
        Digest(hash.finalize().into())
    }
}
