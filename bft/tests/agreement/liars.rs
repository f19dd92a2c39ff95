//! Bad signatures, equivocation and messages in the name of others count as faults and have no other effect.

use bft::crypto::suite::{Stage, Statement};
use bft::fault::FaultKind;
use bft::justification::Justification;
use bft::mvba::{Ballot, MvbaMessage, PreVote, Vote};
use bft::sim::bench::{Bench, Kind, Pick, all, only, stage};
use bft::spb::SpbMessage;
use wire::ids::{Digest, Index, Round, Signature, View};

use crate::Keys;

/// A bench in round 1 with the elected leader of view 0 first among the roles, the second a Byzantine member.
fn with_byzantine_member(keys: Keys) -> (Bench, [Index; 4]) {
    let mut bench = keys.bench(4, 3);
    let [l, b, a, d] = bench.cast(&[bench.coin(1, 0)]);
    bench.corrupt(&[b]);
    bench.advance_each();
    (bench, [l, b, a, d])
}

fn spb(leader: Index, message: SpbMessage) -> MvbaMessage {
    MvbaMessage::Spb { view: View(0), leader, message }
}

fn ballot(ballot: Ballot) -> MvbaMessage {
    MvbaMessage::Ballot { view: View(0), ballot }
}

fn without_value(leader: Index, stage: Stage) -> Statement {
    Statement::Agreement { round: Round(1), view: View(0), leader, stage, digest: Digest::default() }
}

fn flipped(mut signature: Signature) -> Signature {
    signature.r[0] ^= 1;
    signature
}

/// The Byzantine member sends `a` a bad message instead of its good one of that kind, when the quorum lacks one more.
/// The quorum leads to the message `next`, which must come only with the good message of `d`.
fn not_counted(
    mut bench: Bench,
    roles: [Index; 4],
    kind: Kind,
    bad: MvbaMessage,
    fault: FaultKind,
    next: &Pick,
) {
    let [_, b, a, d] = roles;
    bench.lose_always(only(kind).from(&[b]).to(&[a]).view(0));
    let due = |bench: &Bench| !bench.under_way(next).is_empty();
    // The round must not end earlier.
    let decisive = if kind == Kind::Share { only(Kind::Halt).to(&[a]) } else { only(Kind::Finish) };
    let held = [only(kind).from(&[d]).to(&[a]), next.clone(), decisive];
    bench.deliver_except(&held);
    bench.forge_mvba(b, &[a], bad);
    bench.deliver_except(&held);
    assert!(!due(&bench), "a bad {kind:?} was counted");
    let faults: Vec<_> =
        bench.faults().iter().map(|(member, fault)| (*member, fault.peer.0, fault.kind)).collect();
    assert_eq!(faults, [(a, b.0, fault)], "{kind:?}");
    bench.deliver(only(kind).from(&[d]).to(&[a]));
    assert!(due(&bench), "the third good {kind:?} is enough");
    bench.settle(1).unwrap();
}

#[test]
fn an_echo_or_ready_that_fails_verification_is_not_counted() {
    Keys::BOTH.into_iter().for_each(an_echo_or_ready_that_fails_verification_is_not_counted_on);
}

fn an_echo_or_ready_that_fails_verification_is_not_counted_on(keys: Keys) {
    let (bench, roles) = with_byzantine_member(keys);
    let [_, b, a, _] = roles;
    let cut = bench.own_cut(a);
    let signed = |at: Stage| flipped(bench.suite(b).sign(&stage(0, a, at, &cut)));
    let echo = spb(a, SpbMessage::Echo(signed(Stage::Lock)));
    not_counted(
        bench.clone(),
        roles,
        Kind::Echo,
        echo,
        FaultKind::BadSignature,
        &only(Kind::Lock).from(&[a]),
    );
    let ready = spb(a, SpbMessage::Ready(signed(Stage::Finish)));
    not_counted(
        bench.clone(),
        roles,
        Kind::Ready,
        ready,
        FaultKind::BadSignature,
        &only(Kind::Finish).from(&[a]),
    );
}

#[test]
fn an_echo_for_another_value_or_stage_is_not_counted() {
    Keys::BOTH.into_iter().for_each(an_echo_for_another_value_or_stage_is_not_counted_on);
}

fn an_echo_for_another_value_or_stage_is_not_counted_on(keys: Keys) {
    let (bench, roles) = with_byzantine_member(keys);
    let [_, b, a, _] = roles;
    let next = only(Kind::Lock).from(&[a]);
    for wrong in [
        stage(0, a, Stage::Lock, &bench.own_cut(b)),
        stage(0, a, Stage::Finish, &bench.own_cut(a)),
        stage(1, a, Stage::Lock, &bench.own_cut(a)),
        stage(0, b, Stage::Lock, &bench.own_cut(a)),
    ] {
        let echo = spb(a, SpbMessage::Echo(bench.suite(b).sign(&wrong)));
        not_counted(bench.clone(), roles, Kind::Echo, echo, FaultKind::BadSignature, &next);
    }
}

