use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use wire::client::{Refusal, list};
use wire::committee::{Committee, Member as Keys, Protocol};
use wire::ids::CoinId;

use super::*;
use crate::crypto::hash_suite::HashSuite;
use crate::prng::Prng;
use crate::proposal::{Rules, payload_bytes};
use crate::trace::Tracing;
use crate::transaction::{self, Expiry, Input, Owner, Transaction, genesis_coin, output_coin, tx_id};

mod copies;
mod cross;
mod orders;
mod work;

const HERE: ShardId = ShardId(0);
const ALICE: ClientId = ClientId(1);
const BOB: ClientId = ClientId(2);
const ROOM: usize = 1 << 20;

fn transfer(shard: ShardId, coin: CoinId, amount: u64, expiry: u64, payload: &[u8]) -> Vec<u8> {
    Transaction {
        inputs: &[Input { shard, coin, amount }],
        output_shard: shard,
        outputs: &[transaction::Output { owner: Owner([7; 32]), amount }],
        expiries: &[Expiry { shard, round: Round(expiry) }],
        payload,
    }
    .encode()
}

/// The pending transactions of one node, and its ledger.
struct Bench {
    rules: Arc<Rules>,
    ledger: Ledger,
    pending: Pending,
}

fn member(committee: Committee) -> Member {
    let (committee, node) = (Arc::new(committee), NodeId(0));
    let suite = Arc::new(HashSuite::new(&committee, node, 9));
    Member::new(committee, suite, node)
}

fn keys() -> Keys {
    Keys { public_key: [1; 32], coin_commitment: [2; 32] }
}

impl Bench {
    fn new(limits: MempoolLimits) -> Bench {
        let protocol = Protocol {
            genesis_coins: 40,
            genesis_amount: 100,
            transaction_bytes_max: 1_000,
            ..Protocol::default()
        };
        Bench::of(Committee::new(1, protocol, vec![keys(); 2], [3; 32]), limits)
    }

    fn of(committee: Committee, limits: MempoolLimits) -> Bench {
        let member = member(committee);
        let rules = Arc::new(Rules::new(&member));
        Bench { ledger: Ledger::genesis(rules.clone(), 1), pending: Pending::new(member, limits, 1), rules }
    }

    fn generous() -> Bench {
        Bench::new(MempoolLimits::default())
    }

    fn coin(&self, index: u64) -> CoinId {
        genesis_coin(&self.ledger.committee().testbed(), HERE, index)
    }

    /// A valid transaction that spends genesis coin `index`.
    fn spend(&self, index: u64) -> Vec<u8> {
        transfer(HERE, self.coin(index), 100, 1_000, b"")
    }

    fn submit(&mut self, client: ClientId, transactions: &[&[u8]]) -> Vec<Fate> {
        let mut body = b"header".to_vec();
        let at = list::begin(&mut body);
        transactions.iter().for_each(|bytes| list::push(&mut body, bytes));
        list::finish(&mut body, at, transactions.len());
        let body = Bytes::from(body);
        let items = list::parse(&body[at..], transactions.len()).unwrap();
        let items: Vec<_> = items.into_iter().map(|range| range.start + at..range.end + at).collect();
        let output = self.pending.submit(Time(0), client, &body, &items, &self.ledger, Tracing::All);
        assert_eq!(output.sends, []);
        assert_eq!(output.steps.len() + output.receipts.values().flatten().count(), transactions.len());
        output.receipts.into_values().flatten().map(|receipt| receipt.fate).collect()
    }

    fn take(&mut self) -> (Option<Vec<u8>>, Receipts) {
        self.take_up_to(ROOM, 1_000)
    }

    fn take_up_to(&mut self, bytes_max: usize, count_max: usize) -> (Option<Vec<u8>>, Receipts) {
        let mut builder = ProposalBuilder::new(Vec::new(), bytes_max, count_max);
        let output = self.pending.take(Time(0), &mut builder, &self.ledger);
        assert_eq!(output.sends, []);
        ((!builder.is_empty()).then(|| builder.finish()), output.receipts)
    }

    fn execute(&mut self, payloads: &[Vec<u8>]) -> Receipts {
        self.step(payloads).receipts
    }

