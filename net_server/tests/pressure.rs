//! Backpressure: a core that does not read stops the senders, and the memory of the process stays bounded.

mod common;

use std::time::{Duration, Instant};

use wire::client::Request;
use wire::codec;
use wire::envelope::{FromCore, Progress, ToCore};
use wire::ids::{NodeId, Round};
use wire::limits::{IPC_QUEUE_CLIENTS_BYTES_MAX, IPC_QUEUE_PEERS_BYTES_MAX, STATUS_EVERY};

use common::Server;

const BODY_BYTES: usize = 1 << 20;

#[test]
fn a_core_that_does_not_read_stops_the_senders_and_nothing_is_lost() {
    let mut server = Server::start(&[]);
    let count = 100;
    let before = server.resident_bytes();
    let writers: Vec<_> = (1..4)
        .map(|id| {
            let mut link = server.dial_peer(NodeId(id), 1);
            std::thread::spawn(move || {
                for i in 0..count {
                    link.send(&vec![i; BODY_BYTES]).unwrap();
                }
                link.wait_ack(u64::from(count));
            })
        })
        .collect();
    // The senders send until every buffer is full.
    let grown = wait_until_full(&server).saturating_sub(before);
    // Beyond the bound of the queue: one read, and an unfinished body for each peer.
    let bound = IPC_QUEUE_PEERS_BYTES_MAX + 8 * BODY_BYTES as u64;
    assert!(grown < bound, "grown by {grown} bytes");
    let ticks = server.cpu_ticks();
    std::thread::sleep(Duration::from_secs(1));
    let used = server.cpu_ticks() - ticks;
    assert!(used <= 5, "{used} ticks of 10 ms while held back");

    let mut next = [0u8; 4];
    while next.iter().map(|next| usize::from(*next)).sum::<usize>() < 3 * usize::from(count) {
        if let (ToCore::Peer { from, .. }, body) = server.core.next() {
            let expected = &mut next[usize::from(from.0)];
            assert!(body.len() == BODY_BYTES && body.iter().all(|byte| byte == expected));
            *expected += 1;
        }
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
}

#[test]
fn clients_are_held_back_before_peers() {
    let mut server = Server::start(&[]);
    let mut client = server.dial_client();
    let client_writer = std::thread::spawn(move || {
        for i in 0..40u8 {
            client.send(&vec![i; BODY_BYTES]).unwrap();
        }
        client
    });
    // The client alone fills the queue up to the bound of clients. A peer's body still goes in, behind that.
    wait_until_full(&server);
    assert!(!client_writer.is_finished(), "the client is held back");
    let mut peer = server.dial_peer(NodeId(1), 1);
    peer.send(b"of a peer").unwrap();
    peer.send_with(|sealer, out| sealer.seal_ping(1, Round(0), out));
    let pong = peer.receive().unwrap();
    assert_eq!(pong.sequence, 1, "a peer is served while clients are held back");

    let mut client_bytes_before = 0;
    loop {
        match server.core.next() {
            (ToCore::Client { .. }, body) => client_bytes_before += body.len() as u64,
            (ToCore::Peer { .. }, body) => {
                assert_eq!(body[..], b"of a peer"[..]);
                break;
            }
            _ => {}
        }
    }
    let bound = IPC_QUEUE_CLIENTS_BYTES_MAX + 2 * BODY_BYTES as u64;
    assert!(client_bytes_before <= bound, "{client_bytes_before} bytes of a client came before");
    while !client_writer.is_finished() {
        server.core.poll();
    }
    client_writer.join().unwrap();
}

/// Waits until all buffers of the process are full, since its core does not read; returns its resident memory.
fn wait_until_full(server: &Server) -> u64 {
    let mut resident = 0;
    loop {
        std::thread::sleep(Duration::from_millis(300));
        let now = server.resident_bytes();
        if now == resident {
            return resident;
        }
        resident = now;
    }
}

#[test]
fn status_requests_are_answered_while_the_core_reads_nothing() {
    let mut server = Server::start(&["--limits", "accepts-per-s=100000"]);
    let mut early = server.dial_client();
    let peers: Vec<_> = (1..4)
        .map(|id| {
            let mut link = server.dial_peer(NodeId(id), 1);
            std::thread::spawn(move || (0..12).for_each(|i| link.send(&vec![i; BODY_BYTES]).unwrap()))
        })
        .collect();
    let before = wait_until_full(&server);
    let status = codec::encode(&Request::Status);
    // Answered: a client that connected before, and one that connects now.
    server.core.send(&FromCore::Status, b"a status");
    early.send(&status).unwrap();
    assert_eq!(early.receive().unwrap().body[..], b"a status"[..]);
    let mut late = server.dial_client();
    server.core.send(&FromCore::Status, b"a status");
    late.send(&status).unwrap();
    late.send(&status).unwrap();
    assert_eq!(late.receive().unwrap().body[..], b"a status"[..]);
    assert_eq!(late.receive().unwrap().body[..], b"a status"[..]);
    late.send(b"request").unwrap();
    // Clients with requests for the core occupy one short read each.
    let mut others: Vec<_> = (0..40).map(|_| server.dial_client()).collect();
    for other in &mut others {
        other.stream.set_nonblocking(true).unwrap();
        let _ = (0..40).try_for_each(|_| other.send(&[9; 60_000]));
    }
    let grown = wait_until_full(&server).saturating_sub(before);
    assert!(grown < 40 * (256 << 10), "grown by {grown} bytes");

    // An old status answers nothing: the request goes to the core, behind the others.
    std::thread::sleep(3 * STATUS_EVERY);
    early.send(&status).unwrap();
    let mut requests = 0;
    loop {
        match server.core.next() {
            (ToCore::Client { client }, body) if body[..] == status => {
                server.core.send(&FromCore::Reply { client }, b"from the core");
                break;
            }
            (ToCore::Client { .. }, body) => requests += usize::from(body[..] == b"request"[..]),
            _ => {}
        }
    }
    assert_eq!(early.receive().unwrap().body[..], b"from the core"[..]);
    while requests == 0 {
        if let (ToCore::Client { .. }, body) = server.core.next() {
            requests += usize::from(body[..] == b"request"[..]);
        }
    }
    while !peers.iter().all(std::thread::JoinHandle::is_finished) {
        server.core.poll();
    }
}

#[test]
fn a_peers_allowance_of_bytes_a_second_is_kept() {
    let mut server = Server::start(&["--limits", "peer-bytes-per-s=2000000"]);
    let mut link = server.dial_peer(NodeId(1), 1);
    let mut other = server.dial_peer(NodeId(2), 1);
    let begun = Instant::now();
    let writer = std::thread::spawn(move || {
        for i in 0..6u8 {
            link.send(&vec![i; BODY_BYTES]).unwrap();
        }
        link.wait_ack(6);
    });
    other.send(b"small").unwrap();
    other.wait_ack(1);
    let mut received = 0;
    while received < 6 {
        if let (ToCore::Peer { from: NodeId(1), .. }, body) = server.core.next() {
            received += 1;
            assert_eq!(body.len(), BODY_BYTES);
        }
    }
    writer.join().unwrap();
    // 6.3 MB at 2 MB/s with 2 MB at once, and one read may overdraw the allowance by a megabyte.
    assert!(begun.elapsed() > Duration::from_millis(1200), "{:?}", begun.elapsed());
}

#[test]
fn the_end_of_the_core_ends_the_process_amid_traffic() {
    let mut server = Server::start(&[]);
    let mut link = server.dial_peer(NodeId(1), 1);
    let writer = std::thread::spawn(move || while link.send(&[1; 100_000]).is_ok() {});
    server.core.send(&FromCore::Progress(Progress::default()), &[]);
    while !matches!(server.core.next().0, ToCore::Peer { .. }) {}
    assert_eq!(server.end(), Some(0));
    writer.join().unwrap();
}
