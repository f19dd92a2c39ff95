//! Room in the list of pending transactions: clients share one room, peers another, so neither can crowd out the
//! other.
//!
//! A client may fill a share of the clients' room. The peers' room is divided evenly among all nodes of the testbed:
//! what honest members ask us to order finds its place whatever faulty ones send.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::client::Refusal;
use wire::ids::{ClientId, NodeId};
use wire::limits::{
    MEMPOOL_BYTES_MAX, MEMPOOL_CLIENT_PERCENT_MAX, MEMPOOL_PEERS_PERCENT_MAX, MEMPOOL_TRANSACTIONS_MAX,
};

use crate::pending::list::Payer;
use crate::pending::sharing::Share;
use crate::time::{Span, Time};

/// See [`Drain`].
const DRAIN_SPAN: Span = Span::from_ms(500);
/// The shortest wait named to a client that found no room. Each transaction that leaves frees one place, and many
/// clients wait for it.
const TRY_AGAIN_MIN: Span = Span::from_ms(20);
/// The longest one.
const TRY_AGAIN_MAX: Span = Span::from_ms(5_000);
/// A client may try again once this part of the room has emptied: its divisor.
const TRY_AGAIN_DIVISOR: u64 = 32;

/// How many transactions may be pending, and which other members hold copies of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MempoolLimits {
    /// Open transactions of clients.
    pub transactions_max: usize,
    /// Bytes that are kept of them.
    pub bytes_max: u64,
    /// Of both, what one client may fill, in percent.
    pub client_percent_max: usize,
    /// The additional room of peers, in percent of both.
    pub peers_percent_max: usize,
    /// The members that hold copies of what waits here.
    pub share: Share,
}

impl Default for MempoolLimits {
    fn default() -> MempoolLimits {
        MempoolLimits {
            transactions_max: MEMPOOL_TRANSACTIONS_MAX,
            bytes_max: MEMPOOL_BYTES_MAX,
            client_percent_max: MEMPOOL_CLIENT_PERCENT_MAX,
            peers_percent_max: MEMPOOL_PEERS_PERCENT_MAX,
            share: Share::default(),
        }
    }
}

/// Open transactions, and the bytes kept of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) open: usize,
    pub(super) bytes: u64,
}

impl Held {
    fn add(&mut self, bytes: u64) {
        self.open += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, bytes: u64) {
        self.open -= 1;
        self.bytes -= bytes;
    }

    /// Whether another one of so many bytes would exceed these limits.
    fn is_full(self, bytes: u64, transactions_max: u64, bytes_max: u64) -> bool {
        self.open as u64 >= transactions_max || self.bytes + bytes > bytes_max
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
enum Presence {
    #[default]
    Connected,
    Gone,
}

/// The pending transactions of one client.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Client {
    pub(super) held: Held,
    presence: Presence,
}

/// How fast transactions of clients leave, measured over about [`DRAIN_SPAN`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Drain {
    since: Time,
    left: u64,
    per_s: u64,
}

impl Drain {
    fn left(&mut self) {
        self.left += 1;
    }

    fn measure(&mut self, now: Time) {
        let span = now - self.since;
        if span >= DRAIN_SPAN {
            *self = Drain { since: now, left: 0, per_s: self.left * 1_000_000 / span.0 };
        }
    }

    /// How long so many take to leave.
    fn time_of(self, transactions: u64) -> Span {
        match self.per_s {
            0 => TRY_AGAIN_MAX,
            per_s => Span(transactions * 1_000_000 / per_s).clamp(TRY_AGAIN_MIN, TRY_AGAIN_MAX),
        }
    }
}

/// The books.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Accounts {
    limits: MempoolLimits,
    /// All clients together.
    of_clients: Held,
    /// All peers together.
    of_peers: Held,
    /// Transactions that clients ever added.
    taken: u64,
    drain: Drain,
    /// Bound: clients with something open, and those connected that have asked for something.
    pub(super) clients: BTreeMap<ClientId, Client>,
    /// Bound: nodes of the testbed.
    peers: BTreeMap<NodeId, Held>,
}

impl Accounts {
    pub(super) fn new(limits: MempoolLimits) -> Accounts {
        Accounts {
            limits,
            of_clients: Held::default(),
            of_peers: Held::default(),
            taken: 0,
            drain: Drain::default(),
            clients: BTreeMap::new(),
            peers: BTreeMap::new(),
        }
    }

