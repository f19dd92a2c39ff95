//! The bodies of entries that a replay has come across: those that a core has executed stand in the journal alone, and
//! who looks at a block needs them.

use std::collections::{BTreeMap, VecDeque};

use wire::bytes::Bytes;
use wire::ids::Digest;

/// A block is executed some seconds after its entries have come: the bytes of a full lane of a large committee.
const BYTES_MAX: usize = 256 << 20;

/// The last bodies, by digest; as many as fit 256 MiB.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    by_digest: BTreeMap<Digest, Bytes>,
    order: VecDeque<Digest>,
    bytes: usize,
}

impl Bodies {
    pub(super) fn add(&mut self, digest: Digest, body: Bytes) {
        let bytes = body.len();
        if self.by_digest.insert(digest, body).is_none() {
            self.bytes += bytes;
            self.order.push_back(digest);
        }
        while self.bytes > BYTES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= self.by_digest.remove(&oldest).map_or(0, |body| body.len());
        }
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<Bytes> {
        self.by_digest.get(digest).cloned()
    }
}
