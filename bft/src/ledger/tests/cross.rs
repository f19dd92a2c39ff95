//! Cross-shard transactions, step by step.

use wire::audit::{Section, Sums};
use wire::client::{Exchange, IdSum};
use wire::ids::PartNumber;
use wire::limits::{CANCELLED_ROUNDS_KEPT, PARTS_AHEAD_MAX};

use super::world::{Lane, World, cross, cross_with};
use super::*;
use crate::part::PartDigests;
use crate::transaction::refund_coin;

fn spent(id: TxId, output: u16, part: u64) -> CrossEvent {
    CrossEvent::Spent { id, output: ShardId(output), part: PartNumber(part) }
}

fn rejected_event(id: TxId, others: &[u16], reason: Rejection) -> CrossEvent {
    let others = others.iter().map(|shard| ShardId(*shard)).collect();
    CrossEvent::Rejected { id, others, cause: Cause::Rejected(reason) }
}

#[test]
fn a_transaction_of_three_shards_finishes() {
    let mut world = World::new(3, 2);
    let coins = [world.coin(1, 0), world.coin(2, 0)];
    let bytes = cross(&coins, 0, 50);
    let id = tx_id(&bytes);
    let one = world.order(1, &[&bytes, &bytes]);
    assert_eq!(one.cross, [spent(id, 0, 1)]);
    assert_eq!(one.transactions[1].outcome, DUPLICATE);
    assert_eq!(one.outgoing, PartDigests::of([&*one.parts[0]]).root());
    let record = world.at(1).open_record(&id).expect("it has spent");
    assert_eq!((record.output(), record.part(), record.round()), (ShardId(0), PartNumber(1), Round(1)));
    assert_eq!((world.at(1).held(), world.at(1).value()), (100, 100));
    let two = world.order(2, &[&bytes]);

    let outcome = world.import(0, &[&two.parts[0]]);
    assert_eq!(outcome.cross, [CrossEvent::Pooled { id }]);
    assert_eq!(outcome.imported, [two.parts[0].reference()]);
    let entry = world.at(0).pool_entry(&id).expect("it waits");
    assert_eq!((&entry.transaction()[..], entry.made_in()), (&bytes[..], Round(1)));
    assert_eq!(entry.missing().collect::<Vec<_>>(), [ShardId(1)]);
    assert_eq!(world.at(0).dump_pool().map(|(id, _)| id).collect::<Vec<_>>(), [&id]);

    let outcome = world.import(0, &[&one.parts[0]]);
    assert_eq!(outcome.cross, [CrossEvent::Finished { id }]);
    assert_eq!(world.at(0).unspent(&output_coin(&id, 0)), Some(200));
    assert_eq!(world.at(0).settled(&id), Some((Settled::Finished, Round(2))), "for receipts");
    let destinations: Vec<_> =
        outcome.parts.iter().map(|part| (part.destination.0, &part.finished)).collect();
    assert_eq!(destinations, [(1, &vec![id]), (2, &vec![id])]);
    for (at, part) in (1u16..).zip(&outcome.parts) {
        assert_eq!(world.import(at, &[part]).cross, [CrossEvent::Closed { id }]);
        assert_eq!(world.at(at).settled(&id).map(|(settled, _)| settled), Some(Settled::Spent));
    }
    world.settle();
    world.check_rest();
    let counts = world.at(0).totals();
    assert_eq!((counts.finished, counts.finished_cross), (0, 1));
}

