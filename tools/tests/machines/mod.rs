//! Machines to deploy to: network namespaces on a bridge, each with its own address, its own `sshd` with its own host
//! key, its own processes, and a home directory of its own in memory.
//!
//! ```text
//!   hub: bridge 10.77.0.254 ── runs tools
//!    ├── host 1: eth0 10.77.0.1, sshd, home
//!    └── host 2: eth0 10.77.0.2, sshd, home …
//! ```
//!
//! Addresses repeat from one test to the next, since namespaces keep them apart; names hold the id of the test's
//! process, so what a killed test left is known to be left.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use wire::rand;

use crate::place::{Place, TOOLS, build_byzantine_node, eventually};

const PREFIX: &str = "dumbo-tb-";
/// The table of nft on the hub that drops packets.
const NFT_TABLE: &str = "loss";
/// Room in the home of a host, MiB: more than `tools deploy check` requires.
pub(crate) const ROOM_MIB: u64 = 1_000;

/// A defect of a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Quirk {
    /// Nothing.
    None,
    /// So few MiB in its home.
    Room(u64),
    /// Somebody else listens on port 7000.
    PortTaken,
    /// Its host key is in nobody's known hosts.
    KeyNotKnown,
    /// It takes another key than ours.
    KeyNotTaken,
}

/// The machines of one test; removed when dropped.
pub(crate) struct Machines {
    pub(crate) place: Place,
    name: String,
    hosts: Vec<Host>,
}

struct Host {
    quirk: Quirk,
    /// The process whose end is the end of all others on the host.
    init: Child,
}

impl Machines {
    /// So many hosts with `nodes_each` nodes on each; none, with a clear word, where namespaces may not be made.
    pub(crate) fn new(quirks: &[Quirk], nodes_each: usize) -> Option<Machines> {
        if let Err(reason) = make_sure_they_can_be_made() {
            print_skipped(&reason);
            return None;
        }
        remove_leftovers();
        let place = Place::new();
        let name = format!("{PREFIX}{}-{:x}", std::process::id(), rand::u64() & 0xffff);
        let mut machines = Machines { place, name, hosts: Vec::new() };
        machines.copy_programs();
        machines.make_keys(quirks.len());
        let hub = machines.namespace(0);
        ip(&["netns", "add", &hub]);
        ip(&["-n", &hub, "link", "add", "bridge0", "type", "bridge"]);
        ip(&["-n", &hub, "address", "add", "10.77.0.254/24", "dev", "bridge0"]);
        ip(&["-n", &hub, "link", "set", "bridge0", "up"]);
        ip(&["-n", &hub, "link", "set", "lo", "up"]);
        for (index, quirk) in quirks.iter().enumerate() {
            machines.plug_in(index + 1);
            let init = machines.boot(index + 1, *quirk);
            machines.hosts.push(Host { quirk: *quirk, init });
        }
        machines.write_configuration(quirks, nodes_each);
        for number in 1..=quirks.len() {
            machines.wait_for_sshd(number);
        }
        Some(machines)
    }

    /// A command of `tools`, on the hub.
    pub(crate) fn tools(&self, arguments: &str) -> Command {
        let mut command = self.on_hub(self.path("bin/tools"));
        command.args(arguments.split_whitespace());
        command
    }

    /// `tools deploy`, on the hub.
    pub(crate) fn deploy(&self, arguments: &str) -> Command {
        let mut command = self.tools("deploy");
        command.args(arguments.split_whitespace()).args(["--ssh-config", "ssh_config"]);
        command
    }

    /// The same, to its end.
    pub(crate) fn run(&self, arguments: &str) -> Output {
        self.deploy(arguments).output().unwrap()
    }

    /// The output of a command on a host.
    pub(crate) fn on_host(&self, number: usize, script: &str) -> String {
        let mut ssh = self.on_hub(PathBuf::from("ssh"));
        let output = ssh.args(["-F", "ssh_config", &address(number), script]).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Fails if a host has a file in its home or a process of ours.
    pub(crate) fn assert_clean(&self, number: usize) {
        let files = self.on_host(number, "find ~ -mindepth 1");
        assert_eq!(files, "", "files on host {number}");
        let processes =
            self.on_host(number, "ls -l /proc/[0-9]*/exe 2>/dev/null | grep -c dumbo-testbed; true");
        assert_eq!(processes.trim(), "0", "processes on host {number}");
    }

    /// Takes a host off the network; its processes run on.
    pub(crate) fn unplug(&self, number: usize) {
        ip(&["-n", &self.namespace(0), "link", "set", &format!("host{number}"), "down"]);
    }

    /// Drops the packets between hosts that match one of these rules of nft, until the result is dropped. What the hub
    /// sends and receives itself is not touched.
    pub(crate) fn drop_packets(&self, rules: &[String]) -> PacketLoss<'_> {
        let rules: String = rules.iter().map(|rule| format!("{rule} drop; ")).collect();
        let table = format!(
            "table bridge {NFT_TABLE} {{ chain forward {{ type filter hook forward priority 0; {rules}}}; }}"
        );
        let added = self.on_hub(PathBuf::from("nft")).arg(&table).output().unwrap();
        assert!(added.status.success(), "{table}: {}", String::from_utf8_lossy(&added.stderr));
        PacketLoss(self)
    }

