//! The listening process of a node: what comes from outside comes in here.
//!
//! One thread, one mio loop. Peers and clients connect to the one port of the node's line in `hosts.txt`; who has
//! proved its key becomes the session of a peer or a client; what arrives on it and passes its tag goes, body opaque and
//! stamped with its sender, to the core over the IPC queue on standard input. The process ends when that queue does.
//!
//! ```text
//! listener ─▶ admission ─▶ peers   ─▶ bridge ─▶ core          admission: who is it, within limits
//!                      └─▶ clients ─▶   │                     bridge:    the IPC queue, and its pressure
//!                            ▲──────────┘ replies
//! ```
//!
//! Backpressure is not reading: while the core leaves too much in the queue, sockets stay unread, clients' before
//! peers', and TCP tells the senders. Nothing here is buffered without a bound.
#![forbid(unsafe_code)]

mod admission;
mod bridge;
mod bucket;
mod clients;
mod counters;
mod options;
mod outgoing;
mod peers;
mod ready;
mod server;
mod shared;
#[cfg(test)]
mod testing;
mod timers;

use std::process::ExitCode;

use options::Options;
use server::Server;
use wire::{text, version};

/// Wrong flags or files; as everywhere in the testbed.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    if version::is_asked(std::env::args().skip(1)) {
        println!("{}", version::line("net_server", wire::commit!()));
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            text::complain(&format!("net_server: {error}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if let Err(error) = options.start_logging() {
        text::complain(&format!("net_server: {error}"));
        return ExitCode::from(EXIT_USAGE);
    }
    match Server::start(options).and_then(Server::run) {
        Ok(()) => {
            log::info!("the core is gone, and so is this process");
            ExitCode::SUCCESS
        }
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
