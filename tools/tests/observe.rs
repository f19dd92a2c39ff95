//! Observing a testbed while it runs: `tools status`, and the metrics of a local run.

mod place;

use std::io::{Read, Write};
use std::net::TcpStream;

use place::{Place, eventually, signal, text};

/// A scrape of a page by its address as `metrics.txt` lists it.
fn scrape(url: &str) -> String {
    let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(authority).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {authority}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Reads until a text has come; all that was read.
fn read_until(stdout: &mut impl Read, text: &str) -> String {
    let mut seen = String::new();
    eventually(text, || {
        let mut buffer = [0; 4096];
        let count = stdout.read(&mut buffer).unwrap();
        seen += &String::from_utf8_lossy(&buffer[..count]);
        seen.contains(text).then_some(())
    });
    seen
}

#[test]
fn status_finds_the_run_of_its_directory_and_names_silent_nodes() {
    let place = Place::new();
    let mut run = place.start_local("--nodes 4 --duration 600 --rate 200 --metrics");
    // Until the run itself has reached all nodes, the end of one is a failed start.
    read_until(&mut run.stdout(), " 4/4 ");
    eventually("all answer", || {
        let output = place.command("status", "").output().unwrap();
        let shown = text(&output);
        (output.status.code() == Some(0) && shown.contains("4 of 4 nodes answer")).then_some(())
    });
    // Each node serves its metrics at the address beside its id.
    let addresses = place.read("data/metrics.txt");
    assert_eq!(addresses.lines().count(), 4, "{addresses}");
    for line in addresses.lines() {
        let (id, url) = line.split_once(' ').unwrap();
        let page = scrape(url);
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
        assert!(page.contains(&format!("testbed_node_info{{node=\"{id}\",shard=\"0\"")), "{page}");
    }
    // Every table is there from the second on with rates; Ctrl-C ends it, and that is no failure.
    let mut watch = place.start("status", "--watch 0.1");
    let mut stdout = watch.stdout();
    let mut seen = read_until(&mut stdout, "rounds/s");
    signal("-INT", watch.id());
    stdout.read_to_string(&mut seen).unwrap();
    assert_eq!(watch.finish().status.code(), Some(0), "{seen}");

    signal("-KILL", place.processes()["node of node 3"]);
    let shown = eventually("node 3 is missed", || {
        let output = place.command("status", "").output().unwrap();
        (output.status.code() == Some(1)).then(|| text(&output))
    });
    assert!(shown.contains("3 of 4 nodes answer") && shown.contains("  node 3 at 127.0.0.1:"), "{shown}");
    let json = place.command("status", "--json").output().unwrap();
    assert_eq!(json.status.code(), Some(1));
    let json = text(&json);
    assert!(json.contains("\"answering\": 3") && json.contains("\"unreachable\": "), "{json}");
    signal("-INT", run.id());
    run.finish();
    let options = place.read("log/summary.json");
    assert!(options.contains("\"metrics\": true"), "{options}");
    // Compare reads the files of a run, and names one that was interrupted.
    let compared = place.command("compare", "log log/summary.json").output().unwrap();
    let shown = text(&compared);
    assert_eq!(compared.status.code(), Some(0), "{shown}");
    for part in ["\n  committed ", "log/summary.json is not to be trusted", "Fewer than 3 runs of a side"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}
