//! The times at which an own lane entry is due.
//!
//! At low load a transaction should not wait, at high load an entry should be worth its signatures. So the first
//! entry beyond the decided cut goes out at once, and each further one only [`GAP_FIRST`], twice that, four times
//! that … after the last: on a fast network entries are small and quickly decided, on a slow one the gaps spread the
//! window over the time it takes to decide. A payload of [`LARGE_BYTES`], or of as many transactions as an entry may
//! hold, waits for nothing but room.
//!
//! An entry is no longer than that either, as long as the waiting transactions fit into the entries left in the window:
//! several travel, are echoed and executed while the next are filled. A deeper backlog is spread over those entries, so
//! that on a long link only the bytes of the window bound it.

use crate::core::{Core, News};
use crate::lane::entry;
use crate::mutant::{Mutant, in_force};
use crate::proposal::{ProposalBuilder, Push};
use crate::time::{Span, Time};

/// Pause after the first open entry.
const GAP_FIRST: Span = Span::from_ms(2);
/// Longest pause.
const GAP_MAX: Span = Span::from_ms(500);
/// A payload worth an entry of its own: large enough that its signatures cost little beside it, small enough that
/// the next is filled while it travels.
const LARGE_BYTES: usize = 512 << 10;

/// Bytes that a transaction adds to a payload besides its own, rounded up.
const PAYLOAD_OVERHEAD_MAX: usize = 64;

impl Core {
    /// Appends entries to the own lane while they are due; returns whether it did.
    pub(super) fn propose(&mut self, now: Time) -> bool {
        let mut proposed = false;
        self.adopt_tails(now);
        let decided = self.rounds.decided();
        self.pending.promote(now, self.ledger.height(), |lane| self.idle.cuts(lane, decided));
        while self.proposal_due().is_some_and(|due| due <= now) {
            let room = self.lanes.room().expect("an entry is due only if there is room");
            let share = self.pending.waiting_bytes() as usize / self.lanes.places_left().max(1);
            let bytes_max = room.min(share.max(LARGE_BYTES));
            let mut builder = ProposalBuilder::new(entry::buffer(0), bytes_max, self.batch);
            self.list_imports(now, &mut builder);
            let output = self.pending.take(now, &mut builder, &self.ledger);
            self.absorb_pending(output);
            if builder.is_empty() {
                // A transaction that left the list may have an entry in the pool, which must then be cancelled.
                if self.pending.has_cancels() {
                    continue;
                }
                return proposed;
            }
            let effects = self.lanes.append(now, builder.finish());
            self.trace_proposed(&effects);
            self.absorb_lanes(effects);
            proposed = true;
        }
        proposed
    }

    /// Lists due parts of other shards, and cancels of transactions that we believe rejected.
    fn list_imports(&mut self, now: Time, builder: &mut ProposalBuilder) {
        if std::mem::replace(&mut self.imports, News::None) == News::Arrived {
            let mut listed = Vec::new();
            for import in self.transfers.eligible(now) {
                if builder.push_import(&import) == Push::Full {
                    self.imports = News::Arrived;
                    break;
                }
                listed.push(import.part);
            }
            self.transfers.proposed(now, &listed);
        }
        for id in self.pending.cancels(&self.ledger, builder.cancels_left()) {
            let pushed = builder.push_cancel(id);
            assert_eq!(pushed, Push::Added, "only as many cancels are taken as fit");
        }
    }

    /// When the next own entry is due; `None` while there is nothing to propose or no room.
    pub(super) fn proposal_due(&self) -> Option<Time> {
        let pending_bytes = self.pending.waiting_bytes() as usize;
        // A block, a CL or our own filter can make a cancel due; this check covers all three.
        let has_cancels = self.pending.has_cancels() && in_force(Mutant::CancelIsDueAtOnce);
        let has_none = pending_bytes == 0 && self.imports == News::None && !has_cancels;
        if has_none || self.follows() {
            return None;
        }
        // Room for less than the longest transaction counts as none: nothing might fit, and the entry would be due for
        // ever.
        let protocol = self.member.committee.protocol();
        let longest = protocol.transaction_bytes_max as usize + PAYLOAD_OVERHEAD_MAX;
        let worthwhile = longest.min(protocol.proposal_bytes_max as usize);
        let room = self.lanes.room().filter(|room| *room >= worthwhile)?;
        let (open, last) = (self.lanes.own_open(), self.lanes.last_append());
        let is_full = pending_bytes >= LARGE_BYTES.min(room) || self.pending.waiting() >= self.batch;
        match last {
            Some(last) if open > 0 && !is_full => Some(last + gap(open)),
            _ => Some(Time(0)),
        }
    }
}

/// The pause after the last entry when so many are open.
fn gap(open: usize) -> Span {
    (1..open).fold(GAP_FIRST, |gap, _| gap.doubled(GAP_MAX))
}
