//! Contacts and orders.

use std::cell::Cell;

use super::*;
use crate::ledger::CrossEvent;
use crate::shard::home::Since;
use crate::time::{Span, Time};
use crate::transaction::refund_coin;

const ONE: ShardId = ShardId(1);
const TWO: ShardId = ShardId(2);
/// A member of shard 1, one of shard 2.
const PETER: NodeId = NodeId(4);
const PAUL: NodeId = NodeId(8);
const SECOND: Span = Span::from_ms(1_000);

fn bench_with(limits: MempoolLimits) -> Bench {
    let member = Member { public_key: [1; 32], coin_commitment: [2; 32] };
    let protocol = Protocol { genesis_coins: 40, genesis_amount: 100, ..Protocol::default() };
    Bench::of(Committee::new(4, protocol, vec![member; 12], [3; 32]), limits)
}

fn bench() -> Bench {
    bench_with(MempoolLimits::default())
}

/// A transaction that spends the genesis coin `index` of each of these shards.
fn spend(bench: &Bench, shards: &[ShardId], index: u64, output_shard: ShardId, expiry: u64) -> Vec<u8> {
    let testbed = bench.ledger.committee().testbed();
    let input = |shard: &ShardId| {
        let coin = genesis_coin(&testbed, *shard, index);
        Input { shard: *shard, coin, amount: 100 }
    };
    let inputs: Vec<Input> = shards.iter().map(input).collect();
    let expiries: Vec<Expiry> =
        shards.iter().map(|shard| Expiry { shard: *shard, round: Round(expiry) }).collect();
    let outputs: Vec<Output> = shards.iter().map(|_| Output { owner: Owner([7; 32]), amount: 100 }).collect();
    Transaction { inputs: &inputs, output_shard, outputs: &outputs, expiries: &expiries, payload: b"" }
        .encode()
}

fn hand_in(bench: &mut Bench, client: ClientId, bytes: &[u8]) -> Submitted {
    hand_in_believed(bench, client, bytes, None)
}

fn hand_in_believed(bench: &mut Bench, client: ClientId, bytes: &[u8], cause: Option<Cause>) -> Submitted {
    let (body, all) = (Bytes::from(bytes.to_vec()), 0..bytes.len());
    bench.mempool.submit(client, &body, std::slice::from_ref(&all), |_| cause, &bench.ledger)
}

fn taken(bytes: &[u8]) -> Submitted {
    Submitted { refused: vec![], cross: vec![tx_id(bytes)] }
}

fn refused(bytes: &[u8], fate: Fate) -> Submitted {
    Submitted { refused: vec![Receipt { id: tx_id(bytes), fate }], cross: vec![] }
}

fn order(bench: &mut Bench, from: NodeId, bytes: &[u8], home: Option<Index>, now: Time) -> Ordered {
    let transaction = TransactionView::parse(bytes).unwrap();
    let expiry = transaction.expiry_in(HERE).unwrap();
    let since = Since { time: now, round: bench.ledger.height() };
    let order = Order { from, id: tx_id(bytes), transaction, expiry, home, since };
    bench.mempool.order(&order, &bench.ledger)
}

/// Executes a block in which these members list these cancels.
fn cancel(bench: &mut Bench, id: TxId, members: &[u16], believed: Option<Cause>) -> Receipts {
    let mut builder = ProposalBuilder::new(Vec::new(), ROOM, 1_000);
    assert_eq!(builder.push_cancel(id), Push::Added);
    let payload = builder.finish();
    let entries = members.iter().map(|member| (Index(*member), &payload));
    let outcome = bench.ledger.execute(bench.ledger.height().next(), entries, &|_| None);
    bench.mempool.on_executed(&outcome, |_| believed)
}

/// Executes an empty block that is said to have brought these ends.
fn execute_with(bench: &mut Bench, events: Vec<CrossEvent>) -> Receipts {
    let no_entries: [(Index, Vec<u8>); 0] = [];
    let mut outcome = bench.ledger.execute(bench.ledger.height().next(), no_entries, &|_| None);
    outcome.cross.extend(events);
    bench.mempool.on_executed(&outcome, |_| None)
}

