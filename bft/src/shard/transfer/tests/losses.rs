//! Silent members, lost messages, restarts, members that are behind: every part arrives.

use std::cell::Cell;

use wire::ids::{NodeId, PartNumber, ShardId};

use super::bench::{Bench, SOURCE, TARGET};
use crate::shard::message::PartMessage;
use crate::shard::transfer::TransferSend;
use crate::time::Span;

fn is_transfer(send: &TransferSend) -> bool {
    matches!(send, TransferSend::Transfer(_))
}

/// f members of either shard are silent: a member without partner requests the part from a signer, and then the next.
#[test]
fn silent_partners_are_replaced() {
    for n in [4, 7, 10] {
        let f = (n - 1) / 3;
        let mut bench = Bench::new(n, 2);
        // The first of the source and the last of the destination: different pairs are spoilt.
        bench.net.only(move |from, _, _| (f..2 * n - f).contains(&from.0));
        let part = bench.block(SOURCE, &[(TARGET, b"x")])[0].reference();
        bench.certify(SOURCE, 1);
        bench.net.deliver();
        let without_partner = bench.net.node(TARGET, 0);
        assert!(bench.net.at(without_partner).body(&part).is_none());
        bench.net.pass_ms(99);
        assert!(bench.net.at(without_partner).body(&part).is_none(), "its partner may only be slow");
        bench.net.pass_ms(100);
        let later = bench.net.now + crate::time::Span::from_ms(10_000);
        for index in 0..n - f {
            let honest = bench.net.node(TARGET, index);
            assert!(bench.net.at(honest).body(&part).is_some(), "member {index} of {n}");
            assert_eq!(bench.net.at(honest).eligible(later).len(), 1, "member {index} of {n}");
        }
        assert_eq!(bench.net.faults, []);
    }
}

/// After each wait without an answer more signers get a request; when none answers, the source does.
#[test]
fn a_body_is_requested_from_more_and_more_members() {
    let mut bench = Bench::new(4, 2);
    let part = bench.block(SOURCE, &[(TARGET, b"x")])[0].reference();
    let victim = bench.net.node(TARGET, 0);
    bench.net.only(move |_, to, send| to != victim || !is_transfer(send));
    bench.certify(SOURCE, 1);
    bench.net.deliver();
    bench.net.pass_ms(100 + 500);
    let asked = |bench: &Bench| -> Vec<u16> {
        let wants = bench.net.sent.iter().filter(|(from, ..)| *from == victim);
        wants
            .filter(|(_, _, send)| *send == TransferSend::Message(PartMessage::Want(part)))
            .map(|(_, to, _)| to.0)
            .collect()
    };
    assert_eq!(asked(&bench), [5, 6, 7], "signers after us, one and then two");
    bench.net.pass_ms(500);
    assert_eq!(asked(&bench)[3..], [0, 1, 2, 3], "then the source from our index on");
    bench.net.only(|from, _, send| from.0 >= 4 || !is_transfer(send));
    bench.net.pass_ms(1_000);
    assert!(bench.net.at(victim).body(&part).is_some());
    bench.net.pass_ms(60_000);
    assert_eq!(asked(&bench)[7..], [5], "and all of them again, but nobody once it is here");
}

/// A member that was down while a part was executed gets it from its own shard, after the source has dropped it.
#[test]
fn a_member_that_is_behind_fetches_the_parts_of_decided_blocks() {
    let mut bench = Bench::new(4, 2);
    let behind = bench.net.node(TARGET, 3);
    bench.net.only(move |from, to, _| from != behind && to != behind);
    let parts: Vec<_> = (1..=20).map(|_| bench.block(SOURCE, &[(TARGET, b"x")])[0].reference()).collect();
    bench.certify(SOURCE, 20);
    bench.net.deliver();
    for index in 0..3 {
        bench.import_at(bench.net.node(TARGET, index), SOURCE, 20);
    }
    bench.net.deliver();
    assert!(bench.net.committee.members(SOURCE).all(|member| bench.net.at(member).parts_open() == 0));
    bench.net.heal();
    (0..2).for_each(|_| bench.net.step(behind, |it, now| it.want(now, &parts)));
    let requests = bench.net.sent.iter().filter(|(from, ..)| *from == behind).count();
    assert_eq!(requests, 8, "not all at once, and none twice");
    bench.net.pass_ms(1_000);
    assert!(parts.iter().all(|part| bench.net.at(behind).body(part).is_some()));
    bench.import_at(behind, SOURCE, 20);
    bench.net.pass_ms(60_000);
    assert_eq!(bench.net.faults, []);
    assert!(bench.net.committee.nodes().all(|node| bench.net.at(node).next_wakeup().is_none()));
}

