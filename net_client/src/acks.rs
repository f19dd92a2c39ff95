//! The loop that reads acks and pongs of all links and notices their ends. It also requests pings and reports counters.
//!
//! When a link ends, breaks a rule, or leaves too many pings unanswered, the loop shuts it down, which frees its send
//! thread even from a write that blocks, and then declares it lost. No other thread declares a link lost.
//!
//! # Correctness
//! Reader and writer share one socket, which is blocking for the writer's sake. So the reader reads only what an event
//! announces, once for each event. After a read that did not fill its buffer the socket was empty, and the next byte or
//! the end causes a new event, by the rules of edge-triggered epoll. After one that did, the link is registered again,
//! which causes an event at once if there is more. If that rule ever failed, the socket's read timeout would make a
//! read cost a millisecond instead of blocking the loop.
//!
//! # Security
//! In a turn of the loop a link gets one read of 4 KiB, however much its listener sends, so no listener keeps the loop
//! from the others. A listener that sends more than [`LISTENER_CHATTER_MAX`] frames without news between two pings is
//! closed and counted.
//!
//! On an emulated link, acks and pongs count one delay after they were read, because the listener sends them without a
//! delay line. So a ping takes the delays of both directions.
//!
//! Cost when idle: one wake-up a second, and one a pong.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use mio::{Events, Interest, Poll, Token, Waker};

use wire::frame::{Frame, FrameReader, Kind, Opener, ReadError, ReadOutcome, Scratch};
use wire::ids::Round;
use wire::limits::local::{Local, LocalLimits};
use wire::limits::{LISTENER_CHATTER_MAX, PING_FAILURES_MAX};
use wire::name::Name;
use wire::session::ListenerHello;
use wire::wan::Emulated;

use crate::outbox::{Ack, Listener, NeverSent};
use crate::peer::Peer;
use crate::report::{Counters, Reports};

/// The reading half of a session that a send thread has established.
pub(crate) struct NewLink {
    pub(crate) peer: Arc<Peer>,
    pub(crate) stream: TcpStream,
    pub(crate) opener: Opener,
    pub(crate) hello: ListenerHello,
    pub(crate) listener: Listener,
    pub(crate) emulated: Option<Arc<Emulated>>,
}

/// A handle of the loop.
#[derive(Clone)]
pub(crate) struct Acks {
    links: Sender<NewLink>,
    waker: Arc<Waker>,
    reports: Arc<Reports>,
}

impl Acks {
    /// Hands a session's reading half to the loop.
    pub(crate) fn add(&self, link: NewLink) {
        self.links.send(link).expect("the loop ends only with the process");
        self.waker.wake().expect("an eventfd can be written to as long as its loop runs");
    }

    /// Counts a breach of a listener's in its hello.
    pub(crate) fn refuse(&self, reason: &'static str) {
        self.reports.refuse(reason);
    }
}

/// The loop.
pub(crate) struct AcksLoop {
    poll: Poll,
    new_links: Receiver<NewLink>,
    links: BTreeMap<Token, Reading>,
    peers: Vec<Arc<Peer>>,
    reports: Arc<Reports>,
    times: PingTimes,
    scratch: Scratch,
    last_counters: Counters,
}

/// How often each link is pinged, and how long a ping may stay unanswered.
pub(crate) struct PingTimes {
    interval: Duration,
    timeout: Duration,
}

impl PingTimes {
    pub(crate) fn of(limits: &LocalLimits) -> PingTimes {
        PingTimes { interval: limits.time(Local::PingIntervalMs), timeout: limits.time(Local::PingTimeoutMs) }
    }
}

/// The reading half of a link.
struct Reading {
    peer: Arc<Peer>,
    stream: mio::net::TcpStream,
    frames: FrameReader,
    pings: Pings,
    /// Frames without news since the last ping.
    chatter: u32,
    decided: Round,
    emulated: Option<Arc<Emulated>>,
    /// Frames of an emulated link that were read but have not arrived yet, with their arrivals, which ascend.
    late: VecDeque<(Instant, Frame)>,
}

