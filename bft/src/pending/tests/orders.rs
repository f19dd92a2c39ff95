//! Asking other shards, and answering what they ask.

use wire::ids::ShardId;
use wire::limits::{ORDER_BYTES_MAX, SUBMISSION_TRANSACTIONS_MAX, TRANSACTION_BYTES_MAX};

use super::*;
use crate::crypto::cert::Certificate;
use crate::crypto::suite::{Statement, Suite};
use crate::message::{Incoming, encode_order};
use crate::part::PartRef;
use crate::proposal::Import;
use crate::shard::home::home_of;
use crate::time::Span;
use crate::trace::Tracing;

const ZERO: ShardId = ShardId(0);
const ONE: ShardId = ShardId(1);
const TWO: ShardId = ShardId(2);
const SECOND: Span = Span::from_ms(1_000);
const SEED: u64 = 9;

/// The pending transactions of one member, and its ledger.
struct Node {
    pending: Pending,
    ledger: Ledger,
}

fn committee() -> Arc<Committee> {
    let protocol = Protocol { genesis_coins: 200, genesis_amount: 100, ..Protocol::default() };
    Arc::new(Committee::new(4, protocol, vec![keys(); 12], [3; 32]))
}

fn suite(node: NodeId) -> Arc<HashSuite> {
    Arc::new(HashSuite::new(&committee(), node, SEED))
}

/// The transaction that spends genesis coin `index` of each of these shards.
fn spend(shards: &[ShardId], index: u64, output_shard: ShardId, payload: &[u8]) -> Vec<u8> {
    spend_until(Round(50), shards, index, output_shard, payload)
}

fn spend_until(
    expiry: Round,
    shards: &[ShardId],
    index: u64,
    output_shard: ShardId,
    payload: &[u8],
) -> Vec<u8> {
    let coin = |shard| genesis_coin(&committee().testbed(), shard, index);
    let inputs = shards.iter().map(|shard| Input { shard: *shard, coin: coin(*shard), amount: 100 });
    let outputs = shards.iter().map(|_| transaction::Output { owner: Owner([7; 32]), amount: 100 });
    let expiries = shards.iter().map(|shard| Expiry { shard: *shard, round: expiry });
    Transaction {
        inputs: &inputs.collect::<Vec<_>>(),
        output_shard,
        outputs: &outputs.collect::<Vec<_>>(),
        expiries: &expiries.collect::<Vec<_>>(),
        payload,
    }
    .encode()
}

impl Node {
    fn new(node: u16) -> Node {
        let member = Member::new(committee(), suite(NodeId(node)), NodeId(node));
        Node {
            ledger: Ledger::genesis(Arc::new(Rules::new(&member)), 1),
            pending: Pending::new(member, MempoolLimits::default(), 1),
        }
    }

    /// A client hands in transactions that are all taken, and other shards are asked.
    fn submit(&mut self, now: Time, transactions: &[Vec<u8>]) -> Vec<(Dest, Vec<Vec<u8>>)> {
        let body = encode_order(transactions.iter().map(Vec::as_slice));
        let list = body.slice(1..body.len());
        let items = list::parse(&list, transactions.len()).unwrap();
        let output = self.pending.submit(now, ALICE, &list, &items, &self.ledger, Tracing::Off);
        assert_eq!(output.steps.len(), transactions.len());
        asked(output)
    }

    fn tick(&mut self, now: Time) -> Vec<(Dest, Vec<Vec<u8>>)> {
        asked(self.pending.tick(now, &self.ledger))
    }

    fn due(&self) -> Option<Time> {
        self.pending.next_wakeup(self.ledger.height())
    }

    fn on_order(&mut self, now: Time, from: u16, transactions: &[Vec<u8>]) -> Output {
        let body = encode_order(transactions.iter().map(Vec::as_slice));
        let Some(Incoming::Order(list)) = Incoming::decode(&body) else { panic!("an order") };
        self.pending.on_order(now, NodeId(from), &list, &self.ledger)
    }

    /// Two members call a transaction rejected.
    fn believe(&mut self, id: TxId, from: [u16; 2]) {
        for node in from {
            let ids = vec![(id, Cause::Expired)];
            let message = RejectMessage::Rejected { imported: PartNumber(0), ids };
            let _ = self.pending.on_reject(Time(0), NodeId(node), message, &self.ledger);
        }
        assert_eq!(self.pending.opinions.believed(&id), Some(Cause::Expired));
    }

