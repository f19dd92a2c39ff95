//! The guarantees of a suite, tested on both.

use std::sync::Arc;

use wire::committee::{Committee, Member, Protocol};
use wire::ids::{Digest, Index, NodeId, Round, Seq, ShardId, Signature, View};
use wire::text::ParseError;

use crate::crypto::cert::{Certificate, CertificateCache};
use crate::crypto::deal::{deal_committee, seeded_entropy};
use crate::crypto::hash_suite::HashSuite;
use crate::crypto::real::RealSuite;
use crate::crypto::suite::{CoinName, CoinShare, Stage, Statement, Suite};

const SHARDS: u16 = 2;

/// The suites of all nodes of two shards of `n`, of both kinds.
fn suites(n: u16, seed: u64) -> [(Committee, Vec<Arc<dyn Suite>>); 2] {
    let (committee, secrets) = deal_committee(n, SHARDS, Protocol::default(), seeded_entropy(seed));
    let real = secrets.iter().map(|secrets| Arc::new(RealSuite::of(&committee, secrets)) as Arc<dyn Suite>);
    let real: Vec<_> = real.collect();
    let hashed =
        committee.nodes().map(|node| Arc::new(HashSuite::new(&committee, node, seed)) as Arc<dyn Suite>);
    let hashed: Vec<_> = hashed.collect();
    [(committee.clone(), real), (committee, hashed)]
}

/// Statements that differ from each other in one field each, and in all of them.
fn statements() -> Vec<Statement> {
    let (one, two) = (Digest([1; 32]), Digest([2; 32]));
    let mut statements = Vec::new();
    for (owner, seq, digest) in [(0, 1, one), (1, 1, one), (0, 2, one), (0, 1 << 32, one), (0, 1, two)] {
        statements.push(Statement::Lane { owner: Index(owner), seq: Seq(seq), digest });
    }
    for (round, view, leader, digest) in
        [(1, 0, 0, one), (2, 0, 0, one), (1 << 40, 0, 0, one), (1, 1, 0, one), (1, 0, 1, one), (1, 0, 0, two)]
    {
        for stage in [Stage::Lock, Stage::Finish, Stage::No, Stage::Unlock] {
            let (round, view, leader) = (Round(round), View(view), Index(leader));
            statements.push(Statement::Agreement { round, view, leader, stage, digest });
        }
    }
    for (height, digest) in [(1, one), (2, one), (1, two)] {
        statements.push(Statement::Block { height: Round(height), digest });
    }
    statements
}

