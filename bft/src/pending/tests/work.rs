//! The cost of an event, in steps over tables, beside a backlog: the tables are filled with a thousand, ten thousand
//! and a hundred thousand transactions, and the same events follow. In steps, not in time.

use wire::ids::PartNumber;

use super::*;
use crate::message::{Incoming, encode_copies, encode_order};
use crate::proposal::ProposalBuilder;
use crate::time::Span;

const ONE: ShardId = ShardId(1);
/// Coins for backlogs, then coins for the events that are measured.
const BACKLOG_MAX: u64 = 100_000;
const EVENT_COINS: u64 = 200;
/// Transactions of one event.
const FEW: u64 = 20;
const START: Time = Time(1_000_000);

/// The content of a table.
#[derive(Clone, Copy, Debug)]
enum Backlog {
    /// Transactions of this shard alone that wait to be proposed.
    Waiting,
    /// Entries of the pool, which are asked for.
    Pooled,
    /// Records of what has spent here for another shard.
    Open,
    /// Orders of another shard, as home or as backup.
    Orders,
    /// Copies of what another member has.
    Copies,
}

impl Bench {
    /// A shard of three of four, of which one other member is connected, in which so many of a kind wait.
    fn with(backlog: Backlog, count: u64) -> Bench {
        let protocol =
            Protocol { genesis_coins: BACKLOG_MAX + EVENT_COINS, genesis_amount: 100, ..Protocol::default() };
        let (transactions_max, bytes_max) = (4_000_000, 1 << 40);
        let limits = MempoolLimits { transactions_max, bytes_max, ..MempoolLimits::default() };
        let mut bench = Bench::of(Committee::new(4, protocol, vec![keys(); 12], [3; 32]), limits);
        bench.pending.peer_up(NodeId(1));
        let made: Vec<u64> = (0..count).collect();
        for indexes in made.chunks(1_000) {
            let few = indexes.iter().copied();
            match backlog {
                Backlog::Waiting => bench.submit_few(few),
                Backlog::Pooled => bench.execute_few(few, &[HERE, ONE], HERE),
                Backlog::Open => bench.execute_few(few, &[HERE, ONE], ONE),
                Backlog::Orders => bench.order_few(few),
                Backlog::Copies => bench.copy_few(few),
            }
        }
        let waiting = match backlog {
            Backlog::Waiting => bench.pending.waiting(),
            Backlog::Pooled => bench.ledger.pool_len().min(bench.pending.list.asked_for()),
            Backlog::Open => bench.ledger.open_records(),
            Backlog::Orders | Backlog::Copies => bench.pending.len(),
        };
        assert_eq!(waiting as u64, count, "{backlog:?}");
        bench
    }

    fn spends(
        &self,
        indexes: impl Iterator<Item = u64>,
        shards: &[ShardId],
        output: ShardId,
    ) -> Vec<Vec<u8>> {
        let testbed = self.ledger.committee().testbed();
        let spend = |index| {
            let inputs = shards.iter().map(|shard| {
                let coin = genesis_coin(&testbed, *shard, index);
                Input { shard: *shard, coin, amount: 100 }
            });
            let expiries = shards.iter().map(|shard| Expiry { shard: *shard, round: Round(5_000) });
            Transaction {
                inputs: &inputs.collect::<Vec<_>>(),
                output_shard: output,
                outputs: &[transaction::Output { owner: Owner([7; 32]), amount: 100 * shards.len() as u64 }],
                expiries: &expiries.collect::<Vec<_>>(),
                payload: b"",
            }
            .encode()
        };
        indexes.map(spend).collect()
    }

    fn submit_few(&mut self, indexes: impl Iterator<Item = u64>) {
        let spends = self.spends(indexes, &[HERE], HERE);
        assert_eq!(self.submit(ALICE, &spends.iter().map(Vec::as_slice).collect::<Vec<_>>()), []);
    }

