//! The loop: waits for events, lets each part do a bounded piece of work, and waits again once no part may do more.
//!
//! Sockets are edge-triggered. Their readiness is remembered where it belongs (the listener, the bridge, the queues of
//! readable connections), so a turn of the loop does not depend on its events, and a part that is held back does not
//! wake the loop again and again.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use wire::bytes::Bytes;
use wire::envelope::{FromCore, ToCore};
use wire::frame::Scratch;
use wire::ids::Round;
use wire::ipc::IpcError;
use wire::limits::local::Local;
use wire::name::Name;
use wire::rand;
use wire::session::Role;

use crate::admission::{Admission, Myself};
use crate::bridge::{Bridge, Core};
use crate::clients::Clients;
use crate::counters::{Counters, Refused};
use crate::options::Options;
use crate::peers::Peers;
use crate::shared::Shared;
use crate::timers::{Timer, Timers};

const LISTENER: Token = Token(0);
const CORE: Token = Token(1);
const FIRST_CONNECTION: usize = 2;
/// Events handled in one turn; the others follow in the next.
const EVENTS_MAX: usize = 256;
/// Connections accepted in one turn, so that a burst does not delay the established ones.
const ACCEPTS_A_TURN_MAX: usize = 16;

/// Why the process ends.
#[derive(Debug)]
pub(crate) enum ServerError {
    /// The address of our line in the hosts file cannot be bound.
    Listen(SocketAddr, io::Error),
    /// The system's readiness interface failed.
    Poll(io::Error),
    /// The queue to or from the core failed.
    Core(IpcError),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerError::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            ServerError::Poll(error) => write!(f, "waiting for events failed: {error}"),
            ServerError::Core(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ServerError {}

/// The process.
pub(crate) struct Server {
    poll: Poll,
    listener: TcpListener,
    /// Whether the listener may have connections.
    listener_ready: bool,
    next_token: usize,
    shared: Shared,
    admission: Admission,
    peers: Peers,
    clients: Clients,
    /// Messages of the current read; empty between reads.
    messages: Vec<(FromCore, Bytes)>,
}

impl Server {
    /// Takes over the IPC queue and listens.
    pub(crate) fn start(options: Options) -> Result<Server, ServerError> {
        let Options { keys, committee, listen, limits, .. } = options;
        let poll = Poll::new().map_err(ServerError::Poll)?;
        let registry = poll.registry();
        let bridge = Bridge::open(registry, CORE).map_err(|error| ServerError::Core(IpcError::Io(error)))?;
        let mut listener = TcpListener::bind(listen).map_err(|error| ServerError::Listen(listen, error))?;
        registry.register(&mut listener, LISTENER, Interest::READABLE).map_err(ServerError::Poll)?;
        let (now, id) = (Instant::now(), keys.id);
        let myself = Myself { keys, committee, incarnation: rand::u64() };
        log::info!("{} listens on {listen}", Name::Node(id));
        Ok(Server {
            poll,
            listener,
            listener_ready: true,
            next_token: FIRST_CONNECTION,
            admission: Admission::new(myself, limits.get(Local::AcceptsPerS), now),
            peers: Peers::default(),
            clients: Clients::new(),
            messages: Vec::new(),
            shared: Shared {
                bridge,
                counters: Counters::default(),
                timers: Timers::default(),
                limits,
                scratch: Scratch::new(),
                frames: Vec::new(),
                now,
                decided: Round(0),
                status: None,
            },
        })
    }

    /// Serves until the core has ended.
    pub(crate) fn run(mut self) -> Result<(), ServerError> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            match self.poll.poll(&mut events, self.wait()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result.map_err(ServerError::Poll)?,
            }
            self.shared.now = Instant::now();
            events.iter().for_each(|event| self.on_event(event));
            if self.read_core()? == Core::Gone {
                return Ok(());
            }
            self.accept();
            self.peers.serve(&mut self.shared);
            self.clients.serve(&mut self.shared);
            // After the reads: a process that was not scheduled for a while must not take others for silent.
            while let Some(timer) = self.shared.timers.pop(self.shared.now) {
                self.on_timer(timer);
            }
            match self.shared.bridge.flush() {
                // The core has ended, which is no error.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                result => result.map_err(|error| ServerError::Core(IpcError::Io(error)))?,
            }
            self.peers.settle(&mut self.shared);
        }
    }

