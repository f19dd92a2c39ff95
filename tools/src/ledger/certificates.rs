//! The VOTEs in a journal: the proof, by signatures of others, that a header is the one that a quorum computed.
//!
//! A certified header proves all before it through the chain of digests. So it is enough to verify the highest heights
//! at which there are N−f VOTEs; a VOTE for another header is evidence of a fork and is verified as well.

use std::collections::BTreeMap;

use bft::block::BlockMessage;
use bft::crypto::real::RealSuite;
use bft::crypto::suite::{Statement, Suite};
use bft::event::{Effect, Event};
use bft::journal::{Entry, parse};
use bft::message::{Incoming, Message};
use wire::bytes::Bytes;
use wire::committee::Committee;
use wire::ids::{Digest, Index, NodeId, Round, Signature};
use wire::record::Item;

use super::scan::Block;

/// Heights kept beyond the last certified one: as many as members may differ by, and no more than a liar is worth.
const HEIGHTS_MAX: usize = 4_096;
/// How many wait until they are judged.
const MANY: usize = 64;

/// See the module.
#[derive(Default)]
pub(crate) struct Votes {
    /// By height and header, not verified.
    open: BTreeMap<(Round, Digest), BTreeMap<Index, Signature>>,
    /// The highest height with a certificate for the header here, with its signers.
    pub(crate) certified: Option<(Round, Vec<Index>)>,
    /// The first header other than the one here that somebody signed.
    pub(crate) other: Option<(Round, Index, Digest)>,
}

impl Votes {
    /// Takes the VOTEs of what a peer sent.
    pub(super) fn hear(&mut self, committee: &Committee, node: NodeId, item: &Item) {
        let Item::Record(record) = item else { return };
        let Ok(Entry::Event(_, Event::Peer { from, body, .. })) = parse(record.clone()) else { return };
        if committee.shard_of(from) == committee.shard_of(node) {
            self.take(committee.index_of(from), &body);
        }
    }

    /// Takes the node's own VOTEs.
    pub(super) fn say(&mut self, committee: &Committee, node: NodeId, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Send { body, .. } = effect {
                self.take(committee.index_of(node), body);
            }
        }
    }

    fn take(&mut self, author: Index, body: &Bytes) {
        let Some(Incoming::Message(Message::Block(message))) = Incoming::decode(body) else { return };
        let signed = match message {
            BlockMessage::Vote(vote) => (vote.height, vote.header, vec![(author, vote.signature)]),
            BlockMessage::Certified { height, header, certificate } => (height, header, certificate.0),
        };
        let (height, header, signatures) = signed;
        if self.is_beyond(height) {
            let known = self.open.entry((height, header)).or_default();
            for (signer, signature) in signatures {
                known.entry(signer).or_insert(signature);
            }
        }
    }

    /// Judges the VOTEs for blocks that were executed, if there are many or all are there.
    pub(super) fn judge(
        &mut self,
        committee: &Committee,
        suite: &RealSuite,
        blocks: &BTreeMap<Round, Block>,
    ) {
        for ((height, header), signatures) in self.open.iter().rev() {
            let Some(block) = blocks.get(height) else { continue };
            let statement = Statement::Block { height: *height, digest: *header };
            let valid = |(signer, signature): (&Index, &Signature)| {
                let is_valid =
                    usize::from(signer.0) < committee.n() && suite.verify(*signer, &statement, signature);
                is_valid.then_some(*signer)
            };
            if *header != block.report.header {
                let liar = signatures.iter().find_map(valid);
                self.other = self.other.or(liar.map(|liar| (*height, liar, *header)));
            } else if signatures.len() >= committee.quorum() && self.is_beyond(*height) {
                let signers: Vec<Index> = signatures.iter().filter_map(valid).collect();
                if signers.len() >= committee.quorum() {
                    self.certified = Some((*height, signers));
                }
            }
        }
        if let Some((certified, _)) = self.certified {
            self.open.retain(|(height, _), _| *height > certified);
        }
        while self.open.len() > HEIGHTS_MAX {
            self.open.pop_first();
        }
    }

    /// Whether so many wait that they should be judged.
    pub(super) fn are_many(&self) -> bool {
        self.open.len() >= MANY && self.open.len().is_multiple_of(MANY)
    }

    fn is_beyond(&self, height: Round) -> bool {
        self.certified.as_ref().is_none_or(|(certified, _)| height > *certified)
    }
}
