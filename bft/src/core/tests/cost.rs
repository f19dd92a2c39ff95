//! The cost of one message: what the worst messages of each kind, a hundred of one author and each another one, cost
//! who receives them. `docs/costs.md` tells the same as a table.
//!
//! Every kind has its rows: a new one does not compile until [`rows`] says what it may cost. Receiver is node 0 of the
//! first of two shards, author is node 1, or a node of the other shard where it speaks between shards; q is N−f.

mod rows;

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wire::bytes::Bytes;
use wire::client::{Request, list};
use wire::codec;
use wire::ids::{ClientId, Digest, Index, NodeId, Round, Seq, TxId, View};

use super::{Bench, HASH_SEED};
use crate::crypto::cert::Certificate;
use crate::crypto::counting::CountingSuite;
use crate::crypto::hash_suite::HashSuite;
use crate::crypto::suite::{CoinName, CoinShare, Statement, Suite};
use crate::cut::{Cut, Tip};
use crate::event::{Effect, Event};
use crate::lane::LaneMessage;
use crate::message::{Incoming, Message, MessageKind};
use crate::mvba::MvbaMessage;
use crate::round::{CatchUpMessage, RoundMessage};
use crate::spb::SpbMessage;
use crate::time::{Span, Time};
use crate::trace::Tracing;

use rows::{Row, digest, false_halt, rows};

/// Messages that one author sends of each kind.
const TIMES: u64 = 100;
const VICTIM: NodeId = NodeId(0);
const AUTHOR: NodeId = NodeId(1);

/// How far the receiver is when the messages come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stance {
    /// At the start.
    Fresh,
    /// Its own first entry waits for ECHOs.
    Collecting,
    /// Its own SPB waits for ECHOs.
    Leading,
    /// It knows the coin of view 0 and has not decided.
    Elected,
    /// It has executed block 1 and heard of nobody's VOTE.
    Executed,
    /// Round 1 is over.
    Done,
}

const STANCES: [Stance; 6] =
    [Stance::Fresh, Stance::Collecting, Stance::Leading, Stance::Elected, Stance::Executed, Stance::Done];

impl Stance {
    /// Whether a message to the receiver is lost on the way to this stance.
    fn lacks(self, message: &Incoming) -> bool {
        let Incoming::Message(message) = message else { return false };
        match self {
            Stance::Fresh | Stance::Done => false,
            Stance::Collecting => matches!(message, Message::Lane(LaneMessage::Echo { .. })),
            Stance::Leading => matches!(message, Message::Round(_)),
            Stance::Elected => match message {
                Message::Round(RoundMessage::Halt(_)) => true,
                Message::Round(RoundMessage::Mvba { message, .. }) => matches!(
                    message,
                    MvbaMessage::Spb { message: SpbMessage::Finish { .. }, .. } | MvbaMessage::Ballot { .. }
                ),
                _ => false,
            },
            Stance::Executed => matches!(message, Message::Block(_)),
        }
    }
}

/// What some messages cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Cost {
    /// Signatures and coin shares verified.
    verified: u64,
    /// Frames sent, one to each recipient.
    frames: u64,
    /// Their bytes.
    bytes: u64,
}

/// The receiver with what is needed to lie to it.
struct Victim {
    bench: Bench,
    suite: Arc<CountingSuite>,
    n: u16,
    quorum: u64,
}

impl Victim {
    fn new(n: u16, stance: Stance) -> Victim {
        let mut bench = Bench::of(n, 2);
        let committee = bench.committee.clone();
        let suite = Arc::new(CountingSuite::new(Arc::new(HashSuite::new(&committee, VICTIM, HASH_SEED))));
        bench.cores[0] = super::core(&committee, VICTIM, suite.clone(), Tracing::Off);
        let quorum = committee.quorum() as u64;
        let mut victim = Victim { bench, suite, n, quorum };
        if stance != Stance::Fresh {
            let transaction = victim.bench.transfer(0);
            victim.bench.submit(VICTIM, &[transaction]);
            victim.run(|to, message| to == VICTIM && stance.lacks(message));
        }
        victim
    }

