use std::sync::Arc;

use wire::committee::{Committee, Member as Keys, Protocol};

use super::*;
use crate::crypto::counting::CountingSuite;
use crate::crypto::hash_suite::HashSuite;
use crate::time::Span;

const NOW: Time = Time(0);

fn committee() -> Arc<Committee> {
    let keys = |i: u8| Keys { public_key: [i; 32], coin_commitment: [i; 32] };
    Arc::new(Committee::new(4, Protocol::default(), (0..4).map(keys).collect(), [7; 32]))
}

fn member(node: u16) -> Member {
    let committee = committee();
    let suite = Arc::new(HashSuite::new(&committee, NodeId(node), 1));
    Member::new(committee, suite, NodeId(node))
}

/// The header at a height.
fn digest(height: u64) -> Digest {
    Digest([height as u8; 32])
}

fn vote(node: u16, height: u64) -> BlockMessage {
    let (height, header) = (Round(height), digest(height));
    let signature = member(node).suite.sign(&Statement::Block { height, digest: header });
    BlockMessage::Vote(BlockVote { height, header, signature })
}

/// Member 0 of four after it executed up to a height, without messages.
fn executed(heights: u64) -> BlockVotes {
    let mut votes = BlockVotes::new(member(0));
    for height in 1..=heights {
        assert_eq!(votes.executed(NOW, Round(height), digest(height)).outputs, []);
    }
    votes
}

/// The same, and the last of the heights is certified.
fn certified(height: u64) -> BlockVotes {
    let mut votes = executed(height);
    for node in [1, 2] {
        let _ = votes.handle(NOW, Index(node), vote(node, height));
    }
    assert_eq!(votes.certified(), Round(height));
    votes
}

/// The parent gets a valid certificate once, whether it comes from votes counted here or from a peer.
#[test]
fn the_parent_gets_each_certificate_once() {
    let mut votes = executed(2);
    for height in [1, 2] {
        assert_eq!(votes.handle(NOW, Index(1), vote(1, height)).outputs, []);
    }
    // Block 2 certifies block 1 with it.
    let effects = votes.handle(NOW, Index(2), vote(2, 2));
    let [BlockOutput::Certified { height, header, certificate }] = &effects.outputs[..] else {
        panic!("{effects:?}")
    };
    assert_eq!((*height, *header, votes.certified()), (Round(2), digest(2), Round(2)));
    let statement = Statement::Block { height: *height, digest: *header };
    let (member, mut other) = (member(3), BlockVotes::new(member(3)));
    let verify = |statement: &Statement| {
        CertificateCache::default().verify(&member.committee, &*member.suite, statement, certificate)
    };
    assert!(verify(&statement) && !verify(&Statement::Block { height: Round(1), digest: *header }));
    for late in [vote(3, 1), vote(3, 2)] {
        assert_eq!(votes.handle(NOW, Index(3), late).outputs, []);
    }
    let message =
        BlockMessage::Certified { height: *height, header: *header, certificate: certificate.clone() };
    for height in [1, 2] {
        assert_eq!(other.executed(NOW, Round(height), digest(height)).outputs, []);
    }
    assert_eq!(other.handle(NOW, Index(0), message.clone()).outputs, effects.outputs);
    assert_eq!(other.handle(NOW, Index(0), message).outputs, []);
}

