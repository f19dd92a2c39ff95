//! Group parts: what one block of a shard has for another, in pieces of a bounded size.
//!
//! ```text
//! source u16 | destination u16 | number u64 | height u64 | finished u32 | cancelled u32      28 bytes, little endian
//! finished ids, cancelled ids                                                                32 bytes each
//! spent transactions, in the encoding of wire::client::list
//! ```
//!
//! *Spent* are transactions whose inputs in the source were spent and whose output shard is the destination; *finished*
//! and *cancelled* are transactions of the source's pool that have inputs in the destination (DESIGN §6, LD).
//!
//! **Digest.** A part's digest is the Merkle root over a leaf for its header and one for each item; each leaf binds
//! destination and number. The block's outgoing root is the Merkle root over the digests of its parts, in order of
//! destination and number. A leaf of a spent transaction holds its TxId, which covers all its bytes, so the digest of a
//! part fixes every byte of it.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wire::bytes::Bytes;
use wire::client::list;
use wire::ids::{Digest, PartNumber, Round, ShardId, TxId};
use wire::limits::PART_BYTES_MAX;

use crate::merkle;
use crate::transaction::tx_id;

const HEADER_BYTES: usize = 28;
const ID_BYTES: usize = 32;

/// Names a part sent to us, by its place and its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct PartRef {
    /// The shard it comes from.
    pub source: ShardId,
    /// Its place among all that the source sends us.
    pub number: PartNumber,
    /// The digest of its items.
    pub digest: Digest,
}

/// What the header of a part says of its place, before anything else of it is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The shard it comes from.
    pub source: ShardId,
    /// The shard it goes to.
    pub destination: ShardId,
    /// Its place among all between these two.
    pub number: PartNumber,
    /// The block it belongs to.
    pub height: Round,
}

impl Place {
    /// Reads the place off the bytes of a part, however the rest of it may be; `None` if they are too short.
    pub fn of(bytes: &[u8]) -> Option<Place> {
        let header = bytes.get(..HEADER_BYTES)?;
        Some(Place {
            source: ShardId(u16::from_le_bytes(array_at(header, 0))),
            destination: ShardId(u16::from_le_bytes(array_at(header, 2))),
            number: PartNumber(u64::from_le_bytes(array_at(header, 4))),
            height: Round(u64::from_le_bytes(array_at(header, 12))),
        })
    }
}

/// A part that is well-formed, with all its hashes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The shard it comes from.
    pub source: ShardId,
    /// The shard it goes to.
    pub destination: ShardId,
    /// Its place among all between these two.
    pub number: PartNumber,
    /// The block it belongs to.
    pub height: Round,
    /// Transactions of the source's pool that finished.
    pub finished: Vec<TxId>,
    /// Transactions of the source's pool that were cancelled.
    pub cancelled: Vec<TxId>,
    /// Transactions whose inputs in the source are spent: id and place in `bytes`.
    pub spent: Vec<(TxId, Range<usize>)>,
    /// The digest of all items.
    pub digest: Digest,
    /// The encoding.
    pub bytes: Bytes,
}

impl Part {
    /// Reads a part; `None` if these bytes encode none. What its items mean is judged by whoever executes it.
    pub fn parse(bytes: Bytes) -> Option<Part> {
        if bytes.len() as u64 > PART_BYTES_MAX {
            return None;
        }
        let Place { source, destination, number, height } = Place::of(&bytes)?;
        let header = &bytes[..HEADER_BYTES];
        let finished_end = ids_end(&bytes, HEADER_BYTES, u32::from_le_bytes(array_at(header, 20)))?;
        let cancelled_end = ids_end(&bytes, finished_end, u32::from_le_bytes(array_at(header, 24)))?;
        let finished = ids(&bytes[HEADER_BYTES..finished_end]);
        let cancelled = ids(&bytes[finished_end..cancelled_end]);
        let items = list::parse(&bytes[cancelled_end..], bytes.len())?;
        let spent = items.into_iter().map(|item| {
            let place = item.start + cancelled_end..item.end + cancelled_end;
            (tx_id(&bytes[place.clone()]), place)
        });
        let spent: Vec<(TxId, Range<usize>)> = spent.collect();
        let digest = digest(destination, number, header, &finished, &cancelled, &spent);
        Some(Part { source, destination, number, height, finished, cancelled, spent, digest, bytes })
    }

    /// Its name at the destination.
    pub fn reference(&self) -> PartRef {
        PartRef { source: self.source, number: self.number, digest: self.digest }
    }

