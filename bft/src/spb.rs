//! Strong provable broadcast: one member, the leader of the instance, gets a value locked and then finished.
//!
//! Guarantees, for one leader in one view of one round, with at most f of N members Byzantine:
//! - *Uniqueness*: no two different values get a certificate 1, and so none a certificate 2: a member signs stage
//!   LOCK once, and two sets of N−f signers share an honest one.
//! - *Provability*: certificate 2 implies that at least N−2f ≥ f+1 honest members hold certificate 1.
//! - *External validity*: certificate 1 implies that f+1 honest members found value and justification valid.
//!
//! Steps: SEND(x, justification) → ECHO, a signature at stage LOCK → N−f make certificate 1 → LOCK(x, certificate 1)
//! → READY, a signature at stage FINISH → N−f make certificate 2 → FINISH(x, certificate 2). Five messages between the
//! leader and each member, 2N signatures; a member verifies two certificates, the leader two batches of N−f.
//!
//! Source: Speeding Dumbo (NDSS 2022), Alg. 1 and §IV; there the last step is the leader's output only, here it is
//! broadcast as FINISH, as in its Alg. 2 line 9. Deviation: external validity may have to wait for certificates to be
//! fetched, so a SEND can be pending; the parent judges it again with [`Spb::reconsider`].

use serde::{Deserialize, Serialize};
use wire::ids::{Index, Round, Signature, View};

use crate::crypto::cert::{Certificate, CertificateCache};
use crate::crypto::collect::Collector;
use crate::crypto::suite::{Stage, Statement};
use crate::cut::Cut;
use crate::effects::{Effects, To};
use crate::fault::FaultKind;
use crate::justification::Justification;
use crate::member::Member;
use crate::mutant::{Mutant, in_force};

/// Messages of one SPB.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SpbMessage {
    /// Leader to all: the value, and the proof that it may be proposed in this view.
    Send {
        /// The value x.
        cut: Cut,
        /// The proof that x may be proposed.
        justification: Justification,
    },
    /// Member to leader: stage LOCK signed.
    Echo(Signature),
    /// Leader to all: certificate 1.
    Lock {
        /// The value x.
        cut: Cut,
        /// N−f signatures at stage LOCK.
        certificate: Certificate,
    },
    /// Member to leader: stage FINISH signed.
    Ready(Signature),
    /// Leader to all: certificate 2.
    Finish {
        /// The value x.
        cut: Cut,
        /// N−f signatures at stage FINISH.
        certificate: Certificate,
    },
}

/// A cut with the certificate for one of its stages.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Certified {
    /// The value.
    pub cut: Cut,
    /// N−f signatures.
    pub certificate: Certificate,
}

/// Outputs for the parent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SpbOutput {
    /// A valid certificate 1 has arrived.
    Locked,
    /// A valid certificate 2 has arrived.
    Finished,
}

/// The parent's judgement of a proposed value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// May be echoed.
    Valid,
    /// Unknown: certificates of lanes are missing.
    Pending,
    /// Never.
    Invalid(FaultKind),
}

/// One SPB at one member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spb {
    round: Round,
    view: View,
    leader: Index,
    answering: Answering,
    proposal: Proposal,
    locked: Option<Certified>,
    finished: Option<Certified>,
    leading: Leading,
}

/// Whether SENDs and LOCKs still get an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Answering {
    Open,
    Closed,
}

/// The phase of the leader's SEND.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Proposal {
    Awaited,
    Pending { cut: Cut, justification: Justification },
    Settled,
}

/// The leader's own progress.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Leading {
    Not,
    Echoes { cut: Cut, collector: Collector },
    Readies { cut: Cut, collector: Collector },
    Done,
}

type SpbEffects = Effects<SpbMessage, SpbOutput>;

impl Spb {
    /// An instance without messages.
    pub fn new(round: Round, view: View, leader: Index) -> Spb {
        Spb {
            round,
            view,
            leader,
            answering: Answering::Open,
            proposal: Proposal::Awaited,
            locked: None,
            finished: None,
            leading: Leading::Not,
        }
    }

