//! The protocols between the processes and machines of the testbed.
//!
//! A leaf library. The modules `ids`, `bytes`, `committee`, `dest`, `codec`, `client`, `envelope`, `hex`, `name`,
//! `text` and `limits` are pure and are all that `bft` uses; the others (`frame`, `session`, `dial`, `ipc`, `flags`,
//! `hosts`, `keys`, `logging`, `nearest`, `program`, `startup`, `procfs`, `rand`, `version`) belong to the processes.
#![forbid(unsafe_code)]

pub mod bytes;
pub mod client;
pub mod codec;
pub mod committee;
pub mod dest;
pub mod dial;
#[cfg(test)]
mod digests;
pub mod envelope;
mod filling;
pub mod flags;
pub mod frame;
pub mod hex;
pub mod hosts;
pub mod ids;
pub mod ipc;
pub mod keys;
pub mod limits;
pub mod logging;
mod mac;
pub mod name;
pub mod nearest;
pub mod procfs;
pub mod program;
pub mod rand;
pub mod session;
pub mod startup;
pub mod text;
pub mod version;
