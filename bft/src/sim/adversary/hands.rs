//! The means of the adversary in one shard: the keys of its members there, all messages that it reads, and sending, to
//! other shards too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wire::committee::Committee;
use wire::envelope::Class;
use wire::ids::{Index, NodeId, ShardId, Signature};

use crate::crypto::cert::{Certificate, CertificateCache};
use crate::crypto::suite::{Statement, Suite};
use crate::lane::entry::Entry;
use crate::message::Message;
use crate::prng::Prng;
use crate::proposal::{ProposalView, Rules};
use crate::sim::adversary::known::Known;
use crate::sim::parcel::{Frame, Parcel};

/// See the module.
#[derive(Debug)]
pub(in crate::sim) struct Hands {
    pub(in crate::sim) committee: Arc<Committee>,
    /// The shard of its members.
    pub(in crate::sim) shard: ShardId,
    /// Static validity of entries there.
    pub(super) rules: Arc<Rules>,
    pub(super) prng: Prng,
    /// Suites of the members it owns, and of no others of this shard.
    suites: BTreeMap<NodeId, Arc<dyn Suite>>,
    /// Suites of members of a shard that does not run, all of which it owns.
    pub(super) foreign: Vec<Arc<dyn Suite>>,
    /// The messages that it has read.
    pub(super) known: Known,
    out: Vec<Frame>,
    proofs: Vec<String>,
}

impl Hands {
    pub(in crate::sim) fn new(
        rules: Arc<Rules>,
        prng: Prng,
        suites: BTreeMap<NodeId, Arc<dyn Suite>>,
        foreign: Vec<Arc<dyn Suite>>,
    ) -> Hands {
        let (committee, shard) = (rules.committee().clone(), rules.shard());
        let known = Known::new(&committee);
        Hands { committee, shard, rules, prng, suites, foreign, known, out: Vec::new(), proofs: Vec::new() }
    }

    /// Reads a frame of its shard under way.
    pub(in crate::sim) fn see(&mut self, frame: &Frame) {
        self.known.see(&self.committee, frame);
    }

    /// The frames it has sent since the last call, and the proofs it has found that a guarantee is broken.
    pub(in crate::sim) fn take(&mut self) -> (Vec<Frame>, Vec<String>) {
        (std::mem::take(&mut self.out), std::mem::take(&mut self.proofs))
    }

    /// The frames it has sent since they were last taken.
    pub(in crate::sim) fn frames(&self) -> &[Frame] {
        &self.out
    }

    /// Takes them.
    pub(in crate::sim) fn take_frames(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.out)
    }

    /// What an entry holds, if it is valid.
    pub(in crate::sim) fn validated<'a>(&self, entry: &'a Entry) -> Option<ProposalView<'a>> {
        self.rules.validate(entry.payload()).ok()
    }

    /// Whether it owns a node.
    pub(super) fn owns(&self, node: NodeId) -> bool {
        self.suites.contains_key(&node)
    }

    /// Its members, ascending.
    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.suites.keys().copied().collect()
    }

    /// The other members of its shard, ascending.
    pub(super) fn honest(&self) -> Vec<NodeId> {
        self.committee.members(self.shard).filter(|node| !self.owns(*node)).collect()
    }

    /// All nodes, ascending.
    pub(super) fn everybody(&self) -> Vec<NodeId> {
        self.committee.nodes().collect()
    }

    /// All nodes of other shards, ascending.
    pub(super) fn strangers(&self) -> Vec<NodeId> {
        self.committee.nodes().filter(|node| self.committee.shard_of(*node) != self.shard).collect()
    }

    pub(super) fn index(&self, node: NodeId) -> Index {
        self.committee.index_of(node)
    }

    pub(super) fn suite(&self, node: NodeId) -> &dyn Suite {
        &*self.suites[&node]
    }

    /// Sends a frame as it is.
    pub(super) fn pass(&mut self, frame: Frame) {
        self.out.push(frame);
    }

    /// Sends a parcel in the name of a member it owns.
    pub(super) fn send(&mut self, from: NodeId, to: NodeId, parcel: Parcel) {
        assert!(self.suites.contains_key(&from), "channels are authenticated: it sends in no other name");
        if from != to {
            self.out.push(Frame { from, to, class: Class::Keep, parcel });
        }
    }

    /// Sends a message to all honest members of its shard.
    pub(super) fn send_to_honest(&mut self, from: NodeId, message: &Message) {
        let parcel = Parcel::of(message);
        for to in self.honest() {
            self.send(from, to, parcel.clone());
        }
    }

    /// Signatures of all members it owns.
    pub(super) fn signatures(&self, statement: &Statement) -> BTreeMap<Index, Signature> {
        self.suites.iter().map(|(node, suite)| (self.index(*node), suite.sign(statement))).collect()
    }

    /// A certificate of signatures that others gave and those of its own members, if they make N−f.
    pub(super) fn certificate(
        &self,
        statement: &Statement,
        given: &BTreeMap<Index, Signature>,
    ) -> Option<Certificate> {
        let mut all = self.signatures(statement);
        all.extend(given.iter().map(|(signer, signature)| (*signer, *signature)));
        (all.len() >= self.committee.quorum())
            .then(|| Certificate(all.into_iter().take(self.committee.quorum()).collect()))
    }

    /// Whether a member signed a statement.
    pub(super) fn is_signed(&self, signer: Index, statement: &Statement, signature: &Signature) -> bool {
        self.suites.values().next().is_some_and(|suite| suite.verify(signer, statement, signature))
    }

    /// Whether a certificate proves a statement.
    pub(super) fn is_certified(&self, statement: &Statement, certificate: &Certificate) -> bool {
        let verify = |suite: &Arc<dyn Suite>| {
            CertificateCache::default().verify(&self.committee, &**suite, statement, certificate)
        };
        self.suites.values().next().is_some_and(verify)
    }

    /// Reports a proof that cannot exist if the protocol is safe.
    pub(super) fn prove(&mut self, what: String) {
        self.proofs.push(what);
    }

    /// About half of the members; the same for the same `salt`.
    pub(super) fn half(&self, salt: u64) -> BTreeSet<NodeId> {
        let mut prng = Prng::new(salt ^ 0x4841_4C46);
        self.committee.members(self.shard).filter(|_| prng.chance(1, 2)).collect()
    }
}
