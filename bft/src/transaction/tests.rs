use wire::committee::{Member, Protocol};

use super::*;
use crate::prng::Prng;

fn committee(shards: u16, protocol: Protocol) -> Committee {
    let members = vec![Member { public_key: [1; 32], coin_commitment: [2; 32] }; usize::from(shards)];
    Committee::new(1, protocol, members, [3; 32])
}

/// The parts of a transaction, owned, so that each test changes one thing.
#[derive(Clone)]
struct Parts {
    inputs: Vec<Input>,
    output_shard: ShardId,
    outputs: Vec<Output>,
    expiries: Vec<Expiry>,
    payload: Vec<u8>,
}

impl Parts {
    fn encode(&self) -> Vec<u8> {
        let Parts { inputs, output_shard, outputs, expiries, payload } = self;
        Transaction { inputs, output_shard: *output_shard, outputs, expiries, payload }.encode()
    }
}

fn input(shard: u16, coin: u8, amount: u64) -> Input {
    Input { shard: ShardId(shard), coin: CoinId([coin; 32]), amount }
}

fn output(amount: u64) -> Output {
    Output { owner: Owner([9; 32]), amount }
}

fn expiry(shard: u16, round: u64) -> Expiry {
    Expiry { shard: ShardId(shard), round: Round(round) }
}

/// Valid with two shards or more.
fn sample() -> Parts {
    Parts {
        inputs: vec![input(0, 5, 10), input(0, 6, 20), input(1, 1, 5)],
        output_shard: ShardId(1),
        outputs: vec![output(30), output(5)],
        expiries: vec![expiry(0, 100), expiry(1, 200)],
        payload: vec![0xAB; 17],
    }
}

#[test]
fn a_view_reads_what_was_written() {
    let parts = sample();
    let bytes = parts.encode();
    let committee = committee(2, Protocol::default());
    let view = validate(&bytes, &committee).unwrap();
    assert_eq!(view.inputs().collect::<Vec<_>>(), parts.inputs);
    assert_eq!(view.outputs().collect::<Vec<_>>(), parts.outputs);
    assert_eq!(view.expiries().collect::<Vec<_>>(), parts.expiries);
    assert_eq!((view.output_shard(), view.signatures().count()), (ShardId(1), 0));
    assert_eq!(view.expiry_in(ShardId(1)), Some(Round(200)));
    assert_eq!(view.expiry_in(ShardId(2)), None);
    assert_eq!((view.bytes(), view.unsigned()), (&bytes[..], &bytes[..]));
    assert_eq!(bytes.len(), encoded_bytes(3, 2, 2, 0, 17));
    assert_eq!(view.id().0, <[u8; 32]>::from(Sha256::digest(&bytes)));
}

#[test]
fn each_rule_refuses_what_breaks_it() {
    type Change = fn(&mut Parts);
    let sixteen: Vec<Input> = (0..16).map(|coin| input(0, coin, 1)).collect();
    let with = |inputs: Vec<Input>, outputs: Vec<Output>| Parts {
        inputs,
        outputs,
        expiries: vec![expiry(0, 1)],
        ..sample()
    };
    let most = with(sixteen.clone(), vec![output(1); 16]);
    let committee = committee(2, Protocol::default());
    assert!(validate(&most.encode(), &committee).is_ok(), "16 inputs and 16 outputs are allowed");
    let largest = Parts {
        inputs: vec![input(0, 1, u64::MAX), input(0, 2, u64::MAX)],
        outputs: vec![output(u64::MAX), output(u64::MAX)],
        ..with(vec![], vec![])
    };
    assert!(validate(&largest.encode(), &committee).is_ok(), "sums beyond 64 bits are allowed");

    let cases: [(Invalid, Change); 19] = [
        (Invalid::InputCount, |t| t.inputs.clear()),
        (Invalid::InputCount, |t| {
            t.inputs = (0..17).map(|coin| input(0, coin, 1)).collect();
            t.outputs = vec![output(17)];
            t.expiries.pop();
        }),
        (Invalid::OutputCount, |t| t.outputs.clear()),
        (Invalid::OutputCount, |t| t.outputs = [vec![output(1); 16], vec![output(19)]].concat()),
        (Invalid::InputOrder, |t| t.inputs.swap(0, 1)),
        (Invalid::InputOrder, |t| t.inputs[1].coin = t.inputs[0].coin),
        (Invalid::InputOrder, |t| t.inputs.swap(1, 2)),
        (Invalid::ZeroAmount, |t| {
            t.inputs[0].amount = 0;
            t.outputs[0].amount = 20;
        }),
        (Invalid::ZeroAmount, |t| t.outputs.push(output(0))),
        (Invalid::UnequalSums, |t| t.outputs[0].amount += 1),
        (Invalid::UnequalSums, |t| t.outputs[0].amount = u64::MAX),
        (Invalid::UnequalSums, |t| {
            // Equal modulo 2^64.
            t.inputs[0].amount = 1;
            t.inputs[1].amount = u64::MAX;
            t.outputs = vec![output(5)];
        }),
        (Invalid::UnknownShard, |t| t.output_shard = ShardId(2)),
        (Invalid::UnknownShard, |t| {
            t.inputs[2].shard = ShardId(2);
            t.expiries[1].shard = ShardId(2);
        }),
        (Invalid::ExpiryShards, |t| t.expiries.truncate(1)),
        (Invalid::ExpiryShards, |t| t.expiries.clear()),
        (Invalid::ExpiryShards, |t| t.expiries.push(expiry(2, 1))),
        (Invalid::ExpiryShards, |t| t.expiries.swap(0, 1)),
        (Invalid::ExpiryShards, |t| t.expiries[0].shard = ShardId(1)),
    ];
    for (case, (rule, change)) in cases.into_iter().enumerate() {
        let mut parts = sample();
        change(&mut parts);
        assert_eq!(validate(&parts.encode(), &committee), Err(rule), "case {case}");
    }
}

