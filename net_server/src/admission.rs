//! Admission: who may come in, and who is it.
//!
//! A connection is nobody's until its handshake is done. Until then it costs at most `limits::HANDSHAKE_BYTES_MAX`,
//! lives at most the handshake time, and holds one of a fixed number of places. When all are taken a random
//! unfinished one makes room, so that a flood of idle connections delays an honest handshake (which takes a round
//! trip or two) but can't keep it out by holding places.
//!
//! # Security
//! The remote address decides nothing but the share of places an address may hold; loopback is exempt, since all
//! nodes of a local run share it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use mio::Token;
use mio::net::TcpStream;
use wire::committee::Committee;
use wire::keys::NodeKeys;
use wire::limits::local::Local;
use wire::limits::{ACCEPT_PAUSE, HANDSHAKE_BYTES_MAX};
use wire::rand;
use wire::session::{DialerHello, FINISH_BYTES, HELLO_BYTES, Listener, LocalHello, REPLY_BYTES, Session};

use crate::bucket::Bucket;
use crate::counters::Refused;
use crate::shared::Shared;
use crate::timers::Timer;

/// Who listens here.
pub(crate) struct Myself {
    /// Our id and key.
    pub(crate) keys: NodeKeys,
    /// Whom we know.
    pub(crate) committee: Committee,
    /// Drawn when this process started.
    pub(crate) incarnation: u64,
}

/// When connections may be accepted: so many a second, and not right after a refused one.
pub(crate) struct Gate {
    accepts: Bucket,
    closed_until: Instant,
    /// Whether [`Timer::Accept`] is armed.
    armed: bool,
}

impl Gate {
    fn new(accepts_per_s_max: u64, now: Instant) -> Gate {
        Gate { accepts: Bucket::new(accepts_per_s_max, now), closed_until: now, armed: false }
    }

    /// Whether a connection may be accepted now. If not, the loop is woken when it may.
    pub(crate) fn is_open(&mut self, shared: &mut Shared) -> bool {
        let opens = match self.accepts.check(shared.now) {
            Ok(()) if self.closed_until <= shared.now => return true,
            Ok(()) => self.closed_until,
            Err(opens) => opens.max(self.closed_until),
        };
        if !self.armed {
            self.armed = true;
            shared.timers.arm(opens, Timer::Accept);
        }
        false
    }

    /// Takes [`Timer::Accept`].
    pub(crate) fn on_timer(&mut self) {
        self.armed = false;
    }

    /// Whether the loop need not look here before the timer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.armed
    }

    /// Closes for a moment after a refused connection.
    pub(crate) fn pause(&mut self, now: Instant) {
        self.closed_until = now + ACCEPT_PAUSE;
    }
}

/// A connection whose dialer has proved who it is.
pub(crate) struct Admitted {
    pub(crate) token: Token,
    pub(crate) stream: TcpStream,
    pub(crate) remote: SocketAddr,
    pub(crate) session: Session,
    pub(crate) dialer: DialerHello,
}

/// All unfinished handshakes.
pub(crate) struct Admission {
    myself: Myself,
    handshakes: BTreeMap<Token, Handshake>,
    /// When to accept.
    pub(crate) gate: Gate,
}

impl Admission {
    /// Nobody is here yet.
    pub(crate) fn new(myself: Myself, accepts_per_s_max: u64, now: Instant) -> Admission {
        Admission { myself, handshakes: BTreeMap::new(), gate: Gate::new(accepts_per_s_max, now) }
    }

    /// Whether this is an unfinished handshake.
    pub(crate) fn has(&self, token: Token) -> bool {
        self.handshakes.contains_key(&token)
    }

