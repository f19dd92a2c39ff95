//! Signatures and the coin, behind one trait so that scheduling simulations may use a cheap stand-in.

pub mod cert;
pub mod collect;
pub mod suite;
