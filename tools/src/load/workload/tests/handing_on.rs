//! Transactions whose contact is silent.

use super::*;

const OTHERS: [NodeId; 3] = [NodeId(0), NodeId(1), NodeId(2)];

/// A workload in which one transaction was handed to node 3 and on to node 0, and the transaction.
fn handed_on() -> (Workload, TxId) {
    let mut workload = workload();
    let one = id(&make(&mut workload, 3, 0).unwrap());
    workload.note_silence(NodeId(3), true);
    workload.hand_on(NodeId(3), &OTHERS);
    (workload, one)
}

#[test]
fn what_is_open_at_a_silent_node_is_asked_for_elsewhere_and_handed_in_where_it_is_unknown() {
    let (mut workload, one) = handed_on();
    assert_eq!((workload.open_at(NodeId(3)), workload.open_at(NodeId(0))), (0, 1));
    assert!(workload.take_queries(NodeId(3), 10).is_empty());
    assert_eq!(workload.take_queries(NodeId(0), 10), [one]);
    let mut out = Vec::new();
    assert!(!workload.make_again(NodeId(0), &mut out), "it is asked for first");
    receive(&mut workload, 0, one, Fate::Unknown);
    assert!(workload.make_again(NodeId(0), &mut out) && id(&out[4..]) == one, "to the byte");
    receive(&mut workload, 0, one, Fate::Finished(Round(2)));
    let tally = workload.tally();
    assert_eq!((tally.handed_on, tally.resubmitted, tally.committed), (1, 1, 1));
    assert_eq!(tally.latency().max_us(), Some(10_000), "from the time at which it was first intended");
    // The silent one is back, and has executed it in the same block, refused it, or says the same in other words.
    receive(&mut workload, 3, one, Fate::Finished(Round(2)));
    receive(&mut workload, 3, one, Fate::Refused(Refusal::Duplicate));
    let tally = workload.tally();
    assert_eq!((tally.committed, tally.duplicated, tally.refused.len()), (1, 0, 0));
}

#[test]
fn what_is_known_elsewhere_is_not_handed_in() {
    let (mut workload, one) = handed_on();
    receive(&mut workload, 0, one, Fate::Finished(Round(2)));
    assert!(!workload.make_again(NodeId(0), &mut Vec::new()));
    assert_eq!((workload.tally().resubmitted, workload.tally().committed), (0, 1));
}

#[test]
fn the_first_final_receipt_counts_whoever_sends_it() {
    let (mut workload, one) = handed_on();
    receive(&mut workload, 0, one, Fate::Unknown);
    receive(&mut workload, 3, one, Fate::Finished(Round(2)));
    assert!(!workload.make_again(NodeId(0), &mut Vec::new()), "it has its end");
    assert_eq!(workload.in_flight_and_orphaned(), (0, 0));
    receive(&mut workload, 0, one, Fate::Finished(Round(2)));
    assert_eq!((workload.tally().committed, workload.tally().duplicated), (1, 0));
}

#[test]
fn reasons_of_a_rejection_may_differ_and_fates_may_not() {
    for (second, duplicated) in [(Fate::Rejected(Rejection::Cancelled), 0), (Fate::Finished(Round(1)), 1)] {
        let (mut workload, one) = handed_on();
        receive(&mut workload, 0, one, Fate::Rejected(Rejection::Spent));
        receive(&mut workload, 3, one, second);
        assert_eq!(workload.tally().duplicated, duplicated, "{second:?}");
    }
}

#[test]
fn refusals_of_the_silent_node_are_no_fates() {
    for reason in [Refusal::Duplicate, Refusal::Spent, Refusal::Expired, Refusal::Full, Refusal::Invalid] {
        let (mut workload, one) = handed_on();
        receive(&mut workload, 3, one, Fate::Refused(reason));
        assert_eq!(workload.in_flight_and_orphaned(), (1, 0), "{reason:?}");
        // It is no reason to take the next one's ignorance for a refusal.
        receive(&mut workload, 0, one, Fate::Unknown);
        assert!(workload.make_again(NodeId(0), &mut Vec::new()), "{reason:?}");
        let asks_there = matches!(reason, Refusal::Duplicate | Refusal::Spent);
        assert_eq!(!workload.take_queries(NodeId(3), 10).is_empty(), asks_there, "{reason:?}");
    }
}