    /// Kills everything on a host, which loses its home.
    pub(crate) fn crash(&mut self, number: usize) {
        let init = &mut self.hosts[number - 1].init;
        init.kill().unwrap();
        init.wait().unwrap();
    }

    /// Starts a crashed host again.
    pub(crate) fn reboot(&mut self, number: usize) {
        let init = self.boot(number, self.hosts[number - 1].quirk);
        self.hosts[number - 1].init = init;
        self.wait_for_sshd(number);
    }

    /// Sends a signal to the processes of a host that have this name.
    pub(crate) fn signal(&self, number: usize, signal: &str, name: &str) {
        for pid in pids_in(&self.namespace(number)) {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if comm.trim() == name {
                let _ = Command::new("kill").args([signal, &pid]).status();
            }
        }
    }

    fn on_hub(&self, program: PathBuf) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(0)]).arg(program);
        command.current_dir(&self.place.0).stdin(Stdio::null()).env_remove("RUST_LOG");
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.0.join(name)
    }

    fn namespace(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    /// Without what only a debugger wants, which would be most of what is sent.
    fn copy_programs(&self) {
        fs::create_dir(self.path("bin")).unwrap();
        build_byzantine_node();
        for name in ["tools", "node", "byzantine_node", "net_client", "net_server"] {
            let (from, to) = (Path::new(TOOLS).with_file_name(name), self.path("bin").join(name));
            let stripped = Command::new("strip").arg("-o").arg(&to).arg(&from).stderr(Stdio::null()).status();
            if !stripped.is_ok_and(|status| status.success()) {
                fs::copy(&from, &to).unwrap();
            }
        }
    }

    fn make_keys(&self, hosts: usize) {
        for name in
            ["user", "stranger"].map(String::from).into_iter().chain((1..=hosts).map(|n| format!("host{n}")))
        {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(self.path(&name))
                .status();
            assert!(made.unwrap().success());
        }
    }

    fn plug_in(&self, number: usize) {
        let (hub, host, link) = (self.namespace(0), self.namespace(number), format!("host{number}"));
        ip(&["netns", "add", &host]);
        ip(&["-n", &hub, "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &host]);
        ip(&["-n", &hub, "link", "set", &link, "master", "bridge0", "up"]);
        ip(&["-n", &host, "address", "add", &format!("{}/24", address(number)), "dev", "eth0"]);
        ip(&["-n", &host, "link", "set", "eth0", "up"]);
        ip(&["-n", &host, "link", "set", "lo", "up"]);
    }

    /// Starts the processes of a host: a shell that is the first of them, and `sshd`.
    fn boot(&self, number: usize, quirk: Quirk) -> Child {
        let room_mib = if let Quirk::Room(room_mib) = quirk { room_mib } else { ROOM_MIB };
        let taken = if quirk == Quirk::KeyNotTaken { "stranger.pub" } else { "user.pub" };
        let mut config = format!(
            "ListenAddress {0}:22\nHostKey {1}\nAuthorizedKeysFile {2}\nStrictModes no\nUsePAM no\nPidFile none\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n",
            address(number),
            self.path(&format!("host{number}")).display(),
            self.path(taken).display()
        );
        if quirk == Quirk::PortTaken {
            config += &format!("ListenAddress {}:7000\n", address(number));
        }
        let path = self.path(&format!("sshd{number}.config"));
        fs::write(&path, config).unwrap();
        let script = format!(
            "mount -t tmpfs -o mode=755 none /run && mkdir /run/sshd && \
             mount -t tmpfs -o mode=700,size={room_mib}m none {} && {} -D -e -f {} & wait",
            home().display(),
            sshd().unwrap().display(),
            path.display()
        );
        let log = fs::File::create(self.path(&format!("sshd{number}.log"))).unwrap();
        Command::new("ip")
            .args(["netns", "exec", &self.namespace(number)])
            .args([
                "unshare",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "sh",
                "-c",
                &script,
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn write_configuration(&self, quirks: &[Quirk], nodes_each: usize) {
        let show = |name: &str| self.path(name).display().to_string();
        let config = format!(
            "Host *\nUser root\nIdentityFile {}\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile {}\n\
             GlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\n",
            show("user"),
            show("known_hosts")
        );
        fs::write(self.path("ssh_config"), config).unwrap();
        let mut known = String::new();
        let mut hosts = String::from("# id private_ip public_ip port ssh\n");
        for (index, quirk) in quirks.iter().enumerate() {
            let address = address(index + 1);
            let key = self.place.read(&format!("host{}.pub", index + 1));
            if *quirk != Quirk::KeyNotKnown {
                known += &format!("{address} {key}");
            }
            for place in 0..nodes_each {
                let (id, port) = (index * nodes_each + place, 7000 + place);
                hosts += &format!("{id} {address} {address} {port} root@{address}\n");
            }
        }
        fs::write(self.path("known_hosts"), known).unwrap();
        fs::write(self.path("hosts.txt"), hosts).unwrap();
    }

    fn wait_for_sshd(&self, number: usize) {
        let log = format!("sshd{number}.log");
        eventually("sshd listens", || self.place.read(&log).contains("Server listening").then_some(()));
    }
}

/// Packets between hosts are dropped while this is there.
pub(crate) struct PacketLoss<'a>(&'a Machines);

impl Drop for PacketLoss<'_> {
    fn drop(&mut self) {
        // If it fails, nodes never come back, which is what a test waits for.
        let _ = self.0.on_hub(PathBuf::from("nft")).args(["delete", "table", "bridge", NFT_TABLE]).status();
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for host in &mut self.hosts {
            // Both fail only if it has ended already.
            let _ = host.init.kill();
            let _ = host.init.wait();
        }
        for number in 0..=self.hosts.len() + 1 {
            remove_namespace(&self.namespace(number));
        }
    }
}

/// Whether [`Machines::drop_packets`] works here; prints that a test is skipped if it does not.
pub(crate) fn can_drop_packets() -> bool {
    let is_there = is_program("nft");
    if !is_there {
        print_skipped("there is no nft (package nftables)");
    }
    is_there
}

/// The address of a host.
pub(crate) fn address(number: usize) -> String {
    format!("10.77.0.{number}")
}

fn make_sure_they_can_be_made() -> Result<(), String> {
    sshd().ok_or("there is no sshd (package openssh-server)")?;
    for program in ["ip", "ssh", "ssh-keygen", "unshare", "setsid"] {
        if !is_program(program) {
            return Err(format!("there is no {program} (packages iproute2, openssh-client, util-linux)"));
        }
    }
    let probe = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "mount", "-t", "tmpfs", "none", "/run"])
        .output();
    match probe {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_string();
            Err(format!("namespaces may not be made here ({why}); it takes root"))
        }
        Err(error) => Err(format!("unshare cannot be run: {error}")),
    }
}

