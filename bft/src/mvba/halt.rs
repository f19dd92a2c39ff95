//! HALT: the decision of a round and its proof, understood without any state but the previous cut.
//!
//! # Security
//! Certificate 2 alone proves nothing: every SPB of a view ends with one, and only the elected leader's decides. So a
//! HALT carries the N−f coin shares that elect its leader. \[safety]

use serde::{Deserialize, Serialize};
use wire::committee::Committee;
use wire::ids::{Index, Round, View};

use crate::crypto::cert::{Certificate, CertificateCache};
use crate::crypto::suite::{CoinName, CoinShare, Stage, Statement};
use crate::cut::Cut;
use crate::fault::FaultKind;
use crate::member::Member;
use crate::mutant::{Mutant, in_force};

/// The decision of a round.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Halt {
    /// The round.
    pub round: Round,
    /// The view that decided.
    pub view: View,
    /// The decided cut.
    pub cut: Cut,
    /// Certificate 2 of the leader's SPB, or N−f yes-VOTEs, which sign the same statement.
    pub certificate: Certificate,
    /// N−f shares of the view's coin, ascending by member.
    pub shares: Vec<(Index, CoinShare)>,
}

impl Halt {
    /// The memory that it takes, about.
    pub fn bytes(&self) -> usize {
        let (lanes, signers, shares) = (self.cut.0.len(), self.certificate.0.len(), self.shares.len());
        size_of::<Halt>() + 40 * lanes + 66 * signers + size_of::<(Index, CoinShare)>() * shares
    }
}

/// Why a HALT proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HaltError {
    /// The cut may not follow the previous one.
    Cut,
    /// The shares elect no leader.
    Coin,
    /// The certificate is not one for the elected leader.
    Certificate,
}

impl HaltError {
    /// The fault of its sender.
    pub fn fault(self) -> FaultKind {
        match self {
            HaltError::Cut => FaultKind::InvalidCut,
            HaltError::Coin => FaultKind::BadCoinShare,
            HaltError::Certificate => FaultKind::BadCertificate,
        }
    }
}

impl Halt {
    /// Whether every list in it has the only length it can have.
    pub fn has_shape(&self, committee: &Committee) -> bool {
        self.cut.0.len() == committee.n()
            && self.certificate.0.len() <= committee.n()
            && self.shares.len() <= committee.n()
    }

    /// Whether this proves that `cut` was decided after `previous`; gives the leader whose proposal that was. A caller
    /// that already knows the leader elected in this round and view passes it; then the shares are not verified.
    pub fn verify(
        &self,
        member: &Member,
        cache: &mut CertificateCache,
        previous: &Cut,
        leader: Option<Index>,
    ) -> Result<Index, HaltError> {
        if !self.cut.may_follow(previous) {
            return Err(HaltError::Cut);
        }
        let leader = leader.or_else(|| self.elected(member)).ok_or(HaltError::Coin)?;
        let proves = |cache: &mut CertificateCache, leader| {
            let (round, view, digest) = (self.round, self.view, self.cut.digest());
            let statement = Statement::Agreement { round, view, leader, stage: Stage::Finish, digest };
            cache.verify(&member.committee, &*member.suite, &statement, &self.certificate)
        };
        let any_leader = !in_force(Mutant::HaltProvesLeader)
            && member.committee.indices().any(|leader| proves(cache, leader));
        if any_leader || proves(cache, leader) { Ok(leader) } else { Err(HaltError::Certificate) }
    }

    /// The leader that the shares elect, if they are N−f valid ones of distinct members.
    fn elected(&self, member: &Member) -> Option<Index> {
        let committee = &member.committee;
        let distinct = self.shares.windows(2).all(|pair| pair[0].0 < pair[1].0)
            && self.shares.last().is_some_and(|(last, _)| usize::from(last.0) < committee.n());
        if !distinct || self.shares.len() != committee.quorum() {
            return None;
        }
        let name = CoinName { round: self.round, view: self.view };
        let valid =
            |(signer, share): &(Index, CoinShare)| member.suite.verify_coin_share(*signer, &name, share);
        // # Security: forged shares combine to a coin as well as valid ones do, and the forger chooses it. [safety]
        if !self.shares.iter().all(valid) && in_force(Mutant::HaltSharesVerified) {
            return None;
        }
        member.suite.elect(&name, &self.shares)
    }
}

#[cfg(test)]
mod tests {
    use wire::committee::Protocol;
    use wire::ids::Signature;

    use super::*;
    use crate::crypto::deal::{deal_committee, seeded_entropy};
    use crate::cut::Tip;

    #[test]
    fn no_list_may_be_longer_than_the_shard() {
        let (committee, _) = deal_committee(4, 1, Protocol::default(), seeded_entropy(0));
        let signature = Signature { r: [0; 32], s: [0; 32] };
        let share = CoinShare { value: [0; 32], challenge: [0; 32], response: [0; 32] };
        let halt = |tips: usize, signatures: u16, shares: u16| Halt {
            round: Round(1),
            view: View(0),
            cut: Cut(vec![Tip::default(); tips]),
            certificate: Certificate((0..signatures).map(|index| (Index(index), signature)).collect()),
            shares: (0..shares).map(|index| (Index(index), share)).collect(),
        };
        assert!(halt(4, 4, 4).has_shape(&committee) && halt(4, 0, 0).has_shape(&committee));
        for (tips, signatures, shares) in [(5, 3, 3), (3, 3, 3), (4, 5, 3), (4, 3, 5)] {
            assert!(!halt(tips, signatures, shares).has_shape(&committee), "{tips} {signatures} {shares}");
        }
    }
}
