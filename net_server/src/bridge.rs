//! The IPC queue to and from the core, on standard input.

use std::io;

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use wire::bytes::Bytes;
use wire::envelope::{FromCore, ToCore};
use wire::ipc::{Flush, IpcError, IpcRead, IpcReader, IpcWriter, child_stdio};

/// Both directions of the queue, nonblocking.
pub(crate) struct Bridge {
    stream: UnixStream,
    writer: IpcWriter,
    reader: IpcReader<FromCore>,
    readable: bool,
    writable: bool,
}

/// Whether the core runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Core {
    Alive,
    /// It closed the queue.
    Gone,
}

impl Bridge {
    /// Takes over standard input.
    pub(crate) fn open(registry: &Registry, token: Token) -> io::Result<Bridge> {
        Bridge::over(child_stdio()?, registry, token)
    }

    /// Takes over a socket to the core.
    pub(crate) fn over(
        stream: std::os::unix::net::UnixStream,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Bridge> {
        stream.set_nonblocking(true)?;
        let mut stream = UnixStream::from_std(stream);
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let (writer, reader) = (IpcWriter::new(), IpcReader::new());
        Ok(Bridge { stream, writer, reader, readable: true, writable: true })
    }

    /// Notes the readiness of the socket.
    pub(crate) fn on_event(&mut self, event: &mio::event::Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_error();
    }

    /// Queues a message for the core.
    pub(crate) fn push(&mut self, message: &ToCore, body: &Bytes) {
        self.writer.push(message, body);
    }

    /// Queues a message without a body.
    pub(crate) fn push_message(&mut self, message: &ToCore) {
        self.writer.push_small(message, &[]);
    }

    /// Writes until the socket is full.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.writable && self.writer.try_write(&mut self.stream)? == Flush::Blocked {
            self.writable = false;
        }
        Ok(())
    }

    /// Whether the socket may be readable.
    pub(crate) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Reads once and appends the complete messages.
    pub(crate) fn read(&mut self, messages: &mut Vec<(FromCore, Bytes)>) -> Result<Core, IpcError> {
        match self.reader.read_from(&mut self.stream)? {
            IpcRead::Ended => return Ok(Core::Gone),
            IpcRead::WouldBlock => self.readable = false,
            IpcRead::Some => {
                while let Some(message) = self.reader.pop()? {
                    messages.push(message);
                }
            }
        }
        Ok(Core::Alive)
    }

    /// Bytes that wait to be written.
    pub(crate) fn queued_bytes(&self) -> u64 {
        self.writer.queued_bytes()
    }

    /// Bytes pushed so far. Everything pushed by now is written once [`Bridge::written_bytes`] has reached this.
    pub(crate) fn pushed_bytes(&self) -> u64 {
        self.writer.pushed_bytes()
    }

    /// Bytes written so far.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.writer.written_bytes()
    }
}