    fn step(&mut self, payloads: &[Vec<u8>]) -> Output {
        let entries = payloads.iter().map(|payload| (Index(0), payload));
        let outcome = self.ledger.execute(self.ledger.height().next(), entries, &|_| None);
        self.pending.executed(Time(0), &outcome, &self.ledger)
    }

    fn skip_to(&mut self, height: u64) {
        while self.ledger.height() < Round(height) {
            assert_eq!(self.execute(&[]), Receipts::new());
        }
    }
}

fn of(transactions: &[&[u8]]) -> Vec<u8> {
    let mut builder = ProposalBuilder::new(Vec::new(), ROOM, 1_000);
    for transaction in transactions {
        assert_eq!(builder.push(transaction), Push::Added);
    }
    builder.finish()
}

fn receipts(of: &[(ClientId, &[u8], Fate)]) -> Receipts {
    let mut receipts = Receipts::new();
    for (client, bytes, fate) in of {
        receipts.entry(*client).or_default().push(Receipt { id: tx_id(bytes), fate: *fate });
    }
    receipts
}

const FINISHED_1: Fate = Fate::Finished(Round(1));

#[test]
fn a_transaction_finishes_and_its_client_gets_a_receipt() {
    let mut bench = Bench::generous();
    let (one, two) = (bench.spend(0), bench.spend(1));
    assert_eq!(bench.submit(ALICE, &[&one]), []);
    assert_eq!(bench.submit(BOB, &[&two]), []);
    assert_eq!((bench.pending.len(), bench.pending.waiting()), (2, 2));
    assert_eq!(bench.pending.waiting_bytes(), (one.len() + two.len()) as u64);
    let (payload, past) = bench.take();
    let payload = payload.unwrap();
    assert_eq!((&payload, past), (&of(&[&one, &two]), Receipts::new()));
    assert_eq!((bench.pending.len(), bench.pending.waiting(), bench.pending.waiting_bytes()), (2, 0, 0));
    assert_eq!(bench.take().0, None, "a transaction is proposed once");
    assert_eq!(bench.execute(&[payload]), receipts(&[(ALICE, &one, FINISHED_1), (BOB, &two, FINISHED_1)]));
    assert!(bench.pending.is_empty());
}

#[test]
fn each_reason_to_refuse() {
    let mut bench = Bench::generous();
    let spent = bench.spend(0);
    let unknown = transfer(HERE, CoinId([9; 32]), 5, 1_000, b"");
    assert_eq!(bench.submit(ALICE, &[&spent, &unknown]), [], "an unknown coin may yet be created");
    let payload = bench.take().0.unwrap();
    bench.execute(&[payload]);
    bench.skip_to(5);
    let open = bench.spend(1);
    assert_eq!(bench.submit(ALICE, &[&open]), []);
    let elsewhere = ShardId(1);
    let (coin_0, coin_2) = (bench.coin(0), bench.coin(2));
    for (bytes, fate) in [
        (open[1..].to_vec(), Fate::Refused(Refusal::Invalid)),
        (vec![], Fate::Refused(Refusal::Invalid)),
        (transfer(HERE, coin_2, 0, 9, b""), Fate::Refused(Refusal::Invalid)),
        (transfer(HERE, coin_2, 100, 9, &[0; 1_000]), Fate::Refused(Refusal::TooLarge)),
        (transfer(elsewhere, coin_2, 100, 9, b""), Fate::Refused(Refusal::WrongShard)),
        (open.clone(), Fate::Refused(Refusal::Duplicate)),
        (spent, Fate::Refused(Refusal::Duplicate)),
        (unknown, Fate::Rejected(Rejection::UnknownCoin)),
        (transfer(HERE, coin_0, 100, 9, b"again"), Fate::Refused(Refusal::Spent)),
        (transfer(HERE, coin_2, 99, 9, b""), Fate::Rejected(Rejection::WrongAmount)),
        (transfer(HERE, coin_2, 100, 5, b""), Fate::Refused(Refusal::Expired)),
        (transfer(HERE, coin_2, 100, 20_000, b""), Fate::Refused(Refusal::ExpiryTooFar)),
    ] {
        assert_eq!(bench.submit(ALICE, &[&bytes]), [fate]);
        assert_eq!(bench.pending.len(), 1, "{fate:?} takes no room");
    }
}

