//! The handle of a load: it owns the thread of the engine, gives it commands and reads what it publishes.

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
use wire::wan::Wan;

use super::engine::{Command, Engine, Shared};
use super::plan::Plan;
use super::series::Section;
use super::transactions::TransactionLog;

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
        Offering::connect_over(None, committee, hosts)
    }

    /// The same with the clients in the region that this WAN gives them.
    pub(crate) fn connect_over(
        wan: Option<&Wan>,
        committee: Arc<Committee>,
        hosts: &Hosts,
    ) -> io::Result<Offering> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Token(usize::MAX))?;
        let (sender, receiver) = crossbeam_channel::unbounded();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let engine = Engine::new(poll, committee, hosts, wan, receiver, shared.clone());
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
    /// has been made, so that it counts in what is then in flight.
    pub(crate) fn end(&self) {
        let (sender, ended) = crossbeam_channel::bounded(1);
        self.command(Command::EndOffering(sender));
        // It fails only when the thread has ended, which `stop` reports.
        let _ = ended.recv();
    }

    /// A node has died for good: nothing more is handed to it.
    pub(crate) fn node_is_gone(&self, node: NodeId) {
        self.command(Command::NodeIsGone(node));
    }

    /// Queries others for the fates of what was handed to nodes that are gone.
    pub(crate) fn query_orphans(&self) {
        self.command(Command::QueryOrphans);
    }

    /// Queries each node for what is still open there; from now on what it does not know counts as lost.
    pub(crate) fn query_all(&self) {
        self.command(Command::QueryAll);
    }

    /// Nothing is open anywhere: requests the coins of every chain in doubt.
    pub(crate) fn settle_doubts(&self) {
        self.command(Command::SettleDoubts);
    }

    /// The sections of the series that were closed since they were last taken.
    pub(crate) fn take_sections(&self) -> Vec<Section> {
        std::mem::take(&mut self.shared.lock().expect("nobody panics while holding it").sections)
    }

    /// Looks at the published state.
    pub(crate) fn look_at<T>(&self, see: impl FnOnce(&Shared) -> T) -> T {
        see(&self.shared.lock().expect("nobody panics while holding it"))
    }

    /// Requests the statuses of all nodes, which appear in the published state.
    pub(crate) fn request_statuses(&self) {
        self.command(Command::RequestStatus);
    }

    /// Requests the statuses of all nodes, and returns those of `nodes` that come within `patience`.
    pub(crate) fn statuses(&self, nodes: &[NodeId], patience: Duration) -> BTreeMap<NodeId, NodeStatus> {
        let requested = Instant::now();
        self.command(Command::RequestStatus);
        loop {
            let is_over = requested.elapsed() >= patience;
            let answers = self.look_at(|shared| {
                let answer = |node: &NodeId| {
                    let heard = shared.statuses.get(node)?;
                    (heard.came >= requested).then_some((*node, &heard.status))
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
        // Both fail only when the thread has ended, which `stop` reports.
        let _ = self.commands.send(command);
        let _ = self.waker.wake();
    }

    /// Closes all connections and returns the last state, and whether the thread had failed before.
    pub(crate) fn stop(mut self) -> (Shared, io::Result<()>) {
        self.command(Command::Quit);
        let thread = self.thread.take().expect("it is taken here alone");
        let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("the load's thread panicked")));
        (self.look_at(Shared::clone), ended)
    }
}
