//! Bounds on the memory and messages that a peer can cause.

use wire::dest::Dest;
use wire::ids::{Digest, Index, NodeId, Round, Seq};
use wire::limits::{LANE_OPEN_BYTES_MAX, PROPOSAL_BYTES_MAX, RESEND_BURST_BYTES, RESEND_BYTES_PER_S};

use super::net::{Net, final_of, forge, is_echo, is_entry, is_want_entries, send, seq_of};
use crate::cut::{Cut, Tip};
use crate::lane::entry::HEADER_BYTES;
use crate::lane::{HistoryPlace, LaneEffects, LaneMessage, LaneSend, LaneSettings};
use crate::time::Span;

fn settings(pipeline: u64, kept_bytes_max: u64) -> LaneSettings {
    LaneSettings { pipeline, kept_bytes_max, ..LaneSettings::default() }
}

#[test]
fn a_member_that_is_behind_keeps_headers_and_fetches_bodies() {
    // Members 0 to 2 decide rounds of two entries; member 3 receives all messages and decides no round.
    let mut net = Net::with(4, settings(2, 1 << 20));
    let mut cuts: Vec<Cut> = vec![net.genesis()];
    for round in 1..=12 {
        net.append(0, &[round as u8; 1_000]);
        net.append(0, &[round as u8; 1_000]);
        net.deliver();
        cuts.push(net.cut(0));
        net.decide(0..3, round, &cuts[round as usize].clone());
    }
    assert_eq!(net.cut(0).0[0].seq, Seq(24));
    let echoed = net.count(|from, to, send| (from, to) == (3, 0) && is_echo(send));
    assert_eq!(echoed, 4, "twice the pipeline");
    assert_eq!(net.parties[3].chains[0].bodies(), 4);
    assert_eq!(net.cut(3).0[0].seq, Seq(16), "headers and certificates reach eight times as far");
    assert!(net.faults_of(0).is_empty(), "being ahead is no fault");
    for round in 1..=12usize {
        let cut = cuts[round].clone();
        net.decide([3], round as u64, &cut);
        net.pass_ms(300);
        let block = net.block(3, &cuts[round - 1], &cut).expect("pulled");
        assert_eq!(block.len(), 2);
        net.parties[3].executed(Round(round as u64), &cut);
    }
    assert!(net.count(|from, _, send| from == 3 && is_want_entries(send)) > 0);
    assert_eq!(net.parties[3].next_wakeup(), None);
}

#[test]
fn bodies_are_bounded_and_later_ones_are_dropped_first() {
    let mut net = Net::with(4, settings(8, 3_500));
    let mut lane = vec![forge(3, Tip::default(), &[0; 1_000])];
    for _ in 1..6 {
        lane.push(forge(3, lane.last().expect("it has a first").tip(), &[0; 1_000]));
    }
    net.filter(|_, _, send| !is_want_entries(send));
    for (delivered, entry) in (1..).zip(lane.iter().rev()) {
        net.give(3, 0, &send(entry));
        assert_eq!(net.parties[0].chains[3].bodies(), delivered.min(3), "only as many give way as must");
    }
    net.deliver();
    let echoed = net.count(|from, _, send| from == 0 && is_echo(send));
    assert_eq!(echoed, 3, "the first three fit, and those are the ones that can be echoed");
    // An echoed body is never dropped, and is freed when it is decided.
    let mut cut = net.genesis();
    cut.0[3] = lane[2].tip();
    net.decide([0], 1, &cut);
    net.heal();
    net.parties[0].executed(Round(1), &cut);
    let slots = net.parties[0].chains[3].slots();
    net.give(3, 0, &send(&lane[2]));
    assert_eq!(net.parties[0].chains[3].slots(), slots, "nothing is kept of what was executed");
    for entry in &lane[3..] {
        net.give(3, 0, &send(entry));
    }
    net.deliver();
    assert_eq!(net.count(|from, _, send| from == 0 && is_echo(send)), 6);
}

