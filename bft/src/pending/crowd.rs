//! Crowds: clients that hand the same transactions to several members at once.
//!
//! Each contact proposes at once what it is handed, so that a transaction waits for nobody; handed to all, it is
//! ordered N times. Executed blocks show that: once more than [`DUPLICATES_PERCENT`] of the transactions of one were
//! there before, each contact leaves what it is handed in the next [`CROWD_TIME`] to its home at index TxId mod N, asks
//! that to propose it, and backs it up as any member does that is asked to order something. So while there is a crowd a
//! transaction is ordered once and travels once more; without one nothing changes.
//!
//! # Security
//! A member or client that has transactions ordered twice on purpose costs others that one trip. A home that does not
//! propose delays a transaction as it may delay any order.

use std::collections::BTreeMap;

use wire::bytes::Bytes;
use wire::dest::Dest;
use wire::ids::{Index, TxId};

use crate::pending::sharing::Sharing;
use crate::pending::{Output, Pending, PendingSend};
use crate::shard::home::home_of;
use crate::time::{Span, Time};

/// So much of a block is ordered twice now and then: clients hand on what a silent member has.
const DUPLICATES_PERCENT: usize = 2;
/// While contacts leave transactions to their homes, blocks do not show whether the crowd goes on: long beside the time
/// after which they would.
const CROWD_TIME: Span = Span::from_ms(60_000);

/// Transactions left to their homes, by those.
pub(super) type Left = BTreeMap<Index, Vec<Bytes>>;

impl Sharing {
    /// A block of so many transactions had so many that were there before.
    pub(super) fn note_duplicates(&mut self, now: Time, duplicates: usize, transactions: usize) {
        if duplicates * 100 > transactions * DUPLICATES_PERCENT {
            self.crowd_until = now + CROWD_TIME;
        }
    }
}

impl Pending {
    /// The other member to which we leave a transaction that a client hands in here.
    pub(super) fn home_in_crowd(&self, now: Time, id: &TxId) -> Option<Index> {
        let home = home_of(id, self.member.committee.n());
        let is_left = self.sharing.is_on()
            && now < self.sharing.crowd_until
            && home != self.member.index
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
