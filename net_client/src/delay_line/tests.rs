//! The line under a clock that the tests move.

use wire::bytes::Bytes;
use wire::envelope::Class;
use wire::ids::{Digest, NodeId};
use wire::wan::{Conditions, Wan};

use super::*;
use crate::outbox::Item;

fn conditions(words: &str) -> Conditions {
    let wan = Wan::parse("test", &format!("regions all\nlink * * {words}")).unwrap();
    wan.link(NodeId(0), NodeId(1)).at(Duration::ZERO)
}

/// A line and the beginning of its time.
fn line(words: &str) -> (DelayLine, Instant) {
    let start = Instant::now();
    let mut line = DelayLine::new(start, 64 << 20, 7);
    line.set_conditions(conditions(words));
    (line, start)
}

/// A frame whose length on the link is this.
fn frame(sequence: u64, frame_bytes: u64) -> OnItsWay {
    let body = Bytes::from(vec![0; (frame_bytes - PING_BYTES) as usize]);
    OnItsWay::Outgoing(Outgoing::Data {
        sequence,
        item: Item { class: Class::Keep, digest: Digest([0; 32]), body },
    })
}

fn sequence(frame: OnItsWay) -> u64 {
    match frame {
        OnItsWay::Outgoing(Outgoing::Data { sequence, .. }) => sequence,
        other => panic!("{other:?}"),
    }
}

