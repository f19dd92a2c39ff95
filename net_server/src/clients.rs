//! The client port: the sessions of clients, which submit transactions and query the node.
//!
//! Anybody can be a client, so the memory that clients can occupy is bounded for all of them together: sessions (one
//! address has only some of the places; a connection that never sent a request is evicted, and an idle client),
//! unfinished frames (a long one needs a permit and has to arrive in time), and unread replies (the client with the
//! most is closed).
//!
//! While the core lags, clients are held back: each is read only until it has sent a request for the core, which waits
//! here. So status requests are still answered, with the status that a lagging core hands over, and each client
//! occupies no more than one short read.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use mio::Token;
use mio::net::TcpStream;
use wire::bytes::Bytes;
use wire::client::Request;
use wire::envelope::ToCore;
use wire::frame::{Arrival, Frame, FrameReader, InOrder, Kind, Scratch, Sealer};
use wire::ids::{ClientId, Round};
use wire::limits::local::Local;
use wire::limits::{
    CLIENT_FIRST_REQUEST_TIME, CLIENT_FRAME_BYTES_MAX, CLIENT_FRAME_FREE_BYTES, CLIENT_FRAME_PAUSE,
    CLIENT_FRAME_TIME,
};
use wire::name::Name;
use wire::rand;

use crate::admission::Admitted;
use crate::counters::Refused;
use crate::outgoing::Outgoing;
use crate::ready::Ready;
use crate::shared::{self, Shared};
use crate::timers::Timer;

/// All clients.
pub(crate) struct Clients {
    sessions: BTreeMap<Token, Client>,
    tokens: BTreeMap<ClientId, Token>,
    ready: Ready,
    /// Readable clients that are held back.
    held: Ready,
    next_id: ClientId,
    /// Small: one read of small frames brings in no more than what needs no permit.
    scratch: Scratch,
    /// Bytes of unfinished long frames with a permit.
    permitted_bytes: u64,
    /// Clients that wait for a permit, in order. They are not read.
    waiting: VecDeque<Token>,
    /// When clients were last held back.
    held_back: Option<Instant>,
    /// Bytes of unread replies of all clients.
    unread_bytes: u64,
}

struct Client {
    id: ClientId,
    remote: SocketAddr,
    stream: TcpStream,
    reader: FrameReader,
    sealer: Sealer,
    in_order: InOrder,
    next_sent: u64,
    outgoing: Outgoing,
    pong_due: Option<u64>,
    since: Instant,
    last_active: Instant,
    usage: Usage,
    permit: Permit,
    deadline: Deadline,
    /// Requests that are held back: those of one short read.
    held: Vec<Bytes>,
    /// Status requests of the current read to answer without the core.
    statuses_due: usize,
    /// Whether the core has received a request of it.
    known: Known,
}

/// Whether a client may finish a long frame.
#[derive(Clone, Copy)]
enum Permit {
    NotNeeded,
    Requested,
    Granted { bytes: u64, since: Instant },
}

/// Whether [`Timer::ClientFrame`] is armed for a client. One timer serves all its frames.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deadline {
    Unarmed,
    Armed,
}

/// Whether a client has sent a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Usage {
    None,
    Requests,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    ToUsAlone,
    ToTheCore,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", Name::Client(self.id), self.remote)
    }
}

impl Clients {
    /// No client yet. Ids begin at a random number, so that replies for clients of an earlier process are dropped.
    pub(crate) fn new() -> Clients {
        Clients {
            sessions: BTreeMap::new(),
            tokens: BTreeMap::new(),
            ready: Ready::default(),
            held: Ready::default(),
            next_id: ClientId(rand::u64() >> 1),
            scratch: Scratch::of_bytes(CLIENT_FRAME_FREE_BYTES as usize),
            permitted_bytes: 0,
            waiting: VecDeque::new(),
            held_back: None,
            unread_bytes: 0,
        }
    }

