//! Random schedules: in every order of messages honest members agree and blame no honest member, and every round ends.

use bft::prng::Prng;
use bft::sim::bench::{Bench, Order, Schedule, Violation};
use wire::ids::Index;

/// Deliveries after which a run of three rounds has stalled; a run of ten members takes some 10,000.
const STEPS_MAX: u64 = 400_000;
const ROUNDS: u64 = 3;

/// A run of one seed, which decides the order of delivery, repeats, re-sending, and whether the Byzantine members are
/// mute or equivocate.
fn run(bench: &mut Bench, n: u16, seed: u64) -> Result<(), Violation> {
    let mut prng = Prng::new(seed);
    let mut members: Vec<Index> = (0..n).map(Index).collect();
    prng.shuffle(&mut members);
    let f = u64::from((n - 1) / 3);
    let byzantine = &members[..prng.below(f + 1) as usize];
    let order = match prng.below(5) {
        0 => Order::Random,
        1 => Order::FirstInFirstOut,
        2 => Order::LastInFirstOut,
        3 => Order::Starved(members[members.len() - 1], members[members.len() / 2]),
        _ => Order::StarvedLeader,
    };
    let mut schedule = Schedule::new(order, prng.next_u64());
    schedule.repeats_permille = prng.below(3) * 50;
    schedule.jumps_permille = prng.below(3);
    if prng.chance(1, 2) {
        bench.mute(byzantine);
    } else {
        bench.corrupt(byzantine);
        schedule.altered_permille = prng.within(100..700);
    }
    bench.run(&mut schedule, ROUNDS, STEPS_MAX)?;
    bench.settle(ROUNDS)
}

fn run_seeds(n: u16, seeds: std::ops::Range<u64>) {
    let (mut views_most, mut faults) = (0, 0);
    for seed in seeds {
        let mut bench = Bench::new(n, seed);
        if let Err(violation) = run(&mut bench, n, seed) {
            panic!("N = {n}, seed {seed}: {violation:?}");
        }
        views_most = views_most.max(bench.views_most());
        faults += bench.faults().len();
    }
    // The schedules led to further views, and the Byzantine members to faults.
    assert!(n < 4 || (views_most > 2 && faults > 10), "{views_most} views at most, {faults} faults");
}

#[test]
fn one_to_three_members_agree_without_tolerance() {
    for n in 1..=3 {
        run_seeds(n, 0..20);
    }
}

#[test]
fn four_members_agree_under_any_schedule() {
    run_seeds(4, 0..400);
}

#[test]
fn seven_members_agree_under_any_schedule() {
    run_seeds(7, 0..150);
}

#[test]
fn ten_members_agree_under_any_schedule() {
    run_seeds(10, 0..60);
}

#[test]
fn real_signatures_and_coins_agree_under_any_schedule() {
    for (n, seeds) in [(4, 0..40), (7, 0..5)] {
        for seed in seeds {
            let mut bench = Bench::real(n, seed);
            run(&mut bench, n, seed)
                .unwrap_or_else(|violation| panic!("N = {n}, seed {seed}: {violation:?}"));
        }
    }
}