    fn execute_few(&mut self, indexes: impl Iterator<Item = u64>, shards: &[ShardId], output: ShardId) {
        let spends = self.spends(indexes, shards, output);
        let payload = of(&spends.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let _ = self.step(&[payload]);
    }

    fn order_few(&mut self, indexes: impl Iterator<Item = u64>) {
        let orders = self.spends(indexes, &[HERE], ONE);
        let body = encode_order(orders.iter().map(Vec::as_slice));
        let output = self.pending.on_order(START, NodeId(4), &body.slice(1..body.len()), &self.ledger);
        assert_eq!(output, Output::default());
    }

    fn copy_few(&mut self, indexes: impl Iterator<Item = u64>) {
        let copies = self.spends(indexes, &[HERE], HERE);
        let body = encode_copies(None, Position::FIRST, copies.iter().map(Vec::as_slice));
        let Some(Incoming::Copies(copies)) = Incoming::decode(&body) else { panic!("copies") };
        let output = self.pending.on_copies(START, NodeId(1), &copies, &self.ledger);
        assert_eq!((output.faults, output.prompt.len()), (vec![], 1));
    }

    /// The steps of each event, one after another.
    fn measure(&mut self) -> Vec<(&'static str, u64)> {
        // As many copies as the window holds are on their way.
        let _ = self.pending.share(START);
        let coins = |event: u64| (BACKLOG_MAX + FEW * event)..(BACKLOG_MAX + FEW * (event + 1));
        let ids: Vec<TxId> = (0..FEW).map(|number| TxId([number as u8; 32])).collect();
        let mut measured = Vec::new();
        let mut event = |bench: &mut Bench, name, step: &mut dyn FnMut(&mut Bench)| {
            let before = bench.pending.work() + bench.ledger.work();
            step(bench);
            measured.push((name, bench.pending.work() + bench.ledger.work() - before));
        };
        event(self, "submission", &mut |bench| bench.submit_few(coins(0)));
        event(self, "order", &mut |bench| bench.order_few(coins(1)));
        event(self, "copies", &mut |bench| bench.copy_few(coins(5)));
        event(self, "tick of copies", &mut |bench| _ = bench.pending.share(START + Span::from_ms(100)));
        event(self, "new process of a holder", &mut |bench| bench.pending.start_over(NodeId(2)));
        event(self, "query", &mut |bench| _ = bench.pending.query(BOB, &ids, &bench.ledger));
        for node in [4, 5] {
            event(self, "CL", &mut |bench| {
                let ids = ids.iter().map(|id| (*id, Cause::Expired)).collect();
                let message = RejectMessage::Rejected { imported: PartNumber(0), ids };
                let _ = bench.pending.on_reject(START, NodeId(node), message, &bench.ledger);
            });
        }
        event(self, "spent", &mut |bench| {
            let spent: Vec<_> = ids.iter().map(|id| (*id, PartNumber(1))).collect();
            let _ = bench.pending.on_spent(START, NodeId(4), &spent);
        });
        event(self, "block", &mut |bench| bench.execute_few(coins(2), &[HERE], HERE));
        event(self, "block that spends", &mut |bench| bench.execute_few(coins(3), &[HERE, ONE], ONE));
        event(self, "block that pools", &mut |bench| bench.execute_few(coins(4), &[HERE, ONE], HERE));
        event(self, "proposal", &mut |bench| {
            let mut builder = ProposalBuilder::new(Vec::new(), ROOM, FEW as usize);
            let _ = bench.pending.take(START, &mut builder, &bench.ledger);
        });
        event(self, "promotion", &mut |bench| bench.pending.promote(START, bench.ledger.height(), |_| 0));
        event(self, "tick", &mut |bench| {
            let _ = bench.pending.tick(START + Span::from_ms(3_000), &bench.ledger);
        });
        event(self, "next due time", &mut |bench| _ = bench.pending.next_wakeup(bench.ledger.height()));
        event(self, "restart of a child", &mut |bench| bench.pending.on_child_restarted(START));
        event(self, "end of a client", &mut |bench| bench.pending.client_gone(ALICE));
        measured
    }
}

#[test]
fn an_event_costs_no_more_steps_however_many_wait() {
    for backlog in [Backlog::Waiting, Backlog::Pooled, Backlog::Open, Backlog::Orders, Backlog::Copies] {
        let [few, more, most] =
            [1_000, 10_000, BACKLOG_MAX].map(|count| Bench::with(backlog, count).measure());
        assert!(few.iter().map(|(_, steps)| steps).sum::<u64>() > 10 * FEW, "{backlog:?}: {few:?}");
        for measured in [more, most] {
            for ((event, steps), (_, at_first)) in measured.into_iter().zip(&few) {
                let case = format!("{backlog:?}, {event}: {at_first} steps beside 1,000, then {steps}");
                assert!(2 * steps <= 3 * at_first, "{case}");
                println!("{case}");
            }
        }
    }
}
