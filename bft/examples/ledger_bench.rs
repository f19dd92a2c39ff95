//! The cost of a transaction to a node in admission, static validity, execution and memory:
//! `cargo run --release -p bft --example ledger_bench [TRANSACTIONS] [BYTES]`.
//!
//! The load is that of `tools load`: chains of coins, in which each transaction spends the coin that the last one
//! created.

use std::sync::Arc;

use bft::crypto::hash_suite::HashSuite;
use bft::ledger::Ledger;
use bft::pending::{MempoolLimits, Output as Done, Pending};
use bft::proposal::{ProposalBuilder, Rules};
use bft::time::Time;
use bft::trace::Tracing;
use bft::transaction::{
    Expiry, Input, Output, Owner, Transaction, encoded_bytes, genesis_coin, output_coin, tx_id,
};
use wire::audit::Section;
use wire::bytes::Bytes;
use wire::client::list;
use wire::committee::{Committee, Member, Protocol};
use wire::ids::{ClientId, CoinId, Index, NodeId, Round, ShardId};

const SHARD: ShardId = ShardId(0);
/// Transactions of one block.
const BLOCK: usize = 10_000;
/// Transactions of one submission.
const SUBMISSION: usize = 1_000;
/// Blocks after which a transaction expires.
const EXPIRY_BLOCKS: u64 = 200;
/// Time does not pass.
const NOW: Time = Time(0);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (transactions, bytes) = (number(4_000_000), number(250));
    let member = Member { public_key: [1; 32], coin_commitment: [2; 32] };
    let committee = Arc::new(Committee::new(1, Protocol::default(), vec![member], [3; 32]));
    let suite = Arc::new(HashSuite::new(&committee, NodeId(0), 7));
    let member = bft::member::Member::new(committee.clone(), suite, NodeId(0));
    let rules = Arc::new(Rules::new(&member));
    let mut ledger = Ledger::genesis(rules.clone(), 7);
    let mut pending = Pending::new(member, MempoolLimits::default(), 7);
    let mut load = Load::new(&committee, bytes);
    print_hashing(bytes);
    println!(
        "block  remembered  MB  | ns per transaction: submit  take  validate  execute  settle  | slowest block's execution, ms"
    );
    let mut sums = [0.0; 5];
    let mut slowest = 0f64;
    let mut submit = |pending: &mut Pending, ledger: &Ledger, block: u64| {
        let submissions: Vec<Bytes> = (0..BLOCK / SUBMISSION).map(|_| load.submission(block)).collect();
        timed(|| {
            for (client, body) in (0..).map(|client| ClientId(client % 8)).zip(&submissions) {
                let items = list::parse(body, SUBMISSION).expect("it is a list");
                let done = pending.submit(NOW, client, body, &items, ledger, Tracing::Off);
                assert_eq!(done, Done::default(), "all are admitted");
            }
        })
    };
    submit(&mut pending, &ledger, 1);
    for block in 1..=(transactions / BLOCK) as u64 {
        let mut times = [0.0; 5];
        let (mut payload, mut count) = (Vec::new(), 0);
        times[1] = timed(|| {
            let mut builder = ProposalBuilder::new(Vec::new(), 8 << 20, BLOCK);
            assert_eq!(pending.take(NOW, &mut builder, &ledger), Done::default(), "all can execute");
            count = builder.count();
            payload = builder.finish();
        });
        // The next block's transactions arrive before this block is executed, so they are checked again when taken.
        times[0] = submit(&mut pending, &ledger, block + 1);
        times[2] = timed(|| assert_eq!(rules.validate(&payload).map(|view| view.len()), Ok(count)));
        let mut outcome = None;
        times[3] = timed(|| outcome = Some(ledger.execute(Round(block), [(Index(0), &payload)], &|_| None)));
        let outcome = outcome.expect("the block was executed");
        assert_eq!(outcome.counts.finished, count as u64);
        times[4] = timed(|| {
            let done = pending.executed(NOW, &outcome, &ledger);
            assert_eq!(done.receipts.values().map(Vec::len).sum::<usize>(), count);
        });
        slowest = slowest.max(times[3] * 1e3);
        for (sum, time) in sums.iter_mut().zip(times) {
            *sum += time;
        }
        if block % 50 == 0 {
            let ns = sums.map(|sum| sum * 1e9 / (50 * BLOCK) as f64);
            println!(
                "{block:>5}  {:>10}  {:>3}  | {:>6.0} {:>6.0} {:>6.0} {:>6.0} {:>6.0}  | {slowest:.1}",
                ledger.remembered(),
                ledger.allocated_bytes() >> 20,
                ns[0],
                ns[1],
                ns[2],
                ns[3],
                ns[4]
            );
            (sums, slowest) = ([0.0; 5], 0.0);
        }
    }
    print_audit(&ledger);
}