fn is_program(name: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", name]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

fn print_skipped(reason: &str) {
    // Not by a macro, whose output a test that passes does not show.
    let _ = writeln!(io::stderr(), "SKIPPED, a test over namespaces: {reason}");
}

fn sshd() -> Option<PathBuf> {
    ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd"]
        .iter()
        .map(PathBuf::from)
        .find(|path| path.is_file())
}

/// The home of the account that `sshd` will log us in to.
fn home() -> PathBuf {
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    let root = accounts.lines().find(|line| line.starts_with("root:")).unwrap();
    PathBuf::from(root.split(':').nth(5).unwrap())
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn pids_in(namespace: &str) -> Vec<String> {
    let output = Command::new("ip").args(["netns", "pids", namespace]).stderr(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.split_whitespace().map(String::from).collect()
}

fn remove_namespace(namespace: &str) {
    let pids = pids_in(namespace);
    if !pids.is_empty() {
        let _ = Command::new("kill").arg("-9").args(pids).stderr(Stdio::null()).status();
        thread::sleep(Duration::from_millis(50));
    }
    // It fails if there is none, which is what is wanted.
    let _ = Command::new("ip").args(["netns", "delete", namespace]).stderr(Stdio::null()).status();
}

/// The leftovers of tests whose process has ended.
fn remove_leftovers() {
    let output = Command::new("ip").args(["netns", "list"]).output().unwrap();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let name = line.split(' ').next().unwrap_or_default();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove_namespace(name);
        }
    }
}
