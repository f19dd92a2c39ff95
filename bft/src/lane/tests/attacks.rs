//! Lanes under attack by Byzantine members.

use wire::ids::{Digest, Index, NodeId, Seq};

use super::net::{INVALID, Net, final_of, forge, is_echo, is_want_entries, send, seq_of};
use crate::crypto::cert::Certificate;
use crate::cut::{Cut, Tip};
use crate::fault::FaultKind;
use crate::lane::{LaneMessage, LaneSend};
use crate::mvba::LaneCertificates;

/// Echoes of one seq of a lane by one member.
fn echoes(net: &Net, by: usize, owner: usize, at: u64) -> usize {
    net.count(|from, _, send| match send {
        LaneSend::Message(LaneMessage::Echo { owner: of, seq, .. }) => {
            (from, usize::from(of.0), seq.0) == (by, owner, at)
        }
        _ => false,
    })
}

fn cut_with(net: &Net, lane: usize, tip: Tip) -> Cut {
    let mut cut = net.genesis();
    cut.0[lane] = tip;
    cut
}

#[test]
fn only_one_branch_of_an_equivocating_lane_is_certified() {
    let mut net = Net::of(4);
    let (a, b) = (forge(3, Tip::default(), b"a"), forge(3, Tip::default(), b"b"));
    for (to, entry) in [(0, &a), (1, &a), (2, &b)] {
        net.give(3, to, &send(entry));
    }
    // Each member signs one of the two, so at most one gets three signatures.
    net.deliver();
    assert_eq!([0, 1, 2].map(|at| echoes(&net, at, 3, 1)), [1, 1, 1]);
    for (to, entry) in [(0, &b), (1, &b), (2, &a)] {
        net.give(3, to, &send(entry));
    }
    net.deliver();
    assert_eq!([0, 1, 2].map(|at| echoes(&net, at, 3, 1)), [1, 1, 1], "nobody signs the other branch");
    assert_eq!(net.faults_of(3), [FaultKind::Equivocation; 3]);

    let certificate = net.certified_by(&[0, 1, 3], 3, a.tip());
    for to in 0..3 {
        net.give(3, to, &final_of(3, a.tip(), certificate.clone()));
    }
    net.filter(|from, to, _| from != 3 && to != 3);
    net.pass_ms(2_000);
    assert!(net.count(|from, _, send| from == 2 && is_want_entries(send)) > 0);
    assert!((0..3).all(|at| net.cut(at).0[3] == a.tip()));

    // The next entry of the certified branch is echoed by all, that of the dead branch by none.
    let next = forge(3, a.tip(), b"next");
    net.heal();
    for to in 0..3 {
        net.give(3, to, &send(&next));
    }
    net.deliver();
    assert_eq!([0, 1, 2].map(|at| echoes(&net, at, 3, 2)), [1, 1, 1]);
    let (genesis, cut) = (net.genesis(), net.cut(2));
    net.decide(0..3, 1, &cut);
    assert!((0..3).all(|at| net.block(at, &genesis, &cut) == Some(vec![(3, 1, b"a".to_vec())])));
}

#[test]
fn no_entry_at_or_below_the_decided_cut_is_echoed() {
    let mut net = Net::of(4);
    let (a, b) = (forge(3, Tip::default(), b"a"), forge(3, Tip::default(), b"b"));
    let second = forge(3, a.tip(), b"second");
    let cut = cut_with(&net, 3, second.tip());
    net.decide([0, 1], 1, &cut);
    for to in [0, 1] {
        for entry in [&a, &b, &second] {
            net.give(3, to, &send(entry));
        }
    }
    net.deliver();
    assert_eq!(net.count(|_, _, send| is_echo(send)), 0);
    let block = net.block(0, &net.genesis(), &cut).expect("the wanted bodies were taken all the same");
    assert_eq!(block, [(3, 1, b"a".to_vec()), (3, 2, b"second".to_vec())]);
}

#[test]
fn an_entry_is_echoed_only_on_an_echoed_decided_or_certified_parent() {
    let mut net = Net::of(4);
    let first = forge(3, Tip::default(), b"1");
    let stranger = Tip { seq: Seq(1), digest: Digest([9; 32]) };
    // The first entry does not follow the empty lane.
    let loose = forge(3, Tip { seq: Seq(0), digest: Digest([9; 32]) }, b"loose");
    net.give(3, 0, &send(&loose));
    net.give(3, 0, &send(&forge(3, loose.tip(), b"after it")));
    // The second one follows another than the first.
    net.give(3, 1, &send(&first));
    net.give(3, 1, &send(&forge(3, stranger, b"2")));
    net.filter(|from, _, _| from != 3);
    net.pass_ms(1_000);
    let counts = |net: &Net| [0, 1].map(|at| (echoes(net, at, 3, 1), echoes(net, at, 3, 2)));
    assert_eq!(counts(&net), [(0, 0), (1, 0)]);
    // With a certificate for the stranger the second is echoed as soon as the stranger's body is here, which is never.
    let certificate = net.certified_by(&[0, 2, 3], 3, stranger);
    net.give(2, 1, &final_of(3, stranger, certificate));
    net.pass_ms(1_000);
    assert_eq!(counts(&net), [(0, 0), (1, 0)]);
}

