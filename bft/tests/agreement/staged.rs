//! Attacks staged step by step, each named after its target.
//!
//! Each script is harmless, and forks or stalls the shard without the rule that it attacks (`mutants` shows that).
//! Roles: `a` and the others are honest, `b` is Byzantine; N = 4, f = 1, N−f = 3. `x_i` is the cut that member i
//! proposes, another one for each.

use bft::crypto::cert::Certificate;
use bft::crypto::suite::{CoinName, CoinShare, Stage, Statement};
use bft::cut::Tip;
use bft::justification::Justification;
use bft::mvba::Halt;
use bft::round::RoundMessage;
use bft::sim::bench::{Bench, Content, Kind, Order, SPB, Schedule, Violation, all, only, stage};
use bft::spb::SpbMessage;
use wire::ids::{Digest, Index, Round, Seq, View};

use Kind::{Finish, Halt as HaltKind, Lock, PreVote as PreVoteKind, Share, Vote};

/// How an attack ends: well, or caught by a check.
pub(crate) type Outcome = Result<(), Violation>;

/// A bench whose views 0 and 1 of round 1 have different leaders, and the roles: the leaders first.
fn two_leaders() -> (Bench, [Index; 4]) {
    let bench = Bench::where_leaders(4, |leaders| leaders[0] != leaders[1]);
    let roles = bench.cast(&[bench.coin(1, 0), bench.coin(1, 1)]);
    (bench, roles)
}

/// The elected leader has certificate 1 and shows it only after the others have refused it and left the view. If they
/// still answered with READY, a certificate 2 would exist beside their UNLOCKs.
pub(crate) fn lock_shown_after_the_coin() -> Outcome {
    let (mut bench, [b, a, c, d]) = two_leaders();
    bench.corrupt(&[b]);
    bench.advance_each();
    // SPBs of a, c, d finish, b is elected, refused by a, c, d, and they leave view 0.
    bench.lose_always(all().of(&[PreVoteKind, Vote, HaltKind]).from(&[b]));
    bench.deliver_except(&[only(Lock).from(&[b]), all().view(1)]);
    assert!([a, c, d].map(|member| bench.view(member)) == [Some(View(1)); 3], "all have left view 0");
    // LOCK comes too late, and so would FINISH.
    bench.deliver_except(&[only(Finish).from(&[b]), all().view(1)]);
    // View 1 decides x_a, without d.
    let decisive = all().of(&[Finish, Vote, HaltKind]).to(&[d]);
    bench.deliver_except(&[only(Finish).from(&[b]).view(0), decisive]);
    assert!(bench.decided(a) >= Round(1));
    // FINISH of view 0 reaches d.
    bench.deliver(only(Finish).from(&[b]).view(0).to(&[d]));
    bench.settle(1)
}

/// The proposal of b in view 1 although x_a may have been decided in view 0.
#[derive(Clone, Copy)]
enum Unjustified {
    /// x_b, with certificate 1 of b's own SPB of view 0.
    ByOwnLock,
    /// x_b, with the leader's certificate 1, which is for x_a.
    ByLockOfAnotherValue,
}

/// View 0 ends in doubt: a, its leader, decides x_a by N−f yes-VOTEs; c and d see yes and no, adopt x_a and enter
/// view 1.
fn value_in_doubt(bench: &mut Bench, [a, b, c, d]: [Index; 4]) {
    bench.corrupt(&[b]);
    bench.advance_each();
    // All SPBs but that of a finish: its LOCK is slow. Nobody else knows its certificate 1 when the coin elects it.
    bench.deliver_except(&[only(Lock).from(&[a]), all().of(&[PreVoteKind, Vote])]);
    // d sees three refusals and votes no; c and b learn of certificate 1 and vote yes, and so does a.
    bench.deliver(only(PreVoteKind).from(&[b, c]).to(&[d]));
    bench.deliver(only(PreVoteKind).from(&[a, d]).to(&[b, c]));
    bench.deliver(only(PreVoteKind).from(&[c, d]).to(&[a]));
    // c and d receive both kinds of PRE-VOTE but not b's yes; b receives no more.
    bench.deliver(only(Vote).from(&[a, d]).to(&[b, c]));
    bench.deliver(only(Vote).from(&[a, c]).to(&[d]));
    assert_eq!([b, c, d].map(|member| bench.view(member)), [Some(View(1)); 3]);
    // a receives the VOTEs of b and c: it decides.
    bench.deliver(only(Vote).from(&[b, c]).to(&[a]));
    assert_eq!([a, b, c, d].map(|member| bench.decided(member).0), [1, 0, 0, 0]);
    assert_eq!(*bench.decided_cut(a), bench.own_cut(a));
}