#[test]
fn length_and_layout() {
    let bytes = sample().encode();
    let exact = Protocol { transaction_bytes_max: bytes.len() as u64, ..Protocol::default() };
    let short = Protocol { transaction_bytes_max: bytes.len() as u64 - 1, ..Protocol::default() };
    assert!(validate(&bytes, &committee(2, exact)).is_ok());
    assert_eq!(validate(&bytes, &committee(2, short)), Err(Invalid::TooLarge));
    let committee = committee(2, Protocol::default());
    for end in 0..bytes.len() {
        assert_eq!(validate(&bytes[..end], &committee), Err(Invalid::TooShort), "cut off at {end}");
    }
    assert_eq!(validate(&[&bytes[..], &[0]].concat(), &committee), Err(Invalid::TrailingBytes));
    let mut huge = bytes.clone();
    huge[6..10].fill(0xFF);
    assert_eq!(validate(&huge, &committee), Err(Invalid::TooShort), "a payload of 4 GiB announced");
}

#[test]
fn signatures_are_there_exactly_where_the_protocol_asks() {
    let signed = committee(2, Protocol { signed: true, ..Protocol::default() });
    let unsigned = committee(2, Protocol::default());
    let parts = sample();
    let transaction = Transaction {
        inputs: &parts.inputs,
        output_shard: parts.output_shard,
        outputs: &parts.outputs,
        expiries: &parts.expiries,
        payload: &parts.payload,
    };
    let mut bytes = Vec::new();
    transaction.encode_signed_into(&mut bytes, &signed.testbed(), |input, message| {
        assert_eq!(message.len(), 68);
        Signature { r: input.coin.0, s: message[36..].try_into().unwrap() }
    });
    let view = validate(&bytes, &signed).unwrap();
    assert_eq!(
        signing_message(&signed.testbed(), view.unsigned())[36..],
        view.signatures().next().unwrap().s,
        "what is checked is what was signed"
    );
    assert_eq!(view.signatures().map(|s| s.r[0]).collect::<Vec<_>>(), [5, 6, 1]);
    assert_eq!(validate(&bytes, &unsigned), Err(Invalid::SignatureCount));
    assert_eq!(validate(&parts.encode(), &signed), Err(Invalid::SignatureCount));
    let mut fewer = bytes[..bytes.len() - 64].to_vec();
    fewer[3] = 2;
    assert_eq!(validate(&fewer, &signed), Err(Invalid::SignatureCount));
}

#[test]
fn random_bytes_never_panic_and_every_valid_one_encodes_to_itself() {
    let committee = committee(2, Protocol::default());
    let original = sample().encode();
    let mut prng = Prng::new(11);
    let mut valid = 0;
    for _ in 0..20_000 {
        let mut bytes = original.clone();
        for _ in 0..prng.within(1..4) {
            let at = prng.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << prng.below(8);
        }
        if prng.chance(1, 4) {
            bytes.truncate(prng.below(bytes.len() as u64) as usize);
        }
        let Ok(view) = validate(&bytes, &committee) else { continue };
        valid += 1;
        let parts = Parts {
            inputs: view.inputs().collect(),
            output_shard: view.output_shard(),
            outputs: view.outputs().collect(),
            expiries: view.expiries().collect(),
            payload: bytes[view.payload_start()..].to_vec(),
        };
        assert_eq!(parts.encode(), bytes, "one encoding only");
    }
    assert!(valid > 1_000, "some changes keep it valid: {valid}");
    for length in 0..200 {
        let mut bytes = vec![0; length];
        prng.fill(&mut bytes);
        assert!(validate(&bytes, &committee).is_err(), "noise is not a transaction");
    }
}

