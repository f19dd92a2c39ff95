//! The wide-area network that a run emulates: regions, which node is where, and the links between regions.
//!
//! A file of lines; `#` begins a comment. `docs/wan.md` explains it to those who write one.
//!
//! ```text
//! regions virginia ireland tokyo
//! nodes virginia 0 3-5              where nodes are; without such lines node i is in region i modulo their number
//! clients ireland                   where the load comes from; without this line, from where each node is
//! link * * bandwidth=200mbit        from region, to region; `*` is each
//! link virginia ireland delay=40ms jitter=1ms loss=0.01%
//! round-trip virginia - 80.5 145    milliseconds to each region in order, half of it each way
//! phase 120                         the lines from here on hold for so many seconds in turn with other phases
//! seed 7                            of jitter and loss
//! begins 1790000000000              when the first phase began, milliseconds since 1970
//! ```
//!
//! A later line wins over an earlier one in what both set. Lines before the first phase hold in all of them. Links
//! within a region are not emulated unless a line names them.

mod conditions;
mod emulated;
mod file;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::ids::NodeId;
use crate::text::ParseError;

pub use self::conditions::{BANDWIDTH_EXPECTED, Conditions, DELAY_EXPECTED, Rate, Time, bandwidth, delay};
pub use self::emulated::Emulated;

/// An emulated network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wan {
    regions: Vec<String>,
    /// Regions of nodes, by index; empty if they are in turn.
    placed: BTreeMap<NodeId, usize>,
    clients: Option<usize>,
    seed: u64,
    begins_ms: u64,
    /// One at least.
    phases: Vec<Phase>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Phase {
    length: Duration,
    /// By index of the sender's region × regions + that of the recipient's.
    links: Vec<Conditions>,
}

/// One directed link of an emulated network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WanLink {
    /// With their lengths; one at least.
    phases: Vec<(Duration, Conditions)>,
    /// Of the randomness of this link.
    pub seed: u64,
    /// When the first phase began, milliseconds since 1970.
    pub begins_ms: u64,
}

impl Wan {
    /// Reads the text of a file; `place` names the file in errors.
    pub fn parse(place: &str, text: &str) -> Result<Wan, ParseError> {
        file::parse(place, text)
    }

    /// Reads a file for nodes 0 to `nodes` − 1.
    pub fn load(path: &Path, nodes: u16) -> Result<Wan, ParseError> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ParseError::of(&place, &error.to_string(), "a readable file of a WAN"))?;
        let wan = Wan::parse(&place, &text)?;
        wan.check(&place, nodes)?;
        Ok(wan)
    }

    /// Checks that exactly the nodes 0 to `nodes` − 1 have their places, if the file gives places.
    pub fn check(&self, place: &str, nodes: u16) -> Result<(), ParseError> {
        if self.placed.is_empty() {
            return Ok(());
        }
        if let Some(id) = (0..nodes).map(NodeId).find(|id| !self.placed.contains_key(id)) {
            return Err(ParseError::of(
                place,
                &format!("no region of node {id}"),
                "a line 'nodes' that names it",
            ));
        }
        match self.placed.keys().find(|id| id.0 >= nodes) {
            Some(id) => {
                Err(ParseError::of(place, &format!("node {id}"), format!("node ids from 0 to {}", nodes - 1)))
            }
            None => Ok(()),
        }
    }

    /// The link from one node to another.
    pub fn link(&self, from: NodeId, to: NodeId) -> WanLink {
        let pair = u64::from(from.0) << 16 | u64::from(to.0);
        self.between(self.region_of(from), self.region_of(to), pair)
    }

    /// The links of the clients to a node and back; `None` if clients are where their nodes are.
    pub fn clients_links(&self, node: NodeId) -> Option<(WanLink, WanLink)> {
        let (clients, region) = (self.clients?, self.region_of(node));
        let pair = 1 << 32 | u64::from(node.0);
        Some((self.between(clients, region, pair), self.between(region, clients, pair << 1)))
    }

    fn between(&self, from: usize, to: usize, pair: u64) -> WanLink {
        let place = from * self.regions.len() + to;
        let phases = self.phases.iter().map(|phase| (phase.length, phase.links[place])).collect();
        // Each link has a seed of its own. `Prng` makes unrelated numbers of nearby seeds.
        WanLink {
            phases,
            seed: self.seed ^ pair.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            begins_ms: self.begins_ms,
        }
    }

    fn region_of(&self, node: NodeId) -> usize {
        self.placed.get(&node).copied().unwrap_or_else(|| usize::from(node.0) % self.regions.len())
    }
}

impl WanLink {
    /// Whether the link is never emulated.
    pub fn is_plain(&self) -> bool {
        self.phases.iter().all(|(_, conditions)| conditions.is_plain())
    }

    /// The conditions so long after the first phase began.
    pub fn at(&self, since_begin: Duration) -> Conditions {
        let [(_, only)] = self.phases[..] else { return self.in_turn(since_begin) };
        only
    }

    fn in_turn(&self, since_begin: Duration) -> Conditions {
        let all: Duration = self.phases.iter().map(|(length, _)| *length).sum();
        let mut left = Duration::from_nanos((since_begin.as_nanos() % all.as_nanos()) as u64);
        for (length, conditions) in &self.phases {
            if left < *length {
                return *conditions;
            }
            left -= *length;
        }
        unreachable!("what is left is shorter than all phases together")
    }
}

#[cfg(test)]
mod tests;