#[test]
fn a_flood_of_entries_and_requests_fills_bounded_tables() {
    let mut net = Net::with(4, settings(2, 1 << 20));
    net.filter(|_, _, _| false);
    for seq in 0..2_000 {
        let parent = Tip { seq: Seq(seq), digest: Digest([9; 32]) };
        for payload in [b"a", b"b"] {
            net.give(3, 0, &send(&forge(3, parent, payload)));
            net.give(2, 0, &send(&forge(3, parent, payload)));
        }
        let tip = Tip { seq: Seq(seq + 1), digest: Digest([seq as u8; 32]) };
        let certificate = net.certified_by(&[1, 2, 3], 1, tip);
        net.give(3, 0, &final_of(1, tip, certificate));
        for lane in 0..4 {
            net.act(0, |it, now| it.want_certificates(now, Index(3), &[(Index(lane), tip)]));
        }
    }
    let lanes = &net.parties[0];
    assert!(lanes.chains.iter().all(|chain| chain.slots() <= 16 && chain.bodies() <= 4));
    assert!(lanes.fetches.len() <= 4 * 16, "{} fetches", lanes.fetches.len());
    assert!(lanes.wants.len() <= 4 * 8, "{} wants", lanes.wants.len());
    net.pass_ms(120_000);
    assert_eq!(net.parties[0].wants.len(), 0);
}

#[test]
fn a_peer_is_served_two_long_entries_at_once() {
    let mut net = Net::of(4);
    net.filter(|_, to, send| !(to == 3 && is_entry(send)));
    let payload = vec![0; (4 << 20) - (8 << 10)];
    for _ in 0..4 {
        net.append(0, &payload);
    }
    net.deliver();
    let wants: Vec<LaneSend> = net.parties[0].chains[0]
        .echoes()
        .map(|(seq, digest, _)| {
            LaneSend::Message(LaneMessage::WantEntries { owner: Index(0), seq, digest, count: 1 })
        })
        .collect();
    net.heal();
    net.delivered.clear();
    for _ in 0..10 {
        for want in &wants {
            net.give(3, 0, want);
        }
    }
    net.deliver();
    assert_eq!(net.count(|from, to, send| (from, to) == (0, 3) && is_entry(send)), 4);
    for want in &wants {
        net.give(2, 0, want);
    }
    net.deliver();
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
            net.deliver();
            cuts.push(net.cut(0));
            net.decide(0..4, round, &cuts[round as usize].clone());
            (0..4).for_each(|at| net.parties[at].executed(Round(round), &cuts[round as usize]));
        }
        assert!(net.parties[0].history.bytes() <= history_bytes_max);
        assert_eq!(net.parties[0].history_from(), (kept > 0).then_some(Round(11 - kept)));
        let has = |round: usize| net.block(0, &cuts[round - 1], &cuts[round]).is_some();
        assert_eq!((1..=10).filter(|round| has(*round)).count() as u64, kept);
        assert_eq!(seq_of(&cuts[10], 1), Seq(10));
    }
}

#[test]
fn a_history_in_the_journal_names_what_the_journal_must_have() {
    let history_place = HistoryPlace::Journal;
    let settings = LaneSettings { history_rounds_max: 2, history_place, ..LaneSettings::default() };
    let mut net = Net::with(4, settings);
    let mut cut = net.genesis();
    let mut tips = Vec::new();
    for round in 1..=3 {
        net.append(1, &[0; 1_200]);
        net.deliver();
        cut = net.cut(0);
        tips.push(cut.0[1]);
        net.decide(0..4, round, &cut);
        (0..4).for_each(|at| net.parties[at].executed(Round(round), &cut));
    }
    let digests: Vec<Digest> = tips[1..].iter().map(|tip| tip.digest).collect();
    assert_eq!(net.parties[0].in_journal().collect::<Vec<_>>(), digests);
    let Tip { seq, digest } = cut.0[1];
    let want = LaneMessage::WantEntries { owner: Index(1), seq, digest, count: 3 };
    let now = net.now;
    let effects = net.parties[0].handle(now, NodeId(3), want);
    let kept = |tip: &Tip| {
        (Dest::Node(NodeId(3)), LaneSend::Kept { owner: Index(1), seq: tip.seq, digest: tip.digest })
    };
    assert_eq!(effects.sends, [kept(&tips[2]), kept(&tips[1])], "and the oldest is forgotten");
    assert!(net.block(0, &net.genesis(), &cut).is_none(), "nothing of it is in memory");
}

