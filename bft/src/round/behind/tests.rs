//! Requests in virtual time, without a network.

use wire::committee::Protocol;
use wire::ids::View;

use super::*;
use crate::crypto::cert::Certificate;
use crate::crypto::deal::{deal_committee, seeded_entropy};
use crate::cut::Cut;

const FAR: Round = Round(u64::MAX - 1);
const OWN: Round = Round(0);

fn at(ms: u64) -> Time {
    Time(0) + Span::from_ms(ms)
}

fn one(author: u16, from: u64) -> NextAsk {
    NextAsk::One(Index(author), Round(from))
}

/// The requests due before `until`, each with its time in milliseconds.
fn requests(behind: &mut Behind, own: Round, until: Time) -> Vec<(u64, NextAsk)> {
    let mut requests = Vec::new();
    while let Some(due) = behind.due().filter(|due| *due < until) {
        requests.extend(requests_at(behind, own, due).into_iter().map(|request| (due.0 / 1_000, request)));
        assert!(behind.due().is_none_or(|next| next > due), "time passes");
    }
    requests
}

/// The requests that are due at one moment.
fn requests_at(behind: &mut Behind, own: Round, now: Time) -> Vec<NextAsk> {
    std::iter::from_fn(|| Some(behind.next_ask(now, own)).filter(|ask| *ask != NextAsk::None)).collect()
}

/// An answer with so many HALTs, which nobody verifies here.
fn answer(from: u64, count: u64) -> Answer {
    let halt = |round| Halt {
        round: Round(round),
        view: View(0),
        cut: Cut(Vec::new()),
        certificate: Certificate(Vec::new()),
        shares: Vec::new(),
    };
    Answer { from: Round(from), halts: (from..from + count).map(halt).collect(), served_from: Round(1) }
}

/// Takes all HALTs that are next, as if they were valid; returns the last round and the sender of each.
fn use_halts(behind: &mut Behind, now: Time, mut own: Round) -> (Round, Vec<Index>) {
    let mut authors = Vec::new();
    while let Some((author, halt)) = behind.next_halt(own) {
        assert_eq!(halt.round, own.next());
        own = halt.round;
        behind.progressed(now, own);
        behind.helped(now, author, own);
        authors.push(author);
    }
    authors.dedup();
    (own, authors)
}

fn committee(n: u16) -> Committee {
    deal_committee(n, 1, Protocol::default(), seeded_entropy(1)).0
}

#[test]
fn an_own_restart_ends_all_pauses() {
    let mut behind = Behind::default();
    behind.learn(at(0), Index(1), FAR, OWN);
    behind.learn(at(0), Index(2), FAR, OWN);
    let before = requests(&mut behind, OWN, at(20_000));
    assert!(behind.due().is_some_and(|due| due > at(21_000)), "pauses are long by now: {before:?}");
    behind.retry_now(at(20_100), OWN);
    let after = requests(&mut behind, OWN, at(20_200));
    assert!(
        after.iter().any(|(at_ms, ask)| *at_ms == 20_100 && matches!(ask, NextAsk::One(..))),
        "{after:?}"
    );
}

#[test]
fn pauses_double_while_a_claim_comes_to_nothing() {
    let mut behind = Behind::default();
    behind.learn(at(0), Index(1), FAR, OWN);
    let requests = requests(&mut behind, OWN, at(50_000));
    assert!(requests.iter().all(|(_, request)| *request == one(1, 1)));
    let times: Vec<u64> = requests.into_iter().map(|(ms, _)| ms).collect();
    assert_eq!(times, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 26_000, 36_000, 46_000]);
    // Neither repeating the claim nor our own progress changes that.
    behind.learn(at(50_000), Index(1), FAR, OWN);
    behind.progressed(at(50_000), Round(1));
    assert_eq!(behind.due(), Some(at(56_000)));
    behind.forget(Index(1));
    assert_eq!((behind.next_ask(at(56_000), Round(1)), behind.due()), (NextAsk::None, None));
}

#[test]
fn one_request_to_all_ends_catch_up_despite_a_liars_claim() {
    let mut behind = Behind::default();
    behind.learn(at(0), Index(1), FAR, OWN);
    behind.learn(at(0), Index(2), Round(5), OWN);
    assert_eq!(requests_at(&mut behind, OWN, at(500)), [one(1, 1)]);
    assert_eq!(requests_at(&mut behind, OWN, at(1_000)), [one(2, 1)]);
    assert!(behind.answered(at(1_100), Index(2), answer(1, 5), OWN));
    assert_eq!(use_halts(&mut behind, at(1_100), OWN), (Round(5), vec![Index(2)]));
    assert_eq!(behind.due(), Some(at(1_100)));
    assert_eq!(behind.next_ask(at(1_100), Round(5)), NextAsk::All(Round(6)));
    // No further request follows, though the liar is still ahead.
    behind.progressed(at(1_200), Round(6));
    let rest = requests(&mut behind, Round(6), at(20_000));
    assert!(!rest.is_empty() && rest.iter().all(|(_, request)| *request == one(1, 7)), "{rest:?}");
}

