//! Sealed frames are read in whatever pieces they arrive; other bytes are refused by name.

use std::io::{self, Read};

use super::*;
use crate::limits::FRAME_BYTES_MAX;

const KEY: [u8; 32] = [0x4B; 32];
const DATA_BYTES_MAX: u64 = 2 << 20;

/// A source that returns its bytes in pieces of these lengths, again and again.
struct Pieces<'a> {
    bytes: &'a [u8],
    lengths: &'a [usize],
    turn: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.lengths[self.turn % self.lengths.len()].min(buffer.len()).min(self.bytes.len());
        self.turn += 1;
        buffer[..length].copy_from_slice(&self.bytes[..length]);
        self.bytes = &self.bytes[length..];
        Ok(length)
    }
}

/// All frames until the source ends, and the error if there is one.
fn read(bytes: &[u8], lengths: &[usize]) -> (Vec<Frame>, Option<FrameError>) {
    let mut reader = FrameReader::new(Opener::new(&KEY), DATA_BYTES_MAX);
    let mut source = Pieces { bytes, lengths, turn: 0 };
    let (mut scratch, mut frames) = (Scratch::of_bytes(4096), Vec::new());
    loop {
        match reader.read_from(&mut source, &mut scratch, &mut frames) {
            Ok(ReadOutcome::Read(_)) => {}
            Ok(ReadOutcome::Ended) => return (frames, None),
            Ok(ReadOutcome::WouldBlock) => panic!("the source never blocks"),
            Err(ReadError::Frame(error)) => return (frames, Some(error)),
            Err(ReadError::Io(error)) => panic!("the source never fails: {error}"),
        }
    }
}

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|i| ((i * 2_654_435_761) >> 11) as u8).collect()
}

/// One frame of each kind, data in several lengths: the bytes, and the start of each frame.
fn sample(lengths: &[usize]) -> (Vec<u8>, Vec<usize>) {
    let (mut sealer, mut bytes, mut starts) = (Sealer::new(&KEY), Vec::new(), Vec::new());
    for (sequence, length) in lengths.iter().enumerate() {
        starts.push(bytes.len());
        sealer.seal_data(sequence as u64, &body(*length), &mut bytes);
    }
    starts.push(bytes.len());
    sealer.seal_ack(7, &mut bytes);
    starts.push(bytes.len());
    sealer.seal_ping(8, Round(80), &mut bytes);
    starts.push(bytes.len());
    sealer.seal_pong(9, Round(90), &mut bytes);
    starts.push(bytes.len());
    sealer.seal_skip(10, &mut bytes);
    starts.push(bytes.len());
    sealer.seal_heard(11, &mut bytes);
    (bytes, starts)
}

#[test]
fn frames_round_trip_in_whatever_pieces_they_arrive() {
    let lengths = [0, 1, 300, 5000, 70_000, (1 << 20) + 5, 2 << 20, 3];
    let (bytes, _) = sample(&lengths);
    for pieces in [&[usize::MAX][..], &[4096], &[1000, 7, 1, 300_000], &[13, 32], &[1 << 20, 1]] {
        let (frames, error) = read(&bytes, pieces);
        assert_eq!((frames.len(), error), (lengths.len() + 5, None));
        for (sequence, length) in lengths.iter().enumerate() {
            let frame = &frames[sequence];
            assert_eq!((frame.kind, frame.sequence), (Kind::Data, sequence as u64));
            assert!(frame.body[..] == body(*length)[..]);
            assert_eq!(frame.digest.0, <[u8; 32]>::from(Sha256::digest(&frame.body)));
        }
        let rest: Vec<_> =
            frames[lengths.len()..].iter().map(|f| (f.kind, f.sequence, f.decided())).collect();
        let expected = [
            (Kind::Ack, 7, None),
            (Kind::Ping, 8, Some(Round(80))),
            (Kind::Pong, 9, Some(Round(90))),
            (Kind::Skip, 10, None),
            (Kind::Heard, 11, None),
        ];
        assert_eq!(rest, expected);
        let wire_bytes: u64 = frames.iter().map(Frame::wire_bytes).sum();
        assert_eq!(wire_bytes, bytes.len() as u64);
    }
    let (small, _) = sample(&[0, 5, 64]);
    assert_eq!(read(&small, &[1]).0.len(), 8, "byte by byte");
}

#[test]
fn a_shared_body_is_sealed_by_its_digest_alone() {
    let body = body(1000);
    let digest = Digest(Sha256::digest(&body).into());
    let Sealed { header, tag } = Sealer::new(&KEY).seal(Kind::Data, 3, &digest, body.len());
    let mut whole = Vec::new();
    Sealer::new(&KEY).seal_data(3, &body, &mut whole);
    assert_eq!([&header[..], &body, &tag].concat(), whole);
}

#[test]
fn every_flipped_bit_is_noticed_in_the_frame_it_is_in() {
    let (bytes, starts) = sample(&[0, 20]);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (frames, error) = read(&flipped, &[usize::MAX]);
        let whole_before = starts.iter().filter(|start| **start <= bit / 8).count() - 1;
        assert_eq!(frames.len(), whole_before, "bit {bit}: only earlier frames are accepted");
        assert!(error.is_some(), "bit {bit}");
    }
}

#[test]
fn every_truncation_is_noticed() {
    let (bytes, starts) = sample(&[0, 20]);
    for end in 0..bytes.len() {
        let (_, error) = read(&bytes[..end], &[usize::MAX]);
        let expected = if starts.contains(&end) { None } else { Some(FrameError::Truncated) };
        assert_eq!(error, expected, "cut at {end}");
    }
}

