//! The real `net_client` against Byzantine listeners and a dead one: they cost their own link alone.

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use wire::dest::Dest;
use wire::envelope::{Class, FromCore, Progress, ToCore};
use wire::ids::{NodeId, Round, Seq};
use wire::limits::{LISTENER_CHATTER_MAX, OUTBOX_BYTES_MAX};

use common::{Acks, Bench, Connection, keep};

const HOSTILE: NodeId = NodeId(1);
const HONEST: NodeId = NodeId(2);

/// Waits until a link is reported as lost.
fn wait_down(bench: &mut Bench, peer: NodeId) {
    bench.wait_for(|message| (*message == ToCore::PeerDown { peer }).then_some(()));
}

/// Waits until so many refusals are reported under a name.
fn wait_refused(bench: &mut Bench, name: &str, count: u64) {
    bench.wait_for(|message| match message {
        ToCore::Counters { refused, .. } => {
            let refused: BTreeMap<_, _> = refused.iter().cloned().collect();
            refused.get(name).is_some_and(|counted| *counted >= count).then_some(())
        }
        _ => None,
    });
}

/// Sends acks that confirm nothing, each write as long as one read of `net_client`, until the connection fails.
fn flood(connection: &mut Connection) {
    const READ_BYTES: usize = 4096;
    let mut acks = Vec::new();
    loop {
        while acks.len() < READ_BYTES {
            connection.sealer.seal_ack(0, &mut acks);
        }
        if connection.stream.write_all(&acks[..READ_BYTES]).is_err() {
            return;
        }
        acks.drain(..READ_BYTES);
        thread::sleep(Duration::from_micros(300));
    }
}

#[test]
fn a_listener_that_floods_acks_delays_no_other_link_and_is_closed() {
    let (mut bench, listeners) = Bench::start(3);
    let (hostile, mut honest) = (bench.peer(HOSTILE.0), bench.peer(HONEST.0));
    let mut flooding = hostile.accept(&listeners[0]);
    let mut connection = honest.accept(&listeners[1]);
    bench.send([keep(0)]);
    honest.receive(&mut connection, 1, Acks::Sent);
    let flooder = thread::spawn(move || flood(&mut flooding));
    thread::sleep(Duration::from_millis(300));
    let cut = Instant::now();
    connection.close();
    wait_down(&mut bench, HONEST);
    let noticed = cut.elapsed();
    assert!(noticed < Duration::from_secs(1), "a lost link is noticed after {noticed:?}");
    wait_refused(&mut bench, "listener that floods", 1);
    flooder.join().unwrap();
}

#[test]
fn a_few_acks_without_news_are_lawful_and_a_lie_is_not() {
    let (mut bench, listeners) = Bench::start(2);
    let mut peer = bench.peer(HOSTILE.0);
    let mut connection = peer.accept(&listeners[0]);
    let mut acks = Vec::new();
    (0..LISTENER_CHATTER_MAX / 2).for_each(|_| connection.sealer.seal_ack(0, &mut acks));
    connection.stream.write_all(&acks).unwrap();
    bench.send([keep(0)]);
    assert_eq!(peer.receive(&mut connection, 1, Acks::Sent).len(), 1, "the link goes on");
    let mut lie = Vec::new();
    connection.sealer.seal_ack(2, &mut lie);
    connection.stream.write_all(&lie).unwrap();
    wait_down(&mut bench, HOSTILE);
    wait_refused(&mut bench, "ack of what was never sent", 1);
}

#[test]
fn a_listener_that_closes_again_and_again_is_seldom_logged() {
    const SESSIONS: u32 = 25;
    let (mut bench, listeners) = Bench::start(2);
    let mut peer = bench.peer(HOSTILE.0);
    for number in 0..SESSIONS {
        bench.send([keep(number)]);
        let mut connection = peer.accept(&listeners[0]);
        // A link that carried something is dialled again soon.
        peer.receive(&mut connection, 1, Acks::Sent);
        connection.close();
        wait_down(&mut bench, HOSTILE);
    }
    let log = std::fs::read_to_string(bench.dir.join("log")).unwrap();
    let lines = log.lines().filter(|line| line.contains("link")).count();
    assert!((10..=33).contains(&lines), "{lines} lines for {SESSIONS} sessions:\n{log}");
}

/// Processor time of a process so far, in ticks of 10 ms.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_dead_peer_costs_no_processor_time_however_much_waits_for_it() {
    const DEAD: NodeId = NodeId(1);
    const ROUNDS: u64 = 3_000;
    let (mut bench, listeners) = Bench::start(3);
    let mut honest = bench.peer(HONEST.0);
    let mut connection = honest.accept(&listeners[1]);
    // Its outbox is full, of messages that no progress finishes.
    let messages = OUTBOX_BYTES_MAX / 300;
    let to_dead =
        |_| (FromCore::Send { dest: Dest::Node(DEAD), class: Class::Keep, digest: None }, vec![7; 100]);
    bench.send((0..messages).map(to_dead));
    bench.send([keep(0)]);
    honest.receive(&mut connection, 1, Acks::Sent);
    let before = cpu_ticks(bench.child.id());
    bench.send((1..=ROUNDS).map(|round| {
        let lanes = (0..3).map(|node| (NodeId(node), Seq(round))).collect();
        (FromCore::Progress(Progress { decided: Round(round), lanes }), vec![])
    }));
    bench.send([keep(1)]);
    honest.receive(&mut connection, 1, Acks::Sent);
    let used = cpu_ticks(bench.child.id()) - before;
    println!("{used} ticks of 10 ms for {ROUNDS} rounds with {messages} messages waiting");
    assert!(used <= 30, "{used} ticks of 10 ms for {ROUNDS} rounds");
}