/// What comparing the ledger with others costs: the round loop the clone, a thread beside it the rest.
fn print_audit(ledger: &Ledger) {
    let mut clone = None;
    let clone_s = timed(|| clone = Some(ledger.clone()));
    let clone = clone.expect("it was cloned");
    let mut items = 0;
    let sums_s = timed(|| {
        let sums = clone.sums();
        items = Section::ALL.iter().map(|section| sums.of(*section).items).sum();
    });
    println!(
        "a ledger of {} MB: {:.1} ms for a clone, {:.2} s for its sums, {:.0} ns for each of {items} items",
        ledger.allocated_bytes() >> 20,
        clone_s * 1e3,
        sums_s,
        sums_s * 1e9 / items as f64
    );
}

/// The cost of hashing alone: a lower bound of all figures below.
fn print_hashing(bytes: usize) {
    const TIMES: usize = 1_000_000;
    let mut buffer = vec![0; bytes];
    let id_s = timed(|| {
        for _ in 0..TIMES {
            let id = tx_id(&buffer);
            buffer[..32].copy_from_slice(&id.0);
        }
    });
    let mut id = tx_id(&buffer);
    let coin_s = timed(|| (0..TIMES).for_each(|_| id.0 = output_coin(&id, 0).0));
    let ns = [id_s, coin_s].map(|s| s * 1e9 / TIMES as f64);
    println!(
        "ns for the id of a transaction of {bytes} bytes: {:.0}, for that of a coin: {:.0}",
        ns[0], ns[1]
    );
}

/// Processor seconds of the work, so that other work on the machine does not count.
fn timed(work: impl FnOnce()) -> f64 {
    let start = cpu_s();
    work();
    cpu_s() - start
}

/// Seconds this thread has run, as the scheduler counts them. Exact to a tick; averages over blocks are better.
fn cpu_s() -> f64 {
    let text =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts each thread's run time");
    let ns = text.split(' ').next().and_then(|word| word.parse::<u64>().ok());
    ns.expect("the first word of schedstat is a number of nanoseconds") as f64 / 1e9
}

struct Load {
    coins: Vec<CoinId>,
    amount: u64,
    payload: Vec<u8>,
    next: usize,
}

impl Load {
    fn new(committee: &Committee, bytes: usize) -> Load {
        let Protocol { genesis_coins, genesis_amount, .. } = *committee.protocol();
        let coins =
            (0..genesis_coins).map(|index| genesis_coin(&committee.testbed(), SHARD, index)).collect();
        let payload = vec![0xA5; bytes.saturating_sub(encoded_bytes(1, 1, 1, 0, 0))];
        Load { coins, amount: genesis_amount, payload, next: 0 }
    }

    fn submission(&mut self, block: u64) -> Bytes {
        let mut body = Vec::new();
        let mut encoded = Vec::new();
        let at = list::begin(&mut body);
        for _ in 0..SUBMISSION {
            // A stride that no neighbour shares: coins are spent in an order that memory does not follow.
            self.next = (self.next + 77_773) % self.coins.len();
            let coin = &mut self.coins[self.next];
            encoded.clear();
            Transaction {
                inputs: &[Input { shard: SHARD, coin: *coin, amount: self.amount }],
                output_shard: SHARD,
                outputs: &[Output { owner: Owner([0; 32]), amount: self.amount }],
                expiries: &[Expiry { shard: SHARD, round: Round(block + EXPIRY_BLOCKS) }],
                payload: &self.payload,
            }
            .encode_into(&mut encoded);
            *coin = output_coin(&tx_id(&encoded), 0);
            list::push(&mut body, &encoded);
        }
        list::finish(&mut body, at, SUBMISSION);
        Bytes::from(body)
    }
}
