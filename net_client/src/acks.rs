//! The one loop that reads: acks and pongs of all links, and their ends. It also asks for pings and reports counters.
//!
//! A link that ends, breaks a rule, or leaves too many pings unanswered is shut down here, which frees its send thread
//! even from a write that blocks; then it is declared lost. Nothing else declares that.
//!
//! # Correctness
//! Reader and writer share one socket, and whether it blocks is a property of the socket, not of the handle; the writer
//! wants it to. So the reader stops after a read that brought less than it had room for: by the rules of edge-triggered
//! epoll the socket was then empty, and the next byte or the end makes a new event. The socket's read timeout is the
//! safety net: should the rule ever fail, a read costs a millisecond, not the loop.
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
use wire::ids::{NodeId, Round};
use wire::limits::PING_FAILURES_MAX;
use wire::limits::local::{Local, LocalLimits};
use wire::name::Name;
use wire::session::ListenerHello;

use crate::outbox::{Listener, NeverSent};
use crate::peer::Peer;
use crate::report::Reports;

/// A session that a send thread has established; its reading half.
pub(crate) struct NewLink {
    pub(crate) peer: Arc<Peer>,
    pub(crate) stream: TcpStream,
    pub(crate) opener: Opener,
    pub(crate) hello: ListenerHello,
    pub(crate) listener: Listener,
}

/// The way into the loop.
#[derive(Clone)]
pub(crate) struct Acks {
    links: Sender<NewLink>,
    waker: Arc<Waker>,
}

impl Acks {
    /// Hands a session's reading half to the loop.
    pub(crate) fn add(&self, link: NewLink) {
        self.links.send(link).expect("the loop ends with the process only");
        self.waker.wake().expect("an eventfd can be written to as long as its loop lives");
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
    last_counters: Vec<(NodeId, wire::envelope::LinkCounters)>,
}

/// How often links are probed, and how long a probe may stay unanswered.
pub(crate) struct PingTimes {
    interval: Duration,
    timeout: Duration,
}

impl PingTimes {
    /// Those of a run.
    pub(crate) fn of(limits: &LocalLimits) -> PingTimes {
        PingTimes { interval: limits.time(Local::PingIntervalMs), timeout: limits.time(Local::PingTimeoutMs) }
    }
}

/// One link as it is read.
struct Reading {
    peer: Arc<Peer>,
    stream: mio::net::TcpStream,
    frames: FrameReader,
    pings: Pings,
    decided: Round,
}

/// Why a link is closed.
#[derive(Debug)]
enum Closed {
    Ended,
    Silent,
    Read(ReadError),
    Ack(NeverSent),
    Kind(Kind),
}

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Closed::Ended => write!(f, "the peer ended it"),
            Closed::Silent => write!(f, "{} pings in a row went unanswered", PING_FAILURES_MAX + 1),
            Closed::Read(error) => error.fmt(f),
            Closed::Ack(error) => error.fmt(f),
            Closed::Kind(kind) => write!(f, "a listener has no {kind:?} to send"),
        }
    }
}

const WAKER: Token = Token(usize::MAX);
/// Room for some ninety acks.
const SCRATCH_BYTES: usize = 4096;
const READ_SAFETY_NET: Duration = Duration::from_millis(1);

