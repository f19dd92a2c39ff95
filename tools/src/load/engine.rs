//! The thread that offers the load: one mio loop over the connections to all nodes.
//!
//! Open loop: transaction k is intended at start + k / rate and is sent at the next wake-up after that, about a
//! millisecond later at most; its latency counts from the intended time, whatever kept it waiting here. What falls due
//! in one millisecond goes to one node and the next to another, so that a batch costs one write. If all chains
//! wait or a node takes no more bytes, the intended times stand and the load catches up later, so that a stalled
//! testbed shows as latency and not as fewer samples (no coordinated omission).
//!
//! Closed loop (`max`): each node has as many transactions open as fit the [`Window`]; a receipt makes room for the
//! next.
//!
//! One thread does all of it, since the load shares the machine with the nodes it measures. What others ask of it
//! comes as [`Command`]s; what they may see of it stands in [`Shared`].

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use mio::{Events, Poll, Token};
use wire::client::{NodeStatus, Reply, Request, list};
use wire::committee::Committee;
use wire::frame::Scratch;
use wire::hosts::Hosts;
use wire::ids::{NodeId, Round, ShardId};
use wire::limits::{QUERY_IDS_MAX, SUBMISSION_TRANSACTIONS_MAX};

use super::tally::{Finished, Tally};
use super::window::Window;
use super::workload::{WhenUnknown, Workload};
use super::{Plan, Rate};
use crate::client::{Connection, Happened};

/// How long the loop sleeps while it offers load: batches go out about this often.
const STEP: Duration = Duration::from_millis(1);
/// How long it sleeps otherwise.
const IDLE_STEP: Duration = Duration::from_millis(20);
/// A node that has not taken so many bytes gets no new transactions until it has.
const QUEUED_BYTES_MAX: usize = 4 << 20;
/// Length of a list at which it is submitted: far below `limits::CLIENT_FRAME_BYTES_MAX`, whatever one transaction
/// adds.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// An expiry is what takes about this long at the present pace ...
const EXPIRY_S: u64 = 20;
/// ... but at least so many rounds.
const EXPIRY_ROUNDS_MIN: u64 = 1_000;
/// ... and well within what the ledger accepts, since its height runs on while a transaction is under way.
const EXPIRY_ROUNDS_MAX: u64 = wire::limits::EXPIRY_ROUNDS_AHEAD_MAX / 2;

/// What the engine is asked to do.
pub(crate) enum Command {
    /// Begin to offer load.
    Begin(Plan),
    /// Offer no more.
    EndOffering(Sender<()>),
    /// Ask all nodes for their status; answers appear in [`Shared::statuses`].
    AskStatus,
    /// This node is gone for good.
    NodeIsGone(NodeId),
    /// Ask up nodes for the fate of what is open at nodes that are gone.
    AskForOrphans,
    /// Ask every node for what is open there; what it does not know is lost.
    LastQuestion,
    /// End the thread.
    Quit,
}

/// What others see of the engine. Updated several times a second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared {
    /// Since when load is offered.
    pub(crate) began: Option<Instant>,
    /// The tally; `interval` is emptied by whoever reads it.
    pub(crate) tally: Tally,
    /// Transactions intended so far, whether or not they could be sent in time.
    pub(crate) intended: u64,
    /// Committed before the offering ended.
    pub(crate) committed_while_offering: u64,
    /// Transactions without a fate whose node may still tell it.
    pub(crate) in_flight: u64,
    /// Transactions without a fate whose node is gone.
    pub(crate) orphaned: u64,
    /// Nodes with a connection.
    pub(crate) connected: Vec<NodeId>,
    /// Last statuses, and when they came.
    pub(crate) statuses: BTreeMap<NodeId, (Instant, NodeStatus)>,
    /// Why connections are down, by node.
    pub(crate) down: BTreeMap<NodeId, String>,
    /// How many receipts named each height of each shard; there once the engine has quit.
    pub(crate) receipts: BTreeMap<(ShardId, Round), Finished>,
}

/// The loop and all it owns.
pub(crate) struct Engine {
    poll: Poll,
    links: Vec<Link>,
    committee: Arc<Committee>,
    commands: Receiver<Command>,
    shared: Arc<Mutex<Shared>>,
    origin: Instant,
    load: Option<Load>,
    last_shown: Instant,
}

