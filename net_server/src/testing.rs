//! For unit tests: shared state without a core process, and admitted dialers without a network.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Poll, Token};
use wire::committee::{Committee, Member, Protocol};
use wire::frame::Scratch;
use wire::ids::{NodeId, Round};
use wire::keys::{NodeKeys, SigningKey};
use wire::limits::local::LocalLimits;
use wire::session::{Dialer, Identity, Listener, LocalHello};

use crate::admission::{Admitted, Myself};
use crate::bridge::Bridge;
use crate::counters::Counters;
use crate::shared::Shared;
use crate::timers::Timers;

/// Shared state whose core is a socket that is never read.
pub(crate) struct Bench {
    pub(crate) shared: Shared,
    _poll: Poll,
    _core: UnixStream,
    listener: TcpListener,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        let poll = Poll::new().unwrap();
        let (ours, core) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let shared = Shared {
            bridge: Bridge::over(ours, poll.registry(), Token(1)).unwrap(),
            counters: Counters::default(),
            timers: Timers::default(),
            limits: LocalLimits::default(),
            scratch: Scratch::new(),
            frames: Vec::new(),
            now: Instant::now(),
            decided: Round(0),
            status: None,
        };
        Bench { shared, _poll: poll, _core: core, listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    /// The listener's end of a connection, and the dialer's.
    pub(crate) fn connection(&self) -> (TcpStream, std::net::TcpStream) {
        let dialer = std::net::TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = self.listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        (TcpStream::from_std(accepted), dialer)
    }

    /// A client that has just been admitted, and its end of the connection.
    pub(crate) fn client(&self, token: Token) -> (Admitted, std::net::TcpStream) {
        let (myself, local) = (myself(), LocalHello { incarnation: 1, decided: Round(0) });
        let me = (myself.keys.id, &myself.keys.signing);
        let (dialer, hello) = Dialer::start(&Identity::client(), myself.committee.testbed(), None, local);
        let (listener, reply) = Listener::on_hello(me, &myself.committee, local, |_| 0, &hello).unwrap();
        let (finish, _, _) = dialer.on_reply(&reply).unwrap();
        let (session, dialer) = listener.on_finish(&finish).unwrap();
        let (stream, end) = self.connection();
        (Admitted { token, stream, remote: remote("192.0.2.1:9"), session, dialer, next_expected: 0 }, end)
    }

    /// The number of refusals under a name.
    pub(crate) fn refused(&mut self, name: &str) -> u64 {
        let report = self.shared.counters.report();
        report.iter().find(|(given, _)| given == name).map_or(0, |(_, count)| *count)
    }
}

pub(crate) fn remote(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The only node of its committee.
pub(crate) fn myself() -> Myself {
    let signing = SigningKey::from_bytes(&[1; 32]);
    let member = Member { public_key: signing.verifying_key().to_bytes(), coin_commitment: [2; 32] };
    let committee = Committee::new(1, Protocol::default(), vec![member], [3; 32]);
    Myself { keys: NodeKeys { id: NodeId(0), signing, coin_secret: [4; 32] }, committee, incarnation: 5 }
}