    /// How long to wait for events: not at all while a part has work, else until the next timer.
    fn wait(&self) -> Option<Duration> {
        let bridge = &self.shared.bridge;
        let work = bridge.is_readable()
            || self.may_accept() && !self.admission.gate.is_waiting()
            || self.peers.has_ready() && !self.shared.holds_peers_back()
            || self.clients.has_work(&self.shared);
        if work { Some(Duration::ZERO) } else { self.shared.timers.wait(Instant::now()) }
    }

    fn on_event(&mut self, event: &mio::event::Event) {
        let token = event.token();
        if token == LISTENER {
            self.listener_ready = true;
        } else if token == CORE {
            self.shared.bridge.on_event(event);
        } else if self.peers.has(token) {
            self.peers.on_event(token, event, &mut self.shared);
        } else if self.clients.has(token) {
            self.clients.on_event(token, event, &mut self.shared);
        } else if self.admission.has(token) {
            self.advance(token);
        }
    }

    fn on_timer(&mut self, timer: Timer) {
        let shared = &mut self.shared;
        match timer {
            Timer::Accept => self.admission.gate.on_timer(),
            Timer::Acks => self.peers.on_acks_timer(shared),
            Timer::Counters => self.report(),
            Timer::Handshake(token) => self.admission.on_timer(token, shared),
            Timer::Silence(token) => self.peers.on_silence_timer(token, shared),
            Timer::Allowance(token) => self.peers.on_allowance_timer(token),
            Timer::ClientFrame(token) => self.clients.on_frame_timer(token, shared),
        }
    }

    /// Reports the counters to the core; later if it lags, since they may change for ever.
    fn report(&mut self) {
        let refused = self.shared.counters.report();
        if self.shared.holds_clients_back() {
            self.shared.counters_changed();
        } else {
            self.shared.bridge.push_message(&ToCore::Counters { links: self.peers.counters(), refused });
        }
    }

    fn read_core(&mut self) -> Result<Core, ServerError> {
        if !self.shared.bridge.is_readable() {
            return Ok(Core::Alive);
        }
        let mut messages = std::mem::take(&mut self.messages);
        let core = self.shared.bridge.read(&mut messages).map_err(ServerError::Core)?;
        for (message, body) in messages.drain(..) {
            match message {
                FromCore::Reply { client } => self.clients.reply(client, &body, &mut self.shared),
                FromCore::Progress(progress) => self.shared.decided = progress.decided,
                FromCore::Status => self.shared.status = Some((self.shared.now, body)),
                FromCore::Send { .. } | FromCore::Dial { .. } | FromCore::Rule { .. } => {
                    let what = "a message for net_client".to_string();
                    return Err(ServerError::Core(IpcError::Malformed(what)));
                }
            }
        }
        self.messages = messages;
        Ok(core)
    }

    /// Whether a connection may be waiting and may be accepted.
    fn may_accept(&self) -> bool {
        self.listener_ready && !self.shared.holds_connections_back()
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_A_TURN_MAX {
            if !self.may_accept() || !self.admission.gate.is_open(&mut self.shared) {
                return;
            }
            match self.listener.accept() {
                Ok((mut stream, remote)) => {
                    let token = Token(self.next_token);
                    self.next_token += 1;
                    // Acks and replies are complete when they are written, so delaying them is of no use.
                    let ready = stream.set_nodelay(true).and_then(|()| {
                        let interest = Interest::READABLE | Interest::WRITABLE;
                        self.poll.registry().register(&mut stream, token, interest)
                    });
                    match ready {
                        Ok(()) => self.admission.begin(token, stream, remote, &mut self.shared),
                        Err(error) => self.refuse_accept(&error),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.listener_ready = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.refuse_accept(&error),
            }
        }
    }

    fn refuse_accept(&mut self, error: &io::Error) {
        self.shared.refuse(Refused::AcceptFailed, error);
        self.admission.gate.pause(self.shared.now);
    }

    /// Continues a handshake; begins the session of a peer or client once it is finished.
    fn advance(&mut self, token: Token) {
        let peers = &self.peers;
        let next_expected = |dialer: &wire::session::DialerHello| match dialer.role {
            Role::Peer(peer) => peers.next_expected(peer, dialer),
            Role::Client => 0,
        };
        let Some(admitted) = self.admission.advance(token, next_expected, &mut self.shared) else { return };
        match admitted.dialer.role {
            Role::Peer(peer) => self.peers.begin(peer, admitted, &mut self.shared),
            Role::Client => self.clients.begin(admitted, &mut self.shared),
        }
    }
}
