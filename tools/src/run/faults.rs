//! `--faults`: what fails how, when, and for how long, in seconds since load began.
//!
//! [`list`] reads the list, repeats what is to be repeated and draws random faults ([`random`]). [`check`] refuses
//! faults that cannot be carried out beside each other. The result is a plan: faults in order of time, which [`steps`]
//! turns into what is to be done when, the beginning of each fault and the end of those that last.

mod check;
mod list;
mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use bft::sim::Conduct;
use wire::ids::NodeId;
use wire::link_rule::LinkRule;
use wire::wan::{Rate, Time};

use crate::flags::seconds_text;
use crate::ids;

pub(crate) use self::list::List;

/// Which processes of a node a fault is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Part {
    /// All three.
    Whole,
    /// `node`, the parent of the other two.
    Core,
    /// `net_client`.
    Client,
    /// `net_server`.
    Server,
}

impl Part {
    /// The program of a single process.
    pub(crate) fn program(self) -> Option<&'static str> {
        match self {
            Part::Whole => None,
            Part::Core => Some("node"),
            Part::Client => Some("net_client"),
            Part::Server => Some("net_server"),
        }
    }
}

/// One planned fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    /// When it begins, since load began.
    pub(crate) at: Duration,
    pub(crate) kind: Kind,
}

/// What fails.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Processes are killed. Without its core a node is down until it is restarted; a child is restarted by the core.
    Kill { part: Part, nodes: Vec<NodeId> },
    /// The nodes are started, from their journals if they have any; before that they are killed, if they run.
    Restart { nodes: Vec<NodeId> },
    /// The nodes attack the others, from their start to their end.
    Byzantine { conduct: Conduct, nodes: Vec<NodeId> },
    /// Something that lasts.
    Spell { spell: Spell, lasts: Duration },
}

/// What fails for a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Spell {
    /// Processes stand still.
    Pause { part: Part, nodes: Vec<NodeId> },
    /// All processes of the nodes run only so much of the time.
    SlowNode { percent: u8, nodes: Vec<NodeId> },
    /// No process of the nodes can write to a file. A node that notices ends; in the end all are restarted.
    DiskFull { nodes: Vec<NodeId> },
    /// Links between sides.
    Links { sides: Sides, rule: LinkRule },
}

/// Nodes on two or more sides of a border.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Sides {
    /// The links between each two sides, in both directions.
    Between(Vec<Vec<NodeId>>),
    /// The links from the first to the second.
    OneWay(Vec<NodeId>, Vec<NodeId>),
}

/// A directed link.
pub(crate) type Link = (NodeId, NodeId);

impl Sides {
    /// Every link that crosses, sorted.
    pub(crate) fn links(&self) -> BTreeSet<Link> {
        let cross = |from: &[NodeId], to: &[NodeId]| -> Vec<Link> {
            from.iter().flat_map(|from| to.iter().map(|to| (*from, *to))).collect()
        };
        match self {
            Sides::OneWay(from, to) => cross(from, to).into_iter().collect(),
            Sides::Between(sides) => {
                let others = |at: usize| sides.iter().enumerate().filter(move |(other, _)| *other != at);
                let all = sides.iter().enumerate();
                all.flat_map(|(at, from)| others(at).flat_map(move |(_, to)| cross(from, to))).collect()
            }
        }
    }

    /// All nodes on any side.
    fn nodes(&self) -> Vec<NodeId> {
        match self {
            Sides::OneWay(from, to) => [from.as_slice(), to].concat(),
            Sides::Between(sides) => sides.concat(),
        }
    }
}

impl fmt::Display for Sides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sides::OneWay(from, to) => write!(f, "{}>{}", ids::nodes(from), ids::nodes(to)),
            Sides::Between(sides) => {
                let sides: Vec<String> = sides.iter().map(ids::nodes).collect();
                f.write_str(&sides.join("/"))
            }
        }
    }
}

