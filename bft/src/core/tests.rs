//! Whole cores over a network that delivers in order: the common case, before the simulator departs from it.

mod behind;
mod checkpoint;
mod cost;
mod follower;
mod replay;
mod resends;
mod shards;
mod sharing;
mod stories;

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wire::bytes::Bytes;
use wire::client::{Fate, Receipt, Reply, Request, list};
use wire::codec;
use wire::committee::{Committee, Protocol};
use wire::dest::Dest;
use wire::ids::{ClientId, Digest, NodeId, Round, ShardId, TxId};

use crate::core::{Core, CoreConfig};
use crate::crypto::deal::{deal_committee, seeded_entropy};
use crate::crypto::hash_suite::HashSuite;
use crate::crypto::suite::Suite;
use crate::event::{BlockReport, Effect, Event, JumpReport};
use crate::fault::FaultKind;
use crate::lane::{HistoryPlace, LaneSettings};
use crate::message::{Incoming, Message};
use crate::pending::MempoolLimits;
use crate::round::{CatchUpMessage, RoundMessage};
use crate::sim::messages::{Disks, Messages};
use crate::sim::net::Net;
use crate::time::{Span, Time};
use crate::trace::{TraceEvent, Tracing};
use crate::transaction::{Expiry, Input, Output, Owner, Transaction, genesis_coin, tx_id};

/// N cores. A message takes 1 ms, unless a test sets another delay.
struct Bench {
    committee: Arc<Committee>,
    cores: Vec<Core>,
    now: Time,
    net: Net<(NodeId, Event)>,
    /// How long a message takes.
    delay: fn(NodeId, &Event) -> Span,
    blocks: Vec<Vec<BlockReport>>,
    replies: Vec<Reply>,
    /// All effects but trace events.
    done: Vec<(Time, NodeId, Effect)>,
    events: Vec<(NodeId, Tracing, TraceEvent)>,
    /// The node whose events and effects are kept.
    journaled: Option<NodeId>,
    journal: Vec<(Time, Event, Vec<Effect>)>,
    /// What the journals of members have.
    messages: Messages,
    /// The node to and from which all messages are lost.
    cut_off: Option<NodeId>,
    /// The one node that may be blamed.
    liar: Option<NodeId>,
    /// Faults of the liar, each with the node that noticed it.
    faults: Vec<(NodeId, FaultKind)>,
    /// States that were taken over.
    jumps: Vec<(NodeId, JumpReport)>,
}

/// Seed of the stand-in suites.
const HASH_SEED: u64 = 7;

fn core(committee: &Arc<Committee>, node: NodeId, suite: Arc<dyn Suite>, tracing: Tracing) -> Core {
    let (committee, mempool) = (committee.clone(), MempoolLimits::default());
    let lanes = LaneSettings { history_place: place(node), ..LaneSettings::default() };
    Core::new(CoreConfig { committee, node, lanes, mempool, batch: 1_000, hash_seed: 1, tracing }, suite)
}

/// Every second member keeps its history in a journal.
fn place(node: NodeId) -> HistoryPlace {
    if node.0.is_multiple_of(2) { HistoryPlace::Memory } else { HistoryPlace::Journal }
}

impl Bench {
    fn new(n: u16) -> Bench {
        Bench::of(n, 1)
    }

    fn of(n: u16, shards: u16) -> Bench {
        Bench::traced(n, shards, Tracing::Off)
    }

    fn traced(n: u16, shards: u16, tracing: Tracing) -> Bench {
        Bench::with_coins(n, shards, 100, tracing)
    }

