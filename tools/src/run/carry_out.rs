//! How planned faults are carried out: each begins and ends at its time, is printed, and is noted in the logs of the
//! nodes that it strikes.
//!
//! A node that is down by plan, or that ended because it could not write, did not end unasked. A fault that cannot be
//! carried out counts as if one had, since the run was not what the plan says. Faults that last are ended when the load
//! ends or is interrupted, so that the nodes can wind up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wire::ids::{NodeId, ShardId};
use wire::link_rule::LinkRule;

use super::diagnosis::last_words;
use super::fault_log;
use super::faults::{Edge, Fault, Kind, Link, Part, Spell, Step};
use super::fleet::{Deed, UnaskedEnd};
use super::links::DirectedRule;
use super::ongoing::Run;
use super::recovery::Start;

/// How long nodes about to be killed may take to report their counters.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Faults in force, as far as their end or the end of the run depends on them.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// Nodes that cannot write: their end is expected.
    full: BTreeSet<NodeId>,
    /// The rules of links that hold now.
    pub(super) rules: BTreeMap<Link, LinkRule>,
    /// What was begun by hand and lasts.
    pub(super) by_hand: Vec<Fault>,
    /// Nodes that were killed by hand, and how, in words.
    pub(super) killed_by_hand: BTreeMap<NodeId, String>,
}

/// Where a fault comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// It has this place in the plan.
    Plan(usize),
    ByHand,
}

