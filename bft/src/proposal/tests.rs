use std::sync::Arc;

use wire::committee::{Committee, Member, Protocol};
use wire::ids::{CoinId, NodeId, Round};
use wire::limits::REJECTS_PER_MESSAGE_MAX;

use super::*;
use crate::crypto::hash_suite::HashSuite;
use crate::crypto::suite::{Statement, Suite};
use crate::transaction::{Expiry, Input, Output, Owner, Transaction};

/// The rules at a member of shard 0.
fn rules(n: u16, shards: u16, proposal_bytes_max: u64) -> Rules {
    let member = Member { public_key: [1; 32], coin_commitment: [2; 32] };
    let protocol = Protocol { proposal_bytes_max, ..Protocol::default() };
    let members = vec![member; usize::from(n * shards)];
    let committee = Arc::new(Committee::new(n, protocol, members, [3; 32]));
    let suite = Arc::new(HashSuite::new(&committee, NodeId(0), 9));
    Rules::new(&crate::member::Member::new(committee, suite, NodeId(0)))
}

fn transaction(coin: u8, amount: u64) -> Vec<u8> {
    Transaction {
        inputs: &[Input { shard: ShardId(0), coin: CoinId([coin; 32]), amount }],
        output_shard: ShardId(0),
        outputs: &[Output { owner: Owner([0; 32]), amount }],
        expiries: &[Expiry { shard: ShardId(0), round: Round(9) }],
        payload: &vec![coin; usize::from(coin)],
    }
    .encode()
}

fn payload(transactions: &[Vec<u8>]) -> Vec<u8> {
    let mut builder = ProposalBuilder::new(Vec::new(), 1 << 20, 100);
    for transaction in transactions {
        assert_eq!(builder.push(transaction), Push::Added);
    }
    builder.finish()
}

#[test]
fn a_view_returns_the_built_transactions() {
    let transactions: Vec<Vec<u8>> = (0..5).map(|coin| transaction(coin, 1)).collect();
    let payload = payload(&transactions);
    let view = rules(1, 1, 1 << 20).validate(&payload).unwrap();
    assert_eq!((view.len(), view.is_empty()), (5, false));
    assert_eq!(view.transactions().map(|view| view.bytes().to_vec()).collect::<Vec<_>>(), transactions);
}

#[test]
fn empty_payloads_are_valid() {
    let rules = rules(1, 1, 1 << 20);
    for bytes in [&payload(&[])[..], &[0], &[1, TRANSACTIONS, 4, 0, 0, 0, 0, 0, 0, 0]] {
        let view = rules.validate(bytes).unwrap();
        assert_eq!((view.is_empty(), view.transactions().count()), (true, 0));
    }
}

#[test]
fn a_builder_stops_at_its_limits() {
    let item = transaction(0, 1);
    let two = 1 + LIST_ENVELOPE_BYTES + 2 * list::item_bytes(item.len());
    for (bytes_max, count_max, fit) in [(two, 10, 2), (two - 1, 10, 1), (1 << 20, 3, 3), (1 << 20, 0, 0)] {
        let mut builder = ProposalBuilder::new(b"before".to_vec(), bytes_max, count_max);
        builder.reserve(1 << 30);
        let added = (0..10).take_while(|_| builder.push(&item) == Push::Added).count();
        assert_eq!((added, builder.count(), builder.is_full()), (fit, fit, true));
        let buffer = builder.finish();
        let payload = buffer.strip_prefix(b"before").expect("what was there stays");
        assert!(payload.len() <= bytes_max);
        assert_eq!(rules(1, 1, 1 << 20).validate(payload).unwrap().len(), fit);
    }
}