/// The source goes on, to another partner each time, until f+1 acknowledgements arrive.
#[test]
fn lost_acknowledgements_are_sent_again() {
    let mut bench = Bench::new(4, 2);
    bench.net.only(|_, _, send| !matches!(send, TransferSend::Message(PartMessage::Ack(_))));
    bench.block(SOURCE, &[(TARGET, b"x")]);
    bench.certify(SOURCE, 1);
    bench.net.deliver();
    bench.import(TARGET, SOURCE, 1);
    bench.net.pass_ms(15_000);
    let sender = bench.net.node(SOURCE, 1);
    let partners: Vec<u16> = bench
        .net
        .sent
        .iter()
        .filter(|(from, _, send)| *from == sender && is_transfer(send))
        .map(|(_, to, _)| to.0)
        .collect();
    assert_eq!(partners, [5, 6, 7, 4, 5], "after 1, 2, 4 and 8 s");
    assert_eq!(bench.net.at(sender).parts_open(), 1);
    bench.net.heal();
    bench.net.pass_ms(30_000);
    assert!(bench.net.committee.nodes().all(|node| bench.net.at(node).parts_open() == 0));
    assert!(bench.net.committee.nodes().all(|node| bench.net.at(node).next_wakeup().is_none()));
}

/// Messages that a new process of a peer, or of our own, may have lost are sent again.
#[test]
fn restarts_lose_nothing() {
    let mut bench = Bench::new(4, 2);
    let part = bench.block(SOURCE, &[(TARGET, b"x")])[0].reference();
    let new = bench.net.node(TARGET, 0);
    bench.net.only(move |_, to, _| to != new);
    bench.certify(SOURCE, 1);
    bench.net.deliver();
    bench.net.heal();
    for node in bench.net.committee.nodes().filter(|node| *node != new) {
        bench.net.step(node, |it, now| it.on_peer_up(now, new));
    }
    bench.net.deliver();
    assert!(bench.net.at(new).body(&part).is_some());
    assert_eq!(bench.eligible(TARGET), [1]);
    // Its acknowledgement and those of the others are lost, by the members of the destination themselves.
    bench.net.only(|_, _, _| false);
    bench.import(TARGET, SOURCE, 1);
    bench.net.heal();
    for node in bench.net.committee.members(TARGET) {
        bench.net.step(node, |it, now| it.on_child_restarted(now));
    }
    bench.net.deliver();
    assert!(bench.net.committee.nodes().all(|node| bench.net.at(node).parts_open() == 0));
    // And a source whose sender has lost everything.
    bench.net.only(|_, _, _| false);
    let part = bench.block(SOURCE, &[(TARGET, b"y")])[0].reference();
    bench.certify(SOURCE, 2);
    bench.net.heal();
    for node in bench.net.committee.members(SOURCE) {
        bench.net.step(node, |it, now| it.on_child_restarted(now));
    }
    bench.net.deliver();
    assert!(bench.net.committee.members(TARGET).all(|member| bench.net.at(member).body(&part).is_some()));
    assert_eq!(bench.net.faults, []);
    let now = bench.net.now;
    let stranger = bench.net.at_mut(new).on_peer_up(now, NodeId(99));
    assert!(stranger.sends.is_empty());
}

/// Three shards send each other parts over links that lose a third of all messages. Whatever is eligible is executed
/// in order; in the end everything is.
#[test]
fn every_part_arrives_over_links_that_lose() {
    for seed in 0..20_u64 {
        let mut bench = Bench::new(4, 3);
        let count = Cell::new(seed);
        bench.net.only(move |_, _, _| {
            count.set(
                count.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407),
            );
            (count.get() >> 33) % 3 != 0
        });
        let shards = [ShardId(0), ShardId(1), ShardId(2)];
        let mut done = std::collections::BTreeMap::new();
        let blocks = 12;
        for height in 1..=200 {
            for shard in shards {
                let others = shards.iter().filter(|other| **other != shard && height <= blocks);
                let items: Vec<(ShardId, &[u8])> = others.map(|other| (*other, &b"x"[..])).collect();
                bench.block(shard, &items);
                if height % 3 == 0 {
                    bench.certify(shard, height);
                }
            }
            bench.net.pass_ms(200);
            execute_what_is_eligible(&mut bench, &shards, &mut done);
        }
        // Acknowledgements may be lost several times in a row.
        bench.net.pass_ms(200_000);
        assert!(bench.net.committee.nodes().all(|node| bench.net.at(node).parts_open() == 0), "seed {seed}");
        assert!(done.len() == 6 && done.values().all(|number| *number == blocks), "seed {seed}: {done:?}");
        assert_eq!(bench.net.faults, [], "seed {seed}");
    }
}

