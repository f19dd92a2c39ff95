//! What traitors can do: suppress their own messages, say anything with their own keys, and use what they overheard.
//!
//! A traitor's seat runs the protocol like everybody's, so a script need only say where the traitor departs from it:
//! it loses letters ([`Bench::lose_always`]) and forges others.

use wire::ids::{Digest, Index, Round, Seq, Signature, View};

use crate::crypto::cert::Certificate;
use crate::crypto::suite::{CoinName, CoinShare, Stage, Statement, Suite};
use crate::cut::{Cut, Tip};
use crate::effects::To;
use crate::justification::Justification;
use crate::mvba::{Ballot, MvbaMessage, PreVote, Vote};
use crate::prng::Prng;
use crate::round::RoundMessage;
use crate::sim::bench::letter::{Kind, Letter, Parcel, Pick, all, only};
use crate::sim::bench::{Bench, place};
use crate::spb::SpbMessage;

impl Bench {
    /// Makes members traitors: at most f of them.
    pub fn betray(&mut self, traitors: &[Index]) {
        self.traitors.extend(traitors);
        assert!(self.traitors.len() <= self.committee.f(), "more traitors than f");
    }

    /// Makes members traitors that say nothing at all.
    pub fn mute(&mut self, traitors: &[Index]) {
        self.betray(traitors);
        if !traitors.is_empty() {
            self.lose_always(all().from(traitors));
        }
    }

    /// Posts whatever a traitor likes to say.
    pub fn forge(&mut self, traitor: Index, to: &[Index], parcel: &Parcel) {
        assert!(self.traitors.contains(&traitor), "only traitors forge");
        for member in to {
            let letters = self.seal(traitor, To::Member(self.node(*member)), parcel.clone());
            self.post_sealed(letters);
        }
    }

    /// The same for messages of the agreement of round 1.
    pub fn forge_mvba(&mut self, traitor: Index, to: &[Index], message: MvbaMessage) {
        self.forge(traitor, to, &Parcel::Round(RoundMessage::Mvba { round: Round(1), message }));
    }

    /// The same for messages of the traitor's own SPB in round 1.
    pub fn forge_spb(&mut self, traitor: Index, to: &[Index], view: u32, message: SpbMessage) {
        self.forge_mvba(traitor, to, MvbaMessage::Spb { view: View(view), leader: traitor, message });
    }

    /// The keys of a traitor: the only ones that a script can sign with.
    pub fn suite(&self, traitor: Index) -> &dyn Suite {
        assert!(self.traitors.contains(&traitor), "only traitors lend their keys");
        &*self.suites[place(traitor)]
    }

    /// Letters like these that were posted by or to traitors and not lost.
    pub fn overheard(&self, pick: &Pick) -> Vec<Letter> {
        self.overheard.iter().filter(|letter| pick.matches(letter)).cloned().collect()
    }

    /// A certificate for a statement about round 1 from the signatures that a traitor has: its own, and those that
    /// members have sent it in ECHOs, READYs and ballots. `None` while they are fewer than N−f.
    pub fn certificate(&self, traitor: Index, statement: &Statement) -> Option<Certificate> {
        let suite = self.suite(traitor);
        let mut signatures = vec![(traitor, suite.sign(statement))];
        let letters = self.overheard(&all().to(&[traitor]));
        let found =
            letters.iter().filter_map(|letter| Some((letter.from, signature_in(letter.agreement()?.2)?)));
        signatures.extend(found.filter(|(signer, signature)| suite.verify(*signer, statement, signature)));
        signatures.sort_unstable();
        signatures.dedup();
        signatures.truncate(self.committee.quorum());
        (signatures.len() == self.committee.quorum()).then_some(Certificate(signatures))
    }

    /// Signatures of these members on a statement, whether or not they would give them: more than any adversary has.
    /// For showing that even then what they make is refused elsewhere.
    pub fn signed_by(&self, signers: &[Index], statement: &Statement) -> Certificate {
        let sign = |signer: &Index| (*signer, self.suites[place(*signer)].sign(statement));
        Certificate(signers.iter().map(sign).collect())
    }

    /// Coin shares of these members, likewise.
    pub fn shares_of(&self, signers: &[Index], round: u64, view: u32) -> Vec<(Index, CoinShare)> {
        let name = CoinName { round: Round(round), view: View(view) };
        signers.iter().map(|signer| (*signer, self.suites[place(*signer)].coin_share(&name))).collect()
    }

