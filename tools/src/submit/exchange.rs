//! Talks to the nodes: heights, coins, the transaction, its receipt.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use bft::transaction::{self, Input, Invalid};
use wire::client::{Fate, Reply, Request, list};
use wire::committee::Committee;
use wire::hosts::Hosts;
use wire::ids::{CoinId, NodeId, Round, ShardId, TxId};
use wire::limits::INPUTS_MAX;
use wire::rand;

use super::handed::{Handed, Step};
use super::transfer::{Shortage, Transfer, Written};
use crate::client::Happened;
use crate::load::{Advice, Contact, Others, Turn, spare_coins};
use crate::sessions::Sessions;

/// How long a node may be silent before another one is asked.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a contact has its turn.
const TURN: Duration = Duration::from_millis(50);

/// What to submit.
pub(super) struct Wanted {
    pub(super) transfer: Transfer,
    /// Whether the coins are other ones than those of the beginning.
    pub(super) has_own_key: bool,
    pub(super) at: Option<NodeId>,
    pub(super) expiry_rounds: u64,
    /// When to wait no longer.
    pub(super) until: Instant,
}

/// What became of it.
pub(super) struct Exchanged {
    pub(super) written: Written,
    pub(super) inputs: Vec<Input>,
    /// The node that had it last.
    pub(super) contact: NodeId,
    /// How many had it before and were silent.
    pub(super) handed_on: usize,
    pub(super) receipt_after: Option<Duration>,
    pub(super) fate: Option<Fate>,
}

/// Why nothing was handed in.
#[derive(Debug)]
pub(super) enum NotSubmitted {
    /// No node of a shard answered, in words.
    NotReached(String),
    Shortage(Shortage),
    Invalid(Invalid),
    System(io::Error),
}

impl fmt::Display for NotSubmitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotSubmitted::NotReached(why) => f.write_str(why),
            NotSubmitted::Shortage(shortage) => shortage.fmt(f),
            NotSubmitted::Invalid(reason) => write!(f, "no node would take it: {reason}"),
            NotSubmitted::System(error) => write!(f, "cannot wait for nodes: {error}"),
        }
    }
}

impl From<io::Error> for NotSubmitted {
    fn from(error: io::Error) -> NotSubmitted {
        NotSubmitted::System(error)
    }
}

/// Submits a transaction and waits for its receipt.
pub(super) fn exchange(
    committee: &Committee,
    hosts: &Hosts,
    request: &Wanted,
) -> Result<Exchanged, NotSubmitted> {
    let transfer = &request.transfer;
    let shards: BTreeSet<ShardId> = transfer.from.iter().copied().chain([transfer.to]).collect();
    let nodes = shards.iter().flat_map(|shard| committee.members(*shard));
    let sessions = Sessions::begin(committee, hosts, nodes)?;
    let mut talk =
        Talk { committee, request, sessions, heights: BTreeMap::new(), down: BTreeMap::new(), open: None };
    for shard in &shards {
        let is_there = |talk: &Talk| match request.at.filter(|_| *shard == transfer.to) {
            Some(at) => talk.heights.contains_key(&at),
            None => talk.answering(*shard).next().is_some(),
        };
        while !is_there(&talk) {
            if let Next::Over = talk.next(request.until)? {
                return Err(talk.not_reached(*shard));
            }
        }
    }
    let mut coins = Vec::new();
    for shard in &transfer.from {
        coins.push(talk.coins(*shard)?);
    }
    let inputs = transfer.inputs(&coins).map_err(NotSubmitted::Shortage)?;
    let expiry = |shard: &ShardId| Round(talk.height(*shard).0 + request.expiry_rounds);
    let expiries: Vec<Round> = transfer.from.iter().map(expiry).collect();
    let written = transfer.write(committee, &inputs, &expiries);
    transaction::validate(&written.bytes, committee).map_err(NotSubmitted::Invalid)?;
    talk.submit(written, inputs)
}

/// What comes next of the nodes.
enum Next {
    Reply(NodeId, Reply),
    /// The state of a node has changed.
    Noted,
    /// The time is over.
    Over,
}

