//! Agreement under attack: sMVBA, the round loop and block votes on the scripted bench (`bft::sim::bench`).
//!
//! - `random`: many schedules of many kinds; agreement always, termination within a bound.

mod random;
