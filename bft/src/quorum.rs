//! The one vote set, which counts all votes of the protocol.
//!
//! Of each author the first vote counts; a second is a duplicate if it is for the same value and an equivocation if
//! not. `Reached` is reported once, by the vote that completes the threshold. Cost: a map entry a voter, so at most N.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::ids::Index;

/// The result of adding a vote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Added {
    /// Counted; the threshold is not reached by it (or was before).
    Counted,
    /// The author has voted the same before.
    Duplicate,
    /// The author has voted otherwise before; the first vote stands.
    Equivocation,
    /// Counted, and with it the value has reached the threshold for the first time.
    Reached,
}

/// Votes of members for values of type `V`, each with evidence of type `E` (such as a signature).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VoteSet<V, E> {
    threshold: usize,
    votes: BTreeMap<Index, (V, E)>,
}

impl<V: PartialEq, E> VoteSet<V, E> {
    /// An empty set that reaches at `threshold` votes for one value.
    pub fn new(threshold: usize) -> VoteSet<V, E> {
        VoteSet { threshold, votes: BTreeMap::new() }
    }

    /// Adds the vote of `author`.
    pub fn add(&mut self, author: Index, value: V, evidence: E) -> Added {
        if let Some((first, _)) = self.votes.get(&author) {
            return if *first == value { Added::Duplicate } else { Added::Equivocation };
        }
        self.votes.insert(author, (value, evidence));
        let value = &self.votes[&author].0;
        if self.count(value) == self.threshold { Added::Reached } else { Added::Counted }
    }

    /// Removes the vote of `author`, whose evidence was invalid; the author may vote again unless the caller bars it.
    pub fn remove(&mut self, author: Index) {
        self.votes.remove(&author);
    }

    /// Whether `author` has voted.
    pub fn contains(&self, author: Index) -> bool {
        self.votes.contains_key(&author)
    }

    /// Number of votes for `value`.
    pub fn count(&self, value: &V) -> usize {
        self.votes.values().filter(|(voted, _)| voted == value).count()
    }

    /// Number of all votes.
    pub fn len(&self) -> usize {
        self.votes.len()
    }

    /// Whether there is no vote.
    pub fn is_empty(&self) -> bool {
        self.votes.is_empty()
    }

    /// All authors, ascending.
    pub fn authors(&self) -> impl Iterator<Item = Index> + '_ {
        self.votes.keys().copied()
    }

    /// Authors and evidence of the votes for `value`, ascending by author.
    pub fn evidence<'a>(&'a self, value: &'a V) -> impl Iterator<Item = (Index, &'a E)> + 'a {
        self.votes
            .iter()
            .filter(move |(_, (voted, _))| voted == value)
            .map(|(author, (_, evidence))| (*author, evidence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reaches_once_and_only_with_distinct_authors() {
        let mut votes = VoteSet::new(3);
        let add = |votes: &mut VoteSet<&str, ()>, author, value| votes.add(Index(author), value, ());
        assert_eq!(add(&mut votes, 0, "x"), Added::Counted);
        assert_eq!(add(&mut votes, 0, "x"), Added::Duplicate);
        assert_eq!(add(&mut votes, 0, "y"), Added::Equivocation);
        assert_eq!(add(&mut votes, 1, "y"), Added::Counted);
        assert_eq!(add(&mut votes, 2, "x"), Added::Counted);
        assert_eq!(add(&mut votes, 3, "x"), Added::Reached);
        assert_eq!(add(&mut votes, 4, "x"), Added::Counted);
        assert_eq!(votes.evidence(&"x").map(|(author, ())| author.0).collect::<Vec<_>>(), [0, 2, 3, 4]);
        assert_eq!((votes.count(&"y"), votes.len()), (1, 5));
    }
}