/// The talk with the nodes of the shards that a transaction concerns.
struct Talk<'a> {
    committee: &'a Committee,
    request: &'a Wanted,
    sessions: Sessions,
    /// Of the nodes that have reported their status and take transactions.
    heights: BTreeMap<NodeId, Round>,
    /// Why others did not.
    down: BTreeMap<NodeId, String>,
    /// What was handed in, and is asked for again over a new session.
    open: Option<TxId>,
}

impl Talk<'_> {
    /// The members of a shard that have reported a height and are up.
    fn answering(&self, shard: ShardId) -> impl Iterator<Item = NodeId> + '_ {
        let here = self.heights.keys().filter(move |node| self.committee.shard_of(**node) == shard);
        here.copied().filter(|node| self.sessions.is_up(*node))
    }

    /// The greatest height of a shard that is known.
    fn height(&self, shard: ShardId) -> Round {
        let here = self.heights.iter().filter(|(node, _)| self.committee.shard_of(**node) == shard);
        here.map(|(_, height)| *height).max().unwrap_or_default()
    }

    /// The next event. Requests the state of a node that turns up at any time.
    fn next(&mut self, until: Instant) -> io::Result<Next> {
        let Some((node, happened)) = self.sessions.next(until)? else { return Ok(Next::Over) };
        match happened {
            Happened::Up => {
                self.down.remove(&node);
                self.sessions.send(node, &Request::Status, &[]);
                if let Some(id) = self.open {
                    self.sessions.send(node, &Request::Query(vec![id]), &[]);
                }
            }
            Happened::Down(reason) => {
                self.down.insert(node, reason.to_string());
            }
            Happened::Reply(Reply::Status(status)) => {
                if status.follows {
                    self.down.insert(node, "it may not sign and takes no transactions".into());
                } else {
                    self.heights.insert(node, status.executed);
                }
            }
            Happened::Reply(reply) => return Ok(Next::Reply(node, reply)),
        }
        Ok(Next::Noted)
    }

    fn not_reached(&self, shard: ShardId) -> NotSubmitted {
        let members = match self.request.at.filter(|_| shard == self.request.transfer.to) {
            Some(at) => vec![at],
            None => self.committee.members(shard).collect(),
        };
        let why = |node: &NodeId| {
            format!("node {node}: {}", self.down.get(node).map_or("no answer", String::as_str))
        };
        let all: Vec<String> = members.iter().map(why).collect();
        NotSubmitted::NotReached(format!(
            "no node of shard {shard} that may be asked answers: {}",
            all.join("; ")
        ))
    }

    /// Unspent coins of the owner in a shard, those first that no load spends; enough of them if there are so many.
    fn coins(&mut self, shard: ShardId) -> Result<Vec<(CoinId, u64)>, NotSubmitted> {
        let mut asked: BTreeSet<NodeId> = BTreeSet::new();
        loop {
            let Some(node) = self.answering(shard).find(|node| !asked.contains(node)) else {
                return Err(self.not_reached(shard));
            };
            asked.insert(node);
            if let Some(coins) = self.coins_of(node, shard)? {
                return Ok(coins);
            }
        }
    }

    /// The same, as one node lists them; `None` if it is silent.
    fn coins_of(&mut self, node: NodeId, shard: ShardId) -> io::Result<Option<Vec<(CoinId, u64)>>> {
        let transfer = &self.request.transfer;
        let owner = transfer.owner().0;
        let spare = if self.request.has_own_key { Vec::new() } else { spare_coins(self.committee, shard) };
        self.sessions.send(node, &Request::Coins(spare), &[]);
        let mut coins: Vec<(CoinId, u64)> = Vec::new();
        let mut spare_count = 0;
        loop {
            let until = self.request.until.min(Instant::now() + PATIENCE);
            let reply = loop {
                match self.next(until)? {
                    Next::Reply(from, reply) if from == node => break reply,
                    Next::Reply(..) | Next::Noted if Instant::now() < until => {}
                    Next::Reply(..) | Next::Noted | Next::Over => return Ok(None),
                }
            };
            let next = match reply {
                Reply::Coins(unspent) => {
                    coins.extend(unspent);
                    turn(&mut coins);
                    spare_count = coins.len();
                    Some(0)
                }
                Reply::CoinsFrom { coins: more, next } => {
                    let seen: BTreeSet<CoinId> = coins.iter().map(|(coin, _)| *coin).collect();
                    coins.extend(more.into_iter().filter(|(coin, _)| !seen.contains(coin)));
                    next
                }
                _ => continue,
            };
            match next.filter(|_| !suffice(&coins, transfer.amount)) {
                Some(place) => self.sessions.send(node, &Request::CoinsFrom { owner, place }, &[]),
                None => {
                    turn(&mut coins[spare_count..]);
                    return Ok(Some(coins));
                }
            }
        }
    }

    /// Hands the transaction in, and on where a node is silent, until its receipt comes or the time is over.
    fn submit(mut self, written: Written, inputs: Vec<Input>) -> Result<Exchanged, NotSubmitted> {
        let to = self.request.transfer.to;
        let first = match self.request.at {
            Some(at) => at,
            None => self.answering(to).next().ok_or_else(|| self.not_reached(to))?,
        };
        self.open = Some(written.id);
        let mut handed = Handed::to(first, written);
        self.hand_in(&handed);
        let began = Instant::now();
        let (mut watch, mut turned, mut heard) = (Contact::new(PATIENCE), began, self.sessions.heard(first));
        let mut fate = None;
        while fate.is_none() && Instant::now() < self.request.until {
            if let Next::Reply(node, reply) = self.next(self.request.until.min(Instant::now() + TURN))? {
                match handed.on_reply(node, &reply, Instant::now()) {
                    Step::Nothing => {}
                    Step::Query(node) => self.query(node, &handed),
                    Step::Submit => self.hand_in(&handed),
                    Step::End(end) => fate = Some(end),
                }
            }
            let now = Instant::now();
            if handed.is_due(now) {
                self.query(handed.contact(), &handed);
            }
            if now.duration_since(turned) < TURN {
                continue;
            }
            let next = self.answering(to).find(|node| !handed.was_at(*node));
            let last = std::mem::replace(&mut heard, self.sessions.heard(handed.contact()));
            let turn = Turn {
                elapsed: now.duration_since(turned),
                heard: heard != last,
                receipts: false,
                waits: true,
                others: if next.is_some() { Others::Answer } else { Others::None },
            };
            turned = now;
            match (watch.turn(turn), next) {
                (Advice::Ping, _) => self.sessions.ping(handed.contact()),
                (Advice::HandOn(_), Some(next)) => {
                    handed.hand_on(next);
                    (watch, heard) = (Contact::new(PATIENCE), self.sessions.heard(next));
                    self.query(next, &handed);
                }
                (Advice::Nothing | Advice::Back | Advice::HandOn(_), _) => {}
            }
        }
        let receipt_after = fate.map(|_| began.elapsed());
        let (contact, handed_on) = (handed.contact(), handed.handed_on());
        Ok(Exchanged { written: handed.written, inputs, contact, handed_on, receipt_after, fate })
    }

    fn query(&mut self, node: NodeId, handed: &Handed) {
        self.sessions.send(node, &Request::Query(vec![handed.written.id]), &[]);
    }

    fn hand_in(&mut self, handed: &Handed) {
        self.sessions.send(handed.contact(), &Request::Submit, &list::of([&handed.written.bytes]));
    }
}

/// Begins with any of the coins, so that two transactions that are submitted at once rarely spend the same one.
fn turn(coins: &mut [(CoinId, u64)]) {
    if !coins.is_empty() {
        coins.rotate_left((rand::u64() % coins.len() as u64) as usize);
    }
}

/// Whether a transaction finds enough among these coins of one shard.
fn suffice(coins: &[(CoinId, u64)], amount: Option<u64>) -> bool {
    let mut amounts: Vec<u64> = coins.iter().map(|(_, amount)| *amount).collect();
    amounts.sort_unstable_by_key(|amount| std::cmp::Reverse(*amount));
    let most: u128 = amounts.iter().take(INPUTS_MAX).map(|amount| u128::from(*amount)).sum();
    !coins.is_empty() && most >= u128::from(amount.unwrap_or_default())
}