#[test]
fn a_late_voter_gets_the_certificate_once_a_second() {
    let mut votes = certified(2);
    let answer = |votes: &mut BlockVotes, now: Time, node: u16, height: u64| {
        let effects = votes.handle(now, Index(node), vote(node, height));
        assert_eq!((effects.outputs.len(), effects.faults.len()), (0, 0));
        effects.sends
    };
    let second = Span::from_ms(1_000);
    for (now, height) in [(NOW, 1), (NOW + second, 2)] {
        let sends = answer(&mut votes, now, 3, height);
        let [(to, BlockMessage::Certified { height, header, certificate })] = &sends[..] else {
            panic!("{sends:?}")
        };
        assert_eq!((*to, *height, *header), (To::Member(NodeId(3)), Round(2), digest(2)));
        // The late member accepts it.
        let mut late = BlockVotes::new(member(3));
        for height in [1, 2] {
            let _ = late.executed(NOW, Round(height), digest(height));
        }
        let message =
            BlockMessage::Certified { height: *height, header: *header, certificate: certificate.clone() };
        assert_eq!(late.handle(NOW, Index(0), message).outputs.len(), 1);
        assert_eq!(late.certified(), Round(2));
        // It gets no other within the same second, while another member does.
        let soon = now + Span::from_ms(999);
        assert_eq!(answer(&mut votes, now, 3, 2), []);
        assert_eq!(answer(&mut votes, soon, 3, 1), []);
    }
    assert_eq!(answer(&mut votes, NOW, 1, 1).len(), 1);
    assert_eq!(answer(&mut votes, NOW, 0, 1), [], "no message to itself");
}

#[test]
fn votes_are_repeated_until_a_certificate_covers_them() {
    let at = |ms| NOW + Span::from_ms(ms);
    let mut votes = executed(2);
    let own = [vote(0, 1), vote(0, 2)].map(|vote| (To::Others, vote));
    assert_eq!(votes.next_wakeup(), Some(at(1_000)));
    assert_eq!(votes.tick(at(999)).sends, []);
    assert_eq!(votes.tick(at(1_000)).sends, own);
    assert_eq!((votes.next_wakeup(), votes.tick(at(1_000)).sends), (Some(at(3_000)), vec![]));
    // Another block restarts the wait.
    let _ = votes.executed(at(1_500), Round(3), digest(3));
    assert_eq!(votes.next_wakeup(), Some(at(2_500)));
    // A certificate for the second block leaves the third open; one for the third leaves nothing.
    for (height, open) in [(2, &[vote(0, 3)][..]), (3, &[])] {
        for node in [1, 2] {
            let _ = votes.handle(at(2_000), Index(node), vote(node, height));
        }
        let open: Vec<_> = open.iter().map(|vote| (To::Others, vote.clone())).collect();
        assert_eq!(votes.next_wakeup().is_some(), !open.is_empty());
        assert_eq!(votes.tick(at(60_000)).sends, open);
    }
}

/// Only the first false certificate of a member is verified, whatever height it is for (`docs/costs.md`). Other members
/// still count, and a certificate that an honest member repeats is no fault.
#[test]
fn only_the_first_false_certificate_of_a_member_is_verified() {
    let suite = Arc::new(CountingSuite::new(Arc::new(HashSuite::new(&committee(), NodeId(0), 1))));
    let mut votes = BlockVotes::new(Member::new(committee(), suite.clone(), NodeId(0)));
    let certificate = |signed: u64| {
        let statement = Statement::Block { height: Round(signed), digest: digest(signed) };
        Certificate((0..3).map(|i| (Index(i), member(i).suite.sign(&statement))).collect())
    };
    let faults = |votes: &mut BlockVotes, author: u16, height: u64, certificate: Certificate| {
        let message = BlockMessage::Certified { height: Round(height), header: digest(height), certificate };
        let faults = votes.handle(NOW, Index(author), message).faults;
        faults.into_iter().map(|fault| fault.kind).collect::<Vec<_>>()
    };
    let _ = votes.executed(NOW, Round(1), digest(1));
    assert_eq!(faults(&mut votes, 1, 1, certificate(9)), [FaultKind::BadCertificate]);
    assert_eq!(suite.verified(), 3);
    assert_eq!(faults(&mut votes, 1, 1, certificate(10)), [], "reported once");
    let _ = votes.executed(NOW, Round(2), digest(2));
    assert_eq!(faults(&mut votes, 1, 2, certificate(9)), []);
    assert_eq!(suite.verified(), 3);
    assert_eq!(faults(&mut votes, 2, 2, certificate(9)), [FaultKind::BadCertificate]);
    assert_eq!(faults(&mut votes, 3, 2, certificate(2)), []);
    assert_eq!((votes.certified(), suite.verified()), (Round(2), 9));
    assert_eq!(faults(&mut votes, 3, 2, certificate(2)), []);
    assert_eq!(suite.verified(), 9);
}