impl Run<'_> {
    /// Prints, before the load begins, which shards the plan stops for good or leaves without guarantees.
    pub(super) fn warn_of_the_plan(&self) {
        let (out, liars) = (self.plan.out_for_good(), &self.liars);
        let committee = &self.prepared.committee;
        let f = committee.f();
        for shard in (0..committee.shards()).map(ShardId) {
            let whose = if committee.shards() > 1 { format!(" of shard {shard}") } else { String::new() };
            let lying = committee.members(shard).filter(|node| liars.contains_key(node)).count();
            let gone = committee.members(shard).filter(|node| out.contains(node)).count();
            if lying > f {
                self.progress.print(&format!(
                    "the plan makes {lying} nodes{whose} Byzantine, more than f = {f}: nothing is guaranteed there, \
                     neither agreement nor that anything is committed"
                ));
            } else if gone > 0 && gone + lying > f {
                let beside = if lying > 0 { format!(" and makes {lying} Byzantine") } else { String::new() };
                self.progress.print(&format!(
                    "the plan takes {gone} nodes{whose} out for good{beside}, more than f = {f}: after that nothing can \
                     be committed there"
                ));
            }
        }
    }

    /// Does what the plan has for now.
    pub(super) fn carry_out(&mut self, step: Step) {
        let fault = self.plan.faults[step.fault].clone();
        self.carry_out_edge(step.edge, Place::Plan(step.fault), &fault);
    }

    /// Begins or ends a fault.
    pub(super) fn carry_out_edge(&mut self, edge: Edge, place: Place, fault: &Fault) {
        let text = match edge {
            Edge::Begin => format!("fault: {fault}"),
            Edge::End => format!("end of fault: {fault}"),
        };
        self.progress.print(&format!("  {text}"));
        if let Err(error) = fault_log::note(&self.plan.directories, &fault.nodes(), &text) {
            self.unplanned_ends.push(error);
        }
        let done = match edge {
            Edge::Begin => self.begin_fault(place, fault),
            Edge::End => self.end_fault(fault),
        };
        // When a run is interrupted, stopping the nodes ends what is left.
        if let Err(error) = done
            && !self.interrupted
        {
            // The plan was not carried out, which the summary must show.
            self.unplanned_ends.push(format!("{fault} could not be carried out: {error}"));
            let up = self.fleet.up();
            for node in fault.nodes().into_iter().filter(|node| !up.contains(node)) {
                let words = last_words(&self.plan.directories, node);
                self.note_gone(node, format!("is down, since a planned fault failed{words}"));
            }
        }
    }

    /// Ends what still lasts when the load has ended; `pending` are the steps that have not come, the last one first.
    pub(super) fn carry_out_rest(&mut self, pending: &[Step]) {
        for step in pending.iter().rev() {
            let begins = pending.iter().any(|other| other.fault == step.fault && other.edge == Edge::Begin);
            match step.edge {
                Edge::End if !begins => self.carry_out(*step),
                Edge::Begin if !self.interrupted => {
                    let fault = &self.plan.faults[step.fault];
                    self.unplanned_ends.push(format!("{fault} did not come, since the load had ended"));
                }
                Edge::Begin | Edge::End => {}
            }
        }
    }

    fn begin_fault(&mut self, place: Place, fault: &Fault) -> Result<(), String> {
        let nodes = fault.nodes();
        let up = self.fleet.up();
        let asked: Vec<NodeId> = nodes.iter().copied().filter(|node| up.contains(node)).collect();
        if fault.ends_processes() && !asked.is_empty() {
            // Their counters may be lost with them.
            self.offering.statuses(&asked, LAST_WORDS);
        }
        let at = self.elapsed();
        self.recoveries.begin(fault, at);
        match &fault.kind {
            Kind::Kill { part, .. } => {
                self.fleet.apply(Deed::Kill(*part), &nodes)?;
                if fault.takes_down() {
                    self.note_down(place, fault, &nodes);
                } else {
                    self.note_over(fault, Start::None);
                }
                Ok(())
            }
            Kind::Restart { .. } => self.restart(fault, &nodes),
            // They have been that since they were started.
            Kind::Byzantine { .. } => Ok(()),
            Kind::Spell { spell: Spell::Pause { part, .. }, .. } => {
                self.fleet.apply(Deed::Pause(*part), &nodes)
            }
            Kind::Spell { spell: Spell::SlowNode { percent, .. }, lasts } => {
                self.fleet.apply(Deed::Throttle { percent: *percent, lasts: *lasts }, &nodes)
            }
            Kind::Spell { spell: Spell::DiskFull { .. }, .. } => {
                self.carried.full.extend(&nodes);
                self.fleet.apply(Deed::FillDisk, &nodes)
            }
            Kind::Spell { spell: Spell::Links { sides, rule }, .. } => {
                self.carried.rules.extend(sides.links().into_iter().map(|link| (link, *rule)));
                self.set_links(sides.links(), *rule)
            }
        }
    }

    fn end_fault(&mut self, fault: &Fault) -> Result<(), String> {
        let Kind::Spell { spell, .. } = &fault.kind else { return Ok(()) };
        match spell {
            Spell::Pause { part, nodes } => {
                // A planned crash may have come during a pause by hand.
                let up = self.fleet.up();
                let nodes: Vec<NodeId> = nodes.iter().copied().filter(|node| up.contains(node)).collect();
                self.fleet.apply(Deed::Continue(*part), &nodes)?;
            }
            Spell::SlowNode { nodes, .. } => self.fleet.apply(Deed::Unthrottle, nodes)?,
            Spell::DiskFull { nodes } => {
                self.note_ends();
                self.carried.full.retain(|node| !nodes.contains(node));
                // As a rule they have ended.
                return if self.interrupted { Ok(()) } else { self.restart(fault, nodes) };
            }
            Spell::Links { sides, .. } => {
                let links = sides.links();
                self.carried.rules.retain(|link, _| !links.contains(link));
                self.set_links(links, LinkRule::None)?;
            }
        }
        self.note_over(fault, Start::None);
        Ok(())
    }

    /// Starts nodes from their journals, which ends a fault.
    fn restart(&mut self, fault: &Fault, nodes: &[NodeId]) -> Result<(), String> {
        self.fleet.apply(Deed::Restart, nodes)?;
        let at = self.elapsed();
        for node in nodes {
            if self.ends.remove(node).is_some() {
                self.recoveries.back(at);
            }
        }
        // A node begins without rules, whatever held before.
        let rules = self.carried.rules.iter().filter(|((from, _), _)| nodes.contains(from));
        let rules: Vec<DirectedRule> =
            rules.map(|((from, to), rule)| DirectedRule { from: *from, to: *to, rule: *rule }).collect();
        self.fleet.set_links(&rules)?;
        self.note_over(fault, Start::Anew);
        Ok(())
    }

    fn set_links(&mut self, links: BTreeSet<Link>, rule: LinkRule) -> Result<(), String> {
        let rules = links.into_iter().map(|(from, to)| DirectedRule { from, to, rule });
        self.fleet.set_links(&rules.collect::<Vec<_>>())
    }

    fn note_over(&mut self, fault: &Fault, start: Start) {
        let at = self.elapsed();
        self.recoveries.end(fault, at, start);
    }

    /// Nodes are down as planned.
    fn note_down(&mut self, place: Place, fault: &Fault, nodes: &[NodeId]) {
        let what = match fault.kind {
            Kind::Kill { part: Part::Core, .. } => "lost its core",
            _ => "was crashed",
        };
        for node in nodes {
            let whose = if place == Place::ByHand { "by hand" } else { "as planned" };
            let how = format!("{what} {whose} at {} s", fault.at.as_secs_f64());
            let comes_back = match place {
                Place::Plan(place) => self.plan.faults[place + 1..]
                    .iter()
                    .any(|later| matches!(&later.kind, Kind::Restart { nodes } if nodes.contains(node))),
                Place::ByHand => {
                    self.carried.killed_by_hand.insert(*node, how.clone());
                    true
                }
            };
            if comes_back {
                // What is open there waits for it, as for a node that is silent.
                self.note_down_for_now(*node, how);
            } else {
                self.note_gone(*node, how);
            }
        }
    }

    fn note_down_for_now(&mut self, node: NodeId, how: String) {
        let at = self.elapsed();
        self.recoveries.gone(at);
        self.ends.insert(node, how);
    }

    /// Takes note of the nodes that ended since this was last called.
    pub(super) fn note_ends(&mut self) {
        for end in self.fleet.observe() {
            let UnaskedEnd { node, how, .. } = &end;
            if self.carried.full.contains(node) {
                // Its last words are of before: it could not write why.
                let how = format!("{how}, as planned, since it could not write");
                self.progress.print(&format!("  node {node} {how}"));
                self.note_down_for_now(*node, how);
            } else {
                self.progress.print(&end.to_string());
                self.unplanned_ends.push(end.to_string());
                self.note_gone(end.node, end.how);
            }
        }
    }
}
