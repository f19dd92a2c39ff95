//! Contacts and orders.

use std::cell::Cell;

use wire::limits::FORGET_ROUNDS_AFTER_EXPIRY;

use super::*;
use crate::ledger::CrossEvent;
use crate::message::encode_order;
use crate::pending::PendingStep;
use crate::shard::home::home_of;
use crate::time::Span;
use crate::trace::Tracing;
use crate::transaction::refund_coin;

const ONE: ShardId = ShardId(1);
const TWO: ShardId = ShardId(2);
/// A member of shard 1, one of shard 2.
const PETER: NodeId = NodeId(4);
const PAUL: NodeId = NodeId(8);
const SECOND: Span = Span::from_ms(1_000);

fn bench_with(limits: MempoolLimits) -> Bench {
    let protocol = Protocol { genesis_coins: 40, genesis_amount: 100, ..Protocol::default() };
    Bench::of(Committee::new(4, protocol, vec![keys(); 12], [3; 32]), limits)
}

fn bench() -> Bench {
    bench_with(MempoolLimits::default())
}

/// A transaction that spends the genesis coin `index` of each of these shards.
fn spend(bench: &Bench, shards: &[ShardId], index: u64, output_shard: ShardId, expiry: u64) -> Vec<u8> {
    spend_with(bench, shards, index, output_shard, expiry, b"")
}

fn spend_with(
    bench: &Bench,
    shards: &[ShardId],
    index: u64,
    output_shard: ShardId,
    expiry: u64,
    payload: &[u8],
) -> Vec<u8> {
    let testbed = bench.ledger.committee().testbed();
    let input = |shard: &ShardId| {
        let coin = genesis_coin(&testbed, *shard, index);
        Input { shard: *shard, coin, amount: 100 }
    };
    let inputs: Vec<Input> = shards.iter().map(input).collect();
    let expiries: Vec<Expiry> =
        shards.iter().map(|shard| Expiry { shard: *shard, round: Round(expiry) }).collect();
    let outputs: Vec<transaction::Output> =
        shards.iter().map(|_| transaction::Output { owner: Owner([7; 32]), amount: 100 }).collect();
    Transaction { inputs: &inputs, output_shard, outputs: &outputs, expiries: &expiries, payload }.encode()
}

/// The same whose home in each shard is this member.
fn homed(
    bench: &Bench,
    home: u16,
    shards: &[ShardId],
    index: u64,
    output_shard: ShardId,
    expiry: u64,
) -> Vec<u8> {
    let all = (0u8..=255).map(|byte| spend_with(bench, shards, index, output_shard, expiry, &[byte]));
    all.into_iter().find(|bytes| home_of(&tx_id(bytes), 4) == Index(home)).expect("one in four has it")
}

/// Hands a transaction in; `Err` with its fate if it is not taken.
fn hand_in(bench: &mut Bench, client: ClientId, bytes: &[u8]) -> Result<(), Fate> {
    let (body, all) = (Bytes::from(bytes.to_vec()), 0..bytes.len());
    let output =
        bench.pending.submit(Time(0), client, &body, std::slice::from_ref(&all), &bench.ledger, Tracing::Off);
    match output.receipts.into_values().flatten().next() {
        Some(receipt) => Err(receipt.fate),
        None => {
            let view = TransactionView::parse(bytes).expect("it is well-formed");
            let reach = view.part_of(bench.ledger.shard());
            assert_eq!(output.steps, [PendingStep::Admitted(tx_id(bytes), reach)]);
            Ok(())
        }
    }
}

/// Two members of shard 1 call a transaction rejected.
fn believe(bench: &mut Bench, id: TxId, cause: Cause) -> Receipts {
    let mut receipts = Receipts::new();
    for node in [4, 5] {
        let message = RejectMessage::Rejected { imported: PartNumber(0), ids: vec![(id, cause)] };
        receipts = bench.pending.on_reject(Time(0), NodeId(node), message, &bench.ledger).receipts;
    }
    receipts
}

