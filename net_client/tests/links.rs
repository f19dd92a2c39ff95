//! The real `net_client` against listeners made of `wire::session`, over loopback.
//!
//! Each test acts as the core at one end (a socket pair) and as the peers at the other (free ports).

mod common;

use std::io::ErrorKind;
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use wire::bytes::Bytes;
use wire::envelope::{Class, FromCore, Progress, ToCore};
use wire::ids::{NodeId, Round};
use wire::ipc::IpcWriter;
use wire::link_rule::LinkRule;

use common::{Acks, Bench, Connection, FakePeer, keep, numbers, with_class};

const PEER: NodeId = NodeId(1);

#[test]
fn broken_connections_lose_and_double_no_frame() {
    let (mut bench, listeners) = Bench::start(2);
    let mut peer = bench.peer(1);
    bench.send((0..400).map(keep));
    let mut got = Vec::new();
    for connection_number in 0..10 {
        let mut connection = peer.accept(&listeners[0]);
        // Every third connection sends no acks, so the next hello has to confirm its frames.
        let acks = if connection_number % 3 == 2 { Acks::Kept } else { Acks::Sent };
        let enough = if connection_number < 9 { 25 } else { 400 - got.len() };
        got.extend(peer.receive(&mut connection, enough, acks));
        connection.close();
    }
    assert_eq!(numbers(&got), (0..400).collect::<Vec<u32>>());
    assert_eq!(bench.next_change(), ToCore::PeerUp { peer: PEER });
    for _ in 0..9 {
        assert_eq!(bench.next_change(), ToCore::PeerDown { peer: PEER });
        assert_eq!(bench.next_change(), ToCore::PeerBack { peer: PEER });
    }
}

#[test]
fn a_new_listener_gets_the_unconfirmed_frames_and_is_reported() {
    let (mut bench, listeners) = Bench::start(2);
    let mut peer = bench.peer(1);
    bench.send((0..10).map(keep));
    let mut connection = peer.accept(&listeners[0]);
    assert_eq!(peer.receive(&mut connection, 10, Acks::Sent).len(), 10);
    assert_eq!(bench.next_change(), ToCore::PeerUp { peer: PEER });
    bench.wait_for(|message| {
        (*message == ToCore::PeerDecided { peer: PEER, decided: Round(9) }).then_some(())
    });
    bench.wait_for(|message| match message {
        ToCore::Counters { links, .. } => (links[0].1.unconfirmed == 0).then_some(()),
        _ => None,
    });
    bench.send((10..15).map(keep));
    peer.receive(&mut connection, 5, Acks::Kept);
    connection.close();

    let mut peer = bench.peer(1);
    let mut connection = peer.accept(&listeners[0]);
    let again = peer.receive(&mut connection, 5, Acks::Sent);
    assert_eq!(numbers(&again), [10, 11, 12, 13, 14]);
    assert_eq!(bench.next_change(), ToCore::PeerDown { peer: PEER });
    assert_eq!(bench.next_change(), ToCore::PeerUp { peer: PEER });
}

#[test]
fn a_peer_that_never_reads_delays_no_other_and_its_outbox_is_bounded() {
    const BODIES: u32 = 100;
    let (mut bench, listeners) = Bench::start(3);
    let deaf = bench.peer(1).accept(&listeners[0]);
    let mut peer = bench.peer(2);
    let mut connection = peer.accept(&listeners[1]);
    let sending = {
        let mut core = bench.core.try_clone().unwrap();
        thread::spawn(move || {
            let mut writer = IpcWriter::new();
            for number in 0..BODIES {
                let (message, mut body) = keep(number);
                body.resize(1 << 20, number as u8);
                writer.push(&message, &Bytes::from(body));
                writer.write_all(&mut core).unwrap();
            }
        })
    };
    let bodies = peer.receive(&mut connection, BODIES as usize, Acks::Sent);
    assert_eq!(numbers(&bodies), (0..BODIES).collect::<Vec<u32>>());
    sending.join().unwrap();
    let dropped = bench.wait_for(|message| match message {
        ToCore::Counters { links, .. } => {
            let (deaf, other) = (links[0].1, links[1].1);
            assert_eq!(other.dropped, 0, "{links:?}");
            // Reports arrive in order, so this waits for one that counts all bodies.
            (other.data_sent >= u64::from(BODIES) && other.unconfirmed == 0).then_some(deaf.dropped)
        }
        _ => None,
    });
    assert!((36..BODIES.into()).contains(&dropped), "64 MiB of 100 are kept, {dropped} bodies were dropped");
    deaf.close();
}

