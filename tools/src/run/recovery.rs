//! How nodes and testbed recover from each fault: how many nodes are up, when those it struck commit again, and when
//! all are level.
//!
//! From the end of a fault on, a run often requests statuses until all nodes are level: the figures are right within
//! [`LOOK_EVERY`] and the time that a status takes. A fault that ends at once, such as the kill of a child, is followed
//! from its beginning; a crash ends with the restart.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use wire::ids::{NodeId, Round};

use super::faults::{Fault, Kind};
use crate::json::Json;
use crate::load::Shared;

/// How often statuses are requested while nodes are not level after a fault.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The recovery of a node after a fault. Times after `at` are seconds since then.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Recovery {
    pub(crate) node: NodeId,
    /// The fault, as the plan names it.
    pub(crate) fault: String,
    pub(crate) start: Start,
    /// When the fault was over, since the load began, seconds.
    pub(crate) at_s: f64,
    /// When it first answered: the replay of one that was restarted had ended.
    pub(crate) answered_s: Option<f64>,
    /// When it had executed a block that it had not when it first answered.
    pub(crate) first_commit_s: Option<f64>,
    /// When it was level with its shard: it had committed again, and this status and the next found it level.
    pub(crate) level_s: Option<f64>,
}

/// How a node goes on after a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Start {
    /// From its journal, in new processes.
    Anew,
    /// Where it stood.
    None,
}

/// A fault that was carried out. Times are since the load began.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Outcome {
    pub(crate) fault: Fault,
    pub(crate) at: Duration,
    /// When it was over; of nodes that were taken down: when all were started again.
    pub(crate) until: Option<Duration>,
    /// Seconds from then until each node that it struck had committed again.
    pub(crate) first_commit_s: Option<f64>,
    /// Seconds from then until all nodes that no other fault held were level.
    pub(crate) level_s: Option<f64>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Recoveries {
    /// Byzantine nodes, whose recovery is nobody's concern.
    liars: BTreeSet<NodeId>,
    nodes: Vec<Followed>,
    faults: Vec<FollowedFault>,
    last_look: Option<Instant>,
    /// When nodes went, and when some came back, since the load began.
    gone_at: Vec<Duration>,
    back_at: Vec<Duration>,
}

/// A node after a fault.
#[derive(Debug)]
struct Followed {
    recovery: Recovery,
    since: Instant,
    /// What it had executed when it first answered, once it has.
    from: Option<Round>,
    /// Since when every status has found it level, seconds since the fault's end.
    seems_level_s: Option<f64>,
    /// When the last status came that was looked at.
    looked_at: Instant,
    /// Whether another fault has struck it since.
    is_over: bool,
}

/// A fault, in force or over.
#[derive(Debug)]
struct FollowedFault {
    outcome: Outcome,
    /// The nodes that it still holds.
    holds: BTreeSet<NodeId>,
    /// The end, once it is over.
    ended: Option<Ended>,
}

#[derive(Debug)]
struct Ended {
    since: Instant,
    /// Its nodes in [`Recoveries::nodes`].
    nodes: Vec<usize>,
    seems_level_s: Option<f64>,
    looked_at: Instant,
    /// Whether another fault began before all nodes were level.
    is_over: bool,
}

impl Recoveries {
    /// Of a run with these Byzantine nodes.
    pub(super) fn beside(liars: BTreeSet<NodeId>) -> Recoveries {
        Recoveries { liars, ..Recoveries::default() }
    }

    /// The nodes that a fault strikes and that may recover from it.
    fn struck(&self, fault: &Fault) -> Vec<NodeId> {
        fault.nodes().into_iter().filter(|node| !self.liars.contains(node)).collect()
    }

    /// A node is gone, for good or until it is restarted.
    pub(super) fn gone(&mut self, at: Duration) {
        self.gone_at.push(at);
    }

    /// A node that was gone is started again.
    pub(super) fn back(&mut self, at: Duration) {
        self.back_at.push(at);
    }

    /// How many of `nodes` nodes were up at a moment.
    pub(super) fn nodes_up(&self, nodes: u16, at: Duration) -> usize {
        let before = |moments: &[Duration]| moments.iter().filter(|moment| **moment < at).count();
        usize::from(nodes) + before(&self.back_at) - before(&self.gone_at)
    }

