//! A run's files, written whole and then tampered with: each change must be found.

use std::fs;

use wire::client::{Exchange, IdSum};
use wire::committee::{Member, Protocol};
use wire::hex;
use wire::ids::Digest;

use super::*;
use crate::load::Finished;
use crate::testing::TestDir;

const ROUNDS: u64 = 5;
const FINISHED: u64 = 10;
const RECEIPTS: Finished = Finished { intra: FINISHED - 1, cross: 1 };

fn committee() -> Committee {
    committee_of(1)
}

fn committee_of(shards: u8) -> Committee {
    let member = |i: u8| Member { public_key: [i; 32], coin_commitment: [0xC0 | i; 32] };
    Committee::new(4, Protocol::default(), (0..4 * shards).map(member).collect(), [9; 32])
}

fn header(round: u64) -> Digest {
    Digest([round as u8; 32])
}

fn line(round: u64) -> String {
    format!(
        "{round},{},{FINISHED},1,2,0,1,0,0,0,4,25000,1,100,50,50,200,10,1700000000000\n",
        hex::encode(&header(round).0)
    )
}

/// The files of four nodes of which node 3 crashed after three rounds, and the record that fits them.
fn write_run(dir: &TestDir) -> Record {
    let record = write_members(dir, ShardId(0));
    record.save(dir.path()).unwrap();
    record
}

/// The files of two such shards. Their blocks are alike, which nothing says they must not be. The first has spent for
/// seven transactions that end in the second: five finished, two were cancelled and refunded.
fn write_run_of_two(dir: &TestDir) -> Record {
    let mut record = write_members(dir, ShardId(0));
    let mut second = write_members(dir, ShardId(1));
    let sum = |count: u64| IdSum { count, sum: u128::from(count) * 1_000 };
    for status in record.nodes.values_mut().flatten() {
        let (shard, spent, closed, refunded) = (ShardId(1), sum(7), sum(5), sum(2));
        status.exchanged =
            vec![Exchange { shard, spent, closed, refunded, value_out: 500, ..Exchange::default() }];
        status.value -= 500;
    }
    for status in second.nodes.values_mut().flatten() {
        let (shard, ticked, finished, cancelled) = (ShardId(0), sum(7), sum(5), sum(2));
        status.exchanged =
            vec![Exchange { shard, ticked, finished, cancelled, value_in: 500, ..Exchange::default() }];
        status.value += 500;
    }
    record.nodes.extend(second.nodes);
    record.receipts.extend(second.receipts);
    record.save(dir.path()).unwrap();
    record
}

fn write_members(dir: &TestDir, shard: ShardId) -> Record {
    let genesis = 200_000 * 1_000;
    let mut record = Record::default();
    let first = 4 * shard.0;
    for (node, id) in (0..4u16).map(|index| (index, first + index)) {
        let rounds = if node == 3 { 3 } else { ROUNDS };
        let mut text = format!("{HEADER}\n");
        (1..=rounds).for_each(|round| text += &line(round));
        if node == 3 {
            // Killed in the middle of a line.
            text += &line(4)[..20];
        }
        fs::write(dir.path().join(format!("rounds-{id}.csv")), text).unwrap();
        // Node 1 told its status one round before it stopped.
        let executed = if node == 1 { ROUNDS - 1 } else { ROUNDS };
        let status = LastStatus {
            executed: Round(executed),
            header: header(executed),
            finished: FINISHED * executed,
            rejected: executed,
            coins: 200_000,
            value: genesis,
            open_records: 0,
            pool: 0,
            parts_open: 0,
            held: 0,
            finished_cross: executed,
            cancelled: 0,
            exchanged: Vec::new(),
        };
        record.nodes.insert(NodeId(id), (node != 3).then_some(status));
    }
    record.receipts = (1..=ROUNDS).map(|round| ((shard, Round(round)), RECEIPTS)).collect();
    record
}

fn check_files(dir: &TestDir) -> Verdict {
    check(dir.path(), &committee(), &Record::load(dir.path()).unwrap()).unwrap()
}

