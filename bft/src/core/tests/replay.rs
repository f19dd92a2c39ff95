//! A core that is given what a journal holds does what the node did, and anything else is noticed.

use wire::codec::CodecError;
use wire::record::{Item, Record};

use super::*;
use crate::journal::{self, Check, Durability, Opening, Replay, ReplayError, Start};

const NODE: NodeId = NodeId(2);

/// The journal of a node through a run: an opening, and after each event's record the check that it made true.
fn journal() -> (Bench, Vec<Record>) {
    let mut bench = Bench::new(4);
    bench.journaled = Some(NODE);
    for coin in 0..6 {
        let transaction = bench.transfer(coin);
        bench.submit(NodeId(coin as u16 % 4), &[transaction]);
        bench.run();
    }
    let mut records = vec![opening(&bench, "test").record()];
    let mut check = Check::default();
    for (now, event, effects) in &bench.journal {
        records.push(journal::record(*now, event));
        check.events += 1;
        effects.iter().for_each(|effect| check.add(effect));
        records.push(check.record());
    }
    assert!(check.effects > 50, "there is something to compare");
    (bench, records)
}

fn opening(bench: &Bench, version: &str) -> Opening {
    let (lanes, mempool) = (LaneSettings::default(), MempoolLimits::default());
    let (committee, tracing) = (bench.committee.clone(), Tracing::Off);
    let config = CoreConfig { committee, node: NODE, lanes, mempool, batch: 1_000, hash_seed: 1, tracing };
    Opening::of(version.into(), &config, START)
}

const START: Start =
    Start { number: 1, boot: String::new(), durability: Durability::Process, unix_ms: 0, now: Time(0) };

/// Replays records at the finest level of tracing, which changes nothing.
fn replay(bench: &Bench, records: &[Record]) -> Result<Replay, ReplayError> {
    let suite = Arc::new(HashSuite::new(&bench.committee, NODE, HASH_SEED));
    let opening = Opening::parse(&records[0]).map_err(ReplayError::Malformed)?;
    let mut replay = Replay::begin(opening, bench.committee.clone(), NODE, suite, Tracing::All)?;
    for record in &records[1..] {
        replay.step(Item::Record(record.clone()))?;
    }
    Ok(replay)
}

#[test]
fn bytes_that_are_no_image_are_refused() {
    let (bench, records) = journal();
    let replay = replay(&bench, &records).unwrap();
    let mut image = Vec::new();
    replay.core().write_image(&mut image).unwrap();
    let config = replay.opening().config(bench.committee.clone(), Tracing::Off);
    let load = |image: &[u8]| {
        let suite = Arc::new(HashSuite::new(&bench.committee, NODE, HASH_SEED));
        Core::from_image(&config, suite, image)
    };
    assert_eq!(load(&image).unwrap().status(), replay.core().status());
    for length in (0..image.len()).step_by(image.len() / 200) {
        assert!(matches!(load(&image[..length]), Err(CodecError::Malformed(_))), "{length}");
    }
    image.push(0);
    assert!(matches!(load(&image), Err(CodecError::TrailingBytes(1))));
}

#[test]
fn a_replay_stands_where_the_node_stood() {
    let (bench, records) = journal();
    let replay = replay(&bench, &records).unwrap();
    assert_eq!(replay.core().status(), bench.cores[usize::from(NODE.0)].status());
    assert_eq!(replay.done(), replay.agreed());
    assert_eq!(replay.now(), bench.journal.last().unwrap().0);
}

#[test]
fn the_first_check_after_a_difference_ends_a_replay() {
    let (bench, records) = journal();
    let fails = |records: &[Record], what: &str| match replay(&bench, records) {
        Err(ReplayError::Differs { node, agreed, .. }) => {
            assert_eq!(agreed.events + 1, node.events, "{what}")
        }
        Err(ReplayError::Malformed(_)) => {}
        other => panic!("{what}: {:?}", other.map(|replay| replay.done())),
    };
    // A request that comes as another one, and a message that is lost with the check of what it caused.
    let request =
        records.iter().position(|record| record.digest.is_none() && record.body.len() > 100).unwrap();
    let mut changed = records.clone();
    let mut body = changed[request].body.to_vec();
    *body.last_mut().unwrap() ^= 1;
    changed[request].body = Bytes::from(body);
    fails(&changed, "another request");
    let message = records.iter().position(|record| record.digest.is_some()).unwrap();
    let mut lost = records.clone();
    lost.drain(message..message + 2);
    assert!(replay(&bench, &lost).is_err(), "a lost message");
    // Another order of two messages of peers.
    let peers: Vec<usize> = (1..records.len()).filter(|at| records[*at].digest.is_some()).collect();
    let differing = peers.windows(2).filter(|pair| {
        let mut swapped = records.clone();
        swapped.swap(pair[0], pair[1]);
        replay(&bench, &swapped).is_err()
    });
    assert!(differing.count() > peers.len() / 2, "order matters");
}