#[test]
fn finished_messages_are_not_sent_to_a_peer_that_connects_late() {
    let (mut bench, listeners) = Bench::start(2);
    bench.send((0..20).map(|number| with_class(number, Class::Round(Round(1 + u64::from(number % 2))))));
    bench.send([(FromCore::Progress(Progress { decided: Round(1), lanes: vec![] }), vec![]), keep(20)]);
    // The outbox has processed the progress once a hello carries its decided round.
    let mut peer = bench.peer(1);
    let mut connection = loop {
        let (connection, hello) = peer.accept_hello(&listeners[0]);
        if hello.decided == Round(1) {
            break connection;
        }
        connection.close();
    };
    let bodies = peer.receive(&mut connection, 11, Acks::Sent);
    assert_eq!(numbers(&bodies), [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 20]);
}

fn rule(text: &str) -> (FromCore, Vec<u8>) {
    (FromCore::Rule { peer: PEER, rule: LinkRule::parse(text).unwrap() }, Vec::new())
}

/// A time that a quiet link is watched for, short beside every patience of the processes.
const A_WHILE: Duration = Duration::from_millis(300);

#[test]
fn a_link_that_is_cut_carries_nothing_and_goes_on_where_it_stopped() {
    let (mut bench, listeners) = Bench::start(2);
    let mut peer = bench.peer(1);
    bench.send([keep(0)]);
    let mut connection = peer.accept(&listeners[0]);
    assert_eq!(numbers(&peer.receive(&mut connection, 1, Acks::Sent)), [0]);
    // Longer than the interval of pings, none of which may pass.
    bench.send([rule("cut"), keep(1), keep(2)]);
    thread::sleep(A_WHILE);
    connection.stream.set_read_timeout(Some(Duration::from_millis(1_500))).unwrap();
    let silence = connection.stream.peek(&mut [0]).map_err(|error| error.kind());
    assert_eq!(silence, Err(ErrorKind::WouldBlock));
    connection.stream.set_read_timeout(None).unwrap();
    bench.send([keep(3), rule("none"), keep(4)]);
    assert_eq!(numbers(&peer.receive(&mut connection, 4, Acks::Sent)), [1, 2, 3, 4]);
}

#[test]
fn a_link_lost_while_it_is_cut_is_dialled_when_it_heals() {
    let (mut bench, listeners) =
        Bench::start_with(2, &["--limits", "ping-interval-ms=100,ping-timeout-ms=200"], "delay=0ms");
    let mut peer = bench.peer(1);
    bench.send([keep(0)]);
    let mut connection = peer.accept(&listeners[0]);
    assert_eq!(numbers(&peer.receive(&mut connection, 1, Acks::Sent)), [0]);
    assert_eq!(bench.next_change(), ToCore::PeerUp { peer: PEER });
    bench.send([rule("cut"), keep(1)]);
    assert_eq!(bench.next_change(), ToCore::PeerDown { peer: PEER }, "its pings are not answered");
    listeners[0].set_nonblocking(true).unwrap();
    // The first dial after a loss comes after 110 ms at most.
    thread::sleep(2 * A_WHILE);
    assert_eq!(listeners[0].accept().map_err(|error| error.kind()).unwrap_err(), ErrorKind::WouldBlock);
    listeners[0].set_nonblocking(false).unwrap();
    bench.send([rule("delay=1ms")]);
    let mut connection = peer.accept(&listeners[0]);
    assert_eq!(numbers(&peer.receive(&mut connection, 1, Acks::Sent)), [1]);
    assert_eq!(bench.next_change(), ToCore::PeerBack { peer: PEER });
}

