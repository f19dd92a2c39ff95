use std::sync::Arc;

use wire::committee::{Committee, Member, Protocol};
use wire::ids::{CoinId, NodeId, Round, ShardId};

use super::*;
use crate::crypto::hash_suite::HashSuite;
use crate::transaction::{Expiry, Input, Output, Owner, Transaction};

/// The rules at a member of shard 0.
fn rules(n: u16, shards: u16, proposal_bytes_max: u64) -> Rules {
    let member = Member { public_key: [1; 32], coin_commitment: [2; 32] };
    let protocol = Protocol { proposal_bytes_max, ..Protocol::default() };
    let members = vec![member; usize::from(n * shards)];
    let committee = Arc::new(Committee::new(n, protocol, members, [3; 32]));
    let suite = Arc::new(HashSuite::new(&committee, NodeId(0), 9));
    Rules::new(&crate::member::Member::new(committee, suite, NodeId(0)))
}

fn transaction(coin: u8, amount: u64) -> Vec<u8> {
    Transaction {
        inputs: &[Input { shard: ShardId(0), coin: CoinId([coin; 32]), amount }],
        output_shard: ShardId(0),
        outputs: &[Output { owner: Owner([0; 32]), amount }],
        expiries: &[Expiry { shard: ShardId(0), round: Round(9) }],
        payload: &vec![coin; usize::from(coin)],
    }
    .encode()
}

fn payload(transactions: &[Vec<u8>]) -> Vec<u8> {
    let mut builder = ProposalBuilder::new(Vec::new(), 1 << 20, 100);
    for transaction in transactions {
        assert_eq!(builder.push(transaction), Push::Added);
    }
    builder.finish()
}

#[test]
fn a_view_gives_back_what_was_built() {
    let transactions: Vec<Vec<u8>> = (0..5).map(|coin| transaction(coin, 1)).collect();
    let payload = payload(&transactions);
    let view = rules(1, 1, 1 << 20).validate(&payload).unwrap();
    assert_eq!((view.len(), view.is_empty()), (5, false));
    assert_eq!(view.transactions().map(|view| view.bytes().to_vec()).collect::<Vec<_>>(), transactions);
}

#[test]
fn empty_payloads_are_valid() {
    let rules = rules(1, 1, 1 << 20);
    for bytes in [&payload(&[])[..], &[0], &[1, TRANSACTIONS, 4, 0, 0, 0, 0, 0, 0, 0]] {
        let view = rules.validate(bytes).unwrap();
        assert_eq!((view.is_empty(), view.transactions().count()), (true, 0));
    }
}

#[test]
fn a_builder_stops_at_its_limits() {
    let item = transaction(0, 1);
    let two = 1 + LIST_ENVELOPE_BYTES + 2 * list::item_bytes(item.len());
    for (bytes_max, count_max, fit) in [(two, 10, 2), (two - 1, 10, 1), (1 << 20, 3, 3), (1 << 20, 0, 0)] {
        let mut builder = ProposalBuilder::new(b"before".to_vec(), bytes_max, count_max);
        builder.reserve(1 << 30);
        let added = (0..10).take_while(|_| builder.push(&item) == Push::Added).count();
        assert_eq!((added, builder.count(), builder.is_full()), (fit, fit, true));
        let buffer = builder.finish();
        let payload = buffer.strip_prefix(b"before").expect("what was there stays");
        assert!(payload.len() <= bytes_max);
        assert_eq!(rules(1, 1, 1 << 20).validate(payload).unwrap().len(), fit);
    }
}

#[test]
fn each_rule_refuses_what_breaks_it() {
    let good = payload(&[transaction(1, 1), transaction(2, 1)]);
    let generous = rules(1, 1, 1 << 20);
    assert!(rules(1, 1, good.len() as u64).validate(&good).is_ok());
    assert_eq!(rules(1, 1, good.len() as u64 - 1).validate(&good), Err(Invalid::TooLarge));
    for end in 0..good.len() {
        assert!(generous.validate(&good[..end]).is_err(), "cut off at {end}");
    }
    assert_eq!(generous.validate(&[&good[..], &[0]].concat()), Err(Invalid::Sections));
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    assert_eq!(generous.validate(&changed(1, 9)), Err(Invalid::UnknownSection(9)));
    assert_eq!(generous.validate(&changed(1, 1)), Err(Invalid::Imports), "no imports by their length");
    assert_eq!(generous.validate(&changed(1, 2)), Err(Invalid::Cancels), "no ids by their length");
    assert_eq!(generous.validate(&changed(1, 0)), Err(Invalid::Sections));
    assert_eq!(generous.validate(&changed(6, 1)), Err(Invalid::List), "fewer than there are");
    assert_eq!(generous.validate(&changed(6, 3)), Err(Invalid::List), "more than there are");
    assert_eq!(generous.validate(&changed(13, 0xFF)), Err(Invalid::List), "an item of 4 GiB");
    let twice = [&[2], &good[1..], &good[1..]].concat();
    assert_eq!(generous.validate(&twice), Err(Invalid::Sections), "a section twice");
    let bad = payload(&[transaction(1, 1), transaction(2, 0)]);
    assert_eq!(
        generous.validate(&bad),
        Err(Invalid::Transaction(1, transaction::Invalid::ZeroAmount)),
        "one bad transaction makes the entry invalid"
    );
}