    /// Whether this is a client's session.
    pub(crate) fn has(&self, token: Token) -> bool {
        self.sessions.contains_key(&token)
    }

    /// Whether [`Clients::serve`] would do something now.
    pub(crate) fn has_work(&self, shared: &Shared) -> bool {
        self.ready.count() > 0 || self.held.count() > 0 && !shared.holds_clients_back()
    }

    /// Begins the session of a client, unless its address has too many, or all have and none may be evicted.
    pub(crate) fn begin(&mut self, admitted: Admitted, shared: &mut Shared) {
        let Admitted { token, stream, remote, session, .. } = admitted;
        let ip = remote.ip().to_canonical();
        let of_address = if ip.is_loopback() { Local::ClientsPerLoopback } else { Local::ClientsPerIp };
        // Walks over all clients, here and below, but once for each accepted connection.
        let same_address = self.sessions.values().filter(|it| it.remote.ip().to_canonical() == ip).count();
        if same_address >= shared.limits.count(of_address) {
            return shared.refuse(Refused::ClientsOfAddress, &remote);
        }
        if self.sessions.len() >= shared.limits.count(Local::Clients) {
            match self.evictable(shared) {
                Some((token, refused)) => self.end(token, Some(refused), shared),
                None => return shared.refuse(Refused::ClientsFull, &remote),
            }
        }
        let id = self.next_id;
        self.next_id = ClientId(id.0 + 1);
        self.tokens.insert(id, token);
        self.sessions.insert(
            token,
            Client {
                id,
                remote,
                stream,
                reader: FrameReader::new(session.opener, CLIENT_FRAME_BYTES_MAX),
                sealer: session.sealer,
                in_order: InOrder::default(),
                next_sent: 0,
                outgoing: Outgoing::default(),
                pong_due: None,
                since: shared.now,
                last_active: shared.now,
                usage: Usage::None,
                permit: Permit::NotNeeded,
                deadline: Deadline::Unarmed,
                held: Vec::new(),
                statuses_due: 0,
                known: Known::ToUsAlone,
            },
        );
        self.ready.add(token);
        log::debug!("{} connected from {remote}", Name::Client(id));
    }

    /// The client to evict for a new one: the oldest connection that has sent no request in time, or the client that
    /// has been idle for the longest, if that is long. A long frame that is under way has its own time.
    fn evictable(&self, shared: &Shared) -> Option<(Token, Refused)> {
        let unused = |client: &&Client| {
            client.usage == Usage::None && matches!(client.permit, Permit::NotNeeded | Permit::Requested)
        };
        let clients = || self.sessions.iter();
        let oldest = clients().filter(|(_, it)| unused(it)).min_by_key(|(_, it)| it.since);
        if let Some((token, client)) = oldest
            && client.since + CLIENT_FIRST_REQUEST_TIME <= shared.now
        {
            return Some((*token, Refused::ClientWithoutRequest));
        }
        let (token, idlest) = clients().min_by_key(|(_, it)| it.last_active)?;
        let is_idle = idlest.last_active + shared.limits.time(Local::ClientIdleMs) <= shared.now;
        is_idle.then_some((*token, Refused::ClientEvicted))
    }

