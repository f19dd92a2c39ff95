//! The events of cores' steps.

use std::collections::BTreeSet;

use wire::ids::{CoinId, NodeId, ShardId, TxId};
use wire::name::{Name, TxHead};

use super::Bench;
use crate::event::Effect;
use crate::trace::{MessageStep, TraceEvent, Tracing};
use crate::transaction::{genesis_coin, tx_id};

/// A bench that has seen a transaction within a shard, one across shards that finished, and one that shard 1 cannot
/// execute and for which shard 2 has spent; with the ids of the three.
fn played(tracing: Tracing) -> (Bench, [TxId; 3]) {
    let mut bench = Bench::traced(4, 3, tracing);
    let intra = bench.transfer(1);
    let finished = bench.cross(&[(1, 5), (2, 5)], 0);
    let valid = genesis_coin(&bench.committee.testbed(), ShardId(2), 6);
    let cancelled = bench.cross_of(vec![(1, CoinId([9; 32])), (2, valid)], 0);
    let ids = [&intra, &finished, &cancelled].map(|bytes| tx_id(bytes));
    bench.submit(NodeId(2), &[intra, finished, cancelled]);
    bench.run();
    (bench, ids)
}

/// The lines of the events of a transaction, in the order in which they first came, each with the nodes that report it.
fn story(bench: &Bench, id: &TxId) -> Vec<(String, BTreeSet<u16>)> {
    let mut story: Vec<(String, BTreeSet<u16>)> = Vec::new();
    for (node, _, event) in &bench.events {
        if !matches!(event, TraceEvent::Tx { tx, .. } if *tx == TxHead::from(id)) {
            continue;
        }
        let line = event.to_string();
        match story.iter_mut().find(|(known, _)| *known == line) {
            Some((_, by)) => _ = by.insert(node.0),
            None => story.push((line, BTreeSet::from([node.0]))),
        }
    }
    story
}

#[test]
fn tracing_changes_no_effect() {
    let (untraced, _) = played(Tracing::Off);
    assert!(untraced.events.is_empty(), "tracing is off");
    for tracing in [Tracing::Steps, Tracing::All] {
        let (traced, _) = played(tracing);
        assert_eq!(traced.done, untraced.done);
        assert!(traced.events.iter().all(|(_, detail, _)| *detail <= tracing));
    }
}

#[test]
fn all_messages_are_traced_on_request() {
    let (bench, _) = played(Tracing::All);
    let count = |is_it: fn(&MessageStep) -> bool| {
        let messages = bench.events.iter().filter_map(|(.., event)| match event {
            TraceEvent::Message(step) => Some(step),
            _ => None,
        });
        messages.filter(|step| is_it(step)).count()
    };
    let sent = bench.done.iter().filter(|(.., effect)| matches!(effect, Effect::Send { .. })).count();
    assert_eq!(count(|step| matches!(step, MessageStep::Sent { .. })), sent);
    let copies = bench.done.iter().map(|(_, node, effect)| match effect {
        Effect::Send { dest, .. } => dest.expand(&bench.committee, *node).len(),
        _ => 0,
    });
    assert_eq!(count(|step| matches!(step, MessageStep::Received { .. })), copies.sum());
}

/// At full detail also a transaction within a shard can be followed: itself, its entry and its round.
#[test]
fn a_transaction_within_a_shard_has_its_story() {
    let (bench, [id, _, _]) = played(Tracing::All);
    let own = story(&bench, &id);
    let steps: Vec<(&str, usize)> =
        own.iter().map(|(line, by)| (line.split(' ').next().expect("a line has a word"), by.len())).collect();
    assert_eq!(steps, [("tx.admitted", 1), ("tx.proposed", 1), ("tx.settled", 4), ("tx.answered", 1)]);
    let (_, entry) = own[1].0.split_once("entry=").expect("it goes into an entry");
    let (_, round) = own[2].0.split_once("shard=").expect("it is settled in a block");
    let round = round.split(" entry=").next().expect("the block comes before the entry");
    for (start, by) in [
        (format!("lane.proposed entry={entry} "), vec![2]),
        (format!("lane.echoed entry={entry}"), vec![0, 1, 3]),
        (format!("lane.certified entry={entry}"), vec![0, 1, 2, 3]),
        (format!("round.begun shard={round}"), vec![0, 1, 2, 3]),
        (format!("round.decided shard={round} "), vec![0, 1, 2, 3]),
    ] {
        let reports = bench.events.iter().filter(|(.., event)| event.to_string().starts_with(&start));
        let nodes: BTreeSet<u16> = reports.map(|(node, ..)| node.0).filter(|node| *node < 4).collect();
        assert_eq!(Vec::from_iter(nodes), by, "{start}");
    }
}

