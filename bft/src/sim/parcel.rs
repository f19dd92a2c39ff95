//! Messages under way, read once: what the checkers, the adversary and the trace see of them.
//!
//! Channels are authenticated, not secret, so the adversary reads everything. Every message travels as the bytes that
//! the core encoded; reading them back here also exercises the codec on all that is ever sent.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wire::bytes::Bytes;
use wire::committee::Committee;
use wire::envelope::Class;
use wire::ids::{Digest, NodeId, Round};

use crate::lane::entry::Entry;
use crate::message::{Incoming, Message, said};
use crate::mvba::MvbaMessage;
use crate::round::RoundMessage;
use crate::shard::message::Transfer;

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

    /// The same in one line, as `from` says it.
    pub(super) fn said(&self, committee: &Committee, from: NodeId) -> String {
        said(committee, from, Some(self.digest()), self.body())
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
