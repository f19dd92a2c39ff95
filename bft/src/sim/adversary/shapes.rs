//! Parts in another shape than they were sent: cut down to a subtree, split in two, longer, in another order, with
//! other counts. Each carries the real certificate and a proof that would hold if digests did not bind shapes.

use std::ops::Range;

use wire::bytes::Bytes;
use wire::client::list;
use wire::ids::{Digest, TxId};

use crate::merkle::Tree;
use crate::part::{Label, Part};
use crate::prng::Prng;
use crate::shard::message::Transfer;
use crate::sim::adversary::{Behaviour, Hands};
use crate::sim::parcel::{Frame, Parcel, Seen};

/// A kind of item: the section of a part that it stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Finished,
    Cancelled,
    Spent,
}

/// The items of a part, to be assembled into another one.
#[derive(Clone, Debug)]
pub(crate) struct Pieces {
    label: Label,
    items: Vec<(Kind, Vec<u8>)>,
}

impl Pieces {
    pub(crate) fn of(part: &Part) -> Pieces {
        let Part { source, destination, number, height, .. } = *part;
        let label = Label { source, destination, number, height };
        let ids =
            |kind: Kind, ids: &[TxId]| ids.iter().map(move |id| (kind, id.0.to_vec())).collect::<Vec<_>>();
        let mut items = ids(Kind::Finished, &part.finished);
        items.extend(ids(Kind::Cancelled, &part.cancelled));
        items.extend(part.spent().map(|(_, bytes)| (Kind::Spent, bytes.to_vec())));
        Pieces { label, items }
    }

    /// The number of items.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// These items alone.
    pub(crate) fn keep(&self, items: Range<usize>) -> Pieces {
        let items = self.items.get(items).unwrap_or_default().to_vec();
        Pieces { label: self.label, items }
    }

    /// One item more: the last one again.
    pub(crate) fn lengthen(mut self) -> Pieces {
        self.items.extend(self.items.last().cloned());
        self
    }

    /// In another order within each section. A part with one item a section stays as it is.
    pub(crate) fn shuffle(mut self, prng: &mut Prng) -> Pieces {
        prng.shuffle(&mut self.items);
        self
    }

    /// One id moves to the other section of ids.
    pub(crate) fn move_one(mut self, prng: &mut Prng) -> Pieces {
        let ids = self.items.iter().filter(|(kind, _)| *kind != Kind::Spent).count() as u64;
        if ids > 0 {
            let (kind, _) = &mut self.items[prng.below(ids) as usize];
            *kind = if *kind == Kind::Finished { Kind::Cancelled } else { Kind::Finished };
        }
        self
    }

    /// The encoding, all sections in their order.
    pub(crate) fn bytes(&self) -> Bytes {
        let section =
            |kind: Kind| self.items.iter().filter(move |item| item.0 == kind).map(|item| &item.1[..]);
        let count = |kind: Kind| (section(kind).count() as u32).to_le_bytes();
        let mut bytes = Vec::new();
        bytes.extend(self.label.source.0.to_le_bytes());
        bytes.extend(self.label.destination.0.to_le_bytes());
        bytes.extend(self.label.number.0.to_le_bytes());
        bytes.extend(self.label.height.0.to_le_bytes());
        bytes.extend([count(Kind::Finished), count(Kind::Cancelled)].concat());
        section(Kind::Finished).chain(section(Kind::Cancelled)).for_each(|id| bytes.extend(id));
        let at = list::begin(&mut bytes);
        section(Kind::Spent).for_each(|transaction| list::push(&mut bytes, transaction));
        list::finish(&mut bytes, at, section(Kind::Spent).count());
        Bytes::from(bytes)
    }
}

/// The number of levels of the tree over the part's leaves, without the root's.
pub(crate) fn levels(part: &Part) -> u32 {
    part.leaves().len().next_power_of_two().trailing_zeros()
}