    fn execute(&mut self, now: Time, payload: &[u8], bodies: &[Arc<crate::part::Part>]) -> BlockOutcome {
        let body = |wanted: &PartRef| bodies.iter().find(|part| part.reference() == *wanted).cloned();
        let entries = [(Index(0), payload)];
        let outcome = self.ledger.execute(self.ledger.height().next(), entries, &body);
        let _ = self.pending.executed(now, &outcome, &self.ledger);
        outcome
    }

    /// Proposes what the own list has to propose.
    fn proposed(&mut self) -> Vec<TxId> {
        let mut builder = ProposalBuilder::new(Vec::new(), 1 << 20, 1_000);
        assert_eq!(self.pending.take(Time(0), &mut builder, &self.ledger), Output::default());
        let payload = builder.finish();
        let rules = Rules::new(&self.pending.member);
        rules.validate(&payload).unwrap().transactions().map(|transaction| transaction.id()).collect()
    }
}

/// To whom which transactions went, where nothing else was wanted.
fn asked(output: Output) -> Vec<(Dest, Vec<Vec<u8>>)> {
    assert_eq!((output.receipts, &output.faults[..]), (Receipts::new(), &[][..]));
    let orders = output.sends.into_iter().map(|(dest, send)| match send {
        PendingSend::Order(transactions) => {
            (dest, transactions.iter().map(|transaction| transaction.to_vec()).collect())
        }
        other => panic!("{other:?}"),
    });
    orders.collect()
}

fn proposal(transactions: &[&[u8]]) -> Vec<u8> {
    let mut builder = ProposalBuilder::new(Vec::new(), 1 << 20, 1_000);
    transactions.iter().for_each(|bytes| assert_eq!(builder.push(bytes), Push::Added));
    builder.finish()
}

fn at(seconds: u64) -> Time {
    Time(0) + Span(seconds * SECOND.0)
}

fn home(bytes: &[u8]) -> u16 {
    home_of(&tx_id(bytes), 4).0
}

#[test]
fn f_plus_1_members_of_each_other_input_shard_are_asked_at_once() {
    let mut node = Node::new(2);
    let three = spend(&[ZERO, ONE, TWO], 0, ZERO, b"");
    let start = home(&three);
    let members =
        |shard: u16| Dest::Set(vec![NodeId(4 * shard + start), NodeId(4 * shard + (start + 1) % 4)]);
    let expected = vec![(members(1), vec![three.clone()]), (members(2), vec![three.clone()])];
    assert_eq!(node.submit(Time(0), std::slice::from_ref(&three)), expected);
    assert_eq!(node.proposed(), [tx_id(&three)], "the own shard's inputs are on the own list");
}

#[test]
fn requests_that_start_at_one_member_share_a_message() {
    let mut node = Node::new(0);
    let all: Vec<Vec<u8>> = (0..40).map(|index| spend(&[ONE], index, ZERO, b"")).collect();
    let orders = node.submit(Time(0), &all);
    assert_eq!(orders.len(), 4, "one for each place to start at");
    for (_, transactions) in &orders {
        assert!(transactions.iter().all(|bytes| home(bytes) == home(&transactions[0])));
    }
    assert_eq!(orders.iter().map(|(_, transactions)| transactions.len()).sum::<usize>(), 40);
}

#[test]
fn all_members_are_asked_with_growing_pauses_until_a_receipt() {
    let mut node = Node::new(0);
    let (one, two) = (spend(&[ONE], 0, ZERO, b""), spend(&[ONE, TWO], 1, ZERO, b""));
    node.submit(Time(1), std::slice::from_ref(&one));
    node.submit(Time(70_000), std::slice::from_ref(&two));
    let mut times = Vec::new();
    for _ in 0..6 {
        let due = node.due().unwrap();
        assert_eq!(node.tick(Time(due.0 - 1)), []);
        let mut asked = node.tick(due);
        asked.iter_mut().for_each(|(_, transactions)| transactions.sort());
        let mut both = vec![one.clone(), two.clone()];
        both.sort();
        assert_eq!(asked, [(Dest::Shard(ONE), both), (Dest::Shard(TWO), vec![two.clone()])]);
        times.push(due.0 / 100_000);
    }
    assert_eq!(times, [21, 61, 141, 241, 341, 441], "tenths of seconds, on a grid");
    let ids = [tx_id(&one), tx_id(&two)];
    node.believe(ids[0], [4, 5]);
    assert_eq!(node.pending.list.asked_for(), 1);
    node.believe(ids[1], [8, 10]);
    assert_eq!(node.tick(at(100)), [], "a receipt ends it");
    assert_eq!((node.pending.list.asked_for(), node.due()), (0, None));
}

