//! Admission: accepts connections within limits and authenticates their dialers.
//!
//! An unfinished handshake costs at most `limits::HANDSHAKE_BYTES_MAX` and the handshake time, and their number is
//! limited. At the limit a new connection evicts a random unfinished one. So a flood of idle connections delays an
//! honest handshake, which takes a round trip or two, but cannot keep it out.
//!
//! # Security
//! The remote address serves for one purpose: it limits the unfinished handshakes of one address. Loopback is exempt,
//! since all nodes of a local run share it.

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

/// Our identity in handshakes.
pub(crate) struct Myself {
    pub(crate) keys: NodeKeys,
    pub(crate) committee: Committee,
    /// Drawn when this process started.
    pub(crate) incarnation: u64,
}

/// Limits accepted connections: a number a second, and none right after a refused one.
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

    /// Whether a connection may be accepted now. If not, a timer is armed for when it may.
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

    /// Handles [`Timer::Accept`].
    pub(crate) fn on_timer(&mut self) {
        self.armed = false;
    }

    /// Whether the gate is closed until its timer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.armed
    }

    /// Closes for a moment, after a refused connection.
    pub(crate) fn pause(&mut self, now: Instant) {
        self.closed_until = now + ACCEPT_PAUSE;
    }
}

/// A connection with an authenticated dialer.
pub(crate) struct Admitted {
    pub(crate) token: Token,
    pub(crate) stream: TcpStream,
    pub(crate) remote: SocketAddr,
    pub(crate) session: Session,
    pub(crate) dialer: DialerHello,
    /// The number of the data frame that our reply has named as the next.
    pub(crate) next_expected: u64,
}

/// All unfinished handshakes.
pub(crate) struct Admission {
    myself: Myself,
    handshakes: BTreeMap<Token, Handshake>,
    pub(crate) gate: Gate,
}

impl Admission {
    pub(crate) fn new(myself: Myself, accepts_per_s_max: u64, now: Instant) -> Admission {
        Admission { myself, handshakes: BTreeMap::new(), gate: Gate::new(accepts_per_s_max, now) }
    }

    /// Whether this is an unfinished handshake.
    pub(crate) fn has(&self, token: Token) -> bool {
        self.handshakes.contains_key(&token)
    }

    /// Begins the handshake of a new connection unless its address has too many; evicts a random one at the limit.
    pub(crate) fn begin(&mut self, token: Token, stream: TcpStream, remote: SocketAddr, shared: &mut Shared) {
        self.gate.accepts.take(1);
        // Walks over at most `Local::Handshakes` entries, once for each accepted connection.
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
        let (stage, bytes) = (Stage::Hello, [0; HELLO_BYTES]);
        self.handshakes
            .insert(token, Handshake { stream, remote, stage, bytes, filled: 0, next_expected: 0 });
        shared.timers.arm(shared.now + shared.limits.time(Local::HandshakeTimeMs), Timer::Handshake(token));
    }

    /// Continues a handshake whose connection may be readable. `next_expected` is called with the dialer's hello and
    /// returns the number for the reply.
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
                let Handshake { stream, remote, next_expected, .. } = self.handshakes.remove(&token)?;
                Some(Admitted { token, stream, remote, session, dialer, next_expected })
            }
            Err(refused) => {
                self.refuse(token, refused, shared);
                None
            }
        }
    }

    /// Handles [`Timer::Handshake`].
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

/// The next message of the dialer.
enum Stage {
    Hello,
    Finish(Box<Listener>),
}

/// An unfinished handshake.
struct Handshake {
    stream: TcpStream,
    remote: SocketAddr,
    stage: Stage,
    /// The message that is being received. A finish is shorter than a hello.
    bytes: [u8; HELLO_BYTES],
    filled: usize,
    /// What the reply has named, once it is sent.
    next_expected: u64,
}

const _: () = assert!(FINISH_BYTES <= HELLO_BYTES, "one buffer serves both messages");
const _: () = assert!(
    size_of::<Handshake>() + size_of::<Listener>() + REPLY_BYTES <= HANDSHAKE_BYTES_MAX as usize,
    "what a stranger can make us hold"
);

impl Handshake {
    /// Continues, but never reads past the current message: bytes after a finish belong to the session.
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
            let named = &mut self.next_expected;
            let next_expected = |dialer: &DialerHello| {
                *named = next_expected(dialer);
                *named
            };
            let answer = Listener::on_hello(me, &myself.committee, local, next_expected, &self.bytes);
            let (listener, reply) = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    if let Some(notice) = Listener::notice(&myself.committee, &error) {
                        // A dialer that does not read it only gets a vaguer error.
                        let _ = self.stream.write(&notice);
                    }
                    return Err(Refused::Handshake(error));
                }
            };
            // The reply fits every socket's send buffer. Closing a connection that does not take it saves a buffer for
            // the rest.
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

    /// Reads until `wanted` bytes of the message have arrived; `false` if some are missing yet.
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
    fn handshakes_of_an_address_are_limited_and_loopback_is_exempt() {
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
        assert!(begin(&mut admission, &mut bench, "203.0.113.6:1"), "another address has its own limit");
        assert_eq!(bench.refused("too many handshakes of one address"), 12);
        assert_eq!(bench.refused("handshake evicted"), 0);
    }

    #[test]
    fn a_new_connection_evicts_a_random_one_at_the_limit() {
        let mut bench = Bench::new();
        let places = bench.shared.limits.count(Local::Handshakes);
        let mut admission = Admission::new(myself(), 1000, bench.shared.now);
        let mut ends = Vec::new();
        for i in 0..places + 10 {
            let (stream, end) = bench.connection();
            ends.push(end);
            admission.begin(Token(10 + i), stream, remote("127.0.0.1:9"), &mut bench.shared);
            assert!(admission.has(Token(10 + i)), "the new one is never refused");
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