#[test]
fn unlawful_lengths_and_kinds_are_refused_by_name() {
    let header = |length: u32, kind: u8| [&length.to_le_bytes()[..], &[kind], &[0; 8]].concat();
    let too_long = DATA_BYTES_MAX as u32 + 1;
    for (length, kind, of) in [
        (too_long, 1, Kind::Data),
        (u32::MAX, 1, Kind::Data),
        (1, 2, Kind::Ack),
        (7, 3, Kind::Ping),
        (9, 4, Kind::Pong),
        (u32::MAX, 5, Kind::Skip),
    ] {
        assert_eq!(read(&header(length, kind), &[64]).1, Some(FrameError::Length { kind: of, length }));
    }
    // Those of pieces are unknown to a reader that takes none.
    for kind in [0, 6, 7, 9, 255] {
        assert_eq!(read(&header(0, kind), &[64]).1, Some(FrameError::Kind(kind)));
    }
    // A reader's limit does not exceed that of all frames.
    let mut reader = FrameReader::new(Opener::new(&KEY), u64::MAX);
    let longer = header(FRAME_BYTES_MAX as u32 + 1, 1);
    let result = reader.read_from(&mut &longer[..], &mut Scratch::new(), &mut Vec::new());
    assert!(matches!(result, Err(ReadError::Frame(FrameError::Length { .. }))));
}

#[test]
fn random_bytes_are_refused() {
    // A linear congruence instead of randomness makes failures reproducible.
    let mut state = 1u64;
    for _ in 0..2000 {
        let bytes: Vec<u8> = (0..200)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        let (frames, error) = read(&bytes, &[50]);
        assert!(frames.is_empty() && error.is_some());
    }
}

#[test]
fn a_frame_is_valid_at_one_position_of_one_direction_only() {
    let (bytes, starts) = sample(&[20, 20]);
    let frame = |i: usize| &bytes[starts[i]..starts[i + 1]];
    for stream in [
        [frame(0), frame(0)].concat(),
        [frame(1), frame(0)].concat(),
        [frame(0), frame(2)].concat(),
        [frame(0), frame(1), frame(3)].concat(),
    ] {
        assert_eq!(read(&stream, &[usize::MAX]).1, Some(FrameError::Tag), "replayed, reordered or left out");
    }
    let mut other = Vec::new();
    Sealer::new(&[0x4C; 32]).seal_data(0, &body(20), &mut other);
    assert_eq!(read(&other, &[usize::MAX]).1, Some(FrameError::Tag), "the key of another direction");
}

#[test]
fn refusals_have_distinct_names_and_show_their_cause() {
    let kind = Kind::Data;
    let all =
        [FrameError::Kind(0), FrameError::Length { kind, length: 0 }, FrameError::Tag, FrameError::Truncated];
    let names: std::collections::BTreeSet<_> = all.iter().map(FrameError::name).collect();
    assert_eq!(names.len(), all.len());
    let shown = all.map(|error| error.to_string());
    let expected = [
        "frame of unknown kind: 0",
        "frame of unlawful length: 0 bytes of Data",
        "frame with a wrong tag",
        "frame cut off",
    ];
    assert_eq!(shown, expected);
}

/// A source that fails several times before it returns bytes.
struct Failing<'a> {
    failures: Vec<io::ErrorKind>,
    bytes: &'a [u8],
}

impl Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.failures.pop() {
            Some(kind) => Err(kind.into()),
            None => self.bytes.read(buffer),
        }
    }
}

#[test]
fn interrupted_reads_continue_and_other_errors_are_returned() {
    use io::ErrorKind::{ConnectionReset, Interrupted, WouldBlock};
    let (bytes, _) = sample(&[3]);
    let read_once = |failures: Vec<io::ErrorKind>| {
        let mut source = Failing { failures, bytes: &bytes };
        let mut reader = FrameReader::new(Opener::new(&KEY), DATA_BYTES_MAX);
        reader.read_from(&mut source, &mut Scratch::new(), &mut Vec::new())
    };
    assert!(matches!(read_once(vec![Interrupted, Interrupted]), Ok(ReadOutcome::Read(_))));
    assert!(matches!(read_once(vec![WouldBlock, Interrupted]), Ok(ReadOutcome::WouldBlock)));
    let reset = read_once(vec![ConnectionReset]).unwrap_err();
    assert!(matches!(&reset, ReadError::Io(error) if error.kind() == ConnectionReset));
    assert_eq!(reset.to_string(), io::Error::from(ConnectionReset).to_string());
    assert_eq!(ReadError::from(FrameError::Tag).to_string(), "frame with a wrong tag");
}

#[test]
fn unfinished_bytes_are_the_length_of_the_open_body() {
    let (bytes, _) = sample(&[70_000]);
    let mut reader = FrameReader::new(Opener::new(&KEY), DATA_BYTES_MAX);
    let mut feed = |mut bytes: &[u8]| {
        let (mut scratch, mut frames) = (Scratch::new(), Vec::new());
        while !bytes.is_empty() {
            reader.read_from(&mut bytes, &mut scratch, &mut frames).unwrap();
        }
        reader.unfinished_bytes()
    };
    assert_eq!(feed(&bytes[..HEADER_BYTES - 1]), 0);
    assert_eq!(feed(&bytes[HEADER_BYTES - 1..HEADER_BYTES + 9]), 70_000);
    assert_eq!(feed(&bytes[HEADER_BYTES + 9..HEADER_BYTES + 70_000]), 0, "only the tag is missing");
}

#[test]
fn the_empty_digest_is_that_of_nothing() {
    assert_eq!(EMPTY_DIGEST.0, <[u8; 32]>::from(Sha256::digest(b"")));
}