/// Why a link is closed.
#[derive(Debug)]
enum Closed {
    Ended,
    Silent,
    Read(ReadError),
    Ack(NeverSent),
    Kind(Kind),
    Chatter,
}

/// Whether a link may have more to read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum More {
    /// The next event announces it.
    No,
    Perhaps,
}

impl Closed {
    /// The name under which a breach of the listener's is counted; `None` if it broke no rule.
    fn breach(&self) -> Option<&'static str> {
        match self {
            Closed::Read(ReadError::Frame(error)) => Some(error.name()),
            Closed::Ack(_) => Some(ACK_NEVER_SENT),
            Closed::Kind(_) => Some("frame of a kind not taken here"),
            Closed::Chatter => Some("listener that floods"),
            Closed::Ended | Closed::Silent | Closed::Read(ReadError::Io(_)) => None,
        }
    }
}

/// The name under which a listener is counted that confirms what it cannot have.
pub(crate) const ACK_NEVER_SENT: &str = "ack of what was never sent";

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Closed::Ended => write!(f, "the peer closed it"),
            Closed::Silent => write!(f, "{} pings in a row were not answered", PING_FAILURES_MAX + 1),
            Closed::Read(error) => error.fmt(f),
            Closed::Ack(error) => error.fmt(f),
            Closed::Kind(kind) => write!(f, "a listener must not send {kind:?}"),
            Closed::Chatter => {
                write!(f, "it sent more than {LISTENER_CHATTER_MAX} frames without news between two pings")
            }
        }
    }
}

const WAKER: Token = Token(usize::MAX);
/// Room for some ninety acks.
const SCRATCH_BYTES: usize = 4096;
const READ_TIMEOUT: Duration = Duration::from_millis(1);
/// Frames of a link that may be on their way. A listener sends some hundred acks a second, and one more for each MiB;
/// of one that sends more the oldest count early.
const LATE_MAX: usize = 1 << 14;

