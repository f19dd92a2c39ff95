//! Several nodes of a shard against each other: the first block of which they have different ones, and the first height
//! at which their ledgers differ.
//!
//! Blocks are compared height by height. Whole ledgers are compared where two nodes end, or where the one that ends
//! first does: their sums say whether they are equal. If they are not, but the blocks are, the height at which they
//! begin to differ is searched for between the first and that one, some heights in each replay, and the first item that
//! differs is looked at there.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bft::trace::Tracing;
use wire::audit::Sums;
use wire::ids::{Digest, Round, ShardId};

use super::Holder;
use super::differ::first_difference;
use super::scan::{Block, Scan};
use crate::lag::grouped;

/// Heights whose sums are taken in one replay of a search.
const HEIGHTS_A_PASS: usize = 16;

/// What a comparison found.
#[derive(Default)]
pub(super) struct Compared {
    pub(super) findings: Vec<String>,
    /// What is equal, and what could not be compared.
    pub(super) remarks: Vec<String>,
}

/// A node and what was seen of it.
type Seen<'a> = (&'a Holder, Scan);

/// Compares all nodes of each shard with the one of it that is furthest.
pub(super) fn compare(scans: &mut [Seen<'_>]) -> Compared {
    let mut compared = Compared::default();
    let shards: BTreeSet<ShardId> = scans.iter().map(|(holder, _)| holder.shard).collect();
    for shard in shards {
        let mut here: Vec<&mut Seen<'_>> =
            scans.iter_mut().filter(|(holder, _)| holder.shard == shard).collect();
        here.sort_by_key(|(_, scan)| std::cmp::Reverse(scan.height()));
        let Some((first, others)) = here.split_first_mut() else { continue };
        if others.is_empty() {
            compared
                .remarks
                .push(format!("{}: no other node of shard {shard} to compare with", first.0.name));
        }
        compare_blocks(first, others, &mut compared);
        compare_ledgers(first, others, &mut compared);
    }
    compared
}

/// The first height at which a node has another block.
fn compare_blocks(first: &Seen<'_>, others: &[&mut Seen<'_>], compared: &mut Compared) {
    for (holder, scan) in others.iter().map(|seen| &**seen) {
        let mut common = scan
            .blocks
            .iter()
            .filter_map(|(height, theirs)| Some((height, first.1.blocks.get(height)?, theirs)));
        let fork = common.find(|(_, ours, theirs)| ours.report.header != theirs.report.header);
        if let Some((height, ours, theirs)) = fork {
            compared.findings.push(format!(
                "shard {}: height {height} is the first at which {} and {} have different blocks: {} and {}; {}",
                holder.shard,
                first.0.name,
                holder.name,
                ours.report.header,
                theirs.report.header,
                what_differs(ours, theirs)
            ));
        }
    }
}

/// In what two blocks of one height differ, all before them being equal.
fn what_differs(ours: &Block, theirs: &Block) -> String {
    let counts = |block: &Block| {
        let report = &block.report;
        format!(
            "{} entries, {} bytes, {} finished, {} rejected, {} skipped, {} spent, {} finished across shards, {} cancelled, \
             {} refunded, {} closed",
            report.entries,
            grouped(report.payload_bytes),
            report.finished,
            report.rejected,
            report.skipped,
            report.spent,
            report.finished_cross,
            report.cancelled,
            report.refunded,
            report.closed
        )
    };
    let (here, there) = (counts(ours), counts(theirs));
    let what = match (ours.cut, theirs.cut) {
        (Some(here), Some(there)) if here == there => "they executed the same cut with different outcomes",
        (Some(_), Some(_)) => "they decided different cuts",
        _ => "their cuts are not known any more",
    };
    if here == there {
        format!("{what}, of the same counts ({here})")
    } else {
        format!("{what}: {here}; {there}")
    }
}

/// Whether the ledgers are equal where both stood last.
fn compare_ledgers(first: &mut Seen<'_>, others: &mut [&mut Seen<'_>], compared: &mut Compared) {
    let common: Vec<Option<Round>> = others.iter().map(|seen| last_common(&first.1, &seen.1)).collect();
    add_sums(first, common.iter().copied().flatten().collect());
    for (seen, at) in others.iter_mut().zip(&common) {
        add_sums(seen, at.iter().copied().collect());
    }
    let mut equal: BTreeMap<Round, Vec<&str>> = BTreeMap::new();
    for (seen, at) in others.iter_mut().zip(common) {
        let name = &seen.0.name;
        let sums = at.and_then(|at| Some((at, first.1.sums.get(&at)?, seen.1.sums.get(&at)?)));
        let Some((at, ours, theirs)) = sums else {
            let why = "they never stood at one height, so their ledgers are not compared";
            compared.remarks.push(format!("{} and {name}: {why}", first.0.name));
            continue;
        };
        if ours == theirs {
            equal.entry(at).or_default().push(name);
        } else {
            let (height, words) = first_other_ledger(first, seen, at);
            compared.findings.push(format!(
                "shard {}: {} and {name} have different ledgers at height {at}, and height {height} is the first at \
                 which they do: {words}",
                seen.0.shard, first.0.name
            ));
        }
    }
    for (height, names) in equal {
        let names = names.join(", ");
        compared.remarks.push(format!("{names}: the same ledger as {} at height {height}", first.0.name));
    }
}

