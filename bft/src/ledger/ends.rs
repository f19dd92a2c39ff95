//! Which cross-shard transactions have finished here, their output shard, for as long as anybody may ask in earnest.
//!
//! A client may hand in a finished transaction again at any time. Until an input shard has executed its expiry there +
//! [`FORGET_ROUNDS_AFTER_EXPIRY`], that shard bars the transaction by a closed record and answers nothing; later it
//! answers that the transaction has expired. So the output shard remembers the end until *every* input shard is that
//! far, as its parts prove. From then on [`Ends::is_past`] holds: nobody can know, and the transaction is refused,
//! never called expired.
//!
//! **Memory.** A finished transaction has ticked in parts of all its input shards. So what is remembered ticked within
//! one window of expiries of the slowest of these: some 50 bytes a transaction, and 32 more for each input shard.
//!
//! Execution does not depend on it, so what is due is forgotten little by little.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::codec::CodecError;
use wire::ids::{Round, ShardId, TxId};
use wire::limits::FORGET_ROUNDS_AFTER_EXPIRY;

use crate::id_index::Steps;
use crate::id_map::IdMap;
use crate::image::load_plain;
use crate::ledger::history::SWEPT_PER_BLOCK;
use crate::ledger::rows::{Rows, write_whole};
use crate::mutant::{Mutant, in_force};
use crate::transaction::TransactionView;

/// A finished transaction.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct End {
    /// The block that finished it.
    round: Round,
    /// Input shards that may still bar it by a record.
    awaited: u8,
}

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ends {
    ends: IdMap<End>,
    /// For each input shard the ends that wait for it, by the round that they wait for. Many ends share a round.
    expiring: BTreeMap<ShardId, BTreeMap<Round, Vec<TxId>>>,
    /// How far each shard is known to have executed at least.
    reached: BTreeMap<ShardId, Round>,
    /// Entries of `expiring` made since the last sweep.
    made: usize,
}

impl Ends {
    pub(super) fn new(hash_seed: u64) -> Ends {
        Ends { ends: IdMap::new(hash_seed), expiring: BTreeMap::new(), reached: BTreeMap::new(), made: 0 }
    }

    /// A shard has executed this round.
    pub(super) fn reach(&mut self, shard: ShardId, round: Round) {
        let reached = self.reached.entry(shard).or_default();
        *reached = round.max(*reached);
    }

    /// The block of `round` has finished a transaction.
    pub(super) fn remember(&mut self, id: TxId, transaction: &TransactionView<'_>, round: Round) {
        let awaited = transaction.expiries().len() as u8;
        self.ends.insert(id, End { round, awaited });
        self.made += usize::from(awaited);
        for expiry in transaction.expiries() {
            let due = if in_force(Mutant::FinishedOutlivesExpiries) {
                Round(expiry.round.0.saturating_add(FORGET_ROUNDS_AFTER_EXPIRY))
            } else {
                Round(0)
            };
            self.expiring.entry(expiry.shard).or_default().entry(due).or_default().push(id);
        }
    }

    /// The block that finished a transaction, if it is remembered.
    pub(super) fn find(&self, id: &TxId) -> Option<Round> {
        self.ends.get(id).map(|end| end.round)
    }

    /// Whether all input shards have passed a transaction's expiries by so much that nobody knows any more whether it
    /// finished.
    pub(super) fn is_past(&self, transaction: &TransactionView<'_>) -> bool {
        transaction.expiries().all(|expiry| {
            let reached = self.reached.get(&expiry.shard).copied().unwrap_or_default();
            reached.0 >= expiry.round.0.saturating_add(FORGET_ROUNDS_AFTER_EXPIRY)
        })
    }

    /// Forgets what is due: twice as much as was remembered since the last sweep, and [`SWEPT_PER_BLOCK`] more, so that
    /// no block waits for a window of them and none stays for long. Returns how many.
    pub(super) fn sweep(&mut self) -> usize {
        let most = SWEPT_PER_BLOCK + 2 * std::mem::take(&mut self.made);
        let mut left = most;
        for (shard, expiring) in &mut self.expiring {
            let reached = self.reached.get(shard).copied().unwrap_or_default();
            while left > 0
                && let Some(mut first) = expiring.first_entry().filter(|first| *first.key() <= reached)
            {
                let Some(id) = first.get_mut().pop() else {
                    first.remove();
                    continue;
                };
                left -= 1;
                let end =
                    self.ends.get_mut(&id).expect("it is remembered until the last of its shards is past");
                end.awaited -= 1;
                if end.awaited == 0 {
                    self.ends.remove(&id);
                }
            }
        }
        most - left
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// See [`IdMap::steps`].
    pub(super) fn steps(&self) -> Steps {
        self.ends.steps()
    }

    /// All ends in no order that means anything.
    pub(super) fn all(&self) -> impl Iterator<Item = (TxId, Round)> + '_ {
        self.ends.iter().map(|(id, end)| (*id, end.round))
    }

    /// The rounds they wait for, ascending by shard: how far it is, and which ends wait for which round.
    pub(super) fn awaited(&self) -> impl Iterator<Item = (ShardId, Round, &BTreeMap<Round, Vec<TxId>>)> {
        self.expiring
            .iter()
            .map(|(shard, expiring)| (*shard, self.reached.get(shard).copied().unwrap_or_default(), expiring))
    }
}

impl Rows for Ends {
    /// What is awaited, then the ends.
    fn write_row(&self, row: usize, bytes: &mut Vec<u8>) -> bool {
        match row.checked_sub(1) {
            None => write_whole(row, &(&self.expiring, &self.reached, self.made), bytes),
            Some(row) => self.ends.write_row(row, bytes),
        }
    }
}

impl Ends {
    /// The ends whose rows come next, indexed with the key of these.
    pub(super) fn with_rows(&self, bytes: &mut &[u8]) -> Result<Ends, CodecError> {
        let (expiring, reached, made) = load_plain(bytes)?;
        Ok(Ends { ends: self.ends.with_rows(bytes)?, expiring, reached, made })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::{Expiry, Input, Output, Owner, Transaction, tx_id};

    #[test]
    fn what_is_due_is_forgotten_twice_as_fast_as_it_can_arise() {
        let mut ends = Ends::new(1);
        let remember = |ends: &mut Ends, number: u32| {
            let expiry = |shard| Expiry { shard: ShardId(shard), round: Round(10) };
            let input = |shard| Input { shard: ShardId(shard), coin: wire::ids::CoinId([1; 32]), amount: 1 };
            let bytes = Transaction {
                inputs: &[input(1), input(2)],
                output_shard: ShardId(0),
                outputs: &[Output { owner: Owner([0; 32]), amount: 2 }],
                expiries: &[expiry(1), expiry(2)],
                payload: &number.to_le_bytes(),
            }
            .encode();
            let view = TransactionView::parse(&bytes).expect("it was just written");
            ends.remember(tx_id(&bytes), &view, Round(5));
        };
        (0..10_000).for_each(|number| remember(&mut ends, number));
        ends.sweep();
        assert_eq!(ends.len(), 10_000, "none is due");
        [1, 2].into_iter().for_each(|shard| ends.reach(ShardId(shard), Round(18)));
        // Blocks that finish 3,000 each: 6,000 entries come, 13,024 may go.
        for block in 1..=4u32 {
            (0..3_000).for_each(|number| remember(&mut ends, block * 10_000 + number));
            ends.sweep();
        }
        assert_eq!(ends.len(), 0, "what is due does not pile up");
        assert!(ends.awaited().all(|(_, _, awaited)| awaited.is_empty()));
    }
}
