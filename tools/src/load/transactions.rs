//! `transactions.csv`: what became of single transactions, a line each.
//!
//! `docs/files.md` defines the columns. Lines come in the order of the receipts; transactions without one stand at the
//! end. A file that cannot be written ends there, and the summary says so.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::ops::Range;
use std::path::Path;

use wire::client::Fate;
use wire::hex;
use wire::ids::{NodeId, ShardId, TxId};

use super::plan::Rate;

const HEADER: &str =
    "tx,stands_for,kind,intended_us,sent_us,receipt_us,contact,input_shards,output_shard,fate,height";
/// Most lines a second of an open loop, so that writing them does not slow the load down.
const LINES_PER_S_MAX: u64 = 10_000;
/// The same for a closed loop, whose rate is not known before: one in so many.
const EVERY_AT_MAX: u64 = 32;

pub(crate) struct TransactionLog {
    file: BufWriter<File>,
    every: u64,
    written: io::Result<()>,
}

/// A transaction of which the load keeps the books no more.
pub(crate) struct Ended<'a> {
    pub(crate) id: TxId,
    pub(crate) intended_us: u64,
    pub(crate) sent_us: u64,
    pub(crate) receipt_us: Option<u64>,
    pub(crate) contact: NodeId,
    pub(crate) input_shards: &'a [ShardId],
    pub(crate) output_shard: ShardId,
    pub(crate) is_cross: bool,
    pub(crate) end: End,
}

/// How it ended for its client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// By a receipt.
    Receipt(Fate),
    /// Its node, which is up, has not sent its fate.
    InFlight,
    /// Its node is gone.
    Orphaned,
}

impl TransactionLog {
    /// A new file for a load of this rate.
    pub(crate) fn create(path: &Path, rate: Rate) -> io::Result<TransactionLog> {
        let mut file = BufWriter::with_capacity(1 << 16, File::create(path)?);
        writeln!(file, "{HEADER}")?;
        Ok(TransactionLog { file, every: every(rate), written: Ok(()) })
    }

    /// Whether the transaction of this number has a line.
    pub(crate) fn wants(&self, number: u64) -> bool {
        number.is_multiple_of(self.every) && self.written.is_ok()
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, ended: &Ended<'_>) {
        let shards: Vec<String> = ended.input_shards.iter().map(ToString::to_string).collect();
        let receipt = ended.receipt_us.map_or(String::new(), |us| us.to_string());
        let kind = if ended.is_cross { "cross" } else { "intra" };
        let (fate, height) = match ended.end {
            End::Receipt(Fate::Finished(height)) => ("finished".into(), height.to_string()),
            End::Receipt(Fate::Rejected(reason)) => (format!("rejected: {reason:?}"), String::new()),
            End::Receipt(Fate::Refused(reason)) => (format!("refused: {reason:?}"), String::new()),
            End::Receipt(Fate::Expired) => ("expired".into(), String::new()),
            End::Receipt(Fate::Unknown) => ("lost".into(), String::new()),
            End::InFlight => ("in flight".into(), String::new()),
            End::Orphaned => ("orphaned".into(), String::new()),
        };
        let Ended { intended_us, sent_us, contact, output_shard, .. } = ended;
        let (id, every) = (hex::encode(&ended.id.0), self.every);
        self.written = writeln!(
            self.file,
            "{id},{every},{kind},{intended_us},{sent_us},{receipt},{contact},{},{output_shard},{fate},{height}",
            shards.join("+")
        );
    }

    /// Adds a line for each of so many that were never sent, as many as of the others.
    pub(crate) fn add_unsent(&mut self, numbers: Range<u64>, intended_us: impl Fn(u64) -> u64) {
        let every = self.every;
        for number in numbers.step_by(usize::try_from(every).unwrap_or(usize::MAX)) {
            if self.written.is_err() {
                return;
            }
            self.written = writeln!(self.file, ",{every},,{},,,,,,never sent,", intended_us(number));
        }
    }

    /// Writes everything out; whether all could be written.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.written?;
        self.file.flush()
    }
}

/// One in how many transactions has a line.
fn every(rate: Rate) -> u64 {
    match rate {
        Rate::PerSecond(rate) => rate.div_ceil(LINES_PER_S_MAX),
        Rate::Max => EVERY_AT_MAX,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use wire::client::Refusal;
    use wire::ids::Round;

    use super::*;
    use crate::testing::TestDir;

    #[test]
    fn each_column_is_defined() {
        assert_eq!(crate::testing::documented("`transactions.csv`").join(","), HEADER);
    }

    #[test]
    fn lines_have_the_columns_of_the_header() {
        let dir = TestDir::new();
        let path = dir.path().join("transactions.csv");
        let mut log = TransactionLog::create(&path, Rate::PerSecond(25_000)).unwrap();
        assert_eq!([0, 1, 2, 3].map(|number| log.wants(number)), [true, false, false, true]);
        let ended = |end, receipt_us| Ended {
            id: TxId([0xAB; 32]),
            intended_us: 5,
            sent_us: 6,
            receipt_us,
            contact: NodeId(7),
            input_shards: &[ShardId(0), ShardId(2)],
            output_shard: ShardId(1),
            is_cross: true,
            end,
        };
        log.add(&ended(End::Receipt(Fate::Finished(Round(9))), Some(8)));
        log.add(&ended(End::Receipt(Fate::Refused(Refusal::Full)), Some(8)));
        log.add(&ended(End::Orphaned, None));
        log.add_unsent(10..14, |number| number);
        log.finish().unwrap();
        let id = "ab".repeat(32);
        let expected = format!(
            "{HEADER}\n{id},3,cross,5,6,8,7,0+2,1,finished,9\n{id},3,cross,5,6,8,7,0+2,1,refused: Full,\n\
             {id},3,cross,5,6,,7,0+2,1,orphaned,\n\
             ,3,,10,,,,,,never sent,\n,3,,13,,,,,,never sent,\n"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    }

    #[test]
    fn a_full_disk_ends_the_file_and_is_an_error() {
        let mut log = TransactionLog::create(Path::new("/dev/full"), Rate::Max).unwrap();
        let ended = Ended {
            id: TxId([0; 32]),
            intended_us: 0,
            sent_us: 0,
            receipt_us: None,
            contact: NodeId(0),
            input_shards: &[ShardId(0)],
            output_shard: ShardId(0),
            is_cross: false,
            end: End::InFlight,
        };
        for _ in 0..1_000 {
            log.add(&ended);
        }
        assert!(!log.wants(0), "it has ended");
        assert!(log.finish().is_err());
    }
}
