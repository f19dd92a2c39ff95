//! Errors in files and flags that people write. Each names the place, the text found and the text expected.

use std::fmt;
use std::io::{self, Write};

/// A text that does not parse.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// The file or flag, as it was given.
    pub place: String,
    /// The line, from 1, if the place has lines.
    pub line: Option<usize>,
    /// The text found.
    pub value: String,
    /// A description of the text expected.
    pub expected: String,
}

/// Prints a line on standard error. If that fails, on a full disk for example, the process goes on.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints a text and the end of its line on standard output, as far as its reader wants it.
pub fn print(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Lines of at most so many columns, moved in, that break only between these pieces. A longer piece stands on a line of
/// its own.
pub fn lines(pieces: impl IntoIterator<Item = String>, indent: usize, columns: usize) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for piece in pieces {
        if !line.is_empty() && indent + line.chars().count() + 1 + piece.chars().count() > columns {
            lines += &format!("{:indent$}{line}\n", "");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += &piece;
    }
    lines + &format!("{:indent$}{line}\n", "")
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
        // A value may be a whole file; its beginning is enough to find it.
        let shown: String = self.value.chars().take(80).flat_map(char::escape_debug).collect();
        write!(f, ": found '{shown}', expected {}", self.expected)
    }
}

impl std::error::Error for ParseError {}
