//! `tools`: keygen, local runs, load, verification and benchmarks, each a command of its own.
#![forbid(unsafe_code)]

mod flags;
mod json;
mod load;
mod local;
mod pids;
mod procfs;
mod signals;
#[cfg(test)]
mod testing;

fn main() {}