    /// Handles the readiness of a connection.
    pub(crate) fn on_event(&mut self, token: Token, event: &mio::event::Event, shared: &mut Shared) {
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.ready.add(token);
        }
        if event.is_writable() {
            self.write(token, shared);
        }
    }

    /// Reads each readable connection once, in turn. Releases those held back first if the core keeps up again.
    pub(crate) fn serve(&mut self, shared: &mut Shared) {
        while !shared.holds_clients_back()
            && let Some(token) = self.held.pop()
        {
            if let Some(client) = self.sessions.get_mut(&token) {
                client.release(shared);
                self.ready.add(token);
            }
        }
        for _ in 0..self.ready.count() {
            if let Some(token) = self.ready.pop() {
                self.read(token, shared);
            }
        }
        if self.held.count() > 0 {
            self.held_back = Some(shared.now);
        }
    }

    /// Sends a reply, unless the client is gone.
    pub(crate) fn reply(&mut self, id: ClientId, body: &Bytes, shared: &mut Shared) {
        let Some(token) = self.tokens.get(&id).copied() else { return };
        let Some(client) = self.sessions.get_mut(&token) else { return };
        let before = client.outgoing.len();
        client.sealer.seal_data(client.next_sent, body, client.outgoing.buffer());
        client.next_sent += 1;
        self.unread_bytes += (client.outgoing.len() - before) as u64;
        self.write(token, shared);
        if self
            .sessions
            .get(&token)
            .is_some_and(|it| it.outgoing.len() as u64 > shared.limits.get(Local::ClientUnreadBytes))
        {
            self.end(token, Some(Refused::ClientUnread), shared);
        }
        while self.unread_bytes > shared.limits.get(Local::ClientsUnreadBytes) {
            // Walks over all clients, but closes one each time.
            let most = self.sessions.iter().max_by_key(|(_, client)| client.outgoing.len());
            let Some(most) = most.map(|(token, _)| *token) else { return };
            self.end(most, Some(Refused::ClientUnread), shared);
        }
    }

    /// Handles [`Timer::ClientFrame`].
    pub(crate) fn on_frame_timer(&mut self, token: Token, shared: &mut Shared) {
        let Some(client) = self.sessions.get_mut(&token) else { return };
        client.deadline = Deadline::Unarmed;
        let Permit::Granted { since, .. } = client.permit else { return };
        // The time during which clients were held back does not count.
        let since = self.held_back.map_or(since, |held_back| held_back.max(since));
        let quiet_since = client.last_active.max(since);
        let others_wait = !self.waiting.is_empty();
        let paused = others_wait && quiet_since + CLIENT_FRAME_PAUSE <= shared.now;
        if paused || since + CLIENT_FRAME_TIME <= shared.now {
            self.end(token, Some(Refused::ClientTooSlow), shared);
        } else {
            client.watch(token, shared);
        }
    }

    /// Reads once, unless the client waits for a permit or is held back.
    fn read(&mut self, token: Token, shared: &mut Shared) {
        let Some(client) = self.sessions.get_mut(&token) else { return };
        match client.permit {
            Permit::Requested => return,
            Permit::Granted { .. } if shared.holds_clients_back() => return self.held.add(token),
            _ if !client.held.is_empty() => return self.held.add(token),
            Permit::Granted { .. } | Permit::NotNeeded => {}
        }
        let mut frames = std::mem::take(&mut shared.frames);
        let outcome = client.reader.read_from(&mut client.stream, &mut self.scratch, &mut frames);
        let completed = !frames.is_empty();
        let taken = frames.drain(..).try_for_each(|frame| client.take(frame, shared));
        frames.clear();
        shared.frames = frames;
        let unfinished_bytes = client.reader.unfinished_bytes() as u64;
        match shared::outcome_of_read(taken, outcome) {
            Ok(0) => {}
            Ok(_) => {
                client.last_active = shared.now;
                self.ready.add(token);
            }
            Err(refused) => return self.end(token, refused, shared),
        }
        if completed {
            let permit = std::mem::replace(&mut client.permit, Permit::NotNeeded);
            self.return_permit(permit, shared);
        }
        self.request_permit(token, unfinished_bytes, shared);
        self.answer_statuses(token, shared);
        self.write(token, shared);
    }

    fn answer_statuses(&mut self, token: Token, shared: &mut Shared) {
        let Some(client) = self.sessions.get_mut(&token) else { return };
        let (id, due) = (client.id, std::mem::take(&mut client.statuses_due));
        if let Some(status) = shared.status() {
            (0..due).for_each(|_| self.reply(id, &status, shared));
        }
    }

    /// Grants a permit for the unfinished frame of a client if it is long and has none, or makes the client wait.
    fn request_permit(&mut self, token: Token, bytes: u64, shared: &mut Shared) {
        let Some(client) = self.sessions.get_mut(&token) else { return };
        if bytes <= CLIENT_FRAME_FREE_BYTES || matches!(client.permit, Permit::Granted { .. }) {
            return;
        }
        if self.permitted_bytes + bytes > shared.limits.get(Local::ClientsFrameBytes) {
            client.permit = Permit::Requested;
            self.waiting.push_back(token);
            return;
        }
        self.permitted_bytes += bytes;
        client.permit = Permit::Granted { bytes, since: shared.now };
        client.watch(token, shared);
    }

    /// Takes back a permit and grants permits to waiting clients, in order.
    fn return_permit(&mut self, permit: Permit, shared: &mut Shared) {
        let Permit::Granted { bytes, .. } = permit else { return };
        self.permitted_bytes -= bytes;
        while let Some(token) = self.waiting.front().copied() {
            let Some(client) = self.sessions.get_mut(&token) else { return };
            let bytes = client.reader.unfinished_bytes() as u64;
            if self.permitted_bytes + bytes > shared.limits.get(Local::ClientsFrameBytes) {
                return;
            }
            self.waiting.pop_front();
            client.permit = Permit::NotNeeded;
            self.request_permit(token, bytes, shared);
            self.ready.add(token);
        }
    }

    fn write(&mut self, token: Token, shared: &mut Shared) {
        let Some(client) = self.sessions.get_mut(&token) else { return };
        let before = client.outgoing.len();
        let result = client.write(shared.decided);
        let after = client.outgoing.len();
        if after < before {
            client.last_active = shared.now;
        }
        self.unread_bytes = self.unread_bytes + after as u64 - before as u64;
        if result.is_err() {
            self.end(token, None, shared);
        }
    }

    fn end(&mut self, token: Token, refused: Option<Refused>, shared: &mut Shared) {
        let Some(client) = self.sessions.remove(&token) else { return };
        if let Some(refused) = refused {
            shared.refuse(refused, &client);
        }
        self.unread_bytes -= client.outgoing.len() as u64;
        // Walks over all clients at most, and only when one goes.
        self.waiting.retain(|waiting| *waiting != token);
        self.return_permit(client.permit, shared);
        self.tokens.remove(&client.id);
        if client.known == Known::ToTheCore {
            shared.bridge.push_message(&ToCore::ClientGone { client: client.id });
        }
        log::debug!("{client} is gone");
    }
}

