//! Bounds that cannot be observed from outside. Attacks on agreement are tested through the round loop
//! (`tests/agreement`).

use std::sync::Arc;

use wire::committee::Protocol;
use wire::ids::{NodeId, Seq, Signature};

use super::*;
use crate::crypto::cert::Certificate;
use crate::crypto::deal::{deal_committee, seeded_entropy};
use crate::crypto::hash_suite::HashSuite;
use crate::spb::SpbMessage;

struct EverythingIsCertified;

impl LaneCertificates for EverythingIsCertified {
    fn is_certified(&self, _lane: Index, _tip: Tip) -> bool {
        true
    }
}

fn member(node: u16) -> Member {
    let (committee, _) = deal_committee(4, 1, Protocol::default(), seeded_entropy(1));
    let suite = Arc::new(HashSuite::new(&committee, NodeId(node), 1));
    Member::new(Arc::new(committee), suite, NodeId(node))
}

/// One message of each kind that member 1 can send to member 0 in a view; all of them are invalid.
fn invalid_messages(view: View, cut: &Cut) -> Vec<MvbaMessage> {
    let signature = Signature { r: [0; 32], s: [0; 32] };
    let certificate = Certificate(vec![(Index(0), signature); 4]);
    let cut = cut.clone();
    let spb = |leader, message| MvbaMessage::Spb { view, leader: Index(leader), message };
    let ballot = |ballot| MvbaMessage::Ballot { view, ballot };
    vec![
        spb(
            1,
            SpbMessage::Send {
                cut: cut.clone(),
                justification: Justification::locked(View(0), certificate.clone()),
            },
        ),
        spb(0, SpbMessage::Echo(signature)),
        spb(1, SpbMessage::Lock { cut: cut.clone(), certificate: certificate.clone() }),
        spb(0, SpbMessage::Ready(signature)),
        spb(1, SpbMessage::Finish { cut: cut.clone(), certificate: certificate.clone() }),
        MvbaMessage::CoinShare {
            view,
            share: CoinShare { value: [0; 32], challenge: [0; 32], response: [0; 32] },
        },
        ballot(Ballot::PreVote(PreVote::Yes { cut, certificate: certificate.clone() })),
        ballot(Ballot::Vote(Vote::No { refusals: certificate, signature })),
    ]
}

/// Of one member at most eight messages a view are kept, of nine views.
#[test]
fn a_flood_fills_bounded_tables() {
    let member = member(0);
    let mut cut = Cut::genesis(&member.committee);
    let mut mvba = Mvba::new(member, Round(1), cut.clone());
    cut.0[1].seq = Seq(1);
    for number in 0..50u8 {
        for view in (0..100).map(View) {
            for (kind, message) in invalid_messages(view, &cut).into_iter().enumerate() {
                let digest = Digest([number; 32]);
                let effects = mvba.handle(Index(1), digest, message, &EverythingIsCertified);
                assert_eq!(effects.sends, [], "kind {kind} of view {view} is answered");
            }
        }
    }
    let views = VIEWS_AHEAD_MAX as usize + 1;
    assert_eq!(mvba.first_only.len(), 8 * views);
    let early: usize = mvba.early.values().map(Vec::len).sum();
    assert_eq!(early, 8 * (views - 1));
    assert_eq!((mvba.views.len(), mvba.current), (1, View(0)));
}

/// A shard of one agrees with itself at once.
#[test]
fn one_member_decides_alone() {
    let (committee, _) = deal_committee(1, 1, Protocol::default(), seeded_entropy(1));
    let suite = Arc::new(HashSuite::new(&committee, NodeId(0), 1));
    let member = Member::new(Arc::new(committee), suite, NodeId(0));
    let mut cut = Cut::genesis(&member.committee);
    let mut mvba = Mvba::new(member, Round(1), cut.clone());
    cut.0[0].seq = Seq(1);
    let mut effects = mvba.input(cut.clone(), &EverythingIsCertified);
    let mut queue: VecDeque<_> = effects.sends.drain(..).collect();
    while let Some((_, message)) = queue.pop_front() {
        let step = mvba.handle(Index(0), Digest::default(), message, &EverythingIsCertified);
        assert_eq!(step.faults, []);
        queue.extend(step.sends.iter().cloned());
        effects.extend(step);
    }
    let decided = effects.outputs.iter().find_map(|output| match output {
        MvbaOutput::Decided(halt) => Some(&halt.cut),
        _ => None,
    });
    assert_eq!(decided, Some(&cut));
}
