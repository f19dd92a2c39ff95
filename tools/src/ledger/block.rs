//! One block as a node executed it, and the list of all.

use std::ops::ControlFlow;

use bft::core::Core;
use bft::event::{BlockReport, Effect};
use bft::journal::Replay;
use bft::lane::entry::Entry;
use bft::ledger::{Settled, Standing};
use bft::time::Time;
use bft::trace::Tracing;
use bft::transaction::TransactionView;
use wire::hex;
use wire::ids::Round;
use wire::record::Item;

use super::Holder;
use super::scan::Scan;
use super::summary::is_kept;
use crate::grid::{Side, aligned_within, beside};
use crate::ids;
use crate::lag::grouped;
use crate::replay::{Beginning, Cause, Onlooker};
use crate::terminal::{columns, print};

/// Where facts begin beside their terms.
const FACTS_AT: usize = 12;
/// How many blocks to replay beyond the one shown: VOTEs for it arrive after its execution.
const VOTES_AFTER: u64 = 8;

/// A block is looked at when it was executed, and the votes for it are waited for.
struct Looking {
    height: Round,
    scan: Scan,
    text: String,
}

impl Onlooker for Looking {
    fn begins(&mut self, from: &Beginning, replay: &mut Replay) -> Result<(), Cause> {
        is_kept(from, replay, Some(self.height))?;
        replay.keep_blocks();
        self.scan.begins(from, replay)
    }

    fn item(&mut self, replay: &Replay, item: &Item) {
        self.scan.item(replay, item);
    }

    fn step(&mut self, replay: &Replay, now: Time, effects: &[Effect]) -> ControlFlow<()> {
        for effect in effects {
            if let Effect::Executed(report) = effect
                && report.round == self.height
            {
                self.text = text_of(replay, report, columns());
            }
        }
        self.scan.step(replay, now, effects)
    }
}

/// Shows a block.
pub(super) fn show(holder: &Holder, height: Round) -> Result<(), String> {
    let mut scan = Scan::new(holder);
    scan.until = Some(Round(height.0.saturating_add(VOTES_AFTER)));
    let mut looking = Looking { height, scan, text: String::new() };
    let walked = holder.source.walk(Tracing::Off, &mut looking).map_err(|failure| failure.to_string())?;
    if looking.text.is_empty() {
        let end = walked.replay.core().ledger().height();
        return Err(format!("its journal ends at height {end}, before {height}"));
    }
    // Only the findings of a whole journal count, and this is a part.
    let _ = looking.scan.findings(holder, &walked);
    let certificate = match &looking.scan.votes.certified {
        Some((certified, signers)) if *certified >= height => {
            let signers = ids::list(signers.iter().map(|signer| u64::from(signer.0)));
            format!("height {certified} and all before it, by the VOTEs of members {signers}")
        }
        _ => "none known when the journal ends".into(),
    };
    print(format!("block {height} of shard {}, as {} executed it", holder.shard, holder.name));
    print(beside("  certified", &certificate, FACTS_AT, columns()).trim_end());
    print(looking.text.trim_end());
    Ok(())
}

fn text_of(replay: &Replay, report: &BlockReport, columns: usize) -> String {
    let core = replay.core();
    let height = report.round;
    let cuts = core.decided_cut(height).zip(core.decided_cut(Round(height.0 - 1)));
    let entries = cuts.as_ref().and_then(|(cut, previous)| replay.block(previous, cut));
    let ledger = core.ledger();
    let cut = cuts.as_ref().map_or("not known any more".into(), |(cut, previous)| {
        let tips = cut.tips().map(|(lane, tip)| {
            let more = tip.seq.0 - previous.tip(lane).seq.0;
            if more > 0 { format!("{lane}:{} (+{more}),", tip.seq) } else { format!("{lane}:{},", tip.seq) }
        });
        let tips: Vec<String> = tips.collect();
        tips.join(" ").trim_end_matches(',').to_string()
    });
    let counts = [
        (report.finished, "finished"),
        (report.rejected, "rejected"),
        (report.skipped, "skipped"),
        (report.spent, "spent for other shards"),
        (report.finished_cross, "finished across shards"),
        (report.cancelled, "cancelled"),
        (report.refunded, "refunded"),
        (report.closed, "closed"),
    ];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let mut text = String::new();
    for (term, facts) in [
        ("header", hex::encode(&report.header.0)),
        ("cut", cut),
        ("entries", format!("{}, {} bytes of payload", report.entries, grouped(report.payload_bytes))),
        ("agreement", format!("views {}, leader node {}", report.views, report.leader)),
        ("counts", if counts.is_empty() { "nothing".into() } else { counts.join(", ") }),
        (
            "after it",
            format!(
                "{} unspent coins worth {}, {} open records, {} in the pool, ledger {}",
                grouped(ledger.coins_unspent()),
                ledger.value(),
                ledger.open_records(),
                ledger.pool_len(),
                if ledger.height() == height {
                    ledger.sums().digest().to_string()
                } else {
                    "not looked at".into()
                }
            ),
        ),
    ] {
        text += &beside(&format!("  {term}"), &facts, FACTS_AT, columns);
    }
    match entries {
        Some(entries) => text + &transactions(core, height, &entries, columns),
        None => text + "  its entries are not kept any more\n",
    }
}

