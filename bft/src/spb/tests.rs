//! One SPB at one member, message by message. `tests/agreement` tests SPBs among others.

use std::cell::Cell;
use std::sync::Arc;

use wire::committee::Protocol;
use wire::ids::{Digest, NodeId, Seq};

use super::*;
use crate::crypto::deal::{deal_committee, seeded_entropy};
use crate::crypto::hash_suite::HashSuite;
use crate::cut::Tip;

/// The leader in all tests.
const LEADER: Index = Index(1);
const N: u16 = 4;

/// All members of a shard, an SPB at one of them, and how often that SPB had a value judged.
struct Bench {
    members: Vec<Member>,
    me: Index,
    spb: Spb,
    cache: CertificateCache,
    judged: Cell<u32>,
}

fn cut(seq: u64) -> Cut {
    Cut(vec![Tip { seq: Seq(seq), digest: Digest([7; 32]) }; usize::from(N)])
}

/// Any justification: tests judge instead of the parent.
fn justification() -> Justification {
    Justification::default()
}

fn send(seq: u64) -> SpbMessage {
    SpbMessage::Send { cut: cut(seq), justification: justification() }
}

impl Bench {
    fn at(me: Index) -> Bench {
        let (committee, _) = deal_committee(N, 1, Protocol::default(), seeded_entropy(1));
        let committee = Arc::new(committee);
        let member = |node: u16| {
            let suite = Arc::new(HashSuite::new(&committee, NodeId(node), 1));
            Member::new(committee.clone(), suite, NodeId(node))
        };
        let spb = Spb::new(Round(5), View(2), LEADER);
        Bench {
            members: (0..N).map(member).collect(),
            me,
            spb,
            cache: CertificateCache::default(),
            judged: Cell::new(0),
        }
    }

    fn me(&self) -> &Member {
        &self.members[usize::from(self.me.0)]
    }

    fn handle(&mut self, author: Index, message: SpbMessage, verdict: Verdict) -> SpbEffects {
        let member = &self.members[usize::from(self.me.0)];
        let judge = |_: &mut CertificateCache, _: &Cut, _: &Justification| {
            self.judged.set(self.judged.get() + 1);
            verdict
        };
        self.spb.handle(member, &mut self.cache, author, message, judge)
    }

    /// A message of the leader that needs no verdict.
    fn leader_says(&mut self, message: SpbMessage) -> SpbEffects {
        self.handle(LEADER, message, Verdict::Pending)
    }

    fn reconsider(&mut self, verdict: Verdict) -> SpbEffects {
        let member = &self.members[usize::from(self.me.0)];
        let judge = |_: &mut CertificateCache, _: &Cut, _: &Justification| {
            self.judged.set(self.judged.get() + 1);
            verdict
        };
        self.spb.reconsider(member, &mut self.cache, judge)
    }

    fn signature(&self, signer: u16, stage: Stage, seq: u64) -> Signature {
        self.members[usize::from(signer)].suite.sign(&self.spb.statement(stage, &cut(seq)))
    }

    fn certificate(&self, stage: Stage, seq: u64) -> Certificate {
        Certificate((0..3).map(|signer| (Index(signer), self.signature(signer, stage, seq))).collect())
    }

    fn lock(&self, seq: u64) -> SpbMessage {
        SpbMessage::Lock { cut: cut(seq), certificate: self.certificate(Stage::Lock, seq) }
    }

    fn finish(&self, seq: u64) -> SpbMessage {
        SpbMessage::Finish { cut: cut(seq), certificate: self.certificate(Stage::Finish, seq) }
    }

    /// The effects that send a message only to the leader.
    fn to_leader(&self, message: SpbMessage) -> SpbEffects {
        Effects::send(To::Member(self.me().node_at(LEADER)), message)
    }

    fn blamed(&self, author: Index, kind: FaultKind) -> SpbEffects {
        Effects::fault(self.me().node_at(author), kind)
    }
}

