//! Several shards: transactions with inputs in some and their output in another.

use sha2::{Digest as _, Sha256};
use wire::client::{Fate, Rejection};
use wire::ids::{CoinId, Digest, NodeId, Round, ShardId, TxId};

use super::Bench;
use crate::event::{Effect, Event};
use crate::fault::FaultKind;
use crate::message::{Incoming, Message, encode_order};
use crate::shard::message::{RejectMessage, ShardMessage, Transfer};
use crate::sim::adversary::shapes;
use crate::time::{Span, Time};
use crate::transaction::{Expiry, Input, Output, Owner, Transaction, genesis_coin, refund_coin, tx_id};

const AMOUNT: u64 = 1_000;

impl Bench {
    /// A transaction that spends these genesis coins, by shard and number, ascending, on one output.
    pub(super) fn cross(&self, inputs: &[(u16, u64)], output: u16) -> Vec<u8> {
        let coin = |shard, number| genesis_coin(&self.committee.testbed(), ShardId(shard), number);
        self.cross_of(inputs.iter().map(|(shard, number)| (*shard, coin(*shard, *number))).collect(), output)
    }

    pub(super) fn cross_of(&self, inputs: Vec<(u16, CoinId)>, output: u16) -> Vec<u8> {
        self.cross_until(inputs, output, Round(1_000))
    }

    /// The same with another expiry.
    pub(super) fn cross_until(&self, inputs: Vec<(u16, CoinId)>, output: u16, round: Round) -> Vec<u8> {
        let inputs: Vec<Input> = inputs
            .into_iter()
            .map(|(shard, coin)| Input { shard: ShardId(shard), coin, amount: AMOUNT })
            .collect();
        let mut shards: Vec<ShardId> = inputs.iter().map(|input| input.shard).collect();
        shards.dedup();
        let expiries: Vec<Expiry> = shards.iter().map(|shard| Expiry { shard: *shard, round }).collect();
        Transaction {
            inputs: &inputs,
            output_shard: ShardId(output),
            outputs: &[Output { owner: Owner([1; 32]), amount: AMOUNT * inputs.len() as u64 }],
            expiries: &expiries,
            payload: &[0; 50],
        }
        .encode()
    }

    /// Bytes of CL_M and CL sent, all copies.
    fn reject_bytes(&self) -> usize {
        let sends = self.done.iter().filter_map(|(_, node, effect)| match effect {
            Effect::Send { dest, body, .. } => Some((node, dest, body)),
            _ => None,
        });
        let rejects = sends.filter(|(_, _, body)| {
            matches!(Incoming::decode(body), Some(Incoming::Message(Message::Shard(ShardMessage::Reject(_)))))
        });
        rejects.map(|(node, dest, body)| dest.expand(&self.committee, *node).len() * body.len()).sum()
    }

    fn fates(&self) -> Vec<(TxId, Fate)> {
        self.receipts().into_iter().map(|receipt| (receipt.id, receipt.fate)).collect()
    }

    /// Nothing is open anywhere, all members of each shard have the same ledger, and no value was made or lost.
    fn check_rest(&self) {
        let shards = usize::from(self.committee.shards());
        let mut value = 0;
        for members in self.cores.chunks(self.committee.n()) {
            let status = members[0].status();
            for core in members {
                let status = core.status();
                assert_eq!(core.ledger().digest(), members[0].ledger().digest());
                assert_eq!(
                    (status.mempool, status.open_records, status.pool, status.parts_open, status.held),
                    (0, 0, 0, 0, 0)
                );
            }
            value += status.value;
        }
        assert_eq!(value, 100 * u128::from(AMOUNT) * shards as u128);
    }
}

fn is_reject(event: &Event) -> bool {
    let Event::Peer { body, .. } = event else { return false };
    let Some(Incoming::Message(Message::Shard(ShardMessage::Reject(message)))) = Incoming::decode(body)
    else {
        return false;
    };
    matches!(message, RejectMessage::Rejected { .. })
}