/// A rule as the list of faults has it.
fn rule_text(rule: &LinkRule) -> String {
    match rule {
        LinkRule::None => "none".into(),
        LinkRule::Cut => "cut".into(),
        LinkRule::Slow { delay, bits_per_s: None } => Time(*delay).to_string(),
        LinkRule::Slow { delay: Duration::ZERO, bits_per_s: Some(rate) } => Rate(*rate).to_string(),
        LinkRule::Slow { delay, bits_per_s: Some(rate) } => format!("{}/{}", Time(*delay), Rate(*rate)),
    }
}

impl Fault {
    /// The nodes that it strikes, in the order given; of links, those at either end.
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        match &self.kind {
            Kind::Kill { nodes, .. } | Kind::Restart { nodes } | Kind::Byzantine { nodes, .. } => {
                nodes.clone()
            }
            Kind::Spell { spell, .. } => match spell {
                Spell::Pause { nodes, .. } | Spell::SlowNode { nodes, .. } | Spell::DiskFull { nodes } => {
                    nodes.clone()
                }
                Spell::Links { sides, .. } => sides.nodes(),
            },
        }
    }

    /// When it ends, if it lasts.
    pub(crate) fn until(&self) -> Option<Duration> {
        match self.kind {
            Kind::Spell { lasts, .. } => Some(self.at + lasts),
            Kind::Kill { .. } | Kind::Restart { .. } | Kind::Byzantine { .. } => None,
        }
    }

    /// Whether its nodes are Byzantine.
    pub(crate) fn is_byzantine(&self) -> bool {
        matches!(self.kind, Kind::Byzantine { .. })
    }

    /// Whether its nodes are down from then on, until they are restarted.
    pub(crate) fn takes_down(&self) -> bool {
        matches!(self.kind, Kind::Kill { part: Part::Whole | Part::Core, .. })
    }

    /// Whether it is of links, and leaves all processes alone.
    pub(crate) fn is_of_links(&self) -> bool {
        matches!(self.kind, Kind::Spell { spell: Spell::Links { .. }, .. })
    }

    /// Whether nodes end by it, of which a last report is wanted.
    pub(crate) fn ends_processes(&self) -> bool {
        match &self.kind {
            Kind::Kill { .. } | Kind::Restart { .. } => true,
            Kind::Byzantine { .. } => false,
            Kind::Spell { spell, .. } => matches!(spell, Spell::DiskFull { .. }),
        }
    }

    /// Its name in the list.
    pub(crate) fn name(&self) -> &'static str {
        match &self.kind {
            Kind::Kill { part: Part::Whole, .. } => "crash",
            Kind::Kill { part: Part::Core, .. } => "kill-core",
            Kind::Kill { part: Part::Client, .. } => "kill-client",
            Kind::Kill { part: Part::Server, .. } => "kill-server",
            Kind::Restart { .. } => "restart",
            Kind::Byzantine { .. } => "byzantine",
            Kind::Spell { spell, .. } => match spell {
                Spell::Pause { part: Part::Whole, .. } => "pause",
                Spell::Pause { part: Part::Core, .. } => "pause-core",
                Spell::Pause { part: Part::Client, .. } => "pause-client",
                Spell::Pause { part: Part::Server, .. } => "pause-server",
                Spell::SlowNode { .. } => "slow-node",
                Spell::DiskFull { .. } => "disk-full",
                Spell::Links { rule: LinkRule::Cut, .. } => "partition",
                Spell::Links { .. } => "slow",
            },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.name())?;
        match &self.kind {
            Kind::Byzantine { conduct, nodes } => {
                return write!(f, "{}={}", ids::nodes(nodes), conduct.name());
            }
            Kind::Spell { spell: Spell::Links { sides, rule: LinkRule::Cut }, .. } => write!(f, "{sides}")?,
            Kind::Spell { spell: Spell::Links { sides, rule }, .. } => {
                write!(f, "{sides}={}", rule_text(rule))?
            }
            Kind::Spell { spell: Spell::SlowNode { percent, nodes }, .. } => {
                write!(f, "{}={percent}%", ids::nodes(nodes))?;
            }
            _ => f.write_str(&ids::nodes(&self.nodes()))?,
        }
        write!(f, "@{}", seconds_text(self.at))?;
        match &self.kind {
            Kind::Spell { lasts, .. } => write!(f, "+{}", seconds_text(*lasts)),
            Kind::Kill { .. } | Kind::Restart { .. } | Kind::Byzantine { .. } => Ok(()),
        }
    }
}

