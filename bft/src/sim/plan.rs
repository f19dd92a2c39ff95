//! The choices of a seed: the Byzantine members, the behaviour of links, the faults and their times.
//!
//! Each seed turns on a random part of all faults ("swarm testing"), so that there are runs with few faults, which get
//! far, and runs with many. At most f nodes of each shard are Byzantine or crash for good; with journals any nodes
//! crash and come back. At [`Plan::heal_at`] the network heals for good and all that can come back do; the others stay
//! what they are.

use std::collections::{BTreeMap, BTreeSet};

use wire::ids::NodeId;

use crate::journal::Durability;
use crate::prng::Prng;
use crate::sim::adversary::Adversary;
use crate::sim::links::{Delay, Order};
use crate::time::{Span, Time};

/// One run: the same scenario gives the same run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Scenario {
    /// Determines all random choices.
    pub seed: u64,
    /// Members of a shard.
    pub nodes: u16,
    /// Shards.
    pub shards: u16,
    /// The attack of the Byzantine nodes, or of the scheduler.
    pub adversary: Adversary,
    /// Its signatures and its threshold coin. The plan of a seed is the same with either; the leaders differ.
    pub suite: SuiteKind,
    /// What honest members write down, and so whether they come back from crashes.
    pub crashes: Crashes,
}

impl std::fmt::Display for Scenario {
    /// The command that runs it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Scenario { seed, nodes, shards, adversary, suite, crashes } = self;
        let (adversary, suite) = (adversary.name(), suite.name());
        write!(f, "tools sim --seed {seed} --nodes {nodes} --shards {shards}")?;
        write!(f, " --adversary {adversary} --suite {suite}")?;
        if *crashes == Crashes::Off { Ok(()) } else { write!(f, " --crashes {}", crashes.name()) }
    }
}

/// What is written down before effects leave an honest member, and so the crashes that there are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Crashes {
    /// Nothing: a member that crashes stays away. Within the bound on faulty members.
    Off,
    /// Events, to the system. Any members crash at any moment, and are started again.
    Process,
    /// Events, to the disk. The same, and power is lost too.
    Power,
}

impl Crashes {
    /// All of them.
    pub const ALL: [Crashes; 3] = [Crashes::Off, Crashes::Process, Crashes::Power];

    /// The name that commands use.
    pub fn name(self) -> &'static str {
        match self {
            Crashes::Off => "off",
            Crashes::Process => "process",
            Crashes::Power => "power",
        }
    }

    /// The durability of the journals, if there are any.
    pub(super) fn durability(self) -> Option<Durability> {
        match self {
            Crashes::Off => None,
            Crashes::Process => Some(Durability::Process),
            Crashes::Power => Some(Durability::Power),
        }
    }
}

/// In a mixture one in so many seeds runs on the real suite where the adversary does not need it anyway.
pub const REAL_SUITE_EVERY: u64 = 8;

/// Which implementation of [`crate::crypto::suite::Suite`] a run uses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SuiteKind {
    /// Curves: [`crate::crypto::real::RealSuite`].
    Real,
    /// Keyed hashes: [`crate::crypto::hash_suite::HashSuite`].
    StandIn,
}

impl SuiteKind {
    /// All of them.
    pub const ALL: [SuiteKind; 2] = [SuiteKind::Real, SuiteKind::StandIn];

    /// The name that commands use.
    pub fn name(self) -> &'static str {
        match self {
            SuiteKind::Real => "real",
            SuiteKind::StandIn => "stand-in",
        }
    }

    /// The suite of a seed in a mixture of both: mostly the stand-in, which runs more seeds in the same time. The real
    /// one where its guarantees are under attack, and for a fixed share of the other seeds.
    pub fn mixed(seed: u64, adversary: Adversary) -> SuiteKind {
        if adversary.attacks_crypto() || seed.is_multiple_of(REAL_SUITE_EVERY) {
            SuiteKind::Real
        } else {
            SuiteKind::StandIn
        }
    }
}