#[test]
fn a_shard_that_claims_to_have_spent_is_asked_only_every_10_s() {
    let mut node = Node::new(0);
    let bytes = spend(&[ONE, TWO], 0, ZERO, b"");
    let answer = [(tx_id(&bytes), PartNumber(3)), (TxId([5; 32]), PartNumber(1))];
    node.submit(Time(0), std::slice::from_ref(&bytes));
    assert_eq!(node.tick(at(2)).len(), 2);
    assert_eq!(node.pending.on_spent(at(5), NodeId(6), &answer), Output::default());
    for seconds in [6, 14] {
        assert_eq!(node.pending.on_spent(at(seconds), NodeId(7), &answer), Output::default());
        assert_eq!(node.tick(at(seconds)), [(Dest::Shard(TWO), vec![bytes.clone()])]);
    }
    assert_eq!(node.tick(at(24)).len(), 2, "one that lies does not silence us");
    let fault = Output::fault(NodeId(3), FaultKind::BadRequest);
    assert_eq!(
        node.pending.on_spent(at(24), NodeId(3), &answer),
        fault,
        "our own shard's spending we see ourselves"
    );
    let flood = vec![answer[0]; SUBMISSION_TRANSACTIONS_MAX + 1];
    assert_eq!(node.pending.on_spent(at(24), NodeId(6), &flood).faults.len(), 1);
}

#[test]
fn every_member_of_the_output_shard_asks_for_pooled_transactions() {
    let mut node = Node::new(3);
    let bytes = spend(&[ZERO, ONE, TWO], 0, ZERO, b"");
    let outcome = node.execute(Time(0), &proposal(&[&bytes]), &[]);
    assert!(outcome.cross.contains(&CrossEvent::Pooled { id: tx_id(&bytes) }));
    assert!(node.pending.is_empty());
    let missing = [ONE, TWO].map(|shard| (Dest::Shard(shard), vec![bytes.clone()]));
    assert_eq!(node.tick(at(2)), missing);
    let mut builder = ProposalBuilder::new(Vec::new(), 1 << 20, 1_000);
    assert_eq!(builder.push_cancel(tx_id(&bytes)), Push::Added);
    let cancel = builder.finish();
    let entries = [(Index(0), &cancel), (Index(1), &cancel)];
    let outcome = node.ledger.execute(Round(2), entries, &|_| None);
    let _ = node.pending.executed(at(3), &outcome, &node.ledger);
    assert_eq!(node.due(), None, "what is cancelled is asked for no more");
}

#[test]
fn an_input_missing_at_the_output_shard_goes_onto_the_own_list() {
    let (bytes, other) = (spend(&[ZERO, ONE], 0, ZERO, b""), spend(&[ZERO, ONE], 1, ZERO, b""));
    let mut source = Node::new(4);
    let parts = source.execute(Time(0), &proposal(&[&bytes, &other]), &[]).parts;
    let part = parts[0].reference();
    let sign = |index| suite(NodeId(index)).sign(&Statement::Part(part));
    let certificate = Certificate((0..3).map(|index| (Index(index), sign(index))).collect());
    for index in 0..4 {
        let mut node = Node::new(index);
        let mut builder = ProposalBuilder::new(Vec::new(), 1 << 20, 1_000);
        assert_eq!(builder.push_import(&Import { part, certificate: certificate.clone() }), Push::Added);
        node.execute(Time(0), &builder.finish(), &parts);
        assert_eq!(node.ledger.pool_len(), 2);
        // A rival spends the input of the second here, so that it can never execute.
        let coin = Input { shard: ZERO, coin: genesis_coin(&committee().testbed(), ZERO, 1), amount: 100 };
        let rival = Transaction {
            inputs: &[coin],
            output_shard: ZERO,
            outputs: &[transaction::Output { owner: Owner([1; 32]), amount: 100 }],
            expiries: &[Expiry { shard: ZERO, round: Round(50) }],
            payload: b"",
        };
        node.execute(Time(0), &proposal(&[&rival.encode()]), &[]);
        let output = node.pending.tick(at(2), &node.ledger);
        let cause = Cause::Rejected(Rejection::Spent);
        let votes = vec![RejectVote { id: tx_id(&other), others: vec![ONE], cause }];
        let message = RejectMessage::Votes { executed: Round(2), votes };
        let only_votes = [(Dest::ShardOthers, PendingSend::Reject(message))];
        assert_eq!(output.sends, only_votes, "the other shard has spent");
        if index != home(&bytes) {
            assert_eq!(node.proposed(), [], "the home first");
            node.pending.promote(at(7), node.ledger.height(), |_| 0);
        }
        assert_eq!(node.proposed(), [tx_id(&bytes)]);
    }
}

