//! Whole cores of which some fall silent for good: what they have accepted is committed by those that hold it.

use std::sync::Arc;

use wire::client::Request;
use wire::codec;
use wire::ids::{ClientId, NodeId, Round, TxId};

use super::{Bench, HASH_SEED};
use crate::core::{Core, CoreConfig};
use crate::crypto::hash_suite::HashSuite;
use crate::event::{Effect, Event};
use crate::lane::LaneSettings;
use crate::message::MessageKind;
use crate::pending::{MempoolLimits, Share};
use crate::time::Span;
use crate::trace::Tracing;
use crate::transaction::tx_id;

const HOME: NodeId = NodeId(0);
const NEVER: Span = Span::from_ms(1_000_000_000);

impl Bench {
    /// A shard of n with one entry under way at most, so that transactions soon wait.
    fn sharing(n: u16, share: Share, batch: usize) -> Bench {
        let mut bench = Bench::with_coins(n, 1, 2_000, Tracing::Off);
        for (core, node) in bench.cores.iter_mut().zip((0..).map(NodeId)) {
            let suite = Arc::new(HashSuite::new(&bench.committee, node, HASH_SEED));
            let config = CoreConfig {
                committee: bench.committee.clone(),
                node,
                lanes: LaneSettings { pipeline: 1, ..LaneSettings::default() },
                mempool: MempoolLimits { share, ..MempoolLimits::default() },
                batch,
                hash_seed: 1,
                tracing: Tracing::Off,
            };
            *core = Core::new(config, suite);
        }
        for node in (0..n).map(NodeId) {
            for peer in (0..n).map(NodeId).filter(|peer| *peer != node) {
                bench.give(node, Event::PeerDecided { peer, decided: Round(0) });
            }
        }
        bench
    }

    /// Hands transactions to a member, ten at a time.
    fn accept(&mut self, node: NodeId, coins: std::ops::Range<u64>) -> Vec<TxId> {
        let transactions: Vec<Vec<u8>> = coins.map(|coin| self.transfer(coin)).collect();
        transactions.chunks(10).for_each(|few| self.submit(node, few));
        transactions.iter().map(|transaction| tx_id(transaction)).collect()
    }

    fn sent(&self, node: NodeId, kind: MessageKind) -> usize {
        let sent = self.done.iter().filter(|(_, from, _)| *from == node);
        sent.filter(
            |(_, _, effect)| matches!(effect, Effect::Send { body, .. } if MessageKind::of(body) == kind),
        )
        .count()
    }

    fn run_for(&mut self, span: Span) {
        let end = self.now + span;
        self.run_until(end);
        self.now = end;
    }

    /// Transactions finished at a member.
    fn finished_at(&self, node: NodeId) -> u64 {
        self.cores[usize::from(node.0)].status().finished
    }
}

#[test]
fn what_is_proposed_at_once_is_never_copied() {
    let mut bench = Bench::sharing(4, Share::All, 1_000);
    for wave in 0..50 {
        bench.accept(HOME, wave * 10..wave * 10 + 10);
        bench.run_for(Span::from_ms(40));
    }
    bench.run();
    assert_eq!((bench.finished_at(HOME), bench.sent(HOME, MessageKind::Copies)), (500, 0));
}

/// Of ten transactions in an entry that reached all members and was not certified before its owner fell silent, those
/// that finish.
fn finished_of_a_tail() -> u64 {
    let mut bench = Bench::sharing(4, Share::Backup, 100);
    bench.delay = |to, _| if to == HOME { NEVER } else { Span::from_ms(10) };
    bench.accept(HOME, 0..10);
    bench.run_for(Span::from_ms(100));
    bench.cut_off = Some(HOME);
    bench.run_for(Span::from_ms(20_000));
    bench.finished_at(NodeId(2))
}

#[test]
fn an_entry_that_nobody_certified_survives_its_owner() {
    assert_eq!(finished_of_a_tail(), 10);
}

