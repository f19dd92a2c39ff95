//! One view of sMVBA at one member: N SPBs, the coin, and the two votes on the leader it elects.
//!
//! Each phase owns its data: until the coin is known, shares and early ballots; after it, an election with judged
//! ballots. Every step returns its effects; the parent drives the steps until none is possible.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wire::client::Waiting;
use wire::committee::Committee;
use wire::ids::{Digest, Index, Round, Signature, View};

use crate::crypto::cert::{Certificate, CertificateCache};
use crate::crypto::suite::{CoinName, CoinShare, Stage, Statement};
use crate::cut::Cut;
use crate::fault::FaultKind;
use crate::member::Member;
use crate::mutant::{Mutant, in_force};
use crate::mvba::ballot::{Ballot, PreVote, Vote};
use crate::spb::{Certified, Spb};

/// How a view ends without a decision here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// Some VOTE was yes: its value is the only one that may have been decided.
    Adopt(Certified),
    /// All were no: nothing was decided, and these N−f UNLOCKs prove it.
    Keep(Certificate),
}

/// One view at one member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ViewState {
    round: Round,
    view: View,
    /// By leader index.
    pub(super) spbs: Vec<Spb>,
    finished: BTreeSet<Index>,
    phase: Phase,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Phase {
    /// The coin is not known.
    Electing { own_share: OwnShare, shares: BTreeMap<Index, CoinShare>, early: Vec<(Index, Ballot)> },
    /// The coin has named the leader.
    Elected(Election),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum OwnShare {
    Held,
    Released,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Election {
    leader: Index,
    shares: Vec<(Index, CoinShare)>,
    own: OwnBallots,
    pre_votes: PreVotes,
    votes: Votes,
}

/// The messages that we have sent so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum OwnBallots {
    None,
    PreVoted,
    Voted,
}

/// Valid PRE-VOTEs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct PreVotes {
    yes: BTreeSet<Index>,
    no: BTreeMap<Index, Signature>,
}

/// Valid VOTEs; those for yes carry the signature at stage FINISH, those for no the one at stage UNLOCK.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Votes {
    yes: BTreeMap<Index, Signature>,
    no: BTreeMap<Index, Signature>,
}

impl ViewState {
    pub(super) fn new(member: &Member, round: Round, view: View) -> ViewState {
        ViewState {
            round,
            view,
            spbs: member.committee.indices().map(|leader| Spb::new(round, view, leader)).collect(),
            finished: BTreeSet::new(),
            phase: Phase::Electing { own_share: OwnShare::Held, shares: BTreeMap::new(), early: Vec::new() },
        }
    }

    /// The elected leader, once the coin is known.
    pub(super) fn leader(&self) -> Option<Index> {
        match &self.phase {
            Phase::Electing { .. } => None,
            Phase::Elected(election) => Some(election.leader),
        }
    }

    /// The N−f shares that elected the leader.
    pub(super) fn election_shares(&self) -> Vec<(Index, CoinShare)> {
        match &self.phase {
            Phase::Electing { .. } => Vec::new(),
            Phase::Elected(election) => election.shares.clone(),
        }
    }

    /// Values that wait for certificates of lanes, with their leaders.
    pub(super) fn pending_cuts(&self) -> impl Iterator<Item = (Index, &Cut)> {
        self.spbs.iter().filter_map(|spb| spb.pending().map(|(cut, _)| (spb.leader(), cut)))
    }

    /// The messages that this view waits for.
    pub(super) fn waiting(&self, committee: &Committee) -> Waiting {
        let (phase, from): (&str, Vec<Index>) = match &self.phase {
            Phase::Electing { own_share: OwnShare::Held, .. } => {
                ("FINISH", self.finished.iter().copied().collect())
            }
            Phase::Electing { shares, .. } => ("coin shares", shares.keys().copied().collect()),
            Phase::Elected(election) if election.own == OwnBallots::Voted => {
                ("VOTE", election.votes.yes.keys().chain(election.votes.no.keys()).copied().collect())
            }
            Phase::Elected(election) => (
                "PRE-VOTE",
                election.pre_votes.yes.iter().chain(election.pre_votes.no.keys()).copied().collect(),
            ),
        };
        Waiting {
            phase: format!("{phase} of view {}", self.view),
            needed: committee.quorum() as u64,
            from: from.into_iter().map(|index| index.0).collect(),
        }
    }

    /// Counts a FINISH; whether it was the one that makes N−f.
    pub(super) fn count_finished(&mut self, member: &Member, leader: Index) -> bool {
        self.finished.insert(leader) && self.finished.len() == member.committee.quorum()
    }

