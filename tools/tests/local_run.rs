//! `tools local` from end to end, through the real processes of real nodes.
//!
//! Each test has directories of its own and lets the run find free ports, so they run side by side. What a run leaves
//! is read from its files. Nothing depends on how fast the machine is, only that a run gets on at all.

mod place;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wire::rand;

use place::{Place, TOOLS, eventually, is_alive, signal, text};

#[test]
fn a_run_of_four_nodes_is_twelve_processes_commits_all_and_leaves_nothing() {
    let place = Place::new();
    let run = place.start_local("--nodes 4 --duration 3 --rate 500");
    let processes = eventually("twelve processes", || Some(place.processes()).filter(|all| all.len() == 13));
    for node in 0..4 {
        for what in ["node", "net_client", "net_server"] {
            assert!(processes.contains_key(&format!("{what} of node {node}")), "{processes:?}");
        }
    }
    let output = run.finish();
    place.assert_all_well(&output);
    assert_eq!(place.summary("submitted"), place.summary("committed"));
    assert!(place.number("rounds") >= 30);
    assert!(processes.values().all(|pid| !is_alive(*pid)));
    assert!(place.processes().is_empty(), "the pid file is gone");
    assert!(text(&output).contains(" 4/4 "), "a live line: {}", text(&output));

    let verified = place.command("verify", "").output().unwrap();
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified));
    // One node has another block 7 than the rest.
    let rounds = place.read("log/rounds-2.csv");
    let line = rounds.lines().find(|line| line.starts_with("2,0,7,")).unwrap();
    let header = line.split(',').nth(3).unwrap();
    let other = if header.starts_with('0') { "1" } else { "0" };
    let tampered = rounds.replacen(header, &format!("{other}{}", &header[1..]), 1);
    fs::write(place.0.join("log/rounds-2.csv"), tampered).unwrap();
    let verified = place.command("verify", "").output().unwrap();
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified));
    assert!(text(&verified).contains("round 7: "), "{}", text(&verified));
}