impl AcksLoop {
    /// A loop without links, and the way into it. It reports the counters of `peers`.
    pub(crate) fn new(
        peers: Vec<Arc<Peer>>,
        reports: Arc<Reports>,
        times: PingTimes,
    ) -> io::Result<(AcksLoop, Acks)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        // Unbounded, and yet never longer than there are peers: a send thread adds its next link after the loop has
        // ended the last one.
        let (sender, new_links) = crossbeam_channel::unbounded();
        let (links, scratch) = (BTreeMap::new(), Scratch::of_bytes(SCRATCH_BYTES));
        let last_counters = peers.iter().map(|peer| (peer.id(), peer.counters())).collect();
        let acks_loop = AcksLoop { poll, new_links, links, peers, reports, times, scratch, last_counters };
        Ok((acks_loop, Acks { links: sender, waker }))
    }

    /// Serves for ever.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        let mut next_tick = Instant::now() + self.times.interval;
        loop {
            let wait = next_tick.saturating_duration_since(Instant::now());
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                if event.token() != WAKER {
                    self.read(event.token(), event.is_read_closed() || event.is_error());
                }
            }
            while let Ok(link) = self.new_links.try_recv() {
                self.add(link);
            }
            if Instant::now() >= next_tick {
                next_tick = Instant::now() + self.times.interval;
                self.tick();
            }
        }
    }

    /// Takes over a session. One that can't be watched is closed at once.
    fn add(&mut self, link: NewLink) {
        let NewLink { peer, stream, opener, hello, listener } = link;
        self.reports.up(peer.id(), listener);
        self.reports.decided(peer.id(), hello.decided);
        let token = Token(usize::from(peer.id().0));
        let prepared = stream.set_read_timeout(Some(READ_SAFETY_NET));
        let mut reading = Reading {
            peer,
            stream: mio::net::TcpStream::from_std(stream),
            // A listener sends no data, so no body of it is lawful.
            frames: FrameReader::new(opener, 0),
            pings: Pings::default(),
            decided: hello.decided,
        };
        let watched = self.poll.registry().register(&mut reading.stream, token, Interest::READABLE);
        match prepared.and(watched) {
            Ok(()) => {
                let before = self.links.insert(token, reading);
                assert!(before.is_none(), "a peer's next link begins after its last was lost");
            }
            Err(error) => self.close(reading, &Closed::Read(ReadError::Io(error))),
        }
    }

    /// Reads what a link has; to its very end if that is known to have come.
    fn read(&mut self, token: Token, end_has_come: bool) {
        // A link that was closed while its event was under way is not there any more.
        let Some(reading) = self.links.get_mut(&token) else { return };
        if let Err(closed) = reading.read(end_has_come, &mut self.scratch, &self.reports)
            && let Some(reading) = self.links.remove(&token)
        {
            self.close(reading, &closed);
        }
    }

    fn close(&mut self, mut reading: Reading, closed: &Closed) {
        log::info!("the link to {} is closed: {closed}", Name::Node(reading.peer.id()));
        // Neither matters if it fails: the connection is gone then.
        let _ = self.poll.registry().deregister(&mut reading.stream);
        let _ = reading.stream.shutdown(Shutdown::Both);
        self.reports.down(reading.peer.id());
        reading.peer.link_lost();
    }

    /// At each ping interval: pings, links that have gone silent, counters if they have changed.
    fn tick(&mut self) {
        let now = Instant::now();
        let mut silent = Vec::new();
        for (token, reading) in &mut self.links {
            match reading.pings.next(now, self.times.timeout) {
                Some(sequence) => reading.peer.request_ping(sequence),
                None => silent.push(*token),
            }
        }
        for token in silent {
            let reading = self.links.remove(&token).expect("its token was just found");
            self.close(reading, &Closed::Silent);
        }
        let counters: Vec<_> = self.peers.iter().map(|peer| (peer.id(), peer.counters())).collect();
        if counters != self.last_counters {
            self.reports.counters(counters.clone());
            self.last_counters = counters;
        }
    }
}

impl Reading {
    fn read(&mut self, end_has_come: bool, scratch: &mut Scratch, reports: &Reports) -> Result<(), Closed> {
        let mut frames = Vec::new();
        loop {
            let outcome = self.frames.read_from(&mut self.stream, scratch, &mut frames);
            // Frames that came before an error count all the same.
            for frame in frames.drain(..) {
                self.judge(&frame, reports)?;
            }
            match outcome.map_err(Closed::Read)? {
                ReadOutcome::Ended => return Err(Closed::Ended),
                ReadOutcome::Read(count) if count < SCRATCH_BYTES && !end_has_come => return Ok(()),
                ReadOutcome::Read(_) => {}
                ReadOutcome::WouldBlock => return Ok(()),
            }
        }
    }

    fn judge(&mut self, frame: &Frame, reports: &Reports) -> Result<(), Closed> {
        match frame.kind {
            Kind::Ack => {
                self.pings.alive();
                self.peer.acknowledge(frame.sequence).map_err(Closed::Ack)
            }
            Kind::Pong => {
                self.pings.answered(frame.sequence);
                self.peer.pong_came();
                if let Some(decided) = frame.decided()
                    && decided != self.decided
                {
                    self.decided = decided;
                    reports.decided(self.peer.id(), decided);
                }
                Ok(())
            }
            kind @ (Kind::Data | Kind::Ping | Kind::Skip) => Err(Closed::Kind(kind)),
        }
    }
}

/// The pings of one link: which are unanswered, since when, and how many have failed in a row.
#[derive(Debug, Default)]
struct Pings {
    next: u64,
    unanswered: VecDeque<(u64, Instant)>,
    failures: u32,
}

impl Pings {
    /// The sequence of the ping to send now; `None` if more than [`PING_FAILURES_MAX`] in a row failed.
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

    /// The pong of this sequence came.
    fn answered(&mut self, sequence: u64) {
        while let Some((asked, _)) = self.unanswered.front()
            && *asked <= sequence
        {
            self.unanswered.pop_front();
        }
        self.alive();
    }

    /// Something came: whatever is unanswered, the peer is there.
    fn alive(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use wire::limits::PING_TIMEOUT;

    use super::*;

    #[test]
    fn a_link_is_silent_after_one_failure_too_many_in_a_row() {
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
    fn acks_show_that_the_peer_is_there_even_if_its_pongs_are_late() {
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