    fn with_coins(n: u16, shards: u16, genesis_coins: u64, tracing: Tracing) -> Bench {
        let protocol = Protocol { genesis_coins, ..Protocol::default() };
        let committee = Arc::new(deal_committee(n, shards, protocol, seeded_entropy(7)).0);
        let cores = committee
            .nodes()
            .map(|node| {
                let suite = Arc::new(HashSuite::new(&committee, node, HASH_SEED));
                core(&committee, node, suite, tracing)
            })
            .collect();
        let blocks = vec![Vec::new(); usize::from(n * shards)];
        Bench {
            committee,
            cores,
            now: Time(0),
            net: Net::default(),
            delay: |_, _| Span::from_ms(1),
            blocks,
            replies: Vec::new(),
            done: Vec::new(),
            events: Vec::new(),
            journaled: None,
            messages: Messages::on(Disks::Worn),
            journal: Vec::new(),
            cut_off: None,
            liar: None,
            jumps: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn give(&mut self, node: NodeId, event: Event) {
        let kept = (self.journaled == Some(node)).then(|| event.clone());
        let effects = self.cores[usize::from(node.0)].handle(self.now, event);
        self.journal.extend(kept.map(|event| (self.now, event, effects.clone())));
        for effect in effects {
            let Some(effect) = self.messages.read(node, effect) else { continue };
            if !matches!(effect, Effect::Trace { .. }) {
                self.done.push((self.now, node, effect.clone()));
            }
            match effect {
                Effect::Send { dest, body, .. } => {
                    let digest = Digest(Sha256::digest(&body[..]).into());
                    self.messages.note(digest, &body);
                    let is_cut_off = |node: NodeId| self.cut_off == Some(node);
                    for to in dest.expand(&self.committee, node) {
                        if is_cut_off(node) || is_cut_off(to) {
                            continue;
                        }
                        let event = Event::Peer { from: node, digest, body: body.clone() };
                        self.net.send(self.now + (self.delay)(to, &event), (to, event));
                    }
                }
                Effect::SendKept { .. } => unreachable!("it was read from the journal"),
                Effect::Reply { body, .. } => self.replies.push(codec::decode(&body).expect("our own reply")),
                Effect::Executed(report) => self.blocks[usize::from(node.0)].push(*report),
                Effect::Fault(fault) if Some(fault.peer) == self.liar => self.faults.push((node, fault.kind)),
                Effect::Fault(fault) => panic!("{node} blames {fault:?}"),
                Effect::Progress(_) => {}
                Effect::Jumped(report) => self.jumps.push((node, *report)),
                Effect::Trace { detail, event } => self.events.push((node, detail, *event)),
            }
        }
    }

    /// Runs until nothing is under way and no timer is armed.
    fn run(&mut self) {
        assert!(self.run_until(Time(u64::MAX)), "the cores come to rest");
    }

    /// Runs up to `end`; returns whether nothing is left to do.
    fn run_until(&mut self, end: Time) -> bool {
        for _ in 0..100_000 {
            match self.next_due() {
                None => return true,
                Some(due) if due > end => return false,
                Some(_) => self.step(),
            }
        }
        panic!("the cores never come to rest");
    }

    fn timer(&self) -> Option<(Time, NodeId)> {
        let timers = self.cores.iter().zip(0u16..);
        timers.filter_map(|(core, i)| Some((core.next_wakeup()?, NodeId(i)))).min()
    }

    /// When the next message arrives or timer expires.
    fn next_due(&self) -> Option<Time> {
        [self.net.next_at(), self.timer().map(|(at, _)| at)].into_iter().flatten().min()
    }

    /// Delivers the next message or runs the next timer, if there is one.
    fn step(&mut self) {
        let timer = self.timer();
        if let Some(due) = self.net.next_at().filter(|due| timer.is_none_or(|(at, _)| *due <= at)) {
            let (_, (to, event)) = self.net.pop().expect("the next due event is a message");
            self.now = self.now.max(due);
            self.give(to, event);
        } else if let Some((at, node)) = timer {
            self.now = self.now.max(at);
            self.give(node, Event::Tick);
        }
    }

    fn submit(&mut self, node: NodeId, transactions: &[Vec<u8>]) {
        let mut body = codec::encode(&Request::Submit);
        let at = list::begin(&mut body);
        for transaction in transactions {
            list::push(&mut body, transaction);
        }
        list::finish(&mut body, at, transactions.len());
        self.give(node, Event::Client { client: ClientId(1), body: Bytes::from(body) });
    }

    fn transfer(&self, coin: u64) -> Vec<u8> {
        let coin = genesis_coin(&self.committee.testbed(), ShardId(0), coin);
        let amount = self.committee.protocol().genesis_amount;
        Transaction {
            inputs: &[Input { shard: ShardId(0), coin, amount }],
            output_shard: ShardId(0),
            outputs: &[Output { owner: Owner([1; 32]), amount }],
            expiries: &[Expiry { shard: ShardId(0), round: Round(1_000) }],
            payload: &[0; 50],
        }
        .encode()
    }

    fn receipts(&self) -> Vec<Receipt> {
        let receipts = self.replies.iter().flat_map(|reply| match reply {
            Reply::Receipts(receipts) => receipts.clone(),
            other => panic!("{other:?}"),
        });
        receipts.collect()
    }

    fn finished(&self) -> Vec<TxId> {
        self.receipts()
            .into_iter()
            .filter(|receipt| matches!(receipt.fate, Fate::Finished(_)))
            .map(|receipt| receipt.id)
            .collect()
    }
}

#[test]
fn transactions_finish_on_every_node() {
    for n in [1, 2, 3, 4, 7, 10] {
        let mut bench = Bench::new(n);
        let mut ids = Vec::new();
        for wave in 0..3u64 {
            for node in 0..n {
                let coin = wave * u64::from(n) + u64::from(node);
                let transaction = bench.transfer(coin);
                ids.push(tx_id(&transaction));
                bench.submit(NodeId(node), &[transaction]);
            }
            bench.run();
        }
        let mut finished = bench.finished();
        finished.sort_unstable();
        ids.sort_unstable();
        assert_eq!(finished, ids, "N = {n}");
        for (core, blocks) in bench.cores.iter().zip(&bench.blocks) {
            let headers =
                |blocks: &[BlockReport]| blocks.iter().map(|block| block.header).collect::<Vec<_>>();
            assert_eq!(headers(blocks), headers(&bench.blocks[0]), "N = {n}");
            let status = core.status();
            assert_eq!(status.finished, ids.len() as u64);
            assert_eq!(status.certified, status.executed);
            assert_eq!(status.value, 100 * 1_000);
            assert_eq!((status.mempool, status.lane_open, status.view), (0, 0, None), "N = {n}");
        }
    }
}

#[test]
fn an_invalid_request_gets_an_error_and_is_counted() {
    let mut bench = Bench::new(4);
    let ids = vec![TxId::default(); wire::limits::QUERY_IDS_MAX + 1];
    let submission_cut_off = [&codec::encode(&Request::Submit)[..], &[9, 0, 0, 0]].concat();
    let status_with_a_tail = [&codec::encode(&Request::Status)[..], &[1]].concat();
    let senseless = [vec![], vec![0xFF; 40], submission_cut_off, status_with_a_tail];
    let bodies = senseless.into_iter().chain([codec::encode(&Request::Query(ids))]);
    for (count, body) in (1..).zip(bodies) {
        bench.give(NodeId(0), Event::Client { client: ClientId(1), body: Bytes::from(body) });
        assert!(matches!(bench.replies.last(), Some(Reply::Error(_))), "{:?}", bench.replies);
        let counted = bench.cores[0].status().refused;
        assert_eq!(
            (bench.replies.len() as u64, counted),
            (count, vec![("request not understood".into(), count)])
        );
    }
    assert!(bench.cores[1].status().refused.is_empty());
}

/// A request for rounds that we do not have shows that its sender is ahead, and we send it a request in turn. A request
/// for the round that we run shows nothing.
#[test]
fn a_request_beyond_our_rounds_shows_that_its_sender_is_ahead() {
    let asks_of = |effects: &[(Time, NodeId, Effect)]| -> Vec<Round> {
        let asks = effects.iter().filter_map(|(_, _, effect)| {
            let Effect::Send { dest: Dest::Node(NodeId(1)), body, .. } = effect else { return None };
            match Incoming::decode(body) {
                Some(Incoming::Message(Message::Round(RoundMessage::CatchUp(CatchUpMessage::Ask {
                    from,
                })))) => Some(from),
                _ => None,
            }
        });
        asks.collect()
    };
    for (from, asked) in [(1, vec![]), (2, vec![Round(1)]), (9, vec![Round(1)])] {
        let mut bench = Bench::new(4);
        let ask = Message::Round(RoundMessage::CatchUp(CatchUpMessage::Ask { from: Round(from) })).encode();
        let digest = Digest(Sha256::digest(&ask[..]).into());
        bench.give(NodeId(0), Event::Peer { from: NodeId(1), digest, body: ask });
        bench.net = Net::default();
        bench.now = Time(0) + Span::from_ms(500);
        bench.give(NodeId(0), Event::Tick);
        assert_eq!(asks_of(&bench.done), asked, "after a request from round {from} on");
    }
}

/// With entries of two, five transactions fill two at once; the fifth waits for its pause.
#[test]
fn an_entry_that_is_full_by_count_is_due_at_once() {
    let mut bench = Bench::new(4);
    let suite = Arc::new(HashSuite::new(&bench.committee, NodeId(0), HASH_SEED));
    let (committee, lanes) = (bench.committee.clone(), LaneSettings::default());
    let config = CoreConfig {
        committee,
        node: NodeId(0),
        lanes,
        mempool: MempoolLimits::default(),
        batch: 2,
        hash_seed: 1,
        tracing: Tracing::Off,
    };
    bench.cores[0] = Core::new(config, suite);
    let transactions: Vec<Vec<u8>> = (0..5).map(|coin| bench.transfer(coin)).collect();
    bench.submit(NodeId(0), &transactions);
    let entries = |bench: &Bench| {
        let sent = bench.done.iter().filter(|(_, node, _)| *node == NodeId(0));
        sent.filter(|(_, _, effect)| matches!(effect, Effect::Send { digest: Some(_), .. })).count()
    };
    assert_eq!(entries(&bench), 2);
    assert_eq!(bench.cores[0].next_wakeup(), Some(Time(4_000)), "two are open: twice the first pause");
    bench.run();
    assert_eq!((entries(&bench), bench.finished().len()), (3, 5));
}
