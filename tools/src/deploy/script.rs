//! Everything that runs on a host: POSIX shell scripts, their arguments, and their answers.
//!
//! A script goes to `sh -s` over standard input, so that the login shell of the account, whatever it is, sees nothing
//! but those words. Its arguments stand in its first line, quoted by [`quoted`]. It answers with lines `key value`
//! between two fixed lines; what an account's start files print before the first is no answer, and without the
//! last the answer was cut short.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use wire::ids::NodeId;
use wire::text::ParseError;

const COMMON: &str = include_str!("scripts/common.sh");
const STOPPING: &str = include_str!("scripts/stopping.sh");

const BEGIN: &str = "dumbo-testbed begin";
const END: &str = "dumbo-testbed end";

/// A script and what it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Script {
    /// Its purpose, completing "while …".
    pub(super) doing: &'static str,
    body: &'static str,
}

/// Reports what a host is and what would be in the way.
pub(super) const CHECK: Script = Script { doing: "checking", body: include_str!("scripts/check.sh") };
/// Makes the run directory and lists what is in it.
pub(super) const INVENTORY: Script =
    Script { doing: "looking at what is installed", body: include_str!("scripts/inventory.sh") };
/// Moves files that have come to their places.
pub(super) const PLACE: Script =
    Script { doing: "moving files to their places", body: include_str!("scripts/place.sh") };
/// Starts nodes.
pub(super) const START: Script = Script { doing: "starting nodes", body: include_str!("scripts/start.sh") };
/// Lists the processes that run.
pub(super) const STATUS: Script =
    Script { doing: "asking for processes", body: include_str!("scripts/status.sh") };
/// Stops nodes.
pub(super) const STOP: Script = Script { doing: "stopping nodes", body: include_str!("scripts/stop.sh") };
/// Stops nodes and removes the run directory.
pub(super) const CLEAN: Script = Script { doing: "cleaning up", body: include_str!("scripts/clean.sh") };
/// Sends a signal to processes for a planned fault.
pub(super) const SIGNAL: Script =
    Script { doing: "sending signals", body: include_str!("scripts/signal.sh") };
/// Slows processes down for a planned fault.
pub(super) const SLOW: Script =
    Script { doing: "slowing processes down", body: include_str!("scripts/slow.sh") };
/// Lets processes write to no file any more for a planned fault.
pub(super) const REFUSE_WRITES: Script =
    Script { doing: "limiting files", body: include_str!("scripts/refuse_writes.sh") };
/// Writes lines to the standard input of a node.
pub(super) const CONTROL: Script =
    Script { doing: "setting rules of links", body: include_str!("scripts/control.sh") };
/// Ends a load that runs there.
pub(super) const END_LOAD: Script =
    Script { doing: "ending load", body: include_str!("scripts/end_load.sh") };
/// Lists the logs.
pub(super) const LOGS: Script = Script { doing: "listing logs", body: include_str!("scripts/logs.sh") };

impl Script {
    /// The text that `sh -s` is given.
    pub(super) fn text(&self, arguments: &[String]) -> String {
        let words: Vec<String> = arguments.iter().map(|argument| quoted(argument)).collect();
        format!("set -- {}\n{COMMON}\n{STOPPING}\n{}", words.join(" "), self.body)
    }
}

/// `text` as one word of any shell that has single quotes.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The answer of a script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reply {
    place: String,
    lines: Vec<(String, String)>,
}

/// Why there is no answer to go on with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum ReplyError {
    /// The script reports why it did nothing.
    Refused(String),
    /// The answer ends in the middle, or is none.
    CutShort,
    /// A line is not of the form that the script prints.
    Parse(ParseError),
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplyError::Refused(why) => f.write_str(why),
            ReplyError::CutShort => f.write_str("the answer was cut short"),
            ReplyError::Parse(error) => error.fmt(f),
        }
    }
}

impl From<ParseError> for ReplyError {
    fn from(error: ParseError) -> ReplyError {
        ReplyError::Parse(error)
    }
}

impl Reply {
    /// The journals of the nodes of a host, and the bytes they take there.
    pub(super) fn journals(&self) -> Result<BTreeMap<NodeId, u64>, ParseError> {
        let journals = self.each("journal", "'NODE KIB'", |text| {
            let (id, kib) = text.split_once(' ')?;
            Some((NodeId(id.parse().ok()?), kib.parse::<u64>().ok()?.checked_mul(1 << 10)?))
        });
        Ok(journals?.into_iter().collect())
    }

