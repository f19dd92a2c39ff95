//! The thread that offers the load: one mio loop over the connections to all nodes.
//!
//! Open loop: transaction k is intended at start + k / rate and is sent at the next wake-up after that, about a
//! millisecond later at most; its latency counts from the intended time, whatever kept it waiting here. What falls due
//! in one millisecond goes to one node and the next to another, so that a batch costs one write. If all chains
//! wait or a node takes no more bytes, the intended times stand and the load catches up later, so that a stalled
//! testbed shows as latency and not as fewer samples (no coordinated omission).
//!
//! Closed loop (`max`): each node has as many transactions open as fit the window ([`super::window`]); a receipt makes
//! room for the next.
//!
//! One thread does all of it, since the load shares the machine with the nodes it measures. A turn is bounded: so many
//! reads of each socket, so many transactions made. Receipts count from when they were read. Other
//! threads send it [`Command`]s and read [`Shared`].

mod gather;
mod link;
mod offer;
mod pace;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bft::transaction::genesis_owner;
use crossbeam_channel::{Receiver, Sender};
use mio::{Events, Poll, Token};
use wire::client::{Reply, Request};
use wire::committee::Committee;
use wire::frame::Scratch;
use wire::hosts::Hosts;
use wire::ids::{CoinId, NodeId, Round, ShardId};
use wire::wan::{Emulated, Wan};

use self::gather::Gathering;
use self::link::Link;
use self::offer::{Load, Offered};
use super::contact::Contact;
use super::plan::Plan;
use super::series::Section;
use super::tally::{Finished, Tally};
use super::transactions::TransactionLog;
use super::window::Found;
use super::workload::{Coins, WhenUnknown, Workload, genesis_coins, spare_coins};
use crate::client::{Connection, DownReason, Happened, Readiness};
use crate::lag::{Heard, LEVEL_ROUNDS, Lags};

/// How long the loop sleeps while it offers load: batches go out about this often.
const STEP: Duration = Duration::from_millis(1);
/// How long it sleeps otherwise.
const IDLE_STEP: Duration = Duration::from_millis(20);
/// How often others see what is new.
const SHOW_EVERY: Duration = Duration::from_millis(50);
/// How often statuses are requested of nodes: their heights, how far they are behind, and counters that are lost with a
/// node. A status counts all coins of the ledger, a millisecond of a node's time.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// A command to the engine.
pub(crate) enum Command {
    /// Begin to offer load, and write down what becomes of transactions if there is a log.
    Begin(Plan, Option<TransactionLog>),
    /// Offer no more.
    EndOffering(Sender<()>),
    /// Request the statuses of all nodes; they appear in [`Shared::statuses`].
    RequestStatus,
    /// This node is gone for good.
    NodeIsGone(NodeId),
    /// Query nodes that are up for the fates of what is open at nodes that are gone.
    QueryOrphans,
    /// Query every node for what is open there; what it does not know is lost.
    QueryAll,
    /// Nothing is open anywhere: request the coins of every chain in doubt.
    SettleDoubts,
    /// End the thread.
    Quit,
}

/// The engine's published state, updated several times a second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared {
    /// Since when load is offered.
    pub(crate) began: Option<Began>,
    /// How long it was offered, once that has ended.
    pub(crate) offered_for: Option<Duration>,
    /// How long it has been measured.
    pub(crate) measured_for: Duration,
    pub(crate) tally: Tally,
    /// Transactions intended so far, whether or not they could be sent in time.
    pub(crate) intended: u64,
    /// Sections of the series that have not been taken.
    pub(crate) sections: Vec<Section>,
    /// The size that a closed loop has found.
    pub(crate) window: Option<Found>,
    /// Transactions without a fate whose node may still send it.
    pub(crate) in_flight: u64,
    /// Transactions without a fate whose node is gone.
    pub(crate) orphaned: u64,
    /// Chains that do not know their coin.
    pub(crate) doubtful: u64,
    /// Chains that have stopped.
    pub(crate) dead: u64,
    pub(crate) connected: Vec<NodeId>,
    /// Last statuses; those of nodes that are gone as well.
    pub(crate) statuses: BTreeMap<NodeId, Heard>,
    /// Why connections are down, by node.
    pub(crate) down: BTreeMap<NodeId, DownReason>,
    /// How many receipts named each height of each shard; there once the engine has quit.
    pub(crate) receipts: BTreeMap<(ShardId, Round), Finished>,
    /// Why the log of transactions is not whole, if it is not; there once the engine has quit.
    pub(crate) log_failed: Option<String>,
}