    /// Takes a new connection, if its address has a place left; makes room by lot if no place is left at all.
    pub(crate) fn begin(&mut self, token: Token, stream: TcpStream, remote: SocketAddr, shared: &mut Shared) {
        self.gate.accepts.take(1);
        // A walk over at most `Local::Handshakes`, for each accepted connection.
        let same_address = self.handshakes.values().filter(|other| other.remote.ip() == remote.ip()).count();
        if !remote.ip().to_canonical().is_loopback()
            && same_address >= shared.limits.count(Local::HandshakesPerIp)
        {
            shared.refuse(Refused::HandshakesOfAddress, &remote);
            self.gate.pause(shared.now);
            return;
        }
        if self.handshakes.len() >= shared.limits.count(Local::Handshakes) {
            let drawn = self.handshakes.keys().nth(rand::below(self.handshakes.len())).copied();
            if let Some(evicted) = drawn.and_then(|drawn| self.handshakes.remove(&drawn)) {
                shared.refuse(Refused::HandshakeEvicted, &evicted.remote);
            }
        }
        let stage = Stage::Hello;
        self.handshakes
            .insert(token, Handshake { stream, remote, stage, bytes: [0; HELLO_BYTES], filled: 0 });
        shared.timers.arm(shared.now + shared.limits.time(Local::HandshakeTimeMs), Timer::Handshake(token));
    }

    /// Goes on with a handshake whose connection may have something to read. `next_expected` is asked when the
    /// dialer has told who it claims to be.
    pub(crate) fn advance(
        &mut self,
        token: Token,
        next_expected: impl FnOnce(&DialerHello) -> u64,
        shared: &mut Shared,
    ) -> Option<Admitted> {
        let handshake = self.handshakes.get_mut(&token)?;
        let local = LocalHello { incarnation: self.myself.incarnation, decided: shared.decided };
        match handshake.advance(&self.myself, local, next_expected) {
            Ok(None) => None,
            Ok(Some((session, dialer))) => {
                let Handshake { stream, remote, .. } = self.handshakes.remove(&token)?;
                Some(Admitted { token, stream, remote, session, dialer })
            }
            Err(refused) => {
                self.refuse(token, refused, shared);
                None
            }
        }
    }

    /// Takes [`Timer::Handshake`].
    pub(crate) fn on_timer(&mut self, token: Token, shared: &mut Shared) {
        self.refuse(token, Refused::HandshakeTooSlow, shared);
    }

    fn refuse(&mut self, token: Token, refused: Refused, shared: &mut Shared) {
        if let Some(handshake) = self.handshakes.remove(&token) {
            shared.refuse(refused, &handshake.remote);
            self.gate.pause(shared.now);
        }
    }
}

/// What the dialer's next message is.
enum Stage {
    Hello,
    Finish(Box<Listener>),
}

/// An unfinished handshake.
struct Handshake {
    stream: TcpStream,
    remote: SocketAddr,
    stage: Stage,
    /// The message that is being received; a finish is shorter than a hello.
    bytes: [u8; HELLO_BYTES],
    filled: usize,
}

const _: () = assert!(FINISH_BYTES <= HELLO_BYTES, "one buffer serves both messages");
const _: () = assert!(
    size_of::<Handshake>() + size_of::<Listener>() + REPLY_BYTES <= HANDSHAKE_BYTES_MAX as usize,
    "what a stranger can make us hold"
);