#[test]
fn capacity_and_the_share_of_a_client() {
    let limits = MempoolLimits { transactions_max: 4, ..MempoolLimits::default() };
    let mut bench = Bench::new(limits);
    let spends: Vec<Vec<u8>> = (0..8).map(|index| bench.spend(index)).collect();
    assert_eq!(bench.submit(ALICE, &[&spends[0], &spends[1]]), []);
    assert_eq!(bench.submit(ALICE, &[&spends[2]]), [Fate::Refused(Refusal::ClientShare)]);
    assert_eq!(bench.submit(BOB, &[&spends[2], &spends[3]]), []);
    assert_eq!(bench.submit(ClientId(3), &[&spends[4]]), [Fate::Refused(Refusal::Full)]);
    let payload = bench.take().0.unwrap();
    assert_eq!(
        bench.submit(ClientId(3), &[&spends[4]]),
        [Fate::Refused(Refusal::Full)],
        "proposed ones count"
    );
    bench.execute(&[payload]);
    assert_eq!(bench.submit(ALICE, &[&spends[4], &spends[5]]), [], "settled ones do not");

    let bytes = spends[0].len() as u64;
    let mut bench = Bench::new(MempoolLimits { bytes_max: 4 * bytes, ..MempoolLimits::default() });
    assert_eq!(bench.submit(ALICE, &[&spends[0], &spends[1]]), []);
    assert_eq!(bench.submit(ALICE, &[&spends[2]]), [Fate::Refused(Refusal::ClientShare)]);
    assert_eq!(bench.submit(BOB, &[&spends[2], &spends[3]]), []);
    assert_eq!(bench.submit(ClientId(3), &[&spends[4]]), [Fate::Refused(Refusal::Full)]);
    bench.take().0.unwrap();
    assert_eq!(bench.submit(ALICE, &[&spends[4], &spends[5]]), [], "bytes of proposed ones do not count");
}

#[test]
fn a_proposal_keeps_to_its_limits_and_to_the_order_of_arrival() {
    let mut bench = Bench::generous();
    let spends: Vec<Vec<u8>> = (0..5).map(|index| bench.spend(index)).collect();
    let all: Vec<&[u8]> = spends.iter().map(Vec::as_slice).collect();
    assert_eq!(bench.submit(ALICE, &all), []);
    let two = of(&all[..2]);
    assert_eq!(bench.take_up_to(two.len(), 1_000).0, Some(two.clone()));
    assert_eq!(bench.take_up_to(two.len() - 1, 1_000).0, Some(of(&all[2..3])));
    assert_eq!(bench.take_up_to(10, 1_000).0, None);
    assert_eq!(bench.take_up_to(ROOM, 1).0, Some(of(&all[3..4])));
    assert_eq!(bench.pending.waiting(), 1);
}

#[test]
fn a_transaction_longer_than_a_proposal_is_refused() {
    let mut bench = Bench::generous();
    let bytes = bench.spend(0);
    let exact = payload_bytes(bytes.len());
    for (proposal_bytes_max, expected) in
        [(exact, vec![]), (exact - 1, vec![Fate::Refused(Refusal::TooLarge)])]
    {
        let protocol = Protocol { proposal_bytes_max, ..*bench.ledger.committee().protocol() };
        bench = Bench::of(Committee::new(1, protocol, vec![keys()], [3; 32]), MempoolLimits::default());
        assert_eq!(bench.submit(ALICE, &[&bytes]), expected);
    }
}

#[test]
fn rivals_left_over_when_a_coin_is_spent_are_never_ordered() {
    let mut bench = Bench::generous();
    let coin = bench.coin(0);
    let rivals: Vec<Vec<u8>> = (0..3).map(|byte| transfer(HERE, coin, 100, 1_000, &[byte])).collect();
    let rivals: Vec<&[u8]> = rivals.iter().map(Vec::as_slice).collect();
    assert_eq!(bench.submit(ALICE, &rivals), []);
    let payload = bench.take_up_to(ROOM, 2).0.unwrap();
    let spent = Fate::Rejected(Rejection::Spent);
    assert_eq!(
        bench.execute(&[payload]),
        receipts(&[(ALICE, rivals[0], FINISHED_1), (ALICE, rivals[1], spent)])
    );
    assert_eq!(bench.take(), (None, receipts(&[(ALICE, rivals[2], spent)])), "the third is never ordered");
    assert!(bench.pending.is_empty());
}

