//! Nodes that come and go by plan: how many are up, and how long a restarted one takes to be of use again.
//!
//! A restart is followed by the statuses that the node reports from then on, which a run requests often until the node
//! is level with its shard: its figures are right within [`LOOK_EVERY`] and the time that a status takes.

use std::time::{Duration, Instant};

use wire::ids::{NodeId, Round};

use super::faults::{Fault, Kind};
use crate::json::Json;
use crate::load::Shared;

/// How often statuses are requested while a restarted node is not level.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The restart of a node, and what it has come to. Times after `at` are seconds since the restart.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Recovery {
    pub(crate) node: NodeId,
    /// Since the load began, seconds.
    pub(crate) at_s: f64,
    /// When it first answered: its replay had ended.
    pub(crate) answered_s: Option<f64>,
    /// When it had executed a block that it had not when it first answered.
    pub(crate) first_commit_s: Option<f64>,
    /// When it was level with its shard: it had committed again, and this status and the next found it level.
    pub(crate) level_s: Option<f64>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Recoveries {
    all: Vec<Followed>,
    last_look: Option<Instant>,
    /// When nodes went, and when some came back, since the load began.
    gone_at: Vec<Duration>,
    back_at: Vec<Duration>,
}

#[derive(Debug)]
struct Followed {
    recovery: Recovery,
    since: Instant,
    /// What it had executed when it first answered.
    from: Round,
    /// Since when every status has found it level, seconds since the restart.
    seems_level_s: Option<f64>,
    /// When the last status came that was looked at.
    looked_at: Instant,
}

impl Recoveries {
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
        usize::from(nodes) - before(&self.gone_at) + before(&self.back_at)
    }

    /// A node was restarted just now. An earlier restart of it is over, whatever it came to.
    pub(super) fn follow(&mut self, node: NodeId, at: Duration) {
        let recovery =
            Recovery { node, at_s: at.as_secs_f64(), answered_s: None, first_commit_s: None, level_s: None };
        let since = Instant::now();
        self.all.push(Followed { recovery, since, from: Round(0), seems_level_s: None, looked_at: since });
    }

    /// Whether statuses are due for a node that is not level yet.
    pub(super) fn is_due(&mut self) -> bool {
        let is_due = self.last_look.is_none_or(|last| last.elapsed() >= LOOK_EVERY);
        let is_due = is_due && self.all.iter().any(Followed::is_open);
        if is_due {
            self.last_look = Some(Instant::now());
        }
        is_due
    }

    /// Looks at the last statuses, and returns a line for each node that has recovered.
    pub(super) fn look(&mut self, shared: &Shared) -> Vec<String> {
        let mut lines = Vec::new();
        for at in 0..self.all.len() {
            let (before, after) = self.all.split_at_mut(at + 1);
            let followed = &mut before[at];
            let is_last = after.iter().all(|later| later.recovery.node != followed.recovery.node);
            if is_last && followed.is_open() && followed.look(shared) {
                lines.push(followed.recovery.text());
            }
        }
        lines
    }

    /// What all restarts came to, in their order.
    pub(super) fn into_all(self) -> Vec<Recovery> {
        self.all.into_iter().map(|followed| followed.recovery).collect()
    }
}

impl Followed {
    fn is_open(&self) -> bool {
        self.recovery.first_commit_s.is_none() || self.recovery.level_s.is_none()
    }

    /// Whether it has recovered by now.
    fn look(&mut self, shared: &Shared) -> bool {
        let Followed { recovery, since, from, seems_level_s, looked_at } = self;
        let Some(heard) = shared.statuses.get(&recovery.node).filter(|heard| heard.came > *looked_at) else {
            return false;
        };
        *looked_at = heard.came;
        let after_s = heard.came.duration_since(*since).as_secs_f64();
        if recovery.answered_s.is_none() {
            (recovery.answered_s, *from) = (Some(after_s), heard.status.executed);
            return false;
        }
        if heard.status.executed > *from {
            recovery.first_commit_s.get_or_insert(after_s);
        }
        // The others' statuses may be older, so that one alone finds a node level which is not: while a shard decides
        // without it, for instance, it stands where the others stood before.
        let lags = shared.lags([recovery.node]);
        let is_level = recovery.first_commit_s.is_some() && lags.behind.is_empty() && lags.silent.is_empty();
        match (is_level, *seems_level_s) {
            (false, _) => *seems_level_s = None,
            (true, None) => *seems_level_s = Some(after_s),
            (true, Some(level_s)) => _ = recovery.level_s.get_or_insert(level_s),
        }
        !self.is_open()
    }
}