/// A member of its output shard asks us to order a transaction; whether it takes up room now.
fn order(bench: &mut Bench, from: NodeId, bytes: &[u8], now: Time) -> bool {
    let before = bench.pending.len();
    let body = encode_order([bytes].into_iter());
    let output = bench.pending.on_order(now, from, &body.slice(1..body.len()), &bench.ledger);
    assert_eq!(output, Output::default());
    bench.pending.len() > before
}

/// Executes a block in which these members list this cancel.
fn cancel(bench: &mut Bench, id: TxId, members: &[u16]) -> Receipts {
    let mut builder = ProposalBuilder::new(Vec::new(), ROOM, 1_000);
    assert_eq!(builder.push_cancel(id), Push::Added);
    let payload = builder.finish();
    let entries = members.iter().map(|member| (Index(*member), &payload));
    let outcome = bench.ledger.execute(bench.ledger.height().next(), entries, &|_| None);
    bench.pending.executed(Time(0), &outcome, &bench.ledger).receipts
}

/// Executes an empty block that is said to have brought these ends.
fn execute_with(bench: &mut Bench, events: Vec<CrossEvent>) -> Receipts {
    let no_entries: [(Index, Vec<u8>); 0] = [];
    let mut outcome = bench.ledger.execute(bench.ledger.height().next(), no_entries, &|_| None);
    outcome.cross.extend(events);
    bench.pending.executed(Time(0), &outcome, &bench.ledger).receipts
}

fn assert_empty(bench: &Bench) {
    let pending = &bench.pending;
    assert!(pending.is_empty() && pending.list.is_empty());
    assert_eq!((pending.waiting(), pending.waiting_bytes()), (0, 0));
    assert_eq!((pending.list.standing(), pending.list.asked_for()), (0, 0));
}

#[test]
fn the_contact_keeps_a_transaction_of_other_shards_until_its_end() {
    let mut bench = bench();
    let bytes = spend(&bench, &[ONE, TWO], 0, HERE, 50);
    let id = tx_id(&bytes);
    assert_eq!(hand_in(&mut bench, ALICE, &bytes), Ok(()));
    assert_eq!((bench.pending.len(), bench.pending.waiting()), (1, 0), "there is nothing to propose here");
    let kept = bench.pending.list.get(bench.pending.list.find(&id).unwrap()).bytes.clone();
    assert_eq!(kept.map(|kept| kept.to_vec()), Some(bytes.clone()));
    assert_eq!(hand_in(&mut bench, BOB, &bytes), Err(Fate::Refused(Refusal::Duplicate)));
    assert_eq!(bench.pending.query(BOB, &[id], &bench.ledger), []);
    bench.skip_to(60);
    let finished = Fate::Finished(Round(61));
    let receipts_of_both = receipts(&[(ALICE, &bytes, finished), (BOB, &bytes, finished)]);
    assert_eq!(execute_with(&mut bench, vec![CrossEvent::Finished { id }]), receipts_of_both);
    assert_empty(&bench);
    assert_eq!(execute_with(&mut bench, vec![CrossEvent::Cancelled { id }]), Receipts::new(), "one receipt");
}

#[test]
fn only_members_of_the_output_shard_take_a_cross_shard_transaction_from_a_client() {
    let mut bench = bench();
    for shards in [&[HERE][..], &[HERE, TWO], &[TWO]] {
        let bytes = spend(&bench, shards, 0, ONE, 50);
        assert_eq!(hand_in(&mut bench, ALICE, &bytes), Err(Fate::Refused(Refusal::WrongShard)));
    }
    assert_empty(&bench);
}