#[test]
fn the_home_proposes_at_once_and_the_backups_later() {
    let bytes = spend(&[ONE, TWO], 0, ZERO, b"");
    for index in 4..8 {
        let mut node = Node::new(index);
        assert_eq!(node.on_order(Time(0), 1, std::slice::from_ref(&bytes)), Output::default());
        assert_eq!(node.on_order(Time(9), 2, std::slice::from_ref(&bytes)), Output::default());
        if index != 4 + home(&bytes) {
            assert_eq!(node.proposed(), []);
            node.pending.promote(at(5), node.ledger.height(), |_| 0);
        }
        assert_eq!(node.proposed(), [tx_id(&bytes)]);
        assert_eq!(node.proposed(), [], "once");
    }
}

#[test]
fn an_order_of_a_spent_transaction_is_answered_with_its_part_never_with_a_rejection() {
    let mut node = Node::new(5);
    let (spent, rival) = (spend(&[ONE], 0, ZERO, b""), spend(&[ONE], 0, ZERO, b"rival"));
    node.execute(Time(0), &proposal(&[&spent]), &[]);
    // Long past its expiry, too: the record stays open until the output shard has decided.
    for _ in 0..100 {
        node.execute(Time(0), &proposal(&[]), &[]);
    }
    let output = node.on_order(Time(0), 3, &[spent.clone(), rival.clone()]);
    let answer = PendingSend::Spent(vec![(tx_id(&spent), PartNumber(1))]);
    let votes = vec![RejectVote { id: tx_id(&rival), others: vec![ZERO], cause: Cause::Expired }];
    let message = RejectMessage::Votes { executed: Round(101), votes };
    let votes = (Dest::ShardOthers, PendingSend::Reject(message));
    assert_eq!(output.sends, [(Dest::Node(NodeId(3)), answer), votes]);
    assert!(output.faults.is_empty() && node.pending.is_empty());
}

#[test]
fn an_order_believed_to_be_rejected_elsewhere_is_not_listed() {
    let mut node = Node::new(5);
    let bytes = spend(&[ONE, TWO], 0, ZERO, b"");
    node.believe(tx_id(&bytes), [8, 9]);
    assert_eq!(node.on_order(Time(0), 0, &[bytes]), Output::default());
    assert!(node.pending.is_empty());
}

/// Our CL_M may be lost, so whoever asks again makes us say it again: our own belief must not keep us silent.
#[test]
fn an_order_that_can_never_execute_is_answered_even_if_already_believed() {
    let mut node = Node::new(5);
    let (spent, rival) = (spend(&[ONE], 0, ZERO, b""), spend(&[ONE], 0, ZERO, b"rival"));
    node.execute(Time(0), &proposal(&[&spent]), &[]);
    node.believe(tx_id(&rival), [0, 1]);
    let output = node.on_order(Time(0), 0, std::slice::from_ref(&rival));
    let [(Dest::ShardOthers, PendingSend::Reject(RejectMessage::Votes { votes, .. }))] = &output.sends[..]
    else {
        panic!("no answer: {output:?}")
    };
    assert_eq!(votes[0].id, tx_id(&rival));
}

