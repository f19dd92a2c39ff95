//! Honest handshakes, and lies that end them.

use std::collections::BTreeSet;

use super::*;
use crate::committee::{Member, Protocol};
use crate::frame::{Frame, FrameError, FrameReader, ReadError, Scratch};

/// A committee of four; node i signs with the key of bytes i + 1.
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

/// Both sides' sessions, the dialer's first, each with the other side's hello.
fn establish(identity: &Identity) -> ((Session, ListenerHello), (Session, DialerHello)) {
    let (dialer, hello) = dial(identity);
    let (listener, reply) = listen(&hello).unwrap();
    let (finish, session, reply) = dialer.on_reply(&reply).unwrap();
    ((session, reply), listener.on_finish(&finish).unwrap())
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

#[test]
fn a_frame_is_refused_by_the_side_that_sealed_it() {
    for identity in [peer(), Identity::client()] {
        let ((ours, _), (theirs, _)) = establish(&identity);
        for Session { mut sealer, opener } in [ours, theirs] {
            let mut bytes = Vec::new();
            sealer.seal_data(0, b"body", &mut bytes);
            let mut reader = FrameReader::new(opener, 100);
            let reflected = reader.read_from(&mut &bytes[..], &mut Scratch::new(), &mut Vec::new());
            assert!(matches!(reflected, Err(ReadError::Frame(FrameError::Tag))), "{reflected:?}");
        }
    }
}

/// A handshake in which `tamper` may change each message (0 hello, 1 reply, 2 finish): the errors of dialer and
/// listener.
fn meddle(tamper: impl Fn(usize, &mut Vec<u8>)) -> (Option<HandshakeError>, Option<HandshakeError>) {
    let (dialer, mut hello) = dial(&peer());
    tamper(0, &mut hello);
    let (listener, mut reply) = match listen(&hello) {
        Ok(both) => both,
        Err(error) => return (None, Some(error)),
    };
    tamper(1, &mut reply);
    let mut finish = match dialer.on_reply(&reply) {
        Ok((finish, _, _)) => finish,
        Err(error) => return (Some(error), None),
    };
    tamper(2, &mut finish);
    (None, listener.on_finish(&finish).err())
}

#[test]
fn every_tampered_byte_ends_the_handshake() {
    assert_eq!(meddle(|_, _| ()), (None, None));
    for (message, length) in [(0, HELLO_BYTES), (1, REPLY_BYTES), (2, FINISH_BYTES)] {
        for at in 0..length {
            let outcome = meddle(|number, bytes| {
                if number == message {
                    assert_eq!(bytes.len(), length);
                    bytes[at] ^= 1 << (at % 8);
                }
            });
            assert_ne!(outcome, (None, None), "byte {at} of message {message}");
        }
    }
}

#[test]
fn every_other_length_is_malformed() {
    for message in 0..3 {
        for change in [-1isize, 1] {
            let outcome = meddle(|number, bytes| {
                if number == message {
                    bytes.resize(bytes.len().saturating_add_signed(change), 0);
                }
            });
            let error = outcome.0.or(outcome.1);
            assert_eq!(error, Some(HandshakeError::Malformed), "message {message}");
        }
    }
}

#[test]
fn lies_in_a_hello_are_refused_by_name() {
    let hello_of = |identity: &Identity| dial(identity).1;
    let refusal = |hello: &[u8]| listen(hello).err().expect("refused");
    let changed = |at: usize, value: u8| {
        let mut hello = hello_of(&peer());
        hello[at] = value;
        hello
    };
    let stranger = SigningKey::from_bytes(&[0x99; 32]);
    let other_testbed = Dialer::start(&peer(), committee(2).testbed(), None, DIALER_SAYS).1;
    let cases = [
        (changed(0, b'?'), HandshakeError::Magic),
        (changed(8, 2), HandshakeError::Version(2)),
        (changed(10, 3), HandshakeError::Malformed),
        (other_testbed, HandshakeError::Testbed(committee(2).testbed())),
        (hello_of(&Identity::peer(LISTENS, key(2))), HandshakeError::Oneself),
        (hello_of(&Identity::peer(NodeId(4), key(4))), HandshakeError::UnknownNode(NodeId(4))),
        // A member with another's id, and a stranger.
        (hello_of(&Identity::peer(NodeId(3), key(1))), HandshakeError::Key(NodeId(3))),
        (hello_of(&Identity::peer(DIALS, stranger)), HandshakeError::Key(DIALS)),
    ];
    for (hello, expected) in cases {
        assert_eq!(refusal(&hello), expected);
    }
    let mut client_with_an_id = hello_of(&Identity::client());
    client_with_an_id[11] = 1;
    assert_eq!(refusal(&client_with_an_id), HandshakeError::Malformed, "one encoding of a client");
}

#[test]
fn a_dialer_of_another_version_or_testbed_is_told_and_nobody_else() {
    let (ours, theirs) = (committee(2).testbed(), committee(1).testbed());
    let error = listen(&Dialer::start(&peer(), ours, None, DIALER_SAYS).1).err().expect("refused");
    let notice = Listener::notice(&committee(1), &error).expect("it is told");
    assert_eq!(notice.len(), NOTICE_BYTES);
    assert_eq!(Dialer::on_closed(&notice, ours), Some(HandshakeError::Testbed(theirs)));
    assert_eq!(Dialer::on_closed(&notice, theirs), None, "senseless");
    let mut of_version = notice.clone();
    of_version[8] = 9;
    assert_eq!(Dialer::on_closed(&of_version, ours), Some(HandshakeError::Version(9)));
    for length in 0..NOTICE_BYTES {
        assert_eq!(Dialer::on_closed(&notice[..length], ours), None, "{length} bytes");
    }
    assert_eq!(
        Dialer::on_closed(&listen(&dial(&peer()).1).unwrap().1[..NOTICE_BYTES], ours),
        None,
        "a reply"
    );
    assert_eq!(Listener::notice(&committee(1), &HandshakeError::Key(DIALS)), None);
}

#[test]
fn errors_have_distinct_names_and_show_their_cause() {
    let errors = [
        HandshakeError::Malformed,
        HandshakeError::Magic,
        HandshakeError::Version(7),
        HandshakeError::Testbed(committee(1).testbed()),
        HandshakeError::UnknownNode(NodeId(5)),
        HandshakeError::Oneself,
        HandshakeError::Key(NodeId(3)),
        HandshakeError::Signature,
        HandshakeError::ZeroSecret,
    ];
    let names: BTreeSet<&str> = errors.iter().map(HandshakeError::name).collect();
    assert_eq!(names.len(), errors.len());
    for error in errors {
        assert_eq!(error.to_string().find(error.name()), Some(0), "{error}");
    }
    assert_eq!(HandshakeError::Version(7).to_string(), "handshake of another version: 7 instead of 1");
    assert_eq!(HandshakeError::Key(NodeId(3)).to_string(), "handshake with another's id: node 3");
}

#[test]
fn knowing_a_members_public_key_is_not_enough() {
    // The liar sends the id and public key of node 3 but signs with its own key.
    let (mut dialer, mut hello) = dial(&peer());
    hello[11..13].copy_from_slice(&3u16.to_le_bytes());
    hello[45..77].copy_from_slice(&key(3).verifying_key().to_bytes());
    dialer.transcript = Transcript::begin(&hello);
    let (listener, reply) = listen(&hello).unwrap();
    let (finish, _, _) = dialer.on_reply(&reply).unwrap();
    assert_eq!(listener.on_finish(&finish).err(), Some(HandshakeError::Signature));
}

#[test]
fn a_replayed_hello_gets_a_reply_that_a_recorded_finish_does_not_fit() {
    let (dialer, hello) = dial(&peer());
    let (listener, reply) = listen(&hello).unwrap();
    let (finish, _, _) = dialer.on_reply(&reply).unwrap();
    assert!(listener.on_finish(&finish).is_ok());
    let (listener, fresh_reply) = listen(&hello).unwrap();
    assert_ne!(reply, fresh_reply);
    assert_eq!(listener.on_finish(&finish).err(), Some(HandshakeError::Signature));
}

#[test]
fn a_replayed_reply_fits_no_other_hello() {
    let (_, hello) = dial(&peer());
    let (_, reply) = listen(&hello).unwrap();
    let (other, _) = dial(&peer());
    assert_eq!(other.on_reply(&reply).err(), Some(HandshakeError::Signature));
}

#[test]
fn a_listeners_signature_is_no_dialers() {
    // The signature in a reply does not pass for a finish.
    let (dialer, hello) = dial(&peer());
    let (listener, reply) = listen(&hello).unwrap();
    let signature = &reply[REPLY_BYTES - SIGNATURE_BYTES..];
    assert_eq!(listener.on_finish(signature).err(), Some(HandshakeError::Signature));
    drop(dialer);
}

#[test]
fn a_dialer_takes_only_the_node_it_expects() {
    let (dialer, hello) = dial(&peer());
    let other = (NodeId(3), &key(3));
    let (_, reply) = Listener::on_hello(other, &committee(1), LISTENER_SAYS, |_| 0, &hello).unwrap();
    assert_eq!(dialer.on_reply(&reply).err(), Some(HandshakeError::Key(NodeId(3))));
}

#[test]
fn a_client_has_a_key_of_its_own_and_may_expect_any_listener() {
    let ((_, _), (_, hello)) = establish(&Identity::client());
    assert_eq!(hello.role, Role::Client);
    let (dialer, hello) = Dialer::start(&Identity::client(), committee(1).testbed(), None, DIALER_SAYS);
    let (listener, reply) = listen(&hello).unwrap();
    let (finish, _, content) = dialer.on_reply(&reply).unwrap();
    assert_eq!(content.id, LISTENS);
    assert!(listener.on_finish(&finish).is_ok());
}

/// Points of small order, each of which makes every shared secret zero (RFC 7748, section 6.1).
fn small_order_points() -> [[u8; 32]; 3] {
    let mut one = [0; 32];
    one[0] = 1;
    let mut minus_one = [0xFF; 32];
    (minus_one[0], minus_one[31]) = (0xEC, 0x7F);
    [[0; 32], one, minus_one]
}

#[test]
fn a_zero_secret_is_refused_by_both_sides() {
    for point in small_order_points() {
        let (mut dialer, mut hello) = dial(&peer());
        hello[77..109].copy_from_slice(&point);
        dialer.transcript = Transcript::begin(&hello);
        let (listener, reply) = listen(&hello).unwrap();
        let (finish, _, _) = dialer.on_reply(&reply).unwrap();
        assert_eq!(listener.on_finish(&finish).err(), Some(HandshakeError::ZeroSecret));

        let (dialer, hello) = dial(&peer());
        let (_, mut reply) = listen(&hello).unwrap();
        reply.truncate(REPLY_BYTES - SIGNATURE_BYTES);
        reply[44..76].copy_from_slice(&point);
        let mut transcript = Transcript::begin(&hello);
        transcript.add(&reply);
        reply.extend(transcript.sign(Side::Listener, &key(LISTENS.0)));
        assert_eq!(dialer.on_reply(&reply).err(), Some(HandshakeError::ZeroSecret));
    }
}

#[test]
fn two_sessions_of_one_pair_share_no_keys() {
    let ((first, _), _) = establish(&peer());
    let (_, (second, _)) = establish(&peer());
    let (mut sealer, mut bytes) = (first.sealer, Vec::new());
    sealer.seal_data(0, b"body", &mut bytes);
    let mut reader = FrameReader::new(second.opener, 100);
    assert!(reader.read_from(&mut &bytes[..], &mut Scratch::new(), &mut Vec::new()).is_err());
}

#[test]
fn a_handshake_stays_within_a_kibibyte() {
    let limit = crate::limits::HANDSHAKE_BYTES_MAX as usize;
    let state = size_of::<Listener>();
    assert!(HELLO_BYTES + REPLY_BYTES + FINISH_BYTES <= limit);
    assert!(state + HELLO_BYTES + REPLY_BYTES <= limit, "{state} bytes of state");
}

/// Each statement belongs to one side and one transcript, truncated and extended transcripts included.
#[test]
fn transcripts_that_differ_give_different_statements_and_keys() {
    let messages = [[0; HELLO_BYTES].to_vec(), [1; HELLO_BYTES].to_vec(), [0; HELLO_BYTES - 1].to_vec()];
    let rest = [vec![], vec![0; 100], vec![0; 164], vec![0; 164 + 64], vec![1; 164]];
    let (mut statements, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for (hello, rest) in messages.iter().flat_map(|hello| rest.iter().map(move |rest| (hello, rest))) {
        let mut transcript = Transcript::begin(hello);
        transcript.add(rest);
        for side in [Side::Dialer, Side::Listener] {
            assert!(
                statements.insert(transcript.statement(side)),
                "{} and {} bytes",
                hello.len(),
                rest.len()
            );
        }
        for secret in [[3; 32], [5; 32]] {
            let frame_keys = transcript.keys(secret, [9; 32]).unwrap();
            assert!(keys.insert(frame_keys.to_listener) && keys.insert(frame_keys.to_dialer));
        }
    }
    assert_eq!((statements.len(), keys.len()), (30, 60));
}
