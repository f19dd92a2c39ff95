//! Faults that somebody at the terminal causes during a run (`--watch`): they are carried out, noted, followed and
//! summed up as planned ones are, with the time at which they came.
//!
//! A fault that lasts does so until the same key ends it, or the load ends. A node killed by hand may be started again
//! by hand, so transactions that are open there wait for it until the load ends.

use std::time::Duration;

use wire::ids::NodeId;
use wire::link_rule::LinkRule;

use super::carry_out::Place;
use super::faults::{Edge, Fault, Kind, Part, Sides, Spell};
use super::ongoing::Run;

/// What is to be done to a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ByHand {
    /// It stands still; or goes on, if it did by hand.
    Pause(NodeId),
    /// Its three processes are killed.
    Kill(NodeId),
    /// It starts from its journal.
    Restart(NodeId),
    /// All its links are cut, in both directions; or heal, if they were by hand.
    Cut(NodeId),
}

/// How long something lasts that ends by hand, if the load does not end it.
const UNTIL_ENDED: Duration = Duration::from_secs(24 * 60 * 60);

impl Run<'_> {
    pub(super) fn by_hand(&mut self, deed: ByHand) {
        let at = Duration::from_millis(self.elapsed().as_millis() as u64);
        let left = self.plan.load.duration.map_or(UNTIL_ENDED, |duration| duration.saturating_sub(at));
        let spell = |spell| Kind::Spell { spell, lasts: left };
        let kind = match deed {
            ByHand::Pause(node) => spell(Spell::Pause { part: Part::Whole, nodes: vec![node] }),
            ByHand::Kill(node) => Kind::Kill { part: Part::Whole, nodes: vec![node] },
            ByHand::Restart(node) => Kind::Restart { nodes: vec![node] },
            ByHand::Cut(node) => {
                let others = self.prepared.committee.nodes().filter(|other| *other != node).collect();
                let sides = Sides::Between(vec![vec![node], others]);
                spell(Spell::Links { sides, rule: LinkRule::Cut })
            }
        };
        let fault = Fault { at, kind };
        if let Some(open) = self.carried.by_hand.iter().position(|open| is_same(open, &fault)) {
            let fault = self.carried.by_hand.remove(open);
            self.carry_out_edge(Edge::End, Place::ByHand, &fault);
            return;
        }
        if let Some(why) = self.why_not(&fault) {
            self.progress.print(&format!("  {}: {why}", fault.name()));
            return;
        }
        if fault.until().is_some() {
            self.carried.by_hand.push(fault.clone());
        }
        self.carry_out_edge(Edge::Begin, Place::ByHand, &fault);
    }

    /// Why it makes no sense now, in words that follow its name.
    fn why_not(&self, fault: &Fault) -> Option<String> {
        let node = *fault.nodes().first()?;
        let is_up = self.fleet.up().contains(&node);
        let held = self.recoveries.outcomes().find_map(|outcome| {
            let Kind::Spell { spell, .. } = &outcome.fault.kind else { return None };
            let nodes = match spell {
                Spell::Pause { nodes, .. } | Spell::SlowNode { nodes, .. } | Spell::DiskFull { nodes } => {
                    nodes
                }
                Spell::Links { .. } => return None,
            };
            (outcome.until.is_none() && nodes.contains(&node)).then(|| outcome.fault.to_string())
        });
        match &fault.kind {
            Kind::Spell { spell: Spell::Links { sides, .. }, .. } if is_up => {
                let has_rule = sides.links().iter().any(|link| self.carried.rules.contains_key(link));
                has_rule.then(|| format!("a link of node {node} has a rule already"))
            }
            _ if self.liars.contains_key(&node) => {
                Some(format!("node {node} is Byzantine, and its processes are left alone"))
            }
            Kind::Restart { .. } if held.is_none() => None,
            _ if !is_up => Some(format!("node {node} is down")),
            _ => held.map(|fault| format!("node {node} is held by {fault}")),
        }
    }

    /// The load has ended: ends what still lasts, and gives up nodes that nobody has started again.
    pub(super) fn end_by_hand(&mut self) {
        for fault in std::mem::take(&mut self.carried.by_hand) {
            self.carry_out_edge(Edge::End, Place::ByHand, &fault);
        }
        let up = self.fleet.up();
        for (node, how) in std::mem::take(&mut self.carried.killed_by_hand) {
            if !up.contains(&node) {
                self.note_gone(node, how);
            }
        }
    }

    /// Faults of the plan that come later than this after the load began, the next one first.
    pub(crate) fn to_come(&self, elapsed: Duration) -> Vec<(Duration, String)> {
        let later = self.plan.faults.iter().filter(|fault| fault.at > elapsed);
        later.map(|fault| (fault.at, fault.to_string())).collect()
    }

    /// What holds a node now, by plan or by hand, in a word each.
    pub(crate) fn troubles(&self, node: NodeId) -> Vec<String> {
        let open = self.recoveries.outcomes().filter(|outcome| outcome.until.is_none());
        let of = open.filter_map(|outcome| {
            let Kind::Spell { spell, .. } = &outcome.fault.kind else { return None };
            let (nodes, word) = match spell {
                Spell::Pause { nodes, .. } => (nodes.clone(), outcome.fault.name()),
                Spell::SlowNode { nodes, .. } | Spell::DiskFull { nodes } => {
                    (nodes.clone(), outcome.fault.name())
                }
                Spell::Links { sides: Sides::Between(sides), .. } => {
                    // The smaller side is the one that is apart.
                    (sides.iter().min_by_key(|side| side.len())?.clone(), outcome.fault.name())
                }
                Spell::Links { sides: Sides::OneWay(from, _), .. } => (from.clone(), outcome.fault.name()),
            };
            nodes.contains(&node).then(|| word.to_string())
        });
        of.collect()
    }
}

/// Whether the same key has begun it.
fn is_same(open: &Fault, fault: &Fault) -> bool {
    match (&open.kind, &fault.kind) {
        (Kind::Spell { spell: one, .. }, Kind::Spell { spell: other, .. }) => one == other,
        _ => false,
    }
}
