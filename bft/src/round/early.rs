//! Messages of rounds that have not begun here: kept in a bounded window, oldest first. HALTs replace the dropped ones.
//!
//! # Security
//! A peer can fill the window. Of one author the first message of each kind counts, as in a running round, views beyond
//! the first [`VIEWS_AHEAD_MAX`] are not kept, and each author has a budget of bytes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wire::ids::{Digest, Index, Round};
use wire::limits::{EARLY_BYTES_MAX, VIEWS_AHEAD_MAX};

use crate::fault::FaultKind;
use crate::member::Member;
use crate::mvba::{FirstOnly, Halt, MvbaMessage, Novelty};
use crate::round::Envelope;

/// The window. Bound: [`wire::limits::ROUNDS_AHEAD_MAX`] rounds (kept by the caller) and [`EARLY_BYTES_MAX`] an
/// author.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Early {
    rounds: BTreeMap<Round, EarlyRound>,
    bytes: BTreeMap<Index, u64>,
}

/// Why a message is not kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NotKept {
    /// The window has no room for a message so early.
    TooEarly,
    /// Its author is at fault.
    Fault(FaultKind),
}

/// The early messages of one round.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct EarlyRound {
    first_only: FirstOnly,
    halt_authors: BTreeSet<Index>,
    sizes: BTreeMap<Index, u64>,
    /// In the order of arrival.
    pub(super) messages: Vec<(Index, Digest, MvbaMessage)>,
    /// In the order of arrival, at most one an author.
    pub(super) halts: Vec<(Index, Halt)>,
}

impl Early {
    /// Keeps a message of a future agreement.
    pub(super) fn keep_mvba(
        &mut self,
        member: &Member,
        envelope: Envelope,
        round: Round,
        message: MvbaMessage,
    ) -> Result<(), NotKept> {
        let Envelope { author, digest, size, .. } = envelope;
        if !message.has_shape(&member.committee) {
            return Err(NotKept::Fault(FaultKind::OutOfRange));
        }
        let kind = message.kind(author, member.index).ok_or(NotKept::Fault(FaultKind::NotAMember))?;
        if message.view().0 >= VIEWS_AHEAD_MAX {
            return Err(NotKept::TooEarly);
        }
        self.account(author, size, round)?;
        let early = self.rounds.entry(round).or_default();
        match early.first_only.admit(message.view(), author, kind, digest) {
            Novelty::First => early.messages.push((author, digest, message)),
            Novelty::Repeated => {}
            Novelty::Different => return Err(NotKept::Fault(FaultKind::Equivocation)),
        }
        Ok(())
    }

    /// Keeps a HALT of a future round.
    pub(super) fn keep_halt(&mut self, envelope: Envelope, halt: Halt) -> Result<(), NotKept> {
        let Envelope { author, size, .. } = envelope;
        self.account(author, size, halt.round)?;
        let early = self.rounds.entry(halt.round).or_default();
        if early.halt_authors.insert(author) {
            early.halts.push((author, halt));
        }
        Ok(())
    }

    /// Returns the messages of `round`, and drops those of earlier rounds.
    pub(super) fn take(&mut self, round: Round) -> EarlyRound {
        let mut taken = EarlyRound::default();
        while let Some(entry) = self.rounds.first_entry().filter(|entry| *entry.key() <= round) {
            let (of, early) = entry.remove_entry();
            for (author, size) in &early.sizes {
                let bytes = self.bytes.get_mut(author).expect("each kept message was accounted for");
                *bytes -= size;
            }
            if of == round {
                taken = early;
            }
        }
        taken
    }

    /// Charges `author` for a message. Repeated ones count too, since they are a flood as well.
    fn account(&mut self, author: Index, size: usize, round: Round) -> Result<(), NotKept> {
        let bytes = self.bytes.entry(author).or_default();
        if *bytes + size as u64 > EARLY_BYTES_MAX {
            return Err(NotKept::TooEarly);
        }
        *bytes += size as u64;
        *self.rounds.entry(round).or_default().sizes.entry(author).or_default() += size as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wire::committee::Protocol;
    use wire::ids::{NodeId, View};
    use wire::limits::ROUNDS_AHEAD_MAX;

    use crate::crypto::deal::{deal_committee, seeded_entropy};
    use crate::crypto::hash_suite::HashSuite;
    use crate::crypto::suite::CoinShare;
    use crate::time::Time;

    use super::*;

    const MIB: usize = 1 << 20;

    fn member() -> Member {
        let (committee, _) = deal_committee(4, 1, Protocol::default(), seeded_entropy(1));
        let suite = Arc::new(HashSuite::new(&committee, NodeId(0), 1));
        Member::new(Arc::new(committee), suite, NodeId(0))
    }

    fn envelope(author: u16, number: u8, size: usize) -> Envelope {
        Envelope { now: Time(0), author: Index(author), digest: Digest([number; 32]), size }
    }

    fn share(view: u32) -> MvbaMessage {
        let share = CoinShare { value: [0; 32], challenge: [0; 32], response: [0; 32] };
        MvbaMessage::CoinShare { view: View(view), share }
    }

    #[test]
    fn repeats_count_towards_an_authors_budget() {
        let (member, mut early) = (member(), Early::default());
        let keep = |early: &mut Early, author, number, round, view| {
            early.keep_mvba(&member, envelope(author, number, 16 * MIB), Round(round), share(view))
        };
        assert_eq!(keep(&mut early, 1, 1, 5, 0), Ok(()));
        assert_eq!(keep(&mut early, 1, 1, 5, 0), Ok(()), "a repeat");
        assert_eq!(keep(&mut early, 1, 1, 5, 0), Err(NotKept::TooEarly));
        assert_eq!(keep(&mut early, 1, 1, 6, 0), Err(NotKept::TooEarly), "in any round");
        assert_eq!(keep(&mut early, 2, 1, 5, 0), Ok(()), "other authors have their own budgets");
        assert_eq!(early.take(Round(4)).messages.len(), 0);
        assert_eq!(keep(&mut early, 1, 1, 6, 0), Err(NotKept::TooEarly));
        assert_eq!(early.take(Round(5)).messages.len(), 2);
        assert_eq!(keep(&mut early, 1, 1, 6, 0), Ok(()), "taken messages no longer count");
        // Nor do those of rounds that passed untaken, since their HALTs came.
        assert_eq!(keep(&mut early, 1, 1, 7, 0), Ok(()));
        assert_eq!(early.take(Round(9)).messages.len(), 0);
        assert!(early.rounds.is_empty() && early.bytes.values().all(|bytes| *bytes == 0));
    }

    #[test]
    fn of_an_author_one_message_of_each_kind_a_view_is_kept() {
        let (member, mut early) = (member(), Early::default());
        for number in 0..10 {
            for round in 2..2 + ROUNDS_AHEAD_MAX {
                for view in 0..20 {
                    let kept = early.keep_mvba(&member, envelope(1, number, 200), Round(round), share(view));
                    let expected = match (view < VIEWS_AHEAD_MAX, number) {
                        (false, _) => Err(NotKept::TooEarly),
                        (true, 0) => Ok(()),
                        (true, _) => Err(NotKept::Fault(FaultKind::Equivocation)),
                    };
                    assert_eq!(kept, expected);
                }
            }
        }
        let kept: usize = early.rounds.values().map(|round| round.messages.len()).sum();
        assert_eq!(kept as u64, ROUNDS_AHEAD_MAX * u64::from(VIEWS_AHEAD_MAX));
    }
}
