//! The proofs of decided rounds, kept for members that lag.
//!
//! Rounds are decided in order, so the proofs stand in a row. A HALT of four members takes some 750 bytes: at 120
//! rounds a second those of twelve minutes fit [`HALTS_BYTES_MAX`].
//!
//! Bounded by rounds and by bytes, whichever is less; the oldest goes first.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wire::ids::Round;
use wire::limits::HALTS_BYTES_MAX;

use crate::mvba::Halt;

/// The kept proofs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Proofs {
    rounds_max: u64,
    bytes: usize,
    /// Of consecutive rounds. Shared with clones: there are many.
    halts: VecDeque<Arc<Halt>>,
}

impl Proofs {
    /// None yet, and at most so many at once.
    pub(super) fn new(rounds_max: u64) -> Proofs {
        Proofs { rounds_max, bytes: 0, halts: VecDeque::new() }
    }

    /// The proof of the round after the last one.
    pub(super) fn push(&mut self, halt: Halt) {
        let last = self.halts.back().map(|halt| halt.round.next());
        assert!(last.is_none_or(|next| next == halt.round), "rounds are decided in order");
        self.bytes += halt.bytes();
        self.halts.push_back(Arc::new(halt));
        while self.halts.len() as u64 > self.rounds_max || self.bytes > HALTS_BYTES_MAX {
            let Some(oldest) = self.halts.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }

    /// Forgets all: the round that comes next does not follow.
    pub(super) fn clear(&mut self) {
        self.bytes = 0;
        self.halts.clear();
    }

    /// The first round whose proof is kept.
    pub(super) fn first(&self) -> Option<Round> {
        self.halts.front().map(|halt| halt.round)
    }

    /// The proof of a round.
    pub(super) fn get(&self, round: Round) -> Option<&Halt> {
        self.run_from(round, 1).next()
    }

    /// The proofs of the rounds from this one on, at most so many; none if that of this one is not kept.
    pub(super) fn run_from(&self, round: Round, count: usize) -> impl Iterator<Item = &Halt> {
        let place = self.first().and_then(|first| round.0.checked_sub(first.0));
        let from = place.map_or(self.halts.len(), |place| self.halts.len().min(place as usize));
        self.halts.range(from..).take(count).map(Arc::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use wire::ids::View;

    use super::*;
    use crate::crypto::cert::Certificate;
    use crate::cut::{Cut, Tip};

    fn halt(round: u64) -> Halt {
        let cut = Cut(vec![Tip::default(); 1_000]);
        Halt {
            round: Round(round),
            view: View(1),
            cut,
            certificate: Certificate(Vec::new()),
            shares: Vec::new(),
        }
    }

    #[test]
    fn the_oldest_goes_first() {
        let mut proofs = Proofs::new(3);
        (5..=9).for_each(|round| proofs.push(halt(round)));
        let run =
            |from, count| proofs.run_from(Round(from), count).map(|halt| halt.round.0).collect::<Vec<_>>();
        assert_eq!((proofs.first(), run(7, 9), run(8, 1)), (Some(Round(7)), vec![7, 8, 9], vec![8]));
        assert!(run(6, 9).is_empty() && run(10, 9).is_empty() && run(u64::MAX, 9).is_empty());
        assert!(proofs.get(Round(9)).is_some() && proofs.get(Round(6)).is_none());
    }

    #[test]
    fn they_are_bounded_in_bytes() {
        let mut proofs = Proofs::new(u64::MAX);
        let fit = HALTS_BYTES_MAX / halt(1).bytes();
        (1..=fit as u64 + 2).for_each(|round| proofs.push(halt(round)));
        assert_eq!(proofs.first(), Some(Round(3)));
        proofs.clear();
        proofs.push(halt(90));
        assert_eq!((proofs.first(), proofs.bytes), (Some(Round(90)), halt(90).bytes()));
    }
}
