//! A simulation before its first event: keys, cores, the adversary's hands, and what the plan schedules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ::wire::committee::{Committee, Protocol};
use ::wire::ids::{Index, NodeId, ShardId};
use ::wire::limits::ROUNDS_UNEXECUTED_MAX;

use crate::core::{Core, CoreConfig};
use crate::crypto::counting::CountingSuite;
use crate::crypto::deal::{deal_committee, seeded_entropy};
use crate::crypto::hash_suite::HashSuite;
use crate::crypto::real::RealSuite;
use crate::crypto::suite::Suite;
use crate::journal::{Durability, Opening, Start};
use crate::lane::{HistoryPlace, LaneSettings};
use crate::member::Member;
use crate::pending::{MempoolLimits, Share};
use crate::prng::Prng;
use crate::proposal::Rules;
use crate::sim::adversary::{Adversary, Hands};
use crate::sim::checker::Checker;
use crate::sim::cost::Cost;
use crate::sim::links::Links;
use crate::sim::messages::Disks;
use crate::sim::plan::{Crashes, Plan, Scenario, SuiteKind};
use crate::sim::run::journal::{HELD_MAX, Journal};
use crate::sim::run::shadow::Shadow;
use crate::sim::run::{Happening, Node, PING_EVERY, Simulation, Stage, TURN_EVERY, Transport};
use crate::sim::trace::Trace;
use crate::sim::workload::{self, Habit, Workload};
use crate::time::{Span, Time};
use crate::trace::Tracing;

type Suites = BTreeMap<NodeId, Arc<dyn Suite>>;

