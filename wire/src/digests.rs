//! No two structures of a small world have the same digest or tag. docs/design.md lists the structures and explains
//! why. The tests of `session` do the same for the transcript of the handshake.

use std::collections::BTreeMap;
use std::fmt::Debug;

use sha2::{Digest as _, Sha256};

use crate::committee::{Committee, Member, Protocol};
use crate::frame::{FrameReader, HEADER_BYTES, Kind, Opener, Scratch, Sealer, TAG_BYTES};
use crate::ids::Digest;

/// The structures hashed so far, by digest.
#[derive(Default)]
struct Seen(BTreeMap<[u8; 32], String>);

impl Seen {
    fn note(&mut self, structure: &impl Debug, digest: [u8; 32]) {
        let structure = format!("{structure:?}");
        let first = self.0.entry(digest).or_insert_with(|| structure.clone());
        assert_eq!(*first, structure, "one digest for both");
    }
}

const KINDS: [Kind; 6] = [Kind::Data, Kind::Ack, Kind::Ping, Kind::Pong, Kind::Skip, Kind::Heard];
const KEYS: [[u8; 32]; 2] = [[1; 32], [2; 32]];

/// Bodies of several lengths, some with the bytes of a header or count of another frame.
fn bodies() -> Vec<Vec<u8>> {
    let numbers = [0u64, 1, 256].map(|number| number.to_le_bytes().to_vec());
    let lengths = [0, 1, 8, 31, 32, 33, 53].map(|length| vec![0; length]);
    numbers.into_iter().chain(lengths).chain([vec![1]]).collect()
}

#[test]
fn a_tag_belongs_to_one_position_of_one_direction() {
    let mut seen = Seen::default();
    let mut bodies = bodies();
    bodies.sort();
    bodies.dedup();
    for key in KEYS {
        for body in &bodies {
            for (kind, sequence) in
                KINDS.iter().flat_map(|kind| [0, 1, 256].map(|sequence| (*kind, sequence)))
            {
                let digest = Digest(Sha256::digest(body).into());
                let mut sealer = Sealer::new(&key);
                for count in 0..3 {
                    let is_lawful = match kind {
                        Kind::Data => true,
                        Kind::Ping | Kind::Pong => body.len() == 8,
                        Kind::Ack | Kind::Skip | Kind::Heard => body.is_empty(),
                    };
                    if is_lawful {
                        let sealed = sealer.seal(kind, sequence, &digest, body.len());
                        seen.note(&(key, count, kind, sequence, body), sealed.tag);
                    }
                }
            }
        }
    }
    assert!(seen.0.len() > 250, "{}", seen.0.len());
}

/// Whether a reader accepts these bytes as its first frame.
fn is_accepted(key: [u8; 32], mut bytes: &[u8]) -> bool {
    let mut frames = Vec::new();
    let mut reader = FrameReader::new(Opener::new(&key), 1 << 10);
    reader.read_from(&mut bytes, &mut Scratch::new(), &mut frames).is_ok() && !frames.is_empty()
}

#[test]
fn a_frame_of_another_shape_is_refused() {
    for body in bodies() {
        let mut bytes = Vec::new();
        let mut sealer = Sealer::new(&KEYS[0]);
        sealer.seal_data(1, &body, &mut bytes);
        assert!(is_accepted(KEYS[0], &bytes));
        assert!(!is_accepted(KEYS[1], &bytes), "the other direction");
        let mut second = Vec::new();
        sealer.seal_data(1, &body, &mut second);
        assert!(!is_accepted(KEYS[0], &second), "another position");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(!is_accepted(KEYS[0], &changed), "byte {at} of a body of {}", body.len());
        }
        // A body longer or shorter by one byte, with the fitting length.
        let longer = [&[0], &body[..]].concat();
        for body in [&longer[..], body.get(1..).unwrap_or_default()] {
            let mut changed = (body.len() as u32).to_le_bytes().to_vec();
            changed.extend(&bytes[4..HEADER_BYTES]);
            changed.extend(body);
            changed.extend(&bytes[bytes.len() - TAG_BYTES..]);
            assert!(changed == bytes || !is_accepted(KEYS[0], &changed), "a body of {}", body.len());
        }
    }
}

#[test]
fn a_testbed_id_depends_on_all_of_its_text() {
    let member = |key: u8, coin: u8| Member { public_key: [key; 32], coin_commitment: [coin; 32] };
    let members = [member(1, 2), member(2, 1), member(1, 1), member(2, 2)];
    let protocol = Protocol::default();
    let protocols = [
        protocol,
        Protocol { signed: true, ..protocol },
        Protocol { proposal_bytes_max: 1_000, ..protocol },
        Protocol { transaction_bytes_max: 1_000, ..protocol },
        Protocol { genesis_coins: 1_000, ..protocol },
        Protocol { genesis_amount: 1, ..protocol },
    ];
    let mut seen = Seen::default();
    for (n, count) in [(1, 1), (1, 2), (2, 2), (1, 4), (2, 4), (4, 4)] {
        for (protocol, nonce) in protocols.iter().flat_map(|protocol| [(protocol, 1), (protocol, 2)]) {
            for order in 0..4 {
                let mut members = members[..count].to_vec();
                members.rotate_left(order % count);
                let committee = Committee::new(n, *protocol, members.clone(), [nonce; 32]);
                seen.note(&(n, members, protocol, nonce), committee.testbed().0);
            }
        }
    }
    assert!(seen.0.len() > 100, "{}", seen.0.len());
}