    /// How many transactions all clients and peers have open.
    pub(super) fn open(&self) -> usize {
        self.of_clients.open + self.of_peers.open
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Why `bytes` more of a client do not fit, if they do not.
    pub(super) fn no_room(&self, client: ClientId, bytes: u64) -> Option<Refusal> {
        let MempoolLimits { transactions_max, bytes_max, client_percent_max, .. } = self.limits;
        if self.of_clients.is_full(bytes, transactions_max as u64, bytes_max) {
            return Some(Refusal::Full);
        }
        let state = self.clients.get(&client)?;
        let share = |whole: u64| whole * client_percent_max as u64 / 100;
        let full = state.held.is_full(bytes, share(transactions_max as u64), share(bytes_max));
        full.then_some(Refusal::ClientShare)
    }

    /// About when there is room again for a client that found none.
    pub(super) fn try_again_after(&self) -> Span {
        self.drain.time_of(self.limits.transactions_max as u64 / TRY_AGAIN_DIVISOR)
    }

    /// A block was executed.
    pub(super) fn measure(&mut self, now: Time) {
        self.drain.measure(now);
    }

    /// Whether `bytes` more of one of `nodes` peers fit into its part of the peers' room.
    pub(super) fn has_room(&self, peer: NodeId, nodes: u64, bytes: u64) -> bool {
        let MempoolLimits { transactions_max, bytes_max, peers_percent_max, .. } = self.limits;
        let share = |whole: u64| whole * peers_percent_max as u64 / 100 / nodes;
        let held = self.peers.get(&peer).copied().unwrap_or_default();
        !held.is_full(bytes, share(transactions_max as u64), share(bytes_max))
    }

    /// A transaction is pending on the account of `payer`, which holds so many bytes.
    pub(super) fn add(&mut self, payer: Payer, bytes: u64) {
        self.taken += u64::from(matches!(payer, Payer::Client(_)));
        self.change(payer, |held| held.add(bytes));
    }

    /// One holds its bytes no longer.
    pub(super) fn release(&mut self, payer: Payer, bytes: u64) {
        self.change(payer, |held| held.bytes -= bytes);
    }

    /// One is no longer open; `bytes` are what it still held.
    pub(super) fn remove(&mut self, payer: Payer, bytes: u64) {
        self.change(payer, |held| held.remove(bytes));
        match payer {
            Payer::Client(client) => {
                self.drain.left();
                self.forget_client_if_idle(client);
            }
            Payer::Peer(peer) if self.peers.get(&peer).is_some_and(|held| held.open == 0) => {
                self.peers.remove(&peer);
            }
            Payer::Peer(_) | Payer::Pool => {}
        }
    }

    /// A client asks for something: it is connected.
    pub(super) fn note(&mut self, client: ClientId) {
        self.clients.entry(client).or_default();
    }

    pub(super) fn is_connected(&self, client: ClientId) -> bool {
        self.clients.get(&client).is_some_and(|state| state.presence == Presence::Connected)
    }

    /// A client's connection has ended.
    pub(super) fn client_gone(&mut self, client: ClientId) {
        if let Some(state) = self.clients.get_mut(&client) {
            state.presence = Presence::Gone;
            self.forget_client_if_idle(client);
        }
    }

    fn change(&mut self, payer: Payer, change: impl Fn(&mut Held)) {
        match payer {
            Payer::Client(client) => {
                change(&mut self.of_clients);
                change(&mut self.clients.entry(client).or_default().held);
            }
            Payer::Peer(peer) => {
                change(&mut self.of_peers);
                change(self.peers.entry(peer).or_default());
            }
            Payer::Pool => {}
        }
    }

    fn forget_client_if_idle(&mut self, client: ClientId) {
        let is_idle = |state: &Client| state.held.open == 0 && state.presence == Presence::Gone;
        if self.clients.get(&client).is_some_and(is_idle) {
            self.clients.remove(&client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_client_waits_for_as_long_as_a_part_of_the_room_takes_to_empty() {
        let limits = MempoolLimits { transactions_max: 32_000, ..MempoolLimits::default() };
        let mut accounts = Accounts::new(limits);
        assert_eq!(accounts.try_again_after(), TRY_AGAIN_MAX, "nothing leaves yet");
        let payer = Payer::Client(ClientId(1));
        for (ms, leave, expected) in [
            (1_000, 10_000, 100),
            (1_400, 90_000, 100),
            (2_000, 0, 20),
            (3_000, 500, 2_000),
            (4_000, 0, 5_000),
        ] {
            for _ in 0..leave {
                accounts.add(payer, 1);
                accounts.remove(payer, 1);
            }
            accounts.measure(Time(0) + Span::from_ms(ms));
            assert_eq!(accounts.try_again_after(), Span::from_ms(expected), "at {ms} ms");
        }
    }
}