/// A ledger with an item of each kind differs in just the sections that a block changes, and the items say in what.
#[test]
fn sums_find_every_kind_of_item() {
    let mut world = World::new(3, 2);
    let bytes = cross(&[world.coin(1, 0), world.coin(2, 0)], 0, 50);
    let done = cross_with(&[world.coin(0, 0)], 0, 50, b"done");
    let here = cross(&[world.coin(0, 1), world.coin(1, 1)], 0, 50);
    let sums = |world: &World| world.at(0).sums();
    let mut seen: Vec<Section> = Vec::new();
    let mut step = |world: &mut World, before: Sums| {
        let after = sums(world);
        assert_eq!(after.digest() == before.digest(), after == before);
        let changed = before.differences(&after).into_iter().map(|(section, _)| section);
        let changed: Vec<Section> = changed.collect();
        for section in &changed {
            let items: Vec<Item> = world.at(0).items_in(*section).collect();
            assert_eq!(items.len() as u64, after.of(*section).items);
            for item in items {
                assert_eq!(Item::decode(&item.encode()), Ok(item.clone()));
                if let Item::Spent(coin, by) = &item {
                    assert_eq!(world.at(0).spender(coin), Some(*by));
                }
                assert!(world.at(0).items_of(*section, item.bucket()).contains(&item));
            }
        }
        seen.extend(&changed);
        changed
    };
    let before = sums(&world);
    world.order(0, &[&done]);
    let intra = [Section::Coins, Section::Spent, Section::Settled];
    assert_eq!(step(&mut world, before), intra);
    let before = sums(&world);
    world.order(0, &[&here]);
    let with_tick = [&intra[..], &[Section::Open, Section::Pool, Section::Exchanged]].concat();
    assert_eq!(step(&mut world, before), with_tick);
    let (one, two) = (world.order(1, &[&bytes]), world.order(1, &[&here]));
    let before = sums(&world);
    world.import(0, &[&two.parts[0]]);
    assert_eq!(step(&mut world, before), [Section::Early], "its turn comes after the first part");
    let before = sums(&world);
    world.import(0, &[&one.parts[0]]);
    assert!(step(&mut world, before).contains(&Section::Ends), "the second transaction has finished");
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, Section::ALL, "each kind of item was seen");
}

/// The example of the notes: inputs in shards 1 and 2, the output in shard 0, not valid at 1.
#[test]
fn the_worked_example() {
    let mut world = World::new(3, 2);
    let bytes = cross(&[(1, CoinId([9; 32]), 100), world.coin(2, 0)], 0, 50);
    let (id, coin) = (tx_id(&bytes), world.coin(2, 0).1);
    let before: Vec<usize> = world.ledgers().map(Ledger::remembered).collect();

    let two = world.order(2, &[&bytes]);
    assert_eq!(two.cross, [spent(id, 0, 1)], "shard 2 spends and transfers");
    assert_eq!(world.import(0, &[&two.parts[0]]).cross, [CrossEvent::Pooled { id }], "shard 0 ticks");
    let one = world.order(1, &[&bytes]);
    assert_eq!(one.cross, [rejected_event(id, &[0, 2], Rejection::UnknownCoin)], "shard 1 rejects");
    assert!(one.parts.is_empty());

    assert_eq!(world.block(0, &[Lane::cancelling(3, id)]).cross, [], "one listing is not enough");
    assert!(world.at(0).pool_entry(&id).is_some_and(|entry| entry.is_listed_by(Index(3))));
    let cancelled = world.block(0, &[Lane::cancelling(1, id)]);
    assert_eq!(cancelled.cross, [CrossEvent::Cancelled { id }], "shard 0 cancels by f+1 listings");
    let [part] = &cancelled.parts[..] else { panic!("only the shard that ticked is told") };
    assert_eq!((part.destination, &part.cancelled), (ShardId(2), &vec![id]));

    assert_eq!(world.import(2, &[part]).cross, [CrossEvent::Refunded { id }], "shard 2 refunds");
    assert_eq!(world.at(2).unspent(&refund_coin(&id, &coin)), Some(100));
    assert_eq!(world.at(2).unspent(&coin), None, "the coin itself stays spent");
    let settled = world.at(2).settled(&id).map(|(settled, _)| settled);
    assert_eq!(settled, Some(Settled::Never(Cause::Rejected(Rejection::Cancelled))));
    world.check_rest();

    (0..3).for_each(|shard| world.skip_to(shard, 60));
    world.skip_to(0, 4 + CANCELLED_ROUNDS_KEPT);
    let after: Vec<usize> = world.ledgers().map(Ledger::remembered).collect();
    assert_eq!(after, before, "no trace remains that grows");
    world.check_rest();
}

