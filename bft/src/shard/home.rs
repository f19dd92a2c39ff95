//! The member that proposes an item which several hold, and the time at which its backups step in.
//!
//! A transaction that several members of an input shard must order has one home, the first member that gets the
//! request: it proposes at once. The others are its backups. They wait until the home seems to fail, since otherwise
//! everything would be ordered f+1 times: until its lane has not advanced for `IDLE_CUTS` cuts, or the transaction is
//! open for `OPEN_TIME` *and* `OPEN_ROUNDS` rounds (a fast shard has had its chance), or for `OPEN_TIME_MAX` (nothing
//! moves at all). Of a copy the first holder after the home steps in first: each further one waits as much longer,
//! since all of them at once would order a crashed contact's backlog f times. For one home, all three conditions come
//! true in the order of arrival, so backups keep one queue for each home. (Parts of other shards have homes, too, but
//! less patient backups: see `transfer`.)

use serde::{Deserialize, Serialize};
use wire::ids::{Index, Round, TxId};

use crate::mutant::{Mutant, in_force};
use crate::time::{Span, Time};

/// The backups of a home step in after so many cuts without an entry of it.
const IDLE_CUTS: u64 = 16;
/// They also step in after this time, if `OPEN_ROUNDS` rounds have passed as well: for items that were ordered.
const OPEN_TIME: Span = Span::from_ms(2_000);
/// See [`OPEN_TIME`].
const OPEN_ROUNDS: u64 = 8;
/// They step in after this time in any case.
const OPEN_TIME_MAX: Span = Span::from_ms(5_000);
/// A copy is looked at after this time though its home advances: the home may have found that it can never execute.
/// Longer than most backlogs last, and less than an expiry; what waits longer at a home that is alive is ordered twice.
const COPY_TIME_MAX: Span = Span::from_ms(15_000);

/// The first member of a shard of `n` that is requested to order a transaction: its home there.
pub fn home_of(id: &TxId, n: usize) -> Index {
    let (head, _) = id.0.split_first_chunk().expect("an id has 32 bytes");
    let index = u64::from_le_bytes(*head) % n as u64;
    Index(u16::try_from(index).expect("a shard has fewer than 2^16 members"))
}

/// How a backup came to an item.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Claim {
    /// It was requested to order it, as its home was.
    Ordered,
    /// The home has it from a client, and the backup holds a copy. A home with a backlog proposes it in its turn, so
    /// its silence makes backups step in, and time only after `COPY_TIME_MAX`: otherwise a backlog would be ordered
    /// twice.
    Copied,
}

/// What a backup's turn depends on besides the arrival of the item.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// How it came to the item.
    pub claim: Claim,
    /// When the home's lane last advanced.
    pub heard: Time,
    /// Of a copy: the holders that step in before this one.
    pub rank: u64,
}

/// The arrival here of an item that has a home.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Since {
    /// The time of arrival.
    pub time: Time,
    /// The height of the ledger at that time.
    pub round: Round,
}

impl Since {
    /// Whether backups step in. `idle_cuts` is how many decided cuts the home's lane has not advanced for; those before
    /// the arrival do not count, since a home with nothing to propose is idle for good reason.
    pub fn is_promotable(self, now: Time, height: Round, idle_cuts: u64, turn: Turn) -> bool {
        let rounds = height.0.saturating_sub(self.round.0);
        let steps = match turn.claim {
            Claim::Ordered => 1,
            Claim::Copied => 1 + turn.rank,
        };
        idle_cuts.min(rounds) >= IDLE_CUTS * steps || self.due(height, turn) <= now
    }

    /// The time from which they may step in even if no further round passes.
    pub fn due(self, height: Round, turn: Turn) -> Time {
        let rounds = height.0.saturating_sub(self.round.0);
        match turn.claim {
            Claim::Ordered if rounds >= OPEN_ROUNDS => self.time + OPEN_TIME,
            Claim::Ordered => self.time + OPEN_TIME_MAX,
            Claim::Copied if !in_force(Mutant::CopiesWaitForSilence) => self.time + OPEN_TIME,
            Claim::Copied => {
                let first = (self.time.max(turn.heard) + OPEN_TIME_MAX).min(self.time + COPY_TIME_MAX);
                first + Span(OPEN_TIME_MAX.0 * turn.rank)
            }
        }
    }
}

