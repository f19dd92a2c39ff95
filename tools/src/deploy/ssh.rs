//! The real `ssh`, run as a process, with the user's configuration, agent, known hosts and jump hosts.
//!
//! - *It never prompts*: `BatchMode`. Host keys are checked as the configuration says; nothing here loosens that.
//! - *One connection a host*: the first process of a host is its master, and what follows goes through its socket,
//!   which lies in a directory that only we may enter. A master runs `cat` on a pipe of ours: when we end, however
//!   that happens, so does the connection.
//! - *It never hangs*: a step that does not get on for the time limit is killed, and the error names the limit.
//! - *What it writes is bounded*, since the other side decides how much that is.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use wire::rand;

use super::script::{Reply, Script};
use super::sites::Site;
use super::ssh_error::{REPLY_BYTES_MAX, SshError};
use super::step::{Input, OnSignal, Output, POLL, Step, cannot_run, keep_end_of, lines};
use crate::signals;

/// The line that a connection prints once it is there; an account's start files may print before it.
const READY: &str = "dumbo-testbed connected";

#[derive(Debug)]
pub(super) struct Ssh {
    config: Option<PathBuf>,
    limit: Duration,
    sockets: SocketDir,
}

/// A connection to a host; closed when dropped.
#[derive(Debug)]
pub(super) struct Master {
    child: Child,
    /// Its end ends the connection.
    stdin: Option<ChildStdin>,
}

impl Ssh {
    /// Through `ssh` with this configuration file instead of the usual ones, if any; each step may pause so long.
    pub(super) fn new(config: Option<PathBuf>, limit: Duration) -> Result<Ssh, SshError> {
        Ok(Ssh { config, limit, sockets: SocketDir::new()? })
    }