    /// Runs for as long as nothing is sent again, but loses some messages.
    fn run(&mut self, lost: impl Fn(NodeId, &Incoming) -> bool) {
        let bench = &mut self.bench;
        let end = Time(0) + Span::from_ms(900);
        loop {
            let timers = bench.cores.iter().zip(0u16..);
            let timer = timers.filter_map(|(core, i)| Some((core.next_wakeup()?, NodeId(i)))).min();
            let timer = timer.filter(|(at, _)| *at < end);
            match (bench.queue.front().map(|(due, ..)| *due), timer) {
                (None, None) => return,
                (Some(due), timer) if timer.is_none_or(|(at, _)| due <= at) => {
                    let (due, to, event) = bench.queue.pop_front().expect("it was there a moment ago");
                    bench.now = bench.now.max(due);
                    let is_lost = match &event {
                        Event::Peer { body, .. } => {
                            Incoming::decode(body).is_some_and(|message| lost(to, &message))
                        }
                        _ => false,
                    };
                    if !is_lost {
                        bench.give(to, event);
                    }
                }
                (_, Some((at, node))) => {
                    bench.now = bench.now.max(at);
                    bench.give(node, Event::Tick);
                }
                (Some(_), None) => unreachable!("the arm before takes it"),
            }
        }
    }

    fn handle(&mut self, event: Event) -> Cost {
        let before = self.suite.verified();
        let effects = self.bench.cores[0].handle(self.bench.now, event);
        let mut cost = Cost { verified: self.suite.verified() - before, ..Cost::default() };
        for effect in effects {
            if let Effect::Send { dest, body, .. } = effect {
                let recipients = dest.expand(&self.bench.committee, VICTIM).len() as u64;
                cost.frames += recipients;
                cost.bytes += recipients * body.len() as u64;
            }
        }
        cost
    }

    fn hear(&mut self, from: NodeId, body: Bytes) -> Cost {
        let digest = Digest(Sha256::digest(&body[..]).into());
        self.handle(Event::Peer { from, digest, body })
    }

    /// Time passes until a wake-up, if one is due before `end`.
    fn wake(&mut self, end: Time) -> Option<Cost> {
        let due = self.bench.cores[0].next_wakeup().filter(|due| *due < end)?;
        self.bench.now = self.bench.now.max(due);
        Some(self.handle(Event::Tick))
    }

    fn suite_of(&self, node: u16) -> HashSuite {
        HashSuite::new(&self.bench.committee, NodeId(node), HASH_SEED)
    }

    /// A certificate of the first N−f members that holds.
    fn certificate(&self, statement: &Statement) -> Certificate {
        let sign = |i: u16| (Index(i), self.suite_of(i).sign(statement));
        Certificate((0..self.quorum as u16).map(sign).collect())
    }

    fn shares(&self, name: CoinName) -> Vec<(Index, CoinShare)> {
        (0..self.quorum as u16).map(|i| (Index(i), self.suite_of(i).coin_share(&name))).collect()
    }

    /// The leader of view 0.
    fn leader(&self) -> Index {
        let name = CoinName { round: Round(1), view: View(0) };
        self.suite_of(0).elect(&name, &self.shares(name)).expect("N−f shares elect")
    }

    /// The own entry and the cut that is ahead by it.
    fn own(&self) -> (Tip, Cut) {
        let sent = self.bench.done.iter().find_map(|(_, node, effect)| match effect {
            Effect::Send { digest: Some(digest), .. } if *node == VICTIM => Some(*digest),
            _ => None,
        });
        let tip = Tip { seq: Seq(1), digest: sent.expect("it has sent its entry") };
        let mut cut = Cut::genesis(&self.bench.committee);
        cut.0[0] = tip;
        (tip, cut)
    }

    /// A cut of tips that nobody has certified.
    fn unknown_cut(&self, number: u64) -> Cut {
        Cut(vec![Tip { seq: Seq(1), digest: digest(number) }; usize::from(self.n)])
    }

    /// The header of block 1.
    fn header(&self) -> Digest {
        self.bench.blocks[0].first().map_or_else(Digest::default, |block| block.header)
    }
}

/// Each row of each kind costs what it may, however often its author tries.
#[test]
fn no_message_costs_more_than_its_row_says() {
    for n in [4u16, 16, 64] {
        for stance in STANCES {
            let mut victim = Victim::new(n, stance);
            for kind in MessageKind::ALL {
                for row in rows(kind).into_iter().filter(|row| row.stance == stance) {
                    judge(&mut victim, kind, &row);
                }
            }
        }
    }
}

