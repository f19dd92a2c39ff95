//! Nodes that fall behind and come back, through the real processes of real nodes under load: processes are stopped,
//! packets are dropped, and when the fault has healed all nodes must come to one height with nothing in flight.
//!
//! The length of a fault is counted in rounds: it lasts until the others have decided so many. Only a shard that stands
//! still is left so for a time. So the tests do not depend on the speed of the machine. Packets are dropped on the
//! bridge between hosts that are namespaces; see [`machines`].

mod machines;
mod place;
mod standing;

use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use machines::{Machines, Quirk, address, can_drop_packets};
use place::{Place, Running, eventually, text};
use standing::Nodes;

/// Rounds that a fault makes a node miss: more than messages of later rounds bridge, and more than one range of
/// catch-up, so that several members are asked at once.
const MISSED: u64 = 400;
/// Longer than any link survives whose other end is silent, with [`BRITTLE`].
const HOLD: Duration = Duration::from_secs(4);
/// Limits with which a link is given up after 2 s, and dialled again soon.
const BRITTLE: &str = "ping-timeout-ms=2000,peer-silence-ms=3000,dial-backoff-ms=500";
/// No transaction may expire within a run: what a stopped node took from its clients must be ordered when the node is
/// back. Nor may a node that lags, by up to 4,000 rounds, find an expiry too far ahead.
const LOAD: &str = "--rate 1500 --expiry-rounds 6000";
/// All processes of a node.
const ALL: [&str; 3] = ["node", "net_client", "net_server"];

#[test]
fn a_node_comes_back_whichever_of_its_processes_was_stopped() {
    let place = Place::new();
    let run = place.start_local(&format!("--nodes 4 {LOAD} --rounds 4000"));
    let nodes = Nodes::new(4, || place.command("status", "--json"));
    nodes.wait_for_height(100);
    let processes: [&[&str]; 4] = [&["net_client"], &["net_server"], &["node"], &ALL];
    for (node, processes) in (0..).zip(processes) {
        let stopped = Stopped::of(&place, &[node], processes);
        nodes.wait_for_rounds(MISSED);
        drop(stopped);
        nodes.wait_until_level();
    }
    assert_all_came_back(&place, &run.finish());
}

#[test]
fn a_shard_goes_on_after_a_pause_of_more_nodes_than_may_fail() {
    let place = Place::new();
    let run = place.start_local(&format!("--nodes 4 {LOAD} --rounds 2500 --limits {BRITTLE}"));
    let nodes = Nodes::new(4, || place.command("status", "--json"));
    nodes.wait_for_height(100);
    let two = Stopped::of(&place, &[0, 1], &ALL);
    nodes.wait_for_standstill(HOLD);
    drop(two);
    nodes.wait_for_rounds(100);
    nodes.wait_until_level();

    let all = Stopped::of(&place, &[0, 1, 2, 3], &ALL);
    thread::sleep(HOLD);
    drop(all);
    nodes.wait_for_rounds(100);
    nodes.wait_until_level();

    // A node whose links have all been given up meanwhile.
    let one = Stopped::of(&place, &[2], &ALL);
    nodes.wait_for_rounds(MISSED);
    thread::sleep(HOLD);
    drop(one);
    nodes.wait_until_level();
    assert_all_came_back(&place, &run.finish());
    for (silent, others) in [(0, &[2, 3][..]), (1, &[2, 3]), (2, &[0, 1, 3])] {
        assert_silence_was_logged(&place, silent, others);
    }
}

/// Each of these nodes has logged that another was silent, and that it was heard again.
#[track_caller]
fn assert_silence_was_logged(place: &Place, silent: u16, by: &[u16]) {
    let part = format!("node {silent} has been silent for ");
    let warned = text(&place.command("logs", "--level warn --grep").arg(part).output().unwrap());
    for node in by {
        assert!(warned.contains(&format!(" node {node} ")), "{warned}");
        let log = place.log(*node);
        let count = |part: &str| log.matches(&format!("node {silent} {part}")).count();
        assert_eq!(count("has been silent for "), count("is heard again, after "), "node {node}: {log}");
    }
}

