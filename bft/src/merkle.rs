//! Merkle trees: one digest that stands for a list, and short proofs of what the list holds.
//!
//! Leaves are digests whose owners hash them under a tag of their own; inner nodes are hashed under another, so no
//! leaf can be taken for a node. An odd node rises a level as it is, so no list has the root of another by repeating
//! its end. The tree of no leaves has the root zero, which no other has. Cost: one hash a leaf to build, ⌈log₂ n⌉ to
//! check a branch.

use sha2::{Digest as _, Sha256};
use wire::ids::Digest;

/// Siblings on the way from a leaf to the root, at most: lists are shorter than 2^32.
pub const BRANCH_MAX: usize = 32;

/// The root over leaves.
pub fn root(leaves: &[Digest]) -> Digest {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = level.chunks(2).map(parent).collect();
    }
    level.first().copied().unwrap_or_default()
}

/// The siblings that prove the leaf at `position`.
///
/// # Panics
/// If there is no such leaf.
pub fn branch(leaves: &[Digest], position: usize) -> Vec<Digest> {
    assert!(position < leaves.len(), "leaf {position} of {}", leaves.len());
    let (mut level, mut at) = (leaves.to_vec(), position);
    let mut siblings = Vec::new();
    while level.len() > 1 {
        siblings.extend(level.get(at ^ 1));
        level = level.chunks(2).map(parent).collect();
        at /= 2;
    }
    siblings
}

/// The root of the tree of `count` leaves that has `leaf` at `position`, by these siblings; `None` if they are not as
/// many as that place has.
pub fn root_by(leaf: Digest, position: usize, count: usize, siblings: &[Digest]) -> Option<Digest> {
    if position >= count {
        return None;
    }
    let (mut node, mut at, mut width) = (leaf, position, count);
    let mut siblings = siblings.iter();
    while width > 1 {
        if at ^ 1 < width {
            let sibling = *siblings.next()?;
            node = parent(&if at % 2 == 0 { [node, sibling] } else { [sibling, node] });
        }
        (at, width) = (at / 2, width.div_ceil(2));
    }
    siblings.next().is_none().then_some(node)
}

/// The node over a pair; an odd one rises as it is.
fn parent(children: &[Digest]) -> Digest {
    match children {
        [left, right] => {
            let hash = Sha256::new().chain_update(b"NODE").chain_update(left.0).chain_update(right.0);
            Digest(hash.finalize().into())
        }
        [single] => *single,
        _ => unreachable!("levels are cut into pairs"),
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
        for count in 1..=17 {
            let leaves = leaves(count);
            let root = root(&leaves);
            for position in 0..leaves.len() {
                let siblings = branch(&leaves, position);
                assert!(siblings.len() <= BRANCH_MAX);
                assert_eq!(root_by(leaves[position], position, leaves.len(), &siblings), Some(root));
                let other = leaves[(position + 1) % leaves.len()];
                if leaves.len() > 1 {
                    assert_ne!(root_by(other, position, leaves.len(), &siblings), Some(root), "another leaf");
                    let moved = (position + 1) % leaves.len();
                    assert_ne!(root_by(leaves[position], moved, leaves.len(), &siblings), Some(root));
                }
                let longer = [&siblings[..], &[Digest::default()]].concat();
                assert_eq!(root_by(leaves[position], position, leaves.len(), &longer), None);
                if let Some((_, shorter)) = siblings.split_last() {
                    assert_eq!(root_by(leaves[position], position, leaves.len(), shorter), None);
                }
                assert_eq!(root_by(leaves[position], leaves.len(), leaves.len(), &siblings), None);
            }
        }
    }

    #[test]
    fn lists_of_any_length_have_roots_of_their_own() {
        let mut roots: Vec<Digest> = (0..=17).map(|count| root(&leaves(count))).collect();
        assert_eq!(roots[0], Digest::default());
        let mut repeated = leaves(3);
        repeated.push(Digest([3; 32]));
        roots.push(root(&repeated));
        roots.sort_unstable();
        roots.dedup();
        assert_eq!(roots.len(), 19);
    }
}
