//! A member that was away for longer than anybody keeps entries goes on from the state that others hand it.

use super::*;
use wire::limits::ROUNDS_UNEXECUTED_MAX;

use crate::block::Header;
use crate::checkpoint::{CheckpointMessage, Offer};
use crate::cut::Cut;
use crate::message::{Message, MessageKind};

/// Rounds that members keep.
const HISTORY: u64 = 20;

impl Bench {
    fn with_short_history(n: u16, shards: u16) -> Bench {
        let mut bench = Bench::with_coins(n, shards, 1_000, Tracing::Off);
        let committee = bench.committee.clone();
        bench.cores = committee
            .nodes()
            .map(|node| Core::new(config(&committee, node), suite(&committee, node)))
            .collect();
        bench
    }

    /// Each of these nodes gets a transaction, again and again; numbers of coins from `from` on.
    fn waves(&mut self, from: u64, count: u64, nodes: &[u16]) {
        for wave in 0..count {
            for (at, node) in (0u64..).zip(nodes) {
                let transaction = self.transfer(from + wave * nodes.len() as u64 + at);
                self.submit(NodeId(*node), &[transaction]);
            }
            let end = self.now + Span::from_ms(100);
            self.run_until(end);
            self.now = end;
        }
    }

    /// What others say once a second.
    fn ping(&mut self) {
        let connected: Vec<NodeId> =
            self.committee.nodes().filter(|node| self.cut_off != Some(*node)).collect();
        for from in &connected {
            let decided = self.cores[usize::from(from.0)].status().decided;
            for to in connected.iter().filter(|to| *to != from) {
                self.give(*to, Event::PeerDecided { peer: *from, decided });
            }
        }
    }

    fn run_with_pings(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.ping();
            let end = self.now + Span::from_ms(1_000);
            self.run_until(end);
            self.now = end;
        }
    }

    fn rows(&self, node: u16) -> Vec<u8> {
        self.cores[usize::from(node)].ledger().rows()
    }

    fn executed(&self, node: u16) -> Round {
        self.cores[usize::from(node)].status().executed
    }

    fn sent_by(&self, node: NodeId, kind: MessageKind, from: usize) -> usize {
        let sent = self.done[from..].iter().filter(|(_, sender, effect)| match effect {
            Effect::Send { body, .. } => *sender == node && MessageKind::of(body) == kind,
            _ => false,
        });
        sent.count()
    }
}

fn config(committee: &Arc<Committee>, node: NodeId) -> CoreConfig {
    let history_place = place(node);
    let lanes = LaneSettings { history_rounds_max: HISTORY, history_place, ..LaneSettings::default() };
    let (committee, mempool, hash_seed) = (committee.clone(), MempoolLimits::default(), u64::from(node.0));
    CoreConfig { committee, node, lanes, mempool, batch: 1_000, hash_seed, tracing: Tracing::Off }
}

fn suite(committee: &Arc<Committee>, node: NodeId) -> Arc<dyn Suite> {
    Arc::new(HashSuite::new(committee, node, HASH_SEED))
}

#[test]
fn a_member_behind_every_history_goes_on_from_a_checkpoint() {
    let mut bench = Bench::with_short_history(4, 1);
    bench.waves(0, 3, &[0, 1, 2, 3]);
    bench.cut_off = Some(NodeId(3));
    bench.waves(12, 2, &[3]);
    bench.waves(14, 40, &[0, 1, 2]);
    let (behind, ahead) = (bench.executed(3), bench.executed(0));
    assert!(ahead.0 > behind.0 + HISTORY + ROUNDS_UNEXECUTED_MAX, "{behind} {ahead}");
    bench.cut_off = None;
    let from = bench.done.len();
    bench.run_with_pings(6);
    let [(node, jump)] = &bench.jumps[..] else {
        panic!("one member takes over one state: {:?}", bench.jumps)
    };
    assert_eq!((*node, jump.from, jump.height), (NodeId(3), behind, ahead));
    assert!(jump.vouchers.len() >= 2 && !jump.vouchers.contains(&NodeId(3)), "{jump:?}");
    assert!((0..3).all(|member| bench.rows(member) == bench.rows(3)), "all have one state, to the byte");
    assert_eq!(bench.cores[3].status().header, bench.cores[0].status().header);
    // It takes part again: what it could not hand on before is executed, and it votes.
    bench.waves(200, 10, &[0, 1, 2, 3]);
    bench.run_with_pings(3);
    assert!(bench.executed(3) > ahead && bench.executed(3) == bench.executed(0));
    assert!(
        bench.sent_by(NodeId(3), MessageKind::BlockVote, from) > 1,
        "it votes for the state and all further blocks"
    );
    assert_eq!(bench.cores[3].status().mempool, 0, "its own transactions have their fates");
    assert!((0..3).all(|member| bench.rows(member) == bench.rows(3)));
    assert_eq!(bench.jumps.len(), 1);
    let finished = bench.finished().len();
    assert_eq!(finished, 12 + 2 + 120 + 40, "nobody's transaction is lost");
}

#[test]
fn a_follower_that_knows_nothing_takes_over_a_state() {
    let mut bench = Bench::with_short_history(4, 2);
    bench.waves(0, 60, &[0, 1, 2]);
    bench.cores[3] = Core::follower(
        config(&bench.committee.clone(), NodeId(3)),
        suite(&bench.committee.clone(), NodeId(3)),
    );
    let from = bench.done.len();
    bench.run_with_pings(6);
    assert_eq!(bench.jumps.len(), 1);
    assert_eq!(bench.rows(3), bench.rows(0));
    bench.waves(180, 10, &[0, 1, 2]);
    bench.run_with_pings(2);
    assert_eq!(bench.rows(3), bench.rows(0));
    assert_eq!(bench.sent_by(NodeId(3), MessageKind::BlockVote, from), 0, "it signs nothing");
}

/// A liar that offers, again and again, what nobody else has, is not believed; one that goes silent delays nothing.
#[test]
fn offers_of_fewer_than_one_honest_do_nothing() {
    let mut bench = Bench::with_short_history(4, 1);
    bench.waves(0, 3, &[0, 1, 2, 3]);
    bench.cut_off = Some(NodeId(3));
    bench.waves(20, 40, &[0, 1, 2]);
    bench.cut_off = None;
    let offer = || {
        let cut = Cut::genesis(&bench.committee);
        let header = Header { height: Round(1_000), cut: cut.digest(), ..Header::default() };
        CheckpointMessage::Offer(Box::new(Offer { header, cut, pieces: vec![Digest([1; 32])] }))
    };
    let body = Message::Checkpoint(offer()).encode();
    let digest = Digest(Sha256::digest(&body[..]).into());
    for _ in 0..6 {
        for _ in 0..10 {
            bench.give(NodeId(3), Event::Peer { from: NodeId(1), digest, body: body.clone() });
        }
        bench.run_with_pings(1);
    }
    assert_eq!(bench.jumps.len(), 1);
    assert!(bench.jumps[0].1.height < Round(1_000));
    assert_eq!(bench.rows(3), bench.rows(0));
}
