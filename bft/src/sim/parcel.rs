//! Messages under way, decoded once for checkers, adversary and trace.
//!
//! Channels are authenticated, not secret, so the adversary reads every message. A message travels as the bytes that
//! the core encoded; decoding them here also tests the codec on every message of a run.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wire::bytes::Bytes;
use wire::committee::Committee;
use wire::envelope::Class;
use wire::ids::{Digest, NodeId, Round};

use crate::checkpoint::Piece;
use crate::lane::entry::Entry;
use crate::message::{Incoming, Message, said};
use crate::mvba::MvbaMessage;
use crate::pending::Copies;
use crate::round::RoundMessage;
use crate::shard::message::Transfer;

/// Bytes with their digest and decoded content, shared by all recipients.
#[derive(Clone, Debug)]
pub(super) struct Parcel(Arc<Content>);

#[derive(Debug)]
struct Content {
    digest: Digest,
    body: Bytes,
    seen: Seen,
}

/// The decoded content of a message.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    /// A lane entry.
    Entry(Entry),
    /// Anything else that is a message.
    Message(Message),
    /// A group part with its proof.
    Transfer(Transfer),
    /// Orders of another shard.
    Order(Bytes),
    /// A piece of a checkpoint.
    Piece(Piece),
    /// Copies of transactions.
    Copies(Copies),
    /// No message.
    Garbage,
}

impl Parcel {
    /// Decodes the bytes.
    pub(super) fn new(body: Bytes) -> Parcel {
        Parcel::with_digest(Digest(Sha256::digest(&body[..]).into()), body)
    }

    /// The same with their digest, where it is known.
    pub(super) fn with_digest(digest: Digest, body: Bytes) -> Parcel {
        let seen = match Incoming::decode(&body) {
            Some(Incoming::Entry) => Entry::parse(digest, body.clone()).map_or(Seen::Garbage, Seen::Entry),
            Some(Incoming::Message(message)) => Seen::Message(message),
            Some(Incoming::Transfer(transfer)) => Seen::Transfer(transfer),
            Some(Incoming::Order(list)) => Seen::Order(list),
            Some(Incoming::Piece(piece)) => Seen::Piece(piece),
            Some(Incoming::Copies(copies)) => Seen::Copies(copies),
            None => Seen::Garbage,
        };
        Parcel(Arc::new(Content { digest, body, seen }))
    }

    /// A message that an adversary made.
    pub(super) fn of(message: &Message) -> Parcel {
        Parcel::new(message.encode())
    }

    /// Whether it is this very one.
    pub(super) fn is(&self, other: &Parcel) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// SHA-256 of the bytes.
    pub(super) fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The bytes.
    pub(super) fn body(&self) -> &Bytes {
        &self.0.body
    }

    /// Their decoded content.
    pub(super) fn seen(&self) -> &Seen {
        &self.0.seen
    }

    /// The message in one line, sent by `from`.
    pub(super) fn said(&self, committee: &Committee, from: NodeId) -> String {
        said(committee, from, Some(self.digest()), self.body())
    }

    /// The message, if it is one and no entry.
    pub(super) fn message(&self) -> Option<&Message> {
        match self.seen() {
            Seen::Message(message) => Some(message),
            Seen::Entry(_) | Seen::Transfer(_) | Seen::Order(_) | Seen::Piece(_) | Seen::Copies(_) => None,
            Seen::Garbage => None,
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
    /// For how long it matters to its sender.
    pub(super) class: Class,
    /// The message.
    pub(super) parcel: Parcel,
}