/// The transactions of a block and what became of them in it.
fn transactions(core: &Core, height: Round, entries: &[Entry], columns: usize) -> String {
    let mut rows =
        vec![["transaction", "lane", "entry", "bytes", "value", "fate"].map(String::from).to_vec()];
    let ledger = core.ledger();
    let mut others = String::new();
    for entry in entries {
        let Ok(view) = ledger.rules().validate(entry.payload()) else { continue };
        for part in view.parts() {
            others += &format!(
                "  lane {} entry {}: imports part {} of shard {}\n",
                entry.owner, entry.seq, part.number, part.source
            );
        }
        for id in view.cancels() {
            others += &format!("  lane {} entry {}: wants to cancel {id}\n", entry.owner, entry.seq);
        }
        for transaction in view.transactions() {
            let value: u128 = transaction.outputs().map(|output| u128::from(output.amount)).sum();
            let id = transaction.id();
            rows.push(vec![
                id.to_string(),
                entry.owner.to_string(),
                entry.seq.to_string(),
                transaction.bytes().len().to_string(),
                value.to_string(),
                fate(core, height, &transaction),
            ]);
        }
    }
    let sides = [Side::Left, Side::Right, Side::Right, Side::Right, Side::Right, Side::Left];
    if rows.len() == 1 {
        return others + "  no transactions\n";
    }
    others + &aligned_within(columns, &sides, &rows, 2)
}

/// What became of a transaction in the block of this height, which is the last or nearly so.
pub(super) fn fate(core: &Core, height: Round, transaction: &TransactionView<'_>) -> String {
    let id = transaction.id();
    let ledger = core.ledger();
    match ledger.known(&id) {
        Standing::Settled(settled, round) if round < height => {
            format!("skipped, since it was {settled} in round {round}")
        }
        Standing::Settled(settled, _) => settled.to_string(),
        Standing::Spent => {
            let record = ledger.open_record(&id);
            let part = record.map(|record| (record.output(), record.part()));
            part.map_or("spent here".into(), |(shard, part)| {
                format!("spent here, part {part} for shard {shard}")
            })
        }
        Standing::Open | Standing::Never(_) => match ledger.standing(&id, transaction) {
            Standing::Never(cause) => format!("skipped: {}", Settled::Never(cause)),
            _ => "skipped".into(),
        },
    }
}

/// Lists all blocks, a line each.
pub(super) fn list(holder: &Holder, until: Option<Round>) -> Result<(), String> {
    let mut scan = Scan::new(holder);
    scan.until = until;
    let walked = holder.source.walk(Tracing::Off, &mut scan).map_err(|failure| failure.to_string())?;
    let _ = scan.findings(holder, &walked);
    let certified = scan.votes.certified.as_ref().map_or(Round(0), |(height, _)| *height);
    let names = ["height", "header", "cut", "entries", "finished", "rejected", "crossing", "certified"];
    let mut rows = vec![names.map(String::from).to_vec()];
    for (height, block) in
        scan.blocks.iter().filter(|(height, _)| until.is_none_or(|until| **height <= until))
    {
        let report = &block.report;
        rows.push(vec![
            height.to_string(),
            report.header.to_string(),
            block.cut.map_or("-".into(), |cut| hex::encode(&cut.0[..4])),
            report.entries.to_string(),
            report.finished.to_string(),
            report.rejected.to_string(),
            (report.spent + report.finished_cross + report.cancelled).to_string(),
            if *height <= certified { "yes" } else { "no" }.into(),
        ]);
    }
    print(format!("{}, blocks {} to {}", holder.name, scan.from.next(), scan.height()));
    let sides =
        [Side::Right, Side::Left, Side::Left, Side::Right, Side::Right, Side::Right, Side::Right, Side::Left];
    print(aligned_within(columns(), &sides, &rows, 2).trim_end());
    Ok(())
}
