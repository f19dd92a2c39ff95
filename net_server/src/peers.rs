//! The sessions of peers, and the links to which they belong.
//!
//! A link belongs to a dialer, identified by its key, and outlives its sessions. It stores the dialer's incarnation and
//! the next data frame, so that after a reconnect duplicates are dropped and gaps noticed. A link has at most one
//! session: a new one replaces the old, because only the dialer knows which of its connections it still uses.
//!
//! A frame is *settled* once it was written to the IPC queue: from then on the core gets it, even if this process dies.
//! Hellos and acks confirm settled frames alone. So after a reconnect frames may come again that wait here; they are
//! dropped, and acknowledged once they are settled. An ack names no frame that its session has not brought, since a
//! dialer takes that for a lie. Acks are cumulative and wait for `Local::AckDelayMs` for further frames, unless a
//! mebibyte is due.
//!
//! Bytes are signs of life, whether or not they complete a frame: on a slow link a long body takes longer than either
//! side waits for a sign. So a session is silent only if no byte arrives, and while bytes arrive its dialer gets a
//! frame at each ping interval: an ack, a pong, or a [`Kind::Heard`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::time::Instant;

use mio::Token;
use mio::net::TcpStream;
use wire::envelope::{LinkCounters, ToCore};
use wire::frame::{Arrival, Frame, FrameReader, InOrder, Kind, Sealer};
use wire::ids::{NodeId, Round};
use wire::limits::local::Local;
use wire::limits::{ACK_BYTES_MAX, FRAME_BYTES_MAX};
use wire::logging::is_logged;
use wire::name::Name;
use wire::session::DialerHello;

use crate::admission::Admitted;
use crate::bucket::Bucket;
use crate::counters::Refused;
use crate::outgoing::Outgoing;
use crate::ready::Ready;
use crate::shared::{self, Shared};
use crate::timers::Timer;

/// All links and their sessions.
#[derive(Default)]
pub(crate) struct Peers {
    links: BTreeMap<NodeId, Link>,
    sessions: BTreeMap<Token, PeerSession>,
    ready: Ready,
    /// The unwritten frames of all links in the IPC queue, oldest first. Bounded like the queue.
    queued: VecDeque<Queued>,
    /// Links with written frames that are not acknowledged yet.
    unacknowledged: BTreeSet<NodeId>,
    /// Whether [`Timer::Acks`] is armed.
    acks_armed: bool,
}

/// The state of a dialer across its connections.
#[derive(Default)]
struct Link {
    incarnation: Option<u64>,
    in_order: InOrder,
    /// All frames below this number are written to the IPC queue.
    settled: u64,
    /// Bytes settled since the last ack.
    settled_bytes: u64,
    session: Option<Token>,
    /// The decided round of this peer that was last reported to the core.
    decided: Round,
    /// Sessions so far.
    sessions: u64,
    counters: LinkCounters,
}

/// The frames below `next` that `peer` sent in this incarnation are written once `end` bytes of the IPC queue are.
#[derive(Clone, Copy)]
struct Queued {
    end: u64,
    peer: NodeId,
    incarnation: Option<u64>,
    next: u64,
    bytes: u64,
}

struct PeerSession {
    peer: NodeId,
    stream: TcpStream,
    reader: FrameReader,
    sealer: Sealer,
    outgoing: Outgoing,
    /// The dialer knows that all frames below this number are settled.
    acked: u64,
    /// The number after the last frame that came in this session.
    brought: u64,
    ack_due: bool,
    /// The ping to answer: the latest.
    pong_due: Option<u64>,
    /// Whether the dialer is owed a sign that its bytes arrive.
    heard_due: bool,
    received_bytes: u64,
    /// When bytes last arrived.
    last_heard: Instant,
    /// When a frame last went out.
    last_answer: Instant,
    allowance: Option<Allowance>,
}

/// A limit of bytes a second.
struct Allowance {
    bucket: Bucket,
    /// Whether the session waits for [`Timer::Allowance`].
    waits: bool,
}

struct Peer(NodeId);

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Name::Node(self.0).fmt(f)
    }
}

impl Peers {
    /// Whether this is a peer's session.
    pub(crate) fn has(&self, token: Token) -> bool {
        self.sessions.contains_key(&token)
    }

    /// Whether there is something to read.
    pub(crate) fn has_ready(&self) -> bool {
        self.ready.count() > 0
    }

    /// The number of the first data frame from this dialer that is not settled: what is on its way to the core would be
    /// lost with this process, so the dialer must keep it.
    pub(crate) fn next_expected(&self, peer: NodeId, dialer: &DialerHello) -> u64 {
        self.links
            .get(&peer)
            .filter(|link| link.incarnation == Some(dialer.incarnation))
            .map_or(0, |link| link.settled)
    }

