//! Vectors of the independent script, interpolation, refusal of bad encodings and proofs, and uniformity of leaders.

use wire::committee::{Member, Protocol};
use wire::ids::{NodeId, Round, View};

use super::*;
use crate::crypto::deal::{deal_committee, seeded_entropy};

const TESTBED: Digest = Digest([7; 32]);
const SHARD: ShardId = ShardId(0);

fn base(round: u64, view: u32) -> CoinBase {
    CoinBase::of(&TESTBED, SHARD, &CoinName { round: Round(round), view: View(view) })
}

/// A coin of `n` members, and their secrets.
fn dealt(n: usize, threshold: usize, seed: u64) -> (CoinKeys, Vec<CoinSecret>) {
    let secrets = deal(n, threshold, &mut seeded_entropy(seed));
    let commitments = secrets.iter().map(|secret| Element::decode(secret.commitment()).unwrap()).collect();
    (CoinKeys { threshold, commitments }, secrets)
}

fn shares_of(coin: &CoinKeys, secrets: &[CoinSecret], base: &CoinBase) -> Vec<(Index, CoinShare)> {
    let members = (0..).map(Index).zip(secrets);
    members.map(|(member, secret)| (member, coin.share(member, secret, base))).collect()
}

/// p(0), which only N−f secrets together determine.
fn master(coin: &CoinKeys, secrets: &[CoinSecret]) -> Scalar {
    let members: Vec<Index> = (0..coin.threshold as u16).map(Index).collect();
    lagrange_at_zero(&members).iter().zip(secrets).map(|(factor, secret)| factor * secret.0).sum()
}

/// The words of a line "key value key value …" by key; the first word may stand alone.
fn field<'a>(line: &'a str, key: &str) -> &'a str {
    let mut words = line.split(' ').skip_while(|word| *word != key);
    words.nth(1).unwrap_or_else(|| panic!("no {key} in {line:?}"))
}

fn bytes_of(line: &str, key: &str) -> [u8; 32] {
    hex::decode_32(field(line, key)).unwrap_or_else(|| panic!("{key} is no hex in {line:?}"))
}

fn number_of<T: std::str::FromStr<Err: fmt::Debug>>(line: &str, key: &str) -> T {
    field(line, key).parse().unwrap_or_else(|_| panic!("{key} is no number in {line:?}"))
}

#[test]
fn vectors_of_the_independent_script() {
    let text = include_str!("../../../../docs/coin_vectors.txt");
    let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).peekable();
    let mut coins = 0;
    while let Some(case) = lines.next() {
        assert!(case.starts_with("case "), "{case}");
        let (n, threshold): (usize, usize) = (number_of(case, "n"), number_of(case, "threshold"));
        let (testbed, shard) = (Digest(bytes_of(case, "testbed")), ShardId(number_of(case, "shard")));
        let members: Vec<&str> = lines.by_ref().take(n).collect();
        let secret_of = |line: &&str| CoinSecret::from_bytes(bytes_of(line, "secret")).unwrap();
        let secrets: Vec<CoinSecret> = members.iter().map(secret_of).collect();
        for (line, secret) in members.iter().zip(&secrets) {
            assert_eq!(secret.commitment(), bytes_of(line, "commitment"));
        }
        let commitments = members.iter().map(|line| Element::decode(bytes_of(line, "commitment")).unwrap());
        let coin = CoinKeys { threshold, commitments: commitments.collect() };
        while let Some(line) = lines.next_if(|line| line.starts_with("name ")) {
            let name =
                CoinName { round: Round(number_of(line, "round")), view: View(number_of(line, "view")) };
            let base = CoinBase::of(&testbed, shard, &name);
            assert_eq!(base.element.bytes, bytes_of(line, "base"));
            let shares = shares_of(&coin, &secrets, &base);
            for ((member, share), line) in shares.iter().zip(lines.by_ref()) {
                let (value, challenge) = (bytes_of(line, "value"), bytes_of(line, "challenge"));
                let expected = CoinShare { value, challenge, response: bytes_of(line, "response") };
                assert_eq!(*share, expected, "{line}");
                assert!(coin.verify(*member, &base, &expected), "{line}");
            }
            let line = lines.next().expect("a coin follows its shares");
            let tossed = coin.combine(&shares[n - threshold..]).unwrap();
            assert_eq!(tossed, bytes_of(line, "coin"));
            assert_eq!(leader(&tossed, n), Index(number_of(line, "leader")));
            coins += 1;
        }
    }
    assert_eq!(coins, 11, "the file holds all its cases");
}

