//! The dialer's handshake over a blocking TCP socket, within one deadline.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::ids::Digest;
use crate::session::{
    Dialer, Expected, HandshakeError, Identity, ListenerHello, LocalHello, REPLY_BYTES, Session,
};

/// Why there is no session after a dial.
#[derive(Debug)]
pub enum DialError {
    /// The connection failed, ended, or took too long. It ends when the listener refuses us; the log there gives the
    /// reason.
    Io(io::Error),
    /// The listener is not the expected one, or broke the rules.
    Handshake(HandshakeError),
}

impl std::fmt::Display for DialError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DialError::Io(error) => write!(f, "no handshake: {error}"),
            DialError::Handshake(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DialError {}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> DialError {
        DialError::Io(error)
    }
}

/// Shakes hands over a connected blocking socket, within `time` in total, however slowly the other side sends.
/// Afterwards the socket has no timeouts, and `TCP_NODELAY` is set.
pub fn handshake(
    stream: &mut TcpStream,
    time: Duration,
    identity: &Identity,
    testbed: Digest,
    expected: Option<Expected>,
    local: LocalHello,
) -> Result<(Session, ListenerHello), DialError> {
    let deadline = Instant::now() + time;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(time))?;
    let (dialer, hello) = Dialer::start(identity, testbed, expected, local);
    stream.write_all(&hello)?;
    let mut reply = [0; REPLY_BYTES];
    let mut filled = 0;
    while filled < REPLY_BYTES {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut reply[filled..]) {
            Ok(0) => {
                let cut_off = || io::Error::from(io::ErrorKind::UnexpectedEof).into();
                return Err(
                    Dialer::on_closed(&reply[..filled], testbed).map_or_else(cut_off, DialError::Handshake)
                );
            }
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // This is how a read reports a timeout.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    let (finish, session, hello) = dialer.on_reply(&reply).map_err(DialError::Handshake)?;
    stream.write_all(&finish)?;
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    Ok((session, hello))
}