/// The part cut down to one subtree of its items, the one at `index` of a level counted from the leaves. The block then
/// seems to have more parts. `None` if there is no such subtree.
pub(crate) fn subtree(transfer: &Transfer, level: u32, index: usize) -> Option<Transfer> {
    let part = Part::parse(transfer.part.clone())?;
    let leaves = part.leaves();
    let nodes: Vec<Digest> = leaves.chunks(1 << level).map(|chunk| Tree::Items.root(chunk)).collect();
    if index >= nodes.len() {
        return None;
    }
    let mut branch = Tree::Items.branch(&nodes, index);
    let mut turns = 0;
    let (mut at, mut width, mut depth) = (index, nodes.len(), 0);
    while width > 1 {
        if at ^ 1 < width {
            turns |= (at as u32 & 1) << depth;
            depth += 1;
        }
        (at, width) = (at / 2, width.div_ceil(2));
    }
    let pieces = Pieces::of(&part);
    let not_items = leaves.len() - pieces.len();
    let item = |leaf: usize| leaf.saturating_sub(not_items).min(pieces.len());
    let kept = pieces.keep(item(index << level)..item((index + 1) << level));
    let mut proof = transfer.proof.clone();
    branch.append(&mut proof.branch);
    (proof.position, proof.count, proof.branch) =
        ((proof.position << depth) | turns, proof.count << depth, branch);
    Some(Transfer { proof, part: kept.bytes() })
}

/// The part without any item: cut down to the subtree of its header if it has one, otherwise as if its tree were one
/// half of a larger tree.
pub(crate) fn emptied(transfer: &Transfer) -> Option<Transfer> {
    let part = Part::parse(transfer.part.clone())?;
    let pieces = Pieces::of(&part);
    let leaves = part.leaves();
    if leaves.len() > pieces.len() {
        return subtree(transfer, 0, 0);
    }
    let mut proof = transfer.proof.clone();
    proof.branch.insert(0, Tree::Items.root(&leaves));
    (proof.position, proof.count) = (proof.position << 1, proof.count << 1);
    Some(Transfer { proof, part: pieces.keep(0..0).bytes() })
}

/// A transfer of another shape.
fn reshaped(prng: &mut Prng, transfer: &Transfer) -> Option<Transfer> {
    let part = Part::parse(transfer.part.clone())?;
    let pieces = Pieces::of(&part);
    let other = |pieces: Pieces| Transfer { proof: transfer.proof.clone(), part: pieces.bytes() };
    let half = pieces.len() / 2;
    let reshaped = match prng.below(8) {
        0 | 1 => subtree(transfer, levels(&part).saturating_sub(1), 0)?,
        2 => {
            let level = prng.below(u64::from(levels(&part)) + 1) as u32;
            subtree(transfer, level, prng.below(pieces.len() as u64 + 1) as usize)?
        }
        3 => emptied(transfer)?,
        // Split: one half under the number of the whole, with the proof of the whole.
        4 => other(if prng.chance(1, 2) { pieces.keep(0..half) } else { pieces.keep(half..pieces.len()) }),
        5 => other(pieces.shuffle(prng)),
        6 => other(if prng.chance(1, 2) { pieces.lengthen() } else { pieces.move_one(prng) }),
        // Only a count changes: of the proof, or of a section.
        _ => {
            let mut counted = transfer.clone();
            let mut bytes = transfer.part.to_vec();
            match prng.below(4) {
                0 => counted.proof.count += 1,
                1 => (counted.proof.position, counted.proof.count) = (0, 1),
                2 => bytes[20] ^= 1,
                _ => bytes[24] ^= 1,
            }
            counted.part = Bytes::from(bytes);
            counted
        }
    };
    (reshaped != *transfer).then_some(reshaped)
}

/// Sends reshaped parts in place of those that its cores send, to all members of the destination or to half of them.
#[derive(Debug)]
pub(super) struct ReshapedTransfers;

impl Behaviour for ReshapedTransfers {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        let Seen::Transfer(transfer) = frame.parcel.seen() else { return hands.pass(frame) };
        if let Some(reshaped) = reshaped(&mut hands.prng, transfer) {
            let parcel = Parcel::new(reshaped.encode());
            let destination = hands.committee.shard_of(frame.to);
            let to_all = hands.prng.chance(1, 2);
            for to in hands.committee.clone().members(destination) {
                if to_all || hands.prng.chance(1, 2) {
                    hands.send(frame.from, to, parcel.clone());
                }
            }
        }
        if hands.prng.chance(1, 3) {
            hands.pass(frame);
        }
    }
}
