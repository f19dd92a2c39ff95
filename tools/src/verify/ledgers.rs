//! The whole ledgers of a shard's members at the end: those of one height are equal, section by section.

use std::collections::BTreeMap;

use wire::audit::Section;
use wire::committee::Committee;
use wire::ids::{NodeId, Round, ShardId};

use super::record::Record;
use super::{Place, Verdict};
use crate::ids;
use crate::ledger::live::{LastLedger, odd_ones};

/// Judges the ledgers of a shard.
pub(super) fn check(committee: &Committee, shard: ShardId, record: &Record, verdict: &mut Verdict) {
    let place = Place::of(committee, shard);
    let mut by_height: BTreeMap<Round, BTreeMap<NodeId, &LastLedger>> = BTreeMap::new();
    let mut silent = Vec::new();
    for (node, status) in record.members(committee, shard) {
        match (status, record.ledgers.get(&node)) {
            (_, None) => {
                let missing = format!("ledgers.csv has no line of node {node}");
                verdict.agreement.limit(&missing);
                verdict.find(missing);
            }
            (None, Some(Some(_))) => {
                verdict.find(format!("ledgers.csv has a ledger of node {node}, which was down at the end"));
            }
            (Some(status), Some(Some(ledger))) => {
                if ledger.height < status.executed {
                    verdict.agreement.break_it();
                    verdict.find(format!(
                        "node {node} reported height {} and then a ledger of height {}",
                        status.executed, ledger.height
                    ));
                }
                by_height.entry(ledger.height).or_default().insert(node, ledger);
            }
            (Some(_), Some(None)) => silent.push(node),
            (None, Some(None)) => {}
        }
    }
    for (height, ledgers) in &by_height {
        check_height(place, *height, ledgers, verdict);
    }
    limit(place, &by_height, &silent, record, verdict);
}

/// The ledgers of one height.
fn check_height(place: Place, height: Round, ledgers: &BTreeMap<NodeId, &LastLedger>, verdict: &mut Verdict) {
    let sections = ledgers.iter().map(|(node, ledger)| (*node, ledger.sections)).collect();
    let Some((first, others)) = odd_ones(&sections) else {
        for (node, ledger) in ledgers.iter().filter(|(_, ledger)| !ledger.differs.is_empty()) {
            let words = &ledger.differs;
            verdict.find(format!(
                "{place}ledgers.csv says of node {node}, whose ledger differs in nothing: {words}"
            ));
        }
        return;
    };
    let same = sections.keys().copied().filter(|node| !others.contains(node));
    let same = ids::nodes_text(&same.collect::<Vec<_>>());
    for node in others {
        let differ = Section::ALL.into_iter().zip(sections[&first].iter().zip(&sections[&node]));
        let differ = differ.filter(|(_, (ours, theirs))| ours != theirs);
        let names: Vec<String> = differ.map(|(section, _)| section.to_string()).collect();
        let words = &ledgers[&node].differs;
        let words = if words.is_empty() { String::new() } else { format!("; first: {words}") };
        verdict.agreement.break_it();
        verdict.find(format!(
            "{place}at height {height} the ledger of node {node} is not that of {same}: it differs in {}{words}",
            names.join(", ")
        ));
    }
}

/// After a run that came to rest every member that is up has a ledger of one height; otherwise those that have are
/// compared.
fn limit(
    place: Place,
    by_height: &BTreeMap<Round, BTreeMap<NodeId, &LastLedger>>,
    silent: &[NodeId],
    record: &Record,
    verdict: &mut Verdict,
) {
    let mut limits = Vec::new();
    if !silent.is_empty() {
        limits.push(format!("{place}{} did not add up the ledger in time", ids::nodes_text(silent)));
    }
    if by_height.len() > 1 {
        let heights: Vec<String> = by_height
            .iter()
            .map(|(height, ledgers)| format!("{height} ({})", ids::nodes_text(ledgers.keys())))
            .collect();
        limits.push(format!("{place}ledgers are of heights {}", heights.join(", ")));
    }
    for why in limits {
        if record.clients.had_to_rest() {
            verdict.agreement.limit(&why);
        } else {
            verdict.remarks.push(why);
        }
    }
}
