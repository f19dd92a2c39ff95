//! One process, watched: fed, heard, and killed when it does not get on.
//!
//! Its pipes are served by threads, so that nothing it does or leaves undone keeps the watcher from looking at the
//! clock.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::script::printable;
use super::ssh_error::{REPLY_BYTES_MAX, SshError};
use crate::signals;

/// Bytes of standard error that are kept: its end, where the reason stands.
const STDERR_BYTES_MAX: usize = 16 << 10;
/// How many lines of it are printed.
const STDERR_LINES_MAX: usize = 3;
/// How often a running process is looked at.
pub(super) const POLL: Duration = Duration::from_millis(10);
/// How long pipes of a process that has ended may stay open: something it started may hold them.
const PIPES_PATIENCE: Duration = Duration::from_secs(2);

/// Whether a signal ends a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OnSignal {
    /// The person wants out.
    GiveUp,
    /// The winding up that the signal requested is under way.
    GoOn,
}

/// The source of a step's input.
pub(super) enum Input {
    /// From here.
    Bytes(Vec<u8>),
    /// From a file.
    File(File),
}

/// The sink of its output.
pub(super) enum Output {
    /// To the caller.
    Kept,
    /// To a file, but not more than so many bytes.
    File(File, u64),
}

/// One process of `ssh`, watched.
pub(super) struct Step {
    /// Its purpose, completing "… did not get on".
    pub(super) doing: String,
    /// How long it may make no progress.
    pub(super) limit: Duration,
    /// Whether a signal ends it.
    pub(super) on_signal: OnSignal,
}

impl Step {
    /// Runs it to its end and returns what it wrote, if that is kept.
    pub(super) fn run(
        self,
        command: &mut Command,
        input: Input,
        output: Output,
    ) -> Result<Vec<u8>, SshError> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(cannot_run)?;
        let moved = Arc::new(AtomicU64::new(0));
        let source: Box<dyn Read + Send> = match input {
            Input::Bytes(bytes) => Box::new(io::Cursor::new(bytes)),
            Input::File(file) => Box::new(file),
        };
        pump(source, child.stdin.take().expect("it is piped"), moved.clone());
        let stderr = keep_end_of(child.stderr.take().expect("it is piped"));
        let stdout = child.stdout.take().expect("it is piped");
        let stdout = match output {
            Output::Kept => keep(stdout, moved.clone()),
            Output::File(file, bytes_max) => pump(Box::new(stdout.take(bytes_max)), file, moved.clone()),
        };
        let ended = self.wait(&mut child, &moved);
        let status = match ended {
            Ok(status) => status,
            Err(error) => {
                // The result does not matter: nobody waits for it any longer.
                let _ = child.kill();
                let _ = child.wait();
                return Err(match error {
                    SshError::TooLong { doing, limit, .. } => {
                        SshError::TooLong { doing, limit, stderr: lines(&stderr) }
                    }
                    error => error,
                });
            }
        };
        if !status.success() {
            return Err(SshError::Failed { doing: self.doing, status, stderr: lines(&stderr) });
        }
        let late = || Err(io::Error::other("its output does not end"));
        let kept = stdout.recv_timeout(PIPES_PATIENCE).unwrap_or_else(|_| late());
        let kept = kept.map_err(|error| SshError::Here { what: self.doing.clone(), error })?;
        if kept.len() as u64 > REPLY_BYTES_MAX {
            return Err(SshError::TooMuch { doing: self.doing });
        }
        Ok(kept)
    }

    fn wait(&self, child: &mut Child, moved: &AtomicU64) -> Result<ExitStatus, SshError> {
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                Err(error) => return Err(SshError::Here { what: "cannot wait for ssh".into(), error }),
            }
            let now = moved.load(Ordering::Relaxed);
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            if since.elapsed() >= self.limit {
                let (doing, limit) = (self.doing.clone(), self.limit);
                return Err(SshError::TooLong { doing, limit, stderr: Vec::new() });
            }
            if self.on_signal == OnSignal::GiveUp && signals::is_interrupted() {
                return Err(SshError::Interrupted);
            }
            thread::sleep(POLL);
        }
    }
}

/// The system did not start a process.
pub(super) fn cannot_run(error: io::Error) -> SshError {
    SshError::Here { what: "cannot run ssh".into(), error }
}

