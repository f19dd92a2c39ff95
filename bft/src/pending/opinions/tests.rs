//! Members of three shards of four, wired to each other without links, and attacks on one of them.
//!
//! The transaction of most tests has inputs in shards 1 and 2 and its output in shard 0. Ledgers are books that a test
//! writes; those of the real one are attacked in the simulator.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use wire::client::Rejection;
use wire::committee::{Committee, Protocol};

use super::claims::Held;
use super::*;
use crate::crypto::deal::{deal_committee, seeded_entropy};
use crate::crypto::hash_suite::HashSuite;
use crate::effects::Effects;
use crate::prng::Prng;

mod bounds;
mod lies;

const CAUSE: Cause = Cause::Rejected(Rejection::Spent);
const NEVER: Standing = Standing::Settled(Settled::Never(CAUSE), Round(1));
const NOW: Time = Time(0);
const N: u16 = 4;
const SHARDS: u16 = 3;

/// The answers of a ledger, set by the test.
#[derive(Clone, Debug, Default)]
struct Book {
    height: Round,
    imported: BTreeMap<ShardId, PartNumber>,
    sent: BTreeMap<ShardId, PartNumber>,
    known: BTreeMap<TxId, Standing>,
    pool: BTreeMap<TxId, Round>,
}

impl Records for Book {
    fn height(&self) -> Round {
        self.height
    }

    fn imported(&self, source: ShardId) -> PartNumber {
        self.imported.get(&source).copied().unwrap_or_default()
    }

    fn sent(&self, destination: ShardId) -> PartNumber {
        self.sent.get(&destination).copied().unwrap_or_default()
    }

    fn known(&self, id: &TxId) -> Standing {
        self.known.get(id).copied().unwrap_or(Standing::Open)
    }

    fn pooled_in(&self, id: &TxId) -> Option<Round> {
        self.pool.get(id).copied()
    }
}

fn id(number: u64) -> TxId {
    let mut bytes = [0; 32];
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    TxId(bytes)
}

fn shards(numbers: &[u16]) -> Vec<ShardId> {
    numbers.iter().copied().map(ShardId).collect()
}

/// The claims of shard 1 about a transaction with another input in shard 2 and its output in shard 0.
fn vote(number: u64) -> RejectVote {
    RejectVote { id: id(number), others: shards(&[0, 2]), cause: CAUSE }
}

fn votes(votes: &[RejectVote]) -> RejectMessage {
    RejectMessage::Votes { executed: Round(0), votes: votes.to_vec() }
}

fn reject(imported: u64, numbers: &[u64]) -> RejectMessage {
    let ids = numbers.iter().map(|number| (id(*number), CAUSE)).collect();
    RejectMessage::Rejected { imported: PartNumber(imported), ids }
}

fn believed(number: u64) -> (TxId, Cause) {
    (id(number), CAUSE)
}

/// The result of a step, with its messages as they go out.
type RejectEffects = Effects<RejectMessage, (TxId, Cause), Dest>;

fn committee() -> Arc<Committee> {
    static DEALT: OnceLock<Arc<Committee>> = OnceLock::new();
    let deal = || Arc::new(deal_committee(N, SHARDS, Protocol::default(), seeded_entropy(1)).0);
    DEALT.get_or_init(deal).clone()
}

fn member(node: u16) -> Member {
    let suite = Arc::new(HashSuite::new(&committee(), NodeId(node), 1));
    Member::new(committee(), suite, NodeId(node))
}

/// One node alone, whose peers the test plays.
struct One {
    opinions: Opinions,
    book: Book,
}

impl One {
    fn new(node: u16) -> One {
        One::with_ids_max(node, REJECTED_IDS_MAX)
    }

    fn with_ids_max(node: u16, ids_max: usize) -> One {
        One { opinions: Opinions::with_ids_max(member(node), 1, ids_max), book: Book::default() }
    }

    fn hear(&mut self, from: u16, message: RejectMessage) -> RejectEffects {
        self.step(|opinions, book, draft| opinions.handle(NOW, NodeId(from), message, book, draft))
    }

    fn report(&mut self, now: Time, number: u64) -> RejectEffects {
        self.report_all(now, None, vec![vote(number)])
    }

    fn report_all(&mut self, now: Time, asker: Option<NodeId>, votes: Vec<RejectVote>) -> RejectEffects {
        self.step(|opinions, book, draft| opinions.report(now, asker, votes, book, draft))
    }

    fn step(&mut self, step: impl FnOnce(&mut Opinions, &Book, &mut Draft)) -> RejectEffects {
        let mut draft = Draft::default();
        step(&mut self.opinions, &self.book, &mut draft);
        let sends = draft.messages(&self.opinions.member, &self.book);
        Effects { sends, outputs: draft.believed, faults: draft.faults, ..Effects::none() }
    }

