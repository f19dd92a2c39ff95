//! Messages under way on the bench, and how a script picks some of them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use wire::codec;
use wire::ids::{Digest, Index, Round, View};

use crate::block::BlockMessage;
use crate::cut::Tip;
use crate::mvba::{Ballot, MvbaMessage};
use crate::round::{CatchUpMessage, RoundMessage};
use crate::spb::SpbMessage;

/// The content of a message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Content {
    /// A message of the round loop.
    Round(RoundMessage),
    /// A message about block headers.
    Block(BlockMessage),
    /// The certificate of a lane entry, which stands for FINAL. Believed only if the bench has certified the entry.
    LaneCertificate(Index, Tip),
}

/// Kinds of messages, by the names the papers give them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// SEND of an SPB.
    Send,
    /// ECHO: stage LOCK signed.
    Echo,
    /// LOCK: certificate 1.
    Lock,
    /// READY: stage FINISH signed.
    Ready,
    /// FINISH: certificate 2.
    Finish,
    /// A coin share.
    Share,
    /// PRE-VOTE.
    PreVote,
    /// VOTE of sMVBA.
    Vote,
    /// HALT.
    Halt,
    /// A request for HALTs of rounds that its sender has not decided.
    CatchUp,
    /// The answer to it.
    Halts,
    /// VOTE for a block header.
    BlockVote,
    /// The certificate of a block header.
    BlockCertificate,
    /// The certificate of a lane entry.
    LaneCertificate,
}

/// The five kinds of an SPB.
pub const SPB: [Kind; 5] = [Kind::Send, Kind::Echo, Kind::Lock, Kind::Ready, Kind::Finish];

/// A content with its encoding, which all recipients share.
#[derive(Debug)]
struct Encoded {
    content: Content,
    bytes: Vec<u8>,
    digest: Digest,
}

/// One message under way to one member.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its sender; the network proves it.
    pub from: Index,
    /// Its recipient.
    pub to: Index,
    encoded: Arc<Encoded>,
}

impl Message {
    /// The same message to several members.
    pub(super) fn to_each(from: Index, to: &[Index], content: Content) -> Vec<Message> {
        let bytes = codec::encode(&content);
        let digest = Digest(Sha256::digest(&bytes).into());
        let encoded = Arc::new(Encoded { content, bytes, digest });
        let message = |to: &Index| Message { from, to: *to, encoded: encoded.clone() };
        to.iter().map(message).collect()
    }

    /// Its content.
    pub fn content(&self) -> &Content {
        &self.encoded.content
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.encoded.bytes
    }

    /// Their digest.
    pub fn digest(&self) -> Digest {
        self.encoded.digest
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self.content() {
            Content::Round(RoundMessage::Mvba { message, .. }) => match message {
                MvbaMessage::Spb { message, .. } => match message {
                    SpbMessage::Send { .. } => Kind::Send,
                    SpbMessage::Echo(_) => Kind::Echo,
                    SpbMessage::Lock { .. } => Kind::Lock,
                    SpbMessage::Ready(_) => Kind::Ready,
                    SpbMessage::Finish { .. } => Kind::Finish,
                },
                MvbaMessage::CoinShare { .. } => Kind::Share,
                MvbaMessage::Ballot { ballot: Ballot::PreVote(_), .. } => Kind::PreVote,
                MvbaMessage::Ballot { ballot: Ballot::Vote(_), .. } => Kind::Vote,
            },
            Content::Round(RoundMessage::Halt(_)) => Kind::Halt,
            Content::Round(RoundMessage::CatchUp(CatchUpMessage::Ask { .. })) => Kind::CatchUp,
            Content::Round(RoundMessage::CatchUp(CatchUpMessage::Halts(_))) => Kind::Halts,
            Content::Block(BlockMessage::Vote(_)) => Kind::BlockVote,
            Content::Block(BlockMessage::Certified { .. }) => Kind::BlockCertificate,
            Content::LaneCertificate(..) => Kind::LaneCertificate,
        }
    }

    /// Round, view and message, if it belongs to an agreement.
    pub fn agreement(&self) -> Option<(Round, View, &MvbaMessage)> {
        match self.content() {
            Content::Round(RoundMessage::Mvba { round, message }) => Some((*round, message.view(), message)),
            _ => None,
        }
    }

    /// The leader of the SPB it belongs to.
    pub fn spb(&self) -> Option<Index> {
        match self.agreement() {
            Some((_, _, MvbaMessage::Spb { leader, .. })) => Some(*leader),
            _ => None,
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} to {}", self.kind(), self.from, self.to)?;
        if let Some((round, view, _)) = self.agreement() {
            write!(f, ", round {round} view {view}")?;
        }
        if let Some(leader) = self.spb() {
            write!(f, ", SPB of {leader}")?;
        }
        Ok(())
    }
}

/// Picks the messages that meet every condition set. Begin with [`all`].
#[derive(Clone, Debug, Default)]
pub struct Pick {
    kinds: Vec<Kind>,
    from: Vec<Index>,
    to: Vec<Index>,
    spb: Vec<Index>,
    view: Option<View>,
    round: Option<Round>,
}

/// Every message.
pub fn all() -> Pick {
    Pick::default()
}

/// Messages of one kind.
pub fn only(kind: Kind) -> Pick {
    all().of(&[kind])
}

impl Pick {
    /// Of one of these kinds.
    pub fn of(mut self, kinds: &[Kind]) -> Pick {
        self.kinds = kinds.to_vec();
        self
    }

    /// From one of these members.
    pub fn from(mut self, members: &[Index]) -> Pick {
        self.from = members.to_vec();
        self
    }

    /// To one of these members.
    pub fn to(mut self, members: &[Index]) -> Pick {
        self.to = members.to_vec();
        self
    }

    /// Of the SPBs that these members lead.
    pub fn spb(mut self, leaders: &[Index]) -> Pick {
        self.spb = leaders.to_vec();
        self
    }

    /// Of this view.
    pub fn view(mut self, view: u32) -> Pick {
        self.view = Some(View(view));
        self
    }

    /// Of the agreement of this round.
    pub fn round(mut self, round: u64) -> Pick {
        self.round = Some(Round(round));
        self
    }

    /// Whether it picks a message.
    pub fn matches(&self, message: &Message) -> bool {
        fn among<T: PartialEq>(wanted: &[T], found: Option<T>) -> bool {
            wanted.is_empty() || found.is_some_and(|found| wanted.contains(&found))
        }
        let agreement = message.agreement();
        among(&self.kinds, Some(message.kind()))
            && among(&self.from, Some(message.from))
            && among(&self.to, Some(message.to))
            && among(&self.spb, message.spb())
            && self.view.is_none_or(|view| agreement.is_some_and(|(_, of, _)| of == view))
            && self.round.is_none_or(|round| agreement.is_some_and(|(of, _, _)| of == round))
    }
}