    /// Begins the session of a peer, in place of an older one.
    pub(crate) fn begin(&mut self, peer: NodeId, admitted: Admitted, shared: &mut Shared) {
        let Admitted { token, stream, remote, session, dialer, next_expected } = admitted;
        let link = self.links.entry(peer).or_default();
        if let Some(older) = link.session.replace(token) {
            self.sessions.remove(&older);
            shared.refuse(Refused::Replaced, &Peer(peer));
        }
        if link.incarnation == Some(dialer.incarnation) {
            shared.bridge.push_message(&ToCore::PeerBack { peer });
        } else {
            let Link { counters, decided, sessions, .. } = std::mem::take(link);
            let (incarnation, session) = (Some(dialer.incarnation), Some(token));
            *link = Link { incarnation, session, counters, decided, sessions, ..Link::default() };
            // Not 0 if a session of another incarnation has come between hello and finish.
            link.in_order.skip_to(next_expected);
            link.settled = next_expected;
            shared.bridge.push_message(&ToCore::PeerUp { peer });
        }
        let bytes_per_s = shared.limits.get(Local::PeerBytesPerS);
        let allowance = (bytes_per_s < u64::MAX)
            .then(|| Allowance { bucket: Bucket::new(bytes_per_s, shared.now), waits: false });
        self.sessions.insert(
            token,
            PeerSession {
                peer,
                stream,
                reader: FrameReader::new(session.opener, FRAME_BYTES_MAX).with_pieces(),
                sealer: session.sealer,
                outgoing: Outgoing::default(),
                acked: next_expected,
                brought: next_expected,
                ack_due: false,
                pong_due: None,
                heard_due: false,
                received_bytes: 0,
                last_heard: shared.now,
                last_answer: shared.now,
                allowance,
            },
        );
        link.on_decided(peer, dialer.decided, shared);
        shared.timers.arm(shared.now + shared.limits.time(Local::PeerSilenceMs), Timer::Silence(token));
        // The first frames may have arrived together with the finish.
        self.ready.add(token);
        link.sessions += 1;
        if is_logged(link.sessions) {
            log::info!("{} connected from {remote}, session number {}", Name::Node(peer), link.sessions);
        }
    }

