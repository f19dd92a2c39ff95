//! Messages under way, read once: what the checkers, the adversary and the trace see of them.
//!
//! Channels are authenticated, not secret, so the adversary reads everything. Every message travels as the bytes that
//! the core encoded; reading them back here also exercises the codec on all that is ever sent.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wire::bytes::Bytes;
use wire::envelope::Class;
use wire::ids::{Digest, NodeId, Round, View};

use crate::block::BlockMessage;
use crate::lane::LaneMessage;
use crate::lane::entry::Entry;
use crate::message::{Incoming, Message};
use crate::mvba::{Ballot, MvbaMessage, PreVote, Vote};
use crate::part::Part;
use crate::round::{CatchUpMessage, RoundMessage};
use crate::shard::message::{PartMessage, RejectMessage, ShardMessage, Transfer};
use crate::spb::SpbMessage;

/// Bytes with their digest and their meaning, shared by all recipients.
#[derive(Clone, Debug)]
pub(super) struct Parcel(Arc<Content>);

#[derive(Debug)]
struct Content {
    digest: Digest,
    body: Bytes,
    seen: Seen,
}

/// What the bytes of a message say.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    /// A lane entry.
    Entry(Entry),
    /// Anything else that is a message.
    Message(Message),
    /// A group part with its proof.
    Transfer(Transfer),
    /// Transactions to be ordered for another shard.
    Order(Bytes),
    /// No message.
    Garbage,
}

impl Parcel {
    /// Reads the bytes.
    pub(super) fn new(body: Bytes) -> Parcel {
        let digest = Digest(Sha256::digest(&body[..]).into());
        let seen = match Incoming::decode(&body) {
            Some(Incoming::Entry) => Entry::parse(digest, body.clone()).map_or(Seen::Garbage, Seen::Entry),
            Some(Incoming::Message(message)) => Seen::Message(message),
            Some(Incoming::Transfer(transfer)) => Seen::Transfer(transfer),
            Some(Incoming::Order(list)) => Seen::Order(list),
            None => Seen::Garbage,
        };
        Parcel(Arc::new(Content { digest, body, seen }))
    }

    /// A message that an adversary made.
    pub(super) fn of(message: &Message) -> Parcel {
        Parcel::new(message.encode())
    }

    /// SHA-256 of the bytes.
    pub(super) fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The bytes.
    pub(super) fn body(&self) -> &Bytes {
        &self.0.body
    }

    /// Their meaning.
    pub(super) fn seen(&self) -> &Seen {
        &self.0.seen
    }

    /// The message, if it is one and no entry.
    pub(super) fn message(&self) -> Option<&Message> {
        match self.seen() {
            Seen::Message(message) => Some(message),
            Seen::Entry(_) | Seen::Transfer(_) | Seen::Order(_) | Seen::Garbage => None,
        }
    }

    /// The message of agreement that it is, with its round.
    pub(super) fn mvba(&self) -> Option<(Round, &MvbaMessage)> {
        match self.message()? {
            Message::Round(RoundMessage::Mvba { round, message }) => Some((*round, message)),
            _ => None,
        }
    }
}

/// A parcel on one link.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// The authenticated sender.
    pub(super) from: NodeId,
    /// The recipient.
    pub(super) to: NodeId,
    /// For how long it matters, as its sender says.
    pub(super) class: Class,
    /// What is sent.
    pub(super) parcel: Parcel,
}

impl fmt::Display for Seen {
    /// The message's name and place in one word or a few, for traces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seen::Entry(entry) => {
                write!(f, "SEND lane {}:{} {}", entry.owner, entry.seq, short(&entry.digest))
            }
            Seen::Message(Message::Lane(message)) => lane(message, f),
            Seen::Message(Message::Round(message)) => round(message, f),
            Seen::Message(Message::Block(message)) => match message {
                BlockMessage::Vote(vote) => write!(f, "BLOCK-VOTE h{} {}", vote.height, short(&vote.header)),
                BlockMessage::Certified { height, header, .. } => {
                    write!(f, "BLOCK-CERTIFIED h{height} {}", short(header))
                }
            },
            Seen::Message(Message::Shard(message)) => shard(message, f),
            Seen::Transfer(transfer) => match Part::parse(transfer.part.clone()) {
                Some(part) => write!(f, "TRANSFER s{}>s{} p{}", part.source, part.destination, part.number),
                None => f.write_str("TRANSFER of garbage"),
            },
            Seen::Order(list) => write!(f, "ORDER {} bytes", list.len()),
            Seen::Garbage => f.write_str("garbage"),
        }
    }
}

