//! The settlements of transactions, for as long as they must be known.
//!
//! Records stand in buckets by the round at whose execution they are forgotten, in the order they were made, so
//! forgetting is dropping the first bucket: nothing is searched for. A bucket is forgotten, for all who look up, the
//! moment its round is executed; [`History::sweep`] then takes its records out of the index a few at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wire::codec::CodecError;
use wire::ids::{Round, TxId};
use wire::limits::{EXPIRY_ROUNDS_AHEAD_MAX, FORGET_ROUNDS_AFTER_EXPIRY};

use crate::id_index::{GROUP, Handle, Hashed, IdIndex, Steps};
use crate::image::load_plain;
use crate::ledger::outcome::Settled;
use crate::ledger::rows::{Rows, write_whole};
use crate::slab::Place;

/// Rounds a record lives at most.
const LIFE_ROUNDS_MAX: u64 = EXPIRY_ROUNDS_AHEAD_MAX + FORGET_ROUNDS_AFTER_EXPIRY;
/// A record is named by the low bits of its forgetting round and its number in that bucket.
const ROUND_BITS: u32 = 14;
const NUMBER_BITS: u32 = Handle::BITS - ROUND_BITS;
/// Forgotten buckets that may wait to be swept; with the living ones they must differ in their low bits.
const UNSWEPT_ROUNDS_MAX: u64 = 4_096;
const _: () = assert!(LIFE_ROUNDS_MAX + UNSWEPT_ROUNDS_MAX < 1 << ROUND_BITS);

/// Records freed with every block, besides some for each of its transactions: twice as fast as they can arise.
pub(super) const SWEPT_PER_BLOCK: usize = 1_024;

/// The keeper of the spent coins that records name.
pub(super) trait SpentCoins {
    /// Forgets the coins at these places: their spenders are forgotten.
    fn forget(&mut self, places: &[Place]);
}

/// Names a record as long as its bucket stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct RecordRef(Handle);

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Record {
    id: TxId,
    /// Where its spent coins begin in the bucket's list, and how many they are.
    spent_from: u32,
    /// Rounds from its block to its forgetting; at most `LIFE_ROUNDS_MAX`.
    life_rounds: u16,
    settled: Settled,
    spent: u8,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Bucket {
    records: Vec<Record>,
    spent: Vec<Place>,
    /// Records already swept.
    swept: usize,
}

/// All records of a shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct History {
    index: IdIndex,
    /// One bucket a round, without gaps; the first is that of round `first`.
    /// Clones share buckets until one of them changes one.
    buckets: VecDeque<Arc<Bucket>>,
    first: Round,
    /// The last executed round: records of buckets up to it are forgotten.
    height: Round,
}

impl History {
    pub(super) fn new(hash_seed: u64) -> History {
        History {
            index: IdIndex::new(hash_seed),
            buckets: VecDeque::new(),
            first: Round(1),
            height: Round(0),
        }
    }

    /// The last executed round.
    pub(super) fn height(&self) -> Round {
        self.height
    }

    /// Records, those that wait to be swept included.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// See [`IdIndex::steps`].
    pub(super) fn steps(&self) -> Steps {
        self.index.steps()
    }

    /// We computed every id here ourselves, from a transaction's bytes.
    pub(super) fn hash(&self, id: &TxId) -> Hashed {
        self.index.hash_digest(&id.0)
    }

    /// See [`IdIndex::warm`].
    #[inline]
    pub(super) fn warm(&self, hashed: Hashed) -> u64 {
        self.index.warm(hashed)
    }

    /// The settlement of a transaction, and the round of that block.
    pub(super) fn find(&self, id: &TxId) -> Option<(Settled, Round)> {
        self.find_hashed(self.hash(id), id)
    }