    /// A coin share; false if it is bad. Our own is good, and shares that come after the coin are ignored.
    pub(super) fn add_share(&mut self, member: &Member, author: Index, share: CoinShare) -> bool {
        let name = self.coin_name();
        let Phase::Electing { shares, .. } = &mut self.phase else { return true };
        // Our own share needs no proof to us.
        let valid = author == member.index || member.suite.verify_coin_share(author, &name, &share);
        if valid {
            shares.insert(author, share);
        }
        valid
    }

    /// Step 2: our coin share, once N−f SPBs have finished here or f+1 members have released theirs. (Alg. 2,
    /// lines 12–13.)
    ///
    /// # Security
    /// Releasing before would let the adversary know the leader in time to hold it back. f+1 shares hold one of an
    /// honest member that saw N−f FINISHes, and following it lets all members obtain the coin. \[safety]
    pub(super) fn release_share(&mut self, member: &Member) -> Option<CoinShare> {
        let name = self.coin_name();
        let finished = self.finished.len() >= member.committee.quorum();
        let Phase::Electing { own_share, shares, .. } = &mut self.phase else { return None };
        let due = finished || shares.len() >= member.committee.one_honest();
        if *own_share == OwnShare::Released || (!due && in_force(Mutant::CoinAfterFinishes)) {
            return None;
        }
        *own_share = OwnShare::Released;
        Some(member.suite.coin_share(&name))
    }

    /// Step 3: with N−f shares the coin names the leader and the SPBs fall silent. If it did so just now, the ballots
    /// that came before it; they can be judged from now on.
    pub(super) fn elect(&mut self, member: &Member) -> Option<Vec<(Index, Ballot)>> {
        let name = self.coin_name();
        let Phase::Electing { own_share, shares, early } = &mut self.phase else { return None };
        // The own share goes out first: leaving a view without it leaves slower members short of N−f. [safety]
        if shares.len() < member.committee.quorum() || *own_share == OwnShare::Held {
            return None;
        }
        let early = std::mem::take(early);
        let shares: Vec<_> =
            shares.iter().take(member.committee.quorum()).map(|(author, share)| (*author, *share)).collect();
        let leader = member.suite.elect(&name, &shares).expect("N−f verified shares elect a leader");
        for spb in &mut self.spbs {
            spb.stop_answering();
        }
        let election = Election {
            leader,
            shares,
            own: OwnBallots::None,
            pre_votes: PreVotes::default(),
            votes: Votes::default(),
        };
        self.phase = Phase::Elected(election);
        Some(early)
    }

    /// A ballot: judged if the coin is known, kept until then otherwise. The parent passes at most two an author.
    pub(super) fn add_ballot(
        &mut self,
        member: &Member,
        cache: &mut CertificateCache,
        author: Index,
        ballot: Ballot,
    ) -> Result<(), FaultKind> {
        let leader = match &mut self.phase {
            Phase::Electing { early, .. } => {
                early.push((author, ballot));
                return Ok(());
            }
            Phase::Elected(election) => election.leader,
        };
        match ballot {
            Ballot::PreVote(PreVote::Yes { cut, certificate }) => {
                self.learn_lock(member, cache, leader, cut, certificate)?;
                self.election().pre_votes.yes.insert(author);
            }
            Ballot::PreVote(PreVote::No { signature }) => {
                let statement = self.statement(leader, Stage::No, Digest::default());
                check(member.suite.verify(author, &statement, &signature), FaultKind::BadSignature)?;
                self.election().pre_votes.no.insert(author, signature);
            }
            Ballot::Vote(Vote::Yes { cut, certificate, signature }) => {
                let statement = self.statement(leader, Stage::Finish, cut.digest());
                self.learn_lock(member, cache, leader, cut, certificate)?;
                check(member.suite.verify(author, &statement, &signature), FaultKind::BadSignature)?;
                self.election().votes.yes.insert(author, signature);
            }
            Ballot::Vote(Vote::No { refusals, signature }) => {
                let no = self.statement(leader, Stage::No, Digest::default());
                let proven = cache.verify(&member.committee, &*member.suite, &no, &refusals);
                check(proven, FaultKind::BadCertificate)?;
                let unlock = self.statement(leader, Stage::Unlock, Digest::default());
                check(member.suite.verify(author, &unlock, &signature), FaultKind::BadSignature)?;
                self.election().votes.no.insert(author, signature);
            }
        }
        Ok(())
    }

