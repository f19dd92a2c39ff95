//! Errors of text that people write: files and flags. Each says where, what stood there and what was expected.

use std::fmt;
use std::io::{self, Write};

/// Text that could not be understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// The file or flag, as the person named it.
    pub place: String,
    /// The line, from 1, if the place has lines.
    pub line: Option<usize>,
    /// What stood there.
    pub value: String,
    /// What was expected instead.
    pub expected: String,
}

/// Tells whoever started the process, if anybody can be told: a standard error that can't be written, to a full disk
/// say, is no reason to abort.
pub fn complain(text: &str) {
    // There is nobody left to tell of a failure.
    let _ = writeln!(io::stderr(), "{text}");
}

impl ParseError {
    /// An error at a line (from 1) of a file.
    pub fn at_line(place: &str, line: usize, value: &str, expected: impl Into<String>) -> ParseError {
        ParseError { place: place.into(), line: Some(line), value: value.into(), expected: expected.into() }
    }

    /// An error of a whole file or of a flag.
    pub fn of(place: &str, value: &str, expected: impl Into<String>) -> ParseError {
        ParseError { place: place.into(), line: None, value: value.into(), expected: expected.into() }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        // A value may be a whole file's worth of garbage; its beginning is enough to find it.
        let shown: String = self.value.chars().take(80).flat_map(char::escape_debug).collect();
        write!(f, ": found '{shown}', expected {}", self.expected)
    }
}

impl std::error::Error for ParseError {}