#[test]
fn a_transaction_with_inputs_in_two_shards_finishes_in_a_third() {
    let mut bench = Bench::of(4, 3);
    let transaction = bench.cross(&[(1, 5), (2, 6)], 0);
    bench.submit(NodeId(2), std::slice::from_ref(&transaction));
    bench.run();
    let fates = bench.fates();
    assert!(matches!(fates[..], [(id, Fate::Finished(_))] if id == tx_id(&transaction)), "{fates:?}");
    bench.check_rest();
}

#[test]
fn an_output_shard_may_be_an_input_shard_too() {
    let mut bench = Bench::of(4, 2);
    let transactions = [bench.cross(&[(0, 1), (1, 1)], 0), bench.cross(&[(0, 2), (1, 2)], 1)];
    bench.submit(NodeId(1), &transactions[..1]);
    bench.submit(NodeId(7), &transactions[1..]);
    bench.run();
    assert_eq!(bench.finished().len(), 2, "{:?}", bench.fates());
    bench.check_rest();
}

/// The worked example of the notes, unhappy path: shard 2 has spent before shard 1 is known to reject.
#[test]
fn an_invalid_input_in_one_shard_refunds_the_other() {
    let mut bench = Bench::of(4, 3);
    let unknown = CoinId([9; 32]);
    let valid = genesis_coin(&bench.committee.testbed(), ShardId(2), 6);
    let transaction = bench.cross_of(vec![(1, unknown), (2, valid)], 0);
    let id = tx_id(&transaction);
    bench.submit(NodeId(2), std::slice::from_ref(&transaction));
    bench.run();
    assert_eq!(bench.fates(), [(id, Fate::Rejected(Rejection::UnknownCoin))]);
    bench.check_rest();
    let ledger = bench.cores[8].ledger();
    assert_eq!(ledger.unspent(&valid), None);
    assert_eq!(ledger.unspent(&refund_coin(&id, &valid)), Some(AMOUNT));
    let exchanged = &ledger.exchanged()[0];
    assert_eq!((exchanged.spent.count, exchanged.refunded.count, exchanged.closed.count), (1, 1, 0));
    assert_eq!(bench.cores[4].ledger().exchanged()[0].spent.count, 0, "shard 1 has spent nothing");
    assert_eq!(bench.cores[0].ledger().totals().cancelled, 1);
}

/// Its happy path: the input is spent already, so no block is needed to reject it, and shard 2 drops it unordered.
#[test]
fn an_input_that_is_spent_is_rejected_without_agreement() {
    let mut bench = Bench::of(4, 3);
    let first = bench.cross(&[(1, 5)], 1);
    bench.submit(NodeId(4), std::slice::from_ref(&first));
    bench.run();
    assert_eq!(bench.finished().len(), 1);
    bench.replies.clear();
    let heights: Vec<Round> = bench.cores.iter().map(|core| core.ledger().height()).collect();
    // Only shard 1 gets its order in time: shard 2's members learn of the reject before they propose.
    let second = bench.cross(&[(1, 5), (2, 6)], 0);
    bench.submit(NodeId(0), std::slice::from_ref(&second));
    bench.run();
    assert_eq!(bench.fates(), [(tx_id(&second), Fate::Rejected(Rejection::Spent))]);
    bench.check_rest();
    assert_eq!(bench.cores[4].ledger().height(), heights[4], "shard 1 agreed on nothing for it");
}