    pub(super) fn find_hashed(&self, hashed: Hashed, id: &TxId) -> Option<(Settled, Round)> {
        // A forgotten record may share its id with a living one until it is swept; only the living one counts.
        let living = |handle| {
            let (forget, record) = self.record(RecordRef(handle));
            record.id == *id && forget > self.height
        };
        let (forget, record) = self.record(RecordRef(self.index.find(hashed, living)?));
        Some((record.settled, Round(forget.0 - u64::from(record.life_rounds))))
    }

    /// Whether a record has not been forgotten.
    pub(super) fn is_remembered(&self, record: RecordRef) -> bool {
        self.first.0 + self.offset(record) as u64 > self.height.0
    }

    /// The transaction of a record that has not been forgotten.
    pub(super) fn transaction(&self, record: RecordRef) -> Option<TxId> {
        let (forget, record) = self.record(record);
        (forget > self.height).then_some(record.id)
    }

    /// Records what the block of `round` did with a transaction, until round `forget` is executed.
    pub(super) fn remember(
        &mut self,
        hashed: Hashed,
        id: TxId,
        settled: Settled,
        round: Round,
        forget: Round,
        spent: &[Place],
    ) -> RecordRef {
        let life = forget.0 - round.0;
        assert!((1..=LIFE_ROUNDS_MAX).contains(&life), "a record lives {life} rounds");
        if self.buckets.is_empty() {
            self.first = self.height.next();
        }
        let offset = (forget.0 - self.first.0) as usize;
        if offset >= self.buckets.len() {
            self.buckets.resize_with(offset + 1, Arc::default);
        }
        let bucket = Arc::make_mut(&mut self.buckets[offset]);
        let number = bucket.records.len() as u64;
        assert!(number < 1 << NUMBER_BITS, "memory ends before a bucket has 2^{NUMBER_BITS} records");
        bucket.records.push(Record {
            id,
            spent_from: u32::try_from(bucket.spent.len()).expect("memory ends before 2^32 coins"),
            life_rounds: life as u16,
            settled,
            spent: spent.len() as u8,
        });
        bucket.spent.extend_from_slice(spent);
        let handle = handle(forget, number);
        self.index.insert(hashed, handle);
        RecordRef(handle)
    }

    /// Changes what became of a transaction that has spent here: the block of `round` has ended it. Whether it did; not
    /// if it is forgotten, or came to another end before.
    pub(super) fn end(&mut self, id: &TxId, settled: Settled, round: Round) -> bool {
        let living = |handle| {
            let (forget, record) = self.record(RecordRef(handle));
            record.id == *id && forget > self.height
        };
        let Some(handle) = self.index.find(self.hash(id), living) else { return false };
        let (forget, record) = self.record_mut(RecordRef(handle));
        if record.settled != Settled::Spent {
            return false;
        }
        record.settled = settled;
        record.life_rounds = (forget.0 - round.0) as u16;
        true
    }

    /// Forgets what is due with the execution of `height`, and frees the memory of up to `records_max` records
    /// forgotten now or before, with the coins they spent (of more if they have waited too long). Returns how many.
    pub(super) fn sweep(&mut self, height: Round, records_max: usize, coins: &mut impl SpentCoins) -> usize {
        self.height = height;
        let (mut left, mut freed) = (records_max, 0);
        while self.first <= height
            && let Some(bucket) = self.buckets.front_mut()
        {
            let overdue = self.first.0 + UNSWEPT_ROUNDS_MAX <= height.0;
            let most = if overdue { usize::MAX } else { left };
            let bucket = Arc::make_mut(bucket);
            let swept = bucket.sweep(self.first, most, &mut self.index, coins);
            left = left.saturating_sub(swept);
            freed += swept;
            if bucket.swept < bucket.records.len() {
                break;
            }
            self.buckets.pop_front();
            self.first = self.first.next();
        }
        freed
    }

