//! A run's files, written whole and then tampered with: each change must be found.

use std::fs;

use wire::client::{Exchange, IdSum};
use wire::committee::{Member, Protocol};
use wire::hex;
use wire::ids::{Digest, PartNumber};

use super::*;
use crate::ledger::live::LastLedger;
use crate::load::Finished;
use crate::testing::{TestDir, documented_keys, json_keys};

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

fn line(node: u16, round: u64) -> String {
    line_with(node, round, [0; 3])
}

/// With so many spent, refunded and closed.
fn line_with(node: u16, round: u64, [spent, refunded, closed]: [u64; 3]) -> String {
    format!(
        "{node},{},{round},{},{FINISHED},1,2,{spent},1,0,{refunded},{closed},4,25000,1,2,100,50,50,200,10,1700000000000\n",
        node / 4,
        hex::encode(&header(round).0)
    )
}

/// Verdict on the files of two shards.
fn check_both(dir: &TestDir) -> Verdict {
    check(dir.path(), &committee_of(2), &Record::load(dir.path(), &committee()).unwrap()).unwrap()
}

/// The files of four nodes of which node 3 crashed after three rounds, and the record that fits them.
fn write_run(dir: &TestDir) -> Record {
    let record = write_members(dir, ShardId(0), 1);
    record.save(dir.path(), &committee()).unwrap();
    record
}

/// The files of two such shards. Their blocks are alike, which is not forbidden. The first has spent for
/// seven transactions that end in the second: five finished, two were cancelled and refunded.
fn write_run_of_two(dir: &TestDir) -> Record {
    let mut record = write_members(dir, ShardId(0), 2);
    let mut second = write_members(dir, ShardId(1), 2);
    let sum = |count: u64| IdSum { count, sum: u128::from(count) * 1_000 };
    for status in record.nodes.values_mut().flatten() {
        let (spent, closed, refunded) = (sum(7), sum(5), sum(2));
        let (shard, part_out, part_in) = (ShardId(1), PartNumber(3), PartNumber(4));
        status.exchanged[1] = Exchange {
            shard,
            spent,
            closed,
            refunded,
            part_out,
            part_in,
            value_out: 500,
            ..Exchange::default()
        };
        status.value -= 500;
    }
    for id in 0..4 {
        let path = dir.path().join(format!("rounds-{id}.csv"));
        let text = fs::read_to_string(&path).unwrap();
        let text = text
            .replace(&line(id, 1), &line_with(id, 1, [7, 0, 0]))
            .replace(&line(id, 5), &line_with(id, 5, [0, 2, 5]));
        fs::write(path, text).unwrap();
    }
    for status in second.nodes.values_mut().flatten() {
        let (ticked, finished, cancelled) = (sum(7), sum(5), sum(2));
        let (shard, part_out, part_in) = (ShardId(0), PartNumber(4), PartNumber(3));
        status.exchanged[0] = Exchange {
            shard,
            ticked,
            finished,
            cancelled,
            part_out,
            part_in,
            value_in: 500,
            ..Exchange::default()
        };
        status.value += 500;
    }
    record.nodes.extend(second.nodes);
    record.ledgers.extend(second.ledgers);
    record.receipts.extend(second.receipts);
    record.save(dir.path(), &committee()).unwrap();
    record
}

fn write_members(dir: &TestDir, shard: ShardId, shards: u16) -> Record {
    let genesis = 200_000 * 1_000;
    let committed = u64::from(shards) * ROUNDS * (RECEIPTS.intra + RECEIPTS.cross);
    let clients = Clients {
        ended: Ended::Drained,
        submitted: committed + u64::from(shards) * ROUNDS,
        committed,
        rejected: 0,
        expired: 0,
        refused: 0,
        lost: 0,
        in_flight: 0,
        // In each round one transaction finished whose receipt never left node 3.
        orphaned: u64::from(shards) * ROUNDS,
        cut_off: 0,
        resubmitted: 0,
    };
    let mut record = Record {
        byzantine: Default::default(),
        nodes: BTreeMap::new(),
        ledgers: BTreeMap::new(),
        receipts: BTreeMap::new(),
        clients,
    };
    let first = 4 * shard.0;
    for (node, id) in (0..4u16).map(|index| (index, first + index)) {
        let rounds = if node == 3 { 3 } else { ROUNDS };
        let mut text = format!("{HEADER}\n");
        (1..=rounds).for_each(|round| text += &line(id, round));
        if node == 3 {
            // Killed in the middle of a line.
            text += &line(id, 4)[..20];
        }
        fs::write(dir.path().join(format!("rounds-{id}.csv")), text).unwrap();
        let executed = ROUNDS;
        let status = LastStatus {
            executed: Round(executed),
            header: header(executed),
            finished: FINISHED * executed,
            rejected: executed,
            taken: 10,
            coins: 200_000,
            value: genesis,
            open_records: 0,
            pool: 0,
            parts_open: 0,
            held: 0,
            finished_cross: executed,
            cancelled: 0,
            exchanged: (0..shards)
                .map(|shard| Exchange { shard: ShardId(shard), ..Exchange::default() })
                .collect(),
        };
        record.nodes.insert(NodeId(id), (node != 3).then_some(status));
        let sections = std::array::from_fn(|section| Digest([section as u8; 32]));
        let ledger = LastLedger { height: Round(executed), sections, differs: String::new() };
        record.ledgers.insert(NodeId(id), (node != 3).then_some(ledger));
    }
    record.receipts = (1..=ROUNDS).map(|round| ((shard, Round(round)), RECEIPTS)).collect();
    record
}