/// Of copies of which a batch is lost, those that finish after their home has fallen silent.
fn finished_of_copies_with_a_loss() -> u64 {
    let mut bench = Bench::sharing(4, Share::Backup, 10);
    // The first batch, of which the end is position 190, never arrives.
    bench.delay = |to, event| match event {
        Event::Peer { body, .. } if to == HOME && MessageKind::of(body) != MessageKind::Held => NEVER,
        Event::Peer { from: HOME, body, .. }
            if MessageKind::of(body) == MessageKind::Copies && body.len() > 5_000 =>
        {
            NEVER
        }
        _ => Span::from_ms(10),
    };
    bench.accept(HOME, 0..200);
    bench.run_for(Span::from_ms(400));
    bench.accept(HOME, 200..210);
    bench.run_for(Span::from_ms(400));
    assert_eq!(bench.sent(HOME, MessageKind::Copies), 2);
    bench.delay = |to, event| match event {
        Event::Peer { body, .. } if to == HOME && MessageKind::of(body) != MessageKind::Held => NEVER,
        _ => Span::from_ms(10),
    };
    bench.run_for(Span::from_ms(3_000));
    bench.cut_off = Some(HOME);
    bench.run_for(Span::from_ms(20_000));
    bench.finished_at(NodeId(2))
}

#[test]
fn a_lost_batch_is_sent_again() {
    assert_eq!(finished_of_copies_with_a_loss(), 210);
}

#[cfg(feature = "mutants")]
#[test]
fn without_their_rules_transactions_are_lost_or_ordered_twice() {
    use crate::mutant::{self, Mutant};

    let without = |rule, scenario: fn() -> u64| {
        mutant::set(Some(rule));
        let result = scenario();
        mutant::set(None);
        result
    };
    assert_eq!(without(Mutant::TailsAreAdopted, finished_of_a_tail), 0);
    assert_eq!(without(Mutant::GapIsNotHeld, finished_of_copies_with_a_loss), 20);
    assert!(without(Mutant::CopiesWaitForSilence, ordered_twice_of_a_backlog) > 100);
}

/// The entries of the home reach all, but no ECHO comes back: the first is never certified, and the rest waits.
#[test]
fn what_waits_and_what_is_under_way_survives_its_home() {
    for (n, share, survives) in
        [(4, Share::Backup, true), (4, Share::All, true), (4, Share::None, false), (7, Share::Backup, true)]
    {
        let mut bench = Bench::sharing(n, share, 100);
        bench.delay = |to, event| match event {
            Event::Peer { body, .. } if to == HOME && MessageKind::of(body) != MessageKind::Held => NEVER,
            _ => Span::from_ms(10),
        };
        let ids = bench.accept(HOME, 0..400);
        bench.run_for(Span::from_ms(600));
        assert_eq!(bench.sent(HOME, MessageKind::Entry), 1, "{share:?}");
        bench.cut_off = Some(HOME);
        bench.run_for(Span::from_ms(20_000));
        for node in 1..n {
            let finished = if survives { ids.len() as u64 } else { 0 };
            assert_eq!(bench.finished_at(NodeId(node)), finished, "N = {n}, {share:?}, node {node}");
        }
        let holders = (1..n).filter(|node| bench.sent(NodeId(*node), MessageKind::Held) > 0).count();
        let expected = match share {
            Share::All => n - 1,
            Share::Backup => (n - 1) / 3,
            Share::None => 0,
        };
        assert_eq!(holders, usize::from(expected), "N = {n}, {share:?}");
    }
}

/// The transactions that are ordered twice where the home is slow, not silent, and has a long backlog.
fn ordered_twice_of_a_backlog() -> u64 {
    let mut bench = Bench::sharing(4, Share::Backup, 50);
    bench.delay = |_, _| Span::from_ms(40);
    let ids = bench.accept(HOME, 0..1_000);
    bench.run();
    assert_eq!(bench.finished().len(), ids.len());
    assert!(bench.sent(HOME, MessageKind::Copies) > 0);
    assert!(bench.cores.iter().all(|core| core.status().mempool == 0));
    bench.blocks[1].iter().map(|block| block.skipped).sum()
}

#[test]
fn a_backlog_is_copied_and_ordered_once() {
    assert_eq!(ordered_twice_of_a_backlog(), 0);
}