#[test]
fn a_valid_value_is_echoed_once() {
    let mut bench = Bench::at(Index(0));
    let echo = bench.to_leader(SpbMessage::Echo(bench.signature(0, Stage::Lock, 1)));
    assert_eq!(bench.handle(LEADER, send(1), Verdict::Valid), echo);
    assert_eq!(bench.spb.pending(), None);
    assert_eq!(bench.handle(LEADER, send(2), Verdict::Valid), Effects::none());
    assert_eq!(bench.reconsider(Verdict::Valid), Effects::none());
    assert_eq!(bench.judged.get(), 1);
}

#[test]
fn an_invalid_value_is_judged_and_blamed_once() {
    let mut bench = Bench::at(Index(0));
    let invalid = Verdict::Invalid(FaultKind::InvalidCut);
    let blamed = bench.blamed(LEADER, FaultKind::InvalidCut);
    assert_eq!(bench.handle(LEADER, send(1), invalid), blamed);
    assert_eq!(bench.spb.pending(), None);
    assert_eq!(bench.reconsider(invalid), Effects::none());
    assert_eq!(bench.handle(LEADER, send(2), Verdict::Valid), Effects::none(), "nor is another one echoed");
    assert_eq!(bench.judged.get(), 1);
}

#[test]
fn a_pending_value_is_judged_until_it_is_settled_or_answers_end() {
    let mut bench = Bench::at(Index(0));
    assert_eq!(bench.handle(LEADER, send(1), Verdict::Pending), Effects::none());
    assert_eq!(bench.spb.pending(), Some((&cut(1), &justification())));
    assert_eq!(bench.reconsider(Verdict::Pending), Effects::none());
    let at_same_point = || Bench { spb: bench.spb.clone(), ..Bench::at(Index(0)) };
    let (mut closed, mut invalid) = (at_same_point(), at_same_point());
    let echo = bench.to_leader(SpbMessage::Echo(bench.signature(0, Stage::Lock, 1)));
    assert_eq!(bench.reconsider(Verdict::Valid), echo);
    assert_eq!(bench.reconsider(Verdict::Valid), Effects::none());
    assert_eq!(bench.judged.get(), 3);
    let blamed = invalid.blamed(LEADER, FaultKind::InvalidCut);
    assert_eq!(invalid.reconsider(Verdict::Invalid(FaultKind::InvalidCut)), blamed);
    assert_eq!(invalid.reconsider(Verdict::Valid), Effects::none());
    assert_eq!(invalid.judged.get(), 1);
    closed.spb.stop_answering();
    assert_eq!(closed.reconsider(Verdict::Valid), Effects::none());
    assert_eq!(closed.judged.get(), 0);
}

#[test]
fn a_lock_is_stored_and_answered_while_answers_are_given() {
    let mut bench = Bench::at(Index(0));
    let short = Certificate(bench.certificate(Stage::Lock, 1).0[..2].to_vec());
    for certificate in [short, bench.certificate(Stage::Finish, 1), bench.certificate(Stage::Lock, 2)] {
        let effects = bench.leader_says(SpbMessage::Lock { cut: cut(1), certificate });
        assert_eq!(effects, bench.blamed(LEADER, FaultKind::BadCertificate));
    }
    assert_eq!(bench.spb.locked(), None);
    let mut closed = Bench { spb: bench.spb.clone(), ..Bench::at(Index(0)) };
    let lock = bench.lock(1);
    let effects = bench.leader_says(lock.clone());
    let ready = SpbMessage::Ready(bench.signature(0, Stage::Finish, 1));
    assert_eq!(effects.sends, bench.to_leader(ready).sends);
    assert_eq!((effects.outputs, effects.faults), (vec![SpbOutput::Locked], vec![]));
    closed.spb.stop_answering();
    assert_eq!(closed.leader_says(lock), Effects::output(SpbOutput::Locked));
    let certified = Certified { cut: cut(1), certificate: bench.certificate(Stage::Lock, 1) };
    for bench in [&mut bench, &mut closed] {
        assert_eq!(bench.spb.locked(), Some(&certified));
        let other = Certified { cut: cut(2), ..certified.clone() };
        bench.spb.learn_lock(other);
        assert_eq!(bench.spb.locked(), Some(&certified), "the first one stays");
    }
}

