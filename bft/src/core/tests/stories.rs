//! What cores tell of their steps.

use std::collections::BTreeSet;

use wire::ids::{CoinId, NodeId, ShardId, TxId};
use wire::name::Name;

use super::Bench;
use crate::event::Effect;
use crate::trace::{TraceEvent, Tracing};
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

/// The sentences that name a transaction, in the order in which they were first said, each with who said it.
fn story(bench: &Bench, id: &TxId) -> Vec<(String, BTreeSet<u16>)> {
    let mut story: Vec<(String, BTreeSet<u16>)> = Vec::new();
    for (node, _, event) in &bench.told {
        let sentence = event.to_string();
        if !Name::all_in(&sentence).any(|name| name == Name::tx(id)) {
            continue;
        }
        match story.iter_mut().find(|(said, _)| *said == sentence) {
            Some((_, by)) => _ = by.insert(node.0),
            None => story.push((sentence, BTreeSet::from([node.0]))),
        }
    }
    story
}

#[test]
fn telling_changes_nothing() {
    let (silent, _) = played(Tracing::Off);
    assert!(silent.told.is_empty(), "nothing is told unless it is asked for");
    for tracing in [Tracing::Steps, Tracing::All] {
        let (telling, _) = played(tracing);
        assert_eq!(telling.done, silent.done);
        assert!(telling.told.iter().all(|(_, detail, _)| *detail <= tracing));
    }
}

#[test]
fn every_message_is_told_if_all_is_asked_for() {
    let (bench, _) = played(Tracing::All);
    let count = |heard: fn(&TraceEvent) -> bool| bench.told.iter().filter(|(.., event)| heard(event)).count();
    let sent = bench.done.iter().filter(|(.., effect)| matches!(effect, Effect::Send { .. })).count();
    assert_eq!(count(|event| matches!(event, TraceEvent::Sent { .. })), sent);
    let copies = bench.done.iter().map(|(_, node, effect)| match effect {
        Effect::Send { dest, .. } => dest.expand(&bench.committee, *node).len(),
        _ => 0,
    });
    assert_eq!(count(|event| matches!(event, TraceEvent::Heard { .. })), copies.sum());
}

/// Every step once, in its order, by the members whose step it is.
#[test]
fn a_cancelled_transaction_has_its_story() {
    let (bench, [_, _, id]) = played(Tracing::Steps);
    let story = story(&bench, &id);
    let tx = Name::tx(&id);
    let mut from = 0;
    let all_of_0 = BTreeSet::from([0, 1, 2, 3]);
    let all_of_1 = BTreeSet::from([4, 5, 6, 7]);
    let all_of_2 = BTreeSet::from([8, 9, 10, 11]);
    for (sentence, by) in [
        ("is admitted here, for client 1", BTreeSet::from([2])),
        ("has spent in shard 2 in round 1", all_of_2.clone()),
        ("is ticked in shard 0", all_of_0.clone()),
        ("waits in the pool in shard 0", all_of_0.clone()),
        ("is cancelled in shard 0", all_of_0.clone()),
        ("is refunded in shard 2", all_of_2),
    ] {
        let start = format!("{tx} {sentence}");
        let at = story[from..].iter().position(|(said, _)| said.starts_with(&start));
        let at = at.unwrap_or_else(|| panic!("'{start}' after line {from} of {story:#?}"));
        assert_eq!(story[from + at].1, by, "{sentence}");
        from += at;
    }
    for (sentence, by) in [
        ("is rejected in shard 1 in round 1 by", all_of_1.clone()),
        ("can never execute in shard 1, which shard 0 is told: an input names no coin (CL)", all_of_1),
        ("is believed in shard 0 never to execute: an input names no coin", all_of_0),
        ("is rejected: an input names no coin, which client 1 is told", BTreeSet::from([2])),
    ] {
        let start = format!("{tx} {sentence}");
        let said = story.iter().find(|(said, _)| said.starts_with(&start));
        assert_eq!(said.map(|(_, by)| by), Some(&by), "{sentence} in {story:#?}");
    }
}

/// What stands in the story of a transaction leads to its parts.
#[test]
fn parts_have_their_story_too() {
    let (bench, [_, id, _]) = played(Tracing::Steps);
    let parts: BTreeSet<Name> = story(&bench, &id)
        .iter()
        .flat_map(|(sentence, _)| Name::all_in(sentence))
        .filter(|name| matches!(name, Name::Part { .. }))
        .collect();
    assert_eq!(parts.len(), 4, "two that tell of the inputs, and two that tell of the end: {parts:?}");
    for part in parts {
        let said: Vec<String> = bench.told.iter().map(|(_, _, event)| event.to_string()).collect();
        let steps = ["is made", "goes to", "has come from", "is signed here", "is eligible", "is executed"];
        let at = steps.map(|step| {
            let sentence = format!("{part} {step}");
            said.iter().position(|said| said.starts_with(&sentence)).expect(&sentence)
        });
        assert!(at.is_sorted(), "{part}: {at:?}");
    }
}

#[test]
fn rounds_are_told_alike_by_all_members_and_ends_within_a_shard_only_if_all_is_asked_for() {
    let (bench, [intra, _, _]) = played(Tracing::All);
    for step in ["is decided in view 0: lane", "is executed: ", "is certified by"] {
        let start = format!("round 1 of shard 1 {step}");
        let said = bench.told.iter().filter(|(_, _, event)| event.to_string().starts_with(&start));
        let (nodes, sentences): (BTreeSet<u16>, BTreeSet<String>) =
            said.map(|(node, _, event)| (node.0, event.to_string())).unzip();
        assert_eq!((nodes.len(), sentences.len()), (4, 1), "{step}: {sentences:?}");
    }
    let own = story(&bench, &intra);
    assert!(
        own.iter().any(|(said, by)| said.contains("has finished in shard 0") && by.len() == 4),
        "{own:?}"
    );
    let steps_only = bench.told.iter().filter(|(_, detail, _)| *detail == Tracing::Steps);
    let told = steps_only.filter(|(_, _, event)| matches!(event, TraceEvent::Tx { id, .. } if *id == intra));
    assert_eq!(told.count(), 0);
}
