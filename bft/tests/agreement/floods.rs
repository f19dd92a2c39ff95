//! Peers that send too much: stale messages, messages far ahead, requests without end. Memory and answers stay bounded.
//! (Bounds that cannot be observed from outside are tested beside the code that keeps them.)

use bft::block::{BlockMessage, BlockVote};
use bft::crypto::suite::{CoinName, Stage, Statement};
use bft::fault::FaultKind;
use bft::mvba::MvbaMessage;
use bft::round::{CatchUpMessage, RoundMessage};
use bft::sim::bench::{Bench, Content, Kind, all, only, stage};
use bft::spb::SpbMessage;
use bft::time::Span;
use wire::ids::{Digest, Index, Round, View};

/// A bench with a silent Byzantine member, and the roles: the Byzantine member first.
fn flooded() -> (Bench, [Index; 4]) {
    let mut bench = Bench::new(4, 3);
    let [b, a, c, d] = bench.cast(&[]);
    bench.mute(&[b]);
    (bench, [b, a, c, d])
}

fn share(bench: &Bench, b: Index, round: u64, view: u32) -> Content {
    let (round, view) = (Round(round), View(view));
    let share = bench.suite(b).coin_share(&CoinName { round, view });
    Content::Round(RoundMessage::Mvba { round, message: MvbaMessage::CoinShare { view, share } })
}

/// How many of these messages of the Byzantine member `a` drops as too early, without blame.
fn too_early(bench: &mut Bench, [b, a, ..]: [Index; 4], contents: &[Content]) -> u64 {
    let before = bench.too_early(a);
    assert_eq!(faults(bench, [b, a, b, b], contents), []);
    bench.too_early(a) - before
}

/// The faults of the Byzantine member that `a` notices when it receives these.
fn faults(bench: &mut Bench, [b, a, ..]: [Index; 4], contents: &[Content]) -> Vec<FaultKind> {
    let before = bench.faults().len();
    for content in contents {
        bench.forge(b, &[a], content);
    }
    bench.deliver(all().from(&[b]));
    bench.faults()[before..].iter().map(|(_, fault)| fault.kind).collect()
}

#[test]
fn only_eight_rounds_and_views_ahead_are_kept() {
    let (mut bench, roles) = flooded();
    let b = roles[0];
    for (round, view, expected) in [
        (1, 0, 0),
        (1, 8, 0),
        (1, 9, 1),
        (1, u32::MAX, 1),
        (2, 0, 0),
        (2, 7, 0),
        (2, 8, 1),
        (8, 0, 0),
        (9, 0, 1),
        (1_000_000, 0, 1),
        (u64::MAX, u32::MAX, 1),
    ] {
        let content = share(&bench, b, round, view);
        assert_eq!(too_early(&mut bench, roles, &[content]), expected, "round {round}, view {view}");
    }
    bench.advance_all();
    bench.settle(1).unwrap();
}

#[test]
fn honest_traffic_goes_on_beside_a_flood() {
    let (mut bench, roles) = flooded();
    let b = roles[0];
    let flood: Vec<Content> = (0..40)
        .flat_map(|ahead| (0..12).map(move |view| (ahead * 3, view)))
        .map(|(round, view)| share(&bench, b, round, view))
        .collect();
    for round in 1..=5 {
        bench.advance_all();
        assert!(too_early(&mut bench, roles, &flood) > 0);
        bench.settle(round).unwrap();
    }
}