impl Scenario {
    /// A scenario of a mixture of both suites ([`SuiteKind::mixed`]).
    pub fn mixed(seed: u64, nodes: u16, shards: u16, adversary: Adversary) -> Scenario {
        let (suite, crashes) = (SuiteKind::mixed(seed, adversary), Crashes::Off);
        Scenario { seed, nodes, shards, adversary, suite, crashes }
    }

    /// The generator of all random choices of the run.
    pub(super) fn prng(&self) -> Prng {
        let sizes = u64::from(self.shards - 1) << 40 | u64::from(self.nodes) << 48;
        Prng::new(self.seed ^ sizes ^ ((self.adversary as u64) << 56))
    }
}

/// A fault of the network or of a process, other than Byzantine behaviour.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    /// Frames of these links wait until then.
    Starve { links: Vec<(NodeId, NodeId)>, until: Time },
    /// These nodes are cut off from the others until then.
    Partition { side: BTreeSet<NodeId>, until: Time },
    /// The node stops for good.
    Crash(NodeId),
    /// Nodes crash and are started again.
    Fall(Vec<Fall>),
    /// The node is started again.
    Restart(NodeId),
    /// A child process of the node dies with the frames that it carries and is replaced after that long.
    ChildDies { node: NodeId, child: Child, down: Span },
    /// The new child has connected.
    ChildBack { node: NodeId, child: Child },
}

/// A crash of a node that is started again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fall {
    pub(super) node: NodeId,
    pub(super) cause: Cause,
    pub(super) point: Point,
    pub(super) exposure: Exposure,
    pub(super) down: Span,
}

/// What ends a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    /// Its processes end; what the system has stays.
    Process,
    /// Power is lost; what the disk has stays.
    Power,
}

/// What may become of the disk of a node that crashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Exposure {
    /// It loses a tail, and the node goes on.
    Tails,
    /// Anything else too, after which the node may have to stay away.
    Harm,
}

/// Where a node crashes in what its disk does for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Point {
    /// Wherever it stands.
    Anywhere,
    /// Before what it noted is appended, of which the beginning may be there.
    BeforeAppend,
    /// After the append, before the sync.
    BeforeSync,
    /// After both, before any effect leaves.
    BeforeEffects,
    /// After a part of the effects of one event.
    BetweenEffects,
    /// Before a snapshot is finished.
    Snapshot,
}

impl Point {
    /// Its name in a report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Point::Anywhere => "anywhere",
            Point::BeforeAppend => "before append",
            Point::BeforeSync => "before sync",
            Point::BeforeEffects => "before effects",
            Point::BetweenEffects => "between effects",
            Point::Snapshot => "before a snapshot",
        }
    }
}

/// A child process of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Child {
    /// `net_client`.
    Sender,
    /// `net_server`.
    Receiver,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) byzantine: BTreeSet<NodeId>,
    pub(super) order: Order,
    pub(super) delays: BTreeMap<(NodeId, NodeId), Delay>,
    pub(super) troubles: Vec<(Time, Trouble)>,
    pub(super) outboxes: Outboxes,
    /// Whether the scheduler delays messages of elected leaders.
    pub(super) leaders: Leaders,
    pub(super) heal_at: Time,
    /// Pause between two submissions of clients.
    pub(super) submit_every: Span,
}

/// How `net_client` treats frames of finished classes that have not arrived yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outboxes {
    /// Delivers them.
    Roomy,
    /// Drops most of them, as it does when its outbox is full.
    Full,
}

/// How the scheduler treats elected leaders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Leaders {
    /// Like all members.
    Unnoticed,
    /// As soon as the coin can be known, their messages reach hardly any member.
    Starved,
}

/// The roles of the members of one shard.
#[derive(Clone, Debug)]
struct Roles {
    byzantine: Vec<NodeId>,
    honest: Vec<NodeId>,
    /// How many honest members may crash.
    crash_max: usize,
}