impl<'a> Simulation<'a> {
    pub(super) fn new(scenario: &Scenario, transport: &'a mut dyn Transport, trace: Trace) -> Simulation<'a> {
        let mut prng = scenario.prng();
        let plan = Plan::draw(scenario, &mut prng.fork());
        let (committee, suites) = deal(scenario);
        let shards = || (0..scenario.shards).map(ShardId);
        let members: Vec<NodeId> = shards().flat_map(|shard| committee.members(shard)).collect();
        let Members { nodes, verified, openings, shadow } =
            start(scenario, &plan, &committee, &suites, &members, &mut prng);
        let journal = |(node, opening): (&NodeId, &Opening)| {
            let seed = scenario.prng().next_u64() ^ u64::from(node.0);
            (*node, Journal::begin(opening.clone(), Prng::new(seed)))
        };
        let journals = scenario.crashes.durability().map(|_| openings.iter().map(journal).collect());
        let honest: BTreeSet<NodeId> =
            members.iter().copied().filter(|node| !plan.byzantine.contains(node)).collect();
        let foreign: Vec<Arc<dyn Suite>> = suites
            .iter()
            .filter(|(node, _)| !members.contains(node))
            .map(|(_, suite)| suite.clone())
            .collect();
        let observers: Vec<Member> = shards()
            .map(|shard| committee.node_at(shard, Index(0)))
            .map(|node| Member::new(committee.clone(), suites[&node].clone(), node))
            .collect();
        let disks = if scenario.adversary.needs_calm() { Disks::Sound } else { Disks::Worn };
        let rules: Vec<Arc<Rules>> = observers.iter().map(|member| Arc::new(Rules::new(member))).collect();
        let (mut hands, mut behaviours) = (Vec::new(), Vec::new());
        for shard in shards() {
            let here = plan.byzantine.iter().filter(|node| committee.shard_of(**node) == shard);
            let owned = here.map(|node| (*node, suites[node].clone())).collect();
            let mut own =
                Hands::new(rules[usize::from(shard.0)].clone(), prng.fork(), owned, foreign.clone());
            behaviours.push(scenario.adversary.behaviour(&mut own));
            hands.push(own);
        }
        let held_max = scenario.crashes.durability().map_or(Span(0), |_| HELD_MAX);
        let resubmits = scenario.adversary == Adversary::Resubmitting;
        let habit = if resubmits { Habit::Resubmitting } else { Habit::Usual };
        Simulation {
            scenario: *scenario,
            now: Time(0),
            stage: Stage::Troubled,
            net: scheduled(&plan, &mut prng),
            nodes,
            wakeups: BTreeMap::new(),
            spins: 0,
            decided: BTreeMap::new(),
            hands,
            behaviours,
            twins: Vec::new(),
            down: BTreeMap::new(),
            coins: BTreeMap::new(),
            verified,
            openings,
            journals: journals.unwrap_or_default(),
            observers: observers.iter().map(|member| member.suite.clone()).collect(),
            workload: Workload::new(&mut prng, committee.clone(), scenario.shards, habit),
            checker: Checker::new(rules, honest, disks),
            cost: Cost::new(scenario.adversary, plan.byzantine.len(), held_max),
            shadow,
            transport,
            trace,
            frames: 0,
            faults: BTreeMap::new(),
            crashes: BTreeMap::new(),
            jumps: 0,
            prng,
            plan,
            committee,
        }
    }
}

/// All members at the beginning.
struct Members {
    /// In the order of their ids.
    nodes: Vec<Node>,
    /// The suites of the honest ones, and what their cores are built from.
    verified: BTreeMap<NodeId, Arc<CountingSuite>>,
    openings: BTreeMap<NodeId, Opening>,
    /// The shadow of one of these.
    shadow: Option<Shadow>,
}

fn start(
    scenario: &Scenario,
    plan: &Plan,
    committee: &Arc<Committee>,
    suites: &Suites,
    members: &[NodeId],
    prng: &mut Prng,
) -> Members {
    let mut lanes = LaneSettings {
        pipeline: *prng.pick(&[1, 2, 8]).expect("the list is not empty"),
        ..LaneSettings::default()
    };
    // Members that keep few rounds have them in memory: few of their seeds meet a false piece.
    if scenario.seed % 2 == 1 && !scenario.adversary.shortens_history() {
        lanes.history_place = HistoryPlace::Journal;
    }
    if scenario.adversary.shortens_history() {
        // Members that take part in a round may not have executed the last sixteen.
        lanes.history_rounds_max = ROUNDS_UNEXECUTED_MAX + prng.clone().fork().below(16);
    }
    let batch = *prng.pick(&[1, 3, 100]).expect("the list is not empty");
    let config = |node: NodeId| {
        let (committee, tracing) = (committee.clone(), Tracing::Off);
        let hash_seed = scenario.seed.wrapping_add(u64::from(node.0));
        // Mostly the default; the others must do no harm either.
        let share = match scenario.seed % 8 {
            6 => Share::All,
            7 => Share::None,
            _ => Share::Backup,
        };
        let mempool = MempoolLimits { share, ..MempoolLimits::default() };
        CoreConfig { committee, node, lanes, mempool, batch, hash_seed, tracing }
    };
    let core = |node: NodeId, suite: Arc<dyn Suite>| Core::new(config(node), suite);
    let mut verified = BTreeMap::new();
    let nodes = members.iter().map(|node| {
        if plan.byzantine.contains(node) {
            let cores = 0..scenario.adversary.cores_a_node();
            Node::Byzantine(cores.map(|_| core(*node, suites[node].clone())).collect())
        } else {
            let counting = Arc::new(CountingSuite::new(suites[node].clone()));
            verified.insert(*node, counting.clone());
            Node::Honest(Box::new(core(*node, counting)))
        }
    });
    let nodes = nodes.collect();
    // A restart needs no shadow: it does everything again from the bytes of a journal.
    let first = verified.keys().next().filter(|_| scenario.crashes == Crashes::Off);
    let shadow = first.and_then(|node| Shadow::of(scenario.seed, &config(*node), suites[node].clone()));
    let durability = scenario.crashes.durability().unwrap_or(Durability::Process);
    let begun = Start { number: 1, boot: "0".into(), durability, unix_ms: 0, now: Time(0) };
    let opening = |node: &NodeId| (*node, Opening::of("simulation".into(), &config(*node), begun.clone()));
    let openings = verified.keys().map(opening).collect();
    Members { nodes, verified, openings, shadow }
}

/// The network with everything in it that happens at a fixed time.
fn scheduled(plan: &Plan, prng: &mut Prng) -> Links<Happening> {
    let mut net = Links::new(prng.fork(), plan.order, plan.delays.clone());
    for (at, trouble) in &plan.troubles {
        net.schedule(*at, Happening::Trouble(trouble.clone()));
    }
    net.schedule(Time(0), Happening::Submit);
    net.schedule(Time(PING_EVERY.0), Happening::Pings);
    net.schedule(plan.heal_at, Happening::Heal);
    if !plan.byzantine.is_empty() {
        net.schedule(Time(TURN_EVERY.0), Happening::Turn);
    }
    net
}

/// Keys of a scenario's members.
fn deal(scenario: &Scenario) -> (Arc<Committee>, Suites) {
    let strangers = if scenario.adversary == Adversary::WrongShard { 1 } else { 0 };
    let shards = scenario.shards + strangers;
    let coins = workload::genesis_coins(usize::from(scenario.nodes), scenario.shards);
    let protocol = Protocol {
        proposal_bytes_max: 16 << 10,
        transaction_bytes_max: 2 << 10,
        genesis_coins: coins.intra + coins.cross,
        ..Protocol::default()
    };
    let entropy = seeded_entropy(scenario.seed);
    let (committee, secrets) = deal_committee(scenario.nodes, shards, protocol, entropy);
    let suites = secrets.iter().map(|secrets| {
        let suite: Arc<dyn Suite> = match scenario.suite {
            SuiteKind::Real => Arc::new(RealSuite::of(&committee, secrets)),
            SuiteKind::StandIn => Arc::new(HashSuite::new(&committee, secrets.id, scenario.seed)),
        };
        (secrets.id, suite)
    });
    let suites = suites.collect();
    (Arc::new(committee), suites)
}
