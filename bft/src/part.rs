//! Group parts: the items that one block of a shard has for another, in pieces of a bounded size.
//!
//! ```text
//! source u16 | destination u16 | number u64 | height u64 | finished u32 | cancelled u32      28 bytes, little endian
//! finished ids, cancelled ids                                                                32 bytes each
//! spent transactions, in the encoding of wire::client::list
//! ```
//!
//! *Spent* are transactions whose inputs in the source were spent and whose output shard is the destination; *finished*
//! and *cancelled* are transactions of the source's pool that have inputs in the destination (docs/design.md §11).
//!
//! **Digest \[safety].** Three hashes lead from an item to the header of its block, each under a tag of its own:
//!
//! ```text
//! leaf           ITEM | kind u8 | destination u16 | number u64 | id 32
//! part's digest  PDIG | the part's 28 bytes of header | spent u32 | root of the leaves, Tree::Items
//! outgoing root  OUTG | parts u32 | root of the parts' digests, Tree::Parts, by destination and number
//! ```
//!
//! The id of a spent transaction covers all its bytes, so the digest of a part fixes every byte of it. Neither side of
//! a transfer can choose a shape: the part's digest binds how many items of each kind it has, the outgoing root binds
//! how many parts the block has, and no node of a tree is a part's digest. A block without parts has the outgoing root
//! zero.
//!
//! If the digest were the bare root of the items, a left subtree would pass for a shorter part, with the same
//! certificate and a longer branch, and whatever the omitted transactions had spent would be lost.
//! [`Mutant::PartDigestBindsCounts`] switches this rule off.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wire::bytes::Bytes;
use wire::client::list;
use wire::ids::{Digest, PartNumber, Round, ShardId, TxId};
use wire::limits::PART_BYTES_MAX;

use crate::merkle::Tree;
use crate::mutant::{Mutant, in_force};
use crate::transaction::tx_id;

const HEADER_BYTES: usize = 28;
const ID_BYTES: usize = 32;

/// A part that was sent to us, named by its number and its digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct PartRef {
    /// The shard it comes from.
    pub source: ShardId,
    /// Its number among all parts that the source sends us.
    pub number: PartNumber,
    /// Its digest.
    pub digest: Digest,
}

/// The source, destination, number and height in the header of a part, read before anything else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Label {
    /// The shard it comes from.
    pub source: ShardId,
    /// The shard it goes to.
    pub destination: ShardId,
    /// Its number among all parts between these two.
    pub number: PartNumber,
    /// The block it belongs to.
    pub height: Round,
}

impl Label {
    /// Reads the header of a part, whatever follows it; `None` if the bytes are too short.
    pub fn of(bytes: &[u8]) -> Option<Label> {
        let header = bytes.get(..HEADER_BYTES)?;
        Some(Label {
            source: ShardId(u16::from_le_bytes(array_at(header, 0))),
            destination: ShardId(u16::from_le_bytes(array_at(header, 2))),
            number: PartNumber(u64::from_le_bytes(array_at(header, 4))),
            height: Round(u64::from_le_bytes(array_at(header, 12))),
        })
    }
}

/// A part that is well-formed, with all its hashes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Part {
    /// The shard it comes from.
    pub source: ShardId,
    /// The shard it goes to.
    pub destination: ShardId,
    /// Its number among all parts between these two.
    pub number: PartNumber,
    /// The block it belongs to.
    pub height: Round,
    /// Transactions of the source's pool that finished.
    pub finished: Vec<TxId>,
    /// Transactions of the source's pool that were cancelled.
    pub cancelled: Vec<TxId>,
    /// Transactions whose inputs in the source are spent: ids and ranges in `bytes`.
    pub spent: Vec<(TxId, Range<usize>)>,
    /// The digest, which fixes every byte.
    pub digest: Digest,
    /// The encoding.
    pub bytes: Bytes,
}

