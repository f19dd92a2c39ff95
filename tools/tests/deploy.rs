//! `tools deploy` over machines that are namespaces of this one: whole runs, and everything that can go wrong on the
//! way. See [`machines`]. Nothing depends on how fast the machine is: what must happen is waited for, and time limits
//! are far longer than what they limit, but where it is a limit that is tested.

mod machines;
mod place;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use machines::{Machines, Quirk, address};
use place::{eventually, signal, text};

/// Fails unless a command ended with this code and said all of these.
#[track_caller]
fn assert_shown(machines: &Machines, arguments: &str, code: i32, parts: &[&str]) -> String {
    let output = machines.run(arguments);
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments}: {shown}");
    for part in parts {
        assert!(shown.contains(part), "{arguments}: no '{part}' in {shown}");
    }
    shown
}

/// A run that goes on until it is interrupted.
struct Running {
    process: Child,
    shown: Lines,
}

impl Running {
    /// Starts a run and waits until transactions have been committed.
    fn start(machines: &Machines) -> Running {
        let mut command = machines.deploy("run --rate 100 --duration 600 --timeout 10");
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let shown = Lines::of(process.stdout.take().unwrap());
        let mut running = Running { process, shown };
        running.wait_for("  2 s  ");
        running
    }

    /// Waits until it prints a text.
    fn wait_for(&mut self, part: &str) {
        eventually(part, || {
            let ended = self.process.try_wait().unwrap();
            let shown = self.shown.text();
            assert!(ended.is_none(), "the run has ended ({ended:?}) without '{part}': {shown}");
            shown.contains(part).then_some(())
        });
    }

    /// Interrupts it; its output when it has summed up, with this exit code.
    fn interrupt(mut self, machines: &Machines, code: i32) -> String {
        signal("-INT", self.process.id());
        let status = self.process.wait().unwrap();
        let shown = eventually("the last line", || {
            Some(self.shown.text()).filter(|shown| shown.contains("exit code"))
        });
        // Long lines of the summary are wrapped.
        let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(status.code(), Some(code), "{shown}");
        for (field, value) in [("interrupted", "true"), ("agreement", "true"), ("value_conserved", "true")] {
            assert_eq!(machines.place.summary(field), value, "{field}\n{shown}");
        }
        assert!(machines.place.number("committed") > 0, "{shown}");
        shown
    }
}

/// The output of a process, while it prints it.
struct Lines(Arc<Mutex<String>>);

impl Lines {
    fn of(stdout: ChildStdout) -> Lines {
        let text = Arc::new(Mutex::new(String::new()));
        let theirs = text.clone();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                *theirs.lock().unwrap() += &format!("{line}\n");
            }
        });
        Lines(text)
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

#[test]
fn a_run_over_four_hosts_is_judged_and_every_step_can_be_taken_alone() {
    let Some(machines) = Machines::new(&[Quirk::None; 4], 2) else { return };
    let place = &machines.place;
    let faults = "byzantine:7=forge,kill-server:5@1,pause:2@1+1,slow-node:6=50%@1+1,partition:0/1@1+1,slow:4>7=20ms@1+1";
    let arguments = format!("run --shards 2 --rate 100 --duration 4 --durability off --faults {faults}");
    let ends = ["pause:2@1+1", "slow-node:6=50%@1+1", "partition:0/1@1+1", "slow:4>7=20ms@1+1"];
    let ends = ends.map(|fault| format!("end of fault: {fault}"));
    let parts: Vec<&str> = ends.iter().map(String::as_str).chain([" 8/8 ", "2 shards"]).collect();
    let shown = assert_shown(&machines, &arguments, 0, &parts);
    assert_eq!(place.number("restarts"), 1, "{shown}");
    for field in ["agreement", "value_conserved", "exchange_holds"] {
        assert_eq!(place.summary(field), "true", "{field}\n{shown}");
    }
    assert!(place.read("log/summary.json").contains("\"bad_certificate\": "), "node 7 lies: {shown}");
    assert!(place.number("committed_intra") > 0 && place.number("committed_cross") > 0, "{shown}");
    assert_eq!((place.number("lost"), place.number("in_flight")), (0, 0), "{shown}");
    assert!(place.read("log/summary.json").contains("\"clock_offset_ms\""), "{shown}");
    for node in 0..8 {
        for name in [format!("consensus-node-{node}.log"), format!("node-net-client-{node}.log")] {
            assert!(!place.read(&format!("log/{name}")).is_empty(), "{name}");
        }
        assert!(place.read(&format!("log/rounds-{node}.csv")).lines().count() > 1, "rounds of node {node}");
    }
    let clocks = place.read("log/clocks.csv");
    assert!(clocks.starts_with("host,nodes,offset_ms,uncertainty_ms\nroot@10.77.0.1,0-1,"), "{clocks}");
    assert_eq!(clocks.lines().count(), 5, "{clocks}");

    what_is_installed_is_each_host_s_own(&machines);
    nodes_outlive_the_connection_and_start_once(&machines);

    assert_shown(&machines, "clean", 0, &["root@10.77.0.4: removed"]);
    assert_shown(&machines, "clean", 0, &["nothing is there"]);
    (1..=4).for_each(|number| machines.assert_clean(number));
}

