//! The conduct of honest members: whatever they receive, they never equivocate, answer an SPB after voting on its
//! leader, or release a coin share early.
//!
//! These are the promises from which the proofs of agreement follow, checked on what honest members send. A broken
//! one shows at once, where the fork it permits would need a lucky schedule.

use std::collections::{BTreeMap, BTreeSet};

use wire::committee::Committee;
use wire::ids::{Digest, Index, NodeId, PartNumber, Round, Seq, ShardId, Signature, View};

use crate::block::BlockMessage;
use crate::lane::LaneMessage;
use crate::message::Message;
use crate::mvba::{Ballot, MvbaMessage};
use crate::shard::message::{PartMessage, ShardMessage};
use crate::sim::checker::Violation;
use crate::sim::parcel::{Parcel, Seen};
use crate::spb::SpbMessage;

/// A subject on which an honest member sends one content only, however often.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Subject {
    /// An entry of its own lane.
    Entry(Seq),
    /// Its ECHO of a seq of a lane.
    LaneEcho(Index, Seq),
    /// The value it proposes in a view.
    SpbSend(Round, View),
    /// Its ECHO in the SPB of a leader.
    SpbEcho(Round, View, Index),
    /// Its READY in the SPB of a leader.
    SpbReady(Round, View, Index),
    /// Its PRE-VOTE.
    PreVote(Round, View),
    /// Its VOTE.
    Vote(Round, View),
    /// Its vote on the header of a height.
    Header(Round),
    /// Its SIGN of a part of another shard.
    Sign(ShardId, PartNumber),
}

/// The content that it sent, as a digest or signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Content {
    Digest(Digest),
    Signature(Signature),
}

/// The contents that one honest member has sent, and the FINISHes and shares that it has received.
#[derive(Clone, Debug, Default)]
pub(super) struct Conduct {
    contents: BTreeMap<Subject, Content>,
    /// Leaders whose FINISH it has, its own included, by round and view.
    finishes: BTreeMap<(Round, View), BTreeSet<Index>>,
    /// Whose coin shares it has, by round and view.
    shares: BTreeMap<(Round, View), BTreeSet<NodeId>>,
}

impl Conduct {
    /// A frame has reached it.
    pub(super) fn received(&mut self, from: NodeId, parcel: &Parcel) {
        match parcel.mvba() {
            Some((round, MvbaMessage::Spb { view, leader, message: SpbMessage::Finish { .. } })) => {
                self.finishes.entry((round, *view)).or_default().insert(*leader);
            }
            Some((round, MvbaMessage::CoinShare { view, .. })) => {
                self.shares.entry((round, *view)).or_default().insert(from);
            }
            _ => {}
        }
    }

    /// It sends a message.
    pub(super) fn sends(
        &mut self,
        committee: &Committee,
        node: NodeId,
        parcel: &Parcel,
    ) -> Result<(), Violation> {
        let sent = match parcel.seen() {
            // It serves entries of other lanes on request.
            Seen::Entry(entry) if entry.owner == committee.index_of(node) => {
                Some((Subject::Entry(entry.seq), Content::Digest(entry.digest)))
            }
            Seen::Message(Message::Lane(LaneMessage::Echo { owner, seq, digest, .. })) => {
                Some((Subject::LaneEcho(*owner, *seq), Content::Digest(*digest)))
            }
            Seen::Message(Message::Block(BlockMessage::Vote(vote))) => {
                Some((Subject::Header(vote.height), Content::Digest(vote.header)))
            }
            Seen::Message(Message::Shard(ShardMessage::Part(PartMessage::Vote { part, .. }))) => {
                Some((Subject::Sign(part.source, part.number), Content::Digest(part.digest)))
            }
            Seen::Message(_) => match parcel.mvba() {
                Some((round, message)) => {
                    self.sends_of_agreement(committee, node, round, message)?;
                    subject_of_agreement(round, message, parcel.digest())
                }
                None => None,
            },
            Seen::Entry(_) | Seen::Transfer(_) | Seen::Order(_) | Seen::Piece(_) | Seen::Copies(_) => None,
            Seen::Garbage => return Err(Violation::Unreadable { node }),
        };
        let Some((subject, content)) = sent else { return Ok(()) };
        match self.contents.get(&subject) {
            Some(before) if *before != content => Err(Violation::Equivocation { node, subject }),
            Some(_) => Ok(()),
            None => {
                if let Subject::SpbEcho(round, view, _) | Subject::SpbReady(round, view, _) = subject
                    && self.contents.contains_key(&Subject::PreVote(round, view))
                {
                    return Err(Violation::AnsweredAfterPreVote { node, round, view });
                }
                self.contents.insert(subject, content);
                Ok(())
            }
        }
    }

    fn sends_of_agreement(
        &mut self,
        committee: &Committee,
        node: NodeId,
        round: Round,
        message: &MvbaMessage,
    ) -> Result<(), Violation> {
        match message {
            MvbaMessage::Spb { view, leader, message: SpbMessage::Finish { .. } } => {
                self.finishes.entry((round, *view)).or_default().insert(*leader);
            }
            MvbaMessage::CoinShare { view, .. } => {
                let view = *view;
                let finishes = self.finishes.get(&(round, view)).map_or(0, BTreeSet::len);
                let shares = self.shares.get(&(round, view)).map_or(0, BTreeSet::len);
                if finishes < committee.quorum() && shares < committee.one_honest() {
                    return Err(Violation::EarlyCoin { node, round, view });
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn subject_of_agreement(round: Round, message: &MvbaMessage, digest: Digest) -> Option<(Subject, Content)> {
    let view = message.view();
    Some(match message {
        MvbaMessage::Spb { leader, message, .. } => match message {
            SpbMessage::Send { .. } => (Subject::SpbSend(round, view), Content::Digest(digest)),
            SpbMessage::Echo(signature) => {
                (Subject::SpbEcho(round, view, *leader), Content::Signature(*signature))
            }
            SpbMessage::Ready(signature) => {
                (Subject::SpbReady(round, view, *leader), Content::Signature(*signature))
            }
            SpbMessage::Lock { .. } | SpbMessage::Finish { .. } => return None,
        },
        MvbaMessage::CoinShare { .. } => return None,
        MvbaMessage::Ballot { ballot: Ballot::PreVote(_), .. } => {
            (Subject::PreVote(round, view), Content::Digest(digest))
        }
        MvbaMessage::Ballot { ballot: Ballot::Vote(_), .. } => {
            (Subject::Vote(round, view), Content::Digest(digest))
        }
    })
}
