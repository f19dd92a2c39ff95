//! Agreement under attack: sMVBA, the round loop and block votes on the scripted bench (`bft::sim::bench`).
//!
//! - `random`: many schedules of many kinds; agreement always, termination within a bound.
//! - `staged`: attacks step by step, harmless while the rules are in force.
//! - `certificates`: every defect of a certificate, in every message that carries one; on both suites.
//! - `liars`: bad signatures and shares, equivocation, messages in the name of others; on both suites.
//! - `recovery`: losses, late starts, catching up.
//! - `floods`: too much, too early, too late; what is kept and answered is bounded.
//! - `search`: every execution of a few views, in a small scope.
//! - `traps`: bugs of the prototype.
//! - `mutants`: the same attacks on a protocol without the rule that stops them; each is caught.

mod certificates;
mod floods;
mod liars;
#[cfg(feature = "mutants")]
mod mutants;
mod random;
mod recovery;
mod search;
mod staged;
mod traps;

use std::sync::Arc;

use bft::crypto::deal::{deal_committee, seeded_entropy};
use bft::crypto::hash_suite::HashSuite;
use bft::crypto::real::RealSuite;
use bft::crypto::suite::Suite;
use bft::sim::bench::Bench;
use wire::committee::Protocol;
use wire::ids::NodeId;

/// The suite that a script runs on. Scripts about verification run on both: a check within one suite would otherwise
/// hide that the protocol lacks it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Keys {
    StandIn,
    Real,
}

impl Keys {
    const BOTH: [Keys; 2] = [Keys::StandIn, Keys::Real];

    fn bench(self, n: u16, seed: u64) -> Bench {
        match self {
            Keys::StandIn => Bench::new(n, seed),
            Keys::Real => Bench::real(n, seed),
        }
    }

    /// The suite of a node in another testbed, with two shards of four.
    fn foreign(self, node: NodeId, seed: u64) -> Arc<dyn Suite> {
        let (committee, secrets) = deal_committee(4, 2, Protocol::default(), seeded_entropy(0));
        match self {
            Keys::StandIn => Arc::new(HashSuite::new(&committee, node, seed)),
            Keys::Real => Arc::new(RealSuite::of(&committee, &secrets[usize::from(node.0)])),
        }
    }
}