/// The output shard answers for what has finished as long as any input shard bars it, however fast each of them is.
#[test]
fn what_finished_is_remembered_until_every_input_shard_is_known_to_be_past_its_expiry() {
    let mut world = World::new(3, 4);
    let bytes = cross(&[world.coin(1, 0), world.coin(2, 0)], 0, 50);
    let id = tx_id(&bytes);
    let view = TransactionView::parse(&bytes).unwrap();
    for shard in [1, 2] {
        let spent = world.order(shard, &[&bytes]);
        world.import(0, &[&spent.parts[0]]);
    }
    world.settle();
    let finished = world.at(0).settled(&id);
    assert!(matches!(finished, Some((Settled::Finished, _))));
    let past = Standing::Never(Cause::Expired);
    // The height of the output shard does not count.
    world.skip_to(0, 20_000);
    assert_eq!(world.at(0).settled(&id), finished);
    let mut coins =
        (1..4).map(|index| [1, 2].map(|shard| world.coin(shard, index))).collect::<Vec<_>>().into_iter();
    for (height, remembered) in [(57, true), (58, false)] {
        for (shard, coin) in [1, 2].into_iter().zip(coins.next().unwrap()) {
            assert_eq!(world.at(0).settled(&id), finished, "shard 2 has not shown that it is so far");
            assert_ne!(world.at(0).standing(&id, &view), past);
            world.skip_to(shard, height - 1);
            let later = world.order(shard, &[&cross(&[coin], 0, 900)]);
            assert_eq!((later.round, later.parts.len()), (Round(height), 1));
            world.import(0, &[&later.parts[0]]);
        }
        assert_eq!(world.at(0).settled(&id).is_some(), remembered, "at {height}");
        assert_eq!(world.at(0).standing(&id, &view) == past, !remembered);
    }
    world.settle();
    world.check_rest();
}

#[test]
fn inputs_at_the_output_shard_tick_at_once_and_are_refunded_at_once() {
    let mut world = World::new(2, 4);
    let finishes = cross(&[world.coin(0, 0), world.coin(1, 0)], 0, 50);
    let cancelled = cross(&[world.coin(0, 1), (1, CoinId([9; 32]), 5)], 0, 50);
    let (one, two) = (tx_id(&finishes), tx_id(&cancelled));
    let outcome = world.order(0, &[&finishes, &cancelled]);
    let pooled = |id| CrossEvent::Pooled { id };
    assert_eq!(outcome.cross, [spent(one, 0, 0), pooled(one), spent(two, 0, 0), pooled(two)]);
    assert!(outcome.parts.is_empty());
    let other = world.order(1, &[&finishes, &cancelled]);
    let outcome = world.import(0, &[&other.parts[0]]);
    assert_eq!(outcome.cross, [CrossEvent::Finished { id: one }, CrossEvent::Closed { id: one }]);
    assert_eq!(world.at(0).settled(&one), Some((Settled::Finished, Round(2))));
    let outcome = world.block(0, &[Lane::cancelling(0, two), Lane::cancelling(1, two)]);
    assert_eq!(outcome.cross, [CrossEvent::Cancelled { id: two }, CrossEvent::Refunded { id: two }]);
    let (_, coin, _) = world.coin(0, 1);
    assert_eq!(world.at(0).unspent(&refund_coin(&two, &coin)), Some(100));
    assert_eq!(world.order(0, &[&finishes, &cancelled]).counts.skipped, 2, "both are settled for good");
    world.settle();
    world.check_rest();
}

