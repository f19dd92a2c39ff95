//! Clients: real transactions, most of them good, in many small submissions.
//!
//! Each request is a client of its own, so that receipts belong to one request. Some clients query transactions of
//! others, some leave before they have their receipts. Every shard has clients of its own ([`intra`]), and where there
//! are several some have transactions that reach over them ([`cross`]).

mod cross;
mod intra;

use std::sync::Arc;

use wire::bytes::Bytes;
use wire::client::{Request, list};
use wire::codec;
use wire::committee::Committee;
use wire::ids::{ClientId, Index, NodeId, Round, ShardId, TxId};

use crate::prng::Prng;
use crate::transaction::validate;

use cross::CrossClients;
use intra::IntraClients;

/// One request of one client to one node.
#[derive(Clone, Debug)]
pub(super) struct ClientRequest {
    pub(super) client: ClientId,
    pub(super) to: NodeId,
    pub(super) body: Bytes,
    pub(super) action: Action,
}

/// The action of a client.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Submits these transactions.
    Submit(Vec<Bytes>),
    /// Queries the fates of these.
    Query(Vec<TxId>),
    /// Disconnects.
    Leave,
}

/// The expiries that clients choose, and whether they submit old transactions again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Habit {
    /// Mostly more rounds than a run has; now and then soon after.
    Usual,
    /// A few rounds; then again and again, at any later time.
    Resubmitting,
}

impl Habit {
    /// The expiry of an ordinary transaction that is submitted at this height.
    fn expiry(self, prng: &mut Prng, height: Round) -> Round {
        Round(height.0 + if self == Habit::Usual { 1_000 } else { 4 + prng.below(16) })
    }
}

/// Clients that submit transactions of others again.
#[derive(Debug)]
struct Resubmitters {
    connections: Connections,
    old: Vec<(ShardId, Bytes)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Workload {
    prng: Prng,
    committee: Arc<Committee>,
    /// By shard.
    intra: Vec<IntraClients>,
    cross: Option<CrossClients>,
    resubmitters: Option<Resubmitters>,
}

impl Workload {
    /// Clients of this number of shards.
    pub(super) fn new(prng: &mut Prng, committee: Arc<Committee>, shards: u16, habit: Habit) -> Workload {
        let mut prng = prng.fork();
        let coins = genesis_coins(committee.n(), shards);
        let mut clients = |shard| {
            let prng = if shards == 1 { prng.clone() } else { prng.fork() };
            IntraClients::new(prng, committee.clone(), ShardId(shard), 0..coins.intra, committee.n(), habit)
        };
        let intra = (0..shards).map(&mut clients).collect();
        let cross = (shards > 1).then(|| {
            let (coins, nodes) =
                (coins.intra..coins.intra + coins.cross, committee.n() * usize::from(shards));
            CrossClients::new(prng.fork(), committee.clone(), shards, coins, nodes, habit)
        });
        let resubmitters = (habit == Habit::Resubmitting)
            .then(|| Resubmitters { connections: Connections::new(u64::from(shards) + 1), old: Vec::new() });
        Workload { prng, committee, intra, cross, resubmitters }
    }

    /// The next requests of some clients; `heights` are the highest executed in each shard.
    pub(super) fn next(&mut self, heights: &[Round]) -> Vec<ClientRequest> {
        let mut requests = match &mut self.cross {
            Some(cross) if self.prng.chance(2, 3) => cross.next(heights),
            _ => {
                let shard = self.prng.below(self.intra.len() as u64) as usize;
                self.intra[shard].next(heights[shard])
            }
        };
        if let Some(resubmitters) = &mut self.resubmitters {
            resubmitters.watch(&requests, &self.committee);
            requests.extend(resubmitters.next(&mut self.prng, &self.committee));
        }
        requests
    }

