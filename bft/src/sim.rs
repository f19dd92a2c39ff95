//! The simulator: attacks on whole cores in virtual time, with all random choices from one seed.
//!
//! A [`Scenario`] (seed, members of a shard, shards, adversary, suite, crashes) determines a run. [`run()`] plays it
//! and returns the first violation, if any; the same scenario gives the same run, so its name replays it: `tools sim
//! --seed S --nodes N --shards K --adversary A --suite real`.
//!
//! | module | content |
//! | --- | --- |
//! | `plan` | the choices of a seed: the Byzantine members, the behaviour of links, the faults and their times |
//! | `net` | messages under way, ordered by virtual time |
//! | `disk` | the journal of a member as bytes, and what crashes leave of it |
//! | `links` | when a frame of a run arrives |
//! | `script` | one protocol at several nodes, for unit tests |
//! | `parcel` | messages, decoded once for all observers |
//! | `workload` | clients, of one shard and of several |
//! | `adversary` | Byzantine members and hostile schedulers |
//! | `liar` | one Byzantine member for a real testbed, with the same attacks |
//! | `checker` | the checks after every step |
//! | `run` | the loop; journals, crashes, restarts; checks that a core is idle after each event; liveness after healing
//! |
//! | `trace` | the log of a run |
//! | `search` | agreement alone: every execution of a small scope |
//! | `bench` | agreement alone under scripts, which stage the attacks of papers |

pub(crate) mod adversary;
pub mod bench;
mod checker;
mod cost;
mod disk;
mod liar;
mod links;
pub(crate) mod messages;
pub(crate) mod net;
mod parcel;
mod plan;
mod run;
#[cfg(test)]
pub(crate) mod script;
pub mod search;
mod trace;
mod workload;

pub use adversary::{Adversary, Conduct};
pub use checker::{Subject, Violation};
pub use liar::Liar;
pub use links::HEALED_DELAY_MAX;
pub use plan::{Crashes, REAL_SUITE_EVERY, Scenario, SuiteKind};
pub use run::{DECISION_WITHIN, Direct, FATES_WITHIN, Report, Transport, run};
pub use trace::Trace;