    /// Handles the readiness of a connection.
    pub(crate) fn on_event(&mut self, token: Token, event: &mio::event::Event, shared: &mut Shared) {
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            let waits = |session: &PeerSession| session.allowance.as_ref().is_some_and(|it| it.waits);
            if !self.sessions.get(&token).is_some_and(waits) {
                self.ready.add(token);
            }
        }
        if event.is_writable() {
            self.write(token, shared);
        }
    }

    /// Reads each readable connection once, in turn, until peers are held back.
    pub(crate) fn serve(&mut self, shared: &mut Shared) {
        for _ in 0..self.ready.count() {
            if shared.holds_peers_back() {
                return;
            }
            if let Some(token) = self.ready.pop() {
                self.read(token, shared);
            }
        }
    }

    /// Acknowledges the frames that were written to the IPC queue, at once or after the ack delay. Runs in every turn
    /// of the loop, so its cost depends on the frames written, not on those that wait, nor on the number of links.
    pub(crate) fn settle(&mut self, shared: &mut Shared) {
        let mut settled = BTreeSet::new();
        while let Some(Queued { end, peer, incarnation, next, bytes }) = self.queued.front().copied()
            && end <= shared.bridge.written_bytes()
        {
            self.queued.pop_front();
            if let Some(link) = self.links.get_mut(&peer).filter(|link| link.incarnation == incarnation) {
                link.settled = next;
                link.settled_bytes += bytes;
                settled.insert(peer);
            }
        }
        for peer in settled {
            if self.links[&peer].settled_bytes >= ACK_BYTES_MAX {
                self.acknowledge(peer, shared);
            } else {
                self.unacknowledged.insert(peer);
            }
        }
        if !self.unacknowledged.is_empty() && !self.acks_armed {
            self.acks_armed = true;
            shared.timers.arm(shared.now + shared.limits.time(Local::AckDelayMs), Timer::Acks);
        }
    }

    /// Handles [`Timer::Acks`].
    pub(crate) fn on_acks_timer(&mut self, shared: &mut Shared) {
        self.acks_armed = false;
        for peer in std::mem::take(&mut self.unacknowledged) {
            self.acknowledge(peer, shared);
        }
    }

    /// Handles [`Timer::Silence`]: closes a session whose dialer is gone.
    pub(crate) fn on_silence_timer(&mut self, token: Token, shared: &mut Shared) {
        let Some(session) = self.sessions.get(&token) else { return };
        // The unread bytes may contain a ping; that they are unread is not the peer's fault.
        let unread = self.ready.contains(token) || session.allowance.as_ref().is_some_and(|it| it.waits);
        let due = session.last_heard + shared.limits.time(Local::PeerSilenceMs);
        if due <= shared.now && !unread {
            self.end(token, Some(Refused::Silent), shared);
        } else {
            let again = if unread { shared.now + shared.limits.time(Local::PeerSilenceMs) } else { due };
            shared.timers.arm(again, Timer::Silence(token));
        }
    }

    /// Handles [`Timer::Allowance`].
    pub(crate) fn on_allowance_timer(&mut self, token: Token) {
        if let Some(allowance) = self.sessions.get_mut(&token).and_then(|it| it.allowance.as_mut()) {
            allowance.waits = false;
            self.ready.add(token);
        }
    }

    /// The counters of all links, ascending by peer.
    pub(crate) fn counters(&self) -> Vec<(NodeId, LinkCounters)> {
        self.links.iter().map(|(peer, link)| (*peer, link.counters)).collect()
    }

    /// Reads once.
    fn read(&mut self, token: Token, shared: &mut Shared) {
        let Some(session) = self.sessions.get_mut(&token) else { return };
        if let Some(allowance) = &mut session.allowance
            && let Err(opens) = allowance.bucket.check(shared.now)
        {
            allowance.waits = true;
            shared.timers.arm(opens, Timer::Allowance(token));
            return;
        }
        let mut frames = std::mem::take(&mut shared.frames);
        let outcome = session.reader.read_from(&mut session.stream, &mut shared.scratch, &mut frames);
        let taken = self.take(token, &mut frames, shared);
        frames.clear();
        shared.frames = frames;
        match shared::outcome_of_read(taken, outcome) {
            Ok(0) => {}
            Ok(bytes) => {
                self.ready.add(token);
                self.on_bytes(token, bytes as u64, shared);
            }
            Err(refused) => self.end(token, refused, shared),
        }
    }

    /// Notes that bytes have arrived, and lets the dialer know if it has heard nothing for a while.
    fn on_bytes(&mut self, token: Token, bytes: u64, shared: &mut Shared) {
        let Some(session) = self.sessions.get_mut(&token) else { return };
        if let Some(allowance) = &mut session.allowance {
            allowance.bucket.take(bytes);
        }
        if let Some(link) = self.links.get_mut(&session.peer) {
            link.counters.bytes += bytes;
        }
        session.received_bytes += bytes;
        session.last_heard = shared.now;
        if session.last_answer + shared.limits.time(Local::PingIntervalMs) <= shared.now {
            session.heard_due = true;
            self.write(token, shared);
        }
    }

    /// Handles the frames that a read completed.
    fn take(&mut self, token: Token, frames: &mut Vec<Frame>, shared: &mut Shared) -> Result<(), Refused> {
        let Some(session) = self.sessions.get_mut(&token) else { return Ok(()) };
        let Some(link) = self.links.get_mut(&session.peer) else { return Ok(()) };
        if frames.is_empty() {
            return Ok(());
        }
        let (pushed_before, mut bytes) = (shared.bridge.pushed_bytes(), 0);
        let result = frames.drain(..).try_for_each(|frame| {
            bytes += frame.wire_bytes();
            link.take(session, frame, shared)
        });
        if session.acked < session.confirmable(link) {
            // Frames came again.
            self.unacknowledged.insert(session.peer);
        }
        // Skips alone need not be settled: a dialer sends one only before the frame that follows the gap.
        if shared.bridge.pushed_bytes() > pushed_before {
            let (end, next) = (shared.bridge.pushed_bytes(), link.in_order.next());
            let (peer, incarnation) = (session.peer, link.incarnation);
            self.queued.push_back(Queued { end, peer, incarnation, next, bytes });
        }
        if result.is_ok() && session.pong_due.is_some() {
            self.write(token, shared);
        }
        result
    }

    /// Sends an ack if the peer has a session and unacknowledged frames.
    fn acknowledge(&mut self, peer: NodeId, shared: &mut Shared) {
        let Some(link) = self.links.get(&peer) else { return };
        let Some(token) = link.session else { return };
        if let Some(session) = self.sessions.get_mut(&token)
            && session.acked < session.confirmable(link)
            && !session.ack_due
        {
            session.ack_due = true;
            self.write(token, shared);
        }
    }

    fn write(&mut self, token: Token, shared: &mut Shared) {
        let Some(session) = self.sessions.get_mut(&token) else { return };
        let Some(link) = self.links.get_mut(&session.peer) else { return };
        if session.write(link, shared).is_err() {
            self.end(token, None, shared);
        }
    }

    fn end(&mut self, token: Token, refused: Option<Refused>, shared: &mut Shared) {
        let Some(PeerSession { peer, .. }) = self.sessions.remove(&token) else { return };
        if let Some(refused) = refused {
            shared.refuse(refused, &Peer(peer));
        }
        if let Some(link) = self.links.get_mut(&peer)
            && link.session == Some(token)
        {
            link.session = None;
            shared.bridge.push_message(&ToCore::PeerDown { peer });
            if is_logged(link.sessions) {
                log::info!("{} disconnected, session number {}", Name::Node(peer), link.sessions);
            }
        }
    }
}

