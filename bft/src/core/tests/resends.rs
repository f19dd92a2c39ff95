//! Bounds on what whole cores send again for new processes of peers and for restarts of their own children.

use wire::ids::{CoinId, NodeId, Round, ShardId};
use wire::limits::{LANE_OPEN_BYTES_MAX, PROPOSAL_BYTES_MAX, RESEND_BURST_BYTES};

use super::Bench;
use crate::event::{Effect, Event};
use crate::sim::net::Net;
use crate::time::Span;
use crate::transaction::{Expiry, Input, Output, Owner, Transaction};

/// Bytes of the outlet that each message takes beside its body.
const MESSAGE_BYTES: u64 = 128;
/// The burst of the node's own lane, the entry that goes beyond it, and 1 MiB for all other open messages.
const AT_ONCE_MAX: u64 = RESEND_BURST_BYTES + PROPOSAL_BYTES_MAX + (1 << 20);

fn outlet_bytes(effects: &[Effect]) -> u64 {
    let bytes = effects.iter().map(|effect| match effect {
        Effect::Send { body, .. } => MESSAGE_BYTES + body.len() as u64,
        _ => 0,
    });
    bytes.sum()
}

/// A shard of n whose core 0 has a full window that has reached no other core.
fn full_window(n: u16) -> Bench {
    let mut bench = Bench::new(n);
    let transaction = |number: u64| {
        let mut coin = [0xAB; 32];
        coin[..8].copy_from_slice(&number.to_le_bytes());
        Transaction {
            inputs: &[Input { shard: ShardId(0), coin: CoinId(coin), amount: 1 }],
            output_shard: ShardId(0),
            outputs: &[Output { owner: Owner([1; 32]), amount: 1 }],
            expiries: &[Expiry { shard: ShardId(0), round: Round(1_000) }],
            payload: &[0; 60_000],
        }
        .encode()
    };
    let transactions: Vec<Vec<u8>> = (0..700).map(transaction).collect();
    bench.submit(NodeId(0), &transactions);
    bench.net = Net::default();
    let open = bench.cores[0].status().lane_open;
    assert!(open > 0 && bench.cores[0].lanes.room().is_none_or(|room| room < 1 << 20), "{open} open");
    bench
}

fn give(bench: &mut Bench, event: Event) -> u64 {
    outlet_bytes(&bench.cores[0].handle(bench.now, event))
}

#[test]
fn reconnects_and_restarts_cause_a_bounded_resend() {
    for n in [4u16, 10, 16, 31] {
        let mut bench = full_window(n);
        bench.now = bench.now + Span::from_ms(500);
        let mut ups = 0;
        for _ in 0..10 {
            for peer in 1..n {
                ups += give(&mut bench, Event::PeerUp { peer: NodeId(peer) });
            }
        }
        assert!(ups <= AT_ONCE_MAX, "N = {n}: {ups} bytes at once by ten new processes of each peer");
        let mut bench = full_window(n);
        let restarted = give(&mut bench, Event::ChildRestarted);
        assert!(restarted <= AT_ONCE_MAX, "N = {n}: {restarted} bytes at once by a restart of a child");
        assert!(restarted >= RESEND_BURST_BYTES && LANE_OPEN_BYTES_MAX > RESEND_BURST_BYTES);
    }
}

#[test]
fn a_peer_that_returns_gets_open_messages_once_a_second() {
    let mut bench = Bench::new(4);
    let transaction = bench.transfer(0);
    bench.submit(NodeId(0), &[transaction]);
    bench.net = Net::default();
    let up = || Event::PeerUp { peer: NodeId(1) };
    assert!(give(&mut bench, up()) > 0);
    bench.now = bench.now + Span::from_ms(300);
    let before = bench.cores[0].next_wakeup();
    let again = give(&mut bench, up());
    assert_eq!(again, 0, "the first time was 300 ms ago");
    assert!(before.is_some(), "entries wait for echoes");
    let due = bench.cores[0].returns.due().expect("its turn is to come");
    assert_eq!(due, bench.now + Span::from_ms(700));
    assert!(bench.cores[0].next_wakeup() <= Some(due));
    bench.now = due;
    assert!(give(&mut bench, Event::Tick) > 0);
    assert_eq!(bench.cores[0].returns.due(), None);
    assert_eq!(give(&mut bench, Event::PeerUp { peer: NodeId(99) }), 0, "a stranger");
}
