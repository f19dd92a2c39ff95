//! The IPC queues: messages with bodies over a Unix socket pair between the processes of one node.
//!
//! ```text
//! header length u32 | body length u32 | header (codec) | body            integers little endian
//! ```
//!
//! The header is one of [`crate::envelope`]'s types. Small messages are coalesced into one buffer and so into one
//! write; long bodies are written from their shared buffers and read into buffers of their own, so that only the kernel
//! copies them. Reader and writer work on blocking sockets (threads of `node` and `net_client`) and on nonblocking ones
//! (the loop of `net_server`).
//!
//! The other end is a process of the same node and therefore trusted. A frame that does not parse is an error of ours,
//! not a fault of a peer.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bytes::Bytes;
use crate::codec;
use crate::filling::Filling;
use crate::limits::FRAME_BYTES_MAX;

const PREFIX_BYTES: usize = 8;
/// The longest header: counters of the most nodes, with room for a few dozen reasons, stay below a third of it.
const HEADER_BYTES_MAX: usize = 1 << 18;
/// Bodies from this length on are not copied. A copy of a shorter one costs less than one more slice in the write.
const LARGE_BODY_BYTES: usize = 16 << 10;
/// A buffer of small messages is closed at this size.
const BATCH_BYTES: usize = 64 << 10;
/// Slices handed to one vectored write; the kernel takes up to 1,024.
const SLICES_MAX: usize = 64;
const READ_BYTES: usize = 256 << 10;

/// A socket pair: the parent's end, and the end to give a child as its standard input by `Stdio::from`.
pub fn pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (parent, child) = UnixStream::pair()?;
    Ok((parent, child.into()))
}

/// The child's end: its standard input.
///
/// # Errors
/// If standard input is no socket, as when a person starts the program by hand.
pub fn child_stdio() -> io::Result<UnixStream> {
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Fails if it is no socket, and changes nothing.
    stream.peer_addr().map_err(|error| {
        io::Error::new(error.kind(), format!("standard input is no socket to a parent process ({error})"))
    })?;
    Ok(stream)
}

/// Whether everything queued has been written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flush {
    /// The queue is empty.
    Done,
    /// The socket is full.
    Blocked,
}

enum Piece {
    Small(Vec<u8>),
    Large(Bytes),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Piece::Small(bytes) => bytes,
            Piece::Large(bytes) => bytes,
        }
    }
}

/// The sending end of a queue. The caller bounds it, by [`IpcWriter::queued_bytes`].
///
/// Commands: [`IpcWriter::push`], then [`IpcWriter::try_write`] (nonblocking) or [`IpcWriter::write_all`] (blocking).
#[derive(Default)]
pub struct IpcWriter {
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that have been written.
    first_written: usize,
    pushed_bytes: u64,
    written_bytes: u64,
}

impl IpcWriter {
    /// An empty queue.
    pub fn new() -> IpcWriter {
        IpcWriter::default()
    }

    /// Queues a message. Its body is shared, not copied, if it is long.
    ///
    /// # Panics
    /// If header or body is longer than the reader accepts: our own messages are bounded below that.
    pub fn push<T: Serialize>(&mut self, header: &T, body: &Bytes) {
        if body.len() < LARGE_BODY_BYTES {
            self.push_small(header, body);
        } else {
            self.push_head(header, body.len());
            self.pushed_bytes += body.len() as u64;
            self.pieces.push_back(Piece::Large(body.clone()));
        }
    }

    /// Queues a message and copies its body, which is short or cannot be shared.
    ///
    /// # Panics
    /// As [`IpcWriter::push`].
    pub fn push_small<T: Serialize>(&mut self, header: &T, body: &[u8]) {
        self.push_head(header, body.len());
        self.batch().extend_from_slice(body);
        self.pushed_bytes += body.len() as u64;
    }

    /// Bytes that wait to be written.
    pub fn queued_bytes(&self) -> u64 {
        self.pushed_bytes - self.written_bytes
    }

    /// Bytes pushed since the queue was made. Once [`IpcWriter::written_bytes`] has reached this number, everything
    /// pushed by now has been written.
    pub fn pushed_bytes(&self) -> u64 {
        self.pushed_bytes
    }