struct Link {
    node: NodeId,
    connection: Connection,
    is_gone: bool,
    /// The submission being filled, and how many transactions it holds.
    batch: Vec<u8>,
    batched: usize,
}

struct Load {
    workload: Workload,
    plan: Plan,
    began: Instant,
    began_us: u64,
    offering: bool,
    /// Open loop: transactions made of those intended.
    made: u64,
    /// Open loop: whose turn it is.
    turn: usize,
    window: Window,
    committed_while_offering: u64,
    when_unknown: WhenUnknown,
    /// Height and time of a while ago, for the pace, by shard.
    paces: Vec<Pace>,
}

/// Whether a shard's height is known well enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Heard {
    Enough,
    /// For a second.
    Nothing,
}

/// Rounds a second of one shard, from the heights of receipts.
#[derive(Clone)]
struct Pace {
    at: Instant,
    height: Round,
    rounds_per_s: u64,
}

impl Engine {
    pub(crate) fn new(
        poll: Poll,
        committee: Arc<Committee>,
        hosts: &Hosts,
        commands: Receiver<Command>,
        shared: Arc<Mutex<Shared>>,
    ) -> Engine {
        let link = |(index, host): (usize, &wire::hosts::Host)| Link {
            node: host.id,
            connection: Connection::new(&committee, host, Token(index)),
            is_gone: false,
            batch: Vec::new(),
            batched: 0,
        };
        Engine {
            links: hosts.iter().enumerate().map(link).collect(),
            poll,
            committee,
            commands,
            shared,
            origin: Instant::now(),
            load: None,
            last_shown: Instant::now(),
        }
    }

