//! A member that has forgotten what it signed follows the others, and sends nothing that they count.

use super::*;
use crate::message::MessageKind;

impl Bench {
    /// The last member of each shard begins anew, as a follower.
    fn forget(&mut self) -> Vec<NodeId> {
        let n = self.committee.n() as u16;
        let followers: Vec<NodeId> =
            (0..self.committee.shards()).map(|shard| NodeId((shard + 1) * n - 1)).collect();
        for node in &followers {
            let config = CoreConfig {
                committee: self.committee.clone(),
                node: *node,
                lanes: LaneSettings::default(),
                mempool: MempoolLimits::default(),
                batch: 1_000,
                hash_seed: 1,
                tracing: Tracing::Off,
            };
            let suite = Arc::new(HashSuite::new(&self.committee, *node, HASH_SEED));
            self.cores[usize::from(node.0)] = Core::follower(config, suite);
        }
        for node in self.committee.nodes().collect::<Vec<_>>() {
            for peer in followers.iter().filter(|peer| **peer != node) {
                self.give(node, Event::PeerUp { peer: *peer });
                self.give(*peer, Event::PeerUp { peer: node });
            }
        }
        followers
    }

    /// What these nodes have sent since `from`.
    fn kinds_sent(&self, nodes: &[NodeId], from: usize) -> Vec<MessageKind> {
        let sent = self.done[from..].iter().filter_map(|(_, node, effect)| match effect {
            Effect::Send { body, .. } if nodes.contains(node) => Some(MessageKind::of(body)),
            _ => None,
        });
        sent.collect()
    }

    fn check_follows(&self, follower: NodeId, member: NodeId) {
        let status = |node: NodeId| self.cores[usize::from(node.0)].status();
        let (follows, leads) = (status(follower), status(member));
        assert!(follows.follows && !leads.follows);
        assert!(leads.executed > Round(0));
        assert_eq!((follows.executed, follows.header), (leads.executed, leads.header));
        assert_eq!((follows.value, follows.held), (leads.value, leads.held));
        assert_eq!((follows.parts_open, follows.lane_open, follows.mempool), (0, 0, 0));
    }
}

const ALLOWED: [MessageKind; 11] = [
    MessageKind::Halt,
    MessageKind::Entry,
    MessageKind::Transfer,
    MessageKind::CatchUp,
    MessageKind::WantEntries,
    MessageKind::WantCertificates,
    MessageKind::WantPart,
    MessageKind::AskCheckpoint,
    MessageKind::Checkpoint,
    MessageKind::WantPiece,
    MessageKind::Piece,
];

#[test]
fn a_follower_executes_what_the_others_decide_and_signs_nothing() {
    let mut bench = Bench::new(4);
    let wave = |bench: &mut Bench, wave: u64| {
        let transactions: Vec<_> = (0..3).map(|node| bench.transfer(wave * 3 + node)).collect();
        for (node, transaction) in (0..).zip(transactions) {
            bench.submit(NodeId(node), &[transaction]);
        }
        bench.run();
    };
    (0..10).for_each(|at| wave(&mut bench, at));
    let from = bench.done.len();
    let followers = bench.forget();
    (10..20).for_each(|at| wave(&mut bench, at));
    assert_eq!(bench.finished().len(), 60, "three members decide without the fourth");
    bench.check_follows(NodeId(3), NodeId(0));
    let kinds = bench.kinds_sent(&followers, from);
    assert!(kinds.contains(&MessageKind::CatchUp), "it asked for what it had missed");
    assert!(kinds.iter().all(|kind| ALLOWED.contains(kind)), "{kinds:?}");
    let transaction = bench.transfer(60);
    bench.submit(NodeId(3), &[transaction]);
    assert!(matches!(bench.replies.last(), Some(Reply::Error(error)) if error.contains("only follows")));
}

#[test]
fn a_follower_of_a_shard_follows_transfers() {
    let mut bench = Bench::of(4, 2);
    let wave = |bench: &mut Bench, coin: u64| {
        let there = bench.cross(&[(0, coin)], 1);
        let back = bench.cross(&[(0, coin + 50), (1, coin)], 0);
        bench.submit(NodeId(4), &[there]);
        bench.submit(NodeId(1), &[back]);
        bench.run();
    };
    (0..5).for_each(|coin| wave(&mut bench, coin));
    let from = bench.done.len();
    let followers = bench.forget();
    (5..10).for_each(|coin| wave(&mut bench, coin));
    assert_eq!(bench.finished().len(), 20);
    bench.check_follows(NodeId(3), NodeId(0));
    bench.check_follows(NodeId(7), NodeId(4));
    let kinds = bench.kinds_sent(&followers, from);
    assert!(kinds.iter().all(|kind| ALLOWED.contains(kind)), "{kinds:?}");
}
