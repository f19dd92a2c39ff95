//! The real `net_client` and `net_server` with a slow line between them: long bodies arrive, and pings pass them.

mod common;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use wire::bytes::Bytes;
use wire::dest::Dest;
use wire::envelope::{Class, FromCore, Progress, ToCore};
use wire::hosts::{Host, Hosts};
use wire::ids::{NodeId, Round};
use wire::ipc::{self, IpcRead, IpcReader, IpcWriter};
use wire::rand;

use common::{SERVER, Testbed};

const DIALER: NodeId = NodeId(1);
/// Both ends give a link up after less than a second without a sign of life.
const LIMITS: &str = "ping-interval-ms=100,ping-timeout-ms=300,peer-silence-ms=800";
const BYTES_PER_S: usize = 4 << 20;
/// Takes three seconds, of which what the sockets hold is less than half.
const BODY_BYTES: usize = 12 << 20;
const PATIENCE: Duration = Duration::from_secs(60);
/// For the emulated link, as fast as the line of the relay.
const WAN: &str = "regions all\nlink * * delay=20ms bandwidth=32mbit\n";

/// One process of a node, with the test as its core.
struct Process {
    child: Child,
    core: UnixStream,
    reader: IpcReader<ToCore>,
}

impl Process {
    fn start(program: &str, id: NodeId, dir: &Path, further: &[&str]) -> Process {
        let program_path = Path::new(env!("CARGO_BIN_EXE_net_server")).with_file_name(program);
        let (core, theirs) = ipc::pair().unwrap();
        core.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let child = Command::new(program_path)
            .args(["--id", &id.to_string(), "--limits", LIMITS, "--keys"])
            .arg(dir)
            .arg("--hosts")
            .arg(dir.join("hosts.txt"))
            .arg("--log")
            .arg(dir.join(format!("{program}.log")))
            .args(further)
            .current_dir(dir)
            .stdin(Stdio::from(theirs))
            .spawn()
            .unwrap();
        Process { child, core, reader: IpcReader::new() }
    }

    fn send(&mut self, message: &FromCore, body: Vec<u8>) {
        let mut writer = IpcWriter::new();
        writer.push(message, &Bytes::from(body));
        writer.write_all(&mut self.core).unwrap();
    }