impl Client {
    /// Handles one frame.
    fn take(&mut self, frame: Frame, shared: &mut Shared) -> Result<(), Refused> {
        match frame.kind {
            Kind::Data => {
                if self.in_order.accept(frame.sequence) != Arrival::Next {
                    return Err(Refused::OutOfSequence);
                }
                self.usage = Usage::Requests;
                if Request::is_status(&frame.body) && shared.status().is_some() {
                    self.statuses_due += 1;
                } else if shared.holds_clients_back() {
                    self.held.push(frame.body);
                } else {
                    self.forward(&frame.body, shared);
                }
                Ok(())
            }
            Kind::Ping => {
                self.pong_due = Some(frame.sequence);
                Ok(())
            }
            Kind::Ack | Kind::Pong | Kind::Skip | Kind::Heard => Err(Refused::UnexpectedKind),
        }
    }

    fn forward(&mut self, request: &Bytes, shared: &mut Shared) {
        self.known = Known::ToTheCore;
        shared.bridge.push(&ToCore::Client { client: self.id }, request);
    }

    /// Forwards the requests that were held back.
    fn release(&mut self, shared: &mut Shared) {
        for request in std::mem::take(&mut self.held) {
            self.forward(&request, shared);
        }
    }

    /// Arms the timer that checks the progress of a long frame.
    fn watch(&mut self, token: Token, shared: &mut Shared) {
        if self.deadline == Deadline::Unarmed {
            self.deadline = Deadline::Armed;
            shared.timers.arm(shared.now + CLIENT_FRAME_PAUSE, Timer::ClientFrame(token));
        }
    }

