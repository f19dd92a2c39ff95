//! The books of a load, receipt by receipt.

use std::collections::BTreeSet;

use bft::crypto::deal::{deal_committee, seeded_entropy};
use bft::transaction::TransactionView;
use wire::client::{Receipt, Refusal, Rejection, list};
use wire::committee::Protocol;
use wire::ids::CoinId;

use super::doubt::DOUBT_US;
use super::fates::REST_US;
use super::*;
use crate::load::mix::Share;

const TX_BYTES: usize = 250;
const EXPIRIES: [Round; 4] = [Round(1_000), Round(1_001), Round(1_002), Round(1_003)];
/// One receipt of a transaction within a shard.
const INTRA: Finished = Finished { intra: 1, cross: 0 };

fn committee(signed: bool, coins: u64) -> Arc<Committee> {
    committee_of(1, signed, coins)
}

fn committee_of(shards: u16, signed: bool, coins: u64) -> Arc<Committee> {
    let protocol = Protocol { signed, genesis_coins: coins, ..Protocol::default() };
    Arc::new(deal_committee(4, shards, protocol, seeded_entropy(7)).0)
}

fn workload() -> Workload {
    Workload::genesis(&committee(false, 8), TX_BYTES, 1, Mix::default())
}

/// Makes one transaction for `node` and returns its bytes.
fn make(workload: &mut Workload, node: u16, at_us: u64) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    workload.make(NodeId(node), &EXPIRIES, at_us, at_us, &mut out).then(|| out.split_off(4))
}

fn receive(workload: &mut Workload, node: u16, id: TxId, fate: Fate) {
    workload.on_receipt(NodeId(node), &Receipt { id, fate }, 10_000, WhenUnknown::Resubmit);
}

fn id(bytes: &[u8]) -> TxId {
    transaction::tx_id(bytes)
}

#[test]
fn transactions_are_valid_of_the_wished_length_and_spend_what_the_last_one_created() {
    for signed in [false, true] {
        let committee = committee(signed, 8);
        let least = transaction_bytes_min(signed);
        for tx_bytes in [least, 250, 4096] {
            let mut workload = Workload::genesis(&committee, tx_bytes, 1, Mix::default());
            let mut out = Vec::new();
            let at = list::begin(&mut out);
            assert!(workload.make(NodeId(1), &EXPIRIES, 0, 0, &mut out));
            assert!(workload.make(NodeId(1), &EXPIRIES, 0, 0, &mut out));
            assert!(!workload.make(NodeId(1), &EXPIRIES, 0, 0, &mut out), "a quarter of 8 coins");
            list::finish(&mut out, at, 2);
            let items = list::parse(&out, 2).unwrap();
            let first = out[items[0].clone()].to_vec();
            for item in items {
                assert_eq!(item.len(), tx_bytes);
                transaction::validate(&out[item], &committee).unwrap();
            }
            receive(&mut workload, 1, id(&first), Fate::Finished(Round(3)));
            let next = make(&mut workload, 1, 0).unwrap();
            let view = transaction::validate(&next, &committee).unwrap();
            let spent: Vec<CoinId> = view.inputs().map(|input| input.coin).collect();
            assert_eq!(spent, [transaction::output_coin(&id(&first), 0)]);
        }
    }
}

