//! What a peer can make us keep or send has bounds.

use wire::ids::{Digest, Index, Round, Seq};

use super::net::{Net, final_of, forge, is_echo, is_entry, is_want_entry, send, seq_of};
use crate::cut::{Cut, Tip};
use crate::fault::FaultKind;
use crate::lane::{LaneMessage, LaneSend, LaneSettings};
use crate::time::Span;

fn settings(pipeline: u64, kept_bytes_max: u64) -> LaneSettings {
    LaneSettings { pipeline, kept_bytes_max, ..LaneSettings::default() }
}

#[test]
fn a_member_that_is_behind_keeps_headers_only_and_pulls_as_its_cut_advances() {
    // Members 0 to 2 decide rounds of two entries; member 3 hears all of it and decides nothing.
    let mut net = Net::with(4, settings(2, 1 << 20));
    let mut cuts: Vec<Cut> = vec![net.genesis()];
    for round in 1..=12 {
        net.append(0, &[round as u8; 1_000]);
        net.append(0, &[round as u8; 1_000]);
        net.run();
        cuts.push(net.lanes[0].cut());
        net.decide(0..3, round, &cuts[round as usize].clone());
    }
    assert_eq!(net.lanes[0].cut().0[0].seq, Seq(24));
    let echoed = net.count(|from, to, send| (from, to) == (3, 0) && is_echo(send));
    assert_eq!(echoed, 4, "twice the pipeline");
    assert_eq!(net.lanes[3].chains[0].bodies(), 4);
    assert_eq!(net.lanes[3].cut().0[0].seq, Seq(16), "headers and certificates reach eight times as far");
    assert!(net.faults_of(0).iter().all(|kind| *kind == FaultKind::TooFarAhead));
    for round in 1..=12usize {
        let cut = cuts[round].clone();
        net.decide([3], round as u64, &cut);
        net.run_for(Span::from_ms(300));
        let block = net.block(3, &cuts[round - 1], &cut).expect("pulled");
        assert_eq!(block.len(), 2);
        net.lanes[3].executed(Round(round as u64), &cut);
    }
    assert!(net.count(|from, _, send| from == 3 && is_want_entry(send)) > 0);
    assert_eq!(net.lanes[3].next_wakeup(), None);
}

#[test]
fn bodies_are_bounded_in_bytes_and_later_ones_give_way_to_earlier_ones() {
    let mut net = Net::with(4, settings(8, 3_500));
    let mut lane = vec![forge(3, Tip::default(), &[0; 1_000])];
    for _ in 1..6 {
        lane.push(forge(3, lane.last().expect("it has a first").tip(), &[0; 1_000]));
    }
    net.filter(|_, _, send| !is_want_entry(send));
    for entry in lane.iter().rev() {
        net.deliver(3, 0, &send(entry));
        assert!(net.lanes[0].chains[3].bodies() <= 3);
    }
    net.run();
    let echoed = net.count(|from, _, send| from == 0 && is_echo(send));
    assert_eq!(echoed, 3, "the first three fit, and those are the ones that can be echoed");
    // What was echoed is not given up for anything, and goes when it is decided.
    let mut cut = net.genesis();
    cut.0[3] = lane[2].tip();
    net.decide([0], 1, &cut);
    net.heal();
    net.lanes[0].executed(Round(1), &cut);
    for entry in &lane[3..] {
        net.deliver(3, 0, &send(entry));
    }
    net.run();
    assert_eq!(net.count(|from, _, send| from == 0 && is_echo(send)), 6);
}

#[test]
fn a_flood_of_places_bodies_and_requests_leaves_bounded_tables() {
    let mut net = Net::with(4, settings(2, 1 << 20));
    net.filter(|_, _, _| false);
    for seq in 0..2_000 {
        let parent = Tip { seq: Seq(seq), digest: Digest([9; 32]) };
        for payload in [b"a", b"b"] {
            net.deliver(3, 0, &send(&forge(3, parent, payload)));
            net.deliver(2, 0, &send(&forge(3, parent, payload)));
        }
        let tip = Tip { seq: Seq(seq + 1), digest: Digest([seq as u8; 32]) };
        let certificate = net.certificate(&[1, 2, 3], 1, tip);
        net.deliver(3, 0, &final_of(1, tip, certificate));
        for lane in 0..4 {
            let effects = net.lanes[0].want_certificates(net.now, &[(Index(lane), tip)]);
            net.absorb(0, effects);
        }
    }
    let lanes = &net.lanes[0];
    assert!(lanes.chains.iter().all(|chain| chain.slots() <= 16 && chain.bodies() <= 4));
    assert!(lanes.fetches.len() <= 4 * 16, "{} fetches", lanes.fetches.len());
    assert!(lanes.wants.len() <= 4 * 8, "{} wants", lanes.wants.len());
    net.run_for(Span::from_ms(120_000));
    assert_eq!(net.lanes[0].wants.len(), 0);
}

#[test]
fn nobody_gets_more_served_than_two_long_entries_at_once() {
    let mut net = Net::new(4);
    net.filter(|_, to, send| !(to == 3 && is_entry(send)));
    let payload = vec![0; (4 << 20) - (8 << 10)];
    for _ in 0..4 {
        net.append(0, &payload);
    }
    net.run();
    let wants: Vec<LaneSend> = net.lanes[0].chains[0]
        .echoes()
        .map(|(seq, digest, _)| LaneSend::Message(LaneMessage::WantEntry { owner: Index(0), seq, digest }))
        .collect();
    net.heal();
    net.log.clear();
    for _ in 0..10 {
        for want in &wants {
            net.deliver(3, 0, want);
        }
    }
    net.run();
    assert_eq!(net.count(|from, to, send| (from, to) == (0, 3) && is_entry(send)), 4);
    for want in &wants {
        net.deliver(2, 0, want);
    }
    net.run();
    assert_eq!(
        net.count(|from, to, send| (from, to) == (0, 2) && is_entry(send)),
        4,
        "others are not affected"
    );
}

#[test]
fn the_history_is_bounded_by_rounds_and_by_bytes() {
    for (history_rounds_max, history_bytes_max, kept) in [(3, 1 << 20, 3), (100, 5_000, 3), (100, 0, 0)] {
        let settings = LaneSettings { history_rounds_max, history_bytes_max, ..LaneSettings::default() };
        let mut net = Net::with(4, settings);
        let mut cuts = vec![net.genesis()];
        for round in 1..=10 {
            net.append(1, &[0; 1_200]);
            net.run();
            cuts.push(net.lanes[0].cut());
            net.decide(0..4, round, &cuts[round as usize].clone());
            (0..4).for_each(|at| net.lanes[at].executed(Round(round), &cuts[round as usize]));
        }
        assert!(net.lanes[0].history.bytes() <= history_bytes_max);
        assert_eq!(net.lanes[0].history_from(), (kept > 0).then_some(Round(11 - kept)));
        let has = |round: usize| net.block(0, &cuts[round - 1], &cuts[round]).is_some();
        assert_eq!((1..=10).filter(|round| has(*round)).count() as u64, kept);
        assert_eq!(seq_of(&cuts[10], 1), Seq(10));
    }
}
