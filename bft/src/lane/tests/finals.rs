//! FINALs that are kept unverified, and what a certificate covers.

use wire::ids::{Index, Seq};

use super::net::{Net, final_of, forge, is_final, send, seq_of};
use crate::cut::Tip;
use crate::fault::FaultKind;
use crate::lane::{LaneOutput, Lanes};
use crate::mvba::LaneCertificates;

/// The tips of a lane, as a member has them.
fn tips(lanes: &Lanes, lane: usize) -> Vec<Tip> {
    lanes.chains[lane].bodies_kept().map(|entry| entry.tip()).collect()
}

#[test]
fn of_the_finals_between_two_cuts_the_highest_is_verified() {
    let mut net = Net::of(4);
    for payload in 0..6 {
        net.append(0, &[payload; 100]);
    }
    net.deliver();
    let tips = tips(&net.parties[1], 0);
    assert_eq!((net.outputs[1].len(), tips.len()), (0, 6), "all are echoed, and no FINAL is verified");
    assert_eq!(seq_of(&net.cut(1), 0), Seq(6));
    assert!(tips.iter().all(|tip| net.parties[1].is_certified(Index(0), *tip)), "the others are covered");
    assert_eq!(net.outputs[1].len(), 6, "and reported");
    let verified = tips.iter().filter(|tip| net.parties[1].chains[0].certificate(**tip).is_some());
    assert_eq!(verified.map(|tip| tip.seq).collect::<Vec<_>>(), [Seq(6)]);
    net.append(0, b"next");
    net.deliver();
    assert_eq!(seq_of(&net.cut(1), 0), Seq(7));
    assert!(net.faults.is_empty());
}

#[test]
fn a_false_final_that_was_kept_bars_its_owner_and_hides_no_true_one() {
    let mut net = Net::of(4);
    let first = forge(3, Tip::default(), b"first");
    let next = forge(3, first.tip(), b"next");
    net.filter(|_, to, _| to != 3);
    for to in 0..3 {
        net.give(3, to, &send(&first));
        net.give(3, to, &send(&next));
    }
    net.deliver();
    let truly = net.certified_by(&[0, 1, 3], 3, first.tip());
    net.give(3, 0, &final_of(3, first.tip(), truly.clone()));
    // Signatures of another entry.
    net.give(3, 0, &final_of(3, next.tip(), truly.clone()));
    assert_eq!(net.faults_of(3), [], "nobody has needed them");
    assert_eq!(net.cut(0), net.genesis());
    assert_eq!(net.faults_of(3), [FaultKind::BadCertificate]);
    assert_eq!(net.parties[0].may_be_ahead_of(&net.genesis()), 0, "no input waits for what its owner claims");
    net.give(3, 0, &final_of(3, first.tip(), truly.clone()));
    assert_eq!(net.cut(0), net.genesis(), "its owner is barred");
    net.give(1, 0, &final_of(3, first.tip(), truly));
    assert_eq!(net.cut(0).0[3], first.tip(), "from anybody else it is believed once verified");
    assert_eq!(net.faults_of(1), []);
}

#[test]
fn what_a_certificate_covers_is_proven_by_it_to_who_asks() {
    let mut net = Net::of(4);
    net.filter(|_, to, send| !(is_final(send) && to == 3));
    for payload in 0..3 {
        net.append(0, &[payload; 100]);
    }
    net.deliver();
    let second = tips(&net.parties[3], 0)[1];
    net.cut(1);
    assert!(
        net.parties[1].chains[0].certificate(second).is_none()
            && !net.parties[3].is_certified(Index(0), second)
    );
    net.heal();
    // Member 1 answers with the certificate of the third entry.
    net.act(3, |it, now| it.want_certificates(now, Index(1), &[(Index(0), second)]));
    net.deliver();
    assert!(net.parties[3].is_certified(Index(0), second));
    assert!(net.outputs[3].contains(&LaneOutput::Certified(Index(0), second.seq)));
    assert_eq!(seq_of(&net.cut(3), 0), Seq(3));
    assert_eq!(net.parties[3].next_wakeup(), None, "the want has ended");
}

#[test]
fn a_round_that_waits_for_a_certificate_has_each_final_verified_as_it_comes() {
    let mut net = Net::of(4);
    net.filter(|_, to, send| !(is_final(send) && to == 3));
    net.append(0, b"x");
    net.deliver();
    let tip = tips(&net.parties[3], 0)[0];
    net.filter(|from, to, _| (from, to) == (0, 3));
    net.act(3, |it, now| it.want_certificates(now, Index(1), &[(Index(0), tip)]));
    let certificate = net.certified_by(&[0, 1, 2], 0, tip);
    net.give(0, 3, &final_of(0, tip, certificate));
    assert_eq!(net.outputs[3], [LaneOutput::Certified(Index(0), Seq(1))]);
}

/// A member that lacks the body between two certified entries has the lower one covered when it arrives.
#[test]
fn cover_goes_on_when_a_missing_body_arrives() {
    let mut net = Net::of(4);
    let first = forge(3, Tip::default(), b"first");
    let second = forge(3, first.tip(), b"second");
    let third = forge(3, second.tip(), b"third");
    net.filter(|_, _, _| false);
    for entry in [&first, &third] {
        net.give(3, 0, &send(entry));
    }
    let certificate = net.certified_by(&[1, 2, 3], 3, third.tip());
    net.give(1, 0, &final_of(3, third.tip(), certificate));
    assert_eq!(net.outputs[0].len(), 2, "the third, and the second, which it names");
    assert!(!net.parties[0].is_certified(Index(3), first.tip()));
    net.give(2, 0, &send(&second));
    assert!(net.parties[0].is_certified(Index(3), first.tip()));
    assert_eq!(net.outputs[0].len(), 3);
}
