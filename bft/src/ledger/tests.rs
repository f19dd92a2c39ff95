mod cross;
mod model;
mod random;
mod sweep;
mod world;

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use wire::committee::{Member, Protocol};
use wire::ids::{Index, NodeId};
use wire::limits::{EXPIRY_ROUNDS_AHEAD_MAX, FORGET_ROUNDS_AFTER_EXPIRY};

use super::*;
use crate::crypto::ed25519::Signer;
use crate::crypto::hash_suite::HashSuite;
use crate::part::{Part as GroupPart, PartRef};
use crate::prng::Prng;
use crate::proposal::ProposalBuilder;
use crate::transaction::{
    Expiry, Input, Output, Owner, Part, Transaction, genesis_owner, genesis_secret, output_coin, tx_id,
};

const HERE: ShardId = ShardId(0);

fn committee(shards: u16, protocol: Protocol) -> Arc<Committee> {
    let members = vec![Member { public_key: [1; 32], coin_commitment: [2; 32] }; usize::from(shards)];
    Arc::new(Committee::new(1, protocol, members, [3; 32]))
}

fn rules(committee: Arc<Committee>, shard: ShardId) -> Arc<Rules> {
    let node = committee.node_at(shard, Index(0));
    let suite = Arc::new(HashSuite::new(&committee, node, 9));
    Arc::new(Rules::new(&crate::member::Member::new(committee, suite, node)))
}

/// Entries of one lane.
fn lane<P>(payloads: impl IntoIterator<Item = P>) -> impl Iterator<Item = (Index, P)> {
    payloads.into_iter().map(|payload| (Index(0), payload))
}

/// For blocks that import nothing.
fn no_bodies(_: &PartRef) -> Option<Arc<GroupPart>> {
    None
}

fn small(genesis_coins: u64) -> Protocol {
    Protocol { genesis_coins, genesis_amount: 100, ..Protocol::default() }
}

fn payload<T: AsRef<[u8]>>(transactions: &[T]) -> Vec<u8> {
    let mut builder = ProposalBuilder::new(Vec::new(), 8 << 20, 100_000);
    transactions.iter().for_each(|transaction| {
        let _ = builder.push(transaction.as_ref());
    });
    assert_eq!(builder.count(), transactions.len());
    builder.finish()
}

/// A transaction within this shard that spends `inputs` into one coin.
fn transfer(inputs: &[(CoinId, u64)], expiry: u64, payload: &[u8]) -> Vec<u8> {
    let mut inputs: Vec<Input> =
        inputs.iter().map(|&(coin, amount)| Input { shard: HERE, coin, amount }).collect();
    inputs.sort_unstable();
    Transaction {
        inputs: &inputs,
        output_shard: HERE,
        outputs: &[Output { owner: Owner([7; 32]), amount: inputs.iter().map(|input| input.amount).sum() }],
        expiries: &[Expiry { shard: HERE, round: Round(expiry) }],
        payload,
    }
    .encode()
}

/// A ledger and what tests do with it again and again.
struct Bench {
    ledger: Ledger,
}

impl Bench {
    fn new(genesis_coins: u64) -> Bench {
        Bench { ledger: Ledger::genesis(rules(committee(2, small(genesis_coins)), HERE), 5) }
    }

    fn genesis(&self, index: u64) -> CoinId {
        genesis_coin(&self.ledger.committee().testbed(), HERE, index)
    }

    /// Executes the next block with one entry and gives the outcomes.
    fn block<T: AsRef<[u8]>>(&mut self, transactions: &[T]) -> Vec<Outcome> {
        let outcome =
            self.ledger.execute(self.ledger.height().next(), lane([payload(transactions)]), &no_bodies);
        assert_eq!(outcome.invalid_entries, 0);
        outcome.transactions.iter().map(|executed| executed.outcome).collect()
    }

    fn skip_to(&mut self, height: u64) {
        while self.ledger.height() < Round(height) {
            self.block::<&[u8]>(&[]);
        }
    }
}