    /// Transactions for each of these nodes that must finish unless a shard is stuck.
    pub(super) fn last(&mut self, heights: &[Round], nodes: &[NodeId]) -> Vec<ClientRequest> {
        let last = |node: &NodeId| {
            let shard = usize::from(self.committee.shard_of(*node).0);
            let cross = self.cross.as_mut().map(|clients| clients.last(heights, *node));
            std::iter::once(self.intra[shard].last(heights[shard], *node)).chain(cross)
        };
        nodes.iter().flat_map(last).collect()
    }
}

impl Resubmitters {
    fn watch(&mut self, requests: &[ClientRequest], committee: &Committee) {
        for request in requests {
            let Action::Submit(transactions) = &request.action else { continue };
            let valid =
                transactions.iter().filter_map(|bytes| Some((validate(bytes, committee).ok()?, bytes)));
            self.old.extend(valid.map(|(view, bytes)| (view.output_shard(), bytes.clone())));
        }
    }

    /// Any old transaction, for any member of its output shard.
    fn next(&mut self, prng: &mut Prng, committee: &Committee) -> Option<ClientRequest> {
        let (shard, bytes) = prng.pick(&self.old)?.clone();
        let to = committee.node_at(shard, Index(prng.below(committee.n() as u64) as u16));
        Some(self.connections.submission(to, vec![bytes]))
    }
}

/// The coins that each shard starts with, by the clients that spend them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct GenesisCoins {
    pub(super) intra: u64,
    pub(super) cross: u64,
}

/// The coins for clients of this number of shards of `n` members: some for random transactions, and one for each
/// transaction that must finish.
pub(super) fn genesis_coins(n: usize, shards: u16) -> GenesisCoins {
    let nodes = n as u64 * u64::from(shards);
    GenesisCoins { intra: 40 + n as u64, cross: if shards > 1 { 40 + nodes } else { 0 } }
}

/// The connections of a group of clients.
#[derive(Debug)]
struct Connections {
    /// Distinguishes the clients of this group from those of others.
    group: u64,
    clients: u64,
    /// Clients that have not left, and their nodes.
    connected: Vec<(ClientId, NodeId)>,
}

impl Connections {
    fn new(group: u64) -> Connections {
        Connections { group, clients: 0, connected: Vec::new() }
    }

    fn connect(&mut self, to: NodeId) -> ClientId {
        self.clients += 1;
        let client = ClientId(self.group << 32 | self.clients);
        self.connected.push((client, to));
        client
    }

    /// A new client submits transactions.
    fn submission(&mut self, to: NodeId, transactions: Vec<Bytes>) -> ClientRequest {
        let mut body = codec::encode(&Request::Submit);
        let at = list::begin(&mut body);
        transactions.iter().for_each(|bytes| list::push(&mut body, bytes));
        list::finish(&mut body, at, transactions.len());
        let (client, body) = (self.connect(to), Bytes::from(body));
        ClientRequest { client, to, body, action: Action::Submit(transactions) }
    }

    /// A new client queries a transaction.
    fn query(&mut self, to: NodeId, id: TxId) -> ClientRequest {
        let body = Bytes::from(codec::encode(&Request::Query(vec![id])));
        ClientRequest { client: self.connect(to), to, body, action: Action::Query(vec![id]) }
    }

    /// The client that came last leaves, if it has not left.
    fn last_leaves(&mut self) -> Option<ClientRequest> {
        let (client, to) = self.connected.pop()?;
        Some(ClientRequest { client, to, body: Bytes::from(Vec::new()), action: Action::Leave })
    }

    /// Some client leaves, if there is one.
    fn leave(&mut self, prng: &mut Prng) -> Option<ClientRequest> {
        if self.connected.is_empty() {
            return None;
        }
        let at = prng.below(self.connected.len() as u64) as usize;
        let (client, to) = self.connected.swap_remove(at);
        Some(ClientRequest { client, to, body: Bytes::from(Vec::new()), action: Action::Leave })
    }
}
