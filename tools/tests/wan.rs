//! A run over an emulated network, through the real processes of real nodes.

mod place;

use std::fs;

use place::{Place, text};

/// Two regions with 30 ms between any two nodes, and clients that are 40 ms away from half of them.
const NETWORK: &str = "\
regions near far
clients far
link * * delay=30ms bandwidth=200mbit
link far far delay=40ms
";

/// The part of the summary that begins with this name.
fn p50(place: &Place, latency: &str) -> f64 {
    let summary = place.read("log/summary.json");
    let (_, rest) = summary.split_once(&format!("\"{latency}\"")).expect(latency);
    let (_, rest) = rest.split_once("\"p50\":").unwrap();
    rest.split([',', '}']).next().unwrap().trim().parse().unwrap()
}

#[test]
fn transactions_take_the_delays_of_the_network_also_when_a_run_goes_on() {
    let place = Place::new();
    let file = place.0.join("net.txt");
    fs::write(&file, NETWORK).unwrap();
    let output = place.local(&format!("--nodes 4 --duration 2 --rate 100 --wan {}", file.display()));
    place.assert_all_well(&output);
    // There and back between clients and contact; SEND and ECHO of an entry; six steps of its round (docs/wan.md).
    let least_ms = 30.0 + 30.0 + 2.0 * 30.0 + 6.0 * 30.0;
    assert!(p50(&place, "latency_ms") >= least_ms, "{}", text(&output));
    // A member that begins a round late may measure one step less.
    assert!(p50(&place, "round_ms") >= 5.0 * 30.0, "{}", text(&output));
    let written = place.read("data/wan.txt");
    assert!(written.starts_with(NETWORK) && written.contains("\nseed 1\n"), "{written}");

    // Nodes find the network where the first run wrote it.
    fs::remove_file(&file).unwrap();
    let output = place.local("--resume --duration 1 --rate 100");
    place.assert_all_well(&output);
    assert!(p50(&place, "latency_ms") >= least_ms, "{}", text(&output));
    assert_eq!(place.read("data/wan.txt"), written);
}
