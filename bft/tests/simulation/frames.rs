//! The same runs with every message written into a frame of a session and read from it: all messages of the core pass
//! the wire, and they arrive as they were sent.

use std::collections::BTreeMap;

use bft::crypto::deal::{deal_committee, seeded_entropy};
use bft::sim::{Adversary, Direct, Scenario, Trace, Transport, run};
use wire::bytes::Bytes;
use wire::committee::Protocol;
use wire::frame::{Arrival, FrameReader, InOrder, Kind, Scratch, Sealer};
use wire::ids::{Digest, NodeId, Round};
use wire::limits::FRAME_BYTES_MAX;
use wire::session::{Dialer, Expected, Identity, Listener, LocalHello};

/// One direction between two nodes.
struct Link {
    sealer: Sealer,
    reader: FrameReader,
    sent: u64,
    received: InOrder,
}

/// Sessions between all pairs, after real handshakes.
struct Sessions {
    links: BTreeMap<(NodeId, NodeId), Link>,
    scratch: Scratch,
    frames: u64,
}

impl Sessions {
    fn new(nodes: u16, shards: u16) -> Sessions {
        let (committee, secrets) = deal_committee(nodes, shards, Protocol::default(), seeded_entropy(1));
        let mut links = BTreeMap::new();
        for dials in &secrets {
            for listens in secrets.iter().filter(|other| other.id != dials.id) {
                let says = LocalHello { incarnation: u64::from(dials.id.0), decided: Round(0) };
                let identity = Identity::peer(dials.id, dials.signing.clone());
                let expected = Expected::of(&committee, listens.id);
                let (dialer, hello) = Dialer::start(&identity, committee.testbed(), Some(expected), says);
                let me = (listens.id, &listens.signing);
                let (listener, reply) = Listener::on_hello(me, &committee, says, |_| 0, &hello).unwrap();
                let (finish, session, _) = dialer.on_reply(&reply).unwrap();
                let (accepted, _) = listener.on_finish(&finish).unwrap();
                let link = Link {
                    sealer: session.sealer,
                    reader: FrameReader::new(accepted.opener, FRAME_BYTES_MAX),
                    sent: 0,
                    received: InOrder::default(),
                };
                links.insert((dials.id, listens.id), link);
            }
        }
        Sessions { links, scratch: Scratch::new(), frames: 0 }
    }
}

impl Transport for Sessions {
    fn carry(&mut self, from: NodeId, to: NodeId, _digest: Digest, body: Bytes) -> (Digest, Bytes) {
        let link = self.links.get_mut(&(from, to)).expect("all pairs have a session");
        let mut bytes = Vec::new();
        link.sealer.seal_data(link.sent, &body, &mut bytes);
        link.sent += 1;
        let (mut source, mut frames) = (&bytes[..], Vec::new());
        while !source.is_empty() {
            link.reader
                .read_from(&mut source, &mut self.scratch, &mut frames)
                .expect("it was sealed for this reader");
        }
        let frame = frames.pop().expect("a whole frame was sealed");
        assert!(frames.is_empty() && frame.kind == Kind::Data);
        assert_eq!(link.received.accept(frame.sequence), Arrival::Next);
        self.frames += 1;
        (frame.digest, frame.body)
    }
}

#[test]
fn frames_do_not_change_a_run() {
    for (nodes, shards, adversary) in [
        (4, 1, Adversary::Random),
        (4, 1, Adversary::Chaos),
        (4, 1, Adversary::MutatedBytes),
        (4, 1, Adversary::DyingChild),
        (7, 1, Adversary::EquivocatingLane),
        (4, 2, Adversary::Random),
        (4, 3, Adversary::Chaos),
    ] {
        let mut sessions = Sessions::new(nodes, shards);
        for seed in 0..3 {
            let scenario = Scenario::mixed(seed, nodes, shards, adversary);
            let framed = run(&scenario, &mut sessions, Trace::Off);
            assert_eq!(framed.violation, None, "{scenario}");
            assert_eq!(framed, run(&scenario, &mut Direct, Trace::Off), "{scenario}");
        }
        assert!(sessions.frames > 1_000, "{} frames", sessions.frames);
    }
}
