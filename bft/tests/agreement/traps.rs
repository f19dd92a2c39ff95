//! Bugs of the Python prototype in agreement, each with a test that would have caught it. (For votes that fail
//! verification see `liars`, for the start-up deadlock `recovery`.)

use std::collections::BTreeSet;

use bft::sim::bench::{Bench, Kind, Order, Schedule, all, only};
use wire::ids::{Index, Round, View};

/// The prototype's leader was a plain hash of the round and in effect always node 1. Here each member is elected now
/// and then, and no leader is known before shares are sent.
#[test]
fn leaders_vary_and_are_unknown_before_shares_are_sent() {
    for bench in [Bench::new(4, 1), Bench::real(4, 1)] {
        let leaders: Vec<Index> = (1..=40).map(|round| bench.coin(round, 0)).collect();
        assert_eq!(leaders.iter().collect::<BTreeSet<_>>().len(), 4, "{leaders:?}");
        let views: BTreeSet<Index> = (0..40).map(|view| bench.coin(1, view)).collect();
        assert_eq!(views.len(), 4);
    }
    let mut bench = Bench::new(4, 1);
    bench.advance_all();
    bench.deliver_except(&[only(Kind::Finish)]);
    assert_eq!(bench.leader_known(Round(1), View(0)), None);
    assert!(bench.under_way(&only(Kind::Share)).is_empty());
    bench.settle(1).unwrap();
}

/// One crashed node stopped the prototype's round barrier for all.
#[test]
fn rounds_go_on_without_f_crashed_members() {
    for n in [4, 7, 10] {
        let mut bench = Bench::new(n, 2);
        let members = bench.members();
        bench.run(&mut Schedule::new(Order::Random, 1), 2, 100_000).unwrap();
        bench.mute(&members[..bench.committee().f()]);
        bench.run(&mut Schedule::new(Order::Random, 2), 10, 400_000).unwrap();
        bench.settle(10).unwrap();
    }
}

/// f+1 crashed members stop the shard, and nothing is decided: no guess replaces the missing quorum. The others report
/// what they wait for.
#[test]
fn without_a_quorum_nothing_is_decided() {
    let mut bench = Bench::new(4, 2);
    let members = bench.members();
    bench.lose_always(all().from(&members[..2]));
    bench.advance_all();
    bench.settle(1).unwrap_err();
    assert!(members.iter().all(|member| bench.decided(*member) == Round(0)));
    bench.lose_no_more();
    bench.settle(1).unwrap();
}

/// A leader that sent SEND, LOCK or FINISH to a few members only blocked the prototype for ever. The elected leader is
/// `b`.
#[test]
fn a_leader_that_withholds_its_value_from_some_blocks_nobody() {
    for kind in [Kind::Send, Kind::Lock, Kind::Finish] {
        for reached in 0..3 {
            let mut bench = Bench::new(4, 4);
            let [b, ..] = bench.cast(&[bench.coin(1, 0)]);
            bench.corrupt(&[b]);
            let unreached: Vec<Index> = bench.honest().split_off(reached);
            bench.lose_always(only(kind).from(&[b]).to(&unreached));
            bench.lose_always(all().from(&[b]).of(&[Kind::PreVote, Kind::Vote, Kind::Halt]));
            bench.advance_each();
            bench.settle(1).unwrap_or_else(|violation| panic!("{kind:?} to {reached}: {violation:?}"));
        }
    }
}