    /// A fault begins. From now on no recovery from an earlier one can be told from what this one causes.
    pub(super) fn begin(&mut self, fault: &Fault, at: Duration) {
        let struck = self.struck(fault);
        let processes = !fault.is_of_links();
        for followed in self.nodes.iter_mut().filter(|one| processes && struck.contains(&one.recovery.node)) {
            followed.is_over = true;
        }
        for ended in self.faults.iter_mut().filter_map(|fault| fault.ended.as_mut()) {
            ended.is_over = true;
        }
        let outcome = Outcome { fault: fault.clone(), at, until: None, first_commit_s: None, level_s: None };
        self.faults.push(FollowedFault { outcome, holds: struck.into_iter().collect(), ended: None });
    }

    /// This fault is over, and if it is a restart, so are those that took its nodes down.
    pub(super) fn end(&mut self, fault: &Fault, at: Duration, start: Start) {
        let since = Instant::now();
        let struck = self.struck(fault);
        for node in &struck {
            let (at_s, fault) = (at.as_secs_f64(), fault.to_string());
            let recovery = Recovery {
                node: *node,
                fault,
                start,
                at_s,
                answered_s: None,
                first_commit_s: None,
                level_s: None,
            };
            let followed = Followed {
                recovery,
                since,
                from: None,
                seems_level_s: None,
                looked_at: since,
                is_over: false,
            };
            self.nodes.push(followed);
        }
        let nodes = &self.nodes;
        let restarts = matches!(fault.kind, Kind::Restart { .. });
        let open = self.faults.iter_mut().filter(|one| one.ended.is_none());
        for one in
            open.filter(|one| one.outcome.fault == *fault || restarts && one.outcome.fault.takes_down())
        {
            one.holds.retain(|node| !struck.contains(node));
            if one.holds.is_empty() {
                one.outcome.until = Some(at);
                let last = |node: &NodeId| nodes.iter().rposition(|one| one.recovery.node == *node);
                let nodes = one.outcome.fault.nodes().iter().filter_map(last).collect();
                one.ended =
                    Some(Ended { since, nodes, seems_level_s: None, looked_at: since, is_over: false });
            }
        }
    }

    /// Whether statuses are due for nodes that are not level yet.
    pub(super) fn is_due(&mut self) -> bool {
        let is_due = self.last_look.is_none_or(|last| last.elapsed() >= LOOK_EVERY) && self.are_open();
        if is_due {
            self.last_look = Some(Instant::now());
        }
        is_due
    }

    /// Whether nodes may still become level after a fault that is over.
    pub(super) fn are_open(&self) -> bool {
        self.nodes.iter().any(Followed::is_open) || self.faults.iter().any(FollowedFault::is_open)
    }

    /// Looks at the last statuses of the nodes that are up, and returns a line for each node or fault that has
    /// recovered.
    pub(super) fn look(&mut self, shared: &Shared, up: &[NodeId]) -> Vec<String> {
        let mut lines = Vec::new();
        for followed in self.nodes.iter_mut().filter(|followed| followed.is_open()) {
            if followed.look(shared) && followed.recovery.start == Start::Anew {
                lines.push(followed.recovery.text());
            }
        }
        let held: BTreeSet<NodeId> = self.faults.iter().flat_map(|fault| &fault.holds).copied().collect();
        let free: Vec<NodeId> = up.iter().copied().filter(|node| !held.contains(node)).collect();
        for fault in self.faults.iter_mut().filter(|fault| fault.is_open()) {
            if fault.look(&self.nodes, shared, &free) && !fault.outcome.is_of_starts() {
                lines.push(fault.outcome.text());
            }
        }
        lines
    }

    /// What all faults and their nodes came to, in the order in which they began and ended.
    pub(super) fn into_all(self) -> (Vec<Outcome>, Vec<Recovery>) {
        let outcomes = self.faults.into_iter().map(|fault| fault.outcome).collect();
        (outcomes, self.nodes.into_iter().map(|followed| followed.recovery).collect())
    }

    /// The faults so far.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.faults.iter().map(|fault| &fault.outcome)
    }
}

impl Followed {
    fn is_open(&self) -> bool {
        !self.is_over && (self.recovery.first_commit_s.is_none() || self.recovery.level_s.is_none())
    }