#[test]
fn each_rule_refuses_what_breaks_it() {
    let good = payload(&[transaction(1, 1), transaction(2, 1)]);
    let generous = rules(1, 1, 1 << 20);
    assert!(rules(1, 1, good.len() as u64).validate(&good).is_ok());
    assert_eq!(rules(1, 1, good.len() as u64 - 1).validate(&good), Err(Invalid::TooLarge));
    for end in 0..good.len() {
        assert!(generous.validate(&good[..end]).is_err(), "cut off at {end}");
    }
    assert_eq!(generous.validate(&[&good[..], &[0]].concat()), Err(Invalid::Sections));
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    assert_eq!(generous.validate(&changed(1, 9)), Err(Invalid::UnknownSection(9)));
    assert_eq!(generous.validate(&changed(1, 1)), Err(Invalid::Imports), "no imports by their length");
    assert_eq!(generous.validate(&changed(1, 2)), Err(Invalid::Cancels), "no ids by their length");
    assert_eq!(generous.validate(&changed(1, 0)), Err(Invalid::Sections));
    assert_eq!(generous.validate(&changed(6, 1)), Err(Invalid::List), "fewer than there are");
    assert_eq!(generous.validate(&changed(6, 3)), Err(Invalid::List), "more than there are");
    assert_eq!(generous.validate(&changed(13, 0xFF)), Err(Invalid::List), "an item of 4 GiB");
    let twice = [&[2], &good[1..], &good[1..]].concat();
    assert_eq!(generous.validate(&twice), Err(Invalid::Sections), "a section twice");
    let bad = payload(&[transaction(1, 1), transaction(2, 0)]);
    assert_eq!(
        generous.validate(&bad),
        Err(Invalid::Transaction(1, transaction::Invalid::ZeroAmount)),
        "one bad transaction makes the entry invalid"
    );
}

/// Suites of all members of shard 0, and a part from shard 1 with N−f of their SIGNs.
fn import(number: u64, signers: &[u16], shards: u16) -> Import {
    let member = Member { public_key: [1; 32], coin_commitment: [2; 32] };
    let protocol = Protocol { proposal_bytes_max: 1 << 20, ..Protocol::default() };
    let committee = Committee::new(4, protocol, vec![member; usize::from(4 * shards)], [3; 32]);
    let source = ShardId(u16::from(shards > 1));
    let part = PartRef { source, number: PartNumber(number), digest: Digest([number as u8; 32]) };
    let sign = |index: &u16| {
        let suite = HashSuite::new(&committee, NodeId(*index), 9);
        (Index(*index), suite.sign(&Statement::Part(part)))
    };
    Import { part, certificate: Certificate(signers.iter().map(sign).collect()) }
}

fn importing(imports: &[Import], cancels: &[TxId], transactions: &[Vec<u8>]) -> Vec<u8> {
    let mut builder = ProposalBuilder::new(Vec::new(), 1 << 20, 100);
    assert!(builder.is_empty());
    imports.iter().for_each(|import| assert_eq!(builder.push_import(import), Push::Added));
    cancels.iter().for_each(|id| assert_eq!(builder.push_cancel(*id), Push::Added));
    transactions.iter().for_each(|bytes| assert_eq!(builder.push(bytes), Push::Added));
    assert_eq!((builder.is_empty(), builder.count()), (false, transactions.len()));
    builder.finish()
}

#[test]
fn a_view_returns_imports_and_cancels() {
    let imports = [import(1, &[0, 1, 2], 2), import(7, &[0, 1, 3], 2)];
    let cancels = [TxId([1; 32]), TxId([2; 32])];
    let transactions = [transaction(1, 1), transaction(2, 2)];
    let rules = rules(4, 2, 1 << 20);
    for kinds in 1..8 {
        let of = |bit: usize, all: usize| if kinds & bit == 0 { 0 } else { all };
        let (imports, cancels) = (&imports[..of(1, 2)], &cancels[..of(2, 2)]);
        let transactions = &transactions[..of(4, 2)];
        let payload = importing(imports, cancels, transactions);
        let view = rules.validate(&payload).unwrap();
        assert_eq!(view.imports().collect::<Vec<_>>(), imports);
        assert!(view.parts().eq(imports.iter().map(|import| import.part)));
        assert_eq!(view.cancels().collect::<Vec<_>>(), cancels);
        assert!(view.transactions().map(|view| view.bytes().to_vec()).eq(transactions.iter().cloned()));
        assert!(rules.imports(&payload).iter().eq(imports.iter().map(|import| &import.part)));
        for end in 0..payload.len() {
            assert!(rules.validate(&payload[..end]).is_err(), "cut off at {end}");
        }
    }
}

