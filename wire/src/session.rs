//! The handshake that opens a session, as a state machine without sockets.
//!
//! ```text
//! dialer → listener   hello    magic, version, testbed, role and key, X25519 key, incarnation, decided round
//! listener → dialer   reply    magic, version, id and key, X25519 key, incarnation, decided round, next sequence;
//!                              signature over hello and reply
//! dialer → listener   finish   signature over hello, reply and the listener's signature
//! ```
//!
//! To a hello of another version or testbed the listener sends a notice instead of the reply, and closes: magic,
//! version, testbed. It is not signed and serves for the dialer's error message alone.
//!
//! Guarantee: after a handshake each side is connected to the owner of the other's ed25519 key, within this testbed;
//! both saw the same bytes, and both share two keys, one for each direction, that nobody else has. *Identity comes from
//! the key, never from the address.* A peer proves the key that `committee.txt` gives its id. A client proves a
//! throwaway key, which shows only that it stays the same client.
//!
//! Why it holds: each side signs the transcript under a label of its own, and the transcript contains a fresh ephemeral
//! key of each side. So nobody can finish a replayed hello, a finish fits only its reply, and a reply only its hello.
//! The frame keys are derived from the X25519 secret *and* the transcript, so they are valid only between the two
//! signers. This is SIGMA without identity protection: ids of nodes are no secret.
//!
//! Cost: two X25519 multiplications, a signature and a verification for each side. A stranger that sends only a hello
//! costs the listener one multiplication and one signature.
//!
//! # Security
//! All messages have fixed lengths far below `limits::HANDSHAKE_BYTES_MAX`, so nothing is allocated for an announced
//! length. A shared secret of zeros (the other side sent a point of small order) is refused.

use curve25519_dalek::MontgomeryPoint;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::codec;
use crate::committee::Committee;
use crate::frame::{Opener, Sealer};
use crate::ids::{Digest, NodeId, Round};
use crate::mac::MacKey;
use crate::name::Name;
use crate::rand;

/// Length of a dialer's hello.
pub const HELLO_BYTES: usize = 8 + 2 + 1 + 2 + 3 * 32 + 8 + 8;
/// Length of a listener's reply.
pub const REPLY_BYTES: usize = 8 + 2 + 2 + 2 * 32 + 8 + 8 + 8 + SIGNATURE_BYTES;
/// Length of a listener's notice.
pub const NOTICE_BYTES: usize = 8 + 2 + 32;
/// Length of a dialer's finish.
pub const FINISH_BYTES: usize = SIGNATURE_BYTES;

const SIGNATURE_BYTES: usize = 64;
const MAGIC: [u8; 8] = *b"dumbo-tb";
/// Of a notice, so that a reply that is cut off is not taken for one.
const NOTICE_MAGIC: [u8; 8] = *b"dumbo-no";
const VERSION: u16 = 1;
const ROLE_PEER: u8 = 1;
const ROLE_CLIENT: u8 = 2;

/// The role of a dialer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// The node with this id.
    Peer(NodeId),
    /// Any client.
    Client,
}

/// The role and key of a dialer.
#[derive(Clone)]
pub struct Identity {
    role: Role,
    key: SigningKey,
}

impl Identity {
    /// A node with its key.
    pub fn peer(id: NodeId, key: SigningKey) -> Identity {
        Identity { role: Role::Peer(id), key }
    }

    /// A client with a fresh throwaway key.
    pub fn client() -> Identity {
        Identity { role: Role::Client, key: SigningKey::from_bytes(&rand::bytes32()) }
    }
}

/// The listener that a dialer expects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expected {
    /// The node's id.
    pub id: NodeId,
    /// Its ed25519 key.
    pub public_key: [u8; 32],
}

impl Expected {
    /// The node `id` of a committee.
    ///
    /// # Panics
    /// If the committee has no such node.
    pub fn of(committee: &Committee, id: NodeId) -> Expected {
        Expected { id, public_key: committee.member(id).public_key }
    }
}

/// The description of itself that each side sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalHello {
    /// Random, drawn once by each process, so that the other side recognizes a new process.
    pub incarnation: u64,
    /// The last round that is decided here.
    pub decided: Round,
}

/// The content of the listener's reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListenerHello {
    /// Its id.
    pub id: NodeId,
    /// The incarnation of its process.
    pub incarnation: u64,
    /// The last round that is decided there.
    pub decided: Round,
    /// The number of the data frame that it expects next from this dialer's incarnation; all below have arrived. A
    /// dialer that no longer has that frame sends a [`crate::frame::Kind::Skip`] first.
    pub next_expected: u64,
}

