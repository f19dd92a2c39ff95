//! The cost of one message: what a hundred different hostile messages of one kind and one author cost their receiver.
//! `docs/costs.md` lists the same as a table.
//!
//! Every kind has its rows: a new kind does not compile until [`rows`] bounds its cost. The receiver is node 0 of the
//! first of two shards. The author is node 1, or a node of the other shard for messages between shards. q is N−f.

mod rows;

use std::iter::Sum;
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

use rows::{Row, digest, false_answer, rows};

/// Messages of one row.
const TIMES: u64 = 100;
const VICTIM: NodeId = NodeId(0);
const AUTHOR: NodeId = NodeId(1);

/// The receiver's state when the messages arrive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stance {
    Fresh,
    /// Its own first entry waits for ECHOs.
    Collecting,
    /// Its own SPB waits for ECHOs.
    Leading,
    /// It knows the coin of view 0 and has not decided.
    Elected,
    /// It has executed block 1 and received no VOTE of others.
    Executed,
    /// Round 1 is over.
    Done,
}

const STANCES: [Stance; 6] =
    [Stance::Fresh, Stance::Collecting, Stance::Leading, Stance::Elected, Stance::Executed, Stance::Done];

impl Stance {
    /// Whether a message to the receiver must be lost to bring it into this stance.
    fn loses(self, message: &Incoming) -> bool {
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

/// The cost of some messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Cost {
    /// Signatures and coin shares verified.
    verified: u64,
    /// Frames sent, one to each recipient.
    frames: u64,
    /// Bytes of these frames.
    bytes: u64,
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Cost>>(costs: I) -> Cost {
        costs.fold(Cost::default(), |sum, cost| Cost {
            verified: sum.verified + cost.verified,
            frames: sum.frames + cost.frames,
            bytes: sum.bytes + cost.bytes,
        })
    }
}

/// The receiver, and all that its liars need.
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
            victim.run_into(stance);
        }
        victim
    }

    /// Runs until just before messages are sent again, and loses the messages of the stance.
    fn run_into(&mut self, stance: Stance) {
        self.bench.net.lose_always(move |(to, event): &(NodeId, Event)| match event {
            Event::Peer { body, .. } if *to == VICTIM => {
                Incoming::decode(body).is_some_and(|message| stance.loses(&message))
            }
            _ => false,
        });
        self.bench.run_until(Time(899_999));
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

    fn receive(&mut self, from: NodeId, body: Bytes) -> Cost {
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

    /// The receiver's own entry, and the cut that is ahead by it.
    fn own(&self) -> (Tip, Cut) {
        let sent = self.bench.done.iter().find_map(|(_, node, effect)| match effect {
            Effect::Send { digest: Some(digest), .. } if *node == VICTIM => Some(*digest),
            _ => None,
        });
        let tip = Tip { seq: Seq(1), digest: sent.expect("the receiver has sent its entry") };
        let mut cut = Cut::genesis(&self.bench.committee);
        cut.0[0] = tip;
        (tip, cut)
    }

    /// A cut of uncertified tips.
    fn unknown_cut(&self, number: u64) -> Cut {
        Cut(vec![Tip { seq: Seq(1), digest: digest(number) }; usize::from(self.n)])
    }

    /// The header of block 1.
    fn header(&self) -> Digest {
        self.bench.blocks[0].first().map_or_else(Digest::default, |block| block.header)
    }
}

#[test]
fn each_message_costs_what_its_row_allows() {
    for n in [4u16, 16, 64] {
        for stance in STANCES {
            let mut shared = Victim::new(n, stance);
            for kind in MessageKind::ALL {
                for row in rows(kind).into_iter().filter(|row| row.stance == stance) {
                    if row.wait == Span(0) {
                        check(&mut shared, kind, &row);
                    } else {
                        check(&mut Victim::new(n, stance), kind, &row);
                    }
                }
            }
        }
    }
}

fn check(victim: &mut Victim, kind: MessageKind, row: &Row) {
    assert!(MessageKind::of(&(row.message)(victim, 0)) == kind, "{}", row.name);
    let all = cost(victim, row);
    let (name, n, limit) = (row.name, victim.n, (row.limit)(u64::from(victim.n), victim.quorum));
    println!("{name}, N = {n}: {all:?}");
    assert_eq!((all.verified, all.frames), (limit.verified, limit.frames), "{name}, N = {n}");
    assert!(all.bytes <= limit.bytes, "{name}, N = {n}: {all:?} of {limit:?}");
}

/// The cost of all messages of a row.
fn cost(victim: &mut Victim, row: &Row) -> Cost {
    for (node, body) in (row.before)(victim) {
        let _ = victim.receive(node, body);
    }
    let from = (row.from)(victim);
    let at_once: Cost = (0..TIMES)
        .map(|i| {
            let body = (row.message)(victim, i);
            victim.receive(from, body)
        })
        .sum();
    let end = victim.bench.now + row.wait;
    let later = std::iter::from_fn(|| victim.wake(end));
    [at_once].into_iter().chain(later).sum()
}

/// A liar claims for ten minutes to be ahead and answers each question with false proofs: only the first is verified.
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
                let answer = CatchUpMessage::Halts(false_answer(&victim, frames));
                let _ = victim.receive(AUTHOR, Message::Round(RoundMessage::CatchUp(answer)).encode());
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

/// Requests that make no sense or only read cost no signature and no frame.
#[test]
fn requests_of_clients_cost_only_a_reply() {
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
                codec::encode(&Request::CoinsFrom { owner: [0; 32], place: 0 }),
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

/// The figures "before" of `docs/costs.md`: the cost of a row without the rule that bounds it.
#[cfg(feature = "mutants")]
#[test]
fn without_their_rules_messages_cost_more() {
    use crate::mutant::{self, Mutant};

    for n in [4u16, 16, 64] {
        for row in MessageKind::ALL.into_iter().flat_map(rows) {
            let rule = match row.name {
                "`Certified`" => Mutant::FalseProofBars,
                "SEND of an SPB, unknown tips" => Mutant::WantsGoToProposer,
                _ => continue,
            };
            let mut victim = Victim::new(n, row.stance);
            mutant::set(Some(rule));
            let all = cost(&mut victim, &row);
            mutant::set(None);
            let expected = match rule {
                Mutant::FalseProofBars => (TIMES * victim.quorum, 0),
                _ => (0, u64::from(n) * (u64::from(n) - 1)),
            };
            assert_eq!((all.verified, all.frames), expected, "{} without {rule:?}, N = {n}", row.name);
        }
    }
}