#[test]
fn an_output_shard_that_rejects_cancels_by_itself() {
    let mut world = World::new(2, 6);
    let unknown = (0, CoinId([9; 32]), 5);
    let late = cross(&[unknown, world.coin(1, 0)], 0, 50);
    let early = cross(&[unknown, world.coin(1, 1)], 0, 50);
    let expired = cross(&[world.coin(0, 0), world.coin(1, 2)], 0, 3);
    let ids = [&late, &early, &expired].map(|bytes| tx_id(bytes));
    let parts = world.order(1, &[&late, &early, &expired]).parts;
    world.order(0, &[&late]);
    world.skip_to(0, 3);
    let outcome = world.import(0, &[&parts[0]]);
    let cancelled = |id| CrossEvent::Cancelled { id };
    let pooled = CrossEvent::Pooled { id: ids[1] };
    assert_eq!(
        outcome.cross,
        [cancelled(ids[0]), pooled, cancelled(ids[2])],
        "a tick finds it rejected, or expired"
    );
    let outcome = world.order(0, &[&early]);
    let rejection = rejected_event(ids[1], &[1], Rejection::UnknownCoin);
    assert_eq!(outcome.cross, [rejection, cancelled(ids[1])], "rejected while its tick waits");
    assert_eq!(world.order(0, &[&expired]).transactions[0].outcome, DUPLICATE, "cancelled for good");
    world.settle();
    world.check_rest();
    assert_eq!(world.at(1).totals().refunded, 3);
}

#[test]
fn a_cancel_counts_each_member_once_and_while_the_entry_stands() {
    let mut world = World::new(3, 2);
    let bytes = cross(&[world.coin(1, 0), world.coin(2, 0)], 0, 50);
    let id = tx_id(&bytes);
    let lists = Lane::cancelling;
    assert_eq!(world.block(0, &[lists(0, id), lists(1, id)]).cross, [], "there is no entry yet");
    let one = world.order(1, &[&bytes]).parts;
    world.import(0, &[&one[0]]);
    assert_eq!(world.block(0, &[lists(0, id), lists(0, id)]).cross, [], "one member, twice");
    assert_eq!(world.block(0, &[lists(0, id)]).cross, [], "and once more");
    assert_eq!(world.block(0, &[lists(2, id)]).cross, [CrossEvent::Cancelled { id }]);
    assert_eq!(world.block(0, &[lists(1, id), lists(3, id)]).cross, [], "the entry is gone");

    let two = world.order(2, &[&bytes]).parts;
    assert_eq!(world.import(0, &[&two[0]]).cross, [CrossEvent::Pooled { id }], "a tick after the cancel");
    assert_eq!(world.block(0, &[lists(1, id)]).cross, [], "is a new entry, for which all list anew");
    assert_eq!(world.block(0, &[lists(0, id)]).cross, [CrossEvent::Cancelled { id }]);
    world.settle();
    world.check_rest();
    let told = world.at(0).settled(&id).map(|(settled, _)| settled);
    assert_eq!(told, Some(Settled::Never(Cause::Rejected(Rejection::Cancelled))));
}

#[test]
fn parts_are_executed_in_their_order_and_once() {
    let mut world = World::new(2, 70);
    let transactions: Vec<Vec<u8>> = (0..70).map(|index| cross(&[world.coin(1, index)], 0, 500)).collect();
    let parts: Vec<_> = transactions.iter().map(|bytes| world.order(1, &[bytes]).parts.remove(0)).collect();
    let finished = |outcome: &BlockOutcome| outcome.counts.finished_cross;
    assert_eq!(finished(&world.import(0, &[&parts[2]])), 0);
    assert_eq!(world.at(0).dump_early().count(), 1);
    assert_eq!(finished(&world.import(0, &[&parts[1], &parts[2], &parts[64]])), 0);
    assert_eq!(world.at(0).dump_early().count(), 2, "65 is more than {PARTS_AHEAD_MAX} ahead");
    let outcome = world.import(0, &[&parts[0]]);
    assert_eq!((finished(&outcome), world.at(0).imported(ShardId(1))), (3, PartNumber(3)));
    let order: Vec<u64> = outcome.imported.iter().map(|part| part.number.0).collect();
    assert_eq!(order, [1, 2, 3]);
    assert_eq!(finished(&world.import(0, &[&parts[0], &parts[1], &parts[2]])), 0, "each once");
    let lanes = [Lane::importing(&[&parts[5], &parts[64]]), Lane::importing(&[&parts[3], &parts[4]])];
    assert_eq!(finished(&world.block(0, &lanes)), 3);
    let rest: Vec<_> = parts[6..].iter().collect();
    let (now, then) = rest.split_at(PARTS_AHEAD_MAX as usize - 3);
    assert_eq!(finished(&world.import(0, now)), now.len() as u64);
    assert_eq!(finished(&world.import(0, then)), then.len() as u64);
    world.settle();
    world.check_rest();
}