#[test]
fn a_claim_that_was_true_is_trusted_again() {
    let mut behind = Behind::default();
    behind.learn(at(0), Index(1), Round(1), OWN);
    let _ = requests(&mut behind, OWN, at(20_000));
    // Its answer was lost, and HALT arrived unrequested.
    behind.progressed(at(20_000), Round(1));
    assert_eq!(
        behind.next_ask(at(20_500), Round(1)),
        NextAsk::All(Round(2)),
        "messages of round 2 may be lost too"
    );
    behind.learn(at(21_000), Index(1), Round(2), Round(1));
    assert_eq!(behind.due(), Some(at(21_500)));
    assert_eq!(behind.next_ask(at(21_500), Round(1)), one(1, 2));
}

#[test]
fn requests_go_to_peers_ahead_in_turn() {
    let mut behind = Behind::default();
    for peer in [1, 2, 3] {
        behind.learn(at(0), Index(peer), Round(9), OWN);
    }
    let turns: Vec<NextAsk> =
        requests(&mut behind, OWN, at(3_400)).into_iter().map(|(_, request)| request).collect();
    assert_eq!(turns, [1, 2, 3, 1, 2, 3].map(|peer| one(peer, 1)));
}

/// Three peers get a request at once. The silent one is replaced as soon as later answers have overtaken its own, and
/// the answers received meanwhile are used in order.
#[test]
fn consecutive_ranges_are_under_way_at_once() {
    let mut behind = Behind::default();
    for peer in [1, 2, 3] {
        behind.learn(at(0), Index(peer), Round(200), OWN);
    }
    assert_eq!(requests_at(&mut behind, OWN, at(500)), [one(1, 1), one(2, 33), one(3, 65)]);
    assert!(behind.answered(at(505), Index(3), answer(65, 32), OWN));
    assert!(behind.answered(at(510), Index(2), answer(33, 32), OWN));
    assert_eq!(use_halts(&mut behind, at(510), OWN).0, OWN, "the first range is missing");
    assert_eq!(requests_at(&mut behind, OWN, at(530)), [one(2, 97)], "four ranges are under way or kept");
    assert_eq!(behind.due(), Some(at(605)), "100 ms after it was overtaken");
    assert_eq!(requests_at(&mut behind, OWN, at(605)), [one(3, 1)], "another peer replaces the silent one");
    assert!(behind.answered(at(610), Index(3), answer(1, 32), OWN));
    assert_eq!(use_halts(&mut behind, at(610), OWN), (Round(96), vec![Index(3), Index(2), Index(3)]));
    // The late answer of the first one is no longer of use.
    assert!(!behind.answered(at(620), Index(1), answer(1, 32), Round(96)));
    assert!(!behind.answered(at(620), Index(1), answer(1, 32), Round(96)), "and it got one request");
}

#[test]
fn a_short_answer_is_completed_by_the_next_request() {
    let mut behind = Behind::default();
    for peer in [1, 2] {
        behind.learn(at(0), Index(peer), Round(40), OWN);
    }
    assert_eq!(requests_at(&mut behind, OWN, at(500)), [one(1, 1), one(2, 33)]);
    assert!(behind.answered(at(510), Index(2), answer(33, 8), OWN));
    assert!(behind.answered(at(520), Index(1), answer(1, 10), OWN));
    let (own, _) = use_halts(&mut behind, at(520), OWN);
    assert_eq!(own, Round(10));
    assert_eq!(requests_at(&mut behind, own, at(530)), [one(1, 11)]);
    assert!(behind.answered(at(540), Index(1), answer(11, 32), own));
    assert_eq!(use_halts(&mut behind, at(540), own).0, Round(42));
}

#[test]
fn the_rest_of_a_liars_answers_is_dropped_with_its_first_false_proof() {
    let mut behind = Behind::default();
    for peer in [1, 2] {
        behind.learn(at(0), Index(peer), Round(90), OWN);
    }
    assert_eq!(requests_at(&mut behind, OWN, at(500)), [one(1, 1), one(2, 33)]);
    assert!(behind.answered(at(505), Index(2), answer(33, 32), OWN));
    assert!(behind.answered(at(505), Index(1), answer(1, 32), OWN));
    let (liar, _) = behind.next_halt(OWN).expect("its HALT is here");
    behind.forget(liar);
    behind.drop_ranges_of(at(505), liar, OWN);
    assert_eq!(requests_at(&mut behind, OWN, at(525)), [one(2, 1)], "another peer gets its range");
}