#[test]
fn what_part_a_shard_has() {
    let view_bytes = sample().encode();
    let view = TransactionView::parse(&view_bytes).unwrap();
    assert_eq!(view.part_of(ShardId(0)), Part::Cross);
    assert_eq!(view.part_of(ShardId(1)), Part::Cross);
    assert_eq!(view.part_of(ShardId(2)), Part::Foreign);
    let intra = Parts {
        inputs: vec![input(1, 1, 35)],
        expiries: vec![expiry(1, 1)],
        outputs: vec![output(35)],
        ..sample()
    };
    let bytes = intra.encode();
    assert_eq!(TransactionView::parse(&bytes).unwrap().part_of(ShardId(1)), Part::Intra);
    let away = Parts { output_shard: ShardId(0), ..intra };
    let bytes = away.encode();
    let view = TransactionView::parse(&bytes).unwrap();
    assert_eq!((view.part_of(ShardId(1)), view.part_of(ShardId(0))), (Part::Cross, Part::Foreign));
}

#[test]
fn ids_of_coins_are_told_apart() {
    let (one, two) = (Digest([1; 32]), Digest([2; 32]));
    let genesis = |testbed, shard, index| genesis_coin(testbed, ShardId(shard), index);
    let coins = [
        genesis(&one, 0, 0),
        genesis(&one, 0, 1),
        genesis(&one, 1, 0),
        genesis(&two, 0, 0),
        output_coin(&TxId([1; 32]), 0),
        output_coin(&TxId([1; 32]), 1),
        output_coin(&TxId([2; 32]), 0),
    ];
    for (i, coin) in coins.iter().enumerate() {
        assert!(!coins[..i].contains(coin), "coin {i}");
    }
    assert_ne!(genesis_owner(&one), genesis_owner(&two));
}

/// The line of this name in the output of `docs/client_vectors.py`.
fn vector(name: &str) -> Vec<u8> {
    let lines = include_str!("../../../docs/client_vectors.txt").lines();
    let text = lines.filter_map(|line| line.split_once(' ')).find(|(key, _)| *key == name).unwrap().1;
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn vectors_of_the_independent_script() {
    let testbed = Digest(vector("testbed").try_into().unwrap());
    let (a, b) = (genesis_coin(&testbed, ShardId(0), 7), genesis_coin(&testbed, ShardId(1), 8));
    assert_eq!((&a.0[..], &b.0[..]), (&vector("genesis_coin_0_7")[..], &vector("genesis_coin_1_8")[..]));
    assert_eq!(genesis_secret(&testbed)[..], vector("genesis_secret"));
    assert_eq!(genesis_owner(&testbed).0[..], vector("genesis_owner"));
    let input = |shard, coin| Input { shard: ShardId(shard), coin, amount: 1_000 };
    let expiry = |shard, round| Expiry { shard: ShardId(shard), round: Round(round) };
    let output = |owner, amount| Output { owner, amount };
    let plain = Transaction {
        inputs: &[input(0, a)],
        output_shard: ShardId(0),
        outputs: &[output(Owner([2; 32]), 1_000)],
        expiries: &[expiry(0, 90)],
        payload: b"hello",
    };
    assert_eq!(plain.encode(), vector("transaction_plain"));
    assert_eq!(tx_id(&plain.encode()).0[..], vector("transaction_plain_id"));
    let crossing = Transaction {
        inputs: &[input(0, a), input(1, b)],
        output_shard: ShardId(2),
        outputs: &[output(Owner([2; 32]), 1_500), output(genesis_owner(&testbed), 500)],
        expiries: &[expiry(0, 90), expiry(1, 91)],
        payload: b"",
    };
    let key = ed25519_dalek::SigningKey::from_bytes(&genesis_secret(&testbed));
    let mut bytes = Vec::new();
    crossing.encode_signed_into(&mut bytes, &testbed, |_, message| {
        Signature::from_bytes(ed25519_dalek::Signer::sign(&key, message).to_bytes())
    });
    assert_eq!(bytes, vector("transaction_crossing"));
    let id = tx_id(&bytes);
    assert_eq!(id.0[..], vector("transaction_crossing_id"));
    assert_eq!(output_coin(&id, 1).0[..], vector("output_coin_crossing_1"));
    assert_eq!(refund_coin(&id, &a).0[..], vector("refund_coin_crossing_a"));
}
