//! Frames without a handshake, a hundred or two at once: the first of them is taken for a hello, and refused.

use bft::prng::Prng;
use wire::frame::{HEADER_BYTES, Kind, TAG_BYTES};

use super::damage::Damage;
use super::scene::{Scene, Tally, rest, send_and_wait};

/// Frames on one connection.
const BURST: u64 = 200;
/// Bytes of the body of the frame that is damaged.
const BODY_BYTES: usize = 200;

/// Sends `frames` frames.
pub(super) fn send(scene: &Scene, frames: u64, seed: u64) -> Tally {
    let mut tally = Tally::default();
    let mut prng = Prng::new(seed);
    let (mut done, mut turn) = (0, 0);
    while done < frames {
        scene.keep_pace(done, frames);
        if scene.is_over() {
            break;
        }
        let victim = scene.victims[turn % scene.victims.len()];
        turn += 1;
        let Ok(mut stream) = victim.connect() else {
            rest();
            continue;
        };
        let mut bytes = Vec::new();
        for _ in 0..BURST.min(frames - done) {
            let damage = Damage::draw(&mut prng);
            tally.sent(damage.name(), 1);
            bytes.extend(damage.apply(sample(&mut prng), &mut prng));
            done += 1;
        }
        tally.sent("connections with frames and no handshake", 1);
        if send_and_wait(&mut stream, &bytes, scene) {
            tally.owe("handshake", 1);
            tally.show("handshake of something else");
        }
    }
    tally
}

/// A data frame as a session would carry it, but for the tag, which nobody without a session can make.
pub(super) fn sample(prng: &mut Prng) -> Vec<u8> {
    let mut frame = vec![0; HEADER_BYTES + BODY_BYTES + TAG_BYTES];
    prng.fill(&mut frame);
    frame[..4].copy_from_slice(&(BODY_BYTES as u32).to_le_bytes());
    frame[4] = Kind::Data as u8;
    frame[5..HEADER_BYTES].fill(0);
    frame
}