#[test]
fn a_bad_coin_share_is_not_counted() {
    Keys::BOTH.into_iter().for_each(a_bad_coin_share_is_not_counted_on);
}

fn a_bad_coin_share_is_not_counted_on(keys: Keys) {
    let (bench, roles) = with_byzantine_member(keys);
    let [_, b, a, d] = roles;
    let good = |signer, round, view| bench.shares_of(&[signer], round, view)[0].1;
    let mut spoilt = good(b, 1, 0);
    spoilt.value[31] ^= 1;
    for share in [spoilt, good(d, 1, 0), good(b, 1, 1), good(b, 2, 0)] {
        let message = MvbaMessage::CoinShare { view: View(0), share };
        let mut bench = bench.clone();
        // With N−f good shares the bad one would not be verified.
        bench.lose_always(only(Kind::Share).from(&[b]));
        let next = all().of(&[Kind::PreVote, Kind::Halt]).from(&[a]);
        not_counted(bench, roles, Kind::Share, message, FaultKind::BadCoinShare, &next);
    }
}

/// View 0 elects `l`, whose messages reached nobody, so all members refuse it.
fn refused_leader(keys: Keys) -> (Bench, [Index; 4]) {
    let (mut bench, [l, b, a, d]) = with_byzantine_member(keys);
    bench.lose_always(all().from(&[l]).spb(&[l]));
    bench.deliver_except(&[all().of(&[Kind::PreVote, Kind::Vote])]);
    (bench, [l, b, a, d])
}

#[test]
fn a_ballot_that_fails_verification_is_not_counted() {
    Keys::BOTH.into_iter().for_each(a_ballot_that_fails_verification_is_not_counted_on);
}

fn a_ballot_that_fails_verification_is_not_counted_on(keys: Keys) {
    let (mut bench, roles) = refused_leader(keys);
    let [l, b, a, _] = roles;
    // The refused leader itself would vote yes; here it is slow.
    let from_leader = all().of(&[Kind::PreVote, Kind::Vote]).from(&[l]);
    bench.lose(&from_leader);
    bench.lose_always(from_leader);
    let quorum =
        |bench: &Bench| bench.members().into_iter().filter(|member| *member != l).collect::<Vec<_>>();

    let refusal = without_value(l, Stage::No);
    for wrong in [without_value(l, Stage::Unlock), without_value(a, Stage::No)] {
        let pre_vote = ballot(Ballot::PreVote(PreVote::No { signature: bench.suite(b).sign(&wrong) }));
        refused(&bench, roles, Kind::PreVote, pre_vote);
    }
    let pre_vote = ballot(Ballot::PreVote(PreVote::No { signature: flipped(bench.suite(b).sign(&refusal)) }));
    refused(&bench, roles, Kind::PreVote, pre_vote);

    let refusals = bench.signed_by(&quorum(&bench), &refusal);
    for wrong in [without_value(l, Stage::No), without_value(b, Stage::Unlock)] {
        let signature = bench.suite(b).sign(&wrong);
        refused(
            &bench,
            roles,
            Kind::Vote,
            ballot(Ballot::Vote(Vote::No { refusals: refusals.clone(), signature })),
        );
    }
    let (cut, lock) = (bench.own_cut(l), stage(0, l, Stage::Lock, &bench.own_cut(l)));
    let certificate = bench.signed_by(&quorum(&bench), &lock);
    let signature = bench.suite(b).sign(&lock);
    refused(&bench, roles, Kind::Vote, ballot(Ballot::Vote(Vote::Yes { cut, certificate, signature })));
}

/// The Byzantine member sends a bad ballot instead of its good one: a fault, and a stays where it is.
fn refused(bench: &Bench, [_, b, a, d]: [Index; 4], kind: Kind, bad: MvbaMessage) {
    let mut bench = bench.clone();
    let good = only(kind).from(&[b]).to(&[a]);
    bench.lose(&good);
    bench.lose_always(good);
    bench.forge_mvba(b, &[a], bad);
    bench.deliver_except(&[only(kind).from(&[d]).to(&[a])]);
    let faults: Vec<_> =
        bench.faults().iter().map(|(member, fault)| (*member, fault.peer.0, fault.kind)).collect();
    assert_eq!(faults, [(a, b.0, FaultKind::BadSignature)]);
    assert_eq!(bench.view(a), Some(View(0)), "with two good {kind:?}s a stays in its view");
    if kind == Kind::PreVote {
        assert!(bench.under_way(&only(Kind::Vote).from(&[a])).is_empty());
    }
}