    /// The bytes of the spent transactions.
    pub fn spent(&self) -> impl ExactSizeIterator<Item = (TxId, &[u8])> {
        self.spent.iter().map(|(id, place)| (*id, &self.bytes[place.clone()]))
    }
}

/// What a block has for one shard, cut into parts as it grows.
#[derive(Clone, Debug)]
pub struct Group {
    source: ShardId,
    destination: ShardId,
    height: Round,
    next: PartNumber,
    finished: Vec<TxId>,
    cancelled: Vec<TxId>,
    /// A list as in `wire::client::list`, its count not yet written, and the places of its items in it.
    spent: Vec<u8>,
    items: Vec<(TxId, Range<usize>)>,
    parts: Vec<Part>,
}

impl Group {
    /// An empty group of the block at `height`, whose first part would be number `next`.
    pub fn new(source: ShardId, destination: ShardId, height: Round, next: PartNumber) -> Group {
        let mut spent = Vec::new();
        list::begin(&mut spent);
        Group {
            source,
            destination,
            height,
            next,
            finished: Vec::new(),
            cancelled: Vec::new(),
            spent,
            items: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// Adds a spent transaction, of this id, and returns the number of the part that carries it.
    pub fn spent(&mut self, id: TxId, transaction: &[u8]) -> PartNumber {
        debug_assert_eq!(id, tx_id(transaction), "who adds it has hashed it");
        self.make_room(list::item_bytes(transaction.len()));
        list::push(&mut self.spent, transaction);
        self.items.push((id, self.spent.len() - transaction.len()..self.spent.len()));
        self.next
    }

    /// Adds a finished transaction.
    pub fn finished(&mut self, id: TxId) {
        self.make_room(ID_BYTES);
        self.finished.push(id);
    }

    /// Adds a cancelled transaction.
    pub fn cancelled(&mut self, id: TxId) {
        self.make_room(ID_BYTES);
        self.cancelled.push(id);
    }

    /// All parts, ascending; none if nothing was added.
    pub fn finish(mut self) -> Vec<Part> {
        if !self.is_empty() {
            self.cut();
        }
        self.parts
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.finished.is_empty() && self.cancelled.is_empty()
    }

    /// Begins another part if so many bytes more would be too many for this one.
    fn make_room(&mut self, bytes: usize) {
        let ids = ID_BYTES * (self.finished.len() + self.cancelled.len());
        let with_it = HEADER_BYTES + ids + self.spent.len() + bytes;
        if !self.is_empty() && with_it as u64 > PART_BYTES_MAX {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let count = |ids: &[TxId]| u32::try_from(ids.len()).expect("a part is far below 4 GiB");
        let ids = ID_BYTES * (self.finished.len() + self.cancelled.len());
        let mut bytes = Vec::with_capacity(HEADER_BYTES + ids + self.spent.len());
        bytes.extend(self.source.0.to_le_bytes());
        bytes.extend(self.destination.0.to_le_bytes());
        bytes.extend(self.next.0.to_le_bytes());
        bytes.extend(self.height.0.to_le_bytes());
        bytes.extend(count(&self.finished).to_le_bytes());
        bytes.extend(count(&self.cancelled).to_le_bytes());
        for id in self.finished.iter().chain(&self.cancelled) {
            bytes.extend(id.0);
        }
        list::finish(&mut self.spent, 0, self.items.len());
        let list_from = bytes.len();
        bytes.extend(&self.spent);
        let at = |(id, item): (TxId, Range<usize>)| (id, item.start + list_from..item.end + list_from);
        let spent: Vec<(TxId, Range<usize>)> = std::mem::take(&mut self.items).into_iter().map(at).collect();
        let (finished, cancelled) = (std::mem::take(&mut self.finished), std::mem::take(&mut self.cancelled));
        let header = &bytes[..HEADER_BYTES];
        self.parts.push(Part {
            source: self.source,
            destination: self.destination,
            number: self.next,
            height: self.height,
            digest: digest(self.destination, self.next, header, &finished, &cancelled, &spent),
            finished,
            cancelled,
            spent,
            bytes: Bytes::from(bytes),
        });
        let next = Group::new(self.source, self.destination, self.height, self.next.next());
        let parts = std::mem::take(&mut self.parts);
        *self = Group { parts, ..next };
    }
}

/// The outgoing root over the parts of a block, in order of destination and number; zero if there are none.
pub fn outgoing_root(parts: &[Part]) -> Digest {
    let digests: Vec<Digest> = parts.iter().map(|part| part.digest).collect();
    merkle::root(&digests)
}

/// Tags of leaves: what an item means.
const HEADER_LEAF: u8 = 0;
const FINISHED_LEAF: u8 = 1;
const CANCELLED_LEAF: u8 = 2;
const SPENT_LEAF: u8 = 3;

fn digest(
    destination: ShardId,
    number: PartNumber,
    header: &[u8],
    finished: &[TxId],
    cancelled: &[TxId],
    spent: &[(TxId, Range<usize>)],
) -> Digest {
    let leaf = |kind: u8, bytes: &[u8]| {
        let mut hash = Sha256::new();
        hash.update(b"PART");
        hash.update([kind]);
        hash.update(destination.0.to_le_bytes());
        hash.update(number.0.to_le_bytes());
        hash.update(bytes);
        Digest(hash.finalize().into())
    };
    let mut leaves = Vec::with_capacity(1 + finished.len() + cancelled.len() + spent.len());
    leaves.push(leaf(HEADER_LEAF, header));
    leaves.extend(finished.iter().map(|id| leaf(FINISHED_LEAF, &id.0)));
    leaves.extend(cancelled.iter().map(|id| leaf(CANCELLED_LEAF, &id.0)));
    leaves.extend(spent.iter().map(|(id, _)| leaf(SPENT_LEAF, &id.0)));
    merkle::root(&leaves)
}

/// Where so many ids from `start` on end, if the bytes go that far.
fn ids_end(bytes: &[u8], start: usize, count: u32) -> Option<usize> {
    let end = start.checked_add((count as usize).checked_mul(ID_BYTES)?)?;
    (end <= bytes.len()).then_some(end)
}

fn ids(bytes: &[u8]) -> Vec<TxId> {
    bytes.chunks_exact(ID_BYTES).map(|id| TxId(array_at(id, 0))).collect()
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has the array's length")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> Group {
        Group::new(ShardId(2), ShardId(1), Round(7), PartNumber(5))
    }

    fn sample() -> Part {
        let mut group = group();
        group.finished(TxId([1; 32]));
        group.cancelled(TxId([2; 32]));
        group.cancelled(TxId([3; 32]));
        for transaction in [&b"a transaction"[..], b"another"] {
            assert_eq!(group.spent(tx_id(transaction), transaction), PartNumber(5));
        }
        group.finish().remove(0)
    }

    #[test]
    fn a_part_gives_back_what_was_put_in() {
        let part = sample();
        assert_eq!((part.source, part.destination), (ShardId(2), ShardId(1)));
        assert_eq!((part.number, part.height), (PartNumber(5), Round(7)));
        assert_eq!(part.finished, [TxId([1; 32])]);
        assert_eq!(part.cancelled, [TxId([2; 32]), TxId([3; 32])]);
        let spent: Vec<&[u8]> = part.spent().map(|(_, bytes)| bytes).collect();
        assert_eq!(spent, [&b"a transaction"[..], b"another"]);
        assert_eq!(Part::parse(part.bytes.clone()), Some(part));
    }

    #[test]
    fn every_byte_counts() {
        let part = sample();
        for at in 0..part.bytes.len() {
            let mut changed = part.bytes.to_vec();
            changed[at] ^= 1;
            let changed = Part::parse(Bytes::from(changed));
            assert!(changed.is_none_or(|changed| changed.digest != part.digest), "byte {at}");
        }
        for end in 0..part.bytes.len() {
            assert_eq!(Part::parse(Bytes::from(part.bytes[..end].to_vec())), None, "cut off at {end}");
        }
        assert_eq!(Part::parse(Bytes::from([&part.bytes[..], &[0]].concat())), None, "trailing byte");
        let mut many = part.bytes.to_vec();
        many[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Part::parse(Bytes::from(many)), None, "more ids than bytes");
    }

    #[test]
    fn what_is_too_long_for_one_part_goes_into_the_next() {
        let mut group = group();
        let transaction = vec![9; 60_000];
        let numbers: Vec<u64> = (0..150).map(|_| group.spent(tx_id(&transaction), &transaction).0).collect();
        group.finished(TxId([1; 32]));
        let parts = group.finish();
        assert_eq!(parts.len(), 3);
        for (at, part) in (0u64..).zip(&parts) {
            assert_eq!(part.number.0, 5 + at);
            assert!(part.bytes.len() as u64 <= PART_BYTES_MAX);
            assert_eq!(part.spent.len(), numbers.iter().filter(|number| **number == 5 + at).count());
        }
        assert_eq!(parts[2].finished.len(), 1);
        assert!(super::tests::group().finish().is_empty(), "nothing has no part");
    }

    #[test]
    fn the_outgoing_root_is_that_of_all_parts() {
        assert_eq!(outgoing_root(&[]), Digest::default());
        assert_eq!(outgoing_root(&[sample()]), sample().digest);
    }
}
