//! The protocols between the processes and machines of the testbed.
//!
//! A leaf library. The modules `ids`, `bytes`, `committee`, `crc32c`, `dest`, `codec`, `client`, `envelope`, `hex`,
//! `name`, `prng`, `record`, `segment`, `text` and `limits` are pure and are all that `bft` uses; the others (`frame`,
//! `session`, `control`, `dial`, `ipc`, `flags`, `hosts`, `journal`, `keys`, `link_rule`, `logging`, `nearest`,
//! `program`, `startup`, `procfs`, `rand`, `version`, `wan`) belong to the processes.
#![forbid(unsafe_code)]

pub mod audit;
pub mod bytes;
pub mod client;
pub mod codec;
pub mod committee;
pub mod control;
pub mod crc32c;
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
pub mod journal;
pub mod keys;
pub mod limits;
pub mod link_rule;
pub mod logging;
mod mac;
pub mod name;
pub mod nearest;
pub mod prng;
pub mod procfs;
pub mod program;
pub mod rand;
pub mod record;
pub mod segment;
pub mod session;
pub mod snapshot;
pub mod startup;
pub mod text;
pub mod version;
pub mod wan;