    /// Living records in no order that means anything.
    pub(super) fn records(&self) -> impl Iterator<Item = (TxId, Settled, Round)> {
        let rounds = (self.first.0..).map(Round);
        let living = rounds.zip(&self.buckets).filter(|(forget, _)| *forget > self.height);
        living.flat_map(|(forget, bucket)| {
            bucket.records.iter().map(move |record| {
                (record.id, record.settled, Round(forget.0 - u64::from(record.life_rounds)))
            })
        })
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        let bucket = |bucket: &Arc<Bucket>| {
            bucket.records.capacity() * size_of::<Record>() + bucket.spent.capacity() * size_of::<Place>()
        };
        let buckets: usize = self.buckets.iter().map(bucket).sum();
        self.index.allocated_bytes() + buckets + self.buckets.capacity() * size_of::<Arc<Bucket>>()
    }

    fn offset(&self, record: RecordRef) -> usize {
        let low_bits = record.0.number() >> NUMBER_BITS;
        (low_bits.wrapping_sub(self.first.0) & ((1 << ROUND_BITS) - 1)) as usize
    }

    /// A record that is in the index, with the round of its forgetting.
    fn record(&self, record: RecordRef) -> (Round, &Record) {
        let offset = self.offset(record);
        let number = (record.0.number() & ((1 << NUMBER_BITS) - 1)) as usize;
        (Round(self.first.0 + offset as u64), &self.buckets[offset].records[number])
    }

    fn record_mut(&mut self, record: RecordRef) -> (Round, &mut Record) {
        let offset = self.offset(record);
        let number = (record.0.number() & ((1 << NUMBER_BITS) - 1)) as usize;
        (Round(self.first.0 + offset as u64), &mut Arc::make_mut(&mut self.buckets[offset]).records[number])
    }
}

impl Rows for History {
    /// The rounds, then each bucket.
    fn write_row(&self, row: usize, bytes: &mut Vec<u8>) -> bool {
        match row.checked_sub(1) {
            None => write_whole(row, &(self.first, self.height, self.buckets.len()), bytes),
            Some(bucket) => {
                let bucket = self.buckets.get(bucket);
                bucket.is_some_and(|bucket| write_whole(0, &**bucket, bytes))
            }
        }
    }
}

impl History {
    /// The history whose rows come next, indexed with the key of this one.
    pub(super) fn with_rows(&self, bytes: &mut &[u8]) -> Result<History, CodecError> {
        let (first, height, buckets) = load_plain::<(Round, Round, usize)>(bytes)?;
        let mut index = self.index.emptied();
        let mut read = |forget: Round| {
            let bucket: Bucket = load_plain(bytes)?;
            for (number, record) in (0..).zip(&bucket.records).skip(bucket.swept) {
                index.insert(index.hash_digest(&record.id.0), handle(forget, number));
            }
            Ok(Arc::new(bucket))
        };
        let buckets = (first.0..).map(Round).take(buckets).map(&mut read).collect::<Result<_, _>>()?;
        Ok(History { index, buckets, first, height })
    }
}

impl Bucket {
    /// Takes up to `records_max` records out of the index, and has the coins they spent forgotten; gives how many.
    fn sweep(
        &mut self,
        forget: Round,
        records_max: usize,
        index: &mut IdIndex,
        coins: &mut impl SpentCoins,
    ) -> usize {
        let from = self.swept;
        let until = self.records.len().min(from.saturating_add(records_max));
        while self.swept < until {
            let group = self.swept..until.min(self.swept + GROUP);
            let records = &self.records[group.clone()];
            let spent = match (records.first(), records.last()) {
                (Some(first), Some(last)) => {
                    first.spent_from as usize..last.spent_from as usize + usize::from(last.spent)
                }
                _ => return 0,
            };
            let spent = &self.spent[spent];
            let sink =
                records.iter().fold(0, |sink, record| sink ^ index.warm(index.hash_digest(&record.id.0)));
            std::hint::black_box(sink);
            coins.forget(spent);
            for (number, record) in group.clone().zip(records) {
                index.remove(index.hash_digest(&record.id.0), handle(forget, number as u64));
            }
            self.swept = group.end;
        }
        until - from
    }
}