    /// Its leader.
    pub fn leader(&self) -> Index {
        self.leader
    }

    /// Certificate 1 with its value, once known.
    pub fn locked(&self) -> Option<&Certified> {
        self.locked.as_ref()
    }

    /// Certificate 2 with its value, once known.
    pub fn finished(&self) -> Option<&Certified> {
        self.finished.as_ref()
    }

    /// The value that waits for its external validity, if one does.
    pub fn pending(&self) -> Option<(&Cut, &Justification)> {
        match &self.proposal {
            Proposal::Pending { cut, justification } => Some((cut, justification)),
            Proposal::Awaited | Proposal::Settled => None,
        }
    }

    /// The leader starts: SEND. (Alg. 1, line 2.) Call once, at the leader.
    pub fn propose(&mut self, member: &Member, cut: Cut, justification: Justification) -> SpbEffects {
        assert_eq!(self.leader, member.index, "only the leader proposes");
        assert!(matches!(self.leading, Leading::Not), "a leader proposes once");
        let collector = Collector::new(&member.committee, self.statement(Stage::Lock, &cut));
        self.leading = Leading::Echoes { cut: cut.clone(), collector };
        Effects::send(To::All, SpbMessage::Send { cut, justification })
    }

    /// A message of `author`. `judge` decides whether a proposed value is valid. The parent passes only the first
    /// message of each kind that an author sends.
    pub fn handle(
        &mut self,
        member: &Member,
        cache: &mut CertificateCache,
        author: Index,
        message: SpbMessage,
        judge: impl Fn(&mut CertificateCache, &Cut, &Justification) -> Verdict,
    ) -> SpbEffects {
        let from_leader = author == self.leader;
        match message {
            SpbMessage::Send { cut, justification } if from_leader => {
                if matches!(self.proposal, Proposal::Awaited) || !in_force(Mutant::SpbEchoOnce) {
                    self.proposal = Proposal::Pending { cut, justification };
                }
                self.reconsider(member, cache, judge)
            }
            SpbMessage::Lock { cut, certificate } if from_leader => {
                self.on_lock(member, cache, cut, certificate)
            }
            SpbMessage::Finish { cut, certificate } if from_leader => {
                self.on_finish(member, cache, cut, certificate)
            }
            SpbMessage::Echo(signature) if member.index == self.leader => {
                self.on_echo(member, cache, author, signature)
            }
            SpbMessage::Ready(signature) if member.index == self.leader => {
                self.on_ready(member, cache, author, signature)
            }
            _ => Effects::fault(member.node_at(author), FaultKind::NotAMember),
        }
    }

    /// Judges a pending SEND again, since more may be known now; echoes it if it is valid. (Alg. 1, lines 6–9.)
    pub fn reconsider(
        &mut self,
        member: &Member,
        cache: &mut CertificateCache,
        judge: impl Fn(&mut CertificateCache, &Cut, &Justification) -> Verdict,
    ) -> SpbEffects {
        let Proposal::Pending { cut, justification } = &self.proposal else { return Effects::none() };
        if self.answering == Answering::Closed {
            return Effects::none();
        }
        match judge(cache, cut, justification) {
            Verdict::Pending => Effects::none(),
            Verdict::Valid => {
                let signature = member.suite.sign(&self.statement(Stage::Lock, cut));
                self.proposal = Proposal::Settled;
                Effects::send(To::Member(member.node_at(self.leader)), SpbMessage::Echo(signature))
            }
            Verdict::Invalid(kind) => {
                self.proposal = Proposal::Settled;
                Effects::fault(member.node_at(self.leader), kind)
            }
        }
    }

    /// The coin of the view is known: no ECHO and no READY from now on. Certificates are still stored.
    ///
    /// # Security
    /// Else a Byzantine leader that was elected could hold back its LOCK until others pre-voted no, then collect
    /// READYs, and so own a certificate 2 beside N−f UNLOCKs: a fork. \[safety]
    pub fn stop_answering(&mut self) {
        if in_force(Mutant::StopAnsweringAfterCoin) {
            self.answering = Answering::Closed;
        }
    }

