//! Standard output of commands, and what the terminal is like.
//!
//! A reader that went away (`tools local … | head`) must not end a run whose processes are still to be wound up, so
//! what cannot be written is dropped; `println!` would panic.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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

/// The width of the terminal that this process belongs to.
fn terminal_columns() -> Option<usize> {
    size_of(&File::open("/dev/tty").ok()?).map(|(columns, _)| columns)
}

/// Columns and rows of a terminal, as `stty` prints them; std does not know them.
fn size_of(terminal: &File) -> Option<(usize, usize)> {
    parse_size(&stty(terminal, &["size"])?)
}

/// `ROWS COLUMNS`, turned round; a terminal that does not know them has 0.
fn parse_size(size: &str) -> Option<(usize, usize)> {
    let mut numbers = size.split_whitespace().map(|word| word.parse().ok().filter(|number| *number > 0));
    let (rows, columns) = (numbers.next()??, numbers.next()??);
    Some((columns, rows))
}

/// What `stty` prints about a terminal; `None` if it fails.
fn stty(terminal: &File, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("stty");
    command.args(arguments).stdin(terminal.try_clone().ok()?).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// How a line on a full screen looks. Colours are left to the terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Style {
    Plain,
    /// Bold.
    Strong,
    /// In reverse.
    Chosen,
}

/// A line on a full screen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    pub(crate) style: Style,
    pub(crate) text: String,
}

impl Line {
    pub(crate) fn new(style: Style, text: String) -> Line {
        Line { style, text }
    }
}

/// The terminal of this process, wholly ours: an alternate screen without a cursor, keys read at once and not shown.
/// Dropping it gives the terminal back as it was.
pub(crate) struct FullScreen {
    terminal: File,
    /// What `stty` restores.
    modes: String,
    size: (usize, usize),
    measured: Instant,
}

/// How long a size is believed: people resize windows.
const SIZE_HOLDS: Duration = Duration::from_secs(1);
/// Of a terminal that does not know it.
const SIZE: (usize, usize) = (COLUMNS, 24);

impl FullScreen {
    /// Takes the terminal; `None` if there is none, or none that `stty` knows.
    pub(crate) fn open() -> Option<FullScreen> {
        let terminal = File::options().read(true).write(true).open("/dev/tty").ok()?;
        let modes = stty(&terminal, &["-g"])?.trim().to_string();
        stty(&terminal, &["-icanon", "-echo", "min", "0", "time", "0"])?;
        let size = size_of(&terminal).unwrap_or(SIZE);
        let mut screen = FullScreen { terminal, modes, size, measured: Instant::now() };
        screen.write("\x1B[?1049h\x1B[?25l");
        Some(screen)
    }

    /// Columns and rows.
    pub(crate) fn size(&mut self) -> (usize, usize) {
        if self.measured.elapsed() > SIZE_HOLDS {
            self.size = size_of(&self.terminal).unwrap_or(SIZE);
            self.measured = Instant::now();
        }
        self.size
    }

    /// Shows these lines from the top, and nothing below them.
    pub(crate) fn draw(&mut self, lines: &[Line]) {
        let mut text = String::from("\x1B[H");
        for (at, Line { style, text: line }) in lines.iter().enumerate() {
            let style = match style {
                Style::Plain => "",
                Style::Strong => "\x1B[1m",
                Style::Chosen => "\x1B[7m",
            };
            let end = if at > 0 { "\r\n" } else { "" };
            text += &format!("{end}{style}{line}\x1B[0m\x1B[K");
        }
        self.write(&(text + "\x1B[J"));
    }

    /// A terminal that went away must not end the run.
    fn write(&mut self, text: &str) {
        let _ = self.terminal.write_all(text.as_bytes());
    }
}

/// Keys; nothing if none was pressed.
impl Read for &mut FullScreen {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.terminal.read(bytes)
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        self.write("\x1B[?25h\x1B[?1049l");
        stty(&self.terminal, &[&self.modes]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_rows_and_columns() {
        for (text, size) in [("24 132\n", Some((132, 24))), ("0 0\n", None), ("", None), ("24 x", None)] {
            assert_eq!(parse_size(text), size, "{text}");
        }
    }
}
