//! Metrics of real nodes: a strict parser reads each page, and its figures agree with those from other sources.
//! Requests of strangers are refused.

mod exposition;
mod testbed;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use exposition::{Page, parse};
use testbed::{Node, Testbed, children_of, eventually, kill};

/// A testbed whose first node serves metrics.
struct Watched {
    testbed: Testbed,
    nodes: Vec<Node>,
    port: u16,
}

impl Watched {
    fn start(nodes: u16) -> Watched {
        let testbed = Testbed::new(nodes);
        let port = testbed.free_port();
        let text = port.to_string();
        let flags = |id| if id == 0 { vec![("--metrics", text.as_str())] } else { Vec::new() };
        let nodes = (0..nodes).map(|id| testbed.start(id, &flags(id))).collect();
        Watched { testbed, nodes, port }
    }

    /// Sends these bytes and returns the whole answer; `None` if the connection fails, as it may if it is refused
    /// unread.
    fn request(&self, request: &[u8]) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(request).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn scrape(&self) -> Option<Page> {
        let answer = self.request(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
        Some(parse(body).unwrap_or_else(|error| panic!("{error} in\n{body}")))
    }
}

#[test]
fn every_metric_of_a_running_node_parses_and_is_correct() {
    let mut watched = Watched::start(4);
    eventually("all peers have dialled", || {
        let page = watched.scrape()?;
        let peers = |link| page.value("testbed_peers", &[("link", link)]);
        (peers("out") == Some(3.0) && peers("in") == Some(3.0)).then_some(())
    });
    let receipt = watched.testbed.spend_genesis_coin(2);
    let page = eventually("the block is executed at node 0, and its messages are counted", || {
        let page = watched.scrape()?;
        let executed = page.value("testbed_rounds_executed_total", &[])?;
        let entries =
            page.value("testbed_frames_total", &[("peer", "2"), ("link", "in"), ("kind", "data")])?;
        (executed >= receipt.0 as f64 && entries > 0.0).then_some(page)
    });
    for (name, labels, expected) in [
        ("testbed_transactions_total", &[("fate", "finished")][..], 1.0),
        ("testbed_transactions_total", &[("fate", "rejected")], 0.0),
        ("testbed_node_info", &[("node", "0"), ("shard", "0"), ("version", env!("CARGO_PKG_VERSION"))], 1.0),
        ("testbed_mempool_transactions", &[], 0.0),
        ("testbed_lane_entries_total", &[], 1.0),
        ("testbed_coins", &[], 1_000.0),
        ("testbed_phase_seconds_count", &[("phase", "fetch")], receipt.0 as f64),
        ("testbed_messages_total", &[("direction", "received"), ("kind", "entry")], 1.0),
        ("testbed_messages_total", &[("direction", "received"), ("kind", "unknown")], 0.0),
        ("testbed_child_restarts_total", &[("process", "net_client")], 0.0),
    ] {
        assert_eq!(page.value(name, labels), Some(expected), "{name} {labels:?} in\n{}", page.text());
    }
    for process in ["node", "net_client", "net_server"] {
        let memory = page.value("testbed_process_resident_memory_bytes", &[("process", process)]);
        assert!(memory > Some(1e5), "{process}: {memory:?}");
    }
    // The page has exactly the metrics of the documentation, with their types.
    let documented = include_str!("../../docs/metrics.md").lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `testbed_")?.split(" | ");
        Some((format!("testbed_{}", cells.next()?.trim_end_matches('`')), cells.next()?.to_string()))
    });
    let mut documented: Vec<(String, String)> = documented.collect();
    documented.sort();
    assert_eq!(page.families(), documented);

    let server = children_of(watched.nodes[0].pid()).into_iter().find(|child| child.name == "net_server");
    kill(server.unwrap().pid);
    eventually("the restart is counted, and earlier counts are kept", || {
        let after = watched.scrape()?;
        let restarts = after.value("testbed_child_restarts_total", &[("process", "net_server")]);
        page.counters_only_grow_to(&after, "testbed_process_cpu_seconds_total");
        (restarts == Some(1.0)).then_some(())
    });
    for node in &mut watched.nodes {
        node.close_stdin();
        assert!(node.wait().success());
    }
}

#[test]
fn other_requests_are_refused_and_delay_no_scrape() {
    let watched = Watched::start(1);
    eventually("the node answers", || watched.scrape());
    // Connections with an unfinished request stay open while others are answered.
    let _idle: Vec<TcpStream> = (0..3)
        .map(|count| {
            let mut stream = TcpStream::connect(("127.0.0.1", watched.port)).unwrap();
            stream.write_all(&b"GET /metrics HTTP/1.1\r\n"[..count * 5]).unwrap();
            stream
        })
        .collect();
    let long = [&b"GET /metrics HTTP/1.1\r\n"[..], &b"X: y\r\n".repeat(10_000), b"\r\n"].concat();
    for (request, status) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "404 Not Found"),
        (b"GET /metrics/ HTTP/1.1\r\n\r\n", "404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405 Method Not Allowed"),
        (b"DELETE /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        (b"GET /metrics HTTP/3\r\n\r\n", "505 HTTP Version Not Supported"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\r\n\r\n", "400 Bad Request"),
        (&long, "431 Request Header Fields Too Large"),
    ] {
        // The answer may be lost if the node closes before the whole request was written.
        let answer = eventually("an answer", || watched.request(request));
        let shown = String::from_utf8_lossy(&request[..request.len().min(40)]).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{shown:?}: {answer}");
    }
    let mut closed = TcpStream::connect(("127.0.0.1", watched.port)).unwrap();
    closed.shutdown(Shutdown::Write).unwrap();
    assert_eq!(closed.read(&mut [0; 16]).unwrap(), 0, "no request, no answer");
    watched.scrape().unwrap();
}

#[test]
fn scrapes_beyond_the_limit_are_refused() {
    let watched = Watched::start(1);
    eventually("the node answers", || watched.scrape());
    // Silent connections count for seconds. A further one is refused, and can read the answer if it sends nothing.
    let refused = eventually("the limit is reached", || {
        let held: Vec<TcpStream> =
            (0..8).map(|_| TcpStream::connect(("127.0.0.1", watched.port)).unwrap()).collect();
        let answer = watched.request(b"");
        drop(held);
        answer.filter(|answer| answer.starts_with("HTTP/1.1 503 "))
    });
    assert!(refused.ends_with("too many scrapes at once\n"), "{refused}");
    eventually("scrapes are served again", || {
        watched.request(b"GET /metrics HTTP/1.1\r\n\r\n").filter(|answer| answer.starts_with("HTTP/1.1 200 "))
    });
}

#[test]
fn a_busy_port_is_reported_in_one_line_before_the_keys_are_used() {
    let testbed = Testbed::new(1);
    let occupant = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = occupant.local_addr().unwrap().port().to_string();
    let mut node = testbed.start(0, &[("--metrics", &port)]);
    assert_eq!(node.wait().code(), Some(2));
    let error = testbed.read("stderr-0.txt");
    assert!(error.starts_with(&format!("node: --metrics: found '{port} (")), "{error}");
    assert!(error.trim_end().ends_with("expected a free port of 127.0.0.1"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    let mut node = testbed.start(0, &[("--metrics", "0")]);
    assert_eq!(node.wait().code(), Some(2));
    assert!(testbed.read("stderr-0.txt").contains("--metrics: found '0', expected a whole number from 1"));
    // The keys have not been used, so the node can start.
    let mut node = testbed.start(0, &[]);
    eventually("it runs", || testbed.status(0));
    node.close_stdin();
    assert!(node.wait().success());
}
