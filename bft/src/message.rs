//! The root of the message tree, and how it stands on the wire.
//!
//! The first byte tells an entry of a lane, which is its own bytes so that nobody hashes a proposal twice
//! (`lane::entry`), from everything else, which is one enum through the one codec.

use serde::{Deserialize, Serialize};
use wire::bytes::Bytes;
use wire::codec;
use wire::envelope::Class;
use wire::ids::{Index, Seq};

use crate::block::BlockMessage;
use crate::lane::LaneMessage;
use crate::lane::entry::ENTRY_TAG;
use crate::round::RoundMessage;

/// The first byte of every message that is not an entry.
const MESSAGE_TAG: u8 = 0x01;

/// Everything that members say to each other, but for entries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Message {
    /// Dissemination.
    Lane(LaneMessage),
    /// Agreement.
    Round(RoundMessage),
    /// Block headers.
    Block(BlockMessage),
}

/// Bytes of a peer, told apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Incoming {
    /// An entry, not looked at further.
    Entry,
    /// A message.
    Message(Message),
}

impl Message {
    /// The bytes that go into a frame.
    pub fn encode(&self) -> Bytes {
        let mut buffer = vec![MESSAGE_TAG];
        codec::encode_into(self, &mut buffer);
        Bytes::from(buffer)
    }

    /// For how long it matters. `lane_class` knows for a place of a lane.
    pub fn class(&self, lane_class: impl Fn(Index, Seq) -> Class) -> Class {
        match self {
            Message::Lane(LaneMessage::Echo { owner, seq, .. } | LaneMessage::Final { owner, seq, .. }) => {
                lane_class(*owner, *seq)
            }
            Message::Round(RoundMessage::Mvba { round, .. }) => Class::Round(*round),
            Message::Lane(LaneMessage::WantEntry { .. } | LaneMessage::WantCertificate { .. })
            | Message::Round(RoundMessage::Halt(_) | RoundMessage::CatchUp(_))
            | Message::Block(_) => Class::Keep,
        }
    }
}

impl Incoming {
    /// Tells apart the bytes of a frame; `None` if they are no message.
    pub fn decode(body: &[u8]) -> Option<Incoming> {
        match *body.first()? {
            ENTRY_TAG => Some(Incoming::Entry),
            MESSAGE_TAG => codec::decode(&body[1..]).ok().map(Incoming::Message),
            _ => None,
        }
    }
}
