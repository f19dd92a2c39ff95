//! What the processes and machines of the testbed say to each other.
//!
//! A leaf library. The modules `ids`, `bytes`, `committee`, `dest`, `codec`, `client` and `limits` are pure and are
//! all that `bft` uses; the others (`frame`, `session`, `ipc`, `hosts`, `keys`, `rand`) belong to the processes.
#![forbid(unsafe_code)]

pub mod bytes;
pub mod client;
pub mod codec;
pub mod committee;
pub mod dest;
pub mod envelope;
pub mod flags;
pub mod hex;
pub mod ids;
pub mod limits;
pub mod text;