#[test]
fn a_block_of_others_settles_waiting_transactions() {
    let mut bench = Bench::generous();
    let (one, two, three) = (bench.spend(0), bench.spend(1), bench.spend(2));
    assert_eq!(bench.submit(ALICE, &[&one, &two, &three]), []);
    assert_eq!(bench.execute(&[of(&[&two, &bench.spend(9)])]), receipts(&[(ALICE, &two, FINISHED_1)]));
    assert_eq!((bench.pending.len(), bench.pending.waiting()), (2, 2));
    assert_eq!(bench.take(), (Some(of(&[&one, &three])), Receipts::new()));
    assert_eq!(bench.submit(BOB, &[&two]), [Fate::Refused(Refusal::Duplicate)]);
}

#[test]
fn expired_transactions_get_a_receipt_and_are_never_proposed() {
    let mut bench = Bench::generous();
    let coin = bench.coin(0);
    let soon = transfer(HERE, coin, 100, 3, b"soon");
    let late = transfer(HERE, coin, 100, 500, b"late");
    assert_eq!(bench.submit(ALICE, &[&soon, &late]), []);
    bench.skip_to(2);
    assert_eq!(bench.execute(&[]), receipts(&[(ALICE, &soon, Fate::Expired)]), "the last round has passed");
    assert_eq!((bench.pending.len(), bench.pending.waiting()), (1, 1));
    bench.skip_to(499);
    assert_eq!(bench.execute(&[]), receipts(&[(ALICE, &late, Fate::Expired)]));
    assert_eq!(bench.take(), (None, Receipts::new()));
    assert!(bench.pending.is_empty());
}

#[test]
fn a_proposed_transaction_that_expires_stays_open_until_its_block() {
    let mut bench = Bench::generous();
    let bytes = transfer(HERE, bench.coin(0), 100, 3, b"");
    assert_eq!(bench.submit(ALICE, &[&bytes]), []);
    let payload = bench.take().0.unwrap();
    bench.skip_to(20);
    assert_eq!(bench.pending.len(), 1);
    assert_eq!(bench.execute(&[payload]), receipts(&[(ALICE, &bytes, Fate::Expired)]));
}

#[test]
fn a_query_for_an_open_transaction_is_answered_by_its_receipt() {
    let mut bench = Bench::generous();
    let (one, two, three) = (bench.spend(0), bench.spend(1), bench.spend(2));
    assert_eq!(bench.submit(ALICE, &[&one, &two, &three]), []);
    let ids = [tx_id(&one), tx_id(&two), TxId([9; 32])];
    let unknown = Receipt { id: TxId([9; 32]), fate: Fate::Unknown };
    assert_eq!(bench.pending.query(BOB, &ids, &bench.ledger), [unknown]);
    assert_eq!(bench.pending.query(ALICE, &ids[1..2], &bench.ledger), []);
    bench.pending.client_gone(ALICE);
    let payload = bench.take().0.unwrap();
    assert_eq!(
        bench.execute(&[payload]),
        receipts(&[(BOB, &one, FINISHED_1)]),
        "the last who asked for the second is gone, and nobody asked for the third"
    );
    let finished = ids[..2].iter().map(|id| Receipt { id: *id, fate: FINISHED_1 }).collect::<Vec<_>>();
    assert_eq!(bench.pending.query(BOB, &ids[..2], &bench.ledger), finished, "now the ledger answers");
}

#[test]
fn a_gone_client_keeps_its_places_and_leaves_no_trace_afterwards() {
    let mut bench = Bench::generous();
    let bytes = bench.spend(0);
    assert_eq!(bench.submit(ALICE, &[&bytes]), []);
    bench.pending.query(BOB, &[tx_id(&bytes)], &bench.ledger);
    bench.pending.client_gone(ALICE);
    bench.pending.client_gone(BOB);
    let payload = bench.take().0.expect("it keeps its place");
    assert_eq!(bench.execute(&[payload]), Receipts::new());
    assert!(bench.pending.accounts.clients.is_empty());
}

