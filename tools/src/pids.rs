//! The pid file: which processes a run has started, so that a later run can find what an earlier one left behind.
//!
//! A pid alone may belong to another process by now. Pid, start time and boot id together name one process for
//! good, and only such a process is ever ended.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use wire::text::ParseError;

use crate::procfs::{self, Process};

/// One process of a run.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Entry {
    pub(crate) pid: u32,
    /// Its start time, clock ticks since boot.
    pub(crate) started_ticks: u64,
    /// Its role, e.g. "net_client of node 2".
    pub(crate) what: String,
}

impl Entry {
    /// The entry of a process that runs now; `None` if it does not.
    pub(crate) fn of(pid: u32, what: impl Into<String>) -> Option<Entry> {
        let process = procfs::process(pid)?;
        Some(Entry { pid, started_ticks: process.started_ticks, what: what.into() })
    }

    /// Whether this very process still runs, among `all`.
    pub(crate) fn is_alive(&self, all: &BTreeMap<u32, Process>) -> bool {
        all.get(&self.pid)
            .is_some_and(|process| process.started_ticks == self.started_ticks && !process.is_zombie)
    }
}

/// How the process that drives a run is called in its pid file.
pub(crate) const RUN: &str = "tools local";

const FIRST_LINE: &str = "dumbo-testbed processes 1, boot ";

/// Writes the pid file anew; a reader sees the old or the new one, never half of it.
pub(crate) fn save(path: &Path, entries: &[Entry]) -> io::Result<()> {
    let mut text = format!("{FIRST_LINE}{}\n", procfs::boot_id());
    for entry in entries {
        text += &format!("{} {} {}\n", entry.pid, entry.started_ticks, entry.what);
    }
    let draft = path.with_extension("draft");
    fs::File::create(&draft)?.write_all(text.as_bytes())?;
    fs::rename(draft, path)
}

/// The processes named by the pid file that still run; none if there is no file or it is of another boot. Not this
/// process: what it noted of itself was for an earlier run of its own, as `tools bench` makes several.
pub(crate) fn leftovers(path: &Path) -> Result<Vec<Entry>, ParseError> {
    let place = path.display().to_string();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ParseError::of(&place, &error.to_string(), "a readable file")),
    };
    let all = procfs::processes();
    let mut entries = parse(&place, &text, &procfs::boot_id())?;
    entries.retain(|entry| entry.pid != std::process::id() && entry.is_alive(&all));
    Ok(entries)
}

fn parse(place: &str, text: &str, boot_id: &str) -> Result<Vec<Entry>, ParseError> {
    let mut lines = text.lines().enumerate();
    let first = lines.next().map_or("", |(_, line)| line);
    let boot = first
        .strip_prefix(FIRST_LINE)
        .ok_or_else(|| ParseError::at_line(place, 1, first, format!("'{FIRST_LINE}ID'")))?;
    if boot != boot_id {
        return Ok(Vec::new());
    }
    lines
        .map(|(index, line)| {
            parse_entry(line)
                .ok_or_else(|| ParseError::at_line(place, index + 1, line, "'PID START_TICKS WHAT'"))
        })
        .collect()
}

fn parse_entry(line: &str) -> Option<Entry> {
    let (pid, rest) = line.split_once(' ')?;
    let (started_ticks, what) = rest.split_once(' ')?;
    Some(Entry { pid: pid.parse().ok()?, started_ticks: started_ticks.parse().ok()?, what: what.into() })
}

/// A signal that the run sends to processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Signal {
    Kill,
    Stop,
    Continue,
}

impl Signal {
    /// Its name for `kill -s`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Signal::Kill => "KILL",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
        }
    }
}

/// Sends SIGKILL to these processes at once. Nothing happens to those that have ended.
pub(crate) fn kill(pids: &[u32]) -> io::Result<()> {
    send(Signal::Kill, pids)
}

/// Sends a signal to these processes at once. Nothing happens to those that have ended.
pub(crate) fn send(signal: Signal, pids: &[u32]) -> io::Result<()> {
    if pids.is_empty() {
        return Ok(());
    }
    // The status is of no use: it is a failure too if one of them ended a moment ago.
    Command::new("kill")
        .args(["-s", signal.name()])
        .args(pids.iter().map(u32::to_string))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(|_| ())
}

/// Ends those of `entries` that still run and waits for it; returns those that run on after `patience`.
pub(crate) fn end(entries: &[Entry], patience: Duration) -> io::Result<Vec<Entry>> {
    wait(entries, patience, |alive| kill(&alive.iter().map(|entry| entry.pid).collect::<Vec<_>>()))
}

/// Waits until none of `entries` runs, and does something to those that do meanwhile; returns those that run on after
/// `patience`.
pub(crate) fn wait(
    entries: &[Entry],
    patience: Duration,
    meanwhile: impl Fn(&[Entry]) -> io::Result<()>,
) -> io::Result<Vec<Entry>> {
    let deadline = Instant::now() + patience;
    loop {
        let all = procfs::processes();
        let alive: Vec<Entry> = entries.iter().filter(|entry| entry.is_alive(&all)).cloned().collect();
        if alive.is_empty() || Instant::now() >= deadline {
            return Ok(alive);
        }
        meanwhile(&alive)?;
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestDir;

    fn sleeper() -> std::process::Child {
        Command::new("sleep").arg("60").spawn().unwrap()
    }

    #[test]
    fn leftovers_are_those_that_still_run_and_can_be_ended() {
        let dir = TestDir::new();
        let path = dir.path().join("pids.txt");
        assert_eq!(leftovers(&path), Ok(Vec::new()), "no file");
        let mut child = sleeper();
        let alive = Entry::of(child.id(), "node 0").unwrap();
        let reused = Entry { started_ticks: alive.started_ticks + 1, ..alive.clone() };
        let own = Entry::of(std::process::id(), RUN).unwrap();
        save(&path, &[own, alive.clone(), reused]).unwrap();
        assert_eq!(
            leftovers(&path),
            Ok(vec![alive.clone()]),
            "a reused pid is another process; our own is none"
        );
        assert_eq!(end(std::slice::from_ref(&alive), Duration::from_secs(10)).unwrap(), []);
        child.wait().unwrap();
        assert_eq!(leftovers(&path), Ok(Vec::new()));
    }

    #[test]
    fn files_of_another_boot_name_nobody_and_broken_ones_are_errors() {
        let text = format!("{FIRST_LINE}b\n12 34 net_client of node 2\n");
        let entry = Entry { pid: 12, started_ticks: 34, what: "net_client of node 2".into() };
        assert_eq!(parse("p", &text, "b"), Ok(vec![entry]));
        assert_eq!(parse("p", &text, "c"), Ok(Vec::new()));
        let error = parse("p", &format!("{FIRST_LINE}b\nx y\n"), "b").unwrap_err().to_string();
        assert_eq!(error, "p, line 2: found 'x y', expected 'PID START_TICKS WHAT'");
        assert!(parse("p", "", "b").is_err());
    }
}