impl Shared {
    /// How far these nodes are behind, by their last statuses.
    pub(crate) fn lags(&self, nodes: impl IntoIterator<Item = NodeId>) -> Lags {
        Lags::of(Instant::now(), nodes, &self.statuses)
    }
}

/// The beginning of a load by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Began {
    /// By the one that measures.
    pub(crate) at: Instant,
    /// By the one that nodes write in their files.
    pub(crate) system: SystemTime,
}

/// The loop and all it owns.
pub(crate) struct Engine {
    poll: Poll,
    links: Vec<Link>,
    committee: Arc<Committee>,
    commands: Receiver<Command>,
    shared: Arc<Mutex<Shared>>,
    load: Option<Load>,
    /// A load that begins when its coins are known.
    gathering: Option<(Gathering, Plan, Option<TransactionLog>)>,
    last_shown: Instant,
    last_requested: Instant,
}

impl Engine {
    pub(crate) fn new(
        poll: Poll,
        committee: Arc<Committee>,
        hosts: &Hosts,
        wan: Option<&Wan>,
        commands: Receiver<Command>,
        shared: Arc<Mutex<Shared>>,
    ) -> Engine {
        let link = |(index, host): (usize, &wire::hosts::Host)| {
            let mut connection = Connection::new(&committee, host, Token(index));
            connection.emulate(wan.and_then(|wan| Emulated::of_clients(wan, host.id)));
            Link::new(host.id, connection)
        };
        Engine {
            links: hosts.iter().enumerate().map(link).collect(),
            poll,
            committee,
            commands,
            shared,
            load: None,
            gathering: None,
            last_shown: Instant::now(),
            last_requested: Instant::now(),
        }
    }