/// b leads view 1 with x_b after [`value_in_doubt`].
fn unjustified_in_view_1(unjustified: Unjustified) -> Outcome {
    let (mut bench, roles) = two_leaders();
    let [_, b, ..] = roles;
    value_in_doubt(&mut bench, roles);
    // The HALT of a is slow.
    let certificate = match unjustified {
        Unjustified::ByOwnLock => bench.certificate(b, &stage(0, b, Stage::Lock, &bench.own_cut(b))),
        Unjustified::ByLockOfAnotherValue => {
            bench.yes_seen(Round(1), View(0)).map(|(_, certificate)| certificate)
        }
    };
    let justification = Justification::locked(View(0), certificate.expect("b has seen both"));
    bench.lead(b, 1, &bench.own_cut(b), &justification);
    bench.deliver_except(&[only(HaltKind), all().view(0)]);
    bench.settle(1)
}

pub(crate) fn justified_by_the_lock_of_another_leader() -> Outcome {
    unjustified_in_view_1(Unjustified::ByOwnLock)
}

pub(crate) fn justified_by_the_lock_of_another_value() -> Outcome {
    unjustified_in_view_1(Unjustified::ByLockOfAnotherValue)
}

/// The chain that b shows in view 2 for x_b.
#[derive(Clone, Copy)]
enum FalseChain {
    /// The UNLOCKs of view 1 alone.
    OneView,
    /// The UNLOCKs of view 1, for view 0 too.
    WithGap,
    /// A whole chain, but from certificate 1 of view 0 for x_a.
    LockOfAnotherValue,
}

/// After [`value_in_doubt`] view 1 elects a again, which has halted and leads no SPB there: the view ends with N−f
/// UNLOCKs, which prove nothing about view 0. b leads view 2 with x_b.
fn unlocked_two_views_on(false_chain: FalseChain) -> Outcome {
    let mut bench = Bench::where_leaders(4, |leaders| leaders[0] == leaders[1] && leaders[2] != leaders[0]);
    let roles = bench.cast(&[bench.coin(1, 0), bench.coin(1, 2)]);
    let [a, b, c, d] = roles;
    value_in_doubt(&mut bench, roles);
    // a and its HALT are slow: all others hold x_a and receive nothing from a in view 1.
    let slow = [only(HaltKind), all().from(&[a]), all().view(0)];
    bench.deliver_except(&[&slow[..], &[all().view(2)]].concat());
    assert_eq!([b, c, d].map(|member| bench.view(member)), [Some(View(2)); 3]);
    let unlock = Statement::Agreement {
        round: Round(1),
        view: View(1),
        leader: a,
        stage: Stage::Unlock,
        digest: Digest::default(),
    };
    let unlocks = bench.certificate(b, &unlock).expect("c and d have sent UNLOCK");
    let chain = match false_chain {
        FalseChain::OneView => Justification::default().unlocked(unlocks),
        FalseChain::WithGap => Justification::default().unlocked(unlocks.clone()).unlocked(unlocks),
        FalseChain::LockOfAnotherValue => {
            let (_, lock) = bench.yes_seen(Round(1), View(0)).expect("a has pre-voted yes");
            Justification::locked(View(0), lock).unlocked(unlocks)
        }
    };
    bench.lead(b, 2, &bench.own_cut(b), &chain);
    bench.deliver_except(&slow);
    bench.settle(1)
}

pub(crate) fn justified_by_the_last_view_alone() -> Outcome {
    unlocked_two_views_on(FalseChain::OneView)
}