fn lane(message: &LaneMessage, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (name, owner, seq, digest) = match message {
        LaneMessage::Echo { owner, seq, digest, .. } => ("ECHO", owner, seq, digest),
        LaneMessage::Final { owner, seq, digest, .. } => ("FINAL", owner, seq, digest),
        LaneMessage::WantEntry { owner, seq, digest } => ("WANT-ENTRY", owner, seq, digest),
        LaneMessage::WantCertificate { owner, seq, digest } => ("WANT-CERTIFICATE", owner, seq, digest),
    };
    write!(f, "{name} lane {owner}:{seq} {}", short(digest))
}

fn round(message: &RoundMessage, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match message {
        RoundMessage::Mvba { round, message } => {
            let view = message.view();
            mvba(message, *round, view, f)
        }
        RoundMessage::Halt(halt) => {
            write!(f, "HALT r{} v{} {}", halt.round, halt.view, short(&halt.cut.digest()))
        }
        RoundMessage::CatchUp(CatchUpMessage::Ask { from }) => write!(f, "ASK from r{from}"),
        RoundMessage::CatchUp(CatchUpMessage::Halts(halts)) => match (halts.first(), halts.last()) {
            (Some(first), Some(last)) => write!(f, "HALTS r{}..r{}", first.round, last.round),
            _ => f.write_str("HALTS none"),
        },
    }
}

fn mvba(message: &MvbaMessage, round: Round, view: View, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let at = format!("r{round} v{view}");
    match message {
        MvbaMessage::Spb { leader, message, .. } => match message {
            SpbMessage::Send { cut, .. } => write!(f, "SPB-SEND {at} l{leader} {}", short(&cut.digest())),
            SpbMessage::Echo(_) => write!(f, "SPB-ECHO {at} l{leader}"),
            SpbMessage::Lock { cut, .. } => write!(f, "LOCK {at} l{leader} {}", short(&cut.digest())),
            SpbMessage::Ready(_) => write!(f, "READY {at} l{leader}"),
            SpbMessage::Finish { cut, .. } => write!(f, "FINISH {at} l{leader} {}", short(&cut.digest())),
        },
        MvbaMessage::CoinShare { .. } => write!(f, "COIN {at}"),
        MvbaMessage::Ballot { ballot, .. } => match ballot {
            Ballot::PreVote(PreVote::Yes { cut, .. }) => {
                write!(f, "PRE-VOTE yes {at} {}", short(&cut.digest()))
            }
            Ballot::PreVote(PreVote::No { .. }) => write!(f, "PRE-VOTE no {at}"),
            Ballot::Vote(Vote::Yes { cut, .. }) => write!(f, "VOTE yes {at} {}", short(&cut.digest())),
            Ballot::Vote(Vote::No { .. }) => write!(f, "VOTE no {at}"),
        },
    }
}

fn shard(message: &ShardMessage, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match message {
        ShardMessage::Part(PartMessage::Vote { part, .. }) => {
            write!(f, "SIGN s{} p{} {}", part.source, part.number, short(&part.digest))
        }
        ShardMessage::Part(PartMessage::Want(part)) => {
            write!(f, "WANT-PART s{} p{}", part.source, part.number)
        }
        ShardMessage::Part(PartMessage::Ack(number)) => write!(f, "ACK p{number}"),
        ShardMessage::Reject(RejectMessage::Votes { executed, votes }) => {
            write!(f, "CL_M {} at {executed}", votes.len())
        }
        ShardMessage::Reject(RejectMessage::Rejected { imported, ids }) => {
            write!(f, "CL {} p{imported}", ids.len())
        }
        ShardMessage::Spent(ids) => write!(f, "SPENT {}", ids.len()),
    }
}

fn short(digest: &Digest) -> String {
    wire::hex::encode(&digest.0[..3])
}
