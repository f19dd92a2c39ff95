//! A one-line description of a message, for logs and traces: its name and subject, with ids as in `wire::name`.

use std::fmt;

use wire::bytes::Bytes;
use wire::committee::Committee;
use wire::ids::{Digest, Index, NodeId, PartNumber, Round, ShardId};
use wire::name::Name;

use crate::block::BlockMessage;
use crate::checkpoint::{CheckpointMessage, Piece};
use crate::lane::LaneMessage;
use crate::lane::entry::Entry;
use crate::message::{Incoming, Message};
use crate::mvba::{Ballot, MvbaMessage, PreVote, Vote};
use crate::part::{Label, PartRef};
use crate::round::{CatchUpMessage, RoundMessage};
use crate::shard::message::{PartMessage, RejectMessage, ShardMessage};
use crate::spb::SpbMessage;

/// Describes the bytes that `from` sends, without judging them. Their `digest` distinguishes entries, where it is
/// known.
pub fn said(committee: &Committee, from: NodeId, digest: Option<Digest>, body: &Bytes) -> String {
    let Some(incoming) = Incoming::decode(body).filter(|_| committee.contains(from)) else {
        return format!("{} bytes that are no message", body.len());
    };
    let shard = committee.shard_of(from);
    Said { committee, shard, digest, body, incoming }.to_string()
}

struct Said<'a> {
    committee: &'a Committee,
    /// The sender's shard, to which its statements about members and parts refer.
    shard: ShardId,
    digest: Option<Digest>,
    body: &'a Bytes,
    incoming: Incoming,
}

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.incoming {
            Incoming::Entry => self.entry(f),
            Incoming::Message(Message::Lane(message)) => self.lane(message, f),
            Incoming::Message(Message::Round(message)) => self.round(message, f),
            Incoming::Message(Message::Block(BlockMessage::Vote(vote))) => {
                write!(f, "VOTE on {}, header {}", self.of_shard(vote.height), short(&vote.header))
            }
            Incoming::Message(Message::Block(BlockMessage::Certified { height, header, .. })) => {
                write!(f, "N−f VOTEs on {}, header {}", self.of_shard(*height), short(header))
            }
            Incoming::Message(Message::Shard(message)) => self.shard(message, f),
            Incoming::Transfer(transfer) => match Label::of(&transfer.part) {
                Some(Label { source, destination, number, .. }) => {
                    write!(f, "LD of {}", Name::Part { source, destination, number })
                }
                None => f.write_str("LD of what is no part"),
            },
            Incoming::Message(Message::Checkpoint(message)) => self.checkpoint(message, f),
            Incoming::Piece(Piece { height, number, bytes }) => {
                let of = self.of_shard(*height);
                write!(f, "piece {number} of the checkpoint of {of}, {} bytes", bytes.len())
            }
            Incoming::Order(list) => write!(f, "an order of {} bytes", list.len()),
            Incoming::Copies(copies) => {
                let (through, bytes) = (copies.through.0, copies.list.len());
                write!(f, "copies up to position {through}, {bytes} bytes")
            }
        }
    }
}

