//! A place for a run: directories of its own, the commands that are run in it, and what they leave.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use wire::rand;

/// The program.
pub(crate) const TOOLS: &str = env!("CARGO_BIN_EXE_tools");
/// Long enough for anything that happens at all, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Directories for one run; removed when dropped.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    /// An empty place.
    pub(crate) fn new() -> Place {
        build_nodes();
        let path = std::env::temp_dir().join(format!("local-run-{}-{:x}", std::process::id(), rand::u64()));
        fs::create_dir_all(&path).unwrap();
        Place(path)
    }

    /// A command of `tools`, here.
    pub(crate) fn command(&self, name: &str, arguments: &str) -> Command {
        let mut command = Command::new(TOOLS);
        command.arg(name).args(arguments.split_whitespace()).current_dir(&self.0).stdin(Stdio::null());
        command
    }

    /// A whole run.
    pub(crate) fn local(&self, arguments: &str) -> Output {
        self.command("local", arguments).output().unwrap()
    }

    /// A run that goes on meanwhile.
    pub(crate) fn start_local(&self, arguments: &str) -> Running {
        self.start("local", arguments)
    }

    /// A command that goes on meanwhile.
    pub(crate) fn start(&self, name: &str, arguments: &str) -> Running {
        Running::start(&mut self.command(name, arguments))
    }

    /// A file; empty if there is none.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap_or_default()
    }

    /// The log of a node's first process.
    pub(crate) fn log(&self, node: u16) -> String {
        self.read(&format!("log/consensus-node-{node}.log"))
    }

    /// What a node wrote down of the rounds that it executed.
    pub(crate) fn rounds_file(&self, node: u16) -> String {
        self.read(&format!("log/rounds-{node}.csv"))
    }

    /// The last round that a node wrote down as executed.
    pub(crate) fn last_height(&self, node: u16) -> u64 {
        self.rounds_file(node)
            .lines()
            .last()
            .and_then(|line| line.split(',').nth(2))
            .unwrap()
            .parse()
            .unwrap()
    }

    /// The processes named in the pid file: pid by what it is.
    pub(crate) fn processes(&self) -> BTreeMap<String, u32> {
        let text = self.read("data/pids.txt");
        let entry = |line: &str| -> Option<(String, u32)> {
            let (pid, rest) = line.split_once(' ')?;
            Some((rest.split_once(' ')?.1.to_string(), pid.parse().ok()?))
        };
        text.lines().skip(1).filter_map(entry).collect()
    }

    /// The summary's line for a field, value only.
    pub(crate) fn summary(&self, field: &str) -> String {
        let text = self.read("log/summary.json");
        let start = format!("  \"{field}\": ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("no {field} in {text}")).trim_end_matches(',').to_string()
    }

    /// The same, of a whole number.
    pub(crate) fn number(&self, field: &str) -> u64 {
        self.summary(field).parse().unwrap()
    }

    /// Asserts what must hold after every run in which no more than f nodes failed.
    pub(crate) fn assert_all_well(&self, output: &Output) {
        let shown = text(output);
        assert_eq!(output.status.code(), Some(0), "{shown}");
        for field in ["agreement", "value_conserved"] {
            assert_eq!(self.summary(field), "true", "{field}\n{shown}");
        }
        for field in ["lost", "duplicated", "in_flight", "rejected"] {
            assert_eq!(self.number(field), 0, "{field}\n{shown}");
        }
        assert!(self.number("committed") > 0, "{shown}");
    }
}

/// A process that does not outlive the test, however that ends; neither do the nodes that it started.
pub(crate) struct Running(Option<Child>);

impl Running {
    /// Starts a command whose output is kept.
    pub(crate) fn start(command: &mut Command) -> Running {
        Running(Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()))
    }

    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.child().id()
    }

    /// Its standard output from now on.
    pub(crate) fn stdout(&mut self) -> ChildStdout {
        let child = self.0.as_mut().expect(ONCE);
        child.stdout.take().unwrap()
    }

    /// Waits until it has ended, and returns its output.
    pub(crate) fn finish(mut self) -> Output {
        self.0.take().expect(ONCE).wait_with_output().unwrap()
    }

    /// Kills it.
    pub(crate) fn kill(mut self) {
        let mut child = self.0.take().expect(ONCE);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn child(&self) -> &Child {
        self.0.as_ref().expect(ONCE)
    }
}

/// Why there is a process.
const ONCE: &str = "whoever takes it out takes the whole";

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It fails only if the process has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Nothing depends on it; a left directory is only untidy.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Everything that a command printed.
pub(crate) fn text(output: &Output) -> String {
    let shown =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // The facts of a summary are wrapped, and moved in so far.
    shown.replace(&format!("\n{:21}", ""), " ")
}

/// Whether there is such a process that has not ended.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Sends a signal to a process.
pub(crate) fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

/// Looks again and again until there is something to be found; gives up when that is no matter of load any more.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Builds the programs that a run starts.
fn build_nodes() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        build(&["--package", "node", "--package", "net_client", "--package", "net_server"]);
    });
}

/// Builds the program of Byzantine nodes, which no other build does.
pub(crate) fn build_byzantine_node() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        build(&["--package", "node", "--features", "byzantine", "--bin", "byzantine_node"]);
    });
}

/// Builds programs as this test was built, since `cargo test -p tools` alone builds no other package.
pub(crate) fn build(what: &[&str]) {
    let place = Path::new(TOOLS).parent().unwrap();
    let (target, name) = (place.parent().unwrap(), place.file_name().and_then(|name| name.to_str()).unwrap());
    // Of all profiles this one's directory has another name.
    let profile = if name == "debug" { "dev" } else { name };
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline", "--profile", profile])
        .args(what)
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.unwrap().success());
}
