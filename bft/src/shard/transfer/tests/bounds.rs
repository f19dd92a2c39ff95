//! Bounds under floods and backlogs.

use std::collections::BTreeSet;
use std::sync::Arc;

use wire::ids::{Digest, PartNumber, Round};
use wire::limits::{PART_BYTES_MAX, PARTS_AHEAD_BYTES_MAX, PARTS_AHEAD_MAX};

use sha2::{Digest as _, Sha256};

use super::bench::{Bench, HISTORY_ROUNDS, SOURCE, TARGET};
use crate::block::Header;
use crate::crypto::suite::Statement;
use crate::lane::HistoryPlace;
use crate::part::{Group, Part, PartDigests, PartRef};
use crate::shard::message::PartMessage;
use crate::shard::transfer::TransferSend;
use crate::transaction::tx_id;

fn transfers(bench: &Bench) -> usize {
    bench.net.sent.iter().filter(|(_, _, send)| matches!(send, TransferSend::Transfer(_))).count()
}

/// A member that signs everything leaves one vote for each number of the window.
#[test]
fn a_flood_of_signs_fills_bounded_tables() {
    let mut bench = Bench::new(4, 2);
    let (liar, victim) = (bench.net.node(TARGET, 3), bench.net.node(TARGET, 0));
    for number in (0..=1_000).chain([u64::MAX]) {
        for byte in 0..3 {
            let part = PartRef { source: SOURCE, number: PartNumber(number), digest: Digest([byte; 32]) };
            let signature = bench.net.suites[usize::from(liar.0)].sign(&Statement::Part(part));
            let vote = TransferSend::Message(PartMessage::Vote { part, signature });
            bench.net.hand(liar, victim, &vote);
        }
    }
    assert_eq!(bench.net.at(victim).incoming[&SOURCE].len() as u64, PARTS_AHEAD_MAX);
    assert!(bench.net.sent.is_empty() && bench.net.at(victim).next_wakeup().is_none());
}

/// A destination that acknowledges nothing gets so many parts and no more; each acknowledgement lets others follow.
#[test]
fn the_window_bounds_the_parts_under_way() {
    let mut bench = Bench::new(4, 2);
    for height in 1..=100 {
        bench.block(SOURCE, &[(TARGET, b"x")]);
        bench.certify(SOURCE, height);
    }
    bench.net.deliver();
    assert_eq!(transfers(&bench) as u64, 4 * PARTS_AHEAD_MAX);
    assert_eq!(bench.eligible(TARGET), (1..=PARTS_AHEAD_MAX).collect::<Vec<_>>());
    bench.import(TARGET, SOURCE, 10);
    bench.net.deliver();
    assert_eq!(transfers(&bench) as u64, 4 * (PARTS_AHEAD_MAX + 10));
    assert_eq!(bench.eligible(TARGET), (11..=PARTS_AHEAD_MAX + 10).collect::<Vec<_>>());
    bench.import(TARGET, SOURCE, 74);
    bench.net.pass_ms(100);
    bench.import(TARGET, SOURCE, 100);
    bench.net.pass_ms(100);
    assert_eq!(transfers(&bench), 400);
    assert!(bench.net.committee.nodes().all(|node| bench.net.at(node).parts_open() == 0));
    assert_eq!(bench.net.faults, []);
}

/// Of long parts fewer are under way, and only the oldest of them are sent again.
#[test]
fn the_window_bounds_bytes_too() {
    let mut bench = Bench::new(1, 2);
    let mut group = Group::new(SOURCE, TARGET, Round(1), PartNumber(1));
    let item = vec![7; 60_000];
    (0..700).for_each(|_| {
        group.spent(tx_id(&item), &item);
    });
    let parts: Vec<Part> = group.finish();
    assert_eq!(parts.len(), 11);
    let header = Header { height: Round(1), outgoing: PartDigests::of(&parts).root(), ..Header::default() };
    bench.execute(SOURCE, header, parts.into_iter().map(Arc::new).collect());
    bench.certify(SOURCE, 1);
    bench.net.deliver();
    let under_way = transfers(&bench) as u64;
    assert_eq!(under_way, PARTS_AHEAD_BYTES_MAX / PART_BYTES_MAX);
    bench.net.pass_ms(1_000);
    assert_eq!(transfers(&bench) as u64, under_way + 2);
    bench.import(TARGET, SOURCE, under_way);
    bench.net.pass_ms(100);
    bench.import(TARGET, SOURCE, 11);
    bench.net.pass_ms(100);
    assert_eq!((transfers(&bench) as u64, bench.net.at(bench.net.node(SOURCE, 0)).parts_open()), (13, 0));
}

