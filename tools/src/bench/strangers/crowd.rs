//! Useless connections: those on which nothing is sent, and those that send a byte a second.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use wire::ids::Round;
use wire::limits::HANDSHAKES_MAX;
use wire::session::{Dialer, Identity, LocalHello};

use super::scene::{Scene, Tally, is_patient};

/// Opens idle connections, as fast as nodes take them, and leaves them to the nodes to close.
pub(super) fn idle(scene: &Scene) -> Tally {
    let mut tally = Tally::default();
    let mut open: Vec<TcpStream> = Vec::new();
    let mut opened = 0;
    while opened < scene.amounts.idle && !scene.is_over() {
        let victim = scene.victims[opened as usize % scene.victims.len()];
        match victim.connect() {
            Ok(stream) => {
                open.push(stream);
                opened += 1;
            }
            Err(_) => {
                // Our own descriptors may have run out: those that nodes closed are free again.
                open.retain_mut(|stream| !is_closed(stream));
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
    tally.sent("idle connections", opened);
    while !scene.is_over() && !open.is_empty() {
        open.retain_mut(|stream| !is_closed(stream));
        thread::sleep(Duration::from_millis(200));
    }
    // Each has been, or is about to be, evicted, timed out, or cut off by our end.
    tally.owe("handshake", opened);
    if opened > 2 * (HANDSHAKES_MAX * scene.victims.len()) as u64 {
        tally.show("handshake evicted");
    }
    tally
}

/// Shakes hands at one byte a second on all connections at once; one that a node closes is not opened again.
pub(super) fn slow(scene: &Scene) -> Tally {
    let mut tally = Tally::default();
    let testbed = scene.committee.testbed();
    let local = LocalHello { incarnation: 1, decided: Round(0) };
    let hello = Dialer::start(&Identity::client(), testbed, None, local).1;
    let connect = |index: u64| scene.victims[index as usize % scene.victims.len()].connect().ok();
    let mut open: Vec<TcpStream> = (0..scene.amounts.slow).filter_map(connect).collect();
    tally.sent("handshakes at a byte a second", open.len() as u64);
    tally.owe("handshake", open.len() as u64);
    let begun = Instant::now();
    for (second, byte) in (1..).zip(hello.chunks(1)) {
        open.retain_mut(|stream| !is_closed(stream) && stream.write_all(byte).is_ok());
        while !open.is_empty() && begun.elapsed() < Duration::from_secs(second) && !scene.is_over() {
            thread::sleep(Duration::from_millis(50));
        }
        if open.is_empty() || scene.is_over() {
            break;
        }
    }
    tally
}

/// Whether the node has closed; looks without waiting.
fn is_closed(stream: &mut TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    let closed = match stream.read(&mut [0; 16]) {
        Ok(count) => count == 0,
        Err(error) => !is_patient(&error),
    };
    closed || stream.set_nonblocking(false).is_err()
}
