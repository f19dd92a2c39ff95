//! What peers and our own children can make whole cores send: by new processes, by restarts, by false proposals.

use sha2::{Digest as _, Sha256};
use wire::ids::{CoinId, Digest, Index, NodeId, Round, Seq, ShardId, View};
use wire::limits::{LANE_OPEN_BYTES_MAX, PROPOSAL_BYTES_MAX, RESEND_BURST_BYTES};

use super::Bench;
use crate::cut::{Cut, Tip};
use crate::event::{Effect, Event};
use crate::justification::Justification;
use crate::lane::LaneMessage;
use crate::message::{Incoming, Message};
use crate::mvba::MvbaMessage;
use crate::round::RoundMessage;
use crate::spb::SpbMessage;
use crate::time::Span;
use crate::transaction::{Expiry, Input, Output, Owner, Transaction};

/// What each message takes of the outlet beside its body.
const MESSAGE_BYTES: u64 = 128;
/// The burst of the own lane and the entry that goes beyond it; all else that is open is far below the rest.
const AT_ONCE_MAX: u64 = RESEND_BURST_BYTES + PROPOSAL_BYTES_MAX + (1 << 20);

fn outlet_bytes(effects: &[Effect]) -> u64 {
    let bytes = effects.iter().map(|effect| match effect {
        Effect::Send { body, .. } => MESSAGE_BYTES + body.len() as u64,
        _ => 0,
    });
    bytes.sum()
}

/// A core of a shard of n whose window is full, while nobody else has heard of it.
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
    bench.queue.clear();
    let open = bench.cores[0].status().lane_open;
    assert!(open > 0 && bench.cores[0].lanes.room().is_none_or(|room| room < 1 << 20), "{open} open");
    bench
}

fn give(bench: &mut Bench, event: Event) -> u64 {
    outlet_bytes(&bench.cores[0].handle(bench.now, event))
}

#[test]
fn reconnects_and_restarts_put_a_bounded_number_of_bytes_into_the_outlet() {
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
        bench.now = bench.now + Span::from_ms(100);
        let mut bench = full_window(n);
        let restarted = give(&mut bench, Event::ChildRestarted);
        assert!(restarted <= AT_ONCE_MAX, "N = {n}: {restarted} bytes at once by a restart of a child");
        assert!(restarted >= RESEND_BURST_BYTES && LANE_OPEN_BYTES_MAX > RESEND_BURST_BYTES);
    }
}

#[test]
fn a_peer_that_returns_soon_again_gets_what_is_open_a_second_later() {
    let mut bench = Bench::new(4);
    let transaction = bench.transfer(0);
    bench.submit(NodeId(0), &[transaction]);
    bench.queue.clear();
    let up = || Event::PeerUp { peer: NodeId(1) };
    assert!(give(&mut bench, up()) > 0);
    bench.now = bench.now + Span::from_ms(300);
    let before = bench.cores[0].next_wakeup();
    let again = give(&mut bench, up());
    assert_eq!(again, 0, "the first one was a moment ago");
    assert!(before.is_some(), "entries wait for echoes");
    let due = bench.cores[0].returns.due().expect("its turn is to come");
    assert_eq!(due, bench.now + Span::from_ms(700));
    assert!(bench.cores[0].next_wakeup() <= Some(due));
    bench.now = due;
    assert!(give(&mut bench, Event::Tick) > 0);
    assert_eq!(bench.cores[0].returns.due(), None);
    assert_eq!(give(&mut bench, Event::PeerUp { peer: NodeId(99) }), 0, "a stranger");
}

/// One SEND of a Byzantine leader, with an unknown entry in every lane.
#[test]
fn a_false_proposal_makes_each_member_ask_its_author_once() {
    for n in [4u16, 16, 64, 128] {
        let mut bench = Bench::new(n);
        let cut = Cut(vec![Tip { seq: Seq(1), digest: Digest([0xEE; 32]) }; usize::from(n)]);
        let message = SpbMessage::Send { cut, justification: Justification::default() };
        let message = MvbaMessage::Spb { view: View(0), leader: Index(1), message };
        let body = Message::Round(RoundMessage::Mvba { round: Round(1), message }).encode();
        let digest = Digest(Sha256::digest(&body[..]).into());
        bench.give(NodeId(0), Event::Peer { from: NodeId(1), digest, body });
        let asked = bench.queue.iter().filter_map(|(_, to, event)| match event {
            Event::Peer { body, .. } => match Incoming::decode(body) {
                Some(Incoming::Message(Message::Lane(LaneMessage::WantCertificates { tips }))) => {
                    Some((*to, tips.len()))
                }
                _ => None,
            },
            _ => None,
        });
        assert_eq!(asked.collect::<Vec<_>>(), [(NodeId(1), usize::from(n))], "N = {n}");
    }
}
