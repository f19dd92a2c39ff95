//! One lane entry and its bytes.
//!
//! `tag ‖ owner u16 ‖ seq u64 ‖ parent 32 bytes ‖ payload`, little endian and of fixed width, is the whole frame body:
//! the owner's SEND and any member's answer to a fetch. The entry's digest is SHA-256 of exactly these bytes, so it is
//! the frame's digest, and a proposal is hashed once by its owner and once by each receiver's link. Each entry has one
//! encoding and each encoding one entry: the digest covers everything, parent included, so it names a whole lane
//! prefix.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wire::bytes::Bytes;
use wire::ids::{Digest, Index, Seq};

use crate::cut::Tip;

/// First byte of an entry; other messages of the core start with another byte.
pub const ENTRY_TAG: u8 = 0;

/// Bytes in front of the payload.
pub const HEADER_BYTES: usize = PARENT_AT + 32;
const OWNER_AT: usize = 1;
const SEQ_AT: usize = OWNER_AT + 2;
const PARENT_AT: usize = SEQ_AT + 8;

/// Entries shorter than this are copied to a buffer of their own when they are kept, since they may be slices of a
/// large buffer of many frames. Longer ones arrived in their own buffer.
const DETACH_BELOW_BYTES: usize = 64 << 10;

/// One entry of one lane. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The lane's owner.
    pub owner: Index,
    /// Its position in the lane, from 1.
    pub seq: Seq,
    /// Digest of the entry before it; zero for the first.
    pub parent: Digest,
    /// SHA-256 of `body`.
    pub digest: Digest,
    /// Header and payload, as they go over the wire.
    pub body: Bytes,
}

impl Entry {
    /// Parses `body` as an entry; `None` if it does not have the form of one. `digest` is the body's.
    pub fn parse(digest: Digest, body: Bytes) -> Option<Entry> {
        if body.len() < HEADER_BYTES || body[0] != ENTRY_TAG {
            return None;
        }
        let owner = u16::from_le_bytes(body[OWNER_AT..SEQ_AT].try_into().ok()?);
        let seq = u64::from_le_bytes(body[SEQ_AT..PARENT_AT].try_into().ok()?);
        let parent = Digest(body[PARENT_AT..HEADER_BYTES].try_into().ok()?);
        Some(Entry { owner: Index(owner), seq: Seq(seq), parent, digest, body })
    }

    /// Completes the entry after `parent` from a buffer of [`buffer`] to which the caller appended the payload; hashes
    /// it.
    ///
    /// # Panics
    /// If the buffer is not one of [`buffer`].
    pub fn seal(owner: Index, parent: Tip, mut buffer: Vec<u8>) -> Entry {
        assert!(buffer.len() >= HEADER_BYTES, "the buffer has room for the header");
        let seq = parent.seq.next();
        buffer[0] = ENTRY_TAG;
        buffer[OWNER_AT..SEQ_AT].copy_from_slice(&owner.0.to_le_bytes());
        buffer[SEQ_AT..PARENT_AT].copy_from_slice(&seq.0.to_le_bytes());
        buffer[PARENT_AT..HEADER_BYTES].copy_from_slice(&parent.digest.0);
        let digest = Digest(Sha256::digest(&buffer).into());
        Entry { owner, seq, parent: parent.digest, digest, body: Bytes::from(buffer) }
    }

    /// The owner's proposal.
    pub fn payload(&self) -> &[u8] {
        &self.body[HEADER_BYTES..]
    }

    /// The payload, sharing the entry's buffer.
    pub fn payload_bytes(&self) -> Bytes {
        self.body.slice(HEADER_BYTES..self.body.len())
    }

    /// Its position and digest.
    pub fn tip(&self) -> Tip {
        Tip { seq: self.seq, digest: self.digest }
    }

    /// The same entry, copied if it would otherwise keep a much longer buffer alive.
    pub(super) fn kept(mut self) -> Entry {
        if self.body.len() < DETACH_BELOW_BYTES {
            self.body = self.body.detached();
        }
        self
    }
}

/// A buffer to which a payload of about `payload_bytes` can be appended without copying it again: room for the header
/// is reserved in front.
pub fn buffer(payload_bytes: usize) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(HEADER_BYTES + payload_bytes);
    buffer.resize(HEADER_BYTES, 0);
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_entry_parses_to_itself() {
        let parent = Tip { seq: Seq(0x0102), digest: Digest([9; 32]) };
        let mut buffer = buffer(3);
        buffer.extend([7, 8, 9]);
        let entry = Entry::seal(Index(0x0304), parent, buffer);
        assert_eq!(entry.body[..11], [0, 4, 3, 3, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!((entry.payload(), &entry.payload_bytes()[..]), (&[7, 8, 9][..], &[7, 8, 9][..]));
        assert_eq!(entry.digest.0, <[u8; 32]>::from(Sha256::digest(&entry.body[..])));
        assert_eq!(Entry::parse(entry.digest, entry.body.clone()), Some(entry.clone()));
        assert_eq!(entry.clone().kept(), entry);
    }

    #[test]
    fn bytes_of_another_form_are_refused() {
        let entry = Entry::seal(Index(0), Tip::default(), buffer(0));
        let parse = |bytes: &[u8]| Entry::parse(Digest::default(), Bytes::from(bytes.to_vec()));
        assert!(parse(&entry.body).is_some(), "an empty payload is legal");
        assert!(parse(&entry.body[..HEADER_BYTES - 1]).is_none());
        assert!(parse(&[]).is_none());
        let mut other = entry.body.to_vec();
        other[0] = 1;
        assert!(parse(&other).is_none());
    }
}
