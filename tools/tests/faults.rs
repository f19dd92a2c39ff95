//! Planned faults that last, in real runs: what `docs/faults.md` says must hold.

mod place;

use place::{Place, TOOLS, build_byzantine_node, eventually, is_alive, signal, text};

#[test]
fn faults_that_last_begin_and_end_and_nothing_is_lost() {
    let place = Place::new();
    let faults = "kill-core:1@0.5+0.5,pause-client:2@2+1,slow:0/3=50ms@2+1,disk-full:3@3.5+0.5,partition:0+1/2+3@6+2,\
                  slow-node:0=50%@8.5+0.5,partition:2>0+1+3@8.5+0.5";
    let output = place.local(&format!("--nodes 4 --rate 300 --duration 10 --faults {faults}"));
    let shown = text(&output);
    place.assert_all_well(&output);
    assert_eq!(place.summary("peer_faults"), "{}", "nobody is blamed: {shown}");
    let names = "kill-core:1@0.5, restart:1@1, pause-client:2@2+1, slow:0/3=50ms@2+1, disk-full:3@3.5+0.5, \
                 partition:0-1/2-3@6+2, slow-node:0=50%@8.5+0.5, partition:2>0-1+3@8.5+0.5";
    for name in names.split(", ") {
        assert!(shown.contains(&format!("  fault: {name}\n")), "{name}: {shown}");
    }
    assert!(shown.contains("node 3 ended unasked") && shown.contains("as planned, since it could not write"));
    assert!(shown.contains("partition:0-1/2-3@6+2, over at 8."), "{shown}");
    let summary = place.read("log/summary.json");
    assert_eq!(summary.matches("\"until_s\": null").count(), 0, "all are over: {summary}");
    assert_eq!(place.summary("rounds_behind"), "{}", "all nodes are level: {shown}");

    // Neither half has a quorum, so nothing is committed from shortly after the cut until it is healed.
    let series = place.read("log/series.csv");
    let line = series.lines().find(|line| line.starts_with("7.000,8.000,")).unwrap();
    assert_eq!(line.split(',').nth(5), Some("0"), "{series}");
    let merged = place.command("logs", "--process tools --node 2").output().unwrap();
    let merged = text(&merged);
    assert_eq!(merged.lines().count(), 6, "beginnings and ends: {merged}");
    assert!(merged.contains("node 2   tools      WARN  end of fault: pause-client:2@2+1"), "{merged}");
}

#[test]
fn what_lasts_is_ended_when_a_run_is_interrupted() {
    let place = Place::new();
    let faults = "pause:1@0.5+90,slow-node:2=20%@0.5+90,partition:3/0@0.5+90";
    let run = place.start_local(&format!("--nodes 4 --rate 100 --duration 100 --faults {faults}"));
    eventually("faults", || Some(()).filter(|()| place.read("log/faults-3.log").contains("partition")));
    let processes = place.processes();
    assert_eq!(processes.len(), 13);
    signal("-INT", run.id());
    let output = run.finish();
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(130), "{shown}");
    assert!(shown.contains("end of fault: pause:1@0.5+90"), "{shown}");
    assert_eq!(place.summary("agreement"), "true");
    assert_eq!(place.summary("unplanned_ends"), "[]", "all nodes stop when asked to: {shown}");
    assert!(processes.values().all(|pid| !is_alive(*pid)));
}

#[test]
fn a_plan_that_stops_a_shard_for_good_is_announced() {
    let place = Place::new();
    let output = place
        .local("--nodes 4 --rate 100 --duration 2.5 --durability off --faults restart:0@0.5,kill-core:3@1.5");
    let shown = text(&output);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{shown}");
    assert_eq!(place.summary("followers"), "[0]", "it has no journal: {shown}");
    let announced = shown.find("the plan takes 2 nodes out for good, more than f = 1").expect("announced");
    assert!(announced < shown.find("fault: restart:0@0.5").expect("carried out"), "before: {shown}");
    assert_eq!(place.summary("agreement"), "true", "{shown}");
}

/// Kinds of faults that honest nodes found, by the node that they blame; what a liar says is left out.
fn blamed(place: &Place, nodes: u16, liar: u16) -> Vec<String> {
    let logs = (0..nodes).filter(|node| *node != liar).map(|node| place.log(node));
    let lines = logs.flat_map(|log| log.lines().map(String::from).collect::<Vec<_>>());
    lines.filter(|line| line.contains(" is at fault: ")).collect()
}

#[test]
fn a_byzantine_node_is_found_out_and_harms_nobody() {
    build_byzantine_node();
    for (behaviour, proof) in [("equivocate", "equivocation"), ("forge", "bad_certificate")] {
        let place = Place::new();
        let faults = format!("byzantine:2={behaviour},partition:2/0@0.5+0.5");
        let output = place.local(&format!("--nodes 4 --rate 500 --duration 2.5 --faults {faults}"));
        let shown = text(&output);
        place.assert_all_well(&output);
        assert!(shown.contains(&format!("  fault: byzantine:2={behaviour}\n")), "{shown}");
        assert!(shown.contains("partition:2/0@0.5+0.5, over at 1."), "honest nodes are followed: {shown}");
        let blamed = blamed(&place, 4, 2);
        assert!(blamed.iter().any(|line| line.contains(proof)), "{behaviour} bites: {blamed:?}");
        assert!(blamed.iter().all(|line| line.contains("node 2 is at fault")), "nobody else: {blamed:?}");
        let summary = place.read("log/summary.json");
        assert!(summary.contains(&format!("\"fault\": \"byzantine:2={behaviour}\"")), "{summary}");

        // Whatever the liar wrote is neither held against the run nor for it.
        assert!(place.read("log/nodes.csv").lines().any(|line| line == "2,0,byzantine,,,,,,,,,,,,,"));
        std::fs::write(place.0.join("log/rounds-2.csv"), "all is lost\n").unwrap();
        let verified = place.command("verify", "").output().unwrap();
        let verdict = text(&verified);
        assert!(verified.status.success(), "{verdict}");
        assert!(verdict.contains("node 2, Byzantine: nothing of it judged"), "{verdict}");
    }
}

#[test]
fn more_than_f_byzantine_nodes_are_announced_and_fail() {
    build_byzantine_node();
    let place = Place::new();
    let output = place.local("--nodes 4 --rate 100 --duration 1.5 --faults byzantine:2-3=mute");
    let shown = text(&output);
    let announced = shown.find("the plan makes 2 nodes Byzantine, more than f = 1").expect("announced");
    assert!(announced < shown.find("fault: byzantine:2-3=mute").expect("begun"), "before: {shown}");
    assert_eq!(output.status.code(), Some(3), "nothing was committed: {shown}");
}

/// Only the program made for it can lie.
#[test]
fn the_program_of_an_honest_node_has_no_attack() {
    build_byzantine_node();
    // A node proves to itself that a certificate is false; only a liar looks for two true ones.
    let attack = b"two certified entries at seq";
    let has = |program: &str, text: &[u8]| {
        let bytes = std::fs::read(std::path::Path::new(TOOLS).with_file_name(program)).unwrap();
        bytes.windows(text.len()).any(|window| window == text)
    };
    assert!(has("byzantine_node", attack) && has("byzantine_node", b"--stop-on-stdin-eof"));
    assert!(has("node", b"--stop-on-stdin-eof") && !has("node", attack) && !has("node", b"--behaviour"));
}
