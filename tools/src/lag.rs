//! How many rounds nodes are behind, for the live line, `status`, diagnosis and summary.
//!
//! A node's lag is the highest round that a member of its shard has decided, less the round that it has executed; or
//! what the node itself reports, if that is more: what f+1 members have decided, some of which may be silent here. It
//! is compared with statuses that came before its own: beside a later one, of a shard that decides hundreds of rounds a
//! second, every node would seem to lag. Only fresh statuses count: a node whose last one is older than [`FRESH`] is
//! silent, and a silent node is never shown as level with the others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use wire::client::NodeStatus;
use wire::committee::Committee;
use wire::ids::{NodeId, Round, ShardId};

/// A status older than this does not describe the present. Twice the interval of requests.
const FRESH: Duration = Duration::from_secs(2);
/// A node fewer rounds behind is level: statuses come at different times, and rounds take milliseconds.
pub(crate) const LEVEL_ROUNDS: u64 = 50;

/// A shorter stall is a status that came late.
const STALL_MIN_S: f64 = 3.0;

/// The last status of a node.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) came: Instant,
    pub(crate) status: NodeStatus,
    /// How many rounds the node was behind then.
    pub(crate) behind: u64,
}

impl Heard {
    /// A status that comes now, after the last ones of all nodes.
    pub(crate) fn of(
        now: Instant,
        committee: &Committee,
        node: NodeId,
        status: NodeStatus,
        earlier: &BTreeMap<NodeId, Heard>,
    ) -> Heard {
        let shard = committee.shard_of(node);
        let members = earlier.iter().filter(|(other, _)| committee.shard_of(**other) == shard);
        let highest = members.map(|(_, heard)| heard.status.decided).fold(status.decided, Round::max);
        Heard { came: now, behind: lag(highest, &status), status }
    }
}

/// Nodes that are not level with their shard.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Lags {
    /// Rounds behind, of those that are more than a few.
    pub(crate) behind: BTreeMap<NodeId, u64>,
    /// Of these, the ones whose next round no member keeps any more.
    pub(crate) stuck: BTreeSet<NodeId>,
    /// Nodes that may not sign, and only execute what the others decide.
    pub(crate) follow: BTreeSet<NodeId>,
    /// Nodes without a fresh status, and how long ago their last one came, if one did.
    pub(crate) silent: BTreeMap<NodeId, Option<Duration>>,
}

impl Lags {
    /// The lags of `nodes` by their last statuses.
    pub(crate) fn of(
        now: Instant,
        nodes: impl IntoIterator<Item = NodeId>,
        heard: &BTreeMap<NodeId, Heard>,
    ) -> Lags {
        let mut lags = Lags::default();
        for node in nodes {
            let last = heard.get(&node).map(|heard| (now.duration_since(heard.came), heard));
            match last {
                Some((age, Heard { behind, status, .. })) if age <= FRESH => {
                    if status.follows {
                        lags.follow.insert(node);
                    }
                    if *behind > LEVEL_ROUNDS {
                        lags.behind.insert(node, *behind);
                        lags.stuck.extend(status.history_lost.map(|_| node));
                    }
                }
                _ => _ = lags.silent.insert(node, last.map(|(age, _)| age)),
            }
        }
        lags
    }

    /// One line of at most `columns` columns, the farthest behind first; `None` if all nodes are level.
    pub(crate) fn line(&self, columns: usize) -> Option<String> {
        let mut farthest: Vec<(&NodeId, &u64)> = self.behind.iter().collect();
        farthest.sort_by_key(|(node, rounds)| (std::cmp::Reverse(**rounds), **node));
        let behind = farthest.iter().map(|(node, rounds)| {
            let stuck = if self.stuck.contains(node) { " and every history" } else { "" };
            format!("node {node}: {} rounds behind{stuck}", grouped(**rounds))
        });
        let silent = self.silent.iter().map(|(node, age)| match age {
            Some(age) => format!("node {node}: silent for {} s", age.as_secs()),
            None => format!("node {node}: silent"),
        });
        let follow = self.follow.iter().map(|node| format!("node {node}: only follows"));
        let all: Vec<String> = behind.chain(silent).chain(follow).collect();
        if all.is_empty() {
            return None;
        }
        let with_rest = |shown: usize| match all.len() - shown {
            0 => all.join(", "),
            rest => {
                all[..shown].iter().cloned().chain([format!("{rest} more")]).collect::<Vec<_>>().join(", ")
            }
        };
        (0..=all.len().min(columns)).rev().map(with_rest).find(|line| line.chars().count() <= columns)
    }
}

