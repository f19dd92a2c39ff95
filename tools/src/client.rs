//! A client's connection to one node, as a state machine for a mio loop.
//!
//! It dials, shakes hands in the role of client with a throwaway key, and from then on frames requests and opens
//! replies. When the connection is lost it dials again with backoff; nothing is resent, since a new connection is a
//! new client to the node: on [`Happened::Up`] its user queries what is open (`Request::Query`).
//!
//! Getters: [`Connection::is_up`], [`Connection::queued_bytes`]. Commands: [`Connection::send`]. Driven by:
//! [`Connection::tick`] (dials when due), [`Connection::on_ready`] (the socket is ready), [`Connection::flush`].

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use wire::client::{Reply, Request};
use wire::codec;
use wire::committee::Committee;
use wire::frame::{Frame, FrameReader, Kind, ReadOutcome, Scratch, Sealer};
use wire::hosts::Host;
use wire::ids::{Digest, Round};
use wire::limits::{DIAL_BACKOFF_MIN, FRAME_BYTES_MAX, HANDSHAKE_TIME};
use wire::rand;
use wire::session::{Dialer, Expected, HandshakeError, Identity, LocalHello, REPLY_BYTES};
use wire::wan::Emulated;

/// Longest pause before dialling again: a person waits for it, and it counts in how long a restarted node seems to
/// take.
const BACKOFF_MAX: Duration = Duration::from_millis(250);

/// An event of a connection for its user.
#[derive(Debug)]
pub(crate) enum Happened {
    /// It is established; whatever was open on the last one must be queried.
    Up,
    /// It was lost, or an attempt failed.
    Down(DownReason),
    /// The node answered.
    Reply(Reply),
}

/// Why there is no connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum DownReason {
    /// The node is of another testbed, and will be of it at every further attempt.
    OtherTestbed { theirs: Digest, ours: Digest },
    /// In words; it may pass.
    Passing(String),
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DownReason::OtherTestbed { theirs, ours } => {
                write!(f, "it is of testbed {theirs}, and the keys here are of testbed {ours}")
            }
            DownReason::Passing(reason) => f.write_str(reason),
        }
    }
}

impl From<String> for DownReason {
    fn from(reason: String) -> DownReason {
        DownReason::Passing(reason)
    }
}

/// Whether a socket may hold more than was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Readiness {
    /// It holds nothing: it will be reported when it does.
    Drained,
    /// It may, and nobody will report it: read again.
    More,
}

/// Reads of one call, so that a busy node holds up nothing else for more than a few milliseconds.
const READS_MAX: usize = 2;

/// A connection to one node, over however many sockets.
pub(crate) struct Connection {
    host: Host,
    testbed: Digest,
    expected: Expected,
    token: Token,
    state: State,
    backoff: Duration,
    /// When anything came from the node, or its session began.
    heard: Option<Instant>,
    /// The link as a WAN emulates it, if it does: requests and replies take its delays.
    emulated: Option<Emulated>,
}

enum State {
    /// Nothing is there; dial from then on.
    Down { until: Instant },
    /// The hello waits for the socket or for the reply.
    Shaking { stream: TcpStream, dialer: Box<Dialer>, reply: Vec<u8>, out: Vec<u8>, since: Instant },
    /// Established.
    Up { stream: TcpStream, reader: Box<FrameReader>, sending: Box<Sending>, transit: Transit },
}

/// What is on its way over an emulated link, with the times at which it arrives, which ascend.
#[derive(Default)]
struct Transit {
    requests: VecDeque<(Instant, Vec<u8>)>,
    replies: VecDeque<(Instant, Reply)>,
}

struct Sending {
    sealer: Sealer,
    next: u64,
    /// Framed bytes, of which those before `written` are out.
    out: Vec<u8>,
    written: usize,
}

impl Connection {
    /// A connection that dials at its first tick. Readiness of its sockets is reported under `token`.
    pub(crate) fn new(committee: &Committee, host: &Host, token: Token) -> Connection {
        Connection {
            testbed: committee.testbed(),
            expected: Expected::of(committee, host.id),
            host: host.clone(),
            token,
            state: State::Down { until: Instant::now() },
            backoff: DIAL_BACKOFF_MIN,
            heard: None,
            emulated: None,
        }
    }

    /// From now on requests and replies take the delays of this link.
    pub(crate) fn emulate(&mut self, emulated: Option<Emulated>) {
        self.emulated = emulated;
    }

    /// Whether something is on its way over an emulated link, so that [`Connection::flush`] is due soon.
    pub(crate) fn is_in_transit(&self) -> bool {
        match &self.state {
            State::Up { transit, .. } => !(transit.requests.is_empty() && transit.replies.is_empty()),
            State::Down { .. } | State::Shaking { .. } => false,
        }
    }

