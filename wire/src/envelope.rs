//! The whole vocabulary of the IPC queues: what the processes of one node say to each other.
//!
//! Every IPC frame is the encoding of one of these, followed by the body it speaks of (empty where it has none). The
//! body is opaque to `net_server` and `net_client`.

use serde::{Deserialize, Serialize};

use crate::dest::Dest;
use crate::ids::{ClientId, Digest, NodeId, Round, Seq};

/// What may become of a message that waits in an outbox: the core tells when a class is finished, and messages of
/// finished classes are dropped first. Not on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Class {
    /// Serves one round of agreement; pointless once the round is decided.
    Round(Round),
    /// Serves one entry of the lane of a node; pointless once a decided cut covers it.
    Lane(NodeId, Seq),
    /// Serves something that no progress of our own makes pointless.
    Keep,
}

/// What the core has finished, as far as outboxes are concerned; also what pings and hellos tell peers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// All rounds up to this one are decided.
    pub decided: Round,
    /// For each lane of the own shard, the entry up to which it is decided.
    pub lanes: Vec<(NodeId, Seq)>,
}

/// Frame and byte counts of one link, cumulative since its process started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LinkCounters {
    /// Frames with a body sent, resent ones included.
    pub data_sent: u64,
    /// Frames with a body received, duplicates included.
    pub data_received: u64,
    /// Acks sent.
    pub ack_sent: u64,
    /// Acks received.
    pub ack_received: u64,
    /// Frames sent and not yet acknowledged.
    pub unconfirmed: u64,
    /// Bytes of frames that wait to be sent or acknowledged, as the outbox rule counts them.
    pub queued_bytes: u64,
    /// Bytes sent or received, framing included.
    pub bytes: u64,
    /// Frames dropped by the outbox rule.
    pub dropped: u64,
}

/// What `net_server` and `net_client` tell the core.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ToCore {
    /// A frame of an authenticated peer; the body follows. `digest` is SHA-256 of the body.
    Peer {
        /// Who sent it, by its key.
        from: NodeId,
        /// SHA-256 of the body, computed when its tag was checked.
        digest: Digest,
    },
    /// A session with a peer was established that may have lost what an earlier one carried: its process is new.
    PeerUp {
        /// The peer.
        peer: NodeId,
    },
    /// A session was established again with the process it was with before: nothing that was under way is lost.
    PeerBack {
        /// The peer.
        peer: NodeId,
    },
    /// What a peer says it has decided, from a hello or a ping.
    PeerDecided {
        /// The peer.
        peer: NodeId,
        /// All its rounds up to this one are decided.
        decided: Round,
    },
    /// No session with this peer is left.
    PeerDown {
        /// The peer.
        peer: NodeId,
    },
    /// A request of a client; the body follows (see [`crate::client`]).
    Client {
        /// The connection it came over.
        client: ClientId,
    },
    /// A client's connection has ended; replies to it go nowhere from now on.
    ClientGone {
        /// The connection that ended.
        client: ClientId,
    },
    /// Counters of all links, once a second from each child while they change.
    Counters {
        /// By peer, ascending.
        links: Vec<(NodeId, LinkCounters)>,
        /// Connections refused and frames thrown away since the process started, by reason.
        refused: Vec<(String, u64)>,
    },
}

/// What the core tells `net_server` and `net_client`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FromCore {
    /// To `net_client`: send the body that follows.
    Send {
        /// To whom.
        dest: Dest,
        /// For how long it matters.
        class: Class,
        /// SHA-256 of the body where the core knows it, so that a proposal is not hashed again.
        digest: Option<Digest>,
    },
    /// To `net_server`: the body that follows goes to a client (see [`crate::client`]).
    Reply {
        /// The connection it goes over.
        client: ClientId,
    },
    /// To `net_server`: the body that follows answers status requests for the next moments, since one that went to the
    /// core would wait too long (see [`crate::limits::STATUS_EVERY`]).
    Status,
    /// To both: what is finished.
    Progress(Progress),
}
