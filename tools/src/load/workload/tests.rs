//! The books of a load, receipt by receipt.

use std::collections::BTreeSet;

use bft::crypto::deal::{deal_committee, seeded_entropy};
use wire::client::{Rejection, list};
use wire::committee::Protocol;

use super::*;

const TX_BYTES: usize = 250;
const EXPIRY: Round = Round(1_000);

fn committee(signed: bool, coins: u64) -> Arc<Committee> {
    committee_of(1, signed, coins)
}

fn committee_of(shards: u16, signed: bool, coins: u64) -> Arc<Committee> {
    let protocol = Protocol { signed, genesis_coins: coins, ..Protocol::default() };
    Arc::new(deal_committee(4, shards, protocol, seeded_entropy(7)).0)
}

fn workload() -> Workload {
    Workload::new(&committee(false, 8), TX_BYTES, 1)
}

/// Makes one transaction for `node` and returns its bytes.
fn make(workload: &mut Workload, node: u16, at_us: u64) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    workload.make(NodeId(node), EXPIRY, at_us, at_us, &mut out).then(|| out.split_off(4))
}

fn tell(workload: &mut Workload, node: u16, id: TxId, fate: Fate) {
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
            let mut workload = Workload::new(&committee, tx_bytes, 1);
            let mut out = Vec::new();
            let at = list::begin(&mut out);
            assert!(workload.make(NodeId(1), EXPIRY, 0, 0, &mut out));
            assert!(workload.make(NodeId(1), EXPIRY, 0, 0, &mut out));
            assert!(!workload.make(NodeId(1), EXPIRY, 0, 0, &mut out), "a quarter of 8 coins");
            list::finish(&mut out, at, 2);
            let items = list::parse(&out, 2).unwrap();
            let first = out[items[0].clone()].to_vec();
            for item in items {
                assert_eq!(item.len(), tx_bytes);
                transaction::validate(&out[item], &committee).unwrap();
            }
            tell(&mut workload, 1, id(&first), Fate::Finished(Round(3)));
            let next = make(&mut workload, 1, 0).unwrap();
            let view = transaction::validate(&next, &committee).unwrap();
            let spent: Vec<CoinId> = view.inputs().map(|input| input.coin).collect();
            assert_eq!(spent, [transaction::output_coin(&id(&first), 0)]);
        }
    }
}

#[test]
fn seeds_change_payloads_and_nothing_else_does() {
    let bytes = |seed| make(&mut Workload::new(&committee(false, 8), TX_BYTES, seed), 0, 0).unwrap();
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
}

#[test]
fn latency_counts_from_the_intended_time_and_heights_are_kept() {
    let mut workload = workload();
    let one = make(&mut workload, 0, 4_000).unwrap();
    assert_eq!(workload.open_at(NodeId(0)), 1);
    tell(&mut workload, 0, id(&one), Fate::Finished(Round(3)));
    assert_eq!(workload.tally().latency.max_us(), Some(6_000));
    assert_eq!((workload.tally().submitted, workload.tally().committed), (1, 1));
    assert_eq!(workload.in_flight_and_orphaned(), (0, 0));
    assert_eq!(workload.take_heights(), BTreeMap::from([((ShardId(0), Round(3)), 1)]));
}

#[test]
fn a_second_final_receipt_is_a_duplicate_unless_it_answers_a_question() {
    let mut workload = workload();
    let one = id(&make(&mut workload, 0, 0).unwrap());
    tell(&mut workload, 0, one, Fate::Finished(Round(3)));
    tell(&mut workload, 0, one, Fate::Unknown);
    assert_eq!(workload.tally().duplicated, 0, "not a final receipt");
    tell(&mut workload, 0, one, Fate::Finished(Round(3)));
    assert_eq!(workload.tally().duplicated, 1);
    tell(&mut workload, 0, TxId([9; 32]), Fate::Expired);
    assert_eq!(workload.tally().duplicated, 2, "a receipt for what was never sent");

    let two = id(&make(&mut workload, 0, 0).unwrap());
    workload.ask_for_all_of(NodeId(0));
    tell(&mut workload, 0, two, Fate::Finished(Round(4)));
    tell(&mut workload, 0, two, Fate::Finished(Round(4)));
    assert_eq!(workload.tally().duplicated, 2, "receipt and answer crossed");
    tell(&mut workload, 0, two, Fate::Finished(Round(5)));
    assert_eq!(workload.tally().duplicated, 3, "but they must agree");
}

