//! Fetches of missing bodies and certificates.

use wire::ids::{Digest, Index, Round, Seq};

use super::net::{Net, final_of, forge, is_echo, is_entry, is_final, is_want_entries, send, seq_of};
use crate::cut::{Cut, Tip};
use crate::lane::entry::Entry;
use crate::lane::{LaneMessage, LaneOutput, LaneSend};
use crate::mvba::LaneCertificates;
use crate::time::Span;

/// The Byzantine owner 6 of N = 7 lets only members 0 to 2 have its entries; with its helper 5 it gets certificates.
fn withheld(entries: &[Entry]) -> (Net, Cut) {
    let mut net = Net::of(7);
    net.filter(|from, to, _| from < 5 && to < 5);
    for entry in entries {
        for to in 0..3 {
            net.give(6, to, &send(entry));
        }
        let certificate = net.certified_by(&[0, 1, 2, 5, 6], 6, entry.tip());
        for to in 0..5 {
            net.give(6, to, &final_of(6, entry.tip(), certificate.clone()));
        }
    }
    let mut cut = net.genesis();
    cut.0[6] = entries.last().expect("there is one").tip();
    (net, cut)
}

fn lane(owner: usize, payloads: &[&[u8]]) -> Vec<Entry> {
    let mut parent = Tip::default();
    let entries = payloads.iter().map(|payload| {
        let entry = forge(owner, parent, payload);
        parent = entry.tip();
        entry
    });
    entries.collect()
}

#[test]
fn a_body_withheld_from_all_but_f_plus_1_members_is_fetched() {
    let entries = lane(6, &[b"1", b"2", b"3"]);
    let (mut net, cut) = withheld(&entries);
    net.decide(0..5, 1, &cut);
    let genesis = net.genesis();
    assert!(net.block(0, &genesis, &cut).is_some() && net.block(4, &genesis, &cut).is_none());
    net.pass_ms(2_000);
    for at in 0..5 {
        assert_eq!(net.block(at, &genesis, &cut).expect("fetched").len(), 3, "at {at}");
        assert_eq!(net.parties[at].next_wakeup(), None);
    }
    assert_eq!(net.outputs[4].iter().filter(|it| **it == LaneOutput::EntryArrived(Index(6))).count(), 3);
    assert!(net.faults.is_empty());
}

#[test]
fn certified_bodies_are_fetched_before_a_block_needs_them() {
    let (mut net, cut) = withheld(&lane(6, &[b"1"]));
    net.pass_ms(3_000);
    net.decide(0..5, 1, &cut);
    assert!((0..5).all(|at| net.block(at, &net.genesis(), &cut).is_some()));
}

#[test]
fn a_node_that_learns_only_the_cut_fetches_back_through_parents() {
    let mut net = Net::of(4);
    net.filter(|from, to, _| from != 3 && to != 3);
    for payload in [b"1", b"2", b"3", b"4"] {
        net.append(0, payload);
    }
    net.deliver();
    let (genesis, cut) = (net.genesis(), net.cut(0));
    net.decide(0..3, 1, &cut);
    for at in 0..3 {
        net.parties[at].executed(Round(1), &cut);
    }
    net.heal();
    let start = net.now;
    net.decide([3], 1, &cut);
    net.pass_ms(40);
    assert_eq!(net.count(|_, _, send| is_want_entries(send)), 0, "it may be under way");
    net.pass_ms(20);
    assert_eq!(net.block(3, &genesis, &cut).expect("served from the history").len(), 4);
    assert_eq!(net.count(|from, _, send| from == 3 && is_want_entries(send)), 1, "one request for the run");
    assert!(net.now - start < Span::from_ms(100), "only the first was waited for");
}

#[test]
fn a_restart_of_our_child_repeats_open_requests_at_once() {
    let mut net = Net::of(4);
    net.append(0, b"x");
    net.filter(|_, to, send| !(to == 3 && is_entry(send)));
    net.deliver();
    let cut = net.cut(3);
    net.decide([3], 1, &cut);
    net.pass_ms(60);
    assert_eq!(net.count(|from, _, send| from == 3 && is_want_entries(send)), 1);
    net.act(3, |it, now| it.on_child_restarted(now));
    net.deliver();
    assert_eq!(net.count(|from, _, send| from == 3 && is_want_entries(send)), 2);
}

/// Four members of which 3 gets nothing while the others decide forty rounds of an entry each, and their cuts.
fn forty_rounds_without_one() -> (Net, Vec<Cut>) {
    const ENTRIES: u64 = 40;
    let mut net = Net::of(4);
    net.filter(|_, to, _| to != 3);
    let mut cuts = vec![net.genesis()];
    for round in 1..=ENTRIES {
        net.append(0, &[round as u8]);
        net.deliver();
        let cut = net.cut(0);
        net.decide(0..3, round, &cut);
        (0..3).for_each(|at| net.parties[at].executed(Round(round), &cut));
        cuts.push(cut);
    }
    (net, cuts)
}