impl AcksLoop {
    /// A loop without links, and its handle. The loop reports the counters of `peers`.
    pub(crate) fn new(
        peers: Vec<Arc<Peer>>,
        reports: Arc<Reports>,
        times: PingTimes,
    ) -> io::Result<(AcksLoop, Acks)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        // Unbounded, but never longer than the list of peers: a send thread adds a link only after the loop has ended
        // the previous one.
        let (sender, new_links) = crossbeam_channel::unbounded();
        let (links, scratch) = (BTreeMap::new(), Scratch::of_bytes(SCRATCH_BYTES));
        let last_counters = counters(&peers, &reports);
        let acks = Acks { links: sender, waker, reports: reports.clone() };
        let acks_loop = AcksLoop { poll, new_links, links, peers, reports, times, scratch, last_counters };
        Ok((acks_loop, acks))
    }

    /// Runs for ever.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        let mut next_tick = Instant::now() + self.times.interval;
        loop {
            let next = self.links.values().filter_map(Reading::next_arrival).fold(next_tick, Instant::min);
            let wait = next.saturating_duration_since(Instant::now());
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                if event.token() != WAKER {
                    self.read(event.token(), event.is_read_closed() || event.is_error());
                }
            }
            self.take_late();
            while let Ok(link) = self.new_links.try_recv() {
                self.add(link);
            }
            if Instant::now() >= next_tick {
                next_tick = Instant::now() + self.times.interval;
                self.tick();
            }
        }
    }

    /// Begins to read a session, or closes it if it cannot be registered.
    fn add(&mut self, link: NewLink) {
        let NewLink { peer, stream, opener, hello, listener, emulated } = link;
        self.reports.up(peer.id(), listener);
        self.reports.decided(peer.id(), hello.decided);
        let token = Token(usize::from(peer.id().0));
        let prepared = stream.set_read_timeout(Some(READ_TIMEOUT));
        let mut reading = Reading {
            peer,
            stream: mio::net::TcpStream::from_std(stream),
            // A listener sends no data.
            frames: FrameReader::new(opener, 0),
            pings: Pings::default(),
            chatter: 0,
            decided: hello.decided,
            emulated,
            late: VecDeque::new(),
        };
        let registered = self.poll.registry().register(&mut reading.stream, token, Interest::READABLE);
        match prepared.and(registered) {
            Ok(()) => {
                let before = self.links.insert(token, reading);
                assert!(before.is_none(), "a peer's next link begins after its last was lost");
            }
            Err(error) => self.close(reading, &Closed::Read(ReadError::Io(error))),
        }
    }

    /// Reads a link once; asks for another event if there may be more, as there is if `end_has_come`.
    fn read(&mut self, token: Token, end_has_come: bool) {
        // The link may have been closed by an earlier event of the same batch.
        let Some(reading) = self.links.get_mut(&token) else { return };
        let result = match reading.read(&mut self.scratch, &self.reports) {
            Ok(more) if more == More::Perhaps || end_has_come => {
                let registry = self.poll.registry();
                let asked = registry.reregister(&mut reading.stream, token, Interest::READABLE);
                asked.map_err(|error| Closed::Read(ReadError::Io(error)))
            }
            result => result.map(drop),
        };
        if let Err(closed) = result
            && let Some(reading) = self.links.remove(&token)
        {
            self.close(reading, &closed);
        }
    }

    /// Takes the frames of emulated links that have arrived by now.
    fn take_late(&mut self) {
        let now = Instant::now();
        let mut closed = Vec::new();
        for (token, reading) in &mut self.links {
            while reading.next_arrival().is_some_and(|arrival| arrival <= now)
                && let Some((_, frame)) = reading.late.pop_front()
            {
                if let Err(why) = reading.accept(&frame, &self.reports) {
                    closed.push((*token, why));
                    break;
                }
            }
        }
        for (token, why) in closed {
            let reading = self.links.remove(&token).expect("its token was found above");
            self.close(reading, &why);
        }
    }

    fn close(&mut self, mut reading: Reading, closed: &Closed) {
        if reading.peer.is_logged() {
            log::info!("closed the link to {}: {closed}", Name::Node(reading.peer.id()));
        }
        if let Some(breach) = closed.breach() {
            self.reports.refuse(breach);
        }
        // If either fails, the connection is closed already.
        let _ = self.poll.registry().deregister(&mut reading.stream);
        let _ = reading.stream.shutdown(Shutdown::Both);
        self.reports.down(reading.peer.id());
        reading.peer.link_lost();
    }

    /// At each ping interval: sends pings, closes silent links, reports counters if they have changed.
    fn tick(&mut self) {
        let now = Instant::now();
        let mut silent = Vec::new();
        for (token, reading) in &mut self.links {
            reading.chatter = 0;
            match reading.pings.next(now, self.times.timeout) {
                Some(sequence) => reading.peer.request_ping(sequence),
                None => silent.push(*token),
            }
        }
        for token in silent {
            let reading = self.links.remove(&token).expect("its token was found above");
            self.close(reading, &Closed::Silent);
        }
        let counters = counters(&self.peers, &self.reports);
        if counters != self.last_counters {
            self.reports.counters(counters.clone());
            self.last_counters = counters;
        }
    }
}

fn counters(peers: &[Arc<Peer>], reports: &Reports) -> Counters {
    let links = peers.iter().map(|peer| (peer.id(), peer.counters())).collect();
    Counters { links, refused: reports.refused() }
}

impl Reading {
    /// Reads once.
    fn read(&mut self, scratch: &mut Scratch, reports: &Reports) -> Result<More, Closed> {
        let mut frames = Vec::new();
        let outcome = self.frames.read_from(&mut self.stream, scratch, &mut frames);
        // Frames before an error are valid.
        for frame in frames {
            match &self.emulated {
                Some(emulated) => {
                    let now = Instant::now();
                    let last = self.late.back().map_or(now, |(arrival, _)| *arrival);
                    self.late.push_back((last.max(now + emulated.delay_back(now)), frame));
                    if self.late.len() > LATE_MAX
                        && let Some((_, early)) = self.late.pop_front()
                    {
                        self.accept(&early, reports)?;
                    }
                }
                None => self.accept(&frame, reports)?,
            }
        }
        match outcome.map_err(Closed::Read)? {
            ReadOutcome::Ended => Err(Closed::Ended),
            ReadOutcome::Read(count) if count >= SCRATCH_BYTES => Ok(More::Perhaps),
            ReadOutcome::Read(_) | ReadOutcome::WouldBlock => Ok(More::No),
        }
    }