/// Bytes that these effects put into the outlet: each entry once, whatever the number of its recipients.
fn outlet_bytes(effects: &LaneEffects) -> u64 {
    let bytes = effects.sends.iter().map(|(_, send)| match send {
        LaneSend::Entry { body, .. } => body.len() as u64,
        LaneSend::Kept { .. } | LaneSend::Message(_) => 0,
    });
    bytes.sum()
}

/// A member whose window is full of entries without ECHOs.
fn full_window(n: u16) -> Net {
    let mut net = Net::of(n);
    net.filter(|_, _, _| false);
    while let Some(room) = net.parties[0].room() {
        net.append(0, &vec![1; room.min(4 << 20) - 64]);
    }
    net.deliver();
    net
}

/// Bytes that may be sent again within a second: the burst, the entry that goes beyond it, and the rate of the second.
const SECOND_MAX: u64 = RESEND_BURST_BYTES + PROPOSAL_BYTES_MAX + HEADER_BYTES as u64 + RESEND_BYTES_PER_S;

#[test]
fn new_processes_and_restarts_cause_a_bounded_resend() {
    for n in [4u16, 16, 31] {
        let mut net = full_window(n);
        let burst_max = SECOND_MAX - RESEND_BYTES_PER_S;
        let mut ups = 0;
        for _ in 0..10 {
            for peer in 1..n {
                ups += outlet_bytes(&net.parties[0].on_peer_up(net.now, NodeId(peer)));
            }
        }
        assert!(ups <= burst_max, "N = {n}: {ups} bytes by ten new processes of each peer");
        net.now = net.now + Span::from_ms(60_000);
        let restarted = outlet_bytes(&net.parties[0].on_child_restarted(net.now));
        assert!(restarted <= burst_max, "N = {n}: {restarted} bytes by a restart of a child");
        let mut second = restarted;
        for _ in 0..100 {
            net.now = net.now + Span::from_ms(10);
            second += outlet_bytes(&net.parties[0].on_child_restarted(net.now));
            second += outlet_bytes(&net.parties[0].on_peer_up(net.now, NodeId(1)));
        }
        assert!(second <= SECOND_MAX, "N = {n}: {second} bytes in a second of restarts");
    }
}

#[test]
fn a_lost_window_is_sent_again_once_at_a_bounded_rate() {
    let mut net = full_window(31);
    net.heal();
    let start = net.now;
    let restarted = net.parties[0].on_child_restarted(net.now);
    assert!(
        restarted.sends.iter().all(|(dest, _)| *dest == Dest::ShardOthers),
        "one copy crosses the outlet"
    );
    net.did(0, restarted);
    net.pass_ms(3_000);
    assert_eq!(seq_of(&net.cut(0), 0), Seq(8), "the whole window is certified");
    let sent = net.count(|from, _, send| from == 0 && is_entry(send));
    assert_eq!(sent, 8 * 30, "each entry once to each");
    assert!(net.faults.is_empty());
    assert!(net.now - start <= Span::from_ms(3_000) && LANE_OPEN_BYTES_MAX / RESEND_BYTES_PER_S < 3);
}

/// A peer that comes up again and again gets the lowest entries each time; the other peers have their turns all the
/// same.
#[test]
fn a_peer_that_returns_every_second_does_not_delay_what_others_lost() {
    let mut net = full_window(7);
    net.heal();
    // Member 6 never answers; member 1 comes up once.
    net.filter(|_, to, _| to == 1 || to == 0);
    net.act(0, |it, now| it.on_peer_up(now, NodeId(1)));
    for _ in 0..4 {
        net.act(0, |it, now| it.on_peer_up(now, NodeId(6)));
        net.pass_ms(1_000);
    }
    let echoed = net.count(|from, to, send| (from, to) == (1, 0) && is_echo(send));
    assert_eq!(echoed, 8);
}

