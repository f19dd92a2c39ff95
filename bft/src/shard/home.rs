//! The member that proposes an item which several hold, and the time at which its backups step in.
//!
//! A transaction that several members of an input shard must order has one home, the first member that gets the
//! request: it proposes at once. The others are its backups. They wait until the home seems to fail, since otherwise
//! everything would be ordered f+1 times: until its lane has not advanced for `IDLE_CUTS` cuts, or the transaction is
//! open for `OPEN_TIME` *and* `OPEN_ROUNDS` rounds (a fast shard has had its chance), or for `OPEN_TIME_MAX` (nothing
//! moves at all). For one home, all three conditions come true in the order of arrival, so backups keep one queue for
//! each home. (Parts of other shards have homes, too, but less patient backups: see `transfer`.)

use serde::{Deserialize, Serialize};
use wire::ids::{Index, Round, TxId};

use crate::time::{Span, Time};

/// The backups of a home step in after so many cuts without an entry of it.
const IDLE_CUTS: u64 = 16;
/// They also step in after this time, if `OPEN_ROUNDS` rounds have passed as well.
const OPEN_TIME: Span = Span::from_ms(2_000);
/// See [`OPEN_TIME`].
const OPEN_ROUNDS: u64 = 8;
/// They step in after this time in any case.
const OPEN_TIME_MAX: Span = Span::from_ms(5_000);

/// The first member of a shard of `n` that is requested to order a transaction: its home there.
pub fn home_of(id: &TxId, n: usize) -> Index {
    let (head, _) = id.0.split_first_chunk().expect("an id has 32 bytes");
    let index = u64::from_le_bytes(*head) % n as u64;
    Index(u16::try_from(index).expect("a shard has fewer than 2^16 members"))
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
    pub fn is_promotable(self, now: Time, height: Round, idle_cuts: u64) -> bool {
        let rounds = height.0.saturating_sub(self.round.0);
        let open = now.since(self.time);
        idle_cuts.min(rounds) >= IDLE_CUTS
            || open >= OPEN_TIME_MAX
            || (open >= OPEN_TIME && rounds >= OPEN_ROUNDS)
    }

    /// The time from which they may step in even if no further round passes.
    pub fn due(self, height: Round) -> Time {
        let rounds = height.0.saturating_sub(self.round.0);
        self.time + if rounds >= OPEN_ROUNDS { OPEN_TIME } else { OPEN_TIME_MAX }
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
            assert_eq!(since.is_promotable(now, height, idle_cuts), promotable, "{case:?}");
            if idle_cuts == 0 {
                assert_eq!(since.due(height) <= now, promotable, "{case:?}");
            }
        }
    }
}