/// In views that no other member has reached, a Byzantine member fills at most eight messages in each of eight views,
/// and its coin shares, f at most, release no coin.
#[test]
fn f_early_coin_shares_release_no_others() {
    let mut bench = Bench::new(7, 3);
    let members = bench.members();
    let (byzantine, honest) = members.split_at(2);
    bench.mute(byzantine);
    for byzantine in byzantine {
        for view in 0..3 {
            let content = share(&bench, *byzantine, 1, view);
            bench.forge(*byzantine, honest, &content);
        }
    }
    bench.advance_all();
    bench.deliver(only(Kind::Share));
    assert!(bench.under_way(&only(Kind::Share).from(honest)).is_empty(), "f shares are not f+1");
    // A member that has seen N−f SPBs finish releases its share; then all learn the coin.
    bench.deliver_except(&[only(Kind::Finish).to(&honest[1..])]);
    assert_eq!(bench.leader_known(Round(1), View(0)), Some(bench.coin(1, 0)));
    bench.settle(1).unwrap();
}

#[test]
fn stale_messages_are_answered_once_a_second() {
    let (mut bench, roles) = flooded();
    let [b, a, ..] = roles;
    bench.advance_all();
    bench.settle(1).unwrap();
    bench.deliver(all());
    let stale: Vec<Content> = (0..100).map(|view| share(&bench, b, 1, view)).collect();
    let mut answers = Vec::new();
    for _ in 0..10 {
        bench.sleep(Span::from_ms(500));
        assert_eq!(faults(&mut bench, roles, &stale), []);
        answers.push(bench.under_way(&only(Kind::Halt).from(&[a]).to(&[b])).len());
        bench.lose(&all());
    }
    assert!(answers.iter().all(|count| *count <= 1), "{answers:?}");
    assert!((4..=6).contains(&answers.iter().sum::<usize>()), "{answers:?}");
}

#[test]
fn a_peer_gets_four_answers_at_once_and_64_a_second() {
    let (mut bench, roles) = flooded();
    let [b, a, ..] = roles;
    bench.advance_all();
    bench.settle(1).unwrap();
    bench.deliver(all());
    let ask = |from| Content::Round(RoundMessage::CatchUp(CatchUpMessage::Ask { from: Round(from) }));
    let questions: Vec<Content> = (0..100).map(|number| ask([0, 1, 2, 3, u64::MAX][number % 5])).collect();
    let mut answers = 0;
    for _ in 0..100 {
        bench.sleep(Span::from_ms(10));
        assert_eq!(faults(&mut bench, roles, &questions), []);
        let now = bench.under_way(&only(Kind::Halts).from(&[a]).to(&[b])).len();
        assert!(now <= 4);
        answers += now;
        bench.lose(&all());
    }
    assert!((60..=68).contains(&answers), "{answers} in a second");
}

#[test]
fn votes_for_blocks_are_kept_up_to_the_window() {
    let (mut bench, roles) = flooded();
    let [b, a, ..] = roles;
    let vote = |bench: &Bench, height: u64, digest: Digest| {
        let height = Round(height);
        let signature = bench.suite(b).sign(&Statement::Block { height, digest });
        Content::Block(BlockMessage::Vote(BlockVote { height, header: digest, signature }))
    };
    for (height, expected) in [(1, 0), (24, 0), (25, 1), (u64::MAX, 1), (0, 0)] {
        let content = vote(&bench, height, Digest([1; 32]));
        assert_eq!(too_early(&mut bench, roles, &[content]), expected, "height {height}");
    }
    // When a has executed height 1 itself, it sees that the vote was for another block.
    let before = bench.faults().len();
    bench.advance_all();
    bench.settle(1).unwrap();
    let found: Vec<_> =
        bench.faults()[before..].iter().map(|(member, fault)| (*member, fault.kind)).collect();
    assert_eq!(found, [(a, FaultKind::WrongBlock)]);
}

