//! Clients: served whatever their key, within bounds of memory.

mod common;

use std::io::Write;

use wire::envelope::{FromCore, ToCore};
use wire::frame::Kind;
use wire::ids::{ClientId, NodeId, Round};
use wire::limits::{
    CLIENT_FIRST_REQUEST_TIME, CLIENT_FRAME_BYTES_MAX, CLIENTS_FRAME_BYTES_MAX, CLIENTS_UNREAD_BYTES_MAX,
};
use wire::rand;
use wire::session::Identity;

use common::Server;

const MIB: usize = 1 << 20;

/// The next request: its client and body.
fn next_request(server: &mut Server) -> (ClientId, Vec<u8>) {
    match server.core.next() {
        (ToCore::Client { client }, body) => (client, body.to_vec()),
        (other, _) => panic!("not a request: {other:?}"),
    }
}

#[test]
fn requests_reach_the_core_and_replies_their_client() {
    let mut server = Server::start(&[]);
    let (mut one, mut two) = (server.dial_client(), server.dial_client());
    one.send(b"request of one").unwrap();
    let (first, body) = next_request(&mut server);
    assert_eq!(body, b"request of one");
    two.send(b"request of two").unwrap();
    let (second, body) = next_request(&mut server);
    assert_eq!(body, b"request of two");
    assert_ne!(first, second);

    let long = vec![0xAB; 3 * MIB];
    for (client, body) in [(second, &b"to two"[..]), (first, &long), (first, b"to one")] {
        server.core.send(&FromCore::Reply { client }, body);
    }
    assert_eq!(two.receive().unwrap().body[..], b"to two"[..]);
    assert!(one.receive().unwrap().body[..] == long[..]);
    let last = one.receive().unwrap();
    assert_eq!((last.kind, last.sequence, &last.body[..]), (Kind::Data, 1, &b"to one"[..]));

    drop(one);
    assert_eq!(server.core.next().0, ToCore::ClientGone { client: first });
    server.core.send(&FromCore::Reply { client: first }, b"to nobody");
    two.send_with(|sealer, out| sealer.seal_ping(5, Round(0), out));
    assert_eq!(two.receive().unwrap().kind, Kind::Pong);
    two.send(b"a longer one").unwrap();
    assert_eq!(next_request(&mut server).0, second);
}

#[test]
fn a_client_without_requests_is_not_reported_to_the_core() {
    let mut server = Server::start(&[]);
    drop(server.dial_client());
    let mut asking = server.dial_client();
    asking.send(b"request").unwrap();
    assert_eq!(next_request(&mut server).1, b"request");
}

#[test]
fn unlawful_frames_of_clients_are_refused_by_name() {
    let mut server = Server::start(&[]);
    let oversize = vec![0; CLIENT_FRAME_BYTES_MAX as usize + 1];
    let mut client = server.dial_client();
    // The connection may be closed before everything is written.
    let _ = client.send(&oversize);
    client.wait_closed();
    server.core.wait_refused("frame of unlawful length", 1);

    let mut client = server.dial_client();
    client.next = 1;
    client.send(b"not the first").unwrap();
    client.wait_closed();
    server.core.wait_refused("frame out of sequence", 1);

    let mut client = server.dial_client();
    client.send_with(|sealer, out| sealer.seal_skip(5, out));
    client.wait_closed();
    server.core.wait_refused("frame of a kind not taken here", 1);

    let mut client = server.dial_client();
    client.send_with(|sealer, out| {
        sealer.seal_data(0, b"request", out);
        let last = out.len() - 1;
        out[last] ^= 1;
    });
    client.wait_closed();
    server.core.wait_refused("frame with a wrong tag", 1);
}

#[test]
fn clients_beyond_the_limit_are_refused_until_others_leave() {
    let mut server = Server::start(&["--limits", "clients=2"]);
    let mut one = server.dial_client();
    let _two = server.dial_client();
    // The refusal may reset the connection before the answer to the handshake is read.
    if let Ok(mut third) = server.dial(&Identity::client(), rand::u64()) {
        third.wait_closed();
    }
    server.core.wait_refused("client beyond the limit", 1);
    one.send(b"served").unwrap();
    let (client, _) = next_request(&mut server);
    drop(one);
    assert_eq!(server.core.next().0, ToCore::ClientGone { client });
    let mut late = server.dial_client();
    late.send(b"late").unwrap();
    assert_eq!(next_request(&mut server).1, b"late");
    // Peers do not count as clients.
    server.dial_peer(NodeId(1), 1);
}

