//! Offering load and keeping the books on it.
//!
//! [`Offering`] is the handle: it owns the thread of [`engine`], tells it what to do and reads what it publishes.
//! [`workload`] makes the transactions and judges the receipts, [`tally`] counts, [`histogram`] keeps latencies,
//! [`series`] counts by the second, [`transactions`] writes down single ones.

mod command;
mod engine;
mod histogram;
mod mix;
mod series;
mod tally;
mod ticker;
mod transactions;
mod window;
mod workload;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use mio::{Poll, Token, Waker};
use wire::client::NodeStatus;
use wire::committee::Committee;
use wire::hosts::Hosts;
use wire::ids::NodeId;

use self::engine::{Command, Engine};

pub(crate) use self::command::{
    COMMAND, CROSS_HELP, EXPIRY_HELP, INVALID_HELP, WARMUP_HELP, load_testbed, plan, plan_for, run_command,
    run_on,
};
pub(crate) use self::engine::Shared;
pub(crate) use self::histogram::Histogram;
pub(crate) use self::mix::{Mix, Share};
pub(crate) use self::series::Section;
pub(crate) use self::tally::{Finished, Tally};
pub(crate) use self::ticker::Ticker;
pub(crate) use self::transactions::TransactionLog;
pub(crate) use self::window::Found;
pub(crate) use self::workload::transaction_bytes_min;

/// How much load is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rate {
    /// So many transactions a second over all nodes, whatever the testbed does (open loop).
    PerSecond(u64),
    /// As much as it takes (closed loop).
    Max,
}

impl Rate {
    /// What people are told that a rate may be.
    pub(crate) const EXPECTED: &str = "transactions a second from 1 to 10000000, or 'max'";

    /// Reads a rate.
    pub(crate) fn parse(text: &str) -> Option<Rate> {
        match text {
            "max" => Some(Rate::Max),
            _ => text.parse().ok().filter(|rate| (1..=10_000_000).contains(rate)).map(Rate::PerSecond),
        }
    }
}

/// What load is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    /// How much.
    pub(crate) rate: Rate,
    /// How long; until somebody ends it if that is not said.
    pub(crate) duration: Option<Duration>,
    /// For how long at the beginning no figure is about it.
    pub(crate) warmup: Duration,
    /// Length of each transaction as encoded; one that crosses shards may need more.
    pub(crate) tx_bytes: usize,
    /// What it is made of.
    pub(crate) mix: Mix,
    /// Rounds after which a transaction expires, if that is not to follow the pace.
    pub(crate) expiry_rounds: Option<u64>,
    /// Of everything random.
    pub(crate) seed: u64,
}

/// Connections to all nodes, and the load offered over them.
pub(crate) struct Offering {
    commands: Sender<Command>,
    waker: Waker,
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Offering {
    /// Begins to connect to all nodes.
    ///
    /// # Errors
    /// If the system has no poll or no thread left.
    pub(crate) fn connect(committee: Arc<Committee>, hosts: &Hosts) -> io::Result<Offering> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Token(usize::MAX))?;
        let (sender, receiver) = crossbeam_channel::unbounded();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let engine = Engine::new(poll, committee, hosts, receiver, shared.clone());
        let thread = thread::Builder::new().name("load".into()).spawn(|| engine.run())?;
        Ok(Offering { commands: sender, waker, shared, thread: Some(thread) })
    }

    /// Whether the thread has ended, which it does before [`Offering::stop`] only if something is broken.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Begins to offer load, and to write down what becomes of transactions if there is a log.
    pub(crate) fn begin(&self, plan: Plan, log: Option<TransactionLog>) {
        self.command(Command::Begin(plan, log));
    }

    /// Offers no more, if the plan has not ended it already; what is open stays open. Returns when the last transaction
    /// has been made, so that whoever then looks at what is in flight sees it.
    pub(crate) fn end(&self) {
        let (sender, ended) = crossbeam_channel::bounded(1);
        self.command(Command::EndOffering(sender));
        // It fails only when the thread has ended, which `stop` tells.
        let _ = ended.recv();
    }

    /// A node has died for good: nothing more is handed to it.
    pub(crate) fn node_is_gone(&self, node: NodeId) {
        self.command(Command::NodeIsGone(node));
    }

    /// Asks others for the fate of what was handed to nodes that are gone.
    pub(crate) fn ask_for_orphans(&self) {
        self.command(Command::AskForOrphans);
    }

    /// Asks each node for what is still open there; from now on what it does not know counts as lost.
    pub(crate) fn ask_last_question(&self) {
        self.command(Command::LastQuestion);
    }

    /// Nothing is open anywhere: has every chain that does not know its coin ask for it.
    pub(crate) fn settle_doubts(&self) {
        self.command(Command::SettleDoubts);
    }

    /// The sections of the series that were closed since they were last taken.
    pub(crate) fn take_sections(&self) -> Vec<Section> {
        std::mem::take(&mut self.shared.lock().expect("nobody panics while holding it").sections)
    }

    /// What there is to see.
    pub(crate) fn look_at<T>(&self, see: impl FnOnce(&Shared) -> T) -> T {
        see(&self.shared.lock().expect("nobody panics while holding it"))
    }

    /// Asks all nodes for their status, and returns what those of `nodes` tell within `patience`.
    pub(crate) fn statuses(&self, nodes: &[NodeId], patience: Duration) -> BTreeMap<NodeId, NodeStatus> {
        let asked = Instant::now();
        self.command(Command::AskStatus);
        loop {
            let is_over = asked.elapsed() >= patience;
            let answers = self.look_at(|shared| {
                let answer = |node: &NodeId| {
                    let (came, status) = shared.statuses.get(node)?;
                    (*came >= asked).then_some((*node, status))
                };
                let is_whole = nodes.iter().all(|node| answer(node).is_some());
                let answers = || nodes.iter().filter_map(answer).map(|(node, status)| (node, status.clone()));
                (is_over || is_whole).then(|| answers().collect())
            });
            if let Some(answers) = answers {
                return answers;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn command(&self, command: Command) {
        // Both fail only when the thread has ended, which `stop` tells.
        let _ = self.commands.send(command);
        let _ = self.waker.wake();
    }

    /// Closes all connections and returns the last there is to see, and whether the thread had to end before it was
    /// told to.
    pub(crate) fn stop(mut self) -> (Shared, io::Result<()>) {
        self.command(Command::Quit);
        let thread = self.thread.take().expect("it is taken here alone");
        let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("the load's thread panicked")));
        (self.look_at(Shared::clone), ended)
    }
}