impl Part {
    /// Parses a part; `None` if these bytes encode none. Execution judges the meaning of its items.
    pub fn parse(bytes: Bytes) -> Option<Part> {
        if bytes.len() as u64 > PART_BYTES_MAX {
            return None;
        }
        let Label { source, destination, number, height } = Label::of(&bytes)?;
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
        let digest = digest(header, &finished, &cancelled, &spent);
        Some(Part { source, destination, number, height, finished, cancelled, spent, digest, bytes })
    }

    /// Its name at the destination.
    pub fn reference(&self) -> PartRef {
        PartRef { source: self.source, number: self.number, digest: self.digest }
    }

    /// The leaves of the tree over its items.
    pub(crate) fn leaves(&self) -> Vec<Digest> {
        leaves(&self.bytes[..HEADER_BYTES], &self.finished, &self.cancelled, &self.spent)
    }

    /// The bytes of the spent transactions.
    pub fn spent(&self) -> impl ExactSizeIterator<Item = (TxId, &[u8])> {
        self.spent.iter().map(|(id, place)| (*id, &self.bytes[place.clone()]))
    }
}

/// The items that a block has for one shard, cut into parts as it grows.
#[derive(Clone, Debug)]
pub struct Group {
    source: ShardId,
    destination: ShardId,
    height: Round,
    next: PartNumber,
    finished: Vec<TxId>,
    cancelled: Vec<TxId>,
    /// A list as in `wire::client::list`, its count not yet written, and the ranges of its items in it.
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