/// Keys of nobody else, and nothing that others may read.
fn what_is_installed_is_each_host_s_own(machines: &Machines) {
    for number in 1..=4 {
        let keys = machines.on_host(number, "cd dumbo-testbed/keys && stat -c '%a %n' *.key");
        let (first, second) = (2 * number - 2, 2 * number - 1);
        assert_eq!(keys, format!("600 node-{first}.key\n600 node-{second}.key\n"));
        assert_eq!(machines.on_host(number, "stat -c %a dumbo-testbed"), "700\n");
        assert_eq!(machines.on_host(number, "grep -c root@ dumbo-testbed/hosts.txt; true"), "0\n");
    }
    assert_shown(machines, "install --shards 2", 0, &["sent 0 files (0.0 MB), 9 unchanged"]);
}

fn nodes_outlive_the_connection_and_start_once(machines: &Machines) {
    assert_shown(machines, "start", 1, &["the keys of node 6 have served a start, and keys serve one"]);
    assert_shown(machines, "install --shards 2 --new-keys", 0, &["sent 3 files"]);
    let other = "cd dumbo-testbed/bin && cp -p node real && rm node && \
                 printf '#!/bin/sh\\necho node 9\\n' > node && chmod 700 node";
    machines.on_host(3, other);
    let refused = "root@10.77.0.3 (nodes 4-5): it has 'node 9', and the others get 'node 0.";
    assert_shown(machines, "start --metrics-port 9200", 1, &[refused]);
    machines.on_host(3, "cd dumbo-testbed/bin && mv real node");
    assert_shown(machines, "start", 0, &["8 nodes up", "nodes 2-3 of testbed"]);
    let pids = machines.on_host(2, "cat dumbo-testbed/run/*.pid");
    assert_shown(machines, "start", 0, &["nodes 2-3 of testbed", "runs already"]);
    assert_eq!(machines.on_host(2, "cat dumbo-testbed/run/*.pid"), pids, "nothing was started twice");
    assert_shown(machines, "install --shards 2", 1, &["node 0 of testbed", "runs there"]);
    assert_shown(machines, "load --rate 100 --duration 1", 0, &["in flight 0, orphaned 0, lost 0"]);
    let scrape = "for port in 9200 9201; do exec 3<> /dev/tcp/127.0.0.1/$port; \
                  printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; grep '^testbed_node_info' <&3; done";
    let metrics = machines.on_host(2, &format!("bash -c \"{}\"", scrape.replace('$', "\\$")));
    for (line, node) in metrics.lines().zip([2, 3]) {
        assert!(line.starts_with(&format!("testbed_node_info{{node=\"{node}\",")), "{metrics}");
    }
    assert_eq!(metrics.lines().count(), 2, "{metrics}");
    let status = assert_shown(machines, "status", 0, &[]);
    assert_eq!(status.lines().filter(|line| line.ends_with("  up")).count(), 8, "{status}");
    machines.signal(1, "-STOP", "net_client");
    assert_shown(machines, "stop", 0, &["root@10.77.0.2: nodes 2-3 stopped"]);
    assert_shown(machines, "status", 1, &["not started"]);
    assert_shown(machines, "stop", 0, &["nothing ran"]);
    assert_shown(machines, "logs --log-dir fetched", 0, &["root@10.77.0.3: 10 files"]);
    assert!(machines.place.read("fetched/consensus-node-5.log").contains("has ended on request"));
}

