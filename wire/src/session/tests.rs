//! Handshakes: what an honest one gives, and that each lie ends it.

use super::*;
use crate::committee::{Member, Protocol};
use crate::frame::{Frame, FrameReader, Scratch};

/// A committee of four whose node i signs with the key of bytes i + 1, in the testbed of this nonce.
fn committee(nonce: u8) -> Committee {
    let member =
        |i: u16| Member { public_key: key(i).verifying_key().to_bytes(), coin_commitment: [i as u8; 32] };
    Committee::new(4, Protocol::default(), (0..4).map(member).collect(), [nonce; 32])
}

fn key(i: u16) -> SigningKey {
    SigningKey::from_bytes(&[i as u8 + 1; 32])
}

const DIALS: NodeId = NodeId(1);
const LISTENS: NodeId = NodeId(2);
const DIALER_SAYS: LocalHello = LocalHello { incarnation: 77, decided: Round(5) };
const LISTENER_SAYS: LocalHello = LocalHello { incarnation: 88, decided: Round(6) };

fn dial(identity: &Identity) -> (Dialer, Vec<u8>) {
    let committee = committee(1);
    Dialer::start(identity, committee.testbed(), Some(Expected::of(&committee, LISTENS)), DIALER_SAYS)
}

fn peer() -> Identity {
    Identity::peer(DIALS, key(DIALS.0))
}

fn listen(hello: &[u8]) -> Result<(Listener, Vec<u8>), HandshakeError> {
    let me = (LISTENS, &key(LISTENS.0));
    Listener::on_hello(me, &committee(1), LISTENER_SAYS, |_| 9, hello)
}

fn establish(identity: &Identity) -> ((Session, ListenerHello), (Session, DialerHello)) {
    let (dialer, hello) = dial(identity);
    let (listener, reply) = listen(&hello).unwrap();
    let (finish, session, told) = dialer.on_reply(&reply).unwrap();
    ((session, told), listener.on_finish(&finish).unwrap())
}

fn read_all(opener: Opener, mut bytes: &[u8]) -> Vec<Frame> {
    let mut reader = FrameReader::new(opener, 1 << 20);
    let (mut scratch, mut frames) = (Scratch::new(), Vec::new());
    while !bytes.is_empty() {
        reader.read_from(&mut bytes, &mut scratch, &mut frames).unwrap();
    }
    frames
}

#[test]
fn an_honest_handshake_gives_both_sides_the_same_session() {
    let ((ours, listener), (theirs, dialer)) = establish(&peer());
    assert_eq!(dialer, DialerHello { role: Role::Peer(DIALS), incarnation: 77, decided: Round(5) });
    assert_eq!(listener, ListenerHello { id: LISTENS, incarnation: 88, decided: Round(6), next_expected: 9 });
    for (mut sealer, opener) in [(ours.sealer, theirs.opener), (theirs.sealer, ours.opener)] {
        let mut bytes = Vec::new();
        sealer.seal_data(0, b"body", &mut bytes);
        sealer.seal_ping(4, Round(3), &mut bytes);
        let frames = read_all(opener, &bytes);
        assert_eq!((&frames[0].body[..], frames[1].decided()), (&b"body"[..], Some(Round(3))));
    }
}