    /// Runs until the command to quit.
    ///
    /// # Errors
    /// If the system's poll fails.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        let mut scratch = Scratch::new();
        let mut offered = Offered::All;
        loop {
            match self.poll.poll(&mut events, Some(self.sleep(offered))) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => result?,
            }
            for event in &events {
                // The waker's token is beyond the links': it only ends the sleep.
                if let Some(link) = self.links.get_mut(event.token().0) {
                    link.readiness = Readiness::More;
                }
            }
            self.read(&mut scratch);
            while let Ok(command) = self.commands.try_recv() {
                if let Command::Quit = command {
                    self.quit();
                    return Ok(());
                }
                self.on_command(command);
            }
            self.watch_contacts();
            offered = self.offer();
            self.serve_links();
            let now = Instant::now();
            if self.load.is_some() && now.duration_since(self.last_requested) >= STATUS_EVERY {
                self.request_statuses(now);
            }
            if now.duration_since(self.last_shown) >= SHOW_EVERY {
                self.gather();
                self.show(now);
            }
        }
    }

    /// How long to sleep unless something comes.
    fn sleep(&self, offered: Offered) -> Duration {
        let is_offering = self.load.as_ref().is_some_and(|load| load.is_offering);
        let has_more = self.links.iter().any(|link| link.readiness == Readiness::More);
        let is_timed = is_offering || self.links.iter().any(|link| link.connection.is_in_transit());
        match (has_more || offered == Offered::Part, is_timed) {
            (true, _) => Duration::ZERO,
            (false, true) => STEP,
            (false, false) => IDLE_STEP,
        }
    }

    /// Reads from each socket that has something.
    fn read(&mut self, scratch: &mut Scratch) {
        for index in 0..self.links.len() {
            let link = &mut self.links[index];
            if link.readiness == Readiness::More {
                let mut happened = Vec::new();
                link.readiness = link.connection.on_ready(scratch, &mut happened);
                self.on_happened(index, happened, Instant::now());
            }
        }
    }

    fn quit(mut self) {
        self.show(Instant::now());
        let Some(load) = &mut self.load else { return };
        let written = load.finish(load.us(Instant::now()));
        let mut shared = self.shared.lock().expect("nobody panics while holding it");
        shared.sections.extend(load.series.take());
        shared.receipts = load.workload.take_heights();
        shared.log_failed = written.err().map(|error| error.to_string());
    }

    fn on_command(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Begin(plan, log) => self.begin(plan, log),
            Command::RequestStatus => self.request_statuses(now),
            Command::NodeIsGone(node) => {
                self.links[usize::from(node.0)].is_gone = true;
                if let Some(load) = &mut self.load {
                    load.workload.node_is_gone(node);
                }
            }
            Command::EndOffering(ended) => {
                if let Some(load) = &mut self.load {
                    load.end_offering(&mut self.links, load.us(now));
                }
                self.show(now);
                // Nobody may wait for it any more.
                let _ = ended.send(());
            }
            Command::QueryOrphans => {
                let Some(load) = &mut self.load else { return };
                let committee = &self.committee;
                for shard in (0..committee.shards()).map(ShardId) {
                    let mut here = self.links.iter().filter(|link| committee.shard_of(link.node) == shard);
                    let can_answer = |link: &&Link| !link.is_gone && !link.follows && link.connection.is_up();
                    if let Some(link) = here.find(can_answer) {
                        load.workload.query_orphans_at(link.node);
                    }
                }
            }
            Command::QueryAll => {
                if let Some(load) = &mut self.load {
                    load.when_unknown = WhenUnknown::CountAsLost;
                    let nodes = self.links.iter().filter(|link| !link.is_gone).map(|link| link.node);
                    nodes.for_each(|node| load.workload.query_all_of(node));
                }
            }
            Command::SettleDoubts => {
                if let Some(load) = &mut self.load {
                    load.workload.settle_doubts();
                }
            }
            Command::Quit => unreachable!("the loop takes it itself"),
        }
        self.show(now);
    }

    /// Begins a load at once where no block has been executed, so that the coins are those of genesis.
    fn begin(&mut self, plan: Plan, log: Option<TransactionLog>) {
        let is_fresh = self.executed().values().all(|executed| *executed == Round(0));
        if is_fresh {
            return self.begin_with(genesis_coins(&self.committee), plan, log);
        }
        let owner = genesis_owner(&self.committee.testbed());
        self.gathering = Some((Gathering::new(self.committee.shards(), owner.0), plan, log));
        self.gather();
    }

    /// How far nodes have come by their last statuses.
    fn executed(&self) -> BTreeMap<NodeId, Round> {
        let shared = self.shared.lock().expect("nobody panics while holding it");
        shared.statuses.iter().map(|(node, heard)| (*node, heard.status.executed)).collect()
    }

    /// Asks for coins that nobody lists, and begins the load once all are there.
    fn gather(&mut self) {
        let Some((mut gathering, plan, log)) = self.gathering.take() else { return };
        let executed = self.executed();
        gathering.ask(Instant::now(), &self.committee, &mut self.links, |node| executed.get(&node).copied());
        match gathering.finished() {
            Some(mut coins) => {
                for (shard, coins) in (0..).map(ShardId).zip(&mut coins) {
                    let spare: BTreeSet<CoinId> = spare_coins(&self.committee, shard).into_iter().collect();
                    coins.retain(|(coin, _)| !spare.contains(coin));
                }
                self.begin_with(coins, plan, log);
            }
            None => self.gathering = Some((gathering, plan, log)),
        }
    }

    fn begin_with(&mut self, coins: Vec<Coins>, plan: Plan, log: Option<TransactionLog>) {
        let mut workload = Workload::new(&self.committee, coins, plan.tx_bytes, plan.seed, plan.mix);
        if let Some(log) = log {
            workload.log_to(log);
        }
        for link in self.links.iter().filter(|link| link.is_gone || link.follows) {
            workload.node_is_gone(link.node);
        }
        self.lock_shared(|shared| {
            for (node, Heard { status, .. }) in &shared.statuses {
                workload.tally_mut().heard_of(self.committee.shard_of(*node), status.executed);
            }
        });
        // Making the chains took a while: the clock starts after it.
        let began = Began { at: Instant::now(), system: SystemTime::now() };
        self.links.iter_mut().for_each(|link| link.contact = Contact::new(plan.hand_on_after));
        self.load = Some(Load::new(workload, plan, began.at, self.links.len()));
        self.lock_shared(|shared| shared.began = Some(began));
    }

    fn request_statuses(&mut self, now: Instant) {
        self.last_requested = now;
        for link in &mut self.links {
            link.connection.send(&Request::Status, &[]);
        }
    }

    fn on_happened(&mut self, index: usize, happened: Vec<Happened>, now: Instant) {
        let node = self.links[index].node;
        for event in happened {
            match event {
                Happened::Up => {
                    self.links[index].contact.connected_anew();
                    if let Some(load) = &mut self.load {
                        load.workload.note_silence(node, false);
                        load.workload.connected_anew(node);
                    }
                    self.links[index].connection.send(&Request::Status, &[]);
                    self.lock_shared(|shared| drop(shared.down.remove(&node)));
                    self.gather();
                }
                Happened::Down(reason) => {
                    self.links[index].drop_batch();
                    if let Some((gathering, ..)) = &mut self.gathering {
                        gathering.lost(node);
                        self.gather();
                    }
                    self.lock_shared(|shared| drop(shared.down.insert(node, reason)));
                }
                Happened::Reply(Reply::Receipts(receipts)) => {
                    self.links[index].has_receipts = true;
                    if let Some(load) = &mut self.load {
                        load.on_receipts(node, &receipts, load.us(now));
                    }
                }
                Happened::Reply(Reply::Coins(unspent)) => {
                    if let Some(load) = &mut self.load {
                        load.workload.on_coins(node, &unspent, load.us(now));
                    }
                }
                Happened::Reply(Reply::CoinsFrom { coins, next }) => {
                    if let Some((gathering, ..)) = &mut self.gathering {
                        let (shard, link) = (self.committee.shard_of(node), &mut self.links[index]);
                        gathering.take(now, shard, link, coins, next);
                        self.gather();
                    }
                }
                // The load asks no such question.
                Happened::Reply(Reply::LedgerSums(_) | Reply::LedgerItems { .. } | Reply::Commit(_)) => {}
                // Chains that were refused rest for a fixed time.
                Happened::Reply(Reply::TryAgain { .. }) => {}
                Happened::Reply(Reply::Error(reason)) => {
                    log::error!("node {node} did not understand a request: {reason}");
                }
                Happened::Reply(Reply::Status(status)) => {
                    if status.follows {
                        self.note_follower(index);
                    }
                    if let Some(load) = &mut self.load {
                        load.workload.tally_mut().heard_of(self.committee.shard_of(node), status.executed);
                    }
                    let mut behind = 0;
                    self.lock_shared(|shared| {
                        let heard = Heard::of(now, &self.committee, node, *status, &shared.statuses);
                        behind = heard.behind;
                        shared.statuses.insert(node, heard);
                    });
                    self.links[index].is_catching_up &= behind > LEVEL_ROUNDS;
                }
            }
        }
    }

    /// A node that only follows takes no transactions: for the load it is gone for good, but it reports its status.
    fn note_follower(&mut self, index: usize) {
        let link = &mut self.links[index];
        if !link.follows {
            link.follows = true;
            link.drop_batch();
            if let Some(load) = &mut self.load {
                load.workload.node_is_gone(link.node);
            }
        }
    }

    /// Looks after transactions whose contact is silent.
    fn watch_contacts(&mut self) {
        if let Some(load) = &mut self.load {
            let now = Instant::now();
            load.watch_contacts(&mut self.links, &self.committee, now);
            let now_us = load.us(now);
            load.workload.retry(now_us);
        }
    }

    /// Makes the transactions that are due, or ends the offering if that is.
    fn offer(&mut self) -> Offered {
        let Some(load) = &mut self.load else { return Offered::All };
        let now = Instant::now();
        let now_us = load.us(now);
        load.watch_pace(now);
        if load.is_offering && now_us >= load.offered_until_us() {
            load.end_offering(&mut self.links, now_us);
            self.show(now);
            return Offered::All;
        }
        load.observe_window(now);
        load.advance(now_us);
        load.offer(&mut self.links, now_us)
    }

    /// Sends what waits for each link, and dials.
    fn serve_links(&mut self) {
        let now = Instant::now();
        for index in 0..self.links.len() {
            let mut happened = Vec::new();
            let link = &mut self.links[index];
            if let Some(load) = &mut self.load {
                let now_us = load.us(now);
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
        let Some(load) = &mut self.load else { return };
        let now_us = load.us(now);
        let until_us = load.offered_until_us();
        shared.offered_for = (!load.is_offering).then_some(Duration::from_micros(until_us));
        shared.measured_for = load.measured_for(now_us);
        shared.intended = load.meant_by(now_us);
        shared.window = load.window_found();
        (shared.in_flight, shared.orphaned) = load.workload.in_flight_and_orphaned();
        (shared.doubtful, shared.dead) = (load.workload.doubtful(), load.workload.dead());
        shared.tally = load.workload.tally().clone();
        shared.sections.extend(load.series.take());
    }

    fn lock_shared(&self, change: impl FnOnce(&mut Shared)) {
        change(&mut self.shared.lock().expect("nobody panics while holding it"));
    }
}