#[test]
fn any_quorum_interpolates_to_the_coin_and_a_smaller_set_to_nothing() {
    for (n, threshold) in [(1, 1), (4, 3), (7, 5), (10, 7), (128, 86)] {
        let (coin, secrets) = dealt(n, threshold, n as u64);
        let base = base(3, 1);
        let shares = shares_of(&coin, &secrets, &base);
        let expected = (master(&coin, &secrets) * base.element.point).compress().to_bytes();
        for first in 0..n.min(9) {
            // Sets that wrap around, in whatever order.
            let set: Vec<_> = (0..threshold).rev().map(|i| shares[(first + i) % n]).collect();
            assert_eq!(coin.combine(&set), Some(expected));
            assert_eq!(coin.combine(&set[1..]), None);
            let repeated: Vec<_> = set[1..].iter().chain(&set[1..]).copied().collect();
            assert_eq!(coin.combine(&repeated), None, "repeated shares count once");
        }
        assert_eq!(coin.combine(&shares), Some(expected), "more shares than needed");
        if threshold > 1 {
            // N−f−1 shares interpolate to another point.
            let lowered = CoinKeys { threshold: threshold - 1, commitments: coin.commitments.clone() };
            assert_ne!(lowered.combine(&shares), Some(expected));
        }
    }
}

#[test]
fn a_share_with_a_proof_for_another_exponent_is_refused() {
    let (coin, secrets) = dealt(4, 3, 1);
    let base = base(1, 0);
    let true_share = coin.share(Index(0), &secrets[0], &base);
    assert!(coin.verify(Index(0), &base, &true_share));
    // A liar with its own secret raises H(name) to another power and proves that as well as it can.
    let liar = CoinSecret(secrets[0].0 + Scalar::ONE);
    let lie = liar.share(&base, &coin.commitments[0].bytes);
    assert!(!coin.verify(Index(0), &base, &lie));
    assert!(!coin.verify(Index(0), &base, &CoinShare { value: lie.value, ..true_share }));
    assert!(!coin.verify(Index(0), &base, &CoinShare { value: true_share.value, ..lie }));
    // With a commitment of its own choice the same proof holds: it is the dealt commitment that refuses it.
    let mut deceived = CoinKeys { threshold: 3, commitments: coin.commitments.clone() };
    deceived.commitments[0] = Element::decode(liar.commitment()).unwrap();
    let consistent = liar.share(&base, &liar.commitment());
    assert!(deceived.verify(Index(0), &base, &consistent));
    assert!(!coin.verify(Index(0), &base, &consistent));
}

#[test]
fn encodings_that_are_not_canonical_are_refused_although_the_numbers_are_right() {
    let (coin, secrets) = dealt(4, 3, 1);
    let base = base(1, 0);
    let share = coin.share(Index(0), &secrets[0], &base);
    let identity = [0; 32];
    assert!(!coin.verify(Index(0), &base, &CoinShare { value: identity, ..share }));
    // The field element p + s is the same as s and encodes nothing.
    let mut p_plus_2 = [0xFF; 32];
    (p_plus_2[0], p_plus_2[31]) = (0xEF, 0x7F);
    assert!(Element::decode(p_plus_2).is_none());
    for times in 1..=15 {
        let challenge = plus_order(share.challenge, times);
        let response = plus_order(share.response, times);
        assert_eq!(Scalar::from_bytes_mod_order(response).to_bytes(), share.response);
        assert!(!coin.verify(Index(0), &base, &CoinShare { challenge, ..share }));
        assert!(!coin.verify(Index(0), &base, &CoinShare { response, ..share }));
    }
}

/// The proof of the identity for the secret 0 holds as an equation; it is refused as an encoding.
#[test]
fn a_secret_of_zero_is_refused_everywhere() {
    let zero = CoinSecret(Scalar::ZERO);
    let base = base(1, 0);
    let identity = Element { point: RistrettoPoint::default(), bytes: [0; 32] };
    let coin = CoinKeys { threshold: 1, commitments: vec![identity] };
    assert!(!coin.verify(Index(0), &base, &zero.share(&base, &[0; 32])));
    assert_eq!(CoinSecret::from_bytes([0; 32]), None);
    let member = Member { public_key: [0; 32], coin_commitment: [0; 32] };
    let committee = Committee::new(1, Protocol::default(), vec![member], [0; 32]);
    let error = CoinKeys::of_shard(&committee, SHARD).unwrap_err().to_string();
    assert!(error.starts_with("committee, coin commitment of node 0: found '0000"), "{error}");
}

/// `scalar` + `times` · L as 256-bit little-endian bytes, L being the order of the group.
fn plus_order(scalar: [u8; 32], times: u8) -> [u8; 32] {
    let mut order = (-Scalar::ONE).to_bytes();
    order[0] += 1;
    let mut carry = 0u16;
    std::array::from_fn(|i| {
        carry += u16::from(scalar[i]) + u16::from(order[i]) * u16::from(times);
        let byte = carry as u8;
        carry >>= 8;
        byte
    })
}