#[test]
fn a_malformed_order_is_a_fault_and_lists_nothing() {
    let good = spend(&[ONE, TWO], 0, ZERO, b"");
    for (why, from, bad) in [
        ("no transaction", 1, b"garbage".to_vec()),
        ("an empty item", 1, vec![]),
        ("its output is not in the shard of who asks", 9, good.clone()),
        ("not even if it is ours", 6, good.clone()),
        ("no input here", 1, spend(&[TWO], 0, ZERO, b"")),
        ("it is of this shard alone", 6, spend(&[ONE], 0, ONE, b"")),
        ("statically invalid", 1, spend(&[TWO, ONE], 0, ZERO, b"")),
        ("too long", 1, spend(&[ONE], 0, ZERO, &vec![0; TRANSACTION_BYTES_MAX as usize])),
    ] {
        let mut node = Node::new(5);
        let effects = node.on_order(Time(0), from, &[bad, good.clone()]);
        assert_eq!(effects, Output::fault(NodeId(from), FaultKind::BadRequest), "{why}");
        assert!(node.pending.is_empty(), "{why}");
    }
    let mut node = Node::new(5);
    let many = vec![good.clone(); SUBMISSION_TRANSACTIONS_MAX + 1];
    assert_eq!(node.on_order(Time(0), 1, &many).faults.len(), 1, "too many");
    let long = spend(&[ONE], 0, ZERO, &vec![0; TRANSACTION_BYTES_MAX as usize / 2]);
    let too_long = vec![long; ORDER_BYTES_MAX as usize / (TRANSACTION_BYTES_MAX as usize / 2)];
    assert_eq!(node.on_order(Time(0), 1, &too_long).faults.len(), 1, "too many bytes");
    for end in 0..20 {
        let body = encode_order([&good[..]].into_iter());
        let cut = body.slice(1..body.len() - 1 - end);
        let output = node.pending.on_order(Time(0), NodeId(1), &cut, &node.ledger);
        assert_eq!(output.faults.len(), 1);
    }
    assert!(node.pending.is_empty());
}

/// A ledger forgets who spent a coin long before another transaction on that coin expires. A member that has called it
/// rejected does so again, for the members that may not have heard it.
#[test]
fn an_order_is_answered_although_the_ledger_has_forgotten_why_it_is_rejected() {
    let mut node = Node::new(5);
    let spent = spend_until(Round(5), &[ONE], 0, ONE, b"");
    let rival = spend_until(Round(900), &[ONE], 0, ZERO, b"rival");
    node.execute(Time(0), &proposal(&[&spent]), &[]);
    let first = node.on_order(at(1), 0, std::slice::from_ref(&rival));
    let votes = |output: &Output| match &output.sends[..] {
        [(Dest::ShardOthers, PendingSend::Reject(RejectMessage::Votes { votes, .. }))] => votes.clone(),
        _ => panic!("no answer: {output:?}"),
    };
    let cause = Cause::Rejected(Rejection::Spent);
    assert_eq!(votes(&first), [RejectVote { id: tx_id(&rival), others: vec![ZERO], cause }]);
    for _ in 0..100 {
        node.execute(at(1), &proposal(&[]), &[]);
    }
    let view = TransactionView::parse(&rival).unwrap();
    assert_eq!(node.ledger.standing(&tx_id(&rival), &view), Standing::Open, "it is forgotten");
    let again = node.on_order(at(9), 0, std::slice::from_ref(&rival));
    assert_eq!(votes(&again), votes(&first));
    assert!(node.pending.is_empty(), "it is not listed");
}

#[test]
fn repeated_requests_are_rationed() {
    let mut node = Node::new(0);
    let all: Vec<Vec<u8>> = (0..150).map(|index| spend(&[ONE], index, ZERO, b"")).collect();
    node.submit(Time(0), &all);
    let mut again = Vec::new();
    for (tenths, count) in [(20, 64), (21, 64), (22, 22)] {
        let due = node.due().unwrap();
        assert_eq!(due, Time(tenths * 100_000));
        let mut asked = node.tick(due);
        assert_eq!((asked.len(), asked[0].1.len()), (1, count));
        again.append(&mut asked[0].1);
        assert_eq!(node.tick(due), [], "no more at this moment");
    }
    again.sort();
    let mut all = all;
    all.sort();
    assert_eq!(again, all, "each has had its turn");
}

#[test]
fn a_restarted_child_makes_everything_due_at_once() {
    let mut node = Node::new(0);
    let bytes = spend(&[ONE], 0, ZERO, b"");
    node.submit(Time(0), std::slice::from_ref(&bytes));
    node.pending.on_child_restarted(at(1));
    assert_eq!(node.tick(at(1)), [(Dest::Shard(ONE), vec![bytes])]);
    assert_eq!(node.due(), Some(at(5)), "then it is waited for again");
}