#[test]
fn the_sequence_of_the_guide_works_as_it_is_written() {
    let Some(machines) = Machines::new(&[Quirk::None; 4], 1) else { return };
    let guide = include_str!("../../docs/deploy.md");
    let (_, by_hand) = guide.split_once("## By hand").unwrap();
    let (block, _) = by_hand.split_once("```sh\n").unwrap().1.split_once("```").unwrap();
    let mut shown = String::new();
    for line in block.lines() {
        let command = line.split(" #").next().unwrap().strip_prefix("target/release/tools ").unwrap();
        let output = match command.strip_prefix("deploy ") {
            Some(arguments) => machines.run(arguments),
            None => machines.tools(command).output().unwrap(),
        };
        assert_eq!(output.status.code(), Some(0), "{line}: {}", text(&output));
        shown += &text(&output);
    }
    for part in [
        "keys of data/keys: 1 shard of 4 nodes",
        "4 of 4 nodes answer",
        "1000 of 1000 submitted",
        "1500 of 1500 submitted",
        "2500 transactions finished",
        "receipts hold    true",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    (1..=4).for_each(|number| machines.assert_clean(number));

    // The keys are somebody's, who may go on with them: a run deals its own, elsewhere.
    let refused = "data/keys holds the keys of testbed";
    assert_shown(&machines, "run --rate 100 --duration 1", 4, &[refused]);
    assert_shown(&machines, "install --shards 2", 2, &["expected keys of 2, or --new-keys"]);
}

#[test]
fn load_may_come_from_a_host() {
    let Some(machines) = Machines::new(&[Quirk::None], 1) else { return };
    assert_shown(&machines, "install", 0, &["testbed"]);
    assert_shown(&machines, "start", 0, &["1 nodes up"]);
    assert_shown(
        &machines,
        "load --from hosts --rate 50 --duration 1",
        0,
        &["load from root@10.77.0.1", "lost 0"],
    );
    assert_shown(&machines, "clean", 0, &["node 0 stopped; removed"]);
    machines.assert_clean(1);
}

#[test]
fn every_obstacle_on_every_host_is_reported_before_anything_is_done() {
    let quirks =
        [Quirk::PortTaken, Quirk::KeyNotKnown, Quirk::KeyNotTaken, Quirk::None, Quirk::Room(8), Quirk::None];
    let Some(machines) = Machines::new(&quirks, 1) else { return };
    machines.unplug(4);
    machines.on_host(6, "mkdir dumbo-testbed && echo x > dumbo-testbed/thesis.tex");
    let parts = [
        "root@10.77.0.1 (node 0): port 7000 of node 0 is taken by sshd (pid ",
        "root@10.77.0.2 (node 1): ssh: ",
        "Host key verification failed",
        "root@10.77.0.3 (node 2): ssh: ",
        "Permission denied (publickey)",
        "root@10.77.0.4 (node 3): ssh: ",
        "root@10.77.0.5 (node 4): only 8 MiB are free",
        "root@10.77.0.6 (node 5): the run directory was not made by tools deploy (it holds thesis.tex)",
        "check failed on 6 of 6 hosts",
    ];
    assert_shown(&machines, "check --timeout 20", 1, &parts);
    assert_shown(&machines, "run --timeout 20 --duration 1", 4, &parts);
    for directory in ["data", "log"] {
        assert!(
            !machines.place.0.join(directory).exists(),
            "{directory} was made for a run that could not begin"
        );
    }

    // Each alone, as far as it goes.
    let hosts = machines.place.read("hosts.txt");
    let only = |number: usize| {
        let line = hosts.lines().find(|line| line.ends_with(&format!("root@{}", address(number)))).unwrap();
        let line = line.replacen(&(number - 1).to_string(), "0", 1);
        fs::write(machines.place.0.join("hosts.txt"), format!("{line}\n")).unwrap();
    };
    only(5);
    assert_shown(&machines, "install", 1, &["root@10.77.0.5 (node 0)", "No space left on device"]);
    assert_shown(&machines, "start", 1, &["nothing is installed there: tools deploy install"]);
    assert_shown(&machines, "clean", 0, &["removed"]);
    machines.assert_clean(5);
    only(6);
    assert_shown(&machines, "install", 1, &["it holds thesis.tex"]);
    assert_shown(&machines, "clean", 1, &["was not made by tools deploy", "is left as it is"]);
    assert_eq!(machines.on_host(6, "ls dumbo-testbed"), "thesis.tex\n");
    machines.on_host(6, "rm -r dumbo-testbed");
    // A host that knows of no run directory.
    assert_shown(&machines, "start", 1, &["nothing is installed there"]);
    assert_shown(&machines, "stop", 0, &["nothing is there"]);
    assert_shown(&machines, "logs", 1, &["dumbo-testbed is not there"]);
    // An ssh that connects and then hears nothing.
    machines.signal(6, "-STOP", "sshd");
    assert_shown(&machines, "check --timeout 2", 1, &["root@10.77.0.6"]);
    machines.signal(6, "-CONT", "sshd");
    assert_shown(&machines, "clean", 0, &["nothing is there"]);
    machines.assert_clean(6);
}

#[test]
fn a_host_that_dies_in_mid_run_is_given_up_and_the_others_go_on() {
    let Some(mut machines) = Machines::new(&[Quirk::None; 4], 1) else { return };
    let mut run = Running::start(&machines);
    machines.crash(4);
    run.wait_for("node 3 is out of reach, as is its host root@10.77.0.4: ");
    run.wait_for(" 3/4 ");
    // A node was lost before the signal came.
    let shown = run.interrupt(&machines, 1);
    assert!(
        shown.contains("the nodes on root@10.77.0.4 could not be stopped, nor their logs fetched"),
        "{shown}"
    );
    assert!(machines.place.summary("unplanned_ends").contains("node 3 is out of reach"), "{shown}");
    assert!(!machines.place.read("log/rounds-2.csv").is_empty(), "logs of the others are fetched: {shown}");
    assert_shown(&machines, "clean", 1, &["root@10.77.0.1: removed", "root@10.77.0.4 (node 3): "]);
    machines.reboot(4);
    assert_shown(&machines, "clean", 0, &["nothing is there"]);
    (1..=4).for_each(|number| machines.assert_clean(number));
}

#[test]
fn a_host_whose_ssh_hangs_in_mid_run_holds_nobody_up() {
    let Some(machines) = Machines::new(&[Quirk::None; 4], 1) else { return };
    let mut run = Running::start(&machines);
    machines.signal(4, "-STOP", "sshd");
    run.wait_for("node 3 is out of reach, as is its host root@10.77.0.4: ");
    let shown = run.interrupt(&machines, 1);
    assert!(shown.contains("the nodes on root@10.77.0.4 could not be stopped, nor"), "{shown}");
    // Its node runs on, as nothing could be asked of it.
    machines.signal(4, "-CONT", "sshd");
    let clean = ["root@10.77.0.1: removed", "root@10.77.0.4: node 3 stopped; removed"];
    assert_shown(&machines, "clean", 0, &clean);
    (1..=4).for_each(|number| machines.assert_clean(number));
}

#[test]
fn an_interrupted_run_stops_its_nodes_and_sums_up() {
    let Some(machines) = Machines::new(&[Quirk::None; 2], 2) else { return };
    let shown = Running::start(&machines).interrupt(&machines, 130);
    assert!(!machines.place.read("log/rounds-3.csv").is_empty(), "logs are fetched: {shown}");
    assert_shown(&machines, "status", 1, &["not started"]);
    assert_shown(&machines, "clean", 0, &["removed"]);
    (1..=2).for_each(|number| machines.assert_clean(number));
}

/// The starts from its journal that a node's log tells of.
fn starts_from_journal(machines: &Machines, node: u16) -> usize {
    machines.place.log(node).matches(" goes on from its journal, start ").count()
}

#[test]
fn nodes_of_a_run_restart_from_their_journals() {
    let Some(machines) = Machines::new(&[Quirk::None; 2], 2) else { return };
    let place = &machines.place;
    let faults = "restart:1@1,disk-full:2@1+1,crash:3@2,restart:3@3,restart:0-3@4";
    let arguments = format!("run --rate 200 --duration 6 --faults {faults}");
    place.assert_all_well(&machines.run(&arguments));
    assert_eq!(place.summary("peer_faults"), "{}", "no restarted node contradicts itself");
    // A slow machine may still replay when the next restart comes, and logs no start then.
    assert!((0..4).all(|node| starts_from_journal(&machines, node) >= 1));
    assert_eq!(place.read("log/summary.json").matches("\"answered_s\"").count(), 7);

    assert_shown(
        &machines,
        "start --durability off",
        1,
        &["node 2 goes on from its journal with --durability process or power"],
    );
    let started = ["root@10.77.0.1: nodes 0-1 started from their journals", "4 nodes up"];
    assert_shown(&machines, "start", 0, &started);
    assert_shown(&machines, "load --rate 100 --duration 1", 0, &["in flight 0, orphaned 0, lost 0"]);
    assert_shown(&machines, "stop", 0, &["nodes 2-3 stopped"]);
    let refused = ["ended unasked on root@10.77.0.1", "was written with batch 30000, and this start has 9"];
    assert_shown(&machines, "start --durability power --batch 9", 1, &refused);
    assert_shown(&machines, "install --new-keys", 0, &["is installed"]);
    assert_eq!(
        machines.on_host(1, "ls dumbo-testbed"),
        "bin\ndumbo-testbed.marker\nhosts.txt\nkeys\nlog\nrun\nwan.txt\n"
    );
    assert_shown(&machines, "clean", 0, &["removed"]);
    machines.assert_clean(1);
}

#[test]
fn a_run_that_was_killed_here_goes_on_once_its_nodes_are_stopped() {
    let Some(machines) = Machines::new(&[Quirk::None; 2], 2) else { return };
    let mut run = Running::start(&machines);
    run.process.kill().unwrap();
    run.process.wait().unwrap();
    let output = machines.run("run --resume --rate 200 --duration 1.5");
    machines.place.assert_all_well(&output);
    for part in [
        "root@10.77.0.1: left over from an earlier run: nodes 0-1 stopped",
        "root@10.77.0.2: left over from an earlier run: nodes 2-3 stopped",
        "the last load in log was cut off and left no figures",
    ] {
        assert!(text(&output).contains(part), "{part}: {}", text(&output));
    }
    assert_shown(&machines, "clean", 0, &["removed"]);
    (1..=2).for_each(|number| machines.assert_clean(number));
}

#[test]
fn a_run_goes_on_with_what_its_hosts_hold() {
    let Some(machines) = Machines::new(&[Quirk::None; 2], 2) else { return };
    let place = &machines.place;
    assert_shown(&machines, "run --resume", 2, &["data/options.txt: found 'No such file"]);
    place.assert_all_well(&machines.run("run --rate 200 --duration 1.5 --durability power"));
    let committed = place.number("committed");
    for (options, complaint) in [
        ("--shards 2", "--shards: found '2', expected 1, with which the run in data began"),
        ("--signed", "--signed: found 'given', expected none, as the run in data began"),
        ("--history-mib 9", "--history-mib: found '9', expected none, as the run in data began"),
        ("--remote-dir x", "--remote-dir: found 'x', expected dumbo-testbed"),
        ("--durability off", "--durability: found 'off', expected process or power"),
    ] {
        assert_shown(&machines, &format!("run --resume {options}"), 2, &[complaint]);
    }
    machines.on_host(2, "mv dumbo-testbed/journal-3 /run/journal");
    let refused = "root@10.77.0.2 (nodes 2-3): node 3 has no journal there to go on from";
    assert_shown(&machines, "run --resume --rate 300 --duration 1.5", 4, &[refused]);
    machines.on_host(2, "mv /run/journal dumbo-testbed/journal-3");
    assert_shown(&machines, "check", 0, &["nodes 0-1 with journals ("]);

    let output = machines.run("run --resume --rate 300 --duration 1.5");
    place.assert_all_well(&output);
    assert!(text(&output).contains("the figures of the load before this one are in log/load-1"));
    assert!((0..4).all(|node| starts_from_journal(&machines, node) == 1));
    let both = (committed + place.number("committed")).to_string();
    let clients = place.read("log/clients.csv");
    assert_eq!(clients.lines().nth(1).unwrap().split(',').nth(2), Some(both.as_str()), "{clients}");

    assert_shown(&machines, "logs", 0, &["; journals of "]);
    assert!(!place.0.join("data/journal-0").exists(), "journals are fetched on demand");
    assert_shown(&machines, "logs --journals", 0, &["root@10.77.0.2: 2 journals ("]);
    assert_shown(&machines, "logs --journals", 0, &["root@10.77.0.2: 2 journals ("]);
    let replayed = machines.tools("replay").output().unwrap();
    assert_eq!(replayed.status.code(), Some(0), "{}", text(&replayed));
    // Those of another testbed that has its keys here are left alone.
    assert_eq!(machines.tools("keygen --nodes 4 --out other/keys").status().unwrap().code(), Some(0));
    assert_shown(&machines, "logs --journals --data-dir other", 1, &["is installed, and other/keys is of"]);

    machines.on_host(2, "rm -r dumbo-testbed/journal-3");
    let refused = "node 3 has no journal there to go on from; --follow 3 goes on without its signatures";
    assert_shown(&machines, "run --resume --rate 200 --duration 1.5", 4, &[refused]);
    assert_shown(
        &machines,
        "run --resume --follow 2-3",
        2,
        &["--follow: found '2-3', expected at most f = 1"],
    );
    let output = machines.run("run --resume --follow 3 --rate 200 --duration 1.5");
    place.assert_all_well(&output);
    assert!(text(&output).contains("followers: node 3; a follower signs nothing"), "{}", text(&output));
    assert_eq!(place.summary("followers"), "[3]");
    let started =
        ["followers: node 3; a follower", "nodes 2-3 started (node 2 from their journals)", "4 nodes up"];
    assert_shown(&machines, "start --follow 3", 0, &started);
}