    /// When the next frame in `late` arrives.
    fn next_arrival(&self) -> Option<Instant> {
        self.late.front().map(|(arrival, _)| *arrival)
    }

    fn accept(&mut self, frame: &Frame, reports: &Reports) -> Result<(), Closed> {
        match frame.kind {
            Kind::Ack => {
                self.pings.alive();
                match self.peer.acknowledge(frame.sequence).map_err(Closed::Ack)? {
                    Ack::New => Ok(()),
                    Ack::Repeated => self.chatter(),
                }
            }
            Kind::Pong => {
                self.pings.answered(frame.sequence);
                self.peer.on_pong();
                if let Some(decided) = frame.decided()
                    && decided != self.decided
                {
                    self.decided = decided;
                    reports.decided(self.peer.id(), decided);
                }
                self.chatter()
            }
            Kind::Heard => {
                self.pings.alive();
                self.chatter()
            }
            kind @ (Kind::Data | Kind::Ping | Kind::Skip) => Err(Closed::Kind(kind)),
        }
    }

    /// Counts a frame without news.
    fn chatter(&mut self) -> Result<(), Closed> {
        self.chatter += 1;
        if self.chatter > LISTENER_CHATTER_MAX { Err(Closed::Chatter) } else { Ok(()) }
    }
}

/// The pings of one link.
#[derive(Debug, Default)]
struct Pings {
    next: u64,
    /// Sequence and time of each, oldest first.
    unanswered: VecDeque<(u64, Instant)>,
    /// Pings that timed out since the last sign of life.
    failures: u32,
}

impl Pings {
    /// The sequence of the ping to send now; `None` if more than [`PING_FAILURES_MAX`] in a row timed out.
    fn next(&mut self, now: Instant, timeout: Duration) -> Option<u64> {
        while let Some((_, since)) = self.unanswered.front()
            && now.saturating_duration_since(*since) >= timeout
        {
            self.unanswered.pop_front();
            self.failures += 1;
        }
        if self.failures > PING_FAILURES_MAX {
            return None;
        }
        let sequence = self.next;
        self.next += 1;
        self.unanswered.push_back((sequence, now));
        Some(sequence)
    }

    /// The pong of this sequence arrived.
    fn answered(&mut self, sequence: u64) {
        while let Some((ping, _)) = self.unanswered.front()
            && *ping <= sequence
        {
            self.unanswered.pop_front();
        }
        self.alive();
    }

    /// The peer is alive, even if some pings are unanswered.
    fn alive(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use wire::limits::PING_TIMEOUT;

    use super::*;

    #[test]
    fn too_many_failures_in_a_row_make_a_link_silent() {
        let start = Instant::now();
        let mut pings = Pings::default();
        let answered_until_s = 20;
        let silent_at_s = (0..1_000).find(|second| {
            let next = pings.next(start + Duration::from_secs(*second), PING_TIMEOUT);
            if *second <= answered_until_s {
                pings.answered(next.unwrap());
            }
            next.is_none()
        });
        let first_failure_s = answered_until_s + 1 + PING_TIMEOUT.as_secs();
        assert_eq!(silent_at_s, Some(first_failure_s + u64::from(PING_FAILURES_MAX)));
        assert!(pings.unanswered.len() <= PING_TIMEOUT.as_secs() as usize);
    }

    #[test]
    fn acks_keep_a_link_alive_although_pongs_are_late() {
        let start = Instant::now();
        let mut pings = Pings::default();
        for second in 0..1_000 {
            assert!(
                pings.next(start + Duration::from_secs(second), PING_TIMEOUT).is_some(),
                "second {second}"
            );
            pings.alive();
        }
        pings.answered(u64::MAX);
        assert!(pings.unanswered.is_empty());
    }
}