#[test]
fn inputs_at_the_output_shard_are_proposed_by_the_contact_and_a_cancel_ends_it() {
    for (believed, fate) in [
        (None, Fate::Rejected(Rejection::Cancelled)),
        (Some(Cause::Expired), Fate::Expired),
        (Some(Cause::Rejected(Rejection::Spent)), Fate::Rejected(Rejection::Spent)),
    ] {
        let mut bench = bench();
        let bytes = spend(&bench, &[HERE, ONE], 0, HERE, 50);
        let id = tx_id(&bytes);
        assert_eq!(hand_in(&mut bench, ALICE, &bytes), Ok(()));
        let payload = bench.take().0.unwrap();
        assert_eq!(payload, of(&[&bytes]));
        assert_eq!(bench.execute(&[payload]), Receipts::new(), "spent here is not the end");
        assert_eq!((bench.pending.len(), bench.pending.waiting()), (1, 0));
        assert!(bench.ledger.pool_entry(&id).is_some());
        if let Some(cause) = believed {
            assert_eq!(
                believe(&mut bench, id, cause),
                Receipts::new(),
                "the block that cancels it brings them"
            );
        }
        assert_eq!(cancel(&mut bench, id, &[0]), Receipts::new(), "one member is not enough");
        assert_eq!(cancel(&mut bench, id, &[1]), receipts(&[(ALICE, &bytes, fate)]));
        assert_empty(&bench);
        let refund = refund_coin(&id, &bench.coin(0));
        assert_eq!(bench.ledger.unspent(&refund), Some(100));
        let told = bench.pending.query(ALICE, &[id], &bench.ledger);
        assert_eq!(told, [Receipt { id, fate: Fate::Rejected(Rejection::Cancelled) }]);
        assert!(hand_in(&mut bench, ALICE, &bytes).is_err(), "it is rejected for good");
    }
}

/// The block that orders it afterwards skips it as a duplicate, so nothing else would take it off the list.
#[test]
fn a_cancelled_transaction_leaves_the_list_even_if_proposed() {
    let mut bench = bench();
    let bytes = spend(&bench, &[HERE, ONE], 0, HERE, 50);
    let id = tx_id(&bytes);
    assert_eq!(hand_in(&mut bench, ALICE, &bytes), Ok(()));
    assert!(bench.take().0.is_some());
    let cancelled = receipts(&[(ALICE, &bytes, Fate::Rejected(Rejection::Cancelled))]);
    assert_eq!(execute_with(&mut bench, vec![CrossEvent::Cancelled { id }]), cancelled);
    assert_empty(&bench);
}

#[test]
fn a_pooled_transaction_handed_in_again_gets_a_receipt() {
    let mut bench = bench();
    let bytes = spend(&bench, &[HERE, ONE], 0, HERE, 50);
    let id = tx_id(&bytes);
    bench.execute(&[of(&[&bytes])]);
    assert_eq!(hand_in(&mut bench, BOB, &bytes), Ok(()));
    assert_eq!(bench.pending.waiting(), 0, "what is spent is not proposed again");
    let cancelled = receipts(&[(BOB, &bytes, Fate::Rejected(Rejection::Cancelled))]);
    assert_eq!(cancel(&mut bench, id, &[0, 3]), cancelled);
    assert_empty(&bench);
}

#[test]
fn a_transaction_that_can_never_execute_here_is_reported_to_client_and_shards() {
    let mut bench = bench();
    let late = spend(&bench, &[HERE, ONE, TWO], 1, HERE, 5);
    let rival = spend(&bench, &[HERE, ONE, TWO], 0, HERE, 50);
    let ordered = homed(&bench, 0, &[HERE, ONE], 0, TWO, 50);
    for bytes in [&late, &rival] {
        assert_eq!(hand_in(&mut bench, ALICE, bytes), Ok(()));
    }
    assert!(order(&mut bench, PAUL, &ordered, Time(0)));
    bench.execute(&[of(&[&bench.spend(0)])]);
    bench.skip_to(4);
    let vote = |bytes: &[u8], cause| RejectVote { id: tx_id(bytes), others: vec![ONE, TWO], cause };
    let votes = |votes| {
        let message = RejectMessage::Votes { executed: Round(5), votes };
        (Dest::ShardOthers, PendingSend::Reject(message))
    };
    let expired = bench.step(&[]);
    assert_eq!(expired.receipts, receipts(&[(ALICE, &late, Fate::Expired)]));
    assert_eq!(expired.sends, [votes(vec![vote(&late, Cause::Expired)])]);
    let mut builder = ProposalBuilder::new(Vec::new(), ROOM, 1_000);
    let taken = bench.pending.take(Time(0), &mut builder, &bench.ledger);
    assert!(builder.is_empty());
    let spent = Cause::Rejected(Rejection::Spent);
    assert_eq!(taken.receipts, receipts(&[(ALICE, &rival, spent.fate())]));
    assert_eq!(taken.sends, [votes(vec![vote(&rival, spent), vote(&ordered, spent)])]);
    assert_empty(&bench);
}

