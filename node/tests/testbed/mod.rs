//! A testbed in a temporary directory: keys, hosts on free ports, nodes, and clients.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use bft::crypto::deal::{NodeSecrets, deal_committee};
use bft::transaction::{Expiry, Input, Output, Owner, Transaction, genesis_coin, tx_id};
use wire::client::{Fate, NodeStatus, Receipt, Reply, Request, list};
use wire::codec;
use wire::committee::{Committee, Protocol};
use wire::dial;
use wire::frame::{Frame, FrameReader, Kind, ReadOutcome, Scratch, Sealer};
use wire::hosts::{Host, Hosts};
use wire::ids::{Round, ShardId};
use wire::keys::NodeKeys;
use wire::limits::{FRAME_BYTES_MAX, HANDSHAKE_TIME};
use wire::rand;
use wire::session::{Identity, ListenerHello, LocalHello, Session};

/// Its directory is removed when it is dropped.
pub(crate) struct Testbed {
    dir: PathBuf,
    pub(crate) committee: Committee,
    addresses: Vec<SocketAddr>,
}

/// A running node; killed when dropped.
pub(crate) struct Node {
    process: Child,
}

/// A process of a node.
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) name: String,
}

impl Testbed {
    /// Keys and hosts for one shard of `nodes` nodes.
    pub(crate) fn new(nodes: u16) -> Testbed {
        build_children();
        let dir = std::env::temp_dir().join(format!("node-{}-{:x}", std::process::id(), rand::u64()));
        fs::create_dir_all(&dir).unwrap();
        let protocol = Protocol { genesis_coins: 1_000, ..Protocol::default() };
        let (committee, secrets) = deal_committee(nodes, 1, protocol, rand::fill);
        fs::write(dir.join("committee.txt"), committee.text()).unwrap();
        let addresses = free_addresses(nodes);
        let mut hosts = Vec::new();
        for (address, NodeSecrets { id, signing, coin_secret }) in addresses.iter().zip(secrets) {
            NodeKeys { id, signing, coin_secret }.save(&dir.join(format!("node-{id}.key"))).unwrap();
            let (private_ip, public, port) = (address.ip(), address.ip().to_string(), address.port());
            hosts.push(Host { id, private_ip, public, port, ssh: None });
        }
        fs::write(dir.join("hosts.txt"), Hosts::new(hosts).text()).unwrap();
        Testbed { dir, committee, addresses }
    }

    /// The address of a node.
    pub(crate) fn address(&self, id: u16) -> SocketAddr {
        self.addresses[usize::from(id)]
    }

    /// A free port that no node will bind.
    pub(crate) fn free_port(&self) -> u16 {
        let mut ports = std::iter::repeat_with(|| free_addresses(1)[0]);
        ports.find(|address| !self.addresses.contains(address)).expect("there are free ports").port()
    }

    /// Starts a node as a pipe.
    pub(crate) fn start_pipe(&self, id: u16, pipe: &str) -> Node {
        self.start(id, &[("--pipe", pipe)])
    }

    /// Starts a node with some flags replaced or added.
    pub(crate) fn start(&self, id: u16, changes: &[(&str, &str)]) -> Node {
        let dir = self.dir.display().to_string();
        let mut flags = vec![
            ("--id", id.to_string()),
            ("--hosts", format!("{dir}/hosts.txt")),
            ("--keys", dir.clone()),
            ("--log-dir", dir.clone()),
        ];
        for (name, value) in changes {
            flags.retain(|(flag, _)| flag != name);
            flags.push((name, value.to_string()));
        }
        let stderr = File::create(self.dir.join(format!("stderr-{id}.txt"))).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_node"))
            .args(flags.iter().flat_map(|(name, value)| [*name, value.as_str()]))
            .arg("--stop-on-stdin-eof")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        Node { process }
    }