/// The sum of a column of a file in which a line matches.
fn sum(csv: &str, column: &str, matches: impl Fn(&str) -> bool) -> u64 {
    let at = csv.lines().next().unwrap().split(',').position(|name| name == column).expect(column);
    let lines = csv.lines().skip(1).filter(|line| matches(line));
    lines.map(|line| line.split(',').nth(at).unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn files_for_plots_add_up_to_the_summary() {
    let place = Place::new();
    let output = place.local(
        "--nodes 4 --shards 2 --duration 3 --warmup 1 --rate 200 --cross 0.5 --invalid 0 --signed --transactions \
         --faults kill-server:1@1.5",
    );
    place.assert_all_well(&output);
    let (series, latency, transactions) =
        (place.read("log/series.csv"), place.read("log/latency.csv"), place.read("log/transactions.csv"));
    let all = |_: &str| true;
    assert_eq!(place.number("offered"), 600, "as many as were meant, and no more");
    assert_eq!(sum(&series, "meant", all), 600);
    assert_eq!(sum(&series, "sent", all), place.number("submitted"));
    assert_eq!(sum(&series, "committed", all), place.number("committed"));
    assert_eq!(sum(&series, "committed_cross", all), place.number("committed_cross"));
    let in_drain = |line: &str| line.contains(",drain,");
    assert_eq!(sum(&series, "committed", in_drain), place.number("committed_drain"));
    assert_eq!(sum(&series, "meant", |line| line.contains(",measured,")), 400);
    let with_fault: Vec<&str> = series.lines().filter(|line| line.ends_with(",kill-server:1@1.5")).collect();
    assert!(with_fault.len() == 1 && with_fault[0].starts_with("1.000,2.000,measured,"), "{series}");
    // Transactions intended in the first second have no latency.
    let of_committed = |line: &str| line.starts_with("intra,") || line.starts_with("cross,");
    let is_measured = |line: &&str| {
        line.contains(",finished,") && line.split(',').nth(3).unwrap().parse::<u64>().unwrap() >= 1_000_000
    };
    let measured = transactions.lines().filter(is_measured).count() as u64;
    assert_eq!(sum(&latency, "count", of_committed), measured);
    assert_eq!(transactions.lines().count() as u64, 1 + place.number("submitted"));
    let finished = transactions.lines().filter(|line| line.contains(",finished,")).count() as u64;
    assert_eq!(finished, place.number("committed"));
    for node in 0..8u64 {
        let rounds = place.read(&format!("log/rounds-{node}.csv"));
        let shard = node / 4 * 4;
        let leader = |line: &str| line.split(',').nth(15).unwrap().parse::<u64>().unwrap();
        assert!(rounds.lines().skip(1).all(|line| (shard..shard + 4).contains(&leader(line))), "{rounds}");
    }
}

/// A PATH on which `df` prints this line after its heading, or fails.
fn path_with_df(place: &Place, line: Option<&str>) -> String {
    let programs = place.0.join("programs");
    fs::create_dir_all(&programs).unwrap();
    let script = line.map_or_else(|| "exit 1".into(), |line| format!("echo heading; echo '{line}'"));
    fs::write(programs.join("df"), format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(programs.join("df"), Permissions::from_mode(0o700)).unwrap();
    format!("{}:{}", programs.display(), std::env::var("PATH").unwrap())
}

#[test]
fn a_disk_that_journals_may_fill_is_named_before_the_run() {
    let place = Place::new();
    let run = |options: &str, df: Option<&str>| {
        let mut command = place.command("local", &format!("--nodes 2 --duration 1 --rate 100 {options}"));
        let output = command.env("PATH", path_with_df(&place, df)).output().unwrap();
        place.assert_all_well(&output);
        text(&output)
    };
    let small = Some("/dev/disk 1048576 1028096 20480 98% /");
    let warning = "only 20 MiB free in data; journals of 2 nodes may take 30 MiB (see --durability)\n";
    let shown = run("", small);
    assert!(!shown.contains("MiB free"), "8 MB fit: {shown}");
    assert!(place.0.join("data/journal-1/journal-00000001").is_file(), "a journal is written by default");
    let shown = run("--tx-size 60000", small);
    assert!(shown.contains(warning), "{shown}");
    assert!(shown.find(warning) < shown.find("2 nodes up"), "{shown}");
    assert!(!run("--tx-size 60000 --durability off", small).contains("MiB free"));
    assert!(!place.0.join("data/journal-1").exists(), "the journals of the last run are removed");
    assert!(!run("--tx-size 60000", None).contains("MiB free"));
}

#[test]
fn limits_of_a_run_reach_all_three_processes() {
    let place = Place::new();
    let list = "mempool-transactions=20,ping-interval-ms=50";
    let run = place.start_local(&format!("--nodes 4 --duration 2 --rate 3000 --limits {list}"));
    let processes = eventually("twelve processes", || Some(place.processes()).filter(|all| all.len() == 13));
    let of_one: Vec<_> = processes.iter().filter(|(what, _)| what.ends_with("of node 0")).collect();
    assert_eq!(of_one.len(), 3);
    for (what, pid) in of_one {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(line.contains(&format!("--limits\0{list}\0")), "{what}: {line}");
    }
    let output = run.finish();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(place.number("refused") > 0, "a mempool of 20 transactions is full: {}", text(&output));
}

#[test]
fn small_testbeds_run_too_and_a_second_run_replaces_the_first() {
    let place = Place::new();
    let mut is_first = true;
    for nodes in [1, 2, 1] {
        let output = place.local(&format!("--nodes {nodes} --duration 1 --rate 300 --tx-size 1000"));
        place.assert_all_well(&output);
        assert_eq!(place.number("nodes"), nodes);
        let line = "the files of the last run in log are replaced";
        assert_eq!(text(&output).contains(line), !is_first, "{}", text(&output));
        is_first = false;
    }
    assert!(!place.0.join("log/rounds-1.csv").exists(), "a file of the run before the last");
}

#[test]
fn killed_children_come_back_a_crashed_node_stays_away_and_nothing_is_lost() {
    let place = Place::new();
    let output =
        place.local("--nodes 4 --duration 6 --rate 500 --faults kill-client:1@1,kill-server:2@2,crash:3@3.5");
    place.assert_all_well(&output);
    assert_eq!(place.number("restarts"), 2);
    assert_eq!(place.number("submitted"), place.number("committed") + place.number("orphaned"));
    assert!(text(&output).contains(" 3/4 "), "{}", text(&output));
}

#[test]
fn shards_exchange_coins_and_agree_on_what_they_exchanged() {
    let place = Place::new();
    let output = place.local("--nodes 4 --shards 2 --duration 3 --rate 200 --cross 0.5 --invalid 0.2");
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    for field in ["agreement", "value_conserved", "exchange_holds"] {
        assert_eq!(place.summary(field), "true", "{field}\n{shown}");
    }
    for field in ["committed_intra", "committed_cross", "rejected"] {
        assert!(place.number(field) > 0, "{field}\n{shown}");
    }
    for field in ["rejected_unexpected", "finished_invalid", "in_flight", "lost", "duplicated"] {
        assert_eq!(place.number(field), 0, "{field}\n{shown}");
    }
    // One member of shard 1 reports another sum of finished transactions than the rest.
    let exchanges = place.read("log/exchanges.csv");
    let line = exchanges.lines().find(|line| line.starts_with("5,1,0,")).unwrap();
    let sum = line.split(',').nth(12).unwrap();
    let other = (sum.parse::<u128>().unwrap() ^ 1).to_string();
    let tampered = exchanges.replacen(line, &line.replacen(sum, &other, 1), 1);
    fs::write(place.0.join("log/exchanges.csv"), tampered).unwrap();
    let verified = place.command("verify", "").output().unwrap();
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified));
    assert!(text(&verified).contains("have the same header and other books"), "{}", text(&verified));
}

/// The run's own load is a trickle of what must be rejected, so all that can be left open is the killed client's.
#[test]
fn a_client_that_dies_in_mid_submission_leaves_nothing_half_done() {
    let place = Place::new();
    let run = place.start_local("--nodes 4 --shards 2 --duration 15 --rate 2 --cross 1 --invalid 1");
    let blocks = |node: u16| place.read(&format!("log/rounds-{node}.csv")).lines().count();
    eventually("both shards commit", || (blocks(0) > 1 && blocks(4) > 1).then_some(()));
    let load =
        "--hosts data/hosts.txt --keys data/keys --log-dir log-2 --rate 500 --cross 0.7 --duration 600";
    let load = place.start("load", load);
    // Blocks that move coins between shards have been executed, and more are under way.
    eventually("coins cross", || {
        let csv = place.read("log/rounds-0.csv");
        let column = csv.lines().next()?.split(',').position(|name| name == "finished_cross")?;
        csv.lines()
            .skip(1)
            .any(|line| line.split(',').nth(column).is_some_and(|count| count != "0"))
            .then_some(())
    });
    load.kill();
    // All is well only if all nodes have come to rest, but for coins of the run's own load that the other one has
    // spent.
    let output = run.finish();
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(i32::from(place.number("chains_doubtful") > 0)), "{shown}");
    assert_eq!(place.summary("findings"), "[]", "{shown}");
    let complaints = place.summary("complaints");
    let lost_coins = " chains of coins came to their end for no reason of this load\"]";
    assert!(
        complaints == "[]" || complaints.ends_with(lost_coins) && !complaints.contains("\", \""),
        "{shown}"
    );
    for field in ["agreement", "value_conserved", "exchange_holds"] {
        assert_eq!(place.summary(field), "true", "{field}\n{shown}");
    }
    for field in ["rejected_unexpected", "in_flight", "lost"] {
        assert_eq!(place.number(field), 0, "{field}\n{shown}");
    }
}

