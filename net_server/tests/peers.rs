//! Honest peers: their frames reach the core once and in order, whatever happens to connections.

mod common;

use sha2::{Digest as _, Sha256};
use wire::envelope::{FromCore, Progress, ToCore};
use wire::frame::Kind;
use wire::ids::{Digest, NodeId, Round};

use common::{Server, Testbed, spawn};

const PEER: NodeId = NodeId(2);

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|i| ((i * 2_654_435_761) >> 13) as u8).collect()
}

fn digest_of(body: &[u8]) -> Digest {
    Digest(Sha256::digest(body).into())
}

/// The next body from the peer.
fn next_body(server: &mut Server) -> Vec<u8> {
    match server.core.next() {
        (ToCore::Peer { from: PEER, .. }, body) => body.to_vec(),
        (other, _) => panic!("not a body of the peer: {other:?}"),
    }
}

#[test]
fn bodies_of_all_sizes_reach_the_core_with_sender_and_digest_and_are_acknowledged() {
    let mut server = Server::start(&[]);
    let mut link = server.dial_peer(PEER, 1);
    assert_eq!(server.core.next().0, ToCore::PeerUp { peer: PEER });
    assert_eq!(server.core.next().0, ToCore::PeerDecided { peer: PEER, decided: Round(1) });
    let bodies: Vec<Vec<u8>> =
        [0, 1, 200, 40_000, 1 << 20, (1 << 20) + 1, 9 << 20, 3].into_iter().map(body).collect();
    let writer = {
        let bodies = bodies.clone();
        std::thread::spawn(move || {
            bodies.iter().for_each(|body| link.send(body).unwrap());
            link.wait_ack(bodies.len() as u64);
        })
    };
    for body in &bodies {
        let (message, received) = server.core.next();
        assert!(received[..] == body[..], "{} bytes", body.len());
        assert_eq!(message, ToCore::Peer { from: PEER, digest: digest_of(body) });
    }
    writer.join().unwrap();
    assert_eq!(server.core.next().0, ToCore::PeerDown { peer: PEER });
    assert_eq!(server.end(), Some(0), "the process ends well when its core is gone");
}

#[test]
fn a_reconnect_continues_at_the_next_frame_and_drops_duplicates() {
    let mut server = Server::start(&[]);
    let mut link = server.dial_peer(PEER, 7);
    (0..3u8).for_each(|i| link.send(&[i]).unwrap());
    link.wait_ack(3);
    drop(link);
    let mut link = server.dial_peer(PEER, 7);
    assert_eq!(link.hello.next_expected, 3);
    link.next = 1;
    (1..5u8).for_each(|i| link.send(&[i]).unwrap());
    link.wait_ack(5);
    assert_eq!(server.core.next().0, ToCore::PeerUp { peer: PEER });
    assert_eq!(server.core.next().0, ToCore::PeerDecided { peer: PEER, decided: Round(1) });
    (0..3u8).for_each(|i| assert_eq!(next_body(&mut server), [i]));
    assert_eq!(server.core.next().0, ToCore::PeerDown { peer: PEER });
    assert_eq!(server.core.next().0, ToCore::PeerBack { peer: PEER });
    (3..5u8).for_each(|i| assert_eq!(next_body(&mut server), [i]));
    server.core.wait_refused("duplicate frame", 2);
    // Seven data frames over both connections, duplicates included.
    let counters = server.core.wait_links(PEER, |counters| counters.data_received == 7);
    // Header, one byte of body, and tag of each; acks of 45 bytes each.
    assert_eq!(counters.bytes, 7 * 46 + 45 * counters.ack_sent);
    assert!((2..=5).contains(&counters.ack_sent), "{} acks", counters.ack_sent);

    // Another incarnation of the same node counts from 0.
    let link = server.dial_peer(PEER, 8);
    assert_eq!(link.hello.next_expected, 0);
    assert_eq!(server.core.next().0, ToCore::PeerUp { peer: PEER });
}

