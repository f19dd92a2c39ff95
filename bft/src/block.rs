//! Block headers and the VOTEs that certify them.
//!
//! Guarantee: a certified header is the one every honest member computes at that height, since N−f VOTEs hold one of
//! an honest member and execution is deterministic; and it proves all its ancestors through the chain of digests.
//!
//! Steps: execute block r → header → VOTE, a signature, to all → N−f VOTEs → certificate. No step waits for it: it
//! serves nodes outside the shard, and it ends the re-sending of VOTEs. A VOTE at or below a certified height is
//! answered with the certificate, at most once a second a peer. So a member that is behind learns with its first VOTE a
//! certificate above its own height; it then neither votes nor counts below that height, since the certified header
//! proves all before it. Cost: one message a member and round, one batch of N−f.
//!
//! # Security
//! A false VOTE costs one verification per author and height (see [`Collector`]). A certificate is verified only above
//! the highest certified height. A member that sends a false one is Byzantine, so none of its further certificates is
//! verified.
//!
//! Source: the `BlockVote` (VOTE) of the Python notes; Kronos (NDSS 2025) §IV.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wire::codec;
use wire::ids::{Digest, Index, NodeId, Round, Signature};
use wire::limits::{ROUNDS_AHEAD_MAX, ROUNDS_UNEXECUTED_MAX};

use crate::crypto::cert::{Certificate, CertificateCache};
use crate::crypto::collect::Collector;
use crate::crypto::suite::Statement;
use crate::effects::{Effects, To};
use crate::fault::FaultKind;
use crate::image::image;
use crate::member::Member;
use crate::mutant::{Mutant, in_force};
use crate::resend::Resend;
use crate::serving::Limiter;
use crate::time::Time;

/// The header of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Header {
    /// Its height, which is its round.
    pub height: Round,
    /// Digest of the header before it; zero at height 1.
    pub previous: Digest,
    /// Digest of the cut it executes up to.
    pub cut: Digest,
    /// Digest of the outcomes of its transactions.
    pub outcome: Digest,
    /// Root over its parts for other shards; zero if there are none.
    pub outgoing: Digest,
}

impl Header {
    /// SHA-256 of a tag and the encoding. (Without the tag, the encoding of a header at height 256 would parse as a
    /// lane entry.)
    pub fn digest(&self) -> Digest {
        Digest(Sha256::new().chain_update(b"HEAD").chain_update(codec::encode(self)).finalize().into())
    }
}

/// Messages about headers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum BlockMessage {
    /// VOTE: the sender has executed this block.
    Vote(BlockVote),
    /// N−f VOTEs.
    Certified {
        /// The height.
        height: Round,
        /// Digest of the header.
        header: Digest,
        /// The signatures.
        certificate: Certificate,
    },
}

/// A member's signature on a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BlockVote {
    /// The height.
    pub height: Round,
    /// Digest of the header.
    pub header: Digest,
    /// The signature.
    pub signature: Signature,
}

/// Outputs for the parent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BlockOutput {
    /// A block that we have executed is certified, and with it all before it: this proves it to other shards.
    Certified {
        /// The height.
        height: Round,
        /// Digest of the header.
        header: Digest,
        /// N−f VOTEs.
        certificate: Certificate,
    },
}

/// Effects of a step.
pub type BlockEffects = Effects<BlockMessage, BlockOutput>;

/// The VOTEs of a shard at one member. Bound: heights above the certified one, up to [`HEIGHTS_AHEAD_MAX`] beyond the
/// executed one, one vote a member each. (A member that is behind knows a certificate above its height, see the
/// module.)
#[derive(Clone, Debug)]
pub struct BlockVotes {
    member: Member,
    executed: Round,
    heights: BTreeMap<Round, Height>,
    /// The highest height of which a certificate is known; it may not be executed here.
    certified: Round,
    /// The newest certificate with its header, for members that still vote at or below it.
    proof: Option<(Round, Digest, Certificate)>,
    cache: CertificateCache,
    /// Members that sent a bad certificate: none of theirs is verified any more.
    barred: BTreeSet<Index>,
    answers: Limiter,
    resend: Resend,
}

