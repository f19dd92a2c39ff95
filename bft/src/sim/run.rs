//! One simulation: whole cores in virtual time, from the first transaction through all faults to the end.
//!
//! In the first stage the network is hostile, clients submit, the adversary acts. At [`Plan::heal_at`] the network
//! heals, and from then on the run must be live: a decision within [`DECISION_WITHIN`], and a fate for every
//! transaction that a live honest member has taken within [`FATES_WITHIN`]. A run ends when all clients have their
//! receipts and the honest members of each shard stand at one height, with nothing open between shards; without
//! Byzantine members it must then fall silent.

mod crash;
mod happen;
mod inspect;
mod journal;
mod setup;
mod shadow;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ::wire::bytes::Bytes;
use ::wire::committee::Committee;
use ::wire::ids::{Digest, Index, NodeId, Round, ShardId, View};

use crate::core::Core;
use crate::crypto::counting::CountingSuite;
use crate::crypto::suite::{CoinShare, Suite};
use crate::event::Event;
use crate::journal::Opening;
use crate::prng::Prng;
use crate::sim::adversary::{Behaviour, Hands};
use crate::sim::checker::{Checker, Violation};
use crate::sim::cost::Cost;
use crate::sim::links::{HEALED_DELAY_MAX, Links, Scheduled};
use crate::sim::parcel::Frame;
use crate::sim::plan::{Child, Plan, Scenario, Trouble};
use crate::sim::run::journal::{Journal, Step};
use crate::sim::run::shadow::Shadow;
use crate::sim::trace::{self, Trace};
use crate::sim::workload::Workload;
use crate::time::{Span, Time};

/// One-way delays of one view: SEND, ECHO, LOCK, READY, FINISH, share, PRE-VOTE, VOTE, and two for fetches.
const HOPS_A_VIEW: u64 = 10;
/// After the network is healed something is decided within 50 views' worth of delay.
pub const DECISION_WITHIN: Span = Span(50 * HOPS_A_VIEW * HEALED_DELAY_MAX.0);
/// After the network is healed every transaction taken has its fate.
pub const FATES_WITHIN: Span = Span::from_ms(60_000);
/// How long a quiet run must stay quiet.
const QUIET_FOR: Span = Span::from_ms(25_000);
/// Pings of links.
const PING_EVERY: Span = Span::from_ms(1_000);
/// How often an adversary acts of itself.
const TURN_EVERY: Span = Span::from_ms(100);
/// More frames a shard than any run takes.
const FRAMES_MAX: u64 = 3_000_000;
/// Ticks of one core at one moment.
const SPINS_MAX: u32 = 50;

/// Carries the bytes of a frame from one node to another, as a session does, without changing them.
pub trait Transport {
    /// The digest and body as the receiver gets them.
    fn carry(&mut self, from: NodeId, to: NodeId, digest: Digest, body: Bytes) -> (Digest, Bytes);
}

/// Hands the bytes over.
#[derive(Clone, Copy, Debug)]
pub struct Direct;

impl Transport for Direct {
    fn carry(&mut self, _from: NodeId, _to: NodeId, digest: Digest, body: Bytes) -> (Digest, Bytes) {
        (digest, body)
    }
}

/// The result of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The run.
    pub scenario: Scenario,
    /// The first violation, if any.
    pub violation: Option<Violation>,
    /// Blocks executed, in all shards.
    pub height: Round,
    /// Views of decided rounds, of each shard at the honest member that counted most.
    pub views: u64,
    /// Frames delivered.
    pub frames: u64,
    /// The most steps that one event has cost an honest member ([`Core::work`]).
    pub steps_most: u64,
    /// Virtual time at the end.
    pub ended_at: Time,
    /// Transactions finished, those between shards included.
    pub finished: u64,
    /// Of these, those between shards.
    pub finished_cross: u64,
    /// Transactions cancelled after some shard had spent for them.
    pub cancelled: u64,
    /// Faults that honest members noticed, by name.
    pub faults: BTreeMap<&'static str, u64>,
    /// Crashes of members that are started again, by their points, and what came of these starts.
    pub crashes: BTreeMap<&'static str, u64>,
    /// States that honest members took over.
    pub jumps: u64,
    /// Messages that the honest member of each shard that dropped most dropped since they came too early.
    pub too_early: u64,
    /// The log of the run, if it was requested.
    pub trace: Trace,
}

