//! An event costs what it changes, never what waits: the steps that the work meter counts ([`Core::work`]) for a node
//! that is further and further behind. `pending::tests::work` does the same for what waits of transactions.

use super::*;

const BEHIND: NodeId = NodeId(3);

/// A shard of four without one node, which decides a block for each of these coins; then the node is back.
struct CatchUp {
    bench: Bench,
    coins: u64,
}

impl CatchUp {
    fn new(coins: u64) -> CatchUp {
        CatchUp { bench: Bench::with_coins(4, 1, coins, Tracing::Off), coins: 0 }
    }

    fn transfer(&mut self) -> Vec<u8> {
        let testbed = self.bench.committee.testbed();
        let amount = self.bench.committee.protocol().genesis_amount;
        let coin = genesis_coin(&testbed, ShardId(0), self.coins);
        self.coins += 1;
        let round = Round(self.bench.cores[0].status_at_hand().executed.0 + 1_000);
        Transaction {
            inputs: &[Input { shard: ShardId(0), coin, amount }],
            output_shard: ShardId(0),
            outputs: &[Output { owner: Owner([1; 32]), amount }],
            expiries: &[Expiry { shard: ShardId(0), round }],
            payload: &[0; 50],
        }
        .encode()
    }

    /// The others decide so many rounds, with an entry of each of two lanes in most.
    fn miss(&mut self, rounds: u64) {
        self.bench.cut_off = Some(BEHIND);
        let start = self.bench.cores[0].status_at_hand().executed.0;
        while self.bench.cores[0].status_at_hand().executed.0 < start + rounds {
            for node in [0, 1] {
                let transaction = self.transfer();
                self.bench.submit(NodeId(node), &[transaction]);
            }
            let before = self.bench.cores[0].status_at_hand().executed;
            while self.bench.cores[0].status_at_hand().executed == before {
                assert!(self.bench.next_due().is_some(), "the round is decided");
                self.bench.step();
            }
            self.bench.done.clear();
        }
        self.bench.cut_off = None;
    }

    /// The node catches up; returns the steps that it took for each round.
    fn steps_a_round(&mut self) -> f64 {
        let of = |bench: &Bench, node: NodeId| bench.cores[usize::from(node.0)].status_at_hand();
        let (from, to) = (of(&self.bench, BEHIND).executed, of(&self.bench, NodeId(0)).executed);
        let before = self.bench.cores[usize::from(BEHIND.0)].work();
        for peer in [NodeId(0), NodeId(1), NodeId(2)] {
            self.bench.give(BEHIND, Event::PeerDecided { peer, decided: to });
        }
        assert_eq!(of(&self.bench, BEHIND).behind, to.0 - from.0);
        let end = self.bench.now + Span::from_ms(60_000);
        while of(&self.bench, BEHIND).executed < to {
            assert!(self.bench.now < end, "at {}", of(&self.bench, BEHIND).executed);
            self.bench.step();
            if self.bench.done.len() > 10_000 {
                self.bench.done.clear();
            }
        }
        let steps = self.bench.cores[usize::from(BEHIND.0)].work() - before;
        steps as f64 / (to.0 - from.0) as f64
    }
}

#[test]
fn a_round_of_catching_up_costs_the_same_however_many_are_missing() {
    let missing = [1_000, 2_000, 4_000, 8_000];
    let mut catch_up = CatchUp::new(32_000);
    let steps: Vec<f64> = missing
        .into_iter()
        .map(|rounds| {
            catch_up.miss(rounds);
            let steps = catch_up.steps_a_round();
            println!("{rounds} rounds behind: {steps:.1} steps a round");
            steps
        })
        .collect();
    let (least, most) =
        (steps.iter().copied().fold(f64::MAX, f64::min), steps.iter().copied().fold(0.0, f64::max));
    assert!(least > 0.0 && most <= 1.5 * least, "{steps:?}");
}