#[test]
fn a_load_of_invalid_transactions_is_rejected_to_the_last() {
    let place = Place::new();
    let output = place.local("--nodes 4 --shards 2 --duration 2 --rate 100 --cross 1 --invalid 1");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(place.number("submitted"), place.number("rejected") + place.number("refused"));
    assert_eq!((place.number("committed"), place.number("in_flight")), (0, 0));
}

#[test]
fn without_a_quorum_nothing_commits_and_the_summary_explains_it() {
    let place = Place::new();
    let output = place.local("--nodes 4 --duration 1 --rate 200 --faults crash:2+3@0");
    let shown = text(&output);
    assert!(matches!(output.status.code(), Some(1 | 3)), "{shown}");
    assert_eq!(place.summary("agreement"), "true", "no fork: {shown}");
    assert!(place.number("in_flight") > 0, "{shown}");
    assert!(shown.contains("2 of 4 nodes are up (0-1), but a quorum is 3"), "{shown}");
    assert!(shown.contains("node 3 was crashed as planned"), "{shown}");
}

#[test]
fn an_interrupted_run_sums_up_and_leaves_no_process() {
    let place = Place::new();
    let run = place.start_local("--nodes 4 --duration 600 --rate 200");
    eventually("blocks", || Some(()).filter(|()| place.read("log/rounds-0.csv").lines().count() > 5));
    let processes = place.processes();
    assert_eq!(processes.len(), 13);
    signal("-INT", run.id());
    let output = run.finish();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    assert_eq!(place.summary("interrupted"), "true");
    assert_eq!(place.summary("agreement"), "true");
    assert!(place.number("committed") > 0);
    assert!(processes.values().all(|pid| !is_alive(*pid)));
}