#[test]
fn settled_transactions_leave_their_line_at_once() {
    let mut bench = Bench::generous();
    let mut coin = bench.coin(0);
    let mut last = None;
    for _ in 0..4_000 {
        let bytes = transfer(HERE, coin, 100, 9_000, b"");
        coin = output_coin(&tx_id(&bytes), 0);
        assert_eq!(bench.submit(ALICE, &[&bytes]), []);
        // Another node proposes it; here nothing is ever taken.
        bench.execute(&[of(&[&bytes])]);
        assert_eq!(bench.pending.list.standing(), 0);
        last = Some(bytes);
    }
    assert!(bench.pending.is_empty());
    assert_eq!(bench.submit(ALICE, &[&last.unwrap()]), [Fate::Refused(Refusal::Duplicate)]);
}

#[test]
fn through_random_work_each_transaction_gets_one_fate_and_the_books_balance() {
    for seed in 0..20 {
        let mut prng = Prng::new(seed);
        let mut bench = Bench::new(MempoolLimits { transactions_max: 60, ..MempoolLimits::default() });
        let mut coins: Vec<CoinId> = (0..40).map(|index| bench.coin(index)).collect();
        let mut open: BTreeSet<TxId> = BTreeSet::new();
        let mut lane: VecDeque<Vec<u8>> = VecDeque::new();
        let (mut finished, mut failed) = (0, 0);
        let mut close = |open: &mut BTreeSet<TxId>, receipts: Receipts| {
            for receipt in receipts.into_values().flatten() {
                assert!(open.remove(&receipt.id), "seed {seed}: {receipt:?} for one that is not open");
                *(if matches!(receipt.fate, Fate::Finished(_)) { &mut finished } else { &mut failed }) += 1;
            }
        };
        for _ in 0..600 {
            match prng.below(5) {
                0..3 => {
                    let coin = *prng.pick(&coins).unwrap();
                    let expiry = bench.ledger.height().0 + prng.below(30);
                    let bytes = transfer(HERE, coin, 100, expiry, &prng.bytes::<4>());
                    let client = ClientId(prng.below(3));
                    if bench.submit(client, &[&bytes]).is_empty() {
                        assert!(open.insert(tx_id(&bytes)));
                        coins.push(output_coin(&tx_id(&bytes), 0));
                    }
                }
                3 => {
                    let count_max = prng.within(1..8) as usize;
                    let (payload, receipts) = bench.take_up_to(ROOM, count_max);
                    close(&mut open, receipts);
                    if let Some(payload) = payload {
                        let view = bench.rules.validate(&payload).unwrap();
                        assert!((1..=count_max).contains(&view.len()));
                        lane.push_back(payload);
                    }
                }
                _ => {
                    let entries: Vec<Vec<u8>> =
                        lane.drain(..prng.below(lane.len() as u64 + 1) as usize).collect();
                    let receipts = bench.execute(&entries);
                    close(&mut open, receipts);
                }
            }
            assert_eq!(bench.pending.len(), open.len(), "seed {seed}");
            let held = bench.pending.accounts.clients.values().map(|client| client.held);
            assert_eq!(held.clone().map(|held| held.open).sum::<usize>(), open.len());
            assert_eq!(held.map(|held| held.bytes).sum::<u64>(), bench.pending.waiting_bytes());
        }
        while bench.pending.waiting() > 0 {
            let (payload, receipts) = bench.take_up_to(ROOM, 100);
            close(&mut open, receipts);
            lane.extend(payload);
        }
        let entries: Vec<Vec<u8>> = lane.drain(..).collect();
        let receipts = bench.execute(&entries);
        close(&mut open, receipts);
        assert!(open.is_empty() && bench.pending.is_empty(), "seed {seed}: nothing is lost");
        assert!(finished > 20 && failed > 20, "seed {seed}: {finished} finished, {failed} failed");
    }
}
