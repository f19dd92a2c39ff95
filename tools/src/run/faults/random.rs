//! Random faults, drawn from the seed of the run: the same seed draws the same.
//!
//! At no time do random faults alone hold more than f nodes of a shard, and a node counts as faulty until it has had
//! time to recover ([`RECOVERS`]), a Byzantine one all the time, so a run with nothing else in its list must end with
//! all nodes level and nothing lost. Nodes cut off from the others count; those at the ends of a slow link do not,
//! since the protocol bears any delay.

use std::time::Duration;

use bft::prng::Prng;
use bft::sim::Conduct;
use wire::ids::NodeId;
use wire::link_rule::LinkRule;
use wire::text::ParseError;

use super::list::Shape;
use super::{Fault, Kind, List, Part, Sides, Spell, check, list};

/// The first fault comes then, when all is under way.
const FROM_MS: u64 = 1_000;
/// How long after the last fault the load goes on, so that recoveries can be seen.
const CALM_MS: u64 = 3_000;
/// How long a fault lasts.
const LASTS_MS: std::ops::Range<u64> = 500..4_000;
/// How long a node counts as faulty after the end of a fault.
const RECOVERS: Duration = Duration::from_secs(2);
/// After so many draws in vain there is no room for one more.
const DRAWS: usize = 2_000;

/// Times during which nodes of a shard are faulty.
struct Spans {
    shape: Shape,
    spans: Vec<(NodeId, Duration, Duration)>,
}

/// Adds the random faults of a list to a plan for a load of this duration.
pub(super) fn add(
    plan: &mut Vec<Fault>,
    list: &List,
    duration: Duration,
    seed: u64,
) -> Result<(), ParseError> {
    let List { random: count, shape, random_byzantine, .. } = *list;
    let refused = |expected: String| ParseError::of("--faults", &format!("random:{count}"), expected);
    if shape.n < 4 {
        let expected = format!("shards of at least 4 nodes, since one of {} bears no faulty member", shape.n);
        return Err(refused(expected));
    }
    let last_ms = (duration.as_millis() as u64).saturating_sub(CALM_MS + LASTS_MS.end);
    if last_ms <= FROM_MS {
        let needed = (FROM_MS + CALM_MS + LASTS_MS.end) / 1_000;
        return Err(refused(format!("a load of more than {needed} s, in which they begin and end")));
    }
    let mut prng = Prng::new(seed);
    let mut spans = Spans { shape, spans: Vec::new() };
    for drawn in 0..count {
        let fits = (0..DRAWS).find_map(|_| {
            let (faults, faulty) = draw(&mut prng, shape, last_ms, random_byzantine);
            let (from, until) = match faults.iter().any(Fault::is_byzantine) {
                true => (Duration::ZERO, Duration::MAX),
                false => (faults[0].at, end(&faults) + RECOVERS),
            };
            if !spans.bears(&faulty, from, until) {
                return None;
            }
            let mut more = [plan.as_slice(), &faults].concat();
            list::sort(&mut more);
            check::refuse_clashes(&more).is_ok().then_some((faults, faulty, from, until))
        });
        let Some((faults, faulty, from, until)) = fits else {
            return Err(refused(format!("at most {drawn}, or a longer load: no more fit into this one")));
        };
        plan.extend(faults);
        spans.spans.extend(faulty.into_iter().map(|node| (node, from, until)));
    }
    Ok(())
}

impl Spans {
    /// Whether these nodes of one shard may be faulty from one moment to another, beside those that are already.
    fn bears(&self, nodes: &[NodeId], from: Duration, until: Duration) -> bool {
        let n = self.shape.n;
        let Some(shard) = nodes.first().map(|node| node.0 / n) else { return true };
        let beside = self
            .spans
            .iter()
            .filter(|(node, began, ended)| node.0 / n == shard && *began < until && from < *ended);
        let mut faulty: Vec<NodeId> = beside.map(|(node, ..)| *node).collect();
        // One that is faulty already is in trouble enough.
        let is_new = nodes.iter().all(|node| !faulty.contains(node));
        faulty.extend(nodes);
        faulty.sort();
        faulty.dedup();
        is_new && faulty.len() <= usize::from((n - 1) / 3)
    }
}

fn end(faults: &[Fault]) -> Duration {
    faults.iter().map(|fault| fault.until().unwrap_or(fault.at)).max().unwrap_or_default()
}