#[test]
fn seeds_change_payloads_and_nothing_else_does() {
    let bytes = |seed| {
        make(&mut Workload::genesis(&committee(false, 8), TX_BYTES, seed, Mix::default()), 0, 0).unwrap()
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
}

#[test]
fn latency_counts_from_the_intended_time_and_heights_are_kept() {
    let mut workload = workload();
    let one = make(&mut workload, 0, 4_000).unwrap();
    assert_eq!(workload.open_at(NodeId(0)), 1);
    receive(&mut workload, 0, id(&one), Fate::Finished(Round(3)));
    assert_eq!(workload.tally().latency().max_us(), Some(6_000));
    assert_eq!((workload.tally().submitted, workload.tally().committed), (1, 1));
    assert_eq!(workload.in_flight_and_orphaned(), (0, 0));
    assert_eq!(workload.take_heights(), BTreeMap::from([((ShardId(0), Round(3)), INTRA)]));
}

#[test]
fn a_second_final_receipt_is_a_duplicate_unless_it_answers_a_query() {
    let mut workload = workload();
    let one = id(&make(&mut workload, 0, 0).unwrap());
    receive(&mut workload, 0, one, Fate::Finished(Round(3)));
    receive(&mut workload, 0, one, Fate::Unknown);
    assert_eq!(workload.tally().duplicated, 0, "not a final receipt");
    receive(&mut workload, 0, one, Fate::Finished(Round(3)));
    assert_eq!(workload.tally().duplicated, 1);
    receive(&mut workload, 0, TxId([9; 32]), Fate::Expired);
    assert_eq!(workload.tally().duplicated, 2, "a receipt for what was never sent");

    let two = id(&make(&mut workload, 0, 0).unwrap());
    workload.query_all_of(NodeId(0));
    receive(&mut workload, 0, two, Fate::Finished(Round(4)));
    receive(&mut workload, 0, two, Fate::Finished(Round(4)));
    assert_eq!(workload.tally().duplicated, 2, "receipt and answer crossed");
    receive(&mut workload, 0, two, Fate::Finished(Round(5)));
    assert_eq!(workload.tally().duplicated, 3, "but they must agree");
}

#[test]
fn what_a_lost_connection_swallowed_is_queried_and_handed_over_again() {
    let mut workload = workload();
    let one = make(&mut workload, 2, 0).unwrap();
    workload.query_all_of(NodeId(2));
    assert_eq!(workload.take_queries(NodeId(2), 10), [id(&one)]);
    assert!(workload.take_queries(NodeId(2), 10).is_empty());
    receive(&mut workload, 2, id(&one), Fate::Unknown);
    let mut out = Vec::new();
    assert!(workload.make_again(NodeId(2), &mut out));
    assert_eq!(out[4..], one, "to the byte");
    assert!(!workload.make_again(NodeId(2), &mut out));
    // The node had it after all: it is queried again.
    receive(&mut workload, 2, id(&one), Fate::Refused(Refusal::Duplicate));
    assert_eq!(workload.take_queries(NodeId(2), 10), [id(&one)]);
    receive(&mut workload, 2, id(&one), Fate::Finished(Round(1)));
    let tally = workload.tally();
    assert_eq!((tally.submitted, tally.resubmitted, tally.committed, tally.lost), (1, 1, 1, 0));
}

/// Its node was behind every history and has taken over a state that forgets what became of it.
#[test]
fn a_chain_goes_on_with_the_output_of_a_transaction_whose_fate_nobody_knows() {
    for is_executed in [true, false] {
        let mut workload = workload();
        let one = make(&mut workload, 2, 0).unwrap();
        let output = transaction::output_coin(&id(&one), 0);
        let input = TransactionView::parse(&one).unwrap().inputs().next().unwrap().coin;
        receive(&mut workload, 2, id(&one), Fate::Unknown);
        assert!(workload.make_again(NodeId(2), &mut Vec::new()));
        receive(&mut workload, 2, id(&one), Fate::Refused(Refusal::Expired));
        let known_us = 10_000 + DOUBT_US;
        assert_eq!(workload.take_coin_request(NodeId(2), known_us), [input, output]);
        let coin = if is_executed { output } else { input };
        workload.on_coins(NodeId(2), &[(coin, 1)], known_us);
        let made = std::iter::from_fn(|| make(&mut workload, 2, known_us));
        let spent: Vec<CoinId> =
            made.map(|next| TransactionView::parse(&next).unwrap().inputs().next().unwrap().coin).collect();
        assert!(spent.contains(&coin), "it spends {coin:?}: {spent:?}");
        assert_eq!((workload.dead(), workload.tally().lost), (0, 0));
    }
}

/// Two connections are lost in a row: the second submission of a transaction with a spent input is refused like the
/// first would have been.
#[test]
fn a_spoiled_transaction_that_is_handed_over_again_is_refused_once_and_for_all() {
    for when_unknown in [WhenUnknown::Resubmit, WhenUnknown::CountAsLost] {
        let mut workload = crossing(2, 8, 1.0);
        let one = id(&make(&mut workload, 0, 0).unwrap());
        workload.query_all_of(NodeId(0));
        receive(&mut workload, 0, one, Fate::Unknown);
        assert!(workload.make_again(NodeId(0), &mut Vec::new()));
        receive(&mut workload, 0, one, Fate::Refused(Refusal::Spent));
        // It may have been executed: its node is queried once more.
        assert!(workload.take_queries(NodeId(0), 10).contains(&one));
        workload.on_receipt(NodeId(0), &Receipt { id: one, fate: Fate::Unknown }, 10_000, when_unknown);
        assert!(!workload.make_again(NodeId(0), &mut Vec::new()), "it is not handed over for ever");
        let tally = workload.tally();
        assert_eq!((tally.refused.get(&Refusal::Spent), tally.resubmitted, tally.lost), (Some(&1), 1, 0));
        assert_eq!((workload.in_flight_and_orphaned(), workload.dead()), ((0, 0), 0));
    }
}

#[test]
fn unknown_at_the_end_is_lost() {
    let mut workload = workload();
    let one = id(&make(&mut workload, 2, 0).unwrap());
    let receipt = Receipt { id: one, fate: Fate::Unknown };
    workload.on_receipt(NodeId(2), &receipt, 0, WhenUnknown::CountAsLost);
    assert_eq!(workload.tally().lost, 1);
    assert_eq!(workload.in_flight_and_orphaned(), (0, 0));
}

#[test]
fn orphans_are_queried_elsewhere_and_idle_chains_go_on_elsewhere() {
    let mut workload = workload();
    let one = id(&make(&mut workload, 3, 0).unwrap());
    let two = id(&make(&mut workload, 3, 0).unwrap());
    receive(&mut workload, 3, two, Fate::Finished(Round(1)));
    workload.node_is_gone(NodeId(3));
    assert_eq!(workload.in_flight_and_orphaned(), (0, 1));
    assert!(make(&mut workload, 3, 0).is_none());
    let made: usize = (0..3).map(|node| std::iter::from_fn(|| make(&mut workload, node, 0)).count()).sum();
    assert_eq!(made, 7, "8 chains, of which one is orphaned");
    workload.query_orphans_at(NodeId(0));
    assert_eq!(workload.take_queries(NodeId(0), 10), [one]);
    receive(&mut workload, 0, one, Fate::Unknown);
    assert_eq!(workload.in_flight_and_orphaned().1, 1, "another node need not know it");
    receive(&mut workload, 0, one, Fate::Finished(Round(2)));
    assert_eq!(workload.in_flight_and_orphaned().1, 0);
    let successors = (0..3).filter(|node| make(&mut workload, *node, 0).is_some()).count();
    assert_eq!(successors, 1, "its chain goes on elsewhere");
}

#[test]
fn each_shard_has_its_own_coins_nodes_and_heights() {
    let committee = committee_of(2, false, 4);
    let mut workload = Workload::genesis(&committee, TX_BYTES, 1, Mix::default());
    let mut ids = Vec::new();
    for node in 0..8 {
        let bytes = make(&mut workload, node, 0).unwrap();
        assert!(make(&mut workload, node, 0).is_none(), "a coin a node");
        let view = transaction::validate(&bytes, &committee).unwrap();
        let shard = committee.shard_of(NodeId(node));
        assert_eq!(view.part_of(shard), transaction::Part::Intra, "node {node}");
        ids.push(view.id());
    }
    receive(&mut workload, 1, ids[1], Fate::Finished(Round(7)));
    receive(&mut workload, 5, ids[5], Fate::Finished(Round(3)));
    assert_eq!(workload.tally().heights, [Round(7), Round(3)]);
    assert_eq!(workload.tally().height_of_all(), Round(3));
    // The members of a shard are successors of each other, and know what became of each other's transactions.
    workload.node_is_gone(NodeId(5));
    assert!(make(&mut workload, 1, 0).is_some() && make(&mut workload, 0, 0).is_none());
    assert!([4, 6, 7].into_iter().any(|node| make(&mut workload, node, 0).is_some()));
    workload.node_is_gone(NodeId(6));
    workload.query_orphans_at(NodeId(0));
    assert!(workload.take_queries(NodeId(0), 10).is_empty());
    workload.query_orphans_at(NodeId(4));
    assert!(workload.take_queries(NodeId(4), 10).contains(&ids[6]));
    let counts = workload.take_heights();
    assert_eq!(counts, BTreeMap::from([((ShardId(0), Round(7)), INTRA), ((ShardId(1), Round(3)), INTRA)]));
}

#[test]
fn fates_other_than_finished() {
    for (fate, goes_on) in [
        (Fate::Expired, true),
        (Fate::Refused(Refusal::Expired), true),
        (Fate::Refused(Refusal::Spent), false),
        (Fate::Rejected(Rejection::Spent), false),
    ] {
        let mut workload = Workload::genesis(&committee(false, 4), TX_BYTES, 1, Mix::default());
        let one = id(&make(&mut workload, 0, 0).unwrap());
        receive(&mut workload, 0, one, fate);
        assert_eq!(make(&mut workload, 0, 0).is_some(), goes_on, "{fate:?}");
        assert_eq!(workload.tally().committed, 0);
    }
}

#[test]
fn a_chain_rests_after_a_refusal_for_want_of_room() {
    let mut workload = Workload::genesis(&committee(false, 4), TX_BYTES, 1, Mix::default());
    let one = id(&make(&mut workload, 0, 0).unwrap());
    receive(&mut workload, 0, one, Fate::Refused(Refusal::Full));
    assert_eq!(workload.tally().refused[&Refusal::Full], 1);
    assert!(make(&mut workload, 0, 10_000 + REST_US - 1).is_none());
    let again = make(&mut workload, 0, 10_000 + REST_US).unwrap();
    assert_ne!(id(&again), one, "the same coin in another transaction");
}

#[test]
fn every_transaction_of_a_long_run_is_unlike_every_other() {
    let mut workload = workload();
    let mut seen = BTreeSet::new();
    for height in 0..1_000 {
        let one = id(&make(&mut workload, 0, 0).unwrap());
        assert!(seen.insert(one));
        receive(&mut workload, 0, one, Fate::Finished(Round(height)));
    }
    assert!(workload.by_id.is_empty() && workload.queried.is_empty(), "the maps forget");
}

#[test]
fn a_lost_connection_costs_what_is_open_at_its_node_and_queries_each_once() {
    let mut workload = Workload::genesis(&committee(false, 4_000), TX_BYTES, 1, Mix::default());
    let mut open: Vec<(u16, TxId)> = Vec::new();
    for step in 0..6_000 {
        if step % 3 == 2 {
            let (node, id) = open.swap_remove(step * 7 % open.len());
            receive(&mut workload, node, id, Fate::Finished(Round(1)));
        } else {
            let node = (step % 5 % 4) as u16;
            open.extend(make(&mut workload, node, 0).map(|bytes| (node, id(&bytes))));
        }
    }
    for node in 0..4 {
        let here: BTreeSet<TxId> = open.iter().filter(|(at, _)| *at == node).map(|(_, id)| *id).collect();
        assert_eq!(workload.pool(NodeId(node)).open.len(), here.len(), "nothing else is walked over");
        // A connection that is lost again and again has nothing queried twice.
        (0..3).for_each(|_| workload.connected_anew(NodeId(node)));
        assert_eq!(workload.take_queries(NodeId(node), usize::MAX), here.into_iter().collect::<Vec<_>>());
    }
}

/// A load that does nothing but cross shards, with this share of spoiled inputs.
fn crossing(shards: u16, coins: u64, invalid: f64) -> Workload {
    let mix = Mix { cross: Share::of(1.0), invalid: Share::of(invalid) };
    Workload::genesis(&committee_of(shards, false, coins), TX_BYTES, 1, mix)
}

fn inputs_of(bytes: &[u8]) -> Vec<Input> {
    TransactionView::parse(bytes).unwrap().inputs().collect()
}

#[test]
fn crossing_transactions_are_valid_and_take_chains_to_the_output_shard() {
    let committee = committee_of(4, false, 100);
    let mut workload = crossing(4, 100, 0.0);
    let mut counts = BTreeSet::new();
    for node in (0..16).cycle().take(80) {
        let bytes = make(&mut workload, node, 0).unwrap();
        let view = transaction::validate(&bytes, &committee).unwrap();
        let output = committee.shard_of(NodeId(node));
        assert_eq!(view.output_shard(), output, "the contact is in the output shard");
        assert!(view.inputs().any(|input| input.shard != output));
        let expiries = view.expiries().map(|expiry| (expiry.shard, expiry.round));
        assert!(expiries.into_iter().all(|(shard, round)| round == EXPIRIES[usize::from(shard.0)]));
        let inputs = inputs_of(&bytes);
        assert_eq!(inputs.len(), view.outputs().len());
        counts.insert(inputs.len());
        let before = workload.chains.iter().filter(|chain| chain.shard == output).count();
        let come = inputs.iter().filter(|input| input.shard != output).count();
        receive(&mut workload, node, view.id(), Fate::Finished(Round(2)));
        let after = workload.chains.iter().filter(|chain| chain.shard == output).count();
        assert_eq!(after, before + come, "the chains have moved");
        for (index, input) in (0..).zip(inputs) {
            let coin = transaction::output_coin(&view.id(), index);
            let chain = workload.chains.iter().find(|chain| chain.coin == coin).unwrap();
            assert_eq!(chain.previous, (input.shard == output).then_some(input.coin));
        }
    }
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [1, 2, 3]);
    let tally = workload.tally();
    assert_eq!((tally.committed, tally.committed_cross, tally.submitted_valid), (80, 80, 80));
    assert_eq!(tally.latency_intra.max_us(), None);
    assert!(workload.take_heights().values().all(|count| count.intra == 0 && count.cross == 20));
}