    /// N−f coin shares of round 1 that a traitor has, its own among them.
    pub fn coin_shares(&self, traitor: Index, view: u32) -> Option<Vec<(Index, CoinShare)>> {
        let name = CoinName { round: Round(1), view: View(view) };
        let mut shares = vec![(traitor, self.suite(traitor).coin_share(&name))];
        for letter in self.overheard(&only(Kind::Share).to(&[traitor]).round(1).view(view)) {
            if let Some((_, _, MvbaMessage::CoinShare { share, .. })) = letter.agreement() {
                shares.push((letter.from, *share));
            }
        }
        shares.sort_unstable_by_key(|(signer, _)| *signer);
        shares.truncate(self.committee.quorum());
        (shares.len() == self.committee.quorum()).then_some(shares)
    }

    /// A traitor leads its SPB in a view of round 1 by hand, with any value and justification, as far as the others
    /// follow. What its seat says in that SPB is lost.
    pub fn lead(&mut self, traitor: Index, view: u32, cut: &Cut, justification: &Justification) {
        self.lose_always(all().from(&[traitor]).spb(&[traitor]).view(view));
        let others: Vec<Index> = self.members().into_iter().filter(|member| *member != traitor).collect();
        let of_view = |kinds: &[Kind]| all().of(kinds).spb(&[traitor]).view(view);
        let send = SpbMessage::Send { cut: cut.clone(), justification: justification.clone() };
        self.forge_spb(traitor, &others, view, send);
        self.deliver(of_view(&[Kind::Send, Kind::Echo]));
        let Some(certificate) = self.certificate(traitor, &stage(view, traitor, Stage::Lock, cut)) else {
            return;
        };
        self.forge_spb(traitor, &others, view, SpbMessage::Lock { cut: cut.clone(), certificate });
        self.deliver(of_view(&[Kind::Lock, Kind::Ready]));
        let Some(certificate) = self.certificate(traitor, &stage(view, traitor, Stage::Finish, cut)) else {
            return;
        };
        self.forge_spb(traitor, &others, view, SpbMessage::Finish { cut: cut.clone(), certificate });
    }
}

impl Bench {
    /// Something else that a traitor might say in the place of a letter of its seat: another value, or a ballot for
    /// the other side. `None`: nothing at all.
    pub(super) fn twisted(&self, letter: &Letter, prng: &mut Prng) -> Option<Parcel> {
        let (round, view, message) = letter.agreement()?;
        let sign = |stage, digest| {
            let leader = self.leader_known(round, view)?;
            let statement = Statement::Agreement { round, view, leader, stage, digest };
            Some(self.suites[place(letter.from)].sign(&statement))
        };
        let message = match message {
            MvbaMessage::Spb { leader, message: SpbMessage::Send { cut, justification }, .. } => {
                let (lane, tip) = *prng.pick(&self.certified_tips())?;
                let (mut cut, justification) = (cut.clone(), justification.clone());
                cut.0[place(lane)] = tip;
                MvbaMessage::Spb { view, leader: *leader, message: SpbMessage::Send { cut, justification } }
            }
            MvbaMessage::Ballot { ballot: Ballot::PreVote(_), .. } => {
                let signature = sign(Stage::No, Digest::default())?;
                MvbaMessage::Ballot { view, ballot: Ballot::PreVote(PreVote::No { signature }) }
            }
            MvbaMessage::Ballot { ballot: Ballot::Vote(Vote::No { .. }), .. } => {
                let (cut, certificate) = self.yes_overheard(round, view)?;
                let signature = sign(Stage::Finish, cut.digest())?;
                MvbaMessage::Ballot { view, ballot: Ballot::Vote(Vote::Yes { cut, certificate, signature }) }
            }
            _ => return None,
        };
        Some(Parcel::Round(RoundMessage::Mvba { round, message }))
    }

    /// What a yes-PRE-VOTE of this view brought along, if one was overheard.
    pub fn yes_overheard(&self, round: Round, view: View) -> Option<(Cut, Certificate)> {
        let letters = self.overheard(&only(Kind::PreVote).round(round.0).view(view.0));
        letters.iter().find_map(|letter| match letter.agreement()?.2 {
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

/// What is signed at a stage of round 1.
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