fn check_files(dir: &TestDir) -> Verdict {
    check(dir.path(), &committee(), &Record::load(dir.path(), &committee()).unwrap()).unwrap()
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
    assert_eq!(Record::load(dir.path(), &committee()), Ok(record));
    let verdict = check_files(&dir);
    assert_eq!(verdict.findings, Vec::<String>::new());
    assert!(verdict.is_clean());
    assert_eq!((verdict.rounds, verdict.finished, verdict.views), (ROUNDS, ROUNDS * (FINISHED + 1), ROUNDS));
    assert_eq!(verdict.payload_bytes, ROUNDS * 25_000);
    assert_eq!(verdict.remarks, ["node 3, not up as a member at the end: judged by its blocks alone"]);
    let names = json_keys(&verdict.to_json(&committee()), &[]);
    assert_eq!(names, documented_keys("`verdict.json`"), "docs/files.md");
    // Without its file nothing shows that the node was ever there.
    fs::remove_file(dir.path().join("rounds-3.csv")).unwrap();
    let verdict = check_files(&dir);
    assert_eq!(verdict.remarks, ["node 3, down all the time: no block, nothing judged"]);
    assert!(verdict.is_clean(), "the others are a quorum");
}

#[test]
fn a_tampered_header_is_a_disagreement() {
    for (node, round) in [(0, 2), (2, 5), (3, 1)] {
        let dir = TestDir::new();
        write_run(&dir);
        let text = hex::encode(&header(round).0);
        edit(&dir, &format!("rounds-{node}.csv"), &text, &text.replacen('0', "f", 1));
        let verdict = check_files(&dir);
        assert!(verdict.agreement == Judgement::False && !verdict.is_clean());
        assert!(verdict.findings[0].starts_with(&format!("round {round}: ")), "{:?}", verdict.findings);
    }
}

#[test]
fn tampered_counts_are_found() {
    let dir = TestDir::new();
    write_run(&dir);
    edit(&dir, "rounds-1.csv", &format!(",{FINISHED},1,"), ",11,1,");
    let verdict = check_files(&dir);
    assert_eq!(verdict.agreement, Judgement::False);
    assert!(verdict.findings.iter().any(|text| text.contains("node 1 reports 50")), "{:?}", verdict.findings);
}

#[test]
fn a_last_status_that_the_file_does_not_bear_out_is_found() {
    let dir = TestDir::new();
    write_run(&dir);
    edit(&dir, "nodes.csv", "2,0,up,5,", "2,0,up,9,");
    assert!(check_files(&dir).findings[0].contains("its file lacks it"));

    let dir = TestDir::new();
    write_run(&dir);
    edit(&dir, "nodes.csv", &hex::encode(&header(5).0), &hex::encode(&[0xAB; 32]));
    let verdict = check_files(&dir);
    assert!(verdict.agreement == Judgement::False && verdict.findings[0].contains("node 0 reports header"));
}