/// The content of the dialer's hello.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DialerHello {
    /// Its role, proved once the finish is verified.
    pub role: Role,
    /// The incarnation of its process.
    pub incarnation: u64,
    /// The last round that is decided there.
    pub decided: Round,
}

/// An established session: one half for each direction, since writer and reader may be different threads.
pub struct Session {
    /// Seals the frames that we send.
    pub sealer: Sealer,
    /// Opens the frames that we receive.
    pub opener: Opener,
}

/// Why a handshake failed. Each ends the connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum HandshakeError {
    /// The message has a wrong length, or a field has no lawful value.
    Malformed,
    /// It does not begin with our magic bytes.
    Magic,
    /// The other side uses another version.
    Version(u16),
    /// The other side has another `committee.txt`, that of this testbed.
    Testbed(Digest),
    /// The committee has no node with the claimed id.
    UnknownNode(NodeId),
    /// The dialer claims to be the listener itself.
    Oneself,
    /// The key is not that of the claimed or expected node.
    Key(NodeId),
    /// The signature does not verify.
    Signature,
    /// The shared secret is all zeros: the other side sent a point of small order.
    ZeroSecret,
}

impl HandshakeError {
    /// The name it is counted under.
    pub fn name(&self) -> &'static str {
        match self {
            HandshakeError::Malformed => "handshake malformed",
            HandshakeError::Magic => "handshake of something else",
            HandshakeError::Version(_) => "handshake of another version",
            HandshakeError::Testbed(_) => "handshake of another testbed",
            HandshakeError::UnknownNode(_) => "handshake of an unknown node",
            HandshakeError::Oneself => "handshake with oneself",
            HandshakeError::Key(_) => "handshake with another's id",
            HandshakeError::Signature => "handshake with a wrong signature",
            HandshakeError::ZeroSecret => "handshake with a zero secret",
        }
    }
}

