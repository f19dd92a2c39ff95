//! Catching up: who sees a peer ahead and makes no progress for 500 ms asks it for the proofs of what it has decided.
//!
//! An answer holds the HALTs of at most [`CATCH_UP_ROUNDS_MAX`] rounds in order; each is judged against the cut of the
//! one before. Who still is behind asks on at once; who has caught up asks all peers once more, and they send their
//! messages of the running round again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::ids::{Index, Round};

use crate::mvba::Halt;
use crate::round::resend::Limiter;
use crate::time::{Span, Time};

/// HALTs in one answer. At N = 128 a HALT has 19 KB.
pub const CATCH_UP_ROUNDS_MAX: usize = 32;

/// How long a node that sees a peer ahead waits for the HALTs that are probably under way.
const PATIENCE: Span = Span::from_ms(500);
/// Shortest time between two answers to one peer: 640 rounds a second catch up with any running shard.
const ANSWER_INTERVAL: Span = Span::from_ms(50);

/// What those who are behind and those who are ahead say to each other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CatchUpMessage {
    /// What was decided from this round on?
    Ask {
        /// The first round wanted.
        from: Round,
    },
    /// This, in order.
    Halts(Vec<Halt>),
}

/// What we know of others' progress, and whom we have asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Behind {
    decided: BTreeMap<Index, Round>,
    /// When to ask, while somebody is ahead.
    due: Option<Time>,
    /// Whom we asked last, so that the next question goes to somebody else if the answer does not come.
    asked: Option<Index>,
    answered: Limiter,
}

impl Behind {
    /// A peer has decided this much; we have decided `own`.
    pub(super) fn learn(&mut self, now: Time, author: Index, decided: Round, own: Round) {
        let known = self.decided.entry(author).or_default();
        *known = decided.max(*known);
        if decided > own && self.due.is_none() {
            self.due = Some(now + PATIENCE);
        }
    }

    /// We have decided one more round.
    pub(super) fn progressed(&mut self, now: Time, own: Round) {
        let somebody_ahead = self.decided.values().any(|decided| *decided > own);
        self.due = (somebody_ahead || self.asked.is_some()).then_some(now + PATIENCE);
    }

    /// When to ask.
    pub(super) fn due(&self) -> Option<Time> {
        self.due
    }

    /// Whether it is time to ask.
    pub(super) fn is_due(&self, now: Time) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Asks later.
    pub(super) fn wait(&mut self, now: Time) {
        self.due = Some(now + PATIENCE);
    }

    /// Whom to ask now: the next peer, in turn, of those ahead of `own`. `None` if nobody is any more; then the
    /// timer is stopped.
    pub(super) fn whom_to_ask(&mut self, now: Time, own: Round) -> Option<Index> {
        let ahead: Vec<Index> =
            self.decided.iter().filter(|(_, decided)| **decided > own).map(|(author, _)| *author).collect();
        let next = ahead.iter().find(|author| self.asked.is_none_or(|asked| **author > asked));
        self.asked = next.or(ahead.first()).copied();
        self.due = self.asked.map(|_| now + PATIENCE);
        self.asked
    }

    /// Whether the last question went to this peer.
    pub(super) fn was_asked(&self, author: Index) -> bool {
        self.asked == Some(author)
    }

    /// Whether a question of this peer may be answered now.
    pub(super) fn may_answer(&mut self, now: Time, author: Index) -> bool {
        self.answered.may_every(now, author, ANSWER_INTERVAL)
    }
}
