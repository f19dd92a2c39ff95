//! `node`, one participant of a testbed. See the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    node::run(std::env::args().skip(1), |core, _, _| core)
}
