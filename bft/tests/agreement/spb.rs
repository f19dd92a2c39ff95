//! One SPB by itself: a SEND is judged until it is known what it is worth, and not once more.

use std::cell::Cell;
use std::sync::Arc;

use bft::crypto::cert::CertificateCache;
use bft::crypto::deal::{deal_committee, seeded_entropy};
use bft::crypto::hash_suite::HashSuite;
use bft::cut::Cut;
use bft::effects::To;
use bft::fault::{Fault, FaultKind};
use bft::justification::Justification;
use bft::member::Member;
use bft::spb::{Spb, SpbMessage, Verdict};
use wire::committee::Protocol;
use wire::ids::{Index, NodeId, Round, View};

/// How often a SEND is judged by member 0 over ten looks at it, the first of which finds the first verdict, and so on;
/// and what came of it: ECHOs and faults.
fn judged(verdicts: &[Verdict]) -> (usize, usize, Vec<Fault>) {
    let (committee, _) = deal_committee(4, 1, Protocol::default(), seeded_entropy(1));
    let suite = Arc::new(HashSuite::new(&committee, NodeId(0), 1));
    let cut = Cut::genesis(&committee);
    let member = Member::new(Arc::new(committee), suite, NodeId(0));
    let (leader, mut cache) = (Index(1), CertificateCache::default());
    let mut spb = Spb::new(Round(1), View(0), leader);
    let calls = Cell::new(0);
    let judge = |_: &mut CertificateCache, _: &Cut, _: &Justification| {
        let call = calls.replace(calls.get() + 1);
        verdicts.get(call).copied().unwrap_or(Verdict::Valid)
    };
    let send = SpbMessage::Send { cut, justification: Justification::default() };
    let mut effects = spb.handle(&member, &mut cache, leader, send, judge);
    for _ in 1..10 {
        effects.extend(spb.reconsider(&member, &mut cache, judge));
    }
    let echo = |(to, message): &(To, SpbMessage)| {
        *to == To::Member(NodeId(1)) && matches!(message, SpbMessage::Echo(_))
    };
    assert!(effects.sends.iter().all(echo));
    (calls.get(), effects.sends.len(), effects.faults)
}

#[test]
fn a_send_that_is_not_valid_is_judged_once_and_blamed_once() {
    let fault = Fault { peer: NodeId(1), kind: FaultKind::InvalidCut };
    let invalid = Verdict::Invalid(FaultKind::InvalidCut);
    assert_eq!(judged(&[invalid]), (1, 0, vec![fault]));
    assert_eq!(judged(&[Verdict::Pending, invalid]), (2, 0, vec![fault]));
}

#[test]
fn a_send_that_is_valid_is_echoed_once() {
    assert_eq!(judged(&[Verdict::Valid]), (1, 1, vec![]));
    assert_eq!(judged(&[Verdict::Pending; 4]), (5, 1, vec![]));
}