#[test]
fn a_segment_goes_on_where_the_last_one_ended() {
    let (bench, mut records) = journal();
    let begin = Opening::parse(&records[0]).unwrap();
    let changed = |of: &Opening, change: &dyn Fn(&mut Opening)| {
        let mut opening = of.clone();
        change(&mut opening);
        opening.record()
    };
    let at = |events: u64| Item::Opening(changed(&begin, &|opening| opening.events_before = events));
    records.truncate(21);
    let mut whole = replay(&bench, &records).unwrap();
    assert_eq!(whole.done().events, 10);
    assert!(whole.step(at(10)).unwrap().is_none());
    assert!(matches!(whole.step(at(9)), Err(ReplayError::Opening(_))));
    let other = Item::Opening(changed(&opening(&bench, "another"), &|opening| opening.events_before = 10));
    assert!(matches!(whole.step(other), Err(ReplayError::Opening(_))), "another program wrote on");
    records[0] = changed(&begin, &|opening| opening.events_before = 5);
    assert!(matches!(replay(&bench, &records), Err(ReplayError::Opening(_))), "the beginning is missing");
    records[0] = changed(&begin, &|opening| opening.testbed = Digest([9; 32]));
    assert!(matches!(replay(&bench, &records), Err(ReplayError::Opening(_))), "another testbed");
    records[0] = changed(&opening(&bench, "test"), &|opening| opening.node = NodeId(1));
    assert!(matches!(replay(&bench, &records), Err(ReplayError::Opening(_))), "another node");
}

#[test]
fn a_replay_goes_through_the_starts_of_a_node_in_their_order() {
    let (bench, mut records) = journal();
    let begin = Opening::parse(&records[0]).unwrap();
    records.truncate(21);
    let now = replay(&bench, &records).unwrap().now();
    let at = |number: u64, now: Time| {
        let mut opening = begin.clone();
        opening.events_before = 10;
        opening.start = Start { number, boot: "another".into(), now, ..START };
        Item::Opening(opening.record())
    };
    let mut whole = replay(&bench, &records).unwrap();
    assert!(whole.step(at(2, now)).unwrap().is_none());
    assert!(whole.step(at(2, now)).unwrap().is_none(), "the next segment of that start");
    assert_eq!(whole.opening().start.number, 2);
    for (number, now) in [(1, now), (4, now), (3, Time(now.0 + 1))] {
        let error = whole.step(at(number, now)).unwrap_err();
        assert!(matches!(error, ReplayError::Opening(_)), "start {number} at {now:?}");
    }
    assert!(whole.step(at(3, now)).is_ok());
}

#[test]
fn a_difference_of_settings_is_named() {
    let (bench, records) = journal();
    let written = Opening::parse(&records[0]).unwrap();
    let mut given = written.clone();
    given.start = Start { number: 9, boot: "another".into(), ..START };
    assert_eq!(written.difference(&given), None);
    let difference = written.difference(&opening(&bench, "newer"));
    assert_eq!(difference, Some(("version", "test".into(), "newer".into())));
    let lanes = LaneSettings { pipeline: 3, ..LaneSettings::default() };
    let mempool = MempoolLimits::default();
    let (committee, tracing) = (bench.committee.clone(), Tracing::Off);
    let config = CoreConfig { committee, node: NODE, lanes, mempool, batch: 1_000, hash_seed: 2, tracing };
    let pipeline = LaneSettings::default().pipeline.to_string();
    let difference = written.difference(&Opening::of("test".into(), &config, START));
    assert_eq!(difference, Some(("pipeline", pipeline, "3".into())));
}