#[test]
fn what_was_drawn_and_cannot_go_out_is_put_back() {
    let mut workload = crossing(2, 1, 0.0);
    let made: usize = (0..8).cycle().take(800).filter(|node| make(&mut workload, *node, 0).is_some()).count();
    assert!((1..=2).contains(&made), "two coins there are: {made}");
    let taken = workload.chains.iter().filter(|chain| !matches!(chain.state, State::Idle)).count();
    assert_eq!(workload.idle.count() + taken, 2);
}

#[test]
fn every_kind_of_spoiled_input_occurs_and_stays_statically_valid() {
    let committee = committee_of(2, false, 400);
    let mut workload = crossing(2, 400, 1.0);
    // Within a shard first, so that chains have a past.
    workload.drawer = Drawer::new(Mix::default(), 1);
    for node in 0..8 {
        let made: Vec<TxId> = (0..60).map(|_| id(&make(&mut workload, node, 0).unwrap())).collect();
        made.into_iter().for_each(|id| receive(&mut workload, node, id, Fate::Finished(Round(1))));
    }
    let everything = Mix { cross: Share::of(1.0), invalid: Share::of(1.0) };
    workload.drawer = Drawer::new(everything, 1);
    let (mut spent, mut unknown, mut wrong) = (0, 0, 0);
    for node in 0..8 {
        for _ in 0..20 {
            let bytes = make(&mut workload, node, 0).unwrap();
            transaction::validate(&bytes, &committee).unwrap();
            for input in inputs_of(&bytes) {
                let has = |coin: fn(&Chain) -> Option<CoinId>| {
                    workload
                        .chains
                        .iter()
                        .any(|chain| chain.shard == input.shard && coin(chain) == Some(input.coin))
                };
                if has(|chain| Some(chain.coin)) {
                    assert_ne!(input.amount, 1_000);
                    wrong += 1;
                } else if has(|chain| chain.previous) {
                    spent += 1;
                } else {
                    unknown += 1;
                }
            }
            receive(&mut workload, node, id(&bytes), Fate::Rejected(Rejection::Spent));
        }
    }
    assert!(spent > 20 && unknown > 20 && wrong > 20, "{spent} {unknown} {wrong}");
    let tally = workload.tally();
    assert_eq!((tally.rejected[&Rejection::Spent], tally.rejected_unexpected), (160, 0));
    assert_eq!(tally.submitted - tally.submitted_valid, 160);
}