/// Runs a scenario to its end or to the first violation.
pub fn run(scenario: &Scenario, transport: &mut dyn Transport, trace: Trace) -> Report {
    let mut simulation = Simulation::new(scenario, transport, trace);
    let violation = simulation.run().err();
    simulation.report(violation)
}

/// One member: the cores with its key.
enum Node {
    Honest(Box<Core>),
    Crashed,
    /// More than one core if it has twins.
    Byzantine(Vec<Core>),
}

/// Scheduled events besides frames and timers of cores.
#[derive(Clone, Debug)]
enum Happening {
    Event { to: NodeId, event: Event },
    Pings,
    Submit,
    Trouble(Trouble),
    Disk { node: NodeId, life: u64, step: Step },
    Turn,
    Heal,
}

/// The stage of the run.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Stage {
    Troubled,
    /// Since when, and how high the shards stood then.
    Healed {
        at: Time,
        heights: Vec<Round>,
    },
    Quiet {
        until: Time,
    },
}

/// Whether the run goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Onward {
    Go,
    End,
}

struct Simulation<'a> {
    scenario: Scenario,
    plan: Plan,
    committee: Arc<Committee>,
    now: Time,
    stage: Stage,
    net: Links<Happening>,
    prng: Prng,
    nodes: Vec<Node>,
    /// By node and core of it.
    wakeups: BTreeMap<(NodeId, usize), Time>,
    spins: u32,
    decided: BTreeMap<NodeId, Round>,
    /// By shard.
    hands: Vec<Hands>,
    behaviours: Vec<Box<dyn Behaviour>>,
    /// The nodes that a twin sends to.
    twins: Vec<BTreeSet<NodeId>>,
    /// Nodes whose sender or receiver is dead, until then.
    down: BTreeMap<(NodeId, Child), Time>,
    /// The scheduler's view of coins, and a suite to combine them with.
    coins: BTreeMap<(ShardId, Round, View), BTreeMap<Index, CoinShare>>,
    observers: Vec<Arc<dyn Suite>>,
    /// Suites of honest members: counters of verifications, and what was signed.
    verified: BTreeMap<NodeId, Arc<CountingSuite>>,
    /// What the cores of honest members are built from, and their journals, if they have any.
    openings: BTreeMap<NodeId, Opening>,
    journals: BTreeMap<NodeId, Journal>,
    workload: Workload,
    checker: Checker,
    cost: Cost,
    shadow: Option<Shadow>,
    transport: &'a mut dyn Transport,
    trace: Trace,
    frames: u64,
    faults: BTreeMap<&'static str, u64>,
    crashes: BTreeMap<&'static str, u64>,
    jumps: u64,
}

type Ran<T = ()> = Result<T, Violation>;

