//! The messages of clients as an independent script encodes them.

use super::*;

/// The line of this name in the output of `docs/client_vectors.py`.
fn vector(name: &str) -> Vec<u8> {
    let lines = include_str!("../../../docs/client_vectors.txt").lines();
    let text = lines.filter_map(|line| line.split_once(' ')).find(|(key, _)| *key == name).unwrap().1;
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn vector32(name: &str) -> [u8; 32] {
    vector(name).try_into().unwrap()
}

#[test]
fn vectors_of_the_independent_script() {
    let [plain, crossing] =
        ["transaction_plain_id", "transaction_crossing_id"].map(|name| TxId(vector32(name)));
    let [a, b] = ["genesis_coin_0_7", "genesis_coin_1_8"].map(|name| CoinId(vector32(name)));
    let from = Request::CoinsFrom { owner: [2; 32], place: 10_000 };
    for (name, request) in [
        ("request_query", Request::Query(vec![plain, crossing])),
        ("request_coins", Request::Coins(vec![a, b])),
        ("request_coins_none", Request::Coins(vec![])),
        ("request_status", Request::Status),
        ("request_coins_from", from),
        ("request_ledger_sums", Request::Ledger(Question::Sums)),
        ("request_subscribe", Request::Subscribe { events: 100 }),
    ] {
        assert_eq!(codec::encode(&request), vector(name), "{name}");
    }
    let mut submission = codec::encode(&Request::Submit);
    let at = list::begin(&mut submission);
    ["transaction_plain", "transaction_crossing"]
        .iter()
        .for_each(|name| list::push(&mut submission, &vector(name)));
    list::finish(&mut submission, at, 2);
    assert_eq!(submission, vector("request_submit"));
    let rejections = [
        Rejection::Spent,
        Rejection::UnknownCoin,
        Rejection::WrongAmount,
        Rejection::NotOwner,
        Rejection::Cancelled,
    ];
    let refusals = [
        Refusal::Invalid,
        Refusal::TooLarge,
        Refusal::WrongShard,
        Refusal::Duplicate,
        Refusal::Full,
        Refusal::ClientShare,
        Refusal::Spent,
        Refusal::Expired,
        Refusal::ExpiryTooFar,
    ];
    let fates = [Fate::Finished(Round(12))].into_iter().chain(rejections.map(Fate::Rejected));
    let fates = fates.chain([Fate::Expired]).chain(refusals.map(Fate::Refused)).chain([Fate::Unknown]);
    let receipts = fates.map(|fate| Receipt { id: plain, fate }).collect();
    let commit = Commit {
        height: Round(12),
        header: Digest([3; 32]),
        finished: 5,
        rejected: 4,
        finished_cross: 3,
        cancelled: 2,
        missed: 1,
    };
    let error = "a query for 10001 ids, expected at most 10000".to_string();
    for (name, reply) in [
        ("reply_receipts", Reply::Receipts(receipts)),
        ("reply_coins", Reply::Coins(vec![(a, 1_000), (b, 1_000)])),
        ("reply_error", Reply::Error(error)),
        ("reply_coins_from", Reply::CoinsFrom { coins: vec![(a, 1_000)], next: Some(20_000) }),
        ("reply_commit", Reply::Commit(commit)),
        ("reply_try_again", Reply::TryAgain { after_ms: 250 }),
        ("reply_coins_from_end", Reply::CoinsFrom { coins: vec![], next: None }),
    ] {
        assert_eq!(codec::encode(&reply), vector(name), "{name}");
    }
    // Clients read the height of a status without knowing the rest.
    let status = NodeStatus { decided: Round(7), executed: Round(6), ..NodeStatus::default() };
    let bytes = codec::encode(&Reply::Status(Box::new(status)));
    assert_eq!(bytes[..20], [&[2, 0, 0, 0][..], &7u64.to_le_bytes(), &6u64.to_le_bytes()].concat());
}
