//! The real `net_client` with the test as its core, and listeners made of `wire::session`, over loopback.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use ed25519_dalek::SigningKey;

use wire::bytes::Bytes;
use wire::committee::{Committee, Member, Protocol};
use wire::dest::Dest;
use wire::envelope::{Class, FromCore, ToCore};
use wire::frame::{Arrival, Frame, FrameReader, InOrder, Kind, ReadOutcome, Scratch, Sealer};
use wire::hosts::{Host, Hosts};
use wire::ids::{NodeId, Round};
use wire::ipc::{self, IpcReader, IpcWriter};
use wire::keys::NodeKeys;
use wire::limits::FRAME_BYTES_MAX;
use wire::rand;
use wire::session::{DialerHello, FINISH_BYTES, HELLO_BYTES, Listener, LocalHello};

/// The `net_client` of node 0, with the test as its core.
pub(crate) struct Bench {
    pub(crate) child: Child,
    pub(crate) core: UnixStream,
    pub(crate) reader: IpcReader<ToCore>,
    pub(crate) dir: PathBuf,
    pub(crate) committee: Arc<Committee>,
    pub(crate) keys: Vec<SigningKey>,
}

impl Bench {
    /// Starts it among `nodes` nodes; returns a listening socket for each of the others.
    pub(crate) fn start(nodes: u16) -> (Bench, Vec<TcpListener>) {
        Bench::start_with(nodes, &[], "delay=0ms")
    }

    /// The same with further arguments, beside a file `wan.txt` with these conditions for all links.
    pub(crate) fn start_with(nodes: u16, further: &[&str], conditions: &str) -> (Bench, Vec<TcpListener>) {
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

    pub(crate) fn send(&mut self, messages: impl IntoIterator<Item = (FromCore, Vec<u8>)>) {
        let mut writer = IpcWriter::new();
        for (message, body) in messages {
            writer.push(&message, &Bytes::from(body));
        }
        writer.write_all(&mut self.core).unwrap();
    }

    /// Waits for a report that `find` accepts.
    pub(crate) fn wait_for<T>(&mut self, find: impl Fn(&ToCore) -> Option<T>) -> T {
        loop {
            let (message, _) = self.reader.receive(&mut self.core).unwrap().expect("net_client runs");
            if let Some(found) = find(&message) {
                return found;
            }
        }
    }

    /// The next report about the state of a session.
    pub(crate) fn next_change(&mut self) -> ToCore {
        self.wait_for(|message| match message {
            ToCore::PeerUp { .. } | ToCore::PeerBack { .. } | ToCore::PeerDown { .. } => {
                Some(message.clone())
            }
            _ => None,
        })
    }

    pub(crate) fn peer(&self, id: u16) -> FakePeer {
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
pub(crate) struct FakePeer {
    pub(crate) id: NodeId,
    pub(crate) key: SigningKey,
    pub(crate) committee: Arc<Committee>,
    pub(crate) incarnation: u64,
    pub(crate) order: InOrder,
}

/// The listener's side of a session.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) sealer: Sealer,
    pub(crate) reader: FrameReader,
    pub(crate) scratch: Scratch,
}

impl FakePeer {
    pub(crate) fn accept(&self, listener: &TcpListener) -> Connection {
        self.accept_hello(listener).0
    }

    /// Accepts a connection; returns the dialer's hello too.
    pub(crate) fn accept_hello(&self, listener: &TcpListener) -> (Connection, DialerHello) {
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
        let reader = FrameReader::new(session.opener, FRAME_BYTES_MAX).with_pieces();
        // Small, so that a read seldom brings a whole burst and connections end in the middle of one.
        (Connection { stream, sealer: session.sealer, reader, scratch: Scratch::of_bytes(700) }, dialer)
    }

    /// Reads until `enough` new bodies have arrived, and answers pings.
    pub(crate) fn receive(&mut self, connection: &mut Connection, enough: usize, acks: Acks) -> Vec<Bytes> {
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
pub(crate) enum Acks {
    Sent,
    Kept,
}

impl Connection {
    pub(crate) fn read(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        let outcome = self.reader.read_from(&mut self.stream, &mut self.scratch, &mut frames).unwrap();
        assert!(matches!(outcome, ReadOutcome::Read(_)), "the dialer continues: {outcome:?}");
        frames
    }

    pub(crate) fn close(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

pub(crate) fn keep(number: u32) -> (FromCore, Vec<u8>) {
    with_class(number, Class::Keep)
}

pub(crate) fn with_class(number: u32, class: Class) -> (FromCore, Vec<u8>) {
    (FromCore::Send { dest: Dest::ShardOthers, class, digest: None }, number.to_le_bytes().to_vec())
}

pub(crate) fn numbers(bodies: &[Bytes]) -> Vec<u32> {
    bodies.iter().map(|body| u32::from_le_bytes(body[..4].try_into().unwrap())).collect()
}