impl Roles {
    fn draw(scenario: &Scenario, shard: u16, prng: &mut Prng) -> Roles {
        let n = scenario.nodes;
        let faulty_max = (usize::from(n) - 1) / 3;
        let mut byzantine: Vec<NodeId> = (shard * n..(shard + 1) * n).map(NodeId).collect();
        prng.shuffle(&mut byzantine);
        // Mostly as many as are tolerated: fewer attack less.
        let byzantine_count = if scenario.adversary.owns_nodes() && faulty_max > 0 {
            if prng.chance(3, 4) { faulty_max } else { 1 + prng.below(faulty_max as u64) as usize }
        } else {
            0
        };
        let honest = byzantine.split_off(byzantine_count);
        Roles { byzantine, honest, crash_max: faulty_max - byzantine_count }
    }
}

impl Plan {
    pub(super) fn draw(scenario: &Scenario, prng: &mut Prng) -> Plan {
        let shards: Vec<Roles> =
            (0..scenario.shards).map(|shard| Roles::draw(scenario, shard, prng)).collect();
        let byzantine: BTreeSet<NodeId> = shards.iter().flat_map(|roles| &roles.byzantine).copied().collect();
        let honest: Vec<NodeId> = shards.iter().flat_map(|roles| &roles.honest).copied().collect();
        let seated = shards.iter().flat_map(|roles| roles.byzantine.iter().chain(&roles.honest));
        let nodes: Vec<NodeId> = seated.copied().collect();
        let mut heal_at = Time(prng.within(1_500_000..6_000_000));
        if scenario.adversary.shortens_history() {
            heal_at = heal_at + Span::from_ms(3_000);
        }
        if scenario.adversary == Adversary::SlowShards {
            // Long enough for expiries to pass, and for settled transactions to be forgotten.
            heal_at = heal_at + Span::from_ms(4_000);
        }
        let mut troubles = Vec::new();
        for node in shards.iter().flat_map(|roles| &roles.honest[..roles.crash_max]) {
            if prng.chance(1, 3) {
                troubles.push((Time(prng.below(heal_at.0)), Trouble::Crash(*node)));
            }
        }
        draw_starvation(prng, &nodes, heal_at, &mut troubles);
        draw_partitions(prng, &nodes, heal_at, &mut troubles);
        if scenario.adversary == Adversary::SlowShards {
            draw_slow_shards(prng, scenario, heal_at, &mut troubles);
        }
        let children = match scenario.adversary {
            Adversary::DyingChild => 3 + prng.below(6),
            _ if prng.chance(1, 4) => 1 + prng.below(2),
            _ => 0,
        };
        draw_child_deaths(prng, &honest, heal_at, children, &mut troubles);
        if let Some(durability) = scenario.crashes.durability() {
            let expendable = shards.iter().flat_map(|roles| &roles.honest[..roles.crash_max]);
            let expendable: BTreeSet<NodeId> = expendable.copied().collect();
            // Other choices of the seed are those that it makes without these crashes.
            let prng = &mut prng.clone().fork();
            draw_falls(prng, durability, &honest, &expendable, heal_at, &mut troubles);
        }
        if scenario.adversary.shortens_history() {
            draw_absences(&mut prng.clone().fork(), scenario, &shards, heal_at, &mut troubles);
        }
        let leaders = match scenario.adversary {
            Adversary::StarvedLeader => Leaders::Starved,
            // Later views, with their justifications, come about only when leaders fail.
            adversary if adversary.needs_views() && prng.chance(1, 2) => Leaders::Starved,
            _ if prng.chance(1, 8) => Leaders::Starved,
            _ => Leaders::Unnoticed,
        };
        let plan = Plan {
            byzantine,
            order: match scenario.adversary {
                Adversary::LastInFirstOut => Order::LastInFirstOut,
                _ if prng.chance(1, 8) => Order::LastInFirstOut,
                _ if prng.chance(1, 2) => Order::LinkByLink,
                _ => Order::Reordered,
            },
            delays: draw_delays(prng, nodes.len() as u16),
            troubles,
            outboxes: if prng.chance(1, 4) { Outboxes::Full } else { Outboxes::Roomy },
            leaders,
            heal_at,
            submit_every: Span(prng.within(50_000..400_000)),
        };
        if scenario.adversary.shortens_history() {
            // The outboxes drop what an absent member missed, so that it does not all arrive when it is back.
            return Plan { outboxes: Outboxes::Full, submit_every: Span(plan.submit_every.0 / 4), ..plan };
        }
        if scenario.adversary.needs_calm() { plan.calm() } else { plan }
    }

