//! Merkle trees: one digest that stands for a list, and short proofs of the list's items.
//!
//! Guarantee: the root of a [`Tree`] fixes the list of its leaves, and a branch proves the leaf at one position of a
//! list of known length. It rests on two conditions that callers must meet. First, leaves are digests that their owners
//! hash under a tag of their own, never 32 bytes that another party chose: otherwise a node could pass for a leaf, and
//! a subtree for a shorter list. Second, the length passed to [`Tree::root_by`] is bound by the value that the root is
//! compared with: it determines the length of the branch, so an adversary that could choose it could choose the
//! position of a leaf in the tree.
//!
//! Trees of different kinds hash their nodes under different tags, so no node of one is a node of another, even where
//! the leaves of one tree depend on the roots of others ([`crate::part`]). An odd node moves up a level unchanged, so
//! repeating the end of a list does not give the same root. The tree without leaves has the root zero, which no other
//! has. Cost: one hash per leaf to build, ⌈log₂ n⌉ to check a branch.

use sha2::{Digest as _, Sha256};
use wire::ids::Digest;

use crate::mutant::{Mutant, in_force};

/// Siblings on the way from a leaf to the root, at most: lists are shorter than 2^32.
pub const BRANCH_MAX: usize = 32;

/// A kind of tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tree {
    /// Over the items of one part.
    Items,
    /// Over the digests of all parts of one block.
    Parts,
}

impl Tree {
    /// The tag under which its nodes are hashed. \[safety]
    fn tag(self) -> &'static [u8; 4] {
        match self {
            Tree::Parts if in_force(Mutant::PartDigestBindsCounts) => b"PNOD",
            Tree::Items | Tree::Parts => b"INOD",
        }
    }

    /// The root over leaves.
    pub fn root(self, leaves: &[Digest]) -> Digest {
        let mut level = leaves.to_vec();
        while level.len() > 1 {
            level = self.parents(&level);
        }
        level.first().copied().unwrap_or_default()
    }

    /// The siblings that prove the leaf at `position`.
    ///
    /// # Panics
    /// If there is no such leaf.
    pub fn branch(self, leaves: &[Digest], position: usize) -> Vec<Digest> {
        assert!(position < leaves.len(), "leaf {position} of {}", leaves.len());
        let (mut level, mut at) = (leaves.to_vec(), position);
        let mut siblings = Vec::new();
        while level.len() > 1 {
            siblings.extend(level.get(at ^ 1));
            level = self.parents(&level);
            at /= 2;
        }
        siblings
    }

    /// The root of the tree of `count` leaves that has `leaf` at `position` and these siblings; `None` if their number
    /// does not fit the position.
    pub fn root_by(self, leaf: Digest, position: usize, count: usize, siblings: &[Digest]) -> Option<Digest> {
        if position >= count {
            return None;
        }
        let (mut node, mut at, mut width) = (leaf, position, count);
        let mut siblings = siblings.iter();
        while width > 1 {
            if at ^ 1 < width {
                let sibling = *siblings.next()?;
                node = self.parent(&if at % 2 == 0 { [node, sibling] } else { [sibling, node] });
            }
            (at, width) = (at / 2, width.div_ceil(2));
        }
        siblings.next().is_none().then_some(node)
    }

    fn parents(self, level: &[Digest]) -> Vec<Digest> {
        level.chunks(2).map(|children| self.parent(children)).collect()
    }

    /// The node over a pair; a single child moves up unchanged.
    fn parent(self, children: &[Digest]) -> Digest {
        match children {
            [left, right] => {
                let hash = Sha256::new().chain_update(self.tag()).chain_update(left.0).chain_update(right.0);
                Digest(hash.finalize().into())
            }
            [single] => *single,
            _ => unreachable!("levels are cut into pairs"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u8) -> Vec<Digest> {
        (1..=count).map(|byte| Digest([byte; 32])).collect()
    }

    #[test]
    fn each_leaf_is_proved_by_its_branch_alone() {
        for (count, tree) in (1..=17).flat_map(|count| [(count, Tree::Items), (count, Tree::Parts)]) {
            let leaves = leaves(count);
            let root = tree.root(&leaves);
            for position in 0..leaves.len() {
                let siblings = tree.branch(&leaves, position);
                assert!(siblings.len() <= BRANCH_MAX);
                assert_eq!(tree.root_by(leaves[position], position, leaves.len(), &siblings), Some(root));
                let other = leaves[(position + 1) % leaves.len()];
                if leaves.len() > 1 {
                    assert_ne!(
                        tree.root_by(other, position, leaves.len(), &siblings),
                        Some(root),
                        "another leaf"
                    );
                    let moved = (position + 1) % leaves.len();
                    assert_ne!(tree.root_by(leaves[position], moved, leaves.len(), &siblings), Some(root));
                }
                let longer = [&siblings[..], &[Digest::default()]].concat();
                assert_eq!(tree.root_by(leaves[position], position, leaves.len(), &longer), None);
                if let Some((_, shorter)) = siblings.split_last() {
                    assert_eq!(tree.root_by(leaves[position], position, leaves.len(), shorter), None);
                }
                assert_eq!(tree.root_by(leaves[position], leaves.len(), leaves.len(), &siblings), None);
            }
        }
    }

    #[test]
    fn lists_of_any_length_have_roots_of_their_own() {
        let mut repeated = leaves(3);
        repeated.push(Digest([3; 32]));
        let lists: Vec<Vec<Digest>> = (0..=17).map(leaves).chain([repeated]).collect();
        let roots_of = |tree: Tree| lists.iter().map(move |leaves| tree.root(leaves));
        assert_eq!(Tree::Items.root(&[]), Digest::default());
        let mut roots: Vec<Digest> = roots_of(Tree::Items).chain(roots_of(Tree::Parts)).collect();
        roots.sort_unstable();
        roots.dedup();
        assert_eq!(roots.len(), 2 * 19 - 2, "trees with no leaf or one have no inner node, so no tag");
    }
}