pub(crate) fn justified_by_a_chain_with_a_gap() -> Outcome {
    unlocked_two_views_on(FalseChain::WithGap)
}

pub(crate) fn justified_by_an_older_lock_of_another_value() -> Outcome {
    unlocked_two_views_on(FalseChain::LockOfAnotherValue)
}

/// Every SPB ends with a certificate 2. b, which was not elected, makes a HALT of its own for d.
pub(crate) fn halt_of_a_leader_that_was_not_elected() -> Outcome {
    halt_for_a_loser(|_, _, _| {})
}

/// The same, with one made-up coin share that makes the coin elect b.
pub(crate) fn halt_with_shares_made_up() -> Outcome {
    halt_for_a_loser(|bench, b, shares| {
        let name = CoinName { round: Round(1), view: View(0) };
        for byte in 0..=u8::MAX {
            shares[0].1.value = [byte; 32];
            if bench.suite(b).elect(&name, shares) == Some(b) {
                return;
            }
        }
        panic!("of 256 coins one elects b");
    })
}

/// b was not elected but sends d a HALT of its own SPB, with the coin shares changed by `change`.
fn halt_for_a_loser(change: impl Fn(&Bench, Index, &mut [(Index, CoinShare)])) -> Outcome {
    let (mut bench, [a, b, _, d]) = two_leaders();
    bench.corrupt(&[b]);
    bench.advance_each();
    bench.lose_always(only(HaltKind).from(&[b]));
    // d is slow: it has nothing but SPBs to answer.
    bench.deliver_except(&[all().of(&[Finish, Share, PreVoteKind, Vote, HaltKind]).to(&[d])]);
    assert!(bench.decided(a) >= Round(1));
    let cut = bench.own_cut(b);
    let certificate = bench.certificate(b, &stage(0, b, Stage::Finish, &cut)).expect("b's SPB has finished");
    let mut shares = bench.coin_shares(b, 0).expect("b has the coin");
    change(&bench, b, &mut shares);
    let halt = Halt { round: Round(1), view: View(0), cut, certificate, shares };
    bench.forge(b, &[d], &Content::Round(RoundMessage::Halt(Box::new(halt))));
    bench.deliver(only(HaltKind).from(&[b]).to(&[d]));
    bench.settle(1)
}

/// c receives the VOTEs of a, b and d before it has voted itself; b's does not reach a. Then b falls silent, and a
/// needs the VOTE of c.
pub(crate) fn view_left_before_the_own_vote() -> Outcome {
    let (mut bench, [b, a, c, d]) = two_leaders();
    bench.corrupt(&[b]);
    bench.advance_each();
    // b is elected; no member knows its SPB, so all refuse it.
    bench.lose_always(all().of(&SPB).from(&[b]).spb(&[b]));
    bench.deliver_except(&[all().of(&[PreVoteKind, Vote])]);
    // a, b and d vote, c is short of PRE-VOTEs.
    bench.deliver(only(PreVoteKind).to(&[a, b, d]));
    // c and d have N−f VOTEs, a has two.
    bench.deliver(only(Vote).from(&[a, b, d]).to(&[c]));
    bench.deliver(only(Vote).from(&[a, b]).to(&[d]));
    bench.deliver(only(Vote).from(&[d]).to(&[a]));
    bench.lose_always(all().from(&[b]));
    bench.settle(1)
}