    /// Whether requests can be sent.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// When anything came from the node, or its session began; pongs count and bytes of unfinished frames.
    pub(crate) fn heard(&self) -> Option<Instant> {
        self.heard
    }

    /// Sends a ping at the next [`Connection::flush`]. Not while the socket has
    /// not taken what was sent before, behind which a ping would wait too.
    pub(crate) fn ping(&mut self) {
        if let State::Up { sending, .. } = &mut self.state
            && sending.written == sending.out.len()
        {
            sending.sealer.seal_ping(sending.next, Round(0), &mut sending.out);
        }
    }

    /// Framed bytes that the socket has not taken yet.
    pub(crate) fn queued_bytes(&self) -> usize {
        match &self.state {
            State::Up { sending, .. } => sending.out.len() - sending.written,
            State::Down { .. } | State::Shaking { .. } => 0,
        }
    }

    /// Frames a request, with `tail` after it, for the next [`Connection::flush`]. Dropped if the connection is not
    /// up: its user gets [`Happened::Up`] and queries again.
    pub(crate) fn send(&mut self, request: &Request, tail: &[u8]) {
        if let State::Up { sending, transit, .. } = &mut self.state {
            let mut body = codec::encode(request);
            body.extend_from_slice(tail);
            match &self.emulated {
                Some(link) => {
                    let now = Instant::now();
                    enqueue(&mut transit.requests, now + link.there(now).delay, body);
                }
                None => sending.seal(&body),
            }
        }
    }

    /// Dials if it is time to, and gives up a handshake that takes too long.
    pub(crate) fn tick(&mut self, now: Instant, registry: &Registry, happened: &mut Vec<Happened>) {
        match &self.state {
            State::Down { until } if *until <= now => {
                if let Err(error) = self.dial(now, registry) {
                    self.fail(error.to_string(), happened);
                }
            }
            State::Shaking { since, .. } if now.duration_since(*since) > HANDSHAKE_TIME => {
                self.fail(String::from("the handshake takes too long"), happened);
            }
            State::Down { .. } | State::Shaking { .. } | State::Up { .. } => {}
        }
    }

    /// Reads some of what there is, and writes what the socket takes.
    pub(crate) fn on_ready(&mut self, scratch: &mut Scratch, happened: &mut Vec<Happened>) -> Readiness {
        let result = match &self.state {
            State::Down { .. } => Ok(Readiness::Drained),
            State::Shaking { .. } => self.shake(scratch, happened),
            State::Up { .. } => self.read(scratch, happened).map_err(DownReason::from),
        };
        let readiness = result.unwrap_or_else(|reason| {
            self.fail(reason, happened);
            Readiness::Drained
        });
        self.flush(happened);
        readiness
    }

    /// Writes as much as the socket takes, of an emulated link what has arrived there by now; reports the replies that
    /// have arrived here.
    pub(crate) fn flush(&mut self, happened: &mut Vec<Happened>) {
        let State::Up { stream, sending, transit, .. } = &mut self.state else { return };
        if self.emulated.is_some() {
            let now = Instant::now();
            while let Some(body) = dequeue(&mut transit.requests, now) {
                sending.seal(&body);
            }
            happened.extend(std::iter::from_fn(|| dequeue(&mut transit.replies, now)).map(Happened::Reply));
        }
        if let Err(error) = sending.write_to(stream) {
            self.fail(error.to_string(), happened);
        }
    }