    /// Bytes written since the queue was made.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Writes until the socket is full.
    pub fn try_write(&mut self, sink: &mut impl Write) -> io::Result<Flush> {
        while !self.pieces.is_empty() {
            match self.write_once(sink) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Flush::Blocked),
                Err(error) => return Err(error),
            }
        }
        Ok(Flush::Done)
    }

    /// Writes everything to a blocking socket.
    pub fn write_all(&mut self, sink: &mut impl Write) -> io::Result<()> {
        match self.try_write(sink)? {
            Flush::Done => Ok(()),
            Flush::Blocked => Err(io::Error::other("a blocking socket was expected, and it would block")),
        }
    }

    fn write_once(&mut self, sink: &mut impl Write) -> io::Result<()> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            let skipped = if count == 0 { self.first_written } else { 0 };
            *slice = IoSlice::new(&piece.bytes()[skipped..]);
            count += 1;
        }
        let written = sink.write_vectored(&slices[..count])?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.written_bytes += written as u64;
        self.first_written += written;
        while let Some(first) = self.pieces.front()
            && first.bytes().len() <= self.first_written
        {
            self.first_written -= first.bytes().len();
            self.pieces.pop_front();
        }
        Ok(())
    }

    fn push_head<T: Serialize>(&mut self, header: &T, body_bytes: usize) {
        assert!(
            body_bytes <= FRAME_BYTES_MAX as usize,
            "a body of {body_bytes} bytes is longer than a frame"
        );
        let batch = self.batch();
        let start = batch.len();
        batch.extend([0; PREFIX_BYTES]);
        codec::encode_into(header, batch);
        let header_bytes = batch.len() - start - PREFIX_BYTES;
        assert!(header_bytes <= HEADER_BYTES_MAX, "a header of {header_bytes} bytes");
        batch[start..start + 4].copy_from_slice(&(header_bytes as u32).to_le_bytes());
        batch[start + 4..start + 8].copy_from_slice(&(body_bytes as u32).to_le_bytes());
        self.pushed_bytes += (PREFIX_BYTES + header_bytes) as u64;
    }

    /// The small buffer at the end of the queue, a new one if the last is full or large.
    fn batch(&mut self) -> &mut Vec<u8> {
        let open = matches!(self.pieces.back(), Some(Piece::Small(batch)) if batch.len() < BATCH_BYTES);
        if !open {
            self.pieces.push_back(Piece::Small(Vec::new()));
        }
        match self.pieces.back_mut() {
            Some(Piece::Small(batch)) => batch,
            _ => unreachable!("the last piece is a small one by now"),
        }
    }
}

/// Why a queue cannot be read any further.
#[derive(Debug)]
pub enum IpcError {
    /// The socket failed.
    Io(io::Error),
    /// The bytes are no message.
    Malformed(String),
}

impl std::fmt::Display for IpcError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            IpcError::Io(error) => write!(f, "the IPC queue failed: {error}"),
            IpcError::Malformed(what) => write!(f, "a malformed message in the IPC queue: {what}"),
        }
    }
}

impl std::error::Error for IpcError {}

/// The outcome of one read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IpcRead {
    /// Bytes arrived; there may be messages.
    Some,
    /// The socket is empty.
    WouldBlock,
    /// The other process has closed the queue.
    Ended,
}

/// The receiving end of a queue of messages headed by `T`.
///
/// Commands: [`IpcReader::read_from`], then [`IpcReader::pop`] until it returns none; or [`IpcReader::receive`], which
/// does both on a blocking socket.
pub struct IpcReader<T> {
    buffer: Box<[u8]>,
    /// The part of the buffer that has been read and not yet parsed.
    start: usize,
    end: usize,
    /// A message whose header is parsed and whose long body is being read into a buffer of its own.
    body: Option<(T, Filling)>,
    headers: PhantomData<T>,
}

impl<T: DeserializeOwned> IpcReader<T> {
    /// A reader at the beginning of a queue.
    pub fn new() -> IpcReader<T> {
        let buffer = vec![0; READ_BYTES + HEADER_BYTES_MAX].into_boxed_slice();
        IpcReader { buffer, start: 0, end: 0, body: None, headers: PhantomData }
    }

