//! Signatures and the coin, behind one trait so that scheduling simulations may use a cheap stand-in.

pub mod cert;
pub mod coin;
pub mod collect;
pub mod counting;
pub mod deal;
pub mod delegate;
pub mod ed25519;
pub mod hash_suite;
pub mod real;
pub mod suite;

#[cfg(test)]
mod tests;
