//! Members that lost messages with a process, that start late or that were away come back.

use bft::mvba::Halt;
use bft::round::{Answer, CatchUpMessage, RoundMessage};
use bft::sim::bench::{Bench, Content, Execution, Kind, Order, Schedule, all, only};
use bft::time::Span;
use wire::ids::{Index, Round, View};

const STEPS_MAX: u64 = 400_000;

fn in_order() -> Schedule {
    Schedule::new(Order::FirstInFirstOut, 0)
}

/// Three members that need each other, since the fourth is mute.
fn three_of_four() -> (Bench, [Index; 4]) {
    let mut bench = Bench::new(4, 5);
    let roles = bench.cast(&[]);
    bench.mute(&roles[3..]);
    (bench, roles)
}

#[test]
fn messages_lost_with_a_process_of_a_peer_are_sent_again_at_its_return() {
    let (mut bench, [a, b, c, _]) = three_of_four();
    bench.advance_all();
    // The net_server of c dies again and again, with all messages to c.
    while !bench.under_way(&all().to(&[a, b])).is_empty() {
        bench.lose(&all().to(&[c]));
        bench.deliver(all().to(&[a, b]));
    }
    assert_eq!(bench.decided(a), Round(0), "a and b are stuck without c");
    bench.peer_up(a, c);
    bench.peer_up(b, c);
    bench.deliver(all());
    for member in [a, b, c] {
        assert_eq!(bench.decided(member), Round(1), "without waiting for any timer");
        assert_eq!(bench.certified(member), Round(1));
    }
    assert_eq!(bench.check(), Ok(()));
}

#[test]
fn messages_lost_with_an_own_child_are_sent_again_at_its_return() {
    let (mut bench, [a, b, c, _]) = three_of_four();
    bench.advance_all();
    // The net_client of c dies again and again, with all messages from c.
    while !bench.under_way(&all().to(&[a, b, c])).is_empty() {
        bench.lose(&all().from(&[c]));
        bench.deliver(all().to(&[a, b, c]));
    }
    assert_eq!(bench.decided(a), Round(0), "a and b are stuck without c");
    bench.child_restarted(c);
    bench.deliver(all());
    for member in [a, b, c] {
        assert_eq!(bench.decided(member), Round(1), "without waiting for any timer");
        assert_eq!(bench.certified(member), Round(1));
    }
    assert_eq!(bench.check(), Ok(()));
}

#[test]
fn open_messages_are_sent_again_after_a_second() {
    let (mut bench, [a, ..]) = three_of_four();
    bench.advance_all();
    bench.lose(&all());
    bench.sleep(Span::from_ms(999));
    assert!(bench.under_way(&all()).is_empty());
    bench.sleep(Span::from_ms(1));
    bench.deliver(all());
    assert_eq!(bench.decided(a), Round(1));
    bench.settle(1).unwrap();
}

/// Each message is lost with probability 1/2, whatever its kind and however often it is sent.
#[test]
fn a_network_that_loses_half_of_all_messages_only_delays() {
    for seed in 0..20 {
        let (mut bench, _) = three_of_four();
        let mut schedule = Schedule::new(Order::Random, seed);
        for round in 1..=3 {
            bench.advance_all();
            for _ in 0..200 {
                let messages = bench.under_way(&all());
                for message in messages.iter().filter(|_| schedule.prng.chance(1, 2)) {
                    bench.lose(&all().of(&[message.kind()]).from(&[message.from]).to(&[message.to]));
                }
                bench.deliver(all());
                if bench.honest().iter().all(|member| bench.decided(*member).0 >= round) {
                    break;
                }
                bench.ping();
                bench.sleep(Span::from_ms(1_000));
            }
            bench.settle(round).unwrap_or_else(|violation| panic!("seed {seed}: {violation:?}"));
        }
    }
}

/// The start-up deadlock of the prototype: 8 of 13 runs hung because a node that started late had dropped early
/// messages. Here c receives all messages of the others, the newest first, before it knows any lane.
#[test]
fn a_member_that_starts_late_uses_early_messages() {
    let (mut bench, [a, b, c, _]) = three_of_four();
    for lane in [a, b] {
        let tip = bench.certify(lane);
        bench.learn(&[a, b], lane, tip);
    }
    bench.sleep(Span::from_ms(5));
    bench.deliver(all().to(&[a, b]));
    assert_eq!(
        (bench.decided(a), bench.view(c)),
        (Round(0), None),
        "a and b wait for c, which has not begun"
    );
    while !bench.under_way(&all().to(&[c])).is_empty() {
        bench.deliver_backwards(&all().to(&[c]));
    }
    bench.deliver(all());
    assert_eq!(bench.decided(c), Round(1), "without waiting for any timer");
    bench.settle(1).unwrap();
}

