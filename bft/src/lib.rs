//! The consensus core: pure, deterministic, sans-IO.
//!
//! No clock, thread, socket, file or ambient randomness: time comes in with each event, effects go out as values. From
//! the bottom up: `time`, `id_index`, `id_map`, `slab` and `merkle` know nothing of the protocol, and `bucket`,
//! `resend` and `serving` bound what is sent; `effects`, `fault` and `quorum` are the vocabulary; `crypto` signs and
//! elects; `transaction`, `ledger` and `pending` hold the money; `lane`, `spb`, `mvba` and `round` are the protocol;
//! `core` is the root that a driver feeds, and `journal` writes down what it is fed. `sim` attacks all of it; no other
//! module imports it, except tests.
#![forbid(unsafe_code)]

pub mod block;
pub mod bucket;
pub mod checkpoint;
pub mod core;
pub mod crypto;
pub mod cut;
#[cfg(test)]
mod digests;
pub mod effects;
pub mod event;
pub mod fault;
pub mod id_index;
pub mod id_map;
mod image;
pub mod journal;
pub mod justification;
pub mod lane;
pub mod ledger;
pub mod member;
pub mod merkle;
pub mod message;
pub mod mutant;
pub mod mvba;
pub mod part;
pub mod pending;
pub mod proposal;
pub mod quorum;
pub mod resend;
pub mod retries;
pub mod round;
pub mod serving;
pub mod shard;
pub mod sim;
pub mod slab;
pub mod spb;
pub mod time;
pub mod trace;
pub mod transaction;

pub use wire::prng;
