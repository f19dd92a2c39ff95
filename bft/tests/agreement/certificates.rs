//! In every message that carries a certificate or coin shares, a wrong one causes a fault and has no other effect.
//!
//! Receiver `a` is in view 0 and knows that its coin has elected `b`, the Byzantine member, which has sent it nothing
//! yet; so `b` may send any message with a certificate next. The bench makes up the signatures of honest members: even
//! if all of them had signed another statement, the certificate would prove nothing here.

use bft::crypto::cert::Certificate;
use bft::crypto::suite::{CoinShare, Stage, Statement};
use bft::fault::FaultKind;
use bft::justification::Justification;
use bft::mvba::{Ballot, Halt, MvbaMessage, PreVote, Vote};
use bft::round::RoundMessage;
use bft::sim::bench::{Bench, Content, Kind, Message, all, only, stage};
use bft::spb::SpbMessage;
use wire::ids::{Digest, Index, NodeId, Round, View};

use crate::Keys;

/// A message with a certificate.
#[derive(Clone, Copy, Debug)]
enum Carrier {
    Lock,
    Finish,
    YesPreVote,
    YesVote,
    NoVote,
    SendLocked,
    SendUnlocked,
    Halt,
}

const CARRIERS: [Carrier; 8] = [
    Carrier::Lock,
    Carrier::Finish,
    Carrier::YesPreVote,
    Carrier::YesVote,
    Carrier::NoVote,
    Carrier::SendLocked,
    Carrier::SendUnlocked,
    Carrier::Halt,
];

/// A defect of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Defect {
    Nothing,
    Empty,
    OneShort,
    OneTooMany,
    SignerTwice,
    Unsorted,
    UnknownSigner,
    Swapped,
    OneOfAnotherStatement,
    Round,
    View,
    Leader,
    Stage,
    Digest,
    Shard,
    Testbed,
}

const DEFECTS: [Defect; 16] = [
    Defect::Nothing,
    Defect::Empty,
    Defect::OneShort,
    Defect::OneTooMany,
    Defect::SignerTwice,
    Defect::Unsorted,
    Defect::UnknownSigner,
    Defect::Swapped,
    Defect::OneOfAnotherStatement,
    Defect::Round,
    Defect::View,
    Defect::Leader,
    Defect::Stage,
    Defect::Digest,
    Defect::Shard,
    Defect::Testbed,
];

/// The receiver, the Byzantine member and the bench as described above.
fn after_the_coin(keys: Keys) -> (Bench, Index, Index) {
    let mut bench = keys.bench(4, 3);
    let [b, a, ..] = bench.cast(&[bench.coin(1, 0)]);
    bench.corrupt(&[b]);
    bench.advance_each();
    bench.lose_always(all().from(&[b]).spb(&[b]));
    bench.lose_always(all().from(&[b]).of(&[Kind::PreVote, Kind::Vote, Kind::Halt]));
    bench.deliver_except(&[all().of(&[Kind::PreVote, Kind::Vote])]);
    assert_eq!(bench.leader_known(Round(1), View(0)), Some(b));
    (bench, a, b)
}

/// The statement that the carrier's certificate must be over.
fn statement(bench: &Bench, carrier: Carrier, b: Index) -> Statement {
    let cut = bench.own_cut(b);
    let without_value = |stage| Statement::Agreement {
        round: Round(1),
        view: View(0),
        leader: b,
        stage,
        digest: Digest::default(),
    };
    match carrier {
        Carrier::Lock | Carrier::YesPreVote | Carrier::YesVote | Carrier::SendLocked => {
            stage(0, b, Stage::Lock, &cut)
        }
        Carrier::Finish | Carrier::Halt => stage(0, b, Stage::Finish, &cut),
        Carrier::NoVote => without_value(Stage::No),
        Carrier::SendUnlocked => without_value(Stage::Unlock),
    }
}