#[test]
fn an_altered_part_is_not_the_part_that_was_wanted() {
    let mut world = World::new(2, 2);
    let bytes = cross(&[world.coin(1, 0)], 0, 50);
    let part = world.order(1, &[&bytes]).parts.remove(0);
    let other = world.forge(1, 0, 1, |group| {
        let another = cross(&[(1, CoinId([8; 32]), 1_000)], 0, 50);
        let _ = group.spent(tx_id(&another), &another);
    });
    assert_ne!(part.reference(), other.reference());
    world.parts.insert(part.reference(), other);
    let execute = std::panic::AssertUnwindSafe(|| world.import(0, &[&part]));
    assert!(std::panic::catch_unwind(execute).is_err(), "the caller gave another body");
}

#[test]
fn shards_have_a_say_only_where_they_have_a_part() {
    let mut world = World::new(4, 4);
    let bytes = cross(&[world.coin(1, 0), world.coin(2, 0)], 0, 50);
    let id = tx_id(&bytes);
    let one = world.order(1, &[&bytes]).parts;
    world.import(0, &[&one[0]]);

    let elsewhere = cross(&[world.coin(1, 1)], 2, 50);
    let invalid = &bytes[..bytes.len() - 1];
    let meddling = world.forge(3, 0, 1, |group| {
        for transaction in [&bytes[..], &elsewhere, invalid] {
            let _ = group.spent(tx_id(transaction), transaction);
        }
    });
    assert_eq!(world.import(0, &[&meddling]).cross, [], "no input shard, not ours, no transaction");
    let again = world.forge(1, 0, 2, |group| {
        let _ = group.spent(tx_id(&bytes), &bytes);
        let _ = group.spent(tx_id(&elsewhere), &elsewhere);
    });
    assert_eq!(world.import(0, &[&again]).cross, [], "it has ticked");
    assert_eq!(world.at(0).exchanged()[1].ticked.count, 1);

    let ends = |group: &mut crate::part::Group| {
        group.finished(id);
        group.cancelled(id);
    };
    let lies = world.forge(3, 1, 1, ends);
    assert_eq!(world.import(1, &[&lies]).cross, [], "shard 3 does not decide");
    let both = world.forge(0, 1, 1, ends);
    assert_eq!(world.import(1, &[&both]).cross, [CrossEvent::Closed { id }], "and shard 0 decides once");
    let unknown = world.forge(0, 2, 1, ends);
    assert_eq!(world.import(2, &[&unknown]).cross, [], "nothing was spent for it here");
}

#[test]
fn an_open_record_bars_what_everything_else_has_forgotten() {
    let mut world = World::new(2, 2);
    let bytes = cross(&[world.coin(1, 0)], 0, 5);
    let id = tx_id(&bytes);
    let part = world.order(1, &[&bytes]).parts.remove(0);
    let view = TransactionView::parse(&bytes).unwrap();
    assert_eq!(world.at(1).standing(&id, &view), Standing::Spent);
    world.skip_to(1, 20);
    assert_eq!((world.at(1).settled(&id), world.at(1).remembered()), (None, 0));
    assert_eq!(world.at(1).standing(&id, &view), Standing::Spent);
    assert_eq!(world.at(1).standing(&id, &view).never(), None, "nobody may say that it can never execute");
    let outcome = world.order(1, &[&bytes]);
    assert_eq!((outcome.transactions[0].outcome, &outcome.cross[..]), (DUPLICATE, &[][..]));
    let finished = world.import(0, &[&part]).parts.remove(0);
    world.import(1, &[&finished]);
    let outcome = world.order(1, &[&bytes]);
    assert_eq!(outcome.transactions[0].outcome, EXPIRED, "now its expiry alone bars it");
    assert_eq!(world.at(1).standing(&id, &view).never(), Some(Cause::Expired));
    world.check_rest();
}