/// One fault, in the plan's parts, and the nodes that are faulty by it.
fn draw(prng: &mut Prng, shape: Shape, last_ms: u64, byzantine: bool) -> (Vec<Fault>, Vec<NodeId>) {
    let tenths = |ms: u64| Duration::from_millis(ms / 100 * 100);
    let at = tenths(prng.within(FROM_MS..last_ms));
    let lasts = tenths(prng.within(LASTS_MS));
    let shard = prng.below(shape.shards.into()) as u16;
    let mut members: Vec<NodeId> = (0..shape.n).map(|index| NodeId(shard * shape.n + index)).collect();
    prng.shuffle(&mut members);
    let f = u64::from((shape.n - 1) / 3);
    let mut nodes = members[..prng.within(1..f + 1) as usize].to_vec();
    nodes.sort();
    let one = |kind| vec![Fault { at, kind }];
    let spell = |spell| one(Kind::Spell { spell, lasts });
    let down = |part, nodes: &[NodeId]| {
        let restart = Kind::Restart { nodes: nodes.to_vec() };
        vec![
            Fault { at, kind: Kind::Kill { part, nodes: nodes.to_vec() } },
            Fault { at: at + lasts, kind: restart },
        ]
    };
    let part = *prng.pick(&[Part::Whole, Part::Core, Part::Client, Part::Server]).expect("there are four");
    // Byzantine nodes seldom fit: none of their shard may be faulty beside them, at whatever time.
    let kinds = if byzantine { 12 } else { 10 };
    let faults = match prng.below(kinds) {
        0 => down(Part::Whole, &nodes),
        1 => down(Part::Core, &nodes),
        2 => one(Kind::Restart { nodes: nodes.clone() }),
        3 => {
            let child = if prng.chance(1, 2) { Part::Client } else { Part::Server };
            one(Kind::Kill { part: child, nodes: nodes.clone() })
        }
        4 | 5 => spell(Spell::Pause { part, nodes: nodes.clone() }),
        6 => spell(Spell::SlowNode { percent: prng.within(10..60) as u8, nodes: nodes.clone() }),
        7 => spell(Spell::DiskFull { nodes: nodes.clone() }),
        8 => spell(Spell::Links { sides: cut_off(prng, &nodes, shape), rule: LinkRule::Cut }),
        10 | 11 => {
            let conducts: Vec<Conduct> = Conduct::ALL
                .into_iter()
                .filter(|conduct| shape.shards > 1 || !conduct.needs_shards())
                .collect();
            let conduct = *prng.pick(&conducts).expect("most need one shard");
            vec![Fault { at: Duration::ZERO, kind: Kind::Byzantine { conduct, nodes: nodes.clone() } }]
        }
        _ => {
            let bits_per_s = prng.chance(1, 3).then(|| prng.within(1..50) * 1_000_000);
            let delay = Duration::from_millis(prng.within(10..500));
            let rule = LinkRule::Slow { delay, bits_per_s };
            let sides = Sides::Between(vec![vec![members[0]], vec![members[1]]]);
            return (spell(Spell::Links { sides, rule }), Vec::new());
        }
    };
    (faults, nodes)
}

/// The border around some nodes, in both directions or one.
fn cut_off(prng: &mut Prng, nodes: &[NodeId], shape: Shape) -> Sides {
    let others = (0..shape.nodes()).map(NodeId).filter(|node| !nodes.contains(node)).collect();
    match prng.below(4) {
        0 => Sides::OneWay(nodes.to_vec(), others),
        1 => Sides::OneWay(others, nodes.to_vec()),
        _ => Sides::Between(vec![nodes.to_vec(), others]),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::List;
    use super::*;

    fn plan(list: &str, n: u16, shards: u16, seconds: u64, seed: u64) -> Result<Vec<Fault>, String> {
        let list = List::parse(list, n, shards).unwrap();
        list.plan(Some(Duration::from_secs(seconds)), seed).map_err(|error| error.to_string())
    }

    #[test]
    fn a_seed_draws_the_same_plan_and_leaves_a_quorum_at_all_times() {
        let mut names = BTreeSet::new();
        for (n, shards, seed) in
            (1..200).flat_map(|seed| [(4, 1, seed), (7, 1, seed), (4, 2, seed), (7, 2, seed)])
        {
            let drawn = plan("random:4", n, shards, 40, seed).unwrap();
            assert_eq!(plan("random:4", n, shards, 40, seed), Ok(drawn.clone()));
            names.extend(drawn.iter().map(Fault::name));
            let f = usize::from((n - 1) / 3);
            for ms in (0..40_000).step_by(100) {
                let now = Duration::from_millis(ms);
                let faulty = |shard: u16| {
                    let mut faulty = BTreeSet::new();
                    for fault in drawn.iter().filter(|fault| fault.at <= now) {
                        let is_over = fault.until().is_some_and(|until| until <= now);
                        match &fault.kind {
                            Kind::Byzantine { nodes, .. } => faulty.extend(nodes.iter().copied()),
                            Kind::Restart { nodes } => faulty.retain(|node| !nodes.contains(node)),
                            Kind::Kill { .. } if fault.takes_down() => faulty.extend(fault.nodes()),
                            Kind::Spell { spell: Spell::Links { .. }, .. } | Kind::Kill { .. } => {}
                            Kind::Spell { .. } if !is_over => faulty.extend(fault.nodes()),
                            Kind::Spell { .. } => {}
                        }
                    }
                    faulty.into_iter().filter(|node| node.0 / n == shard).count()
                };
                assert!((0..shards).all(|shard| faulty(shard) <= f), "seed {seed} at {ms} ms: {drawn:?}");
            }
        }
        assert_eq!(names.len(), 14, "every kind is drawn: {names:?}");
    }

    #[test]
    fn no_byzantine_nodes_are_drawn_where_there_can_be_none() {
        for seed in 1..200 {
            let list = List::parse("random:4", 7, 1).unwrap().without_byzantine("elsewhere").unwrap();
            let plan = list.plan(Some(Duration::from_secs(40)), seed).unwrap();
            assert!(!plan.iter().any(Fault::is_byzantine), "seed {seed}: {plan:?}");
        }
        let list = List::parse("pause:1@1+1,byzantine:2=mute", 4, 1).unwrap();
        let error = list.without_byzantine("another machine").unwrap_err().to_string();
        assert_eq!(error, "--faults: found 'byzantine:2=mute', expected another machine");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let error = plan("random:100", 4, 1, 20, 1).unwrap_err();
        assert!(error.contains("found 'random:100', expected at most "), "{error}");
        let error = plan("random:1", 4, 1, 8, 1).unwrap_err();
        assert!(error.contains("expected a load of more than 8 s"), "{error}");
        let error = plan("random:1", 3, 1, 30, 1).unwrap_err();
        assert!(error.contains("expected shards of at least 4 nodes"), "{error}");
    }
}
