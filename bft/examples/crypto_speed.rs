//! The cost of signatures and of the threshold coin on this machine, in microseconds: the figures of
//! docs/performance.md.
//!
//! `cargo run --release -p bft --example crypto_speed`

use std::hint::black_box;
use std::time::Instant;

use bft::crypto::deal::{deal_committee, seeded_entropy};
use bft::crypto::ed25519::{PublicKey, Signed, Signer, verify_batch};
use bft::crypto::hash_suite::HashSuite;
use bft::crypto::real::RealSuite;
use bft::crypto::suite::{CoinName, Stage, Statement, Suite};
use ed25519_dalek::SigningKey;
use wire::committee::Protocol;
use wire::ids::{Digest, Index, Round, Signature, View};

/// Prints the best of several runs: the one that other work on the machine disturbed least.
fn measure<R>(name: &str, repetitions: u32, mut step: impl FnMut(u32) -> R) {
    let run = |step: &mut dyn FnMut(u32) -> R| {
        let start = Instant::now();
        for i in 0..repetitions {
            black_box(step(i));
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(repetitions)
    };
    let best = (0..7).map(|_| run(&mut step)).fold(f64::INFINITY, f64::min);
    println!("{name:<58}{best:>9.2} us");
}

fn statement(round: u32) -> Statement {
    let (round, leader, digest) = (Round(u64::from(round)), Index(0), Digest([5; 32]));
    Statement::Agreement { round, view: View(0), leader, stage: Stage::Lock, digest }
}

fn name(round: u32) -> CoinName {
    CoinName { round: Round(u64::from(round)), view: View(0) }
}

fn measure_suites(n: u16, kind: &str, suites: &[Box<dyn Suite>], quorum: usize) {
    let signed = statement(1);
    let signers = || (0..).map(Index).zip(suites);
    let signatures: Vec<(Index, Signature)> = signers().map(|(i, suite)| (i, suite.sign(&signed))).collect();
    let shares: Vec<_> = signers().map(|(i, suite)| (i, suite.coin_share(&name(1)))).collect();
    let suite = &suites[0];
    let label = |name: &str| format!("{kind}, N = {n}: {name}");

    measure(&label("sign"), 500, |i| suite.sign(&statement(i)));
    measure(&label("verify one signature"), 500, |_| suite.verify(Index(0), &signed, &signatures[0].1));
    let batch = &signatures[..quorum];
    measure(&label(&format!("verify {quorum} in a batch")), 200, |_| suite.verify_all(&signed, batch));
    measure(&label("coin share, new name"), 200, |i| suite.coin_share(&name(i)));
    measure(&label("verify a coin share, known name"), 200, |_| {
        suite.verify_coin_share(Index(1), &name(1), &shares[1].1)
    });
    measure(&label(&format!("elect from {quorum} verified shares")), 200, |_| {
        suite.elect(&name(1), &shares[..quorum])
    });
}

/// Batches in which each signature has a key and a message of its own, as those of transactions do.
fn measure_transactions(count: u32) {
    let signed = |i: u32| {
        let key = SigningKey::from_bytes(&std::array::from_fn(|at| (i >> (at % 4 * 8)) as u8));
        let message = [i as u8; 250];
        let public = PublicKey::decode(key.verifying_key().to_bytes()).expect("it is an honest key");
        (public, message, Signer::new(&key).sign(&message))
    };
    let all: Vec<_> = (0..count).map(signed).collect();
    let batch: Vec<Signed> =
        all.iter().map(|(key, message, signature)| Signed { key, message, signature }).collect();
    measure(&format!("verify {count} of different keys and messages"), 2_000 / count, |_| {
        verify_batch(&batch)
    });
}

fn main() {
    for count in [1, 10, 100, 1_000] {
        measure_transactions(count);
    }
    for n in [4, 16, 128] {
        let (committee, secrets) = deal_committee(n, 1, Protocol::default(), seeded_entropy(1));
        let real: Vec<Box<dyn Suite>> = secrets
            .iter()
            .map(|secrets| Box::new(RealSuite::of(&committee, secrets)) as Box<dyn Suite>)
            .collect();
        measure_suites(n, "real", &real, committee.quorum());
        let stand_in: Vec<Box<dyn Suite>> = committee
            .nodes()
            .map(|node| Box::new(HashSuite::new(&committee, node, 1)) as Box<dyn Suite>)
            .collect();
        measure_suites(n, "stand-in", &stand_in, committee.quorum());
    }
}
