//! What a listener confirms: what the core will get even if `net_server` dies, and no more than the dialer has sent.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;

use wire::envelope::ToCore;
use wire::frame::{FrameReader, Kind};
use wire::ids::{NodeId, Round};
use wire::limits::FRAME_BYTES_MAX;
use wire::session::{Dialer, Expected, LocalHello, REPLY_BYTES};

use common::{Link, SERVER, Server};

const PEER: NodeId = NodeId(2);
const INCARNATION: u64 = 7;
/// Together far more than a socket to the core holds, and less than the queue in `net_server` may.
const FRAMES: u64 = 60;
const BODY_BYTES: usize = 100_000;

/// Sends frames, and waits until they are all in the process.
fn send_frames(link: &mut Link, count: u64) {
    (0..count).for_each(|i| link.send(&vec![i as u8; BODY_BYTES]).unwrap());
    link.send_with(|sealer, out| sealer.seal_ping(1, Round(0), out));
    while link.receive().unwrap().kind != Kind::Pong {}
}

/// A session whose dialer has read the listener's reply and not yet sent its finish.
struct Begun {
    stream: TcpStream,
    finish: Vec<u8>,
    link: Link,
}

impl Begun {
    fn dial(server: &Server) -> Begun {
        let mut stream = server.connect();
        let local = LocalHello { incarnation: INCARNATION, decided: Round(1) };
        let committee = &server.testbed.committee;
        let expected = Some(Expected::of(committee, SERVER));
        let identity = server.testbed.identity(PEER, PEER);
        let (dialer, hello) = Dialer::start(&identity, committee.testbed(), expected, local);
        stream.write_all(&hello).unwrap();
        let mut reply = [0; REPLY_BYTES];
        stream.read_exact(&mut reply).unwrap();
        let (finish, session, hello) = dialer.on_reply(&reply).unwrap();
        let reader = FrameReader::new(session.opener, FRAME_BYTES_MAX);
        let link = Link::new(stream.try_clone().unwrap(), session.sealer, reader, hello);
        Begun { stream, finish, link }
    }

    fn finish(mut self) -> Link {
        self.stream.write_all(&self.finish).unwrap();
        self.link
    }
}

fn read_bodies(server: &mut Server, count: u64) {
    let mut bodies = 0;
    while bodies < count {
        bodies += u64::from(matches!(server.core.next().0, ToCore::Peer { .. }));
    }
}

#[test]
fn what_a_hello_confirms_survives_the_process() {
    let mut server = Server::start(&[]);
    let mut link = server.dial_peer(PEER, INCARNATION);
    send_frames(&mut link, FRAMES);
    drop(link);
    let confirmed = server.dial_peer(PEER, INCARNATION).hello.next_expected;
    server.kill();
    let bodies = server.core.rest().iter().filter(|message| matches!(message, ToCore::Peer { .. })).count();
    assert!(confirmed <= bodies as u64, "{confirmed} frames are confirmed, and the core gets {bodies}");
}

#[test]
fn frames_that_come_again_are_acknowledged_once_the_core_has_them() {
    let mut server = Server::start(&[]);
    let mut link = server.dial_peer(PEER, INCARNATION);
    send_frames(&mut link, FRAMES);
    drop(link);
    let mut link = server.dial_peer(PEER, INCARNATION);
    let confirmed = link.hello.next_expected;
    assert!(confirmed < FRAMES, "the core reads nothing");
    (confirmed..FRAMES).for_each(|i| link.send(&vec![i as u8; BODY_BYTES]).unwrap());
    read_bodies(&mut server, FRAMES);
    link.wait_ack(FRAMES);
    link.send(b"the next").unwrap();
    let mut messages = std::iter::repeat_with(|| server.core.next());
    let (_, body) = messages.find(|(message, _)| matches!(message, ToCore::Peer { .. })).unwrap();
    assert_eq!(body[..], b"the next"[..], "no body comes twice");
}

#[test]
fn frames_of_another_session_during_a_handshake_are_acknowledged_when_they_come_again() {
    let server = Server::start(&[]);
    let mut older = server.dial_peer(PEER, INCARNATION);
    let begun = Begun::dial(&server);
    (0..10).for_each(|i| older.send(&[i]).unwrap());
    older.wait_ack(10);
    let mut newer = begun.finish();
    assert_eq!(newer.hello.next_expected, 0);
    (0..10).for_each(|i| newer.send(&[i]).unwrap());
    newer.wait_ack(10);
}

#[test]
fn an_ack_never_exceeds_what_this_session_has_brought() {
    let mut server = Server::start(&[]);
    let mut older = server.dial_peer(PEER, INCARNATION);
    let begun = Begun::dial(&server);
    send_frames(&mut older, FRAMES);
    let mut newer = begun.finish();
    assert_eq!(newer.hello.next_expected, 0);
    older.wait_closed();
    read_bodies(&mut server, FRAMES);
    // All frames are settled, none of which this session has brought. A delayed ack would come before the second pong.
    for sequence in 1..3 {
        std::thread::sleep(std::time::Duration::from_millis(50));
        newer.send_with(|sealer, out| sealer.seal_ping(sequence, Round(0), out));
        let frame = newer.receive().unwrap();
        assert_eq!((frame.kind, frame.sequence), (Kind::Pong, sequence));
    }
    for next in 1..=3 {
        newer.send(&vec![next as u8 - 1; BODY_BYTES]).unwrap();
        newer.wait_ack(next);
    }
}