/// The same with one field changed.
fn changed(statement: Statement, defect: Defect) -> Statement {
    let Statement::Agreement { mut round, mut view, mut leader, mut stage, mut digest } = statement else {
        unreachable!("all of them are of the agreement")
    };
    match defect {
        Defect::Round => round = Round(2),
        Defect::View => view = View(1),
        Defect::Leader => leader = Index((leader.0 + 1) % 4),
        Defect::Stage => {
            stage = match stage {
                Stage::Lock => Stage::Finish,
                Stage::Finish => Stage::Lock,
                Stage::No => Stage::Unlock,
                Stage::Unlock => Stage::No,
            }
        }
        _ => digest = Digest([7; 32]),
    }
    Statement::Agreement { round, view, leader, stage, digest }
}

/// A certificate with one defect.
fn certificate(keys: Keys, bench: &Bench, right: Statement, defect: Defect) -> Certificate {
    let members = bench.members();
    let quorum = &members[..3];
    let mut certificate = bench.signed_by(quorum, &right);
    let signatures = &mut certificate.0;
    match defect {
        Defect::Nothing => {}
        Defect::Empty => signatures.clear(),
        Defect::OneShort => signatures.truncate(2),
        Defect::OneTooMany => return bench.signed_by(&members, &right),
        Defect::SignerTwice => signatures[1] = signatures[0],
        Defect::Unsorted => signatures.swap(0, 1),
        Defect::UnknownSigner => signatures[2].0 = Index(4),
        Defect::Swapped => (signatures[0].1, signatures[1].1) = (signatures[1].1, signatures[0].1),
        Defect::OneOfAnotherStatement => {
            let other = changed(right, Defect::Digest);
            signatures[1] = bench.signed_by(&members[1..2], &other).0[0];
        }
        Defect::Round | Defect::View | Defect::Leader | Defect::Stage | Defect::Digest => {
            return bench.signed_by(quorum, &changed(right, defect));
        }
        Defect::Shard => return foreign(keys, quorum, &right, 3, 1),
        Defect::Testbed => return foreign(keys, quorum, &right, 4, 0),
    }
    certificate
}

/// Signatures on the same statement by members of another shard, or of another testbed.
fn foreign(keys: Keys, signers: &[Index], statement: &Statement, seed: u64, shard: u16) -> Certificate {
    let suite = |signer: Index| keys.foreign(NodeId(shard * 4 + signer.0), seed);
    Certificate(signers.iter().map(|signer| (*signer, suite(*signer).sign(statement))).collect())
}

/// The message of `b` that carries the certificate; its other fields are right.
fn carried(bench: &Bench, carrier: Carrier, b: Index, certificate: Certificate) -> Content {
    let cut = bench.own_cut(b);
    let spb = |view, message| MvbaMessage::Spb { view: View(view), leader: b, message };
    let ballot = |ballot| MvbaMessage::Ballot { view: View(0), ballot };
    let sign = |statement: &Statement| bench.suite(b).sign(statement);
    let message = match carrier {
        Carrier::Lock => spb(0, SpbMessage::Lock { cut, certificate }),
        Carrier::Finish => spb(0, SpbMessage::Finish { cut, certificate }),
        Carrier::YesPreVote => ballot(Ballot::PreVote(PreVote::Yes { cut, certificate })),
        Carrier::YesVote => {
            let signature = sign(&stage(0, b, Stage::Finish, &cut));
            ballot(Ballot::Vote(Vote::Yes { cut, certificate, signature }))
        }
        Carrier::NoVote => {
            let signature = sign(&statement(bench, Carrier::SendUnlocked, b));
            ballot(Ballot::Vote(Vote::No { refusals: certificate, signature }))
        }
        Carrier::SendLocked => {
            spb(1, SpbMessage::Send { cut, justification: Justification::locked(View(0), certificate) })
        }
        Carrier::SendUnlocked => {
            spb(1, SpbMessage::Send { cut, justification: Justification::default().unlocked(certificate) })
        }
        Carrier::Halt => {
            let shares = bench.shares_of(&bench.members()[..3], 1, 0);
            let halt = Halt { round: Round(1), view: View(0), cut, certificate, shares };
            return Content::Round(RoundMessage::Halt(Box::new(halt)));
        }
    };
    Content::Round(RoundMessage::Mvba { round: Round(1), message })
}