    /// Steps 4 and 5: our next ballot, if it is due.
    pub(super) fn next_ballot(&mut self, member: &Member) -> Option<Ballot> {
        let Phase::Elected(election) = &self.phase else { return None };
        let leader = election.leader;
        let spb = &self.spbs[usize::from(leader.0)];
        let (own, ballot) = match election.own {
            // Step 4 (Alg. 2, lines 17–20). A member with FINISH of L decides and need not vote.
            OwnBallots::None if spb.finished().is_some() => return None,
            OwnBallots::None => (OwnBallots::PreVoted, Ballot::PreVote(self.pre_vote(member, spb))),
            // Step 5 (Alg. 2, lines 21–25).
            OwnBallots::PreVoted => {
                let pre_votes = &election.pre_votes;
                if pre_votes.yes.len() + pre_votes.no.len() < member.committee.quorum() {
                    return None;
                }
                (OwnBallots::Voted, Ballot::Vote(self.vote(member, spb, &pre_votes.no)))
            }
            OwnBallots::Voted => return None,
        };
        self.election().own = own;
        Some(ballot)
    }

    fn pre_vote(&self, member: &Member, leader: &Spb) -> PreVote {
        match leader.locked() {
            Some(Certified { cut, certificate }) => {
                PreVote::Yes { cut: cut.clone(), certificate: certificate.clone() }
            }
            None => {
                let statement = self.statement(leader.leader(), Stage::No, Digest::default());
                PreVote::No { signature: member.suite.sign(&statement) }
            }
        }
    }

    fn vote(&self, member: &Member, leader: &Spb, refusals: &BTreeMap<Index, Signature>) -> Vote {
        match leader.locked() {
            Some(Certified { cut, certificate }) => {
                let statement = self.statement(leader.leader(), Stage::Finish, cut.digest());
                let signature = member.suite.sign(&statement);
                Vote::Yes { cut: cut.clone(), certificate: certificate.clone(), signature }
            }
            // A valid yes would have brought certificate 1 along, so all N−f PRE-VOTEs were no.
            None => {
                let refusals = Certificate::from_votes(&member.committee, by_ref(refusals));
                let statement = self.statement(leader.leader(), Stage::Unlock, Digest::default());
                Vote::No { refusals, signature: member.suite.sign(&statement) }
            }
        }
    }

    /// The value that this view decides, as far as is known here: FINISH of the leader, or N−f yes-VOTEs.
    pub(super) fn decision(&self, member: &Member) -> Option<Certified> {
        let Phase::Elected(election) = &self.phase else { return None };
        let spb = &self.spbs[usize::from(election.leader.0)];
        if let Some(finished) = spb.finished() {
            return Some(finished.clone());
        }
        if election.votes.yes.len() < member.committee.quorum() {
            return None;
        }
        let cut = spb.locked()?.cut.clone();
        let certificate = Certificate::from_votes(&member.committee, by_ref(&election.votes.yes));
        Some(Certified { cut, certificate })
    }

    /// Step 6: how the view has ended here, if it has.
    ///
    /// # Correctness
    /// Not before our own VOTE is sent: leaving without it leaves slower members short of N−f for ever. \[safety]
    pub(super) fn ending(&self, member: &Member) -> Option<Ending> {
        let Phase::Elected(election) = &self.phase else { return None };
        let Votes { yes, no } = &election.votes;
        let voted = election.own == OwnBallots::Voted || !in_force(Mutant::VoteBeforeLeaving);
        if !voted || yes.len() + no.len() < member.committee.quorum() {
            return None;
        }
        let locked = self.spbs[usize::from(election.leader.0)].locked();
        match locked {
            Some(locked) if !yes.is_empty() => Some(Ending::Adopt(locked.clone())),
            _ => Some(Ending::Keep(Certificate::from_votes(&member.committee, by_ref(no)))),
        }
    }

    /// Stores a certificate 1 of the leader that came with a ballot, if it is valid.
    fn learn_lock(
        &mut self,
        member: &Member,
        cache: &mut CertificateCache,
        leader: Index,
        cut: Cut,
        certificate: Certificate,
    ) -> Result<(), FaultKind> {
        let statement = self.statement(leader, Stage::Lock, cut.digest());
        let valid = cache.verify(&member.committee, &*member.suite, &statement, &certificate);
        check(valid, FaultKind::BadCertificate)?;
        self.spbs[usize::from(leader.0)].learn_lock(Certified { cut, certificate });
        Ok(())
    }

    fn election(&mut self) -> &mut Election {
        match &mut self.phase {
            Phase::Elected(election) => election,
            Phase::Electing { .. } => unreachable!("ballots are judged after the election only"),
        }
    }

    fn statement(&self, leader: Index, stage: Stage, digest: Digest) -> Statement {
        Statement::Agreement { round: self.round, view: self.view, leader, stage, digest }
    }

    fn coin_name(&self) -> CoinName {
        CoinName { round: self.round, view: self.view }
    }
}

fn check(condition: bool, otherwise: FaultKind) -> Result<(), FaultKind> {
    if condition { Ok(()) } else { Err(otherwise) }
}

fn by_ref(signatures: &BTreeMap<Index, Signature>) -> impl Iterator<Item = (Index, &Signature)> {
    signatures.iter().map(|(author, signature)| (*author, signature))
}
