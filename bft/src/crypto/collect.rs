//! Collects signatures of members over one statement until they make a certificate.
//!
//! Signatures are verified when a quorum has arrived, in one batch, and one by one only if the batch fails: on the
//! happy path N−f verifications cost one multi-scalar multiplication. Of each author the first signature counts, valid
//! or not; no further one is verified, so a liar costs each instance at most one verification.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wire::committee::Committee;
use wire::ids::{Index, Signature};

use crate::crypto::cert::Certificate;
use crate::crypto::suite::{Statement, Suite};
use crate::quorum::{Added, VoteSet};

/// Signatures over one statement, towards one certificate. At most N of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Collector {
    statement: Statement,
    votes: VoteSet<(), Signature>,
    verified: BTreeSet<Index>,
    barred: BTreeSet<Index>,
    completed: Completed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Completed {
    NotYet,
    Reported,
}

/// The result of adding a signature.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Collected {
    /// The certificate, reported once.
    pub certificate: Option<Certificate>,
    /// Authors whose signatures proved to be bad.
    pub bad: Vec<Index>,
}

impl Collector {
    /// An empty collection for a statement.
    pub fn new(committee: &Committee, statement: Statement) -> Collector {
        Collector {
            statement,
            votes: VoteSet::new(committee.quorum()),
            verified: BTreeSet::new(),
            barred: BTreeSet::new(),
            completed: Completed::NotYet,
        }
    }

    /// The signed statement.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Authors of the signatures that are not known to be bad, ascending.
    pub fn authors(&self) -> impl Iterator<Item = Index> + '_ {
        self.votes.authors()
    }

    /// Adds the signature of `author`; with the quorum complete, verifies.
    pub fn add(
        &mut self,
        committee: &Committee,
        suite: &dyn Suite,
        author: Index,
        signature: Signature,
    ) -> Collected {
        if self.completed == Completed::Reported || self.barred.contains(&author) {
            return Collected::default();
        }
        match self.votes.add(author, (), signature) {
            Added::Duplicate | Added::Equivocation => return Collected::default(),
            Added::Counted | Added::Reached => {}
        }
        if self.votes.len() < committee.quorum() {
            return Collected::default();
        }
        let bad = self.verify_new(suite);
        let certificate = (self.votes.len() >= committee.quorum()).then(|| {
            self.completed = Completed::Reported;
            Certificate::from_votes(committee, self.votes.evidence(&()))
        });
        Collected { certificate, bad }
    }

    /// Verifies the unverified signatures and removes bad ones.
    fn verify_new(&mut self, suite: &dyn Suite) -> Vec<Index> {
        let new: Vec<(Index, Signature)> = self
            .votes
            .evidence(&())
            .filter(|(author, _)| !self.verified.contains(author))
            .map(|(author, signature)| (author, *signature))
            .collect();
        let mut bad = Vec::new();
        if !suite.verify_all(&self.statement, &new) {
            bad.extend(
                new.iter()
                    .filter(|(author, signature)| !suite.verify(*author, &self.statement, signature))
                    .map(|(author, _)| *author),
            );
        }
        self.verified.extend(new.iter().map(|(author, _)| *author));
        for author in &bad {
            self.votes.remove(*author);
            self.verified.remove(author);
            self.barred.insert(*author);
        }
        bad
    }
}