    fn dial(&mut self, now: Instant, registry: &Registry) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.resolve()?)?;
        // Only a lower latency is lost if the system refuses.
        let _ = stream.set_nodelay(true);
        registry.register(&mut stream, self.token, Interest::READABLE | Interest::WRITABLE)?;
        let local = LocalHello { incarnation: rand::u64(), decided: Round(0) };
        let (dialer, hello) = Dialer::start(&Identity::client(), self.testbed, Some(self.expected), local);
        self.state =
            State::Shaking { stream, dialer: Box::new(dialer), reply: Vec::new(), out: hello, since: now };
        Ok(())
    }

    fn resolve(&self) -> io::Result<SocketAddr> {
        let mut addresses = (self.host.public.as_str(), self.host.port).to_socket_addrs()?;
        addresses.next().ok_or_else(|| io::Error::other(format!("{} has no address", self.host.public)))
    }

    /// Drives the handshake; what follows the reply on the same socket is read as frames at once.
    fn shake(
        &mut self,
        scratch: &mut Scratch,
        happened: &mut Vec<Happened>,
    ) -> Result<Readiness, DownReason> {
        let State::Shaking { stream, reply, out, .. } = &mut self.state else {
            return Ok(Readiness::Drained);
        };
        if let Some(error) = stream.take_error().map_err(|error| error.to_string())? {
            return Err(error.to_string().into());
        }
        if !out.is_empty() {
            match stream.write(out) {
                Ok(count) => drop(out.drain(..count)),
                Err(error) if is_patient(&error) => return Ok(Readiness::Drained),
                Err(error) => return Err(error.to_string().into()),
            }
        }
        while reply.len() < REPLY_BYTES {
            let mut buffer = [0; REPLY_BYTES];
            match stream.read(&mut buffer[reply.len()..]) {
                Ok(0) => {
                    return Err(match Dialer::on_closed(reply, self.testbed) {
                        Some(HandshakeError::Testbed(theirs)) => {
                            DownReason::OtherTestbed { theirs, ours: self.testbed }
                        }
                        Some(error) => error.to_string().into(),
                        None => String::from("closed during the handshake").into(),
                    });
                }
                Ok(count) => {
                    let start = reply.len();
                    reply.extend_from_slice(&buffer[start..start + count]);
                }
                Err(error) if is_patient(&error) => return Ok(Readiness::Drained),
                Err(error) => return Err(error.to_string().into()),
            }
        }
        let down = State::Down { until: Instant::now() };
        let State::Shaking { stream, dialer, reply, .. } = std::mem::replace(&mut self.state, down) else {
            unreachable!("the state was matched above")
        };
        let (finish, session, hello) = dialer.on_reply(&reply).map_err(|error| error.to_string())?;
        let reader = FrameReader::new(session.opener, FRAME_BYTES_MAX);
        let sending = Sending { sealer: session.sealer, next: hello.next_expected, out: finish, written: 0 };
        let sending = Box::new(sending);
        self.state = State::Up { stream, reader: Box::new(reader), sending, transit: Transit::default() };
        self.backoff = DIAL_BACKOFF_MIN;
        self.heard = Some(Instant::now());
        happened.push(Happened::Up);
        Ok(self.read(scratch, happened)?)
    }

    fn read(&mut self, scratch: &mut Scratch, happened: &mut Vec<Happened>) -> Result<Readiness, String> {
        let State::Up { stream, reader, sending, transit } = &mut self.state else {
            return Ok(Readiness::Drained);
        };
        let mut frames = Vec::new();
        for _ in 0..READS_MAX {
            let outcome =
                reader.read_from(stream, scratch, &mut frames).map_err(|error| error.to_string())?;
            for frame in frames.drain(..) {
                match (sending.on_frame(&frame)?, &self.emulated) {
                    (Some(reply), Some(link)) => {
                        let now = Instant::now();
                        enqueue(&mut transit.replies, now + link.delay_back(now), reply);
                    }
                    (reply, _) => happened.extend(reply.map(Happened::Reply)),
                }
            }
            match outcome {
                ReadOutcome::Read(_) => self.heard = Some(Instant::now()),
                ReadOutcome::WouldBlock => return Ok(Readiness::Drained),
                ReadOutcome::Ended => return Err("closed by the node".into()),
            }
        }
        Ok(Readiness::More)
    }

    fn fail(&mut self, reason: impl Into<DownReason>, happened: &mut Vec<Happened>) {
        // Dropping the stream closes it and takes it off the poll.
        self.state = State::Down { until: Instant::now() + self.backoff };
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
        happened.push(Happened::Down(reason.into()));
    }
}

/// Adds what arrives then, but not before what was sent earlier.
fn enqueue<T>(queue: &mut VecDeque<(Instant, T)>, arrival: Instant, sent: T) {
    let last = queue.back().map_or(arrival, |(last, _)| *last);
    queue.push_back((arrival.max(last), sent));
}

/// The next that has arrived.
fn dequeue<T>(queue: &mut VecDeque<(Instant, T)>, now: Instant) -> Option<T> {
    queue.front().filter(|(arrival, _)| *arrival <= now)?;
    queue.pop_front().map(|(_, sent)| sent)
}

impl Sending {
    fn seal(&mut self, body: &[u8]) {
        self.sealer.seal_data(self.next, body, &mut self.out);
        self.next += 1;
    }

    /// Answers pings; gives the reply that a data frame carries.
    fn on_frame(&mut self, frame: &Frame) -> Result<Option<Reply>, String> {
        match frame.kind {
            Kind::Data => codec::decode(&frame.body).map(Some).map_err(|error| error.to_string()),
            Kind::Ping => {
                self.sealer.seal_pong(frame.sequence, Round(0), &mut self.out);
                Ok(None)
            }
            // Nothing is resent on this connection, so acks are of no use.
            Kind::Ack | Kind::Pong | Kind::Skip | Kind::Heard => Ok(None),
        }
    }

    fn write_to(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        while self.written < self.out.len() {
            match stream.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_patient(&error) => break,
                Err(error) => return Err(error),
            }
        }
        // A node that always leaves something unread must not keep what it has read in memory. What is moved is no more
        // than what was written since the last time.
        if self.written * 2 >= self.out.len() {
            self.out.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }
}

/// Whether an error only means that the socket is not ready.
fn is_patient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected | io::ErrorKind::Interrupted
    )
}
