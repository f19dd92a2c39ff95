//! Byzantine members: they suppress their own messages, sign anything with their own keys, and use every message that
//! they receive.
//!
//! The node of a Byzantine member runs the protocol, so a script only states the deviations: it loses messages of that
//! node ([`Bench::lose_always`]) and forges others.

use wire::ids::{Digest, Index, Round, Seq, Signature, View};

use crate::crypto::cert::Certificate;
use crate::crypto::suite::{CoinName, CoinShare, Stage, Statement, Suite};
use crate::cut::{Cut, Tip};
use crate::effects::To;
use crate::justification::Justification;
use crate::mvba::{Ballot, MvbaMessage, PreVote, Vote};
use crate::prng::Prng;
use crate::round::RoundMessage;
use crate::sim::bench::message::{Content, Kind, Message, Pick, all, only};
use crate::sim::bench::{Bench, position};
use crate::spb::SpbMessage;

impl Bench {
    /// Makes members Byzantine: at most f of them.
    pub fn corrupt(&mut self, members: &[Index]) {
        self.byzantine.extend(members);
        assert!(self.byzantine.len() <= self.committee.f(), "more Byzantine members than f");
    }

    /// Makes members Byzantine and loses all their messages.
    pub fn mute(&mut self, members: &[Index]) {
        self.corrupt(members);
        if !members.is_empty() {
            self.lose_always(all().from(members));
        }
    }

    /// Sends any message in the name of a Byzantine member.
    pub fn forge(&mut self, author: Index, to: &[Index], content: &Content) {
        assert!(self.byzantine.contains(&author), "only Byzantine members forge");
        for member in to {
            let messages = self.encode(author, To::Member(self.node(*member)), content.clone());
            self.send_encoded(messages);
        }
    }

    /// The same for messages of the agreement of round 1.
    pub fn forge_mvba(&mut self, author: Index, to: &[Index], message: MvbaMessage) {
        self.forge(author, to, &Content::Round(RoundMessage::Mvba { round: Round(1), message }));
    }

    /// The same for messages of the Byzantine member's own SPB in round 1.
    pub fn forge_spb(&mut self, author: Index, to: &[Index], view: u32, message: SpbMessage) {
        self.forge_mvba(author, to, MvbaMessage::Spb { view: View(view), leader: author, message });
    }

    /// The keys of a Byzantine member: the only ones that a script can sign with.
    pub fn suite(&self, member: Index) -> &dyn Suite {
        assert!(self.byzantine.contains(&member), "only Byzantine members lend their keys");
        &*self.suites[position(member)]
    }

    /// The picked messages from and to Byzantine members that were not lost when they were sent.
    pub fn seen(&self, pick: &Pick) -> Vec<Message> {
        self.seen.iter().filter(|message| pick.matches(message)).cloned().collect()
    }

    /// A certificate for a statement about round 1 from the signatures that a Byzantine member has: its own, and those
    /// in the ECHOs, READYs and ballots that it received. `None` while they are fewer than N−f.
    pub fn certificate(&self, member: Index, statement: &Statement) -> Option<Certificate> {
        let suite = self.suite(member);
        let mut signatures = vec![(member, suite.sign(statement))];
        let messages = self.seen(&all().to(&[member]));
        let found =
            messages.iter().filter_map(|message| Some((message.from, signature_in(message.agreement()?.2)?)));
        signatures.extend(found.filter(|(signer, signature)| suite.verify(*signer, statement, signature)));
        signatures.sort_unstable();
        signatures.dedup();
        signatures.truncate(self.committee.quorum());
        (signatures.len() == self.committee.quorum()).then_some(Certificate(signatures))
    }

    /// Signatures of these members on a statement, even if they would not sign it: more than any adversary has. They
    /// show that a certificate of them is refused where it does not belong.
    pub fn signed_by(&self, signers: &[Index], statement: &Statement) -> Certificate {
        let sign = |signer: &Index| (*signer, self.suites[position(*signer)].sign(statement));
        Certificate(signers.iter().map(sign).collect())
    }

    /// Coin shares of these members, likewise.
    pub fn shares_of(&self, signers: &[Index], round: u64, view: u32) -> Vec<(Index, CoinShare)> {
        let name = CoinName { round: Round(round), view: View(view) };
        signers.iter().map(|signer| (*signer, self.suites[position(*signer)].coin_share(&name))).collect()
    }

    /// N−f coin shares of round 1 that a Byzantine member has, its own among them.
    pub fn coin_shares(&self, member: Index, view: u32) -> Option<Vec<(Index, CoinShare)>> {
        let name = CoinName { round: Round(1), view: View(view) };
        let mut shares = vec![(member, self.suite(member).coin_share(&name))];
        for message in self.seen(&only(Kind::Share).to(&[member]).round(1).view(view)) {
            if let Some((_, _, MvbaMessage::CoinShare { share, .. })) = message.agreement() {
                shares.push((message.from, *share));
            }
        }
        shares.sort_unstable_by_key(|(signer, _)| *signer);
        shares.truncate(self.committee.quorum());
        (shares.len() == self.committee.quorum()).then_some(shares)
    }

