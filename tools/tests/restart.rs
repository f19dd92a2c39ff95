//! Nodes that are killed and started again from their journals, in real runs.

mod place;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use place::{Place, Running, TOOLS, eventually, is_alive, signal, text};

/// The starts that a node's log tells of, the first one not counted.
fn starts(place: &Place, node: u16) -> usize {
    place.log(node).matches(" goes on from its journal, start ").count()
}

#[test]
fn restarted_nodes_go_on_and_nothing_is_lost() {
    let place = Place::new();
    let output = place.local(
        "--nodes 4 --duration 6 --rate 300 \
         --faults restart:1@1,crash:3@2,restart:3@3,restart:0-3@4",
    );
    place.assert_all_well(&output);
    assert_eq!(place.summary("peer_faults"), "{}", "no restarted node contradicts itself");
    assert_eq!([0, 1, 2, 3].map(|node| starts(&place, node)), [1, 2, 1, 2], "{}", text(&output));
    let shown = text(&output);
    assert!(shown.contains("fault: restart:0-3@4") && shown.contains("node 1, restarted at 1."), "{shown}");
    assert_eq!(place.read("log/summary.json").matches("\"answered_s\"").count(), 6);
    // Each file has a line for each round, whatever was in the buffers of the killed.
    for node in 0..4 {
        let rounds = place.read(&format!("log/rounds-{node}.csv"));
        assert_eq!(rounds.lines().count() as u64, 1 + place.last_height(node), "node {node}");
    }
    let replayed = place.command("replay", "").output().unwrap();
    assert_eq!(replayed.status.code(), Some(0), "through all starts: {}", text(&replayed));
}

#[test]
fn shards_go_on_after_restarts_with_their_value() {
    let place = Place::new();
    let output = place.local(
        "--nodes 4 --shards 2 --duration 6 --rate 200 --cross 0.5 --durability power \
         --faults restart:1+5@1,restart:1+4@2.5,restart:0-7@4",
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    for field in ["agreement", "value_conserved", "exchange_holds", "receipts_hold"] {
        assert_eq!(place.summary(field), "true", "{}", text(&output));
    }
    assert_eq!((place.number("lost"), place.number("in_flight")), (0, 0));
    assert_eq!(place.summary("peer_faults"), "{}", "no restarted node contradicts itself");
    assert_eq!([0, 1, 4, 5].map(|node| starts(&place, node)), [1, 3, 2, 2]);
}

/// Kills all processes of a run, the one that drives it first, as a machine that is switched off does.
fn kill_all(place: &Place, run: Running) {
    let pids: Vec<String> = place.processes().values().map(u32::to_string).collect();
    run.kill();
    // Some may have ended with it.
    let _ = Command::new("kill").arg("-9").args(&pids).stderr(Stdio::null()).status().unwrap();
    eventually("all are gone", || place.processes().values().all(|pid| !is_alive(*pid)).then_some(()));
}

/// Bytes in the segments of a node's journal.
fn journal_bytes(place: &Place, node: u16) -> u64 {
    let Ok(entries) = fs::read_dir(place.0.join(format!("data/journal-{node}"))) else { return 0 };
    entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// Waits until each of these nodes has written so many bytes more to its journal than it has now.
fn until_journals_grow(place: &Place, nodes: u16, more: u64) {
    let before: Vec<u64> = (0..nodes).map(|node| journal_bytes(place, node)).collect();
    eventually("journals grow", || {
        before.iter().zip(0..).all(|(before, node)| journal_bytes(place, node) >= before + more).then_some(())
    });
}

/// Kills all processes of a run ten times, each time at another moment, and has it go on.
fn kill_ten_times(shape: &str, nodes: u16) {
    let place = Place::new();
    let mut run = place.start_local(&format!("{shape} --rate 200 --duration 60"));
    for kill in 0..10 {
        until_journals_grow(&place, nodes, 1 + 15_000 * (kill % 4));
        kill_all(&place, run);
        run = place.start_local("--resume --rate 200 --duration 60");
    }
    until_journals_grow(&place, nodes, 100_000);
    signal("-INT", run.id());
    let output = run.finish();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    assert!(
        text(&output).contains("the last load in log was cut off and left no figures"),
        "{}",
        text(&output)
    );
    assert_eq!(place.summary("peer_faults"), "{}", "no restarted node contradicts itself");
    let output = place.local("--resume --rate 200 --duration 2");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    for field in ["agreement", "value_conserved", "exchange_holds", "receipts_hold"] {
        assert_eq!(place.summary(field), "true", "{}", text(&output));
    }
    assert_eq!((place.number("lost"), place.number("in_flight")), (0, 0), "{}", text(&output));
    assert_eq!(place.command("verify", "").output().unwrap().status.code(), Some(0));
    let replayed = place.command("replay", "").output().unwrap();
    assert_eq!(replayed.status.code(), Some(0), "{}", text(&replayed));
}

#[test]
fn a_shard_that_is_killed_ten_times_goes_on_each_time_with_its_value() {
    kill_ten_times("--nodes 4", 4);
}

#[test]
fn shards_that_are_killed_ten_times_go_on_each_time_with_their_value() {
    kill_ten_times("--nodes 4 --shards 2 --cross 0.3", 8);
}

#[test]
fn a_run_that_was_stopped_goes_on_and_both_loads_are_judged_together() {
    let place = Place::new();
    place.assert_all_well(&place.local("--nodes 4 --rate 200 --duration 1.5"));
    let (committed, rounds) = (place.number("committed"), place.number("rounds"));
    for (options, complaint) in [
        ("--nodes 7", "--nodes: found '7', expected 4, with which the run in data began"),
        ("--signed", "--signed: found 'given', expected none, as the run in data began"),
        ("--batch 9", "--batch: found '9', expected 30000"),
        ("--durability off", "--durability: found 'off', expected process or power"),
    ] {
        let output = place.local(&format!("--resume {options}"));
        assert_eq!(output.status.code(), Some(2), "{options}");
        assert!(text(&output).contains(complaint), "{}", text(&output));
    }
    let output = place.local("--resume --rate 300 --duration 1.5 --durability power");
    place.assert_all_well(&output);
    let shown = text(&output);
    assert!(shown.contains("the figures of the load before this one are in log/load-1"), "{shown}");
    assert!(!shown.contains("cut off"), "{shown}");
    // Those of this run alone: what the last one left open may have taken some in between.
    let both = rounds + place.number("rounds");
    assert!((1..=place.last_height(0)).contains(&both), "{both} rounds of two runs: {shown}");
    let clients = place.read("log/clients.csv");
    let both = committed + place.number("committed");
    assert_eq!(
        clients.lines().nth(1).unwrap().split(',').nth(2),
        Some(both.to_string().as_str()),
        "{clients}"
    );
    let verified = place.command("verify", "").output().unwrap();
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified));
    // Without journals there is nothing to go on with.
    let other = Place::new();
    assert_eq!(other.local("--nodes 1 --rate 10 --duration 0.5 --durability off").status.code(), Some(0));
    let output = other.local("--resume");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("data/options.txt: found 'No such file"), "{}", text(&output));
}

