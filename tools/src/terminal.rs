//! Standard output of commands, and what the terminal is like.
//!
//! A reader that went away (`tools local … | head`) must not end a run whose processes are still to be wound up, so
//! what cannot be written is dropped; `println!` would panic.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::{Command, Stdio};

/// Writes a line to standard output at once.
pub(crate) fn print(line: impl AsRef<str>) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{}", line.as_ref()).and_then(|()| stdout.flush());
}

/// Columns of a text where their number is unknown.
const COLUMNS: usize = 80;
/// Longer lines are hard to read, however wide the terminal is.
const COLUMNS_MAX: usize = 100;

/// How wide a text on standard output should be.
pub(crate) fn columns() -> usize {
    if !is_terminal() {
        return COLUMNS;
    }
    terminal_columns().map_or(COLUMNS, |columns| columns.min(COLUMNS_MAX))
}

/// Whether standard output is a terminal, so that a person reads it.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// The width of the terminal that this process belongs to, as `stty` prints it; std does not know it.
fn terminal_columns() -> Option<usize> {
    let terminal = File::open("/dev/tty").ok()?;
    let output = Command::new("stty").arg("size").stdin(terminal).stderr(Stdio::null()).output().ok()?;
    parse_columns(&String::from_utf8_lossy(&output.stdout))
}

/// The second of `ROWS COLUMNS`; a terminal that does not know them has 0.
fn parse_columns(size: &str) -> Option<usize> {
    size.split_whitespace().nth(1)?.parse().ok().filter(|columns| *columns > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_width_is_the_second_number_of_the_size() {
        for (size, columns) in [("24 132\n", Some(132)), ("0 0\n", None), ("", None), ("24 x", None)] {
            assert_eq!(parse_columns(size), columns, "{size}");
        }
    }
}
