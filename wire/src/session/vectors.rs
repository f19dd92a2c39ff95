//! Compares the handshake and the first frames of a session with docs/session_vectors.txt, which an independent script
//! computes.

use super::*;
use crate::hex;

/// The lines "name value" of one case.
struct Case<'a>(Vec<(&'a str, &'a str)>);

impl Case<'_> {
    fn text(&self, name: &str) -> &str {
        let line = self.0.iter().find(|(other, _)| *other == name);
        line.unwrap_or_else(|| panic!("the case has no {name}")).1
    }

    fn bytes(&self, name: &str) -> [u8; 32] {
        hex::decode_32(self.text(name)).unwrap_or_else(|| panic!("{name} is not 32 bytes"))
    }

    fn key(&self, name: &str) -> SigningKey {
        SigningKey::from_bytes(&self.bytes(name))
    }

    fn check(&self, name: &str, bytes: &[u8]) {
        assert_eq!(hex::encode(bytes), self.text(name), "{name}");
    }
}

/// The dialer and the listener after hello and reply, and the reply.
fn shake(case: &Case<'_>, committee: &Committee, role: Role) -> (Dialer, Listener, Vec<u8>) {
    let identity = Identity { role, key: case.key("dialer_seed") };
    let node = NodeId(2);
    let (dialer, hello) = Dialer::start_with(
        case.bytes("dialer_secret"),
        &identity,
        committee.testbed(),
        Some(Expected::of(committee, node)),
        LocalHello { incarnation: 77, decided: Round(5) },
    );
    case.check("hello", &hello);
    let (listener, reply) = Listener::on_hello_with(
        || case.bytes("listener_secret"),
        (node, &case.key("listener_seed")),
        committee,
        LocalHello { incarnation: 88, decided: Round(6) },
        |_| 9,
        &hello,
    )
    .unwrap();
    case.check("reply", &reply);
    (dialer, listener, reply)
}

fn frames_to_listener(sealer: &mut Sealer) -> Vec<u8> {
    let mut bytes = Vec::new();
    sealer.seal_data(9, b"body", &mut bytes);
    sealer.seal_ping(4, Round(3), &mut bytes);
    sealer.seal_skip(12, &mut bytes);
    bytes
}

fn frames_to_dialer(sealer: &mut Sealer) -> Vec<u8> {
    let mut bytes = Vec::new();
    sealer.seal_ack(10, &mut bytes);
    sealer.seal_pong(4, Round(2), &mut bytes);
    bytes
}

#[test]
fn vectors_of_the_independent_script() {
    let text = include_str!("../../../docs/session_vectors.txt");
    let (head, cases) = text.split_once("\ncase ").expect("cases follow the committee");
    let committee: String = head
        .lines()
        .filter_map(|line| line.strip_prefix("committee "))
        .flat_map(|line| [line, "\n"])
        .collect();
    let committee = Committee::parse("session_vectors.txt", &committee).unwrap();
    let mut names = Vec::new();
    for case in cases.split("\ncase ") {
        let (name, lines) = case.split_once('\n').expect("a case has lines");
        let case = Case(lines.lines().filter_map(|line| line.split_once(' ')).collect());
        let role = if name == "peer" { Role::Peer(NodeId(1)) } else { Role::Client };

        let (dialer, listener, reply) = shake(&case, &committee, role);
        let (finish, mut ours, _) = dialer.on_reply(&reply).unwrap();
        case.check("finish", &finish);
        let (mut theirs, _) = listener.on_finish(&finish).unwrap();
        case.check("frames_to_listener", &frames_to_listener(&mut ours.sealer));
        case.check("frames_to_dialer", &frames_to_dialer(&mut theirs.sealer));

        // Once more, for the keys themselves. `an_honest_handshake_gives_both_sides_the_same_session` checks the
        // openers of both sides.
        let (_, mut listener, _) = shake(&case, &committee, role);
        listener.transcript.add(&finish);
        case.check("transcript", &listener.transcript.digest());
        let shared = MontgomeryPoint(listener.dialer_ephemeral).mul_clamped(listener.secret);
        case.check("shared", &shared.to_bytes());
        let keys = listener.transcript.keys(listener.secret, listener.dialer_ephemeral).unwrap();
        case.check("to_listener", &keys.to_listener);
        case.check("to_dialer", &keys.to_dialer);
        names.push(name);
    }
    assert_eq!(names, ["peer", "client"], "the file holds all its cases");
}