/// Every step once, in its order, by the members whose step it is.
#[test]
fn a_cancelled_transaction_has_its_story() {
    let (bench, [_, _, id]) = played(Tracing::Steps);
    let story = story(&bench, &id);
    let tx = TxHead::from(&id);
    let mut from = 0;
    let all_of_0 = BTreeSet::from([0, 1, 2, 3]);
    let all_of_1 = BTreeSet::from([4, 5, 6, 7]);
    let all_of_2 = BTreeSet::from([8, 9, 10, 11]);
    let start = |step: &str, rest: &str| format!("tx.{step} tx={tx} {rest}");
    for (step, rest, by) in [
        ("admitted", "client=1", BTreeSet::from([2])),
        ("spent", "shard=2 round=1 ", all_of_2.clone()),
        ("ticked", "shard=0 ", all_of_0.clone()),
        ("pooled", "shard=0 ", all_of_0.clone()),
        ("cancelled", "shard=0 ", all_of_0.clone()),
        ("refunded", "shard=2 ", all_of_2),
    ] {
        let start = start(step, rest);
        let at = story[from..].iter().position(|(line, _)| line.starts_with(&start));
        let at = at.unwrap_or_else(|| panic!("'{start}' after line {from} of {story:#?}"));
        assert_eq!(story[from + at].1, by, "{start}");
        from += at;
    }
    for (step, rest, by) in [
        ("settled", "shard=1 round=1 ", all_of_1.clone()),
        ("reject-sent", "shard=1 to=shard:0 cause=rejected:UnknownCoin", all_of_1),
        ("believed", "shard=0 cause=rejected:UnknownCoin", all_of_0),
        ("answered", "client=1 fate=rejected:UnknownCoin", BTreeSet::from([2])),
    ] {
        let start = start(step, rest);
        let found = story.iter().find(|(line, _)| line.starts_with(&start));
        assert_eq!(found.map(|(_, by)| by), Some(&by), "{start} in {story:#?}");
    }
}

/// The story of a transaction names its parts.
#[test]
fn parts_have_their_story_too() {
    let (bench, [_, id, _]) = played(Tracing::Steps);
    let story = story(&bench, &id);
    let values = story.iter().flat_map(|(line, _)| line.split(['=', ',', ' ']));
    let parts: BTreeSet<Name> = values.filter_map(|value| Name::parse("part", value)).collect();
    assert_eq!(parts.len(), 4, "two that tell of the inputs, and two that tell of the end: {parts:?}");
    for part in parts {
        let lines: Vec<String> = bench.events.iter().map(|(_, _, event)| event.to_string()).collect();
        let steps = ["made", "sent", "received", "signed", "eligible", "imported"];
        let at = steps.map(|step| {
            let start = format!("part.{step} {}", part.to_string().replace(' ', "="));
            lines.iter().position(|line| line.starts_with(&start)).expect(&start)
        });
        assert!(at.is_sorted(), "{part}: {at:?}");
    }
}

#[test]
fn all_members_trace_rounds_alike() {
    let (bench, [intra, _, _]) = played(Tracing::All);
    for step in ["decided", "executed", "certified"] {
        let start = format!("round.{step} shard=1 round=1");
        let found = bench.events.iter().filter(|(_, _, event)| event.to_string().starts_with(&start));
        let (nodes, lines): (BTreeSet<u16>, BTreeSet<String>) =
            found.map(|(node, _, event)| (node.0, event.to_string())).unzip();
        assert_eq!((nodes.len(), lines.len()), (4, 1), "{step}: {lines:?}");
    }
    let own = story(&bench, &intra);
    let is_end = |line: &str| line.starts_with("tx.settled ") && line.ends_with(" end=finished");
    assert!(own.iter().any(|(line, by)| is_end(line) && by.len() == 4), "{own:?}");
    let steps_only = bench.events.iter().filter(|(_, detail, _)| *detail == Tracing::Steps);
    let head = TxHead::from(&intra);
    let events = steps_only.filter(|(_, _, event)| matches!(event, TraceEvent::Tx { tx, .. } if *tx == head));
    assert_eq!(events.count(), 0);
}
