//! The ledger as a sequence of bytes that is the same at all members that have executed the same blocks.
//!
//! A checkpoint ([`crate::checkpoint`]) hands the ledger of a shard from one member to another, and f+1 members vouch
//! for its digest; so members must agree on every byte. They do: places in slabs, buckets and free lists depend on the
//! executed blocks alone. Only the indexes are keyed by a member's own seed. They are left out, and whoever reads the
//! bytes makes its own.
//!
//! The bytes come row by row, and a row is a chunk of a table, so a member that writes them need not stop for long.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wire::codec::{self, CodecError};
use wire::ids::ShardId;

use crate::id_map::IdMap;
use crate::image::load_plain;
use crate::ledger::Ledger;
use crate::ledger::links::Links;
use crate::ledger::outcome::Counts;
use crate::slab::{Place, Slab};

/// A part of the state that is written row by row.
pub(super) trait Rows {
    /// Appends the row with this number, from 0 on; whether there is one.
    fn write_row(&self, row: usize, bytes: &mut Vec<u8>) -> bool;
}

/// The position of the next row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cursor {
    table: usize,
    row: usize,
}

/// What is not in a table.
#[derive(Serialize, Deserialize)]
struct Head {
    shard: ShardId,
    held: u128,
    totals: Counts,
    genesis_value: u128,
}

impl Rows for Head {
    fn write_row(&self, row: usize, bytes: &mut Vec<u8>) -> bool {
        write_whole(row, self, bytes)
    }
}

impl Ledger {
    /// Appends the row at the cursor and moves on; `false` after the last one.
    pub(crate) fn write_next(&self, cursor: &mut Cursor, bytes: &mut Vec<u8>) -> bool {
        let Ledger { rules: _, work: _, shard, held, totals, genesis_value, .. } = self;
        let head = Head { shard: *shard, held: *held, totals: *totals, genesis_value: *genesis_value };
        let Ledger { coins, history, ends, open, pool, links, .. } = self;
        let tables: [&dyn Rows; 7] = [&head, coins, history, ends, open, pool, links];
        while let Some(table) = tables.get(cursor.table) {
            if table.write_row(cursor.row, bytes) {
                cursor.row += 1;
                return true;
            }
            *cursor = Cursor { table: cursor.table + 1, row: 0 };
        }
        false
    }

    /// All its rows.
    pub(crate) fn rows(&self) -> Vec<u8> {
        let (mut cursor, mut bytes) = (Cursor::default(), Vec::new());
        while self.write_next(&mut cursor, &mut bytes) {}
        bytes
    }

    /// The ledger whose rows these are, with the rules of this one and the keys of its indexes. It may have millions of
    /// coins, and indexing them takes about 100 ms a million: it is done once, by a member that can do nothing else.
    ///
    /// # Errors
    /// If these bytes are no rows of a ledger of this shard. Callers have verified a digest of them.
    pub(crate) fn with_rows(&self, mut bytes: &[u8]) -> Result<Ledger, CodecError> {
        let bytes = &mut bytes;
        let Head { shard, held, totals, genesis_value } = load_plain(bytes)?;
        let ledger = Ledger {
            rules: self.rules.clone(),
            shard,
            coins: self.coins.with_rows(bytes)?,
            history: self.history.with_rows(bytes)?,
            ends: self.ends.with_rows(bytes)?,
            open: self.open.with_rows(bytes)?,
            held,
            pool: self.pool.with_rows(bytes)?,
            links: load_plain(bytes)?,
            totals,
            genesis_value,
            work: self.work,
        };
        if !bytes.is_empty() {
            return Err(CodecError::TrailingBytes(bytes.len()));
        }
        let is_ours = shard == self.shard && ledger.is_conserved();
        is_ours.then_some(ledger).ok_or_else(|| CodecError::Malformed("another ledger".into()))
    }
}

/// A table that is one row.
pub(super) fn write_whole<T: Serialize>(row: usize, table: &T, bytes: &mut Vec<u8>) -> bool {
    if row == 0 {
        codec::encode_into(table, bytes);
    }
    row == 0
}

impl Rows for Links {
    fn write_row(&self, row: usize, bytes: &mut Vec<u8>) -> bool {
        write_whole(row, self, bytes)
    }
}

impl<V: Clone + Serialize> Rows for IdMap<V> {
    fn write_row(&self, row: usize, bytes: &mut Vec<u8>) -> bool {
        self.entries().write_row(row, bytes)
    }
}

impl<T: Serialize> Rows for Slab<T> {
    /// First the number of chunks and the free places, then each chunk.
    fn write_row(&self, row: usize, bytes: &mut Vec<u8>) -> bool {
        match row.checked_sub(1) {
            None => codec::encode_into(&(self.chunks(), self.free_places()), bytes),
            Some(chunk) if chunk < self.chunks() => codec::encode_into(&self.chunk(chunk), bytes),
            Some(_) => return false,
        }
        true
    }
}

impl<V: Clone + DeserializeOwned> IdMap<V> {
    pub(super) fn with_rows(&self, bytes: &mut &[u8]) -> Result<IdMap<V>, CodecError> {
        Ok(self.with_entries(read_slab(bytes)?))
    }
}

/// The slab whose rows come next.
pub(super) fn read_slab<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<Slab<T>, CodecError> {
    let (chunks, free) = load_plain::<(usize, Vec<Place>)>(bytes)?;
    let chunks = (0..chunks).map(|_| load_plain(bytes)).collect::<Result<_, _>>()?;
    Slab::of_chunks(chunks, free).ok_or_else(|| CodecError::Malformed("chunks of no slab".into()))
}
