//! Signatures, certificates and coin shares prove nothing once they are changed slightly.

use std::sync::Arc;

use wire::committee::{Committee, Protocol};
use wire::ids::{Index, NodeId, Round, ShardId, Signature, View};

use super::World;
use crate::crypto::cert::{Certificate, CertificateCache};
use crate::crypto::deal::{deal_committee, seeded_entropy};
use crate::crypto::hash_suite::HashSuite;
use crate::crypto::real::RealSuite;
use crate::crypto::suite::{CoinName, CoinShare, Statement, Suite};

/// The content of a certificate.
type Signed = Vec<(Index, Signature)>;

/// The suites of all members of two shards, real ones or stand-ins.
fn suites(seed: u64, is_real: bool) -> (Committee, Vec<Arc<dyn Suite>>) {
    let (committee, secrets) = deal_committee(4, 2, Protocol::default(), seeded_entropy(seed));
    let suite = |node: NodeId| -> Arc<dyn Suite> {
        if is_real {
            let secrets = &secrets[usize::from(node.0)];
            Arc::new(RealSuite::new(&committee, node, &secrets.signing, secrets.coin_secret).expect("dealt"))
        } else {
            Arc::new(HashSuite::new(&committee, node, seed))
        }
    };
    let suites = committee.nodes().map(suite).collect();
    (committee, suites)
}

/// A statement that differs from this one.
fn other_statement(world: &mut World, statement: Statement) -> Statement {
    loop {
        let other = world.statement();
        if other != statement {
            return other;
        }
    }
}

#[test]
fn a_certificate_proves_one_statement_and_fails_if_changed() {
    for (seed, is_real) in (0..40).map(|seed| (seed, seed % 10 == 0)) {
        let (committee, suites) = suites(seed, is_real);
        let mut world = World::new(seed);
        let statement = world.statement();
        let other = other_statement(&mut world, statement);
        let sign = |statement: &Statement| -> Signed {
            suites[..3].iter().zip(0..).map(|(suite, i)| (Index(i), suite.sign(statement))).collect()
        };
        let verifies = |shard: u16, statement: &Statement, signed: Signed| {
            let (shard, certificate) = (ShardId(shard), Certificate(signed));
            let mut cache = CertificateCache::default();
            cache.verify_of(&committee, &*suites[0], shard, statement, &certificate)
        };
        let honest = sign(&statement);
        assert!(verifies(0, &statement, honest.clone()), "seed {seed}");
        assert!(!verifies(0, &other, honest.clone()), "seed {seed}: {statement:?} proves {other:?}");
        assert!(!verifies(1, &statement, honest.clone()), "seed {seed}: in another shard");
        let place = world.small(3);
        let changed = |change: &dyn Fn(&mut Signed)| {
            let mut signed = honest.clone();
            change(&mut signed);
            signed
        };
        let fourth = (Index(3), suites[3].sign(&statement));
        for (what, signed) in [
            (
                "truncated",
                changed(&|signed| {
                    let _ = signed.remove(place);
                }),
            ),
            ("extended", changed(&|signed| signed.push(fourth))),
            ("one twice", changed(&|signed| signed.insert(place, signed[place]))),
            ("one in place of another", changed(&|signed| signed[place] = signed[(place + 1) % 3])),
            ("another's name", changed(&|signed| signed[2].0 = Index(3))),
            ("no member", changed(&|signed| signed[2].0 = Index(4))),
            ("another order", changed(&|signed| signed.swap(place, (place + 1) % 3))),
            ("one of something else", changed(&|signed| signed[place] = sign(&other)[place])),
            ("a changed byte", changed(&|signed| signed[place].1.r[0] ^= 1)),
        ] {
            assert!(!verifies(0, &statement, signed), "seed {seed}: {what}");
        }
    }
}

#[test]
fn a_coin_share_is_valid_for_one_coin_and_one_signer() {
    for (seed, is_real) in (0..40).map(|seed| (seed, seed % 10 == 0)) {
        let (_, suites) = suites(seed, is_real);
        let mut world = World::new(seed);
        let mut name = || CoinName { round: Round(world.number()), view: View(world.number() as u32) };
        let (one, other) = (name(), name());
        let share = suites[0].coin_share(&one);
        let holds = |suite: usize, signer: u16, name: &CoinName, share: &CoinShare| {
            suites[suite].verify_coin_share(Index(signer), name, share)
        };
        assert!(holds(1, 0, &one, &share), "seed {seed}");
        assert_eq!(holds(1, 0, &other, &share), one == other, "seed {seed}: {one:?} and {other:?}");
        assert!(!holds(1, 1, &one, &share), "seed {seed}: of another member");
        assert!(!holds(4, 0, &one, &share), "seed {seed}: of another shard");
        for at in 0..3 {
            let mut changed = share;
            [&mut changed.value, &mut changed.challenge, &mut changed.response][at][0] ^= 1;
            assert!(!holds(1, 0, &one, &changed), "seed {seed}: field {at}");
        }
        let shares: Vec<_> =
            suites[..3].iter().zip(0..).map(|(suite, i)| (Index(i), suite.coin_share(&one))).collect();
        assert!(suites[3].elect(&one, &shares).is_some(), "seed {seed}");
        assert_eq!(suites[3].elect(&one, &shares[..2]), None, "seed {seed}: truncated");
        assert_eq!(suites[3].elect(&one, &[shares[0], shares[1], shares[1]]), None, "seed {seed}: one twice");
    }
}