#[test]
fn each_cause_for_which_a_transaction_can_never_execute() {
    let mut world = World::new(2, 6);
    let coin = |index| world.coin(1, index);
    let spender = cross(&[coin(0)], 0, 50);
    let refunded = cross(&[coin(1), (0, CoinId([9; 32]), 5)], 0, 50);
    let rejected = cross(&[(1, CoinId([9; 32]), 5)], 0, 50);
    let (_, spent_coin, _) = coin(0);
    let cases = [
        (cross_with(&[(1, spent_coin, 100)], 0, 50, b"another"), Some(Cause::Rejected(Rejection::Spent))),
        (cross(&[(1, coin(2).1, 99)], 0, 50), Some(Cause::Rejected(Rejection::WrongAmount))),
        (cross(&[(1, CoinId([7; 32]), 5)], 0, 50), None),
        (cross(&[coin(2)], 0, 3), Some(Cause::Expired)),
        (cross(&[coin(2)], 0, 40_000), Some(Cause::ExpiryTooFar)),
        (cross(&[coin(2), (0, CoinId([9; 32]), 5)], 0, 50), None),
        (cross(&[(0, CoinId([9; 32]), 5)], 0, 1), None),
        (spender.clone(), None),
        (refunded.clone(), Some(Cause::Rejected(Rejection::Cancelled))),
        (rejected.clone(), Some(Cause::Rejected(Rejection::UnknownCoin))),
    ];
    world.order(1, &[&spender, &refunded, &rejected]);
    world.order(0, &[&refunded]);
    world.settle();
    world.skip_to(1, 3);
    for (number, (bytes, expected)) in cases.iter().enumerate() {
        let view = TransactionView::parse(bytes).unwrap();
        assert_eq!(world.at(1).standing(&view.id(), &view).never(), *expected, "case {number}");
    }
    world.check_rest();
}

#[test]
fn tallies_count_what_was_exchanged() {
    let mut world = World::new(2, 4);
    let good = cross(&[world.coin(0, 0), world.coin(1, 0)], 0, 50);
    let bad = cross(&[(0, CoinId([9; 32]), 5), world.coin(1, 1)], 0, 50);
    let (good_id, bad_id) = (tx_id(&good), tx_id(&bad));
    world.order(1, &[&good, &bad]);
    world.order(0, &[&good, &bad]);
    world.settle();
    world.check_rest();
    let sum = |ids: &[TxId]| {
        let mut sum = IdSum::default();
        ids.iter().for_each(|id| sum.add(id));
        sum
    };
    let expected = Exchange {
        shard: ShardId(0),
        spent: sum(&[good_id, bad_id]),
        closed: sum(&[good_id]),
        refunded: sum(&[bad_id]),
        value_out: 100,
        part_out: PartNumber(1),
        part_in: PartNumber(1),
        ..Exchange::default()
    };
    assert_eq!(world.at(1).exchanged()[0], expected);
    let own = &world.at(0).exchanged()[0];
    assert_eq!((own.spent, own.finished, own.value_in), (sum(&[good_id]), sum(&[good_id]), 100));
}

/// With a rule switched off, what it prevents happens.
#[cfg(feature = "mutants")]
mod mutants {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::mutant::{Mutant, set};

    /// The events of the attack's last block with the rule in force and without; `None` if the ledger noticed.
    fn with_and_without(
        rule: Mutant,
        attack: fn() -> Vec<CrossEvent>,
    ) -> (Option<Vec<CrossEvent>>, Option<Vec<CrossEvent>>) {
        set(None);
        let with = catch_unwind(attack).ok();
        set(Some(rule));
        let without = catch_unwind(AssertUnwindSafe(attack)).ok();
        set(None);
        (with, without)
    }