    fn execute(&mut self, events: &[CrossEvent]) -> RejectEffects {
        self.book.height = self.book.height.next();
        self.step(|opinions, book, draft| opinions.executed(NOW, events, book, draft))
    }

    fn cancels(&mut self, max: usize) -> Vec<TxId> {
        self.opinions.cancels(&self.book, max)
    }

    /// Claims that are open: CL_M and CL.
    fn open(&self) -> (usize, usize) {
        let all = self.opinions.table.iter().flat_map(|opinion| &opinion.claims);
        let (votes, claims): (Vec<&Held>, Vec<&Held>) =
            all.partition(|held| held.claim.shard == self.opinions.member.shard);
        assert_eq!(votes.len() + claims.len(), self.opinions.table.len().2);
        (votes.len(), claims.len())
    }
}

/// All nodes; messages wait until the test has them delivered.
struct Net {
    nodes: Vec<One>,
    wire: VecDeque<(NodeId, NodeId, RejectMessage)>,
    /// These send nothing.
    mute: BTreeSet<NodeId>,
    outputs: BTreeMap<NodeId, Vec<(TxId, Cause)>>,
}

impl Net {
    fn new() -> Net {
        let nodes = (0..N * SHARDS).map(One::new).collect();
        Net { nodes, wire: VecDeque::new(), mute: BTreeSet::new(), outputs: BTreeMap::new() }
    }

    fn absorb(&mut self, node: u16, effects: RejectEffects) {
        assert_eq!(effects.faults, [], "the honest blame nobody");
        let node = NodeId(node);
        self.outputs.entry(node).or_default().extend(effects.outputs);
        if self.mute.contains(&node) {
            return;
        }
        let committee = committee();
        for (dest, message) in effects.sends {
            for to in dest.expand(&committee, node) {
                self.wire.push_back((node, to, message.clone()));
            }
        }
    }

    fn report(&mut self, node: u16, number: u64) {
        let effects = self.nodes[usize::from(node)].report(NOW, number);
        self.absorb(node, effects);
    }

    /// Delivers all there is, in an order that `pick` chooses.
    fn run(&mut self, mut pick: impl FnMut(usize) -> usize) {
        while !self.wire.is_empty() {
            let at = pick(self.wire.len());
            let (from, to, message) = self.wire.remove(at).expect("picked one that waits");
            let effects = self.nodes[usize::from(to.0)].hear(from.0, message);
            self.absorb(to.0, effects);
        }
    }

    fn run_in_order(&mut self) {
        self.run(|_| 0);
    }

    fn believers(&self, number: u64) -> Vec<u16> {
        let nodes = (0..N * SHARDS).zip(&self.nodes);
        nodes
            .filter(|(_, node)| node.opinions.believed(&id(number)).is_some())
            .map(|(node, _)| node)
            .collect()
    }
}

#[test]
fn two_members_who_know_are_enough_for_all_shards_to_believe_without_a_block() {
    let mut net = Net::new();
    net.report(4, 1);
    net.report(5, 1);
    net.run_in_order();
    assert_eq!(net.believers(1), Vec::from_iter(0..N * SHARDS));
    for outputs in net.outputs.values() {
        assert_eq!(*outputs, [believed(1)], "once each");
    }
    for node in &net.nodes {
        assert_eq!(node.open(), (0, 0), "what is believed has no open claims");
    }
}

#[test]
fn in_any_order_and_with_one_silent_member_a_shard() {
    for seed in 0..200 {
        let mut prng = Prng::new(seed);
        let mut net = Net::new();
        for shard in 0..SHARDS {
            net.mute.insert(NodeId(shard * N + prng.below(4) as u16));
        }
        // Those asked first may be the silent ones; then everybody is asked.
        for node in 4..8 {
            net.report(node, 1);
        }
        net.run(|waiting| prng.below(waiting as u64) as usize);
        assert_eq!(net.believers(1).len(), 12, "seed {seed}");
        assert!(net.nodes.iter().all(|node| node.open() == (0, 0)), "seed {seed}");
    }
}

#[test]
fn f_plus_1_votes_make_a_member_join_and_n_minus_f_make_it_send_cl() {
    let mut one = One::new(7);
    one.book.imported.insert(ShardId(2), PartNumber(9));
    assert_eq!(one.hear(4, votes(&[vote(1)])), Effects::none());
    let joined = one.hear(5, votes(&[vote(1)]));
    assert_eq!(
        joined.sends,
        [
            (Dest::ShardOthers, votes(&[vote(1)])),
            (Dest::Shard(ShardId(0)), reject(0, &[1])),
            (Dest::Shard(ShardId(2)), reject(9, &[1])),
        ],
        "its own vote is the third"
    );
    assert_eq!(one.hear(6, votes(&[vote(1)])), Effects::none(), "CL goes out once");
}