impl Handshake {
    /// Reads on, never past the message at hand: what follows a finish belongs to the session.
    fn advance(
        &mut self,
        myself: &Myself,
        local: LocalHello,
        next_expected: impl FnOnce(&DialerHello) -> u64,
    ) -> Result<Option<(Session, DialerHello)>, Refused> {
        if let Stage::Hello = self.stage {
            if !self.fill(HELLO_BYTES)? {
                return Ok(None);
            }
            let me = (myself.keys.id, &myself.keys.signing);
            let (listener, reply) =
                Listener::on_hello(me, &myself.committee, local, next_expected, &self.bytes)
                    .map_err(Refused::Handshake)?;
            // The first few hundred bytes fit every socket's send buffer; a connection that does not even take
            // those is given up, which saves a buffer for the rest.
            match self.stream.write(&reply) {
                Ok(written) if written == reply.len() => {}
                _ => return Err(Refused::HandshakeCutOff),
            }
            self.stage = Stage::Finish(Box::new(listener));
            self.filled = 0;
        }
        if !self.fill(FINISH_BYTES)? {
            return Ok(None);
        }
        match std::mem::replace(&mut self.stage, Stage::Hello) {
            Stage::Finish(listener) => {
                listener.on_finish(&self.bytes[..FINISH_BYTES]).map(Some).map_err(Refused::Handshake)
            }
            Stage::Hello => unreachable!("the hello was answered above"),
        }
    }

    /// Reads until the message of `wanted` bytes is there; `false` if it is not yet.
    fn fill(&mut self, wanted: usize) -> Result<bool, Refused> {
        while self.filled < wanted {
            match self.stream.read(&mut self.bytes[self.filled..wanted]) {
                Ok(0) => return Err(Refused::HandshakeCutOff),
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(_) => return Err(Refused::HandshakeCutOff),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::{Bench, myself, remote};

    #[test]
    fn an_address_has_its_share_of_places_and_loopback_is_exempt() {
        let mut bench = Bench::new();
        let mut admission = Admission::new(myself(), 1000, bench.shared.now);
        let mut ends = Vec::new();
        let mut begin = |admission: &mut Admission, bench: &mut Bench, from: &str| {
            let token = Token(10 + ends.len());
            let (stream, end) = bench.connection();
            ends.push(end);
            admission.begin(token, stream, remote(from), &mut bench.shared);
            admission.has(token)
        };
        for i in 0..20 {
            let port = 1000 + i;
            let taken = i < 8;
            assert_eq!(begin(&mut admission, &mut bench, &format!("203.0.113.5:{port}")), taken, "{i}");
            assert!(begin(&mut admission, &mut bench, &format!("127.0.0.1:{port}")));
            assert!(begin(&mut admission, &mut bench, &format!("[::ffff:127.0.0.1]:{port}")));
        }
        assert!(begin(&mut admission, &mut bench, "203.0.113.6:1"), "another address has its own share");
        assert_eq!(bench.refused("too many handshakes of one address"), 12);
        assert_eq!(bench.refused("handshake evicted"), 0);
    }

    #[test]
    fn when_all_places_are_taken_the_newcomer_gets_one() {
        let mut bench = Bench::new();
        let places = bench.shared.limits.count(Local::Handshakes);
        let mut admission = Admission::new(myself(), 1000, bench.shared.now);
        let mut ends = Vec::new();
        for i in 0..places + 10 {
            let (stream, end) = bench.connection();
            ends.push(end);
            admission.begin(Token(10 + i), stream, remote("127.0.0.1:9"), &mut bench.shared);
            assert!(admission.has(Token(10 + i)), "never the newcomer is refused");
            assert_eq!(admission.handshakes.len(), (i + 1).min(places));
        }
        assert_eq!(bench.refused("handshake evicted"), 10);
    }

    #[test]
    fn the_gate_closes_after_a_refusal_and_opens_by_timer() {
        let mut bench = Bench::new();
        let mut gate = Gate::new(1000, bench.shared.now);
        assert!(gate.is_open(&mut bench.shared));
        gate.pause(bench.shared.now);
        assert!(!gate.is_open(&mut bench.shared) && !gate.is_open(&mut bench.shared) && gate.is_waiting());
        bench.shared.now += ACCEPT_PAUSE;
        assert_eq!(bench.shared.timers.pop(bench.shared.now), Some(Timer::Accept));
        assert_eq!(bench.shared.timers.pop(bench.shared.now + Duration::from_secs(9)), None, "armed once");
        gate.on_timer();
        assert!(gate.is_open(&mut bench.shared));
    }
}