#[test]
fn lag_is_what_one_honest_peer_must_have_decided() {
    let (mut behind, committee) = (Behind::default(), committee(4));
    behind.learn(at(0), Index(1), FAR, OWN);
    assert_eq!(behind.proven(&committee), Round(0), "one of them may lie");
    behind.learn(at(0), Index(2), Round(7), OWN);
    behind.learn(at(0), Index(3), Round(9), OWN);
    assert_eq!(behind.proven(&committee), Round(9));
}

#[test]
fn history_is_lost_when_no_peer_that_could_help_still_serves_it() {
    let (mut behind, committee) = (Behind::default(), committee(4));
    let late = |from| Answer { served_from: Round(from), ..answer(1, 0) };
    for peer in [1, 2, 3] {
        behind.learn(at(0), Index(peer), Round(90), OWN);
    }
    let lost = |behind: &Behind| behind.served_from(Round(1), OWN, &committee);
    assert_eq!(requests_at(&mut behind, OWN, at(500)), [one(1, 1), one(2, 33), one(3, 65)]);
    assert!(!behind.answered(at(510), Index(1), late(50), OWN));
    assert!(!behind.answered(at(510), Index(2), Answer { from: Round(33), ..late(40) }, OWN));
    assert_eq!(lost(&behind), None, "the third may still help");
    // It does not answer, and gets a further request.
    let _ = requests(&mut behind, OWN, at(5_000));
    assert_eq!(lost(&behind), Some(Round(40)));
    behind.learn(at(5_000), Index(3), Round(91), OWN);
    assert_eq!(behind.served_from(Round(45), Round(44), &committee), None, "one of them serves that");
}

#[test]
fn peers_that_need_not_serve_ranges_are_asked_what_they_serve() {
    let (mut behind, committee) = (Behind::default(), committee(10));
    for peer in 1..10 {
        behind.learn(at(0), Index(peer), Round(900), OWN);
    }
    let asked = [one(1, 1), one(2, 33), one(3, 65), one(4, 97)];
    assert_eq!(requests_at(&mut behind, OWN, at(500)), asked);
    for (peer, from) in [(2, 33), (3, 65), (4, 97)] {
        assert!(behind.answered(at(510), Index(peer), answer(from, 32), OWN));
    }
    assert_eq!(requests(&mut behind, OWN, at(700)), [(610, one(5, 1))], "the first is silent");
    assert!(behind.answered(at(710), Index(5), answer(1, 32), OWN));
    // Entries of the first round are missing, and so no HALT is used. Meanwhile all members drop them.
    let inquired = Answer { from: NO_ROUND, served_from: Round(50), ..answer(1, 0) };
    let lost = |behind: &Behind| behind.served_from(Round(1), OWN, &committee);
    let inquire = |behind: &mut Behind, inquiry_ms| {
        assert_eq!(behind.due(), Some(at(inquiry_ms)));
        assert_eq!(behind.next_ask(at(inquiry_ms), OWN), NextAsk::All(NO_ROUND));
        assert_eq!(behind.due(), Some(at(inquiry_ms + 10_000)), "nothing is due before the next inquiry");
        behind.asked_all(at(inquiry_ms), (1..10).map(Index), NO_ROUND);
    };
    inquire(&mut behind, 1_210);
    for peer in 2..8 {
        assert_eq!(lost(&behind), None, "{peer} has not said so");
        assert!(!behind.answered(at(1_300), Index(peer), inquired.clone(), OWN));
    }
    assert_eq!(lost(&behind), None, "the silent one may help");
    inquire(&mut behind, 11_210);
    assert_eq!(lost(&behind), Some(Round(50)), "a peer that has left an inquiry unanswered is no hope");
    assert_eq!(use_halts(&mut behind, at(12_000), OWN).0, Round(128), "the ranges are kept all the while");
}

/// One of three answers comes, and then nothing for a while: the gap before it is requested again.
#[test]
fn a_gap_before_a_kept_range_is_requested_from_peers_whose_pause_is_over() {
    let mut behind = Behind::default();
    for peer in [1, 2, 3] {
        behind.learn(at(0), Index(peer), Round(900), OWN);
    }
    assert_eq!(requests_at(&mut behind, OWN, at(500)), [one(1, 1), one(2, 33), one(3, 65)]);
    assert!(behind.answered(at(510), Index(3), answer(65, 32), OWN));
    // All later messages are lost.
    let again = requests(&mut behind, OWN, at(4_000));
    let of_the_gap = again.iter().filter(|(_, request)| matches!(request, NextAsk::One(_, Round(1))));
    assert!(of_the_gap.count() > 3, "{again:?}");
    let Some((_, NextAsk::One(author, from))) = again.last() else { panic!("{again:?}") };
    assert!(behind.answered(at(4_000), *author, answer(from.0, 32), OWN));
    assert_eq!((*from, use_halts(&mut behind, at(4_000), OWN).0), (Round(1), Round(32)));
}