    /// Adds a spent transaction with this id, and returns the number of the part that carries it.
    pub fn spent(&mut self, id: TxId, transaction: &[u8]) -> PartNumber {
        debug_assert_eq!(id, tx_id(transaction), "the caller passes the id of these bytes");
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

    /// Begins another part if these bytes do not fit into this one.
    fn make_room(&mut self, bytes: usize) {
        let ids = ID_BYTES * (self.finished.len() + self.cancelled.len());
        let with_it = HEADER_BYTES + ids + self.spent.len() + bytes;
        if !self.is_empty() && with_it as u64 > PART_BYTES_MAX {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let ids = ID_BYTES * (self.finished.len() + self.cancelled.len());
        let mut bytes = Vec::with_capacity(HEADER_BYTES + ids + self.spent.len());
        bytes.extend(self.source.0.to_le_bytes());
        bytes.extend(self.destination.0.to_le_bytes());
        bytes.extend(self.next.0.to_le_bytes());
        bytes.extend(self.height.0.to_le_bytes());
        bytes.extend(count(self.finished.len()).to_le_bytes());
        bytes.extend(count(self.cancelled.len()).to_le_bytes());
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
            digest: digest(header, &finished, &cancelled, &spent),
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

/// The digests of the parts of one block, in order of destination and number: the leaves under the outgoing root.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PartDigests(Vec<Digest>);

impl PartDigests {
    /// The digests of these parts.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a Part>) -> PartDigests {
        PartDigests(parts.into_iter().map(|part| part.digest).collect())
    }

    /// How many parts there are.
    pub fn count(&self) -> u32 {
        u32::try_from(self.0.len()).expect("a block has far fewer parts")
    }

    /// The outgoing root, for the block's header; zero if there are no parts.
    pub fn root(&self) -> Digest {
        if self.0.is_empty() {
            Digest::default()
        } else {
            outgoing_root(self.count(), Tree::Parts.root(&self.0))
        }
    }

    /// The siblings that prove the part at this position.
    pub fn branch(&self, position: u32) -> Vec<Digest> {
        Tree::Parts.branch(&self.0, position as usize)
    }
}

/// The outgoing root of a block of `count` parts that has this part at `position` and these siblings; `None` if their
/// number does not fit the position.
pub fn outgoing_root_by(part: &Part, position: u32, count: u32, siblings: &[Digest]) -> Option<Digest> {
    let root = Tree::Parts.root_by(part.digest, position as usize, count as usize, siblings);
    root.map(|root| outgoing_root(count, root))
}

/// # Security
/// The count determines the position in the tree to which a branch leads. \[safety]
fn outgoing_root(count: u32, root: Digest) -> Digest {
    if !in_force(Mutant::PartDigestBindsCounts) {
        return root;
    }
    let hash = Sha256::new().chain_update(b"OUTG").chain_update(count.to_le_bytes()).chain_update(root.0);
    Digest(hash.finalize().into())
}

/// Kinds of leaves, by the meaning of their items.
const FINISHED_LEAF: u8 = 1;
const CANCELLED_LEAF: u8 = 2;
const SPENT_LEAF: u8 = 3;
/// Used only by the mutant.
const HEADER_LEAF: u8 = 0;

/// A leaf for each item, in order.
fn leaves(
    header: &[u8],
    finished: &[TxId],
    cancelled: &[TxId],
    spent: &[(TxId, Range<usize>)],
) -> Vec<Digest> {
    let place = &header[2..12];
    let leaf = |kind: u8, bytes: &[u8]| {
        let hash = Sha256::new().chain_update(b"ITEM").chain_update([kind]).chain_update(place);
        Digest(hash.chain_update(bytes).finalize().into())
    };
    let mut leaves = Vec::with_capacity(1 + finished.len() + cancelled.len() + spent.len());
    if !in_force(Mutant::PartDigestBindsCounts) {
        leaves.push(leaf(HEADER_LEAF, header));
    }
    leaves.extend(finished.iter().map(|id| leaf(FINISHED_LEAF, &id.0)));
    leaves.extend(cancelled.iter().map(|id| leaf(CANCELLED_LEAF, &id.0)));
    leaves.extend(spent.iter().map(|(id, _)| leaf(SPENT_LEAF, &id.0)));
    leaves
}

fn digest(header: &[u8], finished: &[TxId], cancelled: &[TxId], spent: &[(TxId, Range<usize>)]) -> Digest {
    let root = Tree::Items.root(&leaves(header, finished, cancelled, spent));
    // # Security: a bare root could pass for a node of a larger tree. [safety]
    if !in_force(Mutant::PartDigestBindsCounts) {
        return root;
    }
    let spent = count(spent.len()).to_le_bytes();
    let hash = Sha256::new().chain_update(b"PDIG").chain_update(header).chain_update(spent);
    Digest(hash.chain_update(root.0).finalize().into())
}

fn count(items: usize) -> u32 {
    u32::try_from(items).expect("a part is far below 4 GiB")
}

/// The end of so many ids from `start` on, if the bytes reach that far.
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
    fn a_part_parses_to_the_items_that_were_added() {
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
    fn the_digest_covers_every_byte() {
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
    fn an_item_that_does_not_fit_begins_the_next_part() {
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
        assert!(super::tests::group().finish().is_empty(), "an empty group has no part");
    }

    #[test]
    fn digests_follow_the_module_documentation() {
        let sha = |parts: &[&[u8]]| Digest(Sha256::digest(parts.concat()).into());
        let part = sample();
        let (place, header) = (&[1, 0, 5, 0, 0, 0, 0, 0, 0, 0][..], &part.bytes[..28]);
        let leaf = |kind: u8, id: &TxId| sha(&[b"ITEM", &[kind], place, &id.0]);
        let spent: Vec<TxId> = part.spent().map(|(id, _)| id).collect();
        let leaves = [
            leaf(1, &TxId([1; 32])),
            leaf(2, &TxId([2; 32])),
            leaf(2, &TxId([3; 32])),
            leaf(3, &spent[0]),
            leaf(3, &spent[1]),
        ];
        let node = |left: &Digest, right: &Digest| sha(&[b"INOD", &left.0, &right.0]);
        let four = node(&node(&leaves[0], &leaves[1]), &node(&leaves[2], &leaves[3]));
        let digest = sha(&[b"PDIG", header, &[2, 0, 0, 0], &node(&four, &leaves[4]).0]);
        assert_eq!(part.digest, digest);
        assert_eq!(PartDigests::of([]).root(), Digest::default());
        assert_eq!(PartDigests::of([&part]).root(), sha(&[b"OUTG", &[1, 0, 0, 0], &digest.0]));
        let two = sha(&[b"PNOD", &digest.0, &digest.0]);
        assert_eq!(PartDigests::of([&part, &part]).root(), sha(&[b"OUTG", &[2, 0, 0, 0], &two.0]));
    }
}