/// c receives nothing while the others decide as many rounds as are buffered; then all messages arrive, newest first.
#[test]
fn early_rounds_are_decided_in_order_without_requests() {
    let mut bench = Bench::new(4, 5);
    let [a, b, c, d] = bench.cast(&[]);
    while bench.decided(a) < Round(8) {
        bench.advance(a);
        bench.sleep(Span::from_ms(5));
        bench.deliver(all().to(&[a, b, d]));
    }
    assert_eq!(bench.decided(a), Round(8));
    bench.deliver_backwards(&all().to(&[c]));
    assert_eq!(bench.decided(c), Round(8));
    assert!(bench.under_way(&only(Kind::CatchUp)).is_empty());
    bench.settle(8).unwrap();
}

/// c is away for longer than any buffer lasts. Then it requests the proofs, and gets them in a few answers.
fn away(rounds: u64) -> (Bench, [Index; 4]) {
    let mut bench = Bench::new(4, 5);
    let [a, b, c, d] = bench.cast(&[]);
    bench.lose_always(all().to(&[c]));
    bench.lose_always(all().from(&[c]));
    bench.run_for(&[a, b, d], &mut in_order(), rounds, STEPS_MAX).unwrap();
    assert_eq!(bench.decided(c), Round(0));
    bench.lose_no_more();
    (bench, [a, b, c, d])
}

#[test]
fn a_member_that_was_away_for_long_catches_up_by_requests() {
    let (mut bench, [_, _, c, _]) = away(100);
    bench.settle(100).unwrap();
    assert!(bench.decided(c) >= Round(100));
    // c takes part again.
    bench.run(&mut in_order(), 103, STEPS_MAX).unwrap();
    bench.settle(103).unwrap();
}

#[test]
fn a_false_claim_of_progress_does_not_prevent_catching_up() {
    let (bench, [a, ..]) = away(70);
    let genuine: Vec<Halt> = (1..=3).map(|round| bench.halt(a, round).expect("decided").clone()).collect();
    let mut wrong = genuine.clone();
    wrong[1].cut = wrong[2].cut.clone();
    for answer in [Vec::new(), genuine[1..].to_vec(), wrong, vec![genuine[0].clone(); 40]] {
        catches_up_beside(answer);
    }
}

/// An answer to the request for rounds from `from` on: these HALTs as if they were of those rounds.
fn halts_from(from: u64, halts: &[Halt]) -> Content {
    let shifted = |halt: &Halt| Halt { round: Round(halt.round.0 + from - 1), ..halt.clone() };
    let answer =
        Answer { from: Round(from), halts: halts.iter().map(shifted).collect(), served_from: Round(1) };
    Content::Round(RoundMessage::CatchUp(CatchUpMessage::Halts(answer)))
}

/// c catches up by 70 rounds within four seconds although b claims rounds that do not exist and answers c's requests
/// with `answer`.
fn catches_up_beside(answer: Vec<Halt>) {
    let (mut bench, [_, b, c, _]) = away(70);
    bench.corrupt(&[b]);
    bench.lose_always(all().from(&[b]).of(&[Kind::Halts]));
    let mut asked = 0;
    for _ in 0..40 {
        bench.ping();
        bench.ping_of(b, Round(u64::MAX - 1));
        bench.deliver_except(&[only(Kind::CatchUp).to(&[b])]);
        for _ in bench.under_way(&only(Kind::CatchUp).from(&[c]).to(&[b])) {
            // The range that c requested is one of these.
            for from in [1, 33, 65] {
                bench.forge(b, &[c], &halts_from(from, &answer));
            }
            asked += 1;
        }
        bench.lose(&only(Kind::CatchUp).to(&[b]));
        bench.sleep(Span::from_ms(100));
        assert_eq!(bench.check(), Ok(()));
        if bench.decided(c) >= Round(70) {
            break;
        }
    }
    assert!(bench.decided(c) >= Round(70));
    assert!((1..=2).contains(&asked), "one request to b in its turn, and perhaps one to all: {asked}");
    bench.settle(70).unwrap();
}