impl Simulation<'_> {
    fn report(self, violation: Option<Violation>) -> Report {
        let views = self.sum_of_shards(|core| core.status().views);
        let finished_cross = self.sum_of_shards(|core| core.ledger().totals().finished_cross);
        let finished = self.sum_of_shards(|core| core.ledger().totals().finished) + finished_cross;
        let cancelled = self.sum_of_shards(|core| core.ledger().totals().cancelled);
        let too_early = self.sum_of_shards(|core| core.status_at_hand().too_early);
        Report {
            scenario: self.scenario,
            violation,
            height: Round(self.checker.heights().iter().map(|height| height.0).sum()),
            views,
            frames: self.frames,
            steps_most: self.cost.steps_most(),
            ended_at: self.now,
            finished,
            finished_cross,
            cancelled,
            faults: self.faults,
            crashes: self.crashes,
            jumps: self.jumps,
            too_early,
            trace: self.trace,
        }
    }

    fn run(&mut self) -> Ran {
        self.connect()?;
        while self.step()? == Onward::Go {}
        self.check_tables()?;
        self.check_verified()
    }

    /// All sessions begin, before anything else.
    fn connect(&mut self) -> Ran {
        for node in self.everybody() {
            for peer in self.everybody().filter(|peer| *peer != node) {
                self.feed_all(node, Event::PeerUp { peer }, || format!("peer {peer} is up"))?;
            }
        }
        Ok(())
    }

    /// Takes the next event, be it a timer of a core or one of the network.
    fn step(&mut self) -> Ran<Onward> {
        let wakeup = self.wakeups.iter().map(|(who, at)| (*at, *who)).min();
        let queued = self.net.next_at();
        match wakeup {
            Some((at, (node, core))) if queued.is_none_or(|queued| at <= queued) => {
                self.spins = if at > self.now { 0 } else { self.spins + 1 };
                if self.spins > SPINS_MAX {
                    return Err(Violation::Spinning { node });
                }
                self.now = self.now.max(at);
                self.feed(node, core, Event::Tick, "tick")?;
            }
            _ => {
                let Some((at, scheduled)) = self.net.pop() else { return Ok(Onward::End) };
                self.spins = 0;
                self.now = self.now.max(at);
                match scheduled {
                    Scheduled::Frame(frame) => self.deliver(frame)?,
                    Scheduled::Other(happening) => self.happen(happening)?,
                }
            }
        }
        self.judge()
    }

    /// Checks the deadlines, and whether the run is over.
    fn judge(&mut self) -> Ran<Onward> {
        match &self.stage {
            Stage::Troubled => Ok(Onward::Go),
            Stage::Healed { at, heights } => {
                let since = self.now.since(*at);
                let stuck = || self.checker.heights().iter().zip(heights).any(|(now, then)| now <= then);
                if since > DECISION_WITHIN && stuck() {
                    let within_ms = DECISION_WITHIN.0 / 1_000;
                    return Err(Violation::NoDecision { within_ms, waiting: self.waiting() });
                }
                let level = self
                    .honest_cores()
                    .all(|(node, core)| core.ledger().height() == self.checker.height(node));
                if level && self.checker.open().next().is_none() && self.is_closed() {
                    self.checker.at_rest(self.honest_cores())?;
                    if !self.plan.byzantine.is_empty() && !self.scenario.adversary.disturbs_rest() {
                        return Ok(Onward::End);
                    }
                    self.stage = Stage::Quiet { until: self.now + QUIET_FOR };
                } else if since > FATES_WITHIN {
                    let open: Vec<_> = self.checker.open().collect();
                    let waiting = self.waiting();
                    return Err(match self.checker.still_open(self.honest_cores()) {
                        Some(what) if open.is_empty() => Violation::NotAtRest { what, waiting },
                        _ => Violation::NoFate { open, waiting },
                    });
                }
                Ok(Onward::Go)
            }
            Stage::Quiet { until } if self.now >= *until => {
                self.checker.at_rest(self.honest_cores())?;
                let is_disturbed = self.scenario.adversary.disturbs_rest();
                if !is_disturbed && (self.net.frames() > 0 || !self.wakeups.is_empty()) {
                    return Err(Violation::NotQuiet { waiting: self.waiting() });
                }
                Ok(Onward::End)
            }
            Stage::Quiet { .. } => Ok(Onward::Go),
        }
    }

    /// Whether no transaction is open between shards.
    fn is_closed(&self) -> bool {
        self.scenario.shards == 1 || self.checker.still_open(self.honest_cores()).is_none()
    }

    /// Heights and rounds of all live honest members, as text.
    fn waiting(&self) -> String {
        let cores = self.honest_cores().map(|(node, core)| {
            let status = core.status();
            format!("n{node}: {} {:?}", trace::standing(core), status.waiting_for)
        });
        let cores: Vec<String> = cores.collect();
        let byzantine: Vec<u16> = self.plan.byzantine.iter().map(|node| node.0).collect();
        let wakeups: Vec<String> =
            self.wakeups.iter().map(|((node, _), at)| format!("n{node} at {} us", at.0)).collect();
        let frames = self.net.frames();
        format!(
            "Byzantine {byzantine:?}; {}; frames {frames}; wakeups {}",
            cores.join("; "),
            wakeups.join(", ")
        )
    }

    fn honest_cores(&self) -> impl Iterator<Item = (NodeId, &Core)> {
        (0u16..).map(NodeId).zip(&self.nodes).filter_map(|(node, state)| match state {
            Node::Honest(core) => Some((node, &**core)),
            Node::Crashed | Node::Byzantine(_) => None,
        })
    }

    /// The sum over all shards of the greatest value at an honest member of each.
    fn sum_of_shards(&self, of: impl Fn(&Core) -> u64) -> u64 {
        let mut most: BTreeMap<ShardId, u64> = BTreeMap::new();
        for (node, core) in self.honest_cores() {
            let most = most.entry(self.committee.shard_of(node)).or_default();
            *most = of(core).max(*most);
        }
        most.values().sum()
    }

    /// All nodes that run, ascending: there may be keys for more.
    fn everybody(&self) -> impl Iterator<Item = NodeId> + Clone + use<> {
        (0..self.nodes.len() as u16).map(NodeId)
    }

    /// The index of a node's shard in lists by shard.
    fn shard_at(&self, node: NodeId) -> usize {
        usize::from(self.committee.shard_of(node).0)
    }

    fn deliver(&mut self, frame: Frame) -> Ran {
        self.frames += 1;
        if self.frames > FRAMES_MAX * u64::from(self.scenario.shards) {
            return Err(Violation::Storm { frames: self.frames });
        }
        let Frame { from, to, class, parcel } = frame;
        if let Some(until) = self.down.get(&(to, Child::Receiver)).copied() {
            // No receiver took it, so its sender sends it again to the new process.
            self.net.starve(from, to, until);
            self.net.send(self.now, Frame { from, to, class, parcel });
            return Ok(());
        }
        if matches!(self.node(to), Node::Honest(_)) {
            self.checker.on_delivery(from, to, &parcel);
            self.cost.on_delivery(self.now, to, &parcel, &self.committee)?;
        }
        let (digest, body) = self.transport.carry(from, to, parcel.digest(), parcel.body().clone());
        let event = Event::Peer { from, digest, body };
        let committee = self.committee.clone();
        self.feed_all(to, event, || format!("<- n{from} {}", parcel.said(&committee, from)))
    }

    fn node(&self, node: NodeId) -> &Node {
        &self.nodes[usize::from(node.0)]
    }

    fn node_mut(&mut self, node: NodeId) -> &mut Node {
        &mut self.nodes[usize::from(node.0)]
    }

    /// Gives an event to every core of a node.
    fn feed_all(&mut self, node: NodeId, event: Event, what: impl Fn() -> String) -> Ran {
        let cores = match self.node(node) {
            Node::Honest(_) => 1,
            Node::Crashed => 0,
            Node::Byzantine(cores) => cores.len(),
        };
        let text = if self.trace == Trace::Off { String::new() } else { what() };
        (0..cores).try_for_each(|core| self.feed(node, core, event.clone(), &text))
    }

    fn feed(&mut self, node: NodeId, at: usize, event: Event, what: &str) -> Ran {
        let (now, lag) = (self.local_time(node), self.lag(node));
        let core = match &mut self.nodes[usize::from(node.0)] {
            Node::Honest(core) => {
                if let Some(journal) = self.journals.get_mut(&node) {
                    journal.note(now, &event);
                }
                &mut **core
            }
            Node::Byzantine(cores) => &mut cores[at],
            Node::Crashed => return Ok(()),
        };
        let before = core.work();
        let effects = core.handle(now, event.clone());
        let steps = core.work() - before;
        let wakeup = core.next_wakeup();
        match wakeup {
            Some(due) => self.wakeups.insert((node, at), due + lag),
            None => self.wakeups.remove(&(node, at)),
        };
        // Pings and ticks without effects are left out of the log.
        let is_telling = !effects.is_empty() || !matches!(what, "tick" | "ping");
        if self.trace != Trace::Off && is_telling {
            let core = match self.node(node) {
                Node::Honest(core) => core,
                Node::Byzantine(cores) => &cores[at],
                Node::Crashed => unreachable!("it has just handled an event"),
            };
            let role = if self.plan.byzantine.contains(&node) { "!" } else { "" };
            let who = format!("n{node}{role}");
            let (head, standing) = (trace::head(self.now, &who), trace::standing(core));
            let did = trace::effects(&self.committee, node, &effects);
            self.trace.write(|| format!("{head} {standing:<32} {what} | {did}"));
        }
        match &self.nodes[usize::from(node.0)] {
            Node::Honest(core) => {
                self.cost.on_work(node, steps)?;
                if let Some(shadow) = self.shadow.as_mut().filter(|shadow| shadow.node() == node) {
                    shadow.follow(now, &event, &effects, core)?;
                }
                self.hold(node, event, effects)?;
                self.check_idle(node)
            }
            _ => self.do_byzantine(node, at, effects),
        }
    }
}