/// The arrivals of everything on the line, in microseconds since `start`, found by waiting as the caller is advised.
fn arrivals(line: &mut DelayLine, start: Instant) -> Vec<(u64, u64)> {
    let (mut now, mut arrived) = (start, Vec::new());
    while let Some(wait) = line.wait(now) {
        now += wait;
        while let Some(frame) = line.pop(now) {
            arrived.push((sequence(frame), (now - start).as_micros() as u64));
        }
    }
    arrived
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn frames_do_not_wait_for_each_other() {
    let (mut line, start) = line("delay=50ms");
    for (sequence, at) in [(0, 0), (1, 3), (2, 3), (3, 49)] {
        line.push(start + ms(at), frame(sequence, 1_000_000));
    }
    let expected = [(0, 50_000), (1, 53_000), (2, 53_000), (3, 99_000)];
    assert_eq!(arrivals(&mut line, start), expected);
    assert_eq!(line.bytes, 0);
}

#[test]
fn a_frame_occupies_the_link_and_then_travels_its_delay() {
    let (mut line, start) = line("delay=50ms bandwidth=200mbit");
    // 25,000 bytes take 1 ms.
    line.push(start, frame(0, 250_000));
    assert_eq!(line.room(start), 0, "it is busy for 10 ms");
    assert_eq!(line.room(start + ms(8)), 0);
    assert_eq!(line.room(start + ms(9)), 25_000, "filled a little ahead");
    line.push(start + ms(9), frame(1, 25_000));
    // After a pause the link is free at once.
    line.push(start + ms(40), frame(2, 25_000));
    assert_eq!(arrivals(&mut line, start), [(0, 60_000), (1, 61_000), (2, 91_000)]);
}

#[test]
fn a_thread_that_wakes_late_loses_no_bandwidth() {
    const FRAMES: u64 = 2_000;
    let (mut line, start) = line("delay=50ms bandwidth=200mbit");
    let (mut now, mut pushed) = (start, 0);
    let mut arrived = Vec::new();
    while (arrived.len() as u64) < FRAMES {
        let mut room = line.room(now);
        while room > 0 && pushed < FRAMES {
            line.push(now, frame(pushed, 1_250));
            room = room.saturating_sub(1_250);
            pushed += 1;
        }
        line.set_has_more(pushed < FRAMES);
        while let Some(frame) = line.pop(now) {
            arrived.push((sequence(frame), now));
        }
        // Late by 4 ms each time, twice as much as the link is filled ahead.
        now += line.wait(now).unwrap_or_default() + ms(4);
    }
    // 2.5 MB at 200 Mbit/s take 100 ms.
    let (_, last) = arrived[arrived.len() - 1];
    let took = last - start;
    assert!(took >= ms(150) && took <= ms(160), "{took:?}");
    assert!(arrived.iter().map(|(sequence, _)| *sequence).eq(0..FRAMES));
}

#[test]
fn an_idle_link_saves_nothing_up() {
    let (mut line, start) = line("delay=50ms bandwidth=200mbit");
    line.set_has_more(false);
    line.push(start + ms(500), frame(0, 25_000));
    line.push(start + ms(500), frame(1, 25_000));
    assert_eq!(arrivals(&mut line, start), [(0, 551_000), (1, 552_000)]);
}

#[test]
fn jitter_keeps_the_order_and_its_bounds_and_repeats_with_its_seed() {
    let run = || {
        let (mut line, start) = line("delay=50ms jitter=5ms");
        (0..1_000).for_each(|k| line.push(start + ms(20 * k), frame(k, 100)));
        arrivals(&mut line, start)
    };
    let arrived = run();
    assert_eq!(run(), arrived);
    let mut delays: Vec<u64> = arrived.iter().map(|(k, at)| at - 20_000 * k).collect();
    assert!(arrived.iter().map(|(k, _)| *k).eq(0..1_000), "in order");
    delays.sort_unstable();
    assert!(delays[0] >= 45_000 && delays[0] < 45_100, "{}", delays[0]);
    assert!(delays[999] > 54_900 && delays[999] <= 55_000, "{}", delays[999]);
    assert!((49_500..50_500).contains(&delays[500]), "{}", delays[500]);
}

#[test]
fn a_lost_segment_costs_a_round_trip_and_holds_up_what_follows() {
    let (mut line, start) = line("delay=50ms loss=1%");
    (0..10_000).for_each(|k| line.push(start + ms(k), frame(k, 1_000)));
    let arrived = arrivals(&mut line, start);
    let delays: Vec<u64> = arrived.iter().map(|(k, at)| at - 1_000 * k).collect();
    // A loss at k delays those behind it until its own arrival: about 100 frames for each loss, of which there are 100.
    let on_time = delays.iter().filter(|delay| **delay == 50_000).count();
    assert!((2_500..5_000).contains(&on_time), "{on_time}");
    let jumps = delays.windows(2).filter(|pair| pair[1] > pair[0]).count();
    assert!((70..130).contains(&jumps), "{jumps}");
    assert!(delays.iter().all(|delay| *delay <= 350_000), "{:?}", delays.iter().max());
}

#[test]
fn a_cut_holds_everything_and_healing_delivers_it_one_delay_later() {
    let (mut line, start) = line("delay=50ms");
    line.push(start, frame(0, 100));
    line.push(start + ms(30), frame(1, 100));
    line.set_cut(start + ms(40), true);
    assert_eq!(line.wait(start + ms(40)), None);
    assert_eq!(line.room(start + ms(40)), 0);
    assert!(line.pop(start + ms(9_000)).is_none());
    assert!(!line.is_empty());
    line.set_cut(start + ms(9_000), false);
    line.push(start + ms(9_001), frame(2, 100));
    assert_eq!(arrivals(&mut line, start), [(0, 9_050_000), (1, 9_050_000), (2, 9_051_000)]);
    assert!(line.is_empty());
}

#[test]
fn order_is_kept_when_a_link_becomes_faster() {
    let (mut line, start) = line("delay=300ms bandwidth=50mbit");
    line.push(start, frame(0, 1_000));
    line.set_conditions(conditions("delay=50ms"));
    line.push(start + ms(10), frame(1, 1_000));
    line.push(start + ms(290), frame(2, 1_000));
    assert_eq!(arrivals(&mut line, start), [(0, 300_160), (1, 300_160), (2, 340_000)]);
}

#[test]
fn a_full_line_takes_nothing_before_something_arrives() {
    let start = Instant::now();
    let mut line = DelayLine::new(start, 10_000, 7);
    line.set_conditions(conditions("delay=50ms"));
    assert_eq!(line.room(start), 10_000);
    line.push(start, frame(0, 20_000));
    line.set_has_more(true);
    assert_eq!((line.room(start), line.wait(start)), (0, Some(ms(50))));
    assert!(line.pop(start + ms(50)).is_some());
    assert_eq!(line.room(start + ms(50)), 10_000);
    assert_eq!(line.wait(start + ms(50)), Some(Duration::ZERO));
}
