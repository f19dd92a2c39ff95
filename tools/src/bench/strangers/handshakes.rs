//! False handshakes: each a whole hello that a node must refuse by name.

use std::io::{Read as _, Write as _};
use std::time::Instant;

use bft::crypto::deal::deal_committee;
use wire::committee::Protocol;
use wire::ids::{Digest, NodeId, Round};
use wire::keys::{NodeKeys, SigningKey};
use wire::rand;
use wire::session::{Dialer, FINISH_BYTES, HELLO_BYTES, Identity, LocalHello, REPLY_BYTES};

use super::scene::{PATIENCE, Scene, Tally, Victim, is_patient, send_and_wait};

/// How often an honest handshake is tried before there is none to replay.
const RECORDINGS_MAX: usize = 20;

/// The false handshakes, each with the counter that must count it.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    what: &'static str,
    counter: &'static str,
    make: fn(&Forger<'_>, Victim) -> Option<Vec<u8>>,
}

const ATTEMPTS: [Attempt; 8] = [
    Attempt {
        what: "oversize lengths before the handshake",
        counter: "handshake of something else",
        make: |_, _| Some(oversize()),
    },
    Attempt {
        what: "keys of another testbed",
        counter: "handshake of another testbed",
        make: |forger, _| {
            Some(hello(&Identity::peer(NodeId(0), forger.foreign.clone()), forger.other_testbed))
        },
    },
    Attempt {
        what: "keys of another testbed that claim this one",
        counter: "handshake with another's id",
        make: |forger, _| Some(forger.claim(forger.foreign.clone(), forger.member.id)),
    },
    Attempt {
        what: "a member's key for another id",
        counter: "handshake with another's id",
        make: |forger, victim| {
            let other =
                forger.scene.committee.nodes().find(|id| *id != victim.node && *id != forger.member.id);
            other.map(|other| forger.claim(forger.member.signing.clone(), other))
        },
    },
    Attempt {
        what: "a member's key for the node's own id",
        counter: "handshake with oneself",
        make: |forger, victim| Some(forger.claim(forger.member.signing.clone(), victim.node)),
    },
    Attempt {
        what: "an id that no node has",
        counter: "handshake of an unknown node",
        make: |forger, _| Some(forger.claim(forger.foreign.clone(), NodeId(u16::MAX))),
    },
    Attempt {
        what: "replayed handshakes of a client",
        counter: "handshake with a wrong signature",
        make: |forger, victim| forger.recorded(&Identity::client(), victim),
    },
    Attempt {
        what: "replayed handshakes of a member",
        counter: "handshake with a wrong signature",
        make: |forger, victim| {
            let identity = Identity::peer(forger.member.id, forger.member.signing.clone());
            forger.recorded(&identity, victim)
        },
    },
];

/// Keys to forge with.
struct Forger<'a> {
    scene: &'a Scene,
    /// A member's own.
    member: &'a NodeKeys,
    /// One dealt to node 0 of another testbed.
    foreign: SigningKey,
    other_testbed: Digest,
}

/// Tries them all in turn at all nodes.
pub(super) fn attempt(scene: &Scene) -> Tally {
    let mut tally = Tally::default();
    let Some(member) = scene.members.first() else { return tally };
    let (elsewhere, secrets) = deal_committee(4, 1, Protocol::default(), rand::fill);
    let forger =
        Forger { scene, member, foreign: secrets[0].signing.clone(), other_testbed: elsewhere.testbed() };
    // Recorded once and replayed ever after.
    let mut made: Vec<(Attempt, Victim, Vec<u8>)> = Vec::new();
    for victim in &scene.victims {
        for attempt in ATTEMPTS {
            made.extend((attempt.make)(&forger, *victim).map(|bytes| (attempt, *victim, bytes)));
        }
    }
    let (mut done, all) = (0, scene.amounts.handshakes * made.len() as u64);
    for _ in 0..scene.amounts.handshakes {
        for (attempt, victim, bytes) in &made {
            scene.keep_pace(done, all);
            if scene.is_over() {
                return tally;
            }
            done += 1;
            let Ok(mut stream) = victim.connect() else { continue };
            tally.sent(attempt.what, 1);
            if send_and_wait(&mut stream, bytes, scene) {
                tally.owe("handshake", 1);
                tally.show(attempt.counter);
            }
        }
    }
    tally
}

impl Forger<'_> {
    /// A hello of this testbed, with a key for an id.
    fn claim(&self, key: SigningKey, id: NodeId) -> Vec<u8> {
        hello(&Identity::peer(id, key), self.scene.committee.testbed())
    }

    /// A handshake to replay. While idle connections come in by the thousand an honest one may be evicted: then again.
    fn recorded(&self, identity: &Identity, victim: Victim) -> Option<Vec<u8>> {
        (0..RECORDINGS_MAX).find_map(|_| record(identity, victim, self.scene))
    }
}

fn hello(identity: &Identity, testbed: Digest) -> Vec<u8> {
    Dialer::start(identity, testbed, None, LocalHello { incarnation: rand::u64(), decided: Round(0) }).1
}

/// A frame's header that announces four gigabytes, and something behind it.
fn oversize() -> Vec<u8> {
    let mut bytes = vec![0xFF; HELLO_BYTES];
    bytes[4] = 1;
    bytes
}

/// Shakes hands as it should be done, and returns what the dialer sent: what an eavesdropper could replay.
fn record(identity: &Identity, victim: Victim, scene: &Scene) -> Option<Vec<u8>> {
    let local = LocalHello { incarnation: rand::u64(), decided: Round(0) };
    let (dialer, hello) = Dialer::start(identity, scene.committee.testbed(), None, local);
    let mut stream = victim.connect().ok()?;
    stream.write_all(&hello).ok()?;
    let (mut reply, mut filled, began) = ([0; REPLY_BYTES], 0, Instant::now());
    while filled < REPLY_BYTES {
        match stream.read(&mut reply[filled..]) {
            Ok(0) => return None,
            Ok(count) => filled += count,
            Err(error) if is_patient(&error) && began.elapsed() < PATIENCE && !scene.is_over() => {}
            Err(_) => return None,
        }
    }
    let (finish, ..) = dialer.on_reply(&reply).ok()?;
    stream.write_all(&finish).ok()?;
    debug_assert_eq!(finish.len(), FINISH_BYTES);
    Some([hello, finish].concat())
}