#[test]
fn a_repeated_entry_gets_the_same_echo_again() {
    let mut net = Net::of(4);
    let entry = forge(3, Tip::default(), b"x");
    for _ in 0..3 {
        net.give(3, 0, &send(&entry));
    }
    // From another than the owner it is no SEND.
    net.give(1, 0, &send(&entry));
    net.give(1, 2, &send(&entry));
    net.deliver();
    assert_eq!((echoes(&net, 0, 3, 1), echoes(&net, 2, 3, 1)), (3, 0));
    let echoed: Vec<_> = net.delivered.iter().map(|(.., send)| send).collect();
    assert!(echoed.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(
        net.faults.iter().all(|(at, _)| *at == NodeId(3)),
        "only the owner, who never appended it, is surprised"
    );
}

#[test]
fn certificates_are_checked_in_every_field() {
    let mut net = Net::of(7);
    let tip = Tip { seq: Seq(1), digest: Digest([1; 32]) };
    let good = net.certified_by(&[0, 1, 2, 3, 4], 6, tip);
    let other_digest = net.certified_by(&[0, 1, 2, 3, 4], 6, Tip { digest: Digest([2; 32]), ..tip });
    let other_seq = net.certified_by(&[0, 1, 2, 3, 4], 6, Tip { seq: Seq(2), ..tip });
    let edit = |change: &dyn Fn(&mut Certificate)| {
        let mut certificate = good.clone();
        change(&mut certificate);
        certificate
    };
    for (what, bad) in [
        ("short", edit(&|it| it.0.truncate(4))),
        ("empty", edit(&|it| it.0.clear())),
        ("long", net.certified_by(&[0, 1, 2, 3, 4, 5], 6, tip)),
        ("a signer twice", net.certified_by(&[0, 1, 2, 3, 3], 6, tip)),
        ("out of order", edit(&|it| it.0.swap(0, 1))),
        ("no member", edit(&|it| it.0[4].0 = Index(7))),
        ("another's signature", edit(&|it| it.0[4].0 = Index(5))),
        ("forged", edit(&|it| it.0[2].1.s[0] ^= 1)),
        ("of another lane", net.certified_by(&[0, 1, 2, 3, 4], 5, tip)),
        ("of another entry", other_digest),
        ("of another seq", other_seq),
    ] {
        let mut net = Net::of(7);
        net.give(5, 0, &final_of(6, tip, bad));
        assert_eq!(net.faults_of(5), [FaultKind::BadCertificate], "{what}");
        assert!(!net.parties[0].is_certified(Index(6), tip), "{what}");
        // Its FINALs are not looked at any more; those of others are.
        net.give(5, 0, &final_of(6, tip, good.clone()));
        assert_eq!(net.cut(0), net.genesis(), "{what}");
        net.give(4, 0, &final_of(6, tip, good.clone()));
        assert!(net.parties[0].is_certified(Index(6), tip), "{what}");
    }
    // A good one is ignored where it has no effect: at or below the decided cut, or out of reach.
    let cut = cut_with(&net, 6, Tip { seq: Seq(1), digest: Digest([3; 32]) });
    net.decide([0], 1, &cut);
    net.give(5, 0, &final_of(6, tip, good));
    let far = Tip { seq: Seq(1_000), ..tip };
    let certificate = net.certified_by(&[0, 1, 2, 3, 4], 6, far);
    net.give(5, 0, &final_of(6, far, certificate));
    assert_eq!((net.cut(0), net.faults.len()), (cut, 0));
}

#[test]
fn a_bad_echo_bars_its_author_only() {
    let mut net = Net::of(4);
    net.filter(|from, to, send| !(is_echo(send) && to == 0 && (from == 2 || from == 3)));
    for seq in 1..=2 {
        net.append(0, b"x");
        net.deliver();
        let tip = Tip { seq: Seq(seq), digest: net.parties[0].own.last().digest };
        let mut signature = net.sign(3, tip, 0);
        signature.s[3] ^= 1;
        let (owner, digest) = (Index(0), tip.digest);
        let echo =
            |signature| LaneSend::Message(LaneMessage::Echo { owner, seq: tip.seq, digest, signature });
        net.give(3, 0, &echo(signature));
        // Even a good signature of it does not count any more.
        net.give(3, 0, &echo(net.sign(3, tip, 0)));
        assert_eq!(seq_of(&net.cut(0), 0), Seq(seq - 1));
        net.give(2, 0, &echo(net.sign(2, tip, 0)));
        assert_eq!(seq_of(&net.cut(0), 0), Seq(seq));
    }
    assert_eq!(net.faults_of(3), [FaultKind::BadSignature], "one failed batch in all");
}

#[test]
fn an_invalid_entry_is_never_echoed_and_is_one_fault() {
    let mut net = Net::of(4);
    let bad = forge(3, Tip::default(), &[INVALID]);
    net.give(3, 0, &send(&bad));
    net.give(3, 0, &send(&bad));
    net.give(3, 0, &send(&forge(3, bad.tip(), b"fine")));
    net.pass_ms(5_000);
    assert_eq!(net.count(|_, _, send| is_echo(send)), 0);
    assert_eq!(net.faults_of(3), [FaultKind::InvalidEntry]);
    assert_eq!(net.parties[0].next_wakeup(), None);
}

#[test]
fn impossible_messages_are_faults_of_their_senders() {
    let mut net = Net::of(4);
    let longest = net.committee.protocol().proposal_bytes_max as usize;
    let tip = Tip { seq: Seq(1), digest: Digest([1; 32]) };
    let signature = net.sign(3, tip, 0);
    let (seq, digest) = (tip.seq, tip.digest);
    let message = LaneSend::Message;
    let wants = |tips: &[(Index, Tip)]| message(LaneMessage::WantCertificates { tips: tips.to_vec() });
    let want = |seq| (Index(1), Tip { seq: Seq(seq), digest: Digest::default() });
    let too_many: Vec<_> = (0..=wire::limits::WANTS_PER_MESSAGE_MAX as u64).map(want).collect();
    let mut malformed = forge(3, Tip::default(), b"x");
    malformed.body = wire::bytes::Bytes::from(vec![7; 100]);
    let certificate = Certificate(Vec::new());
    for (what, sent, expected) in [
        ("malformed", send(&malformed), FaultKind::Malformed),
        ("no such lane", send(&forge(4, Tip::default(), b"x")), FaultKind::OutOfRange),
        ("too long", send(&forge(3, Tip::default(), &vec![0; longest + 1])), FaultKind::InvalidEntry),
        (
            "an echo for another lane",
            message(LaneMessage::Echo { owner: Index(1), seq, digest, signature }),
            FaultKind::OutOfRange,
        ),
        (
            "an echo for what we never sent",
            message(LaneMessage::Echo { owner: Index(0), seq, digest, signature }),
            FaultKind::OutOfRange,
        ),
        ("FINAL of no lane", final_of(4, tip, certificate), FaultKind::OutOfRange),
        (
            "a request for no lane",
            message(LaneMessage::WantEntries { owner: Index(9), seq, digest, count: 1 }),
            FaultKind::OutOfRange,
        ),
        ("a request for a certificate of no lane", wants(&[(Index(9), tip)]), FaultKind::OutOfRange),
        ("the same certificate twice", wants(&[(Index(1), tip), (Index(1), tip)]), FaultKind::OutOfRange),
        ("more certificates than two cuts have", wants(&too_many), FaultKind::OutOfRange),
    ] {
        net.faults.clear();
        net.give(3, 0, &sent);
        assert_eq!(net.faults_of(3), [expected], "{what}");
    }
    net.faults.clear();
    net.give(9, 0, &send(&forge(3, Tip::default(), b"x")));
    net.act(0, |it, now| {
        it.handle(now, NodeId(4), LaneMessage::WantEntries { owner: Index(0), seq, digest, count: 1 })
    });
    assert_eq!(net.faults_of(9), [FaultKind::NotAMember]);
    assert_eq!(net.faults_of(4), [FaultKind::NotAMember]);
    net.append(0, b"mine");
    net.faults.clear();
    net.give(3, 0, &message(LaneMessage::Echo { owner: Index(0), seq, digest, signature }));
    assert_eq!(net.faults_of(3), [FaultKind::OutOfRange], "an echo for another entry than ours");
}

#[test]
fn a_second_process_with_our_key_does_not_make_us_sign_twice() {
    let mut net = Net::of(4);
    net.append(0, b"ours");
    net.append(0, b"ours too");
    let theirs = forge(0, Tip::default(), b"theirs");
    let cut = cut_with(&net, 0, theirs.tip());
    net.decide([0], 1, &cut);
    assert_eq!(net.parties[0].own_open(), 0);
    assert_eq!(net.parties[0].room(), None, "seq 2 is signed already, after another first entry");
    let cut = cut_with(&net, 0, forge(0, theirs.tip(), b"x").tip());
    net.decide([0], 2, &cut);
    assert!(net.parties[0].room().is_some(), "seq 3 is free");
    net.append(0, b"third");
    assert_eq!(net.parties[0].own.last().seq, Seq(3));
}