#[test]
fn a_rejection_without_a_reason_is_unexpected_and_a_finish_of_what_is_spoiled_too() {
    let mut workload = crossing(2, 8, 0.0);
    let one = id(&make(&mut workload, 0, 0).unwrap());
    receive(&mut workload, 0, one, Fate::Rejected(Rejection::Spent));
    assert_eq!(workload.tally().rejected_unexpected, 1);
    assert_eq!(workload.tally().rejection.max_us(), Some(10_000));
    let mut workload = crossing(2, 8, 1.0);
    let one = id(&make(&mut workload, 0, 0).unwrap());
    receive(&mut workload, 0, one, Fate::Finished(Round(1)));
    assert_eq!(workload.tally().finished_invalid, 1);
}

/// One transaction of two chains in two shards, rejected at 10 ms; its inputs.
fn rejected(workload: &mut Workload) -> (TxId, Vec<Input>) {
    loop {
        let bytes = make(workload, 0, 0).unwrap();
        let (id, inputs) = (id(&bytes), inputs_of(&bytes));
        if inputs.len() == 2 {
            receive(workload, 0, id, Fate::Rejected(Rejection::Cancelled));
            return (id, inputs);
        }
        receive(workload, 0, id, Fate::Refused(Refusal::Expired));
    }
}