    /// Stores a certificate 1 that the parent has verified and that came in another message than LOCK.
    pub fn learn_lock(&mut self, certified: Certified) {
        self.locked.get_or_insert(certified);
    }

    /// Alg. 1, lines 10–13: a valid certificate 1 is stored and answered with READY.
    fn on_lock(
        &mut self,
        member: &Member,
        cache: &mut CertificateCache,
        cut: Cut,
        certificate: Certificate,
    ) -> SpbEffects {
        let leader = member.node_at(self.leader);
        let statement = self.statement(Stage::Lock, &cut);
        if !cache.verify(&member.committee, &*member.suite, &statement, &certificate) {
            return Effects::fault(leader, FaultKind::BadCertificate);
        }
        let mut effects = Effects::output(SpbOutput::Locked);
        if self.answering == Answering::Open {
            let signature = member.suite.sign(&self.statement(Stage::Finish, &cut));
            effects.push_send(To::Member(leader), SpbMessage::Ready(signature));
        }
        self.locked.get_or_insert(Certified { cut, certificate });
        effects
    }

    /// Alg. 2, line 10: a valid certificate 2 is stored.
    fn on_finish(
        &mut self,
        member: &Member,
        cache: &mut CertificateCache,
        cut: Cut,
        certificate: Certificate,
    ) -> SpbEffects {
        let statement = self.statement(Stage::Finish, &cut);
        if !cache.verify(&member.committee, &*member.suite, &statement, &certificate) {
            return Effects::fault(member.node_at(self.leader), FaultKind::BadCertificate);
        }
        if self.finished.is_some() {
            return Effects::none();
        }
        self.finished = Some(Certified { cut, certificate });
        Effects::output(SpbOutput::Finished)
    }

    /// Alg. 1, lines 3–4: N−f ECHOs make certificate 1.
    fn on_echo(
        &mut self,
        member: &Member,
        cache: &mut CertificateCache,
        author: Index,
        signature: Signature,
    ) -> SpbEffects {
        let Leading::Echoes { cut, collector } = &mut self.leading else { return Effects::none() };
        let collected = collector.add(&member.committee, &*member.suite, author, signature);
        let mut effects = bad_signatures(member, &collected.bad);
        if let Some(certificate) = collected.certificate {
            cache.learn(&*member.suite, collector.statement(), &certificate);
            let cut = cut.clone();
            let collector = Collector::new(&member.committee, self.statement(Stage::Finish, &cut));
            self.leading = Leading::Readies { cut: cut.clone(), collector };
            effects.push_send(To::All, SpbMessage::Lock { cut, certificate });
        }
        effects
    }

    /// Alg. 1, lines 14–15: N−f READYs make certificate 2.
    fn on_ready(
        &mut self,
        member: &Member,
        cache: &mut CertificateCache,
        author: Index,
        signature: Signature,
    ) -> SpbEffects {
        let Leading::Readies { cut, collector } = &mut self.leading else { return Effects::none() };
        let collected = collector.add(&member.committee, &*member.suite, author, signature);
        let mut effects = bad_signatures(member, &collected.bad);
        if let Some(certificate) = collected.certificate {
            cache.learn(&*member.suite, collector.statement(), &certificate);
            effects.push_send(To::All, SpbMessage::Finish { cut: cut.clone(), certificate });
            self.leading = Leading::Done;
        }
        effects
    }

    fn statement(&self, stage: Stage, cut: &Cut) -> Statement {
        Statement::Agreement {
            round: self.round,
            view: self.view,
            leader: self.leader,
            stage,
            digest: cut.digest(),
        }
    }
}

/// A fault for each author of a bad signature.
fn bad_signatures(member: &Member, authors: &[Index]) -> SpbEffects {
    let mut effects = Effects::none();
    for author in authors {
        effects.push_fault(member.node_at(*author), FaultKind::BadSignature);
    }
    effects
}

#[cfg(test)]
mod tests;
