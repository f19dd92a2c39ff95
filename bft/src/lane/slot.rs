//! One position of a lane: the owner's first entry, our signature, certificates, the decided entry, one body.

use serde::{Deserialize, Serialize};
use wire::ids::{Digest, Signature};

use super::entry::Entry;
use crate::crypto::cert::Certificate;

/// The owner's first SEND for a position.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) digest: Digest,
    pub(super) parent: Digest,
    pub(super) bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) enum Echo {
    #[default]
    NotGiven,
    Given(Digest, Signature),
    /// The owner's first entry breaks static validity.
    Refused,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) first: Option<Header>,
    pub(super) echo: Echo,
    /// The owner's FINAL for the entry that we echoed, not verified.
    pub(super) claim: Option<Certificate>,
    /// The certificate of the entry here, verified.
    pub(super) certificate: Option<(Digest, Certificate)>,
    /// The entry here that a verified certificate further up covers.
    pub(super) covered: Option<Digest>,
    /// The entry that a decided cut implies here.
    pub(super) settled: Option<Digest>,
    pub(super) body: Option<Entry>,
}

impl Slot {
    /// The entry that is known to be certified, by its own certificate or by one further up.
    pub(super) fn certified(&self) -> Option<Digest> {
        self.certificate.as_ref().map(|(digest, _)| *digest).or(self.covered)
    }

    pub(super) fn echoed(&self) -> Option<Digest> {
        match self.echo {
            Echo::Given(digest, _) => Some(digest),
            Echo::NotGiven | Echo::Refused => None,
        }
    }

    /// The digest whose body should be kept.
    pub(super) fn relevant(&self) -> Option<Digest> {
        let claimed = || self.first.filter(|_| self.echo != Echo::Refused).map(|header| header.digest);
        self.settled.or_else(|| self.certified()).or_else(claimed)
    }

    pub(super) fn holds(&self, digest: Digest) -> bool {
        self.body.as_ref().is_some_and(|entry| entry.digest == digest)
    }

    /// Drops a body that another digest has superseded; returns its bytes.
    pub(super) fn drop_superseded(&mut self) -> u64 {
        let relevant = self.relevant();
        let superseded = self.body.take_if(|entry| Some(entry.digest) != relevant);
        superseded.map_or(0, |entry| entry.body.len() as u64)
    }

    /// Whether the decided cut's entry at this position is known and its body is here.
    pub(super) fn is_settled_and_here(&self) -> bool {
        self.settled.is_some_and(|digest| self.holds(digest))
    }

    /// The length of the entry `digest` of this position, if its header is known.
    pub(super) fn bytes_of(&self, digest: Digest) -> Option<u64> {
        self.first.filter(|header| header.digest == digest).map(|header| header.bytes)
    }

    /// The parent of the entry `digest` of this position, if its header or body is known.
    pub(super) fn parent_of(&self, digest: Digest) -> Option<Digest> {
        let of_body = self.body.as_ref().filter(|entry| entry.digest == digest).map(|entry| entry.parent);
        let of_header = || self.first.filter(|header| header.digest == digest).map(|header| header.parent);
        of_body.or_else(of_header)
    }

    pub(super) fn body_bytes(&self) -> u64 {
        self.body.as_ref().map_or(0, |entry| entry.body.len() as u64)
    }

    /// Whether its body may be evicted: no signature of ours promises that we hold it.
    pub(super) fn is_evictable(&self) -> bool {
        self.echoed().is_none() && self.certified().is_none()
    }
}