#[test]
fn a_slow_link_delays_each_message_and_no_other_link() {
    const DELAY: Duration = Duration::from_millis(150);
    let (mut bench, listeners) = Bench::start(3);
    let (mut slow, mut other) = (bench.peer(1), bench.peer(2));
    bench.send([rule("delay=150ms,bandwidth=100mbit")]);
    let (mut to_slow, mut to_other) = (slow.accept(&listeners[0]), other.accept(&listeners[1]));
    let sent = Instant::now();
    bench.send([keep(0), keep(1)]);
    assert_eq!(numbers(&other.receive(&mut to_other, 2, Acks::Sent)), [0, 1]);
    let fast = sent.elapsed();
    assert_eq!(numbers(&slow.receive(&mut to_slow, 2, Acks::Sent)), [0, 1]);
    let took = sent.elapsed();
    assert!(took >= DELAY && fast < DELAY, "{took:?}, the other link {fast:?}");
    // 1.25 MB at 100 Mbit/s.
    let (message, mut body) = keep(2);
    body.resize(1_250_000, 0);
    let sent = Instant::now();
    bench.send([(message, body)]);
    slow.receive(&mut to_slow, 1, Acks::Sent);
    let took = sent.elapsed();
    assert!(took >= DELAY + Duration::from_millis(100), "{took:?}");
    bench.send([rule("none"), keep(3)]);
    assert_eq!(numbers(&slow.receive(&mut to_slow, 1, Acks::Sent)), [3]);
}

/// How many microseconds each of so many messages takes, in ascending order. They are sent one by one.
fn one_way_us(bench: &Bench, peer: &mut FakePeer, connection: &mut Connection, messages: u32) -> Vec<u64> {
    let began = Instant::now();
    // Each message carries the moment at which the core writes it.
    let mut core = bench.core.try_clone().unwrap();
    let sending = thread::spawn(move || {
        for number in 0..messages {
            thread::sleep(Duration::from_millis(3));
            let (message, mut body) = keep(number);
            body.extend((began.elapsed().as_micros() as u64).to_le_bytes());
            let mut writer = IpcWriter::new();
            writer.push(&message, &Bytes::from(body));
            writer.write_all(&mut core).unwrap();
        }
    });
    let mut delays_us = Vec::new();
    while delays_us.len() < messages as usize {
        let bodies = peer.receive(connection, 1, Acks::Sent);
        let now_us = began.elapsed().as_micros() as u64;
        delays_us
            .extend(bodies.iter().map(|body| now_us - u64::from_le_bytes(body[4..].try_into().unwrap())));
    }
    sending.join().unwrap();
    delays_us.sort_unstable();
    delays_us
}

/// The bandwidth between the first and the last of so many long messages that are sent at once.
fn mbit_per_s(bench: &mut Bench, peer: &mut FakePeer, connection: &mut Connection, messages: u32) -> f64 {
    const BODY_BYTES: usize = 100_000;
    bench.send((0..messages).map(|number| {
        let (message, mut body) = keep(number);
        body.resize(BODY_BYTES, 0);
        (message, body)
    }));
    peer.receive(connection, 1, Acks::Sent);
    let first = Instant::now();
    peer.receive(connection, messages as usize - 1, Acks::Sent);
    (BODY_BYTES * 8 * (messages as usize - 1)) as f64 / 1e6 / first.elapsed().as_secs_f64()
}

#[test]
fn an_emulated_link_has_the_delay_and_the_bandwidth_of_its_file() {
    /// A machine that does other things is late now and then, so the best of some batches counts.
    const BATCHES_MAX: usize = 10;
    let (mut bench, listeners) = Bench::start_with(2, &["--wan", "wan.txt"], "delay=50ms bandwidth=200mbit");
    let mut peer = bench.peer(1);
    let mut connection = peer.accept(&listeners[0]);
    assert_eq!(bench.next_change(), ToCore::PeerUp { peer: PEER });
    let is_exact = (0..BATCHES_MAX).any(|_| {
        let delays_us = one_way_us(&bench, &mut peer, &mut connection, 100);
        let (least, median, p99) = (delays_us[0], delays_us[50], delays_us[98]);
        println!("one way: least {least} us, median {median} us, p99 {p99} us");
        assert!(least >= 50_000, "nothing arrives early: {least} us");
        median < 51_000
    });
    assert!(is_exact, "no median within 1 ms of 50 ms");
    let is_exact = (0..BATCHES_MAX).any(|_| {
        // 5 MB take 200 ms.
        let mbit_per_s = mbit_per_s(&mut bench, &mut peer, &mut connection, 50);
        println!("bandwidth: {mbit_per_s:.1} Mbit/s");
        (190.0..210.0).contains(&mbit_per_s)
    });
    assert!(is_exact, "no bandwidth within 5 % of 200 Mbit/s");
}

#[test]
fn net_client_ends_when_its_core_does() {
    let (mut bench, listeners) = Bench::start(2);
    let _connection = bench.peer(1).accept(&listeners[0]);
    bench.core.shutdown(Shutdown::Both).unwrap();
    assert!(bench.child.wait().unwrap().success());
}