image! {
    BlockVotes:
    given member = |given| given.member.clone();
    parts;
    plain executed, heights, certified, proof, cache, barred, answers, resend;
}

/// VOTEs are kept this far beyond the own height: as far as others may have executed before us.
pub const HEIGHTS_AHEAD_MAX: u64 = ROUNDS_UNEXECUTED_MAX + ROUNDS_AHEAD_MAX;

/// One height that is not certified.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Height {
    /// Not executed here: votes wait, the first of each author.
    Ahead(BTreeMap<Index, BlockVote>),
    /// Executed here: votes count, our own among them.
    Executed { own: BlockVote, collector: Box<Collector> },
}

impl BlockVotes {
    /// Before the first block.
    pub fn new(member: Member) -> BlockVotes {
        BlockVotes {
            member,
            executed: Round(0),
            heights: BTreeMap::new(),
            certified: Round(0),
            proof: None,
            cache: CertificateCache::default(),
            barred: BTreeSet::new(),
            answers: Limiter::default(),
            resend: Resend::default(),
        }
    }

    /// The height up to which our headers are certified.
    pub fn certified(&self) -> Round {
        self.certified.min(self.executed)
    }

    /// We have executed the next block: VOTE.
    pub fn executed(&mut self, now: Time, height: Round, header: Digest) -> BlockEffects {
        assert_eq!(height, self.executed.next(), "blocks are executed in order");
        self.executed = height;
        if height < self.certified {
            return Effects::none();
        }
        if let Some((_, _, certificate)) =
            self.proof.as_ref().filter(|proof| (proof.0, proof.1) == (height, header))
        {
            let certificate = certificate.clone();
            return Effects::output(BlockOutput::Certified { height, header, certificate });
        }
        let statement = Statement::Block { height, digest: header };
        let own = BlockVote { height, header, signature: self.member.suite.sign(&statement) };
        let collector = Box::new(Collector::new(&self.member.committee, statement));
        let waiting = self.heights.insert(height, Height::Executed { own, collector });
        let mut effects = Effects::send(To::Others, BlockMessage::Vote(own));
        self.resend.progressed(now);
        self.count(self.member.index, own, &mut effects);
        if let Some(Height::Ahead(votes)) = waiting {
            for (author, vote) in votes {
                self.count(author, vote, &mut effects);
            }
        }
        effects
    }

    /// We have taken over the state after the block at `height`, and vote for it like those that have executed it.
    pub fn jump(&mut self, now: Time, height: Round, header: Digest) -> BlockEffects {
        self.jump_following(height);
        self.executed = Round(height.0 - 1);
        self.executed(now, height, header)
    }

    /// The same for one that may not vote.
    pub fn jump_following(&mut self, height: Round) {
        while self.heights.first_key_value().is_some_and(|(first, _)| *first < height) {
            self.heights.pop_first();
        }
        self.executed = height;
    }

    /// We have executed the next block, and may not vote.
    pub fn followed(&mut self, height: Round) {
        self.executed = height;
    }

    /// A message of a member.
    pub fn handle(&mut self, now: Time, author: Index, message: BlockMessage) -> BlockEffects {
        let mut effects = Effects::none();
        match message {
            BlockMessage::Vote(vote) => self.on_vote(now, author, vote, &mut effects),
            BlockMessage::Certified { height, header, certificate } => {
                self.on_certified(author, height, header, certificate, &mut effects);
            }
        }
        effects
    }

    /// Our open VOTEs, for a peer whose process is new.
    pub fn on_peer_up(&self, peer: NodeId) -> BlockEffects {
        self.open_votes(To::Member(peer))
    }

    /// Our open VOTEs, since our own sender may have lost them.
    pub fn on_child_restarted(&self) -> BlockEffects {
        self.open_votes(To::Others)
    }