/// A member that catches up requests missed entries at once, and each answer frees a slot for the next request.
#[test]
fn a_member_that_catches_up_fetches_as_fast_as_others_answer() {
    let (mut net, cuts) = forty_rounds_without_one();
    net.filter(|_, _, _| true);
    let decided = net.now;
    for (round, cut) in (1..).zip(&cuts[1..]) {
        net.decide_missed(3, round, cut);
    }
    net.deliver();
    assert_eq!(net.now, decided);
    let block = net.block(3, &cuts[0], &cuts[40]);
    assert_eq!(block.map(|entries| entries.len()), Some(40), "nothing but round trips has passed");
    let asked = net.count(|from, _, send| from == 3 && is_want_entries(send));
    assert!((3..=40).contains(&asked), "{asked} requests, of runs");
    let entries = net.count(|_, to, send| to == 3 && is_entry(send));
    assert_eq!(entries, 40, "each is requested once");
}

/// Eight requests at most wait for the answer of one member, whenever they were sent.
#[test]
fn a_member_gets_no_more_requests_than_it_can_answer() {
    let (mut net, cuts) = forty_rounds_without_one();
    let decided = net.now;
    for (round, cut) in (1..).zip(&cuts[1..]) {
        net.decide([3], round, cut);
        net.pass_ms(2);
    }
    net.pass_ms(60);
    assert!(net.now - decided < Span::from_ms(200), "no request is old enough to be repeated");
    let asked: Vec<usize> =
        (0..3).map(|at| net.count(|from, to, send| (from, to) == (3, at) && is_want_entries(send))).collect();
    assert_eq!(asked, [8, 8, 8]);
}

#[test]
fn a_fetch_goes_on_from_silent_signers_to_all_members() {
    let mut net = Net::of(4);
    net.append(0, b"x");
    net.filter(|_, to, send| !(to == 3 && is_entry(send)));
    net.deliver();
    let cut = net.cut(3);
    assert_eq!(seq_of(&cut, 0), Seq(1), "certified without it");
    net.decide(0..4, 1, &cut);
    net.pass_ms(30_000);
    let asked: Vec<usize> =
        (0..3).map(|at| net.count(|from, to, send| (from, to) == (3, at) && is_want_entries(send))).collect();
    assert!(asked.iter().all(|times| (3..20).contains(times)), "{asked:?}");
    net.heal();
    net.pass_ms(11_000);
    assert!(net.block(3, &net.genesis(), &cut).is_some(), "however long it took, it goes on asking");
}

#[test]
fn a_missing_parent_is_requested_from_the_owner_a_few_times() {
    let mut net = Net::of(4);
    net.append(0, b"1");
    net.append(0, b"2");
    let first = |send: &LaneSend| matches!(send, LaneSend::Entry { seq: Seq(1), .. });
    // Members 2 and 3 are late, so nothing is certified before member 1 has the parent.
    net.filter(move |_, to, send| to < 2 && !first(send));
    net.deliver();
    net.filter(|_, to, _| to < 2);
    net.pass_ms(900);
    assert_eq!(net.count(|from, to, send| (from, to) == (1, 0) && is_want_entries(send)), 1);
    assert_eq!(net.count(|from, to, send| (from, to) == (1, 0) && is_echo(send)), 2);

    let mut net = Net::of(4);
    let entries = lane(3, &[b"1", b"2"]);
    net.give(3, 0, &send(&entries[1]));
    net.filter(|_, to, _| to == 3);
    net.pass_ms(60_000);
    let asked = net.count(|from, to, send| (from, to) == (0, 3) && is_want_entries(send));
    assert_eq!(asked, 6, "an owner that does not answer is given up");
    assert_eq!(net.parties[0].next_wakeup(), None);
    // Whenever the parent comes after all, both are echoed.
    net.give(3, 0, &send(&entries[0]));
    net.deliver();
    assert_eq!(net.count(|from, to, send| (from, to) == (0, 3) && is_echo(send)), 2);
}

#[test]
fn a_wanted_certificate_is_requested_until_it_comes() {
    let mut net = Net::of(4);
    net.filter(|_, to, _| to != 3);
    net.append(0, b"x");
    net.deliver();
    let tip = net.cut(0).0[0];
    assert!(!net.parties[3].is_certified(Index(0), tip));
    net.act(3, |it, now| it.want_certificates(now, Index(1), &[(Index(0), tip), (Index(1), Tip::default())]));
    net.deliver();
    net.heal();
    net.pass_ms(225);
    assert!(net.parties[3].is_certified(Index(0), tip), "the members after us are asked next and answer");
    assert!(net.outputs[3].contains(&LaneOutput::Certified(Index(0), tip.seq)));
    assert_eq!(net.parties[3].wants.len(), 0);
    let again = net.parties[3].want_certificates(net.now, Index(1), &[(Index(0), tip)]);
    assert!(again.sends.is_empty(), "what is known is not asked for");

    // After the decision the certificate is still served, since others may be in that round yet; after the execution
    // it is not.
    let cut = net.cut(0);
    let want = LaneSend::Message(LaneMessage::WantCertificates { tips: vec![(Index(0), tip)] });
    net.decide([0], 1, &cut);
    let before = net.delivered.len();
    net.give(2, 0, &want);
    net.deliver();
    assert_eq!(net.delivered.len(), before + 1);
    net.parties[0].executed(Round(1), &cut);
    net.give(2, 0, &want);
    net.deliver();
    assert_eq!(net.delivered.len(), before + 1);
    assert!(net.parties[0].is_certified(Index(0), tip), "what was decided counts as certified");
}