impl Link {
    /// Handles one frame of the session, in order.
    fn take(&mut self, session: &mut PeerSession, frame: Frame, shared: &mut Shared) -> Result<(), Refused> {
        match frame.kind {
            Kind::Data => {
                self.counters.data_received += 1;
                shared.counters_changed();
                session.brought = session.brought.max(frame.sequence.saturating_add(1));
                match self.in_order.accept(frame.sequence) {
                    Arrival::Next => {
                        let message = ToCore::Peer { from: session.peer, digest: frame.digest };
                        shared.bridge.push(&message, &frame.body);
                    }
                    Arrival::Duplicate => shared.refuse(Refused::Duplicate, &Peer(session.peer)),
                    Arrival::Gap => return Err(Refused::OutOfSequence),
                }
            }
            Kind::Skip => {
                session.brought = session.brought.max(frame.sequence);
                self.in_order.skip_to(frame.sequence);
            }
            Kind::Ping => {
                session.pong_due = Some(frame.sequence);
                if let Some(decided) = frame.decided() {
                    self.on_decided(session.peer, decided, shared);
                }
            }
            Kind::Ack | Kind::Pong | Kind::Heard => return Err(Refused::UnexpectedKind),
        }
        Ok(())
    }

    /// Reports the decided round of the peer to the core if it has changed.
    fn on_decided(&mut self, peer: NodeId, decided: Round, shared: &mut Shared) {
        if decided != self.decided {
            self.decided = decided;
            shared.bridge.push_message(&ToCore::PeerDecided { peer, decided });
        }
    }
}

impl PeerSession {
    /// All frames below this number may be acknowledged.
    fn confirmable(&self, link: &Link) -> u64 {
        link.settled.min(self.brought)
    }

    /// Writes due acks, pongs and signs. At most one of each is ever in the buffer; later ones are sealed when it is
    /// empty and then carry later numbers. So a dialer that does not read occupies hardly any memory.
    fn write(&mut self, link: &mut Link, shared: &Shared) -> io::Result<()> {
        loop {
            let bytes = self.outgoing.write_to(&mut self.stream)?;
            link.counters.bytes += bytes as u64;
            if !self.outgoing.is_empty() {
                return Ok(());
            }
            if std::mem::take(&mut self.ack_due) {
                self.acked = self.confirmable(link);
                link.settled_bytes = 0;
                link.counters.ack_sent += 1;
                self.sealer.seal_ack(self.acked, self.outgoing.buffer());
            }
            if let Some(sequence) = self.pong_due.take() {
                self.sealer.seal_pong(sequence, shared.decided, self.outgoing.buffer());
            }
            if std::mem::take(&mut self.heard_due) && self.outgoing.is_empty() {
                self.sealer.seal_heard(self.received_bytes, self.outgoing.buffer());
            }
            if self.outgoing.is_empty() {
                return Ok(());
            }
            self.last_answer = shared.now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn skips_take_no_memory_while_the_core_does_not_read() {
        let mut bench = Bench::new();
        let (mut peers, token) = (Peers::default(), Token(7));
        let (admitted, _dialer) = bench.client(token);
        peers.begin(NodeId(0), admitted, &mut bench.shared);
        let frame = |kind, sequence, body: &[u8]| Frame {
            kind,
            sequence,
            body: wire::bytes::Bytes::from(body.to_vec()),
            digest: wire::ids::Digest::default(),
        };
        peers.take(token, &mut vec![frame(Kind::Data, 0, b"x")], &mut bench.shared).unwrap();
        let before = peers.queued.len();
        for next in 2..10_000 {
            peers.take(token, &mut vec![frame(Kind::Skip, next, b"")], &mut bench.shared).unwrap();
        }
        assert_eq!(peers.queued.len(), before);
        peers.take(token, &mut vec![frame(Kind::Data, 9_999, b"y")], &mut bench.shared).unwrap();
        assert_eq!((peers.queued.len(), peers.queued.back().unwrap().next), (before + 1, 10_000));
    }
}