/// Certified and decided entries are not sent again: FINAL is enough, and a peer without the body fetches it.
#[test]
fn only_uncertified_unechoed_entries_are_sent_again() {
    let mut net = Net::of(4);
    net.filter(|_, to, _| to != 3);
    net.append(0, &[1; 1_000]);
    net.append(0, &[2; 1_000]);
    net.deliver();
    let mut cut = net.genesis();
    cut.0[0] =
        net.parties[0].chains[0].all_certified().next().map(|(seq, digest)| Tip { seq, digest }).unwrap();
    net.decide([0], 1, &cut);
    let up = net.parties[0].on_peer_up(net.now, NodeId(3));
    assert_eq!(outlet_bytes(&up), 0);
    let finals = up.sends.iter().filter(|(_, send)| super::net::is_final(send)).count();
    assert_eq!(finals, 1, "only the second entry is open");
    net.heal();
    net.did(0, up);
    net.pass_ms(400);
    assert!(net.parties[3].chains[0].bodies() >= 1, "fetched");
}

/// A SEND of an SPB with a false tip in every lane makes each receiver send one request to the author, later f+1
/// members, then all, each in one message.
#[test]
fn a_false_proposal_costs_a_few_messages() {
    for n in [4u16, 16] {
        let mut net = Net::of(n);
        let false_tip = |lane: u16| (Index(lane), Tip { seq: Seq(1), digest: Digest([0xEE; 32]) });
        let tips: Vec<_> = (0..n).map(false_tip).collect();
        for at in 0..n - 1 {
            let effects = net.parties[usize::from(at)].want_certificates(net.now, Index(n - 1), &tips);
            assert_eq!(effects.sends.len(), 1);
            assert_eq!(effects.sends[0].0, Dest::Node(NodeId(n - 1)), "its author is asked");
            net.did(usize::from(at), effects);
            let again = net.parties[usize::from(at)].want_certificates(net.now, Index(n - 1), &tips);
            assert!(again.sends.is_empty());
        }
        net.deliver();
        let frames = |net: &Net| net.delivered.len();
        assert_eq!(frames(&net), usize::from(n) - 1);
        net.pass_ms(300);
        let others = usize::from(n) - 1;
        let one_honest = (others / 3) + 1;
        assert_eq!(frames(&net), others * (1 + one_honest));
        net.pass_ms(60_000);
        assert_eq!(frames(&net), others * (1 + one_honest + 6 * others), "then the wants are given up");
        assert_eq!(net.parties[0].next_wakeup(), None);
    }
}

/// However many false proposals arrive, each member gets at most two requests within 25 ms.
#[test]
fn many_false_proposals_cost_one_message_each() {
    let n = 16;
    let mut net = Net::of(n);
    for proposer in 1..n {
        let tip =
            |lane: u16| (Index(lane), Tip { seq: Seq(1 + u64::from(proposer)), digest: Digest([9; 32]) });
        let tips: Vec<_> = (0..n).map(tip).collect();
        net.act(0, |it, now| it.want_certificates(now, Index(proposer), &tips));
        net.now = net.now + Span::from_ms(1);
    }
    net.deliver();
    assert_eq!(net.delivered.len(), 15);
    for _ in 0..60 {
        net.delivered.clear();
        net.pass_ms(25);
        for to in 1..16 {
            let requests = net.count(|from, at, _| (from, at) == (0, to));
            assert!(requests <= 2, "one as a next member, one as any member: {requests}");
        }
    }
}

#[test]
fn the_resend_wait_grows_with_the_open_bytes() {
    let mut net = Net::of(4);
    net.filter(|_, _, _| false);
    let wait = |net: &mut Net, payload: &[u8]| {
        net.append(0, payload);
        net.parties[0].next_wakeup().expect("nobody has echoed it") - net.now
    };
    let short = wait(&mut net, b"x");
    assert!((1_000_000..1_001_000).contains(&short.0), "{short:?}");
    let mut net = Net::of(4);
    net.filter(|_, _, _| false);
    let long = wait(&mut net, &vec![0; 4 << 20]);
    assert!((2_000_000..2_001_000).contains(&long.0), "a quarter of a second a MiB: {long:?}");
}