/// Copies from one to the other in a thread of its own, counting; then closes both.
fn pump(
    mut source: Box<dyn Read + Send>,
    mut sink: impl Write + Send + 'static,
    moved: Arc<AtomicU64>,
) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = crossbeam_channel::bounded(1);
    thread::spawn(move || {
        let mut copy = || -> io::Result<Vec<u8>> {
            let mut buffer = vec![0; 64 << 10];
            loop {
                match source.read(&mut buffer)? {
                    0 => return sink.flush().map(|()| Vec::new()),
                    count => {
                        sink.write_all(&buffer[..count])?;
                        moved.fetch_add(count as u64, Ordering::Relaxed);
                    }
                }
            }
        };
        // A sink that closes early is the other side's failure, which its exit status shows.
        let _ = sender.send(copy());
    });
    receiver
}

/// Reads all there is, but not much more than may be.
fn keep(mut source: impl Read + Send + 'static, moved: Arc<AtomicU64>) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = crossbeam_channel::bounded(1);
    thread::spawn(move || {
        let mut kept = Vec::new();
        let mut buffer = [0; 4 << 10];
        let result = loop {
            match source.read(&mut buffer) {
                Ok(0) => break Ok(kept),
                Ok(count) => {
                    moved.fetch_add(count as u64, Ordering::Relaxed);
                    if kept.len() as u64 <= REPLY_BYTES_MAX {
                        kept.extend_from_slice(&buffer[..count]);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        let _ = sender.send(result);
    });
    receiver
}

/// Reads all there is and keeps its end.
pub(super) fn keep_end_of(mut source: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = crossbeam_channel::bounded(1);
    thread::spawn(move || {
        let mut kept = Vec::new();
        let mut buffer = [0; 4 << 10];
        while let Ok(count @ 1..) = source.read(&mut buffer) {
            kept.extend_from_slice(&buffer[..count]);
            let surplus = kept.len().saturating_sub(STDERR_BYTES_MAX);
            kept.drain(..surplus);
        }
        let _ = sender.send(kept);
    });
    receiver
}

/// The lines of standard error of `ssh` that matter: the last ones.
pub(super) fn lines(stderr: &Receiver<Vec<u8>>) -> Vec<String> {
    let bytes = stderr.recv_timeout(PIPES_PATIENCE).unwrap_or_default();
    telling_lines(&String::from_utf8_lossy(&bytes))
}

fn telling_lines(text: &str) -> Vec<String> {
    // The frame around the warning that a host key has changed is of no use.
    let is_telling = |line: &String| line.chars().any(char::is_alphanumeric);
    let all: Vec<String> = text.lines().map(printable).filter(is_telling).collect();
    all[all.len().saturating_sub(STDERR_LINES_MAX)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(limit_ms: u64) -> Step {
        let limit = Duration::from_millis(limit_ms);
        Step { doing: "trying".into(), limit, on_signal: OnSignal::GiveUp }
    }

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_step_gets_its_input_and_returns_its_output() {
        let output =
            step(60_000).run(&mut sh("cat; echo end"), Input::Bytes(b"begin\n".to_vec()), Output::Kept);
        assert_eq!(output.unwrap(), b"begin\nend\n");
    }

    #[test]
    fn a_step_that_hangs_is_killed_and_the_limit_named() {
        let error = step(100)
            .run(&mut sh("echo why >&2; exec sleep 600"), Input::Bytes(Vec::new()), Output::Kept)
            .unwrap_err();
        assert_eq!(error.to_string(), "trying did not get on for 0.1 s (--timeout): why");
    }

    #[test]
    fn a_failure_has_the_last_lines_and_what_to_do() {
        let fail = |script: &str| {
            step(60_000).run(&mut sh(script), Input::Bytes(Vec::new()), Output::Kept).unwrap_err().to_string()
        };
        assert_eq!(
            fail("printf 'a\\nb\\n\\nc\\nd\\n' >&2; exit 3"),
            "trying failed (exit status 3): b; c; d"
        );
        assert_eq!(
            fail("echo 'tb@h: Permission denied (publickey).' >&2; exit 255"),
            "ssh: tb@h: Permission denied (publickey). (ssh must log in without a password: see your keys and agent)"
        );
        assert_eq!(fail("echo 'ssh: no route' >&2; exit 255"), "ssh: no route");
        assert_eq!(fail("exit 255"), "trying failed (exit status 255)");
        assert!(fail("yes | head -c 5000000").contains("more than 4194304 bytes"));
    }

    #[test]
    fn the_warning_of_a_changed_key_keeps_what_matters() {
        let text = "@@@@\n@ WARNING @\n@@@@\nOffending key in f:1\nHost key for h has changed and you have requested \
                    strict checking.\nHost key verification failed.\n";
        let lines = telling_lines(text);
        assert_eq!(lines.len(), 3);
        let status = Command::new("sh").args(["-c", "exit 255"]).status().unwrap();
        let error = SshError::Failed { doing: "trying".into(), status, stderr: lines };
        assert!(error.to_string().ends_with("(somebody else may answer there; see known_hosts)"), "{error}");
    }
}
