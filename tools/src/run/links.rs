//! Rules of directed links that a run sets while it goes, as lines for the standard input of the sending nodes.

use std::collections::BTreeMap;

use wire::control::Control;
use wire::ids::NodeId;
use wire::link_rule::LinkRule;

/// The rule that holds from now on for the link from one node to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DirectedRule {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) rule: LinkRule,
}

/// The lines for each node that has a part in these rules, in their order.
pub(crate) fn control_lines(rules: &[DirectedRule]) -> BTreeMap<NodeId, String> {
    let mut lines: BTreeMap<NodeId, String> = BTreeMap::new();
    for DirectedRule { from, to, rule } in rules {
        *lines.entry(*from).or_default() += &format!("{}\n", Control::Link(*to, *rule));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_gets_the_rules_of_its_own_links() {
        let rule = |from, to, rule| DirectedRule { from: NodeId(from), to: NodeId(to), rule };
        let rules = [rule(0, 3, LinkRule::Cut), rule(3, 0, LinkRule::Cut), rule(0, 2, LinkRule::None)];
        let lines = [(NodeId(0), "link 3 cut\nlink 2 none\n".into()), (NodeId(3), "link 0 cut\n".into())];
        assert_eq!(control_lines(&rules), BTreeMap::from(lines));
    }
}
