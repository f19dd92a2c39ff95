//! Whether the receipts that clients got fit the blocks.

use wire::ids::{Round, ShardId};

use super::record::Record;
use super::rounds::Block;
use super::{Place, Verdict};

/// No block has more receipts than it has finished.
pub(super) fn check_block(place: Place, block: &Block, record: &Record, verdict: &mut Verdict) {
    let height = block.round;
    let receipts = record.receipts.get(&(place.shard, height)).copied().unwrap_or_default();
    let Block { finished, finished_cross, .. } = *block;
    if receipts.intra > finished {
        verdict.receipts_hold.break_it();
        verdict.find(format!(
            "{place}{} receipts name height {height}, which finished {finished} transactions",
            receipts.intra
        ));
    }
    if receipts.cross > finished_cross {
        verdict.receipts_hold.break_it();
        verdict.find(format!(
            "{place}{} receipts of cross-shard transactions name height {height}, which finished {finished_cross}",
            receipts.cross
        ));
    }
}

/// Receipts of heights beyond the last block that a member wrote.
pub(super) fn check_beyond(
    place: Place,
    last: Round,
    are_whole: bool,
    record: &Record,
    verdict: &mut Verdict,
) {
    let beyond = record.receipts.range((place.shard, last.next())..=(place.shard, Round(u64::MAX)));
    let beyond = beyond.map(|((_, height), count)| (height, count.intra.saturating_add(count.cross)));
    if !are_whole {
        // Nodes that were killed may not have written their last lines, nor those whose disk was full.
        let count = beyond.fold(0u64, |sum, (_, count)| sum.saturating_add(count));
        if count > 0 {
            let why =
                format!("{place}{count} receipts name heights after {last}, the last that a member wrote");
            verdict.receipts_hold.limit(why);
        }
        return;
    }
    for (height, count) in beyond {
        verdict.receipts_hold.break_it();
        verdict.find(format!("{place}{count} receipts name height {height}, which no node has executed"));
    }
}

/// As many receipts as clients counted, and no more blocks' transactions without one than they have open.
pub(super) fn check_totals(record: &Record, shards: u16, verdict: &mut Verdict) {
    let exists = |(shard, height): &(ShardId, Round)| shard.0 < shards && *height > Round(0);
    for (shard, height) in record.receipts.keys().filter(|place| !exists(place)) {
        verdict.receipts_hold.break_it();
        verdict.find(format!("receipts name height {height} of shard {shard}, which is no block"));
    }
    let clients = &record.clients;
    if !clients.adds_up() {
        verdict.receipts_hold.break_it();
        verdict.find(format!("clients.csv does not add up: {clients:?}"));
    }
    let of = |count: fn(&crate::load::Finished) -> u64| {
        record.receipts.values().fold(0u64, |sum, finished| sum.saturating_add(count(finished)))
    };
    let receipts = of(|finished| finished.intra).saturating_add(of(|finished| finished.cross));
    if receipts != clients.committed {
        verdict.receipts_hold.break_it();
        verdict
            .find(format!("clients got {receipts} receipts, but count {} as committed", clients.committed));
    }
    let without = verdict.finished.saturating_sub(receipts);
    // Nodes serve any client: what they took beyond what the run handed them is not the run's.
    let up = record.nodes.values().flatten();
    let taken = up.fold(0u64, |sum, status| sum.saturating_add(status.taken));
    // A transaction that a node refused was not taken, one that it knew to be rejected neither, and one that was handed
    // on may have been taken twice.
    let maybe_not_taken = clients.refused.saturating_add(clients.rejected);
    let of_others_at_most = taken.saturating_sub(clients.submitted.saturating_sub(maybe_not_taken));
    let some_are_down = record.nodes.values().any(Option::is_none);
    if taken > clients.submitted.saturating_add(clients.resubmitted) && some_are_down {
        verdict
            .receipts_hold
            .limit("other clients took part, and nodes that are down do not report with how much");
    } else if clients.cut_off > 0 && some_are_down {
        verdict.receipts_hold.limit(
            "an earlier load was cut off, and nodes that are down do not report how much of it they took",
        );
    } else if without > clients.without_receipt().saturating_add(of_others_at_most) {
        verdict.receipts_hold.break_it();
        verdict.find(format!(
            "{without} transactions have finished without a receipt, but clients have {} open",
            clients.without_receipt()
        ));
    }
}
