//! A real run with journals, done again by `tools replay`.

mod place;

use std::fs::{self, File};

use place::{Place, text};

#[test]
fn a_run_with_faults_is_replayed_and_damage_is_found() {
    let place = Place::new();
    let run = "--nodes 4 --shards 2 --rate 300 --duration 4 --transactions \
               --faults kill-server:1@1,crash:3@2";
    let output = place.local(run);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let replay = |arguments: &str, code: i32| {
        let output = place.command("replay", arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {}", text(&output));
        text(&output)
    };

    // All eight, the node that was killed up to its last record.
    let shown = replay("", 0);
    for node in 0..8 {
        let line = shown.lines().find(|line| line.starts_with(&format!("node {node}: the same "))).unwrap();
        let round = format!("up to round {}, ", place.last_height(node));
        assert!(node == 3 || line.contains(&round), "{line}, expected {round}");
    }

    // A transaction that the nodes did not log, step by step; the state at any round.
    let transactions = place.read("log/transactions.csv");
    let within = transactions.lines().find(|line| line.contains(",intra,") && line.contains("finished"));
    let fields: Vec<&str> = within.unwrap().split(',').collect();
    let (tx, contact) = (fields[0], fields[6]);
    let steps = replay(&format!("--nodes {contact} --tx {tx}"), 0);
    for step in ["tx.admitted", "tx.proposed", "tx.settled"] {
        assert!(steps.contains(step), "{step}: {steps}");
    }
    assert!(
        replay("--tx 0123456789abcdef", 1)
            .contains("no step of these nodes names transaction 0123456789abcdef")
    );
    assert!(replay("--nodes 0,0", 2).contains("expected node ids from 0 to 7, each once"));
    let status = replay("--nodes 0 --until 5 --status", 0);
    assert!(status.contains("\"executed\": 5"), "{status}");
    assert!(!status.contains("no checksum"), "it was to stop there: {status}");
    assert!(replay("--nodes 0 --until 999999", 0).contains("the journal ends before round 999,999"));
    let header = place.read("log/rounds-0.csv");
    let header = header.lines().nth(5).unwrap().split(',').nth(3).unwrap();
    assert!(status.contains(header), "{header}: {status}");

    // A tail that was cut off is no damage; a flipped bit before it is, and its place is named.
    let path = place.0.join("data/journal-2/journal-00000001");
    let bytes = fs::read(&path).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(bytes.len() as u64 - 5).unwrap();
    assert!(replay("--nodes 2", 0).contains("bytes of an unfinished record at the end"));
    // Half of it is a journal too, but the node went on.
    File::options().write(true).open(&path).unwrap().set_len(bytes.len() as u64 / 2).unwrap();
    assert!(replay("--nodes 2", 1).contains("lacks its end, since rounds-2.csv goes on to round "));
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    fs::write(&path, damaged).unwrap();
    let shown = replay("--nodes 0-2", 1);
    assert!(shown.contains("node 2: data/journal-2/journal-00000001, byte "), "{shown}");
    assert_eq!(shown.matches("the same ").count(), 3, "{shown}");
    assert!(shown.contains("; replayed until there: ") && shown.contains(" s, up to round "), "{shown}");
    fs::remove_file(&path).unwrap();
    let shown = replay("--nodes 2", 1);
    assert!(shown.contains("data/journal-2/journal-00000001, the first segment, is missing"), "{shown}");
    // Keys of another testbed, and no data at all.
    place.command("keygen", "--nodes 4 --shards 2 --out other/keys").output().unwrap();
    fs::rename(place.0.join("data/journal-1"), place.0.join("other/journal-1")).unwrap();
    let shown = replay("--data-dir other", 1);
    assert!(
        shown.contains("its journal is of node 1 of testbed ") && shown.contains("the keys are of"),
        "{shown}"
    );
    assert!(replay("--data-dir none", 2).contains("none/keys/committee.txt: found 'No such file"));

    // The next run replaces the journals, and without them there is nothing to replay.
    assert_eq!(place.local("--nodes 1 --rate 10 --duration 1 --durability off").status.code(), Some(0));
    assert!(replay("", 2).contains("data: found 'no journal'"));
}
