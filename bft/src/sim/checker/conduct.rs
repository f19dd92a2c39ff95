//! Whether honest members keep their word: nobody honest signs two things for one place, answers an SPB after voting
//! on its leader, or lets the coin go early, whatever it is sent.
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

/// A place for which an honest member sends one thing only, however often.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// An entry of its own lane.
    Entry(Seq),
    /// Its ECHO of a place of a lane.
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

/// What it sent there, in 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Word {
    Digest(Digest),
    Signature(Signature),
}

/// What one honest member has promised, and what it has been shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Conduct {
    words: BTreeMap<Place, Word>,
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

    /// It sends this.
    pub(super) fn sends(
        &mut self,
        committee: &Committee,
        node: NodeId,
        parcel: &Parcel,
    ) -> Result<(), Violation> {
        let said = match parcel.seen() {
            // Entries of other lanes are passed on to those who ask.
            Seen::Entry(entry) if entry.owner == committee.index_of(node) => {
                Some((Place::Entry(entry.seq), Word::Digest(entry.digest)))
            }
            Seen::Message(Message::Lane(LaneMessage::Echo { owner, seq, digest, .. })) => {
                Some((Place::LaneEcho(*owner, *seq), Word::Digest(*digest)))
            }
            Seen::Message(Message::Block(BlockMessage::Vote(vote))) => {
                Some((Place::Header(vote.height), Word::Digest(vote.header)))
            }
            Seen::Message(Message::Shard(ShardMessage::Part(PartMessage::Vote { part, .. }))) => {
                Some((Place::Sign(part.source, part.number), Word::Digest(part.digest)))
            }
            Seen::Message(_) => match parcel.mvba() {
                Some((round, message)) => {
                    self.sends_of_agreement(committee, node, round, message)?;
                    place_in_agreement(round, message, parcel.digest())
                }
                None => None,
            },
            Seen::Entry(_) | Seen::Transfer(_) | Seen::Order(_) => None,
            Seen::Garbage => return Err(Violation::Unreadable { node }),
        };
        let Some((place, word)) = said else { return Ok(()) };
        match self.words.get(&place) {
            Some(before) if *before != word => Err(Violation::TwoWords { node, place }),
            Some(_) => Ok(()),
            None => {
                if let Place::SpbEcho(round, view, _) | Place::SpbReady(round, view, _) = place
                    && self.words.contains_key(&Place::PreVote(round, view))
                {
                    return Err(Violation::AnsweredAfterPreVote { node, round, view });
                }
                self.words.insert(place, word);
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

fn place_in_agreement(round: Round, message: &MvbaMessage, digest: Digest) -> Option<(Place, Word)> {
    let view = message.view();
    Some(match message {
        MvbaMessage::Spb { leader, message, .. } => match message {
            SpbMessage::Send { .. } => (Place::SpbSend(round, view), Word::Digest(digest)),
            SpbMessage::Echo(signature) => {
                (Place::SpbEcho(round, view, *leader), Word::Signature(*signature))
            }
            SpbMessage::Ready(signature) => {
                (Place::SpbReady(round, view, *leader), Word::Signature(*signature))
            }
            SpbMessage::Lock { .. } | SpbMessage::Finish { .. } => return None,
        },
        MvbaMessage::CoinShare { .. } => return None,
        MvbaMessage::Ballot { ballot: Ballot::PreVote(_), .. } => {
            (Place::PreVote(round, view), Word::Digest(digest))
        }
        MvbaMessage::Ballot { ballot: Ballot::Vote(_), .. } => {
            (Place::Vote(round, view), Word::Digest(digest))
        }
    })
}