#[test]
fn shards_and_names_have_bases_and_polynomials_of_their_own() {
    let name = |round, view| CoinName { round: Round(round), view: View(view) };
    let bases: Vec<[u8; 32]> = [
        CoinBase::of(&TESTBED, ShardId(0), &name(1, 0)),
        CoinBase::of(&TESTBED, ShardId(1), &name(1, 0)),
        CoinBase::of(&TESTBED, ShardId(0), &name(2, 0)),
        CoinBase::of(&TESTBED, ShardId(0), &name(1, 1)),
        CoinBase::of(&TESTBED, ShardId(0), &name(0, 1)),
        CoinBase::of(&TESTBED, ShardId(0), &name(1 << 32, 0)),
        CoinBase::of(&Digest([8; 32]), ShardId(0), &name(1, 0)),
    ]
    .map(|base| base.element.bytes)
    .to_vec();
    let distinct: std::collections::BTreeSet<_> = bases.iter().collect();
    assert_eq!(distinct.len(), bases.len());

    let (committee, _) = deal_committee(4, 3, Protocol::default(), seeded_entropy(5));
    let commitments: std::collections::BTreeSet<_> =
        committee.nodes().map(|node: NodeId| committee.member(node).coin_commitment).collect();
    assert_eq!(commitments.len(), 12);
}

/// The bounds between which the chi-squared statistic of a fair source lies with probability 99.8 %, by degrees of
/// freedom.
const CHI_SQUARED: [(usize, f64, f64); 5] = [
    (2, 0.0020, 13.816),
    (3, 0.0243, 16.266),
    (6, 0.3811, 22.458),
    (9, 1.1519, 27.877),
    (15, 3.4827, 37.697),
];

/// Whether these counts look like those of a fair die: neither too uneven nor too even.
fn is_uniform(counts: &[usize]) -> bool {
    let total: usize = counts.iter().sum();
    let expected = total as f64 / counts.len() as f64;
    let statistic: f64 = counts.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum();
    let (_, low, high) =
        CHI_SQUARED.into_iter().find(|(freedom, ..)| freedom + 1 == counts.len()).expect("a tabled size");
    (low..high).contains(&statistic)
}

/// Counts of leaders, and for N = 4 of pairs of neighbouring leaders too.
fn looks_fair(leaders: &[Index], n: usize) -> bool {
    let mut counts = vec![0; n];
    leaders.iter().for_each(|leader| counts[usize::from(leader.0)] += 1);
    let mut pairs = vec![0; n * n];
    leaders.chunks_exact(2).for_each(|pair| pairs[usize::from(pair[0].0) * n + usize::from(pair[1].0)] += 1);
    is_uniform(&counts) && (n != 4 || is_uniform(&pairs))
}

#[test]
fn leaders_over_ten_thousand_names_are_uniform() {
    for n in [3usize, 4, 7, 10, 16] {
        let threshold = n - (n - 1) / 3;
        let (coin, secrets) = dealt(n, threshold, 11);
        let master = master(&coin, &secrets);
        // 2,500 rounds of four views. The dealer's p(0) stands in for N−f shares, which are slower; every 500th coin
        // is made of shares as well.
        let leaders: Vec<Index> = (0..10_000u32)
            .map(|i| {
                let base = base(u64::from(i / 4), i % 4);
                let tossed = (master * base.element.point).compress().to_bytes();
                if i % 500 == 0 {
                    assert_eq!(coin.combine(&shares_of(&coin, &secrets, &base)), Some(tossed));
                }
                leader(&tossed, n)
            })
            .collect();
        assert!(looks_fair(&leaders, n), "N = {n}");
    }
}

/// The bugs of the prototype: a leader that is in effect always the same, and one that rotates.
#[test]
fn the_uniformity_test_refuses_unfair_leaders() {
    let leaders = |of: fn(u32) -> u16| (0..10_000).map(|i| Index(of(i))).collect::<Vec<_>>();
    assert!(!looks_fair(&leaders(|_| 1), 4));
    assert!(!looks_fair(&leaders(|i| (i % 4) as u16), 4));
    let hash = |i: u32| u16::from(Sha256::digest(i.to_le_bytes())[0]);
    assert!(looks_fair(&(0..10_000).map(|i| Index(hash(i) % 4)).collect::<Vec<_>>(), 4));
    // Too few bits modulo 10 prefer 0 to 5; pairs that repeat are even one by one.
    assert!(!looks_fair(&(0..10_000).map(|i| Index(hash(i) % 16 % 10)).collect::<Vec<_>>(), 10));
    assert!(!looks_fair(&(0..10_000).map(|i| Index(hash(i / 2) % 4)).collect::<Vec<_>>(), 4));
}

#[test]
fn the_leader_is_the_hash_as_a_big_endian_number_modulo_n() {
    let coin = [3; 32];
    let digest = Sha256::digest(coin);
    assert_eq!(leader(&coin, 1), Index(0));
    assert_eq!(leader(&coin, 128), Index(u16::from(digest[31] % 128)), "powers of two see the last bits");
    // 255 = 256 − 1, so the remainder is that of the digits' sum.
    let digit_sum: u32 = digest.iter().map(|byte| u32::from(*byte)).sum();
    assert_eq!(leader(&coin, 255), Index((digit_sum % 255) as u16));
}
