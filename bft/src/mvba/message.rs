//! The messages of sMVBA, their shapes, and the rule that of one author the first of each kind counts.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};
use wire::committee::Committee;
use wire::ids::{Digest, Index, View};

use crate::crypto::cert::Certificate;
use crate::crypto::suite::CoinShare;
use crate::cut::Cut;
use crate::mvba::ballot::{Ballot, PreVote, Vote};
use crate::spb::SpbMessage;

/// Messages of one instance of sMVBA. HALT is a message of the round, since it is understood without the instance.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MvbaMessage {
    /// Of the SPB that `leader` leads in `view`.
    Spb {
        /// The view.
        view: View,
        /// The leader of the SPB.
        leader: Index,
        /// The message.
        message: SpbMessage,
    },
    /// A share of the view's coin.
    CoinShare {
        /// The view.
        view: View,
        /// The share.
        share: CoinShare,
    },
    /// PRE-VOTE or VOTE on the view's elected leader.
    Ballot {
        /// The view.
        view: View,
        /// The ballot.
        ballot: Ballot,
    },
}

/// The kinds of which an author may send one message a view.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// SEND of its own SPB.
    Send,
    /// ECHO for our SPB.
    Echo,
    /// LOCK of its own SPB.
    Lock,
    /// READY for our SPB.
    Ready,
    /// FINISH of its own SPB.
    Finish,
    /// Its coin share.
    CoinShare,
    /// Its PRE-VOTE.
    PreVote,
    /// Its VOTE.
    Vote,
}

impl MvbaMessage {
    /// The view it belongs to.
    pub fn view(&self) -> View {
        match self {
            MvbaMessage::Spb { view, .. }
            | MvbaMessage::CoinShare { view, .. }
            | MvbaMessage::Ballot { view, .. } => *view,
        }
    }

    /// Its kind as received by member `me`; `None` if `author` may not send it to us.
    pub fn kind(&self, author: Index, me: Index) -> Option<Kind> {
        let kind = match self {
            MvbaMessage::Spb { leader, message, .. } => {
                let (kind, entitled) = match message {
                    SpbMessage::Send { .. } => (Kind::Send, *leader == author),
                    SpbMessage::Echo(_) => (Kind::Echo, *leader == me),
                    SpbMessage::Lock { .. } => (Kind::Lock, *leader == author),
                    SpbMessage::Ready(_) => (Kind::Ready, *leader == me),
                    SpbMessage::Finish { .. } => (Kind::Finish, *leader == author),
                };
                return entitled.then_some(kind);
            }
            MvbaMessage::CoinShare { .. } => Kind::CoinShare,
            MvbaMessage::Ballot { ballot: Ballot::PreVote(_), .. } => Kind::PreVote,
            MvbaMessage::Ballot { ballot: Ballot::Vote(_), .. } => Kind::Vote,
        };
        Some(kind)
    }

    /// Whether every list in it has the only length it can have, so that memory is bounded.
    pub fn has_shape(&self, committee: &Committee) -> bool {
        let cut_fits = |cut: &Cut| cut.0.len() == committee.n();
        let certificate_fits = |certificate: &Certificate| certificate.0.len() <= committee.n();
        match self {
            MvbaMessage::Spb { view, leader, message } => {
                usize::from(leader.0) < committee.n()
                    && match message {
                        SpbMessage::Send { cut, justification } => {
                            cut_fits(cut) && justification.has_shape(committee, *view)
                        }
                        SpbMessage::Echo(_) | SpbMessage::Ready(_) => true,
                        SpbMessage::Lock { cut, certificate } | SpbMessage::Finish { cut, certificate } => {
                            cut_fits(cut) && certificate_fits(certificate)
                        }
                    }
            }
            MvbaMessage::CoinShare { .. } => true,
            MvbaMessage::Ballot { ballot, .. } => match ballot {
                Ballot::PreVote(PreVote::Yes { cut, certificate })
                | Ballot::Vote(Vote::Yes { cut, certificate, .. }) => {
                    cut_fits(cut) && certificate_fits(certificate)
                }
                Ballot::PreVote(PreVote::No { .. }) => true,
                Ballot::Vote(Vote::No { refusals, .. }) => certificate_fits(refusals),
            },
        }
    }
}

/// Remembers which kinds of message an author has sent in a view, with the digest of each. Bound: eight digests an
/// author and view; the owner bounds the views.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FirstOnly(BTreeMap<(View, Index, Kind), Digest>);

/// How a message relates to earlier ones of its kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Novelty {
    /// The first of its kind.
    First,
    /// The same again: re-sent, no fault.
    Repeated,
    /// Another one where only one is allowed.
    Different,
}

impl FirstOnly {
    /// How many messages it remembers.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Remembers a message.
    pub fn admit(&mut self, view: View, author: Index, kind: Kind, digest: Digest) -> Novelty {
        match self.0.entry((view, author, kind)) {
            Entry::Vacant(entry) => {
                entry.insert(digest);
                Novelty::First
            }
            Entry::Occupied(entry) if *entry.get() == digest => Novelty::Repeated,
            Entry::Occupied(_) => Novelty::Different,
        }
    }
}