/// An edge of a fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Edge {
    End,
    Begin,
}

/// Something to be done at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    pub(crate) at: Duration,
    /// The place of the fault in the plan.
    pub(crate) fault: usize,
    pub(crate) edge: Edge,
}

/// What a plan does when, in order of time; at one time ends come first, so that a fault may follow on another.
pub(crate) fn steps(plan: &[Fault]) -> Vec<Step> {
    let of = |(at, fault): (usize, &Fault)| {
        let begin = Step { at: fault.at, fault: at, edge: Edge::Begin };
        let end = fault.until().map(|until| Step { at: until, fault: at, edge: Edge::End });
        [Some(begin), end].into_iter().flatten().collect::<Vec<_>>()
    };
    let mut steps: Vec<Step> = plan.iter().enumerate().flat_map(of).collect();
    steps.sort_by_key(|step| (step.at, step.edge));
    steps
}

/// The nodes that a plan takes down and does not start again.
pub(crate) fn down_for_good(plan: &[Fault]) -> BTreeSet<NodeId> {
    let mut down = BTreeSet::new();
    for fault in plan {
        match &fault.kind {
            _ if fault.takes_down() => down.extend(fault.nodes()),
            Kind::Restart { nodes } => down.retain(|node| !nodes.contains(node)),
            Kind::Kill { .. } | Kind::Byzantine { .. } | Kind::Spell { .. } => {}
        }
    }
    down
}

/// The Byzantine nodes of a plan, and how they behave.
pub(crate) fn byzantine(plan: &[Fault]) -> BTreeMap<NodeId, Conduct> {
    let mut all = BTreeMap::new();
    for fault in plan {
        if let Kind::Byzantine { conduct, nodes } = &fault.kind {
            all.extend(nodes.iter().map(|node| (*node, *conduct)));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_cross_a_border_are_those_between_its_sides() {
        let link = |from, to| (NodeId(from), NodeId(to));
        let nodes = |ids: &[u16]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
        let two = Sides::Between(vec![nodes(&[0, 1]), nodes(&[3])]);
        let both = [link(0, 3), link(1, 3), link(3, 0), link(3, 1)];
        assert_eq!(two.links(), BTreeSet::from(both));
        let way = Sides::OneWay(nodes(&[0, 1]), nodes(&[3]));
        assert_eq!(way.links(), BTreeSet::from([link(0, 3), link(1, 3)]));
        let three = Sides::Between(vec![nodes(&[0]), nodes(&[1]), nodes(&[2])]);
        assert_eq!(three.links().len(), 6);
    }

    #[test]
    fn steps_come_in_order_of_time_and_ends_before_beginnings() {
        let plan = list::tests::plan("pause:2@3+2,crash:2@5,pause:1@1+9", 4).unwrap();
        let texts: Vec<String> = plan.iter().map(Fault::to_string).collect();
        assert_eq!(texts, ["pause:1@1+9", "pause:2@3+2", "crash:2@5"]);
        let order: Vec<_> =
            steps(&plan).iter().map(|step| (step.at.as_secs(), step.fault, step.edge)).collect();
        let (begin, end) = (Edge::Begin, Edge::End);
        assert_eq!(order, [(1, 0, begin), (3, 1, begin), (5, 1, end), (5, 2, begin), (10, 0, end)]);
    }

    #[test]
    fn only_what_is_not_restarted_stays_down() {
        let plan =
            list::tests::plan("crash:0-2@1,restart:1@2,kill-core:3@2,restart:3@3,crash:3@4", 7).unwrap();
        assert_eq!(down_for_good(&plan), BTreeSet::from([0, 2, 3].map(NodeId)));
    }
}