/// The faults that `a` notices at a message of `b`, and how many messages `a` sends.
fn effect(bench: &Bench, a: Index, b: Index, content: &Content) -> (Vec<FaultKind>, usize) {
    let mut bench = bench.clone();
    let sent = |bench: &Bench| bench.under_way(&all().from(&[a])).len();
    let before = sent(&bench);
    bench.forge(b, &[a], content);
    bench.deliver(all().from(&[b]).to(&[a]));
    assert_eq!(bench.check(), Ok(()));
    assert!(bench.faults().iter().all(|(member, fault)| *member == a && fault.peer.0 == b.0));
    (bench.faults().iter().map(|(_, fault)| fault.kind).collect(), sent(&bench) - before)
}

#[test]
fn a_defective_certificate_has_no_effect_but_a_fault() {
    Keys::BOTH.into_iter().for_each(a_defective_certificate_has_no_effect_but_a_fault_on);
}

fn a_defective_certificate_has_no_effect_but_a_fault_on(keys: Keys) {
    let (bench, a, b) = after_the_coin(keys);
    for carrier in CARRIERS {
        for defect in DEFECTS {
            let certificate = certificate(keys, &bench, statement(&bench, carrier, b), defect);
            let (faults, sent) = effect(&bench, a, b, &carried(&bench, carrier, b, certificate));
            let expected = match (defect, carrier) {
                (Defect::Nothing, _) => None,
                (_, Carrier::SendLocked | Carrier::SendUnlocked) => Some(FaultKind::BadJustification),
                _ => Some(FaultKind::BadCertificate),
            };
            assert_eq!(faults, Vec::from_iter(expected), "{carrier:?} with {defect:?}");
            if defect != Defect::Nothing {
                assert_eq!(sent, 0, "{carrier:?} with {defect:?} was answered");
            }
        }
    }
}

#[test]
fn more_signatures_than_members_are_refused_unverified() {
    Keys::BOTH.into_iter().for_each(more_signatures_than_members_are_refused_unverified_on);
}

fn more_signatures_than_members_are_refused_unverified_on(keys: Keys) {
    let (bench, a, b) = after_the_coin(keys);
    for carrier in CARRIERS {
        let signatures = certificate(keys, &bench, statement(&bench, carrier, b), Defect::Nothing).0;
        let certificate = Certificate(signatures.repeat(2));
        let (faults, sent) = effect(&bench, a, b, &carried(&bench, carrier, b, certificate));
        assert_eq!((faults, sent), (vec![FaultKind::OutOfRange], 0), "{carrier:?}");
    }
}

#[test]
fn right_certificates_have_their_effects() {
    Keys::BOTH.into_iter().for_each(right_certificates_have_their_effects_on);
}

fn right_certificates_have_their_effects_on(keys: Keys) {
    let (bench, a, b) = after_the_coin(keys);
    let outcome = |carrier| {
        let certificate = certificate(keys, &bench, statement(&bench, carrier, b), Defect::Nothing);
        let mut bench = bench.clone();
        bench.forge(b, &[a], &carried(&bench, carrier, b, certificate));
        bench.deliver(all().from(&[b]).to(&[a]));
        bench
    };
    for carrier in [Carrier::Finish, Carrier::Halt] {
        assert_eq!(outcome(carrier).decided(a), Round(1), "{carrier:?} decides");
    }
    for carrier in [Carrier::SendLocked, Carrier::SendUnlocked] {
        let echoes = outcome(carrier).under_way(&only(Kind::Echo).from(&[a]).to(&[b]).view(1));
        assert_eq!(echoes.len(), 1, "{carrier:?} is echoed");
    }
    // LOCK is stored and not answered, since the coin is known; by it a votes yes, although all PRE-VOTEs are no.
    let mut bench = outcome(Carrier::Lock);
    assert!(bench.under_way(&only(Kind::Ready).from(&[a]).to(&[b])).is_empty());
    bench.deliver(only(Kind::PreVote).to(&[a]));
    let votes = bench.under_way(&only(Kind::Vote).from(&[a]));
    let yes = |message: &Message| {
        let message = message.agreement().expect("a VOTE").2;
        matches!(message, MvbaMessage::Ballot { ballot: Ballot::Vote(Vote::Yes { .. }), .. })
    };
    assert!(votes.len() == 3 && votes.iter().all(yes));
}