/// The leader to be sends x to some and y to others, and later both to all.
pub(crate) fn two_values_in_one_spb() -> Outcome {
    let (mut bench, [b, a, c, d]) = two_leaders();
    bench.corrupt(&[b]);
    bench.advance_each();
    let (x, y) = (bench.own_cut(b), bench.own_cut(c));
    // b's own node leads with x; the script leads with y, and LOCK of y goes to d alone.
    bench.deliver(only(Kind::Send).from(&[b]));
    let send = SpbMessage::Send { cut: y.clone(), justification: Justification::default() };
    bench.forge_spb(b, &[a, c, d], 0, send);
    bench.lose_always(only(Lock).from(&[b]).to(&[d]));
    bench.deliver(all().of(&[Kind::Send, Kind::Echo]).spb(&[b]));
    if let Some(certificate) = bench.certificate(b, &stage(0, b, Stage::Lock, &y)) {
        bench.forge_spb(b, &[d], 0, SpbMessage::Lock { cut: y, certificate });
    }
    // x finishes with a and c; a alone receives FINISH, and decides by it when the coin elects b.
    bench.deliver(only(Lock).from(&[b]));
    bench.lose(&only(Kind::Ready).to(&[b]).spb(&[b]));
    let certificate = bench.certificate(b, &stage(0, b, Stage::Finish, &x)).expect("a and c are ready");
    bench.forge_spb(b, &[a], 0, SpbMessage::Finish { cut: x.clone(), certificate });
    bench.deliver(only(Finish).from(&[b]));
    bench.deliver_except(&[only(HaltKind)]);
    assert!(bench.halt(a, 1).is_some_and(|halt| halt.cut == x));
    bench.settle(1)
}

/// b finishes x towards a and y towards d, with certificates that only b has signed.
pub(crate) fn certificate_of_one() -> Outcome {
    let (mut bench, [b, a, c, d]) = two_leaders();
    bench.corrupt(&[b]);
    bench.advance_each();
    bench.lose_always(all().of(&SPB).from(&[b]).spb(&[b]));
    for (member, cut) in [(a, bench.own_cut(b)), (d, bench.own_cut(c))] {
        let signature = bench.suite(b).sign(&stage(0, b, Stage::Finish, &cut));
        let certificate = Certificate(vec![(b, signature)]);
        bench.forge_spb(b, &[member], 0, SpbMessage::Finish { cut, certificate });
    }
    bench.deliver_except(&[only(HaltKind)]);
    bench.settle(1)
}

/// A leader proposes a cut that it made up.
fn made_up_cut(tips: impl Fn(Index) -> Vec<(Index, Tip)>) -> Outcome {
    let (mut bench, [b, _, _, d]) = two_leaders();
    bench.corrupt(&[b]);
    bench.advance_each();
    let own = (b, bench.own_cut(b).tip(b));
    let cut = bench.cut_of(&[vec![own], tips(d)].concat());
    bench.lead(b, 0, &cut, &Justification::default());
    bench.settle(1)
}

fn junk(seq: u64) -> Tip {
    Tip { seq: Seq(seq), digest: Digest([9; 32]) }
}

/// One lane is ahead; another is not, but has another digest, to which no entry could ever chain.
pub(crate) fn another_digest_for_a_lane_that_is_not_ahead() -> Outcome {
    made_up_cut(|lane| vec![(lane, junk(0))])
}

/// A lane is ahead by an uncertified entry that perhaps no member has.
pub(crate) fn uncertified_tip() -> Outcome {
    made_up_cut(|lane| vec![(lane, junk(7))])
}

/// The adversary starves the SPB of the leader as soon as the sent shares determine it. It wins each view in which
/// shares are sent before SPBs have finished.
pub(crate) fn coin_given_away_early() -> Outcome {
    for seed in 0..10 {
        let mut bench = Bench::new(4, seed);
        bench.run(&mut Schedule::new(Order::StarvedLeader, seed), 2, 100_000)?;
    }
    Ok(())
}

/// All scripts.
pub(crate) const SCRIPTS: [fn() -> Outcome; 14] = [
    lock_shown_after_the_coin,
    justified_by_the_lock_of_another_leader,
    justified_by_the_lock_of_another_value,
    justified_by_the_last_view_alone,
    justified_by_a_chain_with_a_gap,
    justified_by_an_older_lock_of_another_value,
    halt_of_a_leader_that_was_not_elected,
    halt_with_shares_made_up,
    view_left_before_the_own_vote,
    two_values_in_one_spb,
    certificate_of_one,
    another_digest_for_a_lane_that_is_not_ahead,
    uncertified_tip,
    coin_given_away_early,
];

#[test]
fn every_attack_fails_while_the_rules_are_in_force() {
    for (number, script) in SCRIPTS.iter().enumerate() {
        assert_eq!(script(), Ok(()), "script {number}");
    }
}