#[test]
fn a_rejection_by_a_block_of_the_output_shard_ends_it() {
    let mut bench = bench();
    let bytes = spend(&bench, &[HERE, ONE], 0, HERE, 50);
    assert_eq!(hand_in(&mut bench, ALICE, &bytes), Ok(()));
    let payload = bench.take().0.unwrap();
    let spent = Fate::Rejected(Rejection::Spent);
    assert_eq!(bench.execute(&[of(&[&bench.spend(0)]), payload]), receipts(&[(ALICE, &bytes, spent)]));
    assert_empty(&bench);
}

#[test]
fn a_rejection_elsewhere_ends_it_once_and_takes_it_off_the_list() {
    let mut bench = bench();
    let bytes = spend(&bench, &[HERE, ONE], 0, HERE, 50);
    let id = tx_id(&bytes);
    assert_eq!(hand_in(&mut bench, ALICE, &bytes), Ok(()));
    let cause = Cause::Rejected(Rejection::WrongAmount);
    assert_eq!(believe(&mut bench, id, cause), receipts(&[(ALICE, &bytes, cause.fate())]));
    assert_eq!(believe(&mut bench, id, cause), Receipts::new());
    assert_eq!(bench.take().0, None);
    assert_empty(&bench);
    let again = hand_in(&mut bench, ALICE, &bytes);
    assert_eq!(again, Err(cause.fate()), "what is believed already is told at once");
    assert_empty(&bench);
}

/// Members of input shards that have forgotten a finished transaction call it expired; so may one that was behind and
/// took over a state, after which its client hands the transaction in again.
#[test]
fn what_may_have_finished_and_is_forgotten_is_refused_though_others_call_it_expired() {
    let mut bench = bench();
    let bytes = spend(&bench, &[HERE, ONE], 0, HERE, 5);
    assert_eq!(believe(&mut bench, tx_id(&bytes), Cause::Expired), Receipts::new());
    bench.skip_to(5 + FORGET_ROUNDS_AFTER_EXPIRY - 1);
    assert_eq!(hand_in(&mut bench, ALICE, &bytes), Err(Fate::Expired), "had it finished, we would know");
    bench.skip_to(5 + FORGET_ROUNDS_AFTER_EXPIRY);
    assert_eq!(hand_in(&mut bench, ALICE, &bytes), Err(Fate::Refused(Refusal::Expired)));
    assert_empty(&bench);
}

#[test]
fn the_home_proposes_an_order_at_once_and_forgets_it_when_a_block_spends() {
    let mut bench = bench();
    let bytes = homed(&bench, 0, &[HERE, ONE], 0, ONE, 50);
    assert!(order(&mut bench, PETER, &bytes, Time(0)));
    assert!(!order(&mut bench, NodeId(5), &bytes, Time(0)), "it is known");
    let payload = bench.take().0.unwrap();
    assert_eq!(payload, of(&[&bytes]));
    let _ = believe(&mut bench, tx_id(&bytes), Cause::Expired);
    assert_eq!(bench.pending.len(), 1, "what is proposed stays open until its block");
    assert_eq!(bench.execute(&[payload]), Receipts::new());
    assert_empty(&bench);
}