#[test]
fn a_damaged_or_foreign_journal_stops_the_node_and_a_torn_tail_does_not() {
    let place = Place::new();
    place.assert_all_well(&place.local("--nodes 4 --rate 200 --duration 1"));
    let segment = place.0.join("data/journal-2/journal-00000001");
    let whole = fs::read(&segment).unwrap();
    let refused = |why: &str, complaint: &str| {
        let output = place.local("--resume --rate 200 --duration 1");
        assert_eq!(output.status.code(), Some(4), "{why}: {}", text(&output));
        let shown = text(&output);
        assert!(shown.contains("node 2 ended unasked") && shown.contains(complaint), "{why}: {shown}");
        // Those that had begun have written a little more; their next segment belongs to the journal.
        assert!(!shown.contains("panicked"), "{shown}");
    };
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 8;
    fs::write(&segment, flipped).unwrap();
    refused("a flipped bit", "journal-2/journal-00000001, byte ");
    fs::remove_file(&segment).unwrap();
    refused("its only segment is missing", "node-2.used exists");
    fs::write(&segment, &whole[..whole.len() - 7]).unwrap();
    place.assert_all_well(&place.local("--resume --rate 200 --duration 1"));
    assert!(place.log(2).contains("bytes of an unfinished record off"), "{}", place.log(2));
    fs::remove_file(&segment).unwrap();
    refused("the first of two segments is missing", "journal-00000001, byte 0: this segment is missing");
    fs::write(&segment, &whole).unwrap();
    fs::copy(place.0.join("data/journal-1/journal-00000001"), &segment).unwrap();
    refused("the journal of another node", "was written with node 1, and this start has 2");
    let other = Place::new();
    assert_eq!(other.local("--nodes 4 --rate 200 --duration 1").status.code(), Some(0));
    fs::copy(other.0.join("data/journal-2/journal-00000001"), &segment).unwrap();
    refused("the journal of another testbed", "was written with testbed ");
}

#[test]
fn a_run_goes_on_without_a_journal_that_is_damaged_if_that_is_wished() {
    let place = Place::new();
    place.assert_all_well(&place.local("--nodes 4 --rate 200 --duration 1"));
    let figures = place.read("log/summary.json");
    let segment = place.0.join("data/journal-2/journal-00000001");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 8;
    fs::write(&segment, &bytes).unwrap();

    let output = place.local("--resume --rate 200 --duration 1");
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(4), "{shown}");
    assert!(
        shown.contains("; if a journal cannot be restored, --resume --follow 2 goes on without"),
        "{shown}"
    );
    assert_eq!(place.read("log/summary.json"), figures, "it has not gone on: {shown}");
    let refused = place.local("--resume --follow 0+2");
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused).contains("--follow: found '0+2', expected at most f = 1"), "{}", text(&refused));

    let output = place.local("--resume --follow 2 --rate 200 --duration 2");
    let shown = text(&output);
    place.assert_all_well(&output);
    assert!(shown.contains("followers: node 2; a follower signs nothing"), "{shown}");
    assert!(!shown.contains("did not understand"), "it is offered no load: {shown}");
    assert_eq!((place.summary("followers").as_str(), place.number("refused")), ("[2]", 0), "{shown}");
    assert_eq!(place.read("log/load-1/summary.json"), figures);
    assert_eq!(fs::read(&segment).unwrap(), bytes, "the journal is left alone");
    let verified = place.command("verify", "").output().unwrap();
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified));
}

#[test]
fn two_nodes_do_not_share_a_journal() {
    let place = Place::new();
    let run = place.start_local("--nodes 4 --rate 100 --duration 30");
    until_journals_grow(&place, 4, 100_000);
    let node = Path::new(TOOLS).with_file_name("node");
    // A log directory of its own: the log of the first is locked, too.
    fs::create_dir(place.0.join("other")).unwrap();
    let mut second = Command::new(node);
    second.args(
        "--id 3 --hosts data/hosts.txt --keys data/keys --log-dir other --journal data/journal-3".split(' '),
    );
    let output = second.current_dir(&place.0).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("data/journal-3 is the journal of another process that runs"),
        "{}",
        text(&output)
    );
    signal("-INT", run.id());
    let output = run.finish();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    assert_eq!(place.summary("agreement"), "true");
}
