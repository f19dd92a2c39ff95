//! The one codec: bincode with fixed-width little-endian integers, a bound, and no trailing bytes.
//!
//! Fixed width, because a varint has several encodings of one value. With fixed width a value that is signed or hashed
//! has exactly one.
//!
//! Large bodies never pass through serde. A message with a body is encoded as a small header, and the body is the rest
//! of the buffer ([`decode_with_tail`]).

use std::io::{self, Write};

use bincode::config;
use bincode::error::EncodeError;
use serde::{Deserialize, Serialize};

use crate::limits::FRAME_BYTES_MAX;

/// Why bytes were refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CodecError {
    /// They do not decode as the expected type.
    Malformed(String),
    /// Bytes follow the end of the value.
    TrailingBytes(usize),
}

impl std::fmt::Display for CodecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CodecError::Malformed(what) => write!(f, "malformed: {what}"),
            CodecError::TrailingBytes(count) => write!(f, "{count} bytes follow the value's end"),
        }
    }
}

impl std::error::Error for CodecError {}

type Configuration =
    config::Configuration<config::LittleEndian, config::Fixint, config::Limit<{ FRAME_BYTES_MAX as usize }>>;

fn configuration() -> Configuration {
    config::standard()
        .with_little_endian()
        .with_fixed_int_encoding()
        .with_limit::<{ FRAME_BYTES_MAX as usize }>()
}

/// The encoding of `value`.
///
/// # Panics
/// If the encoding is longer than a frame: our own messages are bounded below that.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut buffer = Vec::new();
    encode_into(value, &mut buffer);
    buffer
}

/// Appends the encoding of `value` to `buffer`.
///
/// # Panics
/// As [`encode`].
pub fn encode_into<T: Serialize>(value: &T, buffer: &mut Vec<u8>) {
    encode_to(value, buffer).expect("a vector takes all bytes");
}

/// Writes the encoding of `value`, which may be longer than a frame: see [`decode_own_with_tail`].
///
/// # Errors
/// Those of the writer.
///
/// # Panics
/// If the type has no encoding: our own types all have one.
pub fn encode_to<T: Serialize>(value: &T, writer: &mut impl Write) -> io::Result<()> {
    match bincode::serde::encode_into_std_write(value, writer, configuration()) {
        Ok(_) => Ok(()),
        Err(EncodeError::Io { inner, .. }) => Err(inner),
        Err(error) => panic!("our own types all have an encoding: {error}"),
    }
}

/// The value that exactly `bytes` encode.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    let (value, tail) = decode_with_tail(bytes)?;
    if tail.is_empty() { Ok(value) } else { Err(CodecError::TrailingBytes(tail.len())) }
}

/// The value at the head of `bytes`, and the rest.
pub fn decode_with_tail<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), CodecError> {
    let (value, used) = bincode::serde::borrow_decode_from_slice(bytes, configuration())
        .map_err(|error| CodecError::Malformed(error.to_string()))?;
    Ok((value, &bytes[used..]))
}

/// The same for what we wrote ourselves and have verified by a digest, such as an image of the core: its length has no
/// bound.
pub fn decode_own_with_tail<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), CodecError> {
    let unbounded = configuration().with_no_limit();
    let (value, used) = bincode::serde::borrow_decode_from_slice(bytes, unbounded)
        .map_err(|error| CodecError::Malformed(error.to_string()))?;
    Ok((value, &bytes[used..]))
}

/// For `#[serde(with = "…")]` on 32 bytes: they are encoded as four words, to the same bytes as one by one, in an
/// eighth of the steps. Snapshots and messages are full of ids.
pub mod bytes32 {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        words.serialize(serializer)
    }

    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let words = <[u64; 4]>::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_width_and_trailing_bytes_are_refused() {
        let bytes = encode(&(1u16, 7u64));
        assert_eq!(bytes, [1, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(decode::<(u16, u64)>(&bytes), Ok((1, 7)));
        assert_eq!(decode::<u16>(&bytes), Err(CodecError::TrailingBytes(8)));
        assert!(matches!(decode::<(u64, u64)>(&bytes), Err(CodecError::Malformed(_))));
        assert_eq!(decode_with_tail::<u16>(&bytes).unwrap().1, &bytes[2..]);
    }

    #[test]
    fn a_false_length_allocates_nothing() {
        let mut bytes = encode(&u64::MAX);
        bytes.extend([0; 8]);
        assert!(matches!(decode::<Vec<u64>>(&bytes), Err(CodecError::Malformed(_))));
        let mut bytes = encode(&(1u64 << 40));
        bytes.extend([0; 8]);
        assert!(matches!(decode::<Vec<u64>>(&bytes), Err(CodecError::Malformed(_))));
    }

    #[test]
    fn words_encode_as_bytes_do() {
        #[derive(PartialEq, Debug, Serialize, Deserialize)]
        struct Words(#[serde(with = "bytes32")] [u8; 32]);
        let bytes: [u8; 32] = std::array::from_fn(|at| at as u8 + 200);
        assert_eq!(encode(&Words(bytes)), bytes);
        assert_eq!(decode::<Words>(&bytes), Ok(Words(bytes)));
        assert!(decode::<Words>(&bytes[..31]).is_err());
    }
}
