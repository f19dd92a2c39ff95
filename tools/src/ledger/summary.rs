//! What nodes have at their ends: a table of them, the ledger of each shard in figures, and lists of its items.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use bft::event::Effect;
use bft::journal::Replay;
use bft::ledger::Item;
use bft::time::Time;
use bft::trace::Tracing;
use wire::audit::Section;
use wire::ids::{Round, ShardId};

use super::Holder;
use super::compare::digest_at_end;
use super::scan::Scan;
use crate::grid::{Side, aligned_within, beside};
use crate::lag::grouped;
use crate::replay::{Beginning, Cause, Onlooker};
use crate::terminal::print;

/// Where facts begin beside their terms.
const FACTS_AT: usize = 16;

/// The summary of all that could be replayed.
pub(super) fn of(scans: &[(&Holder, Scan)], columns: usize) -> String {
    let Some((first, _)) = scans.first() else { return String::new() };
    let committee = &first.source.committee;
    let mut text = format!(
        "testbed {}, {} nodes in {} shard{}\n",
        committee.testbed(),
        committee.nodes().count(),
        committee.shards(),
        if committee.shards() == 1 { "" } else { "s" }
    );
    let mut rows = vec![["", "height", "certified", "header", "ledger"].map(String::from).to_vec()];
    for (holder, scan) in scans {
        let certified = scan.votes.certified.as_ref().map_or("-".into(), |(height, _)| height.to_string());
        let ledger = digest_at_end(scan).map_or("-".into(), |digest| digest.to_string());
        rows.push(vec![
            holder.name.clone(),
            scan.height().to_string(),
            certified,
            scan.last.header.to_string(),
            ledger,
        ]);
    }
    text +=
        &aligned_within(columns, &[Side::Left, Side::Right, Side::Right, Side::Left, Side::Left], &rows, 2);
    let shards: BTreeSet<ShardId> = scans.iter().map(|(holder, _)| holder.shard).collect();
    for shard in shards {
        let here = scans.iter().filter(|(holder, _)| holder.shard == shard);
        let Some((holder, scan)) =
            here.max_by_key(|(holder, scan)| (scan.height(), std::cmp::Reverse(holder.node)))
        else {
            continue;
        };
        text += &format!("shard {shard} at height {}, as {} has it\n", scan.height(), holder.name);
        for (term, facts) in facts(scan) {
            text += &beside(&format!("  {term}"), &facts, FACTS_AT, columns);
        }
    }
    text
}

/// A ledger in figures.
fn facts(scan: &Scan) -> Vec<(&'static str, String)> {
    let (last, sums) = (&scan.last, scan.sums.get(&scan.height()));
    let items = |section| sums.map_or(0, |sums| sums.of(section).items);
    let count = |section| grouped(items(section));
    let sum = |of: fn(&bft::event::BlockReport) -> u64| -> u64 {
        scan.blocks.values().map(|block| of(&block.report)).sum()
    };
    let gone: u128 = last.exchanged.iter().map(|exchange| exchange.value_out).sum();
    let come: u128 = last.exchanged.iter().map(|exchange| exchange.value_in).sum();
    let blocks = scan.blocks.len() as u64;
    let mut facts = vec![
        (
            "blocks",
            format!(
                "{} since height {}, {} entries, {} bytes of payload",
                grouped(blocks),
                scan.from,
                grouped(sum(|report| report.entries)),
                grouped(sum(|report| report.payload_bytes))
            ),
        ),
        (
            "transactions",
            format!(
                "{} finished, {} rejected, {} expired; across shards {} finished, {} cancelled; {} settled ones are remembered",
                grouped(last.finished),
                grouped(last.rejected),
                grouped(last.expired),
                grouped(last.finished_cross),
                grouped(last.cancelled),
                count(Section::Settled)
            ),
        ),
        (
            "coins",
            format!(
                "{} unspent, worth {}; {} spent ones are remembered",
                grouped(last.coins),
                last.value,
                count(Section::Spent)
            ),
        ),
        ("open records", format!("{}, holding {}", grouped(last.open_records), last.held)),
        ("pool", format!("{} transactions; {} early parts", grouped(last.pool), count(Section::Early))),
        (
            "value",
            format!(
                "{} unspent + {} held + {gone} gone to other shards = {} at genesis + {come} come from them",
                last.value, last.held, scan.genesis_value
            ),
        ),
    ];
    if let Some((height, signers)) = &scan.votes.certified {
        let signers = crate::ids::list(signers.iter().map(|signer| u64::from(signer.0)));
        facts.push((
            "certificate",
            format!("of height {height} and all before it, by the VOTEs of members {signers}"),
        ));
    }
    facts
}

/// Stops after a block.
pub(super) struct Until(pub(super) Option<Round>);

impl Onlooker for Until {
    fn begins(&mut self, from: &Beginning, replay: &mut Replay) -> Result<(), Cause> {
        is_kept(from, replay, self.0)
    }

    fn step(&mut self, replay: &Replay, _: Time, effects: &[Effect]) -> ControlFlow<()> {
        let has_block = effects.iter().any(|effect| matches!(effect, Effect::Executed(_)));
        if has_block && self.0.is_some_and(|until| replay.core().ledger().height() >= until) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// Whether a journal still has the block after which to stop.
pub(super) fn is_kept(from: &Beginning, replay: &Replay, until: Option<Round>) -> Result<(), Cause> {
    let kept_from = replay.core().ledger().height();
    match (from, until) {
        (Beginning::Snapshot(..), Some(until)) if until <= kept_from => {
            Err(Cause::NotKept { until, kept_from })
        }
        _ => Ok(()),
    }
}

/// Lists the items of a section, at the end or after a block.
pub(super) fn list(holder: &Holder, section: Section, until: Option<Round>) -> Result<(), String> {
    let walked =
        holder.source.walk(Tracing::Off, &mut Until(until)).map_err(|failure| failure.to_string())?;
    let ledger = walked.replay.core().ledger();
    if let Some(until) = until.filter(|until| ledger.height() < *until) {
        return Err(format!("its journal ends at height {}, before {until}", ledger.height()));
    }
    let mut items: Vec<Item> = ledger.items_in(section).collect();
    items.sort_unstable();
    let count = grouped(items.len() as u64);
    print(format!("{}, height {}: {count} items in section '{section}'", holder.name, ledger.height()));
    items.iter().for_each(|item| print(format!("  {item}")));
    Ok(())
}