fn flipped(bytes: &[u8; 32], bit: usize) -> [u8; 32] {
    let mut bytes = *bytes;
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

#[test]
fn different_statements_differ_in_signed_bytes() {
    let mut all = Vec::new();
    for testbed in [Digest([1; 32]), Digest([2; 32])] {
        for shard in [ShardId(0), ShardId(1), ShardId(256)] {
            all.extend(statements().iter().map(|statement| statement.to_bytes(&testbed, shard)));
        }
    }
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[test]
fn a_signature_is_valid_for_its_statement_and_signer_only() {
    for (_, suites) in suites(4, 1) {
        let statements = statements();
        for (i, signed) in statements.iter().enumerate() {
            let signature = suites[2].sign(signed);
            assert_eq!(signature, suites[2].sign(signed), "signatures are deterministic");
            for (j, claimed) in statements.iter().enumerate() {
                let holds = suites[0].verify(Index(2), claimed, &signature);
                assert_eq!(holds, i == j, "{signed:?} taken for {claimed:?}");
            }
            for other in [0, 1, 3, 4, u16::MAX] {
                assert!(!suites[0].verify(Index(other), signed, &signature), "member {other} did not sign");
            }
            assert!(!suites[4].verify(Index(2), signed, &signature), "another shard");
        }
    }
}

#[test]
fn a_signature_is_invalid_in_another_testbed() {
    for ((_, one), (_, other)) in suites(4, 1).into_iter().zip(suites(4, 2)) {
        let statement = statements()[0];
        assert!(!other[0].verify(Index(0), &statement, &one[0].sign(&statement)));
        let name = CoinName { round: Round(1), view: View(0) };
        assert!(!other[0].verify_coin_share(Index(0), &name, &one[0].coin_share(&name)));
    }
    // Even of the same keys: only the nonce and so the testbed id differ.
    let dealt = |nonce: u8| {
        let (committee, secrets) = deal_committee(4, 1, Protocol::default(), seeded_entropy(1));
        let members = committee.nodes().map(|node| *committee.member(node)).collect();
        RealSuite::of(&Committee::new(4, Protocol::default(), members, [nonce; 32]), &secrets[0])
    };
    let (one, other) = (dealt(1), dealt(2));
    for statement in statements() {
        assert!(one.verify(Index(0), &statement, &one.sign(&statement)));
        assert!(!other.verify(Index(0), &statement, &one.sign(&statement)));
    }
    let name = CoinName { round: Round(1), view: View(0) };
    assert!(one.verify_coin_share(Index(0), &name, &one.coin_share(&name)));
    assert!(!other.verify_coin_share(Index(0), &name, &one.coin_share(&name)));
}

#[test]
fn every_bit_of_a_signature_counts_singly_and_in_a_batch() {
    for (_, suites) in suites(4, 1) {
        let statement = statements()[7];
        let signatures: Vec<(Index, Signature)> =
            [0, 1, 3].map(|i| (Index(i), suites[usize::from(i)].sign(&statement))).to_vec();
        assert!(suites[2].verify_all(&statement, &signatures));
        assert!(suites[2].verify_all(&statement, &[]));
        for bit in 0..512 {
            let mut spoilt = signatures.clone();
            let signature = &mut spoilt[bit % 3].1;
            match bit {
                0..256 => signature.r = flipped(&signature.r, bit),
                _ => signature.s = flipped(&signature.s, bit - 256),
            }
            assert!(!suites[2].verify(spoilt[bit % 3].0, &statement, &spoilt[bit % 3].1), "bit {bit}");
            assert!(!suites[2].verify_all(&statement, &spoilt), "bit {bit} in a batch");
        }
        let mut swapped = signatures.clone();
        (swapped[0].1, swapped[1].1) = (swapped[1].1, swapped[0].1);
        assert!(!suites[2].verify_all(&statement, &swapped), "each signed, but not as claimed");
        let outsider = [signatures[0], (Index(4), signatures[1].1)];
        assert!(!suites[2].verify_all(&statement, &outsider), "no member 4");
        let twice = [signatures[0], signatures[0], signatures[1]];
        assert!(
            suites[2].verify_all(&statement, &twice),
            "that signers are distinct is for the certificate to see"
        );
    }
}

#[test]
fn a_coin_share_is_valid_for_its_name_and_member_only() {
    let name = |round, view| CoinName { round: Round(round), view: View(view) };
    for (_, suites) in suites(4, 1) {
        let share = suites[1].coin_share(&name(5, 2));
        assert_eq!(share, suites[1].coin_share(&name(5, 2)), "shares are deterministic");
        assert!(suites[0].verify_coin_share(Index(1), &name(5, 2), &share));
        for other in [name(5, 3), name(6, 2), name(2, 5), name(0, 0)] {
            assert!(!suites[0].verify_coin_share(Index(1), &other, &share));
        }
        for other in [0, 2, 3, 4, u16::MAX] {
            assert!(!suites[0].verify_coin_share(Index(other), &name(5, 2), &share));
        }
        assert!(!suites[4].verify_coin_share(Index(1), &name(5, 2), &share), "another shard");
        for bit in 0..256 {
            for spoilt in [
                CoinShare { value: flipped(&share.value, bit), ..share },
                CoinShare { challenge: flipped(&share.challenge, bit), ..share },
                CoinShare { response: flipped(&share.response, bit), ..share },
            ] {
                assert!(!suites[0].verify_coin_share(Index(1), &name(5, 2), &spoilt), "bit {bit}");
            }
        }
    }
}

/// All ways to take `k` of `0..n`.
fn subsets(n: u16, k: usize) -> Vec<Vec<u16>> {
    (0..1u32 << n)
        .filter(|set| set.count_ones() as usize == k)
        .map(|set| (0..n).filter(|i| set >> i & 1 == 1).collect())
        .collect()
}

#[test]
fn any_quorum_of_shares_elects_the_same_leader_and_no_smaller_set_elects_any() {
    for n in [1, 2, 3, 4, 7] {
        for (committee, suites) in suites(n, u64::from(n)) {
            for view in 0..3 {
                let name = CoinName { round: Round(9), view: View(view) };
                let share = |i: u16| (Index(i), suites[usize::from(i)].coin_share(&name));
                let elect = |set: &[u16]| {
                    let shares: Vec<_> = set.iter().map(|i| share(*i)).collect();
                    suites[0].elect(&name, &shares)
                };
                let everybody: Vec<u16> = (0..n).collect();
                let leader = elect(&everybody).expect("all shares are more than a quorum");
                assert!(leader.0 < n);
                for set in subsets(n, committee.quorum()) {
                    assert_eq!(elect(&set), Some(leader), "{set:?} of {n}");
                }
                for set in subsets(n, committee.quorum() - 1) {
                    assert_eq!(elect(&set), None, "{set:?} of {n}");
                    let doubled = [set.clone(), set].concat();
                    assert_eq!(elect(&doubled), None, "the same shares twice are no more shares");
                }
            }
        }
    }
}

#[test]
fn shards_toss_different_coins() {
    for (_, suites) in suites(4, 1) {
        let leaders = |shard: usize| -> Vec<Option<Index>> {
            let toss = |round| {
                let name = CoinName { round: Round(round), view: View(0) };
                let shares = [0, 1, 2].map(|i| (Index(i as u16), suites[shard * 4 + i].coin_share(&name)));
                suites[shard * 4].elect(&name, &shares)
            };
            (1..=30).map(toss).collect()
        };
        assert_ne!(leaders(0), leaders(1));
    }
}

/// Callers verify shares before they combine them; neither suite verifies them again. Each of the first N−f counts.
#[test]
fn a_bad_share_among_those_combined_spoils_the_coin_of_both_suites() {
    for (_, suites) in suites(4, 1) {
        // A member that holds two suites can show its own shares in the names of others.
        let leaders = |spoilt: Option<usize>| -> Vec<Index> {
            let toss = |round| {
                let name = CoinName { round: Round(round), view: View(0) };
                let mut shares = [0, 1, 2, 3].map(|i| (Index(i as u16), suites[i].coin_share(&name)));
                if let Some(position) = spoilt {
                    shares[position].1 = shares[(position + 1) % 3].1;
                }
                suites[0].elect(&name, &shares).expect("N−f points elect somebody")
            };
            (1..=40).map(toss).collect()
        };
        let right = leaders(None);
        for position in 0..3 {
            let equal =
                leaders(Some(position)).iter().zip(&right).filter(|(one, other)| one == other).count();
            assert!(
                equal < 25,
                "a bad share at position {position} changes too few leaders: {equal} of 40 are equal"
            );
        }
        assert_eq!(leaders(Some(3)), right, "only N−f are combined");
    }
}

#[test]
fn an_invalid_key_is_refused_with_its_node() {
    let (committee, secrets) = deal_committee(4, 1, Protocol::default(), seeded_entropy(1));
    let open = |committee: &Committee, signing_of: usize, coin_secret: [u8; 32]| {
        RealSuite::new(committee, NodeId(1), &secrets[signing_of].signing, coin_secret).map(|_| ())
    };
    let error = |result: Result<(), ParseError>| result.unwrap_err().to_string();
    assert_eq!(open(&committee, 1, secrets[1].coin_secret), Ok(()));
    assert!(
        error(open(&committee, 2, secrets[1].coin_secret))
            .starts_with("public key of node 1's signing key: ")
    );
    let anothers = error(open(&committee, 1, secrets[2].coin_secret));
    assert!(anothers.starts_with("coin secret of node 1: found 'one of commitment "), "{anothers}");
    assert!(!anothers.contains(&wire::hex::encode(&secrets[2].coin_secret)), "a secret stands in no error");
    for bad in [[0; 32], [0xFF; 32]] {
        assert!(error(open(&committee, 1, bad)).ends_with("expected a canonical scalar, not zero"));
    }

    let change_member_3 = |public_key: Option<u8>, coin_commitment: Option<u8>| {
        let mut members: Vec<Member> = committee.nodes().map(|node| *committee.member(node)).collect();
        members[3].public_key = public_key.map_or(members[3].public_key, small);
        members[3].coin_commitment = coin_commitment.map_or(members[3].coin_commitment, small);
        Committee::new(4, Protocol::default(), members, [0; 32])
    };
    // 2 is the y of no point of the curve; 1 is that of the identity, the weakest key there is.
    for bad in [2, 1] {
        let found = error(open(&change_member_3(Some(bad), None), 1, secrets[1].coin_secret));
        assert!(found.starts_with("committee, ed25519 key of node 3: found '0"), "{found}");
    }
    // An odd number encodes no ristretto point, zero the identity.
    for bad in [1, 0] {
        let found = error(open(&change_member_3(None, Some(bad)), 1, secrets[1].coin_secret));
        assert!(found.starts_with("committee, coin commitment of node 3: found '0"), "{found}");
    }
}

/// A small number in 32 little-endian bytes.
fn small(number: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = number;
    bytes
}

#[test]
fn a_dealt_committee_depends_on_its_entropy_alone_and_no_debug_text_shows_a_secret() {
    let deal = |seed| deal_committee(4, 2, Protocol::default(), seeded_entropy(seed));
    let ((one, secrets), (same, _), (other, _)) = (deal(1), deal(1), deal(2));
    assert_eq!(one, same);
    assert_ne!(one.testbed(), other.testbed());
    assert_eq!(secrets.iter().map(|secrets| secrets.id).collect::<Vec<_>>(), one.nodes().collect::<Vec<_>>());
    let suite = RealSuite::of(&one, &secrets[0]);
    let shown = format!("{:?} {suite:?} {:?}", secrets[0], HashSuite::new(&one, NodeId(0), 1));
    assert_eq!(shown, "NodeSecrets(node 0) RealSuite(shard 0, member 0) HashSuite(shard 0, member 0)");
}

#[test]
fn a_certificate_has_a_quorum_of_distinct_ascending_members() {
    for (committee, suites) in suites(4, 1) {
        let (statement, other) = (statements()[0], statements()[1]);
        let vote = |i: u16| (Index(i), suites[usize::from(i)].sign(&statement));
        let wrong = (Index(2), suites[2].sign(&other));
        for (signatures, valid, why) in [
            (vec![vote(0), vote(1), vote(2)], true, "a quorum"),
            (vec![vote(0), vote(1), vote(3)], true, "another quorum"),
            (vec![], false, "nobody"),
            (vec![vote(0), vote(1)], false, "short"),
            (
                vec![vote(0), vote(1), vote(2), vote(3)],
                false,
                "more than a quorum: two forms of one certificate",
            ),
            (vec![vote(0), vote(1), vote(1)], false, "a signer twice"),
            (vec![vote(1), vote(0), vote(2)], false, "not ascending: two forms of one certificate"),
            (vec![vote(0), vote(1), (Index(4), vote(2).1)], false, "no member 4"),
            (vec![vote(0), vote(1), (Index(3), vote(2).1)], false, "the signature of another member"),
            (vec![vote(0), vote(1), wrong], false, "a signature on another statement"),
        ] {
            let certificate = Certificate(signatures);
            let mut cache = CertificateCache::default();
            for time in ["first", "second"] {
                let verified = cache.verify(&committee, &*suites[3], &statement, &certificate);
                assert_eq!(verified, valid, "{why}, {time} time");
                assert!(
                    !cache.verify(&committee, &*suites[3], &other, &certificate),
                    "{why}, other statement"
                );
            }
        }
    }
}