#[test]
fn the_cause_is_what_most_name() {
    let mut one = One::new(7);
    let expired = RejectVote { cause: Cause::Expired, ..vote(1) };
    let _ = one.report(NOW, 1);
    let _ = one.hear(4, votes(std::slice::from_ref(&expired)));
    let effects = one.hear(5, votes(&[expired]));
    let told: Vec<_> = effects.sends.iter().map(|(_, message)| message.clone()).collect();
    let ids = vec![(id(1), Cause::Expired)];
    assert_eq!(told, vec![RejectMessage::Rejected { imported: PartNumber(0), ids }; 2]);
}

#[test]
fn votes_are_void_once_a_block_executes_the_transaction() {
    let mut one = One::new(7);
    let early = RejectMessage::Votes { executed: Round(1), votes: vec![vote(1), vote(2)] };
    for node in 4..7 {
        assert_eq!(one.hear(node, early.clone()), Effects::none(), "they were made on a later ledger");
    }
    one.book.known.insert(id(1), Standing::Spent);
    let spent = CrossEvent::Spent { id: id(1), output: ShardId(0), part: PartNumber(1) };
    let effects = one.execute(&[spent]);
    assert_eq!(effects.outputs, [believed(2)]);
    let at_one = RejectMessage::Votes { executed: Round(1), votes: vec![vote(2)] };
    assert_eq!(effects.sends[0], (Dest::ShardOthers, at_one), "joined in as far as they were");
    assert_eq!(effects.sends.len(), 3);
    assert_eq!(one.open(), (0, 0));
}

#[test]
fn a_cl_counts_once_everything_its_sender_had_imported_is_executed_here() {
    let mut contact = One::new(0);
    contact.book.sent.insert(ShardId(1), PartNumber(4));
    for node in [4, 5] {
        assert_eq!(contact.hear(node, reject(6, &[1, 2])), Effects::none());
    }
    assert_eq!(contact.hear(6, reject(4, &[1])), Effects::none(), "one of three counts");
    contact.book.sent.insert(ShardId(1), PartNumber(5));
    assert_eq!(contact.execute(&[]), Effects::none());
    // Part 6 tells shard 1 that transaction 1 is finished: there it was closed, and forgotten.
    contact.book.sent.insert(ShardId(1), PartNumber(6));
    contact.book.known.insert(id(1), Standing::Spent);
    let effects = contact.execute(&[CrossEvent::Finished { id: id(1) }]);
    assert_eq!(effects.outputs, [believed(2)]);
    assert_eq!((contact.opinions.believed(&id(1)), contact.open()), (None, (0, 0)));
}

#[test]
fn a_rejection_by_a_block_goes_to_the_other_shards_at_once() {
    let mut one = One::new(5);
    let _ = one.hear(4, votes(&[vote(1)]));
    one.book.imported.insert(ShardId(0), PartNumber(3));
    one.book.known.insert(id(1), NEVER);
    let rejected = |number, others| CrossEvent::Rejected { id: id(number), others, cause: CAUSE };
    let effects = one.execute(&[rejected(1, shards(&[0, 2])), rejected(2, shards(&[0]))]);
    let expected =
        [(Dest::Shard(ShardId(0)), reject(3, &[1, 2])), (Dest::Shard(ShardId(2)), reject(0, &[1]))];
    assert_eq!(effects.sends, expected);
    assert_eq!(one.open(), (0, 0));
}

#[test]
fn batches_longer_than_a_message_may_be_are_faults() {
    let count = REJECTS_PER_MESSAGE_MAX as u64 + 1;
    let all: Vec<RejectVote> = (0..count).map(vote).collect();
    let mut one = One::new(5);
    assert_eq!(one.hear(4, votes(&all)), Effects::fault(NodeId(4), FaultKind::OutOfRange));
    let numbers: Vec<u64> = (0..count).collect();
    assert_eq!(One::new(0).hear(4, reject(0, &numbers)), Effects::fault(NodeId(4), FaultKind::OutOfRange));
}

#[test]
fn repeated_orders_repeat_the_vote_after_a_pause() {
    let mut one = One::new(4);
    let said = |effects: RejectEffects| effects.sends.len();
    assert_eq!(said(one.report(NOW, 1)), 1);
    assert_eq!(said(one.report(Time(REPEAT_AFTER.0 - 1), 1)), 0);
    assert_eq!(said(one.report(Time(REPEAT_AFTER.0), 1)), 1);
    // Others may lack our vote even when we lack nothing.
    for node in 5..8 {
        let _ = one.hear(node, votes(&[vote(1)]));
    }
    assert_eq!(one.open(), (0, 0));
    let again = one.report(Time(2 * REPEAT_AFTER.0), 1);
    assert_eq!(again.sends, [(Dest::ShardOthers, votes(&[vote(1)]))]);
    assert_eq!((again.outputs, one.open()), (vec![], (0, 0)));
}