#[test]
fn a_vote_for_a_block_that_fails_verification_is_not_counted() {
    let (mut bench, [b, a, c, d]) = flooded();
    // a and c alone cannot certify; b's vote would make it three, if it were good.
    bench.lose_always(only(Kind::BlockVote).from(&[d]));
    bench.advance_all();
    bench.deliver(all());
    assert_eq!(bench.decided(a), bench.decided(c));
    let own = bench.under_way(&all()).len();
    assert_eq!((own, bench.certified(a)), (0, Round(0)));
    let messages = bench.seen(&only(Kind::BlockVote).from(&[a]).to(&[b]));
    let Some(Content::Block(BlockMessage::Vote(genuine))) = messages.first().map(|message| message.content())
    else {
        panic!("a has voted");
    };
    // a's signature in b's name.
    bench.forge(b, &[a, c], &Content::Block(BlockMessage::Vote(*genuine)));
    bench.deliver(all());
    assert_eq!(bench.certified(a), Round(0));
    let kinds: Vec<_> = bench.faults().iter().map(|(_, fault)| fault.kind).collect();
    assert_eq!(kinds, [FaultKind::BadSignature; 2]);
    // With d's, which is sent again, it is certified.
    bench.lose_no_more();
    bench.settle(1).unwrap();
}

/// A certificate with a defect is refused; the right one spares the rest of the votes.
#[test]
fn a_block_certificate_must_be_right() {
    let (mut bench, [b, a, c, d]) = flooded();
    bench.lose_always(only(Kind::BlockVote).to(&[a]));
    bench.advance_all();
    bench.deliver(all());
    let messages = bench.seen(&only(Kind::BlockVote).from(&[a]).to(&[b]));
    let Some(Content::Block(BlockMessage::Vote(vote))) = messages.first().map(|message| message.content())
    else {
        panic!("a has voted");
    };
    let right = Statement::Block { height: vote.height, digest: vote.header };
    let wrong = [
        (bench.signed_by(&[a, b], &right), FaultKind::BadCertificate),
        (bench.signed_by(&[a, b, c, d], &right), FaultKind::BadCertificate),
        (bench.signed_by(&[a, b, b], &right), FaultKind::BadCertificate),
        (
            bench.signed_by(&[b, a, c], &Statement::Block { height: Round(2), digest: vote.header }),
            FaultKind::BadCertificate,
        ),
        (
            bench.signed_by(&[b, a, c], &stage(0, b, Stage::Finish, &bench.own_cut(b))),
            FaultKind::BadCertificate,
        ),
    ];
    let message = |certificate, header| {
        Content::Block(BlockMessage::Certified { height: vote.height, header, certificate })
    };
    let roles = [b, a, c, d];
    for (certificate, fault) in wrong {
        let mut bench = bench.clone();
        let messages =
            [message(certificate, vote.header), message(bench.signed_by(&[a, b], &right), vote.header)];
        assert_eq!(faults(&mut bench, roles, &messages), [fault], "only the first of b is verified");
        assert_eq!(bench.certified(a), Round(0));
    }
    let other = message(bench.signed_by(&[b, a, c], &right), Digest([1; 32]));
    assert_eq!(faults(&mut bench, roles, &[other]), [FaultKind::WrongBlock]);
    assert_eq!(bench.certified(a), Round(0));
    let right = message(bench.signed_by(&[b, a, c], &right), vote.header);
    assert_eq!(faults(&mut bench, roles, &[right]), []);
    assert_eq!(bench.certified(a), vote.height);
}

#[test]
fn a_message_for_an_spb_of_a_view_that_is_over_changes_nothing() {
    let (mut bench, roles) = flooded();
    let [b, ..] = roles;
    bench.advance_all();
    bench.deliver_except(&[only(Kind::Halt), all().of(&[Kind::PreVote, Kind::Vote])]);
    let cut = bench.own_cut(b);
    let send = SpbMessage::Send { cut, justification: bft::justification::Justification::default() };
    let message = MvbaMessage::Spb { view: View(0), leader: b, message: send };
    let content = Content::Round(RoundMessage::Mvba { round: Round(1), message });
    assert_eq!(faults(&mut bench, roles, &[content]), []);
    assert!(bench.under_way(&only(Kind::Echo).to(&[b])).is_empty(), "the coin is known");
    bench.settle(1).unwrap();
}
