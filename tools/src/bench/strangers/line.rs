//! A session that was opened lawfully and is used unlawfully.

use std::io::{self, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Instant;

use bft::prng::Prng;
use wire::client::Reply;
use wire::codec;
use wire::dial;
use wire::frame::{Frame, FrameReader, Kind, ReadOutcome, Scratch, Sealer};
use wire::ids::Round;
use wire::limits::FRAME_BYTES_MAX;
use wire::rand;
use wire::session::{Expected, Identity, LocalHello};

use super::damage::Damage;
use super::noise;
use super::scene::{PATIENCE, Scene, Tally, Victim, wait_closed};

/// How far ahead of the truth this side claims to be.
pub(super) const FAR_ROUNDS: u64 = 1_000_000;
/// Frames that follow the one that ends a session.
const BREACH_BURST: u64 = 50;
/// Reads of this side are short.
const SCRATCH_BYTES: usize = 16 << 10;

/// One session with one node.
pub(super) struct Line {
    stream: TcpStream,
    sealer: Sealer,
    reader: FrameReader,
    scratch: Scratch,
    out: Vec<u8>,
    next: u64,
    /// Data frames below this number have arrived; for peers only.
    acked: u64,
    /// The round that the node reports as decided.
    decided: Round,
    heard: Heard,
}

/// The answers of a node to a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Heard {
    /// Answers of any kind.
    pub(super) replies: u64,
    /// Those that report that a request was not understood.
    pub(super) errors: u64,
}

impl Line {
    /// Opens a session.
    pub(super) fn open(scene: &Scene, victim: Victim, identity: &Identity, decided: Round) -> Option<Line> {
        let mut stream = victim.connect().ok()?;
        let local = LocalHello { incarnation: rand::u64(), decided };
        let (testbed, expected) = (scene.committee.testbed(), Expected::of(&scene.committee, victim.node));
        let (session, hello) =
            dial::handshake(&mut stream, PATIENCE, identity, testbed, Some(expected), local).ok()?;
        stream.set_read_timeout(Some(super::scene::STEP)).ok()?;
        stream.set_write_timeout(Some(PATIENCE)).ok()?;
        Some(Line {
            stream,
            sealer: session.sealer,
            reader: FrameReader::new(session.opener, FRAME_BYTES_MAX),
            scratch: Scratch::of_bytes(SCRATCH_BYTES),
            out: Vec::new(),
            next: hello.next_expected,
            acked: hello.next_expected,
            decided: hello.decided,
            heard: Heard::default(),
        })
    }

    /// The round that the node last reported as decided.
    pub(super) fn decided(&self) -> Round {
        self.decided
    }

    /// All it has answered.
    pub(super) fn heard(&self) -> Heard {
        self.heard
    }

    /// Adds a frame with this body to what goes out next.
    pub(super) fn push(&mut self, body: &[u8]) {
        self.sealer.seal_data(self.next, body, &mut self.out);
        self.next += 1;
    }

    /// Sends what was added and a ping, and waits until a peer's frames have arrived. Whether they have.
    pub(super) fn deliver(&mut self, scene: &Scene) -> bool {
        let claim = Round(self.decided.0 + FAR_ROUNDS);
        self.sealer.seal_ping(self.next, claim, &mut self.out);
        self.flush().is_ok() && self.hear_until(scene, |line| line.acked >= line.next)
    }

    /// Sends what was added and waits until the node has answered so many requests in all. Whether it has.
    pub(super) fn request(&mut self, replies: u64, scene: &Scene) -> bool {
        self.flush().is_ok() && self.hear_until(scene, |line| line.heard.replies >= replies)
    }

