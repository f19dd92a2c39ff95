//! The bench on which the core is attacked: everything random in it comes from one seed.

pub mod bench;
pub mod prng;
