//! Copies of waiting transactions: who sends what when, what a holder makes of them, and what a false one costs.

use wire::limits::{EXPIRY_ROUNDS_AHEAD_MAX, SHARE_BATCH_BYTES, SHARE_WINDOW_BYTES};

use super::*;
use crate::message::{Incoming, Message, encode_copies, encode_order};
use crate::shard::home::home_of;
use crate::shard::message::ShardMessage;
use crate::time::Span;

const PEER: NodeId = NodeId(1);
/// When everything that came at 0 is due.
const DUE: Time = Time(200_000);

fn at(ms: u64) -> Time {
    Time(0) + Span::from_ms(ms)
}

fn position(number: u64) -> Position {
    (1..number).fold(Position::FIRST, |position, _| position.next())
}

impl Bench {
    /// Member 0 of a shard of four, of which member 1 is connected: each holds copies of the other.
    fn of_four(coins: u64, limits: MempoolLimits) -> Bench {
        let protocol = Protocol { genesis_coins: coins, genesis_amount: 100, ..Protocol::default() };
        let mut bench = Bench::of(Committee::new(4, protocol, vec![keys(); 8], [3; 32]), limits);
        bench.pending.peer_up(PEER);
        bench
    }

    fn submit_all(&mut self, transactions: &[Vec<u8>]) {
        assert_eq!(self.submit(ALICE, &transactions.iter().map(Vec::as_slice).collect::<Vec<_>>()), []);
    }

    /// Transactions with a payload, one for each coin.
    fn long(&self, coins: std::ops::Range<u64>, payload: usize) -> Vec<Vec<u8>> {
        coins.map(|coin| transfer(HERE, self.coin(coin), 100, 1_000, &vec![0; payload])).collect()
    }

    /// The copies that are sent now, each with its recipients.
    fn copies(&mut self, now: Time) -> Vec<(Dest, Copies)> {
        let output = self.pending.share(now);
        assert_eq!((output.sends.len(), output.faults.len()), (0, 0));
        let copies = output.prompt.into_iter().map(|(dest, body)| match Incoming::decode(&body) {
            Some(Incoming::Copies(copies)) => (dest, copies),
            other => panic!("{other:?}"),
        });
        copies.collect()
    }

    fn hold(
        &mut self,
        from: NodeId,
        after: Option<Position>,
        through: u64,
        transactions: &[Vec<u8>],
    ) -> Output {
        let body = encode_copies(after, position(through), transactions.iter().map(Vec::as_slice));
        let Some(Incoming::Copies(copies)) = Incoming::decode(&body) else { panic!("copies") };
        self.pending.on_copies(Time(0), from, &copies, &self.ledger)
    }
}

fn held(to: NodeId, through: u64) -> Output {
    let body = Message::Shard(ShardMessage::Held(position(through))).encode();
    Output { prompt: vec![(Dest::Node(to), body)], ..Output::default() }
}

fn count(copies: &[(Dest, Copies)]) -> usize {
    copies.iter().map(|(_, copies)| list::parse(&copies.list, 10_000).unwrap().len()).sum()
}

