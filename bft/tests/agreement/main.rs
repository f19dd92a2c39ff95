//! Agreement under attack: sMVBA, the round loop and block votes on the scripted bench (`bft::sim::bench`).
//!
//! - `random`: many schedules of many kinds; agreement always, termination within a bound.
//! - `staged`: attacks step by step, harmless while the rules are in force.
//! - `certificates`: every defect a certificate can have, in everything that carries one.
//! - `liars`: bad signatures and shares, equivocation, messages in the name of others.
//! - `recovery`: losses, late starts, catching up.
//! - `floods`: too much, too early, too late; what is kept and answered is bounded.
//! - `search`: every way that a few views can go, in a small scope.
//! - `traps`: what the prototype fell into.
//! - `mutants`: the same attacks on a protocol without the rule they are aimed at; each is caught.

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
