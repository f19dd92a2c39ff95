//! As much of HTTP/1.1 as a scrape needs: `GET /metrics`, one request a connection.
//!
//! # Security
//! A request may be [`HEAD_BYTES_MAX`] long and take [`TIME_MAX`], its answer as long again. [`CONNECTIONS_MAX`] are
//! answered at once, each by a thread of its own; further ones are refused. So a connection that sends nothing or does
//! not read occupies a thread for a few seconds.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::text::CONTENT_TYPE;

/// The longest head of a request: browsers send a kilobyte of headers.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// How long a request may take to arrive, and an answer to be written.
const TIME_MAX: Duration = Duration::from_secs(3);
/// Connections that are answered at once.
const CONNECTIONS_MAX: usize = 8;
/// The pause after a failed accept, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The most that is read and dropped of a refused request, so that its answer is not lost.
const UNREAD_BYTES_MAX: usize = 64 << 10;

/// Returns the page, or the reason why there is none.
pub(super) type Page = dyn Fn() -> Result<Arc<str>, String> + Send + Sync;

/// Answers requests on threads of its own until the process ends.
pub(super) fn serve(listener: TcpListener, page: Arc<Page>) -> io::Result<()> {
    thread::Builder::new().name("metrics".into()).spawn(move || accept_all(&listener, &page)).map(drop)
}

fn accept_all(listener: &TcpListener, page: &Arc<Page>) {
    let places = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                log::debug!("cannot accept a connection of a scrape: {error}");
                thread::sleep(ACCEPT_PAUSE);
                continue;
            }
        };
        let Some(place) = Place::take(&places) else {
            refuse_at_once(stream);
            continue;
        };
        let page = page.clone();
        let spawned = thread::Builder::new().name("scrape".into()).spawn(move || {
            if let Err(error) = answer(&stream, &*page) {
                log::debug!("a scrape broke off: {error}");
            }
            drop(place);
        });
        if let Err(error) = spawned {
            log::debug!("no thread for a scrape: {error}");
        }
    }
}

/// One of the connections that are answered.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(places: &Arc<AtomicUsize>) -> Option<Place> {
        // Only the accepting thread takes places, so check and increment need not be atomic.
        if places.load(Ordering::Relaxed) >= CONNECTIONS_MAX {
            return None;
        }
        places.fetch_add(1, Ordering::Relaxed);
        Some(Place(places.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refusal {
    BadRequest,
    NotFound,
    MethodNotAllowed,
    TooSlow,
    TooLong,
    Version,
}

impl Refusal {
    /// Its status code and reason phrase.
    fn status(self) -> &'static str {
        match self {
            Refusal::BadRequest => "400 Bad Request",
            Refusal::NotFound => "404 Not Found",
            Refusal::MethodNotAllowed => "405 Method Not Allowed",
            Refusal::TooSlow => "408 Request Timeout",
            Refusal::TooLong => "431 Request Header Fields Too Large",
            Refusal::Version => "505 HTTP Version Not Supported",
        }
    }
}

fn answer(stream: &TcpStream, page: &Page) -> io::Result<()> {
    let judged = match read_head(stream)? {
        Head::Nothing => return Ok(()),
        Head::Refused(refusal) => Err(refusal),
        Head::Whole(head) => judge(&head),
    };
    let response = match judged.map(|()| page()) {
        Ok(Ok(page)) => response("200 OK", CONTENT_TYPE, &page),
        Ok(Err(reason)) => response("503 Service Unavailable", "text/plain", &format!("{reason}\n")),
        Err(refusal) => response(refusal.status(), "text/plain", "only GET /metrics is served here\n"),
    };
    write_within(stream, response.as_bytes(), Instant::now() + TIME_MAX)?;
    hang_up(stream)
}

/// The head of a request.
enum Head {
    Whole(Vec<u8>),
    /// The connection ended before any byte, like that of a port scan.
    Nothing,
    Refused(Refusal),
}

fn read_head(mut stream: &TcpStream) -> io::Result<Head> {
    let deadline = Instant::now() + TIME_MAX;
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        match within(deadline, |left| stream.set_read_timeout(left).and_then(|()| stream.read(&mut buffer)))?
        {
            None => return Ok(Head::Refused(Refusal::TooSlow)),
            Some(0) if head.is_empty() => return Ok(Head::Nothing),
            Some(0) => return Ok(Head::Refused(Refusal::BadRequest)),
            Some(count) => head.extend_from_slice(&buffer[..count]),
        }
        if head.windows(4).any(|bytes| bytes == b"\r\n\r\n") || head.windows(2).any(|bytes| bytes == b"\n\n")
        {
            return Ok(Head::Whole(head));
        }
        if head.len() > HEAD_BYTES_MAX {
            return Ok(Head::Refused(Refusal::TooLong));
        }
    }
}

