//! The secrets of one node: the content of `keys/node-<id>.key`.
//!
//! Four lines: the kind of file, the node's id, its ed25519 signing key, its share of the threshold coin. The file is
//! created for its owner alone and refused if others may read it.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

pub use ed25519_dalek::SigningKey;

use crate::hex;
use crate::ids::NodeId;
use crate::text::ParseError;

/// The secrets of one node. `Debug` shows its id and public key only.
#[derive(Clone)]
pub struct NodeKeys {
    /// The node.
    pub id: NodeId,
    /// Its identity on links and in votes.
    pub signing: SigningKey,
    /// Its share of its shard's threshold coin: a canonical ristretto255 scalar.
    pub coin_secret: [u8; 32],
}

const FIRST_LINE: &str = "dumbo-testbed node key 1";
/// Far longer than four lines. A longer file is no key file and is not read to its end.
const FILE_BYTES_MAX: u64 = 4096;

impl NodeKeys {
    /// Reads a key file.
    ///
    /// # Security
    /// A file that its group or others may read is refused: its key may have leaked.
    pub fn load(path: &Path) -> Result<NodeKeys, ParseError> {
        let place = path.display().to_string();
        let unreadable = |error: io::Error| ParseError::of(&place, &error.to_string(), "a readable key file");
        let file = File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let expected = "a key file that only its owner may read (chmod 600)";
            return Err(ParseError::of(&place, &format!("mode {mode:03o}"), expected));
        }
        let mut text = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
        NodeKeys::parse(&place, &text)
    }

    /// Writes a new key file, readable by its owner alone.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()
    }

    fn text(&self) -> String {
        let signing = hex::encode(self.signing.as_bytes());
        format!("{FIRST_LINE}\nid {}\nsigning {signing}\ncoin {}\n", self.id, hex::encode(&self.coin_secret))
    }

    fn parse(place: &str, text: &str) -> Result<NodeKeys, ParseError> {
        let mut lines = text.lines().enumerate();
        // Errors never quote the text, because it may be a secret.
        let mut field = |key: &str, expected: &str| {
            let expected = if key.is_empty() { expected.into() } else { format!("'{key}' and {expected}") };
            let (index, line) = lines
                .next()
                .ok_or_else(|| ParseError::of(place, "the end of the file", expected.as_str()))?;
            let value = line.strip_prefix(key).map(|rest| rest.strip_prefix(' ').unwrap_or(rest));
            let error = ParseError::at_line(place, index + 1, "something else", expected);
            value.map(|value| (value, error.clone())).ok_or(error)
        };
        let (first, error) = field("", FIRST_LINE)?;
        if first != FIRST_LINE {
            return Err(error);
        }
        let (id, error) = field("id", "the node's id")?;
        let id = NodeId(id.parse().map_err(|_| error)?);
        let (signing, error) = field("signing", "64 hex digits")?;
        let signing = SigningKey::from_bytes(&hex::decode_32(signing).ok_or(error)?);
        let (coin, error) = field("coin", "64 hex digits")?;
        let coin_secret = hex::decode_32(coin).ok_or(error)?;
        match lines.next() {
            None => Ok(NodeKeys { id, signing, coin_secret }),
            Some((index, _)) => {
                Err(ParseError::at_line(place, index + 1, "something else", "the end of the file"))
            }
        }
    }
}

impl fmt::Debug for NodeKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let public = hex::encode(self.signing.verifying_key().as_bytes());
        write!(f, "NodeKeys {{ id: {}, public_key: {public}, .. }}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::rand;

    fn keys() -> NodeKeys {
        NodeKeys { id: NodeId(7), signing: SigningKey::from_bytes(&[0xA5; 32]), coin_secret: [0x5A; 32] }
    }

    fn temporary_file() -> std::path::PathBuf {
        std::env::temp_dir().join(format!("wire-keys-{}-{:x}", std::process::id(), rand::u64()))
    }

    #[test]
    fn a_key_file_round_trips_and_only_its_owner_may_read_it() {
        let path = temporary_file();
        keys().save(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let loaded = NodeKeys::load(&path).unwrap();
        assert_eq!(
            (loaded.id, loaded.signing.to_bytes(), loaded.coin_secret),
            (NodeId(7), [0xA5; 32], [0x5A; 32])
        );
        let again = keys().save(&path).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists, "a key is never overwritten");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = NodeKeys::load(&path).unwrap_err().to_string();
        assert!(error.contains("found 'mode 640'"), "{error}");
        fs::remove_file(&path).unwrap();
        assert!(NodeKeys::load(&path).unwrap_err().to_string().contains("a readable key file"));
    }

    #[test]
    fn debug_and_errors_show_no_secret() {
        let shown = format!("{:?}", keys());
        assert!(shown.contains("id: 7") && !shown.contains("a5a5") && !shown.contains("5a5a"), "{shown}");
        let text = keys().text().replace("coin 5a", "coin ");
        let error = NodeKeys::parse("k", &text).unwrap_err().to_string();
        assert_eq!(error, "k, line 4: found 'something else', expected 'coin' and 64 hex digits");
    }

    #[test]
    fn other_lines_are_refused() {
        let text = keys().text();
        assert!(NodeKeys::parse("k", &text).is_ok());
        for (wrong, line) in [
            (text.replace("node key", "committee"), "line 1"),
            (text.replace("id 7", "id seven"), "line 2"),
            (text.replace("signing", "public"), "line 3"),
            (text.clone() + "more\n", "line 5"),
            (String::new(), "the end of the file"),
        ] {
            let error = NodeKeys::parse("k", &wrong).unwrap_err().to_string();
            assert!(error.contains(line), "{error}");
        }
    }
}