#[test]
fn a_new_session_replaces_the_old_one_of_its_dialer() {
    let mut server = Server::start(&[]);
    let mut older = server.dial_peer(PEER, 1);
    older.send(b"older").unwrap();
    older.wait_ack(1);
    let mut newer = server.dial_peer(PEER, 1);
    older.wait_closed();
    newer.send(b"newer").unwrap();
    newer.wait_ack(2);
    server.core.wait_refused("session replaced by a newer one", 1);
    let mut other = server.dial_peer(NodeId(3), 1);
    other.send(b"other").unwrap();
    other.wait_ack(1);
    newer.send(b"still here").unwrap();
    newer.wait_ack(3);
}

#[test]
fn a_gap_closes_and_a_skip_does_not() {
    let mut server = Server::start(&[]);
    let mut link = server.dial_peer(PEER, 1);
    link.send_with(|sealer, out| sealer.seal_skip(10, out));
    link.next = 10;
    link.send(b"after a skip").unwrap();
    link.wait_ack(11);
    link.next = 12;
    link.send(b"after a gap").unwrap();
    link.wait_closed();
    server.core.wait_refused("frame out of sequence", 1);
    let link = server.dial_peer(PEER, 1);
    assert_eq!(link.hello.next_expected, 11);
}

#[test]
fn pongs_carry_the_decided_round_of_the_core() {
    let mut server = Server::start(&[]);
    let mut link = server.dial_peer(PEER, 1);
    assert_eq!(link.hello.decided, Round(0));
    let progress = Progress { decided: Round(42), lanes: vec![] };
    server.core.send(&FromCore::Progress(progress), &[]);
    // The progress and the first ping may arrive in either order, so ping until the pong shows the progress.
    for sequence in 0.. {
        link.send_with(|sealer, out| sealer.seal_ping(sequence, Round(6), out));
        let pong = link.receive().unwrap();
        assert_eq!((pong.kind, pong.sequence), (Kind::Pong, sequence));
        if pong.decided() == Some(Round(42)) {
            break;
        }
    }
    assert_eq!(server.core.next().0, ToCore::PeerUp { peer: PEER });
    assert_eq!(server.core.next().0, ToCore::PeerDecided { peer: PEER, decided: Round(1) });
    assert_eq!(server.core.next().0, ToCore::PeerDecided { peer: PEER, decided: Round(6) });
    assert_eq!(server.dial_peer(NodeId(1), 1).hello.decided, Round(42), "hellos carry it too");
}

#[test]
fn a_silent_peer_is_closed_and_a_pinging_one_is_not() {
    let mut server = Server::start(&["--limits", "ping-interval-ms=100,peer-silence-ms=400"]);
    let mut silent = server.dial_peer(PEER, 1);
    let mut pinging = server.dial_peer(NodeId(3), 1);
    let pinger = std::thread::spawn(move || {
        for sequence in 0..12 {
            std::thread::sleep(std::time::Duration::from_millis(100));
            pinging.send_with(|sealer, out| sealer.seal_ping(sequence, Round(0), out));
            pinging.receive().expect("a peer that pings is not closed");
        }
    });
    silent.wait_closed();
    pinger.join().unwrap();
    server.core.wait_refused("peer silent", 1);
}

#[test]
fn wrong_flags_and_files_are_named() {
    let testbed = Testbed::deal();
    let hosts = testbed.write_hosts("127.0.0.1:7000".parse().unwrap());
    let absent = testbed.directory.join("absent.txt");
    for (keys, hosts, flags) in [
        (&testbed.directory, &absent, &[][..]),
        (&absent, &hosts, &[]),
        (&testbed.directory, &hosts, &["--limits", "clients=none"]),
        (&testbed.directory, &hosts, &["--cleints-max", "7"]),
    ] {
        let (_core, mut child) = spawn(keys, hosts, flags);
        assert_eq!(child.wait().unwrap().code(), Some(2), "{flags:?}");
    }
}
