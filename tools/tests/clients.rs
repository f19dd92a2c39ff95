//! Clients of nodes that run: single transactions by hand, clients that use nothing of ours, and a load whose contact
//! is silent for a while.

mod place;

use std::path::Path;
use std::process::{Command, Output};

use place::{Place, TOOLS, build, eventually, text};

/// The id and what is said of it, of a line that a client of the examples prints.
fn finished(output: &Output) -> String {
    let shown = text(output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    let (id, rest) = shown.lines().next().unwrap().split_once(' ').unwrap();
    assert!(id.len() == 64 && rest.starts_with("finished"), "{shown}");
    id.to_string()
}

/// The example of `wire`, built as this test was.
fn rust_client() -> Command {
    build(&["--package", "wire", "--example", "client"]);
    Command::new(Path::new(TOOLS).with_file_name("examples").join("client"))
}

/// The example in Python; `None` if Python or the package it needs is not there.
fn python_client() -> Option<Command> {
    let import = Command::new("python3").args(["-c", "import cryptography"]).output();
    if !import.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: docs/examples/client.py needs python3 and its package cryptography");
        return None;
    }
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/client.py"));
    Some(command)
}

/// Runs a client of the examples in a place, with node 0.
fn run(place: &Place, mut client: Command) -> Output {
    client.args(["data/keys/committee.txt", "data/hosts.txt", "0"]).current_dir(&place.0).output().unwrap()
}

#[test]
fn transactions_by_hand_and_of_other_clients_finish_beside_a_load_with_a_silent_contact() {
    let (place, rust) = (Place::new(), rust_client());
    let running = place.start_local(
        "--nodes 4 --shards 2 --signed --rate 400 --duration 9 --tx-size 300 --faults pause:1@1+4",
    );
    let submit = |arguments: &str| place.command("submit", arguments).output().unwrap();
    let first = eventually("a transaction by hand", || {
        let output = submit("--at 0");
        (output.status.code() == Some(0)).then_some(output)
    });
    assert!(text(&first).contains("finished in round"), "{}", text(&first));
    let crossing = submit("--from 0+1 --to 1 --amount 1500 --payload 0");
    let shown = text(&crossing);
    assert_eq!(crossing.status.code(), Some(0), "{shown}");
    assert_eq!(shown.matches("spends").count(), 2, "{shown}");
    assert!(shown.contains("worth 1500, shard 1") && shown.contains("worth 500, shard 1"), "{shown}");
    let mut ids = vec![shown.split_whitespace().nth(1).unwrap().trim_end_matches(',').to_string()];
    ids.push(finished(&run(&place, rust)));
    ids.extend(python_client().map(|client| finished(&run(&place, client))));
    let known = place.command("query", &ids.join(" ")).output().unwrap();
    assert_eq!(known.status.code(), Some(0), "{}", text(&known));
    let unknown = place.command("query", &"0".repeat(64)).output().unwrap();
    assert_eq!(unknown.status.code(), Some(1), "{}", text(&unknown));
    assert!(text(&unknown).contains("unknown to nodes"), "{}", text(&unknown));
    for (arguments, code, part) in [
        ("--at 5", 2, "--at: found '5', expected a node of the output shard 0, which are 0-3"),
        ("--from 0+2", 2, "--from: found '0+2', expected shards of 0 to 1"),
        ("--amount 99999999", 4, "--amount 99999999: 16 coins"),
    ] {
        let output = submit(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {}", text(&output));
        assert!(text(&output).contains(part), "{arguments}: {}", text(&output));
    }
    let output = running.finish();
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(place.number("handed_on") > 0, "node 1 was silent\n{shown}");
    for field in ["lost", "duplicated", "in_flight", "orphaned", "rejected_unexpected", "expired"] {
        assert_eq!(place.number(field), 0, "{field}\n{shown}");
    }
}