#[test]
fn another_ledger_at_the_same_height_is_found() {
    let run = |change: &dyn Fn(&mut Record)| {
        let dir = TestDir::new();
        let mut record = write_run_of_two(&dir);
        change(&mut record);
        record.save(dir.path(), &committee_of(2)).unwrap();
        check_both(&dir)
    };
    fn ledger(record: &mut Record, node: u16) -> &mut LastLedger {
        record.ledgers.get_mut(&NodeId(node)).unwrap().as_mut().unwrap()
    }
    assert!(run(&|_| {}).is_clean());
    let verdict = run(&|record| {
        ledger(record, 4).sections[0].0[31] ^= 1;
        ledger(record, 4).sections[4].0[0] ^= 1;
        ledger(record, 4).differs = "node 5 has a coin; node 4 has not".into();
    });
    assert_eq!(verdict.agreement, Judgement::False);
    assert_eq!(
        verdict.findings,
        [
            "shard 1: at height 5 the ledger of node 4 is not that of nodes 5-6: it differs in unspent coins, pool; first: \
          node 5 has a coin; node 4 has not"
        ]
    );

    // What was not compared is not judged, unless the run was cut off.
    let ahead = |record: &mut Record| ledger(record, 0).height = Round(6);
    let why = "shard 0: ledgers are of heights 5 (nodes 1-2), 6 (node 0)";
    assert_eq!(run(&ahead).agreement, Judgement::NotJudged(why.into()));
    let silent = |record: &mut Record| *record.ledgers.get_mut(&NodeId(1)).unwrap() = None;
    let why = "shard 0: node 1 did not add up the ledger in time";
    assert_eq!(run(&silent).agreement, Judgement::NotJudged(why.into()));
    let verdict = run(&|record| {
        silent(record);
        record.clients.ended = Ended::Interrupted;
    });
    assert!(verdict.agreement == Judgement::True && verdict.remarks.contains(&why.into()), "{verdict:?}");

    let verdict = run(&|record| ledger(record, 0).height = Round(4));
    assert!(verdict.findings[0].contains("reported height 5 and then a ledger of height 4"), "{verdict:?}");
    let verdict = run(&|record| drop(record.ledgers.remove(&NodeId(6))));
    assert_eq!(verdict.findings, ["ledgers.csv has no line of node 6"]);
}