/// Checks the request line; headers are ignored.
fn judge(head: &[u8]) -> Result<(), Refusal> {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = str::from_utf8(line).map_err(|_| Refusal::BadRequest)?.trim_end_matches('\r');
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = words[..] else { return Err(Refusal::BadRequest) };
    if !version.starts_with("HTTP/") {
        return Err(Refusal::BadRequest);
    }
    if !matches!(version, "HTTP/1.0" | "HTTP/1.1") {
        return Err(Refusal::Version);
    }
    if target.split('?').next() != Some("/metrics") {
        return Err(Refusal::NotFound);
    }
    if method == "GET" { Ok(()) } else { Err(Refusal::MethodNotAllowed) }
}

fn response(status: &str, content_type: &str, body: &str) -> String {
    // RFC 9110 requires it with 405.
    let allow = if status.starts_with("405") { "Allow: GET\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Refuses a connection beyond the limit without waiting for it: so short an answer fits the socket.
fn refuse_at_once(mut stream: TcpStream) {
    let answer = response("503 Service Unavailable", "text/plain", "too many scrapes at once\n");
    let sent = stream.set_nonblocking(true).and_then(|()| stream.write_all(answer.as_bytes()));
    if let Err(error) = sent {
        log::debug!("a scrape beyond the limit got no answer: {error}");
    }
}

/// Ends the connection without losing the answer: closing a socket with unread bytes would reset it.
fn hang_up(mut stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let deadline = Instant::now() + TIME_MAX;
    let mut buffer = [0; 1024];
    let mut unread = 0;
    while unread < UNREAD_BYTES_MAX {
        match within(deadline, |left| stream.set_read_timeout(left).and_then(|()| stream.read(&mut buffer)))?
        {
            None | Some(0) => break,
            Some(count) => unread += count,
        }
    }
    Ok(())
}

fn write_within(mut stream: &TcpStream, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        match within(deadline, |left| stream.set_write_timeout(left).and_then(|()| stream.write(bytes)))? {
            None => return Err(io::ErrorKind::TimedOut.into()),
            Some(count) => bytes = &bytes[count..],
        }
    }
    Ok(())
}

/// Attempts an operation with the time that is left; `None` at the deadline.
fn within(
    deadline: Instant,
    mut attempt: impl FnMut(Option<Duration>) -> io::Result<usize>,
) -> io::Result<Option<usize>> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        match attempt(Some(left)) {
            Ok(count) => return Ok(Some(count)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_page_is_served() {
        for (head, expected) in [
            ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", Ok(())),
            ("GET /metrics?debug=1 HTTP/1.0\n\n", Ok(())),
            ("POST /metrics HTTP/1.1\r\n\r\n", Err(Refusal::MethodNotAllowed)),
            ("GET / HTTP/1.1\r\n\r\n", Err(Refusal::NotFound)),
            ("POST /../keys HTTP/1.1\r\n\r\n", Err(Refusal::NotFound)),
            ("GET /metrics HTTP/2\r\n\r\n", Err(Refusal::Version)),
            ("GET /metrics\r\n\r\n", Err(Refusal::BadRequest)),
            ("GET /metrics FTP/1.1\r\n\r\n", Err(Refusal::BadRequest)),
            ("GET  /metrics HTTP/1.1\r\n\r\n", Err(Refusal::BadRequest)),
            ("\r\n\r\n", Err(Refusal::BadRequest)),
        ] {
            assert_eq!(judge(head.as_bytes()), expected, "{head}");
        }
        assert_eq!(judge(b"\xff\xfe /metrics HTTP/1.1\r\n\r\n"), Err(Refusal::BadRequest));
    }

    #[test]
    fn an_answer_has_its_length_and_the_allowed_method() {
        let answer = response("405 Method Not Allowed", "text/plain", "é\n");
        assert!(answer.contains("\r\nContent-Length: 3\r\nAllow: GET\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\né\n"), "{answer}");
    }
}
