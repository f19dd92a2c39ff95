//! Which faults of a plan do not go together.
//!
//! A node that is down can only be restarted. While its processes are stopped, slowed or without room on the disk,
//! no other fault strikes them, because nobody could say which of the two caused what. Nor does one strike the
//! processes of a Byzantine node. A link has one rule at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use wire::ids::NodeId;
use wire::text::ParseError;

use super::{Edge, Fault, Kind, Link, Spell, steps};
use crate::flags::seconds_text;

/// What is the matter with a node.
enum Trouble<'a> {
    Down,
    Byzantine,
    Spell(&'a Fault),
}

/// Refuses a plan, whose faults are in order of time, if two of them do not go together.
pub(super) fn refuse_clashes(plan: &[Fault]) -> Result<(), ParseError> {
    let mut nodes: BTreeMap<NodeId, Trouble<'_>> = BTreeMap::new();
    let mut links: BTreeMap<Link, &Fault> = BTreeMap::new();
    for step in steps(plan) {
        let fault = &plan[step.fault];
        if let Kind::Spell { spell: Spell::Links { sides, .. }, .. } = &fault.kind {
            for link in sides.links() {
                let other = match step.edge {
                    Edge::End => links.remove(&link).and(None),
                    Edge::Begin => links.insert(link, fault),
                };
                if let Some(other) = other {
                    return Err(second_rule(fault, link, other));
                }
            }
            continue;
        }
        for node in fault.nodes() {
            if step.edge == Edge::End {
                nodes.remove(&node);
                continue;
            }
            match (nodes.get(&node), &fault.kind) {
                (None, _) => {}
                (Some(Trouble::Down), Kind::Restart { .. }) => _ = nodes.remove(&node),
                (Some(Trouble::Byzantine), _) => return Err(left_alone(fault, node)),
                (Some(Trouble::Down), _) => return Err(not_up(fault, node)),
                (Some(Trouble::Spell(other)), _) => return Err(meanwhile(fault, node, other)),
            }
            if fault.is_byzantine() {
                nodes.insert(node, Trouble::Byzantine);
            } else if fault.takes_down() {
                nodes.insert(node, Trouble::Down);
            } else if fault.until().is_some() {
                nodes.insert(node, Trouble::Spell(fault));
            }
        }
    }
    Ok(())
}

fn not_up(fault: &Fault, node: NodeId) -> ParseError {
    let expected = format!("nothing but a restart for node {node}, which has been crashed by then");
    ParseError::of("--faults", &fault.to_string(), expected)
}

fn left_alone(fault: &Fault, node: NodeId) -> ParseError {
    let expected = format!(
        "nothing but faults of links for node {node}, which is Byzantine from beginning to end: its processes are left alone"
    );
    ParseError::of("--faults", &fault.to_string(), expected)
}

fn meanwhile(fault: &Fault, node: NodeId, other: &Fault) -> ParseError {
    let until = seconds_text(other.until().unwrap_or(Duration::MAX));
    let expected = format!("nothing for node {node} before {until} s, until when {other} lasts");
    ParseError::of("--faults", &fault.to_string(), expected)
}

fn second_rule(fault: &Fault, (from, to): Link, other: &Fault) -> ParseError {
    let until = seconds_text(other.until().unwrap_or(Duration::MAX));
    let expected = format!(
        "nothing for the link from node {from} to node {to} before {until} s, until when {other} lasts"
    );
    ParseError::of("--faults", &fault.to_string(), expected)
}

#[cfg(test)]
mod tests {
    use super::super::list::tests::plan;

    #[test]
    fn faults_that_do_not_go_together_are_refused_with_the_reason() {
        for (list, expected) in [
            (
                "crash:1@1,kill-client:2+1@2.9999",
                "found 'kill-client:2+1@2.9999', expected nothing but a restart for node 1, which has been crashed by then",
            ),
            ("kill-core:1@1,pause:1@2+1", "found 'pause:1@2+1', expected nothing but a restart for node 1"),
            (
                "pause:1@1+3,crash:1@2",
                "found 'crash:1@2', expected nothing for node 1 before 4 s, until when pause:1@1+3 lasts",
            ),
            (
                "disk-full:1@1+3,restart:1@2",
                "expected nothing for node 1 before 4 s, until when disk-full:1@1+3 lasts",
            ),
            ("slow-node:0-2=50%@1+3,pause-core:2@2+1", "expected nothing for node 2 before 4 s"),
            (
                "crash:2@0,byzantine:2=mute",
                "found 'crash:2@0', expected nothing but faults of links for node 2, which is Byzantine",
            ),
            ("byzantine:2=mute,byzantine:0+2=stale", "found 'byzantine:0+2=stale', expected nothing but"),
            ("pause:1+1@1+3", "found 'pause:1+1@1+3', expected nothing for node 1 before 4 s"),
            (
                "slow:2>0=5ms@1+8,partition:0/2@2+2",
                "found 'partition:0/2@2+2', expected nothing for the link from node 2 to node 0 before 9 s, until when \
                 slow:2>0=5ms@1+8 lasts",
            ),
        ] {
            let error = plan(list, 4).unwrap_err().to_string();
            assert!(error.contains(expected), "{list}: {error}");
        }
        for list in [
            "crash:1@1,restart:1@2,crash:1@2",
            "pause:1@1+3,crash:1@4",
            "crash:3@1,partition:3/0@2+5,restart:3@4",
            "slow:0>2=5ms@1+8,partition:2>0@2+2",
            "pause:1@1+3,pause:2@1+3",
            "byzantine:2=mute,crash:1@1,partition:2/0@2+1",
        ] {
            assert!(plan(list, 4).is_ok(), "{list}");
        }
    }
}