    /// Reads once. The caller has popped all earlier messages.
    pub fn read_from(&mut self, source: &mut impl Read) -> Result<IpcRead, IpcError> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        // With a full buffer a read of zero bytes would look like the end of the queue.
        assert!(self.end < self.buffer.len(), "messages are popped before more are read");
        loop {
            let room = &mut self.buffer[self.end..];
            let read = match &mut self.body {
                Some((_, body)) => {
                    body.read_from(source, room).map(|(added, spilled)| (added.len() + spilled, spilled))
                }
                None => source.read(room).map(|read| (read, read)),
            };
            match read {
                Ok((0, _)) => return Ok(IpcRead::Ended),
                Ok((_, in_buffer)) => {
                    self.end += in_buffer;
                    return Ok(IpcRead::Some);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(IpcRead::WouldBlock),
                // A process that is killed before it has read everything causes a reset instead of an end.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(IpcRead::Ended),
                Err(error) => return Err(IpcError::Io(error)),
            }
        }
    }

    /// The next complete message.
    pub fn pop(&mut self) -> Result<Option<(T, Bytes)>, IpcError> {
        if self.body.is_none() && !self.begin_message()? {
            return Ok(None);
        }
        let Some((header, mut body)) = self.body.take() else { return Ok(None) };
        let taken = body.take(&self.buffer[self.start..self.end]).len();
        self.start += taken;
        if body.missing_bytes() > 0 {
            self.body = Some((header, body));
            return Ok(None);
        }
        Ok(Some((header, Bytes::from(body.finish()))))
    }

    /// Waits for the next message on a blocking socket; `None` at the end of the queue.
    pub fn receive(&mut self, source: &mut impl Read) -> Result<Option<(T, Bytes)>, IpcError> {
        loop {
            if let Some(message) = self.pop()? {
                return Ok(Some(message));
            }
            if self.read_from(source)? == IpcRead::Ended {
                return Ok(None);
            }
        }
    }

    /// Parses the header of the next message if it is complete.
    fn begin_message(&mut self) -> Result<bool, IpcError> {
        let input = &self.buffer[self.start..self.end];
        let Some((prefix, rest)) = input.split_first_chunk::<PREFIX_BYTES>() else { return Ok(false) };
        let length = |at: usize| {
            let bytes = prefix[at..at + 4].try_into().expect("the prefix has two lengths of four bytes");
            u32::from_le_bytes(bytes) as usize
        };
        let (header_bytes, body_bytes) = (length(0), length(4));
        if header_bytes > HEADER_BYTES_MAX || body_bytes as u64 > FRAME_BYTES_MAX {
            let lengths = format!("a header of {header_bytes} and a body of {body_bytes} bytes");
            return Err(IpcError::Malformed(lengths));
        }
        let Some(header) = rest.get(..header_bytes) else { return Ok(false) };
        let header = codec::decode(header).map_err(|error| IpcError::Malformed(error.to_string()))?;
        self.start += PREFIX_BYTES + header_bytes;
        self.body = Some((header, Filling::new(body_bytes)));
        Ok(true)
    }
}

impl<T: DeserializeOwned> Default for IpcReader<T> {
    fn default() -> IpcReader<T> {
        IpcReader::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Class, FromCore, ToCore};
    use crate::ids::{ClientId, Digest, NodeId};

    fn body(length: usize) -> Bytes {
        Bytes::from((0..length).map(|i| ((i * 2_654_435_761) >> 9) as u8).collect::<Vec<u8>>())
    }

    fn message(i: u64) -> ToCore {
        match i % 3 {
            0 => ToCore::Client { client: ClientId(i) },
            1 => ToCore::Peer { from: NodeId(i as u16), digest: Digest([i as u8; 32]) },
            _ => ToCore::Counters { links: vec![], refused: vec![("name".repeat(i as usize), i)] },
        }
    }

    /// Reads and writes a limited number of bytes a call.
    struct Narrow<T>(T, usize);

