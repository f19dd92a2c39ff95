//! Clients, which anybody can be, whose requests make no sense.

use bft::prng::Prng;
use wire::client::{Request, list};
use wire::codec;
use wire::ids::Round;
use wire::session::Identity;

use super::damage::Damage;
use super::line::{Breach, Line};
use super::scene::{Scene, Tally, Victim, rest};

/// Requests that go out before their answers are waited for.
const BATCH: u64 = 128;
/// Requests of one session.
const SESSION: u64 = 2_048;
/// Requests for a status that go with them: lawful, and the dearest that there are.
const STATUSES: u64 = 8;
/// Bytes of a transaction that is none.
const ITEM_BYTES: usize = 120;

/// Sends `frames` requests to one node in a row of sessions, each ended by a broken rule.
pub(super) fn send(scene: &Scene, victim: Victim, frames: u64, seed: u64) -> Tally {
    let mut tally = Tally::default();
    let mut prng = Prng::new(seed);
    let (mut done, mut turn) = (0, 0);
    while done < frames && !scene.is_over() {
        scene.keep_pace(done, frames);
        let Some(mut line) = Line::open(scene, victim, &Identity::client(), Round(0)) else {
            rest();
            continue;
        };
        tally.sent("client sessions", 1);
        let mut requested = 0;
        let mut answers = true;
        while answers && requested < SESSION && done < frames {
            scene.keep_pace(done, frames);
            for _ in 0..BATCH.min(frames - done) {
                let damage = Damage::draw(&mut prng);
                line.push(&damage.apply(sample(&mut prng), &mut prng));
                tally.sent(damage.name(), 1);
                requested += 1;
                done += 1;
            }
            for _ in 0..STATUSES {
                line.push(&codec::encode(&Request::Status));
                requested += 1;
            }
            tally.sent("requests for a status", STATUSES);
            answers = line.request(requested, scene);
        }
        tally.owe("request not understood", line.heard().errors);
        tally.sent("requests answered with a reason", line.heard().replies);
        if answers {
            line.breach(Breach::of_turn(turn), &mut prng, &mut tally, scene);
            turn += 1;
        }
    }
    tally
}

/// A submission of one transaction that is none: whatever is done to it, it gets one answer.
fn sample(prng: &mut Prng) -> Vec<u8> {
    let mut body = codec::encode(&Request::Submit);
    body.extend(list::of([prng.bytes::<ITEM_BYTES>()]));
    body
}