impl Said<'_> {
    fn entry(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Entry::parse(self.digest.unwrap_or_default(), self.body.clone()) {
            Some(Entry { owner, seq, .. }) => {
                write!(f, "SEND of {}, {} bytes", Name::entry(self.member(owner), seq), self.body.len())?;
                self.digest.map_or(Ok(()), |digest| write!(f, ", digest {}", short(&digest)))
            }
            None => f.write_str("SEND of what is no entry"),
        }
    }

    fn lane(&self, message: &LaneMessage, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, owner, seq, digest) = match message {
            LaneMessage::Echo { owner, seq, digest, .. } => ("ECHO of", owner, seq, digest),
            LaneMessage::Final { owner, seq, digest, .. } => ("FINAL of", owner, seq, digest),
            LaneMessage::WantEntries { owner, seq, digest, .. } => ("a question for", owner, seq, digest),
            LaneMessage::WantCertificates { tips } => {
                write!(f, "a question for {} certificates", tips.len())?;
                let Some((owner, tip)) = tips.first() else { return Ok(()) };
                return write!(f, " from {} on", Name::entry(self.member(*owner), tip.seq));
            }
        };
        write!(f, "{what} {}, digest {}", Name::entry(self.member(*owner), *seq), short(digest))
    }

    fn round(&self, message: &RoundMessage, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match message {
            RoundMessage::Mvba { round, message } => {
                self.mvba(message, f)?;
                write!(f, " in {} in {}", self.of_shard(*round), Name::View(message.view()))
            }
            RoundMessage::Halt(halt) => {
                let (round, view) = (self.of_shard(halt.round), Name::View(halt.view));
                write!(f, "HALT of {round} in {view}, cut {}", short(&halt.cut.digest()))
            }
            RoundMessage::CatchUp(CatchUpMessage::Ask { from }) => {
                write!(f, "a question for HALTs from {} on", self.of_shard(*from))
            }
            RoundMessage::CatchUp(CatchUpMessage::Halts(answer)) => {
                write!(f, "{} HALTs from {} on", answer.halts.len(), self.of_shard(answer.from))
            }
        }
    }

    fn checkpoint(&self, message: &CheckpointMessage, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match message {
            CheckpointMessage::Ask { height } => {
                write!(f, "a question for the checkpoint of {}", self.of_shard(*height))
            }
            CheckpointMessage::Passed { executed } => {
                write!(f, "that {} is executed", self.of_shard(*executed))
            }
            CheckpointMessage::Offer(offer) => {
                let of = self.of_shard(offer.height());
                write!(f, "the offer of the checkpoint of {of} in {} pieces", offer.pieces.len())
            }
            CheckpointMessage::WantPiece { height, number } => {
                let of = self.of_shard(*height);
                write!(f, "a question for piece {number} of the checkpoint of {of}")
            }
        }
    }

    fn mvba(&self, message: &MvbaMessage, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match message {
            MvbaMessage::Spb { leader, message, .. } => {
                let (what, cut) = match message {
                    SpbMessage::Send { cut, .. } => ("SEND", Some(cut)),
                    SpbMessage::Echo(_) => ("ECHO", None),
                    SpbMessage::Lock { cut, .. } => ("LOCK", Some(cut)),
                    SpbMessage::Ready(_) => ("READY", None),
                    SpbMessage::Finish { cut, .. } => ("FINISH", Some(cut)),
                };
                write!(f, "SPB {what}, leader {}", Name::Node(self.member(*leader)))?;
                cut.map_or(Ok(()), |cut| write!(f, ", cut {},", short(&cut.digest())))
            }
            MvbaMessage::CoinShare { .. } => f.write_str("coin share"),
            MvbaMessage::Ballot { ballot, .. } => match ballot {
                Ballot::PreVote(PreVote::Yes { cut, .. }) => {
                    write!(f, "PRE-VOTE yes, cut {},", short(&cut.digest()))
                }
                Ballot::PreVote(PreVote::No { .. }) => f.write_str("PRE-VOTE no"),
                Ballot::Vote(Vote::Yes { cut, .. }) => write!(f, "VOTE yes, cut {},", short(&cut.digest())),
                Ballot::Vote(Vote::No { .. }) => f.write_str("VOTE no"),
            },
        }
    }

    fn shard(&self, message: &ShardMessage, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match message {
            ShardMessage::Part(PartMessage::Vote { part, .. }) => {
                write!(f, "SIGN of {}, digest {}", self.part(part), short(&part.digest))
            }
            ShardMessage::Part(PartMessage::Want(part)) => write!(f, "a question for {}", self.part(part)),
            ShardMessage::Part(PartMessage::Ack(PartNumber(number))) => {
                write!(f, "an acknowledgement of parts up to number {number}")
            }
            ShardMessage::Reject(RejectMessage::Votes { executed, votes }) => {
                write!(f, "CL_M of {} transactions as of {}", votes.len(), self.of_shard(*executed))
            }
            ShardMessage::Reject(RejectMessage::Rejected { imported, ids }) => {
                write!(f, "CL of {} transactions as of imported number {imported}", ids.len())
            }
            ShardMessage::Spent(ids) => write!(f, "that {} ordered transactions have spent", ids.len()),
            ShardMessage::Held(through) => write!(f, "that copies up to position {} are held", through.0),
        }
    }

    /// A round, of the sender's shard.
    fn of_shard(&self, round: Round) -> String {
        format!("{} of {}", Name::Round(round), Name::Shard(self.shard))
    }

    /// A part by its reference: only members of its destination send one.
    fn part(&self, part: &PartRef) -> Name {
        Name::Part { source: part.source, destination: self.shard, number: part.number }
    }

    /// A member of the sender's shard. An index beyond the shard is named by the number that it would have.
    fn member(&self, index: Index) -> NodeId {
        let first = self.committee.node_at(self.shard, Index(0));
        NodeId(first.0.saturating_add(index.0))
    }
}