    /// The messages that have come.
    fn take(&mut self) -> Vec<(ToCore, Bytes)> {
        let mut messages = Vec::new();
        match self.reader.read_from(&mut self.core).unwrap() {
            IpcRead::WouldBlock => {}
            IpcRead::Ended => panic!("the process has ended"),
            IpcRead::Some => messages.extend(std::iter::from_fn(|| self.reader.pop().unwrap())),
        }
        messages
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes connections on to `to`, in the direction of the listener no faster than [`BYTES_PER_S`].
fn relay(listener: TcpListener, to: SocketAddr) {
    for dialer in listener.incoming().map_while(Result::ok) {
        let Ok(further) = TcpStream::connect(to) else { continue };
        let (back, to_dialer) = (further.try_clone().unwrap(), dialer.try_clone().unwrap());
        thread::spawn(move || pass(dialer, further, Some(BYTES_PER_S)));
        thread::spawn(move || pass(back, to_dialer, None));
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, bytes_per_s: Option<usize>) {
    const CHUNK_BYTES: usize = 16 << 10;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut copy = || -> io::Result<usize> {
        let count = from.read(&mut chunk)?;
        to.write_all(&chunk[..count])?;
        if let Some(bytes_per_s) = bytes_per_s {
            thread::sleep(Duration::from_secs_f64(count as f64 / bytes_per_s as f64));
        }
        Ok(count)
    };
    while copy().is_ok_and(|count| count > 0) {}
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// The relay and the address of the listener, which has the same port: the dialer reaches it by the relay.
fn addresses() -> (TcpListener, SocketAddr) {
    let [a, b, ..] = rand::u64().to_le_bytes();
    let relay = TcpListener::bind((Ipv4Addr::new(127, a, b, 77), 0)).unwrap();
    let own = SocketAddr::from((Ipv4Addr::new(127, a, b, 78), relay.local_addr().unwrap().port()));
    (relay, own)
}

/// Builds `net_client` as this test was built, since `cargo test -p net_server` alone builds no other package.
fn build_net_client() {
    let programs = Path::new(env!("CARGO_BIN_EXE_net_server")).parent().unwrap();
    let profile = match programs.file_name().and_then(|name| name.to_str()).unwrap() {
        "debug" => "dev",
        other => other,
    };
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline", "--profile", profile, "--package", "net_client"])
        .arg("--target-dir")
        .arg(programs.parent().unwrap())
        .status();
    assert!(built.unwrap().success());
}

/// A `net_client` that dials a `net_server` at `public`, which listens at `own`; the test is the core of both.
fn pair(public: IpAddr, own: SocketAddr, further: &[&str]) -> (Testbed, Process, Process) {
    build_net_client();
    let testbed = Testbed::deal();
    testbed.save_keys(DIALER);
    let host = |id| Host {
        id: NodeId(id),
        private_ip: own.ip(),
        public: if NodeId(id) == SERVER { public.to_string() } else { format!("node-{id}.invalid") },
        port: own.port(),
        ssh: None,
    };
    let directory = &testbed.directory;
    fs::write(directory.join("hosts.txt"), Hosts::new((0..4).map(host).collect()).text()).unwrap();
    fs::write(directory.join("wan.txt"), WAN).unwrap();
    let server = Process::start("net_server", SERVER, directory, &[]);
    let client = Process::start("net_client", DIALER, directory, further);
    (testbed, server, client)
}

/// Sends a long body and a short one; both arrive, without a lost session, and so does the round of a ping that leaves
/// after the long body has begun and before it has ended.
fn a_long_body_arrives(server: &mut Process, client: &mut Process) -> Duration {
    let send = FromCore::Send { dest: Dest::Node(SERVER), class: Class::Keep, digest: None };
    client.send(&send, vec![1; BODY_BYTES]);
    client.send(&send, b"the next".to_vec());
    let begun = Instant::now();
    let (mut bodies, mut downs, mut progress_is_sent, mut decided_before) = (Vec::new(), 0, false, false);
    while bodies.len() < 2 {
        assert!(begun.elapsed() < PATIENCE, "{} bodies arrived, {downs} sessions were lost", bodies.len());
        if !progress_is_sent && begun.elapsed() > Duration::from_secs(1) {
            progress_is_sent = true;
            let progress = Progress { decided: Round(5), lanes: vec![] };
            client.send(&FromCore::Progress(progress), vec![]);
        }
        for (message, body) in server.take() {
            match message {
                ToCore::Peer { from: DIALER, .. } => bodies.push(body),
                ToCore::PeerDecided { decided: Round(5), .. } => decided_before |= bodies.is_empty(),
                ToCore::PeerDown { .. } => downs += 1,
                _ => {}
            }
        }
        client.take();
    }
    let took = begun.elapsed();
    println!("{BODY_BYTES} bytes arrived after {took:?}");
    assert!(bodies[0].len() == BODY_BYTES && bodies[0].iter().all(|byte| *byte == 1));
    assert_eq!(bodies[1][..], b"the next"[..]);
    assert_eq!(downs, 0, "bytes are signs of life at both ends");
    assert!(took > Duration::from_secs(2), "the line is slow");
    assert!(decided_before, "a ping overtakes the rest of the body");
    took
}

#[test]
fn a_body_that_takes_longer_than_the_patience_arrives_once_and_pings_pass_it() {
    let (relayed, own) = addresses();
    let (_testbed, mut server, mut client) = pair(relayed.local_addr().unwrap().ip(), own, &[]);
    thread::spawn(move || relay(relayed, own));
    a_long_body_arrives(&mut server, &mut client);
}

#[test]
fn a_long_body_takes_its_time_on_an_emulated_link_and_no_session() {
    let (relayed, own) = addresses();
    drop(relayed);
    let (_testbed, mut server, mut client) = pair(own.ip(), own, &["--wan", "wan.txt"]);
    let took = a_long_body_arrives(&mut server, &mut client);
    // 12 MiB at 32 Mbit/s take 3.1 s.
    assert!(took >= Duration::from_millis(3_100), "{took:?}");
}