#[test]
fn a_finish_is_stored_and_reported_once_even_when_answers_have_ended() {
    let mut bench = Bench::at(Index(0));
    bench.spb.stop_answering();
    let certificate = bench.certificate(Stage::Lock, 1);
    let effects = bench.leader_says(SpbMessage::Finish { cut: cut(1), certificate });
    assert_eq!(effects, bench.blamed(LEADER, FaultKind::BadCertificate));
    assert_eq!(bench.spb.finished(), None);
    let finish = bench.finish(1);
    assert_eq!(bench.leader_says(finish.clone()), Effects::output(SpbOutput::Finished));
    let certified = Certified { cut: cut(1), certificate: bench.certificate(Stage::Finish, 1) };
    assert_eq!(bench.spb.finished(), Some(&certified));
    assert_eq!(bench.leader_says(finish), Effects::none());
}

#[test]
fn only_the_leader_speaks_and_only_it_is_answered() {
    let mut bench = Bench::at(Index(0));
    let signature = bench.signature(2, Stage::Lock, 1);
    for message in [send(1), bench.lock(1), bench.finish(1)] {
        let effects = bench.handle(Index(2), message, Verdict::Valid);
        assert_eq!(effects, bench.blamed(Index(2), FaultKind::NotAMember));
    }
    for message in [SpbMessage::Echo(signature), SpbMessage::Ready(signature)] {
        let effects = bench.handle(LEADER, message, Verdict::Valid);
        assert_eq!(effects, bench.blamed(LEADER, FaultKind::NotAMember));
    }
    assert_eq!(bench.judged.get(), 0);
}

#[test]
fn the_leader_locks_and_finishes_with_the_third_signature_and_once() {
    let mut bench = Bench::at(LEADER);
    let member = bench.me().clone();
    let proposed = bench.spb.propose(&member, cut(1), justification());
    assert_eq!(proposed, Effects::send(To::All, send(1)));
    let early = SpbMessage::Ready(bench.signature(0, Stage::Finish, 1));
    assert_eq!(bench.handle(Index(0), early, Verdict::Valid), Effects::none(), "no LOCK to answer yet");
    for (stage, expected) in [(Stage::Lock, bench.lock(1)), (Stage::Finish, bench.finish(1))] {
        let message = if stage == Stage::Lock { SpbMessage::Echo } else { SpbMessage::Ready };
        // A signature at the other stage is noticed when the votes are counted.
        let other = if stage == Stage::Lock { Stage::Finish } else { Stage::Lock };
        let bad = message(bench.signature(3, other, 1));
        assert_eq!(bench.handle(Index(3), bad, Verdict::Valid), Effects::none());
        for signer in [0, 1] {
            let good = message(bench.signature(signer, stage, 1));
            let effects = bench.handle(Index(signer), good, Verdict::Valid);
            let blamed =
                if signer == 0 { Effects::none() } else { bench.blamed(Index(3), FaultKind::BadSignature) };
            assert_eq!(effects, blamed, "{stage:?}: {signer}");
        }
        let last = message(bench.signature(2, stage, 1));
        assert_eq!(bench.handle(Index(2), last.clone(), Verdict::Valid), Effects::send(To::All, expected));
        assert_eq!(bench.handle(Index(2), last, Verdict::Valid), Effects::none(), "once");
    }
}

#[test]
#[should_panic(expected = "a leader proposes once")]
fn proposing_twice_is_a_bug_of_the_caller() {
    let mut bench = Bench::at(LEADER);
    let member = bench.me().clone();
    let _ = bench.spb.propose(&member, cut(1), justification());
    let _ = bench.spb.propose(&member, cut(2), justification());
}

#[test]
#[should_panic(expected = "only the leader proposes")]
fn proposing_for_another_is_a_bug_of_the_caller() {
    let mut bench = Bench::at(Index(0));
    let member = bench.me().clone();
    let _ = bench.spb.propose(&member, cut(1), justification());
}