/// All coin requests at a time, by node.
fn coin_requests(workload: &mut Workload, now_us: u64) -> Vec<(NodeId, Vec<CoinId>)> {
    let request = |node| (NodeId(node), workload.take_coin_request(NodeId(node), now_us));
    (0..8).map(request).filter(|(_, coins)| !coins.is_empty()).collect()
}

#[test]
fn chains_of_a_rejected_transaction_rest_and_go_on_with_the_coin_that_can_be_spent() {
    let mut workload = crossing(2, 8, 0.0);
    let (id, inputs) = rejected(&mut workload);
    assert!(coin_requests(&mut workload, 10_000 + doubt::DOUBT_US - 1).is_empty(), "they rest");
    let requested = coin_requests(&mut workload, 10_000 + doubt::DOUBT_US);
    assert_eq!(requested.len(), 2, "a question in each shard");
    assert!(coin_requests(&mut workload, u64::MAX).is_empty(), "one question at a time");
    let refund = |input: &Input| transaction::refund_coin(&id, &input.coin);
    let asked_of = |input: &Input| {
        requested
            .iter()
            .find(|(_, coins)| coins.contains(&input.coin) && coins.contains(&refund(input)))
            .unwrap()
            .0
    };
    let at = 20_000_000;
    // In the first shard the coin was given back; in the second it was never touched.
    workload.on_coins(asked_of(&inputs[0]), &[(refund(&inputs[0]), 1_000)], at);
    workload.on_coins(asked_of(&inputs[1]), &[(inputs[1].coin, 1_000)], at);
    let chain = |workload: &Workload, coin| {
        workload.chains.iter().find(|chain| chain.coin == coin && matches!(chain.state, State::Idle)).cloned()
    };
    let first = chain(&workload, refund(&inputs[0])).unwrap();
    assert_eq!((first.previous, first.refunds.len()), (Some(inputs[0].coin), 0));
    assert_eq!(workload.tally().coins_given_back, 1);
    let second = chain(&workload, inputs[1].coin).unwrap();
    assert_eq!(second.refunds, [refund(&inputs[1])], "the rejected one may still spend it");
}