    /// A file of the log directory.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap()
    }

    /// The number of bodies of a node that all others have; 0 while it does not answer.
    pub(crate) fn confirmed(&self, id: u16) -> u64 {
        self.status(id).map_or(0, |status| status.finished)
    }

    /// The status of a node; `None` while it does not answer.
    pub(crate) fn status(&self, id: u16) -> Option<NodeStatus> {
        let mut client = self.client(id)?;
        client.send(&codec::encode(&Request::Status))?;
        match client.reply()? {
            Reply::Status(status) => Some(*status),
            other => panic!("not a status: {other:?}"),
        }
    }

    /// Submits a transaction to a node and returns the height of its block.
    pub(crate) fn spend_genesis_coin(&self, node: u16) -> Round {
        let coin = genesis_coin(&self.committee.testbed(), ShardId(0), 0);
        let amount = self.committee.protocol().genesis_amount;
        let transaction = Transaction {
            inputs: &[Input { shard: ShardId(0), coin, amount }],
            output_shard: ShardId(0),
            outputs: &[Output { owner: Owner([7; 32]), amount }],
            expiries: &[Expiry { shard: ShardId(0), round: Round(1_000) }],
            payload: b"real money",
        };
        let transaction = transaction.encode();
        let mut request = codec::encode(&Request::Submit);
        request.extend(list::of([&transaction]));

        let mut client = eventually("a node accepts clients", || self.client(node));
        client.send(&request).unwrap();
        let Some(Reply::Receipts(receipts)) = client.reply() else { panic!("no receipts") };
        let [Receipt { id, fate: Fate::Finished(height) }] = receipts[..] else { panic!("{receipts:?}") };
        assert_eq!(id, tx_id(&transaction));
        height
    }

    /// A client's session with a node; `None` if it does not accept one.
    pub(crate) fn client(&self, id: u16) -> Option<Client> {
        self.dial(id).map(|(client, _)| client)
    }

    /// The round that a node's hello names; `None` if it does not accept clients.
    pub(crate) fn decided(&self, id: u16) -> Option<Round> {
        self.dial(id).map(|(_, hello)| hello.decided)
    }

    fn dial(&self, id: u16) -> Option<(Client, ListenerHello)> {
        let mut stream = TcpStream::connect(self.address(id)).ok()?;
        let local = LocalHello { incarnation: rand::u64(), decided: Round(0) };
        let testbed = self.committee.testbed();
        let (Session { sealer, opener }, hello) =
            dial::handshake(&mut stream, HANDSHAKE_TIME, &Identity::client(), testbed, None, local).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let reader = FrameReader::new(opener, FRAME_BYTES_MAX);
        let (scratch, frames) = (Scratch::new(), Vec::new());
        Some((Client { stream, sealer, reader, scratch, frames, sent: 0 }, hello))
    }
}

/// A client's session.
pub(crate) struct Client {
    stream: TcpStream,
    sealer: Sealer,
    reader: FrameReader,
    scratch: Scratch,
    frames: Vec<Frame>,
    sent: u64,
}

impl Client {
    /// Sends a request; `None` if the connection has failed.
    pub(crate) fn send(&mut self, request: &[u8]) -> Option<()> {
        let mut frame = Vec::new();
        self.sealer.seal_data(self.sent, request, &mut frame);
        self.sent += 1;
        self.stream.write_all(&frame).ok()
    }

    /// The next reply; `None` if the connection has failed.
    pub(crate) fn reply(&mut self) -> Option<Reply> {
        loop {
            if let Some(at) = self.frames.iter().position(|frame| frame.kind == Kind::Data) {
                return Some(codec::decode(&self.frames.remove(at).body).unwrap());
            }
            match self.reader.read_from(&mut self.stream, &mut self.scratch, &mut self.frames).ok()? {
                ReadOutcome::Read(_) => {}
                ReadOutcome::WouldBlock | ReadOutcome::Ended => return None,
            }
        }
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("logs of the processes are in {}", self.dir.display());
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

impl Node {
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn close_stdin(&mut self) {
        self.process.stdin = None;
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        // Not `wait`, which would close its standard input first.
        eventually("the node ends", || self.process.try_wait().unwrap())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The running children of a process, by name.
pub(crate) fn children_of(parent: u32) -> Vec<Process> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let Ok(pid) = entry.unwrap().file_name().to_string_lossy().parse() else { continue };
        if let Some((name, state, parent_of_it)) = stat(pid)
            && parent_of_it == parent
            && state != "Z"
        {
            children.push(Process { pid, name });
        }
    }
    children.sort_by(|a, b| a.name.cmp(&b.name));
    children
}

/// Whether a process runs.
pub(crate) fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(_, state, _)| state != "Z")
}

/// Name, state and parent.
fn stat(pid: u32) -> Option<(String, String, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, rest) = text.rsplit_once(") ")?;
    let (_, name) = head.split_once(" (")?;
    let mut fields = rest.split(' ');
    Some((name.to_string(), fields.next()?.to_string(), fields.next()?.parse().ok()?))
}

/// Kills a process, like a crash.
pub(crate) fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
}

/// Far longer than anything takes here on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Calls `look` again and again until it returns a value; panics after [`PATIENCE`].
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "gave up waiting until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Addresses on which no process listens, below the range from which the system assigns ports. They are tested by
/// dialling, not by binding, because a bound socket would be inherited for a moment by processes that other tests
/// start.
fn free_addresses(count: u16) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    while addresses.len() < usize::from(count) {
        let address = SocketAddr::from(([127, 0, 0, 1], 15_000 + rand::below(15_000) as u16));
        if !addresses.contains(&address) && TcpStream::connect(address).is_err() {
            addresses.push(address);
        }
    }
    addresses
}

/// Runs a program of a node to its end.
pub(crate) fn run(program: &str, arguments: &str) -> std::process::Output {
    build_children();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_node")).with_file_name(program);
    Command::new(program).args(arguments.split_whitespace()).output().unwrap()
}

/// Builds the programs that a node starts, as this test was built, since `cargo test -p node` alone builds no other
/// package.
pub(crate) fn build_children() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let programs = Path::new(env!("CARGO_BIN_EXE_node")).parent().unwrap();
        let profile = match programs.file_name().and_then(|name| name.to_str()).unwrap() {
            "debug" => "dev",
            other => other,
        };
        let target = programs.parent().unwrap();
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--offline", "--profile", profile])
            .args(["--package", "net_client", "--package", "net_server", "--target-dir"])
            .arg(target)
            .status();
        assert!(built.unwrap().success());
    });
}
