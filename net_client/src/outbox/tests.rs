//! Drop order, skips, acks, resends and bounds of the outbox, as tables of what it hands out; and what an event costs.

use super::frames::FRAME_BYTES;
use super::*;

fn item(class: Class, name: u8, length: usize) -> Item {
    Item { class, digest: Digest([name; 32]), body: Bytes::from(vec![name; length]) }
}

fn keep(name: u8) -> Item {
    item(Class::Keep, name, 10)
}

fn round(round: u64, name: u8) -> Item {
    item(Class::Round(Round(round)), name, 10)
}

fn decided(round: u64) -> Progress {
    Progress { decided: Round(round), lanes: vec![] }
}

/// The frames handed out, as text: `name@sequence`, and `>to` for a skip.
fn taken(outbox: &mut Outbox) -> String {
    taken_up_to(u64::MAX, outbox)
}

fn taken_up_to(bytes_max: u64, outbox: &mut Outbox) -> String {
    let mut out = Vec::new();
    outbox.take(bytes_max, &mut out);
    let words: Vec<String> = out
        .iter()
        .map(|outgoing| match outgoing {
            Outgoing::Data { sequence, item } => format!("{}@{sequence}", item.digest.0[0]),
            Outgoing::Long { sequence, item } => format!("{}@{sequence}:", item.digest.0[0]),
            Outgoing::Piece { piece, .. } => format!("+{}", piece.len()),
            Outgoing::Skip { to } => format!(">{to}"),
        })
        .collect();
    check(outbox);
    words.join(" ")
}

/// The bookkeeping agrees with the frames.
fn check(outbox: &Outbox) {
    let (bytes, frames) = outbox.frames.recount();
    assert_eq!(outbox.bytes(), bytes);
    assert!(bytes <= outbox.bytes_max);
    assert!(outbox.unconfirmed() <= frames as u64);
}

fn waiting(outbox: &Outbox) -> usize {
    outbox.frames.recount().1
}

fn outbox(frames: u64) -> Outbox {
    let mut outbox = Outbox::new(frames * (FRAME_BYTES + 10));
    outbox.resume(Listener::New, 0).unwrap();
    outbox
}

#[test]
fn frames_are_numbered_in_order_and_kept_until_confirmed() {
    let mut outbox = outbox(10);
    for name in 1..=3 {
        outbox.push(keep(name));
    }
    assert_eq!(taken(&mut outbox), "1@0 2@1 3@2");
    assert_eq!(taken(&mut outbox), "");
    assert_eq!(outbox.unconfirmed(), 3);
    assert_eq!(outbox.acknowledge(2), Ok(Ack::New));
    assert_eq!(outbox.acknowledge(1), Ok(Ack::Repeated));
    assert_eq!(outbox.acknowledge(2), Ok(Ack::Repeated));
    assert_eq!(outbox.unconfirmed(), 1);
    assert_eq!(outbox.acknowledge(4), Err(NeverSent { named: 4, next: 3 }));
    outbox.acknowledge(3).unwrap();
    assert_eq!((outbox.unconfirmed(), outbox.bytes()), (0, 0));
}

#[test]
fn a_reconnect_resends_from_where_the_listener_stopped() {
    let mut outbox = outbox(10);
    for name in 1..=4 {
        outbox.push(keep(name));
    }
    assert_eq!(taken(&mut outbox), "1@0 2@1 3@2 4@3");
    outbox.push(keep(5));
    outbox.resume(Listener::Same, 2).unwrap();
    assert_eq!(taken(&mut outbox), "3@2 4@3 5@4");
    // An ack must not exceed what was written in this session, even if an earlier session wrote more.
    outbox.resume(Listener::Same, 2).unwrap();
    assert_eq!(outbox.acknowledge(3), Err(NeverSent { named: 3, next: 2 }));
    assert_eq!(outbox.resume(Listener::Same, 6), Err(NeverSent { named: 6, next: 5 }));
}

