//! A record of a journal as bytes.
//!
//! ```text
//! record    frame 17 | digest 32, if the body is covered by it | head | body
//! frame     head length u32 | body length u32 | cover u8 | checksum of these u32 | checksum of the record u32
//! ```
//!
//! Checksums are CRC-32C. That of the record is over digest and head, and over the body unless its SHA-256 is known:
//! then the digest stands in the record, a writer spends nothing on the body, and a reader hashes it. Lengths have a
//! checksum of their own, so one that was damaged is not taken for a record that was not finished.

use sha2::{Digest as _, Sha256};

use crate::bytes::Bytes;
use crate::crc32c;
use crate::ids::Digest;

/// Bytes of a record besides digest, head and body.
pub(crate) const FRAME_BYTES: usize = LENGTHS_BYTES + 4 + 4;
const LENGTHS_BYTES: usize = 4 + 4 + 1;
const DIGEST_BYTES: usize = 32;
const COVERED_BY_CHECKSUM: u8 = 0;
const COVERED_BY_DIGEST: u8 = 1;

/// A record, or what is to become one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// What it is about; a few hundred bytes at most.
    pub head: Vec<u8>,
    /// SHA-256 of the body, where it is known already.
    pub digest: Option<Digest>,
    /// The payload, which is not copied until it is written.
    pub body: Bytes,
}

impl Record {
    /// Bytes that it takes in a segment.
    pub fn file_bytes(&self) -> usize {
        FRAME_BYTES + self.digest.map_or(0, |_| DIGEST_BYTES) + self.head.len() + self.body.len()
    }

    /// Appends it as it stands in a segment.
    ///
    /// # Panics
    /// If head or body are longer than 4 GiB: frames are bounded far below.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        self.write_front_to(out);
        out.extend_from_slice(&self.body);
    }

    /// Appends what stands before its body.
    ///
    /// # Panics
    /// See [`Record::write_to`].
    pub fn write_front_to(&self, out: &mut Vec<u8>) {
        let length =
            |bytes: &[u8]| u32::try_from(bytes.len()).expect("frames are far below 4 GiB").to_le_bytes();
        out.extend(length(&self.head));
        out.extend(length(&self.body));
        out.push(if self.digest.is_some() { COVERED_BY_DIGEST } else { COVERED_BY_CHECKSUM });
        let lengths: [u8; LENGTHS_BYTES] = *out.last_chunk().expect("they were just written");
        out.extend(crc32c::extend(0, &lengths).to_le_bytes());
        out.extend(self.checksum().to_le_bytes());
        out.extend(self.digest.iter().flat_map(|digest| digest.0));
        out.extend_from_slice(&self.head);
    }

    fn checksum(&self) -> u32 {
        match &self.digest {
            Some(digest) => crc32c::extend(crc32c::extend(0, &digest.0), &self.head),
            None => crc32c::extend(crc32c::extend(0, &self.head), &self.body),
        }
    }
}

/// A record, as its place in a segment shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// The first record of a segment.
    Opening(Record),
    /// Any other.
    Record(Record),
}

/// The part of a record that says how long the rest is.
pub(crate) struct Frame {
    head_bytes: usize,
    body_bytes: usize,
    has_digest: bool,
    checksum: u32,
}

impl Frame {
    /// `None` if it does not fit its checksum.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Frame> {
        let number = |at: usize| bytes[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        if number(LENGTHS_BYTES)? != crc32c::extend(0, &bytes[..LENGTHS_BYTES]) {
            return None;
        }
        let has_digest = match bytes[LENGTHS_BYTES - 1] {
            COVERED_BY_CHECKSUM => false,
            COVERED_BY_DIGEST => true,
            _ => return None,
        };
        let (head_bytes, body_bytes) = (number(0)? as usize, number(4)? as usize);
        Some(Frame { head_bytes, body_bytes, has_digest, checksum: number(LENGTHS_BYTES + 4)? })
    }

    fn digest_bytes(&self) -> usize {
        if self.has_digest { DIGEST_BYTES } else { 0 }
    }

    /// Lengths of digest, head and body.
    pub(crate) fn parts(&self) -> (usize, usize, usize) {
        (self.digest_bytes(), self.head_bytes, self.body_bytes)
    }

    pub(crate) fn rest_bytes(&self) -> usize {
        self.digest_bytes() + self.head_bytes + self.body_bytes
    }

    /// The record with these bytes after its frame; `None` if they do not fit.
    pub(crate) fn record(&self, rest: Bytes) -> Option<Record> {
        let (head, body) = (self.digest_bytes(), self.digest_bytes() + self.head_bytes);
        let digest = rest.first_chunk().filter(|_| self.has_digest).map(|digest| Digest(*digest));
        let record = Record { digest, head: rest[head..body].to_vec(), body: rest.slice(body..rest.len()) };
        let is_body_whole =
            || digest.is_none_or(|digest| digest.0 == <[u8; 32]>::from(Sha256::digest(&record.body)));
        (record.checksum() == self.checksum && is_body_whole()).then_some(record)
    }
}