/// CL arrives when the pool entry exists and the shard is otherwise idle: the proposer lists BACK at once.
#[test]
fn a_reject_that_comes_after_the_tick_is_acted_on_at_once() {
    const SLOW: Span = Span::from_ms(301);
    let mut bench = Bench::of(4, 3);
    let unknown = CoinId([9; 32]);
    let valid = genesis_coin(&bench.committee.testbed(), ShardId(2), 6);
    let transaction = bench.cross_of(vec![(1, unknown), (2, valid)], 0);
    bench.delay = |to, event| if to.0 < 4 && is_reject(event) { SLOW } else { Span::from_ms(1) };
    bench.submit(NodeId(2), std::slice::from_ref(&transaction));
    bench.run();
    assert_eq!(bench.fates(), [(tx_id(&transaction), Fate::Rejected(Rejection::UnknownCoin))]);
    let is_reply = |(_, _, effect): &&(Time, NodeId, Effect)| matches!(effect, Effect::Reply { .. });
    let (replied, ..) = bench.done.iter().find(is_reply).expect("the client got a reply");
    // Besides the wait: three rounds of some ten hops of 1 ms, in shards 1, 2 and 0, and the time of gathering.
    let least = Time(0) + SLOW;
    assert!((least..least + Span::from_ms(60)).contains(replied), "reply at {replied:?}");
    bench.check_rest();
}

/// Different transactions that spend the spent coin 5 of shard 1.
fn hopeless(bench: &Bench, count: u64) -> Vec<Vec<u8>> {
    let coin = genesis_coin(&bench.committee.testbed(), ShardId(1), 5);
    let made = (0..count).map(|number| {
        Transaction {
            inputs: &[Input { shard: ShardId(1), coin, amount: AMOUNT }],
            output_shard: ShardId(0),
            outputs: &[Output { owner: Owner([2; 32]), amount: AMOUNT }],
            expiries: &[Expiry { shard: ShardId(1), round: Round(900) }],
            payload: &number.to_le_bytes(),
        }
        .encode()
    });
    made.collect()
}

/// Two shards of four; coin 5 of shard 1 is spent.
fn bench_with_a_spent_coin() -> Bench {
    let mut bench = Bench::of(4, 2);
    let first = bench.cross(&[(1, 5)], 1);
    bench.submit(NodeId(4), std::slice::from_ref(&first));
    bench.run();
    bench.replies.clear();
    bench.done.clear();
    bench
}

/// Bytes that the members of shard 1 send when each is ordered the same 30,000 hopeless transactions at once.
fn reject_bytes_of_a_flood(bench: &mut Bench) -> usize {
    let flood = hopeless(bench, 30_000);
    for orders in flood.chunks(10_000) {
        let body = encode_order(orders.iter().map(|transaction| &transaction[..]));
        for to in 4..8 {
            let digest = Digest::default();
            bench.give(NodeId(to), Event::Peer { from: NodeId(3), digest, body: body.clone() });
        }
    }
    bench.run();
    bench.reject_bytes()
}

#[test]
fn orders_that_can_never_execute_cost_a_ration_only() {
    let mut bench = bench_with_a_spent_coin();
    // Each member spends its saved ration, 4 s of 1 MiB a second divided by four, on the same transactions.
    let bytes = reject_bytes_of_a_flood(&mut bench);
    assert!((1 << 20..6 << 20).contains(&bytes), "{bytes} bytes of CL_M and CL");
    // The client of an honest contact gets its reply as without a flood.
    let asked_at = bench.now;
    let rejected = hopeless(&bench, 30_001).pop().expect("there are some");
    bench.submit(NodeId(0), std::slice::from_ref(&rejected));
    bench.run();
    assert_eq!(bench.fates(), [(tx_id(&rejected), Fate::Rejected(Rejection::Spent))]);
    let is_reply = |(_, _, effect): &&(Time, NodeId, Effect)| matches!(effect, Effect::Reply { .. });
    let (replied, ..) = bench.done.iter().rfind(is_reply).expect("the client got a reply");
    assert!(replied.since(asked_at) < Span::from_ms(100), "after {:?}", replied.since(asked_at));
}

#[test]
fn a_client_that_exceeds_the_ration_gets_all_its_receipts() {
    let mut bench = bench_with_a_spent_coin();
    // Each member of shard 1 first gets orders of half of these, and again those that exceeded its ration.
    let all = hopeless(&bench, 10_000);
    bench.submit(NodeId(0), &all);
    bench.run();
    let fates = bench.fates();
    assert_eq!(fates.len(), all.len());
    assert!(fates.iter().all(|(_, fate)| *fate == Fate::Rejected(Rejection::Spent)));
    bench.check_rest();
}