#[test]
fn a_new_listener_gets_the_unconfirmed_under_the_numbers_it_wants() {
    let mut outbox = outbox(10);
    for name in 1..=3 {
        outbox.push(round(u64::from(name), name));
    }
    assert_eq!(taken(&mut outbox), "1@0 2@1 3@2");
    outbox.acknowledge(1).unwrap();
    outbox.resume(Listener::New, 70).unwrap();
    assert_eq!(taken(&mut outbox), "2@70 3@71");
    outbox.finish(&Progress { decided: Round(2), lanes: vec![] });
    outbox.resume(Listener::New, 0).unwrap();
    assert_eq!(taken(&mut outbox), "3@0", "a dropped frame leaves no number");
    let refused = outbox.resume(Listener::New, SEQUENCE_MAX + 1).unwrap_err();
    assert_eq!(refused.to_string(), format!("expects frame {} although 1 comes next", SEQUENCE_MAX + 1));
    outbox.resume(Listener::New, SEQUENCE_MAX).unwrap();
    assert_eq!(taken(&mut outbox), format!("3@{SEQUENCE_MAX}"));
}

#[test]
fn nothing_is_resent_to_a_listener_that_has_everything() {
    let mut outbox = outbox(10);
    outbox.resume(Listener::Same, 0).unwrap();
    outbox.push(keep(1));
    outbox.push(keep(2));
    assert_eq!(taken(&mut outbox), "1@0 2@1");
    // The acks were lost with the previous session; the resume itself confirms.
    outbox.resume(Listener::Same, 2).unwrap();
    assert_eq!((outbox.unconfirmed(), outbox.bytes()), (0, 0));
    // Nothing is unconfirmed, and the next number is still the one that the listener expects.
    outbox.resume(Listener::Same, 2).unwrap();
    outbox.push(keep(3));
    assert_eq!(taken(&mut outbox), "3@2");
}

#[test]
fn frames_dropped_behind_a_kept_one_leave_no_number_with_a_new_listener() {
    let mut outbox = outbox(10);
    outbox.push(keep(1));
    outbox.push(round(1, 2));
    outbox.push(round(1, 3));
    outbox.push(keep(4));
    assert_eq!(taken(&mut outbox), "1@0 2@1 3@2 4@3");
    outbox.finish(&decided(1));
    assert_eq!((outbox.unconfirmed(), outbox.bytes()), (2, 2 * FRAME_BYTES + 20));
    outbox.resume(Listener::New, 70).unwrap();
    assert_eq!(taken(&mut outbox), "1@70 4@71");
    outbox.acknowledge(72).unwrap();
    assert_eq!((outbox.unconfirmed(), outbox.bytes()), (0, 0));
}

#[test]
fn finished_classes_are_not_sent() {
    let mut outbox = outbox(10);
    let owner = NodeId(3);
    outbox.push(round(1, 1));
    outbox.push(item(Class::Lane(owner, Seq(4)), 2, 10));
    outbox.push(item(Class::Lane(owner, Seq(5)), 3, 10));
    outbox.push(round(2, 4));
    outbox.push(keep(5));
    outbox.finish(&Progress { decided: Round(1), lanes: vec![(owner, Seq(4))] });
    outbox.push(round(1, 6));
    assert_eq!(taken(&mut outbox), "3@0 4@1 5@2");
    assert_eq!(outbox.dropped(), 0, "no frame that mattered");
    // Progress never goes back.
    outbox.finish(&Progress { decided: Round(0), lanes: vec![(owner, Seq(1))] });
    outbox.push(item(Class::Lane(owner, Seq(4)), 7, 10));
    assert_eq!(taken(&mut outbox), "");
}

#[test]
fn finished_frames_leave_at_once_and_others_stay() {
    let mut outbox = outbox(100);
    let (one, other) = (NodeId(1), NodeId(2));
    for seq in 1..=20 {
        outbox.push(item(Class::Lane(one, Seq(seq)), 1, 10));
        outbox.push(item(Class::Lane(other, Seq(seq)), 2, 10));
        outbox.push(round(seq, 3));
    }
    outbox.finish(&Progress { decided: Round(4), lanes: vec![(one, Seq(7)), (other, Seq(20))] });
    assert_eq!(waiting(&outbox), 13 + 16);
    outbox.finish(&Progress { decided: Round(20), lanes: vec![(one, Seq(19)), (NodeId(3), Seq(9))] });
    assert_eq!(taken(&mut outbox), "1@0");
}