#[test]
fn a_lost_holder_is_replaced_by_the_next_member_and_starts_over_when_it_is_back() {
    let mut bench = Bench::sharing(7, Share::Backup, 10);
    bench.delay = |to, event| match event {
        Event::Peer { body, .. } if to == HOME && MessageKind::of(body) != MessageKind::Held => NEVER,
        _ => Span::from_ms(10),
    };
    bench.accept(HOME, 0..200);
    bench.run_for(Span::from_ms(500));
    let held =
        |bench: &Bench| (1..7).map(|node| bench.sent(NodeId(node), MessageKind::Held)).collect::<Vec<_>>();
    assert_eq!(held(&bench), [1, 1, 0, 0, 0, 0]);
    for node in [HOME, NodeId(3)] {
        bench.give(node, Event::PeerDown { peer: NodeId(2) });
    }
    bench.run_for(Span::from_ms(100));
    assert_eq!(held(&bench), [1, 1, 1, 0, 0, 0], "the next one");
    bench.give(HOME, Event::PeerUp { peer: NodeId(2) });
    bench.run_for(Span::from_ms(100));
    assert_eq!(held(&bench), [1, 2, 1, 0, 0, 0], "a new process may know nothing");
    bench.give(HOME, Event::PeerDown { peer: NodeId(1) });
    bench.run_for(Span::from_ms(100));
    assert_eq!(held(&bench), [1, 2, 1, 0, 0, 0], "member 3 still has its copies");
    bench.give(HOME, Event::PeerDecided { peer: NodeId(1), decided: Round(0) });
    bench.accept(HOME, 200..210);
    bench.run_for(Span::from_ms(400));
    assert_eq!(held(&bench), [2, 3, 1, 0, 0, 0], "the same process is back");
}

/// A receipt for a client that asks a holder of copies, and for one that hands them in there.
#[test]
fn a_client_gets_its_receipt_from_a_holder() {
    let mut bench = Bench::sharing(4, Share::Backup, 10);
    bench.delay = |to, event| match event {
        Event::Peer { body, .. } if to == HOME && MessageKind::of(body) != MessageKind::Held => NEVER,
        _ => Span::from_ms(10),
    };
    let ids = bench.accept(HOME, 0..30);
    bench.run_for(Span::from_ms(500));
    bench.cut_off = Some(HOME);
    let query = codec::encode(&Request::Query(ids[15..].to_vec()));
    bench.give(NodeId(1), Event::Client { client: ClientId(1), body: query.into() });
    assert_eq!(bench.finished(), []);
    bench.replies.clear();
    bench.accept(NodeId(1), 10..15);
    bench.run_for(Span::from_ms(10_000));
    let mut finished = bench.finished();
    finished.sort_unstable();
    let mut expected = ids[10..].to_vec();
    expected.sort_unstable();
    assert_eq!(finished, expected);
}

/// All members get the same transactions: once blocks have shown it, each is ordered once.
#[test]
fn what_all_members_are_handed_is_ordered_once() {
    let mut bench = Bench::sharing(4, Share::Backup, 1_000);
    let mut skipped = Vec::new();
    for wave in 0..60 {
        for node in 0..4 {
            bench.accept(NodeId(node), wave * 20..wave * 20 + 20);
        }
        bench.run_for(Span::from_ms(100));
        skipped.push(bench.blocks[1].iter().map(|block| block.skipped).sum::<u64>());
    }
    bench.run_for(Span::from_ms(1_000));
    assert!(skipped[19] >= 1_000, "{skipped:?}: few are not worth the trip");
    assert_eq!(skipped.last(), Some(&skipped[35]), "two thousand are");
    assert_eq!(bench.finished_at(HOME), 1_200);
    assert_eq!(bench.finished().len(), 4_800, "a receipt from each contact");
    // While the crowd lasts, a transaction handed to one member alone takes the trip to its home and finishes too.
    let orders = bench.sent(NodeId(2), MessageKind::Order);
    let ids = bench.accept(NodeId(2), 1_200..1_400);
    bench.run_for(Span::from_ms(200));
    assert_eq!(bench.finished().len(), 4_800 + ids.len());
    assert!(bench.sent(NodeId(2), MessageKind::Order) > orders);
}