#[test]
fn a_refusal_for_want_of_room_does_not_end_what_the_silent_node_may_have() {
    let (mut workload, one) = handed_on();
    workload.take_queries(NodeId(0), 10);
    receive(&mut workload, 0, one, Fate::Unknown);
    assert!(workload.make_again(NodeId(0), &mut Vec::new()));
    receive(&mut workload, 0, one, Fate::Refused(Refusal::Full));
    assert_eq!((workload.in_flight_and_orphaned(), workload.tally().refused.len()), ((1, 0), 0));
    workload.retry(10_000 + REST_US - 1);
    assert!(workload.take_queries(NodeId(0), 10).is_empty(), "it rests");
    workload.retry(10_000 + REST_US);
    assert_eq!(workload.take_queries(NodeId(0), 10), [one]);
    // One that was not handed on is over, and its chain goes on.
    let two = id(&make(&mut workload, 1, 0).unwrap());
    receive(&mut workload, 1, two, Fate::Refused(Refusal::Full));
    assert_eq!(workload.tally().refused[&Refusal::Full], 1);
}

#[test]
fn chains_stay_at_their_nodes_and_others_borrow_them_meanwhile() {
    let (mut workload, one) = handed_on();
    receive(&mut workload, 0, one, Fate::Finished(Round(1)));
    // Of 8 chains each node has two; those of node 3 are borrowed when the own ones are out.
    let borrowed: Vec<TxId> =
        std::iter::from_fn(|| make(&mut workload, 0, 0)).map(|bytes| id(&bytes)).collect();
    assert_eq!(borrowed.len(), 4);
    workload.note_silence(NodeId(3), false);
    borrowed.iter().for_each(|id| receive(&mut workload, 0, *id, Fate::Finished(Round(2))));
    for node in [0, 3] {
        assert_eq!(std::iter::from_fn(|| make(&mut workload, node, 0)).count(), 2, "node {node}");
    }
}

#[test]
fn each_silence_hands_on_again_even_orphans() {
    let (mut workload, one) = handed_on();
    workload.hand_on(NodeId(0), &[NodeId(1)]);
    workload.hand_on(NodeId(1), &[]);
    assert_eq!(workload.take_queries(NodeId(1), 10), [one], "nobody is left to hand it on to");
    workload.node_is_gone(NodeId(1));
    assert_eq!(workload.in_flight_and_orphaned(), (0, 1));
    workload.hand_on(NodeId(1), &[NodeId(2)]);
    assert_eq!((workload.in_flight_and_orphaned(), workload.tally().handed_on), ((1, 0), 3));
    receive(&mut workload, 2, one, Fate::Finished(Round(4)));
    assert_eq!(workload.in_flight_and_orphaned(), (0, 0));
}

#[test]
fn crossing_transactions_stay_in_their_output_shard() {
    let mut workload = crossing(2, 8, 0.0);
    let bytes = make(&mut workload, 5, 0).unwrap();
    workload.hand_on(NodeId(5), &[NodeId(4), NodeId(6)]);
    receive(&mut workload, 4, id(&bytes), Fate::Unknown);
    let mut out = Vec::new();
    assert!(workload.make_again(NodeId(4), &mut out));
    assert_eq!(out[4..], bytes);
    assert_eq!(TransactionView::parse(&bytes).unwrap().output_shard(), ShardId(1));
}

#[test]
fn a_chain_in_doubt_asks_a_member_that_answers() {
    let mut workload = crossing(2, 4, 1.0);
    let one = id(&make(&mut workload, 0, 0).unwrap());
    receive(&mut workload, 0, one, Fate::Rejected(Rejection::Cancelled));
    let in_doubt = workload.doubtful();
    assert!(in_doubt > 0);
    let node = (0..8).map(NodeId).find(|node| !workload.pool(*node).doubtful.is_empty()).unwrap();
    let others: Vec<NodeId> = workload.members_of(node).filter(|other| *other != node).collect();
    workload.note_silence(node, true);
    workload.hand_on(node, &others);
    assert_eq!((workload.doubtful(), workload.pool(node).doubtful.len()), (in_doubt, 0));
    let chain = (0..).find(|chain| workload.home(*chain) == node).unwrap();
    workload.begin_doubt(chain, 0);
    assert!(workload.pool(node).doubtful.is_empty());
}