    /// Whether it has recovered by now.
    fn look(&mut self, shared: &Shared) -> bool {
        let Followed { recovery, since, from, seems_level_s, looked_at, .. } = self;
        let Some(heard) = shared.statuses.get(&recovery.node).filter(|heard| heard.came > *looked_at) else {
            return false;
        };
        *looked_at = heard.came;
        let after_s = heard.came.duration_since(*since).as_secs_f64();
        recovery.answered_s.get_or_insert(after_s);
        let Some(from) = *from else {
            *from = Some(heard.status.executed);
            return false;
        };
        if heard.status.executed > from {
            recovery.first_commit_s.get_or_insert(after_s);
        }
        // The others' statuses may be older, so that one alone finds a node level which is not: while a shard decides
        // without it, for instance, it stands where the others stood before.
        let lags = shared.lags([recovery.node]);
        let is_level = recovery.first_commit_s.is_some() && lags.behind.is_empty() && lags.silent.is_empty();
        note_level(is_level, after_s, seems_level_s, &mut recovery.level_s);
        !self.is_open()
    }
}

impl FollowedFault {
    fn is_open(&self) -> bool {
        self.ended.as_ref().is_some_and(|ended| !ended.is_over) && self.outcome.level_s.is_none()
    }

    /// Whether all nodes have recovered from it by now; `free` are those that are up and not held by a fault.
    fn look(&mut self, nodes: &[Followed], shared: &Shared, free: &[NodeId]) -> bool {
        let FollowedFault { outcome, ended: Some(ended), .. } = self else { return false };
        let committed = |at: &usize| {
            let after = Duration::from_secs_f64(nodes[*at].recovery.first_commit_s?);
            Some((nodes[*at].since + after).saturating_duration_since(ended.since).as_secs_f64())
        };
        let committed: Option<Vec<f64>> = ended.nodes.iter().map(committed).collect();
        if let (Some(committed), None) = (committed, outcome.first_commit_s) {
            outcome.first_commit_s = committed.into_iter().max_by(f64::total_cmp);
        }
        // Each node's next status, so that two in a row are of different moments.
        let came = |node: &NodeId| shared.statuses.get(node).map(|heard| heard.came);
        let newest: Option<Vec<Instant>> =
            free.iter().map(|node| came(node).filter(|came| *came > ended.looked_at)).collect();
        let Some(newest) = newest.and_then(|all| all.into_iter().max()) else { return false };
        ended.looked_at = newest;
        let lags = shared.lags(free.iter().copied());
        let is_level = outcome.first_commit_s.is_some() && lags.behind.is_empty() && lags.silent.is_empty();
        let after_s = newest.duration_since(ended.since).as_secs_f64();
        note_level(is_level, after_s, &mut ended.seems_level_s, &mut outcome.level_s);
        outcome.level_s.is_some()
    }
}

/// Level since the first of two looks in a row that found it so.
fn note_level(is_level: bool, after_s: f64, seems_level_s: &mut Option<f64>, level_s: &mut Option<f64>) {
    match (is_level, *seems_level_s) {
        (false, _) => *seems_level_s = None,
        (true, None) => *seems_level_s = Some(after_s),
        (true, Some(since_s)) => _ = level_s.get_or_insert(since_s),
    }
}

/// `committed after 0.2 s, not level`, of such steps.
fn steps_text<const STEPS: usize>(steps: [(&str, Option<f64>); STEPS]) -> String {
    let done = steps.iter().filter_map(|(step, after_s)| Some(format!("{step} after {:.1} s", (*after_s)?)));
    let open = steps.iter().filter(|(_, after_s)| after_s.is_none()).map(|(step, _)| format!("not {step}"));
    done.chain(open).collect::<Vec<String>>().join(", ")
}

impl Recovery {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let Recovery { node, fault, start, at_s, answered_s, first_commit_s, level_s } = self;
        let how = match start {
            Start::Anew => "restarted".to_string(),
            Start::None => format!("after {fault}"),
        };
        let steps =
            steps_text([("answered", *answered_s), ("committed", *first_commit_s), ("level", *level_s)]);
        format!("node {node}, {how} at {at_s:.1} s: {steps}")
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Json {
        let Recovery { node, fault, start: _, at_s, answered_s, first_commit_s, level_s } = self;
        Json::object([
            ("node", Json::from(u64::from(node.0))),
            ("after", Json::text(fault)),
            ("at_s", Json::from(*at_s)),
            ("answered_s", Json::or_null(*answered_s)),
            ("first_commit_s", Json::or_null(*first_commit_s)),
            ("level_s", Json::or_null(*level_s)),
        ])
    }
}