fn assert_empty(bench: &Bench) {
    let mempool = &bench.mempool;
    assert!(mempool.is_empty() && mempool.list.is_empty() && mempool.contacts.is_empty());
    assert_eq!((mempool.waiting(), mempool.waiting_bytes()), (0, 0));
}

#[test]
fn the_contact_keeps_a_transaction_of_other_shards_until_its_end() {
    let mut bench = bench();
    let bytes = spend(&bench, &[ONE, TWO], 0, HERE, 50);
    let id = tx_id(&bytes);
    assert_eq!(hand_in(&mut bench, ALICE, &bytes), taken(&bytes));
    assert_eq!((bench.mempool.len(), bench.mempool.waiting()), (1, 0), "there is nothing to propose here");
    assert_eq!(bench.mempool.contact_bytes(&id).map(|kept| kept.to_vec()), Some(bytes.clone()));
    assert_eq!(hand_in(&mut bench, BOB, &bytes), refused(&bytes, Fate::Refused(Refusal::Duplicate)));
    assert_eq!(bench.mempool.query(BOB, &[id], &bench.ledger), []);
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
        assert_eq!(hand_in(&mut bench, ALICE, &bytes), refused(&bytes, Fate::Refused(Refusal::WrongShard)));
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
        assert_eq!(hand_in(&mut bench, ALICE, &bytes), taken(&bytes));
        let payload = bench.take().0.unwrap();
        assert_eq!(payload, of(&[&bytes]));
        assert_eq!(bench.execute(&[payload]), Receipts::new(), "spent here is not the end");
        assert_eq!((bench.mempool.len(), bench.mempool.waiting()), (1, 0));
        assert!(bench.ledger.pool_entry(&id).is_some());
        assert_eq!(cancel(&mut bench, id, &[0], believed), Receipts::new(), "one member is not enough");
        assert_eq!(cancel(&mut bench, id, &[1], believed), receipts(&[(ALICE, &bytes, fate)]));
        assert_empty(&bench);
        let refund = refund_coin(&id, &bench.coin(0));
        assert_eq!(bench.ledger.unspent(&refund), Some(100));
        let told = bench.mempool.query(ALICE, &[id], &bench.ledger);
        assert_eq!(told, [Receipt { id, fate: Fate::Rejected(Rejection::Cancelled) }]);
        assert!(hand_in(&mut bench, ALICE, &bytes).cross.is_empty(), "it is rejected for good");
    }
}

/// The block that orders it afterwards skips it as a duplicate, so nothing else would take it off the list.
#[test]
fn what_is_cancelled_leaves_the_list_even_if_it_is_proposed() {
    let mut bench = bench();
    let bytes = spend(&bench, &[HERE, ONE], 0, HERE, 50);
    let id = tx_id(&bytes);
    hand_in(&mut bench, ALICE, &bytes);
    assert!(bench.take().0.is_some());
    let cancelled = receipts(&[(ALICE, &bytes, Fate::Rejected(Rejection::Cancelled))]);
    assert_eq!(execute_with(&mut bench, vec![CrossEvent::Cancelled { id }]), cancelled);
    assert_empty(&bench);
}

#[test]
fn who_hands_in_again_what_waits_in_the_pool_gets_its_receipt() {
    let mut bench = bench();
    let bytes = spend(&bench, &[HERE, ONE], 0, HERE, 50);
    let id = tx_id(&bytes);
    bench.execute(&[of(&[&bytes])]);
    assert_eq!(hand_in(&mut bench, BOB, &bytes), taken(&bytes));
    assert_eq!(bench.mempool.waiting(), 0, "what is spent is not proposed again");
    let cancelled = receipts(&[(BOB, &bytes, Fate::Rejected(Rejection::Cancelled))]);
    assert_eq!(cancel(&mut bench, id, &[0, 3], None), cancelled);
    assert_empty(&bench);
}