fn handle(forget: Round, number: u64) -> Handle {
    let low_bits = forget.0 & ((1 << ROUND_BITS) - 1);
    Handle::new((low_bits << NUMBER_BITS) | number)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::prng::Prng;

    fn remember(history: &mut History, id: TxId, round: u64, forget: u64, place: u32) -> RecordRef {
        let hashed = history.hash(&id);
        let place = [Place(place)];
        history.remember(hashed, id, Settled::Finished, Round(round), Round(forget), &place)
    }

    /// Takes down what is released.
    #[derive(Default)]
    struct Released(Vec<Place>);

    impl SpentCoins for Released {
        fn forget(&mut self, places: &[Place]) {
            self.0.extend(places);
        }
    }

    #[test]
    fn forgetting_is_at_once_though_sweeping_lags() {
        let mut history = History::new(1);
        let ids: Vec<TxId> = (0..100).map(|byte| TxId([byte; 32])).collect();
        let records: Vec<RecordRef> =
            (0u32..).zip(&ids).map(|(place, id)| remember(&mut history, *id, 1, 5, place)).collect();
        let mut released = Released::default();
        history.sweep(Round(4), 1, &mut released);
        assert_eq!(released.0, [], "nothing is due yet");
        assert_eq!(history.find(&ids[99]), Some((Settled::Finished, Round(1))));
        assert!(history.steps().total >= 100, "each of them takes a step at least");
        history.sweep(Round(5), 1, &mut released);
        assert_eq!((released.0.len(), history.len()), (1, 99));
        assert_eq!(history.find(&ids[99]), None, "forgotten, though not swept");
        assert!(!history.is_remembered(records[99]));
        assert_eq!(history.transaction(records[99]), None);
        // The same id may be recorded anew while its old record waits to be swept.
        remember(&mut history, ids[99], 6, 20, 777);
        assert_eq!(history.find(&ids[99]), Some((Settled::Finished, Round(6))));
        history.sweep(Round(6), 1_000, &mut released);
        released.0.sort_unstable();
        assert_eq!(released.0, (0..100).map(Place).collect::<Vec<_>>());
        assert_eq!(history.find(&ids[99]), Some((Settled::Finished, Round(6))));
        assert_eq!((history.len(), history.records().count()), (1, 1));
    }

    #[test]
    fn agrees_with_an_ordered_map_over_many_times_its_window() {
        let mut prng = Prng::new(3);
        let mut history = History::new(3);
        let mut model: BTreeMap<TxId, (u64, u64)> = BTreeMap::new();
        let mut released = Released::default();
        let mut made = 0;
        for round in 1..=60_000u64 {
            // Bursts that no budget keeps up with, then long pauses.
            let burst = if round % 5_000 < 20 { 30 } else { u64::from(prng.chance(1, 20)) };
            for _ in 0..burst {
                let id = TxId(prng.bytes());
                let forget = round + prng.within(1..LIFE_ROUNDS_MAX + 1);
                remember(&mut history, id, round, forget, made as u32);
                model.insert(id, (round, forget));
                made += 1;
            }
            history.sweep(Round(round), usize::from(round % 7 == 0), &mut released);
            if round % 1_000 == 0 {
                model.retain(|_, (_, forget)| *forget > round);
                for (id, (made_in, _)) in &model {
                    assert_eq!(history.find(id), Some((Settled::Finished, Round(*made_in))), "round {round}");
                }
                assert_eq!(history.records().count(), model.len(), "round {round}");
            }
        }
        history.sweep(Round(60_000 + LIFE_ROUNDS_MAX), usize::MAX, &mut released);
        assert_eq!((released.0.len(), history.len()), (made, 0));
    }
}
