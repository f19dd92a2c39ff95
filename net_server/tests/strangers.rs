//! Strangers: whatever they send is refused and counted, while an honest peer is served.

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use wire::envelope::ToCore;
use wire::ids::{NodeId, Round};
use wire::rand;
use wire::session::{Dialer, FINISH_BYTES, HandshakeError, Identity, LocalHello, REPLY_BYTES};

use common::{Link, Server, Testbed, wait_closed};

const HONEST: NodeId = NodeId(1);
/// How much strangers may make the process grow.
const GROWTH_BYTES_MAX: u64 = 40 << 20;

/// An honest peer beside the strangers.
struct Witness {
    link: Link,
    sent: u64,
}

impl Witness {
    fn of(server: &Server) -> Witness {
        Witness { link: server.dial_peer(HONEST, 1), sent: 0 }
    }

    /// Asserts that a frame of the honest peer is acknowledged and reaches the core.
    fn is_served(&mut self, server: &mut Server) {
        let body = self.sent.to_le_bytes();
        self.link.send(&body).unwrap();
        self.sent += 1;
        self.link.wait_ack(self.sent);
        loop {
            if let (ToCore::Peer { from: HONEST, .. }, received) = server.core.next() {
                assert_eq!(received[..], body);
                return;
            }
        }
    }
}

fn hello(server: &Server, identity: &Identity) -> (Dialer, Vec<u8>) {
    let local = LocalHello { incarnation: rand::u64(), decided: Round(0) };
    Dialer::start(identity, server.testbed.committee.testbed(), None, local)
}

/// Connects and sends these bytes.
fn send(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut stream = server.connect();
    // The listener may close before it has read everything.
    let _ = stream.write_all(bytes);
    stream
}

#[test]
fn false_hellos_are_refused_by_name() {
    let mut server = Server::start(&[]);
    let mut witness = Witness::of(&server);
    let elsewhere = Testbed::deal();
    let local = LocalHello { incarnation: 1, decided: Round(0) };
    let id = NodeId(2);
    let other_testbed =
        Dialer::start(&elsewhere.identity(id, id), elsewhere.committee.testbed(), None, local).1;
    let hello_of = |claimed, signer| hello(&server, &server.testbed.identity(claimed, signer)).1;
    let mut random = vec![0; 4096];
    rand::fill(&mut random);
    let mut small_order = hello(&server, &Identity::client()).1;
    small_order[77..109].fill(0);
    let cases = [
        (random, "handshake of something else"),
        (other_testbed, "handshake of another testbed"),
        (hello_of(NodeId(3), id), "handshake with another's id"),
        (hello_of(common::SERVER, common::SERVER), "handshake with oneself"),
        ([&small_order[..], &[0; FINISH_BYTES]].concat(), "handshake with a wrong signature"),
        (small_order[..50].to_vec(), "handshake cut off"),
    ];
    for (bytes, name) in cases {
        let counted = server.core.refused.get(name).copied().unwrap_or(0);
        let mut stream = send(&server, &bytes);
        // Ends the hello that is too short. The other connections may be closed already.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        wait_closed(&mut stream);
        server.core.wait_refused(name, counted + 1);
        witness.is_served(&mut server);
    }
}

#[test]
fn a_key_of_another_testbed_and_a_members_key_for_another_id_open_no_session() {
    let mut server = Server::start(&[]);
    let stranger = Testbed::deal();
    let as_member = stranger.identity(NodeId(2), NodeId(2));
    assert!(server.dial(&as_member, 1).is_err(), "a key of another testbed");
    let (ours, theirs) = (server.testbed.committee.testbed(), stranger.committee.testbed());
    let local = LocalHello { incarnation: 1, decided: Round(0) };
    let stream = send(&server, &Dialer::start(&as_member, theirs, None, local).1);
    let told = std::io::Read::bytes(stream).collect::<Result<Vec<u8>, _>>().unwrap();
    assert_eq!(Dialer::on_closed(&told, theirs), Some(HandshakeError::Testbed(ours)));
    let as_another = server.testbed.identity(NodeId(3), NodeId(2));
    assert!(server.dial(&as_another, 1).is_err(), "a member with the id of another");
    server.core.wait_refused("handshake with another's id", 2);
}

#[test]
fn a_replayed_handshake_is_refused() {
    let mut server = Server::start(&[]);
    let mut witness = Witness::of(&server);
    // An eavesdropper on a peer's connection records hello, finish and first frame.
    let id = NodeId(2);
    let (dialer, hello) = hello(&server, &server.testbed.identity(id, id));
    let mut stream = send(&server, &hello);
    let mut reply = [0; REPLY_BYTES];
    std::io::Read::read_exact(&mut stream, &mut reply).unwrap();
    let (finish, mut session, _) = dialer.on_reply(&reply).unwrap();
    let mut recorded = [hello, finish].concat();
    session.sealer.seal_data(0, b"pay me", &mut recorded);
    stream.write_all(&recorded[recorded.len() - (FINISH_BYTES + 13 + 6 + 32)..]).unwrap();
    loop {
        if let (ToCore::Peer { from, .. }, body) = server.core.next() {
            assert_eq!((from, &body[..]), (id, &b"pay me"[..]));
            break;
        }
    }
    for replay in 1..=5 {
        wait_closed(&mut send(&server, &recorded));
        server.core.wait_refused("handshake with a wrong signature", replay);
    }
    witness.is_served(&mut server);
}