/// A time in which a node that was up stood still, or lagged behind its shard.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Stall {
    pub(crate) node: NodeId,
    /// Since the load began, seconds.
    pub(crate) from_s: f64,
    pub(crate) length_s: f64,
}

/// The stalls of a run, as the live line sees them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stalls {
    /// Since when each node that stands still now does so, seconds.
    open: BTreeMap<NodeId, f64>,
    over: Vec<Stall>,
}

impl Stalls {
    /// Notes how the nodes stand at a time after the load began.
    pub(crate) fn note(&mut self, now_s: f64, lags: &Lags) {
        let since_s = |age: &Option<Duration>| age.map_or(0.0, |age| (now_s - age.as_secs_f64()).max(0.0));
        let silent = lags.silent.iter().map(|(node, age)| (*node, since_s(age)));
        let standing: BTreeMap<NodeId, f64> =
            lags.behind.keys().map(|node| (*node, now_s)).chain(silent).collect();
        self.open.retain(|node, from_s| {
            let is_over = !standing.contains_key(node);
            let stall = Stall { node: *node, from_s: *from_s, length_s: now_s - *from_s };
            if is_over && stall.length_s >= STALL_MIN_S {
                self.over.push(stall);
            }
            !is_over
        });
        for (node, from_s) in standing {
            self.open.entry(node).or_insert(from_s);
        }
    }

    /// All stalls up to a time after the load began, in the order in which they began.
    pub(crate) fn until(mut self, now_s: f64) -> Vec<Stall> {
        self.note(now_s, &Lags::default());
        self.over.sort_by(|one, other| one.from_s.total_cmp(&other.from_s));
        self.over
    }
}

/// How far a node with this status is behind the highest round that a member of its shard has decided.
fn lag(highest: Round, status: &NodeStatus) -> u64 {
    highest.0.saturating_sub(status.executed.0).max(status.behind)
}

/// Rounds that each node is behind the highest which one of these in its shard has decided.
pub(crate) fn rounds_behind<'a>(
    committee: &Committee,
    statuses: impl IntoIterator<Item = (NodeId, &'a NodeStatus)>,
) -> BTreeMap<NodeId, u64> {
    let mut highest: BTreeMap<ShardId, Round> = BTreeMap::new();
    let mut members = Vec::new();
    for (node, status) in statuses {
        let shard = committee.shard_of(node);
        let decided = highest.entry(shard).or_default();
        *decided = status.decided.max(*decided);
        members.push((node, shard, status));
    }
    let behind = |(node, shard, status): (NodeId, ShardId, &NodeStatus)| (node, lag(highest[&shard], status));
    members.into_iter().map(behind).collect()
}

/// Why a node takes over a state, in words that follow "node 3"; `None` unless it is behind every history.
pub(crate) fn lacks_history(status: &NodeStatus) -> Option<String> {
    let served_from = grouped(status.history_lost?.0);
    let next = grouped(status.executed.next().0);
    let takeover = status.takeover.filter(|takeover| takeover.pieces > 0).map_or(String::new(), |takeover| {
        format!(" ({} of {} pieces are here)", takeover.here, takeover.pieces)
    });
    Some(format!(
        "is behind every history: it needs round {next}, members keep no round before {served_from}, and it takes over \
         their state{takeover}"
    ))
}

/// A number with a comma after each three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let comma = |at: usize| if at > 0 && (digits.len() - at).is_multiple_of(3) { "," } else { "" };
    digits.char_indices().map(|(at, digit)| format!("{}{digit}", comma(at))).collect()
}

#[cfg(test)]
mod tests {
    use bft::crypto::deal::{deal_committee, seeded_entropy};
    use wire::client::TakeoverStatus;
    use wire::committee::Protocol;

    use super::*;

    fn status(decided: u64, executed: u64) -> NodeStatus {
        NodeStatus { decided: Round(decided), executed: Round(executed), ..NodeStatus::default() }
    }

    /// What is heard of nodes, in the order in which it came; each time in milliseconds after the first.
    fn heard(statuses: &[(u64, u16, NodeStatus)]) -> (Instant, BTreeMap<NodeId, Heard>) {
        let (committee, _) = deal_committee(4, 2, Protocol::default(), seeded_entropy(7));
        let (began, mut heard) = (Instant::now(), BTreeMap::new());
        for (at_ms, node, status) in statuses {
            let came = began + Duration::from_millis(*at_ms);
            let last = Heard::of(came, &committee, NodeId(*node), status.clone(), &heard);
            heard.insert(NodeId(*node), last);
        }
        (began, heard)
    }

