//! Nodes that are killed and started again from their journals, in real runs.

mod place;

use place::{Place, text};

/// The starts that a node's log tells of, the first one not counted.
fn starts(place: &Place, node: u16) -> usize {
    place.log(node).matches(" goes on from its journal, start ").count()
}

#[test]
fn restarted_nodes_go_on_and_nothing_is_lost() {
    let place = Place::new();
    let output = place.local(
        "--nodes 4 --duration 6 --rate 300 --durability process \
         --faults restart:1@1,crash:3@2,restart:3@3,restart:0-3@4",
    );
    place.assert_all_well(&output);
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
    assert_eq!([0, 1, 4, 5].map(|node| starts(&place, node)), [1, 3, 2, 2]);
}