impl Recovery {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let Recovery { node, at_s, answered_s, first_commit_s, level_s } = self;
        let steps = [("answered", answered_s), ("committed", first_commit_s), ("level", level_s)];
        let done =
            steps.iter().filter_map(|(step, after_s)| Some(format!("{step} after {:.1} s", (**after_s)?)));
        let open =
            steps.iter().filter(|(_, after_s)| after_s.is_none()).map(|(step, _)| format!("not {step}"));
        let all: Vec<String> = done.chain(open).collect();
        format!("node {node}, restarted at {at_s:.1} s: {}", all.join(", "))
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Json {
        let Recovery { node, at_s, answered_s, first_commit_s, level_s } = self;
        Json::object([
            ("node", Json::from(u64::from(node.0))),
            ("at_s", Json::from(*at_s)),
            ("answered_s", Json::or_null(*answered_s)),
            ("first_commit_s", Json::or_null(*first_commit_s)),
            ("level_s", Json::or_null(*level_s)),
        ])
    }
}

/// Whether a plan starts a node again at or after a fault.
pub(super) fn comes_back(plan: &[Fault], node: NodeId, after: &Fault) -> bool {
    let rest = plan.iter().skip_while(|fault| *fault != after).skip(1);
    rest.into_iter().any(|fault| fault.kind == Kind::Restart && fault.nodes.contains(&node))
}

#[cfg(test)]
mod tests {
    use bft::crypto::deal::{deal_committee, seeded_entropy};
    use wire::client::NodeStatus;
    use wire::committee::Protocol;

    use super::*;
    use crate::lag::Heard;
    use crate::run::faults;

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
        recoveries.follow(NodeId(3), Duration::from_millis(6_500));
        assert!(recoveries.is_due() && !recoveries.is_due(), "not at once again");
        assert!(recoveries.look(&shared).is_empty(), "the status is one of before");
        hear(&mut shared, 0, 1_500, 1_500);
        hear(&mut shared, 3, 900, 900);
        assert!(recoveries.look(&shared).is_empty());
        hear(&mut shared, 3, 1_300, 1_200);
        assert!(recoveries.look(&shared).is_empty());
        hear(&mut shared, 3, 1_501, 1_490);
        assert!(recoveries.look(&shared).is_empty(), "the others may have gone on since");
        assert!(recoveries.look(&shared).is_empty(), "the same status again is no second one");
        hear(&mut shared, 0, 1_600, 1_600);
        hear(&mut shared, 3, 1_600, 1_549);
        assert!(recoveries.look(&shared).is_empty(), "51 behind");
        hear(&mut shared, 3, 1_601, 1_600);
        assert!(recoveries.look(&shared).is_empty());
        hear(&mut shared, 3, 1_602, 1_602);
        let lines = recoveries.look(&shared);
        assert!(lines[0].starts_with("node 3, restarted at 6.5 s: answered after 0.0 s, committed after"));
        assert!(lines[0].contains(" s, level after "), "{lines:?}");
        assert!(recoveries.look(&shared).is_empty(), "once");
        // The second restart of the node is the one that its statuses are about.
        recoveries.follow(NodeId(3), Duration::from_secs(8));
        recoveries.follow(NodeId(3), Duration::from_secs(9));
        for _ in 0..3 {
            hear(&mut shared, 3, 1_602, 1_602);
            recoveries.look(&shared);
        }
        let texts: Vec<String> = recoveries.into_all().iter().map(Recovery::text).collect();
        assert_eq!(texts[1], "node 3, restarted at 8.0 s: not answered, not committed, not level");
        let expected = "node 3, restarted at 9.0 s: answered after 0.0 s, not committed, not level";
        assert_eq!(texts[2], expected, "it stands where it stood, and has done nothing yet");
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

    #[test]
    fn only_a_later_restart_brings_a_node_back() {
        let plan = faults::parse("restart:1@1,crash:1+2@2,restart:1@3,crash:1@4", 4).unwrap();
        assert!(comes_back(&plan, NodeId(1), &plan[1]));
        assert!(!comes_back(&plan, NodeId(2), &plan[1]));
        assert!(!comes_back(&plan, NodeId(1), &plan[3]));
    }
}
