//! Bounds on what is kept, looked up and sent, whatever peers choose.

use super::*;

#[test]
fn a_flood_takes_the_room_of_nobody_else() {
    const MAX: usize = 50;
    let mut one = One::with_ids_max(0, MAX);
    let _ = one.hear(5, reject(0, &[7]));
    let _ = one.hear(2, votes(&[RejectVote { others: shards(&[1]), ..vote(7) }]));
    for number in 100..1_000 {
        let _ = one.hear(4, reject(number % 3, &[number]));
        let _ = one.hear(1, votes(&[RejectVote { others: shards(&[1]), ..vote(number) }]));
    }
    assert_eq!(one.open(), (MAX + 1, MAX + 1));
    assert_eq!(one.hear(6, reject(0, &[7])).outputs, [believed(7)]);
    // The oldest of the flood is forgotten, the latest is not.
    let _ = one.hear(5, reject(0, &[100, 998]));
    one.book.sent.insert(ShardId(1), PartNumber(2));
    let _ = one.execute(&[]);
    assert_eq!((one.opinions.believed(&id(100)), one.opinions.believed(&id(998))), (None, Some(CAUSE)));
}

#[test]
fn the_latest_beliefs_are_kept() {
    const MAX: usize = 50;
    let mut one = One::with_ids_max(4, MAX);
    for number in 0..200 {
        for node in 5..7 {
            let _ = one.hear(node, votes(&[vote(number)]));
        }
    }
    assert_eq!(one.opinions.table.len(), (MAX, MAX, 0));
    assert_eq!((one.opinions.believed(&id(149)), one.opinions.believed(&id(150))), (None, Some(CAUSE)));
    assert_eq!(one.open(), (0, 0));
}

#[test]
fn no_record_remains_of_an_ended_transaction() {
    let ends: [fn(TxId) -> CrossEvent; 4] = [
        |id| CrossEvent::Finished { id },
        |id| CrossEvent::Refunded { id },
        |id| CrossEvent::Closed { id },
        |id| CrossEvent::Rejected { id, others: vec![ShardId(2)], cause: CAUSE },
    ];
    for end in ends {
        let mut one = One::new(0);
        one.book.pool.insert(id(1), Round(0));
        let _ = one.hear(4, reject(0, &[1, 2]));
        let _ = one.hear(5, reject(0, &[1]));
        let _ = one.hear(1, votes(&[RejectVote { others: shards(&[1]), ..vote(2) }]));
        assert_eq!(one.cancels(9), [id(1)]);
        let _ = one.execute(&[end(id(1)), end(id(2))]);
        assert_eq!((one.opinions.table.len(), one.opinions.candidates.len()), ((0, 0, 0), 0));
    }
}

/// The steps of searches after one peer's CL on `count` ids that share the bytes of `shape`.
fn steps_after(count: u64, shape: std::ops::Range<usize>) -> Steps {
    let mut one = One::new(0);
    let mut prng = Prng::new(count);
    let base: [u8; 32] = prng.bytes();
    let ids: Vec<(TxId, Cause)> = (0..count)
        .map(|_| {
            let mut id: [u8; 32] = prng.bytes();
            id[shape.clone()].copy_from_slice(&base[shape.clone()]);
            (TxId(id), CAUSE)
        })
        .collect();
    for ids in ids.chunks(REJECTS_PER_MESSAGE_MAX) {
        let message = RejectMessage::Rejected { imported: PartNumber(0), ids: ids.to_vec() };
        assert_eq!(one.hear(4, message), Effects::none());
    }
    assert_eq!(one.open(), (0, count as usize));
    one.opinions.steps()
}

#[test]
fn ids_that_one_peer_chooses_cost_no_more_steps_than_random_ones() {
    for count in [10_000, REJECTED_IDS_MAX as u64] {
        let random = steps_after(count, 0..0);
        assert!(random.total < 3 * count && random.longest < 300, "{count}: {random:?}");
        for shape in [0..16, 8..24, 16..32, 0..28] {
            let chosen = steps_after(count, shape.clone());
            let steps = format!("{count} ids that share bytes {shape:?}: {chosen:?}, random {random:?}");
            assert!(chosen.total * 10 < random.total * 11 && chosen.longest < 300, "{steps}");
        }
    }
}

/// Reports `count` transactions from number `first` on, ordered by `asker`; returns how many go out in CL_M.
fn reported(one: &mut One, now: Time, asker: Option<NodeId>, first: u64, count: u64) -> u64 {
    let votes = (first..first + count).map(vote).collect();
    let effects = one.report_all(now, asker, votes);
    let lengths = effects.sends.iter().map(|(_, message)| match message {
        RejectMessage::Votes { votes, .. } => votes.len() as u64,
        RejectMessage::Rejected { ids, .. } => panic!("CL of {} on one vote", ids.len()),
    });
    lengths.sum()
}

#[test]
fn the_cost_of_a_peers_orders_is_rationed_for_each_peer() {
    let mut one = One::new(4);
    let start = Time(1_000_000);
    let cost = one.opinions.rations.report_bytes(&vote(0));
    assert_eq!(cost, 50 * 3 + 2 * 40 * 4);
    let per_s = ration::SHARD_BYTES_PER_S / u64::from(N) / cost;
    let at_once = reported(&mut one, start, Some(NodeId(0)), 0, 20_000);
    assert!((4 * per_s..=4 * per_s + 5).contains(&at_once), "{at_once} at once, {per_s} a second");
    assert_eq!(reported(&mut one, start, Some(NodeId(0)), 50_000, 20_000), 0);
    assert_eq!(one.open().0 as u64, at_once, "what exceeds it leaves no trace");
    // The same order a second later.
    let later = start + Span::from_ms(1_000);
    let next = reported(&mut one, later, Some(NodeId(0)), 50_000, 20_000);
    assert!((per_s - 1..=per_s + 1).contains(&next), "{next} a second later, {per_s} a second");
    assert_eq!(reported(&mut one, later, Some(NodeId(1)), 100_000, 1_000), 1_000, "another peer");
    assert_eq!(reported(&mut one, later, None, 200_000, 20_000), 20_000, "ordered by no peer");
}

/// A peer can have 100,000 such records made, so they must not grow.
#[test]
fn a_record_of_one_claim_is_small() {
    let mut one = One::new(0);
    let _ = one.hear(4, reject(0, &[1]));
    let opinion = one.opinions.table.iter().next().expect("one");
    assert_eq!(opinion.claims.capacity(), 1);
    let bytes = size_of::<Option<(TxId, table::Opinion)>>() + size_of::<Held>();
    assert!(bytes <= 152, "{bytes}");
}