#[test]
fn backups_wait_for_the_home_and_then_take_only_what_room_is_left() {
    let mut bench = bench();
    let first = homed(&bench, 2, &[HERE], 0, ONE, 900);
    let second = homed(&bench, 3, &[HERE], 1, ONE, 900);
    let idle = Cell::new(0);
    let promote = |bench: &mut Bench, now: Time| {
        bench.pending.promote(
            now,
            bench.ledger.height(),
            |home| if home == Index(2) { idle.get() } else { 0 },
        );
    };
    assert!(order(&mut bench, PETER, &first, Time(0)));
    assert!(order(&mut bench, PETER, &second, Time(1)));
    assert_eq!(bench.pending.next_wakeup(bench.ledger.height()), Some(Time(0) + Span(5 * SECOND.0)));
    idle.set(100);
    promote(&mut bench, Time(5));
    assert_eq!(
        (bench.take().0, bench.pending.waiting_bytes()),
        (None, 0),
        "an idle lane has had no cuts yet"
    );
    bench.skip_to(16);
    promote(&mut bench, Time(6));
    assert_eq!(bench.pending.waiting(), 1, "the home that is not idle is still waited for");
    let due = Time(1) + Span(2 * SECOND.0);
    assert_eq!(bench.pending.next_wakeup(bench.ledger.height()), Some(due));
    promote(&mut bench, due);
    assert_eq!((bench.pending.waiting(), bench.pending.next_wakeup(bench.ledger.height())), (2, None));
    let own = [bench.spend(5), bench.spend(6)];
    assert_eq!(bench.submit(ALICE, &[&own[0], &own[1]]), []);
    assert_eq!(bench.take_up_to(ROOM, 1).0, Some(of(&[&own[0]])), "the own line goes first");
    assert_eq!(bench.take_up_to(ROOM, 2).0, Some(of(&[&own[1], &first])));
    assert_eq!(bench.execute(&[of(&[&first, &second])]), Receipts::new());
    assert_eq!((bench.take().0, bench.pending.len()), (None, 2), "the home has proposed it in the meantime");
}

#[test]
fn a_backup_that_others_propose_leaves_no_trace() {
    let mut bench = bench();
    let orders: Vec<Vec<u8>> = (0..20).map(|index| spend(&bench, &[HERE], index, ONE, 900)).collect();
    for bytes in &orders {
        assert!(order(&mut bench, PETER, bytes, Time(0)));
    }
    let all: Vec<&[u8]> = orders.iter().map(Vec::as_slice).collect();
    bench.execute(&[of(&all[10..]), of(&all[..10])]);
    assert_empty(&bench);
    assert_eq!(bench.pending.next_wakeup(bench.ledger.height()), None);
}

#[test]
fn a_client_makes_us_the_home_of_what_a_peer_asked_for() {
    let mut bench = bench();
    let bytes = homed(&bench, 2, &[HERE, ONE], 0, HERE, 50);
    assert!(order(&mut bench, NodeId(3), &bytes, Time(0)));
    assert_eq!(bench.take().0, None);
    assert_eq!(hand_in(&mut bench, ALICE, &bytes), Ok(()));
    assert_eq!((bench.pending.len(), bench.pending.waiting()), (1, 1), "it is in the books once");
    assert_eq!(bench.take().0, Some(of(&[&bytes])));
    bench.pending.promote(Time(u64::MAX), Round(40), |_| 100);
    assert_eq!(bench.take().0, None, "its place in the line of the other home is empty");
    bench.execute(&[of(&[&bytes])]);
    let cancelled = receipts(&[(ALICE, &bytes, Fate::Rejected(Rejection::Cancelled))]);
    assert_eq!(cancel(&mut bench, tx_id(&bytes), &[0, 1]), cancelled);
    assert_empty(&bench);
}

#[test]
fn a_peer_fills_its_own_part_of_the_peers_room_and_no_more() {
    // Twelve nodes share half of 48 places: two each.
    let limits = MempoolLimits { transactions_max: 48, ..MempoolLimits::default() };
    let mut bench = bench_with(limits);
    let orders: Vec<Vec<u8>> = (0..4).map(|index| homed(&bench, 0, &[HERE], index, ONE, 50)).collect();
    let ask = |bench: &mut Bench, from, at: usize| order(bench, from, &orders[at], Time(0));
    assert!(ask(&mut bench, PETER, 0));
    assert!(ask(&mut bench, PETER, 1));
    assert!(!ask(&mut bench, PETER, 2));
    assert!(ask(&mut bench, NodeId(5), 2), "another peer has its own part");
    let payload = bench.take().0.unwrap();
    assert!(!ask(&mut bench, PETER, 3), "what is proposed counts");
    for index in 10..34 {
        let bytes = bench.spend(index);
        assert_eq!(bench.submit(ALICE, &[&bytes]), [], "peers take nothing from clients");
    }
    bench.execute(&[payload]);
    assert!(ask(&mut bench, PETER, 3));
    let length = orders[0].len() as u64;
    // Each has room for one and a half.
    let limits = MempoolLimits { bytes_max: 36 * length, ..MempoolLimits::default() };
    let mut bench = bench_with(limits);
    assert!(ask(&mut bench, PETER, 0));
    assert!(!ask(&mut bench, PETER, 1));
}