#[test]
fn leftovers_of_a_killed_run_are_named_and_ended_and_a_running_one_is_left_alone() {
    let place = Place::new();
    let run = place.start_local("--nodes 2 --duration 600 --rate 100");
    eventually("blocks", || Some(()).filter(|()| place.read("log/rounds-1.csv").lines().count() > 5));
    let processes = place.processes();
    let second = place.local("--nodes 1 --duration 1");
    assert_eq!(second.status.code(), Some(4));
    assert!(text(&second).contains("another run or load (pid"), "{}", text(&second));
    // A node that is stopped does not notice that its run has died.
    let stuck = processes["node of node 1"];
    signal("-STOP", stuck);
    run.kill();
    let third = place.local("--nodes 1 --duration 1 --rate 100");
    assert!(text(&third).contains(&format!("node of node 1 (pid {stuck})")), "{}", text(&third));
    place.assert_all_well(&third);
    eventually("all have ended", || processes.values().all(|pid| !is_alive(*pid)).then_some(()));
}

#[test]
fn load_finds_a_testbed_that_runs_signed_or_not() {
    for signed in ["", "--signed"] {
        let place = Place::new();
        let dealt = place.command("keygen", &format!("--nodes 1 --coins 1000 {signed}")).output().unwrap();
        assert_eq!(dealt.status.code(), Some(0), "{}", text(&dealt));
        let port = eventually("a port is free", || {
            let port = 15_000 + rand::below(15_000) as u16;
            std::net::TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
        });
        fs::write(place.0.join("hosts.txt"), format!("0 127.0.0.1 127.0.0.1 {port}\n")).unwrap();
        fs::create_dir(place.0.join("log")).unwrap();
        let mut node = Command::new(Path::new(TOOLS).with_file_name("node"))
            .args("--id 0 --hosts hosts.txt --keys keys --log-dir log --stop-on-stdin-eof".split(' '))
            .current_dir(&place.0)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        // The second load spends what the first has left, and its figures take the place of the first one's.
        place.command("keygen", "--nodes 1 --out other/keys").output().unwrap();
        for rate in [200, 300] {
            // Nobody waits for a testbed that is another one. What it cost the node is none of the next load's.
            if rate == 300 {
                let began = Instant::now();
                let foreign = place.command("load", "--keys other/keys").output().unwrap();
                assert_eq!(foreign.status.code(), Some(4), "{}", text(&foreign));
                assert!(text(&foreign).contains("it is of testbed "), "{}", text(&foreign));
                assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
            }
            let arguments = format!("--rate {rate} --duration 2 --transactions");
            let load = place.command("load", &arguments).output().unwrap();
            let shown = text(&load);
            assert_eq!(load.status.code(), Some(0), "{signed}: {shown}");
            let expected = "rejected 0, expired 0, refused 0, in flight 0, orphaned 0, lost 0; duplicated 0";
            assert!(shown.contains(expected), "{signed}: {shown}");
            assert_eq!(place.read("log/transactions.csv").lines().count(), 1 + 2 * rate);
            assert_eq!(place.number("committed"), 2 * rate as u64, "{shown}");
            assert_eq!(place.summary("turned_away"), "{}", "{shown}");
        }
        assert_eq!(place.read("log/load-1/transactions.csv").lines().count(), 401);
        // A run leaves the files of a node alone that runs.
        let run = place.local("--nodes 1 --duration 1 --data-dir new");
        assert_eq!(run.status.code(), Some(4), "{}", text(&run));
        assert!(text(&run).contains("log is in use by node 0, still running"), "{}", text(&run));
        let verified = place.command("verify", "--data-dir .").output().unwrap();
        assert!(text(&verified).contains("node 0, still up: "), "{}", text(&verified));
        drop(node.stdin.take());
        assert!(node.wait().unwrap().success());
        let verified = place.command("verify", "").output().unwrap();
        assert_eq!(verified.status.code(), Some(0), "{signed}: {}", text(&verified));
        assert!(text(&verified).contains("1000 transactions finished"), "{}", text(&verified));
        assert!(!text(&verified).contains("still up"), "{}", text(&verified));
        // What was verified is trusted, as long as the verdict is there.
        for is_trusted in [true, false] {
            let compared = place.command("compare", "log/load-1 log").output().unwrap();
            assert_eq!(!text(&compared).contains("not to be trusted"), is_trusted, "{}", text(&compared));
            let _ = fs::remove_file(place.0.join("log/verdict.json"));
        }
        // The keys of another testbed are no yardstick.
        let other = place.command("verify", "--keys other/keys").output().unwrap();
        assert_eq!(other.status.code(), Some(2), "{}", text(&other));
        assert!(text(&other).contains("log/summary.json: found 'testbed "), "{}", text(&other));
    }
}