#[test]
fn imports_and_cancels_fill_a_payload_no_further_than_its_limit() {
    let one = import(1, &[0, 1, 2], 2);
    let bytes_max = importing(std::slice::from_ref(&one), &[TxId([1; 32])], &[]).len();
    for (bytes_max, imported, cancelled) in [
        (bytes_max, Push::Added, Push::Added),
        (bytes_max - 1, Push::Added, Push::Full),
        (20, Push::Full, Push::Full),
    ] {
        let mut builder = ProposalBuilder::new(b"before".to_vec(), bytes_max, 10);
        assert_eq!(builder.push_import(&one), imported);
        assert_eq!(builder.push_cancel(TxId([1; 32])), cancelled);
        assert_eq!(builder.push(&transaction(1, 1)), Push::Full);
        assert!(builder.finish().len() <= 6 + bytes_max);
    }
    let mut builder = ProposalBuilder::new(Vec::new(), 1 << 20, 10);
    for number in 0..REJECTS_PER_MESSAGE_MAX {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(number as u64).to_be_bytes());
        assert_eq!(builder.push_cancel(TxId(id)), Push::Added);
    }
    assert_eq!(builder.push_cancel(TxId([9; 32])), Push::Full);
    assert!(rules(1, 1, 1 << 20).validate(&builder.finish()).is_ok());
}

#[test]
fn each_rule_of_imports_and_cancels_refuses_what_breaks_it() {
    let two_shards = rules(4, 2, 1 << 20);
    let judge = |imports: &[Import], cancels: &[TxId]| {
        two_shards.validate(&importing(imports, cancels, &[])).map(|view| view.imports().len())
    };
    let good = import(1, &[0, 1, 2], 2);
    assert_eq!(judge(&[good.clone(), import(2, &[1, 2, 3], 2)], &[]), Ok(2));
    assert_eq!(judge(&[good.clone(), good.clone()], &[]), Err(Invalid::ImportOrder(1)), "twice");
    assert_eq!(judge(&[import(2, &[0, 1, 2], 2), good.clone()], &[]), Err(Invalid::ImportOrder(1)));
    assert_eq!(judge(&[import(0, &[0, 1, 2], 2)], &[]), Err(Invalid::ImportOrder(0)), "no number");
    assert_eq!(judge(&[import(1, &[0, 1, 2], 1)], &[]), Err(Invalid::ImportOrder(0)), "from ourselves");
    let mut nowhere = good.clone();
    nowhere.part.source = ShardId(2);
    assert_eq!(judge(&[nowhere], &[]), Err(Invalid::ImportOrder(0)), "a shard that is not there");
    let spoilt = importing(std::slice::from_ref(&good), &[], &[transaction(1, 0)]);
    assert!(two_shards.validate(&spoilt).is_err());
    assert_eq!(two_shards.imports(&spoilt), [good.part]);
    let mut altered = good.clone();
    altered.part.digest = Digest([9; 32]);
    assert_eq!(judge(&[altered], &[]), Err(Invalid::ImportCertificate(0)));
    assert_eq!(
        judge(&[import(1, &[0, 0, 1], 2)], &[]),
        Err(Invalid::ImportCertificate(0)),
        "one signer twice"
    );
    assert_eq!(judge(&[import(1, &[0, 1], 2)], &[]), Err(Invalid::Imports), "too few by their length");
    let many: Vec<Import> = (1..=65).map(|number| import(number, &[0, 1, 2], 2)).collect();
    assert_eq!(judge(&many, &[]), Err(Invalid::Imports), "more than may be under way");
    assert_eq!(judge(&many[..64], &[]), Ok(64));
    let (low, high) = (TxId([1; 32]), TxId([2; 32]));
    assert_eq!(judge(&[], &[low, high]), Ok(0));
    assert_eq!(judge(&[], &[high, low]), Err(Invalid::Cancels));
    assert_eq!(judge(&[], &[low, low]), Err(Invalid::Cancels));
    assert_eq!(
        rules(4, 1, 1 << 20).validate(&importing(&[good], &[], &[])),
        Err(Invalid::Imports),
        "one shard"
    );
}

/// Without the rule any bytes would be executed as a part.
#[cfg(feature = "mutants")]
#[test]
fn without_its_rule_an_import_needs_no_certificate() {
    use crate::mutant::{Mutant, set};

    let rules = rules(4, 2, 1 << 20);
    let payload = importing(&[import(1, &[0, 0, 0], 2)], &[], &[]);
    assert_eq!(rules.validate(&payload), Err(Invalid::ImportCertificate(0)));
    set(Some(Mutant::ImportNeedsCertificate));
    let judged = rules.validate(&payload).map(|view| view.imports().len());
    set(None);
    assert_eq!(judged, Ok(1));
}