#[test]
fn numbers_of_dropped_frames_are_skipped_at_a_resend() {
    let mut outbox = outbox(10);
    for (at, name) in [(9, 1), (1, 2), (1, 3), (9, 4), (2, 5)] {
        outbox.push(round(at, name));
    }
    assert_eq!(taken(&mut outbox), "1@0 2@1 3@2 4@3 5@4");
    outbox.finish(&decided(2));
    outbox.resume(Listener::Same, 0).unwrap();
    assert_eq!(taken(&mut outbox), "1@0 >3 4@3");
    assert_eq!(outbox.unconfirmed(), 2);
    outbox.acknowledge(4).unwrap();
    assert_eq!(outbox.bytes(), 0);
    outbox.push(round(9, 6));
    assert_eq!(taken(&mut outbox), ">5 6@5", "the last number is skipped once another follows");
    outbox.acknowledge(6).unwrap();
}

#[test]
fn finished_frames_at_the_front_leave_only_a_skip() {
    let mut outbox = outbox(10);
    for name in 1..=3 {
        outbox.push(round(u64::from(name), name));
    }
    assert_eq!(taken(&mut outbox), "1@0 2@1 3@2");
    outbox.finish(&decided(2));
    assert_eq!(waiting(&outbox), 1);
    outbox.acknowledge(1).unwrap();
    outbox.resume(Listener::Same, 1).unwrap();
    assert_eq!(taken(&mut outbox), ">2 3@2");
}

#[test]
fn finished_classes_make_room_and_are_not_counted() {
    let mut outbox = outbox(4);
    outbox.push(keep(1));
    outbox.push(round(1, 2));
    outbox.push(round(2, 3));
    outbox.push(keep(4));
    outbox.finish(&decided(1));
    outbox.push(keep(5));
    assert_eq!(outbox.dropped(), 0);
    assert_eq!(taken(&mut outbox), "1@0 3@1 4@2 5@3");
}

#[test]
fn beyond_the_bound_the_oldest_are_dropped_and_counted() {
    let mut outbox = outbox(3);
    for name in 1..=5 {
        outbox.push(keep(name));
        check(&outbox);
    }
    assert_eq!(outbox.dropped(), 2);
    assert_eq!(taken(&mut outbox), "3@0 4@1 5@2", "a frame without a number leaves no gap");
    outbox.push(keep(6));
    assert_eq!(outbox.dropped(), 3);
    assert_eq!(taken(&mut outbox), "6@3", "3@0 was written in this session; its number needs no skip");
    outbox.resume(Listener::Same, 0).unwrap();
    assert_eq!(taken(&mut outbox), ">1 4@1 5@2 6@3", "in the next one it does");
}

#[test]
fn the_oldest_may_be_dropped_between_a_reconnect_and_the_resend() {
    let mut outbox = outbox(3);
    for name in 1..=3 {
        outbox.push(keep(name));
    }
    assert_eq!(taken(&mut outbox), "1@0 2@1 3@2");
    outbox.resume(Listener::Same, 0).unwrap();
    outbox.push(keep(4));
    outbox.push(keep(5));
    assert_eq!(taken(&mut outbox), ">2 3@2 4@3 5@4");
}

#[test]
fn frames_dropped_behind_a_kept_one_take_no_room() {
    let mut outbox = outbox(2);
    outbox.push(keep(1));
    for at in 1..1_000 {
        outbox.push(round(at, 2));
        taken(&mut outbox);
        outbox.finish(&decided(at));
    }
    assert_eq!((waiting(&outbox), outbox.dropped()), (1, 0));
    outbox.push(keep(3));
    outbox.resume(Listener::Same, 0).unwrap();
    assert_eq!(taken(&mut outbox), "1@0 >1000 3@1000");
}

#[test]
fn a_frame_beyond_the_whole_bound_is_dropped() {
    let mut outbox = outbox(2);
    outbox.push(keep(1));
    outbox.push(item(Class::Keep, 2, 10_000));
    assert_eq!((outbox.dropped(), outbox.bytes()), (2, 0));
    assert_eq!(taken(&mut outbox), "");
}

