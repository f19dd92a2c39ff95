//! Certificates from all signatures that honest members give to proposals of the adversary.
//!
//! Its cores do not know the entries and values that it inserts, so it collects the answers itself, adds the signatures
//! of its own members, and sends LOCK, FINISH and FINAL as soon as it has N−f. Two certificates for one seq or one SPB
//! prove that a guarantee is broken.

use std::collections::{BTreeMap, BTreeSet};

use wire::ids::{Digest, Index, NodeId, Round, Seq, Signature, View};

use crate::crypto::cert::Certificate;
use crate::crypto::suite::{Stage, Statement};
use crate::cut::Cut;
use crate::lane::LaneMessage;
use crate::lane::entry::Entry;
use crate::message::Message;
use crate::mvba::MvbaMessage;
use crate::round::RoundMessage;
use crate::sim::adversary::Hands;
use crate::sim::parcel::Frame;
use crate::spb::SpbMessage;

type Signatures = BTreeMap<Index, Signature>;

/// Entries of each lane, and rounds, that are remembered: an answer that comes later is of no use any more.
pub(super) const KEPT: u64 = 200;

/// SPBs that it leads with values of its own choice.
#[derive(Debug, Default)]
pub(super) struct Leading {
    values: BTreeMap<(NodeId, Round, View), Vec<Cut>>,
    votes: BTreeMap<(NodeId, Round, View, Stage, Digest), Signatures>,
    certified: BTreeMap<(NodeId, Round, View, Stage), BTreeSet<Digest>>,
}

impl Leading {
    /// The values proposed so far by a member it owns.
    pub(super) fn values(&self, leader: NodeId, round: Round, view: View) -> &[Cut] {
        self.values.get(&(leader, round, view)).map_or(&[], Vec::as_slice)
    }

    /// Remembers a value that a member it owns proposes.
    pub(super) fn propose(&mut self, leader: NodeId, round: Round, view: View, cut: &Cut) {
        self.forget_before(round.0.saturating_sub(KEPT));
        let values = self.values.entry((leader, round, view)).or_default();
        if !values.contains(cut) {
            values.push(cut.clone());
        }
    }

    fn forget_before(&mut self, oldest: u64) {
        let Leading { values, votes, certified } = self;
        values.retain(|(_, round, _), _| round.0 >= oldest);
        votes.retain(|(_, round, ..), _| round.0 >= oldest);
        certified.retain(|(_, round, ..), _| round.0 >= oldest);
    }

    /// Collects ECHO and READY, and goes on with LOCK and FINISH.
    pub(super) fn see(&mut self, hands: &mut Hands, frame: &Frame) {
        let Some((round, MvbaMessage::Spb { view, leader, message })) = frame.parcel.mvba() else { return };
        let (stage, signature) = match message {
            SpbMessage::Echo(signature) => (Stage::Lock, *signature),
            SpbMessage::Ready(signature) => (Stage::Finish, *signature),
            _ => return,
        };
        let (view, leader) = (*view, *leader);
        let node = hands.committee.node_at(hands.shard, leader);
        let signer = hands.index(frame.from);
        for cut in self.values(node, round, view).to_vec() {
            let digest = cut.digest();
            let statement = Statement::Agreement { round, view, leader, stage, digest };
            if !hands.is_signed(signer, &statement, &signature) {
                continue;
            }
            let votes = self.votes.entry((node, round, view, stage, digest)).or_default();
            votes.insert(signer, signature);
            let Some(certificate) = hands.certificate(&statement, votes) else { continue };
            let certified = self.certified.entry((node, round, view, stage)).or_default();
            if !certified.insert(digest) {
                continue;
            }
            if certified.len() == 2 {
                hands.prove(format!("two values certified at stage {stage:?} by {node} in {round}, {view}"));
            }
            let message = match stage {
                Stage::Lock => SpbMessage::Lock { cut, certificate },
                _ => SpbMessage::Finish { cut, certificate },
            };
            let message = MvbaMessage::Spb { view, leader, message };
            hands.send_to_honest(node, &Message::Round(RoundMessage::Mvba { round, message }));
        }
    }
}

/// Entries that it inserts into its lanes.
#[derive(Debug, Default)]
pub(super) struct Branches {
    /// By lane and seq.
    entries: BTreeMap<(NodeId, Seq), Entry>,
    echoes: BTreeMap<(Index, Seq, Digest), Signatures>,
    /// Claims of other liars among them.
    certified: BTreeMap<(Index, Seq), BTreeMap<Digest, Certificate>>,
}

impl Branches {
    /// The entry that it has inserted at a seq.
    pub(super) fn entry(&self, owner: NodeId, seq: Seq) -> Option<&Entry> {
        self.entries.get(&(owner, seq))
    }

    /// Remembers an inserted entry.
    pub(super) fn insert(&mut self, owner: NodeId, entry: Entry) {
        let oldest = Seq(entry.seq.0.saturating_sub(KEPT));
        self.entries.retain(|(node, seq), _| *node != owner || *seq >= oldest);
        self.entries.insert((owner, entry.seq), entry);
    }

    /// Collects echoes, and goes on with FINAL.
    pub(super) fn see(&mut self, hands: &mut Hands, frame: &Frame) {
        let Some(Message::Lane(message)) = frame.parcel.message() else { return };
        match message {
            LaneMessage::Echo { owner, seq, digest, signature } => {
                let node = hands.committee.node_at(hands.shard, *owner);
                if hands.owns(node) {
                    let signer = hands.index(frame.from);
                    self.on_echo(hands, (node, *seq, *digest), signer, *signature);
                }
            }
            LaneMessage::Final { owner, seq, digest, certificate } if !hands.owns(frame.from) => {
                self.note_certified(hands, (*owner, *seq), *digest, certificate);
            }
            _ => {}
        }
    }

    fn on_echo(
        &mut self,
        hands: &mut Hands,
        (node, seq, digest): (NodeId, Seq, Digest),
        signer: Index,
        signature: Signature,
    ) {
        let owner = hands.index(node);
        let statement = Statement::Lane { owner, seq, digest };
        if !hands.is_signed(signer, &statement, &signature) {
            return;
        }
        self.echoes.retain(|(lane, at, _), _| *lane != owner || at.0 + KEPT >= seq.0);
        let given = self.echoes.entry((owner, seq, digest)).or_default();
        given.insert(signer, signature);
        let Some(certificate) = hands.certificate(&statement, given) else { return };
        self.note_certified(hands, (owner, seq), digest, &certificate);
        if self.entry(node, seq).is_some_and(|entry| entry.digest == digest) {
            let message = LaneMessage::Final { owner, seq, digest, certificate };
            hands.send_to_honest(node, &Message::Lane(message));
        }
    }

    fn note_certified(
        &mut self,
        hands: &mut Hands,
        (owner, seq): (Index, Seq),
        digest: Digest,
        certificate: &Certificate,
    ) {
        self.certified.retain(|(lane, at), _| *lane != owner || at.0 + KEPT >= seq.0);
        let certified = self.certified.entry((owner, seq)).or_default();
        if certified.insert(digest, certificate.clone()).is_some() || certified.len() == 1 {
            return;
        }
        // Seldom looked at: only where they contradict each other.
        let holds = |(digest, certificate): (&Digest, &Certificate)| {
            hands.is_certified(&Statement::Lane { owner, seq, digest: *digest }, certificate)
        };
        if certified.iter().filter(|one| holds(*one)).count() > 1 {
            hands.prove(format!("two certified entries at seq {seq} of lane {owner}"));
        }
    }
}
