//! Shared, immutable bytes: a slice of a buffer with several owners.
//!
//! A proposal is read off a socket once and then passed on as `Bytes`, without copies. Slicing and cloning cost an
//! atomic increment.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

/// A shared slice. Equality and order are those of the bytes.
#[derive(Clone)]
pub struct Bytes {
    buffer: Arc<Vec<u8>>,
    start: usize,
    end: usize,
}

impl Bytes {
    /// The slice `range` of these bytes, sharing the buffer.
    ///
    /// # Panics
    /// If `range` ends past the end: callers slice ranges that they have parsed.
    pub fn slice(&self, range: Range<usize>) -> Bytes {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "slice {range:?} of {} bytes",
            self.len()
        );
        Bytes { buffer: self.buffer.clone(), start: self.start + range.start, end: self.start + range.end }
    }

    /// A copy in a buffer of its own, so that a short slice does not keep a long buffer alive.
    pub fn detached(&self) -> Bytes {
        Bytes::from(self.to_vec())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(buffer: Vec<u8>) -> Bytes {
        let end = buffer.len();
        Bytes { buffer: Arc::new(buffer), start: 0, end }
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Bytes) -> bool {
        self[..] == other[..]
    }
}

impl Eq for Bytes {}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct Copied;
        impl Visitor<'_> for Copied {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes::from(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Copied)
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({} bytes)", self.len())
    }
}