    /// Reads what came on standard output; `place` names the host in errors.
    pub(super) fn parse(place: &str, output: &[u8]) -> Result<Reply, ReplyError> {
        let text = String::from_utf8_lossy(output);
        let mut lines = Vec::new();
        let mut rest = text.lines().skip_while(|line| *line != BEGIN).skip(1);
        loop {
            match rest.next() {
                None => return Err(ReplyError::CutShort),
                Some(END) => return Ok(Reply { place: place.into(), lines }),
                Some(line) => {
                    let (key, value) = line.split_once(' ').unwrap_or((line, ""));
                    if key == "error" {
                        return Err(ReplyError::Refused(printable(value)));
                    }
                    lines.push((key.to_string(), value.to_string()));
                }
            }
        }
    }

    /// Answers of these keys alone are understood.
    pub(super) fn expect_keys(&self, known: &[&str]) -> Result<(), ParseError> {
        match self.lines.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            Some((key, value)) => {
                let expected = format!("a line that begins with one of {}", known.join(", "));
                Err(ParseError::of(&self.place, &format!("{key} {value}"), expected))
            }
            None => Ok(()),
        }
    }

    /// All values of a key.
    pub(super) fn all<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        let key = key.to_string();
        self.lines.iter().filter(move |(found, _)| *found == key).map(|(_, value)| value.as_str())
    }

    /// The value of a key that may be absent.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    /// The value of a key that must be there.
    pub(super) fn one<T: FromStr>(&self, key: &str, expected: &str) -> Result<T, ParseError> {
        let text = self.text(key).unwrap_or("nothing");
        text.parse().map_err(|_| self.wrong(key, text, expected))
    }

    /// All values of a key, each as `parse` understands it.
    pub(super) fn each<T>(
        &self,
        key: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, ParseError> {
        let values = self.lines.iter().filter(|(found, _)| found == key);
        values.map(|(_, value)| parse(value).ok_or_else(|| self.wrong(key, value, expected))).collect()
    }

    fn wrong(&self, key: &str, value: &str, expected: &str) -> ParseError {
        ParseError::of(&format!("the answer '{key}' of {}", self.place), value, expected)
    }
}

/// The words of another machine, fit for a terminal: one line, nothing that moves the cursor, not too long.
pub(super) fn printable(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    text.trim().chars().take(CHARS_MAX).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    /// Runs a script in a local shell.
    fn run(script: &str) -> String {
        let mut child = Command::new("sh")
            .arg("-s")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }

    #[test]
    fn a_quoted_word_is_that_word_again() {
        for word in ["", "a b", "it's", "'", "''", "$HOME `id` \\ \" ! * ~ # ; & |", "-n", "a\nb", "é\\'"] {
            assert_eq!(run(&format!("printf %s {}", quoted(word))), word, "{word:?}");
        }
    }

    #[test]
    fn every_script_is_one_that_the_shell_understands() {
        for script in [
            CHECK,
            INVENTORY,
            PLACE,
            START,
            STATUS,
            STOP,
            CLEAN,
            SIGNAL,
            SLOW,
            REFUSE_WRITES,
            CONTROL,
            END_LOAD,
            LOGS,
        ] {
            let text = script.text(&["x".into()]);
            let status = Command::new("sh").args(["-n", "-c", &text]).status().unwrap();
            assert!(status.success(), "{}", script.doing);
        }
    }

    #[test]
    fn answers_are_read_between_the_fixed_lines_alone() {
        let parse = |text: &str| Reply::parse("h", text.as_bytes());
        let reply = parse(
            "Welcome!\nerror of a start file\ndumbo-testbed begin\ncores 4\nrunning 1 77\nrunning 2 78\nempty\n\
             dumbo-testbed end\nbye\n",
        )
        .unwrap();
        assert_eq!(reply.one::<u64>("cores", "a number"), Ok(4));
        assert_eq!(reply.all("running").collect::<Vec<_>>(), ["1 77", "2 78"]);
        assert_eq!((reply.text("empty"), reply.text("absent")), (Some(""), None));
        assert_eq!(reply.expect_keys(&["cores", "running", "empty"]), Ok(()));
        let error = reply.expect_keys(&["cores"]).unwrap_err().to_string();
        assert_eq!(error, "h: found 'running 1 77', expected a line that begins with one of cores");
        let error = reply.one::<u64>("memory_kib", "a number").unwrap_err().to_string();
        assert_eq!(error, "the answer 'memory_kib' of h: found 'nothing', expected a number");
        for text in ["", "x\n", "dumbo-testbed begin\ncores 4\n", "cores 4\ndumbo-testbed end\n"] {
            assert_eq!(parse(text), Err(ReplyError::CutShort), "{text:?}");
        }
        let refused = parse("dumbo-testbed begin\nerror no\u{1b}[2J room\ndumbo-testbed end\n");
        assert_eq!(refused, Err(ReplyError::Refused("no?[2J room".into())));
    }
}
