//! Keys, from the bytes that a terminal sends for them.

use std::io::Read;

/// What a key asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Key {
    /// The node above.
    Up,
    /// The node below.
    Down,
    /// The node of this number.
    Digit(u8),
    /// Pause the node, or let it go on.
    Pause,
    /// Kill its three processes.
    Kill,
    /// Start it from its journal.
    Restart,
    /// Cut its links, or heal them.
    Cut,
}

/// Bytes of a key that is not complete yet.
#[derive(Default)]
pub(super) struct Keys(Vec<u8>);

/// More than a hand types between two looks.
const BYTES_MAX: usize = 64;

impl Keys {
    /// The keys pressed since this was last called; the terminal must not wait for them.
    pub(super) fn read(&mut self, mut terminal: impl Read) -> Vec<Key> {
        let mut bytes = [0; BYTES_MAX];
        // A terminal that cannot be read has no keys.
        let count = terminal.read(&mut bytes).unwrap_or(0);
        self.parse(&bytes[..count])
    }

    fn parse(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.0.extend_from_slice(bytes);
        let mut keys = Vec::new();
        let mut rest = &self.0[..];
        while let [first, after @ ..] = rest {
            rest = match (first, after) {
                (0x1B, []) | (0x1B, [b'[' | b'O']) => break,
                (0x1B, [b'[' | b'O', code, after @ ..]) => {
                    keys.extend(match code {
                        b'A' => Some(Key::Up),
                        b'B' => Some(Key::Down),
                        _ => None,
                    });
                    after
                }
                (byte, after) => {
                    keys.extend(match byte {
                        b'0'..=b'9' => Some(Key::Digit(byte - b'0')),
                        b'p' => Some(Key::Pause),
                        b'k' => Some(Key::Kill),
                        b'r' => Some(Key::Restart),
                        b'c' => Some(Key::Cut),
                        _ => None,
                    });
                    after
                }
            };
        }
        self.0 = rest.to_vec();
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_wherever_their_bytes_are_divided() {
        let bytes = b"p\x1B[A3\x1BOBx\x1B[Ckrc";
        let expected = [Key::Pause, Key::Up, Key::Digit(3), Key::Down, Key::Kill, Key::Restart, Key::Cut];
        for at in 0..=bytes.len() {
            let mut keys = Keys::default();
            let (first, second) = bytes.split_at(at);
            let mut read = keys.read(first);
            read.extend(keys.read(second));
            assert_eq!(read, expected, "divided at {at}");
            assert!(keys.0.is_empty());
        }
    }
}
