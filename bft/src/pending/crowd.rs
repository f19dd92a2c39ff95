//! Crowds: clients that hand the same transactions to several members at once.
//!
//! Each contact proposes at once what it is handed, so that a transaction waits for nobody; handed to all, it is
//! ordered N times. Executed blocks show that: once more than [`DUPLICATES_PERCENT`] of at least [`TRANSACTIONS_MIN`]
//! transactions within [`WINDOW`] were there before, each contact leaves what it is handed in the next [`CROWD_TIME`]
//! to its home at index TxId mod N, asks that to propose it, and backs it up as any member does that is asked to order
//! something. So while there is a crowd a transaction is ordered once and travels once more; without one nothing
//! changes. Fewer transactions than that are not worth the trip: ordering them N times costs little.
//!
//! The home is asked once. If the message is lost, or the home has no room or lags, the contact proposes the
//! transaction itself, as any backup does: after 2 s and 8 rounds, or after 5 s.
//!
//! # Security
//! Who has transactions ordered twice on purpose, 2 % of a load of hundreds a second, costs others that one trip. A
//! home that does not propose delays what is left to it as it may delay any order. One whose lane has stood still for
//! [`IDLE_TIME`] is left nothing; one that appends entries and leaves these transactions out delays its part, f/N of
//! the load with f such homes, for as long as there is a crowd.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::bytes::Bytes;
use wire::dest::Dest;
use wire::ids::{Index, TxId};

use crate::pending::{Output, Pending, PendingSend};
use crate::shard::home::home_of;
use crate::time::{Span, Time};

/// So much of a block is ordered twice now and then: clients hand on what a silent member has.
const DUPLICATES_PERCENT: usize = 2;
/// So many transactions must have been counted.
const TRANSACTIONS_MIN: usize = 2_000;
/// Over so long they are counted.
const WINDOW: Span = Span::from_ms(5_000);
/// A home whose lane has not advanced for so long is left nothing: in a crowd each has something to propose.
const IDLE_TIME: Span = Span::from_ms(5_000);
/// While contacts leave transactions to their homes, blocks do not show whether the crowd goes on: long beside the time
/// after which they would.
const CROWD_TIME: Span = Span::from_ms(60_000);

/// Transactions left to their homes, by those.
pub(super) type Left = BTreeMap<Index, Vec<Bytes>>;

/// Whether clients hand the same transactions to several members, as far as blocks show it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Crowd {
    /// What is counted begins here.
    since: Time,
    transactions: usize,
    duplicates: usize,
    /// There is one until then.
    until: Time,
}

impl Crowd {
    /// A block of so many transactions had so many that were there before.
    pub(super) fn count(&mut self, now: Time, duplicates: usize, transactions: usize) {
        if now.since(self.since) > WINDOW {
            *self = Crowd { since: now, until: self.until, ..Crowd::default() };
        }
        self.transactions += transactions;
        self.duplicates += duplicates;
        if self.transactions >= TRANSACTIONS_MIN
            && self.duplicates * 100 > self.transactions * DUPLICATES_PERCENT
        {
            self.until = now + CROWD_TIME;
        }
    }
}

impl Pending {
    /// Whether clients hand the same transactions to several members.
    pub(super) fn is_crowd(&self, now: Time) -> bool {
        now < self.sharing.crowd.until
    }

    /// The other member to which we leave a transaction that a client hands in here.
    pub(super) fn home_in_crowd(&self, now: Time, id: &TxId) -> Option<Index> {
        let home = home_of(id, self.member.committee.n());
        let is_left = self.sharing.is_on()
            && self.is_crowd(now)
            && home != self.member.index
            && now.since(self.list.heard(home)) < IDLE_TIME
            && self.sharing.is_connected(home);
        is_left.then_some(home)
    }

    /// Asks homes, and the members after them that hold copies with us, to order what is left to them.
    pub(super) fn ask_homes(&self, left: Left, output: &mut Output) {
        let n = self.member.committee.n() as u16;
        for (Index(home), transactions) in left {
            let after =
                (0..n).map(|step| Index((home + step) % n)).filter(|index| *index != self.member.index);
            let asked =
                after.take(self.sharing.copies(&self.member).max(1)).map(|index| self.member.node_at(index));
            output.sends.push((Dest::Set(asked.collect()), PendingSend::Order(transactions)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time(0) + Span::from_ms(ms)
    }

    #[test]
    fn a_crowd_takes_many_transactions_within_a_few_seconds() {
        let mut crowd = Crowd::default();
        crowd.count(at(0), 1, 40);
        crowd.count(at(1), 1_000, 1_000);
        assert_eq!(crowd.until, Time(0), "few");
        // A window later these count no more.
        crowd.count(at(5_001), 40, 1_999);
        assert_eq!(crowd.until, Time(0), "a new window, and one too few in it");
        crowd.count(at(5_002), 0, 1);
        assert_eq!(crowd.until, Time(0), "no more than 2 %");
        crowd.count(at(5_003), 1, 1);
        assert_eq!(crowd.until, at(65_003));
        crowd.count(at(20_000), 0, 5_000);
        assert_eq!(crowd.until, at(65_003), "it ends of itself");
    }
}