#[test]
fn what_our_own_shard_can_never_execute_is_told_at_once_to_client_and_shards() {
    let mut bench = bench();
    let late = spend(&bench, &[HERE, ONE, TWO], 1, HERE, 5);
    let rival = spend(&bench, &[HERE, ONE, TWO], 0, HERE, 50);
    let ordered = spend(&bench, &[HERE, ONE], 0, TWO, 50);
    for bytes in [&late, &rival] {
        assert_eq!(hand_in(&mut bench, ALICE, bytes), taken(bytes));
    }
    assert_eq!(order(&mut bench, PAUL, &ordered, None, Time(0)), Ordered::Listed);
    bench.execute(&[of(&[&bench.spend(0)])]);
    bench.skip_to(5);
    let mut builder = ProposalBuilder::new(Vec::new(), ROOM, 1_000);
    let left = bench.mempool.take(&mut builder, &bench.ledger);
    assert!(builder.is_empty());
    let spent = Rejection::Spent;
    let told = [(ALICE, &late[..], Fate::Expired), (ALICE, &rival[..], Fate::Rejected(spent))];
    assert_eq!(left.receipts, receipts(&told));
    let vote = |bytes: &[u8], others: &[ShardId], cause| RejectVote {
        id: tx_id(bytes),
        others: others.to_vec(),
        cause,
    };
    let votes = [
        (None, vote(&late, &[ONE, TWO], Cause::Expired)),
        (None, vote(&rival, &[ONE, TWO], Cause::Rejected(spent))),
        (Some(PAUL), vote(&ordered, &[ONE, TWO], Cause::Rejected(spent))),
    ];
    assert_eq!(left.votes, votes);
    assert_empty(&bench);
}

#[test]
fn a_block_that_rejects_at_the_output_shard_ends_it() {
    let mut bench = bench();
    let bytes = spend(&bench, &[HERE, ONE], 0, HERE, 50);
    assert_eq!(hand_in(&mut bench, ALICE, &bytes), taken(&bytes));
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
    assert_eq!(hand_in(&mut bench, ALICE, &bytes), taken(&bytes));
    bench.mempool.on_believed(&id);
    assert_eq!((bench.mempool.waiting(), bench.mempool.len()), (0, 1), "its client has heard nothing yet");
    let cause = Cause::Rejected(Rejection::WrongAmount);
    assert_eq!(bench.mempool.on_rejected(&id, cause), receipts(&[(ALICE, &bytes, cause.fate())]));
    assert_eq!(bench.mempool.on_rejected(&id, cause), Receipts::new());
    assert_eq!(bench.take().0, None);
    assert_empty(&bench);
    let again = hand_in_believed(&mut bench, ALICE, &bytes, Some(cause));
    assert_eq!(again, refused(&bytes, cause.fate()), "what is believed already is told at once");
    assert_empty(&bench);
}

#[test]
fn the_home_proposes_an_order_at_once_and_forgets_it_when_a_block_spends() {
    let mut bench = bench();
    let bytes = spend(&bench, &[HERE, ONE], 0, ONE, 50);
    assert_eq!(order(&mut bench, PETER, &bytes, None, Time(0)), Ordered::Listed);
    assert_eq!(order(&mut bench, NodeId(5), &bytes, None, Time(0)), Ordered::Known);
    let payload = bench.take().0.unwrap();
    assert_eq!(payload, of(&[&bytes]));
    bench.mempool.on_believed(&tx_id(&bytes));
    assert_eq!(bench.mempool.len(), 1, "what is proposed stays open until its block");
    assert_eq!(bench.execute(&[payload]), Receipts::new());
    assert_empty(&bench);
}