    impl<T: Read> Read for Narrow<T> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(self.1);
            self.0.read(&mut buffer[..length])
        }
    }

    impl<T: Write> Write for Narrow<T> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(&bytes[..bytes.len().min(self.1)])
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    #[test]
    fn messages_with_bodies_of_all_sizes_arrive_in_order() {
        let lengths = [0, 5, 0, LARGE_BODY_BYTES - 1, LARGE_BODY_BYTES, 100_000, 1, (3 << 20) + 1, 0, 17];
        let mut writer = IpcWriter::new();
        for (i, length) in lengths.iter().enumerate() {
            writer.push(&message(i as u64), &body(*length));
        }
        for narrow in [usize::MAX, 4096, 777] {
            let (mut bytes, mut copy) = (Vec::new(), IpcWriter::new());
            for (i, length) in lengths.iter().enumerate() {
                copy.push(&message(i as u64), &body(*length));
            }
            copy.write_all(&mut Narrow(&mut bytes, narrow)).unwrap();
            assert_eq!((copy.queued_bytes(), copy.written_bytes()), (0, bytes.len() as u64));
            assert_eq!(copy.pushed_bytes(), writer.pushed_bytes());
            let (mut reader, mut source) = (IpcReader::<ToCore>::new(), Narrow(&bytes[..], narrow));
            for (i, length) in lengths.iter().enumerate() {
                let (header, received) = reader.receive(&mut source).unwrap().unwrap();
                assert_eq!((header, received), (message(i as u64), body(*length)), "message {i}");
            }
            assert!(reader.receive(&mut source).unwrap().is_none(), "the queue ends");
        }
    }

    #[test]
    fn small_messages_are_coalesced_and_long_bodies_are_not_copied() {
        let mut writer = IpcWriter::new();
        for i in 0..100 {
            writer.push(&message(i), &body(100));
        }
        assert_eq!(writer.pieces.len(), 1);
        let long = body(1 << 20);
        writer.push(&message(0), &long);
        writer.push(&message(1), &body(1));
        assert_eq!(writer.pieces.len(), 3);
        assert!(
            matches!(&writer.pieces[1], Piece::Large(shared) if std::ptr::eq(&shared[0], &long[0])),
            "the queue shares the body"
        );
    }

    #[test]
    fn a_full_socket_blocks_and_writing_resumes() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut ours, mut theirs) = (ours, theirs);
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let mut writer = IpcWriter::new();
        let count = 50;
        (0..count).for_each(|i| writer.push(&message(i), &body(60_000)));
        let (mut reader, mut received, mut blocked) = (IpcReader::<ToCore>::new(), 0, 0);
        while received < count {
            if writer.try_write(&mut ours).unwrap() == Flush::Blocked {
                blocked += 1;
                assert!(writer.written_bytes() < writer.pushed_bytes());
            }
            while reader.read_from(&mut theirs).unwrap() == IpcRead::Some {
                while let Some((header, bytes)) = reader.pop().unwrap() {
                    assert_eq!((header, bytes), (message(received), body(60_000)));
                    received += 1;
                }
            }
        }
        assert!(blocked > 0, "3 MB do not fit a socket's buffer");
        drop(ours);
        assert_eq!(reader.read_from(&mut theirs).unwrap(), IpcRead::Ended);
    }

    #[test]
    fn malformed_messages_are_errors() {
        let received = |bytes: &[u8]| IpcReader::<ToCore>::new().receive(&mut &bytes[..]);
        for (header_bytes, body_bytes) in [(u32::MAX, 0), (4, u32::MAX), (0, 0)] {
            let prefix = [header_bytes.to_le_bytes(), body_bytes.to_le_bytes()].concat();
            assert!(matches!(received(&prefix), Err(IpcError::Malformed(_))), "{header_bytes} {body_bytes}");
        }
        let mut writer = IpcWriter::new();
        let class = Class::Keep;
        writer.push_small(
            &FromCore::Send { dest: crate::dest::Dest::ShardOthers, class, digest: None },
            b"body",
        );
        let mut bytes = Vec::new();
        writer.write_all(&mut bytes).unwrap();
        bytes[8] = 0xEE;
        assert!(matches!(received(&bytes), Err(IpcError::Malformed(_))), "no variant has this number");
    }
}