/// The last height at which both stood between two events.
fn last_common(one: &Scan, other: &Scan) -> Option<Round> {
    one.stood.iter().rev().find(|height| other.stood.contains(height)).copied()
}

/// Takes sums at these heights in a further replay, as far as they are missing.
fn add_sums((holder, scan): &mut Seen<'_>, mut heights: BTreeSet<Round>) {
    heights.retain(|height| !scan.sums.contains_key(height));
    let Some(until) = heights.last().copied() else { return };
    let mut again = Scan::new(holder);
    (again.wanted, again.until) = (heights, Some(until));
    // It went well to the end before.
    if holder.source.walk(Tracing::Off, &mut again).is_ok() {
        scan.sums.append(&mut again.sums);
    }
}

/// The first height at which two ledgers differ that do at `last`, and in what.
fn first_other_ledger(one: &mut Seen<'_>, other: &mut Seen<'_>, last: Round) -> (Round, String) {
    let heights: Vec<Round> = one.1.stood.intersection(&other.1.stood).copied().collect();
    let heights = heights.into_iter().filter(|height| *height <= last).collect();
    let first = first_of(heights, |probes| {
        add_sums(one, probes.clone());
        add_sums(other, probes.clone());
        probes.iter().copied().find(|height| one.1.sums.get(height) != other.1.sums.get(height))
    });
    let height = first.unwrap_or(last);
    (height, in_words(one, other, height))
}

/// The first of ascending heights from which on something is so that is so at the last. `find` returns the first of
/// some heights at which it is.
fn first_of(
    mut heights: Vec<Round>,
    mut find: impl FnMut(&BTreeSet<Round>) -> Option<Round>,
) -> Option<Round> {
    while heights.len() > 1 {
        let step = heights.len().div_ceil(HEIGHTS_A_PASS);
        let probes: BTreeSet<Round> = heights.iter().copied().step_by(step).collect();
        let first = find(&probes).or(heights.last().copied())?;
        let before = probes.range(..first).next_back().copied();
        heights.retain(|height| *height <= first && before.is_none_or(|before| *height > before));
    }
    heights.pop()
}

/// In what two ledgers of one height differ.
fn in_words(one: &mut Seen<'_>, other: &mut Seen<'_>, height: Round) -> String {
    let [ours, theirs] = [&one.1, &other.1].map(|scan| scan.sums.get(&height));
    let (Some(ours), Some(theirs)) = (ours, theirs) else { return "they cannot be replayed again".into() };
    let differences = ours.differences(theirs);
    let names: Vec<String> = differences
        .iter()
        .map(|(section, _)| {
            let items = |sums: &Sums| grouped(sums.of(*section).items);
            format!("{section} ({} and {})", items(ours), items(theirs))
        })
        .collect();
    let Some((section, bucket)) = differences.first().copied() else { return "in nothing".into() };
    let mut items = Vec::new();
    for (holder, _) in [&*one, &*other] {
        let mut scan = Scan::new(holder);
        (scan.bucket, scan.until) = (Some((height, section, bucket)), Some(height));
        // It went well that far before.
        let _ = holder.source.walk(Tracing::Off, &mut scan);
        items.push(scan.items);
    }
    let first = first_difference(&items[0], &items[1]);
    let first = first.map(|difference| difference.in_words(&one.0.name, &other.0.name)).unwrap_or_default();
    format!("{}; first: {first}", names.join(", "))
}

/// Digests of ledgers by what has them, for a table.
pub(super) fn digest_at_end(scan: &Scan) -> Option<Digest> {
    scan.sums.get(&scan.height()).map(Sums::digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_height_is_found_in_few_replays() {
        for (heights, first) in
            [(1, 1), (2, 1), (2, 2), (16, 16), (17, 2), (1_000, 1), (1_000, 612), (5_000, 5_000)]
        {
            let mut replays = 0;
            let found = first_of((1..=heights).map(Round).collect(), |probes| {
                replays += 1;
                assert!(probes.len() <= HEIGHTS_A_PASS);
                probes.iter().copied().find(|height| height.0 >= first)
            });
            assert_eq!(found, Some(Round(first)), "of {heights}");
            assert!(replays <= 4, "{replays} replays of {heights} heights");
        }
        assert_eq!(first_of(Vec::new(), |_| None), None);
    }
}
