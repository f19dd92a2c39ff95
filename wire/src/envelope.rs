//! All messages between the processes of one node.
//!
//! Each IPC frame is the encoding of one of these types and a body, which is empty unless the message mentions one.
//! `net_server` and `net_client` do not parse bodies.

use serde::{Deserialize, Serialize};

use crate::dest::Dest;
use crate::ids::{ClientId, Digest, NodeId, Round, Seq};
use crate::link_rule::LinkRule;

/// For how long a message matters. The core reports finished classes, whose messages the outboxes drop. Not on the
/// wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Class {
    /// Serves one round of agreement; finished once the round is decided.
    Round(Round),
    /// Serves one entry of the lane of a node; finished once a decided cut covers it.
    Lane(NodeId, Seq),
    /// Never finished by progress of our own.
    Keep,
}

/// The finished classes. Pings and hellos carry the decided round to peers.
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

/// Messages of `net_server` and `net_client` to `node`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ToCore {
    /// A frame of an authenticated peer; the body follows. `digest` is SHA-256 of the body.
    Peer {
        /// The sender, authenticated by its key.
        from: NodeId,
        /// Computed when the tag was checked.
        digest: Digest,
    },
    /// A session with a new process of a peer was established; messages to an earlier process may be lost.
    PeerUp {
        /// The peer.
        peer: NodeId,
    },
    /// A session was established again with the same process; nothing is lost.
    PeerBack {
        /// The peer.
        peer: NodeId,
    },
    /// A hello, ping or pong carried a new decided round.
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
        /// The connection.
        client: ClientId,
    },
    /// A client's connection has ended; replies to it are dropped from now on.
    ClientGone {
        /// The connection.
        client: ClientId,
    },
    /// Counters of all links, once a second from each child while they change.
    Counters {
        /// By peer, ascending.
        links: Vec<(NodeId, LinkCounters)>,
        /// Connections refused and frames dropped since the process started, by reason.
        refused: Vec<(String, u64)>,
    },
}

/// Messages of `node` to `net_server` and `net_client`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FromCore {
    /// To `net_client`: send the body.
    Send {
        /// The recipients.
        dest: Dest,
        /// When it may be dropped.
        class: Class,
        /// SHA-256 of the body if the core knows it, so that a proposal is not hashed again.
        digest: Option<Digest>,
    },
    /// To `net_server`: send the body to a client (see [`crate::client`]).
    Reply {
        /// The connection.
        client: ClientId,
    },
    /// To `net_server`: answer status requests with the body for twice [`crate::limits::STATUS_EVERY`], because the
    /// inbound queue lags.
    Status,
    /// To `net_client`: this peer has just dialled us, so it can probably be reached; dial it now if it has no link.
    Dial {
        /// The peer.
        peer: NodeId,
    },
    /// To both: these classes are finished.
    Progress(Progress),
    /// To `net_client`: from now on this rule holds for the link to this peer.
    Rule {
        /// The peer.
        peer: NodeId,
        /// The rule, in place of the one before.
        rule: LinkRule,
    },
}
