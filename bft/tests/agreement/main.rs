//! Agreement under attack: sMVBA, the round loop and block votes on the scripted bench (`bft::sim::bench`).
//!
//! - `random`: many schedules of many kinds; agreement always, termination within a bound.
//! - `staged`: attacks step by step, harmless while the rules are in force.
//! - `mutants`: the same attacks on a protocol without the rule they are aimed at; each is caught.

#[cfg(feature = "mutants")]
mod mutants;
mod random;
mod staged;