#[test]
fn a_run_that_cannot_begin_prints_one_line_and_leaves_nothing() {
    let place = Place::new();
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port();
    fs::write(place.0.join("file"), "").unwrap();
    for (arguments, code, part) in [
        (format!("--nodes 1 --base-port {port}"), 4, format!("port {port}")),
        ("--nodes 1 --log-dir file".into(), 4, "cannot create file".into()),
        ("--nodes 1 --rat 5".into(), 2, "the nearest is '--rate'".into()),
        ("--nodes 1 --faults crush:0@1".into(), 2, "the nearest is 'crash'".into()),
    ] {
        let output = place.local(&arguments);
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {shown}");
        assert!(shown.contains(&part), "{arguments}: {shown}");
        assert!(shown.lines().count() <= 2, "{arguments}: {shown}");
        assert!(place.processes().values().all(|pid| !is_alive(*pid)));
    }
}

#[test]
fn a_bench_measures_one_testbed_after_another() {
    let place = Place::new();
    let bench = place
        .command("bench", "--nodes 4 --duration 1 --rate 200 --data-dir data --log-dir log")
        .output()
        .unwrap();
    let shown = text(&bench);
    assert_eq!(bench.status.code(), Some(0), "{shown}");
    let json = place.read("log/bench.json");
    for scenario in
        ["raw pipe", "250 B, committed", "4096 B, committed", "steady, p50", "f crashed, p50", "idle: node"]
    {
        assert!(json.contains(&format!("\"name\": \"{scenario}")), "{scenario}: {shown}");
    }
}

#[test]
fn a_bench_shows_what_durability_costs_as_ratios() {
    let place = Place::new();
    let bench = place
        .command(
            "bench",
            "--durability-table --duration 1 --rate 200 --turns 1 --data-dir data --log-dir log",
        )
        .output()
        .unwrap();
    let shown = text(&bench);
    assert_eq!(bench.status.code(), Some(0), "{shown}");
    let json = place.read("log/bench.json");
    for name in ["off, committed", "process/off, committed", "power/off, committed"] {
        assert!(json.contains(&format!("\"name\": \"{name}\"")), "{name}: {shown}");
    }
    for name in ["off", "process", "process/off"].map(|of| format!("{of}, p99 latency at 200 tx/s")) {
        assert!(json.contains(&format!("\"name\": \"{name}\"")), "{name}: {shown}");
    }
    assert!(place.0.join("data/journal-3").is_dir(), "the last run was one with journals");
}

#[test]
fn strangers_are_refused_and_counted_while_honest_traffic_goes_on() {
    let place = Place::new();
    let bench = place
        .command("bench", "--strangers --duration 1 --rate 200 --frames 3000 --data-dir data --log-dir log")
        .output()
        .unwrap();
    let shown = text(&bench);
    let json = place.read("log/bench.json");
    let verdicts: Vec<&str> = json.split("\"name\": ").filter(|part| part.contains("\"passed\": ")).collect();
    assert!(verdicts.len() > 20, "{shown}");
    // How much is committed or sent in a second depends on the machine; all the rest does not.
    let depends = |verdict: &&&str| !verdict.starts_with("\"committed ") && !verdict.starts_with("\"sent: ");
    for verdict in verdicts.iter().filter(depends) {
        assert!(verdict.contains("\"passed\": true"), "{verdict}\n{shown}");
    }
    assert_eq!(place.number("lost"), 0, "{shown}");
}