#[test]
fn a_coin_in_doubt_is_requested_until_it_is_known_and_explains_a_rejection() {
    let mut workload = crossing(2, 1, 0.0);
    let (first, inputs) = rejected(&mut workload);
    let mut at = 10_000;
    // Neither coin can be spent yet.
    for _ in 0..3 {
        at += doubt::DOUBT_US;
        let requested = coin_requests(&mut workload, at);
        assert_eq!(requested.len(), 2);
        requested.iter().for_each(|(node, _)| workload.on_coins(*node, &[], at));
    }
    at += doubt::DOUBT_US;
    for (node, coins) in coin_requests(&mut workload, at) {
        let untouched = inputs.iter().find(|input| coins.contains(&input.coin)).unwrap();
        workload.on_coins(node, &[(untouched.coin, 1_000)], at);
    }
    // A transaction within the shard comes too late: the rejected one spent the coin after all.
    workload.drawer = Drawer::new(Mix::default(), 1);
    let late = (0..8).find_map(|node| Some((node, id(&make(&mut workload, node, 0)?)))).unwrap();
    receive(&mut workload, late.0, late.1, Fate::Rejected(Rejection::Spent));
    let tally = workload.tally();
    assert_eq!((tally.rejected_count(), tally.rejected_unexpected), (2, 1), "the second one is explained");
    let given_back = transaction::refund_coin(&first, &inputs[usize::from(late.0 >= 4)].coin);
    let requested = coin_requests(&mut workload, u64::MAX);
    assert!(requested.iter().any(|(_, coins)| coins.contains(&given_back)), "it has the refund in mind");
}