    /// A Byzantine member leads its SPB in a view of round 1, with any value and justification, as far as the others
    /// answer. The messages of its own node in that SPB are lost.
    pub fn lead(&mut self, leader: Index, view: u32, cut: &Cut, justification: &Justification) {
        self.lose_always(all().from(&[leader]).spb(&[leader]).view(view));
        let others: Vec<Index> = self.members().into_iter().filter(|member| *member != leader).collect();
        let of_view = |kinds: &[Kind]| all().of(kinds).spb(&[leader]).view(view);
        let send = SpbMessage::Send { cut: cut.clone(), justification: justification.clone() };
        self.forge_spb(leader, &others, view, send);
        self.deliver(of_view(&[Kind::Send, Kind::Echo]));
        let Some(certificate) = self.certificate(leader, &stage(view, leader, Stage::Lock, cut)) else {
            return;
        };
        self.forge_spb(leader, &others, view, SpbMessage::Lock { cut: cut.clone(), certificate });
        self.deliver(of_view(&[Kind::Lock, Kind::Ready]));
        let Some(certificate) = self.certificate(leader, &stage(view, leader, Stage::Finish, cut)) else {
            return;
        };
        self.forge_spb(leader, &others, view, SpbMessage::Finish { cut: cut.clone(), certificate });
    }
}

impl Bench {
    /// A message that a Byzantine member might send instead of that of its node: another value, or the opposite ballot.
    /// `None`: nothing at all.
    pub(super) fn altered(&self, original: &Message, prng: &mut Prng) -> Option<Content> {
        let (round, view, message) = original.agreement()?;
        let sign = |stage, digest| {
            let leader = self.leader_known(round, view)?;
            let statement = Statement::Agreement { round, view, leader, stage, digest };
            Some(self.suites[position(original.from)].sign(&statement))
        };
        let message = match message {
            MvbaMessage::Spb { leader, message: SpbMessage::Send { cut, justification }, .. } => {
                let (lane, tip) = *prng.pick(&self.certified_tips())?;
                let (mut cut, justification) = (cut.clone(), justification.clone());
                cut.0[position(lane)] = tip;
                MvbaMessage::Spb { view, leader: *leader, message: SpbMessage::Send { cut, justification } }
            }
            MvbaMessage::Ballot { ballot: Ballot::PreVote(_), .. } => {
                let signature = sign(Stage::No, Digest::default())?;
                MvbaMessage::Ballot { view, ballot: Ballot::PreVote(PreVote::No { signature }) }
            }
            MvbaMessage::Ballot { ballot: Ballot::Vote(Vote::No { .. }), .. } => {
                let (cut, certificate) = self.yes_seen(round, view)?;
                let signature = sign(Stage::Finish, cut.digest())?;
                MvbaMessage::Ballot { view, ballot: Ballot::Vote(Vote::Yes { cut, certificate, signature }) }
            }
            _ => return None,
        };
        Some(Content::Round(RoundMessage::Mvba { round, message }))
    }

    /// Value and certificate of a yes-PRE-VOTE of this view, if the adversary has seen one.
    pub fn yes_seen(&self, round: Round, view: View) -> Option<(Cut, Certificate)> {
        let messages = self.seen(&only(Kind::PreVote).round(round.0).view(view.0));
        messages.iter().find_map(|message| match message.agreement()?.2 {
            MvbaMessage::Ballot { ballot: Ballot::PreVote(PreVote::Yes { cut, certificate }), .. } => {
                Some((cut.clone(), certificate.clone()))
            }
            _ => None,
        })
    }

    fn certified_tips(&self) -> Vec<(Index, Tip)> {
        let tip =
            |((lane, seq), digest): (&(Index, Seq), &Digest)| (*lane, Tip { seq: *seq, digest: *digest });
        self.certified.iter().map(tip).collect()
    }
}

/// The statement of a stage in round 1.
pub fn stage(view: u32, leader: Index, stage: Stage, cut: &Cut) -> Statement {
    Statement::Agreement { round: Round(1), view: View(view), leader, stage, digest: cut.digest() }
}

/// The signature that a message consists of.
fn signature_in(message: &MvbaMessage) -> Option<Signature> {
    match message {
        MvbaMessage::Spb { message: SpbMessage::Echo(signature) | SpbMessage::Ready(signature), .. }
        | MvbaMessage::Ballot { ballot: Ballot::PreVote(PreVote::No { signature }), .. }
        | MvbaMessage::Ballot {
            ballot: Ballot::Vote(Vote::Yes { signature, .. } | Vote::No { signature, .. }),
            ..
        } => Some(*signature),
        _ => None,
    }
}
