//! Lanes with honest members, and with lost messages.

use wire::ids::{Index, NodeId, Seq};

use super::net::{Net, is_echo, is_entry, is_final, seq_of};
use crate::lane::{LaneOutput, LaneSettings};
use crate::mvba::LaneCertificates;
use crate::time::Span;

#[test]
fn an_entry_is_certified_decided_executed_and_served() {
    for n in [1, 2, 3, 4, 7, 10] {
        let mut net = Net::of(n);
        let members = 0..usize::from(n);
        for at in members.clone() {
            net.append(at, &[at as u8; 100]);
            net.append(at, &[]);
        }
        net.deliver();
        let (genesis, cut) = (net.genesis(), net.cut(0));
        assert!(cut.tips().all(|(_, tip)| tip.seq == Seq(2)), "N = {n}: {cut:?}");
        for at in members.clone() {
            assert_eq!(net.cut(at), cut);
            assert!(cut.tips().all(|(lane, tip)| net.parties[at].is_certified(lane, tip)));
            assert!(net.outputs[at].contains(&LaneOutput::Certified(Index(0), Seq(2))));
        }
        net.decide(members.clone(), 1, &cut);
        let block = net.block(0, &genesis, &cut).expect("everything is here");
        assert_eq!(block.len(), 2 * usize::from(n));
        assert_eq!(block[0], (0, 1, vec![0; 100]));
        for at in members.clone() {
            assert_eq!(net.block(at, &genesis, &cut).as_ref(), Some(&block));
            net.parties[at].executed(wire::ids::Round(1), &cut);
            assert_eq!(net.block(at, &genesis, &cut).as_ref(), Some(&block), "served from the history");
            assert_eq!((net.parties[at].own_open(), net.cut(at)), (0, cut.clone()));
            assert_eq!(net.parties[at].next_wakeup(), None, "nothing is open, so no timer is armed");
        }
        assert!(net.faults.is_empty());
    }
}

#[test]
fn the_happy_path_costs_one_entry_one_echo_one_final_a_peer() {
    let mut net = Net::of(4);
    net.append(2, b"x");
    net.deliver();
    assert_eq!(net.count(|from, _, send| from == 2 && is_entry(send)), 3);
    assert_eq!(net.count(|_, to, send| to == 2 && is_echo(send)), 3);
    assert_eq!(net.count(|from, _, send| from == 2 && is_final(send)), 3);
    assert_eq!(net.delivered.len(), 9);
}

#[test]
fn the_window_closes_and_opens_with_the_decided_cut() {
    let settings = LaneSettings { pipeline: 2, open_bytes_max: 1_000, ..LaneSettings::default() };
    let mut net = Net::with(4, settings);
    assert_eq!(net.parties[0].room(), Some(1_000 - 43));
    net.append(0, &[0; 400]);
    assert_eq!(
        (net.parties[0].room(), net.parties[0].last_append()),
        (Some(1_000 - 443 - 43), Some(net.now))
    );
    net.append(0, &[0; 10]);
    assert_eq!((net.parties[0].room(), net.parties[0].own_open()), (None, 2), "two entries are open");
    net.deliver();
    assert_eq!(net.parties[0].room(), None, "certified is not decided");
    let cut = net.cut(0);
    net.decide(0..4, 1, &cut);
    assert_eq!((net.parties[0].room(), net.parties[0].own_open()), (Some(1_000 - 43), 0));
    net.append(0, &[0; 950]);
    assert_eq!(net.parties[0].room(), None, "seven bytes are left, less than a header");
}

#[test]
fn one_crashed_member_of_four_stops_no_lane() {
    let mut net = Net::of(4);
    net.filter(|from, to, _| from != 3 && to != 3);
    net.append(0, b"x");
    net.deliver();
    assert!((0..3).all(|at| seq_of(&net.cut(at), 0) == Seq(1)));
}

#[test]
fn without_a_quorum_sends_get_rare() {
    let mut net = Net::of(4);
    net.filter(|from, to, _| from < 2 && to < 2);
    net.append(0, b"x");
    net.pass_ms(60_000);
    assert_eq!(net.cut(0), net.genesis());
    assert_eq!(net.count(|_, to, send| to == 1 && is_entry(send)), 1, "who has echoed gets no second copy");
    assert!(net.parties[0].next_wakeup().is_some_and(|due| due - net.now <= Span::from_ms(10_000)));
    net.heal();
    net.pass_ms(10_000);
    assert!((0..4).all(|at| seq_of(&net.cut(at), 0) == Seq(1)), "once they are back it goes on");
}

#[test]
fn lost_sends_echoes_and_finals_are_repeated() {
    for lost in [is_entry, is_echo, is_final] {
        let mut net = Net::of(4);
        net.filter(move |_, _, send| !lost(send));
        net.append(0, b"x");
        net.append(0, b"y");
        net.pass_ms(900);
        net.heal();
        net.pass_ms(2_000);
        assert!((0..4).all(|at| seq_of(&net.cut(at), 0) == Seq(2)));
        assert!(net.faults.is_empty());
    }
}

#[test]
fn a_new_process_of_a_peer_gets_open_entries_at_once() {
    let mut net = Net::of(4);
    // Member 3 receives nothing, and its messages are lost too.
    net.filter(|from, to, _| to != 3 && from != 3);
    net.append(0, b"x");
    net.append(1, b"y");
    net.append(3, b"z");
    net.deliver();
    net.heal();
    net.act(0, |it, now| it.on_peer_up(now, NodeId(3)));
    net.deliver();
    assert_eq!(seq_of(&net.cut(3), 0), Seq(1));
    assert_eq!(seq_of(&net.cut(3), 1), Seq(0), "member 1 has not seen it come up");
    assert_eq!(net.count(|from, to, send| (from, to) == (0, 3) && is_entry(send)), 0, "it is certified");
    net.pass_ms(250);
    assert_eq!(net.count(|_, to, send| to == 3 && is_entry(send)), 1, "a peer without the body fetches it");
    // The other direction: a restarted child of member 3 has lost its own entry and all it was to echo.
    net.act(3, |it, now| it.on_child_restarted(now));
    net.deliver();
    assert!((0..4).all(|at| seq_of(&net.cut(at), 3) == Seq(1)));
}

#[test]
fn echoes_lost_with_a_child_are_sent_again() {
    let mut net = Net::of(4);
    net.filter(|_, _, send| !is_echo(send));
    net.append(0, b"x");
    net.deliver();
    net.heal();
    for at in 1..3 {
        net.act(at, |it, now| it.on_peer_up(now, NodeId(0)));
    }
    net.deliver();
    assert!((0..4).all(|at| seq_of(&net.cut(at), 0) == Seq(1)));
    for (stranger, why) in [(NodeId(3), "never to ourselves"), (NodeId(99), "no member")] {
        assert!(net.parties[3].on_peer_up(net.now, stranger).sends.is_empty(), "{why}");
    }
}