#[test]
fn idle_connections_beyond_the_limit_evict_each_other() {
    let mut server = Server::start(&["--limits", "accepts-per-s=100000,handshake-time-ms=600000"]);
    let mut witness = Witness::of(&server);
    let before = server.resident_bytes();
    let count = 500;
    let idle: Vec<TcpStream> = (0..count).map(|_| server.connect()).collect();
    server.core.wait_refused("handshake evicted", count - 64);
    witness.is_served(&mut server);
    // A new client gets in; it may be evicted at random, so not always at the first try.
    let client = (0..50).find_map(|_| server.dial(&Identity::client(), 1).ok());
    client.expect("a new client gets in").send(b"request").unwrap();
    while !matches!(server.core.next().0, ToCore::Client { .. }) {}
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "grown by {grown} bytes");
    drop(idle);
    witness.is_served(&mut server);
}

#[test]
fn slow_handshakes_time_out() {
    let mut server = Server::start(&["--limits", "handshake-time-ms=300"]);
    let mut witness = Witness::of(&server);
    let (_, hello) = hello(&server, &Identity::client());
    let mut slow: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    for byte in hello.chunks(1).take(40) {
        for stream in &mut slow {
            let _ = stream.write_all(byte);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    slow.iter_mut().for_each(wait_closed);
    server.core.wait_refused("handshake too slow", 20);
    // So does one that sends a hello and no finish.
    wait_closed(&mut send(&server, &hello));
    server.core.wait_refused("handshake too slow", 21);
    witness.is_served(&mut server);
}

#[test]
fn connections_are_accepted_at_a_bounded_rate() {
    let mut server = Server::start(&["--limits", "accepts-per-s=5"]);
    let begun = std::time::Instant::now();
    let mut sent: Vec<TcpStream> = (0..15).map(|_| send(&server, &[0; 200])).collect();
    sent.iter_mut().for_each(wait_closed);
    // Five at once and five a second; fewer at once, since the start of the server used one.
    assert!(begun.elapsed() >= Duration::from_millis(1900), "{:?}", begun.elapsed());
    server.core.wait_refused("handshake of something else", 15);
}

#[test]
fn a_million_bad_bytes_in_sessions_harm_no_other_peer() {
    let mut server = Server::start(&["--limits", "accepts-per-s=100000"]);
    let mut witness = Witness::of(&server);
    let before = server.resident_bytes();
    let id = NodeId(2);
    for turn in 0..60u32 {
        let mut link = server.dial_peer(id, u64::from(turn));
        let mut noise = vec![0; 16 << 10];
        rand::fill(&mut noise);
        if turn % 3 == 0 {
            // A lawful header and a wrong body.
            noise[..4].copy_from_slice(&(8000u32 + turn).to_le_bytes());
            noise[4] = 1;
        } else if turn % 3 == 1 {
            // A length beyond the limit.
            noise[..4].copy_from_slice(&u32::MAX.to_le_bytes());
            noise[4] = 1;
        } else {
            noise[4] = 9;
        }
        let _ = link.stream.write_all(&noise);
        link.wait_closed();
    }
    server.core.wait_refused("frame with a wrong tag", 20);
    server.core.wait_refused("frame of unlawful length", 20);
    server.core.wait_refused("frame of unknown kind", 20);
    witness.is_served(&mut server);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "grown by {grown} bytes");
}

#[test]
fn a_frame_that_is_cut_off_is_counted_and_not_delivered() {
    let mut server = Server::start(&[]);
    let mut witness = Witness::of(&server);
    let mut link = server.dial_peer(NodeId(2), 1);
    let mut bytes = Vec::new();
    link.sealer.seal_data(0, &[5; 100_000], &mut bytes);
    link.stream.write_all(&bytes[..60_000]).unwrap();
    drop(link);
    server.core.wait_refused("frame cut off", 1);
    assert_eq!(server.dial_peer(NodeId(2), 1).hello.next_expected, 0);
    witness.is_served(&mut server);
}

#[test]
fn disconnects_leave_the_loop_asleep() {
    let mut server = Server::start(&[]);
    let mut witness = Witness::of(&server);
    for _ in 0..20 {
        drop(server.connect());
        drop(server.dial_client());
        let half = send(&server, &[0; 10]);
        half.shutdown(std::net::Shutdown::Write).unwrap();
    }
    let idle = server.dial_client();
    server.core.wait_refused("handshake cut off", 40);
    witness.is_served(&mut server);
    // A loop that spins uses 100 ticks a second; one that sleeps uses none, except for a report of counters.
    let before = server.cpu_ticks();
    std::thread::sleep(Duration::from_secs(2));
    let used = server.cpu_ticks() - before;
    assert!(used <= 5, "{used} ticks of 10 ms in 2 s of rest");
    drop(idle);
}