    fn write(&mut self, decided: Round) -> io::Result<()> {
        // A pong follows all replies; a client that does not read gets one for all its pings.
        if self.outgoing.is_empty()
            && let Some(sequence) = self.pong_due.take()
        {
            self.sealer.seal_pong(sequence, decided, self.outgoing.buffer());
        }
        self.outgoing.write_to(&mut self.stream)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wire::limits::CLIENT_IDLE_EVICTABLE;
    use wire::limits::local::LocalLimits;

    use super::*;
    use crate::testing::{Bench, remote};

    #[test]
    fn a_long_idle_client_is_evicted_and_an_active_one_is_not() {
        let mut bench = Bench::new();
        bench.shared.limits = LocalLimits::parse("clients=2").unwrap();
        let (mut clients, mut ends) = (Clients::new(), Vec::new());
        let mut begin = |clients: &mut Clients, bench: &mut Bench, token: usize| {
            let (admitted, end) = bench.client(Token(token));
            ends.push(end);
            clients.begin(admitted, &mut bench.shared);
            clients.has(Token(token))
        };
        assert!(begin(&mut clients, &mut bench, 1));
        bench.shared.now += Duration::from_secs(1);
        assert!(begin(&mut clients, &mut bench, 2));
        clients.sessions.values_mut().for_each(|client| client.usage = Usage::Requests);
        bench.shared.now += CLIENT_IDLE_EVICTABLE - Duration::from_secs(2);
        assert!(!begin(&mut clients, &mut bench, 3), "no client has been idle for long enough");
        assert_eq!(bench.refused("client beyond the limit"), 1);
        bench.shared.now += Duration::from_secs(1);
        assert!(begin(&mut clients, &mut bench, 4));
        assert!(!clients.has(Token(1)) && clients.has(Token(2)), "the idlest one is evicted");
        assert_eq!(bench.refused("idle client evicted"), 1);
        assert_eq!((clients.sessions.len(), clients.tokens.len()), (2, 2));
    }

    #[test]
    fn one_address_has_only_some_of_the_places_and_those_without_a_request_make_room() {
        let mut bench = Bench::new();
        bench.shared.limits = LocalLimits::parse("clients=3,clients-per-ip=2").unwrap();
        let (mut clients, mut ends) = (Clients::new(), Vec::new());
        let mut begin = |clients: &mut Clients, bench: &mut Bench, token: usize, from: &str| {
            let (admitted, end) = bench.client(Token(token));
            ends.push(end);
            clients.begin(Admitted { remote: remote(from), ..admitted }, &mut bench.shared);
            clients.has(Token(token))
        };
        assert!(begin(&mut clients, &mut bench, 1, "192.0.2.1:1"));
        assert!(begin(&mut clients, &mut bench, 2, "[::ffff:192.0.2.1]:2"));
        assert!(!begin(&mut clients, &mut bench, 3, "192.0.2.1:3"));
        assert_eq!(bench.refused("too many clients of one address"), 1);
        clients.sessions.get_mut(&Token(1)).unwrap().usage = Usage::Requests;
        assert!(begin(&mut clients, &mut bench, 4, "127.0.0.1:4"));
        assert!(!begin(&mut clients, &mut bench, 5, "127.0.0.1:5"), "nobody has had time for a request");
        bench.shared.now += CLIENT_FIRST_REQUEST_TIME;
        assert!(begin(&mut clients, &mut bench, 6, "127.0.0.1:6"), "loopback has no limit");
        assert!(!clients.has(Token(2)) && clients.has(Token(1)), "the oldest without a request is evicted");
        assert_eq!(bench.refused("client without a request evicted"), 1);
    }
}