const FINISHED: Outcome = Outcome::Settled(Settled::Finished);
const EXPIRED: Outcome = Outcome::Settled(Settled::Never(Cause::Expired));
const DUPLICATE: Outcome = Outcome::Duplicate;
const TOO_FAR: Outcome = Outcome::ExpiryTooFar;

fn rejected(reason: Rejection) -> Outcome {
    Outcome::Settled(Settled::Never(Cause::Rejected(reason)))
}

#[test]
fn each_rule_of_execution() {
    let mut bench = Bench::new(10);
    let coins: Vec<CoinId> = (0..10).map(|index| bench.genesis(index)).collect();
    let first = transfer(&[(coins[0], 100), (coins[1], 100)], 50, b"");
    let chained = transfer(&[(output_coin(&tx_id(&first), 0), 200)], 50, b"");
    let unknown = transfer(&[(CoinId([9; 32]), 100)], 50, b"");
    let outcomes = bench.block(&[
        first.clone(),
        first.clone(),
        chained,
        transfer(&[(coins[0], 100)], 50, b"again"),
        unknown.clone(),
        transfer(&[(coins[2], 99)], 50, b""),
        transfer(&[(coins[3], 100)], 0, b"the block's round is past its expiry"),
        transfer(&[(coins[3], 100)], 1, b"the block's round is its expiry"),
        transfer(&[(coins[4], 100)], 10_002, b""),
        transfer(&[(coins[4], 100)], 10_001, b""),
        transfer(&[(coins[5], 100), (coins[0], 100)], 50, b"one good coin, one spent"),
    ]);
    let expected = [
        FINISHED,
        DUPLICATE,
        FINISHED,
        rejected(Rejection::Spent),
        rejected(Rejection::UnknownCoin),
        rejected(Rejection::WrongAmount),
        EXPIRED,
        FINISHED,
        TOO_FAR,
        FINISHED,
        rejected(Rejection::Spent),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(bench.ledger.unspent(&coins[5]), Some(100), "a rejected transaction spends nothing");
    assert_eq!(bench.ledger.settled(&tx_id(&unknown)).map(|(_, round)| round), Some(Round(1)));
    assert_eq!(
        bench.ledger.totals(),
        Counts { finished: 4, rejected: 4, expired: 1, skipped: 2, ..Counts::default() },
        "totals follow the outcomes"
    );
    assert_eq!((bench.ledger.value(), bench.ledger.recount()), (1_000, 1_000));
}

#[test]
fn unspent_coins_are_listed_by_pages_of_places_and_by_owner() {
    let all = |ledger: &Ledger, owner: Owner, places: usize| {
        let (mut coins, mut from, mut pages) = (Vec::new(), Some(0), 0);
        while let Some(place) = from {
            let (page, next) = ledger.unspent_from(&owner, place, places);
            assert!(page.len() <= places && next.is_none_or(|next| next == place + places as u32));
            coins.extend(page);
            (from, pages) = (next, pages + 1);
        }
        (coins, pages)
    };
    let mut bench = Bench::new(10);
    let spender = transfer(&[(bench.genesis(3), 100), (bench.genesis(7), 100)], 50, b"");
    assert_eq!(bench.block(&[&spender]), [FINISHED]);
    let left = [0, 1, 2, 4, 5, 6, 8, 9].map(|index| (bench.genesis(index), 100));
    let expected: Vec<_> = left.into_iter().chain([(output_coin(&tx_id(&spender), 0), 200)]).collect();
    assert_eq!(all(&bench.ledger, Owner([7; 32]), 4), (expected.clone(), 3), "eleven places");
    assert_eq!(all(&bench.ledger, Owner([7; 32]), 11), (expected, 1));
    assert_eq!(bench.ledger.unspent_from(&Owner([7; 32]), u32::MAX, 4), (Vec::new(), None));
    let signed = Protocol { signed: true, ..small(3) };
    let ledger = Ledger::genesis(rules(committee(2, signed), HERE), 5);
    let genesis = genesis_owner(&ledger.committee().testbed());
    assert_eq!(all(&ledger, genesis, 2).0.len(), 3);
    assert_eq!(all(&ledger, Owner([7; 32]), 2).0, [], "they belong to the owner of genesis");
}

#[test]
fn a_rejected_transaction_never_executes_later() {
    let mut bench = Bench::new(2);
    let parent = transfer(&[(bench.genesis(0), 100)], 50, b"");
    let child = transfer(&[(output_coin(&tx_id(&parent), 0), 100)], 50, b"");
    assert_eq!(bench.block(&[&child]), [rejected(Rejection::UnknownCoin)]);
    assert_eq!(bench.block(&[parent, child.clone()]), [FINISHED, DUPLICATE]);
    assert_eq!(bench.block(&[child]), [DUPLICATE], "though its coin exists by now");
}

#[test]
fn a_transaction_without_inputs_here_leaves_no_trace() {
    let mut bench = Bench::new(2);
    let coin = bench.genesis(0);
    let build = |input_shard: u16, output_shard: u16| {
        let shard = ShardId(input_shard);
        Transaction {
            inputs: &[Input { shard, coin, amount: 100 }],
            output_shard: ShardId(output_shard),
            outputs: &[Output { owner: Owner([0; 32]), amount: 100 }],
            expiries: &[Expiry { shard, round: Round(50) }],
            payload: b"",
        }
        .encode()
    };
    let before = bench.ledger.digest();
    let cases = [build(1, 1), build(1, 0)];
    assert_eq!(bench.block(&cases), [Outcome::NotHere; 2]);
    for case in &cases {
        assert_eq!(bench.ledger.settled(&tx_id(case)), None);
    }
    assert_eq!(bench.ledger.unspent(&coin), Some(100));
    assert_ne!(before, bench.ledger.digest(), "the height counts");
}

#[test]
fn traces_are_dropped_eight_rounds_after_the_expiry() {
    let mut bench = Bench::new(1);
    let coin = bench.genesis(0);
    let spender = transfer(&[(coin, 100)], 10, b"");
    assert_eq!(bench.block(&[&spender]), [FINISHED]);
    let again = |expiry: u64| transfer(&[(coin, 100)], expiry, b"again");
    bench.skip_to(17);
    assert_eq!(bench.block(&[&spender]), [DUPLICATE], "round expiry + 8 still remembers");
    assert_eq!(bench.ledger.settled(&tx_id(&spender)), None, "and forgets at its end");
    assert_eq!(bench.block(&[&spender]), [EXPIRED], "then the expiry bars it");
    assert_eq!(bench.ledger.settled(&tx_id(&spender)), None, "without a record");
    assert_eq!(bench.block(&[again(30)]), [rejected(Rejection::UnknownCoin)], "the spent coin is forgotten");
    bench.skip_to(38);
    assert_eq!(bench.ledger.remembered(), 0);
    assert_eq!(bench.ledger.recount(), 100);
}

#[test]
fn empty_blocks_and_invalid_entries_change_nothing_but_the_height() {
    let mut bench = Bench::new(2);
    let outcome = bench.ledger.execute(Round(1), lane(std::iter::empty::<Vec<u8>>()), &no_bodies);
    assert_eq!((outcome.counts, outcome.transactions.len()), (Counts::default(), 0));
    let good = payload(&[transfer(&[(bench.genesis(0), 100)], 50, b"")]);
    let mut bad = good.clone();
    bad[0] = 9;
    let outcome = bench.ledger.execute(Round(2), lane([&bad[..], &[], &[0], &good[..]]), &no_bodies);
    assert_eq!((outcome.invalid_entries, outcome.counts.finished), (2, 1));
    assert_eq!((outcome.transactions[0].entry, outcome.transactions[0].index), (3, 0));
}

#[test]
#[should_panic(expected = "blocks are executed one after another")]
fn a_gap_between_blocks_is_a_bug_of_the_caller() {
    Bench::new(1).ledger.execute(Round(2), lane(std::iter::empty::<Vec<u8>>()), &no_bodies);
}

#[test]
fn the_outcome_digest_binds_round_order_and_outcome() {
    let run = |transactions: &[Vec<u8>], split: usize| {
        let mut bench = Bench::new(2);
        let (one, two) = transactions.split_at(split);
        bench.ledger.execute(Round(1), lane([payload(one), payload(two)]), &no_bodies).digest
    };
    let bench = Bench::new(2);
    let one = transfer(&[(bench.genesis(0), 100)], 50, b"1");
    let two = transfer(&[(bench.genesis(0), 100)], 50, b"2");
    let three = transfer(&[(bench.genesis(1), 100)], 50, b"3");
    let digests = [
        run(&[one.clone(), two.clone(), three.clone()], 1),
        run(&[two.clone(), one.clone(), three.clone()], 1),
        run(&[one.clone(), three.clone(), two.clone()], 1),
        run(&[one.clone(), two.clone()], 1),
        run(&[], 0),
    ];
    for (i, digest) in digests.iter().enumerate() {
        assert!(!digests[..i].contains(digest), "digest {i}");
    }
    assert_eq!(
        digests[0],
        run(&[one, two, three], 2),
        "how transactions spread over entries does not matter"
    );
}

#[test]
fn where_the_protocol_is_signed_each_owner_must_have_signed() {
    let committee = committee(1, Protocol { signed: true, ..small(3) });
    let testbed = committee.testbed();
    let mut ledger = Ledger::genesis(rules(committee, HERE), 5);
    let genesis_key = Signer::new(&SigningKey::from_bytes(&genesis_secret(&testbed)));
    let other_key = Signer::new(&SigningKey::from_bytes(&[4; 32]));
    let build = |coins: &[(CoinId, u64)], signers: &[&Signer], payload: &[u8]| {
        let mut inputs: Vec<Input> =
            coins.iter().map(|&(coin, amount)| Input { shard: HERE, coin, amount }).collect();
        inputs.sort_unstable();
        let amount = inputs.iter().map(|input| input.amount).sum();
        let mut bytes = Vec::new();
        Transaction {
            inputs: &inputs,
            output_shard: HERE,
            outputs: &[Output { owner: Owner(other_key.public_key()), amount }],
            expiries: &[Expiry { shard: HERE, round: Round(50) }],
            payload,
        }
        .encode_signed_into(&mut bytes, &testbed, |input, message| {
            let at = inputs.iter().position(|other| other == input).unwrap();
            signers[at].sign(message)
        });
        bytes
    };
    let coin = |index| (genesis_coin(&testbed, HERE, index), 100);
    let good = build(&[coin(0), coin(1)], &[&genesis_key, &genesis_key], b"");
    let mut tampered = build(&[coin(2)], &[&genesis_key], b"paid");
    let at = tampered.len() - 64 - 1;
    tampered[at] ^= 1;
    let created = (output_coin(&tx_id(&good), 0), 200);
    let outcome = ledger.execute(
        Round(1),
        lane([payload(&[
            build(&[coin(0), coin(1)], &[&genesis_key, &other_key], b""),
            tampered,
            good,
            build(&[created], &[&genesis_key], b""),
            build(&[created], &[&other_key], b""),
        ])]),
        &no_bodies,
    );
    let outcomes: Vec<Outcome> = outcome.transactions.iter().map(|executed| executed.outcome).collect();
    let not_owner = rejected(Rejection::NotOwner);
    assert_eq!(outcomes, [not_owner, not_owner, FINISHED, not_owner, FINISHED]);
}

#[test]
fn allocated_bytes_are_those_of_coins_and_records() {
    const COINS: u64 = 20_000;
    let mut bench = Bench::new(COINS);
    let coins = bench.ledger.allocated_bytes();
    assert!((40 * COINS..100 * COINS).contains(&(coins as u64)), "{coins} bytes for {COINS} coins");
    let payments: Vec<Vec<u8>> =
        (0..COINS / 2).map(|index| transfer(&[(bench.genesis(index), 100)], 50, b"")).collect();
    bench.block(&payments);
    let grown = (bench.ledger.allocated_bytes() - coins) as u64;
    assert!(
        (40 * COINS / 2..200 * COINS / 2).contains(&grown),
        "{grown} bytes more for half as many records"
    );
}

#[test]
fn an_expiry_too_far_ahead_is_never_rejected_and_may_execute_later() {
    let mut bench = Bench::new(1);
    let coin = bench.genesis(0);
    let bytes = transfer(&[(coin, 100)], 10_003, b"");
    let id = tx_id(&bytes);
    assert_eq!(bench.block(&[&bytes]), [TOO_FAR]);
    assert_eq!(
        (bench.ledger.settled(&id), bench.ledger.remembered()),
        (None, 0),
        "nothing is remembered of it"
    );
    assert_eq!(bench.block(&[&bytes]), [TOO_FAR]);
    assert_eq!(bench.block(&[&bytes]), [FINISHED], "10,000 rounds ahead");
    let never = transfer(&[(output_coin(&id, 0), 100)], u64::MAX, b"");
    assert_eq!(bench.block(&[&never]), [TOO_FAR]);
}

#[test]
fn standing_predicts_the_next_block() {
    let mut bench = Bench::new(4);
    let coins: Vec<CoinId> = (0..4).map(|index| bench.genesis(index)).collect();
    let done = transfer(&[(coins[0], 100)], 50, b"");
    bench.block(&[&done]);
    for (bytes, expected) in [
        (done, Standing::Settled(Settled::Finished, Round(1))),
        (transfer(&[(coins[1], 100)], 2, b""), Standing::Open),
        (transfer(&[(coins[1], 100)], 1, b""), Standing::Never(Cause::Expired)),
        (transfer(&[(coins[1], 100)], 10_002, b""), Standing::Open),
        (transfer(&[(coins[1], 100)], 10_003, b""), Standing::Never(Cause::ExpiryTooFar)),
        (transfer(&[(coins[0], 100)], 50, b"again"), Standing::Never(Cause::Rejected(Rejection::Spent))),
        (transfer(&[(coins[1], 99)], 50, b""), Standing::Never(Cause::Rejected(Rejection::WrongAmount))),
        (transfer(&[(CoinId([9; 32]), 99)], 50, b""), Standing::Open),
        (
            transfer(&[(CoinId([0; 32]), 9), (coins[0], 100)], 50, b""),
            Standing::Never(Cause::Rejected(Rejection::Spent)),
        ),
    ] {
        let view = TransactionView::parse(&bytes).unwrap();
        assert_eq!(bench.ledger.standing(&view.id(), &view), expected);
    }
}

#[test]
fn shards_and_testbeds_start_with_different_coins() {
    let committee = committee(2, small(10));
    let shards = committee.shards();
    assert_eq!(committee.shard_of(NodeId(1)), ShardId(1));
    let dumps =
        (0..shards).map(|shard| Ledger::genesis(rules(committee.clone(), ShardId(shard)), 1).dump_coins());
    let all: Vec<CoinId> = dumps.flat_map(|dump| dump.map(|coin| coin.id)).collect();
    let distinct: std::collections::BTreeSet<CoinId> = all.iter().copied().collect();
    assert_eq!((all.len(), distinct.len()), (20, 20));
}

/// With either rule switched off, one transaction comes to two different ends.
#[cfg(feature = "mutants")]
#[test]
fn without_its_rules_a_transaction_has_two_fates() {
    use crate::mutant::{self, Mutant};

    let run = |mutant| {
        mutant::set(mutant);
        let mut bench = Bench::new(1);
        let parent = transfer(&[(bench.genesis(0), 100)], 50, b"");
        let child = transfer(&[(output_coin(&tx_id(&parent), 0), 100)], 50, b"");
        let outcomes = bench.block(&[&child, &parent, &child, &parent]);
        mutant::set(None);
        outcomes
    };
    let unknown = rejected(Rejection::UnknownCoin);
    assert_eq!(run(None), [unknown, FINISHED, DUPLICATE, DUPLICATE]);
    assert_eq!(run(Some(Mutant::RejectedForGood)), [unknown, FINISHED, FINISHED, DUPLICATE]);
    let spent = rejected(Rejection::Spent);
    assert_eq!(run(Some(Mutant::ExecuteOnce)), [unknown, FINISHED, DUPLICATE, spent]);
}
