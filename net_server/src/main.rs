//! `net_server`, the listening process of a node.
//!
//! One thread, one mio loop. Peers and clients connect to one port, that of the node's line in `hosts.txt`, and prove
//! their keys in a handshake. The body of each frame with a valid tag goes to the core, unparsed and with the id of its
//! sender, over the IPC queue on standard input. The process ends when that queue ends.
//!
//! ```text
//! listener ─▶ admission ─▶ peers   ─▶ bridge ─▶ core          admission: handshakes, within limits
//!                      └─▶ clients ─▶   │                     bridge:    the IPC queue
//!                            ▲──────────┘ replies
//! ```
//!
//! Backpressure: while the queue to the core is too long, sockets stay unread, those of clients before those of peers,
//! and TCP slows the senders down. All buffers are bounded.
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

use options::{Options, PROGRAM};
use server::Server;
use wire::text;

/// The flags or files are wrong.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    if let Some(answer) = PROGRAM.answer(std::env::args().skip(1), wire::commit!()) {
        text::print(&answer);
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
            log::info!("the core has ended; net_server ends too");
            ExitCode::SUCCESS
        }
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