#[test]
fn requests_for_a_certificate_end() {
    let mut net = Net::of(4);
    let tip = Tip { seq: Seq(1), digest: Digest([1; 32]) };
    net.act(0, |it, now| it.want_certificates(now, Index(3), &[(Index(3), tip)]));
    net.pass_ms(60_000);
    assert_eq!(net.delivered.len(), 1 + 2 + 6 * 3, "its proposer, f+1 members, all");
    assert_eq!(net.parties[0].next_wakeup(), None);
}

/// The proposer is silent, and only the last member that gets a request knows the certificate.
#[test]
fn a_certificate_is_found_without_its_proposer() {
    let mut net = Net::of(7);
    net.append(0, b"x");
    // Only member 0 learns the certificate.
    net.filter(|from, to, send| !(from == 0 && is_final(send)) && to != 6);
    net.deliver();
    let tip = net.cut(0).0[0];
    net.filter(|_, to, _| to != 5);
    net.act(1, |it, now| it.want_certificates(now, Index(5), &[(Index(0), tip)]));
    net.pass_ms(700);
    assert!(net.parties[1].is_certified(Index(0), tip));
}

#[test]
fn each_of_f_plus_1_proposers_gets_a_request_at_once() {
    let mut net = Net::of(7);
    let tips = [(Index(0), Tip { seq: Seq(1), digest: Digest([1; 32]) })];
    let asked: Vec<usize> = (1..7)
        .map(|proposer| net.parties[0].want_certificates(net.now, Index(proposer), &tips).sends.len())
        .collect();
    assert_eq!(asked, [1, 1, 1, 0, 0, 0], "one of three is honest and has it");
}

/// A SEND may wait for a certificate below the highest one of its lane after other wants displaced its own.
#[test]
fn a_certificate_is_reported_although_its_want_was_displaced() {
    let mut net = Net::of(4);
    net.filter(|from, to, _| from < 3 && to < 3);
    net.append(0, b"1");
    net.append(0, b"2");
    net.deliver();
    let certified: Vec<_> = net.parties[0].chains[0].all_certified().collect();
    let [first, second] = certified[..] else { panic!("two are certified") };
    let tip = |(seq, digest): (Seq, Digest)| Tip { seq, digest };
    net.heal();
    let want = |net: &mut Net, tip: Tip| {
        let effects = net.parties[3].want_certificates(net.now, Index(1), &[(Index(0), tip)]);
        drop(effects);
    };
    want(&mut net, tip(first));
    // As many false ones as a lane has room for.
    for number in 0..8 {
        want(&mut net, Tip { seq: Seq(3), digest: Digest([number; 32]) });
    }
    for entry in [second, first] {
        let certificate = net.parties[0].chains[0]
            .certificate(Tip { seq: entry.0, digest: entry.1 })
            .expect("it is certified")
            .clone();
        net.outputs[3].clear();
        net.give(0, 3, &final_of(0, tip(entry), certificate));
        assert_eq!(net.outputs[3], [LaneOutput::Certified(Index(0), entry.0)]);
    }
}

/// The first signers that get a request are silent: two of them cost one wait. One by one they would cost 600 ms, and
/// ten of them 8 s at N = 31.
#[test]
fn silent_signers_in_a_row_cost_a_few_waits() {
    for (n, silent, within_ms) in [(7, 2, 250), (31, 10, 1_700)] {
        for at in (1..n).step_by(usize::from(n) / 7) {
            let mut net = Net::of(n);
            net.append(0, b"x");
            net.filter(move |_, to, send| !(to == usize::from(at) && is_entry(send)));
            net.deliver();
            let cut = net.cut(usize::from(at));
            assert_eq!(seq_of(&cut, 0), Seq(1));
            // The signers that get the first requests.
            let signers = net.parties[usize::from(at)].chains[0].signers(Seq(1)).expect("it is certified");
            let mut row: Vec<usize> =
                signers.signers().filter(|it| it.0 != at).map(|it| usize::from(it.0)).collect();
            let start = usize::from(at) % row.len();
            row.rotate_left(start);
            row.truncate(silent);
            net.filter(move |from, _, _| !row.contains(&from));
            net.decide([usize::from(at)], 1, &cut);
            net.pass_ms(within_ms);
            let block = net.block(usize::from(at), &net.genesis(), &cut);
            assert!(block.is_some(), "N = {n}, member {at}");
        }
    }
}