    /// Breaks a rule of frames, goes on with frames that make no sense, and waits for the end of the session. Whether
    /// the node ended it.
    pub(super) fn breach(
        mut self,
        breach: Breach,
        prng: &mut Prng,
        tally: &mut Tally,
        scene: &Scene,
    ) -> bool {
        let body = [7; 100];
        let at = self.out.len();
        match breach {
            Breach::TooLong => self.out.extend([0xFF, 0xFF, 0xFF, 0xFF, Kind::Data as u8, 0, 0, 0]),
            Breach::OutOfSequence => self.sealer.seal_data(self.next + 5, &body, &mut self.out),
            Breach::UnexpectedKind => self.sealer.seal_ack(1, &mut self.out),
            Breach::WrongTag | Breach::UnknownKind | Breach::CutOff => {
                self.sealer.seal_data(self.next, &body, &mut self.out);
            }
        }
        let end = self.out.len();
        match breach {
            Breach::WrongTag => self.out[end - 1] ^= 1,
            Breach::UnknownKind => self.out[at + 4] = 9,
            Breach::CutOff => self.out.truncate(at + (end - at) / 2),
            Breach::TooLong | Breach::OutOfSequence | Breach::UnexpectedKind => {}
        }
        tally.sent(breach.name(), 1);
        if breach != Breach::CutOff {
            for _ in 0..BREACH_BURST {
                let damage = Damage::draw(prng);
                tally.sent(damage.name(), 1);
                self.out.extend(damage.apply(noise::sample(prng), prng));
            }
        }
        let _ = self.flush();
        let _ = self.stream.shutdown(Shutdown::Write);
        let is_closed = wait_closed(&mut self.stream, scene);
        if is_closed {
            tally.owe("frame", 1);
            tally.show(breach.counter());
        }
        is_closed
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.stream.write_all(&self.out);
        self.out.clear();
        written
    }

    fn hear_until(&mut self, scene: &Scene, is_enough: impl Fn(&Line) -> bool) -> bool {
        let began = Instant::now();
        let mut frames = Vec::new();
        while !is_enough(self) {
            if began.elapsed() > PATIENCE || scene.is_over() {
                return false;
            }
            match self.reader.read_from(&mut self.stream, &mut self.scratch, &mut frames) {
                Ok(ReadOutcome::Read(_) | ReadOutcome::WouldBlock) => {}
                Ok(ReadOutcome::Ended) | Err(_) => return false,
            }
            frames.drain(..).for_each(|frame| self.take(&frame));
        }
        true
    }

    fn take(&mut self, frame: &Frame) {
        match frame.kind {
            Kind::Ack => self.acked = self.acked.max(frame.sequence),
            Kind::Pong => self.decided = frame.decided().unwrap_or(self.decided),
            Kind::Data => {
                self.heard.replies += 1;
                if matches!(codec::decode(&frame.body), Ok(Reply::Error(_))) {
                    self.heard.errors += 1;
                }
            }
            Kind::Ping | Kind::Skip | Kind::Heard => {}
        }
    }
}

/// A rule of frames, broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Breach {
    WrongTag,
    UnknownKind,
    TooLong,
    CutOff,
    OutOfSequence,
    UnexpectedKind,
}

impl Breach {
    const ALL: [Breach; 6] = [
        Breach::TooLong,
        Breach::WrongTag,
        Breach::UnknownKind,
        Breach::CutOff,
        Breach::OutOfSequence,
        Breach::UnexpectedKind,
    ];

    /// Another one each time.
    pub(super) fn of_turn(turn: usize) -> Breach {
        Breach::ALL[turn % Breach::ALL.len()]
    }

    fn name(self) -> &'static str {
        match self {
            Breach::TooLong => "oversize lengths after the handshake",
            Breach::WrongTag => "frames with a wrong tag",
            Breach::UnknownKind => "frames of unknown kind",
            Breach::CutOff => "frames cut off",
            Breach::OutOfSequence => "frames out of sequence",
            Breach::UnexpectedKind => "frames of a kind not taken there",
        }
    }

    fn counter(self) -> &'static str {
        match self {
            Breach::TooLong => "frame of unlawful length",
            Breach::WrongTag => "frame with a wrong tag",
            Breach::UnknownKind => "frame of unknown kind",
            Breach::CutOff => "frame cut off",
            Breach::OutOfSequence => "frame out of sequence",
            Breach::UnexpectedKind => "frame of a kind not taken here",
        }
    }
}
