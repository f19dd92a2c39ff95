//! Lies, and what keeps them from being believed.

use super::*;

#[test]
fn one_member_who_knows_is_believed_by_nobody_else() {
    let mut net = Net::new();
    net.report(4, 1);
    net.run_in_order();
    assert_eq!(net.believers(1), [4], "its own ledger is enough for itself");
}

#[test]
fn a_lie_of_f_members_goes_nowhere() {
    let mut one = One::new(5);
    for _ in 0..3 {
        assert_eq!(one.hear(4, votes(&[vote(1)])), Effects::none(), "CL_M of one, however often");
    }
    let mut one = One::new(0);
    for _ in 0..3 {
        assert_eq!(one.hear(4, reject(0, &[1])), Effects::none(), "CL of one, however often");
    }
    assert_eq!(one.hear(8, reject(0, &[1])), Effects::none(), "and one of another shard");
    assert_eq!(one.opinions.believed(&id(1)), None);
    assert_eq!(one.hear(9, reject(0, &[1])).outputs, [believed(1)], "two of one shard");
}

#[test]
fn nobody_joins_in_against_its_own_ledger() {
    for known in [Standing::Spent, NEVER] {
        let mut one = One::new(7);
        one.book.known.insert(id(1), known);
        for node in 4..7 {
            assert_eq!(one.hear(node, votes(&[vote(1)])), Effects::none(), "{known:?}");
        }
        assert_eq!(one.report(NOW, 1), Effects::none(), "{known:?}");
        assert_eq!((one.opinions.believed(&id(1)), one.open()), (None, (0, 0)));
    }
}

#[test]
fn whoever_claims_to_be_ahead_for_ever_delays_nobody() {
    let mut one = One::new(0);
    let _ = one.hear(4, reject(u64::MAX, &[1]));
    let _ = one.hear(5, reject(0, &[1]));
    assert_eq!(one.hear(6, reject(0, &[1])).outputs, [believed(1)]);
    assert_eq!(one.open(), (0, 0));
}

#[test]
fn only_members_speak_and_only_of_what_can_be() {
    let mut one = One::new(5);
    let not_a_member = |node| Effects::fault(NodeId(node), FaultKind::NotAMember);
    assert_eq!(one.hear(0, votes(&[vote(1)])), not_a_member(0), "CL_M is for the shard");
    assert_eq!(one.hear(4, reject(0, &[1])), not_a_member(4), "CL is for others");
    assert_eq!(one.hear(12, votes(&[vote(1)])), not_a_member(12));
    assert_eq!(one.hear(12, reject(0, &[1])), not_a_member(12));
    for others in [shards(&[]), shards(&[2, 0]), shards(&[0, 0]), shards(&[0, 1]), shards(&[3])] {
        let vote = RejectVote { others, ..vote(1) };
        let effects = one.hear(4, votes(std::slice::from_ref(&vote)));
        assert_eq!(effects, Effects::fault(NodeId(4), FaultKind::OutOfRange), "{vote:?}");
    }
    assert_eq!(one.open(), (0, 0));
}

#[test]
fn votes_for_other_shards_do_not_add_up() {
    let mut one = One::new(7);
    let other = RejectVote { others: shards(&[0]), ..vote(1) };
    assert_eq!(one.hear(4, votes(std::slice::from_ref(&other))), Effects::none());
    assert_eq!(one.hear(5, votes(&[vote(1)])), Effects::none());
    let changed = one.hear(4, votes(&[vote(1)]));
    assert_eq!(changed, Effects::fault(NodeId(4), FaultKind::Equivocation));
    assert!(!one.hear(6, votes(&[vote(1)])).sends.is_empty(), "two of the same");
}

/// Without a rule, the lie that it prevents is sent or believed.
#[cfg(feature = "mutants")]
#[test]
fn without_its_rules_lies_spread() {
    use crate::mutant;

    /// Whether the lie went through.
    fn one_vote_makes_a_reject() -> bool {
        let effects = One::new(5).hear(4, votes(&[vote(1)]));
        effects.sends.iter().any(|(_, message)| matches!(message, RejectMessage::Rejected { .. }))
    }
    fn rejected_while_its_record_is_open() -> bool {
        let mut one = One::new(5);
        one.book.known.insert(id(1), Standing::Spent);
        [4, 6, 7].iter().any(|node| !one.hear(*node, votes(&[vote(1)])).sends.is_empty())
    }
    fn one_reject_cancels() -> bool {
        let mut one = One::new(0);
        one.book.pool.insert(id(1), Round(0));
        let _ = one.hear(4, reject(0, &[1]));
        !one.cancels(1).is_empty()
    }
    fn rejected_to_a_client_though_finished() -> bool {
        let mut contact = One::new(0);
        [4, 5].iter().any(|node| contact.hear(*node, reject(6, &[1])).outputs.contains(&believed(1)))
    }
    let attacks: [(Mutant, fn() -> bool); 4] = [
        (Mutant::RejectNeedsQuorum, one_vote_makes_a_reject),
        (Mutant::RejectNotUnderOpenRecord, rejected_while_its_record_is_open),
        (Mutant::BelieveNeedsOneHonest, one_reject_cancels),
        (Mutant::RejectAfterWatermark, rejected_to_a_client_though_finished),
    ];
    for (rule, attack) in attacks {
        assert!(!attack(), "{rule:?} in force");
        mutant::set(Some(rule));
        let succeeded = attack();
        mutant::set(None);
        assert!(succeeded, "nobody noticed that {rule:?} was off");
    }
}