/// Enough of a digest to distinguish two.
fn short(digest: &Digest) -> String {
    wire::hex::encode(&digest.0[..4])
}

#[cfg(test)]
mod tests {
    use wire::committee::Protocol;
    use wire::ids::{Seq, Signature, View};

    use super::*;
    use crate::crypto::deal::{deal_committee, seeded_entropy};
    use crate::lane::entry;
    use crate::shard::message::RejectVote;
    use crate::{cut::Tip, message::encode_order};

    #[test]
    fn a_message_is_described_in_terms_of_its_senders_shard() {
        let (committee, _) = deal_committee(4, 2, Protocol::default(), seeded_entropy(7));
        let from = NodeId(5);
        let (signature, digest) = (Signature::from_bytes([7; 64]), Digest([0xAB; 32]));
        let (owner, seq, view) = (Index(2), Seq(9), View(1));
        let part = PartRef { source: ShardId(0), number: PartNumber(3), digest };
        let mvba = |message| Message::Round(RoundMessage::Mvba { round: Round(4), message }).encode();
        let leader = Index(3);
        let ready = MvbaMessage::Spb { view, leader, message: SpbMessage::Ready(signature) };
        let votes: Vec<RejectVote> = Vec::new();
        let no = Ballot::PreVote(PreVote::No { signature });
        for (body, expected) in [
            (
                Message::Lane(LaneMessage::Echo { owner, seq, digest, signature }).encode(),
                "ECHO of lane 6:9, digest abababab",
            ),
            (mvba(ready), "SPB READY, leader node 7 in round 4 of shard 1 in view 1"),
            (mvba(MvbaMessage::Ballot { view, ballot: no }), "PRE-VOTE no in round 4 of shard 1 in view 1"),
            (
                Message::Shard(ShardMessage::Part(PartMessage::Vote { part, signature })).encode(),
                "SIGN of part 0>1:3, digest abababab",
            ),
            (
                Message::Shard(ShardMessage::Reject(RejectMessage::Votes { executed: Round(8), votes }))
                    .encode(),
                "CL_M of 0 transactions as of round 8 of shard 1",
            ),
            (
                Entry::seal(owner, Tip::default(), entry::buffer(0)).body,
                "SEND of lane 6:1, 43 bytes, digest abababab",
            ),
            (encode_order([&b"one"[..]].into_iter()), "an order of 11 bytes"),
            (Bytes::from(vec![0]), "SEND of what is no entry"),
            (Bytes::from(vec![9, 9]), "2 bytes that are no message"),
            (Bytes::from(Vec::new()), "0 bytes that are no message"),
        ] {
            assert_eq!(said(&committee, from, Some(digest), &body), expected);
        }
    }

    #[test]
    fn an_index_beyond_the_shard_is_described_without_panic() {
        let (committee, _) = deal_committee(4, 2, Protocol::default(), seeded_entropy(7));
        let owner = Index(u16::MAX);
        let (seq, digest) = (Seq(u64::MAX), Digest::default());
        let body = Message::Lane(LaneMessage::WantEntries { owner, seq, digest, count: 1 }).encode();
        let line = said(&committee, NodeId(7), None, &body);
        assert!(line.starts_with("a question for lane 65535:18446744073709551615"), "{line}");
        assert!(
            said(&committee, NodeId(8), None, &body).ends_with("no message"),
            "of nobody in the committee"
        );
    }
}
