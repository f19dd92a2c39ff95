//! What a block did: an outcome for each transaction, and the digest that the header binds.

use sha2::{Digest as _, Sha256};
use wire::client::Rejection;
use wire::ids::{Digest, Round, TxId};

/// The end of a transaction, remembered until it is barred by its expiry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Settled {
    /// Its coins are spent and its outputs created.
    Finished,
    /// It can never execute.
    Rejected(Rejection),
    /// The block's round was past its expiry.
    Expired,
}

/// Why a transaction of a block was passed over without a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Skip {
    /// Its id is settled already.
    Duplicate,
    /// It has no input in this shard.
    NotHere,
    /// It has inputs here and something elsewhere.
    CrossShard,
}

/// What executing one transaction of a block did.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    /// This block settled it.
    Settled(Settled),
    /// This block did nothing with it.
    Skipped(Skip),
}

impl Outcome {
    /// The byte that stands for it in the outcome digest.
    pub(super) fn code(self) -> u8 {
        match self {
            Outcome::Settled(Settled::Finished) => 0,
            Outcome::Settled(Settled::Expired) => 1,
            Outcome::Settled(Settled::Rejected(reason)) => match reason {
                Rejection::Spent => 16,
                Rejection::UnknownCoin => 17,
                Rejection::WrongAmount => 18,
                Rejection::NotOwner => 19,
                Rejection::ExpiryTooFar => 20,
                Rejection::Cancelled => 21,
            },
            Outcome::Skipped(Skip::Duplicate) => 32,
            Outcome::Skipped(Skip::NotHere) => 33,
            Outcome::Skipped(Skip::CrossShard) => 34,
        }
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
    /// What became of it.
    pub outcome: Outcome,
}

/// How many transactions became what.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Finished.
    pub finished: u64,
    /// Rejected for good.
    pub rejected: u64,
    /// Ordered past their expiry.
    pub expired: u64,
    /// Passed over: duplicates, and what is not this shard's.
    pub skipped: u64,
}

impl Counts {
    pub(super) fn add(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Settled(Settled::Finished) => &mut self.finished,
            Outcome::Settled(Settled::Rejected(_)) => &mut self.rejected,
            Outcome::Settled(Settled::Expired) => &mut self.expired,
            Outcome::Skipped(_) => &mut self.skipped,
        } += 1;
    }

    pub(super) fn add_all(&mut self, other: &Counts) {
        self.finished += other.finished;
        self.rejected += other.rejected;
        self.expired += other.expired;
        self.skipped += other.skipped;
    }
}

/// What executing a block did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockOutcome {
    /// Round and height of the block.
    pub round: Round,
    /// Every transaction in the order of execution.
    pub transactions: Vec<Executed>,
    /// How many became what.
    pub counts: Counts,
    /// Entries that were passed over whole because they break static validity. A certified entry has been checked by
    /// honest members, so this stays 0 as long as no more than f are faulty.
    pub invalid_entries: u64,
    /// The digest over round and transactions with their outcomes, in order: what the header binds.
    pub digest: Digest,
}

/// SHA-256 of a tag, the round, and for each transaction its id and the code of its outcome.
pub(super) fn digest(round: Round, transactions: &[Executed]) -> Digest {
    const BATCH: usize = 64;
    let mut hash = Sha256::new();
    hash.update(b"OUTC");
    hash.update(round.0.to_le_bytes());
    // The hash is fed some two thousand bytes at a time: feeding it 33 costs more than hashing them.
    let mut buffer = [0; BATCH * 33];
    for batch in transactions.chunks(BATCH) {
        for (slot, executed) in buffer.chunks_exact_mut(33).zip(batch) {
            slot[..32].copy_from_slice(&executed.id.0);
            slot[32] = executed.outcome.code();
        }
        hash.update(&buffer[..batch.len() * 33]);
    }
    Digest(hash.finalize().into())
}