#[test]
fn take_stops_at_its_limit_but_hands_out_at_least_one() {
    let mut outbox = outbox(10);
    for name in 1..=3 {
        outbox.push(keep(name));
    }
    let mut out = Vec::new();
    outbox.take(1, &mut out);
    assert_eq!(out.len(), 1);
    outbox.take(FRAME_BYTES + 11, &mut out);
    assert_eq!(out.len(), 3);
    outbox.push(keep(4));
    outbox.push(keep(5));
    outbox.resume(Listener::Same, 1).unwrap();
    // A frame that fills the limit to the byte ends the batch, whether or not it was sent before.
    for names in ["2@1", "3@2", "4@3", "5@4", ""] {
        assert_eq!(taken_up_to(FRAME_BYTES + 10, &mut outbox), names);
    }
}

#[test]
fn a_long_body_goes_out_in_pieces_before_the_next_frame() {
    let mut outbox = Outbox::new(1 << 20);
    outbox.resume(Listener::New, 0).unwrap();
    outbox.push(keep(1));
    outbox.push(item(Class::Round(Round(1)), 2, 150_000));
    outbox.push(keep(3));
    assert_eq!(taken_up_to(FRAME_BYTES + 11, &mut outbox), "1@0 2@1:");
    assert_eq!(taken_up_to(1, &mut outbox), "+65536");
    assert_eq!(outbox.acknowledge(2), Err(NeverSent { named: 2, next: 1 }), "it is not yet written");
    assert!(outbox.has_more());
    // What is begun is finished, although nobody needs it any more.
    outbox.finish(&decided(1));
    assert_eq!(taken(&mut outbox), "+65536 +18928 3@2");
    assert_eq!(outbox.acknowledge(2), Ok(Ack::New));
    outbox.push(item(Class::Keep, 4, 70_000));
    assert_eq!(taken_up_to(FRAME_BYTES, &mut outbox), "4@3:");
    outbox.resume(Listener::Same, 2).unwrap();
    assert_eq!(taken(&mut outbox), "3@2 4@3: +65536 +4464", "a new session begins it anew");
    assert!(!outbox.has_more());
}

/// A full outbox of `frames` frames of all classes, half of them sent and unconfirmed.
fn full(frames: u64) -> Outbox {
    let mut outbox = outbox(frames);
    for number in 0..frames {
        let class = match number % 4 {
            0 => Class::Keep,
            1 => Class::Round(Round(1 + number)),
            _ => Class::Lane(NodeId((number % 7) as u16), Seq(1 + number)),
        };
        outbox.push(item(class, number as u8, 10));
    }
    outbox.take(frames / 2 * (FRAME_BYTES + 10), &mut Vec::new());
    assert_eq!((outbox.unconfirmed(), outbox.bytes()), (frames / 2, outbox.bytes_max));
    outbox
}

#[test]
fn an_event_costs_what_it_changes_however_many_frames_wait() {
    type Event = fn(&mut Outbox);
    let events: [(&str, Event); 8] = [
        ("a push into a full outbox", |outbox| outbox.push(keep(1))),
        ("a round is decided", |outbox| outbox.finish(&decided(40))),
        ("a lane advances", |outbox| {
            outbox.finish(&Progress { decided: Round(0), lanes: vec![(NodeId(3), Seq(100))] });
        }),
        ("a round is decided of which nothing waits, and a push needs room", |outbox| {
            outbox.finish(&decided(1));
            outbox.push(keep(1));
        }),
        ("frames are handed out", |outbox| outbox.take(10 * FRAME_BYTES, &mut Vec::new())),
        ("frames are confirmed", |outbox| assert_eq!(outbox.acknowledge(20), Ok(Ack::New))),
        ("the same listener comes back", |outbox| {
            outbox.resume(Listener::Same, 10).unwrap();
            outbox.take(10 * FRAME_BYTES, &mut Vec::new());
        }),
        ("a new listener comes", |outbox| {
            outbox.resume(Listener::New, 0).unwrap();
            outbox.take(10 * FRAME_BYTES, &mut Vec::new());
        }),
    ];
    for (name, event) in events {
        let steps = [1_000, 10_000, 100_000].map(|frames| {
            let mut outbox = full(frames);
            let before = outbox.frames.steps;
            event(&mut outbox);
            outbox.frames.steps - before
        });
        assert!(steps[0] > 0 && steps.iter().all(|count| 2 * count <= 3 * steps[0]), "{name}: {steps:?}");
    }
}