    #[test]
    fn a_node_is_compared_with_its_own_shard_and_only_by_fresh_statuses() {
        let (began, heard) = heard(&[
            (0, 3, status(4_843, 4_843)),
            (1, 1, status(4_840, 4_800)),
            (900, 0, status(4_844, 4_843)),
            (900, 2, status(870, 866)),
            (1_000, 6, status(61, 61)),
            (1_000, 4, status(60, 10)),
            (1_000, 5, status(61, 10)),
        ]);
        let at = began + Duration::from_millis(2_001);
        let lags = Lags::of(at, (0..8).map(NodeId), &heard);
        assert_eq!(lags.behind, BTreeMap::from([(NodeId(2), 3_978), (NodeId(4), 51), (NodeId(5), 51)]));
        let silent = BTreeMap::from([(NodeId(3), Some(Duration::from_millis(2_001))), (NodeId(7), None)]);
        assert_eq!((lags.silent.clone(), lags.stuck.len()), (silent, 0));
        let line = "node 2: 3,978 rounds behind, node 4: 51 rounds behind, node 5: 51 rounds behind, \
                    node 3: silent for 2 s, node 7: silent";
        assert_eq!(lags.line(130).as_deref(), Some(line));
        let level = Lags::of(at, [NodeId(0), NodeId(1)], &heard);
        assert_eq!((level.line(80), level), (None, Lags::default()));
    }

    #[test]
    fn a_later_status_of_another_node_is_no_lag() {
        let statuses = [(0, 0, status(100, 99)), (600, 1, status(190, 189)), (601, 2, status(190, 100))];
        let (began, heard) = heard(&statuses);
        let lags = Lags::of(began + Duration::from_millis(700), (0..3).map(NodeId), &heard);
        assert_eq!(
            lags.line(80).as_deref(),
            Some("node 2: 90 rounds behind"),
            "node 0 was level when it answered"
        );
    }

    #[test]
    fn what_a_node_reports_of_itself_counts_if_it_is_more() {
        let takeover = Some(TakeoverStatus { height: Round(2_860), here: 3, pieces: 8 });
        let reported =
            NodeStatus { behind: 2_000, history_lost: Some(Round(1_500)), takeover, ..status(870, 866) };
        let (began, heard) = heard(&[(0, 1, reported.clone())]);
        let lags = Lags::of(began, [NodeId(1)], &heard);
        assert_eq!(lags.line(80).as_deref(), Some("node 1: 2,000 rounds behind and every history"));
        let expected = "is behind every history: it needs round 867, members keep no round before 1,500, and it takes over \
                        their state (3 of 8 pieces are here)";
        assert_eq!(lacks_history(&reported).as_deref(), Some(expected));
        assert_eq!(lacks_history(&NodeStatus::default()), None);
    }

    #[test]
    fn a_stall_lasts_from_the_last_status_until_the_node_is_level() {
        let mut stalls = Stalls::default();
        let silent = |age_s| {
            let silent = BTreeMap::from([(NodeId(3), Some(Duration::from_secs(age_s)))]);
            Lags { silent, ..Lags::default() }
        };
        let behind = Lags { behind: BTreeMap::from([(NodeId(3), 900), (NodeId(1), 60)]), ..Lags::default() };
        for second in 0..40 {
            let lags = match second {
                8..28 => silent(second - 6),
                28..30 => behind.clone(),
                _ => Lags::default(),
            };
            stalls.note(second as f64, &lags);
        }
        stalls.note(39.0, &silent(2));
        let expected = [Stall { node: NodeId(3), from_s: 6.0, length_s: 24.0 }];
        assert_eq!(stalls.clone().until(39.5), expected, "short ones are none");
        let last = Stall { node: NodeId(3), from_s: 37.0, length_s: 13.0 };
        assert_eq!(stalls.until(50.0), [expected[0], last], "one that lasts to the end is one");
    }

    #[test]
    fn a_line_keeps_to_its_columns_and_counts_what_it_leaves_out() {
        let behind = (0..100).map(|node| (NodeId(node), 1_000_000 - u64::from(node))).collect();
        let lags = Lags { behind, silent: BTreeMap::from([(NodeId(100), None)]), ..Lags::default() };
        for columns in [45, 60, 80] {
            let line = lags.line(columns).unwrap();
            assert!(line.chars().count() <= columns, "{line}");
            assert!(line.starts_with("node 0: 1,000,000 rounds behind"), "the farthest comes first: {line}");
            let shown = line.matches("behind").count();
            assert!(line.ends_with(&format!(", {} more", 101 - shown)), "{line}");
        }
    }

    #[test]
    fn numbers_are_grouped_by_three_digits() {
        for (number, text) in [(0, "0"), (999, "999"), (1_204, "1,204"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