    /// Connects to a host, for all that follows.
    pub(super) fn connect(&self, site: &Site, on_signal: OnSignal) -> Result<Master, SshError> {
        let doing = "connecting".to_string();
        let mut command = self.command(site, "yes", &format!("echo '{READY}'; exec cat > /dev/null"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(cannot_run)?;
        let stdin = child.stdin.take();
        let stderr = keep_end_of(child.stderr.take().expect("it is piped"));
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, ready) = crossbeam_channel::bounded(1);
        let reader = BufReader::new(stdout.take(REPLY_BYTES_MAX));
        thread::spawn(move || {
            let found = reader.lines().any(|line| line.is_ok_and(|line| line == READY));
            // Nobody waits for it any more if the time was over.
            let _ = sender.send(found);
        });
        let mut master = Master { child, stdin };
        let deadline = Instant::now() + self.limit;
        loop {
            match ready.recv_timeout(POLL) {
                Ok(true) => return Ok(master),
                Ok(false) => break,
                Err(_) if on_signal == OnSignal::GiveUp && signals::is_interrupted() => {
                    return Err(SshError::Interrupted);
                }
                Err(_) if Instant::now() >= deadline => {
                    drop(master);
                    return Err(SshError::TooLong { doing, limit: self.limit, stderr: lines(&stderr) });
                }
                Err(_) => {}
            }
        }
        let status = master.end();
        let status = status.map_err(|error| SshError::Here { what: "cannot wait for ssh".into(), error })?;
        Err(SshError::Failed { doing, status, stderr: lines(&stderr) })
    }

    /// Runs a script and returns its answer. `further` is how long it may be silent beyond the limit, since it waits
    /// for something itself.
    pub(super) fn run(
        &self,
        site: &Site,
        script: Script,
        arguments: &[String],
        further: Duration,
        on_signal: OnSignal,
    ) -> Result<Reply, SshError> {
        let text = script.text(arguments);
        let mut command = self.command(site, "no", "exec sh -s");
        let step = Step { doing: script.doing.into(), limit: self.limit + further, on_signal };
        let output = step.run(&mut command, Input::Bytes(text.into_bytes()), Output::Kept)?;
        let doing = script.doing.to_string();
        Reply::parse(&site.destination, &output).map_err(|error| SshError::Reply { doing, error })
    }

    /// Runs a command with an input. `doing` completes "… did not get on".
    pub(super) fn send(&self, site: &Site, doing: &str, command: &str, input: Input) -> Result<(), SshError> {
        let step = Step { doing: doing.into(), limit: self.limit, on_signal: OnSignal::GiveUp };
        step.run(&mut self.command(site, "no", command), input, Output::Kept).map(drop)
    }

    /// Runs a command whose output, of at most so many bytes, goes to a file.
    pub(super) fn fetch(
        &self,
        site: &Site,
        doing: &str,
        command: &str,
        bytes_max: u64,
        file: File,
        on_signal: OnSignal,
    ) -> Result<(), SshError> {
        let step = Step { doing: doing.into(), limit: self.limit, on_signal };
        step.run(
            &mut self.command(site, "no", command),
            Input::Bytes(Vec::new()),
            Output::File(file, bytes_max),
        )
        .map(drop)
    }

    /// Begins a command that answers each line with a line.
    pub(super) fn talk(&self, site: &Site, command: &str) -> Result<Dialogue, SshError> {
        let mut command = self.command(site, "no", command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(cannot_run)?;
        let stdin = child.stdin.take().expect("it is piped");
        let stderr = keep_end_of(child.stderr.take().expect("it is piped"));
        let stdout = BufReader::new(child.stdout.take().expect("it is piped").take(REPLY_BYTES_MAX));
        let (sender, answers) = crossbeam_channel::unbounded();
        thread::spawn(move || {
            let mut lines = stdout.lines().map_while(Result::ok);
            // Ends when nobody listens any more.
            let _ = lines.try_for_each(|line| sender.send(line));
        });
        Ok(Dialogue { child, stdin, answers, stderr, limit: self.limit })
    }

    /// `ssh` to a host, to run a command there.
    pub(super) fn command(&self, site: &Site, master: &str, remote: &str) -> Command {
        let mut command = Command::new("ssh");
        if let Some(config) = &self.config {
            command.arg("-F").arg(config);
        }
        // Before the limit, so that ssh reports it itself.
        let connect_s = (self.limit.as_secs() * 2 / 3).clamp(1, 15);
        let seconds = self.limit.as_secs().clamp(1, 60);
        for option in [
            "BatchMode=yes".to_string(),
            format!("ConnectTimeout={connect_s}"),
            format!("ServerAliveInterval={}", seconds.div_ceil(3)),
            "ServerAliveCountMax=3".into(),
            format!("ControlMaster={master}"),
            format!("ControlPath={}", self.sockets.socket(site.index).display()),
            "ControlPersist=no".into(),
            "ForwardAgent=no".into(),
            "ForwardX11=no".into(),
            "ClearAllForwardings=yes".into(),
            "LogLevel=ERROR".into(),
        ] {
            command.arg("-o").arg(option);
        }
        // A group of its own, so that Ctrl-C at the terminal does not end what is needed to wind up.
        command.args(["-T", "--"]).arg(&site.destination).arg(remote).process_group(0);
        command
    }
}

impl Master {
    /// Whether the connection is there.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Closes the connection, and kills it if it does not close.
    fn end(&mut self) -> io::Result<ExitStatus> {
        self.stdin = None;
        let deadline = Instant::now() + Duration::from_millis(500);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        // It fails only if the process has been waited for, and then there is nothing to end.
        let _ = self.end();
    }
}

/// A command on a host that answers each line with a line. Ended when dropped.
pub(super) struct Dialogue {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<String>,
    stderr: Receiver<Vec<u8>>,
    limit: Duration,
}

impl Dialogue {
    /// Sends an empty line and waits for the answer.
    pub(super) fn exchange(&mut self) -> Result<String, SshError> {
        let doing = || "waiting for an answer".to_string();
        let sent = self.stdin.write_all(b"\n");
        let answer = match sent {
            Ok(()) => self.answers.recv_timeout(self.limit).ok(),
            Err(_) => None,
        };
        if let Some(answer) = answer {
            return Ok(answer);
        }
        let ended = self.child.try_wait();
        // Only then does its standard error end.
        let _ = self.child.kill();
        match ended {
            Ok(Some(status)) => Err(SshError::Failed { doing: doing(), status, stderr: lines(&self.stderr) }),
            _ => Err(SshError::TooLong { doing: doing(), limit: self.limit, stderr: lines(&self.stderr) }),
        }
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        // Both fail only if it has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The directory of the masters' sockets, which nobody else may enter. Removed when dropped.
#[derive(Debug)]
struct SocketDir(PathBuf);

impl SocketDir {
    fn new() -> Result<SocketDir, SshError> {
        /// The path of a socket has at most 107 bytes, and `ssh` adds 17 to it for a moment.
        const PATH_BYTES_MAX: usize = 80;
        let name = format!("dumbo-ssh-{:016x}", rand::u64());
        let usual = std::env::temp_dir().join(&name);
        let path =
            if usual.as_os_str().len() <= PATH_BYTES_MAX { usual } else { Path::new("/tmp").join(&name) };
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| SshError::Here { what: format!("cannot create {}", path.display()), error })?;
        Ok(SocketDir(path))
    }

    fn socket(&self, index: usize) -> PathBuf {
        self.0.join(index.to_string())
    }
}

impl Drop for SocketDir {
    fn drop(&mut self) {
        // A directory that is left is only untidy.
        let _ = fs::remove_dir_all(&self.0);
    }
}
