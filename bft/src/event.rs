//! The core's inputs and outputs: the whole contract with its driver.

use wire::bytes::Bytes;
use wire::dest::Dest;
use wire::envelope::{Class, Progress};
use wire::ids::{ClientId, Digest, NodeId, Round};

use crate::fault::Fault;
use crate::trace::{TraceEvent, Tracing};

/// An input. Together with its time it is all that the core ever learns.
#[derive(Clone, Debug)]
pub enum Event {
    /// Bytes of an authenticated peer.
    Peer {
        /// Their sender.
        from: NodeId,
        /// SHA-256 of them, computed by the driver's side when it checked the frame's tag.
        digest: Digest,
        /// The bytes.
        body: Bytes,
    },
    /// A session with a peer was established by a new process of it: messages under way to it may be lost.
    PeerUp {
        /// The peer.
        peer: NodeId,
    },
    /// The last session with a peer ended.
    PeerDown {
        /// The peer.
        peer: NodeId,
    },
    /// A peer reports how far it has decided.
    PeerDecided {
        /// The peer.
        peer: NodeId,
        /// All its rounds up to this one are decided.
        decided: Round,
    },
    /// One of our own children was restarted: messages in it may be lost.
    ChildRestarted,
    /// A request of a client.
    Client {
        /// Its connection.
        client: ClientId,
        /// The request.
        body: Bytes,
    },
    /// A client's connection ended.
    ClientGone {
        /// Its connection.
        client: ClientId,
    },
    /// Only time has passed: due at `Core::next_wakeup`, harmless at any other time.
    Tick,
}

/// An instruction for the driver.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Send a message to peers; never to ourselves.
    Send {
        /// The recipients.
        dest: Dest,
        /// For how long it matters.
        class: Class,
        /// SHA-256 of the body where it is known already, so that a proposal is hashed once.
        digest: Option<Digest>,
        /// The message, encoded once.
        body: Bytes,
    },
    /// Send a message that the journal has: one that a peer sent us, or an entry of our own lane. The driver reads it
    /// there. If it cannot, nothing is sent, and who requested it asks another member.
    SendKept {
        /// The recipient.
        to: NodeId,
        /// For how long it matters.
        class: Class,
        /// SHA-256 of the message.
        digest: Digest,
    },
    /// Answer a client.
    Reply {
        /// Its connection.
        client: ClientId,
        /// The encoded `wire::client::Reply`.
        body: Bytes,
    },
    /// Progress: pass it to the outboxes, and to peers in pings.
    Progress(Progress),
    /// A block was executed.
    Executed(Box<BlockReport>),
    /// The state after many blocks was taken over from other members: reports of these blocks do not come.
    Jumped(Box<JumpReport>),
    /// A peer misbehaved.
    Fault(Fault),
    /// An event for people to follow; only if tracing is on.
    Trace {
        /// The level of detail from which it is emitted.
        detail: Tracing,
        /// The event.
        event: Box<TraceEvent>,
    },
}

/// The report on a state that was taken over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JumpReport {
    /// The height up to which blocks were executed here.
    pub from: Round,
    /// The height of the state.
    pub height: Round,
    /// Digest of the header at that height.
    pub header: Digest,
    /// The length of the state as it was sent.
    pub bytes: u64,
    /// The members that vouched for it.
    pub vouchers: Vec<NodeId>,
}

/// The report on one executed block: a line of `rounds-<id>.csv`. Spans in microseconds of the core's time.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BlockReport {
    /// Round and height.
    pub round: Round,
    /// Digest of the header.
    pub header: Digest,
    /// Transactions within the shard finished by it.
    pub finished: u64,
    /// Transactions rejected for good by it.
    pub rejected: u64,
    /// Transactions in it that were skipped: duplicates, expired.
    pub skipped: u64,
    /// Cross-shard transactions that spent here.
    pub spent: u64,
    /// Cross-shard transactions finished by it, at their output shard.
    pub finished_cross: u64,
    /// Cross-shard transactions cancelled by it, at their output shard.
    pub cancelled: u64,
    /// Cross-shard transactions whose inputs here were given back.
    pub refunded: u64,
    /// Cross-shard transactions whose records here were closed since they finished.
    pub closed: u64,
    /// Lane entries in it.
    pub entries: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    /// Views that its agreement took, from 1; 0 if the decision came by HALT before we took part.
    pub views: u32,
    /// The node that had proposed the decided cut, elected by the coin of the deciding view.
    pub leader: NodeId,
    /// From our input to N−f FINISHes of the deciding view.
    pub spb_us: u64,
    /// From there to the coin of the deciding view.
    pub coin_us: u64,
    /// From there to the decision.
    pub decide_us: u64,
    /// From our input to the decision; 0 if we gave none.
    pub agreement_us: u64,
    /// From the decision to the execution: the wait for payloads and for earlier blocks.
    pub fetch_us: u64,
}