#[test]
fn nodes_come_back_after_packets_between_them_were_lost() {
    if !can_drop_packets() {
        return;
    }
    let Some(machines) = Machines::new(&[Quirk::None; 4], 1) else { return };
    let arguments = format!("run {LOAD} --rounds 3000 --limits {BRITTLE} --timeout 10");
    let run = Running::start(&mut machines.deploy(&arguments));
    let nodes = Nodes::new(4, || machines.tools("status --json"));
    nodes.wait_for_height(100);

    // One way: no peer reaches node 0, while the connections that it dials itself work.
    let loss = machines.drop_packets(&[format!("ip daddr {} tcp dport 7000", address(1))]);
    nodes.wait_for_rounds(MISSED);
    drop(loss);
    nodes.wait_until_level();

    // Two ways: each node reaches two others, which is a quorum with itself.
    let loss = machines.drop_packets(&[between(1, 2), between(2, 1), between(3, 4), between(4, 3)]);
    nodes.wait_for_rounds(MISSED);
    drop(loss);
    nodes.wait_until_level();

    // Two ways, and neither half has a quorum.
    let halves = [(1, 3), (1, 4), (2, 3), (2, 4)];
    let rules: Vec<String> = halves.iter().flat_map(|(a, b)| [between(*a, *b), between(*b, *a)]).collect();
    let loss = machines.drop_packets(&rules);
    nodes.wait_for_standstill(HOLD);
    drop(loss);
    nodes.wait_for_rounds(100);
    nodes.wait_until_level();
    assert_all_came_back(&machines.place, &run.finish());
}

/// Packets from one host to another.
fn between(from: usize, to: usize) -> String {
    format!("ip saddr {} ip daddr {}", address(from), address(to))
}

#[test]
fn a_node_behind_every_history_takes_over_the_state_of_the_others() {
    let place = Place::new();
    let run = place.start_local(&format!("--nodes 4 {LOAD} --tx-size 1000 --rounds 2500 --history-mib 4"));
    let nodes = Nodes::new(4, || place.command("status", "--json"));
    nodes.wait_for_height(100);
    let stopped = Stopped::of(&place, &[0], &ALL);
    // 8 MB, of which members keep four.
    let before = nodes.finished();
    eventually("rounds are forgotten", || (nodes.finished() >= before + 8_000).then_some(()));
    drop(stopped);
    eventually("it takes over a state", || {
        place.log(0).contains("took over the state after round").then_some(())
    });
    nodes.wait_until_level();
    nodes.wait_for_rounds(100);

    let output = run.finish();
    let told = text(&output);
    for field in ["agreement", "value_conserved", "receipts_hold"] {
        assert_eq!(place.summary(field), "true", "{field}\n{told}");
    }
    // What it took from clients before can have expired or be of unknown fate, but nothing is open or lost.
    for field in ["in_flight", "lost", "duplicated", "orphaned"] {
        assert_eq!(place.number(field), 0, "{field}\n{told}");
    }
    assert_eq!(output.status.code(), Some(0), "{told}");
    let log = place.log(0);
    // More than once where the machine is so slow that a takeover outlasts the history.
    assert!(log.contains("rounds behind every history: round "), "{log}");
    assert!(place.rounds_file(0).lines().any(|line| line.contains(",,,")), "the file says where it jumped");
    assert_nobody_was_blamed(&place, &told);
}

/// Processes that are stopped. They go on when this is dropped, however the test ends: a stopped node would not notice
/// that its run has died.
struct Stopped(Vec<String>);

impl Stopped {
    fn of(place: &Place, nodes: &[u16], programs: &[&str]) -> Stopped {
        let all = place.processes();
        let pid = |node: &u16, program: &&str| all[&format!("{program} of node {node}")].to_string();
        let pids = nodes.iter().flat_map(|node| programs.iter().map(move |program| pid(node, program)));
        let stopped = Stopped(pids.collect());
        assert!(stopped.signal("-STOP"), "a process has ended");
        stopped
    }

    /// Whether there are all of these processes.
    fn signal(&self, name: &str) -> bool {
        let sent = Command::new("kill").arg(name).args(&self.0).stderr(Stdio::null()).status();
        sent.is_ok_and(|status| status.success())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It fails only if one has ended, which the summary tells.
        self.signal("-CONT");
    }
}

/// The assertions after a run in which every fault has healed.
#[track_caller]
fn assert_all_came_back(place: &Place, output: &Output) {
    let told = text(output);
    place.assert_all_well(output);
    for field in ["expired", "refused", "orphaned", "restarts"] {
        assert_eq!(place.number(field), 0, "{field}\n{told}");
    }
    assert_eq!(place.number("committed"), place.number("submitted"), "{told}");
    assert_eq!(place.summary("rounds_behind"), "{}", "{told}");
    assert_nobody_was_blamed(place, &told);
    let heights: Vec<u64> = (0..4).map(|node| place.last_height(node)).collect();
    assert!(heights.iter().all(|height| *height == heights[0]), "{heights:?}\n{told}");
    for node in 0..4 {
        let log = place.log(node);
        let count = |part| log.matches(part).count();
        assert_eq!(count("rounds behind the shard"), count("current again"), "node {node}: {log}");
    }
}

/// Nodes that are behind or ahead are honest, so no peer is blamed; and nothing has panicked.
#[track_caller]
fn assert_nobody_was_blamed(place: &Place, told: &str) {
    assert_eq!(place.summary("peer_faults"), "{}", "{told}");
    for node in 0..4 {
        let stderr = place.read(&format!("log/stderr-{node}.txt"));
        assert!(!stderr.contains("panicked"), "node {node}: {stderr}");
    }
}
