//! The real `net_client` against listeners made of `wire::session`, over loopback.
//!
//! Each test acts as the core at one end (a socket pair) and as the peers at the other (free ports).

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;

use wire::bytes::Bytes;
use wire::committee::{Committee, Member, Protocol};
use wire::dest::Dest;
use wire::envelope::{Class, FromCore, Progress, ToCore};
use wire::frame::{Arrival, Frame, FrameReader, InOrder, Kind, ReadOutcome, Scratch, Sealer};
use wire::hosts::{Host, Hosts};
use wire::ids::{NodeId, Round};
use wire::ipc::{self, IpcReader, IpcWriter};
use wire::keys::NodeKeys;
use wire::limits::FRAME_BYTES_MAX;
use wire::link_rule::LinkRule;
use wire::rand;
use wire::session::{DialerHello, FINISH_BYTES, HELLO_BYTES, Listener, LocalHello};

/// The `net_client` of node 0, with the test as its core.
struct Bench {
    child: Child,
    core: UnixStream,
    reader: IpcReader<ToCore>,
    dir: PathBuf,
    committee: Arc<Committee>,
    keys: Vec<SigningKey>,
}

impl Bench {
    /// Starts it among `nodes` nodes; returns a listening socket for each of the others.
    fn start(nodes: u16) -> (Bench, Vec<TcpListener>) {
        Bench::start_with(nodes, &[], "delay=0ms")
    }

    /// The same with further arguments, beside a file `wan.txt` with these conditions for all links.
    fn start_with(nodes: u16, further: &[&str], conditions: &str) -> (Bench, Vec<TcpListener>) {
        let dir = std::env::temp_dir().join(format!("net-client-{}-{:x}", std::process::id(), rand::u64()));
        std::fs::create_dir_all(&dir).unwrap();
        let keys: Vec<SigningKey> = (0..nodes).map(|_| SigningKey::from_bytes(&rand::bytes32())).collect();
        let member = |key: &SigningKey| Member {
            public_key: key.verifying_key().to_bytes(),
            coin_commitment: [0; 32],
        };
        let members = keys.iter().map(member).collect();
        let committee = Committee::new(nodes, Protocol::default(), members, rand::bytes32());
        std::fs::write(dir.join("committee.txt"), committee.text()).unwrap();
        let own = NodeKeys { id: NodeId(0), signing: keys[0].clone(), coin_secret: [0; 32] };
        own.save(&dir.join("node-0.key")).unwrap();

        let listeners: Vec<TcpListener> =
            (0..nodes).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let host = |(id, listener): (usize, &TcpListener)| Host {
            id: NodeId(id as u16),
            private_ip: "127.0.0.1".parse().unwrap(),
            public: "localhost".into(),
            port: listener.local_addr().unwrap().port(),
            ssh: None,
        };
        let hosts = Hosts::new(listeners.iter().enumerate().map(host).collect());
        std::fs::write(dir.join("hosts.txt"), hosts.text()).unwrap();
        std::fs::write(dir.join("wan.txt"), format!("regions all\nlink * * {conditions}\n")).unwrap();

        let (core, theirs) = ipc::pair().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_net_client"))
            .args(["--id", "0", "--hosts"])
            .arg(dir.join("hosts.txt"))
            .arg("--keys")
            .arg(&dir)
            .arg("--log")
            .arg(dir.join("log"))
            .args(further)
            .current_dir(&dir)
            .stdin(Stdio::from(theirs))
            .spawn()
            .unwrap();
        let committee = Arc::new(committee);
        let bench = Bench { child, core, reader: IpcReader::new(), dir, committee, keys };
        (bench, listeners.into_iter().skip(1).collect())
    }

    fn send(&mut self, messages: impl IntoIterator<Item = (FromCore, Vec<u8>)>) {
        let mut writer = IpcWriter::new();
        for (message, body) in messages {
            writer.push(&message, &Bytes::from(body));
        }
        writer.write_all(&mut self.core).unwrap();
    }

    /// Waits for a report that `find` accepts.
    fn wait_for<T>(&mut self, find: impl Fn(&ToCore) -> Option<T>) -> T {
        loop {
            let (message, _) = self.reader.receive(&mut self.core).unwrap().expect("net_client runs");
            if let Some(found) = find(&message) {
                return found;
            }
        }
    }