#[test]
fn only_certain_rejections_are_answered() {
    let mut one = One::new(4);
    let _ = one.report(NOW, 1);
    one.book.known.insert(id(2), NEVER);
    one.book.known.insert(id(3), Standing::Spent);
    one.book.imported.insert(ShardId(2), PartNumber(7));
    let ask = |one: &One, node| Vec::from_iter(one.opinions.answer(NodeId(node), (0..5).map(id), &one.book));
    assert_eq!(ask(&one, 8), [(Dest::Node(NodeId(8)), reject(7, &[2]))], "our own word is none");
    for node in 5..7 {
        let _ = one.hear(node, votes(&[vote(1)]));
    }
    assert_eq!(ask(&one, 8), [(Dest::Node(NodeId(8)), reject(7, &[1, 2]))]);
    assert_eq!(ask(&one, 5), [], "members of the shard have its ledger");
    assert_eq!(ask(&one, 12), []);
    one.book.known.insert(id(1), Standing::Spent);
    assert_eq!(ask(&one, 8), [(Dest::Node(NodeId(8)), reject(7, &[2]))], "an open record outweighs it");
}

#[test]
fn a_pooled_transaction_is_cancelled_and_so_is_its_next_entry() {
    let mut one = One::new(0);
    let pooled = |one: &mut One, number| {
        one.book.pool.insert(id(number), one.book.height.next());
        one.execute(&[CrossEvent::Pooled { id: id(number) }])
    };
    let _ = pooled(&mut one, 1);
    let _ = pooled(&mut one, 2);
    let _ = one.hear(4, reject(0, &[1, 3]));
    let effects = one.hear(5, reject(0, &[1, 3]));
    assert_eq!(effects.outputs, [believed(1), believed(3)], "of 1 the block will tell");
    assert_eq!(one.cancels(9), [id(1)]);
    assert_eq!(one.cancels(9), [], "once for each entry");
    let _ = pooled(&mut one, 3);
    assert_eq!(one.cancels(9), [id(3)], "believed before its tick came");

    // Cancelled with one tick; then another input shard's tick comes.
    one.book.pool.remove(&id(1));
    let _ = one.execute(&[CrossEvent::Cancelled { id: id(1) }]);
    assert!(!one.opinions.has_cancels());
    let _ = pooled(&mut one, 1);
    assert!(one.opinions.has_cancels());
    assert_eq!(one.cancels(9), [id(1)], "anew for the new entry");
    let _ = one.execute(&[CrossEvent::Pooled { id: id(1) }]);
    assert_eq!(one.cancels(9), [], "the same entry");
}

#[test]
fn the_output_shard_cancels_what_it_has_spent_for_itself() {
    let mut one = One::new(0);
    one.book.known.insert(id(1), Standing::Spent);
    one.book.pool.insert(id(1), Round(1));
    let spent = CrossEvent::Spent { id: id(1), output: ShardId(0), part: PartNumber(0) };
    let _ = one.execute(&[spent, CrossEvent::Pooled { id: id(1) }]);
    let _ = one.hear(4, reject(0, &[1]));
    assert_eq!(one.hear(5, reject(0, &[1])).outputs, [believed(1)]);
    assert_eq!(one.cancels(9), [id(1)]);
    one.book.pool.remove(&id(1));
    let _ = one.execute(&[CrossEvent::Cancelled { id: id(1) }, CrossEvent::Refunded { id: id(1) }]);
    assert_eq!(one.opinions.believed(&id(1)), Some(CAUSE), "the receipt of that block tells why");
    assert_eq!((one.open(), one.opinions.has_cancels()), ((0, 0), false));
}

#[test]
fn cancels_come_in_order_and_no_more_than_fit() {
    let mut one = One::new(0);
    for number in [5, 3, 8, 1] {
        one.book.pool.insert(id(number), Round(1));
    }
    let _ = one.hear(4, reject(0, &[8, 3, 5, 1]));
    let _ = one.hear(5, reject(0, &[8, 3, 5, 1]));
    assert_eq!(one.cancels(2), [id(1), id(3)]);
    one.book.pool.remove(&id(5));
    assert_eq!(one.cancels(2), [id(8)], "5 has ended meanwhile");
    assert_eq!(one.cancels(2), []);
}