#[cfg(feature = "mutants")]
#[test]
fn without_rations_a_flood_is_answered() {
    use crate::mutant::{self, Mutant};
    mutant::set(Some(Mutant::ReportsAreRationed));
    let bytes = reject_bytes_of_a_flood(&mut bench_with_a_spent_coin());
    mutant::set(None);
    assert!(bytes > 30_000 * 90 * 16 / 2, "{bytes} bytes of CL_M and CL");
}

/// Forges the transfer that a Byzantine member of the source sends in place of the true one.
type Forger = fn(&Transfer) -> Option<Transfer>;

/// A member of shard 1 hands a forged part to the first members of shard 0 before any true one arrives; another
/// transaction follows. Returns the cores a quarter of an hour later, and whether they are at rest.
fn after_a_forged_part(forge: Forger, victims: u16) -> (Bench, bool) {
    let mut bench = Bench::of(4, 2);
    let liar = NodeId(7);
    bench.liar = Some(liar);
    let (first, second) = (bench.cross(&[(1, 5)], 0), bench.cross(&[(1, 6)], 0));
    bench.submit(NodeId(2), &[first]);
    let part_under_way = |bench: &Bench| {
        bench.net.under_way().find_map(|(to, event)| match event {
            Event::Peer { body, .. } if to.0 < 4 => match Incoming::decode(body) {
                Some(Incoming::Transfer(transfer)) => Some(transfer),
                _ => None,
            },
            _ => None,
        })
    };
    let honest = loop {
        match part_under_way(&bench) {
            Some(transfer) => break transfer,
            None => bench.step(),
        }
    };
    let forged = forge(&honest).expect("the part can be forged so");
    assert_ne!(forged, honest);
    let body = forged.encode();
    let digest = Digest(Sha256::digest(&body[..]).into());
    for victim in 0..victims {
        bench.give(NodeId(victim), Event::Peer { from: liar, digest, body: body.clone() });
    }
    bench.run_until(Time(60_000_000));
    bench.submit(NodeId(3), &[second]);
    let is_at_rest = bench.run_until(Time(900_000_000));
    (bench, is_at_rest)
}

/// A part cut down to its header, with the true certificate, is refused by every receiver: by all members of the
/// destination, or by two, so that neither its signers nor those of the true part would reach N−f.
#[test]
fn a_part_cut_down_to_its_header_loses_nothing() {
    for victims in [4, 2] {
        let (bench, is_at_rest) = after_a_forged_part(shapes::emptied, victims);
        assert!(is_at_rest, "{victims} victims");
        assert_eq!(bench.finished().len(), 2, "{victims} victims: {:?}", bench.fates());
        bench.check_rest();
        let blamed: Vec<_> = (0..victims).map(|victim| (NodeId(victim), FaultKind::BadTransfer)).collect();
        assert_eq!(bench.faults, blamed);
    }
}

/// Without the rule such a part is executed and the true items are lost, or the link is dead.
#[cfg(feature = "mutants")]
#[test]
fn part_digests_without_shape_lose_value_or_end_a_link() {
    use crate::mutant::{Mutant, set};

    set(Some(Mutant::PartDigestBindsCounts));
    let outcomes = [4, 2].map(|victims| {
        let (bench, is_at_rest) = after_a_forged_part(shapes::emptied, victims);
        let imported = bench.cores[0].ledger().imported(ShardId(1)).0;
        (
            is_at_rest,
            bench.finished().len(),
            imported,
            bench.cores[4].status().open_records,
            bench.faults.len(),
        )
    });
    set(None);
    assert_eq!(outcomes, [(false, 1, 2, 1, 0), (false, 0, 0, 2, 0)]);
}