#[test]
fn what_a_lost_connection_swallowed_is_asked_for_and_handed_over_again() {
    let mut workload = workload();
    let one = make(&mut workload, 2, 0).unwrap();
    workload.ask_for_all_of(NodeId(2));
    assert_eq!(workload.take_asks(NodeId(2), 10), [id(&one)]);
    assert!(workload.take_asks(NodeId(2), 10).is_empty());
    tell(&mut workload, 2, id(&one), Fate::Unknown);
    let mut out = Vec::new();
    assert!(workload.make_again(NodeId(2), &mut out));
    assert_eq!(out[4..], one, "to the byte");
    assert!(!workload.make_again(NodeId(2), &mut out));
    // The node had it after all: ask on.
    tell(&mut workload, 2, id(&one), Fate::Refused(Refusal::Duplicate));
    assert_eq!(workload.take_asks(NodeId(2), 10), [id(&one)]);
    tell(&mut workload, 2, id(&one), Fate::Finished(Round(1)));
    let tally = workload.tally();
    assert_eq!((tally.submitted, tally.resubmitted, tally.committed, tally.lost), (1, 1, 1, 0));
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
fn orphans_are_asked_for_elsewhere_and_idle_chains_go_on_elsewhere() {
    let mut workload = workload();
    let one = id(&make(&mut workload, 3, 0).unwrap());
    let two = id(&make(&mut workload, 3, 0).unwrap());
    tell(&mut workload, 3, two, Fate::Finished(Round(1)));
    workload.node_is_gone(NodeId(3));
    assert_eq!(workload.in_flight_and_orphaned(), (0, 1));
    assert!(make(&mut workload, 3, 0).is_none());
    let made: usize = (0..3).map(|node| std::iter::from_fn(|| make(&mut workload, node, 0)).count()).sum();
    assert_eq!(made, 7, "8 chains, of which one is orphaned");
    workload.ask_for_orphans_at(NodeId(0));
    assert_eq!(workload.take_asks(NodeId(0), 10), [one]);
    tell(&mut workload, 0, one, Fate::Unknown);
    assert_eq!(workload.in_flight_and_orphaned().1, 1, "another node need not know it");
    tell(&mut workload, 0, one, Fate::Finished(Round(2)));
    assert_eq!(workload.in_flight_and_orphaned().1, 0);
    let heirs = (0..3).filter(|node| make(&mut workload, *node, 0).is_some()).count();
    assert_eq!(heirs, 1, "its chain goes on elsewhere");
}

#[test]
fn each_shard_has_its_own_coins_nodes_and_heights() {
    let committee = committee_of(2, false, 4);
    let mut workload = Workload::new(&committee, TX_BYTES, 1);
    let mut ids = Vec::new();
    for node in 0..8 {
        let bytes = make(&mut workload, node, 0).unwrap();
        assert!(make(&mut workload, node, 0).is_none(), "a coin a node");
        let view = transaction::validate(&bytes, &committee).unwrap();
        let shard = committee.shard_of(NodeId(node));
        assert_eq!(view.part_of(shard), transaction::Part::Intra, "node {node}");
        ids.push(view.id());
    }
    tell(&mut workload, 1, ids[1], Fate::Finished(Round(7)));
    tell(&mut workload, 5, ids[5], Fate::Finished(Round(3)));
    assert_eq!(workload.tally().heights, [Round(7), Round(3)]);
    assert_eq!(workload.tally().height_of_all(), Round(3));
    // The members of a shard are heirs of each other, and know what became of each other's transactions.
    workload.node_is_gone(NodeId(5));
    assert!(make(&mut workload, 1, 0).is_some() && make(&mut workload, 0, 0).is_none());
    assert!([4, 6, 7].into_iter().any(|node| make(&mut workload, node, 0).is_some()));
    workload.node_is_gone(NodeId(6));
    workload.ask_for_orphans_at(NodeId(0));
    assert!(workload.take_asks(NodeId(0), 10).is_empty());
    workload.ask_for_orphans_at(NodeId(4));
    assert!(workload.take_asks(NodeId(4), 10).contains(&ids[6]));
    let counts = workload.take_heights();
    assert_eq!(counts, BTreeMap::from([((ShardId(0), Round(7)), 1), ((ShardId(1), Round(3)), 1)]));
}

#[test]
fn fates_other_than_finished() {
    for (fate, goes_on) in [
        (Fate::Expired, true),
        (Fate::Refused(Refusal::Expired), true),
        (Fate::Refused(Refusal::Spent), false),
        (Fate::Rejected(Rejection::Spent), false),
    ] {
        let mut workload = Workload::new(&committee(false, 4), TX_BYTES, 1);
        let one = id(&make(&mut workload, 0, 0).unwrap());
        tell(&mut workload, 0, one, fate);
        assert_eq!(make(&mut workload, 0, 0).is_some(), goes_on, "{fate:?}");
        assert_eq!(workload.tally().committed, 0);
    }
}

#[test]
fn a_full_node_is_left_in_peace_for_a_while() {
    let mut workload = Workload::new(&committee(false, 4), TX_BYTES, 1);
    let one = id(&make(&mut workload, 0, 0).unwrap());
    tell(&mut workload, 0, one, Fate::Refused(Refusal::Full));
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
        tell(&mut workload, 0, one, Fate::Finished(Round(height)));
    }
    assert!(workload.by_id.is_empty() && workload.asked_and_told.is_empty(), "the maps forget");
}
