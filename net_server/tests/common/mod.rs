//! A `net_server` process with the test as its core, and dialers of all kinds.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use wire::bytes::Bytes;
use wire::committee::{Committee, Member, Protocol};
use wire::dial::{self, DialError};
use wire::envelope::{FromCore, LinkCounters, ToCore};
use wire::frame::{Frame, FrameReader, Kind, ReadOutcome, Scratch, Sealer};
use wire::hosts::{Host, Hosts};
use wire::ids::{NodeId, Round};
use wire::ipc::{self, IpcRead, IpcReader, IpcWriter};
use wire::keys::{NodeKeys, SigningKey};
use wire::limits::FRAME_BYTES_MAX;
use wire::rand;
use wire::session::{Expected, Identity, ListenerHello, LocalHello};

/// The node whose `net_server` is tested.
pub(crate) const SERVER: NodeId = NodeId(0);
/// Far longer than anything takes here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Files of a dealt testbed, removed at the end.
pub(crate) struct Testbed {
    pub(crate) directory: PathBuf,
    pub(crate) committee: Committee,
    keys: Vec<SigningKey>,
}

impl Testbed {
    /// Deals keys to four nodes. The commitments of the coin are random bytes, since it is not used.
    pub(crate) fn deal() -> Testbed {
        let keys: Vec<SigningKey> = (0..4).map(|_| SigningKey::from_bytes(&rand::bytes32())).collect();
        let member = |key: &SigningKey| Member {
            public_key: key.verifying_key().to_bytes(),
            coin_commitment: rand::bytes32(),
        };
        let members = keys.iter().map(member).collect();
        let committee = Committee::new(4, Protocol::default(), members, rand::bytes32());
        let name = format!("net_server-test-{}-{:016x}", std::process::id(), rand::u64());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("committee.txt"), committee.text()).unwrap();
        let own = NodeKeys { id: SERVER, signing: keys[0].clone(), coin_secret: rand::bytes32() };
        own.save(&directory.join("node-0.key")).unwrap();
        Testbed { directory, committee, keys }
    }

    /// The identity of a node, signing with the key of `signer`.
    pub(crate) fn identity(&self, claimed: NodeId, signer: NodeId) -> Identity {
        Identity::peer(claimed, self.keys[usize::from(signer.0)].clone())
    }

    /// Writes the keys of a node beside those of the server.
    pub(crate) fn save_keys(&self, id: NodeId) {
        let signing = self.keys[usize::from(id.0)].clone();
        let keys = NodeKeys { id, signing, coin_secret: rand::bytes32() };
        keys.save(&self.directory.join(format!("node-{id}.key"))).unwrap();
    }

    /// Writes a hosts file whose first node listens on `address`.
    pub(crate) fn write_hosts(&self, address: SocketAddr) -> PathBuf {
        let host = |id: u16| Host {
            id: NodeId(id),
            private_ip: address.ip(),
            public: if id == 0 { address.ip().to_string() } else { format!("node-{id}") },
            port: address.port(),
            ssh: None,
        };
        let path = self.directory.join("hosts.txt");
        fs::write(&path, Hosts::new((0..4).map(host).collect()).text()).unwrap();
        path
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A running `net_server`, killed at the end.
pub(crate) struct Server {
    pub testbed: Testbed,
    pub(crate) core: Core,
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Server {
    /// Starts one with additional flags.
    pub(crate) fn start(flags: &[&str]) -> Server {
        let testbed = Testbed::deal();
        // The address is random, port included, so that no server of another test answers at it. Asking the system for
        // a free port would need a listener, and a child that another test starts just then holds a copy of it until
        // its `exec`: who connects meanwhile is reset. A port that is taken all the same ends the server; the next is
        // tried.
        for _ in 0..20 {
            let [_, a, b, c] = rand::u64().to_le_bytes()[..4] else { unreachable!("these are four") };
            let port = 10_000 + rand::below(20_000) as u16;
            let address = SocketAddr::from((Ipv4Addr::new(127, a, b, c.clamp(2, 254)), port));
            let hosts = testbed.write_hosts(address);
            let (core, mut child) = spawn(&testbed.directory, &hosts, flags);
            let deadline = Instant::now() + PATIENCE;
            while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
                if TcpStream::connect(address).is_ok() {
                    return Server { testbed, core: Core::new(core), address, child };
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
        panic!("no free port");
    }

    /// A bare connection.
    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    /// Dials as a peer of this incarnation.
    pub(crate) fn dial_peer(&self, id: NodeId, incarnation: u64) -> Link {
        let identity = self.testbed.identity(id, id);
        self.dial(&identity, incarnation).unwrap()
    }

    /// Dials as a client.
    pub(crate) fn dial_client(&self) -> Link {
        self.dial(&Identity::client(), rand::u64()).unwrap()
    }

    /// Dials under any identity.
    pub(crate) fn dial(&self, identity: &Identity, incarnation: u64) -> Result<Link, DialError> {
        let mut stream = self.connect();
        let local = LocalHello { incarnation, decided: Round(1) };
        let committee = &self.testbed.committee;
        let expected = Some(Expected::of(committee, SERVER));
        let (session, hello) =
            dial::handshake(&mut stream, PATIENCE, identity, committee.testbed(), expected, local)?;
        let reader = FrameReader::new(session.opener, FRAME_BYTES_MAX);
        Ok(Link::new(stream, session.sealer, reader, hello))
    }

    /// Kills the process. What it has written to the core can still be read.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Closes the core's end and returns the exit code.
    pub(crate) fn end(mut self) -> Option<i32> {
        self.core.close();
        self.child.wait().unwrap().code()
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// CPU time used so far, in ticks of 10 ms.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let after_name = stat.rsplit(')').next().unwrap();
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the program, which logs to standard error.
pub(crate) fn spawn(keys: &Path, hosts: &Path, flags: &[&str]) -> (UnixStream, Child) {
    let (core, child_end) = ipc::pair().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_net_server"));
    command.args(["--id", "0", "--log", "stderr", "--keys"]).arg(keys).arg("--hosts").arg(hosts);
    let child = command.args(flags).stdin(Stdio::from(child_end)).spawn().unwrap();
    (core, child)
}

/// The core's end of the IPC queue.
pub(crate) struct Core {
    stream: Option<UnixStream>,
    reader: IpcReader<ToCore>,
    /// The latest counters seen.
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) links: BTreeMap<NodeId, LinkCounters>,
}

impl Core {
    fn new(stream: UnixStream) -> Core {
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Core {
            stream: Some(stream),
            reader: IpcReader::new(),
            refused: BTreeMap::new(),
            links: BTreeMap::new(),
        }
    }

    fn stream(&mut self) -> &mut UnixStream {
        self.stream.as_mut().expect("the queue is open until the test closes it")
    }

    /// Closes the queue, like a core that ends.
    pub(crate) fn close(&mut self) {
        self.stream = None;
    }

    /// Sends one message.
    pub(crate) fn send(&mut self, message: &FromCore, body: &[u8]) {
        let mut writer = IpcWriter::new();
        writer.push(message, &Bytes::from(body.to_vec()));
        writer.write_all(self.stream()).unwrap();
    }

    /// The next message except counters, which are stored.
    pub(crate) fn next(&mut self) -> (ToCore, Bytes) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.poll() {
                Some((ToCore::Counters { .. }, _)) | None => {}
                Some(message) => return message,
            }
        }
        panic!("no message; refused so far: {:?}", self.refused);
    }

    /// Waits until `count` refusals were reported under a name; drops other messages.
    pub(crate) fn wait_refused(&mut self, name: &str, count: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.refused.get(name).is_none_or(|counted| *counted < count) {
            assert!(Instant::now() < deadline, "not {count} of '{name}': {:?}", self.refused);
            self.poll();
        }
    }

    /// Waits until the counters of a link satisfy `want`; drops other messages.
    pub(crate) fn wait_links(&mut self, peer: NodeId, want: impl Fn(&LinkCounters) -> bool) -> LinkCounters {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.links.get(&peer) {
                Some(counters) if want(counters) => return *counters,
                counters => assert!(Instant::now() < deadline, "not as wanted: {counters:?}"),
            }
            self.poll();
        }
    }

    /// The messages that a process which has ended has left in the queue.
    pub(crate) fn rest(&mut self) -> Vec<ToCore> {
        let mut messages = Vec::new();
        let stream = self.stream.as_mut().expect("the queue is open until the test closes it");
        loop {
            while let Some((message, _)) = self.reader.pop().unwrap() {
                messages.push(message);
            }
            if self.reader.read_from(stream).unwrap() == IpcRead::Ended {
                return messages;
            }
        }
    }

    /// The next message; `None` if there is none within 100 ms.
    pub(crate) fn poll(&mut self) -> Option<(ToCore, Bytes)> {
        let stream = self.stream.as_mut().expect("the queue is open until the test closes it");
        loop {
            if let Some(message) = self.reader.pop().unwrap() {
                if let ToCore::Counters { refused, links } = &message.0 {
                    self.refused = refused.iter().cloned().collect();
                    self.links = links.iter().copied().collect();
                }
                return Some(message);
            }
            match self.reader.read_from(stream).unwrap() {
                IpcRead::Some => {}
                IpcRead::WouldBlock => return None,
                IpcRead::Ended => panic!("net_server ended"),
            }
        }
    }
}

/// An established session, from the dialer's side.
pub(crate) struct Link {
    pub(crate) stream: TcpStream,
    pub(crate) sealer: Sealer,
    pub(crate) hello: ListenerHello,
    /// The number of the next data frame.
    pub(crate) next: u64,
    reader: FrameReader,
    received: Vec<Frame>,
}

impl Link {
    /// A session after its handshake.
    pub(crate) fn new(stream: TcpStream, sealer: Sealer, reader: FrameReader, hello: ListenerHello) -> Link {
        let next = hello.next_expected;
        Link { stream, sealer, reader, hello, next, received: Vec::new() }
    }

    /// Sends the next data frame.
    pub(crate) fn send(&mut self, body: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::new();
        self.sealer.seal_data(self.next, body, &mut bytes);
        self.next += 1;
        self.stream.write_all(&bytes)
    }

    /// Sends the frames that a closure seals.
    pub(crate) fn send_with(&mut self, make: impl FnOnce(&mut Sealer, &mut Vec<u8>)) {
        let mut bytes = Vec::new();
        make(&mut self.sealer, &mut bytes);
        self.stream.write_all(&bytes).unwrap();
    }

    /// The next frame from the listener; `None` once it has closed the connection.
    pub(crate) fn receive(&mut self) -> Option<Frame> {
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut scratch = Scratch::new();
        while self.received.is_empty() {
            match self.reader.read_from(&mut self.stream, &mut scratch, &mut self.received) {
                Ok(ReadOutcome::Read(_)) => {}
                Ok(ReadOutcome::WouldBlock) => panic!("the listener sends nothing"),
                Ok(ReadOutcome::Ended) | Err(_) => return None,
            }
        }
        Some(self.received.remove(0))
    }

    /// Waits until all data frames below `next` are acknowledged.
    pub(crate) fn wait_ack(&mut self, next: u64) {
        loop {
            let frame = self.receive().expect("the listener acknowledges and does not close");
            if frame.kind == Kind::Ack && frame.sequence >= next {
                assert_eq!(frame.sequence, next, "nothing is acknowledged that was not sent");
                return;
            }
        }
    }

    /// Waits until the listener closes the connection.
    pub(crate) fn wait_closed(&mut self) {
        while self.receive().is_some() {}
    }
}

/// Waits until the other side closes a bare connection.
pub(crate) fn wait_closed(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("still open: {error}"),
        }
    }
}