    /// Runs until it is told to quit.
    ///
    /// # Errors
    /// If the system's poll fails.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        let mut scratch = Scratch::new();
        loop {
            let is_offering = self.load.as_ref().is_some_and(|load| load.offering);
            match self.poll.poll(&mut events, Some(if is_offering { STEP } else { IDLE_STEP })) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => result?,
            }
            let now = Instant::now();
            for event in &events {
                // The waker's token is beyond the links': it only ends the sleep.
                if let Some(link) = self.links.get_mut(event.token().0) {
                    let mut happened = Vec::new();
                    link.connection.on_ready(&mut scratch, &mut happened);
                    let index = event.token().0;
                    self.on_happened(index, happened, now);
                }
            }
            while let Ok(command) = self.commands.try_recv() {
                if let Command::Quit = command {
                    self.show(now);
                    let heights = self.load.map(|mut load| load.workload.take_heights()).unwrap_or_default();
                    self.shared.lock().expect("nobody panics while holding it").receipts = heights;
                    return Ok(());
                }
                self.on_command(command, now);
            }
            self.watch_pace(now);
            self.offer(now);
            self.serve_links(now);
            if now.duration_since(self.last_shown) >= Duration::from_millis(50) {
                self.show(now);
            }
        }
    }

    fn on_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Begin(plan) => self.begin(plan, now),
            Command::AskStatus => {
                for link in &mut self.links {
                    link.connection.send(&Request::Status, &[]);
                }
            }
            Command::NodeIsGone(node) => {
                self.links[usize::from(node.0)].is_gone = true;
                if let Some(load) = &mut self.load {
                    load.workload.node_is_gone(node);
                }
            }
            Command::EndOffering(ended) => {
                // Transactions that became due since the last turn are sent too.
                self.offer(now);
                if let Some(load) = &mut self.load {
                    load.end_offering(now);
                }
                self.show(now);
                // Nobody may wait for it any more.
                let _ = ended.send(());
            }
            Command::AskForOrphans => {
                let Some(load) = &mut self.load else { return };
                let committee = &self.committee;
                for shard in (0..committee.shards()).map(ShardId) {
                    let mut here = self.links.iter().filter(|link| committee.shard_of(link.node) == shard);
                    if let Some(link) = here.find(|link| !link.is_gone && link.connection.is_up()) {
                        load.workload.ask_for_orphans_at(link.node);
                    }
                }
            }
            Command::LastQuestion => {
                if let Some(load) = &mut self.load {
                    load.when_unknown = WhenUnknown::CountAsLost;
                    let nodes = self.links.iter().filter(|link| !link.is_gone).map(|link| link.node);
                    nodes.for_each(|node| load.workload.ask_for_all_of(node));
                }
            }
            Command::Quit => unreachable!("the loop takes it itself"),
        }
        self.show(now);
    }

    fn begin(&mut self, plan: Plan, now: Instant) {
        let mut workload = Workload::new(&self.committee, plan.tx_bytes, plan.seed, plan.mix);
        for link in self.links.iter().filter(|link| link.is_gone) {
            workload.node_is_gone(link.node);
        }
        // Making the chains took a while: the clock starts after it.
        let began = Instant::now();
        self.load = Some(Load {
            workload,
            began,
            began_us: self.us(began),
            offering: true,
            made: 0,
            turn: plan.seed as usize % self.links.len(),
            window: Window::new(plan.tx_bytes),
            committed_while_offering: 0,
            when_unknown: WhenUnknown::Resubmit,
            paces: vec![
                Pace { at: now, height: Round(0), rounds_per_s: 0 };
                usize::from(self.committee.shards())
            ],
            plan,
        });
    }

    fn on_happened(&mut self, index: usize, happened: Vec<Happened>, now: Instant) {
        let node = self.links[index].node;
        let now_us = self.us(now);
        for event in happened {
            match event {
                Happened::Up => {
                    if let Some(load) = &mut self.load {
                        load.workload.connected_anew(node);
                    }
                    self.lock_shared(|shared| drop(shared.down.remove(&node)));
                }
                Happened::Down(reason) => {
                    // What was in the batch is open, and asked for when the connection is back.
                    let link = &mut self.links[index];
                    link.batch.clear();
                    link.batched = 0;
                    self.lock_shared(|shared| drop(shared.down.insert(node, reason)));
                }
                Happened::Reply(Reply::Receipts(receipts)) => {
                    if let Some(load) = &mut self.load {
                        for receipt in &receipts {
                            load.workload.on_receipt(node, receipt, now_us, load.when_unknown);
                        }
                    }
                }
                Happened::Reply(Reply::Coins(unspent)) => {
                    if let Some(load) = &mut self.load {
                        load.workload.on_coins(node, &unspent, now_us);
                    }
                }
                Happened::Reply(Reply::Error(reason)) => {
                    log::error!("node {node} did not understand a request: {reason}");
                }
                Happened::Reply(Reply::Status(status)) => {
                    if let Some(load) = &mut self.load {
                        load.workload.tally().heard_of(self.committee.shard_of(node), status.executed);
                    }
                    self.lock_shared(|shared| drop(shared.statuses.insert(node, (now, *status))));
                }
            }
        }
    }

    /// Keeps up with the pace of each shard; where no receipt tells it, a member is asked.
    fn watch_pace(&mut self, now: Instant) {
        let Some(load) = &mut self.load else { return };
        let heights = load.workload.tally().heights.iter();
        for (shard, (pace, height)) in (0..).map(ShardId).zip(load.paces.iter_mut().zip(heights)) {
            if pace.observe(*height, now) == Heard::Nothing && load.offering {
                let members =
                    self.links.iter_mut().filter(|link| self.committee.shard_of(link.node) == shard);
                if let Some(link) = { members }.find(|link| link.connection.is_up()) {
                    link.connection.send(&Request::Status, &[]);
                }
            }
        }
    }

    /// Makes the transactions that are due.
    fn offer(&mut self, now: Instant) {
        let now_us = self.us(now);
        let Some(load) = &mut self.load else { return };
        if !load.offering {
            return;
        }
        let heights = load.workload.tally().heights.iter();
        let expiry = |(pace, height): (&Pace, &Round)| match load.plan.expiry_rounds {
            Some(rounds) => Round(height.0 + rounds),
            None => pace.expiry(*height),
        };
        let expiries: Vec<Round> = load.paces.iter().zip(heights).map(expiry).collect();
        match load.plan.rate {
            Rate::PerSecond(rate) => {
                let due = intended_by(now_us.saturating_sub(load.began_us), rate);
                let (first, count, before) = (load.turn, self.links.len(), load.made);
                for step in 0..count {
                    let link = &mut self.links[(first + step) % count];
                    while load.made < due {
                        let intended_us = load.began_us + intended_us(load.made, rate);
                        if !link.make(&mut load.workload, &expiries, intended_us, now_us) {
                            break;
                        }
                        load.made += 1;
                    }
                }
                if load.made > before {
                    load.turn = (first + 1) % count;
                }
            }
            Rate::Max => {
                let window = load.window.open_at_each(self.links.len());
                for link in &mut self.links {
                    while load.workload.open_at(link.node) < window
                        && link.make(&mut load.workload, &expiries, now_us, now_us)
                    {
                        load.made += 1;
                    }
                }
            }
        }
    }

    /// Sends what waits for each link, and dials.
    fn serve_links(&mut self, now: Instant) {
        let now_us = self.us(now);
        for index in 0..self.links.len() {
            let mut happened = Vec::new();
            let link = &mut self.links[index];
            if let Some(load) = &mut self.load {
                link.serve(&mut load.workload, now_us);
            }
            link.connection.flush(&mut happened);
            if !link.is_gone {
                link.connection.tick(now, self.poll.registry(), &mut happened);
            }
            if !happened.is_empty() {
                self.on_happened(index, happened, now);
            }
        }
    }

    /// Publishes what others may see.
    fn show(&mut self, now: Instant) {
        self.last_shown = now;
        let connected =
            self.links.iter().filter(|link| link.connection.is_up()).map(|link| link.node).collect();
        let mut shared = self.shared.lock().expect("nobody panics while holding it");
        shared.connected = connected;
        if let Some(load) = &mut self.load {
            (shared.in_flight, shared.orphaned) = load.workload.in_flight_and_orphaned();
            let intended = match load.plan.rate {
                Rate::PerSecond(rate) if load.offering => {
                    intended_by(now.duration_since(load.began).as_micros() as u64, rate)
                }
                Rate::PerSecond(_) | Rate::Max => load.made,
            };
            shared.intended = shared.intended.max(intended);
            shared.began = Some(load.began);
            let tally = load.workload.tally();
            shared.committed_while_offering =
                if load.offering { tally.committed } else { load.committed_while_offering };
            if let Some(median_us) = tally.interval.quantile_us(500) {
                load.window.took(now, Duration::from_micros(median_us));
            }
            // Whoever reads the interval empties it; so add what is new, and copy the rest.
            let mut interval = std::mem::take(&mut shared.tally.interval);
            interval.merge(&tally.interval);
            tally.interval.clear();
            shared.tally = tally.clone();
            shared.tally.interval = interval;
        }
    }

    fn lock_shared(&self, change: impl FnOnce(&mut Shared)) {
        change(&mut self.shared.lock().expect("nobody panics while holding it"));
    }

    fn us(&self, moment: Instant) -> u64 {
        moment.duration_since(self.origin).as_micros() as u64
    }
}

