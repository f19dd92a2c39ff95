//! The missing bodies of a lane: those of decided entries, of certified ones, and of entries that echoing needs.

use wire::ids::{Digest, Seq};

use super::{Cause, Chain, Missing, Need};
use crate::lane::slot::{Echo, Slot};

impl Chain {
    /// How many positions directly below a decided one are unknown, at most `max`: their digests follow from its body.
    pub(in crate::lane) fn unknown_below(&self, seq: Seq, max: u64) -> u64 {
        let is_known = |seq: &u64| {
            self.slots.get(&Seq(*seq)).is_some_and(|slot| slot.settled.is_some() || slot.body.is_some())
        };
        let lowest = self.executed.0.max(seq.0.saturating_sub(max + 1));
        let known = (lowest + 1..seq.0).rev().find(is_known);
        seq.0 - 1 - known.unwrap_or(lowest)
    }

    /// The changes to missing bodies since the last call.
    pub(in crate::lane) fn take_missing(&mut self) -> Missing {
        let mut missing = std::mem::take(&mut self.missing);
        let needs = &mut missing.undecided;
        let mut looked_at = 0;
        for (seq, slot) in self.slots.range(self.window()) {
            looked_at += 1;
            needs.extend(self.missing_parent(*seq, slot));
            match (slot.certified(), slot.first, slot.echo) {
                (Some(digest), _, _) => needs.extend(self.need(*seq, slot, digest, Cause::Certified)),
                (None, Some(first), Echo::NotGiven) => {
                    needs.extend(self.need(*seq, slot, first.digest, Cause::Claimed));
                }
                _ => {}
            }
        }
        self.work += looked_at;
        missing
    }

    fn need(&self, seq: Seq, slot: &Slot, digest: Digest, cause: Cause) -> Option<Need> {
        let bytes = slot.bytes_of(digest);
        let is_missed = !slot.holds(digest) && self.fits(seq, bytes.unwrap_or(0));
        is_missed.then_some(Need { seq, digest, cause, bytes })
    }

    /// The parent of an entry that should be echoed, if neither its header nor its body is known.
    fn missing_parent(&self, seq: Seq, slot: &Slot) -> Option<Need> {
        let before = Seq(seq.0 - 1);
        let first = slot.first.filter(|_| slot.echo == Echo::NotGiven)?;
        let is_known = |slot: &Slot| slot.first.is_some() || slot.certified().is_some();
        let is_missed = before > self.decided.seq && !self.slots.get(&before).is_some_and(is_known);
        is_missed.then_some(Need { seq: before, digest: first.parent, cause: Cause::Claimed, bytes: None })
    }
}
