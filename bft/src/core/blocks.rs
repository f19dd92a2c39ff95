//! Execution of decided blocks, in order, and the steps that follow from one.

use wire::ids::{Digest, NodeId};

use crate::block::Header;
use crate::core::{Core, News};
use crate::event::{BlockReport, Effect};
use crate::lane::entry::Entry;
use crate::ledger::BlockOutcome;
use crate::part::PartRef;
use crate::round::Decision;
use crate::time::Time;

impl Core {
    /// Executes the next decided block if all its entries, and the parts that they import, are here; returns whether it
    /// did.
    pub(super) fn execute_next(&mut self, now: Time) -> bool {
        let Some(decision) = self.undone.front() else { return false };
        if !self.lanes.is_complete_to(&decision.cut) {
            return false;
        }
        let block = self.lanes.block(&decision.previous, &decision.cut, |_| None);
        let mut entries = block.expect("all entries up to its cut are here");
        // The lane that comes first changes with the round, so that no lane's transactions win every conflict over a
        // coin.
        let n = self.member.committee.n() as u64;
        let round = decision.round;
        entries.sort_by_key(|entry| ((u64::from(entry.owner.0) + round.0) % n, entry.seq));
        let missing = self.missing_parts(&entries);
        if !missing.is_empty() {
            let effects = self.transfers.want(now, &missing);
            self.absorb_transfers(effects);
            return false;
        }
        let decision = self.undone.pop_front().expect("its front was read above");
        let payloads = entries.iter().map(|entry| (entry.owner, entry.payload()));
        let bodies = |part: &PartRef| self.transfers.body(part);
        let outcome = self.ledger.execute_with(round, payloads, &bodies, self.lanes.verified());
        let header = Header {
            height: round,
            previous: self.header_digest(),
            cut: decision.cut.digest(),
            outcome: outcome.digest,
            outgoing: outcome.outgoing,
        };
        self.header = header;
        self.lanes.executed(round, &decision.cut);
        self.executed_cut.clone_from(&decision.cut);
        self.takeover.executed(round);
        self.views += u64::from(decision.times.views);
        let leader = self.member.node_at(decision.leader);
        let report = report(now, &decision, leader, header.digest(), &outcome, &entries);
        self.trace_block(&report, &outcome, &entries);
        self.out.push(Effect::Executed(Box::new(report)));
        if self.follows() {
            // It sends neither parts nor a VOTE. Kept ones would never be acknowledged.
            self.transfers.followed(&header);
            self.votes.followed(round);
        } else {
            self.transfers.executed(&header, outcome.parts.clone());
            let votes = self.votes.executed(now, round, header.digest());
            self.absorb_votes(now, votes);
        }
        self.after_block(now, &outcome);
        // Last, since this may decide a further round.
        let entries_from = self.lanes.history_from().unwrap_or(round.next());
        let effects = self.rounds.executed(now, round, entries_from, &self.lanes);
        self.absorb_rounds(now, effects);
        self.make_checkpoint(now);
        true
    }

    /// The parts that these entries import and that are not here.
    fn missing_parts(&self, entries: &[Entry]) -> Vec<PartRef> {
        let mut parts = self.ledger.wants(entries.iter().map(Entry::payload));
        parts.retain(|part| self.transfers.body(part).is_none());
        parts
    }

    /// Reports the results of a block to clients, to other shards, and to the parts of the core that waited for it.
    fn after_block(&mut self, now: Time, outcome: &BlockOutcome) {
        for source in self.other_shards() {
            let effects = self.transfers.imported(now, source, self.ledger.imported(source));
            self.absorb_transfers(effects);
        }
        self.imports = News::Arrived;
        let output = self.pending.executed(now, outcome, &self.ledger);
        self.trace_receipts(outcome, &output.receipts);
        self.absorb_pending(output);
    }
}

/// The figures of one executed block.
fn report(
    now: Time,
    decision: &Decision,
    leader: NodeId,
    header: Digest,
    outcome: &BlockOutcome,
    entries: &[Entry],
) -> BlockReport {
    let times = &decision.times;
    let span = |from: Option<Time>, to: Option<Time>| match (from, to) {
        (Some(from), Some(to)) => to.since(from).0,
        _ => 0,
    };
    let decided = Some(decision.decided_at);
    BlockReport {
        round: decision.round,
        header,
        finished: outcome.counts.finished,
        rejected: outcome.counts.rejected,
        skipped: outcome.counts.skipped + outcome.counts.expired,
        spent: outcome.counts.spent,
        finished_cross: outcome.counts.finished_cross,
        cancelled: outcome.counts.cancelled,
        refunded: outcome.counts.refunded,
        closed: outcome.counts.closed,
        entries: entries.len() as u64,
        payload_bytes: entries.iter().map(|entry| entry.payload().len() as u64).sum(),
        views: times.views,
        leader,
        spb_us: span(times.input, times.finished),
        coin_us: span(times.finished, times.elected),
        decide_us: span(times.elected.or(times.finished), decided),
        agreement_us: span(times.input, decided),
        fetch_us: span(decided, Some(now)),
    }
}