#[test]
fn backups_wait_for_the_home_and_then_take_only_what_room_is_left() {
    let mut bench = bench();
    let (first, second) = (spend(&bench, &[HERE], 0, ONE, 900), spend(&bench, &[HERE], 1, ONE, 900));
    let idle = Cell::new(0);
    let promote = |bench: &mut Bench, now: Time| {
        bench.mempool.promote(
            now,
            bench.ledger.height(),
            |home| if home == Index(2) { idle.get() } else { 0 },
        );
    };
    assert_eq!(order(&mut bench, PETER, &first, Some(Index(2)), Time(0)), Ordered::Listed);
    assert_eq!(order(&mut bench, PETER, &second, Some(Index(3)), Time(1)), Ordered::Listed);
    assert_eq!(bench.mempool.next_wakeup(bench.ledger.height()), Some(Time(0) + Span(5 * SECOND.0)));
    idle.set(100);
    promote(&mut bench, Time(5));
    assert_eq!(
        (bench.take().0, bench.mempool.waiting_bytes()),
        (None, 0),
        "an idle lane has had no cuts yet"
    );
    bench.skip_to(16);
    promote(&mut bench, Time(6));
    assert_eq!(bench.mempool.waiting(), 1, "the home that is not idle is still waited for");
    let due = Time(1) + Span(2 * SECOND.0);
    assert_eq!(bench.mempool.next_wakeup(bench.ledger.height()), Some(due));
    promote(&mut bench, due);
    assert_eq!((bench.mempool.waiting(), bench.mempool.next_wakeup(bench.ledger.height())), (2, None));
    let own = [bench.spend(5), bench.spend(6)];
    assert_eq!(bench.submit(ALICE, &[&own[0], &own[1]]), []);
    assert_eq!(bench.take_up_to(ROOM, 1).0, Some(of(&[&own[0]])), "the own line goes first");
    assert_eq!(bench.take_up_to(ROOM, 2).0, Some(of(&[&own[1], &first])));
    assert_eq!(bench.execute(&[of(&[&first, &second])]), Receipts::new());
    assert_eq!((bench.take().0, bench.mempool.len()), (None, 2), "the home has proposed it in the meantime");
}

#[test]
fn a_backup_that_others_propose_leaves_no_trace() {
    let mut bench = bench();
    let orders: Vec<Vec<u8>> = (0..20).map(|index| spend(&bench, &[HERE], index, ONE, 900)).collect();
    for (bytes, home) in orders.iter().zip([0u16, 1, 2, 3].into_iter().cycle()) {
        assert_eq!(order(&mut bench, PETER, bytes, Some(Index(home)), Time(0)), Ordered::Listed);
    }
    let all: Vec<&[u8]> = orders.iter().map(Vec::as_slice).collect();
    bench.execute(&[of(&all[10..]), of(&all[..10])]);
    assert_empty(&bench);
    assert_eq!(bench.mempool.list.standing(), 0, "a line whose front is settled is trimmed");
    assert_eq!(bench.mempool.next_wakeup(bench.ledger.height()), None);
}

#[test]
fn a_client_makes_us_the_home_of_what_a_peer_asked_for() {
    let mut bench = bench();
    let bytes = spend(&bench, &[HERE, ONE], 0, HERE, 50);
    assert_eq!(order(&mut bench, NodeId(3), &bytes, Some(Index(2)), Time(0)), Ordered::Listed);
    assert_eq!(bench.take().0, None);
    assert_eq!(hand_in(&mut bench, ALICE, &bytes), taken(&bytes));
    assert_eq!((bench.mempool.len(), bench.mempool.waiting()), (1, 1), "it is in the books once");
    assert_eq!(bench.take().0, Some(of(&[&bytes])));
    bench.mempool.promote(Time(u64::MAX), Round(40), |_| 100);
    assert_eq!(bench.take().0, None, "its place in the line of the other home is empty");
    bench.execute(&[of(&[&bytes])]);
    let cancelled = receipts(&[(ALICE, &bytes, Fate::Rejected(Rejection::Cancelled))]);
    assert_eq!(cancel(&mut bench, tx_id(&bytes), &[0, 1], None), cancelled);
    assert_empty(&bench);
}