/// A peer that repeats its requests gets a bounded number of bytes.
#[test]
fn a_flood_of_requests_is_answered_within_bounds() {
    let mut bench = Bench::new(4, 2);
    let part = bench.block(SOURCE, &[(TARGET, &[7; 60_000])])[0].reference();
    bench.certify(SOURCE, 1);
    bench.net.deliver();
    for server in [bench.net.node(SOURCE, 0), bench.net.node(TARGET, 0)] {
        bench.net.sent.clear();
        let greedy = bench.net.node(TARGET, 3);
        for _ in 0..1_000 {
            bench.net.hand(greedy, server, &TransferSend::Message(PartMessage::Want(part)));
        }
        let bytes = transfers(&bench) as u64 * 60_000;
        assert!((PART_BYTES_MAX..5 * PART_BYTES_MAX).contains(&bytes), "{bytes} bytes");
        bench.net.sent.clear();
        let modest = bench.net.node(TARGET, 2);
        bench.net.hand(modest, server, &TransferSend::Message(PartMessage::Want(part)));
        assert_eq!(transfers(&bench), 1, "at nobody else's cost");
    }
    let altered = PartRef { digest: Digest([1; 32]), ..part };
    let (from, to) = (bench.net.node(TARGET, 2), bench.net.node(SOURCE, 0));
    bench.net.sent.clear();
    bench.net.hand(from, to, &TransferSend::Message(PartMessage::Want(altered)));
    assert!(bench.net.sent.is_empty(), "what was never sent is not served");
}

/// Executed parts are kept for those behind, but not for ever.
#[test]
fn executed_parts_are_forgotten_in_time() {
    let mut bench = Bench::new(1, 2);
    for height in 1..=30 {
        bench.block(SOURCE, &[(TARGET, b"x")]);
        bench.certify(SOURCE, height);
    }
    bench.net.deliver();
    bench.import(TARGET, SOURCE, 30);
    let member = bench.net.node(TARGET, 0);
    assert_eq!(bench.net.at(member).history.size().0, 30);
    bench.idle_blocks(TARGET, HISTORY_ROUNDS);
    assert_eq!(bench.net.at(member).history.size().0, 30);
    bench.idle_blocks(TARGET, 1);
    assert_eq!(bench.net.at(member).history.size(), (0, 0));
    assert_eq!(bench.net.at(member).incoming[&SOURCE].len(), 0);
}

/// With a history in the journal, a part is named by the message that brought it.
#[test]
fn an_executed_part_is_sent_from_the_journal() {
    let mut bench = Bench::with_history(4, 2, HistoryPlace::Journal);
    let part = bench.block(SOURCE, &[(TARGET, b"x")])[0].reference();
    bench.certify(SOURCE, 1);
    bench.net.deliver();
    let (asker, server) = (bench.net.node(TARGET, 3), bench.net.node(TARGET, 0));
    assert_eq!(bench.net.at(server).in_journal().count(), 0, "it is not executed");
    let brought = bench.net.delivered.iter().find_map(|(_, to, send)| match send {
        TransferSend::Transfer(transfer) if *to == server => Some(transfer.encode()),
        _ => None,
    });
    let brought = Digest(Sha256::digest(brought.expect("its partner sends it")).into());
    bench.import(TARGET, SOURCE, 1);
    assert_eq!(bench.net.at(server).in_journal().collect::<Vec<_>>(), [brought]);
    bench.net.only(|_, _, _| false);
    bench.net.sent.clear();
    bench.net.hand(asker, server, &TransferSend::Message(PartMessage::Want(part)));
    let [(_, to, TransferSend::Kept(message))] = &bench.net.sent[..] else {
        panic!("one answer: {:?}", bench.net.sent)
    };
    assert_eq!((*to, *message), (asker, brought));
}

/// However many bodies are due in one call, few are requested at a time.
#[test]
fn few_requests_are_in_flight_although_all_are_due_at_once() {
    let mut bench = Bench::new(4, 2);
    let victim = bench.net.node(TARGET, 0);
    bench.net.only(move |_, to, send| to != victim || !matches!(send, TransferSend::Transfer(_)));
    let parts: Vec<PartRef> =
        (0..20).map(|_| bench.block(SOURCE, &[(TARGET, b"x")])[0].reference()).collect();
    bench.certify(SOURCE, 20);
    bench.net.deliver();
    let asked = |bench: &Bench| {
        let wanted =
            bench.net.sent.iter().filter(|(from, ..)| *from == victim).filter_map(
                |(_, _, send)| match send {
                    TransferSend::Message(PartMessage::Want(part)) => Some(*part),
                    _ => None,
                },
            );
        wanted.collect::<BTreeSet<PartRef>>().len()
    };
    bench.net.pass_ms(99);
    assert_eq!(asked(&bench), 0, "they may come by themselves");
    bench.net.pass_ms(1);
    assert_eq!(asked(&bench), 8, "all are due by the SIGNs of others");
    bench.net.sent.clear();
    bench.net.step(victim, |it, now| it.on_child_restarted(now));
    assert_eq!(asked(&bench), 8, "all are due since the requests may be lost");
    bench.net.heal();
    bench.net.pass_ms(1_000);
    assert!(parts.iter().all(|part| bench.net.at(victim).body(part).is_some()));
}
