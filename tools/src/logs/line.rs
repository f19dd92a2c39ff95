//! One line of a log: `[2026-11-21T17:29:24.123456Z INFO  node::child] text`.

use std::fmt;
use std::str::FromStr as _;

use log::Level;

use super::moment::Stamp;

/// A process of a node, or the one that drives the run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Process {
    /// The core.
    Node,
    /// The sender.
    NetClient,
    /// The receiver.
    NetServer,
    /// What is done to the node by plan.
    Tools,
}

impl Process {
    pub(super) const ALL: [Process; 4] =
        [Process::Node, Process::NetClient, Process::NetServer, Process::Tools];

    pub(super) fn name(self) -> &'static str {
        match self {
            Process::Node => "node",
            Process::NetClient => "net_client",
            Process::NetServer => "net_server",
            Process::Tools => "tools",
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How a line begins that the logger began.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Head<'a> {
    pub(super) at: Stamp,
    pub(super) level: Level,
    pub(super) text: &'a str,
}

impl<'a> Head<'a> {
    /// Takes a line apart; `None` if it goes on from the one before.
    pub(super) fn parse(line: &'a str) -> Option<Head<'a>> {
        let (head, text) = line.strip_prefix('[')?.split_once(']')?;
        let mut words = head.split_whitespace();
        let at = Stamp::parse(words.next()?)?;
        let level = Level::from_str(words.next()?).ok()?;
        Some(Head { at, level, text: text.strip_prefix(' ').unwrap_or(text) })
    }
}

/// A line as it may be shown: what a log holds must not steer the reader's terminal.
pub(super) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if !text.contains(|c: char| c.is_control()) {
        return text.into_owned();
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.trim_end_matches('\r').chars() {
        match c {
            '\t' => shown.push(' '),
            c if c.is_control() => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_logger_are_recognised() {
        let line = "[2026-11-21T17:29:24.123456Z INFO  node::child] net_client runs as process 7";
        let head = Head::parse(line).unwrap();
        assert_eq!((head.at.0, head.level), (1_795_282_164_123_456, Level::Info));
        assert_eq!(head.text, "net_client runs as process 7");
        let bare = Head::parse("[2026-11-21T17:29:24Z WARN]").unwrap();
        assert_eq!((bare.level, bare.text), (Level::Warn, ""));
        for line in [
            "",
            "[",
            "[]",
            "thread 'main' panicked at node/src/main.rs:1",
            "[2026-11-21T17:29:24Z",
            "[2026-11-21T17:29:24Z LOUD node] hello",
            "[yesterday INFO node] hello",
            " [2026-11-21T17:29:24Z INFO node] indented",
        ] {
            assert_eq!(Head::parse(line), None, "{line}");
        }
    }

    #[test]
    fn control_characters_are_shown_as_escapes() {
        assert_eq!(printable(b"plain N\xE2\x88\x92f"), "plain N−f");
        assert_eq!(printable(b"a\tb\x1b[2J\x07\r"), "a b\\u{1b}[2J\\u{7}");
        assert_eq!(printable(b"\xFF\xFE"), "\u{fffd}\u{fffd}");
    }
}