#[test]
fn clients_that_do_not_read_are_closed_and_memory_stays_bounded() {
    let mut server = Server::start(&[]);
    let mut lazy: Vec<_> = (0..12).map(|_| server.dial_client()).collect();
    let mut ids = Vec::new();
    for client in &mut lazy {
        client.send(b"query").unwrap();
        ids.push(next_request(&mut server).0);
    }
    let before = server.resident_bytes();
    let reply = vec![7; MIB];
    // Far more than the bound and the buffers of the sockets.
    for _ in 0..20 {
        for client in &ids {
            server.core.send(&FromCore::Reply { client: *client }, &reply);
        }
    }
    server.core.wait_refused("client that does not read", 12);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 2 * CLIENTS_UNREAD_BYTES_MAX, "grown by {grown} bytes");
    let mut honest = server.dial_client();
    honest.send(b"still served").unwrap();
    loop {
        if let (ToCore::Client { client }, _) = server.core.next() {
            server.core.send(&FromCore::Reply { client }, b"yes");
            break;
        }
    }
    assert_eq!(honest.receive().unwrap().body[..], b"yes"[..]);
}

#[test]
fn unfinished_long_frames_wait_for_a_permit_while_others_are_served() {
    let mut server = Server::start(&[]);
    let before = server.resident_bytes();
    let frame_bytes = CLIENT_FRAME_BYTES_MAX as usize;
    let permits = CLIENTS_FRAME_BYTES_MAX as usize / frame_bytes;
    // Each announces the longest frame, sends some of it and stops: as many as get a permit, and many more.
    let mut stalled: Vec<_> = (0..permits + 20).map(|_| server.dial_client()).collect();
    for client in &mut stalled {
        let mut bytes = Vec::new();
        client.sealer.seal_data(0, &vec![1; frame_bytes], &mut bytes);
        client.stream.set_nonblocking(true).unwrap();
        let _ = client.stream.write(&bytes[..2 * MIB]);
    }
    let mut honest = server.dial_client();
    honest.send(&[2; 50_000]).unwrap();
    assert_eq!(next_request(&mut server).1.len(), 50_000);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 40 << 20, "grown by {grown} bytes");
    // Other long frames get permits once the stalled ones have timed out.
    let writer = std::thread::spawn(move || {
        honest.send(&vec![3; frame_bytes]).unwrap();
        honest
    });
    assert_eq!(next_request(&mut server).1.len(), frame_bytes);
    server.core.wait_refused("client frame too slow", permits as u64);
    writer.join().unwrap();
}

#[test]
fn connections_that_only_ping_make_room_for_clients_that_ask() {
    const PLACES: usize = 24;
    let mut server = Server::start(&["--limits", "accepts-per-s=100000,clients=24"]);
    let mut idle: Vec<_> = (0..PLACES).map(|_| server.dial_client()).collect();
    std::thread::sleep(CLIENT_FIRST_REQUEST_TIME);
    for client in &mut idle {
        client.send_with(|sealer, out| sealer.seal_ping(1, Round(0), out));
        assert_eq!(client.receive().unwrap().kind, Kind::Pong);
    }
    let mut asking = server.dial_client();
    asking.send(b"a request").unwrap();
    assert_eq!(next_request(&mut server).1, b"a request");
    server.core.wait_refused("client without a request evicted", 1);
    // Those that come later take the places of those that never asked.
    let more: Vec<_> =
        (0..PLACES).filter_map(|_| server.dial(&Identity::client(), rand::u64()).ok()).collect();
    asking.send(b"another request").unwrap();
    assert_eq!(next_request(&mut server).1, b"another request");
    drop((idle, more));
}

#[test]
fn clients_of_one_address_are_limited() {
    let mut server = Server::start(&["--limits", "clients-per-loopback=3"]);
    let mut served: Vec<_> = (0..3).map(|_| server.dial_client()).collect();
    if let Ok(mut fourth) = server.dial(&Identity::client(), rand::u64()) {
        fourth.wait_closed();
    }
    server.core.wait_refused("too many clients of one address", 1);
    for client in &mut served {
        client.send(b"served").unwrap();
        assert_eq!(next_request(&mut server).1, b"served");
    }
}