#[test]
fn contacts_fill_their_clients_shares() {
    let limits = MempoolLimits { transactions_max: 4, ..MempoolLimits::default() };
    let mut bench = bench_with(limits);
    for index in 0..2 {
        let bytes = spend(&bench, &[ONE], index, HERE, 50);
        assert_eq!(hand_in(&mut bench, ALICE, &bytes), Ok(()));
    }
    let third = spend(&bench, &[ONE], 2, HERE, 50);
    assert_eq!(hand_in(&mut bench, ALICE, &third), Err(Fate::Refused(Refusal::ClientShare)));
    bench.pending.client_gone(ALICE);
    for index in 0..2 {
        let id = tx_id(&spend(&bench, &[ONE], index, HERE, 50));
        assert_eq!(believe(&mut bench, id, Cause::Expired), Receipts::new(), "nobody listens");
    }
    assert!(bench.pending.accounts.clients.is_empty());
    assert_eq!(hand_in(&mut bench, BOB, &third), Ok(()));
}

#[test]
fn through_random_orders_and_blocks_the_list_ends_empty() {
    for seed in 0..20 {
        let mut prng = Prng::new(seed);
        let mut bench = bench();
        let pool: Vec<Vec<u8>> = (0..30)
            .map(|at| {
                let shards = if at % 3 == 0 { &[HERE, TWO][..] } else { &[HERE] };
                spend(&bench, shards, at / 2, if at % 2 == 0 { ONE } else { TWO }, 20 + at)
            })
            .collect();
        let mut lane: VecDeque<Vec<u8>> = VecDeque::new();
        let mut now = Time(0);
        for _ in 0..300 {
            now = now + Span::from_ms(prng.below(400));
            let bytes = prng.pick(&pool).unwrap().clone();
            let view = TransactionView::parse(&bytes).unwrap();
            let id = tx_id(&bytes);
            match prng.below(6) {
                0..3 => {
                    let from = if view.output_shard() == ONE { PETER } else { PAUL };
                    let body = encode_order([&bytes[..]].into_iter());
                    let output = bench.pending.on_order(now, from, &body.slice(1..body.len()), &bench.ledger);
                    assert_eq!(output.faults, [], "seed {seed}");
                }
                3 if prng.chance(1, 10) => _ = believe(&mut bench, id, Cause::Expired),
                3 => {}
                4 => {
                    let entries: Vec<Vec<u8>> = lane.drain(..).collect();
                    bench.execute(&entries);
                }
                _ => {
                    bench.pending.promote(now, bench.ledger.height(), |_| 0);
                    let mut builder = ProposalBuilder::new(Vec::new(), ROOM, prng.within(1..5) as usize);
                    let output = bench.pending.take(now, &mut builder, &bench.ledger);
                    assert_eq!(output.receipts, Receipts::new(), "seed {seed}");
                    if !builder.is_empty() {
                        lane.push_back(builder.finish());
                    }
                }
            }
        }
        let height = bench.ledger.height();
        bench.pending.promote(now + Span(5 * SECOND.0), height, |_| 0);
        assert_eq!(bench.pending.next_wakeup(height), None, "seed {seed}");
        let mut builder = ProposalBuilder::new(Vec::new(), ROOM, 1_000);
        let _ = bench.pending.take(now, &mut builder, &bench.ledger);
        lane.push_back(builder.finish());
        let entries: Vec<Vec<u8>> = lane.drain(..).collect();
        bench.execute(&entries);
        assert_empty(&bench);
        assert!(bench.ledger.totals().spent > 5, "seed {seed}: {:?}", bench.ledger.totals());
    }
}
