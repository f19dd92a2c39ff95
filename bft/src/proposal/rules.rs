//! The rules of a valid payload.

use std::sync::Arc;

use wire::committee::Committee;
use wire::ids::{PartNumber, ShardId, TxId};
use wire::limits::{PARTS_AHEAD_MAX, REJECTS_PER_MESSAGE_MAX};

use crate::crypto::cert::CertificateCache;
use crate::crypto::suite::{Statement, Suite};
use crate::member::Member;
use crate::mutant::{Mutant, in_force};
use crate::part::PartRef;
use crate::proposal::{ID_BYTES, Invalid, Items, ProposalView, import_bytes, sections};
use crate::transaction;

/// Static validity of payloads in one shard: made once, shared behind an `Arc`, without state.
#[derive(Debug)]
pub struct Rules {
    committee: Arc<Committee>,
    shard: ShardId,
    suite: Arc<dyn Suite>,
}

impl Rules {
    /// The rules of a member's shard; the same for each of its members.
    pub fn new(member: &Member) -> Rules {
        let Member { committee, suite, shard, .. } = member.clone();
        Rules { committee, shard, suite }
    }

    /// The committee.
    pub fn committee(&self) -> &Arc<Committee> {
        &self.committee
    }

    /// The shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The view of a payload that is valid, every import and transaction of it included. \[safety]
    ///
    /// `verified` remembers certificates of imports, which a member checks at ECHO and again at execution. No answer
    /// depends on it.
    pub fn validate_with<'a>(
        &self,
        payload: &'a [u8],
        verified: &mut CertificateCache,
    ) -> Result<ProposalView<'a>, Invalid> {
        if payload.len() as u64 > self.committee.protocol().proposal_bytes_max {
            return Err(Invalid::TooLarge);
        }
        let view = sections(payload, import_bytes(self.committee.quorum()))?;
        self.check_cancels(&view)?;
        self.check_imports(&view)?;
        self.check_certificates(&view, verified)?;
        let mut items = Items { rest: view.items };
        for index in 0..view.count {
            let bytes = items.next().ok_or(Invalid::List)?;
            transaction::validate(bytes, &self.committee)
                .map_err(|rule| Invalid::Transaction(index, rule))?;
        }
        if items.rest.is_empty() { Ok(view) } else { Err(Invalid::List) }
    }

    /// The same for a single look, which remembers nothing.
    pub fn validate<'a>(&self, payload: &'a [u8]) -> Result<ProposalView<'a>, Invalid> {
        self.validate_with(payload, &mut CertificateCache::default())
    }

    /// The parts that a payload imports, if its imports are well-formed. Their certificates are not verified: the
    /// payload is that of a certified entry, so honest members have verified them.
    pub fn imports(&self, payload: &[u8]) -> Vec<PartRef> {
        let view = sections(payload, import_bytes(self.committee.quorum()));
        let imports = view.and_then(|view| self.check_imports(&view).map(|()| view.parts().collect()));
        imports.unwrap_or_default()
    }

    /// Most imports in one proposal: all that may be under way from each other shard.
    pub fn imports_max(&self) -> usize {
        PARTS_AHEAD_MAX as usize * (usize::from(self.committee.shards()) - 1)
    }

    fn check_cancels(&self, view: &ProposalView<'_>) -> Result<(), Invalid> {
        let ids = view.cancels();
        if !view.cancels.len().is_multiple_of(ID_BYTES) || ids.len() > REJECTS_PER_MESSAGE_MAX {
            return Err(Invalid::Cancels);
        }
        let mut previous: Option<TxId> = None;
        for id in ids {
            if previous.is_some_and(|previous| previous >= id) {
                return Err(Invalid::Cancels);
            }
            previous = Some(id);
        }
        Ok(())
    }

    fn check_imports(&self, view: &ProposalView<'_>) -> Result<(), Invalid> {
        let parts = view.parts();
        if !view.imports.len().is_multiple_of(view.import_bytes) || parts.len() > self.imports_max() {
            return Err(Invalid::Imports);
        }
        let mut previous: Option<(ShardId, PartNumber)> = None;
        for (index, part) in (0u32..).zip(parts) {
            let number = (part.source, part.number);
            if !self.may_come_from(&part) || previous.is_some_and(|previous| previous >= number) {
                return Err(Invalid::ImportOrder(index));
            }
            previous = Some(number);
        }
        Ok(())
    }

    fn check_certificates(
        &self,
        view: &ProposalView<'_>,
        verified: &mut CertificateCache,
    ) -> Result<(), Invalid> {
        for (index, import) in (0u32..).zip(view.imports()) {
            let statement = Statement::Part(import.part);
            let proved = verified.verify(&self.committee, &*self.suite, &statement, &import.certificate);
            if !proved && in_force(Mutant::ImportNeedsCertificate) {
                return Err(Invalid::ImportCertificate(index));
            }
        }
        Ok(())
    }

    fn may_come_from(&self, part: &PartRef) -> bool {
        part.source != self.shard && part.source.0 < self.committee.shards() && part.number > PartNumber(0)
    }
}