#[test]
fn money_made_or_lost_is_found() {
    for amount in [199_999_999, 200_000_001] {
        let dir = TestDir::new();
        write_run(&dir);
        edit(&dir, "nodes.csv", ",200000000,", &format!(",{amount},"));
        let verdict = check_files(&dir);
        assert_eq!(verdict.value_conserved, Judgement::False);
        assert_eq!(verdict.agreement, Judgement::False, "others with its header hold something else");
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
    edit(&dir, "receipts.csv", "0,3,11,1\n", "");
    let missing = &check_files(&dir).findings;
    assert_eq!(missing[0], "clients got 40 receipts, but count 50 as committed");
    assert_eq!(missing[1], "15 transactions have finished without a receipt, but clients have 5 open");

    let dir = TestDir::new();
    write_run(&dir);
    edit(&dir, "receipts.csv", "0,5,9,1", "0,6,9,1");
    assert!(check_files(&dir).findings[0].contains("height 6, which no node has executed"));
    let mut record = Record::load(dir.path(), &committee()).unwrap();
    record.nodes.values_mut().for_each(|status| *status = None);
    let verdict = check(dir.path(), &committee(), &record).unwrap();
    let why = "not judged: no member was up at the end";
    assert_eq!(
        (verdict.agreement.to_string(), verdict.value_conserved.to_string()),
        (why.into(), why.into())
    );
    let receipts = verdict.receipts_hold.to_string();
    assert_eq!(receipts, "not judged: 10 receipts name heights after 5, the last that a member wrote");
}

#[test]
fn shards_are_judged_apart() {
    let dir = TestDir::new();
    let record = write_run_of_two(&dir);
    assert_eq!(Record::load(dir.path(), &committee()), Ok(record));
    let verdict = check_both(&dir);
    assert!(verdict.is_clean(), "{:?}", verdict.findings);
    assert_eq!((verdict.rounds, verdict.finished), (2 * ROUNDS, 2 * ROUNDS * (FINISHED + 1)));
    assert_eq!((verdict.refunds, verdict.exchange_holds), (2, Judgement::True));
    // Another shard's block of the same height is another block.
    for node in 0..4 {
        let text = hex::encode(&header(2).0);
        edit(&dir, &format!("rounds-{node}.csv"), &text, &text.replace('2', "7"));
    }
    assert!(check_both(&dir).is_clean());
    edit(&dir, "rounds-6.csv", &hex::encode(&header(2).0), &hex::encode(&[0xAB; 32]));
    let verdict = check_both(&dir);
    assert_eq!(verdict.agreement, Judgement::False);
    assert!(verdict.findings[0].starts_with("shard 1: round 2: node 4 has"), "{:?}", verdict.findings);
    edit(&dir, "receipts.csv", "1,5,9,1", "1,6,9,1");
    assert!(
        check_both(&dir).findings.iter().any(|text| text.starts_with("shard 1: 10 receipts name height 6"))
    );
}

/// The judgement on two shards of which one line of a file was changed, and the first finding.
fn after(file: &str, from: &str, to: &str) -> (Verdict, String) {
    let dir = TestDir::new();
    write_run_of_two(&dir);
    edit(&dir, file, from, to);
    let verdict = check_both(&dir);
    let first = verdict.findings.first().cloned().unwrap_or_default();
    (verdict, first)
}

#[test]
fn each_broken_identity_between_shards_is_named() {
    // A change in the books of a shard, on which its members agree.
    for (node, from, to, part) in [
        (0, "7,7000", "8,8000", "spent is 8 (ids add up to 8000) and ticked is 7 (ids add up to 7000)"),
        (0, "5,5000", "5,5001", "finished is 5 (ids add up to 5000) and closed is 5 (ids add up to 5001)"),
        (0, "2,2000", "2,2001", "cancelled is 2 (ids add up to 2000) and refunded is 2 (ids add up to 2001)"),
        (4, "7,7000", "7,7001", "ticked is 7 (ids add up to 7001)"),
        (4, "5,5000", "6,6000", "finished is 6 (ids add up to 6000) and closed is 5 (ids add up to 5000)"),
        (4, "2,2000", "3,3000", "cancelled is 3 (ids add up to 3000)"),
    ] {
        let dir = TestDir::new();
        write_run_of_two(&dir);
        edit_books(&dir, node, &format!(",{from},"), &format!(",{to},"));
        let verdict = check_both(&dir);
        assert_eq!(verdict.exchange_holds, Judgement::False, "{part}");
        assert_eq!(verdict.value_conserved, Judgement::True, "{part}");
        let is_it = |text: &&String| text.starts_with("from shard 0 to shard 1: ") && text.contains(part);
        let found = verdict.findings.iter().find(is_it);
        let found = found.unwrap_or_else(|| panic!("{part} in {:?}", verdict.findings));
        assert!(found.ends_with("(nodes 0-2; nodes 4-6)"), "{found}");
    }
}

/// Changes what three members of a shard report of their exchange with the other.
fn edit_books(dir: &TestDir, first: u16, from: &str, to: &str) {
    for member in first..first + 3 {
        let text = fs::read_to_string(dir.path().join("exchanges.csv")).unwrap();
        let other = u16::from(first == 0);
        let line =
            text.lines().find(|line| line.starts_with(&format!("{member},{},{other},", 1 - other))).unwrap();
        assert!(line.contains(from), "{from} in {line}");
        edit(dir, "exchanges.csv", line, &line.replace(from, to));
    }
}

#[test]
fn an_exchange_that_one_node_alone_reports_is_found() {
    let (verdict, first) = after("exchanges.csv", "6,1,0,0,0", "6,1,0,1,1");
    assert_eq!(verdict.agreement, Judgement::False, "{first}");
    assert!(verdict.findings.contains(&"shard 1: nodes 4 and 6 have the same header and other books".into()));
    let (verdict, first) = after("exchanges.csv", ",500,0,3,4", ",501,0,3,4");
    assert_eq!(verdict.value_conserved, Judgement::False);
    assert!(
        first.starts_with("node 0 holds coins worth 199999500 and 0 under open records, 501 went"),
        "{first}"
    );
}

#[test]
fn where_parts_are_on_their_way_shards_are_compared_by_bounds() {
    let dir = TestDir::new();
    let mut record = write_run_of_two(&dir);
    // The last part of shard 1, which closes one record over 100, has not arrived.
    for id in 0..3 {
        let status = record.nodes.get_mut(&NodeId(id)).unwrap().as_mut().unwrap();
        (status.open_records, status.held) = (1, 100);
        let exchange = &mut status.exchanged[1];
        (exchange.part_in, exchange.value_out) = (PartNumber(3), 400);
        exchange.closed = IdSum { count: 4, sum: 4_000 };
        edit(&dir, &format!("rounds-{id}.csv"), &line_with(id, 5, [0, 2, 5]), &line_with(id, 5, [0, 2, 4]));
    }
    let save_and_check = |record: &Record| {
        record.save(dir.path(), &committee()).unwrap();
        check_both(&dir)
    };
    let open = "shard 0 ended with 1 open records over 100 and 0 in its pool";
    let verdict = save_and_check(&record);
    assert_eq!(verdict.findings, [open], "a run that was drained leaves nothing open");
    record.clients.ended = Ended::NoQuorum;
    let verdict = save_and_check(&record);
    assert_eq!((verdict.findings.len(), verdict.unrest.as_slice()), (0, [open.to_string()].as_slice()));
    let why = "not judged: of 4 parts of shard 1 shard 0 had executed 3 at the end; compared by bounds";
    assert_eq!(
        (verdict.exchange_holds.to_string(), verdict.value_conserved.to_string(), verdict.is_clean()),
        (why.into(), why.into(), false)
    );

    // Shard 1 mints: its own books are in order, and shard 0 holds no such record.
    for id in 4..7 {
        let status = record.nodes.get_mut(&NodeId(id)).unwrap().as_mut().unwrap();
        status.value += 1_000_000_000;
        status.exchanged[0].value_in += 1_000_000_000;
    }
    let verdict = save_and_check(&record);
    assert_eq!((verdict.value_conserved, verdict.exchange_holds), (Judgement::False, Judgement::False));
    let what = "from shard 0 to shard 1: value in is 1000000500 and value out is 400 (nodes 0-2; nodes 4-6)";
    assert_eq!(verdict.findings, [what]);
}

#[test]
fn a_shard_of_which_nobody_is_left_is_not_judged() {
    let dir = TestDir::new();
    let mut record = write_run_of_two(&dir);
    record.clients.ended = Ended::NoQuorum;
    for id in 4..8 {
        record.nodes.insert(NodeId(id), None);
        record.ledgers.insert(NodeId(id), None);
    }
    // Its nodes were killed before they wrote the last line, for which the clients have receipts.
    for id in 4..7 {
        edit(&dir, &format!("rounds-{id}.csv"), &line(id, 5), "");
    }
    let verdict = check(dir.path(), &committee_of(2), &record).unwrap();
    assert_eq!(verdict.findings, Vec::<String>::new());
    let why = "not judged: shard 1: no member was up at the end";
    assert_eq!(
        [&verdict.agreement, &verdict.value_conserved, &verdict.exchange_holds].map(|one| one.to_string()),
        [why; 3]
    );
    let receipts = "not judged: shard 1: 10 receipts name heights after 4, the last that a member wrote";
    assert_eq!(verdict.receipts_hold.to_string(), receipts);
}

#[test]
fn after_a_drained_run_all_members_stand_at_one_height() {
    let dir = TestDir::new();
    let mut record = write_run(&dir);
    let status = record.nodes.get_mut(&NodeId(1)).unwrap().as_mut().unwrap();
    (status.executed, status.header) = (Round(4), header(4));
    (status.finished, status.rejected, status.finished_cross) = (40, 4, 4);
    let verdict = check(dir.path(), &committee(), &record).unwrap();
    assert_eq!(verdict.findings, ["node 1 was up and stood at height 4, node 0 at 5"]);
    record.clients.ended = Ended::Interrupted;
    assert!(check(dir.path(), &committee(), &record).unwrap().is_clean(), "it was stopped on its way");
}

#[test]
fn what_other_clients_handed_in_has_receipts_elsewhere() {
    let dir = TestDir::new();
    let mut record = write_run(&dir);
    record.clients.orphaned -= 3;
    record.clients.submitted -= 3;
    let check = |record: &Record| check(dir.path(), &committee(), record).unwrap();
    let missing = "5 transactions have finished without a receipt, but clients have 2 open";
    assert_eq!(check(&record).findings, [missing]);
    record.clients.cut_off = 1;
    let cut_off = "not judged: an earlier load was cut off, and nodes that are down do not report how much of it they took";
    assert_eq!(check(&record).receipts_hold.to_string(), cut_off);
    record.clients.cut_off = 0;
    record.nodes.get_mut(&NodeId(0)).unwrap().as_mut().unwrap().taken = 52 - 20 + 3;
    let why = "not judged: other clients took part, and nodes that are down do not report with how much";
    assert_eq!(check(&record).receipts_hold.to_string(), why);
    record.clients.resubmitted = 1_000;
    assert_eq!(check(&record).findings, Vec::<String>::new(), "the load may have handed them in twice");
    record.clients.resubmitted = 0;
    let three = record.nodes[&NodeId(2)].clone();
    record.nodes.insert(NodeId(3), three);
    record.ledgers.insert(NodeId(3), record.ledgers[&NodeId(2)].clone());
    let text = fs::read_to_string(dir.path().join("rounds-2.csv")).unwrap();
    fs::write(dir.path().join("rounds-3.csv"), text.replace("\n2,", "\n3,")).unwrap();
    record.nodes.get_mut(&NodeId(0)).unwrap().as_mut().unwrap().taken = 52 - 30 + 2;
    assert_eq!(check(&record).findings, [missing], "two of them are others'");
    record.nodes.get_mut(&NodeId(0)).unwrap().as_mut().unwrap().taken += 1;
    assert!(check(&record).is_clean());
    record.clients.submitted += 1;
    record.clients.refused += 1;
    assert!(check(&record).is_clean(), "a refused transaction was not taken, so all three are still others'");
}

#[test]
fn every_member_has_a_line_and_every_receipt_a_shard() {
    let dir = TestDir::new();
    let mut record = write_run(&dir);
    let one = record.nodes.remove(&NodeId(1)).unwrap();
    let verdict = check(dir.path(), &committee(), &record).unwrap();
    assert_eq!(verdict.findings, ["nodes.csv has no line of node 1"]);
    record.nodes.insert(NodeId(1), one);
    record.nodes.insert(NodeId(4), None);
    let verdict = check(dir.path(), &committee(), &record).unwrap();
    assert_eq!(verdict.findings, ["nodes.csv has a line of node 4, which is not in the committee"]);
    record.nodes.remove(&NodeId(4));
    let moved = record.receipts.remove(&(ShardId(0), Round(5))).unwrap();
    record.receipts.insert((ShardId(3), Round(5)), moved);
    let verdict = check(dir.path(), &committee(), &record).unwrap();
    assert_eq!(verdict.findings, ["receipts name height 5 of shard 3, which is no block"]);
}

#[test]
fn a_missing_round_and_garbage_are_errors_with_file_and_line() {
    let dir = TestDir::new();
    write_run(&dir);
    edit(&dir, "rounds-0.csv", &line(0, 2), "");
    let record = Record::load(dir.path(), &committee()).unwrap();
    let error = check(dir.path(), &committee(), &record).unwrap_err().to_string();
    assert!(error.contains("rounds-0.csv, line 3: found '3', expected round 2"), "{error}");
    fs::copy(dir.path().join("rounds-1.csv"), dir.path().join("rounds-0.csv")).unwrap();
    let error = check(dir.path(), &committee(), &record).unwrap_err().to_string();
    assert!(error.contains("rounds-0.csv, line 2: found '1,0,1,"), "the file of another node: {error}");
    let columns = rounds::HEADER.replace(",views,", ",colour,views,");
    for (first, expected) in [
        ("hello\n", "line 1: found 'hello', expected 'node' as column 1 of"),
        ("node,shard\n", "line 1: found '', expected 'round' as column 3 of"),
        ("", "line 1: found '', expected 'node' as column 1 of"),
        (&(columns + "\n"), "line 1: found 'colour', expected 'views' as column 15 of"),
    ] {
        fs::write(dir.path().join("rounds-0.csv"), first).unwrap();
        let error = check(dir.path(), &committee(), &record).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    fs::remove_file(dir.path().join("rounds-0.csv")).unwrap();
    assert!(check(dir.path(), &committee(), &record).is_err());
}

#[test]
fn what_a_byzantine_node_wrote_is_not_judged() {
    let dir = TestDir::new();
    let mut record = write_run(&dir);
    let path = dir.path().join("rounds-3.csv");
    for text in ["all is lost\n".to_string(), fs::read_to_string(&path).unwrap().replace(&line(3, 2), "")] {
        fs::write(&path, text).unwrap();
        record.byzantine.clear();
        record.save(dir.path(), &committee()).unwrap();
        let verdict = check(dir.path(), &committee(), &record);
        assert!(verdict.is_err() || !verdict.unwrap().is_clean(), "of an honest one it would count");
        record.byzantine.insert(NodeId(3));
        record.save(dir.path(), &committee()).unwrap();
        let read = Record::load(dir.path(), &committee()).unwrap();
        assert_eq!(read, record);
        let verdict = check(dir.path(), &committee(), &read).unwrap();
        assert!(verdict.is_clean(), "{:?}", verdict.findings);
        assert_eq!(verdict.remarks, ["node 3, Byzantine: nothing of it judged"]);
    }
}