#[test]
fn of_two_different_messages_the_first_counts_and_the_second_is_a_fault() {
    Keys::BOTH.into_iter().for_each(of_two_different_messages_the_first_counts_and_the_second_is_a_fault_on);
}

fn of_two_different_messages_the_first_counts_and_the_second_is_a_fault_on(keys: Keys) {
    let (bench, [l, b, a, _]) = with_byzantine_member(keys);
    let signature = |statement: &Statement| bench.suite(b).sign(statement);
    let cuts = [bench.own_cut(b), bench.own_cut(l)];
    let certificate = |at| bench.signed_by(&bench.members()[..3], &stage(0, b, at, &cuts[0]));
    let send = |cut: &bft::cut::Cut| {
        spb(b, SpbMessage::Send { cut: cut.clone(), justification: Justification::default() })
    };
    let lock = |cut: &bft::cut::Cut| {
        spb(b, SpbMessage::Lock { cut: cut.clone(), certificate: certificate(Stage::Lock) })
    };
    let finish = |cut: &bft::cut::Cut| {
        spb(b, SpbMessage::Finish { cut: cut.clone(), certificate: certificate(Stage::Finish) })
    };
    let good = signature(&stage(0, a, Stage::Lock, &bench.own_cut(a)));
    let share = |view| MvbaMessage::CoinShare { view: View(0), share: bench.shares_of(&[b], 1, view)[0].1 };
    let no = |at| ballot(Ballot::PreVote(PreVote::No { signature: signature(&without_value(l, at)) }));
    let pairs = [
        (send(&cuts[0]), send(&cuts[1])),
        (lock(&cuts[0]), lock(&cuts[1])),
        (finish(&cuts[0]), finish(&cuts[1])),
        (spb(a, SpbMessage::Echo(good)), spb(a, SpbMessage::Echo(flipped(good)))),
        (spb(a, SpbMessage::Ready(good)), spb(a, SpbMessage::Ready(flipped(good)))),
        (share(0), share(1)),
        (no(Stage::No), no(Stage::Unlock)),
    ];
    for (first, second) in pairs {
        let mut bench = bench.clone();
        bench.lose_always(all().from(&[b]));
        let mut send = |message: &MvbaMessage| {
            bench.forge_mvba(b, &[a], message.clone());
            let before = bench.faults().len();
            bench.deliver(all().from(&[b]).to(&[a]));
            bench.faults()[before..].iter().map(|(_, fault)| fault.kind).collect::<Vec<_>>()
        };
        assert_eq!(send(&first), [], "{first:?}");
        assert_eq!(send(&first), [], "sent again, as after a timeout");
        assert_eq!(send(&second), [FaultKind::Equivocation], "{second:?}");
        assert_eq!(send(&first), []);
        bench.settle(1).unwrap();
    }
}

#[test]
fn messages_in_others_names_are_faults() {
    Keys::BOTH.into_iter().for_each(messages_in_others_names_are_faults_on);
}

fn messages_in_others_names_are_faults_on(keys: Keys) {
    let (bench, [l, b, a, _]) = with_byzantine_member(keys);
    let cut = bench.own_cut(l);
    let certificate = bench.signed_by(&bench.members()[..3], &stage(0, l, Stage::Lock, &cut));
    let signature = bench.suite(b).sign(&stage(0, l, Stage::Lock, &cut));
    for message in [
        spb(l, SpbMessage::Send { cut: cut.clone(), justification: Justification::default() }),
        spb(l, SpbMessage::Lock { cut: cut.clone(), certificate: certificate.clone() }),
        spb(l, SpbMessage::Finish { cut, certificate }),
        // For an SPB that a does not lead.
        spb(l, SpbMessage::Echo(signature)),
        spb(b, SpbMessage::Ready(signature)),
    ] {
        let mut bench = bench.clone();
        bench.lose_always(all().from(&[b]));
        bench.forge_mvba(b, &[a], message.clone());
        bench.deliver(all().from(&[b]));
        let kinds: Vec<_> = bench.faults().iter().map(|(_, fault)| fault.kind).collect();
        assert_eq!(kinds, [FaultKind::NotAMember], "{message:?}");
    }
    // In the name of a member that does not exist, and with a cut of the wrong length.
    let mut short = bench.own_cut(b);
    short.0.pop();
    for message in [
        spb(Index(4), SpbMessage::Echo(signature)),
        spb(b, SpbMessage::Send { cut: short, justification: Justification::default() }),
    ] {
        let mut bench = bench.clone();
        bench.lose_always(all().from(&[b]));
        bench.forge_mvba(b, &[a], message.clone());
        bench.deliver(all().from(&[b]));
        let kinds: Vec<_> = bench.faults().iter().map(|(_, fault)| fault.kind).collect();
        assert_eq!(kinds, [FaultKind::OutOfRange], "{message:?}");
    }
}