impl std::fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())?;
        match self {
            HandshakeError::Version(version) => write!(f, ": {version} instead of {VERSION}"),
            HandshakeError::UnknownNode(id) | HandshakeError::Key(id) => write!(f, ": {}", Name::Node(*id)),
            HandshakeError::Testbed(theirs) => write!(f, ": {theirs}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for HandshakeError {}

#[derive(Serialize, Deserialize)]
struct Hello {
    magic: [u8; 8],
    version: u16,
    role: u8,
    id: NodeId,
    testbed: Digest,
    key: [u8; 32],
    ephemeral: [u8; 32],
    incarnation: u64,
    decided: Round,
}

/// The answer to a hello of another version or testbed.
#[derive(Serialize, Deserialize)]
struct Notice {
    magic: [u8; 8],
    version: u16,
    testbed: Digest,
}

/// The reply without its signature.
#[derive(Serialize, Deserialize)]
struct Reply {
    magic: [u8; 8],
    version: u16,
    id: NodeId,
    key: [u8; 32],
    ephemeral: [u8; 32],
    incarnation: u64,
    decided: Round,
    next_expected: u64,
}

/// The dialer's side, between its hello and the reply.
pub struct Dialer {
    identity: Identity,
    expected: Option<Expected>,
    secret: [u8; 32],
    transcript: Transcript,
}

impl Dialer {
    /// Begins: returns the state and the hello to send. Without `expected` any listener is accepted that can sign with
    /// its key.
    pub fn start(
        identity: &Identity,
        testbed: Digest,
        expected: Option<Expected>,
        local: LocalHello,
    ) -> (Dialer, Vec<u8>) {
        Dialer::start_with(rand::bytes32(), identity, testbed, expected, local)
    }

    /// [`Dialer::start`] with a given X25519 secret.
    fn start_with(
        secret: [u8; 32],
        identity: &Identity,
        testbed: Digest,
        expected: Option<Expected>,
        local: LocalHello,
    ) -> (Dialer, Vec<u8>) {
        let (role, id) = match identity.role {
            Role::Peer(id) => (ROLE_PEER, id),
            Role::Client => (ROLE_CLIENT, NodeId(0)),
        };
        let hello = codec::encode(&Hello {
            magic: MAGIC,
            version: VERSION,
            role,
            id,
            testbed,
            key: identity.key.verifying_key().to_bytes(),
            ephemeral: MontgomeryPoint::mul_base_clamped(secret).to_bytes(),
            incarnation: local.incarnation,
            decided: local.decided,
        });
        let transcript = Transcript::begin(&hello);
        (Dialer { identity: identity.clone(), expected, secret, transcript }, hello)
    }

    /// The listener has closed the connection after these bytes, fewer than [`REPLY_BYTES`]: the reason if it gave one,
    /// of a dialer of this testbed.
    pub fn on_closed(bytes: &[u8], ours: Digest) -> Option<HandshakeError> {
        let Notice { magic, version, testbed: theirs } = codec::decode(bytes).ok()?;
        if magic != NOTICE_MAGIC {
            None
        } else if version != VERSION {
            Some(HandshakeError::Version(version))
        } else {
            (theirs != ours).then_some(HandshakeError::Testbed(theirs))
        }
    }

    /// Handles the reply, of [`REPLY_BYTES`]: returns the finish to send, the session and the content of the reply.
    pub fn on_reply(self, bytes: &[u8]) -> Result<(Vec<u8>, Session, ListenerHello), HandshakeError> {
        let Dialer { identity, expected, secret, mut transcript } = self;
        if bytes.len() != REPLY_BYTES {
            return Err(HandshakeError::Malformed);
        }
        let (fields, signature) = bytes.split_at(REPLY_BYTES - SIGNATURE_BYTES);
        let reply: Reply = codec::decode(fields).map_err(|_| HandshakeError::Malformed)?;
        check_preamble(&reply.magic, reply.version)?;
        if expected.is_some_and(|expected| (expected.id, expected.public_key) != (reply.id, reply.key)) {
            return Err(HandshakeError::Key(reply.id));
        }
        transcript.add(fields);
        transcript.verify(Side::Listener, &reply.key, signature)?;
        transcript.add(signature);
        let finish = transcript.sign(Side::Dialer, &identity.key);
        transcript.add(&finish);
        let keys = transcript.keys(secret, reply.ephemeral)?;
        let session =
            Session { sealer: Sealer::new(&keys.to_listener), opener: Opener::new(&keys.to_dialer) };
        let Reply { id, incarnation, decided, next_expected, .. } = reply;
        Ok((finish.to_vec(), session, ListenerHello { id, incarnation, decided, next_expected }))
    }
}

/// The listener's side, between its reply and the finish.
pub struct Listener {
    secret: [u8; 32],
    dialer: DialerHello,
    dialer_key: [u8; 32],
    dialer_ephemeral: [u8; 32],
    transcript: Transcript,
}

impl Listener {
    /// Handles a hello, of [`HELLO_BYTES`]: returns the state and the reply to send. `next_expected` returns the number
    /// of the data frame that is expected next from the claimed dialer.
    pub fn on_hello(
        node: (NodeId, &SigningKey),
        committee: &Committee,
        local: LocalHello,
        next_expected: impl FnOnce(&DialerHello) -> u64,
        bytes: &[u8],
    ) -> Result<(Listener, Vec<u8>), HandshakeError> {
        Listener::on_hello_with(rand::bytes32, node, committee, local, next_expected, bytes)
    }

    /// The notice, of [`NOTICE_BYTES`], for a dialer whose hello failed for this reason; `None` if it gets none.
    pub fn notice(committee: &Committee, error: &HandshakeError) -> Option<Vec<u8>> {
        let is_told = matches!(error, HandshakeError::Testbed(_) | HandshakeError::Version(_));
        let notice = Notice { magic: NOTICE_MAGIC, version: VERSION, testbed: committee.testbed() };
        is_told.then(|| codec::encode(&notice))
    }

    /// [`Listener::on_hello`] with the X25519 secret that `draw` returns, which is called only for a lawful hello.
    fn on_hello_with(
        draw: impl FnOnce() -> [u8; 32],
        (id, key): (NodeId, &SigningKey),
        committee: &Committee,
        local: LocalHello,
        next_expected: impl FnOnce(&DialerHello) -> u64,
        bytes: &[u8],
    ) -> Result<(Listener, Vec<u8>), HandshakeError> {
        if bytes.len() != HELLO_BYTES {
            return Err(HandshakeError::Malformed);
        }
        let hello: Hello = codec::decode(bytes).map_err(|_| HandshakeError::Malformed)?;
        check_preamble(&hello.magic, hello.version)?;
        if hello.testbed != committee.testbed() {
            return Err(HandshakeError::Testbed(hello.testbed));
        }
        let role = match (hello.role, hello.id) {
            (ROLE_PEER, claimed) if !committee.contains(claimed) => {
                return Err(HandshakeError::UnknownNode(claimed));
            }
            (ROLE_PEER, claimed) if claimed == id => return Err(HandshakeError::Oneself),
            (ROLE_PEER, claimed) if committee.member(claimed).public_key != hello.key => {
                return Err(HandshakeError::Key(claimed));
            }
            (ROLE_PEER, claimed) => Role::Peer(claimed),
            (ROLE_CLIENT, NodeId(0)) => Role::Client,
            _ => return Err(HandshakeError::Malformed),
        };
        let dialer = DialerHello { role, incarnation: hello.incarnation, decided: hello.decided };
        let secret = draw();
        let mut reply = codec::encode(&Reply {
            magic: MAGIC,
            version: VERSION,
            id,
            key: key.verifying_key().to_bytes(),
            ephemeral: MontgomeryPoint::mul_base_clamped(secret).to_bytes(),
            incarnation: local.incarnation,
            decided: local.decided,
            next_expected: next_expected(&dialer),
        });
        let mut transcript = Transcript::begin(bytes);
        transcript.add(&reply);
        let signature = transcript.sign(Side::Listener, key);
        transcript.add(&signature);
        reply.extend(signature);
        let (dialer_key, dialer_ephemeral) = (hello.key, hello.ephemeral);
        Ok((Listener { secret, dialer, dialer_key, dialer_ephemeral, transcript }, reply))
    }

    /// Handles the finish, of [`FINISH_BYTES`]: returns the session and the content of the hello, whose role is proved
    /// now.
    pub fn on_finish(self, bytes: &[u8]) -> Result<(Session, DialerHello), HandshakeError> {
        let Listener { secret, dialer, dialer_key, dialer_ephemeral, mut transcript } = self;
        transcript.verify(Side::Dialer, &dialer_key, bytes)?;
        transcript.add(bytes);
        let keys = transcript.keys(secret, dialer_ephemeral)?;
        let session =
            Session { sealer: Sealer::new(&keys.to_dialer), opener: Opener::new(&keys.to_listener) };
        Ok((session, dialer))
    }
}

fn check_preamble(magic: &[u8; 8], version: u16) -> Result<(), HandshakeError> {
    if *magic != MAGIC {
        return Err(HandshakeError::Magic);
    }
    if version != VERSION { Err(HandshakeError::Version(version)) } else { Ok(()) }
}

/// The signer. Each side signs under a label of its own, so that its signature does not pass for the other's.
#[derive(Clone, Copy)]
enum Side {
    Dialer,
    Listener,
}

impl Side {
    fn label(self) -> &'static [u8] {
        match self {
            Side::Dialer => b"dumbo-testbed session 1: dialer signs",
            Side::Listener => b"dumbo-testbed session 1: listener signs",
        }
    }
}

/// The messages so far. Each has a fixed length, so their concatenation is unambiguous.
struct Transcript {
    hash: Sha256,
}

struct FrameKeys {
    to_listener: [u8; 32],
    to_dialer: [u8; 32],
}

impl Transcript {
    fn begin(hello: &[u8]) -> Transcript {
        let mut hash = Sha256::new();
        hash.update(b"dumbo-testbed session 1: transcript");
        hash.update(hello);
        Transcript { hash }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    fn digest(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }

    fn statement(&self, side: Side) -> Vec<u8> {
        [side.label(), &self.digest()].concat()
    }

    fn sign(&self, side: Side, key: &SigningKey) -> [u8; SIGNATURE_BYTES] {
        key.sign(&self.statement(side)).to_bytes()
    }

    fn verify(&self, side: Side, key: &[u8; 32], signature: &[u8]) -> Result<(), HandshakeError> {
        let signature: &[u8; SIGNATURE_BYTES] =
            signature.try_into().map_err(|_| HandshakeError::Malformed)?;
        VerifyingKey::from_bytes(key)
            .and_then(|key| key.verify_strict(&self.statement(side), &Signature::from_bytes(signature)))
            .map_err(|_| HandshakeError::Signature)
    }

    /// The frame keys: extracted from the shared secret under the whole transcript, and expanded for each direction
    /// (the two steps of HKDF, RFC 5869, with outputs of one block).
    fn keys(&self, secret: [u8; 32], ephemeral: [u8; 32]) -> Result<FrameKeys, HandshakeError> {
        let shared = MontgomeryPoint(ephemeral).mul_clamped(secret).to_bytes();
        if shared == [0; 32] {
            return Err(HandshakeError::ZeroSecret);
        }
        let extracted = MacKey::new(&MacKey::new(&self.digest()).tag(&[&shared]));
        Ok(FrameKeys {
            to_listener: extracted.tag(&[b"dumbo-testbed session 1: dialer to listener", &[1]]),
            to_dialer: extracted.tag(&[b"dumbo-testbed session 1: listener to dialer", &[1]]),
        })
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