impl Load {
    /// Ends the offering. Whatever was intended and not sent has waited until now, and counts with that; in so many
    /// groups at most, since an hour at ten million a second must not hold up its end.
    fn end_offering(&mut self, now: Instant) {
        const GROUPS_MAX: u64 = 1_000_000;
        self.offering = false;
        let elapsed_us = now.duration_since(self.began).as_micros() as u64;
        let made = self.made;
        let tally = self.workload.tally();
        self.committed_while_offering = tally.committed;
        if let Rate::PerSecond(rate) = self.plan.rate {
            let intended = intended_by(elapsed_us, rate);
            let size = intended.saturating_sub(made).div_ceil(GROUPS_MAX).max(1);
            for first in (made..intended).step_by(size as usize) {
                let waited_us = elapsed_us.saturating_sub(intended_us(first, rate));
                tally.unsent.add_times(waited_us, size.min(intended - first));
            }
        }
    }
}

impl Link {
    /// Makes one transaction into the batch, if the node can take one.
    fn make(&mut self, workload: &mut Workload, expiries: &[Round], intended_us: u64, now_us: u64) -> bool {
        if self.is_gone
            || !self.connection.is_up()
            || self.connection.queued_bytes() + self.batch.len() > QUEUED_BYTES_MAX
        {
            return false;
        }
        self.begin_batch();
        let made = workload.make(self.node, expiries, intended_us, now_us, &mut self.batch);
        self.batched += usize::from(made);
        if self.batched == SUBMISSION_TRANSACTIONS_MAX || self.batch.len() >= BATCH_BYTES_MAX {
            self.submit();
        }
        made
    }