fn judge(victim: &mut Victim, kind: MessageKind, row: &Row) {
    assert!(MessageKind::of(&(row.say)(victim, 0)) == kind, "{}", row.name);
    let (first, all) = suffer(victim, row);
    let (name, n, limit) = (row.name, victim.n, (row.limit)(u64::from(victim.n), victim.quorum));
    println!("{name}, N = {n}: first {first:?}, {TIMES} of them {all:?}");
    assert_eq!(all.verified, limit.verified, "{name}, N = {n}: signatures");
    assert!(all.frames <= limit.frames && all.bytes <= limit.bytes, "{name}, N = {n}: {all:?} of {limit:?}");
}

/// What the first message of a row costs, and what all of them do.
fn suffer(victim: &mut Victim, row: &Row) -> (Cost, Cost) {
    for (node, body) in (row.before)(victim) {
        let _ = victim.hear(node, body);
    }
    let from = (row.from)(victim);
    let costs: Vec<Cost> = (0..TIMES)
        .map(|i| {
            let body = (row.say)(victim, i);
            victim.hear(from, body)
        })
        .collect();
    let sum = |of: fn(&Cost) -> u64| costs.iter().map(of).sum();
    let all = Cost {
        verified: sum(|cost| cost.verified),
        frames: sum(|cost| cost.frames),
        bytes: sum(|cost| cost.bytes),
    };
    (costs[0], all)
}

/// A liar that claims to be ahead and answers each question with false proofs is believed once. Over ten minutes.
#[test]
fn false_answers_cost_one_verification_an_author() {
    for n in [4u16, 16, 64] {
        let mut victim = Victim::new(n, Stance::Fresh);
        let before = victim.suite.verified();
        let mut frames = 0;
        for second in 0..600 {
            let decided = Round(1_000_000 + second);
            let _ = victim.handle(Event::PeerDecided { peer: AUTHOR, decided });
            let end = Time(0) + Span::from_ms(1_000 * second + 1_000);
            while let Some(cost) = victim.wake(end) {
                frames += cost.frames;
                let halts = vec![false_halt(&victim, frames).0; 32];
                let answer = CatchUpMessage::Halts(halts);
                let _ = victim.hear(AUTHOR, Message::Round(RoundMessage::CatchUp(answer)).encode());
            }
            victim.bench.now = end;
        }
        println!(
            "false answers, N = {n}: {} signatures, {frames} questions",
            victim.suite.verified() - before
        );
        assert_eq!((victim.suite.verified() - before, frames), (2 * victim.quorum, 1), "N = {n}");
    }
}

/// What clients ask for costs no signature, whether or not it makes sense; only a transaction that may execute is sent on.
#[test]
fn requests_of_clients_cost_an_answer_each() {
    for n in [4u16, 16, 64] {
        let mut victim = Victim::new(n, Stance::Fresh);
        let senseless = {
            let mut body = codec::encode(&Request::Submit);
            let at = list::begin(&mut body);
            list::push(&mut body, &[7; 112]);
            list::finish(&mut body, at, 1);
            body
        };
        for i in 0..TIMES {
            let id = TxId(digest(i).0);
            let requests = [
                senseless.clone(),
                codec::encode(&Request::Query(vec![id])),
                codec::encode(&Request::Coins(Vec::new())),
                codec::encode(&Request::Status),
                vec![0xFF; 100],
            ];
            for body in requests {
                let event = Event::Client { client: ClientId(i), body: Bytes::from(body) };
                assert_eq!(victim.handle(event), Cost::default());
            }
        }
    }
}

/// What a rule on costs is worth: without it the messages of its row cost this much.
#[cfg(feature = "mutants")]
#[test]
fn without_their_rules_messages_cost_more_than_their_rows_say() {
    use crate::mutant::{self, Mutant};

    for n in [4u16, 16, 64] {
        let all = MessageKind::ALL.into_iter().flat_map(rows);
        for row in all {
            let rule = match row.name {
                "`Certified`" => Mutant::FalseProofBars,
                "SEND of an SPB, unknown tips" => Mutant::WantsGoToProposer,
                _ => continue,
            };
            let mut victim = Victim::new(n, row.stance);
            mutant::set(Some(rule));
            let (first, all) = suffer(&mut victim, &row);
            mutant::set(None);
            let (name, limit) = (row.name, (row.limit)(u64::from(n), victim.quorum));
            println!("{name} without {rule:?}, N = {n}: first {first:?}, {TIMES} of them {all:?}");
            let verified = if rule == Mutant::FalseProofBars { TIMES * victim.quorum } else { 0 };
            assert!(all.verified == verified && (all.verified > limit.verified || all.frames > limit.frames));
        }
    }
}