    /// Links are no slower than healed ones and have no troubles, and leaders get no special treatment.
    fn calm(self) -> Plan {
        let order = if self.order == Order::LastInFirstOut { Order::Reordered } else { self.order };
        let (troubles, delays) = (Vec::new(), BTreeMap::new());
        Plan { troubles, delays, order, outboxes: Outboxes::Roomy, leaders: Leaders::Unnoticed, ..self }
    }
}

fn draw_delays(prng: &mut Prng, nodes: u16) -> BTreeMap<(NodeId, NodeId), Delay> {
    let usual_us = *prng.pick(&[2_000, 10_000, 30_000]).expect("the list is not empty");
    let uneven = prng.chance(1, 3);
    let long_tail = prng.chance(1, 3);
    let mut delays = BTreeMap::new();
    for from in 0..nodes {
        for to in (0..nodes).filter(|to| *to != from) {
            let usual_us = if uneven { prng.within(usual_us / 4..usual_us * 4) } else { usual_us };
            let delay = if long_tail {
                Delay::LongTail { usual_us, rare_us: usual_us * 30, percent: 5 }
            } else {
                Delay::Even { min_us: usual_us / 2, max_us: usual_us * 3 / 2 }
            };
            delays.insert((NodeId(from), NodeId(to)), delay);
        }
    }
    delays
}

fn draw_starvation(prng: &mut Prng, nodes: &[NodeId], heal_at: Time, troubles: &mut Vec<(Time, Trouble)>) {
    if nodes.len() < 2 || prng.chance(1, 2) {
        return;
    }
    for _ in 0..1 + prng.below(6) {
        let at = Time(prng.below(heal_at.0));
        let until = Time(prng.within(at.0..heal_at.0 + 1));
        let node = *prng.pick(nodes).expect("there are nodes");
        let others = nodes.iter().copied().filter(|other| *other != node);
        let links: Vec<(NodeId, NodeId)> = match prng.below(3) {
            0 => others.map(|other| (node, other)).collect(),
            1 => others.map(|other| (other, node)).collect(),
            _ => others.filter(|_| prng.chance(1, 2)).map(|other| (node, other)).collect(),
        };
        troubles.push((at, Trouble::Starve { links, until }));
    }
}

fn draw_partitions(prng: &mut Prng, nodes: &[NodeId], heal_at: Time, troubles: &mut Vec<(Time, Trouble)>) {
    if nodes.len() < 2 || prng.chance(2, 3) {
        return;
    }
    for _ in 0..1 + prng.below(3) {
        let at = Time(prng.below(heal_at.0));
        let until = Time(prng.within(at.0..heal_at.0 + 1));
        let mut side = nodes.to_vec();
        prng.shuffle(&mut side);
        side.truncate(1 + prng.below(nodes.len() as u64 - 1) as usize);
        troubles.push((at, Trouble::Partition { side: side.into_iter().collect(), until }));
    }
}

/// Now and then all frames from one shard to another wait, mostly until the network heals.
fn draw_slow_shards(
    prng: &mut Prng,
    scenario: &Scenario,
    heal_at: Time,
    troubles: &mut Vec<(Time, Trouble)>,
) {
    let members = |shard: u64| {
        let first = shard as u16 * scenario.nodes;
        (first..first + scenario.nodes).map(NodeId)
    };
    for _ in 0..2 + prng.below(6) {
        let at = Time(prng.below(heal_at.0));
        let until = if prng.chance(1, 2) { heal_at } else { Time(prng.within(at.0..heal_at.0 + 1)) };
        let from = prng.below(u64::from(scenario.shards));
        let to = prng.below(u64::from(scenario.shards));
        if from != to {
            let links = members(from).flat_map(|from| members(to).map(move |to| (from, to))).collect();
            troubles.push((at, Trouble::Starve { links, until }));
        }
    }
}