    /// Hands over again what the node had lost, submits the batch, and sends questions for fates and coins.
    fn serve(&mut self, workload: &mut Workload, now_us: u64) {
        if self.is_gone || !self.connection.is_up() {
            return;
        }
        loop {
            if self.connection.queued_bytes() > QUEUED_BYTES_MAX {
                return;
            }
            self.begin_batch();
            if !workload.make_again(self.node, &mut self.batch) {
                break;
            }
            self.batched += 1;
            if self.batched == SUBMISSION_TRANSACTIONS_MAX || self.batch.len() >= BATCH_BYTES_MAX {
                self.submit();
            }
        }
        self.submit();
        let ids = workload.take_asks(self.node, QUERY_IDS_MAX);
        if !ids.is_empty() {
            self.connection.send(&Request::Query(ids), &[]);
        }
        let coins = workload.take_coin_question(self.node, now_us);
        if !coins.is_empty() {
            self.connection.send(&Request::Coins(coins), &[]);
        }
    }

    fn begin_batch(&mut self) {
        if self.batch.is_empty() {
            list::begin(&mut self.batch);
        }
    }

    fn submit(&mut self) {
        if self.batched > 0 {
            list::finish(&mut self.batch, 0, self.batched);
            self.connection.send(&Request::Submit, &self.batch);
        }
        self.batch.clear();
        self.batched = 0;
    }
}

impl Pace {
    /// Takes note of the height; once a second tells whether it has been the same for that long.
    fn observe(&mut self, height: Round, now: Instant) -> Heard {
        let elapsed = now.duration_since(self.at);
        if elapsed < Duration::from_secs(1) {
            return Heard::Enough;
        }
        let rounds = height.0.saturating_sub(self.height.0);
        self.rounds_per_s = (rounds as f64 / elapsed.as_secs_f64()) as u64;
        (self.at, self.height) = (now, height);
        if rounds > 0 { Heard::Enough } else { Heard::Nothing }
    }

    /// The expiry of a transaction made now, at this height.
    fn expiry(&self, height: Round) -> Round {
        let rounds = (self.rounds_per_s * EXPIRY_S).clamp(EXPIRY_ROUNDS_MIN, EXPIRY_ROUNDS_MAX);
        Round(height.0 + rounds)
    }
}

/// When transaction k of an open loop is intended, µs since it began.
fn intended_us(k: u64, rate: u64) -> u64 {
    (u128::from(k) * 1_000_000 / u128::from(rate)) as u64
}

/// How many transactions of an open loop are intended within so many µs.
fn intended_by(us: u64, rate: u64) -> u64 {
    (u128::from(us) * u128::from(rate) / 1_000_000) as u64 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intended_times_and_counts_agree() {
        for rate in [1, 3, 999, 10_000, 1_000_003] {
            for k in [0, 1, 2, 17, 123_456] {
                let at = intended_us(k, rate);
                assert!(intended_by(at + 1, rate) > k, "transaction {k} of {rate}/s is due at its time");
                assert!(at == 0 || intended_by(at - 1, rate) <= k + 1);
            }
        }
    }

    #[test]
    fn expiries_follow_the_pace_within_bounds() {
        let began = Instant::now();
        let mut pace = Pace { at: began, height: Round(0), rounds_per_s: 0 };
        assert_eq!(pace.expiry(Round(70)), Round(70 + 1_000));
        assert_eq!(pace.observe(Round(100), began + Duration::from_millis(999)), Heard::Enough);
        assert_eq!(pace.rounds_per_s, 0, "a second is not over");
        assert_eq!(pace.observe(Round(100), began + Duration::from_secs(1)), Heard::Enough);
        assert_eq!(pace.expiry(Round(130)), Round(130 + 2_000));
        pace.observe(Round(4_100), began + Duration::from_secs(2));
        assert_eq!(pace.expiry(Round(4_100)), Round(4_100 + 5_000));
        assert_eq!(pace.observe(Round(4_100), began + Duration::from_secs(3)), Heard::Nothing);
    }
}
