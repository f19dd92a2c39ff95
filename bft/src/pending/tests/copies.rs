//! Copies of waiting transactions: who sends what when, what a holder makes of them, and what a false one costs.

use wire::limits::{SHARE_BATCH_BYTES, SHARE_WINDOW_BYTES};

use super::*;
use crate::message::{Incoming, Message, encode_copies};
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
    /// Member 0 of a shard of four, whose copies go to member 1.
    fn of_four(coins: u64, limits: MempoolLimits) -> Bench {
        let protocol = Protocol { genesis_coins: coins, genesis_amount: 100, ..Protocol::default() };
        Bench::of(Committee::new(4, protocol, vec![keys(); 8], [3; 32]), limits)
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
        let spends = bench.long(0..5, 10);
        bench.submit_all(&spends);
        let sent = bench.copies(DUE);
        assert_eq!(sent.first().map(|(dest, _)| dest), to.map(Dest::Set).as_ref(), "{share:?}");
        assert!(sent.len() <= 1, "{share:?}");
    }
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
