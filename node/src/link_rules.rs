//! The rules of links that hold at present. They outlive `net_client`, which carries them out, but not the node.

use std::collections::BTreeMap;

use wire::envelope::FromCore;
use wire::ids::NodeId;
use wire::link_rule::LinkRule;

/// The rules by peer, of those links that have one.
#[derive(Debug, Default)]
pub(crate) struct LinkRules(BTreeMap<NodeId, LinkRule>);

impl LinkRules {
    /// Sets a rule; returns the message for `net_client`.
    pub(crate) fn set(&mut self, peer: NodeId, rule: LinkRule) -> FromCore {
        match rule {
            LinkRule::None => self.0.remove(&peer),
            rule => self.0.insert(peer, rule),
        };
        FromCore::Rule { peer, rule }
    }

    /// The messages for a `net_client` that has just started, and knows no rule.
    pub(crate) fn all(&self) -> impl Iterator<Item = FromCore> {
        self.0.iter().map(|(peer, rule)| FromCore::Rule { peer: *peer, rule: *rule })
    }
}