#[test]
fn a_peer_fills_its_own_part_of_the_peers_room_and_no_more() {
    // Twelve nodes share half of 48 places: two each.
    let limits = MempoolLimits { transactions_max: 48, ..MempoolLimits::default() };
    let mut bench = bench_with(limits);
    let orders: Vec<Vec<u8>> = (0..4).map(|index| spend(&bench, &[HERE], index, ONE, 50)).collect();
    let ask = |bench: &mut Bench, from, at: usize| order(bench, from, &orders[at], None, Time(0));
    assert_eq!(ask(&mut bench, PETER, 0), Ordered::Listed);
    assert_eq!(ask(&mut bench, PETER, 1), Ordered::Listed);
    assert_eq!(ask(&mut bench, PETER, 2), Ordered::Full);
    assert_eq!(ask(&mut bench, NodeId(5), 2), Ordered::Listed, "another peer has its own part");
    let payload = bench.take().0.unwrap();
    assert_eq!(ask(&mut bench, PETER, 3), Ordered::Full, "what is proposed counts");
    for index in 10..34 {
        let bytes = bench.spend(index);
        assert_eq!(bench.submit(ALICE, &[&bytes]), [], "peers take nothing from clients");
    }
    bench.execute(&[payload]);
    assert_eq!(ask(&mut bench, PETER, 3), Ordered::Listed);
    let length = orders[0].len() as u64;
    // Each has room for one and a half.
    let limits = MempoolLimits { bytes_max: 36 * length, ..MempoolLimits::default() };
    let mut bench = bench_with(limits);
    assert_eq!(ask(&mut bench, PETER, 0), Ordered::Listed);
    assert_eq!(ask(&mut bench, PETER, 1), Ordered::Full);
}

#[test]
fn contacts_fill_their_clients_shares() {
    let limits = MempoolLimits { transactions_max: 4, ..MempoolLimits::default() };
    let mut bench = bench_with(limits);
    for index in 0..2 {
        let bytes = spend(&bench, &[ONE], index, HERE, 50);
        assert_eq!(hand_in(&mut bench, ALICE, &bytes), taken(&bytes));
    }
    let third = spend(&bench, &[ONE], 2, HERE, 50);
    assert_eq!(hand_in(&mut bench, ALICE, &third), refused(&third, Fate::Refused(Refusal::ClientShare)));
    bench.mempool.client_gone(ALICE);
    for index in 0..2 {
        let id = tx_id(&spend(&bench, &[ONE], index, HERE, 50));
        assert_eq!(bench.mempool.on_rejected(&id, Cause::Expired), Receipts::new(), "nobody listens");
    }
    assert!(bench.mempool.accounts.clients.is_empty());
    assert_eq!(hand_in(&mut bench, BOB, &third), taken(&third));
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
                    let home = [None, Some(Index(1)), Some(Index(3))][prng.below(3) as usize];
                    // As orders are judged before they come here.
                    if bench.ledger.standing(&id, &view) == Standing::Open {
                        let _ = order(&mut bench, PETER, &bytes, home, now);
                    }
                }
                3 => bench.mempool.on_believed(&id),
                4 => {
                    let entries: Vec<Vec<u8>> = lane.drain(..).collect();
                    bench.execute(&entries);
                    bench.mempool.collect_expired(&bench.ledger);
                }
                _ => {
                    bench.mempool.promote(now, bench.ledger.height(), |_| 0);
                    let mut builder = ProposalBuilder::new(Vec::new(), ROOM, prng.within(1..5) as usize);
                    let left = bench.mempool.take(&mut builder, &bench.ledger);
                    assert_eq!(left.receipts, Receipts::new(), "seed {seed}");
                    if !builder.is_empty() {
                        lane.push_back(builder.finish());
                    }
                }
            }
        }
        let height = bench.ledger.height();
        bench.mempool.promote(now + Span(5 * SECOND.0), height, |_| 0);
        assert_eq!(bench.mempool.next_wakeup(height), None, "seed {seed}");
        let mut builder = ProposalBuilder::new(Vec::new(), ROOM, 1_000);
        let _ = bench.mempool.take(&mut builder, &bench.ledger);
        lane.push_back(builder.finish());
        let entries: Vec<Vec<u8>> = lane.drain(..).collect();
        bench.execute(&entries);
        assert_empty(&bench);
        assert!(bench.ledger.totals().spent > 5, "seed {seed}: {:?}", bench.ledger.totals());
    }
}