fn edit(dir: &TestDir, file: &str, from: &str, to: &str) {
    let path = dir.path().join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn an_honest_run_is_clean() {
    let dir = TestDir::new();
    let record = write_run(&dir);
    assert_eq!(Record::load(dir.path()), Ok(record));
    let verdict = check_files(&dir);
    assert_eq!(verdict.findings, Vec::<String>::new());
    assert!(verdict.is_clean() && verdict.agreement && verdict.value_conserved);
    assert_eq!((verdict.rounds, verdict.finished, verdict.views), (ROUNDS, ROUNDS * (FINISHED + 1), ROUNDS));
    assert_eq!(verdict.payload_bytes, ROUNDS * 25_000);
}

#[test]
fn a_tampered_header_is_a_disagreement() {
    for (node, round) in [(0, 2), (2, 5), (3, 1)] {
        let dir = TestDir::new();
        write_run(&dir);
        let text = hex::encode(&header(round).0);
        edit(&dir, &format!("rounds-{node}.csv"), &text, &text.replacen('0', "f", 1));
        let verdict = check_files(&dir);
        assert!(!verdict.agreement && !verdict.is_clean());
        assert!(verdict.findings[0].starts_with(&format!("round {round}: ")), "{:?}", verdict.findings);
    }
}

#[test]
fn tampered_counts_are_found() {
    let dir = TestDir::new();
    write_run(&dir);
    edit(&dir, "rounds-1.csv", &format!(",{FINISHED},1,"), ",11,1,");
    let verdict = check_files(&dir);
    assert!(!verdict.agreement);
    assert!(verdict.findings.iter().any(|text| text.contains("node 1 says 40")), "{:?}", verdict.findings);
}

#[test]
fn a_last_status_that_the_file_does_not_bear_out_is_found() {
    let dir = TestDir::new();
    write_run(&dir);
    edit(&dir, "nodes.csv", "2,up,5,", "2,up,9,");
    assert!(check_files(&dir).findings[0].contains("its file lacks it"));

    let dir = TestDir::new();
    write_run(&dir);
    edit(&dir, "nodes.csv", &hex::encode(&header(4).0), &hex::encode(&[0xAB; 32]));
    let verdict = check_files(&dir);
    assert!(!verdict.agreement && verdict.findings[0].contains("node 1 says header"));
}

#[test]
fn money_made_or_lost_is_found() {
    for amount in [199_999_999, 200_000_001] {
        let dir = TestDir::new();
        write_run(&dir);
        edit(&dir, "nodes.csv", ",200000000,", &format!(",{amount},"));
        let verdict = check_files(&dir);
        assert!(!verdict.value_conserved && !verdict.agreement, "others with its header hold something else");
        assert!(verdict.findings[0].contains(&amount.to_string()));
    }
}

#[test]
fn receipts_without_a_block_are_found() {
    let dir = TestDir::new();
    write_run(&dir);
    edit(&dir, "receipts.csv", "0,2,9,1", "0,2,9,2");
    assert!(check_files(&dir).findings[0].contains("2 receipts of cross-shard transactions name height 2"));
    edit(&dir, "receipts.csv", "0,2,9,2", "0,2,9,1");
    edit(&dir, "receipts.csv", "0,3,9", "0,3,11");
    assert!(check_files(&dir).findings[0].contains("11 receipts name height 3"));
    edit(&dir, "receipts.csv", "0,3,11,1", "0,6,1,0");
    assert!(check_files(&dir).findings[0].contains("height 6, which no node has executed"));
    let mut record = Record::load(dir.path()).unwrap();
    record.nodes.values_mut().for_each(|status| *status = None);
    let verdict = check(dir.path(), &committee(), &record).unwrap();
    assert!(verdict.is_clean(), "nobody was left to write it down: {:?}", verdict.findings);
}

#[test]
fn shards_are_judged_apart() {
    let dir = TestDir::new();
    let record = write_run_of_two(&dir);
    let check_both =
        |dir: &TestDir| check(dir.path(), &committee_of(2), &Record::load(dir.path()).unwrap()).unwrap();
    assert_eq!(Record::load(dir.path()), Ok(record));
    let verdict = check_both(&dir);
    assert!(verdict.is_clean(), "{:?}", verdict.findings);
    assert_eq!((verdict.rounds, verdict.finished), (2 * ROUNDS, 2 * ROUNDS * (FINISHED + 1)));
    assert_eq!((verdict.refunds, verdict.exchange_holds), (2, true));
    // Another shard's block of the same height is another block.
    for node in 0..4 {
        let text = hex::encode(&header(2).0);
        edit(&dir, &format!("rounds-{node}.csv"), &text, &text.replace('2', "7"));
    }
    assert!(check_both(&dir).is_clean());
    edit(&dir, "rounds-6.csv", &hex::encode(&header(2).0), &hex::encode(&[0xAB; 32]));
    let verdict = check_both(&dir);
    assert!(!verdict.agreement);
    assert!(verdict.findings[0].starts_with("shard 1: round 2: node 4 tells"), "{:?}", verdict.findings);
    edit(&dir, "receipts.csv", "1,3,9,1", "1,6,1,0");
    assert!(
        check_both(&dir).findings.iter().any(|text| text.starts_with("shard 1: 1 receipts name height 6"))
    );
}

/// The judgement on two shards of which one line of a file was changed, and the first finding.
fn after(file: &str, from: &str, to: &str) -> (Verdict, String) {
    let dir = TestDir::new();
    write_run_of_two(&dir);
    edit(&dir, file, from, to);
    let verdict = check(dir.path(), &committee_of(2), &Record::load(dir.path()).unwrap()).unwrap();
    let first = verdict.findings.first().cloned().unwrap_or_default();
    (verdict, first)
}

#[test]
fn each_broken_identity_between_shards_is_named() {
    // Nodes 0 and 4 tell the books of their shards; a change in both they and node 2 or 6 would have to agree on.
    for (node, from, to, part) in [
        (
            0,
            "7,7000",
            "8,8000",
            "spent is IdSum { count: 8, sum: 8000 } and ticked is IdSum { count: 7, sum: 7000 }",
        ),
        (0, "5,5000", "4,4000", "spent is IdSum { count: 7, sum: 7000 } and closed and refunded is"),
        (0, "2,2000", "2,2001", "refunded is IdSum { count: 2, sum: 2001 } and cancelled is"),
        (4, "7,7000", "7,7001", "ticked is IdSum { count: 7, sum: 7001 }"),
        (
            4,
            "5,5000",
            "6,6000",
            "closed is IdSum { count: 5, sum: 5000 } and finished is IdSum { count: 6, sum: 6000 }",
        ),
        (4, "2,2000", "3,3000", "cancelled is IdSum { count: 3, sum: 3000 }"),
    ] {
        let dir = TestDir::new();
        write_run_of_two(&dir);
        for member in [node, node + 1, node + 2] {
            let text = fs::read_to_string(dir.path().join("exchanges.csv")).unwrap();
            let line = text.lines().find(|line| line.starts_with(&format!("{member},"))).unwrap();
            edit(&dir, "exchanges.csv", line, &line.replace(&format!(",{from},"), &format!(",{to},")));
        }
        let verdict = check(dir.path(), &committee_of(2), &Record::load(dir.path()).unwrap()).unwrap();
        assert!(!verdict.exchange_holds && verdict.value_conserved, "{part}");
        let found = verdict.findings.iter().find(|text| text.contains(part));
        let found = found.unwrap_or_else(|| panic!("{part} in {:?}", verdict.findings));
        assert!(found.starts_with("from shard 0 to shard 1: "), "{found}");
        assert!(found.ends_with("(nodes 0, 2; nodes 4, 6)"), "{found}");
    }
}

#[test]
fn what_one_node_alone_tells_of_the_exchange_is_found() {
    let (verdict, first) = after("exchanges.csv", "6,0,0,0", "6,0,1,1");
    assert!(!verdict.agreement, "{first}");
    assert_eq!(first, "shard 1: nodes 4 and 6 have the same header and other books");
    let (verdict, first) = after("exchanges.csv", ",500,0,0,0", ",501,0,0,0");
    assert!(!verdict.value_conserved);
    assert!(
        first.starts_with("node 0 holds coins worth 199999500 and 0 under open records, 501 went"),
        "{first}"
    );
}

#[test]
fn where_something_is_open_shards_are_not_compared() {
    let dir = TestDir::new();
    let mut record = write_run_of_two(&dir);
    for id in 4..7 {
        let status = record.nodes.get_mut(&NodeId(id)).unwrap().as_mut().unwrap();
        status.pool = 1;
        status.exchanged[0].ticked.add(&wire::ids::TxId([1; 32]));
    }
    let verdict = check(dir.path(), &committee_of(2), &record).unwrap();
    assert!(verdict.is_clean(), "{:?}", verdict.findings);
    assert_eq!(
        verdict.unrest,
        ["shard 1 ended with 0 open records over 0, 1 in its pool and 0 parts that are not acknowledged"]
    );
}

#[test]
fn a_missing_round_and_garbage_are_errors_with_file_and_line() {
    let dir = TestDir::new();
    write_run(&dir);
    edit(&dir, "rounds-0.csv", &line(2), "");
    let record = Record::load(dir.path()).unwrap();
    let error = check(dir.path(), &committee(), &record).unwrap_err().to_string();
    assert!(error.contains("rounds-0.csv, line 3: found '3', expected round 2"), "{error}");
    fs::write(dir.path().join("rounds-0.csv"), "hello\n").unwrap();
    assert!(check(dir.path(), &committee(), &record).unwrap_err().to_string().contains("line 1"));
    fs::remove_file(dir.path().join("rounds-0.csv")).unwrap();
    assert!(check(dir.path(), &committee(), &record).is_err());
}