type Shares = Vec<(Index, CoinShare)>;

/// A defect of the coin shares of a HALT.
fn spoilt_shares(bench: &Bench) -> Vec<(&'static str, Shares)> {
    let members = bench.members();
    let right = bench.shares_of(&members[..3], 1, 0);
    let with = |change: &dyn Fn(&mut Shares)| {
        let mut shares = right.clone();
        change(&mut shares);
        shares
    };
    vec![
        ("none", Vec::new()),
        ("one short", with(&|shares| shares.truncate(2))),
        ("one too many", bench.shares_of(&members, 1, 0)),
        ("a member twice", with(&|shares| shares[1] = shares[0])),
        ("unsorted", with(&|shares| shares.swap(0, 2))),
        ("an unknown member", with(&|shares| shares[2].0 = Index(4))),
        ("in another's name", with(&|shares| shares[1].1 = shares[0].1)),
        ("of another view", bench.shares_of(&members[..3], 1, 1)),
        ("of another round", bench.shares_of(&members[..3], 2, 0)),
        ("a flipped bit", with(&|shares| shares[0].1.value[0] ^= 1)),
    ]
}

#[test]
fn a_halt_needs_the_right_coin_shares() {
    Keys::BOTH.into_iter().for_each(a_halt_needs_the_right_coin_shares_on);
}

fn a_halt_needs_the_right_coin_shares_on(keys: Keys) {
    let mut bench = keys.bench(4, 3);
    let [b, a, ..] = bench.cast(&[bench.coin(1, 0)]);
    bench.corrupt(&[b]);
    bench.advance_each();
    bench.lose(&all().from(&[b]));
    let certificate = certificate(keys, &bench, statement(&bench, Carrier::Halt, b), Defect::Nothing);
    let halt = |shares| {
        let certificate = certificate.clone();
        let halt = Halt { round: Round(1), view: View(0), cut: bench.own_cut(b), certificate, shares };
        Content::Round(RoundMessage::Halt(Box::new(halt)))
    };
    for (defect, shares) in spoilt_shares(&bench) {
        let (faults, sent) = effect(&bench, a, b, &halt(shares));
        assert_eq!((faults, sent), (vec![FaultKind::BadCoinShare], 0), "{defect}");
    }
    let (faults, sent) = effect(&bench, a, b, &halt(bench.shares_of(&bench.members()[..3], 1, 0)));
    assert_eq!(faults, []);
    assert!(sent > 0, "a decides and relays");
}

/// A member that knows the coin does not verify the shares of a HALT. The HALT that it relays must still prove the
/// decision to members that do not know the coin.
#[test]
fn a_relayed_halt_carries_the_coin_shares_of_the_relay() {
    Keys::BOTH.into_iter().for_each(a_relayed_halt_carries_the_coin_shares_of_the_relay_on);
}

fn a_relayed_halt_carries_the_coin_shares_of_the_relay_on(keys: Keys) {
    let (bench, a, b) = after_the_coin(keys);
    let [_, _, c, _] = bench.cast(&[b, a]);
    let certificate = certificate(keys, &bench, statement(&bench, Carrier::Halt, b), Defect::Nothing);
    for (defect, shares) in spoilt_shares(&bench) {
        let mut bench = bench.clone();
        let halt = Halt {
            round: Round(1),
            view: View(0),
            cut: bench.own_cut(b),
            certificate: certificate.clone(),
            shares,
        };
        bench.forge(b, &[a], &Content::Round(RoundMessage::Halt(Box::new(halt))));
        bench.deliver(only(Kind::Halt).to(&[a]));
        assert_eq!(bench.decided(a), Round(1), "{defect}");
        let relayed = bench.halt(a, 1).expect("it has just decided");
        assert_eq!(relayed.shares.len(), 3);
        assert!(relayed.shares.iter().all(|share| bench.shares_of(&bench.members(), 1, 0).contains(share)));
        bench.deliver(only(Kind::Halt).from(&[a]));
        assert_eq!(bench.decided(c), Round(1));
        assert_eq!(bench.check(), Ok(()));
    }
}