    /// The next report about the state of a session.
    fn next_change(&mut self) -> ToCore {
        self.wait_for(|message| match message {
            ToCore::PeerUp { .. } | ToCore::PeerBack { .. } | ToCore::PeerDown { .. } => {
                Some(message.clone())
            }
            _ => None,
        })
    }

    fn peer(&self, id: u16) -> FakePeer {
        FakePeer {
            id: NodeId(id),
            key: self.keys[usize::from(id)].clone(),
            committee: self.committee.clone(),
            incarnation: rand::u64(),
            order: InOrder::default(),
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A peer's listening process.
struct FakePeer {
    id: NodeId,
    key: SigningKey,
    committee: Arc<Committee>,
    incarnation: u64,
    order: InOrder,
}

/// The listener's side of a session.
struct Connection {
    stream: TcpStream,
    sealer: Sealer,
    reader: FrameReader,
    scratch: Scratch,
}

impl FakePeer {
    fn accept(&self, listener: &TcpListener) -> Connection {
        self.accept_hello(listener).0
    }

    /// Accepts a connection; returns the dialer's hello too.
    fn accept_hello(&self, listener: &TcpListener) -> (Connection, DialerHello) {
        let (mut stream, _) = listener.accept().unwrap();
        let mut hello = [0; HELLO_BYTES];
        stream.read_exact(&mut hello).unwrap();
        let local = LocalHello { incarnation: self.incarnation, decided: Round(9) };
        let next = self.order.next();
        let (state, reply) =
            Listener::on_hello((self.id, &self.key), &self.committee, local, |_| next, &hello).unwrap();
        stream.write_all(&reply).unwrap();
        let mut finish = [0; FINISH_BYTES];
        stream.read_exact(&mut finish).unwrap();
        let (session, dialer) = state.on_finish(&finish).unwrap();
        let reader = FrameReader::new(session.opener, FRAME_BYTES_MAX);
        // Small, so that a read seldom brings a whole burst and connections end in the middle of one.
        (Connection { stream, sealer: session.sealer, reader, scratch: Scratch::of_bytes(700) }, dialer)
    }

    /// Reads until `enough` new bodies have arrived, and answers pings.
    fn receive(&mut self, connection: &mut Connection, enough: usize, acks: Acks) -> Vec<Bytes> {
        let mut bodies = Vec::new();
        while bodies.len() < enough {
            for frame in connection.read() {
                let mut answer = Vec::new();
                match frame.kind {
                    Kind::Data => match self.order.accept(frame.sequence) {
                        Arrival::Next => bodies.push(frame.body.clone()),
                        Arrival::Duplicate => {}
                        Arrival::Gap => panic!("a gap before {}", frame.sequence),
                    },
                    Kind::Skip => self.order.skip_to(frame.sequence),
                    Kind::Ping => connection.sealer.seal_pong(frame.sequence, Round(9), &mut answer),
                    kind => panic!("a dialer must not send {kind:?}"),
                }
                if acks == Acks::Sent {
                    connection.sealer.seal_ack(self.order.next(), &mut answer);
                }
                connection.stream.write_all(&answer).unwrap();
            }
        }
        bodies
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Acks {
    Sent,
    Kept,
}

impl Connection {
    fn read(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        let outcome = self.reader.read_from(&mut self.stream, &mut self.scratch, &mut frames).unwrap();
        assert!(matches!(outcome, ReadOutcome::Read(_)), "the dialer continues: {outcome:?}");
        frames
    }

    fn close(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn keep(number: u32) -> (FromCore, Vec<u8>) {
    with_class(number, Class::Keep)
}

fn with_class(number: u32, class: Class) -> (FromCore, Vec<u8>) {
    (FromCore::Send { dest: Dest::ShardOthers, class, digest: None }, number.to_le_bytes().to_vec())
}

fn numbers(bodies: &[Bytes]) -> Vec<u32> {
    bodies.iter().map(|body| u32::from_le_bytes(body[..4].try_into().unwrap())).collect()
}

const PEER: NodeId = NodeId(1);

#[test]
fn broken_connections_lose_and_double_no_frame() {
    let (mut bench, listeners) = Bench::start(2);
    let mut peer = bench.peer(1);
    bench.send((0..400).map(keep));
    let mut got = Vec::new();
    for connection_number in 0..10 {
        let mut connection = peer.accept(&listeners[0]);
        // Every third connection sends no acks, so the next hello has to confirm its frames.
        let acks = if connection_number % 3 == 2 { Acks::Kept } else { Acks::Sent };
        let enough = if connection_number < 9 { 25 } else { 400 - got.len() };
        got.extend(peer.receive(&mut connection, enough, acks));
        connection.close();
    }
    assert_eq!(numbers(&got), (0..400).collect::<Vec<u32>>());
    assert_eq!(bench.next_change(), ToCore::PeerUp { peer: PEER });
    for _ in 0..9 {
        assert_eq!(bench.next_change(), ToCore::PeerDown { peer: PEER });
        assert_eq!(bench.next_change(), ToCore::PeerBack { peer: PEER });
    }
}

#[test]
fn a_new_listener_gets_the_unconfirmed_frames_and_is_reported() {
    let (mut bench, listeners) = Bench::start(2);
    let mut peer = bench.peer(1);
    bench.send((0..10).map(keep));
    let mut connection = peer.accept(&listeners[0]);
    assert_eq!(peer.receive(&mut connection, 10, Acks::Sent).len(), 10);
    assert_eq!(bench.next_change(), ToCore::PeerUp { peer: PEER });
    bench.wait_for(|message| {
        (*message == ToCore::PeerDecided { peer: PEER, decided: Round(9) }).then_some(())
    });
    bench.wait_for(|message| match message {
        ToCore::Counters { links, .. } => (links[0].1.unconfirmed == 0).then_some(()),
        _ => None,
    });
    bench.send((10..15).map(keep));
    peer.receive(&mut connection, 5, Acks::Kept);
    connection.close();

    let mut peer = bench.peer(1);
    let mut connection = peer.accept(&listeners[0]);
    let again = peer.receive(&mut connection, 5, Acks::Sent);
    assert_eq!(numbers(&again), [10, 11, 12, 13, 14]);
    assert_eq!(bench.next_change(), ToCore::PeerDown { peer: PEER });
    assert_eq!(bench.next_change(), ToCore::PeerUp { peer: PEER });
}

#[test]
fn a_peer_that_never_reads_delays_no_other_and_its_outbox_is_bounded() {
    const BODIES: u32 = 100;
    let (mut bench, listeners) = Bench::start(3);
    let deaf = bench.peer(1).accept(&listeners[0]);
    let mut peer = bench.peer(2);
    let mut connection = peer.accept(&listeners[1]);
    let sending = {
        let mut core = bench.core.try_clone().unwrap();
        thread::spawn(move || {
            let mut writer = IpcWriter::new();
            for number in 0..BODIES {
                let (message, mut body) = keep(number);
                body.resize(1 << 20, number as u8);
                writer.push(&message, &Bytes::from(body));
                writer.write_all(&mut core).unwrap();
            }
        })
    };
    let bodies = peer.receive(&mut connection, BODIES as usize, Acks::Sent);
    assert_eq!(numbers(&bodies), (0..BODIES).collect::<Vec<u32>>());
    sending.join().unwrap();
    let dropped = bench.wait_for(|message| match message {
        ToCore::Counters { links, .. } => {
            let (deaf, other) = (links[0].1, links[1].1);
            assert_eq!(other.dropped, 0, "{links:?}");
            // Reports arrive in order, so this waits for one that counts all bodies.
            (other.data_sent >= u64::from(BODIES) && other.unconfirmed == 0).then_some(deaf.dropped)
        }
        _ => None,
    });
    assert!((36..BODIES.into()).contains(&dropped), "64 MiB of 100 are kept, {dropped} bodies were dropped");
    deaf.close();
}

#[test]
fn finished_messages_are_not_sent_to_a_peer_that_connects_late() {
    let (mut bench, listeners) = Bench::start(2);
    bench.send((0..20).map(|number| with_class(number, Class::Round(Round(1 + u64::from(number % 2))))));
    bench.send([(FromCore::Progress(Progress { decided: Round(1), lanes: vec![] }), vec![]), keep(20)]);
    // The outbox has processed the progress once a hello carries its decided round.
    let mut peer = bench.peer(1);
    let mut connection = loop {
        let (connection, hello) = peer.accept_hello(&listeners[0]);
        if hello.decided == Round(1) {
            break connection;
        }
        connection.close();
    };
    let bodies = peer.receive(&mut connection, 11, Acks::Sent);
    assert_eq!(numbers(&bodies), [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 20]);
}

fn rule(text: &str) -> (FromCore, Vec<u8>) {
    (FromCore::Rule { peer: PEER, rule: LinkRule::parse(text).unwrap() }, Vec::new())
}

/// A time that a quiet link is watched for, short beside every patience of the processes.
const A_WHILE: Duration = Duration::from_millis(300);

#[test]
fn a_link_that_is_cut_carries_nothing_and_goes_on_where_it_stopped() {
    let (mut bench, listeners) = Bench::start(2);
    let mut peer = bench.peer(1);
    bench.send([keep(0)]);
    let mut connection = peer.accept(&listeners[0]);
    assert_eq!(numbers(&peer.receive(&mut connection, 1, Acks::Sent)), [0]);
    // Longer than the interval of pings, none of which may pass.
    bench.send([rule("cut"), keep(1), keep(2)]);
    thread::sleep(A_WHILE);
    connection.stream.set_read_timeout(Some(Duration::from_millis(1_500))).unwrap();
    let silence = connection.stream.peek(&mut [0]).map_err(|error| error.kind());
    assert_eq!(silence, Err(ErrorKind::WouldBlock));
    connection.stream.set_read_timeout(None).unwrap();
    bench.send([keep(3), rule("none"), keep(4)]);
    assert_eq!(numbers(&peer.receive(&mut connection, 4, Acks::Sent)), [1, 2, 3, 4]);
}

#[test]
fn a_link_lost_while_it_is_cut_is_dialled_when_it_heals() {
    let (mut bench, listeners) =
        Bench::start_with(2, &["--limits", "ping-interval-ms=100,ping-timeout-ms=200"], "delay=0ms");
    let mut peer = bench.peer(1);
    bench.send([keep(0)]);
    let mut connection = peer.accept(&listeners[0]);
    assert_eq!(numbers(&peer.receive(&mut connection, 1, Acks::Sent)), [0]);
    assert_eq!(bench.next_change(), ToCore::PeerUp { peer: PEER });
    bench.send([rule("cut"), keep(1)]);
    assert_eq!(bench.next_change(), ToCore::PeerDown { peer: PEER }, "its pings are not answered");
    listeners[0].set_nonblocking(true).unwrap();
    // The first dial after a loss comes after 110 ms at most.
    thread::sleep(2 * A_WHILE);
    assert_eq!(listeners[0].accept().map_err(|error| error.kind()).unwrap_err(), ErrorKind::WouldBlock);
    listeners[0].set_nonblocking(false).unwrap();
    bench.send([rule("delay=1ms")]);
    let mut connection = peer.accept(&listeners[0]);
    assert_eq!(numbers(&peer.receive(&mut connection, 1, Acks::Sent)), [1]);
    assert_eq!(bench.next_change(), ToCore::PeerBack { peer: PEER });
}

#[test]
fn a_slow_link_delays_each_message_and_no_other_link() {
    const DELAY: Duration = Duration::from_millis(150);
    let (mut bench, listeners) = Bench::start(3);
    let (mut slow, mut other) = (bench.peer(1), bench.peer(2));
    bench.send([rule("delay=150ms,bandwidth=100mbit")]);
    let (mut to_slow, mut to_other) = (slow.accept(&listeners[0]), other.accept(&listeners[1]));
    let sent = Instant::now();
    bench.send([keep(0), keep(1)]);
    assert_eq!(numbers(&other.receive(&mut to_other, 2, Acks::Sent)), [0, 1]);
    let fast = sent.elapsed();
    assert_eq!(numbers(&slow.receive(&mut to_slow, 2, Acks::Sent)), [0, 1]);
    let took = sent.elapsed();
    assert!(took >= DELAY && fast < DELAY, "{took:?}, the other link {fast:?}");
    // 1.25 MB at 100 Mbit/s.
    let (message, mut body) = keep(2);
    body.resize(1_250_000, 0);
    let sent = Instant::now();
    bench.send([(message, body)]);
    slow.receive(&mut to_slow, 1, Acks::Sent);
    let took = sent.elapsed();
    assert!(took >= DELAY + Duration::from_millis(100), "{took:?}");
    bench.send([rule("none"), keep(3)]);
    assert_eq!(numbers(&slow.receive(&mut to_slow, 1, Acks::Sent)), [3]);
}

/// How many microseconds each of so many messages takes, in ascending order. They are sent one by one.
fn one_way_us(bench: &Bench, peer: &mut FakePeer, connection: &mut Connection, messages: u32) -> Vec<u64> {
    let began = Instant::now();
    // Each message carries the moment at which the core writes it.
    let mut core = bench.core.try_clone().unwrap();
    let sending = thread::spawn(move || {
        for number in 0..messages {
            thread::sleep(Duration::from_millis(3));
            let (message, mut body) = keep(number);
            body.extend((began.elapsed().as_micros() as u64).to_le_bytes());
            let mut writer = IpcWriter::new();
            writer.push(&message, &Bytes::from(body));
            writer.write_all(&mut core).unwrap();
        }
    });
    let mut delays_us = Vec::new();
    while delays_us.len() < messages as usize {
        let bodies = peer.receive(connection, 1, Acks::Sent);
        let now_us = began.elapsed().as_micros() as u64;
        delays_us
            .extend(bodies.iter().map(|body| now_us - u64::from_le_bytes(body[4..].try_into().unwrap())));
    }
    sending.join().unwrap();
    delays_us.sort_unstable();
    delays_us
}

/// The bandwidth between the first and the last of so many long messages that are sent at once.
fn mbit_per_s(bench: &mut Bench, peer: &mut FakePeer, connection: &mut Connection, messages: u32) -> f64 {
    const BODY_BYTES: usize = 100_000;
    bench.send((0..messages).map(|number| {
        let (message, mut body) = keep(number);
        body.resize(BODY_BYTES, 0);
        (message, body)
    }));
    peer.receive(connection, 1, Acks::Sent);
    let first = Instant::now();
    peer.receive(connection, messages as usize - 1, Acks::Sent);
    (BODY_BYTES * 8 * (messages as usize - 1)) as f64 / 1e6 / first.elapsed().as_secs_f64()
}

#[test]
fn an_emulated_link_has_the_delay_and_the_bandwidth_of_its_file() {
    /// A machine that does other things is late now and then, so the best of some batches counts.
    const BATCHES_MAX: usize = 10;
    let (mut bench, listeners) = Bench::start_with(2, &["--wan", "wan.txt"], "delay=50ms bandwidth=200mbit");
    let mut peer = bench.peer(1);
    let mut connection = peer.accept(&listeners[0]);
    assert_eq!(bench.next_change(), ToCore::PeerUp { peer: PEER });
    let is_exact = (0..BATCHES_MAX).any(|_| {
        let delays_us = one_way_us(&bench, &mut peer, &mut connection, 100);
        let (least, median, p99) = (delays_us[0], delays_us[50], delays_us[98]);
        println!("one way: least {least} us, median {median} us, p99 {p99} us");
        assert!(least >= 50_000, "nothing arrives early: {least} us");
        median < 51_000
    });
    assert!(is_exact, "no median within 1 ms of 50 ms");
    let is_exact = (0..BATCHES_MAX).any(|_| {
        // 5 MB take 200 ms.
        let mbit_per_s = mbit_per_s(&mut bench, &mut peer, &mut connection, 50);
        println!("bandwidth: {mbit_per_s:.1} Mbit/s");
        (190.0..210.0).contains(&mbit_per_s)
    });
    assert!(is_exact, "no bandwidth within 5 % of 200 Mbit/s");
}

#[test]
fn net_client_ends_when_its_core_does() {
    let (mut bench, listeners) = Bench::start(2);
    let _connection = bench.peer(1).accept(&listeners[0]);
    bench.core.shutdown(Shutdown::Both).unwrap();
    assert!(bench.child.wait().unwrap().success());
}