/// Each shard executes the parts that some member could propose; members that lack a body fetch it first.
fn execute_what_is_eligible(
    bench: &mut Bench,
    shards: &[ShardId],
    done: &mut std::collections::BTreeMap<(ShardId, ShardId), u64>,
) {
    let later = bench.net.now + crate::time::Span::from_ms(10_000);
    for shard in shards {
        let proposer = bench.net.node(*shard, 0);
        for import in bench.net.at(proposer).eligible(later) {
            let part = import.part;
            let watermark = done.entry((part.source, *shard)).or_default();
            if part.number != PartNumber(*watermark + 1) {
                continue;
            }
            *watermark += 1;
            for member in bench.net.committee.members(*shard) {
                let mut tries = 0;
                while bench.net.at(member).body(&part).is_none() {
                    bench.net.step(member, |it, now| it.want(now, &[part]));
                    bench.net.pass_ms(1_000);
                    tries += 1;
                    assert!(tries < 100, "no honest member lets another wait for a body");
                }
            }
            bench.import(*shard, part.source, part.number.0);
        }
    }
}

/// With full windows to many shards, a restart of a child or new processes of all partners make a member send the
/// oldest parts again to one shard after another, at a bounded rate.
#[test]
fn parts_to_many_shards_are_sent_again_one_shard_after_another() {
    let shards = 8;
    let mut bench = Bench::new(4, shards);
    bench.net.only(|_, _, _| false);
    let long = vec![7; 3 << 20];
    for height in 1..=2 {
        let items: Vec<(ShardId, &[u8])> = (1..shards).map(|to| (ShardId(to), &long[..])).collect();
        bench.block(SOURCE, &items);
        bench.certify(SOURCE, height);
    }
    bench.net.deliver();
    let sender = bench.net.node(SOURCE, 0);
    let bytes = |effects: &crate::shard::transfer::TransferEffects| {
        let transfers = effects.sends.iter().map(|(_, send)| match send {
            TransferSend::Transfer(transfer) => transfer.part.len() as u64,
            TransferSend::Kept(_) | TransferSend::Message(_) => 0,
        });
        transfers.sum::<u64>()
    };
    let all = 2 * u64::from(shards - 1) * long.len() as u64;
    let now = bench.net.now;
    let mut sent = bytes(&bench.net.at_mut(sender).on_child_restarted(now));
    for _ in 0..10 {
        for peer in 1..shards {
            let peer = bench.net.node(ShardId(peer), 0);
            sent += bytes(&bench.net.at_mut(sender).on_peer_up(now, peer));
        }
    }
    let at_once_max = wire::limits::RESEND_BURST_BYTES + 2 * wire::limits::PART_BYTES_MAX;
    assert!(sent > 0 && sent <= at_once_max && at_once_max < all, "{sent} bytes at once");
    // All are under way again after a while, none before its turn.
    let end = now + Span::from_ms(5_000);
    while let Some(due) = bench.net.at(sender).next_wakeup().filter(|due| *due <= end) {
        bench.net.now = bench.net.now.max(due);
        let now = bench.net.now;
        let effects = bench.net.at_mut(sender).tick(now);
        sent += bytes(&effects);
        assert!(bytes(&effects) <= at_once_max);
        assert!(bench.net.at(sender).next_wakeup().is_none_or(|due| due > now), "a tick leaves nothing due");
    }
    assert!(sent >= all, "{sent} of {all} bytes");
}

/// Several silent signers in a row cost one or two waits in all.
#[test]
fn silent_signers_of_a_part_cost_few_waits() {
    let mut bench = Bench::new(7, 2);
    // The partner of the last member is silent, and so are 0 and 1, the first signers that get its requests.
    let (victim, partner) = (bench.net.node(TARGET, 6), bench.net.node(SOURCE, 6));
    let silent = [bench.net.node(TARGET, 0), bench.net.node(TARGET, 1)];
    bench.net.only(move |from, to, send| {
        from != partner && !(silent.contains(&from) && to == victim && is_transfer(send))
    });
    let part = bench.block(SOURCE, &[(TARGET, b"x")])[0].reference();
    bench.certify(SOURCE, 1);
    bench.net.deliver();
    assert!(bench.net.at(victim).body(&part).is_none());
    bench.net.pass_ms(99 + 500);
    bench.net.pass_ms(10);
    assert!(bench.net.at(victim).body(&part).is_some(), "the third signer is asked with the second");
}