#[test]
fn what_still_waits_is_sent_once_it_is_due_and_no_sooner() {
    let mut bench = Bench::of_four(40, MempoolLimits::default());
    let spends = bench.long(0..5, 10);
    bench.submit_all(&spends);
    assert_eq!(bench.pending.next_wakeup(Round(0)), Some(DUE));
    assert_eq!(bench.copies(at(199)), []);
    let payload = bench.take_up_to(ROOM, 2).0.unwrap();
    let sent = bench.copies(DUE);
    let [(dest, copies)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((dest, copies.after, copies.through), (&Dest::Set(vec![PEER]), None, position(5)));
    assert_eq!(count(&sent), 3, "two are proposed");
    assert_eq!(bench.copies(at(300)), [], "each is sent once");
    bench.execute(&[payload]);
    assert_eq!(bench.pending.on_held(at(300), PEER, position(5)), Output::default());
    assert_eq!(bench.pending.next_wakeup(Round(1)), None, "nothing is open");
}

#[test]
fn members_at_one_position_share_a_message_and_none_sends_nothing() {
    for (share, to) in [
        (Share::All, Some(vec![NodeId(1), NodeId(2), NodeId(3)])),
        (Share::Backup, Some(vec![PEER])),
        (Share::None, None),
    ] {
        let mut bench = Bench::of_four(40, MempoolLimits { share, ..MempoolLimits::default() });
        (2..4).for_each(|node| bench.pending.peer_up(NodeId(node)));
        let spends = bench.long(0..5, 10);
        bench.submit_all(&spends);
        let sent = bench.copies(DUE);
        assert_eq!(sent.first().map(|(dest, _)| dest), to.map(Dest::Set).as_ref(), "{share:?}");
        assert!(sent.len() <= 1, "{share:?}");
    }
}

#[test]
fn a_member_that_never_came_holds_no_copies() {
    let mut bench = Bench::of_four(40, MempoolLimits::default());
    bench.pending.peer_down(PEER);
    bench.pending.peer_up(NodeId(3));
    let spends = bench.long(0..5, 10);
    bench.submit_all(&spends);
    let sent = bench.copies(DUE);
    assert_eq!(sent.iter().map(|(dest, _)| dest).collect::<Vec<_>>(), [&Dest::Set(vec![NodeId(3)])]);
    bench.pending.peer_up(NodeId(2));
    assert_eq!(bench.copies(at(300))[0].0, Dest::Set(vec![NodeId(2)]), "it comes before member 3");
}

#[test]
fn only_holders_take_copies_and_each_further_one_waits_longer() {
    let mut bench = Bench::of_four(40, MempoolLimits::default());
    let spends = bench.long(0..4, 10);
    // The holders of member 1 are now members 2 and 0, of which f is one.
    bench.pending.peer_up(NodeId(2));
    assert_eq!(bench.hold(PEER, None, 2, &spends[..2]), Output::default(), "no fault, and no answer");
    assert!(bench.pending.is_empty());
    bench.pending.peer_down(NodeId(2));
    assert_eq!(bench.hold(PEER, None, 2, &spends[..2]), held(PEER, 2));
    // It holds them, and member 2 is back, so that is to step in first.
    bench.pending.peer_up(NodeId(2));
    let height = bench.ledger.height().0;
    bench.pending.promote(at(1), Round(height + 31), |_| 31);
    assert_eq!(bench.pending.waiting(), 0);
    assert_eq!(bench.pending.next_wakeup(Round(height + 31)), Some(at(10_000)));
    bench.pending.promote(at(1), Round(height + 32), |_| 32);
    assert_eq!(bench.pending.waiting(), 2);
}

#[test]
fn a_window_bounds_what_is_not_acknowledged_and_silence_narrows_it_to_one_batch() {
    let mut bench = Bench::of_four(4_000, MempoolLimits::default());
    let spends = bench.long(0..4_000, 1_000);
    spends.chunks(1_000).for_each(|few| bench.submit_all(few));
    let sent = bench.copies(DUE);
    let bytes: u64 = sent.iter().map(|(_, copies)| copies.list.len() as u64).sum();
    assert!((SHARE_WINDOW_BYTES..SHARE_WINDOW_BYTES + 2 * SHARE_BATCH_BYTES).contains(&bytes), "{bytes}");
    for pair in sent.windows(2) {
        assert_eq!(pair[1].1.after, Some(pair[0].1.through));
    }
    assert_eq!(bench.copies(at(1_100)), []);
    // No acknowledgement comes: from the beginning, one batch after 1 s, 2 s more, and so on.
    for ms in [1_200, 3_200, 7_200, 15_200, 25_200] {
        assert_eq!(bench.pending.next_wakeup(Round(0)), Some(at(ms)));
        let again = bench.copies(at(ms));
        assert_eq!(again, sent[..1], "at {ms} ms");
    }
    // An acknowledgement opens the window again.
    let through = sent[0].1.through;
    assert_eq!(bench.pending.on_held(at(25_300), PEER, through), Output::default());
    let next = bench.copies(at(25_300));
    assert_eq!(next[0].1.after, Some(through), "it goes on in the same run");
    assert!(count(&next) > count(&sent) - 300, "{}", count(&next));
}

#[test]
fn positions_that_were_never_sent_are_a_fault_and_late_ones_are_not() {
    let mut bench = Bench::of_four(40, MempoolLimits::default());
    let fault = |kind| Output::fault(PEER, kind);
    assert_eq!(bench.pending.on_held(Time(0), PEER, position(1)), fault(FaultKind::OutOfRange));
    let spends = bench.long(0..5, 10);
    bench.submit_all(&spends);
    assert_eq!(count(&bench.copies(DUE)), 5);
    assert_eq!(bench.pending.on_held(DUE, PEER, position(6)), fault(FaultKind::OutOfRange));
    assert_eq!(
        bench.pending.on_held(DUE, NodeId(2), position(5)),
        Output::fault(NodeId(2), FaultKind::OutOfRange)
    );
    assert_eq!(
        bench.pending.on_held(DUE, NodeId(5), position(5)),
        Output::fault(NodeId(5), FaultKind::NotAMember)
    );
    bench.pending.start_over(PEER);
    assert_eq!(bench.pending.on_held(DUE, PEER, position(5)), Output::default(), "by the process before");
    assert_eq!(bench.copies(at(300)), [], "it holds them all the same");
}

#[test]
fn a_holder_proposes_copies_when_their_home_is_silent_and_forgets_them_when_they_are_ordered() {
    let mut bench = Bench::of_four(40, MempoolLimits::default());
    let spends = bench.long(0..3, 10);
    assert_eq!(bench.hold(PEER, None, 3, &spends), held(PEER, 3));
    assert_eq!((bench.pending.len(), bench.pending.waiting()), (3, 0));
    assert_eq!(bench.hold(PEER, None, 3, &spends), held(PEER, 3), "the acknowledgement may be lost");
    assert_eq!(bench.pending.len(), 3);
    bench.execute(&[of(&[&spends[0]])]);
    assert_eq!(bench.pending.len(), 2);
    // A home that advances has its time.
    bench.pending.hear(at(4_000), Index(1));
    bench.pending.promote(at(8_999), Round(100), |_| 15);
    assert_eq!(bench.pending.waiting(), 0);
    bench.pending.promote(at(100), Round(17), |_| 16);
    assert_eq!(bench.pending.waiting(), 2);
    let payload = bench.take().0.unwrap();
    assert_eq!(payload, of(&[&spends[1], &spends[2]]));
    bench.execute(&[payload]);
    assert!(bench.pending.is_empty());
    assert_eq!(bench.hold(PEER, None, 3, &spends), held(PEER, 3), "settled ones need no holding");
    assert!(bench.pending.is_empty());
}

#[test]
fn a_gap_is_not_acknowledged_and_a_new_run_may_begin_anywhere() {
    let mut bench = Bench::of_four(40, MempoolLimits::default());
    let spends = bench.long(0..6, 10);
    assert_eq!(bench.hold(PEER, None, 2, &spends[..2]), held(PEER, 2));
    assert_eq!(bench.hold(PEER, Some(position(4)), 6, &spends[4..]), Output::default());
    assert_eq!(bench.pending.len(), 4, "what came is held");
    assert_eq!(bench.hold(PEER, Some(position(2)), 4, &spends[2..4]), held(PEER, 4));
    assert_eq!(bench.hold(PEER, Some(position(4)), 6, &spends[4..]), held(PEER, 6));
    assert_eq!(
        bench.hold(NodeId(2), None, 900, &spends[..1]),
        held(NodeId(2), 900),
        "positions are the sender's"
    );
}

#[test]
fn a_member_fills_its_own_share_of_the_room_and_then_is_not_acknowledged() {
    // 8 nodes share half of 160: 10 each.
    let limits = MempoolLimits { transactions_max: 160, ..MempoolLimits::default() };
    let mut bench = Bench::of_four(100, limits);
    let spends = bench.long(0..40, 10);
    assert_eq!(bench.hold(PEER, None, 8, &spends[..8]), held(PEER, 8));
    assert_eq!(bench.hold(PEER, Some(position(8)), 12, &spends[8..12]), Output::default());
    assert_eq!(bench.pending.len(), 10);
    assert_eq!(
        bench.hold(NodeId(2), None, 5, &spends[20..25]),
        held(NodeId(2), 5),
        "another one has its own"
    );
    bench.execute(&[of(&[&spends[0], &spends[1]])]);
    assert_eq!(bench.hold(PEER, None, 12, &spends[8..12]), held(PEER, 12), "there is room again");
    bench.submit_all(&spends[30..35]);
}

#[test]
fn invalid_and_foreign_transactions_are_faults() {
    let mut bench = Bench::of_four(40, MempoolLimits::default());
    let good = bench.spend(0);
    let coin = bench.coin(1);
    let bad = Output::fault(PEER, FaultKind::BadRequest);
    for bytes in [vec![], good[1..].to_vec(), transfer(ShardId(1), coin, 100, 1_000, b"")] {
        assert_eq!(bench.hold(PEER, None, 1, &[bytes]), bad);
        assert!(bench.pending.is_empty());
    }
    assert_eq!(
        bench.hold(PEER, Some(position(3)), 3, std::slice::from_ref(&good)),
        bad,
        "a batch that ends where it begins"
    );
    assert_eq!(bench.hold(NodeId(5), None, 1, &[good]), Output::fault(NodeId(5), FaultKind::NotAMember));
    let unspent = transfer(HERE, coin, 99, 1_000, b"");
    assert_eq!(bench.hold(PEER, None, 1, &[unspent]), held(PEER, 1), "what can never execute is not held");
    assert!(bench.pending.is_empty());
}

#[test]
fn what_a_client_has_handed_in_here_stays_its_own() {
    let mut bench = Bench::of_four(40, MempoolLimits::default());
    let (mine, copied) = (bench.spend(0), bench.spend(1));
    bench.submit_all(std::slice::from_ref(&mine));
    assert_eq!(bench.hold(PEER, None, 2, &[mine.clone(), copied.clone()]), held(PEER, 2));
    bench.submit_all(std::slice::from_ref(&copied));
    let payload = bench.take().0.unwrap();
    assert_eq!(payload, of(&[&mine]), "the home of the other proposes it");
    let done = bench.execute(&[payload, of(&[&copied])]);
    assert_eq!(done, receipts(&[(ALICE, &mine, FINISHED_1), (ALICE, &copied, FINISHED_1)]));
}

#[test]
fn what_a_member_leaves_to_us_goes_behind_our_own_unless_there_is_a_crowd() {
    for is_crowd in [false, true] {
        let mut bench = Bench::of_four(40, MempoolLimits::default());
        if is_crowd {
            bench.pending.sharing.crowd.count(Time(0), 2_000, 2_000);
        }
        let spends: Vec<Vec<u8>> = (0..40)
            .map(|coin| bench.spend(coin))
            .filter(|bytes| home_of(&tx_id(bytes), 4) == Index(0))
            .collect();
        let (left, mine) = (&spends[0], &spends[1]);
        let body = encode_order([left.as_slice()].into_iter());
        let output = bench.pending.on_order(Time(0), PEER, &body.slice(1..body.len()), &bench.ledger);
        assert_eq!(output, Output::default());
        bench.submit_all(std::slice::from_ref(mine));
        let payload = bench.take().0.unwrap();
        assert_eq!(payload, if is_crowd { of(&[left, mine]) } else { of(&[mine, left]) });
    }
}

#[test]
fn in_a_crowd_nothing_is_left_to_a_home_that_is_idle_or_gone() {
    let mut bench = Bench::of_four(40, MempoolLimits::default());
    let mut id = TxId([0; 32]);
    id.0[0] = 1;
    let home = |bench: &Bench, ms| bench.pending.home_in_crowd(at(ms), &id);
    bench.pending.hear(at(9_000), Index(1));
    assert_eq!(home(&bench, 10_000), None, "no crowd");
    bench.pending.sharing.crowd.count(at(10_000), 2_000, 2_000);
    assert_eq!([10_000, 13_999, 14_000].map(|ms| home(&bench, ms)), [Some(Index(1)), Some(Index(1)), None]);
    bench.pending.peer_down(PEER);
    assert_eq!(home(&bench, 10_000), None);
}

#[test]
fn a_copy_that_is_out_of_reach_of_a_ledger_that_lags_is_held_and_dropped_if_it_stays_so() {
    let mut bench = Bench::of_four(40, MempoolLimits::default());
    let reach = bench.ledger.height().0 + EXPIRY_ROUNDS_AHEAD_MAX;
    let soon = transfer(HERE, bench.coin(0), 100, reach + 10, b"");
    let never = transfer(HERE, bench.coin(1), 100, reach + 10_000, b"");
    assert_eq!(bench.hold(PEER, None, 2, &[never, soon.clone()]), held(PEER, 2));
    assert_eq!(bench.pending.len(), 2);
    bench.skip_to(20);
    bench.pending.promote(at(1), Round(20), |_| 16);
    assert_eq!(bench.take().0.unwrap(), of(&[&soon]));
    assert_eq!(bench.pending.len(), 1);
}

#[test]
fn a_new_process_gets_one_batch_until_it_acknowledges_something() {
    let mut bench = Bench::of_four(4_000, MempoolLimits::default());
    bench.pending.start_over(PEER);
    let spends = bench.long(0..2_000, 1_000);
    spends.chunks(1_000).for_each(|few| bench.submit_all(few));
    let sent = bench.copies(DUE);
    assert_eq!(sent.len(), 1);
    bench.pending.start_over(PEER);
    assert_eq!(bench.copies(at(300)), sent, "once more, and no more than that");
    assert_eq!(bench.pending.on_held(at(300), PEER, sent[0].1.through), Output::default());
    assert!(bench.copies(at(400)).len() > 1);
}

#[test]
fn the_pause_between_two_probes_grows_while_the_pace_is_closed() {
    let mut bench = Bench::of_four(4_000, MempoolLimits::default());
    let spends = bench.long(0..100, 1_000);
    bench.submit_all(&spends);
    let sent = bench.copies(DUE);
    assert_eq!(sent.len(), 1);
    let mut due = at(1_200);
    for wait_ms in [2_000, 4_000, 8_000, 10_000, 10_000] {
        assert_eq!(bench.pending.next_wakeup(Round(0)), Some(due));
        // Other holders have taken the pace.
        let pace = &mut bench.pending.sharing.pace;
        while pace.opens_at() < due + Span::from_ms(300) {
            pace.spend(due, 1_000);
        }
        let opens = pace.opens_at();
        assert_eq!(bench.copies(due), []);
        assert_eq!(bench.pending.next_wakeup(Round(0)), Some(opens));
        assert_eq!(bench.copies(opens), sent);
        due = opens + Span::from_ms(wait_ms);
    }
}