    /// Sends open VOTEs again if it is time.
    pub fn tick(&mut self, now: Time) -> BlockEffects {
        if self.resend.is_due(now) { self.open_votes(To::Others) } else { Effects::none() }
    }

    /// When [`BlockVotes::tick`] is due.
    pub fn next_wakeup(&self) -> Option<Time> {
        self.resend.due()
    }

    fn open_votes(&self, to: To) -> BlockEffects {
        let mut effects = Effects::none();
        for height in self.heights.values() {
            if let Height::Executed { own, .. } = height {
                effects.push_send(to, BlockMessage::Vote(*own));
            }
        }
        effects
    }

    fn on_vote(&mut self, now: Time, author: Index, vote: BlockVote, effects: &mut BlockEffects) {
        if vote.height <= self.certified {
            self.answer_with_proof(now, author, effects);
        } else if vote.height <= self.executed {
            self.count(author, vote, effects);
        } else if vote.height.0 > self.executed.0 + HEIGHTS_AHEAD_MAX {
            effects.too_early += 1;
        } else {
            let height = self.heights.entry(vote.height).or_insert_with(|| Height::Ahead(BTreeMap::new()));
            if let Height::Ahead(votes) = height {
                votes.entry(author).or_insert(vote);
            }
        }
    }

    /// Counts a VOTE at a height that is executed here.
    fn count(&mut self, author: Index, vote: BlockVote, effects: &mut BlockEffects) {
        let peer = self.member.node_at(author);
        let Some(Height::Executed { own, collector }) = self.heights.get_mut(&vote.height) else { return };
        if vote.header != own.header {
            effects.push_fault(peer, FaultKind::WrongBlock);
            return;
        }
        let collected = collector.add(&self.member.committee, &*self.member.suite, author, vote.signature);
        for bad in collected.bad {
            effects.push_fault(self.member.node_at(bad), FaultKind::BadSignature);
        }
        if let Some(certificate) = collected.certificate {
            self.certify(vote.height, vote.header, certificate, effects);
        }
    }

    fn on_certified(
        &mut self,
        author: Index,
        height: Round,
        header: Digest,
        certificate: Certificate,
        effects: &mut BlockEffects,
    ) {
        let peer = self.member.node_at(author);
        if self.barred.contains(&author) || height <= self.certified {
            return;
        }
        if let Some(Height::Executed { own, .. }) = self.heights.get(&height)
            && own.header != header
        {
            effects.push_fault(peer, FaultKind::WrongBlock);
            return;
        }
        let statement = Statement::Block { height, digest: header };
        if self.cache.verify(&self.member.committee, &*self.member.suite, &statement, &certificate) {
            self.certify(height, header, certificate, effects);
        } else {
            if in_force(Mutant::FalseProofBars) {
                self.barred.insert(author);
            }
            effects.push_fault(peer, FaultKind::BadCertificate);
        }
    }

    /// A header is certified, and with it all before it: their VOTEs have served. The parent learns of it once the
    /// block is executed here.
    fn certify(
        &mut self,
        height: Round,
        header: Digest,
        certificate: Certificate,
        effects: &mut BlockEffects,
    ) {
        self.certified = height;
        self.proof = Some((height, header, certificate.clone()));
        if height <= self.executed {
            effects.outputs.push(BlockOutput::Certified { height, header, certificate });
        }
        while self.heights.first_key_value().is_some_and(|(first, _)| *first <= height) {
            self.heights.pop_first();
        }
        if self.executed <= height {
            self.resend.stop();
        }
    }

    fn answer_with_proof(&mut self, now: Time, author: Index, effects: &mut BlockEffects) {
        let Some((height, header, certificate)) = &self.proof else { return };
        if author != self.member.index && self.answers.may(now, author) {
            let certificate = certificate.clone();
            let message = BlockMessage::Certified { height: *height, header: *header, certificate };
            effects.push_send(To::Member(self.member.node_at(author)), message);
        }
    }
}

#[cfg(test)]
mod tests;