/// The number of decided cuts for which each lane has stood still.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IdleLanes {
    /// For each lane, the last round whose cut had an entry of it.
    advanced: Vec<Round>,
}

impl IdleLanes {
    /// The lanes of a shard of `n` before the first round.
    pub fn new(n: usize) -> IdleLanes {
        IdleLanes { advanced: vec![Round(0); n] }
    }

    /// A round decided a cut: these lanes are ahead of the one before (`Cut::ahead_of`).
    pub fn decided(&mut self, round: Round, ahead: impl Iterator<Item = Index>) {
        ahead.for_each(|lane| self.advanced[usize::from(lane.0)] = round);
    }

    /// Cuts up to that of the round `decided` since the last one with an entry of this lane.
    pub fn cuts(&self, lane: Index, decided: Round) -> u64 {
        decided.0 - self.advanced[usize::from(lane.0)].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_idle_since_the_last_cut_that_had_an_entry_of_it() {
        let mut idle = IdleLanes::new(3);
        idle.decided(Round(1), [Index(0), Index(2)].into_iter());
        idle.decided(Round(2), [Index(0)].into_iter());
        assert_eq!([0, 1, 2].map(|lane| idle.cuts(Index(lane), Round(2))), [0, 2, 1]);
    }

    #[test]
    fn a_copy_of_a_home_that_advances_waits_longer() {
        let since = Since { time: Time(1_000), round: Round(100) };
        for (heard_ms, due_ms) in [(0, 5_000), (3_000, 8_000), (10_000, 15_000), (14_000, 15_000)] {
            for rank in 0..3 {
                let turn = Turn { claim: Claim::Copied, heard: since.time + Span::from_ms(heard_ms), rank };
                let due = since.time + Span::from_ms(due_ms + 5_000 * rank);
                assert_eq!(since.due(Round(400), turn), due, "heard after {heard_ms} ms, rank {rank}");
            }
        }
    }

    #[test]
    fn holders_of_a_silent_home_step_in_one_after_another_and_backups_of_an_order_at_once() {
        let since = Since { time: Time(1_000), round: Round(100) };
        for (rank, cuts) in [(0, 16), (1, 32), (2, 48)] {
            for (claim, cuts) in [(Claim::Copied, cuts), (Claim::Ordered, 16)] {
                let turn = Turn { claim, heard: since.time, rank };
                let steps_in = |cuts| since.is_promotable(since.time, Round(400), cuts, turn);
                assert!(steps_in(cuts) && !steps_in(cuts - 1), "{claim:?}, rank {rank}");
            }
        }
    }

    #[test]
    fn the_home_is_the_first_eight_bytes_modulo_n() {
        let mut id = TxId([0xFF; 32]);
        id.0[..8].copy_from_slice(&10u64.to_le_bytes());
        assert_eq!((home_of(&id, 4), home_of(&id, 7), home_of(&id, 1)), (Index(2), Index(3), Index(0)));
    }

    #[test]
    fn backups_step_in_by_idle_cuts_by_time_and_rounds_or_by_time_alone() {
        let since = Since { time: Time(1_000), round: Round(100) };
        for (open_ms, rounds, idle_cuts, promotable) in [
            (0, 16, 16, true),
            (0, 15, 400, false),
            (0, 400, 15, false),
            (2_000, 8, 0, true),
            (1_999, 8, 0, false),
            (2_000, 7, 0, false),
            (5_000, 0, 0, true),
            (4_999, 0, 16, false),
        ] {
            let (now, height) = (since.time + Span::from_ms(open_ms), Round(100 + rounds));
            let case = (open_ms, rounds, idle_cuts);
            let ordered = Turn { claim: Claim::Ordered, heard: now, rank: 0 };
            assert_eq!(since.is_promotable(now, height, idle_cuts, ordered), promotable, "{case:?}");
            if idle_cuts == 0 {
                assert_eq!(since.due(height, ordered) <= now, promotable, "{case:?}");
            }
            let of_copy = |heard| {
                let turn = Turn { claim: Claim::Copied, heard, rank: 0 };
                since.is_promotable(now, height, idle_cuts, turn)
            };
            assert_eq!(of_copy(now), idle_cuts.min(rounds) >= 16, "{case:?}");
            assert_eq!(of_copy(Time(0)), idle_cuts.min(rounds) >= 16 || open_ms >= 5_000, "{case:?}");
        }
    }
}
