//! The bench on which the core is attacked: whole cores in virtual time, everything random from one seed.
//!
//! A [`Scenario`] (seed, members of a shard, shards, adversary) determines a run. [`run()`] plays it and says what went
//! wrong, if anything; the same scenario gives the same run, so that its name replays it:
//! `tools sim --seed S --nodes N --shards K --adversary A`.
//!
//! | module | content |
//! | --- | --- |
//! | `plan` | what a seed makes of a run: who is Byzantine, how links behave, what goes wrong when |
//! | `net` | messages under way, ordered by virtual time |
//! | `links` | when a frame of a run arrives |
//! | `script` | one protocol at several nodes, for unit tests |
//! | `parcel` | messages read once for all who look on |
//! | `workload` | clients, of one shard and of several |
//! | `adversary` | what Byzantine members and hostile schedulers do |
//! | `checker` | what must hold after every step |
//! | `run` | the loop; after each event, that nothing is left to do; liveness after healing |
//! | `trace` | a run written down |
//! | `search` | agreement alone, every way it can go in a small scope |
//! | `bench` | besides all that: agreement alone under scripts, where attacks of papers are staged |

pub(crate) mod adversary;
pub mod bench;
mod checker;
mod cost;
mod links;
pub(crate) mod net;
mod parcel;
mod plan;
mod run;
#[cfg(test)]
pub(crate) mod script;
pub mod search;
mod trace;
mod workload;

pub use adversary::Adversary;
pub use checker::{Place, Violation};
pub use links::HEALED_DELAY_MAX;
pub use plan::{Crypto, Scenario};
pub use run::{DECISION_WITHIN, Direct, FATES_WITHIN, Report, Transport, run};
pub use trace::Trace;