impl Outcome {
    /// Whether the lines of nodes that were started tell it all.
    pub(crate) fn is_of_starts(&self) -> bool {
        self.fault.takes_down() || matches!(self.fault.kind, Kind::Restart { .. })
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let Outcome { fault, until, first_commit_s, level_s, .. } = self;
        match until {
            Some(until) => {
                let steps = steps_text([("committed", *first_commit_s), ("all nodes level", *level_s)]);
                format!("{fault}, over at {:.1} s: {steps}", until.as_secs_f64())
            }
            None => format!("{fault}: not over"),
        }
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Json {
        let Outcome { fault, at, until, first_commit_s, level_s } = self;
        let nodes = fault.nodes().iter().map(|node| Json::from(u64::from(node.0))).collect();
        Json::object([
            ("fault", Json::text(fault.to_string())),
            ("kind", Json::text(fault.name())),
            ("nodes", Json::List(nodes)),
            ("at_s", Json::from(at.as_secs_f64())),
            ("until_s", Json::or_null(until.map(|until| until.as_secs_f64()))),
            ("first_commit_s", Json::or_null(*first_commit_s)),
            ("level_s", Json::or_null(*level_s)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use bft::crypto::deal::{deal_committee, seeded_entropy};
    use wire::client::NodeStatus;
    use wire::committee::Protocol;

    use super::*;
    use crate::lag::Heard;
    use crate::run::faults::{Part, Spell};

    const BOTH: [NodeId; 2] = [NodeId(0), NodeId(3)];

    fn fault(at_s: u64, kind: Kind) -> Fault {
        Fault { at: Duration::from_secs(at_s), kind }
    }

    fn restart(at_s: u64) -> Fault {
        fault(at_s, Kind::Restart { nodes: vec![NodeId(3)] })
    }

    #[test]
    fn a_node_is_level_once_it_has_committed_and_stays_level() {
        let (committee, _) = deal_committee(4, 1, Protocol::default(), seeded_entropy(7));
        let mut recoveries = Recoveries::default();
        let mut shared = Shared::default();
        let hear = |shared: &mut Shared, node: u16, decided: u64, executed: u64| {
            let status =
                NodeStatus { decided: Round(decided), executed: Round(executed), ..NodeStatus::default() };
            let heard = Heard::of(Instant::now(), &committee, NodeId(node), status, &shared.statuses);
            shared.statuses.insert(NodeId(node), heard);
        };
        hear(&mut shared, 3, 900, 900);
        let crash = fault(3, Kind::Kill { part: Part::Whole, nodes: vec![NodeId(3)] });
        recoveries.begin(&crash, Duration::from_secs(3));
        recoveries.begin(&restart(6), Duration::from_millis(6_500));
        recoveries.end(&restart(6), Duration::from_millis(6_500), Start::Anew);
        assert!(recoveries.is_due() && !recoveries.is_due(), "not at once again");
        assert!(recoveries.look(&shared, &BOTH).is_empty(), "the status is one of before");
        hear(&mut shared, 0, 1_500, 1_500);
        hear(&mut shared, 3, 900, 900);
        assert!(recoveries.look(&shared, &BOTH).is_empty());
        hear(&mut shared, 3, 1_300, 1_200);
        assert!(recoveries.look(&shared, &BOTH).is_empty());
        hear(&mut shared, 3, 1_501, 1_490);
        assert!(recoveries.look(&shared, &BOTH).is_empty(), "the others may have gone on since");
        assert!(recoveries.look(&shared, &BOTH).is_empty(), "the same status again is no second one");
        hear(&mut shared, 0, 1_600, 1_600);
        hear(&mut shared, 3, 1_600, 1_549);
        assert!(recoveries.look(&shared, &BOTH).is_empty(), "51 behind");
        hear(&mut shared, 3, 1_601, 1_600);
        assert!(recoveries.look(&shared, &BOTH).is_empty());
        hear(&mut shared, 3, 1_602, 1_602);
        let lines = recoveries.look(&shared, &BOTH);
        assert!(lines[0].starts_with("node 3, restarted at 6.5 s: answered after 0.0 s, committed after"));
        assert!(lines[0].contains(" s, level after "), "{lines:?}");
        assert!(recoveries.look(&shared, &BOTH).is_empty(), "once");
        let outcomes: Vec<&Outcome> = recoveries.outcomes().collect();
        assert_eq!(outcomes[0].until, Some(Duration::from_millis(6_500)), "the restart ends the crash");
        assert!(outcomes.iter().all(|outcome| outcome.first_commit_s.is_some()), "{outcomes:?}");
        // The second restart of the node is the one that its statuses are about.
        for at in [8, 9] {
            recoveries.begin(&restart(at), Duration::from_secs(at));
            recoveries.end(&restart(at), Duration::from_secs(at), Start::Anew);
        }
        for _ in 0..3 {
            hear(&mut shared, 3, 1_602, 1_602);
            recoveries.look(&shared, &BOTH);
        }
        let texts: Vec<String> = recoveries.into_all().1.iter().map(Recovery::text).collect();
        assert_eq!(texts[1], "node 3, restarted at 8.0 s: not answered, not committed, not level");
        let expected = "node 3, restarted at 9.0 s: answered after 0.0 s, not committed, not level";
        assert_eq!(texts[2], expected, "it stands where it stood, and has done nothing yet");
    }

    #[test]
    fn a_fault_is_over_for_all_once_every_node_that_none_holds_is_level() {
        let (committee, _) = deal_committee(4, 1, Protocol::default(), seeded_entropy(7));
        let mut recoveries = Recoveries::default();
        let mut shared = Shared::default();
        let hear = |shared: &mut Shared, node: u16, executed: u64| {
            let executed = Round(executed);
            let status = NodeStatus { decided: executed, executed, ..NodeStatus::default() };
            let heard = Heard::of(Instant::now(), &committee, NodeId(node), status, &shared.statuses);
            shared.statuses.insert(NodeId(node), heard);
        };
        let pause = |node, at_s| {
            let spell = Spell::Pause { part: Part::Whole, nodes: vec![NodeId(node)] };
            fault(at_s, Kind::Spell { spell, lasts: Duration::from_secs(3) })
        };
        hear(&mut shared, 0, 100);
        hear(&mut shared, 3, 100);
        recoveries.begin(&pause(3, 2), Duration::from_secs(2));
        assert!(!recoveries.are_open(), "it is not over");
        recoveries.end(&pause(3, 2), Duration::from_secs(5), Start::None);
        for (executed, lines) in [(100, 0), (300, 0), (400, 0), (500, 1), (600, 0)] {
            hear(&mut shared, 0, 400.max(executed));
            hear(&mut shared, 3, executed);
            assert_eq!(recoveries.look(&shared, &BOTH).len(), lines, "at {executed}");
        }
        let first = recoveries.outcomes().next().unwrap();
        assert!(
            first
                .text()
                .starts_with("pause:3@2+3, over at 5.0 s: committed after 0.0 s, all nodes level after")
        );
        // A node that another fault holds is not waited for, and one that begins ends the wait.
        recoveries.begin(&pause(0, 6), Duration::from_secs(6));
        recoveries.begin(&pause(3, 7), Duration::from_secs(7));
        recoveries.end(&pause(3, 7), Duration::from_secs(9), Start::None);
        for executed in [601, 602, 603] {
            hear(&mut shared, 3, executed);
            recoveries.look(&shared, &BOTH);
        }
        recoveries.begin(&restart(10), Duration::from_secs(10));
        let outcomes: Vec<Outcome> = recoveries.into_all().0;
        assert!(outcomes[2].level_s.is_some() && outcomes[2].until.is_some(), "{outcomes:?}");
        assert_eq!((outcomes[1].until, outcomes[3].level_s), (None, None), "neither is over");
    }

    #[test]
    fn nodes_that_came_back_are_up() {
        let mut recoveries = Recoveries::default();
        let s = Duration::from_secs;
        recoveries.gone(s(2));
        recoveries.gone(s(3));
        recoveries.back(s(5));
        let up = [1, 2, 3, 4, 6].map(|at| recoveries.nodes_up(4, s(at)));
        assert_eq!(up, [4, 4, 3, 2, 3]);
    }
}