/// In each shard one honest member is cut off for most of the time, alone, so that the others go on.
fn draw_absences(
    prng: &mut Prng,
    scenario: &Scenario,
    shards: &[Roles],
    heal_at: Time,
    troubles: &mut Vec<(Time, Trouble)>,
) {
    troubles.retain(|(_, trouble)| {
        !matches!(trouble, Trouble::Partition { .. } | Trouble::Starve { .. } | Trouble::Crash(_))
    });
    for roles in shards.iter().filter(|_| scenario.nodes > 1) {
        let node = *prng.pick(&roles.honest).expect("there are honest nodes");
        let at = Time(prng.below(1_000_000));
        let until = if prng.chance(1, 2) { heal_at } else { Time(prng.within(heal_at.0 * 2 / 3..heal_at.0)) };
        troubles.push((at, Trouble::Partition { side: BTreeSet::from([node]), until }));
    }
}

/// Children that die are back before the network heals, so that no frame is lost afterwards.
fn draw_child_deaths(
    prng: &mut Prng,
    honest: &[NodeId],
    heal_at: Time,
    count: u64,
    troubles: &mut Vec<(Time, Trouble)>,
) {
    const DOWN_MAX_US: u64 = 300_000;
    for _ in 0..count {
        let node = *prng.pick(honest).expect("there are honest nodes");
        let child = if prng.chance(1, 2) { Child::Sender } else { Child::Receiver };
        let at = Time(prng.below(heal_at.0 - DOWN_MAX_US));
        let down = Span(prng.within(10_000..DOWN_MAX_US));
        troubles.push((at, Trouble::ChildDies { node, child, down }));
    }
}

/// Any members crash, alone or together, and perhaps again soon after. Those that the bound on faulty members has room
/// for may be harmed so that they stay away.
fn draw_falls(
    prng: &mut Prng,
    durability: Durability,
    honest: &[NodeId],
    expendable: &BTreeSet<NodeId>,
    heal_at: Time,
    troubles: &mut Vec<(Time, Trouble)>,
) {
    const DOWN_MAX_US: u64 = 400_000;
    for _ in 0..1 + prng.below(6) {
        let at = Time(prng.below(heal_at.0));
        let mut nodes = honest.to_vec();
        match prng.below(4) {
            0 => {}
            1 => nodes.retain(|_| prng.chance(1, 2)),
            _ => nodes = prng.pick(honest).copied().into_iter().collect(),
        }
        let times = if prng.chance(1, 3) { 2 } else { 1 };
        for again in 0..times {
            let falls = nodes.iter().map(|node| {
                let is_expendable = expendable.contains(node);
                let has_power = durability == Durability::Process && !is_expendable;
                let cause = if has_power || prng.chance(1, 2) { Cause::Process } else { Cause::Power };
                let point = *prng.pick(&POINTS).expect("the list is not empty");
                let exposure = if is_expendable { Exposure::Harm } else { Exposure::Tails };
                Fall { node: *node, cause, point, exposure, down: Span(prng.within(1_000..DOWN_MAX_US)) }
            });
            let falls = falls.collect();
            let at = at + Span(again * prng.within(1_000..2 * DOWN_MAX_US));
            troubles.push((at, Trouble::Fall(falls)));
        }
    }
    troubles.retain(|(at, trouble)| *at < heal_at || !matches!(trouble, Trouble::Fall(_)));
}

/// The points of a crash; most crashes come by surprise.
const POINTS: [Point; 8] = [
    Point::Anywhere,
    Point::Anywhere,
    Point::Anywhere,
    Point::BeforeAppend,
    Point::BeforeSync,
    Point::BeforeEffects,
    Point::BetweenEffects,
    Point::Snapshot,
];