/// c missed all of round 71. The round needs c, since b only claims rounds that do not exist. The others repeat their
/// messages every ten seconds by now, so c requests them as soon as it has caught up.
#[test]
fn a_claim_of_rounds_that_do_not_exist_does_not_delay_the_running_one() {
    let (mut bench, [a, b, c, d]) = away(70);
    bench.lose_always(all().to(&[c]));
    bench.mute(&[b]);
    let tip = bench.certify(a);
    bench.learn(&[a, d], a, tip);
    let repeated = only(Kind::Send).from(&[a]).to(&[d]).round(71);
    // Until a has repeated its messages for the sixth time.
    for _ in 0..6 {
        bench.lose(&all());
        while bench.under_way(&repeated).is_empty() {
            bench.sleep(Span::from_ms(100));
        }
    }
    bench.deliver(all());
    assert_eq!((bench.decided(a), bench.decided(c)), (Round(70), Round(0)));
    bench.lose_no_more();
    bench.lose_always(all().from(&[b]));
    let mut waited = 0;
    while bench.decided(c) < Round(71) {
        bench.ping();
        bench.ping_of(b, Round(u64::MAX - 1));
        bench.sleep(Span::from_ms(100));
        bench.deliver(all());
        waited += 100;
        assert!(waited <= 3_000, "a, c and d are in round {}", bench.decided(c).next());
    }
    bench.settle(71).unwrap();
}

/// A peer that claims rounds that do not exist gets a few requests, and then one every ten seconds.
#[test]
fn a_claim_of_rounds_that_do_not_exist_costs_a_request_every_ten_seconds() {
    let mut bench = Bench::new(4, 5);
    let [a, b, ..] = bench.cast(&[]);
    bench.mute(&[b]);
    let mut asked = 0;
    for _ in 0..1_000 {
        bench.ping_of(b, Round(u64::MAX - 1));
        bench.sleep(Span::from_ms(100));
        asked += bench.under_way(&only(Kind::CatchUp).from(&[a])).len();
        assert!(bench.under_way(&only(Kind::CatchUp)).iter().all(|message| message.to == b));
        bench.lose(&all());
    }
    assert!((8..=15).contains(&asked), "{asked} requests in 100 s");
}

/// After a peer's first false HALT no other HALT of that peer is verified, and the peer gets no request.
#[test]
fn a_false_halt_bars_its_sender_from_catching_up() {
    let (mut bench, [a, b, c, _]) = away(3);
    bench.corrupt(&[b]);
    let genuine: Vec<Halt> = (1..=3).map(|round| bench.halt(a, round).expect("decided").clone()).collect();
    let halt = |halt: &Halt| Content::Round(RoundMessage::Halt(Box::new(halt.clone())));
    let mut wrong = genuine[0].clone();
    wrong.cut = genuine[1].cut.clone();
    for sent in [&wrong, &wrong, &genuine[1], &genuine[0]] {
        bench.forge(b, &[c], &halt(sent));
    }
    bench.deliver(all().from(&[b]).to(&[c]));
    assert_eq!(bench.decided(c), Round(0), "even true HALTs of b are ignored");
    assert_eq!(bench.faults().len(), 1);
    for _ in 0..20 {
        bench.ping_of(b, Round(u64::MAX - 1));
        bench.sleep(Span::from_ms(1_000));
        assert!(bench.under_way(&only(Kind::CatchUp).from(&[c])).is_empty());
    }
    bench.settle(3).unwrap();
}

/// Only an answer to a request is verified; one that comes late or twice is no fault.
#[test]
fn unrequested_answers_are_dropped_without_blame() {
    let (mut bench, [a, b, c, _]) = away(20);
    bench.corrupt(&[b]);
    let halts: Vec<Halt> = (1..=20).map(|round| bench.halt(a, round).expect("decided").clone()).collect();
    bench.forge(b, &[c], &halts_from(1, &halts));
    bench.deliver(only(Kind::Halts).to(&[c]));
    assert_eq!(bench.decided(c), Round(0));
    assert_eq!(bench.faults(), []);
}