    fn half_ticked(world: &mut World) -> (Vec<u8>, TxId) {
        let bytes = cross(&[world.coin(1, 0), world.coin(2, 0)], 0, 50);
        let part = world.order(1, &[&bytes]).parts.remove(0);
        world.import(0, &[&part]);
        let id = tx_id(&bytes);
        (bytes, id)
    }

    fn replay_a_part() -> Vec<CrossEvent> {
        let mut world = World::new(2, 2);
        let bytes = cross(&[world.coin(1, 0)], 0, 50);
        let part = world.order(1, &[&bytes]).parts.remove(0);
        world.import(0, &[&part]);
        world.import(0, &[&part]).cross
    }

    fn tick_from_elsewhere() -> Vec<CrossEvent> {
        let mut world = World::new(4, 2);
        let (bytes, _) = half_ticked(&mut world);
        let part = world.forge(3, 0, 1, |group| {
            let _ = group.spent(tx_id(&bytes), &bytes);
        });
        world.import(0, &[&part]).cross
    }

    fn cancel_from_elsewhere() -> Vec<CrossEvent> {
        let mut world = World::new(4, 2);
        let (_, id) = half_ticked(&mut world);
        let part = world.forge(3, 1, 1, |group| group.cancelled(id));
        world.import(1, &[&part]).cross
    }

    fn refund_of_what_has_finished() -> Vec<CrossEvent> {
        let mut world = World::new(3, 2);
        let (_, id) = half_ticked(&mut world);
        let part = world.forge(0, 1, 1, |group| group.finished(id));
        world.import(1, &[&part]);
        let part = world.forge(0, 1, 2, |group| group.cancelled(id));
        world.import(1, &[&part]).cross
    }

    fn order_again_after_forgetting() -> Vec<CrossEvent> {
        let mut world = World::new(2, 2);
        let bytes = cross(&[world.coin(1, 0)], 0, 5);
        world.order(1, &[&bytes]);
        world.skip_to(1, 20);
        world.order(1, &[&bytes]).cross
    }

    fn order_what_was_cancelled() -> Vec<CrossEvent> {
        let mut world = World::new(2, 2);
        let bytes = cross(&[world.coin(0, 0), world.coin(1, 0)], 0, 50);
        let id = tx_id(&bytes);
        let part = world.order(1, &[&bytes]).parts.remove(0);
        world.import(0, &[&part]);
        world.block(0, &[Lane::cancelling(0, id), Lane::cancelling(1, id)]);
        world.order(0, &[&bytes]).cross
    }

    fn cancel_by_one() -> Vec<CrossEvent> {
        let mut world = World::new(3, 2);
        let (_, id) = half_ticked(&mut world);
        world.block(0, &[Lane::cancelling(0, id)]).cross
    }

    #[test]
    fn every_rule_of_cross_shard_execution_is_missed_when_it_is_off() {
        type Attack = fn() -> Vec<CrossEvent>;
        let attacks: [(Mutant, Attack); 7] = [
            (Mutant::PartsInOrder, replay_a_part),
            (Mutant::TicksOnlyFromInputShards, tick_from_elsewhere),
            (Mutant::EndsOnlyFromOutputShard, cancel_from_elsewhere),
            (Mutant::RefundNeedsOpenRecord, refund_of_what_has_finished),
            (Mutant::OpenRecordIsDuplicate, order_again_after_forgetting),
            (Mutant::CancelledForGood, order_what_was_cancelled),
            (Mutant::CancelNeedsOneHonest, cancel_by_one),
        ];
        for (rule, attack) in attacks {
            let (with, without) = with_and_without(rule, attack);
            assert_eq!(with, Some(Vec::new()), "{rule:?} in force");
            assert_ne!(without, Some(Vec::new()), "nobody noticed that {rule:?} was off");
        }
    }
}