#[test]
fn coins_in_doubt_are_requested_at_once_when_nothing_is_open() {
    let mut workload = crossing(2, 1, 0.0);
    let (_, inputs) = rejected(&mut workload);
    assert_eq!((workload.doubtful(), workload.dead()), (2, 0));
    assert!(coin_requests(&mut workload, 10_000).is_empty(), "they rest");
    workload.settle_doubts();
    let requested = coin_requests(&mut workload, 10_000);
    assert_eq!((requested.len(), workload.doubtful()), (2, 2), "requested, and not answered");
    for (node, coins) in requested {
        let untouched = inputs.iter().find(|input| coins.contains(&input.coin)).unwrap();
        workload.on_coins(node, &[(untouched.coin, 1_000)], 10_000);
    }
    assert_eq!(workload.doubtful(), 0);
}

#[test]
fn a_chain_stops_by_a_refusal_for_good_and_rests_by_one_of_a_node_that_is_behind() {
    // Node 0 has two of the eight chains.
    let mut workload = workload();
    for dead in [1, 2] {
        let one = id(&make(&mut workload, 0, 0).unwrap());
        receive(&mut workload, 0, one, Fate::Refused(Refusal::Invalid));
        assert_eq!(workload.dead(), dead);
    }
    assert_eq!(make(&mut workload, 0, REST_US + 10_001), None, "none is left");
    let mut workload = self::workload();
    for _ in 0..2 {
        let one = id(&make(&mut workload, 0, 0).unwrap());
        receive(&mut workload, 0, one, Fate::Refused(Refusal::ExpiryTooFar));
    }
    assert_eq!(make(&mut workload, 0, 10_001), None, "both rest");
    assert!(make(&mut workload, 0, REST_US + 10_001).is_some(), "and go on");
}

#[test]
fn a_lost_coin_request_is_repeated_and_passes_to_the_successor_of_a_dead_node() {
    let mut workload = crossing(2, 8, 0.0);
    rejected(&mut workload);
    let at = 10_000 + doubt::DOUBT_US;
    let first = coin_requests(&mut workload, at);
    first.iter().for_each(|(node, _)| workload.connected_anew(*node));
    assert_eq!(coin_requests(&mut workload, at), first);
    let (gone, coins) = &first[0];
    workload.node_is_gone(*gone);
    let (successor, requested) = coin_requests(&mut workload, at).pop().unwrap();
    assert_eq!(&requested, coins);
    assert_ne!(successor, *gone);
}

#[test]
fn a_crossing_transaction_is_handed_over_again_to_the_byte() {
    let mut workload = crossing(3, 100, 0.5);
    for node in 0..12 {
        let one = make(&mut workload, node, 0).unwrap();
        workload.query_all_of(NodeId(node));
        receive(&mut workload, node, id(&one), Fate::Unknown);
        let mut out = Vec::new();
        assert!(workload.make_again(NodeId(node), &mut out));
        assert_eq!(out[4..], one);
    }
}

mod handing_on;