/// Only a decides; its HALTs are lost with its net_client. The others still send messages of the round, and get the
/// proof.
#[test]
fn a_member_that_has_decided_answers_with_the_halt() {
    let mut bench = Bench::where_leaders(4, |leaders| leaders[0] == Index(0));
    let [a, b, c, d] = bench.cast(&[]);
    bench.advance_all();
    let others = [b, c, d];
    let decisive = all().of(&[Kind::PreVote, Kind::Vote, Kind::Halt]).to(&others);
    bench.deliver_except(&[only(Kind::Finish).from(&[a]).to(&others), decisive]);
    assert_eq!(bench.decided(a), Round(1));
    bench.lose(&all());
    for member in others {
        assert_eq!(bench.decided(member), Round(0));
    }
    // No pings: a's answers to repeated messages must suffice.
    bench.sleep(Span::from_ms(1_000));
    bench.deliver(all());
    for member in others {
        assert!(bench.decided(member) >= Round(1));
    }
    assert_eq!(bench.check(), Ok(()));
}

/// c knows no lane and so has nothing to send again; the certificates it requests are lost. It requests them again.
#[test]
fn lost_certificates_are_requested_again() {
    let (mut bench, [a, b, c, _]) = three_of_four();
    for lane in [a, b] {
        let tip = bench.certify(lane);
        bench.learn(&[a, b], lane, tip);
    }
    bench.sleep(Span::from_ms(5));
    bench.deliver(only(Kind::Send).to(&[c]));
    assert!(!bench.under_way(&only(Kind::LaneCertificate).to(&[c])).is_empty(), "c has requested them");
    assert_eq!(bench.view(c), Some(View(0)), "a round runs at c though it has no input");
    bench.lose(&all());
    bench.settle(1).unwrap();
    assert_eq!(bench.decided(c), Round(1));
}

/// A member that cannot execute, because a body is missing, neither gives input to nor decides a round more than 16
/// ahead, be it by agreement, HALT or catching up. The others go on without it. Once its bodies have arrived it goes on
/// with the messages that waited, and requests the rest.
#[test]
fn a_member_that_cannot_execute_decides_nothing_beyond_the_window() {
    for rounds in [20, 60] {
        let mut bench = Bench::new(4, 5);
        let [a, b, c, _] = bench.cast(&[]);
        bench.execution(c, Execution::Stuck);
        let sends = |bench: &Bench, round: u64| !bench.under_way(&all().from(&[c]).round(round)).is_empty();
        for round in 1..=rounds {
            bench.advance(b);
            bench.deliver(only(Kind::LaneCertificate));
            bench.sleep(Span::from_ms(5));
            assert_eq!(sends(&bench, round), round <= 16, "round {round}");
            bench.deliver_except(&[all().from(&[c])]);
            assert!(!sends(&bench, 17), "round {round}");
            bench.deliver(all());
            assert_eq!(bench.decided(a), Round(round), "nobody waits for c");
            assert_eq!(bench.decided(c), Round(round.min(16)));
        }
        assert_eq!(bench.certified(c), Round(0));
        // Time and pings change nothing. c requests the HALTs that it will need, each range once, and keeps them.
        let mut requests = 0;
        for _ in 0..10 {
            bench.ping();
            bench.sleep(Span::from_ms(1_000));
            requests += bench.under_way(&only(Kind::CatchUp).from(&[c])).len();
            bench.deliver(all());
            assert_eq!(bench.decided(c), Round(16));
        }
        assert!((1..=4).contains(&requests), "{requests} requests in ten seconds");
        bench.execution(c, Execution::One);
        assert_eq!(bench.decided(c), Round(17), "one block gives way to one round, without any message");
        bench.execution(c, Execution::AtOnce);
        assert_eq!(bench.decided(c), Round(rounds), "c decides all that it kept, without any message");
        bench.settle(rounds).unwrap();
        bench.advance(b);
        bench.deliver(only(Kind::LaneCertificate));
        bench.sleep(Span::from_ms(5));
        assert!(sends(&bench, rounds + 1), "c takes part again");
        bench.settle(rounds + 1).unwrap();
    }
}

/// Messages of later views count as soon as the coins before them are known: c was away for a view, and then needs only
/// early messages.
#[test]
fn messages_of_later_views_wait_for_the_coins_before_them() {
    let (mut bench, [a, b, c, _]) = three_of_four();
    bench.advance_all();
    // c answers in view 0 but receives no coin shares: it knows no coin, and the others go on.
    bench.deliver_except(&[all().of(&[Kind::Share]).to(&[c]), only(Kind::Halt)]);
    let ahead = [a, b].map(|member| bench.view(member));
    assert_eq!(bench.view(c), Some(View(0)));
    assert!(bench.check().is_ok());
    bench.deliver_backwards(&all().to(&[c]));
    bench.deliver(all());
    assert!(bench.decided(c) >= Round(1), "others were in views {ahead:?}");
    bench.settle(1).unwrap();
}
